"""What became of an import's records: the summary on stdout, the first refused ones on stderr."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from motorctl.output import Column

if TYPE_CHECKING:
    from motorctl.app import App
    from motorctl.core.ingest.account import Account

__all__ = ["report"]

COUNTS = ("read", "inserted", "updated", "unchanged", "rejected")


def report(app: App, account: Account, *, dry_run: bool, deleting: bool = False) -> None:
    """Say what became of the records: the summary on stdout, the first rejects on stderr."""
    total = account.total
    # A reason may quote a value of a user's: where the file has them, which is its owner's alone, a log needn't.
    if account.rejects_path is None or account.rejects_error is not None:
        for reject in account.first:
            named = reject.field and re.search(
                rf"(?<![\w.]){re.escape(reject.field)}(?![\w.])", reject.reason
            )
            at = f"{reject.field}: " if reject.field and not named else ""
            app.diagnostics.warning(f"{reject.file}:{reject.line}: {at}{reject.reason}")
        if (more := total.rejected - len(account.first)) > 0:
            keeps = "" if dry_run or account.rejects_error else ": --rejects PATH keeps them all"
            app.diagnostics.warning(f"{more:,} more were refused{keeps}")
    if account.too_many(final=True):
        app.diagnostics.warning(f"more records were refused than --max-errors {account.limit} allows")
    if dry_run:
        app.diagnostics.dry_run()
    elif account.begun and not total.read and not total.bytes:
        app.diagnostics.warning("nothing was read: the input is empty")
    summary = account.summary()
    counts = ", ".join(f"{summary[name]:,} {name}" for name in COUNTS)
    with app.output.after(None if dry_run else f"the import has ended ({counts})", None):
        if app.output.format in ("json", "ndjson"):
            app.output.emit(summary)
        else:
            _table(app, summary, deleting=deleting)


def _table(app: App, summary: dict[str, Any], *, deleting: bool) -> None:
    files = summary["files"]
    together = {"file": "all", **summary}
    if app.output.format == "csv":
        columns = [Column("file"), *(Column(name, right=True) for name in (*COUNTS, "bytes"))]
        app.output.emit([*files, together] if len(files) > 1 else files, columns)
        return
    from motorctl.core.index_usage import sized
    from motorctl.formats import rated

    size, time = sized(summary["bytes"]), rated(summary["seconds"], summary["documents_per_second"])
    if len(files) > 1:
        rows = [*files, together]
        shown = [
            {
                "file": PurePath(row["file"]).name,
                **{name: f"{row[name]:,}" for name in COUNTS},
                "size": sized(row["bytes"]),
            }
            for row in rows
        ]
        app.output.emit(shown, [Column("file"), *(Column(name, right=True) for name in (*COUNTS, "size"))])
        app.diagnostics.info(f"{time}{_rejects(summary)}")
        return
    # What a delete "updates" is gone.
    words = {"updated": "deleted"} if deleting else {}
    row: dict[str, Any] = {words.get(name, name): f"{summary[name]:,}" for name in COUNTS}
    row["size"] = size
    row["time"] = time
    if summary["rejects_file"]:
        row["rejects file"] = summary["rejects_file"]
    app.output.emit(row if app.output.format == "table" else [row])


def _rejects(summary: dict[str, Any]) -> str:
    return f", rejects in {summary['rejects_file']}" if summary["rejects_file"] else ""
