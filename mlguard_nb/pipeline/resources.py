"""What a step asks of a cluster: `need=` and `device=` of its policy, and `[tool.mlguard.resources]` of the pyproject.

    [tool.mlguard.resources]
    train = { num_gpus = 1, num_cpus = 4, memory = "8GB" }

The steps of one notebook among several of a package are written as "PART.step". A share such as gpu=0.9 is a guard and
asks for nothing; `need=` beside `gpu=` or `device=` is memory of the device, which a cluster does not hand out.
"""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlguard_nb.errors import PolicyError
from mlguard_nb.units import parse_bytes

__all__ = ["Request", "read_requests", "requested"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """CPUs and GPUs (fractions of one are allowed), and memory in bytes; None leaves it to the cluster."""

    num_cpus: float | None = None
    num_gpus: float | None = None
    memory: int | None = None

    def as_ray(self) -> dict[str, Any]:
        """As options of a task; only what was asked for."""
        asked = {"num_cpus": self.num_cpus, "num_gpus": self.num_gpus, "memory": self.memory}
        return {name: value for name, value in asked.items() if value is not None}


def requested(function: Callable[..., Any], written: Request | None = None) -> Request:
    """What one step asks for: what was `written` for it, and where nothing was, its policy's `need=` and `device=`.

    An index asks for so many GPUs that it is among them: a worker sees those that it was given, counted from 0.
    """
    request = written or Request()
    memory = getattr(getattr(function, "__mlguard__", None), "memory", None)
    need, device = getattr(memory, "need", None), getattr(memory, "device", None)
    is_of_device = memory is not None and (memory.gpu is not None or device is not None)
    if request.memory is None and isinstance(need, (int, float)) and not is_of_device:
        request = replace(request, memory=math.ceil(need))
    if request.num_gpus is None and device is not None:
        request = replace(request, num_gpus=device + 1 if isinstance(device, int) else 1)
    return request


def read_requests(package: str) -> dict[str, Request]:
    """The requests by step, from the pyproject.toml inside `package` or of the tree it lies in; empty without one.

    PolicyError for a request that cannot be read; it names file, step and word.
    """
    file = _pyproject(package)
    if file is None:
        return {}
    table = _toml(file).get("tool", {}).get("mlguard", {}).get("resources", {})
    part = package.partition(".")[2]
    prefix = f"{part}." if part else ""
    own = {step.removeprefix(prefix): step for step in table if step.startswith(prefix)}
    return {step: _request(table[key], f"{file}, tool.mlguard.resources.{key}") for step, key in own.items()}


def _pyproject(package: str) -> Path | None:
    """An installed package carries a copy; a source tree has it two folders above."""
    home = Path(getattr(importlib.import_module(package.partition(".")[0]), "__file__", None) or "").absolute().parent
    for file in (home / "pyproject.toml", home.parent.parent / "pyproject.toml"):
        if file.is_file() and "[tool.mlguard" in file.read_text(encoding="utf-8"):
            return file
    return None


def _toml(file: Path) -> dict[str, Any]:
    # Python 3.10 has no tomllib; the extra `ray` brings tomli there, which is the same.
    reader = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        table: dict[str, Any] = reader.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise PolicyError(f"{file}: {error}") from None
    return table


def _request(words: Any, where: str) -> Request:
    if not isinstance(words, Mapping):
        raise PolicyError(f'{where}: write a table such as {{ num_gpus = 1, memory = "8GB" }}, not {words!r}')
    unknown = sorted(set(words) - {"num_cpus", "num_gpus", "memory"})
    if unknown:
        raise PolicyError(f"{where}: {unknown[0]!r} is not known; there are num_cpus, num_gpus and memory")
    for name in ("num_cpus", "num_gpus"):
        value = words.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
            raise PolicyError(f"{where}: {name} must be a number of at least 0, got {value!r}")
    memory = words.get("memory")
    try:
        size = None if memory is None else parse_bytes(str(memory))
    except PolicyError as error:
        raise PolicyError(f"{where}: memory: {error}") from None
    return Request(num_cpus=words.get("num_cpus"), num_gpus=words.get("num_gpus"), memory=size)
