"""A report that is kept in a collection: revenue by period, only what has changed computed again.

Each document is one period: `{_id: label, revenue, orders, average, skipped, as_of, computed_at}`, money
as Decimal128; with statuses or currencies told apart it has `groups` of these figures. What was asked,
and the place in the record of changes up to which it is answered, stand in `motorctl_reports`.

Two runs at once, or one that dies in the middle, leave no wrong figure. A run reads the changes up to
a place T in the record, then takes the cluster time A (at or after T), computes the periods concerned
from data at or after A, and writes each only over one whose `as_of` is earlier; a period that no order
is left in is written as zero rather than deleted, so that a slower run can't bring it back. Last it
stores T, never an earlier one than is there: up to each T that was ever stored all is answered. A change
after A is after T, so that the next run finds it; a run that finds another one's later time stored
computes its periods once more.

A new report is claimed before anything of it is written: one that was killed is gone on with, and two that
ask for different ones can't mix. A run over all periods empties those that it doesn't find; what a slower
one writes after it has an earlier time than `whole_as_of`, and is computed again by the next run.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bson.timestamp import Timestamp
from pymongo import ReturnDocument, WriteConcern
from pymongo.errors import OperationFailure, PyMongoError

from motorctl.core import driver, periods
from motorctl.core.field_paths import plain
from motorctl.core.revenue import changes, merging
from motorctl.core.revenue.report import zone_known
from motorctl.errors import RefusedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from motorctl.client import Collection, Database
    from motorctl.core.revenue.changes import Changes
    from motorctl.core.revenue.over_time import Series
    from motorctl.core.revenue.selection import Orders

STATE = "motorctl_reports"
"""What each kept report was asked, and how far it is: one document for each, `_id` its collection."""

_ROUNDS = 3
"""How often a run computes its periods again because another one finished meanwhile."""

_MANY = 366
"""More periods than that are computed as a whole: a filter of so many ranges gains nothing."""

_AT_ONCE = 50_000
"""Dates that are sent to the server in one message: it takes 16 MB, and a date has less than 20 bytes in it."""

_WITH_PRE_IMAGES = (6, 0)
_EXISTS = 48


@dataclass
class Refreshed:
    """What a run has computed again: all periods for a `reason`, or those of `periods`."""

    into: str
    full: bool
    reason: str | None = None
    periods: list[str] = field(default_factory=list)


async def refresh(
    db: Database,
    orders: Orders,
    series: Series,
    into: str,
    *,
    version: tuple[int, int],
    dry_run: bool = False,
) -> Refreshed:
    """Bring a kept report up to date; `dry_run` says which periods that takes and writes nothing.

    May run twice. Raises UsageError for a report that can't be kept, RefusedError where the collection
    holds something else.
    """
    _check(orders, series, into)
    asked = asked_for(orders, series)
    state = await _state(db, into, asked)
    if state is None and not dry_run:
        state = await _claimed(db, into, asked)
    with zone_known(series.tz):
        try:
            return await _refreshed(db, orders, series, into, state or {}, asked, version, dry_run=dry_run)
        except BaseException:
            if not dry_run:
                await _let_go(db, into)
            raise


async def _refreshed(
    db: Database,
    orders: Orders,
    series: Series,
    into: str,
    state: Mapping[str, Any],
    asked: Mapping[str, Any],
    version: tuple[int, int],
    *,
    dry_run: bool,
) -> Refreshed:
    limit = await _now(db)
    images = version >= _WITH_PRE_IMAGES
    found = await changes.since(db[orders.collection], orders.date, state.get("token"), limit, images=images)
    reason = await _whole(db, into, state, found)
    labels = [] if reason else await _labels(db, into, state, found.dates, series)
    if len(labels) > _MANY:
        reason = f"{len(labels):,} periods have changed"
    refreshed = Refreshed(into, full=reason is not None, reason=reason, periods=labels)
    if dry_run:
        return refreshed
    if refreshed.full:
        await _made(db, into)
    durable = db.get_collection(into, write_concern=WriteConcern(w="majority"))
    for _ in range(_ROUNDS):
        as_of = await _now(db) or _clock()
        if refreshed.full or labels:
            await _compute(db, durable, orders, series, refreshed, as_of)
        if await _store(db, into, asked, found.token, as_of, full=refreshed.full) <= as_of:
            break
    if refreshed.full:
        refreshed.periods = [
            document["_id"] async for document in durable.find({}, {"_id": 1}).sort("_id", 1)
        ]
    return refreshed


async def _whole(db: Database, into: str, state: Mapping[str, Any], found: Changes) -> str | None:
    """Return why all periods have to be computed, or None."""
    if "refreshed_at" not in state:
        return "it is the first run"
    if await db[into].find_one({}, {"_id": 1}) is None:
        return f"{into} is empty"
    if found.unknown is None and "token" not in state:
        return "the last run couldn't see the record of changes"
    return found.unknown


async def _labels(
    db: Database, into: str, state: Mapping[str, Any], dates: Iterable[datetime], series: Series
) -> list[str]:
    """Return the periods to compute: those of the dates, and those that a run which was overtaken left behind.

    The server labels the dates, as it labels the orders: its time zone data may be others than those here.
    A period with an earlier time than the last run over all of them was written by a slower one after it.
    """
    labels = set()
    moments = sorted(dates)
    for at in range(0, len(moments), _AT_ONCE):
        pipeline: list[dict[str, Any]] = [
            {"$match": {"_id": into}},
            {"$project": {"_id": 0, "at": {"$literal": moments[at : at + _AT_ONCE]}}},
            {"$unwind": "$at"},
            {"$group": {"_id": periods.label_expression("at", series.by, series.tz)}},
        ]
        cursor = await driver.aggregate(db[STATE], pipeline)
        labels |= {group["_id"] async for group in cursor if group["_id"] is not None}
    whole = state.get("whole_as_of")
    behind = db[into].find({"as_of": {"$lt": whole}}, {"_id": 1}) if whole else None
    if behind is not None:
        labels |= {document["_id"] async for document in behind}
    return sorted(labels)


def asked_for(orders: Orders, series: Series) -> dict[str, Any]:
    """Return what a report was asked, as it is kept: two that differ in it are two reports."""
    kept = {name: value for name, value in asdict(orders).items() if name not in ("since", "until")}
    names = ("amount_expression", "customers", "products", "customer", "product", "quantity")
    kept = {name: value for name, value in kept.items() if name not in names}
    expression = repr(orders.amount_expression).encode() if orders.amount_expression else b""
    return {
        **kept,
        "status": sorted(orders.status),
        "amount_expression": hashlib.sha256(expression).hexdigest()[:16] if expression else None,
        "by": series.by,
        "tz": series.tz,
        "by_status": series.by_status,
    }


def _check(orders: Orders, series: Series, into: str) -> None:
    if into == orders.collection or into.startswith("system.") or into == STATE or not into:
        raise UsageError(f"--refresh-into {into}: the report needs a collection of its own")
    if orders.since or orders.until:
        raise UsageError("a kept report has all periods: without --since and --until")
    if series.compare or series.cumulative or series.fill:
        raise UsageError(
            "a kept report holds the figures of each period alone: without --compare, --cumulative and --fill"
        )
    if not plain(orders.date):
        raise UsageError(f"a kept report can't follow changes of {orders.date}: its name has a dot in it")


async def _state(db: Database, into: str, asked: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return how far the report is, or None for a new one. Raises RefusedError where it is another one."""
    state: dict[str, Any] | None = await db[STATE].find_one({"_id": into})
    if state is None:
        if await db[into].find_one({}, {"_id": 1}) is not None:
            raise RefusedError(
                f"{into} holds documents that are no kept report", hint="name a collection that is new"
            )
        return None
    _same(into, state, asked)
    return state


