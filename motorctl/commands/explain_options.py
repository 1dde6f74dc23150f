"""The options that the verbs of `motorctl explain` have alike, and what they stand for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from motorctl.errors import UsageError

if TYPE_CHECKING:
    from motorctl.app import App
    from motorctl.commands.explain_run import Wish
    from motorctl.core.explain.query import Kind, Query
    from motorctl.errors import ExitCode

RUNNING, JUDGING, TRYING = "How it is asked", "Gates, for CI", "Trying an index"

Collection = Annotated[str, typer.Argument(metavar="COLLECTION", help="Or a view.")]
Filter = Annotated[
    str | None, typer.Option("--filter", metavar="JSON|@FILE|-", help="Which documents: Extended JSON.")
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help="At most that many.")]
Skip = Annotated[int | None, typer.Option("--skip", min=0, metavar="N", help="Without the first of them.")]
Hint = Annotated[
    str | None, typer.Option("--hint", metavar="NAME|JSON", help="The index to use: its name or its keys.")
]
Collation = Annotated[
    str | None, typer.Option("--collation", metavar="LOCALE|JSON", help="How texts are compared and sorted.")
]
Raw = Annotated[
    bool, typer.Option("--raw", help="The server's own document, as Extended JSON.", rich_help_panel=RUNNING)
]
NoRun = Annotated[
    bool,
    typer.Option(
        "--no-run", help="Only plan: nothing is run, and there are no figures.", rich_help_panel=RUNNING
    ),
]
MaxTime = Annotated[
    float | None,
    typer.Option(
        "--max-time",
        min=0.001,
        metavar="SECONDS",
        help="Let the server give up after that (3).",
        rich_help_panel=RUNNING,
    ),
]
NoAdvice = Annotated[
    bool,
    typer.Option(
        "--no-advice", help="Only the plan: ask nothing of indexes and data.", rich_help_panel=RUNNING
    ),
]
FailOn = Annotated[
    str | None,
    typer.Option(
        "--fail-on",
        metavar="GATES",
        help="Exit 8 if the plan breaks one: collscan,sort,ratio:10,keys:1000,docs:1000,ms:50.",
        rich_help_panel=JUDGING,
    ),
]
Baseline = Annotated[
    Path | None,
    typer.Option(
        "--baseline",
        metavar="FILE",
        help="Exit 8 if the plan is worse than the one in there.",
        rich_help_panel=JUDGING,
    ),
]
UpdateBaseline = Annotated[
    bool,
    typer.Option(
        "--update-baseline", help="Write today's plan into --baseline's file.", rich_help_panel=JUDGING
    ),
]
Name = Annotated[
    str | None,
    typer.Option(
        "--name",
        metavar="NAME",
        help="Its name in --baseline's file; else made of the query's shape.",
        rich_help_panel=JUDGING,
    ),
]

TryIndex = Annotated[
    bool,
    typer.Option(
        "--try-index",
        help="Build the advised index on a copy of a sample, and show the plan before and after.",
        rich_help_panel=TRYING,
    ),
]
Sample = Annotated[
    int | None,
    typer.Option(
        "--sample",
        min=1,
        metavar="N",
        help="That many documents.  [default: 20000]",
        show_default=False,
        rich_help_panel=TRYING,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Say what --try-index would copy, and copy nothing.", rich_help_panel=TRYING
    ),
]


def sorting(app: App, argument: str | None) -> dict[str, Any]:
    """Return an order: `name,-gpa`, or a document, which may hold `{"$meta": "textScore"}`."""
    from motorctl import arguments

    if argument is not None and argument.lstrip().startswith(("{", "@")):
        return arguments.document(app, argument, "--sort")
    return dict(arguments.sort(argument))


class Trial(NamedTuple):
    """The values of the options that an index is tried with."""

    wanted: bool
    sample: int | None
    dry_run: bool


class Asked(NamedTuple):
    """The values of the options that every verb has."""

    raw: bool
    no_run: bool
    max_time: float | None
    no_advice: bool
    fail_on: str | None
    baseline: Path | None
    update_baseline: bool
    name: str | None
    trial: Trial

    def explain(self, app: App, kind: Kind, collection: str, given: dict[str, Any]) -> ExitCode | None:
        """Explain the query of a verb; `given` is what the query has beside its kind and its collection."""
        from motorctl.commands.explain_run import explain
        from motorctl.core.explain.query import Query

        return explain(app, self.wish(Query(kind, collection, **given)))

    def wish(self, query: Query) -> Wish:
        """Return what is wished for a query. Raises UsageError where options don't go together."""
        from motorctl.commands import explain_gate
        from motorctl.commands.explain_run import Wish

        self._refuse_what_excludes()
        check = explain_gate.prepare(
            query,
            fail_on=self.fail_on,
            baseline=self.baseline,
            update=self.update_baseline,
            name=self.name,
            run=not self.no_run,
        )
        milliseconds = None if self.max_time is None else round(self.max_time * 1000)
        trial = None
        if self.trial.wanted:
            from motorctl.core.explain.trial import SAMPLE

            trial = self.trial.sample or SAMPLE
        return Wish(
            query,
            check,
            self.raw,
            not self.no_run,
            milliseconds,
            not self.no_advice,
            trial,
            self.trial.dry_run,
        )

    def _refuse_what_excludes(self) -> None:
        judged = self.fail_on is not None or self.baseline is not None or self.update_baseline
        if self.raw and (judged or self.trial.wanted):
            raise UsageError("--raw shows what the server says: gates, a baseline and a trial go without it")
        if self.name is not None and self.baseline is None:
            raise UsageError("--name is the query's in --baseline's file: it goes with --baseline")
        if self.name is not None and not self.name.strip():
            raise UsageError("--name is empty")
        if self.trial.wanted and (self.no_advice or self.no_run):
            other = "--no-advice" if self.no_advice else "--no-run"
            raise UsageError(f"--try-index runs the query with the index that is advised: not with {other}")
        if (self.trial.sample is not None or self.trial.dry_run) and not self.trial.wanted:
            other = "--dry-run" if self.trial.dry_run else "--sample"
            raise UsageError(f"{other} goes with --try-index: explaining alone changes nothing")
