"""How a report is shown: rows on stdout in the format asked for, what they leave out on stderr.

People get the columns that fit, and words for what has no name; csv and JSON have every field. Computes
no figure.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from motorctl.app import App
    from motorctl.core.revenue.report import Report
    from motorctl.core.revenue.selection import Orders
    from motorctl.formats import Column
    from motorctl.pictures.picture import Picture

FOR_PEOPLE = ("table", "markdown", "html", "svg")
GAP, BAR = 2, 12
"""Cells between two columns, and those that a bar needs at least to tell anything."""


@dataclass(frozen=True)
class Fact:
    """One thing that is said of a report beside its rows: a sentence, and the same for machines."""

    sentence: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    level: Literal["note", "info", "warning"] = "info"


@dataclass(frozen=True)
class View:
    """How one report looks to people.

    `columns` are those of a wide terminal, in order; `droppable` the keys that a narrow one goes without,
    the first one first. `fields` are a row's fields, the columns of csv. `words` puts a row into words; it
    is told which columns there are. `label` and `value` are the keys of such a row that a chart shows. `rest`
    is the key by which the row of all others is known; a column that is `optional` is left out where it would
    be empty. `aside` is the column that a page has last: an id as long as a name would push the figures out.
    """

    title: str
    kind: Literal["time", "ranking"]
    label: str
    value: str
    columns: tuple[Column, ...]
    fields: tuple[str, ...]
    droppable: tuple[str, ...] = ()
    words: Callable[[dict[str, Any], frozenset[str]], dict[str, Any]] = lambda row, _columns: row
    rest: str | None = None
    optional: tuple[str, ...] = ()
    aside: str | None = None


def show(
    app: App,
    report: Report,
    view: View,
    orders: Orders,
    zone: ZoneInfo,
    facts: Sequence[Fact],
    *,
    chart: bool,
) -> None:
    """Write a report to stdout, then to stderr what has to be known of it."""
    told = [*left_out(report, orders, zone), *facts]
    if app.output.format in FOR_PEOPLE:
        _show_people(app, report.rows, view, _picture(view, orders, zone, told), chart=chart)
    else:
        from motorctl.output import Column

        # csv by the names that JSON has, and nothing in words: a spreadsheet and a script tell null from a name.
        app.output.emit(report.rows, [Column(name) for name in view.fields])
    tell(app, told)


def tell(app: App, facts: Sequence[Fact]) -> None:
    """Say each fact on stderr, at its own level."""
    for fact in facts:
        say = {"note": app.diagnostics.note, "info": app.diagnostics.info, "warning": app.diagnostics.warning}
        say[fact.level](fact.sentence, **fact.fields)


def left_out(report: Report, orders: Orders, zone: ZoneInfo) -> list[Fact]:
    """Say how many orders are in no figure, by reason, and what else the figures don't say of themselves."""
    facts = []
    for reason, count in report.skipped.items():
        have = "order has" if count == 1 else "orders have"
        sentence = f"{count:,} {have} {_lack(reason, orders)}: {_they(count)} in no figure"
        fields = {"orders": count, "field": _amount(orders), "reason": reason}
        facts.append(Fact(sentence, fields, "warning"))
    if report.undated:
        have = "order has" if report.undated == 1 else "orders have"
        fields = {"orders": report.undated, "field": orders.date, "reason": "no date"}
        facts.append(
            Fact(
                f"{report.undated:,} {have} no date in {orders.date}: {_they(report.undated)} in no figure",
                fields,
                "warning",
            )
        )
    if report.rounded:
        whose = "of quotients" if orders.amount_expression is not None else "that hold doubles"
        facts.append(Fact(f"sums {whose} are rounded to cents", {"rounded": True}))
    if report.cut:
        sentence = "a sum has 34 digits, as many as a decimal holds: the server may have rounded the last one"
        facts.append(Fact(sentence, {"cut": True}))
    if report.other_clocks:
        sentence = f"the server's clocks of {zone.key} are others than those here: one of both has older time zone data"
        facts.append(Fact(sentence, {"time_zone": zone.key}, "warning"))
    if report.without_currency:
        count, have = report.without_currency, "order has" if report.without_currency == 1 else "orders have"
        sentence = f"{count:,} {have} no currency in {orders.currency}: {_they(count)} added up on their own"
        facts.append(Fact(sentence, {"orders": count, "field": orders.currency, "reason": "no currency"}))
    return facts


