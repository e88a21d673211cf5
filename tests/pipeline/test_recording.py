"""Equal means what a data scientist means by it, and a summary notices what changed."""

from __future__ import annotations

import datetime as dt
import json
import math
import pickle
import threading
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlguard_nb.pipeline import equal, summarise
from mlguard_nb.pipeline.portable import portable, type_name
from mlguard_nb.pipeline.recording import check_recorded, differences, recorded_text, summary

pd = pytest.importorskip("pandas")
Point = namedtuple("Point", "x y")


@dataclass
class Model:
    weights: Any
    name: str = "m"


class Plain:
    def __init__(self, value: Any) -> None:
        self.value = value


EQUAL = {
    "int": lambda: 3,
    "nan": lambda: math.nan,
    "text": lambda: "naïve \udc80",
    "nested": lambda: {"a": [1, (2.5, None)], 3: {4, 5}},
    "array": lambda: np.arange(6.0).reshape(2, 3),
    "array with nan": lambda: np.array([1.0, np.nan]),
    "strings": lambda: np.array(["a", "bc"]),
    "objects": lambda: np.array([1, "a", None], dtype=object),
    "structured": lambda: np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    "masked": lambda: np.ma.masked_array([1, 2], mask=[True, False]),
    "dates": lambda: np.array(["2024-01-01", "NaT"], dtype="datetime64[D]"),
    "frame": lambda: pd.DataFrame({"a": [1, 2], "b": ["x", None], "c": pd.to_datetime(["2024-01-01", None])}),
    "frame twice one column": lambda: pd.DataFrame([[1, 2]], columns=["a", "a"]),
    "zones": lambda: pd.Series(pd.to_datetime(["2024-01-01"]).tz_localize("UTC")),
    "category": lambda: pd.Series(["a", "b"], dtype="category"),
    "multiindex": lambda: pd.DataFrame({"a": [1, 2]}, index=pd.MultiIndex.from_tuples([(1, "x"), (2, "y")])),
    "period": lambda: pd.period_range("2024-01", periods=3, freq="M"),
    "timestamp": lambda: pd.Timestamp("2024-01-01"),
    "date": lambda: dt.date(2024, 1, 1),
    "decimal": lambda: Decimal("1.10"),
    "path": lambda: Path("a/b"),
    "named tuple": lambda: Point(1, 2),
    "dataclass": lambda: Model(np.ones(3)),
    "plain object": lambda: Plain([1, 2]),
    "ordered": lambda: OrderedDict(a=1),
    "generator": lambda: np.random.default_rng(3),
    "range": lambda: range(5),
}


@pytest.mark.parametrize("name", EQUAL)
def test_a_value_made_twice_is_equal(name: str) -> None:
    """Also after a trip through pickle, as between the two processes of --verify."""
    make = EQUAL[name]
    found = equal(make(), make())
    assert found.equal, found
    assert found.how in ("value", "close", "state")
    travelled = pickle.loads(pickle.dumps(portable(make())))
    assert differences(summary(travelled), summarise(make())) == []
    json.dumps(summary(travelled), allow_nan=False)


DIFFERENT = {
    "type": (1, 1.0, "type int, then float"),
    "bool is no int": (True, 1, "type"),
    "numpy scalar": (np.float64(1), 1.0, "type"),
    "beyond the tolerance": (1.0, 1.00001, "1.0, then"),
    "one element": (np.zeros(3), np.array([0, 0, 1.0]), "1 of 3 differ, first at 2"),
    "integers are exact": (np.array([10**9]), np.array([10**9 + 1]), "1 of 1"),
    "dtype": (np.zeros(2, "f4"), np.zeros(2), "dtype"),
    "shape": (np.zeros((2, 1)), np.zeros((1, 2)), "shape"),
    "column": (pd.DataFrame({"a": [1.0]}), pd.DataFrame({"a": [2.0]}), "column a"),
    "column name": (pd.DataFrame({"a": [1]}), pd.DataFrame({"b": [1]}), "columns"),
    "index": (pd.Series([1], index=[0]), pd.Series([1], index=[7]), "index"),
    "column dtype": (pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [1.0]}), "dtype"),
    "key": ({"a": 1}, {"b": 1}, "keys differ"),
    "deep": ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}, "a'"),
    "length": ([1], [1, 2], "1 items, then 2"),
    "state": (Plain(1), Plain(2), "value: 1, then 2"),
    "list and tuple": ([1], (1,), "type"),
    "nan": (math.nan, 0.0, "nan"),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_a_difference_is_found_and_placed(name: str) -> None:
    """The detail says where the first difference is."""
    one, other, expected = DIFFERENT[name]
    found = equal(one, other)
    assert not found.equal
    assert expected in found.detail
    assert differences(summarise(one), summarise(other)), "the summary must notice it too"


