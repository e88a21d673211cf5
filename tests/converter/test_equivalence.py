"""The package computes what the notebook computes: both are run, and every value that run() returns is compared."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from mlguard_nb.pipeline.recording import equal
from tests.converter.running import make_notebook, notebook_values, package_values, sources, values_of

# name: (cells, names that run() must return)
CASES: dict[str, tuple[tuple[Any, ...], str]] = {
    "final values that nobody reads": (
        ("import numpy as np\nx = np.arange(5.0)\ny = 2 * x + 1", "slope, offset = np.polyfit(x, y, 1)\nworst = max(abs(y - slope * x - offset))"),
        "x y slope offset worst",
    ),
    "a name bound anew in a later cell": (("x = [1]", "y = x + [2]", "x = y + [3]", "z = len(x)"), "x y z"),
    "an object changed by a later cell": (("rows = []\nsame = rows", "rows.append(1)", "rows += [2]", "n = len(same)"), "rows same n"),
    "a function that reads a variable bound later": (
        ("def scaled(x):\n    return x * factor", "factor = sum([1, 2])", "a = scaled(2)", "factor = a + 1", "b = scaled(2)"),
        "factor a b",
    ),
    "a function handed on that reads a variable rebound later": (
        ("k = int('3')\ndef f(x):\n    return x * k\nfs = [f]", "a = fs[0](2)", "k = a", "b = fs[0](2)"), "k a b",
    ),
    "functions that call each other with variables": (
        ("base = int('10')\ndef inner(x):\n    return x + base\ndef outer(x):\n    return inner(x) * step_size", "step_size = int('2')",
         "a = outer(1)\nb = [outer(i) for i in range(3)]\nc = list(map(lambda v: outer(v), [1, 2]))"), "base step_size a b c",
    ),
    "a parameter that hides the variable": (
        ("model = int('3')\ndef score(x):\n    return x * model", "def both(model):\n    return score(1) + model", "a = both(100)"), "model a",
    ),
    "a counter bound through global": (
        ("count = 0\ndef tick():\n    global count\n    count += 1\n    return count", "tick()\ntick()", "total = count * 10", "tick()\nlast = count"), "count total last",
    ),
    "a global that only the function binds": (("def start():\n    global state\n    state = [1]", "start()", "state.append(2)\nn = len(state)"), "n"),
    "a function defined twice": (
        ("data = [3, 1, 2]\ndef stat(d):\n    return sum(d)\ndef draws(d):\n    return [stat(x) for x in [d, d]]\nnull = draws(data)",
         "def stat(d):\n    return max(d)", "top = stat(data)\nagain = draws(data)"), "data null top again",
    ),
    "a builtin shadowed": (("n = sum([1, 2])\nsum = 5", "m = sum + n", "list = [1]\nk = len(list)"), "n sum m list k"),
    "a builtin read and then shadowed in one cell": (("values = list((1, 2))\nmax = max(values)", "out = max + 1"), "values max out"),
    "names of the scaffolding": (
        ("s = {1}\nsteps = [1, 2]\nstep = 3\nparams = {'a': 1}\nrun = 7\nResults = 1\nPath = 2\nfunctions = 4\nbase_dir = 'x'\nworking_directory = 0\nerror = 1\nAny = 3\nTypedDict = 9",
         "s.add(len(steps) + step + run + params['a'] + Results + Path + functions + working_directory + Any + TypedDict)"),
        "s steps step params run Results Path functions base_dir working_directory error Any TypedDict",
    ),
    "loops that leak names": (("total = 0\nfor i in range(4):\n    square = i * i\n    total += square", "last = i + square"), "total last"),
    "a loop that may not run": (("found = None\nfor item in []:\n    found = item", "ok = found is None"), "found ok"),
    "a name bound on one branch": (("flag = bool(0)\nif flag:\n    extra = 1", "if flag:\n    print(extra)\nz = 1 if flag else 2"), "flag z"),
    "del": (("a = [1]\nb = a", "del a", "c = b + [2]", "a = 5\nd = a"), "b c a d"),
    "literals bound once": (
        ("RATE = 0.2  # a share\nn_rows, n_cols = 3, 4\nnames = ['a', 'b']", "def index_of(r, c):\n    return r * n_cols + c", "i = index_of(1, 2)\nt = RATE * n_rows\nm = [x.upper() for x in names]"),
        "RATE n_rows n_cols names i t m",
    ),
    "a literal list that is changed": (("xs = [1]", "xs.append(2)", "ys = xs\nys.append(3)\nn = len(xs)"), "xs ys n"),
    "classes and super": (
        ("class Base:\n    def __init__(self, name):\n        self.name = name", "class Frame(Base):\n    def __init__(self, name):\n        super().__init__(name)\n        self.size = len(name)", "f = Frame('abc')\nn = f.size\nname = f.name"),
        "n name",
    ),
    "a class that reads a variable": (("rate = float('2')\nclass Model:\n    def predict(self, x):\n        return x * rate", "m = Model()\np = m.predict(3)"), "rate p"),
    "a decorated function": (("import functools\n@functools.lru_cache(maxsize=None)\ndef fib(n):\n    return n if n < 2 else fib(n - 1) + fib(n - 2)", "x = fib(20)"), "x"),
    "a decorator of one's own": (("def twice(f):\n    def inner(x):\n        return f(f(x))\n    return inner", "@twice\ndef add(x):\n    return x + 1", "y = add(1)"), "y"),
    "comprehensions and lambdas over variables": (
        ("k = int('3')", "sq = [k * i for i in range(3)]\nf = lambda x: x + k\ng = f(1)", "k = 10\nh = f(1)"), "k sq g h",
    ),
    "imports in many places": (
        ("import os.path\nfrom math import pi, sqrt", "import math\nfrom math import sqrt as root\nx = root(16) + sqrt(4)", "from math import e\ne = 3\ny = math.floor(pi) + e\nz = os.path.join('a', 'b')"), "x e y z",
    ),
    "an import in try": (("try:\n    import not_there_at_all as fast\nexcept ImportError:\n    fast = None", "have = fast is not None"), "have"),
    "a star import": (("from math import *", "x = floor(2.7) + sqrt(9)\ny = pow(2, 3)"), "x y"),
    "walrus, match and nested functions": (
        ("if (n := len('abc')) > 2:\n    big = True\nelse:\n    big = False", "match [1, 2]:\n    case [a, b]:\n        c = a + b\n    case _:\n        c = 0", "def outer():\n    def inner():\n        return n\n    return inner()\nv = outer()"),
        "n big c v",
    ),
    "a with statement": (("import io\nwith io.StringIO('a b') as handle:\n    text = handle.read()", "words = text.split()"), "text words"),
    "try and finally": (("try:\n    value = int('x')\nexcept ValueError as problem:\n    value = -1\n    message = str(problem)\nfinally:\n    done = True", "r = (value, done)"), "value done r"),
    "a cell that may raise": (("a = 1", ("b = 2\nc = 1 / 0\nd = 3", ["raises-exception"]), "e = a + b"), "a b e"),
    "top-level await": (("import asyncio\nasync def answer():\n    await asyncio.sleep(0)\n    return 42", "x = await answer()", "y = x + 1\nzs = [await answer() for _ in range(2)]"), "x y zs"),
    "exec and eval": (("exec('hidden = 5')\nseen = eval('hidden + 1')", "def add(x):\n    return x + hidden", "y = add(seen)\nglobals()['z'] = 3", "w = z + 1"), "seen y w"),
    "dead stores": (("hits = 0\nlog = []\ntmp = log.append(1)", "tmp = 5\nhits = len([1, 2])", "n = hits + tmp + len(log)"), "hits log tmp n"),
    "parameters": (("base = int('2')", ("alpha = 0.5  # weight\nname = 'x'\nitems = [1, 2]", ["parameters"]), "r = alpha * base\nalpha = 2 * alpha", "q = alpha + len(items)"), "base r alpha q"),
    "two-space and tab indents": (("def f(x):\n  if x:\n    return '''a\n  b'''\n  return ''\nv = f(1)", "for i in range(2):\n\tw = i"), "v"),
    "strings with quotes and backslashes": ((("markdown", '# A "title" with \\ and """quotes"""'), "p = 'C:\\\\x'\nq = \"it's\"\nn = len(p + q)"), "p q n"),
    "statements on one line": (("import math; a = 1; b = math.sqrt(4)", "c = a; d = [c] ; e = b"), "a b c d e"),
    "augmented assignment over cells": (("x = [1]\ny = x", "x += [2]", "z = y"), "x y z"),
    "__name__ at the top": (("result = 0\nif __name__ == '__main__':\n    result = 1", "r = result"), "result r"),
    "numpy in place": (("import numpy as np\na = np.zeros(3)\nb = a[:2]", "a[0] = 5", "c = b.sum()"), "a b c"),
    "pandas chained": (
        ("import pandas as pd\ndf = pd.DataFrame({'a': [1, 2, 3], 'g': list('xyx')})\ndf.head()", "df['b'] = df['a'] * 2\ndf.describe()", "by = df.groupby('g')['b'].sum()\ntop = df.loc[df['b'].idxmax()]"), "df by top",
    ),
    "a random seed": (("import random\nrandom.seed(3)\nimport numpy as np\nnp.random.seed(1)", "a = random.random()\nb = np.random.rand(3)", "c = random.choice([1, 2, 3])"), "a b c"),
    "recursion over a variable": (("limit = int('3')\ndef down(n):\n    return n if n >= limit else down(n + 1)", "x = down(0)\nlimit = 5\ny = down(0)"), "limit x y"),
    "a generator over a variable": (("k = int('2')\ndef gen(n):\n    for i in range(n):\n        yield i * k", "xs = list(gen(3))"), "k xs"),
    "function as default argument": (("k = int('2')\ndef f(x):\n    return x * k\ndef g(x, h=f):\n    return h(x)", "y = g(3)"), "k y"),
    "nested comprehension scopes": (("n = int('2')\nrows = [[j * n for j in range(i)] for i in range(3)]", "flat = [v for row in rows for v in row if v < n * 9]"), "n rows flat"),
    "conditional definition": (("fast = bool(1)\nif fast:\n    def work(x):\n        return x\nelse:\n    def work(x):\n        return -x", "y = work(3)"), "fast y"),
    "variable annotated": (("count: int = int('3')\nother: str", "c = count + 1"), "count c"),
    "dataclass and enum": (("from dataclasses import dataclass, field\nfrom enum import Enum\n@dataclass(frozen=True)\nclass P:\n    x: int\n    tags: list = field(default_factory=list)\nclass C(Enum):\n    A = 1\n    B = 2", "p = P(3)\nx = p.x\nc = C.B.value"), "x c"),
    "a lambda kept and rebound": (("scale = int('2')\nfuncs = {'f': lambda v: v * scale}", "a = funcs['f'](1)", "scale = 7", "b = funcs['f'](1)"), "scale a b"),
    "a closure over a loop variable": (("fs = []\nfor i in range(3):\n    fs.append(lambda: i)", "a = [f() for f in fs]"), "a"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_package_gives_the_notebooks_values(name: str, tmp_path: Path) -> None:
    """Each construct: every name that run() returns has the notebook's value, and the listed names are returned."""
    cells, expected = CASES[name]
    wanted = notebook_values(*cells)

    found = package_values(tmp_path, *cells)

    missing = [one for one in expected.split() if one not in found]
    assert not missing, missing
    for one, value in found.items():
        assert one in wanted, f"{one} is no name of the notebook"
        if type(wanted[one]).__module__ != "__main__":
            assert equal(wanted[one], value).equal, f"{one}: {wanted[one]!r} became {value!r}"
        else:
            assert type(wanted[one]).__name__ == type(value).__name__


