"""The sinks: the same facts in Prometheus, OpenTelemetry, DogStatsD and JSON lines; the docs name no metric that is not."""

from __future__ import annotations

import io
import json
import logging
import math
import os
import re
import socket
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mlguard_nb import monitor
from mlguard_nb.telemetry import bus, json_sink, measures, otel_sink, prometheus_sink, sinks, statsd_sink, tracing
from mlguard_nb.telemetry.events import (
    BreakerMoved,
    CacheHit,
    CallFinished,
    DriftMeasured,
    InputRefused,
    RetryScheduled,
)
from mlguard_nb.testing import no_wait

DOCS = Path(__file__).resolve().parents[2] / "docs/monitoring"


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(bus, "_subscribers", ())
    sinks.detach()  # a test of another file may have monitored something
    yield
    sinks.detach()


def tell() -> None:
    bus.emit(CallFinished(function="train", outcome="ok", duration_seconds=0.25))
    bus.emit(CallFinished(function="train", outcome="error", duration_seconds=2.0, error="ValueError: x"))
    bus.emit(RetryScheduled(function="train", attempt=1, wait_seconds=0.5, reason="exception", error="x"))
    bus.emit(InputRefused(function="score", rules=(">=", "nulls")))
    bus.emit(CacheHit(function="load"))
    bus.emit(BreakerMoved(function="store", state="open"))


def test_prometheus() -> None:
    client = pytest.importorskip("prometheus_client")
    registry = client.CollectorRegistry()
    remove = prometheus_sink.install(registry)
    tell()
    text = client.generate_latest(registry).decode()
    assert 'mlguard_calls_total{function="train",outcome="error"} 1.0' in text
    assert 'mlguard_duration_seconds_sum{function="train"} 2.25' in text
    assert 'mlguard_retries_total{function="train",reason="exception"} 1.0' in text
    assert 'mlguard_validation_failures_total{function="score",rule="nulls"} 1.0' in text
    assert 'mlguard_cache_hits_total{function="load"} 1.0' in text
    assert 'mlguard_breaker_state{function="store"} 2.0' in text
    remove()
    assert client.generate_latest(registry) == b""


def test_each_function_may_have_edges_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    client = pytest.importorskip("prometheus_client")
    monkeypatch.setattr(measures, "_wishes", {})

    @monitor(name="quick", buckets=(0.001, 0.01))
    def quick() -> None: ...

    registry = client.CollectorRegistry()
    prometheus_sink.install(registry)
    with no_wait():
        quick()
        bus.flush()
        bus.emit(CallFinished(function="other", outcome="ok", duration_seconds=1.0))
    text = client.generate_latest(registry).decode()
    assert text.count("# TYPE mlguard_duration_seconds histogram") == 1
    assert re.findall(r'_bucket\{function="quick",le="([^"]+)"\}', text) == ["0.001", "0.01", "+Inf"]
    assert len(re.findall(r'_bucket\{function="other",', text)) == len(measures.BUCKETS) + 1
    with pytest.raises(ValueError, match="Duplicated"):
        prometheus_sink.install(registry)


