"""What of a pipeline runs on the shards of a cluster, and what where their answers are merged.

By the rules of the MongoDB Manual ("Aggregation Pipeline and Sharded Collections", "Aggregation Pipeline
Optimization", and the pages of the stages) and of the server's own description of them (mongodb/mongo,
src/mongo/s/query/README_aggregation.md, "Aggregation pipeline splitting"): a pipeline is cut in two at the first stage
that needs the documents of all shards. What is before it runs on each shard, what is behind it once; the stage
itself may do a part of its work on each. `where` says it from the pipeline alone; `from_explain` reads what a
cluster has decided. Pure: asks no server, and knows of no collection whether it is sharded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Place = Literal["shards", "merger", "both"]


@dataclass(frozen=True)
class Placement:
    """Where a stage runs, and why: a part of a sentence."""

    stage: str
    place: Place
    why: str


_EACH = "each shard does it for its own documents"
_AFTER = "it comes after the stage that brings the shards together"

_SPLITTING: dict[str, tuple[Place, str]] = {
    "$group": ("both", "each shard makes groups of its own documents; the merger adds equal groups up"),
    "$count": ("both", "each shard counts its own documents; the merger adds the counts up"),
    "$sortByCount": ("both", "each shard counts its own groups; the merger adds them up and sorts them"),
    "$bucket": ("both", "each shard fills its own buckets; the merger adds equal ones up and sorts them"),
    "$sort": (
        "both",
        "each shard sorts its own documents; the merger takes them in order, and sorts nothing again",
    ),
    "$limit": ("both", "each shard sends no more than that; the merger cuts the whole"),
    "$sample": ("both", "each shard draws so many; the merger keeps as many of them all"),
    "$geoNear": ("both", "each shard sorts its own documents by distance; the merger takes them in order"),
    "$search": ("both", "each shard sorts its own documents by score; the merger takes them in order"),
    "$vectorSearch": ("both", "each shard finds its own nearest; the merger takes them in order"),
    "$skip": ("merger", "which documents are the first is known when those of all shards are in order"),
    "$bucketAuto": ("merger", "the bounds of the buckets need the documents of all shards"),
    "$facet": ("merger", "each of its pipelines reads the documents of all shards"),
    "$setWindowFields": (
        "both",
        "each shard sorts by partition; the merger fills the windows, which need all documents",
    ),
    "$densify": ("merger", "a gap is one when no shard has a document in it"),
    "$fill": ("merger", "the value before or after may be on another shard"),
    "$unionWith": ("merger", "the other collection is added once, not once for each shard"),
    "$out": ("merger", "one collection is written in the place of another"),
}
"""Stages that need the documents of all shards: where they run when none of these is before them."""

_FOREIGN = {"$lookup": "from", "$graphLookup": "from", "$merge": "into"}
"""Stages that use another collection, and the key that names it."""

_KEEPS_COUNT = frozenset(
    {"$project", "$set", "$addFields", "$unset", "$replaceRoot", "$replaceWith", "$lookup", "$skip"}
)
"""Stages between a $sort and a $limit that change no number of documents: the $limit belongs to the $sort."""


def where(pipeline: Sequence[Mapping[str, Any]]) -> list[Placement]:
    """Return for each stage where it runs when the collection is sharded, and no other that it uses.

    A `$match` on the shard key, which one shard answers alone, isn't known here: the plan of an explain tells.
    """
    found: list[Placement] = []
    split: str | None = None
    for number, stage in enumerate(pipeline):
        name = _name(stage)
        place = _after(pipeline, number, split, found) if split else _before(name, stage)
        found.append(Placement(name, *place))
        if split is None and place[0] != "shards":
            split = name
    return found


def merges_on(pipeline: Sequence[Mapping[str, Any]]) -> str | None:
    """Return in words where the merger's part runs; None for a pipeline that has no such part.

    The Manual, "Aggregation Pipeline and Sharded Collections": mongos merges, but for the stages that need a
    shard, and those that may write to a disk (`allowDiskUse`, which is on), which mongos has none of.
    """
    placed = [one for one in where(pipeline) if one.place != "shards"]
    names = {one.stage for one in placed}
    if not names:
        return None
    if names & {"$out", "$merge"}:
        return "the shard that holds the collection that is written"
    if names & {"$lookup", "$graphLookup", "$unionWith"} or _joins_inside(pipeline):
        return "the shard that holds the collection that is joined (up to 7.0: the database's primary shard)"
    # The sort on the shards is merged without sorting, so that a $sort before the split needs no disk there.
    spills = {"$group", "$bucket", "$bucketAuto", "$sortByCount", "$setWindowFields", "$facet", "$fill"}
    sorts_again = "$sort" in {one.stage for one in placed if one.place == "merger"}
    if names & spills or sorts_again:
        return "a shard that is chosen at random, since groups and sorts may use its disk"
    return "mongos"


def from_explain(document: Mapping[str, Any]) -> list[Placement]:
    """Return where a cluster runs the stages, from the explain document of an aggregation through mongos.

    The stages are those that the server made of the pipeline: `$count` is a `$group` and a `$project` there, and
    a `$mergeCursors` brings the shards together. A stage that has a part on each side is there twice. A
    pipeline that isn't split runs on the shards that the explain names. A document without `shards` is of no
    sharded aggregation: then there is nothing in the list.
    """
    split = document.get("splitPipeline")
    if not split:
        return _unsplit(document)
    merged_on = _merged_on(document)
    ours = [_name(stage) for stage in split.get("shardsPart") or []]
    theirs = list(split.get("mergerPart") or [])
    # servers before 5.3 show no $mergeCursors
    gathers = bool(theirs) and _name(theirs[0]) == "$mergeCursors"
    found = [Placement(name, "shards", _EACH) for name in ours]
    if gathers:
        order = theirs[0]["$mergeCursors"].get("sort")
        how = (
            f"takes the shards' answers in the order of {_fields(order)}"
            if order
            else "collects the shards' answers"
        )
        found.append(Placement("$mergeCursors", "merger", f"{merged_on} {how}"))
    for stage in theirs[gathers:]:
        name, body = _name(stage), stage[_name(stage)]
        if isinstance(body, dict) and body.get("$doingMerge"):
            found.append(Placement(name, "merger", f"{merged_on} adds the shards' groups up"))
        else:
            found.append(Placement(name, "merger", f"{merged_on} does it for all documents"))
    return found


def _before(name: str, stage: Mapping[str, Any]) -> tuple[Place, str]:
    if name in _FOREIGN:
        other = _collection(stage[name], _FOREIGN[name])
        return "merger", f"{other or 'the other collection'} is on one shard: it is done once, there"
    return _SPLITTING.get(name, ("shards", _EACH))


def _after(
    pipeline: Sequence[Mapping[str, Any]], number: int, split: str, before: Sequence[Placement]
) -> tuple[Place, str]:
    name = _name(pipeline[number])
    stages = [_name(stage) for stage in pipeline[:number]]
    start = next(index for index, one in enumerate(before) if one.place != "shards")
    between = stages[start + 1 :]
    if name == "$match" and split == "$sort" and not between:
        return "shards", "the server puts a $match before the $sort that it follows"
    if name == "$limit" and split in ("$sort", "$skip") and set(between) <= _KEEPS_COUNT:
        more = " and as many as are skipped" if "$skip" in stages[start:] else ""
        return "both", f"each shard sends no more than that{more}; the merger cuts the whole"
    return "merger", _AFTER


def _joins_inside(pipeline: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether a `$facet` holds a stage that reads another collection."""
    return any(
        _name(stage) in ("$lookup", "$graphLookup", "$unionWith")
        for outer in pipeline
        if _name(outer) == "$facet" and isinstance(outer["$facet"], dict)
        for inner in outer["$facet"].values()
        for stage in inner
    )


