"""What a guarded cell does about GPUs, in a real kernel on the driver's double: admission, shares, out-of-memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.notebook.gpu_kernel import gpu_kernel, hold
from tests.notebook.kernels import Kernel

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def kernel(nvml_library: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    started = gpu_kernel(nvml_library, tmp_path_factory.mktemp("gpu") / "gpus.txt")
    yield started
    started.close()


@pytest.fixture(autouse=True)
def _alone(kernel: Kernel) -> None:
    """Every test begins with an empty device and all of it allowed."""
    kernel.run(
        "x = y = None\nimport gc; gc.collect(); torch.cuda.empty_cache()\ncuda.share, cuda.shares, cuda.emptied = 1.0, [], 0"
    )
    hold(kernel)


def test_a_full_device_refuses_the_cell_and_names_its_holders(kernel: Kernel) -> None:
    """Before the first line: how much is in use, the stop, who holds it, and what to do."""
    hold(kernel, p1=70.0, p4242=4.0)
    answer = kernel.run("%%guard gpu=0.9\nran = True")

    assert answer.error == "MemoryPressure" and answer.view["outcome"] == "refused"
    assert "GPU 0 is short: 74.0 GiB in use, stop at 72.0 GiB" in answer.traceback
    names = [holder["name"] for holder in answer.view["holders"]]
    assert names[0] == "this notebook" and names[1].endswith("process 1)") and "4242" in names[2]
    assert "held by" in answer.sentence and "wait for the other processes (at=wait)" in answer.sentence
    assert kernel.run("'ran' in globals()").result == "False"


def test_a_waiting_cell_starts_when_the_others_let_go(kernel: Kernel) -> None:
    """at=wait watches the driver; the cell begins by itself."""
    hold(kernel, p4242=75.0)
    kernel.run(
        "import threading, time\n"
        "def later():\n"
        "    while not any(run.phase == 'waiting_memory' for run in running.running): time.sleep(0.01)\n"
        "    card.others = {}; card.write()\n"
        "threading.Thread(target=later).start()"
    )
    answer = kernel.run("%%guard gpu=0.9 at=wait patience=60s\ncard.used()")

    assert answer.error is None and answer.result == "0"
    assert answer.view["outcome"] == "ok"


def test_the_process_has_a_share_while_the_cell_runs(kernel: Kernel) -> None:
    """The stop less what others hold, given back afterwards: the device's twin of RLIMIT_DATA."""
    hold(kernel, p4242=8.0)
    answer = kernel.run("%%guard gpu=0.9\ncuda.share")

    assert answer.result == "0.8"
    assert kernel.run("cuda.share, cuda.shares").result == "(1.0, [0.8, 1.0])"


def test_out_of_memory_of_the_device_is_explained(kernel: Kernel) -> None:
    """The framework's error becomes the pressure on the device, with its own text as a note, and can never fit."""
    answer = kernel.run("%%guard gpu=0.5\nx = torch.cuda and Tensor(60 * GIB)")

    assert answer.error == "MemoryPressure" and "----> 2 x = " in answer.traceback
    assert "asked for 60.0 GiB; it can never fit below the stop of 40.0 GiB" in answer.traceback
    assert "raised as OutOfMemoryError: CUDA out of memory. Tried to allocate 60.00 GiB" in answer.traceback
    assert kernel.run("cuda.share, card.used(), running.watchdog.is_armed").result == "(1.0, 0, False)"


def test_out_of_memory_of_the_host_is_explained_as_such(kernel: Kernel) -> None:
    """torch raises a RuntimeError for it, which is no trouble of the GPU that the cell guards as well."""
    said = "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate"
    answer = kernel.run(f'%%guard gpu=0.5 mem=0.9\nraise RuntimeError("{said} {1 << 50} bytes.")')

    assert answer.error == "MemoryPressure" and "RAM is short" in answer.traceback
    assert "asked for 1,048,576.0 GiB; it can never fit below the stop" in answer.traceback
    assert "raised as RuntimeError: [enforce fail at alloc_cpu.cpp:117]" in answer.traceback


def test_halving_finds_what_fits(kernel: Kernel) -> None:
    """oom=halve: makes the input smaller after each out-of-memory, frees the device between, and says what worked."""
    kernel.run("size = 256")
    answer = kernel.run("%%guard retry=6 wait=0s oom=halve:size gpu=0.9\nx = Tensor(size * GIB)\nx.nbytes // GIB")

    assert answer.error is None and answer.result == "64"
    assert any("worked with size=64; size is 256 again" in note for note in answer.view["notes"])
    assert kernel.run("size, cuda.emptied >= 2").result == "(256, True)"


def test_clear_frees_what_the_failed_attempt_held(kernel: Kernel) -> None:
    """oom=clear: what the first attempt still held is gone before the second, which therefore fits."""
    kernel.run("tries = []")
    answer = kernel.run(
        "%%guard retry=2 wait=0s oom=clear gpu=0.9\ndef fit():\n    weights = Tensor(50 * GIB)\n    tries.append(1)\n"
        "    return Tensor((50 if len(tries) == 1 else 10) * GIB)\nx = fit()\nx.nbytes // GIB"
    )

    assert answer.error is None and answer.result == "10" and kernel.run("len(tries)").result == "2"


def test_what_a_shown_traceback_held_is_given_back(kernel: Kernel) -> None:
    """After the error was shown, tensors in dead frames are let go, the pool is emptied, and %debug has the rest."""
    answer = kernel.run(
        "%%guard gpu=0.9\ndef train():\n    activations = Tensor(60 * GIB)\n    step = 7\n    return Tensor(60 * GIB)\ntrain()"
    )

    assert answer.error == "MemoryPressure"
    assert kernel.run("cuda.memory_allocated(), card.used()").result == "(0, 0)"
    told = kernel.run("%debug", answer_input=["u", "p step", "p activations", "q"]).stdout
    assert "7" in told and "freed after memory ran out: Tensor" in told


def test_a_device_that_is_gone_leaves_the_cell_running(kernel: Kernel) -> None:
    """The driver ends while cells run: they run on, and say that their GPU limit is not applied."""
    kernel.run(
        "kept = Path(os.environ['MLGUARD_NVML_STATE']); text = kept.read_text(); kept.unlink()\n"
        "shared().devices_now(); shared().tick()"
    )
    try:
        answer = kernel.run("%%guard gpu=0.9\n41 + 1")
        assert answer.error is None and answer.result == "42" and "gpu=0.9 is not applied" in answer.sentence
    finally:
        kernel.run("kept.write_text(text)")
