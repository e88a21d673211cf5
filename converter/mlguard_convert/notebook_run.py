"""A notebook executed from top to bottom in a fresh kernel, and every name it ends with as plain data."""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import pickle
import re
import sys
import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from mlguard_nb.devices.host import peak_bytes
from mlguard_nb.devices.readings import Unknown
from mlguard_nb.errors import MissingExtra
from mlguard_nb.pipeline.portable import Portable

__all__ = ["NotebookRun", "run_notebook"]

# The notebook may have bound any name, builtins too, so the line reads none that a notebook binds.
_LINE = "__import__('mlguard_convert.kernel_values').kernel_values.{}(__import__('IPython').get_ipython(), *{!r})"


@dataclass(frozen=True, slots=True)
class NotebookRun:
    """What the notebook ended with. `error` names the cell that failed, None when all ran; then `values` is whole.
    `executed` is the notebook's file with its new outputs, as text. `peak_bytes` is what its kernel held at most.
    """

    values: dict[str, Portable]
    seconds: float
    error: str | None = None
    executed: str = ""
    peak_bytes: int | None = None


def run_notebook(
    path: Path,
    folder: Path,
    *,
    skip: Collection[int] = (),
    order: Sequence[int] | None = None,
    own: Sequence[str] = (),
    shown: bool = True,
    timeout: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> NotebookRun:
    """Execute the code cells of the notebook at `path` with `folder` as the working directory.

    The kernel is this interpreter's, whatever kernel the notebook names. `skip` leaves out code cells by number,
    `order` runs them in another order; `own` are helper modules whose classes count as the notebook's. Without `shown`
    no object is asked how it wants to be shown. Cells tagged raises-exception may fail. `timeout` is of one cell, in
    seconds. `progress` is told (cells done, of how many). MissingExtra without nbclient or ipykernel.
    """
    try:
        import ipykernel  # noqa: F401
        import nbformat
        from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
        from jupyter_client.manager import AsyncKernelManager
        from nbclient import NotebookClient
    except ImportError as error:
        raise MissingExtra("--verify", "lab,convert") from error

    class OwnKernel(KernelSpecManager):
        """The kernel of this interpreter under every name."""

        def get_kernel_spec(self, kernel_name: str) -> Any:
            command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--log-level=ERROR"]
            return KernelSpec(argv=command, display_name="Python", language="python", env={})

    text = path.read_bytes().decode("utf-8-sig", "replace")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a cell without an id: nbformat gives it one, and says so at length
        notebook: Any = nbformat.reads(text, as_version=4)  # type: ignore[no-untyped-call]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    chosen = [number for number in (order or range(1, len(code) + 1)) if number not in skip]
    manager = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=OwnKernel())
    place = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, km=manager, timeout=timeout, resources=place, shutdown_kernel="immediate")
    started = monotonic()
    try:
        cells = [(number, code[number - 1]) for number in chosen]
        return asyncio.run(_run(client, cells, folder, own, shown, progress))
    except RuntimeError as error:  # what jupyter-client raises while it waits for a new kernel
        atexit.unregister(client._cleanup_kernel)  # there is none, of which nbclient would complain at the end
        return NotebookRun({}, monotonic() - started, f"the notebook's kernel does not start: {error}")


_FROM = re.compile(r"^\s*from\s+([\w.]+)\s+import\s+(\*|\([^)]*\)|[^\n#;]+)", re.MULTILINE)


def _imported(cells: Sequence[tuple[int, Any]]) -> tuple[tuple[str, ...], tuple[tuple[str, str, str], ...]]:
    """The modules of star imports, and each other import from a module as (name, module, attribute)."""
    stars: dict[str, None] = {}
    single: dict[tuple[str, str, str], None] = {}
    for _, cell in cells:
        for module, names in _FROM.findall(cell.source):
            if names == "*":
                stars[module] = None
                continue
            for one in re.sub(r"#[^\n]*|[()\\]", " ", names).split(","):
                words = one.split()
                if words:
                    single[words[-1], module, words[0]] = None
    return tuple(stars), tuple(single)


async def _run(
    client: Any,
    cells: Sequence[tuple[int, Any]],
    folder: Path,
    own: Sequence[str],
    shown: bool,
    progress: Callable[[int, int], None] | None,
) -> NotebookRun:
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    started = monotonic()
    dump = folder.parent / f"{folder.name}-values.pickle"
    current = 0
    peak: int | None = None
    # nbclient ends only kernels whose manager it has made itself, unless it is told to.
    async with client.async_setup_kernel(env={**os.environ, "PYTHONHASHSEED": "0"}, cleanup_kc=True):
        if not shown:
            await _tell(client, "show_nothing")
        try:
            for done, (number, cell) in enumerate(cells):
                current = number
                if progress is not None:
                    progress(done, len(cells))
                if cell.source.strip():
                    await client.async_execute_cell(cell, client.nb.cells.index(cell))
                peak = _higher(peak, client)
        except CellExecutionError as error:
            reason = f"{error.ename}: {error.evalue}".splitlines()[0]
            failed = f"cell {current} of the notebook fails: {reason}"
            return NotebookRun({}, monotonic() - started, failed, peak_bytes=_higher(peak, client))
        except (CellTimeoutError, DeadKernelError) as error:
            reason = str(error).splitlines()[0]
            ended = f"cell {current} of the notebook ended its kernel: {reason}"
            return NotebookRun({}, monotonic() - started, ended, peak_bytes=peak)
        seconds = monotonic() - started
        stars, single = _imported(cells)
        content = await _tell(client, "dump", str(dump), ("__main__", *own), stars, single)
        if content["status"] != "ok":
            return NotebookRun({}, seconds, f"its values could not be read: {content['ename']}: {content['evalue']}")
    try:
        values = pickle.loads(dump.read_bytes())
        return NotebookRun(values, seconds, executed=json.dumps(client.nb), peak_bytes=peak)
    finally:
        dump.unlink(missing_ok=True)


async def _tell(client: Any, what: str, *arguments: Any) -> dict[str, Any]:
    """Call a function of `kernel_values` in the kernel: what its reply holds."""
    line = _LINE.format(what, arguments)
    reply = await client.kc.execute_interactive(line, store_history=False, silent=True, output_hook=lambda _: None)
    content: dict[str, Any] = reply["content"]
    return content


def _higher(peak: int | None, client: Any) -> int | None:
    """`peak`, or the kernel's own peak where that is higher; a guarded cell begins to count anew."""
    process: int | None = getattr(client.km.provisioner, "pid", None)
    found = Unknown("no process here") if process is None else peak_bytes(process)
    return peak if isinstance(found, Unknown) else max(found, peak or 0)
