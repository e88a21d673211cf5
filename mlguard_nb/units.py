"""Bytes, shares and durations: text to numbers and back.

GB is 10^9 bytes and GiB 2^30; a share is a fraction in (0, 1]; durations are seconds.
"""

from __future__ import annotations

import re

from mlguard_nb.errors import PolicyError

__all__ = [
    "format_bytes",
    "format_duration",
    "format_gib",
    "format_limit",
    "parse_bytes",
    "parse_duration",
    "parse_limit",
]

_BYTE_UNITS = {
    "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40,
}  # fmt: skip
_SPELLING = {"KIB": "KiB", "MIB": "MiB", "GIB": "GiB", "TIB": "TiB"}
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_NUMBER = r"(?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)"
_SIZE = re.compile(_NUMBER + r"\s*(?P<unit>[A-Za-z]+)", re.ASCII)
_DURATION = re.compile(_NUMBER + r"\s*(?P<unit>ms|s|m|h|d)?", re.ASCII)
_PLAIN = re.compile(_NUMBER, re.ASCII)


def parse_bytes(text: str) -> int:
    """The bytes in "12GB", "1.5 GiB" or "512MB"; PolicyError without a unit or with an unknown one."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        if _PLAIN.fullmatch(text.strip()):
            raise PolicyError(f"{text.strip()} has no unit: write {text.strip()}GB or {text.strip()}GiB")
        raise PolicyError(f"{text!r} is not a size: write a number and a unit, such as 12GB or 512MiB")
    factor = _BYTE_UNITS.get(match["unit"].upper())
    if factor is None:
        raise PolicyError(f"{match['unit']!r} is not a unit of size: use one of B, KB, MB, GB, TB, KiB, MiB, GiB, TiB")
    count = (
        round(float(match["number"]) * factor)
        if "." in match["number"] or "e" in match["number"].lower()
        else int(match["number"]) * factor
    )
    if count < 1:
        raise PolicyError(f"{text!r} is less than one byte")
    return count


def format_bytes(count: int) -> str:
    """The shortest exact spelling of `count` bytes that `parse_bytes` reads back: 12GB, 512MiB, 12345B."""
    for unit in ("TB", "TIB", "GB", "GIB", "MB", "MIB", "KB", "KIB"):
        factor = _BYTE_UNITS[unit]
        if count and count % factor == 0:
            return f"{count // factor}{_SPELLING.get(unit, unit)}"
    return f"{count}B"


def format_gib(count: float) -> str:
    """`count` bytes for the screen: "12.8 GiB", "74,752.0 GiB"."""
    return f"{count / 2**30:,.1f} GiB"


def parse_limit(text: str) -> float | int:
    """A limit of memory: a share in (0, 1] as float, or bytes as int.

    A bare number above 1 is an error that asks for a unit, never a guess.
    """
    text = text.strip()
    if text.endswith("%"):
        raise PolicyError(f"{text} is a percentage: write the share, such as 0.8")
    if _PLAIN.fullmatch(text):
        share = float(text)
        if 0 < share <= 1:
            return share
        if share > 1:
            raise PolicyError(f"{text} has no unit: write {text}GB for bytes, or a share of at most 1")
        raise PolicyError(f"a share must be above 0 and at most 1, got {text}")
    return parse_bytes(text)


def format_limit(limit: float | int) -> str:
    """A share as "0.8", bytes as "12GB": what `parse_limit` reads back."""
    if isinstance(limit, float):
        return repr(limit)
    return format_bytes(limit)


def parse_duration(text: str) -> float:
    """The seconds in "30s", "10m", "1h", "2d", "500ms" or a bare number of seconds."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise PolicyError(f"{text!r} is not a duration: write a number and ms, s, m, h or d, such as 30s")
    return float(match["number"]) * _SECONDS[match["unit"] or "s"]


def format_duration(seconds: float) -> str:
    """The shortest exact spelling of `seconds` that `parse_duration` reads back: 1h, 30s, 0.5s."""
    for unit in ("d", "h", "m"):
        count = seconds / _SECONDS[unit]
        if count >= 1 and count == int(count):
            return f"{int(count)}{unit}"
    if seconds == int(seconds) and abs(seconds) < 1e15:
        return f"{int(seconds)}s"
    return f"{seconds!r}s"
