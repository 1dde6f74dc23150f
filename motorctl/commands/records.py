"""The verbs that students and users share, written once: their modules add what a field's option is.

Holds no rule about the data: models and operations are `core.records`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from motorctl.commands import records_help as texts
from motorctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from motorctl.app import App
    from motorctl.core.nouns import Noun
    from motorctl.core.records import Query

PAGE_SIZE = 20

JsonOption = Annotated[
    str | None,
    typer.Option("--json", metavar="JSON|@FILE|-", help="Fields as a JSON object; options win over it."),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Print what would be written, and write nothing.")
]
FilterOption = Annotated[
    str | None, typer.Option("--filter", metavar="JSON|@FILE|-", help="A filter in Extended JSON.")
]
FieldsOption = Annotated[
    str | None, typer.Option("--fields", metavar="A,B", help="Only these fields (`id` only if named).")
]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="24 hexadecimal digits.")]


def add_verbs(
    group: typer.Typer, name: str, example: str, noun: Callable[[], Noun], columns: Sequence[str]
) -> None:
    """Add get, list, delete and count to a noun's group.

    `noun` is a function, so that the models are imported when a verb runs and not for `--help`;
    `columns` are the fields of a table: `>` marks numbers, each `?` what a narrow terminal goes without sooner.
    """

    @group.command("get", help=texts.of(texts.GET, name, example))
    def get(ctx: typer.Context, id: IdArgument, fields: FieldsOption = None) -> None:
        from motorctl import arguments
        from motorctl.core import records

        app: App = ctx.obj
        wanted = arguments.fields(fields)
        records.object_id(id)
        app.output.emit(app.run(_connected(app, records.get, noun(), id, wanted, again=True)))

    @group.command("list", help=texts.of(texts.LIST, name, example))
    def list_(
        ctx: typer.Context,
        filter: FilterOption = None,
        sort: Annotated[
            str | None, typer.Option(metavar="A,-B", help="By A, then by B from the highest.")
        ] = None,
        fields: FieldsOption = None,
        limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="At most that many.")] = None,
        skip: Annotated[
            int | None, typer.Option(min=0, metavar="N", help="Leave out the first ones.")
        ] = None,
        page: Annotated[int | None, typer.Option(min=1, metavar="N", help="A page, from 1.")] = None,
        page_size: Annotated[
            int | None, typer.Option(min=1, metavar="N", help=f"Default {PAGE_SIZE}.")
        ] = None,
        all: Annotated[bool, typer.Option("--all", help="All of them, streamed.")] = False,
    ) -> None:
        from motorctl import arguments
        from motorctl.core.records import Query

        app: App = ctx.obj
        skipped, limited = window(limit, skip, page, page_size, all=all)
        query = Query(
            filter=arguments.document(app, filter, "--filter"),
            fields=arguments.fields(fields),
            sort=arguments.sort(sort),
            skip=skipped,
            limit=limited,
        )
        next_page = None if limit is not None or all else (page or 1) + 1
        app.run(_list(app, noun(), query, query.fields or columns, next_page))

    @group.command("count", help=texts.of(texts.COUNT, name, example))
    def count(ctx: typer.Context, filter: FilterOption = None) -> None:
        from motorctl import arguments
        from motorctl.core import records

        app: App = ctx.obj
        chosen = arguments.document(app, filter, "--filter")
        found = app.run(_connected(app, records.count, noun(), chosen, again=True))
        if app.output.format == "table":
            app.output.text(str(found))
        else:
            app.output.emit({"count": found})

    @group.command("delete", help=texts.of(texts.DELETE, name, example))
    def delete(
        ctx: typer.Context,
        id: Annotated[str | None, typer.Argument(metavar="[ID]", help="24 hexadecimal digits.")] = None,
        filter: FilterOption = None,
        dry_run: DryRunOption = False,
    ) -> None:
        from motorctl import arguments
        from motorctl.core import records

        app: App = ctx.obj
        if (id is None) == (filter is None):
            raise UsageError("give one ID, or --filter to delete many")
        if id is not None:
            records.object_id(id)
            row = app.run(_connected(app, records.get if dry_run else records.delete, noun(), id))
            _emit(app, noun(), row, None if dry_run else "deleted")
            return
        app.run(_delete_many(app, noun(), arguments.document(app, filter, "--filter"), dry_run=dry_run))
        if dry_run:
            app.diagnostics.dry_run()


def create(app: App, noun: Noun, options: dict[str, Any], json: str | None, *, dry_run: bool) -> None:
    """Insert the record that the options and `--json` describe."""
    from motorctl.core import records

    document = records.new(noun, _fields(app, options, json))
    if dry_run:
        _emit(app, noun, {key: value for key, value in document.items() if key != "_id"}, None)
        return
    _emit(app, noun, app.run(_connected(app, records.create, noun, document, again=True)), "created")


def update(
    app: App, noun: Noun, id: str, options: dict[str, Any], json: str | None, *, dry_run: bool
) -> None:
    """Set the fields given, and no others."""
    from motorctl.core import records

    records.object_id(id)
    changes = records.changes(noun, _fields(app, options, json))
    if dry_run:
        _emit(app, noun, app.run(_connected(app, records.preview, noun, id, changes)), None)
        return
    _emit(app, noun, app.run(_connected(app, records.update, noun, id, changes, again=True)), "changed")


def upsert(app: App, noun: Noun, options: dict[str, Any], json: str | None, *, dry_run: bool) -> None:
    """Insert the record, or change the one that has its key."""
    from motorctl.core import records

    changes = records.changes(noun, _fields(app, options, json))
    if not changes.get(noun.key):
        raise UsageError(f"upsert needs --{noun.key}: it says which {noun.name} is meant")
    operation = records.preview_upsert if dry_run else records.upsert
    row = app.run(_connected(app, operation, noun, changes, again=True))
    _emit(app, noun, row, None if dry_run else "as it should be")


def _emit(app: App, noun: Noun, row: dict[str, Any], done: str | None) -> None:
    """Show a record that is `done` now, or what it would be."""
    with app.output.after(done and f"{noun.name} {row['id']} is {done}", f"motorctl {noun.collection} list"):
        app.output.emit(row)
    if done is None:
        app.diagnostics.dry_run()


def window(
    limit: int | None, skip: int | None, page: int | None, page_size: int | None, *, all: bool
) -> tuple[int, int]:
    """Return (skip, limit; 0 is no limit) of a list's options. Raises UsageError where they exclude each other."""
    by_page = page is not None or page_size is not None
    by_limit = limit is not None or skip is not None
    if by_page + by_limit + all > 1 and not (all and skip is not None and limit is None and not by_page):
        raise UsageError(
            "--limit/--skip, --page/--page-size and --all exclude each other", hint="choose one of the three"
        )
    if all:
        return skip or 0, 0
    if by_page:
        size = page_size or PAGE_SIZE
        return ((page or 1) - 1) * size, size
    return skip or 0, PAGE_SIZE if limit is None else limit


