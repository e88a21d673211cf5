"""A Jupyter server in this process with our extension loaded, below a base_url as JupyterHub gives one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pytest_jupyter.jupyter_core import *  # noqa: F403
from pytest_jupyter.jupyter_server import *  # noqa: F403

from mlguard_nb import devices
from mlguard_nb.testing import FakeDevices, fake_gpu

GIB = 2**30


@pytest.fixture
def jp_server_config() -> dict[str, Any]:
    return {"ServerApp": {"jpserver_extensions": {"mlguard_nb": True}}}


@pytest.fixture
def machine() -> Iterator[FakeDevices]:
    """16 GiB of RAM, 5 of them in use, and one GPU of which nobody reads the power."""
    gpu = fake_gpu(total=80 * GIB, used=10 * GIB)
    fake = FakeDevices(ram_used=5 * GIB, ram_limit=16 * GIB, gpus=(gpu,), processes=())
    previous = devices.install(fake)  # not `with fake`: that starts the shared sampler, and these tests count threads
    yield fake
    devices.install(previous)
