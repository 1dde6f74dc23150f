"""Carries out a plan, one result a change, also when one of them fails.

What is already as wished counts as done, so that several at once all succeed. Never drops an index
before its successor's keys and options are known to need its place, and puts it back when the successor
couldn't be built.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pymongo.errors import OperationFailure

from motorctl.core import driver
from motorctl.core.schema.catalog import NAMESPACE_EXISTS, create_index, drop_index, run
from motorctl.core.schema.model import Change, Index
from motorctl.core.schema.plan import IN_PLACE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from motorctl.client import Database

# What a server answers when two indexes can't be there together: another name for the same index, the
# same name for another one, a second text index.
_CANNOT_COEXIST = frozenset({67, 85, 86})


async def apply(
    db: Database, changes: Iterable[Change], *, report: Callable[[Change], None] | None = None
) -> list[Change]:
    """Do each change and return it with its status: `applied`, `failed` (with `error`: code, code_name, message, key_value), `skipped`, `blocked`.

    `skipped` is what can't be done because its collection couldn't be created. Kept ones are returned as
    they are. `report` is called with each result as it comes.
    """
    results: list[Change] = []
    missing: set[str] = set()
    for change in changes:
        result = await _result(db, change, skip=change.collection in missing)
        if result.kind == "collection" and result.action == "create" and result.status == "failed":
            missing.add(result.collection)
        results.append(result)
        if report is not None:
            report(result)
    return results


async def _result(db: Database, change: Change, *, skip: bool) -> Change:
    if change.action == "keep":
        return change
    if change.blockers:
        return replace(change, status="blocked")
    if skip:
        return replace(change, status="skipped")
    try:
        await _carry_out(db, change)
    except OperationFailure as error:
        details = error.details or {}
        facts = {
            "code": error.code,
            "code_name": details.get("codeName"),
            "message": details.get("errmsg", str(error)),
        }
        if "keyValue" in details:
            facts["key_value"] = details["keyValue"]
        return replace(change, status="failed", error=facts)
    return replace(change, status="applied")


async def _carry_out(db: Database, change: Change) -> None:
    match change.kind, change.action:
        case "collection", "create":
            await _create_collection(db, change)
        case "collection", _:
            await _modify_collection(db, change)
        case "validator", _:
            await run(db, {"collMod": change.collection, **(change.after or {"validator": {}})})
        case "index", "create":
            await create_index(db, change.collection, _index(change.after).specification())
        case "index", "modify":
            await _modify_index(db, change)
        case "index", "rebuild":
            await _rebuild(db, change)
        case "index", "drop":
            await drop_index(db, change.collection, change.name)


def _index(document: Any) -> Index:
    options = {key: value for key, value in document.items() if key not in ("keys", "name")}
    return Index(document["keys"], document["name"], options)


async def _create_collection(db: Database, change: Change) -> None:
    try:
        await run(db, {"create": change.collection, **(change.after or {})})
    except OperationFailure as error:
        if error.code != NAMESPACE_EXISTS:
            raise


async def _modify_collection(db: Database, change: Change) -> None:
    after = change.after or {}
    names = ("viewOn", "pipeline", "expireAfterSeconds", "changeStreamPreAndPostImages")
    await run(db, {"collMod": change.collection, **{name: after[name] for name in names if name in after}})


async def _modify_index(db: Database, change: Change) -> None:
    before, after = change.before or {}, change.after or {}
    wishes = {
        name: after.get(name, False) for name in sorted(IN_PLACE) if before.get(name) != after.get(name)
    }
    await run(db, {"collMod": change.collection, "index": {"name": change.name, **wishes}})


async def _rebuild(db: Database, change: Change) -> None:
    """Build the new index before the old ones go, wherever the server takes both."""
    new = _index(change.after)
    old = [
        document
        for document in await driver.list_indexes(db[change.collection])
        if document["name"] in change.replaces
    ]
    try:
        # Also right when another apply was faster: then it is there, and nothing is dropped but the old.
        await create_index(db, change.collection, new.specification())
    except OperationFailure as error:
        if error.code not in _CANNOT_COEXIST or not old:
            raise
    else:
        for document in old:
            if document["name"] != new.name:
                await drop_index(db, change.collection, document["name"])
        return
    for document in old:
        await drop_index(db, change.collection, document["name"])
    try:
        await create_index(db, change.collection, new.specification())
    except OperationFailure:
        for document in old:
            await create_index(db, change.collection, _as_it_was(document))
        raise


def _as_it_was(document: Mapping[str, Any]) -> dict[str, Any]:
    # Without a collation of its own an index would take over its collection's.
    kept = {name: value for name, value in document.items() if name not in ("v", "ns", "background")}
    return {"collation": {"locale": "simple"}, **kept}
