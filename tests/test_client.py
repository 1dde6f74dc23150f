"""The client: each way in which a server can be missing, foreign or unwilling, provoked for real."""

from __future__ import annotations

import io
import json
import os
import re
import time
import uuid
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

import pymongo
import pytest
import secured
from conftest import Server, _listening, free_port, until
from secured import User, as_user

from motorctl import client, config_file, driver_errors, retry, settings
from motorctl.core import driver
from motorctl.diagnostics import Diagnostics
from motorctl.errors import ExitCode, MotorctlError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Result, Runner

    SyncDatabase = pymongo.database.Database[dict[str, Any]]

PASSWORD = "p@ss/w:rd?#%é"
READER = "reader-password"
ROUND = ("--timeout", "0.5")


# --- servers -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def standalone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("standalone") / "home", replica_set=False)
    try:
        until(lambda: _listening(server.port), "mongod listens")
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with users: `admin`, whose password is PASSWORD, and `reader`, who may read `shop`."""
    admin = User("admin", ["root"], PASSWORD)
    reader = User("reader", [{"role": "read", "db": "shop"}], READER)
    with secured.guarded(tmp_path_factory.mktemp("auth"), admin, reader) as server:
        yield server


class Failures:
    """Commands of one client that fail on the server; the client is known by its appName."""

    def __init__(self, uri: str) -> None:
        self.name = f"t{uuid.uuid4().hex[:10]}"
        self.uri = f"{uri}&appName={self.name}&heartbeatFrequencyMS=500"
        self._server = uri

    @contextmanager
    def of(self, *commands: str, times: int | None = None, **how: Any) -> Iterator[Callable[[], int]]:
        """Let the commands fail, always or `times` times; yields a function that counts the failures."""
        point = {"configureFailPoint": "failCommand"}
        mode: Any = "alwaysOn" if times is None else {"times": times}
        data = {"failCommands": list(commands), "appName": self.name, **how}
        with pymongo.MongoClient[dict[str, Any]](self._server) as other:
            before = other.admin.command({**point, "mode": mode, "data": data})["count"]

            def count() -> int:
                off = other.admin.command({**point, "mode": "off"})
                return int(off["count"]) - int(before)

            try:
                yield count
            finally:
                other.admin.command({**point, "mode": "off"})


@pytest.fixture
def failures(server_uri: str) -> Failures:
    return Failures(server_uri)


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a retry follow at once."""
    original = retry.attempt

    async def sleep(_seconds: float) -> None:
        return

    async def attempt(operation: Any, **options: Any) -> Any:
        return await original(operation, sleep=sleep, **options)

    monkeypatch.setattr(retry, "attempt", attempt)


def lines(done: Result) -> tuple[str, str]:
    """Return error and hint of a run that ended with just these two lines."""
    error, hint = done.stderr.splitlines()
    assert error.startswith("error: ")
    assert hint.startswith("hint: ")
    assert done.stdout == ""
    return error.removeprefix("error: "), hint.removeprefix("hint: ")


# --- no server ---------------------------------------------------------------------------------------


def test_no_server(cli: Runner) -> None:
    host = f"127.0.0.1:{free_port()}"
    begun = time.monotonic()
    done = cli("ping", "--uri", f"mongodb://{host}", "--timeout", "1")
    assert 0.9 <= time.monotonic() - begun <= 2
    assert done.code == ExitCode.UNREACHABLE
    error, hint = lines(done)
    assert error == f"no server reached within 1 s: {host}: connection refused, nothing listens there"
    assert "motorctl local start" in hint


def test_each_host_has_its_reason(cli: Runner) -> None:
    dead = f"127.0.0.1:{free_port()}"
    uri = f"mongodb://{dead},nowhere.invalid:27018/?replicaSet=rs0"
    done = cli("users", "count", "--uri", uri, *ROUND, "-o", "json")
    assert done.code == ExitCode.UNREACHABLE
    error = done.error()
    assert error["hosts"] == {
        dead: "connection refused, nothing listens there",
        "nowhere.invalid:27018": "the name does not resolve",
    }
    assert (error["code"], error["exit"], error["timeout_seconds"]) == ("unreachable", 3, 0.5)


