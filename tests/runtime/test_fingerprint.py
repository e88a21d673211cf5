"""Fingerprints: equal exactly where the content is equal."""

from __future__ import annotations

import array
import dataclasses
import datetime as dt
import enum
import functools
import json
import re
import subprocess
import sys
import threading
from collections import OrderedDict, defaultdict, deque, namedtuple
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from mlguard_nb.errors import PolicyError
from mlguard_nb.runtime import fingerprint
from mlguard_nb.runtime.reach import reach_of


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@dataclasses.dataclass
class Point:
    x: float
    y: float


class Model(BaseModel):
    a: int


class Level(enum.IntEnum):
    LOW = 1


class Word(str, enum.Enum):
    A = "a"


class Registered:
    """Its class holds an object of it."""


Registered.all = [Registered()]  # type: ignore[attr-defined]
Pair = namedtuple("Pair", "a b")
RNG = np.random.default_rng(0)
ARRAY = RNG.random((4, 6))


DIFFERENT: list[Any] = [
    None, 0, False, 0.0, -0.0, "", b"", (), [], {}, set(), frozenset(), bytearray(),
    1, True, 1.0, 1 + 0j, "1", b"1", (1,), [1], {1: 1}, {1}, frozenset({1}),
    (1, 2), (12,), ("1", "2"), ("12",), ((1,), 2), (1, (2,)), ["ab", "c"], ["a", "bc"],
    {"a": 1, "b": 2}, {"a": 12}, 10**30, 2**4000, float("nan"), float("inf"), range(3), range(0, 3, 2), slice(3), ...,
    Colour.RED, Colour.BLUE, Point(1, 2), Point(2, 1), Pair(1, 2), OrderedDict(a=1),
    dt.date(2026, 1, 2), dt.datetime(2026, 1, 2, tzinfo=dt.timezone.utc), dt.timedelta(1), Path("a"), Path("b"),
    np.int64(1), np.float32(1), np.float64(1), ARRAY, ARRAY.astype("float32"), ARRAY.T, ARRAY.reshape(6, 4), ARRAY[::2],
    np.zeros(3), np.zeros(3, "int64"), np.zeros((3, 1)), np.zeros(0), np.array(["a", "bc"]), np.array(["ab", "c"]),
    np.array(["a", "bc"], dtype=object), np.array(["ab", "c"], dtype=object), np.array([1, "1"], dtype=object),
    np.array(["2026-01-01"], dtype="M8[D]"), np.array(["2026-01-01"], dtype="M8[s]"),
    np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]), np.array([(1, 2.0)], dtype=[("a", "i4"), ("c", "f8")]),
    np.ma.masked_array([1, 2], [True, False]), np.ma.masked_array([1, 2], [False, True]),
    pd.DataFrame({"a": [1, 2]}), pd.DataFrame({"b": [1, 2]}), pd.DataFrame({"a": [1.0, 2.0]}), pd.DataFrame({"a": [2, 1]}),
    pd.DataFrame({"a": [1, 2]}, index=[1, 2]), pd.DataFrame({"a": ["x", None]}), pd.DataFrame({"a": ["x", "None"]}),
    pd.DataFrame({"a": pd.Categorical(["x", "y"])}), pd.DataFrame({"a": pd.Categorical(["x", "y"], ordered=True)}),
    pd.DataFrame({"a": pd.date_range("2026", periods=2)}), pd.DataFrame({"a": pd.date_range("2026", periods=2, tz="UTC")}),
    pd.DataFrame({"a": pd.array([1, None], dtype="Int64")}), pd.DataFrame({"a": pd.array([1, 0], dtype="Int64")}),
    pd.Series([1, 2]), pd.Series([1, 2], name="n"), pd.Index([1, 2]), pd.MultiIndex.from_tuples([(1, 2)]),
    Level.LOW, Word.A, "a", Registered(), defaultdict(int, a=1), defaultdict(float, a=1), deque([1, 2], maxlen=2),
    np.ma.masked_array([1, 3], [False, True]), np.ma.masked_array([1, 3], [False, True], fill_value=7),
    deque([1, 2]), deque([12]), array.array("i", [1, 2]), array.array("d", [1, 2]), re.compile("a"), re.compile("a", re.DOTALL),
    SimpleNamespace(a=1), SimpleNamespace(a=2), Model(a=1), Model(a=2), functools.partial(max, 1),
    functools.partial(max, 2), MappingProxyType({"a": 1}),
    pd.Timestamp("2026"), pd.NA, int, float, Point, len, np.sum, lambda x: x, lambda x: x + 1,
]  # fmt: skip


