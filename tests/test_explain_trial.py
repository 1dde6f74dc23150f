"""An index tried on a sample copy: what it shows, what it leaves alone, and that nothing of it stays."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
import uuid
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import bson
import pymongo
import pytest
from bson import Int64, ObjectId
from bson.raw_bson import RawBSONDocument
from conftest import command, until
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import monitoring
from pymongo.errors import BulkWriteError, OperationFailure

from motorctl.core import driver
from motorctl.core.explain import trial
from motorctl.core.explain.advice import Proposal
from motorctl.core.explain.query import Query
from motorctl.core.schema import Index
from motorctl.core.schema.applying import rebuild
from motorctl.core.schema.model import TEMPORARY
from motorctl.errors import AuthorizationError, MotorctlError, NotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from motorctl.client import Database

    SyncDatabase = pymongo.database.Database[dict[str, Any]]

COUNT = 3000
WRITES = frozenset(
    {"create", "createIndexes", "insert", "drop", "dropIndexes", "update", "delete", "collMod"}
)
QUERY = Query("find", "orders", {"status": "s3"}, sort={"n": -1}, limit=10)
PROPOSAL = Proposal("orders", {"status": 1, "n": -1})


class Sent(monitoring.CommandListener):
    """Keeps the commands that are sent, and does something when the one of a number is."""

    def __init__(self) -> None:
        self.commands: list[dict[str, Any]] = []
        self.at: int | None = None
        self.name: str | None = None
        self.act: Any = None

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.commands.append(dict(event.command))
        if len(self.commands) == self.at or event.command_name == self.name:
            self.act()

    def watch(self, name: str, loop: asyncio.AbstractEventLoop, seen: asyncio.Event) -> None:
        self.name, self.act = name, lambda: loop.call_soon_threadsafe(seen.set)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass


@pytest.fixture
def sent() -> Sent:
    return Sent()


@pytest.fixture(scope="module")
def dbname(server_uri: str) -> Iterator[str]:
    """One database for all tests here, with a collection of 3,000 documents, which none of them may change."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    documents = [
        {"_id": ObjectId(), "n": n, "status": f"s{n % 30}", "u": n, "tags": [n, n % 7], "none": None}
        for n in range(COUNT)
    ]
    with pymongo.MongoClient[dict[str, Any]](server_uri) as client:
        client[name]["orders"].insert_many(documents)
        yield name
        client.drop_database(name)


@pytest.fixture
async def orders(server_uri: str, dbname: str, sent: Sent) -> AsyncIterator[Database]:
    """The database, whose commands are watched. What a test puts beside the documents is taken away."""
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(
        server_uri, appname=dbname, event_listeners=[sent], tz_aware=True
    )
    db = client.get_database(dbname)
    yield db
    for name in await db.list_collection_names():
        if name == "orders":
            await db.command({"dropIndexes": name, "index": "*"})
        elif not name.startswith("system."):
            await db.drop_collection(name)
    assert await db["orders"].count_documents({}) == COUNT
    await driver.close(client)


async def tried(db: Database, query: Query = QUERY, *proposals: Proposal, **rest: Any) -> trial.Trial:
    return await trial.try_index(db, await trial.intend(db, query, proposals or (PROPOSAL,), **rest))


async def left_over(db: Database) -> list[str]:
    return [name for name in await db.list_collection_names() if name.startswith(TEMPORARY)]


@contextmanager
def failing(server_uri: str, mode: Any, **data: Any) -> Iterator[None]:
    with pymongo.MongoClient[dict[str, Any]](server_uri) as client:
        client.admin.command({"configureFailPoint": "failCommand", "mode": mode, "data": data})
        try:
            yield
        finally:
            client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})


# -- what it shows -------------------------------------------------------------------------------------------


