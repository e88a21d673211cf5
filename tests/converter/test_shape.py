"""What the emitted modules look like: each rewrite where it applies, and where it must leave things alone."""

from __future__ import annotations

import ast
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mlguard_convert.plan import PlanOptions, make_plan
from mlguard_convert.reader import read_notebook
from mlguard_nb.errors import ConversionError
from tests.converter.running import convert, make_notebook, sources, values_of

H = "markdown"

# name: (cells, texts that steps.py holds, texts that it does not hold)
STEPS: dict[str, tuple[tuple[Any, ...], list[str], list[str]]] = {
    "pure displays go": (("x = [3]\nx", "len(x)", "x.append(1)"), ["x.append(1)"], ["len(x)", "\n    x\n"]),
    "a print stays": (("x = [3]", "print(x)"), ["print(x)"], []),
    "a random draw is no display": (("import random\nrandom.random()", "import pandas as pd\ndf = pd.DataFrame()\ndf.sample(1)"), ["random.random()", "df.sample(1)"], []),
    "markdown shown is printed": (("from IPython.display import Markdown, display\nn = len('a')\ndisplay(Markdown(f'**{n}**'))",), ["print(f'**{n}**')"], ["Markdown", "IPython"]),
    "a handle of display stays one": (("n = len('a')\nhandle = display(n, display_id=True)\nhandle.update(2)",), ["display(n, display_id=True)", "from mlguard_nb.pipeline import display"], []),
    "a title is drawn, not shown": (("import matplotlib.pyplot as plt\nfig = plt.figure()", "plt.title('a')"), ["plt.title('a')"], []),
    "a request is made, not shown": (("import urllib.request as r\nx = ['u']", "r.urlopen(x[0])"), ["r.urlopen(x[0])"], []),
    "plt.show saves": (((H, "## The figure"), "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()"), ['save_figures("figure")', "import save_figures, step"], ["plt.show", "plt.close"]),
    "a figure's own show is left alone": (("import matplotlib.pyplot as plt\nfig, ax = plt.subplots()\nfig.show()",), ["fig.show()"], ["save_figures"]),
    "shell lines are off": (("folder = str('out')", "!ls {folder}/*.csv\nfiles = !ls"), ["shell(f'ls {folder}/*.csv')", "shell('ls', show=False)"], ["allowed=True", "get_ipython"]),
    "pip lines are requirements": (("!pip install -q numpy", "x = [1]"), [], ["pip", "shell"]),
    "literals bound once are constants": (("rate = 0.2  # a share", "x = [rate]\nx.append(1)"), ["rate = 0.2  # a share", "def make_x():"], ["def make_x(rate"]),
    "a literal bound twice is none": (("rate = 0.2", "rate = 0.3", (H, "## Use"), "x = [rate]"), ["rate = 0.3", "def use(rate)"], ["\nrate = 0.2"]),
    "dead stores go": (("hits = 0\nimport io\nbuffer = io.StringIO()", (H, "## Count"), "hits = len('abc')\nbuffer = hits"), ["io.StringIO()"], ["hits = 0", "buffer = io"]),
    "unused imports go": (("import os, json\nfrom math import pi, tau", "x = [tau]\ny = json.dumps(x)"), ["import json", "from math import tau"], ["import os", "import pi"]),
    "imports with an effect stay": (("from mpl_toolkits.mplot3d import Axes3D", "x = [1]"), ["Axes3D  # noqa: F401"], []),
    "a comment stays with its statement": (("x = [1]\n# grow it\nx.append(2)  # twice\n# the end",), ["    # grow it\n    x.append(2)  # twice", "# the end"], []),
    "a block of comments under a title is its docstring": (((H, "## Clean\n\nWithout tests."), "# Test accounts are\n#   no \\customers.\nx = list('a')", "# Not so\n# this block.\ny = x[0]"), ['    """Clean.\n\n    Without tests.\n\n    Test accounts are\n      no \\\\customers.\n    """\n    x = list', "    # Not so\n    # this block.\n"], ["# Test"]),
    "so is a line that stands alone": (((H, "## Clean"), "# Test accounts are no customers.\n\nx = list('a')"), ['"""Clean.\n\n    Test accounts are no customers.\n    """'], ["# Test"]),
    "a comment of a statement stays with it": (((H, "## Clean"), "# the letters in it\nx = list('a')"), ["    # the letters in it\n"], []),
    "code commented out stays so": (((H, "## Clean"), "# x = 3\n# y = 4\n\nx = list('a')"), ["    # x = 3\n    # y = 4\n"], []),
    "what a comment tells a tool stays": (((H, "## Clean"), "#@title The letters\n# as a list\nx = list('a')"), ["    #@title The letters\n"], []),
    "a block above a function stays there": (((H, "## Clean"), "# What is done\n# to letters.\ndef f(a): return a\nx = list('a')"), ['    """Clean."""\n'], ["What is done"]),
    "the only output is returned at once": (("import json", "table = json.loads('[1]')"), ["return json.loads('[1]')"], ["table ="]),
    "an output that the step changes is not": (("xs = list('ab')\nxs.append('c')",), ["xs = list('ab')", "return xs"], []),
    "global becomes nonlocal": (("count = 0\ndef tick():\n    global count\n    count += 1\ntick()", "x = [count]"), ["nonlocal count"], ["global count"]),
    "timed lines keep their statement": (("%time x = list('a')\n%matplotlib inline\n%config A.b = 1", "%%time\ny = x + [2]"), ["x = list('a')", "y = x + [2]"], ["%", "get_ipython", "pass"]),
    "merged cells name a range": (((H, "## Load data"), "a = list('x')", "b = a + ['y']", "c = b + a"), ['cell="1-3"', "def load_data():"], []),
    "cells under other headings do not merge": (((H, "## One thing"), "a = list('x')", (H, "## Other thing"), "b = a + ['y']"), ["cell=1", "cell=2", "def one_thing():", "def other_thing(a):"], []),
    "drawing cells stand alone": (((H, "## Ages"), "import matplotlib.pyplot as plt\nages = list(range(3))", "plt.hist(ages)"), ["def ages_step():", "def plot_ages(ages) -> None:"], []),
    "cells that draw by a function stand alone": (((H, "## Ages"), "import matplotlib.pyplot as plt\ndef line(xs):\n    plt.plot(xs)\ndef both(xs):\n    line(xs)\nages = list('a')", "both(ages)", "ages.append('b')"), ["def ages_step():", "def plot_ages(ages) -> None:", "cell=3,"], []),
    "cells that draw by a method stand alone": (((H, "## Ages"), "import seaborn as sns\nclass Look:\n    def at(self, xs):\n        sns.histplot(xs)\nlook = Look()", "look.at([1])", "n = len('a')"), ["cell=1,", "cell=2)", "cell=3,"], []),
    "frames draw without pyplot": (((H, "## Ages"), "import pandas as pd\nages = pd.Series([1])", "ages.plot()", "ages.plot.bar()", "n = ages.sum()"), ["cell=1,", "cell=2)", "cell=3)", "cell=4,"], []),
    "nothing draws without a library for it": (((H, "## Ages"), "ages = list('a')", "ages.plot()", "n = ages.hist()"), ['cell="1-3"'], []),
    "cells that stay together close their figures": (("import matplotlib.pyplot as plt\nk = len('a')\ndef draw():\n    plt.plot([k])\nfs = [draw]", "k = 3\nfs[0]()", "k = 4\nfs[0]()"), ["    fs = [draw]\n    save_figures()\n    k = 3\n    fs[0]()\n    save_figures()\n    k = 4"], []),
    "raises-exception is caught and shown": ((("x = 1 / 0", ["raises-exception"]),), ["except Exception as error:", "print(f"], []),
    "await makes the step async": (("import asyncio\nx = await asyncio.sleep(0, 3)",), ["async def "], []),
    "what cells showed has a name": (("x = [2]\nlen(x)", "sorted(x)[0]", "x.pop()", "y = _ + _1 + Out[2]"), ["_1 = len(x)", '_ = "" if _1 is None else _1', "_2 = sorted(x)[0]", "_shown = x.pop()", "if _shown is not None:", "y = _ + _1 + _2"], ["Out"]),
    "timings are measured": (("x = [1]\nt = %timeit -o -n 2 -r 3 len(x)\nbest = t.best\n%cd -q data",), ["t = measured(lambda: len(x), loops=2, repeat=3)", "os.chdir('data')"], []),
    "an error below an Output is printed": (("import ipywidgets as widgets\nfrom ipywidgets import Output\nout = widgets.Output()\nboxes = [Output() for _ in 'ab']", "with out, open('a') as f:\n    n = f.read()", "with boxes[1]:\n    m = [1]\nwith Output(): k = [m]", "def page(box):\n    box.out = Output()\n    with box.out:\n        return int('a')\nif out:\n    class Page:\n        def show(self):\n            with self.out: print(page(self))\n    Page().show()"), ["with shown_errors(out), open('a') as f:", "with shown_errors(boxes[1]):", "with shown_errors(Output()):", 'locals().get("k", UNBOUND)'], ["with self.out: print"]),
    "other blocks let errors through": (("from ipywidgets import Output\nfrom threading import Lock\nout = Lock()", "with out:\n    n = [1]"), ["with out:"], ["shown_errors"]),
    "magics by another name of the shell": (("from IPython import get_ipython\nip = get_ipython()\nif ip is not None:\n    ip.run_line_magic('matplotlib', 'inline')\n    ip.magic('time y = int(2)')\nx = [y]",), ["y = int(2)"], ["run_line_magic", "magic("]),
    "a script that a cell has written is run": (("%%writefile tools.py\nrate = 2\ndef tax(x): return x * rate", "%run tools.py\nx = tax(rate)"), ["rate, tax = operator.itemgetter('rate', 'tax')(runpy.run_path('tools.py', run_name='__main__'))"], []),
    "a timed line keeps its names to itself": (("y = int('1')\n%timeit -n1 y = print(y)\n%timeit y = 4\n%timeit g = y; h = g\nz = [y]",), ["    print(y)\n", "timed_line("], ["y = print", "y = 4", "g = y"]),
    "what a magic gives is what it is in a package": (("a = %pwd\nb = %env HOME\nc = %env\nd = %matplotlib inline\n%pwd\n%env HOME",), ["a = os.getcwd()", "b = os.environ['HOME']", "c = dict(os.environ)"], ["pwd"]),
    "a captured cell from the future": (("%%capture out\n# old\nfrom __future__ import annotations\nprint(1)", "%%timeit\nfrom __future__ import annotations"), ["from __future__ import annotations\n\n", "with captured_output", "        print(1)"], ["    from __future__"]),
    "imports that may register something stay": (("import hvplot.pandas, os, yaml\nimport rioxarray\nimport nowhere as nw\nfrom nowhere import it", "x = [1]"), ["import hvplot.pandas  # noqa: F401", "import rioxarray  # noqa: F401"], ["import os", "yaml", "nowhere"]),
    "a profiled text gets its names": (("import cProfile\ndef f(n): return n\nn = int('3')\ncProfile.run('f(n)', sort='time')\ncProfile.run('x = f(2)', 'stats')",), ["runctx('f(n)', {\"f\": f, \"n\": n}, {}, sort='time')", "        x = f(2)\n    _profile.dump_stats('stats')"], [".run("]),
    "a timed text gets its names": (("import timeit\ndef f(n): return n\nn = int('3')\nt = timeit.timeit('f(n)', setup='from __main__ import f, n', number=2)",), ["timeit.timeit('f(n)', setup='pass', number=2, globals={\"f\": f, \"n\": n})"], ["__main__"]),
    "a magic of one's own is a function": (("from IPython.core.magic import register_line_magic\n@register_line_magic\ndef hi(line):\n    return line\nx = [hi('a')]",), ["return [hi('a')]"], ["register"]),
    "sympy's var is an assignment": (("from sympy import var\nvar('P V')\ngas = [P, V]",), ["P, V = ", "symbols('P V')"], []),
}  # fmt: skip


