"""The program in processes that are forked from one that has imported it: a hundred of them in some seconds.

- `Forks`: each run is a process of its own, the program's own `main` behind descriptors, limits, a working directory
  and an environment of its own. It takes 30 ms to begin instead of 400.
- `pool`: some processes that do what they are given one after the other; `run` is the program there, with streams of
  its own. A run begins at once.

What a start costs, and what happens during it, is for processes that are really started. Linux and macOS; the process
that forks has one thread, no connection and no event loop. Judges nothing.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import pickle
import resource
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.util import Finalize
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from unittest import mock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType

    from conftest import Result

__all__ = ["Around", "Ended", "Forks", "Run", "Running", "pool", "run"]

LIMIT = 60.0
"""Seconds after which a process that hangs is killed: its test fails then, with code -9."""


@dataclass(frozen=True)
class Around:
    """What is around a process: its descriptors by number (None: closed), its environment and its limits.

    A descriptor is a path, opened for reading as 0 and for writing, at its end, as any other. `limits` are
    resource limits, by their number. `gone`: the working directory is removed before the program begins.
    """

    cwd: str
    environ: dict[str, str]
    descriptors: dict[int, str | None]
    limits: dict[int, int] = field(default_factory=dict)
    gone: bool = False


@dataclass(frozen=True)
class Ended:
    """How a process ended: negative codes are signals. `stdout` is None where it was none of the test's files."""

    code: int
    stdout: str
    stderr: str
    seconds: float

    def json(self) -> Any:
        return json.loads(self.stdout)


class Running:
    """A process that runs; whoever starts one waits for it."""

    def __init__(self, forks: Forks, pid: int, out: Path, err: Path) -> None:
        self.pid = pid
        self._forks, self._out, self._err = forks, out, err
        self._begun = time.monotonic()

    def send(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def said(self) -> str:
        """Return what is on its stderr up to now."""
        return self._err.read_text(encoding="utf-8", errors="replace") if self._err.is_file() else ""

    def wait(self, seconds: float = LIMIT) -> Ended:
        code = self._forks.wait(self.pid, seconds)
        took = time.monotonic() - self._begun
        out = self._out.read_text(encoding="utf-8", errors="replace") if self._out.is_file() else ""
        return Ended(code, out, self.said(), took)


class Forks:
    """One process that has imported the program, and forks."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._count = 0
        self._end, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", f"import forked; forked.serve({theirs.fileno()})"],
                cwd=Path(__file__).parent,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        self._answers = self._end.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._answers.close()
        self._end.close()
        self._process.wait()

    def start(
        self,
        *arguments: str,
        cwd: Path,
        environ: dict[str, str],
        descriptors: dict[int, str | None] | None = None,
        limits: dict[int, int] | None = None,
        gone: bool = False,
    ) -> Running:
        """Start the program. Its stdin is empty and its stdout and stderr are files, unless said otherwise."""
        self._count += 1
        out, err = (self._scratch / f"{self._count}.{name}" for name in ("out", "err"))
        usual: dict[int, str | None] = {0: os.devnull, 1: str(out), 2: str(err)}
        around = Around(str(cwd), environ, usual | (descriptors or {}), limits or {}, gone)
        self._ask("start", arguments, around)
        return Running(self, int(pickle.load(self._answers)), out, err)

    def run(self, *arguments: str, **around: Any) -> Ended:
        """Start the program and wait for its end."""
        return self.start(*arguments, **around).wait()

    def wait(self, pid: int, seconds: float) -> int:
        self._ask("wait", pid, seconds)
        return int(pickle.load(self._answers))

    def _ask(self, *question: Any) -> None:
        self._end.sendall(pickle.dumps(question))


def serve(descriptor: int) -> None:
    """Import the program, then fork it as often as it is asked for: the life of the process that forks."""
    import imported  # noqa: F401 - loaded once for all that are forked

    connection = socket.socket(fileno=descriptor)
    questions = connection.makefile("rb")
    while True:
        try:
            what, *rest = pickle.load(questions)
        except EOFError:
            return
        if what == "start":
            pid = os.fork()
            if pid == 0:
                # Else this process's end would not be seen while one of them runs.
                questions.close()
                connection.close()
                _become(*rest)
            answer = pid
        else:
            answer = _wait(*rest)
        connection.sendall(pickle.dumps(answer))


def _become(arguments: tuple[str, ...], around: Around) -> None:
    """Put up what is around the program, and run it; this process ends with it."""
    try:
        os.setsid()
        for ending in (signal.SIGHUP, signal.SIGTERM):
            signal.signal(ending, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.chdir(around.cwd)
        for number, path in around.descriptors.items():
            with suppress(OSError):
                os.close(number)
            if path is None:
                continue
            flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_APPEND | os.O_CREAT
            opened = os.open(path, flags, 0o600)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
        if around.gone:
            Path(around.cwd).rmdir()
        os.environ.clear()
        os.environ.update(around.environ)
        for limit, value in around.limits.items():
            resource.setrlimit(limit, (value, value))
        # As the interpreter opens them at its start.
        sys.stdin, sys.stdout, sys.stderr = (_stream(number) for number in range(3))
        sys.argv = ["motorctl", *arguments]
        from motorctl.__main__ import main

        main()
    except BaseException:  # noqa: BLE001 - it must not go on as a second process that forks
        import traceback

        traceback.print_exc()
    finally:
        os._exit(99)


def _stream(number: int) -> io.TextIOWrapper | None:
    try:
        os.fstat(number)
    except OSError:
        return None
    raw = io.FileIO(number, "r" if number == 0 else "w", closefd=False)
    buffer: Any = io.BufferedReader(raw) if number == 0 else io.BufferedWriter(raw)
    return io.TextIOWrapper(buffer, encoding="utf-8", line_buffering=number == 2)


def _wait(pid: int, seconds: float) -> int:
    deadline = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return -signal.SIGKILL
        time.sleep(0.005)


# Many runs, one process


class Run(NamedTuple):
    """What a user saw of one run, when it began by the monotonic clock, and how long it took."""

    result: Result
    begun: float
    seconds: float

    @property
    def code(self) -> int:
        return self.result.code


def run(words: Sequence[str], environment: Mapping[str, str], stdin: bytes = b"") -> Run:
    """Run the program here, in the main thread of a process."""
    from conftest import Result, _Stream

    from motorctl import cli

    streams = [_Stream(stdin, tty=False), _Stream(tty=False), _Stream(tty=False)]
    with mock.patch.dict(os.environ, environment):
        before = sys.stdin, sys.stdout, sys.stderr
        sys.stdin, sys.stdout, sys.stderr = streams
        begun = time.monotonic()
        try:
            code = cli.main(list(words))
        finally:
            seconds = time.monotonic() - begun
            sys.stdin, sys.stdout, sys.stderr = before
    return Run(Result(code, streams[1].text(), streams[2].text()), begun, seconds)


@contextmanager
def pool(processes: int, folder: Path) -> Iterator[ProcessPoolExecutor]:
    """Start processes that work in a folder; they end with the block."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["imported", "conftest"])
    # The server that forks doesn't look where this process does.
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]).strip(os.pathsep)
    with (
        mock.patch.dict(os.environ, {"PYTHONPATH": path}),
        ProcessPoolExecutor(
            processes, mp_context=context, initializer=_settle, initargs=(folder,)
        ) as workers,
    ):
        yield workers


def _settle(folder: Path) -> None:
    os.chdir(folder)
    # As the program itself does: nobody waits for the threads that wait for an answer that was lost.
    Finalize(None, os._exit, args=(0,), exitpriority=0)