def test_a_port_where_something_else_answers(cli: Runner) -> None:
    import socket
    import threading

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            while True:
                try:
                    caller, _ = listener.accept()
                except OSError:
                    return
                with caller:
                    caller.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")

        threading.Thread(target=answer, daemon=True).start()
        done = cli("ping", "--uri", f"mongodb://127.0.0.1:{listener.getsockname()[1]}", *ROUND)
        listener.shutdown(socket.SHUT_RDWR)
    assert done.code == ExitCode.UNREACHABLE
    assert "no server reached within 0.5 s: 127.0.0.1:" in lines(done)[0]


def test_a_server_that_never_answers(cli: Runner) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        begun = time.monotonic()
        done = cli("ping", "--uri", f"mongodb://127.0.0.1:{listener.getsockname()[1]}", *ROUND)
        assert time.monotonic() - begun <= 1.5
    assert done.code == ExitCode.UNREACHABLE
    assert lines(done)[0].endswith("no answer in time")


def test_a_name_that_does_not_resolve(cli: Runner) -> None:
    done = cli("ping", "--uri", "mongodb://nowhere.invalid/", *ROUND)
    assert done.code == ExitCode.UNREACHABLE
    error, hint = lines(done)
    assert error == "no server reached within 0.5 s: nowhere.invalid:27017: the name does not resolve"
    assert hint == "check the host's name"


def test_srv_without_such_a_record(cli: Runner) -> None:
    done = cli("ping", "--uri", "mongodb+srv://cluster.nowhere.invalid/", *ROUND)
    assert done.code == ExitCode.UNREACHABLE
    error, hint = lines(done)
    assert error.startswith("the SRV record was not found: ")
    assert "mongodb+srv:// needs DNS" in hint


def test_a_replica_set_of_another_name(cli: Runner, server_uri: str) -> None:
    done = cli("ping", "--uri", server_uri.replace("=rs0", "=other"), *ROUND)
    assert done.code == ExitCode.UNREACHABLE
    error, hint = lines(done)
    assert error.endswith('none is a member of the replica set "other"')
    assert "replicaSet=" in hint


def test_a_replica_sets_name_for_a_standalone(cli: Runner, standalone: Server) -> None:
    done = cli("ping", "--uri", f"mongodb://{standalone.host}/?replicaSet=rs0", *ROUND)
    assert done.code == ExitCode.UNREACHABLE
    assert "the server is a standalone" in lines(done)[1]


def test_members_that_are_named_as_only_they_know_each_other() -> None:
    driver_says = "Could not reach any servers in [('db1', 27017)]. Replica set is configured with internal hostnames or IPs?"
    error = driver_errors.translated(pymongo.errors.ServerSelectionTimeoutError(driver_says), None, 5)
    assert error.exit_code is ExitCode.UNREACHABLE
    assert "directConnection=true" in (error.hint or "")


# --- the connection string ---------------------------------------------------------------------------

WRONG_URI = {
    "http://127.0.0.1": "not a connection string",
    "mongodb://": "at least one host",
    "mongodb://127.0.0.1:99999": "port must be an integer between 0 and 65535",
    "mongodb://127.0.0.1/?maxPoolSize=many": "maxpoolsize must be an integer",
    "mongodb://127.0.0.1/?maxPoolSize=-1": "maxpoolsize must be",
    "mongodb://127.0.0.1/?serverSelectionTimeoutMS=soon": "serverselectiontimeoutms must be",
    "mongodb://127.0.0.1/?retryReads=perhaps": "retryreads must be 'true' or 'false'",
    "mongodb://127.0.0.1/?readPreference=best": "not a valid read preference",
    "mongodb://127.0.0.1/?w=-3": "w must be",
    "mongodb://127.0.0.1/?authMechanism=SECRET": "authmechanism must be in",
    "mongodb://127.0.0.1/?maxPoolSize=1&minPoolSize=5": "minpoolsize must be smaller",
    "mongodb://127.0.0.1/?directConnection=true&loadBalanced=true": "loadbalanced",
    "mongodb://127.0.0.1/?tls=true&tlsInsecure=true&tlsAllowInvalidCertificates=true": "tlsinsecure",
    "mongodb://ada@127.0.0.1/?authMechanism=SCRAM-SHA-256": "names a user without a password",
}


