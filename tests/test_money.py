"""Amounts: what a text, a stored number and a sum are, exactly, or that they are refused."""

from __future__ import annotations

import re
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
from bson import Decimal128, Int64
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from motorctl.core import money
from motorctl.core.currencies import MINOR_UNITS
from motorctl.errors import RefusedError, UsageError

if TYPE_CHECKING:
    from conftest import Runner
    from pymongo.database import Database as SyncDatabase

NINES = "9" * 34


def length(value: Fraction) -> int:
    """Return how many digits a number has when it is written out, without zeros that say nothing."""
    places = 0
    while (value * 10**places).denominator != 1:
        places += 1
    whole = int(abs(value))
    return places + (len(str(whole)) if whole else 0)


@st.composite
def amounts(draw: st.DrawFn, *, signed: bool = False) -> Decimal:
    """Numbers of at most 34 digits, as amounts are: those near the limit often."""
    length = draw(st.one_of(st.integers(1, 12), st.integers(30, 34)))
    digits = draw(st.text("0123456789", min_size=length, max_size=length))
    places = draw(st.integers(0, min(6, length)))
    below = signed and int(digits) > 0 and draw(st.booleans())
    # Not scaleb: like most of Python's operations, that rounds to 28 digits.
    return Decimal((int(below), tuple(int(digit) for digit in digits), -places))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("19.99", "19.99"),
        ("10", "10"),
        (" 10.00\t", "10.00"),
        ("0.01", "0.01"),
        ("007.50", "7.50"),
        (NINES, NINES),
        ("1." + "0" * 32 + "1", "1." + "0" * 32 + "1"),
        ("0" * 40 + "1", "1"),
        ("0." + "1" * 34, "0." + "1" * 34),
        ("\r\n 5 \t", "5"),
    ],
)
def test_an_amount_is_the_number_that_stands_there(text: str, value: str) -> None:
    assert str(money.amount(text)) == value


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "digits with a point"),
        ("NaN", "digits with a point"),
        ("Infinity", "digits with a point"),
        ("0x10", "digits with a point"),
        ("1.2.3", "digits with a point"),
        (".", "digits with a point"),
        ("-5", "no sign"),
        ("−5", "no sign"),  # U+2212
        ("+5", "write 5"),
        (".5", "write 0.5"),
        ("5.", "write 5"),
        ("1e3", "without an exponent"),
        ("1E-2", "without an exponent"),
        ("1,000.00", "write 1000.00"),
        ("1.000,00", "write 1000.00"),
        ("1.000.000", "write 1000000"),
        ("1 000.00", "write 1000.00"),
        ("1\u202f000,00", "write 1000.00"),
        ("1'000.00", "write 1000.00"),
        ("1_000", "write 1000"),
        ("19,99", "write 19.99"),
        ("1,000", "1000, or 1.000"),
        ("€19.99", "currency is the account's: 19.99"),
        ("19.99 EUR", "currency is the account's: 19.99"),
        ("١٩", "with the digits 0 to 9: 19"),
        ("１９.９９", "with the digits 0 to 9: 19.99"),
    ],
)
def test_another_notation_is_refused_with_the_way_to_write_it(text: str, hint: str) -> None:
    with pytest.raises(UsageError, match="is not an amount") as refused:
        money.amount(text)
    assert hint in (refused.value.hint or "")


def test_zero_is_an_amount_only_where_it_is_asked_for() -> None:
    for text in ("0", "0.00", "000"):
        with pytest.raises(UsageError, match="it is more than 0"):
            money.amount(text)
        assert money.amount(text, zero=True) == 0


@pytest.mark.parametrize("text", [NINES + "9", "1" + "0" * 34, "0." + "0" * 34 + "1", "1" * 100_000])
def test_a_35th_digit_is_refused_and_a_long_text_not_repeated(text: str) -> None:
    with pytest.raises(UsageError, match="34 digits") as refused:
        money.amount(text)
    assert len(refused.value.message) < 150


@given(
    st.one_of(st.text(max_size=40), st.from_regex(r"[-+]?[0-9٠-٩]*[.,]?[0-9]*([eE][0-9]+)?", fullmatch=True))
)
@example("0.1").via("a number that no double is")
def test_any_text_is_the_number_it_says_or_refused(text: str) -> None:
    try:
        value = money.amount(text)
    except UsageError:
        return
    assert re.fullmatch(r"[0-9]+(\.[0-9]+)?", text.strip(" \t\r\n"))
    assert Fraction(value) == Fraction(text.strip())
    assert value > 0


@given(st.integers(1, 10**15), st.sampled_from(["{:,.2f}", "{:.2f} EUR", "+{:.2f}", "£{:,.2f}"]))
def test_the_amount_that_a_hint_gives_is_the_one_that_was_meant(cents: int, form: str) -> None:
    meant = Decimal(cents).scaleb(-2)
    text = form.format(meant)
    assume(text != f"{meant:f}")
    with pytest.raises(UsageError) as refused:
        money.amount(text)
    assert money.amount(str(refused.value.hint).rpartition(" ")[2]) == meant


