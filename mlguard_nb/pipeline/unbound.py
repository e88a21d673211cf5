"""Variables that a notebook may leave unbound: they travel from step to step as UNBOUND."""

from __future__ import annotations

from typing import Any, TypeVar, cast

__all__ = ["UNBOUND", "without_unbound"]

R = TypeVar("R")


class _Unbound:
    """What a step returns for a name that no path has bound. A step that takes it deletes its parameter, so reading
    the name is a NameError there as in the notebook.
    """

    def __repr__(self) -> str:
        return "UNBOUND"

    def __reduce__(self) -> str:  # one object, also after pickling and copying
        return "UNBOUND"


UNBOUND: Any = _Unbound()


def without_unbound(results: R) -> R:
    """The same mapping without the names that the notebook leaves unbound."""
    return cast("R", {name: value for name, value in cast("dict[str, Any]", results).items() if value is not UNBOUND})
