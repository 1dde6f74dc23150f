"""Rankings: the best customers and products and the rest as one row, against sums by hand."""

from __future__ import annotations

import uuid
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

import pytest
from bson import Binary, DatetimeMS, Decimal128, Int64, ObjectId
from bson.codec_options import CodecOptions, DatetimeConversion
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from motorctl.core import driver
from motorctl.core.revenue.expression import parse
from motorctl.core.revenue.ranking import MOST, Ranking, by_line, question, ranked, read
from motorctl.core.revenue.selection import Orders
from motorctl.errors import UsageError

if TYPE_CHECKING:
    from pymongo.database import Database as SyncDatabase

    from motorctl.client import Database
    from motorctl.core.revenue.report import Report

    Documents = SyncDatabase[dict[str, Any]]

Row = dict[str, Any]
DAY = datetime(2026, 3, 10, 12, tzinfo=UTC)
ANYTHING = Orders(status=())
NO_NUMBERS: tuple[Any, ...] = ("x", [1], {}, float("nan"))
# what the program's client is opened with
CLIENT_OPTIONS: CodecOptions[Row] = CodecOptions(
    tz_aware=True, datetime_conversion=DatetimeConversion.DATETIME_AUTO
)
VERSIONS = (None, (4, 4), (6, 0))
"""The forms of the pipeline: the second and the third differ by how they rank in each currency."""


def order(amount: Any, **more: Any) -> Row:
    return {"amount": amount, "status": "completed", "created_at": DAY, **more}


def asked(
    db: Documents,
    noun: Literal["customer", "product"] = "customer",
    top: int = 10,
    orders: Orders = ANYTHING,
    version: tuple[int, int] | None = None,
    *,
    by_line: bool = False,
) -> Report:
    """Return the report, asked synchronously; an older server is asked in its own form."""
    if version is not None:
        major, minor, *_ = db.client.server_info()["versionArray"]
        version = min(version, (major, minor))
    ranking = Ranking(noun, top, by_line)
    made = question(orders, ranking, version)
    collection = db.get_collection(made.collection, codec_options=CLIENT_OPTIONS)
    groups = list(collection.aggregate(made.pipeline, **made.options))
    return read(groups, orders, ranking)


def told(report: Report, *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in names) for row in report.rows]


# ---- by customer


async def test_the_best_customers_the_gone_and_the_rest(db: Database) -> None:
    ada, grace, gone, small = (ObjectId() for _ in range(4))
    await db.users.insert_many(
        [{"_id": ada, "name": "Ada"}, {"_id": grace, "name": "Grace"}, {"_id": small, "name": "Small"}]
    )
    await db.orders.insert_many(
        [
            order(Decimal128("10.00"), user_id=ada, created_at=DAY + timedelta(days=2)),
            order(0.05, user_id=ada, created_at=DAY - timedelta(days=1)),
            order(7, user_id=ada, status="pending"),
            order(20, user_id=gone),
            order(1, user_id=grace, created_at=DAY + timedelta(days=5)),
            order("no number", user_id=grace, created_at=DAY + timedelta(days=50)),
            order(Decimal128("0.50"), user_id=small, created_at=DAY - timedelta(days=3)),
            order(3),
            order(0.4, user_id=None, created_at=None),
        ]
    )

    report = await ranked(db, Orders(), Ranking("customer", 2))

    assert report.rows == [
        {
            "user_id": str(gone),
            "user_name": None,
            "total": Decimal("20.00"),
            "count": 1,
            "avg": Decimal("20.00"),
            "share": Decimal("57.2"),
            "first_order": DAY,
            "last_order": DAY,
            "customers": 1,
        },
        {
            "user_id": str(ada),
            "user_name": "Ada",
            "total": Decimal("10.05"),
            "count": 2,
            "avg": Decimal("5.02"),
            "share": Decimal("28.8"),
            "first_order": DAY - timedelta(days=1),
            "last_order": DAY + timedelta(days=2),
            "customers": 1,
        },
        {
            "user_id": None,
            "user_name": None,
            "total": Decimal("3.40"),
            "count": 2,
            "avg": Decimal("1.70"),
            "share": Decimal("9.7"),
            "first_order": DAY,
            "last_order": DAY,
            "customers": 0,
        },
        {
            "user_id": None,
            "user_name": None,
            "total": Decimal("1.50"),
            "count": 2,
            "avg": Decimal("0.75"),
            "share": Decimal("4.3"),
            "first_order": DAY - timedelta(days=3),
            "last_order": DAY + timedelta(days=5),
            "customers": 2,
        },
    ]
    assert report.skipped == {"a string": 1}
    assert report.rounded


