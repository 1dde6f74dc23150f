"""An apply that is broken off anywhere, by its death or by the server: the next one finishes it."""

from __future__ import annotations

import asyncio
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pymongo
import pytest
from conftest import until
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.errors import AutoReconnect

from motorctl.core import driver, schema
from motorctl.core.schema import Change, Collection, Index, Server, Validator
from motorctl.core.schema.applying import rebuild

if TYPE_CHECKING:
    from collections.abc import Iterator

    from motorctl.client import Database

    SyncDatabase = pymongo.database.Database[dict[str, Any]]

CHANGES = frozenset({"create", "createIndexes", "dropIndexes", "collMod", "drop"})

BEFORE = [
    Collection(
        "users",
        {},
        Validator({"a": {"$gte": 0}}),
        (
            Index({"email": 1}, "email_1"),
            Index({"n": 1}, "n_1", {"expireAfterSeconds": 5}),
            Index({"old": 1}, "old_1"),
            Index({"t": "text"}, "words"),
        ),
    )
]
AFTER = [
    Collection(
        "users",
        {},
        Validator({"a": {"$gte": 1}}),
        (
            Index({"email": 1}, "email_1", {"unique": True}),
            Index({"n": 1}, "n_1", {"expireAfterSeconds": 7}),
            Index({"t": "text", "u": "text"}, "words"),
            Index({"fresh": 1}, "fresh_1"),
        ),
    ),
    Collection("added", {}, Validator({"b": 1}), (Index({"c": 1}, "c_1"),)),
]


WITHOUT_CONVERSION = Server((5, 0))
"""From 6.0 on an index becomes unique where it is; any server can rebuild it."""


async def planned(db: Database, desired: list[Collection], server: Server | None = None) -> list[Change]:
    server = server or await schema.fetch_server(db)
    return schema.plan(await schema.fetch(db), desired, server=server, prune=True)


async def bring(
    db: Database, desired: list[Collection], *, sender: Any = None, server: Server | None = None
) -> list[Change]:
    changes = await planned(db, desired, server)
    results = await schema.apply(db if sender is None else sender, changes)
    return [change for change in results if change.action != "keep"]


async def prepare(db: Database) -> None:
    assert {c.status for c in await bring(db, BEFORE)} == {"applied"}
    await db["users"].insert_many([{"a": n, "email": f"e{n}", "t": "x", "u": "y"} for n in range(1, 9)])


async def assert_finished(db: Database) -> None:
    """Apply once more, and find everything as it should be and nothing left over."""
    results = await bring(db, AFTER)
    assert {(c.status, str(c.error)) for c in results} <= {("applied", "None")}
    assert schema.in_sync(await planned(db, AFTER))
    assert sorted(await db.list_collection_names()) == ["added", "users"]
    names = {index.resolved_name for index in (await schema.fetch(db))["users"].indexes}
    assert names == {"email_1", "n_1", "words", "fresh_1"}


class Killed(BaseException):
    """The end of a process, as its own code sees it: nothing is sent any more."""


class Mortal:
    """A database whose commands work until the one of a number, and never again."""

    def __new__(cls, db: Database, last: int) -> Any:
        class Dying(type(db)):  # type: ignore[misc]  # the database's own class, Motor's or PyMongo's
            sent = 0
            dead = False

            async def command(self, command: dict[str, Any], **options: Any) -> Any:
                if self.dead:
                    raise Killed
                if next(iter(command)) in CHANGES:
                    if type(self).sent == last:
                        type(self).dead = True
                        raise Killed
                    type(self).sent += 1
                return await db.command(command, **options)

        return Dying(db.client, db.name)


SERVERS = pytest.mark.parametrize("server", [None, WITHOUT_CONVERSION], ids=["as it is", "rebuilding"])


