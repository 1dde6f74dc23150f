"""What a plan examined for each document that it found. Pure.

A ratio is taken where a way into a collection ends: over a scan and the stages above it that pass on or
drop documents one by one (FETCH with a filter, SHARDING_FILTER, OR, $match). It isn't taken across
$group, $limit, $unwind, COUNT and the like, whose output says nothing of what was found: a $group that
reads a million documents by an index and gives out seven is as good as it can be. Nor for $lookup: no
server tells how many documents it found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from motorctl.core.explain.reading.part import added

if TYPE_CHECKING:
    from collections.abc import Iterator

    from motorctl.core.explain.plan import Plan, Stage

_ONE_BY_ONE = frozenset(
    {
        "FETCH",
        "SHARDING_FILTER",
        "OR",
        "AND_HASH",
        "AND_SORTED",
        "SORT",
        "SORT_MERGE",
        "SORT_KEY_GENERATOR",
        "TEXT",
        "TEXT_MATCH",
        "SUBPLAN",
        "MULTI_PLAN",
        "CACHED_PLAN",
        "TRIAL",
        "ENSURE_SORTED",
        "KEEP_MUTATIONS",
        "RETURN_KEY",
        "PROJECTION_COVERED",
        "PROJECTION_DEFAULT",
        "PROJECTION_SIMPLE",
        "$match",
        "$project",
        "$addFields",
    }
)
_BUFFERING = ("GEO_NEAR", "TEXT_OR")
"""Stages that read ahead of what is asked for: what was found is what the stages below them gave.

What stands above and tests it one by one is a ratio of its own, of what came out to what went in.
"""


@dataclass(frozen=True)
class Ratio:
    """`examined` keys or documents, whichever are more, for `found` documents below and at `top`."""

    top: Stage
    examined: int
    found: int

    @property
    def value(self) -> float:
        """Examined to found; nothing found counts as one, so that 5,000 for nothing is 5,000."""
        return self.examined / max(self.found, 1)


def ratios(plan: Plan) -> list[Ratio]:
    """Return the ratio of each way into a collection, from the top; none where the query wasn't run."""
    return list(_below(plan.root))


def worst_ratio(plan: Plan) -> Ratio | None:
    """Return the highest ratio of a plan."""
    return max(ratios(plan), key=lambda ratio: ratio.value, default=None)


def _below(stage: Stage) -> Iterator[Ratio]:
    if _is_way(stage):
        found = stage.output
    elif stage.kind.startswith(_BUFFERING):
        found = added(below.output for below in stage.inputs) if stage.inputs else stage.output
    elif (buffered := _buffered_below(stage)) is not None:
        if buffered.output is not None and stage.output is not None:
            yield Ratio(stage, buffered.output, stage.output)
        yield from _below(buffered)
        return
    else:
        for below in stage.inputs:
            yield from _below(below)
        return
    stages = list(stage.walk())
    examined = [
        figure
        for figure in (added(one.keys for one in stages), added(one.docs for one in stages))
        if figure is not None
    ]
    if examined and found is not None:
        yield Ratio(stage, max(examined), found)


def _buffered_below(stage: Stage) -> Stage | None:
    """Return the buffering stage that a chain of stages which test documents one by one ends in."""
    below = stage
    while below.kind in _ONE_BY_ONE and not below.details.get("limitAmount") and len(below.inputs) == 1:
        (below,) = below.inputs
        if below.kind.startswith(_BUFFERING):
            return below
    return None


def _is_way(stage: Stage) -> bool:
    """Tell whether a stage and all below it pass documents on one by one, down to what reads them."""
    if not stage.inputs:
        return not stage.kind.startswith("$")
    limited = stage.details.get("limitAmount")
    return stage.kind in _ONE_BY_ONE and not limited and all(_is_way(below) for below in stage.inputs)
