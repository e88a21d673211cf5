"""The driver seam, with the real pynvml loading a C library that stands for the driver."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.nvml

TWO = """\
gpu GPU-aaaa-1 80000000000 20000000000 37 55 210000 700000 NVIDIA H100
gpu GPU-bbbb-2 40000000000 1000000000 0 31 60000 400000 NVIDIA A100
"""
READ = "from mlguard_nb.devices.nvml import Driver\ngpus = Driver().gpus()\n"


def test_every_number_of_every_card_is_read(driver: Any) -> None:
    """Two cards come with UUID, name, memory, utilisation as a fraction, temperature and watts."""
    shown = driver.run(
        TWO,
        READ + "g = gpus[0]; print(len(gpus), g.uuid, g.name, g.total_bytes, g.used_bytes, g.free_bytes,"
        " g.utilisation, g.temperature_celsius, g.power_watts, g.power_limit_watts)",
    )
    assert shown == "2 GPU-aaaa-1 NVIDIA H100 80000000000 20000000000 60000000000 0.37 55.0 210.0 700.0"


def test_a_refused_number_is_unknown_and_the_others_stay(driver: Any) -> None:
    """No permission for power: the reason says so, and memory is still a number."""
    shown = driver.run(
        TWO + "error nvmlDeviceGetPowerUsage 4 0\n",
        READ
        + "print(gpus[0].used_bytes, type(gpus[0].power_watts).__name__, gpus[0].power_watts.reason, gpus[1].power_watts)",
    )
    assert shown.startswith("20000000000 Unknown the driver refuses power to this user")
    assert shown.endswith("60.0")


@pytest.mark.parametrize("code", [3, 13])
def test_memory_nobody_tells_is_not_zero(driver: Any, code: int) -> None:
    """A device without memory of its own (not supported) or an old driver (function not found) reads as Unknown."""
    shown = driver.run(
        TWO + f"error nvmlDeviceGetMemoryInfo {code} 1\n",
        READ + "print(*(type(v).__name__ for v in (gpus[1].total_bytes, gpus[1].used_bytes, gpus[1].free_bytes)))",
    )
    assert shown == "Unknown Unknown Unknown"


def test_no_driver_is_a_reason_with_a_next_step(driver: Any) -> None:
    """A driver that is installed and not loaded says what to do."""
    shown = driver.run(None, READ + "print(gpus.reason)")
    assert shown.startswith("the NVIDIA driver is installed but not loaded; run nvidia-smi")


def test_a_lost_card_keeps_its_name_and_the_other_card(driver: Any) -> None:
    """A card falls off the bus: its memory is unknown for that reason at once, every number of it within a second; the
    other card goes on."""
    program = """
from mlguard_nb import clock
from mlguard_nb.devices.nvml import Driver
from mlguard_nb.testing import FakeClock
clock.SYSTEM = now = FakeClock()
driver = Driver()
driver.gpus()
change(state.read_text() + "error nvmlDeviceGetHandleByIndex_v2 15 0\\nerror nvmlDeviceGetMemoryInfo 15 0\\n")
lost, other = driver.gpus()
print(lost.uuid, "lost" in lost.used_bytes.reason, other.used_bytes, *(p.pid for p in driver.processes()))
now.sleep(1.0)
lost, other = driver.gpus()
print(lost.uuid, "lost" in lost.used_bytes.reason, "lost" in lost.power_watts.reason, other.used_bytes)
"""
    told = driver.run(TWO + "process 1 77 5000\n", program).splitlines()
    assert told == ["GPU-aaaa-1 True 1000000000 77", "GPU-aaaa-1 True True 1000000000"]


def test_memory_and_utilisation_are_read_at_each_look_and_the_rest_once_a_second(driver: Any) -> None:
    """Four looks a second at eight cards would be three hundred questions, and the driver averages power over a second."""
    program = """
from mlguard_nb import clock
from mlguard_nb.devices.nvml import Driver
from mlguard_nb.testing import FakeClock
clock.SYSTEM = now = FakeClock()
driver = Driver()
def tell():
    gpu = driver.gpus()[0]
    print(gpu.used_bytes, gpu.utilisation, gpu.temperature_celsius, gpu.power_watts, gpu.name)
tell()
change(state.read_text().replace("20000000000 37 55 210000", "30000000000 99 77 500000").replace("H100", "other"))
tell()
now.sleep(1.0)
tell()
"""
    told = driver.run(TWO, program).splitlines()
    assert told == [
        "20000000000 0.37 55.0 210.0 NVIDIA H100",
        "30000000000 0.99 55.0 210.0 NVIDIA H100",
        "30000000000 0.99 77.0 500.0 NVIDIA other",
    ]


def test_a_driver_that_comes_back_is_found_without_a_restart(driver: Any) -> None:
    """The driver goes away and returns; after the pause between two tries its cards are there again."""
    program = """
from mlguard_nb import clock
from mlguard_nb.devices import Unknown
from mlguard_nb.devices.nvml import Driver

class Moved(clock.SystemClock):
    by = 0.0
    def now(self): return super().now() + self.by
