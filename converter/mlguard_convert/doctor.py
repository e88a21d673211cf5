"""`mlguard-nb doctor`: what works on this machine, what does not, and what to do about it, in this order."""

from __future__ import annotations

import json
import os
import platform
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, TextIO

from mlguard_nb import clock
from mlguard_nb.devices import Gpu, Machine, Reading, Unknown, current, frameworks
from mlguard_nb.version import __version__

__all__ = ["Finding", "findings", "print_findings", "text"]

State = Literal["ok", "warn", "FAIL", "none", "–"]
_WIDTH = 14


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. `lines` are what is so, `next_step` what to do; empty: nothing."""

    state: State
    subject: str
    lines: tuple[str, ...]
    next_step: str = ""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the report reads apart from the machine; tests bring their own."""

    environment: Mapping[str, str]
    proc: Path = Path("/proc")
    system: str = sys.platform
    dev: Path = Path("/dev")

    def version(self, distribution: str) -> str | None:
        """The installed version of a distribution, None where it is not installed."""
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            return None


def print_findings(*, as_json: bool = False, stream: TextIO | None = None) -> int:
    """Print the report on `stream` (None: standard output); 1 when something fails, else 0."""
    out = stream or sys.stdout
    around = Surroundings(os.environ)
    found = findings(current(), around)
    if as_json:
        out.write(json.dumps([asdict(one) for one in found], ensure_ascii=False) + "\n")
    else:
        out.write(text(found, around))
    return 1 if any(one.state == "FAIL" for one in found) else 0


def findings(machine: Machine, around: Surroundings) -> tuple[Finding, ...]:
    """Everything worth saying about `machine` and what is installed here."""
    machine.read()  # the first reading opens files and the driver; the second one is timed
    watch = clock.current()
    started = watch.now()
    reading = machine.read()
    seconds = watch.now() - started
    return (
        *_memory(reading),
        *_devices(machine, reading, seconds, around),
        _frameworks(reading, around),
        _watchdog(reading, around),
        _peaks(reading, around),
        *_jupyter(around),
    )


def _memory(reading: Reading) -> tuple[Finding, Finding]:
    ram = reading.ram
    if isinstance(ram.limit_bytes, Unknown) or isinstance(ram.used_bytes, Unknown):
        unknown = ram.limit_bytes if isinstance(ram.limit_bytes, Unknown) else ram.used_bytes
        assert isinstance(unknown, Unknown)
        return Finding("FAIL", "RAM limit", (unknown.reason,), unknown.reason), Finding("–", "RAM used", ("not known",))
    limit = f"{_gib(ram.limit_bytes)}, the machine's; no container, no cgroup limit"
    if ram.source == "container":
        host = "" if isinstance(ram.total_bytes, Unknown) else f"; the host has {_gib(ram.total_bytes, unit=False)}"
        version = "v2" if Path("/sys/fs/cgroup/cgroup.controllers").exists() else "v1"
        limit = f"{_gib(ram.limit_bytes)}, the container's (cgroup {version}){host}"
    cache = "" if isinstance(ram.cache_bytes, Unknown) else f"; {_gib(ram.cache_bytes)} of file cache left out"
    return (
        Finding("ok", "RAM limit", (limit,)),
        Finding("ok", "RAM used", (f"{_gib(ram.used_bytes)} working set{cache}",)),
    )


def _devices(machine: Machine, reading: Reading, seconds: float, around: Surroundings) -> tuple[Finding, ...]:
    gpus = reading.gpus
    if isinstance(gpus, Unknown):
        absent = "not found" in gpus.reason or "no NVIDIA driver" in gpus.reason or not _has_device(around)
        if absent:
            return Finding("none", "driver", (_parted(gpus.reason)[0],)), Finding("none", "GPU", ("–",))
        later = "not known until the driver answers"
        cause, step = _parted(gpus.reason)
        return (
            Finding("FAIL", "driver", (cause,), step),
            Finding("–", "GPU", (later,)),
            Finding("–", "processes", (later,)),
        )
    if not gpus:
        return Finding("ok", "driver", ("drives no device",)), Finding("none", "GPU", ("–",))
    version = _driver_version(around)
    timed = f"a memory reading takes {seconds * 1e6:.0f} µs"
    rows = [Finding("ok", "driver", (f"{version}; {timed}" if version else timed,))]
    rows.extend(_gpu(gpu) for gpu in gpus)
    rows.extend(_slices(gpus))
    rows.extend(_permissions(around))
    rows.append(_visible(gpus, around))
    processes = machine.gpu_processes()
    if isinstance(processes, Unknown):
        rows.append(
            Finding("warn", "processes", (processes.reason,), "nothing to do: memory by notebook stays unknown")
        )
    elif any(not (around.proc / str(one.pid)).exists() for one in processes):
        said = "the driver's PIDs are not all found here: part of the memory has no name"
        rows.append(
            Finding("warn", "processes", (said,), "start the container with --pid=host to see whose memory it is")
        )
    else:
        rows.append(Finding("ok", "processes", ("the driver's PIDs are found here: memory by notebook works",)))
    return tuple(rows)


