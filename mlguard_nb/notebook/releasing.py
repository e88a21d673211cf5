"""What a kernel gives back when the panel asks it to: everything that no name of the user needs."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from mlguard_nb import devices
from mlguard_nb.devices.readings import known
from mlguard_nb.notebook.cell_memory import reclaim
from mlguard_nb.notebook.eviction import evict
from mlguard_nb.notebook.peaks import own_bytes
from mlguard_nb.runtime.stores.memory import evict_all

__all__ = ["Released", "release"]


@dataclass(frozen=True, slots=True)
class Released:
    """Bytes given back: of this process's own memory, and of all devices; None where nobody can say."""

    ram_bytes: int | None
    gpu_bytes: int | None

    def _repr_json_(self) -> dict[str, int | None]:
        return {"ram_bytes": self.ram_bytes, "gpu_bytes": self.gpu_bytes}


def release() -> Released:
    """Empty every memory cache, free what the last shown traceback keeps, collect, empty the frameworks' pools.

    No variable is touched; a cached result is computed again when it is next asked for.
    """
    ram, gpus = own_bytes(), _on_devices()
    evict_all()
    error = getattr(sys, "last_value", None)
    if error is not None:
        evict(error)
    reclaim()
    return Released(_fallen(ram, own_bytes()), _fallen(gpus, _on_devices()))


def _on_devices() -> int | None:
    gpus = known(devices.current().gpus())
    used = [known(gpu.used_bytes) for gpu in gpus or ()]
    return None if not used or None in used else sum(size for size in used if size is not None)


def _fallen(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else max(0, before - after)
