"""How far a long command is: a bar on a terminal, lines elsewhere.

Owns when and how it is drawn. Says nothing by itself: what is a line, `diagnostics` writes. Rich is imported only to draw.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.progress import Progress as Bars

_PLAIN = ("remaining", "elapsed", "download", "percentage", "filesize", "data.speed")
# Of Rich's five colours of a bar one is left: it moves.
_ONE_ACCENT = {
    **{f"progress.{name}": "none" for name in _PLAIN},
    **dict.fromkeys(("bar.complete", "bar.finished", "bar.pulse", "progress.spinner"), "cyan"),
    "bar.back": "dim",
}
DRAWN_AFTER = 0.3
"""Seconds until a bar is drawn: what is over by then needs none, and it would only flash."""
QUIET_INTERVAL = 10.0
"""Seconds between two progress lines where nothing can be drawn."""


class Progress(Protocol):
    """What a long command tells of its way."""

    def advance(self, amount: float = 1) -> None:
        """Move on by that much."""

    def update(self, *, done: float | None = None, text: str | None = None) -> None:
        """Say how far it is, and what stands beside the bar."""

    def part(self, name: str, done: float, total: float | None, text: str = "") -> None:
        """Say how far the part of it is that is under way: one of several files, say."""


class Lines:
    """Progress where nothing can be drawn: at most a line every 10 s, at `-v`.

    A person at a terminal that can't draw (`TERM=dumb`) gets a line a second.
    """

    def __init__(
        self, tell: Callable[[str], None], title: str, total: float | None, unit: str, *, watched: bool
    ) -> None:
        self._tell = tell
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
def drawn(
    stream: TextIO, shown: Callable[[str], str], title: str, total: float | None, unit: str, *, color: bool
) -> Iterator[tuple[Progress, Callable[[str], None]]]:
    """Draw a bar on a terminal; yield it, and what writes a text above it. `shown` makes a text safe to show."""
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
    from rich.theme import Theme

    console = Console(
        file=stream,
        force_terminal=True,
        no_color=not color,
        highlight=False,
        markup=False,
        theme=Theme(_ONE_ACCENT),
    )
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
    # What others write to stderr comes through `Overheard`; Rich would show it as it is.
    bars = Bars(name, *way, beside, console=console, transient=True, redirect_stderr=False)
    with _after_a_moment(bars):
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


@contextmanager
def _after_a_moment(bars: Bars) -> Iterator[None]:
    """Have bars drawn from `DRAWN_AFTER` on, whatever the program does by then."""
    lock, over = threading.Lock(), False

    def start() -> None:
        # Without a stderr there is nothing to draw on.
        with lock, suppress(OSError, ValueError):
            if not over:
                bars.start()

    timer = threading.Timer(DRAWN_AFTER, start)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        with lock:
            over = True
        if bars.live.is_started:
            bars.stop()
