"""A guarded cell that takes all memory ends with MemoryPressure, and the kernel lives on with its names."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.notebook.bombs import BOMBS, Bomb, NoContainer, contained_kernel, container, set_off
from tests.notebook.kernels import Kernel

pytestmark = pytest.mark.kernel

# One of each mechanism; `make soak` sets off all of them.
_SUBSET = (
    "many arrays", "one array", "bytes", "growing list", "shared memory", "recursion", "swallows Exception",
    "a thread", "a child process", "async", "async tasks", "sparse, overcommitted",
)  # fmt: skip


@pytest.fixture(scope="module")
def contained() -> Iterator[Kernel]:
    try:
        with container() as folder:
            kernel = contained_kernel(folder)
            try:
                yield kernel
            finally:
                kernel.close()
                _until_empty(folder)
    except NoContainer as reason:
        pytest.skip(f"NOT TESTED: {reason}")


def _until_empty(folder: object) -> None:
    import time
    from pathlib import Path

    ends = time.monotonic() + 10
    while Path(str(folder), "cgroup.procs").read_text() and time.monotonic() < ends:
        time.sleep(0.05)


@pytest.mark.parametrize("bomb", [bomb for bomb in BOMBS if bomb.name in _SUBSET], ids=lambda bomb: bomb.name)
def test_the_kernel_survives(contained: Kernel, bomb: Bomb) -> None:
    """MemoryPressure, the kernel alive, its names as they were."""
    assert set_off(contained, bomb) == ""
