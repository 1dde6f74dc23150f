"""What stands in a plan's way, found out before anything is touched: the live data is asked, and only read.

`find_blockers` decides which questions a change raises and when time is up; each other module of the
package knows one kind of question.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from pymongo.errors import ExecutionTimeout, OperationFailure

from motorctl.core.driver import once
from motorctl.core.schema.blockers import (
    expiry,
    expressions,
    limits,
    privileges,
    rejections,
    room,
    shrinking,
    uniqueness,
    values,
)
from motorctl.core.schema.blockers.asking import Asking, Question, Step, Unanswerable
from motorctl.core.schema.words import subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from motorctl.client import Database
    from motorctl.core.driver import Attempt
    from motorctl.core.schema.change import Blocker, Change
    from motorctl.core.schema.model import Collection
    from motorctl.core.schema.server import Server

__all__ = ["find_blockers"]

_UNAUTHORIZED = 13


async def find_blockers(
    db: Database,
    changes: Iterable[Change],
    *,
    current: Mapping[str, Collection],
    server: Server,
    attempt: Attempt = once,
    seconds: float = 30.0,
    report: Callable[[Change], None] | None = None,
) -> list[Change]:
    """Return the changes; planned ones that something stands in the way of are `blocked` and say what.

    `current` is what the plan was made of. `reason` of a blocker is one of duplicates, rejected, values,
    not_dates, expires_at_once, shrinks, disk (all ignorable, as data changes), limit (of indexes; a rebuild's is
    ignorable), privilege, expression (one that the server can't parse) and impossible. What wasn't found out in `seconds`, all questions together, or what the user may not read, is a sentence in
    `unchecked`. `report` is called with each planned change when it was looked at. Documents that are
    written meanwhile may be missed. Raises the driver's ConnectionFailure.
    """
    given = list(changes)
    asking = Asking(db, server, attempt, seconds, _steps(given), current)

    async def look(step: Step) -> Change:
        change = await _looked_at(asking, step)
        if report is not None:
            report(change)
        return change

    tasks = [asyncio.ensure_future(look(step)) for step in asking.steps]
    try:
        found = await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        asking.stop()
    looked_at = {step.position: change for step, change in zip(asking.steps, found, strict=True)}
    return [looked_at.get(position, change) for position, change in enumerate(given)]


def _steps(changes: list[Change]) -> list[Step]:
    names: dict[str, str | None] = {}
    for change in changes:
        if change.kind == "collection":
            names.update(_data_of(change))
    return [
        Step(position, change, names.get(change.collection, change.collection))
        for position, change in enumerate(changes)
        if change.status == "planned"
    ]


def _data_of(change: Change) -> Iterator[tuple[str, str | None]]:
    """Tell where the data of a collection is that isn't there yet under its name."""
    if change.action == "create":
        yield change.collection, None
    for command in change.commands:
        if "renameCollection" in command:
            yield str(command["to"]), str(command["renameCollection"])


async def _looked_at(asking: Asking, step: Step) -> Change:
    blockers: list[Blocker] = []
    unchecked: list[str] = []
    for question in _questions(asking, step):
        begin = f"{subject(step.change)}: {question.what}"
        try:
            if (blocker := await question.ask(asking, step)) is not None:
                blockers.append(blocker)
                if blocker.reason == expressions.REASON:
                    # Nor would the server understand the questions about the data.
                    break
        except ExecutionTimeout:
            unchecked.append(f"{begin} weren't looked for to the end ({asking.seconds:g} s)")
        except Unanswerable as error:
            unchecked.append(f"{begin} couldn't be looked for: {error}")
        except OperationFailure as error:
            if error.code == _UNAUTHORIZED:
                why = "the user may not read them"
            else:
                why = str((error.details or {}).get("errmsg", error))
            unchecked.append(f"{begin} couldn't be looked for: {why}")
    change = step.change
    return replace(
        change,
        status="blocked" if blockers else change.status,
        blockers=(*change.blockers, *blockers),
        unchecked=(*change.unchecked, *unchecked),
    )


def _questions(asking: Asking, step: Step) -> Iterator[Question]:
    change = step.change
    yield Question("missing privileges", privileges.missing)
    if step.builds:
        yield Question("indexes beyond the limit", limits.too_many)
    if change.kind == "collection":
        yield Question("numbers beyond the limits", limits.beyond)
    if expressions.is_said(change):
        yield Question("operators that the server doesn't know", expressions.unreadable)
    if step.collection is None or not change.after:
        return
    match change.kind:
        case "index" if step.builds or change.action == "modify":
            # What is asked of books goes before what reads the documents: time may be over after that.
            if step.builds:
                yield Question("sizes on disk", room.short)
            if uniqueness.becomes_unique(change):
                yield Question("duplicates", uniqueness.shared)
            if values.may_refuse(change, asking.series(step.collection)):
                yield Question("values that it can't take", values.refused)
            if expiry.begins(change):
                yield Question("values that are no dates", expiry.no_dates)
            if expiry.shortens(change):
                yield Question("documents that expire at once", expiry.expired)
        case "validator" if rejections.may_reject(change):
            yield Question("documents that it rejects", rejections.rejected)
        case "collection" if expiry.shortens(change):
            yield Question("documents that expire at once", expiry.expired)
        case "collection" if shrinking.shrinks(change):
            yield Question("documents beyond its new limits", shrinking.beyond)
        case _:
            pass
