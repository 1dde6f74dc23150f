"""A change as the commands that the server is sent for it. Pure.

`apply` sends what stands here, and a plan shows it: they can't disagree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from motorctl.core.schema.model import Index

if TYPE_CHECKING:
    from collections.abc import Mapping

    from motorctl.core.schema.change import Change

IN_PLACE = frozenset({"hidden", "expireAfterSeconds"})
"""Index options that `collMod` changes on any supported server; each other one needs a new index."""

COLLECTION_IN_PLACE = ("viewOn", "pipeline", "expireAfterSeconds", "changeStreamPreAndPostImages")


def commands(change: Change) -> tuple[Mapping[str, Any], ...]:
    """Write the commands of a planned change, in their order; none for one that is kept.

    Those of a `rebuild` are the outcome: the index is built, and what it replaces is dropped. How no
    query is without an index meanwhile is `rebuild`'s.
    """
    name, before, after = change.collection, change.before or {}, change.after or {}
    match change.kind, change.action:
        case _, "keep":
            return ()
        case "collection", "create":
            return ({"create": name, **after},)
        case "collection", _:
            return ({"collMod": name, **{key: after[key] for key in COLLECTION_IN_PLACE if key in after}},)
        case "validator", _:
            return ({"collMod": name, **(after or {"validator": {}})},)
        case "index", "modify":
            wishes = {
                key: after.get(key, False) for key in sorted(IN_PLACE) if before.get(key) != after.get(key)
            }
            return ({"collMod": name, "index": {"name": change.name, **wishes}},)
        case "index", "drop":
            return ({"dropIndexes": name, "index": change.name},)
        case "index", _:
            old = [other for other in change.replaces if other != change.name]
            return (
                {"createIndexes": name, "indexes": [index_of(after).specification()]},
                *({"dropIndexes": name, "index": other} for other in old),
            )
    raise AssertionError


def index_of(document: Mapping[str, Any]) -> Index:
    """Take an index as a manifest writes it."""
    options = {key: value for key, value in document.items() if key not in ("keys", "name")}
    return Index(document["keys"], document["name"], options)
