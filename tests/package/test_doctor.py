"""doctor and top say what is so on recorded machines, and never a made-up number."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlguard_convert import doctor, top
from mlguard_nb.devices import Gpu, GpuProcess, Ram, Reading, Unknown

GIB = 2**30
CARD = Gpu("GPU-5f1c9a3e-0000", 0, "A100-SXM4-80GB", 80 * GIB, 16 * GIB, 64 * GIB, 0.97, 61.0, 312.0, 400.0)
CONTAINER = Ram(16 * GIB, 5 * GIB, "container", 3 * GIB, 1007 * GIB)
LAPTOP = Ram(15 * GIB, 9 * GIB, "machine", 1 * GIB, 15 * GIB)


class Recorded:
    """A machine that always says the same."""

    def __init__(
        self, ram: Ram, gpus: tuple[Gpu, ...] | Unknown, processes: tuple[GpuProcess, ...] | Unknown = ()
    ) -> None:
        self._ram, self._gpus, self._processes = ram, gpus, processes

    def read(self) -> Reading:
        return Reading(1_700_000_000.0, self._ram, self._gpus)

    def ram(self) -> Ram:
        return self._ram

    def gpus(self) -> tuple[Gpu, ...] | Unknown:
        return self._gpus

    def gpu_processes(self) -> tuple[GpuProcess, ...] | Unknown:
        return self._processes


class Installed(doctor.Surroundings):
    """Surroundings with chosen distributions."""

    def __init__(self, proc: Path, versions: dict[str, str] | None = None, **environment: str) -> None:
        super().__init__(environment, proc, "linux")
        object.__setattr__(self, "versions", versions or {})

    __slots__ = ("versions",)

    def version(self, distribution: str) -> str | None:
        return self.versions.get(distribution)  # type: ignore[attr-defined,no-any-return]


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A /proc where peaks can be reset and the driver says its version."""
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "clear_refs").write_text("")
    (tmp_path / "driver" / "nvidia").mkdir(parents=True)
    (tmp_path / "driver" / "nvidia" / "version").write_text("NVRM version: NVIDIA UNIX Module  560.35.03  Fri\n")
    (tmp_path / "4711").mkdir()
    return tmp_path


def states(found: tuple[doctor.Finding, ...]) -> dict[str, str]:
    return {one.subject: one.state for one in found}


def test_a_healthy_gpu_box(proc: Path) -> None:
    """Limit and use of the container, the driver, the card with what it gives, and nothing to do."""
    around = Installed(proc, {"torch": "2.9.0"})
    found = doctor.findings(Recorded(CONTAINER, (CARD,), (GpuProcess(4711, CARD.uuid, 1),)), around)
    printed = doctor.text(found, around)
    for expected in (
        " ok    RAM limit     16.0 GiB, the container's",
        "the host has 1007.0",
        "5.0 GiB working set; 3.0 GiB of file cache left out",
        "560.35.03; a memory reading takes",
        " ok    GPU 0         A100-SXM4-80GB, 80.0 GiB, GPU-5f1c9a3e",
        "gives memory, utilisation, temperature, power",
        "all: CUDA_VISIBLE_DEVICES is not set",
        "the driver's PIDs are found here",
    ):
        assert expected in printed
    assert states(found)["processes"] == "ok"


def test_a_laptop_without_a_gpu(tmp_path: Path) -> None:
    """No GPU is no failure: it is said once, and that guard lines keep their gpu=."""
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "clear_refs").write_text("")
    around = Installed(tmp_path)
    found = doctor.findings(Recorded(LAPTOP, Unknown("no NVIDIA driver (libnvidia-ml.so.1 not found)")), around)
    assert states(found)["driver"] == "none"
    assert "gpu= on a guard line is not applied here" in doctor.text(found, around)
    assert "FAIL" not in {one.state for one in found}


def test_a_broken_driver_comes_first_with_what_to_do(proc: Path) -> None:
    """What depends on it is not known, never zero; failures stand before warnings."""
    (proc / "self" / "clear_refs").unlink()
    around = Installed(proc)
    found = doctor.findings(Recorded(CONTAINER, Unknown("library and kernel module differ; reboot")), around)
    printed = doctor.text(found, around)
    assert states(found) | {"driver": "FAIL", "GPU": "–", "processes": "–", "peaks": "warn"} == states(found)
    steps = printed[printed.index("In this order") :].splitlines()[1:]
    assert steps[0].split()[:2] == ["1", "driver"]
    assert steps[-1].split()[1] == "peaks"


def test_processes_of_other_namespaces_and_hidden_devices_warn(proc: Path) -> None:
    around = Installed(proc, CUDA_VISIBLE_DEVICES="7")
    found = states(doctor.findings(Recorded(CONTAINER, (CARD,), (GpuProcess(1, CARD.uuid, 1),)), around))
    assert (found["visible"], found["processes"]) == ("warn", "warn")


def test_torch_without_cuda_on_a_gpu_box_warns(proc: Path) -> None:
    around = Installed(proc, {"torch": "2.9.0+cpu"})
    assert states(doctor.findings(Recorded(CONTAINER, (CARD,)), around))["frameworks"] == "warn"


def test_top_draws_bars_from_the_reading() -> None:
    """Used of limit, a line of the last readings, and no line wider than the terminal."""
    reading = Recorded(CONTAINER, (CARD,)).read()
    history = top.History()
    for used in (4 * GIB, Unknown("gone"), 15 * GIB):
        history.add("RAM", used, 16 * GIB)
    picture = top.picture(reading, history, None, 1.0, width=80)
    assert "5.0 of  16.0 GiB  container" in picture
    assert "16.0 of  80.0 GiB  A100" in picture
    assert "▃ █" in picture, "a reading that failed is a gap"
    assert "util   97 %" in picture
    assert max(len(line) for line in picture.splitlines()) <= 80


def test_top_without_a_reading_says_so() -> None:
    """A dash and the reason, never 0.0."""
    dead = Unknown("the driver does not answer")
    reading = Recorded(Ram(dead, dead), dead).read()
    picture = top.picture(reading, top.History(), None, 1.0)
    assert "not known" in picture
    assert "the driver does not answer" in picture
    assert "0.0" not in picture


def test_top_tells_the_whole_next_step_in_a_narrow_terminal() -> None:
    """A reason is folded at the width of the terminal, never cut off."""
    reason = "no NVIDIA driver here (libnvidia-ml was not found); install it, or start the container with --gpus all"
    reading = Reading(1_700_000_000.0, LAPTOP, Unknown(reason))
    picture = top.picture(reading, top.History(), None, 1.0, width=60)
    assert reason in " ".join(picture.split())
    assert max(len(line) for line in picture.splitlines()) <= 60
