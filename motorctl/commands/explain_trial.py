"""Trying the advised index on a sample copy: said beforehand, carried out, shown. What is done is `core.explain.trial`'s."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from motorctl.app import App
    from motorctl.client import Database
    from motorctl.core.explain.advice import Advice
    from motorctl.core.explain.query import Query
    from motorctl.core.explain.trial import Trial


async def tried(
    app: App, db: Database, query: Query, advice: Advice, *, size: int, dry_run: bool
) -> Trial | None:
    """Say what is copied, `size` documents (0: the usual number), and try the advised indexes on it.

    With `dry_run` only say it.
    """
    from motorctl.core.explain import trial

    if not advice.proposals:
        app.diagnostics.info("no index is advised: there is nothing to try")
        return None
    intention = await trial.intend(
        db, query, advice.proposals, size=size or trial.SAMPLE, attempt=app.attempt
    )
    app.diagnostics.info(intention.sentence())
    if dry_run:
        return None
    with app.diagnostics.progress("copying the sample", intention.sample) as progress:
        return await trial.try_index(db, intention, attempt=app.attempt, progress=progress.advance)


def show(app: App, trial: Trial) -> None:
    """Write the figures without the index and with it, below the plan."""
    from motorctl.output import Column

    names = ", ".join(one.resolved_name for one in trial.proposals)
    chosen = "" if trial.is_chosen else "; the server doesn't take it"
    app.output.text(f"\nwith {names}, on {trial.sample:,} of {trial.documents:,} documents{chosen}:\n")
    app.output.emit(trial.rows(), [Column("figure"), Column("before"), Column("after")])
