"""What a keyboard and a screen reader meet: axe-core finds nothing serious in anything that is ours, light or dark."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.conftest import Gpus, Lab, keep
from tests.browser.test_lab import cell, open_notebook, run, write_notebook

if TYPE_CHECKING:
    from playwright.sync_api import Page

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


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_nothing_serious_is_found(gpu_lab: Lab, gpus: Gpus, page: Page, theme: str) -> None:
    """Panel with one GPU, eight GPUs, as chart and table, lost and full; status, view, badge, form, both dialogs."""
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
    cell(page, 2).locator(".mlguard-Badge").click()
    form = page.locator("dialog.mlguard-Form")
    form.get_by_role("button", name="All options").click()
    expect(form.get_by_label("scope")).to_be_visible()
    keep(page, f"form-{theme.split()[-1].lower()}")
    assert violations(page, "dialog.mlguard-Form") == []
    page.keyboard.press("Escape")
    panel.get_by_role("button", name="Release the memory of axe.ipynb").click()
    expect(page.locator(".mlguard-Release")).to_be_visible()
    assert violations(page, ".jp-Dialog") == []
    page.keyboard.press("Escape")
    run(page, "mlguard:export")
    dialog = page.locator("dialog.mlguard-Dialog")
    expect(dialog).to_contain_text("3 cells become", timeout=60_000)
    keep(page, f"export-plan-{theme.split()[-1].lower()}")
    assert violations(page, "dialog.mlguard-Dialog") == []
    page.keyboard.press("Escape")
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
    expect(panel.locator(".mlguard-Cells tbody tr")).to_have_count(1, timeout=30_000)
    expect(panel.get_by_role("button", name="Release the memory of keys.ipynb")).to_be_visible()
    panel.get_by_role("button", name="Settings and help").focus()
    seen = []
    for _ in range(20):
        page.keyboard.press("Tab")
        name = page.evaluate(
            """() => {
            const node = document.activeElement;
            if (!node.closest('#mlguard-panel')) { return null; }
            const outline = getComputedStyle(node).outlineStyle;
            return [node.getAttribute('aria-label') || node.textContent || '', outline];
        }"""
        )
        if name is None:
            break
        seen.append(name)
    words = [re.sub(r"\s+", " ", name) for name, _ in seen]
    wanted = ["GPU 0", "Chart", "Table", "Export", "keys.ipynb", "Release the memory of keys.ipynb", "x = 1"]
    places = [words.index(word) for word in wanted]
    assert places == sorted(places)
    assert {outline for _, outline in seen} == {"solid"}
    assert len(seen) < 20, "the focus leaves the panel at its end"


def test_nothing_glides_for_a_reader_who_wants_it_still(gpu_lab: Lab, gpus: Gpus, page: Page) -> None:
    gpus.are(16.3)
    page.emulate_media(reduced_motion="reduce")
    write_notebook(gpu_lab, "still.ipynb", ("x = 1",))
    open_notebook(page, gpu_lab, "still.ipynb")
    page.locator(".mlguard-Status").click()
    part = page.locator("#mlguard-panel .mlguard-Bar i").first
    part.wait_for()
    duration = "node => getComputedStyle(node).transitionDuration"
    assert part.evaluate(duration) == "0s"
    page.emulate_media(reduced_motion="no-preference")
    assert part.evaluate(duration) == "0.12s"


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
