"""The options of `motorctl import`, in the groups in which `--help` shows them."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

_Format = Literal["auto", "json", "ndjson", "csv", "tsv"]
_Mode = Literal["insert", "upsert", "merge", "replace", "skip", "delete"]
_Model = Literal["students", "users", "orders"]

READING, TABLES, SHAPING, ERRORS, WRITING, RESUMING = (
    "Reading",
    "CSV and TSV",
    "What becomes of a record",
    "Refused records",
    "Writing",
    "Resuming, and many machines",
)
Files = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE...", help="Files, globs, directories; .gz, .zst, .bz2 as they are; - is stdin."
    ),
]
Into = Annotated[str, typer.Option("--into", metavar="COLLECTION", help="Where the documents go.")]
Mode = Annotated[_Mode, typer.Option(help="What to do with a record; see above.")]
Key = Annotated[
    str | None,
    typer.Option(metavar="FIELD[,FIELD]", help="What a document is found by, in each mode but insert."),
]
Drop = Annotated[
    bool, typer.Option("--drop", help="Drop the collection, its indexes and its validator first; asks.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Read, type and validate everything, and write nothing.")
]
Format = Annotated[
    _Format, typer.Option(help="auto looks at the bytes, not only at the name.", rich_help_panel=READING)
]
Encoding = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Else UTF-8, or what a byte order mark says.", rich_help_panel=READING),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict",
        help="Refuse an object that names a key twice; else the last one counts.",
        rich_help_panel=READING,
    ),
]
Legacy = Annotated[
    bool, typer.Option("--legacy", help="Read the Extended JSON of mongoexport 3.x.", rich_help_panel=READING)
]
Types = Annotated[
    str | None,
    typer.Option(metavar="FIELD:TYPE,...", help="Types of columns; see above.", rich_help_panel=TABLES),
]
ColumnsHaveTypes = Annotated[
    bool,
    typer.Option(
        "--columns-have-types",
        help="The header says them, as for mongoimport: age.int32().",
        rich_help_panel=TABLES,
    ),
]
Fields = Annotated[
    str | None,
    typer.Option(
        metavar="A,B,...", help="Names of the columns: the file has no header.", rich_help_panel=TABLES
    ),
]
NoHeader = Annotated[
    bool, typer.Option("--no-header", help="Said with --fields; it means the same.", rich_help_panel=TABLES)
]
Delimiter = Annotated[
    str | None, typer.Option(metavar="CHAR", help="Between cells; \\t is a tab.", rich_help_panel=TABLES)
]
Quote = Annotated[
    str, typer.Option(metavar="CHAR", help="Around cells; '' for none.", rich_help_panel=TABLES)
]
Null = Annotated[
    str | None, typer.Option(metavar="VALUE", help="A cell of this text is null.", rich_help_panel=TABLES)
]
IgnoreBlanks = Annotated[
    bool,
    typer.Option("--ignore-blanks", help="Leave out the field of an empty cell.", rich_help_panel=TABLES),
]
Rename = Annotated[
    list[str] | None,
    typer.Option(metavar="OLD=NEW", help="Rename a field; may be repeated.", rich_help_panel=SHAPING),
]
Only = Annotated[
    str | None,
    typer.Option(metavar="A,B,...", help="Keep these fields, by their new names.", rich_help_panel=SHAPING),
]
Omit = Annotated[
    str | None, typer.Option(metavar="A,B,...", help="Leave these out.", rich_help_panel=SHAPING)
]
Model = Annotated[
    _Model | None,
    typer.Option(help="Refuse what isn't one of these, with a reason a field.", rich_help_panel=SHAPING),
]
Rejects = Annotated[
    str | None,
    typer.Option(
        metavar="PATH", help="Keep them, with reasons (NDJSON); an old file goes.", rich_help_panel=ERRORS
    ),
]
MaxErrors = Annotated[
    str | None,
    typer.Option(metavar="N|P%", help="Stop when there are more than that.", rich_help_panel=ERRORS),
]
BatchSize = Annotated[
    int,
    typer.Option(min=1, max=100_000, metavar="N", help="Documents in one message.", rich_help_panel=WRITING),
]
Ordered = Annotated[
    bool,
    typer.Option(
        "--ordered", help="In the order of the input, one batch at a time.", rich_help_panel=WRITING
    ),
]
WriteConcern = Annotated[
    str | None,
    typer.Option(
        metavar="N|majority", help="Else the connection string's, or the server's.", rich_help_panel=WRITING
    ),
]
BypassValidation = Annotated[
    bool,
    typer.Option(
        "--bypass-validation", help="Don't ask the collection's validator.", rich_help_panel=WRITING
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=64,
        metavar="N",
        help="Processes that parse; default: one a core, at most 4.",
        show_default=False,
        rich_help_panel=WRITING,
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Keep checkpoints, and go on from the last one, if there is one.",
        rich_help_panel=RESUMING,
    ),
]
Part = Annotated[
    str | None,
    typer.Option(
        metavar="I/N",
        help="Import the I-th of N parts of the input; keeps checkpoints.",
        rich_help_panel=RESUMING,
    ),
]
Name = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Of the checkpoints; else COLLECTION/FILE.", rich_help_panel=RESUMING),
]
