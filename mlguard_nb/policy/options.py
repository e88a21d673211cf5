"""The OPTIONS table: every word of a %%guard line, once.

The parser, the formatter, TAB completion, %%guard?, the docs table, the settings form and the converter all read it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mlguard_nb.errors import PolicyError
from mlguard_nb.policy.values import NameRef
from mlguard_nb.units import format_bytes, format_duration, format_limit, parse_bytes, parse_duration, parse_limit

__all__ = ["OPTIONS", "Option", "by_word"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One word. `part` is the policy it belongs to ("" for the guard itself, "cell" for what only a cell has).

    `parse` turns the text after ``=`` into values for `fields`, in their order; `format` does the reverse and returns
    None where the line cannot say the value. `bare` holds the field values that the word alone stands for (None: the
    word needs a value). `requires` lists words of which at least one must stand on the same line.
    """

    word: str
    part: str
    fields: tuple[str, ...]
    takes: str
    help: str
    example: str
    default: str
    parse: Callable[[str], tuple[Any, ...]]
    format: Callable[..., str | None]
    bare: tuple[Any, ...] | None = None
    requires: tuple[str, ...] = ()

    @property
    def cell_only(self) -> bool:
        """Whether the word describes the cell and never reaches an exported package."""
        return self.part == "cell"