async def test_before_and_after_are_plans_over_the_same_sample(orders: Database) -> None:
    found = await tried(orders, size=600)
    assert (found.before.verdict, found.after.verdict) == ("collscan", "ixscan")
    assert found.before.docs_examined == found.sample
    assert found.after.indexes == ["status_1_n_-1"]
    assert (found.before.in_memory_sort, found.after.in_memory_sort) == (True, False)
    assert found.is_chosen
    # Rarely the server samples a document twice.
    assert 550 <= found.sample <= 600
    assert found.documents == COUNT
    assert found.share == pytest.approx(0.2, abs=0.02)
    assert found.before.namespace == found.after.namespace == f"{orders.name}.orders"


async def test_it_reads_as_rows_and_as_json(orders: Database) -> None:
    found = await tried(orders, size=COUNT)
    rows = {row["figure"]: (row["before"], row["after"]) for row in found.rows()}
    assert rows["verdict"] == ("collscan", "ixscan")
    assert rows["index"] == (None, "status_1_n_-1")
    assert rows["docs_examined"] == (COUNT, 10)
    document = found.document()
    assert document["indexes"] == [{"keys": {"status": 1, "n": -1}, "name": "status_1_n_-1"}]
    assert (document["sample"], document["documents"], document["share"]) == (COUNT, COUNT, 1.0)
    assert document["chosen"] is True
    assert document["before"]["verdict"] == "collscan"
    assert document["after"]["in_memory_sort"] is False


async def test_what_will_be_made_is_said_beforehand_and_nothing_is_made(orders: Database, sent: Sent) -> None:
    await orders["orders"].create_index("u")
    sent.commands.clear()
    intention = await trial.intend(orders, QUERY, [PROPOSAL], size=300)
    assert intention.sentence() == (
        f"300 of 3,000 documents (10.0%) of orders and its index are copied to {orders.name}.{intention.copy}, "
        "which is dropped at the end; orders itself isn't changed"
    )
    assert not WRITES & {next(iter(one)) for one in sent.commands}
    whole = await trial.intend(orders, QUERY, [PROPOSAL])
    assert whole.sentence().startswith("all 3,000 documents of orders and its index are copied to ")


async def test_the_copy_has_the_indexes_of_the_collection(orders: Database) -> None:
    await orders["orders"].create_index("status", name="hidden", hidden=True)
    await orders["orders"].create_index([("status", 1), ("u", 1)], name="long")
    found = await tried(orders)
    assert found.before.indexes == ["long"]
    assert found.before.in_memory_sort
    assert found.after.indexes == ["status_1_n_-1"]


@pytest.mark.parametrize(
    "specification",
    [
        {"key": {"u": 1}, "unique": True},
        {"key": {"at": 1}, "expireAfterSeconds": 0},
        {"key": {"status": "text", "none": "text"}, "weights": {"status": 3}},
        {"key": {"$**": 1}},
        {"key": {"tags": 1, "u": 1}, "sparse": True},
        {"key": {"u": "hashed"}},
        {"key": {"u": 1}, "partialFilterExpression": {"n": {"$gt": 3}}, "collation": {"locale": "de"}},
        {"key": {"place": "2dsphere"}},
    ],
    ids=lambda specification: str(specification["key"]),
)
async def test_any_index_goes_with_the_copy(orders: Database, specification: dict[str, Any]) -> None:
    await orders.command({"createIndexes": "orders", "indexes": [{"name": "there", **specification}]})
    assert (await tried(orders)).after.verdict == "ixscan"
    assert await left_over(orders) == []


async def test_no_document_is_refused_or_expires_in_the_copy(orders: Database) -> None:
    past = datetime(2000, 1, 1, tzinfo=UTC)
    await orders["due"].insert_many([{"n": n, "at": past, "status": "s3"} for n in range(300)])
    await orders.command({"collMod": "due", "validator": {"nothing": "x"}})
    intention = await trial.intend(orders, Query("find", "due", {"n": 3}), [Proposal("due", {"n": 1})])
    # As if an index that expires were there: one would delete what is due before it is looked at.
    expiring = Index({"at": 1}, "at_1", {"expireAfterSeconds": 0, "unique": True, "sparse": True})
    assert trial._harmless(expiring).options == {"sparse": True}
    found = await trial.try_index(orders, replace(intention, kept=(trial._harmless(expiring),)))
    assert found.sample == 300
    assert found.after.returned == 1