def test_different_contents_never_share_a_fingerprint() -> None:
    """Over every type that is read, among them the pairs that str() or == would take for one."""
    seen: dict[bytes, Any] = {}
    for value in DIFFERENT:
        mark = fingerprint.of(value)
        assert mark not in seen, f"{value!r} and {seen[mark]!r} share a fingerprint"
        seen[mark] = value


def test_sparse_matrices_and_attrs_classes_are_read() -> None:
    """By what they hold."""
    attrs = pytest.importorskip("attrs", reason="NOT TESTED: attrs is not installed")
    sparse = pytest.importorskip("scipy.sparse", reason="NOT TESTED: scipy is not installed")
    point = attrs.make_class("P", ["x"])
    for make in (point, lambda x: sparse.csr_matrix([[x, 0]]), lambda x: sparse.coo_array([[0, x]])):
        assert fingerprint.of(make(1)) == fingerprint.of(make(1)) != fingerprint.of(make(2))


def test_equal_contents_share_one() -> None:
    """A copy has the fingerprint of its original, whatever its memory layout."""
    for value in (ARRAY, pd.DataFrame({"a": [1, 2], "b": ["x", None]}), pd.Series(["a", "b"])):
        assert fingerprint.of(value) == fingerprint.of(value.copy())
    assert fingerprint.of(ARRAY[:, ::2]) == fingerprint.of(ARRAY[:, ::2].copy())
    assert fingerprint.of({3, 1, 2}) == fingerprint.of({2, 3, 1})
    assert fingerprint.of(Point(1, 2)) == fingerprint.of(Point(1, 2))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
)


def typed(value: Any) -> Any:
    """The value with its types spelt out, so that == tells 1 from True."""
    if isinstance(value, (list, tuple)):
        return type(value), [typed(item) for item in value]
    if isinstance(value, dict):
        return dict, [(key, typed(item)) for key, item in value.items()]
    return type(value), repr(value)


@given(VALUES, VALUES)
def test_fingerprints_agree_exactly_where_typed_values_do(one: Any, other: Any) -> None:
    """A law over nested plain values."""
    assert (fingerprint.of(one) == fingerprint.of(other)) == (typed(one) == typed(other))


@given(st.lists(st.text()), st.lists(st.text()))
def test_text_columns_never_run_into_each_other(one: list[str], other: list[str]) -> None:
    """Columns of text are hashed in one piece, and still ("a", "bc") is not ("ab", "c")."""
    marks = [fingerprint.of(np.array(column, dtype=object)) for column in (one, other)]
    assert (marks[0] == marks[1]) == (one == other)


@pytest.mark.parametrize("value", [object(), threading.Lock(), iter([1]), zip(), np.random.default_rng(0)])
def test_an_object_without_content_is_an_error_that_names_it(value: Any) -> None:
    """Never its repr or its id; the message says where it was and what to do."""
    with pytest.raises(PolicyError, match=r"rows\[1\] is of type .*key=.*ignore="):
        fingerprint.of([1, value], name="rows")


def test_a_value_that_contains_itself_is_an_error() -> None:
    """Not an endless recursion."""
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(PolicyError, match="contains itself"):
        fingerprint.of(loop)


def test_a_million_numbers_are_hashed_in_place() -> None:
    """Large arrays are not copied on their way into the hash."""
    import tracemalloc

    large = np.zeros(4_000_000)
    fingerprint.of(large)
    tracemalloc.start()
    fingerprint.of(large)
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def test_fitted_estimators_are_read_by_their_state() -> None:
    """Two fits on other data differ, two on the same data agree."""
    models = pytest.importorskip("sklearn.linear_model", reason="NOT TESTED: scikit-learn is not installed")
    x, y = RNG.random((20, 2)), np.array([0, 1] * 10)
    one = models.LogisticRegression().fit(x, y)
    assert fingerprint.of(one) == fingerprint.of(models.LogisticRegression().fit(x, y))
    assert fingerprint.of(one) != fingerprint.of(models.LogisticRegression().fit(x * 2, y))
    assert fingerprint.of(one) != fingerprint.of(models.LogisticRegression(C=2).fit(x, y))


