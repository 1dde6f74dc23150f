"""`motorctl export`."""

from __future__ import annotations

import time
from contextlib import ExitStack, aclosing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer

from motorctl.errors import UsageError, no_collection

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from motorctl.app import App
    from motorctl.core.export import Export

group = typer.Typer()

Format = Literal["ndjson", "json", "csv"]
ReadPreference = Literal["primary", "primaryPreferred", "secondary", "secondaryPreferred", "nearest"]
_which = partial(typer.Option, rich_help_panel="Which documents")
_text = partial(typer.Option, rich_help_panel="As what")
_server = partial(typer.Option, rich_help_panel="How the server is asked")


class Source(NamedTuple):
    """What is exported, from which members; lines that name the documents."""

    name: str
    read_preference: str | None
    assert_exists: bool
    ids: BinaryIO | None


@group.command("export")
def export(
    ctx: typer.Context,
    collection: Annotated[str, typer.Argument(metavar="COLLECTION", help="What to export.")],
    out: Annotated[str | None, _text("--out", metavar="FILE", help="Write to a file; - is stdout.")] = None,
    format: Annotated[
        Format | None, _text(help="Default: by the file's ending, or by -o; else ndjson.", show_default=False)
    ] = None,
    filter: Annotated[str | None, _which(metavar="JSON|@FILE|-", help="A filter in Extended JSON.")] = None,
    ids: Annotated[
        str | None,
        _which(
            "--ids", metavar="FILE|-", help="Those that a list names, one _id or document with it a line."
        ),
    ] = None,
    projection: Annotated[
        str | None, _which(metavar="JSON|@FILE|-", help="Which fields, as the server takes it.")
    ] = None,
    fields: Annotated[
        str | None, _which(metavar="A,B", help="Which fields: the columns of CSV, in this order.")
    ] = None,
    sort: Annotated[str | None, _which(metavar="A,-B", help="By A, then by B from the highest.")] = None,
    limit: Annotated[int, _which(min=0, metavar="N", help="At most that many; 0: all.")] = 0,
    skip: Annotated[int, _which(min=0, metavar="N", help="Leave out the first ones.")] = 0,
    assert_exists: Annotated[
        bool, _which("--assert-exists", help="Fail (5) when there is none, as with --out.")
    ] = False,
    canonical: Annotated[
        bool, _text("--canonical", help="Canonical Extended JSON: every number keeps its type.")
    ] = False,
    header: Annotated[
        bool, _text("--header/--no-header", help="CSV: begin with the names of the columns.")
    ] = True,
    read_preference: Annotated[
        ReadPreference | None,
        _server(
            metavar="MODE",
            help="primary, primaryPreferred, secondary, secondaryPreferred, nearest; else as the URI says.",
            show_default=False,
        ),
    ] = None,
    snapshot: Annotated[
        bool, _server("--snapshot", help="All as it was at one point in time; MongoDB 5.0 and a replica set.")
    ] = False,
    hint: Annotated[str | None, _server(metavar="NAME|JSON", help="The index to use.")] = None,
    batch_size: Annotated[
        int, _server(min=1, max=100_000, metavar="N", help="Documents in a reply, 16 MB at most.")
    ] = 4000,
    workers: Annotated[
        int | None,
        _text(
            min=0,
            max=64,
            metavar="N",
            help="Processes that write text, when there is much; default: one a core, at most 4.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Export a collection as NDJSON, a JSON array or CSV.

    JSON is relaxed Extended JSON, which `import` reads back; with --canonical
    to the very same BSON. CSV has a column for each dotted path of --fields,
    else of the first 1,000 documents, or 16 MB of them; arrays are JSON in a
    cell, and the --types that `import` needs are said. It reads the collection
    and changes nothing. A file appears under its name when the export is whole,
    and not before; it is compressed when its name ends with .gz, .zst or .bz2.
    With --out, a collection that isn't there is an error (5).

    A line of --ids is {"_id": ...}, {"id": ...} or an _id alone, in Extended JSON. They are asked for
    a thousand at a time; what is missing is counted. --filter may narrow them further.
    Without --snapshot, documents that are written meanwhile may be in it or not.

    Example:
      motorctl export orders > orders.ndjson
      motorctl export orders --out orders.csv.gz --fields _id,status,amount
      motorctl export orders --filter '{"status": "completed"}' --sort -created_at --limit 10
      echo '{"_id": 7}' | motorctl export orders --ids -
      motorctl export orders --canonical --snapshot --out backup.ndjson.zst
    """
    from motorctl import arguments
    from motorctl.core.export import Export, Query, advice, check_columns, compression_of, open_ids
    from motorctl.core.workers import default_count

    app: App = ctx.obj
    names = tuple(arguments.fields(fields))
    check_columns(names)
    if out == "":
        raise UsageError("--out: the name of the file is empty", hint="--out - is stdout")
    path = None if out in (None, "-") else Path(str(out))
    compression = compression_of(path) if path else None
    chosen = format or _format(app, path)
    if canonical and chosen == "csv":
        raise UsageError("--canonical is for JSON: a CSV cell has no types")
    if not header and chosen != "csv":
        raise UsageError("--no-header is for CSV")
    if names and projection:
        raise UsageError("--fields and --projection say the same thing: give one of them")
    if ids is not None and (sort or limit or skip or hint or snapshot or (ids == "-" and filter == "-")):
        raise UsageError(
            "--ids: no --sort, --limit, --skip, --hint or --snapshot with it, nor a --filter from stdin too",
            hint="choose and order the list of ids itself",
        )
    wanted: dict[str, Any] | None = arguments.document(app, projection, "--projection") or None
    if names:
        wanted = dict.fromkeys(names, 1)
        if "_id" not in names:
            wanted["_id"] = 0
    query = Query(
        arguments.document(app, filter, "--filter"),
        wanted,
        arguments.sort(sort),
        limit,
        skip,
        arguments.hint(app, hint),
        batch_size,
        snapshot,
    )
    count = default_count() if workers is None else workers
    job = Export(chosen, query, canonical, names, header, compression, count)
    started = time.monotonic()
    with open_ids(ids, app.stdin) as lines:
        source = Source(collection, read_preference, assert_exists or path is not None, lines)
        app.run(_to_file(app, source, job, path) if path else _to_stdout(app, source, job))
    seconds = time.monotonic() - started
    for warning in advice.warnings(collection, job):
        app.diagnostics.warning(warning)
    for note in advice.notes(job):
        app.diagnostics.info(note)
    if path:
        summary: dict[str, Any] = {"collection": collection, "exported": job.documents}
        summary |= {} if ids is None else {"missing": job.missing}
        summary |= {"count_before": job.before, "count_after": job.after, "bytes": job.bytes}
        rate = round(job.documents / seconds)
        summary |= {"seconds": round(seconds, 3), "documents_per_second": rate, "file": out}
        app.output.emit(_words(summary) if app.output.format == "table" else summary)


def _words(summary: dict[str, Any]) -> dict[str, Any]:
    """Return a summary as people read it, in the words of an import's."""
    from motorctl.core.index_usage import sized
    from motorctl.formats import rated

    counts = ("exported", "missing", "count_before", "count_after")
    shown = {name.replace("_", " "): f"{summary[name]:,}" for name in counts if summary.get(name) is not None}
    time = rated(summary["seconds"], summary["documents_per_second"])
    ends = {"size": sized(summary["bytes"]), "time": time, "file": summary["file"]}
    return {"collection": summary["collection"], **shown, **ends}


def _format(app: App, path: Path | None) -> Format:
    """Return the format of a file by its ending; on stdout `-o` has a say too, if it was typed."""
    from motorctl.core.export import format_of

    if path:
        return format_of(path)
    typed = app.settings.values["output"]
    return "ndjson" if typed.source == "default" else format_of(Path(f"stdout.{typed.value}"))


async def _to_stdout(app: App, source: Source, job: Export) -> None:
    from motorctl.text import printable, printable_json

    def write(block: bytes) -> None:
        text = block.decode()
        if app.output.terminal:
            text = printable(text, lines=True) if job.format == "csv" else printable_json(text)
        app.output.text(text)

    # Nothing is drawn over the documents themselves.
    await _write(app, source, job, write, drawn=not app.output.terminal)


async def _to_file(app: App, source: Source, job: Export, path: Path) -> None:
    from motorctl.core.export import open_whole

    with open_whole(path, private=True) as file:
        await _write(app, source, job, file.write, drawn=True)


async def _write(
    app: App, source: Source, job: Export, write: Callable[[bytes], object], *, drawn: bool
) -> None:
    from motorctl.core import export as core

    async with app.connect() as db:
        collection = core.reading(db[source.name], source.read_preference)
        kind = await app.attempt(core.look_up, collection)
        if kind is None:
            absent = no_collection(source.name, db.name)
            if source.assert_exists:
                raise absent
            app.diagnostics.warning(absent.message)
        # How many a filter leaves is known when they have been read, and not before.
        part = job.query.filter or job.query.limit or job.query.skip or source.ids is not None
        counted = kind == "collection" and not part
        job.before = await core.count(collection) if counted else None
        with ExitStack() as stack:
            show = app.diagnostics.progress(f"exporting {source.name}", job.before, unit="documents")
            progress = stack.enter_context(show) if drawn else None
            started = time.monotonic()
            async with aclosing(core.blocks(collection, job, ids=source.ids, attempt=app.attempt)) as blocks:
                async for block in blocks:
                    write(block)
                    if progress:
                        progress.update(done=job.documents, text=_way(job, time.monotonic() - started))
        job.after = await core.count(collection) if counted else None
    if kind and not job.documents:
        app.diagnostics.info(f"{source.name}: no documents")


def _way(job: Export, seconds: float) -> str:
    rate = f"{job.documents / seconds:,.0f}/s {job.bytes / 1e6:,.0f} MB"
    return rate if job.before else f"{job.documents:,} documents {rate}"
