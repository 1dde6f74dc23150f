"""`motorctl demo`: the tour. Runs the program's own commands, each as a process, and shows how to type it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from motorctl.errors import ExitCode, MotorctlError
from motorctl.global_options import BY_NAME, OPTIONS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from motorctl.app import App

group = typer.Typer()

PROGRAM = (sys.executable, "-m", "motorctl")
DATABASE = "motorctl_demo"
ORDERS = 50_000
SLOW = '[{"$match": {"product_id": "p-17", "amount": {"$gt": 300}}}, {"$count": "orders"}]'
GATE = ("--fail-on", "collscan")


@dataclass(frozen=True)
class Step:
    """One command of the tour: why, what is typed, and how it should end."""

    why: str
    arguments: tuple[str, ...]
    code: int = ExitCode.OK


def steps(folder: str) -> tuple[Step, ...]:
    """Return the tour; `folder` holds the sample files."""
    return (
        Step("Is the server there, and does it have transactions?", ("ping", "--until", "transactions")),
        Step("What does this database lack of the shop's schema?", ("schema", "check", "--builtin", "shop"), 8),
        Step("Make it so: collections, validators, indexes.", ("schema", "apply", "--builtin", "shop")),
        Step("Import the customers.", ("import", f"{folder}/users.ndjson", "--into", "users")),
        Step("Import what is sold.", ("import", f"{folder}/inventory.ndjson", "--into", "inventory")),
        Step(f"Import {ORDERS:,} orders.", ("import", f"{folder}/orders.ndjson", "--into", "orders")),
        Step("Revenue by month.", ("revenue", "over-time", "--by", "month", "--chart")),
        Step("The best customers.", ("revenue", "by-customer", "--top", "5")),
        Step("What sells, and what the others add up to.", ("revenue", "by-product", "--top", "5", "--chart")),
        Step("A slow query: --slow-ms reports it.", ("aggregate", "orders", SLOW, "--slow-ms", "5")),
        Step("Why: exit code 8, for a gate that it breaks.", ("explain", "aggregate", "orders", SLOW, *GATE), 8),
        Step("The index that it lacks.", ("indexes", "create", "orders", "product_id", "amount")),
        Step("The same query again: the gate holds.", ("explain", "aggregate", "orders", SLOW, *GATE)),
        Step("Two accounts.", ("accounts", "open", "--id", "shop", "--balance", "100", "--currency", "EUR")),
        Step("The other one.", ("accounts", "open", "--id", "landlord", "--currency", "EUR")),
        Step("Move money: once, under this key.", ("transfer", "send", "shop", "landlord", "12.50", "--key", "rent")),
        Step("The same key again is answered, not sent.", ("transfer", "send", "shop", "landlord", "12.50", "--key", "rent")),
        Step("What isn't there can't be sent: exit code 6.", ("transfer", "send", "landlord", "shop", "99"), 6),
        Step("Do the books balance?", ("transfer", "verify")),
        Step("Students, with rules of their own.", ("schema", "apply", "--builtin", "college")),
        Step(
            "A student.",
            ("students", "create", "--name", "Ada Lovelace", "--email", "ada@example.com", "--course", "Mathematics", "--gpa", "3.9"),
        ),
        Step(
            "A grade that can't be: exit code 2, nothing written.",
            ("students", "create", "--name", "Bob", "--email", "bob@example.com", "--course", "Logic", "--gpa", "4.1"),
            2,
        ),
        Step("All of them, as JSON.", ("students", "list", "-o", "json")),
    )  # fmt: skip


@group.command("demo")
def demo(
    ctx: typer.Context,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the server running and the data there, to go on.")
    ] = False,
) -> None:
    """Show the program at work: a server, a schema, 50,000 orders, reports, a slow query explained, transfers, students.

    Each step prints the command it runs. Without --uri it starts a local server for the tour and stops
    it afterwards; the database is motorctl_demo, and it is dropped at the end. --keep leaves both.

    Example:
      motorctl demo
      motorctl demo --keep
    """
    app: App = ctx.obj
    app.run(_tour(app, keep=keep))


async def _tour(app: App, *, keep: bool) -> None:
    from motorctl.core import local

    with tempfile.TemporaryDirectory(prefix="motorctl-demo-") as scratch:
        folder = local.home().path / "demo" if keep else Path(scratch)
        async with _database(app, Path(scratch), keep=keep) as environment:
            app.diagnostics.info(f"$ export MOTORCTL_DB={DATABASE}")
            _write_samples(folder)
            for step in steps(str(folder)):
                await _run(app, step, environment)
        if not keep:
            app.diagnostics.info(
                "\n# That was the tour; its data is gone. `motorctl demo --keep` leaves it to go on with."
            )
        else:
            app.diagnostics.info(
                f"\nKept: the database {DATABASE}, and the sample files in {folder}. To end a local server and its"
                " data: `motorctl local stop`, `motorctl local reset`."
            )


@asynccontextmanager
async def _database(app: App, scratch: Path, *, keep: bool) -> AsyncIterator[dict[str, str]]:
    """Yield the environment of the tour's commands: a server, and an empty database on it.

    The server is the one that was named or that runs already, else one of the tour's own, which
    goes with it unless it is kept.
    """
    from motorctl.core import local
    from motorctl.core.private import opener

    if app.settings.address().source != "default":
        app.identify()
    address = app.settings.address()
    environment = _environment(app)
    own_server = address.source == "default"
    if own_server:
        home = local.home() if keep else local.Home(scratch / "server")
        environment["MOTORCTL_LOCAL_DIR"] = str(home.path)
        await _run(app, Step("A real mongod on this machine, for the tour.", ("local", "start")), environment)
        state = local.running(home)
        uri = state.uri if state else None
    else:
        uri = None
        # A child's variables can be looked at in /proc; the folder is ours alone, and goes with the tour.
        with open(scratch / "uri", "w", encoding="utf-8", opener=opener) as file:  # noqa: ASYNC230 - one line, before anything else runs
            file.write(str(address.value))
        for name in BY_NAME["uri"].environment:
            environment.pop(name, None)
        environment["MOTORCTL_URI_FILE"] = str(scratch / "uri")
    try:
        async with app.connect(uri=uri) as db:
            if await db.client.get_database(DATABASE).list_collection_names():
                if not own_server and not app.diagnostics.confirm(
                    f"drop the database {DATABASE} that is there?"
                ):
                    raise MotorctlError(
                        f"there is a database {DATABASE} already", hint="`motorctl demo --yes` drops it first"
                    )
                await db.client.drop_database(DATABASE)
        try:
            yield environment
        finally:
            if not keep and not own_server:
                async with app.connect() as db:
                    await db.client.drop_database(DATABASE)
    finally:
        if own_server and not keep:
            _stop(environment)


def _environment(app: App) -> dict[str, str]:
    """Return what the tour's commands are given: our environment, and the settings typed for us."""
    typed = {
        option.environment[0]: str(value.value)
        for option in OPTIONS
        if option.environment and (value := app.settings.values[option.name]).source.startswith("flag")
    }
    environment = {**os.environ, **typed, "MOTORCTL_DB": DATABASE}
    environment.pop("MOTORCTL_URI_FILE", None)
    environment.pop("MOTORCTL_OUTPUT", None)
    return environment