def test_digits_behind_the_point_are_those_of_iso_4217() -> None:
    assert Counter(MINOR_UNITS.values()) == {2: 139, 0: 17, None: 13, 3: 7, 4: 2}
    found = {code: money.digits(code) for code in ("EUR", "jpy", "KWD", "CLF", "ISK", "HUF", "MRU", "UYW")}
    assert found == {"EUR": 2, "jpy": 0, "KWD": 3, "CLF": 4, "ISK": 0, "HUF": 2, "MRU": 2, "UYW": 4}
    # The list says N.A. of metals, and nothing of a word of one's own, or of what isn't even a word.
    others: list[Any] = ["XAU", "XDR", "XXX", "POINTS", "", None, 978]
    assert {money.digits(code) for code in others} == {2}


@given(amounts(), st.sampled_from(["EUR", "JPY", "KWD", "CLF", None]))
def test_an_amount_gets_the_digits_of_its_currency_or_is_refused(
    value: Decimal, currency: str | None
) -> None:
    places = money.digits(currency)
    typed = max(0, -int(value.as_tuple().exponent))
    if typed > places or len(str(int(value)).lstrip("0")) + places > 34:
        with pytest.raises(UsageError):
            money.fitting(value, currency)
    else:
        found = money.fitting(value, currency)
        assert Fraction(found) == Fraction(value)
        assert found.as_tuple().exponent == -places


def test_zeros_behind_the_cents_are_not_cut_off() -> None:
    """10.000 is ten to one reader and ten thousand to another."""
    with pytest.raises(UsageError, match=r"10\.000 has 3 digits behind the point; EUR takes 2") as refused:
        money.fitting(money.amount("10.000"), "EUR")
    assert refused.value.hint == "10.00, if that is meant"
    with pytest.raises(UsageError, match="JPY takes no digits"):
        money.fitting(money.amount("5.00"), "JPY")


@pytest.mark.parametrize(("calculate", "of"), [(money.added, "__add__"), (money.subtracted, "__sub__")])
@given(one=amounts(signed=True), other=amounts(signed=True))
@example(one=Decimal(NINES), other=Decimal(1))
@example(one=Decimal(NINES), other=Decimal("0.01"))
@example(one=Decimal("1E+33"), other=Decimal("0.00"))
@example(one=Decimal("0.00"), other=Decimal("0.00"))
def test_a_sum_is_exact_or_refused(calculate: Any, of: str, one: Decimal, other: Decimal) -> None:
    true = getattr(Fraction(one), of)(Fraction(other))
    if length(true) > 34:
        with pytest.raises(RefusedError, match="more than 34 digits"):
            calculate(one, other)
        return
    found = calculate(one, other)
    assert Fraction(found) == true
    assert re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", money.shown(found))
    assert Fraction(money.shown(found)) == true
    assert not str(found).startswith("-0") or true


@given(amounts(), st.integers(0, 10**9))
def test_a_product_is_exact_or_refused(price: Decimal, count: int) -> None:
    true = Fraction(price) * count
    if length(true) > 34:
        with pytest.raises(RefusedError, match="more than 34 digits"):
            money.times(price, count)
    else:
        assert Fraction(money.times(price, count)) == true


def test_thirty_four_digits_survive_what_python_would_round_to_28() -> None:
    most = Decimal(NINES)
    assert -most != most.copy_negate(), "Python's own minus sign has stopped rounding: the rule can go"
    assert money.subtracted(Decimal(0), most) == most.copy_negate()
    assert money.added(money.subtracted(most, Decimal(1)), Decimal(1)) == most
    assert money.stored(most) == Decimal128(NINES)
    with pytest.raises(RefusedError, match="34 digits"):
        money.stored(Decimal(NINES + "9"))


@pytest.mark.parametrize(
    ("stored", "places", "shown"),
    [
        (Decimal128("19.99"), 2, "19.99"),
        (Decimal128("1E+3"), 2, "1000.00"),
        (Decimal128("1E+3"), None, "1000"),
        (Decimal128("0E-6000"), 2, "0.00"),
        (Decimal128("0E+6000"), 2, "0.00"),
        (Decimal128("-0.00"), 2, "0.00"),
        (Decimal128("-5"), 2, "-5.00"),
        (Decimal128("10.000000"), 2, "10.00"),
        (Decimal128("10.005"), 2, "10.005"),
        (Decimal128("1E+33"), 2, "1" + "0" * 33),
        (Decimal128(NINES), 0, NINES),
        (5, 2, "5.00"),
        (5, 0, "5"),
        (Int64(2**63 - 1), 2, "9223372036854775807.00"),
        (19.99, 2, "19.99"),
        (19.99, None, "19.99"),
        (100.0, 2, "100.00"),
        (-0.0, 2, "0.00"),
        (9999999999999.99, 2, "9999999999999.99"),
    ],
)
def test_a_stored_number_is_the_amount_that_it_is(stored: Any, places: int | None, shown: str) -> None:
    assert money.shown(money.exact(stored, places=places)) == shown


