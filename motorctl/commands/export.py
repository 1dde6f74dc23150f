"""`motorctl export`."""

from __future__ import annotations

import time
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from motorctl.errors import UsageError

if TYPE_CHECKING:
    from motorctl.app import App
    from motorctl.core.export import Export

group = typer.Typer()

Format = Literal["ndjson", "json", "csv"]
COMPRESSED = (".gz", ".bz2", ".zst", ".xz")
ENDINGS: dict[str, Format] = {".json": "json", ".csv": "csv"}


@group.command("export")
def export(
    ctx: typer.Context,
    collection: Annotated[str, typer.Argument(metavar="COLLECTION", help="What to export.")],
    out: Annotated[
        str | None, typer.Option("--out", metavar="FILE", help="Write to a file; - is stdout.")
    ] = None,
    format: Annotated[
        Format | None,
        typer.Option(help="Default: by the file's ending, or by -o; else ndjson.", show_default=False),
    ] = None,
    filter: Annotated[
        str | None, typer.Option(metavar="JSON|@FILE|-", help="A filter in Extended JSON.")
    ] = None,
    projection: Annotated[
        str | None, typer.Option(metavar="JSON|@FILE|-", help="Which fields, as the server takes it.")
    ] = None,
    fields: Annotated[
        str | None, typer.Option(metavar="A,B", help="Which fields: the columns of CSV, in this order.")
    ] = None,
    sort: Annotated[
        str | None, typer.Option(metavar="A,-B", help="By A, then by B from the highest.")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, metavar="N", help="At most that many; 0: all.")] = 0,
    skip: Annotated[int, typer.Option(min=0, metavar="N", help="Leave out the first ones.")] = 0,
    canonical: Annotated[
        bool, typer.Option("--canonical", help="Canonical Extended JSON: every number keeps its type.")
    ] = False,
) -> None:
    """Export a collection as NDJSON, a JSON array or CSV.

    JSON is relaxed Extended JSON, which `import` reads back; with --canonical to the very same BSON.
    CSV has a column for each dotted path of --fields, else of the first 1,000 documents; arrays are
    JSON in a cell. It reads the collection and changes nothing. A file appears under its name when the
    export is whole, and not before.

    Example:
      motorctl export orders > orders.ndjson
      motorctl export orders --out orders.csv --fields _id,status,amount,created_at
      motorctl export orders --filter '{"status": "completed"}' --sort -created_at --limit 10
      motorctl export orders --canonical --out backup.ndjson
    """
    from motorctl import arguments
    from motorctl.core.export import Export, Query

    app: App = ctx.obj
    names = tuple(arguments.fields(fields))
    if out == "-":
        out = None
    if out and out.lower().endswith(COMPRESSED):
        raise UsageError(
            f"--out {out}: export writes no compressed files", hint="export ... | gzip > FILE does"
        )
    chosen = format or _format(app, out)
    if canonical and chosen == "csv":
        raise UsageError("--canonical is for JSON: a CSV cell has no types")
    if names and projection:
        raise UsageError("--fields and --projection say the same thing: give one of them")
    wanted: dict[str, Any] | None = arguments.document(app, projection, "--projection") or None
    if names:
        wanted = dict.fromkeys(names, 1)
        if "_id" not in names:
            wanted["_id"] = 0
    query = Query(arguments.document(app, filter, "--filter"), wanted, arguments.sort(sort), limit, skip)
    job = Export(chosen, query, canonical, names)
    started = time.monotonic()
    size = app.run(_to_file(app, collection, job, Path(out)) if out else _to_stdout(app, collection, job))
    seconds = time.monotonic() - started
    if not job.documents:
        app.diagnostics.info(f"{collection}: no documents, or no such collection")
    if job.partial:
        app.diagnostics.warning(
            f"{job.partial:,} documents have fields that no column shows: name the columns with --fields"
        )
    if out:
        app.output.emit(
            {
                "collection": collection,
                "exported": job.documents,
                "bytes": size,
                "seconds": round(seconds, 3),
                "documents_per_second": round(job.documents / seconds),
                "file": out,
            }
        )


def _format(app: App, out: str | None) -> Format:
    """Return the format of a file by its ending; on stdout `-o` has a say too, if it was typed."""
    if out:
        return ENDINGS.get(Path(out).suffix.lower(), "ndjson")
    typed = app.settings.values["output"]
    spoken: dict[str, Format] = {"json": "json", "csv": "csv"}
    return "ndjson" if typed.source == "default" else spoken.get(str(typed.value), "ndjson")


async def _to_stdout(app: App, collection: str, job: Export) -> int:
    from motorctl.core.export import blocks
    from motorctl.text import printable, printable_json

    size = 0
    async with app.connect() as db, aclosing(blocks(db[collection], job)) as written:
        async for block in written:
            size += len(block)
            text = block.decode()
            if app.output.terminal:
                text = printable(text, lines=True) if job.format == "csv" else printable_json(text)
            app.output.text(text)
    return size


async def _to_file(app: App, collection: str, job: Export, path: Path) -> int:
    from motorctl.core.export import blocks, open_whole

    size = 0
    with open_whole(path) as file, app.diagnostics.progress(f"exporting {collection}") as progress:
        async with app.connect() as db, aclosing(blocks(db[collection], job)) as written:
            async for block in written:
                file.write(block)
                size += len(block)
                progress.update(done=size, text=f"{job.documents:,} documents")
    return size
