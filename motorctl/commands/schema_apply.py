"""`motorctl schema apply`: the plan, the question, the changes, one row for each of them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from motorctl.commands import schema_options as option
from motorctl.commands import schema_report
from motorctl.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from motorctl.app import App
    from motorctl.client import Database
    from motorctl.commands.schema_planning import Wish
    from motorctl.core.schema import Change


def apply(
    ctx: typer.Context,
    files: option.Files = None,
    builtin: option.Builtin = None,
    env: option.Env = False,
    prune: option.Prune = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan; change nothing.")] = False,
    ignore_blockers: Annotated[
        bool,
        typer.Option(
            "--ignore-blockers",
            help="Go on in spite of what was found in the data, and do what can be done.",
            rich_help_panel=option.CHECKING,
        ),
    ] = False,
    no_data_checks: option.NoDataChecks = False,
    data_checks_seconds: option.DataChecksSeconds = None,
    only: option.Only = None,
    collection: option.Collections = None,
    commit_quorum: Annotated[
        str | None,
        typer.Option(
            "--commit-quorum",
            metavar="N|NAME",
            help="How many members of the replica set have to be ready before an index counts: a number, "
            "majority, votingMembers (the server's default) or a tag.",
        ),
    ] = None,
    no_history: Annotated[
        bool, typer.Option("--no-history", help="Leave no record in motorctl_schema_history.")
    ] = False,
) -> ExitCode | None:
    """Make the database as the manifest says.

    Creates and changes collections, validators and indexes, never documents; applying again changes
    nothing. First it looks through the data: for duplicates that a unique index would meet, documents
    that a validator would reject, and the like. What is in the way of a change stops everything before
    it begins: exit 8. With --ignore-blockers it goes on: what the server can't do is left out (exit 8
    all the same), the rest is tried.

    `state: absent` in the manifest drops a collection or an index; --prune drops the indexes and
    validators that the manifest's collections have beyond it, never a collection. Both ask first (--yes
    answers).

    A change that fails doesn't stop the others: exit 1 then, 3 when the connection was lost; the next
    apply does the rest. After Ctrl-C, too, there is a row for each change, and a word on what the
    server goes on building. Each apply leaves a record: `motorctl schema history`.

    Example:
      motorctl schema apply --builtin shop --dry-run
      motorctl schema apply --builtin shop
      motorctl schema apply --builtin shop --only indexes --commit-quorum 1
    """
    from motorctl.commands.schema_planning import Wish

    app: App = ctx.obj
    seconds = option.data_checks(no_data_checks, data_checks_seconds)
    wish = Wish(
        option.desired(app, files, builtin, env=env), option.selection(only, collection), prune, seconds
    )
    quorum = int(commit_quorum) if commit_quorum and commit_quorum.isdecimal() else commit_quorum
    sources = tuple(files or ()) or (f"builtin:{builtin}",)
    job = _Job(wish, sources, ignore_blockers, dry_run, quorum, history=not no_history)
    return app.run(_plan_and_apply(app, job))


_NAMED = 8
"""How many of the things to be dropped a question names."""


@dataclass(frozen=True)
class _Job:
    wish: Wish
    sources: tuple[str, ...]
    ignore_blockers: bool
    dry_run: bool
    commit_quorum: int | str | None
    history: bool


async def _plan_and_apply(app: App, job: _Job) -> ExitCode | None:
    from motorctl.commands import schema_planning
    from motorctl.core.schema.losses import losses

    async with app.connect() as db:
        server, changes = await schema_planning.plan(app, db, job.wish)
        if app.settings["stable_api"] and not server.at_least(5) and not job.dry_run:
            raise UsageError(f"{server.name} doesn't know the Stable API", hint="add --no-stable-api")
        if job.ignore_blockers:
            changes = [_gone_over(change) for change in changes]
        blocked = any(change.status == "blocked" for change in changes)
        if job.dry_run or (blocked and not job.ignore_blockers):
            _show(app, db, changes, job)
            if job.dry_run:
                app.diagnostics.dry_run()
            else:
                app.diagnostics.warning("something stands in the way: nothing was changed")
            schema_report.count(app, changes, place=schema_report.place(app, db.name))
            return ExitCode.DIFFERENCE if blocked else None
        lost = await losses(db, changes, attempt=app.attempt)
        if lost and not _agreed(app, db, changes, lost, job):
            app.diagnostics.info("nothing was changed")
            return None
        results = await _carry_out(app, db, changes, job)
        applied = sum(change.status == "applied" for change in results)
        with app.output.after(f"{applied} applied" if applied else None, "motorctl schema history"):
            _show(app, db, results, job)
        return schema_report.verdict(app, results, schema_report.place(app, db.name))


def _agreed(app: App, db: Database, changes: Sequence[Change], lost: Sequence[str], job: _Job) -> bool:
    """Ask before something is dropped, below the plan where it can be seen."""
    if app.diagnostics.asks and app.output.format == "table":
        _show(app, db, changes, job)
    others = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
    named = ", ".join(lost[:_NAMED])
    return app.diagnostics.confirm(f"drop {named}{others} in database {db.name}")


def _gone_over(change: Change) -> Change:
    """Plan a change in spite of what was found in the data; the server has the last word."""
    if change.status == "blocked" and all(blocker.ignorable for blocker in change.blockers):
        return replace(change, status="planned", blockers=())
    return change


async def _carry_out(app: App, db: Database, changes: Sequence[Change], job: _Job) -> list[Change]:
    """Apply a plan and keep the record of it; stopped by a signal, show what was done so far."""
    from motorctl.commands import building
    from motorctl.core import schema
    from motorctl.core.schema import history

    todo = [change for change in changes if change.status == "planned"]
    done: dict[tuple[str, ...], Change] = {}
    beginning = asyncio.ensure_future(_begin(app, db, job, todo=bool(todo)))
    try:
        await asyncio.shield(beginning)
        with app.diagnostics.progress("applying", len(todo)) as progress:

            def report(change: Change) -> None:
                done[_key(change)] = change
                if change.action != "keep":
                    progress.advance()

            # Dropping it might leave queries without the index that it takes the place of.
            finishes = "`motorctl schema apply` with the same manifest finishes the work"
            async with building.shown(app, db, progress, next_step=finishes):
                results = await schema.apply(
                    db, changes, attempt=app.attempt, report=report, commit_quorum=job.commit_quorum
                )
    except BaseException as error:
        so_far = _so_far(changes, done)
        if isinstance(error, asyncio.CancelledError):
            _show(app, db, so_far, job)
        # A record that is on its way would come after its own end.
        _warn(app, await history.finish(db, await beginning, so_far, interrupted=True))
        raise
    _warn(app, await history.finish(db, await beginning, results))
    return results


async def _begin(app: App, db: Database, job: _Job, *, todo: bool) -> Any:
    """Leave the record of an apply that begins, and return its id; None where there is none."""
    from motorctl.core.schema import history

    if not job.history:
        return None
    wish = job.wish
    options = {
        "prune": wish.prune,
        "only": sorted(wish.selection.parts),
        "collection": list(wish.selection.globs),
        "ignore_blockers": job.ignore_blockers,
        "commit_quorum": job.commit_quorum,
    }
    record, why = await history.begin(
        db, manifest=job.sources, desired=wish.desired, options=options, attempt=app.attempt
    )
    if todo:
        _warn(app, why)
    return record


def _warn(app: App, why: str | None) -> None:
    if why is not None:
        app.diagnostics.warning(f"this is not in the history: {why}")


def _key(change: Change) -> tuple[str, ...]:
    return change.collection, change.kind, change.action, change.name


def _so_far(changes: Sequence[Change], done: Mapping[tuple[str, ...], Change]) -> list[Change]:
    """Say of what was stopped in the middle that the server may go on with it, of the rest that it wasn't begun."""
    from motorctl.core.schema import Blocker

    results: list[Change] = []
    why = Blocker("stopped", "stopped while it was done: the server may go on with it")
    for change in changes:
        if (result := done.get(_key(change))) is None and change.status == "planned":
            result = replace(change, status="skipped", blockers=(why,))
            why = Blocker("stopped", "stopped before it was begun")
        results.append(result or change)
    return results


def _show(app: App, db: Database, changes: Sequence[Change], job: _Job) -> None:
    schema_report.show(app, changes, title="Schema apply to database", name=db.name, wish=job.wish)