@pytest.mark.parametrize("uri", WRONG_URI)
def test_a_wrong_uri_is_exit_2_before_any_look_at_a_server(cli: Runner, uri: str) -> None:
    begun = time.monotonic()
    done = cli("users", "count", "--uri", uri, "--timeout", "20")
    assert done.code == ExitCode.USAGE
    assert time.monotonic() - begun < 10
    assert WRONG_URI[uri].lower() in done.stderr.splitlines()[0].lower()
    assert done.stdout == ""


@pytest.mark.parametrize(
    "password",
    ["pq77@zk88", "pq77/zk88@zj99", "pq77?zk88@zj99", "pq77#zk88@zj99/zl", "pq77@$zk88@", "pq77@=/zk88"],
)
def test_an_unescaped_password_is_exit_2_and_no_part_of_it_is_shown(cli: Runner, password: str) -> None:
    done = cli("ping", "--uri", f"mongodb://ada:{password}@127.0.0.1/shop?appName=a@b", "--debug", "-v")
    assert done.code == ExitCode.USAGE
    *_, error, hint = done.stderr.splitlines()
    assert error.startswith("error: the connection string is not valid: ")
    assert "percent-encode" in hint
    for part in re.findall(r"\w+", password):
        assert part not in done.stderr


def test_an_at_among_the_options_is_fine(cli: Runner, server_uri: str) -> None:
    assert cli("ping", "--uri", f"{server_uri}&appName=ada@example.com/x", "-q").code == 0


def test_an_unknown_option_is_a_warning_with_the_near_ones(cli: Runner, server_uri: str) -> None:
    done = cli("ping", "--uri", f"{server_uri}&maxPoolSze=5", "-o", "json")
    assert done.code == 0
    assert done.json()["ok"] is True
    (line,) = done.stderr.splitlines()
    assert line.startswith("warning: connection string: the unknown option maxPoolSze is ignored".lower())
    assert "did you mean maxpoolsize" in line


def test_a_deprecated_option_and_one_that_stands_twice_are_warnings(cli: Runner, server_uri: str) -> None:
    done = cli("ping", "--uri", f"{server_uri}&ssl=false&maxPoolSize=5&maxPoolSize=6", "-o", "json")
    assert done.code == 0
    assert all(line.startswith("warning: connection string: ") for line in done.stderr.splitlines())
    assert "Duplicate URI option 'maxPoolSize'" in done.stderr


def test_a_database_name_that_no_server_takes(cli: Runner) -> None:
    done = cli("ping", "--db", "a$b")
    assert done.code == ExitCode.USAGE
    assert done.stderr == "error: database names cannot contain the character '$'\n"


# --- users -------------------------------------------------------------------------------------------


def test_no_credentials(cli: Runner, guarded: Server) -> None:
    for command in (("ping", "--until", "auth"), ("users", "count")):
        done = cli(*command, "--uri", guarded.uri)
        assert done.code == ExitCode.UNAUTHORIZED
        error, hint = lines(done)
        assert error == "the server requires authentication"
        assert "USER:" in hint


def test_a_server_that_wants_users_is_reachable_without(cli: Runner, guarded: Server) -> None:
    done = cli("ping", "--uri", guarded.uri, "-o", "json")
    assert (done.code, done.json()["user"]) == (0, None)


@pytest.mark.parametrize("extra", [(), ("--wait", "20")])
def test_a_wrong_password_is_not_waited_for(cli: Runner, guarded: Server, extra: tuple[str, ...]) -> None:
    begun = time.monotonic()
    done = cli("ping", "--uri", as_user(guarded, "admin", "wrong-password"), *extra)
    assert time.monotonic() - begun < 10
    assert done.code == ExitCode.UNAUTHORIZED
    error, hint = lines(done)
    assert error == "authentication failed for admin@admin"
    assert "percent-encoded" in hint


