"""What others on the machine don't get to see of a run: files with users' values, and what its children are given.

Knows no file's content and starts no process.
"""

from __future__ import annotations

import os

OURS = ("MOTORCTL_", "MONGODB_")
"""How the names of variables begin that may hold a connection string."""


def opener(path: str, flags: int) -> int:
    """Open a file for `open(..., opener=opener)`: a new one is its owner's alone (0600), an old one keeps its mode.

    For what holds values of the user's database: rejected records, results, filters.
    """
    return os.open(path, flags, 0o600)


def environment() -> dict[str, str]:
    """Return what a child process is given of the environment: a connection string is no business of its."""
    return {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