@pytest.mark.parametrize("name", STEPS)
def test_steps_hold_what_they_should(name: str, tmp_path: Path) -> None:
    """Each construct in steps.py: what must stand there, and what must not."""
    cells, present, absent = STEPS[name]
    text = sources(tmp_path, *cells)["steps"]
    for one in present:
        assert one in text, text
    for one in absent:
        assert one not in text, text


def test_kept_displays_are_printed(tmp_path: Path) -> None:
    """Only what a cell shows last, and what would be dropped without the option; a semicolon shows nothing."""
    cells = ("x = list('ab')\nlen(x)\nx", "x[0], x[1]", "x.append(3)", "x;", "help(len)", "(x\n + [4])", "'a'")
    text = sources(tmp_path, *cells, keep_displays=True)["steps"]
    found = [line.strip() for line in text.split("\n") if "print(" in line or "len" in line]
    assert found == ["print(x)", "print((x[0], x[1]))", "help(len)", "(print(x", "print('a')"]
    assert "    x.append(3)\n" in text
    text = sources(tmp_path, "from IPython.display import display", "x = list('ab')\nx", keep_displays=True)["steps"]
    assert "    print(x)\n" in text


def test_a_display_of_the_notebook_s_own_keeps_displays_as_they_are(tmp_path: Path) -> None:
    """Nobody knows what it does with a value."""
    text = sources(tmp_path, "def display(x): return 3", "x = list('ab')\nx", keep_displays=True)["steps"]
    assert "    x\n" in text