def test_rounding_is_no_difference() -> None:
    """Sums in another order differ in the last digits."""
    assert equal(0.1 + 0.2, 0.3).how == "close"
    assert equal(np.array([0.1 + 0.2]), np.array([0.3])).equal
    assert equal(np.array([0.1 + 0.2], "f4"), np.array([0.30000004], "f4")).equal
    assert equal(pd.DataFrame({"a": [0.1 + 0.2]}), pd.DataFrame({"a": [0.3]})).equal


def test_estimators_compare_by_parameters_and_fitted_attributes() -> None:
    """The same fit is equal, another seed is not, and parameters at their default are not listed."""
    ensemble = pytest.importorskip("sklearn.ensemble")
    x, y = np.arange(40.0).reshape(20, 2), np.arange(20) % 2

    def fit(seed: int) -> Any:
        return ensemble.RandomForestClassifier(n_estimators=3, random_state=seed).fit(x, y)

    assert equal(fit(1), fit(1)).how == "state"
    assert not equal(fit(1), fit(2)).equal
    kept = summarise(fit(1))
    assert kept["type"] == "sklearn.ensemble.RandomForestClassifier"
    assert kept["params"] == {
        "n_estimators": {"type": "int", "value": 3},
        "random_state": {"type": "int", "value": 1},
    }
    assert kept["fitted"]["n_features_in_"]["value"] == 2


def test_functions_and_modules_compare_by_kind() -> None:
    """Their content is code; the report says that only the kind was compared."""
    assert equal(lambda: 1, lambda: 2).how == "kind"
    assert equal(math, math).how == "kind"
    assert not equal(math, json).equal


def _picture(draw: Any) -> Any:
    figure = pytest.importorskip("matplotlib.figure").Figure()
    draw(figure.subplots())
    return figure


_PICTURES: dict[str, tuple[Any, Any]] = {
    "a line": (lambda ax: ax.plot([1, 2], [3, 4]), lambda ax: ax.plot([1, 2], [3, 5])),
    "one line more": (lambda ax: ax.plot([1, 2]), lambda ax: (ax.plot([1, 2]), ax.plot([1, 2]))),
    "points": (lambda ax: ax.scatter([1, 2], [3, 4]), lambda ax: ax.scatter([1, 2], [3, 5])),
    "points by value": (lambda ax: ax.scatter([1, 2], [3, 4], c=[0, 1]), lambda ax: ax.scatter([1, 2], [3, 4], c=[0, 2])),
    "bars": (lambda ax: ax.bar(["a", "b"], [3, 4]), lambda ax: ax.bar(["a", "b"], [3, 5])),
    "a histogram": (lambda ax: ax.hist([1, 2, 2]), lambda ax: ax.hist([1, 1, 2])),
    "an image": (lambda ax: ax.imshow([[1, 2]]), lambda ax: ax.imshow([[1, 3]])),
    "an area": (lambda ax: ax.fill_between([1, 2], [3, 4]), lambda ax: ax.fill_between([1, 2], [3, 5])),
    "a title": (lambda ax: ax.set_title("sales"), lambda ax: ax.set_title("costs")),
    "a text": (lambda ax: ax.text(0, 0, "sales"), lambda ax: ax.text(0, 0, "costs")),
    "a scale": (lambda ax: ax.set_yscale("log"), lambda ax: ax.set_yscale("linear")),
}  # fmt: skip


