"""An order as it is asked for, and the one transaction that takes the stock and inserts it, once per key.

`plan` is pure and decides everything; a dry run asks it too. A transaction is four round trips: the products are
read, the stock is taken, the order is inserted, the commit; a key that others may have used is read before. The
stock goes before the insert: of many who want the last piece, all but one learn it there. (One aggregation for
all that is read would save little: `$unionWith` is not allowed in a transaction, `$lookup` not on shards.)
"""

from __future__ import annotations

import asyncio
import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bson import Int64, ObjectId
from pymongo import UpdateOne
from pymongo.errors import DuplicateKeyError

from motorctl.core import inventory, money, transactions
from motorctl.core.inventory import INVENTORY
from motorctl.core.orders import document
from motorctl.core.orders.document import ORDERS
from motorctl.errors import NotFoundError, RefusedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal

    from motorctl.client import Database

USERS = "users"
MOST_LINES = 1000
"""Products in one order at most: with the writes of more, a transaction is no longer a short one."""

_LINE = re.compile(r"(?P<product>.+):(?P<qty>\d{1,16})(?:@(?P<price>[^:@]*))?", re.ASCII | re.DOTALL)


@dataclass(frozen=True)
class Wanted:
    """So many pieces of a product, named as it was typed; at a price that is given, or the inventory's."""

    product: str
    qty: int
    price: Decimal | None = None


@dataclass(frozen=True)
class Request:
    """What is ordered, by whom, once under this key, which is the order's `_id`."""

    key: str | ObjectId
    user: ObjectId
    lines: tuple[Wanted, ...]
    key_made: bool = False
    """The key was made for this request: no order has it yet."""


@dataclass(frozen=True)
class Found:
    """What one snapshot holds of what a request names."""

    order: Mapping[str, Any] | None = None
    user: bool = False
    products: Sequence[Mapping[str, Any]] = ()
    moment: datetime | None = None
    """The server's clock; None where nothing at all was found."""


@dataclass(frozen=True)
class Plan:
    """The order, new or found, and how many pieces of which product it takes; none of one that was found."""

    order: Mapping[str, Any]
    taken: Mapping[Any, int] = field(default_factory=dict)
    replayed: bool = False


def user(typed: str) -> ObjectId:
    """Return the id of a user. Raises UsageError (2)."""
    if not ObjectId.is_valid(typed):
        raise UsageError(
            f"{typed!r} is not the id of a user",
            hint="it has 24 hexadecimal digits: `motorctl users list` shows them",
        )
    return ObjectId(typed)


def line_of(text: str) -> Wanted:
    """Return what `tea:2` or `tea:2@4.50` asks for; the product is all before the last colon. Raises UsageError (2)."""
    match = _LINE.fullmatch(text)
    if match is None:
        raise UsageError(
            f"--line: {text!r} is not ID:N", hint="two of the product tea: tea:2, or tea:2@4.50 at a price"
        )
    price = match["price"]
    return Wanted(match["product"], int(match["qty"]), None if price is None else inventory.price_of(price))


def request(key: str | None, user: ObjectId, lines: Sequence[Wanted]) -> Request:
    """Return a request that can be carried out, with a key of its own where none is given.

    Raises UsageError (2) for lines that make no order.
    """
    if not lines:
        raise UsageError("an order is of one product at least: --product ID --qty N, or --line ID:N")
    if len(lines) > MOST_LINES:
        raise UsageError(f"an order has {MOST_LINES:,} lines at most")
    seen: dict[str, int] = {}
    for line in lines:
        if not 0 < line.qty <= inventory.MOST:
            raise UsageError(f"{line.product}: a quantity is from 1 to {inventory.MOST}")
        if line.product in seen:
            raise UsageError(
                f"product {line.product} is named twice",
                hint=f"if both are meant, it is --line {line.product}:{seen[line.product] + line.qty}",
            )
        seen[line.product] = line.qty
    if sum(seen.values()) > inventory.MOST:
        raise UsageError(f"the quantities of an order add up to {inventory.MOST} at most")
    made = key is None
    return Request(ObjectId() if key is None else inventory.new_id(key), user, tuple(lines), made)


