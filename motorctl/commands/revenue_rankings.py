"""`motorctl revenue by-customer` and `by-product`: the best, and all others as one row."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import typer

from motorctl.commands import revenue_options as option
from motorctl.commands.revenue_orders import Choice

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from motorctl.app import App
    from motorctl.client import Database
    from motorctl.commands.revenue_answer import Wish
    from motorctl.commands.revenue_report import Fact, View
    from motorctl.core.revenue.report import Report
    from motorctl.core.revenue.selection import Orders


def by_customer(
    ctx: typer.Context,
    top: option.Top = 10,
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
    customers: option.Customers = "users",
    show_pipeline: option.ShowPipeline = False,
    explain: option.Explain = False,
) -> None:
    """Show the customers with the highest revenue, and all others as one row below them.

    It reads only. With each: the share of the whole, and the first and the last order. The names are those
    of the customers' collection, looked up for the --top alone. A customer who no longer exists is shown
    with the id, not left out. What `revenue over-time` says of amounts and dates holds here too.

    Example:
      motorctl revenue by-customer --top 3
      motorctl revenue by-customer --since last-year --until this-year --tz Europe/Berlin -o csv
      motorctl revenue by-customer --since 2026-01-01 -o svg > customers.svg
      motorctl revenue by-customer --explain
    """
    app: App = ctx.obj
    choice = Choice(
        collection, since, until, tz, status, any_status, amount_field, amount_expr, date_field, currency_field
    )  # fmt: skip
    orders = choice.orders(customer=customer_field, product=product_field, customers=customers)
    _run(app, "customer", orders, top, tz, chart=chart, show_pipeline=show_pipeline, explain=explain)


def by_product(
    ctx: typer.Context,
    top: option.Top = 10,
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
    quantity_field: option.QuantityField = "qty",
    products: option.Products = "inventory",
    show_pipeline: option.ShowPipeline = False,
    explain: option.Explain = False,
) -> None:
    """Show the products with the highest revenue, and all others as one row below them.

    It reads only. With each: how many were bought, the share of the whole, and the first and the last order.
    A product is what the orders hold under --product-field; its name is the one of the products' collection,
    where it has one. An order of several products, as `orders place` writes them, counts line by line, unless
    product, amount or quantity are named: it is of no product then, as is what its amount has besides its lines.
    What `revenue over-time` says of amounts and dates holds here too.

    Example:
      motorctl revenue by-product --chart
      motorctl revenue by-product --top 20 --since 90d -o markdown
      motorctl revenue by-product --product-field sku --amount-expr 'qty * price' -o json
    """
    app: App = ctx.obj
    choice = Choice(
        collection, since, until, tz, status, any_status, amount_field, amount_expr, date_field, currency_field
    )  # fmt: skip
    orders = choice.orders(
        customer=customer_field, product=product_field, quantity=quantity_field, products=products
    )
    _run(app, "product", orders, top, tz, chart=chart, show_pipeline=show_pipeline, explain=explain)


def _run(
    app: App,
    noun: Literal["customer", "product"],
    orders: Orders,
    top: int,
    tz: str,
    *,
    chart: bool,
    show_pipeline: bool,
    explain: bool,
) -> None:
    from motorctl.commands import revenue_answer
    from motorctl.commands.revenue_report import FOR_PEOPLE
    from motorctl.core import periods
    from motorctl.core.revenue import lines, ranking

    instead = revenue_answer.instead(app, show_pipeline=show_pipeline, explain=explain)
    zone = periods.zone(tz)
    # Whoever has no name is said to be gone, to people.
    names_told = noun == "customer" and app.output.format in FOR_PEOPLE
    asked = ranking.Ranking(noun, top)
    # Nothing is looked at for it: the form that is right whatever the orders are.
    shown = replace(asked, by_line=noun == "product" and lines.possible(orders))

    async def settled(db: Database) -> Wish:
        found = await ranking.by_line(db, orders, asked)
        # No index holds the lines: they are an array.
        grouped = None if found.by_line else wish.grouped
        return replace(wish, question=partial(ranking.question, orders, found), grouped=grouped)

    wish = revenue_answer.Wish(
        orders=orders,
        zone=zone,
        question=partial(ranking.question, orders, shown),
        report=lambda db, version: ranking.ranked(db, orders, asked, version),
        view=customers_view(orders, zone) if noun == "customer" else products_view(orders, zone),
        grouped=(orders.customer,) if noun == "customer" else _product_fields(orders),
        chart=chart,
        instead=instead,
        facts=partial(_nameless, orders) if names_told else lambda _report: (),
        settled=settled,
    )
    app.run(revenue_answer.answer(app, wish))


def _product_fields(orders: Orders) -> tuple[str, ...]:
    named = ("product_id", "product") if orders.product is None else (orders.product,)
    return (*named, orders.quantity)


def customers_view(orders: Orders, zone: ZoneInfo) -> View:
    """Return how the report by customer looks."""
    columns = _columns(orders, "user_id", "user_name", ">total", ">count", ">avg")
    return _view(
        "customer",
        "total",
        columns,
        zone,
        droppable=("user_id", "first_order", "avg", "last_order"),
        aside="user_id",
    )


def products_view(orders: Orders, zone: ZoneInfo) -> View:
    """Return how the report by product looks."""
    columns = _columns(orders, "product", "name", ">revenue", ">quantity", ">orders")
    return _view("product", "revenue", columns, zone, droppable=("first_order", "orders", "last_order"))


def _columns(orders: Orders, *names: str) -> tuple[str, ...]:
    """Return the fields of a row in order, a `>` before those that are numbers; the currency first of these."""
    at = next(i for i, name in enumerate(names) if name.startswith(">"))
    currency = ("currency",) if orders.currency else ()
    return (*names[:at], *currency, *names[at:], ">share", "first_order", "last_order")


_TITLES = {"share": "share %", "first_order": "first", "last_order": "last"}


def _view(
    noun: str,
    value: str,
    names: tuple[str, ...],
    zone: ZoneInfo,
    *,
    droppable: tuple[str, ...],
    aside: str | None = None,
) -> View:
    from motorctl.commands.revenue_report import View
    from motorctl.output import Column

    keys = [name.removeprefix(">") for name in names]
    return View(
        title=f"Revenue by {noun}",
        kind="ranking",
        label="label",
        value=value,
        columns=tuple(
            Column(key, _TITLES.get(key), right=name.startswith(">"))
            for key, name in zip(keys, names, strict=True)
        ),
        fields=(*keys, f"{noun}s"),
        droppable=droppable,
        words=partial(_words, noun, zone),
        rest=f"{noun}s",
        optional=("name",),
        aside=aside,
    )


def _words(noun: str, zone: ZoneInfo, row: dict[str, Any], columns: frozenset[str]) -> dict[str, Any]:
    """Put a row into words: who it is where there is no name, and days in place of moments."""
    told = dict(row)
    for key in ("first_order", "last_order"):
        if (moment := row.get(key)) is not None:
            told[key] = moment.astimezone(zone).date().isoformat()
    if row.get("currency", "") is None:
        told["currency"] = "(no currency)"
    key, name, shown = (
        ("user_id", "user_name", "user_name") if noun == "customer" else ("product", "name", "product")
    )
    stands_for = row[f"{noun}s"]
    # At a bar stands a name, and the id of what has none: two who are gone are not the same one.
    told["label"] = row[name] or row[key]
    if row[key] is None:
        others = f"({stands_for:,} other {noun}{'' if stands_for == 1 else 's'})"
        told[shown] = told["label"] = others if stands_for else f"(no {noun})"
    elif noun == "customer" and not row[name]:
        what = "(gone)" if row[name] is None else "(no name)"
        told["label"] = f"{what} {row[key]}"
        told[shown] = what if key in columns else told["label"]
    return told


def _nameless(orders: Orders, report: Report) -> list[Fact]:
    """Say where the names may be, where none was found: all of them can't be gone."""
    from motorctl.commands.revenue_report import Fact

    customers = [row for row in report.rows if row["customers"] == 1 and row["user_id"] is not None]
    if not customers or any(row["user_name"] for row in customers):
        return []
    sentence = f"no name of theirs is in {orders.customers}: --customers names the collection that has them"
    return [Fact(sentence, {"customers": orders.customers})]
