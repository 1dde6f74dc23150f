"""Which orders have changed since the last time, by the collection's change stream. Only reads.

Owns what an event says of the periods of an order, and when that can't be known. It computes nothing.
A deleted order is gone, and where it was isn't recorded unless the collection keeps pre-images
(`changeStreamPreAndPostImages`, servers from 6.0); the same goes for an order whose date was changed,
and for one that was replaced. Source: MongoDB manual, "Change Streams" and "Change Events".
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pymongo.errors import OperationFailure

from motorctl.core import driver

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bson.timestamp import Timestamp

    from motorctl.client import Collection

NOT_A_REPLICA_SET = 40573
_LOST = frozenset({260, 280, 286})
"""InvalidResumeToken, ChangeStreamFatalError, ChangeStreamHistoryLost: the record doesn't go back that far."""
_ON_A_VIEW = frozenset({166, 167})

LONGEST_READ = 60.0
"""Seconds that a run reads changes at most: to compute all is quicker then."""

_WAIT_MS = 100
"""How long the server waits for one more change at the end of the record."""


@dataclass
class Changes:
    """What has changed up to `token`: the dates of the orders, or the reason why that isn't known.

    `token` is where the next look begins; None where the server has no change streams.
    """

    dates: set[datetime] = field(default_factory=set)
    unknown: str | None = None
    token: Mapping[str, Any] | None = None


async def since(
    orders: Collection, date: str, token: Mapping[str, Any] | None, limit: Timestamp | None, *, images: bool
) -> Changes:
    """Read the changes after a token up to the cluster time `limit`; without a token, find where to begin.

    `date` is the path of an order's date. `images`: the server knows pre-images (6.0).
    """
    try:
        found = await _found(orders, date, token, limit, images=images)
    except OperationFailure as error:
        reasons = {
            NOT_A_REPLICA_SET: "a standalone server keeps no record of changes",
            driver.UNAUTHORIZED: "no right to see the record of changes (changeStream)",
            **dict.fromkeys(_ON_A_VIEW, "a view or a time series has no record of changes"),
        }
        if error.code not in reasons:
            raise
        found = Changes(unknown=reasons[error.code])
    return found


async def _found(
    orders: Collection, date: str, token: Mapping[str, Any] | None, limit: Timestamp | None, *, images: bool
) -> Changes:
    """Read the changes, or where that can't be done, find the place where the next look begins."""
    lost = f"there are more changes than can be read in {LONGEST_READ:.0f} seconds"
    try:
        if (found := await _read(orders, date, token, limit, images=images)) is not None:
            return found
    except OperationFailure as error:
        if error.code not in _LOST or token is None:
            raise
        lost = "the server's record of changes no longer goes back to the last run"
    found = await _read(orders, date, None, None, images=images) or Changes()
    found.unknown = lost
    return found


async def _read(
    orders: Collection, date: str, token: Mapping[str, Any] | None, limit: Timestamp | None, *, images: bool
) -> Changes | None:
    """Return the changes, or None where they are more than can be read in time."""
    options: dict[str, Any] = {"full_document": "updateLookup", "max_await_time_ms": _WAIT_MS}
    if images:
        options["full_document_before_change"] = "whenAvailable"
    if token is not None:
        # start_after rather than resume_after: it also goes on after a collection that was dropped.
        options["start_after"] = token
    fields = ("operationType", "clusterTime", "updateDescription")
    dates = (f"fullDocument.{date}", f"fullDocumentBeforeChange.{date}")
    stream = await driver.change_stream(
        orders, [{"$project": dict.fromkeys((*fields, *dates), 1)}], **options
    )
    found = Changes()
    deadline = time.monotonic() + LONGEST_READ
    try:
        while True:
            event = await stream.try_next()
            if event is not None:
                note(found, event, date)
            elif not stream.alive or reached(stream.resume_token, limit):
                break
            if event is not None and limit is not None and event["clusterTime"] > limit:
                break
            if time.monotonic() > deadline:
                return None
        found.token = stream.resume_token
    finally:
        await stream.close()
    return found


def note(changes: Changes, event: Mapping[str, Any], date: str) -> None:
    """Add what one event says of the periods that it touches. Pure but for `changes`."""
    before, after = event.get("fullDocumentBeforeChange"), event.get("fullDocument")
    match event["operationType"]:
        case "insert":
            known: tuple[Any, ...] = (after,)
        case "update" if before is None:
            change = event.get("updateDescription") or {}
            touched = [*change.get("updatedFields", {}), *change.get("removedFields", [])]
            touched += [cut["field"] for cut in change.get("truncatedArrays", [])]
            if any(_overlap(name, date) for name in touched):
                changes.unknown = f"{date} of an order was changed, and what it was isn't recorded"
            known = (after,)
        case "update" | "replace" | "delete" if before is not None:
            known = (before, after)
        case "replace":
            changes.unknown = "an order was replaced, and what it was isn't recorded"
            return
        case "delete":
            changes.unknown = "an order was deleted, and what it was isn't recorded"
            return
        case "create" | "createIndexes" | "dropIndexes" | "modify" | "shardCollection":
            return
        case other:
            changes.unknown = f"the collection was changed as a whole ({other})"
            return
    changes.dates.update(found for document in known if isinstance(found := inside(document, date), datetime))


def inside(document: Any, path: str) -> Any:
    """Return what stands at a path; None where nothing does, or a list is on the way."""
    for name in path.split("."):
        document = document.get(name) if isinstance(document, dict) else None
    return document


def reached(token: Mapping[str, Any] | None, limit: Timestamp | None) -> bool:
    """Tell whether a resume token lies at or after a cluster time.

    An empty batch alone doesn't say that the end is reached: the server sends one, too, when it has
    read for a while without finding anything. A token's text begins with the type byte of a timestamp
    and its eight bytes, big-endian, so that tokens sort as they come; a form that isn't known counts
    as reached, for what is missed then is found by the next run.
    """
    text = (token or {}).get("_data")
    if limit is None or not isinstance(text, str) or not text.startswith("82"):
        return True
    return text[:18].upper() >= f"82{limit.time:08X}{limit.inc:08X}"


def _overlap(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}.") or other.startswith(f"{one}.")
