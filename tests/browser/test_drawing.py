"""What the panel spares the browser: nothing is touched where nothing that can be seen has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import Lab
from tests.browser.test_lab import open_notebook, write_notebook
from tests.browser.test_memory import feed

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

WATCH = """() => {
    const foot = document.querySelector('.mlguard-Foot');
    window.touched = [];
    window.seen = new Set();
    window.frames = 0;
    const asked = window.requestAnimationFrame;
    window.requestAnimationFrame = call => {
        window.frames += new Error().stack.includes('mlguard') ? 1 : 0;
        return asked.call(window, call);
    };
    for (const part of document.querySelectorAll('.mlguard-DeviceList, .mlguard-Heading, .mlguard-Status')) {
        const note = changes => window.touched.push(...changes.map(({ target }) => target.parentElement.className));
        new MutationObserver(note).observe(part, { subtree: true, childList: true, attributes: true, characterData: true });
    }
    new MutationObserver(() => window.seen.add(foot.textContent)).observe(foot, { subtree: true, childList: true, characterData: true });
}"""


@pytest.mark.own_page
def test_readings_that_stay_the_same_touch_nothing(lab: Lab, page: Page) -> None:
    """RAM has been level for a minute: its line is two points, and while the clock goes on no number is written anew."""
    from playwright.sync_api import expect

    others_move = [True]
    feed(page, [5.0] * 60, hears_holders=lambda: others_move[0])
    write_notebook(lab, "level.ipynb", ("x = 1",))
    open_notebook(page, lab, "level.ipynb")
    page.locator(".mlguard-Status").click()
    page.wait_for_selector("#mlguard-panel .mlguard-Ledger")
    others_move[0] = False  # the kernel itself may take some more memory, and that is shown
    foot = page.locator(".mlguard-Foot")
    expect(foot).not_to_have_text(foot.inner_text())  # what was heard until now is drawn
    lines = page.locator("#mlguard-panel .mlguard-Chart .is-device, .mlguard-Status .mlguard-Spark path")
    points = lines.evaluate_all("lines => lines.map(line => line.getAttribute('d').match(/[ML]/g).length)")
    assert points == [2, 2]
    page.evaluate(WATCH)
    page.wait_for_function("window.seen.size > 2")
    assert page.evaluate("window.touched") == []
    assert page.evaluate("window.frames") == 0
