"""What a person does in JupyterLab: run a guarded cell, watch it, export the notebook, find the package on disk."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import nbformat
import pytest

from tests.browser.conftest import Gpus, Lab, keep

if TYPE_CHECKING:
    from playwright.sync_api import Page, WebSocket

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

CELLS = (
    "%load_ext mlguard_nb",
    "size = 20",
    "%%guard retry=3 mem=0.9 name=fill\nimport os, time\nblocks = [bytearray(2**20) for _ in range(size)]\n"
    "total = sum(len(block) for block in blocks)\nend = time.monotonic() + 60\n"
    "while time.monotonic() < end and not os.path.exists('seen'):\n    time.sleep(0.02)",
    "largest = total * 2",
)


def write_notebook(lab: Lab, name: str, cells: tuple[str, ...] = CELLS) -> None:
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = nbformat.v4.new_notebook(metadata=metadata)
    notebook.cells = [nbformat.v4.new_code_cell(source) for source in cells]
    nbformat.write(notebook, lab.root / name)


# Nothing is asked about unsaved changes, and the side panel is shut, as in a page that was just loaded.
OPEN_ALONE = """async name => {
    const { shell, commands } = window.jupyterapp;
    shell.collapseRight();
    [...shell.widgets('main')].forEach(widget => widget.dispose());
    await commands.execute('docmanager:open', { path: name });
}"""
IS_READY = """name => {
    const shown = window.jupyterapp?.shell.currentWidget;
    return shown?.context?.path === name && shown.sessionContext.session?.kernel?.status === 'idle';
}"""


def open_notebook(page: Page, lab: Lab, name: str) -> None:
    """Show this notebook and nothing else, in the JupyterLab that the page holds already, or in a new one."""
    if page.url.startswith(lab.base):
        page.evaluate(OPEN_ALONE, name)
    else:
        page.goto(f"{lab.base}/lab/tree/{name}?reset&token={lab.token}")
    page.wait_for_function(IS_READY, arg=name, timeout=120_000)


def run(page: Page, command: str) -> None:
    page.evaluate("command => void window.jupyterapp.commands.execute(command)", command)


def cell(page: Page, number: int):  # type: ignore[no-untyped-def]
    return page.locator(".jp-Notebook .jp-CodeCell").nth(number - 1)


def test_a_guarded_cell_is_watched_and_the_notebook_exported(lab: Lab, page: Page) -> None:
    """The badge says the policy, the view and the panel follow the running cell, and the export is a package on disk."""
    from playwright.sync_api import expect

    (lab.root / "seen").unlink(missing_ok=True)
    write_notebook(lab, "churn.ipynb")
    open_notebook(page, lab, "churn.ipynb")
    expect(page.locator(".mlguard-Status")).to_contain_text(re.compile(r"RAM \d+(\.\d)?/\d+(\.\d)? GiB"))
    expect(cell(page, 3).locator(".mlguard-Badge")).to_contain_text("3 attempts · RAM stop 90 %")

    page.locator(".mlguard-Status").click()
    panel = page.locator("#mlguard-panel")
    expect(panel).to_contain_text("Who holds it")
    run(page, "notebook:run-all-cells")
    view = cell(page, 3).locator(".jp-OutputArea .mlguard-View")
    expect(view).to_contain_text(re.compile(r"running 0:\d\d"))
    expect(view).to_contain_text("attempt 1 of 3")
    expect(cell(page, 3).locator(".jp-InputPrompt")).to_have_text("[*]:")
    expect(panel.locator(".mlguard-Ledger").first).to_contain_text(re.compile(r"This notebook.*churn.ipynb", re.DOTALL))
    expect(panel.locator(".mlguard-Cells")).to_contain_text("fill")
    keep(page, "panel-while-running")
    (lab.root / "seen").touch()
    expect(view).to_contain_text(re.compile(r"peak RAM \d+\.\d GiB"), timeout=60_000)
    expect(view.locator(".mlguard-View-rows")).to_have_js_property("offsetHeight", 100)
    expect(panel.locator(".mlguard-Cells tbody tr")).to_have_count(4)
    took = re.match(r"\d+\.\d s", view.inner_text().strip())
    assert took is not None
    expect(panel.locator(".mlguard-Cells tr", has_text="fill")).to_contain_text(took[0])
    keep(page, "panel-after")

    page.get_by_text("Export as package").first.click()
    dialog = page.locator("dialog.mlguard-Dialog")
    expect(dialog).to_contain_text("4 cells become", timeout=60_000)
    keep(page, "export-plan")
    dialog.get_by_role("button", name="Export and compare").press("Enter")
    expect(dialog.locator(".mlguard-Steps li")).not_to_have_count(0)
    expect(dialog.get_by_role("button", name="Close, keep running")).to_be_focused()
    keep(page, "export-progress")
    expect(dialog).to_contain_text("churn.ipynb is exported", timeout=240_000)
    expect(dialog).to_contain_text("4 of 5 final values are equal, 1 is not compared.")
    unstable = dialog.locator("tr", has_text="differs between two runs of the notebook itself")
    expect(unstable.get_by_role("rowheader")).to_have_text("end")
    expect(dialog.get_by_role("button", name=re.compile(r"^test_\w+\.py$"))).to_be_visible()
    keep(page, "export-result")
    package = lab.root / "exports" / "churn"
    assert (package / "pyproject.toml").is_file()
    assert "fill" in next(package.rglob("steps.py")).read_text()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


def test_the_export_is_in_the_file_menu_and_in_the_command_palette(lab: Lab, page: Page) -> None:
    """Both open the dialog of the notebook in front."""
    from playwright.sync_api import expect

    write_notebook(lab, "menu.ipynb", ("x = 1",))
    open_notebook(page, lab, "menu.ipynb")
    dialog = page.locator("dialog.mlguard-Dialog")

    def is_planned() -> None:
        expect(dialog).to_contain_text("Export menu.ipynb")
        expect(dialog).to_contain_text("1 cell becomes")
        dialog.get_by_role("button", name="Cancel").click()
        expect(dialog).to_have_count(0)

    page.get_by_role("menuitem", name="File", exact=True).click()
    page.get_by_role("menuitem", name="Export as package").click()
    is_planned()
    run(page, "apputils:activate-command-palette")
    page.locator(".lm-CommandPalette-input").fill("Export as package")
    page.locator(".lm-CommandPalette-item", has_text="Export as package").click()
    is_planned()


SETTINGS = """import numpy
%guard set quick retry=2
rows = numpy.arange(9.0)
%guard schema rows
%guard on
%guard off"""
STUCK = """%%guard retry=2 mem=0.9 name=stuck
import ctypes
ctypes.PyDLL(None).sleep(600)  # holds the interpreter: no thread of the kernel runs from the start"""


