"""Asking the server to explain a query. Owns the command that is sent; reads nothing of the answer.

Explaining with figures (`executionStats`) runs the query to its end, and gives none of its documents. A
pipeline that writes is never run: the server refuses to, and it isn't asked to. Of a find whose client is
gone a server lets go by itself, of an explain it doesn't: who stops waiting for one here, stops it there too.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal

from bson.codec_options import CodecOptions, DatetimeConversion
from pymongo.errors import PyMongoError

from motorctl.core import driver

if TYPE_CHECKING:
    from motorctl.client import Database
    from motorctl.core.explain.query import Query

Verbosity = Literal["queryPlanner", "executionStats", "allPlansExecution"]

_OPTIONS: CodecOptions[dict[str, Any]] = CodecOptions(
    tz_aware=True, datetime_conversion=DatetimeConversion.DATETIME_AUTO
)
"""A filter is in the answer as it was sent: with dates, perhaps, that Python has no word for."""


GRACE = 2.0
"""Seconds to wait for a server to take note that a query is to stop."""


async def explain(
    db: Database, query: Query, *, verbosity: Verbosity = "executionStats", max_time_ms: int | None = None
) -> dict[str, Any]:
    """Return the server's document for a query.

    `max_time_ms` limits the explained query. Raises the driver's errors: what the server refuses is no plan.
    A query that fails while it runs is an answer too, with `executionSuccess` false. Cancelled, it stops the
    query on the server.
    """
    command: dict[str, Any] = {"explain": query.command(), "verbosity": permitted(query, verbosity)}
    if max_time_ms is not None:
        command["maxTimeMS"] = max_time_ms
    if command["verbosity"] == "queryPlanner":
        planned: dict[str, Any] = await db.command(command, codec_options=_OPTIONS)
        return planned
    async with await driver.start_session(db.client, causal_consistency=False) as session:
        try:
            answer: dict[str, Any] = await db.command(command, codec_options=_OPTIONS, session=session)
        except asyncio.CancelledError:
            await _stop(db, session.session_id)
            raise
    return answer


async def _stop(db: Database, session: Any) -> None:
    """Have the server stop what runs in a session of ours: everyone may stop their own."""
    try:
        async with asyncio.timeout(GRACE):
            await db.client.admin.command({"killSessions": [session]})
    except (PyMongoError, TimeoutError):
        # There is no one to tell: the wish was to be gone.
        return


def permitted(query: Query, verbosity: Verbosity) -> Verbosity:
    """Return the verbosity that a query may be explained with: one that writes is planned, never run."""
    if not query.pipeline:
        return verbosity
    # All that reads pipelines takes 10 ms to load, which a find needn't wait for.
    from motorctl.core import aggregation

    return "queryPlanner" if any(aggregation.writes(query.pipeline)) else verbosity
