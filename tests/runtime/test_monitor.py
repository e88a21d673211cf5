"""monitor: one call is one call, errors are told with their inputs, and no secret leaves."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from mlguard_nb import InputRejected, monitor, retry, validate_input
from mlguard_nb.errors import PolicyError
from mlguard_nb.runtime import monitoring, summaries
from mlguard_nb.runtime.wrapping import guards_of
from mlguard_nb.telemetry import bus, redaction
from mlguard_nb.telemetry.events import CallFailed, CallFinished, CallsInFlight, CallsLost, ResourcesMeasured
from mlguard_nb.testing import FakeClock, FakeDevices, fake_gpu


def finished(events: list[Any], name: str) -> list[tuple[str, float]]:
    bus.flush()
    return [
        (event.outcome, event.duration_seconds)
        for event in events
        if isinstance(event, CallFinished) and event.function == name
    ]


def test_durations_are_right_for_every_kind_of_function(clock: FakeClock, events: list[Any]) -> None:
    """A clock around the call alone would read 0 for coroutines and generators."""

    @monitor(name="kinds")
    def sync() -> None:
        clock.sleep(1)

    @monitor(name="kinds")
    async def coroutine() -> None:
        await clock.sleep_async(2)

    @monitor(name="kinds")
    def generator() -> Iterator[int]:
        clock.sleep(1)
        yield 1
        clock.sleep(3)

    @monitor(name="kinds")
    async def asyncgen() -> AsyncIterator[int]:
        clock.sleep(2)
        yield 1
        clock.sleep(4)

    async def collect() -> None:
        assert [item async for item in asyncgen()] == [1]

    sync()
    asyncio.run(coroutine())
    assert list(generator()) == [1]
    asyncio.run(collect())
    assert sorted(finished(events, "kinds")) == [("ok", 1), ("ok", 2), ("ok", 4), ("ok", 6)]


def test_a_generator_that_is_closed_early_has_ended_well(clock: FakeClock, events: list[Any]) -> None:
    @monitor(name="closed early")
    def generator() -> Iterator[int]:
        yield 1
        yield 2

    running = generator()
    next(running)
    running.close()  # type: ignore[attr-defined]
    assert finished(events, "closed early") == [("ok", 0)]


def test_a_cancelled_call_is_no_error(clock: FakeClock, events: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    """A client that hangs up must not wake the person on call."""

    @monitor(name="cancelled")
    async def answer() -> None:
        await asyncio.Event().wait()

    async def hang_up() -> None:
        task = asyncio.ensure_future(answer())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(hang_up())
    assert finished(events, "cancelled") == [("cancelled", 0)]
    assert not caplog.records


def test_retries_below_are_one_call(clock: FakeClock, events: list[Any]) -> None:
    calls = []

    @monitor(name="once")
    @retry(attempts=3)
    def flaky() -> int:
        calls.append(1)
        if len(calls) < 3:
            raise ConnectionError
        return 1

    flaky()
    assert len(calls) == 3
    assert len(finished(events, "once")) == 1


def test_a_failure_is_logged_with_inputs_machine_and_the_users_lines(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    @monitor(name="failing", include_args=("url",), labels={"team": "risk"})
    def function(batch: Any, url: str, api_key: str, note: str = "") -> None:
        raise ValueError("bearer abcdefghijklmnop is wrong")  # the line

    with FakeDevices(ram_used="3GB", gpus=(fake_gpu(0, used="7GB"),)), pytest.raises(ValueError, match="bearer"):
        function(np.array([1.0, np.nan, 3.0]), "http://me:word@host/x", api_key="sk-123456789", note="hello")
    (record,) = [record for record in caplog.records if record.name == "mlguard.monitor"]
    facts = record.mlguard  # type: ignore[attr-defined]
    assert facts["inputs"] == {
        "batch": {"type": "ndarray", "shape": [3], "dtype": "float64", "nan_frac": 0.333333, "min": 1.0, "max": 3.0},
        "url": {"type": "str", "length": 21, "value": "'http://[redacted]@host/x'"},
        "api_key": "[redacted]",
        "note": {"type": "str", "length": 5},
    }
    assert facts["resources"]["ram_used_bytes"] == 3 * 10**9
    assert list(facts["resources"]["gpu_used_bytes"].values()) == [7 * 10**9]
    assert facts["labels"] == {"team": "risk"}
    assert facts["run_id"] == monitoring.run_id()
    text = record.getMessage()
    assert "# the line" in text
    assert "<mlguard" not in text
    assert "sk-123456789" not in text
    assert "hello" not in text


class Speechless(Exception):
    def __str__(self) -> str:
        return str(self.missing)  # type: ignore[attr-defined]


class Closed(list[int]):
    def __len__(self) -> int:
        raise OSError("the file is closed")


def test_what_cannot_be_described_does_not_take_the_place_of_the_error(clock: FakeClock, events: list[Any]) -> None:
    """Neither an error whose message fails nor an argument that does."""

    @monitor(name="outer")
    @retry(attempts=2)
    def function(rows: Any) -> None:
        raise Speechless

    with pytest.raises(Speechless):
        function(Closed())
    (event,) = [event for event in events if isinstance(event, CallFailed)]
    assert event.error == "Speechless"
    assert event.inputs == {"rows": {"type": "Closed", "unknown": "OSError: the file is closed"}}


def test_a_refusal_on_purpose_is_one_warning_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    @monitor(name="refusing")
    @validate_input(x=int)
    def function(x: int) -> int:
        return x

    with pytest.raises(InputRejected):
        function("3")  # type: ignore[arg-type]
    (record,) = [record for record in caplog.records if record.name == "mlguard.monitor"]
    assert record.levelno == logging.WARNING
    assert "Traceback" not in record.getMessage()
    assert record.mlguard["event"] == "call_failed"  # type: ignore[attr-defined]


def test_no_secret_is_in_the_traceback_or_in_what_led_to_the_error(
    events: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """By its look, by the name beside it, by its key in an argument that is shown; the user's lines stay readable."""

    @monitor(name="leaking", include_args=("config",), redact=("password", "pin"))
    def function(config: Any) -> None:
        password = config["password"]
        try:
            raise KeyError(f"pin={password} and sk-abcdefgh12345")
        except KeyError:
            raise ValueError(f"cannot log in: {config!r}") from None

    def chained() -> None:
        try:
            function({"password": "hunter2", "url": "here"})
        except ValueError as error:
            raise RuntimeError("Bearer abcdefghijkl") from error

    with pytest.raises(RuntimeError):
        monitor(name="outer", redact=("password", "pin"))(chained)()
    bus.flush()
    logged = "\n".join(record.getMessage() + repr(record.mlguard) for record in caplog.records)  # type: ignore[attr-defined]
    for text in (logged, repr(events)):
        assert "'url': 'here'" in text
        assert "cannot log in" in text
        for secret in ("hunter2", "sk-abcdefgh12345", "abcdefghijkl"):
            assert secret not in text
    assert "cannot log in: {config!r}" in logged
    assert logged.count("<mlguard") == 0


