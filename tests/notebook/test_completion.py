"""TAB on guard lines: options with a line of help, the values that are allowed, and no names of Python's own."""

from __future__ import annotations

from typing import Any

import pytest

from mlguard_nb.policy.options import OPTIONS
from tests.notebook.kernels import Kernel

pytestmark = pytest.mark.kernel

NAMES = """
import numpy as np
rate, batch, label = 0.5, 32, "churn"
def on_cpu(): return {}
class FlakyShard(Exception): pass
X = np.ones((4, 2))
"""


@pytest.fixture(scope="module")
def named() -> Any:
    kernel = Kernel()
    kernel.run(NAMES)
    kernel.run("%guard schema X --name Features")
    kernel.run("%guard set train retry=3")
    yield kernel
    kernel.close()


def completed(kernel: Kernel, code: str, at: int | None = None) -> tuple[list[str], list[str]]:
    """(what the line becomes with each choice, the help beside each)."""
    at = len(code) if at is None else at
    reply = kernel.reply_to(kernel.client.complete(code, at))
    start = reply["cursor_start"]
    lines = [(code[:start] + match).rpartition("\n")[2] for match in reply["matches"]]
    told = [item["type"] for item in reply["metadata"]["_jupyter_types_experimental"]]
    return [line.rpartition(" ")[2] for line in lines], told


def test_an_empty_line_offers_profiles_and_options_with_help(named: Kernel) -> None:
    """In the order of the table, each with its line of help; no keyword of Python."""
    words, told = completed(named, "%%guard ")

    assert words == ["train", *(f"{option.word}{'=' if option.takes else ''}" for option in OPTIONS)]
    assert told == ["profile: retry=3", *(option.help for option in OPTIONS)]


def test_words_on_the_line_are_not_offered_again(named: Kernel) -> None:
    """Nor is a profile behind the first word."""
    words, _ = completed(named, "%%guard retry=3 r")
    assert words == ["refresh"]
    assert completed(named, "%%guard --ret")[0] == ["--retry="]


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("mem=0.8 at=", ["at=stop", "at=wait", "at=warn", "at=skip"]),
        ("mem=0.8 at=w", ["at=wait", "at=warn"]),
        ("mem=0.8 at=x", ["at=x"]),
        ("cache=1h store=", ["store=memory", "store=disk", "store=redis://localhost:6379/0"]),
        ("view=", ["view=live", "view=line", "view=off"]),
        ("scope=d", ["scope=defs"]),
        ("retry=3 oom=", ["oom=fail", "oom=clear", "oom=halve:batch"]),
        ("retry=3 oom=halve:b", ["oom=halve:batch"]),
        ("mem=0.8 fallback=", ["fallback=on_cpu"]),
        ("retry=3 on=F", ["on=FlakyShard"]),
        ("retry=3 on=FlakyShard,T", ["on=FlakyShard,TimeoutError"]),
        ("cache=1h key=la", ["key=label"]),
        ("validate=", ["validate=X:Features"]),
        ("mem=", ["mem=0.8", "mem=0.9", "mem=8GB"]),
        ("retry=", ["retry=2", "retry=3", "retry=5"]),
        ("retry=3 wait=", ["wait=0.5s..20s", "wait=1s..30s"]),
        ("mem=0.8 overcommit=", ["overcommit=on", "overcommit=off"]),
        ("jitter=", ["jitter="]),  # there is no such option: nothing is offered, least of all a name of Python's
    ],
)
def test_values_are_those_that_are_allowed(named: Kernel, typed: str, offered: list[str]) -> None:
    """All of a closed set, the notebook's own names where a name is wanted, typical values elsewhere."""
    assert completed(named, f"%%guard {typed}\nprint(1)", len(f"%%guard {typed}"))[0] == offered


def test_the_line_magic_completes_its_commands(named: Kernel) -> None:
    """Commands, then what each of them takes."""
    assert "schema" in completed(named, "x = 1\n%guard s")[0] and "import" not in completed(named, "%guard ")[0]
    assert completed(named, "%guard schema X")[0] == ["X"]
    assert completed(named, "%guard set quick mem=0.8 at=s")[0] == ["at=stop", "at=skip"]
    assert "fail=" in completed(named, "%guard chaos ")[0]


def test_other_lines_complete_as_ever(named: Kernel) -> None:
    """Below the guard line it is Python's turn."""
    code = "%%guard retry=3\nnp.aran"
    assert "arange" in str(named.reply_to(named.client.complete(code, len(code)))["matches"])
    assert named.reply_to(named.client.complete("%%guard retry=3 # mem", 21))["matches"] == []
