"""`motorctl explain aggregate`: a pipeline, typed as `motorctl aggregate` takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from motorctl.commands import explain_options as option
from motorctl.errors import ExitCode

if TYPE_CHECKING:
    from motorctl.app import App


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
            help="A value by name, as `motorctl aggregate` has them; may be repeated.",
            show_default=False,
        ),
    ] = None,
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
    """Show how the server runs a pipeline, stage by stage, and at what cost.

    Only reads: a pipeline with $out or $merge is planned and never run. What $lookup examines in the
    other collection is counted too, from MongoDB 5.0 on. Documents examined far beyond those returned are
    no fault below a $group: the ratio is taken where documents are found, not across it.

    Example:
      motorctl explain aggregate orders '[{"$match": {"status": "completed"}}, {"$sortByCount": "$user_id"}]'
      echo '[{$group: {_id: "$status"}}]' | motorctl explain aggregate orders - -o json
    """
    from motorctl import arguments

    app: App = ctx.obj
    given = {
        "pipeline": _stages(app, pipeline, var or []),
        "hint": arguments.hint(app, hint),
        "collation": arguments.collation(app, collation),
    }
    trial = option.Trial(try_index, sample, dry_run)
    asked = option.Asked(raw, no_run, max_time, no_advice, fail_on, baseline, update_baseline, name, trial)
    return asked.explain(app, "aggregate", collection, given)


def _stages(app: App, argument: str, var: list[str]) -> list[Any]:
    """Return a pipeline with its variables filled in, as `motorctl aggregate` reads it."""
    from motorctl import arguments
    from motorctl.core import aggregation

    arguments.stdin_once(argument, variables=var)
    typed = arguments.pipeline(app, argument)
    try:
        stages = aggregation.checked(typed.value)
        values = arguments.variables(app, var)
        found = aggregation.filled(stages, values, alone=isinstance(typed.value, dict))
    except aggregation.PipelineError as error:
        typed.located(error)
    # In place of $$name the value itself: so servers without `let` explain it, too.
    return aggregation.inlined(stages, values) if found.let else found.pipeline
