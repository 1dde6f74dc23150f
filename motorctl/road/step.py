"""What one step of the road came to: ok, a warning, a failure with its error, or why it wasn't taken.

Pure but for the clock. Knows nothing of what the steps do.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from motorctl.errors import MotorctlError

if TYPE_CHECKING:
    from types import TracebackType

ORDER = (
    *("uri", "srv", "txt", "dns", "tcp", "tls", "handshake", "compression", "auth", "topology", "primary"),
    *("transactions", "clock", "pool"),
)
"""The steps in the order in which a connection takes them."""


NOT_SRV = "only for mongodb+srv://"
NOT_REACHED = "the road ended before"
"""Why a step was skipped that nothing is to be said of."""


class Status(StrEnum):
    """How a step ended."""

    OK = "ok"
    WARNING = "warning"
    """The road goes on, and somebody should look at it."""
    FAILED = "failed"
    """The road ends here."""
    SKIPPED = "skipped"
    """Not taken: not asked for, or a step before it failed."""


@dataclass
class Step:
    """One step, at one host or (`host` is None) for all of them. `ms` is how long it took."""

    name: str
    host: str | None = None
    status: Status = Status.OK
    message: str = ""
    hint: str | None = None
    ms: float | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    error: MotorctlError | None = None
    """What a failure means, with its exit code; kept when a failure is made a warning."""

    def warn(self, message: str, hint: str | None = None) -> None:
        """Add what somebody should look at; the first hint stays."""
        self.status = Status.WARNING
        self.message = f"{self.message}; {message}" if self.message else message
        self.hint = self.hint or hint

    def fail(self, error: MotorctlError) -> None:
        self.status, self.error = Status.FAILED, error
        self.message, self.hint = error.message, error.hint


def skipped(name: str, why: str, host: str | None = None) -> Step:
    """Return a step that is not taken."""
    return Step(name, host, Status.SKIPPED, why)


class Taking:
    """Takes a step: times it, adds it to `steps`, and makes an error of ours its failure instead of raising it.

    Whoever goes on only where it went well asks the step's `status` afterwards. A step may set `ms` itself.
    """

    def __init__(self, steps: list[Step], name: str, host: str | None = None) -> None:
        self._step = Step(name, host)
        steps.append(self._step)

    def __enter__(self) -> Step:
        self._begun = time.perf_counter()
        return self._step

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if self._step.ms is None:
            self._step.ms = round((time.perf_counter() - self._begun) * 1000, 1)
        if isinstance(error, MotorctlError):
            self._step.fail(error)
            return True
        if isinstance(error, (LookupError, TypeError, ValueError, AttributeError)):
            # Whoever reads an answer takes it for MongoDB's: what isn't there ends a step, not the walk.
            text = " ".join(str(error).split())
            self._step.fail(
                MotorctlError(
                    f"it gives an answer that is not MongoDB's: {type(error).__name__}: {text}",
                    hint="is it MongoDB, and nothing else in its place? --debug shows where, if it is",
                )
            )
            return True
        return False