def test_what_an_annotation_names_is_imported(tmp_path: Path) -> None:
    """The annotation of a variable is never evaluated in a function, but readers and type checkers look it up."""
    cells = (
        "from decimal import Decimal\nx: Decimal = len('a')",
        "def put(v):\n    global y\n    y = v",
        "put(2)",
        "z = y",
    )
    text = sources(tmp_path, *cells)["steps"]
    assert "from decimal import Decimal\n" in text
    assert "from typing import Any\n" in text
    assert "y: Any\n" in text


def test_the_options_of_a_timed_cell_are_no_statement(tmp_path: Path) -> None:
    made = sources(tmp_path, "xs = list('ab')", "%%timeit -n 3 -r7\nxs.sort()")["functions"]
    assert ast.unparse(ast.parse(made).body[-1]) == "def timed_cell(*, xs):\n    xs.sort()"


def test_functions_take_the_variables_they_read(tmp_path: Path) -> None:
    """A function that reads a notebook variable gets it by keyword, and each call passes the value of that moment."""
    made = sources(tmp_path, "def score(x):\n    return x * rate", "rate = float('2')", "a = score(3)")
    assert "def score(x, *, rate):" in made["functions"]
    assert "score(3, rate=rate)" in made["steps"]


def test_guards_become_decorators(tmp_path: Path) -> None:
    """A guarded cell is a step with the line's decorators; a cell that only defines gives them to its functions."""
    made = sources(
        tmp_path,
        "%%guard retry=3 cache=1h\nxs = list('ab')",
        "%%guard monitor\ndef last(x):\n    return x[-1]",
        "def small():\n    return {'y': [0]}",
        "%%guard mem=0.8 fallback=small name=grow\ny = xs + [last(xs)]",
    )
    assert (
        '@cache_result(ttl=3600.0, watch_files=True, hand_out="copy")\n@retry(attempts=3)\ndef make_xs():'
        in made["steps"]
    )
    assert "@monitor()\ndef last(x):" in made["functions"]
    assert "fallback=grow_on_pressure" in made["steps"]
    assert 'return given["y"]' in made["steps"]


