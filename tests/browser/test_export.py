"""The export dialog: a plan too long for the screen, an export that goes on while its dialog is closed."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.conftest import ROOT, Gpus, Lab, keep
from tests.browser.test_lab import open_notebook, run, write_notebook

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

LONG_CELLS = (
    "import csv\nimport pathlib\nimport time",
    "customers_csv = 'customers.csv'\nbatch_size = 4",
    "# # Load the customers\n%%guard retry=3 wait=1s..2s cache=1h monitor name=load_the_customers\n"
    "rows_of_customers = list(csv.DictReader(open(customers_csv)))".partition("\n")[2],
    "ages_of_customers = [int(row['age']) for row in rows_of_customers]\n"
    "incomes_of_customers = [float(row['income']) for row in rows_of_customers]",
    "training_ages, validation_ages = ages_of_customers[:-batch_size], ages_of_customers[-batch_size:]\n"
    "training_incomes, validation_incomes = incomes_of_customers[:-batch_size], incomes_of_customers[-batch_size:]",
    "mean_income_in_training = sum(training_incomes) / len(training_incomes)",
    "!echo shell",
    *(
        f"summary_of_group_{n} = [income for income in training_incomes if income > mean_income_in_training + {n}]"
        for n in range(8)
    ),
)
SLOW_CELLS = (  # each run of them waits until the test has seen it
    "import os\nimport time",
    "while not os.path.exists(os.path.expanduser('~/seen')): time.sleep(0.1)\ntotal = 3",
)

IN_VIEW = """nodes => nodes.every(node => {
    const box = node.getBoundingClientRect();
    const dialog = node.closest('dialog').getBoundingClientRect();
    return box.height > 0 && box.top >= dialog.top && box.bottom <= dialog.bottom && box.bottom <= innerHeight;
})"""
# The room between the last line of text in a row and the first one in the next, the smallest of all rows.
ROOM = """table => {
    const lines = [...table.querySelectorAll('tbody tr')].map(row => {
        const range = document.createRange();
        range.selectNodeContents(row);
        const boxes = [...row.querySelectorAll('td, th')].flatMap(cell => {
            range.selectNodeContents(cell);
            return [...range.getClientRects()].filter(box => box.width > 0);
        });
        return [Math.min(...boxes.map(box => box.top)), Math.max(...boxes.map(box => box.bottom))];
    });
    return Math.min(...lines.slice(1).map(([top], index) => top - lines[index][1]));
}"""


def test_a_long_plan_keeps_what_it_will_do_in_sight(lab: Lab, page: Page) -> None:
    """Only the middle scrolls: the comparison, the folder and the buttons stay; names stay whole, and text is text."""
    from playwright.sync_api import expect

    rows = "\n".join(f"{20 + n},{1000 + 7 * n}" for n in range(12))
    (lab.root / "customers.csv").write_text(f"age,income\n{rows}\n")
    write_notebook(lab, "long.ipynb", LONG_CELLS)
    open_notebook(page, lab, "long.ipynb")
    run(page, "mlguard:export")
    dialog = page.locator("dialog.mlguard-Dialog")
    expect(dialog).to_contain_text("15 cells become", timeout=60_000)
    keep(page, "export-plan-long")
    body = dialog.locator(".mlguard-Dialog-body")
    assert body.evaluate("node => node.scrollHeight > node.clientHeight"), "the plan must be longer than its room"
    assert body.evaluate("node => node.scrollWidth <= node.clientWidth")
    verify = dialog.get_by_label("Then run notebook and package")
    assert dialog.locator("input, .mlguard-Dialog-foot button").evaluate_all(IN_VIEW)
    expect(verify).to_be_checked()
    accept = dialog.locator(".mlguard-accept")
    expect(accept).to_have_text("Export and compare")
    verify.uncheck()
    expect(accept).to_have_text("Export")
    expect(dialog.locator(".mlguard-Dialog-foot")).to_contain_text("Writes to exports/long. Nothing has been run")
    dialog.get_by_label("Name").fill("other")
    expect(dialog.locator(".mlguard-Dialog-foot")).to_contain_text("Writes to exports/other.")
    names = dialog.locator(".mlguard-Plan .mlguard-Name")
    assert names.evaluate_all("all => all.every(one => one.scrollWidth <= one.clientWidth && one.clientHeight <= 20)")
    expect(dialog.locator(".mlguard-CellNumbers").last).to_have_text("4 – 15")
    assert "`" not in dialog.inner_text()
    expect(dialog.locator(".mlguard-Plan")).to_contain_text("monitored as load_the_customers")
    finding = dialog.locator(".mlguard-Findings tr")
    expect(finding).to_contain_text("this shell line does not run in the package. Let shell lines run in a terminal")
    for table in dialog.locator("table").all():
        assert table.evaluate(ROOM) >= 3
    dialog.get_by_role("button", name="Cancel").click()


def test_an_export_goes_on_while_its_dialog_is_closed(lab: Lab, page: Page) -> None:
    """Stages say how long they took and never "0 / 1"; one line above the notebook says when the package is there."""
    from playwright.sync_api import expect

    seen = lab.root.parent / "seen"
    seen.unlink(missing_ok=True)
    write_notebook(lab, "slow.ipynb", SLOW_CELLS)
    open_notebook(page, lab, "slow.ipynb")
    run(page, "mlguard:export")
    dialog = page.locator("dialog.mlguard-Dialog")
    expect(dialog).to_contain_text("2 cells become", timeout=60_000)
    with page.expect_response(re.compile("mlguard/export"), timeout=60_000) as response:
        dialog.get_by_role("button", name="Export and compare").click()
    done = dialog.locator("[data-stage=done]")
    expect(done.filter(has_text="package written")).to_have_text(
        re.compile(r"package written\d+\.\d s$"), timeout=60_000
    )
    expect(dialog.locator("[data-stage=running]")).to_have_text(
        re.compile(r"running the notebook(: \d of 2 cells done)?0:\d\d"), timeout=60_000
    )
    expect(dialog.locator("[data-stage=waiting]")).to_have_text(
        ["running the package", "comparing the final values", "moving the package into place"]
    )
    expect(dialog.locator("[data-stage=running] .mlguard-Steps-memory")).to_have_text(
        re.compile(r"in a process of its own: RAM \d+\.\d of at most \d+\.\d GiB, peak \d+\.\d GiB$")
    )
    assert " / " not in dialog.locator(".mlguard-Steps").inner_text()
    keep(page, "export-stages")
    dialog.get_by_role("button", name="Close, keep running").click()
    expect(dialog).to_have_count(0)
    back = page.locator(".mlguard-Back")
    expect(back).to_contain_text("Export of slow.ipynb is running.")
    keep(page, "export-in-background")
    seen.touch()
    expect(back).to_contain_text("slow.ipynb is exported.", timeout=240_000)
    assert (lab.root / "exports" / "slow" / "pyproject.toml").is_file()
    back.get_by_role("button", name="Back to the export").click()
    expect(dialog).to_contain_text(re.compile(r"Notebook \d+\.\d s, package \d+(\.\d)? m?s\."))
    expect(back).to_have_count(0)
    said = {message.get("progress") for message in map(json.loads, response.value.text().splitlines())}
    known = set(re.findall(r"stage\('([^']+)'", (ROOT / "labextension/src/exportProgress.ts").read_text()))
    assert said - {None, "running the notebook a second time"} == known, "the converter's stages have other names"


def test_what_the_compared_runs_hold_of_a_gpu_is_told(gpu_lab: Lab, gpus: Gpus, page: Page) -> None:
    """Beside their RAM: the notebook's kernel on the card, not what others hold there, and why where nobody knows."""
    from playwright.sync_api import expect

    gpus.are(40)
    write_notebook(gpu_lab, "endless.ipynb", ("while True: pass",))
    open_notebook(page, gpu_lab, "endless.ipynb")
    run(page, "mlguard:export")
    dialog = page.locator("dialog.mlguard-Dialog")
    dialog.get_by_role("button", name="Export and compare").click()
    holds = dialog.locator("[data-stage=running] .mlguard-Steps-memory")
    expect(holds).to_have_text(re.compile(r"peak \d+\.\d GiB, GPU 0 0\.0 of 80\.0 GiB$"))
    kernel = kernel_of_the_export(gpu_lab)
    gpus.are(40, processes={gpu_lab.processes[-1].pid: 5, kernel: 12})
    expect(holds).to_have_text(re.compile(r", GPU 0 12\.0 of 80\.0 GiB$"))
    keep(page, "export-stages-gpu")
    gpus.are(40, processes={kernel: None})
    expect(holds).to_have_text(re.compile(r", GPU 0 – of 80\.0 GiB$"))
    expect(holds.get_by_role("note")).to_have_attribute(
        "aria-label", "not known: the driver does not tell what this process holds"
    )
    dialog.get_by_role("button", name="Stop").click()
    expect(dialog).to_contain_text("1 cell becomes")
    dialog.get_by_role("button", name="Cancel").click()


