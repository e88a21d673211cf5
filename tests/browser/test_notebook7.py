"""Notebook 7 has no status bar and no Lab shell: panel, badge, view and export work there all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.conftest import Gpus, keep
from tests.browser.test_accessibility import RESULT, answer
from tests.browser.test_lab import CELLS, cell, run, write_notebook

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

HELD = "%%guard retry=2 name=held\nimport ctypes\nctypes.PyDLL(None).sleep(600)"  # the interpreter with it

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]


def test_a_guarded_notebook_in_notebook_7(make_lab: Any, gpus: Gpus, nvml_library: Path, page: Page) -> None:
    """The panel opens from the View menu's command, follows the running cell, and an export is planned, written, opened.

    A cell that holds the interpreter is stopped from its view.
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
    run(page, "mlguard:export")
    dialog = page.locator("dialog.mlguard-Dialog")
    expect(dialog).to_contain_text("5 cells become", timeout=60_000)
    keep(page, "notebook7-export")
    page.route("**/mlguard/export**", lambda route: route.fulfill(body=answer(RESULT)))
    dialog.locator(".mlguard-accept").click()
    keep(page, "notebook7-export-result")
    with page.expect_popup() as tree:  # this page has no file browser
        dialog.get_by_role("button", name="Open folder").click()
    assert tree.value.url == f"{lab.base}/tree/exports/axe"
    expect(dialog).to_have_count(0)
