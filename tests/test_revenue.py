"""Revenue: sums to the cent on a real server, against sums by hand; periods against the calendar."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from bson import Decimal128, Int64, ObjectId
from hypothesis import given
from hypothesis import strategies as st

from motorctl.core import periods
from motorctl.errors import UsageError

if TYPE_CHECKING:
    from conftest import Runner
    from pymongo.database import Database as SyncDatabase

    Documents = SyncDatabase[dict[str, Any]]

CENT = Decimal("0.01")
MARCH = datetime(2026, 3, 10, 12, tzinfo=UTC)


def order(amount: Any, at: datetime = MARCH, status: str = "completed", **more: Any) -> dict[str, Any]:
    return {"amount": amount, "created_at": at, "status": status, **more}


def mixed(cents: int, kind: int) -> Any:
    """Return an amount as a collection may hold it: Decimal128, double, or an integer of either size."""
    if kind == 0:
        return Decimal128(Decimal(cents) / 100)
    if kind == 1 or cents % 100:
        return cents / 100
    return cents // 100 if kind == 2 else Int64(cents // 100)


# ---- over time


def test_sums_of_every_number_type_are_those_by_hand_to_the_cent(cli: Runner, sync_db: Documents) -> None:
    chance = random.Random(4)
    by_month: dict[str, list[int]] = {}
    documents = []
    for number in range(5000):
        at = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(minutes=chance.randrange(700 * 1440))
        cents = chance.randrange(1, 10**7)
        status = "completed" if number % 5 else "cancelled"
        documents.append(order(mixed(cents, number % 4), at, status))
        if status == "completed":
            by_month.setdefault(f"{at:%Y-%m}", []).append(cents)
    sync_db.orders.insert_many(documents)

    rows = cli("revenue", "over-time", "-o", "json").json()

    assert rows == [
        {
            "period": month,
            "revenue": str((Decimal(sum(cents)) / 100).quantize(CENT)),
            "orders": len(cents),
            "average": str((Decimal(sum(cents)) / 100 / len(cents)).quantize(CENT, ROUND_HALF_EVEN)),
        }
        for month, cents in sorted(by_month.items())
    ]


def test_ten_cents_ten_times_is_one(cli: Runner, sync_db: Documents) -> None:
    """As doubles, 0.1 + 0.2 is 0.30000000000000004; and half a cent goes to the even one."""
    sync_db.orders.insert_many([order(0.1) for _ in range(10)])
    assert cli("revenue", "over-time", "-o", "json").json()[0]["revenue"] == "1.00"

    sync_db.orders.insert_one(order(Decimal128("0.005")))
    assert cli("revenue", "over-time", "-o", "json").json()[0]["revenue"] == "1.00"
    sync_db.orders.insert_one(order(Decimal128("0.01")))
    assert cli("revenue", "over-time", "-o", "json").json()[0]["revenue"] == "1.02"


def test_each_format_has_the_same_digits(cli: Runner, sync_db: Documents) -> None:
    sync_db.orders.insert_many([order(Decimal128("1234567.10")), order(0.9)])

    told = {
        name: cli("revenue", "over-time", "-o", name).stdout
        for name in ("json", "ndjson", "csv", "markdown", "table")
    }

    assert told["csv"] == "period,revenue,orders,average\n2026-03,1234568.00,2,617284.00\n"
    for text in told.values():
        assert "1234568.00" in text
        assert "617284.00" in text


def test_amounts_and_dates_that_are_none_are_counted_not_summed(cli: Runner, sync_db: Documents) -> None:
    bad = [
        "12.50",
        None,
        float("nan"),
        float("inf"),
        Decimal128("NaN"),
        Decimal128("-Infinity"),
        [1],
        {"a": 1},
    ]
    sync_db.orders.insert_many(
        [order(2), *(order(amount) for amount in bad), {"status": "completed", "created_at": MARCH}]
    )
    sync_db.orders.insert_many([order(3, "2026-03-10"), order(3, None)])  # type: ignore[arg-type]

    result = cli("revenue", "over-time", "-o", "json")

    assert result.json() == [{"period": "2026-03", "revenue": "2.00", "orders": 1, "average": "2.00"}]
    assert "9 orders have no amount that is a number" in result.stderr
    assert "2 orders have no date" in result.stderr


def test_status_and_dates_choose_the_orders(cli: Runner, sync_db: Documents) -> None:
    sync_db.orders.insert_many(
        [
            order(1, datetime(2026, 1, 1, tzinfo=UTC)),
            order(2, datetime(2026, 2, 1, tzinfo=UTC), "pending"),
            order(4, datetime(2026, 2, 1, tzinfo=UTC)),
            order(8, datetime(2026, 3, 1, tzinfo=UTC), "refunded"),
        ]
    )

    def total(*arguments: str) -> Decimal:
        rows = cli("revenue", "over-time", *arguments, "-o", "json").json()
        return sum((Decimal(row["revenue"]) for row in rows), Decimal(0))

    assert total() == 5
    assert total("--any-status") == 15
    assert total("--status", "pending", "--status", "refunded") == 10
    assert total("--since", "2026-02-01", "--any-status") == 14
    assert total("--until", "2026-02-01") == 1, "until is not included"
    assert total("--since", "2026-02-01T00:00+01:00", "--until", "2026-02-01T00:00:01Z") == 4


@pytest.mark.parametrize(
    ("by", "label"),
    [
        ("hour", "2026-03-10T12:00"),
        ("day", "2026-03-10"),
        ("week", "2026-W11"),
        ("month", "2026-03"),
        ("quarter", "2026-Q1"),
        ("year", "2026"),
    ],
)
def test_every_period_has_its_label(cli: Runner, sync_db: Documents, by: str, label: str) -> None:
    sync_db.orders.insert_one(order(1))

    assert [row["period"] for row in cli("revenue", "over-time", "--by", by, "-o", "json").json()] == [label]


@pytest.mark.parametrize(
    "zone", ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Auckland"]
)
@pytest.mark.parametrize("by", periods.PERIODS)
def test_the_server_and_the_calendar_agree_on_labels(
    cli: Runner, sync_db: Documents, by: str, zone: str
) -> None:
    """Around clock changes and the turns of years, where ISO weeks belong to another one."""
    moments = [
        datetime(year, month, day, hour, 30, tzinfo=UTC)
        for year, month, day in [(2024, 12, 29), (2024, 12, 31), (2025, 3, 9), (2025, 3, 30), (2025, 10, 26), (2025, 11, 2), (2026, 1, 1)]
        for hour in range(0, 24, 3)
    ]  # fmt: skip
    sync_db.orders.insert_many([order(1, at) for at in moments])
    expected: dict[str, int] = {}
    for at in moments:
        label = periods.label(at.astimezone(ZoneInfo(zone)), by)
        expected[label] = expected.get(label, 0) + 1

    rows = cli("revenue", "over-time", "--by", by, "--tz", zone, "-o", "json").json()

    assert {row["period"]: row["orders"] for row in rows} == expected
    assert [row["period"] for row in rows] == sorted(expected)


def test_fill_shows_the_empty_periods(cli: Runner, sync_db: Documents) -> None:
    sync_db.orders.insert_many(
        [order(1, datetime(2025, 11, 5, tzinfo=UTC)), order(2, datetime(2026, 2, 5, tzinfo=UTC))]
    )

    def told(*arguments: str) -> list[tuple[str, str]]:
        rows = cli("revenue", "over-time", "--fill", *arguments, "-o", "json").json()
        return [(row["period"], row["revenue"]) for row in rows]

    filled = [("2025-11", "1.00"), ("2025-12", "0.00"), ("2026-01", "0.00"), ("2026-02", "2.00")]
    assert told() == filled
    assert told("--since", "2025-10-15", "--until", "2026-04-01") == [
        ("2025-10", "0.00"),
        *filled,
        ("2026-03", "0.00"),
    ]
    assert told("--since", "2027-01-01") == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("--by", "fortnight"),
        ("--tz", "Mars/Olympus"),
        ("--since", "yesterday"),
        ("--since", "2026-02-30"),
        ("--since", "2026-02-01", "--until", "2026-01-01"),
        ("--status", "completed", "--any-status"),
    ],
)
def test_wrong_usage_is_2_before_anything_is_asked(cli: Runner, arguments: tuple[str, ...]) -> None:
    nowhere = ("--uri", "mongodb://127.0.0.1:1", "--timeout", "0.5")

    assert cli("revenue", "over-time", *arguments, *nowhere).code == 2


def test_other_names_of_fields(cli: Runner, sync_db: Documents) -> None:
    sync_db.sales.insert_one({"status": "completed", "money": {"gross": 5}, "at": MARCH})

    rows = cli(
        "revenue", "over-time", "--collection", "sales", "--amount-field", "money.gross", "--date-field", "at", "-o", "json"
    ).json()  # fmt: skip
    assert rows == [{"period": "2026-03", "revenue": "5.00", "orders": 1, "average": "5.00"}]


def test_no_orders_is_an_empty_report_with_a_word(cli: Runner) -> None:
    result = cli("revenue", "over-time", "-o", "json")

    assert (result.code, result.stdout) == (0, "[]\n")
    assert "no orders" in result.stderr


def test_a_chart_fits_eighty_columns(cli: Runner, sync_db: Documents) -> None:
    sync_db.orders.insert_many([order(n * 10**6, datetime(2026, n, 1, tzinfo=UTC)) for n in range(1, 9)])

    for tty in (True, False):
        text = cli("revenue", "over-time", "--chart", tty=tty, env={"NO_COLOR": "1"}).stdout
        assert max(map(len, text.splitlines())) <= 80
        bars = [line.count("█") for line in text.splitlines() if "2026-" in line]
        assert bars == [3, 6, 9, 12, 15, 18, 21, 24]


# ---- by customer


def test_customers_by_total_with_names_and_the_gone_shown(cli: Runner, sync_db: Documents) -> None:
    ada, grace, gone = ObjectId(), ObjectId(), ObjectId()
    sync_db.users.insert_many([{"_id": ada, "name": "Ada"}, {"_id": grace, "name": "Grace"}])
    sync_db.orders.insert_many(
        [
            order(Decimal128("10.00"), user_id=ada),
            order(0.05, user_id=ada),
            order(7, user_id=ada, status="pending"),
            order(20, user_id=gone),
            order(1, user_id=grace),
            order("no number", user_id=grace),
            order(3),
        ]
    )

    result = cli("revenue", "by-customer", "-o", "json")

    assert result.json() == [
        {"user_id": str(gone), "user_name": None, "total": "20.00", "count": 1, "avg": "20.00"},
        {"user_id": str(ada), "user_name": "Ada", "total": "10.05", "count": 2, "avg": "5.02"},
        {"user_id": None, "user_name": None, "total": "3.00", "count": 1, "avg": "3.00"},
        {"user_id": str(grace), "user_name": "Grace", "total": "1.00", "count": 1, "avg": "1.00"},
    ]
    assert "1 orders have no amount" in result.stderr
    assert [row["total"] for row in cli("revenue", "by-customer", "--top", "2", "-o", "json").json()] == [
        "20.00",
        "10.05",
    ]


# ---- periods, pure


@given(
    moment=st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)),  # noqa: DTZ001 - made aware below
    days=st.integers(0, 1500),
    by=st.sampled_from(periods.PERIODS),
)
def test_labels_are_each_period_once_in_order(moment: datetime, days: int, by: str) -> None:
    first = moment.replace(tzinfo=UTC)
    last = first + timedelta(days=days)
    start, end = periods.label(first, by), periods.label(last, by)

    found = list(periods.labels(start, end, by))

    assert found[0] == start
    assert found[-1] == end
    assert found == sorted(set(found))
    step = timedelta(hours=1) if by == "hour" else timedelta(days=1)
    by_hand, at = [], first
    while at < last:
        by_hand.append(periods.label(at, by))
        at += step
    assert set(by_hand) <= set(found)
    assert set(found) <= {*by_hand, end, *([start] if days == 0 else [])}


def test_too_many_periods_are_an_error() -> None:
    with pytest.raises(UsageError, match="periods between"):
        list(periods.labels("0001-01-01T00:00", "2026-01-01T00:00", "hour"))


@given(
    st.dates(date(1980, 1, 1), date(2100, 1, 1)), st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata"])
)
def test_a_date_means_its_local_midnight(day: date, name: str) -> None:
    zone = ZoneInfo(name)
    found = periods.moment(day.isoformat(), zone, MARCH)

    assert found.tzinfo is UTC
    assert (found.astimezone(zone).date(), found.astimezone(zone).hour) == (day, 0)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("36h", datetime(2026, 3, 9, 0, tzinfo=UTC)),
        ("0h", MARCH),
        ("0d", datetime(2026, 3, 9, 23, tzinfo=UTC)),
        ("7d", datetime(2026, 3, 2, 23, tzinfo=UTC)),
        ("2w", datetime(2026, 2, 23, 23, tzinfo=UTC)),
    ],
)
def test_a_duration_is_how_long_ago_and_days_are_whole(text: str, found: datetime) -> None:
    assert periods.moment(text, ZoneInfo("Europe/Berlin"), MARCH) == found


@pytest.mark.parametrize("text", ["", "x", "30", "d", "2026-13-01", "999999w", "0001-01-01T00:00+14:00"])
def test_what_is_no_date_is_usage(text: str) -> None:
    with pytest.raises(UsageError):
        periods.moment(text, ZoneInfo("UTC"), MARCH)


def test_an_amount_beyond_all_money_is_a_sum_and_not_a_defect(cli: Runner, sync_db: Documents) -> None:
    sync_db.orders.insert_many([order(1e60), order(Decimal128("0.01"))])

    (row,) = cli("revenue", "over-time", "-o", "json").json()
    assert row["revenue"].startswith("1000000000000000000000000000000")
    assert row["orders"] == 2
