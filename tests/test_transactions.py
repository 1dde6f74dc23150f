"""The transaction runner: what is tried again, when it ends, and what a stop in the middle leaves.

The specification's rules are held with a scripted session; everything else on the real server, through Motor
and through PyMongo's own asynchronous client.
"""

from __future__ import annotations

import asyncio
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from contextlib import contextmanager, suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pymongo
import pytest
from conftest import until
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.errors import AutoReconnect, NetworkTimeout, OperationFailure, PyMongoError, WriteConcernError
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from motorctl import client as motorctl_client
from motorctl.core import driver, transactions
from motorctl.core.transactions import Tally, run
from motorctl.errors import MotorctlError, OutcomeUnknownError, RefusedError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from motorctl.client import Database

    SyncDatabase = pymongo.database.Database[dict[str, Any]]

TRANSIENT, UNKNOWN = "TransientTransactionError", "UnknownTransactionCommitResult"


def refused(code: int, *labels: str) -> OperationFailure:
    return OperationFailure("no", code, {"ok": 0, "errmsg": "no.", "code": code, "errorLabels": list(labels)})


def unconfirmed(code: int, *labels: str) -> WriteConcernError:
    return WriteConcernError(
        "not confirmed", code, {"errmsg": "not confirmed", "code": code, "errorLabels": list(labels)}
    )


def lost(*labels: str) -> AutoReconnect:
    return AutoReconnect("connection closed", {"errorLabels": list(labels)})


class Session:
    """A session that fails as it is told to, and writes down what it is asked."""

    session_id: dict[str, Any]

    def __init__(self, *commits: Exception | None) -> None:
        self.asked: list[str] = []
        self.options: dict[str, Any] = {}
        self.in_transaction = False
        self._commits = list(commits)

    def start_transaction(self, **options: Any) -> None:
        self.asked.append("start")
        self.options = options
        self.in_transaction = True

    async def commit_transaction(self) -> None:
        self.asked.append("commit")
        self.in_transaction = False
        if self._commits and (error := self._commits.pop(0)):
            raise error

    async def abort_transaction(self) -> None:
        self.asked.append("abort")
        self.in_transaction = False

    async def __aexit__(self, *_error: object) -> None:
        self.asked.append("end")

    def database(self) -> Database:
        """Return a database whose client gives out this session; what it is sent besides is written down."""
        self.session_id = {"id": "this session"}

        async def command(body: dict[str, Any]) -> None:
            assert body == {"killSessions": [self.session_id]}
            self.asked.append("kill")

        admin = SimpleNamespace(command=command)
        client = SimpleNamespace(start_session=lambda: self, get_database=lambda _name: admin)
        return cast("Database", SimpleNamespace(client=client))


class Callback:
    """Fails with each of `errors` in turn, and then returns 42."""

    def __init__(self, *errors: Exception) -> None:
        self.runs = 0
        self._errors = list(errors)

    async def __call__(self, _session: Any) -> int:
        self.runs += 1
        if self._errors:
            raise self._errors.pop(0)
        return 42


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "random", lambda: 0.0)


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize(
    ("errors", "commits", "asked", "reruns"),
    [
        ([], [], "start commit end", 0),
        ([refused(112, TRANSIENT)], [], "start abort start commit end", 1),
        ([lost(TRANSIENT)] * 2, [], "start abort start abort start commit end", 2),
        ([PyMongoError("ours", error_labels=[TRANSIENT])], [], "start abort start commit end", 1),
        ([], [lost(UNKNOWN)], "start commit commit end", 0),
        ([], [unconfirmed(64, UNKNOWN)] * 3, "start commit commit commit commit end", 0),
        ([], [refused(91, UNKNOWN)], "start commit commit end", 0),
        ([], [refused(251, TRANSIENT)], "start commit start commit end", 1),
        (
            [],
            [lost(UNKNOWN), refused(251, TRANSIENT), lost(UNKNOWN)],
            "start commit commit start commit commit end",
            1,
        ),
        # Both labels: what may have been committed is never run again.
        ([], [refused(91, UNKNOWN, TRANSIENT)], "start commit commit end", 0),
    ],
)
async def test_what_is_tried_again(
    errors: list[Exception], commits: list[Exception], asked: str, reruns: int
) -> None:
    session, seen = Session(*commits), Tally()
    assert await run(session.database(), Callback(*errors), seconds=5, tally=seen) == 42
    assert " ".join(session.asked) == asked
    assert seen.reruns == reruns


