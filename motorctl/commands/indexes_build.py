"""`motorctl indexes build`: the index builds that the server has under way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from motorctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from motorctl.app import App
    from motorctl.client import Database
    from motorctl.core.schema.builds import Build


def build(
    ctx: typer.Context,
    collection: Annotated[
        str | None, typer.Argument(metavar="[COLLECTION]", help="Only this one's.", show_default=False)
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show their progress until all are done.")] = False,
    interval: Annotated[
        float, typer.Option("--interval", metavar="S", min=0.1, help="Seconds between two looks of --watch.")
    ] = 1.0,
) -> None:
    """Show the index builds under way in the database.

    Only reads. A build goes on when the command that began it is gone; `indexes drop` stops it. While
    it scans, documents are counted, then the keys of each index; its share is that of the present
    phase. --watch ends when nothing is being built any more; with -o ndjson it writes what it sees at
    each look.

    Example:
      motorctl indexes build
      motorctl indexes build orders --watch
      motorctl indexes build --watch --interval 5 -o ndjson
    """
    app: App = ctx.obj
    if not watch:
        app.run(_list(app, collection))
        return
    if app.output.format not in ("table", "ndjson"):
        raise UsageError(
            f"--watch has no end that could be written as {app.output.format}",
            hint="-o ndjson writes an object at each look; leave -o out for a progress bar",
        )
    app.run(_watch(app, collection, interval))


async def _list(app: App, collection: str | None) -> None:
    from datetime import timedelta

    from motorctl.output import Column

    async with app.connect() as db:
        builds = await app.attempt(_look, app, db, collection, first=True)
    if app.output.format in ("json", "ndjson"):
        app.output.emit([build.document() for build in builds])
        return
    if app.output.format == "csv":
        facts = ("collection", "names", "phase", "done", "total", "share", "seconds", "opid")
        rows = [{**build.document(), "names": " ".join(build.names)} for build in builds]
        app.output.emit(rows, [Column(name) for name in facts])
        return
    if not builds:
        app.diagnostics.info("no index is being built")
        return
    shown = [
        {
            "collection": build.collection,
            "indexes": ", ".join(build.names),
            "phase": build.phase,
            "share": None if build.share is None else f"{int(build.share * 100)}%",
            "done": None if build.done is None else f"{build.done:,} of {build.total:,}",
            "running for": str(timedelta(seconds=int(build.seconds))),
            "operation": str(build.opid),
        }
        for build in builds
    ]
    right = ("share", "done", "running for")
    app.output.emit(shown, [Column(name, right=name in right) for name in shown[0]])


async def _watch(app: App, collection: str | None, interval: float) -> None:
    import asyncio

    from motorctl.commands import building

    async with app.connect() as db:
        builds = await app.attempt(_look, app, db, collection, first=True)
        seen = len(builds)
        with app.diagnostics.progress("index builds", seen or None) as progress:
            while True:
                if app.output.format == "ndjson":
                    _emit(app, builds)
                if not builds:
                    break
                progress.update(done=max(seen - len(builds), 0))
                building.show(progress, builds)
                await asyncio.sleep(interval)
                builds = await app.attempt(_look, app, db, collection)
    app.diagnostics.info("all index builds have ended" if seen else "no index is being built")


async def _look(app: App, db: Database, collection: str | None, *, first: bool = False) -> list[Build]:
    from motorctl.core.schema.builds import look

    builds, everybodys = await look(db)
    if first and not everybodys:
        app.diagnostics.warning(
            "this user may not see what others run: shown are only builds that commands of his own wait "
            "for (the role clusterMonitor shows all)"
        )
    return [build for build in builds if collection in (None, build.collection)]


def _emit(app: App, builds: Sequence[Build]) -> None:
    from datetime import UTC, datetime

    app.output.emit([{"time": datetime.now(UTC), "builds": [build.document() for build in builds]}])
    # Whoever reads a pipe wants each look as it comes.
    app.streams.stdout.flush()
