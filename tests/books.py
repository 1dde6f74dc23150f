"""An auditor who trusts nobody: the accounts and the ledger, read in one snapshot and added up in Python.

Shares no line with `motorctl transfer verify`, and no number type either: everything is a fraction here.
Tests ask it what the books hold and what is wrong with them; it writes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from bson import Decimal128
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pymongo.client_session import ClientSession
    from pymongo.database import Database

    Document = Mapping[str, Any]

__all__ = ["Books", "differences", "number", "read"]


@dataclass(frozen=True)
class Books:
    """What stood in a database at one instant, by `_id`."""

    accounts: Mapping[Any, Document]
    transfers: Mapping[Any, Document]
    inventory: Mapping[Any, Document] = field(default_factory=dict)
    orders: Mapping[Any, Document] = field(default_factory=dict)

    def balance(self, id: Any) -> Fraction:
        return number(self.accounts[id]["balance"])

    def total(self) -> Fraction:
        return sum(map(self.balance, self.accounts), Fraction())

    def stock(self, product: Any) -> int:
        return int(self.inventory[product]["stock"])


def number(stored: Any) -> Fraction:
    """Return a stored number as a fraction: a double as the shortest decimal that reads back as it."""
    match stored:
        case Decimal128():
            return Fraction(stored.to_decimal())
        case float():
            return Fraction(Decimal(repr(stored)))
        case int() if not isinstance(stored, bool):
            return Fraction(int(stored))
        case _:
            raise AssertionError(f"{stored!r} is no number")


def read(db: Database[dict[str, Any]]) -> Books:
    """Read all of it in one snapshot, of what a majority has."""

    def everything(session: ClientSession) -> Books:
        return Books(*({d["_id"]: d for d in db[name].find(session=session)} for name in _COLLECTIONS))

    with db.client.start_session() as session:
        return session.with_transaction(
            everything, read_concern=ReadConcern("snapshot"), write_concern=WriteConcern("majority")
        )


_COLLECTIONS = ("accounts", "transfers", "inventory", "orders")


def differences(books: Books) -> list[str]:
    """Return what is wrong with the books, one sentence each; nothing where they are in order.

    An account is in order if its balance is what it was opened with and all that the ledger has of it, not
    below zero, and its own entries are 1, 2, 3, ... up to its last. One that no transfer of this program has
    moved has no opening: nothing is known of what it should hold.
    """
    return [*_records(books), *_reversals(books), *_accounts(books), *_stock(books)]


def _records(books: Books) -> Iterator[str]:
    for key, record in books.transfers.items():
        sides = record["from"], record["to"]
        if sides[0] == sides[1]:
            yield f"{key} moves from {sides[0]} to itself"
        if number(record["amount"]) <= 0:
            yield f"{key} moves {record['amount']}"
        for side in sides:
            if side not in books.accounts:
                yield f"{key} names {side}, which is no account"
        if len({books.accounts[side].get("currency") for side in sides if side in books.accounts}) > 1:
            yield f"{key} is between two currencies"
        ours = [record.get(name) is not None for name in _OURS]
        if any(ours) != all(ours):
            yield f"{key} has some of {', '.join(_OURS)}, and not all"
        if all(ours) and min(number(record[name]) for name in ("from_balance", "to_balance")) < 0:
            yield f"{key} leaves less than nothing"


_OURS = ("from_entry", "to_entry", "from_balance", "to_balance")


def _reversals(books: Books) -> Iterator[str]:
    # Another program's key may be an ObjectId: `reverses` is a text.
    by_text = {str(key): record for key, record in books.transfers.items()}
    reversed_by: dict[Any, Any] = {}
    for key, record in books.transfers.items():
        if (what := record.get("reverses")) is None:
            continue
        if (first := by_text.get(what)) is None:
            yield f"{key} reverses {what}, which is not there"
            continue
        if (record["from"], record["to"]) != (first["to"], first["from"]):
            yield f"{key} does not go the way back of {what}"
        if number(record["amount"]) != number(first["amount"]):
            yield f"{key} takes back another amount than {what} has moved"
        if first.get("reverses") is not None:
            yield f"{key} reverses {what}, which is a reversal"
        if (other := reversed_by.setdefault(what, key)) != key:
            yield f"{what} is reversed by both {other} and {key}"


def _accounts(books: Books) -> Iterator[str]:
    moved: dict[Any, Fraction] = defaultdict(Fraction)
    entries: dict[Any, dict[int, tuple[Fraction, Fraction]]] = defaultdict(dict)
    foreign: set[Any] = set()
    for key, record in books.transfers.items():
        for side, sign in (("from", -1), ("to", 1)):
            account_id, amount = record[side], sign * number(record["amount"])
            moved[account_id] += amount
            if (entry := record.get(f"{side}_entry")) is None:
                foreign.add(account_id)
            elif entry in entries[account_id]:
                yield f"{key} is entry {entry} of {account_id}, which another transfer is too"
            else:
                entries[account_id][entry] = amount, number(record[f"{side}_balance"])
    for account_id, account in books.accounts.items():
        balance, own = number(account["balance"]), entries[account_id]
        if balance < 0:
            yield f"{account_id} holds {account['balance']}"
        if sorted(own) != list(range(1, len(own) + 1)):
            yield f"{account_id} has the entries {sorted(own)}: one is missing"
        if (account.get("entries") or 0) != len(own):
            yield f"{account_id} says that it has {account.get('entries')} entries, the ledger has {len(own)}"
        if account.get("opening") is None:
            if own:
                yield f"{account_id} has entries and no opening"
            continue
        opening = number(account["opening"])
        if balance != opening + moved[account_id]:
            yield f"{account_id} holds {account['balance']}, not {float(opening + moved[account_id])}"
        if account_id not in foreign:
            # What other programs move stands nowhere in the order of entries: without them, each is known.
            running = opening
            for entry in sorted(own):
                amount, after = own[entry]
                running += amount
                if after != running:
                    yield f"{account_id} had {float(running)} after entry {entry}, not {float(after)}"


def _stock(books: Books) -> Iterator[str]:
    for product_id, product in books.inventory.items():
        if product["stock"] < 0:
            yield f"{product_id} has a stock of {product['stock']}"
