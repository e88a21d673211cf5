"""make demo: run the example notebooks behind their guards, take one out as a package, and compare every value.

Every line of the account is read from what happened: the events that the guards emitted in the kernel, the views
stored in the executed notebooks, and the values of the notebook and of the installed package.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
NOTEBOOKS = ("quickstart", "flaky_features", "gpu_memory", "messy_research")
EXPORTED = "messy_research"
VIEW = "application/vnd.mlguard.view+json"
NOT_IN_PRODUCTION = ("IPython", "ipykernel", "jupyter_client", "jupyterlab", "nbformat", "libcst")

# Runs in the kernel before the first cell and after the last: counts every event the guards emit, by its class.
LISTEN = """
import collections as _collections
from mlguard_nb.telemetry import bus as _bus
_demo_events = _collections.Counter()
_demo_stop = _bus.subscribe(lambda event: _demo_events.update({type(event).__name__: getattr(event, "count", 1)}))
"""
TELL = "(_bus.flush(), dict(_demo_events))[1]"

# What the demo promises to show: the words of the account, and the events that prove it.
SHOWN = {
    "attempts that failed and were tried again": ("RetryScheduled",),
    "results taken from the cache": ("CacheHit",),
    "times bad input was refused, with every reason": ("InputRefused",),
    "times there was no memory, and the kernel lived on": ("MemoryRefused",),
    "calls counted and timed by monitor": ("CallFinished",),
}


class DemoFailed(Exception):
    """Something the demo promises did not happen; the message says what."""


@dataclass
class Account:
    """What one executed notebook showed."""

    name: str
    seconds: float = 0.0
    events: Counter[str] = field(default_factory=Counter)
    guarded: list[tuple[str, str, str]] = field(default_factory=list)  # cell name, its line, what the view says
    again: str = ""  # the line of the cell that was run a second time, for its cache


def say(text: str = "") -> None:
    print(text, flush=True)


def progress(text: str) -> None:
    """One line that is written over on a terminal, and left out of a log."""
    if sys.stdout.isatty():
        print(f"\r\033[K{text}", end="", flush=True)


def run_notebook(name: str, folder: Path) -> Account:
    """Execute one notebook in a real ipykernel, as Jupyter would, and store the executed copy in `folder`."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(HERE / f"{name}.ipynb", as_version=4)
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(HERE)}})
    account, started = Account(name), time.monotonic()
    code = [index for index, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    with (folder / f"{name}.kernel.log").open("w") as log, client.setup_kernel(stderr=log):
        evaluate(client, LISTEN, "None")
        for position, index in enumerate(code, start=1):
            progress(f"  {name}: cell {position} of {len(code)}")
            client.execute_cell(notebook.cells[index], index)
        again = next((i for i in code if " cache=" in first_line(notebook.cells[i])), None)
        if again is not None:
            progress(f"  {name}: a cached cell once more")
            client.execute_cell(notebook.cells[again], again)
            account.again = first_line(notebook.cells[again]).removeprefix("%%guard").strip()
        account.events.update(evaluate(client, "", TELL))
    progress("")
    account.seconds = time.monotonic() - started
    account.guarded = [view_of(cell) for cell in notebook.cells if first_line(cell).startswith("%%guard")]
    nbformat.write(notebook, folder / f"{name}.ipynb")
    return account


def first_line(cell: dict) -> str:
    return cell["source"].partition("\n")[0] if cell["cell_type"] == "code" else ""


def evaluate(client: object, code: str, expression: str) -> dict:
    """Run `code` beside the notebook in its kernel; the value of `expression`, which must be a plain dict or None."""
    import ast

    message = client.kc.execute(code, silent=False, store_history=False, user_expressions={"value": expression})
    reply = client.wait_for_reply(message)["content"]
    value = reply.get("user_expressions", {}).get("value", {})
    if reply["status"] != "ok" or value.get("status") != "ok":
        raise DemoFailed(f"the kernel did not answer {expression!r}: {reply.get('evalue') or value.get('evalue')}")
    return ast.literal_eval(value["data"]["text/plain"]) or {}


def view_of(cell: dict) -> tuple[str, str, str]:
    """A guarded cell's name, its line and the sentence of its stored view."""
    line = first_line(cell).removeprefix("%%guard").strip()
    for output in cell["outputs"]:
        view = output.get("data", {}).get(VIEW)
        if view:
            return view.get("name") or line, line, output["data"].get("text/plain", "").strip().splitlines()[-1]
    raise DemoFailed(f"the guarded cell `{line}` left no view in the notebook")


def command(*words: object, **options: object) -> str:
    """Run a command; its output, or DemoFailed with the end of it."""
    done = subprocess.run(
        [str(word) for word in words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        **options,
    )
    if done.returncode:
        raise DemoFailed(f"`{' '.join(map(str, words))}` ended with {done.returncode}:\n{done.stdout[-3000:]}")
    return done.stdout


def export(folder: Path) -> Path:
    """The exported package of the messy notebook."""
    target = folder / EXPORTED
    shutil.rmtree(target, ignore_errors=True)
    command(sys.executable, "-m", "mlguard_convert", "export", HERE / f"{EXPORTED}.ipynb", "--output", target)
    return target


def install(package: Path, wheels: Path, folder: Path, uv: str) -> Path:
    """Build the package, and install it with nothing but the runtime beneath; the new environment's interpreter."""
    environment = folder / "production"
    python = environment / "bin" / "python"
    command(uv, "build", "--quiet", "--wheel", "--python", sys.executable, "--out-dir", folder / "wheels", package)
    command(uv, "venv", "--quiet", "--clear", "--python", sys.executable, environment)
    # By path: an installer may remember another wheel of the same version from a folder it only looks into.
    ours, wheel = next(wheels.glob("mlguard_nb-*.whl")), next((folder / "wheels").glob(f"{EXPORTED}-*.whl"))
    command(uv, "pip", "install", "--quiet", "--python", python, ours, wheel)
    find = f"import importlib.util as u; print([m for m in {NOT_IN_PRODUCTION} if u.find_spec(m)])"
    found = command(python, "-c", find, cwd=folder).strip()
    if found != "[]":
        raise DemoFailed(f"the package's environment holds {found}, which production must not need")
    return python


def compare(package: Path, python: Path) -> bool:
    """Run notebook and installed package, and print every final value beside the other."""
    from mlguard_convert.verify import verify

    done = verify(
        HERE / f"{EXPORTED}.ipynb", package, python=str(python), progress=lambda text, *_: progress(f"  {text}")
    )
    progress("")
    width = max(len(row.name) for row in done.rows)
    for row in done.rows:
        sign = {True: "equal", False: "DIFFERS", None: "apart"}[row.equal]
        say(f"    {row.name:<{width}}  {sign:<9}  {row.notebook:<34}  {row.detail if row.equal is None else row.how}")
    return bool(done.ok and done.rows)


def tell(account: Account) -> None:
    say(f"  {account.name}.ipynb, {account.seconds:.1f} s")
    for name, line, sentence in account.guarded:
        say(f"    {name}: %%guard {line}")
        say(f"      {'run twice; the second time: ' if line == account.again else ''}{sentence}")


def main() -> int:
    """Run the demo; 0 only if everything it promises happened."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheels", type=Path, required=True, help="folder of the built mlguard-nb wheel")
    parser.add_argument("--folder", type=Path, default=Path("build/demo"), help="where everything is written")
    options = parser.parse_args()
    folder, wheels = options.folder.resolve(), options.wheels.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # for `!pip` in a notebook
    started = time.monotonic()
    try:
        return demo(folder, wheels, os.environ.get("UV") or "uv", started)
    except DemoFailed as failure:
        say(f"\ndemo failed: {failure}")
        return 1


def demo(folder: Path, wheels: Path, uv: str, started: float) -> int:
    say("1. Run four notebooks behind their guards, each in a kernel of its own")
    accounts = []
    for name in NOTEBOOKS:
        accounts.append(run_notebook(name, folder))
        tell(accounts[-1])
    events = sum((account.events for account in accounts), Counter())
    say("\n2. What the guards caught")
    for words, names in SHOWN.items():
        count = sum(events[name] for name in names)
        say(f"    {count:>4} {words}")
        if not count:
            raise DemoFailed(f"the notebooks should show {words}, and showed none (events: {dict(events)})")
    say(f"\n3. Take {EXPORTED}.ipynb out of the notebook")
    package = export(folder)
    modules = sorted((package / "src").rglob("*.py"))
    lines = sum(len(module.read_text().splitlines()) for module in modules)
    say(f"    {os.path.relpath(package)}: {len(modules)} modules, {lines} lines")
    python = install(package, wheels, folder, uv)
    say(f"    installed in {os.path.relpath(python.parent.parent)}: no IPython, no Jupyter, no libcst there")
    say("\n4. The notebook's final values beside the package's")
    if not compare(package, python):
        raise DemoFailed("the package does not compute what the notebook computes")
    say(f"\nDone in {time.monotonic() - started:.0f} s. Executed notebooks: {os.path.relpath(folder)}/*.ipynb")
    say("Open the notebooks in JupyterLab, with the panel and the export button: make lab")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
