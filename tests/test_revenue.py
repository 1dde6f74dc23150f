"""The reports of `motorctl revenue` as the user has them: figures by hand, options, formats, and bad days."""

from __future__ import annotations

import json
import os
import random
import re
import shlex
import signal
import subprocess
import uuid
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from bson import Decimal128, Int64, ObjectId
from conftest import command, until

from motorctl.core import periods
from motorctl.core.explain import ask

if TYPE_CHECKING:
    from conftest import Runner
    from pymongo.database import Database as SyncDatabase

    Documents = SyncDatabase[dict[str, Any]]

CENT = Decimal("0.01")
MARCH = datetime(2026, 3, 10, 12, tzinfo=UTC)
REPORTS = ("over-time", "by-customer", "by-product")
NOWHERE = ("--uri", "mongodb://127.0.0.1:1", "--timeout", "0.1")


def order(amount: Any, at: datetime = MARCH, status: str = "completed", **more: Any) -> dict[str, Any]:
    return {"amount": amount, "created_at": at, "status": status, **more}


def at(year: int, month: int) -> datetime:
    return datetime(year, month, 15, 12, tzinfo=UTC)


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


def test_an_amount_beyond_all_money_is_a_sum_and_not_a_defect(cli: Runner, sync_db: Documents) -> None:
    sync_db.orders.insert_many([order(1e60), order(Decimal128("0.01"))])

    (row,) = cli("revenue", "over-time", "-o", "json").json()
    assert abs(Decimal(row["revenue"]) / Decimal("1e60") - 1) < Decimal("1e-15")
    assert row["orders"] == 2


@pytest.mark.parametrize("report", REPORTS)
@pytest.mark.parametrize("huge", [1e308, Decimal128("9E+6144")], ids=["doubles", "decimals"])
def test_a_sum_beyond_all_numbers_is_refused_in_words(
    cli: Runner, sync_db: Documents, report: str, huge: Any
) -> None:
    sync_db.orders.insert_many([order(huge), order(huge)])

    result = cli("revenue", report)

    assert (result.code, result.stdout) == (6, "")
    assert "add up to more than a number holds" in result.stderr


@pytest.mark.parametrize("report", REPORTS)
def test_sums_of_quotients_are_rounded_to_cents_and_that_is_said(
    cli: Runner, sync_db: Documents, report: str
) -> None:
    sync_db.orders.insert_many([order(1, product_id="p") for _ in range(3)])

    thirds = cli("revenue", report, "--amount-expr", "amount / 3", "-o", "json")
    assert "1.00" in thirds.json()[0].values()
    assert thirds.stderr == "sums of quotients are rounded to cents\n"

    rounded = cli("revenue", report, "--amount-expr", "round(amount / 3, 3)", "-o", "json")
    assert "0.999" in rounded.json()[0].values(), "of those that are rounded already the sum is exact"
    assert rounded.stderr == ""


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
        "1",
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
    sync_db.orders.insert_many([order(3, "2026-03-10"), order(3, None)])  # type: ignore[arg-type]  # a date that is none is what is tested

    result = cli("revenue", "over-time", "-o", "json")

    assert result.json() == [{"period": "2026-03", "revenue": "2.00", "orders": 1, "average": "2.00"}]
    assert sorted(result.stderr.splitlines()) == [
        "warning: 1 order has an amount that is an array: it is in no figure",
        "warning: 1 order has an amount that is an object: it is in no figure",
        "warning: 2 orders have an amount that is NaN: they are in no figure",
        "warning: 2 orders have an amount that is a string: they are in no figure",
        "warning: 2 orders have an amount that is infinite: they are in no figure",
        "warning: 2 orders have an amount that is null or missing: they are in no figure",
        "warning: 2 orders have no date in created_at: they are in no figure",
    ]


@pytest.mark.parametrize("report", REPORTS)
def test_what_is_left_out_is_there_for_machines_too(cli: Runner, sync_db: Documents, report: str) -> None:
    sync_db.orders.insert_many([order(0.5, product_id="p"), order("1"), order("2")])

    result = cli("revenue", report, "-o", "json", "--log-format", "json")

    lines = [json.loads(line) for line in result.stderr.splitlines()]
    assert [{key: line[key] for key in line if key not in ("time", "message")} for line in lines] == [
        {"level": "warning", "orders": 2, "field": "amount", "reason": "a string"},
        {"level": "info", "rounded": True},
    ]


