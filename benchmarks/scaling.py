"""What a step and a call cost beyond one machine, and what 10, 1,000 and 100,000 workers make of it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from benchmarks.measure import nanoseconds
from benchmarks.queueing import Queue, cold_key, outage, steady
from benchmarks.table import spoken

__all__ = ["WORKERS", "run"]

WORKERS = (10, 1_000, 100_000)
# What one worker does, for the simulation: a call of a guarded function a second, half of them answered by the
# server's cache, and a step of ten seconds.
CALLS, STEPS, HITS = 1.0, 0.1, 0.5
WORKERS_A_NODE = 16
Costs = dict[str, float]  # seconds, by what they are of
NEEDED = {"redis": "redis-server and mlguard-nb[redis]", "ray": "mlguard-nb[ray]", "otel": "mlguard-nb[otel]"}


def run(results: Path) -> str:
    """The costs, then the simulation that they feed. RuntimeError names what is not installed."""
    costs: Costs = {}
    costs.update(_redis())
    costs.update(_ray())
    costs.update(_telemetry())
    rows = [f"{what:64} {_told(what, cost):>12}" for what, cost in costs.items()]
    return "\n".join([f"{'one of them costs':64} {'':>12}", *rows, "", *_simulated(costs)])


def _told(what: str, cost: float) -> str:
    return f"{cost:,.0f}" if what.endswith((" a second", "bytes", "number")) else spoken(cost * 1e9)


# Redis or Valkey.


@contextmanager
def _server() -> Iterator[int]:
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        raise RuntimeError(f"the scaling section needs {NEEDED['redis']}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        words = [program, "--port", str(port), "--save", "", "--dir", folder, "--bind", "127.0.0.1"]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        try:
            give_up = time.monotonic() + 30
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    if process.poll() is not None or time.monotonic() > give_up:
                        raise RuntimeError("the server did not start") from None
            yield port
        finally:
            process.kill()
            process.wait()


def _redis() -> Costs:
    import numpy as np

    from mlguard_nb import SharedCircuitBreaker, SharedRetryBudget, cache_result
    from mlguard_nb.runtime.caching import cache_of

    with _server() as port:
        url = f"redis://127.0.0.1:{port}/0"
        breaker, budget = SharedCircuitBreaker(url, "b", minimum_calls=10**9), SharedRetryBudget(url, "b", 10**9, 1)
        kept = cache_result(backend=url, key="x", max_bytes=10**9)(lambda x, size: np.zeros(size // 8))
        guard = cache_of(kept)

        def hit(size: int) -> None:
            guard.shelf.clear()
            kept(size, size)

        costs: Costs = {}
        for name, size in (("1 kB", 1_000), ("1 MB", 10**6)):
            kept(size, size)
            costs[f"Redis: a hit of {name} that another process stored"] = _seconds(partial(hit, size))
        fresh = iter(range(10**9, 10**12))
        costs["Redis: a miss of 1 kB: read, lease, store, release"] = _seconds(lambda: kept(next(fresh), 1_000))
        client = guard.backend._store._server  # type: ignore[union-attr]
        costs["Redis: one round trip"] = _seconds(lambda: client.ask("ping"))
        costs["Redis: a failure told to a shared breaker"] = _seconds(breaker.failed)
        costs["Redis: a retry paid from a shared budget"] = _seconds(budget.take)
        costs["Redis: a success counted by a shared breaker (told once a second)"] = _seconds(breaker.succeeded)
        costs |= {f"Redis: {what} the server answers a second": rate for what, rate in _capacity(port).items()}
        return costs


def _capacity(port: int) -> Mapping[str, float]:
    """Requests a second that one server answers, asked by 50 clients of its own benchmark."""
    from mlguard_nb.runtime.sharing_scripts import BREAKER
    from mlguard_nb.runtime.stores.remote import _TAKE

    program = shutil.which("redis-benchmark") or shutil.which("valkey-benchmark")
    if program is None:
        raise RuntimeError("the scaling section needs redis-benchmark (the package redis-tools)")
    asked = {
        "GETs": ["get", "k"],
        "questions for a lease": ["eval", _TAKE, "2", "l", "v", "token", "10000", "seen"],
        "failures of a breaker": [
            "eval",
            BREAKER,
            "1",
            "b",
            "failed",
            "0",
            "0.5",
            "1000000000",
            "60000",
            "30000",
            "1",
            "0",
        ],
    }
    found: dict[str, float] = {}
    for what, words in asked.items():
        command = [program, "-p", str(port), "-n", "40000", "-c", "50", "--csv", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[what] = float(done.stdout.splitlines()[-1].split('","')[1].strip('"'))
    return found


# Ray.


def _nothing() -> None:
    """The smallest task."""


def _ray() -> Costs:
    try:
        import ray
    except ImportError:
        raise RuntimeError(f"the scaling section needs {NEEDED['ray']}") from None
    import numpy as np

    from mlguard_nb.pipeline import step
    from mlguard_nb.pipeline.engines import using
    from mlguard_nb.pipeline.on_ray import RayEngine, connect

    @step(outputs=("y",))
    def after(x: int) -> int:
        return x + 1

    connect(ray, num_cpus=2, logging_level="ERROR", log_to_driver=False)
    try:
        ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
        task = ray.remote(_nothing)
        ray.get([task.remote() for _ in range(200)])
        costs: Costs = {}
        costs["Ray: a task that does nothing, there and back"] = _seconds(lambda: ray.get(task.remote()))
        many = 3_000
        spent = _timed(lambda: ray.get([task.remote() for _ in range(many)]))
        costs["Ray: tasks that one driver and two workers end a second"] = many / spent

        def chain(steps: int) -> None:
            engine, value = RayEngine(ray, {}), 0
            with using(engine):
                for _ in range(steps):
                    value = after(value)
            engine.gather({"value": value})

        chain(5)
        costs["Ray: a step of our engine, of a chain of 50"] = min(_timed(partial(chain, 50)) for _ in range(3)) / 50
        for name, size in (("1 kB", 1_000), ("1 MB", 10**6), ("100 MB", 10**8)):
            value = np.ones(size // 8)
            repeat = 5 if size > 10**7 else 50
            references: list[Any] = []
            puts = [_timed(lambda: references.append(ray.put(value))) for _ in range(repeat)]  # noqa: B023
            costs[f"Ray: put {name} into the object store"] = min(puts)
            gets = [_timed(partial(ray.get, reference)) for reference in references]
            costs[f"Ray: get {name} (a view, no copy)"] = min(gets)
        return costs
    finally:
        ray.shutdown()


# Spans and metrics.


class _Collector(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads it."""