@SERVERS
async def test_killed_before_each_command_in_turn_the_next_one_finishes(
    db: Database, monkeypatch: pytest.MonkeyPatch, server: Server | None
) -> None:
    # What a killed one tried its specification on goes after an hour: here it is always late.
    monkeypatch.setattr(rebuild, "_ABANDONED", -1)
    monkeypatch.setattr(rebuild, "_LATECOMERS", 0)
    survived = False
    last = 0
    while not survived:
        await db.client.drop_database(db.name)
        await prepare(db)
        try:
            await bring(db, AFTER, sender=Mortal(db, last), server=server)
            survived = True
        except Killed:
            last += 1
        await assert_finished(db)
    assert last > 15


@contextmanager
def failing(server_uri: str, mode: Any, **data: Any) -> Iterator[None]:
    with pymongo.MongoClient[dict[str, Any]](server_uri) as client:
        client.admin.command({"configureFailPoint": "failCommand", "mode": mode, "data": data})
        try:
            yield
        finally:
            client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})


@pytest.mark.parametrize("how", [{"closeConnection": True}, {"errorCode": 8000}, {"errorCode": 91}])
@pytest.mark.parametrize("command", sorted(CHANGES))
async def test_refused_by_the_server_the_next_one_finishes(
    db: Database, server_uri: str, command: str, how: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuild, "_ABANDONED", -1)
    await prepare(db)
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(server_uri, appname=db.name)
    try:
        # The first of them is let through, so that it stops in the middle.
        mode = {"skip": 0 if command in ("create", "drop") else 1}
        with failing(server_uri, mode, failCommands=[command], appName=db.name, **how):
            sender = client.get_database(db.name)
            results = await bring(db, AFTER, sender=sender, server=WITHOUT_CONVERSION)
    finally:
        await driver.close(client)
    assert {c.status for c in results} & {"failed", "skipped"}
    assert all(c.error for c in results if c.status == "failed")
    await assert_finished(db)


APPLY = """
import asyncio, sys
from motor.motor_asyncio import AsyncIOMotorClient
from motorctl.core import schema
from motorctl.core.schema import Collection, Index, Server

async def main():
    db = AsyncIOMotorClient(sys.argv[1])[sys.argv[2]]
    desired = [Collection("users", {}, None, (Index({"email": 1}, "email_1", {"unique": True}),))]
    await schema.apply(db, schema.plan(await schema.fetch(db), desired, server=Server((5, 0))))

asyncio.run(main())
"""


@pytest.mark.parametrize("before", [None, Index({"email": 1}, "email_1")], ids=["build", "rebuild"])
async def test_a_build_whose_client_was_killed_is_waited_for(
    db: Database, sync_db: SyncDatabase, server_uri: str, before: Index | None
) -> None:
    desired = [Collection("users", {}, None, (Index({"email": 1}, "email_1", {"unique": True}),))]
    await db["users"].insert_many([{"email": n} for n in range(100)])
    if before is not None:
        await bring(db, [Collection("users", {}, None, (before,))])
    admin = sync_db.client.admin
    admin.command({"configureFailPoint": "hangAfterStartingIndexBuild", "mode": "alwaysOn"})
    try:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", APPLY, server_uri, db.name)
        until(lambda: _building(sync_db), "a build is under way")
        process.kill()
        await process.wait()
        assert _building(sync_db)
        assert not schema.in_sync(schema.plan(await schema.fetch(db), desired)), (
            "what is built isn't there yet"
        )
        applying = asyncio.create_task(bring(db, desired, server=WITHOUT_CONVERSION))
        await asyncio.sleep(0.5)
        assert not applying.done()
    finally:
        admin.command({"configureFailPoint": "hangAfterStartingIndexBuild", "mode": "off"})
    assert {(c.status, str(c.error)) for c in await applying} == {("applied", "None")}
    assert schema.in_sync(await planned(db, desired))
    assert sorted(await db["users"].index_information()) == ["_id_", "email_1"]


