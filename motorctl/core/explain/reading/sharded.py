"""What a mongos answers for an aggregation: `splitPipeline`, `mergeType`, and one document a shard. Pure.

Of the merger's part only its stages are known: a mongos shows no figures of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from motorctl.core.explain.plan import Stage
from motorctl.core.explain.reading import pipeline
from motorctl.core.explain.reading.part import NotExplainError, Part, added, document, listed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from motorctl.core.explain.reading.pipeline import Whole


def read(answer: Mapping[str, Any], whole: Whole) -> Part:
    """Read a document with `shards` by their names."""
    shards = document(answer.get("shards"), "shards")
    if not shards:
        raise NotExplainError("shards is empty")
    parts: list[Part] = []
    for name, inner in shards.items():
        part = whole(document(inner, f"shard {name}"))
        for stage in part.root.walk():
            stage.shard = name
        parts.append(part)
    split = answer.get("splitPipeline")
    merger = listed(split.get("mergerPart")) if isinstance(split, dict) else []
    root = _merged([part.root for part in parts], merger)
    failed = next((part for part in parts if part.failure), None)
    unmerged = root.output is not None and root.shard is not None
    return Part(
        root,
        next((part.namespace for part in parts if part.namespace), ""),
        executed=any(part.executed for part in parts),
        returned=parts[0].returned if unmerged else _returned(root, parts),
        keys=added(part.keys for part in parts),
        docs=added(part.docs for part in parts),
        ms=max((part.ms for part in parts if part.ms is not None), default=None),
        rejected=sum(part.rejected for part in parts),
        engine=next((part.engine for part in parts if part.engine), None),
        failure=failed.failure if failed else None,
        failure_code=failed.failure_code if failed else None,
        shards=list(shards),
        merged_on=str(answer["mergeType"]) if merger and answer.get("mergeType") else None,
    )


def _merged(roots: list[Stage], merger: list[Any]) -> Stage:
    """Put the merger's stages on top of the shards' trees; one shard alone needs none."""
    if not merger:
        return roots[0] if len(roots) == 1 else Stage("SHARD_MERGE", roots)
    first = document(merger[0], "a stage of the merger")
    if "$mergeCursors" in first:
        base, rest = pipeline.chained(first, "$mergeCursors"), merger[1:]
    else:
        base, rest = Stage("$mergeCursors"), merger
    base.inputs = roots
    base.output = added(root.output for root in roots)
    return pipeline.planned(rest, base) or base


def _returned(root: Stage, parts: list[Part]) -> int | None:
    """How many documents left the merger: known where it only puts those of the shards together."""
    return added(part.returned for part in parts) if root.kind in ("$mergeCursors", "SHARD_MERGE") else None
