"""The reports' figures against a second computation that shares no line with the first.

Over random orders in zones with odd clocks: what the server and `core/revenue` say, and what Python's
`decimal`, `zoneinfo` and `datetime` say of the same documents, without `core/periods`. On the server of all
tests, and on each that MOTORCTL_TEST_SERVERS names (see .github/CONTRIBUTING.md, "The server matrix").
"""

from __future__ import annotations

import asyncio
import math
import os
import uuid
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import pytest
from bson import Decimal128, Int64, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from motor.motor_asyncio import AsyncIOMotorClient

from motorctl.core import driver
from motorctl.core.revenue.over_time import Series, over_time, question
from motorctl.core.revenue.ranking import Ranking, ranked
from motorctl.core.revenue.selection import Orders
from motorctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence

    from motorctl.client import Database
    from motorctl.core.revenue.report import Report

    Document = dict[str, Any]

T = TypeVar("T")

EMBEDDED = "embedded"
SERVERS = [EMBEDDED, *os.environ.get("MOTORCTL_TEST_SERVERS", "").split()]
EXACT = Context(prec=500)

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Pacific/Apia",
    "America/Sao_Paulo",
    "Africa/Casablanca",
    "Asia/Kolkata",
)
PERIODS = ("hour", "day", "week", "month", "quarter", "year")


def _label(uri: str) -> str:
    """Name a server without its password."""
    return urlsplit(uri).netloc.rpartition("@")[2] or uri


@dataclass
class Shop:
    """A server's database with orders, asked as the program asks it; each example has it anew."""

    db: Database
    version: tuple[int, int]
    runner: asyncio.Runner

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def fill(self, orders: Sequence[Document], indexes: Sequence[str] = ()) -> None:
        async def work() -> None:
            await self.db.orders.drop()
            if orders:
                await self.db.orders.insert_many([dict(order) for order in orders])
            if indexes:
                await self.db.orders.create_index([(name, 1) for name in indexes])

        self.run(work())

    def name(self, collection: str, names: dict[Any, str]) -> None:
        """Have a collection hold these names, by `_id`, and nothing else."""

        async def work() -> None:
            await self.db[collection].drop()
            await self.db[collection].insert_many([{"_id": key, "name": name} for key, name in names.items()])

        self.run(work())

    def ranked(self, orders: Orders, ranking: Ranking) -> Report:
        return self.run(ranked(self.db, orders, ranking, self.version))

    def over_time(self, orders: Orders, series: Series) -> Report:
        return self.run(over_time(self.db, orders, series, self.version))


@pytest.fixture(scope="module", params=SERVERS, ids=_label)
def shop(request: pytest.FixtureRequest, server_uri: str) -> Iterator[Shop]:
    """Each server in turn."""
    uri = server_uri if request.param == EMBEDDED else str(request.param)
    name = f"test_{uuid.uuid4().hex[:12]}"
    with asyncio.Runner() as runner:
        client = runner.run(_connected(uri))
        try:
            db = client.get_database(name)
            yield Shop(db, runner.run(driver.server_version(db)), runner)
            runner.run(_drop(client, name))
        finally:
            runner.run(driver.close(client))


async def _connected(uri: str) -> AsyncIOMotorClient[Document]:
    """Make a client in the loop that it is used in."""
    return AsyncIOMotorClient(uri, tz_aware=True)


async def _drop(client: AsyncIOMotorClient[Document], name: str) -> None:
    await client.drop_database(name)


# ---- the second computation


