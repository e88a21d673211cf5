"""Live-ins and live-outs over a sequence of cells that share one namespace."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from dataclasses import dataclass

from mlguard_nb.dataflow.facts import CellFacts

__all__ = ["Flow", "live_ins", "liveness"]

_BUILTINS = frozenset(dir(builtins))


@dataclass(frozen=True, slots=True)
class Flow:
    """One cell in its place. `live_ins` come from earlier cells; `live_outs` are bound here and read later, before
    anything binds them anew; `unknown` are read although no earlier cell binds them and Python has no such name.
    """

    live_ins: frozenset[str]
    live_outs: frozenset[str]
    unknown: frozenset[str]


def live_ins(facts: CellFacts) -> frozenset[str]:
    """What one cell takes from the namespace: exposed reads, and what the functions it defines will read."""
    return facts.reads | (facts.late_reads - facts.definite)


def liveness(cells: Sequence[CellFacts]) -> tuple[Flow, ...]:
    """The flow through `cells` in this order. Linear in the number of cells."""
    live: set[str] = set()
    outs: list[frozenset[str]] = []
    for facts in reversed(cells):
        outs.append(frozenset((facts.bound - (facts.deleted - facts.maybe_deleted)) & live))
        live = (live - facts.definite) | live_ins(facts)
    outs.reverse()
    known: set[str] = set()
    flows: list[Flow] = []
    for facts, live_outs in zip(cells, outs, strict=True):
        needed = live_ins(facts)
        missing = facts.reads - known - facts.bound - _BUILTINS
        flows.append(Flow(frozenset(needed & known), live_outs, frozenset(missing)))
        known |= facts.bound
        known -= facts.deleted - facts.maybe_deleted
    return tuple(flows)
