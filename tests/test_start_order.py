"""A container's start order: the program waits before there is a server, while it elects, and where it needs a user.

`--start-order 20` lets that many seconds pass before the server comes up, as a slow machine does.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

import conftest
import pymongo
import pytest
from conftest import Server, command
from proxy import Fault, How, faulty

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Result, Runner


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    """The port that the server of the test is going to have."""
    chosen = conftest.free_port()
    monkeypatch.setattr(conftest, "free_port", lambda: chosen)
    return chosen


@pytest.fixture
def delay(request: pytest.FixtureRequest) -> float:
    return float(request.config.getoption("--start-order") or 1.5)


@pytest.fixture
def late(port: int) -> Iterator[list[Server]]:
    """A place for the server that comes up while the program waits; it is killed at the end."""
    servers: list[Server] = []
    yield servers
    for server in servers:
        assert server.port == port
        server.kill()


def begin(port: int, *words: str, user: str = "") -> subprocess.Popen[str]:
    """Start the program; it has looked for the server in vain when this returns."""
    uri = f"mongodb://{user}127.0.0.1:{port}/shop?replicaSet=rs0" + ("&authSource=admin" if user else "")
    process = subprocess.Popen(
        command(*words, "--uri", uri, "-v"),
        env=dict(os.environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert process.stderr.readline().startswith("note: waiting for the server: ")
    return process


def says(process: subprocess.Popen[str], words: str) -> str:
    """Read what the program says, until it says this."""
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if words in line:
            break
    assert words in said
    return said


def ended(process: subprocess.Popen[str]) -> Result:
    try:
        stdout, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    return conftest.Result(process.returncode, stdout, stderr)


def test_the_server_comes_later_and_elects_later(
    tmp_path: Path, port: int, late: list[Server], delay: float
) -> None:
    process = begin(port, "schema", "apply", "--builtin", "shop", "--wait", str(delay + 40))
    time.sleep(delay)
    late.append(Server(tmp_path / "server"))
    time.sleep(delay / 2)
    assert process.poll() is None, process.communicate()
    late[0].initiate()

    done = ended(process)

    assert done.code == 0, done
    with pymongo.MongoClient[dict[str, Any]](late[0].uri) as client:
        assert "orders" in client["shop"].list_collection_names()


def test_it_needs_a_user_who_is_made_last(
    tmp_path: Path, port: int, late: list[Server], delay: float, cli: Runner
) -> None:
    process = begin(port, "users", "count", "--wait", str(delay + 40), user="root:s3cr3t-word@")
    time.sleep(delay)
    key = tmp_path / "key"
    key.write_text("a2V5" * 20)
    key.chmod(0o600)
    late.append(Server(tmp_path / "server", "--keyFile", str(key)))
    conftest.until(lambda: conftest._listening(port), "mongod listens")
    with pymongo.MongoClient[dict[str, Any]](f"mongodb://127.0.0.1:{port}/?directConnection=true") as client:
        member = {"_id": 0, "host": late[0].host}
        client.admin.command("replSetInitiate", {"_id": "rs0", "members": [member]})
        conftest.until(lambda: client.admin.command("hello")["isWritablePrimary"], "a primary")
    said = says(process, "there is no such user yet")
    with pymongo.MongoClient[dict[str, Any]](f"mongodb://127.0.0.1:{port}/?directConnection=true") as client:
        client.admin.command("createUser", "root", pwd="s3cr3t-word", roles=["root"])

    done = ended(process)

    assert (done.code, done.stdout) == (0, "0\n"), done
    assert "s3cr3t-word" not in said + done.stderr

    # A wrong password is one at once, and a user who never comes when the time is over.
    def count(user: str, seconds: float) -> tuple[int, float, list[str]]:
        begun = time.monotonic()
        uri = f"mongodb://{user}@127.0.0.1:{port}/shop?authSource=admin&replicaSet=rs0"
        done = cli("users", "count", "--uri", uri, "--wait", str(seconds))
        return done.code, time.monotonic() - begun, done.stderr.splitlines()

    code, took, lines = count("root:wr0ng-word", 20)
    assert (code, lines[0]) == (4, "error: authentication failed for root@admin"), lines
    assert took < 10
    code, took, lines = count("eve:s3cr3t-word", 0.8)
    failed = "authentication failed for eve@admin"
    assert (code, lines[:2]) == (
        4,
        [f"warning: {failed}: there is no such user yet, who is waited for", f"error: {failed}"],
    )
    assert took >= 0.8


def test_a_server_that_takes_questions_and_never_answers_is_waited_for_no_longer(
    cli: Runner, server_uri: str
) -> None:
    with pymongo.MongoClient[dict[str, Any]](server_uri) as client:
        host, _, port = client.admin.command("hello")["primary"].partition(":")
    begun = time.monotonic()
    with faulty(host, int(port), Fault(How.silent_request, times=None)) as line:
        done = cli("users", "count", "--uri", line.uri, "--wait", "2", "--timeout", "1")
    assert done.code == 3, done
    assert time.monotonic() - begun < 2 + 3
    assert done.stderr.startswith("error: "), done


def test_a_line_that_mends_itself_is_waited_for(cli: Runner, server_uri: str) -> None:
    with pymongo.MongoClient[dict[str, Any]](server_uri) as client:
        host, _, port = client.admin.command("hello")["primary"].partition(":")
    with faulty(host, int(port), Fault(How.cut_request, times=3)) as line:
        done = cli("users", "count", "--uri", line.uri, "--wait", "30")
    assert (done.code, done.stdout) == (0, "0\n"), done


def test_waiting_ends_when_its_time_is_over(cli: Runner) -> None:
    before = threading.active_count()
    begun = time.monotonic()
    done = cli(
        "users",
        "count",
        "--uri",
        "mongodb://127.0.0.1:1",
        "--wait",
        "1.5",
        "--timeout",
        "0.5",
        connected=False,
    )
    assert done.code == 3, done
    assert 1.5 <= time.monotonic() - begun < 1.5 + 2
    # Each look's client is closed again.
    conftest.until(lambda: threading.active_count() <= before + 2, "the threads of the looks have ended")
