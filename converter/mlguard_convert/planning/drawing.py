"""Which statements draw: they call pyplot or seaborn, ask a frame or an axes to, or call what does that for them."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from mlguard_convert.planning.draft import Draft

__all__ = ["Drawing"]

_PLOTTING = ("matplotlib.pyplot", "pylab", "matplotlib.pylab", "seaborn", "mpl_toolkits.mplot3d")
# Their objects draw, whether or not the notebook knows pyplot.
_ASKED = frozenset({"geopandas", "pandas", "xarray"})
_ASKED_METHODS = frozenset({"boxplot", "hist", "plot"})
_METHODS = frozenset({
    "plot", "scatter", "hist", "bar", "barh", "boxplot", "imshow", "subplots", "pie", "contour", "contourf", "matshow",
    "pcolormesh", "heatmap", "violinplot", "errorbar", "fill_between", "stem", "xlabel", "ylabel", "legend", "subplot",
    "axhline", "axvline", "semilogx", "semilogy", "loglog", "suptitle", "tight_layout", "annotate", "hist2d", "quiver",
    "xlim", "ylim", "xticks", "yticks", "colorbar", "savefig", "gca", "gcf", "axes", "polar", "hexbin", "spy",
    "stackplot", "quadmesh",
})  # fmt: skip
_SETTING = ("set_", "use", "color_palette", "load_dataset", "reset", "rc", "get_dataset")
_QUIET = frozenset({"close", "set", "update"})


class Drawing:
    """What draws in one notebook: libraries, and its own functions and methods that call them, also of its helpers."""

    def __init__(self, draft: Draft) -> None:
        imported = [(one.name, one.module, one.attribute) for one in draft.imports.values()]
        helpers = list(_helpers(draft))
        self._names = _plotting_names([*imported, *(name for tree in helpers for name in _imported(tree))])
        self._methods = _METHODS if self._names else frozenset[str]()
        if not self._names and any(module.partition(".")[0] in _ASKED for _, module, _ in imported):
            self._methods = _ASKED_METHODS
        if self._methods:
            bodies = [*(node for tree in helpers for node in tree.body), *(unit.node for unit in draft.units)]
            self._names |= self._drawers(list(_definitions(bodies)))

    def draws(self, tree: ast.AST) -> bool:
        """Whether something in `tree` draws on a figure."""
        calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
        return bool(self._methods) and any(map(self._is_drawn, calls))

    def _is_drawn(self, call: ast.Call) -> bool:
        if not isinstance(call.func, ast.Attribute):
            return isinstance(call.func, ast.Name) and call.func.id in self._names
        method, asked = call.func.attr, call.func.value
        if method in self._methods or method in self._names:
            return True
        if isinstance(asked, ast.Attribute) and asked.attr == "plot":  # df.plot.bar()
            return True
        return _root(call.func) in self._names and method not in _QUIET and not method.startswith(_SETTING)

    def _drawers(self, definitions: list[tuple[str, ast.AST]]) -> set[str]:
        """The names of those that draw, themselves or by calling one that does."""
        callers: dict[str, list[str]] = {}
        for name, body in definitions:
            for node in ast.walk(body):
                if isinstance(node, ast.Call):
                    callers.setdefault(_called(node), []).append(name)
        waiting = [name for name, body in definitions if self.draws(body)]
        found: set[str] = set()
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += callers.get(name, ())
        return found


def _plotting_names(imported: Sequence[tuple[str, str, str | None]]) -> frozenset[str]:
    """The names for pyplot, pylab, seaborn and what is imported from them, among (name, module, attribute)."""
    found = {
        name
        for name, module, attribute in imported
        if (f"{module}.{attribute}" if attribute else module).startswith(_PLOTTING)
    }
    if not found and any(module.partition(".")[0] == "matplotlib" for _, module, _ in imported):
        found.add("matplotlib")
    return frozenset(found)


def _helpers(draft: Draft) -> Iterator[ast.Module]:
    """The helper modules that know how to draw."""
    for file in draft.vendor.values():
        if any(library in file.source for library in ("matplotlib", "pylab", "seaborn")):
            with suppress(SyntaxError):  # the helper is refused already
                yield ast.parse(file.source)


def _imported(tree: ast.Module) -> Iterator[tuple[str, str, str | None]]:
    """What a helper imports at its top, as (name, module, attribute)."""
    for node in tree.body:
        for alias in node.names if isinstance(node, (ast.Import, ast.ImportFrom)) else ():
            name = alias.asname or alias.name.partition(".")[0]
            if isinstance(node, ast.ImportFrom):
                yield name, node.module or "", alias.name
            else:
                yield name, alias.name, None


def _definitions(nodes: Iterable[ast.stmt]) -> Iterator[tuple[str, ast.AST]]:
    """What may be called, by the name that a call has: functions, methods, classes (their __init__), lambdas."""
    for node in nodes:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            for item in node.body:
                if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    yield (node.name if item.name.startswith("__") else item.name), item
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda):
            yield from ((target.id, node.value) for target in node.targets if isinstance(target, ast.Name))


def _called(call: ast.Call) -> str:
    """The name or method that is called."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _root(node: ast.AST) -> str:
    """The name at the bottom of `a.b[c].d`."""
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Call)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""
