"""What the sources of the page promise without a browser: typed throughout, silent, and text never becomes HTML."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest

from tests.browser.conftest import ROOT

SOURCES = sorted((ROOT / "labextension" / "src").glob("*.ts"))
FORBIDDEN = {
    "an escape from the types": r"\bany\b(?=[;,)>\]= ])|@ts-|as unknown as (?!ServerMessage)",
    "a message on the console": r"\bconsole\.",
    "text that becomes HTML": r"innerHTML|outerHTML|insertAdjacentHTML|document\.write",
    "a colour of its own": r"#[0-9a-f]{6}\b",
}


def without_comments(source: str) -> str:
    return re.sub(r"/\*.*?\*/|//[^\n]*", "", source, flags=re.DOTALL)


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_source_of_the_page_holds(what: str) -> None:
    """Strings from the kernel reach the page as text; colours come from the theme."""
    found = [
        f"{path.name}: {match[0]}"
        for path in SOURCES
        if path.name != "icon.ts"  # its colour is the one that JupyterLab replaces
        for match in re.finditer(FORBIDDEN[what], without_comments(path.read_text()))
    ]
    assert SOURCES
    assert found == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_every_source_begins_with_what_a_reader_finds(path: Path) -> None:
    assert path.read_text().startswith("/**")
    assert len(path.read_text().splitlines()) <= 500


def test_the_lock_file_names_no_registry() -> None:
    """Packages come from whatever registry the user's npm is set to."""
    lock = json.loads((ROOT / "labextension" / "package-lock.json").read_text())
    assert [name for name, package in lock["packages"].items() if "resolved" in package] == []


def test_the_bundle_is_small(bundle: Path) -> None:
    """At most 60 kB over the wire, compressed as servers do it."""
    sizes = [len(gzip.compress(path.read_bytes())) for path in (bundle / "static").glob("*.js")]
    assert sizes
    assert sum(sizes) <= 60_000
