"""What the docs say is what the code does."""

from __future__ import annotations

from pathlib import Path

from mlguard_nb.policy.describe import options_table

DOCS = Path(__file__).resolve().parents[1] / "docs"


def test_the_table_of_options_is_the_one_the_parser_reads() -> None:
    assert options_table() in (DOCS / "options.md").read_text()
