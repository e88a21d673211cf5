"""Run an exported package and write down every name its steps end with, for a comparison in another process.

`python -m mlguard_nb.pipeline.replaying PACKAGE --out FILE [--base-dir DIR]`
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import inspect
import os
import pickle
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from mlguard_nb.devices.host import peak_bytes
from mlguard_nb.devices.readings import Unknown
from mlguard_nb.pipeline.environment import value_of
from mlguard_nb.pipeline.portable import Portable, portable, type_name
from mlguard_nb.pipeline.stepping import Step
from mlguard_nb.pipeline.watching import step_locals

_SUSPENDED = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
__all__ = ["final_names", "main", "replay"]


def final_names(names: Mapping[str, Any], own: tuple[str, ...]) -> dict[str, Portable]:
    """Every public name of `names` as plain data; names that start with an underscore are left out."""
    return {name: portable(value, own) for name, value in names.items() if not name.startswith("_")}


def replay(package: str, base_dir: str | None) -> dict[str, Any]:
    """Run `package` with its default parameters.

    "results" holds what `run()` returned; "locals" every name that its steps, constants and parameters ended with,
    the value of the last step to bind a name winning; "types" the type of each argument as "step(name)" and of each
    output as "step.name"; "files" what it read below `base_dir`, as relative paths; "modules" the top-level modules
    that were loaded at its end; "peak_bytes" the most that this process has held by then, None where nobody says.
    """
    module = importlib.import_module(package)
    own = ("__main__", package.partition(".")[0])
    types: dict[str, type | None] = {}
    with step_locals(_watched(package), types) as seen, files_read(base_dir) as files:
        found = module.run(base_dir=base_dir)
        results = asyncio.run(found) if inspect.iscoroutine(found) else found
    peak = peak_bytes()
    everything = {**_constants(package), **_parameters(module), **seen}
    return {
        "results": final_names(results or {}, own),
        "locals": final_names(everything, own),
        "types": {place: type_name(kind, own) for place, kind in types.items() if kind is not None},
        "files": sorted(files),
        "modules": sorted({name.partition(".")[0] for name in sys.modules}),
        "peak_bytes": None if isinstance(peak, Unknown) else peak,
    }


@contextmanager
def files_read(base_dir: str | None) -> Iterator[set[str]]:
    """Collect the files below `base_dir` that were there before the block and that Python opens for reading in it."""
    found: set[str] = set()
    listening = base_dir is not None
    root = Path(base_dir or ".").resolve()
    before = {str(file.relative_to(root)) for file in root.rglob("*")} if listening else set()

    def listen(event: str, arguments: tuple[Any, ...]) -> None:
        if (
            not listening
            or event not in ("open", "sqlite3.connect")
            or not isinstance(arguments[0], (str, os.PathLike))
        ):
            return
        mode = arguments[1] if event == "open" else None
        if isinstance(mode, str) and mode.startswith(("w", "x", "a")):
            return
        path = os.path.relpath(os.path.abspath(os.fspath(arguments[0])), root)
        if path in before:
            found.add(Path(path).as_posix())

    sys.addaudithook(listen)  # there is no way to take a hook out again: afterwards it only looks at a flag
    try:
        yield found
    finally:
        listening = False


def _watched(package: str) -> list[tuple[FunctionType, Step]]:
    """Every step and every plain function, below all of its decorators."""
    found: dict[int, tuple[FunctionType, Step]] = {}
    above = package.rpartition(".")[0]
    homes = (f"{package}.functions", f"{above}.shared")
    for name, module in list(sys.modules.items()):
        shared = bool(above) and name == f"{above}.shared"
        if not shared and name != package and not name.startswith(f"{package}."):
            continue
        for value in vars(module).values():
            facts = getattr(value, "__mlguard_step__", None)
            plain = inspect.isfunction(value) and value.__module__ == name in homes
            if not plain and not isinstance(facts, Step):
                continue
            function: Any = inspect.unwrap(value)
            if isinstance(facts, Step):
                found[id(function)] = (function, facts)
            elif not function.__code__.co_flags & _SUSPENDED:
                found[id(function)] = (function, Step(value.__name__, (), ("return",)))
    return list(found.values())


def _constants(package: str) -> dict[str, Any]:
    """The module-level names of the package's functions and steps: the notebook's literals that were bound once."""
    found: dict[str, Any] = {}
    above = package.rpartition(".")[0]
    for part in (f"{above}.shared", f"{package}.functions", f"{package}.steps", f"{package}.pipeline"):
        module: ModuleType | None = sys.modules.get(part)
        found.update(vars(module) if module is not None else {})
    return found


def _parameters(module: ModuleType) -> dict[str, Any]:
    model = getattr(module, "Params", None)
    return {} if model is None else {name: value_of(value) for name, value in model()}


def main(arguments: list[str] | None = None) -> int:
    """Write what `replay` found to the file, as a pickle of plain data."""
    parser = argparse.ArgumentParser(prog="python -m mlguard_nb.pipeline.replaying")
    parser.add_argument("package")
    parser.add_argument("--base-dir")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    out = given.out.absolute()
    out.write_bytes(pickle.dumps(replay(given.package, given.base_dir), protocol=5))
    return 0


if __name__ == "__main__":
    sys.exit(main())
