"""Big locals of dead frames are freed, small ones stay, and every error behind an error is looked at."""

from __future__ import annotations

import gc
import weakref

import numpy as np

from mlguard_nb.notebook.eviction import Evicted, evict


class _Array(np.ndarray):
    """An array that can be watched."""


def _fail(references: list[weakref.ref[_Array]]) -> BaseException:
    def inner() -> None:
        big = np.ones(500_000).view(_Array)
        small = 7
        references.append(weakref.ref(big))
        try:
            hidden = np.ones(500_000).view(_Array)
            references.append(weakref.ref(hidden))
            raise KeyError("first")
        except KeyError:
            assert small
            raise MemoryError("second") from None

    try:
        inner()
    except MemoryError as error:
        return error
    raise AssertionError("unreachable")


def test_big_locals_give_way_to_a_note() -> None:
    """The arrays are gone, also those seen only through `from None`; the frame says what was there."""
    references: list[weakref.ref[_Array]] = []
    error = _fail(references)
    assert all(reference() is not None for reference in references)

    freed = evict(error)
    gc.collect()

    assert freed >= 8_000_000
    assert [reference() for reference in references] == [None, None]
    trace = error.__traceback__
    assert trace is not None and trace.tb_next is not None
    names = trace.tb_next.tb_frame.f_locals
    assert names["small"] == 7 and isinstance(names["big"], Evicted)
    assert "shape (500000,)" in repr(names["big"])
