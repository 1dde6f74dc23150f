"""Batches on a real server: what is there afterwards is what the outcome says, whatever happens on the way."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING, Any, get_args

import bson
import pymongo
import pytest
from bson import Binary, Decimal128, Int64, ObjectId, Regex, Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient
from pymongo.errors import AutoReconnect
from pymongo.monitoring import CommandListener
from pymongo.write_concern import WriteConcern

from motorctl import retry
from motorctl.core import driver
from motorctl.core.ingest.model import Decoded, Mode, Outcome, Plan
from motorctl.core.ingest.writing import elements, rehearse
from motorctl.core.ingest.writing.send import Documents
from motorctl.core.ingest.writing.write import NO_ANSWER, Writer, batches, serves
from motorctl.diagnostics import Diagnostics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

    from motorctl.client import Database

Document = dict[str, Any]
KEYED = [mode for mode in get_args(Mode) if mode != "insert"]


def made(
    documents: Sequence[Document], key: Sequence[str] = (), generated: frozenset[int] | range = frozenset()
) -> Decoded:
    """Give what decoding makes of some documents."""
    decoded = Decoded(numbers=list(range(len(documents))), generated=generated)
    for document in documents:
        decoded.data += bson.encode(document)
        decoded.ends.append(len(decoded.data))
        if key:
            query: Document = {}
            for name in key:
                value: Any = document
                for part in name.split("."):
                    value = value[part]
                query[name] = {"$eq": value}
            decoded.keys.append(bson.encode(query))
    return decoded


async def again(operation: Callable[[], Awaitable[Any]]) -> Any:
    """Try as `App.attempt` does, up to six times and without its pauses."""

    async def at_once(_seconds: float) -> None: ...

    return await retry.attempt(operation, attempts=6, diagnostics=Diagnostics(io.StringIO()), sleep=at_once)


async def written(
    collection: Any,
    documents: Sequence[Document],
    mode: Mode = "insert",
    key: Sequence[str] = (),
    *,
    generated: frozenset[int] | range = frozenset(),
    doubtful: bool = False,
    **options: Any,
) -> Outcome:
    """Write some documents as one batch; the outcome accounts for each of them exactly once."""
    writer = Writer(collection, Plan(mode, tuple(key)), **options)
    await writer.prepare()
    decoded = made(documents, key, generated)
    outcome = await writer.write(decoded, 0, len(documents), doubtful=doubtful)
    total = outcome.inserted + outcome.updated + outcome.unchanged + len(outcome.failures)
    assert total == len(documents)
    assert len({failure.position for failure in outcome.failures}) == len(outcome.failures)
    return outcome


def counts(outcome: Outcome) -> tuple[int, int, int, int]:
    return outcome.inserted, outcome.updated, outcome.unchanged, len(outcome.failures)


async def stored(collection: Any) -> list[Document]:
    return [document async for document in collection.find({}, {"_id": 0})]


@pytest.fixture
def fail_command(server_uri: str, dbname: str) -> Iterator[Any]:
    """Configure the server's failCommand fail point, for `client` of this test only; off again at the end."""
    with pymongo.MongoClient[Document](server_uri) as client:

        def configure(mode: Any, **data: Any) -> None:
            client.admin.command(
                "configureFailPoint", "failCommand", mode=mode, data={**data, "appName": dbname}
            )

        yield configure
        client.admin.command("configureFailPoint", "failCommand", mode="off")


@pytest.fixture
async def named(server_uri: str, dbname: str) -> AsyncIterator[Any]:
    """The collection `c` through a client that the fail points are for."""
    client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(
        server_uri, appname=dbname, heartbeatFrequencyMS=500
    )
    yield client[dbname]["c"]
    await driver.close(client)


def losing(collection: Any, *commands: str, times: int = 1) -> Any:
    """Wrap a collection so that the answers to some commands are lost after the server has done them."""
    left = times

    class LossyDatabase:
        def __getattr__(self, name: str) -> Any:
            return getattr(collection.database, name)

        async def command(self, name: str, *arguments: Any, **options: Any) -> Any:
            nonlocal left
            reply = await collection.database.command(name, *arguments, **options)
            if name in commands and left:
                left -= 1
                raise AutoReconnect("lost")
            return reply

    class Lossy:
        database = LossyDatabase()

        def __getattr__(self, name: str) -> Any:
            return getattr(collection, name)

    return Lossy()


# -- what is sent -----------------------------------------------------------------------------------------

EVERY_TYPE: Document = {
    "_id": 1, "s": "é\0", "d": 1.5, "i": 1, "l": Int64(1), "n": None, "b": True, "a": [1, {"x": [2]}], "o": {},
    "bin": Binary(b"x", 5), "oid": ObjectId(), "re": Regex("a", "i"), "dec": Decimal128("1.50"),
    "t": Timestamp(1, 2), "min": bson.MinKey(), "code": bson.Code("f", {"x": 1}), "": 0, "a.b": 1, "$c": 2,
}  # fmt: skip