def test_a_watched_file_counts_with_its_content_s_marks(tmp_path: Path) -> None:
    """The same name with another file behind it is another value, only where files are watched."""
    path = tmp_path / "data.csv"
    path.write_text("1")
    before, unwatched = fingerprint.of(str(path), watch_files=True), fingerprint.of(str(path))
    as_path = fingerprint.of([path], watch_files=True)
    path.write_text("1,2")
    assert fingerprint.of(str(path), watch_files=True) != before
    assert fingerprint.of([path], watch_files=True) != as_path
    assert fingerprint.of(str(path)) == unwatched


def test_it_is_the_same_in_another_process() -> None:
    """Hash seeds and ids do not enter."""
    program = (
        "from mlguard_nb.runtime import fingerprint\nimport numpy as np\n"
        "def f(x):\n    return x + 1\n"
        "print(fingerprint.of(({'a', 'b', 'c'}, {'k': 1.5}, np.arange(5), f)).hex())"
    )
    runs = {
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    assert len(runs) == 1


# Code.


def load(source: str, **names: Any) -> Any:
    """The namespace of a user's module with this source."""
    namespace: dict[str, Any] = {"__name__": "__main__", **names}
    exec(source, namespace)
    return namespace


def test_code_counts_and_comments_do_not() -> None:
    """Another comment or line is the same code; another constant is not."""
    one = load("def f(x):\n    return x + 1\n")["f"]
    same = load("# a comment\n\ndef f(x):\n    return x + 1  # more\n")["f"]
    other = load("def f(x):\n    return x + 2\n")["f"]
    assert fingerprint.code_of(one) == fingerprint.code_of(same)
    assert fingerprint.code_of(one) != fingerprint.code_of(other)


@pytest.mark.parametrize(
    "source",
    [
        "def g(x): return x {}\ndef f(x): return g(x)",
        "def h(x): return x {}\ndef g(x): return h(x)\ndef f(x): return g(x)",
        "class G:\n    def run(self, x): return x {}\ndef f(x): return G().run(x)",
        "class B:\n    def run(self, x): return x {}\nclass G(B): pass\ndef f(x): return G().run(x)",
        "class G:\n    @staticmethod\n    def run(x): return x {}\ndef f(x): return G.run(x)",
        "class G:\n    @property\n    def v(self): return 1 {}\ndef f(x): return G().v",
        "LIMIT = 1 {}\ndef f(x): return x * LIMIT",
        "def make(n):\n    def f(x): return x + n\n    return f\nf = make(1 {})",
        "def f(x, y=1 {}): return x + y",
        "f = lambda x: [i {} for i in x]",
        "import enum\nclass G(enum.IntEnum):\n    A = 1 {}\ndef f(): return G.A.value",
        "class G:\n    sizes = (1 {}, 2)\ndef f(): return G.sizes",
        "class M(type):\n    def run(cls): return 1 {}\nclass G(metaclass=M): pass\ndef f(): return G.run()",
        "import functools\n@functools.lru_cache\ndef g(x): return x {}\ndef f(x): return g(x)",
        "import functools\nclass G:\n    @functools.cached_property\n    def v(self): return 1 {}\ndef f(): return G().v",
        "from pydantic import BaseModel\nclass G(BaseModel):\n    a: int = 1 {}\ndef f(): return G().a",
        "import functools\ndef deco(g):\n    @functools.wraps(g)\n    def run(x): return g(x) {}\n    return run\n"
        "@deco\ndef f(x): return x",
    ],
)
def test_what_the_code_reaches_counts(source: str) -> None:
    """Functions, methods, base classes, constants, closures and defaults, however far away."""
    marks = [fingerprint.code_of(load(source.format(text))["f"]) for text in ("+ 0", "+ 0", "+ 7")]
    assert marks[0] == marks[1]
    assert marks[0] != marks[2]


def test_recursion_ends() -> None:
    """Functions that call each other are followed once."""
    assert len(fingerprint.code_of(load("def f(x): return g(x)\ndef g(x): return f(x)")["f"])) == 16


def test_modules_that_import_each_other_are_followed_once(tmp_path: Path) -> None:
    """`import churn` inside churn/steps.py is most common, and then churn.steps.churn.steps has no end."""
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\nimport churn.steps\nfrom mlguard_nb.runtime import fingerprint\n"
        "def outside(x): return churn.steps.run(x)\nprint(fingerprint.code_of(outside).hex())"
    )
    (tmp_path / "churn").mkdir()
    (tmp_path / "churn" / "__init__.py").write_text("import sys\nitself = sys.modules[__name__]\n")
    marks = []
    for limit in (1, 1, 2):
        (tmp_path / "churn" / "steps.py").write_text(
            f"import churn\nLIMIT = {limit}\ndef run(x): return churn.steps.churn.itself.steps.LIMIT * x"
        )
        done = subprocess.run([sys.executable, "-B", "-c", program, str(tmp_path)], capture_output=True, text=True)
        assert not done.stderr
        marks.append(done.stdout)
    assert marks[0] == marks[1] != marks[2]


