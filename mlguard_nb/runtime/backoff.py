"""How long to wait between attempts: exponential growth, capped, with jitter drawn inside the cap.

The three kinds are those of Brooker, "Exponential Backoff and Jitter" (AWS Architecture Blog, 2015). Jitter is drawn
after the clamp, so capped waits still differ and a thousand clients that failed together do not come back together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

from mlguard_nb import chance

__all__ = ["waits"]

Draw = Callable[[float, float], float]


def waits(
    jitter: Literal["full", "decorrelated", "equal"] | None, initial: float, cap: float, draw: Draw | None = None
) -> Iterator[float]:
    """Seconds to wait before the second attempt, the third, and so on, for ever; none is above `cap`.

    "full" draws from [0, bound], "equal" from [bound / 2, bound], "decorrelated" from [initial, 3 * the last wait];
    None waits the bound itself. The bound starts at `initial` and doubles up to `cap`. `draw` is uniform in its two
    bounds; by default from the source of chance in force.
    """
    draw = draw or chance.current().uniform
    bound = last = min(initial, cap)
    while True:
        if jitter == "full":
            yield draw(0.0, bound)
        elif jitter == "equal":
            yield bound / 2 + draw(0.0, bound / 2)
        elif jitter == "decorrelated":
            last = min(cap, draw(min(initial, cap), max(initial, last * 3)))
            yield last
        else:
            yield bound
        bound = min(cap, bound * 2)
