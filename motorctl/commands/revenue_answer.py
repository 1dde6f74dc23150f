"""What a report of `motorctl revenue` answers with: its rows, its pipeline, or how the server ran it.

Owns the way to the server and back, the same for each report. Knows no report by name, shows nothing itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from motorctl.errors import UsageError

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from motorctl.app import App
    from motorctl.client import Database
    from motorctl.commands.revenue_report import Fact, View
    from motorctl.core.revenue.report import Question, Report
    from motorctl.core.revenue.selection import Orders

Instead = Literal["pipeline", "explain"]
Version: TypeAlias = tuple[int, int]


@dataclass(frozen=True)
class Wish:
    """A report as it was asked for: which orders, what is sent for it, how it looks.

    `question` is what is sent to a server of some version, `report` sends it and reads the answer; `settled` makes
    the wish whose question fits a database, where that takes a look. `grouped` are the fields that it needs besides
    status, date and amount; None where no index can hold them. `facts` says what only this report has to say
    of itself.
    """

    orders: Orders
    zone: ZoneInfo
    question: Callable[[Version], Question]
    report: Callable[[Database, Version], Awaitable[Report]]
    view: View
    grouped: tuple[str, ...] | None = ()
    chart: bool = False
    instead: Instead | None = None
    facts: Callable[[Report], Sequence[Fact]] = lambda _report: ()
    settled: Callable[[Database], Awaitable[Wish]] | None = None


def instead(app: App, *, show_pipeline: bool, explain: bool) -> Instead | None:
    """Take the two options that ask for something else than the report. Raises UsageError (2)."""
    if show_pipeline and explain:
        raise UsageError("--show-pipeline and --explain exclude each other", hint="leave one of them out")
    if not (show_pipeline or explain):
        return None
    option = "--show-pipeline" if show_pipeline else "--explain"
    if app.output.format in ("html", "svg"):
        raise UsageError(f"{option} draws nothing: -o {app.output.format} is for the report itself")
    return "pipeline" if show_pipeline else "explain"


async def answer(app: App, wish: Wish) -> None:
    """Ask the server for what is wished, and show it."""
    from motorctl.commands import revenue_explain, revenue_report
    from motorctl.core import driver

    async with app.connect() as db:
        version = await app.attempt(driver.server_version, db)
        match wish.instead:
            case "pipeline":
                revenue_explain.show_pipeline(app, wish.question(version))
                return
            case "explain":
                settled = await app.attempt(wish.settled, db) if wish.settled else wish
                question = settled.question(version)
                await revenue_explain.explain(app, db, question, settled.orders, settled.grouped)
                return
        with app.diagnostics.progress(f"adding up {wish.orders.collection}"):
            report = await app.attempt(wish.report, db, version)
        facts = list(wish.facts(report))
        if not (report.rows or report.skipped or report.undated):
            facts.append(await app.attempt(nothing, db, wish.orders))
    revenue_report.show(app, report, wish.view, wish.orders, wish.zone, facts, chart=wish.chart)


async def nothing(db: Database, orders: Orders) -> Fact:
    """Say why a report has no rows, as far as the names of the collections tell."""
    from motorctl.commands.revenue_report import Fact
    from motorctl.core.revenue import serving
    from motorctl.near import near

    name = orders.collection
    if await serving.kind(db, name) == "absent":
        meant = near(name, await serving.names(db))
        hint = meant or "--collection names another one"
        return Fact(f"no orders: database {db.name} has no collection {name}; {hint}", {"collection": name})
    wider = []
    if orders.status:
        wider.append("--any-status counts all of them")
    if orders.since or orders.until:
        wider.append("a wider range of dates may find some")
    wider.append("--collection names another collection")
    return Fact(f"no orders: {', '.join(wider)}", {"collection": name})