def _gpu(gpu: Gpu) -> Finding:
    total = "size not known" if isinstance(gpu.total_bytes, Unknown) else _gib(gpu.total_bytes)
    named = {
        "memory": gpu.used_bytes,
        "utilisation": gpu.utilisation,
        "temperature": gpu.temperature_celsius,
        "power": gpu.power_watts,
    }
    gives = [name for name, value in named.items() if not isinstance(value, Unknown)]
    lines = (f"{gpu.name}, {total}, {gpu.uuid[:12]}", f"gives {', '.join(gives)}" if gives else "gives nothing")
    if isinstance(gpu.used_bytes, Unknown):
        cause, step = _parted(gpu.used_bytes.reason)
        return Finding("FAIL", f"GPU {gpu.index}", (*lines, cause), step)
    return Finding("ok", f"GPU {gpu.index}", lines)


def _slices(gpus: Sequence[Gpu]) -> tuple[Finding, ...]:
    slices = [gpu for gpu in gpus if gpu.mig]
    if not slices:
        return ()
    cards = len({gpu.index for gpu in slices})
    said = f"{len(slices)} slices of {cards} card{'s' if cards != 1 else ''}: memory is shown for each"
    return (Finding("ok", "MIG", (said, "utilisation and power are not: the driver counts them for the whole card")),)


def _permissions(around: Surroundings) -> tuple[Finding, ...]:
    """The device files of the driver; nothing where there are none (WSL, other systems)."""
    files = sorted(around.dev.glob("nvidia[0-9]*")) + sorted(around.dev.glob("nvidiactl"))
    closed = [file.name for file in files if not os.access(file, os.R_OK | os.W_OK)]
    if closed:
        said = f"this user may not use {', '.join(closed)} in {around.dev}: a cell cannot reach those GPUs"
        step = f"ask the administrator for access to {around.dev}/nvidia* (often the group video or render)"
        return (Finding("FAIL", "permissions", (said,), step),)
    return (Finding("ok", "permissions", ("the device files can be used",)),) if files else ()


def _visible(gpus: Sequence[Gpu], around: Surroundings) -> Finding:
    seen = frameworks.visible_devices(gpus, around.environment)
    setting = around.environment.get("CUDA_VISIBLE_DEVICES")
    if isinstance(seen, Unknown):
        return Finding("warn", "visible", (seen.reason,), "set CUDA_DEVICE_ORDER=PCI_BUS_ID")
    if setting is None:
        return Finding("ok", "visible", ("all: CUDA_VISIBLE_DEVICES is not set",))
    if not seen:
        said = f"none: CUDA_VISIBLE_DEVICES={setting} names no device"
        return Finding("warn", "visible", (said,), "unset CUDA_VISIBLE_DEVICES, or name a device that is there")
    return Finding("ok", "visible", (f"{len(seen)} of {len(gpus)}: CUDA_VISIBLE_DEVICES={setting}",))


def _frameworks(reading: Reading, around: Surroundings) -> Finding:
    has_gpu = not isinstance(reading.gpus, Unknown) and bool(reading.gpus)
    found = {name: version for name in ("torch", "jax", "tensorflow", "cupy") if (version := around.version(name))}
    if not found:
        return Finding("none", "frameworks", ("none of torch, jax, tensorflow, cupy is installed",))
    said = ", ".join(f"{name} {version}" for name, version in found.items())
    if has_gpu and "+cpu" in found.get("torch", ""):
        step = "install a torch build with CUDA, if this machine is to train"
        return Finding("warn", "frameworks", (f"torch {found['torch']} is built without CUDA",), step)
    return Finding("ok", "frameworks", (said,))


def _watchdog(reading: Reading, around: Surroundings) -> Finding:
    if not around.system.startswith("linux"):
        said = "Linux only: here a cell is checked before it starts, not while it runs"
        return Finding("none", "watchdog", (said,))
    before = "the container is killed" if reading.ram.source == "container" else "the machine swaps"
    return Finding("ok", "watchdog", (f"can stop a cell before {before}",))


def _peaks(reading: Reading, around: Surroundings) -> Finding:
    has_gpu = not isinstance(reading.gpus, Unknown) and bool(reading.gpus)
    gpu = ", GPU sampled at 10 Hz" if has_gpu else ""
    if os.access(around.proc / "self" / "clear_refs", os.W_OK):
        return Finding("ok", "peaks", (f"RAM exact{gpu}",))
    why = f"{around.proc}/self/clear_refs cannot be written here"
    step = "nothing to do: peaks are marked with ~ where sampled"
    return Finding("warn", "peaks", (f"RAM sampled: {why}{gpu}",), step)


def _jupyter(around: Surroundings) -> tuple[Finding, ...]:
    try:
        from jupyter_core.paths import jupyter_config_path, jupyter_path
    except ImportError:
        said = "Jupyter is not installed here; the guards work without it"
        return (Finding("none", "server", (said,)),)
    configured = jupyter_config_path()
    return _server(configured, around), _lab(jupyter_path("labextensions"), configured, around)


