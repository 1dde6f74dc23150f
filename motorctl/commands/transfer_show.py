"""`motorctl transfer show` and `list`: what the ledger holds. Reads arguments; `core.transfers` asks and judges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from motorctl.errors import UsageError

if TYPE_CHECKING:
    from motorctl.app import App
    from motorctl.core.transfers.listing import Query

PAGE_SIZE = 20


def show(
    ctx: typer.Context, key: Annotated[str, typer.Argument(metavar="KEY", help="The key of the transfer.")]
) -> None:
    """Tell what became of a transfer: committed, absent, or still in doubt.

    Exit code 0: a majority has it; here it is. 5: it is not there, and no open transaction has its key.
    9: that can't be said yet; it asks for as long as --timeout says. In each case it is safe to send it again with
    the same key. Nothing is changed: to see open transactions it inserts the key in one of its own that it
    always aborts; a user without the right to insert is told what a read can tell.

    Example:
      motorctl transfer show rent-2026-11
      motorctl transfer show rent-2026-11 -o json
    """
    from motorctl.core.transfers import request

    app: App = ctx.obj
    app.run(_show(app, request.known_key(key)))


async def _show(app: App, key: str) -> None:
    from motorctl.core.transfers import show

    async with app.connect() as db:
        found = await app.attempt(show.show, db, key, seconds=app.settings.timeout)
    app.output.emit(found)


def list_(
    ctx: typer.Context,
    account: Annotated[
        str | None, typer.Option(metavar="ID", help="Only what this account paid or got.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="DATE", help="From then on: 2026-11-21, 2026-11-21T10:30, 36h or 30d (ago), yesterday."
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="DATE", help="Up to then, not included; written alike.")
    ] = None,
    tz: Annotated[
        str,
        typer.Option(
            metavar="ZONE", help="Whose midnights: an IANA time zone, as Europe/Berlin.", show_default=True
        ),
    ] = "UTC",
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help=f"At most that many.  [default: {PAGE_SIZE}]")
    ] = None,
    all: Annotated[bool, typer.Option("--all", help="All of them, streamed.")] = False,
) -> None:
    """List transfers, newest first.

    Reads as many records as it shows: the ledger from its end, or with --account the two indexes of the shipped
    schema. --since and --until without --account look at every record on the way. `accounts statement ID` shows the
    running balance.

    Example:
      motorctl transfer list
      motorctl transfer list --account alice --since 30d
      motorctl transfer list --all -o ndjson
    """
    from motorctl.core.transfers.listing import Query

    app: App = ctx.obj
    if all and limit is not None:
        raise UsageError("--limit and --all exclude each other", hint="choose one of them")
    begin, end = _range(since, until, tz)
    app.run(_list(app, Query(account, begin, end, 0 if all else limit or PAGE_SIZE), hint=limit is None))


def _range(since: str | None, until: str | None, tz: str) -> tuple[Any, Any]:
    from datetime import UTC, datetime

    from motorctl.core import periods

    return periods.span(since, until, periods.zone(tz), datetime.now(UTC))


async def _list(app: App, query: Query, *, hint: bool) -> None:
    from motorctl.core.transfers import listing
    from motorctl.output import Column

    columns = [
        Column("created_at", spare=1),
        Column("key"),
        Column("from"),
        Column("to"),
        Column("amount", right=True),
        Column("currency"),
        Column("note", spare=2),
    ]
    async with app.connect() as db:
        count = await app.output.stream(app.rows(listing.find, db, query), columns)
    if hint and query.limit and count == query.limit and app.output.terminal:
        app.diagnostics.info(f"the {count} newest: --limit N shows more, --all shows all")
