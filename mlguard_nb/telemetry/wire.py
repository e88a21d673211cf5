"""The messages between the Jupyter server and a page: one dataclass each, and the TypeScript that says the same.

Sizes are bytes, shares fractions, times seconds since the epoch unless a name says otherwise. What nobody could read
is a Measured with `value` null and a `reason`, never 0. labextension/src/messages.ts is `typescript()`, word for word.
"""

from __future__ import annotations

import json
import types
import typing
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from mlguard_nb.errors import Remedy

__all__ = [
    "CLIENT_MESSAGES",
    "SERVER_MESSAGES",
    "Ask",
    "DirectiveRead",
    "ExportGpu",
    "ExportMemory",
    "Finding",
    "GpuNow",
    "Held",
    "Hello",
    "History",
    "Holders",
    "KernelAccount",
    "KernelNow",
    "KernelPoint",
    "Measured",
    "OtherNow",
    "Point",
    "RamNow",
    "Sample",
    "Watch",
    "as_json",
    "as_text",
    "typescript",
]


@dataclass(frozen=True, slots=True)
class Measured:
    """A number, or null and why."""

    value: float | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class RamNow:
    """Host memory against the limit that is hit first; both numbers belong to `source`."""

    used: Measured
    limit: Measured
    source: Literal["container", "machine"]


@dataclass(frozen=True, slots=True)
class GpuNow:
    """One accelerator or MIG slice, with everybody's use of it. `utilisation` is a fraction, power is in watts."""

    uuid: str
    index: int
    name: str
    mig: bool
    used: Measured
    total: Measured
    utilisation: Measured
    temperature: Measured
    power: Measured
    power_limit: Measured


@dataclass(frozen=True, slots=True)
class Held:
    """What somebody holds on the device `uuid`."""

    uuid: str
    used: Measured


@dataclass(frozen=True, slots=True)
class KernelNow:
    """One kernel with its children. `path` is null where no notebook is attached; `elsewhere` says why it has no pid.

    `state` is Jupyter's word, or "another_server" where another server of this user runs it. `visible` are the devices
    that the kernel may use, null where nothing restricts them.
    """

    kernel_id: str
    name: str
    path: str | None
    state: str
    last_activity: float | None
    pid: int | None
    elsewhere: str | None
    visible: tuple[str, ...] | None
    ram: Measured
    gpus: tuple[Held, ...]


@dataclass(frozen=True, slots=True)
class OtherNow:
    """One row of the ledger that is no kernel. Another user's processes are counted, never named."""

    who: Literal["server", "other_users", "not_attributed", "rest"]
    count: int | None
    ram: Measured
    gpus: tuple[Held, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """All devices at one instant. `gpus` is empty where there are none, and then `gpus_reason` may say why."""

    kind: Literal["sample"]
    wall: float
    ram: RamNow
    gpus: tuple[GpuNow, ...]
    gpus_reason: str | None


@dataclass(frozen=True, slots=True)
class Holders:
    """Who holds it: each column of kernels and others adds up to the device."""

    kind: Literal["holders"]
    wall: float
    kernels: tuple[KernelNow, ...]
    others: tuple[OtherNow, ...]


@dataclass(frozen=True, slots=True)
class DevicePoint:
    """A device in a point of the history."""

    uuid: str
    used: float | None
    utilisation: float | None


@dataclass(frozen=True, slots=True)
class KernelPoint:
    """A kernel in a point of the history: its host memory, and its memory on each device."""

    kernel_id: str
    ram: float | None
    gpus: tuple[DevicePoint, ...]


@dataclass(frozen=True, slots=True)
class Point:
    """One second of the history; null where there was no reading."""

    wall: float
    ram: float | None
    gpus: tuple[DevicePoint, ...]
    kernels: tuple[KernelPoint, ...]


@dataclass(frozen=True, slots=True)
class History:
    """What the server kept, oldest first; sent to a page that connects, and again when it asks for more."""

    kind: Literal["history"]
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Hello:
    """The first message of a stream. Intervals are seconds; the server never sends faster than the minimum."""

    kind: Literal["hello"]
    version: str
    host: str
    interval: float
    minimum_interval: float


@dataclass(frozen=True, slots=True)
class KernelAccount:
    """From a kernel, over a comm: the machine as it stands there, and what the kernel holds by its own counters."""

    kind: Literal["account"]
    host: str
    sample: Sample
    ram: Measured
    gpus: tuple[Held, ...]


@dataclass(frozen=True, slots=True)
class Watch:
    """From a page: whether its panel is on screen, the seconds between samples and the seconds of history it wants.

    Null leaves either to the server.
    """

    kind: Literal["watch"]
    panel: bool
    interval: float | None
    history: float | None


@dataclass(frozen=True, slots=True)
class Ask:
    """From a page to a kernel, with the comm it opens for accounts: the comm its tab had before it was reloaded."""

    kind: Literal["ask"]
    instead_of: str | None


@dataclass(frozen=True, slots=True)
class DirectiveRead:
    """A %%guard line as the parser read it: badge phrases and policy, or the error and where in the line it is."""

    line: str
    phrases: tuple[str, ...]
    policy: dict[str, Any] | None
    error: str | None
    hint: str | None
    span: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Finding:
    """What the export found out about one place of the notebook: a Diagnostic of the converter.

    `remedies` are the options of the export that get past it; the page says them in its own words.
    """

    code: str
    level: Literal["error", "warning", "note"]
    cell: int | None
    line: int | None
    message: str
    next_step: str
    remedies: tuple[Remedy, ...]


@dataclass(frozen=True, slots=True)
class ExportGpu:
    """What the export's own process holds with its children on one device, and the size of that device."""

    index: int
    name: str
    mig: bool
    held: Measured
    total: Measured


@dataclass(frozen=True, slots=True)
class ExportMemory:
    """What the export's own process holds with its children, held at most so far, and may hold (null: nobody knows).

    `gpus` is empty where there are none.
    """

    held: float
    peak: float
    most: float | None
    gpus: tuple[ExportGpu, ...]


SERVER_MESSAGES = (Hello, History, Sample, Holders, KernelAccount)
CLIENT_MESSAGES = (Watch, Ask)
_PARTS = (
    Measured, RamNow, GpuNow, Held, KernelNow, OtherNow, DevicePoint, KernelPoint, Point, DirectiveRead, Finding,
    ExportGpu, ExportMemory,
)  # fmt: skip
_PLAIN: dict[Any, str] = {str: "string", int: "number", float: "number", bool: "boolean", type(None): "null"}


def as_json(message: Any) -> dict[str, Any]:
    """The message as plain dicts, tuples and numbers, ready for json.dumps."""
    return asdict(message)


def as_text(message: Any) -> str:
    """The message as it travels: json.dumps of `as_json` without the copy, which is two thirds of the time."""
    return _ENCODER.encode(message)


def _members(part: Any) -> dict[str, Any]:
    kind = type(part)
    names = _names.get(kind) or _names.setdefault(kind, tuple(field.name for field in fields(kind)))
    return {name: getattr(part, name) for name in names}


_names: dict[type[Any], tuple[str, ...]] = {}
_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False, default=_members)


