"""What a user gets: a light runtime by default, everything enabled with [all], from wheel, sdist or editable tree."""

from __future__ import annotations

import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.packaging.conftest import ROOT, Environment

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(600)]

HEAVY = ("IPython", "ipykernel", "jupyterlab", "jupyter_server", "nbformat", "nbclient", "libcst", "tornado")
USE = """
import json, sys
import mlguard_nb
from mlguard_nb import retry, validate_input, cache_result, memory_guard, monitor, guard
@guard("retry=3 mem=0.99 cache=1h monitor name=double")
def double(x):
    return 2 * x
print(json.dumps({"value": double(21), "heavy": [m for m in HEAVY if m in sys.modules], "where": mlguard_nb.__file__}))
""".replace("HEAVY", repr(HEAVY))


def importable(environment: Environment, module: str) -> bool:
    return environment.run("-c", f"import {module}", check=False).returncode == 0


def test_the_wheel_alone_is_the_light_runtime(
    distributions: dict[str, Path], environment: Callable[[str], Environment]
) -> None:
    """No Jupyter, no libcst; the guards work; what needs an extra says which command installs it."""
    venv = environment("light")
    venv.install(str(distributions["wheel"]))
    told = json.loads(venv.run("-c", USE).stdout.splitlines()[-1])
    assert told["value"] == 42
    assert told["heavy"] == []
    assert "site-packages" in told["where"]
    assert [module for module in HEAVY if importable(venv, module)] == []
    done = venv.run("-m", "mlguard_convert", "nothing.ipynb", check=False)
    assert done.returncode == 2
    assert "mlguard-nb[convert]" in done.stdout
    assert "Traceback" not in done.stdout


def test_the_sdist_builds_the_same_without_node(
    distributions: dict[str, Path], environment: Callable[[str], Environment], uv: str
) -> None:
    """The sdist carries the bundle, so installing from it needs no node and runs no npm."""
    venv = environment("sdist")
    no_node = f"{venv.folder / 'bin'}:/usr/bin-without-node"
    venv.install(str(distributions["sdist"]), PATH=no_node)
    assert json.loads(venv.run("-c", USE).stdout.splitlines()[-1])["value"] == 42
    bundle = venv.folder / "share/jupyter/labextensions/mlguard-nb"
    assert (bundle / "package.json").is_file()
    assert any((bundle / "static").glob("remoteEntry.*.js"))


def test_an_editable_install_imports_both_packages_from_the_tree(environment: Callable[[str], Environment]) -> None:
    venv = environment("editable")
    venv.install("--editable", str(ROOT))
    told = venv.run(
        "-c", "import mlguard_nb, mlguard_convert; print(mlguard_nb.__file__, mlguard_convert.__file__)"
    ).stdout
    assert str(ROOT / "mlguard_nb") in told
    assert str(ROOT / "converter/mlguard_convert") in told


def test_all_enables_the_browser_and_the_server_side(
    distributions: dict[str, Path], environment: Callable[[str], Environment]
) -> None:
    """After one plain install both lists show us enabled and OK, with no further command."""
    venv = environment("all")
    venv.install(f"{distributions['wheel']}[all]")
    labs = venv.run("-m", "jupyter", "labextension", "list").stdout
    assert any("mlguard-nb" in line and "enabled" in line and "OK" in line for line in labs.splitlines()), labs
    servers = venv.run("-m", "jupyter", "server", "extension", "list").stdout
    ours = [line for line in servers.splitlines() if "mlguard_nb" in line]
    assert any("enabled" in line for line in ours), servers
    assert any("OK" in line for line in ours), servers
    assert "mlguard-nb" in venv.script("mlguard-nb", "--help").stdout
    assert importable(venv, "mlguard_nb.notebook.extension")


def test_the_wheel_holds_both_packages_once_and_nothing_of_ours_twice(distributions: dict[str, Path]) -> None:
    names = zipfile.ZipFile(distributions["wheel"]).namelist()
    assert len(names) == len(set(names))
    tops = {name.split("/")[0] for name in names}
    assert tops == {"mlguard_nb", "mlguard_convert", *(top for top in tops if top.startswith("mlguard_nb-"))}
    assert {"mlguard_nb/py.typed", "mlguard_convert/py.typed"} <= set(names)
    assert not [name for name in names if "node_modules" in name or "/tests/" in name]


def test_the_sdist_holds_what_a_build_needs_and_no_leftovers(distributions: dict[str, Path]) -> None:
    with tarfile.open(distributions["sdist"]) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {"pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "labextension/package-lock.json"} <= names
    assert "mlguard_nb/labextension/package.json" in names
    assert not [name for name in names if "node_modules" in name or name.startswith(".venvs")]


def test_no_committed_file_names_a_registry() -> None:
    lock = (ROOT / "labextension/package-lock.json").read_text()
    assert '"resolved": "http' not in lock
    assert not [
        line for line in (ROOT / "pyproject.toml").read_text().splitlines() if "index" in line and "http" in line
    ]
