"""What holds memory is listed by where it is, and given back when a person picks it."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest

from mlguard_nb.errors import PolicyError
from mlguard_nb.notebook import holdings
from mlguard_nb.notebook.eviction import Evicted


class _Cuda:
    """torch.cuda with one device on which live tensors are fewer than what the pool keeps."""

    emptied = 0

    def is_available(self) -> bool:
        return True

    is_initialized = is_available

    def device_count(self) -> int:
        return 1

    def memory_reserved(self, index: int) -> int:
        return 300 << 20

    def memory_allocated(self, index: int) -> int:
        return 100 << 20

    def empty_cache(self) -> None:
        self.emptied += 1


class _Tensor:
    is_cuda, shape, nbytes = True, (5, 5), 100 << 20


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> _Cuda:
    made = _Cuda()
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(cuda=made))  # type: ignore[arg-type]
    return made


@pytest.fixture
def failed(monkeypatch: pytest.MonkeyPatch) -> BaseException:
    """An error whose traceback has been shown and whose frame holds 8 MB."""

    def work() -> None:
        kept_alive = np.ones(1_000_000)
        raise ValueError(kept_alive.shape)

    try:
        work()
    except ValueError as error:
        monkeypatch.setattr(sys, "last_value", error, raising=False)
        return error
    raise AssertionError("unreachable")


def test_names_and_results_are_listed_by_size() -> None:
    """The largest first; small ones and private ones not at all."""
    lines = holdings.listing(
        {"small": 1, "_hidden": np.ones(10**6), "big": np.ones(10**6), "Out": {3: np.ones(5 * 10**5)}}
    )

    assert [line.split()[3] for line in lines[:-1]] == ["big", "Out[3]"]
    assert "RAM" in lines[0] and "ndarray (1000000,)" in lines[0]


def test_device_tensors_and_pools_are_listed_as_device_memory(cuda: _Cuda) -> None:
    """A tensor by its name, and what the allocator keeps beyond live tensors."""
    lines = holdings.listing({"weights": _Tensor()})

    assert any("200.0 MiB  GPU   pools" in line for line in lines)
    assert any("100.0 MiB  GPU   weights" in line for line in lines)


def test_pools_are_emptied_when_picked(cuda: _Cuda) -> None:
    """`%guard free pools` gives the allocator's spare memory back to the driver."""
    holdings.free({}, ["pools"])

    assert cuda.emptied >= 1


def test_a_traceback_is_listed_and_freed_and_still_read(failed: BaseException) -> None:
    """What only the last error's frames hold; afterwards the frame says what was there."""
    listed = holdings.listing({})
    assert any("tracebacks" in line and "ValueError: kept_alive" in line for line in listed)

    holdings.free({}, ["tracebacks"])

    trace = failed.__traceback__
    assert trace is not None and trace.tb_next is not None
    assert isinstance(trace.tb_next.tb_frame.f_locals["kept_alive"], Evicted)
    assert not any("tracebacks" in line for line in holdings.listing({}))


def test_what_a_name_holds_is_not_counted_for_the_traceback(failed: BaseException) -> None:
    """One object, one line."""
    trace = failed.__traceback__
    assert trace is not None and trace.tb_next is not None
    named = trace.tb_next.tb_frame.f_locals["kept_alive"]

    assert not any("tracebacks" in line for line in holdings.listing({"named": named}))


def test_nothing_is_freed_where_a_word_is_wrong() -> None:
    """All or nothing, and an Out that is not there is one clear line."""
    space = {"kept": np.ones(10), "Out": {1: 1}}
    for wrong in ("missing", "Out[9]", "Out[x]"):
        with pytest.raises(PolicyError, match="there is no"):
            holdings.free(space, ["kept", wrong])

    assert "kept" in space


def test_a_freed_name_is_gone_from_out_too() -> None:
    """Out and the underscores would keep the same object alive."""
    value = np.ones(10)
    space = {"a": value, "_": value, "Out": {1: value}}
    holdings.free(space, ["a"])

    assert space == {"Out": {}}