@pytest.mark.parametrize("report", REPORTS)
def test_rounding_is_said_once_and_only_where_there_is_some(
    cli: Runner, sync_db: Documents, report: str
) -> None:
    exact = [order(Decimal128("0.125"), product_id="p", user_id=1), order(1, product_id="p", user_id=1)]
    sync_db.users.insert_one({"_id": 1, "name": "Ada"})
    sync_db.orders.insert_many(exact)
    result = cli("revenue", report, "-o", "csv")
    assert "1.125" in result.stdout
    assert result.stderr == ""

    sync_db.orders.insert_many([order(0.1, datetime(2026, n, 1, tzinfo=UTC)) for n in (1, 2, 3)])
    assert cli("revenue", report).stderr == "sums that hold doubles are rounded to cents\n"
    assert cli("revenue", report, "-q").stderr == ""


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
        label = periods.shown(periods.label(at.astimezone(ZoneInfo(zone)), by), ZoneInfo(zone))
        expected[label] = expected.get(label, 0) + 1

    rows = cli("revenue", "over-time", "--by", by, "--tz", zone, "-o", "json").json()

    assert {row["period"]: row["orders"] for row in rows} == expected
    assert [row["period"] for row in rows] == list(expected), "in time order"


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
    ("arguments", "said"),
    [
        (("--by", "mon"), "error: --by: 'mon' is not one of hour, day, week, month, quarter, year\nhint: did you mean 'month'?"),
        (("--by", "fortnight"), "--by: 'fortnight' is not one of"),
        (("--compare", "yaer"), "--compare: 'yaer' is not one of previous, year\nhint: did you mean 'year'?"),
        (("--compare", ""), "--compare: '' is not one of"),
        (("--explain", "-o", "html"), "--explain draws nothing"),
        (("--dry-run",), "--dry-run is for --refresh-into"),
        (("--refresh-into", "x", "--explain"), "--explain and --refresh-into exclude each other"),
        (("--refresh-into", "x", "--chart"), "--chart and --refresh-into exclude each other"),
        (("--refresh-into", "x", "-o", "svg"), "--refresh-into draws nothing"),
    ],
)  # fmt: skip
def test_wrong_usage_over_time(cli: Runner, arguments: tuple[str, ...], said: str) -> None:
    result = cli("revenue", "over-time", *arguments, *NOWHERE)

    assert (result.code, result.stdout) == (2, "")
    assert said in result.stderr


@pytest.mark.parametrize("report", REPORTS)
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--tz", "Mars/Olympus"), "no such time zone: 'Mars/Olympus'"),
        (("--tz", "Europe/Berln"), "Europe/Berlin"),
        (("--tz", ""), "no such time zone: ''"),
        (("--since", "yester"), "'yester'"),
        (("--since", ""), "''"),
        (("--since", "2026-02-30"), "2026-02-30"),
        (("--since", "2026-02-01", "--until", "2026-01-01"), "nothing lies between"),
        (("--until", "2026-01-01", "--since", "2026-01-01"), "nothing lies between"),
        (("--status", "completed", "--any-status"), "--status and --any-status exclude each other"),
        (("--amount-field", "amount", "--amount-expr", "qty"), "--amount-field and --amount-expr exclude each other"),
        (("--amount-expr", "qty * "), "column 7"),
        (("--amount-field", "a..b"), "--amount-field: 'a..b' is no field"),
        (("--date-field", ""), "--date-field: '' is no field"),
        (("--amount-field", ""), "--amount-field: '' is no field"),
        (("--currency-field", ".x"), "--currency-field: '.x' is no field"),
        (("--collection", ""), "--collection: '' is no name of a collection"),
        (("--collection", "$cmd"), "--collection: '$cmd' is no name of a collection"),
        (("--show-pipeline", "--explain"), "--show-pipeline and --explain exclude each other"),
        (("--show-pipeline", "-o", "svg"), "--show-pipeline draws nothing"),
    ],
)  # fmt: skip
def test_wrong_usage_is_2_before_anything_is_asked(
    cli: Runner, report: str, arguments: tuple[str, ...], said: str
) -> None:
    result = cli("revenue", report, *arguments, *NOWHERE)

    assert (result.code, result.stdout) == (2, "")
    assert said in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("report", REPORTS)
def test_one_set_of_options_fits_every_report(cli: Runner, sync_db: Documents, report: str) -> None:
    """A shell's alias has the fields of its collection, whichever report follows."""
    sync_db.sales.insert_one({"state": 1, "money": {"gross": 5}, "at": MARCH, "who": 1, "what": "p"})

    rows = cli(
        "revenue", report, "--collection", "sales", "--amount-field", "money.gross", "--date-field", "at",
        "--customer-field", "who", "--product-field", "what", "--any-status", "--chart", "-o", "json",
    ).json()  # fmt: skip

    assert len(rows) == 1
    assert "5.00" in rows[0].values()


