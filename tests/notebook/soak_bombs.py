"""Every bomb, and every cell that only looks like one: `make soak` runs this file, which prints its matrix."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tests.notebook.bombs import BOMBS, CALM, LIMIT_BYTES, NoContainer, contained_kernel, container, set_off, stay_calm
from tests.notebook.kernels import Kernel


def main() -> int:
    """0 when every bomb ended as it must: survived, or lost where that is expected, and nothing else was stopped."""
    chosen = [bomb for bomb in BOMBS if not sys.argv[1:] or bomb.name in sys.argv[1:]]
    try:
        with container() as folder:
            print(f"in a real memory cgroup of {LIMIT_BYTES >> 20} MiB: {folder}", flush=True)
            kernel = contained_kernel(folder)
            wrong = survived = 0
            for bomb in chosen:
                began = time.monotonic()
                told = set_off(kernel, bomb)
                survived += not told
                as_expected = bool(told) == bool(bomb.lost)
                wrong += not as_expected
                verdict = "survived" if not told else f"lost ({bomb.lost or told})"
                _line(as_expected, time.monotonic() - began, f"{bomb.name}: {verdict}")
                if told:
                    kernel = _another(kernel, folder)
            for calm in CALM:
                began = time.monotonic()
                told = stay_calm(kernel, calm)
                wrong += told not in ("", "not installed")
                _line(
                    told in ("", "not installed"),
                    time.monotonic() - began,
                    f"no alarm on {calm.name}: {told or 'none'}",
                )
            kernel.close()
    except NoContainer as reason:
        print(f"NOT TESTED: {reason}")
        return 0
    lost = [bomb.name for bomb in chosen if bomb.lost]
    print(f"{survived} of {len(chosen)} survived; expected to be lost: {', '.join(lost)}; {wrong} not as expected")
    return 1 if wrong else 0


def _line(as_expected: bool, seconds: float, text: str) -> None:
    print(f"{'ok   ' if as_expected else 'WRONG'} {seconds:6.1f} s  {text}", flush=True)


def _another(kernel: Kernel, folder: Path) -> Kernel:
    kernel.close()
    ends = time.monotonic() + 10
    while (folder / "cgroup.procs").read_text() and time.monotonic() < ends:
        time.sleep(0.05)
    return contained_kernel(folder)


if __name__ == "__main__":
    sys.exit(main())