def test_a_password_of_special_characters(cli: Runner, guarded: Server) -> None:
    done = cli("ping", "--uri", as_user(guarded, "admin", PASSWORD), "--until", "transactions", "-o", "json")
    assert (done.code, done.stderr) == (0, "")
    assert done.json()["user"] == "admin@admin"


def test_a_user_who_may_only_read(cli: Runner, guarded: Server) -> None:
    reader = as_user(guarded, "reader", READER)
    assert cli("users", "count", "--uri", reader, "--db", "shop").stdout == "0\n"
    fields = ("--name", "Marker Person", "--email", "marker@example.com")
    done = cli("users", "create", *fields, "--uri", reader, "--db", "shop")
    assert done.code == ExitCode.UNAUTHORIZED
    error, hint = lines(done)
    assert error == "not authorised: needs `insert` on shop.users"
    assert "role" in hint
    elsewhere = cli(
        "users", "list", "--filter", '{"name": "Marker"}', "--uri", reader, "--db", "other", "-o", "json"
    )
    assert (elsewhere.code, elsewhere.error()["server_code_name"]) == (4, "Unauthorized")
    assert "Marker" not in done.stderr + elsewhere.stderr


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("password", [PASSWORD, "wrong-" + PASSWORD])
def test_a_password_is_in_no_output_at_any_verbosity(
    cli: Runner, guarded: Server, password: str, log_format: str
) -> None:
    uri = as_user(guarded, "admin", password)
    talkative = ("--debug", "-v", "--slow-ms", "0", "--log-format", log_format, "--uri", uri, *ROUND)
    for command in (("ping",), ("users", "list"), ("config", "show"), ("users", "get", "x")):
        for form in ("table", "json"):
            done = cli(*command, *talkative, "-o", form)
            shown = done.stdout + done.stderr
            assert password not in shown
            assert quote_plus(password) not in shown
    dead = uri.replace(guarded.host, f"127.0.0.1:{free_port()}")
    done = cli("ping", *talkative, "--uri", dead)
    assert done.code == ExitCode.UNREACHABLE
    assert password not in done.stderr
    assert quote_plus(password) not in done.stderr


# --- refusals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            9,
            """Failed to parse: { find: "users", filter: { name: "secret" } }. Unrecognized field 'apiVersion'""",
        ),
        (40415, "BSON field 'count.apiVersion' is an unknown field."),
    ],
)
def test_a_server_before_the_stable_api_is_told_apart_without_what_it_quotes(code: int, said: str) -> None:
    error = driver_errors.translated(pymongo.errors.OperationFailure(said, code, {"errmsg": said}), None, 5)
    assert error.message == "the server does not know the Stable API: it is older than MongoDB 5.0"
    assert error.hint == "add --no-stable-api"


def test_a_duplicate_key_names_the_field(cli: Runner, sync_db: SyncDatabase) -> None:
    sync_db.users.create_index("email", unique=True)
    create = ("users", "create", "--name", "Ada", "--email", "ada@example.com")
    assert cli(*create).code == 0
    done = cli(*create)
    assert done.code == ExitCode.REFUSED
    assert lines(done)[0] == 'duplicate key: email "ada@example.com" is already in users'
    error = cli(*create, "-o", "json").error()
    assert (error["code"], error["field"], error["index"]) == ("duplicate_key", "email", "email_1")
    assert (error["namespace"], error["server_code"]) == (f"{sync_db.name}.users", 11000)


def test_a_validator_names_field_and_rule(cli: Runner, sync_db: SyncDatabase) -> None:
    rule = {"$jsonSchema": {"required": ["bio"], "properties": {"name": {"minLength": 5}}}}
    sync_db.create_collection("users", validator=rule)
    create = ("users", "create", "--name", "Ada", "--email", "ada@example.com")
    done = cli(*create)
    assert done.code == ExitCode.REFUSED
    said = 'refused by the collection\'s validator: name is "Ada", shorter than 5; bio is missing'
    assert lines(done)[0] == said
    error = cli(*create, "-o", "json").error()
    assert [(v["field"], v["rule"]) for v in error["violations"]] == [
        ("name", "minLength"),
        ("bio", "required"),
    ]