@pytest.mark.parametrize("report", REPORTS)
def test_names_of_fields_with_blanks_and_dots(cli: Runner, sync_db: Documents, report: str) -> None:
    """A dot goes inside; `\\.` is one in a name, which servers know from 5.0 on."""
    inside = {"gross sum": 2, "b": {"placed on": MARCH}, "who is it": 1, "the product": "p"}
    sync_db.orders.insert_one({"status": "completed", "a": inside})
    names = (
        "--amount-field", "a.gross sum", "--date-field", "a.b.placed on", "--customer-field", "a.who is it",
        "--product-field", "a.the product",
    )  # fmt: skip
    assert "2.00" in cli("revenue", report, *names, "-o", "json").json()[0].values()

    sync_db.dotted.insert_one({"status": "completed", "gross": MARCH})
    with_dots = {"field": "a.b", "input": {}, "value": 3}
    sync_db.dotted.update_one({}, [{"$set": {"at": "$gross", "copy": {"$setField": with_dots}}}])
    sync_db.dotted.update_one({}, [{"$replaceWith": {"$mergeObjects": ["$$ROOT", "$copy"]}}])
    dotted = ("--collection", "dotted", "--amount-field", "a\\.b", "--date-field", "at")
    assert "3.00" in cli("revenue", report, *dotted, "-o", "json").json()[0].values()


@pytest.mark.parametrize("report", REPORTS)
def test_an_amount_may_be_a_formula(cli: Runner, sync_db: Documents, report: str) -> None:
    lines = [
        order(None, qty=3, price=Decimal128("0.10"), product_id="p", user_id=1),
        order(7, qty="x", price=1),
    ]
    sync_db.orders.insert_many(lines)

    result = cli("revenue", report, "--amount-expr", "qty * price", "-o", "json")

    assert "0.30" in result.json()[0].values()
    assert "1 order has no value of --amount-expr" in result.stderr


@pytest.mark.parametrize("report", REPORTS)
def test_currencies_are_never_added(cli: Runner, sync_db: Documents, report: str) -> None:
    key: dict[str, Any] = {"user_id": 1, "product_id": "p"}
    sync_db.orders.insert_many(
        [order(1, cur="EUR", **key), order(2, cur="USD", **key), order(4, cur="EUR", **key), order(8, **key)]
    )
    value = "total" if report == "by-customer" else "revenue"

    rows = cli("revenue", report, "--currency-field", "cur", "-o", "json").json()

    assert {(row["currency"], row[value]) for row in rows} == {
        ("EUR", "5.00"),
        ("USD", "2.00"),
        (None, "8.00"),
    }
    table = cli("revenue", report, "--currency-field", "cur").stdout
    assert "(no currency)" in table
    assert "EUR" in table


def test_no_orders_is_an_empty_report_with_a_word(cli: Runner, sync_db: Documents) -> None:
    absent = cli("revenue", "over-time", "--collection", "ordres", "-o", "json")
    assert (absent.code, absent.stdout) == (0, "[]\n")
    assert (
        absent.stderr
        == f"no orders: database {sync_db.name} has no collection ordres; --collection names another one\n"
    )

    sync_db.orders.insert_one(order(1, status="pending"))
    assert "did you mean 'orders'?" in cli("revenue", "over-time", "--collection", "ordres").stderr

    empty = cli("revenue", "over-time", "--since", "2020-01-01", "-o", "csv")
    assert (empty.code, empty.stdout) == (0, "period,revenue,orders,average\n")
    assert empty.stderr.startswith("no orders: --any-status counts all of them, a wider range of dates may")


@pytest.mark.parametrize("report", REPORTS)
@pytest.mark.parametrize("form", ["table", "markdown", "csv", "json", "ndjson", "html", "svg"])
def test_every_format_has_an_empty_report(cli: Runner, report: str, form: str) -> None:
    result = cli("revenue", report, "--chart", "-o", form)

    assert result.code == 0
    assert result.stderr.startswith("no orders: ")


@pytest.mark.parametrize("report", REPORTS)
def test_only_orders_that_are_in_no_figure(cli: Runner, sync_db: Documents, report: str) -> None:
    sync_db.orders.insert_many([order("1"), order("2")])

    result = cli("revenue", report, "-o", "json")

    assert (result.code, result.json()) == (0, [])
    assert result.stderr == "warning: 2 orders have an amount that is a string: they are in no figure\n"