def _one(read: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    return lambda text: (read(text),)


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise PolicyError(f"{text!r} is not a whole number")
    return int(text)


def _choice(*allowed: str) -> Callable[[str], tuple[str]]:
    def read(text: str) -> tuple[str]:
        if text not in allowed:
            raise PolicyError(f"{text!r} is not one of {', '.join(allowed)}")
        return (text,)

    return read


def _optional(read: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    return lambda text: (None,) if text == "none" else (read(text),)


def _show(write: Callable[[Any], str]) -> Callable[[Any], str | None]:
    return lambda value: "none" if value is None else write(value)


def _wait(text: str) -> tuple[float, ...]:
    low, dots, high = text.partition("..")
    return (parse_duration(low), parse_duration(high)) if dots else (parse_duration(low),)


def _wait_text(initial: float, most: float) -> str:
    return f"{format_duration(initial)}..{format_duration(most)}"


def _name_list(text: str) -> tuple[str, ...]:
    names = tuple(piece.strip() for piece in text.split(","))
    for name in names:
        NameRef(name)
    return names


def _refs(text: str) -> tuple[NameRef, ...]:
    return tuple(NameRef(name) for name in _name_list(text))


def _spelt(value: Any) -> str | None:
    """How the line names `value`: a NameRef by its name, a builtin type by its own; None where it has no such name."""
    if isinstance(value, NameRef):
        return value.name
    if isinstance(value, type) and value.__module__ == "builtins":
        return value.__name__
    return None


def _refs_text(values: Any) -> str | None:
    if not isinstance(values, tuple):
        return None
    names = [_spelt(value) for value in values]
    return None if None in names else ",".join(name for name in names if name)


def _schemas(text: str) -> tuple[tuple[tuple[str, NameRef], ...]]:
    pairs = []
    for piece in text.split(","):
        name, colon, schema = piece.strip().partition(":")
        if not colon:
            raise PolicyError(f"{piece.strip()!r} names no schema: write {piece.strip() or 'name'}:Schema")
        NameRef(name)
        pairs.append((name, NameRef(schema)))
    return (tuple(pairs),)


def _schemas_text(schemas: tuple[tuple[str, Any], ...]) -> str | None:
    names = [(name, _spelt(schema)) for name, schema in schemas]
    return (
        None if any(schema is None for _, schema in names) else ",".join(f"{name}:{schema}" for name, schema in names)
    )


def _oom(text: str) -> tuple[str]:
    if text in ("fail", "clear") or (text.startswith("halve:") and text[6:].isidentifier()):
        return (text,)
    raise PolicyError(f"{text!r} is not one of fail, clear, halve:NAME")


def _device(text: str) -> tuple[int | str]:
    return (int(text) if text.isascii() and text.isdigit() else text,)


def _key(text: str) -> tuple[tuple[str, ...]]:
    return (_name_list(text),)


def _key_text(key: Any) -> str | None:
    return ",".join(key) if isinstance(key, tuple) and key else None


def _same(value: Any) -> str | None:
    return str(value)


def _reference_text(value: Any) -> str | None:
    return value.name if isinstance(value, NameRef) else None


def _need_text(value: Any) -> str | None:
    return format_bytes(value) if isinstance(value, int) else None


def _step_name(text: str) -> tuple[str]:
    if not text.strip():
        raise PolicyError("name= is empty")
    return (text,)


def _flag(text: str) -> tuple[bool]:
    if text in ("on", "true", "yes", "1"):
        return (True,)
    if text in ("off", "false", "no", "0"):
        return (False,)
    raise PolicyError(f"{text!r} is not one of on, off")


def _flag_text(value: bool) -> str:
    return "on" if value else "off"


OPTIONS: tuple[Option, ...] = (
    Option(
        word="retry", part="retry", fields=("attempts",), takes="COUNT", bare=(3,), default="3",
        help="calls in all; after a failure the cell runs again from its first line",
        example="retry=3", parse=_one(_count), format=_same,
    ),
    Option(
        word="wait", part="retry", fields=("wait_initial", "wait_max"), takes="FIRST[..MOST]", default="0.5s..20s",
        help="bounds of the wait between attempts, with full jitter between them", requires=("retry",),
        example="wait=1s..30s", parse=_wait, format=_wait_text,
    ),
    Option(
        word="on", part="retry", fields=("on",), takes="TYPE,...", default="Exception but programming errors",
        help="which exceptions are tried again", requires=("retry",),
        example="on=TimeoutError,ConnectionError", parse=_one(_refs), format=_refs_text,
    ),
    Option(
        word="oom", part="retry", fields=("on_oom",), takes="fail|clear|halve:NAME", default="fail",
        help="after an out-of-memory: give up, free what can be freed and try again, or halve that input each time",
        requires=("retry",), example="oom=halve:batch_size", parse=_oom, format=_same,
    ),
    Option(
        word="deadline", part="retry", fields=("deadline",), takes="DURATION", default="none",
        help="end of all attempts, inherited by nested calls", requires=("retry",),
        example="deadline=10m", parse=_optional(parse_duration), format=_show(format_duration),
    ),
    Option(
        word="timeout", part="retry", fields=("timeout",), takes="DURATION", default="none",
        help="longest time for one attempt", requires=("retry",),
        example="timeout=30s", parse=_optional(parse_duration), format=_show(format_duration),
    ),
    Option(
        word="mem", part="memory", fields=("ram",), takes="SHARE|SIZE", bare=(0.8,), default="0.8",
        help="ceiling for the container's (else the machine's) memory in use", example="mem=0.8",
        parse=_optional(parse_limit), format=_show(format_limit),
    ),
    Option(
        word="gpu", part="memory", fields=("gpu",), takes="SHARE|SIZE", default="none",
        help="ceiling for each visible GPU's memory in use", example="gpu=0.9",
        parse=_optional(parse_limit), format=_show(format_limit),
    ),
    Option(
        word="need", part="memory", fields=("need",), takes="SIZE", default="none",
        help="what the cell will ask for: reserved before it starts", requires=("mem", "gpu"),
        example="need=2GB", parse=_optional(parse_bytes), format=lambda v: "none" if v is None else _need_text(v),
    ),
    Option(
        word="device", part="memory", fields=("device",), takes="INDEX|UUID", default="the visible ones",
        help="which GPU, as the framework counts them, or by UUID", requires=("gpu", "need"),
        example="device=0", parse=_device, format=_same,
    ),
    Option(
        word="at", part="memory", fields=("on_pressure",), takes="stop|wait|warn|skip", default="stop",
        help="what happens when memory is short", requires=("mem", "gpu"),
        example="at=wait", parse=_choice("stop", "wait", "warn", "skip"), format=_same,
    ),
    Option(
        word="patience", part="memory", fields=("wait_timeout",), takes="DURATION", default="30s",
        help="longest wait for memory", requires=("mem", "gpu"),
        example="patience=30s", parse=_one(parse_duration), format=format_duration,
    ),
    Option(
        word="fallback", part="memory", fields=("fallback",), takes="FUNCTION", default="none",
        help="called instead of stopping when memory is short", requires=("mem", "gpu"),
        example="fallback=fit_on_cpu", parse=_one(NameRef), format=_reference_text,
    ),
    Option(
        word="cache", part="cache", fields=("ttl",), takes="DURATION", bare=(300.0,), default="5m",
        help="keep what the cell binds and shows, by its code and the values it reads", example="cache=1h",
        parse=_optional(parse_duration), format=_show(format_duration),
    ),
    Option(
        word="key", part="cache", fields=("key",), takes="NAME,...", default="all inputs",
        help="the inputs that count for the key", requires=("cache",),
        example="key=path,seed", parse=_key, format=_key_text,
    ),
    Option(
        word="store", part="cache", fields=("backend",), takes="memory|disk|redis://...", default="memory",
        help="where results are kept; disk survives the kernel", requires=("cache",),
        example="store=disk", parse=_one(str), format=_same,
    ),
    Option(
        word="validate", part="validate", fields=("schemas",), takes="NAME:SCHEMA,...", bare=((),),
        default="every learned schema that fits by name", help="check inputs before the cell runs",
        example="validate=batch:Features", parse=_schemas, format=_schemas_text,
    ),
    Option(
        word="monitor", part="monitor", fields=(), takes="", bare=(), default="off",
        help="metrics, logs and traces", example="monitor", parse=lambda text: (), format=lambda: None,
    ),
    Option(
        word="name", part="", fields=("name",), takes="WORD", default="the cell's heading",
        help="names the step everywhere", example="name=train", parse=_step_name, format=_same,
    ),
    Option(
        word="scope", part="cell", fields=("scope",), takes="cell|defs|both", default="defs if the cell only defines",
        help="guard the cell's run, the functions it defines, or both", example="scope=defs",
        parse=_choice("cell", "defs", "both"), format=lambda v: v,
    ),
    Option(
        word="view", part="cell", fields=("view",), takes="live|line|off", default="live",
        help="the view below the cell", example="view=line", parse=_choice("live", "line", "off"), format=_same,
    ),
    Option(
        word="overcommit", part="cell", fields=("overcommit",), takes="", bare=(True,), default="off",
        help="let the cell reserve more than it touches (sparse arrays): stop by signal only", requires=("mem", "gpu"),
        example="overcommit", parse=_flag, format=_flag_text,
    ),
    Option(
        word="refresh", part="cell", fields=("refresh",), takes="", bare=(True,), default="off",
        help="run once although the cache has a result", requires=("cache",), example="refresh",
        parse=_flag, format=_flag_text,
    ),
)  # fmt: skip


def by_word() -> dict[str, Option]:
    """The table keyed by word."""
    return {option.word: option for option in OPTIONS}
