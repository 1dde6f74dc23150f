"""`motorctl schema history`: what applies have left on record."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from motorctl.app import App

_COLUMNS = ("when", "who", "from", "manifest", "digest", "changes", "result")
_SPARE = {"digest": 3, "from": 2, "who": 1}
_DIGITS = 12
"""Digits of a digest that a table shows: enough to tell two manifests apart."""


def history(
    ctx: typer.Context,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, help="How many, the newest first.")
    ] = 20,
) -> None:
    """Show who changed the schema, when, from where, and how it ended.

    Only reads. Each apply leaves one record, also one that had nothing to change, in the collection
    motorctl_schema_history of the database (not with `schema apply --no-history`). The digest is the same
    for manifests that wish the same. JSON has each change, the options and the version too.

    There is no undo: applying the manifest of before, from version control, is the way back. Documents
    of a dropped collection come from a backup.

    Example:
      motorctl schema history
      motorctl schema history --limit 1 -o json
    """
    from motorctl.core.schema.history import entries
    from motorctl.output import Column

    app: App = ctx.obj

    async def read() -> list[dict[str, Any]]:
        async with app.connect() as db:
            return await app.attempt(entries, db, limit)

    records = app.run(read())
    if app.output.format in ("json", "ndjson"):
        app.output.emit(records)
    else:
        app.output.emit(
            list(map(_row, records)), [Column(name, spare=_SPARE.get(name, 0)) for name in _COLUMNS]
        )


def _row(record: Mapping[str, Any]) -> dict[str, Any]:
    user = record["user"]
    count = Counter(change["status"] for change in record["changes"])
    return {
        "when": record["started_at"],
        "who": ", ".join(user["server"]) or user["system"],
        "from": record["host"],
        "manifest": ", ".join(record["manifest"]),
        "digest": record["digest"][:_DIGITS],
        "changes": ", ".join(f"{number} {status}" for status, number in count.items()),
        "result": record["result"],
    }
