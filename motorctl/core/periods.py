"""Periods of a report: hours, days, ISO weeks, months, quarters and years, in any time zone. Pure.

A period has one label, the same here and in the server's answer: 2026-11-21T10:00, 2026-11-21, 2026-W47,
2026-11, 2026-Q4, 2026. Weeks are those of ISO 8601: from Monday, and the first one is that with the
year's first Thursday. A moment belongs to the period that a calendar and a clock on the wall of the zone
show at it, so days of 23 and 25 hours are days.

Hours have their offset from UTC behind them in the server's answer (2026-10-25T02:00+0200), since in
autumn an hour comes twice: `shown` takes the offset away from all but those. A zone that turns its clocks
by 30 minutes has hours of half an hour.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from motorctl.core.field_paths import path
from motorctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

PERIODS = ("hour", "day", "week", "month", "quarter", "year")
_FORMATS = {"hour": "%Y-%m-%dT%H:00%z", "day": "%Y-%m-%d", "week": "%G-W%V", "month": "%Y-%m", "year": "%Y"}
# The server formats dates of these years alone, and refuses the whole pipeline for one that is outside;
# a day's distance, since in some zone the year is already another one.
BEGINNING, END = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
"""The first and the last moment of the calendar."""
_FIRST, _LAST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)
_HOUR = re.compile(r"(?P<local>\d{4}-\d\d-\d\dT\d\d):00(?P<sign>[+-])(?P<hours>\d\d):?(?P<minutes>\d\d)")
_QUARTER = re.compile(r"(\d{4})-Q([1-4])")
_DURATION = re.compile(r"(\d{1,6})(h|d|w|mo|y)")
_NAMED = re.compile(r"(this|last)-(week|month|quarter|year)")
# No zone turns its clocks at another minute than these, since railways have had one time.
_STEP = timedelta(minutes=15)
_TICK = timedelta(microseconds=1)
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
    """Return the aggregation expression of a date's label; null where the field holds no date of years 1 to 9999.

    `$dateToString` on every server, and no `$dateTrunc` where there is one: in a zone with clock changes that
    takes 2.1 x the time (1,229 ms against 563 ms for 300,000 orders by month, 6.0), its hours are not those
    of the clock where an offset isn't whole, and its answer is no label.
    """
    value = path(field)
    part = {"date": value, "timezone": tz}
    if tz == "UTC":
        # 0.7 x the time, for the same answer
        part = {"date": value}
    if by == "quarter":
        number = {"$ceil": {"$divide": [{"$month": part}, 3]}}
        year = {"$dateToString": {**part, "format": "%Y"}}
        label: dict[str, Any] = {"$concat": [year, "-Q", {"$toString": {"$toInt": number}}]}
    else:
        label = {"$dateToString": {**part, "format": _FORMATS[by]}}
    # In the order of BSON nothing but dates is between two dates.
    return {"$cond": [{"$and": [{"$gte": [value, _FIRST]}, {"$lte": [value, _LAST]}]}, label, None]}


def label(moment: datetime, by: str) -> str:
    """Return the label, as the server has it, of the period that a moment lies in, in the moment's own zone."""
    if by == "quarter":
        return f"{moment.year:04d}-Q{(moment.month + 2) // 3}"
    if by == "week":
        year, week, _ = moment.isocalendar()
        return f"{year:04d}-W{week:02d}"
    # isoformat, not strftime: C libraries don't agree on how many digits the year 999 has
    length = {"hour": 13, "day": 10, "month": 7, "year": 4}[by]
    text = moment.isoformat()[:length]
    return f"{text}:00{_offset(moment)}" if by == "hour" else text


def shown(label: str, tz: ZoneInfo) -> str:
    """Return a label for people: an hour with its offset (+02:00) only where the clock shows it twice."""
    match = _HOUR.fullmatch(label)
    if not match:
        return label
    text = f"{match['local']}:00"
    start = datetime.fromisoformat(text)
    if len(_offsets(start, tz)) > 1:
        return f"{text}{match['sign']}{match['hours']}:{match['minutes']}"
    return text


def bounds(label: str, by: str, tz: ZoneInfo) -> tuple[datetime, datetime]:
    """Return when a period begins and when the next one does, in UTC; the same moment twice for one that never was.

    A midnight that the clock leaves out is when it is put forward; of two the first one counts. What is
    outside the calendar is its beginning or its end.
    """
    if by == "hour":
        return _hour_bounds(label, tz)
    day = _first_day(label, by)
    try:
        begin = _utc(datetime.combine(day, datetime.min.time()), tz)
    except OverflowError:
        begin = BEGINNING  # the first midnight of all, east of Greenwich
    try:
        end = _utc(datetime.combine(_next(day, by), datetime.min.time()), tz)
    except (OverflowError, ValueError):
        end = END
    return begin, end


