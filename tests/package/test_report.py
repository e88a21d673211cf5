"""A log becomes a table, errors become groups, and a change of level is found with its confidence."""

from __future__ import annotations

import contextlib
import json
import random
from pathlib import Path
from typing import Any

import pytest

from mlguard_convert.change_points import adjusted, percentile, pettitt, proportions, rank_sum
from mlguard_convert.cli import main
from mlguard_convert.report import make_report, text
from mlguard_nb import monitor
from mlguard_nb.telemetry import bus, json_sink


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
        *[{"event": "calls_lost", "function": "score", "calls": 250}] * 2,
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
    assert "score: 500 more calls, too fast to be told, are in no figure" in printed


def test_errors_that_differ_by_numbers_are_one_group(tmp_path: Path) -> None:
    report = make_report(write(tmp_path / "log.jsonl", *calls(20, 0.1, failed=5)))
    assert [(group.error, group.message, group.count) for group in report.errors] == [("ValueError", "bad row #", 5)]


def test_errors_of_a_real_log_are_grouped_and_cancelled_calls_are_none(tmp_path: Path) -> None:
    """As the JSON sink writes them: class and message in one text, told when the calls are drained."""

    @monitor(name="fetch")
    def fetch(number: int) -> None:
        if number % 3 == 0:
            raise TimeoutError(f"row {number} of '/data/{number}.csv' at {id(fetch):#x} took {number / 7} s")
        if number % 3 == 1:
            raise KeyboardInterrupt

    log = tmp_path / "log.jsonl"
    stop = json_sink.install(log)
    for number in range(30):
        with contextlib.suppress(TimeoutError, KeyboardInterrupt):
            fetch(number)
    bus.flush()
    stop()
    report = make_report(log)
    (one,) = [one for one in report.functions if one.name == "fetch"]
    assert (one.calls, one.errors, one.cancelled, len(one.seconds)) == (30, 10, 10, 20)
    (group,) = [group for group in report.errors if group.function == "fetch"]
    assert (group.error, group.message, group.count) == ("TimeoutError", "row # of # at # took # s", 10)
    assert group.fingerprint in text(report)
    assert report.unreadable == 0


def planted(tmp_path: Path, *halves: dict[str, Any]) -> list[tuple[str, bool, float | None]]:
    """(what, is it worse, when) of the changes in a log of 200 calls each of 20 functions, of which one changes."""
    draw = random.Random(11)
    events: list[dict[str, Any]] = []
    for part in halves:
        for _ in range(200):
            for name in range(20):
                settings = part if name == 7 else halves[0]
                seconds = draw.lognormvariate(-2, 0.3) * settings.get("times", 1.0)
                if draw.random() < settings.get("tail", 0.0):
                    seconds *= 10
                failed = draw.random() < settings.get("fails", 0.02)
                events.append(
                    {
                        "event": "call_finished", "function": f"f{name}", "duration_seconds": 0.001 if failed else seconds,
                        "outcome": "error" if failed else "ok", "error": "OSError: x" if failed else None,
                    }
                )  # fmt: skip
    found = make_report(write(tmp_path / "log.jsonl", *events)).changes
    assert {change.function for change in found} <= {"f7"}
    return [(change.what, change.is_worse, change.at) for change in found]


@pytest.mark.parametrize(
    ("after", "what"),
    [({"times": 1.5}, "seconds"), ({"tail": 0.2}, "p90"), ({"fails": 0.2}, "errors"), ({}, None)],
)
def test_a_planted_regression_is_found_among_many_functions_and_nothing_else_is(
    tmp_path: Path, after: dict[str, float], what: str | None
) -> None:
    """The level, the tail or the errors of one function become worse in the middle of the log."""
    found = planted(tmp_path, {}, after)
    if what is None:
        assert found == []
        return
    ((told, is_worse, at),) = found
    assert (told, is_worse) == (what, True)
    assert at == pytest.approx(1000 + 4000, abs=600)


def test_fast_failures_are_not_taken_for_a_better_latency(tmp_path: Path) -> None:
    """A call that fails at once is no call that got quicker."""
    assert [what for what, _is_worse, _at in planted(tmp_path, {}, {"fails": 0.7})] == ["errors"]


def test_zeros_and_ones_are_a_series_too() -> None:
    """Of steady shares about one in a hundred may be called changed; one that grew tenfold is."""
    draw = random.Random(3)

    def series(count: int, share: float) -> list[float]:
        return [float(draw.random() < share) for _ in range(count)]

    assert sum(pettitt(series(200, 0.1))[1] >= 0.99 for _ in range(300)) <= 6
    assert pettitt([*series(200, 0.02), *series(200, 0.2)])[1] > 0.999
    assert pettitt([0.0] * 50)[1] == 0.0
    assert adjusted(0.999, 5) == pytest.approx(0.995)
    assert adjusted(0.9, 50) == 0.0


def test_the_page_marks_what_changed_and_what_failed(tmp_path: Path) -> None:
    from mlguard_convert.report_page import page

    log = write(tmp_path / "log.jsonl", *calls(50, 0.1), *calls(50, 0.4, failed=3, seed=2))
    shown = page(make_report(log), "log")
    assert shown.count("<title>WORSE") == 1
    assert shown.count('fill="#c5392f"') == 3


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
