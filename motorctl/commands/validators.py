"""`motorctl validators`: show and set the validator of one collection.

Reads arguments and shows results; comparing and setting are `core.validators`'s, files `manifest`'s. The
verbs that look at the documents are `validators_check`'s.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from motorctl.commands.schema_options import warn_of_traps
from motorctl.commands.validators_check import CollectionName, check, try_
from motorctl.errors import ExitCode

if TYPE_CHECKING:
    from motorctl.app import App
    from motorctl.core.schema import Change

group = typer.Typer(no_args_is_help=True)


class Level(StrEnum):
    """Which writes are validated."""

    OFF = "off"
    MODERATE = "moderate"
    STRICT = "strict"


class Action(StrEnum):
    """What happens to a document that doesn't fit."""

    ERROR = "error"
    WARN = "warn"


@group.command("show")
def show(ctx: typer.Context, collection: CollectionName) -> None:
    """Show the validator of a collection, its level and its action.

    Only reads. A collection without a validator shows none.

    Example:
      motorctl validators show users
      motorctl validators show users -o json
    """
    from motorctl import manifest
    from motorctl.core import extjson, validators

    app: App = ctx.obj

    async def read() -> dict[str, Any]:
        async with app.connect() as db:
            return await app.attempt(validators.show, db, collection)

    shown = app.run(read())
    if app.output.format == "table":
        # A schema is a tree: YAML shows it as one, a table would squeeze it into a cell.
        app.output.text(manifest.dump_yaml(extjson.to_json_value(shown)))
    else:
        app.output.emit(shown, free=True)


@group.command("apply")
def apply(
    ctx: typer.Context,
    collection: CollectionName,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A validator, YAML or JSON; - is stdin.")],
    level: Annotated[
        Level | None,
        typer.Option(
            "--level", help="strict: all writes; moderate: not updates of documents that don't fit."
        ),
    ] = None,
    action: Annotated[
        Action | None, typer.Option("--action", help="error: refuse the write; warn: log it.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be done; change nothing.")
    ] = False,
) -> ExitCode | None:
    """Set the validator of a collection.

    FILE holds the validator alone, as `validators show` prints it, or in a manifest.
    Documents that are there aren't read or changed. Level and action that aren't given stay as they
    are (strict and error on a new validator). An empty validator, {}, takes away the one that is
    there, after asking (--yes answers). Words that a server refuses are found before it is asked: exit 2.

    Example:
      echo '{"$jsonSchema": {"required": ["email"]}}' | motorctl validators apply users - --dry-run
    """
    from motorctl import manifest

    app: App = ctx.obj
    expression, given = manifest.load_validator(
        file, app.stdin if file == "-" else None, collection=collection
    )
    warn_of_traps(app, collection, expression)
    chosen = {"level": level and level.value, "action": action and action.value}
    given |= {name: value for name, value in chosen.items() if value is not None}
    return app.run(_apply(app, collection, expression, given, dry_run=dry_run))


group.command("check")(check)
group.command("try")(try_)


async def _apply(
    app: App, collection: str, expression: dict[str, Any], given: dict[str, Any], *, dry_run: bool
) -> ExitCode | None:
    from motorctl.core import validators

    async with app.connect() as db:
        change = await app.attempt(validators.plan_one, db, collection, expression, **given)
        if change.action != "keep" and not dry_run:
            if change.action == "drop" and not app.diagnostics.confirm(
                f"drop the validator of {collection} in database {db.name}"
            ):
                app.diagnostics.info("nothing was changed")
                return None
            change = await validators.apply_one(db, change, attempt=app.attempt)
    if change.action == "keep":
        app.diagnostics.info(f"the validator of {collection} is as it should be")
    _show(app, change)
    return None


def _show(app: App, change: Change) -> None:
    from motorctl.core import schema
    from motorctl.output import Column

    if change.status == "planned":
        app.diagnostics.dry_run()
    document = change.document()
    done = (
        f"the validator of {change.collection}: {change.action} is done"
        if change.status == "applied"
        else None
    )
    with app.output.after(done, f"motorctl validators show {change.collection}"):
        if app.output.format in ("json", "ndjson"):
            app.output.emit(document, free=True)
            return
        row = {**document, "detail": schema.describe(change)}
        app.output.emit([row], [Column(key) for key in ("action", "status", "collection", "detail")])
