"""What an order is, where one is checked before it is written."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from bson import Decimal128, ObjectId
from pydantic import AfterValidator, ConfigDict, Field, model_validator

from motorctl.core.fields import Date, Model

__all__ = ["Order", "OrderLine"]


def _amount(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, Decimal128 | int | float):
        raise ValueError("must be a number")  # noqa: TRY004 - what pydantic takes for a reason
    if not math.isfinite(value.to_decimal() if isinstance(value, Decimal128) else value):
        raise ValueError("must be a finite number")
    return value


def _optional_amount(value: Any) -> Any:
    return value if value is None else _amount(value)


Amount = Annotated[Any, AfterValidator(_amount)]
OptionalAmount = Annotated[Any, AfterValidator(_optional_amount)]
Quantity = Annotated[int, Field(strict=True, gt=0)]
Flag = Annotated[bool, Field(strict=True)]


class _Pieces(Model):
    """`qty` pieces of a product, named by `product_id` or `product`, or both, and what they cost together.

    `amount` and `price`, of one piece, are Decimal128 where this program wrote them, a double or an integer in
    collections that exist. `price_given`: the price was asked for, whatever the inventory said.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    product_id: Any = None
    product: Any = None
    qty: Quantity
    price: OptionalAmount = None
    amount: Amount
    price_given: Flag | None = None

    def has_product(self) -> bool:
        return self.product_id is not None or self.product is not None


class OrderLine(_Pieces):
    """One product of an order of several."""

    @model_validator(mode="after")
    def _names_it(self) -> OrderLine:
        if not self.has_product():
            raise ValueError("neither product_id nor product is given")
        return self


class Order(_Pieces):
    """An order of one product, or of several, each with a line in `lines`.

    With lines, `qty` and `amount` are their sums. `restocked`: whether a cancelled or refunded order's pieces
    were put back.
    """

    user_id: ObjectId
    status: Literal["pending", "completed", "cancelled", "refunded"]
    created_at: Date
    lines: Annotated[list[OrderLine], Field(min_length=1)] | None = None
    completed_at: Date | None = None
    cancelled_at: Date | None = None
    refunded_at: Date | None = None
    restocked: Flag | None = None

    @model_validator(mode="after")
    def _has_product(self) -> Order:
        if not self.has_product() and self.lines is None:
            raise ValueError("neither product_id nor product is given")
        return self
