"""Validators: the one that a collection has, another in its place, and whether the documents obey it.

Which documents don't is found by `violations`; here is what is told of them. Only `apply_one` writes.
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pymongo.errors import ExecutionTimeout

from motorctl.core import violations
from motorctl.core.driver import UNAUTHORIZED, once
from motorctl.core.schema import Change, Collection, Validator, carry_out, fetch, plan
from motorctl.errors import AuthorizationError, MotorctlError, NotFoundError, no_collection

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

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

    An empty expression wants none. Raises NotFoundError without the collection, a plain error where the
    server can't have a validator.
    """
    there = await _collection(db, collection)
    present = there.validator or Validator({})
    wanted = Validator(expression, level or present.level, action or present.action) if expression else None
    changes = plan({collection: there}, [Collection(collection, {}, wanted)], prune=wanted is None)
    none = Change(collection, "validator", "keep", collection, status="in_sync")
    change = next((change for change in changes if change.kind == "validator"), none)
    for blocker in change.blockers:
        raise MotorctlError(blocker.message, hint=blocker.hint, collection=collection)
    return change


async def apply_one(db: Database, change: Change, *, attempt: Attempt = once) -> Change:
    """Carry out what `plan_one` found. Raises an error with the server's reason when it refuses."""
    result = await carry_out(db, change, attempt=attempt)
    if result.error is not None:
        forbidden = result.error["code"] == UNAUTHORIZED
        kind = AuthorizationError if forbidden else MotorctlError
        raise kind(
            f"the validator of {change.collection} can't be set: {result.error['message']}",
            hint="the role dbAdmin on the database has it; `motorctl ping` tells who you are"
            if forbidden
            else None,
            collection=change.collection,
            server_code=result.error["code"],
        )
    return result


async def fetch_one(db: Database, collection: str) -> Validator | None:
    """Read a collection's validator. Raises NotFoundError for a collection that isn't there."""
    return (await _collection(db, collection)).validator


@dataclass(slots=True)
class Survey:
    """What is asked of a collection's documents, and what came of it.

    `limit`: how many violating documents are to be listed, None is all; `sample`: look at so many that the
    server picks; `seconds`: give up after that.

    `documents` is how many the server's books say there are. `violating` counts documents, `rules` those
    that break each rule, by its field and word. Not `complete`: the time was over, and there may be more.
    """

    collection: str
    expression: Mapping[str, Any]
    limit: int | None = None
    sample: int | None = None
    seconds: float | None = None
    documents: int = 0
    violating: int = 0
    rules: Counter[tuple[str, str]] = field(default_factory=Counter)
    complete: bool = True

    @property
    def size(self) -> int:
        """How many documents are to be looked at."""
        return self.documents if self.sample is None else min(self.sample, self.documents)

    @property
    def checked(self) -> int | None:
        """How many documents were looked at; None when the time was over before the last of them."""
        return self.size if self.complete else None

    @property
    def is_sampled(self) -> bool:
        return self.sample is not None and self.sample < self.documents

    def rows(self) -> list[dict[str, Any]]:
        """Write the rules that are broken, the most frequent first: `field, rule, count`."""
        return [
            {"field": about, "rule": rule, "count": count}
            for (about, rule), count in self.rules.most_common()
        ]


async def survey(db: Database, survey: Survey) -> AsyncGenerator[dict[str, Any]]:
    """Yield violating documents, `id, violations: [{field, rule, reason}]`; fill in the counts on the way.

    With a limit the documents beyond it are counted by the server, and not sent. Raises what
    `violations.find` raises but for a time limit, which `complete` tells.
    """
    survey.violating = 0
    survey.documents = await db[survey.collection].estimated_document_count()
    # A sample is another one each time it is asked for: all of it comes here.
    most = None if survey.limit is None or survey.is_sampled else survey.limit + 1
    sample = survey.sample if survey.is_sampled else None
    asked: dict[str, Any] = {"sample": sample, "limit": most, "seconds": survey.seconds}
    seen = Counter[tuple[str, str]]()
    listed = 0
    started = time.monotonic()
    try:
        found = violations.find(db, survey.collection, survey.expression, **asked)
        async with aclosing(found) as documents:
            async for document in documents:
                survey.violating += 1
                seen.update({(rule.field, rule.keyword) for rule in document.broken} or [("", "validator")])
                if survey.limit is None or listed < survey.limit:
                    listed += 1
                    yield _row(document)
        if most is not None and survey.violating == most:
            left = survey.seconds and max(0.001, survey.seconds - (time.monotonic() - started))
            counted = await violations.tally(db, survey.collection, survey.expression, seconds=left)
            survey.violating = counted[0]
            seen = Counter({(one.field, one.rule): one.count for one in counted[1]})
    except ExecutionTimeout:
        survey.complete = False
    survey.rules = seen


async def newly_refused(db: Database, survey: Survey, present: Validator | None) -> int | None:
    """Count the documents that the present validator takes and this one wouldn't; None when time is over."""
    if present is None:
        return survey.violating
    both = {"$or": [survey.expression, {"$nor": [present.expression]}]}
    try:
        return await violations.count(db, survey.collection, both, seconds=survey.seconds)
    except ExecutionTimeout:
        return None


def _row(found: violations.Found) -> dict[str, Any]:
    rules = [{"field": rule.field, "rule": rule.rule, "reason": rule.reason} for rule in found.rules]
    return {"id": found.id, "violations": rules}


async def _collection(db: Database, name: str) -> Collection:
    there = (await fetch(db, {name})).get(name)
    if there is None:
        raise no_collection(name, db.name)
    if there.is_view:
        raise NotFoundError(
            f"{name} is a view", hint="`motorctl indexes list` shows the collections", collection=name
        )
    return there
