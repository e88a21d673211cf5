"""Every bomb, and every cell that only looks like one: `make soak` runs this file, which prints its matrix.

Words choose bombs by name; `--recorded` takes the recorded container also where a real one can be made.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tests.notebook.bombs import BOMBS, CALM, FILE, contained_kernel, set_off, stay_calm
from tests.notebook.containers import any_container, recorded_container


def main() -> int:
    """0 when every bomb ended as it must: survived, or lost where that is expected, and nothing else was stopped."""
    named = [word for word in sys.argv[1:] if not word.startswith("--")]
    chosen = [bomb for bomb in BOMBS if not named or bomb.name in named]
    folder = Path(tempfile.mkdtemp(prefix="mlguard-bombs-"))
    forced = "--recorded" in sys.argv
    with recorded_container(folder, "asked for") if forced else any_container(folder, FILE) as container:
        print(container.told, flush=True)
        # In a recorded container the system itself kills nobody: what is lost in a real one proves nothing here.
        chosen = [bomb for bomb in chosen if container.is_real or not bomb.lost]
        kernel = contained_kernel(container)
        wrong = survived = 0
        for bomb in chosen:
            began = time.monotonic()
            told = set_off(kernel, bomb)
            survived += not told
            as_expected = told.startswith("the kernel died") if bomb.lost else not told
            wrong += not as_expected
            verdict = "survived" if not told else f"lost ({bomb.lost if as_expected else told})"
            _line(as_expected, time.monotonic() - began, f"{bomb.name}: {verdict}")
            if told:
                kernel.close()
                kernel = contained_kernel(container)
        for calm in CALM:
            began = time.monotonic()
            told = stay_calm(kernel, calm)
            wrong += told not in ("", "not installed")
            _line(told in ("", "not installed"), time.monotonic() - began, f"no alarm on {calm.name}: {told or 'none'}")
        kernel.close()
    lost = [bomb.name for bomb in chosen if bomb.lost]
    print(f"{survived} of {len(chosen)} survived; expected to be lost: {', '.join(lost)}; {wrong} not as expected")
    return 1 if wrong else 0


def _line(as_expected: bool, seconds: float, text: str) -> None:
    print(f"{'ok   ' if as_expected else 'WRONG'} {seconds:6.1f} s  {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
