"""What a keyboard and a screen reader meet: axe-core finds nothing serious in anything that is ours, light or dark."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mlguard_convert.exporting import ExportResult
from mlguard_convert.messages import JsonTeller
from mlguard_convert.verify import Row, Verification
from mlguard_nb.errors import ConversionError, Diagnostic
from tests.browser.conftest import Gpus, Lab, keep
from tests.browser.test_lab import cell, open_notebook, run, write_notebook

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

NOTEBOOK = (
    "%load_ext mlguard_nb",
    "%%guard retry=2 mem=0.9 name=first\nnumbers = list(range(9))",
    "total = sum(numbers)",
)


def violations(page: Page, *selectors: str) -> list[str]:
    """What axe-core calls serious or critical inside `selectors`, each of which must be on the page."""
    if page.evaluate("typeof window.axe") == "undefined":
        page.add_script_tag(content=(files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8"))
    for selector in selectors:
        assert page.locator(selector).count(), f"nothing to check: {selector}"
    found: dict[str, Any] = page.evaluate(
        "selectors => window.axe.run({include: selectors.map(one => [one])}, {resultTypes: ['violations']})",
        list(selectors),
    )
    assert found["passes"]
    return [
        f"{one['id']}: {one['help']}: {node['html'][:200]} {node['failureSummary'][:300]}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


def stops(page: Page, inside: str) -> list[str]:
    """The names of what Tab reaches from the focus on, until it leaves `inside` or comes round; each shows its focus."""
    seen: dict[str, str] = {}
    for _ in range(60):
        page.keyboard.press("Tab")
        found = page.evaluate(
            """inside => {
            const node = document.activeElement;
            if (!node.closest(inside)) { return null; }
            const name = node.getAttribute('aria-label') || node.labels?.[0]?.textContent || node.textContent || '';
            return [name, getComputedStyle(node).outlineStyle];
        }""",
            inside,
        )
        if found is None or re.sub(r"\s+", " ", found[0]) in seen:
            break
        seen[re.sub(r"\s+", " ", found[0])] = found[1]
    assert set(seen.values()) == {"solid"}, seen
    return list(seen)


def answer(*said: ExportResult | ConversionError | tuple[str, int, int]) -> str:
    """What the converter would write of these, a line each."""
    lines = io.StringIO()
    teller = JsonTeller(lines)
    for one in said:
        if isinstance(one, ConversionError):
            teller.refused("axe.ipynb", one)
        elif isinstance(one, tuple):
            teller.progress(*one)
        else:
            teller.result(one)
    return lines.getvalue()


WARNING = Diagnostic("order", "warning", 3, None, "executed as [2], before cell 2", remedies=("order",))
RESULT = ExportResult(
    package="axe", notebook="axe.ipynb", cells=3, folder=Path("exports/axe"), run="axe run", kept=("steps.py",),
    left=("schemas.py",),
    files=("README.md", "src/axe/pipeline.py", "src/axe/steps.py", "tests/test_axe.py"), diagnostics=(WARNING,),
    verification=Verification((
        Row("seed", False, "value", "4, then 5", "4", "5"), Row("figure", None, "apart", "pictures are not compared", "", ""),
        *(Row(f"value_{number}", True, "value", "", "3", "3") for number in range(9)),
    ), notebook_seconds=74.0, package_seconds=69.0),
)  # fmt: skip
NOT_COMPARED = replace(RESULT, verification=Verification((), error="cell 3 of the notebook fails: `b` is unknown"))
REFUSAL = ConversionError(
    "axe.ipynb", [Diagnostic("syntax", "error", 2, 1, "not valid Python", "Correct it.", ("skip_bad_cells",))]
)
TWO_REFUSALS = ConversionError("axe.ipynb", [*REFUSAL.diagnostics, Diagnostic("x", "error", 3, None, "`b` is unknown")])


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_nothing_serious_is_found(gpu_lab: Lab, gpus: Gpus, page: Page, theme: str) -> None:
    """Panel with one GPU, eight GPUs, as chart and table, lost and full; status, view, badge, form, both dialogs.

    Form and dialogs are walked by Tab in every face that they have.
    """
    from playwright.sync_api import expect

    gpus.are(16.3)
    write_notebook(gpu_lab, "axe.ipynb", NOTEBOOK)
    open_notebook(page, gpu_lab, "axe.ipynb")
    page.evaluate("theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", theme)
    page.wait_for_function(
        "dark => document.body.dataset.jpThemeLight === (dark ? 'false' : 'true')", arg="Dark" in theme
    )
    page.locator(".mlguard-Status").click()
    panel = page.locator("#mlguard-panel")
    run(page, "notebook:run-all-cells")
    expect(cell(page, 2).locator(".mlguard-View")).to_contain_text("peak RAM", timeout=60_000)
    expect(panel).to_contain_text("Who holds it")
    ours = ("#mlguard-panel", ".mlguard-Status", ".mlguard-Badge", ".mlguard-View")
    assert violations(page, *ours) == []
    panel.get_by_role("button", name="Table").click()
    gpus.are(77.2, lost=True)
    expect(panel).to_contain_text("was lost at")
    assert violations(page, *ours) == []
    gpus.are(16.3, 0, 41.8, 0, 71.2, 58.9, 77.2, 58.6)
    expect(panel.locator(".mlguard-Devices tbody tr")).to_have_count(8)
    assert violations(page, *ours) == []
    panel.get_by_role("button", name="Chart").click()
    expect(panel.locator(".mlguard-Chart")).to_be_visible()
    shade = theme.split()[-1].lower()
    cell(page, 2).locator(".mlguard-Badge").press("Enter")
    form = page.locator("dialog.mlguard-Form")
    expect(form.get_by_label("Name")).to_be_focused()
    keep(page, f"form-{shade}")
    assert stops(page, "dialog.mlguard-Form") == [
        "Attempts", "Wait", "RAM stop", "GPU stop", "At the stop", "Keep results", "All options", "Remove guard",
        "Cancel", "Write line",
    ]  # fmt: skip
    form.get_by_role("button", name="All options").press("Enter")
    expect(form.get_by_label("scope")).to_be_visible()
    form.get_by_label("GPU stop").fill("12")
    expect(form.get_by_role("alert")).to_contain_text("12 has no unit")
    keep(page, f"form-mistake-{shade}")
    assert violations(page, "dialog.mlguard-Form") == []
    page.keyboard.press("Escape")
    panel.get_by_role("button", name="Release the memory of axe.ipynb").click()
    expect(page.locator(".mlguard-Release")).to_be_visible()
    assert violations(page, ".jp-Dialog") == []
    page.keyboard.press("Escape")
    run(page, "mlguard:export")
    dialog = page.locator("dialog.mlguard-Dialog")
    expect(dialog).to_contain_text("3 cells become", timeout=60_000)
    keep(page, f"export-plan-{shade}")
    assert violations(page, "dialog.mlguard-Dialog") == []
    accept = dialog.get_by_role("button", name="Export and compare")
    for button in (accept, dialog.get_by_role("button", name="Cancel")):  # axe does not look at what the mouse does
        ground = button.evaluate("node => getComputedStyle(node).backgroundColor")
        button.hover()
        expect(button).to_have_css("text-decoration-line", "underline")
        expect(button).to_have_css("background-color", ground)
    page.mouse.move(0, 0)
    expect(accept).to_be_focused()
    dialog.get_by_label("Name").focus()
    *_, compares, cancel, export = stops(page, "dialog.mlguard-Dialog")
    assert compares.startswith("Then run notebook and package and compare all values (the notebook took ")
    assert (cancel, export) == ("Cancel", "Export and compare")

    asked: list[Route] = []

    def hold(route: Route) -> None:
        asked.append(route)

    asks = re.compile(r".*/mlguard/export.*")
    page.route(asks, hold)
    accept.press("Enter")
    stay = dialog.get_by_role("button", name="Close, keep running")
    expect(stay).to_be_focused()
    expect(dialog).to_contain_text("starting the converter")
    keep(page, f"export-progress-{shade}")
    assert violations(page, "dialog.mlguard-Dialog") == []
    page.keyboard.press("Shift+Tab")
    expect(dialog.get_by_role("button", name="Stop")).to_be_focused()
    asked.pop().fulfill(body=answer(("running the notebook", 1, 3), RESULT))
    expect(dialog.get_by_role("button", name="Open folder")).to_be_focused()
    expect(dialog).to_contain_text("9 of 11 final values are equal, 1 differs, 1 is not compared.")
    expect(dialog).to_contain_text("Edited by hand and kept: schemas.py. The notebook no longer makes such a file.")
    keep(page, f"export-result-{shade}")
    assert violations(page, "dialog.mlguard-Dialog") == []
    dialog.locator("[role=group]").focus()
    assert stops(page, "dialog.mlguard-Dialog") == [
        "Show 4 more, all equal", "cell 3", "pipeline.py", "steps.py", "README.md", "test_axe.py", "Copy", "Close",
        "Open folder",
    ]  # fmt: skip
    page.keyboard.press("Escape")

    for refusal, name in ((TWO_REFUSALS, "refusals"), (REFUSAL, "refusal")):
        if name == "refusals":
            run(page, "mlguard:export")
        else:
            dialog.get_by_role("button", name="Try again").press("Enter")
        expect(dialog).to_contain_text("Reading the notebook; nothing is run.")
        while not asked:
            page.wait_for_timeout(20)
        asked.pop().fulfill(body=answer(refusal))
        expect(dialog.get_by_role("button", name="Go to cell 2")).to_be_focused()
        keep(page, f"export-{name}-{shade}")
        assert violations(page, "dialog.mlguard-Dialog") == []
    dialog.locator("[role=group]").focus()
    assert stops(page, "dialog.mlguard-Dialog") == [
        "cell 2, line 1", "axe.ipynb", "Close", "Leave out cell 2", "Try again", "Go to cell 2",
    ]  # fmt: skip
    page.keyboard.press("Escape")
    page.unroute(asks)  # the page is not ours alone
    gpus.are(16.3)
    page.evaluate("window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Light'})")


def test_the_panel_is_walked_by_tab_in_the_order_that_it_is_read(gpu_lab: Lab, gpus: Gpus, page: Page) -> None:
    """Devices, chart or table, export, ledger names, cells; every stop shows its focus, and nothing is a trap."""
    from playwright.sync_api import expect

    gpus.are(16.3, 4.0)
    write_notebook(gpu_lab, "keys.ipynb", ("x = 1",))
    open_notebook(page, gpu_lab, "keys.ipynb")
    page.locator(".mlguard-Status").click()
    run(page, "notebook:run-all-cells")
    panel = page.locator("#mlguard-panel")
    expect(panel.locator(".mlguard-Cells tbody tr")).to_have_count(1)
    expect(panel.get_by_role("button", name="Release the memory of keys.ipynb")).to_be_visible()
    expect(panel.get_by_role("button", name="GPU 0", exact=True)).to_be_visible()
    panel.get_by_role("button", name="Settings and help").focus()
    words = stops(page, "#mlguard-panel")
    wanted = ["GPU 0", "Chart", "Table", "Export", "keys.ipynb", "Release the memory of keys.ipynb", "x = 1"]
    places = [words.index(word) for word in wanted]
    assert places == sorted(places)
    page.keyboard.press("Tab")
    assert not page.evaluate("document.activeElement.closest('#mlguard-panel')"), (
        "the focus leaves the panel at its end"
    )


def test_nothing_glides_for_a_reader_who_wants_it_still(gpu_lab: Lab, gpus: Gpus, page: Page) -> None:
    from playwright.sync_api import expect

    gpus.are(16.3)
    page.emulate_media(reduced_motion="reduce")
    write_notebook(gpu_lab, "still.ipynb", ("x = 1",))
    open_notebook(page, gpu_lab, "still.ipynb")
    page.locator(".mlguard-Status").click()
    part = page.locator("#mlguard-panel .mlguard-Bar i").first
    part.wait_for()
    expect(part).to_have_css("transition-duration", "0s")
    page.emulate_media(reduced_motion="no-preference")
    expect(part).to_have_css("transition-duration", "0.12s")


@pytest.mark.own_page
def test_every_word_goes_through_the_translator(gpu_lab: Lab, gpus: Gpus, page: Page) -> None:
    """A language pack with our domain changes panel, status, badge and dialog; what it lacks stays English."""
    from playwright.sync_api import expect

    words = {
        "GPU and memory": "GPU und Speicher",
        "Who holds it": "Wer hält ihn",
        "Last %1 minutes": "Letzte %1 Minuten",
        "limit of the machine": "Grenze der Maschine",
        "limit of the container": "Grenze des Containers",
        "Export as package": "Als Paket exportieren",
        "Guard of cell %1": "Schutz von Zelle %1",
        "calls in all; after a failure the cell runs again from its first line": "Aufrufe insgesamt",
    }
    catalogue = {"": {"domain": "mlguard_nb", "language": "de", "plural_forms": "nplurals=2; plural=(n != 1);"}}
    catalogue |= {word: [meaning] for word, meaning in words.items()}  # type: ignore[misc]
    page.route(
        re.compile(r".*/lab/api/translations/.*"),
        lambda route: route.fulfill(json={"data": {"mlguard_nb": catalogue}, "message": ""}),
    )
    gpus.are(16.3)
    write_notebook(gpu_lab, "worte.ipynb", ("%%guard retry=3\nx = 1",))
    open_notebook(page, gpu_lab, "worte.ipynb")
    page.locator(".mlguard-Status").click()
    panel = page.locator("#mlguard-panel")
    expect(panel).to_contain_text("Wer hält ihn")
    expect(panel).to_contain_text("Letzte 10 Minuten")
    expect(panel).to_contain_text(re.compile("Grenze de[rs] "))
    expect(panel).to_contain_text("in use")
    expect(page.get_by_text("Als Paket exportieren").first).to_be_visible()
    cell(page, 1).locator(".mlguard-Badge").click()
    form = page.locator("dialog.mlguard-Form")
    expect(form).to_contain_text("Schutz von Zelle 1")
    expect(form.get_by_label("Attempts")).to_have_attribute("aria-description", "Aufrufe insgesamt")
    keep(page, "translated")
