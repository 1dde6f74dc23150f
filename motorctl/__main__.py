"""`python -m motorctl`, and the process's first and last step."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import NoReturn


class _Closed(io.TextIOBase):
    """Stands for a stdout that was closed (`>&-`): whoever writes a result must fail, not lose it."""

    def write(self, _text: str, /) -> int:
        raise OSError(9, "standard output is closed")

    def isatty(self) -> bool:
        return False


def main() -> NoReturn:
    """Run the program and end the process at once, with everything written and the exit code kept.

    The interpreter's own end would wait half a second: PyMongo joins its monitor threads at exit, and
    each sleeps in steps of 0.5 s (`pymongo.periodic_executor`, MIN_HEARTBEAT_INTERVAL). The client is
    closed by then and cli.main has flushed stdout, so nothing is lost by leaving without it.
    """
    _standard_streams()
    from motorctl.cli import main as run

    code = run()
    for stream in (sys.stdout, sys.stderr):
        # cli.main has told what could not be written to stdout; a broken stderr loses words, no result.
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _standard_streams() -> None:
    """Open what the caller closed, and write UTF-8 wherever nobody's terminal says otherwise."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: PTH123, SIM115
    if sys.stdout is None:
        # Descriptor 1 must not fall to the first socket that opens.
        os.open(os.devnull, os.O_WRONLY)
        sys.stdout = _Closed()
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            encoding = None if stream.isatty() else "utf-8"
            stream.reconfigure(encoding=encoding, errors="backslashreplace")


if __name__ == "__main__":
    main()
