"""Carries out a plan, one result a change, also when one of them fails or the connection is lost.

What is already as wished counts as done, so that several at once all succeed. How an index takes
another's place is `rebuild`'s.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from pymongo.errors import ConnectionFailure, OperationFailure

from motorctl.core.driver import once
from motorctl.core.refusals import duplicate
from motorctl.core.schema.catalog import Catalog
from motorctl.core.schema.change import Blocker, Change
from motorctl.core.schema.commands import commands, index_of
from motorctl.core.schema.rebuild import rebuild

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from motorctl.client import Database
    from motorctl.core.driver import Attempt


async def apply(
    db: Database,
    changes: Iterable[Change],
    *,
    attempt: Attempt = once,
    report: Callable[[Change], None] | None = None,
) -> list[Change]:
    """Do each change and return it with its status: `applied`, `failed` (with `error`: code, code_name, message, key_value), `skipped`, `blocked`.

    `skipped` is what can't be done because its collection couldn't be created, or the connection was
    lost before it; the error of that loss has the code None. Kept ones are returned as they are. Each
    command goes through `attempt`; `report` is called with each result as it comes.
    """
    results: list[Change] = []
    missing: set[str] = set()
    lost = False
    for change in changes:
        if change.status == "planned" and (lost or change.collection in missing):
            why = (
                Blocker("lost", "the connection was lost")
                if lost
                else Blocker("missing", f"{change.collection} couldn't be created")
            )
            result = replace(change, status="skipped", blockers=(why,))
        else:
            try:
                result = await carry_out(db, change, attempt=attempt)
            except ConnectionFailure as error:
                lost = True
                result = _failed(
                    change, error, None, type(error).__name__, f"the connection was lost: {error}"
                )
        if result.kind == "collection" and result.action == "create" and result.status == "failed":
            missing.add(result.collection)
        results.append(result)
        if report is not None:
            report(result)
    return results


async def carry_out(db: Database, change: Change, *, attempt: Attempt = once) -> Change:
    """Do one change and return it with its status, as `apply` does. Raises the driver's error of a lost connection."""
    if change.action == "keep":
        return change
    if change.blockers:
        return replace(change, status="blocked")
    try:
        await _send(Catalog(db, attempt), change)
    except OperationFailure as error:
        details = error.details or {}
        name, message = details.get("codeName"), details.get("errmsg", str(error))
        failed = _failed(change, error, error.code, name, message)
        if "keyValue" in details:
            taken = duplicate(details)
            if taken.namespace:
                # The server's own sentence is full of the build's UUIDs.
                failed = _failed(change, error, error.code, name, f"duplicate key: {taken.sentence}")
            return replace(failed, error={**(failed.error or {}), "key_value": details["keyValue"]})
        return failed
    return replace(change, status="applied")


def _failed(change: Change, error: Exception, code: int | None, name: str | None, message: str) -> Change:
    # The driver adds its time-outs and its view of the servers; a rebuild, what it couldn't put back.
    first = re.split(r" \(configured timeouts|, Timeout: ", message)[0]
    message = "; ".join([first, *getattr(error, "__notes__", ())])
    return replace(change, status="failed", error={"code": code, "code_name": name, "message": message})


async def _send(catalog: Catalog, change: Change) -> None:
    after = change.after or {}
    match change.kind, change.action:
        case "collection", "create":
            await catalog.create_collection(change.collection, after)
        case "index", "create":
            await catalog.create_index(change.collection, index_of(after).specification())
        case "index", "rebuild":
            await rebuild(catalog, change.collection, index_of(after), change.replaces)
        case "index", "drop":
            await catalog.drop_index(change.collection, change.name)
        case _:
            for command in commands(change):
                await catalog.run(command)