@pytest.mark.parametrize(
    "error",
    [refused(112), refused(11000), RefusedError("too little"), KeyError("x"), asyncio.CancelledError()],
)
async def test_every_other_error_aborts_and_goes_on_as_it_is(error: Exception) -> None:
    session = Session()
    with pytest.raises(type(error)) as caught:
        await run(session.database(), Callback(error), seconds=5)
    assert caught.value is error
    assert session.asked == ["start", "abort", "end"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (refused(50, UNKNOWN), "no answer in time"),
        (unconfirmed(50, UNKNOWN), "no answer in time"),
        (unconfirmed(100), "not confirmed (code 100)"),
        (refused(13), "no (code 13)"),
    ],
)
async def test_a_commit_that_is_not_sent_again(error: Exception, reason: str) -> None:
    session, callback = Session(error), Callback()
    with pytest.raises(OutcomeUnknownError) as caught:
        await run(session.database(), callback, seconds=5)
    assert caught.value.details["reason"] == reason
    assert session.asked == ["start", "commit", "kill", "end"]


async def test_a_callback_that_ends_its_transaction_itself() -> None:
    session = Session()

    async def callback(given: Any) -> str:
        await given.abort_transaction()
        return "as it likes"

    assert await run(session.database(), callback, seconds=5) == "as it likes"
    assert session.asked == ["start", "abort", "end"]


async def test_it_reads_a_snapshot_and_commits_by_a_majority_of_the_primary() -> None:
    session = Session()
    await run(session.database(), Callback(), seconds=1000)
    assert session.options["read_concern"].level == "snapshot"
    assert session.options["write_concern"].document == {"w": "majority"}
    assert session.options["read_preference"] == pymongo.ReadPreference.PRIMARY
    assert session.options["max_commit_time_ms"] == 120_000, "the specification's limit, whatever is asked"


def test_pauses_grow_up_to_a_bound_by_the_specifications_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "random", lambda: 1.0)
    milliseconds = [round(transactions._pause(tries) * 1000, 2) for tries in range(1, 15)]
    assert milliseconds[:6] == [20, 40, 80, 160, 200, 200]
    assert transactions._pause(100_000) == 0.2
    monkeypatch.setattr(random, "random", lambda: 0.25)
    assert transactions._pause(1) == 0.010 * 2.0 * 0.25


async def test_pauses_are_slept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "random", lambda: 1.0)
    begun = time.monotonic()
    await run(Session().database(), Callback(*[refused(112, TRANSIENT)] * 3), seconds=5)
    assert time.monotonic() - begun >= sum(0.010 * 2.0**n for n in range(1, 4))


async def test_a_pause_that_would_pass_the_limit_ends_it_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "random", lambda: 15.0)  # the first pause is 0.3 s, the second 0.6 s
    session, callback = Session(), Callback(*[refused(112, TRANSIENT)] * 9)
    begun = time.monotonic()
    with pytest.raises(UnreachableError, match=r"not through within 0\.6 s, nothing is written") as caught:
        await run(session.database(), callback, seconds=0.6)
    assert time.monotonic() - begun < 0.55
    assert callback.runs == 2
    assert caught.value.details == {
        "reason": "others changed the same documents",
        "timeout_seconds": 0.6,
        "reruns": 1,
    }
    assert session.asked == ["start", "abort", "start", "abort", "end"]


async def test_a_commit_that_is_lost_again_and_again_ends_at_the_limit() -> None:
    session = Session(*[lost(UNKNOWN)] * 10_000)
    begun = time.monotonic()
    with pytest.raises(
        OutcomeUnknownError, match="not known whether it was carried out: the connection was lost"
    ):
        await run(session.database(), Callback(), seconds=0.3)
    assert time.monotonic() - begun < 0.8
    assert 3 < session.asked.count("commit") < 100, "with pauses"


async def test_a_stop_waits_for_the_operation_that_is_under_way() -> None:
    # Aborted first, the operation of Motor's thread would be sent as a write of its own, without the transaction.
    session, begun = Session(), asyncio.Event()

    async def callback(_session: Any) -> None:
        begun.set()
        await asyncio.sleep(0.05)
        session.asked.append("operation ended")

    task = asyncio.create_task(run(session.database(), callback, seconds=5))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert session.asked == ["start", "operation ended", "abort", "end"]


