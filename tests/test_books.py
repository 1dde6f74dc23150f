"""The auditor of the tests: it is content with books that are in order, and names what isn't."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import books
import pytest
from books import Books, differences
from bson import Decimal128, Int64

if TYPE_CHECKING:
    from collections.abc import Callable

    import pymongo

    SyncDatabase = pymongo.database.Database[dict[str, Any]]

WHEN = datetime(2026, 11, 21, tzinfo=UTC)


def account(id: str, balance: Any, opening: str | None, entries: int) -> dict[str, Any]:
    known = {} if opening is None else {"opening": Decimal128(opening), "entries": entries}
    return {"_id": id, "currency": "EUR", "balance": balance, **known}


def record(
    key: str, sides: str, amount: Any, after: tuple[str, str], entries: tuple[int, int]
) -> dict[str, Any]:
    return {
        "_id": key,
        "from": sides[0],
        "to": sides[1],
        "amount": amount,
        "created_at": WHEN,
        **dict(zip(("from_balance", "to_balance"), map(Decimal128, after), strict=True)),
        **dict(zip(("from_entry", "to_entry"), entries, strict=True)),
    }


def in_order() -> Books:
    """Two accounts of ours, one that was there before and one that was never moved; a reversal; a foreign record."""
    accounts = [
        account("a", Decimal128("85.00"), "100.00", 2),
        account("b", Decimal128("20.00"), "10.00", 3),
        account("c", Decimal128("6.00"), "1", 1),
        account("d", 7.25, None, 0),
    ]
    transfers = [
        record("t1", "ab", Decimal128("20.00"), ("80.00", "30.00"), (1, 1)),
        record("t2", "bc", Int64(5), ("25.00", "6.00"), (2, 1)),
        record("t3", "ba", Decimal128("5.00"), ("20.00", "85.00"), (3, 2)),
    ]
    return Books({a["_id"]: a for a in accounts}, {t["_id"]: t for t in transfers})


def test_books_in_order_have_no_differences() -> None:
    assert differences(in_order()) == []


def test_numbers_of_all_types_are_the_same_numbers() -> None:
    assert books.number(0.1) == books.number(Decimal128("0.1")) == books.number(Decimal128("0.10"))
    assert books.number(3) == books.number(Int64(3)) == books.number(Decimal128("3E0"))
    with pytest.raises(AssertionError):
        books.number(True)
    with pytest.raises(AssertionError):
        books.number("3")


def changed(of: str, name: str, **fields: Any) -> Callable[[Books], None]:
    def change(found: Books) -> None:
        documents: Any = getattr(found, of)
        documents[name] = {**documents[name], **fields}

    return change


def without(of: str, name: str, *fields: str) -> Callable[[Books], None]:
    def change(found: Books) -> None:
        documents: Any = getattr(found, of)
        if fields:
            documents[name] = {f: value for f, value in documents[name].items() if f not in fields}
        else:
            del documents[name]

    return change


def added(name: str, **fields: Any) -> Callable[[Books], None]:
    def change(found: Books) -> None:
        documents: Any = found.transfers
        documents[name] = {"_id": name, "from": "a", "to": "b", "amount": Decimal128("5.00"), **fields}

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (changed("accounts", "a", balance=Decimal128("85.01")), "a holds 85.01, not 85.0"),
        (changed("accounts", "a", balance=Decimal128("-1")), "a holds -1"),
        (changed("accounts", "a", entries=1), "a says that it has 1 entries, the ledger has 2"),
        (changed("accounts", "a", currency="USD"), "t1 is between two currencies"),
        (without("accounts", "a", "opening"), "a has entries and no opening"),
        (without("accounts", "c"), "t2 names c, which is no account"),
        (without("transfers", "t1"), "a has the entries [2]: one is missing"),
        (changed("transfers", "t1", amount=Decimal128("20.01")), "a had 79.99 after entry 1, not 80.0"),
        (changed("transfers", "t1", from_balance=Decimal128("81")), "a had 80.0 after entry 1, not 81.0"),
        (changed("transfers", "t1", to_balance=Decimal128("-1")), "t1 leaves less than nothing"),
        (changed("transfers", "t3", from_entry=2), "t3 is entry 2 of b, which another transfer is too"),
        (
            without("transfers", "t3", "to_entry"),
            "t3 has some of from_entry, to_entry, from_balance, to_balance, and not all",
        ),
        (changed("transfers", "t1", amount=Decimal128("0")), "t1 moves 0"),
        (changed("transfers", "t1", to="a"), "t1 moves from a to itself"),
        (changed("transfers", "t3", reverses="t2"), "t3 does not go the way back of t2"),
        (changed("transfers", "t3", reverses="t1"), "t3 takes back another amount than t1 has moved"),
        (changed("transfers", "t3", reverses="t9"), "t3 reverses t9, which is not there"),
        (added("foreign"), "a holds 85.00, not 80.0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_out_of_order_is_named(change: Callable[[Books], None], sentence: str) -> None:
    found = in_order()
    change(found)
    assert sentence in differences(found)


def test_a_second_reversal_and_a_reversal_of_a_reversal_are_named() -> None:
    found = in_order()
    documents: Any = found.transfers
    back = {"from": "b", "to": "a", "amount": Decimal128("20.00"), "reverses": "t1"}
    documents |= {"r1": {"_id": "r1", **back}, "r2": {"_id": "r2", **back}}
    documents["r3"] = {"_id": "r3", **back, "from": "a", "to": "b", "reverses": "r1"}
    said = differences(found)
    assert "t1 is reversed by both r1 and r2" in said
    assert "r3 reverses r1, which is a reversal" in said


def test_a_stock_below_zero_is_named() -> None:
    assert differences(Books({}, {}, {"tea": {"_id": "tea", "stock": -1}})) == ["tea has a stock of -1"]


def test_the_books_are_read_in_one_snapshot(sync_db: SyncDatabase) -> None:
    found = in_order()
    sync_db.accounts.insert_many(dict(one) for one in found.accounts.values())
    sync_db.transfers.insert_many(dict(one) for one in found.transfers.values())
    read = books.read(sync_db)
    assert differences(read) == []
    assert (dict(read.accounts), dict(read.transfers)) == (found.accounts, found.transfers)
    assert read.total() == books.number(Decimal128("118.25"))
