"""What a kernel gives back when it is asked to: caches and garbage, never a variable."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import mlguard_nb
from mlguard_nb.notebook.eviction import Evicted
from mlguard_nb.notebook.releasing import Released, release
from mlguard_nb.notebook.tracebacks import let_go
from mlguard_nb.testing import FakeDevices, fake_gpu

if TYPE_CHECKING:
    import pytest

MIB = 2**20


def test_caches_and_a_shown_error_are_let_go_and_variables_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cached block is computed again when it is next asked for; the locals of a dead frame give way to a note."""
    calls = []

    @mlguard_nb.cache_result(ttl=3600)
    def block(size: int) -> bytes:
        calls.append(size)
        return bytes(size)

    def fails() -> None:
        held = bytearray(8 * MIB)
        raise ValueError(len(held))

    def shown() -> ValueError:
        try:
            fails()
        except ValueError as error:
            return error
        raise AssertionError

    kept = bytearray(MIB)
    block(64 * MIB)
    block(64 * MIB)
    assert calls == [64 * MIB]
    error = shown()
    monkeypatch.setattr(sys, "last_value", error, raising=False)
    given = release()
    assert given.ram_bytes is not None
    assert given.ram_bytes >= 0
    trace = error.__traceback__
    assert trace is not None
    assert trace.tb_next is not None
    assert isinstance(trace.tb_next.tb_frame.f_locals["held"], Evicted)
    assert len(kept) == MIB
    block(64 * MIB)
    assert len(calls) == 2


def test_what_devices_gave_back_is_known_only_where_all_of_them_tell() -> None:
    """Without a GPU the answer is null, which the page leaves out; it is never zero by guess."""
    with FakeDevices():
        assert release().gpu_bytes is None
    with FakeDevices(gpus=(fake_gpu(total=80 * 2**30, used=2**30),)):
        assert release().gpu_bytes == 0
    assert Released(5, None)._repr_json_() == {"ram_bytes": 5, "gpu_bytes": None}


def test_a_failed_attempt_whose_error_is_its_own_cause_is_let_go() -> None:
    """`raise error from error` makes a ring of one."""
    try:
        try:
            raise KeyError("lost")
        except KeyError as error:
            raise error from error
    except KeyError as error:
        let_go(error, error.__traceback__)
        assert (error.__cause__, error.__traceback__) == (error, None)
