"""Asks what a capped collection that gets smaller limits would no longer hold.

The server takes them at once, says nothing, and deletes the oldest documents with the next insert.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from motorctl.core.schema.blockers.asking import documents
from motorctl.core.schema.change import Blocker
from motorctl.core.schema.compare import whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from motorctl.core.schema.blockers.asking import Asking, Step
    from motorctl.core.schema.change import Change

_UNLIMITED = (0, 2**31 - 1)
"""What `max` is when any number of documents may be there."""


def shrinks(change: Change) -> bool:
    """Tell whether a capped collection may hold less than before."""
    if change.kind != "collection" or change.action != "modify" or not (change.before or {}).get("capped"):
        return False
    return any(
        _limit(change.after, name) < _limit(change.before, name)
        for name in ("size", "max")
        if name in (change.after or {})
    )


async def beyond(asking: Asking, step: Step) -> Blocker | None:
    """Look whether it holds more than it may then."""
    limits = {**(step.change.before or {}), **(step.change.after or {})}
    rows = await asking.rows(step.collection or "", [{"$collStats": {"storageStats": {}}}])
    stats = rows[0]["storageStats"]
    count, size = int(stats["count"]), int(stats["size"])
    if count <= _limit(limits, "max") and size <= _limit(limits, "size"):
        return None
    return Blocker(
        "shrinks",
        f"it holds {documents(count)} of {size:,} bytes together, more than it may then: the oldest will be deleted",
        "a larger size or max keeps them; --ignore-blockers lets them go",
        count,
        ignorable=True,
    )


def _limit(options: Mapping[str, Any] | None, name: str) -> float:
    limit = whole((options or {}).get(name))
    return float("inf") if limit is None or (name == "max" and limit in _UNLIMITED) else float(limit)
