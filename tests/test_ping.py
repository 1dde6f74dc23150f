"""`motorctl ping`: what it says of a server, each level of --until, and --wait on servers that are late."""

from __future__ import annotations

import io
import json
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pymongo
import pytest
from conftest import Server, _listening, command, free_port, until

from motorctl import client
from motorctl.core import hello
from motorctl.diagnostics import Diagnostics
from motorctl.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Runner

    from motorctl.client import Database

LEVELS = ("reachable", "auth", "primary", "transactions")
FIELDS = [
    *("ok", "server_version", "topology", "set_name", "primary", "hosts", "transactions", "tls", "user"),
    "latency_ms",
]


@pytest.fixture(scope="module")
def standalone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("standalone") / "home", replica_set=False)
    try:
        until(lambda: _listening(server.port), "mongod listens")
        yield server
    finally:
        server.kill()


@pytest.fixture
def uninitiated(tmp_path: Path) -> Iterator[Server]:
    """A member of a replica set that nobody has initiated yet."""
    server = Server(tmp_path / "home")
    try:
        until(lambda: _listening(server.port), "mongod listens")
        yield server
    finally:
        server.kill()


def test_json_has_the_fields_of_the_contract(cli: Runner, server_uri: str) -> None:
    done = cli("ping", "-o", "json")
    assert (done.code, done.stderr) == (0, "")
    said = done.json()
    host = server_uri.removeprefix("mongodb://").partition("/")[0]
    assert list(said) == FIELDS
    assert list(said["latency_ms"]) == ["min", "median", "max", "samples"]
    assert said["ok"] is True
    assert said["server_version"].count(".") == 2
    assert (said["topology"], said["set_name"]) == ("replica_set", "rs0")
    assert (said["primary"], said["hosts"]) == (host, [host])
    assert (said["transactions"], said["tls"], said["user"]) == (True, False, None)
    latency = said["latency_ms"]
    assert 0 < latency["min"] <= latency["median"] <= latency["max"]


def test_a_standalone(cli: Runner, standalone: Server) -> None:
    for uri in (standalone.uri, f"mongodb://{standalone.host}"):
        said = cli("ping", "--uri", uri, "-o", "json").json()
        assert list(said) == FIELDS
        assert (said["topology"], said["set_name"], said["hosts"]) == ("standalone", None, [])
        assert (said["primary"], said["transactions"]) == (standalone.host, False)


def test_ndjson_is_one_line(cli: Runner) -> None:
    (line,) = cli("ping", "-o", "ndjson").stdout.splitlines()
    assert list(json.loads(line)) == FIELDS


@pytest.mark.parametrize("count", [1, 12])
def test_count_is_the_number_of_round_trips(cli: Runner, count: int) -> None:
    done = cli("ping", "--count", str(count), "-o", "json", "--slow-ms", "0")
    assert done.json()["latency_ms"]["samples"] == count
    assert sum(line.startswith("slow: ping ") for line in done.stderr.splitlines()) == count


def test_count_starts_at_one(cli: Runner) -> None:
    assert cli("ping", "--count", "0").code == ExitCode.USAGE


def test_in_a_pipe_it_is_plain_aligned_text(cli: Runner) -> None:
    done = cli("ping")
    assert (done.code, done.stderr) == (0, "")
    rows = dict(line.split(None, 1) for line in done.stdout.splitlines() if " " in line.strip())
    assert (rows["ok"], rows["topology"], rows["samples"]) == ("true", "replica_set", "5")
    assert rows["latency_min"].endswith(" ms")
    assert "\x1b" not in done.stdout
    starts = {
        line.index(line.split(None, 1)[1]) for line in done.stdout.splitlines() if len(line.split()) > 1
    }
    assert len(starts) == 1


def test_on_a_terminal_it_is_a_table(cli: Runner) -> None:
    done = cli("ping", tty=True)
    assert done.code == 0
    assert "replica_set" in done.stdout
    assert "transactions" in done.stdout


@pytest.mark.parametrize("level", LEVELS)
def test_a_primary_has_every_level(cli: Runner, level: str) -> None:
    assert cli("ping", "--until", level, "-q").code == 0


