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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any

from mlguard_nb.pipeline.portable import Portable, portable

__all__ = ["final_names", "main", "replay", "step_locals"]


def final_names(names: Mapping[str, Any], own: tuple[str, ...]) -> dict[str, Portable]:
    """Every public name of `names` as plain data; names that start with an underscore are left out."""
    return {name: portable(value, own) for name, value in names.items() if not name.startswith("_")}


def replay(package: str, base_dir: str | None) -> dict[str, Any]:
    """Run `package` with its default parameters.

    "results" holds what `run()` returned; "locals" every name that its steps, constants and parameters ended with,
    the value of the last step to bind a name winning; "files" what it read below `base_dir`, as relative paths;
    "modules" the top-level modules that were loaded at its end.
    """
    module = importlib.import_module(package)
    own = ("__main__", package)
    with step_locals(_step_codes(package)) as seen, files_read(base_dir) as files:
        found = module.run(base_dir=base_dir)
        results = asyncio.run(found) if inspect.iscoroutine(found) else found
    everything = {**_constants(package), **_parameters(module), **seen}
    return {
        "results": final_names(results or {}, own),
        "locals": final_names(everything, own),
        "files": sorted(files),
        "modules": sorted({name.partition(".")[0] for name in sys.modules}),
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


@contextmanager
def step_locals(codes: Mapping[CodeType, str]) -> Iterator[dict[str, Any]]:
    """Collect the local names of every function whose code is in `codes`, each time it returns."""
    seen: dict[str, Any] = {}

    def collect(frame: FrameType) -> None:
        seen.update(frame.f_locals)

    if sys.version_info >= (3, 12):
        stop = _monitor(codes, collect)
    else:
        stop = _profile(codes, collect)
    try:
        yield seen
    finally:
        stop()


def _profile(codes: Mapping[CodeType, str], collect: Callable[[FrameType], None]) -> Callable[[], None]:
    def look(frame: FrameType, event: str, _: Any) -> None:
        if event == "return" and frame.f_code in codes:
            collect(frame)

    sys.setprofile(look)
    return lambda: sys.setprofile(None)


def _monitor(codes: Mapping[CodeType, str], collect: Callable[[FrameType], None]) -> Callable[[], None]:
    monitoring: Any = sys.monitoring  # type: ignore[attr-defined,unused-ignore]
    tool, returned = monitoring.PROFILER_ID, monitoring.events.PY_RETURN
    monitoring.use_tool_id(tool, "mlguard_nb")
    monitoring.register_callback(tool, returned, lambda code, offset, value: collect(sys._getframe(1)))
    for code in codes:
        monitoring.set_local_events(tool, code, returned)

    def stop() -> None:
        for code in codes:
            monitoring.set_local_events(tool, code, 0)
        monitoring.free_tool_id(tool)

    return stop


def _step_codes(package: str) -> dict[CodeType, str]:
    """The code of every step, below all of its decorators."""
    codes: dict[CodeType, str] = {}
    for name, module in list(sys.modules.items()):
        if name != package and not name.startswith(f"{package}."):
            continue
        for value in vars(module).values():
            if hasattr(value, "__mlguard_step__"):
                innermost = inspect.unwrap(value)
                codes[innermost.__code__] = value.__mlguard_step__.name
    return codes


def _constants(package: str) -> dict[str, Any]:
    """The module-level names of the package's functions and steps: the notebook's literals that were bound once."""
    found: dict[str, Any] = {}
    for part in ("functions", "steps", "pipeline"):
        module: ModuleType | None = sys.modules.get(f"{package}.{part}")
        found.update(vars(module) if module is not None else {})
    return found


def _parameters(module: ModuleType) -> dict[str, Any]:
    model = getattr(module, "Params", None)
    return {} if model is None else {name: getattr(model(), name) for name in model.model_fields}


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