def _unsplit(document: Mapping[str, Any]) -> list[Placement]:
    shards = document.get("shards")
    if not isinstance(shards, dict):
        return []
    why = "it is not split: all runs on " + (
        f"the shard {next(iter(shards))}" if len(shards) == 1 else f"each of {len(shards)} shards"
    )
    stages = next((shard.get("stages") for shard in shards.values() if shard.get("stages")), None)
    return [Placement(_name(stage), "shards", why) for stage in stages or [{"$cursor": {}}]]


_MERGERS = {
    "mongos": "mongos",
    "router": "mongos",
    "anyShard": "a shard chosen at random",
    "primaryShard": "the database's primary shard",
}


def _merged_on(document: Mapping[str, Any]) -> str:
    kind = document.get("mergeType")
    if kind == "specificShard":
        shard = document.get("mergeShardId") or document.get("mergeShard")
        return f"the shard {shard}" if shard else "one shard"
    if kind is None:
        # old servers
        return "the database's primary shard" if document.get("needsPrimaryShardMerger") else "a shard"
    return _MERGERS.get(str(kind), str(kind))


def _fields(order: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {'descending' if way == -1 else 'ascending'}" for name, way in order.items())


def _collection(body: Any, key: str) -> str | None:
    """Return the collection that a stage uses, without the database's name."""
    other = body.get(key) if isinstance(body, dict) else body
    if isinstance(other, dict):
        other = other.get("coll")
    return other if isinstance(other, str) else None


def _name(stage: Mapping[str, Any]) -> str:
    return next(iter(stage), "")