class Seen(CommandListener):
    """Counts what the driver sends."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.bytes = 0

    def started(self, event: Any) -> None:
        self.names.append(event.command_name)
        self.bytes += sum(len(item.raw) for item in event.command.get("documents", ()))

    def succeeded(self, event: Any) -> None: ...

    def failed(self, event: Any) -> None: ...


@pytest.mark.parametrize("kind", [AsyncIOMotorClient, AsyncMongoClient])
@pytest.mark.parametrize("compressors", ["", "zlib"])
async def test_one_blob_is_many_documents_to_the_server(
    server_uri: str, db: Database, kind: Any, compressors: str
) -> None:
    """The driver sends `raw` unread: each document arrives, in order and byte for byte, in one command."""
    seen = Seen()
    client = kind(server_uri, event_listeners=[seen], **({"compressors": compressors} if compressors else {}))
    documents = [{**EVERY_TYPE, "_id": number, "n": "x" * (number % 50)} for number in range(1000)]
    decoded = made(documents)
    outcome = await Writer(client[db.name]["c"], Plan()).write(decoded, 0, 1000)
    assert counts(outcome) == (1000, 0, 0, 0)
    assert seen.names.count("insert") == 1
    arrived = [blob async for blob in db.c.find_raw_batches({}, sort=[("_id", 1)])]
    assert b"".join(arrived) == decoded.data
    await driver.close(client)


def test_documents_say_what_they_are() -> None:
    assert repr(Documents(b"12345")) == "Documents(5 bytes)"


async def test_a_slice_of_a_chunk_is_written(db: Database) -> None:
    decoded = made([{"_id": number} for number in range(10)])
    assert (await Writer(db.c, Plan()).write(decoded, 3, 7)).inserted == 4
    assert [document["_id"] async for document in db.c.find()] == [3, 4, 5, 6]


async def test_the_write_concern_is_the_collections_and_is_reported(db: Database) -> None:
    collection = db.c.with_options(write_concern=WriteConcern(w=5, wtimeout=100))
    for mode in ("insert", "upsert", "merge"):
        await db.c.drop()
        outcome = await written(collection, [{"_id": 1}, {"_id": 2}], mode, ("_id",) * (mode != "insert"))
        assert outcome.inserted == await db.c.count_documents({}) == 2
        assert "the write concern was not met" in str(outcome.error)


async def test_validation_is_bypassed_when_asked(db: Database) -> None:
    await db.create_collection("c", validator={"a": 1})
    for mode in ("insert", "upsert"):
        key = ("k",) if mode == "upsert" else ()
        assert counts(await written(db.c, [{"k": 1}], mode, key)) == (0, 0, 0, 1)
        assert counts(await written(db.c, [{"k": 1}], mode, key, bypass_validation=True)) == (1, 0, 0, 0)
        await db.c.delete_many({})


async def test_a_refusal_that_quotes_what_python_can_not_hold(db: Database) -> None:
    """A date beyond its years, and half a character: the reply is read all the same."""
    await db.c.create_index("d", unique=True)
    late = bson.DatetimeMS(2**55)
    outcome = await written(db.c, [{"_id": 1, "d": late}, {"_id": 2, "d": late}, {"_id": 3, "d": 3}])
    assert counts(outcome) == (2, 0, 0, 1)
    assert (outcome.failures[0].position, outcome.failures[0].field) == (1, "d")


# -- batches ----------------------------------------------------------------------------------------------


@given(
    st.lists(st.integers(min_value=5, max_value=9_000_000), max_size=40), st.integers(1, 50), st.booleans()
)
def test_batches_hold_all_and_not_too_much(sizes: list[int], size: int, keyed: bool) -> None:
    decoded = Decoded()
    end = 0
    for number in sizes:
        end += number
        decoded.ends.append(end)
        if keyed:
            decoded.keys.append(b"k" * 30)
    cut = batches(decoded, size)
    assert [at for start, stop in cut for at in range(start, stop)] == list(range(len(sizes)))
    assert all(0 < stop - start <= size for start, stop in cut)
    assert all(sum(sizes[start:stop]) < 16_777_216 for start, stop in cut if stop - start > 1)


def test_batches_are_nearly_equal_and_never_over_the_servers_limit() -> None:
    decoded = Decoded(ends=list(range(5, 5 * 250_001, 5)))
    assert [stop - start for start, stop in batches(decoded, 1_000_000)] == [83333, 83333, 83334]
    assert batches(Decoded(), 10) == []


@pytest.mark.parametrize(("mode", "key"), [("insert", ()), ("upsert", ("k",)), ("merge", ("k",))])
async def test_documents_of_16_mb_go(db: Database, mode: Mode, key: tuple[str, ...]) -> None:
    limit = 16 * 1024 * 1024
    documents: list[Document] = [{"_id": number, "k": number, "x": ""} for number in range(3)]
    for document in documents:
        document["x"] = "x" * (limit - len(bson.encode(document)))
    decoded = made(documents, key)
    writer = Writer(db.c, Plan(mode, key))
    await writer.prepare()
    for expected in (1, 0):
        for start, stop in batches(decoded, 1000):
            outcome = await writer.write(decoded, start, stop)
            assert (outcome.inserted, outcome.error) == (expected, None)
    assert await db.c.count_documents({}) == 3


# -- refusals, one by one and by the command --------------------------------------------------------------


@pytest.mark.parametrize("ordered", [False, True])
async def test_each_refusal_is_its_documents(db: Database, ordered: bool) -> None:
    await db.create_collection("c", validator={"$jsonSchema": {"properties": {"n": {"bsonType": "int"}}}})
    await db.c.create_index("e", unique=True)
    documents = [{"_id": number, "n": number, "e": number} for number in range(100)]
    documents[10]["_id"] = documents[9]["_id"]
    documents[50]["e"] = documents[40]["e"]
    documents[70]["n"] = "x"  # type: ignore[assignment]  # of another type is what is tested
    outcome = await written(db.c, documents, ordered=ordered)
    assert outcome.inserted == await db.c.count_documents({}) == 97
    found = [(f.position, f.stage, f.field, f.code) for f in outcome.failures]
    assert found == [
        (10, "duplicate", "_id", 11000),
        (50, "duplicate", "e", 11000),
        (70, "validator", "n", 121),
    ]
    kept = [document["_id"] for at, document in enumerate(documents) if at not in (10, 50, 70)]
    assert [document["_id"] async for document in db.c.find()] == kept


@pytest.mark.parametrize("mode", ["insert", "upsert", "merge"])
@pytest.mark.parametrize("ordered", [False, True])
async def test_a_document_that_spoils_its_command_is_found(db: Database, mode: Mode, ordered: bool) -> None:
    """As decoding would let it through, were the server to take less than it does."""
    deep: Document = {}
    for _ in range(250):
        deep = {"a": deep}
    documents: list[Document] = [{"k": number} for number in range(100)]
    documents[17] |= deep
    documents[60] |= {"x": "x" * 17_000_000}
    outcome = await written(db.c, documents, mode, () if mode == "insert" else ("k",), ordered=ordered)
    assert outcome.error is None
    assert outcome.inserted == await db.c.count_documents({}) == 98
    assert sorted((f.position, f.stage) for f in outcome.failures) == [(17, "server"), (60, "server")]
    assert max(len(f.reason) for f in outcome.failures) < 250


@pytest.mark.parametrize("partial", [False, True])
async def test_ordered_batches_full_of_refusals_are_not_sent_over_and_over(
    server_uri: str, db: Database, partial: bool
) -> None:
    options: Document = {"partialFilterExpression": {"p": 1}} if partial else {}
    await db.c.create_index("e", unique=True, **options)
    seen = Seen()
    client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(server_uri, event_listeners=[seen])
    documents = [{"_id": number, "e": number} for number in range(1000)]
    await db.c.insert_many(documents[::2])
    outcome = await written(client[db.name]["c"], documents, ordered=True)
    await driver.close(client)
    assert counts(outcome) == (500, 0, 0, 500)
    assert [failure.position for failure in outcome.failures] == list(range(0, 1000, 2))
    assert await db.c.count_documents({}) == 1000
    assert seen.names.count("insert") <= (501 if partial else 2)
    assert seen.bytes <= 4 * len(made(documents).data)


async def test_ordered_keeps_the_first_of_each_id_and_the_order(db: Database) -> None:
    documents = [{"_id": number // 3, "n": number} for number in range(60)]
    outcome = await written(db.c, documents, ordered=True)
    assert counts(outcome) == (20, 0, 0, 40)
    assert [document["n"] for document in await stored(db.c)] == list(range(0, 60, 3))


# -- answers that are lost --------------------------------------------------------------------------------


async def test_a_lost_answer_inserts_and_counts_nothing_twice(db: Database) -> None:
    await db.c.insert_one({"_id": 5, "x": "foreign"})
    documents: list[Document] = [{"_id": number, "t": Timestamp(0, 0)} for number in range(10)]
    documents += [{"a": 1, "_id": 20}, {"_id": 3, "t": Timestamp(0, 0)}, {"_id": 21}, {"_id": 21}]
    documents += [{"_id": ObjectId()} for _ in range(6)]
    for ordered in (False, True):
        collection = losing(db.c, "insert", times=2)
        outcome = await written(
            collection, documents, generated=range(14, 20), attempt=again, ordered=ordered
        )
        assert outcome.inserted == await db.c.count_documents({}) - 1 == 17
        assert sorted(f.position for f in outcome.failures) == [5, 11, 13]
        assert {f.stage for f in outcome.failures} == {"duplicate"}
        await db.c.delete_many({"_id": {"$ne": 5}})


async def test_a_killed_runs_batch_is_recognised(db: Database) -> None:
    documents: list[Document] = [
        {"_id": ObjectId(), "n": 1},
        {"_id": 1, "n": 1},
        {"_id": 2, "n": 1},
        {"_id": 3},
    ]
    await db.c.insert_many([documents[0], documents[1], {"_id": 2, "n": 2}])
    outcome = await written(db.c, documents, generated=frozenset({0}), doubtful=True)
    assert counts(outcome) == (3, 0, 0, 1)
    assert outcome.failures[0].position == 2
    assert counts(await written(db.c, documents, generated=frozenset({0}))) == (0, 0, 0, 4)


@pytest.mark.parametrize("unique", [False, True])
@pytest.mark.parametrize("mode", KEYED)
async def test_a_lost_answer_counts_as_the_first_sending_would(
    db: Database, mode: Mode, unique: bool
) -> None:
    """100 records: 40 are there, 20 of them the same; each command's first answer is lost."""
    results = []
    for times in (0, 1, 2):
        await db.c.drop()
        await db.c.create_index("k", unique=unique)
        await db.c.insert_many([{"k": number, "v": number % 2} for number in range(40)])
        documents = [{"k": number, "v": 1} for number in range(100)]
        collection = losing(db.c, "insert", "update", "delete", times=times)
        outcome = await written(collection, documents, mode, ("k",), attempt=again)
        results.append(
            (counts(outcome), await db.c.count_documents({}), await db.c.count_documents({"v": 1}))
        )
        assert outcome.error is None
    assert results[0] == results[1] == results[2]
    expected: dict[str, tuple[int, int, int, int]] = {
        "upsert": (60, 20, 20, 0),
        "merge": (60, 20, 20, 0),
        "replace": (0, 20, 20, 60),
        "skip": (60, 0, 40, 0),
        "delete": (0, 40, 60, 0),
    }
    assert results[0][0] == expected[mode]


