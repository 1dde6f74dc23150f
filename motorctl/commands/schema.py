"""`motorctl schema`: collections, validators and indexes as code.

Owns how a plan is shown and which exit code it gives. What changes is decided by `core.schema`, what a
file says by `manifest`.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from motorctl.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from motorctl.app import App
    from motorctl.core.schema import Change, Collection

group = typer.Typer(no_args_is_help=True)

File = Annotated[
    str | None,
    typer.Argument(metavar="[FILE]", help="A manifest, YAML or JSON; - is stdin.", show_default=False),
]
Builtin = Annotated[
    str | None,
    typer.Option("--builtin", metavar="NAME", help="A manifest that ships with motorctl, in place of FILE."),
]
Prune = Annotated[
    bool,
    typer.Option("--prune", help="Drop what the manifest's collections have beyond it: indexes, validators."),
]


@group.command("init")
def init(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="college or shop.")] = "college",
) -> None:
    """Print a shipped manifest, to start your own from.

    Connects to nothing and changes nothing.

    Example:
      motorctl schema init shop > shop.yaml
    """
    from motorctl import manifest

    app: App = ctx.obj
    if _as_text(app):
        app.output.text(manifest.builtin_text(name))
    else:
        app.output.emit(manifest.builtin_document(name))


@group.command("dump")
def dump(ctx: typer.Context) -> None:
    """Print the database's schema as a manifest.

    Only reads. What it prints, `schema check` finds in sync, and `schema apply` makes the same
    elsewhere. Documents are not part of it.

    Example:
      motorctl schema dump > schema.yaml
    """
    from motorctl import manifest
    from motorctl.core import schema

    app: App = ctx.obj
    as_text = _as_text(app)

    async def read() -> dict[str, Any]:
        async with app.connect() as db:
            return schema.dump(await app.attempt(schema.fetch, db))

    document = app.run(read())
    if as_text:
        app.output.text(manifest.dump_yaml(document))
    else:
        app.output.emit(document)


@group.command("plan")
def plan(ctx: typer.Context, file: File = None, builtin: Builtin = None, prune: Prune = False) -> None:
    """Show what `schema apply` would change.

    Only reads. JSON lists what stays as it is, too.

    Example:
      motorctl schema plan --builtin shop
      motorctl schema init shop | motorctl schema plan - -o json
    """
    app: App = ctx.obj
    changes = app.run(_plan(app, _desired(app, file, builtin), prune=prune))
    _show(app, changes)
    _count(app, changes)


@group.command("check")
def check(
    ctx: typer.Context, file: File = None, builtin: Builtin = None, prune: Prune = False
) -> ExitCode | None:
    """Check whether the database is as the manifest says: exit 0 in sync, 8 when it isn't.

    Only reads, and prints only what differs. What the manifest doesn't mention is no difference,
    unless --prune is given.

    Example:
      motorctl schema check --builtin shop
      motorctl schema dump | motorctl schema check -
    """
    app: App = ctx.obj
    changes = app.run(_plan(app, _desired(app, file, builtin), prune=prune))
    differing = [change for change in changes if change.action != "keep"]
    _show(app, differing)
    _count(app, changes)
    return ExitCode.DIFFERENCE if differing else None


@group.command("apply")
def apply(
    ctx: typer.Context,
    file: File = None,
    builtin: Builtin = None,
    prune: Prune = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan; change nothing.")] = False,
) -> ExitCode | None:
    """Make the database as the manifest says.

    Creates and changes collections, validators and indexes, never documents; applying again changes
    nothing. With --prune it also drops the indexes and validators that the manifest's collections have
    beyond it, after asking (--yes answers). A change that fails doesn't stop the others: exit 1 then,
    3 when the connection was lost. A change that can't be made in place, or only by dropping a text
    index that the manifest doesn't name, stops everything before it begins: exit 8.

    Example:
      motorctl schema apply --builtin shop --dry-run
      motorctl schema apply --builtin shop
    """
    app: App = ctx.obj
    desired = _desired(app, file, builtin)
    return app.run(_plan_and_apply(app, desired, prune=prune, dry_run=dry_run))


async def _plan_and_apply(
    app: App, desired: Sequence[Collection], *, prune: bool, dry_run: bool
) -> ExitCode | None:
    from motorctl.core import schema

    async with app.connect() as db:
        current = await app.attempt(schema.fetch, db, {collection.name for collection in desired})
        changes = schema.plan(current, desired, prune=prune)
        if any(change.blockers for change in changes):
            _show(app, changes)
            app.diagnostics.warning("something stands in the way: nothing was changed")
            return ExitCode.DIFFERENCE
        if dry_run:
            _show(app, changes)
            _count(app, changes)
            return None
        drops = [name for change in changes for name in schema.drops(change)]
        if drops and not app.diagnostics.confirm(f"drop {', '.join(drops)} in database {db.name}"):
            app.diagnostics.info("nothing was changed")
            return None
        todo = sum(change.action != "keep" for change in changes)
        with app.diagnostics.progress("applying", todo) as progress:

            def report(change: Change) -> None:
                if change.action != "keep":
                    progress.advance()

            results = await schema.apply(db, changes, attempt=app.attempt, report=report)
    _show(app, results)
    return _verdict(app, results, todo)


def _verdict(app: App, results: Sequence[Change], todo: int) -> ExitCode | None:
    failed = [change for change in results if change.status in ("failed", "skipped")]
    if not failed:
        _count(app, results)
        return None
    app.diagnostics.warning(
        f"{len(failed)} of {todo} changes failed; when that is mended, `motorctl schema apply` does the rest"
    )
    codes = {change.error["code"] for change in failed if change.error}
    alike = codes.pop() if len(codes) == 1 else 0
    return {None: ExitCode.UNREACHABLE, 13: ExitCode.UNAUTHORIZED}.get(alike, ExitCode.FAILED)


async def _plan(app: App, desired: Sequence[Collection], *, prune: bool) -> list[Change]:
    from motorctl.core import schema

    async with app.connect() as db:
        current = await app.attempt(schema.fetch, db, {collection.name for collection in desired})
    return schema.plan(current, desired, prune=prune)


def _desired(app: App, file: str | None, builtin: str | None) -> list[Collection]:
    from motorctl import manifest

    if file is not None and builtin is not None:
        raise UsageError("FILE and --builtin can't be given together", hint="leave one of them out")
    if builtin is not None:
        return manifest.load_builtin(builtin)
    if file is None:
        raise UsageError(
            "a manifest is needed: FILE or --builtin NAME",
            hint=f"--builtin {' or '.join(manifest.builtins())}; `motorctl schema init` prints one",
        )
    return manifest.load(file, app.stdin if file == "-" else None)


def _as_text(app: App) -> bool:
    if app.output.format not in ("table", "json", "ndjson"):
        raise UsageError(
            f"a manifest can't be written as {app.output.format}",
            hint="leave -o out for YAML, or use -o json",
        )
    return app.output.format == "table"


def _show(app: App, changes: Sequence[Change]) -> None:
    from motorctl.core import schema
    from motorctl.output import Column

    match app.output.format:
        case "json":
            document = {
                "in_sync": schema.in_sync(changes),
                "changes": [change.document() for change in changes],
            }
            app.output.emit(document, free=True)
        case "ndjson":
            app.output.emit([change.document() for change in changes], free=True)
        case "csv":
            names = ("collection", "kind", "action", "name", "status")
            app.output.emit([change.document() for change in changes], [Column(name) for name in names])
        case _:
            shown = [schema.row(c) for c in changes if c.action != "keep" or app.diagnostics.verbose]
            if shown:
                app.output.emit(shown, [Column(name) for name in shown[0]])


def _count(app: App, changes: Sequence[Change]) -> None:
    """Sum up below the table, on stderr: what differs, what doesn't, what the manifest doesn't know."""
    count: Counter[str] = Counter(change.status for change in changes)
    words = {
        "planned": "to change",
        "blocked": "blocked",
        "applied": "applied",
        "in_sync": "as they should be",
        "unmanaged": "not in the manifest (--prune drops them)",
    }
    parts = [f"{count[status]} {text}" for status, text in words.items() if count[status]]
    if all(change.action == "keep" for change in changes):
        parts.insert(0, "in sync")
    app.diagnostics.info(", ".join(parts))
