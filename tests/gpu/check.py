"""What only a machine with an NVIDIA GPU can show, as a table: `make gpu-check` prints it and keeps it.

Each row is one claim, the figure that was found, and whether they agree. A framework that is not installed is a row
that says so. Without a device there is no table.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mlguard_nb.devices.machine import LocalMachine
from mlguard_nb.devices.readings import Gpu, Unknown, known
from tests.notebook.kernels import Kernel

MIB, GIB = 1 << 20, 1 << 30
KEPT = Path(__file__).parents[1] / "artefacts" / "gpu_check.md"


@dataclass(frozen=True)
class Row:
    """`agrees` None: there is nothing to compare with, the figure stands for itself."""

    claim: str
    figure: str
    agrees: bool | None = None


def table(gpus: tuple[Gpu, ...], machine: LocalMachine, kernel: Kernel) -> list[Row]:
    """Every row; `kernel` is one with the extension loaded, in which the frameworks are imported."""
    rows = [*_beside_nvidia_smi(gpus), *_costs(machine)]
    for framework, body in FRAMEWORKS.items():
        rows += _framework(kernel, framework, body)
    return [*rows, *_recovery(kernel), *_beside_a_context(kernel)]


def _beside_nvidia_smi(gpus: tuple[Gpu, ...]) -> Iterator[Row]:
    query = ["nvidia-smi", "--query-gpu=uuid,memory.used,memory.total", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(query, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError) as error:
        yield Row("memory as nvidia-smi tells it", f"nvidia-smi cannot be asked: {error}")
        return
    theirs = {uuid: (int(used), int(total)) for uuid, used, total in (line.split(", ") for line in told.splitlines())}
    for gpu in gpus:
        used, total = known(gpu.used_bytes), known(gpu.total_bytes)
        if gpu.mig or used is None or total is None or gpu.uuid not in theirs:
            yield Row(f"GPU {gpu.index} beside nvidia-smi", "a MIG slice, or no reading: nvidia-smi lists whole cards")
            continue
        smi_used, smi_total = theirs[gpu.uuid]
        # The two looks are moments apart, and other programs go on: 64 MiB is no disagreement.
        agrees = abs(used // MIB - smi_used) <= 64 and abs(total // MIB - smi_total) <= 1
        figure = f"{used // MIB} of {total // MIB} MiB, nvidia-smi {smi_used} of {smi_total}"
        yield Row(f"GPU {gpu.index} in use, beside nvidia-smi", figure, agrees)


def _costs(machine: LocalMachine) -> Iterator[Row]:
    calls: tuple[tuple[str, Callable[[], object], int], ...] = (
        ("one reading of all devices", machine.gpus, 200),
        ("who is on the devices", machine.gpu_processes, 20),
    )
    for what, call, times in calls:
        call()
        began = time.perf_counter()
        for _ in range(times):
            call()
        yield Row(f"cost of {what}", f"{(time.perf_counter() - began) / times * 1e6:.0f} us")


# Each takes one GiB and says what the framework counts: (live, reserved).
FRAMEWORKS = {
    "torch": (
        "block = torch.empty(1 << 30, dtype=torch.uint8, device='cuda:0'); torch.cuda.synchronize()\n"
        "counted = (torch.cuda.memory_allocated(0), torch.cuda.memory_reserved(0))"
    ),
    "cupy": (
        "block = cupy.empty(1 << 30, dtype=cupy.uint8); cupy.cuda.Device().synchronize()\n"
        "pool = cupy.get_default_memory_pool(); counted = (pool.used_bytes(), pool.total_bytes())"
    ),
}
_DRIVER = (
    "import os\nfrom mlguard_nb.devices.machine import current as machine_now\nfrom mlguard_nb.devices.frameworks import visible_devices\n"
    "def driver_now():\n    gpus = machine_now().gpus(); first = visible_devices(gpus)[0]\n"
    "    return next(gpu.used_bytes for gpu in gpus if gpu.uuid == first)"
)


def _framework(kernel: Kernel, name: str, body: str) -> Iterator[Row]:
    if kernel.run(f"import {name}").error is not None:
        yield Row(f"a GiB of {name}", f"{name} is not installed")
        return
    kernel.run(_DRIVER)
    # The first allocation makes the context, which is the driver's own memory: not part of the comparison.
    answer = kernel.run(f"{body}\ndel block\nbefore = driver_now()\n{body}\n(driver_now() - before, *counted)")
    if answer.error is not None:
        yield Row(f"a GiB of {name}", answer.traceback.splitlines()[-1], False)
        return
    moved, live, reserved = (int(word) for word in str(answer.result).strip("()").split(", "))
    figure = f"live {live // MIB}, reserved {reserved // MIB}, driver {moved // MIB:+d} MiB after the pool had it once"
    yield Row(f"a GiB of {name}, by framework and driver", figure, live >= GIB and reserved >= live)
    kernel.run("del block")


def _recovery(kernel: Kernel) -> Iterator[Row]:
    if kernel.run("import torch").error is not None:
        yield Row("out-of-memory on the device", "torch is not installed")
        return
    kernel.run(f"{_DRIVER}\nkept = list(range(1000)); size = 1 << 40\ntorch.cuda.empty_cache(); before = driver_now()")
    cell = "block = torch.empty(size, dtype=torch.uint8, device='cuda:0'); fitted = block.numel()"
    answer = kernel.run(f"%%guard retry=12 wait=0s oom=halve:size gpu=0.95\n{cell}")
    state = kernel.run("(sum(kept), size, 0 < fitted < size)").result
    said = next((note for note in answer.view["notes"] if note.startswith("worked with")), "nothing worked")
    yield Row(
        "a TiB halved until it fits, names intact", f"{said}; state {state}", state == f"(499500, {1 << 40}, True)"
    )
    kernel.run("del block")
    answer = kernel.run("%%guard gpu=0.95\nblock = torch.empty(1 << 40, dtype=torch.uint8, device='cuda:0')")
    left = kernel.run("torch.cuda.empty_cache(); (driver_now() - before) >> 20").result
    figure = f"{answer.error}; {left} MiB more in use than before"
    yield Row(
        "an out-of-memory that is not retried gives all back",
        figure,
        answer.error == "MemoryPressure" and int(str(left)) <= 64,
    )


def _beside_a_context(kernel: Kernel) -> Iterator[Row]:
    """CUDA reserves terabytes of addresses: RLIMIT_DATA must not count them, RLIMIT_AS would."""
    if kernel.run("import torch").error is not None:
        yield Row("RLIMIT_DATA beside a CUDA context", "torch is not installed")
        return
    answer = kernel.run(
        "%%guard mem=0.95 gpu=0.95\nimport resource\n"
        "block = torch.empty(1 << 28, dtype=torch.uint8, device='cuda:0'); torch.cuda.synchronize()\n"
        "status = open('/proc/self/status').read()\n"
        "def of(key): return int(status.split(key + ':')[1].split()[0]) >> 10\n"
        "(of('VmPeak'), of('VmData'), resource.getrlimit(resource.RLIMIT_DATA)[0] >> 20)"
    )
    figure = f"{answer.error}" if answer.error else "VmPeak, VmData, RLIMIT_DATA: " + str(answer.result) + " MiB"
    yield Row("a context and an allocation under RLIMIT_DATA", figure, answer.error is None)


def as_text(rows: list[Row]) -> str:
    """The table in Markdown."""
    words = {True: "yes", False: "NO", None: ""}
    lines = ["| What | Found | Agrees |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {row.claim} | {row.figure} | {words[row.agrees]} |" for row in rows)]) + "\n"


def main() -> int:
    """0 when every row agrees, and where there is no device to look at."""
    machine = LocalMachine()
    gpus = machine.gpus()
    if isinstance(gpus, Unknown) or not gpus:
        print(
            f"NOT TESTED: no NVIDIA GPU answers here: {gpus.reason if isinstance(gpus, Unknown) else 'none is there'}"
        )
        return 0
    kernel = Kernel()
    try:
        rows = table(gpus, machine, kernel)
    finally:
        kernel.close()
    text = as_text(rows)
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    KEPT.write_text(text)
    print(text)
    return 1 if any(row.agrees is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