now = Moved(); clock.install(now)
driver, text = Driver(retry_seconds=5), state.read_text()
print(len(driver.gpus()))
state.unlink()
print(isinstance(driver.gpus(), Unknown))
change(text)
print(isinstance(driver.gpus(), Unknown))
now.by = 6.0
print(len(driver.gpus()))
"""
    assert driver.run(TWO, program).split() == ["2", "True", "True", "2"]


def test_mig_slices_take_the_place_of_their_card(driver: Any) -> None:
    """A card cut into two slices is two devices, each with its own memory; power is the card's and unknown here."""
    state = TWO + "slice 0 MIG-1111 10000 4000 H100 MIG 1g.10gb\nslice 0 MIG-2222 20000 0 H100 MIG 2g.20gb\n"
    shown = driver.run(
        state,
        READ + "print(*(f'{g.uuid}:{g.total_bytes}:{g.used_bytes}:{g.mig}' for g in gpus), gpus[0].power_watts.reason)",
    )
    assert shown.startswith("MIG-1111:10000:4000:True MIG-2222:20000:0:True GPU-bbbb-2:40000000000:1000000000:False")
    assert shown.endswith("not for a MIG slice")
    refused = driver.run(
        state + "error nvmlDeviceGetMigDeviceHandleByIndex 4 0\n",
        READ + "print(*(getattr(g.used_bytes, 'reason', g.used_bytes) for g in gpus), sep='|')",
    )
    assert refused.startswith("the driver refuses this device to this user")
    assert refused.endswith("|1000000000")


def test_holders_whose_size_the_driver_hides_are_still_listed(driver: Any) -> None:
    """A process of another container holds an unknown amount, which is not 0."""
    shown = driver.run(
        TWO + "process 0 1234 5000\nprocess 1 77 -1\n",
        "from mlguard_nb.devices.nvml import Driver\nfor p in Driver().processes(): print(p.pid, p.uuid, getattr(p.used_bytes, 'reason', p.used_bytes))",
    )
    assert shown.splitlines() == [
        "1234 GPU-aaaa-1 5000",
        "77 GPU-bbbb-2 the driver does not tell what this process holds",
    ]


def test_a_forked_child_opens_its_own_session(driver: Any) -> None:
    """After fork the child asks the driver anew, and the parent's session goes on."""
    program = """
import os
from mlguard_nb.devices.nvml import Driver
driver = Driver()
driver.gpus()
read, write = os.pipe()
if os.fork() == 0:
    os.write(write, str(len(driver.gpus())).encode()); os._exit(0)
print(os.read(read, 10).decode(), len(driver.gpus()))
"""
    assert driver.run(TWO, program) == "2 2"


def test_importing_loads_no_driver(driver: Any) -> None:
    """Importing the package and reading host memory never touches pynvml."""
    shown = driver.run(TWO, "import sys, mlguard_nb.devices as d\nd.current().ram()\nprint('pynvml' in sys.modules)")
    assert shown == "False"


def test_a_guard_closes_and_opens_with_the_driver_s_numbers(driver: Any) -> None:
    """From the C library through pynvml and the sampler to the decorator, while another process fills the card."""
    program = """
from mlguard_nb import devices, memory_guard
from mlguard_nb.errors import MemoryPressure
@memory_guard(ram=None, gpu=0.9)
def train(): return "trained"
print(train())
text = state.read_text()
change(text.replace("80000000000 20000000000", "80000000000 79000000000") + "process 0 4000000 70000000000\\n")
sampler = devices.shared(); sampler.tick_gpus(); sampler.tick()
try: train()
except MemoryPressure as error: print(error)
change(text)
print(train())
"""
    told = driver.run(TWO, program).splitlines()
    assert told[0] == told[2] == "trained"
    assert told[1].startswith("GPU 0 (NVIDIA H100) is short: 73.6 GiB in use, stop at 67.1 GiB")
    assert "held by process 4000000 65.2 GiB" in told[1]


HANG = "hang nvmlDeviceGetMemoryInfo\n"


def test_a_driver_that_hangs_holds_no_call_up_for_ever(driver: Any) -> None:
    """From the very first call on: nobody can read the device, so calls go through with one warning, or a device that
    was named is unavailable; when the driver answers again the guard closes by its numbers."""
    program = """
import logging
logging.basicConfig(format="%(message)s")
from mlguard_nb import devices, memory_guard
from mlguard_nb.errors import DeviceUnavailable, MemoryPressure
watched = memory_guard(ram=None, gpu=0.1, need="1GB", wait_timeout=0, actions=())(lambda: "ran")
named = memory_guard(ram=None, gpu=0.1, device=0, wait_timeout=0)(lambda: "ran")
print(watched(), watched())
try: named()
except DeviceUnavailable as error: print(error)
change(state.read_text().replace("hang ", "answer "))
devices.shared().tick_gpus()
try: watched()
except MemoryPressure as error: print(error.device)
"""
    told = driver.run(TWO + HANG, "import sys; sys.stderr = sys.stdout\n" + program)
    warned, ran, unavailable, short = told.splitlines()
    assert (
        warned
        == "memory_guard cannot watch the GPUs: the driver does not answer; if nvidia-smi hangs too, reset the GPU. Calls go through."
    )
    assert ran == "ran ran"
    assert "the driver does not answer" in unavailable
    assert short == "GPU 0 (NVIDIA H100)"


def test_a_driver_that_is_slow_does_not_hold_up_the_event_loop(driver: Any) -> None:
    """While one task waits for the driver another one runs: here it is the one that lets the driver answer."""
    program = """
import asyncio
from mlguard_nb import devices, memory_guard
from mlguard_nb.errors import MemoryPressure
@memory_guard(ram=None, gpu=0.1)
async def train(): return "trained"
async def other():
    for _ in range(3): await asyncio.sleep(0)
    change(state.read_text().replace("hang ", "answer "))
async def main():
    (trained, _) = await asyncio.gather(train(), other(), return_exceptions=True)
    print(type(trained).__name__)
asyncio.run(main())
"""
    assert driver.run(TWO + HANG, program) == "MemoryPressure"