def test_a_cell_that_holds_the_interpreter_is_stopped_from_its_view(lab: Lab, page: Page) -> None:
    """By keyboard, while the kernel can send nothing: the page shows a view of its own until then, with the machine's
    memory and the cell's stop, and gives way to the kernel's. No row moves, no dead button stays.

    What %guard says is shown, and what it sets is there again in a new kernel.
    """
    from playwright.sync_api import expect

    write_notebook(lab, "stuck.ipynb", ("%load_ext mlguard_nb", SETTINGS, STUCK))
    open_notebook(page, lab, "stuck.ipynb")
    run(page, "notebook:run-all-cells")
    view = cell(page, 3).locator(".jp-OutputArea .mlguard-View")
    for said in ("%%guard quick now means: retry=2", "rows = ", "every cell is guarded", "only cells with a"):
        expect(cell(page, 2).locator(".jp-OutputArea")).to_contain_text(said)
    rows = view.locator(".mlguard-View-rows")
    button = view.get_by_role("button", name="Stop this cell")
    expect(button).to_have_text("Stop")
    expect(view).to_contain_text("Nothing heard from the kernel yet")
    expect(view).to_contain_text(re.compile(r"RAM\s*\d+\.\d of \d+\.\d GiB\s*stop \d+\.\d"))
    expect(page.locator(".mlguard-StandIn")).to_have_count(1)
    keep(page, "view-with-stop")
    tops = "rows => [...rows.querySelectorAll('.mlguard-View-row')].map(row => row.getBoundingClientRect().top)"
    before = rows.evaluate(tops)
    expect(view).to_contain_text(
        re.compile(r"running \d:(0[1-9]|[1-5]\d)")
    )  # the page goes on by itself, and JupyterLab is done with the focus
    stopped = view.filter(has_text=re.compile(r"Stopping|interrupted"))
    while not stopped.count():  # now and then JupyterLab takes the focus between its coming here and the key
        button.press("Enter")
        page.wait_for_timeout(500)
    expect(view).to_contain_text(re.compile(r"interrupted after .* in attempt 1 of 2"))
    expect(rows).to_be_focused()
    expect(button).to_have_count(0)
    expect(page.locator(".mlguard-StandIn")).to_have_count(0)
    assert rows.evaluate(tops) == before[:4], "the fifth row became the fold"
    expect(rows).to_have_js_property("offsetHeight", 100)

    def kept() -> object:
        return nbformat.read(lab.root / "stuck.ipynb", as_version=4).metadata.get("mlguard_nb")

    while kept() != {"profiles": {"quick": "retry=2"}}:  # saved by now, or this test takes longer than it may
        page.wait_for_timeout(50)
    page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    page.evaluate("window.jupyterapp.shell.currentWidget.content.activeCellIndex = 0")
    run(page, "notebook:run-cell")
    expect(cell(page, 1).locator(".jp-OutputArea")).to_contain_text("settings back: profile quick (retry=2).")
    assert kept() == {"profiles": {"quick": "retry=2"}}


