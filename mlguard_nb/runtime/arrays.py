"""Checking arrays: NumPy, torch, JAX and CuPy against an Array schema, with the values read at memory bandwidth.

Every library is recognised by the class of the value, so none is imported that the program has not imported itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from mlguard_nb.errors import Violation
from mlguard_nb.policy.schemas import Array
from mlguard_nb.runtime.shapes import Bindings, Shape

__all__ = ["CHUNK_BYTES", "check_array", "dtype_name", "extremes", "is_array", "is_within"]

# Two reductions over a piece that still lies in the L2 cache cost one pass over memory.
CHUNK_BYTES = 1 << 19
SAMPLE_VALUES = 10_000
_LIBRARIES = {"numpy", "torch", "jax", "jaxlib", "cupy"}


def is_array(value: object) -> bool:
    """Whether `value` is an array of a library this module reads."""
    return (
        type(value).__module__.partition(".")[0] in _LIBRARIES and hasattr(value, "shape") and hasattr(value, "dtype")
    )


def dtype_name(dtype: object) -> str:
    """The dtype's plain name, the same for every library: "float32", "int64", "bool"."""
    return str(getattr(dtype, "name", dtype)).removeprefix("torch.")


def wanted_dtype(name: str) -> str:
    """The plain name of a dtype as a person writes it: float is float64, as NumPy reads it."""
    return {"float": "float64", "int": "int64", "complex": "complex128", "double": "float64"}.get(name, name)


def check_array(
    schema: Array, shape: Shape | None, name: str, value: Any, bound: Bindings, depth: str = "full"
) -> tuple[list[Violation], list[Violation]]:
    """(violations, warnings) of one array. `bound` collects the named dimensions of the whole call."""
    if not is_array(value):
        return [Violation(name, "type", "an array", type(value).__name__)], []
    broken: list[Violation] = []
    found = dtype_name(value.dtype)
    if schema.dtype is not None and found != wanted_dtype(schema.dtype):
        broken.append(Violation(name, "dtype", wanted_dtype(schema.dtype), found))
    if shape is not None and (why := shape.mismatch(tuple(value.shape), bound)) is not None:
        broken.append(
            Violation(name, "shape", f'"{shape.text}" ({why.partition(", found")[0]})', str(tuple(value.shape)))
        )
    if depth == "schema":
        return broken, []
    found_values, warned = _check_values(schema, name, value, depth)
    return broken + found_values, warned