async def test_a_stop_ends_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "random", lambda: 1000.0)
    session, callback = Session(), Callback(refused(112, TRANSIENT))
    task = asyncio.create_task(run(session.database(), callback, seconds=60))
    await asyncio.sleep(0.02)
    task.cancel()
    begun = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - begun < 1
    assert (callback.runs, session.asked) == (1, ["start", "abort", "end"])


async def test_a_second_stop_does_not_wait() -> None:
    async def callback(_session: Any) -> None:
        await asyncio.sleep(2)

    session = Session()
    task = asyncio.create_task(run(session.database(), callback, seconds=5))
    for _ in range(2):
        await asyncio.sleep(0.02)
        task.cancel()
    begun = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - begun < 1
    assert session.asked == ["start", "kill"], "its session is touched no more"


async def ended_by_the_loop(task: asyncio.Task[Any]) -> None:
    """Cancel a task, and then all that there are: a second Ctrl-C is the end of `asyncio.run`."""
    task.cancel()
    await asyncio.sleep(0.02)
    for one in asyncio.all_tasks() - {asyncio.current_task()}:
        one.cancel()


async def test_the_end_of_the_loop_leaves_an_operation_alone() -> None:
    # Aborted beside it, it would be sent as a write of its own.
    async def callback(_session: Any) -> None:
        await asyncio.sleep(2)

    session = Session()
    task = asyncio.create_task(run(session.database(), callback, seconds=5))
    await asyncio.sleep(0.02)
    await ended_by_the_loop(task)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert session.asked == ["start", "kill"]


async def test_the_end_of_the_loop_during_a_commit_is_a_doubt() -> None:
    class Slow(Session):
        async def commit_transaction(self) -> None:
            self.asked.append("commit")
            await asyncio.sleep(2)

    session = Slow()
    task = asyncio.create_task(run(session.database(), Callback(), seconds=5))
    await asyncio.sleep(0.02)
    await ended_by_the_loop(task)
    with pytest.raises(OutcomeUnknownError, match="stopped before its answer"):
        await task
    assert session.asked == ["start", "commit", "kill"]


async def test_what_kept_it_busy_is_told_and_not_what_its_end_met() -> None:
    errors = [refused(112, TRANSIENT), refused(112, TRANSIENT), refused(50)]
    with pytest.raises(UnreachableError, match="others changed the same documents") as raised:
        await run(Session().database(), Callback(*errors), seconds=5)
    assert "is free after 90 s" in str(raised.value.hint)


# ---- on the real server ----


class Commands(CommandListener):
    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []

    def started(self, event: CommandStartedEvent) -> None:
        self.sent.append((event.command_name, dict(event.command)))

    def succeeded(self, event: CommandSucceededEvent) -> None: ...

    def failed(self, event: CommandFailedEvent) -> None: ...

    def of(self, name: str) -> list[dict[str, Any]]:
        return [body for sent, body in self.sent if sent == name]


class Bench:
    """A database through one of the drivers, and the server's side of it."""

    def __init__(self, db: Database, sync: SyncDatabase, name: str, commands: Commands) -> None:
        self.db = db
        self.sync = sync
        self.name = name
        self.commands = commands
        self.runs = 0

    async def count_up(self, session: Any) -> str:
        """Read, and write: the callback of most tests."""
        self.runs += 1
        await self.db.counters.find_one({"_id": 1}, session=session)
        await self.db.counters.update_one({"_id": 1}, {"$inc": {"n": 1}}, session=session)
        return "counted"

    @property
    def counted(self) -> int:
        return int(self.sync.counters.find_one({"_id": 1})["n"])  # type: ignore[index]  # it is there, or the test fails here

    @contextmanager
    def failing(self, *commands: str, mode: Any = "alwaysOn", **data: Any) -> Iterator[None]:
        point = {"failCommands": list(commands), "appName": self.name, **data}
        admin = self.sync.client.admin
        admin.command({"configureFailPoint": "failCommand", "mode": mode, "data": point})
        try:
            yield
        finally:
            admin.command({"configureFailPoint": "failCommand", "mode": "off"})

    def open_transactions(self) -> list[dict[str, Any]]:
        pipeline: list[dict[str, Any]] = [
            {"$currentOp": {"allUsers": True, "idleSessions": True}},
            {"$match": {"transaction": {"$exists": True}, "appName": self.name}},
        ]
        return list(self.sync.client.admin.aggregate(pipeline))


