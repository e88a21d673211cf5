"""The table as text and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Row", "as_text", "draw"]


@dataclass(frozen=True, slots=True)
class Row:
    """One path: our figure and the peers', in nanoseconds; `base` is the bare call that ratios refer to."""

    path: str
    ours: float
    base: float
    peers: dict[str, float] = field(default_factory=dict)
    budget: float | None = None  # nanoseconds, where the design names one
    budget_ratio: float | None = None  # the same as a multiple of `base`


def spoken(nanoseconds: float) -> str:
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.3g} {unit}"
    return f"{nanoseconds:.0f} ns"


def as_text(rows: Sequence[Row]) -> str:
    """Columns: path, ours, ratio to the base, budget, and each peer with its ratio to ours."""
    lines = [f"{'path':44} {'ours':>9} {'x base':>8} {'budget':>9}  peers (their figure, how many times ours)"]
    for row in rows:
        peers = ", ".join(
            f"{name} {spoken(ns)} ({ns / row.ours:.1f}x)"
            for name, ns in sorted(row.peers.items(), key=lambda item: item[1])
        )
        budget = f"{row.budget_ratio:.2f}x" if row.budget_ratio else spoken(row.budget) if row.budget else "-"
        over = (
            " OVER"
            if (row.budget_ratio and row.ours > row.budget_ratio * row.base) or (row.budget and row.ours > row.budget)
            else ""
        )
        lines.append(f"{row.path:44} {spoken(row.ours):>9} {row.ours / row.base:>7.1f}x {budget:>9}{over}  {peers}")
    return "\n".join(lines)


def draw(rows: Sequence[Row], path: Path) -> None:
    """One bar a path for us and for the best peer, on a logarithmic axis."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    shown = [row for row in rows if row.peers]
    figure, axes = plt.subplots(figsize=(10, 0.5 * len(shown) + 1.5), layout="constrained")
    for place, row in enumerate(reversed(shown)):
        name, best = min(row.peers.items(), key=lambda item: item[1])
        axes.barh(place + 0.2, row.ours, height=0.36, color="#1976d2")
        axes.barh(place - 0.2, best, height=0.36, color="#bdbdbd")
        axes.text(best, place - 0.2, f" {name} {best / row.ours:.1f}x", va="center", fontsize=8)
        axes.text(row.ours, place + 0.2, f" {spoken(row.ours)}", va="center", fontsize=8)
    axes.set_yticks(range(len(shown)), [row.path for row in reversed(shown)], fontsize=8)
    axes.set_xscale("log")
    axes.set_xlabel("nanoseconds a call: blue is mlguard, grey the best peer")
    axes.margins(x=0.25)
    figure.savefig(path, dpi=120)
