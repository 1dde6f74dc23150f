"""Asks what a new or shorter expiry would do to the documents that are there.

Two surprises: documents that are gone within a minute, and documents that never go, for their field
holds no date. A missing field or null is how people say "never", and no surprise.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from motorctl.core.schema.blockers.asking import documents, identified
from motorctl.core.schema.change import Blocker
from motorctl.core.schema.compare import whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from motorctl.core.schema.blockers.asking import Asking, Step
    from motorctl.core.schema.change import Change

_EXPIRY = "expireAfterSeconds"
_LONGEST = 2**31 - 1


def begins(change: Change) -> bool:
    """Tell whether a field of documents decides about their end that didn't before."""
    return change.kind == "index" and _seconds(change.after) is not None and _before(change) is None


def shortens(change: Change) -> bool:
    """Tell whether documents end that would have stayed, or stayed longer."""
    after, before = _seconds(change.after), _before(change)
    return after is not None and _field(change) is not None and (before is None or after < before)


async def no_dates(asking: Asking, step: Step) -> Blocker | None:
    """Look for documents that would never expire."""
    field = _field(step.change)
    match = {"$and": [_covered(step.change), {field: {"$exists": True, "$not": {"$type": ["date", "null"]}}}]}
    count, ids = await asking.matching(step.collection or "", match)
    if not count:
        return None
    has, expires = ("has", "expires") if count == 1 else ("have", "expire")
    return Blocker(
        "not_dates",
        f"{documents(count)} {has} no date in {field}, and so never {expires}",
        f"make {field} a date; null or no field at all says that a document stays",
        count,
        identified(ids),
        ignorable=True,
    )


async def expired(asking: Asking, step: Step) -> Blocker | None:
    """Look for documents that the server would delete as soon as the expiry is in force."""
    seconds = min(_seconds(step.change.after) or 0, _LONGEST)
    latest = datetime.now(UTC) - timedelta(seconds=seconds)
    field = _field(step.change)
    match = {"$and": [_covered(step.change), {field: {"$lte": latest}}]}
    count, ids = await asking.matching(step.collection or "", match)
    if not count:
        return None
    return Blocker(
        "expires_at_once",
        f"{documents(count)} {'is' if count == 1 else 'are'} older than {seconds} seconds by {field},"
        " and will be deleted at once",
        f"a longer {_EXPIRY} keeps them; --ignore-blockers lets them go",
        count,
        identified(ids),
        ignorable=True,
    )


def _field(change: Change) -> str | None:
    """Name the field that holds a document's date."""
    after = change.after or {}
    if change.kind == "index":
        return str(next(iter(after["keys"])))
    if change.action != "modify":
        return None
    # A manifest need not name what stays.
    options = {**(change.before or {}), **after}
    if "timeseries" in options:
        return str(options["timeseries"]["timeField"])
    return "_id" if "clusteredIndex" in options else None


def _seconds(document: Mapping[str, Any] | None) -> int | None:
    seconds = whole((document or {}).get(_EXPIRY))
    return int(seconds) if isinstance(seconds, (int, float)) and not isinstance(seconds, bool) else None


def _before(change: Change) -> int | None:
    """Return the seconds that were in force for the same documents."""
    before, after = change.before or {}, change.after or {}
    if change.kind == "index" and (
        list(before.get("keys", ())) != list(after.get("keys", ())) or _covers(before) != _covers(after)
    ):
        return None
    return _seconds(before)


def _covered(change: Change) -> dict[str, Any]:
    return _covers(change.after or {})


def _covers(document: Mapping[str, Any]) -> dict[str, Any]:
    return dict(document.get("partialFilterExpression", {}))
