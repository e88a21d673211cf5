"""Which steps depend on state outside their arguments: only in one process do they compute what the notebook did.

Two kinds. From the first step that acts on the process or the disk (seeds the global random state, sets an option,
writes a file) every later one may see what it did. And where a step changes an object in place, all steps that have
another name of that object belong together. When in doubt a step is taken as sharing: that costs speed, not values.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from mlguard_convert.plan import Step
from mlguard_convert.planning.draft import Draft

__all__ = ["mark_sharing"]

# Calls for their effect alone that change no value: pictures, words, warnings, pauses.
_HARMLESS = frozenset({
    "matplotlib", "seaborn", "plotly", "bokeh", "altair", "warnings", "logging", "pprint", "time", "tqdm", "IPython",
    "gc", "rich", "textwrap", "tabulate", "mlguard_nb",
})  # fmt: skip
_HARMLESS_CALLS = frozenset({"set_option", "set_printoptions", "option_context", "describe_option"})
_WRITERS = frozenset({
    "to_csv", "to_parquet", "to_json", "to_excel", "to_pickle", "to_sql", "to_feather", "to_hdf", "to_netcdf",
    "to_zarr", "save", "savez", "savez_compressed", "savetxt", "save_model", "save_pretrained", "dump", "write_text",
    "write_bytes", "write_csv", "write_parquet", "mkdir", "makedirs", "unlink", "rmtree", "rename", "move",
    "urlretrieve", "extractall", "imwrite", "executescript", "commit", "touch", "chdir", "system", "run",
    "check_call", "check_output", "Popen",
})  # fmt: skip
_SEEDED = frozenset({"default_rng", "Generator", "RandomState", "SeedSequence", "PCG64", "Philox", "Random", "key"})
_SELF = frozenset({
    "fit", "partial_fit", "set_params", "setdefault", "pop", "get", "reshape", "view", "ravel", "squeeze",
    "transpose", "swapaxes", "to", "cuda", "cpu", "train", "eval", "items", "values", "keys", "groupby",
})  # fmt: skip
_BUILDERS = frozenset({
    "len", "int", "float", "str", "bool", "sum", "round", "abs", "range", "sorted", "list", "dict", "set",
})  # fmt: skip
_VIEWS = frozenset({"ravel", "reshape", "squeeze", "transpose", "expand_dims", "swapaxes", "moveaxis", "iter", "zip"})


def mark_sharing(draft: Draft, steps: Sequence[Step]) -> list[Step]:
    """The same steps, those that share state with others marked."""
    nodes = _nodes(draft, steps)
    modules = {
        one.name: one.module if one.attribute is None else f"{one.module}.{one.attribute}"
        for one in draft.imports.values()
    }
    acting = [step.state or step.is_async or _acts(own, modules) for step, own in zip(steps, nodes, strict=True)]
    shared = set(range(acting.index(True), len(steps))) if True in acting else set()
    shared |= _aliased(steps, nodes, {param.name for param in draft.params})
    return [replace(step, shares=at in shared) for at, step in enumerate(steps)]


def _nodes(draft: Draft, steps: Sequence[Step]) -> list[list[ast.stmt]]:
    """The statements of each step, and those of the notebook's functions that it may call."""
    units = {(unit.number, unit.place): unit.node for unit in draft.units}
    bodies = {name: units[one.piece.cell, place] for name, one in draft.functions.items() for place in one.piece.keep}
    found = []
    for step in steps:
        own = [units[piece.cell, place] for piece in step.pieces for place in piece.keep]
        reached: dict[str, None] = {}
        waiting = list(own)
        while waiting:
            names = {one.id for one in ast.walk(waiting.pop()) if isinstance(one, ast.Name)}
            for name in names & bodies.keys() - reached.keys():
                reached[name] = None
                waiting.append(bodies[name])
        found.append([*own, *(bodies[name] for name in reached)])
    return found


def _acts(nodes: Iterable[ast.stmt], modules: dict[str, str]) -> bool:
    """Whether the statements change, or draw from, what belongs to the whole process or lies on the disk."""
    for node in (inner for one in nodes for inner in ast.walk(one)):
        if isinstance(node, (ast.Global, ast.Nonlocal)):
            return True
        if isinstance(node, ast.Call) and (_writes(node) or _draws(node, modules)):
            return True
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and _sets(node.value.func, modules):
            return True
        if isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Delete)):
            targets = [node.target] if isinstance(node, (ast.AugAssign, ast.AnnAssign)) else node.targets
            if any(isinstance(one, (ast.Attribute, ast.Subscript)) and _sets(one, modules) for one in targets):
                return True
    return False


def _sets(target: ast.expr, modules: dict[str, str]) -> bool:
    """Whether something of an imported module is set, or called for its effect."""
    name = _root(target)
    if name not in modules or modules[name].partition(".")[0] in _HARMLESS:
        return False
    dotted = f"{modules[name]}.{ast.unparse(target)}"
    return not any(word in dotted for word in _HARMLESS_CALLS) and ".options.display" not in dotted


