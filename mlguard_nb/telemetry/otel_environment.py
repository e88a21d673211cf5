"""OpenTelemetry as the standard environment variables configure it: OTEL_EXPORTER_OTLP_ENDPOINT and its kin.

A command has no program around it that could set up providers, and neither has a worker of a cluster.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

from mlguard_nb.telemetry import sinks, tracing

__all__ = ["configure", "send"]

_log = logging.getLogger("mlguard.telemetry")
_senders: list[Callable[[], object]] = []
_ENDPOINTS = tuple(f"OTEL_EXPORTER_OTLP_{kind}ENDPOINT" for kind in ("", "TRACES_", "METRICS_"))


def configure(service: str, *, spans_only: bool = False) -> None:
    """Export spans and metrics over OTLP/HTTP where an endpoint is named and the program has set no provider itself.

    `service` is the service's name unless OTEL_SERVICE_NAME says another. Without the libraries it says once what
    to install, and goes on. Called again it does nothing.
    """
    if _senders or not any(os.environ.get(name) for name in _ENDPOINTS):
        return
    try:
        from opentelemetry.sdk.resources import Resource

        resource = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME") or service})
        _export_spans(resource)
        if not spans_only:
            _export_metrics(resource)
    except ImportError:
        _log.warning("an OTLP endpoint is set, but nothing can export to it: pip install 'mlguard-nb[otel]'")
        _senders.append(lambda: None)
        return
    tracing.look()
    if not spans_only:
        sinks.attach_configured()


def _export_spans(resource: Any) -> None:
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        provider = TracerProvider(resource=resource)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        trace.set_tracer_provider(provider)
        _senders.append(provider.force_flush)


def _export_metrics(resource: Any) -> None:
    from opentelemetry import metrics
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    if not isinstance(metrics.get_meter_provider(), MeterProvider):
        reader = PeriodicExportingMetricReader(OTLPMetricExporter())
        provider = MeterProvider(resource=resource, metric_readers=[reader])
        metrics.set_meter_provider(provider)
        _senders.append(provider.force_flush)


def send() -> None:
    """Send what has not been sent yet: a worker may be stopped at any time after its step."""
    for sender in _senders:
        sender()
