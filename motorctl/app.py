"""What a command is given: the settings, the streams, a way to the server. Frozen.

`App.run` holds the only `asyncio.run`; `App.connect` the only way to a client. Prints nothing itself.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO, TypeVar

from motorctl.errors import ExitCode, MotorctlError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

    from motorctl.client import Database
    from motorctl.diagnostics import Diagnostics
    from motorctl.output import Output
    from motorctl.settings import Settings

T = TypeVar("T")
Row = dict[str, Any]


@dataclass(frozen=True)
class Streams:
    """The three streams of the process, or a test's."""

    stdin: TextIO
    stdout: TextIO
    stderr: TextIO

    @classmethod
    def standard(cls) -> Streams:
        return cls(sys.stdin, sys.stdout, sys.stderr)


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
        import asyncio

        unsaid: list[MotorctlError] = []
        try:
            return asyncio.run(_terminable(coroutine, unsaid))
        except (KeyboardInterrupt, asyncio.CancelledError) as stop:
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
        async with client.connect(self.settings, self.diagnostics, uri=uri, direct=direct, ready=ready) as db:
            yield db

    def _warn_of_another_server(self) -> None:
        """Say it when a profile was asked for and the environment's server goes before its own."""
        profile, address = self.settings.values["profile"], self.settings.address()
        if profile.source.startswith("flag") and address.source.startswith("environment"):
            self.diagnostics.warning(
                f"the server is the one of the {address.source}, not of the profile {profile.value}"
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
    names = ["SIGTERM"]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        names.append("SIGHUP")

    def terminate(name: str) -> None:
        nonlocal terminated
        terminated = name
        if task is not None:
            task.cancel()

    try:
        for name in names:
            loop.add_signal_handler(getattr(signal, name), terminate, name)
    except (NotImplementedError, RuntimeError, ValueError):
        # Windows, or not the main thread: the process ends at once then, as by default.
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
        return result
    finally:
        for name in names:
            loop.remove_signal_handler(getattr(signal, name))
