"""The stages of an aggregation, in a chain: the last on top, below the first what `$cursor` holds. Pure.

`nReturned` and `executionTimeMillisEstimate` stand beside a stage since 4.4. `$lookup` tells since 5.0
what it examined in the other collection; `$unionWith` and `$facet` hold pipelines of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from motorctl.core.explain.plan import Stage
from motorctl.core.explain.reading import planner
from motorctl.core.explain.reading.part import NotExplainError, Part, added, document, milliseconds, number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Whole = Callable[[dict[str, Any]], Part]
    """Reads a whole explain document, such as the one that a `$unionWith` on a mongos holds."""

CURSORS = ("$cursor", "$geoNearCursor")
SEARCHES = frozenset({"$search", "$searchMeta", "$vectorSearch", "$_internalSearchMongotRemote"})
BESIDE = (
    "collectionScans",
    "indexesUsed",
    "usedDisk",
    "spills",
    "totalDataSizeSortedBytesEstimate",
    "maxAccumulatorMemoryUsageBytes",
    "maxFunctionMemoryUsageBytes",
    "totalOutputDataSizeBytes",
)
"""What stands beside a stage's name, in the same object."""

INSIDE = {
    "$lookup": ("from", "localField", "foreignField", "as", "unwinding", "strategy"),
    "$graphLookup": ("from", "connectFromField", "connectToField", "as", "maxDepth"),
    "$merge": ("into", "on", "whenMatched", "whenNotMatched"),
    "$out": ("db", "coll"),
    "$unionWith": ("coll",),
    "$group": ("_id", "$doingMerge", "$willBeMerged"),
    "$unwind": ("path",),
    "$sample": ("size",),
    "$sampleFromRandomCursor": ("size",),
    "$mergeCursors": ("sort",),
    "$_internalUnpackBucket": ("timeField", "metaField", "eventFilter", "wholeBucketFilter"),
}
"""What of a stage's own object is kept: never the whole, which may hold a user's documents."""


def read(stages: Any, whole: Whole) -> Part:
    """Read the `stages` of an explain document."""
    if not isinstance(stages, list) or not stages:
        raise NotExplainError("stages is not a list of stages")
    part: Part | None = None
    for one in stages:
        step = document(one, "a stage of the pipeline")
        name = next((key for key in step if key.startswith("$")), None)
        if name is None:
            raise NotExplainError("a stage of the pipeline has no operator")
        part = _based(step, name) if part is None else part
        if name not in CURSORS:
            _append(part, step, name, whole)
    if part is None:
        raise NotExplainError("stages is empty")
    return part


def _based(step: Mapping[str, Any], name: str) -> Part:
    """Begin a part: with what `$cursor` holds, or with nothing for a pipeline that reads no collection."""
    if name not in CURSORS:
        return Part(Stage(""), executed="nReturned" in step)
    part = planner.read(document(step[name], name))
    part.root.cursor_ms = milliseconds(step)
    # Of a random cursor (`$sample`) more came out than the pipeline took.
    if (output := number(step.get("nReturned"))) is not None:
        part.returned = output
    return part


def _append(part: Part, step: Mapping[str, Any], name: str, whole: Whole) -> None:
    stage = chained(step, name)
    if part.root.kind:
        stage.inputs = [part.root]
    part.root = stage
    for side in _sides(stage, step[name], whole):
        stage.inputs.append(side.root)
        part.rejected += side.rejected
        part.keys, part.docs = added((part.keys, side.keys)), added((part.docs, side.docs))
        if part.failure is None:
            part.failure, part.failure_code = side.failure, side.failure_code
    part.keys, part.docs = added((part.keys, stage.keys)), added((part.docs, stage.docs))
    if stage.output is not None:
        part.returned, part.executed = stage.output, True
    if stage.ms is not None:
        part.ms = max(stage.ms, part.ms or 0.0)


def chained(step: Mapping[str, Any], name: str) -> Stage:
    """Return one stage of a pipeline, without what is below it."""
    spec = step[name]
    stage = Stage(
        name,
        output=number(step.get("nReturned")),
        ms=milliseconds(step),
        keys=number(step.get("totalKeysExamined")),
        docs=number(step.get("totalDocsExamined")),
    )
    stage.details = {key: step[key] for key in BESIDE if step.get(key) is not None}
    if name == "$match":
        stage.filter = spec
    elif name in ("$limit", "$skip"):
        stage.details[f"{name[1:]}Amount"] = number(spec)
    elif isinstance(spec, dict):
        stage.details |= {key: spec[key] for key in INSIDE.get(name, ()) if spec.get(key) is not None}
        if name in ("$sort", "$_internalBoundedSort"):
            stage.details["sortPattern"] = spec.get("sortKey", spec)
            stage.details |= {"limitAmount": number(spec["limit"])} if "limit" in spec else {}
        elif name in SEARCHES:
            query = spec.get("mongotQuery", spec)
            stage.index = str(query.get("index", "default")) if isinstance(query, dict) else "default"
    return stage


def _sides(stage: Stage, spec: Any, whole: Whole) -> list[Part]:
    """Read the pipelines inside a stage; each is a branch with a name."""
    if stage.kind == "$facet" and isinstance(spec, dict):
        sides = [_branch(inner, field, whole, flows=False) for field, inner in spec.items() if inner]
        for side in sides:
            _leave_out_the_source(side.root)
        return sides
    if stage.kind == "$unionWith" and isinstance(spec, dict):
        inner = spec.get("pipeline")
        # Without figures an older server repeats the pipeline as it was written.
        if isinstance(inner, dict) or _explained(inner):
            return [_branch(inner, str(spec.get("coll", "")), whole, flows=True)]
    return []


def _branch(inner: Any, name: str, whole: Whole, *, flows: bool) -> Part:
    part = whole(inner) if isinstance(inner, dict) else read(inner, whole)
    part.root.branch, part.root.flows = name, flows
    if part.namespace:
        part.root.details.setdefault("namespace", part.namespace)
    return part


def _leave_out_the_source(branch: Stage) -> None:
    """Take what the source took out of the times of a $facet's branch: the one that asks first waits for it."""
    chain = list(branch.walk())
    waited = chain[-1].ms or 0.0
    for stage in chain:
        stage.ms = None if stage.ms is None else max(0.0, stage.ms - waited)


def _explained(stages: Any) -> bool:
    return isinstance(stages, list) and any(
        isinstance(stage, dict) and any(cursor in stage for cursor in CURSORS) for stage in stages
    )


def planned(stages: Sequence[Any], below: Stage | None) -> Stage | None:
    """Return the chain of a pipeline that is shown as it was written, such as the part of a merger."""
    for one in stages:
        step = document(one, "a stage of the pipeline")
        name = next((key for key in step if key.startswith("$")), None)
        if name is not None:
            stage = chained(step, name)
            stage.inputs = [below] if below is not None else []
            below = stage
    return below
