"""Calls of libraries that put names into the namespace, written out as assignments: sympy's var and its session."""

from __future__ import annotations

import ast
import re

from mlguard_convert.planning.draft import Draft
from mlguard_nb.dataflow import combine, statement_facts

__all__ = ["bind_known_names"]


def bind_known_names(draft: Draft) -> None:
    """`var("P V")` of sympy becomes `P, V = symbols("P V")`; a script that is run gives the names that are read."""
    _bind_scripts(draft)
    made = {
        one.name: (one.module, one.attribute)
        for unit in draft.units
        for one in unit.facts.imports
        if one.module.partition(".")[0] == "sympy"
    }
    stars = {star for unit in draft.units for star in unit.facts.star_imports}
    if not made and "sympy" not in stars:
        return
    changed = False
    for position, cell in enumerate(draft.cells):
        lines = cell.source.split("\n")
        edited = False
        for node in reversed(cell.tree.body):
            text = _written_out(node, made, "sympy" in stars)
            if text is not None and node.end_lineno is not None:
                lines[node.lineno - 1 : node.end_lineno] = [text]
                edited = True
        if edited:
            source = "\n".join(lines)
            draft.rewrite(position, source)
            draft.change((cell.number,), "`var(...)` is written out as an assignment of symbols")
            changed = True
    if changed:
        draft.fill()


def _bind_scripts(draft: Draft) -> None:
    """`runpy.run_path("tools.py")`, from %run, gets the names that the script binds and only it can bind."""
    for position, cell in enumerate(draft.cells):
        for node in cell.tree.body if "runpy.run_path" in cell.source else ():
            text = ast.get_source_segment(cell.source, node) or ""
            path = re.fullmatch(r"runpy\.run_path\('(.+)', run_name='__main__'\)", text)
            if path is None:
                continue
            names = _names_of_script(draft, path[1])
            if names:
                shown = ", ".join(repr(name) for name in names)
                getter = f"operator.itemgetter({shown})({text})"
                source = cell.source.replace(text, f"{', '.join(names)} = {getter}", 1)
                source = f"import operator\n{source}"
                draft.rewrite(position, source)
                draft.fill()
            break


def _names_of_script(draft: Draft, path: str) -> list[str]:
    written = re.compile(rf"%%(?:writefile|file)\s+(?:\./)?{re.escape(path)}\s*\n(.*)", re.DOTALL)
    texts = [found[1] for cell in draft.cells if (found := written.fullmatch(cell.cell.source))]
    try:
        tree = ast.parse(texts[0] if texts else (draft.notebook.path.parent / path).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return []
    facts = combine(statement_facts(statement) for statement in tree.body)
    return sorted(name for name in facts.bound if name in draft.readers and name not in draft.binders)


def _written_out(node: ast.stmt, made: dict[str, tuple[str, str | None]], star: bool) -> str | None:
    call = node.value if isinstance(node, ast.Expr) else None
    if not (isinstance(call, ast.Call) and len(call.args) == 1 and isinstance(call.args[0], ast.Constant)):
        return None
    text = call.args[0].value
    if not isinstance(text, str) or re.search(r"[:()]", text):
        return None
    if isinstance(call.func, ast.Name) and (
        made.get(call.func.id, ("", ""))[1] == "var" or (star and call.func.id == "var")
    ):
        maker = (
            "symbols" if star or any(one[1] == "symbols" and name == "symbols" for name, one in made.items()) else None
        )
        prefix = "" if maker else "import sympy; "
        maker = maker or "sympy.symbols"
    elif (
        isinstance(call.func, ast.Attribute)
        and call.func.attr == "var"
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id in made
    ):
        maker, prefix = f"{call.func.value.id}.symbols", ""
    else:
        return None
    names = [name for name in re.split(r"[,\s]+", text.strip()) if name]
    if not names or not all(name.isidentifier() for name in names):
        return None
    options = "".join(f", {ast.unparse(keyword)}" for keyword in call.keywords)
    return f"{prefix}{', '.join(names)} = {maker}({text!r}{options})"