def test_pickle_and_other_processes_find_what_stays_inside_a_step(tmp_path: Path) -> None:
    """Functions and a class that read variables are sent to a pool, written down and read back, also after a variable
    changed, a function was defined anew, and in a second run.
    """
    cells = (
        "import pickle\nfrom multiprocessing import get_context\nn = int('3')\ndata = [1, 2]",
        "def times(x):\n    return x * n\ndef look(i):\n    return times(data[i])",
        "def start(rows):\n    global held\n    held = rows\ndef see(i):\n    return held[i] + n",
        "with get_context('fork').Pool(1, start, ([5, 6],)) as pool:\n    a = pool.map(look, [0, 1]) + pool.map(see, [0, 1])",
        "class Model:\n    def predict(self):\n        return n\nb = pickle.loads(pickle.dumps(Model())).predict()",
        "n = 7\nc = pickle.loads(pickle.dumps(look))(1)",
        "def look(i):\n    return -i * n\nd = pickle.loads(pickle.dumps(look))(1)",
    )
    path = make_notebook(tmp_path, *cells, name="pickled")
    for _ in range(2):
        found = values_of(path)
        assert [found[name] for name in "abcd"] == [[3, 6, 8, 9], 3, 14, -7]


def test_definitions_are_of_the_module_only_where_something_pickles(tmp_path: Path) -> None:
    """A step declares them global in a notebook that imports such a library; names that are deleted stay local."""
    cells = (
        "n = int('3')\ndef kept(x):\n    return x * n\nclass Tied:\n    def go(self):\n        return n",
        "fs = [kept, Tied]\ndef brief(x):\n    return n\nfs[0](1), brief\ndel brief",
    )
    assert "global" not in sources(tmp_path, *cells)["steps"]
    assert "    global Tied, kept  #" in sources(tmp_path, "import pickle", *cells)["steps"]


