"""The OPTIONS table as TypeScript, for the form of the page; labextension/src/options.ts is `typescript()`."""

from __future__ import annotations

import json

from mlguard_nb.policy.options import OPTIONS, Option

__all__ = ["choices", "typescript"]

_HEAD = """\
/** The words of a %%guard line. Written by mlguard_nb/policy/page.py from the OPTIONS table: do not edit. */

/** One word: what it takes ("" for a bare word, `choices` where it is one of a few), and what it stands for. */
export interface GuardOption {
  readonly word: string;
  readonly part: string;
  readonly takes: string;
  readonly choices: readonly string[];
  readonly standsAlone: boolean;
  readonly fallback: string;
  readonly example: string;
  readonly help: string;
  readonly requires: readonly string[];
}

export const OPTIONS: readonly GuardOption[] = [
"""


def choices(option: Option) -> tuple[str, ...]:
    """The values an option takes where it is one of a few fixed words, else nothing."""
    words = tuple(option.takes.split("|"))
    return words if len(words) > 1 and all(word.isalpha() and word.islower() for word in words) else ()


def typescript() -> str:
    """The file, word for word."""
    return _HEAD + ",\n".join(_literal(option) for option in OPTIONS) + "\n];\n"


def _literal(option: Option) -> str:
    fields = {
        "word": option.word,
        "part": option.part,
        "takes": option.takes,
        "choices": list(choices(option)),
        "standsAlone": option.bare is not None,
        "fallback": option.default,
        "example": option.example.partition("=")[2],
        "help": option.help,
        "requires": list(option.requires),
    }
    lines = [f"    {name}: {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items()]
    return "  {\n" + ",\n".join(lines) + "\n  }"


if __name__ == "__main__":  # python -m mlguard_nb.policy.page > labextension/src/options.ts
    import sys

    sys.stdout.write(typescript())
