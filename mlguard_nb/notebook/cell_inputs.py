"""Checks of a cell's live-ins before its first line runs: the schemas of `validate=`, or every learned one."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlguard_nb.dataflow import cell_facts
from mlguard_nb.errors import InputRejected, PolicyError, Violation
from mlguard_nb.policy.values import ValidatePolicy
from mlguard_nb.telemetry import bus, events

if TYPE_CHECKING:
    from mlguard_nb.runtime.reference import Drift, Reference

__all__ = ["Learned", "check", "live_ins_of"]

LEAST_ROWS = 500  # as the drift watch of a function (runtime/drift.py)
RESERVOIR_ROWS = 10_000


def live_ins_of(source: str, namespace: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of `namespace` that the cell reads before it binds them itself, in functions too, sorted."""
    facts = cell_facts(source)
    read = facts.reads | (facts.late_reads - facts.definite)
    return tuple(sorted(name for name in read if name in namespace))


@dataclass(frozen=True, slots=True)
class Learned:
    """What `%guard schema` learned from `variable`: its schema, and the profile of its numbers where it has any."""

    variable: str
    schema: Any
    reference: Reference | None = None


def check(
    policy: ValidatePolicy,
    label: str,
    source: str,
    namespace: MutableMapping[str, Any],
    learned: Mapping[str, Learned],
) -> list[str]:
    """Raise InputRejected with every violation of every input; what is only unusual comes back as notes.

    `learned` holds the learned schemas by name. A bare `validate` that none of them fits checks nothing, and the notes
    say so.
    """
    from mlguard_nb.runtime.checking import Slot

    schemas = dict(policy.schemas)
    if not schemas:
        live_ins = live_ins_of(source, namespace)
        schemas = _fitting(learned, live_ins)
        if not schemas:
            return [_nothing_fits(learned, live_ins)]
    bound: dict[str, Any] = {}
    broken: list[Violation] = []
    unusual: list[Violation] = []
    drifts: list[tuple[str, Drift]] = []
    for name, schema in schemas.items():
        if name not in namespace:
            raise PolicyError(f"validate={name}: there is no {name!r} here; run the cell that makes it first")
        slot = Slot(name, schema, coerce=policy.coerce, depth=policy.depth)
        value, wrong, odd = slot.examine(namespace[name], bound)
        broken += wrong
        unusual += odd
        if not wrong:
            drifts += [(name, drift) for drift in _drifts(schema, value, learned)]
            if policy.coerce:
                namespace[name] = value
    if unusual:
        bus.emit(events.InputUnusual(function=label, columns=tuple(violation.argument for violation in unusual)))
    if broken:
        bus.emit(events.InputRefused(function=label, rules=tuple(violation.rule for violation in broken)))
        raise InputRejected(label, broken)
    for _, drift in drifts:
        bus.emit(
            events.DriftMeasured(
                function=label, column=drift.column, psi=drift.psi, ks=drift.ks, mean_shift=drift.mean_shift
            )
        )
    return [f"unusual: {violation}" for violation in unusual] + [
        f"drift: {name}, column {drift.column}: no longer looks like what was learned (psi {drift.psi:.2f}, mean moved "
        f"by {drift.mean_shift:.1f} standard deviations)"
        for name, drift in drifts
        if drift.is_shifted
    ]


def _drifts(schema: Any, value: Any, learned: Mapping[str, Learned]) -> tuple[Drift, ...]:
    """How far the columns of `value` have moved from what `schema` was learned from; () where that is not known.

    Few rows say little about a distribution, and no more are compared than make a difference.
    """
    reference = next((one.reference for one in learned.values() if one.schema is schema), None)
    rows = len(value) if getattr(value, "shape", ()) else 0
    if reference is None or rows < LEAST_ROWS:
        return ()
    step = max(1, rows // RESERVOIR_ROWS)
    return reference.compare(value.iloc[::step] if hasattr(value, "iloc") else value[::step])


def _nothing_fits(learned: Mapping[str, Learned], names: tuple[str, ...]) -> str:
    known = ", ".join(f"{name} (of {one.variable})" for name, one in learned.items())
    read = ", ".join(names) or "nothing"
    return f"nothing is validated: the cell reads {read}, and " + (
        f"only {known} {'is' if len(learned) == 1 else 'are'} learned"
        if known
        else f"no schema was learned: %guard schema {names[0] if names else 'X'}"
    )


def _fitting(learned: Mapping[str, Learned], names: tuple[str, ...]) -> dict[str, Any]:
    """Learned schemas by live-in: those with its name, or learned from the variable of that name."""
    found: dict[str, Any] = {}
    for name, one in learned.items():
        for live_in in names:
            if live_in in (name, one.variable):
                found[live_in] = one.schema
    return found
