"""Counts the indexes that a collection will have, step by step: a server takes 64 of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from motorctl.core.schema.change import Blocker

if TYPE_CHECKING:
    from motorctl.core.schema.blockers.asking import Asking, Step
    from motorctl.core.schema.change import Change

_MOST = 64
"""Indexes of one collection, `_id_` among them."""


async def too_many(asking: Asking, step: Step) -> Blocker | None:
    """Count what is there, what earlier steps add and drop, and this one."""
    # And `_id_`, which every collection has.
    there = 1 + (len(asking.indexes(step.collection)) if step.collection else 0)
    there += sum(_difference(change) for change in asking.earlier(step) if change.kind == "index")
    if there < _MOST:
        return None
    name, rebuilt = step.change.collection, step.change.action == "rebuild"
    count = there + 1
    moment = ", for the time of the build" if rebuilt else ""
    return Blocker(
        "limit",
        f"{name} would have {count} indexes with this one{moment}, and a server takes {_MOST} of a collection",
        "drop what isn't used (`motorctl indexes list --usage`): an apply drops only after it has built",
        count,
        # Some can't be beside the old one anyhow: that one is dropped first.
        ignorable=rebuilt,
    )


def _difference(change: Change) -> int:
    match change.action:
        case "create":
            return 1
        case "rebuild":
            return 1 - len(change.replaces)
        case "drop":
            return -1
        case _:
            return 0