SILENT = (
    "%load_ext mlguard_nb\nimport ctypes, time\nfrom pathlib import Path\nhold = ctypes.PyDLL(None).sleep",
    "%%guard view=off\nhold(2)",
    "%%guard mem=0.9 name=silent\nhold(2)\nwhile not Path('heard').exists(): time.sleep(0.05)",
    "%%guard\nx = 1",
    "%guard on",
    "hold(2)",
)


def test_the_page_shows_a_view_only_where_the_kernel_can_send_none(lab: Lab, page: Page) -> None:
    """Not for a cell without a view, not for one that waits for its turn; a cell that `%guard on` guards has one too.

    Where the kernel speaks again its own view takes the place, and the focus stays on Stop.
    """
    from playwright.sync_api import expect

    (lab.root / "heard").unlink(missing_ok=True)
    write_notebook(lab, "silent.ipynb", SILENT)
    open_notebook(page, lab, "silent.ipynb")
    page.evaluate(
        """() => {
          window.standIns = [];
          new MutationObserver(changes => changes.flatMap(({ addedNodes }) => [...addedNodes]).forEach(node => {
            if (node.classList?.contains('mlguard-StandIn')) {
              window.standIns.push([...document.querySelectorAll('.jp-CodeCell')].indexOf(node.closest('.jp-CodeCell')) + 1);
            }
          })).observe(document.querySelector('.jp-Notebook'), { subtree: true, childList: true });
        }"""
    )
    run(page, "notebook:run-all-cells")
    view = cell(page, 3).locator(".mlguard-View")
    stop = view.get_by_role("button", name="Stop this cell")
    expect(cell(page, 3).locator(".mlguard-StandIn")).to_have_count(1)
    stop.focus()
    expect(view).to_contain_text("No error so far.")
    expect(page.locator(".mlguard-StandIn")).to_have_count(0)
    expect(stop).to_be_focused()
    (lab.root / "heard").touch()
    expect(view).to_contain_text("peak RAM")
    expect(cell(page, 6).locator(".jp-InputPrompt")).to_have_text("[6]:")
    assert page.evaluate("window.standIns") == [3]
    page.evaluate("window.jupyterapp.shell.currentWidget.content.activeCellIndex = 5")
    run(page, "notebook:run-cell")
    expect(cell(page, 6).locator(".mlguard-StandIn")).to_have_count(1)
    expect(cell(page, 6).locator(".mlguard-View")).to_contain_text("peak RAM")
    assert page.evaluate("window.standIns") == [3, 6]