def plan(request: Request, found: Found) -> Plan:
    """Decide on a request by what a snapshot holds.

    An order that has the key is the answer if it is the one that is asked for, whatever became of it since.
    Raises NotFoundError (5) for an unknown user or product, RefusedError (6) for a key of another order, a
    product without a price, and too little stock, with what is there.
    """
    if found.order is not None:
        return _again(request, found.order)
    if not found.user:
        raise NotFoundError(
            f"no user {request.user}", hint="`motorctl users list` shows who is there", user=str(request.user)
        )
    taken: dict[Any, int] = {}
    lines: list[dict[str, Any]] = []
    short: list[dict[str, Any]] = []
    for line in request.lines:
        product = inventory.meant(line.product, found.products)
        if product is None:
            raise inventory.unknown(line.product)
        if product["_id"] in taken:
            raise UsageError(f"product {product['_id']} is named twice, as {line.product} too")
        taken[product["_id"]] = line.qty
        there = inventory.stock(product)
        if there < line.qty:
            short.append({"product": str(product["_id"]), "stock": there, "wanted": line.qty})
        lines.append(_line(line, product))
    if short:
        raise _too_little(short)
    return Plan(_order(request, lines, found.moment), taken)


async def ready(db: Database, user: ObjectId) -> bool:
    """Tell whether the user is there, asking at the same time whether there are transactions. One round trip.

    Outside of the transaction: no order is wrong because its user is deleted while it is placed. Raises what
    `transactions.require` raises.
    """
    _, known = await asyncio.gather(transactions.require(db), _is_user(db, user))
    return known


async def place(db: Database, request: Request, *, user: bool, seconds: float) -> Plan:
    """Carry a request out as one transaction; the order of the plan is there then, and `replayed` if it was before.

    `user` is what `ready` said. Raises what `plan` raises, and nothing is written; UnreachableError (3) likewise;
    OutcomeUnknownError (9) where the commit's answer stayed out: the key finds the order, or the request can be
    sent again.
    """
    taken = False

    async def once(session: Any) -> Plan:
        nonlocal taken
        made = plan(request, await look(db, request, user=user, session=session))
        if not made.replayed:
            try:
                await write(db, made, session)
            except DuplicateKeyError as error:
                # A find doesn't see the key in a collection that another transaction has just made; the next one does.
                if taken or request.key_made:
                    raise
                taken = True
                raise transactions.OvertakenError("the key is there already") from error
        return made

    key = shlex.quote(str(request.key))
    with document.named(
        str(request.key),
        again=f"the same command with --key {key} is safe, too",
        untouched=f"nothing was ordered; --key {key} may be used again",
    ):
        return await transactions.run(db, once, seconds=seconds)


async def look(db: Database, request: Request, *, user: bool, session: Any = None) -> Found:
    """Read what a request is about: the key, where others may know it, and the products. Writes nothing."""
    db = inventory.primary(db)
    order = None
    if not request.key_made:
        # Another program's order may have the key in another type: `orders get` could not tell them apart.
        typed = str(request.key)
        keys = {"_id": {"$in": inventory.candidates(typed)}}
        order = inventory.meant(typed, [one async for one in db[ORDERS].find(keys, session=session)], "order")
    if order is not None or not user:
        return Found(order, user)
    ids = [one for line in request.lines for one in inventory.candidates(line.product)]
    cursor = db[INVENTORY].find(
        {"_id": {"$in": ids}}, {"price": 1, "stock": 1, "now": "$$NOW"}, session=session
    )
    products = [product async for product in cursor]
    return Found(None, user, products, products[0]["now"] if products else None)