@pytest.mark.parametrize("mode", get_args(Mode))
@pytest.mark.parametrize(
    "failure",
    [
        {"closeConnection": True},
        {"errorCode": 91},
        {"errorCode": 11600},
        {"writeConcernError": {"code": 91, "errmsg": "not primary"}},
    ],
    ids=["closed", "91", "11600", "write concern 91"],
)
async def test_what_fails_on_the_way_is_tried_again(
    db: Database, named: Any, fail_command: Any, mode: Mode, failure: Any
) -> None:
    await db.c.create_index("k", unique=True)
    await db.c.insert_many([{"_id": -number, "k": number, "v": 0} for number in range(1, 51)])
    fail_command({"times": 3}, failCommands=["insert", "update", "delete"], **failure)
    documents: list[Document] = [{"k": number, "v": 1} for number in range(1, 101)]
    if mode == "insert":
        documents = [{"_id": ObjectId(), "k": 1000 + number} for number in range(100)]
    key = () if mode == "insert" else ("k",)
    outcome = await written(
        named, documents, mode, key, generated=range(100) if mode == "insert" else range(0), attempt=again
    )
    fail_command("off")
    assert outcome.error is None
    expected: dict[str, tuple[int, int, int, int]] = {
        "insert": (100, 0, 0, 0),
        "upsert": (50, 50, 0, 0),
        "merge": (50, 50, 0, 0),
        "replace": (0, 50, 0, 50),
        "skip": (50, 0, 50, 0),
        "delete": (0, 50, 50, 0),
    }
    assert counts(outcome) == expected[mode]
    deleted = outcome.updated if mode == "delete" else 0
    assert await db.c.count_documents({}) == 50 + outcome.inserted - deleted
    if mode in ("upsert", "merge", "replace"):
        assert await db.c.count_documents({"v": 1}) == outcome.inserted + outcome.updated


