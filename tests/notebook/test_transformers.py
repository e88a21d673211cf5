"""Line 1 becomes a marker, the rest a loop: the shapes, without a kernel."""

from __future__ import annotations

import ast

import pytest

from mlguard_nb.notebook.transformers import GuardCells, guard_line, only_defines
from mlguard_nb.policy.directive import parse


def _cells(everywhere: str | None = None, interactivity: str = "last_expr") -> GuardCells:
    return GuardCells(parse, lambda: everywhere, lambda: interactivity, lambda: 0)


def _transformed(source: str, **options: str) -> ast.Module:
    lines = "".join(guard_line(source.splitlines(keepends=True)))
    return _cells(**options).visit_Module(ast.parse(lines))  # type: ignore[arg-type]


def test_the_line_becomes_a_marker_of_one_line() -> None:
    """The number of lines stays, and a second pass changes nothing: kernels transform a cell twice."""
    lines = ["%%guard retry=3 # why\n", "x = 1\n"]
    once = guard_line(lines)

    assert once == ["__mlguard__('retry=3 # why')\n", "x = 1\n"]
    assert guard_line(once) == once


@pytest.mark.parametrize("first", ["%%guard?", "%%guardian x", "%guard on", "# %%guard", "x = '%%guard'", " %%guard"])
def test_other_lines_are_left_alone(first: str) -> None:
    """Help, other magics and text that only looks alike stay as they are."""
    assert guard_line([first + "\n", "1\n"]) == [first + "\n", "1\n"]


def test_empty_cells_are_left_alone() -> None:
    """No line at all is no error."""
    assert guard_line([]) == []


def test_every_node_of_the_user_keeps_its_place() -> None:
    """Statements of the cell carry the lines they were typed on."""
    tree = _transformed("%%guard\nx = 1\n\nif x:\n    y = 2\n")
    found = {node.targets[0].id: node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assign)}  # type: ignore[attr-defined]

    assert found == {"x": 2, "y": 5}
    compile(tree, "<cell>", "exec")


def test_a_cell_that_runs_in_a_loop_is_one_statement() -> None:
    """IPython compiles and runs each statement of a cell by itself, and every guarded cell would pay for a second."""
    assert len(_transformed("%%guard\nx = 1\ny = 2").body) == 1


def test_a_cell_that_awaits_gets_an_awaiting_loop() -> None:
    """Only then: an await inside a function does not count."""

    def loop(source: str) -> ast.While:
        return next(node for node in ast.walk(_transformed(source)) if isinstance(node, ast.While))

    assert isinstance(loop("%%guard\nawait f()").test, ast.Await)
    assert isinstance(loop("%%guard\n[x async for x in y()]").test, ast.Await)
    assert isinstance(loop("%%guard\nasync def f():\n    await g()\nx = 1").test, ast.Call)


def test_a_bad_line_leaves_only_the_marker() -> None:
    """The marker says what is wrong when it runs, and nothing of the cell does."""
    tree = _transformed("%%guard retires=3\nx = 1")

    assert ast.unparse(tree) == "__mlguard__('retires=3')"


def test_a_body_that_does_not_compile_is_left_as_it_is() -> None:
    """`break` outside a loop must not become legal by the loop around it."""
    assert ast.unparse(_transformed("%%guard\nbreak")) == "break"


@pytest.mark.parametrize(
    ("interactivity", "shown"),
    [("last_expr", 1), ("last", 1), ("all", 2), ("none", 0), ("last_expr_or_assign", 1)],
)
def test_ipythons_setting_for_results_counts(interactivity: str, shown: int) -> None:
    """ast_node_interactivity means the same as in a plain cell."""
    tree = _transformed("%%guard\nf()\nx = 1\ng()", interactivity=interactivity)

    assert ast.unparse(tree).count("__mlguard__.show(") == shown


def test_an_assignment_is_shown_where_ipython_would() -> None:
    """last_expr_or_assign shows the name that the last line binds."""
    assert "__mlguard__.show(x)" in ast.unparse(_transformed("%%guard\nx = 1", interactivity="last_expr_or_assign"))


def test_everywhere_guards_unmarked_cells_but_not_its_own_switch() -> None:
    """`%guard on` adds the marker; cells of %guard and %load_ext stay free of it."""
    guarded = _cells(everywhere="retry=2").visit_Module(ast.parse("x = 1"))
    switch = ast.parse("get_ipython().run_line_magic('guard', 'off')")

    assert ast.unparse(guarded).startswith("if __mlguard__('retry=2', 1, ()):\n    while ")
    assert "while" not in ast.unparse(_cells(everywhere="retry=2").visit_Module(switch))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f(): pass", True),
        ("import os\nclass A: pass\nasync def g(): pass", True),
        ('"""Doc."""\ndef f(): pass', True),
        ("def f(): pass\nx = 1", False),
        ("import os", False),
        ("class A: pass", False),
        ("f()", False),
    ],
)
def test_cells_that_only_define(source: str, expected: bool) -> None:
    """Definitions and imports only; imports and classes alone have no function to guard."""
    assert only_defines(ast.parse(source).body) is expected


def test_functions_are_decorated_above_their_own_decorators() -> None:
    """The guard is outermost, and only functions of the cell's top level carry it."""
    text = ast.unparse(_transformed("%%guard\n@staticmethod\ndef f():\n    def inner(): pass\n"))

    assert text.index("__mlguard__.decorate(1)") < text.index("@staticmethod")
    assert text.count("decorate(") == 1
