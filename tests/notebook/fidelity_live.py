"""The checks of a guarded cell that need more than one answer: a debugger, a file that changes, requests, a terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.notebook.kernels import ROOT, Kernel


def _events_fire_once(kernel: Kernel) -> str:
    kernel.run(
        "fired = []\nfor name in ('pre_execute', 'pre_run_cell', 'post_execute', 'post_run_cell'):\n"
        "    get_ipython().events.register(name, lambda *a, name=name: fired.append(name))"
    )
    kernel.run("fired.clear()")
    kernel.run(
        "%%guard retry=2 wait=0s\nif not fired.count('seen'):\n    fired.append('seen')\n    raise OSError\nfired.clear()"
    )
    told = kernel.run("fired[:2]").result
    return "" if told == "['post_execute', 'post_run_cell']" else f"fired {told}"


def _autoreload(kernel: Kernel) -> str:
    kernel.run(
        "import sys, tempfile, os, pathlib\nfolder = pathlib.Path(tempfile.mkdtemp()); sys.path.insert(0, str(folder))\n"
        "(folder / 'changing.py').write_text('v = 1')\n%load_ext autoreload\n%autoreload 2\nimport changing"
    )
    kernel.run("(folder / 'changing.py').write_text('v = 22')\nos.utime(folder / 'changing.py', (9e9, 9e9))")
    told = kernel.run("%%guard\nchanging.v").result
    return "" if told == "22" else f"saw {told}"


def _completion(kernel: Kernel) -> str:
    kernel.run("ordinary_name = 1")

    def matches(code: str) -> list[str]:
        return list(kernel.reply_to(kernel.client.complete(code, len(code)))["matches"])

    plain, guarded, options = matches("ordinary_na"), matches("%%guard\nordinary_na"), matches("%%guard retr")
    # ipykernel 6.31 with IPython 8.39 completes no name of the user, in any cell.
    right = guarded == plain and any("retry=" in match for match in options)
    return "" if right else f"{plain} {guarded} {options}"


def _inspection(kernel: Kernel) -> str:
    kernel.run("%%guard scope=cell\ndef documented():\n    '''Told here.'''")
    told = str(kernel.reply_to(kernel.client.inspect("documented", 5))["data"])
    asked = kernel.run("%%guard?")
    page = str(asked.reply.get("payload")) + asked.stdout
    return "" if "Told here." in told and "retry" in page and "patience" in page else f"{told[:200]} {page[:200]}"


def _is_complete(kernel: Kernel) -> str:
    def asked(code: str) -> str:
        return str(kernel.reply_to(kernel.client.is_complete(code))["status"])

    told = (asked("%%guard\nx = 1"), asked("%%time\nx = 1"))
    return "" if told[0] == told[1] else f"{told}"


def _post_mortem(kernel: Kernel) -> str:
    kernel.run("%%guard\ndef inner():\n    secret = 77\n    raise ValueError\ninner()")
    told = kernel.run("%debug", answer_input=("p secret + 1", "up", "q"))
    return "" if "78" in told.stdout and "mlguard_nb" not in told.stdout else told.stdout + told.traceback


def _set_trace(kernel: Kernel) -> str:
    kernel.run("from IPython.core.debugger import set_trace")
    told = kernel.run("%%guard\nvalue = 5\nset_trace()\nvalue + 1", answer_input=("p value * 100", "c"))
    return "" if "500" in told.stdout and told.result == "6" else f"{told.stdout}{told.stderr} {told.result}"


def _debug_adapter(kernel: Kernel) -> str:
    """The debugger of JupyterLab: a breakpoint on a line of a guarded cell stops there, with the cell's names."""
    sequence = 0

    def ask(command: str, **arguments: Any) -> dict[str, Any]:
        nonlocal sequence
        sequence += 1
        content = {"type": "request", "seq": sequence, "command": command, "arguments": arguments}
        message = kernel.client.session.msg("debug_request", content)
        kernel.client.control_channel.send(message)
        while True:
            reply = kernel.client.get_control_msg(timeout=30)
            if reply["parent_header"].get("msg_id") == message["header"]["msg_id"]:
                return dict(reply["content"])

    if not ask(
        "initialize", clientID="test", adapterID="python", pathFormat="path", linesStartAt1=True, columnsStartAt1=True
    )["success"]:
        return "no debugger in this kernel"
    ask("attach")
    cell = "%%guard\nspot = 11\nspot = spot + 1\nspot"
    path = ask("dumpCell", code=cell)["body"]["sourcePath"]
    ask("setBreakpoints", source={"path": path}, breakpoints=[{"line": 3}], sourceModified=False)
    ask("configurationDone")
    sent = kernel.client.execute(cell)
    for _ in range(200):
        message = kernel.client.get_iopub_msg(timeout=30)
        if message["msg_type"] == "debug_event" and message["content"].get("event") == "stopped":
            break
        if (
            message["msg_type"] == "status"
            and message["parent_header"].get("msg_id") == sent
            and message["content"]["execution_state"] == "idle"
        ):
            return "the breakpoint was passed over"
    thread = message["content"]["body"]["threadId"]
    frame = ask("stackTrace", threadId=thread)["body"]["stackFrames"][0]
    ask("continue", threadId=thread)
    kernel.reply_to(sent)
    ask("disconnect", restart=False, terminateDebuggee=False)
    return "" if frame["line"] == 3 and frame["source"]["path"] == path else f"stopped at {frame}"


