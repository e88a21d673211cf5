"""A kernel of another host: the panel says so, measures nothing that it cannot see, and the kernel's own view remains."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import nbformat
import pytest

from tests.browser.conftest import keep
from tests.browser.test_lab import cell, open_notebook, run

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


def test_a_kernel_elsewhere_has_its_view_and_a_sentence(make_lab: Any, far: Path, page: Page) -> None:
    """No number of this machine is called the kernel's; what it reports itself stands below the cell."""
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
    sources = ("%load_ext mlguard_nb", "%%guard retry=2 mem=0.95 name=away\nnumbers = list(range(9))")
    notebook.cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(notebook, lab.root / "away.ipynb")
    open_notebook(page, lab, "away.ipynb")
    page.locator(".mlguard-Status").click()
    panel = page.locator("#mlguard-panel")
    expect(panel).to_contain_text("This kernel runs on another host.", timeout=30_000)
    row = panel.locator(".mlguard-Ledger tr", has_text="away.ipynb").first
    expect(row).to_contain_text("on another host")
    expect(row.locator(".mlguard-missing").first).to_have_attribute(
        "title", "this kernel runs on another host, where this server cannot look"
    )
    run(page, "notebook:run-all-cells")
    expect(cell(page, 2).locator(".mlguard-View")).to_contain_text("peak RAM", timeout=60_000)
    expect(panel.locator(".mlguard-Cells")).to_contain_text("away")
    keep(page, "panel-remote-kernel")
