"""What is decided about an order, without a server: amounts, stock, keys, and the steps of the status machine."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from bson import Decimal128, Int64, ObjectId
from hypothesis import given
from hypothesis import strategies as st

from motorctl.core import inventory
from motorctl.core.orders import document, place, steps
from motorctl.core.orders.place import Found, Wanted
from motorctl.core.orders.steps import LEADS_TO, LEGAL, Step, Verb
from motorctl.errors import MotorctlError, NotFoundError, RefusedError, UsageError

Row = dict[str, Any]
ADA = ObjectId("64b7f0c2a1b2c3d4e5f60718")
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
PRICE = Decimal128("4.50")


def planned(
    *lines: Wanted, products: list[Row], order: Row | None = None, user: bool = True, key: str = "k"
) -> place.Plan:
    return place.plan(place.request(key, ADA, lines), Found(order, user, products, NOW))


def tea(price: Any = PRICE, stock: Any = 10, id: Any = "tea") -> Row:
    return {"_id": id, "price": price, "stock": stock}


def refused(error: type[MotorctlError], *lines: Wanted, products: list[Row], **found: Any) -> MotorctlError:
    with pytest.raises(error) as caught:
        planned(*lines, products=products, **found)
    assert type(caught.value) is error
    return caught.value


# ---- an order of one product, and of several


def test_an_order_of_one_product_has_its_fields_and_no_lines() -> None:
    made = planned(Wanted("tea", 2), products=[tea()])

    assert made.order == {
        "_id": "k",
        "user_id": ADA,
        "product_id": "tea",
        "qty": 2,
        "price": Decimal128("4.50"),
        "amount": Decimal128("9.00"),
        "status": "pending",
        "created_at": NOW,
    }
    assert (made.taken, made.replayed) == ({"tea": 2}, False)


def test_an_order_of_several_has_a_line_for_each_and_their_sums() -> None:
    made = planned(
        Wanted("tea", 2),
        Wanted("mug", 3, Decimal("0.005")),
        products=[tea(), tea(9, 3, "mug"), tea(1, 1, "x")],
    )

    assert made.order == {
        "_id": "k",
        "user_id": ADA,
        "lines": [
            {"product_id": "tea", "qty": 2, "price": Decimal128("4.50"), "amount": Decimal128("9.00")},
            {
                "product_id": "mug",
                "qty": 3,
                "price": Decimal128("0.005"),
                "amount": Decimal128("0.015"),
                "price_given": True,
            },
        ],
        "qty": 5,
        "amount": Decimal128("9.015"),
        "status": "pending",
        "created_at": NOW,
    }
    assert made.taken == {"tea": 2, "mug": 3}


@pytest.mark.parametrize(
    ("price", "qty", "shown", "amount"),
    [
        (Decimal128("4.50"), 2, "4.50", "9.00"),
        (Decimal128("4.5"), 2, "4.50", "9.00"),
        (Decimal128("4.500"), 3, "4.50", "13.50"),
        (Decimal128("1E+1"), 1, "10.00", "10.00"),
        (Decimal128("0.005"), 3, "0.005", "0.015"),
        (Decimal128("0.005"), 4, "0.005", "0.02"),
        (Decimal128("0"), 7, "0.00", "0.00"),
        (7, 3, "7.00", "21.00"),
        (Int64(2**40), 2, "1099511627776.00", "2199023255552.00"),
        (0.1, 3, "0.10", "0.30"),
        (19.99, 100, "19.99", "1999.00"),
        (0.125, 1, "0.125", "0.125"),
        (Decimal128("12345678901234567890123456789012.34"), 1, "12345678901234567890123456789012.34",
         "12345678901234567890123456789012.34"),
    ],
)  # fmt: skip
def test_an_amount_is_quantity_times_price_exactly(price: Any, qty: int, shown: str, amount: str) -> None:
    order = planned(Wanted("tea", qty), products=[tea(price, 100)]).order

    assert (order["price"].to_decimal(), order["amount"].to_decimal()) == (Decimal(shown), Decimal(amount))
    told = document.shown(order)
    assert (f"{told['price']:f}", f"{told['amount']:f}") in (
        (shown, amount),
        (shown, f"{Decimal(amount):.2f}"),
    )


def test_an_amount_that_no_decimal_holds_is_refused_and_not_rounded() -> None:
    most = Decimal128("1234567890123456789012345678901234")

    error = refused(RefusedError, Wanted("tea", 11), products=[tea(most, 11)])

    assert "34 digits" in error.message


@pytest.mark.parametrize(
    "price", [0.1 + 0.2, float("nan"), float("inf"), Decimal128("NaN"), "4.50", True, -1]
)
def test_a_price_that_is_none_is_refused_with_the_product(price: Any) -> None:
    error = refused(RefusedError, Wanted("tea", 1), products=[tea(price)])

    assert "the price of product tea" in error.message
    assert error.details["product"] == "tea"
    assert "motorctl inventory set tea --price" in str(error.hint)
    given = planned(Wanted("tea", 1, Decimal("2.00")), products=[tea(price)])
    assert given.order["amount"] == Decimal128("2.00"), "a price that is given asks for no other"


def test_a_product_without_a_price_needs_one() -> None:
    error = refused(RefusedError, Wanted("tea", 1), products=[tea(None)])

    assert error.message == "product tea has no price"
    assert "--price" in str(error.hint)


# ---- stock


@pytest.mark.parametrize("stock", [3, Int64(3), 3.0, Decimal128("3"), Decimal128("3.0")])
def test_any_whole_number_is_a_stock(stock: Any) -> None:
    assert planned(Wanted("tea", 3), products=[tea(stock=stock)]).taken == {"tea": 3}
    error = refused(RefusedError, Wanted("tea", 4), products=[tea(stock=stock)])
    assert error.message == "too little stock: product tea: 3 there, 4 wanted"
    assert error.details["products"] == [{"product": "tea", "stock": 3, "wanted": 4}]


@pytest.mark.parametrize("stock", [3.5, "3", float("nan"), Decimal128("3.5"), True, [3], float(2**53), 1e300])
def test_what_is_no_whole_number_is_no_stock(stock: Any) -> None:
    error = refused(RefusedError, Wanted("tea", 1), products=[tea(stock=stock)])

    assert "which is no whole number" in error.message
    assert "motorctl inventory set tea --stock" in str(error.hint)


def test_no_stock_is_said_as_such() -> None:
    assert (
        refused(RefusedError, Wanted("tea", 1), products=[{"_id": "tea"}]).message
        == "product tea has no stock"
    )


def test_everything_that_is_short_is_told_at_once() -> None:
    products = [tea(stock=1), tea(stock=0, id="mug"), tea(stock=9, id="pot")]

    error = refused(RefusedError, Wanted("tea", 2), Wanted("pot", 9), Wanted("mug", 1), products=products)

    assert error.details["products"] == [
        {"product": "tea", "stock": 1, "wanted": 2},
        {"product": "mug", "stock": 0, "wanted": 1},
    ]


# ---- names


def test_unknown_users_and_products_are_named() -> None:
    nobody = refused(NotFoundError, Wanted("tea", 1), products=[tea()], user=False)
    assert (nobody.message, nobody.details["user"]) == (f"no user {ADA}", str(ADA))
    nothing = refused(NotFoundError, Wanted("tea", 1), Wanted("nix", 1), products=[tea()])
    assert (nothing.message, nothing.details["product"]) == ("no product nix", "nix")


@pytest.mark.parametrize(
    ("typed", "id"),
    [("tea", "tea"), (str(ADA), ADA), ("17", 17), ("17", Int64(17)), ("17", 17.0), ("017", "017")],
)
def test_a_product_is_found_by_what_is_typed_whatever_its_ids_type(typed: str, id: Any) -> None:
    assert planned(Wanted(typed, 1), products=[tea(id=id)]).order["product_id"] == id


def test_a_boolean_is_no_number_one() -> None:
    refused(NotFoundError, Wanted("1", 1), products=[tea(id=True)])


def test_two_products_of_one_name_are_refused() -> None:
    error = refused(RefusedError, Wanted("17", 1), products=[tea(id="17"), tea(id=17)])
    assert error.message == "product 17 is there twice, with ids of the types int and str"


def test_a_product_is_in_an_order_once() -> None:
    with pytest.raises(UsageError) as caught:
        place.request("k", ADA, [Wanted("tea", 2), Wanted("mug", 1), Wanted("tea", 3)])
    assert caught.value.hint == "if both are meant, it is --line tea:5"
    upper, lower = Wanted(str(ADA).upper(), 1), Wanted(str(ADA), 1)
    assert "is named twice" in refused(UsageError, upper, lower, products=[tea(id=ADA)]).message


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "one product at least"),
        ([Wanted("tea", 0)], "a quantity is from 1"),
        ([Wanted("tea", 2**53)], "a quantity is from 1"),
        ([Wanted("tea", 2**53 - 1), Wanted("mug", 1)], "add up"),
        ([Wanted(f"p{i}", 1) for i in range(1001)], "1,000 lines at most"),
    ],
)
def test_what_makes_no_order_is_wrong_usage(lines: list[Wanted], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        place.request("k", ADA, lines)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("tea:2", Wanted("tea", 2)),
        ("tea:2@4.5", Wanted("tea", 2, Decimal("4.50"))),
        ("a:b@c:3", Wanted("a:b@c", 3)),
        ("a:1@2:3@0", Wanted("a:1@2", 3, Decimal("0.00"))),
    ],
)
def test_a_line_is_read_from_its_end(text: str, wanted: Wanted) -> None:
    assert place.line_of(text) == wanted


@pytest.mark.parametrize(
    "text", ["tea", "tea:", ":2", "tea:x", "tea:-1", "tea:2@", "tea:2@-1", "tea:1.5", "tea:٣"]
)
def test_what_is_no_line_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError):
        place.line_of(text)


@pytest.mark.parametrize("key", ["", " k", "k\n", "k\x1b[31m", "\u202ek", "-k"])
def test_a_key_can_be_told_from_another_one(key: str) -> None:
    with pytest.raises(UsageError, match="is no id"):
        place.request(key, ADA, [Wanted("tea", 1)])


def test_a_key_of_24_hexadecimal_digits_is_an_object_id_and_one_is_made_where_none_is_given() -> None:
    line = [Wanted("tea", 1)]
    assert place.request(str(ADA), ADA, line).key == ADA
    assert place.request("basket-7", ADA, line).key == "basket-7"
    made, other = place.request(None, ADA, line), place.request(None, ADA, line)
    assert isinstance(made.key, ObjectId)
    assert (made.key != other.key, made.key_made) == (True, True)


# ---- the same key again


def test_the_same_request_again_is_the_order_whatever_became_of_it() -> None:
    lines = [Wanted("tea", 2), Wanted("mug", 1, Decimal("7.50"))]
    order = planned(*lines, products=[tea(), tea(id="mug")]).order
    later = {**order, "status": "cancelled"}

    for again in (lines, lines[::-1], [lines[0], Wanted("mug", 1, Decimal("7.5"))]):
        made = planned(*again, products=[], order=dict(later), user=False)
        assert (made.order, made.replayed, made.taken) == (later, True, {})


@pytest.mark.parametrize(
    "again",
    [
        [Wanted("tea", 3), Wanted("mug", 1, Decimal("7.50"))],
        [Wanted("tea", 2)],
        [Wanted("tea", 2), Wanted("pot", 1, Decimal("7.50"))],
        [Wanted("tea", 2), Wanted("mug", 1, Decimal("7.51"))],
        [Wanted("tea", 2), Wanted("mug", 1)],
        [Wanted("tea", 2, Decimal("4.50")), Wanted("mug", 1, Decimal("7.50"))],
        [Wanted("tea", 2), Wanted("mug", 1, Decimal("7.50")), Wanted("pot", 1)],
    ],
)
def test_a_key_with_other_arguments_is_refused(again: list[Wanted]) -> None:
    lines = [Wanted("tea", 2), Wanted("mug", 1, Decimal("7.50"))]
    order = dict(planned(*lines, products=[tea(), tea(id="mug")]).order)

    error = refused(RefusedError, *again, products=[tea(), tea(id="mug"), tea(id="pot")], order=order)

    assert error.message == "the key k was used for another order"
    assert error.details["order"] == "k"


def test_a_key_of_another_user_is_refused() -> None:
    order = {**planned(Wanted("tea", 2), products=[tea()]).order, "user_id": ObjectId()}
    refused(RefusedError, Wanted("tea", 2), products=[tea()], order=order)


def test_a_price_that_changed_since_is_the_same_order() -> None:
    order = dict(planned(Wanted("tea", 2), products=[tea()]).order)
    made = planned(Wanted("tea", 2), products=[tea(99)], order=order)
    assert (made.replayed, made.order["amount"]) == (True, Decimal128("9.00"))


# ---- against a plain model

_cents = st.integers(0, 10**6)
_products = st.dictionaries(
    st.sampled_from("abcdef"), st.tuples(_cents, st.integers(0, 20)), min_size=1, max_size=6
)


@given(products=_products, wishes=st.dictionaries(st.sampled_from("abcdefg"), st.integers(1, 20), min_size=1))
def test_a_plan_takes_what_is_there_or_nothing_and_adds_up(
    products: dict[str, tuple[int, int]], wishes: dict[str, int]
) -> None:
    stored = [
        tea(Decimal128(Decimal(cents).scaleb(-2)), stock, name) for name, (cents, stock) in products.items()
    ]
    wanted = [Wanted(name, qty) for name, qty in wishes.items()]
    unknown = [name for name in wishes if name not in products]
    short = [name for name, qty in wishes.items() if name in products and products[name][1] < qty]
    if unknown:
        assert refused(NotFoundError, *wanted, products=stored).details["product"] in unknown
    elif short:
        told = refused(RefusedError, *wanted, products=stored).details["products"]
        assert [one["product"] for one in told] == short
    else:
        made = planned(*wanted, products=stored)
        assert made.taken == wishes
        assert made.order["qty"] == sum(wishes.values())
        cents = sum(products[name][0] * qty for name, qty in wishes.items())
        assert Fraction(made.order["amount"].to_decimal()) == Fraction(cents, 100)
        if len(wishes) > 1:
            lines = sum(Fraction(line["amount"].to_decimal()) for line in made.order["lines"])
            assert lines == Fraction(cents, 100)


# ---- steps


def step(verb: Verb, order: Row, products: list[Row] | None = None, *, restock: bool = False) -> steps.Plan:
    return steps.plan(Step(verb, restock), steps.Found({"_id": "k", **order}, NOW, products or []))


def not_taken(
    verb: Verb, order: Row, products: list[Row] | None = None, *, restock: bool = False
) -> MotorctlError:
    with pytest.raises(RefusedError) as caught:
        step(verb, order, products, restock=restock)
    assert caught.value.details["order"] == "k"
    return caught.value


@pytest.mark.parametrize("status", document.STATUSES)
@pytest.mark.parametrize("verb", LEADS_TO)
def test_the_steps_that_are_legal_and_no_others(verb: Verb, status: str) -> None:
    legal = {("pending", "complete"), ("pending", "cancel"), ("completed", "refund")}
    if (status, verb) in legal:
        made = step(verb, {"status": status})
        assert (made.before, made.replayed, made.back) == (status, False, ())
        assert made.order["status"] == LEADS_TO[verb]
        assert made.order[f"{LEADS_TO[verb]}_at"] == NOW
    elif status == LEADS_TO[verb]:
        made = step(verb, {"status": status})
        assert (made.replayed, made.order) == (True, {"_id": "k", "status": status})
    else:
        error = not_taken(verb, {"status": status})
        assert error.message == f"order k can't be {LEADS_TO[verb]}: it is {status}"
        assert error.details["status"] == status
        assert error.details["legal"] == [LEADS_TO[one] for one in LEGAL[status]]
        for one in LEGAL[status]:
            assert f"motorctl orders {one} k" in str(error.hint)


@pytest.mark.parametrize("status", ["paid", None, 7])
def test_a_status_of_another_program_is_named(status: Any) -> None:
    error = not_taken("complete", {"status": status})
    assert f"its status is {status!r}, and none of pending, completed, cancelled, refunded" in error.message


def test_what_was_taken_goes_back_each_product_once() -> None:
    lines = [{"product_id": "tea", "qty": 2}, {"product": "mug", "qty": 1}, {"product_id": "tea", "qty": 3.0}]

    made = step("cancel", {"status": "pending", "lines": lines}, [tea(), tea(id="mug")], restock=True)

    assert sorted(made.back) == [("mug", 1), ("tea", 5)]
    assert made.fields == {"status": "cancelled", "cancelled_at": NOW, "restocked": True}


@pytest.mark.parametrize(
    ("order", "said"),
    [
        ({"product_id": "gone", "qty": 1}, "product gone of order k is not in the inventory any more"),
        ({"product": "Green tea", "qty": 1}, "product Green tea of order k is not in the inventory any more"),
        ({"product_id": "tea"}, "doesn't say how many, of product tea"),
        ({"product_id": "tea", "qty": 1.5}, "doesn't say how many: its qty is 1.5"),
        ({"product_id": "tea", "qty": 0}, "doesn't say how many: its qty is 0"),
        ({"product_id": "tea", "qty": "2"}, "doesn't say how many: its qty is 2"),
        ({"qty": 2}, "doesn't say which product it is of"),
        ({"lines": []}, "doesn't say which product it is of"),
        ({"lines": ["tea"]}, "doesn't say which product it is of"),
        ({"lines": [{"product_id": "tea", "qty": 1}, {"qty": 1}]}, "doesn't say which product it is of"),
        ({"product_id": "odd", "qty": 1}, "product odd has a stock of 3.5, which is no whole number"),
        ({"product_id": "full", "qty": 1}, f"with +1 that is more than {inventory.MOST}"),
        ({"lines": [{"product_id": "near", "qty": 1}] * 2}, f"with +2 that is more than {inventory.MOST}"),
    ],
)
def test_pieces_that_cannot_go_back_are_named_with_the_way_out(order: Row, said: str) -> None:
    most = inventory.MOST
    products = [tea(), tea(stock=3.5, id="odd"), tea(stock=most, id="full"), tea(stock=most - 1, id="near")]

    cancel = not_taken("cancel", {"status": "pending", **order}, products, restock=True)
    refund = not_taken("refund", {"status": "completed", **order}, products, restock=True)

    assert said in cancel.message
    assert "--no-restock" in str(cancel.hint)
    assert "without --restock" in str(refund.hint)
    assert step("cancel", {"status": "pending", **order}).order["restocked"] is False
    assert step("refund", {"status": "completed", **order}).order["restocked"] is False


@pytest.mark.parametrize(("verb", "status"), [("cancel", "cancelled"), ("refund", "refunded")])
@pytest.mark.parametrize("restocked", [True, False])
def test_a_step_that_was_taken_otherwise_is_told(verb: Verb, status: str, restocked: bool) -> None:
    order = {"status": status, "restocked": restocked}

    assert step(verb, order, restock=restocked).replayed
    error = not_taken(verb, order, restock=not restocked)
    assert f"is {status} already, and its stock was {'' if restocked else 'not '}put back" in error.message


def test_of_what_others_cancelled_nothing_is_claimed() -> None:
    assert step("cancel", {"status": "cancelled"}, restock=True).replayed
    assert step("cancel", {"status": "cancelled"}).replayed
    assert step("refund", {"status": "refunded"}).replayed
    assert "by another program" in not_taken("refund", {"status": "refunded"}, restock=True).message


# ---- the inventory's own rules


def test_a_stock_moves_between_none_and_what_a_double_can_count() -> None:
    assert inventory.moved(tea(stock=3), -3) == 0
    assert inventory.moved(tea(stock=3.0), 2) == 5
    for by, said in ((-4, "fewer than none"), (2**53, "more than")):
        with pytest.raises(RefusedError, match=said):
            inventory.moved(tea(stock=3), by)


@given(st.integers(-(2**63), 2**63 - 1))
def test_whole_numbers_are_whole_in_every_type(number: int) -> None:
    assert inventory.whole(number) == inventory.whole(Int64(number)) == number
    assert inventory.whole(Decimal128(Decimal(number))) == (number if abs(number) < 2**63 else None)
    assert inventory.whole(float(number)) in (number if abs(number) < 2**53 else None, None)