@pytest.mark.parametrize("version", VERSIONS)
def test_orders_of_nobody_stand_at_their_place_and_take_no_rank(
    sync_db: Documents, version: tuple[int, int] | None
) -> None:
    sync_db.orders.insert_many(
        [
            order(100),
            order(50, user_id="a"),
            order(40, user_id="b"),
            order(30, user_id="c"),
            order(1, user_id="d"),
        ]
    )
    expected = [(None, 100, 0), ("a", 50, 1), ("b", 40, 1), (None, 31, 2)]

    assert told(asked(sync_db, top=2, version=version), "user_id", "total", "customers") == expected
    in_currency = asked(sync_db, top=2, orders=replace(ANYTHING, currency="currency"), version=version)
    assert told(in_currency, "user_id", "total", "customers") == expected

    sync_db.orders.update_one({"user_id": {"$exists": False}}, {"$set": {"amount": 2}})
    assert told(asked(sync_db, top=2), "user_id", "total", "customers") == [
        *expected[1:3],
        (None, 2, 0),
        expected[3],
    ]


def test_a_rest_of_one_is_told_apart_from_nobody(sync_db: Documents) -> None:
    sync_db.orders.insert_many([order(3, user_id="a"), order(2, user_id="b"), order(1)])

    assert told(asked(sync_db, top=1), "user_id", "customers") == [("a", 1), (None, 0), (None, 1)]
    assert told(asked(sync_db, top=2), "user_id", "customers") == [("a", 1), ("b", 1), (None, 0)]


@pytest.mark.parametrize("currency", [None, "currency"])
@pytest.mark.parametrize("version", VERSIONS)
def test_of_equal_totals_the_lower_id_is_first(
    sync_db: Documents, version: tuple[int, int] | None, currency: str | None
) -> None:
    sync_db.orders.insert_many([order(total, user_id=who) for who in "gbdface" for total in (1, 0.5, 0.5)])

    orders = replace(ANYTHING, currency=currency)
    rows = told(asked(sync_db, top=5, orders=orders, version=version), "user_id", "total", "customers")

    assert rows == [(who, 2, 1) for who in "abcde"] + [(None, 4, 2)]


def test_equal_numbers_are_one_customer_and_every_type_has_its_text(sync_db: Documents) -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    oid, uid = ObjectId(), uuid.uuid4()
    sync_db.orders.insert_many(
        [order(1, user_id=number) for number in (7, 7.0, Int64(7), Decimal128("7.00"), Decimal128("7"))]
        + [order(100, user_id=1e22), order(90, user_id=0.5), order(80, user_id=Decimal128("-0.0"))]
    )
    assert told(asked(sync_db), "user_id", "count") == [
        ("10000000000000000000000", 1),
        ("0.5", 1),
        ("0", 1),
        ("7", 5),
    ]

    sync_db.orders.drop()
    ids: list[Any] = [
        "7",
        "",
        oid,
        True,
        moment,
        DatetimeMS(253402300800000),
        Binary.from_uuid(uid),
        b"ab",
        {"a": 1, "b": [oid]},
        float("nan"),
    ]
    sync_db.orders.insert_many([order(100 - number, user_id=value) for number, value in enumerate(ids)])
    assert told(asked(sync_db), "user_id") == [
        ("7",),
        ("",),
        (str(oid),),
        ("true",),
        ("2026-01-02T03:04:05Z",),
        ("253402300800000",),
        (str(uid),),
        ('{"$binary":{"base64":"YWI=","subType":"00"}}',),
        (f'{{"a":1,"b":[{{"$oid":"{oid}"}}]}}',),
        ("NaN",),
    ]