def labels(first: str, last: str, by: str, tz: ZoneInfo) -> Iterator[str]:
    """Yield the labels from the first to the last, both included, without what the zone's clocks leave out.

    Raises UsageError when there are too many.
    """
    for number, found in enumerate(_hours(first, last, tz) if by == "hour" else _days(first, last, by, tz)):
        if number == LONGEST_FILL:
            raise UsageError(
                f"more than {LONGEST_FILL:,} periods between {first} and {last}",
                hint="--since narrows the report",
            )
        yield found


def own_hour(label: str, tz: ZoneInfo) -> str:
    """Return the label that an hour of a server's has by the clocks of this machine: mostly the same.

    Where governments have changed a zone's rules since a server was built (Mexico in 2022), its hours have
    another offset. They begin at the same moments; what the clock shows then is what the newer rules say,
    and without that an hour of the server would be none of the calendar's here.
    """
    begin, end = _hour_bounds(label, tz)
    return label if begin < end else _label_at(datetime.fromisoformat(label), "hour", tz)


def before(label: str, by: str, tz: ZoneInfo) -> str | None:
    """Return the label of the period before; None at the beginning of the calendar."""
    try:
        begin, _ = bounds(label, by, tz)
        return _label_at(begin - _TICK, by, tz)
    except OverflowError:
        return None


def year_before(label: str, by: str, tz: ZoneInfo) -> str | None:
    """Return the label of the same period a year before; None where that year has none.

    It has none of a February 29, of a week 53 in years of 52 weeks, and of an hour or a day that its
    clocks left out. Of an hour that came twice the one with the same offset is meant, else the first one.
    """
    year = int(label[:4]) - 1
    if year < 1:
        return None
    text = f"{year:04d}{label[4:]}"
    try:
        if by == "hour":
            start = datetime.fromisoformat(text[:16])
            offsets = _offsets(start, tz)
            wanted = text[16:] if text[16:] in offsets else next(iter(offsets), None)
            return None if wanted is None else f"{text[:16]}{wanted}"
        begin, end = bounds(text, by, tz)
    except ValueError:
        return None
    return text if begin < end else None


def span(
    since: str | None, until: str | None, tz: ZoneInfo, now: datetime
) -> tuple[datetime | None, datetime | None]:
    """Return the moments of --since and --until, each as `moment` reads it; None is no limit.

    Raises UsageError (2), which says which of the two it is, and where nothing lies between them.
    """
    begin, end = (_option(name, text, tz, now) for name, text in (("--since", since), ("--until", until)))
    if begin is not None and end is not None and begin >= end:
        raise UsageError(
            f"nothing lies between --since {since} and --until {until}",
            hint="--since is the earlier one, and --until is not included",
        )
    return begin, end


def _option(name: str, text: str | None, tz: ZoneInfo, now: datetime) -> datetime | None:
    if text is None:
        return None
    try:
        return moment(text, tz, now)
    except UsageError as error:
        raise UsageError(f"{name}: {error.message}", hint=error.hint) from error


def moment(text: str, tz: ZoneInfo, now: datetime) -> datetime:
    """Return the moment that a text means, in UTC: one that a range begins with, or ends before.

    - a date (2026-11-21), or a label (2026, 2026-11, 2026-Q4, 2026-W47): when it begins in `tz`;
    - a local time (2026-11-21T10:30, in `tz`); one that the clock shows twice is the first of the two, one
      that it leaves out is as much later as the clock is put forward;
    - a time with its own zone (2026-11-21T10:30Z, …+01:00);
    - how long ago: 36h to the second; 30d, 2w, 6mo and 1y from the midnight that many days, weeks, months or
      years back, so that the first day is a whole one;
    - `now`, `today`, `yesterday`, `this-week`, `last-quarter` and so on: when that begins. Last quarter
      alone is since `last-quarter` until `this-quarter`.

    Raises UsageError (2).
    """
    text = text.strip()
    local = now.astimezone(tz)
    try:
        day = _named(text, local.date())
        if day is not None:
            return _utc(datetime.combine(day, datetime.min.time()), tz)
        if text == "now":
            return now.astimezone(UTC)
        if match := re.fullmatch(r"(\d{1,6})h", text):
            return now.astimezone(UTC) - timedelta(hours=int(match[1]))
    except (OverflowError, ValueError) as error:
        raise UsageError(f"{text!r} is outside the calendar") from error
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        hint = "2026-11-21, 2026-11-21T10:30, 2026-11-21T10:30Z, 2026-Q4, how long ago (36h, 30d, 2w, 6mo, 1y), today or last-month"
        if re.fullmatch(r"\d+m", text):
            hint = f"months are mo, and shorter than an hour is nothing: {text}o"
        raise UsageError(f"{text!r} is not a date", hint=hint) from error
    try:
        # there and back: it has to have a label in the zone, too
        return (found if found.tzinfo else _utc(found, tz)).astimezone(tz).astimezone(UTC)
    except (OverflowError, ValueError) as error:
        raise UsageError(f"{text!r} is outside the calendar") from error