@pytest.fixture(params=["motor", "pymongo"])
async def bench(
    request: pytest.FixtureRequest, server_uri: str, dbname: str, sync_db: SyncDatabase
) -> AsyncIterator[Bench]:
    name, commands = f"transactions-{uuid.uuid4().hex[:8]}", Commands()
    options: dict[str, Any] = {
        "appname": name,
        "heartbeatFrequencyMS": 500,
        "serverSelectionTimeoutMS": 5000,
        "event_listeners": [commands],
    }
    sync_db.counters.insert_one({"_id": 1, "n": 0})
    if request.param == "motor":
        motor: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(server_uri, **options)
        yield Bench(motor.get_database(dbname), sync_db, name, commands)
        await driver.close(motor)
    else:
        async with pymongo.AsyncMongoClient[dict[str, Any]](server_uri, **options) as client:
            yield Bench(cast("Database", client.get_database(dbname)), sync_db, name, commands)


async def test_a_transaction(bench: Bench) -> None:
    assert await run(bench.db, bench.count_up, seconds=5) == "counted"
    assert bench.counted == 1
    assert [name for name, _ in bench.commands.sent] == ["find", "update", "commitTransaction"]
    find, commit = bench.commands.of("find")[0], bench.commands.of("commitTransaction")[0]
    assert find["readConcern"]["level"] == "snapshot"
    assert 4000 < find["maxTimeMS"] <= 5000
    assert (commit["writeConcern"], commit["maxTimeMS"]) == ({"w": "majority"}, 5000)


async def test_two_that_want_the_same_document_are_both_through(bench: Bench) -> None:
    tally = Tally()
    many = [run(bench.db, bench.count_up, seconds=20, tally=tally) for _ in range(8)]
    await asyncio.gather(*many)
    assert bench.counted == 8
    assert bench.runs == 8 + tally.reruns
    assert not bench.open_transactions()


@pytest.mark.parametrize(
    "failure",
    [
        {"errorCode": 64},
        {"writeConcernError": {"code": 64, "errmsg": "waiting for replication timed out"}},
        {"errorCode": 91, "errorLabels": [UNKNOWN]},
        {"errorCode": 262},
        {"closeConnection": True},
    ],
    ids=str,
)
async def test_a_commit_is_sent_again_until_it_is_answered(bench: Bench, failure: dict[str, Any]) -> None:
    with bench.failing("commitTransaction", mode={"times": 1}, **failure):
        await run(bench.db, bench.count_up, seconds=10)
    assert (bench.counted, bench.runs) == (1, 1)
    first, second = bench.commands.of("commitTransaction")
    assert first["writeConcern"] == {"w": "majority"}
    assert second["writeConcern"] == {"w": "majority", "wtimeout": 10_000}
    assert second["txnNumber"] == first["txnNumber"]


@pytest.mark.parametrize(
    "failure", [{"errorCode": 50}, {"writeConcernError": {"code": 50, "errmsg": "too late"}}], ids=str
)
async def test_a_commit_that_ran_out_of_time_is_not_sent_again(bench: Bench, failure: dict[str, Any]) -> None:
    with bench.failing("commitTransaction", **failure), pytest.raises(OutcomeUnknownError):
        await run(bench.db, bench.count_up, seconds=5)
    assert len(bench.commands.of("commitTransaction")) == 1
    assert bench.counted == (1 if "writeConcernError" in failure else 0)
    assert not bench.open_transactions()


@pytest.mark.parametrize("code", [112, 251])
async def test_a_transaction_that_is_gone_at_its_commit_is_run_again(bench: Bench, code: int) -> None:
    tally = Tally()
    with bench.failing("commitTransaction", mode={"times": 2}, errorCode=code, errorLabels=[TRANSIENT]):
        await run(bench.db, bench.count_up, seconds=5, tally=tally)
    assert (bench.counted, bench.runs, tally.reruns) == (1, 3, 2)


