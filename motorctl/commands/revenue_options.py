"""The options of the reports of `motorctl revenue`, in the groups in which `--help` shows them."""

from __future__ import annotations

from typing import Annotated

import typer

PERIODS = ("hour", "day", "week", "month", "quarter", "year")
COMPARISONS = ("previous", "year")
ORDERS, FIELDS, INSTEAD = "Which orders", "What their fields are called", "Instead of the report"


def _periods() -> list[str]:
    return list(PERIODS)


def _comparisons() -> list[str]:
    return list(COMPARISONS)


def _statuses() -> list[str]:
    from motorctl.core.orders.document import STATUSES

    return list(STATUSES)


By = Annotated[
    str,
    typer.Option(metavar="PERIOD", help=", ".join(PERIODS) + ".", show_default=True, autocompletion=_periods),
]
Fill = Annotated[bool, typer.Option("--fill", help="Show periods without orders, as zero.")]
Compare = Annotated[
    str | None,
    typer.Option(
        metavar="previous|year",
        help="Beside each period the one before it, or the same one a year before, and the change in per cent.",
        autocompletion=_comparisons,
    ),
]
Cumulative = Annotated[bool, typer.Option("--cumulative", help="The running total, too.")]
ByStatus = Annotated[
    bool, typer.Option("--by-status", help="A row for each status; all of them, unless --status chooses.")
]
Top = Annotated[
    int,
    typer.Option(
        min=1, max=10_000, metavar="N", help="How many; the others are one row below them.", show_default=True
    ),
]
Chart = Annotated[bool, typer.Option("--chart", help="A bar beside each row of a table or of Markdown.")]

Since = Annotated[
    str | None,
    typer.Option(
        metavar="DATE",
        help="From then on: 2026-11-21, 2026-11-21T10:30, 2026-Q4, 36h or 30d (ago), yesterday, last-quarter.",
        rich_help_panel=ORDERS,
    ),
]
Until = Annotated[
    str | None,
    typer.Option(metavar="DATE", help="Up to then, not included; written alike.", rich_help_panel=ORDERS),
]
Tz = Annotated[
    str,
    typer.Option(
        metavar="ZONE",
        help="Whose midnights: an IANA time zone, as Europe/Berlin.",
        show_default=True,
        rich_help_panel=ORDERS,
    ),
]
Status = Annotated[
    list[str] | None,
    typer.Option(
        metavar="STATUS",
        help="Repeatable.  [default: completed]",
        rich_help_panel=ORDERS,
        autocompletion=_statuses,
    ),
]
AnyStatus = Annotated[
    bool, typer.Option("--any-status", help="Whatever their status.", rich_help_panel=ORDERS)
]
Collection = Annotated[
    str,
    typer.Option(
        metavar="COLLECTION", help="Where the orders are.", show_default=True, rich_help_panel=ORDERS
    ),
]

AmountField = Annotated[
    str | None, typer.Option(metavar="FIELD", help="Their amount.  [default: amount]", rich_help_panel=FIELDS)
]
AmountExpr = Annotated[
    str | None,
    typer.Option(
        "--amount-expr",
        metavar="EXPR",
        help="Their amount as a formula of fields: 'qty * price', '(net + tax) / 100'.",
        rich_help_panel=FIELDS,
    ),
]
DateField = Annotated[
    str, typer.Option(metavar="FIELD", help="Their date.", show_default=True, rich_help_panel=FIELDS)
]
CurrencyField = Annotated[
    str | None,
    typer.Option(
        metavar="FIELD",
        help="Their currency: sums are by currency then, and two are never added.",
        rich_help_panel=FIELDS,
    ),
]
CustomerField = Annotated[
    str,
    typer.Option(
        metavar="FIELD",
        help="Their customer; what by-customer groups by.",
        show_default=True,
        rich_help_panel=FIELDS,
    ),
]
ProductField = Annotated[
    str | None,
    typer.Option(
        metavar="FIELD",
        help="Their product; what by-product groups by.  [default: product_id, else product]",
        rich_help_panel=FIELDS,
    ),
]
QuantityField = Annotated[
    str,
    typer.Option(metavar="FIELD", help="How many were bought.", show_default=True, rich_help_panel=FIELDS),
]
Customers = Annotated[
    str,
    typer.Option(
        "--customers",
        metavar="COLLECTION",
        help="The collection that has their names.",
        show_default=True,
        rich_help_panel=FIELDS,
    ),
]
Products = Annotated[
    str,
    typer.Option(
        "--products",
        metavar="COLLECTION",
        help="The collection that has their names.",
        show_default=True,
        rich_help_panel=FIELDS,
    ),
]

ShowPipeline = Annotated[
    bool,
    typer.Option(
        "--show-pipeline", help="Print the pipeline, ready for mongosh; run nothing.", rich_help_panel=INSTEAD
    ),
]
Explain = Annotated[
    bool,
    typer.Option(
        "--explain",
        help="Run it, and tell whether an index served it and which one it lacks.",
        rich_help_panel=INSTEAD,
    ),
]
RefreshInto = Annotated[
    str | None,
    typer.Option(
        "--refresh-into",
        metavar="COLLECTION",
        help="Keep the report in a collection: compute again only the periods that have changed since.",
        rich_help_panel=INSTEAD,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="With --refresh-into: say what would be computed, and write nothing.",
        rich_help_panel=INSTEAD,
    ),
]
