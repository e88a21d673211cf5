"""Are two values equal, how was that decided, and where do they differ.

Equal means: the same type; arrays and frames close (1e-7 of the value; exact for integers and texts); estimators by
parameters and fitted attributes; objects by their state; Matplotlib figures by what they show; modules and functions
by kind, like figures of other libraries.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mlguard_nb.pipeline.portable import Portable, portable

__all__ = ["Comparison", "compare", "equal", "shortened"]

RELATIVE = 1e-7
_ABSOLUTE = 1e-12


@dataclass(frozen=True, slots=True)
class Comparison:
    """Whether two values are equal, `how` that was decided, and for different ones where they differ.

    `how` is "value", "close", "state", "drawing", "kind" or "type only"; the last two say that no content was compared.
    """

    equal: bool
    how: str
    detail: str = ""


def equal(one: Any, other: Any, *, own: Iterable[str] = ("__main__",)) -> Comparison:
    """Compare two live values. `own` names the modules whose classes are the notebook's own, whatever their module."""
    names = tuple(own)
    return compare(portable(one, names), portable(other, names))


def compare(one: Portable, other: Portable, where: str = "") -> Comparison:
    """Compare two portable values. `where` is put before the place of the first difference."""
    if one["type"] != other["type"]:
        return Comparison(False, "type", f"{where}type {one['type']}, then {other['type']}")
    kinds = one.get("kind"), other.get("kind")
    if kinds != (None, None):
        if "opaque" in kinds:
            return Comparison(True, "type only")
        same = kinds[0] == kinds[1] and (kinds[0] != "module" or one["name"] == other["name"])
        return Comparison(same, "kind", "" if same else f"{where}{kinds[0]}, then {kinds[1]}")
    for name, how in (
        ("value", _scalars),
        ("array", _arrays),
        ("frame", _frames),
        ("pairs", _pairs),
        ("items", _items),
    ):
        if name in one or name in other:
            if (name in one) != (name in other):
                return Comparison(False, "value", f"{where}stored in another form")
            return how(one, other, where)
    found = _fields(one, other, where)
    return Comparison(found.equal, "drawing", found.detail) if one.get("drawn") else found


def _scalars(one: Portable, other: Portable, where: str) -> Comparison:
    a, b = one["value"], other["value"]
    how = "close" if isinstance(a, (float, complex)) else "value"
    if _close(a, b):
        return Comparison(True, how)
    return Comparison(False, how, f"{where}{shortened(a)}, then {shortened(b)}")


def _close(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=RELATIVE, abs_tol=_ABSOLUTE) or (math.isnan(a) and math.isnan(b))
    if isinstance(a, complex) and isinstance(b, complex):
        return _close(a.real, b.real) and _close(a.imag, b.imag)
    return type(a) is type(b) and bool(a == b)


def _arrays(one: Portable, other: Portable, where: str) -> Comparison:
    import numpy as np

    for fact in ("dtype", "dtype_name", "shape"):
        if one.get(fact) != other.get(fact):
            return Comparison(
                False, "value", f"{where}{fact.replace('_', ' ')} {one.get(fact)}, then {other.get(fact)}"
            )
    around = _labels(one, other, where)
    if around is not None:
        return around
    how = "close" if one["dtype"][1] in "fc" else "value"
    if one["array"] == other["array"]:
        return Comparison(True, how)
    a = np.frombuffer(one["array"], dtype=one["dtype"])
    b = np.frombuffer(other["array"], dtype=other["dtype"])
    if how == "close":
        narrow = max(RELATIVE, 8 * float(np.finfo(a.dtype).eps))
        same = np.isclose(a, b, rtol=narrow, atol=_ABSOLUTE, equal_nan=True)
    else:
        same = a == b
        if a.dtype.kind in "mM":
            same |= np.isnat(a) & np.isnat(b)
    if bool(same.all()):
        return Comparison(True, how)
    first = int(np.flatnonzero(~same)[0])
    count = int((~same).sum())
    return Comparison(False, how, f"{where}{count} of {a.size} differ, first at {first}: {a[first]}, then {b[first]}")


def _labels(one: Portable, other: Portable, where: str) -> Comparison | None:
    """Index, columns and name of a frame or series; None where they are equal."""
    for part in ("index", "columns", "name"):
        if part in one and part in other and isinstance(one[part], dict):
            found = compare(one[part], other[part], f"{where}{part}: ")
            if not found.equal:
                return found
    return None


def _frames(one: Portable, other: Portable, where: str) -> Comparison:
    if one["shape"] != other["shape"]:
        return Comparison(False, "value", f"{where}shape {one['shape']}, then {other['shape']}")
    around = _labels(one, other, where)
    if around is not None:
        return around
    for name, a, b in zip(one["names"], one["frame"], other["frame"], strict=True):
        found = compare({"type": "column", **a}, {"type": "column", **b}, f"{where}column {name}: ")
        if not found.equal:
            return found
    return Comparison(True, "close")


def _items(one: Portable, other: Portable, where: str) -> Comparison:
    a, b = one["items"], other["items"]
    for fact in ("dtype_name", "shape"):
        if one.get(fact) != other.get(fact):
            return Comparison(
                False, "value", f"{where}{fact.replace('_', ' ')} {one.get(fact)}, then {other.get(fact)}"
            )
    if len(a) != len(b):
        return Comparison(False, "value", f"{where}{len(a)} items, then {len(b)}")
    around = _labels(one, other, where)
    if around is not None:
        return around
    hows = {"value"}
    for position, (x, y) in enumerate(zip(a, b, strict=True)):
        if isinstance(x, dict) and isinstance(y, dict):
            found = compare(x, y, f"{where}[{position}]: ")
            if not found.equal:
                return found
            hows.add(found.how)
        elif not _close(x, y):
            return Comparison(False, "value", f"{where}[{position}]: {shortened(x)}, then {shortened(y)}")
    return Comparison(True, _weakest(hows))


def _pairs(one: Portable, other: Portable, where: str) -> Comparison:
    a = {_key(key): value for key, value in one["pairs"]}
    b = {_key(key): value for key, value in other["pairs"]}
    if a.keys() != b.keys():
        missing = sorted(a.keys() ^ b.keys())
        return Comparison(False, "value", f"{where}keys differ: {', '.join(missing[:3])}")
    return _named(a, b, where, "value")


def _fields(one: Portable, other: Portable, where: str) -> Comparison:
    for part in ("params", "fields"):
        a, b = one.get(part, {}), other.get(part, {})
        if a.keys() != b.keys():
            return Comparison(False, "state", f"{where}{part} differ: {', '.join(sorted(a.keys() ^ b.keys())[:3])}")
        found = _named(a, b, where, "state")
        if not found.equal:
            return found
    return Comparison(True, "state")


def _named(a: Mapping[str, Portable], b: Mapping[str, Portable], where: str, how: str) -> Comparison:
    hows = {how}
    for name, value in a.items():
        found = compare(value, b[name], f"{where}{name}: ")
        if not found.equal:
            return found
        hows.add(found.how)
    return Comparison(True, _weakest(hows))


def _weakest(hows: set[str]) -> str:
    return next(how for how in ("drawing", "state", "close", "value", "kind", "type only") if how in hows)


def _key(key: Portable) -> str:
    return repr(key["value"]) if "value" in key else repr({name: part for name, part in key.items() if name != "why"})


def shortened(value: Any) -> str:
    """`repr` of a value, cut to 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
