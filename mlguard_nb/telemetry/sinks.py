"""Attaches the sinks that the program or its environment asks for, without importing a library that it does not use.

prometheus_client: attached once the program has imported it. OpenTelemetry: once it has set a meter provider of the
SDK. DogStatsD: where DD_AGENT_HOST or DD_DOGSTATSD_PORT is set, as Datadog's own libraries do. JSON lines: where
MLGUARD_LOG names a file. `install` in each sink's module attaches it by hand, with settings.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["attach_configured", "detach"]

_attached: dict[str, Callable[[], None]] = {}


def attach_configured() -> tuple[str, ...]:
    """Attach what is configured and not attached yet; the names of all that are. Called now and then by monitor."""
    if "prometheus" not in _attached and "prometheus_client" in sys.modules:
        from mlguard_nb.telemetry import prometheus_sink

        try:
            _attached["prometheus"] = prometheus_sink.install()
        except ValueError:  # the program installed the sink itself
            _attached["prometheus"] = lambda: None
    if "otel" not in _attached and _has_meter_provider():
        from mlguard_nb.telemetry import otel_sink

        _attached["otel"] = otel_sink.install()
    if "datadog" not in _attached and ("DD_AGENT_HOST" in os.environ or "DD_DOGSTATSD_PORT" in os.environ):
        from mlguard_nb.telemetry import statsd_sink

        port = int(os.environ.get("DD_DOGSTATSD_PORT", "8125"))
        _attached["datadog"] = statsd_sink.install(os.environ.get("DD_AGENT_HOST", "127.0.0.1"), port)
    if "json" not in _attached and os.environ.get("MLGUARD_LOG"):
        from mlguard_nb.telemetry import json_sink

        _attached["json"] = json_sink.install(os.environ["MLGUARD_LOG"])
    return tuple(sorted(_attached))


def _has_meter_provider() -> bool:
    metrics: Any = sys.modules.get("opentelemetry.metrics")
    sdk: Any = sys.modules.get("opentelemetry.sdk.metrics")
    return metrics is not None and sdk is not None and isinstance(metrics.get_meter_provider(), sdk.MeterProvider)


def detach() -> None:
    """Take out everything that was attached here."""
    for remove in _attached.values():
        remove()
    _attached.clear()