def test_by_status_has_a_row_for_each(cli: Runner, sync_db: Documents) -> None:
    sync_db.orders.insert_many(
        [
            order(1),
            order(2, status="pending"),
            order(4, status="refunded"),
            {"amount": 8, "created_at": MARCH},
        ]
    )

    def told(*arguments: str) -> dict[str, str]:
        rows = cli("revenue", "over-time", "--by-status", *arguments, "-o", "json").json()
        return {row["status"]: row["revenue"] for row in rows}

    assert told() == {"completed": "1.00", "pending": "2.00", "refunded": "4.00", None: "8.00"}
    assert told("--status", "pending", "--status", "completed") == {"completed": "1.00", "pending": "2.00"}
    assert "(no status)" in cli("revenue", "over-time", "--by-status").stdout


def test_a_period_beside_the_one_before(cli: Runner, sync_db: Documents) -> None:
    sync_db.orders.insert_many([order(10, at(2025, 3)), order(20, at(2026, 2)), order(15, at(2026, 3))])

    def told(compare: str, *arguments: str) -> list[tuple[Any, ...]]:
        rows = cli("revenue", "over-time", "--compare", compare, *arguments, "-o", "json").json()
        return [
            tuple(row[key] for key in ("period", "compared_to", "compared_revenue", "change_percent"))
            for row in rows
        ]

    assert told("previous", "--since", "2026-03-01", "--until", "2026-04-01") == [
        ("2026-03", "2026-02", "20.00", "-25.0")
    ]
    assert told("year", "--since", "2026-03-01") == [("2026-03", "2025-03", "10.00", "50.0")]
    assert told("year", "--since", "2026-02-01", "--until", "2026-03-01")[0][3] is None

    cut = cli(
        "revenue",
        "over-time",
        "--by",
        "quarter",
        "--compare",
        "previous",
        "--since",
        "2026-02-20",
        "-o",
        "json",
    )
    assert [(row["revenue"], row["compared_to"]) for row in cut.json()] == [("15.00", "2025-Q4")]
    assert "2026-Q1 is cut by the range of dates: it is compared with the whole of 2025-Q4" in cut.stderr

    table = cli("revenue", "over-time", "--compare", "year", "--since", "2026-03-01").stdout.splitlines()
    assert table[0].split() == [
        "period",
        "revenue",
        "orders",
        "average",
        "compared",
        "to",
        "year",
        "before",
        "change",
        "%",
    ]
    assert table[1].split() == ["2026-03", "15.00", "1", "15.00", "2025-03", "10.00", "+50.0"]


def test_a_period_that_is_not_over_is_said(cli: Runner, sync_db: Documents) -> None:
    now = datetime.now(UTC)
    sync_db.orders.insert_many([order(10, now), order(20, now - timedelta(days=400))])
    compared = ("revenue", "over-time", "--by", "year", "--compare", "previous")

    unfinished = cli(*compared, "--log-format", "json")
    assert f"{now.year} is not over" in unfinished.stderr
    assert json.loads(unfinished.stderr)["unfinished"] == str(now.year)
    assert "is not over" not in cli(*compared, "--until", f"{now.year}-01-01").stderr
    assert "is not over" not in cli("revenue", "over-time", "--by", "year").stderr


def test_the_running_total(cli: Runner, sync_db: Documents) -> None:
    sync_db.orders.insert_many([order(n, at(2026, n)) for n in (1, 2, 4)])

    rows = cli("revenue", "over-time", "--cumulative", "--fill", "-o", "json").json()

    assert [row["cumulative"] for row in rows] == ["1.00", "3.00", "3.00", "7.00"]


# ---- on a terminal, in a mail, as a picture


def test_a_chart_fits_eighty_columns(cli: Runner, sync_db: Documents) -> None:
    sync_db.orders.insert_many([order(n * 10**6, at(2026, n)) for n in range(1, 9)])

    for tty in (True, False):
        text = cli("revenue", "over-time", "--chart", tty=tty, env={"NO_COLOR": "1"}).stdout
        assert max(map(len, text.splitlines())) <= 80
        bars = [line.count("█") for line in text.splitlines() if "2026-" in line]
        assert bars == sorted(bars)
        assert bars[0] * 7 <= bars[-1] <= bars[0] * 10


WIDE = {
    "over-time": ("--compare", "year", "--cumulative", "--by-status", "--currency-field", "cur", "--chart"),
    "by-customer": ("--currency-field", "cur", "--chart"),
    "by-product": ("--currency-field", "cur", "--chart"),
}


