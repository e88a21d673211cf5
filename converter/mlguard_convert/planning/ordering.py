"""The names of some cells in the order in which their text binds or mentions them."""

from __future__ import annotations

import ast

from mlguard_convert.planning.grouping import Group

__all__ = ["binding_order", "reading_order"]


def binding_order(group: Group) -> list[str]:
    """The names that the group binds, in the order of the text."""
    found: dict[str, None] = {}
    for unit in group.units:
        bound = unit.facts.bound
        if len(bound) > 1:
            places = {
                node.id: (node.lineno, node.col_offset)
                for node in ast.walk(unit.node)
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id in bound
            }
            found.update(dict.fromkeys(sorted(bound, key=lambda name: (places.get(name, (10**9, 0)), name))))
        else:
            found.update(dict.fromkeys(bound))
    return list(found)


def reading_order(group: Group, names: frozenset[str] | set[str]) -> list[str]:
    """`names` in the order in which the text first mentions them."""
    found: dict[str, None] = {}
    for unit in group.units:
        own = names & (unit.facts.reads | unit.facts.uses | unit.facts.late_reads | unit.facts.bound)
        if len(own - found.keys()) > 1:
            places: dict[str, tuple[int, int]] = {}
            for node in ast.walk(unit.node):
                if isinstance(node, ast.Name) and node.id in own:
                    places[node.id] = min(places.get(node.id, (10**9, 0)), (node.lineno, node.col_offset))
            found.update(dict.fromkeys(sorted(own, key=lambda name: (places.get(name, (10**9, 0)), name))))
        else:
            found.update(dict.fromkeys(own))
    return [*found, *sorted(names - found.keys())]
