"""TAB completion of %%guard and %guard lines, and the text of %%guard?: both read from the OPTIONS table."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from mlguard_nb.notebook.faults import CHAOS
from mlguard_nb.policy.options import OPTIONS, Option, by_word

if TYPE_CHECKING:
    from mlguard_nb.notebook.session import Session

__all__ = ["COMMANDS", "Offer", "answer", "complete_command", "complete_line", "documentation"]

COMMANDS = {
    "status": "what is switched on, and how the last cells ended",
    "set": "NAME options...: a profile for %%guard NAME",
    "on": "[options...]: guard every cell without a line of its own",
    "off": "guard only the cells that say so",
    "free": "[NAME|Out[N]|tracebacks|pools ...]: what holds memory, on host and device; with words: free that",
    "report": "cells by peak and time",
    "schema": "X [--name NAME]: learn the schema of an array or a frame from the value of X",
    "chaos": "fail=0.2 slow=1s: inject faults into guarded cells and functions; off ends it",
    "forget": "drop profiles, the line for every cell and chaos, also from the notebook's metadata",
    "export": "DIR [NOTEBOOK]: write the notebook as a package",
}


@dataclass(frozen=True, slots=True)
class Offer:
    """What may stand in place of `typed`, the piece before the cursor: (text, one line of help) pairs."""

    typed: str
    choices: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, typed: str, choices: Iterable[tuple[str, str]]) -> Offer:
        """Those of `choices` that begin as typed. Where none does, what was typed: Python's names mean nothing here."""
        fitting = tuple((text, help_text) for text, help_text in choices if text.startswith(typed))
        return cls(typed, fitting or ((typed, ""),))


_TYPICAL = {
    "COUNT": ("2", "3", "5"),
    "FIRST[..MOST]": ("0.5s..20s", "1s..30s"),
    "DURATION": ("30s", "10m", "1h"),
    "SHARE|SIZE": ("0.8", "0.9", "8GB"),
    "SIZE": ("2GB", "8GB"),
    "INDEX|UUID": ("0", "1"),
}
_COMMON_ERRORS = (ConnectionError, TimeoutError, OSError, RuntimeError, ValueError)


def complete_line(
    line: str,
    namespace: Mapping[str, Any],
    profiles: Mapping[str, str] | None = None,
    schemas: Mapping[str, str] | None = None,
) -> Offer:
    """What may follow `line`, the text of a ``%%guard`` line up to the cursor: options not yet on it, or the values of
    the one being typed. `profiles` come first; `schemas` maps a learned schema to the variable it was learned from.
    """
    table, profiles = by_word(), profiles or {}
    *before, typed = line.split(" ")[1:] or [""]
    if any(word.startswith("#") for word in (*before, typed)):
        return Offer(typed, ())
    dashes = "--" if typed.startswith("--") else ""
    word, equals, value = typed.removeprefix(dashes).partition("=")
    if equals:
        known = table.get(word)
        found = _values(known, value, namespace, schemas or {}) if known is not None else ()
        return Offer.of(value, ((text, known.help if known is not None else "") for text in found))
    used = {one.lstrip("-").partition("=")[0] for one in before}
    options = [
        (f"{dashes}{option.word}{'=' if option.takes else ''}", option.help)
        for option in OPTIONS
        if option.word not in used
    ]
    first = [] if any(before) else [(name, f"profile: {profiles[name]}") for name in sorted(profiles)]
    return Offer.of(typed, (*first, *options))


def _values(option: Option, value: str, namespace: Mapping[str, Any], schemas: Mapping[str, str]) -> tuple[str, ...]:
    """What may stand after ``option=``: all that is allowed of a closed set or of names, else typical values."""
    if not option.takes:
        return ("on", "off") if option.bare else ()
    if option.takes in _TYPICAL:
        return _TYPICAL[option.takes]
    mine = {name: found for name, found in namespace.items() if name[:1] != "_" and not hasattr(builtins, name)}
    if option.takes == "FUNCTION":
        return tuple(name for name, found in mine.items() if isinstance(found, FunctionType))
    listed = value.rpartition(",")[0]
    listed += "," if listed else ""
    if option.takes == "TYPE,...":
        own = [name for name, found in mine.items() if isinstance(found, type) and issubclass(found, Exception)]
        return tuple(listed + name for name in (*own, *(kind.__name__ for kind in _COMMON_ERRORS)))
    if option.takes == "NAME,...":
        return tuple(listed + name for name in mine if _is_data(mine[name]))
    if option.takes == "NAME:SCHEMA,...":
        return tuple(f"{listed}{variable}:{name}" for name, variable in schemas.items())
    words: list[str] = []
    for word in option.takes.split("|"):
        if word.endswith(":NAME"):
            counts = [name for name, found in mine.items() if type(found) is int]
            words += [word.replace("NAME", name) for name in counts or ("NAME",)]
        else:
            words.append(word.replace("...", "localhost:6379/0"))
    return tuple(words) if len(words) > 1 else (option.example.partition("=")[2],)


def _is_data(value: Any) -> bool:
    return not isinstance(value, (ModuleType, FunctionType, type)) and not callable(value)


def complete_command(line: str, session: Session) -> Offer:
    """What may follow ``%guard``: a command, after `set` and `on` the options, after `schema` and `free` the names."""
    _, _, rest = line.partition(" ")
    command, space, tail = rest.lstrip().partition(" ")
    if not space:
        return Offer.of(command, COMMANDS.items())
    *before, typed = tail.split(" ")
    if command == "on" or (command == "set" and before):
        words = tail if command == "on" else " ".join((*before[1:], typed))
        return complete_line(f"%%guard {words}", session.namespace, session.profiles)
    if command in ("schema", "free"):
        data = [(name, "") for name, value in session.namespace.items() if name[:1] != "_" and _is_data(value)]
        return Offer.of(typed, [*data, ("--name", "the schema's name")] if command == "schema" else data)
    if command == "chaos":
        return Offer.of(typed, [(f"{word}=", text) for word, text in CHAOS.items()] + [("off", "end it")])
    return Offer.of(typed, ())


def answer(context: Any, session: Session) -> Any:
    """What IPython's completer (API 2, of 8.6 and later) wants to hear: on lines of both magics nobody else answers."""
    from IPython.core.completer import SimpleCompletion

    line = context.full_text.split("\n")[context.cursor_line][: context.cursor_position].lstrip()
    offer = Offer("", ())
    if context.cursor_line == 0 and line.startswith("%%guard "):
        learned = {name: found.variable for name, found in session.schemas.items()}
        offer = complete_line(line, session.namespace, session.profiles, learned)
    elif line.startswith("%guard "):
        offer = complete_command(line, session)
    found = [SimpleCompletion(text=text, type=help_text or "value") for text, help_text in offer.choices]
    return {"completions": found, "matched_fragment": offer.typed, "suppress": bool(found), "ordered": True}


def documentation() -> str:
    """The text that ``%%guard?`` shows."""
    lines = [
        "%%guard [profile] [option=value ...] [# comment]",
        "",
        "Run this cell under guards: the same policy that the exported function carries. `--option value` and bare",
        "words work too. A cell that only defines functions guards those functions.",
        "",
    ]
    for option in OPTIONS:
        takes = f"={option.takes}" if option.takes else ""
        lines.append(f"  {option.word}{takes}")
        lines.append(f"      {option.help}. Default: {option.default}. Example: {option.example}")
    lines += ["", "Line magic: %guard", ""]
    lines += [f"  %guard {command:<8} {help_text}" for command, help_text in COMMANDS.items()]
    return "\n".join(lines)
