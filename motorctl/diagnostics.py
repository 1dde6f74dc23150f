"""Everything on stderr: notes, warnings, errors, progress and questions.

Text for people, or with `--log-format json` one JSON object a line. Owns the last redaction: nothing
reaches stderr without it. Writes no result, decides no exit code.
"""

from __future__ import annotations

import io
import json
import os
import signal
import threading
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

from motorctl import signals
from motorctl.errors import MotorctlError, UsageError
from motorctl.progress import Lines, drawn
from motorctl.redaction import redact
from motorctl.text import printable, printable_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from motorctl.progress import Progress

_COLORS = {"error": "31", "warning": "33", "hint": "36", "note": "2"}


def is_terminal(stream: TextIO) -> bool:
    """Tell whether a person looks at this stream through a terminal that can be drawn on."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


class Diagnostics:
    """The one voice on stderr."""

    def __init__(
        self,
        stream: TextIO,
        *,
        answers: TextIO | None = None,
        verbose: bool = False,
        quiet: bool = False,
        as_json: bool = False,
        color: bool | None = None,
        yes: bool = False,
        secrets: Callable[[], tuple[str, ...]] = tuple,
        before: Callable[[], None] | None = None,
    ) -> None:
        """`before` runs ahead of each line: results on stdout come out first, also in one log with this."""
        self._stream = stream
        self._before = before
        self._answers = answers
        self.verbose = verbose
        self._quiet = quiet
        self._json = as_json
        self._yes = yes
        self._secrets = secrets
        self._terminal = is_terminal(stream)
        self._color = self._terminal if color is None else color
        self._above: Callable[[str], None] | None = None

    def note(self, message: str, **fields: Any) -> None:
        """Say something that only `-v` wants to know."""
        if self.verbose:
            self._say("note", message, fields)

    def info(self, message: str, **fields: Any) -> None:
        """Say something that a person should know, unless `-q`."""
        if not self._quiet:
            self._say("info", message, fields)

    def dry_run(self) -> None:
        """Say that what was shown is a plan."""
        self.info("dry run: nothing was written")

    def warning(self, message: str, **fields: Any) -> None:
        self._say("warning", message, fields)

    def slow(self, command: str, namespace: str, milliseconds: float) -> None:
        """Report a slow server command: its name, namespace and time, never its values."""
        self._say(
            "slow",
            f"{command} {namespace} took {milliseconds:.0f} ms",
            {"command": command, "namespace": namespace, "ms": round(milliseconds, 1)},
        )

    def error(self, error: MotorctlError, *, as_json: bool = False) -> None:
        """Print an error and its hint; one JSON line where machines read (`-o json`, `--log-format json`)."""
        if as_json or self._json:
            facts: dict[str, Any] = {
                "code": error.code,
                "exit": int(error.exit_code),
                "message": error.message,
            }
            if error.hint:
                facts["hint"] = error.hint
            facts |= {key: value for key, value in error.details.items() if key not in facts}
            stamp = {"time": _now(), "level": "error"} if self._json else {}
            self._record({**stamp, "error": facts})
            return
        self._say("error", error.message, {})
        if error.hint:
            self._say("hint", error.hint, {})

    def overheard(self, text: str) -> None:
        """Print what somebody else wrote to stderr: a library's log, a thread's traceback, a warning of Python's."""
        if self._json:
            self._record({"time": _now(), "level": "warning", "message": text})
        else:
            self._text(text)

    def traceback(self, error: BaseException) -> None:
        """Print where an error came from, for `--debug`: redacted like everything else."""
        import traceback

        text = "".join(traceback.format_exception(error)).rstrip("\n")
        if self._json:
            self._record({"time": _now(), "level": "debug", "message": "traceback", "traceback": text})
        else:
            self._text(text)

    @property
    def asks(self) -> bool:
        """Whether a question would be asked, and somebody is there to answer."""
        return (
            not self._yes and self._answers is not None and self._answers.isatty() and self._stream.isatty()
        )

    def confirm(self, question: str) -> bool:
        """Ask before something is destroyed; `--yes` answers.

        Raises UsageError where nobody can be asked.
        """
        question = question.rstrip("?")
        if self._yes:
            return True
        if self._answers is None or not self.asks:
            raise UsageError(
                f"{question}? Nobody can be asked here",
                hint="add --yes (-y) if you are sure; --dry-run shows what it would do",
            )
        with _signals_end_it():
            self._text(f"{question}? [y/N] ", end="")
            return self._answers.readline().strip().lower() in ("y", "yes")

    @contextmanager
    def progress(self, title: str, total: float | None = None, *, unit: str = "") -> Iterator[Progress]:
        """Show how far a long command is: a bar on a terminal, else a line every 10 s at `-v`.

        `total` counts in `unit`: "bytes" are shown as such, anything else as numbers.
        """
        if self._terminal and not self._quiet and not self._json:
            with drawn(self._stream, self._one_line, title, total, unit, color=self._color) as (bar, above):
                self._above = above
                try:
                    yield bar
                finally:
                    self._above = None
        else:
            watched = self._stream.isatty()
            yield Lines(self.info if watched else self.note, title, total, unit, watched=watched)

    def _say(self, level: str, message: str, fields: dict[str, Any]) -> None:
        if self._json:
            self._record({"time": _now(), "level": level, "message": message, **fields})
            return
        label = "" if level == "info" else f"{level}: "
        if label and self._color and level in _COLORS:
            label = f"\x1b[{_COLORS[level]}m{level}:\x1b[0m "
        self._text(message, label=label)

    def _one_line(self, text: str) -> str:
        return printable(redact(text, self._secrets()))

    def _text(self, text: str, *, label: str = "", end: str = "\n") -> None:
        self._write(label + printable(redact(text, self._secrets()), lines=True) + end)

    def _record(self, record: dict[str, Any]) -> None:
        # Before json.dumps: its quoting would hide a secret with a quote in it.
        clean = _redacted(record, self._secrets())
        # What is ours, and what machines look at, stays, whatever a password may be called.
        clean |= {key: record[key] for key in ("time", "level") if key in record}
        if isinstance(error := record.get("error"), dict):
            clean["error"]["code"] = error["code"]
        self._write(printable_json(json.dumps(clean, ensure_ascii=False)) + "\n")

    def _write(self, text: str) -> None:
        if self._before is not None:
            # What is wrong with stdout is told when its own output fails.
            with suppress(OSError, ValueError):
                self._before()
        try:
            if self._above is not None:
                # Below a bar it would be wiped away with it.
                self._above(text)
                return
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            # stderr is closed or its disk is full: there is no other place to say so, and the exit
            # code still tells.
            return


