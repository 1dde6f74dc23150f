"""What is tried again, how often and how long: tenacity's policy for one operation.

Only errors that name themselves transient are retried: a lost connection, a primary that moved, a
network time-out, the server codes of the drivers' retryable-reads list. Server selection is not: its
own time-out has already waited `--timeout`, and `--wait` is the option for more.

A read may always run twice. A write comes here only where doing it twice does no harm: an update
to given values, an upsert on a unique key, a create with an id made beforehand, a collMod, a
createIndexes. The driver's own retryable writes, which the server recognises, are on beside this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from motorctl.core.driver import RETRYABLE_CODES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from motorctl.diagnostics import Diagnostics

T = TypeVar("T")

TOTAL_SECONDS = 60.0
"""No operation is tried again after that long, whatever `--retries` says."""


def is_transient(error: BaseException) -> bool:
    """Tell whether trying again may help: never for a refusal, a usage error or server selection."""
    from pymongo.errors import AutoReconnect, OperationFailure, ServerSelectionTimeoutError

    if isinstance(error, ServerSelectionTimeoutError):
        return False
    if isinstance(error, AutoReconnect):  # NotPrimaryError and NetworkTimeout are among its children
        return True
    return isinstance(error, OperationFailure) and error.code in RETRYABLE_CODES


async def attempt(
    operation: Callable[[], Awaitable[T]],
    *,
    attempts: int,
    diagnostics: Diagnostics,
    selection_seconds: float = float("inf"),
    sleep: Callable[[float], Awaitable[Any]] | None = None,
) -> T:
    """Await `operation()`, again on transient errors: 1 s, 2 s, 4 s, ... at most 10 s apart, jittered.

    An attempt that took `selection_seconds` has looked for a server that long in vain (the driver's own
    retry does, and then raises the first error): it is the last. The last error is raised as it came.
    One line on stderr at each retry.
    """
    import asyncio
    import time

    from tenacity import (
        AsyncRetrying,
        RetryCallState,
        retry_if_exception,
        stop_after_attempt,
        stop_after_delay,
        wait_exponential_jitter,
    )

    begun = 0.0

    async def timed() -> T:
        nonlocal begun
        begun = time.monotonic()
        try:
            return await operation()
        except Exception as error:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                # Who was stopped isn't begun again: what PyMongo's own client closes then may raise an error of its own.
                raise asyncio.CancelledError from error
            raise

    def worth_it(error: BaseException) -> bool:
        return is_transient(error) and time.monotonic() - begun < selection_seconds

    def told(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        pause = state.next_action.sleep if state.next_action else 0.0
        diagnostics.warning(
            f"{_reason(error)}: trying again in {pause:.1f} s (attempt {state.attempt_number} of {attempts})"
        )

    retrying = AsyncRetrying(
        retry=retry_if_exception(worth_it),
        stop=stop_after_attempt(attempts) | stop_after_delay(TOTAL_SECONDS),
        wait=wait_exponential_jitter(initial=1, max=10, jitter=1),
        before_sleep=told,
        sleep=sleep or asyncio.sleep,
        reraise=True,
    )
    return await retrying(timed)


def _reason(error: BaseException | None) -> str:
    from pymongo.errors import NotPrimaryError, OperationFailure

    if isinstance(error, NotPrimaryError):
        return "the server is no longer primary"
    if isinstance(error, OperationFailure):
        return f"the server said {(error.details or {}).get('codeName') or error.code}"
    return "the connection was lost"