def local_label(at: datetime, by: str, zone: ZoneInfo) -> str:
    """Name the period of a moment by what strftime says of it; an hour that comes twice by its offset, too."""
    local = at.astimezone(zone)
    if by == "quarter":
        return f"{local:%Y}-Q{math.ceil(local.month / 3)}"
    if by == "hour":
        # Every quarter of an hour around it: does another moment show the same hour with another offset?
        offsets = {
            other.utcoffset()
            for quarter in range(-16, 17)
            if (other := (at + timedelta(minutes=15 * quarter)).astimezone(zone)).strftime("%Y%m%d%H")
            == local.strftime("%Y%m%d%H")
        }
        # the edges: an order a minute from where the clock is turned
        offsets.add(local.utcoffset())
        text = f"{local:%Y-%m-%dT%H}:00"
        zoned = f"{local:%z}"
        return text if len(offsets) == 1 else f"{text}{zoned[:3]}:{zoned[3:5]}"
    return local.strftime({"day": "%Y-%m-%d", "week": "%G-W%V", "month": "%Y-%m", "year": "%Y"}[by])


def written(amount: Any) -> Decimal | None:
    """Return an amount as a person would write it down; None of what is no finite number."""
    if isinstance(amount, Decimal128):
        found = amount.to_decimal()
    elif isinstance(amount, bool) or not isinstance(amount, int | float):
        return None
    else:
        found = Decimal(repr(amount)) if isinstance(amount, float) else Decimal(amount)
    return found if found.is_finite() else None


def reason(order: Document) -> str:
    value = order.get("amount")
    number = value.to_decimal() if isinstance(value, Decimal128) else value
    if isinstance(number, Decimal | float):
        return "NaN" if math.isnan(number) else "infinite"
    names = {str: "a string", list: "an array", dict: "an object", bool: "a boolean", datetime: "a date"}
    return "null or missing" if value is None else names.get(type(value), "of type regex")


def total(amounts: Sequence[Any]) -> Decimal:
    found = Decimal(0)
    for amount in amounts:
        found = EXACT.add(found, written(amount) or Decimal(0))
    if any(isinstance(amount, float) for amount in amounts) or found == found.quantize(
        Decimal("0.01"), context=EXACT
    ):
        return found.quantize(Decimal("0.01"), ROUND_HALF_EVEN, context=EXACT)
    return found


def mean(amounts: Sequence[Any]) -> Decimal:
    if not amounts:
        return Decimal("0.00")
    exact = sum((written(amount) or Decimal(0) for amount in amounts), Decimal(0))
    return EXACT.divide(exact, len(amounts)).quantize(Decimal("0.01"), ROUND_HALF_EVEN, context=EXACT)


def is_dated(order: Document) -> bool:
    return isinstance(order.get("created_at"), datetime)


def by_hand(
    orders: Sequence[Document],
    by: str,
    zone: ZoneInfo,
    *,
    apart: Callable[[Document], Any] = lambda _order: None,
) -> dict[tuple[str, Any], list[Any]]:
    """Return the amounts that count of each period, and of what is told apart, of orders that have a date."""
    found: dict[tuple[str, Any], list[Any]] = defaultdict(list)
    for order in orders:
        if is_dated(order) and written(order.get("amount")) is not None:
            found[local_label(order["created_at"], by, zone), apart(order)].append(order["amount"])
    return found


STRIDES = {
    "hour": timedelta(minutes=15),
    "day": timedelta(hours=6),
    "week": timedelta(days=1),
    "month": timedelta(days=7),
    "quarter": timedelta(days=30),
    "year": timedelta(days=100),
}
"""Steps that are shorter than the shortest period, half an hour on Lord Howe: none is stepped over."""


def walked(first: datetime, last: datetime, by: str, zone: ZoneInfo) -> dict[str, datetime]:
    """Return the labels of all periods from the one to the other moment, each with a moment in it."""
    found: dict[str, datetime] = {}
    at = first
    while at < last:
        found.setdefault(local_label(at, by, zone), at)
        at += STRIDES[by]
    found.setdefault(local_label(last, by, zone), last)
    return found


def preceding(at: datetime, by: str, zone: ZoneInfo) -> str:
    """Return the label of the period before the one that a moment lies in."""
    label = local_label(at, by, zone)
    while (found := local_label(at, by, zone)) == label:
        at -= STRIDES[by]
    return found


