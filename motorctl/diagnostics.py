"""Everything on stderr: notes, warnings, errors, progress and questions.

Text for people, or with `--log-format json` one JSON object a line. Owns the last redaction: nothing
reaches stderr without it. Writes no result, decides no exit code. Rich is imported only to draw.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from motorctl.errors import MotorctlError, UsageError
from motorctl.redaction import redact
from motorctl.text import printable, printable_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_COLORS = {"error": "31", "warning": "33", "hint": "36", "note": "2"}
QUIET_INTERVAL = 10.0
"""Seconds between two progress lines where nothing can be drawn."""


def is_terminal(stream: TextIO) -> bool:
    """Tell whether a person looks at this stream through a terminal that can be drawn on."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


class Progress(Protocol):
    """What a long command tells of its way."""

    def advance(self, amount: float = 1) -> None:
        """Move on by that much."""

    def update(self, *, done: float | None = None, text: str | None = None) -> None:
        """Say how far it is, and what stands beside the bar."""

    def part(self, name: str, done: float, total: float | None, text: str = "") -> None:
        """Say how far the part of it is that is under way: one of several files, say."""


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
            raise UsageError(f"{question}? Nobody can be asked here", hint="add --yes (-y)")
        with _signals_end_it():
            self._text(f"{question}? [y/N] ", end="")
            return self._answers.readline().strip().lower() in ("y", "yes")

    @contextmanager
    def progress(self, title: str, total: float | None = None, *, unit: str = "") -> Iterator[Progress]:
        """Show how far a long command is: a bar on a terminal, else a line every 10 s at `-v`.

        `total` counts in `unit`: "bytes" are shown as such, anything else as numbers.
        """
        if self._terminal and not self._quiet and not self._json:
            with _drawn(self._stream, self._one_line, title, total, unit, color=self._color) as (bar, above):
                self._above = above
                try:
                    yield bar
                finally:
                    self._above = None
        else:
            yield _Lines(self, title, total, unit, watched=self._stream.isatty())

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


class _Lines:
    """Progress where nothing can be drawn: at most a line every 10 s, at `-v`.

    A person at a terminal that can't draw (`TERM=dumb`) gets a line a second.
    """

    def __init__(
        self, diagnostics: Diagnostics, title: str, total: float | None, unit: str, *, watched: bool
    ) -> None:
        self._tell = diagnostics.info if watched else diagnostics.note
        self._interval = 1.0 if watched else QUIET_INTERVAL
        self._title = title
        self._total = total
        self._unit = unit
        self._done = 0.0
        self._text = self._part = ""
        self._next = time.monotonic() + self._interval

    def advance(self, amount: float = 1) -> None:
        self.update(done=self._done + amount)

    def update(self, *, done: float | None = None, text: str | None = None) -> None:
        self._done = self._done if done is None else done
        self._text = self._text if text is None else text
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self._interval
            share = f" {self._done / self._total:.0%}" if self._total else f" {self._done:.0f} {self._unit}"
            self._tell(f"{self._title}:{share} {self._text}{self._part}".rstrip())

    def part(self, name: str, done: float, total: float | None, text: str = "") -> None:
        share = f" {done / total:.0%}" if total else ""
        self._part = f", {name}{share} {text}".rstrip()


@contextmanager
def _signals_end_it() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end a question.

    asyncio's own handlers only cancel the task, and it is the task that waits for the answer.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    terminate = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, interrupt)
        signal.signal(signal.SIGTERM, terminate)


@contextmanager
def _drawn(
    stream: TextIO, shown: Callable[[str], str], title: str, total: float | None, unit: str, *, color: bool
) -> Iterator[tuple[Progress, Callable[[str], None]]]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        ProgressColumn,
        SpinnerColumn,
        TaskID,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bars

    console = Console(file=stream, force_terminal=True, no_color=not color, highlight=False, markup=False)
    # What is said beside it matters more than a long bar.
    width = max(4, min(40, console.width - 72))
    amount: list[ProgressColumn] = [DownloadColumn()] if unit == "bytes" else [MofNCompleteColumn()]
    way: list[ProgressColumn] = (
        [SpinnerColumn(), TimeElapsedColumn()]
        if total is None
        else [BarColumn(width), *amount, TimeRemainingColumn()]
    )
    name = TextColumn("{task.description}", markup=False)
    beside = TextColumn("{task.fields[beside]}", markup=False)
    # transient: what stays on the screen is the result, not the road to it.
    with Bars(name, *way, beside, console=console, transient=True) as bars:
        task = bars.add_task(shown(title), total=total, beside="")
        below: list[TaskID] = []

        class Bar:
            def advance(self, amount: float = 1) -> None:
                bars.advance(task, amount)

            def update(self, *, done: float | None = None, text: str | None = None) -> None:
                bars.update(task, completed=done)
                if text is not None:
                    bars.update(task, beside=shown(text))

            def part(self, name: str, done: float, total: float | None, text: str = "") -> None:
                if not below or bars.tasks[-1].description != shown(name):
                    for old in below:
                        bars.remove_task(old)
                    below[:] = [bars.add_task(shown(name), total=total, beside="")]
                bars.update(below[0], completed=done, beside=shown(text))

        yield Bar(), lambda text: console.out(text, end="")


def _redacted(value: Any, secrets: tuple[str, ...]) -> Any:
    if isinstance(value, str):
        return redact(value, secrets)
    if isinstance(value, dict):
        return {key: _redacted(inner, secrets) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_redacted(inner, secrets) for inner in value]
    return value if value is None or isinstance(value, (bool, int, float)) else redact(str(value), secrets)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