@pytest.fixture
def large(sync_db: Documents) -> Documents:
    """Orders with long names and large amounts, of a year."""
    people = [{"_id": ObjectId(), "name": f"Wilhelmina Featherstonehaugh {n}"} for n in range(12)]
    sync_db.users.insert_many(people)
    sync_db.orders.insert_many(
        [
            order(
                Decimal128(f"{10**6 + n}.99"),
                at(2025 + n % 2, n % 12 + 1),
                ("completed", "refunded")[n % 3 == 0],
                user_id=people[n % 12]["_id"],
                product_id=f"a product with a long name, number {n % 12}",
                cur="EUR",
                qty=n,
            )
            for n in range(240)
        ]
    )
    return sync_db


@pytest.mark.parametrize("report", REPORTS)
@pytest.mark.parametrize("more", [False, True])
@pytest.mark.usefixtures("large")
def test_a_report_fits_a_terminal(cli: Runner, report: str, more: bool) -> None:
    options = WIDE[report] if more else ()
    narrow = cli("revenue", report, *options, tty=True, columns=80, env={"NO_COLOR": "1"})
    wide = cli("revenue", report, *options, tty=True, columns=200, env={"NO_COLOR": "1"})

    assert max(map(len, narrow.stdout.splitlines())) <= 80
    assert max(map(len, wide.stdout.splitlines())) <= 200
    lacks = set(re.split(r"\s{2,}", wide.stdout.splitlines()[0].strip())) - set(
        re.split(r"\s{2,}", narrow.stdout.splitlines()[0])
    )
    assert "for want of room" not in wide.stderr
    assert ("for want of room" in narrow.stderr) == bool(lacks)
    assert [name for name in lacks if name not in narrow.stderr] == []
    amounts = set(re.findall(r"\d+\.\d\d", narrow.stdout))
    assert amounts
    assert amounts <= set(re.findall(r"\d+\.\d\d", wide.stdout)), "no number is cut or folded"


@pytest.mark.parametrize("report", REPORTS)
@pytest.mark.usefixtures("large")
def test_a_pipe_has_every_column_and_cuts_nothing(cli: Runner, report: str) -> None:
    result = cli("revenue", report, *WIDE[report], columns=40)

    assert result.stderr == ""
    assert "…" not in result.stdout
    titles = {
        "share %": "share",
        "first": "first_order",
        "last": "last_order",
        "year before": "compared_revenue",
    }
    header = re.split(r"\s{2,}", result.stdout.splitlines()[0].strip())
    shown = [titles.get(title, title).replace(" %", "_percent").replace(" ", "_") for title in header]
    facts = cli("revenue", report, *WIDE[report], "-o", "csv").stdout.splitlines()[0].split(",")
    # Products without a document of their own have no names, and how many a row stands for is in its words.
    assert shown == [*(name for name in facts if name not in ("name", "customers", "products")), "chart"]


def test_a_picture_says_what_it_shows_and_what_is_left_out(cli: Runner, sync_db: Documents) -> None:
    sync_db.orders.insert_many([order(1), order(0.5, at(2026, 4)), order("<b>")])
    options = ("--since", "2026-03-01", "--until", "2026-05-01", "--tz", "Europe/Berlin")

    page = cli("revenue", "over-time", *options, "-o", "html").stdout

    assert "Revenue by month" in page
    assert (
        "orders with status completed, from 2026-03-01, up to 2026-05-01 (not included); time zone Europe/Berlin"
        in page
    )
    assert "1 order has an amount that is a string: it is in no figure" in page
    assert "sums that hold doubles are rounded to cents" in page
    assert cli("revenue", "over-time", *options, "-o", "svg").stdout.lstrip().startswith("<")


# ---- by customer, by product


@pytest.fixture
def shop(sync_db: Documents) -> Documents:
    """Three customers, one of whom is gone, an order of nobody, and three products."""
    ada, grace, gone = (ObjectId(f"{number:024x}") for number in (1, 2, 3))
    sync_db.users.insert_many([{"_id": ada, "name": "Ada"}, {"_id": grace, "name": "Grace"}])
    sync_db.orders.insert_many(
        [
            order(Decimal128("10.00"), at(2026, 1), user_id=ada, product_id="tea", qty=2),
            order(Decimal128("0.05"), at(2026, 3), user_id=ada, product_id="tea", qty=1),
            order(7, user_id=ada, status="pending", product_id="tea", qty=5),
            order(20, at(2026, 2), user_id=gone, product_id="mug", qty=1),
            order(1, at(2026, 4), user_id=grace, product_id="pin", qty=4),
            order("no number", user_id=grace, product_id="pin", qty=1),
            order(3, at(2026, 5)),
        ]
    )
    return sync_db


