"""Settings that outlast the kernel: what is told to the front end, and what a new kernel makes of the saved notebook."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlguard_nb.notebook import commands
from mlguard_nb.notebook.remembered import METADATA, UNSEEN, restore, saved, settings
from mlguard_nb.notebook.session import Session


class Front:
    """A front end that keeps the settings it is told of."""

    is_live = False

    def __init__(self) -> None:
        self.metadata: dict[str, Any] = {}
        self.said: list[str] = []

    def publish(self, data: dict[str, Any], display_id: str, *, update: bool) -> None:
        self.metadata = next(view["settings"] for kind, view in data.items() if kind.endswith("json"))
        self.said.append(data["text/plain"])


@pytest.fixture
def front() -> Front:
    return Front()


@pytest.fixture
def session(front: Front) -> Iterator[Session]:
    made = Session({}, front)  # type: ignore[arg-type]  # the part that commands use
    yield made
    made.close()


def test_a_new_kernel_has_the_settings_of_the_one_before(session: Session, front: Front, tmp_path: Path) -> None:
    """Through the file: profiles, the line for every cell and chaos, and one sentence that says so."""
    commands.set_profile(session, "quick retry=2")
    commands.switch_on(session, "monitor")
    commands.chaos(session, "fail=0.2 seed=7")
    session.end_chaos()  # the old kernel is gone
    path = tmp_path / "churn.ipynb"
    path.write_text(json.dumps({"cells": [], "metadata": {METADATA: front.metadata}}))
    new = Session({}, front)  # type: ignore[arg-type]
    told = restore(new, saved(path))

    assert settings(new) == front.metadata
    assert settings(new) == {"profiles": {"quick": "retry=2"}, "everywhere": "monitor", "chaos": "fail=0.2 seed=7"}
    assert "profile quick (retry=2); on for every cell (%%guard monitor); chaos (fail=0.2 seed=7)" in told
    assert new.read("quick").policy.retry is not None
    new.close()


def test_what_is_switched_off_or_forgotten_is_not_kept(session: Session, front: Front) -> None:
    """Each command tells the whole state, and says a line."""
    commands.set_profile(session, "quick retry=2")
    commands.switch_on(session, "")
    assert front.metadata == {"profiles": {"quick": "retry=2"}, "everywhere": ""}
    commands.switch_off(session, "")
    assert front.metadata == {"profiles": {"quick": "retry=2"}}
    commands.forget(session, "")
    assert front.metadata == {} and front.said[-1] == "no profile, no line for every cell, no chaos"


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (
            {"profiles": {"quick": "retyr=2"}},
            "not profile quick (retyr=2): unknown option 'retyr'; did you mean retry?",
        ),
        ({"profiles": {"quick": 3}}, "not profile quick (3)"),
        ({"everywhere": ["mem"]}, "not on for every cell"),
        ({"chaos": "fial=1"}, "not chaos (fial=1): unknown fault 'fial'; did you mean fail?"),
        ({"profiles": ["quick"]}, ""),
        ({}, ""),
    ],
)
def test_what_cannot_be_read_is_left_out_and_said(session: Session, found: dict[str, Any], told: str) -> None:
    """A file may hold anything: the kernel starts all the same."""
    said = restore(session, found)
    assert told in said and bool(said) == bool(told)
    assert settings(session) == {}


def test_settings_that_no_new_kernel_will_find_are_said_to_be_so(
    session: Session, front: Front, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below what sets them, and in the status: where the kernel does not see the file that keeps them."""
    path = tmp_path / "churn.ipynb"
    path.write_text("{}")
    monkeypatch.setenv("JPY_SESSION_NAME", str(path))
    commands.set_profile(session, "quick retry=2")
    commands.status(session, "")
    assert front.said == ["%%guard quick now means: retry=2"] and UNSEEN not in capsys.readouterr().out

    path.unlink()  # as on another host than the server's
    commands.switch_on(session, "")
    commands.status(session, "")
    assert front.said[-1] == f"every cell is guarded from now on: %%guard\n{UNSEEN}"
    assert UNSEEN in capsys.readouterr().out
    commands.forget(session, "")
    assert UNSEEN not in front.said[-1]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", f'{{"metadata": {{"{METADATA}": 3}}}}', '{"metadata": {}}', f'"{METADATA}"']
)
def test_a_file_without_settings_gives_none(tmp_path: Path, text: str) -> None:
    """Broken files and no file at all too."""
    (tmp_path / "a.ipynb").write_text(text)
    assert saved(tmp_path / "a.ipynb") == saved(tmp_path / "gone.ipynb") == saved(None) == {}
