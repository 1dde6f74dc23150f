"""Gates and a baseline of one query: what `explain find` and `explain aggregate` do with --fail-on and --baseline.

Thin: a query is a suite of one. `prepare` comes before the server is asked, `Check.judge` while it is
at hand, `Check.verdict` when the plan has been shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from motorctl.errors import ExitCode

if TYPE_CHECKING:
    from pathlib import Path

    from motorctl.app import App
    from motorctl.client import Database
    from motorctl.commands.explain_baseline import Book
    from motorctl.core.explain.plan import Plan
    from motorctl.core.explain.query import Query
    from motorctl.core.explain.suite import Case, Outcome


@dataclass(frozen=True)
class Check:
    """What is asked of one plan; nothing, when neither option was given."""

    case: Case
    book: Book | None = None

    @property
    def is_empty(self) -> bool:
        return not self.case.gates and self.book is None

    async def judge(self, app: App, db: Database, plan: Plan) -> Outcome:
        """Hold the plan against gates and baseline. Raises UnjudgedError when its collection is empty."""
        from motorctl.core.explain import suite

        if self.is_empty:
            return suite.Outcome(self.case, plan)
        await suite.refuse_unseeded(db, plan, self.case.min_documents, attempt=app.attempt)
        outcome = self.book.judge(self.case, plan) if self.book else suite.judge(self.case, plan)
        if outcome.error is not None:
            raise outcome.error
        return outcome

    def verdict(self, app: App, outcome: Outcome) -> ExitCode | None:
        """Say on stderr what is broken, write the baseline if that was asked for, and return the exit code."""
        from motorctl.commands.explain_baseline import settle

        for failure in outcome.failures:
            app.diagnostics.warning(f"{failure.gate}: {failure.text}", gate=failure.gate)
        for sentence in (*outcome.better, *outcome.notes):
            app.diagnostics.info(sentence)
        if self.book is not None:
            settle(app, self.book, [outcome])
        if not self.is_empty and outcome.ok:
            app.diagnostics.info("ok: no gate is broken")
        return None if outcome.ok else ExitCode.DIFFERENCE


def prepare(
    query: Query,
    *,
    fail_on: str | None = None,
    baseline: Path | None = None,
    update: bool = False,
    name: str | None = None,
    run: bool = True,
) -> Check:
    """Read --fail-on and --baseline. `name` is the entry's in the file, else one made of the query's shape.

    Raises UsageError: a gate that is none, one that needs the query to be run when it isn't, a file.
    """
    from motorctl.commands.explain_baseline import open_book
    from motorctl.core.explain import gates
    from motorctl.core.explain.baseline import name_of
    from motorctl.core.explain.suite import Case

    wanted = tuple(gates.parse(fail_on)) if fail_on is not None else ()
    if not run:
        gates.refuse_unrun(wanted, "--fail-on: ")
    book = open_book(baseline, update=update)
    return Check(Case(name or name_of(query), query, wanted), book)
