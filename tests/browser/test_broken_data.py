"""What the page makes of broken and oversized data: from a kernel, over our comm and our MIME type, and from a file."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from mlguard_nb.notebook.bundle import MIME, bundle
from tests.browser.conftest import GIB, Gpus, Lab, keep
from tests.browser.test_lab import cell, open_notebook, run, write_notebook
from tests.notebook.states import STATES

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

WELL = bundle(STATES["running 1"][0])[MIME]
SPANS = [["constructor", "told"], ["__proto__", 7], ["strong", {"html": "<b>"}], 3, None, []]
LONG = "long " * 400_000
DEVICE = {**WELL["devices"][0], "label": {}, "used_bytes": "9", "limit_bytes": -1, "line": [[0, 1], "x", [None, {}]]}
SAME = {**WELL["devices"][0], "line": [[second, second] for second in range(200_000)]}

# Each has a headline, and is shown as far as it makes sense.
SHOWN = {
    "names of JavaScript's own": {"version": 1, "outcome": "toString", "headline": {"sign": "constructor", "spans": SPANS}},
    "fields of other types": {**WELL, "devices": [None, 3, {"key": 7}, DEVICE], "attempts": {}, "next": "x", "notes": 3},
    "long texts": {**WELL, "sentence": LONG, "headline": {"sign": "ok", "spans": [["strong", LONG]] * 3}, "notes": [LONG]},
    "long lists": {**WELL, "outcome": "ok", "devices": [SAME] * 3, "attempts": WELL["attempts"] * 20_000},
}  # fmt: skip
# Nothing to show but the plain text beside it: what is wrong is said.
REFUSED = {
    "no object": [1, 2],
    "null": None,
    "no headline": {"version": 1, "devices": []},
    "a headline of another type": {**WELL, "headline": "running"},
    "another version": {**WELL, "version": 2},
    "settings of another type": {"version": 1, "settings": [1, 2]},
    "settings without end": {"version": 1, "settings": {"profiles": {"long": LONG}}},
}
TELL = """import json
from IPython.display import display
for name, view in json.load(open('broken.json')).items():
    display({'%s': view, 'text/plain': 'instead of ' + name}, raw=True)"""


def test_a_view_that_makes_no_sense_is_said_to_be_one(lab: Lab, page: Page) -> None:
    """Shown as far as it can be, else the plain text beside it with what is wrong; drawn fast, and of the usual height."""
    from playwright.sync_api import expect

    (lab.root / "broken.json").write_text(json.dumps({**SHOWN, **REFUSED}))
    write_notebook(lab, "broken.ipynb", (TELL % MIME, "x = 1"))
    open_notebook(page, lab, "broken.ipynb")
    page.locator(".mlguard-Status").click()
    panel = page.locator("#mlguard-panel")
    run(page, "notebook:run-all-cells")
    outputs = cell(page, 1).locator(".jp-OutputArea-output")
    expect(outputs).to_have_count(len(SHOWN) + len(REFUSED))
    expect(panel.locator(".mlguard-Cells")).to_contain_text("x = 1")
    for view in outputs.all()[: len(SHOWN)]:
        expect(view).to_have_js_property("offsetHeight", 100)
    for view in outputs.all()[len(SHOWN) :]:
        expect(view).to_contain_text(re.compile(r"instead of .*(cannot be read|another version)", re.DOTALL))
    keep(page, "view-broken")


# A kernel whose own idea of our comm's messages is another one: all of them at once, then one that is well, then nonsense.
ACCOUNTS = """import json, os, threading
spoken = json.load(open('accounts.json'))
def speak(comm, message):
    def go_on():
        for account in spoken['broken']:
            comm.send(account)
        while not os.path.exists('well'):
            threading.Event().wait(0.1)
        comm.send(spoken['well'])
        while not os.path.exists('ill'):
            threading.Event().wait(0.1)
        comm.send(spoken['broken'][0])
    threading.Thread(target=go_on, daemon=True).start()
get_ipython().kernel.comm_manager.register_target('mlguard.account', speak)"""


def test_a_kernel_whose_account_makes_no_sense_is_said_to_be_one(gpu_lab: Lab, gpus: Gpus, page: Page) -> None:
    """Nothing of it is believed; an account that is well is, and nonsense after it takes nothing back."""
    from playwright.sync_api import expect

    def held(bytes_used: Any) -> dict[str, Any]:
        return {"uuid": "GPU-00000000-0000-0000-0000-000000000000", "used": {"value": bytes_used, "reason": None}}

    known = {"value": 5 * GIB, "reason": None}
    sample = {"kind": "sample", "wall": 1.0, "ram": {"used": known, "limit": known, "source": "machine"}, "gpus": [], "gpus_reason": None}  # fmt: skip
    well = {"kind": "account", "host": "there", "sample": sample, "ram": known, "gpus": [held(12 * GIB)]}
    broken = [
        {},
        {"kind": "constructor"},
        {"kind": ["account"]},
        {"kind": "account"},
        {"kind": "hello", "version": "9"},
        sample,
        {**well, "sample": None},
        {**well, "gpus": [held("12")]},
        {**well, "gpus": {"0": held(1)}},
        {**well, "host": LONG, "gpus": [held(3 * GIB)]},
        {**well, "gpus": [held(3 * GIB)] * 20_000},
    ]
    for name in ("well", "ill"):
        (gpu_lab.root / name).unlink(missing_ok=True)
    (gpu_lab.root / "accounts.json").write_text(json.dumps({"broken": broken, "well": well}))
    gpus.are(16.3, processes={4_000_000: 14.0})
    write_notebook(gpu_lab, "strange.ipynb", (ACCOUNTS,))
    open_notebook(page, gpu_lab, "strange.ipynb")
    page.locator(".mlguard-Status").click()
    panel = page.locator("#mlguard-panel")
    expect(panel).to_contain_text("For what the kernel itself counts, run in the notebook: %load_ext mlguard_nb")
    run(page, "notebook:run-all-cells")
    expect(panel).to_contain_text("What the kernel counts itself cannot be read. Next: install the same version")
    expect(panel).not_to_contain_text("%load_ext")
    row = panel.locator(".mlguard-Ledger tr", has_text="strange.ipynb").first
    expect(row.locator(".mlguard-missing")).to_have_attribute("title", re.compile("--pid=host"))
    keep(page, "panel-strange-kernel")
    (gpu_lab.root / "well").touch()
    expect(row).to_contain_text("12.0")
    expect(panel).not_to_contain_text("cannot be read")
    (gpu_lab.root / "ill").touch()
    expect(panel).to_contain_text("What the kernel counts itself cannot be read.")
    expect(row).to_contain_text("12.0")
    gpus.are(16.3)
