"""How a kept result is handed out, so that no caller can change what the next one gets."""

from __future__ import annotations

import copy
import logging
import sys
import types
from collections.abc import Callable
from typing import Any

from mlguard_nb.errors import PolicyError

__all__ = ["ATOMS", "kept_and_hand"]

_log = logging.getLogger("mlguard.cache")
ATOMS: frozenset[type] = frozenset({int, float, complex, bool, str, bytes, type(None), range, type(Ellipsis)})
# Those of modules that are not imported for this, which would take longer than the rest of the import.
_OTHER_ATOMS = {
    "datetime": ("date", "datetime", "time", "timedelta"),
    "decimal": ("Decimal",),
    "fractions": ("Fraction",),
    "uuid": ("UUID",),
    "pathlib": ("PosixPath", "WindowsPath"),
    "pathlib._local": ("PosixPath", "WindowsPath"),
}
Hand = Callable[[Any], Any]


def kept_and_hand(box: list[Any], mode: str) -> tuple[Any, Hand | None]:
    """(what to keep of the one value in `box`, what makes a hit of it; None: it is handed out as it is).

    "readonly" hands out read-only views of arrays and copies of whatever else can be changed, "copy" copies that may
    be written to, and in them one object stays one, "same" the object itself. The value comes in a box, so that an
    array which nobody else holds is kept without a copy.
    """
    value = box.pop()
    if type(value) is types.CoroutineType:
        value.close()
        raise PolicyError(
            "cache: the result is a coroutine of a function that is no `async def`, and can be awaited once only. "
            "Decorate the async function that makes it, or write `async def` around it"
        )
    if mode == "same" or _is_atom(value) or _is_constant(value):
        return value, None
    if mode == "readonly" and _is_array(value):
        if sys.getrefcount(value) > 2 or value.base is not None or not value.flags.owndata:
            value = value.copy()
        value.flags.writeable = False
        return value, _view
    try:
        return (_copied(value), _copied) if mode == "copy" else (_frozen(value), _guarded)
    except RecursionError:  # it contains itself
        return _deep(value), _deep


def _is_atom(value: Any) -> bool:
    kind = type(value)
    return kind in ATOMS or kind.__name__ in _OTHER_ATOMS.get(kind.__module__, ())


def _is_constant(value: Any) -> bool:
    if type(value) in (tuple, frozenset):
        return all(_is_atom(item) or _is_constant(item) for item in value)
    numpy = sys.modules.get("numpy")
    return isinstance(value, type) or (numpy is not None and isinstance(value, numpy.generic))


def _is_array(value: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and type(value) is numpy.ndarray and not value.dtype.hasobject


def _view(array: Any) -> Any:
    return array.view()


def _rebuilt(value: Any, part: Hand) -> Any:
    """Plain containers made anew, with `part` applied to what is in them; anything else is `value` itself."""
    kind = type(value)
    if kind is list:
        return [part(item) for item in value]
    if kind is dict:
        return {key: part(item) for key, item in value.items()}
    if kind is tuple:
        return tuple(part(item) for item in value)
    return value


_CONTAINERS = (list, dict, tuple)


def _frozen(value: Any) -> Any:
    """What is kept: nobody outside holds any part of it that can be changed."""
    if _is_atom(value):
        return value
    if _is_array(value):
        own = value.copy()
        own.flags.writeable = False
        return own
    if _is_pandas(value):
        return _copied_frame(value, deep=True)  # since the function may hold the arrays below it
    return _rebuilt(value, _frozen) if type(value) in _CONTAINERS else _copied(value)


def _guarded(value: Any) -> Any:
    """A hit: read-only views of arrays, new containers and frames."""
    if _is_atom(value):
        return value
    if _is_array(value):
        return value.view()
    return _rebuilt(value, _guarded) if type(value) in _CONTAINERS else _copied(value)


def _copied(value: Any, memo: dict[int, Any] | None = None) -> Any:
    """A copy that may be written to. `memo` holds the copies made so far, as for deepcopy: one object has one copy."""
    if _is_atom(value) or _is_constant(value):
        return value
    memo = {} if memo is None else memo
    if id(value) not in memo:
        memo[id(value)] = _new_copy(value, memo)
    return memo[id(value)]


def _new_copy(value: Any, memo: dict[int, Any]) -> Any:
    if _is_array(value):
        return value.copy(order="K")
    if type(value) in _CONTAINERS:
        return _rebuilt(value, lambda part: _copied(part, memo))
    if _is_pandas(value):
        return _copied_frame(value, deep=not _copies_on_write())
    return _deep(value, memo)


def _deep(value: Any, memo: dict[int, Any] | None = None) -> Any:
    """A deep copy; where there can be none, the object itself, with a warning."""
    try:
        return copy.deepcopy(value, memo)
    except _uncopyable() as error:
        kind = type(value)
        if isinstance(value, types.CoroutineType) or hasattr(kind, "__next__") or hasattr(kind, "__anext__"):
            raise PolicyError(
                f"cache: the result is or holds an object of type {kind.__name__}, which can be used once only: the "
                "next caller would get what the first has left of it. Return a list, or say "
                'hand_out="same" if that is what you want'
            ) from None
        if kind not in _told:
            _told.add(kind)
            _log.warning(
                "cache: an object of type %s cannot be copied (%s), so every hit hands out the same object",
                kind.__name__,
                error,
            )
        return value


def _uncopyable() -> tuple[type[Exception], ...]:
    """What deepcopy raises for locks, handles, tensors inside a graph, and whatever else says no."""
    from pickle import PicklingError

    return TypeError, ValueError, RuntimeError, AttributeError, copy.Error, PicklingError


_told: set[type] = set()


def _is_pandas(value: Any) -> bool:
    """Whether this is a frame, series or index; their module is "pandas" since version 3, and was deeper before."""
    return type(value).__module__.partition(".")[0] == "pandas" and hasattr(value, "copy")


def _copied_frame(value: Any, deep: bool) -> Any:
    """A copy of a frame, series or index. pandas itself shares the lists and dictionaries in a column of objects."""
    copied = value.copy(deep=deep)
    if value.ndim == 2:
        for place in [place for place, dtype in enumerate(value.dtypes) if dtype.kind == "O"]:
            if _holds_more_than_atoms(column := value.iloc[:, place]):
                copied.isetitem(place, _copied_objects(column))
    elif value.dtype.kind == "O" and hasattr(value, "iloc") and _holds_more_than_atoms(value):
        copied = _copied_objects(value)
    return copied


def _holds_more_than_atoms(column: Any) -> bool:
    return bool(sys.modules["pandas"].api.types.infer_dtype(column, skipna=True).startswith("mixed"))


def _copied_objects(column: Any) -> Any:
    pandas: Any = sys.modules["pandas"]
    return pandas.Series(map(_copied, column), index=column.index, dtype=object, name=column.name)


def _copies_on_write() -> bool:
    """Whether pandas itself copies a frame when one of its holders writes."""
    pandas: Any = sys.modules["pandas"]
    return int(pandas.__version__.partition(".")[0]) >= 3 or pandas.options.mode.copy_on_write is True
