"""A %%guard line to a policy and back: `parse` and `format_line`, both read from the OPTIONS table.

Grammar: ``[profile] [option=value | option | --option value ...] [# comment]``; values with blanks are quoted.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from mlguard_nb.errors import DirectiveError, PolicyError
from mlguard_nb.policy.options import OPTIONS, Option, by_word
from mlguard_nb.policy.values import (
    CachePolicy,
    CellOptions,
    GuardPolicy,
    MemoryPolicy,
    MonitorPolicy,
    RetryPolicy,
    ValidatePolicy,
)

__all__ = ["Directive", "format_line", "parse", "pointed_at"]

_POLICIES: dict[str, Any] = {
    "retry": RetryPolicy,
    "memory": MemoryPolicy,
    "cache": CachePolicy,
    "validate": ValidatePolicy,
    "monitor": MonitorPolicy,
}


@dataclass(frozen=True, slots=True)
class Directive:
    """A parsed line: the policy it asks for, what only the cell has, and the text as it was typed.

    `is_bound` is False where the policy still mentions objects by name.
    """

    policy: GuardPolicy
    cell: CellOptions
    text: str
    is_bound: bool = False


@dataclass(frozen=True, slots=True)
class _Word:
    """One option as written; `value` None for a bare word; `span` covers the whole of it."""

    name: str
    value: str | None
    span: tuple[int, int]
    dashes: bool


_PIECE = re.compile(
    r"""(?P<dashes>--)?(?P<name>[A-Za-z_][\w-]*)(?:(?P<equals>=)(?P<value>"[^"]*"|'[^']*'|[^\s"'][^\s]*)?)?(?=\s|$)""",
    re.ASCII,
)


def _words(line: str) -> list[_Word]:
    """Cut the line at blanks; a ``#`` that begins a word begins a comment."""
    found: list[_Word] = []
    at = 0
    while at < len(line):
        if line[at].isspace():
            at += 1
            continue
        if line[at] == "#":
            break
        match = _PIECE.match(line, at)
        if match is None:
            end = next((i for i in range(at, len(line)) if line[i].isspace()), len(line))
            takes_it = found and found[-1].value is None and _takes_value(by_word(), found[-1].name)
            name, colon, told = line[at:end].partition(":")
            hint = "write option=value, with quotes around blanks"
            if takes_it:
                hint = f"write {found[-1].name}={line[at:end]}"
            elif colon and _takes_value(by_word(), name):
                hint = f"write {name}={told}"
            raise DirectiveError(line, (at, end), f"cannot read {line[at:end]!r}", hint)
        value = match["value"]
        if match["equals"] and value is None:
            raise DirectiveError(line, match.span(), f"{match['name']}= has no value", _usage(match["name"]))
        if value is not None and value[0] in "\"'":
            value = value[1:-1]
        found.append(_Word(match["name"], value, match.span(), bool(match["dashes"])))
        at = match.end()
    return found


def _takes_value(table: Mapping[str, Option], name: str) -> bool:
    return name in table and bool(table[name].takes)


def _usage(name: str) -> str:
    option = by_word().get(name)
    return f"for example {option.example}" if option else "see %%guard? for all options"


def _normalise(line: str) -> str:
    """`--option value` becomes `--option=value`, in place, so that one pattern reads all and columns stay true."""
    table = by_word()

    def join(match: re.Match[str]) -> str:
        name, value = match["name"], match["value"]
        if _takes_value(table, name) and not value.startswith("--") and value.partition("=")[0] not in table:
            return f"--{name}={value}"
        return match.group()

    return re.sub(r"(?<!\S)--(?P<name>[A-Za-z_]+)[ \t](?P<value>[^\s#][^\s]*)", join, line)


def _nearest(word: str, profiles: Mapping[str, str]) -> str:
    known, typed = [*by_word(), *profiles], word.lower()
    near = difflib.get_close_matches(typed, known, n=len(known))
    # Of words that are about as near, the one that begins alike is meant: "retires" is retry, not refresh.
    best = max(near, key=lambda one: _alike(typed, one), default=None)
    return f"did you mean {best}?" if best else "see %%guard? for all options; %guard set NAME makes a profile"


def _alike(one: str, other: str) -> int:
    """How many characters two words have in common at their beginning."""
    return next((at for at, (mine, its) in enumerate(zip(one, other, strict=False)) if mine != its), len(other))


def _quoted(before: _Word | None, word: _Word) -> str:
    """How to write a value that was cut at its blank: `name=my step`."""
    if before is None or before.name != "name" or before.value is None or word.value is not None:
        return ""
    return f'write name="{before.value} {word.name}"'


def parse(line: str, *, profiles: Mapping[str, str] | None = None) -> Directive:
    """The policy that `line` (the text after ``%%guard``) asks for.

    `profiles` maps a profile's name to the options it stands for; words on the line win over those of the profile.
    Raises DirectiveError, which carries the line and the span of the offending word.
    """
    profiles = profiles or {}
    table = by_word()
    seen: dict[str, _Word] = {}
    inherited: dict[str, _Word] = {}
    before: _Word | None = None
    for index, word in enumerate(_words(_normalise(line))):
        if word.name not in table:
            if index == 0 and word.value is None and not word.dashes and word.name in profiles:
                inherited = _profile(line, word, profiles[word.name])
                continue
            kind = "option" if word.value is not None or word.dashes or index else "option or profile"
            hint = _quoted(before, word) or _nearest(word.name, profiles)
            raise DirectiveError(line, word.span, f"unknown {kind} {word.name!r}", hint)
        if word.name in seen:
            raise DirectiveError(line, word.span, f"{word.name} is given twice", "keep one of them")
        seen[word.name] = before = word
    return _build(line, {**inherited, **seen})


