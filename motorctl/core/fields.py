"""What a field may hold, and what is said of one that holds something else.

Owns the types that the models share, the model of a change, and the words for what is wrong.
Imports pydantic: whoever only reads documents doesn't import this.
"""

from __future__ import annotations

import copy
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model

if TYPE_CHECKING:
    from collections.abc import Mapping

EMAIL_PATTERN = r"^[^@\s]+@[^@\s]+\.[^@\s]+$"
"""The rule that the server's validators hold too; the model asks for an address of RFC 5322 besides."""

# The library's documented way to accept addresses inside a company, as ada@shop.local.
SPECIAL_USE_DOMAIN_NAMES.clear()


def _email(value: str) -> str:
    """Check an e-mail address and return it as it was typed: what is stored is what is looked for.

    A host inside a company (`.local`, `.test`) is one here, and nothing is asked of the DNS.
    """
    if not re.match(EMAIL_PATTERN, value):
        raise ValueError("must be something@something.something")
    try:
        validate_email(value, check_deliverability=False)
    except EmailNotValidError as error:
        raise ValueError(str(error).rstrip(".")) from error
    return value


def stored_date(value: datetime) -> datetime:
    """Return the date that comes back from the server: UTC, whole milliseconds; without a zone it is UTC."""
    value = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return value.replace(microsecond=value.microsecond // 1000 * 1000)


Email = Annotated[str, AfterValidator(_email), Field(json_schema_extra={"pattern": EMAIL_PATTERN})]
Date = Annotated[datetime, AfterValidator(stored_date)]
Name = Annotated[str, Field(min_length=1)]


class Model(BaseModel):
    """A document's fields as this program writes them; an unknown field is an error."""

    model_config = ConfigDict(extra="forbid")


def partial(model: type[Model]) -> type[Model]:
    """Return the model of a change: each field may be left out, and one that is optional may be null."""
    fields: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        loose = copy.copy(field)
        loose.default, loose.default_factory = None, None
        fields[name] = (field.annotation, loose)
    return create_model(f"{model.__name__}Changes", __base__=Model, **fields)


def problem(error: Mapping[str, Any]) -> dict[str, str]:
    """Return `field` and `reason` of one of pydantic's errors, in our words."""
    field = ".".join(map(str, error["loc"])) or "document"
    reason = str(error["msg"]).removeprefix("Value error, ")
    reason = {"Field required": "is missing", "Extra inputs are not permitted": "is not a field"}.get(
        reason, reason
    )
    reason = re.sub("^[A-Z][a-z]+ should ", "must ", reason)
    given = error.get("input")
    if error["type"] not in ("missing", "extra_forbidden") and isinstance(given, (str, int, float)):
        reason += f" (given {given!r})"
    return {"field": field, "reason": reason}
