"""TAB completion of %%guard and %guard lines, and the text of %%guard?: both read from the OPTIONS table."""

from __future__ import annotations

from collections.abc import Iterable

from mlguard_nb.policy.options import OPTIONS, Option, by_word

__all__ = ["COMMANDS", "complete_command", "complete_line", "documentation"]

COMMANDS = {
    "status": "what is switched on, and how the last cells ended",
    "set": "NAME options...: a profile for %%guard NAME",
    "on": "[options...]: guard every cell without a line of its own",
    "off": "guard only the cells that say so",
    "free": "[NAME|Out[N]|tracebacks|pools ...]: what holds memory, on host and device; with words: free that",
    "report": "cells by peak and time",
    "schema": "X [--name NAME]: learn the schema of an array or a frame from the value of X",
    "chaos": "fail=0.2 slow=1s: inject faults into guarded cells and functions; off ends it",
    "export": "DIR [NOTEBOOK]: write the notebook as a package",
}


def _choices(option: Option) -> list[str]:
    """What may stand after ``option=``: the words of a closed set, else the value of the example."""
    words = option.takes.split("|")
    closed = [word for word in words if word.islower() and word.isalpha()]
    if closed:
        return [f"{option.word}={word}" for word in closed]
    return [option.example] if option.example.startswith(f"{option.word}=") else []


def complete_line(line: str, symbol: str, profiles: Iterable[str] = ()) -> list[str]:
    """What may follow on a ``%%guard`` line: options not yet on it, values of the one being typed, profiles first."""
    table = by_word()
    typed = line.split()[1:]
    if "=" in symbol:
        option = table.get(symbol.partition("=")[0])
        return [text for text in (_choices(option) if option else []) if text.startswith(symbol)]
    used = {word.partition("=")[0].lstrip("-") for word in typed if word != symbol}
    words = [f"{option.word}=" if option.takes else option.word for option in OPTIONS if option.word not in used]
    first = [] if any(word != symbol for word in typed) else sorted(profiles)
    dashes = "--" if symbol.startswith("--") else ""
    return [f"{dashes}{word}" for word in (*first, *words) if f"{dashes}{word}".startswith(symbol)]


def complete_command(line: str, symbol: str) -> list[str]:
    """What may follow ``%guard``: a command, and after `set` and `on` the options."""
    typed = line.split()[1:]
    if not typed or (len(typed) == 1 and typed[0] == symbol):
        return [command for command in COMMANDS if command.startswith(symbol)]
    if typed[0] in ("set", "on"):
        return complete_line(line.partition(typed[0])[0] + "x " + line.partition(typed[0])[2], symbol)
    return []


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