MULTIPROCESS = """
import os, sys
from prometheus_client import CollectorRegistry, generate_latest, multiprocess
from mlguard_nb import monitor
from mlguard_nb.telemetry import bus, sinks
sinks.attach_configured()
@monitor(name="worker")
def work():
    pass
for _ in range(3):
    if os.fork() == 0:
        work(); work(); bus.flush(); os._exit(0)
for _ in range(3):
    os.wait()
registry = CollectorRegistry()
multiprocess.MultiProcessCollector(registry)
print(generate_latest(registry).decode())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is POSIX only")
def test_prometheus_multiprocess_mode_adds_the_workers_up(tmp_path: Path) -> None:
    pytest.importorskip("prometheus_client")
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MULTIPROCESS],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert 'mlguard_calls_total{function="worker",outcome="ok"} 6.0' in done.stdout, done.stdout + done.stderr
    assert 'mlguard_duration_seconds_count{function="worker"} 6.0' in done.stdout


def test_series_above_the_cap_are_folded() -> None:
    seen: list[tuple[str, ...]] = []
    sink = measures.MetricSink(lambda metric, labels, value: seen.append(labels), most=3)
    for number in range(10):
        sink(CacheHit(function=f"f{number}"))
    assert seen[:3] == [("f0",), ("f1",), ("f2",)]
    assert set(seen[3:]) == {("__overflow__",)}


def test_one_function_cannot_use_up_the_series_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures, "_wishes", {})
    measures.wish("greedy", measures.Wishes(most_series=2))
    seen: list[tuple[str, ...]] = []
    sink = measures.MetricSink(lambda metric, labels, value: seen.append(labels))
    for number in range(5):
        sink(InputRefused(function="greedy", rules=(f"rule {number}",)))
        sink(InputRefused(function="modest", rules=(f"rule {number}",)))
    assert [rule for function, rule in seen if function == "greedy"] == ["rule 0", "rule 1", *["__overflow__"] * 3]
    assert [rule for function, rule in seen if function == "modest"] == [f"rule {number}" for number in range(5)]


def test_opentelemetry_metrics() -> None:
    pytest.importorskip("opentelemetry.sdk.metrics")
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    otel_sink.install(MeterProvider([reader]))
    tell()
    data: Any = reader.get_metrics_data()
    found = {m.name: m for m in data.resource_metrics[0].scope_metrics[0].metrics}
    (point,) = found["mlguard_duration_seconds"].data.data_points
    assert (point.count, point.sum) == (2, 2.25)
    assert found["mlguard_duration_seconds"].unit == "s"
    assert tuple(point.explicit_bounds) == measures.BUCKETS
    outcomes = {p.attributes["outcome"]: p.value for p in found["mlguard_calls"].data.data_points}
    assert outcomes == {"ok": 1, "error": 1}


SPANS = """
import asyncio
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
spans = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(provider)
from mlguard_nb import monitor
@monitor(name="inner", labels={"team": "risk"})
def inner():
    raise ValueError("password=hunter2")
@monitor(name="outer")
async def outer():
    try: inner()
    except ValueError: pass
@monitor(name="untraced", traces=False)
def untraced(): pass
asyncio.run(outer()); untraced()
a, b = spans.get_finished_spans()
print(a.name, a.status.status_code.name, a.attributes["team"], a.parent.span_id == b.context.span_id, b.name)
print(a.events[0].attributes["exception.type"], "hunter2" in a.to_json())
"""


def test_opentelemetry_spans_nest_and_record_errors() -> None:
    pytest.importorskip("opentelemetry.sdk.trace")
    done = subprocess.run([sys.executable, "-c", SPANS], capture_output=True, text=True, check=False)
    assert done.stdout == "inner ERROR risk True outer\nValueError False\n", done.stderr


ATTEMPT_SPANS = (
    SPANS[: SPANS.index("from mlguard_nb")]
    + """
from mlguard_nb import CircuitBreaker, monitor, retry
from mlguard_nb.pipeline import step
from mlguard_nb.telemetry import tracing
tracing.look()
fails = [ConnectionError("once")]
@step
@monitor(name="fetch")
@retry(wait_initial=0.001, name="fetch", breaker=CircuitBreaker())
def load(url):
    if fails: raise fails.pop()
    return url
@step
@monitor(name="fetch later")
@retry(wait_initial=0.001, timeout=60)
async def load_later(url):
    return load(url)
@retry(wait_initial=0.001)
def rows():
    yield 1
load("a")
asyncio.run(load_later("b"))
next(rows())
by_id = {span.context.span_id: span for span in spans.get_finished_spans()}
for span in by_id.values():
    path = []
    while span:
        path.insert(0, span.name)
        inner, span = span, span.parent and by_id[span.parent.span_id]
        if len(path) == 1:
            end = inner.attributes.get("mlguard.attempt"), inner.status.status_code.name
    print(" > ".join(path), *(end if end[0] else ()))
"""
)


def test_every_attempt_has_a_span_below_its_call_and_its_step() -> None:
    """One trace from the step to the attempt, whichever way the function is called."""
    pytest.importorskip("opentelemetry.sdk.trace")
    done = subprocess.run([sys.executable, "-c", ATTEMPT_SPANS], capture_output=True, text=True, check=False)
    inner = "load_later > fetch later > fetch later attempt > load"
    assert done.stdout.splitlines() == [
        "load > fetch > fetch attempt 1 ERROR",
        "load > fetch > fetch attempt 2 UNSET",
        "load > fetch",
        "load",
        f"{inner} > fetch > fetch attempt 1 UNSET",
        f"{inner} > fetch",
        inner,
        "load_later > fetch later > fetch later attempt 1 UNSET",
        "load_later > fetch later",
        "load_later",
        "rows attempt 1 UNSET",
    ], done.stderr


THREAD_SPANS = (
    SPANS[: SPANS.index("from mlguard_nb")]
    + """
