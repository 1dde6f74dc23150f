"""`motorctl accounts statement`: an account's entries with the balance after each, in any format, as they come."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Annotated, Any

import typer

from motorctl.errors import DifferenceError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping

    from motorctl.app import App
    from motorctl.core.statement import Window

MOST_LAST = 10_000
"""The last ones are read backwards, and kept until the first of them is there."""
_CHUNK = 500
"""Entries of a JSON document that are written together."""


def statement(
    ctx: typer.Context,
    id: Annotated[str, typer.Argument(metavar="ID", help="The account: a text, or an ObjectId's 24 digits.")],
    since: Annotated[
        str | None,
        typer.Option(
            metavar="DATE",
            help="From then on: 2026-11-21, 2026-11-21T10:30, 2026-Q4, 36h or 30d (ago), yesterday, last-month.",
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
        int | None, typer.Option(min=1, max=MOST_LAST, metavar="N", help="The last N of them.")
    ] = None,
) -> None:
    """Show an account's entries in the order of time, each with the balance after it.

    First the balance before them, last the balance after them; the entries between are the transfers from
    and to the account, those of other programs too. All is read as it was at one moment, while transfers go
    on. The last balance has to be the account's: where it isn't, the difference is named, exit code 8.

    JSON: account, owner, currency, since, until, opening_balance, entries, closing_balance, difference. ndjson
    and csv have the entries alone, and memory stays flat whatever their number.

    Example:
      motorctl accounts statement alice
      motorctl accounts statement alice --since 30d --tz Europe/Berlin
      motorctl accounts statement alice --limit 10 -o json
      motorctl accounts statement alice --since 2026-01-01 -o csv > alice.csv
    """
    app: App = ctx.obj
    app.run(_statement(app, id, _window(since, until, tz, limit)))


def _window(since: str | None, until: str | None, tz: str, limit: int | None) -> Window:
    from datetime import UTC, datetime

    from motorctl.commands.revenue_orders import zone_of
    from motorctl.core import periods
    from motorctl.core.statement import Window

    return Window(*periods.span(since, until, zone_of(tz), datetime.now(UTC)), limit)


class _Lines:
    """The lines of a statement, of which the first and the last are kept: what is told beside the entries."""

    def __init__(self, lines: AsyncIterator[dict[str, Any]]) -> None:
        self._lines = lines
        self.opening: Mapping[str, Any] = {}
        self.closing: Mapping[str, Any] = {}

    async def begin(self) -> None:
        """Await the opening line: by then the first entry is there too."""
        self.opening = await anext(self._lines)

    async def entries(self) -> AsyncGenerator[dict[str, Any]]:
        async for line in self._lines:
            if line["line"] == "closing":
                self.closing = line
            else:
                yield {name: value for name, value in line.items() if name != "line"}


async def _statement(app: App, id: str, window: Window) -> None:
    from motorctl.core import statement
    from motorctl.core.transfers import ready

    async with app.connect() as db, AsyncExitStack() as opened:

        def begin() -> AsyncGenerator[dict[str, Any]]:
            # Closed here, whatever ends it: a closed pipe, a full disk, Ctrl-C. The loop at its end would close what
            # holds the session and what reads in it side by side.
            found = statement.lines(db, id, window)
            opened.push_async_callback(found.aclose)
            return found

        for sentence in await app.attempt(ready.check, db):
            app.diagnostics.warning(sentence)
        lines = _Lines(app.rows(begin))
        with app.diagnostics.progress("adding up"):
            await lines.begin()
        await _write(app, lines, window)
    _tell(app, lines)


async def _write(app: App, lines: _Lines, window: Window) -> None:
    from motorctl.output import Column

    if app.output.format == "json":
        await _document(app, lines, window)
        return
    columns = [
        Column("created_at", "date"),
        Column("key"),
        Column("counterparty", "with"),
        Column("amount", right=True),
        Column("balance", right=True),
        Column("note"),
    ]
    if app.output.format in ("csv", "ndjson"):
        names = ("created_at", "entry", "key", "counterparty", "amount", "balance", "note", "reverses")
        await app.output.stream(lines.entries(), [Column(name) for name in names])
        return

    async def rows() -> AsyncIterator[dict[str, Any]]:
        account = lines.opening["account"]
        begins = window.since if window.since is not None else None if window.limit else account["opened_at"]
        yield {"created_at": begins, "key": "opening balance", "balance": lines.opening["balance"]}
        async for entry in lines.entries():
            yield {**entry, "amount": f"{entry['amount']:+f}"}
        yield {"created_at": window.until, "key": "closing balance", "balance": lines.closing["balance"]}

    await app.output.stream(rows(), columns)


async def _document(app: App, lines: _Lines, window: Window) -> None:
    """Write one JSON object whose entries go out as they come."""
    from motorctl.formats import encoder

    encode = encoder(free=False, canonical=False)
    account = lines.opening["account"]
    head = {
        "account": account["id"],
        "owner": account["owner"],
        "currency": account["currency"],
        "since": window.since,
        "until": window.until,
        "opening_balance": lines.opening["balance"],
    }
    app.output.text(encode(head, True).removesuffix("\n}") + ',\n  "entries": [')
    waiting: list[str] = []
    async for entry in lines.entries():
        if len(waiting) == _CHUNK:
            # Not before the next one is here: it is what the comma is for.
            app.output.text(",\n".join(waiting) + ",")
            waiting.clear()
        waiting.append("    " + encode(entry, True).replace("\n", "\n    "))
    if waiting:
        app.output.text(",\n".join(waiting))
    tail = {"closing_balance": lines.closing["balance"], "difference": lines.closing["difference"]}
    app.output.text("  ],\n" + encode(tail, True).removeprefix("{\n"))


def _tell(app: App, lines: _Lines) -> None:
    """Say on stderr what the entries don't; raise DifferenceError where they don't make the balance."""
    account, closing = lines.opening["account"], lines.closing
    currency = f" {account['currency']}" if account["currency"] else ""
    if app.output.format in ("csv", "ndjson"):
        app.diagnostics.info(
            f"account {account['id']}: {lines.opening['balance']:f}{currency} before, {closing['balance']:f}"
            f"{currency} after {_counted(closing['entries'])}"
        )
    if lines.opening["before_ledger"]:
        app.diagnostics.info(
            f"account {account['id']} was there before the ledger: its opening balance is its balance less "
            "what the ledger has moved"
        )
    if closing["foreign"]:
        app.diagnostics.info(
            f"{closing['foreign']} of {_counted(closing['entries'])} are other programs' records"
        )
    if closing["late"]:
        app.diagnostics.warning(
            f"{closing['late']} of {_counted(closing['entries'])} are dated before an earlier one: the servers' "
            "clocks differ"
        )
    if closing["difference"]:
        raise DifferenceError(
            f"account {account['id']} has {account['balance']:f}{currency}, but its opening balance and its "
            f"entries make {closing['balance']:f}",
            hint="`motorctl transfer verify` looks at all accounts",
            account=account["id"],
            balance=f"{account['balance']:f}",
            entries=f"{closing['balance']:f}",
            difference=f"{closing['difference']:f}",
        )


def _counted(count: int) -> str:
    return f"{count:,} entry" if count == 1 else f"{count:,} entries"