@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        (None, "there is none"),
        (True, "true is no number"),
        ("5", "'5' is no number"),
        (Decimal128("NaN"), "NaN is no number"),
        (Decimal128("sNaN"), "NaN is no number"),
        (Decimal128("-Infinity"), "-Infinity is no number"),
        (float("nan"), "nan is no number"),
        (float("inf"), "inf is no number"),
        (Decimal128("1E+34"), "more than 34 digits"),
        (Decimal128("1E+6111"), "more than 34 digits"),
        (Decimal128("1E-35"), "more than 34 digits"),
        (0.1 + 0.2, "0.30000000000000004 is a double, and as such no exact amount"),
        (19.999, "more digits than its currency's 2"),
        (1e22, "no exact amount"),
        (2.0**53 + 1, "no exact amount"),
        (1e14, "no exact amount"),  # the double after it is 0.015625 away: which cent was it?
    ],
)
def test_what_is_no_exact_amount_is_refused_with_its_place(stored: Any, reason: str) -> None:
    with pytest.raises(RefusedError) as refused:
        money.exact(stored, places=2, of="the balance of account alice")
    assert refused.value.message.startswith("the balance of account alice: ")
    assert reason in refused.value.message


@given(st.integers(-(10**34) + 1, 10**34 - 1), st.one_of(st.integers(-40, 5), st.integers(-6176, 6111)))
def test_every_decimal_of_34_digits_is_read_exactly(coefficient: int, exponent: int) -> None:
    sign, digits = int(coefficient < 0), tuple(int(digit) for digit in str(abs(coefficient)))
    value = Decimal((sign, digits, exponent))
    stored = Decimal128(value)
    if (coefficient and abs(exponent) > 100) or length(Fraction(value)) > 34:
        with pytest.raises(RefusedError):
            money.exact(stored, places=2)
        return
    for places in (None, 2):
        found = money.exact(stored, places=places)
        assert Fraction(found) == Fraction(value)
        assert money.stored(found).to_decimal() == value


@given(st.integers(0, 10**15 - 1))
def test_cents_in_a_double_are_read_as_they_were_written(cents: int) -> None:
    meant = Decimal(cents).scaleb(-2)
    assert str(money.exact(float(meant), places=2)) == f"{meant:.2f}"


@given(st.one_of(st.floats(), st.floats(-1e16, 1e16)))
def test_a_double_is_read_only_where_it_can_be_one_amount_alone(stored: float) -> None:
    try:
        found = money.exact(stored, places=2)
    except RefusedError:
        return
    assert found.as_tuple().exponent == -2
    assert float(found) == stored
    cent = Decimal("0.01")
    assert float(money.added(found, cent)) != stored
    assert float(money.subtracted(found, cent)) != stored


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(amounts(signed=True), min_size=1, max_size=20))
def test_the_server_holds_and_adds_the_same_numbers(
    sync_db: SyncDatabase[dict[str, Any]], values: list[Decimal]
) -> None:
    sync_db.amounts.delete_many({})
    sync_db.amounts.insert_many([{"_id": n, "amount": money.stored(value)} for n, value in enumerate(values)])
    held = list(sync_db.amounts.find({}, sort=[("_id", 1)]))
    assert [Fraction(money.exact(one["amount"])) for one in held] == [Fraction(value) for value in values]
    texts = sync_db.amounts.aggregate(
        [{"$sort": {"_id": 1}}, {"$project": {"text": {"$toString": "$amount"}}}]
    )
    assert [Fraction(one["text"]) for one in texts] == [Fraction(value) for value in values]
    add = {"$group": {"_id": None, "sum": {"$sum": {"$cond": [{"$lt": ["$_id", 2]}, "$amount", 0]}}}}
    [group] = sync_db.amounts.aggregate([add])
    try:
        ours = money.added(values[0], values[1] if len(values) > 1 else Decimal(0))
    except RefusedError:
        return
    assert Fraction(money.exact(group["sum"])) == Fraction(ours)


@pytest.mark.parametrize(
    ("typed", "currency", "kept"), [("9" * 32 + ".99", "EUR", "9" * 32 + ".99"), ("5", "KWD", "5.000")]
)
def test_what_is_typed_is_what_the_database_has(
    cli: Runner, sync_db: SyncDatabase[dict[str, Any]], typed: str, currency: str, kept: str
) -> None:
    done = cli("accounts", "open", "--id", "a", "--balance", typed, "--currency", currency, "-o", "json")
    assert (done.code, done.json()["balance"]) == (0, kept)
    found = sync_db.accounts.find_one({"_id": "a"}) or {}
    assert (found["balance"], found["opening"]) == (Decimal128(kept), Decimal128(kept))
