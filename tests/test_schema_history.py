"""The record that an apply leaves, and the digest of what a manifest wishes."""

from __future__ import annotations

import hashlib
import socket
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from bson import Decimal128, ObjectId
from motor.motor_asyncio import AsyncIOMotorClient

from motorctl import __version__
from motorctl.core import driver, schema
from motorctl.core.schema import Change, Collection, Index, Validator, history

if TYPE_CHECKING:
    import pymongo
    from conftest import Runner

    from motorctl.client import Database

USERS = [Collection("users", {}, None, (Index({"a": 1}),))]


def change(status: Any, name: str = "a_1", **options: Any) -> Change:
    return Change("users", "index", "create", name, None, {"keys": {"a": 1}, "name": name}, status, **options)


async def begun(db: Database) -> ObjectId:
    record, why = await history.begin(db, manifest=["shop.yaml", "-"], desired=USERS, options={"prune": True})
    assert why is None
    assert record is not None
    return record


async def test_an_apply_leaves_a_record(db: Database) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    record = await begun(db)
    (entry,) = await history.entries(db, 10)
    assert entry["result"] == "unfinished"
    assert entry["finished_at"] is None

    done = [change("applied"), Change("users", "collection", "keep", "users", status="in_sync")]
    assert await history.finish(db, record, done) is None
    (entry,) = await history.entries(db, 10)
    begin, end = entry.pop("started_at"), entry.pop("finished_at")
    assert before < begin <= end < datetime.now(UTC) + timedelta(seconds=1)
    user = entry.pop("user")
    assert user["server"] == []
    assert isinstance(user["system"], str)
    assert entry == {
        "_id": record,
        "host": socket.gethostname(),
        "version": __version__,
        "manifest": ["shop.yaml", "-"],
        "digest": history.digest(USERS),
        "options": {"prune": True},
        "changes": [
            {"collection": "users", "kind": "index", "action": "create", "name": "a_1", "status": "applied"}
        ],
        "result": "applied",
    }


@pytest.mark.parametrize(
    ("statuses", "interrupted", "result"),
    [
        (["applied", "applied"], False, "applied"),
        (["applied", "failed"], False, "partly"),
        (["applied", "blocked"], False, "partly"),
        (["failed", "skipped"], False, "failed"),
        (["applied", "skipped"], True, "interrupted"),
        ([], False, "applied"),
    ],
)
async def test_how_it_ended_is_one_word(
    db: Database, statuses: list[str], interrupted: bool, result: str
) -> None:
    record = await begun(db)
    changes = [change(status, f"i{n}") for n, status in enumerate(statuses)]
    await history.finish(db, record, changes, interrupted=interrupted)
    (entry,) = await history.entries(db, 1)
    assert entry["result"] == result


async def test_an_error_is_kept_without_the_values_of_documents(db: Database) -> None:
    record = await begun(db)
    error = {"code": 11000, "code_name": "DuplicateKey", "message": "taken", "key_value": {"a.b": 1}}
    await history.finish(db, record, [change("failed", error=error)])
    (entry,) = await history.entries(db, 1)
    assert entry["changes"][0]["error"] == {"code": 11000, "code_name": "DuplicateKey", "message": "taken"}


async def test_the_newest_come_first(db: Database) -> None:
    records = [await begun(db) for _ in range(3)]
    assert [entry["_id"] for entry in await history.entries(db, 2)] == records[:0:-1]
    assert await history.entries(db.client.get_database(f"{db.name}_none"), 2) == []


async def test_who_may_not_write_it_is_told_and_goes_on(db: Database, server_uri: str) -> None:
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(server_uri, appname=db.name)
    data = {"failCommands": ["update"], "errorCode": 13, "appName": db.name}
    restricted = client.get_database(db.name)
    try:
        await client.admin.command({"configureFailPoint": "failCommand", "mode": "alwaysOn", "data": data})
        record, why = await history.begin(restricted, manifest=["a.yaml"], desired=USERS, options={})
        assert record is None
        assert why
        assert await history.finish(restricted, record, []) is None
        assert await history.finish(restricted, ObjectId(), [])
    finally:
        await client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})
        await driver.close(client)
    assert await history.entries(db, 1) == []


