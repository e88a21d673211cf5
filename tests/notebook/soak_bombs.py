"""Every bomb, each checked: `make soak` runs this file, and prints one line for each and a sum."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tests.notebook.bombs import BOMBS, NoContainer, contained_kernel, container, set_off


def main() -> int:
    """0 when every bomb ended as it must: survived, or lost where that is expected."""
    wrong = survived = 0
    try:
        with container() as folder:
            kernel = contained_kernel(folder)
            for bomb in BOMBS:
                began = time.monotonic()
                told = set_off(kernel, bomb)
                survived += not told
                as_expected = bool(told) == bool(bomb.lost)
                wrong += not as_expected
                verdict = "survived" if not told else f"lost ({bomb.lost or told})"
                print(
                    f"{'ok   ' if as_expected else 'WRONG'} {time.monotonic() - began:6.1f} s  {bomb.name}: {verdict}"
                )
                if told:
                    kernel.close()
                    _wait_until_empty(folder)
                    kernel = contained_kernel(folder)
            kernel.close()
            _wait_until_empty(folder)
    except NoContainer as reason:
        print(f"NOT TESTED: {reason}")
        return 0
    print(f"{survived} of {len(BOMBS)} survived; {wrong} not as expected")
    return 1 if wrong else 0


def _wait_until_empty(folder: Path) -> None:
    ends = time.monotonic() + 10
    while (folder / "cgroup.procs").read_text() and time.monotonic() < ends:
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