@pytest.mark.parametrize("command", ["find", "update"])
async def test_a_transient_error_of_an_operation_runs_all_again(bench: Bench, command: str) -> None:
    with bench.failing(command, mode={"times": 3}, errorCode=112, errorLabels=[TRANSIENT]):
        await run(bench.db, bench.count_up, seconds=5)
    assert bench.counted == 1
    # The server's own look for a session that is new to it is a find, and counts too.
    assert bench.runs in ({3, 4} if command == "find" else {4})


async def test_another_error_aborts(bench: Bench) -> None:
    with bench.failing("update", errorCode=2), pytest.raises(OperationFailure) as caught:
        await run(bench.db, bench.count_up, seconds=5)
    assert caught.value.code == 2
    assert (bench.counted, bench.runs) == (0, 1)
    assert bench.commands.of("abortTransaction")
    assert not bench.open_transactions()


async def test_an_abort_that_fails_does_not_hide_the_error(bench: Bench) -> None:
    failing = bench.failing("abortTransaction", mode={"times": 1}, errorCode=1)
    with failing, pytest.raises(RefusedError, match="too little"):
        await run(bench.db, refusing(bench), seconds=5)


def refusing(bench: Bench) -> Callable[[Any], Any]:
    async def callback(session: Any) -> None:
        await bench.count_up(session)
        raise RefusedError("too little")

    return callback


# To turn a fail point off waits for what it blocks: the blocks are as short as the limits let them be.


@pytest.mark.parametrize("command", ["find", "update"])
async def test_a_server_that_blocks_an_operation_ends_at_the_limit(
    bench: Bench, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "ABORT_SECONDS", 0.3)
    with bench.failing(command, blockConnection=True, blockTimeMS=1200):
        begun = time.monotonic()
        with pytest.raises(UnreachableError, match="nothing is written: no answer in time"):
            await run(bench.db, bench.count_up, seconds=0.3)
        assert 0.25 < time.monotonic() - begun < 1.1
        assert not bench.open_transactions()
    assert bench.counted == 0


async def test_a_server_that_blocks_the_commit_ends_at_the_limit(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "COMMIT_SECONDS", 0.1)
    with bench.failing("commitTransaction", blockConnection=True, blockTimeMS=1200):
        begun = time.monotonic()
        with pytest.raises(OutcomeUnknownError, match="no answer in time"):
            await run(bench.db, bench.count_up, seconds=0.3)
        assert 0.25 < time.monotonic() - begun < 1.1
        # Nobody else waits for a minute for what this one has locked.
        assert not bench.open_transactions()


async def test_a_server_that_blocks_the_abort_too(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "ABORT_SECONDS", 0.3)
    with bench.failing("abortTransaction", blockConnection=True, blockTimeMS=1200):
        begun = time.monotonic()
        with pytest.raises(RefusedError, match="too little"):
            await run(bench.db, refusing(bench), seconds=5)
        assert time.monotonic() - begun < 1.1


async def test_a_commit_that_always_fails_is_not_sent_without_a_pause(bench: Bench) -> None:
    with bench.failing("commitTransaction", errorCode=89), pytest.raises(OutcomeUnknownError):
        await run(bench.db, bench.count_up, seconds=0.7)
    assert 4 <= len(bench.commands.of("commitTransaction")) < 120
    assert bench.counted == 0
    assert not bench.open_transactions()


async def test_a_stop_before_the_commit_aborts(bench: Bench) -> None:
    with bench.failing("update", blockConnection=True, blockTimeMS=300):
        task = asyncio.create_task(run(bench.db, bench.count_up, seconds=5))
        await sent(bench, "update")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert bench.commands.of("abortTransaction")
    assert not bench.commands.of("commitTransaction")
    assert bench.counted == 0
    assert not bench.open_transactions()


async def test_a_stop_during_the_commit_says_what_was_committed_and_goes_on(bench: Bench) -> None:
    said: list[str] = []

    async def command() -> None:
        said.append(await run(bench.db, bench.count_up, seconds=5))
        await asyncio.sleep(0)
        said.append("not stopped")

    with bench.failing("commitTransaction", blockConnection=True, blockTimeMS=300):
        task = asyncio.create_task(command())
        await sent(bench, "commitTransaction")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert said == ["counted"]
    assert task.cancelling() == 1, "asyncio.run tells a Ctrl-C by this count"
    assert bench.counted == 1


