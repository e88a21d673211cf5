"""What a person sees when drivers, kernels, servers and folders fail: cause and next step, and no crash."""

from __future__ import annotations

import json
import os
import re
import signal
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mlguard_nb.notebook.bundle import MIME, bundle
from tests.browser.conftest import GIB, Gpus, Lab, keep
from tests.browser.test_lab import cell, open_notebook, run, write_notebook
from tests.notebook.states import STATES
from tests.server.another_server import kernel

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

CARD = f"gpu GPU-a {80 * GIB} {12 * GIB} 97 61 312000 400000 NVIDIA A100-SXM4-80GB"


def open_panel(page: Page, lab: Lab, name: str, *cells: str) -> Locator:
    write_notebook(lab, name, cells or ("x = 1",))
    open_notebook(page, lab, name)
    page.locator(".mlguard-Status").click()
    return page.locator("#mlguard-panel")


def kernels(lab: Lab) -> dict[str, Any]:
    with urllib.request.urlopen(f"{lab.base}/mlguard/sample?token={lab.token}") as answer:
        return {kernel["name"]: kernel for kernel in json.load(answer)["holders"]["kernels"]}


def test_each_thing_that_the_driver_will_not_say_has_its_reason(gpu_lab: Lab, gpus: Gpus, page: Page) -> None:
    """One page, one driver in every state: slices, refusals, unified memory, a stranger's namespace, not loaded, back."""
    from playwright.sync_api import expect

    gpus.say(
        CARD,
        f"slice 0 MIG-1 {39 * GIB} {12 * GIB} NVIDIA A100 MIG 3g.40gb",
        f"slice 0 MIG-2 {19 * GIB} 0 NVIDIA A100 MIG 2g.20gb",
    )
    panel = open_panel(page, gpu_lab, "driver.ipynb")
    expect(panel.locator(".mlguard-Devices tbody tr")).to_have_count(2)
    expect(panel).to_contain_text("A100, cut into 2 MIG slices.")
    expect(panel).to_contain_text("3g.40gb")
    dash = panel.locator(".mlguard-Devices .mlguard-missing").first
    expect(dash).to_have_attribute("title", "utilisation is measured for the whole card, not for a MIG slice")
    dash.focus()
    keep(page, "panel-mig")

    gpus.say(CARD, "error nvmlDeviceGetPowerUsage 4 -1")
    power = panel.locator(".mlguard-Device-facts .mlguard-missing")
    expect(power).to_have_attribute("title", re.compile("the driver refuses power to this user; ask the administrator"))
    expect(panel).to_contain_text("12.0 of 80.0 GiB")
    keep(page, "panel-no-permission")

    gpus.say(CARD.replace("GPU-a", "GPU-b"), "error nvmlDeviceGetMemoryInfo 3 -1")
    expect(panel).to_contain_text("shares the machine's memory and has none of its own; look at RAM")
    expect(panel).not_to_contain_text("0.0 of")
    expect(panel).not_to_contain_text("Trying again")
    expect(panel.locator(".mlguard-Message")).to_contain_text("GPU 0 has no memory of its own to show")
    expect(page.locator(".mlguard-Status")).not_to_contain_text("GPU")
    keep(page, "panel-unified-memory")

    gpus.say(CARD, f"process 0 4194000 {9 * GIB}")
    row = panel.locator(".mlguard-Ledger tr", has_text="driver.ipynb").first
    expect(row.locator(".mlguard-missing")).to_have_attribute(
        "title", re.compile("start the container with --pid=host")
    )
    expect(panel.locator(".mlguard-Ledger tr", has_text="not attributed")).to_contain_text("12.0")
    keep(page, "panel-foreign-pids")

    gpus.unload()
    expect(panel).to_contain_text("the NVIDIA driver is installed but not loaded; run nvidia-smi as an administrator")
    keep(page, "panel-not-loaded")
    gpus.are(16.3)
    expect(panel).to_contain_text("16.3 of 80.0 GiB")


def test_without_a_gpu_the_panel_is_about_ram(lab: Lab, page: Page) -> None:
    """No dash for what the machine never had: one quiet line, and everything about RAM."""
    from playwright.sync_api import expect

    panel = open_panel(page, lab, "laptop.ipynb")
    expect(panel).to_contain_text("GPU: no NVIDIA driver here")
    expect(panel.locator(".mlguard-Ledger").first).to_contain_text("laptop.ipynb")
    expect(panel.locator(".mlguard-missing")).to_have_count(0)
    expect(page.locator(".mlguard-Status")).not_to_contain_text("GPU")
    keep(page, "panel-no-driver")