async def _is_user(db: Database, user: ObjectId) -> bool:
    return await inventory.primary(db)[USERS].find_one({"_id": user}, {"_id": 1}) is not None


async def write(db: Database, made: Plan, session: Any) -> None:
    """Take the stock and insert the order. Raises RefusedError (6) where the stock isn't there any more."""
    # In one order for all: two who want the same products meet at the first one.
    taken = sorted(made.taken.items(), key=lambda item: str(item[0]))
    updates = [
        UpdateOne({"_id": product, "stock": {"$gte": qty}}, {"$inc": {"stock": -pieces(qty)}})
        for product, qty in taken
    ]
    done = await db[INVENTORY].bulk_write(updates, session=session)
    if done.matched_count != len(updates):
        raise RefusedError("the stock is not what it was when it was read", hint="run it again")
    await db[ORDERS].insert_one(dict(made.order), session=session)


def pieces(qty: int) -> int:
    """Return a quantity as it is stored: 32 bits, and 64 where it needs them."""
    return qty if qty < 2**31 else Int64(qty)


def _line(line: Wanted, product: Mapping[str, Any]) -> dict[str, Any]:
    price = inventory.price(product) if line.price is None else line.price
    if price is None:
        name = str(product["_id"])
        raise RefusedError(
            f"product {name} has no price",
            hint=f"--price says what one piece costs, `motorctl inventory set {shlex.quote(name)} --price AMOUNT` for all orders",
            product=name,
        )
    made = {
        "product_id": product["_id"],
        "qty": pieces(line.qty),
        "price": money.stored(price),
        "amount": money.stored(inventory.fitting(money.times(price, line.qty))),
    }
    return made if line.price is None else {**made, "price_given": True}


def _order(request: Request, lines: list[dict[str, Any]], moment: datetime | None) -> dict[str, Any]:
    made: dict[str, Any] = {"_id": request.key, "user_id": request.user}
    if len(lines) == 1:
        made |= lines[0]
    else:
        amount = lines[0]["amount"].to_decimal()
        for line in lines[1:]:
            amount = money.added(amount, line["amount"].to_decimal())
        qty = sum(line["qty"] for line in lines)
        made |= {"lines": lines, "qty": pieces(qty), "amount": money.stored(inventory.fitting(amount))}
    return {**made, "status": "pending", "created_at": moment}


def _too_little(short: Sequence[Mapping[str, Any]]) -> RefusedError:
    said = "; ".join(
        f"product {one['product']}: {one['stock']} there, {one['wanted']} wanted" for one in short
    )
    return RefusedError(
        f"too little stock: {said}",
        hint="nothing was ordered: order less, or `motorctl inventory set PRODUCT --add N` when more has come",
        **(short[0] if len(short) == 1 else {}),
        products=list(short),
    )


def _again(request: Request, order: Mapping[str, Any]) -> Plan:
    """Return the order that has the key already. Raises RefusedError (6) if it is another one."""
    parts = order["lines"] if isinstance(order.get("lines"), list) else [order]
    same = order.get("user_id") == request.user and len(parts) == len(request.lines)
    if not (same and all(_same(line, parts) for line in request.lines)):
        raise RefusedError(
            f"the key {request.key} was used for another order",
            hint=f"`motorctl orders get {shlex.quote(str(request.key))}` shows it; another order needs another key",
            order=str(request.key),
        )
    return Plan(order, replayed=True)


def _same(line: Wanted, parts: Sequence[Any]) -> bool:
    """Tell whether one of an order's parts is what this line asks for; a product is in one part only."""
    known = inventory.candidates(line.product)
    for part in parts:
        if isinstance(part, dict) and inventory.same_id(part.get("product_id"), known):
            given = part.get("price_given") is True
            if inventory.whole(part.get("qty")) != line.qty or given is (line.price is None):
                return False
            return line.price is None or bool(inventory.plain(part.get("price")) == line.price)
    return False
