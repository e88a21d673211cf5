"""What a machine says about itself at one instant: numbers with units, or Unknown with the reason.

Sizes are bytes, shares are fractions in [0, 1]. A number that nobody would give is `Unknown`, never 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar, overload

__all__ = [
    "Ceiling",
    "Gpu",
    "GpuProcess",
    "Ram",
    "Reading",
    "Unknown",
    "headroom",
    "known",
    "limit_in_bytes",
    "tightest",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Unknown:
    """A reading nobody would give; `reason` is one sentence for a person, with the next step where there is one."""

    reason: str

    def __bool__(self) -> bool:
        raise TypeError(f"an unknown reading is neither true nor false ({self.reason}); test isinstance(x, Unknown)")


_NOT_READ = Unknown("not read yet")


class Ceiling(NamedTuple):
    """One limit above this process: whose it is (a cgroup's path, "machine", "ulimit -v"), its size, what counts."""

    name: str
    limit_bytes: int
    used_bytes: int

    @property
    def headroom_bytes(self) -> int:
        """Bytes left below this ceiling, at least 0."""
        return max(0, self.limit_bytes - self.used_bytes)


class Ram(NamedTuple):
    """Host memory as the kernel's out-of-memory killer counts it for this process.

    `limit_bytes` and `used_bytes` belong together: they are those of the container level with the least room, or of
    the machine where no container has a limit (`source` says which). `used_bytes` is the working set: page cache
    that the kernel can drop at once is left out, and shown apart as `cache_bytes`. `total_bytes` is the machine's
    memory. `ceilings` holds every other limit that binds this process too.
    """

    limit_bytes: int | Unknown
    used_bytes: int | Unknown
    source: Literal["container", "machine"] = "machine"
    cache_bytes: int | Unknown = _NOT_READ
    total_bytes: int | Unknown = _NOT_READ
    ceilings: tuple[Ceiling, ...] = ()

    @property
    def headroom_bytes(self) -> int | Unknown:
        """Bytes that can still be taken before the first of all ceilings is hit."""
        own = headroom(self.limit_bytes, self.used_bytes)
        others = [ceiling.headroom_bytes for ceiling in self.ceilings]
        if isinstance(own, Unknown):
            return min(others) if others else own
        return min([own, *others])


@dataclass(frozen=True, slots=True)
class Gpu:
    """One accelerator or MIG slice, with everybody's use of it.

    `uuid` is what identifies it ("GPU-..." or "MIG-..."). `index` is the driver's number of the card (for a slice: of
    the card it is cut from); frameworks may count otherwise, see `frameworks.visible_devices`. `utilisation` is a
    fraction of the last sample period.
    """

    uuid: str
    index: int
    name: str
    total_bytes: int | Unknown = _NOT_READ
    used_bytes: int | Unknown = _NOT_READ
    free_bytes: int | Unknown = _NOT_READ
    utilisation: float | Unknown = _NOT_READ
    temperature_celsius: float | Unknown = _NOT_READ
    power_watts: float | Unknown = _NOT_READ
    power_limit_watts: float | Unknown = _NOT_READ
    mig: bool = False


class GpuProcess(NamedTuple):
    """One process on the device `uuid`. `pid` is the host's: inside a container it may name nobody."""

    pid: int
    uuid: str
    used_bytes: int | Unknown


class Reading(NamedTuple):
    """All of it at one instant. `wall` is seconds since the epoch; `gpus` is empty only where there really are none."""

    wall: float
    ram: Ram
    gpus: tuple[Gpu, ...] | Unknown


def headroom(total: int | Unknown, used: int | Unknown) -> int | Unknown:
    """Bytes still free below `total`, at least 0, or the reason nobody can say."""
    if isinstance(total, Unknown):
        return total
    if isinstance(used, Unknown):
        return used
    return max(0, total - used)


def tightest(ceilings: tuple[Ceiling, ...]) -> Ceiling | None:
    """The ceiling that will be hit first: the one with the least room, not the lowest; None of none."""
    return min(ceilings, key=lambda ceiling: ceiling.headroom_bytes, default=None)


@overload
def limit_in_bytes(limit: float, total: int) -> int: ...
@overload
def limit_in_bytes(limit: float, total: int | Unknown) -> int | Unknown: ...
def limit_in_bytes(limit: float, total: int | Unknown) -> int | Unknown:
    """A limit as bytes: an int is bytes already, a float is a share of `total`.

    Bytes above `total` are cut to it, since that ceiling would be hit first. A share of an unknown total is unknown.
    """
    if isinstance(limit, int):
        return limit if isinstance(total, Unknown) else min(limit, total)
    return total if isinstance(total, Unknown) else int(total * limit)


def known(value: T | Unknown) -> T | None:
    """`value`, or None where it is Unknown: for JSON and for sinks that have no words for a reason."""
    return None if isinstance(value, Unknown) else value