def test_an_id_that_is_no_value_of_its_own_gets_no_name_of_another(sync_db: Documents) -> None:
    """`$lookup` finds the documents of an array's members, and those without the field for null."""
    sync_db.users.insert_many([{"_id": None, "name": "Nobody"}, {"_id": "a", "name": "Ada"}])
    sync_db.orders.insert_many([order(3, user_id=["a", "b"]), order(2, user_id=None), order(1, user_id="a")])

    assert told(asked(sync_db), "user_id", "user_name") == [('["a","b"]', None), (None, None), ("a", "Ada")]


@pytest.mark.parametrize("version", VERSIONS)
def test_currencies_are_ranked_each_for_itself_and_never_added(
    sync_db: Documents, version: tuple[int, int] | None
) -> None:
    sync_db.users.insert_one({"_id": "a", "name": "Ada"})
    sync_db.orders.insert_many(
        [
            *(
                order(amount, user_id=who, in_={"cur": "USD"})
                for who, amount in (("a", 1), ("b", 3), ("c", 4), ("d", 2))
            ),
            *(order(amount, user_id=who, in_={"cur": "EUR"}) for who, amount in (("a", 100), ("b", 300))),
            order(7, user_id="a"),
            order(5, in_={"cur": "USD"}),
            order(None, user_id="a", in_={"cur": "USD"}),
            *(order(other, user_id="a") for other in NO_NUMBERS),
        ]
    )
    orders = replace(ANYTHING, currency="in_.cur")

    report = asked(sync_db, top=2, orders=orders, version=version)

    assert list(report.rows[0]) == [
        "user_id", "user_name", "currency", "total", "count", "avg", "share", "first_order", "last_order", "customers",
    ]  # fmt: skip
    assert told(report, "currency", "user_id", "user_name", "total", "share", "customers") == [
        ("EUR", "b", None, 300, Decimal("75.0"), 1),
        ("EUR", "a", "Ada", 100, Decimal("25.0"), 1),
        ("USD", None, None, 5, Decimal("33.3"), 0),
        ("USD", "c", None, 4, Decimal("26.7"), 1),
        ("USD", "b", None, 3, Decimal("20.0"), 1),
        ("USD", None, None, 3, Decimal("20.0"), 2),
        (None, "a", "Ada", 7, Decimal("100.0"), 1),
    ]
    assert report.skipped == {"NaN": 1, "a string": 1, "an array": 1, "an object": 1, "null or missing": 1}
    assert report.without_currency == 1


def test_amounts_stay_exact_and_only_a_row_with_a_double_is_rounded(sync_db: Documents) -> None:
    sync_db.orders.insert_many(
        [
            order(Decimal128("1000000000000000000000.005"), user_id="a"),
            order(Decimal128("0.001"), user_id="a"),
            order(Decimal128("5.125"), user_id="b"),
            order(0.125, user_id="c"),
        ]
    )

    report = asked(sync_db, top=1)
    assert told(report, "total", "avg") == [
        (Decimal("1000000000000000000000.006"), Decimal("500000000000000000000.00")),
        (Decimal("5.25"), Decimal("2.62")),
    ]
    assert str(report.rows[1]["total"]) == "5.25"
    assert report.rounded
    assert str(asked(sync_db, top=2).rows[1]["total"]) == "5.125"
    sync_db.orders.delete_one({"user_id": "c"})
    assert not asked(sync_db).rounded


def test_shares_are_of_what_is_counted(sync_db: Documents) -> None:
    sync_db.orders.insert_many([order(10, user_id="a"), order(-5, user_id="b"), order("50", user_id="c")])
    assert told(asked(sync_db), "user_id", "share") == [("a", Decimal("200.0")), ("b", Decimal("-100.0"))]

    sync_db.orders.insert_one(order(-5, user_id="b"))
    assert told(asked(sync_db), "user_id", "share") == [("a", None), ("b", None)]


