"""Which kernels this server runs, for which notebook, and under which process id."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

__all__ = ["KernelFacts", "running_kernels"]

_ELSEWHERE = "this kernel runs on another host, where this server cannot look"


@dataclass(frozen=True, slots=True)
class KernelFacts:
    """What the server itself knows of one kernel. `pid` is None where it is not a process of this machine."""

    kernel_id: str
    name: str
    path: str | None
    state: str
    last_activity: float | None
    pid: int | None
    elsewhere: str | None


async def running_kernels(kernel_manager: Any, session_manager: Any) -> tuple[KernelFacts, ...]:
    """Every kernel of this server with the notebook or console that it belongs to, names first come first."""
    from jupyter_core.utils import ensure_async

    models = await ensure_async(kernel_manager.list_kernels())
    sessions = await ensure_async(session_manager.list_sessions())
    by_kernel = {session["kernel"]["id"]: session for session in sessions if session.get("kernel")}
    return tuple(_facts(model, by_kernel.get(model["id"]), _pid(kernel_manager, model["id"])) for model in models)


def _facts(model: dict[str, Any], session: dict[str, Any] | None, pid: int | None) -> KernelFacts:
    path = session.get("path") if session else None
    name = (session.get("name") or path) if session else None
    return KernelFacts(
        kernel_id=model["id"],
        name=name or model.get("name") or "kernel",
        path=path if session and session.get("type") == "notebook" else None,
        state=model.get("execution_state") or "unknown",
        last_activity=_seconds(model.get("last_activity")),
        pid=pid,
        elsewhere=None if pid is not None else _ELSEWHERE,
    )


def _pid(kernel_manager: Any, kernel_id: str) -> int | None:
    """The process of a kernel that was started on this machine; remote provisioners' numbers mean nothing here."""
    from jupyter_client.provisioning.local_provisioner import LocalProvisioner

    try:
        provisioner = getattr(kernel_manager.get_kernel(kernel_id), "provisioner", None)
    except KeyError:  # it ended while we asked
        return None
    return provisioner.pid if isinstance(provisioner, LocalProvisioner) else None


def _seconds(text: str | None) -> float | None:
    if not text:
        return None
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
