"""`motorctl aggregate`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from motorctl.errors import UsageError

if TYPE_CHECKING:
    from motorctl.app import App
    from motorctl.core.aggregation import Pipeline

group = typer.Typer()


@group.command("aggregate")
def aggregate(
    ctx: typer.Context,
    collection: Annotated[str, typer.Argument(metavar="COLLECTION")],
    pipeline: Annotated[str, typer.Argument(metavar="PIPELINE|@FILE|-", help="Stages in Extended JSON.")],
    allow_write: Annotated[
        bool, typer.Option("--allow-write", help="Permit $out and $merge; asks before.")
    ] = False,
    max_time: Annotated[
        float | None, typer.Option(min=0.001, metavar="SECONDS", help="Let the server give up after that.")
    ] = None,
    canonical: Annotated[bool, typer.Option("--canonical", help="JSON in canonical Extended JSON.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would write, and run nothing.")
    ] = False,
) -> None:
    """Run an aggregation pipeline and print its documents.

    Sorts and groups may use the server's disk. Stages that write ($out, $merge, wherever they stand)
    are refused without --allow-write.

    Example:
      motorctl aggregate orders '[{"$sortByCount": "$status"}]'
      motorctl aggregate orders '[{"$match": {"status": "pending"}}, {"$limit": 3}]' -o ndjson
      echo '[{"$count": "orders"}]' | motorctl aggregate orders - -o json
    """
    from motorctl import arguments
    from motorctl.core import aggregation

    app: App = ctx.obj
    stages = aggregation.checked(arguments.value(app, pipeline, "pipeline"))
    writes = list(aggregation.writes(stages))
    if dry_run:
        app.output.emit([write._asdict() for write in writes])
        return
    if writes and not allow_write:
        first = writes[0]
        raise UsageError(
            f"{first.place}: {first.stage} writes to {first.target}", hint="add --allow-write to permit it"
        )
    for write in writes:
        verb = "replace collection" if write.stage == "$out" else "write into"
        if not app.diagnostics.confirm(f"{verb} {write.target}?"):
            return
    app.run(_aggregate(app, collection, stages, max_time, canonical=canonical))


async def _aggregate(
    app: App, collection: str, pipeline: Pipeline, max_time: float | None, *, canonical: bool
) -> None:
    from motorctl.core import aggregation

    milliseconds = None if max_time is None else round(max_time * 1000)
    async with app.connect() as db:
        # A pipeline that writes may not run twice; one that reads may begin again.
        begin = aggregation.run if any(aggregation.writes(pipeline)) else partial(app.rows, aggregation.run)
        documents = begin(db, collection, pipeline, max_time_ms=milliseconds)
        await app.output.stream(documents, free=True, canonical=canonical)
