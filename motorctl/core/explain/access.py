"""How a plan comes to its documents, in words that are the same for every server and engine.

A find by `_id` is IDHACK on one server and EXPRESS_IXSCAN on the next; a `$lookup` tells of its scans in
a count, in a strategy or not at all. Gates and baselines look at a plan through this module, so that a
new server's spelling is no difference. Pure; judges nothing, and holds no value of a query.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from bson import MaxKey, MinKey

from motorctl.core.explain.verdict import bounded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from motorctl.core.explain.plan import Plan, Stage

Scan = Literal["collscan", "ixscan", "none"]
"""How a collection is read: as a whole, by an index (`_id` and a clustered collection's key are one), not at all."""

Keys = tuple[tuple[str, Any], ...]

_ID: Keys = (("_id", 1),)
_BY_ID = frozenset({"IDHACK", "CLUSTERED_IXSCAN", "EXPRESS_CLUSTERED_IXSCAN"})
_FETCHING = frozenset({*_BY_ID, "FETCH", "TEXT_OR", "GEO_NEAR_2D", "GEO_NEAR_2DSPHERE"})
_EMPTY = frozenset({"EOF"})
LOOKUPS = frozenset({"$lookup", "EQ_LOOKUP", "EQ_LOOKUP_UNWIND", "$graphLookup"})
_SCANNING = frozenset({"HashJoin", "NestedLoopJoin"})
_FULL = frozenset({"[MinKey, MaxKey]", "[MaxKey, MinKey]"})


@dataclass(frozen=True)
class Access:
    """One way into a collection.

    `keys` are those of its index; `bounded` the fields of it that the query limits, None where the
    server doesn't tell; `covered`: no document is fetched. `stage` is the kind of the stage that reads.
    """

    collection: str
    scan: Scan
    index: str | None = None
    keys: Keys | None = None
    bounded: tuple[str, ...] | None = None
    covered: bool = False
    stage: str = ""

    @property
    def text(self) -> str:
        """The way in words: `orders by status_1_created_at_1`."""
        if self.scan == "ixscan":
            return f"{self.collection} by {self.index or keys_text(self.keys)}"
        return f"{self.collection} as a whole" if self.scan == "collscan" else f"nothing of {self.collection}"


def accesses(plan: Plan) -> list[Access]:
    """Return the ways into collections, from the top of the plan; one that several shards took stands once a shard."""
    return list(_ways(plan.root, collection_of(plan.namespace), None))


def untold(plan: Plan) -> Stage | None:
    """Return a stage that reads a collection and doesn't say how, if there is one.

    `$lookup` says it from 5.0 on, and only when the query was run; `$graphLookup` never does. Nor does
    `$unionWith` where an older server shows its pipeline as it was written.
    """
    return next((stage for stage in plan.root.walk() if _is_untold(stage)), None)


def keys_text(keys: Keys | None) -> str:
    """Write an index's keys as mongosh does: `{status: 1, created_at: -1}`."""
    if keys is None:
        return "an index"
    return "{" + ", ".join(f"{name}: {direction}" for name, direction in keys) + "}"


def _ways(stage: Stage, home: str, fetch: Stage | None) -> Iterator[Access]:
    """Walk down; `fetch` is the topmost stage that fetches what the ways below it find."""
    if fetch is None and stage.kind in _FETCHING:
        fetch = stage
    if stage.kind in LOOKUPS:
        # Below it stands the outer side, which is the home's.
        yield from _lookup_ways(stage) or ()
    else:
        home = _namespace_of(stage) or home
        if (way := _way(stage, home, fetch)) is not None:
            yield way
            return
    for below in stage.inputs:
        yield from _ways(below, home, fetch)


def _way(stage: Stage, home: str, fetch: Stage | None) -> Access | None:
    by_id = stage.kind in _BY_ID or (stage.kind == "COLLSCAN" and bounded(stage))
    if stage.kind == "COLLSCAN" and not by_id:
        return Access(home, "collscan", stage=stage.kind)
    if stage.kind in _EMPTY:
        return Access(home, "none", stage=stage.kind)
    if not (by_id or _is_index_scan(stage)):
        return None
    keys = _ID if by_id else _keys(stage.pattern)
    covered = (
        fetch is None
        and not by_id
        and (stage.kind != "EXPRESS_IXSCAN" or bool(stage.details.get("projectionCovered")))
    )
    return Access(
        home,
        "ixscan",
        "_id_" if by_id else stage.index,
        keys,
        _bounded(stage),
        covered and not stage.details.get("isFetching"),
        stage.kind,
    )


def _is_index_scan(stage: Stage) -> bool:
    if stage.kind.startswith("GEO_NEAR"):
        return True
    return not stage.inputs and (stage.index is not None or stage.pattern is not None)


def _is_untold(stage: Stage) -> bool:
    if stage.kind == "$unionWith":
        return not any(below.branch is not None for below in stage.inputs)
    return _lookup_ways(stage) is None


def _lookup_ways(stage: Stage) -> list[Access] | None:
    """Return what a `$lookup` did inside; None where it doesn't tell. Other stages: nothing.

    `$lookup` counts its scans from 5.0 on, when it was run; as a stage of the slot-based engine it names
    its strategy.
    """
    if stage.kind not in LOOKUPS:
        return []
    told, where = stage.details, _namespace_of(stage) or "another collection"
    strategy, named = told.get("strategy"), told.get("indexesUsed")
    if strategy in _SCANNING or told.get("collectionScans"):
        return [Access(where, "collscan", stage=stage.kind)]
    if strategy == "NonExistentForeignCollection":
        return [Access(where, "none", stage=stage.kind)]
    if strategy is not None:
        index, pattern = stage.index or told.get("indexName"), stage.pattern or told.get("indexKeyPattern")
        return [Access(where, "ixscan", index, _keys(pattern), stage=stage.kind)]
    if named:
        return [Access(where, "ixscan", str(name), stage=stage.kind) for name in named]
    return None


def _namespace_of(stage: Stage) -> str | None:
    """Return the collection that a stage names as its own: `$lookup` says `from`, others a whole namespace."""
    for word in ("from", "foreignCollection", "namespace"):
        if isinstance(found := stage.details.get(word), str):
            return found if word == "from" else collection_of(found)
    return None


def collection_of(namespace: str) -> str:
    """Return a namespace's collection; of a time series its own name, not that of its buckets."""
    return (namespace.partition(".")[2] or namespace).removeprefix("system.buckets.")


def _keys(pattern: Mapping[str, Any] | None) -> Keys | None:
    if not pattern:
        return None
    return tuple((name, _direction(one)) for name, one in pattern.items())


def _direction(value: Any) -> Any:
    """Write 1.0 as 1: which number type made an index is no difference."""
    return int(value) if isinstance(value, int | float) and value == int(value) else str(value)


def _bounded(stage: Stage) -> tuple[str, ...] | None:
    """Name the fields of an index that are limited at all; None where the server shows no bounds."""
    if not stage.bounds:
        return None
    start, end = stage.bounds.get("startKey"), stage.bounds.get("endKey")
    if stage.kind == "COUNT_SCAN" and isinstance(start, dict) and isinstance(end, dict):
        return tuple(name for name in start if not _is_open(start[name], end.get(name)))
    return tuple(name for name, intervals in stage.bounds.items() if not _is_full(intervals))


def _is_open(start: Any, end: Any) -> bool:
    return {type(start), type(end)} == {MinKey, MaxKey}


def _is_full(intervals: Any) -> bool:
    listed = intervals if isinstance(intervals, list | tuple) else [intervals]
    return len(listed) == 1 and str(listed[0]) in _FULL
