"""The converter as a process of its own, with an end to its time and to its memory."""

from __future__ import annotations

import asyncio
import contextlib
import glob
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlguard_nb import clock as clocks
from mlguard_nb.devices import machine as machines
from mlguard_nb.devices.readings import Unknown
from mlguard_nb.runtime.wire_readings import measured
from mlguard_nb.server.on_gpus import OnGpus
from mlguard_nb.server.processes import ProcessTable
from mlguard_nb.telemetry.wire import ExportGpu, ExportMemory, Measured, as_json
from mlguard_nb.units import format_duration, format_gib

if TYPE_CHECKING:
    import psutil

    from mlguard_nb.server.exporting import ExportRequest

__all__ = ["Bounds", "lines_of"]

_KEPT_ERRORS = 4000
_PATIENCE_SECONDS = 5.0
_BETWEEN_LOOKS = 0.25
_BETWEEN_MEMORY = 2.0  # drivers are not asked for their processes more often
_DRIVER_SECONDS = 1.0
_NO_ANSWER = "the driver has not answered in time"

News = asyncio.Queue[dict[str, Any] | None]


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long a plan and an export may take, and how much of the memory that is free at its start it may hold.

    An export that compares runs the notebook twice, so its time is that of the notebook and not of the converter.
    """

    plan_seconds: float = 120.0
    export_seconds: float = 4 * 3600.0
    memory_fraction: float = 0.8

    def time(self, request: ExportRequest) -> tuple[float, str]:
        """The seconds that `request` may take, and the setting that says so."""
        return (self.plan_seconds, "plan_seconds") if request.check else (self.export_seconds, "export_seconds")

    def memory(self) -> int | None:
        """Bytes that a process started now may hold with its children; None where nobody knows what is free."""
        left = machines.current().ram().headroom_bytes
        return None if isinstance(left, Unknown) else int(left * self.memory_fraction)


async def lines_of(
    request: ExportRequest, root: Path, bounds: Bounds | None = None
) -> AsyncGenerator[dict[str, Any], None]:
    """The converter's messages as they come, and between them what it holds while it compares; the last one has
    "result" or "error". Closing this ends the process.
    """
    bounds = bounds or Bounds()
    most = bounds.memory()
    with tempfile.TemporaryFile() as errors:
        # A plain process read from a thread: the event loop of a Jupyter server on Windows cannot start one itself.
        process = subprocess.Popen(
            request.command(),
            cwd=request.notebook.parent,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        news: News = asyncio.Queue()
        reader = asyncio.create_task(_read(process, news))
        guard = asyncio.create_task(_stop_at(process, *bounds.time(request), most, news if request.verify else None))
        ended = False
        try:
            while (message := await news.get()) is not None:
                ended = ended or "result" in message or "error" in message
                yield _relative(message, root)
            status = await asyncio.to_thread(process.wait)
            if not ended:
                errors.seek(0)
                said = errors.read().decode(errors="replace").strip()[-_KEPT_ERRORS:]
                said = await guard or said or f"the converter ended with status {status} and said nothing"
                yield {"error": {"message": said}}
        finally:
            guard.cancel()
            reader.cancel()
            await _end(process)
            await asyncio.to_thread(_remove_staged, request, process.pid)


async def _read(process: subprocess.Popen[bytes], news: News) -> None:
    """Put every message of `process` into `news`, and None after the last one."""
    assert process.stdout is not None
    try:
        while line := await asyncio.to_thread(process.stdout.readline):
            message = _message(line)
            if message is not None:
                news.put_nowait(message)
    finally:
        news.put_nowait(None)


async def _stop_at(
    process: subprocess.Popen[bytes],
    seconds: float,
    setting: str,
    most: int | None,
    news: News | None,
) -> str | None:
    """End `process` with its children once it breaks a bound, and say which; None when it ends by itself.

    What it holds is put into `news`, every two seconds.
    """
    watch = clocks.current()
    started = watch.now()
    peak, told = 0, float("-inf")
    gpus: tuple[ExportGpu, ...] = ()
    while process.poll() is None:
        held = await asyncio.to_thread(_held, process.pid)
        peak = max(peak, held)
        if news is not None and held and watch.now() - told >= _BETWEEN_MEMORY:
            told = watch.now()
            gpus = await _look_at_gpus(process.pid, gpus)
            news.put_nowait({"memory": as_json(ExportMemory(held, peak, most, gpus))})
        if most is not None and held > most:
            await asyncio.to_thread(_kill, process)
            return (
                f"the converter was stopped: it held {format_gib(held)}, and {format_gib(most)} were the most that "
                "this server gave it; close other notebooks, or raise MlguardExport.memory_fraction"
            )
        if watch.now() - started > seconds:
            await asyncio.to_thread(_kill, process)
            return (
                f"the converter was stopped after {format_duration(seconds)}; "
                f"raise MlguardExport.{setting} in the server's configuration, or export without comparing"
            )
        await asyncio.sleep(_BETWEEN_LOOKS)
    return None


def _family(pid: int) -> list[psutil.Process]:
    import psutil

    try:
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    except psutil.Error:
        return []


def _held(pid: int) -> int:
    import psutil

    total = 0
    for process in _family(pid):
        with contextlib.suppress(psutil.Error):  # it has just ended
            total += process.memory_info().rss
    return total


async def _look_at_gpus(pid: int, before: tuple[ExportGpu, ...]) -> tuple[ExportGpu, ...]:
    """What `pid` holds with its children on each device; a driver that hangs must not hold up who guards the bounds."""
    try:
        return await asyncio.wait_for(asyncio.to_thread(_held_on_gpus, pid), _DRIVER_SECONDS)
    except asyncio.TimeoutError:
        return tuple(replace(gpu, held=Measured(None, _NO_ANSWER)) for gpu in before)


def _held_on_gpus(pid: int) -> tuple[ExportGpu, ...]:
    machine = machines.current()
    gpus = machine.gpus()
    if isinstance(gpus, Unknown) or not gpus:
        return ()
    on_gpus = OnGpus.seen(gpus, machine.gpu_processes(), ProcessTable().owner)
    held = on_gpus.held(frozenset(member.pid for member in _family(pid)))
    return tuple(
        ExportGpu(gpu.index, gpu.name, gpu.mig, here.used, measured(gpu.total_bytes))
        for gpu, here in zip(gpus, held, strict=True)
    )


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the converter and every process that it started: a kernel must not outlive it."""
    import psutil

    for member in reversed(_family(process.pid)):
        with contextlib.suppress(psutil.Error):
            member.kill()


