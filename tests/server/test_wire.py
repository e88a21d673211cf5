"""Both sides of the wire say the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlguard_nb.policy import page
from mlguard_nb.policy.options import OPTIONS
from mlguard_nb.telemetry import wire

SOURCES = Path(__file__).resolve().parents[2] / "labextension" / "src"


def test_the_page_knows_the_messages_of_the_server() -> None:
    """messages.ts is what wire.py writes; `python -m mlguard_nb.telemetry.wire > labextension/src/messages.ts`."""
    assert (SOURCES / "messages.ts").read_text() == wire.typescript()


def test_the_form_of_the_page_has_every_option_of_the_table() -> None:
    """options.ts is what page.py writes; `python -m mlguard_nb.policy.page > labextension/src/options.ts`."""
    text = (SOURCES / "options.ts").read_text()
    assert text == page.typescript()
    assert all(f'word: "{option.word}"' in text for option in OPTIONS)


def test_an_option_with_a_few_fixed_words_is_a_choice() -> None:
    found = {option.word: page.choices(option) for option in OPTIONS}
    assert found["at"] == ("stop", "wait", "warn", "skip")
    assert found["oom"] == found["store"] == found["mem"] == found["device"] == ()


def test_every_message_goes_through_json_unchanged() -> None:
    message = wire.Hello("hello", "1.0.0", "host", 1.0, 0.25)
    assert json.loads(json.dumps(wire.as_json(message))) == {
        "kind": "hello", "version": "1.0.0", "host": "host", "interval": 1.0, "minimum_interval": 0.25,
    }  # fmt: skip


def test_a_message_travels_as_it_would_by_way_of_plain_dicts() -> None:
    """With everything inside it, and what nobody could read as null with its reason."""
    unread = wire.Measured(None, "no permission \u2014 ask")
    rows = tuple(
        wire.KernelNow(
            name, name, None, "idle", 1.5, 7, None, ("GPU-1",), unread, (wire.Held("GPU-1", wire.Measured(3)),)
        )
        for name in ("a", "b")
    )
    message = wire.Holders("holders", 12.25, rows, (wire.OtherNow("rest", None, wire.Measured(2**60), ()),))
    assert json.loads(wire.as_text(message)) == json.loads(json.dumps(wire.as_json(message)))
    with pytest.raises(ValueError, match="not JSON compliant"):
        wire.as_text(wire.Measured(float("nan")))


@pytest.mark.parametrize("message", [*wire.SERVER_MESSAGES, *wire.CLIENT_MESSAGES])
def test_every_message_names_its_kind(message: type) -> None:
    """The page tells messages apart by `kind`, and by nothing else."""
    kinds = [other.__annotations__["kind"] for other in (*wire.SERVER_MESSAGES, *wire.CLIENT_MESSAGES)]
    assert kinds.count(message.__annotations__["kind"]) == 1
