"""Kernels of another server of the same user: found by their connection files, named by their environment."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from mlguard_nb.server.kernels import KernelFacts
from mlguard_nb.server.neighbours import Neighbours
from mlguard_nb.testing import FakeClock, FakeDevices
from tests.server.another_server import kernel

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="NOT TESTED here: the processes of other servers are looked for in /proc alone"
)


def test_a_kernel_of_another_server_is_named_and_one_that_names_nothing_is_not(tmp_path: Path) -> None:
    """Only where its connection file lies in the folder of this user's servers, and never one of this server's."""
    rag = {"JPY_SESSION_NAME": "/home/ada/work/rag.ipynb"}
    with kernel(tmp_path, "a1", **rag) as pid, kernel(tmp_path, "b2"), kernel(tmp_path / "elsewhere", "c3", **rag):
        found = Neighbours(tmp_path).kernels(frozenset())
        assert found == (KernelFacts("a1", "rag.ipynb", None, "another_server", None, pid, None),)
        assert Neighbours(tmp_path).kernels(frozenset({pid})) == ()


def test_kernels_are_looked_for_every_half_minute_and_gone_at_once(tmp_path: Path) -> None:
    """A look reads a line of every process, so it is not made at each reading."""
    clock = FakeClock()
    near = Neighbours(tmp_path, clock)
    assert near.kernels(frozenset()) == ()
    with kernel(tmp_path, "a1", JPY_SESSION_NAME="rag.ipynb"):
        assert near.kernels(frozenset()) == ()
        clock.sleep(30.0)
        assert [found.name for found in near.kernels(frozenset())] == ["rag.ipynb"]
    assert near.kernels(frozenset()) == ()


def test_a_machine_that_tells_no_processes_has_no_neighbours(tmp_path: Path) -> None:
    assert Neighbours(tmp_path, proc=tmp_path / "none").kernels(frozenset()) == ()


async def test_the_ledger_has_a_row_for_it(jp_fetch: Any, jp_runtime_dir: Path, machine: FakeDevices) -> None:
    """With what it holds, beside this server's own kernel, which is there once."""
    own = json.loads((await jp_fetch("api", "kernels", method="POST", body='{"name": "python3"}')).body)
    try:
        with kernel(jp_runtime_dir, "a1", JPY_SESSION_NAME="/home/ada/rag.ipynb") as pid:
            rows = json.loads((await jp_fetch("mlguard", "sample")).body)["holders"]["kernels"]
        assert [row["kernel_id"] for row in rows] == [own["id"], "a1"]
        assert (rows[1]["name"], rows[1]["path"], rows[1]["pid"]) == ("rag.ipynb", None, pid)
        assert rows[1]["ram"]["value"] > 0
    finally:
        await jp_fetch("api", "kernels", own["id"], method="DELETE")