def test_dates_that_are_none_are_no_first_order(sync_db: Documents) -> None:
    dates: list[Any] = ["2020-01-01", None, 5, DAY, DAY + timedelta(days=1), ObjectId()]
    sync_db.orders.insert_many([order(1, user_id="a", created_at=at) for at in dates])
    sync_db.orders.insert_one(order(1, user_id="b", created_at="never"))
    sync_db.orders.insert_one(order(2, user_id="c", created_at=DatetimeMS(253402300800000)))

    assert told(asked(sync_db), "user_id", "first_order", "last_order") == [
        ("a", DAY, DAY + timedelta(days=1)),
        ("c", None, None),
        ("b", None, None),
    ]


def test_no_orders_are_no_rows(sync_db: Documents) -> None:
    assert asked(sync_db).rows == []
    sync_db.orders.insert_one(order("x", user_id="a"))
    assert asked(sync_db).rows == []
    assert asked(sync_db, orders=replace(ANYTHING, currency="c")).skipped == {"a string": 1}


# ---- by product


def test_products_with_quantities_and_the_older_name_of_the_field(sync_db: Documents) -> None:
    sync_db.inventory.insert_many([{"_id": "p1", "name": "Pen"}, {"_id": 7, "name": "Ink"}])
    sync_db.orders.insert_many(
        [
            order(10, product_id="p1", qty=2),
            order(10, product_id="p1", product="ignored", qty=0.1),
            order(10, product="p1", qty=0.2),
            order(5, product_id=None, product=7, qty=Decimal128("3")),
            order(5, product_id=7.0, qty="many"),
            order(4, product="gone", qty=float("nan")),
            order(2, product="x", qty=Int64(5)),
            order(1, product="y"),
            order("no number", product="y", qty=1000),
            order(1, qty=1),
        ]
    )

    report = asked(sync_db, "product", 3)

    assert told(report, "product", "name", "revenue", "quantity", "orders", "products") == [
        ("p1", "Pen", 30, Decimal("2.3"), 3, 1),
        ("7", "Ink", 10, 3, 2, 1),
        ("gone", None, 4, 0, 1, 1),
        (None, None, 1, 1, 1, 0),
        (None, None, 3, 5, 2, 2),
    ]
    assert list(report.rows[0]) == [
        "product", "name", "revenue", "quantity", "orders", "share", "first_order", "last_order", "products",
    ]  # fmt: skip
    assert type(report.rows[1]["quantity"]) is int
    assert report.rows[0]["share"] == Decimal("62.5"), "of 48"


def test_other_names_of_fields_and_collections(sync_db: Documents) -> None:
    sync_db.goods.insert_one({"_id": 1, "name": "Pen"})
    sync_db.sales.insert_one(
        {"line item": {"sku": 1, "pieces": 4}, "unit price": Decimal128("2.50"), "at": DAY, "product_id": 9}
    )
    orders = Orders(
        collection="sales",
        amount_expression=parse("line item.pieces * `unit price`".replace("line item", "`line item`")),
        date="at",
        product="line item.sku",
        quantity="line item.pieces",
        products="goods",
        status=(),
    )

    (row,) = asked(sync_db, "product", orders=orders).rows
    assert (row["product"], row["name"], row["revenue"], row["quantity"]) == ("1", "Pen", Decimal("10.00"), 4)
    assert (row["first_order"], row["last_order"]) == (DAY, DAY)


# ---- the question


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("currency", [None, "currency"])
@pytest.mark.parametrize("noun", ["customer", "product"])
def test_names_are_looked_up_after_the_cut(
    noun: Literal["customer", "product"], currency: str | None, version: tuple[int, int] | None
) -> None:
    pipeline = question(Orders(currency=currency), Ranking(noun, 3), version).pipeline
    stages = [next(iter(stage)) for stage in pipeline]

    assert stages[:2] == ["$match", "$group"], "one pass: what is read is grouped"
    if currency is None:
        inner = [next(iter(stage)) for stage in pipeline[3]["$facet"]["top"]]
        assert stages[2:] == ["$sort", "$facet"]
        assert inner.index("$limit") < inner.index("$lookup")
    else:
        cut = max(number for number, stage in enumerate(stages) if stage == "$group")
        assert "$lookup" not in stages[:cut]
        assert "$lookup" in stages[cut:]


