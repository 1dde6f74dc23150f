"""The road below the driver, its pure parts: addresses taken apart, what lanes are together, limits, the protocol."""

from __future__ import annotations

import asyncio
from typing import Any

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymongo.uri_parser import parse_uri

from motorctl.core.doctor import Member
from motorctl.errors import ConfigurationError, UnreachableError
from motorctl.road import address, limits, topology, wire
from motorctl.road.address import Host
from motorctl.road.model import Lane
from motorctl.road.step import Status, Step

names = st.from_regex(r"[a-z][a-z0-9-]{0,10}(\.[a-z]{2,5})?", fullmatch=True)
hosts = st.builds(Host, names, st.integers(1, 65535)) | st.builds(
    Host, st.sampled_from(["::1", "fe80::2"]), st.integers(1, 65535)
)
users = st.sampled_from(["", "ada", "ada:p%40ss%2Fw%3Ard", "a%3Ab:%25"])
options = st.lists(
    st.sampled_from(
        [("replicaSet", "rs0"), ("w", "1"), ("appName", "a%20b"), ("authSource", "admin"), ("tls", "true")]
    ),
    unique=True,
)


@given(users, st.lists(hosts, min_size=1, max_size=3), st.sampled_from(["", "shop"]), options)
def test_a_connection_string_is_taken_apart_as_the_driver_does_and_put_together_again(
    user: str, nodes: list[Host], database: str, pairs: list[tuple[str, str]]
) -> None:
    written = address.Address(False, user, tuple(nodes), database, tuple(pairs))
    read = address.read(str(written))
    assert read == written
    parsed = parse_uri(str(written))
    assert [(host.name, host.port) for host in read.hosts] == parsed["nodelist"]
    assert (read.user, database or None) == (parsed["username"], parsed["database"])
    known = {name.lower(): value for name, value in parsed["options"].items()}
    for name in ("replicaSet", "appName", "authSource"):
        assert read.option(name.upper()) == known.get(name.lower())


@pytest.mark.parametrize(
    ("text", "host", "shown"),
    [
        ("db", Host("db", 27017), "db:27017"),
        ("DB.Example.com:1", Host("db.example.com", 1), "db.example.com:1"),
        ("[::1]:5", Host("::1", 5), "[::1]:5"),
        ("[::1]", Host("::1", 27017), "[::1]:27017"),
        ("%2Ftmp%2Fmongodb-27017.sock", Host("/tmp/mongodb-27017.sock"), "/tmp/mongodb-27017.sock"),
        ("a:b:c", Host("a:b:c"), "[a:b:c]:27017"),
    ],
)
def test_hosts(text: str, host: Host, shown: str) -> None:
    assert Host.read(text) == host
    assert str(host) == shown


def test_an_srv_address_of_hosts_has_tls_and_none_of_its_own_options() -> None:
    srv = address.read("mongodb+srv://ada:x@shop.example.com/db?srvMaxHosts=2&srvServiceName=m&w=1")
    assert str(srv.to([Host("a"), Host("b", 2)])) == "mongodb://ada:x@a:27017,b:2/db?w=1&tls=true"
    plain = address.read("mongodb+srv://shop.example.com/?tls=false")
    assert str(plain.to([Host("a")])) == "mongodb://a:27017/?tls=false"
    assert str(address.read("mongodb+srv://h/?ssl=false").to([Host("a")])) == "mongodb://a:27017/?ssl=false"


def lane(name: str, hello: dict[str, Any] | None = None, *, listed: bool = True) -> Lane:
    """A lane that went through, or (without a hello) one whose host refused the connection."""
    found = Lane(Host.read(name), listed, hello=hello or {})
    if hello is None:
        step = Step("tcp", name)
        step.fail(UnreachableError("connection refused", hint="is it running?"))
        found.steps.append(step)
    return found


def member(**more: Any) -> dict[str, Any]:
    return {"setName": "rs0", "hosts": ["a:1", "b:2"], "secondary": True, **more}


def judged(
    lanes: list[Lane], states: list[Member] | None = None, *, wanted: str | None = None, direct: bool = False
) -> Step:
    step = Step("topology")
    topology.settle(lanes)
    topology.judge(step, lanes, wanted, states, direct=direct)
    return step


