"""A guarded cell that takes all memory ends with MemoryPressure, and the kernel lives on with its names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.notebook.bombs import BOMBS, CALM, FILE, Bomb, Calm, contained_kernel, set_off, stay_calm
from tests.notebook.containers import any_container, recorded_container
from tests.notebook.kernels import Kernel

pytestmark = pytest.mark.kernel

# One of each mechanism; `make soak` sets off all of them.
_SUBSET = (
    "many arrays", "one array", "bytes", "growing list", "shared memory", "recursion", "swallows Exception",
    "a thread", "a child process", "Popen", "a pool of forked workers", "async", "async tasks", "sparse, overcommitted",
)  # fmt: skip


@pytest.fixture(scope="module")
def contained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    with any_container(tmp_path_factory.mktemp("container"), FILE) as container:
        request.config.get_terminal_writer().line(f"\nmemory bombs: {container.told}")
        kernel = contained_kernel(container)
        try:
            yield kernel
        finally:
            kernel.close()


@pytest.mark.parametrize("bomb", [bomb for bomb in BOMBS if bomb.name in _SUBSET], ids=lambda bomb: bomb.name)
def test_the_kernel_survives(contained: Kernel, bomb: Bomb) -> None:
    """MemoryPressure, the kernel alive, its names as they were."""
    assert set_off(contained, bomb) == ""


@pytest.mark.parametrize("calm", [calm for calm in CALM if calm.name != "import torch"], ids=lambda calm: calm.name)
def test_no_false_alarm(contained: Kernel, calm: Calm) -> None:
    """Page cache, threads and what is only reserved are no memory that is taken; `make soak` imports torch as well."""
    assert stay_calm(contained, calm) == ""


def test_the_recorded_container_stops_bombs_too(tmp_path: Path) -> None:
    """What runs where no cgroup can be made: by signal, by RLIMIT_DATA, and with a child that holds the memory."""
    with recorded_container(tmp_path, "for this test") as container:
        kernel = contained_kernel(container)
        try:
            for bomb in BOMBS:
                if bomb.name in ("many arrays", "one array", "a child process"):
                    assert set_off(kernel, bomb) == "", bomb.name
            assert stay_calm(kernel, next(calm for calm in CALM if calm.name == "many small objects")) == ""
        finally:
            kernel.close()


def test_the_suite_is_not_small() -> None:
    """At least 35 kinds of bomb, and what is expected to be lost is named."""
    assert len({bomb.name for bomb in BOMBS}) == len(BOMBS) >= 35
    assert {bomb.name for bomb in BOMBS if bomb.lost} == {
        "C code that ignores NULL", "polars, which is Rust", "memory reserved before the guard, touched by one call",
    }  # fmt: skip
