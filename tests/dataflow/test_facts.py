"""What a cell reads, binds and changes."""

from __future__ import annotations

import ast
import symtable

import pytest

from mlguard_nb.dataflow import cell_facts, free_names, live_ins, liveness

READS = {
    "x = y": "y",
    "x = 1\ny = x": "",
    "if a:\n    x = 1\ny = x": "a x",
    "if a:\n    x = 1\nelse:\n    x = 2\ny = x": "a",
    "for i in [1, 2]:\n    y = i\nz = y": "",
    "for i in rows:\n    y = i\nz = y": "rows y",
    "try:\n    x = f()\nexcept ValueError as e:\n    x = e": "f ValueError",
    "with open(p) as f:\n    t = f.read()": "open p",
    "x += 1": "x",
    "x[0] = k": "x k",
    "[i * k for i in rows if i]": "k rows",
    "{a: b for a, b in pairs for c in b}": "pairs",
    "lambda v: v + w": "",
    "def f(a=d):\n    return a + late": "d",
    "@deco\nclass A(Base):\n    u = v\n    def m(self):\n        return late": "deco Base v",
    "print(n := 1)\nn": "print",
    "del x": "x",
    "match p:\n    case [a, *b]:\n        c = a\n    case _:\n        c = 0\nd = c": "p",
    "import os.path as osp\nosp.join(q)": "q",
    "f'{a!r:>{w}}'": "a w",
    "x: int = 3\ny: T": "int T",
    "table.query('price > @limit and `a b` < @other.low')": "table limit other",
    "with suppress(KeyError):\n    x = 1\ny = x": "suppress KeyError x",
    "for i in rows:\n    if i:\n        break\nelse:\n    x = 1\ny = x": "rows x",
}


@pytest.mark.parametrize("source", READS)
def test_exposed_reads_are_those_that_an_earlier_cell_must_bind(source: str) -> None:
    """A read counts unless every path through the cell binds the name first."""
    assert cell_facts(source).reads == frozenset(READS[source].split())


@pytest.mark.parametrize(
    ("source", "deleted", "maybe"),
    [
        ("x = 1\ndel x", "x", ""),
        ("if c:\n    del x", "x", "x"),
        ("del x\nx = 2", "", ""),
        ("x = 1\ndel x\nif c:\n    x = 2", "x", "x"),
        ("if True:\n    del x\n    if c:\n        x = 2", "x", "x"),
        ("with f:\n    del x\n    if c:\n        x = 2", "x", "x"),
        ("if c:\n    del x\ndel x", "x", ""),
        ("del x\nif c:\n    x = 2\nx = 3", "", ""),
    ],
)
def test_what_is_deleted_may_come_back(source: str, deleted: str, maybe: str) -> None:
    """A name that some path binds again after it was deleted is neither surely gone nor surely there."""
    facts = cell_facts(source)
    assert (facts.deleted, facts.maybe_deleted) == ({*deleted.split()}, {*maybe.split()})
    assert not facts.definite & facts.deleted


def test_functions_read_late() -> None:
    """What a function's body reads is wanted when it is called, not when it is defined."""
    facts = cell_facts("def f(x):\n    return x + rate\ng = lambda: other")
    assert facts.late_reads == {"rate", "other"}
    assert live_ins(facts) == {"rate", "other"}


def test_a_function_reads_what_its_query_names() -> None:
    """pandas looks the names up where query() is called, so the function needs them."""
    assert cell_facts("def near(t):\n    return t.query('x < @limit')").late_reads == {"limit"}


def test_the_name_of_a_handler_lives_no_longer_than_the_handler() -> None:
    """`except E as e` binds e only for its own statements."""
    facts = cell_facts("try:\n    f()\nexcept E as e:\n    print(e)")
    assert facts.caught == {"e"}
    assert "e" not in facts.bound


def test_global_statements_bind_notebook_names() -> None:
    """`global` makes a function bind a name of the notebook."""
    facts = cell_facts("def f():\n    global count\n    count = 1")
    assert facts.written_globals == {"count"}
    assert "count" in facts.bound
    assert "count" not in facts.definite


