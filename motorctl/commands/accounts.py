"""`motorctl accounts`: open, look at, freeze and close accounts; `accounts_statement` shows their entries.

Reads arguments and shows results; what an account is, and which steps it may take, is `core.accounts`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from motorctl.commands import records
from motorctl.commands.accounts_statement import statement
from motorctl.commands.records import PAGE_SIZE, FilterOption

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from motorctl.app import App
    from motorctl.output import Column

group = typer.Typer(no_args_is_help=True)

IdArgument = Annotated[
    str, typer.Argument(metavar="ID", help="The account: a text, or an ObjectId's 24 digits.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be done; write nothing.")]

_NAMED = 3
"""How many accounts with a balance that can't be read are named."""


def _statuses() -> list[str]:
    from motorctl.core.accounts import STATUSES

    return list(STATUSES)


@group.command("open")
def open_(
    ctx: typer.Context,
    id: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Its id; an ObjectId is made when none is given.")
    ] = None,
    owner: Annotated[str | None, typer.Option(metavar="TEXT", help="Whose it is.")] = None,
    balance: Annotated[
        str | None, typer.Option(metavar="AMOUNT", help="What it begins with, as 100.00.  [default: 0]")
    ] = None,
    currency: Annotated[
        str | None, typer.Option(metavar="CODE", help="EUR, JPY, or a word of your own, as POINTS.")
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Open an account.

    Its opening balance is kept beside its balance: at any time the balance is the opening and all that the
    ledger has moved, and `transfer verify` proves it. Amounts have as many digits behind the point as ISO
    4217 gives the currency: 2 in EUR, none in JPY, 3 in KWD; 2 where it knows none. Money moves between
    accounts of one currency alone. An id that is taken is exit code 6.

    Example:
      motorctl accounts open --id carol --owner Carol --balance 100.00 --currency EUR
      motorctl accounts open --owner "Petty cash" --currency EUR --dry-run
    """
    from motorctl.core import accounts, money

    app: App = ctx.obj
    opening = None if balance is None else money.amount(balance, zero=True)
    document = accounts.new(id=id, owner=owner, currency=currency, balance=opening)
    code = document.get("currency", "")
    if accounts.unlisted(code):
        from motorctl.core.currencies import MINOR_UNITS
        from motorctl.near import near

        meant = near(code, MINOR_UNITS)
        app.diagnostics.warning(
            f"ISO 4217 has no currency {code}: amounts in it have {money.DIGITS} digits behind the point"
            + (f"; {meant}" if meant else "")
        )
    if id is None and not dry_run:
        # Before the first write: whoever gets no answer can look it up.
        app.diagnostics.info(f"opening account {document['_id']}")
    row = app.run(_attempted(app, accounts.create, document, write=not dry_run))
    if dry_run:
        row["id"] = None if id is None else row["id"]  # the one that was made is no account's
        app.diagnostics.dry_run()
        app.output.emit(row)
        return
    with app.output.after(f"account {row['id']} is open", f"motorctl accounts get {row['id']}"):
        app.output.emit(row)


@group.command("get")
def get(ctx: typer.Context, id: IdArgument) -> None:
    """Show one account, with the fields that other programs have given it.

    Reads one document. Exit code 5 if there is none with this id.

    Example:
      motorctl accounts get alice
      motorctl accounts get alice -o json
    """
    from motorctl.core import accounts

    app: App = ctx.obj
    row = app.run(_attempted(app, accounts.get, id))
    if "problem" in row:
        app.diagnostics.warning(row["problem"])
    app.output.emit(row)


@group.command("list")
def list_(
    ctx: typer.Context,
    status: Annotated[
        str | None, typer.Option(metavar="STATUS", help="open, frozen or closed.", autocompletion=_statuses)
    ] = None,
    currency: Annotated[str | None, typer.Option(metavar="CODE", help="Only those in this currency.")] = None,
    owner: Annotated[str | None, typer.Option(metavar="TEXT", help="Only those of this owner.")] = None,
    filter: FilterOption = None,
    sort: Annotated[
        str | None, typer.Option(metavar="A,-B", help="By A, then by B from the highest.  [default: id]")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="At most that many.")] = None,
    skip: Annotated[int | None, typer.Option(min=0, metavar="N", help="Leave out the first ones.")] = None,
    page: Annotated[int | None, typer.Option(min=1, metavar="N", help="A page, from 1.")] = None,
    page_size: Annotated[int | None, typer.Option(min=1, metavar="N", help=f"Default {PAGE_SIZE}.")] = None,
    all: Annotated[bool, typer.Option("--all", help="All of them, streamed.")] = False,
) -> None:
    """List accounts: a page, or all of them.

    Without an option the first page. --all streams: memory stays flat whatever the number. A balance that
    can't be read exactly (0.30000000000000004 in a double) is shown as it is, with a warning: JSON has the
    reason as `problem`.

    Example:
      motorctl accounts list
      motorctl accounts list --status open --currency EUR --sort -balance --limit 10
      motorctl accounts list --all -o csv
    """
    from motorctl import arguments
    from motorctl.core import accounts

    app: App = ctx.obj
    skipped, limited = records.window(limit, skip, page, page_size, all=all)
    chosen = accounts.selection(
        arguments.document(app, filter, "--filter"), status=status, currency=currency, owner=owner
    )
    query = {"sort": arguments.sort(sort), "skip": skipped, "limit": limited}
    next_page = None if limit is not None or all else (page or 1) + 1
    app.run(_list(app, chosen, query, next_page))


async def _list(app: App, chosen: dict[str, Any], query: dict[str, Any], next_page: int | None) -> None:
    from motorctl.core import accounts

    problems: list[str] = []
    count = 0

    async def told(rows: AsyncIterator[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
        nonlocal count
        async for row in rows:
            if "problem" in row:
                count += 1
                if count <= _NAMED:
                    problems.append(row["problem"])
            yield row

    async with app.connect() as db:
        rows = told(app.rows(accounts.find, db, chosen, **query))
        shown = await app.output.stream(rows, _columns(app))
    for problem in problems:
        app.diagnostics.warning(problem)
    if count > len(problems):
        app.diagnostics.warning(f"and {count - len(problems)} more accounts with such amounts")
    if next_page and shown == query["limit"] and app.output.terminal:
        app.diagnostics.info(f"--page {next_page} shows the next ones, --all shows all")


group.command("statement")(statement)


@group.command("freeze")
def freeze(ctx: typer.Context, id: IdArgument, dry_run: DryRun = False) -> None:
    """Freeze an account: no money moves from it or to it until it is unfrozen.

    One update of its status. A transfer that is under way is made whole before it, or refused after it; one
    that has been made stays. An account that is frozen already is left as it is, and that is no error. A
    closed one is exit code 6.

    Example:
      motorctl accounts freeze alice --dry-run
      motorctl accounts freeze alice
    """
    _set_status(ctx.obj, id, "frozen", dry_run=dry_run)


@group.command("unfreeze")
def unfreeze(ctx: typer.Context, id: IdArgument, dry_run: DryRun = False) -> None:
    """Unfreeze an account: money moves again.

    One update of its status. An account that is open already is left as it is, and that is no error. A
    closed one is exit code 6.

    Example:
      motorctl accounts unfreeze alice
    """
    _set_status(ctx.obj, id, "open", dry_run=dry_run)


@group.command("close")
def close(ctx: typer.Context, id: IdArgument, dry_run: DryRun = False) -> None:
    """Close an empty account, for good.

    Open or frozen, its balance has to be zero: else exit code 6, with what is there. Nothing is deleted, and
    its statement stays; but no money moves any more, and it can't be opened again. An account that is closed
    already is left as it is.

    Example:
      motorctl accounts open --id till-7 --currency EUR && motorctl accounts close till-7
    """
    _set_status(ctx.obj, id, "closed", dry_run=dry_run)


def _set_status(app: App, id: str, status: str, *, dry_run: bool) -> None:
    from motorctl.core import accounts

    options = {"write": not dry_run, "seconds": app.settings.timeout}
    row, changed = app.run(_attempted(app, accounts.set_status, id, status, **options))
    if not changed:
        app.diagnostics.info(f"account {id} is {status} already")
    elif dry_run:
        app.diagnostics.dry_run()
    done = f"account {id} is {status}" if changed and not dry_run else None
    with app.output.after(done, f"motorctl accounts get {id}"):
        app.output.emit(row)


async def _attempted(app: App, operation: Any, *rest: Any, **options: Any) -> Any:
    """Run one core operation that may run twice."""
    async with app.connect() as db:
        return await app.attempt(operation, db, *rest, **options)


def _columns(app: App) -> list[Column]:
    """Return the columns of a list: for a table those that fit 80 cells beside an ObjectId."""
    from motorctl.core.accounts import FIELDS
    from motorctl.output import Column

    names = FIELDS if app.output.format == "csv" else FIELDS[:6]
    right = ("balance", "entries")
    return [Column(name, right=name in right, spare=int(name == "entries")) for name in names]