async def test_a_collation_goes_with_the_copy(orders: Database) -> None:
    await orders.command({"create": "words", "collation": {"locale": "en", "strength": 2}})
    await orders["words"].insert_many([{"w": word} for word in ("a", "A", "b")])
    query = Query("find", "words", {"w": "a"})
    found = await tried(orders, query, Proposal("words", {"w": 1}))
    assert (found.before.returned, found.after.returned) == (2, 2)
    assert found.after.verdict == "ixscan"


async def test_a_clustered_key_goes_with_the_copy(orders: Database) -> None:
    if (await orders.command("buildInfo"))["versionArray"][:2] < [5, 3]:
        pytest.skip("clustered collections came with MongoDB 5.3")
    await orders.command({"create": "clustered", "clusteredIndex": {"key": {"_id": 1}, "unique": True}})
    await orders["clustered"].insert_many([{"_id": n, "a": n % 9} for n in range(200)])
    query = Query("find", "clustered", {"_id": {"$gt": 150}, "a": 3})
    found = await tried(orders, query, Proposal("clustered", {"a": 1, "_id": 1}))
    assert "CLUSTERED_IXSCAN" in {stage.kind for stage in found.before.root.walk()}
    assert found.after.indexes == ["a_1__id_1"]


async def test_a_hint_holds_only_the_plan_before(orders: Database) -> None:
    await orders["orders"].create_index("u", name="forced")
    query = Query("find", "orders", {"status": "s3"}, hint="forced")
    found = await tried(orders, query, Proposal("orders", {"status": 1}))
    assert found.before.indexes == ["forced"]
    assert found.after.indexes == ["status_1"]


async def test_an_index_that_the_server_leaves_aside_is_no_success(orders: Database) -> None:
    found = await tried(orders, QUERY, Proposal("orders", {"none": 1}))
    assert not found.is_chosen
    assert found.document()["chosen"] is False


async def test_of_a_join_only_the_own_collection_is_copied(orders: Database, sent: Sent) -> None:
    await orders["users"].insert_many([{"no": n} for n in range(50)])
    stages = [
        {"$match": {"status": "s3"}},
        {"$lookup": {"from": "users", "localField": "n", "foreignField": "no", "as": "user"}},
    ]
    query = Query("aggregate", "orders", pipeline=stages)
    sent.commands.clear()
    found = await tried(orders, query, Proposal("orders", {"status": 1}), Proposal("users", {"no": 1}))
    assert [proposal.collection for proposal in found.proposals] == ["orders"]
    assert "status_1" in found.after.indexes
    assert await orders["users"].index_information() == {"_id_": {"v": 2, "key": [("_id", 1)]}}


async def test_two_indexes_are_tried_together(orders: Database) -> None:
    query = Query("find", "orders", {"$or": [{"status": "s3"}, {"u": 7}]})
    found = await tried(orders, query, Proposal("orders", {"status": 1}), Proposal("orders", {"u": 1}))
    assert (found.before.verdict, found.after.verdict) == ("collscan", "ixscan")
    assert sorted(found.after.indexes) == ["status_1", "u_1"]