def test_the_form_writes_line_one_and_nothing_else(lab: Lab, page: Page) -> None:
    """What the parser refuses cannot be written; Escape gives the focus back; the rest of the cell stays as it is.

    One step back is the cell as it was; "Remove guard" takes the line away.
    """
    from playwright.sync_api import expect

    write_notebook(lab, "form.ipynb", ("%%guard retry=3  # often enough\nx = 1\ny = 2",))
    open_notebook(page, lab, "form.ipynb")
    badge = cell(page, 1).locator(".mlguard-Badge")
    badge.click()
    form = page.locator("dialog.mlguard-Form")
    form.get_by_label("RAM stop").fill("12")
    expect(form.get_by_role("alert")).to_contain_text("12 has no unit")
    expect(form.get_by_role("button", name="Write line")).to_be_disabled()
    expect(form.locator("[aria-invalid]")).to_have_attribute("name", "mem")
    keep(page, "form-mistake")
    page.keyboard.press("Escape")
    expect(form).to_have_count(0)
    expect(badge).to_be_focused()
    badge.click()
    form.get_by_label("RAM stop").fill("0.7")
    expect(form).to_contain_text(re.compile(r"\d+\.\d of \d+\.\d GiB"))
    form.get_by_role("button", name="Write line").click()
    source = "window.jupyterapp.shell.currentWidget.content.widgets[0].model.sharedModel.getSource()"
    assert page.evaluate(source) == "%%guard retry=3 mem=0.7\nx = 1\ny = 2"
    expect(badge).to_contain_text("3 attempts · RAM stop 70 %")
    page.evaluate("window.jupyterapp.shell.currentWidget.content.widgets[0].model.sharedModel.undo()")
    assert page.evaluate(source) == "%%guard retry=3  # often enough\nx = 1\ny = 2"
    expect(badge).to_have_text("3 attempts")
    badge.click()
    form.get_by_role("button", name="Remove guard").click()
    assert page.evaluate(source) == "x = 1\ny = 2"
    expect(badge).to_have_count(0)


@pytest.mark.own_page
def test_every_setting_is_followed(gpu_lab: Lab, gpus: Gpus, page: Page) -> None:
    """As stored before the page was opened, and as changed while it is."""
    from playwright.sync_api import expect

    gpus.are(16.3)
    gpu_lab.settings(
        interval=2, historyMinutes=5, historyView="table", warning=0.15, critical=0.3, statusItem=False,
        showOthers=False, defaultLine="retry=5 mem=0.6",
    )  # fmt: skip
    write_notebook(gpu_lab, "set.ipynb", ("%%guard\nx = 1",))
    open_notebook(page, gpu_lab, "set.ipynb")
    expect(page.locator(".mlguard-Status")).to_be_hidden()
    run(page, "mlguard:show-panel")
    panel = page.locator("#mlguard-panel")
    expect(panel).to_contain_text("Last 5 minutes")
    expect(panel.get_by_role("button", name="Table")).to_have_attribute("aria-pressed", "true")
    expect(panel).to_contain_text("every 2 s")
    expect(panel.locator(".mlguard-Device").first).to_contain_text("20 %")
    expect(panel.locator(".mlguard-Ledger").last).to_contain_text("set.ipynb")
    expect(panel).not_to_contain_text("everybody else")
    cell(page, 1).locator(".mlguard-Badge").click()
    form = page.locator("dialog.mlguard-Form")
    expect(form.locator(".mlguard-Form-line")).to_have_text("%%guard retry=5 mem=0.6")
    expect(form.get_by_label("Attempts")).to_have_value("5")
    page.keyboard.press("Escape")
    panel.get_by_role("button", name="Chart").click()
    kept = "lab/api/settings/mlguard-nb:plugin"
    page.wait_for_function(
        "async path => (await (await fetch(path)).json()).settings.historyView === 'chart'",
        arg=f"{gpu_lab.base}/{kept}?token={gpu_lab.token}",
    )
    gpu_lab.settings()


