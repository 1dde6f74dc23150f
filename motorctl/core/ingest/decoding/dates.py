"""Dates in cells: formats of `strptime`, zones, seconds since 1970, and the layouts of other tools.

Pure functions of a text. A cell that is no such date raises `ValueError` with what was looked for; a format
that can't be used is a `UsageError`. Knows nothing of columns or records.
"""

from __future__ import annotations

import re
import warnings
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from bson import DatetimeMS

from motorctl.core import extjson
from motorctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    Date = datetime | DatetimeMS

__all__ = ["from_epoch", "from_format", "from_go", "from_iso", "from_ms", "from_oracle", "iso_column"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_WHOLE = re.compile(r"[+-]?[0-9]{1,19}")
_DIRECTIVE = re.compile(r"%(.)|([^%]+)", re.DOTALL)
# From the largest to the smallest: the arguments of datetime().
_PARTS = "YmdHMS"
_REMEMBERED = 4096


def from_iso(zone: ZoneInfo | None) -> Callable[[str], Date]:
    """Read ISO 8601. A time without an offset is one of `zone`, UTC if None."""

    def read(text: str) -> Date:
        # fromisoformat takes a week date and an ordinal too: those are ISO 8601 as well.
        try:
            when = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError("an ISO 8601 date") from None
        return _instant(when, zone)

    return read


def iso_column(cells: list[str]) -> list[Any]:
    """Read a column of ISO 8601 in UTC. Raises `ValueError` when a cell is none."""
    dates = list(map(datetime.fromisoformat, cells))
    if set(map(attrgetter("tzinfo"), dates)) == {UTC}:
        return dates
    return [_instant(when, None) for when in dates]


def from_epoch(unit: int) -> Callable[[str], Date]:
    """Read a whole number of units of so many milliseconds since 1970."""

    def read(text: str) -> Date:
        number = int(text) * unit if _WHOLE.fullmatch(text) else 2**64
        if not extjson.INT64_MIN <= number <= extjson.INT64_MAX:
            raise ValueError("a date that 64 bits hold" if _WHOLE.fullmatch(text) else "a whole number")
        return DatetimeMS(number)

    return read


def from_format(pattern: str) -> Callable[[str], Date]:
    """Read what a format says: `%d/%m/%Y`, `%d/%m/%Y %H:%M, Europe/Berlin`, `Europe/Berlin`, `s`, `ms`.

    A format is one of `strptime`; without any, dates are ISO 8601. A time with an offset is taken by it,
    one without is a local time of the zone, UTC if none is named. A local time that comes twice, when
    clocks go back, is the first one; one that never comes is an error.
    """
    if pattern in {"s", "ms"}:
        return from_epoch(1000 if pattern == "s" else 1)
    layout, _, name = pattern.rpartition(",")
    zone = None
    if "%" in name or not name.strip():
        layout = pattern
    else:
        zone = _zone(name.strip(), pattern)
    if not layout.strip():
        return from_iso(zone)
    if "%" not in layout:
        raise UsageError(
            f"date({pattern}) isn't a date format",
            hint="for example date(%d/%m/%Y), date(Europe/Berlin), date(ms)",
        )
    _try(layout)
    quick = _quick(layout)

    # The days of a few years are few, and each is met many times.
    @lru_cache(_REMEMBERED)
    def read(text: str) -> Date:
        try:
            # A zone in the text is kept; one that isn't there is given below.
            when = quick(text) or datetime.strptime(text, layout)  # noqa: DTZ007 - a zone is put to it below
        except ValueError:
            raise ValueError(f"a date like {layout}") from None
        return _instant(when, zone)

    return read


def _zone(name: str, pattern: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise UsageError(
            f"date({pattern}): no time zone {name!r}", hint="for example date(%d/%m/%Y %H:%M, Europe/Berlin)"
        ) from None


def _try(layout: str) -> None:
    """Raise `UsageError` for a format that strptime can't use."""
    wrong = ""
    try:
        with warnings.catch_warnings():
            # Python 3.13 warns of days without a year: they are of 1900.
            warnings.simplefilter("ignore", DeprecationWarning)
            datetime.strptime("", layout)  # noqa: DTZ007 - only whether the layout is one
    except re.error:
        wrong = "it names a part twice"
    except ValueError as error:
        # What it says of a text that doesn't match is expected.
        wrong = str(error) if "directive" in str(error) or "stray" in str(error) else ""
    if wrong:
        raise UsageError(f"date({layout}) isn't a date format: {wrong}", hint="formats are those of strptime")


def _quick(layout: str) -> Callable[[str], datetime | None]:
    """Find a quick way to read the usual formats, of parts with all their digits; None: ask strptime.

    strptime itself takes four microseconds or more.
    """
    pattern, parts = "", ""
    for directive, literal in _DIRECTIVE.findall(layout):
        parts += directive
        pattern += re.escape(literal) if literal else "([0-9]{4})" if directive == "Y" else "([0-9]{2})"
    if len(parts) < 3 or sorted(parts) != sorted(_PARTS[: len(parts)]):
        return lambda _: None
    match, pick = re.compile(pattern).fullmatch, itemgetter(*map(parts.index, _PARTS[: len(parts)]))

    def read(text: str) -> datetime | None:
        if not (found := match(text)):
            return None
        return datetime(*map(int, pick(found.groups())))  # type: ignore[arg-type]  # noqa: DTZ001 - `_instant` gives a zone

    return read


def _instant(when: datetime, zone: ZoneInfo | None) -> Date:
    if when.tzinfo is None:
        if zone is None:
            return when.replace(tzinfo=UTC)
        when = when.replace(tzinfo=zone)
        # PEP 495: a second offset that is larger than the first is one of a time that was skipped.
        first, second = when.utcoffset(), when.replace(fold=1).utcoffset()
        if first is not None and second is not None and first < second:
            raise ValueError(f"a time that clocks of {zone} ever show")
    try:
        return when.astimezone(UTC)
    except OverflowError:
        # The time in UTC lies outside the years 1 to 9999.
        return DatetimeMS((when - _EPOCH) // _MILLISECOND)


# -- the layouts of other tools ---------------------------------------------------------------------------

_GO = {
    "January": "%B", "Jan": "%b", "Monday": "%A", "Mon": "%a", "2006": "%Y", "-07:00": "%z", "Z07:00": "%z",
    "-0700": "%z", "Z0700": "%z", "002": "%j", "01": "%m", "02": "%d", "03": "%I", "04": "%M", "05": "%S",
    "06": "%y", "15": "%H", "_2": "%d", "PM": "%p", "pm": "%p", ".000000": ".%f", ".000": ".%f",
    ",000000": ",%f", ",000": ",%f", "1": "%m", "2": "%d", "3": "%I", "4": "%M", "5": "%S",
    "MST": "", "-07": "", "Z07": "", ".000000000": "", ".999": "", ".999999": "", ".999999999": "",
}  # fmt: skip
_MS = {
    "yyyy": "%Y", "yy": "%y", "MMMM": "%B", "MMM": "%b", "MM": "%m", "M": "%m", "dddd": "%A", "ddd": "%a",
    "dd": "%d", "d": "%d", "HH": "%H", "H": "%H", "hh": "%I", "h": "%I", "mm": "%M", "m": "%M", "ss": "%S",
    "s": "%S", "tt": "%p", "a": "%p", "zzz": "%z", "XXX": "%z", "K": "%z", "Z": "%z",
    "EEEE": "%A", "EEE": "%a", "E": "%a", "ffffff": "%f", "fffff": "%f", "ffff": "%f", "fff": "%f",
    "ff": "%f", "f": "%f", "SSSSSS": "%f", "SSS": "%f", "T": "T",
}  # fmt: skip
_ORACLE = {
    "YYYY": "%Y", "YY": "%y", "RR": "%y", "MONTH": "%B", "MON": "%b", "MM": "%m", "DDD": "%j", "DAY": "%A",
    "DD": "%d", "DY": "%a", "HH24": "%H", "HH12": "%I", "HH": "%I", "MI": "%M", "SS": "%S", "AM": "%p",
    "PM": "%p", "FF": "%f", "FF6": "%f", "FF3": "%f", "TZH:TZM": "%z",
}  # fmt: skip
_RFC3339 = {
    "2006-01-02T15:04:05Z07:00",
    "2006-01-02T15:04:05.999999999Z07:00",
    "2006-01-02T15:04:05.999Z07:00",
}


def _either(words: dict[str, str]) -> str:
    return "|".join(map(re.escape, sorted(words, key=len, reverse=True)))


_GO_TOKEN = re.compile(rf"(?P<word>{_either(_GO)})|(?P<literal>.)", re.DOTALL)
_MS_TOKEN = re.compile(r"(?P<word>([a-zA-Z])\2*)|'(?P<quoted>[^']*)'|\\?(?P<literal>.)", re.DOTALL)
_ORACLE_TOKEN = re.compile(
    rf'(?P<word>{_either(_ORACLE)}|[A-Z]+)|"(?P<quoted>[^"]*)"|(?P<literal>.)', re.DOTALL | re.IGNORECASE
)


def from_go(layout: str) -> str:
    """Turn a layout of Go (`2006-01-02`) into a format for `from_format`; "" means ISO 8601.

    Raises `ValueError` saying which part has no like, as do the others.
    """
    return "" if layout in _RFC3339 else _translated(layout, _GO_TOKEN, _GO)


def from_ms(pattern: str) -> str:
    """Turn a pattern as .NET, SQL Server and Java have them (`yyyy-MM-dd HH:mm`) into a format."""
    return _translated(pattern, _MS_TOKEN, _MS)


def from_oracle(pattern: str) -> str:
    """Turn a pattern of Oracle's TO_DATE (`YYYY-MM-DD HH24:MI`), in any case, into a format."""
    return _translated(pattern, _ORACLE_TOKEN, {word.lower(): part for word, part in _ORACLE.items()})


def _translated(layout: str, token: re.Pattern[str], words: dict[str, str]) -> str:
    found: list[str] = []
    for match in token.finditer(layout):
        if match["word"] is None:
            found.append((match["literal"] or match.groupdict().get("quoted") or "").replace("%", "%%"))
            continue
        directive = words.get(match["word"]) or words.get(match["word"].lower(), "")
        if not directive:
            raise ValueError(f"{match['word']!r} in {layout!r} has no like here")
        found.append(directive)
    if not any(part.startswith("%") and part != "%%" for part in found):
        raise ValueError(f"{layout!r} names no part of a date")
    return "".join(found)
