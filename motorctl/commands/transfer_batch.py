"""`motorctl transfer batch`: what may be said of a file of transfers, read and checked; `transfer_batch_run` runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from motorctl.commands import import_options as option
from motorctl.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from motorctl.app import App

File = Annotated[
    str, typer.Argument(metavar="FILE", help="CSV, TSV, NDJSON or JSON; .gz, .zst, .bz2; - is stdin.")
]
Name = Annotated[
    str | None,
    typer.Option(
        "--batch",
        metavar="NAME",
        help="What the rows' keys begin with; else the file's name. stdin has none.",
        show_default=False,
    ),
]
Whole = Annotated[
    bool,
    typer.Option(
        "--all-or-nothing", help="All rows in one transaction; a refused one: exit 6, nothing done."
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Decide on every row by the balances that are there; write nothing.")
]
Results = Annotated[
    str | None,
    typer.Option(metavar="PATH", help="What became of each row, a JSON object a line; an old file goes."),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1, max=64, metavar="N", help="Transactions at the same time; default 2.", show_default=False
    ),
]


def batch(
    ctx: typer.Context,
    file: File,
    name: Name = None,
    all_or_nothing: Whole = False,
    dry_run: DryRun = False,
    rejects: option.Rejects = None,
    max_errors: option.MaxErrors = None,
    results: Results = None,
    workers: Workers = None,
    format: option.Format = "auto",
    encoding: option.Encoding = None,
    delimiter: option.Delimiter = None,
    fields: option.Fields = None,
    rename: option.Rename = None,
    omit: option.Omit = None,
) -> ExitCode | None:
    """Carry out a file of transfers, each row once, however often it is run.

    Columns or fields are from, to, amount, and where wanted key and note. Amounts are exact, as they are
    written. Each row is decided on its own, in the order that its accounts have in the file: one that is
    refused (no money, no such account) is told with line, field and reason, and keeps none of the others
    back; the exit code is 7 then.

    A row without a key of its own has the key BATCH/ROW/CONTENT: the batch's name, the row's number from 1,
    and 12 digits made of what it says. So the same file under the same name does nothing twice: after a
    crash, a lost server or Ctrl-C, run the same command again, and it goes on where it stopped. Rows that
    were done are counted as replayed; where all of them were, there is a warning. Rows that were refused are
    tried again. A row that was changed after it was sent is refused. The next month's payments need another
    --batch name, or another file name.

    --rejects keeps the refused rows. That file can be mended and sent with this same command: each row has
    the key that it had, and is sent from one of the two files only. read = committed + replayed + rejected; rows that weren't reached are left, and
    amount is the sum of the rows committed now.

    --all-or-nothing takes up to 20,000 rows. Exit 3: no server, or lost in the middle; 9: of some rows it
    isn't known whether they are committed. Both are mended by running it again.

    Example:
      motorctl transfer batch payments.csv --dry-run
      motorctl transfer batch payments.csv --batch payroll-2026-11 --rejects refused.ndjson
      motorctl transfer batch payments.csv --all-or-nothing --results done.ndjson
      motorctl transfer batch - --batch refunds-2026-11-21 -o json < payments.csv
    """
    from motorctl import arguments
    from motorctl.commands import transfer_batch_run
    from motorctl.core.ingest.decoding import shape
    from motorctl.core.ingest.model import Reading
    from motorctl.core.transfers.batch.record import Naming

    app: App = ctx.obj
    if dry_run and results is not None:
        raise UsageError("--results needs a run: --dry-run does nothing", hint="leave one of the two out")
    if all_or_nothing and (max_errors is not None or workers is not None):
        raise UsageError("--all-or-nothing is one transaction, and its first refused row is too many")
    tabs = {"\\t": "\t", "tab": "\t"}
    names = tuple(arguments.fields(fields, "--fields")) or None
    job = transfer_batch_run.Job(
        file,
        name,
        Reading(format, tabs.get(delimiter or "", delimiter), '"', encoding, names),
        Naming(
            shape.parse_renames(",".join(rename)) if rename else (), tuple(arguments.fields(omit, "--omit"))
        ),
        whole=all_or_nothing,
        dry_run=dry_run,
        rejects=rejects,
        max_errors=max_errors,
        results=results,
        workers=workers,
    )
    return transfer_batch_run.run(app, job)