def _telemetry() -> Costs:
    try:
        from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
    except ImportError:
        raise RuntimeError(f"the scaling section needs {NEEDED['otel']}") from None

    provider = TracerProvider()
    tracer = provider.get_tracer("mlguard_nb")

    def span() -> Any:
        with tracer.start_as_current_span("fit attempt", attributes={"mlguard.attempt": 1}) as made:
            return made

    costs: Costs = {"OpenTelemetry: a span, made and ended": _seconds(span)}
    spans = [span() for _ in range(512)]
    with ThreadingHTTPServer(("127.0.0.1", 0), _Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        exporter = OTLPSpanExporter(f"http://127.0.0.1:{server.server_port}/v1/traces")
        costs["OpenTelemetry: a span, exported with 511 others"] = _seconds(lambda: exporter.export(spans)) / 512
        exporter.shutdown()
        server.shutdown()
    costs["OpenTelemetry: a span on the wire, bytes"] = len(encode_spans(spans).SerializeToString()) / 512
    return {**costs, **_scrape()}


def _scrape() -> Costs:
    """A process with ten monitored functions, of which each has ended well, failed and retried."""
    import prometheus_client

    from mlguard_nb.telemetry import bus, prometheus_sink
    from mlguard_nb.telemetry.events import CacheHit, CacheMiss, CallFinished, RetryScheduled

    registry = prometheus_client.CollectorRegistry()
    remove = prometheus_sink.install(registry)
    for number in range(10):
        name = f"function_{number}"
        for outcome in ("ok", "error"):
            bus.emit(CallFinished(function=name, outcome=outcome, duration_seconds=0.1))
        bus.emit(RetryScheduled(function=name, attempt=1, wait_seconds=0, reason="exception", error=""))
        bus.emit(CacheHit(function=name))
        bus.emit(CacheMiss(function=name))
    text = prometheus_client.generate_latest(registry)
    series = sum(1 for line in text.decode().splitlines() if line.startswith("mlguard_"))
    costs = {
        "Prometheus: a scrape of 10 functions, made": _seconds(lambda: prometheus_client.generate_latest(registry)),
        "Prometheus: a scrape of 10 functions, bytes": float(len(text)),
        "Prometheus: series of 10 functions, number": float(series),
    }
    remove()
    return costs


def _seconds(call: Callable[[], Any]) -> float:
    return nanoseconds(call, repeat=50) / 1e9


def _timed(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


# The simulation.


def _simulated(costs: Costs) -> list[str]:
    get = 1 / costs["Redis: GETs the server answers a second"]
    lease = 1 / costs["Redis: questions for a lease the server answers a second"]
    failure = 1 / costs["Redis: failures of a breaker the server answers a second"]
    task = 1 / costs["Ray: tasks that one driver and two workers end a second"]
    misses = CALLS * (1 - HITS)
    per_call = (CALLS * get + misses * 3 * lease + failure) / (CALLS + 3 * misses + 1)  # a mean over their requests
    put = costs["Ray: put 100 MB into the object store"]
    cases: list[tuple[str, float, Callable[[int], Queue]]] = [
        ("Redis: calls, misses and reports", per_call, lambda n: steady(n, CALLS + 3 * misses + 1, per_call)),
        ("Redis: all wait for one cold key, 10 s", lease, lambda n: cold_key(n, lease)),
        ("Redis: the circuit opens for all", failure, lambda n: outage(n, CALLS, failure)),
        ("Ray: one driver submits all steps", task, lambda n: steady(n, STEPS, task)),
        ("Ray: a node's store, 100 MB a step", put, lambda n: steady(min(n, WORKERS_A_NODE), STEPS, put)),
    ]
    lines = [f"{'one server, simulated':40} {'workers':>8} {'requests/s':>12} {'load':>7} {'median':>9} {'99 %':>9}"]
    for what, service, simulate in cases:
        for workers in WORKERS:
            found = simulate(workers)
            waits = f"{spoken(found.median * 1e9):>9} {spoken(found.p99 * 1e9):>9}"
            full = "  FULL" if found.load >= 1 else ""
            lines.append(f"{what:40} {workers:>8,} {found.load / service:>12,.0f} {found.load:>7.1%} {waits}{full}")
    return lines + _sums(costs)


def _sums(costs: Costs) -> list[str]:
    """What all workers together send to collectors, of which everybody has as many as he likes."""
    wire = costs["OpenTelemetry: a span on the wire, bytes"]
    series = costs["Prometheus: series of 10 functions, number"]
    spans = 2 * CALLS + STEPS  # the call and its attempt, and the step
    lines = ["", f"{'all workers together':40} {'workers':>8} {'number':>12}"]
    for workers in WORKERS:
        for what, number in (
            ("OpenTelemetry: spans a second", spans),
            ("OpenTelemetry: bytes a second", spans * wire),
            ("Prometheus: series", series),
            ("Prometheus: samples a second, every 15 s", series / 15),
        ):
            lines.append(f"{what:40} {workers:>8,} {workers * number:>12,.0f}")
    return lines