def test_profiles_and_the_line_for_all_cells_guard_as_in_the_notebook(tmp_path: Path) -> None:
    """`%guard set` and `%guard on` are read from the cells: no cell has to have been run. A cell's own line wins."""
    made = sources(
        tmp_path,
        "%load_ext mlguard_nb\n%guard set careful retry=5 mem=0.9",
        "%%guard careful retry=2\na = [1]",
        "b = [2]",
        "%guard on retry=4",
        "c = [3]",
        "def last(x):\n    return x[-1]",
        "%%guard monitor\nd = [last(c)]",
        "%guard off\ne = [5]",
        "f = [6]",
    )["steps"]
    steps = {one.name: ast.unparse(one) for one in ast.parse(made).body if isinstance(one, ast.FunctionDef)}
    assert "@memory_guard(ram=0.9)\n@retry(attempts=2)" in steps["make_a"]
    assert "@retry(attempts=4)" in steps["make_c"]
    assert "@monitor" in steps["make_d"] and "@retry" not in steps["make_d"]
    assert all("@retry" not in text for name, text in steps.items() if name not in ("make_a", "make_c"))
    assert (
        "@retry(attempts=4)\ndef last("
        in sources(tmp_path, "%guard on retry=4", "def last(x):\n    return x")["functions"]
    )


def test_what_the_notebook_remembers_guards_as_in_a_new_kernel(tmp_path: Path) -> None:
    """Profiles and the line for every cell stand in its metadata, and are in force once we are loaded."""
    path = make_notebook(
        tmp_path, "z = [0]", "%load_ext mlguard_nb", "%%guard careful\na = [1]", "b = [2]", "%guard off", "c = [z]"
    )
    text = json.loads(path.read_text())
    kept = {
        "profiles": {"careful": "retry=5", "bad": 3, "worse": "retry=x"},
        "everywhere": "retry=4",
        "chaos": "fail=0.1",
    }
    path.write_text(json.dumps({**text, "metadata": {"mlguard_nb": kept}}))
    _, modules = convert(path)
    (steps,) = [text for name, text in modules.items() if name.endswith("/steps.py")]
    guards = {one.name: ast.unparse(one) for one in ast.parse(steps).body if isinstance(one, ast.FunctionDef)}
    assert "@retry(attempts=5)" in guards["make_a"]
    assert "@retry(attempts=4)" in guards["make_b"]
    assert "@retry" not in guards["make_z"] + guards["make_c"]


def test_a_guarded_function_that_stays_inside_keeps_its_guard(tmp_path: Path) -> None:
    """It reads a variable and is handed on, so it cannot move; its decorator goes with it."""
    made = sources(tmp_path, "k = int('2')", "%%guard retry=2\ndef f(x):\n    return x * k", "ys = list(map(f, [1]))")
    assert "    @retry(attempts=2)\n    def f(x):" in made["steps"]


def test_parameters_become_a_model(tmp_path: Path) -> None:
    """Types and comments of the tagged cell; steps get the values as arguments."""
    made = sources(tmp_path, ("n_trees = 50  # trees\nname = 'a'", ["parameters"]), "x = [n_trees]")
    assert 'n_trees: int = Field(default=50, description="trees")' in made["params"]
    assert "steps.make_x(params.n_trees)" in made["pipeline"]


