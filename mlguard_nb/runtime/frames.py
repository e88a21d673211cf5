"""Checking frames: pandas and polars against a Frame schema, and single columns or numbers against a Col."""

from __future__ import annotations

from typing import Any

from mlguard_nb.errors import Violation
from mlguard_nb.policy.schemas import Col, Frame
from mlguard_nb.runtime.arrays import SAMPLE_VALUES, bounds_of, is_within

__all__ = ["check_column", "check_frame", "check_number", "is_frame"]

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
    there = set(map(str, value.columns))
    for column, col in schema.columns:
        if column not in there:
            if col.required:
                broken.append(Violation(f"{name}.{column}", "column", "to be there", _columns(there)))
            continue
        found = check_column(col, f"{name}.{column}", value[column], depth)
        broken += found[0]
        warned += found[1]
    if schema.extra == "forbid":
        extra = sorted(there - {column for column, _ in schema.columns})
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
    name = str(found).lower()
    if word in _KINDS:
        return any(name.startswith(kind) for kind in _KINDS[word])
    return name == word.lower() or name.startswith(f"{word.lower()}[")


def check_column(schema: Col, name: str, series: Any, depth: str = "full") -> Findings:
    """(violations, warnings) of one pandas or polars column."""
    if not is_dtype(schema.dtype, series.dtype):
        wanted = schema.dtype.__name__ if isinstance(schema.dtype, type) else str(schema.dtype)
        return [Violation(name, "dtype", wanted, str(series.dtype))], []
    if depth == "schema" or len(series) == 0:
        return [], []
    if depth == "sample" and len(series) > SAMPLE_VALUES:
        step = len(series) // SAMPLE_VALUES
        series = series[::step] if _is_polars(series) else series.iloc[::step]
    if _is_clean(schema, series):
        return [], []
    return _explain(schema, name, series)


def _is_polars(series: Any) -> bool:
    return type(series).__module__.partition(".")[0] == "polars"


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


def _explain(schema: Col, name: str, series: Any) -> Findings:
    """Every broken rule of a column with its count, the first row and the value there."""
    import numpy as np

    broken: list[Violation] = []
    null = _nulls(series)
    missing = int(null.sum())
    if missing and schema.nan != "allow":
        allowed = 0.0 if schema.nan == "reject" else float(schema.nan)
        if missing / len(series) > allowed:
            expected = "no nulls" if not allowed else f"at most {allowed:.2%} nulls"
            broken.append(
                Violation(name, "nulls", expected, f"{missing} of {len(series)}, first at row {np.argmax(null)}")
            )
    values = _listed(series)
    rules = [
        (">=", schema.ge, lambda v: v < schema.ge),
        (">", schema.gt, lambda v: v <= schema.gt),
        ("<=", schema.le, lambda v: v > schema.le),
        ("<", schema.lt, lambda v: v >= schema.lt),
    ]
    for rule, bound, breaks in rules:
        if bound is not None and (told := _told(breaks, values, null)):
            broken.append(Violation(name, rule, f"{rule} {bound}", told))
    if schema.isin is not None:
        allowed_values = set(schema.isin)
        if told := _told(lambda v: v not in allowed_values, values, null, one_by_one=True):
            shown = ", ".join(map(repr, schema.isin[:6])) + (" …" if len(schema.isin) > 6 else "")
            broken.append(Violation(name, "isin", f"one of {shown}", told))
    warned: list[Violation] = []
    if schema.seen is not None:
        least, most = schema.seen
        if told := _told(lambda v: (v < least) | (v > most), values, null):
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
    if getattr(series.dtype, "kind", "O") in "fiu":
        return series.to_numpy(dtype="float64", na_value=np.nan)
    return series.astype(object).to_numpy()


def _told(breaks: Any, values: Any, null: Any, one_by_one: bool = False) -> str:
    """ "3 of 100, first -2.0 at row 7" for the rows where `breaks` is true, or "" where there are none."""
    import numpy as np

    if one_by_one or values.dtype == object:
        bad = np.array([not skip and bool(breaks(value)) for value, skip in zip(values, null, strict=True)], dtype=bool)
    else:
        with np.errstate(invalid="ignore"):
            bad = np.asarray(breaks(values), dtype=bool) & ~null
    count = int(bad.sum())
    if not count:
        return ""
    first = int(np.argmax(bad))
    return f"{count} of {len(values)}, first {values[first]} at row {first}"


def check_number(schema: Col, name: str, value: Any) -> Findings:
    """(violations, warnings) of one plain value against a Col: its type, its bounds, its closed set."""
    broken: list[Violation] = []
    null = value is None or value != value
    if null:
        return ([] if schema.nan == "allow" else [Violation(name, "nulls", "a value", str(value))]), []
    wanted = schema.dtype
    if isinstance(wanted, type) and not isinstance(value, (wanted, int) if wanted is float else wanted):
        broken.append(Violation(name, "type", wanted.__name__, type(value).__name__))
        return broken, []
    bounds = (
        (">=", schema.ge, schema.ge is not None and value < schema.ge),
        (">", schema.gt, schema.gt is not None and value <= schema.gt),
        ("<=", schema.le, schema.le is not None and value > schema.le),
        ("<", schema.lt, schema.lt is not None and value >= schema.lt),
    )
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
