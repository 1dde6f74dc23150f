"""`queryPlanner` and `executionStats`: what one query planner says of one collection. Pure.

A find, a count and a distinct answer with it, as does a pipeline that went into the query engine as a
whole; in other pipelines it stands in `$cursor`. Rejected plans are counted, and never looked into.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from motorctl.core.explain.plan import Stage
from motorctl.core.explain.reading import classic, slot_based
from motorctl.core.explain.reading.part import (
    NotExplainError,
    Part,
    added,
    document,
    listed,
    milliseconds,
    number,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


def read(answer: Mapping[str, Any]) -> Part:
    """Read a document with `queryPlanner`, of a mongod or of a mongos."""
    planner = document(answer.get("queryPlanner"), "queryPlanner")
    winner = document(planner.get("winningPlan"), "queryPlanner.winningPlan")
    stats = answer.get("executionStats")
    figures = stats if isinstance(stats, dict) else None
    if isinstance(winner.get("shards"), list):
        return _sharded(planner, winner, figures)
    if not winner:
        raise NotExplainError("queryPlanner.winningPlan is empty")
    execution = (figures or {}).get("executionStages")
    if "queryPlan" in winner:
        root = slot_based.tree(winner["queryPlan"], execution)
    else:
        root = classic.tree(execution or winner)
    part = Part(
        root,
        str(planner.get("namespace") or ""),
        executed=figures is not None,
        rejected=len(listed(planner.get("rejectedPlans"))),
        engine="sbe" if "queryPlan" in winner else "classic",
    )
    if planner.get("indexFilterSet"):
        root.details["indexFilterSet"] = True
    if figures is not None:
        _total(part, figures)
    return part


def _total(part: Part, figures: Mapping[str, Any]) -> None:
    """Take the totals of `executionStats`; what it hasn't, the stages add up to."""
    stages = list(part.root.walk())
    part.returned = number(figures.get("nReturned"))
    if part.returned is None:
        part.returned = part.root.output
    keys, docs = number(figures.get("totalKeysExamined")), number(figures.get("totalDocsExamined"))
    part.keys = added(stage.keys for stage in stages) if keys is None else keys
    part.docs = added(stage.docs for stage in stages) if docs is None else docs
    part.ms = milliseconds(figures)
    if part.ms is None:
        part.ms = part.root.ms
    if figures.get("executionSuccess") is False:
        part.failure = str(figures.get("errorMessage") or "the query failed")
        part.failure_code = number(figures.get("errorCode"))


def _sharded(
    planner: Mapping[str, Any], winner: Mapping[str, Any], figures: Mapping[str, Any] | None
) -> Part:
    """Read a mongos: SINGLE_SHARD, SHARD_MERGE or SHARD_MERGE_SORT over one plan a shard."""
    stages = (figures or {}).get("executionStages")
    execution: Mapping[str, Any] = stages if isinstance(stages, dict) else {}
    ran = {
        str(one.get("shardName", "")): one for one in listed(execution.get("shards")) if isinstance(one, dict)
    }
    parts: list[Part] = []
    for shard in winner["shards"]:
        shard = document(shard, "a shard")  # noqa: PLW2901 - the same, checked
        name = str(shard.get("shardName", ""))
        inner: dict[str, Any] = {"queryPlanner": shard}
        if name in ran:
            inner["executionStats"] = ran[name]
        part = read(inner)
        for stage in part.root.walk():
            stage.shard = name
        parts.append(part)
    root = Stage(
        str(winner.get("stage", "SHARDS")),
        [part.root for part in parts],
        output=number(execution.get("nReturned")),
        ms=milliseconds(execution),
        details=classic.details(execution or winner),
    )
    whole = Part(
        root,
        str(planner.get("namespace") or next((part.namespace for part in parts if part.namespace), "")),
        executed=figures is not None,
        rejected=sum(part.rejected for part in parts),
        engine=next((part.engine for part in parts), None),
        shards=[str(shard.get("shardName", "")) for shard in winner["shards"]],
    )
    if figures is not None:
        _total(whole, figures)
        if whole.failure is None and (failed := next((part for part in parts if part.failure), None)):
            whole.failure, whole.failure_code = failed.failure, failed.failure_code
    return whole
