"""Revenue over time as it is read from the groups of an answer, and the question that is sent. Pure.

What the figures are on a real server is held by test_revenue_truth.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from bson import Decimal128

from motorctl.core.field_paths import path
from motorctl.core.revenue.over_time import Series, question, read
from motorctl.core.revenue.selection import Orders
from motorctl.errors import UsageError

V6 = (6, 0)


def at(year: int, month: int = 1, day: int = 1, hour: int = 0) -> datetime:
    return datetime(year, month, day, hour, tzinfo=UTC)


def group(
    period: str | None, total: Any = 0, orders: int = 1, *, doubles: bool = False, **key: Any
) -> dict[str, Any]:
    return {"_id": {"period": period, **key}, "total": total, "orders": orders, "doubles": doubles}


def periods_of(rows: list[dict[str, Any]]) -> list[str]:
    return [row["period"] for row in rows]


# ---- the question


def test_the_question_is_the_same_on_every_server() -> None:
    asked = [
        question(Orders(), Series("week", "Europe/Berlin", compare="year"), version)
        for version in ((4, 4), (5, 0), (8, 0))
    ]

    assert asked[0] == asked[1] == asked[2]
    assert [next(iter(stage)) for stage in asked[0].pipeline] == ["$match", "$group", "$sort"]


@pytest.mark.parametrize(
    ("by", "compare", "since", "from_"),
    [
        ("month", None, at(2026, 3, 1), at(2026, 3, 1)),
        ("month", "previous", at(2026, 3, 1), at(2026, 2, 1)),
        ("month", "previous", at(2026, 3, 15), at(2026, 2, 1)),
        ("day", "previous", at(2026, 3, 1), at(2026, 2, 28)),
        ("year", "previous", at(2026, 3, 1), at(2025)),
        ("quarter", "previous", None, None),
        ("year", "previous", at(1), None),
        ("year", "year", at(1), None),
    ],
)
def test_a_comparison_reads_from_the_earlier_period_on(
    by: str, compare: Any, since: datetime | None, from_: datetime | None
) -> None:
    asked = question(Orders(since=since), Series(by, compare=compare), V6)

    limits = asked.pipeline[0]["$match"].get("created_at", {})
    assert limits.get("$gte") == from_


@pytest.mark.parametrize("by", ["hour", "day", "week", "month", "quarter", "year"])
def test_a_comparison_with_a_year_before_reads_a_year_more_and_little_else(by: str) -> None:
    since = at(2025, 2, 28, 5)

    asked = question(Orders(since=since), Series(by, "Pacific/Apia", compare="year"), V6)

    begin = asked.pipeline[0]["$match"]["created_at"]["$gte"]
    assert timedelta(days=365) <= since - begin
    assert begin >= at(2023, 12, 31), "the year that February 2024 is in"


def test_what_was_before_since_in_its_period_is_told_apart_only_where_there_can_be_any() -> None:
    def key(since: datetime) -> dict[str, Any]:
        asked = question(Orders(since=since), Series("month", compare="previous"), V6)
        found: dict[str, Any] = asked.pipeline[1]["$group"]["_id"]
        return found

    assert "early" not in key(at(2026, 3, 1))
    assert key(at(2026, 3, 2))["early"] == {"$lt": ["$created_at", at(2026, 3, 2)]}


@pytest.mark.parametrize(
    "orders",
    [Orders(date=r"a\.b"), Orders(amount="$a"), Orders(currency=r"x.y\.z")],
    ids=["date", "amount", "currency"],
)
def test_a_name_that_needs_get_field_is_refused_before_5_0(orders: Orders) -> None:
    with pytest.raises(UsageError, match=r"needs MongoDB 5\.0; this is 4\.4"):
        question(orders, Series(), (4, 4))
    assert "$getField" in str(question(orders, Series(), (5, 0)))


@pytest.mark.parametrize("name", ["", ".", "a.", ".a", "a..b", "a\0"])
def test_a_path_with_an_empty_part_is_usage(name: str) -> None:
    with pytest.raises(UsageError, match="is no field"):
        path(name)


def test_names_with_spaces_and_dots_are_paths() -> None:
    assert path("unit price.net amount") == "$unit price.net amount"
    assert path(r"a\.b.c") == {
        "$getField": {"field": "c", "input": {"$getField": {"field": "a.b", "input": "$$CURRENT"}}}
    }


def test_a_backslash_is_one_of_the_name_unless_it_stands_before_a_dot_or_another() -> None:
    assert path(r"a\b") == path(r"a\\b") == r"$a\b"
    assert path(r"a\\.b") == "$a\\.b", "inside of what is called a\\"
    assert path(r"a\\\.b") == {"$getField": {"field": "a\\.b", "input": "$$CURRENT"}}


def test_an_unknown_period_or_zone_is_usage() -> None:
    with pytest.raises(UsageError, match="no period"):
        question(Orders(), Series("decade"), V6)
    with pytest.raises(UsageError, match="time zone"):
        question(Orders(), Series("day", "Europe/Berlino"), V6)


# ---- the answer


def test_a_period_before_the_data_begins_is_no_base_and_one_without_orders_is_zero() -> None:
    report = read(
        [group("2026-01", 10), group("2026-03", 30), group("2026-04", 20)],
        Orders(),
        Series(compare="previous"),
    )

    assert [(row["compared_to"], row["compared_revenue"], row["change_percent"]) for row in report.rows] == [
        ("2025-12", None, None),
        ("2026-02", Decimal("0.00"), None),
        ("2026-03", Decimal("30.00"), Decimal("-33.3")),
    ]


def test_fill_changes_no_comparison() -> None:
    groups = [group("2026-01", 10), group("2026-03", 30)]

    plain = read(groups, Orders(), Series(compare="previous"))
    filled = read(groups, Orders(), Series(compare="previous", fill=True))

    assert periods_of(filled.rows) == ["2026-01", "2026-02", "2026-03"]
    assert [row for row in filled.rows if row["orders"]] == plain.rows
    assert filled.rows[1] == {
        "period": "2026-02",
        "revenue": Decimal("0.00"),
        "orders": 0,
        "average": Decimal("0.00"),
        "compared_to": "2026-01",
        "compared_revenue": Decimal("10.00"),
        "change_percent": Decimal("-100.0"),
    }


@pytest.mark.parametrize(
    ("revenue", "earlier", "percent"),
    [
        ("15", "10", "50.0"),
        ("10", "15", "-33.3"),
        ("-5", "-10", "50.0"),
        ("10.005", "10", "0.0"),
        ("10.015", "10", "0.2"),
        ("1E+30", "0.01", "9999999999999999999999999999999900.0"),
    ],
)
def test_a_change_is_in_per_cent_half_even_and_a_loss_made_smaller_is_a_gain(
    revenue: str, earlier: str, percent: str
) -> None:
    groups = [group("2025", Decimal128(earlier)), group("2026", Decimal128(revenue))]

    report = read(groups, Orders(), Series("year", compare="year"))

    assert str(report.rows[1]["change_percent"]) == percent


def test_what_lies_before_since_is_a_base_and_nothing_else() -> None:
    """Since March 10: what March had before is in no row, and April is compared with the whole of March."""
    report = read(
        [
            group("2026-02", 5, early=True),
            group("2026-03", 100, early=True),
            group("2026-03", 10, early=False),
            group("2026-04", 20, early=False),
            group("2026-02", 0, 3, early=True, skipped="string"),
            group("2026-03", 0, 4, early=True, skipped="string"),
            group("2026-03", 0, 1, early=False, skipped="NaN"),
        ],
        Orders(since=at(2026, 3, 10)),
        Series(compare="previous", cumulative=True),
    )

    assert [(row["revenue"], row["compared_revenue"], row["cumulative"]) for row in report.rows] == [
        (10, 5, 10),
        (20, 110, 30),
    ]
    assert report.skipped == {"NaN": 1}
    assert report.partial == ["2026-03"]


def test_a_first_period_without_orders_since_then_is_compared_with_as_a_whole() -> None:
    groups = [group("2026-03", 100, early=True), group("2026-04", 20, early=False)]

    report = read(groups, Orders(since=at(2026, 3, 10)), Series(compare="previous", fill=True))

    assert [(row["period"], row["revenue"], row["compared_revenue"]) for row in report.rows] == [
        ("2026-03", 0, None),
        ("2026-04", 20, 100),
    ]


def test_hours_of_a_server_with_older_clocks_are_those_of_the_calendar_here() -> None:
    """Mexico has had no summer time since 2022: an older server takes noon in Greenwich for 7 o'clock, not for 6."""
    orders = Orders(since=at(2026, 7, 1, 11), until=at(2026, 7, 1, 15))
    groups = [group("2026-07-01T07:00-0500", 1), group("2026-07-01T09:00-0500", 2)]
    series = Series("hour", "America/Mexico_City", fill=True, compare="previous")

    report = read(groups, orders, series)

    assert [(row["period"][11:], row["revenue"], row["compared_revenue"]) for row in report.rows] == [
        ("05:00", 0, None),
        ("06:00", 1, 0),
        ("07:00", 0, 1),
        ("08:00", 2, 0),
    ]
    assert report.other_clocks
    own = [group("2026-07-01T06:00-0600", 1)]
    assert not read(own, orders, series).other_clocks