@pytest.mark.parametrize("level", LEVELS[:3])
def test_a_standalone_takes_writes(cli: Runner, standalone: Server, level: str) -> None:
    assert cli("ping", "--until", level, "--uri", standalone.uri).code == 0


def test_a_standalone_has_no_transactions(cli: Runner, standalone: Server) -> None:
    done = cli("ping", "--until", "transactions", "--uri", standalone.uri)
    assert (done.code, done.stdout) == (ExitCode.UNREACHABLE, "")
    error, hint = done.stderr.splitlines()
    assert error == "error: the server is ready as far as primary, not transactions"
    assert hint.startswith("hint: transactions need a replica set: ")
    facts = cli("ping", "--until", "transactions", "--uri", standalone.uri, "-o", "json").error()
    assert (facts["level"], facts["wanted"], facts["exit"]) == ("primary", "transactions", 3)


@pytest.mark.parametrize("level", LEVELS[1:])
def test_a_member_that_is_not_initiated_is_no_more_than_reachable(
    cli: Runner, uninitiated: Server, level: str
) -> None:
    direct = f"mongodb://{uninitiated.host}/?directConnection=true"
    assert cli("ping", "--uri", direct, "-q").code == 0
    done = cli("ping", "--until", level, "--uri", direct)
    assert done.code == ExitCode.UNREACHABLE
    error, hint = done.stderr.splitlines()
    assert "not primary" in error
    assert "--wait" in hint
    through_the_set = cli("ping", "--until", level, "--uri", uninitiated.uri, "--timeout", "0.3")
    assert through_the_set.code == ExitCode.UNREACHABLE
    assert "a member not yet initiated" in through_the_set.stderr


def test_a_level_that_is_none(cli: Runner) -> None:
    done = cli("ping", "--until", "transaction")
    assert done.code == ExitCode.USAGE
    assert "did you mean 'transactions'?" in done.stderr


def test_wait_for_a_server_that_starts_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setattr("conftest.free_port", lambda: port)
    uri = f"mongodb://127.0.0.1:{port}/"
    waiting = _start("ping", "--uri", uri, "--wait", "30", "-o", "json", "-v")
    time.sleep(1)
    assert waiting.poll() is None
    server = Server(tmp_path / "home", replica_set=False)
    try:
        stdout, stderr = waiting.communicate(timeout=30)
    finally:
        server.kill()
    assert waiting.returncode == 0
    assert json.loads(stdout)["primary"] == f"127.0.0.1:{port}"
    assert "waiting for the server: no server reached" in stderr


@pytest.mark.parametrize("path", ["?replicaSet=rs0", "?directConnection=true", ""])
def test_wait_for_a_replica_set_that_is_initiated_later(uninitiated: Server, path: str) -> None:
    uri = f"mongodb://{uninitiated.host}/{path}"
    waiting = _start("ping", "--uri", uri, "--until", "transactions", "--wait", "30", "-o", "json")
    time.sleep(1)
    assert waiting.poll() is None
    uninitiated.initiate()
    stdout, stderr = waiting.communicate(timeout=30)
    assert (waiting.returncode, stderr) == (0, "")
    assert json.loads(stdout)["transactions"] is True


def test_wait_ends_after_its_time(cli: Runner, uninitiated: Server) -> None:
    direct = f"mongodb://{uninitiated.host}/?directConnection=true"
    dead = f"mongodb://127.0.0.1:{free_port()}"
    for uri, level in ((direct, "primary"), (uninitiated.uri, "transactions"), (dead, "reachable")):
        begun = time.monotonic()
        done = cli("ping", "--uri", uri, "--until", level, "--wait", "1")
        took = time.monotonic() - begun
        assert done.code == ExitCode.UNREACHABLE
        assert 0.9 <= took <= 2.5
        assert len(done.stderr.splitlines()) == 2


def test_wait_says_so_only_with_v(cli: Runner) -> None:
    dead = f"mongodb://127.0.0.1:{free_port()}"
    done = cli("ping", "--uri", dead, "--wait", "1.6", "-v")
    assert done.stderr.startswith("note: waiting for the server: ")
    assert "within 1.6 s" in done.stderr.splitlines()[-2]


