"""`motorctl indexes`: create, drop, hide and unhide indexes, one at a time.

Reads arguments and shows results; comparing, building and dropping are `core.indexes`'s. `indexes_list`
and `indexes_build` show what is there and what is being built.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperCommand

from motorctl.commands.indexes_build import build
from motorctl.commands.indexes_list import list_
from motorctl.errors import ExitCode

if TYPE_CHECKING:
    from typer._click import Context

    from motorctl.app import App
    from motorctl.core.schema import Change, Index

group = typer.Typer(no_args_is_help=True)

DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be done; change nothing.")]
CollectionName = Annotated[str, typer.Argument(metavar="COLLECTION", help="The collection.")]
IndexName = Annotated[str, typer.Argument(metavar="INDEX", help="The index, by its name.")]


group.command("list")(list_)
group.command("build")(build)


class DescendingKeys(TyperCommand):
    """Takes `-created_at` for a key, not for the options -c -r -e and `-d _at`: database `_at`."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [descending(word) for word in args])


def descending(word: str) -> str:
    """Return a key of more than one letter after one `-` in the form that can't be taken for an option."""
    is_key = re.fullmatch(r"-[A-Za-z_][^\s=]+", word) and not set(word[1:]) <= set("hqvy")
    return f"{word[1:]}:-1" if is_key else word


