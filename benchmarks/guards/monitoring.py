"""monitor, with nobody and with Prometheus listening, beside prometheus_client, an OpenTelemetry span and structlog."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.guards.bare import add, has, row
from benchmarks.table import Row

__all__ = ["rows"]


def rows() -> list[Row]:
    """First alone; importing prometheus_client attaches its sink, whose thread then shares the interpreter lock."""
    from mlguard_nb import monitor

    alone = monitor()(add)
    found = [row("monitor", lambda: alone(1, 2), budget_ratio=10.0)]
    peers = _peers()
    if "prometheus_client" in peers:
        from mlguard_nb.telemetry import sinks

        sinks.attach_configured()
    watched = monitor(name="watched")(add)
    found.append(row("monitor, Prometheus attached", lambda: watched(1, 2), peers, budget_ratio=10.0))
    return found


def _peers() -> dict[str, Callable[[], Any]]:
    peers: dict[str, Callable[[], Any]] = {}
    if has("prometheus_client"):
        import prometheus_client

        registry = prometheus_client.CollectorRegistry()
        timer = prometheus_client.Histogram("peer", "peer", registry=registry).time()(add)
        peers["prometheus_client"] = lambda: timer(1, 2)
    if has("opentelemetry.sdk"):
        from opentelemetry.sdk.trace import TracerProvider

        tracer = TracerProvider().get_tracer("peer")

        def traced() -> Any:
            with tracer.start_as_current_span("peer"):
                return add(1, 2)

        peers["OpenTelemetry span"] = traced
    if has("structlog"):
        import io

        import structlog

        log = structlog.wrap_logger(
            structlog.PrintLogger(io.StringIO()),
            processors=[structlog.processors.TimeStamper(fmt="iso"), structlog.processors.JSONRenderer()],
        )

        def logged() -> Any:
            result = add(1, 2)
            log.info("call", function="add", outcome="ok")
            return result

        peers["structlog line"] = logged
    return peers
