"""What the page says when something is there that is not, or is missing that was: GPUs, a lost driver, no server part."""

from __future__ import annotations

import json
import re
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.conftest import Gpus, Lab, keep
from tests.browser.test_lab import cell, open_notebook, run, write_notebook

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

TRAINING = (
    "%load_ext mlguard_nb",
    "shards, attempts = 40, []",
    "%%guard retry=3 wait=1s..2s mem=0.8 gpu=0.9 name=train\nimport time\nattempts.append(1)\nbatches = []\n"
    "for shard in range(shards):\n    batches.append(bytearray(b'x' * 2**23))\n    time.sleep(0.2)\n"
    "    if shard == 12 and len(attempts) == 1:\n"
    "        raise ConnectionResetError(f'shard {shard} of {shards}')",
    "largest = max(len(batch) for batch in batches)",
)


@pytest.mark.own_page  # what another test had announced would still stand there
def test_a_gpu_is_shown_from_well_to_full_to_lost(gpu_lab: Lab, gpus: Gpus, page: Page) -> None:
    """Numbers alone when all is well, a triangle from 80 %, an octagon from 95 %, and a dash with its reason when lost."""
    from playwright.sync_api import expect

    gpus.are(16.3)
    write_notebook(gpu_lab, "gpu.ipynb", ("x = 1",))
    open_notebook(page, gpu_lab, "gpu.ipynb")
    status = page.locator(".mlguard-Status")
    expect(status).to_contain_text(re.compile(r"GPU 16\.3/80 GiB · RAM \d"))
    expect(status.locator(".mlguard-StatusSign svg")).to_have_count(0)
    status.click()
    panel = page.locator("#mlguard-panel")
    for text in ("16.3 of 80.0 GiB", "util 97 %", "61 °C", "312 of 400 W", "A100-SXM4-80GB"):
        expect(panel).to_contain_text(text)
    keep(page, "panel-one-gpu")
    gpus.are(66.1)
    expect(status).to_contain_text("66.1/80 GiB 83 %")
    gpus.are(77.2)
    expect(status).to_contain_text("77.2/80 GiB 96 %")
    expect(page.locator(".mlguard-Announcer")).to_contain_text("GPU 0 is at 96 % of its limit")
    keep(page, "panel-critical")
    gpus.are(77.2, lost=True)
    expect(panel).to_contain_text(re.compile(r"GPU 0 was lost at \d\d:\d\d:\d\d\. The GPU is lost"))
    expect(panel).to_contain_text("last reading 77.2 GiB")
    expect(panel).not_to_contain_text("0.0 of 80.0 GiB")
    expect(panel.locator(".mlguard-Ledger tfoot")).to_contain_text("–")
    expect(panel.locator(".mlguard-Ledger").first).not_to_contain_text("77.2")
    expect(status).to_contain_text("GPU –/80 GiB")
    keep(page, "panel-lost")
    gpus.are(16.3)
    expect(panel).to_contain_text("16.3 of 80.0 GiB")


def test_the_memory_of_a_gpu_is_shown_by_notebook(gpu_lab: Lab, gpus: Gpus, page: Page) -> None:
    """The kernel in front is solid, other notebooks are hatched, and the column adds up to the device."""
    from playwright.sync_api import expect

    gpus.are(4.3)
    lab = gpu_lab
    lab.end_kernels()
    for name in ("rag_eval.ipynb", "churn.ipynb"):
        write_notebook(lab, name, TRAINING)
        open_notebook(page, lab, name)
    page.locator(".mlguard-Status").click()
    with urllib.request.urlopen(f"{lab.base}/mlguard/sample?token={lab.token}") as answer:
        kernels = {kernel["name"]: kernel["pid"] for kernel in json.load(answer)["holders"]["kernels"]}
    gpus.are(16.3, processes={kernels["churn.ipynb"]: 12.0, kernels["rag_eval.ipynb"]: 3.5})
    run(page, "notebook:run-all-cells")
    panel = page.locator("#mlguard-panel")
    ledger = panel.locator(".mlguard-Ledger").first
    expect(ledger.locator("tr", has_text="churn.ipynb")).to_contain_text("12.0")
    expect(ledger.locator("tr", has_text="rag_eval.ipynb")).to_contain_text("3.5")
    expect(ledger.locator("tr", has_text="not attributed")).to_contain_text("0.8")
    gpu_bar = panel.locator(".mlguard-Device .mlguard-Bar").first
    expect(gpu_bar).to_have_attribute("aria-label", re.compile("12.0 this notebook, 3.5 other notebooks, 0.8 other"))
    expect(gpu_bar.locator(".is-stop")).to_have_count(1)
    view = cell(page, 3).locator(".jp-OutputArea .mlguard-View")
    expect(view).to_contain_text(re.compile(r"running \d:\d\d · attempt 2 of 3"), timeout=60_000)
    expect(view).to_contain_text("ConnectionResetError")
    keep(page, "lab-window", picture="inline-view", of=cell(page, 3))
    expect(panel.locator(".mlguard-Cells tr", has_text="train")).to_contain_text("12.0")
    keep(page, "panel-who-holds-it", picture="panel", of=panel)
    expect(view).to_contain_text("peak RAM", timeout=60_000)