def test_classes_of_libraries_count_by_name_and_release() -> None:
    """A frame's class is part of the key of a call that is stored on disk; nobody follows it through all of pandas."""
    polars = pytest.importorskip("polars")
    classes = [pd.DataFrame, pd.Series, np.ndarray, polars.DataFrame, polars.Series, int, dict, Point, Colour]
    marks = {fingerprint.of(kind) for kind in classes}
    assert len(marks) == len(classes)
    assert {fingerprint.of(kind) for kind in classes} == marks
    assert fingerprint.of(json.dumps) != fingerprint.of(json.loads)


def test_libraries_count_by_name_only() -> None:
    """A function of numpy is not read, one of another library's is another name."""
    one = load("import numpy as np\ndef f(x): return np.sum(x)")["f"]
    other = load("import numpy as np\ndef f(x): return np.prod(x)")["f"]
    assert fingerprint.code_of(one) != fingerprint.code_of(other)


def test_an_installed_package_is_followed_from_inside_itself(tmp_path: Path) -> None:
    """A new release with other helpers is other code; to everybody else it is a library, known by name."""
    program = (
        "import sys, sysconfig; sys.path.insert(0, sys.argv[1]); real = sysconfig.get_paths\n"
        "sysconfig.get_paths = lambda *a, **k: {**real(*a, **k), 'purelib': sys.argv[1]}\n"
        "from churn import steps\nfrom mlguard_nb.runtime import fingerprint\n"
        "def outside(x): return steps.run(x)\n"
        "print(fingerprint.code_of(steps.run).hex(), fingerprint.code_of(outside).hex())"
    )
    (tmp_path / "churn").mkdir()
    (tmp_path / "churn" / "__init__.py").write_text("")
    (tmp_path / "churn" / "steps.py").write_text("from churn.clean import clean\ndef run(x): return clean(x)")
    marks = []
    for release in (1, 2):
        (tmp_path / "churn" / "clean.py").write_text(f"def clean(x): return x + {release}" + " " * release)
        command = [sys.executable, "-B", "-c", program, str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        marks.append(done.stdout.split())
    assert marks[0][0] != marks[1][0]
    assert marks[0][1] == marks[1][1]


def test_a_compiled_function_counts_by_name() -> None:
    """Cython keeps the type of its functions in a module without a file, which is nobody's own code all the same."""
    sparse = pytest.importorskip("sklearn.utils.sparsefuncs_fast")
    one, other = sparse.csc_mean_variance_axis0, sparse.csr_mean_variance_axis0
    assert type(one).__name__ == "cython_function_or_method"
    assert fingerprint.of(one) == fingerprint.of(one) != fingerprint.of(other)
    made = load("def f(x): return compiled(x)")
    made["compiled"] = one
    assert reach_of(made["f"]).data == ()


PLAIN = """
class Base:
    __slots__ = ("a", "__b")
    def __init__(self, a, b): self.a, self.__b = a, b
class Model(Base):
    def __init__(self, a, b, c): super().__init__(a, b); self.c = c
    def score(self, x): return x {change}
"""


def test_an_object_of_a_users_class_counts_by_what_it_holds() -> None:
    """Its dictionary, its slots (those of its bases and private ones too) and the code of its class."""

    def mark(*content: Any, change: str = "") -> bytes:
        return fingerprint.of(load(PLAIN.format(change=change))["Model"](*content))

    same = mark(1, [2], 3)
    assert same == mark(1, [2], 3)
    assert len({same, mark(9, [2], 3), mark(1, [9], 3), mark(1, [2], 9), mark(1, [2], 3, change="+ 1")}) == 5


def test_an_object_with_something_opaque_inside_names_it() -> None:
    model = load(PLAIN.format(change=""))["Model"](1, 2, threading.Lock())
    with pytest.raises(PolicyError, match=r"model\.c is of type _thread\.lock"):
        fingerprint.of(model, name="model")


def test_an_object_that_lies_partly_in_c_has_no_content() -> None:
    """A user's subclass of an iterator of the standard library: its position is in no attribute."""
    walk = load("import itertools\nclass Walk(itertools.count): pass")["Walk"]()
    with pytest.raises(PolicyError, match="which has no content"):
        fingerprint.of(walk)
