"""`python -m benchmarks [SECTION ...]`: measure, print, keep text and pictures below benchmarks/results/.

A section is a module of this folder with a function `run(results: Path) -> str`: it measures, leaves its pictures in the
folder `results`, and returns the text to print. The first line of its docstring is its line in `--help`.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import platform
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import benchmarks


def sections() -> dict[str, ModuleType]:
    """Every section by its name, the decorators first."""
    names = [found.name for found in pkgutil.iter_modules(benchmarks.__path__) if found.name != "__main__"]
    modules = {name: importlib.import_module(f"benchmarks.{name}") for name in names}
    with_run = [name for name in names if hasattr(modules[name], "run")]
    return {name: modules[name] for name in sorted(with_run, key=lambda name: (name != "runtime", name))}


def main(arguments: list[str] | None = None) -> int:
    """Print the figures of the chosen sections; fails when a section cannot be measured, never on the clock alone."""
    known = sections()
    listed = "\n".join(f"  {name:12} {(module.__doc__ or '').splitlines()[0]}" for name, module in known.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Our figures, and those of others measured beside them in the same run.",
        epilog=f"sections:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("section", nargs="*", help="what to measure; everything when none is named")
    parser.add_argument(
        "--results", type=Path, default=Path(__file__).with_name("results"), help="folder for texts and pictures"
    )
    asked = parser.parse_args(arguments)
    unknown = [name for name in asked.section if name not in known]
    if unknown:
        parser.error(f"there is no section {', '.join(unknown)}; there are {', '.join(known)}")
    chosen = asked.section or list(known)
    if len(chosen) > 1:
        return _each_alone(chosen, asked.results)
    return _measure(chosen[0], known[chosen[0]], asked.results)


def _each_alone(names: list[str], results: Path) -> int:
    """Every section in an interpreter of its own: the threads that one starts are no load on the next."""
    codes = [
        subprocess.run([sys.executable, "-m", "benchmarks", name, "--results", str(results)], check=False).returncode
        for name in names
    ]
    failed = [name for name, code in zip(names, codes, strict=True) if code]
    if failed:
        print(f"not measured: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _measure(name: str, section: ModuleType, results: Path) -> int:
    results.mkdir(parents=True, exist_ok=True)
    head = f"== {name}: Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    print(head, flush=True)
    text = section.run(results)
    (results / f"{name}.txt").write_text(f"{head}\n{text}\n")
    print(f"{text}\nkept in {results}\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
