"""`motorctl ping`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from motorctl.errors import UnreachableError, UsageError

if TYPE_CHECKING:
    from motorctl.app import App

group = typer.Typer()

LEVELS = ("reachable", "auth", "primary", "transactions")


@group.command("ping")
def ping(
    ctx: typer.Context,
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, metavar="N", help="How many round trips.")
    ] = 5,
    until: Annotated[
        str,
        typer.Option(
            metavar="LEVEL",
            help="Fail unless it is reachable, auth, primary or transactions.",
            autocompletion=lambda: list(LEVELS),
        ),
    ] = "reachable",
) -> None:
    """Ask a server whether it is there, what it is, and how long it takes to answer.

    With --wait SECONDS it asks again until the server is as far as --until says, or the time is over
    (exit code 3). It writes nothing to the server.

    Example:
      motorctl ping
      motorctl ping -o json
      motorctl ping --until transactions --wait 30
    """
    if until not in LEVELS:
        from motorctl.near import near

        raise UsageError(f"--until: {until!r} is not one of {', '.join(LEVELS)}", hint=near(until, LEVELS))
    app: App = ctx.obj
    report = app.run(_ping(app, count, until))
    shown = dict(report)
    if app.output.format not in ("json", "ndjson"):
        latency = shown.pop("latency_ms")
        shown["hosts"] = ", ".join(shown["hosts"])
        shown |= {f"latency_{name}": f"{latency[name]} ms" for name in ("min", "median", "max")}
        shown["samples"] = latency["samples"]
    app.output.emit(shown)


async def _ping(app: App, count: int, until: str) -> dict[str, Any]:
    from dataclasses import asdict

    from motorctl.core import ping

    async with app.connect(ready=lambda db: _require(db, until)) as db:
        report = await ping.look(db, count)
        return asdict(report)


async def _require(db: Any, until: str) -> None:
    """Raise UnreachableError while the server is not as far as it should be."""
    from motorctl.core import ping
    from motorctl.core.transactions import REPLICA_SET_HINT
    from motorctl.driver_errors import PRIMARY_HINT

    next_step = {"primary": PRIMARY_HINT, "transactions": REPLICA_SET_HINT}
    reached = await ping.level(db, ping.Level[until])
    if reached < ping.Level[until]:
        raise UnreachableError(
            f"the server is ready as far as {reached.name}, not {until}",
            hint=next_step.get(until),
            level=reached.name,
            wanted=until,
        )
