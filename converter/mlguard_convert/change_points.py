"""Whether, where and how surely a series of numbers changed: rank tests, which assume no distribution."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

__all__ = ["adjusted", "median", "percentile", "pettitt", "proportions", "rank_sum"]


def pettitt(values: Sequence[float]) -> tuple[int, float]:
    """Where a series changes its level, as the index of the first value after it, and the confidence that it does.

    Pettitt's rank test (Applied Statistics 28, 1979): outliers weigh little. Values that are equal, as the zeros and
    ones of calls that went well and calls that failed are, spread the ranks less, which is taken into account.
    """
    ranks = _ranks(values)
    count = len(values)
    total, at, largest = 0.0, 1, 0.0
    for position, rank in enumerate(ranks[:-1], 1):
        total += 2 * rank - (count + 1)
        if abs(total) > largest:
            largest, at = abs(total), position
    spread = (count**3 + count**2) * _untied(values)
    return at, max(0.0, 1 - 2 * math.exp(-6 * largest**2 / spread)) if spread else 0.0


def _untied(values: Sequence[float]) -> float:
    """The share of the ranks' variance that ties leave, in [0, 1]."""
    count = len(values)
    ties = sum(same**3 - same for same in Counter(values).values())
    return 1 - ties / (count**3 - count) if count > 1 else 0.0


def rank_sum(one: Sequence[float], other: Sequence[float]) -> float:
    """The confidence that two samples have different levels: the rank-sum test with the normal approximation."""
    together = [*one, *other]
    n, m = len(one), len(other)
    mean, spread = n * (n + m + 1) / 2, math.sqrt(n * m * (n + m + 1) / 12 * _untied(together))
    return _confidence((sum(_ranks(together)[:n]) - mean) / spread) if spread else 0.0


def proportions(hits: int, of: int, other_hits: int, other_of: int) -> float:
    """The confidence that two shares differ: the pooled z test."""
    pooled = (hits + other_hits) / (of + other_of)
    spread = math.sqrt(pooled * (1 - pooled) * (1 / of + 1 / other_of))
    return 0.0 if spread == 0 else _confidence((hits / of - other_hits / other_of) / spread)


def adjusted(confidence: float, tests: int) -> float:
    """The confidence left where so many tests were made at once (Bonferroni): one in a hundred of many is no find."""
    return max(0.0, 1 - (1 - confidence) * tests)


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """The smallest value that at least `share` of the sorted values do not exceed; None of none."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def median(values: Sequence[float]) -> float:
    """The middle of the values; 0 of none."""
    found = percentile(sorted(values), 0.5)
    return 0.0 if found is None else found


def _confidence(z: float) -> float:
    return math.erf(abs(z) / math.sqrt(2))


def _ranks(values: Sequence[float]) -> list[float]:
    """Ranks from 1, ties sharing their mean."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end + 1 < len(order) and values[order[end + 1]] == values[order[start]]:
            end += 1
        for position in order[start : end + 1]:
            ranks[position] = (start + end) / 2 + 1
        start = end + 1
    return ranks
