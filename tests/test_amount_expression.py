"""Amounts as expressions: what the server computes is what decimals give by hand, and an error names its column."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal, Inexact
from typing import TYPE_CHECKING, Any

import pytest
from bson import Decimal128, Int64, ObjectId
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from motorctl.core.revenue.expression import DEEPEST, LONGEST, parse, quotients
from motorctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymongo.database import Database as SyncDatabase

    Documents = SyncDatabase[dict[str, Any]]

Order = dict[str, Any]
DECIMAL128 = Context(prec=34, Emin=-6143, Emax=6144, clamp=1, rounding=ROUND_HALF_EVEN)


def computed(db: Documents, text: str, *orders: Order) -> list[Decimal | None]:
    """Return what the server makes of an expression, for each order."""
    db.orders.drop()
    db.orders.insert_many([{**order, "_id": number} for number, order in enumerate(orders)])
    rows = db.orders.aggregate([{"$sort": {"_id": 1}}, {"$project": {"amount": parse(text)}}])
    return [row["amount"].to_decimal() if row["amount"] is not None else None for row in rows]


# ---- what it means


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("qty * price", "59.97"),
        ("qty * price * (1 - discount)", "53.973"),
        ("2 + 3 * 4", "14"),
        ("(2 + 3) * 4", "20"),
        ("10 - 4 - 3", "3"),
        ("24 / 4 / 3", "2"),
        ("-qty + 5", "2"),
        ("2 - -3", "5"),
        ("--qty", "3"),
        ("-7 % 3", "-1"),
        ("7.5 % 2", "1.5"),
        (".5 + 1. + 1e2 + 2E-1", "101.7"),
        ("line.price", "0.07"),
        ("`unit price`", "4.50"),
        ("`line`.price + line.`vat rate`", "0.26"),
        ("abs(-2.5)", "2.5"),
        ("round(2.5)", "2"),
        ("round(2.345, 2)", "2.34"),
        ("round(1250, -2)", "1200"),
        ("floor(-2.5)", "-3"),
        ("ceil(-2.5)", "-2"),
        ("min(qty, price, 2)", "2"),
        ("max(qty, price)", "19.99"),
        ("ifnull(rebate, 0) + ifnull(gone.rebate, ifnull(qty, 1))", "3"),
        ("round + min", "12"),
        ("qty\n  *\tprice", "59.97"),
        ("0.1 + 0.2", "0.3"),
        ("double * 3", "0.3"),
        ("long + 1", "9007199254740994"),
    ],
)
def test_arithmetic_is_that_of_decimals(sync_db: Documents, text: str, amount: str) -> None:
    order = {
        "qty": 3,
        "price": Decimal128("19.99"),
        "discount": 0.1,
        "line": {"price": 0.07, "vat rate": 0.19},
        "unit price": Decimal128("4.50"),
        "rebate": None,
        "double": 0.1,
        "long": Int64(2**53 + 1),
        # names of functions are names of fields where nothing is called
        "round": 5,
        "min": 7,
    }

    assert computed(sync_db, text, order) == [Decimal(amount)]


def test_a_dot_or_a_backquote_in_a_name_stands_in_backquotes(sync_db: Documents) -> None:
    if sync_db.client.server_info()["versionArray"] < [5]:
        pytest.skip("$getField came with MongoDB 5.0")
    order = {"a.b": 2, "a": {"b": 3, "c.d": 5}, "x`y": 7, "a\\b": 11, "$usd": 13}

    for text, amount in (
        ("a.b", 3),
        ("`a.b`", 2),
        ("a.`c.d`", 5),
        ("`x``y`", 7),
        ("`a\\b`", 11),
        ("`$usd`", 13),
    ):
        assert computed(sync_db, text, order) == [amount], text


@pytest.mark.parametrize(
    "value",
    [
        None,
        "12.50",
        "",
        True,
        float("nan"),
        float("inf"),
        float("-inf"),
        Decimal128("NaN"),
        Decimal128("-Infinity"),
        [1],
        [],
        {"a": 1},
        ObjectId(),
    ],
)
@pytest.mark.parametrize(
    "text",
    "price;qty * price;qty - price;price / qty;qty / price;price % qty;qty % price;-price;abs(price);round(price, 2);"
    "floor(price);ceil(price);min(qty, price);max(price, qty);qty + ifnull(price, price)".split(";"),
)
def test_what_is_no_number_makes_the_amount_null(sync_db: Documents, text: str, value: Any) -> None:
    with_value: Order = {"qty": 2, "price": value}

    assert computed(sync_db, text, with_value, {"qty": 2}) == [None, None]


def test_if_null_replaces_what_is_missing_and_nothing_else(sync_db: Documents) -> None:
    """A discount of "10%" isn't none: that order's amount isn't known."""
    orders: list[Order] = [
        {},
        {"discount": None},
        {"discount": "10%"},
        {"discount": float("nan")},
        {"discount": 2},
    ]

    assert computed(sync_db, "10 - ifnull(discount, 0)", *orders) == [10, 10, None, None, 8]


