"""One notebook through one converter after the other: what holds of each product, as a row for the table."""

from __future__ import annotations

import ast
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mlguard_convert.notebook_run import NotebookRun, run_notebook
from mlguard_convert.verify import compare_runs, verify
from tests.public.tools import OURS, TOOLS, Product, Refused

__all__ = ["measure", "runs_on_import"]

_CELL_SECONDS = 20  # a notebook with a slower cell counts as one that does not run here
_RUN_SECONDS = 180
_MADE_BY_IMPORTS = {"App", "command_line", "TypeVar", "getLogger", "namedtuple", "ParamSpec"}
_INERT = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Pass)


def measure(path: Path, tools: Collection[str], *, run: bool) -> dict[str, Any]:
    """What became of the notebook at `path`: {"notebook", "runs", "lacks", "tools": {name: row}}.

    A row holds "refused" or "crash" (a line), or which of "parses", "imports", "ruff", "runs" and "equal" hold, and
    "why" not. "runs" of the notebook itself is None when it was not executed, else "" or what failed.
    """
    found: dict[str, Any] = {"notebook": str(path), "runs": None, "lacks": lacking(path), "tools": {}}
    with tempfile.TemporaryDirectory(prefix="mlguard-public-") as scratch:
        products: dict[str, Product] = {}
        for tool in tools:
            folder = Path(scratch) / str(len(found["tools"]))
            folder.mkdir()
            row: dict[str, Any] = {}
            found["tools"][tool] = row
            try:
                products[tool] = TOOLS[tool](path, folder)
            except Refused as error:
                row["refused"] = str(error)
                continue
            except Exception as error:
                row["crash"] = f"{type(error).__name__}: {error}".splitlines()[0]
                continue
            row.update(_looked_at(products[tool], folder, importable=not found["lacks"]))
            if tool == OURS and _is_missing(row.get("why", ""), products[tool].package):
                found["lacks"] = [row["why"]]
        if run and not found["lacks"] and any(found["tools"][tool].get("parses") for tool in products):
            _execute(path, products, found, Path(scratch))
    return found


def _is_missing(why: str, package: str) -> bool:
    """Whether an import failed for a library that is not here, or is too new for the notebook."""
    return why.startswith(("ModuleNotFoundError", "ImportError")) and f"'{package}" not in why


def lacking(path: Path) -> list[str]:
    """The modules that the notebook imports and that are not installed here, nor lie beside it."""
    from mlguard_convert.plan import make_plan
    from mlguard_convert.reader import read_notebook
    from mlguard_nb.errors import ConversionError

    try:
        plan = make_plan(read_notebook(path))
    except ConversionError:
        return []
    return sorted({name for name in plan.modules if name not in plan.optional and find_spec(name) is None})


