"""The three streams of a process. Imported by `--help`: knows nothing, writes nothing."""

from __future__ import annotations

import sys
from typing import NamedTuple, TextIO


class Streams(NamedTuple):
    """stdin, stdout and stderr: the process's own, or a test's."""

    stdin: TextIO
    stdout: TextIO
    stderr: TextIO

    @classmethod
    def standard(cls) -> Streams:
        """Return those that `sys` has now."""
        return cls(sys.stdin, sys.stdout, sys.stderr)
