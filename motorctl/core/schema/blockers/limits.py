"""What a server takes no more of: indexes of a collection, counted step by step, seconds and bytes.

A limit that every server has at any time is the manifest's; what depends on the server, on what is there
or on the time of day is here.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from motorctl.core.driver import server_time
from motorctl.core.schema.change import Blocker

if TYPE_CHECKING:
    from motorctl.core.schema.blockers.asking import Asking, Step
    from motorctl.core.schema.change import Change

MOST_INDEXES = 64
"""Indexes of one collection, `_id_` among them where it has one."""

WITHOUT_ID_INDEX = ("clusteredIndex", "timeseries")
"""Options that make a collection one without the index `_id_`."""

FEW_SECONDS = 10**9
"""So many have passed since 1970 by the clock of every server, which was in 2001."""


async def too_many(asking: Asking, step: Step) -> Blocker | None:
    """Count what is there, what earlier steps add and drop, and this one."""
    own = 0 if any(option in asking.options(step) for option in WITHOUT_ID_INDEX) else 1
    there = own + (len(asking.indexes(step.collection)) if step.collection else 0)
    there += sum(_difference(change) for change in asking.earlier(step) if change.kind == "index")
    if there < MOST_INDEXES:
        return None
    name, rebuilt = step.change.collection, step.change.action == "rebuild"
    count = there + 1
    moment = ", for the time of the build" if rebuilt else ""
    return Blocker(
        "limit",
        f"{name} would have {count} indexes with this one{moment}, and a server takes {MOST_INDEXES} of a collection",
        "drop what isn't used (`motorctl indexes list --usage`): an apply drops only after it has built",
        count,
        # Some can't be beside the old one anyhow: that one is dropped first.
        ignorable=rebuilt,
    )


async def beyond(asking: Asking, step: Step) -> Blocker | None:
    """Look at the numbers of a collection's commands; of a number that may be too large the server's clock is asked."""
    name = step.change.collection
    for command in step.change.commands:
        seconds = command.get("expireAfterSeconds")
        if (
            isinstance(seconds, (int, float))
            and seconds > FEW_SECONDS
            and seconds > (await asking.sent(partial(server_time, asking.db))).timestamp()
        ):
            return Blocker(
                "impossible",
                f"expireAfterSeconds of {name} is {seconds}: a server takes no more seconds than have passed since 1970",
                "`expireAfterSeconds: off` keeps the documents for ever",
            )
        size = command.get("size", command.get("cappedSize"))
        if isinstance(size, (int, float)) and size < 1 and asking.server.at_least(5):
            message = f"size of {name} is {size}: {asking.server.name} takes 1 byte or more"
            return Blocker("impossible", message, "for example 1048576, which is 1 MiB")
    return None


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
