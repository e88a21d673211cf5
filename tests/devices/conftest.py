"""Machines made of files: a copied /proc and /sys/fs/cgroup, and a driver that is a C library reading a text file."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.devices.nvml_double import compile_double

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tree(tmp_path: Path) -> Callable[[Mapping[str, str]], tuple[Path, Path]]:
    """Writes a recorded machine: (where its /proc is, where its /sys/fs/cgroup is)."""

    def write(files: Mapping[str, str]) -> tuple[Path, Path]:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path / "proc", tmp_path / "cgroup"

    return write


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a libnvidia-ml.so.1 without a driver, compiled once."""
    folder = compile_double(tmp_path_factory.mktemp("nvml"))
    if folder is None:
        pytest.skip("NOT TESTED: the NVML double needs a C compiler (cc), and there is none")
    return folder


@pytest.fixture
def driver(nvml_library: Path, tmp_path: Path) -> DriverDouble:
    """Runs programs in which the double is the machine's NVIDIA driver."""
    return DriverDouble(nvml_library, tmp_path / "gpus.txt")


PRELUDE = """\
from pathlib import Path
state = Path({state!r})
def change(text):
    changed = state.with_suffix(".new")
    changed.write_text(text)
    changed.replace(state)
"""


class DriverDouble:
    """A driver whose GPUs stand in a text file."""

    def __init__(self, library: Path, state: Path) -> None:
        self.library, self.state = library, state

    def run(self, gpus: str | None, program: str) -> str:
        """What `program` prints with these GPUs (None: the driver is not loaded).

        In it `state` is the file's Path, and `change(text)` writes it in one step, so that no look finds half of it.
        """
        if gpus is not None:
            self.state.write_text(gpus)
        environment = dict(os.environ, LD_LIBRARY_PATH=str(self.library), MLGUARD_NVML_STATE=str(self.state))
        prelude = PRELUDE.format(state=str(self.state))
        done = subprocess.run(
            [sys.executable, "-c", prelude + program],
            env=environment, cwd=ROOT, text=True, capture_output=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()
