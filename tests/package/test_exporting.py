"""The export from one end to the other, on small notebooks: what is written, what is refused, what is kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from mlguard_convert.cli import main
from mlguard_convert.exporting import export
from mlguard_convert.settings import ExportOptions
from mlguard_nb.errors import ConversionError, Diagnostic
from tests.package.notebooks import write_notebook
from tests.packaging.conftest import Environment

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

PARAMETERS: dict[str, Any] = {
    "cell_type": "code",
    "execution_count": None,
    "metadata": {"tags": ["parameters"]},
    "outputs": [],
    "source": 'source = "data/rows.csv"\nfactor = 3  # what each row counts',
}
CELLS: tuple[Any, ...] = (
    ("markdown", "# Tally\n\nAdd up rows, with care."),
    "import csv\nimport statistics",
    PARAMETERS,
    ("markdown", "## Load"),
    "with open(source) as file:\n    rows = [float(row['value']) for row in csv.DictReader(file)]\nrows[:2]",
    ("markdown", "## Add up"),
    "def weigh(value):\n    return value * factor",
    "total = sum(weigh(row) for row in rows)\nmiddle = statistics.median(rows)\nprint(f'total {total}')",
)


@pytest.fixture
def tally(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The notebook with its data; the current folder is another one."""
    path = write_notebook(tmp_path / "work" / "tally.ipynb", *CELLS)
    (path.parent / "data").mkdir()
    (path.parent / "data" / "rows.csv").write_text("value\n1\n2\n4\n")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return path


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_an_export_writes_a_whole_package(tally: Path) -> None:
    """Into a folder of the package's name, with everything around the code; nothing of the notebook was executed."""
    result = export(tally)
    assert result.folder == Path.cwd() / "tally"
    assert listing(result.folder) == sorted(result.files)
    for expected in (
        "pyproject.toml", "README.md", "Dockerfile", ".dockerignore", "requirements.lock", ".mlguard.json",
        "src/tally/__init__.py", "src/tally/__main__.py", "src/tally/pipeline.py", "src/tally/steps.py",
        "src/tally/params.py", "tests/test_tally.py", "tests/data/rows.csv",
    ):  # fmt: skip
        assert expected in result.files
    assert result.parameters == ("source", "factor")
    assert result.verification is None
    assert [one for one in result.diagnostics if one.severity == "error"] == []
    assert "add up rows, with care." in (result.folder / "pyproject.toml").read_text()


