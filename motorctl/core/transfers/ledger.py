"""How accounts and records stand in the database: read into plain values, and shown. Asks no server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from bson import Binary, Int64, ObjectId

from motorctl.core import money
from motorctl.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

ACCOUNTS = "accounts"
TRANSFERS = "transfers"
ACCOUNT_FIELDS = {"owner": 1, "currency": 1, "balance": 1, "status": 1, "entries": 1, "opening": 1}
REVERSAL = "/reversal"
"""What a reversal's key has behind the key of the transfer that it takes back."""


@dataclass(frozen=True)
class Account:
    """An account as it was read: `balance` is exact; `opening` is None before its first transfer by this program."""

    id: Any
    balance: Decimal
    currency: str | None = None
    status: str = "open"
    entries: int = 0
    opening: Decimal | None = None
    stored: Any = None
    """The balance as it stands there: a Decimal128, an int or a double."""
    adopted: bool = False
    """Whether `opening` was worked out just now, and has to be written with the first transfer."""


def account(document: Mapping[str, Any]) -> Account:
    """Read an account's document. Raises RefusedError (6), which names it, for one that no money can move on."""
    name, currency = text(document["_id"]), document.get("currency")
    if currency is not None and not isinstance(currency, str):
        raise RefusedError(f"the currency of account {name} is no text: {currency}", account=name)
    entries = document.get("entries") or 0
    if isinstance(entries, bool) or not isinstance(entries, int):
        raise RefusedError(f"the field entries of account {name} is no number: {entries}", account=name)
    return Account(
        id=document["_id"],
        balance=_number(document, "balance", currency),
        currency=currency or None,
        status=str(document.get("status") or "open"),
        entries=int(entries),
        opening=None if document.get("opening") is None else _number(document, "opening", currency),
        stored=document.get("balance"),
    )


def candidates(id: Any) -> list[Any]:
    """Return the ids that a typed one may mean: the text, and what it may be the text of.

    The 24 digits of an ObjectId, a whole number, a UUID. What isn't text is itself.
    """
    if not isinstance(id, str):
        return [id]
    found: list[Any] = [id]
    if ObjectId.is_valid(id):
        found.append(ObjectId(id))
    if id.isascii() and id.isdigit() and len(id) < 20 and str(int(id)) == id and int(id) < 2**63:
        found.append(Int64(id))
    if len(id) == 36 and (uuid := _uuid(id)) is not None:
        found.append(Binary.from_uuid(uuid))
    return found


def text(id: Any) -> str:
    """Return an id as users see and type it."""
    return str(id.as_uuid()) if isinstance(id, Binary) and id.subtype == 4 and len(id) == 16 else str(id)


def shown(record: Mapping[str, Any], *, replayed: bool = False, status: str = "committed") -> dict[str, Any]:
    """Return a ledger record as users see it.

    `amount` and the balances after it are Decimals; of a record that another program made they may be
    missing (None) or, where they are no exact numbers, texts.
    """
    row: dict[str, Any] = {
        "key": text(record["_id"]),
        "from": text(record.get("from", "")),
        "to": text(record.get("to", "")),
        "amount": _shown(record.get("amount")),
        "status": status,
        "replayed": replayed,
        "from_balance": _shown(record.get("from_balance")),
        "to_balance": _shown(record.get("to_balance")),
    }
    for name in ("currency", "note", "reverses"):
        if record.get(name) is not None:
            row[name] = record[name]
    return {**row, "created_at": record.get("created_at")}


def _shown(stored: Any) -> Decimal | str | None:
    if stored is None:
        return None
    try:
        return money.exact(stored)
    except RefusedError:
        return str(stored)


def _number(document: Mapping[str, Any], field: str, currency: str | None) -> Decimal:
    name = text(document["_id"])
    try:
        return money.exact(
            document.get(field), places=money.digits(currency), of=f"the {field} of account {name}"
        )
    except RefusedError as error:
        raise RefusedError(error.message, hint=error.hint, account=name) from error


def _uuid(typed: str) -> UUID | None:
    try:
        found = UUID(typed)
    except ValueError:
        return None
    return found if str(found) == typed.lower() else None
