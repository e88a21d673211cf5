"""Checks of a cell's live-ins before its first line runs: the schemas of `validate=`, or every learned one."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

from mlguard_nb.dataflow import cell_facts
from mlguard_nb.errors import InputRejected, PolicyError, Violation
from mlguard_nb.policy.values import ValidatePolicy
from mlguard_nb.telemetry import bus, events

__all__ = ["check", "live_ins_of"]


def live_ins_of(source: str, namespace: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of `namespace` that the cell reads before it binds them itself, in functions too, sorted."""
    facts = cell_facts(source)
    read = facts.reads | (facts.late_reads - facts.definite)
    return tuple(sorted(name for name in read if name in namespace))


def check(
    policy: ValidatePolicy,
    label: str,
    source: str,
    namespace: MutableMapping[str, Any],
    learned: Mapping[str, tuple[str, Any]],
) -> list[str]:
    """Raise InputRejected with every violation of every input; what is only unusual comes back as notes.

    `learned` maps a schema's name to the variable it was learned from and the schema.
    """
    from mlguard_nb.runtime.checking import Slot

    schemas = dict(policy.schemas) or _fitting(learned, live_ins_of(source, namespace))
    bound: dict[str, Any] = {}
    broken: list[Violation] = []
    unusual: list[Violation] = []
    for name, schema in schemas.items():
        if name not in namespace:
            raise PolicyError(f"validate={name}: there is no {name!r} here; run the cell that makes it first")
        slot = Slot(name, schema, coerce=policy.coerce, depth=policy.depth)
        value, wrong, odd = slot.examine(namespace[name], bound)
        broken += wrong
        unusual += odd
        if policy.coerce and not wrong:
            namespace[name] = value
    if unusual:
        bus.emit(events.InputUnusual(function=label, columns=tuple(violation.argument for violation in unusual)))
    if broken:
        bus.emit(events.InputRefused(function=label, rules=tuple(violation.rule for violation in broken)))
        raise InputRejected(label, broken)
    return [f"unusual: {violation}" for violation in unusual]


def _fitting(learned: Mapping[str, tuple[str, Any]], names: tuple[str, ...]) -> dict[str, Any]:
    """Learned schemas by live-in: those with its name, or learned from the variable of that name."""
    found: dict[str, Any] = {}
    for name, (variable, schema) in learned.items():
        for live_in in names:
            if live_in in (name, variable):
                found[live_in] = schema
    return found