@pytest.mark.parametrize("mode", get_args(Mode))
async def test_a_lost_server_leaves_what_is_unknown(
    named: Any, db: Database, fail_command: Any, mode: Mode
) -> None:
    await db.c.create_index("k", unique=True)
    await db.c.insert_many([{"k": number} for number in range(5)])
    fail_command("alwaysOn", failCommands=["insert", "update", "delete"], closeConnection=True)
    documents = [
        {"_id": 100 + number, "k": number % 5 + 5 * (mode == "insert"), "v": 1} for number in range(10)
    ]
    if mode != "insert":
        documents = [{"k": number, "v": 1} for number in range(10)]
    outcome = await written(named, documents, mode, () if mode == "insert" else ("k",))
    assert isinstance(outcome.error, AutoReconnect)
    assert NO_ANSWER in {failure.reason for failure in outcome.failures}
    assert outcome.inserted == outcome.updated == 0
    assert await db.c.count_documents({}) == 5


async def test_no_server_at_all_writes_nothing_and_says_so() -> None:
    client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(
        "mongodb://127.0.0.1:1/?directConnection=true", serverSelectionTimeoutMS=50
    )
    decoded = made([{"_id": 1}], ("_id",))
    for mode in get_args(Mode):
        outcome = await Writer(client["x"]["c"], Plan(mode, ("_id",))).write(decoded, 0, 1)
        assert isinstance(outcome.error, AutoReconnect)
        assert outcome.failures[0].reason.startswith("not written: ")
    await driver.close(client)


async def test_a_slow_answer_is_waited_for(named: Any, fail_command: Any) -> None:
    fail_command("alwaysOn", failCommands=["insert"], blockConnection=True, blockTimeMS=300)
    assert counts(await written(named, [{"_id": 1}])) == (1, 0, 0, 0)


async def test_a_socket_that_times_out_is_tried_again(
    server_uri: str, db: Database, dbname: str, fail_command: Any
) -> None:
    fail_command({"times": 1}, failCommands=["insert"], blockConnection=True, blockTimeMS=500)
    client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(server_uri, appname=dbname, socketTimeoutMS=200)
    documents = [{"_id": ObjectId()} for _ in range(10)]
    outcome = await written(client[dbname]["c"], documents, generated=range(10), attempt=again)
    await driver.close(client)
    assert outcome.inserted == await db.c.count_documents({}) == 10
    assert outcome.error is None
    await asyncio.sleep(0.5)
    assert await db.c.count_documents({}) == 10


async def test_another_writers_documents_in_between_are_updated(db: Database) -> None:
    """They come after the look and before the insert: the unique index refuses a second one."""
    await db.c.create_index("k", unique=True)

    for mode, expected in (("upsert", (1, 1, 1, 0)), ("merge", (1, 1, 1, 0)), ("skip", (1, 0, 2, 0))):
        await db.c.delete_many({})
        writer = Writer(db.c, Plan(mode, ("k",)))  # type: ignore[arg-type]  # every mode, from the table
        await writer.prepare()
        compared = writer._keyed._compared

        async def meddle(*arguments: Any, compared: Any = compared) -> Any:
            found = await compared(*arguments)
            await db.c.insert_many([{"k": 1, "v": 0}, {"k": 2, "v": 1}])
            return found

        writer._keyed._compared = meddle  # type: ignore[method-assign, assignment]  # somebody writes between the two
        decoded = made([{"k": number, "v": 1} for number in range(3)], ("k",))
        outcome = await writer.write(decoded, 0, 3)
        assert counts(outcome) == expected
        assert await db.c.count_documents({}) == 3


# -- the modes --------------------------------------------------------------------------------------------


def model(records: Sequence[Document], there: list[Document], mode: Mode) -> tuple[int, int]:
    """Do by hand, one by one, what a mode says to `there`; count what is inserted and what fails."""
    inserted = failed = 0
    for record in records:
        at = next((at for at, document in enumerate(there) if document["k"] == record["k"]), None)
        if at is None:
            failed += mode == "replace"
            if mode in ("upsert", "merge", "skip"):
                inserted += 1
                there.append(record)
        elif mode == "delete":
            del there[at]
        elif mode != "skip":
            there[at] = there[at] | record if mode == "merge" else record
    return inserted, failed


