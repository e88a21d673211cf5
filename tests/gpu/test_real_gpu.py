"""What only a real driver can show: `make gpu-check` on a machine with an NVIDIA GPU. Elsewhere these are skipped."""

from __future__ import annotations

import time
from typing import Any

import pytest

from mlguard_nb import MemoryPressure, devices, memory_guard, retry
from mlguard_nb.devices import Unknown
from mlguard_nb.devices.frameworks import allocated_bytes, is_out_of_memory, visible_devices
from mlguard_nb.devices.readings import Gpu

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def gpus() -> tuple[Gpu, ...]:
    found = devices.current().gpus()
    if isinstance(found, Unknown) or not found:
        pytest.skip(f"no NVIDIA GPU answers here: {found.reason if isinstance(found, Unknown) else 'none is visible'}")
    return found


@pytest.fixture
def torch(gpus: tuple[Gpu, ...]) -> Any:
    module = pytest.importorskip("torch", reason="torch is not installed; `make test-frameworks` installs it")
    if not module.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    return module


def test_every_reading_is_a_number_or_says_why_not(gpus: tuple[Gpu, ...]) -> None:
    for gpu in gpus:
        assert gpu.uuid.startswith(("GPU-", "MIG-"))
        assert not isinstance(gpu.total_bytes, Unknown)
        assert not isinstance(gpu.used_bytes, Unknown)
        assert 0 <= gpu.used_bytes <= gpu.total_bytes
        for value in (gpu.utilisation, gpu.temperature_celsius, gpu.power_watts):
            assert isinstance(value, float) or (isinstance(value, Unknown) and value.reason)


def test_processes_are_told_or_the_reason(gpus: tuple[Gpu, ...]) -> None:
    found = devices.current().gpu_processes()
    assert isinstance(found, (tuple, Unknown))


def test_a_tick_of_the_readings_is_cheap(gpus: tuple[Gpu, ...]) -> None:
    """Printed, not asserted: the design reckons 12 microseconds for each device's memory."""
    machine = devices.current()
    machine.gpus()
    started = time.perf_counter()
    for _ in range(100):
        machine.gpus()
    print(f"\n{(time.perf_counter() - started) * 1e4:.0f} us for {len(gpus)} devices")


def test_torchs_numbering_is_mapped_by_uuid(gpus: tuple[Gpu, ...], torch: Any) -> None:
    visible = visible_devices(gpus)
    assert not isinstance(visible, Unknown)
    ours = [uuid.removeprefix("GPU-").lower() for uuid in visible]
    theirs = [str(torch.cuda.get_device_properties(i).uuid).lower() for i in range(torch.cuda.device_count())]
    assert ours == [uuid.removeprefix("gpu-") for uuid in theirs]


def test_an_allocation_is_seen_by_driver_and_framework(gpus: tuple[Gpu, ...], torch: Any) -> None:
    uuid = visible_devices(gpus)[0]  # type: ignore[index]
    before = next(gpu for gpu in gpus if gpu.uuid == uuid).used_bytes
    block = torch.ones(2**28, dtype=torch.float32, device="cuda:0")  # 1 GiB
    torch.cuda.synchronize()
    now: Any = devices.current().gpus()
    after = next(gpu for gpu in now if gpu.uuid == uuid).used_bytes
    assert after - before >= 2**30
    assert allocated_bytes(uuid) >= 2**30
    del block
    torch.cuda.empty_cache()


def test_a_real_out_of_memory_is_known_and_halving_finds_what_fits(gpus: tuple[Gpu, ...], torch: Any) -> None:
    total = torch.cuda.get_device_properties(0).total_memory

    @retry(attempts=8, wait_initial=0, wait_max=0.01, on_oom="halve:size")
    def allocate(size: int) -> int:
        return int(torch.empty(size, dtype=torch.uint8, device="cuda:0").numel())

    assert 0 < allocate(total * 4) < total
    with pytest.raises(Exception) as caught:
        torch.empty(total * 4, dtype=torch.uint8, device="cuda:0")
    assert is_out_of_memory(caught.value)
    torch.cuda.empty_cache()


def test_the_guard_refuses_above_its_ceiling(gpus: tuple[Gpu, ...], torch: Any) -> None:
    block = torch.ones(2**28, dtype=torch.float32, device="cuda:0")
    torch.cuda.synchronize()

    @memory_guard(ram=None, gpu="512MB", actions=())
    def step() -> None:
        raise AssertionError

    devices.shared().tick()
    devices.shared().tick_gpus()
    with pytest.raises(MemoryPressure):
        step()
    del block
    torch.cuda.empty_cache()