@group.command("create", cls=DescendingKeys)
def create(
    ctx: typer.Context,
    collection: CollectionName,
    keys: Annotated[
        list[str],
        typer.Argument(metavar="KEYS...", help="email, -created_at, name:text, loc:2dsphere, id:hashed."),
    ],
    unique: Annotated[bool, typer.Option("--unique", help="No two documents may share a value.")] = False,
    sparse: Annotated[bool, typer.Option("--sparse", help="Only documents that have the field.")] = False,
    hidden: Annotated[
        bool, typer.Option("--hidden", help="Kept up to date, but not used by queries.")
    ] = False,
    expire_after_seconds: Annotated[
        int | None,
        typer.Option(
            "--expire-after-seconds",
            metavar="N",
            min=0,
            max=2**31 - 1,
            help="Delete a document that long after the date in the field.",
        ),
    ] = None,
    partial: Annotated[
        str | None,
        typer.Option(
            "--partial", metavar="FILTER", help="Only documents that match: Extended JSON, @FILE or -."
        ),
    ] = None,
    collation: Annotated[
        str | None,
        typer.Option("--collation", metavar="LOCALE|JSON", help='How strings compare: en, {"locale": "en"}.'),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Its name, not the one made of its keys.")
    ] = None,
    commit_quorum: Annotated[
        str | None,
        typer.Option(
            "--commit-quorum",
            metavar="N|NAME",
            help="How many members of the replica set have to be ready before the index counts: a number, "
            "majority, votingMembers (the server's default) or a tag.",
        ),
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Create an index, or say that it is there already.

    Documents are read, not changed; others go on reading and writing while it is built. A key is a
    field (ascending), -field (descending) or field:kind; -d and -o
    take their value after a space here. An index that is there in another
    form is never replaced: exit 1. Documents that share a value of a --unique key: exit 6. One that is
    being built already is waited for. After Ctrl-C the server goes on building: `indexes build --watch`
    shows it, `indexes drop` stops it.

    Example:
      motorctl indexes create users email --unique --dry-run
      motorctl indexes create orders user_id -created_at
      motorctl indexes create users last_login --partial '{"active": true}'
    """
    from motorctl import arguments
    from motorctl.core import indexes
    from motorctl.core.schema import Index

    app: App = ctx.obj
    options = {
        "unique": unique or None,
        "sparse": sparse or None,
        "hidden": hidden or None,
        "expireAfterSeconds": expire_after_seconds,
        "partialFilterExpression": None if partial is None else arguments.document(app, partial, "--partial"),
        "collation": arguments.collation(app, collation),
    }
    wanted = Index(
        indexes.parse_keys(keys), name, {key: value for key, value in options.items() if value is not None}
    )
    quorum = int(commit_quorum) if commit_quorum and commit_quorum.isdecimal() else commit_quorum
    app.run(_create(app, collection, wanted, quorum, dry_run=dry_run))


async def _create(
    app: App, collection: str, wanted: Index, quorum: int | str | None, *, dry_run: bool
) -> None:
    from motorctl.commands import building
    from motorctl.core import indexes

    async with app.connect() as db:
        change = await app.attempt(indexes.plan_one, db, collection, wanted)
        if change.action == "create" and not dry_run:
            with app.diagnostics.progress(f"building {change.name}", 1) as progress:
                async with building.shown(app, db, progress):
                    change = await indexes.create_one(db, change, attempt=app.attempt, commit_quorum=quorum)
    if change.action == "keep":
        app.diagnostics.info(f"index {change.name} of {collection} is there already")
    _show(app, change)


@group.command("drop")
def drop(
    ctx: typer.Context, collection: CollectionName, name: IndexName, dry_run: DryRun = False
) -> ExitCode | None:
    """Drop an index by its name.

    Queries that used it will read the whole collection; documents stay. One that is still being built
    is built no longer. Asks first; --yes answers.
    An index that isn't there is exit 5; the index _id_ can't be dropped.

    Example:
      motorctl indexes drop users active_1_created_at_-1 --dry-run
      motorctl indexes drop users active_1_created_at_-1 --yes
    """
    app: App = ctx.obj
    return app.run(_drop(app, collection, name, dry_run=dry_run))


async def _drop(app: App, collection: str, name: str, *, dry_run: bool) -> ExitCode | None:
    from motorctl.core import indexes

    async with app.connect() as db:
        change = await app.attempt(indexes.plan_drop, db, collection, name)
        if not dry_run:
            if not app.diagnostics.confirm(f"drop index {name} of {collection} in database {db.name}"):
                app.diagnostics.info("nothing was dropped")
                return None
            change = await indexes.change_one(db, change, attempt=app.attempt)
    _show(app, change)
    return None


@group.command("hide")
def hide(ctx: typer.Context, collection: CollectionName, name: IndexName, dry_run: DryRun = False) -> None:
    """Hide an index from queries, or say that it is hidden already.

    This is how to test whether an index is needed: hide it, watch your queries for a while, then drop
    it, or unhide it, which takes effect at once. Meanwhile it is kept up to date, and a unique one still
    refuses duplicates. Its count of operations begins anew. The index _id_ can't be hidden; one that isn't
    there is exit code 5.

    Example:
      motorctl indexes hide orders user_id_1 --dry-run
      motorctl indexes hide orders user_id_1
    """
    app: App = ctx.obj
    app.run(_set_hidden(app, collection, name, hidden=True, dry_run=dry_run))


@group.command("unhide")
def unhide(ctx: typer.Context, collection: CollectionName, name: IndexName, dry_run: DryRun = False) -> None:
    """Let queries use a hidden index again, or say that they do already.

    It was kept up to date meanwhile: nothing is built. Its count of operations begins anew. One that isn't
    there is exit code 5.

    Example:
      motorctl indexes unhide orders user_id_1
    """
    app: App = ctx.obj
    app.run(_set_hidden(app, collection, name, hidden=False, dry_run=dry_run))


async def _set_hidden(app: App, collection: str, name: str, *, hidden: bool, dry_run: bool) -> None:
    from motorctl.core import indexes

    async with app.connect() as db:
        change = await app.attempt(indexes.plan_hidden, db, collection, name, hidden=hidden)
        if change.action == "keep":
            state = "hidden" if hidden else "seen by queries"
            app.diagnostics.info(f"index {name} of {collection} is {state} already")
        elif not dry_run:
            change = await indexes.change_one(db, change, attempt=app.attempt)
    _show(app, change)


def _show(app: App, change: Change) -> None:
    from motorctl.core import schema
    from motorctl.output import Column

    document = change.document()
    done = f"index {change.name} of {change.collection}: {change.action} is done"
    with app.output.after(
        done if change.status == "applied" else None, f"motorctl indexes list {change.collection}"
    ):
        if app.output.format in ("json", "ndjson"):
            app.output.emit(document, free=True)
        else:
            columns = [Column(key) for key in ("action", "status", "collection", "name", "detail")]
            app.output.emit([{**document, "detail": schema.describe(change)}], columns)
    if change.status == "planned":
        app.diagnostics.dry_run()
