"""What an exported package stands on: steps, the working directory, figures, shell lines, the command line, results.

The names load on first use, so a package that needs only `step` pays for nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlguard_nb.pipeline.command import command_line
    from mlguard_nb.pipeline.directory import RunInProgress, working_directory
    from mlguard_nb.pipeline.displays import captured_output, display, shown_errors
    from mlguard_nb.pipeline.engines import EngineFailed, engine
    from mlguard_nb.pipeline.environment import FromEnvironment
    from mlguard_nb.pipeline.figures import save_figures
    from mlguard_nb.pipeline.namespaces import fresh_namespace
    from mlguard_nb.pipeline.progress import Remark, StepFinished, StepStarted, watch
    from mlguard_nb.pipeline.recording import Comparison, equal, summarise
    from mlguard_nb.pipeline.results import load_results, save_results
    from mlguard_nb.pipeline.shell import shell
    from mlguard_nb.pipeline.stepping import Step, step
    from mlguard_nb.pipeline.timings import measured
    from mlguard_nb.pipeline.unbound import UNBOUND, without_unbound

__all__ = [
    "UNBOUND",
    "Comparison",
    "EngineFailed",
    "FromEnvironment",
    "Remark",
    "RunInProgress",
    "Step",
    "StepFinished",
    "StepStarted",
    "captured_output",
    "command_line",
    "display",
    "engine",
    "equal",
    "fresh_namespace",
    "load_results",
    "measured",
    "save_figures",
    "save_results",
    "shell",
    "shown_errors",
    "step",
    "summarise",
    "watch",
    "without_unbound",
    "working_directory",
]

_HOMES = {
    "command": ("command_line",),
    "directory": ("RunInProgress", "working_directory"),
    "displays": ("captured_output", "display", "shown_errors"),
    "engines": ("EngineFailed", "engine"),
    "environment": ("FromEnvironment",),
    "figures": ("save_figures",),
    "namespaces": ("fresh_namespace",),
    "progress": ("Remark", "StepFinished", "StepStarted", "watch"),
    "recording": ("Comparison", "equal", "summarise"),
    "results": ("load_results", "save_results"),
    "shell": ("shell",),
    "stepping": ("Step", "step"),
    "timings": ("measured",),
    "unbound": ("UNBOUND", "without_unbound"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
