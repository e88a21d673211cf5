"""The view below a cell: the words of every state, and HTML that any host shows."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest

from mlguard_nb.notebook import drawing
from mlguard_nb.notebook.bundle import MIME, bundle, thinned
from mlguard_nb.notebook.facts import AttemptFacts, RunFacts
from mlguard_nb.notebook.forecast import seconds_to_stop
from mlguard_nb.notebook.page import to_html
from mlguard_nb.notebook.stories import tell
from tests.notebook.states import RESET, STATES, facts, gib, ram, rising, running

ALL = pytest.mark.parametrize("state", list(STATES))


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


class _Outline(HTMLParser):
    """Every tag with its attributes, and the text of every row."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, "every tag is closed where it was opened"

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@ALL
def test_the_sentence_is_the_mockups(state: str) -> None:
    """text/plain says word for word what the mockup of this state says."""
    known, sentence = STATES[state]

    assert tell(known).sentence == sentence


@ALL
def test_html_needs_nothing_that_a_host_may_drop(state: str) -> None:
    """No script, class, stylesheet, theme variable, aria or role: JupyterLab drops those in untrusted notebooks."""
    html = to_html(STATES[state][0], tell(STATES[state][0]))
    outline = _Outline(html)

    assert not outline.open
    assert {tag for tag, _ in outline.tags} <= {"div", "span", "b", "code", "img", "details", "summary"}
    for tag, attributes in outline.tags:
        assert set(attributes) <= {"style", "title", "width", "height", "alt", "src"}, tag
        assert "var(" not in attributes.get("style", "")
        assert "font-variant" not in attributes.get("style", "")


@ALL
def test_every_state_is_100_px_high(state: str) -> None:
    """Five rows of 18 px and 10 px of padding; with closed details the parts add up to the same."""
    html = to_html(STATES[state][0], tell(STATES[state][0]))
    outline = _Outline(html)
    styles = [attributes.get("style", "") for _, attributes in outline.tags]
    top = int(re.search(r"(?<!-)height:(\d+)px", styles[0])[1])  # type: ignore[index]
    details = next((a["style"] for tag, a in outline.tags if tag == "details"), None)
    if details is None:
        assert top == 100
        assert _rows(html) == 5
    else:
        below = int(re.search(r"padding:0 0 (\d+)px 0", details)[1])  # type: ignore[index]
        assert top + 18 + below == 100
    assert "box-sizing:border-box" in styles[0]


def _rows(html: str) -> int:
    return len(re.findall(r'<div style="height:18px;white-space:nowrap', html))


@ALL
def test_every_picture_has_a_size_and_an_alt(state: str) -> None:
    """A picture is an image with a size (nothing moves when it loads) and words for those who do not see it."""
    for tag, attributes in _Outline(to_html(STATES[state][0], tell(STATES[state][0]))).tags:
        if tag == "img":
            assert attributes["alt"] and attributes["width"].isdigit() and attributes["height"].isdigit()
            kind, _, data = attributes["src"].partition(",")
            assert kind == "data:image/svg+xml;base64"
            picture = base64.b64decode(data).decode()
            assert picture.startswith("<svg xmlns=")
            assert "<script" not in picture and "<text" not in picture
            assert set(re.findall(r"#[0-9a-f]{3,6}\b", picture)) <= {*drawing.COLOURS, "#fff"}


def _luminance(colour: str) -> float:
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("colour", drawing.COLOURS)
@pytest.mark.parametrize("ground", ["#ffffff", "#111111"])
def test_colours_reach_three_to_one(colour: str, ground: str) -> None:
    """Every colour of a picture stands out on white and on near-black (WCAG 1.4.11)."""
    high, low = sorted((_luminance(colour), _luminance(ground)), reverse=True)

    assert (high + 0.05) / (low + 0.05) >= 3.0


@ALL
def test_both_forms_of_the_view_say_every_word_of_the_story(state: str) -> None:
    """Headline, what happened and what comes next, with their styles: the next step of a failure is not lost."""
    known = STATES[state][0]
    story, data = tell(known), bundle(known)
    view = data[MIME]

    for spans, stored in (
        (story.headline, view["headline"]["spans"]),
        (story.happened, view["happened"]),
        (story.next, view["next"]),
    ):
        assert [tuple(piece) for piece in stored] == [span for span in spans if span[1]]
        assert "".join(text for _, text in spans) in "".join(_Outline(data["text/html"]).text)


@ALL
def test_whatever_has_ended_opens_to_its_attempts(state: str) -> None:
    """A failure as much as a success: each attempt with its error, and the curve where there is one."""
    known = STATES[state][0]
    outline = _Outline(to_html(known, tell(known)))
    text = "".join(outline.text)
    opens = bool(known.attempts) and known.phase in ("ok", "failed", "degraded", "interrupted")

    assert ("details" in [tag for tag, _ in outline.tags]) == opens
    assert ("Attempts and curve" in text) == opens
    for attempt in known.attempts if opens else ():
        told = ": ".join(piece for piece in (attempt.error, attempt.message) if piece)
        assert f"{attempt.outcome}{told}" in text and not told.endswith(": ")
    if opens and any(len(device.history) > 1 for device in known.devices):
        assert any("over the run" in attributes.get("alt", "") for _, attributes in outline.tags)


def test_text_of_the_user_is_never_markup() -> None:
    """An error message with tags in it is shown, not obeyed."""
    from dataclasses import replace

    known = STATES["gave up"][0]
    evil = replace(known.attempts[-1], message='<img src=x onerror="alert(1)">', error="<b>Bad</b>")
    changed = replace(known, attempts=(*known.attempts[:-1], evil))
    html = to_html(changed, tell(changed))

    assert "<b>Bad" not in html and "onerror=&quot;" in html
    _Outline(html)


