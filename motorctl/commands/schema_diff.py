"""`motorctl schema diff`: two schemas side by side, each a manifest or a live database."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from motorctl.commands import schema_options as option
from motorctl.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from motorctl.app import App
    from motorctl.core.schema import Change, Collection, Server
    from motorctl.core.schema.select import Selection

_WAYS = "FILE, -, builtin:NAME, db, db:NAME, profile:NAME or a mongodb:// URI"


@dataclass(frozen=True)
class _Side:
    """One of the two: what it is called, and either its collections or the way to its server."""

    name: str
    collections: Sequence[Collection] = ()
    app: App | None = None
    server: Server | None = None


def diff(
    ctx: typer.Context,
    a: Annotated[str, typer.Argument(metavar="A", help=f"What is there: {_WAYS}.")],
    b: Annotated[str, typer.Argument(metavar="B", help="What it should be: the same choice.")],
    env: option.Env = False,
    only: option.Only = None,
    collection: option.Collections = None,
) -> ExitCode | None:
    """Show how schema A has to change to be B: exit 0 when they are the same, 8 when not.

    Only reads. Each is a manifest (a file, a directory, - for stdin, or builtin:NAME), or a live database:
    db is the one of --uri, --db and --profile, db:NAME another one of the same server, profile:NAME that of
    another profile. A connection string works too, but others on this machine can see it in the list of
    processes: a profile is better. Nothing is connected to unless a database is named. A file with such
    a name is ./db.

    What B lacks is shown as a drop, a whole collection too. Documents are not compared or looked at.

    Example:
      motorctl schema dump > schema.yaml && motorctl schema diff schema.yaml db
      motorctl schema diff builtin:shop db --only indexes --collection 'orders*'
      motorctl schema init shop | motorctl schema diff - builtin:shop
    """
    app: App = ctx.obj
    if a == b == "-":
        raise UsageError("standard input can be only one of the two", hint="name a file for the other")
    sides = [_side(app, operand, env=env) for operand in (a, b)]
    chosen = option.selection(only, collection)
    if any(side.app is not None for side in sides):
        sides = app.run(_read(sides, search="indexes" in chosen.parts or not chosen.parts))
    there, wished = sides
    return _compare(app, there, wished, chosen)


def _side(app: App, operand: str, *, env: bool) -> _Side:
    from motorctl.redaction import redact

    kind, colon, name = operand.partition(":")
    if operand == "db":
        return _Side(str(app.settings.database().value), app=app)
    if kind in ("builtin", "db", "profile") and colon:
        if not name:
            raise UsageError(f"{operand} names nothing", hint=f"{kind}:NAME")
        if kind == "builtin":
            return _Side(operand, option.desired(app, None, name, env=False))
        other = app.settings.of_database(name, operand) if kind == "db" else app.settings.of_profile(name)
        return _Side(operand, app=replace(app, settings=other))
    if operand.startswith(("mongodb://", "mongodb+srv://")):
        other = app.settings.of_uri(operand, "argument")
        return _Side(redact(operand, other.secrets()), app=replace(app, settings=other))
    if operand != "-" and not Path(operand).suffix and not Path(operand).exists():
        raise UsageError(
            f"there is no file {operand}",
            hint=f"db:{operand} is the database of that name, profile:{operand} a profile's",
        )
    return _Side(operand, option.desired(app, [operand], None, env=env))


async def _read(sides: Sequence[_Side], *, search: bool) -> list[_Side]:
    """Read the live ones, one after the other: each has a client of its own, and never two at a time."""
    from motorctl.core import schema

    read = []
    for side in sides:
        if side.app is None:
            read.append(side)
            continue
        async with side.app.connect() as db:
            server = await side.app.attempt(schema.fetch_server, db)
            current = await side.app.attempt(schema.fetch, db, search=search)
        read.append(replace(side, collections=list(current.values()), server=server))
    return read


def _compare(app: App, a: _Side, b: _Side, chosen: Selection) -> ExitCode | None:
    from motorctl.commands import schema_report
    from motorctl.core.schema.diff import diff as compare

    chosen.refuse_unmatched(one.name for side in (a, b) for one in side.collections)
    wished = chosen.collections(b.collections)
    # What is to be renamed is there under its old name.
    names = {name for one in wished for name in (one.name, one.renamed_from)}
    changes: list[Change] = chosen.changes(
        compare(
            [one for one in a.collections if chosen.takes(one.name) or one.name in names],
            wished,
            server=a.server,
            whole=not chosen.parts or "collections" in chosen.parts,
        )
    )
    differing = [change for change in changes if change.action != "keep"]
    schema_report.show(app, changes, title="Schema difference:", name=f"{a.name} -> {b.name}")
    schema_report.count(app, changes, compared=True)
    return ExitCode.DIFFERENCE if differing else None