def same_a_year_before(label: str, by: str, zone: ZoneInfo) -> str | None:
    """Return the label of a year before, with the hour's offset cut off; None where there is no such period."""
    year = int(label[:4]) - 1
    text = f"{year}{label[4:16]}"
    if by == "week":
        return text if int(label[6:]) <= datetime(year, 12, 28, tzinfo=UTC).isocalendar().week else None
    if by in ("hour", "day"):
        try:
            start = datetime.fromisoformat(text)
        except ValueError:
            return None
        minutes = range(0, 60, 15) if by == "hour" else range(0, 1440, 15)
        there = (start + timedelta(minutes=number) for number in minutes)
        exists = any(
            local.replace(tzinfo=zone).astimezone(UTC).astimezone(zone).replace(tzinfo=None) == local
            for local in there
        )
        return text if exists else None
    return text


def change(revenue: Decimal, earlier: Decimal) -> Decimal | None:
    if not earlier:
        return None
    difference = EXACT.divide(EXACT.multiply(EXACT.subtract(revenue, earlier), 100), abs(earlier))
    return difference.quantize(Decimal("0.1"), ROUND_HALF_EVEN, context=EXACT)


def counts(order: Document) -> bool:
    return order.get("status") == "completed"


# ---- the data


def _milliseconds(at: datetime) -> datetime:
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def turns(name: str, first: int = 1975, last: int = 2030) -> list[datetime]:
    """Return when a zone's clock is turned, to the minute, found by looking at each day."""
    zone = ZoneInfo(name)
    found = []
    day = datetime(first, 1, 1, tzinfo=UTC)
    while day.year < last:
        low, high = day, day + timedelta(days=1)
        if low.astimezone(zone).utcoffset() != high.astimezone(zone).utcoffset():
            while high - low > timedelta(minutes=1):
                middle = low + (high - low) // 2
                same = middle.astimezone(zone).utcoffset() == low.astimezone(zone).utcoffset()
                low, high = (middle, high) if same else (low, middle)
            found.append(high.replace(second=0, microsecond=0))
        day += timedelta(days=1)
    return found


# Since 2020 governments have changed their zones' rules; a server has those of the year it was built in.
TURNS = {name: turns(name, 1975, 2020) for name in ZONES}
_EDGES = [
    datetime(2020, 2, 29, 12, tzinfo=UTC),
    datetime(2016, 2, 29, tzinfo=UTC),
    datetime(2019, 2, 28, 23, 59, tzinfo=UTC),
    datetime(2015, 12, 31, 23, 30, tzinfo=UTC),
    datetime(2016, 1, 3, 23, tzinfo=UTC),
    datetime(2016, 1, 4, tzinfo=UTC),
    datetime(2018, 12, 31, tzinfo=UTC),
    datetime(2011, 12, 30, 10, tzinfo=UTC),
]


def moments(name: str) -> st.SearchStrategy[datetime]:
    """Return times in a zone: any, at a year's end, on leap days, and within hours of where its clock is turned."""
    near = st.builds(
        lambda at, minutes, ms: at + timedelta(minutes=minutes, milliseconds=ms),
        st.sampled_from([*TURNS[name], *_EDGES]),
        st.integers(-200, 200),
        st.integers(0, 59_999),
    )
    anywhere = st.datetimes(datetime(1971, 1, 1), datetime(2019, 12, 31)).map(  # noqa: DTZ001 - made aware here
        lambda at: _milliseconds(at).replace(tzinfo=UTC)
    )
    return near | near | anywhere


cents = st.integers(-(10**9), 10**9)
AMOUNTS = (
    cents.map(lambda n: Decimal128(Decimal(n) / 100))
    | cents.map(lambda n: n / 100)
    | st.integers(-(10**6), 10**6)
    | st.integers(-(10**12), 10**12).map(Int64)
    | st.integers(-(10**9), 10**9).map(lambda n: Decimal128(Decimal(n) / 10**5))
)
NO_AMOUNTS = st.sampled_from(
    [
        None,
        "12.50",
        float("nan"),
        float("inf"),
        float("-inf"),
        Decimal128("NaN"),
        Decimal128("Infinity"),
        Decimal128("-Infinity"),
        [],
        [1, 2],
        {"a": 1},
        True,
        datetime(2026, 1, 1, tzinfo=UTC),
        Regex("1"),
    ]
)
MISSING = object()


