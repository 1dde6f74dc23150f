"""What a report is: rows, what they leave out, and the question that is asked for it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pymongo.errors import OperationFailure

from motorctl.core import driver
from motorctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from motorctl.client import Database


@dataclass(frozen=True)
class Question:
    """What is sent to the server: one aggregation, ready to be shown, explained or run."""

    collection: str
    pipeline: list[dict[str, Any]]
    options: dict[str, Any] = field(default_factory=lambda: {"allowDiskUse": True})


@dataclass
class Report:
    """Rows, and what is in none of their figures.

    `skipped` counts the orders that couldn't be counted by what their amount is: "null or missing",
    "a string", "NaN", ...; `undated` those whose date is no date. `rounded`: a double or a quotient was
    in a sum, so that the sums that hold one are rounded half-even to cents; all others are exact. `cut`: a sum has the 34
    digits that a decimal can hold, so that the server may have rounded it at the last one. `partial` are
    the periods of which a part alone is counted: not over yet, or cut by `since` or `until`.
    `without_currency` counts the orders in the rows whose currency is null. `other_clocks`: the server's
    time zone data are others than those of this machine.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    undated: int = 0
    rounded: bool = False
    cut: bool = False
    partial: list[str] = field(default_factory=list)
    without_currency: int = 0
    other_clocks: bool = False


_UNKNOWN_ZONE = 40485


@contextmanager
def zone_known(tz: str) -> Iterator[None]:
    """Raise UsageError (2) for a zone that the server refuses: it has a list of its own."""
    try:
        yield
    except OperationFailure as error:
        if error.code != _UNKNOWN_ZONE:
            raise
        raise UsageError(
            f"the server knows no time zone {tz}",
            hint="its list is as old as itself: an older name of the zone may be in it, as Europe/Kiev",
        ) from error


async def ask(db: Database, question: Question) -> list[dict[str, Any]]:
    """Send a question and return the groups of the answer."""
    cursor = await driver.aggregate(db[question.collection], question.pipeline, **question.options)
    return [group async for group in cursor]
