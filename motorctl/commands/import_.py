"""`motorctl import`: what may be said of an import, read and checked; its state shown and forgotten.

Runs nothing itself: `import_run` does, and `import_status` shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from motorctl.commands import import_options as option
from motorctl.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from motorctl.app import App

group = typer.Typer()

TAB = {"\\t": "\t", "tab": "\t"}


@group.command("import")
def import_(
    ctx: typer.Context,
    files: option.Files,
    into: option.Into,
    mode: option.Mode = "insert",
    key: option.Key = None,
    drop: option.Drop = False,
    dry_run: option.DryRun = False,
    format: option.Format = "auto",
    encoding: option.Encoding = None,
    strict: option.Strict = False,
    legacy: option.Legacy = False,
    types: option.Types = None,
    columns_have_types: option.ColumnsHaveTypes = False,
    fields: option.Fields = None,
    no_header: option.NoHeader = False,
    delimiter: option.Delimiter = None,
    quote: option.Quote = '"',
    null: option.Null = None,
    ignore_blanks: option.IgnoreBlanks = False,
    rename: option.Rename = None,
    only: option.Only = None,
    omit: option.Omit = None,
    model: option.Model = None,
    rejects: option.Rejects = None,
    max_errors: option.MaxErrors = None,
    batch_size: option.BatchSize = 1000,
    ordered: option.Ordered = False,
    write_concern: option.WriteConcern = None,
    bypass_validation: option.BypassValidation = False,
    workers: option.Workers = None,
    resume: option.Resume = False,
    part: option.Part = None,
    name: option.Name = None,
) -> ExitCode | None:
    """Import NDJSON, JSON or CSV; every record is accounted for.

    read = inserted + updated + unchanged + rejected, also after Ctrl-C or a lost server. A refused
    record is shown with its file, line, field and reason, and doesn't stop the others; the exit code
    is 7 then. JSON is Extended JSON: one object a line, one array, or objects in a row, one or many.
    Excel files aren't read: save them as CSV.

    Modes: insert; upsert replaces the document with the same --key, or inserts; merge sets the record's
    fields in it, or inserts; replace changes what is there and refuses the rest; skip inserts what isn't
    there; delete deletes what is there, counted as updated. A record without its key is refused.

    CSV has a header; dotted names make nested documents. The delimiter is a comma, or a tab, ; or | if the
    header has those and no comma. A blank line is no record. A row has as many cells as the header, or is
    refused. Without a type, a cell is a number if writing it back gives the same text (007, 1.50 and
    1e5 stay text), quoted or not. Types: auto, string, int32, int64, double, decimal, bool, date,
    date(FORMAT), date(FORMAT, ZONE), date(s), date(ms), objectid, uuid, binary(base64), json. A date
    without a zone is UTC. TYPE?null, TYPE?string and TYPE?skip-field say what becomes of a cell that
    isn't of its type, instead of a refused record.

    A record without _id gets one before it is sent, and a batch that is sent again inserts nothing twice.
    The file of --rejects, mended, is imported like any other, with the options of the first import: it brings
    the columns along, not their types. With --max-errors the batch on its way isn't sent any more.

    --drop drops right before the first batch is sent: an input that can't be read, or has no record to
    write, costs nothing.

    With --resume, which may be given from the first run on, the same command goes on after a crash, and
    each record is there once in the end. The checkpoints are in the collection motorctl_imports of the
    same database: `motorctl import status` lists them, `motorctl import forget NAME` removes one.

    Example:
      motorctl import orders.ndjson --into orders
      motorctl import students.csv --into students --types 'gpa:double,joined:date(%d/%m/%Y)'
      motorctl import users.json.gz --into users --mode upsert --key email --rejects bad.ndjson
      zcat dump.gz | motorctl import - --into orders --format ndjson --max-errors 1%
      motorctl import 'dumps/*.ndjson' --into orders --workers 4
      motorctl import orders.ndjson --into orders --rejects bad.ndjson --resume
      motorctl import orders.ndjson --into orders --part 1/8 --name nightly
    """
    from motorctl import arguments
    from motorctl.commands import import_run
    from motorctl.commands.import_job import Job
    from motorctl.core.ingest.decoding import shape
    from motorctl.core.ingest.decoding.types import parse_types
    from motorctl.core.ingest.model import Plan, Reading

    app: App = ctx.obj
    keys = tuple(arguments.fields(key, "--key"))
    if mode != "insert" and not keys:
        raise UsageError(f"--mode {mode} needs --key", hint="--key email, or --key _id")
    if keys and mode == "insert":
        raise UsageError("--key is for the modes that look for a document", hint="--mode upsert, for example")
    names = tuple(arguments.fields(fields, "--fields")) or None
    if no_header and names is None:
        raise UsageError("--no-header needs --fields", hint="--fields name,email,gpa names the columns")
    plan = Plan(
        mode,
        keys,
        tuple(parse_types(types).items()) if types else (),
        null,
        ignore_blanks,
        shape.parse_renames(",".join(rename)) if rename else (),
        tuple(arguments.fields(only, "--only")),
        tuple(arguments.fields(omit, "--omit")),
        model,
        strict,
        legacy,
    )
    shape.check(plan)
    reading = Reading(
        format,
        _character(TAB.get(delimiter or "", delimiter), "--delimiter"),
        _character(quote, "--quote") or "",
        encoding,
        names,
        columns_have_types,
    )
    job = Job(
        tuple(files),
        into,
        plan,
        reading,
        drop=drop,
        dry_run=dry_run,
        rejects=rejects,
        max_errors=max_errors,
        batch_size=batch_size,
        ordered=ordered,
        write_concern=write_concern,
        bypass_validation=bypass_validation,
        workers=workers,
        resume=resume or part is not None,
        part=_part(part),
        name=name,
    )
    return import_run.run(app, job)


def _character(text: str | None, option: str) -> str | None:
    if text and (len(text) > 1 or text in "\r\n"):
        raise UsageError(f"{option} is one character, and {text!r} isn't")
    return text


def _part(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    number, _, of = text.partition("/")
    if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise UsageError(f"--part {text!r} isn't I/N", hint="--part 1/8 is the first of eight")
    return int(number), int(of)


@group.command("status")
def status(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="One import, with its parts and files.")
    ] = None,
) -> None:
    """Show imports that keep checkpoints: how far they are, and what has become of their records.

    It reads the collection motorctl_imports of the database and changes nothing. A NAME that isn't there is
    exit code 5.

    Example:
      motorctl import status
      motorctl import status orders/orders.ndjson -o json
    """
    from motorctl.commands import import_status

    import_status.status(ctx.obj, name)


@group.command("forget")
def forget(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `import status` lists it.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be forgotten, and forget nothing.")
    ] = False,
) -> None:
    """Remove the checkpoints of an import; the data that it imported stays.

    The next run with --resume begins at the first record again. Asks first; --yes answers. A NAME that isn't
    there is exit code 5.

    Example:
      motorctl import forget orders/orders.ndjson --yes
    """
    from motorctl.commands import import_status

    import_status.forget(ctx.obj, name, dry_run=dry_run)
