"""What the benchmarks share: a server, interleaved medians, the memory of a process tree, tables.

Times are wall-clock seconds of whole processes, from before the fork until the exit is seen. Nothing here
reaches into the program: it is measured as its user starts it.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from processes import Ended

K = TypeVar("K")

# The fixtures and `processes` are there; a script that is started here doesn't find them by itself.
sys.path.append(str(Path(__file__).resolve().parent.parent))


@contextmanager
def server() -> Iterator[str]:
    """Yield the URI of the replica set at MOTORCTL_TEST_URI, else of one that is started for this run."""
    if given := os.environ.get("MOTORCTL_TEST_URI"):
        yield given
        return
    from conftest import Server

    with tempfile.TemporaryDirectory(prefix="motorctl-benchmark-") as home:
        started = Server(Path(home))
        try:
            started.initiate()
            yield started.uri
        finally:
            started.kill()


def motorctl(*arguments: str) -> list[str]:
    """Return the command line of the program as it is installed beside this interpreter."""
    script = Path(sys.executable).with_name("motorctl")
    return [str(script), *arguments] if script.exists() else [sys.executable, "-m", "motorctl", *arguments]


def environment(uri: str, database: str) -> dict[str, str]:
    """Return an environment in which the program finds this server and nobody's own settings."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("MOTORCTL_", "MONGODB_"))
    }
    return {**kept, "MOTORCTL_URI": uri, "MOTORCTL_DB": database, "XDG_CONFIG_HOME": os.devnull}


def seconds(command: Sequence[str], env: Mapping[str, str]) -> float:
    """Run a process to its end and return how long it took; a process that fails ends the benchmark."""
    return timed(command, env)[0]


def timed(command: Sequence[str], env: Mapping[str, str]) -> tuple[float, str]:
    """Run a process as `seconds` does; return its stdout too."""
    begun = time.perf_counter()
    done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    took = time.perf_counter() - begun
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} exited with {done.returncode}:\n{done.stderr.decode()}")
    return took, done.stdout.decode()


def medians(contestants: Mapping[K, Callable[[], float]], rounds: int) -> dict[K, float]:
    """Run all contestants once a round, every other round backwards; return each one's median.

    Interleaved, so that a machine that slows down for a minute slows all of them. The widest spread is
    said: on a busy machine a median of a few runs is luck.
    """
    times: dict[K, list[float]] = {name: [] for name in contestants}
    for number in range(rounds):
        names = list(contestants)
        for name in names[::-1] if number % 2 else names:
            talk(f"round {number + 1} of {rounds}: {name}")
            times[name].append(contestants[name]())
    talk("")
    if rounds > 1:
        widest = max(times, key=lambda name: max(times[name]) / min(times[name]))
        spread = max(times[widest]) / min(times[widest])
        say(f"widest spread: the slowest run of {widest} took {spread:.2f} times the quickest\n")
    return {name: statistics.median(taken) for name, taken in times.items()}


def watched(command: Sequence[str], env: Mapping[str, str], *, memory: bool) -> Ended:
    """Run a process to its end as `processes.watched` does; one that fails ends the benchmark."""
    import processes

    ended = processes.watched(command, env, memory=memory)
    if ended.code:
        raise SystemExit(f"{' '.join(command)} exited with {ended.code}:\n{ended.stderr}")
    return ended


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used up to now, without its children's."""
    import processes

    return processes.cpu_of(pid).own


def peak_memory(command: Sequence[str], env: Mapping[str, str]) -> int:
    """Run a process and return the most bytes that it and its descendants had in memory at one time.

    Looking slows the process, so a run that is looked at is never timed.
    """
    return watched(command, env, memory=True).peak


def machine() -> str:
    """Say in a line what the figures were measured on, and whether it had other work."""
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, load average {load:.2f}"


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; every column but the first is aligned to the right."""
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        first, *others = (
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return f"| {' | '.join([first, *others])} |"

    rule = ["-" * width if index == 0 else "-" * (width - 1) + ":" for index, width in enumerate(widths)]
    return "\n".join(map(line, [titles, rule, *rows]))


def say(text: str) -> None:
    """Write a result to stdout."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def talk(text: str) -> None:
    """Show on a terminal what is going on, over what was there before."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()
