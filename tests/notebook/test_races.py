"""Signals and interrupts at the worst moment: nothing stray, nothing left armed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mlguard_nb.notebook.interrupts import held_back, is_on_stack

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="NOT TESTED: the watchdog is Linux only")

ROOT = Path(__file__).parents[2]


def test_a_hail_of_signals_leaves_nothing_behind() -> None:
    """Some cells are stopped, all others finish, whatever moment a signal came at; `make soak` runs 60,000."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.notebook.races", "1200"], cwd=ROOT, capture_output=True, text=True, timeout=240
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 stray" in done.stdout


def test_a_cell_being_entered_or_left_is_not_inside() -> None:
    """The cell's code is on the stack then, but below the run that enters and leaves it."""
    seen: list[bool] = []
    namespace = {"__name__": "the.run", "look": lambda code, frame: seen.append(is_on_stack(frame, code, "the.run"))}
    exec("import sys\ndef enter(code): look(code, sys._getframe())", namespace)
    cell = compile(
        "look(code, sys._getframe())\nenter(code)\n[look(code, sys._getframe()) for _ in (0,)]", "<cell>", "exec"
    )
    exec(cell, {**namespace, "__name__": "__main__", "sys": sys, "code": cell})

    assert seen == [True, False, True]


def test_an_interrupt_held_back_is_raised_at_the_end() -> None:
    """What is inside is done as a whole; then the interrupt counts."""
    done: list[str] = []

    def leave() -> None:
        with held_back():
            os.kill(os.getpid(), signal.SIGINT)
            done.append("all of it")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite run in the background ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            leave()
        assert done == ["all of it"]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