def test_as_many_names_are_looked_up_as_there_are_rows(sync_db: Documents) -> None:
    """The server counts the uses of the index that the names are found by."""
    sync_db.users.insert_many([{"_id": number, "name": f"User {number}"} for number in range(500)])
    sync_db.orders.insert_many([order(number, user_id=number) for number in range(500)])

    for currency in (None, "currency"):
        before = _index_uses(sync_db)
        rows = asked(sync_db, top=4, orders=replace(ANYTHING, currency=currency), version=(6, 0)).rows
        assert [row["user_name"] for row in rows] == ["User 499", "User 498", "User 497", "User 496", None]
        assert 4 <= _index_uses(sync_db) - before <= 5


def _index_uses(db: Documents) -> int:
    found = list(db.users.aggregate([{"$indexStats": {}}]))
    return sum(int(index["accesses"]["ops"]) for index in found if index["name"] == "_id_")


@pytest.mark.parametrize("top", [0, -1, MOST + 1])
def test_a_number_of_rows_that_a_server_can_not_send_is_usage(top: int) -> None:
    with pytest.raises(UsageError, match="10,000"):
        question(Orders(), Ranking("customer", top))


def test_ten_thousand_rows_fit(sync_db: Documents) -> None:
    sync_db.users.insert_many([{"_id": ObjectId(), "name": "x" * 200, "bio": "y" * 2000} for _ in range(200)])
    ids = [user["_id"] for user in sync_db.users.find({}, {"_id": 1})]
    sync_db.orders.insert_many(
        [order(number, user_id=ids[number] if number < 200 else number) for number in range(MOST + 5)]
    )

    rows = asked(sync_db, top=MOST).rows

    assert len(rows) == MOST + 1
    assert (rows[-1]["customers"], rows[-1]["total"]) == (5, 0 + 1 + 2 + 3 + 4)


def test_a_name_that_an_old_server_has_no_expression_for_is_usage() -> None:
    orders = Orders(customer=r"user\.id")

    with pytest.raises(UsageError, match=r"needs MongoDB 5.0; this is 4.4"):
        question(orders, Ranking("customer"), (4, 4))
    assert question(orders, Ranking("customer"), (5, 0))
    assert question(orders, Ranking("product"), (4, 4)), "the customer is no part of that report"


# ---- against a second computation

CENT = Decimal("0.01")
_amounts = st.one_of(
    st.integers(-500, 5000),
    st.integers(-500, 5000).map(Int64),
    st.integers(-50000, 500000).map(lambda cents: cents / 100),
    st.decimals(-500, 5000, places=3).map(Decimal128),
    st.sampled_from([None, "12", float("nan"), Decimal128("Infinity"), [1], True]),
)
_dates = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)).map(  # noqa: DTZ001 - made aware here
    lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000, tzinfo=UTC)
)
_orders = st.fixed_dictionaries(
    {"amount": _amounts, "created_at": _dates | st.sampled_from([None, "2026-01-01"])},
    optional={
        "user_id": st.sampled_from(["a", "b", "c", "d", 1, 2, 3, None]),
        "product_id": st.sampled_from(["p", "q", 1, None]),
        "product": st.sampled_from(["p", "r", "s", None]),
        "qty": st.sampled_from([1, 2, 0.5, Decimal128("0.1"), "x", None, float("inf")]),
        "currency": st.sampled_from(["EUR", "USD", None]),
    },
)


