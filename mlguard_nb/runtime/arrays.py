"""Checking arrays: NumPy, torch, JAX and CuPy against an Array schema.

Every library is recognised by the class of the value, so none is imported that the program has not imported itself.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from mlguard_nb.errors import PolicyError, Violation
from mlguard_nb.policy.schemas import Array
from mlguard_nb.runtime.reductions import is_finite, is_within
from mlguard_nb.runtime.shapes import Bindings, Shape

__all__ = ["as_numpy", "bounds_of", "check_array", "dtype_name", "is_array", "wanted_dtype"]

SAMPLE_VALUES = 10_000
_LIBRARIES = {"numpy", "torch", "jax", "jaxlib", "cupy"}
# What the frameworks have and NumPy has not.
_NOT_NUMPYS = ("bfloat16", "float8_", "float4_", "int4", "uint4", "int2", "uint2", "complex32", "qint", "quint")


def is_array(value: object) -> bool:
    """Whether `value` is an array of a library this module reads."""
    return _library(value) in _LIBRARIES and hasattr(value, "shape") and hasattr(value, "dtype")


def _library(value: object) -> str:
    return type(value).__module__.partition(".")[0]


def dtype_name(dtype: object) -> str:
    """The dtype's plain name, the same for every library: "float32", "int64", "bool"."""
    return str(getattr(dtype, "name", dtype)).removeprefix("torch.")


@lru_cache
def wanted_dtype(name: str) -> str:
    """The plain name of a dtype as a person writes it: "float" and "<f8" are float64, as NumPy reads them. PolicyError
    for a word that is none.
    """
    import numpy as np

    if name.startswith(_NOT_NUMPYS):
        return name
    try:
        return str(np.dtype(name).name)
    except TypeError:
        raise PolicyError(
            f'Array: dtype must be a name such as "float32", "int64", "bool" or "bfloat16", got {name!r}'
        ) from None


def _is_dtype(found: str, wanted: str) -> bool:
    if wanted in ("str", "bytes"):  # NumPy counts their bits: "str320"
        return found.rstrip("0123456789") == wanted
    return found == wanted or (wanted in ("datetime64", "timedelta64") and found.startswith(f"{wanted}["))


def as_numpy(value: Any) -> Any:
    """An array of any library as NumPy's, on the host. What NumPy has no dtype for is float32 then; of a sparse tensor
    only the values that are there, in one dimension.
    """
    import numpy as np

    library = _library(value)
    if library == "torch":
        return _of_torch(value)
    numbers = np.asarray(value.get() if library == "cupy" else value)
    return numbers.astype("float32") if dtype_name(numbers.dtype).startswith(_NOT_NUMPYS) else numbers


def _of_torch(tensor: Any) -> Any:
    tensor = tensor.detach()
    if str(tensor.layout) != "torch.strided":
        tensor = tensor.coalesce().values() if tensor.is_sparse else tensor.values()
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    if dtype_name(tensor.dtype).startswith(_NOT_NUMPYS):
        tensor = tensor.float()
    return tensor.resolve_conj().resolve_neg().cpu().numpy()


def check_array(
    schema: Array, shape: Shape | None, name: str, value: Any, bound: Bindings, depth: str = "full"
) -> tuple[list[Violation], list[Violation]]:
    """(violations, warnings) of one array. `bound` collects the named dimensions of the whole call."""
    if not is_array(value):
        return [Violation(name, "type", "an array", type(value).__name__)], []
    broken: list[Violation] = []
    found = dtype_name(value.dtype)
    if schema.dtype is not None and not _is_dtype(found, wanted := wanted_dtype(schema.dtype)):
        broken.append(Violation(name, "dtype", wanted, found))
    if shape is not None and (why := shape.mismatch(tuple(value.shape), bound)) is not None:
        broken.append(
            Violation(name, "shape", f'"{shape.text}" ({why.partition(", found")[0]})', str(tuple(value.shape)))
        )
    if depth == "schema" or _is_traced(value):
        return broken, []
    found_values, warned = _check_values(schema, name, value, depth)
    return broken + found_values, warned


def _is_traced(value: Any) -> bool:
    """Whether jax.jit or torch.func is at work, or the tensor is on "meta": a shape and a dtype, and no values."""
    if _library(value) != "torch":
        core = getattr(sys.modules.get("jax"), "core", None)
        return core is not None and isinstance(value, core.Tracer)
    if value.device.type == "meta" or str(value.layout) != "torch.strided":
        return bool(value.device.type == "meta")
    try:
        value.data_ptr()
    except RuntimeError:
        return True
    return False


