"""`python -m motorctl`, and the process's first and last step."""

from __future__ import annotations

import gc
import io
import os
import sys
from contextlib import suppress

TYPE_CHECKING = False  # as `typing` has it, which takes longer to import than a completion's answer to find
if TYPE_CHECKING:
    from typing import NoReturn

GARBAGE_AFTER = 50_000
"""New objects from which Python looks for garbage. At its 700 it looks 30 times while `--help` loads, and finds none."""


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
    gc.set_threshold(GARBAGE_AFTER)
    _standard_streams()
    if sys.argv[1:2] == ["__complete"]:
        _complete(sys.argv[2:])
    try:
        from motorctl import signals

        release = signals.hold()
    except KeyboardInterrupt:
        os._exit(130)
    if any("mongodb" in word.lower() for word in sys.argv):
        from motorctl.process_list import hide_passwords

        hide_passwords()
    from motorctl.cli import main as run

    try:
        code = run(begin=release)
    except KeyboardInterrupt as stop:  # the second one, while the first was being told
        code = signals.code_of(stop)
    except Exception as error:  # noqa: BLE001 - a defect of what tells of defects
        _last_words(error)
        code = 1
    signals.ends(code)
    for stream in (sys.stdout, sys.stderr):
        # cli.main has told what could not be written to stdout; a broken stderr loses words, no result.
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _last_words(error: Exception) -> None:
    """Say where an error comes from that could not be told of as others are: without its text, which may hold anything."""
    import traceback

    with suppress(OSError, ValueError):
        places = "".join(traceback.format_tb(error.__traceback__))
        sys.stderr.write(f"error: unexpected {type(error).__name__}\n{places}")


def _complete(arguments: list[str]) -> NoReturn:
    """Answer a shell's TAB, and end: what still waits for a server is left alone.

    Whatever goes wrong: words on the line that is being typed help nobody.
    """
    sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - open for as long as the process lives; pathlib isn't loaded yet
    with suppress(Exception):
        from motorctl import completion

        sys.stdout.write(completion.answer(arguments, os.environ))
        sys.stdout.flush()
    os._exit(0)


def _standard_streams() -> None:
    """Open what the caller closed, and write UTF-8 wherever nobody's terminal says otherwise."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: PTH123, SIM115 - open for as long as the process lives; pathlib isn't loaded yet
    if sys.stdout is None:
        # Descriptor 1 must not fall to the first socket that opens.
        os.open(os.devnull, os.O_WRONLY)
        sys.stdout = _Closed()
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - open for as long as the process lives; pathlib isn't loaded yet
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            if stream.isatty():
                stream.reconfigure(errors="backslashreplace")
            else:
                # And the same bytes on Windows, where a line would end in a carriage return, too.
                stream.reconfigure(encoding="utf-8", errors="backslashreplace", newline="\n")


if __name__ == "__main__":
    main()
