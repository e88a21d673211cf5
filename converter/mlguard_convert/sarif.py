"""The findings about a notebook as SARIF, which code hosts show beside the lines of a change."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mlguard_convert.messages import LEVELS, ON_COMMAND_LINE
from mlguard_nb.errors import Diagnostic
from mlguard_nb.version import __version__

__all__ = ["sarif"]


def sarif(found: Sequence[tuple[str, Sequence[Diagnostic]]]) -> str:
    """A SARIF 2.1.0 log of what was `found`: notebooks with their findings.

    A notebook has no lines of its own, so the cell is a logical location.
    """
    rules = sorted({one.code for _, diagnostics in found for one in diagnostics})
    run = {
        "tool": {
            "driver": {
                "name": "mlguard-nb check",
                "version": __version__,
                "rules": [{"id": code, "name": code} for code in rules],
            }
        },
        "columnKind": "unicodeCodePoints",
        "results": [
            _result(notebook, one, rules.index(one.code)) for notebook, diagnostics in found for one in diagnostics
        ],
    }
    schema = "https://json.schemastore.org/sarif-2.1.0.json"
    return json.dumps({"$schema": schema, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _result(notebook: str, one: Diagnostic, rule: int) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": quote(Path(notebook).as_posix())}}
    location: dict[str, Any] = {"physicalLocation": place}
    if one.cell is not None:
        line = f", line {one.line}" if one.line else ""
        location["logicalLocations"] = [{"name": f"cell {one.cell}{line}", "kind": "module"}]
    return {
        "ruleId": one.code,
        "ruleIndex": rule,
        "level": LEVELS.get(one.severity, "warning"),
        "message": {"text": str(one.spelt(ON_COMMAND_LINE))},
        "locations": [location],
    }