def test_a_default_of_several_lines_keeps_its_value(tmp_path: Path) -> None:
    """Comments between its lines go; a text keeps its line breaks."""
    cell = "rows = [1,  # one\n  2]\ntext = '''a\n  b'''"
    made = sources(tmp_path, (cell, ["parameters"]), "x = [rows, text]")["params"]
    assert "    rows: list = [1, 2]\n    text: str = 'a\\n  b'\n" in made


SECRET_PARAMETERS = {
    "api_key = 'abcd1234efgh'  # mine": (
        'SecretStr = Field(default_factory=FromEnvironment("NB_API_KEY"), description="mine")'
    ),
    "url = 'redis://me:abcd1234efgh@host'": 'SecretStr = Field(default_factory=FromEnvironment("NB_URL"))',
    "dbPassword = 'changeme'": "SecretStr = Field(default_factory=FromEnvironment(\"NB_DBPASSWORD\", 'changeme'))",
    "token = None": 'SecretStr | None = Field(default_factory=FromEnvironment("NB_TOKEN", None))',
    "login = {'password': 'abcd1234efgh'}": "Secret[dict] = Secret[dict]({'password': 'abcd1234efgh'})",
    "max_token = 512": "int = 512",
    "token = 5": "int = 5",
    "token_column = 'tokenized'": "str = 'tokenized'",
    "credentials_file = 'creds.json'": "str = 'creds.json'",
    "pad_token = '[PAD-0]'": "str = '[PAD-0]'",
    "mask_token = None": "Any = None",
}


@pytest.mark.parametrize("source", SECRET_PARAMETERS)
def test_a_parameter_that_holds_a_secret_comes_from_the_environment(source: str, tmp_path: Path) -> None:
    """By its value or its name; a value that is no placeholder stays out of the package. Other names mean no secret."""
    name = source.partition(" ")[0]
    made = sources(tmp_path, (source, ["parameters"]), f"x = [{name}]")
    expected = SECRET_PARAMETERS[source]
    assert f"    {name}: {expected}\n" in made["params"]
    assert (f"{name}.get_secret_value()" in made["pipeline"]) is ("Secret" in expected)
    if "Environment" in expected:
        assert "abcd1234" not in "".join(made.values())


def test_an_injected_secret_is_one_whatever_its_cell_says(tmp_path: Path) -> None:
    """papermill adds a cell with the values of a run: the parameter of that name stays the secret it was."""
    made = sources(
        tmp_path,
        ("key = 'sk-abcd1234abcd1234abcd1234'", ["parameters"]),
        ("key = 'mine'", ["injected-parameters"]),
        "x = [key]",
    )
    assert "key: SecretStr = Field(default_factory=FromEnvironment(\"NB_KEY\", 'mine'))" in made["params"]


RESETS = {
    "%reset -f": {"np", "b"},
    "%reset": {"np", "b"},
    "%reset -sf": {"np", "b"},
    "%reset_selective -f ^a": {"np", "b", "rows"},
    "%reset_selective ^(a+)+$": {"np", "b", "a", "rows"},
    "%xdel a": {"np", "b", "rows"},
    "%reset -f out in": {"np", "b", "a", "rows"},
    "%reset -f array": {"np", "b", "a", "rows"},
    "if len('ab') > 1:\n    %reset -f": {"np", "b", "a", "rows"},
    "x = %reset -f": {"np", "b", "a", "rows", "x"},
}


@pytest.mark.parametrize("line", RESETS)
def test_a_reset_deletes_what_the_cells_above_have_bound(line: str, tmp_path: Path) -> None:
    """What is gone is no result. Imports, definitions and parameters may stay; a line that is not followed is told."""
    cells = (
        ("n = 2", ["parameters"]),
        "import math as np\na = [np.pi]\nrows = [n, 1]\ndef double(x):\n    return 2 * x\nif len(rows) > 9:\n    maybe = 1",
        line,
        "import math as np\nb = 2 * np.tau",
    )
    path = make_notebook(tmp_path, *cells, name=f"reset_{list(RESETS).index(line)}")
    plan, modules = convert(path)
    expected = RESETS[line] - {"np"}
    assert set(plan.results) - {"maybe"} == expected
    assert [one.name for one in plan.params] == ["n"]
    assert "__mlguard_" not in "".join(modules.values())
    assert values_of(path)["b"] == 2 * math.tau
    is_told = any(one.code == "magic" and "the names stay" in one.message for one in plan.diagnostics)
    assert is_told is any(word in line for word in ("+", "array", "if "))
    if line == "%reset -f":
        assert "`%reset` became `del` of `a`, `rows`" in [one.text for one in plan.changes]


