"""Every state of the view below a cell, as a saved notebook carries it: drawn by JupyterLab with our part and without."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest

from mlguard_nb.notebook.bundle import bundle
from mlguard_nb.notebook.stories import tell
from tests.browser.conftest import keep
from tests.browser.test_lab import cell, open_notebook
from tests.notebook.states import STATES

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]


def write_states(path: Path) -> None:
    """A notebook with one cell a state, its view stored below it."""
    notebook = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    )
    for name, (facts, _) in STATES.items():
        stored = nbformat.v4.new_output("display_data", data=bundle(facts))
        notebook.cells.append(nbformat.v4.new_code_cell(f"# {name}", outputs=[stored]))
    nbformat.write(notebook, path)


@pytest.mark.parametrize("has_part", [True, False], ids=["with our part", "without"])
def test_every_state_is_as_high_and_opens_to_its_attempts(make_lab: Any, page: Page, *, has_part: bool) -> None:
    """Light and dark. Whatever has ended opens to attempts and curve, a failure too, and keeps its next step in sight."""
    from playwright.sync_api import expect

    lab = make_lab(enabled=has_part)
    write_states(lab.root / "states.ipynb")
    page.set_viewport_size({"width": 1100, "height": 4000})
    if not has_part:
        page.route("**/lab/extensions/mlguard-nb/**", lambda route: route.abort())
    open_notebook(page, lab, "states.ipynb")
    for theme in ("Light", "Dark"):
        page.evaluate(f"window.jupyterapp.commands.execute('apputils:change-theme', {{theme: 'JupyterLab {theme}'}})")
        expect(page.locator("body")).to_have_attribute("data-jp-theme-light", str(theme == "Light").lower())
        name = f"inline-states-{'lab' if has_part else 'stored'}-{theme.lower()}"
        keep(
            page,
            name,
            picture=name if has_part and theme == "Light" else None,
            of=page.locator(".jp-Notebook .jp-WindowedPanel-viewport"),
        )
    for number, (name, (facts, _)) in enumerate(STATES.items(), start=1):
        view = cell(page, number).locator(".jp-OutputArea-output")
        expect(view, name).to_have_js_property("offsetHeight", 100)
        cut = view.locator("b.mlguard-cut").evaluate_all(
            "notes => notes.map(note => note.scrollWidth - note.clientWidth)"
        )
        assert not any(overhang > 0 for overhang in cut), f"{name}: a stop is cut, and numbers never are"
        for _, text in (*tell(facts).happened, *tell(facts).next):
            expect(view).to_contain_text(text)
        fold = view.get_by_text("Attempts and curve")
        if facts.attempts and facts.phase in ("ok", "failed", "interrupted"):
            view.locator("summary, .mlguard-View-fold").click(position={"x": 5, "y": 9})
        else:
            expect(fold).to_have_count(0)
    for number, (name, (facts, _)) in enumerate(STATES.items(), start=1):
        view = cell(page, number).locator(".jp-OutputArea-output")
        for attempt in facts.attempts if facts.phase in ("ok", "failed", "interrupted") else ():
            told = f"{attempt.error}: {attempt.message}, line {attempt.line}" if attempt.line else attempt.error or ""
            expect(view.get_by_text(told).last, name).to_be_visible()
    keep(page, f"inline-states-{'lab' if has_part else 'stored'}-opened")
