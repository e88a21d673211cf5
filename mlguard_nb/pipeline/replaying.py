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
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any

from mlguard_nb.devices.host import peak_bytes
from mlguard_nb.devices.readings import Unknown
from mlguard_nb.pipeline.environment import value_of
from mlguard_nb.pipeline.portable import Portable, portable, type_name
from mlguard_nb.pipeline.stepping import Step
from mlguard_nb.pipeline.unbound import UNBOUND

_WATCHED_CALLS = 200
_SUSPENDED = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
__all__ = ["final_names", "main", "replay", "step_locals"]


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
    with step_locals(_step_codes(package), types) as seen, files_read(base_dir) as files:
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


class _Watcher:
    """Notes the local names of each step as it returns, and the types that go in and come out.

    A Step without cells stands for a plain function: only its types are noted, of its first calls.
    """

    def __init__(self, codes: Mapping[CodeType, Step], types: dict[str, type | None]) -> None:
        self.codes, self.types = codes, types
        self.seen: dict[str, Any] = {}
        self.calls: Counter[CodeType] = Counter()

    def started(self, frame: FrameType) -> None:
        """A step was called: its local names are its arguments."""
        step = self.codes[frame.f_code]
        self.calls[frame.f_code] += 1
        if step.cells or self.calls[frame.f_code] <= _WATCHED_CALLS:
            for name, value in frame.f_locals.items():
                self._note(f"{step.name}({name})", value)

    def returned(self, frame: FrameType, value: Any) -> None:
        """A step has ended well."""
        step = self.codes[frame.f_code]
        if step.cells:
            self.seen.update(frame.f_locals)
        elif self.calls[frame.f_code] > _WATCHED_CALLS:
            return
        values = value if len(step.outputs) > 1 and isinstance(value, tuple) else (value,)
        for name, one in zip(step.outputs, values, strict=False):
            self._note(f"{step.name}.{name}", one)

    def _note(self, place: str, value: Any) -> None:
        """The type at a place, the wider of two where one is a kind of the other; None once they differ."""
        if value is UNBOUND:
            return
        found = type(value)
        known = self.types.setdefault(place, found)
        if known is not None and not issubclass(found, known):
            self.types[place] = found if issubclass(known, found) else None


@contextmanager
def step_locals(
    codes: Mapping[CodeType, Step], types: dict[str, type | None] | None = None
) -> Iterator[dict[str, Any]]:
    """Collect the local names of every function whose code is in `codes`, each time it returns.

    `types` is filled with the types of arguments, as "step(name)", and of outputs, as "step.name"; None where calls
    differ.
    """
    watcher = _Watcher(codes, {} if types is None else types)
    stop = _monitor(watcher) if sys.version_info >= (3, 12) else _profile(watcher)
    try:
        yield watcher.seen
    finally:
        stop()


def _profile(watcher: _Watcher) -> Callable[[], None]:
    def look(frame: FrameType, event: str, value: Any) -> None:
        if frame.f_code in watcher.codes:
            if event == "call":
                watcher.started(frame)
            elif event == "return":
                watcher.returned(frame, value)

    sys.setprofile(look)
    return lambda: sys.setprofile(None)


def _monitor(watcher: _Watcher) -> Callable[[], None]:
    monitoring: Any = sys.monitoring  # type: ignore[attr-defined,unused-ignore]
    tool, events = monitoring.PROFILER_ID, monitoring.events
    monitoring.use_tool_id(tool, "mlguard_nb")
    monitoring.register_callback(tool, events.PY_START, lambda code, offset: watcher.started(sys._getframe(1)))
    monitoring.register_callback(
        tool, events.PY_RETURN, lambda code, offset, value: watcher.returned(sys._getframe(1), value)
    )
    for code in watcher.codes:
        monitoring.set_local_events(tool, code, events.PY_START | events.PY_RETURN)

    def stop() -> None:
        for code in watcher.codes:
            monitoring.set_local_events(tool, code, 0)
        monitoring.free_tool_id(tool)

    return stop


def _step_codes(package: str) -> dict[CodeType, Step]:
    """The code of every step and of every plain function, below all of its decorators."""
    codes: dict[CodeType, Step] = {}
    above = package.rpartition(".")[0]
    homes = (f"{package}.functions", f"{above}.shared")
    for name, module in list(sys.modules.items()):
        shared = bool(above) and name == f"{above}.shared"
        if not shared and name != package and not name.startswith(f"{package}."):
            continue
        for value in vars(module).values():
            facts = getattr(value, "__mlguard_step__", None)
            if isinstance(facts, Step):
                codes[inspect.unwrap(value).__code__] = facts
            elif inspect.isfunction(value) and value.__module__ == name in homes:
                code = inspect.unwrap(value).__code__
                if not code.co_flags & _SUSPENDED:
                    codes[code] = Step(value.__name__, (), ("return",))
    return codes


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