def typescript() -> str:
    """labextension/src/messages.ts: an interface for each message, the two unions, and the shapes to check them by."""
    blocks = [
        "/** The messages between server and page. Written by mlguard_nb/telemetry/wire.py: do not edit. */\n",
        *(_interface(message) for message in (*_PARTS, *SERVER_MESSAGES, *CLIENT_MESSAGES)),
        _union("ServerMessage", SERVER_MESSAGES),
        _union("ClientMessage", CLIENT_MESSAGES),
        _shapes(),
    ]
    return "\n".join(blocks)


def _interface(message: type[Any]) -> str:
    hints = get_type_hints(message)
    doc = (message.__doc__ or "").strip().split("\n\n", maxsplit=1)[0]
    lines = [f"  readonly {field.name}: {_type(hints[field.name])};" for field in fields(message)]
    return "\n".join([f"/** {doc} */", f"export interface {message.__name__} {{", *lines, "}", ""])


def _union(name: str, messages: tuple[type[Any], ...]) -> str:
    return f"export type {name} = {' | '.join(message.__name__ for message in messages)};\n"


def _shapes() -> str:
    """The same as data: what a page compares a message with before it believes it."""
    lines = ["/** The type of every field: what comes from a server is compared with it before it is believed. */"]
    lines.append("export const SHAPES: Readonly<Record<string, Readonly<Record<string, string>>>> = {")
    messages = (*_PARTS, *SERVER_MESSAGES)
    for message in messages:
        hints = get_type_hints(message)
        inner = ", ".join(f'{field.name}: "{_type(hints[field.name])}"' for field in fields(message))
        lines.append(f"  {message.__name__}: {{ {inner} }}" + ("" if message is messages[-1] else ","))
    kinds = ", ".join(
        f"{get_args(get_type_hints(message)['kind'])[0]}: '{message.__name__}'" for message in SERVER_MESSAGES
    )
    lines += ["};", "", "/** The shape of each kind of message. */"]
    lines += [f"export const KINDS: Readonly<Record<string, string>> = {{ {kinds} }};", ""]
    return "\n".join(lines)


def _type(hint: Any) -> str:
    if hint in _PLAIN:
        return _PLAIN[hint]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " | ".join(f"'{value}'" for value in arguments)
    if origin in (types.UnionType, typing.Union):
        return " | ".join(_type(argument) for argument in arguments)
    if origin is tuple:
        inner = _type(arguments[0])
        return f"readonly ({inner})[]" if " " in inner else f"readonly {inner}[]"
    if origin is dict:
        return f"Readonly<Record<string, {_type(arguments[1])}>>"
    return "unknown" if hint is Any else str(hint.__name__)


if __name__ == "__main__":  # python -m mlguard_nb.telemetry.wire > labextension/src/messages.ts
    import sys

    sys.stdout.write(typescript())