def _writes(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else _root(call.func)
    if name == "open":
        mode = next((one.value for one in call.keywords if one.arg == "mode"), None)
        mode = mode or (call.args[1] if len(call.args) > 1 else None)
        return mode is not None and (not isinstance(mode, ast.Constant) or bool(set(str(mode.value)) & set("wax+")))
    return name in _WRITERS or name == "shell"


def _draws(call: ast.Call, modules: dict[str, str]) -> bool:
    """Whether the global random state is seeded or drawn from by name; what libraries do inside shows by a seed."""
    name = _root(call.func)
    if name not in modules:
        return False
    path = [modules[name], *ast.unparse(call.func).split(".")[1:]]
    dotted = ".".join(path)
    if path[-1].rpartition(".")[2] in _SEEDED or dotted.startswith("jax."):
        return False
    is_random = dotted.startswith(("random.", "numpy.random.", "tensorflow.random."))
    return is_random or "seed" in dotted.rpartition(".")[2]


def _aliased(steps: Sequence[Step], nodes: Sequence[Sequence[ast.stmt]], plain: set[str]) -> set[int]:
    """Steps around an object that one of them changes while another name of it is still to be read."""
    read_after: list[set[str]] = [set()] * len(steps)
    later: set[str] = {name for step in steps for name in step.outputs}  # every last value is a result
    for at in range(len(steps) - 1, -1, -1):
        read_after[at] = set(later)
        later |= set(steps[at].inputs)
    families: dict[str, set[str]] = {}
    touched: dict[str, list[int]] = {}
    found: set[int] = set()
    for at, (step, own) in enumerate(zip(steps, nodes, strict=True)):
        for name in {*step.inputs, *step.outputs}:
            touched.setdefault(name, []).append(at)
        values = _values(own)
        kept = [name for name in step.outputs if not _is_fresh(values.get(name, ()))]
        sources = [name for name in step.inputs if name not in plain]
        family = {*kept, *sources, *(other for name in sources for other in families.get(name, ()))} if kept else set()
        families.update({name: {name} for name in step.outputs if name not in kept})
        families.update(dict.fromkeys(family, family))
        for name in step.mutates:
            others = families.get(name, set()) - {name}
            if others & read_after[at]:
                found |= {index for one in {name, *others} for index in touched.get(one, ())}
    return _with_later(found, steps)


def _with_later(found: set[int], steps: Sequence[Step]) -> set[int]:
    """Also the steps behind that change or alias what the found ones keep: they would change copies."""
    names = {name for at in found for name in (*steps[at].inputs, *steps[at].outputs)}
    for at in range(min(found, default=len(steps)), len(steps)):
        if set(steps[at].mutates) & names:
            found.add(at)
    return found


def _is_fresh(values: Collection[ast.expr | None]) -> bool:
    """Whether the last of the `values` that a name gets is a new object, as far as the text can tell."""
    return bool(values) and all(value is not None and _makes(value) for value in values)


def _values(nodes: Iterable[ast.stmt]) -> dict[str, list[ast.expr | None]]:
    """What is assigned to each name; None for every other way of binding it."""
    found: dict[str, list[ast.expr | None]] = {}
    for node in (inner for one in nodes for inner in ast.walk(one)):
        bound: list[tuple[ast.AST, ast.expr | None]] = []
        if isinstance(node, ast.Assign):
            bound = [(target, node.value if isinstance(target, ast.Name) else None) for target in node.targets]
        elif isinstance(node, (ast.AnnAssign, ast.NamedExpr)):
            found.setdefault(_root(node.target), []).append(node.value)
        elif isinstance(node, (ast.For, ast.AsyncFor)):
            bound = [(node.target, None)]
        elif isinstance(node, ast.withitem) and node.optional_vars is not None:
            bound = [(node.optional_vars, None)]
        for target, value in bound:
            for one in ast.walk(target):
                if isinstance(one, ast.Name):
                    found.setdefault(one.id, []).append(value)
    return found


def _makes(value: ast.expr) -> bool:
    """Whether an expression gives a new object that holds none of the old ones."""
    if isinstance(value, (ast.Constant, ast.JoinedStr, ast.Compare, ast.BinOp, ast.UnaryOp)):
        return True
    if isinstance(value, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
        return True
    if isinstance(value, (ast.List, ast.Tuple, ast.Set)):
        return all(_makes(item) for item in value.elts)
    if not isinstance(value, ast.Call):
        return False
    if isinstance(value.func, ast.Attribute):
        name = value.func.attr
        return name not in _SELF | _VIEWS and not name.startswith(("as", "atleast")) and not name[0].isupper()
    return isinstance(value.func, ast.Name) and value.func.id in _BUILDERS


def _root(node: ast.expr) -> str:
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Call)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""