def test_a_reset_at_the_beginning_leaves_nothing_behind(tmp_path: Path) -> None:
    """The most frequent one; a second one deletes only what has been bound since."""
    path = make_notebook(
        tmp_path, "%reset -f", "a = [1]", "%reset -f", "c = [2]", "%reset -f\nd = [3]", name="reset_twice"
    )
    plan, _ = convert(path)
    assert plan.results == ("d",)
    assert plan.diagnostics == ()
    assert values_of(path) == {"d": [3]}


def test_arithmetic_of_a_parameter_has_a_type(tmp_path: Path) -> None:
    """As its value has: the command line reads such options as whole numbers, or with a fraction."""
    cell = "a = 10**6\nb = 1 / 4\nc = -1 + 4\nd = 3 * 1e3\ne = 2 + 3"
    made = sources(tmp_path, (cell, ["parameters"]), "x = [a, b, c, d, e]")["params"]
    kinds = {"a": "int", "b": "float", "c": "int", "d": "float", "e": "int"}
    assert all(f"    {name}: {kind} = " in made for name, kind in kinds.items()), made


def test_the_order_of_execution_is_told(tmp_path: Path) -> None:
    """In the README; and a cell that fails in it gets no hint to take it."""
    path = make_notebook(tmp_path, "a = [1]", "b = [a, c]", "a = [2]", "c = 3 + len(a)")
    notebook = json.loads(path.read_text())
    for cell, count in zip(notebook["cells"], (2, 3, 1, 4), strict=True):
        cell["execution_count"] = count
    path.write_text(json.dumps(notebook))
    plan, _ = convert(path, order="executed")
    assert "the cells run as they were executed last: 3, 1, 2, 4" in [one.text for one in plan.changes]
    (warned,) = [one for one in plan.diagnostics if one.code == "order"]
    assert str(warned).startswith("cell 2, line 1: reads c, which only cell 4 behind it binds. Run in the order of")
    assert "executed last" not in str(convert(path)[0].changes)


def test_results_are_what_the_notebook_ends_with(tmp_path: Path) -> None:
    """Assigned names, not loop targets, imports, functions or private ones; `outputs` changes that."""
    cells = ("import os\ntotal = 0\nfor i in range(3):\n    total += i\n_tmp = [1]\ndef f():\n    return 1",)
    path = make_notebook(tmp_path, *cells)
    assert make_plan(read_notebook(path)).results == ("total",)
    assert set(make_plan(read_notebook(path), PlanOptions(outputs="all")).results) == {"total", "i", "_tmp"}