def _interrupted(kernel: Kernel, cell: str, when: str) -> str:
    told = kernel.run(cell, interrupt_when=when)
    after = kernel.run("6 * 7").result
    right = told.error in ("KeyboardInterrupt", "CancelledError") and told.seconds < 20 and after == "42"
    return "" if right and told.errors == 1 else f"{told.error} in {told.seconds:.1f} s, then {after}"


def _interrupt_in_an_attempt(kernel: Kernel) -> str:
    return _interrupted(kernel, "%%guard retry=3\nimport time\nprint('go', flush=True)\ntime.sleep(30)", "go")


def _interrupt_between_attempts(kernel: Kernel) -> str:
    return _interrupted(kernel, "%%guard retry=3 wait=30s..30s\nraise OSError('down')", "guard: waiting")


def _interrupt_in_an_await(kernel: Kernel) -> str:
    return _interrupted(kernel, "%%guard\nimport asyncio\nprint('go', flush=True)\nawait asyncio.sleep(30)", "go")


def _await_with_retry(kernel: Kernel) -> str:
    told = kernel.run(
        "%%guard retry=3 wait=0s\nimport asyncio\nawait asyncio.sleep(0)\nglobals().setdefault('seen', []).append(1) "
        "if False else None\nimport builtins\nbuiltins.seen = getattr(builtins, 'seen', 0) + 1\n"
        "if builtins.seen < 3: raise OSError\nbuiltins.seen"
    )
    return "" if told.result == "3" else f"{told.result} {told.traceback}"


def _unload(kernel: Kernel) -> str:
    kernel.run("%unload_ext mlguard_nb")
    told = kernel.run("%%guard\n1")
    kernel.run("%load_ext mlguard_nb")
    again = kernel.run("%%guard\n2").result
    return "" if "not found" in told.stderr and again == "2" else f"{told.stderr} {again}"


def _terminal(_kernel: Kernel) -> str:
    """IPython without a kernel: the same lines, an error, and an await."""
    python = os.environ.get("MLGUARD_KERNEL_PYTHON") or sys.executable
    typed = (
        "%load_ext mlguard_nb\n%%guard retry=2 wait=0s view=off\nx = 20\nx + 1\n\n\n"
        "%%guard view=line\n1 / 0\n\n\n%%guard view=off\nimport asyncio\nawait asyncio.sleep(0)\n'slept'\n\n\nexit\n"
    )
    done = subprocess.run(
        [python, "-m", "IPython", "--simple-prompt", "--no-banner", "--colors=NoColor", "--HistoryManager.enabled=False"],
        input=typed, capture_output=True, text=True, timeout=120, cwd=Path.home(),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    told = done.stdout + done.stderr
    wanted = ("21", "----> 2 1 / 0", "'slept'")
    return "" if all(text in told for text in wanted) and "mlguard_nb/" not in told else told[-1500:]


LIVE: dict[str, Callable[[Kernel], str]] = {
    "events fire once": _events_fire_once, "autoreload": _autoreload, "completion": _completion,
    "inspection and %%guard?": _inspection, "is it complete": _is_complete, "%debug": _post_mortem,
    "set_trace()": _set_trace, "the debugger of JupyterLab": _debug_adapter,
    "interrupt within an attempt": _interrupt_in_an_attempt,
    "interrupt between attempts": _interrupt_between_attempts, "interrupt within an await": _interrupt_in_an_await,
    "await with retry": _await_with_retry, "unload and load": _unload, "terminal IPython": _terminal,
}  # fmt: skip
CHANGES_THE_KERNEL = {"events fire once", "autoreload", "the debugger of JupyterLab", "unload and load"}
