"""`motorctl import status` and `motorctl import forget`: what is known of imports with `--resume`.

Shows and asks; what the states say, and deleting them, is `core.ingest.resuming.states`'s.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from motorctl.app import App
    from motorctl.errors import MotorctlError

COUNTS = ("read", "inserted", "updated", "unchanged", "rejected")


def status(app: App, name: str | None) -> None:
    """Show a row for each import, or all that is known of one."""
    rows = app.run(_read(app, name))
    if name is None:
        _list(app, rows)
    else:
        _one(app, rows[0])


def forget(app: App, name: str, *, dry_run: bool) -> None:
    """Delete what is known of an import, after asking; its documents stay."""
    app.run(_forget(app, name, dry_run=dry_run))


async def _read(app: App, name: str | None) -> list[dict[str, Any]]:
    from motorctl.core.ingest.resuming.states import detailed, fetch, merged

    async with app.connect() as db:
        odd: list[MotorctlError] = []
        # One that can't be read doesn't hide the others; one that was asked for is an error.
        found = await app.attempt(fetch, db, name, odd=odd.append if name is None else None)
    for one in odd:
        app.diagnostics.warning(one.message)
    return [(merged if name is None else detailed)(parts) for parts in found]


async def _forget(app: App, name: str, *, dry_run: bool) -> None:
    from motorctl.core.ingest.resuming import states as core

    async with app.connect() as db:
        (parts,) = await app.attempt(core.fetch, db, name)
        row = core.merged(parts)
        unfinished = row["state"] != "done"
        if not dry_run:
            what = f"forget import {name}, {row['state']} after {row['read']:,} records"
            if unfinished:
                what += ": it can't be resumed then, and its documents stay"
            if not app.diagnostics.confirm(what):
                app.diagnostics.info("nothing was forgotten")
                return
            row = await core.forget(db, name)
    if dry_run:
        app.diagnostics.dry_run()
    with app.output.after(None if dry_run else f"import {name} is forgotten", "motorctl import status"):
        if app.output.format in ("json", "ndjson"):
            app.output.emit({"action": "forget", "status": "planned" if dry_run else "applied", **row})
        else:
            _list(app, [row])


def _list(app: App, rows: list[dict[str, Any]]) -> None:
    from motorctl.output import Column

    if app.output.format in ("json", "ndjson"):
        app.output.emit(rows)
        return
    columns = [Column("name"), Column("state"), Column("parts", right=True), Column("percent", right=True)]
    columns += [Column(count, right=True) for count in ("read", "rejected")]
    if app.output.format == "csv":
        columns[1:1] = [Column("into")]
        columns += [Column(count, right=True) for count in (*COUNTS[1:-1], "seconds")]
        columns += [Column("updated_at"), Column("reason")]
    shown = [{**row, "parts": f"{row['parts_done']}/{row['parts']}"} for row in rows]
    app.output.emit(shown if app.output.format == "csv" else list(map(_readable, shown)), columns)


def _one(app: App, found: dict[str, Any]) -> None:
    from motorctl.output import Column

    if app.output.format in ("json", "ndjson"):
        app.output.emit(found)
        return
    rows: list[dict[str, Any]] = []
    in_parts = len(found["parts"]) > 1
    of = len(found["parts"])
    for part in found["parts"]:
        if in_parts:
            rows.append({**part, "what": f"part {part['part']} of {of}"})
        rows += [
            {**file, "what": file["file"], "reason": None if in_parts else part["reason"]}
            for file in found["files"]
            if not in_parts or file["part"] == part["part"]
        ]
    rows.append({**found["totals"], "what": "all", "state": found["state"]})
    columns = [Column("what"), Column("state"), *(Column(count, right=True) for count in COUNTS)]
    columns += [Column("percent", right=True)]
    if app.output.format == "csv":
        columns += [Column("seconds", right=True), Column("updated_at"), Column("reason")]
    app.output.emit(rows if app.output.format == "csv" else list(map(_readable, rows)), columns)
    for row in rows:
        if row.get("reason"):
            app.diagnostics.info(f"{row['what']}: {row['reason']}")


def _readable(row: dict[str, Any]) -> dict[str, Any]:
    """Write a row's numbers for people, and a file by its name alone."""
    readable = {**row, **{name: f"{row[name]:,}" for name in COUNTS}}
    if "what" in row:
        readable["what"] = PurePath(row["what"]).name
    if row.get("percent") is not None:
        readable["percent"] = f"{row['percent']:g} %"
    return readable
