"""What holds this kernel's memory, on host and device, and giving back what the user picks.

Names and Out by size; what only the traceback of the last error keeps alive; what the frameworks' allocators keep for
themselves. A device tensor counts as device memory, and never twice, whatever names it has.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any

from mlguard_nb.devices.frameworks import empty_caches
from mlguard_nb.errors import PolicyError
from mlguard_nb.notebook.cell_memory import reclaim
from mlguard_nb.notebook.eviction import evict, frames_of, is_theirs
from mlguard_nb.notebook.peaks import own_bytes

__all__ = ["free", "listing", "size_of"]

_SHOWN = 12
_WORTH_SHOWING = 1 << 20
_TRACEBACKS, _POOLS = "tracebacks", "pools"


@dataclass(frozen=True, slots=True)
class _Holding:
    """One line of the listing: what `%guard free WORD` would give back."""

    word: str
    size: int
    told: str
    where: str = "RAM"


def size_of(value: Any) -> int:
    """Bytes that `value` holds itself: arrays, frames and tensors by their buffers, one level of containers."""
    if isinstance(value, (list, tuple, set, frozenset)):
        return sys.getsizeof(value) + sum(_flat(item) for item in value)
    if isinstance(value, dict):
        return sys.getsizeof(value) + sum(_flat(item) for item in value.values())
    return _flat(value)


def _flat(value: Any) -> int:
    usage = getattr(value, "memory_usage", None)
    if callable(usage) and type(value).__module__.partition(".")[0] == "pandas":
        told: Any = usage(index=True, deep=False)
        return int(told if isinstance(told, int) else told.sum())
    for name in ("nbytes", "estimated_size"):
        told = getattr(value, name, None)
        told = told() if callable(told) else told
        if isinstance(told, int):
            return told
    return sys.getsizeof(value)


def listing(namespace: MutableMapping[str, Any]) -> list[str]:
    """The largest first, one line each: names, results in Out, tracebacks, and the allocators' pools."""
    held = sorted(_holdings(namespace), key=lambda holding: -holding.size)
    lines = [
        f"{holding.size / 2**20:10.1f} MiB  {holding.where:<5} {holding.word:<24} {holding.told}"
        for holding in held[:_SHOWN]
        if holding.size >= _WORTH_SHOWING
    ]
    own = own_bytes()
    total = f"; this kernel holds {own / 2**20:.1f} MiB in all" if own is not None else ""
    return [*lines, f"free with: %guard free NAME{total}"] if lines else [f"nothing holds 1 MiB or more{total}"]


def _holdings(namespace: MutableMapping[str, Any]) -> Iterator[_Holding]:
    named = {name: value for name, value in namespace.items() if not name.startswith("_") and name not in ("In", "Out")}
    outputs = namespace.get("Out")
    if isinstance(outputs, dict):
        named.update({f"Out[{number}]": value for number, value in outputs.items()})
    for word, value in named.items():
        yield _Holding(word, size_of(value), _kind(value), _where(value))
    yield from _of_traceback({id(value) for value in named.values()})
    yield from _of_pools()


def _kind(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return f"{type(value).__name__}{f' {tuple(shape)}' if isinstance(shape, tuple) else ''}"


def _where(value: Any) -> str:
    """RAM, or GPU for a tensor of torch or an array of CuPy on a device."""
    on_device = getattr(value, "is_cuda", False) is True or type(value).__module__.partition(".")[0] == "cupy"
    return "GPU" if on_device else "RAM"


def _last_error() -> BaseException | None:
    return getattr(sys, "last_value", None)


def _of_traceback(named: set[int]) -> Iterator[_Holding]:
    """What the frames of the last error hold and no name does; %debug can look at it until it is freed."""
    error = _last_error()
    seen = set(named)
    size: dict[str, int] = {}
    names: list[str] = []
    for frame in frames_of(error) if error is not None else ():
        if is_theirs(frame):
            continue
        for name, value in frame.f_locals.items():
            held = size_of(value)
            if held >= _WORTH_SHOWING and id(value) not in seen:
                seen.add(id(value))
                size[_where(value)] = size.get(_where(value), 0) + held
                names.append(name)
    for where, held in size.items():
        yield _Holding(_TRACEBACKS, held, f"the last {type(error).__name__}: {', '.join(names[:4])}", where)


def _of_pools() -> Iterator[_Holding]:
    """Device memory that an allocator keeps although no tensor lives in it."""
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        for index in range(torch.cuda.device_count()):
            idle = int(torch.cuda.memory_reserved(index)) - int(torch.cuda.memory_allocated(index))
            yield _Holding(_POOLS, idle, f"torch keeps it for later, device {index}", "GPU")
    cupy: Any = sys.modules.get("cupy")
    if cupy is not None:
        yield _Holding(_POOLS, int(cupy.get_default_memory_pool().free_bytes()), "CuPy keeps it for later", "GPU")


def free(namespace: MutableMapping[str, Any], words: Iterable[str]) -> int | None:
    """Give back names, results such as Out[3], `tracebacks` and `pools`; bytes of host memory, None: not known.

    A name is unbound also where Out and the underscores keep the same object. PolicyError for what is not there,
    before anything is freed.
    """
    words = tuple(words)
    chosen = [(word, _found(namespace, word)) for word in words if word in namespace or not _is_kind(word)]
    before = own_bytes()
    while chosen:
        _word, value = chosen.pop()
        _forget(namespace, value)
        del value
    error = _last_error()
    if _TRACEBACKS in words and _TRACEBACKS not in namespace and error is not None:
        evict(error)
    del error
    reclaim()
    if _POOLS in words:
        empty_caches()
    after = own_bytes()
    return None if before is None or after is None else max(0, before - after)


def _is_kind(word: str) -> bool:
    return word in (_TRACEBACKS, _POOLS)


def _found(namespace: MutableMapping[str, Any], word: str) -> Any:
    if word.startswith("Out[") and word.endswith("]"):
        outputs = namespace.get("Out", {})
        number = int(word[4:-1]) if word[4:-1].isdigit() else None
        if number in outputs:
            return outputs[number]
    elif word in namespace:
        return namespace[word]
    raise PolicyError(f"there is no {word!r} here")


def _forget(namespace: MutableMapping[str, Any], value: Any) -> None:
    for other in [other for other, held in namespace.items() if held is value]:
        del namespace[other]
    outputs = namespace.get("Out")
    if isinstance(outputs, dict):
        for number in [number for number, held in outputs.items() if held is value]:
            del outputs[number]
