"""Products: what each costs and how many are there, read from whatever a collection holds.

Owns how a product is named, read and shown, and the changes that are about one product alone. That an order
and its stock change together, or not at all, is `orders`; no stock goes below zero through either.
"""

from __future__ import annotations

import shlex
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pymongo
from bson import Decimal128, Int64, ObjectId
from pymongo import ReadPreference, ReturnDocument, WriteConcern
from pymongo.errors import (
    ConnectionFailure,
    DuplicateKeyError,
    PyMongoError,
    ServerSelectionTimeoutError,
    WriteConcernError,
)

from motorctl import errors
from motorctl.core import driver, money
from motorctl.core.transactions import LONGEST
from motorctl.errors import NotFoundError, OutcomeUnknownError, RefusedError, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
    from decimal import Decimal

    from motorctl.client import Collection, Database
    from motorctl.core.records import Query

INVENTORY = "inventory"
MOST = 2**53 - 1
"""Pieces at most: programs that read a stock as a double count them exactly up to there (IEEE 754, binary64)."""

_INT64 = 2**63 - 1


# ---- names and numbers


def candidates(typed: str) -> list[Any]:
    """Return the ids that a typed one may mean: the text, the ObjectId or the whole number that it may be."""
    found: list[Any] = [typed]
    if ObjectId.is_valid(typed):
        found.append(ObjectId(typed))
    if typed.isascii() and typed.isdecimal() and str(int(typed)) == typed and int(typed) <= _INT64:
        found.append(Int64(int(typed)))
    return found


def new_id(typed: str) -> str | ObjectId:
    """Return the id that something new gets: an ObjectId of 24 hexadecimal digits, else the text.

    Raises UsageError (2) for a text that is empty, can't be told from another one on a screen, or would be
    taken for an option when it is typed again.
    """
    if not typed or typed != typed.strip() or not typed.isprintable() or typed.startswith("-"):
        raise UsageError(
            f"{typed!r} is no id", hint="an id is printable text without blanks around it, and no - before it"
        )
    return ObjectId(typed) if ObjectId.is_valid(typed) else typed


def meant(
    typed: str, documents: Iterable[Mapping[str, Any]], noun: str = "product"
) -> Mapping[str, Any] | None:
    """Return which of the documents a typed id means. Raises RefusedError (6) where there are two."""
    known = candidates(typed)
    found = [document for document in documents if same_id(document["_id"], known)]
    if len(found) > 1:
        types = " and ".join(sorted(type(document["_id"]).__name__ for document in found))
        raise RefusedError(
            f"{noun} {typed} is there twice, with ids of the types {types}",
            hint="give one of them another id",
            **{noun: typed},
        )
    return found[0] if found else None


def same_id(id: Any, known: Iterable[Any]) -> bool:
    """Tell whether an id is one of `known`; a boolean is no number here."""
    return not isinstance(id, bool) and any(id == one for one in known)


def whole(stored: Any) -> int | None:
    """Return the whole number that a stored one is, whatever its type; None for what is none.

    A double counts up to 2^53: beyond, it doesn't know its last digit.
    """
    match stored:
        case bool():
            return None
        case int():
            return int(stored)
        case float() if stored.is_integer() and abs(stored) <= MOST:
            return int(stored)
        case Decimal128():
            value = stored.to_decimal()
            if value.is_finite() and abs(value) <= _INT64 and value == value.to_integral_value():
                return int(value)
    return None


def stock(product: Mapping[str, Any]) -> int:
    """Return how many of a product are there. Raises RefusedError (6) where that is no whole number."""
    pieces = whole(product.get("stock"))
    if pieces is None:
        name, there = str(product["_id"]), product.get("stock")
        said = "has no stock" if there is None else f"has a stock of {there}, which is no whole number"
        raise RefusedError(
            f"product {name} {said}",
            hint=f"`motorctl inventory set {shlex.quote(name)} --stock N` sets it",
            product=name,
        )
    return pieces


def price(product: Mapping[str, Any]) -> Decimal | None:
    """Return what a product costs; None where nothing says so. Raises RefusedError (6) for what is no price."""
    stored, name = product.get("price"), str(product["_id"])
    if stored is None:
        return None
    hint = f"`motorctl inventory set {shlex.quote(name)} --price AMOUNT` sets it"
    try:
        value = money.exact(stored, of=f"the price of product {name}")
    except RefusedError as error:
        raise RefusedError(error.message, hint=hint, product=name) from error
    if value < 0:
        raise RefusedError(f"the price of product {name} is below zero: {stored}", hint=hint, product=name)
    return fitting(value)


