"""`motorctl schema dump`: the live database as a manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from motorctl.commands import schema_options as option
from motorctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from motorctl.app import App
    from motorctl.client import Database
    from motorctl.core.schema import Collection
    from motorctl.core.schema.select import Selection


def dump(
    ctx: typer.Context,
    only: option.Only = None,
    collection: option.Collections = None,
    stats: Annotated[
        bool,
        typer.Option("--stats", help="Say in comments how large each index is and how often it is used."),
    ] = False,
) -> None:
    """Print the database's schema as a manifest.

    Only reads. What it prints, `schema check` finds in sync, and `schema apply` makes the same
    elsewhere: this is how an existing database is adopted. Collections stand in the order of their
    names. Documents are not part of it. Options that a manifest has no word for, such as storageEngine,
    are named on stderr.

    Example:
      motorctl schema dump > schema.yaml
      motorctl schema dump --stats --collection 'orders*'
      motorctl schema dump --only indexes -o json
    """
    app: App = ctx.obj
    if not as_text(app) and stats:
        raise UsageError("--stats writes comments, and JSON has none", hint="leave -o out, or --stats")
    app.run(_dump(app, option.selection(only, collection), stats=stats))


def as_text(app: App) -> bool:
    """Tell whether a document is written as text. Raises UsageError for a format of rows."""
    if app.output.format not in ("table", "json", "ndjson"):
        raise UsageError(
            f"a manifest can't be written as {app.output.format}",
            hint="leave -o out for YAML, or use -o json",
        )
    return app.output.format == "table"


async def _dump(app: App, chosen: Selection, *, stats: bool) -> None:
    from motorctl import manifest
    from motorctl.core import schema
    from motorctl.core.schema.untold import untold

    async with app.connect() as db:
        current = await app.attempt(schema.fetch, db, search=True)
        chosen.refuse_unmatched(current)
        kept = chosen.dumped(current)
        comments = await _comments(app, db, kept) if stats else None
        left_out = await untold(db, kept.keys(), attempt=app.attempt)
    document: dict[str, Any] = schema.dump(kept)
    if as_text(app):
        app.output.text(manifest.dump_yaml(document, comments))
    else:
        app.output.emit(document)
    for found in left_out:
        app.diagnostics.warning(f"not in the manifest, which has no word for it: {found}")


async def _comments(
    app: App, db: Database, collections: Mapping[str, Collection]
) -> dict[tuple[str | int, ...], str]:
    from motorctl.core import index_usage
    from motorctl.core.schema import stats

    return stats.comments(collections, await app.attempt(index_usage.usage, db))
