"""What a person may choose about an export."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ExportOptions", "named_outputs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """The options of `mlguard-nb export`, under the same names.

    `name` None takes the notebook's file name. `outputs` is "assigned" (names bound by assignment), "all", or the
    names themselves. `python` is the interpreter in which `verify` runs the package (None: this one), `timeout` the
    longest time of one cell then, in seconds. `check` writes nothing.
    """

    name: str | None = None
    outputs: str | tuple[str, ...] = "assigned"
    order: str = "file"
    keep_displays: bool = False
    allow_shell: bool = False
    skip_bad_cells: bool = False
    check: bool = False
    verify: bool = False
    python: str | None = None
    timeout: float | None = None
    force: bool = False
    pack_data: bool = False
    k8s: bool = False


def named_outputs(text: str | None) -> str | tuple[str, ...]:
    """The option `outputs` as it is typed: "assigned" (also for nothing), "all", or names between commas."""
    if not text or text in ("all", "assigned"):
        return text or "assigned"
    return tuple(name.strip() for name in text.split(",") if name.strip())
