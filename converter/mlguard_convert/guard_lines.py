"""Which %%guard line holds for a cell: its own, with the profiles of `%guard set`, or the one of `%guard on`.

Both may also stand in the notebook's metadata, which a kernel reads at `%load_ext mlguard_nb`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlguard_nb.errors import DirectiveError
from mlguard_nb.notebook.remembered import METADATA
from mlguard_nb.notebook.transformers import OWN_MAGICS
from mlguard_nb.policy.directive import Directive, parse

__all__ = ["GuardLines"]

_SWITCH = re.compile(r"^%guard[ \t]+(set|on|off|forget)\b[ \t]*([^\n]*)$", re.MULTILINE)
_LOAD = re.compile(r"^%load_ext[ \t]+mlguard_nb\b", re.MULTILINE)
_OWN = re.compile(rf"%({'|'.join(OWN_MAGICS)})\b")


@dataclass(slots=True)
class GuardLines:
    """What the `%guard` lines of the cells so far have said, as a kernel that ran them in this order would know it."""

    profiles: dict[str, str] = field(default_factory=dict)
    everywhere: str | None = None  # the line for cells without one; None: they are not guarded
    remembered: Mapping[str, Any] = field(default_factory=dict)  # of the last kernel; in force once we are loaded

    @classmethod
    def of(cls, metadata: Mapping[str, Any]) -> GuardLines:
        """Before the first cell of a notebook with this metadata."""
        kept = metadata.get(METADATA)
        return cls(remembered=kept if isinstance(kept, dict) else {})

    def read(self, line: str) -> Directive:
        """The directive of a %%guard line. DirectiveError for a bad one."""
        return parse(line.strip(), profiles=self.profiles)

    def for_unmarked(self, source: str) -> Directive | None:
        """The directive of a cell without a line of its own, None where nothing guards it."""
        if self.everywhere is None or not source.strip() or _OWN.match(source.lstrip()):
            return None
        return self.read(self.everywhere)

    def learn(self, source: str) -> list[tuple[int, DirectiveError]]:
        """Take note of the switches in a cell; what is wrong with them, each with its line (from 1)."""
        wrong: list[tuple[int, DirectiveError]] = []
        if _LOAD.search(source):
            self._restore()
        for match in _SWITCH.finditer(source):
            verb, rest = match[1], match[2].strip()
            name, _, line = rest.partition(" ")
            try:
                if verb == "set":
                    parse(line.strip())
                    self.profiles[name] = line.strip()
                elif verb == "on":
                    self.read(rest)
                    self.everywhere = rest
                else:
                    self.everywhere = None
                    if verb == "forget":
                        self.profiles.clear()
            except DirectiveError as error:
                wrong.append((source.count("\n", 0, match.start()) + 1, error))
        return wrong

    def _restore(self) -> None:
        """What a kernel does when we are loaded. It leaves out what is bad, and so does this."""
        kept, self.remembered = self.remembered, {}
        profiles = kept.get("profiles")
        for name, line in profiles.items() if isinstance(profiles, dict) else ():
            if _is_good(line, {}):
                self.profiles[name] = line.strip()
        if _is_good(kept.get("everywhere"), self.profiles):
            self.everywhere = kept["everywhere"]


def _is_good(line: Any, profiles: Mapping[str, str]) -> bool:
    try:
        return isinstance(line, str) and bool(parse(line.strip(), profiles=profiles))
    except DirectiveError:
        return False