def price_of(text: str) -> Decimal:
    """Return the price that a text like `4.50` holds; 0 is one too. Raises UsageError (2)."""
    return fitting(money.amount(text, zero=True))


def fitting(value: Decimal) -> Decimal:
    """Return a price or an amount with the digits it has, and two behind the point at least.

    An inventory names no currency: 4.5 is 4.50, a price of 0.005 keeps its three digits, and nothing is rounded.
    """
    return money.exact(money.stored(value), places=money.DIGITS)


def plain(value: Any) -> Any:
    """Return a stored amount as it is shown: the exact decimal of a number, and anything else as it is."""
    try:
        return fitting(money.exact(value))
    except RefusedError:
        return value


def plain_stock(product: Mapping[str, Any]) -> Any:
    """Return a stock as it is shown: the whole number that it is, and anything else as it is."""
    pieces = whole(product.get("stock"))
    return product.get("stock") if pieces is None else pieces


def shown(product: Mapping[str, Any]) -> dict[str, Any]:
    """Return a product as users see it: {id, name, price, stock, ...}, null where it has none of them."""
    own = {
        "id": str(product["_id"]),
        "name": product.get("name"),
        "price": plain(product.get("price")),
        "stock": plain_stock(product),
    }
    return {**own, **{name: value for name, value in product.items() if name not in own and name != "_id"}}


# ---- one product


def new(typed: str, name: str | None, price: Decimal | None, stock: int) -> dict[str, Any]:
    """Return the document of a new product. Raises UsageError (2)."""
    document: dict[str, Any] = {"_id": new_id(typed)}
    if name is not None:
        document["name"] = _name(name)
    if price is not None:
        document["price"] = money.stored(price)
    return {**document, "stock": _pieces(stock)}


def changes(name: str | None, price: Decimal | None, stock: int | None) -> dict[str, Any]:
    """Return the fields that a change sets, as they are stored. Raises UsageError (2)."""
    made: dict[str, Any] = {}
    if name is not None:
        made["name"] = _name(name)
    if price is not None:
        made["price"] = money.stored(price)
    if stock is not None:
        made["stock"] = _pieces(stock)
    return made


def primary(db: Database) -> Database:
    """Return the database as it is written to: what a secondary holds of a stock, or an order, may be older."""
    return db.with_options(read_preference=ReadPreference.PRIMARY)


async def get(db: Database, typed: str) -> dict[str, Any]:
    """Return one product's document. Raises NotFoundError (5)."""
    cursor = primary(db)[INVENTORY].find({"_id": {"$in": candidates(typed)}})
    documents = [found async for found in cursor]
    found = meant(typed, documents)
    if found is None:
        raise unknown(typed)
    return dict(found)


async def find(db: Database, query: Query) -> AsyncIterator[dict[str, Any]]:
    """Yield products as they are shown; in the order of their ids, unless the query says another one."""
    cursor = (
        db[INVENTORY].find(query.filter, batch_size=driver.LIST_BATCH).sort(list(query.sort or [("_id", 1)]))
    )
    async for document in cursor.skip(query.skip).limit(query.limit):
        yield shown(document)


async def free(db: Database, typed: str) -> None:
    """Raise DuplicateKeyError (6) where a product has this id already, of whichever type."""
    if await primary(db)[INVENTORY].find_one({"_id": {"$in": candidates(typed)}}, {"_id": 1}) is not None:
        raise _taken(typed)


async def add(
    db: Database, typed: str, document: Mapping[str, Any], *, seconds: float = LONGEST
) -> dict[str, Any]:
    """Insert a document made by `new`. Raises DuplicateKeyError (6) for an id that is taken.

    Not to be tried again by the caller: whether the id that is taken is one's own could not be told. Raises
    OutcomeUnknownError (9) when the answer stays out for so many seconds.
    """
    await free(db, typed)
    try:
        with _once(typed, seconds, "whether the product was added is not known"):
            await _confirmed(db).insert_one(dict(document))
    except DuplicateKeyError as error:
        if "_id" not in (error.details or {}).get("keyPattern", {"_id": 1}):
            raise
        raise _taken(typed) from error
    return dict(document)


