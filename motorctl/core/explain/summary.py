"""A plan as JSON has it, and which of its stages costs the most. Pure.

`verdict, index, stages, returned, keys_examined, docs_examined, ms, in_memory_sort, rejected_plans,
advice` are fixed. `stages` is a flat list in the order of the tree, from the top, each with its `depth`:
`.stages[] | select(.stage == "COLLSCAN")` needs no recursion.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from motorctl.core.explain import verdict
from motorctl.core.explain.ratio import worst_ratio
from motorctl.core.extjson import to_json_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from motorctl.core.explain.plan import Plan, Stage

NOTABLE_MS = 10.0
"""Below that the times of stages say little: the clock that servers measure them by ticks every 10 ms."""

NOTABLE_WASTE = 10
"""So many keys or documents that were examined for nothing, at least, and as many as were of use: an index scan
looks at a key past each of its ranges, and a search near a point somewhat beyond its circle."""


def summary(plan: Plan, advice: Sequence[Any] = ()) -> dict[str, Any]:
    """Return the document of a plan. Figures are null where the query wasn't run.

    `index` has the names with commas between them when there are several; `ratio` is the worst one (see
    `ratio.ratios`). Filters and bounds are relaxed Extended JSON.
    """
    ratio = worst_ratio(plan)
    return {
        "verdict": plan.verdict,
        "namespace": plan.namespace,
        "index": ", ".join(plan.indexes) or None,
        "indexes": plan.indexes,
        "stages": stages(plan),
        "returned": plan.returned,
        "keys_examined": plan.keys_examined,
        "docs_examined": plan.docs_examined,
        "ratio": None if ratio is None else round(ratio.value, 2),
        "ms": _milliseconds(plan.ms),
        "in_memory_sort": plan.in_memory_sort,
        "rejected_plans": plan.rejected_plans,
        "engine": plan.engine,
        "server_version": plan.server_version,
        "executed": plan.executed,
        "failure": plan.failure,
        "failure_code": plan.failure_code,
        "shards": plan.shards,
        "merged_on": plan.merged_on,
        "advice": list(advice),
    }


def stages(plan: Plan) -> list[dict[str, Any]]:
    """Return the stages as flat rows: `stage`, `depth` from 0, what came in and went out, what it cost."""
    heaviest = worst(plan)
    return [
        {
            "stage": stage.kind,
            "depth": depth,
            "branch": stage.branch,
            "shard": stage.shard,
            "index": stage.index,
            "in": stage.input,
            "out": stage.output,
            "keys_examined": stage.keys,
            "docs_examined": stage.docs,
            "ms": _milliseconds(stage.ms),
            "own_ms": _milliseconds(stage.own_ms),
            "cursor_ms": _milliseconds(stage.cursor_ms),
            "worst": stage is heaviest,
            "keys": to_json_value(stage.pattern),
            "bounds": to_json_value(stage.bounds),
            "filter": to_json_value(stage.filter),
            "details": to_json_value(stage.details),
        }
        for depth, stage in _deep(plan.root, 0)
    ]


def worst(plan: Plan) -> Stage | None:
    """Return the stage that costs the most: by its own time, else by what it examined for nothing.

    What handing documents to a pipeline took counts as the time of the stage that read most of them: there
    it can be mended. Of a plan that wasn't run: what reads a whole collection, or sorts. None for a plan of
    one stage, and where nothing stands out.
    """
    found = list(plan.root.walk())
    if len(found) == 1:
        return None
    if not plan.executed:
        return next(iter([*verdict.scans(plan.root), *verdict.sorts(plan.root)]), None)
    spent = {id(stage): stage.own_ms or 0.0 for stage in found}
    for stage in found:
        if stage.handing_ms:
            spent[id(max(stage.walk(), key=_read))] += stage.handing_ms
    slowest = max(found, key=lambda stage: spent[id(stage)])
    if spent[id(slowest)] >= NOTABLE_MS:
        return slowest
    idlest = max(found, key=_wasted)
    wasted = _wasted(idlest)
    return idlest if wasted >= max(NOTABLE_WASTE, idlest.output or 0) else None


def _milliseconds(value: float | None) -> float | None:
    """Write whole milliseconds as such, and finer clocks to the microsecond."""
    if value is None:
        return None
    return int(value) if value == int(value) else round(value, 3)


def _read(stage: Stage) -> tuple[int, int]:
    return stage.docs or 0, stage.keys or 0


def _wasted(stage: Stage) -> int:
    if verdict.joined(stage) == ["ixscan"]:
        # How many of those that it fetched by an index it joined, no server tells.
        return 0
    return max(stage.keys or 0, stage.docs or 0) - (stage.output or 0)


def _deep(stage: Stage, depth: int) -> Iterator[tuple[int, Stage]]:
    yield depth, stage
    for below in stage.inputs:
        yield from _deep(below, depth + 1)