def test_other_commands_wait_for_a_primary(uninitiated: Server) -> None:
    waiting = _start("users", "count", "--uri", uninitiated.uri, "--wait", "30")
    time.sleep(0.7)
    uninitiated.initiate()
    stdout, stderr = waiting.communicate(timeout=30)
    assert (waiting.returncode, stdout, stderr) == (0, "0\n", "")


def test_ping_needs_no_primary_to_look_at_a_secondary(uninitiated: Server, cli: Runner) -> None:
    """A member that has lost its set still answers: it is reachable, and says that nobody takes writes."""
    uninitiated.initiate()
    direct = f"mongodb://{uninitiated.host}/?directConnection=true"
    with pymongo.MongoClient[dict[str, Any]](direct) as client:
        client.admin.command("replSetStepDown", 60, force=True)
        said = cli("ping", "--uri", direct, "-o", "json").json()
        assert (said["topology"], said["primary"], said["transactions"]) == ("replica_set", None, False)
        done = cli("ping", "--uri", direct, "--until", "primary", "-o", "json")
        assert (done.code, done.error()["level"]) == (3, "auth")
        through_the_set = cli("users", "count", "--uri", uninitiated.uri, "--timeout", "0.3")
        assert through_the_set.code == ExitCode.UNREACHABLE
        assert "is a secondary" in through_the_set.stderr


HELLOS: list[tuple[dict[str, Any], str, bool]] = [
    ({"isWritablePrimary": True}, "standalone", False),
    ({"isWritablePrimary": True, "logicalSessionTimeoutMinutes": 30}, "standalone", False),
    ({"isreplicaset": True, "isWritablePrimary": False}, "replica_set", False),
    ({"setName": "rs0", "primary": "a:1", "logicalSessionTimeoutMinutes": 30}, "replica_set", True),
    ({"setName": "rs0", "logicalSessionTimeoutMinutes": 30}, "replica_set", False),
    ({"setName": "rs0", "primary": "a:1", "logicalSessionTimeoutMinutes": None}, "replica_set", False),
    ({"msg": "isdbgrid", "isWritablePrimary": True, "logicalSessionTimeoutMinutes": 30}, "sharded", True),
    (
        {"msg": "isdbgrid", "serviceId": "x", "isWritablePrimary": True, "logicalSessionTimeoutMinutes": 30},
        "load_balanced",
        True,
    ),
]


@pytest.mark.parametrize(("answer", "topology", "transactions"), HELLOS)
def test_what_a_hello_means(answer: dict[str, Any], topology: str, transactions: bool) -> None:
    assert hello.topology(answer) == topology
    assert hello.transactions(answer) is transactions


def test_arbiters_hold_no_data() -> None:
    assert hello.hosts({"hosts": ["a:1"], "passives": ["b:1"], "arbiters": ["c:1"]}) == ["a:1", "b:1"]


def _start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )


async def test_wait_looks_the_address_up_at_each_look(server_uri: str, dbname: str) -> None:
    """A local server that starts meanwhile has another address than the one that was asked first."""
    addresses = iter(["mongodb://127.0.0.1:1/", server_uri])

    async def answers(db: Database) -> None:
        await db.client.admin.command("ping")

    talk = Diagnostics(io.StringIO())
    found = await client._wait(lambda: next(addresses), dbname, {}, 20, talk, answers)
    assert found == server_uri


def test_a_database_of_the_environment_goes_before_that_of_a_typed_uri_and_is_told(
    cli: Runner, server_uri: str
) -> None:
    typed = server_uri.replace("/?", "/typed?")
    assert typed != server_uri
    told = cli("students", "count", "--uri", typed, connected=False, env={"MOTORCTL_DB": "other"})
    assert told.stderr == (
        "warning: the database is other, of the environment MOTORCTL_DB, not typed of the connection string\n"
    )
    for quiet in (("--db", "other"), ()):
        env = {"MOTORCTL_DB": "other"} if quiet else {}
        assert cli("students", "count", "--uri", typed, *quiet, connected=False, env=env).stderr == ""