def test_the_bar_of_the_mockup() -> None:
    """Solid is this notebook, hollow the others, the tick the stop: the path of the first mockup, to a tenth of a pixel."""
    picture = base64.b64decode(drawing.bar(gib(4.3), gib(2.1), gib(16), gib(12.8)).partition(",")[2]).decode()

    assert '<path d="M0 5h16.5v8h-16.5z" fill="#2f80c5"/>' in picture
    assert '<path d="M18.0 5.5h15.8v7h-15.8z"' in picture
    assert '<path d="M100.8 2V17"' in picture
    assert '<path d="M97.3 0h7l-3.5 4z"' in picture


def test_a_gap_in_the_readings_is_a_gap_in_the_line() -> None:
    """Nobody draws a line through seconds without a reading."""
    history = ((0.0, gib(1)), (1.0, gib(1)), (2.0, None), (3.0, gib(2)))
    picture = base64.b64decode(drawing.line(history, gib(16), until=3.0, running=True).partition(",")[2]).decode()

    assert re.search(r'd="(M[^"]+)"', picture)[1].count("M") == 2  # type: ignore[index]


def test_a_forecast_needs_twenty_steady_seconds() -> None:
    """Nineteen seconds say nothing, a zigzag says nothing, a gap says nothing; a steady rise does."""
    steady = rising(10, 20, 20)

    assert seconds_to_stop(steady[:-4], gib(72)) is None
    assert (
        seconds_to_stop([(at, used if index % 2 else gib(15)) for index, (at, used) in enumerate(steady)], gib(72))
        is None
    )
    assert seconds_to_stop([*steady[:10], (5.0, None), *steady[11:]], gib(72)) is None
    assert seconds_to_stop(steady, gib(72)) == pytest.approx(104, rel=0.01)
    assert seconds_to_stop(rising(20, 10, 20), gib(72)) is None


def test_the_bundle_holds_what_the_lab_reads() -> None:
    """The custom MIME has the agreed keys, with null for what is not known, and at most 60 points a line."""
    data = bundle(STATES["finished"][0])
    view = data[MIME]

    assert data["text/plain"] == view["sentence"]
    assert view["outcome"] == "ok" and view["attempt"] == 2 and view["attempts_max"] == 3
    assert view["headline"]["spans"][0] == ["strong", "42.1 s"] and view["headline"]["sign"] == "ok"
    assert view["peak_ram_bytes"] == gib(3.2) and view["peak_gpu_bytes"] == gib(18.4)
    assert [attempt["outcome"] for attempt in view["attempts"]] == ["failed", "finished"]
    assert all(len(device["line"]) <= 60 for device in view["devices"])
    assert view["policy"]["retry"]["attempts"] == 3 and view["line"].startswith("%%guard retry=3")


def test_a_missing_reading_is_null_never_zero() -> None:
    """A device without a reading says why, and has no number."""
    view = bundle(STATES["no GPU reading"][0])[MIME]
    device = view["devices"][1]

    assert device["used_bytes"] is None and device["limit_bytes"] is None
    assert "no NVIDIA driver" in device["reason"]
    assert device["note"] == "no NVIDIA driver on this machine; gpu=0.9 is not applied"


def test_view_line_is_text_alone() -> None:
    """view=line leaves the picture out and keeps the sentence."""
    data = bundle(facts("ok", "view=line", elapsed=1.0, devices=(ram(4, 1),)))

    assert set(data) == {MIME, "text/plain"}


def test_thinning_keeps_the_peak_and_both_ends() -> None:
    """A line of many readings is cut to 60 points without losing its highest."""
    history = tuple((float(second), 5 if second != 777 else 9) for second in range(1000))
    kept = thinned(history)

    assert len(kept) <= 60
    assert kept[0] == history[0] and kept[-1] == history[-1] and (777.0, 9) in kept


def test_only_running_states_say_as_of() -> None:
    """A stored picture of a running cell tells its age; an ended one has an end."""
    for name, (known, sentence) in STATES.items():
        is_running = known.phase in ("running", "waiting", "waiting_memory")
        assert ("as of" in sentence) == is_running, name


def test_words_without_retry_name_no_attempt() -> None:
    """A cell that is not tried again has no "attempt 1 of 1"."""
    known: RunFacts = facts("running", "mem=0.8", elapsed=3, attempts=(running(1, 3),), devices=(ram(4, 1),))

    assert "attempt" not in tell(known).sentence


@pytest.mark.parametrize(
    ("phase", "more"),
    [
        ("ok", {"attempts": (AttemptFacts(number=1, outcome="finished", seconds=2.0),)}),
        ("ok", {"attempts": (RESET, AttemptFacts(number=2, outcome="finished", seconds=2.0))}),
        ("failed", {"attempts": (RESET,)}),
        ("running", {"attempts": (running(1, 2.0),)}),
        ("degraded", {}),
    ],
)
def test_every_remark_is_in_every_form_of_the_view(phase: str, more: dict[str, Any]) -> None:
    """Not only the last of several: in the sentence, in the stored HTML, and in what the JupyterLab renderer reads."""
    remarks = ("not kept in the cache: the server is away", "out of memory at size=8: tried again\nwith size=4")
    known = facts(phase, elapsed=2.0, devices=(ram(4, 2),), notes=remarks, **more)
    data = bundle(known)
    text = "".join(_Outline(data["text/html"]).text)

    for remark in remarks:
        line = " ".join(remark.split())
        assert line in data["text/plain"] and line in text and line in data[MIME]["notes"]
    assert "\n" not in data["text/plain"]
