"""Helper modules beside the notebook: found without importing them, and copied into the package's vendor folder."""

from __future__ import annotations

import ast
import re
import shutil
import sys
import tempfile
import weakref
from pathlib import Path

from mlguard_convert.plan import VendorFile
from mlguard_convert.planning.draft import Draft, Unit

__all__ = ["Helpers"]

_WRITTEN = re.compile(r"%%(?:writefile|file)\s+(?:\./)?([A-Za-z_]\w*\.py)")


class Helpers:
    """The .py files that the notebook can import from its own folder and from literal sys.path entries."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._folder = folder = draft.notebook.path.parent.absolute()
        self._roots = [*self._written(), folder]
        self.path_changes_at_run_time = self._adds = False
        self._copied: dict[Path, str] = {}
        telling = ["path" in cell.source for cell in draft.cells]
        for unit in draft.units:
            if not telling[unit.position]:
                continue
            entry = self._entry(unit)
            if entry is not None:
                self._roots.append((folder / entry).resolve())
                self._adds = True
            elif _takes_back(unit):
                continue
            elif "sys.path" in unit.text and not isinstance(unit.node, (ast.FunctionDef, ast.ClassDef)):
                self.path_changes_at_run_time = True

    def _written(self) -> list[Path]:
        """A folder with the modules that `%%writefile NAME.py` cells write, which `find` looks into first, or none.

        It goes with this object. Only the text of the cells is there, to be read like any helper; none of it is run.
        """
        texts: dict[str, str] = {}
        for cell in self._draft.cells:
            head, _, body = cell.cell.source.lstrip("\n").partition("\n")
            if match := _WRITTEN.fullmatch(head.strip()):
                texts[match[1]] = body
        if not texts:
            return []
        folder = Path(tempfile.mkdtemp(prefix="mlguard-helpers-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        return [folder]

    def _entry(self, unit: Unit) -> str | None:
        """The literal that `sys.path.append("..")` or `.insert(0, "..")` adds."""
        call = unit.node.value if isinstance(unit.node, ast.Expr) else None
        if not (isinstance(call, ast.Call) and re.match(r"(sys\.)?path\.(append|insert)$", ast.unparse(call.func))):
            return None
        last = call.args[-1] if call.args else None
        while isinstance(last, ast.Call) and len(last.args) == 1:  # os.path.abspath("..")
            last = last.args[0]
        return last.value if isinstance(last, ast.Constant) and isinstance(last.value, str) else None

    def is_path_change(self, unit: Unit) -> bool:
        """Whether the statement only adds a literal folder to sys.path, or takes one out again."""
        return self._entry(unit) is not None or (self._adds and _takes_back(unit))

    def find(self, module: str) -> Path | None:
        """The file of a helper module, None where `module` is not one."""
        parts = module.split(".")
        if not all(part.isidentifier() for part in parts) or parts[0] in sys.stdlib_module_names:
            return None
        for root in self._roots:
            target = root.joinpath(*parts)
            for file in (target.with_suffix(".py"), target / "__init__.py"):
                if file.is_file():
                    return file
            if len(parts) == 1 and target.is_dir() and root == self._folder and any(target.glob("*.py")):
                from mlguard_convert.planning.hoisting import _is_known

                return None if _is_known(module) else target
        return None

    def has(self, module: str) -> bool:
        """Whether `module` lies beside the notebook."""
        return self.find(module) is not None

    def rewritten(self, module: str, attribute: str | None, name: str, cell: int) -> tuple[str, str | None]:
        """Where an import of a helper points to in the package; other imports stay as they are."""
        if not self.has(module):
            return module, attribute
        self._copy(module, cell)
        if attribute is not None:
            if self.has(f"{module}.{attribute}"):
                self._copy(f"{module}.{attribute}", cell)
            return f"{self._draft.package}.vendor.{module}", attribute
        parent, _, last = module.rpartition(".")
        if not parent or name == module.partition(".")[0]:
            return f"{self._draft.package}.vendor", module.partition(".")[0]
        return f"{self._draft.package}.vendor.{parent}", last

    def public_names(self, module: str) -> frozenset[str] | None:
        """What `from module import *` binds, read from the file: a literal __all__, else its public names."""
        file = self.find(module)
        if file is None or not file.is_file():
            return None
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"))
        except (SyntaxError, ValueError, OSError):
            return None
        from mlguard_nb.dataflow import combine, statement_facts

        for node in tree.body:
            if isinstance(node, ast.Assign) and any(
                isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets
            ):
                try:
                    return frozenset(ast.literal_eval(node.value))
                except ValueError:
                    break
        facts = combine(statement_facts(node) for node in tree.body)
        return frozenset(name for name in facts.bound if not name.startswith("_"))

    def _copy(self, module: str, cell: int) -> None:
        """Take the file of `module`, its packages and every helper that it imports."""
        parts = module.split(".")
        for count in range(1, len(parts) + 1):
            file = self.find(".".join(parts[:count]))
            if file is None or file in self._copied:
                continue
            is_package = file.is_dir() or file.name == "__init__.py"
            target = "/".join(parts[:count]) + ("/__init__.py" if is_package else ".py")
            self._copied[file] = target
            source = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
            self._draft.vendor[target] = VendorFile(f"vendor/{target}", self._adapted(source, cell, file))
            where = file.name if file.is_file() else f"{file.name}/"
            self._draft.change((cell,), f"`{where}`, a helper beside the notebook, was copied to `vendor/{target}`")

    def _adapted(self, source: str, cell: int, file: Path) -> str:
        """A helper's text with imports of other helpers pointing into vendor/."""
        from mlguard_convert.diagnostics import Findings
        from mlguard_convert.ipython_syntax import plain_cell
        from mlguard_convert.reader import Cell

        findings = Findings()
        plain = plain_cell(Cell(number=cell, source=source), findings)
        if plain is None:
            self._draft.findings.error("helper", cell, f"the helper module {file.name} cannot be read as Python")
            return source
        lines = plain.source.split("\n")
        for node in ast.walk(plain.tree):
            if not isinstance(node, (ast.Import, ast.ImportFrom)) or node.end_lineno is None:
                continue
            if isinstance(node, ast.ImportFrom) and (node.level or not self.has(node.module or "")):
                continue
            if isinstance(node, ast.Import) and not any(self.has(alias.name) for alias in node.names):
                continue
            pad = " " * node.col_offset
            new = "; ".join(self._import_lines(node, cell))
            lines[node.lineno - 1 : node.end_lineno] = [pad + new, *([""] * (node.end_lineno - node.lineno))]
        return "\n".join(lines)

    def _import_lines(self, node: ast.Import | ast.ImportFrom, cell: int) -> list[str]:
        if isinstance(node, ast.ImportFrom):
            names = ", ".join(ast.unparse(alias) for alias in node.names)
            for alias in node.names:
                self.rewritten(node.module or "", alias.name, alias.name, cell)
            return [f"from {self._draft.package}.vendor.{node.module} import {names}"]
        found = []
        for alias in node.names:
            name = alias.asname or alias.name.partition(".")[0]
            module, attribute = self.rewritten(alias.name, None, name, cell)
            if attribute is None:
                found.append(f"import {ast.unparse(alias)}")
            else:
                found.append(f"from {module} import {attribute}" + (f" as {name}" if name != attribute else ""))
        return found

    def finish(self) -> None:
        """Give vendor/ and each folder in it an __init__.py."""
        if not self._draft.vendor:
            return
        folders = {""}
        for target in list(self._draft.vendor):
            parts = target.split("/")[:-1]
            folders |= {"/".join(parts[: count + 1]) + "/" for count in range(len(parts))}
        for folder in folders:
            text = '"""Helper modules that lay beside the notebook."""\n' if not folder else ""
            self._draft.vendor.setdefault(f"{folder}__init__.py", VendorFile(f"vendor/{folder}__init__.py", text))


def _takes_back(unit: Unit) -> bool:
    """`sys.path.remove("..")` and `sys.path.pop()`."""
    return re.fullmatch(r"sys\.path\.(?:remove|pop)\([^()]*\)", unit.text) is not None
