"""Notebooks made of source texts, executed cell by cell in one namespace and as the package that they become."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import importlib
import inspect
import io
import itertools
import json
import sys
import types
import warnings
from pathlib import Path
from typing import Any

from mlguard_convert.emit import emit_modules
from mlguard_convert.plan import Plan, PlanOptions, make_plan
from mlguard_convert.reader import read_notebook
from mlguard_nb.dataflow import cell_facts
from mlguard_nb.testing import no_wait

__all__ = [
    "convert",
    "guarded_values",
    "make_notebook",
    "notebook_values",
    "package_values",
    "sources",
    "surely_assigned",
    "values_of",
]

_count = itertools.count()


def make_notebook(folder: Path, *cells: Any, name: str = "nb") -> Path:
    """A notebook file: texts are code cells, "# ..." headings come as ("markdown", text), tags as (text, [tags])."""
    made = []
    for cell in cells:
        kind, source, tags = "code", cell, []
        if isinstance(cell, tuple) and cell[0] == "markdown":
            kind, source = cell
        elif isinstance(cell, tuple):
            source, tags = cell
        one: dict[str, Any] = {"cell_type": kind, "metadata": {"tags": tags} if tags else {}, "source": source}
        made.append({**one, "outputs": [], "execution_count": None} if kind == "code" else one)
    path = folder / f"{name}.ipynb"
    path.write_text(json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    return path


def convert(path: Path, **options: Any) -> tuple[Plan, dict[str, str]]:
    """The plan, and the modules by their file name."""
    plan = make_plan(read_notebook(path), PlanOptions(**options))
    return plan, emit_modules(plan)


def sources(folder: Path, *cells: Any, **options: Any) -> dict[str, str]:
    """The modules of a notebook of these cells, by short name such as "steps"."""
    _, modules = convert(make_notebook(folder, *cells), **options)
    return {Path(name).stem: text for name, text in modules.items() if "/vendor/" not in name}


def notebook_values(*cells: Any) -> dict[str, Any]:
    """What plain cells leave behind when they are executed in order in one namespace, which is `__main__` meanwhile."""
    main = types.ModuleType("__main__")
    main.__dict__.clear()
    namespace: dict[str, Any] = main.__dict__
    namespace.update({"__name__": "__main__", "display": print})
    before, sys.modules["__main__"] = sys.modules["__main__"], main
    try:
        _execute(cells, namespace)
    finally:
        sys.modules["__main__"] = before
    return namespace


def _execute(cells: tuple[Any, ...], namespace: dict[str, Any]) -> None:
    for cell in cells:
        source, tags = cell if isinstance(cell, tuple) else (cell, [])
        if source == "markdown":
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                code = compile(source, "<cell>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
                value = eval(code, namespace)
                if inspect.iscoroutine(value):
                    asyncio.run(value)
        except Exception:
            if "raises-exception" not in tags:
                raise


def guarded_values(*cells: Any) -> dict[str, Any]:
    """What cells with %%guard lines leave behind in a real IPython with the extension; no wait takes time.

    Raises what a cell raised, unless it is tagged raises-exception.
    """
    from IPython.core.interactiveshell import InteractiveShell

    from mlguard_nb.notebook.extension import load, unload

    shell = InteractiveShell()
    load(shell)
    try:
        for cell in cells:
            source, tags = cell if isinstance(cell, tuple) else (cell, [])
            if source == "markdown":
                continue
            with no_wait(), contextlib.redirect_stdout(io.StringIO()):
                done = shell.run_cell(source)
            if "raises-exception" not in tags:
                done.raise_error()
        return dict(shell.user_ns)
    finally:
        unload(shell)
        shell.history_manager.end_session()


def package_values(folder: Path, *cells: Any, base_dir: Path | None = None, **options: Any) -> dict[str, Any]:
    """What `run()` of the converted notebook returns."""
    return values_of(make_notebook(folder, *cells, name=f"nb_{next(_count)}"), base_dir=base_dir, **options)


def values_of(path: Path, base_dir: Path | None = None, **options: Any) -> dict[str, Any]:
    """What `run()` of this notebook's package returns; a second call runs the same package again."""
    plan, modules = convert(path, **options)
    root = path.parent / "package"
    for name, text in modules.items():
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        compile(text, name, "exec")
    sys.path.insert(0, str(root / "src"))
    try:
        importlib.invalidate_caches()
        package = importlib.import_module(plan.package)
        found = package.run(base_dir=base_dir)
        return dict(asyncio.run(found) if inspect.iscoroutine(found) else found)
    finally:
        sys.path.remove(str(root / "src"))


def surely_assigned(*cells: Any) -> set[str]:
    """The public names that plain assignment surely binds in the last cell that binds them."""
    found: set[str] = set()
    for cell in cells:
        source, tags = cell if isinstance(cell, tuple) else (cell, [])
        if source == "markdown":
            continue
        facts = cell_facts(source.replace("\r\n", "\n"))
        sure = facts.definite & facts.assigned if "raises-exception" not in tags else frozenset()
        found = (found - facts.bound - facts.deleted) | (
            set() if {"parameters", "injected-parameters"} & {*tags} else sure
        )
    return {name for name in found if not name.startswith("_")}