import contextvars, threading
from concurrent.futures import ThreadPoolExecutor
from mlguard_nb import cache_result, monitor, retry
from mlguard_nb.runtime.caching import cache_of
from mlguard_nb.runtime.stores.memory import FRESH
from mlguard_nb.telemetry import tracing
tracing.look()
@monitor(name="price")
def price(): return threading.get_ident()
kept = cache_result(stale_while_revalidate=1000, key="x")(lambda x: price())
kept(1)
for held in cache_of(kept).shelf.front.values():
    held[FRESH] -= 400
spans.clear()
@monitor(name="stale")
def stale(): return kept(1)
here = stale()
cache_of(kept).behind.join()
@monitor(name="awaited")
async def awaited(): return await asyncio.to_thread(price)
asyncio.run(awaited())
@monitor(name="pool")
def pool():
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(contextvars.copy_context().run, price).result()
pool()
@monitor(name="hedged")
@retry(hedge_after=0.001, name="hedged")
async def hedged():
    await asyncio.sleep(0.01)
    return price()
asyncio.run(hedged())
by_id = {span.context.span_id: span for span in spans.get_finished_spans()}
def path(span):
    above = span.parent and by_id[span.parent.span_id]
    return [*(path(above) if above else []), span.name]
print(sorted({" > ".join(path(span)) for span in by_id.values() if span.name == "price"}))
"""
)


def test_a_trace_goes_on_in_threads() -> None:
    """In those that the guards start, in asyncio's, and in a pool that is handed the context."""
    pytest.importorskip("opentelemetry.sdk.trace")
    done = subprocess.run([sys.executable, "-c", THREAD_SPANS], capture_output=True, text=True, check=False)
    expected = ["awaited > price", "hedged > hedged attempt > price", "pool > price", "stale > price"]
    assert done.stdout == f"{expected}\n", done.stderr


GENERATOR_SPANS = (
    SPANS[: SPANS.index("@monitor")]
    + """
@monitor(name="inner")
def inner(): pass
@monitor(name="items")
def items(fails):
    yield 1
    if fails: raise ValueError("x")
@monitor(name="rows")
async def rows():
    yield 1
async def collect():
    return [row async for row in rows()]
for item in items(False): inner()
try: list(items(True))
except ValueError: list(items(False))
asyncio.run(collect())
next(items(False))
for span in spans.get_finished_spans():
    print(span.name, span.status.status_code.name, span.parent, len(span.events))
"""
)


