"""Explaining one query: ask the server, read the plan, have it judged and advised, show it all.

Knows no option; `explain_options` reads them. How a plan looks to people is `explain_tree`'s.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from motorctl.errors import ExitCode, MotorctlError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymongo.errors import OperationFailure

    from motorctl.app import App
    from motorctl.client import Database
    from motorctl.commands.explain_gate import Check
    from motorctl.core.explain.advice import Advice, Sentence
    from motorctl.core.explain.plan import Plan
    from motorctl.core.explain.query import Query
    from motorctl.core.explain.suite import Outcome
    from motorctl.core.explain.trial import Trial

CELLS = ("stage", "depth", "shard", "branch", "index", "in", "out", "keys_examined", "docs_examined", "ms")
"""What CSV and Markdown show of a stage; JSON has more."""


@dataclass(frozen=True)
class Wish:
    """What was asked for. `run`: with figures; `advise`: look at indexes and data, too.

    `sample` is how many documents an index is tried on, None for no trial; with `dry_run` it is only said.
    """

    query: Query
    check: Check
    raw: bool = False
    run: bool = True
    max_time_ms: int | None = None
    advise: bool = True
    sample: int | None = None
    dry_run: bool = False


@dataclass
class Answer:
    """What came back. `late` is an error of what comes after the plan, which is worth seeing all the same."""

    document: dict[str, Any]
    plan: Plan | None = None
    advice: Advice | None = None
    outcome: Outcome | None = None
    trial: Trial | None = None
    late: MotorctlError | None = None


def explain(app: App, wish: Wish) -> ExitCode | None:
    """Explain a query and show its plan; the exit code is that of its gates, or 1 for a query that failed."""
    answer = app.run(_answer(app, wish))
    plan = answer.plan
    if plan is None:
        _emit_raw(app, answer.document)
        return None
    failures = None
    if not wish.check.is_empty:
        failures = [failure.document() for failure in (answer.outcome.failures if answer.outcome else ())]
    show(app, plan, answer.advice.sentences if answer.advice else (), failures, answer.trial)
    if plan.failure is not None:
        raise _failed(plan)
    if answer.late is not None:
        raise answer.late
    return wish.check.verdict(app, answer.outcome) if answer.outcome is not None else None


def _failed(plan: Plan) -> MotorctlError:
    """Return the error of a query that broke while it ran; other servers answer with it in place of a plan."""
    from pymongo.errors import OperationFailure

    from motorctl.driver_errors import translated

    details = {"errmsg": plan.failure, "code": plan.failure_code}
    return translated(OperationFailure(plan.failure or "", plan.failure_code, details), None, 0)


def _emit_raw(app: App, document: dict[str, Any]) -> None:
    """Write the server's document as JSON, whatever the format: a table would show none of it."""
    if app.output.format in ("json", "ndjson"):
        app.output.emit(document, free=True)
        return
    import orjson

    from motorctl.core import extjson

    app.output.text(orjson.dumps(extjson.to_json_value(document), option=orjson.OPT_INDENT_2).decode())


async def _answer(app: App, wish: Wish) -> Answer:
    from motorctl.commands import explain_trial
    from motorctl.core.explain.read import read

    async with app.connect() as db:
        with app.diagnostics.progress(f"explaining {wish.query.collection}"):
            answer = Answer(await _asked(app, db, wish))
            if wish.raw:
                return answer
            answer.plan = read(answer.document)
            # What begins in the database itself has no collection to advise an index for.
            if wish.advise and answer.plan.failure is None and wish.query.collection != ".":
                from motorctl.core.explain.advice import advise

                answer.advice = await app.attempt(advise, db, wish.query, answer.plan)
        if answer.plan.failure is None:
            try:
                answer.outcome = await wish.check.judge(app, db, answer.plan)
                if wish.sample is not None and answer.advice is not None:
                    answer.trial = await explain_trial.tried(
                        app, db, wish.query, answer.advice, size=wish.sample, dry_run=wish.dry_run
                    )
            except MotorctlError as error:
                answer.late = error
        return answer


async def _asked(app: App, db: Database, wish: Wish) -> dict[str, Any]:
    """Return the server's document; where it refused for the lack of an index, the hint says which."""
    from pymongo.errors import OperationFailure

    from motorctl.core.explain import ask

    wanted: ask.Verbosity = "executionStats" if wish.run else "queryPlanner"
    permitted = ask.permitted(wish.query, wanted)
    if permitted != wanted:
        app.diagnostics.info("the pipeline writes: it is planned, and not run")
    try:
        return await app.attempt(
            ask.explain, db, wish.query, verbosity=permitted, max_time_ms=wish.max_time_ms
        )
    except OperationFailure as error:
        raise await _refused(db, wish.query, error) from error


async def _refused(db: Database, query: Query, error: OperationFailure) -> MotorctlError:
    """Return the error of a query that the server won't plan: without the query in it, with its stage and the next step."""
    from motorctl.core import aggregation
    from motorctl.core.explain.advice import missing_index
    from motorctl.driver_errors import translated

    if query.hint is not None and "hint provided does not correspond" in str(error):
        return UsageError(
            f"--hint: no such index of {query.collection}, or a hidden one",
            hint=f"`motorctl indexes list {query.collection}` shows those that there are",
        )
    ours = translated(error, None, 0)
    said = (error.details or {}).get("errmsg")
    if isinstance(said, str):
        ours.message = ours.message.replace(said.rstrip("."), aggregation.said(error))
    if (missing := missing_index(error, query)) is not None:
        ours.hint = f"{missing.text}: {missing.command}" if missing.command else missing.text
    ours.hint = ours.hint or aggregation.advice(error, query.collection)
    options = aggregation.Options(hint=query.hint, collation=query.collation, let=query.let)
    found = await aggregation.failure(db, query.collection, query.pipeline, options, error)
    if found is not None and found.position is not None:
        ours.message = f"stage {found.position + 1} ({found.operator}): {ours.message}"
        ours.details |= {"stage": found.position + 1, "operator": found.operator}
    return ours


def show(
    app: App,
    plan: Plan,
    advice: Sequence[Sentence] = (),
    failures: list[dict[str, Any]] | None = None,
    trial: Trial | None = None,
) -> None:
    """Write a plan: JSON has it whole, CSV and Markdown its stages, people a tree.

    `failures` are the gates that it breaks; None where there are no gates.
    """
    from motorctl.commands import explain_tree, explain_trial
    from motorctl.core.explain.summary import stages, summary
    from motorctl.output import Column

    match app.output.format:
        case "json" | "ndjson":
            document = summary(plan, [sentence.document() for sentence in advice])
            if failures is not None:
                document["failures"] = failures
            if trial is not None:
                document["trial"] = trial.document()
            app.output.emit(document)
        case "csv" | "markdown":
            numbers = ("depth", "in", "out", "keys_examined", "docs_examined", "ms")
            app.output.emit(stages(plan), [Column(name, right=name in numbers) for name in CELLS])
        case _:
            width = shutil.get_terminal_size().columns if app.output.terminal else None
            app.output.styled(explain_tree.lines(plan, advice, width=width))
            if trial is not None:
                explain_trial.show(app, trial)
