"""What is said of a plan in one word, and of which stages it is true. Pure.

The words are about how documents are found, over all ways that the winning plan takes (the branches of
an $or, the shards, the other side of a $lookup):

    collscan   every way reads a whole collection
    ixscan     every way uses an index, a collection's clustered key among them
    idhack     one document by its `_id`, on the classic engine's short way
    express    a way past the planner: EXPRESS_* of 8.0, a count that the collection's metadata answers,
               the random cursor of $sample
    eof        nothing is read: the collection isn't there, the filter can't match, or the pipeline has no
               collection
    mixed      some ways read a whole collection and others don't; or a stage is unknown and shows neither
               a key nor an index, so that nothing better can be said

Of idhack, express and eof together with an index the word is ixscan: something is searched for. A stage that gathers
or filters (SINGLE_SHARD, FETCH, $group) says nothing by itself, and rejected plans are never looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from motorctl.core.explain.reading.pipeline import SEARCHES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from motorctl.core.explain.plan import Stage, Verdict

Way = Literal["collscan", "ixscan", "idhack", "express", "eof", "unknown"]

_WAYS: dict[str, Way] = {
    "COLLSCAN": "collscan",
    "IXSCAN": "ixscan",
    "COUNT_SCAN": "ixscan",
    "DISTINCT_SCAN": "ixscan",
    "CLUSTERED_IXSCAN": "ixscan",
    "TEXT": "ixscan",
    "TEXT_MATCH": "ixscan",
    "GEO_NEAR_2D": "ixscan",
    "GEO_NEAR_2DSPHERE": "ixscan",
    "SEARCH": "ixscan",
    "IDHACK": "idhack",
    "EXPRESS_IXSCAN": "express",
    "EXPRESS_CLUSTERED_IXSCAN": "express",
    "EXPRESS_UPDATE": "express",
    "EXPRESS_DELETE": "express",
    "RECORD_STORE_FAST_COUNT": "express",
    "MULTI_ITERATOR": "express",
    "EOF": "eof",
}
_SCANNING_JOINS = frozenset({"HashJoin", "NestedLoopJoin"})
_EMPTY_JOINS = frozenset({"NonExistentForeignCollection"})
_BRANCH_ENDS = frozenset({"$teeConsumer", "$internalFacetTeeConsumer"})
"""The lower end of a $facet's pipeline: what it takes from has been looked at below the $facet."""


def ways(stage: Stage) -> list[Way]:
    """Return how one stage itself comes to documents: none for most stages, two for some a $lookup."""
    found = joined(stage)
    if stage.inputs or stage.kind in _BRANCH_ENDS:
        # What TEXT_MATCH or GEO_NEAR do with an index is in the stages below them, if there are any.
        return found
    return [*found, _leaf(stage)]


def joined(stage: Stage) -> list[Way]:
    """Return how a $lookup, or another stage with such counts, comes to the other collection's documents.

    Before 5.0, or when nothing was run, the classic engine's doesn't say it: then there is none.
    """
    found: list[Way] = []
    told = stage.details.get("strategy")
    strategy = told if isinstance(told, str) else None
    if strategy in _SCANNING_JOINS or stage.details.get("collectionScans"):
        found.append("collscan")
    if stage.details.get("indexesUsed") or (
        strategy is not None and strategy not in _SCANNING_JOINS | _EMPTY_JOINS
    ):
        found.append("ixscan")
    return found


def verdict(root: Stage) -> Verdict:
    """Return the word for a plan's tree."""
    found = {way for stage in root.walk() for way in ways(stage)}
    if "collscan" in found:
        return "collscan" if found <= {"collscan", "eof"} else "mixed"
    if "unknown" in found:
        return "mixed"
    if "ixscan" in found:
        return "ixscan"
    for word in ("express", "idhack"):
        if word in found and found <= {word, "eof"}:
            return word
    return "ixscan" if found & {"express", "idhack"} else "eof"


def scans(root: Stage) -> list[Stage]:
    """Return the stages that read a whole collection: COLLSCAN, and joins that scan the other side."""
    return [stage for stage in root.walk() if "collscan" in ways(stage)]


def sorts(root: Stage) -> list[Stage]:
    """Return the stages that gather all documents and sort them; SORT_MERGE and a merge of shards don't."""
    return [stage for stage in root.walk() if stage.kind in ("SORT", "$sort")]


def indexes(root: Stage) -> list[str]:
    """Return the names of the indexes that are used, each once: the lowest stages' first, then what joins.

    A clustered collection's key is an index whose name no server gives.
    """
    names: list[str] = []
    for stage in _upwards(root):
        names += ["_id_"] if stage.kind == "IDHACK" and not stage.index else []
        names += [stage.index] if stage.index else []
        used = stage.details.get("indexesUsed")
        names += [name for name in used if isinstance(name, str)] if isinstance(used, list) else []
    return list(dict.fromkeys(names))


def bounded(stage: Stage) -> bool:
    """Tell whether a COLLSCAN has a first or a last record: a range of a clustered collection.

    So 5.0 shows what later servers call CLUSTERED_IXSCAN.
    """
    return "minRecord" in stage.details or "maxRecord" in stage.details


def _upwards(stage: Stage) -> Iterator[Stage]:
    for below in stage.inputs:
        yield from _upwards(below)
    yield stage


def _leaf(stage: Stage) -> Way:
    if stage.kind == "COLLSCAN" and bounded(stage):
        return "ixscan"
    if (known := _WAYS.get(stage.kind)) is not None:
        return known
    if stage.kind in SEARCHES or stage.index is not None or stage.pattern is not None or stage.keys:
        return "ixscan"
    if stage.kind.startswith("$"):
        # $indexStats, $documents, $currentOp and the like make their documents themselves.
        return "eof"
    return "unknown"
