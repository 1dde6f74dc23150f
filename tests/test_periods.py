"""Periods against the calendar, and texts against the moments that they mean. Pure."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motorctl.core import periods
from motorctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

BERLIN = ZoneInfo("Europe/Berlin")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")
MARCH = datetime(2026, 3, 10, 12, tzinfo=UTC)

ZONE_NAMES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Asia/Beirut",
    "Pacific/Apia",
    "Africa/Casablanca",
)
ZONES = st.sampled_from(ZONE_NAMES).map(ZoneInfo)
MOMENTS = st.datetimes(datetime(1990, 1, 1), datetime(2037, 1, 1)).map(  # noqa: DTZ001 - made aware here
    lambda at: at.replace(tzinfo=UTC)
)
PERIODS = st.sampled_from(periods.PERIODS)

# Until 2011 the clocks of Newfoundland went back at a minute past midnight, into the day before.
_TWO_MIDNIGHTS = "America/St_Johns"


@given(at=MOMENTS, by=PERIODS, zone=ZONES)
def test_a_moment_is_within_the_bounds_of_its_label(at: datetime, by: str, zone: ZoneInfo) -> None:
    label = periods.label(at.astimezone(zone), by)

    begin, end = periods.bounds(label, by, zone)

    if zone.key == _TWO_MIDNIGHTS:
        begin, end = begin - timedelta(hours=1), end + timedelta(hours=1)
    assert begin <= at < end


@given(at=MOMENTS, by=PERIODS, zone=ZONES)
def test_periods_follow_one_another_without_a_gap(at: datetime, by: str, zone: ZoneInfo) -> None:
    label = periods.label(at.astimezone(zone), by)
    begin, end = periods.bounds(label, by, zone)

    earlier = periods.before(label, by, zone)

    assert earlier is not None
    assert periods.bounds(earlier, by, zone)[1] == begin
    assert list(periods.labels(earlier, label, by, zone)) == [earlier, label]
    assert begin < end


@given(at=MOMENTS, count=st.integers(1, 60), by=PERIODS, zone=ZONES)
def test_labels_are_each_period_once_in_order(at: datetime, count: int, by: str, zone: ZoneInfo) -> None:
    first = label = periods.label(at.astimezone(zone), by)
    for _ in range(count):
        label = periods.label(periods.bounds(label, by, zone)[1].astimezone(zone), by)

    found = list(periods.labels(first, label, by, zone))

    assert (found[0], found[-1], len(found)) == (first, label, count + 1)
    begins = [periods.bounds(one, by, zone)[0] for one in found]
    assert all(earlier < later for earlier, later in pairwise(begins))
    assert len({periods.shown(one, zone) for one in found}) == len(found), "no two look the same"
    if by != "hour":
        assert found == sorted(found)


@pytest.mark.parametrize("name", sorted({*ZONE_NAMES} - {"UTC", "Asia/Kathmandu"}))
def test_hours_follow_one_another_at_each_turn_of_the_clocks(name: str) -> None:
    """Also where the clocks turn within an hour: at a minute past midnight, or by thirty minutes."""
    zone = ZoneInfo(name)
    around = timedelta(hours=2)

    there_are = list(turns(zone))
    assert there_are
    for turn in there_are:
        first, last = (periods.label((turn + far).astimezone(zone), "hour") for far in (-around, around))
        found = list(periods.labels(first, last, "hour", zone))

        assert (found[0], found[-1]) == (first, last)
        # What the clock shows at each minute, without asking for it twice: the same hours in the same order.
        minutes = (turn - around + timedelta(minutes=number) for number in range(4 * 60 + 1))
        seen = dict.fromkeys(periods.label(minute.astimezone(zone), "hour") for minute in minutes)
        assert found == list(seen), turn
        ends = [periods.bounds(label, "hour", zone) for label in found]
        assert all(end == begin for (_, end), (begin, _) in pairwise(ends)), turn


def turns(zone: ZoneInfo) -> Iterator[datetime]:
    """Find each moment, to the minute, at which a zone's clocks were or will be put forward or back."""
    day, end = datetime(1990, 1, 1, tzinfo=UTC), datetime(2037, 1, 1, tzinfo=UTC)
    while day < end:
        early, late = day, day + timedelta(days=1)
        if early.astimezone(zone).utcoffset() != late.astimezone(zone).utcoffset():
            while late - early > timedelta(minutes=1):
                middle = early + (late - early) // timedelta(minutes=2) * timedelta(minutes=1)
                if middle.astimezone(zone).utcoffset() == early.astimezone(zone).utcoffset():
                    early = middle
                else:
                    late = middle
            yield late
        day += timedelta(days=1)