def test_a_division_by_zero_is_null_and_not_an_error(sync_db: Documents) -> None:
    zeros = (0, 0.0, -0.0, Int64(0), Decimal128("0"), Decimal128("0E+3"))
    orders: list[Order] = [{"a": 1, "b": zero} for zero in zeros]

    for text in ("a / b", "a % b", "a / (b * 5)", "1 / b / b", "a / 0", "a % 0", "a / (a - 1)", "0 / b"):
        assert computed(sync_db, text, *orders) == [None] * len(orders), text


def test_of_a_double_fifteen_digits_are_taken(sync_db: Documents) -> None:
    assert computed(sync_db, "a", {"a": 0.1 + 0.2}, {"a": 1e15 / 3}) == [
        Decimal("0.3"),
        Decimal(333333333333333),
    ]


# ---- against decimals by hand


@dataclass(frozen=True)
class Formula:
    """An expression, and the same computed by hand: None where it has no value."""

    text: str
    value: Callable[[Order], Decimal | None]


FIELDS = ("a", "b", "c.d", "`e f`")
_numbers = st.one_of(
    st.integers(-999, 999),
    st.integers(-99999, 99999).map(lambda cents: cents / 100),
    st.integers(-999, 999).map(Int64),
    st.decimals(-1000, 1000, places=2).map(Decimal128),
)
_values = st.one_of(_numbers, _numbers, _numbers, st.sampled_from([None, "x", float("nan"), 0]))
_orders = st.fixed_dictionaries(
    {},
    optional={
        "a": _values,
        "b": _values,
        "c": st.fixed_dictionaries({}, optional={"d": _values}),
        "e f": _values,
    },
)


def number_of(value: Any) -> Decimal | None:
    if isinstance(value, Decimal128):
        value = value.to_decimal()
    if isinstance(value, float):
        value = Decimal(repr(value))
    if isinstance(value, (int, Decimal)) and Decimal(value).is_finite():
        return Decimal(value)
    return None


def field(name: str) -> Formula:
    def value(order: Order) -> Decimal | None:
        return number_of(order.get("c", {}).get("d") if name == "c.d" else order.get(name.strip("`")))

    return Formula(name, value)


def binary(sign: str, left: Formula, right: Formula) -> Formula:
    exact = Context(prec=34, traps=[Inexact])

    def value(order: Order) -> Decimal | None:
        x, y = left.value(order), right.value(order)
        if x is None or y is None or (sign in "/%" and not y):
            return None
        if sign == "/":
            # A quotient has 34 digits, and is rounded at once: what follows is exact again.
            return DECIMAL128.divide(x, y).quantize(Decimal("0.0001"), context=DECIMAL128)
        operations = {"+": exact.add, "-": exact.subtract, "*": exact.multiply, "%": exact.remainder}
        return operations[sign](x, y)

    text = f"({left.text}) {sign} ({right.text})"
    return Formula(f"round({text}, 4)" if sign == "/" else f"({text})", value)


def unary(name: str, inner: Formula) -> Formula:
    roundings = {"round": ROUND_HALF_EVEN, "floor": ROUND_FLOOR, "ceil": ROUND_CEILING}

    def value(order: Order) -> Decimal | None:
        x = inner.value(order)
        if x is None:
            return None
        if name in roundings:
            return x.quantize(Decimal(1), roundings[name], DECIMAL128)
        return x.copy_negate() if name == "-" else x.copy_abs()

    return Formula(f"{name}({inner.text})", value)


def chosen(name: str, parts: list[Formula]) -> Formula:
    def value(order: Order) -> Decimal | None:
        values = [part.value(order) for part in parts]
        known = [x for x in values if x is not None]
        return None if len(known) < len(values) else (min if name == "min" else max)(known)

    return Formula(f"{name}({', '.join(part.text for part in parts)})", value)


def if_null(name: str, instead: Formula) -> Formula:
    given = field(name)

    def value(order: Order) -> Decimal | None:
        held = order.get("c", {}).get("d") if name == "c.d" else order.get(name.strip("`"))
        return instead.value(order) if held is None else given.value(order)

    return Formula(f"ifnull({name}, {instead.text})", value)


_leaves = st.sampled_from(FIELDS).map(field) | st.decimals(0, 100, places=1).map(
    lambda number: Formula(str(number), lambda _order: number)
)
formulas = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.builds(binary, st.sampled_from("+-*/%"), inner, inner),
        st.builds(unary, st.sampled_from(["-", "abs", "round", "floor", "ceil"]), inner),
        st.builds(chosen, st.sampled_from(["min", "max"]), st.lists(inner, min_size=2, max_size=3)),
        st.builds(if_null, st.sampled_from(FIELDS), inner),
    ),
    max_leaves=6,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(formula=formulas, orders=st.lists(_orders, min_size=1, max_size=4))
def test_the_server_computes_what_decimals_give(
    sync_db: Documents, formula: Formula, orders: list[Order]
) -> None:
    try:
        expected = [formula.value(order) for order in orders]
    except Inexact:
        assume(False)  # more than 34 digits: then the order of the roundings is the server's

    assert computed(sync_db, formula.text, *orders) == expected


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(a=_numbers, b=_numbers.filter(lambda value: number_of(value) != 0))
def test_a_quotient_has_thirty_four_digits(sync_db: Documents, a: Any, b: Any) -> None:
    x, y = number_of(a), number_of(b)
    assert x is not None
    assert y is not None

    assert computed(sync_db, "a / b", {"a": a, "b": b}) == [DECIMAL128.divide(x, y)]


