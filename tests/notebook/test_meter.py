"""What one run takes of a machine, on machines that are values."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from mlguard_nb.devices.readings import Gpu, Ram, Reading, Unknown
from mlguard_nb.errors import DeviceUnavailable, PolicyError
from mlguard_nb.notebook import cell_memory, device_shares, peaks
from mlguard_nb.notebook.meter import Meter
from mlguard_nb.policy.values import MemoryPolicy
from mlguard_nb.testing import FakeClock
from tests.notebook.states import gib, gpu


class _Sampler:
    """A sampler that is told its readings."""

    def __init__(self, reading: Reading) -> None:
        self.latest = reading
        self._told: Callable[[Reading], None] | None = None

    def subscribe(self, told: Callable[[Reading], None]) -> Callable[[], None]:
        self._told = told
        return lambda: setattr(self, "_told", None)

    def tick(self) -> Reading:
        return self.latest

    def with_devices(self) -> Reading:
        return self.latest

    def next(self, reading: Reading) -> None:
        self.latest = reading
        if self._told is not None:
            self._told(reading)


def _reading(used: float, device: float | None = None) -> Reading:
    gpus = () if device is None else (Gpu("GPU-1", 0, "A100", gib(80), gib(device), gib(80 - device)),)
    return Reading(0.0, Ram(gib(16), gib(used), "container"), gpus)


def _meter(first: Reading, policy: MemoryPolicy | None) -> tuple[Meter, _Sampler, FakeClock]:
    sampler, clock = _Sampler(first), FakeClock()
    meter = Meter(sampler, policy, clock.now)  # type: ignore[arg-type]
    meter.start()
    return meter, sampler, clock


def test_shares_become_bytes_of_each_device() -> None:
    """mem=0.8 of 16 GiB and gpu=0.9 of 80 GiB."""
    meter, _, _ = _meter(_reading(4, 6), MemoryPolicy(ram=0.8, gpu=0.9))
    ram_now, gpu_now = meter.devices()

    assert ram_now.stop == int(gib(16) * 0.8) and gpu_now.stop == int(gib(80) * 0.9)
    assert ram_now.binds == "container limit" and ram_now.asked == "mem=0.8" and gpu_now.asked == "gpu=0.9"


def test_the_peak_of_a_device_is_the_highest_reading() -> None:
    """A device has no high-water mark: its peak is sampled, and says so."""
    meter, sampler, clock = _meter(_reading(4, 6), MemoryPolicy(gpu=0.9))
    for used in (20, 40, 10):
        clock.sleep(1)
        sampler.next(_reading(4, used))
    meter.stop()
    device = meter.devices()[1]

    assert device.peak_used == gib(40) and device.peak_kind == "sampled" and device.start_used == gib(6)
    assert [used for _, used in device.history] == [gib(6), gib(20), gib(40), gib(10)]


def test_nothing_is_counted_after_the_end() -> None:
    """Readings after stop() belong to the next cell."""
    meter, sampler, _ = _meter(_reading(4), None)
    meter.stop()
    before = meter.devices()[0].history
    sampler.next(_reading(15))

    assert meter.devices()[0].history == before


def test_a_gap_stays_a_gap() -> None:
    """A reading that failed is None in the line, not 0."""
    meter, sampler, clock = _meter(_reading(4), None)
    clock.sleep(1)
    sampler.next(Reading(0.0, Ram(gib(16), Unknown("torn"), "container"), ()))

    assert meter.devices()[0].history[-1] == (1.0, None)
    assert meter.devices()[0].reason == "torn"


def test_a_missing_gpu_says_why_only_where_it_was_asked_for() -> None:
    """gpu=0.9 without a driver is a row with the reason; without gpu= there is no row."""
    reading = Reading(0.0, Ram(gib(16), gib(4)), Unknown("no driver"))

    asked = _meter(reading, MemoryPolicy(gpu=0.9))[0].devices()
    plain = _meter(reading, MemoryPolicy())[0].devices()
    assert asked[1].reason == "no driver" and asked[1].used is None
    assert len(plain) == 1


def test_a_long_run_keeps_a_bounded_line() -> None:
    """Hours at 10 Hz do not fill the kernel."""
    meter, sampler, clock = _meter(_reading(4), None)
    for _ in range(5000):
        clock.sleep(0.1)
        sampler.next(_reading(4))

    assert len(meter.devices()[0].history) <= 1201


def test_own_peaks_are_exact_on_linux() -> None:
    """VmHWM sees a spike that came and went between two readings."""
    if not peaks.reset_peak():
        pytest.skip("NOT TESTED: this system does not let a process reset its high-water mark")
    before = peaks.own_bytes()
    spike = bytearray(64 << 20)
    del spike
    after = peaks.own_peak_bytes()

    assert before is not None and after is not None
    assert after - before >= 60 << 20


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has RLIMIT_DATA count this")
def test_what_the_limit_on_data_counts_is_read_from_the_short_file() -> None:
    """statm says the same as VmData and VmStk of status, which takes three times as long to read."""
    buffer = bytearray(64 << 20)  # so that data is not the few pages that a mistaken column would hold
    read = peaks.data_bytes()
    lines = Path("/proc/self/status").read_text().splitlines()
    said = sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("VmData:", "VmStk:")))

    assert len(buffer) and read is not None and abs(read - said) <= 1 << 20


def test_a_named_device_is_the_only_one_with_a_stop() -> None:
    """device=1: what fills GPU 0 stops nothing; a device that is not there is said to be missing."""
    cards = tuple(Gpu(f"GPU-{at}", at, "A100", gib(80), gib(used), gib(80 - used)) for at, used in enumerate((79, 1)))
    first = Reading(0.0, Ram(gib(16), gib(4), "container"), cards)
    policy = MemoryPolicy(gpu=0.9, device=1, need="10GiB")  # type: ignore[arg-type]
    meter, _, _ = _meter(first, policy)
    meter.check_device()

    _, other, named = meter.devices()
    assert (other.stop, other.asked) == (None, None) and named.stop == int(gib(80) * 0.9)
    assert not cell_memory.is_needed_on(policy, other) and cell_memory.is_needed_on(policy, named)
    assert cell_memory.pressure(policy, meter.devices()) is None
    with pytest.raises(DeviceUnavailable, match="this process sees 2 device"):
        _meter(first, MemoryPolicy(gpu=0.9, device=2))[0].check_device()


def test_pressure_names_the_device_and_the_next_step() -> None:
    """The first device over its stop, who holds it, and what to do."""
    found = cell_memory.pressure(MemoryPolicy(gpu=0.9), [gpu(72.5, 2.1)])

    assert found is not None and found.device == "GPU 0" and found.limit == gib(72)
    assert "GPU 0 is short" in str(found) and "Next:" in str(found)
    assert cell_memory.pressure(MemoryPolicy(gpu=0.9), [gpu(71.9, 2.1)]) is None


def test_need_counts_before_the_cell_begins() -> None:
    """What the cell will ask for must fit below the stop."""
    policy = MemoryPolicy(gpu=0.9, need="10GiB")  # type: ignore[arg-type]

    assert cell_memory.pressure(policy, [gpu(65, 1)]) is not None
    assert cell_memory.pressure(policy, [gpu(61, 1)]) is None


def test_what_never_fits_asks_for_less() -> None:
    """Nobody is asked to free memory where the whole device is too small for what is needed."""
    found = cell_memory.pressure(MemoryPolicy(gpu=0.9, need="100TB"), [gpu(1, 1)])  # type: ignore[arg-type]

    assert found is not None and found.next_step.startswith("ask for less: asked for")
    assert "it can never fit below the stop of 72" in str(found)


def test_what_others_were_promised_counts() -> None:
    """A device with room is full where its room is promised to another guarded call."""
    policy = MemoryPolicy(gpu=0.9)

    assert cell_memory.pressure(policy, [gpu(60, 1)]) is None
    assert cell_memory.pressure(policy, [gpu(60, 1)], {"GPU-1": gib(13)}) is not None


@pytest.mark.parametrize(("value", "expected"), [(64, 32), (3, 1), (1, None), (0, None)])
def test_halving_ends_at_one(value: int, expected: int | None) -> None:
    """Whole numbers only, never below 1."""
    assert cell_memory.halved("batch", value) == expected


@pytest.mark.parametrize("value", [1.5, True, "64", [1, 2]])
def test_halving_refuses_what_is_no_count(value: object) -> None:
    """Half of a share or of a text means nothing."""
    with pytest.raises(PolicyError, match="whole number"):
        cell_memory.halved("batch", value)


def test_a_fallback_must_return_names() -> None:
    """A fallback that returns a bare value is told what to return."""
    with pytest.raises(PolicyError, match="must return a dict"):
        cell_memory.fall_back(lambda: 3, {})
    with pytest.raises(PolicyError, match="no 'rows' here"):
        cell_memory.fall_back(lambda rows: {}, {})


def test_torch_may_take_its_share_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the cell runs, torch is held to the stop less what others use; afterwards it has its share again."""
    shares: list[float] = []
    cuda = types.SimpleNamespace(
        is_available=lambda: True, is_initialized=lambda: True, device_count=lambda: 1,
        get_device_properties=lambda index: types.SimpleNamespace(uuid="1"),
        memory_reserved=lambda index: 10 << 30,
        set_per_process_memory_fraction=lambda share, index: shares.append(share),
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(cuda=cuda))  # type: ignore[arg-type]

    lowered = device_shares.lower([gpu(30, 10)])
    device_shares.restore(lowered)

    assert shares == [pytest.approx((72 - 20) / 80), 1.0]
    assert [one.uuid for one in lowered] == ["GPU-1"]
