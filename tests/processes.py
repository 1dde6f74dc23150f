"""A process of the program, watched from outside: its end, the memory of its whole tree, its processor time.

Needs `/proc`. Tests and benchmarks both look through here, so that they mean the same by a peak. It
judges nothing: what is too much, the caller says.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["Cpu", "Ended", "cpu_of", "watched"]

SAMPLE_SECONDS = 0.02


@dataclass(frozen=True)
class Cpu:
    """Seconds of processor time: of a process itself, and of the children that it has waited for."""

    own: float
    children: float


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    `peak` is the most bytes that it and its descendants had in memory at one time, 0 where nobody looked.
    A page that several processes share counts once (proportional set size), which the sum of their
    resident sets would not say; one that others share too, such as Python's own code, counts in part.
    """

    code: int
    seconds: float
    stdout: str
    stderr: str
    cpu: Cpu
    peak: int


def watched(
    command: Sequence[str], env: Mapping[str, str], *, memory: bool = True, limit: float = 3600
) -> Ended:
    """Run a process to its end, with nothing on its stdin; it is killed after `limit` seconds.

    To look at its memory slows it, so a run that is timed does without.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        begun = time.perf_counter()
        process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        timer = threading.Timer(limit, process.kill)
        timer.start()
        try:
            peak = _peak(process.pid) if memory else 0
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            seconds = time.perf_counter() - begun
            # It has ended and is still in the table of processes: all that it used is counted there.
            cpu = cpu_of(process.pid)
        finally:
            timer.cancel()
            process.kill()
            process.wait()
        out.seek(0)
        err.seek(0)
        return Ended(process.returncode, seconds, out.read().decode(), err.read().decode(), cpu, peak)


def cpu_of(pid: int) -> Cpu:
    """Read what a process has used up to now: proc(5), `stat`."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    # The name in parentheses may hold anything; the fields after it are numbered from 3.
    user, system, children_user, children_system = map(int, stat.rpartition(")")[2].split()[11:15])
    ticks = os.sysconf("SC_CLK_TCK")
    return Cpu((user + system) / ticks, (children_user + children_system) / ticks)


def _peak(pid: int) -> int:
    """Look at a process and its descendants until it ends."""
    peak = 0
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        peak = max(peak, sum(map(_proportional_set_size, _tree(pid))))
        time.sleep(SAMPLE_SECONDS)
    return peak


def _tree(pid: int) -> Iterator[int]:
    yield pid
    try:
        threads = list(Path(f"/proc/{pid}/task").glob("*/children"))
    except OSError:
        return  # a process that has just ended
    for children in threads:
        try:
            found = children.read_text(encoding="ascii").split()
        except OSError:
            continue  # a thread that has just ended
        for child in found:
            yield from _tree(int(child))


def _proportional_set_size(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0  # it has just ended
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