def _check_values(schema: Array, name: str, value: Any, depth: str) -> tuple[list[Violation], list[Violation]]:
    edges = _edges_on_device(value)
    if edges is not None and _is_clean(schema, edges):
        return [], []
    numbers, shape = _numbers(value)
    if numbers is None:
        return _unordered(schema, name, value), []
    step = max(1, numbers.size // SAMPLE_VALUES) if depth == "sample" else 1
    sampled = numbers[::step]
    if sampled.size == 0 or _is_clean(schema, sampled):
        return [], []
    return _explain(schema, name, sampled, _Places(shape, step))


def _edges_on_device(value: Any) -> Any:
    """The smallest and the largest value of an array on a GPU: one fused reduction, and one wait for the device. None
    for arrays on the host, and where such a reduction cannot be had.
    """
    library = _library(value)
    if library == "cupy" and value.size and value.dtype.kind in "fiu":
        cupy = sys.modules["cupy"]
        return cupy.stack([value.min(), value.max()]).get()
    if library != "torch" or value.device.type == "cpu" or not value.numel():
        return None
    if value.is_complex() or value.is_quantized or str(value.layout) != "torch.strided":
        return None
    if dtype_name(value.dtype) == "bool":
        return None
    torch = sys.modules["torch"]
    return as_numpy(torch.stack(torch.aminmax(value.detach())))


def _numbers(value: Any) -> tuple[Any, tuple[int, ...]]:
    """(the values as a flat NumPy array, the shape their places are told in). None for text and records; numbers among
    objects as float64, with None as NaN.
    """
    import numpy as np

    if isinstance(value, np.ma.MaskedArray):  # what is masked out is missing
        masked: Any = value
        is_numeric = np.ma.is_masked(masked) and masked.dtype.kind in "fiub"
        value = masked.astype(np.result_type(masked.dtype, "float16")).filled(np.nan) if is_numeric else masked.data
    values = as_numpy(value)
    shape = tuple(value.shape) if math.prod(value.shape) == values.size else (values.size,)
    flat = values.reshape(-1)
    if flat.dtype.kind == "b":
        return flat.view("uint8"), shape
    if flat.dtype.kind == "O":
        return _of_objects(flat), shape
    return (flat if flat.dtype.kind in "fiucmM" else None), shape


def _of_objects(flat: Any) -> Any:
    """Objects as float64 where each is a number or None, else None."""
    import numbers

    import numpy as np

    if not all(value is None or isinstance(value, numbers.Real) for value in flat):
        return None
    return np.array([math.nan if value is None else float(value) for value in flat])


def _unordered(schema: Array, name: str, value: Any) -> list[Violation]:
    """What is wrong with values that are no numbers: bounds cannot hold for them; of objects None may be missing."""
    bound = next(_broken_bounds(schema, 0.0), None)
    if bound is not None or schema.seen is not None:
        rule = f"numbers, for {bound[0]} {bound[1]}" if bound is not None else "numbers, as were seen"
        return [Violation(name, "dtype", rule, dtype_name(value.dtype))]
    if value.dtype.kind != "O" or schema.nan == "allow":
        return []
    missing = sum(each is None or (isinstance(each, float) and each != each) for each in value.reshape(-1))
    allowed = 0.0 if schema.nan == "reject" else float(schema.nan)
    if missing <= allowed * value.size:
        return []
    return [Violation(name, "finite", _finite_rule(allowed), f"{missing} of {value.size} missing")]


class _Places:
    """Where a value of a flat sample lies in the array: an index for each dimension."""

    def __init__(self, shape: tuple[int, ...], step: int) -> None:
        self.shape, self.step = shape, step

    def __getitem__(self, position: int) -> str:
        import numpy as np

        place = tuple(int(index) for index in np.unravel_index(position * self.step, self.shape)) if self.shape else ()
        return str(place[0]) if len(place) == 1 else str(place)


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
    if low == -math.inf and high == math.inf:
        return schema.nan == "allow" or is_finite(numbers)
    if numbers.dtype.kind not in "fiu":
        return False
    if schema.nan == "reject" and numbers.dtype.kind == "f":  # infinity is not finite: the open end is open
        low_open, high_open = low_open or low == -math.inf, high_open or high == math.inf
    return is_within(numbers, low, high, low_open, high_open)


def _explain(schema: Array, name: str, numbers: Any, places: _Places) -> tuple[list[Violation], list[Violation]]:
    """Every broken rule with its count, the first place and the value there. Only after the fast check failed."""
    import numpy as np

    broken: list[Violation] = []
    kept = np.isfinite(numbers)
    odd = int(numbers.size - kept.sum())
    if odd and schema.nan != "allow":
        allowed = 0.0 if schema.nan == "reject" else float(schema.nan)
        if odd / numbers.size > allowed:
            seen = _seen(numbers, ~kept, "not finite", places)
            broken.append(Violation(name, "finite", _finite_rule(allowed), seen))
    bounds = list(_broken_bounds(schema, 0.0))
    if numbers.dtype.kind not in "fiu":
        if bounds:
            rule = f"numbers with an order, for {bounds[0][0]} {bounds[0][1]}"
            broken.append(Violation(name, "dtype", rule, numbers.dtype.name))
        return broken, []
    missing = np.isnan(numbers) if numbers.dtype.kind == "f" else ~kept
    warned: list[Violation] = []
    with np.errstate(invalid="ignore"):
        for rule, bound, bad in _broken_bounds(schema, numbers):
            bad &= ~missing
            if schema.nan == "reject":
                bad &= kept  # said already as not finite
            if bad.any():
                broken.append(Violation(name, rule, f"{rule} {bound}", _seen(numbers, bad, "outside", places)))
        if schema.seen is not None:
            low, high = schema.seen
            bad = ((numbers < low) | (numbers > high)) & kept
            if bad.any():
                seen = _seen(numbers, bad, "outside", places)
                warned.append(Violation(name, "seen", f"between {low} and {high}", seen))
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


def _seen(numbers: Any, bad: Any, word: str, places: _Places) -> str:
    import numpy as np

    count, first = int(bad.sum()), int(np.argmax(bad))
    return f"{count} of {numbers.size} {word}, first {numbers[first]} at {places[first]}"
