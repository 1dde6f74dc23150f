"""Whether a plan leaves something to wish: what it read, and what of that it needed. Pure.

Looks at the ways into the query's own collection alone: what comes after them (`$group`, `$unwind`) says nothing
about an index, nor does the number of documents that are returned in the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from motorctl.core.explain.access import accesses
from motorctl.core.explain.ratio import ratios

if TYPE_CHECKING:
    from motorctl.core.explain.advice.shape import Look
    from motorctl.core.explain.plan import Plan

_RATIO = 2.0
_WASTED = 20
"""So few keys or documents in vain, or to be sorted, are no reason for an index."""


@dataclass(frozen=True)
class Need:
    """What a plan did that an index could spare it.

    `scans`: it read the whole collection. `sorts`: it sorted by fields that an index could have in order.
    `examined` keys or documents led to `passed` documents; None where the query wasn't run.
    """

    scans: bool
    sorts: bool
    examined: int | None
    passed: int | None

    @property
    def wastes(self) -> bool:
        if self.examined is None or self.passed is None:
            return False
        in_vain = self.examined - self.passed
        return in_vain >= _WASTED and self.examined > _RATIO * max(self.passed, 1)

    @property
    def is_none(self) -> bool:
        return not (self.scans or self.sorts or self.wastes)

    def left(self, documents: int | None, *, limited: bool) -> float | None:
        """Return the share of a collection of so many documents that the filter leaves, if that is known.

        Of an index that is read until enough is found nobody knows what more there is.
        """
        if self.examined is None or self.passed is None or (limited and not self.scans):
            return None
        whole = self.examined if self.scans else documents
        return min(self.passed / whole, 1.0) if whole else None


def need(plan: Plan, one: Look) -> Need:
    """Read from a plan what an index could spare it."""
    home = plan.namespace.partition(".")[2]
    names = {home, one.collection, f"system.buckets.{one.collection}"}
    ways = [way for way in accesses(plan) if way.collection in names]
    # What a $unionWith or a $lookup has as a branch is of another collection.
    aside = {id(below) for stage in plan.root.walk() if stage.branch for below in stage.walk()}
    found = [ratio for ratio in ratios(plan) if id(ratio.top) not in aside]
    scans = any(way.scan == "collscan" for way in ways)
    sorted_ones = [stage.input for stage in plan.root.walk() if stage.kind == "SORT"]
    sorts = any(scans or count is None or count >= _WASTED for count in sorted_ones)
    return Need(
        scans,
        bool(one.sort) and sorts,
        sum(ratio.examined for ratio in found) if plan.executed and found else None,
        sum(ratio.found for ratio in found) if plan.executed and found else None,
    )
