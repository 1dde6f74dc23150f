"""A baseline's file, for the commands that hold plans against it: read before anything is asked, written at the end.

Whether a plan is worse is `core.explain.baseline`'s. A file is written with --update-baseline only: a gate
that makes its own truth where the file is missing would pass for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from motorctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from motorctl.app import App
    from motorctl.core.explain.baseline import Entry
    from motorctl.core.explain.plan import Plan
    from motorctl.core.explain.suite import Case, Outcome


@dataclass(frozen=True)
class Book:
    """The entries of a baseline; with `update` they are replaced and not compared."""

    path: Path
    entries: dict[str, Entry]
    update: bool = False

    def judge(self, case: Case, plan: Plan) -> Outcome:
        """Hold a plan against its case and, unless it is to be recorded, against its entry."""
        from motorctl.core.explain import suite

        if self.update:
            return suite.judge(case, plan)
        outcome = suite.judge(case, plan, self.entries.get(case.name))
        if case.name not in self.entries:
            suite.missing_entry(outcome)
        return outcome


def open_book(path: Path | None, *, update: bool = False) -> Book | None:
    """Read the file of --baseline. Raises UsageError; with `update` there needn't be one."""
    from motorctl.core.explain import baseline

    if path is None:
        if update:
            raise UsageError("--update-baseline: which file?", hint="name it: --baseline FILE")
        return None
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if update:
            return Book(path, {}, update)
        raise UsageError(
            f"--baseline: {path} doesn't exist",
            hint="write it once with --update-baseline, look at it, and keep it under version control",
            file=str(path),
        ) from None
    except UnicodeDecodeError:
        raise UsageError(f"--baseline: {path} is no text", file=str(path)) from None
    except OSError as error:
        raise UsageError(
            f"--baseline: {path} can't be read: {(error.strerror or str(error)).lower()}", file=str(path)
        ) from None
    return Book(path, baseline.loads(text, str(path)), update)


def settle(
    app: App, book: Book, outcomes: Sequence[Outcome], *, known: Collection[str] | None = None
) -> None:
    """Say what of the file no query stands for, or with `update` write it and say what that changes.

    `known` are the names of all queries there are, whichever were run; None: the file has others' too.
    An outcome with an error leaves its entry as it was.
    """
    stale = [] if known is None else sorted(set(book.entries) - set(known))
    if not book.update:
        for name in stale:
            app.diagnostics.warning(
                f"the baseline has {name!r}, and no query is called so: --update-baseline removes it"
            )
        return
    _write(app, book, outcomes, stale)


def _write(app: App, book: Book, outcomes: Sequence[Outcome], stale: Sequence[str]) -> None:
    from motorctl.core.explain import baseline
    from motorctl.core.export.files import open_whole

    plans = {
        outcome.case.name: outcome.plan
        for outcome in outcomes
        if outcome.plan is not None and outcome.error is None
    }
    entries, updates = baseline.updated(book.entries, plans, removed=stale)
    verbs = {"add": "added", "change": "changed", "remove": "removed"}
    changes = [update for update in updates if update.action != "keep"]
    for update in changes:
        text = f": {update.text}" if update.text else ""
        app.diagnostics.info(f"baseline: {verbs[update.action]} {update.name!r}{text}")
    if not changes and book.path.exists():
        app.diagnostics.info(f"baseline: {book.path} stays as it is")
        return
    count = "1 plan" if len(entries) == 1 else f"{len(entries)} plans"
    with open_whole(book.path) as file:
        file.write(baseline.dumps(entries).encode())
    app.diagnostics.info(f"baseline: {book.path} has {count}")