@pytest.mark.usefixtures("shop")
def test_customers_by_total_with_names_and_the_gone_shown(cli: Runner) -> None:
    result = cli("revenue", "by-customer", "-o", "json")

    names = ("user_id", "user_name", "total", "count", "avg", "share")
    assert [tuple(row[name] for name in names) for row in result.json()] == [
        (f"{3:024x}", None, "20.00", 1, "20.00", "58.7"),
        (f"{1:024x}", "Ada", "10.05", 2, "5.02", "29.5"),
        (None, None, "3.00", 1, "3.00", "8.8"),
        (f"{2:024x}", "Grace", "1.00", 1, "1.00", "2.9"),
    ]
    assert result.json()[1]["first_order"] == "2026-01-15T12:00:00Z"
    assert result.json()[1]["last_order"] == "2026-03-15T12:00:00Z"
    assert result.stderr == "warning: 1 order has an amount that is a string: it is in no figure\n"


@pytest.mark.usefixtures("shop")
def test_all_others_are_one_row(cli: Runner) -> None:
    best, nobody, rest = cli("revenue", "by-customer", "--top", "1", "-o", "json").json()

    assert (best["user_id"], best["customers"]) == (f"{3:024x}", 1)
    assert (nobody["user_id"], nobody["total"], nobody["customers"]) == (None, "3.00", 0)
    assert (rest["user_id"], rest["user_name"], rest["customers"]) == (None, None, 2)
    assert (rest["total"], rest["count"], rest["share"]) == ("11.05", 3, "32.5")
    assert (rest["first_order"], rest["last_order"]) == ("2026-01-15T12:00:00Z", "2026-04-15T12:00:00Z")


@pytest.mark.usefixtures("shop")
def test_products_by_revenue(cli: Runner) -> None:
    names = ("product", "revenue", "quantity", "orders", "share")

    rows = cli("revenue", "by-product", "-o", "json").json()

    assert [tuple(row[name] for name in names) for row in rows] == [
        ("mug", "20.00", 1, 1, "58.7"),
        ("tea", "10.05", 3, 2, "29.5"),
        (None, "3.00", 0, 1, "8.8"),
        ("pin", "1.00", 4, 1, "2.9"),
    ]


@pytest.mark.usefixtures("shop")
def test_who_has_no_name_is_told_in_words_to_people_alone(cli: Runner) -> None:
    for form in ("table", "markdown"):
        text = cli("revenue", "by-customer", "-o", form).stdout
        assert "(gone)" in text
        assert "(no customer)" in text
        assert "(2 other customers)" in cli("revenue", "by-customer", "--top", "1", "-o", form).stdout
        assert "(1 other customer)" in cli("revenue", "by-customer", "--top", "2", "-o", form).stdout
        assert "(no product)" in cli("revenue", "by-product", "-o", form).stdout
        assert "2026-01-15 " in text
        assert "2026-01-15T" not in text

    csv = cli("revenue", "by-customer", "--top", "1", "-o", "csv").stdout.splitlines()
    assert csv[0] == "user_id,user_name,total,count,avg,share,first_order,last_order,customers"
    assert csv[2] == ",,3.00,1,3.00,8.8,2026-05-15T12:00:00Z,2026-05-15T12:00:00Z,0"
    assert csv[3] == ",,11.05,3,3.68,32.5,2026-01-15T12:00:00Z,2026-04-15T12:00:00Z,2"


@pytest.mark.usefixtures("shop")
def test_a_page_has_names_first_and_ids_last(cli: Runner) -> None:
    page = cli("revenue", "by-customer", "-o", "html").stdout

    titles = re.findall(r'<th [^>]*scope="col"[^>]*>([^<]+)', page)
    assert titles == ["user_name", "total", "count", "avg", "share %", "first", "last", "user_id"]
    assert f">(gone) {3:024x}<" in page, "at the bar, where there is no column for it"


def test_a_bar_has_the_name_of_a_product_and_else_its_id(cli: Runner, shop: Documents) -> None:
    shop.inventory.insert_one({"_id": "tea", "name": "Darjeeling"})

    drawing = cli("revenue", "by-product", "-o", "svg").stdout

    assert ">Darjeeling<" in drawing
    assert ">tea<" not in drawing
    assert ">mug<" in drawing


def test_where_no_name_is_found_another_collection_may_have_them(cli: Runner, shop: Documents) -> None:
    shop.users.rename("people")

    said = cli("revenue", "by-customer").stderr
    assert "no name of theirs is in users: --customers names the collection that has them" in said
    for more in (("--customers", "people"), ("-o", "json")):
        assert "--customers names" not in cli("revenue", "by-customer", *more).stderr


