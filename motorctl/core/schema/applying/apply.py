"""Carries out a plan, one result a change, also when one of them fails or the connection is lost.

What is already as wished counts as done, so that several at once all succeed. How an index takes
another's place is `rebuild`'s.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pymongo.errors import ConnectionFailure, OperationFailure

from motorctl.core.driver import once, refusal
from motorctl.core.refusals import duplicate
from motorctl.core.schema.applying.catalog import Catalog
from motorctl.core.schema.applying.rebuild import drop_abandoned, rebuild
from motorctl.core.schema.change import Blocker, Change
from motorctl.core.schema.model import TEMPORARY
from motorctl.core.schema.planning.collections import opens
from motorctl.core.schema.planning.commands import commands, index_of
from motorctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from motorctl.client import Database
    from motorctl.core.driver import Attempt

_LOST = Blocker("lost", "the connection was lost")

_MOST_GROUPS = 5
_MOST_IDS = 3
"""How many groups of documents that share a key an error names, and how many of each."""


async def apply(
    db: Database,
    changes: Iterable[Change],
    *,
    attempt: Attempt = once,
    report: Callable[[Change], None] | None = None,
    commit_quorum: int | str | None = None,
) -> list[Change]:
    """Do each change and return it with its status: `applied`, `failed` (with `error`: code, code_name, message, key_value or violations), `skipped`, `blocked`.

    `skipped` is what can't be done because its collection can't be created or renamed or is of another
    kind, or the connection was lost before it; the error of that loss has the code None. Kept ones are
    returned as they are. Each command goes through `attempt`; `report` is called with each result as it comes.
    `commit_quorum` is createIndexes' own: a number of members, `majority`, `votingMembers` or a tag.
    Raises UsageError for one that the server can't have.
    """
    if commit_quorum is not None:
        await _refuse_alone(db, attempt)
    catalog = Catalog(db, attempt, commit_quorum)
    results: list[Change] = []
    missing: dict[str, Blocker] = {}
    unbuilt: set[tuple[str, str]] = set()
    lost = False
    for change in changes:
        why = None
        if change.status == "planned":
            why = _LOST if lost else missing.get(change.collection) or _in_use(change, unbuilt)
        if why is not None:
            result = replace(change, status="skipped", blockers=(why,))
        else:
            try:
                result = await _carry_out(catalog, change)
                if (absence := await _absence(catalog, result)) is not None:
                    missing[change.collection] = absence
            except ConnectionFailure as error:
                lost = True
                result = _failed(
                    change, error, None, type(error).__name__, f"the connection was lost: {error}"
                )
        if result.status == "failed" and result.kind == "index":
            unbuilt.add((result.collection, result.name))
        results.append(result)
        if report is not None:
            report(result)
    if not lost:
        await drop_abandoned(catalog)
    return results


async def _refuse_alone(db: Database, attempt: Attempt) -> None:
    hello = await attempt(lambda: db.command({"hello": 1}))
    if "setName" not in hello and hello.get("msg") != "isdbgrid":
        raise UsageError(
            "a commit quorum is for a replica set, and this server stands alone",
            hint="leave --commit-quorum out",
        )


async def _absence(catalog: Catalog, result: Change) -> Blocker | None:
    """Say why what belongs to a collection can't be done: it isn't there, or not the one that is meant."""
    if result.kind != "collection" or result.action == "drop":
        return None
    if result.status == "blocked":
        if opens(result):
            return Blocker("blocked", f"collection {result.name} is blocked")
    # It may be there after all, created by somebody else, or failed after its renaming.
    elif result.status == "failed" and result.name not in await catalog.collections({"$eq": result.name}):
        deed = "created" if result.action == "create" else "renamed"
        return Blocker("missing", f"{result.name} couldn't be {deed}")
    return None


def _in_use(change: Change, unbuilt: Collection[tuple[str, str]]) -> Blocker | None:
    """Keep the stand-in of an index that couldn't be built."""
    name = change.name.removeprefix(TEMPORARY)
    if change.kind == "index" and name != change.name and (change.collection, name) in unbuilt:
        return Blocker("in_use", f"it stands in for {name}, which couldn't be built")
    return None


async def carry_out(db: Database, change: Change, *, attempt: Attempt = once) -> Change:
    """Do one change and return it with its status, as `apply` does. Raises the driver's error of a lost connection."""
    return await _carry_out(Catalog(db, attempt), change)


async def _carry_out(catalog: Catalog, change: Change) -> Change:
    if change.action == "keep":
        return change
    if change.blockers:
        return replace(change, status="blocked")
    try:
        await _send(catalog, change)
    except OperationFailure as error:
        details = error.details or {}
        name, message = details.get("codeName"), refusal(error)
        failed = _failed(change, error, error.code, name, message)
        if "keyValue" in details:
            taken = duplicate(details)
            if taken.namespace:
                # The server's own sentence is full of the build's UUIDs.
                failed = _failed(change, error, error.code, name, f"duplicate key: {taken.sentence}")
            return replace(failed, error={**(failed.error or {}), "key_value": details["keyValue"]})
        if violations := details.get("violations"):
            groups = [one["ids"][:_MOST_IDS] for one in violations[:_MOST_GROUPS]]
            listed = "; ".join(f"_id {', '.join(map(str, ids))}" for ids in groups)
            many = "" if len(violations) <= _MOST_GROUPS else f" and {len(violations) - _MOST_GROUPS} more"
            sentence = f"documents share a value of {change.name}: {listed}{many}"
            failed = _failed(change, error, error.code, name, sentence)
            return replace(failed, error={**(failed.error or {}), "violations": groups})
        return failed
    return replace(change, status="applied")


def _failed(change: Change, error: Exception, code: int | None, name: str | None, message: str) -> Change:
    # The driver adds its time-outs and its view of the servers; a rebuild, what it couldn't put back.
    first = re.split(r" \(configured timeouts|, Timeout: ", message)[0]
    message = "; ".join([first, *getattr(error, "__notes__", ())])
    return replace(change, status="failed", error={"code": code, "code_name": name, "message": message})


async def _send(catalog: Catalog, change: Change) -> None:
    if change.kind == "index" and change.action == "rebuild":
        await rebuild(catalog, change.collection, index_of(change.after or {}), change.replaces)
        return
    sent: list[Mapping[str, Any]] = []
    for command in commands(change):
        try:
            await catalog.run(command)
        except OperationFailure as error:
            for undo in _taken_back(change, sent):
                try:
                    await catalog.run(undo)
                except OperationFailure:
                    error.add_note(
                        f"index {change.name} is left with prepareUnique: it refuses new duplicates"
                    )
            raise
        sent.append(command)


def _taken_back(change: Change, sent: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Write what undoes the commands of a change whose next one failed: only prepareUnique needs it."""
    if (change.before or {}).get("prepareUnique"):
        return []
    return [
        {"collMod": command["collMod"], "index": {**command["index"], "prepareUnique": False}}
        for command in sent
        if command.get("index", {}).get("prepareUnique")
    ]
