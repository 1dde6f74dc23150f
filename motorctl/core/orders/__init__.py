"""Orders of products: placed against the stock in one transaction, moved on by the steps of one status machine.

    model     what an order is where one is checked before it is written
    document  how one stands in the database: found, read and shown, whoever wrote it
    place     a request, and the one transaction that takes the stock and inserts the order
    steps     pending -> completed or cancelled, completed -> refunded: one transaction each

An order's `_id` is the key that it was placed with, so that placing it again finds it. Of one product it holds
`product_id`, `qty`, `price` and `amount`; of several `lines` of these four, with `qty` and `amount` as their sums.
A price that was asked for, and not taken from the inventory, is marked by `price_given`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from motorctl.core.orders.model import Order

__all__ = ["Order"]


def __getattr__(name: str) -> type[Order]:
    # pydantic takes a tenth of a second to import, and placing an order needs none of it.
    if name != "Order":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from motorctl.core.orders.model import Order

    return Order
