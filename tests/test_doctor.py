"""`motorctl doctor`: each way in which the road to a server ends, on real servers, and what is said then.

What ends the road must end `ping`, too, with the same exit code; and the password of each URI here is looked for in
all that was printed.
"""

from __future__ import annotations

import csv
import io
import json
import socket
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pymongo
import pytest
from conftest import Server, _listening, free_port, until
from nameserver import nameserver
from pretending import listening, passing, pretender
from replica_set import replica_set
from secured import (
    PASSPHRASE,
    PASSWORD,
    Certificates,
    Tls,
    User,
    as_user,
    encrypted,
    guarded,
    tls_front,
    tls_options,
)

from motorctl.road.step import ORDER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Result, Runner

ROAD = ["uri", "dns", "tcp", "handshake", "auth", "topology", "primary", "transactions", "clock", "pool"]
"""The steps of a road without SRV, TLS and compression."""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Server]:
    """Users and TLS; `reader` may read one database, `nobody` nothing, `old` has SCRAM-SHA-1 alone."""
    users = (
        User("reader", ("read",), database="shop"),
        User("nobody"),
        User("old", ("root",), mechanisms=("SCRAM-SHA-1",)),
        User(
            certificates.subject, [{"role": "readWrite", "db": "shop"}], password=None, database="$external"
        ),
    )
    extra = ("--setParameter", "authenticationMechanisms=SCRAM-SHA-1,SCRAM-SHA-256,MONGODB-X509")
    with guarded(tmp_path_factory.mktemp("secure"), *users, tls=Tls(certificates), extra=extra) as server:
        yield server


@pytest.fixture(scope="module")
def mutual(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Server]:
    with encrypted(tmp_path_factory.mktemp("mutual") / "home", Tls(certificates, mutual=True)) as server:
        yield server


@pytest.fixture(scope="module")
def standalone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """In no set, and it compresses nothing."""
    home = tmp_path_factory.mktemp("standalone") / "home"
    server = Server(home, "--networkMessageCompressors", "disabled", replica_set=False)
    try:
        until(lambda: _listening(server.port), "mongod listens")
        yield server
    finally:
        server.kill()


@pytest.fixture
def host(server_uri: str) -> str:
    return server_uri.partition("://")[2].partition("/")[0]


def steps(done: Result) -> dict[str, dict[str, Any]]:
    """The first step of each name, of a run with `-o json`."""
    found: dict[str, dict[str, Any]] = {}
    for step in done.json()["steps"]:
        found.setdefault(step["step"], step)
    return found


def statuses(done: Result) -> dict[str, str]:
    return {name: step["status"] for name, step in steps(done).items()}


# The open road


def test_an_open_road(cli: Runner, host: str) -> None:
    done = cli("doctor", "-o", "json")
    assert (done.code, done.stderr) == (0, "")
    said = done.json()
    assert list(said) == [*("ok", "exit", "ended_at", "source", "checked_at", "seconds", "versions", "steps")]
    assert (said["ok"], said["exit"], said["ended_at"]) == (True, 0, None)
    assert said["source"] == "environment MOTORCTL_URI"
    assert [step["step"] for step in said["steps"]] == list(ORDER)
    found = steps(done)
    assert {name: found[name]["status"] for name in ROAD} == dict.fromkeys(ROAD, "ok")
    assert {n for n, s in found.items() if s["status"] == "skipped"} == set(ORDER) - set(ROAD)
    for name in ROAD:
        assert found[name]["ms"] >= 0
        assert found[name]["message"]
    assert (found["tcp"]["host"], found["topology"]["host"]) == (host, None)
    assert found["topology"]["message"] == f"replica set rs0, one member: {host} PRIMARY"
    assert found["primary"]["primary"] == host
    assert abs(found["clock"]["skew_seconds"]) < 0.5
    assert found["pool"]["max_pool_size"] == 100
    assert found["pool"]["server_available"] > 100


def test_the_table_fits_a_terminal_and_tells_no_steps_that_do_not_exist(cli: Runner) -> None:
    done = cli("doctor", tty=True, columns=80)
    assert done.code == 0
    plain = cli("doctor")
    for shown in (done, plain):
        rows = shown.stdout.splitlines()
        assert "srv" not in shown.stdout
        assert [row.split()[0] for row in rows if row[0] not in " \x1b"][-1] == "pool"
    assert max(map(len, done.stdout.replace("\x1b[1m", "").replace("\x1b[2m", "").splitlines())) <= 84
    assert "\x1b" not in plain.stdout + plain.stderr
    assert "hint" not in plain.stdout
    assert plain.stdout.splitlines()[0].split() == ["step", "status", "ms", "found"]


