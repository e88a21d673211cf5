"""A policy in words: the badge on a cell, the "before" sentence, the README's table. One spelling for all of them."""

from __future__ import annotations

from mlguard_nb.policy.options import OPTIONS
from mlguard_nb.policy.values import GuardPolicy, NameRef
from mlguard_nb.units import format_bytes

__all__ = ["badge", "options_table", "phrases", "spoken_duration", "spoken_limit"]


def spoken_duration(seconds: float) -> str:
    """ "1 h", "30 s", "10 min", "500 ms": a blank before every unit."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds * 1000:.0f} ms" if 0 < seconds < 1 else f"{seconds:g} s"


def spoken_limit(limit: float | int) -> str:
    """ "80 %" for a share, "12 GB" for bytes."""
    if isinstance(limit, float):
        return f"{limit * 100:g} %"
    text = format_bytes(limit)
    digits = text.rstrip("BKMGTi")
    return f"{digits} {text[len(digits) :]}"


def badge(policy: GuardPolicy) -> tuple[str, ...]:
    """Short phrases for the badge: ("3 attempts", "RAM stop 80 %", "GPU stop 90 %", "cache 1 h", ...)."""
    words: list[str] = []
    if policy.retry is not None:
        words.append(f"{policy.retry.attempts} attempt{'s' if policy.retry.attempts != 1 else ''}")
    if policy.memory is not None:
        verb = policy.memory.on_pressure
        if policy.memory.ram is not None:
            words.append(f"RAM {verb} {spoken_limit(policy.memory.ram)}")
        if policy.memory.gpu is not None:
            words.append(f"GPU {verb} {spoken_limit(policy.memory.gpu)}")
        if isinstance(policy.memory.need, int):
            words.append(f"needs {spoken_limit(policy.memory.need)}")
    if policy.cache is not None:
        words.append("cache" if policy.cache.ttl is None else f"cache {spoken_duration(policy.cache.ttl)}")
    if policy.validate is not None:
        names = ", ".join(name for name, _ in policy.validate.schemas)
        words.append(f"validates {names}" if names else "validates inputs")
    if policy.monitor is not None:
        words.append(f"monitored as {policy.name}" if policy.name else "monitored")
    return tuple(words)


def phrases(policy: GuardPolicy) -> tuple[str, ...]:
    """The guards of a step for the README's table: ("cache 1 h", "3 attempts, waits of 1 to 30 s", ...)."""
    words: list[str] = []
    if policy.cache is not None:
        words.append("cache" if policy.cache.ttl is None else f"cache {spoken_duration(policy.cache.ttl)}")
    if policy.retry is not None:
        low, high = f"{policy.retry.wait_initial:g}", f"{policy.retry.wait_max:g}"
        words.append(f"{policy.retry.attempts} attempts, waits of {low} to {high} s")
    if policy.memory is not None:
        limits = [
            f"{kind} up to {spoken_limit(limit)}"
            for kind, limit in (("RAM", policy.memory.ram), ("GPU", policy.memory.gpu))
            if limit is not None
        ]
        if policy.memory.fallback is not None:
            fallback = policy.memory.fallback
            limits.append(f"else `{fallback.name if isinstance(fallback, NameRef) else fallback.__name__}`")
        words.append(", ".join(limits))
    if policy.validate is not None:
        checked = [f"`{name}`" for name, _ in policy.validate.schemas]
        words.append(f"validates {', '.join(checked)}" if checked else "validates its inputs")
    if policy.monitor is not None:
        words.append(f"monitored as `{policy.name}`" if policy.name else "monitored")
    return tuple(words)


def options_table() -> str:
    """The OPTIONS table as Markdown: what docs/options.md holds between its headings."""
    lines = ["| word | takes | needs | default | means | for example |", "|---|---|---|---|---|---|"]
    for option in OPTIONS:
        takes = f"`{option.takes}`".replace("|", "\\|") if option.takes else ""
        scope = " (cells only)" if option.cell_only else ""
        needs = " or ".join(f"`{word}`" for word in option.requires)
        lines.append(
            f"| `{option.word}` | {takes} | {needs} | {option.default} | {option.help}{scope} | `{option.example}` |"
        )
    return "\n".join(lines) + "\n"
