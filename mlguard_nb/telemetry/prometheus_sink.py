"""The metrics in prometheus_client's registry; works in its multiprocess mode too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mlguard_nb.errors import MissingExtra
from mlguard_nb.telemetry import bus
from mlguard_nb.telemetry.measures import BUCKETS, METRICS, Metric, MetricSink, wishes_of

__all__ = ["install"]


class _Durations:
    """One histogram whose functions may each have edges of their own, which prometheus_client's own cannot."""

    def __init__(self, client: Any, metric: Metric, edges: tuple[float, ...]) -> None:
        self._client, self._metric, self._edges = client, metric, edges
        self._by_edges: dict[tuple[float, ...], Any] = {}

    def labels(self, function: str) -> Any:
        """The histogram of one function."""
        edges = wishes_of(function).buckets or self._edges
        if edges not in self._by_edges:
            metric = self._metric
            self._by_edges[edges] = self._client.Histogram(
                metric.name, metric.help, metric.labels, registry=None, buckets=edges
            )
        return self._by_edges[edges].labels(function)

    def describe(self) -> list[Any]:
        """The name, for the registry."""
        metric = self._metric
        return [self._client.metrics_core.HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)]

    def collect(self) -> list[Any]:
        """All functions as one family."""
        (family,) = self.describe()
        for histogram in list(self._by_edges.values()):
            for found in histogram.collect():
                family.samples.extend(found.samples)
        return [family]


def install(registry: Any = None, *, buckets: Sequence[float] = BUCKETS, most_series: int = 1000) -> Callable[[], None]:
    """Export every metric through `registry` (None: the default one); returns what takes them out again.

    `buckets` are the edges of the duration histogram, in seconds, of functions whose monitor asks for no others; a
    metric has at most `most_series` series. In
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
            made[metric.name] = _Durations(client, metric, tuple(buckets))
            target.register(made[metric.name])

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