def _looked_at(product: Product, folder: Path, *, importable: bool) -> dict[str, Any]:
    """What can be said without running the product."""
    row: dict[str, Any] = {"parses": True}
    for file in product.code:
        try:
            compile(file.read_bytes(), file.name, "exec")
        except (SyntaxError, ValueError) as error:
            return {"parses": False, "why": f"{file.name}: {error}"}
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--select=F,E9"]
    command += ["--output-format=concise", *map(str, product.code)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    row["ruff"] = done.returncode == 0
    if done.returncode:
        row["ruff_says"] = done.stdout.strip()
    running = [
        file.name for file in product.code if "vendor" not in file.parts and runs_on_import(file.read_text("utf-8"))
    ]
    if running:
        return {**row, "imports": False, "why": f"importing {running[0]} runs the notebook"}
    if importable:
        row.update(_imported(product, folder))
    return row


def runs_on_import(source: str) -> bool:
    """Whether a module does more, when it is imported, than to import, to define, and to name plain values."""
    return any(_acts(statement) for statement in ast.parse(source).body)


def _acts(statement: ast.stmt) -> bool:
    if isinstance(statement, _INERT):
        return False
    if isinstance(statement, ast.If):  # `if __name__ == "__main__":`, `if TYPE_CHECKING:`
        names = {node.id for node in ast.walk(statement.test) if isinstance(node, ast.Name)}
        return not names & {"__name__", "TYPE_CHECKING"} and any(map(_acts, [*statement.body, *statement.orelse]))
    if isinstance(statement, ast.Try):
        parts = [*statement.body, *statement.orelse, *statement.finalbody]
        return any(map(_acts, [*parts, *(one for handler in statement.handlers for one in handler.body)]))
    if isinstance(statement, (ast.Assign, ast.AnnAssign, ast.Expr)):
        calls = [node for node in ast.walk(statement) if isinstance(node, (ast.Call, ast.Await))]
        plain = isinstance(statement, ast.Expr) and not isinstance(statement.value, ast.Constant)
        return plain or any(_called(node) not in _MADE_BY_IMPORTS for node in calls)
    return True


def _called(node: ast.AST) -> str:
    function = node.func if isinstance(node, ast.Call) else node
    return getattr(function, "attr", getattr(function, "id", ""))


def _imported(product: Product, folder: Path) -> dict[str, Any]:
    """A real import in an empty folder: it must succeed, print nothing and write nothing."""
    empty = folder / "empty"
    empty.mkdir()
    module = f"{product.package}.__main__" if product.kind == "package" else product.code[0].stem
    place = product.entry / "src" if product.kind == "package" else product.code[0].parent
    command = [sys.executable, "-W", "ignore", "-c", f"import importlib; importlib.import_module({module!r})"]
    done = _run(command, empty, place)
    if done is None or done.returncode or done.stdout or list(empty.iterdir()):
        said = done.stderr.strip().splitlines() if done is not None else ["it does not end"]
        return {"imports": False, "why": (said or ["importing it prints or writes something"])[-1]}
    return {"imports": True}


def _run(command: list[str], cwd: Path, pythonpath: Path) -> subprocess.CompletedProcess[str] | None:
    environment = {
        **os.environ, "PYTHONPATH": str(pythonpath), "PYTHONHASHSEED": "0", "MPLBACKEND": "agg",
        "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    try:
        return subprocess.run(
            command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", timeout=_RUN_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return None


def _execute(path: Path, products: Mapping[str, Product], found: dict[str, Any], scratch: Path) -> None:
    """Run the notebook, then each product, and compare every final value by name."""
    fresh = _copies(path, scratch)
    first = run_notebook(path, next(fresh), timeout=_CELL_SECONDS)
    found["runs"] = first.error or ""
    if first.error is not None:
        return

    @cache
    def again(*, shown: bool = True) -> NotebookRun:
        return run_notebook(path, next(fresh), timeout=_CELL_SECONDS, shown=shown)

    for tool, product in products.items():
        row = found["tools"][tool]
        if not row.get("parses"):
            continue
        if tool == OURS:
            outcome = verify(path, product.entry, timeout=_RUN_SECONDS, first=first)
            rows, error = outcome.rows, outcome.error
        else:
            values, error = _replayed(product, next(fresh), scratch)
            unshown = partial(again, shown=False)
            rows = compare_runs(first.values, values, again, unshown).rows if error is None else ()
        different = [one for one in rows if one.equal is False]
        row["runs"], row["equal"] = error is None, error is None and not different
        row["names"] = sum(one.equal is not None for one in rows)
        if error or different:
            row["why"] = error or "; ".join(f"{one.name}: {one.how} {one.detail}" for one in different)


def _copies(path: Path, scratch: Path) -> Iterator[Path]:
    """The notebook's folder as it is, again and again."""
    number = 0
    while True:
        number += 1
        work = scratch / f"work{number}"
        shutil.copytree(path.parent, work, symlinks=True)
        yield work


def _replayed(product: Product, work: Path, scratch: Path) -> tuple[dict[str, Any], str | None]:
    """What running the product ended with, and why it did not run."""
    out = scratch / "found.pickle"
    out.unlink(missing_ok=True)
    command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("replay.py")), product.kind]
    done = _run([*command, str(product.entry), str(out)], work, work)
    if done is None:
        return {}, f"it takes longer than {_RUN_SECONDS} s"
    if done.returncode or not out.is_file():
        return {}, (done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"])[-1]
    return {"results": pickle.loads(out.read_bytes()), "locals": {}}, None
