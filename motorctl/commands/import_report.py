"""What became of an import's records: the summary on stdout, the first refused ones on stderr."""

from __future__ import annotations

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
    if account.rejects_path is None or account.rejects_error is not None:
        for reject in account.first:
            at = f"{reject.field}: " if reject.field and reject.field not in reject.reason else ""
            app.diagnostics.warning(f"{reject.file}:{reject.line}: {at}{reject.reason}")
        if (more := total.rejected - len(account.first)) > 0:
            app.diagnostics.warning(f"{more:,} more were refused: --rejects PATH keeps them all")
    if account.too_many(final=True):
        app.diagnostics.warning(f"more records were refused than --max-errors {account.limit} allows")
    if dry_run:
        app.diagnostics.info("dry run: nothing was written")
    summary = account.summary()
    if app.output.format in ("json", "ndjson"):
        app.output.emit(summary)
    else:
        _table(app, summary, deleting=deleting)


def _table(app: App, summary: dict[str, Any], *, deleting: bool) -> None:
    files = summary["files"]
    if len(files) > 1:
        rows = [*files, {"file": "all", **summary}]
        if app.output.format != "table":
            app.output.emit(
                files, [Column("file"), *(Column(name, right=True) for name in (*COUNTS, "bytes"))]
            )
            return
        shown = [{"file": row["file"], **{name: f"{row[name]:,}" for name in COUNTS}} for row in rows]
        app.output.emit(shown, [Column("file"), *(Column(name, right=True) for name in COUNTS)])
        return
    # What a delete "updates" is gone.
    words = {"updated": "deleted"} if deleting else {}
    row: dict[str, Any] = {words.get(name, name): f"{summary[name]:,}" for name in COUNTS}
    size, seconds = summary["bytes"], summary["seconds"]
    row["size"] = (
        f"{size} bytes" if size < 1000 else f"{size / 1e3:.1f} kB" if size < 1e6 else f"{size / 1e6:,.1f} MB"
    )
    taken = f"{seconds * 1000:.0f} ms" if seconds < 0.1 else f"{seconds:.1f} s"
    row["time"] = f"{taken} ({summary['documents_per_second']:,} documents a second)"
    if summary["rejects_file"]:
        row["rejects file"] = summary["rejects_file"]
    app.output.emit(row if app.output.format == "table" else [row])
