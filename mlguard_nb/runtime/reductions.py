"""Reading every value of a flat NumPy array at memory bandwidth: its extremes, its range, whether it is finite."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Any

__all__ = ["CHUNK_BYTES", "extremes", "is_finite", "is_within", "pieces"]

# Two reductions over a piece that still lies in the L2 cache cost one pass over memory.
CHUNK_BYTES = 1 << 19


def pieces(numbers: Any) -> Iterator[Any]:
    """Pieces of a flat array that fit the cache."""
    step = max(1, CHUNK_BYTES // max(1, numbers.itemsize))
    for start in range(0, numbers.size, step):
        yield numbers[start : start + step]


def _quick(piece: Any) -> Any:
    """The piece in a dtype that is quick to reduce: float16 as float32, whose reductions are a hundred times faster."""
    return piece.astype("float32") if _is_half(piece) else piece


def _is_half(numbers: Any) -> bool:
    return bool(numbers.dtype.kind == "f" and numbers.dtype.itemsize == 2)


def extremes(numbers: Any) -> tuple[float, float]:
    """(smallest, largest) of a flat array; NaN where it holds one."""
    import numpy as np

    low, high = math.inf, -math.inf
    for piece in pieces(numbers):
        quick = _quick(piece)
        least, most = np.minimum.reduce(quick), np.maximum.reduce(quick)
        if least != least:
            return math.nan, math.nan
        low, high = min(low, least), max(high, most)
    return float(low), float(high)


def is_within(numbers: Any, low: float, high: float, low_open: bool = False, high_open: bool = False) -> bool:
    """Whether every value lies between the bounds; False as soon as one piece does not, and for NaN."""
    import numpy as np

    least, most = np.minimum.reduce, np.maximum.reduce
    low, high, by_bits = _limits(numbers.dtype, low, high, low_open, high_open)
    if numbers.strides != (numbers.itemsize,):
        by_bits = None
    for piece in pieces(numbers):
        if by_bits is not None and most(piece.view(by_bits.dtype)) <= by_bits:
            continue
        quick = _quick(piece)
        smallest, largest = least(quick), most(quick)
        # Written so that NaN fails: every comparison with it is False.
        if not (smallest > low if low_open else smallest >= low):
            return False
        if not (largest < high if high_open else largest <= high):
            return False
    return True


@functools.lru_cache(maxsize=256)  # the bounds of a schema are the same at every call
def _limits(dtype: Any, low: float, high: float, low_open: bool, high_open: bool) -> tuple[Any, Any, Any]:
    """(low, high, bit pattern) in `dtype`: 0.1 means the number of a float dtype that is nearest to it."""
    import numpy as np

    if dtype.kind != "f":
        return low, high, None
    with np.errstate(over="ignore"):
        return dtype.type(low), dtype.type(high), _bit_pattern(dtype, low, high, low_open, high_open)


def _bit_pattern(dtype: Any, low: float, high: float, low_open: bool, high_open: bool) -> Any:
    """The bit pattern that no value of [0, high] exceeds as an unsigned number; None where there is no such pattern.

    Floats of one sign are ordered as their bits are, and whatever else there is (below 0, NaN, -0.0) has larger bits
    than all of them: one reduction answers what otherwise takes two. A piece that fails here may still hold -0.0.
    """
    import numpy as np

    if low != 0 or low_open or not high > 0 or not dtype.isnative or dtype.str[1:] not in ("f2", "f4", "f8"):
        return None
    edge = np.array(high, dtype=dtype)
    bits: Any = edge.view(f"u{dtype.itemsize}")[()]
    if not bits:  # the nearest number of this dtype is 0, and no pattern is below that of 0
        return None
    return bits - bits.dtype.type(1) if high_open or float(edge) > high else bits


def _magnitude(half: Any) -> Any:
    """The bits of float16 numbers without their sign."""
    import numpy as np

    return np.ascontiguousarray(half).view("uint16") & 0x7FFF


def is_finite(numbers: Any) -> bool:
    """Whether no value is NaN, infinite or "not a time". A sum of squares is finite only where every number is; where
    it overflows, ask one by one.
    """
    import numpy as np

    if numbers.dtype.kind in "mM":
        return not bool(np.isnat(numbers).any())
    if numbers.dtype.kind not in "fc":
        return True
    if _is_half(numbers):  # neither NaN nor infinity: the exponent is not all ones
        largest = np.uint16(0x7BFF)
        bits = numbers if numbers.dtype.isnative else numbers.astype("float16")
        return all(np.maximum.reduce(_magnitude(piece)) <= largest for piece in pieces(bits))
    for piece in pieces(numbers):
        with np.errstate(over="ignore", invalid="ignore"):
            total = np.vdot(piece, piece).real
        if not total < math.inf and not np.isfinite(piece).all():
            return False
    return True
