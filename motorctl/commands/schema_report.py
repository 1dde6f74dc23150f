"""How a plan and its results are shown: on stdout in the format asked for, summed up on stderr."""

from __future__ import annotations

import shutil
import textwrap
from collections import Counter
from typing import TYPE_CHECKING

from motorctl.errors import ExitCode
from motorctl.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from motorctl.app import App
    from motorctl.commands.schema_planning import Wish
    from motorctl.core.schema import Change

__all__ = ["count", "place", "show", "verdict"]

_WORDS = {
    "planned": "to change",
    "blocked": "blocked",
    "applied": "applied",
    "in_sync": "as they should be",
    "unmanaged": "not in the manifest (--prune drops them)",
}
_COMPARED = {"planned": "to change", "blocked": "that can't be changed", "in_sync": "alike"}


def show(
    app: App,
    changes: Sequence[Change],
    *,
    title: str,
    name: str,
    commands: bool = False,
    wish: Wish | None = None,
) -> None:
    """Write changes to stdout; `title` and `name` are for the heading of Markdown.

    With `wish` JSON has the digest of its manifest, by which `schema history` knows it; `-v` says it.

    People see what differs, with `-v` the rest too, and below it what blocks it; with `commands` and
    `-v` also the commands.
    """
    from motorctl.core.schema import in_sync, markdown, words
    from motorctl.core.schema.history import digest
    from motorctl.output import Column

    match app.output.format:
        case "json":
            document = {
                "in_sync": in_sync(changes),
                **({"digest": digest(wish.desired)} if wish else {}),
                "changes": [change.document() for change in changes],
            }
            app.output.emit(document, free=True)
        case "ndjson":
            app.output.emit([change.document() for change in changes], free=True)
        case "csv":
            names = ("collection", "kind", "action", "name", "status", "detail")
            described = [{**change.document(), "detail": words.describe(change)} for change in changes]
            app.output.emit(described, [Column(name) for name in names])
        case "markdown":
            app.output.text(markdown.comment(changes, title, name))
        case _:
            rows = [words.row(c) for c in changes if c.action != "keep" or app.diagnostics.verbose]
            if rows:
                app.output.emit(rows, [Column(name) for name in rows[0]])
            if wish and app.diagnostics.verbose:
                app.diagnostics.note(f"the manifest's digest is {digest(wish.desired)}")
            sent = words.as_sent(changes) if commands and app.diagnostics.verbose else []
            _below(app, map(printable, sent))
            _below(app, (folded for line in words.obstacles(changes) for folded in _folded(app, line)))


def _below(app: App, lines: Iterable[str]) -> None:
    """Write lines below a table, a blank one first."""
    if text := "\n".join(lines):
        app.output.text(f"\n{text}")


def _folded(app: App, line: str) -> list[str]:
    """Break a line between words where a terminal would break it anywhere."""
    line = printable(line)
    if not app.output.terminal:
        return [line]
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    width = shutil.get_terminal_size().columns
    return textwrap.wrap(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def count(app: App, changes: Sequence[Change], *, place: str = "", compared: bool = False) -> None:
    """Sum up on stderr: what differs, what doesn't, what the manifest doesn't know; `compared` has no manifest.

    `place` names the database: where several are at hand, it must be seen which one this was.
    """
    words = _COMPARED if compared else _WORDS
    found: Counter[str] = Counter(change.status for change in changes)
    parts = [f"{found[status]} {text}" for status, text in words.items() if found[status]]
    if all(change.action == "keep" for change in changes):
        parts.insert(0, "the same" if compared else "in sync")
    app.diagnostics.info(f"{place}: {', '.join(parts)}" if place else ", ".join(parts))


def place(app: App, name: str) -> str:
    """Name a database and its server as they were asked for, without user and password."""
    from motorctl.redaction import hosts

    return f"{name} at {hosts(str(app.settings.address().value))}"


def verdict(app: App, results: Sequence[Change], place: str) -> ExitCode | None:
    """Sum up what was applied, and say what that is as an exit code."""
    blocked = [change for change in results if change.status == "blocked" or _depends_on_blocked(change)]
    failed = [
        change for change in results if change.status in ("failed", "skipped") and change not in blocked
    ]
    todo = sum(change.action != "keep" for change in results)
    if failed:
        app.diagnostics.warning(
            f"{len(failed)} of {todo} changes failed; when that is mended, `motorctl schema apply` does the rest"
        )
        codes = {change.error["code"] for change in failed if change.error}
        alike = codes.pop() if len(codes) == 1 else 0
        return {None: ExitCode.UNREACHABLE, 13: ExitCode.UNAUTHORIZED}.get(alike, ExitCode.FAILED)
    count(app, results, place=place)
    return ExitCode.DIFFERENCE if blocked else None


def _depends_on_blocked(change: Change) -> bool:
    return change.status == "skipped" and any(blocker.reason == "blocked" for blocker in change.blockers)
