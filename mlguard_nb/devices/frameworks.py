"""What torch, CuPy, JAX, TensorFlow and numba say and hold, asked only where the program has imported them itself."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlguard_nb.devices.readings import Gpu, Unknown

__all__ = [
    "allocated_bytes",
    "asked_bytes",
    "empty_caches",
    "is_out_of_host_memory",
    "is_out_of_memory",
    "visible_devices",
]

_log = logging.getLogger("mlguard.memory")
# Class names, since importing a framework to compare classes would cost seconds and gigabytes.
_CLASSES = {
    ("torch", "OutOfMemoryError"),
    ("cupy", "OutOfMemoryError"),
    ("tensorflow", "ResourceExhaustedError"),
    ("rmm", "RMMError"),
}
_ASKED = re.compile(
    r"(?:allocat\w*|memory:)\D{0,40}?(?P<number>\d[\d,]*(?:\.\d+)?) ?(?P<unit>bytes|[KMGTPE]iB)", re.IGNORECASE
)
_WORDS = (
    "out of memory",  # torch RuntimeError, numba CudaAPIError, cudaErrorMemoryAllocation
    "cuda_error_out_of_memory",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
    "resource_exhausted",  # jaxlib XlaRuntimeError
    "defaultcpuallocator: can't allocate memory",  # torch RuntimeError
    "defaultcpuallocator: not enough memory",  # the same on Windows
    "failed to allocate memory for requested buffer",  # onnxruntime BFCArena
    "bfcarena",
)
_HOST_WORDS = ("defaultcpuallocator:", "device:cpu:")  # torch, TensorFlow
_SPEAKERS = ("torch", "cupy", "jax", "jaxlib", "tensorflow", "numba", "onnxruntime", "rmm", "cudf", "xgboost", "paddle")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that host or device memory ran out.

    MemoryError and its subclasses, the frameworks' own classes, and their RuntimeErrors by message. A message counts
    only from a framework's class or from RuntimeError, so that an application's "out of memory cards" does not.
    """
    if isinstance(error, MemoryError):
        return True
    if _is_a_framework_s(error):
        return True
    package = type(error).__module__.partition(".")[0]
    if type(error) is not RuntimeError and package not in _SPEAKERS:
        return False
    text = str(error).lower()
    if type(error) is RuntimeError and package == "builtins":
        return any(word in text for word in _WORDS if word != "out of memory") or (
            "out of memory" in text and any(mark in text for mark in ("cuda", "hip", "gpu", "mps", "xpu", "allocat"))
        )
    return any(word in text for word in _WORDS)


def is_out_of_host_memory(error: BaseException) -> bool:
    """Whether it is the host's memory that ran out: told by who raised the error, not by its being a MemoryError.

    CuPy's own is one and means the device; torch and TensorFlow tell of the host by message.
    """
    if isinstance(error, MemoryError):
        return not _is_a_framework_s(error)
    text = str(error).lower()
    return is_out_of_memory(error) and any(word in text for word in _HOST_WORDS)


def _is_a_framework_s(error: BaseException) -> bool:
    """Whether the class of `error` is a framework's own for running out of memory."""
    return any((kind.__module__.partition(".")[0], kind.__name__) in _CLASSES for kind in type(error).__mro__)


def asked_bytes(error: BaseException) -> int | None:
    """The bytes that the allocation behind `error` asked for, as NumPy, torch, CuPy and TensorFlow say it; else None.

    A size that is written with a unit is as exact as it is written.
    """
    match = _ASKED.search(str(error))
    if match is None:
        return None
    number = float(match["number"].replace(",", ""))
    power = "BKMGTPE".index(match["unit"][0].upper())
    return round(number * (1 << (10 * power)))


def empty_caches() -> tuple[str, ...]:
    """Give the frameworks' unused device memory back to the driver; the names of those that did.

    A device that was lost raises RuntimeError here as everywhere; that is warned about once a message.
    """
    return tuple(name for name, empty in (("torch", _empty_torch), ("cupy", _empty_cupy)) if _has_emptied(name, empty))


_told: set[str] = set()


def _has_emptied(name: str, empty: Callable[[Any], bool]) -> bool:
    framework: Any = sys.modules.get(name)
    try:
        return framework is not None and empty(framework)
    except RuntimeError as error:
        told = f"{name} cannot give back device memory: {str(error).partition(chr(10))[0]}"
        if told not in _told:
            _told.add(told)
            _log.warning("%s", told)
        return False


def _empty_torch(torch: Any) -> bool:
    if not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return False
    torch.cuda.empty_cache()
    return True


def _empty_cupy(cupy: Any) -> bool:
    cupy.get_default_memory_pool().free_all_blocks()
    cupy.get_default_pinned_memory_pool().free_all_blocks()
    return True


def allocated_bytes(uuid: str) -> int | Unknown:
    """Bytes of live tensors of this process on the device `uuid`, as torch counts them."""
    from mlguard_nb.devices.readings import Unknown

    torch: Any = sys.modules.get("torch")
    if torch is None:
        return Unknown("no framework that counts its own device memory is loaded in this process")
    if not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return Unknown("torch has not used a GPU in this process")
    for index in range(torch.cuda.device_count()):
        if _same(str(torch.cuda.get_device_properties(index).uuid), uuid):
            return int(torch.cuda.memory_allocated(index))
    return Unknown(f"torch does not see the device {uuid}; see CUDA_VISIBLE_DEVICES")


def visible_devices(gpus: Sequence[Gpu], environment: Mapping[str, str] | None = None) -> tuple[str, ...] | Unknown:
    """The UUIDs that this process may use, in the order in which frameworks number them.

    Reads CUDA_VISIBLE_DEVICES as CUDA does: indices or UUIDs (a unique beginning is enough), and everything after the
    first entry that names no device is hidden. Unset means all. Indices count in the driver's order, which is CUDA's
    only with CUDA_DEVICE_ORDER=PCI_BUS_ID or with equal cards; on a machine with different cards and another order
    an index is Unknown, with the setting that settles it.
    """
    from mlguard_nb.devices.readings import Unknown

    environment = os.environ if environment is None else environment
    text = environment.get("CUDA_VISIBLE_DEVICES")
    by_index = [gpu for position, gpu in enumerate(gpus) if not gpu.mig or gpu.uuid]
    if text is None:
        return tuple(gpu.uuid for gpu in by_index)
    chosen: list[str] = []
    for word in (part.strip() for part in text.split(",")):
        if word.lstrip("-").isdigit():
            number = int(word)
            if not 0 <= number < len(by_index):
                break
            if len({gpu.name for gpu in by_index}) > 1 and environment.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
                return Unknown(
                    f"CUDA_VISIBLE_DEVICES={text} counts different cards in an order of CUDA's own; "
                    "set CUDA_DEVICE_ORDER=PCI_BUS_ID, or name the devices by UUID"
                )
            uuid = by_index[number].uuid
        else:
            matches = [gpu.uuid for gpu in gpus if word and _same(gpu.uuid[: len(word)], word)]
            if len(matches) != 1:
                break
            uuid = matches[0]
        if uuid in chosen:  # CUDA shows no device at all when one is named twice
            return ()
        chosen.append(uuid)
    return tuple(chosen)


def _same(one: str, other: str) -> bool:
    return one.removeprefix("GPU-").lower() == other.removeprefix("GPU-").lower()