def _amount(orders: Orders) -> str:
    return orders.amount if orders.amount_expression is None else "--amount-expr"


def _lack(reason: str, orders: Orders) -> str:
    if orders.amount_expression is None:
        return f"an amount that is {reason}"
    if reason.startswith("null"):
        return "no value of --amount-expr (a field of it is missing or no number)"
    return f"a value of --amount-expr that is {reason}"


def _they(count: int) -> str:
    return "it is" if count == 1 else "they are"


def _show_people(
    app: App, rows: Sequence[dict[str, Any]], view: View, picture: Picture, *, chart: bool
) -> None:
    from motorctl.output import Column

    empty = {key for key in view.optional if all(row.get(key) is None for row in rows)}
    columns = [column for column in view.columns if column.key not in empty]
    if app.output.format == "html":
        columns.sort(key=lambda column: column.key == view.aside)
    if chart:
        by = "currency" if "currency" in view.fields else None
        columns.append(Column("chart", bar_of=view.value, bar_by=by, bar_rest=view.rest))
    dropped: list[str] = []
    if app.output.format == "table" and app.output.terminal:
        columns, dropped = fitted(rows, columns, view, shutil.get_terminal_size().columns)
    there = frozenset(column.key for column in columns)
    app.output.emit([view.words(row, there) for row in rows], columns, picture=picture)
    if dropped:
        app.diagnostics.info(
            f"without {', '.join(dropped)}, for want of room: -o csv has every column", dropped=dropped
        )


def fitted(
    rows: Sequence[dict[str, Any]], columns: Sequence[Column], view: View, width: int
) -> tuple[list[Column], list[str]]:
    """Return the columns that fit, and the titles of those that were left out for it. Pure."""
    kept, dropped = list(columns), list[str]()
    for key in view.droppable:
        if _needed(rows, kept, view) <= width:
            break
        dropped += [column.heading for column in kept if column.key == key]
        kept = [column for column in kept if column.key != key]
    return kept, dropped


def _needed(rows: Sequence[dict[str, Any]], columns: Sequence[Column], view: View) -> int:
    from rich.cells import cell_len

    from motorctl.formats import brief

    there = frozenset(column.key for column in columns)
    worded = [view.words(row, there) for row in rows]
    widths = [
        BAR
        if column.bar_of
        else max(cell_len(text) for text in (column.heading, *(brief(row.get(column.key)) for row in worded)))
        for column in columns
    ]
    return sum(widths) + GAP * (len(widths) - 1)


def _picture(view: View, orders: Orders, zone: ZoneInfo, facts: Sequence[Fact]) -> Picture:
    from motorctl.pictures.picture import Picture

    def there(key: str) -> str | None:
        return key if key in view.fields else None

    return Picture(
        title=view.title,
        kind=view.kind,
        label=view.label,
        value=view.value,
        subtitle=subtitle(orders, zone),
        series=there("status"),
        apart=there("currency"),
        rest=view.rest,
        compared=there("compared_revenue"),
        line=there("cumulative"),
        notes=tuple(fact.sentence for fact in facts),
    )


def subtitle(orders: Orders, zone: ZoneInfo) -> str:
    """Say in a line which orders a report counts."""
    status = f"with status {' or '.join(orders.status)}" if orders.status else "of any status"
    which = f"{orders.collection} {status}"
    if orders.since:
        which += f", from {at(orders.since, zone)}"
    if orders.until:
        which += f", up to {at(orders.until, zone)} (not included)"
    return f"{which}; time zone {zone.key}"


def at(moment: datetime, zone: ZoneInfo) -> str:
    """Return a moment as people write it: the date alone where it is a midnight."""
    local = moment.astimezone(zone)
    midnight = not (local.hour or local.minute or local.second or local.microsecond)
    return local.date().isoformat() if midnight else f"{local:%Y-%m-%d %H:%M}"