def decimal_of(value: Any) -> Decimal | None:
    """Return the decimal that a person would take a number for; None of what is no number."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal128)):
        return None
    number = value.to_decimal() if isinstance(value, Decimal128) else Decimal(str(value))
    return number if number.is_finite() else None


def key_of(found: Row, noun: str) -> Any:
    if noun == "customer":
        return found.get("user_id")
    first = found.get("product_id")
    return found.get("product") if first is None else first


def by_hand(orders: list[Row], noun: str, top: int, *, currencies: bool) -> list[tuple[Any, ...]]:
    """Return rows (currency, id, total, count, average, share, first, last, members, quantity)."""
    counted = [found for found in orders if decimal_of(found["amount"]) is not None]
    found_rows: list[tuple[Any, ...]] = []
    parts: dict[Any, list[Row]] = defaultdict(list)
    for found in counted:
        parts[found.get("currency") if currencies else None].append(found)
    for currency in sorted(parts, key=lambda name: (name is None, str(name))):
        whole = sum((Fraction(decimal_of(found["amount"]) or 0) for found in parts[currency]), Fraction(0))
        groups: dict[Any, list[Row]] = defaultdict(list)
        for found in parts[currency]:
            groups[key_of(found, noun)].append(found)
        nobody = groups.pop(None, None)
        # Of BSON values numbers come before text.
        ranks = sorted(groups, key=lambda key: (-_sum(groups[key]), isinstance(key, str), key))
        entries = [(key, 1, groups[key]) for key in ranks[:top]]
        if nobody:
            place = sum(1 for _, _, held in entries if _sum(held) >= _sum(nobody))
            entries.insert(place, (None, 0, nobody))
        if rest := ranks[top:]:
            entries.append((None, len(rest), [found for key in rest for found in groups[key]]))
        found_rows += [(currency, *_by_hand_row(key, members, held, whole)) for key, members, held in entries]
    return found_rows


def _sum(orders: list[Row]) -> Decimal:
    return sum((decimal_of(found["amount"]) or Decimal(0) for found in orders), Decimal(0))


def _by_hand_row(key: Any, members: int, orders: list[Row], whole: Fraction) -> tuple[Any, ...]:
    total = _sum(orders)
    rounded = any(isinstance(found["amount"], float) for found in orders)
    dates = [found["created_at"] for found in orders if isinstance(found["created_at"], datetime)]
    quantities = [decimal_of(found.get("qty")) or Decimal(0) for found in orders]
    share = Decimal(round(Fraction(total) / whole * 1000)) / 10 if whole else None
    average = (total / len(orders)).quantize(CENT, ROUND_HALF_EVEN)
    return (
        None if key is None else str(key),
        total.quantize(CENT, ROUND_HALF_EVEN) if rounded else total,
        len(orders),
        average,
        share,
        min(dates, default=None),
        max(dates, default=None),
        members,
        sum(quantities),
    )


def line(amount: Any, product: Any, qty: Any = 1) -> Row:
    return {"product_id": product, "qty": qty, "amount": amount}


LINED = [
    order(Decimal128("10.00"), qty=2, product_id="tea"),
    order(
        Decimal128("16.50"),
        qty=3,
        lines=[line(Decimal128("9.00"), "tea", 2), line(Decimal128("7.50"), "mug")],
        created_at=DAY + timedelta(days=1),
    ),
]


async def test_an_order_of_several_products_counts_line_by_line(db: Database) -> None:
    await db.inventory.insert_one({"_id": "mug", "name": "Mug"})
    await db.orders.insert_many([dict(found) for found in LINED])

    report = await ranked(db, Orders(), Ranking("product"))

    assert told(report, "product", "name", "revenue", "quantity", "orders", "share", "first_order") == [
        ("tea", None, Decimal("19.00"), 4, 2, Decimal("71.7"), DAY),
        ("mug", "Mug", Decimal("7.50"), 1, 1, Decimal("28.3"), DAY + timedelta(days=1)),
    ]


@pytest.mark.parametrize(
    ("amount", "lines", "rest"),
    [
        (Decimal128("20.40"), (Decimal128("9.00"), Decimal128("7.50")), "3.90"),
        (Decimal128("15.00"), (Decimal128("9.00"), Decimal128("7.50")), "-1.50"),
        (0.3, (0.1, 0.2), None),
        (0.31, (0.1, 0.2), "0.01"),
        (Int64(10), (9.5, Decimal128("0.50")), None),
    ],
)
async def test_what_an_order_costs_besides_its_lines_is_of_no_product(
    db: Database, amount: Any, lines: tuple[Any, Any], rest: str | None
) -> None:
    tea, mug = lines
    await db.orders.insert_one(order(amount, lines=[line(tea, "tea"), line(mug, "mug")]))

    report = await ranked(db, Orders(), Ranking("product"))
    (customer,) = (await ranked(db, Orders(), Ranking("customer"))).rows

    others = [row for row in report.rows if row["product"] is None]
    assert [(row["revenue"], row["quantity"], row["orders"]) for row in others] == (
        [(Decimal(rest), 0, 1)] if rest else []
    )
    assert sum(row["revenue"] for row in report.rows) == customer["total"]


async def test_what_cannot_be_parted_stays_whole(db: Database) -> None:
    good = line(1, "tea")
    await db.orders.insert_many(
        [
            order(3, lines=[good, {"product": "mug", "qty": 1, "amount": 2}]),
            order(100, lines=[good, line("no number", "mug")]),
            order(200, lines=[good, "tea"]),
            order(300, lines=[]),
            order(400, lines={"product_id": "tea"}),
            order("no number", lines=[good]),
            order(500, lines=[good], product_id="pot"),
            order(9, lines=[line(2, "tea"), line(3, "tea"), line(4, None)]),
        ]
    )

    report = await ranked(db, Orders(), Ranking("product"))

    assert told(report, "product", "revenue", "orders") == [
        (None, Decimal("1004.00"), 5),
        ("pot", Decimal("500.00"), 1),
        ("tea", Decimal("6.00"), 2),
        ("mug", Decimal("2.00"), 1),
    ]
    assert report.skipped == {"a string": 1}


@pytest.mark.parametrize("version", VERSIONS)
def test_lines_have_the_currency_of_their_order(sync_db: Documents, version: tuple[int, int] | None) -> None:
    sync_db.orders.insert_many([{**LINED[0], "currency": "EUR"}, dict(LINED[1])])

    report = asked(sync_db, "product", 1, replace(ANYTHING, currency="currency"), version, by_line=True)

    assert told(report, "currency", "product", "revenue", "products") == [
        ("EUR", "tea", Decimal("10.00"), 1),
        (None, "tea", Decimal("9.00"), 1),
        (None, None, Decimal("7.50"), 1),
    ]
    assert report.without_currency == 1, "an order of two products is one"


@pytest.mark.parametrize(
    "orders",
    [
        replace(ANYTHING, product="product_id"),
        replace(ANYTHING, amount="total"),
        replace(ANYTHING, quantity="pieces"),
        replace(ANYTHING, amount_expression=parse("amount * 2")),
    ],
)
async def test_of_other_fields_no_lines_are_known(db: Database, orders: Orders) -> None:
    await db.orders.insert_many([{**found, "total": 1} for found in LINED])
    assert (await by_line(db, orders, Ranking("product"))).by_line is False
    assert (await by_line(db, ANYTHING, Ranking("product"))).by_line is True
    assert (await by_line(db, ANYTHING, Ranking("customer"))).by_line is False
    assert (await by_line(db, Orders(status=("pending",)), Ranking("product"))).by_line is False


async def test_without_lines_nothing_else_is_asked(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pipeline of orders of one product each is the one that an index can answer alone: it stays so."""
    sent: list[list[Row]] = []
    aggregate = driver.aggregate

    async def noted(collection: Any, pipeline: Any, **options: Any) -> Any:
        sent.append(list(pipeline))
        return await aggregate(collection, pipeline, **options)

    monkeypatch.setattr(driver, "aggregate", noted)
    plain = question(Orders(), Ranking("product"), (6, 0)).pipeline
    lined = question(Orders(), Ranking("product", by_line=True), (6, 0)).pipeline

    async def asks() -> list[list[Row]]:
        sent.clear()
        await ranked(db, Orders(), Ranking("product"), (6, 0))
        return list(sent)

    await db.orders.insert_one(dict(LINED[0]))
    assert await asks() == [plain]
    assert "lines" not in str(plain)

    await db.orders.insert_one(order(5))
    look = (await asks())[1:]
    assert [stage for stage in look[0] if "$limit" in stage] == [{"$limit": 1}]
    assert len(look) == 1, "an order without a product has no lines: no second report"

    await db.orders.insert_one(dict(LINED[1]))
    assert await asks() == [plain, *look, lined]