SLOW = '[{"$project": {"x": {"$sum": {"$map": {"input": {"$range": [0, 20000]}, "in": {"$pow": ["$$this", 2]}}}}}}]'


def test_a_time_limit_on_the_server(cli: Runner, sync_db: SyncDatabase) -> None:
    sync_db.c.insert_many({} for _ in range(2000))
    done = cli("aggregate", "c", SLOW, "--max-time", "0.05")
    assert done.code == ExitCode.UNREACHABLE
    assert done.stderr.startswith("error: the server gave up after its time limit: ")
    assert "MaxTimeMSExpired 50" in done.stderr


def test_no_value_of_a_query_is_in_the_servers_sentence(cli: Runner, sync_db: SyncDatabase) -> None:
    sync_db.c.insert_one({})
    done = cli("export", "c", "--filter", '{"email": "ada@example.com"}', "--hint", "gone")
    assert done.code != 0
    assert "ada@example.com" not in done.stderr
    counted = cli("users", "list", "--filter", '{"email": "ada@example.com", "$near": 1}')
    assert "ada@example.com" not in counted.stderr


def test_any_other_server_error_keeps_code_and_name(cli: Runner) -> None:
    done = cli("aggregate", "c", '[{"$bogus": 1}]', "-o", "json")
    assert done.code == ExitCode.FAILED
    error = done.error()
    assert error["message"] == (
        "pipeline:1:3: stage 1 ($bogus): Unrecognized pipeline stage name: '$bogus' (code 40324)"
    )
    assert (error["server_code"], error["server_code_name"]) == (40324, "Location40324")
    named = cli("users", "list", "--filter", '{"a": {"$bogus": 1}}', "-o", "json").error()
    assert named["message"] == "unknown operator: $bogus (BadValue 2)"


@pytest.mark.parametrize(
    ("code", "exit_code", "said"),
    [
        (26, ExitCode.NOT_FOUND, "NamespaceNotFound 26"),
        (8000, ExitCode.UNAUTHORIZED, "authentication failed"),
    ],
)
def test_a_servers_code_decides_the_exit_code(
    cli: Runner, failures: Failures, code: int, exit_code: ExitCode, said: str
) -> None:
    with failures.of("find", errorCode=code):
        done = cli("users", "list", "--uri", failures.uri)
    assert done.code == exit_code
    assert said in done.stderr


def test_a_write_concern_that_was_not_met(cli: Runner, failures: Failures, sync_db: SyncDatabase) -> None:
    concern = {"code": 64, "codeName": "WriteConcernFailed", "errmsg": "waiting for replication timed out"}
    with failures.of("insert", writeConcernError=concern):
        done = cli("users", "create", "--name", "Ada", "--email", "a@example.com", "--uri", failures.uri)
    assert done.code == ExitCode.FAILED
    error, hint = lines(done)
    assert error == "the write concern was not met: waiting for replication timed out"
    assert "the write was made" in hint
    assert sync_db.users.count_documents({}) == 1


def test_a_value_that_bson_cannot_hold_is_refused(cli: Runner) -> None:
    for value in ('{"$numberLong": "99999999999999999999"}', '"\\ud800"', '{"a\\u0000b": 1}'):
        done = cli("users", "list", "--filter", f'{{"v": {value}}}')
        assert done.code in (ExitCode.REFUSED, ExitCode.USAGE), value
        assert "unexpected" not in done.stderr


# --- lost connections --------------------------------------------------------------------------------

