"""Schemas as data: what an array, a column or a frame must look like. The runtime compiles them into checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

from mlguard_nb.errors import PolicyError

__all__ = ["Array", "Col", "Frame"]


def _bounds(owner: str, ge: Any, gt: Any, le: Any, lt: Any) -> None:
    if ge is not None and gt is not None:
        raise PolicyError(f"{owner}: give ge or gt, not both")
    if le is not None and lt is not None:
        raise PolicyError(f"{owner}: give le or lt, not both")
    for field, bound in (("ge", ge), ("gt", gt), ("le", le), ("lt", lt)):
        wrong = isinstance(bound, bool) or not isinstance(bound, Real) if owner == "Array" else False
        if bound is not None and (wrong or bound != bound):
            raise PolicyError(f"{owner}: {field} must be a number that is not NaN, got {bound!r}")
    low, high = (ge if ge is not None else gt), (le if le is not None else lt)
    if low is None or high is None:
        return
    try:
        crossed, touching = bool(low > high), bool(low == high)
    except TypeError as error:
        raise PolicyError(f"{owner}: the bounds {low!r} and {high!r} cannot be compared: {error}") from error
    if crossed:
        raise PolicyError(f"{owner}: the lower bound {low} is above the upper bound {high}")
    if touching and (gt is not None or lt is not None):
        raise PolicyError(f"{owner}: no value lies between {low} and {high} when they do not count themselves")


def _nan(owner: str, nan: Any) -> None:
    share = isinstance(nan, (int, float)) and not isinstance(nan, bool) and 0 <= nan <= 1
    if nan not in ("reject", "allow") and not share:
        raise PolicyError(f'{owner}: nan must be "reject", "allow" or the largest share allowed in [0, 1], got {nan!r}')


@dataclass(frozen=True, slots=True)
class Array:
    """An array: `shape` in jaxtyping's grammar ("b 32", "*batch d", "_ 3", "..."; None: any), `dtype` by name
    ("float32"; None: any), bounds on every value, and what NaN means ("reject", "allow", or a largest share).
    `seen` is a learned (low, high) range that only warns.
    """

    shape: str | None = None
    dtype: str | None = None
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    nan: str | float = "reject"
    seen: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        _bounds("Array", self.ge, self.gt, self.le, self.lt)
        _nan("Array", self.nan)
        if self.shape is not None and not isinstance(self.shape, str):
            raise PolicyError(f'Array: shape must be text such as "batch 32", got {self.shape!r}')
        if isinstance(self.dtype, (bool, int, float, list, tuple, dict)):
            raise PolicyError(f'Array: dtype must be a name such as "float32", got {self.dtype!r}')
        if self.dtype is not None and not isinstance(self.dtype, str):
            named = getattr(self.dtype, "__name__", None) or str(self.dtype)
            object.__setattr__(self, "dtype", named.removeprefix("torch."))


@dataclass(frozen=True, slots=True)
class Col:
    """One column: a Python type or dtype name, bounds, the share of nulls allowed (`nan`), a closed set of values
    (`isin`), and the range a learned schema has `seen`, which only warns.
    """

    dtype: Any = None
    ge: Any = None
    gt: Any = None
    le: Any = None
    lt: Any = None
    nan: str | float = "reject"
    isin: tuple[Any, ...] | None = None
    seen: tuple[Any, Any] | None = None
    required: bool = True

    def __post_init__(self) -> None:
        _bounds("Col", self.ge, self.gt, self.le, self.lt)
        _nan("Col", self.nan)
        if isinstance(self.dtype, (bool, int, float, list, tuple, dict)):
            raise PolicyError(f"Col: dtype must be a type or a name such as 'float32', got {self.dtype!r}")
        if isinstance(self.isin, (str, bytes)):
            raise PolicyError(f"Col: isin must be a list of values, got the text {self.isin!r}")
        if self.isin is not None:
            object.__setattr__(self, "isin", tuple(self.isin))


@dataclass(frozen=True, slots=True, init=False)
class Frame:
    """A pandas or polars frame: its columns by name. `extra="forbid"` rejects columns that are not listed."""

    columns: tuple[tuple[str, Col], ...]
    extra: str
    min_rows: int

    def __init__(self, columns: Mapping[str, Any], *, extra: str = "allow", min_rows: int = 0) -> None:
        if extra not in ("allow", "forbid"):
            raise PolicyError(f'Frame: extra must be "allow" or "forbid", got {extra!r}')
        if not isinstance(columns, Mapping):
            raise PolicyError(f"Frame: columns must be a mapping of names to schemas, got {columns!r}")
        if isinstance(min_rows, bool) or not isinstance(min_rows, int) or min_rows < 0:
            raise PolicyError(f"Frame: min_rows must be a whole number of at least 0, got {min_rows!r}")
        pairs = tuple((str(name), col if isinstance(col, Col) else Col(col)) for name, col in dict(columns).items())
        if not pairs:
            raise PolicyError("Frame: name at least one column")
        object.__setattr__(self, "columns", pairs)
        object.__setattr__(self, "extra", extra)
        object.__setattr__(self, "min_rows", int(min_rows))

    def __reduce__(self) -> Any:
        return _frame, (dict(self.columns), self.extra, self.min_rows)


def _frame(columns: dict[str, Col], extra: str, min_rows: int) -> Frame:
    return Frame(columns, extra=extra, min_rows=min_rows)
