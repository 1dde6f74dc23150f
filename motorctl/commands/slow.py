"""`motorctl slow`: which queries are slow, by their shape; the profiler on, off and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from motorctl.commands.slow_profile import one_of, profile
from motorctl.errors import AuthorizationError, NotFoundError, UsageError

if TYPE_CHECKING:
    from motorctl.app import App
    from motorctl.client import Database
    from motorctl.core.slow.groups import Groups, Slow

group = typer.Typer(
    help="Which queries are slow, by their shape; and the profiler that records them.\n\n"
    "`motorctl slow` alone is `slow list`."
)

SOURCES = ("auto", "profiler", "current", "query-stats")
ORDERS = ("total", "p95", "max", "count")


group.command("profile")(profile)


@group.command("slow", hidden=True)
@group.command("list")
def list_(
    ctx: typer.Context,
    source: Annotated[
        str,
        typer.Option(
            metavar="SOURCE",
            help=", ".join(SOURCES) + ".",
            show_default=True,
            autocompletion=lambda: list(SOURCES),
        ),
    ] = "auto",
    collection: Annotated[
        str | None, typer.Option("--collection", "-c", metavar="COLLECTION", help="Only its queries.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="DATE", help="Only since then: a date, or how long ago: 2h.")
    ] = None,
    slower_than: Annotated[
        float, typer.Option(min=0, metavar="MS", help="Only operations that took longer.")
    ] = 0,
    sort: Annotated[
        str,
        typer.Option(
            metavar="ORDER",
            help=", ".join(ORDERS) + ": the highest first.",
            show_default=True,
            autocompletion=lambda: list(ORDERS),
        ),
    ] = "total",
    top: Annotated[int, typer.Option(min=1, metavar="N", help="How many shapes.", show_default=True)] = 20,
    explain: Annotated[
        bool, typer.Option("--explain", help="Ask the planner about each, and say what would help.")
    ] = False,
    examples: Annotated[
        bool, typer.Option("--examples", help="Show each with the values of its longest run, as a command.")
    ] = False,
) -> None:
    """Show which queries are slow, put together by their shape: how often, how long, which plan.

    It only reads. Two queries have one shape when only their values differ; values are cut out. Sources:
    what the profiler of this database has recorded (`slow profile on`), what the server itself has
    counted ($queryStats, where it does and permits it), what runs at this moment ($currentOp); auto
    takes the first that has something. Times are milliseconds of single operations; of a cursor p50 and
    p95 are those of its first batch, total counts all. A command too long for the profiler is shown by
    the server's queryHash.

    --explain runs no query again: the planner is asked how it would. --examples shows values, which may
    be somebody's data.

    Example:
      motorctl slow
      motorctl slow list --collection orders --examples
      motorctl slow list --since 24h --sort p95 --top 5
      motorctl slow list --source current --slower-than 1000 -o json
    """
    for name, given, known in (("--source", source, SOURCES), ("--sort", sort, ORDERS)):
        one_of(name, given, known)
    if since and source in ("current", "query-stats"):
        raise UsageError(f"--since is for what the profiler has recorded, not for --source {source}")
    app: App = ctx.obj
    app.run(_list(app, source, collection, since, slower_than, sort, top, explain=explain, examples=examples))


async def _list(
    app: App,
    source: str,
    collection: str | None,
    since: str | None,
    slower_than: float,
    sort: Any,
    top: int,
    *,
    explain: bool,
    examples: bool,
) -> None:
    from datetime import UTC, datetime

    from motorctl.commands import slow_report
    from motorctl.core import periods

    moment, _ = periods.span(since, None, periods.zone("UTC"), datetime.now(UTC))
    async with app.connect() as db:
        found, found_in = await _read(app, db, source, collection, moment, slower_than)
        slow = found.rows(sort)[:top]
        rows = [slow_report.row(one, found_in, examples=examples) for one in slow]
        if explain:
            for one, row in zip(slow, rows, strict=True):
                row.update(await _explained(app, db, one))
    slow_report.show(app, slow, rows, explain=explain, examples=examples)


async def _read(
    app: App, db: Database, source: str, collection: str | None, since: Any, slower_than: float
) -> tuple[Groups, str]:
    """Read the source that was asked for, or the first that has something and may be read."""
    from motorctl.core.slow import profiler, query_stats, running
    from motorctl.core.slow.groups import Groups

    recorded = "the profiler has recorded nothing"
    if source in ("auto", "profiler"):
        try:
            found = await app.attempt(
                profiler.read, db, since=since, slower_than=slower_than, collection=collection
            )
        except AuthorizationError as error:
            if source == "profiler" or since is not None:
                raise
            found, recorded = Groups(), error.message
        if found or source == "profiler" or since is not None:
            if not found:
                app.diagnostics.info(f"{recorded} of the kind: `motorctl slow profile on` turns it on")
            return found, "profiler"
    if source in ("auto", "query-stats"):
        counted = await app.attempt(query_stats.read, db, slower_than=slower_than, collection=collection)
        if counted is None and source == "query-stats":
            raise NotFoundError(
                "this server keeps no query statistics, or not for this user",
                hint="`motorctl slow profile on` has the profiler record slow queries",
            )
        if counted or source == "query-stats":
            return Groups(counted or ()), "query-stats"
    operations, all_users = await app.attempt(
        running.read, db, slower_than=slower_than, collection=collection
    )
    if source == "auto":
        app.diagnostics.info(f"{recorded}, so these run now; `motorctl slow profile on` turns it on")
    if not all_users:
        app.diagnostics.warning("only your own operations: to see those of others takes the privilege inprog")
    return Groups(operations), "current"


async def _explained(app: App, db: Database, one: Slow) -> dict[str, Any]:
    """Ask the planner about a shape's longest run: its verdict, and what would help."""
    from pymongo.errors import OperationFailure

    from motorctl.core import aggregation
    from motorctl.core.explain import advice, ask, read

    query = one.example
    if query is None:
        return {"verdict": None, "advice": []}
    try:
        plan = read.read(await app.attempt(ask.explain, db, query, verbosity="queryPlanner"))
        # What begins in the database itself has no collection to advise an index for.
        found = None if query.collection == "." else await app.attempt(advice.advise, db, query, plan)
    except OperationFailure as error:
        app.diagnostics.warning(f"{one.collection}: not explained: {aggregation.said(error)}")
        return {"verdict": None, "advice": []}
    return {"verdict": plan.verdict, "advice": found.documents() if found else []}
