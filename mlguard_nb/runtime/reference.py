"""What the training data looked like, and how far the data served now has moved from it.

A Reference keeps, for every column, quantile edges, moments and the share of nulls. Three distances are measured:
the population stability index over ten quantile bins (Siddiqi 2006: below 0.1 stable, above 0.25 shifted), the
Kolmogorov-Smirnov distance between the two distribution functions, and the shift of the mean in training standard
deviations.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlguard_nb.errors import PolicyError, Violation
from mlguard_nb.runtime.arrays import SAMPLE_VALUES, as_numpy, is_array
from mlguard_nb.runtime.frames import is_frame
from mlguard_nb.runtime.reductions import extremes

__all__ = ["Drift", "Profile", "Reference", "numeric_columns"]

BINS = 10
_FORMAT = 1
# A bin that one side leaves empty would make the index infinite; this is the usual floor.
_FLOOR = 1e-4


@dataclass(frozen=True, slots=True)
class Profile:
    """One column of the training data. `edges` are BINS + 1 quantiles, `shares` the training share of each bin,
    `grid` 101 percentiles for the KS distance, `nulls` the share of nulls in [0, 1], `rows` how many rows were seen.
    """

    edges: tuple[float, ...]
    shares: tuple[float, ...]
    grid: tuple[float, ...]
    mean: float
    std: float
    nulls: float
    rows: int


@dataclass(frozen=True, slots=True)
class Drift:
    """How far one column has moved: `psi` (0 is none, above 0.25 is a shift), `ks` in [0, 1], `mean_shift` in
    training standard deviations, `nulls` the change of the share of nulls. `rows` is the number of new rows compared.
    """

    column: str
    psi: float
    ks: float
    mean_shift: float
    nulls: float
    rows: int

    @property
    def is_shifted(self) -> bool:
        """Whether the column no longer looks like the training data (psi above 0.25)."""
        return self.psi > 0.25


@dataclass(frozen=True, slots=True)
class Reference:
    """The profile of a training set, kept as JSON beside a model. Build it with `Reference.fit(X)`."""

    columns: tuple[tuple[str, Profile], ...]

    @classmethod
    def fit(cls, data: Any) -> Reference:
        """Learn the profile of the numeric columns of a frame (pandas, polars) or of an array of shape (rows,) or
        (rows, columns), whose columns are then named "0", "1", and so on. PolicyError where there are none.
        """
        found = tuple((name, _profile(numbers)) for name, numbers in numeric_columns(data))
        if not found:
            raise PolicyError("Reference.fit: there is no numeric column with a finite value to learn from")
        return cls(found)

    def compare(self, data: Any) -> tuple[Drift, ...]:
        """How far each column of `data` has moved, in the reference's order; a column that is missing is left out,
        since the schema reports that.
        """
        return self.compare_columns(dict(numeric_columns(data)))

    def compare_columns(self, there: Mapping[str, Any]) -> tuple[Drift, ...]:
        """The same for columns already taken apart: name to values, nulls as NaN."""
        return tuple(_drift(name, profile, there[name]) for name, profile in self.columns if name in there)

    def check(self, name: str, data: Any, depth: str = "full") -> tuple[list[Violation], list[Violation]]:
        """(violations, what is only unusual) of an argument `name`: every column must be there and hold numbers; values
        outside the range of the training data are unusual. `depth` as of validate_input.
        """
        try:
            there = dict(numeric_columns(data))
        except PolicyError as error:
            return [Violation(name, "dtype", "numeric columns as in the training data", str(error))], []
        broken: list[Violation] = []
        unusual: list[Violation] = []
        for column, profile in self.columns:
            where = f"{name}.{column}"
            if column not in there:
                found = ", ".join(list(there)[:8]) or "none"
                broken.append(Violation(where, "column", "a numeric column as in the training data", f"only {found}"))
            elif depth != "schema" and there[column].size:
                step = max(1, there[column].size // SAMPLE_VALUES) if depth == "sample" else 1
                low, high = _finite_extremes(there[column][::step])
                if low < profile.edges[0] or high > profile.edges[-1]:
                    expected = f"between {profile.edges[0]:.6g} and {profile.edges[-1]:.6g}"
                    unusual.append(Violation(where, "seen", expected, f"between {low:.6g} and {high:.6g}"))
        if is_array(data) and len(there) > len(self.columns):  # with one column more the others mean something else
            broken.append(Violation(name, "column", f"{len(self.columns)} columns", f"{len(there)}"))
        return broken, unusual

    def to_json(self) -> str:
        """The reference as JSON text."""
        body = {name: asdict(profile) for name, profile in self.columns}
        return json.dumps({"format": _FORMAT, "columns": body}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Reference:
        """The reference that `to_json` wrote; PolicyError where the text is not one."""
        try:
            body = json.loads(text)
            columns = tuple((name, _read_profile(profile)) for name, profile in body["columns"].items())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PolicyError(f"this is no reference written by Reference.to_json: {error}") from error
        return cls(columns)

    def save(self, path: str | Path) -> Path:
        """Write the JSON to `path`."""
        target = Path(path)
        target.write_text(self.to_json() + "\n", encoding="utf-8")
        return target

    @classmethod
    def load(cls, path: str | Path) -> Reference:
        """Read what `save` wrote."""
        return cls.from_json(Path(path).read_text(encoding="utf-8"))


def _read_profile(body: Mapping[str, Any]) -> Profile:
    lists = {name: tuple(float(edge) for edge in body[name]) for name in ("edges", "shares", "grid")}
    return Profile(
        mean=float(body["mean"]), std=float(body["std"]), nulls=float(body["nulls"]), rows=int(body["rows"]), **lists
    )


def numeric_columns(data: Any) -> Iterator[tuple[str, Any]]:
    """(name, values) of each numeric column, float64 with nulls as NaN where it is a frame's."""
    import numpy as np

    if is_frame(data):
        for name in data.columns:
            series = data[name]
            if type(series).__module__.partition(".")[0] == "polars":
                if series.dtype.is_numeric():
                    yield str(name), series.cast(float).fill_null(math.nan).to_numpy()
            elif getattr(series.dtype, "kind", "O") in "fiu":
                yield str(name), series.to_numpy(dtype="float64", na_value=np.nan)
        return
    if not is_array(data) and not isinstance(data, (list, tuple)):
        raise PolicyError(f"a reference is learned from a frame or an array, not from {type(data).__name__}")
    numbers = as_numpy(data)
    if numbers.dtype.kind not in "fiu":
        raise PolicyError(f"a reference needs numbers, found {numbers.dtype}")
    table = numbers.reshape(len(numbers), -1) if numbers.ndim else numbers.reshape(1, 1)
    for position in range(table.shape[1]):
        yield str(position), table[:, position]


