"""The notebook's cells as functions: a step reads its arguments and returns what later cells or the caller use."""

from names.functions import fetch, params

from mlguard_nb.pipeline import UNBOUND
from mlguard_nb.pipeline import step as mlguard_step


@mlguard_step(cell="1-4", outputs=("s", "steps", "sum", "count", "table"), shares=True)
def make_s():
    """Make s."""
    s = {1, 2}
    steps = [len(s)]
    sum = 0
    for step in range(params):
        sum += step
    count = 0

    def tick():
        nonlocal count
        count += 1

    for _ in range(3):
        tick()
    table = {"n": count, "sum": sum}
    return s, steps, sum, count, table


@mlguard_step(cell=5, outputs=("ratio",), shares=True)
def make_ratio():
    """Результат."""
    try:
        ratio = 1 / 0
    except Exception as error:  # cell 5 is tagged raises-exception
        print(f"{type(error).__name__}: {error}")
    return locals().get("ratio", UNBOUND)


@mlguard_step(cell="6-7", outputs=("result", "fetched"), shares=True)
async def make_result(s, table):
    """Результат."""
    del s
    result = list(table)
    fetched = await fetch(result)
    return result, fetched
