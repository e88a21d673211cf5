"""A guarded cell that takes all memory ends with MemoryPressure, and the kernel lives on with its names."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.notebook.bombs import (
    BOMBS,
    CALM,
    Bomb,
    Calm,
    NoContainer,
    contained_kernel,
    container,
    set_off,
    stay_calm,
)
from tests.notebook.kernels import Kernel

pytestmark = pytest.mark.kernel

# One of each mechanism; `make soak` sets off all of them.
_SUBSET = (
    "many arrays", "one array", "bytes", "growing list", "shared memory", "recursion", "swallows Exception",
    "a thread", "a child process", "Popen", "a pool of forked workers", "async", "async tasks", "sparse, overcommitted",
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
    except NoContainer as reason:
        pytest.skip(f"NOT TESTED: {reason}")


@pytest.mark.parametrize("bomb", [bomb for bomb in BOMBS if bomb.name in _SUBSET], ids=lambda bomb: bomb.name)
def test_the_kernel_survives(contained: Kernel, bomb: Bomb) -> None:
    """MemoryPressure, the kernel alive, its names as they were."""
    assert set_off(contained, bomb) == ""


@pytest.mark.parametrize("calm", [calm for calm in CALM if calm.name != "import torch"], ids=lambda calm: calm.name)
def test_no_false_alarm(contained: Kernel, calm: Calm) -> None:
    """Page cache, threads and what is only reserved are no memory that is taken; `make soak` imports torch as well."""
    assert stay_calm(contained, calm) == ""


def test_the_suite_is_not_small() -> None:
    """At least 35 kinds of bomb, and what is expected to be lost is named."""
    assert len({bomb.name for bomb in BOMBS}) == len(BOMBS) >= 35
    assert {bomb.name for bomb in BOMBS if bomb.lost} == {
        "C code that ignores NULL", "memory reserved before the guard, touched by one call",
    }  # fmt: skip
