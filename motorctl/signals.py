"""What SIGINT, SIGTERM and SIGHUP do to this process: they end it, in order, with one line and 130 or 143.

On Windows SIGBREAK (Ctrl-Break) does what SIGTERM does elsewhere: it is how one program asks another to end.

While a command's coroutine runs, asyncio's handlers cancel it (`App.run`); here is what holds before it, after
it, and where the one thread waits for something itself: for stdin, or for an answer. Prints nothing, and knows
neither the command nor the server. Standard library only.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from motorctl.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

__all__ = ["Terminated", "code_of", "ends", "hold", "terminate", "terminating"]


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP, raised where Ctrl-C would raise KeyboardInterrupt. Its text is the signal's name.

    Like that, it is no Exception, which some block would swallow.
    """


def code_of(stop: KeyboardInterrupt) -> ExitCode:
    """Return what the process ends with: 130 after Ctrl-C, else 143."""
    return ExitCode.TERMINATED if isinstance(stop, Terminated) else ExitCode.INTERRUPTED


def terminating() -> list[signal.Signals]:
    """Return the signals that end a process like SIGTERM; one that is ignored (`nohup`) stays so."""
    known = [signal.Signals[name] for name in ("SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)]
    return [number for number in known if signal.getsignal(number) is not signal.SIG_IGN]


def terminate(number: int, _frame: FrameType | None = None) -> None:
    """Raise Terminated wherever the main thread is: the handler of the signals of `terminating`."""
    raise Terminated(signal.Signals(number).name)


def hold() -> Callable[[], None]:
    """Keep signals until what this returns is called, which raises what came: modules are being imported.

    An exception in the middle of an import would be a traceback, from whichever module it hits. A second Ctrl-C
    doesn't wait: nothing has begun. To be called by the main thread.
    """
    came: list[int] = []

    def keep(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT and number in came:
            os._exit(ExitCode.INTERRUPTED)
        came.append(number)

    numbers = list(terminating())
    # Python sets no handler where Ctrl-C is ignored: a job in the background of a shell without job control.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        numbers.append(signal.SIGINT)
    for ending in numbers:
        signal.signal(ending, keep)

    def release() -> None:
        for ending in numbers:
            signal.signal(ending, signal.default_int_handler if ending == signal.SIGINT else terminate)
        for number in came:
            signal.raise_signal(number)

    return release


def ends(code: int) -> None:
    """Let a signal end the process at once, with the code that it ends with anyway: all is said and done."""

    def leave(_number: int, _frame: FrameType | None) -> None:
        os._exit(code)

    for ending in (*terminating(), signal.SIGINT):
        if signal.getsignal(ending) is not signal.SIG_IGN:
            signal.signal(ending, leave)
