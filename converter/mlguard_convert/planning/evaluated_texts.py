"""Texts that a library runs as code, in `__main__` or where it is called: the names that they need are handed over."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from mlguard_convert.ipython_syntax import edited
from mlguard_convert.planning.draft import Draft
from mlguard_convert.planning.formulas import code_names
from mlguard_nb.dataflow.scopes import arguments, named_in_text, names_with_at, target_names

__all__ = ["dict_of", "hand_over_names"]

_Edit = tuple[ast.expr, str]
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_MAIN_IMPORT = re.compile(r"\s*from __main__ import ([\w, ]+)(?:;|\n|$)")
_TIMERS = frozenset({"timeit", "repeat", "Timer"})


def hand_over_names(draft: Draft) -> None:
    """`cProfile.run("f()")`, `timeit("f()", setup="from __main__ import f")` and queries inside functions find their
    names in the notebook because these are globals of `__main__`: each call says now which ones it means.
    """
    for position, cell in enumerate(draft.cells):
        if not any(word in cell.source for word in ("query", "eval", "timeit", "rofile")):
            continue
        source, last = cell.source, ""
        while source != last:  # one edit at a time: calls may be nested
            last = source
            for find in (_profiled, _timed, _queried):
                edits = next(iter(find(draft, ast.parse(source), source)), None)
                source = edited(source, edits) if edits else source
        if source != cell.source:
            draft.rewrite(position, source)
            text = "code that a library runs as text is given the variables that it names: they are no globals any more"
            draft.change((cell.number,), text)
            draft.fill()


def _profiled(draft: Draft, tree: ast.Module, source: str) -> Iterator[list[_Edit]]:
    """`cProfile.run("f(n)")` runs the text with the globals of `__main__`."""
    for node in ast.walk(tree):
        call = node.value if isinstance(node, ast.Expr) else None
        text = _first_text(call) if isinstance(call, ast.Call) else None
        if text is None or not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
            continue
        module = ast.unparse(call.func.value)
        if call.func.attr != "run" or module not in ("cProfile", "profile"):
            continue
        binds = any(isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store) for one in ast.walk(ast.parse(text)))
        names = dict_of(code_names(text, draft.binders))
        rest = [ast.get_source_segment(source, one) or "" for one in (*call.args[1:], *call.keywords)]
        if not binds:
            yield [(call, f"{module}.runctx({', '.join([repr(text), names, '{}', *rest])})")]
        elif module == "cProfile":
            sort = next((ast.unparse(one.value) for one in call.keywords if one.arg == "sort"), "")
            file = ast.unparse(call.args[1]) if len(call.args) > 1 else ""
            ending = f"dump_stats({file})" if file else f"print_stats({sort})"
            body = text.strip("\n").replace("\n", "\n    ")
            yield [(call, f"with cProfile.Profile() as _profile:\n    {body}\n_profile.{ending}")]


def _timed(draft: Draft, tree: ast.Module, source: str) -> Iterator[list[_Edit]]:
    """`timeit.timeit("f(n)", setup="from __main__ import f, n")`, also with `globals=globals()`."""
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call) or _called(call) not in _TIMERS or not call.args:
            continue
        given = {one.arg: one.value for one in call.keywords}
        setup = given.get("setup", call.args[1] if len(call.args) > 1 else None)
        before = setup.value if isinstance(setup, ast.Constant) and isinstance(setup.value, str) else ""
        listed = [name.strip() for names in _MAIN_IMPORT.findall(before) for name in names.split(",")]
        everything = ast.unparse(given["globals"]) == "globals()" if "globals" in given else False
        text = _first_text(call)
        if not (listed or (everything and text is not None)) or ("globals" in given and not everything):
            continue
        read = code_names(f"{_MAIN_IMPORT.sub('', before)}\n{text or ''}", draft.binders)
        names = dict_of(list(dict.fromkeys([*listed, *read])))
        edits = [(given["globals"], names)] if everything else []
        if setup is not None and listed:
            rest = _MAIN_IMPORT.sub("", before).strip() or "pass"
            edits.append((setup, repr(rest)))
        if not everything:
            last = _last_value(call)
            own = next((text for node, text in edits if node is last), ast.get_source_segment(source, last))
            edits = [(node, text) for node, text in edits if node is not last]
            edits.append((last, f"{own}, globals={names}"))
        yield edits


def _queried(draft: Draft, tree: ast.Module, source: str) -> Iterator[list[_Edit]]:
    """`table.query("price > @limit")` looks into the frame that calls it: a variable of a step outside that frame is
    seen only when it is named there.
    """
    for call, own in _calls_in_scopes(tree, None):
        names = [] if own is None else _named(draft, tree, call, own | draft.binders.keys())
        if own is None or not names or any(one.arg in ("local_dict", "global_dict") for one in call.keywords):
            continue
        if own.issuperset(names) or not (own | draft.binders.keys()).issuperset(names):
            continue
        last = _last_value(call)
        yield [(last, f"{ast.get_source_segment(source, last)}, local_dict={dict_of(names)}")]


def _named(draft: Draft, tree: ast.Module, call: ast.Call, known: set[str]) -> list[str]:
    """The variables that the text of a call names; also where the text has a name of its own, `table.query(wanted)`."""
    found = sorted(named_in_text(call))
    if isinstance(call.func, ast.Attribute) and call.func.attr in ("query", "eval"):
        for name in [one.id for one in call.args[:1] if isinstance(one, ast.Name)]:
            places = [tree, *(unit.node for unit in draft.binders.get(name, ()))]
            found = sorted({*found, *(one for place in places for one in _named_by(place, name))} & known)
    root = ast.unparse(call.func.value) if isinstance(call.func, ast.Attribute) else ""
    text = _first_text(call)
    if text is not None and root in ("pd", "pandas", "ne", "numexpr") and _called(call) in ("eval", "evaluate"):
        found += [name for name in code_names(text, known) if name not in found]
    return found


def _named_by(tree: ast.AST, name: str) -> Iterator[str]:
    """The variables that texts name which are assigned to `name`."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and name in target_names(node):
            for text in ast.walk(node):
                if isinstance(text, ast.Constant) and isinstance(text.value, str):
                    yield from names_with_at(text.value)


def _calls_in_scopes(node: ast.AST, own: set[str] | None) -> Iterator[tuple[ast.Call, set[str] | None]]:
    """Every call, with the names that are local to the function or comprehension around it; None at the top. Inner
    calls come first.
    """
    for child in ast.iter_child_nodes(node):
        inner = own
        if isinstance(child, _FUNCTIONS):
            inner = {one.arg for one in arguments(child.args)} | target_names(child)
        elif isinstance(child, _COMPREHENSIONS):
            inner = {name for one in child.generators for name in target_names(one.target)}
        yield from _calls_in_scopes(child, inner)
        if isinstance(child, ast.Call):
            yield child, own


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _first_text(call: ast.Call) -> str | None:
    """The text that is the first argument, where it is code."""
    first = call.args[0] if call.args else None
    if not isinstance(first, ast.Constant) or not isinstance(first.value, str):
        return None
    try:
        ast.parse(first.value)
    except (SyntaxError, ValueError):
        return None
    return first.value


def _last_value(call: ast.Call) -> ast.expr:
    values = [*call.args, *(one.value for one in call.keywords)]
    return max(values, key=lambda one: (one.end_lineno or 0, one.end_col_offset or 0))


def dict_of(names: list[str]) -> str:
    """The source of a dict that holds the values of these names."""
    return "{" + ", ".join(f'"{name}": {name}' for name in names) + "}"
