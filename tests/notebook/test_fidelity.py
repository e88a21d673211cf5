"""A guarded cell shows and leaves what the plain one does: every check of the fidelity suite, in a real kernel."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.notebook.fidelity import CHECKS, LIVE, Check, difference
from tests.notebook.fidelity_live import CHANGES_THE_KERNEL
from tests.notebook.kernels import Kernel

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def shared() -> Iterator[Kernel]:
    kernel = Kernel()
    yield kernel
    kernel.close()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_plain_and_guarded_are_the_same(shared: Kernel, check: Check) -> None:
    """Output, errors, tracebacks, displays and what is left, line by line."""
    assert difference(shared, check) == ""


@pytest.mark.parametrize("name", [name for name in LIVE if name not in CHANGES_THE_KERNEL])
def test_what_takes_more_than_one_answer(shared: Kernel, name: str) -> None:
    """%debug, requests, interrupts, the terminal."""
    assert LIVE[name](shared) == ""


@pytest.mark.parametrize("name", sorted(CHANGES_THE_KERNEL))
def test_what_changes_the_kernel(name: str) -> None:
    """Callbacks, reloads, a debugger, unloading: each in a kernel of its own."""
    kernel = Kernel()
    try:
        assert LIVE[name](kernel) == ""
    finally:
        kernel.close()


def test_the_suite_is_not_small() -> None:
    """At least 45 checks, each with a name of its own."""
    names = [*(check.name for check in CHECKS), *LIVE]

    assert len(names) == len(set(names)) >= 45
