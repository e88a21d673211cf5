"""What stands for a variable that no path has bound."""

from __future__ import annotations

import copy
import pickle

from mlguard_nb.pipeline import UNBOUND, without_unbound


def test_there_is_one_of_it() -> None:
    """A cache, a copy and another process hand on the very object that steps compare with."""
    assert pickle.loads(pickle.dumps(UNBOUND)) is UNBOUND
    assert copy.deepcopy([UNBOUND])[0] is UNBOUND


def test_results_lack_what_is_unbound() -> None:
    assert without_unbound({"a": None, "b": UNBOUND}) == {"a": None}
