"""Pure functions in processes of their own, beside the event loop.

A worker is a bare interpreter that reads calls from its stdin and writes answers to its stdout, both
pickled: no fork of a process with threads, no semaphore, no helper process, the same on every platform.
It imports what the called function's module imports and nothing else, and ends when its stdin does, so
that a parent that was killed leaves none behind. It is given no connection string: neither an argument
nor an environment variable of ours.

Knows nothing of what is computed. A function called here is pure and named `module:function`; its
arguments and its result can be pickled.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import pickle
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from motorctl.core.private import environment
from motorctl.errors import MotorctlError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

__all__ = ["Workers", "default_count", "serve"]

# More of them would only wait: for the one connection, and for a server that is often on the same machine.
MOST = 4

# More than the 64 kB that a pipe holds at first: a chunk goes over in a few turns instead of many.
_PIPE_BYTES = 1024 * 1024
# Calls make tens of thousands of dictionaries that are all gone at their end; looking for cycles among
# them at the usual pace costs a third of the time.
_GC_THRESHOLD = 500_000
_LAST_SECONDS = 2.0
_START = "import sys; sys.path[:] = sys.argv[1:]; from motorctl.core.workers import serve; serve()"


def default_count() -> int:
    """How many workers this machine has room for: one a processor, at most 4; with one processor, none."""
    if sys.platform == "linux":
        processors = len(os.sched_getaffinity(0))
    else:
        processors = os.cpu_count() or 1
    return min(processors, MOST) if processors > 1 else 0


class WorkerError(MotorctlError):
    """A worker process ended before it answered."""

    code = "worker"


class Workers:
    """`count` processes; as many calls run at a time, others wait for their turn.

    The processes are started by `start`, whoever finds that they pay, and killed by `close`, or at the
    end of a `with`. Without a `start` there are none, and no call either.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._processes: list[subprocess.Popen[bytes]] = []
        self._idle: asyncio.Queue[subprocess.Popen[bytes]] = asyncio.Queue()
        self._threads = ThreadPoolExecutor(count, "worker")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def running(self) -> bool:
        """Whether the processes have been started."""
        return bool(self._processes)

    def start(self) -> None:
        """Start the processes; they are ready some 50 ms later, and calls wait for them."""
        for _ in range(self.count):
            process = subprocess.Popen(  # noqa: S603 - this interpreter, and no word of a user's
                [sys.executable, "-c", _START, *sys.path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment(),
                # Ctrl-C in a terminal is for the parent, which ends its workers in its own time.
                **_own_group(),
            )
            assert process.stdin is not None
            assert process.stdout is not None
            _widen(process.stdin, process.stdout)
            self._processes.append(process)
            self._idle.put_nowait(process)

    async def call(self, function: str, *arguments: Any) -> Any:
        """Await `function(*arguments)` in the next process that is free; raises what it raises.

        Raises `WorkerError` when the process ends instead of answering.
        """
        process = await self._idle.get()
        loop = asyncio.get_running_loop()
        ok, result = await loop.run_in_executor(self._threads, _exchange, process, function, arguments)
        # Not in a `finally`: a process whose call was cancelled still works on it.
        self._idle.put_nowait(process)
        if not ok:
            raise result
        return result

    def close(self) -> None:
        """End the processes, also in the middle of a call."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
        self._threads.shutdown()
        for process in self._processes:
            for stream in (process.stdin, process.stdout):
                # What is left in the buffer has no reader any more.
                with suppress(OSError, ValueError):
                    if stream is not None:
                        stream.close()
        self._processes.clear()


def _own_group() -> dict[str, Any]:
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"process_group": 0}


def _widen(*pipes: BinaryIO | Any) -> None:
    if sys.platform == "linux":
        import fcntl

        for pipe in pipes:
            # Refused where a user's pipes hold too much already: it is then as it was.
            with suppress(OSError):
                fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def _exchange(
    process: subprocess.Popen[bytes], function: str, arguments: tuple[Any, ...]
) -> tuple[bool, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        pickle.dump((function, arguments), process.stdin, pickle.HIGHEST_PROTOCOL)
        process.stdin.flush()
        answer: tuple[bool, Any] = pickle.load(process.stdout)  # noqa: S301 - our own process wrote it
    except (OSError, EOFError, ValueError, pickle.UnpicklingError):
        try:
            # Its pipes end a moment before it does.
            status = process.wait(_LAST_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
        how = f"was killed by signal {-status}" if status < 0 else f"ended with {status}"
        return False, WorkerError(
            f"a worker process {how}", hint="is there too little memory? --workers 0 uses this process alone"
        )
    return answer


def serve() -> None:
    """Answer calls until there are no more: the life of a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.set_threshold(_GC_THRESHOLD)
    calls, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # What a library prints mustn't stand among the answers.
    os.dup2(2, 1)
    functions: dict[str, Callable[..., Any]] = {}
    with suppress(EOFError, OSError):
        while True:
            name, arguments = pickle.load(calls)  # noqa: S301 - the parent wrote it
            try:
                if name not in functions:
                    module, _, attribute = name.partition(":")
                    functions[name] = getattr(importlib.import_module(module), attribute)
                answer = (True, functions[name](*arguments))
            except Exception as error:  # noqa: BLE001 - raised again in the parent
                answer = (False, error)
            pickle.dump(answer, answers, pickle.HIGHEST_PROTOCOL)
            answers.flush()
