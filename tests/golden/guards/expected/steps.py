"""The notebook's cells as functions: a step reads its arguments and returns what later cells or the caller use."""

import numpy as np
from guards.functions import score, small

from mlguard_nb import memory_guard, retry
from mlguard_nb.pipeline import step


@step(cell=2, outputs=("X", "batch_size"))
def make_x():
    """Make x."""
    X = np.ones((4, 2))
    batch_size = 64
    return X, batch_size


@step(cell=4, outputs=("weight",))
def score_step():
    """Score."""
    return np.float64(2)


def predict_on_pressure(X, batch_size, weight):
    """What `predict` gives when memory is short."""
    given = small(X=X)
    return given["p"]


@step(cell=6, outputs=("p",))
@memory_guard(name="predict", ram=0.8, fallback=predict_on_pressure)
@retry(attempts=2, on_oom="halve:batch_size")
def predict(X, batch_size, weight):
    """Score."""
    return np.concatenate([score(X[i : i + batch_size], weight=weight) for i in range(0, len(X), batch_size)])


@step(cell=7, outputs=("checked",))
@retry(attempts=2)
def score_checked(p):
    """Score."""
    return bool((p >= 0).all())
