"""Imports that move to the top of a module: name by name, keyed by (module, name, alias)."""

from __future__ import annotations

import ast
import sys
from importlib.machinery import PathFinder

from mlguard_convert.ipython_syntax import PlainCell
from mlguard_convert.plan import Import, ImportBlock
from mlguard_convert.planning.draft import Draft, Unit
from mlguard_convert.planning.stars import star_names
from mlguard_convert.planning.vendoring import Helpers
from mlguard_nb.dataflow import ImportedName, statement_facts

__all__ = ["hoist_imports"]

# Imports that change something by being imported: kept even when nobody reads the name.
_EFFECTS = ("mpl_toolkits", "sklearn.experimental", "scienceplots", "cmocean", "colorcet", "readline", "antigravity")
# Libraries whose import changes nothing that other code sees. Of any other an `import a` or `import a.b` that nobody
# reads may register something: `import hvplot.pandas` gives every frame an accessor.
_QUIET = frozenset({
    "IPython", "PIL", "altair", "bs4", "catboost", "cv2", "gensim", "httpx", "imageio", "ipywidgets", "joblib", "keras",
    "lightgbm", "matplotlib", "mlguard_nb", "networkx", "nltk", "numba", "numpy", "pandas", "plotly", "polars",
    "pydantic", "pytest", "requests", "scipy", "seaborn", "shap", "skimage", "sklearn", "spacy", "sqlalchemy",
    "statsmodels", "sympy", "tensorflow", "torch", "torchvision", "tqdm", "transformers", "xarray", "xgboost", "yaml",
})  # fmt: skip
_SEEDS = frozenset({"seed", "manual_seed", "set_seed", "set_random_seed", "seed_everything"})


def hoist_imports(draft: Draft) -> None:
    """Give every import its fate: hoisted, copied to vendor/, resolved from a star, or left where it stands."""
    helpers = Helpers(draft)
    _split(draft)
    for unit in draft.units:
        if isinstance(unit.node, ast.ImportFrom) and unit.node.module == "__future__":
            draft.futures += [alias.name for alias in unit.node.names if alias.name not in draft.futures]
            unit.fate = "gone"
    hoistable = _hoistable(draft)
    seeded: int | None = None
    for unit in draft.units:
        node = unit.node
        if unit.fate != "step":
            continue
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            if unit.facts.star_imports:
                _resolve_star(draft, unit, helpers)
                continue
            if all(one.name in hoistable for one in unit.facts.imports) and not _must_stay(draft, unit, helpers):
                _hoist(draft, unit, helpers)
                if seeded is not None and not all(_is_known(one.module) for one in unit.facts.imports):
                    text = "an import moved above the seeding call; if it draws random numbers, later ones differ"
                    draft.findings.info("import-after-seed", unit.number, f"{text} (seeded in cell {seeded})")
        elif isinstance(node, ast.Try):
            _try_block(draft, unit, hoistable, helpers)
        elif helpers.is_path_change(unit):
            unit.fate = "gone"
            draft.change((unit.number,), f"`{unit.text}` dropped: helper modules travel in `vendor/`")
        elif seeded is None and _seeds(node):
            seeded = unit.number
    helpers.finish()


def _split(draft: Draft) -> None:
    """Imports of several names, of which some are bound otherwise too, become one statement a name."""
    mixed: set[int] = set()
    hoistable = _hoistable(draft)
    for unit in draft.units:
        names = [one.name for one in unit.facts.imports]
        plain = isinstance(unit.node, (ast.Import, ast.ImportFrom))
        if plain and len(names) > 1 and 0 < sum(name in hoistable for name in names) < len(names):
            mixed.add(unit.position)
    for position in mixed:
        draft.rewrite(position, _with_single_imports(draft.cells[position]))
    if mixed:
        draft.fill()


def _with_single_imports(cell: PlainCell) -> str:
    lines = cell.source.split("\n")
    for node in reversed(cell.tree.body):
        if isinstance(node, (ast.Import, ast.ImportFrom)) and len(node.names) > 1:
            rows = range(node.lineno - 1, node.end_lineno or node.lineno)
            if any(other is not node and other.lineno - 1 in rows for other in cell.tree.body):
                continue
            if isinstance(node, ast.Import):
                lines[rows.start : rows.stop] = [ast.unparse(ast.Import([alias])) for alias in node.names]
            else:
                lines[rows.start : rows.stop] = [
                    ast.unparse(ast.ImportFrom(node.module, [alias], node.level)) for alias in node.names
                ]
    return "\n".join(lines)


def _hoistable(draft: Draft) -> set[str]:
    """Names that only imports bind, always to the same thing, and that live from then on."""
    found: set[str] = set()
    for name, units in draft.binders.items():
        keys = {_key(one) for unit in units for one in unit.facts.imports if one.name == name}
        kinds = (ast.Import, ast.ImportFrom, ast.Try)
        only_imports = all(
            isinstance(unit.node, kinds) and any(one.name == name for one in unit.facts.imports) for unit in units
        )
        alone_in_try = len(units) == 1 and isinstance(units[0].node, ast.Try)
        if only_imports and (len(keys) == 1 or alone_in_try):
            found.add(name)
    return found - draft.deleted - draft.caught - draft.written


def _key(one: ImportedName) -> tuple[str, str | None]:
    """What a name means; `import a.b` and `import a` both bind a."""
    top = one.module.partition(".")[0]
    return (top if one.attribute is None and one.name == top else one.module), one.attribute


