"""`motorctl transfer verify`: reads arguments and shows what `core.transfers.verify` found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from motorctl.errors import ExitCode

if TYPE_CHECKING:
    from motorctl.app import App
    from motorctl.core.transfers.verify import Report

SHOWN = 20


def verify(
    ctx: typer.Context,
    account: Annotated[
        str | None, typer.Option("--account", metavar="ID", help="Only this account and its records.")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, metavar="N", help="List at most that many differences.")
    ] = SHOWN,
) -> ExitCode | None:
    """Hold the accounts against the ledger; exit code 8 if they differ.

    Only reads; the right to read is enough. It sees one instant, so transfers may go on meanwhile. For each
    account: balance = opening + records, entries 1, 2, 3, ... without a gap or a double, the balances in its records
    follow from each other, nothing below zero, nothing left on a closed one. For each record: an exact amount, two
    accounts that are there; a reversal mirrors one transfer, once. For each currency: the balances
    add up to what was opened. Accounts that no transfer of this program has touched have no opening: they are
    counted as before the ledger. Records of other programs count in the sums.

    All of the ledger is read once, by the server, and the accounts that look wrong again: --account reads the
    records of one by their indexes. Needs MongoDB 5.0; --account works with 4.4.

    Example:
      motorctl transfer verify
      motorctl transfer verify --account alice
      motorctl transfer verify -o json > books.json
    """
    app: App = ctx.obj
    return app.run(_verify(app, account, limit))


async def _verify(app: App, account: str | None, limit: int) -> ExitCode | None:
    from motorctl.core.transfers import verify

    of = "the ledger" if account is None else f"account {account}"
    with app.diagnostics.progress(f"verifying {of}"):
        async with app.connect() as db:
            report: Report = await app.attempt(verify.verify, db, account, limit=limit)
            name = db.name
    _show(app, report)
    _sum_up(app, report, account, name)
    return None if report.ok else ExitCode.DIFFERENCE


def _show(app: App, report: Report) -> None:
    from motorctl.output import Column

    row = report.row()
    if app.output.format in ("json", "ndjson"):
        app.output.emit(row)
    elif app.output.format in ("table", "markdown") and report.ok:
        columns = [
            Column("currency"),
            *(Column(name, right=True) for name in ("opened", "balance", "difference")),
        ]
        if row["currencies"]:
            app.output.emit(row["currencies"], columns)
    else:
        short = () if app.output.format == "csv" else ("kind", "account", "message")
        names = short or ("kind", "account", "key", "entry", "currency", "expected", "found", "message")
        app.output.emit(row["differences"], [Column(name) for name in names])


def _sum_up(app: App, report: Report, account: str | None, database: str) -> None:
    say = app.diagnostics.info
    if hidden := report.count - len(report.found):
        unread = f" in {_counted(report.unread, 'account')} not looked into" if report.unread else ""
        say(f"{_counted(hidden, 'more difference')}{unread}: --limit {report.count} lists them")
    if report.unsearched:
        say(
            "not all records between currencies were found in time: the indexes of `schema apply --builtin shop` help"
        )
    if not report.accounts and not report.records:
        app.diagnostics.warning(f"the database {database} has no accounts and no transfers")
        return
    before = f" ({report.before:,} before the ledger)" if report.before else ""
    others = f" ({report.foreign_records:,} of other programs)" if report.foreign_records else ""
    what = f"{_counted(report.accounts, 'account')}{before}, {_counted(report.records, 'record')}{others}"
    said = "balances" if account else "the books balance"
    if report.ok:
        say(f"{f'account {account} ' if account else ''}{said}: {what}")
    else:
        app.diagnostics.warning(f"{_counted(report.count, 'difference')}: {what}")


def _counted(count: int, noun: str) -> str:
    return f"1 {noun}" if count == 1 else f"{count:,} {noun}s"
