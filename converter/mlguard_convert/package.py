"""An exported package as one value: everything that its files are written from."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlguard_convert.dependencies import Requirement
    from mlguard_convert.plan import Change
    from mlguard_convert.workloads import Workload

__all__ = ["Package", "StepRow", "command_of", "variable_of"]


def command_of(package: str) -> str:
    """The command that runs the package: `churn`, or `reports-churn` for one notebook of several."""
    return package.replace("_", "-").replace(".", "-")


def variable_of(package: str, name: str) -> str:
    """The environment variable of the package's secret `name`: CHURN_API_KEY; of letters, digits and underscores."""
    return re.sub(r"[^A-Z0-9_]", "_", f"{package}_{name}".upper())


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRow:
    """One step as the README and the export dialog show it. `guards` are phrases such as "cache 1 h"."""

    name: str
    cells: tuple[int, ...] = ()
    title: str = ""
    guards: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    gives: tuple[str, ...] = ()
    figures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """`modules` maps paths below the package's folder ("src/churn/steps.py") to text. `data` holds files that travel:
    the path that the notebook reads them under, and where they are; `too_large` names those that stay behind.
    `extras` are distributions that it uses where they are installed. `recorded` is the text of the recorded values,
    None when the notebook was not run. `example_option` and `example_result` are what the README shows; `served` are
    the functions that it answers calls of, `serves_results` says whether they need what a run saved. `secrets` maps
    the environment variables that secrets come from to whether a run needs them. `lint_ignored`
    maps files to the rules of ruff that the notebook's code in them breaks, and what ruff calls these; `untyped` are
    the libraries that tell a type checker nothing.
    `kubernetes` is what it asks of a cluster, None where no manifest is wanted; `requests` are the steps that ask Ray
    for something, each with its table for the pyproject.
    `parts` are the packages of the single notebooks where there are several: inside this one, each with its own
    steps, changes and recorded values, while modules, requirements and data are those of all.
    """

    name: str
    description: str
    notebook: str
    notebook_sha256: str
    code_cells: int
    modules: Mapping[str, str]
    requirements: tuple[Requirement, ...]
    extras: tuple[Requirement, ...] = ()
    locked: tuple[str, ...] = ()
    steps: tuple[StepRow, ...] = ()
    changes: tuple[Change, ...] = ()
    example_option: str = ""
    example_result: str = ""
    served: tuple[str, ...] = ()
    serves_results: bool = False
    secrets: Mapping[str, bool] = field(default_factory=dict)
    data: tuple[tuple[str, Path], ...] = ()
    too_large: tuple[str, ...] = ()
    recorded: str | None = None
    is_async: bool = False
    lint_ignored: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    untyped: tuple[str, ...] = ()
    requests: tuple[tuple[str, str], ...] = ()
    python: tuple[int, int] = (sys.version_info.major, sys.version_info.minor)
    kubernetes: Workload | None = None
    parts: tuple[Package, ...] = ()

    @property
    def command(self) -> str:
        """The command that runs it."""
        return command_of(self.name)
