"""What is tried again, how often and after how long; the pauses are counted, not slept."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING

import pytest
from pymongo.errors import (
    AutoReconnect,
    ConnectionFailure,
    DuplicateKeyError,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    ServerSelectionTimeoutError,
)

from motorctl import retry
from motorctl.core.driver import RETRYABLE_CODES
from motorctl.diagnostics import Diagnostics
from motorctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Runner


class Run:
    """An operation that fails with each of `errors` in turn, and then returns 42."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.calls = 0
        self.pauses: list[float] = []
        self.stderr = io.StringIO()

    async def operation(self) -> int:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return 42

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)

    async def __call__(self, attempts: int = 3) -> int:
        diagnostics = Diagnostics(self.stderr)
        return await retry.attempt(
            self.operation, attempts=attempts, diagnostics=diagnostics, sleep=self.sleep
        )


TRANSIENT: list[Callable[[], Exception]] = [
    lambda: AutoReconnect("connection closed"),
    lambda: NotPrimaryError("not primary"),
    lambda: NetworkTimeout("timed out"),
    *(lambda code=code: OperationFailure("again, please", code) for code in sorted(RETRYABLE_CODES)),
]
FINAL: list[Callable[[], Exception]] = [
    lambda: ServerSelectionTimeoutError("no servers"),
    lambda: DuplicateKeyError("E11000", 11000),
    lambda: OperationFailure("not authorized", 13),
    lambda: OperationFailure("Authentication failed", 18),
    lambda: OperationFailure("exceeded time limit", 50),
    lambda: OperationFailure("no code"),
    lambda: ConnectionFailure("some other failure of a connection"),
    lambda: UsageError("a defect of the user's"),
    lambda: ValueError("a defect of ours"),
]


@pytest.mark.parametrize("make", TRANSIENT)
async def test_a_transient_error_is_tried_again(make: Callable[[], Exception]) -> None:
    run = Run(make())
    assert await run() == 42
    assert (run.calls, len(run.pauses)) == (2, 1)


@pytest.mark.parametrize("make", FINAL)
async def test_any_other_error_is_raised_at_once_as_it_came(make: Callable[[], Exception]) -> None:
    error = make()
    run = Run(error)
    with pytest.raises(type(error)) as caught:
        await run()
    assert caught.value is error
    assert (run.calls, run.pauses, run.stderr.getvalue()) == (1, [], "")


async def test_attempts_count_the_first_and_the_last_error_is_raised() -> None:
    errors = [AutoReconnect(str(number)) for number in range(9)]
    run = Run(*errors)
    with pytest.raises(AutoReconnect, match="3"):
        await run(attempts=4)
    assert (run.calls, len(run.pauses)) == (4, 3)


async def test_one_attempt_is_no_retry() -> None:
    run = Run(AutoReconnect("x"))
    with pytest.raises(AutoReconnect):
        await run(attempts=1)
    assert (run.calls, run.pauses) == (1, [])


async def test_pauses_grow_from_one_to_ten_seconds_with_jitter() -> None:
    run = Run(*(AutoReconnect("x") for _ in range(7)))
    assert await run(attempts=8) == 42
    assert all(
        low <= pause <= min(10, low + 1)
        for low, pause in zip((1, 2, 4, 8, 10, 10, 10), run.pauses, strict=True)
    )
    others = Run(*(AutoReconnect("x") for _ in range(7)))
    await others(attempts=8)
    assert run.pauses != others.pauses


async def test_after_a_minute_it_gives_up_whatever_the_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("tenacity.time.monotonic", lambda: clock[0])
    run = Run(*(AutoReconnect("x") for _ in range(99)))

    async def sleep(seconds: float) -> None:
        clock[0] += seconds

    run.sleep = sleep  # type: ignore[method-assign]  # it notes, instead of waiting
    with pytest.raises(AutoReconnect):
        await run(attempts=99)
    assert retry.TOTAL_SECONDS <= clock[0] - 1000 <= retry.TOTAL_SECONDS + 10
    assert run.calls < 12


async def test_one_line_at_each_retry_and_none_at_the_end() -> None:
    run = Run(*(AutoReconnect("x") for _ in range(9)))
    with pytest.raises(AutoReconnect):
        await run(attempts=3)
    lines = run.stderr.getvalue().splitlines()
    assert len(lines) == 2
    for number, (line, pause) in enumerate(zip(lines, run.pauses, strict=True), start=1):
        assert (
            line == f"warning: the connection was lost: trying again in {pause:.1f} s (attempt {number} of 3)"
        )


REASONS: dict[str, Callable[[], Exception]] = {
    "the connection was lost": lambda: NetworkTimeout("timed out"),
    "the server is no longer primary": lambda: NotPrimaryError("not primary"),
    "the server said LockTimeout": lambda: OperationFailure("later", 24, {"codeName": "LockTimeout"}),
    "the server said 24": lambda: OperationFailure("later", 24),
}


@pytest.mark.parametrize("reason", REASONS)
async def test_the_line_says_what_failed_and_how_long_the_pause_is(
    reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("motorctl.retry.RETRYABLE_CODES", frozenset({24}))
    run = Run(REASONS[reason]())
    assert await run(attempts=2) == 42
    (pause,) = run.pauses
    expected = f"warning: {reason}: trying again in {pause:.1f} s (attempt 1 of 2)"
    assert (run.stderr.getvalue().splitlines(), 1 <= pause <= 2) == ([expected], True)


@pytest.mark.parametrize(("took", "calls"), [(4.9, 2), (5.0, 1), (5.1, 1)])
async def test_an_attempt_that_took_as_long_as_looking_for_a_server_is_the_last(
    took: float, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    run = Run(AutoReconnect("x"))

    async def slow() -> int:
        clock[0] += took
        return await run.operation()

    silent = Diagnostics(io.StringIO())
    trying = retry.attempt(slow, attempts=2, diagnostics=silent, selection_seconds=5, sleep=run.sleep)
    if calls == 1:
        with pytest.raises(AutoReconnect):
            await trying
    else:
        assert await trying == 42
    assert run.calls == calls


def test_a_server_that_is_not_there_is_looked_for_once(cli: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = 0
    original = retry.is_transient

    def counted(error: BaseException) -> bool:
        nonlocal tries
        tries += 1
        return original(error)

    monkeypatch.setattr(retry, "is_transient", counted)
    done = cli("users", "count", "--uri", "mongodb://127.0.0.1:1", "--timeout", "0.2", "--retries", "5")
    assert (done.code, tries) == (3, 1)
    assert "trying again" not in done.stderr


async def test_who_was_stopped_is_not_begun_again() -> None:
    class Closing(Run):
        async def operation(self) -> int:
            self.calls += 1
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                raise AutoReconnect("closed by the stop") from None
            return 42

    run = Closing()
    task = asyncio.create_task(run())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (run.calls, run.pauses) == (1, [])