def test_names_in_the_panel_lead_to_notebooks_and_cells(lab: Lab, page: Page) -> None:
    """A name in the ledger opens that notebook, a cell's name selects the cell."""
    for name in ("first.ipynb", "second.ipynb"):
        write_notebook(lab, name, ("a = 1", "b = 2", "c = 3"))
        open_notebook(page, lab, name)
    page.locator(".mlguard-Status").click()
    panel = page.locator("#mlguard-panel")
    panel.locator(".mlguard-Ledger").get_by_role("button", name="first.ipynb", exact=True).click()
    page.wait_for_function(IS_READY, arg="first.ipynb")
    run(page, "notebook:run-all-cells")
    panel.locator(".mlguard-Cells").get_by_role("button", name="b = 2").click()
    page.wait_for_function("window.jupyterapp.shell.currentWidget.content.activeCellIndex === 1")


def test_the_readings_can_be_saved(lab: Lab, page: Page) -> None:
    """A CSV with one line a second; what nobody read is empty, not 0."""
    write_notebook(lab, "save.ipynb", ("x = 1",))
    open_notebook(page, lab, "save.ipynb")
    page.locator(".mlguard-Status").click()
    with page.expect_download() as download:
        page.locator("#mlguard-panel").get_by_role("button", name="Export", exact=True).click()
    lines = download.value.path().read_text().splitlines()
    assert download.value.suggested_filename == "ram-readings.csv"
    assert lines[0] == "time,used_bytes,notebook_bytes,utilisation"
    assert len(lines) > 1
    time, used, _, utilisation = lines[1].split(",")
    assert time.endswith("Z")
    assert int(used) > 2**20
    assert utilisation == ""
    with page.expect_download() as download:
        run(page, "mlguard:save-json")
    assert download.value.suggested_filename == "ram-readings.json"
    assert json.loads(download.value.path().read_text())


@pytest.mark.own_page
def test_a_reloaded_page_asks_for_as_much_history_as_it_shows(lab: Lab, page: Page) -> None:
    """The server keeps an hour; a chart of half an hour is full again at once, not only its last ten minutes."""
    lab.settings(historyMinutes=30)
    write_notebook(lab, "reload.ipynb", ("x = 1",))
    open_notebook(page, lab, "reload.ipynb")
    sent: list[str] = []
    heard: list[str] = []

    def listen(socket: WebSocket) -> None:
        if "/mlguard/stream" in socket.url:
            socket.on("framesent", lambda text: sent.append(str(text)))
            socket.on("framereceived", lambda text: heard.append(str(text)[:20]))

    page.on("websocket", listen)
    page.reload()
    page.locator(".mlguard-Status").click()
    page.wait_for_selector("#mlguard-panel .mlguard-Chart")
    for _ in range(600):
        if heard.count('{"kind":"history","p') == 2:
            break
        page.wait_for_timeout(100)
    assert any('"history":1800' in text for text in sent)
    assert heard.count('{"kind":"history","p') == 2, "ten minutes at first, then what the chart shows"
    lab.settings()


def test_a_finding_leads_to_its_cell_and_back(lab: Lab, page: Page) -> None:
    """A jump closes the dialog and keeps the plan; one line above the notebook leads back. Nothing is written."""
    from playwright.sync_api import expect

    write_notebook(lab, "refused.ipynb", ("x = 1", "y = 2\nreturn y"))
    open_notebook(page, lab, "refused.ipynb")
    page.get_by_text("Export as package").first.click()
    dialog = page.locator("dialog.mlguard-Dialog")
    finding = dialog.get_by_role("button", name=re.compile("cell 2, line 2"))
    expect(finding).to_be_visible()
    expect(dialog).to_contain_text(re.compile("cell 2, line 2: not valid Python: 'return' outside function"))
    expect(dialog).to_contain_text("Nothing was written. Correct it, or leave the cell out.")
    keep(page, "export-refused")
    finding.click()
    expect(dialog).to_have_count(0)
    assert page.evaluate("window.jupyterapp.shell.currentWidget.content.activeCellIndex") == 1
    page.get_by_text("Back to the export").click()
    expect(finding).to_be_visible()
    dialog.get_by_role("button", name="Leave out cell 2").click()
    expect(dialog).to_contain_text("2 cells become")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page.locator(".mlguard-Back")).to_have_count(0)
    assert not (lab.root / "exports" / "refused").exists()