def test_generators_have_spans_that_adopt_nobody() -> None:
    """Between two items the caller's code runs: its spans are not the generator's children."""
    pytest.importorskip("opentelemetry.sdk.trace")
    done = subprocess.run([sys.executable, "-c", GENERATOR_SPANS], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [
        "inner UNSET None 0", "items UNSET None 0", "items ERROR None 1", "items UNSET None 0", "rows UNSET None 0", "items UNSET None 0",
    ], done.stderr  # fmt: skip


def test_without_a_tracer_provider_nothing_is_traced() -> None:
    tracing.look()
    assert tracing.SWITCH.on is False


def test_dogstatsd_against_a_real_socket() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as agent:
        agent.bind(("127.0.0.1", 0))
        agent.settimeout(10)
        remove = statsd_sink.install("127.0.0.1", agent.getsockname()[1])
        tell()
        bus.emit(BreakerMoved(function="store", state="closed"))
        bus.flush()
        lines = agent.recv(2000).decode().splitlines()
        tell()
        remove()
        assert "mlguard.cache_hits:1|c|#function:load" in agent.recv(2000).decode().splitlines()
    assert lines == [
        "mlguard.calls:1|c|#function:train,outcome:ok",
        "mlguard.calls:1|c|#function:train,outcome:error",
        "mlguard.retries:1|c|#function:train,reason:exception",
        "mlguard.validation_failures:1|c|#function:score,rule:>=",
        "mlguard.validation_failures:1|c|#function:score,rule:nulls",
        "mlguard.cache_hits:1|c|#function:load",
        "mlguard.breaker_state:0|g|#function:store",
        "mlguard.duration_seconds:0.25|h|#function:train",
        "mlguard.duration_seconds:2|h|#function:train",
    ]


def test_a_busy_function_costs_dogstatsd_few_datagrams_and_loses_no_count() -> None:
    """A datagram a call overran the agent's buffer, which says nothing: a fifth of 50,000 calls was gone."""
    calls = 50_000
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as agent:
        agent.bind(("127.0.0.1", 0))
        agent.settimeout(10)
        remove = statsd_sink.install("127.0.0.1", agent.getsockname()[1], every=3600)
        for number in range(calls):
            bus.emit(CallFinished(function="busy", outcome="ok", duration_seconds=number / calls))
        remove()
        lines: list[str] = []
        while sum(" h" in line.replace("|", " ") for line in lines) < statsd_sink.MOST_VALUES:
            datagram = agent.recv(65_536)
            assert len(datagram) <= 1_432
            lines += datagram.decode().splitlines()
    assert lines[0] == f"mlguard.calls:{calls}|c|#function:busy,outcome:ok"
    sampled = [line.partition("|h|@0.02|#function:busy") for line in lines[1:]]
    values = [float(head.partition(":")[2]) for head, found, _rest in sampled if found]
    assert len(values) == statsd_sink.MOST_VALUES
    assert 0.4 < sum(values) / len(values) < 0.6


FORKED = """
import os, socket, sys
from mlguard_nb.telemetry import bus, statsd_sink
from mlguard_nb.telemetry.events import CacheHit
agent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
agent.bind(("127.0.0.1", 0))
agent.settimeout(10)
statsd_sink.install("127.0.0.1", agent.getsockname()[1], every=3600)
bus.emit(CacheHit(function="parent"))
if os.fork() == 0:
    bus.emit(CacheHit(function="child"))
    bus.flush()
    os._exit(0)
os.wait()
print(agent.recv(2000).decode())
bus.flush()
print(agent.recv(2000).decode())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is POSIX only")
def test_a_forked_child_sends_to_dogstatsd_what_is_its_own() -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORKED], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["mlguard.cache_hits:1|c|#function:child", "mlguard.cache_hits:1|c|#function:parent"]


def test_an_agent_that_is_not_there_costs_nothing() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    remove = statsd_sink.install("127.0.0.1", port)
    before = bus.failures()
    for _ in range(20):
        tell()
    remove()
    assert bus.failures() == before


def test_json_lines(tmp_path: Path) -> None:
    stream = io.StringIO()
    stop = json_sink.install(stream)
    stop_file = json_sink.install(tmp_path / "log.jsonl")
    tell()
    stop()
    bus.emit(CallFinished(function="f", outcome="error", duration_seconds=1, error="no file \udc80"))
    stop_file()
    *log, odd = (tmp_path / "log.jsonl").read_text().splitlines(keepends=True)
    assert "".join(log) == stream.getvalue()
    assert json.loads(odd)["error"] == "no file \udc80"
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == [
        "call_finished", "call_finished", "retry_scheduled", "input_refused", "cache_hit", "breaker_moved",
    ]  # fmt: skip
    assert lines[1]["error"] == "ValueError: x"


FORKED_WHILE_WRITING = """
import io, os, sys, threading
from mlguard_nb.telemetry import bus, json_sink
from mlguard_nb.telemetry.events import CacheHit
parent, inside, forked = os.getpid(), threading.Event(), threading.Event()
class Slow(io.StringIO):
    def write(self, text):
        if os.getpid() == parent:
            inside.set()
            forked.wait()
        return sys.stderr.write(text)
json_sink.install(Slow())
thread = threading.Thread(target=bus.emit, args=(CacheHit(function="parent"),))
thread.start()
inside.wait()
child = os.fork()
if child == 0:
    bus.emit(CacheHit(function="child"))
    os._exit(0)
os.waitpid(child, 0)
forked.set()
thread.join()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is POSIX only")
def test_a_child_forked_while_a_line_is_written_writes_too() -> None:
    program = [sys.executable, "-W", "ignore", "-c", FORKED_WHILE_WRITING]
    done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=60)
    assert [json.loads(line)["function"] for line in done.stderr.splitlines()] == ["child", "parent"]


def test_json_lines_are_json_whatever_the_numbers() -> None:
    """NaN and Infinity are words of Python's, which a strict reader refuses."""

    def refuse(word: str) -> None:
        raise AssertionError(word)

    line = json_sink.as_line(DriftMeasured(function="f", column="a", psi=math.inf, ks=1.0, mean_shift=math.nan))
    told = json.loads(line, parse_constant=refuse)
    assert (told["psi"], told["ks"], told["mean_shift"]) == (None, 1.0, None)
    text = json_sink.as_line(CallFinished(function="f", outcome="error", duration_seconds=1, error="E: token=abc"))
    assert json.loads(text)["error"] == "E: token=[redacted]"


