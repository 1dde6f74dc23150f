"""A change as the commands that the server is sent for it. Pure.

`apply` sends what stands here, and a plan shows it: they can't disagree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from motorctl.core.schema.compare import BUCKETING, bucketing, same_option, seconds
from motorctl.core.schema.model import Index
from motorctl.core.schema.planning.impossible import creation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from motorctl.core.schema.change import Change

_IN_COLLMOD = {"size": "cappedSize", "max": "cappedMax"}
"""Options of `create` that `collMod` calls by another name."""


def commands(change: Change) -> tuple[Mapping[str, Any], ...]:
    """Write the commands of a planned change, in their order; none for one that is kept.

    The names in `renameCollection` are those within the database. Those of a `rebuild` are the outcome:
    the index is built, and what it replaces is dropped. How no query is without an index meanwhile is
    `rebuild`'s.
    """
    name, before, after = change.collection, change.before or {}, change.after or {}
    match change.kind, change.action:
        case _, "keep":
            return ()
        case "collection", "create":
            return ({"create": name, **creation(after)},)
        case "collection", "drop":
            return ({"drop": name},)
        case "collection", _:
            return tuple(_collection(before, after, name))
        case "validator", _:
            return ({"collMod": name, **(after or {"validator": {}})},)
        case "search_index", "create":
            return ({"createSearchIndexes": name, "indexes": [dict(after)]},)
        case "search_index", "drop":
            return ({"dropSearchIndex": name, "name": change.name},)
        case "search_index", _:
            return ({"updateSearchIndex": name, "name": change.name, "definition": after["definition"]},)
        case "index", "modify":
            return tuple(
                {"collMod": name, "index": {"name": change.name, **step}} for step in _steps(before, after)
            )
        case "index", "drop":
            return ({"dropIndexes": name, "index": change.name},)
    old = [other for other in change.replaces if other != change.name]
    return (
        {"createIndexes": name, "indexes": [index_of(after).specification()]},
        *({"dropIndexes": name, "index": other} for other in old),
    )


def _collection(before: Mapping[str, Any], after: Mapping[str, Any], name: str) -> Iterator[dict[str, Any]]:
    if "name" in before:
        yield {"renameCollection": before["name"], "to": name}
    differing = [
        option
        for option, value in after.items()
        if option != "name" and not same_option(option, before.get(option), value)
    ]
    wishes: dict[str, Any] = {}
    for option in differing:
        value = after[option]
        match option:
            case "viewOn" | "pipeline":
                # A view is taken as a whole.
                wishes |= {key: after[key] for key in ("viewOn", "pipeline")}
            case "timeseries":
                wishes["timeseries"] = _buckets(value)
            case _:
                wishes[_IN_COLLMOD.get(option, option)] = value
    if wishes:
        yield {"collMod": name, **wishes}


def _buckets(series: Mapping[str, Any]) -> dict[str, Any]:
    spans = bucketing(series)
    for granularity, known in BUCKETING.items():
        if spans == known:
            return {"granularity": granularity}
    return dict(zip(("bucketMaxSpanSeconds", "bucketRoundingSeconds"), spans, strict=True))


def _steps(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Write what changes an index, step by step: prepareUnique stands alone, and comes before unique."""
    together: dict[str, Any] = {}
    if seconds(before.get("expireAfterSeconds")) != seconds(after.get("expireAfterSeconds")):
        together["expireAfterSeconds"] = after["expireAfterSeconds"]
    if bool(before.get("hidden")) != bool(after.get("hidden")):
        together["hidden"] = bool(after.get("hidden"))
    if together:
        yield together
    becomes_unique = bool(after.get("unique")) and not before.get("unique")
    prepared = bool(after.get("prepareUnique")) or becomes_unique
    if prepared != bool(before.get("prepareUnique")):
        yield {"prepareUnique": prepared}
    if becomes_unique:
        yield {"unique": True}


def index_of(document: Mapping[str, Any]) -> Index:
    """Take an index as a manifest writes it."""
    options = {key: value for key, value in document.items() if key not in ("keys", "name")}
    return Index(document["keys"], document["name"], options)
