"""Convert public notebooks with us and with our peers in one run, and print the table of the goal.

    python -m tests.public [--only TEXT] [--every N] [--jobs N] [--no-peers] [--no-run] [--json FILE] [FOLDER ...]

Sdists come from the package index by name and version, into tests/corpus (ignored by git). FOLDER: notebooks of your
own instead. A run that was stopped goes on where it was, when it is given the same options and
--json FILE. Fails when one of ours crashed, does not parse, or has a finding.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import re
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.public.datasets import write_datasets
from tests.public.measuring import measure
from tests.public.sources import CORPUS, SDISTS, fetch, notebooks
from tests.public.tools import OURS, TOOLS

__all__ = ["main", "table"]

_COLUMNS = {"parses": "parses", "imports": "imports, running nothing", "ruff": "ruff F, E9 clean", "runs": "runs"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print; 1 when one of ours breaks a promise that needs no run."""
    parser = argparse.ArgumentParser(prog="python -m tests.public", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--only", default="", metavar="TEXT", help="a regular expression that the path must match")
    parser.add_argument("--jobs", type=int, default=1, help="notebooks at once")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only each Nth notebook, by path")
    parser.add_argument("--no-peers", action="store_true", help="measure us alone")
    parser.add_argument("--no-run", action="store_true", help="execute neither notebooks nor products")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="keep every row, one a line; what it holds is not measured again"
    )
    given = parser.parse_args(arguments)
    missing = [] if given.folders else fetch(_tell)
    folders = given.folders or [CORPUS / name for name in SDISTS if name not in missing]
    paths = [path for path in notebooks(folders) if re.search(given.only, str(path))][:: given.every]
    if not given.no_run:
        os.environ["SEABORN_DATA"] = str(write_datasets(CORPUS / "seaborn-data"))
    os.environ["PYTHONWARNINGS"] = "ignore"
    tools = [OURS] if given.no_peers else list(TOOLS)
    started = time.perf_counter()
    rows = _kept(given.json, paths, tools)
    known = {row["notebook"] for row in rows}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(given.jobs, mp_context=context) as pool:
        waiting = {
            pool.submit(measure, path, tools, run=not given.no_run): path for path in paths if str(path) not in known
        }
        for done in as_completed(waiting):
            row = done.result()
            rows.append(row)
            _tell(f"[{len(rows)}/{len(paths)}] {_line(row, folders)}")
            if given.json:
                with given.json.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
    print(table(rows, tools))
    print(f"\n{_conditions(rows, folders, tools)} Measured in {(time.perf_counter() - started) / 60:.0f} min.")
    ours = [row["tools"][OURS] for row in rows]
    broken = [row for row in ours if "crash" in row or not row.get("parses", True) or not row.get("ruff", True)]
    return int(bool(broken))


def _kept(file: Path | None, paths: Sequence[Path], tools: Sequence[str]) -> list[dict[str, Any]]:
    """The rows that `file` holds of these notebooks, with these tools; a last line that was cut off is dropped."""
    if file is None or not file.is_file():
        return []
    whole, end, _ = file.read_text(encoding="utf-8").rpartition("\n")
    file.write_text(whole + end, encoding="utf-8")
    rows = [json.loads(line) for line in whole.splitlines()]
    wanted = {str(path) for path in paths}
    return [row for row in rows if row["notebook"] in wanted and set(tools) <= row["tools"].keys()]


def _tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _line(row: dict[str, Any], folders: Sequence[Path]) -> str:
    """What became of the notebook under our hands, in one line."""
    ours = row["tools"][OURS]
    path = Path(row["notebook"])
    shown = next((path.relative_to(folder.parent) for folder in folders if folder in path.parents), path)
    said = ours.get("crash") and f"CRASH {ours['crash']}"
    said = said or (ours.get("refused") and f"refused: {ours['refused']}")
    said = said or ours.get("why") or ours.get("ruff_says")
    said = said or (row["lacks"] and f"not run: no {', '.join(row['lacks'])} here")
    said = said or (row["runs"] and f"not run: {row['runs']}") or "all holds"
    return f"{shown}: {said}"


def table(rows: Sequence[dict[str, Any]], tools: Sequence[str]) -> str:
    """Markdown: a line a converter, about the notebooks in Python. What imports is counted among the notebooks whose libraries are installed here,
    what runs among those that run here themselves; a notebook that was refused counts as one that does not hold.
    """
    rows = [row for row in rows if not _is_foreign(row)]
    runnable = [row for row in rows if row["runs"] == ""]
    importable = [row for row in rows if not row["lacks"]]
    lines = [
        "| converter | converted | refused by name | " + " | ".join(_COLUMNS.values()) + " | all final values equal |",
        "|" + "---|" * 8,
    ]
    for tool in tools:
        every = [row["tools"][tool] for row in rows]
        refused = sum(_is_said(row) for row in every)
        cells = [_share(sum("parses" in row for row in every), len(every)), str(refused)]
        for key in _COLUMNS:
            among = runnable if key == "runs" else importable if key == "imports" else rows
            cells.append(_share(sum(bool(row["tools"][tool].get(key)) for row in among), len(among)))
        equal = sum(bool(row["tools"][tool].get("equal")) for row in runnable)
        cells.append(_share(equal, len(runnable)))
        lines.append(f"| {tool} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _is_foreign(row: dict[str, Any]) -> bool:
    """A notebook of another language, which nobody can turn into Python."""
    return "its language is" in row["tools"][OURS].get("refused", "")


def _is_said(row: dict[str, Any]) -> bool:
    """Refused in a line a reason, not by a traceback."""
    return "refused" in row and "Traceback (most recent" not in row["refused"]


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole} ({100 * part / whole:.0f} %)" if whole else "-"


def _conditions(rows: Sequence[dict[str, Any]], folders: Sequence[Path], tools: Sequence[str]) -> str:
    """The sentence below the table: what was measured, when, with what."""
    runnable = sum(row["runs"] == "" for row in rows)
    versions = ", ".join(f"{name} {version(name)}" for name in (tool.split()[0] for tool in tools))
    today = datetime.now(timezone.utc).date().isoformat()
    foreign = sum(map(_is_foreign, rows))
    return (
        f"{len(rows) - foreign} notebooks in Python of {len(folders)} packages ({foreign} more are in other languages: each "
        f"refused in one line); {runnable} of them run here to their end, with what is installed and without the network. "
        f"{today}, Python {platform.python_version()}, {versions}."
    )


if __name__ == "__main__":
    raise SystemExit(main())
