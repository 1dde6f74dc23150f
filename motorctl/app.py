"""What a command is given: the settings, the streams, a way to the server. Frozen.

`App.run` holds the only `asyncio.run`; `App.connect` the only way to a client. Prints nothing itself.
"""

from __future__ import annotations

import inspect
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from motorctl import signals
from motorctl.errors import ExitCode, MotorctlError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
    from types import FrameType

    from motorctl.client import Database
    from motorctl.diagnostics import Diagnostics
    from motorctl.output import Output
    from motorctl.settings import Settings
    from motorctl.streams import Streams

T = TypeVar("T")
Row = dict[str, Any]


class TerminatedError(MotorctlError):
    """SIGTERM, or SIGHUP: raised once everything has been cleaned up."""

    exit_code = ExitCode.TERMINATED
    code = "terminated"


@dataclass(frozen=True)
class App:
    """One run of the program."""

    settings: Settings
    streams: Streams = field(repr=False)
    diagnostics: Diagnostics = field(repr=False)
    output: Output = field(repr=False)

    @property
    def stdin(self) -> BinaryIO:
        """The bytes of stdin."""
        return self.streams.stdin.buffer

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a command's coroutine to its end.

        SIGINT and SIGTERM cancel it, so that every `finally` of it runs; then KeyboardInterrupt or
        TerminatedError leaves here. A second Ctrl-C does not wait.
        """
        unsaid: list[MotorctlError] = []
        whole = _terminable(coroutine, unsaid)
        try:
            import asyncio  # 50 ms, in which a signal may come, too

            return asyncio.run(whole)
        except BaseException as stop:
            for begun in (whole, coroutine):
                # One that a signal kept from beginning would be told of as never awaited.
                if inspect.getcoroutinestate(begun) == inspect.CORO_CREATED:
                    begun.close()
            if unsaid:
                raise unsaid[0] from stop
            raise

    @asynccontextmanager
    async def connect(
        self,
        *,
        uri: str | None = None,
        direct: bool = False,
        ready: Callable[[Database], Awaitable[None]] | None = None,
    ) -> AsyncIterator[Database]:
        """Open the client of this process and yield its database; see `client.connect`."""
        from motorctl import client

        if uri is None:
            self._warn_of_another_server()
            self.identify()
            self._warn_of_exposed()
        async with client.connect(self.settings, self.diagnostics, uri=uri, direct=direct, ready=ready) as db:
            if uri is None and ready is None:  # who asks for a level (`ping`) asks for no database
                self._warn_of_another_database()
            yield db

    def identify(self) -> None:
        """With `--ask-password`, ask for the password, unless it is known by now.

        Raises UsageError without a terminal; ConfigurationError where there is nothing to ask for.
        """
        if self.settings["ask_password"]:
            from motorctl import password

            self.settings.identify(lambda account: password.ask(account.question))

    def _warn_of_exposed(self) -> None:
        """Say which files hand their passwords to everybody on this machine."""
        for path in self.settings.exposed():
            self.diagnostics.warning(
                f"{path} holds a password and others can read it: chmod 600 makes it yours alone"
            )

    def _warn_of_another_server(self) -> None:
        """Say it when a profile was asked for and the environment's server goes before its own."""
        profile, address = self.settings.values["profile"], self.settings.address()
        if profile.source.startswith("flag") and address.source.startswith("environment"):
            self.diagnostics.warning(
                f"the server is the one of the {address.source}, not of the profile {profile.value}"
            )

    def _warn_of_another_database(self) -> None:
        """Say it when the environment's or a profile's database goes before that of the URI that was typed."""
        typed, database = self.settings.values["uri"], self.settings.database()
        named = self.settings.database_in_uri() if typed.source.startswith("flag") else None
        if named and named != database.value and not database.source.startswith("flag"):
            self.diagnostics.warning(
                f"the database is {database.value}, of the {database.source}, not {named} of the connection string"
            )

    async def attempt(self, operation: Callable[..., Awaitable[T]], *arguments: Any, **options: Any) -> T:
        """Await `operation(*arguments, **options)`, again on transient errors: only what may run twice."""
        from motorctl import retry

        call = partial(operation, *arguments, **options)
        return await retry.attempt(
            call,
            attempts=self.settings.retries,
            diagnostics=self.diagnostics,
            selection_seconds=self.settings.timeout,
        )

    async def rows(
        self, operation: Callable[..., AsyncIterator[Row]], *arguments: Any, **options: Any
    ) -> AsyncIterator[Row]:
        """Yield what `operation(*arguments, **options)` yields, begun again on transient errors.

        Only the first row may be waited for twice: what is out can't be taken back.
        """

        async def begin() -> tuple[AsyncIterator[Row], Row | None]:
            rows = operation(*arguments, **options)
            return rows, await anext(rows, None)

        rows, first = await self.attempt(begin)
        try:
            if first is not None:
                yield first
                async for row in rows:
                    yield row
        finally:
            # Whoever stops reading (`| head`) ends what reads the server, too, while its client is open.
            if isinstance(rows, AsyncGenerator):
                await rows.aclose()


async def _terminable(coroutine: Coroutine[Any, Any, T], unsaid: list[MotorctlError] | None = None) -> T:
    """Await a coroutine; SIGTERM cancels it as asyncio.run lets SIGINT do, and so does SIGHUP.

    An error that comes after a second stop is put into `unsaid`: asyncio, which is ending the loop, would print
    where it comes from, and lose it.

    A SIGHUP that somebody chose to ignore (`nohup`) stays ignored.
    """
    import asyncio

    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    terminated = ""
    before = {number: signal.getsignal(number) for number in signals.terminating()}

    def terminate(name: str) -> None:
        nonlocal terminated
        terminated = name
        if task is not None:
            task.cancel()

    def wake(number: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(terminate, signal.Signals(number).name)

    try:
        for number in before:
            try:
                # It also wakes the loop at any signal, Ctrl-C too: one that comes just before the loop begins to wait
                # would be seen only when something else ends the wait (signal.set_wakeup_fd).
                loop.add_signal_handler(number, terminate, signal.Signals(number).name)
            except NotImplementedError:  # Windows, where the loop is woken at signals from its beginning
                signal.signal(number, wake)
    except (ValueError, RuntimeError):  # not the main thread: signals are somebody else's there
        return await coroutine
    try:
        result = await coroutine
    except asyncio.CancelledError:
        if terminated:
            raise TerminatedError(f"stopped by {terminated}") from None
        raise
    except MotorctlError as error:
        if unsaid is None or task is None or task.cancelling() < 2:
            raise
        unsaid.append(error)
        raise asyncio.CancelledError from error
    else:
        if terminated:
            # It came when there was nothing left to wait for: else it would leave as a bare CancelledError.
            raise TerminatedError(f"stopped by {terminated}")
        if task is not None and task.cancelling():
            # A driver that is being closed may keep a cancellation to itself (PyMongo's own client does).
            raise asyncio.CancelledError
        return result
    finally:
        for number, handler in before.items():
            with suppress(NotImplementedError):
                loop.remove_signal_handler(number)
            signal.signal(number, handler)
