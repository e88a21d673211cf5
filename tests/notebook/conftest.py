"""One kernel a module: starting one takes a second, and guarded cells must live together anyway."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.notebook.kernels import Kernel


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    """A kernel with the extension loaded and a few names."""
    started = Kernel()
    started.run("import time, asyncio, sys\nimport numpy as np\nn = 0")
    yield started
    started.close()