def test_an_apply_that_changes_nothing_leaves_one_too(cli: Runner) -> None:
    for _ in range(2):
        assert cli("schema", "apply", "--builtin", "shop").code == 0
    newest, _ = cli("schema", "history", "-o", "json").json()
    assert (newest["result"], newest["changes"]) == ("applied", [])
    assert "Each apply leaves one record, also one that had nothing to change" in " ".join(
        cli("schema", "history", "--help").stdout.replace("│", " ").split()
    )


async def test_an_end_that_cannot_be_written_is_told(db: Database) -> None:
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(
        "mongodb://127.0.0.1:9", serverSelectionTimeoutMS=100
    )
    why = await history.finish(client.get_database(db.name), ObjectId(), [])
    assert why is not None
    assert why.startswith("the connection was lost: ")
    await driver.close(client)


async def test_the_record_is_no_part_of_the_schema(db: Database) -> None:
    await begun(db)
    assert await schema.fetch(db) == {}


def collection(**options: Any) -> Collection:
    return Collection(
        "users",
        {"collation": {"locale": "en", "strength": 2}, "capped": True, "size": 4096, **options},
        Validator({"$jsonSchema": {"required": ["a", "b"], "properties": {"a": {}, "b": {}}}, "c": 1}),
        (
            Index({"a": 1, "b": -1}, None, {"unique": True, "partialFilterExpression": {"x": 1, "y": 2}}),
            Index({"c": 1}),
        ),
    )


def test_what_is_the_same_wish_has_the_same_digest() -> None:
    other = Collection("other", {}, None)
    same = Collection(
        "users",
        {"size": 4096.0, "capped": True, "collation": {"strength": 2, "caseLevel": False, "locale": "en"}},
        Validator({"c": 1.0, "$jsonSchema": {"properties": {"b": {}, "a": {}}, "required": ["b", "a"]}}),
        (
            Index({"c": 1.0}, None, {"sparse": False}),
            Index(
                {"a": 1, "b": -1},
                None,
                {"partialFilterExpression": {"y": Decimal128("2"), "x": 1}, "unique": True},
            ),
        ),
    )
    assert history.digest([collection(), other]) == history.digest([other, same])
    assert len(history.digest([])) == len(hashlib.sha256().hexdigest())


OTHERS = [
    Collection("users"),
    Collection("users", absent=True),
    Collection("users", renamed_from="people"),
    Collection("users", validator=Validator({})),
    Collection("users", validator=Validator({"a": 1})),
    Collection("users", validator=Validator({"a": 1}, "moderate")),
    Collection("users", validator=Validator({"a": True})),
    Collection("users", validator=Validator({"a": {"b": 1, "c": 1}})),
    Collection("users", validator=Validator({"a": {"c": 1, "b": 1}})),
    Collection("users", validator=Validator({"a": ObjectId(b"a" * 12)})),
    Collection("users", validator=Validator({"a": ObjectId(b"b" * 12)})),
    Collection("users", indexes=(Index({"a": 1, "b": 1}),)),
    Collection("users", indexes=(Index({"b": 1, "a": 1}),)),
    Collection("users", indexes=(Index({"a": 1, "b": 1}, "own"),)),
    Collection("users", indexes=(Index({"a": 1, "b": 1}, None, {"unique": True}),)),
    Collection("users", absent_indexes=(Index({"a": 1, "b": 1}),)),
    Collection("users", {"viewOn": "a", "pipeline": [{"$match": {"x": 1.5}}, {"$limit": 1}]}),
    Collection("users", {"viewOn": "a", "pipeline": [{"$limit": 1}, {"$match": {"x": 1.5}}]}),
]


def test_what_is_another_wish_has_another_digest() -> None:
    assert len({history.digest([other]) for other in OTHERS}) == len(OTHERS)


def test_nothing_of_a_connection_string_is_known_to_it(
    server_uri: str, dbname: str, sync_db: pymongo.database.Database[dict[str, Any]]
) -> None:
    import asyncio

    async def leave() -> None:
        client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(f"{server_uri}&appname=pa55word")
        await begun(client.get_database(dbname))
        await driver.close(client)

    asyncio.run(leave())
    assert "pa55word" not in str(list(sync_db[history.COLLECTION].find()))
