"""What counts as out of memory, and which devices a process may use."""

from __future__ import annotations

import pytest

from mlguard_nb.devices import Gpu, Unknown
from mlguard_nb.devices.frameworks import asked_bytes, is_out_of_host_memory, is_out_of_memory, visible_devices


def raised_by(module: str, name: str, base: type[Exception], text: str) -> Exception:
    """An error as the library `module` would raise it, without the library."""
    return type(name, (base,), {"__module__": module})(text)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        raised_by("torch", "OutOfMemoryError", RuntimeError, "CUDA out of memory. Tried to allocate 20.00 GiB"),
        raised_by("cupy.cuda.memory", "OutOfMemoryError", Exception, "Out of memory allocating 8 bytes"),
        raised_by("jaxlib.xla_extension", "XlaRuntimeError", RuntimeError, "RESOURCE_EXHAUSTED: Out of memory"),
        raised_by("tensorflow.python.framework.errors_impl", "ResourceExhaustedError", Exception, "OOM when allocating"),
        raised_by("numba.cuda.cudadrv.driver", "CudaAPIError", Exception, "[2] CUDA_ERROR_OUT_OF_MEMORY"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 80 bytes"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"),
    ],
)  # fmt: skip
def test_every_library_s_out_of_memory_is_recognised(error: Exception) -> None:
    """By class where it has one, by message where it raises RuntimeError."""
    assert is_out_of_memory(error)


TORCH_ON_THE_HOST = "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory"


@pytest.mark.parametrize(
    ("error", "host"),
    [
        (MemoryError(), True),
        (raised_by("numpy._core._exceptions", "_ArrayMemoryError", MemoryError, "Unable to allocate 8 TiB"), True),
        (RuntimeError(TORCH_ON_THE_HOST), True),
        (raised_by("tensorflow.errors", "ResourceExhaustedError", Exception, "OOM on /device:CPU:0"), True),
        (raised_by("tensorflow.errors", "ResourceExhaustedError", Exception, "OOM on /device:GPU:0"), False),
        (raised_by("cupy.cuda.memory", "OutOfMemoryError", MemoryError, "Out of memory allocating 8 bytes"), False),
        (raised_by("torch", "OutOfMemoryError", RuntimeError, "CUDA out of memory"), False),
        (ValueError(TORCH_ON_THE_HOST), False),
    ],
)
def test_whose_memory_ran_out_is_told_by_who_raised_it(error: Exception, host: bool) -> None:
    """A MemoryError may mean the device, and a RuntimeError the host."""
    assert is_out_of_host_memory(error) == host


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("Unable to allocate 73.0 TiB for an array with shape (10032910958592,) and data type float64", 73 << 40),
        ("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79.15 GiB", 20 << 30),
        ("Out of memory allocating 1,024 bytes (allocated so far: 0 bytes).", 1024),
        ("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 8589934592 bytes.", 8 << 30),
        ("DefaultCPUAllocator: can't allocate memory: you tried to allocate 80 bytes.", 80),
        ("OOM when allocating tensor with shape[100,200] and type float", None),
        ("", None),
    ],
)
def test_what_an_allocation_asked_for_is_read_from_its_error(text: str, asked: int | None) -> None:
    """As the libraries write it; None where they do not say."""
    assert asked_bytes(MemoryError(text)) == asked


@pytest.mark.parametrize(
    "error",
    [
        ValueError("CUDA out of memory"),
        RuntimeError("the deck is out of memory cards"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        raised_by("shop.errors", "StockError", RuntimeError, "out of memory sticks"),
    ],
)
def test_other_errors_are_not(error: Exception) -> None:
    """An application's own words do not make a device run out."""
    assert not is_out_of_memory(error)


GPUS = (Gpu("GPU-aaaa", 0, "H100"), Gpu("GPU-bbbb", 1, "H100"), Gpu("GPU-bcbc", 2, "H100"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (None, ("GPU-aaaa", "GPU-bbbb", "GPU-bcbc")),
        ("2,0", ("GPU-bcbc", "GPU-aaaa")),
        ("GPU-bb", ("GPU-bbbb",)),
        ("1,-1,0", ("GPU-bbbb",)),
        ("0,7,1", ("GPU-aaaa",)),
        ("", ()),
        ("GPU-b", ()),  # two begin so: CUDA takes neither
        ("1,1", ()),
    ],
)
def test_cuda_visible_devices_is_read_as_cuda_reads_it(text: str | None, shown: tuple[str, ...]) -> None:
    """Order counts, and the first entry that names nothing hides the rest."""
    assert visible_devices(GPUS, {} if text is None else {"CUDA_VISIBLE_DEVICES": text}) == shown


def test_an_index_among_different_cards_is_not_guessed() -> None:
    """CUDA orders by speed, the driver by bus: without CUDA_DEVICE_ORDER nobody knows which card is meant."""
    mixed = (Gpu("GPU-a", 0, "H100"), Gpu("GPU-b", 1, "T4"))
    answer = visible_devices(mixed, {"CUDA_VISIBLE_DEVICES": "0"})
    assert isinstance(answer, Unknown)
    assert "CUDA_DEVICE_ORDER" in answer.reason
    assert visible_devices(mixed, {"CUDA_VISIBLE_DEVICES": "0", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}) == ("GPU-a",)