def test_the_other_formats_have_a_row_a_step(cli: Runner) -> None:
    ndjson = [json.loads(line) for line in cli("doctor", "-o", "ndjson").stdout.splitlines()]
    assert [row["step"] for row in ndjson] == list(ORDER)
    rows = list(csv.DictReader(io.StringIO(cli("doctor", "-o", "csv").stdout)))
    assert list(rows[0]) == ["step", "host", "status", "ms", "message", "hint"]
    assert [row["step"] for row in rows] == list(ORDER)
    markdown = cli("doctor", "-o", "markdown").stdout.splitlines()
    assert len(markdown) == len(ORDER) + 2


def test_it_writes_nothing(cli: Runner, sync_db: Any) -> None:
    assert cli("doctor").code == 0
    assert sync_db.list_collection_names() == []


def test_compression_that_is_agreed_to(cli: Runner, server_uri: str) -> None:
    done = cli("doctor", "-o", "json", "--uri", f"{server_uri}&compressors=zlib")
    found = steps(done)["compression"]
    assert (found["status"], found["agreed"], found["message"]) == ("ok", ["zlib"], "zlib, of zlib")


def test_compression_that_the_server_does_not_have(cli: Runner, standalone: Server) -> None:
    done = cli("doctor", "-o", "json", "--uri", f"mongodb://{standalone.host}/?compressors=zlib")
    found = steps(done)["compression"]
    assert (done.code, found["status"], found["agreed"]) == (0, "warning", [])
    assert "net.compression.compressors" in found["hint"]


def test_a_standalone_has_no_transactions_and_the_rest_goes_on(cli: Runner, standalone: Server) -> None:
    done = cli("doctor", "-o", "json", "--uri", f"mongodb://{standalone.host}")
    found = steps(done)
    assert done.code == 0
    assert found["topology"]["message"] == "a standalone"
    assert (found["primary"]["status"], found["transactions"]["status"]) == ("ok", "warning")
    assert "need a replica set" in found["transactions"]["hint"]


def test_tls_says_version_cipher_issuer_names_and_days(
    cli: Runner, secure: Server, certificates: Certificates
) -> None:
    uri = as_user(secure, "root") + tls_options(certificates)
    found = steps(cli("doctor", "-o", "json", "--uri", uri))
    tls = found["tls"]
    assert tls["status"] == "ok"
    assert tls["version"] in ("TLSv1.2", "TLSv1.3")
    assert tls["cipher"].startswith(("TLS_", "ECDHE"))
    assert tls["issuer"] == "authority"
    assert {"localhost", "127.0.0.1"} <= set(tls["names"])
    assert tls["expires_days"] in (358, 359, 360)
    assert "expires in 35" in tls["message"] or "expires in 360" in tls["message"]
    assert found["auth"]["message"] == "root@admin by SCRAM-SHA-256, roles: root@admin"


def test_a_user_by_certificate(cli: Runner, secure: Server, certificates: Certificates) -> None:
    uri = f"mongodb://{secure.host}/?replicaSet=rs0&authMechanism=MONGODB-X509" + tls_options(
        certificates, certificates.client
    )
    found = steps(cli("doctor", "-o", "json", "--uri", uri))
    assert found["auth"]["mechanism"] == "MONGODB-X509"
    assert found["auth"]["roles"] == ["readWrite@shop"]


def test_a_user_who_may_little_is_no_failure(cli: Runner, secure: Server, certificates: Certificates) -> None:
    """What needs clusterMonitor is left out, and what the user lacks is said."""
    reader = as_user(secure, "reader", source="shop") + tls_options(certificates)
    done = cli("doctor", "-o", "json", "--uri", reader, "--db", "shop")
    found = steps(done)
    assert done.code == 0
    assert found["topology"]["message"].endswith(f"{secure.host} PRIMARY")
    assert found["transactions"]["status"] == "ok"
    assert found["pool"]["message"].endswith("the role clusterMonitor may see")
    done = cli("doctor", "-o", "json", "--uri", as_user(secure, "nobody") + tls_options(certificates))
    found = steps(done)
    assert (done.code, found["auth"]["status"]) == (0, "warning")
    assert "grant a role" in found["auth"]["hint"]
    assert found["transactions"]["status"] == "skipped"
    assert "could not be tried" in found["transactions"]["message"]


