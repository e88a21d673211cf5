"""One kernel a module: starting one takes a second, and guarded cells must live together anyway."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.devices.nvml_double import compile_double
from tests.notebook.kernels import Kernel


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    """A kernel with the extension loaded and a few names."""
    started = Kernel()
    started.run("import time, asyncio, sys\nimport numpy as np\nn = 0")
    yield started
    started.close()


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a libnvidia-ml.so.1 without a driver, compiled once."""
    folder = compile_double(tmp_path_factory.mktemp("nvml"))
    if folder is None:
        pytest.skip("NOT TESTED: the NVML double needs a C compiler (cc), and there is none")
    return folder
