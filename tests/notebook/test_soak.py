"""The long notebook of `make soak`, cut to what a test may take."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.notebook.soak_cells import KINDS, soak

pytestmark = pytest.mark.kernel


def test_many_cells_leave_nothing_behind(nvml_library: Path) -> None:
    """Every kind of cell answers as it must, and memory, threads, descriptors and the driver's sessions stay flat."""
    report = soak(6 * len(KINDS), nvml_library)

    assert report.wrong == () and report.growth() == ()
    assert report.sessions == 1 and set(report.kinds.values()) == {6}