def _fields(app: App, options: dict[str, Any], json: str | None) -> dict[str, Any]:
    from motorctl import arguments

    given = {name: value for name, value in options.items() if value is not None}
    return {**arguments.document(app, json, "--json"), **given}


async def _connected(app: App, operation: Callable[..., Any], *rest: Any, again: bool = False) -> Any:
    """Run one core operation on the database; `again` for what may be tried twice."""
    async with app.connect() as db:
        return await (app.attempt(operation, db, *rest) if again else operation(db, *rest))


async def _list(app: App, noun: Noun, query: Query, columns: Sequence[str], next_page: int | None) -> None:
    from motorctl.core import records
    from motorctl.output import Column

    table = [Column(name.strip(">?"), right=name.startswith(">"), spare=name.count("?")) for name in columns]
    async with app.connect() as db:
        count = await app.output.stream(app.rows(records.find, db, noun, query), table)
    if next_page and count == query.limit and app.output.terminal:
        app.diagnostics.info(f"--page {next_page} shows the next ones, --all shows all")


async def _delete_many(app: App, noun: Noun, chosen: dict[str, Any], *, dry_run: bool) -> None:
    from motorctl.core import records

    gone = 0
    async with app.connect() as db:
        found = await records.count(db, noun, chosen)
        if (
            found
            and not dry_run
            and app.diagnostics.confirm(f"delete {found} {noun.name if found == 1 else noun.collection}?")
        ):
            gone = await records.delete_many(db, noun, chosen)
        elif found and not dry_run:
            app.diagnostics.info("nothing was deleted")
    with app.output.after(f"deleted: {gone}" if gone else None, f"motorctl {noun.collection} count"):
        app.output.emit({"would_delete": found} if dry_run else {"deleted": gone})