def _must_stay(draft: Draft, unit: Unit, helpers: Helpers) -> bool:
    """Relative imports, and modules that can only be found by what the notebook does to sys.path when it runs."""
    if unit.cell.may_raise:
        return True
    for one in unit.facts.imports:
        if one.module.startswith("."):
            return True
        if not _is_known(one.module) and not helpers.has(one.module) and helpers.path_changes_at_run_time:
            return True
    return False


def _is_known(module: str) -> bool:
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names:
        return True
    try:
        return PathFinder.find_spec(top) is not None
    except (ImportError, ValueError):
        return False


def _hoist(draft: Draft, unit: Unit, helpers: Helpers) -> None:
    unit.fate = "import"
    for one in unit.facts.imports:
        module, attribute = helpers.rewritten(one.module, one.attribute, one.name, unit.number)
        key = (one.name, module, attribute)
        effect = _may_act(one)
        if key not in draft.imports:
            draft.imports[key] = Import(one.name, module, attribute, unit.number, effect)
        top = one.module.partition(".")[0]
        if not helpers.has(one.module) and not _is_known(one.module):
            draft.findings.warning(
                "module-not-found", unit.number, f"the module {top} is neither installed here nor beside the notebook",
                "The package imports it all the same.",
            )  # fmt: skip


def _may_act(one: ImportedName) -> bool:
    """Whether the import may be there for what it does, so that it stays when nobody reads its name."""
    if one.module.startswith(_EFFECTS):
        return not one.module.startswith("mpl_toolkits.basemap")
    top = one.module.partition(".")[0]
    return one.attribute is None and one.name == top and top not in _QUIET | set(sys.stdlib_module_names)


def _resolve_star(draft: Draft, unit: Unit, helpers: Helpers) -> None:
    """`from module import *` becomes imports of those of its names that the notebook reads and nobody else binds."""
    module = unit.facts.star_imports[0]
    names = helpers.public_names(module) if helpers.has(module) else star_names(module)
    if names is None:
        draft.findings.error(
            "star-import", unit.number, f"what `from {module} import *` binds is not known: it is not installed here",
            "Install it, or import the names one by one.",
        )  # fmt: skip
        return
    unit.fate = "import"
    read = {name for name in names if any(one.position >= unit.position for one in draft.readers.get(name, ()))}
    wanted = sorted(name for name in read if name not in draft.binders)
    hidden = sorted(name for name in read if name in draft.binders and draft.binders[name][0].position > unit.position)
    for name in hidden:
        used = [one for one in draft.readers[name] if one.position < draft.binders[name][0].position]
        if used and not all(one.facts.imports for one in draft.binders[name]):
            draft.findings.warning(
                "star-import", unit.number, f"{name} comes from `{module}` first and is bound again in cell "
                f"{draft.binders[name][0].number}", "Import it under another name.",
            )  # fmt: skip
    for name in wanted:
        target, attribute = helpers.rewritten(module, name, name, unit.number)
        for key in [key for key in draft.imports if key[0] == name]:
            del draft.imports[key]  # a later star wins
        draft.imports[name, target, attribute] = Import(name, target, attribute, unit.number)
    shown = ", ".join(wanted[:6]) + (", ..." if len(wanted) > 6 else "")
    draft.change((unit.number,), f"`from {module} import *` imports only what is used: {shown or 'nothing'}")


def _try_block(draft: Draft, unit: Unit, hoistable: set[str], helpers: Helpers) -> None:
    """A try around imports moves up as it is; where its handler only installs, it is a plain import."""
    node = unit.node
    assert isinstance(node, ast.Try)
    if not node.body or not all(isinstance(one, (ast.Import, ast.ImportFrom)) for one in node.body):
        return
    if node.finalbody or unit.facts.star_imports or unit.cell.may_raise:
        return
    handled = [one for handler in node.handlers for one in handler.body] + node.orelse
    imports = (ast.Import, ast.ImportFrom, ast.Pass)
    bound_here = all(draft.binders[name] == [unit] for name in unit.facts.bound)
    tried = {(one.module, one.attribute) for one in _imported(node.body)}
    again = {(one.module, one.attribute) for one in _imported(handled)}
    installs = any("depend" in text for text in unit.cell.changes) and all(isinstance(one, imports) for one in handled)
    if installs and again <= tried and all(name in hoistable for name in unit.facts.bound):
        _hoist(draft, unit, helpers)
        return
    plain = (*imports, ast.Assign)
    literal = all(not isinstance(one, ast.Assign) or isinstance(one.value, ast.Constant) for one in handled)
    if bound_here and literal and all(isinstance(one, plain) for one in handled):
        names = tuple(sorted(unit.facts.bound))
        if any(name in draft.deleted | draft.caught | draft.written for name in names):
            return
        if any(helpers.has(one.module) for one in unit.facts.imports):
            return
        unit.fate = "block"
        values = unit.facts.assigned & unit.facts.definite
        draft.blocks.append(ImportBlock(names, unit.piece, tuple(name for name in names if name in values)))


def _imported(statements: list[ast.stmt]) -> list[ImportedName]:
    return [one for statement in statements for one in statement_facts(statement).imports]


def _seeds(node: ast.stmt) -> bool:
    call = node.value if isinstance(node, ast.Expr) else None
    if not isinstance(call, ast.Call):
        return False
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    return name in _SEEDS
