"""An argument parser that says which command or option was meant by a misspelt one."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from typing import NoReturn

__all__ = ["ArgumentParser"]

_WRONG_WORD = re.compile(r"unrecognized arguments: (\S+)|invalid choice: '?([^' ]+)'?")


class ArgumentParser(argparse.ArgumentParser):
    """`argparse.ArgumentParser`, with "did you mean --verify?" behind an error about a word that is nearly known."""

    def error(self, message: str) -> NoReturn:
        """Print usage and message, and leave with status 2."""
        super().error(f"{message}{self._meant(message)}")

    def _meant(self, message: str) -> str:
        from difflib import get_close_matches

        found = _WRONG_WORD.search(message)
        if found is None:
            return ""
        word = (found[1] or found[2]).partition("=")[0]
        near = get_close_matches(word, sorted(set(_words(self))), n=1)
        return f"; did you mean {near[0]}?" if near and near[0] != word else ""


def _words(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Every option and choice of the parser and of its commands."""
    for action in parser._actions:
        yield from action.option_strings
        for choice in action.choices or ():
            yield str(choice)
            if isinstance(action.choices, dict):
                yield from _words(action.choices[choice])
