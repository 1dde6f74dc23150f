"""`motorctl revenue`: the table of its reports, and the one over time.

`revenue_rankings` has the others; `revenue_orders` reads what was typed, `revenue_answer` asks the server,
`revenue_report` shows the answer.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

import typer

from motorctl.commands import revenue_options as option
from motorctl.commands.revenue_orders import Choice, one_of
from motorctl.commands.revenue_rankings import by_customer, by_product

if TYPE_CHECKING:
    from motorctl.app import App
    from motorctl.client import Database
    from motorctl.commands.revenue_report import Fact, View
    from motorctl.core.revenue.over_time import Series
    from motorctl.core.revenue.report import Report
    from motorctl.core.revenue.selection import Orders

group = typer.Typer(help="Revenue by period, by customer and by product. Amounts are exact to the cent.")


@group.command("over-time")
def over_time(
    ctx: typer.Context,
    by: option.By = "month",
    fill: option.Fill = False,
    compare: option.Compare = None,
    cumulative: option.Cumulative = False,
    by_status: option.ByStatus = False,
    chart: option.Chart = False,
    since: option.Since = None,
    until: option.Until = None,
    tz: option.Tz = "UTC",
    status: option.Status = None,
    any_status: option.AnyStatus = False,
    collection: option.Collection = "orders",
    amount_field: option.AmountField = None,
    amount_expr: option.AmountExpr = None,
    date_field: option.DateField = "created_at",
    currency_field: option.CurrencyField = None,
    customer_field: option.CustomerField = "user_id",
    product_field: option.ProductField = None,
    show_pipeline: option.ShowPipeline = False,
    explain: option.Explain = False,
    refresh_into: option.RefreshInto = None,
    dry_run: option.DryRun = False,
) -> None:
    """Show revenue, orders and their average by period, in time order.

    It reads only, unless --refresh-into is given. Sums of Decimal128 and integers are exact; one that holds
    a double is rounded to cents, and that is said. Orders whose amount is no number, or whose date is no
    date, are in no figure: a warning says how many, and why.

    A period is that of the calendar in --tz: days begin at its midnights, over clock changes too, and weeks
    are ISO weeks. --compare reads the orders of the earlier periods in the same pass. -o html and -o svg draw
    a chart, in one file that needs nothing else.

    --refresh-into keeps the figures of all periods in a collection of their own. What has changed since the
    last run is computed again, late orders too; two runs at once do no harm. A collection that holds
    something else is left as it is: exit 6.

    Example:
      motorctl revenue over-time
      motorctl revenue over-time --by day --since 30d --tz Europe/Berlin --fill --chart
      motorctl revenue over-time --by quarter --compare year --since last-year
      motorctl revenue over-time --by-status --cumulative -o csv
      motorctl revenue over-time --amount-expr 'round(amount / 1.19, 2)' --by year -o json
      motorctl revenue over-time --since this-year -o html > revenue.html
      motorctl revenue over-time --show-pipeline
      motorctl revenue over-time --explain
      motorctl revenue over-time --refresh-into revenue_by_month
    """
    from motorctl.commands import revenue_answer, revenue_refresh
    from motorctl.core import periods
    from motorctl.core.revenue import over_time as report
    from motorctl.core.revenue.over_time import Series

    app: App = ctx.obj
    one_of(by, option.PERIODS, "--by")
    one_of(compare, option.COMPARISONS, "--compare")
    instead = revenue_answer.instead(app, show_pipeline=show_pipeline, explain=explain)
    revenue_refresh.check(app, refresh_into, chart=chart, instead=instead, dry_run=dry_run)
    choice = Choice(
        collection,
        since,
        until,
        tz,
        status,
        any_status,
        amount_field,
        amount_expr,
        date_field,
        currency_field,
        by_status,
    )
    orders = choice.orders(customer=customer_field, product=product_field)
    series = Series(
        by=by,
        tz=tz,
        fill=fill,
        compare=cast('Literal["previous", "year"] | None', compare),
        cumulative=cumulative,
        by_status=by_status,
    )
    if refresh_into is not None:
        app.run(revenue_refresh.refresh(app, orders, series, refresh_into, dry_run=dry_run))
        return
    wish = revenue_answer.Wish(
        orders=orders,
        zone=periods.zone(tz),
        question=partial(report.question, orders, series),
        report=partial(_report, orders, series),
        view=view(orders, series),
        chart=chart,
        instead=instead,
        facts=partial(_partial, series),
    )
    app.run(revenue_answer.answer(app, wish))


group.command("by-customer")(by_customer)
group.command("by-product")(by_product)


async def _report(orders: Orders, series: Series, db: Database, version: tuple[int, int]) -> Report:
    from motorctl.core.revenue import over_time as report

    return await report.over_time(db, orders, series, version)


def view(orders: Orders, series: Series) -> View:
    """Return how the report looks: the columns that its options ask for."""
    from motorctl.commands.revenue_report import View
    from motorctl.output import Column

    earlier = "year before" if series.compare == "year" else "before"
    asked = {
        "period": Column("period"),
        "status": Column("status") if series.by_status else None,
        "currency": Column("currency") if orders.currency else None,
        "revenue": Column("revenue", right=True),
        "orders": Column("orders", right=True),
        "average": Column("average", right=True),
        "cumulative": Column("cumulative", right=True) if series.cumulative else None,
        "compared_to": Column("compared_to", "compared to") if series.compare else None,
        "compared_revenue": Column("compared_revenue", earlier, right=True) if series.compare else None,
        "change_percent": Column("change_percent", "change %", right=True) if series.compare else None,
    }
    return View(
        title=f"Revenue by {series.by}",
        kind="time",
        label="period",
        value="revenue",
        columns=tuple(column for column in asked.values() if column is not None),
        fields=tuple(key for key, column in asked.items() if column is not None),
        droppable=("compared_to", "average", "orders", "chart", "cumulative"),
        words=_words,
    )


def _partial(series: Series, report: Report) -> list[Fact]:
    """Say which periods are in the report with a part of their orders alone: that matters to a comparison."""
    from datetime import UTC, datetime

    from motorctl.commands.revenue_report import Fact
    from motorctl.core import periods

    zone = periods.zone(series.tz)
    now = periods.shown(periods.label(datetime.now(UTC).astimezone(zone), series.by), zone)
    earlier = {row["period"]: row["compared_to"] for row in report.rows if row.get("compared_to")}
    later = {before: period for period, before in earlier.items()}
    facts = []
    for period in report.partial:
        current = period == now
        why, name = ("is not over", "unfinished") if current else ("is cut by the range of dates", "cut")
        compared = [f"it is compared with the whole of {earlier[period]}"] if period in earlier else []
        if period in later:
            # one that has a later one is cut at its beginning, and what it had before was read for that
            whole = "a part" if current else "the whole"
            compared.append(f"{later[period]} is compared with {whole} of it")
        sentence = f"{period} {why}" + (f": {', and '.join(compared)}" if compared else "")
        facts.append(Fact(sentence, {name: period}, "info" if compared else "note"))
    return facts


def _words(row: dict[str, Any], _columns: frozenset[str]) -> dict[str, Any]:
    """Put a row into words: a change with its sign, an order without a status or a currency."""
    told = dict(row)
    for key in ("status", "currency"):
        if key in row and row[key] is None:
            told[key] = f"(no {key})"
    change = row.get("change_percent")
    if change is not None:
        told["change_percent"] = f"{change:+f}"
    return told
