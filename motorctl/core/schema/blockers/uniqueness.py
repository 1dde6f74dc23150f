"""Asks for the documents that share the key of a unique index: which values, how many, whose.

An index that is there already answers alone where it can; else the whole collection is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from motorctl.core.schema import duplicates
from motorctl.core.schema.blockers.asking import SAMPLES, Unanswerable, documents
from motorctl.core.schema.change import Blocker
from motorctl.core.schema.compare import expand_collation, same, same_query
from motorctl.core.schema.planning.commands import index_of
from motorctl.core.schema.words import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from motorctl.core.schema.blockers.asking import Asking, Step
    from motorctl.core.schema.change import Change
    from motorctl.core.schema.model import Index

_OTHER_SHAPES = ("sparse", "partialFilterExpression", "hidden")
_MOST_TRIED = 2


def becomes_unique(change: Change) -> bool:
    """Tell whether a change makes keys unique that weren't (`prepareUnique` alone takes what is there)."""
    before, after = change.before or {}, change.after or {}
    if not after.get("unique"):
        return False
    as_before = (
        before.get("unique")
        and same(before["keys"], after["keys"])
        and same(before.get("sparse", False), after.get("sparse", False))
        and expand_collation(before.get("collation")) == expand_collation(after.get("collation"))
        and same_query(before.get("partialFilterExpression"), after.get("partialFilterExpression"))
    )
    return not as_before


async def shared(asking: Asking, step: Step) -> Blocker | None:
    """Look for values that several documents share. Raises Unanswerable for keys that no question is about."""
    collection = step.collection or ""
    index = index_of(step.change.after or {})
    if index.is_text:
        raise Unanswerable("its keys are words, which only the server makes of a text")
    if not duplicates.can_be_asked(index):
        raise Unanswerable("a number in a key may be a field or a position")
    fields = list(index.keys)
    options = {"collation": index.options["collation"]} if "collation" in index.options else {}
    found = duplicates.stages(index.keys, index.options)
    if (hint := await _covering(asking, collection, index, options)) is not None:
        found = duplicates.stages_without_arrays(fields, index.options)
        options["hint"] = hint
    elif await _is_plain(asking, collection, index):
        # Taking arrays apart that aren't there costs half as much again.
        found = duplicates.stages_without_arrays(fields, index.options)
    (row,) = await asking.rows(collection, [*found, *_summed()], **options)
    if not row["total"]:
        return None
    options.pop("hint", None)
    samples = []
    for sample in row["samples"]:
        stages = duplicates.holders(index.keys, index.options, sample["_id"], SAMPLES)
        ids = [one["_id"] for one in await asking.in_time(asking.rows(collection, stages, **options))]
        value = dict(zip(fields, sample["_id"], strict=True))
        samples.append({"value": value, "count": sample["count"], "ids": ids})
    return _blocker(index, row["total"][0], samples)


def _summed() -> list[dict[str, Any]]:
    total = {
        "_id": None,
        "values": {"$sum": 1},
        "documents": {"$sum": "$count"},
        "arrays": {"$max": "$arrays"},
    }
    # Those that most documents share come first; the key makes the order the same at each run.
    first = [{"$sort": {"count": -1, "_id": 1}}, {"$limit": SAMPLES}]
    return [{"$facet": {"total": [{"$group": total}], "samples": first}}]


def _blocker(index: Index, total: Mapping[str, Any], samples: list[dict[str, Any]]) -> Blocker:
    count = total["documents"]
    values = "1 value is" if total["values"] == 1 else f"{total['values']} values are"
    shares = f"there {count} times, in arrays too" if total["arrays"] else f"shared by {documents(count)}"
    most = samples[0]
    message = f"{values} {shares}: {shown(most['value'])} ({most['count']})"
    if total["values"] > 1:
        message += " and others"
    return Blocker(
        "duplicates",
        message,
        f"give each document a key of its own, or leave `unique` out of {index.resolved_name}",
        count,
        tuple(samples),
        ignorable=True,
    )


async def _is_plain(asking: Asking, collection: str, index: Index) -> bool:
    """Tell whether each document has one entry in an index: no field of its holds an array."""
    if index.options.get("sparse") or any(isinstance(kind, str) for kind in index.keys.values()):
        return False
    query = {"$or": [{path: {"$type": "array"}} for path in duplicates.paths(list(index.keys))]}
    return not await asking.rows(collection, [{"$match": query}, {"$limit": 1}, {"$project": {"_id": 1}}])


async def _covering(asking: Asking, collection: str, index: Index, options: Mapping[str, Any]) -> str | None:
    """Name an index that answers alone, without reading a document; the server says whether it does.

    One that has arrays in these fields never does: what answers alone has none.
    """
    if index.options.get("sparse") or any(isinstance(kind, str) for kind in index.keys.values()):
        return None
    names = _candidates(asking.indexes(collection), set(index.keys))
    for name in names[:_MOST_TRIED]:
        pipeline = duplicates.stages_without_arrays(list(index.keys), index.options)
        asked = {"aggregate": collection, "pipeline": pipeline, "cursor": {}, "hint": name, **options}
        reply = await asking.command({"explain": asked, "verbosity": "queryPlanner"})
        stages = set(_stages(reply))
        if "IXSCAN" in stages and not stages & {"FETCH", "COLLSCAN"}:
            return name
    return None


def _candidates(there: Sequence[Index], fields: set[str]) -> list[str]:
    """Name the indexes that hold these fields of each document, the shortest first."""
    fitting = [
        one
        for one in there
        if fields <= set(one.keys)
        and all(isinstance(kind, (int, float)) for kind in one.keys.values())
        and "collation" not in one.options
        and not any(one.options.get(option) for option in _OTHER_SHAPES)
    ]
    return [one.resolved_name for one in sorted(fitting, key=lambda one: len(one.keys))]


def _stages(plan: Any) -> Iterator[str]:
    if isinstance(plan, dict):
        if "stage" in plan:
            yield str(plan["stage"])
        plan = list(plan.values())
    for inner in plan if isinstance(plan, list) else ():
        yield from _stages(inner)