@pytest.mark.usefixtures("shop")
def test_without_room_for_ids_the_gone_keep_theirs(cli: Runner) -> None:
    narrow = cli("revenue", "by-customer", tty=True, columns=70, env={"NO_COLOR": "1"})
    wide = cli("revenue", "by-customer", tty=True, columns=160, env={"NO_COLOR": "1"})

    assert "user_id" not in narrow.stdout
    assert f"{1:024x}" not in narrow.stdout
    assert f"{3:024x}" in narrow.stdout
    assert "user_id" in narrow.stderr
    assert f"{1:024x}" in wide.stdout
    assert wide.stdout.count(f"{3:024x}") == 1


# ---- the pipeline


@pytest.mark.parametrize("report", REPORTS)
@pytest.mark.usefixtures("shop")
def test_the_pipeline_is_shown_and_not_sent(cli: Runner, report: str) -> None:
    options = ("revenue", report, "--since", "2026-01-01", "--show-pipeline")

    result = cli(*options, "--slow-ms", "0")

    assert result.code == 0
    assert result.stdout.startswith('db.getCollection("orders").aggregate(')
    assert 'ISODate("2026-01-01T00:00:00Z")' in result.stdout
    assert "// " in result.stdout, "where each stage runs on a sharded cluster"
    assert "aggregate" not in result.stderr


@pytest.mark.parametrize("report", REPORTS)
@pytest.mark.usefixtures("shop")
def test_the_pipeline_is_the_one_that_the_report_is_made_of(cli: Runner, report: str) -> None:
    shown = cli("revenue", report, "--show-pipeline", "-o", "json").json()

    assert (shown["collection"], shown["options"]) == ("orders", {"allowDiskUse": True})
    answer = cli("aggregate", "orders", "-", "-o", "json", stdin=json.dumps(shown["pipeline"]))
    assert answer.code == 0
    assert answer.json()


# ---- explain


