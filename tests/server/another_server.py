"""A process that looks like a kernel of another Jupyter server of this user."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOLD = "import os; print(os.getpid(), flush=True); input()"
START = "import subprocess, sys; subprocess.Popen(sys.argv[1:])"  # and end: what it starts is no child of this process


@contextmanager
def kernel(runtime: Path, kernel_id: str, **environment: str) -> Iterator[int]:
    """A process with the command line and the environment that another Jupyter server gives a kernel."""
    words = [sys.executable, "-c", HOLD, "-f", str(runtime / f"kernel-{kernel_id}.json")]
    without = {name: value for name, value in os.environ.items() if name != "JPY_SESSION_NAME"}
    with subprocess.Popen(
        [sys.executable, "-c", START, *words],
        env={**without, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.wait()
        yield pid
        process.communicate(b"\n")