async def _end(process: subprocess.Popen[bytes]) -> None:
    """Interrupt the process, so that it ends its kernel; kill it when it does not listen."""
    if process.poll() is not None:
        return
    if os.name == "posix":
        process.send_signal(signal.SIGINT)
    else:
        process.terminate()
    try:
        await asyncio.to_thread(process.wait, _PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        _kill(process)
        await asyncio.to_thread(process.wait)


def _remove_staged(request: ExportRequest, pid: int) -> None:
    """Take away the half-written package of a converter that was killed; one that ended by itself has left none."""
    if request.output is not None:
        for folder in request.output.parent.glob(f".{glob.escape(request.output.name)}-{pid}-*"):
            shutil.rmtree(folder, ignore_errors=True)


def _message(line: bytes) -> dict[str, Any] | None:
    try:
        message = json.loads(line)
    except ValueError:
        return None  # a print of the notebook's own, while it is verified
    return message if isinstance(message, dict) else None


def _relative(message: dict[str, Any], root: Path) -> dict[str, Any]:
    """Paths as the page names them, relative to the server's folder: that of a result, and those an error tells of."""
    result, error = message.get("result"), message.get("error")
    if isinstance(error, dict):
        above = f"{root.resolve()}{os.sep}"
        found = [
            {**one, "message": str(one.get("message", "")).replace(above, "")} for one in error.get("findings", ())
        ]
        said = str(error.get("message", "")).replace(above, "")
        return {**message, "error": {**error, "message": said, "findings": found}}
    if isinstance(result, dict) and isinstance(result.get("folder"), str):
        folder = Path(result["folder"])
        if folder.is_absolute() and folder.resolve().is_relative_to(root.resolve()):
            return {**message, "result": {**result, "folder": folder.resolve().relative_to(root.resolve()).as_posix()}}
    return message
