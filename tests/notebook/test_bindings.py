"""Names remembered and taken back."""

from __future__ import annotations

from typing import Any

from mlguard_nb.notebook.bindings import Bindings, names_in


def _after(source: str, **before: Any) -> tuple[dict[str, Any], Bindings]:
    namespace = dict(before)
    code = compile(source, "<cell>", "exec")
    bindings = Bindings(namespace, code)
    exec(code, namespace)
    namespace.pop("__builtins__")
    return namespace, bindings


def test_new_names_go_and_old_ones_come_back() -> None:
    """Bindings are restored to the very objects; nothing is copied."""
    old = [1]
    namespace, bindings = _after("kept = 2\nfresh = 3\nuntouched", kept=old, untouched=5)

    assert bindings.changed() == ("kept", "fresh")
    assert bindings.restore() is True
    assert namespace == {"kept": old, "untouched": 5} and namespace["kept"] is old


def test_deleted_names_come_back() -> None:
    """del is a binding too."""
    namespace, bindings = _after("del gone", gone=1)

    bindings.restore()
    assert namespace == {"gone": 1}


def test_objects_changed_in_place_stay_changed() -> None:
    """Only bindings are taken back, never what an object holds."""
    namespace, bindings = _after("items.append(2)", items=[1])

    assert bindings.restore() is False
    assert namespace["items"] == [1, 2]


def test_names_bound_in_functions_and_loops_count() -> None:
    """global in a function, loop targets, imports, with and except."""
    namespace, bindings = _after(
        "def f():\n    global deep\n    deep = 1\nf()\nfor i in range(2): pass\nimport os as system"
    )

    bindings.restore()
    assert namespace == {}


def test_code_that_binds_unseen_names_remembers_all() -> None:
    """exec, globals() and star imports: everything new goes."""
    namespace, bindings = _after("exec('hidden = 1')\nfrom math import *", kept=1)

    bindings.restore()
    assert namespace == {"kept": 1}


def test_what_ipython_binds_is_not_ours() -> None:
    """Out, In and the underscores are never taken back."""
    namespace, bindings = _after("globals().update(_=1, _12=3, x=2)")

    bindings.restore()
    assert namespace == {"_": 1, "_12": 3}


def test_names_in_reaches_nested_code() -> None:
    """Names inside functions inside classes are seen."""
    code = compile("class A:\n    def f(self):\n        return lambda: far_away", "<cell>", "exec")

    assert "far_away" in names_in(code)


def test_a_kept_value_is_what_a_failure_goes_back_to() -> None:
    """Between attempts an input can be replaced for good."""
    namespace, bindings = _after("size = 1", size=8)

    bindings.keep("size", 4)
    bindings.restore()
    assert namespace == {"size": 4}