def test_eight_gpus_are_one_tab_stop_and_the_chart_follows(gpu_lab: Lab, gpus: Gpus, page: Page) -> None:
    """Arrows choose the row; the heading of the chart says which one it shows."""
    from playwright.sync_api import expect

    gpus.are(16.3, 0, 41.8, 0, 71.2, 58.9, 77.2, 58.6)
    write_notebook(gpu_lab, "gpu.ipynb", ("x = 1",))
    open_notebook(page, gpu_lab, "gpu.ipynb")
    status = page.locator(".mlguard-Status")
    expect(status).to_contain_text("GPU 6 77.2/80 GiB 96 %, fullest of 8")
    status.click()
    panel = page.locator("#mlguard-panel")
    expect(panel).to_contain_text("8 × A100-SXM4-80GB, 80.0 GiB each.")
    expect(panel.locator(".mlguard-Devices tbody tr")).to_have_count(8)
    assert panel.locator('.mlguard-Devices [tabindex="0"][data-do]').count() == 1
    panel.locator('.mlguard-Devices [tabindex="0"][data-do]').focus()
    page.keyboard.press("ArrowDown")
    expect(panel).to_contain_text("GPU 1, last 10 minutes")
    whole = "all => all.every(one => one.scrollWidth <= one.clientWidth)"
    assert panel.locator(".mlguard-Heading h3 .mlguard-cut").evaluate_all(whole), "a heading is cut"
    panel.get_by_role("button", name="Table").click()
    expect(panel.locator(".mlguard-Ledger.is-tight")).to_contain_text("util %")
    keep(page, "panel-eight-gpus")
    panel.get_by_role("button", name="Chart").click()
    gpus.are(16.3)


def test_without_the_server_part_the_panel_says_what_to_run(make_lab: Any, page: Page) -> None:
    """Cause and next step; guarded cells work on, and the panel reads their stored views."""
    from playwright.sync_api import expect

    lab = make_lab(enabled=False)
    write_notebook(lab, "alone.ipynb", ("%load_ext mlguard_nb", "%%guard retry=2 name=first\nx = 1"))
    open_notebook(page, lab, "alone.ipynb")
    page.locator(".mlguard-Status").click()
    panel = page.locator("#mlguard-panel")
    expect(panel).to_contain_text("The server part of mlguard-nb is not running.")
    expect(panel).to_contain_text("jupyter server extension enable mlguard_nb")
    run(page, "notebook:run-all-cells")
    expect(cell(page, 2).locator(".jp-OutputArea .mlguard-View")).to_contain_text("peak RAM", timeout=60_000)
    took = re.match(r"\d+ ms|\d+\.\d s", page.locator(".jp-OutputArea .mlguard-View").inner_text().strip())
    assert took is not None
    expect(panel.locator(".mlguard-Cells tr", has_text="first")).to_contain_text(took[0])
    keep(page, "panel-missing")


@pytest.mark.own_page
def test_a_lost_connection_is_said_and_mended(lab: Lab, page: Page) -> None:
    """The last numbers stay, greyed and with their age; when the server is back so are the readings."""
    from playwright.sync_api import expect

    write_notebook(lab, "lost.ipynb", ("x = 1",))
    open_notebook(page, lab, "lost.ipynb")
    page.locator(".mlguard-Status").click()
    panel = page.locator("#mlguard-panel")
    expect(panel).to_contain_text("Who holds it")
    page.context.set_offline(True)
    page.evaluate("window.dispatchEvent(new Event('offline'))")
    page.route(re.compile(r".*/mlguard/.*"), lambda route: route.abort())
    expect(panel).to_contain_text(re.compile(r"Last sample \d+ s ago"), timeout=60_000)
    keep(page, "panel-stale")
    page.context.set_offline(False)
    page.unroute(re.compile(r".*/mlguard/.*"))
    expect(panel).not_to_contain_text("Last sample", timeout=60_000)


@pytest.mark.parametrize("width", [480, 300])
def test_the_dark_theme_and_other_widths(gpu_lab: Lab, gpus: Gpus, page: Page, width: int) -> None:
    """Dark: the panel's ground is the theme's; numbers are never cut, whatever the width."""
    from playwright.sync_api import expect

    gpus.are(16.3)
    write_notebook(gpu_lab, "gpu.ipynb", ("x = 1",))
    open_notebook(page, gpu_lab, "gpu.ipynb")
    page.evaluate("window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})")
    page.locator(".mlguard-Status").click()
    panel = page.locator("#mlguard-panel")
    expect(panel).to_contain_text("16.3 of 80.0 GiB")
    expect(page.locator("body")).to_have_attribute("data-jp-theme-light", "false")
    before = panel.bounding_box()["width"]
    make_wide(page, panel, width)
    overflow = panel.evaluate("node => node.scrollWidth - node.clientWidth")
    assert overflow <= 0
    keep(page, f"panel-dark-{width}")
    make_wide(page, panel, before)
    page.evaluate("window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Light'})")


def make_wide(page: Page, panel: Locator, width: float) -> None:
    """Drag the edge of the side panel."""
    x, y = page.evaluate(
        """() => {
        const split = document.querySelector('#jp-main-split-panel');
        const handles = split.querySelectorAll(':scope > .lm-SplitPanel-handle:not(.lm-mod-hidden)');
        const box = handles[handles.length - 1].getBoundingClientRect();
        return [box.x + box.width / 2, box.y + box.height / 2];
    }"""
    )
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + panel.bounding_box()["width"] - width, y, steps=4)
    page.mouse.up()
