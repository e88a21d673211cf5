"""The notebook's cells as functions: a step reads its arguments and returns what later cells or the caller use."""

import numpy as np
from regions.functions import unscaled
from regions.schemas import Rows
from sklearn.datasets import load_diabetes

from mlguard_nb import cache_result, memory_guard, retry, validate_input
from mlguard_nb.pipeline import step


@step(cell="2-4", outputs=("calls", "features", "target", "asked"), shares=True)
def read():
    """Read."""
    calls = 0

    def ask_the_store():
        nonlocal calls
        calls += 1
        if calls < 3:
            raise TimeoutError("the store does not answer")
        return load_diabetes(return_X_y=True)

    @retry(name="load", attempts=3, on=(TimeoutError,), wait_initial=0.01, wait_max=0.1)
    def load():
        """Cell 3, with its guards."""
        # what the store has
        features, target = ask_the_store()
        return features, target

    features, target = load()
    asked = calls
    return calls, features, target, asked


@step(cell="5, 7-8", outputs=("factor", "scalers", "small", "large", "total"), shares=True)
def scale(features):
    """Scale."""
    factor = float("2")

    def scaled(rows):
        return rows * factor

    scalers = [scaled]

    def shrink_on_pressure(scalers, features):
        """What `shrink` gives when memory is short."""
        given = unscaled(features=features)
        return given.get("factor", factor), given["small"]

    @validate_input(name="shrink", features=Rows)
    @cache_result(ttl=3600.0, backend="disk", watch_files=True, hand_out="copy")
    @memory_guard(ram=0.9, fallback=shrink_on_pressure)
    @retry(attempts=2)
    def shrink(scalers, features):
        """Cell 7, with its guards."""
        nonlocal factor
        before = factor
        try:
            # half of everything
            factor = factor / 4
            small = scalers[0](features)
        except BaseException:
            factor = before
            raise
        return factor, small

    factor, small = shrink(scalers, features)
    factor = 10.0
    large = scalers[0](features)
    total = float(np.sum(large) - np.sum(small))
    return factor, scalers, small, large, total
