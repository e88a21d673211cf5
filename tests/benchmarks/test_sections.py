"""The command line of the benchmarks: what it offers, keeps and refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import scaling


def test_every_section_says_in_one_line_what_it_measures(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["--help"])

    shown = capsys.readouterr().out
    assert ended.value.code == 0
    for name, section in command.sections().items():
        assert section.__doc__
        assert f"{name:12} {section.__doc__.splitlines()[0]}" in shown


def test_an_unknown_section_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["runtme"])

    assert ended.value.code == 2
    assert "there is no section runtme; there are runtime" in capsys.readouterr().err


def test_a_section_is_printed_and_kept_as_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = command.sections()["runtime"]
    monkeypatch.setattr(runtime, "run", lambda results: f"a table, {results.name}")

    assert command.main(["runtime", "--results", str(tmp_path / "kept")]) == 0

    assert "a table, kept" in capsys.readouterr().out
    assert "a table, kept" in (tmp_path / "kept" / "runtime.txt").read_text()


def test_accepted_figures_and_pictures_go_into_the_docs_and_nowhere_else(tmp_path: Path) -> None:
    docs, results = tmp_path / "docs", tmp_path / "results"
    (docs / "pictures").mkdir(parents=True)
    results.mkdir()
    page = docs / "benchmarks.md"
    page.write_text("before\n\n<!-- figures of one -->\n\n```\nold\n```\n\n<!-- figures of two -->\n\n```\nkept\n```\n")
    (results / "one.png").write_bytes(b"picture")

    command.accept("one", "new, with a \\ in it\n", results, docs)

    assert page.read_text().splitlines()[4:7] == ["```", "new, with a \\ in it", "```"]
    assert page.read_text().endswith("<!-- figures of two -->\n\n```\nkept\n```\n")
    assert (docs / "pictures" / "benchmarks-one.png").read_bytes() == b"picture"
    with pytest.raises(ValueError, match="figures of three"):
        command.accept("three", "", results, docs)


@pytest.mark.parametrize("name", ["runtime", "simulations"])
def test_the_docs_have_a_place_for_the_figures_and_show_the_picture(name: str) -> None:
    page = (command.DOCS / "benchmarks.md").read_text()

    assert page.count(f"<!-- figures of {name} -->\n\n```\n{name}: ") == 1
    assert f"(pictures/benchmarks-{name}.png)" in page


def test_a_section_with_a_page_of_its_own_goes_there(tmp_path: Path) -> None:
    page = tmp_path / "scaling.md"
    page.write_text("<!-- figures of scaling -->\n\n```\nold\n```\n")
    (tmp_path / "benchmarks.md").write_text("others\n")
    command.accept("scaling", "new\n", tmp_path, tmp_path)
    assert page.read_text() == "<!-- figures of scaling -->\n\n```\nnew\n```\n"
    assert (tmp_path / "benchmarks.md").read_text() == "others\n"


def test_the_plan_on_paper_has_its_figures() -> None:
    page = (command.DOCS / "scaling.md").read_text()
    assert page.count("<!-- figures of scaling -->\n\n```\nscaling: 20") == 1
    assert all(f"{workers:>8,} " in page for workers in scaling.WORKERS)