def pointed_at(line: str, error: PolicyError) -> PolicyError:
    """`error` with a caret under the word of `line` that it begins with; as it is where the line has no such word.

    For what shows only once the names of the line are looked up: a function that is not there, a type that is none.
    """
    if isinstance(error, DirectiveError):
        return error
    words = {word.name: word for word in _words(_normalise(line))}
    part, _, told = str(error).partition(": ")
    blamed = words.get(part.partition("=")[0])
    if blamed is None:  # it begins with the part, and then the field
        fields_of = (option for option in OPTIONS if option.part == part and option.word in words)
        blamed = next((words[one.word] for one in fields_of if told.partition(" ")[0] in one.fields), None)
    return error if blamed is None else DirectiveError(line, blamed.span, str(error))


def _profile(line: str, word: _Word, text: str) -> dict[str, _Word]:
    """The words a profile stands for; whatever is wrong with them is shown under the profile's name."""
    try:
        parse(text)
    except DirectiveError as error:
        raise DirectiveError(line, word.span, f"profile {word.name!r}: {error.message}", error.hint) from None
    return {w.name: _Word(w.name, w.value, word.span, w.dashes) for w in _words(_normalise(text))}


def _build(line: str, words: Mapping[str, _Word]) -> Directive:
    table = by_word()
    values: dict[str, dict[str, Any]] = {}
    for word in words.values():
        option = table[word.name]
        if option.requires and not any(other in words for other in option.requires):
            example = table[option.requires[0]].example
            needed = " or ".join(f"{other}=" if table[other].takes else other for other in option.requires)
            raise DirectiveError(line, word.span, f"{word.name} needs {needed} on the same line", f"add {example}")
        part = values.setdefault(option.part, {})
        part.update(zip(option.fields, _values(line, option, word), strict=False))
    built: dict[str, Any] = {}
    for part_name, given in values.items():
        if part_name in _POLICIES:
            built[part_name] = _construct(line, part_name, given, words, _POLICIES[part_name])
    name = values.get("", {}).get("name")
    cell = _construct(line, "cell", values.get("cell", {}), words, CellOptions)
    policy = GuardPolicy(name=name, **built)
    return Directive(policy, cell, line, is_bound=not policy.references())


def _values(line: str, option: Option, word: _Word) -> tuple[Any, ...]:
    if word.value is None:
        if option.bare is None:
            raise DirectiveError(line, word.span, f"{word.name} needs a value", f"for example {option.example}")
        return option.bare
    if not option.takes and option.bare == ():
        raise DirectiveError(line, word.span, f"{word.name} takes no value", f"write {word.name} alone")
    try:
        return option.parse(word.value)
    except PolicyError as error:
        raise DirectiveError(line, word.span, f"{word.name}: {error}", f"for example {option.example}") from None


def _construct(line: str, part: str, given: dict[str, Any], words: Mapping[str, _Word], policy: Any) -> Any:
    """Build the part; what its constructor refuses is shown under the first word of that part."""
    try:
        return policy(**given)
    except PolicyError as error:
        mine = [w for n, w in words.items() if by_word()[n].part == part]
        blamed = [w for w in mine if any(f" {field} " in f" {error} " for field in by_word()[w.name].fields)] or mine
        raise DirectiveError(
            line, blamed[0].span, str(error), f"for example {by_word()[blamed[0].name].example}"
        ) from None


def format_line(policy: GuardPolicy, cell: CellOptions | None = None) -> str:
    """The line that `parse` reads back to the same values.

    The first word of each part is always written, the others where they differ from the default. Raises PolicyError
    naming the field that a line cannot express (a callable, or a field that has no word).
    """
    cell = cell or CellOptions()
    words: list[str] = []
    for option in OPTIONS:
        owner: Any = cell if option.cell_only else policy if option.part == "" else getattr(policy, option.part)
        if owner is None:
            continue
        found = tuple(getattr(owner, field) for field in option.fields)
        main = option.fields and option.word == _MAIN.get(option.part)
        if not option.fields:
            words.append(option.word)
        elif main or found != _defaults(owner, option.fields):
            words.append(_written(option, found))
    unsaid = _unsaid(policy)
    if unsaid:
        raise PolicyError(f"a %%guard line has no word for {unsaid}: set it on the decorator")
    return " ".join(words)


_MAIN = {"retry": "retry", "memory": "mem", "cache": "cache", "validate": "validate"}


def _written(option: Option, found: tuple[Any, ...]) -> str:
    if option.bare is not None and found == option.bare and (not option.takes or found == ((),)):
        return option.word
    text = option.format(*found)
    if text is None:
        raise PolicyError(f"a %%guard line cannot write {option.word}={found[0]!r}: name it first")
    if text == "" or re.search(r"[\s#'\"]", text):
        quote = "'" if '"' in text else '"'
        if quote in text:
            raise PolicyError(f"a %%guard line cannot write {option.word}={text}: it holds both kinds of quotes")
        text = f"{quote}{text}{quote}"
    return f"{option.word}={text}"


def _defaults(owner: Any, names: tuple[str, ...]) -> tuple[Any, ...]:
    known = {field.name: field.default for field in fields(owner)}
    return tuple(known[name] for name in names)


def _unsaid(policy: GuardPolicy) -> str | None:
    said = {(option.part, field) for option in OPTIONS for field in option.fields}
    for part, value in policy.parts().items():
        for field in fields(value):
            if (part, field.name) not in said and getattr(value, field.name) != field.default:
                return f"{part}.{field.name}"
    return None
