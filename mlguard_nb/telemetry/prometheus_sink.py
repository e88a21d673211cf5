"""The metrics in prometheus_client's registry; works in its multiprocess mode too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mlguard_nb.errors import MissingExtra
from mlguard_nb.telemetry import bus
from mlguard_nb.telemetry.measures import BUCKETS, METRICS, Metric, MetricSink

__all__ = ["install"]


def install(registry: Any = None, *, buckets: Sequence[float] = BUCKETS, most_series: int = 100) -> Callable[[], None]:
    """Export every metric through `registry` (None: the default one); returns what takes them out again.

    `buckets` are the edges of the duration histogram, in seconds; a metric has at most `most_series` series. In
    multiprocess mode (PROMETHEUS_MULTIPROC_DIR) gauges keep the most recent value of all processes. MissingExtra
    where prometheus_client is not installed.
    """
    try:
        import prometheus_client as client
    except ImportError:
        raise MissingExtra("metrics for Prometheus", "prometheus") from None
    target = client.REGISTRY if registry is None else registry
    made: dict[str, Any] = {}
    for metric in METRICS.values():
        if metric.kind == "counter":
            made[metric.name] = client.Counter(metric.name, metric.help, metric.labels, registry=target)
        elif metric.kind == "gauge":
            mode: Any = "mostrecent" if metric.name != "mlguard_in_flight" else "livesum"
            made[metric.name] = client.Gauge(
                metric.name, metric.help, metric.labels, registry=target, multiprocess_mode=mode
            )
        else:
            made[metric.name] = client.Histogram(
                metric.name, metric.help, metric.labels, registry=target, buckets=tuple(buckets)
            )

    def apply(metric: Metric, labels: tuple[str, ...], value: float) -> None:
        child = made[metric.name].labels(*labels)
        if metric.kind == "counter":
            child.inc(value)
        elif metric.kind == "gauge":
            child.set(value)
        else:
            child.observe(value)

    unsubscribe = bus.subscribe(MetricSink(apply, most_series))

    def remove() -> None:
        unsubscribe()
        for collector in made.values():
            target.unregister(collector)

    return remove
