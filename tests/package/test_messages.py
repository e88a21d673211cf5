"""Findings as SARIF, and the export's story as lines and as JSON."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import get_args

from mlguard_convert.messages import ON_COMMAND_LINE, JsonTeller, TextTeller, as_json
from mlguard_convert.package import StepRow
from mlguard_convert.sarif import sarif
from mlguard_convert.verify import Row, Verification
from mlguard_nb.errors import ConversionError, Diagnostic, Remedy
from mlguard_nb.notebook.exporting import ON_THE_LINE

FINDING = Diagnostic("order", "info", 6, 2, "cell 6 was run before cell 5", "Run all cells in order")


def result(**given: object) -> object:
    from mlguard_convert.exporting import ExportResult

    facts: dict[str, object] = {
        "package": "churn",
        "notebook": "churn.ipynb",
        "cells": 8,
        "steps": (StepRow(name="train", cells=(5, 6), reads=("table",), gives=("model",), guards=("3 attempts",)),),
        "diagnostics": (FINDING,),
        "run": "churn run",
        **given,
    }
    return ExportResult(**facts)  # type: ignore[arg-type]


def test_a_plan_in_text_names_steps_and_findings() -> None:
    out, errors = io.StringIO(), io.StringIO()
    TextTeller(out, errors).result(result())  # type: ignore[arg-type]
    assert "8 cells become 1 step; nothing was run or written" in out.getvalue()
    assert "table -> model  [3 attempts]" in out.getvalue()
    assert errors.getvalue().startswith("info     churn.ipynb: cell 6, line 2: cell 6 was run before cell 5")


def test_the_name_of_a_file_is_one_line_and_steers_no_terminal() -> None:
    """Line breaks, escape sequences and bytes that are no text are written as Python escapes them."""
    name, shown = "Übung\n\x1b[31m\udcff.ipynb", "Übung\\n\\x1b[31m\\udcff.ipynb"
    out, errors = io.StringIO(), io.StringIO()
    teller = TextTeller(out, errors)
    teller.refused(name, ConversionError(name, [FINDING]))
    teller.result(result(notebook=name))  # type: ignore[arg-type]
    teller.result(result(notebook=name, folder=Path("a\rb"), diagnostics=()))  # type: ignore[arg-type]
    assert [line.partition(": ")[0] for line in errors.getvalue().splitlines()] == [shown, f"info     {shown}"]
    lines = out.getvalue().splitlines()
    assert lines[0] == f"{shown}: 8 cells become 1 step; nothing was run or written"
    assert lines[-1] == f"{shown} -> a\\rb (0 files)"


def test_a_comparison_in_text_goes_name_by_name() -> None:
    rows = (Row("auc", False, "close", "0.8, then 0.9", "0.8", "0.9"), Row("n", True, "value", "", "3", "3"))
    out = io.StringIO()
    teller = TextTeller(out, io.StringIO())
    teller.result(result(folder=Path("churn"), files=("a",), kept=("b.py",), verification=Verification(rows)))  # type: ignore[arg-type]
    text = out.getvalue()
    assert "1 of 2 final values are equal, 1 differs" in text
    assert "DIFFERS  auc  close     0.8, then 0.9" in text
    assert "kept b.py, which was changed by hand" in text


def test_a_comparison_tells_time_and_memory() -> None:
    """In text and in JSON; memory only where the system says."""
    seen = Verification(notebook_seconds=3.21, package_seconds=1.0, notebook_peak_bytes=3 * 2**30)
    out = io.StringIO()
    done = result(folder=Path("churn"), verification=seen)
    TextTeller(out, io.StringIO()).result(done)  # type: ignore[arg-type]
    assert "the notebook took 3.2 s and 3,072 MiB, the package 1.0 s\n" in out.getvalue()
    told = as_json(done)["verification"]  # type: ignore[arg-type]
    assert (told["notebook_peak_bytes"], told["package_peak_bytes"]) == (3 * 2**30, None)


def test_json_is_one_object_a_line() -> None:
    """Progress, then exactly one result or error."""
    out = io.StringIO()
    teller = JsonTeller(out)
    teller.progress("running the notebook", 2, 8)
    teller.result(result(verification=Verification(error="cell 2 fails")))  # type: ignore[arg-type]
    teller.refused("n.ipynb", ConversionError("n.ipynb", [FINDING]))
    progress, found, error = (json.loads(line) for line in out.getvalue().splitlines())
    assert progress == {"progress": "running the notebook", "done": 2, "of": 8}
    assert found["result"]["folder"] is None
    assert found["result"]["findings"][0]["level"] == "note"
    assert found["result"]["verification"]["sentence"] == "not compared: cell 2 fails"
    assert error["error"]["findings"][0]["cell"] == 6


BAD_CELL = Diagnostic("syntax", "error", 2, 1, "not valid Python", "Correct it.", ("skip_bad_cells",))


def test_each_front_end_says_a_remedy_in_its_own_words() -> None:
    """A command line names options, %guard what to add to its line, JSON the remedy itself."""
    from mlguard_convert.nbconvert_exporter import AS_TRAITS

    refusal = ConversionError("n.ipynb", [BAD_CELL])
    text, lines = io.StringIO(), io.StringIO()
    TextTeller(io.StringIO(), text).refused("n.ipynb", refusal)
    JsonTeller(lines).refused("n.ipynb", refusal)
    told = "cell 2, line 1: not valid Python. Correct it, or"
    assert text.getvalue() == f"n.ipynb: {told} export with --skip-bad-cells.\n"
    assert f"{told} export with --skip-bad-cells." in sarif([("n.ipynb", [BAD_CELL])])
    assert str(refusal.spelt(AS_TRAITS)) == f"n.ipynb: {told} set --MlguardExporter.skip_bad_cells=True."
    assert str(refusal.spelt(ON_THE_LINE)) == f"n.ipynb: {told} add --skip-bad-cells to this line."
    (finding,) = json.loads(lines.getvalue())["error"]["findings"]
    assert finding == {
        "code": "syntax", "level": "error", "cell": 2, "line": 1, "message": "not valid Python",
        "next_step": "Correct it.", "remedies": ["skip_bad_cells"],
    }  # fmt: skip
    for words in (ON_COMMAND_LINE, AS_TRAITS, ON_THE_LINE):
        assert tuple(words) == get_args(Remedy)


def test_a_result_is_plain_data() -> None:
    json.dumps(as_json(result(folder=Path("churn"))))  # type: ignore[arg-type]


def test_sarif_has_what_code_hosts_read() -> None:
    """Rule, level, file, and the cell as a logical place."""
    log = json.loads(sarif([("a dir/n.ipynb", [FINDING, Diagnostic("x", "error", None, None, "bad")])]))
    assert log["version"] == "2.1.0"
    first, second = log["runs"][0]["results"]
    assert (first["ruleId"], first["level"]) == ("order", "note")
    assert log["runs"][0]["tool"]["driver"]["rules"][first["ruleIndex"]]["id"] == "order"
    assert first["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "a%20dir/n.ipynb"
    assert first["locations"][0]["logicalLocations"][0]["name"] == "cell 6, line 2"
    assert "logicalLocations" not in second["locations"][0]
