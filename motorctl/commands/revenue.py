"""`motorctl revenue`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from motorctl.errors import UsageError

if TYPE_CHECKING:
    from decimal import Decimal

    from motorctl.app import App
    from motorctl.core.revenue import Orders, Report

group = typer.Typer(help="Revenue by period and by customer. Amounts are exact to the cent.")

PERIODS = ("hour", "day", "week", "month", "quarter", "year")
BAR_WIDTH = 24

Since = Annotated[
    str | None, typer.Option(metavar="DATE", help="From then on: 2026-11-21, or how long ago: 30d.")
]
Until = Annotated[str | None, typer.Option(metavar="DATE", help="Up to then, not included.")]
Status = Annotated[list[str] | None, typer.Option(metavar="STATUS", help="Repeatable.  [default: completed]")]
AnyStatus = Annotated[bool, typer.Option("--any-status", help="Whatever the status.")]
Collection = Annotated[str, typer.Option(metavar="NAME", help="Where the orders are.", show_default=True)]
AmountField = Annotated[str, typer.Option(metavar="FIELD", help="Their amount.", show_default=True)]
DateField = Annotated[str, typer.Option(metavar="FIELD", help="Their date.", show_default=True)]
Chart = Annotated[bool, typer.Option("--chart", help="A bar beside each row of a table.")]


@group.command("over-time")
def over_time(
    ctx: typer.Context,
    by: Annotated[
        str, typer.Option(metavar="PERIOD", help=", ".join(PERIODS) + ".", show_default=True)
    ] = "month",
    tz: Annotated[
        str, typer.Option(metavar="ZONE", help="Whose midnights: an IANA time zone.", show_default=True)
    ] = "UTC",
    fill: Annotated[bool, typer.Option("--fill", help="Show periods without orders, as zero.")] = False,
    since: Since = None,
    until: Until = None,
    status: Status = None,
    any_status: AnyStatus = False,
    collection: Collection = "orders",
    amount_field: AmountField = "amount",
    date_field: DateField = "created_at",
    chart: Chart = False,
) -> None:
    """Show revenue, orders and their average by period, in time order.

    It reads only. Orders whose amount is not a number, or whose date is not a date, are in no figure;
    a warning says how many there are.

    Example:
      motorctl revenue over-time
      motorctl revenue over-time --by day --since 30d --tz Europe/Berlin --fill
      motorctl revenue over-time --by year --any-status -o json
    """
    if by not in PERIODS:
        from motorctl.near import near

        raise UsageError(f"--by: {by!r} is not one of {', '.join(PERIODS)}", hint=near(by, PERIODS))
    app: App = ctx.obj
    orders = _orders(
        tz,
        since,
        until,
        status,
        any_status=any_status,
        collection=collection,
        amount=amount_field,
        date=date_field,
    )
    report = app.run(_over_time(app, orders, by, tz, fill=fill))
    _show(app, report, ("period", ">revenue", ">orders", ">average"), chart="revenue" if chart else None)


@group.command("by-customer")
def by_customer(
    ctx: typer.Context,
    top: Annotated[int, typer.Option(min=1, metavar="N", help="How many customers.", show_default=True)] = 10,
    since: Since = None,
    until: Until = None,
    status: Status = None,
    any_status: AnyStatus = False,
    collection: Collection = "orders",
    amount_field: AmountField = "amount",
    date_field: DateField = "created_at",
    customer_field: Annotated[
        str, typer.Option(metavar="FIELD", help="Their customer.", show_default=True)
    ] = "user_id",
    chart: Chart = False,
) -> None:
    """Show the customers with the highest revenue, with their names from `users`.

    It reads only. A customer who no longer exists is shown without a name, not left out.

    Example:
      motorctl revenue by-customer --top 3
      motorctl revenue by-customer --since 2026-01-01 --until 2027-01-01 -o csv
    """
    app: App = ctx.obj
    orders = _orders(
        "UTC",
        since,
        until,
        status,
        any_status=any_status,
        collection=collection,
        amount=amount_field,
        date=date_field,
        customer=customer_field,
    )
    report = app.run(_by_customer(app, orders, top))
    _show(app, report, ("user_id", "user_name", ">total", ">count", ">avg"), chart="total" if chart else None)


async def _over_time(app: App, orders: Orders, by: str, tz: str, *, fill: bool) -> Report:
    from motorctl.core import revenue

    async with app.connect() as db:
        return await app.attempt(revenue.over_time, db, orders, by, tz, fill=fill)


async def _by_customer(app: App, orders: Orders, top: int) -> Report:
    from motorctl.core import revenue

    async with app.connect() as db:
        return await app.attempt(revenue.by_customer, db, orders, top)


def _orders(
    tz: str,
    since: str | None,
    until: str | None,
    status: list[str] | None,
    *,
    any_status: bool,
    **fields: Any,
) -> Orders:
    from datetime import UTC, datetime

    from motorctl.core import periods
    from motorctl.core.revenue import Orders

    if status and any_status:
        raise UsageError("--status and --any-status exclude each other")
    zone, now = periods.zone(tz), datetime.now(UTC)
    start = periods.moment(since, zone, now) if since else None
    end = periods.moment(until, zone, now) if until else None
    if start and end and start >= end:
        raise UsageError(f"nothing lies between --since {since} and --until {until}")
    return Orders(
        status=() if any_status else tuple(status or ("completed",)), since=start, until=end, **fields
    )


def _show(app: App, report: Report, columns: tuple[str, ...], *, chart: str | None) -> None:
    from motorctl.output import Column

    table = [Column(name.removeprefix(">"), right=name.startswith(">")) for name in columns]
    rows = report.rows
    if chart and app.output.format in ("table", "markdown"):
        rows, table = _with_bars(rows, chart), [*table, Column("chart")]
    app.output.emit(rows, table)
    for count, what in ((report.without_amount, "amount that is a number"), (report.without_date, "date")):
        if count:
            app.diagnostics.warning(f"{count} orders have no {what}: they are in no figure")
    if not rows and not report.without_amount:
        app.diagnostics.info(
            "no orders: --any-status counts all of them, --collection names another collection"
        )


def _with_bars(rows: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    highest = max((row[key] for row in rows), default=0)
    return [{**row, "chart": bar(row[key], highest)} for row in rows]


def bar(amount: Decimal, highest: Decimal | int) -> str:
    """Return a bar of block characters, its length to an eighth of a cell; nothing for zero and below."""
    if amount <= 0 or highest <= 0:
        return ""
    eighths = max(1, round(amount / highest * BAR_WIDTH * 8))
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()
