"""Random small notebooks that run to their end: every kind of statement over a handful of names."""

from __future__ import annotations

import ast
import random
from typing import Any

from tests.converter.running import notebook_values

__all__ = ["random_guarded_notebook", "random_notebook"]

VARIABLES = ["a", "b", "c", "rows", "max", "e"]
FUNCTIONS = ["f", "g", "keep"]
CLASSES = ["Box", "Pair"]
FIRST = """import math
from functools import partial
def total(v):
    if isinstance(v, (list, tuple, set)):
        return sum(total(one) for one in v)
    return int(getattr(v, 'size', v))"""


def statement(draw: random.Random, known: set[str], functions: set[str], classes: set[str]) -> str:
    """One statement over what there is so far; it may fail, then another is drawn."""
    names = sorted(known) or ["1"]
    x, y, target, other = draw.choice(names), draw.choice(names), draw.choice(VARIABLES), draw.choice(VARIABLES)
    function, kind, number = draw.choice(FUNCTIONS), draw.choice(CLASSES), draw.randrange(9)
    call = f"{draw.choice(sorted(functions))}({x})" if functions else f"total({x})"
    made = f"{draw.choice(sorted(classes))}({x})" if classes else f"[{x}]"
    kinds = [
        f"{target} = [{number}]",
        f"{target} = {number}",
        f"{target} = {x}",
        f"{target} = total({x}) + total({y})",
        f"{target} = {call}",
        f"{target} = {made}",
        f"{target}, {other} = total({x}), [{number}]",
        f"{target}, *{other} = [1, 2, total({x})]",
        f"{target} = {other} = [total({x})]",
        f"{target}: int = total({x})",
        f"{target} = [total(i) + total({x}) for i in range(3)]",
        f"{target} = [{other} := total({x}), {number}]",
        f"{target} = sum(total({x}) for i in range(2))",
        f"{target} = (lambda v: total(v) + total({x}))({y})",
        f"{target} = math.floor(total({x}) / 2)",
        f"{target} = partial(total, {x})()",
        f"{x} += {x}",
        f"{x} = {x} if total({x}) % 2 else {y}",
        f"del {x}",
        f"{call}",
        f"isinstance({x}, list) and {x}.append({number})",
        f"isinstance({x}, list) and {x}",
        f"total({x})",
        f"if total({x}) > 9:\n    {target} = {call}",
        f"if total({x}) > 9:\n    {target} = 1\nelse:\n    {target} = {y}",
        f"if False:\n    {target} = 1",
        f"for i in range(total({x}) % 3):\n    {target} = i",
        f"for i in [1, 2]:\n    {target} = i + total({x})",
        f"for {target} in [1, 2]:\n    {other} = {target}",
        f"for i in range(4):\n    if i > total({x}) % 5:\n        break\nelse:\n    {target} = i",
        f"while total({x}) > {number} and not isinstance({x}, list):\n    {x} = total({x}) // 2",
        f"try:\n    {target} = 1 // (total({x}) % 2)\nexcept ZeroDivisionError:\n    {target} = -1",
        f"try:\n    {target} = 1 // (total({x}) % 2)\nexcept ZeroDivisionError as e:\n    {other} = len(str(e))",
        f"try:\n    {target} = [{x}, undefined_name]\nexcept NameError:\n    pass\nfinally:\n    {other} = {number}",
        f"match total({x}) % 3:\n    case 0:\n        {target} = 0\n    case {other}:\n        {target} = [{other}]",
        f"def {function}(v):\n    return total(v) + total({x})",
        f"def {function}(v, w={x}):\n    unused = v\n    return total(v) + total(w)",
        f"def {function}(v):\n    return {call} if total(v) > 99 else total(v) * 2",
        f"def {function}(v):\n    global {target}\n    {target} = total(v)\n    return {target} + 1",
        f"def {function}(v):\n    def inner():\n        return total({x})\n    return inner() + total(v)",
        f"def {function}(v):\n    {x} = total(v)\n    return {x} + 1",
        f"def {function}(v):\n    if isinstance({x}, list):\n        {x}.append(total(v))\n    return len(str(total({x})))",
        f"{function} = lambda v: total(v) + total({x})",
        f"class {kind}:\n    def __init__(self, v):\n        self.size = total(v) + total({x})",
        f"class {kind}:\n    base = total({x})\n    def __init__(self, v):\n        self.size = total(v) + self.base",
    ]
    if functions:
        one = draw.choice(sorted(functions))
        kinds += [
            f"table = {{'it': {one}}}\n{target} = table['it']({x})",
            f"{target} = list(map({one}, [1, {number}]))",
        ]
    return draw.choice(kinds)


def random_notebook(seed: int) -> list[Any] | None:
    """Cells, with a heading before some, or None where too little came of it."""
    draw = random.Random(seed)
    cells: list[Any] = [FIRST, "a = [1, 2]"]
    if draw.random() < 0.2:
        cells.append((f"b = {draw.randrange(9)}\nc = [{draw.randrange(9)}, 1]", ["parameters"]))
    values = notebook_values(*cells)
    for number in range(draw.randrange(3, 9)):
        if draw.random() < 0.5:
            cells.append(("markdown", f"# Part {number}"))
        lines: list[str] = []
        for _ in range(draw.randrange(1, 4)):
            known, functions, classes = (_among(values, names) for names in (VARIABLES, FUNCTIONS, CLASSES))
            lines.append(statement(draw, {one for one in known if not callable(values[one])}, functions, classes))
            try:
                values = notebook_values(*cells, "\n".join(lines))
            except (NameError, TypeError, RecursionError, ValueError, SyntaxError, AttributeError):
                lines.pop()
        if lines:
            cells.append("\n".join(lines))
    return cells if len(cells) > 4 else None


def _among(values: dict[str, Any], names: list[str]) -> set[str]:
    return {name for name in names if name in values}


LINES = [
    "retry=2 wait=0s",
    "retry=3 on=TimeoutError",
    "monitor",
    "retry=2 name=again monitor",
    "mem=0.99",
    "cache=1h store=memory",
]
FLAKY = """tries = []
def now_and_then():
    tries.append(1)
    if len(tries) % 2:
        raise TimeoutError"""


def random_guarded_notebook(seed: int) -> list[Any] | None:
    """A random notebook some of whose cells are guarded; some of these fail half-way in every first attempt."""
    cells = random_notebook(seed)
    if cells is None:
        return None
    draw = random.Random(seed)
    guarded: list[Any] = [*cells[:2], FLAKY]
    for cell in cells[2:]:
        if isinstance(cell, tuple) or draw.random() < 0.4:
            guarded.append(cell)
            continue
        line = draw.choice(LINES)
        statements = [ast.unparse(one) for one in ast.parse(cell).body]
        if "retry" in line and draw.random() < 0.6:
            statements.insert(draw.randrange(len(statements) + 1), "now_and_then()")
        guarded.append("\n".join([f"%%guard {line}", *statements]))
    return guarded
