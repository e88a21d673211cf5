"""The table of figures, as text and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Row", "as_text", "draw", "spoken", "times"]


@dataclass(frozen=True, slots=True)
class Row:
    """One path: our figure and the peers', in nanoseconds; `base` is what ratios refer to, a bare call by default."""

    path: str
    ours: float
    base: float
    peers: dict[str, float] = field(default_factory=dict)
    budget: float | None = None  # nanoseconds, where the design names a figure that does not scale with the machine
    budget_ratio: float | None = None  # the budget as a multiple of `base`
    base_name: str = ""

    @property
    def most(self) -> float | None:
        """Nanoseconds that the budget allows on this machine, None without one."""
        return self.base * self.budget_ratio if self.budget_ratio is not None else self.budget

    @property
    def is_over(self) -> bool:
        """Whether ours takes longer than the budget allows."""
        return self.most is not None and self.ours > self.most

    @property
    def ordered_peers(self) -> list[tuple[str, float]]:
        """The fastest first."""
        return sorted(self.peers.items(), key=lambda peer: peer[1])


def spoken(nanoseconds: float) -> str:
    """Three digits and the unit that fits."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.3g} {unit}"
    return f"{nanoseconds:.0f} ns"


def times(ratio: float) -> str:
    """One place below a hundred, none above."""
    return f"{ratio:.1f}x" if ratio < 100 else f"{ratio:,.0f}x"


def as_text(rows: Sequence[Row]) -> str:
    """Columns: path, ours, ratio to the base, budget, and each peer with its ratio to ours."""
    names = [f"{row.path} (base: {row.base_name})" if row.base_name else row.path for row in rows]
    width = max(len(name) for name in names)
    lines = [
        f"{'path':{width}} {'ours':>9} {'x base':>8} {'budget':>8}       peers: their figure (how many times ours)"
    ]
    for name, row in zip(names, rows, strict=True):
        peers = ", ".join(f"{peer} {spoken(ns)} ({times(ns / row.ours)})" for peer, ns in row.ordered_peers)
        budget = times(row.budget_ratio) if row.budget_ratio else spoken(row.budget) if row.budget else "-"
        over = "OVER" if row.is_over else ""
        line = f"{name:{width}} {spoken(row.ours):>9} {times(row.ours / row.base):>8} {budget:>8} {over:4}  {peers}"
        lines.append(line.rstrip())
    return "\n".join(lines)


def draw(rows: Sequence[Row], path: Path) -> None:
    """A line a path on a logarithmic axis: ours, every peer with its ratio to ours, and the budget."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(13, 0.42 * len(rows) + 1.4), layout="constrained")
    for place, row in enumerate(reversed(rows)):
        ends = [row.ours, *row.peers.values()]
        axes.plot([min(ends), max(ends)], [place, place], color="#e0e0e0", linewidth=1, zorder=0)
        if row.most is not None:
            axes.plot(row.most, place, "|", color="#d32f2f", markersize=14, markeredgewidth=2)
        axes.plot(row.ours, place, "o", color="#1976d2", markersize=8)
        axes.annotate(
            spoken(row.ours),
            (row.ours, place),
            (-8, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=7,
            color="#1976d2",
        )
        for number, (name, ns) in enumerate(row.ordered_peers):
            axes.plot(ns, place, "o", color="#9e9e9e", markersize=5)
            above = (0, 5) if number % 2 == 0 else (0, -10)
            axes.annotate(
                f"{name} {times(ns / row.ours)}",
                (ns, place),
                above,
                textcoords="offset points",
                ha="center",
                fontsize=6,
            )
    axes.set_yticks(range(len(rows)), [row.path for row in reversed(rows)], fontsize=8)
    axes.set_xscale("log")
    axes.set_xlabel(
        "nanoseconds a call: blue mlguard, grey the peers and how many times ours they take, red the budget on this machine"
    )
    axes.margins(x=0.12, y=0.02)
    axes.grid(axis="x", color="#f0f0f0")
    axes.set_axisbelow(True)
    figure.savefig(path, dpi=120)
    plt.close(figure)
