"""The status machine of orders, and the one transaction of each step: the status, and the stock that goes back.

    pending -> completed | cancelled        completed -> refunded

`plan` is pure; a dry run asks it too. The order is changed before the stock: of two who cancel it, one learns
there that the other was first.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pymongo import UpdateOne

from motorctl.core import driver, inventory, transactions
from motorctl.core.inventory import INVENTORY
from motorctl.core.orders import document
from motorctl.core.orders.document import ORDERS
from motorctl.core.orders.place import pieces
from motorctl.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from motorctl.client import Database

Verb = Literal["complete", "cancel", "refund"]

LEADS_TO: Mapping[Verb, str] = {"complete": "completed", "cancel": "cancelled", "refund": "refunded"}
LEGAL: Mapping[str, tuple[Verb, ...]] = {
    "pending": ("complete", "cancel"),
    "completed": ("refund",),
    "cancelled": (),
    "refunded": (),
}
"""Which steps an order of a status can take."""


@dataclass(frozen=True)
class Step:
    """What is to become of an order; `restock`: its pieces go back into the stock."""

    verb: Verb
    restock: bool = False


@dataclass(frozen=True)
class Found:
    """What one snapshot holds: the order, the products that it names, and the server's clock."""

    order: Mapping[str, Any]
    moment: datetime
    products: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Plan:
    """The order after the step, the fields that change, and how many pieces go back to which product.

    `before` is the status that it was planned for.
    """

    order: Mapping[str, Any]
    before: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    back: Sequence[tuple[Any, int]] = ()

    @property
    def replayed(self) -> bool:
        """Whether the order was so already, and nothing is written."""
        return not self.fields


def plan(step: Step, found: Found) -> Plan:
    """Decide on a step by what a snapshot holds.

    Raises RefusedError (6) for a step that isn't legal, and where the pieces can't go back: the order doesn't
    say what it is of, or the inventory has no such product any more.
    """
    order, status, after = found.order, str(found.order.get("status")), LEADS_TO[step.verb]
    if status == after:
        return _again(step, order)
    if step.verb not in LEGAL.get(status, ()):
        raise _illegal(step.verb, order)
    fields: dict[str, Any] = {"status": after, f"{after}_at": found.moment}
    if step.verb != "complete":
        fields["restocked"] = step.restock
    back = _back(step, order, found.products) if step.restock else ()
    return Plan({**order, **fields}, status, fields, back)


async def take(db: Database, typed: str, step: Step, *, seconds: float) -> Plan:
    """Take a step as one transaction.

    Raises NotFoundError (5), what `plan` raises, and nothing is written; UnreachableError (3) likewise;
    OutcomeUnknownError (9) where the commit's answer stayed out: the same step again is safe.
    """

    async def once(session: Any) -> Plan:
        made = plan(step, await look(db, typed, step, session=session))
        if not made.replayed:
            await write(db, made, session)
        return made

    with document.named(
        typed,
        again="the same command again is safe: it is done once",
        untouched=f"order {typed} is as it was",
    ):
        return await transactions.run(db, once, seconds=seconds)


async def look(db: Database, typed: str, step: Step, *, session: Any = None) -> Found:
    """Read the order that a typed id means, and its products where they are needed. Raises NotFoundError (5)."""
    db, options = inventory.primary(db), {} if session is None else {"session": session}
    pipeline: list[dict[str, Any]] = [
        {"$match": {"_id": {"$in": inventory.candidates(typed)}}},
        {"$replaceWith": {"order": "$$ROOT", "now": "$$NOW"}},
    ]
    found = [one async for one in await driver.aggregate(db[ORDERS], pipeline, **options)]
    order = document.meant(typed, [one["order"] for one in found])
    moment = found[0]["now"]
    if not step.restock or step.verb not in LEGAL.get(str(order.get("status")), ()):
        return Found(order, moment)
    try:
        ids = [line.product for line in document.lines(order)]
    except RefusedError:
        return Found(order, moment)  # the plan says it, unless there is something else to say first
    cursor = db[INVENTORY].find({"_id": {"$in": ids}}, {"stock": 1}, **options)
    return Found(order, moment, [product async for product in cursor])