def kernel_of_the_export(lab: Lab) -> int:
    """The process that runs the notebook for the export of `lab` that is running."""
    import psutil

    started = psutil.Process(lab.processes[-1].pid).children()
    converter = next(child for child in started if "mlguard_convert" in child.cmdline())
    return next(child.pid for child in converter.children() if "ipykernel_launcher" in child.cmdline())


@pytest.mark.skipif(sys.platform != "linux", reason="NOT TESTED here: Linux alone binds root by permission bits")
def test_a_folder_or_disk_that_takes_nothing_is_said_and_left_as_it_was(make_lab: Any, page: Page) -> None:
    """Each refusal says what, where, why and the next step, in the dialog; after it another folder is written."""
    import resource

    from playwright.sync_api import expect

    lab = make_lab(within_permissions=True)
    shared = lab.root / "shared"
    shared.mkdir()
    (lab.root / "sizes.csv").write_text("size\n" + "1\n" * 200_000)  # packed with the package
    write_notebook(lab, "sizes.ipynb", ("rows = open('sizes.csv').read().split()", "total = len(rows)"))
    open_notebook(page, lab, "sizes.ipynb")
    shared.chmod(0o555)
    run(page, "mlguard:export")
    dialog = page.locator("dialog.mlguard-Dialog")
    folder = dialog.get_by_label("Folder")
    folder.fill("shared/sizes")
    dialog.get_by_label("Then run notebook and package").uncheck()
    accept = dialog.get_by_role("button", name="Export", exact=True)
    accept.click()
    expect(dialog).to_contain_text("sizes.ipynb cannot be exported")
    expect(dialog).to_contain_text("shared is not writable for you.")
    expect(dialog).to_contain_text("Nothing was written. Choose another folder.")
    keep(page, "export-no-permission")

    server = lab.processes[-1].pid
    most = resource.prlimit(server, resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
    dialog.get_by_role("button", name="Try again").click()
    folder.fill("room/for/sizes")
    accept.click()
    expect(dialog).to_contain_text("room/for/sizes cannot be written: File too large.")
    expect(dialog).to_contain_text("Nothing was written. Make room there, or choose another folder.")
    keep(page, "export-disk-full")
    assert sorted(path.name for path in lab.root.iterdir()) == [
        ".ipynb_checkpoints", "shared", "sizes.csv", "sizes.ipynb"
    ]  # fmt: skip
    assert list(shared.iterdir()) == []

    resource.prlimit(server, resource.RLIMIT_FSIZE, most)
    dialog.get_by_role("button", name="Try again").click()
    folder.fill("room/for/sizes")
    accept.click()
    expect(dialog).to_contain_text("sizes.ipynb is exported")
    assert (lab.root / "room" / "for" / "sizes" / "pyproject.toml").is_file()


@pytest.mark.skipif(sys.platform != "linux", reason="NOT TESTED here: Linux alone binds root by permission bits")
def test_a_notebook_that_cannot_be_saved_is_exported_as_it_was(make_lab: Any, page: Page) -> None:
    """It has run, so the page would save it first: the plan says which text it is of, and what to do about it."""
    from playwright.sync_api import expect

    lab = make_lab(within_permissions=True)
    write_notebook(lab, "theirs.ipynb", ("x = 1",))
    (lab.root / "theirs.ipynb").chmod(0o444)
    lab.root.chmod(0o555)
    open_notebook(page, lab, "theirs.ipynb")
    run(page, "notebook:run-all-cells")
    page.wait_for_function("window.jupyterapp.shell.currentWidget.context.model.dirty")
    run(page, "mlguard:export")
    dialog = page.locator("dialog.mlguard-Dialog")
    expect(dialog).to_contain_text("1 cell becomes")
    expect(dialog).to_contain_text(
        "cannot be saved here, so its file is exported as it was saved last. Next: save a copy"
    )
    keep(page, "export-plan-unsaved")
    dialog.get_by_role("button", name="Export and compare").click()
    expect(dialog).to_contain_text("is not writable for you.")
    assert [path.name for path in lab.root.iterdir() if path.name != ".ipynb_checkpoints"] == ["theirs.ipynb"]
    lab.root.chmod(0o755)