KEYS = st.integers(0, 6) | st.sampled_from(
    ["a", "b", 1.0, 2.5, Int64(3), Decimal128("4"), ObjectId("0" * 24)]
)
RECORDS = st.lists(
    st.fixed_dictionaries({"k": KEYS, "v": st.integers(0, 1)}, optional={"w": st.integers(0, 1)}), max_size=14
)


def by_value(documents: Sequence[Document]) -> list[Document]:
    """Give documents with every number as a double, as a key's number is compared."""

    def value(one: Any) -> Any:
        number = one.to_decimal() if isinstance(one, Decimal128) else one
        return number if isinstance(number, str | ObjectId) else float(number)

    return [{name: value(document[name]) for name in sorted(document)} for document in documents]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(RECORDS, RECORDS, st.sampled_from(KEYED), st.booleans(), st.booleans())
def test_modes_do_what_they_say(
    server_uri: str,
    dbname: str,
    there: list[Document],
    records: list[Document],
    mode: Mode,
    unique: bool,
    ordered: bool,
) -> None:
    """Against a model, with keys that repeat, and that are equal though their types differ."""

    async def run() -> None:
        client: AsyncMongoClient[Document] = AsyncMongoClient(server_uri)
        collection = client[dbname]["modes"]
        try:
            await collection.drop()
            await collection.create_index("k", unique=unique)
            firsts = {value["k"]: at for at, value in reversed(list(enumerate(by_value(there))))}
            first = [there[at] for at in sorted(firsts.values())]
            if first:
                await collection.insert_many([dict(document) for document in first])
            expected = by_value(first)
            inserted, failed = model(by_value(records), expected, mode)
            outcome = await written(collection, records, mode, ("k",), ordered=ordered)
            assert sorted(by_value(await stored(collection)), key=repr) == sorted(expected, key=repr)
            assert (outcome.inserted, len(outcome.failures)) == (inserted, failed)
            assert all("replace adds none" in failure.reason for failure in outcome.failures)
        finally:
            await client.close()

    asyncio.run(run())


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("unique", [False, True])
@pytest.mark.parametrize("mode", KEYED)
async def test_updated_is_told_from_unchanged(db: Database, mode: Mode, unique: bool, ordered: bool) -> None:
    await db.c.create_index("k", unique=unique)
    await db.c.insert_many([{"k": number, "v": 1, "w": 1} for number in range(4)])
    documents: list[Document] = [
        {"k": 0, "v": 1, "w": 1},  # the same
        {"k": 1, "v": 2, "w": 1},  # another value
        {"k": 2, "w": 1, "v": 1},  # another order
        {"k": 3, "v": 1.0, "w": 1},  # another type
        {"k": 9, "v": 1},  # absent
    ]
    outcome = await written(db.c, documents, mode, ("k",), ordered=ordered)
    expected: dict[str, tuple[int, int, int, int]] = {
        "upsert": (1, 3, 1, 0),
        "merge": (1, 2, 2, 0),
        "replace": (0, 3, 1, 1),
        "skip": (1, 0, 4, 0),
        "delete": (0, 4, 1, 0),
    }
    assert counts(outcome) == expected[mode]
    left = {document["k"]: [*document.items()] for document in await stored(db.c)}
    if mode in ("upsert", "replace"):
        assert [left[number] for number in range(4)] == [[*document.items()] for document in documents[:4]]
        assert isinstance(left[3][1][1], float)
    if mode == "merge":
        assert left[1] == [("k", 1), ("v", 2), ("w", 1)]


@pytest.mark.parametrize("mode", ["upsert", "merge", "replace"])
@pytest.mark.parametrize("ordered", [False, True])
async def test_a_found_document_keeps_its_id(db: Database, mode: Mode, ordered: bool) -> None:
    await db.c.create_index("k", unique=True)
    await db.c.insert_many([{"_id": number, "k": number, "v": 0} for number in range(4)])
    documents: list[Document] = [
        {"k": 0, "v": 1},
        {"_id": 1, "k": 1, "v": 1},
        {"_id": 22, "k": 2, "v": 1},
        {"v": 0, "k": 3, "_id": 3},
    ]
    outcome = await written(db.c, documents, mode, ("k",), ordered=ordered)
    assert [(f.position, f.stage, f.code) for f in outcome.failures] == [(2, "server", 66)]
    assert [document["_id"] async for document in db.c.find().sort("k")] == [0, 1, 2, 3]
    assert outcome.updated + outcome.unchanged == 3


@pytest.mark.parametrize("mode", ["upsert", "merge", "skip"])
@pytest.mark.parametrize("unique", [False, True])
async def test_odd_field_names_are_taken_as_they_are(db: Database, mode: Mode, unique: bool) -> None:
    await db.c.create_index("k", unique=unique)
    await db.c.insert_one({"k": 1, "v": 0})
    documents: list[Document] = [{"a.b": 1, "k": number, "": {"$x": "$k"}, "v": "$v"} for number in range(3)]
    outcome = await written(db.c, documents, mode, ("k",))
    assert (outcome.inserted, len(outcome.failures)) == (2, 0)
    there = {document["k"]: document for document in await stored(db.c)}
    assert [*there[0].items()] == [*documents[0].items()]
    assert there[1] == (documents[1] if mode != "skip" else {"k": 1, "v": 0})


async def test_a_record_that_looks_like_an_operator_changes_nothing_else(db: Database) -> None:
    await db.c.create_index("k", unique=True)
    await db.c.insert_one({"_id": 1, "k": 1, "v": 0})
    outcome = await written(db.c, [{"$set": {"v": 9}, "k": 1}], "upsert", ("k",))
    assert counts(outcome) == (0, 1, 0, 0)
    assert await db.c.find_one({"_id": 1}) == {"_id": 1, "$set": {"v": 9}, "k": 1}


