"""Asks for documents that a validator would reject, and by which rule.

A blocker only where writes fail that succeeded before: at the level `strict` and with the action
`error`. `moderate` lets documents that don't fit be changed, `warn` lets everything pass, and both are
how a validator comes to data that isn't clean yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from motorctl.core import violations
from motorctl.core.schema.blockers.asking import SAMPLES, documents
from motorctl.core.schema.change import Blocker
from motorctl.core.schema.compare import same, same_query

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from motorctl.core.schema.blockers.asking import Asking, Step
    from motorctl.core.schema.change import Change

_EXPLAINED = 100
"""Among how many violating documents the samples' rules are looked for."""


def may_reject(change: Change) -> bool:
    """Tell whether a change may make the server refuse documents that are there."""
    before, after = change.before or {}, change.after or {}
    if not _refuses(after):
        return False
    return not (_refuses(before) and same_query(before["validator"], after["validator"]))


async def rejected(asking: Asking, step: Step) -> Blocker | None:
    """Look for documents that the validator in force takes and the new one doesn't."""
    collection = step.collection or ""
    before, after = step.change.before or {}, step.change.after or {}
    expression = after["validator"]
    # What is refused already is no news, and must not stop a validator that loosens.
    known = [before["validator"]] if _refuses(before) else []
    count, ids = await asking.matching(collection, {"$and": [*known, {"$nor": [expression]}]})
    if not count:
        return None
    limit = _EXPLAINED if known else SAMPLES
    explained = await asking.in_time(_explained(asking, collection, expression, limit))
    samples = [{"id": one, "rules": _rules(explained, one)} for one in ids]
    broken: list[str] = next((sample["rules"] for sample in samples if sample["rules"]), [])
    message = f"{documents(count)} {'does' if count == 1 else 'do'} not fit the validator"
    return Blocker(
        "rejected",
        f"{message}: {broken[0]}" if broken else message,
        f"`motorctl validators check {collection} FILE`, with the validator in FILE, lists them;"
        " `validationLevel: moderate` lets them stay",
        count,
        tuple(samples),
        ignorable=True,
    )


async def _explained(
    asking: Asking, collection: str, expression: Mapping[str, Any], limit: int
) -> list[violations.Found]:
    async def find() -> list[violations.Found]:
        found = violations.find(asking.db, collection, expression, limit=limit, seconds=asking.left())
        return [document async for document in found]

    explained: list[violations.Found] = await asking.sent(find)
    return explained


def _rules(explained: Iterable[violations.Found], one: Any) -> list[str]:
    return next(([rule.sentence for rule in found.rules] for found in explained if same(found.id, one)), [])


def _refuses(document: Mapping[str, Any]) -> bool:
    return (
        bool(document.get("validator"))
        and document["validationLevel"] == "strict"
        and document["validationAction"] == "error"
    )
