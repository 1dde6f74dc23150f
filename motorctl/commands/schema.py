"""`motorctl schema`: collections, validators and indexes as code.

Owns the short verbs and the table of all; `schema_apply`, `schema_diff`, `schema_dump` and
`schema_history` are the longer ones. What changes is decided by `core.schema`, what a file says by
`manifest`, how it is shown by `schema_report`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from motorctl.commands import schema_options as option
from motorctl.commands import schema_report
from motorctl.commands.schema_apply import apply
from motorctl.commands.schema_diff import diff
from motorctl.commands.schema_dump import as_text, dump
from motorctl.commands.schema_history import history
from motorctl.commands.schema_infer import infer
from motorctl.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from motorctl.app import App
    from motorctl.commands.schema_planning import Wish
    from motorctl.core.schema import Change

group = typer.Typer(no_args_is_help=True)


@group.command("init")
def init(
    ctx: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="college or shop.", autocompletion=option.shipped)
    ] = "college",
) -> None:
    """Print a shipped manifest, to start your own from.

    Connects to nothing and changes nothing.

    Example:
      motorctl schema init shop > shop.yaml
    """
    from motorctl import manifest

    app: App = ctx.obj
    if as_text(app):
        app.output.text(manifest.builtin_text(name))
    else:
        app.output.emit(manifest.builtin_document(name))


group.command("dump")(dump)


@group.command("plan")
def plan(
    ctx: typer.Context,
    files: option.Files = None,
    builtin: option.Builtin = None,
    env: option.Env = False,
    prune: option.Surplus = False,
    format: Annotated[
        Literal["markdown"] | None,
        typer.Option("--format", help="As a comment for a pull request; the same as -o markdown."),
    ] = None,
    no_data_checks: option.NoDataChecks = False,
    data_checks_seconds: option.DataChecksSeconds = None,
    only: option.Only = None,
    collection: option.Collections = None,
) -> None:
    """Show what `schema apply` would change, and what stands in its way.

    Only reads. What is in the way (duplicates that a unique index would meet, documents that a validator
    would reject, and the like) is looked for in the data, and shown below the table with how many
    documents it concerns and some of their ids. The exit code is 0 all the same: the gate for drift is
    `schema check`, the one for what is in the way is `schema apply --dry-run`. With -v the commands are
    shown too; JSON has them always, and lists what stays as it is.

    Example:
      motorctl schema plan --builtin shop
      motorctl schema init shop | motorctl schema plan - -o json
      motorctl schema plan --builtin shop --only indexes --collection 'orders*' --no-data-checks
      motorctl schema plan --builtin shop --format markdown > comment.md
    """
    from motorctl.commands.schema_planning import Wish

    app: App = ctx.obj
    seconds = option.data_checks(no_data_checks, data_checks_seconds)
    if format is not None:
        app = _as_markdown(app)
    wish = Wish(
        option.desired(app, files, builtin, env=env), option.selection(only, collection), prune, seconds
    )
    name, changes = app.run(_plan(app, wish))
    schema_report.show(app, changes, title="Schema plan for database", name=name, commands=True, wish=wish)
    schema_report.count(app, changes, place=schema_report.place(app, name))


@group.command("check")
def check(
    ctx: typer.Context,
    files: option.Files = None,
    builtin: option.Builtin = None,
    env: option.Env = False,
    prune: option.Surplus = False,
    only: option.Only = None,
    collection: option.Collections = None,
) -> ExitCode | None:
    """Check whether the database is as the manifest says: exit 0 in sync, 8 when it isn't.

    Only reads, as a user with the role `read` may, and never the documents. Prints only what differs. What
    the manifest doesn't mention is no difference, unless --prune is given.

    Example:
      motorctl schema check --builtin shop
      motorctl schema dump | motorctl schema check -
      motorctl schema check --builtin shop --only indexes
    """
    from motorctl.commands.schema_planning import Wish

    app: App = ctx.obj
    wish = Wish(option.desired(app, files, builtin, env=env), option.selection(only, collection), prune)
    name, changes = app.run(_plan(app, wish))
    differing = [change for change in changes if change.action != "keep"]
    # A comment counts what is in sync, too.
    shown = changes if app.output.format == "markdown" else differing
    schema_report.show(app, shown, title="Schema check of database", name=name)
    schema_report.count(app, changes, place=schema_report.place(app, name))
    return ExitCode.DIFFERENCE if differing else None


group.command("apply")(apply)
group.command("diff")(diff)
group.command("history")(history)
group.command("infer")(infer)


@group.command("json-schema")
def json_schema(ctx: typer.Context) -> None:
    """Print the JSON Schema of a manifest, so that an editor completes and checks it.

    Connects to nothing. A manifest may name it: in YAML by a first line `# yaml-language-server:
    $schema=FILE`, in JSON by the key $schema.

    Example:
      motorctl schema json-schema > motorctl.schema.json
    """
    import json

    from motorctl import manifest

    app: App = ctx.obj
    document = manifest.json_schema()
    if as_text(app):
        app.output.text(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        app.output.emit(document)


def _as_markdown(app: App) -> App:
    from motorctl.output import Output

    if app.settings.values["output"].source.startswith("flag") and app.output.format != "markdown":
        raise UsageError("--format markdown and -o exclude each other", hint="leave one of them out")
    return replace(app, output=Output(app.streams.stdout, "markdown", color=app.settings["color"]))


async def _plan(app: App, wish: Wish) -> tuple[str, list[Change]]:
    from motorctl.commands import schema_planning

    async with app.connect() as db:
        _, changes = await schema_planning.plan(app, db, wish)
        return db.name, changes