def test_a_sink_that_cannot_be_attached_is_logged_once_and_fails_no_call(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The first monitored call attaches the sinks: a wrong port or folder is no reason for it to fail."""
    monkeypatch.setenv("DD_DOGSTATSD_PORT", "none")
    monkeypatch.setenv("MLGUARD_LOG", str(tmp_path / "no such folder" / "log.jsonl"))
    with caplog.at_level(logging.ERROR, logger="mlguard.telemetry"):
        assert not {"datadog", "json"} & set(sinks.attach_configured())
        sinks.attach_configured()
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert "the sink datadog could not be attached" in told[0]


def test_a_library_that_is_being_imported_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread looks while the program is in the middle of `import opentelemetry.sdk.metrics`."""
    for name in (
        "opentelemetry.metrics",
        "opentelemetry.sdk.metrics",
        "opentelemetry.trace",
        "opentelemetry.sdk.trace",
    ):
        half = types.ModuleType(name)
        half.__spec__ = SimpleNamespace(_initializing=True)  # type: ignore[assignment]
        monkeypatch.setitem(sys.modules, name, half)
    assert "otel" not in sinks.attach_configured()
    tracing.look()
    assert tracing.SWITCH.on is False


def test_sinks_attach_by_what_the_program_uses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)  # not imported, as far as anybody sees
    monkeypatch.delitem(sys.modules, "prometheus_client")
    monkeypatch.setenv("DD_DOGSTATSD_PORT", "1")
    monkeypatch.setenv("MLGUARD_LOG", str(tmp_path / "log.jsonl"))
    assert {"datadog", "json"} <= set(sinks.attach_configured())
    assert "prometheus" not in sinks.attach_configured()
    tell()
    assert (tmp_path / "log.jsonl").read_text().count("\n") == 6


LAST_SECOND = """
import multiprocessing, os, sys
from mlguard_nb import monitor
@monitor(name="short")
def short(): pass
if __name__ == "__main__":
    if sys.argv[1] == "child":
        child = multiprocessing.get_context("fork").Process(target=short)
        child.start()
        child.join()
    else:
        short()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is POSIX only")
@pytest.mark.parametrize("who", ["script", "child"])
def test_the_last_second_of_a_process_is_told_too(tmp_path: Path, who: str) -> None:
    """A script that is done before the first drain has not run in vain, nor has a worker of multiprocessing."""
    program, log = tmp_path / "program.py", tmp_path / "log.jsonl"
    program.write_text(LAST_SECOND)
    environment = {**os.environ, "MLGUARD_LOG": str(log)}
    subprocess.run([sys.executable, str(program), who], env=environment, check=True)
    assert [line["event"] for line in map(json.loads, log.read_text().splitlines())].count("call_finished") == 1


def test_a_subscriber_that_fails_fails_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[Any] = []

    def broken(event: Any) -> None:
        raise RuntimeError("sink is broken")

    bus.subscribe(broken)
    bus.subscribe(heard.append)
    before = bus.failures()
    with caplog.at_level(logging.ERROR, logger="mlguard.telemetry"):
        tell()
    assert len(heard) == 6
    assert bus.failures() == before + 6


@pytest.mark.parametrize("file", ["grafana_dashboard.json", "prometheus_alerts.yml"])
def test_the_docs_name_only_metrics_and_labels_that_are_exported(file: str) -> None:
    text = (DOCS / file).read_text()
    used = set(re.findall(r"mlguard_[a-z_]+", text))
    exported = {name + end for name, m in measures.METRICS.items()
                for end in (("_bucket", "_sum", "_count", "") if m.kind == "histogram" else ("",))}  # fmt: skip
    assert used <= exported
    for metric, selector in re.findall(r"(mlguard_[a-z_]+)\{([^}]*)\}", text):
        labels = set(re.findall(r"(\w+)\s*=", selector))
        base = re.sub(r"_(bucket|sum|count)$", "", metric)
        assert labels <= {*measures.METRICS[base].labels, "le"}


def test_the_dashboard_shows_every_metric() -> None:
    dashboard = json.loads((DOCS / "grafana_dashboard.json").read_text())
    shown = " ".join(target["expr"] for panel in dashboard["panels"] for target in panel["targets"])
    assert not [name for name in measures.METRICS if name not in shown and name != "mlguard_calls_lost_total"]