def test_several_hosts_of_which_one_is_down(cli: Runner, host: str) -> None:
    dead = f"127.0.0.1:{free_port()}"
    done = cli("doctor", "-o", "json", "--uri", f"mongodb://{dead},{host}/?replicaSet=rs0")
    said = done.json()
    assert (done.code, said["ok"]) == (0, True)
    tcp = {step["host"]: step for step in said["steps"] if step["step"] == "tcp"}
    assert (tcp[dead]["status"], tcp[host]["status"]) == ("warning", "ok")
    assert "connection refused" in tcp[dead]["message"]
    found = steps(done)["topology"]
    assert found["status"] == "warning"
    assert f"the set doesn't know {dead} by that name" in found["message"]
    assert dead in cli("doctor", "--uri", f"mongodb://{dead},{host}/?replicaSet=rs0").stdout


def test_over_ipv6(cli: Runner, host: str) -> None:
    with listening(passing(host), "::1") as there:
        done = cli("doctor", "-o", "json", "--uri", f"mongodb://{there}/?directConnection=true")
        assert done.code == 0
        found = steps(done)
        assert found["tcp"]["host"] == there
        assert found["tcp"]["message"] == "::1 answers"
        assert found["dns"]["message"] == "an address, nothing to look up"


def test_a_unix_socket(cli: Runner, host: str, tmp_path: Path) -> None:
    with listening(passing(host), str(tmp_path / "mongodb.sock")) as path:
        uri = f"mongodb://{quote(path, safe='')}/?directConnection=true"
        done = cli("doctor", "-o", "json", "--uri", uri)
    assert done.code == 0
    assert steps(done)["tcp"]["host"] == path
    assert statuses(done)["dns"] == "skipped"


# Where the road ends: what stands in the report, and the exit code, which is ping's


def _silent(link: socket.socket) -> None:
    while link.recv(4096):
        pass


def _web(link: socket.socket) -> None:
    link.recv(4096)
    link.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def _hangs_up(link: socket.socket) -> None:
    link.recv(1)


class Place:
    """What the cases below name: servers that are there, and those that they start."""

    def __init__(self, request: pytest.FixtureRequest, stack: ExitStack) -> None:
        self._request = request
        self._stack = stack

    @property
    def certificates(self) -> Certificates:
        found: Certificates = self._request.getfixturevalue("certificates")
        return found

    def server(self, name: str) -> Server:
        found: Server = self._request.getfixturevalue(name)
        return found

    @property
    def host(self) -> str:
        found: str = self._request.getfixturevalue("host")
        return found

    def listens(self, serve: Callable[[socket.socket], None]) -> str:
        return self._stack.enter_context(listening(serve))

    def front(self, pem: Path) -> str:
        return self._stack.enter_context(tls_front(self.host, pem))

    def tls(self, **instead: Path) -> str:
        files = {"tlsCAFile": self.certificates.ca, **instead}
        return "tls=true" + "".join(f"&{key}={quote(str(path), safe='')}" for key, path in files.items())


Case = tuple["Callable[[Place], str]", int, str, str, str]
"""The URI; the exit code; the step; what its message says, and what its hint says."""

