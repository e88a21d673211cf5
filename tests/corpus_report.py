"""The development corpus: every notebook of some public packages, converted; a table of what held.

    python tests/corpus_report.py [--run] [--only TEXT] [FOLDER ...]

Sdists come from the package index by name and version, into tests/corpus (ignored by git). FOLDER: notebooks of your
own instead. `--run` executes each notebook and its package and compares every final value.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from mlguard_convert.emit import emit_modules
from mlguard_convert.plan import make_plan
from mlguard_convert.reader import read_notebook
from mlguard_nb.errors import ConversionError

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
SDISTS = ("seaborn==0.13.2", "jupytext==1.16.4", "papermill==2.6.0", "nbclient==0.10.0")


def fetch() -> None:
    """Download and unpack what is missing."""
    CORPUS.mkdir(exist_ok=True)
    for wanted in SDISTS:
        name = wanted.replace("==", "-")
        if (CORPUS / name).is_dir():
            continue
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-binary", ":all:", "--no-deps", wanted]
        subprocess.run([*command, "-d", str(CORPUS)], check=True)
        with tarfile.open(next(CORPUS.glob(f"{name}*.tar.gz"))) as archive:
            archive.extractall(CORPUS, filter="data")


def ruff(folder: Path, *arguments: str) -> str:
    """What ruff says; "" when it is content."""
    command = [str(Path(sys.executable).with_name("ruff")), *arguments, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def report(path: Path, *, run: bool) -> dict[str, object]:
    """One notebook: what held."""
    row: dict[str, object] = {"notebook": str(path)}
    try:
        plan = make_plan(read_notebook(path))
        modules = emit_modules(plan)
    except ConversionError as error:
        row["refused"] = str(error).split("\n")[0].replace(str(path), path.name)
        return row
    row["converted"] = True
    row["steps"] = len(plan.steps)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name, text in modules.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        try:
            for name, text in modules.items():
                compile(text, name, "exec")
            row["parses"] = True
        except (SyntaxError, ValueError) as error:
            row["why"] = f"{error}"
            return row
        found = ruff(folder, "check", "--isolated", "--select", "F,E9", "--output-format", "concise")
        row["ruff"] = not found
        if found:
            row["ruff_says"] = found
        command = [sys.executable, "-W", "ignore", "-c", f"import {plan.package}.__main__"]
        empty = folder / "empty"
        empty.mkdir()
        environment = {
            "PYTHONPATH": os.pathsep.join([str(folder / "src"), os.environ.get("PYTHONPATH", "")]),
            "PATH": "/usr/bin:/bin",
            "HOME": scratch,
            "MPLBACKEND": "agg",
        }
        done = subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True, check=False)
        row["imports"] = done.returncode == 0 and not done.stdout and not list(empty.iterdir())
        if not row["imports"]:
            row["why"] = (done.stderr.strip().splitlines() or ["it printed or wrote something"])[-1]
        if run and row["imports"]:
            from mlguard_convert.verify import verify

            outcome = verify(path, folder, timeout=60)
            row["runs"] = outcome.error is None
            row["notebook_runs"] = not (outcome.error or "").startswith("cell ")
            row["equal"] = outcome.ok
            row["names"] = sum(1 for one in outcome.rows if one.equal is not None)
            row["names_equal"] = sum(1 for one in outcome.rows if one.equal)
            if not outcome.ok:
                differ = [f"{one.name}: {one.how} {one.detail}" for one in outcome.rows if one.equal is False]
                row["why"] = outcome.error or "; ".join(differ)
    return row


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--run", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if not given.folders:
        fetch()
    paths = [path for folder in given.folders or [CORPUS] for path in sorted(folder.rglob("*.ipynb"))]
    paths = [path for path in paths if re.search(given.only, str(path))]
    rows = []
    started = time.perf_counter()
    for path in paths:
        try:
            rows.append(report(path, run=given.run))
        except Exception as error:
            rows.append({"notebook": str(path), "crash": f"{type(error).__name__}: {error}"})
        row = rows[-1]
        bad = row.get("crash") or row.get("why") or row.get("ruff_says") or row.get("refused")
        if bad:
            print(f"{Path(str(row['notebook'])).name}: {'CRASH ' if 'crash' in row else ''}{str(bad).strip()}")
    converted = [row for row in rows if row.get("converted")]
    print(f"\n{len(rows)} notebooks in {time.perf_counter() - started:.0f} s")
    print(f"converted {len(converted)}, refused in one line {sum('refused' in row for row in rows)}, "
          f"crashed {sum('crash' in row for row in rows)}")  # fmt: skip
    for key in ("parses", "imports", "ruff", "runs", "equal"):
        known = [row for row in converted if key in row and row.get("notebook_runs", True)]
        if known:
            print(f"{key:8} {sum(bool(row[key]) for row in known)} of {len(known)}")
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1))
    return int(any("crash" in row for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