LOST: list[dict[str, Any]] = [{"closeConnection": True}, {"errorCode": 91}, {"errorCode": 11600}]


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("how", LOST)
def test_a_read_is_tried_again_and_says_so(cli: Runner, failures: Failures, how: dict[str, Any]) -> None:
    # The driver itself tries a read twice: two attempts of ours are four commands.
    with failures.of("aggregate", times=3, **how):
        done = cli("users", "count", "--uri", failures.uri, "--retries", "2")
    assert (done.code, done.stdout) == (0, "0\n")
    (line,) = done.stderr.splitlines()
    assert "trying again in" in line
    assert "(attempt 1 of 2)" in line


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("how", LOST)
def test_a_read_that_never_works_is_exit_3(cli: Runner, failures: Failures, how: dict[str, Any]) -> None:
    with failures.of("aggregate", **how):
        done = cli("users", "count", "--uri", failures.uri, "--retries", "2")
    assert done.code == ExitCode.UNREACHABLE
    retried, error, hint = done.stderr.splitlines()
    assert "(attempt 1 of 2)" in retried
    if "closeConnection" in how:
        assert error == "error: the connection was lost: it closed the connection"
    else:
        assert error.startswith("error: the server is not primary, or no longer: ")
        assert "--wait" in hint


@pytest.mark.usefixtures("no_pauses")
def test_a_write_that_may_be_repeated_is(cli: Runner, failures: Failures, sync_db: SyncDatabase) -> None:
    with failures.of("insert", times=3, closeConnection=True):
        create = ("users", "create", "--name", "Ada", "--email", "ada@example.com")
        done = cli(*create, "--uri", failures.uri, "--retries", "2")
    assert done.code == 0
    assert "(attempt 1 of 2)" in done.stderr
    assert sync_db.users.count_documents({}) == 1


@pytest.mark.usefixtures("no_pauses")
def test_a_write_that_may_not_be_repeated_is_not(
    cli: Runner, failures: Failures, sync_db: SyncDatabase
) -> None:
    sync_db.users.insert_many({"n": n} for n in range(3))
    # delete by filter is no retryable write of the driver's: the server sees it exactly once.
    with failures.of("delete", closeConnection=True) as count:
        done = cli("users", "delete", "--filter", "{}", "-y", "--uri", failures.uri, "--retries", "5")
        assert count() == 1
    assert done.code == ExitCode.UNREACHABLE
    error, hint = lines(done)
    assert error == "the connection was lost: it closed the connection"
    assert "look before you repeat it" in hint
    assert sync_db.users.count_documents({}) == 3


def test_an_answer_that_does_not_come_in_time(cli: Runner, failures: Failures) -> None:
    with failures.of("aggregate", blockConnection=True, blockTimeMS=500):
        slow = f"{failures.uri}&socketTimeoutMS=100&retryReads=false"
        done = cli("users", "count", "--uri", slow, "--retries", "1")
    assert done.code == ExitCode.UNREACHABLE
    assert lines(done)[0] == "the connection was lost: no answer in time"


# --- the client itself -------------------------------------------------------------------------------


def chosen(uri: str, *, profile: str = "", **flags: Any) -> settings.Settings:
    """Return the settings of a run with this URI, these flags and a profile of this text."""
    if profile:
        path = config_file.default_path(os.environ)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(profile)
        flags["profile"] = "p"
    return settings.load({"uri": uri, **flags}, os.environ)


async def options_of(found: settings.Settings) -> Any:
    async with client.connect(found, Diagnostics(io.StringIO())) as db:
        return db.client.options


POOL = "maxPoolSize=7&minPoolSize=2&maxIdleTimeMS=9000&connectTimeoutMS=1500&socketTimeoutMS=2500&waitQueueTimeoutMS=300"


async def test_pool_options_of_the_uri_reach_the_client(server_uri: str) -> None:
    pool = (await options_of(chosen(f"{server_uri}&{POOL}"))).pool_options
    assert (pool.max_pool_size, pool.min_pool_size, pool.max_idle_time_seconds) == (7, 2, 9.0)
    assert (pool.connect_timeout, pool.socket_timeout, pool.wait_queue_timeout) == (1.5, 2.5, 0.3)


PROFILE = """
[profiles.p.options]
maxPoolSize = 11
socketTimeoutMS = 4000
serverSelectionTimeoutMS = 1234
appName = "nightly"
readPreference = "secondaryPreferred"
w = "majority"
readConcernLevel = "majority"
retryWrites = false
"""


