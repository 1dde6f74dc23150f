"""`motorctl explain suite`: a file of named queries, each with what its plan must keep.

Reads arguments, runs one query after the other and shows the outcomes. What a suite's file says is
`suite_file`'s, what a plan breaks `core.explain.gates`'.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from motorctl.errors import AuthenticationError, ExitCode, MotorctlError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from motorctl.app import App
    from motorctl.client import Database
    from motorctl.commands.explain_baseline import Book
    from motorctl.core.explain.suite import Case, Outcome


@dataclass(frozen=True)
class Wish:
    """What a suite was told: which cases, and how they are run."""

    cases: Sequence[Case]
    book: Book | None
    run: bool
    runs: int
    max_time_ms: int | None


def suite(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="The queries, YAML or JSON; - is stdin.")],
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="NAME", help="Only queries called so; * and ? stand for others."),
    ] = None,
    fail_on: Annotated[
        str | None, typer.Option("--fail-on", metavar="GATES", help="These gates, instead of all in FILE.")
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option("--baseline", metavar="FILE", help="Fail when a plan is worse than the one in there."),
    ] = None,
    update_baseline: Annotated[
        bool, typer.Option("--update-baseline", help="Write today's plans into --baseline's file.")
    ] = False,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write a JUnit report, too.")
    ] = None,
    no_run: Annotated[
        bool, typer.Option("--no-run", help="Only plan: nothing is run, and there are no figures.")
    ] = False,
    runs: Annotated[
        int, typer.Option("--runs", min=1, metavar="N", help="Tries that a query with the gate ms has.")
    ] = 3,
    max_time: Annotated[
        float | None,
        typer.Option("--max-time", min=0.001, metavar="SECONDS", help="Let the server give a query up then."),
    ] = None,
) -> ExitCode | None:
    """Hold the plans of many queries against gates and a baseline: exit 8 when one fails.

    Only reads. FILE names queries (find, count, distinct or aggregate, with their words), the gates that
    each must keep (fail_on) and what is expected of its plan (index, verdict, returned, covered); defaults
    stand beside them. Each is run to its end by the server, one after the other, and none of its documents
    is sent. A collection without documents, or with fewer than min_documents, is an error: its plan would
    show nothing. --baseline compares plans, not times: another index, a scan, a sort in memory or a ratio
    twice as high fails, a figure that wobbles doesn't. A query that isn't in its file fails, too.

    Example:
      motorctl explain suite queries.yaml
      motorctl explain suite queries.yaml --baseline plans.json --update-baseline
      motorctl explain suite queries.yaml --baseline plans.json --junit report.xml
      echo '{"queries": [{"name": "all", "find": "orders"}]}' | motorctl explain suite - --fail-on sort,ms:500
    """
    from motorctl import suite_file
    from motorctl.commands.explain_baseline import open_book
    from motorctl.core.explain import suite as suites
    from motorctl.core.explain.gates import parse

    app: App = ctx.obj
    wanted = None if fail_on is None else parse(fail_on)
    everything = suite_file.load(file, app.stdin if file == "-" else None, fail_on=wanted)
    book = open_book(baseline, update=update_baseline)
    _refuse_folder(junit)
    cases = suites.select(everything, only or ())
    suites.refuse_unjudgeable(cases, run=not no_run, has_baseline=book is not None)
    wish = Wish(cases, book, not no_run, runs, None if max_time is None else round(max_time * 1000))
    outcomes, facts = app.run(_run(app, wish))
    _show(app, outcomes)
    if junit is not None:
        _write(junit, "suite" if file == "-" else file, outcomes, facts)
    if book is not None:
        from motorctl.commands.explain_baseline import settle

        settle(app, book, outcomes, known=[case.name for case in everything])
    return _end(app, outcomes, facts)


def _refuse_folder(junit: Path | None) -> None:
    """Find out before the queries are run that their report has no place."""
    if junit is not None and (junit.is_dir() or not junit.absolute().parent.is_dir()):
        what = "is a directory" if junit.is_dir() else "its directory doesn't exist"
        raise UsageError(f"--junit: {junit}: {what}", hint=None if junit.is_dir() else "make it first")


async def _run(app: App, wish: Wish) -> tuple[list[Outcome], dict[str, str]]:
    from motorctl.core.explain.suite import Outcome

    outcomes: list[Outcome] = []
    facts: dict[str, str] = {}
    async with app.connect() as db:
        facts["database"] = db.name
        with app.diagnostics.progress("explaining", len(wish.cases)) as progress:
            gone: MotorctlError | None = None
            for case in wish.cases:
                progress.update(text=case.name)
                if gone is not None:
                    text = f"not explained: {gone.message}"
                    outcomes.append(Outcome(case, error=type(gone)(text, hint=gone.hint)))
                    continue
                outcome, lost = await _outcome(app, db, case, wish)
                outcomes.append(outcome)
                # The next one would wait as long, and be told the same.
                gone = outcome.error if lost else None
                if outcome.plan is not None and outcome.plan.server_version:
                    facts["server_version"] = outcome.plan.server_version
                progress.advance()
    return outcomes, facts


async def _outcome(app: App, db: Database, case: Case, wish: Wish) -> tuple[Outcome, bool]:
    """Explain a case and judge it. Returns also whether the server is lost, for the other cases too."""
    from bson.errors import BSONError
    from pymongo.errors import ConnectionFailure, OperationFailure, PyMongoError

    from motorctl.core import aggregation
    from motorctl.core.explain import suite as suites
    from motorctl.driver_errors import translated

    lost = False
    begun = time.perf_counter()
    try:
        plan = await suites.explain_case(
            db, case, run=wish.run, runs=wish.runs, max_time_ms=wish.max_time_ms, attempt=app.attempt
        )
        outcome = wish.book.judge(case, plan) if wish.book else suites.judge(case, plan)
    except MotorctlError as error:
        outcome = suites.Outcome(case, error=error)
    except (PyMongoError, BSONError, OverflowError, UnicodeEncodeError) as error:
        ours = translated(error, db.client, app.settings.timeout)
        if isinstance(error, OperationFailure) and (sentence := (error.details or {}).get("errmsg")):
            # What quotes the query has its values in it.
            ours.message = ours.message.replace(str(sentence).rstrip("."), aggregation.said(error))
        lost = isinstance(error, ConnectionFailure) or isinstance(ours, AuthenticationError)
        outcome = suites.Outcome(case, error=ours)
    outcome.seconds = time.perf_counter() - begun
    return outcome, lost


def _show(app: App, outcomes: Sequence[Outcome]) -> None:
    from motorctl.output import Column

    match app.output.format:
        case "table":
            app.output.text("\n".join(_line(app, outcome) for outcome in outcomes))
        case "json" | "ndjson":
            app.output.emit([outcome.row() for outcome in outcomes])
        case _:
            names = ("name", "ok", "verdict", "index", "returned", "keys_examined", "docs_examined", "ms")
            numbers = names[4:]
            columns = [Column(name, right=name in numbers) for name in names]
            app.output.emit([_cells(outcome) for outcome in outcomes], [*columns, Column("failures")])


def _cells(outcome: Outcome) -> dict[str, Any]:
    return {**outcome.row(), "failures": "" if outcome.ok else outcome.text}


def _line(app: App, outcome: Outcome) -> str:
    import shutil
    import textwrap

    from motorctl.text import printable

    line = printable(f"{outcome.word:<7} {outcome.case.name}: {outcome.text}")
    if not app.output.terminal:
        return line
    width = shutil.get_terminal_size().columns
    return textwrap.fill(
        line, width, subsequent_indent=" " * 10, break_long_words=False, break_on_hyphens=False
    )


def _write(path: Path, name: str, outcomes: Sequence[Outcome], facts: dict[str, str]) -> None:
    from motorctl.core.explain import junit
    from motorctl.core.export.files import open_whole

    with open_whole(path) as file:
        file.write(junit.document(name, outcomes, facts))


def _end(app: App, outcomes: Sequence[Outcome], facts: dict[str, str]) -> ExitCode | None:
    """Sum up on stderr, and choose the exit code: a gate that is broken goes before an error, which is raised."""
    from motorctl.redaction import hosts

    failed = any(one.word == "FAILED" for one in outcomes)
    error = None if failed else _error(outcomes)
    hints = dict.fromkeys(one.error.hint for one in outcomes if one.error and one.error.hint)
    for hint in hints:
        if error is None or hint != error.hint:
            app.diagnostics.info(f"hint: {hint}")
    found = {word: sum(one.word == word for one in outcomes) for word in ("ok", "FAILED", "error")}
    words = {"ok": "ok", "FAILED": "failed", "error": "error" if found["error"] == 1 else "errors"}
    counts = ", ".join(f"{count} {words[word]}" for word, count in found.items() if count)
    place = f"{facts['database']} at {hosts(str(app.settings.address().value))}"
    app.diagnostics.info(f"{place}: {counts}")
    if error is not None:
        raise error
    return ExitCode.DIFFERENCE if failed else None


def _error(outcomes: Sequence[Outcome]) -> MotorctlError | None:
    """Return one error for those of all queries, with the exit code that they have in common, else 1."""
    errors = [(one.case.name, one.error) for one in outcomes if one.error is not None]
    if not errors:
        return None
    name, first = errors[0]
    kind = type(first) if len({error.exit_code for _, error in errors}) == 1 else MotorctlError
    others = "" if len(errors) == 1 else f" (and {len(errors) - 1} more of {len(outcomes)} were not judged)"
    return kind(f"{name}: {first.message}{others}", hint=first.hint, queries=[one for one, _ in errors])