def test_a_kernel_that_dies_is_gone_from_the_ledger_and_the_rest_goes_on(lab: Lab, page: Page) -> None:
    """Killed in the middle of a cell, while it is sampled: the readings never stop, and its successor is shown."""
    from playwright.sync_api import expect

    panel = open_panel(page, lab, "dies.ipynb", "block = bytearray(300 * 2**20)\nwhile True: pass")
    run(page, "notebook:run-all-cells")
    row = panel.locator(".mlguard-Ledger tr", has_text="dies.ipynb").first
    expect(row).to_contain_text(re.compile(r"0\.[34]"))
    first = kernels(lab)["dies.ipynb"]["pid"]
    os.kill(first, signal.SIGKILL)
    expect(row).not_to_contain_text(re.compile(r"0\.[34]"))
    expect(panel).not_to_contain_text("Last sample")
    button = page.locator(".jp-Dialog").get_by_role("button", name=re.compile("Ok|Restart"))
    button.first.click()
    expect(row).to_contain_text(re.compile(r"0\.[01]"), timeout=60_000)  # a kernel without the block
    assert kernels(lab)["dies.ipynb"]["pid"] != first
    keep(page, "panel-kernel-died")


def test_a_server_that_restarts_under_an_open_page_is_found_again(make_lab: Any, page: Page) -> None:
    """The page says that it lost the server, greys its numbers, and has live ones again without a reload.

    What another server of the same user runs is named, and no button there does what only that server can.
    """
    from playwright.sync_api import expect

    lab = make_lab()
    with kernel(lab.root.parent / "runtime", "a1", JPY_SESSION_NAME="/home/ada/rag.ipynb"):
        panel = open_panel(page, lab, "again.ipynb")
        row = panel.locator(".mlguard-Ledger tr", has_text="rag.ipynb")
        expect(row).to_contain_text(re.compile(r"rag\.ipynb.*on another server"))
        expect(row.get_by_role("button")).to_have_count(0)
        expect(panel.locator(".mlguard-Ledger tr", has_text="again.ipynb").get_by_role("button")).to_have_count(2)
        keep(page, "panel-another-server")
    running = lab.processes[-1]
    os.killpg(running.pid, signal.SIGKILL)
    running.wait(20)
    expect(panel).to_contain_text(
        re.compile(r"Last sample \d+ s ago .*The connection to the server was lost"), timeout=60_000
    )
    expect(panel).to_have_class(re.compile("is-stale"), timeout=60_000)
    expect(page.locator(".mlguard-Status")).to_contain_text("s ago", timeout=60_000)
    keep(page, "panel-server-gone")
    lab.launch()
    page.add_locator_handler(page.locator(".jp-Dialog"), lambda _: page.keyboard.press("Escape"))  # JupyterLab's own
    panel.get_by_role("button", name="Try now").click()
    expect(panel).not_to_contain_text("Last sample", timeout=60_000)
    expect(panel).not_to_have_class(re.compile("is-stale"))


def test_an_export_that_cannot_be_written_or_is_stopped_leaves_a_clear_state(lab: Lab, page: Page) -> None:
    """A folder that is a file: the reason, and a way to try again. 'Stop' while it compares: back to the plan."""
    from playwright.sync_api import expect

    (lab.root / "taken").write_text("a file")
    open_panel(page, lab, "stopped.ipynb", "x = 1", "import time\nwhile True: time.sleep(0.1)")
    run(page, "mlguard:export")
    dialog = page.locator("dialog.mlguard-Dialog")
    folder = dialog.get_by_label("Folder")
    folder.fill("taken/out")
    verify = dialog.get_by_label("Then run notebook and package")
    verify.uncheck()
    dialog.get_by_role("button", name="Export", exact=True).click()
    expect(dialog).to_contain_text("taken", timeout=60_000)
    expect(dialog).to_contain_text("cannot be exported")
    expect(dialog).to_contain_text("Nothing was written. Choose another folder.")
    keep(page, "export-unwritable")
    dialog.get_by_role("button", name="Try again").click()
    folder.fill("exports/stopped")
    verify.check()
    dialog.get_by_role("button", name="Export and compare").click()
    expect(dialog.locator(".mlguard-Steps li")).not_to_have_count(0, timeout=60_000)
    page.keyboard.press("Escape")
    expect(dialog, "Escape never ends an export that runs").to_be_visible()
    dialog.get_by_role("button", name="Stop", exact=True).click()
    expect(dialog.get_by_role("button", name="Export and compare")).to_be_enabled()
    assert not (lab.root / "exports" / "stopped").exists(), "the dialog says that Stop writes nothing"
    folder.fill("../outside")
    verify.uncheck()
    dialog.get_by_role("button", name="Export", exact=True).click()
    expect(dialog).to_contain_text("must lie inside the folder that this server shows")
    assert not Path(lab.root.parent, "outside").exists()
    assert (lab.root / "taken").read_text() == "a file"


