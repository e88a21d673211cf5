"""What one run takes of the machine: readings since it began, its stops in bytes, and its peaks."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from mlguard_nb.devices.frameworks import allocated_bytes, visible_devices
from mlguard_nb.devices.readings import Gpu, Ram, Reading, Unknown, known, limit_in_bytes
from mlguard_nb.errors import DeviceUnavailable
from mlguard_nb.notebook import peaks
from mlguard_nb.notebook.facts import DeviceFacts
from mlguard_nb.runtime.pressure import watched_gpus
from mlguard_nb.units import format_limit

if TYPE_CHECKING:
    from mlguard_nb.devices.sampler import Sampler
    from mlguard_nb.policy.values import MemoryPolicy

__all__ = ["Meter"]

_KEPT = 1200  # readings of one run: two minutes at 10 Hz, then every second one is dropped, and so on


class _Track:
    """The readings of one device during one run, as (seconds since it began, bytes or None)."""

    __slots__ = ("history", "own", "peak_own", "peak_used", "start_own", "start_used")

    def __init__(self) -> None:
        self.history: list[tuple[float, int | None]] = []
        self.start_used: int | None = None
        self.start_own: int | None = None
        self.own: int | None = None  # as of the last reading
        self.peak_used: int | None = None
        self.peak_own: int | None = None

    def add(self, at: float, used: int | None, own: int | None) -> None:
        if not self.history:
            self.start_used, self.start_own = used, own
        self.own = own
        self.history.append((at, used))
        if len(self.history) > _KEPT:
            del self.history[1::2]
        self.peak_used = _most(self.peak_used, used)
        self.peak_own = _most(self.peak_own, own)


class Meter:
    """Follows `sampler` from `start` to `stop`. `policy` gives the stops (None: there are none)."""

    def __init__(
        self,
        sampler: Sampler,
        policy: MemoryPolicy | None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sampler, self._policy, self._now = sampler, policy, now
        self._tracks: dict[str, _Track] = {}
        self._exact = False
        self._peak_own: int | None = None
        self._began = now()
        self._unsubscribe: Callable[[], None] = lambda: None
        self._ended = False

    def start(self) -> None:
        """Begin: the peak starts anew, and every reading from now on counts."""
        self._began = self._now()
        self._exact = peaks.reset_peak()
        self._children_before = _children_peak()
        # A limit on devices must hold from the first guarded cell on, when nobody has asked the driver yet.
        self._take(self._sampler.with_devices() if self._asks_devices() else self._sampler.latest)
        self._unsubscribe = self._sampler.subscribe(self._take)

    def stop(self) -> None:
        """End: the peaks are final. The readings stop too."""
        self._unsubscribe()
        if self._ended:
            return
        self._ended = True
        if self._exact:
            self._peak_own = peaks.own_peak_bytes()
            # A child that came and went has a peak of its own, which no high-water mark of ours holds.
            self._exact = _children_peak() == self._children_before

    def elapsed(self) -> float:
        """Seconds since `start`."""
        return self._now() - self._began

    def devices(self, over: str | None = None, *, fresh: bool = False) -> tuple[DeviceFacts, ...]:
        """The devices as they stand; `over` is the label of the one that is short.

        `fresh` reads host memory now, and the GPUs where the policy has a limit for them.
        """
        if fresh and self._asks_devices():
            self._sampler.devices_now()
        reading = self._sampler.tick() if fresh else self._sampler.latest
        watched = self._watched(reading)
        found = [
            self._ram(reading.ram, over),
            *(self._gpu(gpu, over, gpu.uuid in watched) for gpu in _visible(reading)),
        ]
        asked = self._asked("gpu")
        if len(found) == 1 and asked:
            reason = reading.gpus.reason if isinstance(reading.gpus, Unknown) else "no GPU on this machine"
            found.append(DeviceFacts(key="gpu", label="GPU", reason=reason, asked=asked))
        return tuple(found)

    def _take(self, reading: Reading) -> None:
        at = self.elapsed()
        self._track("ram").add(at, known(reading.ram.used_bytes), peaks.own_bytes())
        for gpu in _visible(reading):
            self._track(gpu.uuid).add(at, known(gpu.used_bytes), known(allocated_bytes(gpu.uuid)))

    def _track(self, key: str) -> _Track:
        found = self._tracks.get(key)
        if found is None:
            found = self._tracks[key] = _Track()
        return found

    def ram_stop(self, ram: Ram) -> int | None:
        """The stop of host memory in bytes; None where there is none, or no limit that it is a share of."""
        limit = known(ram.limit_bytes)
        share = self._policy.ram if self._policy is not None else None
        return None if share is None or limit is None else limit_in_bytes(share, limit)

    def _ram(self, ram: Ram, over: str | None) -> DeviceFacts:
        track = self._track("ram")
        exact = self._ended and self._exact
        own = track.own if track.history and not self._ended else peaks.own_bytes()
        own_peak = _most(self._peak_own if exact else track.peak_own, own) if self._ended else None
        used_peak = _most(track.peak_used, known(ram.used_bytes))
        if own_peak is not None and used_peak is not None and track.start_own is not None:
            # A spike between two readings moved everybody's use as much as it moved ours.
            used_peak = max(used_peak, (track.start_used or 0) + own_peak - track.start_own)
        return DeviceFacts(
            key="ram", label="RAM", used=known(ram.used_bytes), limit=known(ram.limit_bytes), stop=self.ram_stop(ram),
            own=own, start_used=track.start_used, start_own=track.start_own,
            peak_used=used_peak if self._ended else None, peak_own=own_peak,
            peak_kind=("exact" if exact else "sampled") if self._ended else None,
            history=tuple(track.history), binds="container limit" if ram.source == "container" else "machine",
            reason=ram.used_bytes.reason if isinstance(ram.used_bytes, Unknown) else None,
            asked=self._asked("ram"), is_over=over == "RAM",
        )  # fmt: skip

    def check_device(self) -> None:
        """DeviceUnavailable where the policy names a device that this process does not see on this machine."""
        gpus = self._sampler.latest.gpus
        if self._policy is not None and self._policy.device is not None and not isinstance(gpus, Unknown):
            watched_gpus(self._policy, gpus)

    def _watched(self, reading: Reading) -> frozenset[str]:
        """The devices that the policy's limit is for: the one it names, else all that this process may use."""
        if self._policy is None or self._policy.device is None or isinstance(reading.gpus, Unknown):
            return frozenset(gpu.uuid for gpu in _visible(reading))
        try:
            return frozenset(gpu.uuid for gpu in watched_gpus(self._policy, reading.gpus))
        except DeviceUnavailable:  # it went away while the cell ran
            return frozenset()

    def _gpu(self, gpu: Gpu, over: str | None, is_watched: bool) -> DeviceFacts:
        track = self._track(gpu.uuid)
        total = known(gpu.total_bytes)
        share = self._policy.gpu if self._policy is not None and is_watched else None
        label = f"GPU {gpu.index}"
        unknown = next((value for value in (gpu.used_bytes, gpu.total_bytes) if isinstance(value, Unknown)), None)
        return DeviceFacts(
            key=gpu.uuid, label=label, used=known(gpu.used_bytes), limit=total,
            stop=None if share is None or total is None else limit_in_bytes(share, total),
            own=known(allocated_bytes(gpu.uuid)), start_used=track.start_used, start_own=track.start_own,
            peak_used=track.peak_used if self._ended else None, peak_own=track.peak_own if self._ended else None,
            peak_kind="sampled" if self._ended else None, history=tuple(track.history),
            reason=unknown.reason if unknown is not None else None, asked=self._asked("gpu") if is_watched else None,
            is_over=over in (label, gpu.uuid, gpu.name),
        )  # fmt: skip

    def _asks_devices(self) -> bool:
        return self._policy is not None and (self._policy.gpu is not None or self._policy.device is not None)

    def _asked(self, field: str) -> str | None:
        limit = getattr(self._policy, field, None)
        return None if limit is None else f"{'mem' if field == 'ram' else field}={format_limit(limit)}"


def _visible(reading: Reading) -> tuple[Gpu, ...]:
    """The devices that this process may use; all of them where the order cannot be told."""
    if isinstance(reading.gpus, Unknown) or not reading.gpus:
        return ()
    uuids = visible_devices(reading.gpus)
    if isinstance(uuids, Unknown):
        return reading.gpus
    return tuple(gpu for gpu in reading.gpus if gpu.uuid in uuids)


def _most(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else max(one, other)


def _children_peak() -> int:
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss if os.name == "posix" else 0
