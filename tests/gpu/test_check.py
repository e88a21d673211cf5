"""The table of `make gpu-check`, drawn up on the driver's double: the code runs, its figures prove nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.devices.nvml_double import compile_double
from tests.gpu.check import FRAMEWORKS
from tests.notebook.gpu_kernel import TOTAL, UUID
from tests.notebook.kernels import ROOT

pytestmark = pytest.mark.kernel

PROGRAM = """
from pathlib import Path
from mlguard_nb.devices.machine import LocalMachine
from tests.gpu.check import as_text, table
from tests.notebook.gpu_kernel import gpu_kernel
kernel = gpu_kernel(Path({library!r}), Path({state!r}))
try:
    kernel.run("torch.empty = lambda size, dtype, device: Tensor(size); torch.uint8 = 1; torch.cuda.synchronize = lambda: None")
    kernel.run("Tensor.numel = lambda self: self.nbytes")
    machine = LocalMachine()
    print(as_text(table(machine.gpus(), machine, kernel)))
finally:
    kernel.close()
"""


def test_the_table_is_drawn_up(tmp_path: Path) -> None:
    """Every row is there, and on the double, which keeps its books right, all of them agree."""
    library = compile_double(tmp_path)
    if library is None:
        pytest.skip("NOT TESTED: the NVML double needs a C compiler (cc), and there is none")
    smi = tmp_path / "nvidia-smi"
    smi.write_text(f"#!/bin/sh\necho '{UUID}, 0, {TOTAL >> 20}'\n")
    smi.chmod(0o755)
    state = tmp_path / "gpus.txt"
    environment = dict(
        os.environ, LD_LIBRARY_PATH=str(library), MLGUARD_NVML_STATE=str(state),
        PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}", PYTHONPATH=str(ROOT),
    )  # fmt: skip
    program = PROGRAM.format(library=str(library), state=str(state))
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120
    )

    assert done.returncode == 0, done.stderr
    assert "| NO |" not in done.stdout and done.stdout.count("| yes |") >= 5
    for what in ("beside nvidia-smi", "cost of who is on", "a TiB halved", "RLIMIT_DATA", *FRAMEWORKS):
        assert what in done.stdout


def test_without_a_device_it_says_so() -> None:
    """No table, no failure, and the reason."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.gpu.check"], cwd=ROOT, capture_output=True, text=True, timeout=120
    )

    assert done.returncode == 0 and (
        "NOT TESTED: no NVIDIA GPU answers here: " in done.stdout or "| yes |" in done.stdout
    )
