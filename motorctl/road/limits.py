"""How many connections there may be: the pool's limit against the server's and this process's.

Pure, but for the question to the operating system.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from motorctl.road.step import Step

FILES_BESIDE = 64
"""Open files beside the connections: the program's own, and those of monitoring."""


def open_files() -> int | None:
    """Return how many files this process may open; None where there is no such limit, or it isn't told."""
    if sys.platform == "win32":
        return None
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def judge(step: Step, most: int | None, available: int | None, files: int | None, hosts: int) -> None:
    """Warn of a pool that is larger than what it draws from.

    `most` connections to each of `hosts` (None: without limit), `available` at the server and `files` here
    (None: not known).
    """
    if available is not None and (most or 0) > available:
        step.warn(
            "that is more than it takes",
            "lower maxPoolSize, or raise net.maxIncomingConnections and the server's own limit of open files",
        )
    needed = (most or 0) * hosts + FILES_BESIDE
    if files is not None and needed > files:
        step.warn(
            f"this process may open {files} files, a full pool takes {needed}",
            "raise it (ulimit -n, LimitNOFILE= of a systemd unit), or lower maxPoolSize",
        )