async def set_(
    db: Database, typed: str, fields: Mapping[str, Any], *, seconds: float = LONGEST
) -> dict[str, Any]:
    """Set the fields that `changes` made and return the product after. Raises NotFoundError (5).

    May run twice: a stock isn't sent twice, for what was sold meanwhile would be there again. It is
    OutcomeUnknownError (9) when the answer stays out for so many seconds.
    """
    before = await get(db, typed)
    chosen, operations = {"_id": before["_id"]}, {"$set": dict(fields)}
    after: dict[str, Any] | None
    if "stock" in fields:
        sentence = f"whether the stock was set to {fields['stock']} is not known"
        with _once(typed, seconds, sentence, stock_before=plain_stock(before)):
            after = await _confirmed(db).find_one_and_update(
                chosen, operations, return_document=ReturnDocument.AFTER
            )
    else:
        after = await db[INVENTORY].find_one_and_update(
            chosen, operations, return_document=ReturnDocument.AFTER
        )
    if after is None:
        raise unknown(typed)
    return after


def moved(product: Mapping[str, Any], by: int) -> int:
    """Return what the stock is with `by` pieces more. Raises RefusedError (6) below zero and beyond `MOST`."""
    there = stock(product)
    if not 0 <= there + by <= MOST:
        limit = "fewer than none" if there + by < 0 else f"more than {MOST}"
        raise RefusedError(
            f"product {product['_id']} has {there} in stock: with {by:+} that is {limit}",
            product=str(product["_id"]),
            stock=there,
        )
    return there + by


async def move(
    db: Database, typed: str, by: int, fields: Mapping[str, Any] | None = None, *, seconds: float = LONGEST
) -> dict[str, Any]:
    """Add `by` pieces to the stock, or take them with a negative number, and set other fields with it.

    One update, guarded: what others sell or add meanwhile counts, and it never goes below zero. Not to be
    tried again: raises OutcomeUnknownError (9) when its answer stays out for so many seconds. Raises
    NotFoundError (5) and RefusedError (6).
    """
    before = await get(db, typed)
    moved(before, by)
    operations: dict[str, Any] = {"$inc": {"stock": Int64(by) if abs(by) >= 2**31 else by}}
    if fields:
        operations["$set"] = dict(fields)
    sentence = f"whether {by:+} was added to the stock is not known: it was {stock(before)} before"
    with _once(typed, seconds, sentence, stock_before=stock(before)):
        after: dict[str, Any] | None = await _confirmed(db).find_one_and_update(
            {"_id": before["_id"], "stock": {"$gte": max(0, -by), "$lte": MOST - max(0, by)}},
            operations,
            return_document=ReturnDocument.AFTER,
        )
    if after is None:
        # It has changed since it was read: the look that follows says how.
        moved(await get(db, typed), by)
        raise RefusedError(f"the stock of product {typed} changed meanwhile", hint="run it again")
    return after


def unknown(typed: str) -> NotFoundError:
    """Make the error of a product that isn't there, as it was typed."""
    return NotFoundError(
        f"no product {typed}", hint="`motorctl inventory list` shows what is there", product=typed
    )


def _taken(typed: str) -> errors.DuplicateKeyError:
    return errors.DuplicateKeyError(
        f"product {typed} is there already",
        hint=f"`motorctl inventory set {shlex.quote(typed)}` changes it",
        product=typed,
        field="_id",
    )


def _confirmed(db: Database) -> Collection:
    """Return the collection for a change of a stock: no failover takes back what somebody was told of."""
    return db.get_collection(INVENTORY, write_concern=WriteConcern("majority"))


@contextmanager
def _once(typed: str, seconds: float, sentence: str, **details: Any) -> Iterator[None]:
    """Limit a write that isn't to be repeated; raise OutcomeUnknownError (9) where nobody says what became of it.

    The driver repeats it within the limit, and the server knows it again.
    """
    try:
        with pymongo.timeout(seconds):
            yield
    except ServerSelectionTimeoutError:
        raise  # it was never sent
    except PyMongoError as error:
        if not (error.timeout or isinstance(error, (ConnectionFailure, WriteConcernError))):
            raise
        raise OutcomeUnknownError(
            f"no confirmation came: {sentence}",
            hint=f"look before you repeat it: motorctl inventory get {shlex.quote(typed)}",
            product=typed,
            **details,
        ) from error


def _name(name: str) -> str:
    if not name.strip():
        raise UsageError("a name has at least one character")
    return name


def _pieces(stock: int) -> int:
    if not 0 <= stock <= MOST:
        raise UsageError(f"a stock is from 0 to {MOST}")
    return stock