def _check_values(schema: Array, name: str, value: Any, depth: str) -> tuple[list[Violation], list[Violation]]:
    numbers = _flat(value)
    if numbers is None or numbers.size == 0:
        return [], []
    if depth == "sample" and numbers.size > SAMPLE_VALUES:
        numbers = numbers[:: max(1, numbers.size // SAMPLE_VALUES)]
    if _is_clean(schema, numbers):
        return [], []
    return _explain(schema, name, numbers)


def _flat(value: Any) -> Any:
    """The values as a flat array on their own device's library, None where they have no order (text, objects)."""
    if dtype_name(value.dtype) in ("bool", "bool_"):
        return None
    library = type(value).__module__.partition(".")[0]
    if library == "numpy":
        return value.reshape(-1) if value.dtype.kind in "fiu" else None
    import numpy as np

    if library == "torch":
        tensor = value.detach()
        if tensor.is_complex():
            return None
        if tensor.device.type != "cpu":
            return _Extremes.of_torch(tensor)
        tensor = tensor.float() if dtype_name(tensor.dtype) in ("bfloat16", "float16") else tensor
        return tensor.reshape(-1).numpy()
    return np.asarray(value.get() if library == "cupy" else value).reshape(-1)


class _Extremes:
    """A tensor on a GPU, known by its extremes: one fused reduction and one wait for the device."""

    def __init__(self, values: list[float], size: int, tensor: Any) -> None:
        import numpy as np

        self.extremes, self.size, self.tensor = np.array(values), size, tensor

    @classmethod
    def of_torch(cls, tensor: Any) -> Any:
        import torch

        low, high = torch.aminmax(tensor)
        both = torch.stack((low, high)).double().tolist()
        if all(math.isfinite(edge) for edge in both):
            return cls(both, tensor.numel(), tensor).extremes
        return tensor.reshape(-1).cpu().float().numpy()


def _pieces(numbers: Any) -> Iterator[Any]:
    """Pieces of a flat array that fit the cache; float16 as float32, whose reductions are a hundred times faster."""
    step = max(1, CHUNK_BYTES // max(1, numbers.itemsize))
    half = numbers.dtype.itemsize == 2 and numbers.dtype.kind == "f"
    for start in range(0, numbers.size, step):
        piece = numbers[start : start + step]
        yield piece.astype("float32") if half else piece


def extremes(numbers: Any) -> tuple[float, float]:
    """(smallest, largest) of a flat array; NaN where it holds one."""
    import numpy as np

    low, high = math.inf, -math.inf
    for piece in _pieces(numbers):
        least, most = np.minimum.reduce(piece), np.maximum.reduce(piece)
        if least != least:
            return math.nan, math.nan
        low, high = min(low, least), max(high, most)
    return float(low), float(high)


def is_within(numbers: Any, low: float, high: float, low_open: bool = False, high_open: bool = False) -> bool:
    """Whether every value lies between the bounds; False as soon as one piece does not, and for NaN."""
    import numpy as np

    least, most = np.minimum.reduce, np.maximum.reduce
    for piece in _pieces(numbers):
        smallest, largest = least(piece), most(piece)
        # Written so that NaN fails: every comparison with it is False.
        if not (smallest > low if low_open else smallest >= low):
            return False
        if not (largest < high if high_open else largest <= high):
            return False
    return True


def is_finite(numbers: Any) -> bool:
    """Whether no value is NaN or infinite. A sum of squares is finite only then; where it overflows, ask one by one."""
    import numpy as np

    if numbers.dtype.kind != "f":
        return True
    for piece in _pieces(numbers):
        with np.errstate(over="ignore", invalid="ignore"):
            total = np.dot(piece, piece)
        if not total < math.inf and not np.isfinite(piece).all():
            return False
    return True


def bounds_of(schema: Any) -> tuple[float, float, bool, bool]:
    """(low, high, low is open, high is open) of a schema with ge, gt, le and lt."""
    low = schema.gt if schema.gt is not None else schema.ge
    high = schema.lt if schema.lt is not None else schema.le
    return (
        -math.inf if low is None else low,
        math.inf if high is None else high,
        schema.gt is not None,
        schema.lt is not None,
    )


def _is_clean(schema: Array, numbers: Any) -> bool:
    """Whether nothing at all is to be said about the values: the common case, decided by reductions."""
    low, high, low_open, high_open = bounds_of(schema)
    if schema.seen is not None:
        low, high = max(low, schema.seen[0]), min(high, schema.seen[1])
        low_open = high_open = False
    bounded = low > -math.inf or high < math.inf
    if bounded:
        rejects = schema.nan == "reject" and numbers.dtype.kind == "f"
        # One bound leaves the other end open to infinity, which "reject" does not allow.
        return is_within(numbers, low, high, low_open, high_open) and not (
            rejects and (math.isinf(low) or math.isinf(high)) and not is_finite(numbers)
        )
    return schema.nan == "allow" or is_finite(numbers)


def _explain(schema: Array, name: str, numbers: Any) -> tuple[list[Violation], list[Violation]]:
    """Every broken rule with its count, the first place and the value there. Only after the fast check failed."""
    import numpy as np

    broken: list[Violation] = []
    kept = np.isfinite(numbers) if numbers.dtype.kind == "f" else np.ones(numbers.size, dtype=bool)
    odd = int(numbers.size - kept.sum())
    if odd and schema.nan != "allow":
        allowed = 0.0 if schema.nan == "reject" else float(schema.nan)
        if odd / numbers.size > allowed:
            broken.append(Violation(name, "finite", _finite_rule(allowed), _seen(numbers, ~kept, "not finite")))
    missing = np.isnan(numbers) if numbers.dtype.kind == "f" else ~kept
    warned: list[Violation] = []
    with np.errstate(invalid="ignore"):
        for rule, bound, bad in _broken_bounds(schema, numbers):
            bad &= ~missing
            if schema.nan == "reject":
                bad &= kept  # said already as not finite
            if bad.any():
                broken.append(Violation(name, rule, f"{rule} {bound}", _seen(numbers, bad, "outside")))
        if schema.seen is not None:
            low, high = schema.seen
            bad = ((numbers < low) | (numbers > high)) & kept
            if bad.any():
                warned.append(Violation(name, "seen", f"between {low} and {high}", _seen(numbers, bad, "outside")))
    return broken, warned


def _finite_rule(allowed: float) -> str:
    return "finite values" if not allowed else f"at most {allowed:.2%} not finite"


def _broken_bounds(schema: Any, numbers: Any) -> Iterator[tuple[str, Any, Any]]:
    if schema.ge is not None:
        yield ">=", schema.ge, numbers < schema.ge
    if schema.gt is not None:
        yield ">", schema.gt, numbers <= schema.gt
    if schema.le is not None:
        yield "<=", schema.le, numbers > schema.le
    if schema.lt is not None:
        yield "<", schema.lt, numbers >= schema.lt


def _seen(numbers: Any, bad: Any, word: str) -> str:
    import numpy as np

    count, first = int(bad.sum()), int(np.argmax(bad))
    return f"{count} of {numbers.size} {word}, first {numbers[first]} at {first}"
