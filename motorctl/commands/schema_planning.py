"""From what a command was told to a plan: one read of the server, one comparison, one look at the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from motorctl.app import App
    from motorctl.client import Database
    from motorctl.core.schema import Change, Collection, Server
    from motorctl.core.schema.select import Selection


@dataclass(frozen=True)
class Wish:
    """What should be, of which part of the database. `seconds` for a look at the data; None is none."""

    desired: Sequence[Collection]
    selection: Selection
    prune: bool = False
    seconds: float | None = None


async def plan(app: App, db: Database, wish: Wish) -> tuple[Server, list[Change]]:
    """Compare, and look through the data for what would stop a change. Only reads."""
    from motorctl.core import driver, schema

    desired = wish.selection.collections(wish.desired)
    await _refuse_unmatched(app, db, wish)
    names = {name for one in desired for name in (one.name, one.renamed_from) if name is not None}
    named = any(one.search_indexes for one in desired)
    server = await app.attempt(schema.fetch_server, db, search=named)
    if any(one.renamed_from for one in desired):
        # A view that looks at the old name would find nothing.
        names |= {
            one["name"] for one in await app.attempt(driver.list_collections, db) if one["type"] == "view"
        }
    search = wish.prune or any(one.search_indexes is not None for one in desired)
    current = await app.attempt(schema.fetch, db, names, search=search)
    changes = wish.selection.changes(schema.plan(current, desired, server=server, prune=wish.prune))
    if wish.seconds is not None and any(change.action != "keep" for change in changes):
        changes = await _look_at_the_data(app, db, changes, current, server, wish.seconds)
    return server, changes


async def _refuse_unmatched(app: App, db: Database, wish: Wish) -> None:
    from motorctl.core import driver

    named = [name for one in wish.desired for name in (one.name, one.renamed_from) if name is not None]
    if wish.selection.unmatched(named):
        there = await app.attempt(driver.list_collections, db)
        wish.selection.refuse_unmatched([*named, *(one["name"] for one in there)])


async def _look_at_the_data(
    app: App,
    db: Database,
    changes: Sequence[Change],
    current: Mapping[str, Collection],
    server: Server,
    seconds: float,
) -> list[Change]:
    from motorctl.core.schema.blockers import find_blockers

    todo = sum(change.action != "keep" for change in changes)
    with app.diagnostics.progress("looking at the data", todo) as progress:

        def report(change: Change) -> None:
            if change.action != "keep":
                progress.advance()

        return await find_blockers(
            db, changes, current=current, server=server, attempt=app.attempt, seconds=seconds, report=report
        )
