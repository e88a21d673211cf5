"""Checking frames: pandas and polars against a Frame schema, and single columns or numbers against a Col."""

from __future__ import annotations

import functools
import numbers
from typing import Any

from mlguard_nb.errors import PolicyError, Violation
from mlguard_nb.policy.schemas import Col, Frame
from mlguard_nb.runtime.arrays import SAMPLE_VALUES, bounds_of
from mlguard_nb.runtime.reductions import is_within

__all__ = ["check_column", "check_dtype", "check_frame", "check_number", "is_frame"]

Findings = tuple[list[Violation], list[Violation]]

# What a person writes for a column, and the kinds of dtype that satisfy it. A width, such as "float32", is exact.
_KINDS = {
    "float": ("float",),
    "int": ("int", "uint"),
    "bool": ("bool",),
    "str": ("str", "string", "object", "category", "categorical", "enum"),
    "datetime": ("datetime",),
    "timedelta": ("timedelta", "duration"),
    "date": ("date", "datetime"),
    "category": ("category", "categorical", "enum"),
    "object": ("object",),
}


def is_frame(value: object) -> bool:
    """Whether `value` is a pandas or polars frame."""
    kind = type(value)
    return kind.__name__ == "DataFrame" and kind.__module__.partition(".")[0] in ("pandas", "polars")


def check_frame(schema: Frame, name: str, value: Any, depth: str = "full") -> Findings:
    """(violations, warnings) of one frame: columns, dtypes, nulls, bounds and closed sets, all at once."""
    if not is_frame(value):
        return [Violation(name, "type", "a pandas or polars frame", type(value).__name__)], []
    broken: list[Violation] = []
    warned: list[Violation] = []
    labels: dict[str, list[Any]] = {}
    for label in value.columns:  # a pandas label may be a number
        labels.setdefault(str(label), []).append(label)
    for column, col in schema.columns:
        found_labels = labels.get(column, [])
        if len(found_labels) > 1:
            broken.append(Violation(f"{name}.{column}", "column", "to be there once", f"{len(found_labels)} of them"))
        elif found_labels:
            found = check_column(col, f"{name}.{column}", value[found_labels[0]], depth)
            broken += found[0]
            warned += found[1]
        elif col.required:
            broken.append(Violation(f"{name}.{column}", "column", "to be there", _columns(set(labels))))
    if schema.extra == "forbid":
        extra = sorted(set(labels) - {column for column, _ in schema.columns})
        if extra:
            broken.append(Violation(name, "extra", "no other columns", ", ".join(extra)))
    if len(value) < schema.min_rows:
        broken.append(Violation(name, "rows", f"at least {schema.min_rows} rows", str(len(value))))
    return broken, warned


def _columns(there: set[str]) -> str:
    names = sorted(there)
    shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return f"only {shown}" if names else "no columns"


def is_dtype(wanted: Any, found: object) -> bool:
    """Whether a column's dtype is what the schema asks for: a Python type or kind, or an exact dtype name."""
    if wanted is None:
        return True
    word = wanted.__name__ if isinstance(wanted, type) else str(wanted)
    name = _name_of(found)
    if word in _KINDS:
        return any(name.startswith(kind) for kind in _KINDS[word])
    return name == word.lower() or name.startswith(f"{word.lower()}[")


def _name_of(dtype: object) -> str:
    """The dtype's name in small letters."""
    return _name_of_numpy(dtype) if type(dtype).__module__ == "numpy.dtypes" else str(dtype).lower()


@functools.lru_cache(maxsize=64)  # NumPy makes the name anew each time, in Python
def _name_of_numpy(dtype: object) -> str:
    return str(dtype).lower()


# Dtypes beside NumPy's own, in small letters and without what stands in brackets.
_FRAME_DTYPES = {
    *_KINDS, "boolean", "utf8", "binary", "bytes", "decimal", "time", "list", "array", "struct", "null", "period",
    "interval", "sparse", "large_string", "timestamp", "date32", "date64", "time32", "time64", "double", "halffloat",
}  # fmt: skip


