"""Asks for the password that a connection string leaves out: on the terminal, without echo.

Owns the question, and where its answer stands in a connection string. Keeps nothing, sends nothing, and reads
neither a pipe nor a setting. Imported only for `--ask-password`: the standard library only.
"""

from __future__ import annotations

import getpass
import signal
import sys
import threading
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote

from motorctl.errors import UsageError
from motorctl.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator


class Account(NamedTuple):
    """Whose password it is: the user as the connection string writes it, the hosts, and whether it has one."""

    user: str
    hosts: str
    has_password: bool

    @property
    def question(self) -> str:
        return printable(f"Password of {unquote(self.user)} at {self.hosts}: ")


def account(uri: str) -> Account:
    """Return whose password a connection string would hold; `user` is empty where it names nobody."""
    userinfo, _, hosts = _authority(uri).rpartition("@")
    user, _, password = userinfo.partition(":")
    return Account(user, hosts, bool(password))


def with_password(uri: str, password: str) -> str:
    """Put a password into a connection string that has a user, percent-encoded."""
    scheme, slashes, rest = uri.partition("://")
    authority = _authority(uri)
    userinfo, at, hosts = authority.rpartition("@")
    user = userinfo.partition(":")[0]
    return f"{scheme}{slashes}{user}:{quote(password, safe='')}{at}{hosts}{rest[len(authority) :]}"


def ask(question: str) -> str:
    """Ask on the terminal of this process, whatever its stdin is: data may come from there.

    Raises UsageError where there is no terminal, and for an empty answer. The terminal echoes again however
    this ends; Ctrl-C and SIGTERM end the process.
    """
    try:
        if sys.platform == "win32":
            # Without a console getpass would read one that never ends.
            with open("CONIN$", "rb"):  # noqa: PTH123 - a device, no path
                pass
        with _stoppable(), warnings.catch_warnings():
            # Without a terminal it would read stdin, and show what is typed.
            warnings.simplefilter("error", getpass.GetPassWarning)
            answer = getpass.getpass(question)
    except (getpass.GetPassWarning, OSError, ValueError) as error:
        raise UsageError(
            "--ask-password: there is no terminal to ask on",
            hint="--uri-file PATH reads the connection string, with the password, from a file that only you can read",
        ) from error
    except EOFError:
        answer = ""
    if not answer:
        raise UsageError("--ask-password: no password was typed")
    return answer


def _authority(uri: str) -> str:
    """Return what stands between the scheme and the first slash or question mark: user and hosts."""
    rest = uri.partition("://")[2]
    return rest.partition("/")[0].partition("?")[0]


class _EndedError(Exception):
    """SIGTERM came while the terminal did not echo."""


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end a question, after the terminal's echo is back.

    asyncio's own handlers only cancel the task, and it is the task that waits for the answer.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(_number: int, _frame: object) -> None:
        raise _EndedError

    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    terminate = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except _EndedError:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGINT, interrupt)
        signal.signal(signal.SIGTERM, terminate)
