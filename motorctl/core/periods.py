"""Periods of a report: hours, days, ISO weeks, months, quarters and years, in any time zone. Pure.

A period has one label, the same here and in the server's answer: 2026-11-21T10:00, 2026-11-21, 2026-W47,
2026-11, 2026-Q4, 2026. Labels of one kind sort as the periods do.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from motorctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

PERIODS = ("hour", "day", "week", "month", "quarter", "year")
_FORMATS = {"hour": "%Y-%m-%dT%H:00", "day": "%Y-%m-%d", "week": "%G-W%V", "month": "%Y-%m", "year": "%Y"}
_DURATION = re.compile(r"(\d{1,6})([hdw])")
LONGEST_FILL = 100_000
"""Labels that `labels` makes at most: a typing error in a year must not fill the memory."""


def zone(name: str) -> ZoneInfo:
    """Return the IANA time zone of a name. Raises UsageError (2)."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise UsageError(
            f"no such time zone: {name!r}", hint="a name of the IANA database, as Europe/Berlin"
        ) from error


def label_expression(field: str, by: str, tz: str) -> dict[str, Any]:
    """Return the aggregation expression of a date's label; null where the field holds no date.

    `$dateToString` rather than `$dateTrunc`: servers before 5.0 have it, and its answer is the label.
    """
    path = f"${field}"
    if by == "quarter":
        part = {"date": path, "timezone": tz}
        number = {"$ceil": {"$divide": [{"$month": part}, 3]}}
        year = {"$dateToString": {**part, "format": "%Y"}}
        label: dict[str, Any] = {"$concat": [year, "-Q", {"$toString": {"$toInt": number}}]}
    else:
        label = {"$dateToString": {"date": path, "format": _FORMATS[by], "timezone": tz}}
    return {"$cond": [{"$eq": [{"$type": path}, "date"]}, label, None]}


def label(moment: datetime, by: str) -> str:
    """Return the label of the period that a moment lies in, in the moment's own zone."""
    if by == "quarter":
        return f"{moment.year:04d}-Q{(moment.month + 2) // 3}"
    if by == "week":
        year, week, _ = moment.isocalendar()
        return f"{year:04d}-W{week:02d}"
    # isoformat, not strftime: C libraries don't agree on how many digits the year 999 has
    length = {"hour": 13, "day": 10, "month": 7, "year": 4}[by]
    return moment.isoformat()[:length] + (":00" if by == "hour" else "")


def labels(first: str, last: str, by: str) -> Iterator[str]:
    """Yield the labels from the first to the last, both included. Raises UsageError when there are too many."""
    day = _start(first, by)
    for _ in range(LONGEST_FILL):
        found = label(day, by)
        if found > last:
            return
        yield found
        day = _next(day, by)
    raise UsageError(
        f"more than {LONGEST_FILL:,} periods between {first} and {last}", hint="--since narrows the report"
    )


def moment(text: str, tz: ZoneInfo, now: datetime) -> datetime:
    """Return the moment that a text means, in UTC.

    A date (2026-11-21), a local time (2026-11-21T10:30, in `tz`), a time with its own zone, or how long
    ago: 36h to the second, 30d and 2w from the midnight in `tz` that many days back, so that the first
    day is a whole one. Raises UsageError (2).
    """
    if match := _DURATION.fullmatch(text.strip()):
        number, unit = int(match[1]), match[2]
        try:
            if unit == "h":
                return now - timedelta(hours=number)
            day = now.astimezone(tz) - timedelta(days=number * (7 if unit == "w" else 1))
            return day.replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)
        except OverflowError as error:
            raise UsageError(f"{text!r} is before the calendar begins") from error
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise UsageError(
            f"{text!r} is not a date",
            hint="2026-11-21, 2026-11-21T10:30, 2026-11-21T10:30Z, or how long ago: 36h, 30d, 2w",
        ) from error
    try:
        return (found if found.tzinfo else found.replace(tzinfo=tz)).astimezone(UTC)
    except OverflowError as error:
        raise UsageError(f"{text!r} is outside the calendar") from error


def _start(text: str, by: str) -> datetime:
    match by:
        case "hour":
            return datetime.fromisoformat(text).replace(tzinfo=UTC)
        case "week":
            year, week = text.split("-W")
            day = date.fromisocalendar(int(year), int(week), 1)
        case "quarter":
            year, quarter = text.split("-Q")
            day = date(int(year), int(quarter) * 3 - 2, 1)
        case "year":
            day = date(int(text), 1, 1)
        case "month":
            day = date.fromisoformat(f"{text}-01")
        case _:
            day = date.fromisoformat(text)
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _next(day: datetime, by: str) -> datetime:
    if by in ("hour", "day", "week"):
        return day + {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}[by]
    months = {"month": 1, "quarter": 3, "year": 12}[by]
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return day.replace(year=year, month=month + 1)