async def test_options_of_the_profile_reach_the_client(server_uri: str) -> None:
    options = await options_of(chosen(server_uri, profile=PROFILE))
    assert (options.pool_options.max_pool_size, options.pool_options.socket_timeout) == (11, 4.0)
    assert options.server_selection_timeout == 1.234
    assert options.pool_options.metadata["application"]["name"] == "nightly"
    assert options.read_preference.mongos_mode == "secondaryPreferred"
    assert (options.write_concern.document, options.read_concern.level) == ({"w": "majority"}, "majority")
    assert options.retry_writes is False


async def test_the_uri_wins_over_the_profile_whatever_the_case(server_uri: str) -> None:
    uri = f"{server_uri}&maxpoolsize=5&appname=here&readpreference=nearest"
    options = await options_of(chosen(uri, profile=PROFILE))
    assert options.pool_options.max_pool_size == 5
    assert options.pool_options.metadata["application"]["name"] == "here"
    assert options.read_preference.mongos_mode == "nearest"
    assert options.pool_options.socket_timeout == 4.0


@pytest.mark.parametrize(
    ("uri_option", "flags", "seconds"),
    [
        ("", {}, 5.0),
        ("", {"timeout": "0.25"}, 0.25),
        ("&serverSelectionTimeoutMS=7000", {}, 7.0),
        ("&serverSelectionTimeoutMS=7000", {"timeout": "0.25"}, 0.25),
    ],
)
async def test_timeout_is_the_time_to_find_a_server(
    server_uri: str, uri_option: str, flags: dict[str, str], seconds: float
) -> None:
    options = await options_of(chosen(server_uri + uri_option, **flags))
    assert options.server_selection_timeout == seconds


def test_a_wrong_option_in_the_profile_is_exit_2(cli: Runner, server_uri: str) -> None:
    chosen(server_uri, profile='[profiles.p.options]\nmaxPoolSize = "many"\n')
    done = cli("ping", "-p", "p")
    assert done.code == ExitCode.USAGE
    assert "maxPoolSize" in done.stderr


async def test_dates_know_that_they_are_utc(server_uri: str, sync_db: SyncDatabase) -> None:
    moment = datetime(2024, 3, 1, 12, tzinfo=UTC)
    sync_db.c.insert_one({"at": moment})
    async with client.connect(chosen(server_uri, db=sync_db.name), Diagnostics(io.StringIO())) as db:
        found = await db.c.find_one()
    assert found is not None
    assert found["at"] == moment
    assert found["at"].utcoffset() is not None


@pytest.mark.parametrize(
    ("flag", "version"), [((), "1"), (("--no-stable-api",), None), (("--stable-api",), "1")]
)
def test_the_server_hears_the_stable_api_and_the_programs_name(
    cli: Runner, sync_db: SyncDatabase, flag: tuple[str, ...], version: str | None
) -> None:
    sync_db.command("profile", 2)
    try:
        assert cli("users", "count", *flag).code == 0
    finally:
        sync_db.command("profile", 0)
    seen = sync_db["system.profile"].find_one({"command.aggregate": "users", "appName": "motorctl"})
    assert seen is not None
    assert seen["command"].get("apiVersion") == version
    assert seen["command"].get("apiStrict") == (None if version is None else False)


def test_a_transaction_on_a_standalone(standalone: Server) -> None:
    import asyncio

    async def insert() -> None:
        async with (
            client.connect(chosen(standalone.uri), Diagnostics(io.StringIO())) as db,
            await driver.start_session(db.client) as session,
        ):
            await driver.start_transaction(session)
            await db.c.insert_one({}, session=session)

    with pytest.raises(MotorctlError) as caught:
        asyncio.run(insert())
    assert caught.value.message == "this server has no transactions: it is a standalone"
    assert "--replSet" in (caught.value.hint or "")