@pytest.mark.parametrize("mode", KEYED)
@pytest.mark.parametrize("ordered", [False, True])
async def test_keys_of_several_and_nested_fields(db: Database, mode: Mode, ordered: bool) -> None:
    await db.c.create_index([("b.c", 1), ("a", 1)], unique=True)
    await db.c.insert_many([{"a": 1, "b": {"c": "x"}, "v": 0}, {"a": 1, "b": {"c": "y"}, "v": 0}])
    documents: list[Document] = [{"a": at, "b": {"c": c}, "v": 1} for at in (1, 2) for c in "xyz"]
    outcome = await written(db.c, documents, mode, ("a", "b.c"), ordered=ordered)
    expected: dict[str, tuple[int, int, int, int]] = {
        "upsert": (4, 2, 0, 0),
        "merge": (4, 2, 0, 0),
        "replace": (0, 2, 0, 4),
        "skip": (4, 0, 2, 0),
        "delete": (0, 2, 4, 0),
    }
    assert counts(outcome) == expected[mode]
    assert await db.c.count_documents({}) == 2 + outcome.inserted - (2 if mode == "delete" else 0)


@pytest.mark.parametrize("mode", KEYED)
async def test_the_id_may_be_the_key(db: Database, mode: Mode) -> None:
    await db.c.insert_many([{"_id": 1, "v": 0}, {"_id": 2, "v": 1}])
    outcome = await written(db.c, [{"_id": number, "v": 1} for number in (1, 2, 3)], mode, ("_id",))
    expected: dict[str, tuple[int, int, int, int]] = {
        "upsert": (1, 1, 1, 0),
        "merge": (1, 1, 1, 0),
        "replace": (0, 1, 1, 1),
        "skip": (1, 0, 2, 0),
        "delete": (0, 2, 1, 0),
    }
    assert counts(outcome) == expected[mode]


@pytest.mark.parametrize("key", [("_id",), ("k",), ("k", "_id")])
@pytest.mark.parametrize("mode", KEYED)
async def test_a_collation_decides_what_is_one_key(db: Database, mode: Mode, key: tuple[str, ...]) -> None:
    await db.create_collection("c", collation={"locale": "en", "strength": 2})
    await db.c.create_index("k", unique=True)
    await db.c.insert_one({"_id": "a", "k": "a", "v": 0})
    documents = [{"_id": text, "k": text, "v": 1} for text in ("A", "b", "B")]
    outcome = await written(db.c, documents, mode, key)
    left = {document["k"].lower() for document in await stored(db.c)}
    if mode == "delete":
        assert (counts(outcome), left) == ((0, 1, 2, 0), set())
    elif mode == "skip":
        assert (counts(outcome), left) == ((1, 0, 2, 0), {"a", "b"})
    else:
        assert left == ({"a"} if mode == "replace" else {"a", "b"})
        assert await db.c.count_documents({}) == len(left)


async def test_an_array_in_the_key_is_not_mistaken_for_its_element(db: Database) -> None:
    """`$in` finds [1, 2] for 1 and for 2, as an update by either key would."""
    await db.c.create_index("k", unique=True)
    await db.c.insert_many([{"_id": 1, "k": [1, 2]}, {"_id": 2, "k": 3}])
    outcome = await written(db.c, [{"k": 1, "v": 1}, {"k": 3, "v": 1}, {"k": 4, "v": 1}], "upsert", ("k",))
    assert counts(outcome) == (1, 2, 0, 0)
    assert await db.c.find_one({"_id": 1}) == {"_id": 1, "k": 1, "v": 1}


async def test_odd_keys_are_left_to_the_server(db: Database) -> None:
    await db.c.create_index("k", unique=True)
    odd = [Decimal128("1"), float("nan"), [7, 8], {"x": 1}, Regex("a"), 2.0, True]
    await db.c.insert_many([{"k": 1, "v": 0}, {"k": 2, "v": 0}])
    documents = [{"k": key, "v": 1} for key in odd]
    assert counts(await written(db.c, documents, "upsert", ("k",)))[:2] == (5, 2)
    assert counts(await written(db.c, documents, "upsert", ("k",))) == (0, 0, 7, 0)
    assert await db.c.count_documents({}) == 7


@pytest.mark.parametrize("mode", ["upsert", "merge", "replace", "skip"])
async def test_refusals_in_modes_with_a_key(db: Database, mode: Mode) -> None:
    await db.create_collection("c", validator={"$jsonSchema": {"properties": {"v": {"bsonType": "int"}}}})
    await db.c.create_index("k", unique=True)
    await db.c.create_index("e", unique=True)
    await db.c.insert_many([{"k": number, "e": number, "v": 0} for number in range(3)])
    documents: list[Document] = [
        {"k": 0, "e": 1, "v": 1},
        {"k": 1, "e": 1, "v": "x"},
        {"k": 2, "e": 2, "v": 1},
        {"k": 8, "e": 1, "v": 1},
        {"k": 9, "e": 9, "v": "x"},
    ]
    outcome = await written(db.c, documents, mode, ("k",))
    found = {(f.position, f.stage, f.field, f.code) for f in outcome.failures}
    new = {(3, "duplicate", "e", 11000), (4, "validator", "v", 121)}
    there = {(0, "duplicate", "e", 11000), (1, "validator", "v", 121)}
    if mode == "replace":
        assert found == there | {(3, "server", "k", None), (4, "server", "k", None)}
    else:
        assert found == (new if mode == "skip" else new | there)
    assert await db.c.count_documents({}) == 3


