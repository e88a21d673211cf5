"""Guarded cells that share a step with others: the package guards each of them alone, and computes what they do."""

from __future__ import annotations

import ast
import builtins
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import mlguard_nb
from mlguard_convert.assembling import step_rows
from mlguard_convert.plan import Plan, make_plan
from mlguard_convert.reader import read_notebook
from mlguard_nb.errors import ConversionError, InputRejected
from mlguard_nb.notebook.transformers import only_defines
from mlguard_nb.pipeline.recording import equal
from mlguard_nb.policy.binding import bind
from mlguard_nb.policy.directive import parse
from mlguard_nb.policy.render import DECORATOR_OF
from mlguard_nb.policy.values import GuardPolicy
from mlguard_nb.testing import no_wait
from tests.converter.programs import random_guarded_notebook
from tests.converter.running import convert, guarded_values, make_notebook, package_values, sources, values_of

STORE = """calls = 0
def ask(x=0):
    global calls
    calls += 1
    if calls % 3:
        raise TimeoutError("the store sleeps")
    return [x, 2], calls"""
# A function that is handed on and reads k, which later cells bind anew: the cells are one step.
SCALED = "k = int('3')\ndef f(x):\n    return x * k\nfs = [f]"

# name: (cells, names that run() must return)
CASES: dict[str, tuple[tuple[Any, ...], str]] = {
    "a retried cell": ((STORE, "%%guard retry=3 on=TimeoutError name=load\nfeatures, target = ask()"), "calls features target"),
    "what it reads are arguments": ((STORE, "xs = list('ab')", "%%guard retry=3\nys = [ask(xs)[0], len(xs)]"), "calls xs ys"),
    "a failed attempt takes back what the cell binds": (
        (STORE, "n = len('a')", "%%guard retry=3\nn += 1\nvalue = ask(n)", "m = n * 10"), "n value m"),
    "a failed attempt takes back what a function binds and the cell mentions": (
        (STORE + "\nlog = []", "%%guard retry=9\nlog.append(calls)\nif len(log) < 4:\n    ask()\nvalue = calls"), "calls log value"),
    "what the cell does not mention is not taken back": ((STORE, "%%guard retry=9\nvalue = ask()", "after = calls"), "value after"),
    "functions beside it see what it binds": (
        (SCALED, "%%guard retry=2\nk = k + 1\nseen = fs[0](2)", "k = 7\nlast = fs[0](1)"), "k seen last"),
    "a failed attempt takes back what functions beside it see": (
        (SCALED, "tries = []", "%%guard retry=3\nk = k + 1\ntries.append(fs[0](1))\nif len(tries) < 3:\n    raise OSError", "a = fs[0](1)\nk = 9"), "k tries a"),
    "its own functions see what later cells bind": (
        ("k = int('3')", "%%guard retry=2\ndef g(x):\n    return x * k\ngs = [g]", "a = gs[0](1)\nk = 5", "b = gs[0](1)"), "k a b"),
    "neighbours are not retried": (
        ("%%guard retry=3\ncount = 0\ndef tick():\n    global count\n    count += 1\n    return count", "first = tick()", "%%guard retry=2\nsecond = tick()"), "count first second"),
    "a name bound on one branch": ((SCALED, "%%guard retry=2\nif fs[0](1) > 2:\n    extra = 1", "k = 5\nz = extra + fs[0](1)"), "z"),
    "a name bound on one branch before too": (
        (SCALED + "\nif k > 9:\n    extra = 0", "%%guard retry=2\nif fs[0](1) > 2:\n    extra = 1", "k = 5\nz = extra + fs[0](1)"), "z"),
    "a deleted name": ((SCALED, "tmp = [1]", "%%guard retry=2\nsize = len(tmp) + fs[0](1)\ndel tmp", "k = 4\nlost = 'tmp' in str(size)"), "size lost"),
    "an annotated name": ((SCALED, "%%guard retry=2\nk: int = k + 1", "a = fs[0](1)\nk = 2"), "a k"),
    "a shadowed builtin": ((SCALED, "%%guard retry=2\nmax = max([1, fs[0](1)])", "k = 4\nm = max"), "m"),
    "a name that nobody reads": ((SCALED, "%%guard retry=2\nunread = 5\nsize = len(fs)\nfor i in range(3):\n    pass", "k = 4"), "size k"),
    "a cell that awaits": (
        ("import asyncio", STORE, "%%guard retry=3\nawait asyncio.sleep(0)\nvalue = ask()"), "calls value"),
    "a cell that may raise": (
        (STORE, ("%%guard retry=2\nn = 1\nvalue = ask()", ["raises-exception"]), "after = calls"), "after"),
    "a cell that may raise, without attempts": (
        (STORE, ("%%guard monitor\nn = 1\nvalue = ask()", ["raises-exception"]), "after = calls + n"), "after"),
    "a cache": ((SCALED, "xs = [1]", "%%guard cache=1h name=grown\nys = xs + [fs[0](1)]\nxs.append(2)", "k = 4\nn = len(xs) + fs[0](1)"), "xs ys n"),
    "a cache by key": ((SCALED, "a, b = len('a'), len('ab')", "%%guard cache=1h key=a\ny = a + b + len(fs)", "k = 4"), "a b y"),
    "a fallback that is not needed": (
        ("def small(x):\n    return {'y': x}", SCALED, "x = len('ab')", "%%guard mem=0.99 fallback=small\ny = fs[0](x)", "k = 4"), "x y k"),
    "a schema that holds": (
        ("import numpy as np\nfrom mlguard_nb import Array\nPart = Array('n', ge=0)", SCALED, "part = np.ones(3)", "%%guard validate=part:Part retry=2\ntotal = float(part.sum()) + fs[0](1)", "k = 4"), "part total"),
    "an input that is halved": (
        (SCALED, "size = len('abcdefgh')\ntried = []", "%%guard retry=4 oom=halve:size\ntried.append(size)\nif size > 2:\n    raise MemoryError\nused = size + fs[0](1)", "k = size"), "k size tried used"),
    "guards of functions beside it": (
        ("%%guard retry=3\ndef ask():\n    seen.append(1)\n    if len(seen) % 3:\n        raise OSError\n    return k", "asks = [ask]\nseen = []\nk = int('3')", "%%guard retry=2\na = asks[0]()", "k = 5\nb = len(seen)"), "a b"),
    "code as text": (
        ("exec('q = 1')", "tries = []", "%%guard retry=3\nx: int = q + len(tries)\ntries.append(x)\nif len(tries) < 2:\n    raise OSError", "y = x"), "tries x y"),
    "a name bound on no branch": (
        (SCALED, "%%guard retry=2\nif fs[0](1) > 9:\n    extra = 1", "k = 5\ntry:\n    z = extra\nexcept NameError:\n    z = fs[0](1)"), "z"),
    "a name bound on no branch that functions beside it read": (
        (SCALED + "\ndef peek():\n    try:\n        return extra\n    except NameError:\n        return 'none'\nfs.append(peek)", "%%guard retry=2\nif fs[0](1) > 9:\n    extra = 1\nfirst = fs[1]()", "k = 5\nsecond = fs[1]()", "extra = 4\nthird = fs[1]()"), "k first second third"),
    "a cached name bound on no branch": (
        (SCALED, "%%guard cache=1h name=unbound\ny = fs[0](1)\nif y > 9:\n    extra = 1", "k = 5\ntry:\n    z = extra + fs[0](1)\nexcept NameError:\n    z = y"), "y z"),
    "a name that a guarded cell finds unbound": (
        (SCALED + "\nif k > 9:\n    extra = 0", "%%guard retry=2\ntry:\n    got = extra\nexcept NameError:\n    got = fs[0](1)\nif got > 9:\n    extra = 2", "k = 5\nz = [fs[0](1)]\ntry:\n    z.append(extra)\nexcept NameError:\n    pass"), "got z"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_package_gives_the_guarded_notebooks_values(name: str, tmp_path: Path) -> None:
    """The notebook runs in a real IPython, its package in this process: every value that run() returns is equal."""
    cells, expected = CASES[name]
    wanted = guarded_values(*cells)
    with no_wait():
        found = package_values(tmp_path, *cells)
    missing = [one for one in expected.split() if one not in found]
    assert not missing, missing
    for one, value in found.items():
        assert one in wanted, f"{one} is no name of the notebook"
        if not callable(value) and "<function" not in repr(value):
            assert equal(wanted[one], value).equal, f"{one}: {wanted[one]!r} became {value!r}"


def plan_of(folder: Path, *cells: Any) -> Plan:
    """The plan of a notebook of these cells."""
    return make_plan(read_notebook(make_notebook(folder, *cells)))


def test_the_guarded_cell_is_a_function_where_it_stood(tmp_path: Path) -> None:
    """The step has no guard; the cell's function has its name and its line; check and README show it by its cell."""
    cells = (STORE, "%%guard retry=3 wait=10ms..100ms on=TimeoutError name=load\nfeatures, target = ask()")
    text = sources(tmp_path, *cells)["steps"]
    assert '@step(cell="1-2", outputs=("calls", "features", "target"), shares=True)\ndef make_calls():' in text
    decorated = (
        '    @retry(name="load", attempts=3, on=(TimeoutError,), wait_initial=0.01, wait_max=0.1)\n    def load():'
    )
    assert decorated in text
    assert "        return features, target\n    features, target = load()\n    return calls, features, target" in text
    (row,) = step_rows(plan_of(tmp_path, *cells))
    assert row.guards == ("cell 2: 3 attempts, waits of 0.01 to 0.1 s",)


def test_guarded_functions_of_a_step_are_shown_by_name(tmp_path: Path) -> None:
    """Also where the function stays inside a step of one cell."""
    rows = step_rows(
        plan_of(tmp_path, "k = int('2')", "%%guard retry=2\ndef f(x):\n    return x * k", "ys = list(map(f, [1]))")
    )
    assert [row.guards for row in rows if row.guards] == [("`f`: 2 attempts, waits of 0.5 to 20 s",)]


def test_the_guard_of_a_function_stays_with_its_own_cell(tmp_path: Path) -> None:
    """A function of the same name that another cell of the step defines has none."""
    cells = (
        "k = int('1')",
        "%%guard retry=2\ndef f():\n    return k\nf.x = 1",
        "fs = [f]\nk = 2",
        "def f():\n    return -k",
        "fs.append(f)\nk = 3\nr = fs[0]() + fs[1]()",
    )
    defining = ("k = int('1')", "%%guard retry=2\ndef f():\n    return k", *cells[2:])
    assert sources(tmp_path, *defining)["steps"].count("@retry(attempts=2)\n    def f():") == 1


def test_a_name_without_guards_names_the_step_or_is_told(tmp_path: Path) -> None:
    """On the first cell of an unguarded step it is the step's; elsewhere a finding says where the cell went."""
    assert [step.name for step in plan_of(tmp_path, "%%guard name=begin\n" + STORE, "ys = calls").steps] == ["begin"]
    plan = plan_of(tmp_path, STORE, "%%guard name=finish\nys = calls")
    assert any(one.cell == 2 and "name=finish" in one.message for one in plan.diagnostics)


def test_a_guard_refuses_what_the_cell_would_refuse(tmp_path: Path) -> None:
    """validate= of a live-in: InputRejected in the notebook, and in the package."""
    cells = (
        "import numpy as np\nfrom mlguard_nb import Array\nPart = Array('n', ge=0)",
        f"{SCALED}\npart = -np.ones(3)",
        "%%guard validate=part:Part\ntotal = float(part.sum()) + fs[0](1)",
        "k = 4",
    )
    with pytest.raises(InputRejected, match="part"):
        guarded_values(*cells)
    with pytest.raises(InputRejected, match="part"):
        package_values(tmp_path, *cells)


def test_a_fallback_gives_what_the_cell_would_bind(tmp_path: Path) -> None:
    """One that memory never allows: names that the fallback does not give keep their values."""
    cells = (
        "def small(x):\n    return {'y': x * 100}",
        f"{SCALED}\nx = len('ab')\ny = 0",
        "%%guard mem=1MB fallback=small name=grow\ny = fs[0](x)\nk = k + 1",
        "z = [y, k]\nk = 9\nlast = fs[0](1)",
    )
    wanted = guarded_values(*cells)
    found = package_values(tmp_path, *cells)
    assert wanted["z"] == [200, 3]
    assert {name: found[name] for name in ("y", "z", "k", "last")} == {n: wanted[n] for n in ("y", "z", "k", "last")}


def test_a_cached_cell_gives_the_same_on_a_hit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second run of the package finds it on the disk: what the cell binds and what it changes come from there."""
    monkeypatch.setenv("MLGUARD_CACHE_DIR", str(tmp_path / "cache"))
    cells = (
        f"import pathlib\n{SCALED}\nxs = [1]",
        "%%guard cache=1h store=disk\nys = [*xs, fs[0](1)]\nxs.append(2)\nk = k + 1\npathlib.Path('ra' + chr(110)).open('a').write('x')",
        "k = k + 1\nn = [len(xs), len(ys), fs[0](1)]",
    )
    path = make_notebook(tmp_path, *cells, name="cached_cell")
    for _ in range(2):
        found = values_of(path, base_dir=tmp_path)
        assert (found["n"], found["xs"], found["ys"]) == ([2, 2, 5], [1, 2], [1, 3])
    assert (tmp_path / "ran").read_text() == "x"


REFUSED: dict[str, tuple[tuple[Any, ...], str]] = {
    "a schema for what functions beside it see change": (
        ("from mlguard_nb import Array\nPart = Array('n')", SCALED, "%%guard validate=k:Part\nk = k + 1", "a = fs[0](1)\nk = 2"), "asks for k"),
    "a key that functions beside it bind": ((STORE, "%%guard cache=1h key=calls\nx = calls + len(ask())"), "asks for calls"),
    "halving what functions beside it read": ((SCALED, "%%guard retry=2 oom=halve:k\nx = fs[0](k)", "a = fs[0](1)\nk = 2\nb = fs[0](1)"), "would not see"),
    "halving what the cell does not read": ((STORE, "%%guard retry=2 oom=halve:other\nx = ask()"), "does not read other"),
    "a cache of what may have no value": (
        (f"{SCALED}\nif k > 9:\n    extra = 0", "%%guard cache=1h\nif fs[0](1) > 2:\n    extra = 1", "k = 5\nz = extra + fs[0](1)"), "leave extra without a value"),
    "a cache of code as text": (("x = 1", "%%guard cache=1h\nexec('y = x')", "z = y"), "cannot be seen in its text"),
    "a fallback that stays inside": ((f"{SCALED}\ndef small(x):\n    return {{'y': k}}\nsmalls = [small]", "%%guard mem=0.9 fallback=small\ny = fs[0](1)", "k = 4\nz = fs[0](y)"), "fallback=small"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_done_in_a_step_is_an_error_that_names_the_cell(name: str, tmp_path: Path) -> None:
    """Never silence: the notebook would do it, so the package must not pretend to."""
    cells, words = REFUSED[name]
    with pytest.raises(ConversionError) as raised:
        plan_of(tmp_path, *cells)
    error = next(one for one in raised.value.diagnostics if one.severity == "error")
    place = next(at for at, cell in enumerate(cells, 1) if cell.startswith("%%guard"))
    assert (error.cell, words in error.message) == (place, True), str(error)


@pytest.mark.parametrize("body", ["import json\nx = json.dumps(1)", "import json", "a", "class A:\n    pass"])
def test_a_guard_with_nothing_left_to_guard_is_told(body: str, tmp_path: Path) -> None:
    """Constants, displays and classes make no step; a cell of which something is left keeps its guard."""
    plan = plan_of(tmp_path, "a = [1]", f"%%guard retry=2\n{body}")
    told = [one for one in plan.diagnostics if one.code == "guard" and one.cell == 2]
    assert bool(told) == all(step.policy is None for step in plan.steps)
    assert bool(told) == ("dumps" not in body)


def test_a_cache_inside_a_step_says_how_long_it_lasts(tmp_path: Path) -> None:
    """A memory cache of a function that each run makes anew is told; store=disk is not."""
    for store, expected in (("", True), (" store=disk", False)):
        plan = plan_of(tmp_path, SCALED, f"%%guard cache=1h{store}\ny = fs[0](1)", "k = 4\nz = fs[0](y)")
        assert any("lasts for one run only" in one.message for one in plan.diagnostics) == expected


def test_a_cached_cell_hands_out_variables(tmp_path: Path) -> None:
    """Later cells may change them in place, and a hit brings back what the cell itself changed; also the second time."""
    cells = (
        "import numpy as np\nxs = [1]\nruns = []",
        "%%guard cache=1h\nys = np.zeros(3)\nxs.append(2)",
        "ys[0] = 5\nxs.append(3)\nruns.append(len(xs))",
    )
    path = make_notebook(tmp_path, *cells, name="cached_variables")
    found = guarded_values(*cells)
    for _ in range(2):
        made = values_of(path)
        assert made["xs"] == found["xs"] == [1, 2, 3] and made["runs"] == [3]
        assert made["ys"].tolist() == found["ys"].tolist() == [5, 0, 0]


def test_a_cached_cell_that_ran_hands_out_its_own_objects(tmp_path: Path) -> None:
    """Another name of such an object follows it after a miss, in the notebook and in the package; two results that
    are one object stay one, also on a hit.
    """
    cells = (
        "xs = [1]\nsame = xs\nsizes = []",
        "%%guard cache=1h\nxs.append(2)\nys = zs = [xs]",
        "xs.append(3)\nys.append(4)\nsizes += [len(same), len(zs)]",
    )
    path = make_notebook(tmp_path, *cells, name="cached_names")
    found = guarded_values(*cells)
    assert found["sizes"] == values_of(path)["sizes"] == [3, 2]
    assert values_of(path)["sizes"] == [1, 2]  # a hit: copies, as in the notebook


def test_two_cells_of_one_name_become_two_functions(tmp_path: Path) -> None:
    """Steps of their own, and cells inside one step."""
    cells = ("%%guard retry=2 name=load\nx = len('a')", "%%guard retry=2 name=load\ny = x + 1")
    assert [step.name for step in plan_of(tmp_path, *cells).steps] == ["load", "load_step"]
    inner = (STORE, "%%guard retry=3 name=load\nx = ask()", "%%guard retry=3 name=load\ny = ask()")
    (step,) = plan_of(tmp_path, *inner).steps
    assert [one.name for one in step.inner] == ["load", "load_cell"]


def guards_of(text: str, namespace: dict[str, Any]) -> list[GuardPolicy]:
    """`__mlguard__` of every function of a module, made anew from its decorators."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            guards = [one for one in node.decorator_list if ast.unparse(one).partition("(")[0] in DECORATOR_OF.values()]
            if guards:
                made = dict(namespace)
                lines = "".join(f"@{ast.unparse(one)}\n" for one in guards)
                exec(f"{lines}def {node.name}({ast.unparse(node.args)}): ...", made)
                found.append(made[node.name].__mlguard__)
    return found


def policies_of(source: str) -> list[GuardPolicy]:
    """What the line of a cell guards: each of its functions where it only defines, else its run, which watches
    files and keeps variables that later cells may change."""
    line, _, rest = source.partition("\n")
    if not line.startswith("%%guard"):
        return []
    policy = bind(parse(line.removeprefix("%%guard ")).policy, vars(builtins))
    body = ast.parse(rest).body
    if only_defines(body):
        return [policy] * sum(isinstance(one, ast.FunctionDef) for one in body)
    return [replace(policy, cache=policy.cache and replace(policy.cache, watch_files=True, hand_out="copy"))]


@pytest.mark.parametrize("block", range(2))
def test_random_guarded_notebooks_keep_their_guards_and_values(block: int, tmp_path: Path) -> None:
    """The package has the guards of the notebook, each as often, but for those it says are gone; and its values."""
    known = {name: getattr(mlguard_nb, name) for name in DECORATOR_OF.values()}
    tried = inside = 0
    for seed in range(block * 20, block * 20 + 20):
        cells = random_guarded_notebook(seed)
        if cells is None:
            continue
        tried += 1
        folder = tmp_path / str(seed)
        folder.mkdir()
        plan, modules = convert(make_notebook(folder, *cells))
        inside += sum(len(step.inner) for step in plan.steps)
        gone = {one.cell for one in plan.diagnostics if one.code == "guard"}
        wanted = [one for cell in plan.notebook.cells if cell.number not in gone for one in policies_of(cell.source)]
        found = [one for text in modules.values() for one in guards_of(text, known)]
        assert sorted(map(repr, found)) == sorted(map(repr, wanted)), seed
        values = guarded_values(*cells)
        with no_wait():
            for name, value in package_values(folder, *cells).items():
                same = name not in values or callable(value) or "__main__" in repr(values[name])
                assert same or equal(values[name], value).equal, f"seed {seed}: {name}"
    assert tried > 12
    assert inside > 0
