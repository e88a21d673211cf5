"""Schemas learned from a value: the structure rejects, the range that was seen only warns.

A learned schema always accepts the value it was learned from. Ranges are rounded outwards to three digits, so that a
schema reads well and does not pin the last bit of the training data.
"""

from __future__ import annotations

import math
from typing import Any

from mlguard_nb.errors import PolicyError
from mlguard_nb.policy.schemas import Array, Col, Frame
from mlguard_nb.runtime.arrays import as_numpy, dtype_name, is_array
from mlguard_nb.runtime.frames import is_frame

__all__ = ["forget", "learn", "learned", "remember", "rounded_outwards"]

_learned: dict[str, Any] = {}


def learn(value: Any) -> Array | Frame:
    """The schema of an array or a frame: shape and dtype, or columns, dtypes and nulls, with the ranges seen.

    The first dimension of an array is free (the batch), the others are fixed. PolicyError for anything else.
    """
    if is_frame(value):
        return Frame({str(name): _column(value[name]) for name in value.columns})
    if is_array(value):
        shape = tuple(value.shape)
        words = " ".join(["rows", *map(str, shape[1:])]) if shape else ""
        seen, has_nan = _range(as_numpy(value))
        return Array(words, dtype_name(value.dtype), nan="allow" if has_nan else "reject", seen=seen)
    raise PolicyError(f"a schema can be learned from an array or a frame, not from {type(value).__name__}")


def _range(numbers: Any) -> tuple[tuple[float, float] | None, bool]:
    """(the rounded range of the finite values, whether there is any other)."""
    import numpy as np

    if numbers.dtype.kind not in "fiu" or numbers.size == 0:
        return None, False
    finite = numbers[np.isfinite(numbers)] if numbers.dtype.kind == "f" else numbers
    odd = finite.size < numbers.size
    if finite.size == 0:
        return None, odd
    return rounded_outwards(finite.min().item(), finite.max().item()), odd


def rounded_outwards(low: float, high: float) -> tuple[float, float]:
    """The range with three significant digits, never narrower than it was; whole numbers stay as they are."""
    if isinstance(low, int) and isinstance(high, int):
        return low, high
    return _round(low, math.floor), _round(high, math.ceil)


def _round(value: float, towards: Any) -> float:
    if value == 0 or not math.isfinite(value):
        return float(value)
    places = 2 - math.floor(math.log10(abs(value)))
    if places > 300:
        return float(value)
    scale = 10.0**places
    rounded = float(towards(value * scale) / scale)
    # The division rounds as well: never let it cut the range that was seen.
    return rounded if (rounded <= value if towards is math.floor else rounded >= value) else float(value)


_PYTHON = {"i": int, "u": int, "f": float, "b": bool}


def _column(series: Any) -> Col:
    polars = type(series).__module__.partition(".")[0] == "polars"
    share = _share_of_nulls(series, polars)
    nan: str | float = "reject" if share == 0 else min(1.0, math.ceil(share * 100) / 100)
    kind = _kind(series, polars)
    if kind not in (int, float):
        return Col(kind, nan=nan)
    import numpy as np

    width = {"f": "float64", "u": "uint64"}.get(getattr(series.dtype, "kind", "f"), "int64")
    numbers = series.drop_nulls().to_numpy() if polars else series.dropna().to_numpy(dtype=width)
    seen, _odd = _range(np.asarray(numbers))
    return Col(kind, nan=nan, seen=seen)


def _share_of_nulls(series: Any, polars: bool) -> float:
    if len(series) == 0:
        return 0.0
    if not polars:
        return float(series.isna().mean())
    count = series.null_count() + (int(series.is_nan().sum() or 0) if series.dtype.is_float() else 0)
    return float(count / len(series))


def _kind(series: Any, polars: bool) -> Any:
    if polars:
        name = str(series.dtype).lower()
        for kind, prefix in ((int, "int"), (int, "uint"), (float, "float"), (bool, "bool"), (str, "str")):
            if name.startswith(prefix):
                return kind
        short = name.partition("(")[0]
        return short if short in ("datetime", "duration", "categorical", "enum") else name
    code = getattr(series.dtype, "kind", "O")
    if code in _PYTHON:
        return _PYTHON[code]
    name = str(series.dtype)
    if name in ("object", "str", "string") or name.startswith("string"):
        return str
    return name.partition("[")[0].removesuffix("64") if name.startswith(("datetime", "timedelta")) else name


def remember(name: str, schema: Any) -> None:
    """Keep `schema` under `name` for every bare `validate`, until it is forgotten."""
    _learned[name] = schema


def forget(name: str | None = None) -> None:
    """Forget one learned schema, or all of them."""
    if name is None:
        _learned.clear()
    else:
        _learned.pop(name, None)


def learned() -> dict[str, Any]:
    """The learned schemas by name."""
    return dict(_learned)
