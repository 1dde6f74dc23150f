"""An answer that stays out ends a command; work that takes the server long doesn't, however long.

What is lost is lost on a line (`faulty`); what takes long is a fail point that strikes this program alone.
"""

from __future__ import annotations

import io
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pymongo
import pytest
from bson import Binary
from proxy import Fault, How, faulty
from pymongo.errors import OperationFailure, ServerSelectionTimeoutError

from motorctl import silence
from motorctl.diagnostics import Diagnostics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Runner

    Documents = pymongo.database.Database[dict[str, Any]]

TIMEOUT = 0.6
BO = ("students", "create", "--name", "Bo", "--email", "bo@example.com", "--course", "Art", "--gpa", "3.5")
HERE = ("127.0.0.1", 27017)


@pytest.fixture(autouse=True)
def short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that the server has sent is waited for as long as one that it is asked for."""
    monkeypatch.setattr(silence, "ANSWER_SECONDS", TIMEOUT)


@contextmanager
def slow(db: Documents, command: str, collection: str, seconds: float) -> Iterator[None]:
    """Let the server take long for one command on one collection, when this test's program sends it."""
    data = {
        "failCommands": [command],
        "appName": db.name,
        "namespace": f"{db.name}.{collection}",
        "blockConnection": True,
        "blockTimeMS": round(seconds * 1000),
    }
    admin = db.client.admin
    admin.command({"configureFailPoint": "failCommand", "mode": {"times": 1}, "data": data})
    try:
        yield
    finally:
        admin.command({"configureFailPoint": "failCommand", "mode": "off"})


@contextmanager
def line(db: Documents, fault: Fault) -> Iterator[str]:
    host, _, port = db.client.admin.command("hello")["primary"].partition(":")
    with faulty(host, int(port), fault) as found:
        yield found.uri


def test_long_work_of_the_server_is_waited_for(cli: Runner, sync_db: Documents, server_uri: str) -> None:
    sync_db.users.insert_one({"name": "Ada"})
    with slow(sync_db, "aggregate", "users", seconds=5 * TIMEOUT):
        begun = time.monotonic()
        done = cli(
            "users", "count", "--uri", f"{server_uri}&appName={sync_db.name}", "--timeout", str(TIMEOUT)
        )
    assert time.monotonic() - begun >= 5 * TIMEOUT, "the server wasn't slow"
    assert (done.code, done.stdout, done.stderr) == (0, "1\n", "")


def test_an_answer_that_was_lost_is_given_up_and_said_once(cli: Runner, sync_db: Documents) -> None:
    with line(sync_db, Fault(How.drop, times=None)) as uri:
        done = cli("users", "count", "--uri", uri, "--timeout", str(TIMEOUT), "--retries", "1")
    said = done.stderr.splitlines()
    assert done.code == 3
    assert said[-2:] == [
        "error: the connection was lost: no answer in time",
        "hint: nothing was written: the same command may be run again",
    ]
    # The driver asks once more, on a new connection.
    assert len(said) == 4, said
    assert all(one.startswith("warning: no answer to aggregate for ") for one in said[:2])


def test_a_write_whose_answer_was_lost_is_made_once(cli: Runner, sync_db: Documents) -> None:
    with line(sync_db, Fault(How.drop)) as uri:
        done = cli(*BO, "--uri", uri, "--timeout", "3")
    assert done.code == 0, done
    assert "the server is not at work at it: the connection is given up" in done.stderr
    assert sync_db.students.count_documents({}) == 1


def test_who_wrote_is_told_to_look(cli: Runner, sync_db: Documents) -> None:
    with line(sync_db, Fault(How.drop, times=None)) as uri:
        done = cli(*BO, "--uri", uri, "--timeout", str(TIMEOUT))
    assert done.code == 3
    assert "hint: a write that was on its way may have been carried out or not" in done.stderr
    assert sync_db.students.count_documents({}) == 1