@pytest.mark.parametrize("document", [{"x": "a" * 17_000_000}, {"x": object()}, {"x": 2**70}])
async def test_a_document_that_no_server_takes(
    server_uri: str, dbname: str, document: dict[str, Any]
) -> None:
    with pytest.raises(RefusedError, match=r"larger than the server takes|can't be encoded"):
        async with client.connect(chosen(server_uri, db=dbname), Diagnostics(io.StringIO())) as db:
            await db.c.insert_one(document)


# --- slow commands -----------------------------------------------------------------------------------

MARKER = "m4rk3r"


def test_a_slow_command_is_told_by_name_namespace_and_time(cli: Runner, dbname: str) -> None:
    done = cli("users", "list", "--filter", f'{{"name": "{MARKER}"}}', "--slow-ms", "0")
    assert done.code == 0
    (line,) = [line for line in done.stderr.splitlines() if "find" in line]
    words = line.split()
    assert words[:4] == ["slow:", "find", f"{dbname}.users", "took"]
    assert words[4].isdigit()
    assert words[5:] == ["ms"]
    assert MARKER not in done.stderr


def test_a_slow_command_in_json_never_holds_a_value(cli: Runner, dbname: str) -> None:
    fields = ("--name", MARKER, "--email", f"{MARKER}@example.com")
    done = cli("users", "upsert", *fields, "--slow-ms", "0", "--log-format", "json", "-o", "json")
    assert done.code == 0
    assert MARKER not in done.stderr
    records = [json.loads(line) for line in done.stderr.splitlines()]
    (found,) = [record for record in records if record.get("command") == "findAndModify"]
    assert (found["level"], found["namespace"]) == ("slow", f"{dbname}.users")
    assert isinstance(found["ms"], float)


def test_only_commands_over_the_threshold_are_told(cli: Runner, failures: Failures) -> None:
    assert cli("users", "count", "--slow-ms", "60000").stderr == ""
    with failures.of("aggregate", times=1, blockConnection=True, blockTimeMS=150):
        done = cli("users", "count", "--uri", failures.uri, "-v")
    (line,) = done.stderr.splitlines()
    assert line.startswith("slow: aggregate ")


def test_a_slow_command_that_fails_is_told_too(cli: Runner) -> None:
    done = cli("users", "list", "--filter", f'{{"a": {{"${MARKER}": 1}}}}', "--slow-ms", "0")
    assert done.code == ExitCode.FAILED
    assert any(line.startswith("slow: find ") for line in done.stderr.splitlines())


BY_MAJORITY = [
    ("accounts", "open", "--id", "alice", "--currency", "EUR"),
    ("accounts", "freeze", "bob"),
    ("inventory", "add", "pot", "--stock", "1"),
    ("inventory", "set", "tea", "--add", "2"),
    ("inventory", "set", "tea", "--stock", "9"),
    ("import", "FILE", "--into", "things", "--resume"),
]


@pytest.mark.parametrize("line", BY_MAJORITY, ids=" ".join)
def test_what_is_promised_by_majority_is_so_whatever_the_uri_says(
    cli: Runner, sync_db: SyncDatabase, server_uri: str, tmp_path: Path, line: tuple[str, ...]
) -> None:
    sync_db.accounts.insert_one({"_id": "bob", "balance": 0, "status": "open"})
    sync_db.inventory.insert_one({"_id": "tea", "name": "Tea", "price": 1, "stock": 1})
    (tmp_path / "t.ndjson").write_text('{"a": 1}\n')
    words = [str(tmp_path / "t.ndjson") if word == "FILE" else word for word in line]
    sync_db.command("profile", 2)
    try:
        assert cli(*words, "--uri", f"{server_uri}&w=1").code == 0
    finally:
        sync_db.command("profile", 0)
    of = "motorctl_imports" if line[0] == "import" else line[0]
    seen = sync_db.system.profile.find({"ns": f"{sync_db.name}.{of}", "appName": "motorctl"})
    sent = [one["command"] for one in seen if {"insert", "update", "findAndModify"} & one["command"].keys()]
    assert {command["writeConcern"]["w"] for command in sent} == {"majority"}
