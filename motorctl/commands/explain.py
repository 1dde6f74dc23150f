"""`motorctl explain`: how the server runs a query.

Owns the verbs and what each takes; `explain_run` asks and shows, `explain_suite` does so for many queries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from motorctl.commands import explain_options as option
from motorctl.commands.explain_aggregate import aggregate
from motorctl.commands.explain_suite import suite
from motorctl.errors import ExitCode

if TYPE_CHECKING:
    from motorctl.app import App

group = typer.Typer(
    no_args_is_help=True, help="How the server runs a query, what would help it, and gates for CI."
)


@group.command("find")
def find(
    ctx: typer.Context,
    collection: option.Collection,
    filter: option.Filter = None,
    sort: Annotated[
        str | None, typer.Option("--sort", metavar="FIELDS|JSON", help="name,-gpa, or a document.")
    ] = None,
    projection: Annotated[
        str | None, typer.Option("--projection", metavar="JSON|@FILE", help="Which fields.")
    ] = None,
    limit: option.Limit = None,
    skip: option.Skip = None,
    hint: option.Hint = None,
    collation: option.Collation = None,
    raw: option.Raw = False,
    no_run: option.NoRun = False,
    max_time: option.MaxTime = None,
    no_advice: option.NoAdvice = False,
    fail_on: option.FailOn = None,
    baseline: option.Baseline = None,
    update_baseline: option.UpdateBaseline = False,
    name: option.Name = None,
    try_index: option.TryIndex = False,
    sample: option.Sample = None,
    dry_run: option.DryRun = False,
) -> ExitCode | None:
    """Show how the server finds documents, and at what cost.

    Only reads. The server runs the query to its end and sends none of its documents; with --no-run it
    only plans. The first line says how documents are found: ixscan (by an index), collscan (the whole
    collection is read), idhack (one, by its _id), express (a short way past the planner), eof (nothing
    is read), mixed (some by an index, and some collection as a whole).

    The last stage stands on top; in and out are documents, keys and docs what the stage itself examined,
    own ms its time without the stages below. JSON has the stages as a flat list with their depth, from the
    top: jq '.stages[] | select(.docs_examined > 100)'.

    Example:
      motorctl explain find orders --filter '{"status": "completed"}' --sort -created_at --limit 10
      motorctl explain find users --filter '{"name": "Ada"}' --no-run -o json
      motorctl explain find orders --raw -o json > plan.json
    """
    from motorctl import arguments

    app: App = ctx.obj
    given = {
        "filter": arguments.document(app, filter, "--filter"),
        "sort": option.sorting(app, sort),
        "projection": arguments.document(app, projection, "--projection"),
        "limit": limit,
        "skip": skip,
        "hint": arguments.hint(app, hint),
        "collation": arguments.collation(app, collation),
    }
    trial = option.Trial(try_index, sample, dry_run)
    asked = option.Asked(raw, no_run, max_time, no_advice, fail_on, baseline, update_baseline, name, trial)
    return asked.explain(app, "find", collection, given)


group.command("aggregate")(aggregate)


@group.command("count")
def count(
    ctx: typer.Context,
    collection: option.Collection,
    filter: option.Filter = None,
    limit: option.Limit = None,
    skip: option.Skip = None,
    hint: option.Hint = None,
    collation: option.Collation = None,
    raw: option.Raw = False,
    no_run: option.NoRun = False,
    max_time: option.MaxTime = None,
    no_advice: option.NoAdvice = False,
    fail_on: option.FailOn = None,
    baseline: option.Baseline = None,
    update_baseline: option.UpdateBaseline = False,
    name: option.Name = None,
    try_index: option.TryIndex = False,
    sample: option.Sample = None,
    dry_run: option.DryRun = False,
) -> ExitCode | None:
    """Show how the server counts documents.

    Only reads. It is the count command; a driver's countDocuments is a pipeline, [{$match}, {$group}].
    `returned` is what the server says, 0 on most; the details of the stage COUNT have `nCounted`.

    Example:
      motorctl explain count orders --filter '{"status": "completed"}'
    """
    from motorctl import arguments

    app: App = ctx.obj
    given = {
        "filter": arguments.document(app, filter, "--filter"),
        "limit": limit,
        "skip": skip,
        "hint": arguments.hint(app, hint),
        "collation": arguments.collation(app, collation),
    }
    trial = option.Trial(try_index, sample, dry_run)
    asked = option.Asked(raw, no_run, max_time, no_advice, fail_on, baseline, update_baseline, name, trial)
    return asked.explain(app, "count", collection, given)


@group.command("distinct")
def distinct(
    ctx: typer.Context,
    collection: option.Collection,
    field: Annotated[str, typer.Argument(metavar="FIELD", help="Whose values.")],
    filter: option.Filter = None,
    collation: option.Collation = None,
    raw: option.Raw = False,
    no_run: option.NoRun = False,
    max_time: option.MaxTime = None,
    no_advice: option.NoAdvice = False,
    fail_on: option.FailOn = None,
    baseline: option.Baseline = None,
    update_baseline: option.UpdateBaseline = False,
    name: option.Name = None,
    try_index: option.TryIndex = False,
    sample: option.Sample = None,
    dry_run: option.DryRun = False,
) -> ExitCode | None:
    """Show how the server gathers the distinct values of a field.

    Only reads. An index that begins with the field is read one key a value (DISTINCT_SCAN). Without one
    `returned` is of the documents that values were taken from: how many values there are, no server says.

    Example:
      motorctl explain distinct orders status
      motorctl explain distinct orders user_id --filter '{"status": "completed"}' -o json
    """
    from motorctl import arguments

    app: App = ctx.obj
    given = {
        "key": field,
        "filter": arguments.document(app, filter, "--filter"),
        "collation": arguments.collation(app, collation),
    }
    trial = option.Trial(try_index, sample, dry_run)
    asked = option.Asked(raw, no_run, max_time, no_advice, fail_on, baseline, update_baseline, name, trial)
    return asked.explain(app, "distinct", collection, given)


@group.command("read")
def read(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="What explain said; - is stdin.")],
    fail_on: option.FailOn = None,
) -> ExitCode | None:
    """Show a saved explain document: from mongosh, Compass, a driver, or --raw, of any server from 4.4 on.

    Connects to nothing. JSON and Extended JSON are read, and what mongosh prints. Of a list the first
    document counts.

    Example:
      motorctl explain find orders --raw -o json | motorctl explain read -
    """
    from motorctl.commands import explain_saved

    return explain_saved.show(ctx.obj, file, fail_on)


group.command("suite")(suite)