def test_helper_modules_travel(tmp_path: Path) -> None:
    """A .py beside the notebook is copied to vendor/, with the helpers it imports, and the sys.path line goes."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "cleaning.py").write_text("import shapes\ndef tidy(x):\n    return shapes.SIDES * x\n")
    (tmp_path / "lib" / "shapes.py").write_text("SIDES = 4\n")
    cells = (
        "import sys\nsys.path.append('lib')\nfrom cleaning import tidy\nfrom shapes import *",
        "x = tidy(len('ab')) + SIDES",
    )
    _, modules = convert(make_notebook(tmp_path, *cells, name="helped"))
    assert "from helped.vendor import shapes" in modules["src/helped/vendor/cleaning.py"]
    assert "from helped.vendor.cleaning import tidy" in modules["src/helped/steps.py"]
    assert "from helped.vendor.shapes import SIDES" in modules["src/helped/steps.py"]
    assert "sys.path" not in modules["src/helped/steps.py"]


def test_a_helper_that_a_cell_writes_travels_too(tmp_path: Path) -> None:
    """`%%writefile helper.py`, and a later cell imports it: in the package it is there before anything is written."""
    cells = ("%%writefile helper.py\ndef triple(x):\n    return 3 * x\n", "import helper\ny = helper.triple(len('ab'))")
    _, modules = convert(make_notebook(tmp_path, *cells, name="writing"))
    assert "def triple(x):" in modules["src/writing/vendor/helper.py"]
    assert "from writing.vendor import helper" in modules["src/writing/steps.py"]
    assert values_of(make_notebook(tmp_path, *cells, name="writing"), base_dir=tmp_path)["y"] == 6
    assert (tmp_path / "helper.py").read_text().startswith("def triple"), "and the file is written all the same"


REFUSED = {
    "x = 1\nreturn x": (1, 2, "return"),
    "print 'x'": (1, 1, "not valid Python"),
    "%%R\nx <- 1": (1, 1, "%%R"),
    "%undefined_magic 3": (1, 1, "%undefined_magic"),
    "x = 1\nnames = %who_ls": (1, 2, "%who_ls"),
    "%%guard rety=3\nx = 1": (1, 1, "rety"),
    "%load_ext mlguard_nb\n%guard set fast rety=3": (1, 2, "rety"),
    "x = 1\n%guard on mem=80": (1, 2, "mem"),
    "x = 'unterminated": (1, 1, "not valid Python"),
    "h = get_ipython().history_manager": (1, 1, "get_ipython"),
}


@pytest.mark.parametrize("source", REFUSED)
def test_what_cannot_be_converted_is_refused_by_cell_and_line(source: str, tmp_path: Path) -> None:
    """One line that names the cell; other cells are looked at all the same."""
    cell, line, words = REFUSED[source]
    with pytest.raises(ConversionError) as raised:
        make_plan(read_notebook(make_notebook(tmp_path, source, "y = (")))
    first, second = raised.value.diagnostics
    assert (first.cell, first.line) == (cell, line)
    assert words in first.message
    assert second.cell == 2
    assert "\n" not in str(first)


def test_bad_cells_can_be_skipped(tmp_path: Path) -> None:
    """--skip-bad-cells leaves them out and says so."""
    plan = make_plan(read_notebook(make_notebook(tmp_path, "x = [1]", "y = (")), PlanOptions(skip_bad_cells=True))
    assert plan.skipped == (2,)
    assert any(one.cell == 2 and one.severity == "warning" for one in plan.diagnostics)


def test_a_shell_line_that_stays_off_is_a_finding(tmp_path: Path) -> None:
    """Each with its line, and never its words, which may hold a password; none where shell lines may run."""
    path = make_notebook(tmp_path, "x = 1\n!curl -u me:secret host\nfiles = !ls", "%%bash\nls", "!pip install six")
    off = make_plan(read_notebook(path), PlanOptions()).diagnostics
    assert [(one.cell, one.line, one.severity) for one in off] == [(1, 2, "info"), (1, 3, "info"), (2, 1, "info")]
    assert "secret" not in "".join(map(str, off))
    assert str(off[0]).endswith("this shell line does not run in the package. Export with allow_shell=True.")
    assert make_plan(read_notebook(path), PlanOptions(allow_shell=True)).diagnostics == ()


def test_a_class_that_stays_inside_a_step_is_told(tmp_path: Path) -> None:
    """Its objects cannot be pickled; what it reads of the notebook is why. One that moves is nobody's business."""
    cells = ("class Free:\n    pass", "rate = len('ab')\nclass Tied:\n    def f(self): return rate\nt = Tied().f()")
    plan = make_plan(read_notebook(make_notebook(tmp_path, *cells)))
    (found,) = [one for one in plan.diagnostics if one.code == "class"]
    assert (found.cell, found.line, found.severity) == (2, 2, "info")
    assert (
        found.message == "the class Tied stays inside its step, because it reads rate, so its objects cannot be pickled"
    )
    plan = make_plan(read_notebook(make_notebook(tmp_path, "import pickle", *cells)))
    (found,) = [one for one in plan.diagnostics if one.code == "class"]
    assert found.message.endswith("reads rate, so its objects can be unpickled only where that step has run")


def test_calls_that_change_how_a_notebook_shows_things_are_dropped(tmp_path: Path) -> None:
    """Where no IPython runs they fail; a function of that name that is the notebook's own stays."""
    cells = (
        "import mpld3; mpld3.enable_notebook()  # mpld3.enable_notebook()",
        "from pyLDAvis import enable_notebook\nif len('ab') > 1:\n    enable_notebook(local=True)\nx = len('abc')",
        "class Own:\n    def enable_notebook(self): return 5\nown = Own()\ny = own.enable_notebook()\nown.enable_notebook()",
    )
    path = make_notebook(tmp_path, *cells)
    plan, modules = convert(path)
    steps = modules[f"src/{plan.package}/steps.py"]
    assert "mpld3.enable" not in steps.replace("# mpld3.enable_notebook()", "")
    assert " enable_notebook(" not in steps
    assert steps.count("own.enable_notebook()") == 2
    assert [one.cells for one in plan.changes if "sets up what a notebook shows" in one.text] == [(1, 2)]


def test_findings_name_cells_and_never_a_secret(tmp_path: Path) -> None:
    """Secrets are warned of without their value; a name that nobody binds is named."""
    plan = make_plan(read_notebook(make_notebook(tmp_path, "api_key = 'abcd1234efgh'", "x = [nowhere, api_key]")))
    text = "\n".join(str(one) for one in plan.diagnostics)
    assert "cell 1, line 1: a literal looks like a secret" in text
    assert "abcd1234" not in text
    assert "nowhere is bound by no cell" in text


