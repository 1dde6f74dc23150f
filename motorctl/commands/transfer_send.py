"""`motorctl transfer send` and `reverse`: one transfer, and what is said when it fails.

Reads arguments and shows the answer; whether money may move is decided in `core.transfers`.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from motorctl.errors import ExitCode, MotorctlError, OutcomeUnknownError

if TYPE_CHECKING:
    from motorctl.app import App
    from motorctl.client import Database
    from motorctl.core.transfers.plan import Outcome
    from motorctl.core.transfers.request import Request

Key = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        help="Names this payment: sent again with the same key, it isn't made again. Made, and shown, if not given.",
    ),
]
Note = Annotated[str | None, typer.Option(metavar="TEXT", help="Stands in the ledger with it.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and write nothing.")]

LIFE_SIGN = 1.0
"""Seconds after which it is said that a transfer isn't through yet."""


def send(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(metavar="FROM", help="The account that pays.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="The account that gets it.")],
    amount: Annotated[
        str, typer.Argument(metavar="AMOUNT", help="Digits with a point: 19.99, in the accounts' currency.")
    ],
    key: Key = None,
    note: Note = None,
    dry_run: DryRun = False,
) -> None:
    """Move money from one account to another, once or not at all.

    Both balances and the ledger's record are written in one transaction. The same key with the same
    arguments gives the first result again (`replayed`), whoever sends it and how often; with other arguments
    it is refused (6), and so is what the account doesn't have, a frozen account, another currency. An
    account that isn't there is 5. Without --key one is made and shown before anything is written (not with -q).
    Exit code 3: nothing was sent. 9: nobody knows; `transfer show KEY` tells. After either, sending it again with
    the same key is safe.

    Example:
      motorctl transfer send alice bob 12.50 --key invoice-1017 --note "invoice 1017"
      motorctl transfer send alice bob 3.00
      motorctl transfer send alice bob 70 --dry-run -o json
    """
    from motorctl.core import money
    from motorctl.core.transfers import request

    app: App = ctx.obj
    request.checked_accounts(source, target)
    wanted = request.Request(
        key=request.new_key() if key is None else request.checked_key(key),
        source=source,
        target=target,
        amount=money.amount(amount),
        note=request.checked_note(note),
        fresh=key is None,
    )
    if dry_run:
        app.run(_send(app, wanted, None))
        return
    again = _typed(app, "send", source, target, amount, key=wanted.key, note=wanted.note)
    with _named(app, wanted.key, again) as told:
        app.run(_send(app, wanted, told))


def reverse(
    ctx: typer.Context,
    key: Annotated[str, typer.Argument(metavar="KEY", help="The key of the transfer.")],
    note: Note = None,
    dry_run: DryRun = False,
) -> None:
    """Take a transfer back: a new one the other way, once at most.

    The ledger isn't changed: the reversal is a record of its own, with the key `KEY/reversal`. Reversing it
    again gives the same record again (`replayed`). A key that isn't there is 5. Refused (6) where the
    money isn't there any more, an account is frozen, or KEY is a reversal itself.

    Example:
      motorctl transfer reverse rent-2026-11 --note "paid twice" --dry-run
      motorctl transfer reverse rent-2026-11 --note "paid twice"
    """
    from motorctl.core.transfers import request
    from motorctl.core.transfers.ledger import REVERSAL

    app: App = ctx.obj
    key, note = request.known_key(key), request.checked_note(note)
    if dry_run:
        app.run(_reverse(app, key, note, None))
        return
    with _named(app, f"{key}{REVERSAL}", _typed(app, "reverse", key, note=note)) as told:
        app.run(_reverse(app, key, note, told))


def _typed(app: App, verb: str, *words: str, key: str | None = None, note: str | None = None) -> str:
    """Return a command as a shell takes it, with all that the same key has to come with, on the same database."""
    where = {name: app.settings.values[name] for name in ("profile", "config", "uri", "uri_file", "db")}
    options = {"key": key, "note": note}
    options |= {name: str(one.value) for name, one in where.items() if one.source.startswith("flag")}
    typed = [word for name, one in options.items() if one for word in (f"--{name.replace('_', '-')}", one)]
    # What begins with - is an option, unless it stands behind the one that ends them.
    arguments = [*typed, "--", *words] if any(word.startswith("-") for word in words) else [*words, *typed]
    return shlex.join(["motorctl", "transfer", verb, *arguments])


@dataclass
class _Told:
    """What is known of a transfer, for the words at its end."""

    done: bool = False
    """There is an answer: a record, or a refusal."""
    doubt: OutcomeUnknownError | None = None


@contextmanager
def _named(app: App, key: str, again: str) -> Iterator[_Told]:
    """Put the key of a transfer into each error that comes after it, and what to do with it then.

    `again` is the command that is safe to run again: the same key, so that money is moved once.
    """
    told = _Told()
    try:
        yield told
    except (KeyboardInterrupt, MotorctlError) as error:
        ours = error if isinstance(error, MotorctlError) else None
        if ours is None or ours.exit_code is ExitCode.TERMINATED:
            if told.doubt is not None:
                _add_key(app, told, told.doubt, key, again)
                raise told.doubt from error
            if not told.done:
                # Also with -q: whoever stops it has to know.
                app.diagnostics.warning(f"stopped before the commit: nothing was sent (key {key})", key=key)
        if ours is not None:
            _add_key(app, told, ours, key, again)
        raise


def _add_key(app: App, told: _Told, error: MotorctlError, key: str, again: str) -> None:
    error.details.setdefault("key", key)
    if error.exit_code is ExitCode.OUTCOME_UNKNOWN:
        look = _typed(app, "show", key)
        error.message = f"{error.message} (key {key})"
        error.hint = f"`{look}` tells. The same again is safe, with the same key: `{again}`"
    elif error.exit_code is ExitCode.UNREACHABLE:
        # What lost its answer after a commit was sent is code 9: here none was.
        rest = (error.hint or "").removeprefix("the same command may be run again; ")
        error.hint = f"nothing was sent. The same again is safe, with the same key: `{again}`"
        error.hint += f"; {rest}" if rest else ""
    elif error.exit_code in (ExitCode.FAILED, ExitCode.UNAUTHORIZED) and not told.done:
        error.hint = f"nothing was sent; {error.hint}" if error.hint else "nothing was sent"


async def _send(app: App, wanted: Request, told: _Told | None) -> None:
    """Carry a request out, or without `told` only show what it would do."""
    async with app.connect() as db:
        await _check(app, db)
        if told is None:
            await _show_plan(app, db, wanted)
            return
        if wanted.fresh:
            app.diagnostics.info(
                f"key {wanted.key}: should no answer come, `{_typed(app, 'show', wanted.key)}` has it",
                key=wanted.key,
            )
        await _carry_out(app, db, wanted, told)


async def _reverse(app: App, key: str, note: str | None, told: _Told | None) -> None:
    from motorctl.core.transfers import reverse as back

    async with app.connect() as db:
        await _check(app, db)
        wanted = await app.attempt(back.request, db, key, note)
        if told is None:
            await _show_plan(app, db, wanted)
        else:
            await _carry_out(app, db, wanted, told)


async def _check(app: App, db: Database) -> None:
    """Say in words what transfers need and isn't there: a replica set (an error), indexes (warnings)."""
    from motorctl.core.transfers import ready

    for sentence in await app.attempt(ready.check, db):
        app.diagnostics.warning(sentence)


async def _carry_out(app: App, db: Database, wanted: Request, told: _Told) -> None:
    import asyncio

    from motorctl.core.transfers.post import post
    from motorctl.formats import brief

    seconds = app.settings.timeout
    say = app.diagnostics.info if app.streams.stderr.isatty() else app.diagnostics.note
    waiting = f"not through yet, trying for {seconds:g} s: others have the accounts, or the server is slow"
    sign = asyncio.get_running_loop().call_later(LIFE_SIGN, say, waiting)
    try:
        (outcome,) = await post(db, [wanted], seconds=seconds)
    except OutcomeUnknownError as error:
        told.doubt = error
        raise
    finally:
        sign.cancel()
    # No await from here on: a stop that came with the commit's answer waits for the next one.
    told.done = True
    row = _row(outcome)
    with app.output.after(f"the transfer is committed (key {wanted.key})", _typed(app, "show", wanted.key)):
        app.output.emit(row)
    if outcome.replayed:
        made = brief(row["created_at"])
        app.diagnostics.info(f"this is the transfer made at {made}: nothing was done now", key=wanted.key)


async def _show_plan(app: App, db: Database, wanted: Request) -> None:
    from motorctl.core.transfers.post import prepare

    made = await app.attempt(prepare, db, [wanted])
    row = _row(made.outcomes[0])
    if not row["replayed"]:
        row["status"] = "planned"
        row["key"] = None if wanted.fresh else row["key"]
    app.output.emit(row)
    app.diagnostics.dry_run()


def _row(outcome: Outcome) -> dict[str, Any]:
    """Return the record as it is shown. Raises the error that refuses it."""
    from motorctl.core.transfers import ledger

    if outcome.refused is not None:
        raise outcome.refused
    if outcome.record is None:
        raise AssertionError("a single transfer is refused, or has a record")
    return ledger.shown(outcome.record, replayed=outcome.replayed)