@st.composite
def documents(draw: st.DrawFn, name: str, *, most: int = 25) -> list[Document]:
    orders = []
    for _ in range(draw(st.integers(0, most))):
        order = {
            "amount": draw(AMOUNTS | AMOUNTS | AMOUNTS | NO_AMOUNTS | st.just(MISSING)),
            "created_at": draw(
                st.one_of([moments(name)] * 9 + [st.sampled_from([None, "2020-01-01", MISSING])])
            ),
            "status": draw(
                st.sampled_from(["completed", "completed", "completed", "pending", None, MISSING])
            ),
            "currency": draw(st.sampled_from(["EUR", "USD", None, MISSING])),
        }
        orders.append({key: value for key, value in order.items() if value is not MISSING})
    return orders


PROPERTY = settings(
    max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def choices() -> st.SearchStrategy[tuple[str, str, list[Document]]]:
    return st.sampled_from(ZONES).flatmap(
        lambda name: st.tuples(st.sampled_from(PERIODS), st.just(name), documents(name))
    )


# ---- over time


@PROPERTY
@given(choice=choices())
@example(
    choice=(
        "hour",
        "Australia/Lord_Howe",
        [
            {"amount": 1, "status": "completed", "created_at": datetime(2019, 4, 6, 14, 45, tzinfo=UTC)},
            {"amount": 2, "status": "completed", "created_at": datetime(2019, 4, 6, 15, 15, tzinfo=UTC)},
        ],
    )
)
@example(
    choice=(
        "day",
        "Pacific/Apia",
        [
            {"amount": 1, "status": "completed", "created_at": datetime(2011, 12, 30, 9, 59, tzinfo=UTC)},
            {"amount": 2, "status": "completed", "created_at": datetime(2011, 12, 30, 10, 1, tzinfo=UTC)},
        ],
    )
)
def test_each_period_has_the_sum_count_and_average_of_its_orders(
    shop: Shop, choice: tuple[str, str, list[Document]]
) -> None:
    by, name, orders = choice
    shop.fill(orders)

    report = shop.over_time(Orders(), Series(by, name))

    counted = [order for order in orders if counts(order)]
    expected = by_hand(counted, by, ZoneInfo(name))
    assert {row["period"]: (row["revenue"], row["orders"], row["average"]) for row in report.rows} == {
        label: (total(amounts), len(amounts), mean(amounts)) for (label, _), amounts in expected.items()
    }
    for row in report.rows:
        assert -row["revenue"].as_tuple().exponent >= 2, "cents are always written"
    assert len(report.rows) == len(expected)
    first: dict[str, datetime] = {}
    for order in sorted(filter(is_dated, counted), key=lambda order: order["created_at"]):
        first.setdefault(local_label(order["created_at"], by, ZoneInfo(name)), order["created_at"])
    assert [row["period"] for row in report.rows] == sorted(
        (row["period"] for row in report.rows), key=first.__getitem__
    ), "in time order"
    left_out: dict[str, int] = defaultdict(int)
    for order in counted:
        if is_dated(order) and written(order.get("amount")) is None:
            left_out[reason(order)] += 1
    assert report.skipped == left_out
    assert report.undated == sum(not is_dated(order) for order in counted)
    assert report.rounded == any(
        isinstance(amount, float) for amounts in expected.values() for amount in amounts
    )


@PROPERTY
@given(choice=choices())
def test_statuses_and_currencies_are_told_apart_and_never_added(
    shop: Shop, choice: tuple[str, str, list[Document]]
) -> None:
    by, name, orders = choice
    shop.fill(orders)

    report = shop.over_time(Orders(status=(), currency="currency"), Series(by, name, by_status=True))

    expected = by_hand(
        orders, by, ZoneInfo(name), apart=lambda order: (order.get("currency"), order.get("status"))
    )
    assert {
        (row["period"], (row["currency"], row["status"])): (row["revenue"], row["orders"])
        for row in report.rows
    } == {key: (total(amounts), len(amounts)) for key, amounts in expected.items()}
    assert len(report.rows) == len(expected)
    assert report.without_currency == sum(
        len(amounts) for (_, (currency, _)), amounts in expected.items() if currency is None
    )


@PROPERTY
@given(choice=choices(), pair=st.tuples(st.integers(0, 24), st.integers(0, 24)), filled=st.booleans())
def test_a_range_is_half_open_and_compared_with_what_was_before_it(
    shop: Shop, choice: tuple[str, str, list[Document]], pair: tuple[int, int], filled: bool
) -> None:
    """The range begins and ends at orders' own times, so that the edges are met."""
    by, name, orders = choice
    zone = ZoneInfo(name)
    dated = sorted(order["created_at"] for order in orders if is_dated(order))
    assume(dated)
    since, until = sorted(dated[number % len(dated)] for number in pair)
    assume(since < until)
    assume(not filled or until - since < 2000 * STRIDES[by])
    shop.fill(orders)

    report = shop.over_time(
        Orders(since=since, until=until), Series(by, name, fill=filled, compare="previous", cumulative=True)
    )

    within = [
        order
        for order in orders
        if counts(order) and is_dated(order) and since <= order["created_at"] < until
    ]
    expected = {label: amounts for (label, _), amounts in by_hand(within, by, zone).items()}
    rows = {row["period"]: row for row in report.rows}
    assert len(rows) == len(report.rows)
    assert {label: row["revenue"] for label, row in rows.items() if row["orders"]} == {
        label: total(amounts) for label, amounts in expected.items()
    }
    moments_of = {local_label(at, by, zone): at for at in dated}
    if filled:
        all_periods = walked(since, until - timedelta(milliseconds=1), by, zone)
        moments_of |= all_periods
        assert list(rows) == list(all_periods)
        assert all(row["revenue"] == 0 for label, row in rows.items() if label not in expected)
    running: list[Any] = []
    for label, row in rows.items():
        running += expected.get(label, [])
        assert row["cumulative"] == total(running)
    before = [order for order in orders if counts(order) and is_dated(order) and order["created_at"] < until]
    everything = {label: amounts for (label, _), amounts in by_hand(before, by, zone).items()}
    for label, row in rows.items():
        base = preceding(moments_of[label], by, zone)
        assert row["compared_to"] == base
        if amounts := everything.get(base, []):
            assert row["compared_revenue"] == total(amounts)
            assert row["change_percent"] == change(row["revenue"], total(amounts))
        else:
            assert row["compared_revenue"] in (None, Decimal("0.00"))
            assert row["change_percent"] is None
            assert base not in rows or row["compared_revenue"] == 0


@PROPERTY
@given(choice=choices(), number=st.integers(0, 24))
@example(
    choice=(
        "day",
        "Europe/Berlin",
        [
            {"amount": day, "status": "completed", "created_at": datetime(2016, 2, day, 12, tzinfo=UTC)}
            for day in (28, 29)
        ]
        + [{"amount": 5, "status": "completed", "created_at": datetime(2015, 2, 28, 12, tzinfo=UTC)}],
    ),
    number=0,
)
def test_each_period_is_compared_with_the_same_one_a_year_before(
    shop: Shop, choice: tuple[str, str, list[Document]], number: int
) -> None:
    """Orders are doubled into the year before, so that there is something to compare with."""
    by, name, orders = choice
    zone = ZoneInfo(name)
    dated = [order for order in orders if is_dated(order)]
    orders = orders + [
        {**order, "created_at": order["created_at"] - timedelta(days=364 + n % 3)}
        for n, order in enumerate(dated)
    ]
    shop.fill(orders)
    times = sorted(order["created_at"] for order in orders if is_dated(order))
    since = times[number % len(times)] if times and number % 3 else None

    report = shop.over_time(Orders(since=since), Series(by, name, compare="year"))

    counted = [order for order in orders if counts(order) and is_dated(order)]
    everything = {label: amounts for (label, _), amounts in by_hand(counted, by, zone).items()}
    shown = [order for order in counted if since is None or order["created_at"] >= since]
    expected = {label: amounts for (label, _), amounts in by_hand(shown, by, zone).items()}
    assert [row["period"] for row in report.rows] == list(
        dict.fromkeys(
            local_label(order["created_at"], by, zone)
            for order in sorted(shown, key=lambda order: order["created_at"])
            if written(order.get("amount")) is not None
        )
    )
    for row in report.rows:
        assert row["revenue"] == total(expected[row["period"]])
        base = row["compared_to"]
        assert (base and base[:16]) == same_a_year_before(row["period"], by, zone)
        if amounts := everything.get(base, []):
            assert row["compared_revenue"] == total(amounts)
            assert row["change_percent"] == change(row["revenue"], total(amounts))
        else:
            assert row["compared_revenue"] in (None, Decimal("0.00"))
            assert row["change_percent"] is None


@PROPERTY
@given(choice=choices())
def test_an_index_that_serves_a_report_alone_gives_the_same(
    shop: Shop, choice: tuple[str, str, list[Document]]
) -> None:
    """The index has no place for a field that isn't there: it says null."""
    by, name, orders = choice
    asked = Orders(since=datetime(1971, 1, 1, tzinfo=UTC)), Series(by, name)
    shop.fill(orders)
    without = shop.over_time(*asked)
    shop.fill(orders, ["status", "created_at", "amount"])

    assert shop.over_time(*asked) == without


def test_the_usual_report_reads_the_index_and_no_order(shop: Shop) -> None:
    shop.fill(
        [
            {"amount": n, "status": "completed", "created_at": datetime(2026, 1, 1 + n % 28, tzinfo=UTC)}
            for n in range(500)
        ],
        ["status", "created_at", "amount"],
    )
    asked = question(
        Orders(since=datetime(2026, 1, 5, tzinfo=UTC)),
        Series("day", "Europe/Berlin", compare="previous"),
        shop.version,
    )

    async def explained() -> str:
        command = {"aggregate": asked.collection, "pipeline": asked.pipeline, "cursor": {}}
        return str(await shop.db.command({"explain": command, "verbosity": "executionStats"}))

    plan = shop.run(explained())

    assert "IXSCAN" in plan
    assert "FETCH" not in plan
    assert "'totalDocsExamined': 0" in plan


# ---- rankings

WHO = [ObjectId(f"{number:024x}") for number in range(5)]
WHAT = ["p-1", "p-2", "p-3", 7]


@st.composite
def sales(draw: st.DrawFn) -> list[Document]:
    orders = []
    for order in draw(documents("America/New_York")):
        more = {
            "user_id": draw(st.sampled_from([*WHO, *WHO, None, MISSING])),
            "product_id": draw(st.sampled_from([*WHAT, None, MISSING])),
            "product": draw(st.sampled_from([WHAT[0], WHAT[1], MISSING])),
            "qty": draw(st.integers(1, 9) | st.sampled_from([None, "2", float("nan"), MISSING])),
        }
        orders.append({**order, **{key: value for key, value in more.items() if value is not MISSING}})
    return orders


def customer_of(order: Document) -> Any:
    return order.get("user_id")


def product_of(order: Document) -> Any:
    found = order.get("product_id")
    return order.get("product") if found is None else found


def check_ranking(
    rows: Sequence[Document], counted: Sequence[Document], top: int, noun: str, names: dict[Any, str]
) -> None:
    """Hold rows against the orders that they are of: those of one currency, or of all where none is asked for."""
    key_of, key_name, name_name = (
        (customer_of, "user_id", "user_name") if noun == "customer" else (product_of, "product", "name")
    )
    total_name, count_name = ("total", "count") if noun == "customer" else ("revenue", "orders")
    groups: dict[str | None, list[Document]] = defaultdict(list)
    for order in counted:
        if written(order.get("amount")) is not None:
            key = key_of(order)
            groups[None if key is None else str(key)].append(order)
    everything = [order["amount"] for orders in groups.values() for order in orders]
    whole = sum((written(amount) or Decimal(0) for amount in everything), Decimal(0))
    known = {str(key): name for key, name in names.items()}
    nobody = groups.pop(None, [])
    shown = {row[key_name] for row in rows if row[key_name] is not None}
    assert shown <= set(groups)
    assert len(shown) == min(top, len(groups))
    rest = [order for key, orders in groups.items() if key not in shown for order in orders]
    members = len(groups) - len(shown)
    assert {row[f"{noun}s"] for row in rows if row[key_name] is not None} <= {1}
    assert sum(row[f"{noun}s"] for row in rows) == len(groups)
    assert len(rows) == len(shown) + bool(nobody) + bool(members)
    assert not members or rows[-1][f"{noun}s"] == members, "the rest is the last row"
    best = rows[:-1] if members else rows
    assert [row[total_name] for row in best] == sorted((row[total_name] for row in best), reverse=True)
    for number, row in enumerate(rows):
        if row[key_name] is not None:
            orders = groups[row[key_name]]
            assert row[name_name] == known.get(row[key_name])
        else:
            orders = rest if members and number == len(rows) - 1 else nobody
            assert row[name_name] is None
        amounts = [order["amount"] for order in orders]
        assert (row[total_name], row[count_name]) == (total(amounts), len(amounts))
        exact = sum((written(amount) or Decimal(0) for amount in amounts), Decimal(0))
        share = (
            EXACT.divide(exact * 100, whole).quantize(Decimal("0.1"), ROUND_HALF_EVEN, context=EXACT)
            if whole
            else None
        )
        assert row["share"] == share
        dates = [order["created_at"] for order in orders if is_dated(order)]
        assert (row["first_order"], row["last_order"]) == (min(dates, default=None), max(dates, default=None))
        if noun == "customer":
            assert row["avg"] == mean(amounts)
        else:
            assert row["quantity"] == sum(q for order in orders if isinstance(q := order.get("qty"), int))


@PROPERTY
@given(
    orders=sales(), top=st.integers(1, 6), noun=st.sampled_from(["customer", "product"]), split=st.booleans()
)
def test_rankings_have_the_sum_share_and_dates_of_their_orders(
    shop: Shop, orders: list[Document], top: int, noun: Literal["customer", "product"], split: bool
) -> None:
    names = {key: f"{noun} {key}" for key in (WHO if noun == "customer" else WHAT)[:3]}
    shop.fill(orders)
    shop.name("users" if noun == "customer" else "inventory", names)

    report = shop.ranked(Orders(currency="currency" if split else None), Ranking(noun, top))

    counted = [order for order in orders if counts(order)]
    for currency in {order.get("currency") for order in counted} if split else [None]:
        check_ranking(
            [row for row in report.rows if row.get("currency") == currency],
            [order for order in counted if not split or order.get("currency") == currency],
            top,
            noun,
            names,
        )
    left_out: dict[str, int] = defaultdict(int)
    for order in counted:
        if written(order.get("amount")) is None:
            left_out[reason(order)] += 1
    assert report.skipped == left_out


# ---- the pieces


@pytest.mark.parametrize(
    ("amounts", "revenue", "rounded"),
    [
        ([Decimal128("0.005")], "0.005", False),
        ([Decimal128("0.005"), Decimal128("0.005")], "0.01", False),
        ([Decimal128("0.005"), 1], "1.005", False),
        ([Decimal128("1E+3")], "1000.00", False),
        ([Decimal128("0.1")] * 3, "0.30", False),
        ([0.005], "0.00", True),
        ([0.015], "0.02", True),
        ([0.1] * 10, "1.00", True),
        ([0.1] * 10 + [Decimal128("0.005")], "1.00", True),
        ([0.1] * 10 + [Decimal128("0.015")], "1.02", True),
        ([1e9, 0.01, -1e9], "0.01", True),
        ([12345678901234.56], "12345678901234.56", True),
        ([1e60, Decimal128("0.01")], f"1{'0' * 60}.00", True),
        ([Int64(2**62), Int64(2**62)], "9223372036854775808.00", True),
        ([Decimal128("123456789012345678901.23"), 0.1], "123456789012345678901.33", True),
        ([Int64(2**62), Int64(2**62), Decimal128("0.01")], "9223372036854775808.01", False),
        ([Decimal128("-0.00")], "0.00", False),
    ],
    ids=str,
)
def test_money_is_exact_where_it_can_be_and_rounded_once(
    shop: Shop, amounts: list[Any], revenue: str, rounded: bool
) -> None:
    shop.fill(
        [
            {"amount": amount, "status": "completed", "created_at": datetime(2026, 1, 1, tzinfo=UTC)}
            for amount in amounts
        ]
    )

    report = shop.over_time(Orders(), Series("year"))

    assert [str(row["revenue"]) for row in report.rows] == [revenue]
    assert report.rounded is rounded
    assert report.cut is False


def test_a_sum_with_all_the_digits_of_a_decimal_is_said(shop: Shop) -> None:
    third = Decimal128("0.3333333333333333333333333333333333")
    shop.fill(
        [
            {"amount": amount, "status": "completed", "created_at": datetime(2026, 1, 1, tzinfo=UTC)}
            for amount in (third, 7)
        ]
    )

    report = shop.over_time(Orders(), Series("year"))

    assert report.cut
    assert str(report.rows[0]["revenue"]) == "7.333333333333333333333333333333333"


def test_an_expression_takes_the_amounts_place(shop: Shop) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    shop.fill(
        [
            {"qty": 3, "price": Decimal128("0.335"), "amount": 99, "status": "completed", "created_at": at},
            {"qty": 2, "status": "completed", "created_at": at},
        ]
    )

    report = shop.over_time(Orders(amount_expression={"$multiply": ["$qty", "$price"]}), Series("year"))

    assert [(str(row["revenue"]), row["orders"]) for row in report.rows] == [("1.005", 1)]
    assert report.skipped == {"null or missing": 1}


def test_names_with_dots_and_dollars_are_fields_from_5_0_on(shop: Shop) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    document = {"net.amount": 1, "$when": at, "net": {"amount": 7, "at": at}, "status": "completed"}
    inside = Orders(amount="net.amount", date="net.at", since=at, until=at + timedelta(days=1))
    named = Orders(amount=r"net\.amount", date="$when", since=at, until=at + timedelta(days=1))
    if shop.version < (5, 0):
        # such a name can't be stored there either
        shop.fill([{"net": {"amount": 7, "at": at}, "status": "completed"}])
        with pytest.raises(UsageError, match=r"MongoDB 5\.0"):
            shop.over_time(named, Series("year"))
    else:
        shop.fill(
            [document, {**document, "$when": at - timedelta(days=1)}, {**document, "$when": "2026-01-01"}]
        )
        assert [row["revenue"] for row in shop.over_time(named, Series("year")).rows] == [1]
    assert shop.over_time(inside, Series("year")).rows[0]["revenue"] % 7 == 0


def test_dates_that_no_calendar_has_are_counted_and_break_nothing(shop: Shop) -> None:
    """The server formats years up to 9999, and refuses a whole pipeline for one date beyond."""
    shop.fill(
        [
            {"amount": 1, "status": "completed", "created_at": when}
            for when in (
                DatetimeMS(253402300800000 + 10**9),
                DatetimeMS(-(2**62)),
                datetime(2026, 1, 1, tzinfo=UTC),
                ObjectId(),
                Timestamp(1, 1),
            )
        ]
    )
    for by in PERIODS:
        report = shop.over_time(Orders(), Series(by, "Pacific/Apia"))
        assert (len(report.rows), report.undated) == (1, 4)