def _server(folders: Sequence[str], around: Surroundings) -> Finding:
    if around.version("jupyter_server") is None:
        return Finding("none", "server", ("jupyter-server is not installed here",))
    states: list[bool] = []
    for folder in folders:  # the first folder wins, as for the server itself
        for file in [Path(folder) / "jupyter_server_config.json", *Path(folder).glob("jupyter_server_config.d/*.json")]:
            wanted = _read_json(file).get("ServerApp", {}).get("jpserver_extensions", {}).get("mlguard_nb")
            if isinstance(wanted, bool):
                states.append(wanted)
    if not states:
        said = "extension is not installed for this Python"
        return Finding("FAIL", "server", (said,), "pip install 'mlguard-nb[lab]' into the Python that runs Jupyter")
    if not states[0]:
        return Finding(
            "FAIL", "server", ("extension is installed but off",), "jupyter server extension enable mlguard_nb"
        )
    return Finding("ok", "server", ("extension on; 1 reading a second while someone watches",))


def _lab(folders: Sequence[str], configured: Sequence[str], around: Surroundings) -> Finding:
    if around.version("jupyterlab") is None:
        return Finding("none", "JupyterLab", ("not installed here",))
    for folder in configured:  # the first folder that speaks of it wins
        file = Path(folder) / "labconfig" / "page_config.json"
        off = _read_json(file).get("disabledExtensions", {}).get("mlguard-nb")
        if off is True:
            said = f"the browser part is switched off in {file}"
            return Finding("FAIL", "JupyterLab", (said,), "jupyter labextension enable mlguard-nb")
        if off is False:
            break
    for folder in folders:
        version = _read_json(Path(folder) / "mlguard-nb" / "package.json").get("version")
        if version == __version__:
            return Finding("ok", "JupyterLab", (f"extension {version} on",))
        if version is not None:
            said = f"extension {version} in the browser part, {__version__} here"
            return Finding("warn", "JupyterLab", (said,), "reload the browser page")
    said = "the browser part is not installed for this Python"
    return Finding("FAIL", "JupyterLab", (said,), "pip install --force-reinstall --no-deps mlguard-nb")


def text(found: Sequence[Finding], around: Surroundings) -> str:
    """The report for a terminal: a line a finding, then what to do, failures first."""
    lab = around.version("jupyterlab")
    versions = [f"mlguard-nb {__version__}", f"Python {platform.python_version()}"]
    versions += [f"JupyterLab {lab}"] if lab else []
    lines = [", ".join([*versions, f"{platform.system()} {platform.machine()}"]), ""]
    for one in found:
        first, *rest = [part for line in one.lines for part in _folded(line, _WIDTH + 7)]
        lines.append(f" {one.state:<5} {one.subject:<{_WIDTH - 1}} {first}")
        lines.extend(f"{'':{_WIDTH + 7}}{line}" for line in rest)
    lines += ["", *_verdict(found)]
    return "\n".join(lines) + "\n"


def _verdict(found: Sequence[Finding]) -> list[str]:
    bad = [one for state in ("FAIL", "warn") for one in found if one.state == state]
    if not bad:
        if any(one.subject == "GPU" and one.state == "none" for one in found):
            return [
                "All is well for RAM. gpu= on a guard line is not applied here; it is kept for",
                "the machine the notebook or its package runs on.",
            ]
        return ["All is well."]
    counts = {state: sum(1 for one in bad if one.state == state) for state in ("FAIL", "warn")}
    words = [
        f"{count} {word}{'s' if count != 1 else ''}"
        for word, count in (("failure", counts["FAIL"]), ("warning", counts["warn"]))
        if count
    ]
    steps = []
    for number, one in enumerate(bad, 1):
        first, *rest = _folded(one.next_step, 17)
        steps += [f"  {number}  {one.subject:<11} {first}", *(f"{'':17}{line}" for line in rest)]
    return [f"{', '.join(words)}. In this order:", *steps]


def _folded(line: str, indent: int) -> list[str]:
    """`line` in pieces that fit a terminal of 80 columns; a path or a command is never broken."""
    return textwrap.wrap(line, 80 - indent, break_long_words=False, break_on_hyphens=False) or [""]


def _parted(reason: str) -> tuple[str, str]:
    """A driver's reason as what is so and what to do about it; a reason that names no step is both."""
    cause, _, step = reason.partition("; ")
    return cause, step or reason


def _has_device(around: Surroundings) -> bool:
    return (around.proc / "driver" / "nvidia" / "version").exists()


def _driver_version(around: Surroundings) -> str:
    try:
        words = (around.proc / "driver" / "nvidia" / "version").read_text().split()
    except OSError:
        return ""
    return next((word for word in words if word[0].isdigit() and word.count(".") >= 1), "")


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _gib(count: float, *, unit: bool = True) -> str:
    return f"{count / 2**30:.1f}{' GiB' if unit else ''}"
