"""A real ipykernel over ZMQ, and what one cell of it answered."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_client.manager import KernelManager

ROOT = Path(__file__).parents[2]
MIME = "application/vnd.mlguard.view+json"
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass
class Answer:
    """The outputs of one cell. `shown` are displays as they stand at the end, updates applied."""

    stdout: str = ""
    stderr: str = ""
    result: str | None = None
    error: str | None = None  # the name of the exception
    traceback: str = ""
    shown: list[dict[str, Any]] = field(default_factory=list)
    updates: int = 0
    errors: int = 0
    seconds: float = 0.0
    reply: dict[str, Any] = field(default_factory=dict)

    @property
    def view(self) -> dict[str, Any]:
        """The final view of the guarded cell."""
        views = [data[MIME] for data in self.shown if MIME in data]
        assert views, f"no view; stdout {self.stdout!r}, stderr {self.stderr!r}, {self.traceback}"
        return dict(views[-1])

    @property
    def sentence(self) -> str:
        return str(self.view["sentence"])


class Kernel:
    """One kernel with the extension loaded, of the interpreter that MLGUARD_KERNEL_PYTHON names (else this one).

    `environment` is added to the variables of this process.
    """

    def __init__(self, load: bool = True, environment: Mapping[str, str] | None = None) -> None:
        self.manager = KernelManager(kernel_name="python3")
        other = os.environ.get("MLGUARD_KERNEL_PYTHON")
        if other:
            assert self.manager.kernel_spec is not None
            self.manager.kernel_spec.argv[0] = other
        path = {"PYTHONPATH": str(ROOT)} if other else {}
        self.manager.start_kernel(env={**os.environ, **path, **(environment or {})})
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        if load:
            self.run("%load_ext mlguard_nb")

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    def run(
        self, source: str, timeout: float = 60, interrupt_when: str | None = None,
        answer_input: str | Sequence[str] | None = None, interrupt_after: float | None = None,
    ) -> Answer:  # fmt: skip
        """Run a cell to its end. `interrupt_when` interrupts once this text has appeared in an output.

        `answer_input` is what a person types at each prompt: one text for all, or one for each.
        """
        lines = iter((answer_input,) * 100 if isinstance(answer_input, str) else answer_input or ())
        # Cells are run one by one here: an error need not abort the ones behind it, as old kernels do for a moment.
        sent = self.client.execute(source, allow_stdin=answer_input is not None, stop_on_error=False)
        answer, places = Answer(), {}
        began = time.monotonic()
        interrupted = False
        while True:
            if interrupt_after is not None and not interrupted and time.monotonic() - began > interrupt_after:
                interrupted = True
                self.manager.interrupt_kernel()
            if answer_input is not None and self.client.stdin_channel.msg_ready():
                self.client.get_stdin_msg(timeout=1)
                self.client.input(next(lines))
            try:
                message = self.client.get_iopub_msg(timeout=0.05)
            except Exception:
                assert time.monotonic() - began < timeout, f"no answer in {timeout} s to: {source}"
                assert self.manager.is_alive(), f"the kernel died of: {source}"
                continue
            if message["parent_header"].get("msg_id") != sent:
                continue
            said = message["msg_type"] not in ("execute_input", "status") and str(message["content"])
            if interrupt_when and not interrupted and said and interrupt_when in said:
                interrupted = True
                self.manager.interrupt_kernel()
            if _took_in(answer, places, message):
                break
        answer.seconds = time.monotonic() - began
        answer.reply = self.reply_to(sent)
        return answer

    def reply_to(self, sent: str) -> dict[str, Any]:
        """The reply to one request; late answers to others are passed over."""
        while True:
            reply = self.client.get_shell_msg(timeout=10)
            if reply["parent_header"].get("msg_id") == sent:
                return dict(reply["content"])


def _took_in(answer: Answer, places: dict[str, int], message: dict[str, Any]) -> bool:
    """Add one message; whether it was the last."""
    kind, content = message["msg_type"], message["content"]
    if kind == "status":
        return bool(content["execution_state"] == "idle")
    if kind == "stream":
        setattr(answer, content["name"], getattr(answer, content["name"]) + content["text"])
    elif kind == "execute_result":
        answer.result = content["data"]["text/plain"]
    elif kind == "error":
        answer.errors += 1
        answer.error, answer.traceback = content["ename"], _COLOUR.sub("", "\n".join(content["traceback"]))
    elif kind == "display_data":
        place = content.get("transient", {}).get("display_id")
        if place:
            places[place] = len(answer.shown)
        answer.shown.append(content["data"])
    elif kind == "update_display_data":
        answer.updates += 1
        answer.shown[places[content["transient"]["display_id"]]] = content["data"]
    return False
