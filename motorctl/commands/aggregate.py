"""`motorctl aggregate`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from motorctl.app import App

group = typer.Typer()

ReadPreference = Literal["primary", "primaryPreferred", "secondary", "secondaryPreferred", "nearest"]
ReadConcern = Literal["local", "available", "majority", "linearizable", "snapshot"]
_server = partial(typer.Option, rich_help_panel="How the server is asked")
_write = partial(typer.Option, rich_help_panel="Stages that write")


@group.command("aggregate")
def aggregate(
    ctx: typer.Context,
    collection: Annotated[
        str, typer.Argument(metavar="COLLECTION", help="What to read; . is the database itself.")
    ],
    pipeline: Annotated[
        str,
        typer.Argument(
            metavar="PIPELINE|@FILE|-", help="Stages in Extended JSON, in mongosh's notation or in YAML."
        ),
    ],
    var: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[:TYPE]=VALUE|NAME@FILE",
            help='A value by name, for $$NAME and {"$var": "NAME"}; may be repeated.',
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="At most that many documents of the result.")
    ] = None,
    canonical: Annotated[
        bool, typer.Option("--canonical", help="Canonical Extended JSON: every number keeps its type.")
    ] = False,
    max_time: Annotated[
        float | None, _server(min=0.001, metavar="SECONDS", help="Let the server give up after that (3).")
    ] = None,
    hint: Annotated[str | None, _server(metavar="NAME|JSON", help="The index to use.")] = None,
    collation: Annotated[
        str | None, _server(metavar="LOCALE|JSON", help="How texts are compared and sorted.")
    ] = None,
    read_preference: Annotated[
        ReadPreference | None,
        _server(
            metavar="MODE",
            help="primary, primaryPreferred, secondary, secondaryPreferred, nearest; else as the URI says.",
            show_default=False,
        ),
    ] = None,
    read_concern: Annotated[
        ReadConcern | None,
        _server(
            metavar="LEVEL", help="local, available, majority, linearizable, snapshot.", show_default=False
        ),
    ] = None,
    comment: Annotated[
        str | None, _server(metavar="TEXT", help="What the server's log and profiler show beside it.")
    ] = None,
    batch_size: Annotated[
        int | None,
        _server(
            min=1,
            max=100_000,
            metavar="N",
            help="Documents in a reply; default: 101, then 4,000.",
            show_default=False,
        ),
    ] = None,
    allow_write: Annotated[
        bool, _write("--allow-write", help="Permit $out and $merge; asks before.")
    ] = False,
    dry_run: Annotated[
        bool,
        _write("--dry-run", help="Say what would be written, have the server check it, and run nothing."),
    ] = False,
) -> None:
    """Run an aggregation pipeline and print its documents as they come.

    Sorts and groups may use the server's disk. It changes nothing, unless a stage writes ($out, $merge,
    wherever it stands): that needs --allow-write, and asks first. An error names the stage, and its line
    and column; stages are counted from 1.

    A file may be JSON, YAML (.yaml, .yml) or what was copied from mongosh or Compass: keys without quotes,
    comments, ISODate("2026-01-31"), ObjectId("..."), /regular expressions/.

    A --var is a value and never a part of the text: Extended JSON if it can be read so, else text, or of a
    TYPE of `import --types` (string, date, decimal, objectid, ...). {"$var": "NAME"} stands for it anywhere,
    $$NAME in an expression. NAME@FILE takes it from a file, NAME@- from stdin.

    CSV, tables and markdown have the columns of the first reply; fields that come later are named on stderr.

    Example:
      motorctl aggregate orders '[{"$sortByCount": "$status"}]'
      motorctl aggregate orders '[{$match: {status: "pending"}}, {$limit: 3}]' -o ndjson
      echo '[{"$count": "orders"}]' | motorctl aggregate orders - -o json
      motorctl aggregate orders '[{$match: {created_at: {$gte: {$var: "day"}}}}]' --var day:date=2026-01-31
      motorctl aggregate orders '[{$match: {status: "completed"}}, {$out: "done"}]' --dry-run
      motorctl aggregate . '[{$currentOp: {}}, {$project: {op: 1, ns: 1}}]' --db admin -o ndjson
    """
    from motorctl import arguments
    from motorctl.commands.aggregate_run import Job, run
    from motorctl.core import aggregation

    app: App = ctx.obj
    arguments.stdin_once(pipeline, variables=var or [])
    typed = arguments.pipeline(app, pipeline)
    alone = isinstance(typed.value, dict)
    try:
        stages = aggregation.checked(typed.value)
        values = arguments.variables(app, var or [])
        found = aggregation.filled(stages, values, alone=alone)
    except aggregation.PipelineError as error:
        typed.located(error)
    writes = list(aggregation.writes(found.pipeline, alone=alone))
    if writes and limit is not None:
        first = writes[0]
        typed.fail(
            f"{first.place}: --limit stands behind the last stage, and nothing may follow {first.stage}",
            first.path,
            hint=f'{{"$limit": {limit}}} can stand before it',
        )
    if writes and not (allow_write or dry_run):
        first = writes[0]
        typed.fail(
            f"{first.place}: {first.stage} writes to {first.target}",
            first.path,
            hint="add --allow-write to permit it",
        )
    options = aggregation.Options(
        max_time_ms=None if max_time is None else round(max_time * 1000),
        hint=arguments.hint(app, hint),
        collation=arguments.collation(app, collation),
        comment=comment,
        batch_size=batch_size,
        read_preference=read_preference,
        read_concern=read_concern,
    )
    app.run(run(app, Job(collection, typed, found, values, writes, options, limit, canonical, dry_run)))
