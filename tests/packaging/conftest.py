"""One wheel and one sdist a session, built as a user's installer builds them, and fresh environments to put them in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Environment:
    """A virtual environment of its own, with nothing in it but what a test installs."""

    folder: Path
    uv: str

    @property
    def python(self) -> str:
        return str(self.folder / "bin" / "python")

    def install(self, *requirements: str, **variables: str) -> None:
        command = [self.uv, "pip", "install", "--quiet", "--python", self.python, *requirements]
        run(command, env={**os.environ, **variables})

    def run(self, *arguments: str, check: bool = True, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return run([self.python, *arguments], check=check, cwd=cwd or self.folder)

    def script(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run([str(self.folder / "bin" / name), *arguments], cwd=self.folder)


def run(
    command: list[str], *, check: bool = True, cwd: Path | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in (env or os.environ).items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        command, cwd=cwd, env=clean, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if check and done.returncode:
        pytest.fail(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-3000:]}")
    return done


@pytest.fixture(scope="session")
def uv() -> str:
    found = os.environ.get("UV") or shutil.which("uv")
    if found and Path(found).exists():
        return str(Path(found).resolve())
    local = ROOT / ".venvs/tools/bin/uv"
    if local.exists():
        return str(local)
    pytest.skip("uv is not here: run these tests with `make test`, which installs it")


@pytest.fixture(scope="session")
def distributions(uv: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """{"wheel": ..., "sdist": ...} of this tree; the sdist from the tree, the wheel from it as well."""
    folder = tmp_path_factory.mktemp("dist")
    run([uv, "build", "--quiet", "--python", sys.executable, "--sdist", "--wheel", "--out-dir", str(folder), str(ROOT)])
    return {"wheel": next(folder.glob("*.whl")), "sdist": next(folder.glob("*.tar.gz"))}


@pytest.fixture
def environment(uv: str, tmp_path: Path) -> Callable[[str], Environment]:
    def make(name: str) -> Environment:
        folder = tmp_path / name
        run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)])
        return Environment(folder, uv)

    return make
