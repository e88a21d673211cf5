"""Several notebooks become one package: each a package inside it, what they define alike there once."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlguard_convert.cli import main
from mlguard_convert.settings import ExportOptions
from mlguard_convert.several import export_several
from mlguard_nb.errors import ConversionError
from tests.package.notebooks import write_notebook

IMPORTS = "import re\nimport math"
ALIKE = """LIMIT = 3

class Token:
    def __init__(self, text):
        self.text = text

def tokens(text):
    # words only
    return [Token(word) for word in re.findall("[a-z]+", text)][:LIMIT]
"""


def two(folder: Path, first: str = "", second: str = "") -> list[Path]:
    return [
        write_notebook(folder / "train.ipynb", IMPORTS, f"{ALIKE}{first}", "found = tokens('a b c d')\nn = len(found)"),
        write_notebook(
            folder / "report.ipynb",
            {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": "path = 'words.txt'", "outputs": []},
            IMPORTS,
            f"{ALIKE}{second}",
            "words = tokens(open(path).read())\nlast = words[-1].text",
        ),
    ]


def modules(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder / "src").as_posix(): path.read_text() for path in folder.glob("src/**/*.py")}


def test_what_is_defined_alike_is_there_once(tmp_path: Path) -> None:
    """A function, the class and the constant it reads move to shared.py with the import they need."""
    result = export_several(two(tmp_path), tmp_path / "out", options=ExportOptions(name="reports"))
    found = modules(tmp_path / "out")
    assert sum("def tokens" in text for text in found.values()) == 1
    assert sum("class Token" in text for text in found.values()) == 1
    assert "import re" in found["reports/shared.py"]
    assert "math" not in found["reports/shared.py"]
    assert "LIMIT = 3" in found["reports/shared.py"]
    assert "from reports.shared import tokens" in found["reports/train/steps.py"]
    assert "reports/train/functions.py" not in found
    assert [one.package for one in result.parts] == ["reports.train", "reports.report"]
    assert result.steps[0].name == "train.make_found"


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        ("def f(x):\n    return x + 1", "def f(x):\n    return x + 2", "the code differs"),
        ("RATE = 1\ndef f(x):\n    return x * RATE", "RATE = 2\ndef f(x):\n    return x * RATE", "a constant differs"),
        (
            "from math import sqrt as root\ndef f(x):\n    return root(x)",
            "from cmath import sqrt as root\ndef f(x):\n    return root(x)",
            "an import differs",
        ),
        ("def g(x):\n    return 1\ndef f(x):\n    return g(x)", "def g(x):\n    return 2\ndef f(x):\n    return g(x)", "what it calls differs"),
    ],
    ids=lambda one: one if " " in one and "\n" not in one else "",
)  # fmt: skip
def test_what_may_differ_stays_with_its_notebook(tmp_path: Path, first: str, second: str, why: str) -> None:
    export_several(two(tmp_path, first, second), tmp_path / "out", options=ExportOptions(name="reports"))
    found = modules(tmp_path / "out")
    assert "def f(" not in found["reports/shared.py"], why
    assert "def f(" in found["reports/train/functions.py"]
    assert "def f(" in found["reports/report/functions.py"]


def test_both_compute_what_their_notebooks_compute_and_are_tested(tmp_path: Path) -> None:
    """Verified name by name, one command each, and the package's own tests pass on the data it carries."""
    notebooks = two(tmp_path)
    (tmp_path / "words.txt").write_text("x y z")
    result = export_several(notebooks, tmp_path / "out", options=ExportOptions(name="reports", verify=True))
    assert result.verification is not None
    assert result.verification.sentence() == "7 of 7 final values are equal"
    assert {row.name for row in result.verification.rows} >= {"train.n", "report.last", "report.path"}
    assert (tmp_path / "out/tests/data/words.txt").is_file()
    project = (tmp_path / "out/pyproject.toml").read_text()
    assert 'reports-train = "reports.train.__main__:main"' in project
    assert 'notebooks = ["train.ipynb", "report.ipynb"]' in project
    assert (
        "list[Token]" in modules(tmp_path / "out")["reports/shared.py"]
        or "-> list:" in modules(tmp_path / "out")["reports/shared.py"]
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "out/src")}
    tests = [sys.executable, "-m", "pytest", "-q", str(tmp_path / "out")]
    assert "4 passed" in subprocess.run(tests, env=environment, capture_output=True, text=True, check=False).stdout
    command = [sys.executable, "-m", "reports.report", "run", "--path", "other.txt", "--base-dir", str(tmp_path)]
    (tmp_path / "other.txt").write_text("q")
    done = subprocess.run([*command, "--save", "saved"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "saved/last.json").read_text()) == "q"


def test_notebooks_that_share_nothing_have_no_shared_module(tmp_path: Path) -> None:
    notebooks = [write_notebook(tmp_path / f"{name}.ipynb", f"{name} = 1\nx = [{name}]") for name in ("a", "b")]
    export_several(notebooks, tmp_path / "out", options=ExportOptions(name="reports"))
    found = modules(tmp_path / "out")
    assert "reports/shared.py" not in found
    for text in found.values():
        ast.parse(text)


def test_two_notebooks_of_one_name_are_refused_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    notebooks = [write_notebook(tmp_path / folder / "a.ipynb", "x = 1") for folder in ("one", "two")]
    with pytest.raises(ConversionError, match=r"would become reports\.a as well"):
        export_several(notebooks, tmp_path / "out", options=ExportOptions(name="reports"))
    bad = write_notebook(tmp_path / "bad.ipynb", "def (")
    words = ["export", str(notebooks[0]), str(bad), "--name", "reports", "--output", str(tmp_path / "out")]
    assert main(words) == 2
    assert "bad.ipynb: cell 1" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_check_of_several_names_each_notebook_and_goes_on_after_a_refusal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = write_notebook(tmp_path / "bad.ipynb", "def (")
    good = write_notebook(tmp_path / "good.ipynb", "x = [y]", "y = 1")
    log = tmp_path / "found.sarif"
    assert main(["check", str(bad), str(good), "--sarif", str(log)]) == 1
    told = capsys.readouterr()
    assert "bad.ipynb: cell 1, line 1" in told.err
    assert "good.ipynb: 2 cells become" in told.out
    results = json.loads(log.read_text())["runs"][0]["results"]
    places = {one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].rpartition("/")[2] for one in results}
    assert places == {"bad.ipynb", "good.ipynb"}
