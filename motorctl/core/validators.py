"""Validators: the one that a collection has, and another in its place.

Whether documents that are there obey is another question, asked of the data; this module never reads it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from motorctl.core.driver import once
from motorctl.core.schema import Change, Collection, Validator, carry_out, fetch, plan
from motorctl.errors import AuthorizationError, MotorctlError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from motorctl.client import Database
    from motorctl.core.driver import Attempt
    from motorctl.core.schema.model import Level, ValidationAction


async def show(db: Database, collection: str) -> dict[str, Any]:
    """Read a collection's validator: `collection, validator` (None without one), `validationLevel, validationAction`.

    Raises NotFoundError for a collection that isn't there.
    """
    there = await _collection(db, collection)
    shown = there.validator.document() if there.validator else dict.fromkeys(Validator({}).document())
    return {"collection": collection, **shown}


async def plan_one(
    db: Database,
    collection: str,
    expression: Mapping[str, Any],
    *,
    level: Level | None = None,
    action: ValidationAction | None = None,
) -> Change:
    """Compare a collection's validator with a wanted one; level and action stay unless they are given.

    An empty expression wants none. Raises NotFoundError without the collection.
    """
    there = await _collection(db, collection)
    present = there.validator or Validator({})
    wanted = Validator(expression, level or present.level, action or present.action) if expression else None
    changes = plan({collection: there}, [Collection(collection, {}, wanted)], prune=wanted is None)
    none = Change(collection, "validator", "keep", collection, status="in_sync")
    return next((change for change in changes if change.kind == "validator"), none)


async def apply_one(db: Database, change: Change, *, attempt: Attempt = once) -> Change:
    """Carry out what `plan_one` found. Raises an error with the server's reason when it refuses."""
    result = await carry_out(db, change, attempt=attempt)
    if result.error is not None:
        kind = AuthorizationError if result.error["code"] == 13 else MotorctlError
        raise kind(
            f"the validator of {change.collection} can't be set: {result.error['message']}",
            collection=change.collection,
            server_code=result.error["code"],
        )
    return result


async def _collection(db: Database, name: str) -> Collection:
    there = (await fetch(db, {name})).get(name)
    if there is None or there.is_view:
        what = "is a view" if there else "doesn't exist"
        raise NotFoundError(
            f"collection {name} {what}", hint="motorctl indexes list shows the collections", collection=name
        )
    return there
