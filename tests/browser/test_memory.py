"""Who is told what about memory: the forecast with its doubt, notifications, and giving memory back."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.conftest import GIB, Gpus, Lab, keep
from tests.browser.test_lab import open_notebook, run, write_notebook

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

LIMIT = 16 * GIB


def feed(page: Page, use: list[float | None], *, hears_holders: Callable[[], bool] = lambda: True) -> None:
    """From now on the page hears that RAM of 16 GiB was used so (in GiB, a value a second), ending now.

    Who holds what it hears as it is, while `hears_holders`.
    """

    def intercept(route: Any) -> None:
        server = route.connect_to_server()

        def from_server(text: str) -> None:
            message = json.loads(text)
            if message["kind"] == "sample":
                now = message["wall"]
                points = [
                    {"wall": now - (len(use) - 1 - index), "ram": value and value * GIB, "gpus": [], "kernels": []}
                    for index, value in enumerate(use)
                ]
                last = use[-1]
                ram = {"used": told(last and last * GIB), "limit": told(LIMIT), "source": "container"}
                message = {**message, "ram": ram, "gpus": []}
                route.send(json.dumps({"kind": "history", "points": points}))
                route.send(json.dumps(message))
            elif message["kind"] != "history" and (message["kind"] != "holders" or hears_holders()):
                route.send(text)

        server.on_message(from_server)

    page.route_web_socket(re.compile(r".*/mlguard/stream.*"), intercept)


@pytest.mark.own_page
def test_a_steady_rise_is_said_in_panel_and_status_with_its_doubt(lab: Lab, page: Page) -> None:
    """10 GiB, 0.1 GiB a second: full in a minute, and both ends of the likely range are named when they differ."""
    from playwright.sync_api import expect

    noise = [0.0, 0.15, -0.1, 0.05, -0.15, 0.1]
    feed(page, [7 + 0.1 * second + noise[second % 6] for second in range(31)])
    write_notebook(lab, "rise.ipynb", ("x = 1",))
    open_notebook(page, lab, "rise.ipynb")
    status = page.locator(".mlguard-Status")
    expect(status).to_contain_text(re.compile(r"RAM 10\.0/16 GiB, full in about 1 min"))
    status.click()
    line = page.locator(".mlguard-Forecast")
    expect(line).to_contain_text(re.compile(r"RAM: full in about 1 min \(55 s to 1 min\)"))
    expect(line).to_have_attribute("title", re.compile("rises steadily and reaches 16.0 GiB"))
    expect(status).to_have_attribute("title", re.compile(r"full in about 1 min, likely 55 s to 1 min"))
    ends = line.locator("p, span").evaluate_all("all => all.map(one => one.getBoundingClientRect().right)")
    assert max(ends) == ends[0], "the range is whole or not there"
    keep(page, "panel-forecast")


KEPT = (
    "%load_ext mlguard_nb\nimport mlguard_nb",
    "@mlguard_nb.cache_result(ttl=3600)\ndef block(size):\n    return bytearray(size)\nkept = len(block(200 * 2**20))\nblock.__name__",
)


def test_an_idle_kernel_gives_back_what_no_name_needs(lab: Lab, page: Page) -> None:
    """The question says what it holds; 'Release' empties its caches and keeps its variables; 'Shut down' ends it."""
    from playwright.sync_api import expect

    write_notebook(lab, "holder.ipynb", KEPT)
    open_notebook(page, lab, "holder.ipynb")
    page.locator(".mlguard-Status").click()
    run(page, "notebook:run-all-cells")
    row = page.locator("#mlguard-panel .mlguard-Ledger tr", has_text="holder.ipynb")
    expect(page.locator(".jp-OutputArea-output").first).to_contain_text("block")
    expect(row).to_contain_text("0.3")
    release = row.get_by_role("button", name="Release the memory of holder.ipynb")
    expect(row).to_contain_text("idle")
    release.click()
    dialog = page.locator(".jp-Dialog")
    expect(dialog).to_contain_text(re.compile(r"It holds 0\.3 GiB of RAM"))
    keep(page, "release-question")
    dialog.get_by_role("button", name="Cancel").click()
    expect(row).to_contain_text("0.3")
    release.click()
    dialog.get_by_role("button", name="Release").click()
    expect(page.locator(".Toastify")).to_contain_text("holder.ipynb gave back 0.2 GiB of RAM", timeout=60_000)
    keep(page, "release-done")
    expect(row).not_to_contain_text("0.3")
    assert page.evaluate(
        """async () => {
        const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
        let said = '';
        const future = kernel.requestExecute({code: 'print(kept)', silent: false, store_history: false});
        future.onIOPub = message => { said += message.content.text ?? ''; };
        await future.done;
        return said.trim();
    }"""
    ) == str(200 * 2**20)
    release.click()
    dialog.get_by_role("button", name="Shut down").click()
    expect(page.locator(".Toastify")).to_contain_text("holder.ipynb was shut down", timeout=60_000)
    expect(page.locator("#mlguard-panel .mlguard-Ledger tr", has_text="holder.ipynb")).to_have_count(0)


def test_a_running_kernel_is_not_asked_to_release(lab: Lab, page: Page) -> None:
    """While a cell runs the question only offers to shut down, and says why."""
    from playwright.sync_api import expect

    write_notebook(lab, "runs.ipynb", ("while True: pass",))
    open_notebook(page, lab, "runs.ipynb")
    page.locator(".mlguard-Status").click()
    run(page, "notebook:run-all-cells")
    row = page.locator("#mlguard-panel .mlguard-Ledger tr", has_text="runs.ipynb").first
    expect(row).to_contain_text("running")
    row.get_by_role("button", name="Release the memory of runs.ipynb").click()
    dialog = page.locator(".jp-Dialog")
    expect(dialog).to_contain_text("interrupt the cell to release instead")
    expect(dialog.get_by_role("button", name="Release")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.interrupt()")


LIVE_REGIONS = "[aria-live]:not([aria-live=off]), [role=status], [role=alert], [role=log]"
LISTEN = """() => {
    const region = document.querySelector('.mlguard-Announcer');
    window.said = [];
    new MutationObserver(() => window.said.push(region.textContent))
        .observe(region, { childList: true, characterData: true, subtree: true, attributes: true });
}"""


@pytest.mark.own_page
def test_a_reader_is_notified_of_full_devices_and_of_cells_that_end(gpu_lab: Lab, gpus: Gpus, page: Page) -> None:
    """Once for a crossing; for a cell that took as long as the settings say, with a way to it. Both can be off.

    A screen reader hears of the crossings, too, and of no sample besides.
    """
    from playwright.sync_api import expect

    gpus.are(16.3)
    gpu_lab.settings(notifyCellSeconds=0.001)
    write_notebook(gpu_lab, "told.ipynb", ("import time", "time.sleep(0.2)", "1 / 0"))
    open_notebook(page, gpu_lab, "told.ipynb")
    toasts = page.locator(".Toastify")
    status = page.locator(".mlguard-Status")
    status.click()
    expect(page.locator("#mlguard-panel")).to_contain_text("16.3 of 80.0 GiB")
    assert page.locator(".mlguard").locator(LIVE_REGIONS).count() == 0, "the panel reads nothing aloud by itself"
    page.evaluate(LISTEN)
    crossings: list[str] = []
    for used, share in ((20.1, ""), (24.2, ""), (66.1, "83 %"), (67.3, ""), (77.2, "96 %"), (77.9, "")):
        gpus.are(used)
        expect(status).to_contain_text(f"{used}/80 GiB")
        if share:
            crossings.append(f"GPU 0 is at {share} of its limit")
            expect(toasts).to_contain_text(crossings[-1])
            expect(toasts.locator(".Toastify__toast", has_text="GPU 0 is at")).to_have_count(1, timeout=5_000)
    said = page.evaluate("window.said.filter(text => !/Last sample|Live readings/.test(text))")  # a machine that stalls
    assert said == crossings
    run(page, "notebook:run-all-cells")
    expect(toasts).to_contain_text(re.compile(r"told\.ipynb: cell 2 ended after \d+(\.\d)? m?s"))  # as the page saw it
    expect(toasts).to_contain_text("told.ipynb: cell 3 failed after")
    keep(page, "notifications")
    page.evaluate("window.jupyterapp.shell.currentWidget.content.activeCellIndex = 0")
    toasts.locator(".Toastify__toast", has_text="cell 3 failed").get_by_role("button", name="Go to the cell").click()
    page.wait_for_function("window.jupyterapp.shell.currentWidget.content.activeCellIndex === 2")
    gpu_lab.settings(notifyCellSeconds=0, notifyThresholds=False)
    gpus.are(16.3)
    page.goto("about:blank")
    open_notebook(page, gpu_lab, "told.ipynb")
    expect(page.locator(".mlguard-Status")).to_contain_text("16.3/80 GiB")
    gpus.are(77.2)
    expect(page.locator(".mlguard-Announcer")).to_contain_text("GPU 0 is at 96 % of its limit")
    assert toasts.locator(".Toastify__toast").count() == 0
    gpu_lab.settings()
    gpus.are(16.3)


ELSEWHERE = """%load_ext mlguard_nb
from mlguard_nb.testing import FakeDevices
FakeDevices(ram_used="13.6GiB", ram_limit="16GiB").__enter__()"""


@pytest.mark.own_page
def test_the_memory_of_two_machines_is_told_apart(lab: Lab, page: Page) -> None:
    """That of the server's machine is said to be full, and that of a kernel's on another host as well, by its name."""
    from playwright.sync_api import expect

    is_far: list[bool] = []

    def intercept(route: Any) -> None:
        server = route.connect_to_server()

        def from_server(text: str) -> None:
            message = json.loads(text)
            if message["kind"] == "sample":
                message["ram"] = {"used": told(14 * GIB), "limit": told(LIMIT), "source": "container"}
            elif message["kind"] == "holders" and is_far:
                for kernel in message["kernels"]:
                    kernel["elsewhere"] = "this kernel runs on another host"
            route.send(json.dumps(message))

        server.on_message(from_server)

    page.route_web_socket(re.compile(r".*/mlguard/stream.*"), intercept)
    write_notebook(lab, "two.ipynb", (ELSEWHERE,))
    open_notebook(page, lab, "two.ipynb")
    announcer = page.locator(".mlguard-Announcer")
    expect(announcer).to_have_text("RAM is at 88 % of its limit")
    run(page, "notebook:run-all-cells")
    is_far.append(True)
    page.locator(".mlguard-Status").click()
    expect(announcer).to_have_text(f"RAM of {socket.gethostname()} is at 85 % of its limit")
    expect(page.locator(".Toastify__toast", has_text="is at")).to_have_count(2)


def told(value: float | None) -> dict[str, float | None]:
    return {"value": value, "reason": None}