@pytest.mark.own_page
def test_a_page_that_hears_nonsense_goes_on(lab: Lab, page: Page) -> None:
    """Texts that are no messages, of another kind, or of the wrong shape change nothing and throw nothing.

    What the page knows itself it does not wait to be told: that a cell of its notebook runs.
    """
    from playwright.sync_api import expect

    nonsense = ["", "null", "[]", "{", '{"kind": "other"}', '{"kind": "sample"}', '{"kind": "holders", "kernels": 3}',
                '{"kind": "history", "points": [1, null]}', '{"kind": "sample", "wall": 1, "ram": null, "gpus": {}}']  # fmt: skip

    is_silent: list[bool] = []

    def intercept(route: Any) -> None:
        server = route.connect_to_server()

        def from_server(text: str) -> None:
            for message in nonsense:
                route.send(message)
            if not is_silent or json.loads(text)["kind"] != "holders":
                route.send(text)

        server.on_message(from_server)

    page.route_web_socket(re.compile(r".*/mlguard/stream.*"), intercept)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    panel = open_panel(page, lab, "nonsense.ipynb", "import time\nwhile True: time.sleep(0.1)")
    row = panel.locator(".mlguard-Ledger tr", has_text="nonsense.ipynb").first
    expect(row).to_contain_text("idle")
    expect(page.locator(".mlguard-Status")).to_contain_text("GiB")
    is_silent.append(True)
    run(page, "notebook:run-all-cells")
    expect(row).to_contain_text("running")
    assert errors == []


MANY = """async ([bundle, times]) => {
    const { shell } = window.jupyterapp;
    const { outputs } = shell.currentWidget.content.widgets[0].model;
    for (let time = 0; time < times; time++) {
        shell.collapseRight();
        outputs.clear();
        await new Promise(resolve => setTimeout(resolve));
        shell.activateById('mlguard-panel');
        outputs.add({ output_type: 'display_data', data: bundle, metadata: {} });
        await new Promise(resolve => setTimeout(resolve));
    }
}"""


@pytest.mark.own_page
def test_a_panel_and_a_view_that_come_and_go_a_thousand_times_leave_nothing(
    gpu_lab: Lab, gpus: Gpus, page: Page
) -> None:
    """Of a running cell, whose view follows the feed: one socket all the time, and neither nodes nor listeners pile up."""
    from playwright.sync_api import expect

    gpus.are(16.3)
    sockets: list[str] = []
    page.on("websocket", lambda socket: sockets.append(socket.url))
    panel = open_panel(page, gpu_lab, "often.ipynb")
    expect(panel).to_contain_text("16.3 of 80.0 GiB")
    protocol = page.context.new_cdp_session(page)
    protocol.send("Performance.enable")

    def held() -> tuple[int, int]:
        protocol.send("HeapProfiler.collectGarbage")
        counted = {one["name"]: one["value"] for one in protocol.send("Performance.getMetrics")["metrics"]}
        return counted["Nodes"], counted["JSEventListeners"]

    running = bundle(STATES["running 1"][0])
    running[MIME]["devices"][1]["key"] = "GPU-00000000-0000-0000-0000-000000000000"
    page.evaluate(MANY, [running, 50])  # by now everything that is made once is made
    nodes, listeners = held()
    page.evaluate(MANY, [running, 1000])
    more_nodes, more_listeners = (now - before for now, before in zip(held(), (nodes, listeners), strict=True))
    assert more_nodes < 1000, "a view has a hundred"
    assert more_listeners < 500, "a view has one, and the panel more"
    gpus.are(41.8)
    expect(panel).to_contain_text("41.8 of 80.0 GiB")
    expect(cell(page, 1).locator(".mlguard-View")).to_contain_text("41.8")
    assert len([url for url in sockets if "/mlguard/stream" in url]) == 1
