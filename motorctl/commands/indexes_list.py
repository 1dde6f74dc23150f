"""`motorctl indexes list`: what is there, and on request how much it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from motorctl.app import App
    from motorctl.core.index_usage import Usage


def list_(
    ctx: typer.Context,
    collection: Annotated[
        str | None, typer.Argument(metavar="[COLLECTION]", help="Only this one's.", show_default=False)
    ] = None,
    usage: Annotated[
        bool,
        typer.Option("--usage", help="Show their size, how often they are used, and which are needless."),
    ] = False,
) -> None:
    """List the indexes of a collection, or of all.

    Only reads. An index on which documents expire, or that the planner doesn't see (hidden), says so.
    One that is still being built isn't there yet: `indexes build` shows it.

    With --usage: how large each is, how many operations used it since when, which were never used, and
    which are redundant because another one begins with all their keys. The numbers are those of one
    server since it started, or since the index was made, hidden or unhidden: in a replica set of the
    primary, or of the member that readPreference= in the URI chooses; each member counts its own. In a
    sharded cluster they are added up. A unique index, or one on which documents expire, does that work
    without being counted, and is never called redundant. `indexes hide` tests whether one is needed.

    Example:
      motorctl indexes list
      motorctl indexes list users -o json
      motorctl indexes list --usage
    """
    app: App = ctx.obj
    if usage:
        app.run(_usage(app, collection))
    else:
        app.run(_list(app, collection))


async def _list(app: App, collection: str | None) -> None:
    from motorctl.core import indexes, schema
    from motorctl.output import Column

    async with app.connect() as db:
        rows = await app.attempt(indexes.list_indexes, db, collection)
    if app.output.format in ("json", "ndjson"):
        app.output.emit(rows, free=True)
        return
    shown = [
        {**row, "keys": schema.shown(row["keys"]), "options": schema.options(row["options"])} for row in rows
    ]
    app.output.emit(shown, [Column(name) for name in ("collection", "name", "keys", "options")])


async def _usage(app: App, collection: str | None) -> None:
    from motorctl.core import index_usage

    async with app.connect() as db:
        usages = await index_usage.usage(db, collection, attempt=app.attempt)
    match app.output.format:
        case "json" | "ndjson":
            app.output.emit([one.document() for one in usages], free=True)
        case "csv":
            _emit_facts(app, usages)
        case _:
            _emit_words(app, usages)


def _emit_facts(app: App, usages: Sequence[Usage]) -> None:
    from motorctl.core import schema
    from motorctl.output import Column

    rows: list[dict[str, Any]] = [
        {**one.document(), "keys": schema.shown(one.keys), "options": schema.options(one.options)}
        for one in usages
    ]
    names = ("collection", "name", "keys", "options")
    facts = ("size_bytes", "operations", "since", "redundant_with")
    app.output.emit(rows, [Column(name) for name in names + facts])


def _emit_words(app: App, usages: Sequence[Usage]) -> None:
    from motorctl.core import index_usage, schema
    from motorctl.output import Column

    rows = [
        {
            "collection": one.collection,
            "name": one.name,
            "size": None if one.size_bytes is None else index_usage.sized(one.size_bytes),
            "operations": _operations(one),
            "since": None if one.since is None else f"{one.since:%Y-%m-%d}",
            "remarks": schema.options(
                {**one.options, "redundant with": one.redundant_with} if one.redundant_with else one.options
            ),
        }
        for one in usages
    ]
    right = ("size", "operations")
    names = ("collection", "name", "size", "operations", "since", "remarks")
    app.output.emit(rows, [Column(name, right=name in right, spare=int(name == "since")) for name in names])


def _operations(one: Usage) -> str | None:
    if one.never_used:
        return "never used"
    return None if one.operations is None else f"{one.operations:,}"
