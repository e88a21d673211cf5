"""top draws what is so on recorded machines, in any width, and never a made-up number."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from mlguard_convert.top import pressed_key, watch
from mlguard_convert.top_cells import CellPeak, cells_of
from mlguard_convert.top_picture import Choice, History, chosen_kernel, picture
from mlguard_nb.devices import Ram, Reading, Unknown
from mlguard_nb.telemetry.wire import Held, Holders, KernelNow, Measured, OtherNow
from tests.package.test_doctor import CARD, CONTAINER, GIB, LAPTOP, Recorded


def kernel(name: str, ram: float, gpu: float) -> KernelNow:
    held = (Held(CARD.uuid, Measured(gpu * GIB)),)
    return KernelNow(name, f"{name}.ipynb", None, "running", None, 1, None, None, Measured(ram * GIB), held)


LEDGER = Holders(
    "holders",
    1_700_000_000.0,
    (kernel("rag", 1.0, 12.0), kernel("churn", 3.0, 3.5)),
    (OtherNow("rest", None, Measured(1 * GIB), (Held(CARD.uuid, Measured(None, "no")),)),),
)


def drawn(
    reading: Reading,
    history: History | None = None,
    ledger: Holders | None = None,
    cells: Sequence[CellPeak] = (),
    choice: Choice | None = None,
    width: int = 80,
) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None)
    console.print(picture(reading, history or History(), ledger, cells, choice or Choice(), 1.0))
    text = out.getvalue()
    assert max(len(line) for line in text.splitlines()) <= width
    return text


def test_bars_facts_and_a_line_of_the_last_readings() -> None:
    """Used of limit; where nobody could read there is a gap."""
    history = History()
    for at, used in enumerate((4 * GIB, Unknown("gone"), 15 * GIB)):
        history.add("RAM", float(at), used, 16 * GIB)
    text = drawn(Recorded(CONTAINER, (CARD,)).read(), history)
    assert "5.0 of  16.0 GiB  container" in text
    assert "16.0 of  80.0 GiB  A100" in text
    assert "▃ █" in text
    assert "util   97 %" in text


def test_who_holds_it_adds_up_to_what_is_in_use() -> None:
    """The notebook that holds most is solid in the bar; the last row is the device."""
    text = drawn(Recorded(CONTAINER, (CARD,)).read(), ledger=LEDGER)
    lines = text.splitlines()
    assert next(line for line in lines if line.startswith("# churn.ipynb")).split()[-2:] == ["3.0", "3.5"]
    assert next(line for line in lines if line.startswith(". rag.ipynb")).split()[-2:] == ["1.0", "12.0"]
    assert next(line for line in lines if "other processes" in line).split()[-2:] == ["1.0", "–"]
    assert next(line for line in lines if line.startswith("  in use")).split()[-2:] == ["5.0", "16.0"]
    ram = next(line for line in lines if line.startswith("RAM"))
    assert "[#######....." in ram


def test_keys_choose_the_notebook_and_the_column() -> None:
    """tab goes round the notebooks, s changes the column, q leaves, anything else changes nothing."""
    choice = Choice()
    first = chosen_kernel(LEDGER, choice)
    assert first is not None
    assert first.kernel_id == "churn"
    by_gpu = pressed_key("s", choice, LEDGER)
    assert by_gpu == Choice(by_gpu=True)
    most = chosen_kernel(LEDGER, by_gpu)
    assert most is not None
    assert most.kernel_id == "rag"
    nexts = pressed_key("\t", choice, LEDGER)
    assert nexts == Choice(kernel="rag")
    assert pressed_key("\t", nexts, LEDGER) == Choice(kernel="churn")
    assert pressed_key("\t", choice, None) == choice
    assert pressed_key("x", choice, LEDGER) == choice
    assert pressed_key("q", choice, LEDGER) is None
    assert "tab next notebook" in drawn(Recorded(CONTAINER, (CARD,)).read(), choice=Choice(help=True))


def test_a_steady_rise_is_said_and_nothing_else() -> None:
    """Half a GiB a second, 4 GiB left: about 10 seconds; level memory says nothing."""
    history = History()
    for at in range(25):
        history.add("RAM", float(at), at * GIB // 2, 16 * GIB)
    assert "RAM rises steadily: full in about 10 s" in drawn(Recorded(CONTAINER, ()).read(), history)
    level = History()
    for at in range(25):
        level.add("RAM", float(at), 4 * GIB, 16 * GIB)
    assert "full" not in drawn(Recorded(CONTAINER, ()).read(), level)


def test_the_cells_of_a_saved_notebook_are_listed_by_peak(tmp_path: Path) -> None:
    """Number, name, exact and sampled peaks, time; whatever is no notebook gives none."""

    def cell(name: str, gib: float, kind: str) -> dict[str, object]:
        device = {"key": "ram", "peak_bytes": gib * GIB, "peak_kind": kind}
        view = {"name": name, "devices": [device, {"key": CARD.uuid, "peak_bytes": None}], "elapsed_seconds": 42.1}
        return {"cell_type": "code", "outputs": [{"data": {"application/vnd.mlguard.view+json": view}}]}

    cells = [{"cell_type": "markdown"}, cell("load", 1.9, "exact"), cell("train", 3.0, "sampled")]
    file = tmp_path / "churn.ipynb"
    file.write_text(json.dumps({"cells": cells}))
    found = cells_of(file)
    assert [(one.number, one.name, one.peaks["ram"], one.time) for one in found] == [
        (2, "train", "~3.0", "42.1 s"),
        (1, "load", "1.9", "42.1 s"),
    ]
    text = drawn(Recorded(CONTAINER, (CARD,)).read(), cells=found)
    assert "CELLS BY PEAK, as last saved" in text
    assert next(line for line in text.splitlines() if "train" in line).split() == [
        "2",
        "train",
        "~3.0",
        "–",
        "42.1",
        "s",
    ]
    for content in ("", "[]", '{"cells": 3}', '{"cells": [null, {"cell_type": "code", "outputs": [1]}]}', "[" * 99_999):
        file.write_text(content)
        assert cells_of(file) == ()
    assert cells_of(tmp_path / "missing.ipynb") == ()


def test_without_a_reading_there_is_a_reason_and_no_zero() -> None:
    dead = Unknown("the driver does not answer")
    text = drawn(Recorded(Ram(dead, dead), dead).read())
    assert "not known" in text
    assert "the driver does not answer" in text
    assert "0.0" not in text


def test_the_whole_next_step_is_told_in_a_narrow_terminal() -> None:
    """A reason is folded at the width of the terminal, never cut off."""
    reason = "no NVIDIA driver here (libnvidia-ml was not found); install it, or start the container with --gpus all"
    text = drawn(Reading(1_700_000_000.0, LAPTOP, Unknown(reason)), width=60)
    assert reason in " ".join(text.split())


def test_once_prints_one_picture_and_leaves() -> None:
    out = io.StringIO()
    assert watch(once=True, machine=Recorded(CONTAINER, (CARD,)), stream=out) == 0
    assert "HELD BY" in out.getvalue()


def test_q_leaves_a_real_terminal_as_it_was() -> None:
    """On a terminal of its own: the picture comes, q ends it with status 0, and the screen is given back."""
    main, other = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "mlguard_convert", "top"], stdin=other, stdout=other, stderr=other, close_fds=True
    )
    os.close(other)
    try:
        seen = b""
        while b"in use" not in seen:
            seen += os.read(main, 4096)
        os.write(main, b"q")
        while b"\x1b[?1049l" not in seen:  # the screen that was there before
            seen += os.read(main, 4096)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(main)
