"""What the docs say is what the code does."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from mlguard_nb import (
    CachePolicy,
    CircuitBreaker,
    GuardPolicy,
    MemoryPolicy,
    MonitorPolicy,
    RetryBudget,
    RetryPolicy,
    ValidatePolicy,
)
from mlguard_nb.policy.describe import options_table
from mlguard_nb.testing import chaos
from tests.doc_pages import LANGUAGES, blocks, run_page

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))


def name_of(page: Path) -> str:
    return str(page.relative_to(DOCS))


def test_the_table_of_options_is_the_one_the_parser_reads() -> None:
    assert options_table() in (DOCS / "options.md").read_text()


@pytest.mark.kernel
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_of_a_page_runs_in_order(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader who pastes the blocks of one page one after the other gets no error."""
    monkeypatch.setenv("MLGUARD_CACHE_DIR", str(tmp_path / ".cache"))
    assert {language for language, _ in blocks(page.read_text())} <= set(LANGUAGES)
    assert run_page(page.read_text(), tmp_path) == ""


def test_a_block_that_fails_is_seen(tmp_path: Path) -> None:
    """The runner itself: an error in each kind of block, and in a later one, is what comes back."""
    for number, (language, source) in enumerate([("python", "1 / 0"), ("ipython", "1 / 0"), ("sh", "false; true")]):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert run_page(f"```python\nprint()\n```\n\n```{language}\n{source}\n```\n", folder) != ""


def test_every_page_is_in_the_site_and_the_site_has_every_page() -> None:
    """The navigation of mkdocs.yml names each page once."""
    named = re.findall(r"([\w/]+\.md)$", (ROOT / "mkdocs.yml").read_text(), flags=re.MULTILINE)
    assert sorted(named) == sorted(name_of(page) for page in PAGES)


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for link, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", page.read_text()):
        target = page.parent / link if link else page
        assert target.exists(), link
        assert not anchor or anchor in _anchors(target), f"{link}#{anchor}"


def _anchors(page: Path) -> set[str]:
    """What a heading is called in a link: small letters, dashes for spaces, no punctuation."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# The reference: no default in a table may differ from the one in the code, and no parameter may be missing.

REFERENCE = {
    "retry.md": RetryPolicy,
    "validate_input.md": ValidatePolicy,
    "cache_result.md": CachePolicy,
    "memory_guard.md": MemoryPolicy,
    "monitor.md": MonitorPolicy,
    "guard.md": GuardPolicy,
}


def documented(page: str) -> dict[str, str]:
    """Parameter to default, as the page's table of parameters has them."""
    text = (DOCS / "reference" / page).read_text()
    rows = text.partition("| parameter | type | default | meaning |\n|---|---|---|---|\n")[2].partition("\n\n")[0]
    cells = [re.split(r"(?<!\\) \| ", row.strip("| ")) for row in rows.splitlines()]
    assert all(len(row) == 4 and all(row) for row in cells), cells
    return {name.strip("`"): default.strip("`") for name, _type, default, _meaning in cells}


def defaults_of(policy: Any) -> dict[str, str]:
    return {field.name: repr(field.default) for field in dataclasses.fields(policy)}


@pytest.mark.parametrize("page", REFERENCE)
def test_every_parameter_of_a_decorator_is_documented_with_its_default(page: str) -> None:
    assert documented(page) == defaults_of(REFERENCE[page])


def test_every_parameter_of_chaos_is_documented_with_its_default() -> None:
    def shown(default: Any) -> str:
        return default.__name__ if isinstance(default, type) else repr(default)

    parameters = inspect.signature(chaos).parameters.values()
    assert documented("testing.md") == {parameter.name: shown(parameter.default) for parameter in parameters}


@pytest.mark.parametrize("kind", [RetryBudget, CircuitBreaker])
def test_the_signatures_in_the_text_are_those_of_the_code(kind: Any) -> None:
    text = (DOCS / "reference" / "retry.md").read_text()
    (written,) = re.findall(rf"`({kind.__name__}\([^`]*=[^`]*\))`", text)
    built, parameters = eval(written, {kind.__name__: lambda **given: given}), inspect.signature(kind).parameters
    assert built == {name: parameter.default for name, parameter in parameters.items()}


def test_the_readme_leads_to_the_reference() -> None:
    readme = (ROOT / "README.md").read_text()
    assert "docs/reference/index.md" in readme
    index = (DOCS / "reference" / "index.md").read_text()
    pages = {page.name for page in (DOCS / "reference").glob("*.md")} - {"index.md"}
    assert pages == set(re.findall(r"\]\((\w+\.md)\)", index))