def _finite_extremes(numbers: Any) -> tuple[float, float]:
    """(smallest, largest) of the values that are finite; (inf, -inf) where none is."""
    import numpy as np

    low, high = extremes(numbers)
    if math.isfinite(low) and math.isfinite(high):
        return low, high
    finite = numbers[np.isfinite(numbers)]
    return (float(finite.min()), float(finite.max())) if finite.size else (math.inf, -math.inf)


def _profile(numbers: Any) -> Profile:
    import numpy as np

    there = numbers[np.isfinite(numbers)].astype("float64")
    if there.size == 0:
        raise PolicyError("Reference.fit: a column holds no finite value; leave it out")
    edges = np.quantile(there, np.linspace(0, 1, BINS + 1))
    shares = _shares(there, np.unique(edges))
    return Profile(
        edges=tuple(np.unique(edges).tolist()),
        shares=tuple(shares.tolist()),
        grid=tuple(np.quantile(there, np.linspace(0, 1, 101)).tolist()),
        mean=float(there.mean()),
        std=float(there.std()),
        nulls=float(1 - there.size / numbers.size),
        rows=int(numbers.size),
    )


def _shares(values: Any, edges: Any) -> Any:
    """The share of values in each bin; the outer bins are open, so that every value has one."""
    import numpy as np

    inner = edges[1:-1]
    places = np.searchsorted(inner, values, side="right")
    return np.bincount(places, minlength=len(inner) + 1) / max(1, values.size)


def _drift(name: str, profile: Profile, numbers: Any) -> Drift:
    import numpy as np

    there = numbers[np.isfinite(numbers)].astype("float64")
    nulls = float(1 - there.size / max(1, numbers.size)) - profile.nulls
    if there.size == 0:
        return Drift(name, math.inf, 1.0, math.inf, nulls, int(numbers.size))
    before = np.maximum(np.array(profile.shares), _FLOOR)
    now = np.maximum(_shares(there, np.array(profile.edges)), _FLOOR)
    psi = float(((now - before) * np.log(now / before)).sum())
    grid = np.array(profile.grid)
    share_before = np.searchsorted(grid, grid, side="right") / grid.size
    share_now = np.searchsorted(np.sort(there), grid, side="right") / there.size
    ks = float(np.abs(share_now - share_before).max())
    spread = profile.std or abs(profile.mean) or 1.0
    return Drift(name, psi, ks, float((there.mean() - profile.mean) / spread), nulls, int(numbers.size))