class Overheard(io.TextIOBase):
    """Stands for `sys.stderr` while a command runs: whoever writes there is redacted as we are, line by line.

    Python's own hooks (of logging, threads, warnings, an exception in `__del__`) all write to what `sys.stderr` is.
    """

    def __init__(self, stream: TextIO, diagnostics: Diagnostics) -> None:
        self._stream = stream
        self._diagnostics = diagnostics
        self._begun = ""
        self._turn = threading.RLock()

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a property there, and nobody sets it
        return self._stream.encoding

    def write(self, text: str, /) -> int:
        with self._turn:
            lines, end, self._begun = (self._begun + text).rpartition("\n")
            if end:
                self._diagnostics.overheard(lines)
        return len(text)

    def finish(self) -> None:
        """Print the line that was begun last."""
        with self._turn:
            begun, self._begun = self._begun, ""
            if begun:
                self._diagnostics.overheard(begun)

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()


@contextmanager
def _signals_end_it() -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and SIGHUP end a question.

    asyncio's own handlers only cancel the task, and it is the task that waits for the answer.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler)}
    before |= {number: signal.signal(number, signals.terminate) for number in signals.terminating()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _redacted(value: Any, secrets: tuple[str, ...]) -> Any:
    if isinstance(value, str):
        return redact(value, secrets)
    if isinstance(value, dict):
        # A name of ours is no secret; a host's, or a field's, may be.
        return {
            key if key.isidentifier() else redact(key, secrets): _redacted(inner, secrets)
            for key, inner in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_redacted(inner, secrets) for inner in value]
    return value if value is None or isinstance(value, (bool, int, float)) else redact(str(value), secrets)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
