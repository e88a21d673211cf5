"""The metrics as DogStatsD datagrams over UDP, as the Datadog agent listens for them on port 8125.

What happened within a second goes out together: counters as one sum each, gauges as they are last, durations as a fair
sample with its rate where there were very many. So a busy function costs a few datagrams, and the agent's counts hold.
"""

from __future__ import annotations

import atexit
import logging
import os
import random
import socket
import threading
from collections.abc import Callable, Iterator

from mlguard_nb.telemetry import bus
from mlguard_nb.telemetry.measures import Metric, MetricSink

__all__ = ["MOST_VALUES", "datagrams", "install", "line"]

MOST_VALUES = 1_000  # of one histogram in one sending
_MOST_BYTES = 1_432  # what fits an Ethernet frame, as Datadog's own clients send
_KIND = {"counter": "c", "gauge": "g", "histogram": "h"}
_log = logging.getLogger("mlguard.telemetry")

Key = tuple[Metric, tuple[str, ...]]


def line(metric: Metric, labels: tuple[str, ...], value: float, rate: float = 1.0) -> str:
    """One metric in DogStatsD's format, "mlguard.calls:1|c|#function:train,outcome:ok"."""
    name = metric.name.removesuffix("_total").replace("mlguard_", "mlguard.", 1)
    tags = ",".join(f"{label}:{_clean(text)}" for label, text in zip(metric.labels, labels, strict=True))
    sampled = "" if rate == 1.0 else f"|@{rate:.6g}"
    return f"{name}:{value:.9g}|{_KIND[metric.kind]}{sampled}|#{tags}"


def _clean(text: str) -> str:
    return text.translate(str.maketrans(",|#\n", "____"))


def datagrams(lines: Iterator[str]) -> Iterator[bytes]:
    """The lines joined into datagrams of a size that no network splits."""
    waiting: list[bytes] = []
    size = 0
    for text in lines:
        one = text.encode()
        if waiting and size + len(one) > _MOST_BYTES:
            yield b"\n".join(waiting)
            waiting, size = [], 0
        waiting.append(one)
        size += len(one) + 1
    if waiting:
        yield b"\n".join(waiting)


class _Waiting:
    """What is to be sent next, by series."""

    def __init__(self) -> None:
        self.numbers: dict[Key, float] = {}
        self.samples: dict[Key, tuple[list[float], int]] = {}

    def add(self, metric: Metric, labels: tuple[str, ...], value: float) -> None:
        """Take one change in; of many values each has the same chance to be among those kept (algorithm R)."""
        key = metric, labels
        if metric.kind != "histogram":
            before = self.numbers.get(key, 0.0) if metric.kind == "counter" else 0.0
            self.numbers[key] = before + value
            return
        values, count = self.samples.get(key, ([], 0))
        if count < MOST_VALUES:
            values.append(value)
        elif (place := random.randrange(count + 1)) < MOST_VALUES:
            values[place] = value
        self.samples[key] = values, count + 1

    def lines(self) -> Iterator[str]:
        """All of it in DogStatsD's format."""
        for (metric, labels), value in self.numbers.items():
            yield line(metric, labels, value)
        for (metric, labels), (values, count) in self.samples.items():
            for value in values:
                yield line(metric, labels, value, len(values) / count)


class _Sender:
    """Sends once in `every` seconds from a thread of this process; a forked child starts with nothing to send."""

    def __init__(self, host: str, port: int, every: float) -> None:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        self._address: tuple[object, ...] = address
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.settimeout(1.0)
        self._every, self._stop = every, threading.Event()
        self._refused = 0
        self._begin()

    def _begin(self) -> None:
        self._process, self._lock, self._waiting = os.getpid(), threading.Lock(), _Waiting()
        threading.Thread(target=self._work, name="mlguard-statsd", daemon=True).start()

    def add(self, metric: Metric, labels: tuple[str, ...], value: float) -> None:
        """Have one change sent with the next datagrams."""
        if self._process != os.getpid():
            self._begin()
        with self._lock:
            self._waiting.add(metric, labels, value)

    def send(self) -> None:
        """Send now what waits. UDP: nothing waits for an answer, and an agent that is not there is no error."""
        if self._process != os.getpid() or self._stop.is_set():
            return
        with self._lock:
            waiting, self._waiting = self._waiting, _Waiting()
        for datagram in datagrams(waiting.lines()):
            try:
                self._socket.sendto(datagram, self._address)
            except ConnectionRefusedError:
                return
            except OSError as error:
                self._refused += 1
                if self._refused & (self._refused - 1) == 0:  # the 1st, 2nd, 4th ...: never silent, and no flood
                    _log.warning("%d datagrams could not be sent to %s: %s", self._refused, self._address, error)

    def _work(self) -> None:
        while not self._stop.wait(self._every):
            self.send()

    def close(self) -> None:
        """Send the rest and end."""
        self.send()
        self._stop.set()
        self._socket.close()


def install(
    host: str = "127.0.0.1", port: int = 8125, *, most_series: int = 1000, every: float = 1.0
) -> Callable[[], None]:
    """Send every change to the agent at `host`:`port`, together with the others of the last `every` seconds; returns
    what sends the rest and ends that.
    """
    sender = _Sender(host, port, every)
    unsubscribe = bus.subscribe(MetricSink(sender.add, most_series))
    end_flush = bus.on_flush(sender.send)
    atexit.register(sender.send)

    def remove() -> None:
        unsubscribe()
        end_flush()
        atexit.unregister(sender.send)
        sender.close()

    return remove
