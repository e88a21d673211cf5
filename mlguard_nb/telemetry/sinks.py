"""Attaches the sinks that the program or its environment asks for, without importing a library that it does not use.

prometheus_client: attached once the program has imported it, and where PROMETHEUS_MULTIPROC_DIR names the folder from
which another process serves the metrics. OpenTelemetry: once it has set a meter provider of the
SDK. DogStatsD: where DD_AGENT_HOST or DD_DOGSTATSD_PORT is set, as Datadog's own libraries do. JSON lines: where
MLGUARD_LOG names a file. `install` in each sink's module attaches it by hand, with settings.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

from mlguard_nb.telemetry.libraries import loaded

__all__ = ["attach_configured", "detach", "leave_to_another_process"]

Remove = Callable[[], None]

_log = logging.getLogger("mlguard.telemetry")
_attached: dict[str, Remove] = {}
_left = False


def attach_configured() -> tuple[str, ...]:
    """Attach what is configured and not attached yet; the names of all that are. Called now and then by monitor.

    A sink that cannot be attached (no such host, a file that may not be written) is logged once and left out.
    """
    if _left:
        return ()
    for name, (is_configured, install) in _SINKS.items():
        if name in _attached or not is_configured():
            continue
        try:
            _attached[name] = install()
        except Exception:  # a failing sink must not fail the user's call, which may be what asks
            _attached[name] = _nothing
            _log.exception("the sink %s could not be attached; its metrics and logs are missing", name)
    return tuple(sorted(name for name, remove in _attached.items() if remove is not _nothing))


def _nothing() -> None:
    """Takes out what was never in."""


def _has_prometheus() -> bool:
    return loaded("prometheus_client") is not None or bool(os.environ.get("PROMETHEUS_MULTIPROC_DIR"))


def _prometheus() -> Remove:
    from mlguard_nb.telemetry import prometheus_sink

    try:
        return prometheus_sink.install()
    except ValueError:  # the program installed the sink itself
        return _theirs


def _theirs() -> None:
    """Leaves in what the program put there."""


def _has_meter_provider() -> bool:
    metrics, sdk = loaded("opentelemetry.metrics"), loaded("opentelemetry.sdk.metrics")
    return metrics is not None and sdk is not None and isinstance(metrics.get_meter_provider(), sdk.MeterProvider)


def _otel() -> Remove:
    from mlguard_nb.telemetry import otel_sink

    return otel_sink.install()


def _has_agent() -> bool:
    return "DD_AGENT_HOST" in os.environ or "DD_DOGSTATSD_PORT" in os.environ


def _datadog() -> Remove:
    from mlguard_nb.telemetry import statsd_sink

    port = int(os.environ.get("DD_DOGSTATSD_PORT", "8125"))
    return statsd_sink.install(os.environ.get("DD_AGENT_HOST", "127.0.0.1"), port)


def _has_log() -> bool:
    return bool(os.environ.get("MLGUARD_LOG"))


def _json() -> Remove:
    from mlguard_nb.telemetry import json_sink

    return json_sink.install(os.environ["MLGUARD_LOG"])


_SINKS: dict[str, tuple[Callable[[], bool], Callable[[], Remove]]] = {
    "prometheus": (_has_prometheus, _prometheus),
    "otel": (_has_meter_provider, _otel),
    "datadog": (_has_agent, _datadog),
    "json": (_has_log, _json),
}


def leave_to_another_process() -> None:
    """Attach nothing here from now on: every event is handed to a process that tells it, and must not count twice."""
    global _left
    _left = True
    detach()


def detach() -> None:
    """Take out everything that was attached here."""
    for remove in _attached.values():
        remove()
    _attached.clear()