@pytest.mark.parametrize(
    "source", ["exec('x = 1')", "eval('x')", "globals()['x'] = 1", "locals()", "def f():\n    exec(s)"]
)
def test_dynamic_code_is_recognised(source: str) -> None:
    """Names may appear that no analysis sees."""
    assert cell_facts(source).is_dynamic


@pytest.mark.parametrize(
    "source",
    ["df.eval('a + b')", "model.eval()", "exec(code, {})", "vars(x)", "dir(x)", "def f():\n    return locals()"],
)
def test_namesakes_are_not_dynamic(source: str) -> None:
    """Methods of that name, and calls with a namespace of their own, are ordinary."""
    assert not cell_facts(source).is_dynamic


def test_changes_in_place_are_seen() -> None:
    """Subscripts, attributes, augmented assignment, mutating methods and inplace=True."""
    facts = cell_facts(
        "a[0] = 1\nb.c = 2\nd += e\nf.append(1)\ng.drop(columns='x', inplace=True)\nh.head()\ndel i['k']"
    )
    assert facts.mutated == {"a", "b", "d", "f", "g", "i"}


def test_a_comprehension_hides_its_own_names() -> None:
    """The loop variable is neither bound nor read."""
    facts = cell_facts("y = [x for x in rows]\nz = [(last := v) for v in rows]")
    assert facts.bound == {"y", "z", "last"}
    assert "x" not in facts.uses


def test_top_level_await_is_seen() -> None:
    """await, async for and async with; not those inside an async function."""
    assert cell_facts("x = await f()").is_async
    assert cell_facts("ys = [y async for y in ys()]").is_async
    assert not cell_facts("async def f():\n    await g()").is_async


def test_liveness_runs_backwards_over_the_cells() -> None:
    """A name is a live-out where a later cell reads it before anything binds it anew."""
    cells = ["a = 1\nb = 2\nc = 3", "d = a", "b = d", "print(b, nowhere)"]
    flows = liveness([cell_facts(cell) for cell in cells])
    assert [flow.live_outs for flow in flows] == [{"a"}, {"d"}, {"b"}, set()]
    assert [flow.live_ins for flow in flows] == [set(), {"a"}, {"d"}, {"b"}]
    assert flows[3].unknown == {"nowhere"}


FUNCTIONS = [
    "def f(a, *b, c=1, **d):\n    e = a + g\n    return [e for h in i if h > j]",
    "def f():\n    def inner():\n        nonlocal x\n        x = y\n    x = 1\n    return inner",
    "def f():\n    class C(Base):\n        a = b\n        def m(self):\n            return a, c\n    return C",
    "def f():\n    global g\n    g = 1\n    return g + h",
    "def f():\n    import os, a.b as c\n    from d import e\n    return os, c, e, z",
    "def f():\n    try:\n        q()\n    except E as e:\n        return e\n    with w() as v:\n        return v",
    "def f(x):\n    return (lambda y: x + y + z)(1)",
    "def f(x):\n    for x.attr in rows:\n        del x.attr\n    return f(x)",
    "def f(x):\n    match x:\n        case {'k': v, **rest}:\n            return v, rest\n        case P(q=w) | w:\n            return w",
    "def f():\n    if (n := read()) > limit:\n        return n",
]


@pytest.mark.parametrize("source", FUNCTIONS)
def test_free_names_agree_with_symtable(source: str) -> None:
    """Python's own symbol table says the same of every name that a function takes from the module."""
    node = ast.parse(source).body[0]
    assert isinstance(node, ast.FunctionDef)
    expected: set[str] = set()

    def walk(table: symtable.SymbolTable) -> None:
        for symbol in table.get_symbols():
            if symbol.is_global() and symbol.is_referenced():
                expected.add(symbol.get_name())
        for child in table.get_children():
            walk(child)

    for child in symtable.symtable(source, "<test>", "exec").get_children():
        walk(child)
    assert free_names(node).names == expected