def test_a_server_that_is_lost_after_a_write_does_not_hide_it(cli: Runner, sync_db: Documents) -> None:
    """An upsert writes, and then reads what it wrote: the read finds nobody."""
    with line(sync_db, Fault(How.gone, at=1)) as uri:
        done = cli("students", "upsert", *BO[2:], "--uri", uri, "--timeout", str(TIMEOUT))
    assert done.code == 3
    assert "written" in done.stderr or "carried out" in done.stderr
    assert "nothing was written" not in done.stderr
    assert sync_db.students.count_documents({}) == 1


# --- what is concluded from an answer ----------------------------------------------------------------


class Asked(silence.Watch):
    """A watch whose question is answered by the test."""

    def __init__(self, answer: Callable[[], set[bytes]]) -> None:
        super().__init__(1.0, Diagnostics(io.StringIO()))
        self.answer = answer

    def _sessions_at_work(self, address: silence.Address, opener: silence.Opener) -> set[bytes]:  # noqa: ARG002 - the signature of what it stands for
        return self.answer()

    def judge(self, *, session: bytes | None = b"ours", finished_for: float | None = None) -> str | None:
        one = silence._Waiting("find", HERE, session, None, since=time.monotonic() - 5)
        if finished_for is not None:
            one.finished_since = time.monotonic() - finished_for
        self._waiting[1] = one
        return self._lost([one], HERE, lambda **_: pytest.fail("nobody is to be connected to"))


def refuse() -> set[bytes]:
    raise OperationFailure("$currentOp is not supported", 115)


def expire() -> set[bytes]:
    raise OperationFailure("operation exceeded time limit", 50)


def stay_out() -> set[bytes]:
    raise ServerSelectionTimeoutError("no server")


def test_a_server_that_does_not_tell_is_trusted() -> None:
    assert Asked(refuse).judge(finished_for=100) is None


@pytest.mark.parametrize("answer", [expire, stay_out])
def test_a_server_that_does_not_answer_is_given_up(answer: Callable[[], set[bytes]]) -> None:
    lost = Asked(answer).judge()
    assert lost is not None
    assert lost.endswith("nor to a question on another connection")


def test_one_that_is_at_work_is_waited_for_although_it_was_idle_before() -> None:
    assert Asked(lambda: {b"ours"}).judge(finished_for=100) is None


def test_one_that_has_just_finished_may_have_sent_its_answer() -> None:
    assert Asked(set).judge() is None
    assert Asked(set).judge(finished_for=TIMEOUT / 2) is None
    assert Asked(set).judge(finished_for=TIMEOUT * 2) is not None


def test_a_command_without_a_session_cannot_be_looked_for() -> None:
    assert Asked(set).judge(session=None, finished_for=100) is None


@pytest.mark.parametrize(
    ("command", "writes"),
    [
        ({"find": "c"}, False),
        ({"aggregate": "c", "pipeline": []}, False),
        ({"aggregate": "c", "pipeline": [{"$match": {}}]}, False),
        ({"aggregate": "c", "pipeline": [{"$match": {}}, {"$out": "d"}]}, True),
        ({"aggregate": "c", "pipeline": [{"$merge": {"into": "d"}}]}, True),
        ({"explain": {"find": "c"}}, False),
        ({"profile": -1}, False),
        ({"profile": 0}, True),
        ({"insert": "c"}, True),
        ({"commitTransaction": 1}, True),
        ({"abortTransaction": 1}, False),
        ({"aCommandOfTomorrow": 1}, True),
    ],
    ids=str,
)
def test_what_may_write(command: dict[str, Any], *, writes: bool) -> None:
    event = pymongo.monitoring.CommandStartedEvent(
        {**command, "lsid": {"id": Binary(b"x" * 16, 4)}}, "db", 1, HERE, 1
    )
    watch = silence.Watch(1.0, Diagnostics(io.StringIO()))
    watch.started(event)
    assert watch.wrote is writes
