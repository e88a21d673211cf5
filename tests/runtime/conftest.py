"""What the tests of several guards use."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlguard_nb.runtime import budget
from mlguard_nb.telemetry import bus
from mlguard_nb.testing import FakeClock, FakeDevices, no_wait
from tests.runtime.redis_server import Server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        pytest.skip("NOT TESTED: what is shared through Redis needs redis-server or valkey-server, and there is none")
    pytest.importorskip("redis", reason="NOT TESTED: what is shared through Redis needs the redis package")
    running = Server(program, tmp_path)
    yield running
    running.kill()


@pytest.fixture
def machine() -> Iterator[FakeDevices]:
    """16 GB of which 4 are in use."""
    with FakeDevices(ram_used="4GB", ram_limit="16GB") as fake:
        yield fake


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    """Nobody waits, and no test draws on a retry budget that another has spent."""
    budget._default.clear()
    with no_wait() as fake:
        yield fake


@pytest.fixture
def events() -> Iterator[list[Any]]:
    heard: list[Any] = []
    end = bus.subscribe(heard.append)
    yield heard
    end()