async def test_a_stop_during_the_commit_of_the_last_step_is_not_lost(bench: Bench) -> None:
    with bench.failing("commitTransaction", blockConnection=True, blockTimeMS=300):
        task = asyncio.create_task(run(bench.db, bench.count_up, seconds=5))
        await sent(bench, "commitTransaction")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert bench.counted == 1


async def test_a_stop_during_a_commit_whose_answer_stays_out(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "STOP_SECONDS", 0.2)
    with bench.failing("commitTransaction", blockConnection=True, blockTimeMS=2000):
        task = asyncio.create_task(run(bench.db, bench.count_up, seconds=20))
        await sent(bench, "commitTransaction")
        begun = time.monotonic()
        task.cancel()
        with pytest.raises(OutcomeUnknownError, match="stopped before its answer"):
            await task
        assert time.monotonic() - begun < 1.4
        assert not bench.open_transactions()


async def test_a_stop_during_an_operation_that_blocks(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "STOP_SECONDS", 0.2)
    with bench.failing("update", blockConnection=True, blockTimeMS=1500):
        task = asyncio.create_task(run(bench.db, bench.count_up, seconds=20))
        await sent(bench, "update")
        begun = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - begun < 1.2
        assert not bench.open_transactions()
    await asyncio.sleep(1.5)
    assert bench.counted == 0, "what was on its way is no write of its own"
    assert not bench.open_transactions()


async def sent(bench: Bench, command: str) -> None:
    """Wait until a command is on its way; drivers tell it from threads of their own."""
    await asyncio.to_thread(until, lambda: bench.commands.of(command), f"{command} is sent")


class Hole:
    """A proxy that swallows what comes after `swallow()`: no answer, no reset."""

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._swallowing = False
        self._ends: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.uri = f"mongodb://127.0.0.1:{self._listener.getsockname()[1]}/?directConnection=true"
        threading.Thread(target=self._accept, daemon=True).start()

    def swallow(self) -> None:
        self._swallowing = True

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._server)
                self._ends += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                if not self._swallowing:
                    other.sendall(data)
        if not self._swallowing:
            with suppress(OSError):
                other.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        for end in (self._listener, *self._ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@pytest.fixture
def hole(sync_db: SyncDatabase) -> Iterator[Hole]:
    address = sync_db.client.address
    assert address is not None
    made = Hole(*address)
    yield made
    made.close()


@pytest.mark.parametrize("where", ["update", "commit"])
async def test_a_network_that_swallows_packets(
    hole: Hole, dbname: str, sync_db: SyncDatabase, where: str
) -> None:
    """With the end of the client: it would say good-bye on a connection that nobody answers on."""
    sync_db.counters.insert_one({"_id": 1, "n": 0})
    motor: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(
        hole.uri, serverSelectionTimeoutMS=1000, connectTimeoutMS=1000
    )
    db = motor.get_database(dbname)

    async def callback(session: Any) -> None:
        await db.counters.find_one({"_id": 1}, session=session)
        if where == "update":
            hole.swallow()
        await db.counters.update_one({"_id": 1}, {"$inc": {"n": 1}}, session=session)
        hole.swallow()

    # Sessions that were used before are what the client says good-bye with.
    await asyncio.gather(*(db.counters.find_one() for _ in range(4)))
    begun = time.monotonic()
    expected: type[MotorctlError] = UnreachableError if where == "update" else OutcomeUnknownError
    with pytest.raises(expected, match="no answer in time"):
        await run(db, callback, seconds=1.1)
    await motorctl_client._close(motor)
    assert time.monotonic() - begun < 1.1 + transactions.ABORT_SECONDS + motorctl_client.CLOSE_SECONDS + 0.5
    sync_db.client.admin.command({"killSessions": open_sessions(sync_db)})


def open_sessions(sync_db: SyncDatabase) -> list[dict[str, Any]]:
    """Return the sessions of the transactions in this test's database that the network has left open."""
    pipeline: list[dict[str, Any]] = [
        {"$currentOp": {"allUsers": True, "idleSessions": True}},
        {"$match": {"transaction": {"$exists": True}, "lsid": {"$exists": True}}},
    ]
    found = sync_db.client.admin.aggregate(pipeline)
    return [{"id": one["lsid"]["id"]} for one in found if not one.get("appName")]


async def test_a_server_that_is_not_there() -> None:
    async with pymongo.AsyncMongoClient[dict[str, Any]](
        "mongodb://127.0.0.1:9/", serverSelectionTimeoutMS=100
    ) as client:
        db = cast("Database", client.get_database("nobody"))

        async def callback(session: Any) -> None:
            await db.c.find_one({}, session=session)

        with pytest.raises(UnreachableError, match="no primary was found"):
            await run(db, callback, seconds=0.4)


SCRIPT = """
import asyncio, sys
from motor.motor_asyncio import AsyncIOMotorClient
from motorctl import app
from motorctl.core import transactions

async def main():
    db = AsyncIOMotorClient(sys.argv[1], appname=sys.argv[3]).get_database(sys.argv[2])

    async def callback(session):
        await db.counters.update_one({"_id": 1}, {"$inc": {"n": 1}}, session=session)
        return "counted"

    print("began", flush=True)
    print(await transactions.run(db, callback, seconds=20), flush=True)

try:
    asyncio.run(app._terminable(main()))
except KeyboardInterrupt:
    print("stopped by the keyboard", flush=True)
"""


def test_ctrl_c_during_the_commit_of_a_process(server_uri: str, sync_db: SyncDatabase) -> None:
    name = f"transactions-{uuid.uuid4().hex[:8]}"
    sync_db.counters.insert_one({"_id": 1, "n": 0})
    bench = Bench(cast("Database", None), sync_db, name, Commands())
    with bench.failing("commitTransaction", blockConnection=True, blockTimeMS=1200):
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, server_uri, sync_db.name, name], stdout=subprocess.PIPE, text=True
        )
        committing: list[dict[str, Any]] = [
            {"$currentOp": {"allUsers": True}},
            {"$match": {"appName": name, "command.commitTransaction": 1}},
        ]
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and not list(sync_db.client.admin.aggregate(committing)):
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        stdout, _ = process.communicate(timeout=20)
    assert stdout.splitlines() == ["began", "counted", "stopped by the keyboard"]
    assert bench.counted == 1