@pytest.mark.parametrize(
    "text",
    [
        "password=hunter2",
        'db_password: "hunter2 with words"',
        "{'api_key': 'hunter2', 'x': 1}",
        "Authorization: hunter2",
        "my-secret = hunter2",
        "https://host/?api-key=hunter2&x=1",
        "Authorization: Basic hunter2==",
        "{'password': 'it\\'s hunter2'}",
    ],
)
def test_the_value_beside_a_secret_name_is_taken_out(text: str) -> None:
    assert "hunter2" not in redaction.redacted(text)
    assert redaction.redacted(text, ()) == text
    assert redaction.is_secret("apiKey", ("api_key",)) and not redaction.is_secret("keys", ("api_key",))
    assert redaction.redacted("token = read(key)", is_source=True) == "token = read(key)"
    assert redaction.redacted("token = 'abc'", is_source=True) == "token = [redacted]"
    assert redaction.redacted("login(token=f'abc{x}')", is_source=True) == "login(token=[redacted])"
    assert redaction.redacted('raise E("token=abc")', is_source=True) == 'raise E("token=[redacted]")'
    assert redaction.redacted("f'token={token}', token=key['a']", is_source=True) == "f'token={token}', token=key['a']"
    assert redaction.redacted("the token is old; tokens: 3") == "the token is old; tokens: [redacted]"


def test_a_failure_is_an_event_with_all_that_is_known(clock: FakeClock, events: list[Any]) -> None:
    """So a log of events alone is enough to act on."""

    @monitor(name="told", labels={"team": "risk"})
    def function(batch: Any) -> None:
        raise ValueError("bad batch")

    with FakeDevices(ram_used="3GB"), pytest.raises(ValueError, match="bad"):
        function(np.ones(3))
    (event,) = [event for event in events if isinstance(event, CallFailed)]
    assert event.inputs["batch"]["shape"] == [3]
    assert (event.labels, event.run_id) == ({"team": "risk"}, monitoring.run_id())
    assert event.resources["ram_used_bytes"] == 3 * 10**9
    assert event.traceback.startswith("Traceback")
    assert "bad batch" in event.traceback


