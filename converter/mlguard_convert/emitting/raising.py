"""What stands behind a `try` around a cell that may raise: the clause that catches, and the line that tells."""

from __future__ import annotations

from mlguard_convert.emitting.names import Introduced

__all__ = ["raised"]


def raised(introduced: Introduced, why: str) -> tuple[str, str]:
    """`except Exception as error:  # why`, and the statement that prints the last line that a notebook shows of it."""
    error = introduced.local("error")
    head = f"except {introduced.builtin('Exception')} as {error}:  # {why}"
    kind = f"{introduced.builtin('type')}({error}).__name__"
    return head, f'{introduced.builtin("print")}(f"{{{kind}}}: {{{error}}}")'
