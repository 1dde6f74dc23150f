"""What an order is, where one is checked before it is written."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from bson import Decimal128, ObjectId
from pydantic import AfterValidator, ConfigDict, Field, model_validator

from motorctl.core.records import Date, Model

__all__ = ["Order"]


def _amount(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, Decimal128 | int | float):
        raise ValueError("must be a number")  # noqa: TRY004  # what pydantic takes for a reason
    if not math.isfinite(value.to_decimal() if isinstance(value, Decimal128) else value):
        raise ValueError("must be a finite number")
    return value


class Order(Model):
    """An order of `qty` pieces of a product, named by `product_id` or `product`, or both.

    `amount` is what they cost together: a Decimal128 where this program wrote it, a double or an integer in
    collections that exist.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    user_id: ObjectId
    product_id: Any = None
    product: Any = None
    qty: Annotated[int, Field(strict=True, gt=0)]
    amount: Annotated[Any, AfterValidator(_amount)]
    status: Literal["pending", "completed", "cancelled", "refunded"]
    created_at: Date

    @model_validator(mode="after")
    def _has_product(self) -> Order:
        if self.product_id is None and self.product is None:
            raise ValueError("neither product_id nor product is given")
        return self