async def write(db: Database, made: Plan, session: Any) -> None:
    """Change the order and put its pieces back. Raises RefusedError (6) where they aren't as they were read."""
    order = made.order["_id"]
    changed = await db[ORDERS].update_one(
        {"_id": order, "status": made.before}, {"$set": dict(made.fields)}, session=session
    )
    # In one order for all, as when the pieces were taken.
    back = sorted(made.back, key=lambda item: str(item[0]))
    updates = [UpdateOne({"_id": product}, {"$inc": {"stock": pieces(qty)}}) for product, qty in back]
    put = await db[INVENTORY].bulk_write(updates, session=session) if updates else None
    if changed.matched_count != 1 or (put is not None and put.matched_count != len(updates)):
        raise RefusedError(f"order {order} is not what it was when it was read", hint="run it again")


def _again(step: Step, order: Mapping[str, Any]) -> Plan:
    """Return the order that took this step before. Raises RefusedError (6) if its stock went another way then."""
    name, restocked = str(order["_id"]), order.get("restocked")
    # Of what other programs cancelled nothing tells whether the pieces went back: that stays theirs.
    untold = restocked is None and (step.verb == "cancel" or not step.restock)
    if step.verb == "complete" or restocked is step.restock or untold:
        return Plan(order, str(order["status"]))
    said = "by another program, which doesn't say whether its stock was put back"
    if restocked is not None:
        said = f"and its stock was {'' if restocked else 'not '}put back"
    raise RefusedError(
        f"order {name} is {order['status']} already, {said}",
        hint="`motorctl inventory set PRODUCT --add N` changes a stock by hand",
        order=name,
        status=order["status"],
        restocked=restocked,
    )


def _illegal(verb: Verb, order: Mapping[str, Any]) -> RefusedError:
    name, status = str(order["_id"]), order.get("status")
    legal = LEGAL.get(str(status))
    if legal is None:
        said = f"its status is {status!r}, and none of {', '.join(LEGAL)}"
        hint = None
    else:
        said = f"it is {status}"
        hint = (
            f"a {status} order can be {' or '.join(LEADS_TO[one] for one in legal)}: "
            + " or ".join(f"motorctl orders {one} {shlex.quote(name)}" for one in legal)
            if legal
            else f"a {status} order stays so"
        )
    return RefusedError(
        f"order {name} can't be {LEADS_TO[verb]}: {said}",
        hint=hint,
        order=name,
        status=status,
        legal=[LEADS_TO[one] for one in legal or ()],
    )


def _back(
    step: Step, order: Mapping[str, Any], products: Sequence[Mapping[str, Any]]
) -> list[tuple[Any, int]]:
    """Return how many pieces go back to which product: each once."""
    back: list[tuple[Any, int]] = []
    try:
        for line in document.lines(order):
            product = _product(line.product, order, products)
            before = next((qty for other, qty in back if other == product["_id"]), 0)
            inventory.moved(product, before + line.qty)
            back = [one for one in back if one[0] != product["_id"]] + [(product["_id"], before + line.qty)]
    except RefusedError as error:
        hint = (
            "--no-restock cancels it and leaves the stock as it is"
            if step.verb == "cancel"
            else "without --restock it is refunded, and the stock stays as it is"
        )
        raise RefusedError(
            error.message, hint=hint, **{**error.details, "order": str(order["_id"])}
        ) from error
    return back


def _product(id: Any, order: Mapping[str, Any], products: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    for product in products:
        if inventory.same_id(product["_id"], [id]):
            return product
    raise RefusedError(
        f"product {id} of order {order['_id']} is not in the inventory any more", product=str(id)
    )
