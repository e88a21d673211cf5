"""Kernels that the server cannot look at: the panel says so, and shows what the kernel itself reports."""

from __future__ import annotations

import json
import re
import socket
import sys
from typing import TYPE_CHECKING, Any

import nbformat
import pytest

from tests.browser.conftest import Gpus, Lab, keep
from tests.browser.test_lab import cell, open_notebook, run, write_notebook

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

# A provisioner that is not the local one, as those of clusters are: its process number means nothing to this server.
PROVISIONER = """
from jupyter_client.provisioning import KernelProvisionerBase, LocalProvisioner


class Far(KernelProvisionerBase):
    async def pre_launch(self, **options):
        self.near = LocalProvisioner(kernel_id=self.kernel_id, kernel_spec=self.kernel_spec, parent=self.parent)
        return await self.near.pre_launch(**options)

    async def launch_kernel(self, command, **options):
        self.connection_info = await self.near.launch_kernel(command, **options)
        return self.connection_info

    @property
    def has_process(self):
        return self.near.has_process

    async def poll(self):
        return await self.near.poll()

    async def wait(self):
        return await self.near.wait()

    async def send_signal(self, number):
        await self.near.send_signal(number)

    async def kill(self, restart=False):
        await self.near.kill(restart)

    async def terminate(self, restart=False):
        await self.near.terminate(restart)

    async def cleanup(self, restart=False):
        await self.near.cleanup(restart)
"""


@pytest.fixture
def far(tmp_path: Path) -> Path:
    """A folder with an installed distribution whose provisioner runs kernels "elsewhere"."""
    (tmp_path / "far_provisioner.py").write_text(PROVISIONER)
    about = tmp_path / "far-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: far\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[jupyter_client.kernel_provisioners]\nfar = far_provisioner:Far\n")
    return tmp_path


def test_a_kernel_elsewhere_tells_of_its_own_machine(make_lab: Any, far: Path, page: Page) -> None:
    """No number of this machine is called the kernel's; what it reports itself is shown, also while its cell runs."""
    from playwright.sync_api import expect

    lab = make_lab(PYTHONPATH=str(far))
    spec = lab.root.parent / "data" / "kernels" / "far"
    spec.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    metadata = {"kernel_provisioner": {"provisioner_name": "far"}}
    (spec / "kernel.json").write_text(
        json.dumps({"argv": argv, "display_name": "Far", "language": "python", "metadata": metadata})
    )
    notebook = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "far", "display_name": "Far", "language": "python"}}
    )
    held = "import os\n%%guard retry=2 mem=0.95 name=away\nwhile not os.path.exists('enough'): pass"
    sources = ("%load_ext mlguard_nb", *held.split("\n", 1))
    notebook.cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(notebook, lab.root / "away.ipynb")
    open_notebook(page, lab, "away.ipynb")
    page.locator(".mlguard-Status").click()
    panel = page.locator("#mlguard-panel")
    expect(panel).to_contain_text("This kernel runs on another host.", timeout=60_000)
    expect(panel).to_contain_text("%load_ext mlguard_nb")
    row = panel.locator(".mlguard-Ledger tr", has_text="away.ipynb").first
    expect(row).to_contain_text("on another host")
    expect(row.locator(".mlguard-missing").first).to_have_attribute(
        "title", "this kernel runs on another host, where this server cannot look"
    )
    run(page, "notebook:run-all-cells")
    expect(panel).to_contain_text(f"another host, {socket.gethostname()}.", timeout=60_000)
    expect(cell(page, 3).locator(".mlguard-View")).to_contain_text("running", timeout=60_000)
    expect(row.locator("td").first).to_have_text(re.compile(r"^0\.\d$"), timeout=60_000)
    expect(panel.locator(".mlguard-Ledger").first.locator("tbody")).to_have_count(2)
    foot = panel.locator(".mlguard-Foot")
    expect(foot).to_contain_text("from the kernel, last", timeout=60_000)
    before = foot.inner_text()
    expect(foot).not_to_have_text(before, timeout=60_000)
    keep(page, "panel-remote-kernel")
    (lab.root / "enough").write_text("")
    expect(cell(page, 3).locator(".mlguard-View")).to_contain_text("peak RAM", timeout=60_000)
    expect(panel.locator(".mlguard-Cells")).to_contain_text("away")


# What torch says of itself, as far as anybody here asks; torch would be three gigabytes.
TORCH = """
import sys, types
torch = types.ModuleType("torch")
one = types.SimpleNamespace(uuid="00000000-0000-0000-0000-000000000000")
torch.cuda = types.SimpleNamespace(
    is_available=lambda: True, is_initialized=lambda: True, device_count=lambda: 1,
    get_device_properties=lambda index: one, memory_allocated=lambda index: 12 * 2**30)
sys.modules["torch"] = torch
"""


LISTENING = "print(len(get_ipython()._mlguard_accounts._comms), 'page')"
# What a page sends while it is being reloaded often never leaves the browser: here it never does.
WITHOUT_GOODBYE = "addEventListener('pagehide', event => event.stopImmediatePropagation(), true)"


def test_where_process_ids_are_foreign_the_kernel_counts_itself(gpu_lab: Lab, gpus: Gpus, page: Page) -> None:
    """The driver names a process that nobody here can see: the reason, the next step, and the framework's own count."""
    from playwright.sync_api import expect

    gpus.are(16.3, processes={4_000_000: 14.0})
    write_notebook(gpu_lab, "foreign.ipynb", (TORCH, "%load_ext mlguard_nb", LISTENING))
    open_notebook(page, gpu_lab, "foreign.ipynb")
    page.locator(".mlguard-Status").click()
    panel = page.locator("#mlguard-panel")
    expect(panel).to_contain_text("start the container with --pid=host", timeout=60_000)
    row = panel.locator(".mlguard-Ledger tr", has_text="foreign.ipynb").first
    expect(row.locator(".mlguard-missing")).to_have_attribute("title", re.compile("--pid=host"))
    run(page, "notebook:run-all-cells")
    expect(panel).to_contain_text("the count of its own framework", timeout=60_000)
    expect(row).to_contain_text("12.0", timeout=60_000)
    rest = panel.locator(".mlguard-Ledger tr", has_text="not attributed").first
    expect(rest, "the column adds up to the device").to_contain_text("4.3", timeout=60_000)
    keep(page, "panel-foreign-pids")
    page.evaluate(WITHOUT_GOODBYE)
    page.reload()
    expect(row).to_contain_text("12.0", timeout=60_000)
    page.evaluate("window.jupyterapp.shell.currentWidget.content.activeCellIndex = 2")
    run(page, "notebook:run-cell")
    expect(cell(page, 3).locator(".jp-OutputArea"), "the page that was there before has gone").to_have_text("1 page")
    gpus.are(16.3)