# ---- what it refuses


@pytest.mark.parametrize(
    ("text", "column", "said"),
    [
        ("qty *", 6, "a field, a number or '(' was expected, and it ends"),
        ("qty price", 5, "an operator was expected, and there is 'price'"),
        ("(qty", 1, "'(' is never closed"),
        ("qty * (price", 7, "'(' is never closed"),
        ("round(qty", 6, "'(' is never closed"),
        ("qty)", 4, "an operator was expected, and there is ')'"),
        ("()", 2, "a field, a number or '(' was expected, and there is ')'"),
        ("$qty", 1, "'$' can't stand in an amount"),
        ("qty * 'price'", 7, "\"'\" can't stand in an amount"),
        ("`qty", 1, "'`' can't stand in an amount"),
        ("``", 1, "a field's name is empty"),
        ("qty * `a\\`.b", 7, "a field whose name ends with a backslash"),
        ("qty..a", 4, "this is neither a number nor a field"),
        ("2x", 1, "this is neither a number nor a field"),
        ("1,5", 2, "an operator was expected, and there is ','"),
        ("qty ** 2", 6, "a field, a number or '(' was expected, and there is '*'"),
        ("qty\n* !", 7, "'!' can't stand in an amount"),
        ("__import__('os')", 1, "'__import__' is no function"),
        ("lambda: 1", 7, "':' can't stand in an amount"),
        ("sum(qty)", 1, "'sum' is no function"),
        ("1 + rond(qty)", 5, "'rond' is no function"),
        ("min(qty)", 1, "min(x, y, ...) was given 1 argument"),
        ("abs()", 1, "abs(x) was given 0 arguments"),
        ("round(qty, 1, 2)", 1, "round(x, n) was given 3 arguments"),
        ("round(qty, qty)", 7, "round(x, n): n is a whole number from -20 to 34"),
        ("round(qty, 0.5)", 7, "round(x, n): n is a whole number from -20 to 34"),
        ("ifnull(qty * 2, 0)", 8, "ifnull(x, y): x is a field"),
        ("1e7000", 1, "1e7000 is more than a decimal of 34 digits holds"),
        ("0." + "1" * 35, 1, "is more than a decimal of 34 digits holds"),
        ("(" * 100 + "qty" + ")" * 100, 81, "nested too deeply"),
        ("-" * 100 + "qty", 81, "nested too deeply"),
    ],
)
def test_an_error_names_its_column(text: str, column: int, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)

    assert caught.value.message.startswith(f"amount expression, column {column}: ")
    assert said in caught.value.message
    assert caught.value.details["column"] == column
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("$qty", "without a dollar"),
        ("'unit price'", "backquotes"),
        ("unit price", "backquotes"),
        ("10%", "0.10 * price"),
        ("1,5", "0.5"),
        ("rond(x, 2)", "'round'"),
        ("sqrt(x)", "abs, round, floor, ceil, min, max, ifnull"),
        ("", "qty * price"),
        (" ", "qty * price"),
    ],
)
def test_an_error_says_what_to_write(text: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)

    assert hint in (caught.value.hint or "")


def test_an_expression_has_a_size_that_a_server_takes(sync_db: Documents) -> None:
    with pytest.raises(UsageError, match="2001 characters"):
        parse("a" * (LONGEST + 1))
    with pytest.raises(UsageError, match="nested too deeply for a server"):
        parse("/".join("a" * 60))

    deepest = max(count for count in range(1, 60) if _fits("/".join("a" * count)))
    assert deepest > 10
    assert computed(sync_db, "/".join("a" * deepest), {"a": 1}) == [1]
    assert DEEPEST < 200
    # A chain of sums or products is one operation, however long.
    assert computed(sync_db, " + ".join("a" * 400), {"a": 1}) == [400]


def _fits(text: str) -> bool:
    try:
        parse(text)
    except UsageError:
        return False
    return True


@given(st.text(st.sampled_from("ab.1 2+-*/%(),`$'x\n\\\0min()roundé"), max_size=30))
def test_any_text_is_an_expression_or_a_usage_error(text: str) -> None:
    try:
        found = parse(text)
    except UsageError:
        return
    assert isinstance(found, dict)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("amount / 1.19", True),
        ("amount / qty", True),
        ("-(amount / 3) + 1", True),
        ("min(amount / 3, 5)", True),
        ("round(amount / 3, 2) / 3", True),
        ("amount / (1 / 4)", True),
        ("amount * 0.19", False),
        ("(net + tax) / 100", False),
        ("amount / 1.25", False),
        ("amount % 3", False),
        ("round(amount / 1.19, 2)", False),
        ("floor(amount / 3)", False),
    ],
)
def test_a_quotient_may_have_no_last_digit(text: str, found: bool) -> None:
    assert quotients(parse(text)) is found
