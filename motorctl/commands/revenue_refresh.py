"""`motorctl revenue over-time --refresh-into`: a report that is kept in a collection, brought up to date."""

from __future__ import annotations

from typing import TYPE_CHECKING

from motorctl.errors import UsageError

if TYPE_CHECKING:
    from motorctl.app import App
    from motorctl.core.revenue.over_time import Series
    from motorctl.core.revenue.refresh import Refreshed
    from motorctl.core.revenue.selection import Orders


def check(app: App, into: str | None, *, chart: bool, instead: str | None, dry_run: bool) -> None:
    """Refuse options that a kept report has no use for, and --dry-run where nothing would be written."""
    if into is None:
        if dry_run:
            raise UsageError("--dry-run is for --refresh-into: a report changes nothing", hint="leave it out")
        return
    others = {"--chart": chart, "--show-pipeline": instead == "pipeline", "--explain": instead == "explain"}
    if given := [option for option, is_given in others.items() if is_given]:
        raise UsageError(f"{given[0]} and --refresh-into exclude each other", hint="leave one of them out")
    if app.output.format in ("html", "svg"):
        raise UsageError(f"--refresh-into draws nothing: -o {app.output.format} is for the report itself")


async def refresh(app: App, orders: Orders, series: Series, into: str, *, dry_run: bool) -> None:
    """Compute what has changed since the last run and say which periods that were."""
    from motorctl.core import driver
    from motorctl.core.revenue import refresh as kept

    async with app.connect() as db:
        version = await app.attempt(driver.server_version, db)
        with app.diagnostics.progress(f"bringing {into} up to date"):
            found = await app.attempt(
                kept.refresh, db, orders, series, into, version=version, dry_run=dry_run
            )
    with app.output.after(None if dry_run else f"{into} is up to date", None):
        _show(app, found, dry_run=dry_run)


def _show(app: App, found: Refreshed, *, dry_run: bool) -> None:
    document = {"into": found.into, "full": found.full, "reason": found.reason, "periods": found.periods}
    if app.output.format in ("json", "ndjson"):
        app.output.emit(document)
        return
    count = f"{len(found.periods):,} period" + ("" if len(found.periods) == 1 else "s")
    which = "all" if found.full and dry_run else count if found.full else ", ".join(found.periods) or "none"
    app.output.emit({**document, "full": "yes" if found.full else "no", "periods": which})
    if dry_run:
        app.diagnostics.dry_run()
