"""Displays and captured output outside of a notebook."""

from __future__ import annotations

import sys
from contextlib import ExitStack

import pytest

from mlguard_nb.pipeline import captured_output, display, shown_errors
from mlguard_nb.pipeline.displays import Captured


def test_a_display_with_an_id_can_be_updated(capsys: pytest.CaptureFixture[str]) -> None:
    """Each update prints; the id is the one asked for, or a new one."""
    handle = display("a", "b", display_id="bar")
    assert handle is not None
    assert handle.display_id == "bar"
    handle.update("c", transient={})
    handle.display("d")
    other = display(1, display_id=True)
    assert other is not None
    assert len(other.display_id) > 8
    assert capsys.readouterr().out == "a b\nc\nd\n1\n"


def test_a_plain_display_gives_nothing_back(capsys: pytest.CaptureFixture[str]) -> None:
    """As in a notebook."""
    assert display([1], metadata={}) is None
    assert capsys.readouterr().out == "[1]\n"


def test_captured_output_is_kept_and_shown_later(capsys: pytest.CaptureFixture[str]) -> None:
    """Both streams, as text; show() and a call print it."""
    with captured_output() as kept:
        print("one")
        print("two", file=sys.stderr)
    assert capsys.readouterr().out == ""
    assert (kept.stdout, kept.stderr, str(kept), kept.outputs) == ("one\n", "two\n", "one\n", [])
    kept.show()
    kept()
    assert capsys.readouterr().out == "one\none\n"


def test_a_stream_can_be_let_through_and_comes_back_after_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    """`%%capture --no-stdout`; the streams are restored whatever happens."""
    held: list[Captured] = []

    def fail() -> None:
        with captured_output(stdout=False) as text:
            held.append(text)
            print("seen")
            print("kept", file=sys.stderr)
            print(1 / 0)

    with pytest.raises(ZeroDivisionError):
        fail()
    print("after", file=sys.stderr)
    found = capsys.readouterr()
    assert (found.out, found.err, held[0].stderr) == ("seen\n", "after\n", "kept\n")


def test_an_error_below_an_output_is_printed_and_ends_only_its_block(capsys: pytest.CaptureFixture[str]) -> None:
    """The output itself is entered and left; what ends a process is not held up."""
    left: list[str] = []
    output = ExitStack()
    with shown_errors(output) as given:
        assert given is output
        output.callback(left.append, "left")
        [][1]
    assert left == ["left"]
    assert capsys.readouterr().out == "IndexError: list index out of range\n"
    with shown_errors(output):
        print("well")
    assert capsys.readouterr().out == "well\n"
    with pytest.raises(KeyboardInterrupt), shown_errors(output):
        raise KeyboardInterrupt
