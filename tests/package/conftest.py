"""The runtime as a wheel, for environments in which nothing of Jupyter or of the converter's libraries is installed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.packaging.conftest import ROOT, environment, run, uv

__all__ = ["environment", "runtime_wheel", "uv"]


@pytest.fixture(scope="session")
def runtime_wheel(uv: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree without the JupyterLab bundle."""
    folder = tmp_path_factory.mktemp("runtime")
    command = [uv, "build", "--quiet", "--python", sys.executable, "--wheel", "--out-dir", str(folder), str(ROOT)]
    run(command, env={**os.environ, "MLGUARD_SKIP_LABEXT": "1"})
    return next(folder.glob("*.whl"))
