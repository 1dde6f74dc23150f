"""Estimates the room on disk that the plan's index builds need, against what the server says is left.

A build sorts its keys beside the index, so that it needs twice the size of the index for a while. Its
memory is limited by the server itself: what is beyond goes to disk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymongo.errors import OperationFailure

from motorctl.core.schema.applying.catalog import NAMESPACE_NOT_FOUND
from motorctl.core.schema.change import Blocker
from motorctl.core.schema.planning.commands import index_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from motorctl.core.schema.blockers.asking import Asking, Step

_WITH_SORTING = 2
_ENTRY = 24
"""Bytes of an index entry beside its values: the record's number, the tree."""

_MANY_ENTRIES = 4
"""How many times the size of the data an index of words, or of every field, may have."""

_SAMPLE = 200


async def short(asking: Asking, step: Step) -> Blocker | None:
    """Look whether this build, after those before it, fits on the server's disk."""
    room: tuple[int, Mapping[int, int]] | None = await asking.fact(("room", ""), lambda: _needs(asking))
    if room is None or step.position not in room[1]:
        return None
    free, need = room[0], room[1][step.position]
    return Blocker(
        "disk",
        f"the builds up to this one may need {_shown(need)} on disk, and the server has {_shown(free)} left",
        "an estimate from a sample: free or add room, or build fewer indexes at a time",
        ignorable=True,
    )


async def _needs(asking: Asking) -> tuple[int, Mapping[int, int]] | None:
    """Return the free bytes, and what is needed up to each step that doesn't fit; None: the server doesn't say."""
    stats = await asking.command({"dbStats": 1})
    total, used = stats.get("fsTotalSize", 0), stats.get("fsUsedSize", 0)
    if not total:
        return None
    free = int(total - used)
    steps = [step for step in asking.steps if step.collection is not None and step.builds]
    most = [(step, await _at_most(asking, step)) for step in steps]
    if _WITH_SORTING * sum(size for _, size in most) <= free:
        return free, {}
    needs: dict[int, int] = {}
    built = 0
    for step, size in most:
        own = await _estimated(asking, step, size)
        # What was built before stays; what it was sorted in doesn't.
        if (need := built + _WITH_SORTING * own) > free:
            needs[step.position] = need
        built += own
    return free, needs


async def _at_most(asking: Asking, step: Step) -> int:
    """Return more bytes than the index will have, from what the server knows without looking."""
    stats = await _statistics(asking, step.collection or "")
    times = _MANY_ENTRIES if _has_many_entries(step) else 1
    return int(times * (stats["size"] + _ENTRY * stats["count"]))


async def _estimated(asking: Asking, step: Step, most: int) -> int:
    """Estimate the bytes of an index from some documents."""
    if _has_many_entries(step):
        return most
    collection = step.collection or ""
    stats = await _statistics(asking, collection)
    index = index_of(step.change.after or {})
    fields = [f"${field}" for field in index.keys]
    lengths = [{"$cond": [{"$isArray": field}, {"$size": {"$ifNull": [field, []]}}, 1]} for field in fields]
    values = {"$bsonSize": {f"v{n}": {"$ifNull": [field, None]} for n, field in enumerate(fields)}}
    pipeline: list[dict[str, Any]] = [
        {"$sample": {"size": _SAMPLE}},
        {
            "$facet": {
                "all": [{"$count": "n"}],
                "held": [
                    {"$match": index.options.get("partialFilterExpression", {})},
                    {"$project": {"bytes": {"$add": [values, {"$multiply": [_ENTRY, {"$max": lengths}]}]}}},
                    {"$group": {"_id": None, "bytes": {"$sum": "$bytes"}}},
                ],
            }
        },
    ]
    (row,) = await asking.rows(collection, pipeline)
    looked_at = sum(one["n"] for one in row["all"])
    held = sum(one["bytes"] for one in row["held"])
    return int(stats["count"] * held / looked_at) if looked_at else 0


async def _statistics(asking: Asking, collection: str) -> dict[str, Any]:
    """Ask for `count` and `size` (bytes) of a collection's documents, once."""

    async def read() -> dict[str, Any]:
        try:
            rows = await asking.rows(collection, [{"$collStats": {"storageStats": {}}}])
        except OperationFailure as error:
            if error.code != NAMESPACE_NOT_FOUND:
                raise
            rows = []
        # A shard each.
        told = [row["storageStats"] for row in rows]
        return {name: sum(one.get(name, 0) for one in told) for name in ("count", "size")}

    found: dict[str, Any] = await asking.fact(("statistics", collection), read)
    return found


def _has_many_entries(step: Step) -> bool:
    keys = (step.change.after or {})["keys"]
    return "text" in keys.values() or any("$**" in field for field in keys)


def _shown(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"
