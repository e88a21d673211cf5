"""What the tests of several guards use."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

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
