"""Taking credentials out of text before it is logged or told: by how they look, and by the names they stand beside."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

__all__ = ["REDACTED", "SECRET_NAMES", "is_secret", "redacted", "redacted_trace"]

REDACTED = "[redacted]"
SECRET_NAMES = ("password", "secret", "token", "api_key", "authorization")

# What looks like a credential in running text: bearer tokens, keys with a well-known beginning, JSON web tokens, and
# user:password in a URL, where Redis has no user.
_CREDENTIALS = (
    r"(?i)(bearer\s+[\w.~+/-]{8,}=*|\b(?:sk|pk|gh[opsur]|github_pat|glpat|xox[abp])[-_][\w-]{8,}|\bhf_[a-z0-9]{30,}"
    r"|\bA[KS]IA[0-9A-Z]{16}\b|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*|(?<=://)[^/\s:@]*:[^/\s@]+(?=@))"
)


def redacted(text: str, names: Sequence[str] = SECRET_NAMES, *, is_source: bool = False) -> str:
    """`text` without what looks like a credential, and without the values beside a name that holds one of `names`:
    password=..., "api_key": "...". Of Python's source only values in quotes are: `token = read()` tells nothing.
    """
    text = re.sub(_CREDENTIALS, REDACTED, text)
    return _beside(tuple(names), is_source).sub(rf"\1{REDACTED}", text) if names else text


def redacted_trace(parts: Iterable[str], names: Sequence[str] = SECRET_NAMES) -> str:
    """The parts of a traceback as one text without credentials."""
    return "".join(redacted(part, names, is_source=part.startswith("  File ")) for part in parts).rstrip()


def is_secret(name: str, names: Sequence[str]) -> bool:
    """Whether a parameter or key of this name holds what must not be told."""
    return any(_bare(word) in _bare(name) for word in names)


def _bare(name: str) -> str:
    return re.sub("[-_ ]", "", name).lower()


@lru_cache
def _beside(names: tuple[str, ...], is_source: bool) -> re.Pattern[str]:
    words = "|".join(re.escape(name).replace("_", "[-_ ]?") for name in names)
    quoted = r"""[rbfu]{0,2}"(?:\\.|[^"\\])*"|[rbfu]{0,2}'(?:\\.|[^'\\])*'"""
    # In source an unquoted value is told by the quote behind it: it ends a text, as in "password=hunter2".
    bare = r"""[^\s"'(){}\[\],;]+(?=["'])""" if is_source else r"(?:(?:basic|token)\s+)?[^\s,;&)}\]]+"
    return re.compile(rf"""(?i)(["']?[\w-]*(?:{words})[\w-]*["']?\s*[=:]\s*)(?!\[redacted\])(?:{quoted}|{bare})""")