def test_the_written_code_is_formatted_and_clean(tally: Path) -> None:
    """ruff finds nothing, with the settings the package itself carries."""
    folder = export(tally).folder
    assert folder is not None
    for command in (["check", "--select=E4,E7,E9,F,I", "."], ["format", "--check", "."]):
        done = subprocess.run([sys.executable, "-m", "ruff", *command], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


@pytest.mark.kernel
def test_verify_compares_and_records(tally: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every final value is equal, is recorded for the package's test, and the data it read travels."""
    assert main(["export", str(tally), "--verify"]) == 0
    captured = capsys.readouterr()
    assert "final values are equal" in captured.out
    assert "differ" not in captured.out
    assert "running the notebook" in captured.err
    recorded = json.loads(Path("tally/tests/recorded.json").read_text())
    assert recorded["values"]["total"] == {"type": "float", "value": 21.0}
    environment = {**os.environ, "PYTHONPATH": str(Path("tally/src").resolve())}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tally/tests"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert "2 passed" in done.stdout, done.stdout
    assert not (tally.parent / "figures").exists()


@pytest.mark.kernel
def test_a_secret_is_compared_but_neither_shown_nor_recorded(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Also where another value is made of it; its own assignment, of which a warning tells, is all that holds it."""
    path = write_notebook(tmp_path / "n.ipynb", "password = 'hunter2hunter2'", "url = f'a:{password}@b'\nrows = [3]")
    assert main(["export", str(path), "--verify", "--json", "--output", str(tmp_path / "out")]) == 0
    captured = capfd.readouterr()
    assert "hunter2" not in captured.out + captured.err
    result = json.loads(captured.out.splitlines()[-1])["result"]
    assert [(row["name"], row["equal"]) for row in result["verification"]["rows"]] == [
        ("password", True), ("url", True), ("rows", True),
    ]  # fmt: skip
    holding = [file for file in (tmp_path / "out").rglob("*") if file.is_file() and "hunter2" in file.read_text()]
    assert [file.name for file in holding] == ["steps.py"]
    recorded = json.loads((tmp_path / "out" / "tests" / "recorded.json").read_text())
    assert recorded["values"]["url"] == {"type": "str"}


@pytest.mark.kernel
def test_a_secret_parameter_is_in_no_file_and_nothing_made_of_it_is_recorded(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is made of it in some other shape is found by a run with a stand-in, with which the tests of the package
    pass; with the value in its environment its command runs.
    """
    source = "api_key = 'hunter2-abcdef'  # of the billing service\npassword = ''"
    cells = [{**PARAMETERS, "source": source}, "import base64\nhead = base64.b64encode(api_key.encode())\nrows = [3]"]
    path = write_notebook(tmp_path / "billing.ipynb", *cells)
    monkeypatch.setenv("BILLING_PASSWORD", "of this machine")
    assert main(["export", str(path), "--verify", "--json", "--output", str(tmp_path / "out")]) == 0
    captured = capfd.readouterr()
    result = json.loads(captured.out.splitlines()[-1])["result"]
    assert all(row["equal"] for row in result["verification"]["rows"])
    assert [one["message"] for one in result["findings"] if one["code"] == "secret"] == [
        "a literal looks like a secret, which the package takes from the environment"
    ]
    texts = [
        captured.out,
        captured.err,
        *(file.read_text() for file in (tmp_path / "out").rglob("*") if file.is_file()),
    ]
    assert [text for text in texts if "hunter2" in text or "aHVudGVyMi1" in text] == []
    readme = (tmp_path / "out" / "README.md").read_text()
    assert "`api_key` is a secret: taken from `BILLING_API_KEY` in the environment or from `--api-key`" in readme
    assert "Where `BILLING_API_KEY` is not set, they run with a stand-in" in readme
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "out" / "src")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path / "out" / "tests")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert "2 passed" in done.stdout, done.stdout
    run = [sys.executable, "-m", "billing", "run"]
    assert subprocess.run(run, env=environment, capture_output=True).returncode == 2
    assert subprocess.run(run, env={**environment, "BILLING_API_KEY": "x"}, capture_output=True).returncode == 0


@pytest.mark.kernel
def test_a_value_that_differs_is_status_1(tally: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The package runs where its data says something else: the name and both values are shown."""
    result = export(tally)
    assert result.folder is not None
    (tally.parent / "data" / "rows.csv").write_text("value\n1\n2\n5\n")
    steps = result.folder / "src" / "tally" / "steps.py"
    steps.write_text(steps.read_text().replace("statistics.median(rows)", "statistics.mean(rows)"))
    from mlguard_convert.verify import verify

    found = verify(tally, result.folder)
    assert [row.name for row in found.rows if row.equal is False] == ["middle"]
    assert not found.ok


def test_check_writes_nothing_and_tells_the_plan(tally: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tally), "--json"]) == 0
    result = [json.loads(line) for line in capsys.readouterr().out.splitlines()][-1]["result"]
    assert result["folder"] is None
    assert [step["cells"] for step in result["steps"]]
    assert list(Path.cwd().iterdir()) == []
    assert main(["export", str(tally), "--check"]) == 0
    assert list(Path.cwd().iterdir()) == []


def test_a_second_export_keeps_edits(tally: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The edited README stays, the new one lies beside it once there is something new, --force overwrites."""
    assert main(["export", str(tally)]) == 0
    readme = Path("tally/README.md")
    generated = readme.read_text()
    readme.write_text("mine")
    cells = [*CELLS[:-1], CELLS[-1] + "\nhalf = total / 2"]
    write_notebook(tally, *cells)
    assert main(["export", str(tally)]) == 0
    assert readme.read_text() == "mine"
    assert "half" in Path("tally/README.md.new").read_text()
    assert "kept README.md" in capsys.readouterr().out
    assert main(["export", str(tally), "--force"]) == 0
    assert "half" in readme.read_text() != generated
    assert not Path("tally/README.md.new").exists()


def test_an_edited_file_whose_cell_is_gone_is_told(tally: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In one line of the result, and in its data, which the dialog shows."""
    assert main(["export", str(tally)]) == 0
    Path("tally/src/tally/params.py").write_text("mine")
    write_notebook(tally, "total = 21")
    capsys.readouterr()
    assert main(["export", str(tally)]) == 0
    said = "kept src/tally/params.py, which was changed by hand; the notebook no longer makes such a file\n"
    assert said in capsys.readouterr().out
    assert main(["export", str(tally), "--json"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])["result"]
    assert (result["kept"], result["left"]) == ([], ["src/tally/params.py"])
    assert Path("tally/src/tally/params.py").read_text() == "mine"


def test_a_second_export_of_the_same_changes_no_byte(tally: Path) -> None:
    first = export(tally).folder
    assert first is not None
    before = {name: (first / name).read_bytes() for name in listing(first)}
    export(tally)
    assert {name: (first / name).read_bytes() for name in listing(first)} == before


@pytest.mark.parametrize("moment", ["writing the package", "importing the package", "moving the package into place"])
def test_an_interrupted_export_leaves_nothing(tally: Path, moment: str) -> None:
    """Ctrl-C at any moment: no package, no half of one, no temporary folder."""

    def interrupt(text: str, done: int, of: int) -> None:
        if text == moment:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(tally, progress=interrupt)
    assert list(Path.cwd().iterdir()) == []


def bad(tmp_path: Path) -> dict[str, tuple[Path, str]]:
    """Every kind of file that is refused, and a piece of what is said about it."""

    def file(name: str, content: bytes) -> Path:
        path = tmp_path / "bad" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return path

    def cells(name: str, *sources: str, **metadata: Any) -> Path:
        return write_notebook(tmp_path / "bad" / name, *sources, **metadata)

    r_kernel = {"kernelspec": {"name": "ir", "language": "R", "display_name": "R"}, "language_info": {"name": "R"}}
    return {
        "missing": (tmp_path / "nothing.ipynb", "nothing.ipynb: there is no such file. Check its name"),
        "folder": (tmp_path, f"{tmp_path}: this is a folder. Name a notebook"),
        "empty": (file("empty.ipynb", b""), "the file is empty. Open it in Jupyter"),
        "truncated": (file("truncated.ipynb", b'{"cells": [{"cell_ty'), "not a notebook"),
        "array": (file("array.ipynb", b"[]"), "not a notebook"),
        "latin": (file("latin.ipynb", '{"cells": "é"}'.encode("latin-1")), "not a notebook"),
        "no cells": (file("object.ipynb", b"{}"), "not a notebook"),
        "R": (cells("r.ipynb", "x <- 1", **r_kernel), "its language is R, not Python. Name a Python notebook"),
        "syntax": (cells("syntax.ipynb", "x = 1", "y = = 2"), "cell 2, line 1"),
        "return": (cells("return.ipynb", "x = 1\nreturn x"), "cell 1, line 2"),
        "indent": (cells("indent.ipynb", "  x = 1\n y = 2"), "cell 1"),
    }


@pytest.mark.parametrize(
    "case", ["missing", "folder", "empty", "truncated", "array", "latin", "no cells", "R", "syntax", "return", "indent"]
)
def test_bad_input_is_one_clear_line_and_status_2(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names the file, and cell and line where there are such; nothing is written."""
    path, said = bad(tmp_path)[case]
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    assert main(["export", str(path)]) == 2
    captured = capsys.readouterr()
    problem = [line for line in captured.err.splitlines() if line != "reading the notebook"]
    assert len(problem) == 1, problem
    assert said in problem[0]
    assert "Traceback" not in captured.err
    assert captured.out == ""
    assert list(here.iterdir()) == []
    assert main(["export", str(path), "--json"]) == 2
    error = json.loads(capsys.readouterr().out.splitlines()[-1])["error"]
    assert said in error["message"]


def test_check_reports_cells_that_cannot_be_read_with_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of them at once, also as SARIF; --skip-bad-cells leaves them out."""
    path = write_notebook(tmp_path / "n.ipynb", "x = 1", "y = = 2", "return 3")
    log = tmp_path / "log.sarif"
    assert main(["check", str(path), "--sarif", str(log)]) == 1
    error = capsys.readouterr().err
    assert "cell 2, line 1" in error
    assert "cell 3, line 1" in error
    assert error.count("Correct it, or export with --skip-bad-cells.") == 2
    assert len(json.loads(log.read_text())["runs"][0]["results"]) == 2
    assert main(["check", str(path), "--skip-bad-cells"]) == 0


def test_somebody_elses_folder_is_refused(tally: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, status 2, and not a byte changed; --force writes into it."""
    thesis = Path("tally")
    thesis.mkdir()
    (thesis / "chapter.md").write_text("1")
    assert main(["export", str(tally)]) == 2
    said = "was not written by mlguard-nb export. Choose another --output, or write into it with --force."
    assert said in capsys.readouterr().err
    assert listing(thesis) == ["chapter.md"]
    assert main(["export", str(tally), "--force"]) == 0
    assert (thesis / "chapter.md").read_text() == "1"


@pytest.mark.parametrize("output", ["locked", "locked/deep/churn"])
def test_a_folder_that_may_not_be_written_is_refused_before_anything_is_made(
    output: str, tally: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line names the folder and what to do; nothing is left, not even a temporary folder."""
    locked = Path("locked").absolute()
    locked.mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != locked)
    assert main(["export", str(tally), "--output", output]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == f"{tally}: {locked} is not writable for you. Choose another --output."
    assert len(lines) == 2
    assert listing(locked) == []


def test_a_file_in_the_way_of_the_folder_is_named(tally: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--output below a file."""
    Path("notes.txt").write_text("1")
    assert main(["export", str(tally), "--output", "notes.txt/churn"]) == 2
    assert "notes.txt is a file. Choose another --output" in capsys.readouterr().err


def test_the_command_alone_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """The commands, and one to begin with."""
    assert main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[-1].endswith("for example: mlguard-nb export NOTEBOOK.ipynb")


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["exprot", "n.ipynb"], "did you mean export?"),
        (["export", "n.ipynb", "--verfiy"], "did you mean --verify?"),
        (["check", "n.ipynb", "--sarfi=x"], "did you mean --sarif?"),
        (["export", "n.ipynb", "--order", "execute"], "did you mean executed?"),
    ],
)
def test_a_misspelt_word_is_answered_with_the_one_that_was_meant(
    words: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2
    assert capsys.readouterr().err.rstrip().endswith(meant)


def test_a_word_that_is_like_no_other_is_only_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["export", "n.ipynb", "--qqq"])
    assert "did you mean" not in capsys.readouterr().err


def test_findings_that_cannot_be_written_are_status_2(tally: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--sarif into a folder that is not there: one line, after the findings themselves."""
    assert main(["check", str(tally), "--sarif", str(tally.parent / "gone/log.sarif")]) == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith("gone/log.sarif: No such file or directory")


def test_paths_upwards_are_shown_as_they_are(tmp_path: Path) -> None:
    """A sentence that already ends in a dot gets no second one, and `../` keeps both of its."""
    shown = str(Diagnostic("data", "warning", 3, 1, "../data/rows.csv stays behind.", "See ../data."))
    assert shown == "cell 3, line 1: ../data/rows.csv stays behind. See ../data."


def test_verify_is_silent_about_cells_without_an_id(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """nbformat 4.5 wants ids, and warns on standard error of every cell that has none."""
    path = write_notebook(tmp_path / "n.ipynb", "a = 1")
    written = json.loads(path.read_text()) | {"nbformat_minor": 5}
    path.write_text(json.dumps(written))
    assert main(["export", str(path), "--verify", "--output", str(tmp_path / "n")]) == 0
    assert "Warning" not in capfd.readouterr().err


def test_a_missing_extra_says_what_installs_it(
    tally: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without libcst the command is one line and status 2, not a traceback."""
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "libcst" else found(name))
    assert main(["export", str(tally)]) == 2
    error = capsys.readouterr().err
    assert error == "mlguard-nb: exporting a notebook needs an optional dependency: pip install 'mlguard-nb[convert]'\n"
    assert error.count("\n") == 1


def test_data_above_a_megabyte_stays_behind_unless_asked(tally: Path) -> None:
    """The finding and the README name it; --pack-data takes it along."""
    (tally.parent / "data" / "rows.csv").write_text("value\n" + "1.000001\n" * 150_000)
    result = export(tally)
    assert result.folder is not None
    assert "tests/data/rows.csv" not in result.files
    assert any("data/rows.csv does not travel" in one.message for one in result.diagnostics)
    assert "data/rows.csv" in (result.folder / "README.md").read_text()
    packed = export(tally, options=ExportOptions(pack_data=True))
    assert "tests/data/rows.csv" in packed.files


@pytest.mark.kernel
def test_types_that_were_seen_are_written(tally: Path) -> None:
    """On steps, on functions and in the results; a type checker agrees with them. Without --verify none is invented."""
    folder = export(tally).folder
    assert folder is not None
    assert "rows: " not in (folder / "src/tally/steps.py").read_text()
    folder = export(tally, verify=True).folder
    assert folder is not None
    assert "def weigh(value: float, *, factor: int) -> float:" in (folder / "src/tally/functions.py").read_text()
    assert "total: float" in (folder / "src/tally/pipeline.py").read_text()
    command = [sys.executable, "-m", "mypy", "--cache-dir", os.devnull, "src"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.kernel
def test_a_schema_is_learned_when_the_outputs_were_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`%guard schema` wrote nothing into this file: --verify runs the notebook and takes the schema from there."""
    pytest.importorskip("pandas")
    path = write_notebook(
        tmp_path / "work" / "n.ipynb",
        "%load_ext mlguard_nb\nimport pandas as pd",
        "table = pd.DataFrame({'age': [20, 61]})",
        "%guard schema table --name Ages",
        "%%guard validate=rows:Ages\ndef oldest(rows):\n    return int(rows['age'].max())",
        "top = oldest(table)",
    )
    monkeypatch.chdir(tmp_path)
    result = export(path, verify=True)
    assert result.verification is not None
    assert result.verification.ok, result.verification
    assert result.folder is not None
    assert "Ages = Frame" in (result.folder / "src/n/schemas.py").read_text()
    assert "@validate_input(rows=Ages, stats=AgesProfile)" in (result.folder / "src/n/functions.py").read_text()


def test_what_guarded_steps_ask_of_a_cluster_is_written_down(tmp_path: Path) -> None:
    """A GPU where the step guards one, else the memory it needs; a plain ceiling asks for nothing."""
    path = write_notebook(
        tmp_path / "costly.ipynb",
        "%load_ext mlguard_nb",
        "%%guard gpu=0.9 name=train\nmodel = [1]",
        "%%guard mem=0.9 need=2GB name=spread\ntable = model * 2",
        "%%guard mem=0.8 name=sum_up\ntotal = sum(table)",
    )
    export(path, tmp_path / "costly")
    text = (tmp_path / "costly/pyproject.toml").read_text()
    assert tomllib.loads(text)["tool"]["mlguard"]["resources"] == {
        "train": {"num_gpus": 1}, "spread": {"memory": "2GB"},
    }  # fmt: skip
    plain = write_notebook(tmp_path / "plain.ipynb", "a = 1")
    export(plain, tmp_path / "plain")
    assert "resources" not in (tmp_path / "plain/pyproject.toml").read_text()


def test_kubernetes_and_names(tally: Path) -> None:
    result = export(tally, Path("out/deep"), name="counting_rows", options=ExportOptions(k8s=True))
    assert result.folder == Path.cwd() / "out" / "deep"
    assert 'name: "counting-rows"' in (result.folder / "kubernetes" / "job.yaml").read_text()
    assert result.run == "counting-rows run"


def test_nbconvert_writes_the_package_beside_the_notebook(tally: Path) -> None:
    """`jupyter nbconvert --to mlguard`: its own output is the README; a notebook that cannot be converted is refused."""
    from mlguard_convert.nbconvert_exporter import MlguardExporter

    text, resources = MlguardExporter().from_filename(str(tally))
    assert text.startswith("# tally")
    assert resources["output_extension"] == ".export.md"
    assert (tally.parent / "tally" / "src" / "tally" / "steps.py").exists()
    chosen = {"name": "sums", "outputs": "total", "keep_displays": True, "output": str(tally.parent / "elsewhere")}
    MlguardExporter(**chosen).from_filename(str(tally))
    results = (tally.parent / "elsewhere/src/sums/pipeline.py").read_text().partition("class Results")[2]
    assert "    total:" in results
    assert "middle:" not in results, "only the output that was asked for"
    options = {one.name for one in fields(ExportOptions)} - {"check"}
    assert options <= set(MlguardExporter.class_trait_names(config=True)), "the options of the command line"
    with pytest.raises(ConversionError, match=r"cell 1, line 1.* set --MlguardExporter.skip_bad_cells=True\.$"):
        MlguardExporter().from_filename(str(write_notebook(tally.parent / "bad.ipynb", "y = = 2")))


@pytest.mark.packaging
@pytest.mark.kernel
@pytest.mark.timeout(600)
def test_an_exported_package_installs_and_runs_elsewhere(
    tally: Path, runtime_wheel: Path, environment: Callable[[str], Environment], tmp_path: Path
) -> None:
    """Only the runtime beside it: its options, its command, its tests, and --verify with that other interpreter."""
    result = export(tally, verify=True)
    assert result.folder is not None
    venv = environment("venv")
    venv.install(str(runtime_wheel), f"{result.folder}[test]")
    out = tmp_path / "out"
    base = str(tally.parent)
    done = venv.script("tally", "run", "--base-dir", base, "--factor", "10", "--save", str(out))
    assert "total 70.0" in done.stdout
    assert json.loads((out / "total.json").read_text()) == 70.0
    assert "what each row counts" in venv.script("tally", "run", "--help").stdout
    assert "total 21.0" in venv.run("-m", "tally", "run", "--base-dir", base).stdout
    assert "2 passed" in venv.run("-m", "pytest", "-q", str(result.folder)).stdout
    carried = "import tally, pathlib; print((pathlib.Path(tally.__file__).parent / 'pyproject.toml').read_text())"
    assert 'notebook = "tally.ipynb"' in venv.run("-c", carried).stdout
    again = export(tally, options=ExportOptions(verify=True, python=venv.python))
    assert again.verification is not None
    assert again.verification.ok, again.verification.sentence()


def test_a_name_that_an_earlier_turn_of_a_loop_binds_is_marked_with_the_reason(tmp_path: Path) -> None:
    """In steps and functions; not where a name of that line is bound by nobody, and not inside a text."""
    cells = [
        "rows = [3, 1]\nfor k in rows:\n    if k < 3:\n        out = best\n    best = k",
        "def walk(xs):\n    while xs:\n        if len(xs) < 2:\n            return before\n        before = xs.pop()",
        "for n in rows:\n    if n == 1:\n        said = f'''one\n{former}\n'''\n    former = n",
        "for n in walk([[1], [2]]):\n    if n > 5:\n        print(last, nowhere)\n    last = n",
    ]
    export(write_notebook(tmp_path / "loops.ipynb", *cells), tmp_path / "loops")
    text = "".join(file.read_text() for file in (tmp_path / "loops/src/loops").glob("*.py"))
    for line in ("out = best", "return before"):
        assert f"{line}  # noqa: F821  # an earlier turn of the loop has bound it\n" in text
    assert "print(last, nowhere)  # noqa: F821\n" in text
    assert "one\n{former}\n" in text
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command], cwd=tmp_path / "loops", capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout


def test_a_name_that_nobody_binds_is_diagnosed_and_marked_where_it_stands(tmp_path: Path) -> None:
    """The notebook's own slip stays as written; the package is clean by the F rules of ruff all the same."""
    path = write_notebook(tmp_path / "slip.ipynb", "def late():\n    return nowhere + 1\nhere = 1")
    done = export(path, tmp_path / "slip")
    assert any("nowhere" in diagnostic.message for diagnostic in done.diagnostics)
    source = (tmp_path / "slip/src/slip/functions.py").read_text()
    assert "return nowhere + 1  # noqa: F821" in source
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F,E9", str(tmp_path / "slip/src")]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