def check_dtype(wanted: Any, column: str) -> None:
    """PolicyError where no column of a frame can have this dtype."""
    word = wanted.__name__ if isinstance(wanted, type) else str(wanted)
    kind = word.lower().partition("[")[0].partition("(")[0]
    if wanted is None or kind in _FRAME_DTYPES:
        return
    import numpy as np

    try:
        np.dtype(kind)
    except TypeError:
        raise PolicyError(
            f"{column}: Col({word!r}) is no dtype; write {', '.join(_KINDS)}, or the name that pandas or polars shows"
        ) from None


def check_column(schema: Col, name: str, series: Any, depth: str = "full") -> Findings:
    """(violations, warnings) of one pandas or polars column."""
    if not is_dtype(schema.dtype, series.dtype):
        wanted = schema.dtype.__name__ if isinstance(schema.dtype, type) else str(schema.dtype)
        return [Violation(name, "dtype", wanted, str(series.dtype))], []
    if depth == "schema" or len(series) == 0:
        return [], []
    step = max(1, len(series) // SAMPLE_VALUES) if depth == "sample" else 1
    if step > 1:
        series = series[::step] if _is_polars(series) else series.iloc[::step]
    if _is_clean(schema, series):
        return [], []
    return _explain(schema, name, series, step)


def _is_polars(series: Any) -> bool:
    return type(series).__module__.startswith("polars.")


def _numbers(series: Any) -> Any:
    """The column's own buffer as NumPy numbers without a copy, None where it has another kind of value."""
    if _is_polars(series):
        if series.null_count() or not series.dtype.is_numeric():
            return None
        return series.to_numpy()
    numbers: Any = getattr(series, "_values", None)
    return numbers if type(numbers).__module__ == "numpy" and numbers.dtype.kind in "fiu" else None


def _is_clean(schema: Col, series: Any) -> bool:
    """Whether nothing is to be said, decided by two reductions; False sends the column to the full explanation."""
    if schema.isin is not None:
        return False
    low, high, low_open, high_open = bounds_of(schema)
    if schema.seen is not None:
        try:
            low, high = max(low, schema.seen[0]), min(high, schema.seen[1])
        except TypeError:
            return False
        low_open = high_open = False
    numbers = _numbers(series)
    if numbers is None or not isinstance(low, (int, float)) or not isinstance(high, (int, float)):
        return False
    if numbers.dtype.kind != "f" and low == -float("inf") and high == float("inf"):
        return True
    return is_within(numbers, low, high, low_open, high_open)  # NaN is never within


def _explain(schema: Col, name: str, series: Any, step: int) -> Findings:
    """Every broken rule of a column with its count, the first row and the value there. `series` holds every `step`th
    row.
    """
    import numpy as np

    broken: list[Violation] = []
    null = _nulls(series)
    missing = int(null.sum())
    if missing and schema.nan != "allow":
        allowed = 0.0 if schema.nan == "reject" else float(schema.nan)
        if missing / len(series) > allowed:
            expected = "no nulls" if not allowed else f"at most {allowed:.2%} nulls"
            broken.append(
                Violation(name, "nulls", expected, f"{missing} of {len(series)}, first at row {np.argmax(null) * step}")
            )
    values = _listed(series)
    rules = [
        (">=", schema.ge, lambda v: v < schema.ge),
        (">", schema.gt, lambda v: v <= schema.gt),
        ("<=", schema.le, lambda v: v > schema.le),
        ("<", schema.lt, lambda v: v >= schema.lt),
    ]
    for rule, bound, breaks in rules:
        if bound is not None and (told := _told(breaks, values, null, step)):
            broken.append(Violation(name, rule, f"{rule} {bound}", told))
    if schema.isin is not None:
        allowed_values = _quick(schema.isin)
        if told := _told(lambda v: v not in allowed_values, values, null, step, one_by_one=True):
            shown = ", ".join(map(repr, schema.isin[:6])) + (" …" if len(schema.isin) > 6 else "")
            broken.append(Violation(name, "isin", f"one of {shown}", told))
    warned: list[Violation] = []
    if schema.seen is not None:
        least, most = schema.seen
        if told := _told(lambda v: (v < least) | (v > most), values, null, step):
            warned.append(Violation(name, "seen", f"between {least} and {most}", told))
    return broken, warned


def _nulls(series: Any) -> Any:
    if _is_polars(series):
        null = series.is_null()
        if series.dtype.is_float():
            null = null | series.is_nan().fill_null(True)
        return null.to_numpy()
    return series.isna().to_numpy(dtype=bool)


def _listed(series: Any) -> Any:
    """The values as a NumPy array: numbers where the column has them, else objects."""
    import numpy as np

    numbers = _numbers(series)
    if numbers is not None:
        return numbers
    if _is_polars(series):
        if series.dtype.is_numeric() or series.dtype.is_temporal():
            return series.to_numpy()
        return np.array(series.to_list(), dtype=object)
    if getattr(series.dtype, "kind", "O") in "mM" and getattr(series.dtype, "tz", None) is None:
        return series.to_numpy()
    kind = getattr(series.dtype, "kind", "O")
    if kind in "iu":  # as float64 large ones would be rounded
        return series.to_numpy(dtype=f"{kind}8", na_value=0)
    if kind == "f":
        return series.to_numpy(dtype="float64", na_value=np.nan)
    return series.astype(object).to_numpy()


def _quick(values: tuple[Any, ...]) -> Any:
    """The values to look others up in: a set where they can be in one."""
    try:
        return set(values)
    except TypeError:
        return values


def _told(breaks: Any, values: Any, null: Any, step: int, one_by_one: bool = False) -> str:
    """ "3 of 100, first -2.0 at row 7" for the rows where `breaks` is true, or "" where there are none. A value that
    cannot be compared breaks the rule.
    """
    import numpy as np

    def is_bad(value: Any) -> bool:
        try:
            return bool(breaks(value))
        except TypeError:
            return True

    if one_by_one or values.dtype == object:
        bad = np.array([not skip and is_bad(value) for value, skip in zip(values, null, strict=True)], dtype=bool)
    else:
        with np.errstate(invalid="ignore"):
            try:
                bad = np.asarray(breaks(values), dtype=bool) & ~null
            except TypeError:  # dates and a number, say: none of them
                bad = ~null
    count = int(bad.sum())
    if not count:
        return ""
    first = int(np.argmax(bad))
    return f"{count} of {len(values)}, first {values[first]} at row {first * step}"


def _is_of(value: Any, kind: type) -> bool:
    """Whether a number or another value is what a column of `kind` would hold; NumPy's scalars are numbers too."""
    if kind in (int, float):
        return isinstance(value, numbers.Integral if kind is int else numbers.Real) and not isinstance(value, bool)
    return isinstance(value, kind)


def check_number(schema: Col, name: str, value: Any) -> Findings:
    """(violations, warnings) of one plain value against a Col: its type, its bounds, its closed set."""
    broken: list[Violation] = []
    null = value is None or value != value
    if null:
        return ([] if schema.nan == "allow" else [Violation(name, "nulls", "a value", str(value))]), []
    wanted = schema.dtype
    if isinstance(wanted, type) and not _is_of(value, wanted):
        broken.append(Violation(name, "type", wanted.__name__, type(value).__name__))
        return broken, []
    try:
        bounds = (
            (">=", schema.ge, schema.ge is not None and value < schema.ge),
            (">", schema.gt, schema.gt is not None and value <= schema.gt),
            ("<=", schema.le, schema.le is not None and value > schema.le),
            ("<", schema.lt, schema.lt is not None and value >= schema.lt),
        )
    except TypeError as error:
        return [Violation(name, "type", "a value that can be compared with its bounds", str(error))], []
    broken += [Violation(name, rule, f"{rule} {bound}", repr(value)) for rule, bound, is_broken in bounds if is_broken]
    if schema.isin is not None and value not in schema.isin:
        broken.append(Violation(name, "isin", f"one of {schema.isin}", repr(value)))
    outside = schema.seen is not None and not schema.seen[0] <= value <= schema.seen[1]
    warned = (
        [Violation(name, "seen", f"between {schema.seen[0]} and {schema.seen[1]}", repr(value))]
        if outside and schema.seen
        else []
    )
    return broken, warned