# -- which index helps ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("index", "key", "expected"),
    [
        ({"key": {"a": 1}}, ("a",), True),
        ({"key": {"a": -1, "b": 1}}, ("a",), True),
        ({"key": {"a": 1, "b": 1}}, ("b", "a"), True),
        ({"key": {"a": 1}}, ("a", "b"), False),
        ({"key": {"b": 1, "a": 1}}, ("a",), False),
        ({"key": {"a": "hashed"}}, ("a",), True),
        ({"key": {"a": "text"}}, ("a",), False),
        ({"key": {"a": 1}, "hidden": True}, ("a",), False),
        ({"key": {"a": 1}, "sparse": True}, ("a",), True),
        ({"key": {"a": 1}, "partialFilterExpression": {"b": 1}}, ("a",), False),
        ({"key": {"a": 1}, "collation": {"locale": "fr"}}, ("a",), False),
        ({"key": {"b": 1}}, ("_id",), True),
        ({"key": {"b": 1}}, ("_id", "a"), True),
    ],
)
def test_which_index_serves_a_key(index: Document, key: tuple[str, ...], expected: bool) -> None:
    assert serves([{"key": {"_id": 1}}, index], key) is expected


async def test_a_server_agrees_which_index_serves(db: Database) -> None:
    await db.c.create_index("a", collation={"locale": "fr"})
    await db.c.create_index([("b", 1), ("c", 1)])
    await db.c.insert_many([{"a": "x", "b": 1, "c": 1}])
    indexes = await driver.list_indexes(db.c)
    for key in (("a",), ("b",), ("c", "b"), ("c",)):
        query = dict.fromkeys(key, "x")
        plan = await db.command("explain", {"find": "c", "filter": query}, verbosity="queryPlanner")
        assert serves(indexes, key) is ("IXSCAN" in str(plan["queryPlanner"]["winningPlan"]))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"unique": True, "sparse": True},
        {"unique": True, "partialFilterExpression": {"v": 1}},
        {"unique": True, "collation": {"locale": "en", "strength": 2}},
    ],
)
async def test_only_a_unique_index_makes_inserting_safe(
    server_uri: str, db: Database, options: Document
) -> None:
    """Without one, another writer's document wouldn't keep a second one out."""
    await db.c.create_index("k", **options)
    seen = Seen()
    client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(server_uri, event_listeners=[seen])
    outcome = await written(client[db.name]["c"], [{"k": "a", "v": 1}], "upsert", ("k",))
    await driver.close(client)
    assert outcome.inserted == 1
    assert "insert" not in seen.names


# -- elements ---------------------------------------------------------------------------------------------


def test_elements_of_every_type_are_cut_where_they_end() -> None:
    deprecated = b"\x06u\0\x0cp\0\2\0\0\0x\0" + bytes(12) + b"\x0ey\0\2\0\0\0x\0"
    raw = bson.encode(EVERY_TYPE)
    raw = elements.document(raw[4:-1], deprecated)
    cut = list(elements.elements(raw))
    assert [name.decode() for _, name, _ in cut] == [*EVERY_TYPE, "u", "p", "y"]
    assert elements.document(*(b"%c%b\0%b" % element for element in cut)) == raw
    assert list(elements.documents(raw * 3)) == [raw] * 3


def test_only_the_same_document_is_equal() -> None:
    ours = bson.encode({"a": 1, "t": Timestamp(0, 0), "_id": 5})
    assert elements.equal(ours, bson.encode({"_id": 5, "a": 1, "t": Timestamp(9, 9)}))
    for other in ({"_id": 5, "a": 1.0}, {"_id": 5, "a": Int64(1)}, {"_id": 6, "a": 1}, {"_id": 5, "a": 2}):
        assert not elements.equal(ours, bson.encode({**other, "t": Timestamp(9, 9)}))
    assert elements.equal(bson.encode({"a": 1}), bson.encode({"_id": 7, "a": 1}))
    assert not elements.equal(bson.encode({"a": 1}), bson.encode({"_id": 7, "a": 1, "b": 1}))
    assert not elements.equal(bson.encode({"a": 1, "b": 2}), bson.encode({"_id": 7, "b": 2, "a": 1}))


# -- rehearsals -------------------------------------------------------------------------------------------


async def rehearsed(
    collection: Any,
    documents: Sequence[Document],
    mode: Mode = "insert",
    key: Sequence[str] = (),
    *,
    size: int = 1000,
    **options: Any,
) -> tuple[Outcome, tuple[str, ...]]:
    """Rehearse documents in batches: the outcomes together, and what is left open."""
    writer = Writer(collection, Plan(mode, tuple(key)), **options)
    await writer.prepare()
    total = Outcome()
    decoded = made(documents, key)
    for start, stop in batches(decoded, size):
        outcome = await writer.rehearse(decoded, start, stop)
        total.inserted += outcome.inserted
        total.updated += outcome.updated
        total.unchanged += outcome.unchanged
        total.failures += outcome.failures
    return total, writer.unasked


SCHEMA: Document = {
    "$jsonSchema": {
        "required": ["k"],
        "properties": {
            "v": {"bsonType": "int", "maximum": 9},
            "o": {"required": ["p"], "properties": {"p": {"enum": ["x", "y"]}}},
        },
    }
}
MANY: list[Document] = [
    {"k": 0, "e": 0, "v": 0},  # there, the same
    {"k": 1, "e": 1, "v": 5},  # there, another
    {"k": 2, "e": 1, "v": 5},  # there, with another's e
    {"k": 3, "e": 3, "v": "x"},
    {"k": 4, "e": 4, "v": 10, "o": {"p": "z"}},
    {"k": 5, "e": 5, "o": {}},
    {"k": 6, "e": 6},
    {"k": 6, "e": 6, "v": 1},  # a key again
    {"k": 7, "e": 6},  # an e again
    {"k": 8, "_id": 1},
    {"k": 9},
    {"k": 0, "_id": 77, "e": 0},
]