async def test_documents_arrive_byte_for_byte(orders: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = {"_id": {"b": 1, "a": Int64(2)}, "z": 1, "a.b": 2, "$c": 3, "": None, "status": "s3", "n": 1}
    await orders["odd"].insert_one(odd)
    kept: list[Any] = []
    filled = trial._fill

    async def look(db: Database, intention: trial.Intention, progress: Any) -> int:
        copied = await filled(db, intention, progress)
        kept.extend(await db[intention.copy].find().to_list(None))
        return copied

    monkeypatch.setattr(trial, "_fill", look)
    query = Query("find", "odd", {"status": "s3"})
    await tried(orders, query, Proposal("odd", {"status": 1}))
    assert [list(one.items()) for one in kept] == [list(odd.items())]


async def test_a_document_that_is_sampled_twice_counts_once(orders: Database) -> None:
    target = orders.get_collection("copy", codec_options=trial._RAW)
    first, second = (RawBSONDocument(bson.encode({"_id": n})) for n in range(2))
    assert await trial._inserted(target, [first, second, first]) == 2
    await orders.command({"collMod": "copy", "validator": {"n": 1}})
    with pytest.raises(BulkWriteError):
        await trial._inserted(target, [RawBSONDocument(bson.encode({"_id": 3})), first])


# -- what it leaves alone ------------------------------------------------------------------------------------------


async def test_nothing_is_written_but_to_the_copy(orders: Database, sent: Sent) -> None:
    await orders["orders"].create_index("u", unique=True)
    before = await orders.command("dbHash")
    sent.commands.clear()
    await tried(orders)
    written = [one for one in sent.commands if next(iter(one)) in WRITES]
    assert {next(iter(one)) for one in written} == {"create", "createIndexes", "insert", "drop"}
    assert all(str(next(iter(one.values()))).startswith(TEMPORARY) for one in written)
    assert len({next(iter(one.values())) for one in written}) == 1
    assert (await orders.command("dbHash"))["collections"] == before["collections"]
    assert await left_over(orders) == []


async def test_cancelled_at_each_command_in_turn_it_leaves_nothing(orders: Database, sent: Sent) -> None:
    await orders["orders"].create_index("u")
    loop = asyncio.get_running_loop()
    intention = await trial.intend(orders, QUERY, [PROPOSAL])
    cancelled = 0
    for at in range(1, 60):
        sent.commands.clear()
        task = asyncio.create_task(trial.try_index(orders, intention))
        sent.at, sent.act = at, lambda task=task: loop.call_soon_threadsafe(task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            cancelled += 1
        sent.at = None
        # A command that was under way is over by the time it ends: nothing is made after the drop.
        assert await left_over(orders) == []
        if len(sent.commands) - 1 < at:
            break
    assert cancelled > 8
    await asyncio.sleep(0.2)
    assert await left_over(orders) == []


@pytest.mark.parametrize("name", ["create", "createIndexes", "insert"])
async def test_a_write_that_outlives_its_cancellation_makes_nothing_again(
    orders: Database, server_uri: str, sent: Sent, name: str
) -> None:
    intention = await trial.intend(orders, QUERY, [PROPOSAL], size=500)
    slow = {"failCommands": [name], "appName": orders.name, "blockConnection": True, "blockTimeMS": 250}
    with failing(server_uri, {"times": 1}, **slow):
        sent.watch(name, asyncio.get_running_loop(), sent_it := asyncio.Event())
        task = asyncio.create_task(trial.try_index(orders, intention))
        await asyncio.wait_for(sent_it.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.4)
    assert await left_over(orders) == []


@pytest.mark.parametrize("name", ["create", "createIndexes", "insert", "explain", "aggregate"])
async def test_refused_by_the_server_it_leaves_nothing(orders: Database, server_uri: str, name: str) -> None:
    intention = await trial.intend(orders, QUERY, [PROPOSAL], size=600)
    with (
        failing(server_uri, {"times": 1}, failCommands=[name], appName=orders.name, errorCode=8000),
        pytest.raises(OperationFailure),
    ):
        await trial.try_index(orders, intention)
    assert await left_over(orders) == []


async def test_what_cant_be_removed_is_named(orders: Database, server_uri: str) -> None:
    intention = await trial.intend(orders, QUERY, [PROPOSAL])
    refusal = {"failCommands": ["drop"], "appName": orders.name, "errorCode": 8000}
    with failing(server_uri, "alwaysOn", **refusal), pytest.raises(MotorctlError) as raised:
        await trial.try_index(orders, intention)
    assert raised.value.message == f"the sample copy {orders.name}.{intention.copy} is left: drop it"
    assert await left_over(orders) == [intention.copy]


async def test_what_a_killed_one_left_is_removed_when_it_is_old(orders: Database) -> None:
    now = int(time.time())
    old, young = f"{TEMPORARY}{now - 4000}_{'a' * 32}", f"{TEMPORARY}{now}_{'b' * 32}"
    for name in (old, young):
        await orders.command({"create": name})
    await tried(orders)
    assert await left_over(orders) == [young]


TRY = """
import asyncio, sys
from motor.motor_asyncio import AsyncIOMotorClient
from motorctl.core.explain import trial
from motorctl.core.explain.advice import Proposal
from motorctl.core.explain.query import Query

async def main():
    db = AsyncIOMotorClient(sys.argv[1], appname=sys.argv[2] + "x")[sys.argv[2]]
    query, proposal = Query("find", "orders", {"status": "s3"}), Proposal("orders", {"status": 1})
    await trial.try_index(db, await trial.intend(db, query, [proposal]))

asyncio.run(main())
"""


async def test_killed_in_the_middle_it_is_tidied_by_the_next(
    orders: Database, server_uri: str, sync_db: SyncDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copied() -> bool:
        names = [name for name in sync_db.list_collection_names() if name.startswith(TEMPORARY)]
        return bool(names) and sync_db[names[0]].estimated_document_count() > 0

    blocked = {"failCommands": ["explain"], "appName": f"{orders.name}x", "blockConnection": True}
    with failing(server_uri, "alwaysOn", **blocked, blockTimeMS=20_000):
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", TRY, server_uri, orders.name)
        until(copied, "a copy is there")
        process.kill()
        await process.wait()
    assert len(await left_over(orders)) == 1
    monkeypatch.setattr(rebuild, "_ABANDONED", -1)
    await tried(orders)
    assert await left_over(orders) == []


async def test_stopped_with_ctrl_c_the_command_removes_the_copy(
    orders: Database, server_uri: str, sync_db: SyncDatabase
) -> None:
    uri = f"{server_uri}{'&' if '?' in server_uri else '/?'}appName={orders.name}x"
    arguments = ("explain", "find", "orders", "--filter", '{"status": "s3"}', "--try-index")
    blocked = {"failCommands": ["insert"], "appName": f"{orders.name}x", "blockConnection": True}
    with failing(server_uri, "alwaysOn", **blocked, blockTimeMS=500):
        process = await asyncio.create_subprocess_exec(
            *command(*arguments),
            env={**os.environ, "MOTORCTL_URI": uri, "MOTORCTL_DB": orders.name},
            stderr=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        until(
            lambda: any(n.startswith(TEMPORARY) for n in sync_db.list_collection_names()), "a copy is there"
        )
        process.send_signal(signal.SIGINT)
        _, said = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 130
    # Before it was made its name was said.
    assert f"{orders.name}.{TEMPORARY}" in said.decode()
    await asyncio.sleep(0.6)
    assert await left_over(orders) == []


# -- limits, and what it refuses --------------------------------------------------------------------------------


async def test_a_copy_ends_at_its_size_however_few_documents_that_are(
    orders: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await orders["large"].insert_many([{"status": "s3", "text": "x" * 100_000} for _ in range(60)])
    monkeypatch.setattr(trial, "_BYTES", 2_000_000)
    query = Query("find", "large", {"status": "s3"})
    found = await tried(orders, query, Proposal("large", {"status": 1}))
    assert found.sample == 20
    assert found.share == pytest.approx(1 / 3)


async def test_progress_is_told_as_it_goes(orders: Database) -> None:
    told: list[int] = []
    intention = await trial.intend(orders, QUERY, [PROPOSAL])
    await trial.try_index(orders, intention, progress=told.append)
    assert told == [1000, 1000, 1000]


async def test_what_takes_too_long_is_ended_and_tidied(
    orders: Database, server_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "_SECONDS", 0.5)
    intention = await trial.intend(orders, QUERY, [PROPOSAL])
    slow = {"failCommands": ["explain"], "appName": orders.name, "blockConnection": True, "blockTimeMS": 1200}
    with failing(server_uri, {"times": 1}, **slow), pytest.raises(MotorctlError, match="wasn't done within"):
        await trial.try_index(orders, intention)
    assert await left_over(orders) == []


async def test_without_the_right_to_write_it_says_so(orders: Database, server_uri: str) -> None:
    intention = await trial.intend(orders, QUERY, [PROPOSAL])
    refusal = {"failCommands": ["create", "drop"], "appName": orders.name, "errorCode": 13}
    with failing(server_uri, "alwaysOn", **refusal), pytest.raises(AuthorizationError) as raised:
        await trial.try_index(orders, intention)
    assert raised.value.exit_code == 4
    assert raised.value.message.startswith(f"no right to make a sample copy in database {orders.name}")
    assert "readWrite" in str(raised.value.hint)


@pytest.mark.parametrize(
    ("query", "proposals", "says"),
    [
        (Query("find", "seen", {"a": 1}), [Proposal("seen", {"a": 1})], "seen is a view"),
        (Query("find", "empty", {"a": 1}), [Proposal("empty", {"a": 1})], "empty has no documents"),
        (QUERY, [], "no index of orders is proposed"),
        (QUERY, [Proposal("users", {"a": 1})], "no index of orders is proposed"),
    ],
)
async def test_what_cant_be_tried_is_said_in_words(
    orders: Database, query: Query, proposals: list[Proposal], says: str
) -> None:
    await orders.command({"create": "seen", "viewOn": "orders", "pipeline": []})
    await orders.command({"create": "empty"})
    with pytest.raises(UsageError, match=says):
        await trial.intend(orders, query, proposals)


async def test_a_time_series_isnt_copied(orders: Database) -> None:
    if (await orders.command("buildInfo"))["versionArray"][0] < 5:
        pytest.skip("time series came with MongoDB 5.0")
    await orders.command({"create": "series", "timeseries": {"timeField": "at"}})
    with pytest.raises(UsageError, match="series is a time series"):
        await trial.intend(orders, Query("find", "series", {"a": 1}), [Proposal("series", {"a": 1})])


async def test_a_collection_that_isnt_there_is_not_found(orders: Database) -> None:
    with pytest.raises(NotFoundError):
        await trial.intend(orders, Query("find", "nowhere", {"a": 1}), [Proposal("nowhere", {"a": 1})])
    assert "nowhere" not in await orders.list_collection_names()


@pytest.mark.parametrize("size", [0, -1, trial.LARGEST + 1])
async def test_a_size_that_is_no_sample_is_refused(orders: Database, size: int) -> None:
    with pytest.raises(UsageError, match="a sample has 1 to 200,000 documents"):
        await trial.intend(orders, QUERY, [PROPOSAL], size=size)


async def test_no_copy_is_made_for_which_there_is_no_room(
    orders: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "_ROOM", 10**12)
    with pytest.raises(MotorctlError, match="on disk, and the server has"):
        await trial.intend(orders, QUERY, [PROPOSAL])


async def test_a_sharded_collection_is_refused(orders: Database) -> None:
    class Mongos(type(orders)):  # type: ignore[misc]  # the collection's own class, Motor's or PyMongo's
        """Answers as a router does, of which this machine has none."""

        async def command(self, command: Any, **rest: Any) -> Any:
            answer = await orders.command(command, **rest)
            name = command if isinstance(command, str) else next(iter(command))
            return answer | {"hello": {"msg": "isdbgrid"}, "collStats": {"sharded": True}}.get(name, {})

    router: Any = Mongos(orders.client, orders.name)
    with pytest.raises(UsageError, match="orders is sharded"):
        await trial.intend(router, QUERY, [PROPOSAL])