SECRETS = {
    "api_key = 'abcd1234efgh'": True,
    "api_key: str = 'abcd1234efgh'": True,
    "import os\nos.environ['DB_PASSWORD'] = 'abcd1234efgh'": True,
    "%env DB_PASSWORD=abcd1234efgh": True,
    "class Box: pass\nbox = Box()\nbox.auth_token = 'abcd1234efgh'": True,
    "dict(password='abcd1234efgh')": True,
    "def login(user, password='abcd1234efgh', *, retries=3): pass": True,
    "x = ['sk-abcd1234abcd1234abcd1234']": True,
    "x = 'postgres://me:abcd1234efgh@host/db'": True,
    "password = 'your password'": False,
    "token = 'abc'": False,
    "x = {'password': 'abcd1234efgh'}": True,
    "dbPassword = 'abcd1234efgh'": True,
    "tokenizer = 'abcd1234efgh'": False,
    "secret_name = 'abcd1234efgh'": False,
    "eos_token = 'abcd1234efgh'": False,
    "def login(password, user='abcd1234efgh'): pass": False,
}


@pytest.mark.parametrize("source", SECRETS)
def test_literals_that_look_like_secrets_are_told(source: str, tmp_path: Path) -> None:
    """By what they look like, or by the name of what they are given to."""
    plan = make_plan(read_notebook(make_notebook(tmp_path, source)))
    assert ("secret" in [one.code for one in plan.diagnostics]) is SECRETS[source]
    assert "abcd1234" not in "".join(map(str, plan.diagnostics))


@pytest.mark.parametrize(
    "raw",
    [
        b"[1]",
        b"{",
        b"\xff\xfe\x00",
        b"{}",
        b'{"cells": 3}',
        b'{"cells": [], "metadata": {"language_info": {"name": "R"}}}',
    ],
)
def test_files_that_are_no_python_notebook_are_refused_in_one_line(raw: bytes, tmp_path: Path) -> None:
    """Truncated, of another shape, of another language."""
    path = tmp_path / "odd.ipynb"
    path.write_bytes(raw)
    with pytest.raises(ConversionError) as raised:
        read_notebook(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "cells", [(), ("",), ("# only a comment",), ("x = 1\r\ny = [x]\r\n",), ("x = [1]\n\x0cy = x",)]
)
def test_odd_notebooks_still_become_packages(cells: tuple[str, ...], tmp_path: Path) -> None:
    """No cells, empty cells, CRLF, form feeds."""
    _, modules = convert(make_notebook(tmp_path, *cells))
    for name, text in modules.items():
        compile(text, name, "exec")


ALL_CELLS = [cell for cells, *_ in STEPS.values() for cell in cells]


@pytest.mark.parametrize("name", STEPS)
def test_what_is_emitted_is_lint_clean(name: str, tmp_path: Path) -> None:
    """ruff finds no fault (F, E9) with the modules of any of these notebooks."""
    pytest.importorskip("ruff")
    _, modules = convert(make_notebook(tmp_path, *STEPS[name][0]))
    for path, text in modules.items():
        target = tmp_path / "out" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        ast.parse(text)
        target.write_text(text)
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F,E9", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_a_name_bound_above_the_parameters_is_no_option(tmp_path: Path) -> None:
    """It has two values in the notebook; a warning names it, its neighbour becomes an option."""
    plan, _ = convert(make_notebook(tmp_path, "k = 1\nprint(k)", ("k = 5\nn = 2", ["parameters"]), "r = k + n"))
    assert [param.name for param in plan.params] == ["n"]
    told = [one for one in plan.diagnostics if one.code == "parameter"]
    assert [(one.cell, one.severity) for one in told] == [(2, "warning")]
    assert "`k` is bound by a cell above" in told[0].message


def test_a_module_whose_absence_is_handled_is_optional(tmp_path: Path) -> None:
    """Unless another statement needs it."""
    tried = "try:\n    import torch, yaml\nexcept (ValueError, ImportError):\n    torch = None\nelse:\n    import attr"
    strict = "try:\n    import numpy\nexcept ValueError:\n    pass"
    plan, _ = convert(make_notebook(tmp_path, tried, strict, "import yaml\nx = [torch is None, yaml.dump(1)]"))
    assert plan.modules == ("attr", "numpy", "torch", "yaml")
    assert plan.optional == ("torch",)


def test_doctests_that_are_not_found_are_told(tmp_path: Path) -> None:
    """`doctest.testmod()` looks into the notebook; with a module of its own it does what it did."""
    cells = (
        "import doctest, math",
        "x = 1\ndoctest.testmod(verbose=True)",
        "doctest.testmod(math)\ndoctest.testmod(m=math)",
    )
    plan, _ = convert(make_notebook(tmp_path, *cells))
    told = [(one.cell, one.line) for one in plan.diagnostics if "doctest.testmod()" in one.message]
    assert told == [(2, 2)]
