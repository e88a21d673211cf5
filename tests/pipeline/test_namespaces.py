"""What a run of code as text leaves in its module is gone when the next run begins."""

from __future__ import annotations

from mlguard_nb.pipeline import fresh_namespace


def test_a_second_run_finds_what_the_first_one_found() -> None:
    """Names that were added go, names that were bound anew or deleted come back."""
    names = {"__name__": "churn.steps", "np": "numpy", "step": len}
    own = dict(names)
    fresh_namespace(names)
    assert names == own

    names.update(np=1, made_by_exec=2)
    del names["step"]
    fresh_namespace(names)
    assert names == own