@pytest.mark.parametrize(
    "secret",
    [
        "Bearer abc.def-ghi_jkl",
        "sk-proj-abcdefgh12345",
        "ghp_abcdefgh12345",
        "AKIAABCDEFGHIJKLMNOP",
        "ASIAABCDEFGHIJKLMNOP",
        "github_pat_11ABCDEFG0123456789_abcdefghijkl",
        "hf_abcdefghijklmnopqrstuvwxyz012345",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.abc123def456",
        "//user:pass@host",
        "//:pass@host",
    ],
)
def test_what_looks_like_a_credential_is_taken_out(secret: str) -> None:
    shown = redaction.redacted(f"before {secret.replace('//', 'x://')} after")
    assert "[redacted]" in shown
    assert shown.startswith("before")
    assert shown.endswith("after")


def test_other_values_are_only_described() -> None:
    capture = ("shape", "dtype")
    assert summaries.summary(pd.DataFrame({"a": [1]}), capture) == {
        "type": "DataFrame", "shape": [1, 1], "dtype": {"a": "int64"},
    }  # fmt: skip
    numbers = ("nan_frac", "min", "max")
    for frame in (
        pd.DataFrame({"a": [1.0, np.nan], "b": ["x", "y"]}),
        pl.DataFrame({"a": [1.0, np.nan], "b": ["x", "y"]}),
    ):
        assert summaries.summary(frame, numbers) == {
            "type": "DataFrame", "nan_frac": {"a": 0.5}, "min": {"a": 1.0}, "max": {"a": 1.0},
        }  # fmt: skip
    assert summaries.summary(pd.DataFrame([[1, 2]], columns=["a", "a"]), numbers) == {"type": "DataFrame"}
    assert summaries.summary({"secret": 1}, capture) == {"type": "dict", "length": 1}
    assert summaries.summary(3, capture) == {"type": "int"}


def test_logs_of_good_calls_are_all_or_a_share_and_slow_ones_are_warned_of(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="mlguard.monitor")

    @monitor(name="all", logs="all")
    def all_of_them() -> None:
        pass

    @monitor(name="all too", logs=1)
    def each_of_them() -> None:
        pass

    @monitor(name="some", logs=0.1)
    def some_of_them() -> None:
        pass

    @monitor(name="slow", slow=5, labels={"team": "risk"})
    def slow(seconds: float) -> None:
        clock.sleep(seconds)

    for _ in range(300):
        all_of_them()
        each_of_them()
        some_of_them()
    slow(4)
    slow(6)
    bus.flush()
    names = [record.mlguard["function"] for record in caplog.records]  # type: ignore[attr-defined]
    assert names.count("all") == names.count("all too") == 300
    assert 0 < names.count("some") < 100
    assert names.count("slow") == 1
    facts = caplog.records[names.index("slow")].mlguard  # type: ignore[attr-defined]
    assert facts["labels"] == {"team": "risk"}
    assert facts["resources"]["ram_used_bytes"] > 0