CASES: dict[str, Case] = {
    "a password that is not escaped": (
        lambda at: f"mongodb://u:{PASSWORD}@x@{at.host}/", 2, "uri", "must be escaped", "%40",
    ),
    "an option's value that is none": (
        lambda at: f"mongodb://u:{PASSWORD}@{at.host}/?w=1&tls=perhaps", 2, "uri", "tls", "",
    ),
    "a CA file that is not there": (
        lambda at: f"mongodb://{at.host}/?tls=true&tlsCAFile=/nowhere/ca.pem", 2, "uri", "/nowhere/ca.pem", "PEM",
    ),
    "a name that does not resolve": (
        lambda _: f"mongodb://u:{PASSWORD}@db.invalid:27017/", 3, "dns", "db.invalid does not resolve", "/etc/hosts",
    ),
    "a port where nothing listens": (
        lambda _: f"mongodb://u:{PASSWORD}@127.0.0.1:{free_port()}/", 3, "tcp", "connection refused", "mongod running",
    ),
    "a server that does not answer": (
        lambda at: f"mongodb://u:{PASSWORD}@{at.listens(_silent)}/", 3, "handshake", "does not answer", "proxy",
    ),
    "a server that hangs up": (
        lambda at: f"mongodb://u:{PASSWORD}@{at.listens(_hangs_up)}/", 3, "handshake", "closed the connection", "log",
    ),
    "a web server": (
        lambda at: f"mongodb://u:{PASSWORD}@{at.listens(_web)}/", 3, "handshake", "no MongoDB server: it said 'HTTP/1.1", "port",
    ),
    "a silent server with TLS": (
        lambda at: f"mongodb://{at.listens(_silent)}/?{at.tls()}", 3, "tls", "no answer to the TLS handshake", "TLS server",
    ),
    "TLS to a server without": (
        lambda at: f"mongodb://u:{PASSWORD}@{at.host}/?{at.tls()}", 3, "tls", "speaks no TLS", "take tls=true out",
    ),
    "no TLS to a server with": (
        lambda at: as_user(at.server("secure"), "root"), 3, "tls", "speaks TLS, and the connection string doesn't", "add tls=true",
    ),
    "an authority that is not trusted": (
        lambda at: f"{as_user(at.server('secure'), 'root')}&{at.tls(tlsCAFile=at.certificates.other_ca)}",
        3, "tls", "issuer (authority) is not trusted", "tlsCAFile=",
    ),
    "no authority named": (
        lambda at: f"{as_user(at.server('secure'), 'root')}&tls=true", 3, "tls", "is not trusted here", "tlsCAFile=",
    ),
    "a certificate for another host": (
        lambda at: f"mongodb://{at.front(at.certificates.wrong_host)}/?{at.tls()}", 3, "tls", "it is for db.example.com, not for 127.0.0.1", "in the URI",
    ),
    "a certificate that has expired": (
        lambda at: f"mongodb://{at.front(at.certificates.expired)}/?{at.tls()}", 3, "tls", "it expired on 20", "renew it",
    ),
    "no client certificate": (
        lambda at: f"mongodb://{at.server('mutual').host}/?{at.tls()}", 3, "tls", "client certificate", "tlsCertificateKeyFile",
    ),
    "a client certificate of another authority": (
        lambda at: f"mongodb://{at.server('mutual').host}/?{at.tls(tlsCertificateKeyFile=at.certificates.foreign_client)}",
        3, "tls", "client certificate", "tlsCertificateKeyFile",
    ),
    "no user": (
        lambda at: f"mongodb://{at.server('secure').host}/?{at.tls()}", 4, "auth", "requires authentication", "USER:PASSWORD@",
    ),
    "a wrong password": (
        lambda at: f"{as_user(at.server('secure'), 'root', 'canary-wrong')}&{at.tls()}", 4, "auth", "authentication failed", "it is the password",
    ),
    "a user of another database": (
        lambda at: f"{as_user(at.server('secure'), 'root', source='shop')}&{at.tls()}", 4, "auth", "authentication failed", "no user root in the database shop",
    ),
    "a mechanism that the user has not": (
        lambda at: f"{as_user(at.server('secure'), 'old')}&authMechanism=SCRAM-SHA-256&{at.tls()}", 4, "auth", "authentication failed", "the user has SCRAM-SHA-1:",
    ),
    "another set's name": (
        lambda at: f"mongodb://{at.host}/?replicaSet=other", 3, "topology", "none of the hosts is a member of the replica set other", "write replicaSet=rs0",
    ),
    "a set's name to a standalone": (
        lambda at: f"mongodb://{at.server('standalone').host}/?replicaSet=rs0", 3, "topology", "is in none", "leave replicaSet= out",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_where_the_road_ends(cli: Runner, request: pytest.FixtureRequest, name: str) -> None:
    make, code, step, message, hint = CASES[name]
    with ExitStack() as stack:
        uri = make(Place(request, stack))
        begun = time.monotonic()
        done = cli("doctor", "-o", "json", "--uri", uri, "--timeout", "0.5")
        took = time.monotonic() - begun
        table = cli("doctor", "--uri", uri, "--timeout", "0.5", tty=True)
        ping = cli("ping", "--until", "primary", "--uri", uri, "--timeout", "0.5", "--retries", "1")
    said = done.json()
    (failed,) = [s for s in said["steps"] if s["status"] == "failed"]
    assert (done.code, said["exit"], said["ok"]) == (code, code, False)
    assert (said["ended_at"], failed["step"], failed["exit"]) == (step, step, code)
    assert message in failed["message"]
    assert hint in (failed["hint"] or "")
    assert took < 10
    assert list(dict.fromkeys(s["step"] for s in said["steps"])) == list(ORDER)
    error = done.error()
    assert (error["exit"], error["step"]) == (code, step)
    assert error["message"].startswith(f"the road ends at {step}")
    assert (table.code, ping.code) == (code, code), ping.stderr
    assert "failed" in table.stdout
    for printed in (done, table):
        assert "secret-of-tests" not in printed.stdout + printed.stderr
        assert "canary" not in printed.stdout + printed.stderr
        assert "Traceback" not in printed.stderr


def test_a_set_that_was_not_initiated_and_one_without_a_primary(cli: Runner, tmp_path: Path) -> None:
    server = Server(tmp_path / "home")
    where = ("doctor", "-o", "json", "--uri", server.uri, "--timeout", "0.5")
    try:
        until(lambda: _listening(server.port), "mongod listens")
        done = cli(*where)
        assert (done.code, done.json()["ended_at"]) == (3, "topology")
        assert "rs.initiate()" in steps(done)["topology"]["hint"]
        server.initiate()
        direct = f"mongodb://{server.host}/?directConnection=true"
        with pymongo.MongoClient[dict[str, Any]](direct) as client:
            client.admin.command("replSetStepDown", 60, force=True)
        done = cli(*where)
    finally:
        server.kill()
    assert (done.code, done.json()["ended_at"]) == (3, "primary")
    found = steps(done)
    assert "no primary found within 0.5 s" in found["primary"]["message"]
    assert (found["auth"]["status"], found["clock"]["status"]) == ("ok", "ok")
    assert found["transactions"]["message"] == "there is no primary"


def test_members_by_names_that_lead_nowhere(
    cli: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A set in containers: the host in the URI answers, and the set calls it by a name of its own."""
    server = Server(tmp_path / "home")
    server.host = f"localhost:{server.port}"
    system = socket.getaddrinfo

    def look_up(host: Any, *rest: Any, **more: Any) -> Any:
        if host == "localhost":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return system(host, *rest, **more)

    try:
        server.initiate()
        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        here = f"127.0.0.1:{server.port}"
        through_the_set = cli("doctor", "-o", "json", "--uri", f"mongodb://{here}/?replicaSet=rs0")
        direct = cli("doctor", "-o", "json", "--uri", f"mongodb://{here}/?directConnection=true")
    finally:
        server.kill()
    assert (through_the_set.code, through_the_set.json()["ended_at"]) == (3, "topology")
    found = steps(through_the_set)["topology"]
    assert "by names that lead nowhere from here: localhost" in found["message"]
    assert "directConnection=true" in found["hint"]
    looked_up = [s for s in through_the_set.json()["steps"] if s["step"] == "dns"]
    assert [s["status"] for s in looked_up] == ["ok", "warning"]
    assert (direct.code, statuses(direct)["primary"]) == (0, "ok")


def test_three_members_of_which_one_is_down(cli: Runner, tmp_path: Path) -> None:
    with replica_set(tmp_path) as members:
        primary, secondaries = members.primary(), members.secondaries()
        assert primary is not None
        one = f"mongodb://{primary.host}/?replicaSet=rs0"
        found = steps(cli("doctor", "-o", "json", "--uri", one))
        assert found["topology"]["status"] == "ok"
        assert sorted(m["state"].partition(",")[0] for m in found["topology"]["members"]) == [
            "PRIMARY",
            "SECONDARY",
            "SECONDARY",
        ]
        done = cli("doctor", "-o", "json", "--uri", f"mongodb://{secondaries[0].host}/?directConnection=true")
        assert (done.code, done.json()["ended_at"]) == (3, "primary")
        assert f"the primary is {primary.host}" in steps(done)["primary"]["message"]

        secondaries[0].kill()
        done = cli("doctor", "-o", "json", "--uri", one)
        found = steps(done)
        assert (done.code, found["topology"]["status"]) == (0, "warning")
        assert f"not reached from here: {secondaries[0].host}" in found["topology"]["message"]
        assert found["transactions"]["status"] == "ok"


# Servers that can't be had here


def _balanced(name: str, command: dict[str, Any]) -> dict[str, Any]:
    """A router behind a load balancer."""
    from bson import ObjectId

    hello = {
        "isWritablePrimary": True,
        "msg": "isdbgrid",
        "minWireVersion": 0,
        "maxWireVersion": 17,
        "maxBsonObjectSize": 16_777_216,
        "maxMessageSizeBytes": 48_000_000,
        "maxWriteBatchSize": 100_000,
        "logicalSessionTimeoutMinutes": 30,
    }
    if command.get("loadBalanced"):
        hello["serviceId"] = ObjectId("64b7f0c2a1b2c3d4e5f60718")
    answers: dict[str, dict[str, Any]] = {
        "hello": hello,
        "buildInfo": {"version": "6.0.5", "versionArray": [6, 0, 5, 0]},
        "connectionStatus": {"authInfo": {"authenticatedUsers": [], "authenticatedUserRoles": []}},
        "find": {"cursor": {"id": 0, "ns": "test.x", "firstBatch": []}},
        "serverStatus": {"connections": {"current": 1, "available": 9}},
    }
    return answers.get("hello" if name.lower() == "ismaster" else name, {})


def test_a_load_balancer(cli: Runner) -> None:
    with pretender(_balanced) as host:
        done = cli("doctor", "-o", "json", "--uri", f"mongodb://{host}/?loadBalanced=true&maxPoolSize=10")
        found = steps(done)
        assert done.code == 0, done.stderr
        assert found["topology"]["message"] == "a load balanced cluster"
        assert (found["primary"]["status"], found["transactions"]["status"]) == ("ok", "ok")
        assert found["clock"]["status"] == "skipped"
        assert found["pool"]["status"] == "warning"
        assert found["pool"]["message"].startswith(
            "up to 10 connections to a host; the server has 1 and room for 9 more; that is more than it takes"
        )


def test_a_load_balancer_that_is_none(cli: Runner, standalone: Server) -> None:
    done = cli("doctor", "-o", "json", "--uri", f"mongodb://{standalone.host}/?loadBalanced=true")
    assert (done.code, done.json()["ended_at"]) == (2, "handshake")
    assert "leave loadBalanced=true out" in steps(done)["handshake"]["hint"]


@pytest.mark.parametrize(("versions", "hint"), [((0, 6), "too old"), ((40, 50), "newer than this driver")])
def test_a_server_of_another_age(cli: Runner, versions: tuple[int, int], hint: str) -> None:
    """It knows no hello yet, but isMaster."""
    low, high = versions

    def answer(name: str, _command: dict[str, Any]) -> dict[str, Any]:
        if name == "hello":
            return {"ok": 0, "code": 59, "errmsg": "no such command: 'hello'"}
        return {"ismaster": True, "minWireVersion": low, "maxWireVersion": high, "version": "3.6.23"}

    with pretender(answer) as host:
        done = cli("doctor", "-o", "json", "--uri", f"mongodb://{host}/?directConnection=true")
        plainly = ("--no-stable-api", "--timeout", "0.5", "--retries", "1")
        ping = cli("ping", "--uri", f"mongodb://{host}/?directConnection=true", *plainly)
    found = steps(done)["handshake"]
    assert (done.code, found["status"], ping.code) == (2, "failed", 2)
    assert f"MongoDB 3.6.23 speaks wire versions {low} to {high}, the driver" in found["message"]
    assert hint in found["hint"]


def test_a_server_before_the_stable_api(cli: Runner) -> None:
    """MongoDB 4.4 says hello and then refuses what declares a version of the API."""

    def answer(name: str, command: dict[str, Any]) -> dict[str, Any]:
        if name != "hello" and "apiVersion" in command:
            return {"ok": 0, "code": 40415, "errmsg": f"BSON field '{name}.apiVersion' is an unknown field."}
        return {**_balanced(name, command), "minWireVersion": 0, "maxWireVersion": 9}

    with pretender(answer) as host:
        done = cli("doctor", "-o", "json", "--uri", f"mongodb://{host}/")
        ping = cli("ping", "--uri", f"mongodb://{host}/")
        without = cli("doctor", "-o", "json", "--uri", f"mongodb://{host}/", "--no-stable-api")
    found = steps(done)["handshake"]
    assert (done.code, found["status"], ping.code) == (1, "failed", 1)
    assert found["hint"] == "add --no-stable-api, or set MOTORCTL_STABLE_API=0"
    assert (without.code, statuses(without)["transactions"]) == (0, "ok")


def test_a_clock_that_is_wrong(cli: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    from motorctl.road import handshake

    class Late:
        perf_counter = staticmethod(time.perf_counter)

        @staticmethod
        def time() -> float:
            return time.time() - 3600

    monkeypatch.setattr(handshake, "time", Late)
    done = cli("doctor", "-o", "json")
    found = steps(done)["clock"]
    assert (done.code, found["status"]) == (0, "warning")
    assert found["message"] == "3600.0 s ahead of this machine's"
    assert 3599 < found["skew_seconds"] < 3601
    assert 0 < found["error_seconds"] < 0.5
    assert "NTP" in found["hint"]


def test_a_pool_that_is_larger_than_its_limits(cli: Runner, server_uri: str) -> None:
    done = cli("doctor", "-o", "json", "--uri", f"{server_uri}&maxPoolSize=1000000")
    found = steps(done)["pool"]
    assert (done.code, found["status"]) == (0, "warning")
    assert "more than it takes" in found["message"]
    assert (
        f"this process may open {found['open_files_limit']} files, a full pool takes 1000064"
        in found["message"]
    )


def test_an_address_of_a_host_that_is_dead(cli: Runner, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with an IPv6 address at which nobody listens: each connection tries it first."""
    port = int(host.rpartition(":")[2])
    with nameserver(monkeypatch, {}, {"db.example.com": ["::1", "127.0.0.1"]}):
        uri = f"mongodb://db.example.com:{port}/?directConnection=true"
        done = cli("doctor", "-o", "json", "--uri", uri)
    found = steps(done)
    assert found["dns"]["message"] == "::1, 127.0.0.1"
    assert (done.code, found["tcp"]["status"]) == (0, "warning")
    assert found["tcp"]["message"].startswith("127.0.0.1 answers; ::1: connection refused")


# The connection string, its file and its records


def test_an_option_that_is_not_known(cli: Runner, server_uri: str) -> None:
    done = cli("doctor", "-o", "json", "--uri", f"{server_uri}&retryWrite=true")
    found = steps(done)["uri"]
    assert (done.code, done.stderr, found["status"]) == (0, "", "warning")
    assert "the unknown option retrywrite is ignored; did you mean retrywrites" in found["message"]


@pytest.mark.parametrize(("mode", "status"), [(0o600, "ok"), (0o640, "warning"), (0o644, "warning")])
def test_a_file_that_others_may_read(
    cli: Runner, secure: Server, certificates: Certificates, tmp_path: Path, mode: int, status: str
) -> None:
    path = tmp_path / "uri"
    path.write_text(as_user(secure, "root") + tls_options(certificates))
    path.chmod(mode)
    done = cli("doctor", "-o", "json", "--uri-file", str(path), connected=False)
    found = steps(done)["uri"]
    assert (done.code, done.stderr, found["status"]) == (0, "", status)
    assert (found["hint"] == f"chmod 600 {path}") is (status == "warning")
    assert PASSWORD not in done.stdout + done.stderr


def test_a_uri_file_that_is_not_there(cli: Runner, tmp_path: Path) -> None:
    done = cli("doctor", "-o", "json", "--uri-file", str(tmp_path / "none"), connected=False)
    assert (done.code, done.json()["ended_at"]) == (2, "uri")


def test_the_options_of_a_profile_hold(
    cli: Runner, secure: Server, certificates: Certificates, tmp_path: Path
) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        f'[profiles.p]\nuri = "{as_user(secure, "root")}"\n'
        f'[profiles.p.options]\ntls = true\ntlsCAFile = "{certificates.ca}"\nmaxPoolSize = 7\n'
        f'[profiles.other]\nuri = "mongodb://{secure.host}"\n[profiles.other.options]\nreplicaSet = "other"\n'
        f'tls = true\ntlsCAFile = "{certificates.ca}"\n'
    )
    config.chmod(0o600)
    done = cli("doctor", "-o", "json", "--config", str(config), "-p", "p", connected=False)
    found = steps(done)
    assert (done.code, found["tls"]["status"], found["pool"]["max_pool_size"]) == (0, "ok", 7)
    assert done.json()["source"] == "profile p"
    done = cli("doctor", "-o", "json", "--config", str(config), "-p", "other", connected=False)
    assert (done.code, steps(done)["topology"]["hint"]) == (4, "write replicaSet=rs0")


SRV = ("_mongodb._tcp.shop.example.com", "SRV")
TXT = ("shop.example.com", "TXT")


def test_srv_and_txt(cli: Runner, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    port = host.rpartition(":")[2]
    records = {SRV: [f"0 0 {port} a.shop.example.com."], TXT: ['"replicaSet=rs0"']}
    with nameserver(monkeypatch, records, {"a.shop.example.com": ["127.0.0.1"]}):
        uri = "mongodb+srv://shop.example.com/?tls=false"
        done = cli("doctor", "-o", "json", "--uri", uri)
        with_tls = cli("doctor", "-o", "json", "--uri", "mongodb+srv://shop.example.com/")
    found = steps(done)
    assert done.code == 0, done.stderr
    assert found["srv"]["hosts"] == [f"a.shop.example.com:{port}"]
    assert found["txt"]["message"] == "replicaSet=rs0"
    assert found["dns"]["addresses"] == ["127.0.0.1"]
    assert found["topology"]["status"] == "warning"
    assert "doesn't know a.shop.example.com" in found["topology"]["message"]
    assert (with_tls.code, with_tls.json()["ended_at"]) == (3, "tls")
    assert "tls=false" in steps(with_tls)["tls"]["hint"]


BAD_RECORDS: dict[str, tuple[dict[tuple[str, str], list[str]], int, str, str]] = {
    "no SRV record": ({}, 3, "srv", "there is no SRV record _mongodb._tcp.shop.example.com"),
    "a host elsewhere": ({SRV: ["0 0 27017 a.evil.org."]}, 2, "srv", "not in the domain example.com"),
    "two TXT records": (
        {SRV: ["0 0 27017 a.shop.example.com."], TXT: ['"replicaSet=a"', '"replicaSet=b"']},
        2,
        "txt",
        "has 2 TXT records",
    ),
    "an option that TXT can't set": (
        {SRV: ["0 0 27017 a.shop.example.com."], TXT: ['"tls=false"']},
        2,
        "txt",
        "its TXT record sets tls",
    ),
}


@pytest.mark.parametrize("name", BAD_RECORDS)
def test_records_that_are_wrong(cli: Runner, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    records, code, step, message = BAD_RECORDS[name]
    with nameserver(monkeypatch, records):
        done = cli("doctor", "-o", "json", "--uri", f"mongodb+srv://u:{PASSWORD}@shop.example.com/")
    assert (done.code, done.json()["ended_at"]) == (code, step)
    assert message in steps(done)[step]["message"]
    assert PASSWORD not in done.stdout + done.stderr


def test_dns_that_does_not_answer(cli: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    with nameserver(monkeypatch, {}, silent=True):
        begun = time.monotonic()
        done = cli("doctor", "-o", "json", "--timeout", "0.5", "--uri", "mongodb+srv://shop.example.com/")
        took = time.monotonic() - begun
    assert (done.code, done.json()["ended_at"]) == (3, "srv")
    assert "no answer within 0.5 s" in steps(done)["srv"]["message"]
    assert took < 3


def test_a_system_that_looks_names_up_for_ever(cli: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    end = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: end.wait(20))
    begun = time.monotonic()
    done = cli("doctor", "-o", "json", "--timeout", "0.5", "--uri", "mongodb://db.example.com/")
    took = time.monotonic() - begun
    end.set()
    assert (done.code, done.json()["ended_at"]) == (3, "dns")
    assert "no answer for db.example.com within 0.5 s" in steps(done)["dns"]["message"]
    assert took < 3


@pytest.mark.parametrize("days", [10])
def test_a_certificate_that_ends_soon(cli: Runner, host: str, certificates: Certificates, days: int) -> None:
    with tls_front(host, certificates.expiring) as front:
        uri = f"mongodb://{front}/?directConnection=true&" + tls_options(certificates).lstrip("&")
        done = cli("doctor", "-o", "json", "--uri", uri)
        unchecked = cli(
            "doctor",
            "-o",
            "json",
            "--uri",
            f"mongodb://{front}/?directConnection=true&tls=true&tlsInsecure=true",
        )
    found = steps(done)["tls"]
    assert (done.code, found["status"]) == (0, "warning")
    assert found["expires_days"] in (days - 1, days)
    assert f"expires in {found['expires_days']} days, on 20" in found["message"]
    found = steps(unchecked)["tls"]
    assert (unchecked.code, found["status"], found["verified"]) == (0, "warning", False)
    assert "not checked" in found["message"]
    assert found["issuer"] == "authority"


def test_a_password_that_is_asked_for(
    cli: Runner, secure: Server, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, however many connections the road takes."""
    asked: list[str] = []

    def ask(question: str) -> str:
        asked.append(question)
        return PASSWORD

    monkeypatch.setattr("motorctl.password.ask", ask)
    uri = as_user(secure, "root", None) + tls_options(certificates)
    done = cli("doctor", "-o", "json", "--uri", uri, "--ask-password")
    assert (done.code, len(asked), statuses(done)["auth"]) == (0, 1, "ok")
    assert PASSWORD not in done.stdout + done.stderr


def test_a_wait_is_waited_first(cli: Runner) -> None:
    dead = f"mongodb://127.0.0.1:{free_port()}"
    begun = time.monotonic()
    done = cli("doctor", "--uri", dead, "--wait", "1", "-o", "json")
    assert time.monotonic() - begun > 0.9
    assert (done.code, done.json()["ended_at"]) == (3, "tcp")


@pytest.mark.parametrize("format", ["table", "json", "ndjson", "csv", "markdown"])
def test_no_secret_is_printed_however_it_goes(
    cli: Runner, secure: Server, certificates: Certificates, format: str
) -> None:
    """A password with every special character, wrong, and the passphrase of a key: for a ticket."""
    password = "c@n:a/r?y#127.0.0.1 %'\""
    ways = [
        as_user(secure, "root", password) + tls_options(certificates),
        f"mongodb://root:{password}@{secure.host}/",
        f"mongodb://{secure.host}/?replicaSet=rs0&authMechanism=MONGODB-X509"
        + tls_options(certificates, certificates.locked_client)
        + f"&tlsCertificateKeyFilePassword={PASSPHRASE}",
        f"mongodb://{secure.host}/?authMechanism=MONGODB-X509"
        + tls_options(certificates, certificates.locked_client)
        + "&tlsCertificateKeyFilePassword=wrong-canary",
    ]
    for uri, code in zip(ways, (4, 2, 0, 2), strict=True):
        done = cli("doctor", "-o", format, "--uri", uri, "-v", "--debug", "--timeout", "1")
        printed = done.stdout + done.stderr
        assert done.code == code, printed
        for secret in (password, quote(password, safe=""), password[:8], PASSPHRASE, "wrong-canary"):
            assert secret not in printed