_lined = st.lists(
    st.fixed_dictionaries(
        {"amount": _amounts},
        optional={
            "product_id": st.sampled_from(["p", "q", 1, None]),
            "product": st.sampled_from(["p", "r", None]),
            "qty": st.sampled_from([1, 2, 0.5, "x", float("inf")]),
        },
    ),
    max_size=4,
)


def parted(found: Row) -> list[Row]:
    """Return an order's lines as orders of their own, if it is counted by them."""
    lines = found.get("lines")
    amounts = [decimal_of(one["amount"]) for one in [found, *(lines or [])]]
    if not lines or key_of(found, "product") is not None or None in amounts:
        return [found]
    whole, *each = (amount or Decimal(0) for amount in amounts)
    rest = [{"amount": Decimal128(whole - sum(each))}] if whole != sum(each) else []
    shared = {"created_at": found["created_at"], "currency": found.get("currency")}
    return [{**shared, **one} for one in (*lines, *rest)]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    orders=st.lists(st.tuples(_orders, st.none() | _lined), max_size=15),
    top=st.integers(1, 3),
    currencies=st.booleans(),
)
def test_lines_give_what_orders_of_their_own_give(
    sync_db: Documents, orders: list[tuple[Row, list[Row] | None]], top: int, currencies: bool
) -> None:
    """With `orders` counted once a product: the one figure in which a line isn't an order."""
    whole = [found if lines is None else {**found, "lines": lines} for found, lines in orders]
    wish = replace(ANYTHING, currency="currency" if currencies else None)
    sync_db.orders.drop()
    if whole:
        sync_db.orders.insert_many([dict(found) for found in whole])
    report = asked(sync_db, "product", top, wish, (6, 0), by_line=True)
    split = [one for found in whole for one in parted(found)]
    sync_db.orders.drop()
    if split:
        sync_db.orders.insert_many([dict(found) for found in split])
    expected = asked(sync_db, "product", top, wish, (6, 0))

    names = [name for name in (*(report.rows[0] if report.rows else ()),) if name != "orders"]
    assert told(report, *names) == told(expected, *names)
    assert report.skipped == expected.skipped
    for row in report.rows:
        if row["product"] is not None and not currencies:
            holding = sum(
                any(
                    str(key_of(one, "product")) == row["product"] and decimal_of(one["amount"]) is not None
                    for one in parted(found)
                )
                for found in whole
            )
            assert row["orders"] == holding


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    orders=st.lists(_orders, max_size=25),
    top=st.integers(1, 4),
    currencies=st.booleans(),
    noun=st.sampled_from(["customer", "product"]),
)
def test_every_form_gives_what_is_added_up_by_hand(
    sync_db: Documents, orders: list[Row], top: int, currencies: bool, noun: Literal["customer", "product"]
) -> None:
    sync_db.orders.drop()
    if orders:
        sync_db.orders.insert_many([dict(found) for found in orders])
    expected = by_hand(orders, noun, top, currencies=currencies)
    names = (
        ("user_id", "total", "count", "avg", "share", "first_order", "last_order", "customers")
        if noun == "customer"
        else (
            "product",
            "revenue",
            "orders",
            "average",
            "share",
            "first_order",
            "last_order",
            "products",
            "quantity",
        )
    )
    wish = replace(ANYTHING, currency="currency" if currencies else None)

    for version in VERSIONS if currencies else VERSIONS[-1:]:
        report = asked(sync_db, noun, top, wish, version)
        rows = [
            (row.get("currency"), *(row.get(name) for name in names if name != "average"))
            for row in report.rows
        ]
        if noun == "customer":
            assert rows == [line[:-1] for line in expected]
        else:
            # a product's row has no average
            assert rows == [line[:4] + line[5:] for line in expected]
        assert sum(report.skipped.values()) == sum(decimal_of(found["amount"]) is None for found in orders)
