"""`motorctl doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from motorctl.errors import MotorctlError

if TYPE_CHECKING:
    from motorctl.app import App
    from motorctl.commands.doctor_walk import Walk
    from motorctl.progress import Progress
    from motorctl.road.model import Lane, Way
    from motorctl.road.step import Step

group = typer.Typer()


@group.command("doctor")
def doctor(ctx: typer.Context) -> None:
    """Walk the road to the server step by step; say where it ends, why, and what to do.

    The steps: connection string, SRV and TXT records, then for each host DNS, TCP, TLS, handshake and clock; then
    compression, user, topology, primary, a transaction, and the pool's limits. Each has --timeout seconds. A
    step is ok, a warning (the road goes on), failed or skipped. It writes no data and sends a password only to
    log in; no secret is in its output, so that a ticket can have it.

    Exit code: 0 when the road is open, with or without warnings; else that of the first step that failed: 2 the
    connection string, 3 the way to the server, 4 the user.

    Example:
      motorctl doctor
      motorctl doctor -o json
      motorctl doctor --timeout 2 -o ndjson
    """
    import time
    from datetime import UTC, datetime

    from motorctl.commands import doctor_report

    app: App = ctx.obj
    app.identify()  # before anything is drawn over the question
    began, moment = time.perf_counter(), datetime.now(UTC)

    async def look() -> Walk:
        # Inside: whoever presses Ctrl-C finds the bar gone.
        with app.diagnostics.progress("the road to the server") as progress:
            return await _walk(app, progress)

    found = app.run(look())
    doctor_report.show(app, found, moment, time.perf_counter() - began)
    if found.end is not None and found.end.error is not None:
        raise _error(found.end, found.end.error, with_hint=app.output.format != "table")


async def _walk(app: App, progress: Progress) -> Walk:
    """Walk the whole road, in the order of a connection; nothing is raised but what is a defect.

    Below the driver by `road`, above it by the client of every other command. Where going on makes sense is decided
    here; what a step means, the step's own room says.
    """
    from contextlib import suppress

    from motorctl import client  # noqa: F401 - loading the driver isn't the first step's time
    from motorctl.commands import doctor_address, doctor_server
    from motorctl.commands.doctor_walk import Heard, Walk
    from motorctl.road import topology
    from motorctl.road.step import ORDER

    heard = Heard(app.diagnostics)
    found = Walk(app, heard, progress, app.settings.timeout)
    if app.settings.wait:
        # What came of it, the steps say.
        with suppress(MotorctlError):
            async with app.connect():
                pass
    way = await doctor_address.read(found)
    if way is not None and found.end is None:
        assert found.address is not None
        found.lanes = await _lanes(found, way, found.address.hosts, listed=True)
        if not found.direct:
            found.lanes += await _lanes(found, way, topology.members_named(found.lanes), listed=False)
        topology.settle(found.lanes)
        found.steps += [step for lane in found.lanes for step in lane.steps]
        await doctor_server.ask(found, way)
    done = {step.name for step in found.steps}
    found.steps += _untaken(found, set(ORDER) - done)
    found.steps.sort(key=lambda step: ORDER.index(step.name))
    return found


def _untaken(found: Walk, names: set[str]) -> list[Step]:
    """Say why steps were not taken."""
    from motorctl.road.step import NOT_REACHED, NOT_SRV, skipped

    srv = found.address is not None and found.address.srv
    why = {} if srv else {"srv": NOT_SRV, "txt": NOT_SRV}
    if any(lane.through for lane in found.lanes):
        away = any(not lane.here for lane in found.lanes)
        why["tls"] = "not asked for" + (": what is sent can be read on the way" if away else "")
    return [skipped(name, why.get(name, NOT_REACHED)) for name in sorted(names)]


async def _lanes(found: Walk, way: Way, hosts: Any, *, listed: bool) -> list[Lane]:
    """Walk several lanes at once."""
    import asyncio

    from motorctl.road import lane

    if hosts:
        found.progress.update(text=", ".join(map(str, hosts)))
    return list(await asyncio.gather(*(lane.walk(host, way, listed=listed) for host in hosts)))


def _error(step: Step, error: MotorctlError, *, with_hint: bool) -> MotorctlError:
    """Make the first failure the error of the command; a table has shown its hint already."""
    where = f"{step.name} {step.host}" if step.host else step.name
    error.args = (f"the road ends at {where}: {error.message}",)
    error.message = error.args[0]
    error.details = {"step": step.name, "host": step.host}
    if not with_hint:
        error.hint = None
    return error
