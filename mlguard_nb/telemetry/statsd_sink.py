"""The metrics as DogStatsD datagrams over UDP, as the Datadog agent listens for them on port 8125."""

from __future__ import annotations

import socket
from collections.abc import Callable

from mlguard_nb.telemetry import bus
from mlguard_nb.telemetry.measures import Metric, MetricSink

__all__ = ["datagram", "install"]

_KIND = {"counter": "c", "gauge": "g", "histogram": "h"}


def datagram(metric: Metric, labels: tuple[str, ...], value: float) -> str:
    """One metric in DogStatsD's format, "mlguard.calls:1|c|#function:train,outcome:ok"."""
    name = metric.name.removesuffix("_total").replace("mlguard_", "mlguard.", 1)
    tags = ",".join(f"{label}:{_clean(text)}" for label, text in zip(metric.labels, labels, strict=True))
    return f"{name}:{value:.9g}|{_KIND[metric.kind]}|#{tags}"


def _clean(text: str) -> str:
    return text.translate(str.maketrans(",|#\n", "____"))


def install(host: str = "127.0.0.1", port: int = 8125, *, most_series: int = 1000) -> Callable[[], None]:
    """Send every change to the agent at `host`:`port`; returns what ends that. UDP: nothing waits for an answer, and
    an agent that is not there costs nothing but the datagrams.
    """
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    sender = socket.socket(family, socket.SOCK_DGRAM)
    sender.setblocking(False)

    def apply(metric: Metric, labels: tuple[str, ...], value: float) -> None:
        try:
            sender.sendto(datagram(metric, labels, value).encode(), address)
        except (BlockingIOError, ConnectionRefusedError):
            return  # a full buffer or no agent: UDP promises nothing

    unsubscribe = bus.subscribe(MetricSink(apply, most_series))

    def remove() -> None:
        unsubscribe()
        sender.close()

    return remove
