"""doctor says what is so on recorded machines, and never a made-up number."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlguard_convert import doctor
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


def test_slices_and_device_files_are_told(proc: Path, tmp_path: Path) -> None:
    """MIG says what it gives; a device file that this user may not open is a failure that names it."""
    around = Installed(proc)
    part = Gpu(
        "MIG-1", 0, "A100 MIG 3g.40gb", 39 * GIB, 0, 39 * GIB, Unknown("-"), 40.0, Unknown("-"), Unknown("-"), True
    )
    object.__setattr__(around, "dev", tmp_path / "dev")
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "nvidia0").write_text("")
    found = doctor.findings(Recorded(CONTAINER, (part,)), around)
    assert (states(found)["MIG"], states(found)["permissions"]) == ("ok", "ok")
    assert "1 slices of 1 card: memory is shown for each" in doctor.text(found, around)
    (tmp_path / "dev" / "nvidia1").symlink_to(tmp_path / "gone")
    found = doctor.findings(Recorded(CONTAINER, (part,)), around)
    assert states(found)["permissions"] == "FAIL"
    assert "may not use nvidia1" in doctor.text(found, around)


def test_a_browser_part_that_is_switched_off_is_a_failure(
    proc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Installed and disabled: the panel never appears, so doctor says where it was switched off, and how to undo it."""
    config = tmp_path / "config"
    (config / "labconfig").mkdir(parents=True)
    page = config / "labconfig" / "page_config.json"
    page.write_text('{"disabledExtensions": {"mlguard-nb": true}}')
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", str(config))
    around = Installed(proc, {"jupyterlab": "4.6.0"})
    found = next(one for one in doctor.findings(Recorded(CONTAINER, ()), around) if one.subject == "JupyterLab")
    assert found.state == "FAIL"
    assert str(page) in found.lines[0]
    assert found.next_step == "jupyter labextension enable mlguard-nb"
