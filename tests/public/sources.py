"""Which published packages carry notebooks, and how their sdists get into tests/corpus (ignored by git)."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

__all__ = ["CORPUS", "SDISTS", "fetch", "notebooks"]

CORPUS = Path(__file__).parents[1] / "corpus"
SDISTS = (
    "chempy==0.10.2", "corner==2.3.0", "emcee==3.1.6", "george==0.4.4", "graphviz==0.21", "ipython==8.12.3",
    "jupytext==1.16.4", "lmfit==1.3.4", "mapclassify==2.10.0", "nbclient==0.11.0", "nbconvert==7.17.2",
    "nbsphinx==0.9.8", "nbval==0.11.0", "papermill==2.7.0", "pysindy==2.1.0", "scrapbook==0.5.0", "seaborn==0.13.2",
    "xarray==2026.9.0",
)  # fmt: skip
_LONGEST_FETCH_SECONDS = 300


def fetch(tell: Callable[[str], None]) -> list[str]:
    """Download and unpack what is missing; the sdists that could not be had are returned, and told in one line each."""
    CORPUS.mkdir(exist_ok=True)
    failed: list[str] = []
    for wanted in SDISTS:
        if (CORPUS / wanted).is_dir():
            continue
        tell(f"fetching {wanted}")
        archives = CORPUS / "archives" / wanted
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-binary", ":all:", "--no-deps", wanted]
        try:
            subprocess.run(
                [*command, "-d", str(archives)], check=True, capture_output=True, timeout=_LONGEST_FETCH_SECONDS
            )
            with tarfile.open(next(archives.glob("*.tar.gz"))) as archive:
                archive.extractall(CORPUS / f"{wanted}.part", filter="data")
            (CORPUS / f"{wanted}.part").rename(CORPUS / wanted)
        except (subprocess.SubprocessError, StopIteration, OSError, tarfile.TarError) as error:
            tell(f"{wanted} is not to be had: {type(error).__name__}")
            failed.append(wanted)
    return failed


def notebooks(folders: list[Path]) -> list[Path]:
    """Every notebook below the folders, by path; of files that are alike to the byte only the first."""
    seen: set[bytes] = set()
    found: list[Path] = []
    for path in (path for folder in folders for path in sorted(folder.rglob("*.ipynb"))):
        if not path.is_file() or (content := path.read_bytes()) in seen:
            continue
        seen.add(content)
        found.append(path)
    return found