ENGINE = """
import re, sys
def sql(text):
    frame = sys._getframe(1)
    name = re.search(r"from (\\w+)", text)[1]
    return frame.f_locals[name] if name in frame.f_locals else frame.f_globals[name]
"""


@pytest.mark.parametrize(
    "asked",
    [
        "a = duckdb.sql('select * from rows join k')",
        "a = duckdb.sql(f'select {1} FROM rows'.lower())",
        "def ask(n):\n    return duckdb.sql('select * from rows')[:n]\na = ask(9)",
        "wanted = 'select * from rows'\na = duckdb.sql(wanted)",
        "def ask(text):\n    return duckdb.sql(text)\na = ask('select * from rows')",
        "ask = lambda text: duckdb.sql(text)\na = ask('select * from rows')",
        "[a] = [duckdb.sql('select * from rows') for _ in range(1)]",
    ],
)
def test_a_query_finds_the_tables_that_it_names(asked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that an SQL engine takes for tables are passed to the step that asks, or are where it looks for them:
    this engine looks, as DuckDB does, into the frame that called it.
    """
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "duckdb.py").write_text(ENGINE)
    monkeypatch.syspath_prepend(str(tmp_path / "elsewhere"))
    monkeypatch.delitem(sys.modules, "duckdb", raising=False)
    cells = ("import duckdb\nrows = [len('ab')]", ("markdown", "# A"), asked, ("markdown", "# B"), "n = len(a)")
    (tmp_path / "in").mkdir()
    found = package_values(tmp_path / "in", *cells)
    assert (found["a"], found["n"]) == ([2], 1)


def test_a_query_costs_no_parameter_where_its_result_is_used(tmp_path: Path) -> None:
    """A name for a text stands for the tables of the text, a name for what came of it does not."""
    cells = ("import duckdb\nrows = [len('ab')]", ("markdown", "# A"), "a = duckdb.sql('select * from rows')")
    text = sources(tmp_path, *cells, ("markdown", "# B"), "n = len(a)")["steps"]
    assert "(rows)" in text
    assert "(a)" in text
