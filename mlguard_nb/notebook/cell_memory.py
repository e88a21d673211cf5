"""Whether memory allows a cell to begin, who holds it, and what can be done when it does not."""

from __future__ import annotations

import ctypes
import gc
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import Any

from mlguard_nb.devices.frameworks import empty_caches
from mlguard_nb.errors import MemoryPressure, PolicyError
from mlguard_nb.notebook.facts import DeviceFacts
from mlguard_nb.notebook.holders import who_holds
from mlguard_nb.policy.values import MemoryPolicy
from mlguard_nb.runtime.pressure import never_fits

__all__ = [
    "fall_back",
    "halved",
    "is_hopeless",
    "is_needed_on",
    "ledger_key",
    "pressure",
    "reclaim",
    "trim",
]


def pressure(
    policy: MemoryPolicy, devices: Iterable[DeviceFacts], promised: Mapping[str, int] | None = None
) -> MemoryPressure | None:
    """The first device that is at its stop, or would be with what the policy needs; None where there is room.

    `promised` holds what other guarded calls were promised and have not taken yet, by device. `need=` is memory of
    the GPUs where the policy names one, else of the host.
    """
    need = policy.need if isinstance(policy.need, int) else 0
    promised = promised or {}
    for device in devices:
        if device.stop is None or device.used is None or device.limit is None:
            continue
        asked = (need if is_needed_on(policy, device) else 0) + promised.get(ledger_key(device), 0)
        if device.used + asked < device.stop:
            continue
        holders = who_holds(device)
        theirs = [holder for holder in holders if holder.name != "this notebook"]
        others = [holder for holder in theirs if (holder.used_bytes or 0) > device.used * 0.05]
        step = "free memory here with %guard free"
        if others and others[0].name.endswith(".ipynb"):
            step = f"shut down {others[0].name}, then run again"
        elif sum(holder.used_bytes or 0 for holder in others) > device.used / 2:
            step = "wait for the other processes (at=wait), or raise the stop"
        if need >= device.stop and is_needed_on(policy, device):
            step = never_fits(need, device.stop)
        return MemoryPressure(
            device.label, needed=asked or None, free=max(0, device.limit - device.used), limit=device.stop,
            holders=holders, used=device.used, next_step=step,
        )  # fmt: skip
    return None


def is_hopeless(policy: MemoryPolicy, pressure: MemoryPressure) -> bool:
    """Whether waiting is in vain: what the policy needs is more than the stop."""
    need, stop = policy.need, pressure.limit
    return pressure.needed is not None and isinstance(need, int) and stop is not None and need >= stop


def is_needed_on(policy: MemoryPolicy, device: DeviceFacts) -> bool:
    """Whether the policy's `need` is memory of this device."""
    on_gpu = policy.gpu is not None or policy.device is not None
    is_named = policy.device is None or policy.gpu is None or device.stop is not None  # the others have no stop
    return (device.key != "ram") == on_gpu and (is_named or not on_gpu)


def ledger_key(device: DeviceFacts) -> str:
    """The name of a device in the ledger of promises."""
    return "RAM" if device.key == "ram" else device.key


def reclaim() -> None:
    """Collect garbage, give free pages back to the system, and empty the frameworks' device caches."""
    gc.collect()
    trim()
    empty_caches()


def trim() -> bool:
    """Give the allocator's free pages back to the system; False where there is no such call (not glibc)."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        return bool(ctypes.CDLL(None).malloc_trim(0))
    except (OSError, AttributeError):
        return False


def halved(name: str, value: Any) -> Any:
    """Half of a count, at least 1; None where it cannot become smaller. PolicyError for what is no whole number."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise PolicyError(f"oom=halve:{name} needs a whole number, and {name} is of type {type(value).__name__}")
    return None if value <= 1 else value // 2


def fall_back(function: Callable[..., Any], namespace: MutableMapping[str, Any]) -> tuple[str, ...]:
    """Call `function` with the names of `namespace` that its parameters name, and bind what it returns.

    PolicyError where a parameter has no value here, or where the function returns no mapping of names.
    """
    given: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if name in namespace:
            given[name] = namespace[name]
        elif parameter.default is parameter.empty:
            raise PolicyError(f"fallback={function.__name__}: there is no {name!r} here to call it with")
    result = function(**given)
    if not isinstance(result, Mapping) or not all(isinstance(name, str) for name in result):
        raise PolicyError(
            f"fallback={function.__name__} must return a dict of the names to bind, such as {{'model': model}}; "
            f"it returned {type(result).__name__}"
        )
    namespace.update(result)
    return tuple(result)
