"""Text of a notebook is untrusted: titles, prose, metadata, comments and file names stay text in every file written."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from mlguard_convert.exporting import export
from mlguard_nb.pipeline import options

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

TURNING = "\u202e\u2066"
EVIL = (
    '"""; open("pwned", "w"); """ \' \\ ${HOME} {{7*7}} {0} %s `id` <script>x</script> | \x1b[31m'
    + TURNING
    + "\u2028\x85"
)
LINES = '\n\n"""\nimport os; os.system("touch pwned")\n\nRUN touch pwned\n\n[tool.evil]\nx = 1\n\n\x00' + EVIL
FILE = "evil \"name' `id` ``\n[tool.evil]\nRUN x" + TURNING + ".ipynb"


def cell(kind: str, source: str, *tags: str) -> dict[str, object]:
    code = {"outputs": [], "execution_count": None} if kind == "code" else {}
    return {"cell_type": kind, "metadata": {"tags": [*tags], "name": EVIL, "title": LINES}, "source": source, **code}


def write(folder: Path, name: str) -> Path:
    """A notebook all of whose text wants to be more than text."""
    cells = [
        cell("markdown", f"# {EVIL}{LINES}"),
        cell("code", f"alpha = 3  # {EVIL.translate(dict.fromkeys((0x2028, 0x85)))}", "parameters", EVIL),
        cell("markdown", f"## {EVIL}\\"),
        cell("code", "x = alpha + 1"),
        cell("markdown", LINES),
        cell("code", "y = x + 1"),
        cell("markdown", '## It ends with a quote"'),
        cell("code", "z = y + 1"),
        cell("markdown", "## It ends with a backslash\\"),
        cell("code", "w = [x, y, z]"),
    ]
    facts = {"title": LINES, "authors": [{"name": EVIL}], "kernelspec": {"name": EVIL, "display_name": LINES}}
    path = folder / name
    path.write_text(json.dumps({"cells": cells, "metadata": facts, "nbformat": 4, "nbformat_minor": 5}))
    return path


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package, exported in an empty folder."""
    monkeypatch.chdir(tmp_path)
    result = export(write(tmp_path, FILE), tmp_path / "out", name="calm")
    assert result.folder is not None
    assert sorted(os.listdir(tmp_path)) == sorted([FILE, "out"]), "nothing was run, nothing lies beside the package"
    return result.folder


def texts(package: Path) -> dict[str, str]:
    return {str(file.relative_to(package)): file.read_text("utf-8") for file in package.rglob("*") if file.is_file()}


def test_no_file_holds_what_a_reader_does_not_see(package: Path) -> None:
    """No control characters, and none that turn the reading direction around."""
    for name, text in texts(package).items():
        hidden = {char for char in text if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")} - {"\n"}
        assert not hidden, (name, hidden)


def test_python_stays_the_code_of_the_cells(package: Path) -> None:
    """Each module holds imports, constants, functions and classes; all else is inside a string."""
    plain = (ast.Import, ast.ImportFrom, ast.Assign, ast.FunctionDef, ast.ClassDef, ast.If)
    for name, text in texts(package).items():
        if name.endswith(".py"):
            first, *others = ast.parse(text).body
            assert isinstance(first, ast.Expr), name
            assert isinstance(first.value, ast.Constant), name
            assert all(isinstance(one, plain) for one in others), name
            called = {
                one.func.id
                for one in ast.walk(ast.parse(text))
                if isinstance(one, ast.Call) and hasattr(one.func, "id")
            }
            assert not called & {"open", "system", "exec", "eval"}, name


def test_toml_and_dockerfile_are_those_of_any_notebook(package: Path, tmp_path: Path) -> None:
    """The name of the notebook is one value of pyproject.toml; the image knows nothing of it."""
    found = tomllib.loads((package / "pyproject.toml").read_text("utf-8"))
    assert found["tool"]["mlguard"]["notebook"] == FILE
    assert set(found["tool"]) == {"hatch", "mlguard", "ruff", "mypy"}
    assert found["project"]["scripts"] == {"calm": "calm.__main__:main"}
    harmless = tmp_path / "plain.ipynb"
    harmless.write_text(
        json.dumps({"cells": [cell("code", "x = 1")], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    )
    other = export(harmless, tmp_path / "plain", name="calm").folder
    assert other is not None
    for name in ("Dockerfile", ".dockerignore"):
        assert (package / name).read_text() == (other / name).read_text()


def test_the_readme_has_the_lines_of_any_readme(package: Path) -> None:
    lines = (package / "README.md").read_text("utf-8").splitlines()
    assert [line for line in lines if line.startswith("#")] == ["# calm", "## What was changed, and why", "## Tests"]
    assert not [line for line in lines if line.startswith(("[tool", "RUN", "import os"))]


def test_the_package_runs_and_does_only_what_the_cells_do(package: Path, tmp_path: Path) -> None:
    """Importing it, asking for help and running it touch nothing."""
    (tmp_path / "empty").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(package / "src"), "PYTHONDONTWRITEBYTECODE": "1"}

    def done(*words: str) -> str:
        command = [sys.executable, "-W", "error", *words]
        ran = subprocess.run(
            command, cwd=tmp_path / "empty", env=environment, capture_output=True, text=True, check=True
        )
        return ran.stdout

    assert done("-c", "from calm import run; print(run()['w'])") == "[4, 5, 6]\n"
    shown = done("-m", "calm", "run", "--help")
    assert "--alpha" in shown
    assert "\x1b" not in shown
    assert not os.listdir(tmp_path / "empty")


def test_parameters_may_have_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of pydantic's models become no options, with a warning; all others do, and the command works."""
    monkeypatch.chdir(tmp_path)
    names = [
        "copy", "json", "schema", "model_config", "model_name", "params", "base_dir", "save", "self", "Params", "Any", "run",
        "BaseModel", "Field", "UNBOUND", "Results", "Path", "steps", "step", "working_directory", "help", "print", "ünï",
        "Secret", "SecretStr", "FromEnvironment",
    ]  # fmt: skip
    source = "\n".join(f"{name} = {number}  # here" for number, name in enumerate(names))
    source += "\npassword = ''\ntoken = None\nnone = None\nlogin = {'password': 'abcd1234efgh'}"
    cells = [cell("code", source, "parameters"), cell("code", f"r = [{', '.join(names)}]")]
    path = tmp_path / "odd.ipynb"
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    result = export(path, tmp_path / "odd")
    assert [one.message.split("`")[1] for one in result.diagnostics if "`" in one.message] == [
        "copy", "json", "schema", "model_config",
    ]  # fmt: skip
    assert options.RUN_OPTIONS & {name.replace("_", "-") for name in result.parameters} == {"base-dir", "save"}
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "odd" / "src")}
    words = ["-m", "odd", "run", "--param-save", "70", "--model-name", "40", "--save", str(tmp_path / "saved")]
    subprocess.run([sys.executable, "-W", "error", *words], env=environment, check=True, capture_output=True)
    code = f"from mlguard_nb.pipeline import load_results; print(load_results({str(tmp_path / 'saved')!r})['r'])"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    wanted = [*range(len(names))]
    wanted[names.index("save")], wanted[names.index("model_name")] = 70, 40
    assert json.loads(done.stdout) == wanted