def test_of_a_sharded_cluster_it_is_told_what_runs_where(
    cli: Runner, sync_db: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer of a cluster, which isn't to be had here: tests/plans has it with its source."""
    plan = Path(__file__).parent / "plans" / "sharded_group_split.json"

    async def answered(*_arguments: Any, **_options: Any) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(plan.read_text())["document"]
        return document

    monkeypatch.setattr(ask, "explain", answered)
    sync_db.orders.insert_one(order(1))

    result = cli("revenue", "over-time", "--explain", "-o", "json")

    placed = {(one["stage"], one["place"]) for one in result.json()["placed"]}
    assert {("$group", "shards"), ("$group", "merger")} <= placed
    assert "$group on the shards: " in result.stderr
    assert "$group on the merger: " in result.stderr


@pytest.mark.parametrize("report", REPORTS)
def test_the_index_that_is_missing_is_named_and_helps(cli: Runner, shop: Documents, report: str) -> None:
    options = ("revenue", report, "--explain", "--since", "2026-01-01")

    without = cli(*options, "-o", "json")

    assert (without.code, without.json()["covered"]) == (0, False)
    assert without.json()["verdict"] == ("mixed" if report == "by-customer" else "collscan"), "users by _id_"
    assert without.json()["docs_examined"] >= 7
    assert "no index served it: 7 documents of orders read" in without.stderr
    hint = shlex.split(without.json()["index_hint"])
    assert hint[:4] == ["motorctl", "indexes", "create", "orders"]
    assert hint[4:6] == ["status", "created_at"]
    assert f"an index that holds all it needs: {without.json()['index_hint']}" in without.stderr

    assert cli(*hint[1:]).code == 0
    served = cli(*options, "-o", "json")
    name = "_".join(f"{key}_1" for key in hint[4:])
    assert served.json()["index_hint"] is None
    assert (served.json()["served_by"], served.json()["covered"]) == (name, True)
    assert f"served by the index {name}: " in served.stderr

    table = cli(*options)
    assert "index_hint" in table.stdout
    assert shop.orders.count_documents({}) == 7


@pytest.mark.parametrize("report", REPORTS)
@pytest.mark.usefixtures("shop")
def test_explain_of_all_orders_has_no_index_to_name(cli: Runner, report: str) -> None:
    result = cli("revenue", report, "--explain", "--any-status", "-o", "json")

    assert result.json()["index_hint"] is None
    assert "no index would help" in result.stderr


def test_no_index_holds_the_lines_of_orders(cli: Runner, shop: Documents) -> None:
    """They are an array: the index that is named finds the orders, and promises no more."""
    one = {"product_id": "tea", "qty": 1, "amount": 2}
    moment = datetime(2026, 5, 1, tzinfo=UTC)
    lined = {"status": "completed", "lines": [one, one], "qty": 2, "amount": 4, "created_at": moment}

    before = cli("revenue", "by-product", "--explain", "-o", "json").json()["index_hint"]
    shop.orders.insert_one(lined)
    after = cli("revenue", "by-product", "--explain", "-o", "json")

    assert before == "motorctl indexes create orders status created_at product_id product qty amount"
    assert after.json()["index_hint"] == "motorctl indexes create orders status created_at"
    assert "an index that finds its orders" in after.stderr


def test_explain_of_what_is_not_there_and_of_a_view(cli: Runner, shop: Documents) -> None:
    absent = cli("revenue", "over-time", "--explain", "--collection", "nowhere")
    assert absent.code == 0
    assert "the database has no collection nowhere" in absent.stderr

    shop.create_collection("big", viewOn="orders", pipeline=[{"$match": {"amount": {"$gt": 5}}}])
    view = cli("revenue", "over-time", "--explain", "--collection", "big", "-o", "json")
    assert view.json()["index_hint"] is None
    assert "big is a view" in view.stderr
    rows = cli("revenue", "over-time", "--collection", "big", "-o", "json").json()
    assert [row["revenue"] for row in rows] == ["10.00", "20.00"]


# ---- bad days


@pytest.mark.parametrize("report", REPORTS)
@pytest.mark.parametrize("more", [(), ("--show-pipeline",), ("--explain",)])
def test_no_server_is_3(cli: Runner, report: str, more: tuple[str, ...]) -> None:
    result = cli("revenue", report, *more, *NOWHERE)

    assert (result.code, result.stdout) == (3, "")


@pytest.mark.parametrize("report", REPORTS)
def test_what_the_server_forbids_is_4(cli: Runner, sync_db: Documents, report: str) -> None:
    sync_db.orders.insert_one(order(1))
    name = f"t{uuid.uuid4().hex[:10]}"
    refused = {"failCommands": ["aggregate"], "errorCode": 13, "appName": name}
    point = {"configureFailPoint": "failCommand"}
    client = sync_db.client
    client.admin.command({**point, "mode": "alwaysOn", "data": refused})
    try:
        result = cli("revenue", report, env={"MOTORCTL_URI": with_name(client, name)})
    finally:
        client.admin.command({**point, "mode": "off"})

    assert (result.code, result.stdout) == (4, "")
    assert "not authorised" in result.stderr


def with_name(client: Any, name: str) -> str:
    host, port = client.primary
    return f"mongodb://{host}:{port}/?directConnection=true&appName={name}"


def test_ctrl_c_ends_a_long_report(sync_db: Documents) -> None:
    sync_db.orders.insert_one(order(1))
    name = f"t{uuid.uuid4().hex[:10]}"
    environment = {**os.environ, "MOTORCTL_URI": with_name(sync_db.client, name), "MOTORCTL_DB": sync_db.name}
    blocking = {
        "failCommands": ["aggregate"],
        "blockConnection": True,
        # The fail point can't be taken away while it blocks.
        "blockTimeMS": 3_000,
        "appName": name,
    }
    point = {"configureFailPoint": "failCommand"}
    entered = sync_db.client.admin.command({**point, "mode": "alwaysOn", "data": blocking})["count"]

    def hangs() -> bool:
        found = sync_db.client.admin.command({"getParameter": 1, "failpoint.failCommand": 1})
        return bool(found["failpoint.failCommand"]["timesEntered"] > entered)

    try:
        process = subprocess.Popen(
            command("revenue", "over-time"),
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        until(hangs, "the report is under way")
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=20)
    finally:
        sync_db.client.admin.command({**point, "mode": "off"})

    assert (process.returncode, stdout, stderr) == (130, "", "error: stopped by Ctrl-C\n"), "it didn't wait"


@pytest.mark.usefixtures("large")
def test_a_closed_pipe_ends_quietly(server_uri: str, dbname: str) -> None:
    line = shlex.join(command("revenue", "over-time", "--by", "hour", "--fill", "--until", "2027-01-01"))
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line} | head -1"],
        env={**os.environ, "MOTORCTL_URI": server_uri, "MOTORCTL_DB": dbname},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    assert done.stdout.split() == ["period", "revenue", "orders", "average"]
    assert "Traceback" not in done.stderr