def test_the_hour_that_comes_twice_has_its_offset() -> None:
    first, last = "2026-10-25T01:00+0200", "2026-10-25T03:00+0100"

    found = [periods.shown(label, BERLIN) for label in periods.labels(first, last, "hour", BERLIN)]

    assert found == [
        "2026-10-25T01:00",
        "2026-10-25T02:00+02:00",
        "2026-10-25T02:00+01:00",
        "2026-10-25T03:00",
    ]


def test_the_hour_that_the_clock_leaves_out_is_none() -> None:
    first, last = "2026-03-29T01:00+0100", "2026-03-29T03:00+0200"

    assert list(periods.labels(first, last, "hour", BERLIN)) == [first, last]


def test_an_hour_that_never_was_begins_and_ends_at_one_moment() -> None:
    begin, end = periods.bounds("2026-03-29T02:00+0100", "hour", BERLIN)
    assert begin == end == datetime(2026, 3, 29, 1, tzinfo=UTC)


def test_the_first_and_the_last_day_are_within_the_calendar() -> None:
    assert periods.bounds("0001-01-01", "day", BERLIN)[0] == periods.BEGINNING
    assert periods.bounds("9999-12-31", "day", ZoneInfo("America/New_York"))[1] == periods.END


def test_clocks_that_turn_by_half_an_hour_have_half_hours() -> None:
    first, last = "2026-04-05T00:00+1100", "2026-04-05T02:00+1030"

    found = list(periods.labels(first, last, "hour", LORD_HOWE))

    assert [periods.shown(label, LORD_HOWE) for label in found] == [
        "2026-04-05T00:00",
        "2026-04-05T01:00+11:00",
        "2026-04-05T01:00+10:30",
        "2026-04-05T02:00",
    ]
    lengths = [end - begin for begin, end in (periods.bounds(label, "hour", LORD_HOWE) for label in found)]
    assert [length // timedelta(minutes=30) for length in lengths] == [2, 2, 1, 2]


def test_a_day_that_never_was_is_none() -> None:
    """Samoa went from December 29 to December 31 in 2011."""
    apia = ZoneInfo("Pacific/Apia")

    assert list(periods.labels("2011-12-29", "2011-12-31", "day", apia)) == ["2011-12-29", "2011-12-31"]
    assert periods.before("2011-12-31", "day", apia) == "2011-12-29"
    assert periods.year_before("2012-12-30", "day", apia) is None


@pytest.mark.parametrize(
    ("label", "by", "found"),
    [
        ("2024-02-29", "day", None),
        ("2024-02-28", "day", "2023-02-28"),
        ("2026-W53", "week", None),
        ("2021-W52", "week", "2020-W52"),
        ("2026-03", "month", "2025-03"),
        ("2026-Q4", "quarter", "2025-Q4"),
        ("2026", "year", "2025"),
        ("0001", "year", None),
        ("2026-10-25T02:00+0200", "hour", "2025-10-25T02:00+0200"),
        ("2026-10-26T02:00+0100", "hour", "2025-10-26T02:00+0100"),
        ("2025-10-25T02:00+0200", "hour", "2024-10-25T02:00+0200"),
        ("2027-03-29T02:00+0200", "hour", None),
        ("2027-10-25T02:00+0200", "hour", "2026-10-25T02:00+0200"),
        ("2022-10-31T02:00+0100", "hour", "2021-10-31T02:00+0100"),
        ("0002-01-01", "day", "0001-01-01"),
    ],
)
def test_the_same_period_a_year_before(label: str, by: str, found: str | None) -> None:
    assert periods.year_before(label, by, BERLIN) == found


def test_years_53_weeks_long_follow_each_other_never() -> None:
    assert periods.year_before("2020-W53", "week", BERLIN) is None
    assert list(periods.labels("2020-W52", "2021-W01", "week", BERLIN)) == [
        "2020-W52",
        "2020-W53",
        "2021-W01",
    ]


@pytest.mark.parametrize(("first", "by"), [("0001-01-01T00:00+0000", "hour"), ("0001-01-01", "day")])
def test_too_many_periods_are_an_error(first: str, by: str) -> None:
    last = "2026-01-01T00:00+0000" if by == "hour" else "2026-01-01"
    with pytest.raises(UsageError, match="periods between"):
        list(periods.labels(first, last, by, ZoneInfo("UTC")))


@pytest.mark.parametrize(
    ("last", "by"), [("9999-12-31", "day"), ("9999", "year"), ("9999-12", "month"), ("9999-W52", "week")]
)
def test_the_calendar_ends(last: str, by: str) -> None:
    assert list(periods.labels(last, last, by, BERLIN)) == [last]


def test_an_unknown_zone_is_usage() -> None:
    for name in ("Europe/Berlino", "", "../etc/passwd", "\0"):
        with pytest.raises(UsageError, match="no such time zone"):
            periods.zone(name)


# ---- texts


@given(
    st.dates(date(1980, 1, 1), date(2036, 1, 1)), st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata"])
)
def test_a_date_means_its_local_midnight(day: date, name: str) -> None:
    zone = ZoneInfo(name)
    found = periods.moment(day.isoformat(), zone, MARCH)

    assert found.tzinfo is UTC
    assert (found.astimezone(zone).date(), found.astimezone(zone).hour) == (day, 0)


@given(at=MOMENTS, by=st.sampled_from(["day", "week", "month", "quarter", "year"]), zone=ZONES)
def test_a_label_means_when_it_begins(at: datetime, by: str, zone: ZoneInfo) -> None:
    label = periods.label(at.astimezone(zone), by)

    assert periods.moment(label, zone, MARCH) == periods.bounds(label, by, zone)[0]


@given(at=MOMENTS, by=st.sampled_from(["week", "month", "quarter", "year"]), zone=ZONES)
def test_this_and_last_are_the_period_of_now_and_the_one_before(
    at: datetime, by: str, zone: ZoneInfo
) -> None:
    this = periods.label(at.astimezone(zone), by)
    last = periods.before(this, by, zone)

    assert last is not None
    assert periods.moment(f"this-{by}", zone, at) == periods.bounds(this, by, zone)[0]
    assert periods.moment(f"last-{by}", zone, at) == periods.bounds(last, by, zone)[0]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("36h", datetime(2026, 3, 9, 0, tzinfo=UTC)),
        ("0h", MARCH),
        ("now", MARCH),
        ("0d", datetime(2026, 3, 9, 23, tzinfo=UTC)),
        ("today", datetime(2026, 3, 9, 23, tzinfo=UTC)),
        ("yesterday", datetime(2026, 3, 8, 23, tzinfo=UTC)),
        ("7d", datetime(2026, 3, 2, 23, tzinfo=UTC)),
        ("2w", datetime(2026, 2, 23, 23, tzinfo=UTC)),
        ("6mo", datetime(2025, 9, 9, 22, tzinfo=UTC)),
        ("1y", datetime(2025, 3, 9, 23, tzinfo=UTC)),
        ("this-week", datetime(2026, 3, 8, 23, tzinfo=UTC)),
        ("last-month", datetime(2026, 1, 31, 23, tzinfo=UTC)),
        ("last-quarter", datetime(2025, 9, 30, 22, tzinfo=UTC)),
        ("2026-Q2", datetime(2026, 3, 31, 22, tzinfo=UTC)),
        ("2026-W11", datetime(2026, 3, 8, 23, tzinfo=UTC)),
        ("2026-03", datetime(2026, 2, 28, 23, tzinfo=UTC)),
        ("2026", datetime(2025, 12, 31, 23, tzinfo=UTC)),
        (" 2026-03-29T02:30 ", datetime(2026, 3, 29, 1, 30, tzinfo=UTC)),
        ("2026-10-25T02:30", datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
        ("2026-10-25T02:30+01:00", datetime(2026, 10, 25, 1, 30, tzinfo=UTC)),
        ("2026-10-25T02:30Z", datetime(2026, 10, 25, 2, 30, tzinfo=UTC)),
    ],
)
def test_a_text_is_a_moment_of_the_zone(text: str, found: datetime) -> None:
    """02:30 on March 29 the clock leaves out: it is 03:30. On October 25 it comes twice: the first one."""
    assert periods.moment(text, BERLIN, MARCH) == found


def test_a_month_ago_on_the_31st_is_the_last_of_a_shorter_month() -> None:
    now = datetime(2024, 3, 31, 12, tzinfo=UTC)

    assert periods.moment("1mo", ZoneInfo("UTC"), now) == datetime(2024, 2, 29, tzinfo=UTC)
    assert periods.moment("13mo", ZoneInfo("UTC"), now) == datetime(2023, 2, 28, tzinfo=UTC)
    assert periods.moment("1y", ZoneInfo("UTC"), datetime(2024, 2, 29, tzinfo=UTC)) == datetime(
        2023, 2, 28, tzinfo=UTC
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "30",
        "d",
        "2026-13-01",
        "2026-13",
        "2026-Q5",
        "2026-W54",
        "0000",
        "999999w",
        "999999mo",
        "9999y",
        "this-day",
        "last",
        "30D",
        "0001-01-01T00:00+14:00",
    ],
)
def test_what_is_no_date_is_usage(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        periods.moment(text, BERLIN, MARCH)
    assert repr(text) in caught.value.message


def test_minutes_are_not_taken_for_months() -> None:
    with pytest.raises(UsageError) as caught:
        periods.moment("6m", BERLIN, MARCH)
    assert "6mo" in (caught.value.hint or "")