def _named(text: str, today: date) -> date | None:
    """Return the day that a name, a label or a duration in days and more means; None for any other text."""
    if text in ("today", "yesterday"):
        return today - timedelta(days=int(text == "yesterday"))
    if match := _NAMED.fullmatch(text):
        by = match[2]
        local = datetime.combine(today, datetime.min.time())
        day = _first_day(label(local, by), by)
        if match[1] == "last":
            day = _first_day(label(datetime.combine(day - timedelta(days=1), datetime.min.time()), by), by)
        return day
    if (match := _DURATION.fullmatch(text)) and match[2] != "h":
        number = int(match[1])
        if match[2] in "dw":
            return today - timedelta(days=number * (7 if match[2] == "w" else 1))
        return _months_later(today, -number * (12 if match[2] == "y" else 1))
    for by, pattern in (("year", r"\d{4}"), ("month", r"\d{4}-\d\d"), ("quarter", _QUARTER.pattern)):
        if re.fullmatch(pattern, text):
            return _first_day(text, by)
    return None


def _first_day(label: str, by: str) -> date:
    match by:
        case "week":
            year, week = label.split("-W")
            return date.fromisocalendar(int(year), int(week), 1)
        case "quarter":
            year, quarter = label.split("-Q")
            return date(int(year), int(quarter) * 3 - 2, 1)
        case "year":
            return date(int(label), 1, 1)
        case "month":
            return date.fromisoformat(f"{label}-01")
        case _:
            return date.fromisoformat(label)


def _next(day: date, by: str) -> date:
    if by in ("day", "week"):
        return day + timedelta(days=1 if by == "day" else 7)
    return _months_later(day, {"month": 1, "quarter": 3, "year": 12}[by])


def _months_later(day: date, months: int) -> date:
    """Return the same day so many months later, or the last one of a month that is shorter."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    first = date(year, month + 1, 1)
    following = date(year + (month == 11), (month + 1) % 12 + 1, 1)
    return first.replace(day=min(day.day, (following - first).days))


def _utc(local: datetime, tz: ZoneInfo) -> datetime:
    return local.replace(tzinfo=tz).astimezone(UTC)


def _label_at(moment: datetime, by: str, tz: ZoneInfo) -> str:
    return label(moment.astimezone(tz), by)


def _offset(moment: datetime) -> str:
    """Return a moment's offset as the server writes it: +0530."""
    offset = moment.utcoffset() or timedelta()
    minutes = abs(offset) // timedelta(minutes=1)
    return f"{'-' if offset < timedelta() else '+'}{minutes // 60:02d}{minutes % 60:02d}"


def _offsets(start: datetime, tz: ZoneInfo) -> list[str]:
    """Return the offsets that the hour with this beginning on the clock has, the first one first; none: it is left out."""
    last = start + timedelta(hours=1) - _TICK
    early, late = start.replace(tzinfo=tz), last.replace(tzinfo=tz, fold=1)
    if early.utcoffset() == late.utcoffset():
        return [_offset(early)]
    found: dict[str, datetime] = {}
    times = [start + _STEP * number for number in range(4)] + [last]
    for local in times:
        for fold in (0, 1):
            there = local.replace(tzinfo=tz, fold=fold)
            moment = there.astimezone(UTC)
            if moment.astimezone(tz).replace(tzinfo=None) == local:
                known = found.setdefault(_offset(there), moment)
                found[_offset(there)] = min(known, moment)
    return sorted(found, key=found.__getitem__)


def _hour_bounds(label: str, tz: ZoneInfo) -> tuple[datetime, datetime]:
    match = _HOUR.fullmatch(label)
    if not match:
        raise ValueError(f"no hour: {label}")
    sign = -1 if match["sign"] == "-" else 1
    offset = sign * timedelta(hours=int(match["hours"]), minutes=int(match["minutes"]))
    start = datetime.fromisoformat(f"{match['local']}:00").replace(tzinfo=UTC) - offset
    own = [at for at in (start + _STEP * number for number in range(4)) if _label_at(at, "hour", tz) == label]
    return (own[0], own[-1] + _STEP) if own else (start, start)


def _hours(first: str, last: str, tz: ZoneInfo) -> Iterator[str]:
    at, end = _hour_bounds(first, tz)[0], _hour_bounds(last, tz)[0]
    while at <= end:
        local = at.astimezone(tz)
        found = label(local, "hour")
        yield found
        following = at + timedelta(hours=1) - timedelta(minutes=local.minute, seconds=local.second)
        turned = (following - _TICK).astimezone(tz).utcoffset() != local.utcoffset()
        at = _hour_bounds(found, tz)[1] if turned else following


def _days(first: str, last: str, by: str, tz: ZoneInfo) -> Iterator[str]:
    day, end = _first_day(first, by), _first_day(last, by)
    while day <= end:
        found = label(datetime.combine(day, datetime.min.time()), by)
        begin, after = bounds(found, by, tz)
        if begin < after:
            yield found
        try:
            day = _next(day, by)
        except (OverflowError, ValueError):
            return
