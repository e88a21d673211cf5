"""A kernel on a machine with one GPU of 80 GiB: the driver's double, and frameworks that keep its numbers true.

The frameworks are stand-ins with the few calls of torch and CuPy that are used: an allocation raises what theirs
raises, respects the share it was given, and is written into the double's file, where NVML finds it.
"""

from __future__ import annotations

from pathlib import Path

from tests.notebook.kernels import Kernel

GIB = 1 << 30
TOTAL = 80 * GIB
UUID = "GPU-11111111-2222-3333-4444-555555555555"

FRAMEWORKS = '''
import os, sys, types, weakref
from pathlib import Path
GIB, TOTAL, UUID = 1 << 30, 80 << 30, "{uuid}"
class Machine:
    """What everybody holds of the device; the driver's double reads it from the file."""
    mine, others = {{}}, dict({others})
    def used(self): return sum(self.mine.values()) + sum(self.others.values())
    def write(self):
        text = f"gpu {{UUID}} {{TOTAL}} {{self.used()}} 5 40 90000 400000 NVIDIA A100\\n"
        holders = {{os.getpid(): sum(self.mine.values()), **self.others}}
        text += "".join(f"process 0 {{pid}} {{held}}\\n" for pid, held in holders.items() if held)
        path = Path(os.environ["MLGUARD_NVML_STATE"]); fresh = path.with_suffix(".new")
        fresh.write_text(text); fresh.replace(path)
card = Machine(); card.write()

torch = types.ModuleType("torch")
class OutOfMemoryError(RuntimeError): __module__ = "torch"
torch.OutOfMemoryError = OutOfMemoryError
class Tensor:
    def __init__(self, size):
        self.nbytes = size
        free = min(TOTAL - card.used(), torch.cuda.share * TOTAL - torch.cuda.memory_reserved())
        if size > free:
            raise OutOfMemoryError(f"CUDA out of memory. Tried to allocate {{size / GIB:.2f}} GiB. GPU 0 has a total capacity of 80.00 GiB")
        torch.cuda.tensors.add(self); torch.cuda.grow()
class cuda:
    tensors, pool, share, emptied, shares = weakref.WeakSet(), 0, 1.0, 0, []
    @classmethod
    def memory_allocated(cls, index=0): return sum(one.nbytes for one in cls.tensors)
    @classmethod
    def memory_reserved(cls, index=0): return max(cls.pool, cls.memory_allocated())
    @classmethod
    def grow(cls): cls.pool = cls.memory_reserved(); card.mine["torch"] = cls.pool; card.write()
    @classmethod
    def empty_cache(cls): cls.emptied += 1; cls.pool = cls.memory_allocated(); card.mine["torch"] = cls.pool; card.write()
    is_available = staticmethod(lambda: True); is_initialized = staticmethod(lambda: True)
    device_count = staticmethod(lambda: 1)
    get_device_properties = staticmethod(lambda index: types.SimpleNamespace(uuid=UUID.removeprefix("GPU-"), total_memory=TOTAL))
    @classmethod
    def get_per_process_memory_fraction(cls, index=0): return cls.share
    @classmethod
    def set_per_process_memory_fraction(cls, share, index=0): cls.share = share; cls.shares.append(round(share, 3))
torch.cuda = cuda
sys.modules["torch"] = torch
from mlguard_nb.devices.sampler import shared
def hold(others):
    """Others hold that much from now on, and the sampler has seen it."""
    card.others = others; card.write(); shared().devices_now(); shared().tick()
'''


def gpu_kernel(library: Path, state: Path, others: dict[int, int] | None = None) -> Kernel:
    """A kernel whose driver is the double in `library`; `others` holds what other processes have of the device."""
    state.write_text(f"gpu {UUID} {TOTAL} 0 5 40 90000 400000 NVIDIA A100\n")
    kernel = Kernel(environment={"LD_LIBRARY_PATH": str(library), "MLGUARD_NVML_STATE": str(state)})
    answer = kernel.run(
        FRAMEWORKS.format(uuid=UUID, others=others or {}) + "running = get_ipython()._mlguard_loaded[0]"
    )
    assert answer.error is None, answer.traceback
    return kernel


def hold(kernel: Kernel, **held: float) -> None:
    """Other processes hold so many GiB from now on: p4242=70.0."""
    told = {int(name[1:]): int(size * GIB) for name, size in held.items()}
    answer = kernel.run(f"hold({told})")
    assert answer.error is None, answer.traceback