def test_filling_loses_no_period_that_the_server_alone_has() -> None:
    """Half past eleven of July 1 in Mexico is July 2 for an older server."""
    orders = Orders(since=at(2026, 7, 1, 6), until=at(2026, 7, 2, 6))
    groups = [group("2026-06-30", 1), group("2026-07-02", 2)]

    report = read(groups, orders, Series("day", "America/Mexico_City", fill=True))

    assert [(row["period"], row["revenue"]) for row in report.rows] == [
        ("2026-06-30", 1),
        ("2026-07-01", 0),
        ("2026-07-02", 2),
    ]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
@pytest.mark.parametrize("compare", ["previous", "year"])
def test_the_calendar_ends_without_an_error(zone: str, compare: Any) -> None:
    for by, first, last in (("year", "0001", "9999"), ("month", "0001-01", "9999-12")):
        series = Series(by, zone, fill=by == "year", compare=compare)
        report = read([group(first, 1), group(last, 2)], Orders(), series, now=at(2026))
        assert (report.rows[0]["period"], report.rows[-1]["period"]) == (first, last)


def test_a_period_that_is_not_over_is_said_and_compared_as_it_stands() -> None:
    groups = [group("2026-02", 10), group("2026-03", 5)]

    report = read(groups, Orders(), Series(compare="previous"), now=at(2026, 3, 10))

    assert report.partial == ["2026-03"]
    assert report.rows[1]["change_percent"] == Decimal("-50.0")
    assert read(groups, Orders(), Series(), now=at(2026, 4)).partial == []
    assert read(groups, Orders(until=at(2026, 3, 10)), Series(), now=at(2026, 4)).partial == ["2026-03"]
    assert read(groups, Orders(since=at(2026, 2), until=at(2026, 4)), Series(), now=at(2026, 4)).partial == []