def _stop(environment: Mapping[str, str]) -> None:
    """End the tour's server, also when the tour itself is being ended."""
    command = [*PROGRAM, "local", "stop", "--quiet"]
    subprocess.call(command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)  # noqa: S603 - our own program


def _write_samples(folder: Path) -> None:
    from motorctl.core import sample

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "users.ndjson").open("wb") as file:
        file.writelines(sample.customers())
    with (folder / "inventory.ndjson").open("wb") as file:
        file.writelines(sample.inventory())
    with (folder / "orders.ndjson").open("wb") as file:
        file.writelines(sample.orders(ORDERS))


async def _run(app: App, step: Step, environment: Mapping[str, str]) -> None:
    """Run one command as a process; its output goes where ours goes."""
    import asyncio

    app.diagnostics.info(f"\n# {step.why}")
    app.diagnostics.info("$ " + shlex.join(("motorctl", *step.arguments)))
    process = await asyncio.create_subprocess_exec(
        *PROGRAM,
        *step.arguments,
        "--log-format",
        app.settings["log_format"],
        env=environment,
        stdin=subprocess.DEVNULL,
    )
    try:
        code = await process.wait()
    except asyncio.CancelledError:
        process.terminate()
        await process.wait()
        raise
    if code != step.code:
        raise MotorctlError(
            f"the tour stops here: `motorctl {step.arguments[0]}` ended with {code}, not {step.code}"
        )
