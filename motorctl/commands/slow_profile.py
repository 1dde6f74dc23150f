"""`motorctl slow profile`: the profiler on, off and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from motorctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from motorctl.app import App
    from motorctl.core.slow.profiler import State

STATES = ("on", "off", "status")
DEFAULT_MS = 100


def profile(
    ctx: typer.Context,
    state: Annotated[
        str,
        typer.Argument(
            metavar="on|off|status",
            help="What to do; status changes nothing.",
            autocompletion=lambda: list(STATES),
        ),
    ],
    slower_than: Annotated[
        int | None,
        typer.Option(min=0, metavar="MS", help="With on: record what takes longer.  [default: 100]"),
    ] = None,
    sample_rate: Annotated[
        float | None, typer.Option(min=0, max=1, metavar="0..1", help="With on: record this share of them.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be set, and set nothing.")
    ] = False,
) -> None:
    """Turn the profiler of this database on, or put it back to what it was before.

    It is one server's: the primary's, or that of the member that the URI names with
    directConnection=true. The limit and the share rule that server's log, too, for all its databases;
    that is why it asks, and why `off` puts back all three. Recording costs a write for each operation
    that is slower; the newest megabyte is kept, in system.profile.

    Example:
      motorctl slow profile on --slower-than 50 --yes
      motorctl slow profile status -o json
      motorctl slow profile off --yes
    """
    one_of("slow profile", state, STATES)
    if state != "on" and (slower_than is not None or sample_rate is not None):
        raise UsageError("--slower-than and --sample-rate are for `slow profile on`")
    app: App = ctx.obj
    app.run(_profile(app, state, slower_than, sample_rate, dry_run=dry_run))


async def _profile(
    app: App, asked: str, slower_than: int | None, sample_rate: float | None, *, dry_run: bool
) -> None:
    from motorctl.core.slow import profiler
    from motorctl.core.slow.profiler import State
    from motorctl.core.slow.remembered import Remembered

    async with app.connect() as db:
        before = await app.attempt(profiler.state, db)
        server = await app.attempt(profiler.server, db)
        remembered = Remembered(server, db.name)
        original = remembered.get(before)
        others = remembered.others() if original is not None else []
        after = before
        if asked == "on":
            after = State(
                1,
                DEFAULT_MS if slower_than is None else slower_than,
                1.0 if sample_rate is None else sample_rate,
            )
        elif asked == "off":
            after = original or State(0, before.slow_ms, before.sample_rate, before.filter)
        if after != before and not dry_run:
            if not app.diagnostics.confirm(
                f"set the profiler of {db.name} on {server.name} to {_words(after)}"
            ):
                app.diagnostics.info("nothing was changed")
                return
            if asked == "on":
                # Before it is set: a setting that nobody remembers can't be put back.
                remembered.keep(before)
            await app.attempt(profiler.change, db, before, after)
        if asked == "off" and not dry_run:
            remembered.forget()
            if others:
                app.diagnostics.info(
                    f"the limit stays at {after.slow_ms} ms: {', '.join(others)} of this server "
                    f"{'is' if len(others) == 1 else 'are'} recorded, too"
                )
            if original is None and before.level:
                app.diagnostics.info(
                    f"it was not turned on from here: the limit stays at {before.slow_ms} ms, the share at "
                    f"{before.sample_rate:g}"
                )
    if dry_run:
        app.diagnostics.dry_run()
    kept = original or (before if asked == "on" else None)
    shown = {
        "server": server.name,
        "database": db.name,
        **after.document(),
        "before": kept.document() if kept and asked != "off" else None,
    }
    done = f"the profiler of {db.name} is set" if after != before and not dry_run else None
    with app.output.after(done, "motorctl slow profile status"):
        app.output.emit(shown)


def _words(state: State) -> str:
    if not state.level:
        return f"off (limit {state.slow_ms} ms, share {state.sample_rate:g})"
    if state.filter is not None:
        return f"level {state.level} with its filter"
    what = f"slower than {state.slow_ms} ms" if state.level == 1 else "all operations"
    return f"record {what}" + (f", a share of {state.sample_rate:g}" if state.sample_rate != 1 else "")


def one_of(name: str, given: str, known: Sequence[str]) -> None:
    """Raise UsageError with the word that was probably meant, unless it is one of those known."""
    if given not in known:
        from motorctl.near import near

        raise UsageError(f"{name}: {given!r} is not one of {', '.join(known)}", hint=near(given, known))