def test_the_running_total_is_exact_and_of_one_currency_and_status_alone() -> None:
    report = read(
        [
            group("2026-01", Decimal128("0.005"), currency="EUR", status="paid"),
            group("2026-01", Decimal128("7"), currency="USD", status="paid"),
            group("2026-02", Decimal128("0.005"), currency="EUR", status="paid"),
            group("2026-02", Decimal128("1"), currency="EUR", status=None),
            group("2026-02", Decimal128("3"), 2, currency=None, status="paid"),
        ],
        Orders(currency="currency"),
        Series(by_status=True, cumulative=True),
    )

    assert [
        (row["period"], row["currency"], row["status"], str(row["revenue"]), str(row["cumulative"]))
        for row in report.rows
    ] == [
        ("2026-01", "EUR", "paid", "0.005", "0.005"),
        ("2026-01", "USD", "paid", "7.00", "7.00"),
        ("2026-02", "EUR", "paid", "0.005", "0.01"),
        ("2026-02", "EUR", None, "1.00", "1.00"),
        ("2026-02", None, "paid", "3.00", "3.00"),
    ]
    assert report.without_currency == 2


def test_fill_without_any_order_shows_the_range_that_was_asked_for() -> None:
    orders = Orders(since=at(2026), until=at(2026, 3))

    assert periods_of(read([], orders, Series(fill=True)).rows) == ["2026-01", "2026-02"]
    assert read([], orders, Series(fill=True, by_status=True)).rows == []
    assert read([], Orders(), Series(fill=True)).rows == []


def test_orders_without_a_date_are_counted_whatever_their_amount() -> None:
    report = read(
        [group(None, 5, 2), group(None, 0, 3, skipped="null"), group("2026", 1)], Orders(), Series("year")
    )

    assert (report.undated, report.skipped, len(report.rows)) == (5, {}, 1)


def test_null_and_missing_are_one_reason_since_an_index_has_one_word_for_them() -> None:
    groups = [
        group("2026", 0, 2, skipped="null"),
        group("2026", 0, 3, skipped="missing"),
        group("2026", 0, 9, skipped="string"),
        group("2026", 0, 1, skipped="regex"),
    ]

    assert list(read(groups, Orders(), Series("year")).skipped.items()) == [
        ("a string", 9),
        ("null or missing", 5),
        ("of type regex", 1),
    ]


@pytest.mark.parametrize(
    ("total", "orders", "average"),
    [
        ("0.05", 2, "0.02"),
        ("0.07", 2, "0.04"),
        ("-0.05", 2, "-0.02"),
        ("10", 3, "3.33"),
        ("0.015", 1, "0.02"),
        ("1E+6000", 1, f"1{'0' * 6000}.00"),
    ],
)
def test_an_average_is_half_even_to_cents(total: str, orders: int, average: str) -> None:
    report = read([group("2026", Decimal128(total), orders)], Orders(), Series("year"))

    assert str(report.rows[0]["average"]) == average
