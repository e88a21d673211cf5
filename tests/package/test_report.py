"""A log becomes a table, errors become groups, and a change of level is found with its confidence."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from mlguard_convert.cli import main
from mlguard_convert.report import make_report, percentile, pettitt, proportions, rank_sum, text


def write(path: Path, *events: dict[str, Any], rest: str = "") -> Path:
    lines = [json.dumps({"time": 1000.0 + number, **event}) for number, event in enumerate(events)]
    path.write_text("\n".join(lines) + "\n" + rest)
    return path


def calls(count: int, seconds: float, *, failed: int = 0, name: str = "load", seed: int = 1) -> list[dict[str, Any]]:
    draw = random.Random(seed)
    made = [
        {
            "event": "call_finished",
            "function": name,
            "outcome": "ok",
            "duration_seconds": seconds * draw.uniform(0.9, 1.1),
        }
        for _ in range(count)
    ]
    for event in made[:failed]:
        event.update(outcome="error", error="ValueError", message=f"bad row {draw.randrange(99)}")
    return made


def test_a_log_becomes_a_line_a_function(tmp_path: Path) -> None:
    """Calls, errors, percentiles, and what the guards did; lines of other programs are counted and left out."""
    events = [
        *calls(9, 0.1, failed=2),
        {"event": "retry_scheduled", "function": "load"},
        {"event": "cache_hit", "function": "load"},
        {"event": "cache_hit", "function": "load", "stale": False, "count": 8},
        {"event": "cache_miss", "function": "load", "count": 3},
        {"event": "input_refused", "function": "score"},
        {"event": "step_finished", "step": "train", "seconds": 2.5, "error": None},
        {"event": "run_finished", "steps": 1},
    ]
    report = make_report(write(tmp_path / "log.jsonl", *events, rest="Traceback\n[1]\n"))
    by_name = {one.name: one for one in report.functions}
    load = by_name["load"]
    assert (load.calls, load.errors, load.retries, load.hit_rate) == (9, 2, 1, 0.75)
    assert load.p50 is not None
    assert 0.09 <= load.p50 <= 0.11
    assert by_name["score"].rejections == 1
    assert by_name["score"].p50 is None
    assert by_name["train"].p99 == 2.5
    assert report.unreadable == 2
    printed = text(report)
    assert "load" in printed
    assert "2 lines were no events" in printed


def test_errors_that_differ_by_numbers_are_one_group(tmp_path: Path) -> None:
    report = make_report(write(tmp_path / "log.jsonl", *calls(20, 0.1, failed=5)))
    assert [(group.error, group.message, group.count) for group in report.errors] == [("ValueError", "bad row #", 5)]


def test_a_change_of_level_is_found_where_it_happens() -> None:
    """Noise alone is not called a change; a jump is, at its place, with high confidence."""
    draw = random.Random(3)
    steady = [draw.gauss(1, 0.1) for _ in range(100)]
    assert pettitt(steady)[1] < 0.99
    at, confidence = pettitt([*steady[:60], *(2 + value for value in steady[60:])])
    assert at == 60
    assert confidence > 0.999


def test_few_false_alarms() -> None:
    """Of 400 steady series about one in a hundred may be called changed, not five."""
    draw = random.Random(5)
    alarms = sum(pettitt([draw.random() for _ in range(50)])[1] >= 0.99 for _ in range(400))
    assert alarms <= 8


def test_samples_and_shares_are_compared() -> None:
    draw = random.Random(7)
    one, other = [draw.random() for _ in range(50)], [draw.random() for _ in range(50)]
    assert rank_sum(one, other) < 0.99
    assert rank_sum(one, [value + 1 for value in other]) > 0.999
    assert proportions(1, 100, 2, 100) < 0.9
    assert proportions(1, 100, 30, 100) > 0.999
    assert proportions(0, 10, 0, 10) == 0.0
    assert percentile([], 0.5) is None
    assert percentile([1, 2, 3, 4], 0.5) == 2


def test_a_regression_against_a_baseline_is_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Slower and failing more often: both are named with their confidence, in text and in JSON."""
    old = write(tmp_path / "old.jsonl", *calls(40, 0.1))
    new = write(tmp_path / "new.jsonl", *calls(40, 0.3, failed=20, seed=2))
    page = tmp_path / "page.html"
    assert main(["report", str(new), "--baseline", str(old), "--html", str(page)]) == 1
    printed = capsys.readouterr().out
    assert "WORSE  load: median" in printed
    assert "WORSE  load: errors 0.0% -> 50.0%" in printed
    assert "<svg" in page.read_text()
    assert "<script" not in page.read_text()
    assert main(["report", str(new), "--baseline", str(old), "--json"]) == 1
    changes = json.loads(capsys.readouterr().out)["changes"]
    assert {change["what"] for change in changes} == {"seconds", "errors"}
    assert main(["report", str(old), "--baseline", str(old)]) == 0


@pytest.mark.parametrize("content", [None, "", "no json\n"])
def test_a_log_that_is_none_is_one_line(
    content: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log.jsonl"
    if content is not None:
        log.write_text(content)
    assert main(["report", str(log)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "log.jsonl" in error


def test_names_are_text_on_the_page(tmp_path: Path) -> None:
    """A function's name from a log cannot become markup."""
    from mlguard_convert.report_page import page

    report = make_report(write(tmp_path / "log.jsonl", *calls(3, 0.1, name="<script>alert(1)</script>")))
    assert "<script>" not in page(report, "<b>")
