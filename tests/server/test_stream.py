"""What the stream promises: no thread without a page, never faster than the server allows, history first."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from typing import Any

import pytest

from mlguard_nb.server.feed import Feed, pace
from mlguard_nb.server.stream import read_watch
from mlguard_nb.testing import FakeDevices
from tests.server.conftest import GIB


def our_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("mlguard-")}


async def no_kernels() -> tuple[()]:
    return ()


class FakePage:
    """Keeps what it is sent."""

    def __init__(self, *, panel: bool = True, interval: float | None = None) -> None:
        self.panel, self.interval, self.is_behind = panel, interval, False
        self.heard: list[dict[str, Any]] = []

    def send(self, text: str) -> None:
        self.heard.append(json.loads(text))

    def kinds(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.heard if message["kind"] == kind]


async def next_of(socket: Any, kind: str) -> dict[str, Any]:
    while True:
        message = json.loads(await asyncio.wait_for(socket.read_message(), 30))
        if message["kind"] == kind:
            return message


async def test_nothing_is_sampled_before_a_page_connects_and_after_the_last_has_left(
    jp_serverapp: Any, jp_ws_fetch: Any, machine: FakeDevices
) -> None:
    """The server alone starts no thread of ours; the first page does, and the last one to leave ends them."""
    before = our_threads()  # other tests of this process may have left the shared sampler running
    socket = await jp_ws_fetch("mlguard", "stream")
    hello = await next_of(socket, "hello")
    assert hello["minimum_interval"] == 0.25
    sample = await next_of(socket, "sample")
    assert sample["ram"]["used"]["value"] == 5 * GIB
    assert our_threads() - before
    feed = jp_serverapp.web_app.settings["mlguard_feed"]
    socket.close()
    await asyncio.wait_for(until(lambda: not feed.is_running), 30)
    for thread in our_threads() - before:
        thread.join(10)
    assert our_threads() <= before


async def until(claim: Any) -> None:
    while not claim():
        await asyncio.sleep(0.01)


def test_no_page_gets_more_than_the_server_allows(machine: FakeDevices) -> None:
    """A page that asks for a millisecond gets four samples a second with its panel shown, one a second without."""
    assert pace(FakePage(interval=0.001)) == 0.25
    assert pace(FakePage(panel=False, interval=0.001)) == 1.0
    assert pace(FakePage(interval=5)) == 5


async def test_samples_in_between_are_not_sent(machine: FakeDevices) -> None:
    """Readings ten times a second reach a page at its own pace, and the history once a second."""
    feed, shown, hidden = Feed(no_kernels, machine), FakePage(), FakePage(panel=False)
    try:
        feed.join(shown)
        feed.join(hidden)
        feed.stop()
        reading = machine.read()
        for tick in range(41):  # four seconds at 10 Hz
            feed.publish(type(reading)(1000 + tick / 10, reading.ram, reading.gpus))
        assert 13 <= len(shown.kinds("sample")) <= 17
        assert len(hidden.kinds("sample")) == 5
        late = FakePage()
        feed.join(late)
        assert len(late.kinds("history")[0]["points"]) == 5
    finally:
        feed.stop()


async def test_nothing_piles_up_for_a_page_that_does_not_read(machine: FakeDevices) -> None:
    """A laptop that sleeps gets no sample until it has taken the last one; the other pages go on."""
    feed, asleep, awake = Feed(no_kernels, machine), FakePage(), FakePage()
    feed.join(asleep)
    feed.join(awake)
    try:
        asleep.is_behind = True
        reading = machine.read()
        for second in range(3):
            feed.publish(type(reading)(1000.0 + second, reading.ram, reading.gpus))
        await feed.look()
        assert (len(asleep.kinds("sample")), len(asleep.kinds("holders"))) == (0, 0)
        ours = [sample for sample in awake.kinds("sample") if sample["wall"] < 2000]  # the sampler's own are of now
        assert (len(ours), len(awake.kinds("holders"))) == (3, 1)
        asleep.is_behind = False
        feed.publish(type(reading)(1004.0, reading.ram, reading.gpus))
        assert len(asleep.kinds("sample")) == 1
    finally:
        feed.stop()


async def test_a_kernel_that_dies_while_it_is_looked_at_ends_no_ledger(
    machine: FakeDevices, caplog: pytest.LogCaptureFixture
) -> None:
    """The look that met it is logged and the next one comes, for every kernel that lives."""
    looks: asyncio.Queue[int] = asyncio.Queue()

    async def kernels() -> tuple[()]:
        looks.put_nowait(1)
        if looks.qsize() == 1:
            raise KeyError("the kernel that has just died")
        return ()

    feed, page = Feed(kernels, machine), FakePage()
    feed.join(page)
    try:
        await asyncio.wait_for(until(lambda: page.kinds("holders")), 30)
        assert "this look at the kernels failed" in caplog.text
    finally:
        feed.leave(page)


async def test_a_clock_that_is_set_back_does_not_silence_the_page(machine: FakeDevices) -> None:
    feed, page = Feed(no_kernels, machine), FakePage()
    feed.join(page)
    feed.stop()
    reading = machine.read()
    for wall in (5000.0, 1000.0, 1001.0):
        feed.publish(type(reading)(wall, reading.ram, reading.gpus))
    assert [sample["wall"] for sample in page.kinds("sample")] == [5000.0, 1000.0, 1001.0]


async def test_a_page_that_reconnects_gets_the_history(machine: FakeDevices) -> None:
    """The last readings survive the moment without any page."""
    feed, first = Feed(no_kernels, machine), FakePage()
    feed.join(first)
    feed.publish(machine.read())
    feed.leave(first)
    second = FakePage()
    feed.join(second)
    feed.leave(second)
    assert second.kinds("history")[0]["points"][0]["ram"] == 5 * GIB
    assert not feed.is_running


@pytest.mark.parametrize(
    "message",
    [b"\xff", "", "[]", "nonsense", '{"kind": "other"}', '{"kind": "watch"}', '{"kind": "watch", "panel": "yes"}'],
)
def test_what_a_page_must_not_say_is_ignored(message: str | bytes) -> None:
    assert read_watch(message) is None


async def test_a_page_that_sends_nonsense_stays_connected(jp_ws_fetch: Any, machine: FakeDevices) -> None:
    """Brackets nested too deeply to be parsed and a megabyte of text are ignored; the readings go on."""
    socket = await jp_ws_fetch("mlguard", "stream")
    await next_of(socket, "sample")
    for message in ("[" * 200_000, json.dumps({"kind": "watch", "panel": True, "more": "x" * 2**20}), "nonsense"):
        await socket.write_message(message)
    await next_of(socket, "sample")
    await next_of(socket, "sample")
    socket.close()


async def test_a_panel_that_opens_and_closes_a_thousand_times_is_sent_the_history_once(
    jp_ws_fetch: Any, machine: FakeDevices
) -> None:
    """Once for each length that it asks for; no thread is started, and the readings go on."""
    socket = await jp_ws_fetch("mlguard", "stream")
    await next_of(socket, "sample")
    threads, heard = our_threads(), []
    for turn in range(1000):
        history = 1800 if turn < 999 else 3600
        watch = {"kind": "watch", "panel": turn % 2 == 1, "interval": None, "history": history}
        await socket.write_message(json.dumps(watch))
    while heard.count("history") < 2 or heard[-3:] != ["sample"] * 3:
        message = json.loads(await asyncio.wait_for(socket.read_message(), 30))
        heard += [message["kind"]] if message["kind"] in ("history", "sample") else []
    assert heard.count("history") == 2
    assert our_threads() <= threads
    socket.close()


async def test_a_thousand_pages_that_come_and_go_leave_nothing(
    jp_serverapp: Any, jp_ws_fetch: Any, machine: FakeDevices
) -> None:
    """Over real sockets, each page alone: it starts the sampling, and when it has left no thread, task or file stays."""
    feed = jp_serverapp.web_app.settings["mlguard_feed"]
    before, tasks, files = our_threads(), asyncio.all_tasks(), 0
    for page in range(1000):
        socket = await jp_ws_fetch("mlguard", "stream")
        await next_of(socket, "hello")
        await socket.write_message(json.dumps({"kind": "watch", "panel": page % 2 == 0, "interval": None}))
        socket.close()
        while await socket.read_message() is not None:
            continue
        if page == 10:  # by now everything that is opened once is open
            await asyncio.wait_for(until(lambda: not feed.is_running), 30)
            files = len(os.listdir("/proc/self/fd"))
    await asyncio.wait_for(until(lambda: not feed.is_running and len(os.listdir("/proc/self/fd")) <= files), 30)
    for thread in our_threads() - before:
        thread.join(30)
    assert our_threads() <= before
    ending = asyncio.all_tasks() - tasks
    if ending:
        await asyncio.wait(ending, timeout=30)
    assert all(task.done() for task in ending)


@pytest.mark.parametrize("interval", ["null", "true", "-1", "0", "1e9", '"fast"', "NaN"])
def test_an_interval_out_of_range_is_left_to_the_server(interval: str) -> None:
    assert read_watch(f'{{"kind": "watch", "panel": true, "interval": {interval}}}') == (True, None, None)


@pytest.mark.parametrize(
    ("asked", "read"), [("1800", 1800), ("3600", 3600), ("3601", None), ("0", None), ("true", None)]
)
def test_a_page_may_ask_for_an_hour_of_history(asked: str, read: float | None) -> None:
    assert read_watch(f'{{"kind": "watch", "panel": true, "history": {asked}}}') == (True, None, read)


async def test_a_page_that_shows_more_gets_more_of_the_history(machine: FakeDevices) -> None:
    """Ten minutes to whoever connects, as much as it shows to a page that says so."""
    feed, page = Feed(no_kernels, machine), FakePage()
    feed.join(page)
    for second in range(1000):
        feed.publish(machine.read()._replace(wall=float(second)))
    other = FakePage()
    feed.join(other)
    feed.tell_history(other, 900)
    feed.leave(page)
    feed.leave(other)
    assert [len(history["points"]) for history in other.kinds("history")] == [600, 900]