def test_members_and_their_states_by_what_each_says() -> None:
    step = judged([lane("a:1", member(isWritablePrimary=True)), lane("b:2", member(), listed=False)])
    assert (step.status, step.message) == (
        Status.OK,
        "replica set rs0, 2 members: a:1 PRIMARY, b:2 SECONDARY",
    )


def test_a_member_that_is_not_reached_is_a_warning() -> None:
    lanes = [lane("a:1", member(isWritablePrimary=True)), lane("b:2", listed=False)]
    step = judged(lanes)
    assert (step.status, step.hint) == (Status.WARNING, "is it running?")
    assert step.message.endswith("a:1 PRIMARY, b:2 not reached; not reached from here: b:2")
    assert lanes[1].steps[0].status is Status.WARNING


def test_a_host_that_is_not_reached_is_a_failure_where_no_other_is() -> None:
    lanes = [lane("a:1"), lane("b:2")]
    topology.settle(lanes)
    assert [one.steps[0].status for one in lanes] == [Status.FAILED, Status.FAILED]


def test_a_member_that_recovers_and_one_that_is_late() -> None:
    states = [
        Member(host="a:1", state="PRIMARY", healthy=True, behind_seconds=0),
        Member(host="b:2", state="RECOVERING", healthy=True, behind_seconds=11),
    ]
    step = judged([lane("a:1", member(isWritablePrimary=True)), lane("b:2", member(), listed=False)], states)
    assert "b:2 RECOVERING, 11 s behind" in step.message
    assert "not ready: b:2; behind by more than 10 s: b:2" in step.message
    assert "rs.status()" in str(step.hint)
    states[1] = Member(host="b:2", state="SECONDARY", healthy=True, behind_seconds=9)
    assert judged([lane("a:1", member(isWritablePrimary=True)), lane("b:2", member())], states).status == "ok"


def test_hosts_of_two_sets_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="different replica sets: a:1 is in rs0; c:3 is in rs1"):
        judged([lane("a:1", member()), lane("c:3", {"setName": "rs1", "hosts": ["c:3"]})])


def test_members_that_have_no_lane_yet_are_named_once() -> None:
    lanes = [lane("A:1", member(arbiters=["c:3"])), lane("x:9", member())]
    assert topology.members_named(lanes) == [Host("b", 2), Host("c", 3)]
    assert topology.members_named([lane("r:1", {"msg": "isdbgrid"})]) == []


@pytest.mark.parametrize(
    ("most", "available", "files", "hosts_", "warnings"),
    [
        (100, 100, 164, 1, 0),
        (100, 99, 164, 1, 1),
        (100, 100, 163, 1, 1),
        (100, 100, 200, 2, 1),
        (100, 5, 10, 1, 2),
        (None, 5, 64, 3, 0),
        (100, None, None, 3, 0),
    ],
)
def test_limits(
    most: int | None, available: int | None, files: int | None, hosts_: int, warnings: int
) -> None:
    step = Step("pool", message="up to")
    limits.judge(step, most, available, files, hosts_)
    assert step.message.count(";") == warnings
    assert (step.status is Status.WARNING) is bool(warnings)


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        wire._HEADER.pack(2**30, 1, 1, 2013),
        wire._HEADER.pack(21, 1, 1, 2013) + b"\0\0\0\0\0",
        wire._HEADER.pack(26, 1, 1, 2013) + b"\0\0\0\0\0" + b"\x05\0\0\0x",
    ],
)
async def test_what_is_no_mongodb_is_never_read_as_such(said: bytes) -> None:
    with pytest.raises(wire.NotMongoError):
        await _asked(said)


async def test_an_answer_that_is_cut_off_is_the_end_of_the_connection() -> None:
    whole = bson.encode({"ok": 1})
    head = wire._HEADER.pack(16 + 5 + len(whole), 1, 1, 2013)
    assert await _asked(head + b"\0" * 5 + whole) == {"ok": 1}
    for end in (0, 3, 16, 20, 30):
        with pytest.raises(EOFError):
            await _asked((head + b"\0" * 5 + whole)[:end])


async def _asked(answer: bytes) -> dict[str, Any]:
    """Ask a server that answers with these bytes and hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(16)
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(host, port)
        try:
            return await wire.ask(reader, writer, {"hello": 1})
        finally:
            writer.close()
            await writer.wait_closed()