# ---- what a server needs ----


def answering(hello: dict[str, Any]) -> Database:
    async def command(name: str) -> dict[str, Any]:
        assert name == "hello"
        return hello

    admin = SimpleNamespace(command=command)
    client = SimpleNamespace(get_database=lambda _name, **_options: admin)
    return cast("Database", SimpleNamespace(client=client))


@pytest.mark.parametrize(
    "hello",
    [
        {"setName": "rs0", "isWritablePrimary": True, "logicalSessionTimeoutMinutes": 30},
        {"setName": "rs0", "secondary": True, "primary": "elsewhere:27017"},
        {"setName": "rs0", "secondary": True},
        {"msg": "isdbgrid", "isWritablePrimary": True, "logicalSessionTimeoutMinutes": 30},
        {"serviceId": "load balancer", "isWritablePrimary": True},
    ],
    ids=["primary", "secondary", "no primary now", "router", "load balancer"],
)
async def test_a_server_that_has_transactions(hello: dict[str, Any]) -> None:
    await transactions.require(answering(hello))


async def test_a_standalone_is_told_before_anything_is_tried() -> None:
    with pytest.raises(MotorctlError, match="no transactions: it is a standalone") as caught:
        await transactions.require(answering({"isWritablePrimary": True, "logicalSessionTimeoutMinutes": 30}))
    assert "need a replica set: `motorctl local start`" in (caught.value.hint or "")
    assert caught.value.exit_code == 1


async def test_a_replica_set_that_was_not_initiated() -> None:
    with pytest.raises(MotorctlError, match="its replica set was not initiated") as caught:
        await transactions.require(answering({"isreplicaset": True, "secondary": False}))
    assert "rs.initiate()" in (caught.value.hint or "")


async def test_the_tests_own_server_has_transactions(bench: Bench) -> None:
    await transactions.require(bench.db)
    assert [name for name, _ in bench.commands.sent] == ["hello"]


def test_the_reasons_in_words() -> None:
    assert transactions._reason(NetworkTimeout("timed out")) == "no answer in time"