@pytest.mark.parametrize("size", [1000, 1])
@pytest.mark.parametrize("mode", get_args(Mode))
async def test_a_rehearsal_says_what_then_happens(db: Database, mode: Mode, size: int) -> None:
    """Counts, and each failure with its stage, field, code and words; and nothing is written."""
    await db.create_collection("c", validator=SCHEMA)
    await db.c.create_index("k", unique=True)
    await db.c.create_index("e", unique=True)
    await db.c.insert_many([{"_id": number, "k": number, "e": number, "v": 0} for number in range(3)])
    before = await stored(db.c)
    key = () if mode == "insert" else ("k",)
    expected, unasked = await rehearsed(db.c, MANY, mode, key, size=size)
    assert await stored(db.c) == before
    assert await db.list_collection_names() == ["c"]
    assert unasked == ()
    writer = Writer(db.c, Plan(mode, key))
    await writer.prepare()
    decoded = made(MANY, key)
    total = Outcome()
    for at in range(len(MANY)):
        outcome = await writer.write(decoded, at, at + 1)
        total.inserted += outcome.inserted
        total.updated += outcome.updated
        total.unchanged += outcome.unchanged
        total.failures += outcome.failures
    assert counts(expected) == counts(total)
    places = [[(f.position, f.stage, f.code) for f in sorted(one.failures)] for one in (expected, total)]
    assert places[0] == places[1]


async def test_a_rehearsals_reasons_are_the_servers(db: Database) -> None:
    await db.create_collection("c", validator=SCHEMA)
    await db.c.create_index("e", unique=True)
    await db.c.insert_one({"k": 0, "e": "é"})
    documents: list[Document] = [
        {"_id": 1, "k": 1, "e": "é"},
        {"_id": 2, "k": 1, "v": "x"},
        {"_id": 3, "e": 4},
    ]
    documents += [{"_id": 4, "k": 1, "e": 5, "o": {"p": "z"}}, {"_id": 6, "k": 1, "e": 7, "v": 10, "o": {}}]
    expected, _ = await rehearsed(db.c, documents)
    outcome = await written(db.c, documents)
    assert sorted(expected.failures) == sorted(outcome.failures)


async def test_a_rehearsal_asks_any_validator(db: Database) -> None:
    validator = {"$and": [{"a": {"$gt": 1}}], "b": {"$type": "int"}, "$expr": {"$lt": ["$a", 5]}}
    await db.create_collection("c", validator=validator)
    outcome, _ = await rehearsed(
        db.c, [{"a": 2, "b": 1}, {"a": 2, "b": "x"}, {"a": 9, "b": 1}, {"a": 0, "b": 1}]
    )
    assert counts(outcome) == (1, 0, 0, 3)
    assert {(f.stage, f.code) for f in outcome.failures} == {("validator", 121)}


@pytest.mark.parametrize("options", [{"validationLevel": "off"}, {"validationAction": "warn"}])
async def test_a_rehearsal_knows_when_a_validator_lets_pass(db: Database, options: Document) -> None:
    await db.create_collection("c", validator=SCHEMA, **options)
    assert counts((await rehearsed(db.c, [{"v": "x"}]))[0]) == (1, 0, 0, 0)


async def test_a_rehearsal_may_bypass_the_validator(db: Database) -> None:
    await db.create_collection("c", validator=SCHEMA)
    assert counts((await rehearsed(db.c, [{"v": "x"}]))[0]) == (0, 0, 0, 1)
    assert counts((await rehearsed(db.c, [{"v": "x"}], bypass_validation=True))[0]) == (1, 0, 0, 0)


async def test_a_rehearsal_says_what_it_can_not_tell(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    await db.create_collection("c", validator=SCHEMA, validationLevel="moderate")
    await db.c.create_index("k", unique=True)
    await db.c.create_index("e", unique=True, partialFilterExpression={"e": 1}, name="some")
    await db.c.create_index("t", unique=True, name="tags", sparse=True)
    await db.c.insert_one({"k": 1, "v": 0})
    monkeypatch.setattr(rehearse, "REMEMBERED", 2)
    documents: list[Document] = [{"k": 1, "v": "x"}, {"k": 2, "t": [1, 2]}, {"k": 3}, {"k": 4}]
    outcome, unasked = await rehearsed(db.c, documents, "upsert", ("k",))
    assert counts(outcome) == (3, 1, 0, 0)
    told = "\n".join(unasked)
    assert "the unique index some" in told
    assert "the unique index tags, for values that are arrays" in told
    assert "its level is moderate" in told
    assert "beyond its first 2 keys" in told


async def test_a_rehearsal_of_an_absent_collection_makes_none(db: Database) -> None:
    for mode in get_args(Mode):
        key = () if mode == "insert" else ("_id",)
        outcome, _ = await rehearsed(db.c, [{"_id": 1}, {"_id": 2}, {"_id": 1}], mode, key)
        expected: dict[str, tuple[int, int, int, int]] = {
            "insert": (2, 0, 0, 1),
            "upsert": (2, 0, 1, 0),
            "merge": (2, 0, 1, 0),
            "replace": (0, 0, 0, 3),
            "skip": (2, 0, 1, 0),
            "delete": (0, 0, 3, 0),
        }
        assert counts(outcome) == expected[mode]
    assert await db.list_collection_names() == []
