"""The metrics through OpenTelemetry's meter provider."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlguard_nb.errors import MissingExtra
from mlguard_nb.telemetry import bus
from mlguard_nb.telemetry.measures import BUCKETS, METRICS, Metric, MetricSink
from mlguard_nb.version import __version__

__all__ = ["install"]


def install(provider: Any = None, *, most_series: int = 1000) -> Callable[[], None]:
    """Record every metric with `provider` (None: the global meter provider); returns what ends that.

    Names lose their _total, which exporters add themselves. MissingExtra where OpenTelemetry is not installed.
    """
    try:
        from opentelemetry import metrics
    except ImportError:
        raise MissingExtra("metrics through OpenTelemetry", "otel") from None
    meter = (provider or metrics.get_meter_provider()).get_meter("mlguard_nb", __version__)
    made: dict[str, Any] = {}
    for metric in METRICS.values():
        name = metric.name.removesuffix("_total")
        create = {"counter": meter.create_counter, "gauge": meter.create_gauge, "histogram": _histogram(meter)}
        unit = "s" if name.endswith("_seconds") else "By" if name.endswith("_bytes") else "1"
        made[metric.name] = create[metric.kind](name, unit=unit, description=metric.help)

    def apply(metric: Metric, labels: tuple[str, ...], value: float) -> None:
        attributes = dict(zip(metric.labels, labels, strict=True))
        record = made[metric.name]
        if metric.kind == "counter":
            record.add(value, attributes)
        elif metric.kind == "gauge":
            record.set(value, attributes)
        else:
            record.record(value, attributes)

    return bus.subscribe(MetricSink(apply, most_series))


def _histogram(meter: Any) -> Callable[..., Any]:
    """How to make a histogram in seconds: OpenTelemetry's own edges are meant for milliseconds."""

    def create(name: str, **options: Any) -> Any:
        try:
            return meter.create_histogram(name, explicit_bucket_boundaries_advisory=BUCKETS, **options)
        except TypeError:  # before 1.30 only a view of the program could set them
            return meter.create_histogram(name, **options)

    return create