def test_without_metrics_nothing_is_counted_and_slow_calls_are_still_warned_of(
    clock: FakeClock, events: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    @monitor(name="uncounted", metrics=False, slow=5)
    def function(seconds: float) -> None:
        clock.sleep(seconds)
        if seconds == 7:
            raise ValueError

    function(6)
    with pytest.raises(ValueError, match="^$"):
        function(7)
    assert finished(events, "uncounted") == []
    assert "was slow" in caplog.text


def test_calls_in_flight_and_resources_are_measured(events: list[Any]) -> None:
    @monitor(name="in flight")
    def generator() -> Iterator[int]:
        yield 1

    running = [generator() for _ in range(3)]
    for one in running:
        next(one)
    list(running[0])
    with FakeDevices(ram_used="2GB"):
        bus.flush()
    assert [e.calls for e in events if isinstance(e, CallsInFlight) and e.function == "in flight"] == [2]
    measured = [e for e in events if isinstance(e, ResourcesMeasured) and e.function == "in flight"]
    assert measured[0].ram_used_bytes == 2 * 10**9


@pytest.mark.parametrize("asked", [{"logs": "all"}, {"slow": 5}, {"logs": 1.0}])
def test_a_logged_call_is_told_with_the_memory_in_use_when_it_ended(
    clock: FakeClock, events: list[Any], caplog: pytest.LogCaptureFixture, asked: dict[str, Any]
) -> None:
    """Not with what is in use when the thread comes to log it."""
    caplog.set_level(logging.INFO, logger="mlguard.monitor")

    @monitor(name="each", **asked)
    def function() -> None:
        clock.sleep(6)

    for used in ("2GB", "3GB"):
        with FakeDevices(ram_used=used, gpus=(fake_gpu(used=used),)):
            function()
    bus.flush()
    told = [record.mlguard["resources"] for record in caplog.records if record.name == "mlguard.monitor"]  # type: ignore[attr-defined]
    assert [each["ram_used_bytes"] for each in told] == [2 * 10**9, 3 * 10**9]
    assert [list(each["gpu_used_bytes"].values()) for each in told] == [[2 * 10**9], [3 * 10**9]]
    measured = [e for e in events if isinstance(e, ResourcesMeasured) and e.function == "each"]
    assert measured[-1].ram_used_bytes == 3 * 10**9


def test_overflow_is_counted_never_silent(events: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitoring, "MOST_WAITING", 1000)
    monkeypatch.setattr(monitoring._drainer, "ensure", lambda: None)  # no thread in between

    @monitor(name="overflow")
    def function() -> None:
        pass

    for _ in range(10_000):
        function()
    assert len(guards_of(function)[0].waiting) <= 1000 + 4096  # type: ignore[attr-defined]
    bus.flush()
    lost = sum(e.calls for e in events if isinstance(e, CallsLost) and e.function == "overflow")
    assert lost > 0
    assert lost + len(finished(events, "overflow")) == 10_000


@pytest.mark.parametrize("fails", [False, True])
def test_the_calls_of_a_function_that_is_gone_are_told_too(events: list[Any], fails: bool) -> None:
    """A closure made for one call lives shorter than the second until the next drain; so it is, and is told of."""

    def body() -> int:
        return 1 // (not fails)

    gone = weakref.ref(body)
    for _ in range(3):
        with contextlib.suppress(ZeroDivisionError):
            monitor(name="short")(body)()
    del body
    gc.collect()
    assert gone() is None
    bus.flush()
    bus.flush()
    told = [event.outcome for event in events if isinstance(event, CallFinished) and event.function == "short"]
    assert told == ["error" if fails else "ok"] * 3


def test_a_monitor_that_could_not_be_made_ends_quietly(recwarn: pytest.WarningsRecorder) -> None:
    """Nothing of it is there yet."""
    with pytest.raises(PolicyError):
        monitor(name=" ")(lambda: 1)
    gc.collect()
    assert not recwarn.list


def test_one_thread_drains_however_many_callers_begin_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two first calls that meet while the thread is being started start one, not two."""
    drainer, meeting = monitoring._Drainer(), threading.Barrier(2, timeout=0.5)
    started: list[None] = []
    monkeypatch.setattr(drainer, "_work", lambda: started.append(None) or threading.Event().wait(2))

    def meet() -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            meeting.wait()

    monkeypatch.setattr(monitoring.tracing, "look", meet)
    callers = [threading.Thread(target=drainer.ensure) for _ in range(2)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()

    assert len(started) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_does_not_tell_its_parents_calls_again(events: list[Any]) -> None:
    @monitor(name="forked")
    def work() -> int:
        return 1

    work()
    child = os.fork()
    if not child:
        work()
        told = len(finished(events, "forked"))
        os._exit(0 if told == 1 else 100 + told)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert len(finished(events, "forked")) == 1


def test_the_run_id_follows_into_threads_and_can_be_set() -> None:
    import threading

    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(monitoring.run_id()))
    thread.start()
    thread.join()
    assert found == [monitoring.run_id()]

    import contextvars

    assert contextvars.copy_context().run(lambda: monitoring.run_id("mine")) == "mine"
    assert monitoring.run_id() == found[0]


def test_an_argument_to_include_that_is_not_there_is_an_error_at_decoration() -> None:
    """It would be missed only when a call has failed."""
    with pytest.raises(PolicyError, match="no parameter 'row' to include; it has rows"):
        monitor(include_args=("row",))(lambda rows: rows)
    assert monitor(include_args=("rows",))(lambda rows: rows)(1) == 1
