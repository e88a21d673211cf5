"""`python -m benchmarks [SECTION ...]`: measure, print, keep text and pictures below benchmarks/results/.

A section is a module of this folder with a function `run(results: Path) -> str`: it measures, leaves its picture in the
folder `results` as NAME.png, and returns the text to print. The first line of its docstring is its line in `--help`.
With `--accept` text and picture go into the docs: below the line `<!-- figures of NAME -->` of docs/NAME.md where that is
there, else of docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import platform
import re
import shutil
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from types import ModuleType

import benchmarks

DOCS = Path(__file__).resolve().parents[1] / "docs"


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
    parser.add_argument("--accept", action="store_true", help="put what was measured into the docs")
    asked = parser.parse_args(arguments)
    unknown = [name for name in asked.section if name not in known]
    if unknown:
        parser.error(f"there is no section {', '.join(unknown)}; there are {', '.join(known)}")
    chosen = asked.section or list(known)
    if len(chosen) > 1:
        return _each_alone(chosen, ["--results", str(asked.results), *(["--accept"] if asked.accept else [])])
    name = chosen[0]
    text = _measure(name, known[name], asked.results)
    if asked.accept:
        accept(name, text, asked.results, DOCS)
    return 0


def _each_alone(names: list[str], options: list[str]) -> int:
    """Every section in an interpreter of its own: the threads that one starts are no load on the next."""
    codes = [
        subprocess.run([sys.executable, "-m", "benchmarks", name, *options], check=False).returncode for name in names
    ]
    failed = [name for name, code in zip(names, codes, strict=True) if code]
    if failed:
        print(f"not measured: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _measure(name: str, section: ModuleType, results: Path) -> str:
    results.mkdir(parents=True, exist_ok=True)
    head = f"{name}: {_machine()}"
    print(f"== {head}", flush=True)
    text = f"{head}\n{section.run(results)}\n"
    (results / f"{name}.txt").write_text(text)
    print(f"{text.partition(chr(10))[2]}kept in {results}\n", flush=True)
    return text


def _machine() -> str:
    """When, on what, and how busy it was before."""
    model = platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and (found := re.search(r"^model name\s*: (.*)$", cpuinfo.read_text(), re.MULTILINE)):
        model = found[1]
    load = f", load average {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    today = datetime.now(timezone.utc).date().isoformat()
    return f"{today}, Python {platform.python_version()}, {platform.system()}, {os.cpu_count()} cores ({model}){load}"


def accept(name: str, text: str, results: Path, docs: Path) -> None:
    """Put `text`, and the section's picture where it made one, into the docs. ValueError where they have no place."""
    page = docs / f"{name}.md" if (docs / f"{name}.md").exists() else docs / "benchmarks.md"
    place = re.compile(rf"(<!-- figures of {name} -->\n\n```\n).*?(```\n)", re.DOTALL)
    written, count = place.subn(lambda found: found[1] + text + found[2], page.read_text())
    if count != 1:
        raise ValueError(
            f"{page} must have one line <!-- figures of {name} --> with a ``` block below it, it has {count}"
        )
    page.write_text(written)
    picture = results / f"{name}.png"
    if picture.exists():
        shutil.copy(picture, docs / "pictures" / f"benchmarks-{name}.png")


if __name__ == "__main__":
    sys.exit(main())
