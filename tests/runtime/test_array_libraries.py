"""The same Array schema on torch, JAX and CuPy: every dtype, arrays without values, and arrays that live on a device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlguard_nb import Array, InputRejected, Reference, validate_input
from mlguard_nb.runtime.arrays import as_numpy

DTYPES = ("float16", "bfloat16", "float32", "float64", "int8", "uint8", "int64", "uint16", "bool", "float8_e4m3fn")


def guarded(schema: Any, **options: Any) -> Any:
    @validate_input(x=schema, **options)
    def function(x: Any) -> Any:
        return x

    return function


def told(schema: Array, value: Any, **options: Any) -> str:
    with pytest.raises(InputRejected) as caught:
        guarded(schema, **options)(value)
    return "; ".join(f"{each.rule} {each.found}" for each in caught.value.violations)


@pytest.mark.parametrize("dtype", DTYPES)
def test_torch_tensors_of_every_dtype_are_read(dtype: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed; `make test-frameworks` installs it")
    tensor = torch.ones(2, 3).to(getattr(torch, dtype))
    assert guarded(Array("b 3", dtype, ge=0, le=1))(tensor) is tensor
    assert told(Array("b 3", dtype, ge=2), tensor).startswith(">= 6 of 6 outside, first 1")


@pytest.mark.parametrize("dtype", DTYPES)
def test_jax_arrays_of_every_dtype_are_read(dtype: str) -> None:
    jax = pytest.importorskip("jax", reason="jax is not installed; `make test-frameworks` installs it")
    array = jax.numpy.ones((2, 3)).astype(dtype)
    name = str(array.dtype)  # JAX makes float32 of float64 unless it is told otherwise
    assert guarded(Array("b 3", name, ge=0, le=1))(array) is array
    assert told(Array("b 3", name, ge=2), array).startswith(">= 6 of 6 outside, first 1")


def test_torch_tensors_of_other_kinds() -> None:
    """With a gradient, sparse, quantised, or a view that NumPy cannot have as it is."""
    torch = pytest.importorskip("torch", reason="torch is not installed; `make test-frameworks` installs it")
    assert told(Array("n"), torch.tensor([1.0, float("nan")], requires_grad=True)) == (
        "finite 1 of 2 not finite, first nan at 1"
    )
    assert told(Array("a b", ge=2), torch.eye(3).to_sparse()) == ">= 3 of 3 outside, first 1.0 at 0"
    assert told(Array("n", ge=2), torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)).startswith(">=")
    assert told(Array("n", ge=0), torch.complex(torch.ones(2), torch.ones(2)).conj().imag).startswith(">= 2 of 2")
    assert told(Array("a b", torch.float32, le=1), torch.tensor([[1.0, 1.0], [1.0, 5.0]])).endswith("5.0 at (1, 1)")


def test_torch_and_jax_arrays_without_values_are_checked_for_shape_and_dtype() -> None:
    """Under jit, vmap and grad, and on torch's meta device."""
    torch = pytest.importorskip("torch", reason="torch is not installed; `make test-frameworks` installs it")
    jax = pytest.importorskip("jax", reason="jax is not installed; `make test-frameworks` installs it")

    @validate_input(x=Array("d", "float32", ge=0))
    def square(x: Any) -> Any:
        return (x**2).sum()

    assert float(jax.jit(square)(jax.numpy.ones(3))) == 3
    assert jax.grad(square)(jax.numpy.ones(3)).tolist() == [2, 2, 2]
    with pytest.raises(InputRejected, match="shape"):
        jax.jit(square)(jax.numpy.ones((2, 3)))
    assert torch.func.vmap(square)(torch.ones(4, 3)).tolist() == [3, 3, 3, 3]
    assert torch.func.grad(square)(torch.ones(3)).tolist() == [2, 2, 2]
    assert square(torch.ones(3, device="meta")).shape == ()
    with pytest.raises(InputRejected, match="shape"):
        square(torch.ones(3, 3, device="meta"))


def test_torch_numbers_that_numpy_has_no_dtype_for_are_kept_and_compared(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed; `make test-frameworks` installs it")
    rows = torch.randn(1000, 2, generator=torch.Generator().manual_seed(1))
    assert all(not drift.is_shifted for drift in Reference.fit(rows).compare(rows.bfloat16()))
    told(Array("2"), torch.ones(3, dtype=torch.bfloat16), on_fail=f"quarantine:{tmp_path}")
    (kept,) = tmp_path.rglob("x.npy")
    assert np.load(kept).tolist() == [1, 1, 1]


# CuPy needs a GPU. What the checks ask of it is what NumPy answers too, and `get` brings an array to the host.


class OnDevice:
    """An array that cannot be read where it is."""

    def __init__(self, values: np.ndarray[Any, Any], log: list[str]) -> None:
        self.values, self.log = values, log
        self.shape, self.dtype, self.size = values.shape, values.dtype, values.size

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed")  # as CuPy's

    def min(self) -> OnDevice:
        return OnDevice(self.values.min(), self.log)

    def max(self) -> OnDevice:
        return OnDevice(self.values.max(), self.log)

    def get(self) -> Any:
        self.log.append(f"copied {self.size}")
        return self.values


OnDevice.__module__ = "cupy"


def test_an_array_on_a_device_is_decided_by_its_extremes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two numbers come to the host. All of them do only where the error has to say what is wrong, and where."""
    import sys
    import types

    log: list[str] = []
    cupy: Any = types.ModuleType("cupy")
    cupy.stack = lambda both: OnDevice(np.stack([each.values for each in both]), log)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    check = guarded(Array("a b", "float32", ge=0, le=1))
    good = OnDevice(np.full((4, 5), 0.5, "float32"), log)
    assert check(good) is good
    assert log == ["copied 2"]
    spoiled = good.values.copy()
    spoiled[2, 3], spoiled[3, 0] = 7, np.nan
    with pytest.raises(InputRejected) as caught:
        check(OnDevice(spoiled, log))
    assert [each.found for each in caught.value.violations] == [
        "1 of 20 not finite, first nan at (3, 0)",
        "1 of 20 outside, first 7.0 at (2, 3)",
    ]
    assert as_numpy(good) is good.values