@pytest.mark.parametrize("what", _PICTURES)
def test_pictures_compare_by_what_they_show(what: str) -> None:
    """The same data drawn again is equal, another is not; style is no difference. The axes compare as the figure does."""
    draw, otherwise = _PICTURES[what]
    one, again, other = _picture(draw), _picture(draw), _picture(otherwise)
    again.set_facecolor("black")
    again.set_size_inches(2, 2)
    assert equal(one, again) == equal(one.axes[0], again.axes[0])
    assert (equal(one, again).equal, equal(one, again).how) == (True, "drawing")
    assert not equal(one, other).equal
    assert not equal(one.axes[0], other.axes[0]).equal


def test_a_drawing_in_space_compares_by_its_words() -> None:
    """What its lines hold depends on whether it was drawn already."""
    figure = pytest.importorskip("matplotlib.figure")
    drawn, fresh = figure.Figure(), figure.Figure()
    for one in (drawn, fresh):
        one.add_subplot(projection="3d").plot([1, 2], [3, 4], [5, 6])
    drawn.canvas.draw()
    assert equal(drawn, fresh).equal


def test_another_librarys_figure_compares_by_kind() -> None:
    lines = pytest.importorskip("matplotlib.lines")
    assert equal(lines.Line2D([1], [2]), lines.Line2D([1], [3])).how == "kind"


def test_what_cannot_be_looked_into_compares_by_type_only() -> None:
    assert equal(threading.Lock(), threading.Lock()).how == "type only"
    assert equal((n for n in [1]), (n for n in [2])).how == "type only"


def test_what_an_object_only_remembers_for_later_is_no_difference() -> None:
    """A display that was dropped may have filled a cache, and a namespace that code ran in holds the builtins."""

    class Fit:
        def __init__(self) -> None:
            self.slope = 2.0
            self._cache: dict[str, float] = {}

        @cached_property
        def rounded(self) -> float:
            self._cache["rounded"] = round(self.slope)
            return self._cache["rounded"]

    shown = Fit()
    assert shown.rounded == 2
    assert equal(shown, Fit()).equal
    space: dict[str, object] = {}
    exec("made = 1", space)
    assert equal(space, {"made": 1}).equal


def test_a_cycle_ends() -> None:
    """A list that holds itself, and an object that knows its parent."""
    loop: list[Any] = [1]
    loop.append(loop)
    other: list[Any] = [1]
    other.append(other)
    assert equal(loop, other).equal
    parent = Plain(None)
    parent.value = Plain(parent)
    assert summarise(parent)["type"].endswith("Plain")


def test_classes_of_the_notebook_keep_their_bare_name() -> None:
    """`__main__.Plain` in the notebook and `churn.functions.Plain` in the package are one type."""
    assert type_name(Plain, (Plain.__module__,)) == "Plain"
    assert type_name(pd.DataFrame) == "pandas.DataFrame"
    assert type_name(dict) == "dict"


def test_recorded_values_are_checked_name_by_name(tmp_path: Path) -> None:
    """All differences at once; unstable names only by type; names added later are nobody's concern."""
    first = {"a": 1, "table": pd.DataFrame({"x": [1.0, 2.0]}), "now": 12.5}
    file = tmp_path / "recorded.json"
    kept = {name: portable(value) for name, value in first.items()}
    file.write_text(recorded_text(kept, notebook="n.ipynb", unstable=["now"]))
    check_recorded({**first, "now": 13.5, "extra": 1}, file)
    with pytest.raises(AssertionError) as caught:
        check_recorded({"table": pd.DataFrame({"x": [1.0, 3.0]}), "now": "later"}, file)
    text = str(caught.value)
    assert "a: missing" in text
    assert "table.columns.x.mean: recorded 1.5, found 2.0" in text
    assert "now.type" in text
