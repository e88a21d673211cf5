"""Which %%guard line holds for a cell: its own, with the profiles of `%guard set`, or the one of `%guard on`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from mlguard_nb.errors import DirectiveError
from mlguard_nb.notebook.transformers import OWN_MAGICS
from mlguard_nb.policy.directive import Directive, parse

__all__ = ["GuardLines"]

_SWITCH = re.compile(r"^%guard[ \t]+(set|on|off|forget)\b[ \t]*([^\n]*)$", re.MULTILINE)
_OWN = re.compile(rf"%({'|'.join(OWN_MAGICS)})\b")


@dataclass(slots=True)
class GuardLines:
    """What the `%guard` lines of the cells so far have said, as a kernel that ran them in this order would know it."""

    profiles: dict[str, str] = field(default_factory=dict)
    everywhere: str | None = None  # the line for cells without one; None: they are not guarded

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
