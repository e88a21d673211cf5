"""Notebook 7 has no status bar and no Lab shell: panel, badge, view and export work there all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.conftest import Gpus, keep
from tests.browser.test_accessibility import NOT_COMPARED, RESULT, answer
from tests.browser.test_lab import CELLS, cell, run, write_notebook

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page, Route

HELD = "%%guard retry=2 name=held\nimport ctypes\nctypes.PyDLL(None).sleep(600)"  # the interpreter with it

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]


def test_a_guarded_notebook_in_notebook_7(make_lab: Any, gpus: Gpus, nvml_library: Path, page: Page) -> None:
    """The panel opens from the View menu's command, follows the running cell, and an export is planned, written, opened.

    A cell that holds the interpreter is stopped from its view; a comparison that failed says why, and counts nothing.
    """
    from playwright.sync_api import expect

    gpus.are(16.3)
    lab = make_lab(application="notebook", LD_LIBRARY_PATH=str(nvml_library), MLGUARD_NVML_STATE=str(gpus.state))
    write_notebook(lab, "seven.ipynb", (*CELLS, HELD))
    page.goto(f"{lab.base}/notebooks/seven.ipynb?token={lab.token}")
    page.wait_for_function("window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel", timeout=120_000)
    assert page.evaluate("window.jupyterapp.name") == "Jupyter Notebook"
    expect(cell(page, 3).locator(".mlguard-Badge")).to_contain_text("3 attempts · RAM stop 90 %")
    run(page, "mlguard:show-panel")
    panel = page.locator("#mlguard-panel")
    expect(panel).to_contain_text("16.3 of 80.0 GiB")
    run(page, "notebook:run-all-cells")
    view = cell(page, 3).locator(".jp-OutputArea .mlguard-View")
    expect(view).to_contain_text("attempt 1 of 3", timeout=60_000)
    expect(panel.locator(".mlguard-Ledger").first).to_contain_text("seven.ipynb")
    expect(panel.locator(".mlguard-Cells")).to_contain_text("fill")
    keep(page, "notebook7")
    (lab.root / "seen").touch()
    expect(view).to_contain_text("peak RAM", timeout=60_000)
    held = cell(page, 5).locator(".jp-OutputArea .mlguard-View")
    stop = held.get_by_role("button", name="Stop this cell")
    expect(stop).to_have_text("Stop")
    keep(page, "notebook7-stop")
    stop.click()
    expect(held).to_contain_text("interrupted after")
    expect(held).to_contain_text("in attempt 1 of 2")
    expect(stop).to_have_count(0)
    gpus.are(66.1)
    expect(panel).to_contain_text("83 %")
    keep(page, "notebook7-warning")
    gpus.unload()
    expect(panel).to_contain_text("GPU: the NVIDIA driver is installed but not loaded")
    expect(panel.locator(".mlguard-Ledger").first).not_to_contain_text("GPU")
    keep(page, "notebook7-not-loaded")
    gpus.are(16.3)
    cell(page, 3).locator(".mlguard-Badge").click()
    form = page.locator("dialog.mlguard-Form")
    form.get_by_role("button", name="All options").click()
    expect(form.get_by_label("scope")).to_be_visible()
    keep(page, "notebook7-form")
    page.keyboard.press("Escape")

    results = [NOT_COMPARED, RESULT]

    def export(route: Route) -> None:
        is_plan = route.request.post_data_json.get("check")
        route.continue_() if is_plan else route.fulfill(body=answer(results.pop(0)))

    page.route("**/mlguard/export**", export)
    dialog = page.locator("dialog.mlguard-Dialog")
    for said in ("were not compared: cell 3 of the notebook fails", "9 of 11 final values are equal"):
        page.get_by_role("menuitem", name="File", exact=True).click()
        page.get_by_role("menuitem", name="Export as package").click()
        expect(dialog).to_contain_text("5 cells become", timeout=60_000)
        keep(page, "notebook7-export")
        dialog.locator(".mlguard-accept").click()
        expect(dialog).to_contain_text(said)
        keep(page, f"notebook7-export-{'result' if not results else 'not-compared'}")
        if results:
            assert "0 of 0" not in dialog.inner_text()
            dialog.get_by_role("button", name="Close").click()
    with page.expect_popup() as tree:  # this page has no file browser
        dialog.get_by_role("button", name="Open folder").click()
    assert tree.value.url == f"{lab.base}/tree/exports/axe"
    expect(dialog).to_have_count(0)