async def _claimed(db: Database, into: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Write down what a new report is before there is any of it: whoever else begins one, or goes on, knows it."""
    state: dict[str, Any] = await _states(db).find_one_and_update(
        {"_id": into},
        [{"$set": {"asked": {"$ifNull": ["$asked", {"$literal": dict(asked)}]}}}],
        upsert=True,
        return_document=ReturnDocument.AFTER,
    )
    _same(into, state, asked)
    return state


async def _made(db: Database, into: str) -> None:
    """Have the collection before anything is merged into it: two first runs would make it under each other's feet.

    `$merge` looks for the index that makes `_id` unique, and that of a collection being made isn't there yet.
    """
    try:
        await db.command("create", into)
    except OperationFailure as error:
        # Who may insert and not create, may still make it by inserting.
        if error.code not in (_EXISTS, driver.UNAUTHORIZED):
            raise


async def _let_go(db: Database, into: str) -> None:
    """Forget a report of which nothing was ever written: whoever tries again may ask for another one."""
    with suppress(PyMongoError):
        if await db[into].find_one({}, {"_id": 1}) is None:
            await db[STATE].delete_one({"_id": into, "refreshed_at": {"$exists": False}})


def _same(into: str, state: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    different = sorted(name for name, value in asked.items() if state["asked"].get(name) != value)
    if different:
        shown = ", ".join(f"{name} {state['asked'].get(name)}" for name in different)
        raise RefusedError(
            f"{into} is kept with another {', '.join(different)} ({shown})",
            hint=f"name another collection, or drop that one and its entry in {STATE}",
        )


async def _compute(
    db: Database, into: Collection, orders: Orders, series: Series, refreshed: Refreshed, as_of: Timestamp
) -> None:
    """Compute periods, and write each over an older one."""
    pipeline = merging.stages(orders, series, None if refreshed.full else refreshed.periods, as_of, into.name)
    concern: dict[str, Any] = {"level": "majority"}
    if await _now(db) is not None:
        concern["afterClusterTime"] = as_of
    await db.command(
        {
            "aggregate": orders.collection,
            "pipeline": pipeline,
            "cursor": {},
            "allowDiskUse": True,
            "readConcern": concern,
            "writeConcern": {"w": "majority"},
        }
    )
    gone = set(refreshed.periods)
    if refreshed.full:
        gone |= {document["_id"] async for document in into.find({"as_of": {"$lt": as_of}}, {"_id": 1})}
    if gone:
        await into.bulk_write(
            [merging.emptied(label, series, as_of, orders) for label in sorted(gone)], ordered=False
        )


async def _store(
    db: Database,
    into: str,
    asked: Mapping[str, Any],
    token: Mapping[str, Any] | None,
    as_of: Timestamp,
    *,
    full: bool,
) -> Timestamp:
    """Store how far the report is, unless a later run has; return the latest time that is stored.

    Resume tokens sort as the changes do, by their text. Source: MongoDB manual, "Resume Tokens".
    """
    changed: dict[str, Any] = {
        "asked": {"$literal": dict(asked)},
        "as_of": {"$max": ["$as_of", as_of]},
        "refreshed_at": "$$NOW",
        **({"whole_as_of": {"$max": ["$whole_as_of", as_of]}} if full else {}),
    }
    if token is not None:
        newer = {"$gt": [{"$literal": token["_data"]}, {"$ifNull": ["$token._data", ""]}]}
        changed["token"] = {"$cond": [newer, {"$literal": dict(token)}, "$token"]}
    stored = await _states(db).find_one_and_update(
        {"_id": into}, [{"$set": changed}], upsert=True, return_document=ReturnDocument.AFTER
    )
    found: Timestamp = stored["as_of"]
    return found


def _states(db: Database) -> Collection:
    return db.get_collection(STATE, write_concern=WriteConcern(w="majority"))


async def _now(db: Database) -> Timestamp | None:
    """Return the cluster time; None of a server that has none (a standalone)."""
    answer = await db.command("ping")
    found: Timestamp | None = answer.get("operationTime")
    return found


def _clock() -> Timestamp:
    """Stand in for the cluster time: seconds since 1970, and the milliseconds of this one."""
    now = datetime.now(UTC)
    return Timestamp(int(now.timestamp()), now.microsecond // 1000 + 1)