async def test_ctrl_c_while_a_stand_in_is_built_ends_that_build(db: Database, sync_db: SyncDatabase) -> None:
    plain = [Collection("users", {}, None, (Index({"email": 1}, "email_1"),))]
    desired = [Collection("users", {}, None, (Index({"email": 1}, "email_1", {"unique": True}),))]
    await db["users"].insert_many([{"email": n} for n in range(100)])
    await bring(db, plain)
    admin = sync_db.client.admin
    admin.command({"configureFailPoint": "hangAfterStartingIndexBuild", "mode": "alwaysOn"})
    try:
        applying = asyncio.create_task(bring(db, desired, server=WITHOUT_CONVERSION))
        while not _building(sync_db):
            assert not applying.done()
            await asyncio.sleep(0.05)
        applying.cancel()
        await asyncio.sleep(0.2)
    finally:
        admin.command({"configureFailPoint": "hangAfterStartingIndexBuild", "mode": "off"})
    with pytest.raises(asyncio.CancelledError):
        await applying
    until(lambda: not _building(sync_db), "nothing is built")
    assert schema.in_sync(await planned(db, plain))


def _building(db: SyncDatabase) -> bool:
    reply = db.command({"listIndexes": "users", "includeBuildUUIDs": True})
    return any("buildUUID" in document for document in reply["cursor"]["firstBatch"])


@SERVERS
async def test_six_at_once_all_succeed(db: Database, server: Server | None) -> None:
    await prepare(db)
    results = await asyncio.gather(*(bring(db, AFTER, server=server) for _ in range(6)))
    assert {(c.status, str(c.error)) for result in results for c in result} == {("applied", "None")}
    await assert_finished(db)


async def test_one_that_is_cut_off_does_not_harm_five_others(db: Database, server_uri: str) -> None:
    await prepare(db)
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(server_uri, appname=db.name)
    data = {"failCommands": sorted(CHANGES), "closeConnection": True, "appName": db.name}
    try:
        with failing(server_uri, {"skip": 5}, **data):
            unlucky = bring(db, AFTER, sender=client.get_database(db.name), server=WITHOUT_CONVERSION)
            _, *others = await asyncio.gather(
                unlucky, *(bring(db, AFTER, server=WITHOUT_CONVERSION) for _ in range(5))
            )
    finally:
        await driver.close(client)
    assert {(c.status, str(c.error)) for result in others for c in result} == {("applied", "None")}
    await assert_finished(db)


@pytest.mark.parametrize("code", [12587, 285])
async def test_a_foreign_index_build_is_waited_for_as_long_as_it_lasts(
    db: Database, server_uri: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from motorctl.core.schema.applying import catalog

    monkeypatch.setattr(catalog, "_LONGEST", 0.0)
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(server_uri, appname=db.name)
    try:
        with failing(
            server_uri, {"times": 4}, failCommands=["createIndexes"], errorCode=code, appName=db.name
        ):
            await catalog.Catalog(client.get_database(db.name)).create_index(
                "users", {"key": {"a": 1}, "name": "a"}
            )
    finally:
        await driver.close(client)
    assert "a" in await db["users"].index_information()


async def test_lost_connections_are_tried_again_as_the_caller_wishes(db: Database, server_uri: str) -> None:
    await prepare(db)
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(server_uri, appname=db.name)

    async def thrice(operation: Any) -> Any:
        for _ in range(2):
            try:
                return await operation()
            except AutoReconnect:
                pass
        return await operation()

    data = {"failCommands": sorted(CHANGES), "closeConnection": True, "appName": db.name}
    try:
        with failing(server_uri, {"times": 2}, **data):
            changes = await planned(db, AFTER)
            results = await schema.apply(client.get_database(db.name), changes, attempt=thrice)
    finally:
        await driver.close(client)
    assert {c.status for c in results if c.action != "keep"} == {"applied"}
    await assert_finished(db)
