"""Fetch, apply and dump on a real server: what was planned is what is there afterwards."""

from __future__ import annotations

import asyncio
import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import conftest
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.errors import AutoReconnect, OperationFailure
from test_schema_plan import INDEX_SETS

from motorctl import manifest
from motorctl.core import driver, schema
from motorctl.core.ingest.resuming import fingerprint
from motorctl.core.schema import Blocker, Change, Collection, Index, SearchIndex, Server, Validator, history
from motorctl.core.schema.applying.catalog import Catalog
from motorctl.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from motorctl.client import Database

ONE_OF_EVERYTHING = """
collections:
  indexed:
    indexes:
      - keys: {a: 1, b: -1}
      - keys: {email: 1}
        unique: true
      - keys: {email: 1}
        name: email_sparse
        sparse: true
      - keys: {p: 1, title: text, body: text}
        weights: {title: 5}
        default_language: german
      - keys: {expires_at: 1}
        expireAfterSeconds: 3600
        hidden: true
      - keys: {active: 1}
        partialFilterExpression: {active: true, n: {$gt: {$numberDecimal: "1.5"}}}
      - keys: {active: 1}
        name: active_other
        partialFilterExpression: {active: false}
      - keys: {name: 1}
        collation: {locale: fr_CA, strength: 2}
      - keys: {place: 2dsphere}
      - keys: {flat: 2d}
        bits: 20
      - keys: {h: hashed}
      - keys: {$**: 1}
        wildcardProjection: {a: 1}
  collated:
    collation: {locale: en, strength: 2}
    indexes:
      - keys: {a: 1}
      - keys: {b: 1}
        collation: {locale: simple}
      - keys: {c: 1}
        collation: {locale: de}
  validated:
    validator:
      $jsonSchema: {required: [a], properties: {a: {bsonType: [int, double], minimum: 0.0}}}
      $or: [{b: 1}, {c: {$regex: '^x', $options: i}}]
    validationLevel: moderate
    validationAction: warn
  log: {capped: true, size: 1000, max: 10}
  weather:
    timeseries: {timeField: at, metaField: place, granularity: minutes}
    expireAfterSeconds: 86400
    indexes:
      - keys: {place: 1, at: -1}
  clustered:
    clusteredIndex: {key: {_id: 1}, unique: true}
    indexes:
      - keys: {a: 1}
  watched: {changeStreamPreAndPostImages: {enabled: true}}
  seen: {viewOn: indexed, pipeline: [{$match: {active: true}}]}
"""


def read(text: str) -> list[Collection]:
    return manifest.load("-", io.BytesIO(text.encode()))


async def planned(
    db: Database, desired: list[Collection], *, prune: bool = False, server: Server | None = None
) -> list[Change]:
    server = server or await schema.fetch_server(db)
    return schema.plan(await schema.fetch(db), desired, server=server, prune=prune)


async def bring(
    db: Database, desired: list[Collection], *, prune: bool = False, server: Server | None = None
) -> list[Change]:
    """Plan and apply; return what wasn't just kept."""
    results = await schema.apply(db, await planned(db, desired, prune=prune, server=server))
    return [change for change in results if change.action != "keep"]


def users(*indexes: Index, validator: Validator | None = None) -> list[Collection]:
    return [Collection("users", {}, validator, indexes)]


async def names(db: Database, collection: str = "users") -> list[str]:
    return [document["name"] for document in await driver.list_indexes(db[collection])]


async def test_one_of_everything_is_applied_dumped_and_found_in_sync(db: Database) -> None:
    desired = read(ONE_OF_EVERYTHING)
    results = await bring(db, desired)
    assert {(c.status, str(c.error)) for c in results} == {("applied", "None")}
    assert await bring(db, desired, prune=True) == []

    dumped = manifest.dump_yaml(schema.dump(await schema.fetch(db)))
    assert schema.in_sync(await planned(db, read(dumped), prune=True))
    other = db.client.get_database(f"{db.name}_copy")
    assert {c.status for c in await bring(other, read(dumped))} == {"applied"}
    assert schema.dump(await schema.fetch(other)) == schema.dump(await schema.fetch(db))
    assert schema.in_sync(await planned(other, desired, prune=True))
    await db.client.drop_database(other.name)


@pytest.mark.parametrize("name", ["college", "shop"])
async def test_a_shipped_manifest_is_applied_once(db: Database, name: str) -> None:
    desired = manifest.load_builtin(name)
    assert {c.status for c in await bring(db, desired)} == {"applied"}
    assert await bring(db, desired, prune=True) == []


async def test_six_at_once_all_succeed(db: Database) -> None:
    await db.create_collection("users")
    await db["users"].create_index("email", name="by_mail")
    desired = manifest.load_builtin("shop")
    results = await asyncio.gather(*(bring(db, desired) for _ in range(6)))
    assert {(c.status, str(c.error)) for result in results for c in result} == {("applied", "None")}
    assert schema.in_sync(await planned(db, desired))


async def test_six_rebuilds_at_once_all_succeed(db: Database) -> None:
    await db["users"].insert_many([{"email": n} for n in range(200)])
    await bring(db, users(Index({"email": 1}), Index({"n": 1}, "old")))
    desired = users(Index({"email": 1}, None, {"unique": True}), Index({"n": 1}, "new"))
    results = await asyncio.gather(*(bring(db, desired) for _ in range(6)))
    assert {(c.status, str(c.error)) for result in results for c in result} == {("applied", "None")}
    assert sorted(await names(db)) == ["_id_", "email_1", "new"]
    assert schema.in_sync(await planned(db, desired, prune=True))


@pytest.mark.parametrize(
    ("code", "status"), [(112, "applied"), (117, "applied"), (276, "applied"), (8000, "failed")]
)
async def test_a_busy_catalogue_is_tried_again(db: Database, server_uri: str, code: int, status: str) -> None:
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(server_uri, appname=db.name)
    data = {"failCommands": ["createIndexes"], "errorCode": code, "appName": db.name}
    try:
        await client.admin.command({"configureFailPoint": "failCommand", "mode": {"times": 2}, "data": data})
        results = await bring(client.get_database(db.name), users(Index({"a": 1})))
        assert [c.status for c in results] == ["applied", status]
    finally:
        await client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})
        await driver.close(client)


async def test_one_that_fails_does_not_stop_the_others(db: Database) -> None:
    await db["users"].insert_many([{"email": "a@x.org"}, {"email": "a@x.org"}])
    results = await bring(db, users(Index({"email": 1}, None, {"unique": True}), Index({"n": 1})))
    assert [(c.name, c.status) for c in results] == [("email_1", "failed"), ("n_1", "applied")]
    error = results[0].error
    assert error is not None
    assert (error["code"], error["code_name"], error["key_value"]) == (
        11000,
        "DuplicateKey",
        {"email": "a@x.org"},
    )
    assert "error" in results[0].document()
    assert "error" not in results[1].document()


async def test_without_its_collection_the_rest_is_skipped(db: Database) -> None:
    desired = [Collection("users", {"capped": True, "size": -1}, Validator({"a": 1}), (Index({"a": 1}),))]
    results = await bring(db, desired)
    assert [(c.kind, c.status) for c in results] == [
        ("collection", "failed"),
        ("validator", "skipped"),
        ("index", "skipped"),
    ]
    assert await schema.fetch(db) == {}


SERIES = {"timeseries": {"timeField": "a"}}


@pytest.mark.parametrize(
    ("there", "wanted"),
    [
        ({}, Collection("x", {**SERIES, "capped": True, "size": 4096})),
        ({"old": SERIES}, Collection("x", SERIES, renamed_from="old")),
        ({"old": {}, "x": {}}, Collection("x", renamed_from="old")),
        ({"old": {}}, Collection("x", {"capped": True, "size": 4096}, renamed_from="old")),
    ],
    ids=["creation", "rename of a time series", "rename to what is there", "rename to another shape"],
)
async def test_what_belongs_to_a_blocked_collection_is_skipped(
    db: Database, there: dict[str, dict[str, Any]], wanted: Collection
) -> None:
    if SERIES in there.values() and not (await schema.fetch_server(db)).at_least(5, 0):
        pytest.skip("before 5.0 there are no time series")
    for name, options in there.items():
        await db.create_collection(name, **options)
    before = await schema.fetch(db)
    results = await bring(db, [replace(wanted, indexes=(Index({"a": 1}),))])
    assert [(change.kind, change.status) for change in results] == [
        ("collection", "blocked"),
        ("index", "skipped"),
    ]
    assert results[1].blockers[0].document() == {
        "reason": "blocked",
        "message": "collection x is blocked",
        "ignorable": False,
    }
    assert await schema.fetch(db) == before


async def test_what_belongs_to_a_collection_of_another_kind_is_skipped(db: Database) -> None:
    await db.create_collection("users")
    kind = Blocker("kind", "users is a collection, the manifest says a view")
    view = Change("users", "collection", "modify", "users", {}, {"viewOn": "a"}, "blocked", (kind,))
    results = await schema.apply(db, [view, indexed("users")])
    assert [change.status for change in results] == ["blocked", "skipped"]


async def test_what_belongs_to_a_collection_with_a_blocked_option_is_done(db: Database) -> None:
    await db.create_collection("users")
    results = await bring(db, [Collection("users", {"capped": True, "size": 4096}, None, (Index({"a": 1}),))])
    assert [change.status for change in results] == ["blocked", "applied"]


@pytest.mark.parametrize(
    ("faster", "wanted", "differing"),
    [
        ({}, {"capped": True, "size": 4096}, "capped, size"),
        ({}, {"viewOn": "b", "pipeline": []}, "viewOn"),
        ({"viewOn": "b", "pipeline": []}, {}, "viewOn"),
        ({"capped": True, "size": 4096}, {"capped": True, "size": 4096}, None),
        ({"capped": True, "size": 4000}, {}, None),
    ],
)
async def test_another_collection_that_took_the_name_meanwhile_is_told(
    db: Database, faster: dict[str, Any], wanted: dict[str, Any], differing: str | None
) -> None:
    changes = await planned(db, [Collection("x", wanted)])
    await db.create_collection("x", **faster)
    (result,) = await schema.apply(db, changes)
    if differing is None:
        assert (result.status, result.error) == ("applied", None)
        return
    assert result.status == "failed"
    assert result.error == {
        "code": 48,
        "code_name": "NamespaceExists",
        "message": f"x was created meanwhile, and differs in {differing}",
    }


async def test_a_collection_that_comes_and_goes_meanwhile_is_told(db: Database) -> None:
    class Fleeting(type(db)):  # type: ignore[misc]  # the database's own class, Motor's or PyMongo's
        async def command(self, command: dict[str, Any]) -> Any:
            if "create" in command:
                await db.create_collection("x")
                try:
                    return await db.command(command)
                finally:
                    await db.drop_collection("x")
            return await db.command(command)

    changes = await planned(db, [Collection("x", {"capped": True, "size": 4096})])
    (result,) = await schema.apply(Fleeting(db.client, db.name), changes)
    assert result.status == "failed"
    assert result.error is not None
    assert result.error["message"] == "x was created and dropped meanwhile"


async def test_a_connection_lost_at_the_very_end_loses_no_result(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(*_: Any) -> None:
        raise AutoReconnect("connection closed")

    changes = await planned(db, users(Index({"a": 1})))
    monkeypatch.setattr(Catalog, "collections", lost)
    assert [change.status for change in await schema.apply(db, changes)] == ["applied", "applied"]


async def test_an_error_does_not_quote_the_whole_command(db: Database) -> None:
    if not (await schema.fetch_server(db)).at_least(5, 0):
        pytest.skip("before 5.0 there are no time series")
    await db.create_collection("t", timeseries={"timeField": "a"})
    index = {"keys": {"a": "hashed"}, "name": "x"}
    (result,) = await schema.apply(db, [Change("t", "index", "create", "x", None, index)])
    assert result.error is not None
    assert result.error["message"].startswith("BadValue: Invalid index spec for time-series collection")
    assert result.error["message"].endswith('"hashed"')


def renamed(old: str, new: str, **after: Any) -> Change:
    return Change(new, "collection", "modify", new, {"name": old}, {"name": new, **after})


def indexed(collection: str, name: str = "a_1") -> Change:
    return Change(collection, "index", "create", name, None, {"keys": {"a": 1}, "name": name})


async def test_six_renames_at_once_all_succeed(db: Database) -> None:
    await db["people"].insert_one({"_id": 1})
    changes = [renamed("people", "users"), indexed("users")]
    results = await asyncio.gather(*(schema.apply(db, changes) for _ in range(6)))
    assert {(c.status, str(c.error)) for result in results for c in result} == {("applied", "None")}
    assert await db.list_collection_names() == ["users"]
    assert await names(db) == ["_id_", "a_1"]
    assert await db["users"].find_one() == {"_id": 1}


@pytest.mark.parametrize("there", [[], ["people", "users"]], ids=["nothing is there", "both are"])
async def test_a_rename_that_is_none_is_told(db: Database, there: list[str]) -> None:
    for name in there:
        await db.create_collection(name)
    results = await schema.apply(db, [renamed("people", "users"), indexed("users")])
    assert results[0].status == "failed"
    assert results[0].error is not None
    assert results[0].error["code_name"] == ("NamespaceExists" if there else "NamespaceNotFound")
    # Where a collection of the name is there all the same, the rest has a meaning.
    assert results[1].status == ("applied" if there else "skipped")
    if not there:
        assert [blocker.message for blocker in results[1].blockers] == ["users couldn't be renamed"]


async def test_what_fails_after_a_rename_skips_nothing(db: Database) -> None:
    await db.create_collection("people")
    change = renamed("people", "users", expireAfterSeconds=5)
    results = await schema.apply(db, [change, indexed("users")])
    assert [c.status for c in results] == ["failed", "applied"]
    assert await names(db) == ["_id_", "a_1"]


async def test_what_is_gone_is_dropped(db: Database) -> None:
    await db["users"].insert_one({})
    drops = [
        Change("users", "index", "drop", "gone", {"keys": {"gone": 1}, "name": "gone"}),
        Change("users", "collection", "drop", "users", {}),
        Change("never", "collection", "drop", "never", {}),
        Change("never", "index", "drop", "gone", {"keys": {"gone": 1}, "name": "gone"}),
    ]
    assert [c.status for c in await schema.apply(db, drops)] == ["applied"] * 4
    assert await db.list_collection_names() == []


async def test_a_stand_in_stays_until_its_index_is_there(db: Database) -> None:
    await db["users"].insert_many([{"a": 1}, {"a": 1}])
    await db["users"].create_index({"a": 1, "b": 1}, name="motorctl_temporary_a_1")
    desired = users(Index({"a": 1}, "a_1", {"unique": True}))
    results = await bring(db, desired)
    assert [(c.name, c.action, c.status) for c in results] == [
        ("a_1", "create", "failed"),
        ("motorctl_temporary_a_1", "drop", "skipped"),
    ]
    assert results[1].blockers[0].message == "it stands in for a_1, which couldn't be built"
    await db["users"].delete_many({})
    assert {c.status for c in await bring(db, desired)} == {"applied"}
    assert await names(db) == ["_id_", "a_1"]


async def test_duplicates_take_prepare_unique_back_and_are_named(db: Database) -> None:
    if not (await schema.fetch_server(db)).at_least(6, 0):
        pytest.skip("before 6.0 an index becomes unique by a rebuild")
    await db["users"].insert_many([{"_id": n, "a": n // 4} for n in range(28)])
    before = users(Index({"a": 1}))
    await bring(db, before)
    (result,) = await bring(db, users(Index({"a": 1}, None, {"unique": True})))
    assert (result.action, result.status) == ("modify", "failed")
    groups = [[4 * n, 4 * n + 1, 4 * n + 2] for n in range(5)]
    assert result.error == {
        "code": 359,
        "code_name": "CannotConvertIndexToUnique",
        "message": "documents share a value of a_1: _id 0, 1, 2; _id 4, 5, 6; _id 8, 9, 10; _id 12, 13, 14; "
        "_id 16, 17, 18 and 2 more",
        "violations": groups,
    }
    assert schema.in_sync(await planned(db, before, prune=True))
    await db["users"].insert_one({"a": 0})


async def test_an_index_that_was_prepared_before_stays_prepared(db: Database) -> None:
    if not (await schema.fetch_server(db)).at_least(6, 0):
        pytest.skip("before 6.0 no index can be prepared")
    await db["users"].insert_many([{"a": 1}, {"a": 1}])
    before = users(Index({"a": 1}, None, {"prepareUnique": True}))
    await bring(db, users(Index({"a": 1})))
    await bring(db, before)
    (result,) = await bring(db, users(Index({"a": 1}, None, {"unique": True})))
    assert result.status == "failed"
    assert schema.in_sync(await planned(db, before, prune=True))


@pytest.mark.parametrize("quorum", [1, "majority", "votingMembers"])
async def test_a_commit_quorum_goes_with_each_build(db: Database, quorum: int | str) -> None:
    await bring(db, users(Index({"old": 1}, "x")))
    sent: list[Any] = []

    class Noting(type(db)):  # type: ignore[misc]  # the database's own class, Motor's or PyMongo's
        async def command(self, command: dict[str, Any], **options: Any) -> Any:
            if "createIndexes" in command:
                sent.append(command.get("commitQuorum"))
            return await db.command(command, **options)

    changes = await planned(db, users(Index({"a": 1}), Index({"new": 1}, "x")))
    results = await schema.apply(Noting(db.client, db.name), changes, commit_quorum=quorum)
    assert {c.status for c in results} <= {"applied", "in_sync"}
    assert set(sent) == {quorum}
    assert len(sent) >= 4


async def test_a_commit_quorum_that_cannot_be_reached_fails_each_build(db: Database) -> None:
    changes = await planned(db, users(Index({"a": 1})))
    results = await schema.apply(db, changes, commit_quorum=49)
    assert [c.status for c in results] == ["applied", "failed"]
    assert results[1].error is not None
    assert results[1].error["code_name"] == "UnsatisfiableCommitQuorum"


async def test_a_server_alone_takes_no_commit_quorum(tmp_path: Path) -> None:
    server = conftest.Server(tmp_path / "alone", replica_set=False)
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(server.uri)
    db = client.get_database("alone")
    try:
        changes = schema.plan({}, users(Index({"a": 1})), server=await schema.fetch_server(db))
        with pytest.raises(UsageError, match="a commit quorum is for a replica set"):
            await schema.apply(db, changes, commit_quorum="majority")
        assert await db.list_collection_names() == []
        assert {c.status for c in await schema.apply(db, changes)} == {"applied"}
    finally:
        await driver.close(client)
        server.kill()


async def test_only_the_collections_that_are_asked_for_are_read(db: Database) -> None:
    ours = (fingerprint.COLLECTION, history.COLLECTION, "motorctl_temporary_1_0a")
    for name in ("a", "b", "motorctl_orders", *ours):
        await db.create_collection(name)
    assert set(await schema.fetch(db, ["a", *ours, "none"])) == {"a", *ours}
    assert set(await schema.fetch(db, [f"n{n}" for n in range(200)] + ["b"])) == {"b"}
    assert set(await schema.fetch(db)) == {"a", "b", "motorctl_orders"}


async def test_names_that_only_the_driver_refuses_are_read_and_changed(db: Database) -> None:
    await db.command({"create": "a..b"})
    desired = [Collection("a..b", {}, Validator({"a": 1}), (Index({"a": 1}, "x"),))]
    assert {change.status for change in await bring(db, desired)} == {"applied"}
    found = await schema.fetch(db, search=True)
    assert schema.dump(found) == schema.dump({"a..b": desired[0]})
    rebuilt = [replace(desired[0], indexes=(Index({"a": -1}, "x"),))]
    assert [(c.action, c.status) for c in await bring(db, rebuilt)] == [("rebuild", "applied")]


async def test_more_collections_than_one_answer_holds_are_read(db: Database) -> None:
    # An answer holds 16 MB at most.
    wide = {"$jsonSchema": {"description": "x" * 3_000_000}}
    for n in range(7):
        await db.create_collection(f"c{n}", validator=wide)
    assert len(await schema.fetch(db, [f"c{n}" for n in range(7)])) == 7
    assert len(await schema.fetch(db)) == 7


async def test_a_collection_that_vanishes_meanwhile_is_left_out(db: Database) -> None:
    for name in ("a", "b"):
        await db.create_collection(name)

    class Dropping(type(db)):  # type: ignore[misc]  # the database's own class, Motor's or PyMongo's
        async def command(self, command: dict[str, Any]) -> Any:
            if command.get("listIndexes") == "a":
                await db.drop_collection("a")
            return await db.command(command)

    assert set(await schema.fetch(Dropping(db.client, db.name))) == {"b"}


async def test_a_small_pool_is_enough(db: Database, server_uri: str) -> None:
    for n in range(40):
        await db[f"c{n}"].create_index("a")
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(
        server_uri, maxPoolSize=1, waitQueueTimeoutMS=1
    )
    assert len(await schema.fetch(client.get_database(db.name))) == 40
    await driver.close(client)


async def test_what_a_rebuild_left_over_is_not_dumped(db: Database) -> None:
    await db["users"].create_index("a", name="motorctl_temporary_b_1")
    await db["users"].create_index("a2")
    dumped = schema.dump(await schema.fetch(db))
    assert dumped == {"collections": {"users": {"indexes": [{"keys": {"a2": 1}}]}}}


async def test_search_indexes_are_none_where_the_server_has_none(db: Database) -> None:
    await db.create_collection("a")
    await db.create_collection("v", viewOn="a", pipeline=[])
    found = await schema.fetch(db, search=True)
    assert {name: one.search_indexes for name, one in found.items()} == {"a": None, "v": None}


async def test_search_indexes_are_read_where_the_server_has_them(db: Database) -> None:
    for name in ("a", "b"):
        await db.create_collection(name)
    await db.create_collection("v", viewOn="a", pipeline=[])
    listed = {
        "id": "1",
        "name": "default",
        "status": "READY",
        "latestDefinition": {"mappings": {"dynamic": True}},
    }
    vector = {**listed, "name": "v", "type": "vectorSearch"}

    class Searching(type(db)):  # type: ignore[misc]  # the database's own class, Motor's or PyMongo's
        async def command(self, command: dict[str, Any]) -> Any:
            if "aggregate" not in command:
                return await db.command(command)
            assert command["pipeline"] == [{"$listSearchIndexes": {}}]
            return {
                "cursor": {"id": 0, "firstBatch": [listed, vector] if command["aggregate"] == "a" else []}
            }

    searching = Searching(db.client, db.name)
    found = await schema.fetch(searching, search=True)
    definition = {"mappings": {"dynamic": True}}
    assert {name: one.search_indexes for name, one in found.items()} == {
        "a": (SearchIndex("default", definition), SearchIndex("v", definition, "vectorSearch")),
        "b": (),
        "v": None,
    }
    assert (await schema.fetch(searching))["a"].search_indexes is None


async def test_other_errors_of_a_rename_are_told(db: Database) -> None:
    with pytest.raises(OperationFailure) as caught:
        await Catalog(db).run({"renameCollection": "a", "to": "system.b"})
    assert caught.value.code != 26


async def test_a_blocked_change_is_left_alone(db: Database) -> None:
    await db.create_collection("users")
    (result,) = await bring(db, [Collection("users", {"capped": True, "size": 4096})])
    assert result.status == "blocked"
    assert (await schema.fetch(db))["users"].options == {}


async def test_an_index_is_put_back_when_its_successor_cannot_be_built(db: Database) -> None:
    await db["users"].insert_many([{"email": "a@x.org"}, {"email": "a@x.org"}])
    before = Index({"email": 1}, None, {"collation": {"locale": "en"}, "expireAfterSeconds": 60})
    await bring(db, users(before))
    (result,) = await bring(db, users(Index({"email": 1}, "email_1", {"unique": True})))
    assert (result.action, result.status) == ("rebuild", "failed")
    assert schema.in_sync(await planned(db, users(before)))


async def test_a_text_index_is_put_back_too(db: Database) -> None:
    await db["users"].insert_one({"a": [1, 2], "b": [1, 2]})
    before = Index({"t": "text", "u": "text"}, "words", {"weights": {"t": 3}})
    await bring(db, users(before))
    # Parallel arrays can't be indexed: the server finds out while it builds.
    (result,) = await bring(db, users(Index({"a": 1, "t": "text", "b": 1}, "words")))
    assert (result.action, result.status) == ("rebuild", "failed")
    assert schema.in_sync(await planned(db, users(before)))


async def test_a_new_index_is_built_before_the_old_one_goes(db: Database) -> None:
    await bring(db, users(Index({"t": 1}, "old", {"unique": True}), Index({"k": 1}, "same")))
    commands: list[str] = []
    watched = _Watched(db, commands)
    current = await schema.fetch(db)
    changes = [
        Change(
            "users",
            "index",
            "rebuild",
            "new",
            current["users"].indexes[0].document(),
            Index({"t": 1}, "new").document(),
            replaces=("old",),
        )
    ]
    assert [c.status for c in await schema.apply(watched, changes)] == ["applied"]
    assert commands == ["createIndexes", "dropIndexes"]
    assert await names(db) == ["_id_", "same", "new"]


class _Watched:
    """A database that notes the commands it is sent."""

    def __new__(cls, db: Database, commands: list[str]) -> Any:
        class Noting(type(db)):  # type: ignore[misc]  # the database's own class, Motor's or PyMongo's
            async def command(self, command: dict[str, Any]) -> Any:
                if "listIndexes" not in command:
                    commands.append(next(iter(command)))
                return await db.command(command)

        return Noting(db.client, db.name)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Index({"a": 1}, "x"), Index({"a": -1}, "x")),
        (Index({"a": 1}, "x"), Index({"a": 1}, "y")),
        (Index({"a": 1}, "x"), Index({"a": 1}, "x", {"expireAfterSeconds": 9})),
        (Index({"a": 1}, "x", {"expireAfterSeconds": 9, "hidden": True}), Index({"a": 1}, "x")),
        (Index({"a": 1}, "x"), Index({"a": 1}, "x", {"sparse": True, "unique": True})),
        (Index({"a": 1}, "x"), Index({"a": 1}, "x", {"collation": {"locale": "en"}})),
        (Index({"a": 1}, "x"), Index({"a": 1}, "x", {"partialFilterExpression": {"b": 1}})),
        (Index({"a": "text"}, "x"), Index({"b": "text"}, "x", {"weights": {"b": 4}})),
        (Index({"a": "text"}, "x"), Index({"a": "text"}, "x", {"default_language": "none"})),
        (Index({"$**": 1}, "x"), Index({"$**": 1}, "x", {"wildcardProjection": {"a": 1}})),
        (Index({"a": "2d"}, "x"), Index({"a": "2dsphere"}, "x")),
    ],
)
async def test_a_rebuilt_index_is_the_wanted_one_and_alone(db: Database, before: Index, after: Index) -> None:
    await bring(db, users(before))
    # A newer server changes some of them where they are.
    results = await bring(db, users(after), server=Server((5, 0)))
    assert [(c.action, c.status) for c in results] == [("rebuild", "applied")]
    assert schema.in_sync(await planned(db, users(after), prune=True))
    assert len(await names(db)) == 2


async def test_two_indexes_swap_their_names(db: Database) -> None:
    await bring(db, users(Index({"x": 1}, "one"), Index({"y": 1}, "two")))
    desired = users(Index({"y": 1}, "one"), Index({"x": 1}, "two"))
    assert {c.status for c in await bring(db, desired)} == {"applied"}
    assert schema.in_sync(await planned(db, desired, prune=True))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"hidden": True}),
        ({"hidden": True}, {}),
        ({"expireAfterSeconds": 5}, {"expireAfterSeconds": 7}),
        ({"expireAfterSeconds": 5, "hidden": True}, {"expireAfterSeconds": 7}),
    ],
)
async def test_hidden_and_expiry_change_in_place(
    db: Database, before: dict[str, Any], after: dict[str, Any]
) -> None:
    await bring(db, users(Index({"a": 1}, None, before)))
    desired = users(Index({"a": 1}, None, after))
    assert [(c.action, c.status) for c in await bring(db, desired)] == [("modify", "applied")]
    assert schema.in_sync(await planned(db, desired, prune=True))


async def test_validators_come_change_and_go(db: Database) -> None:
    for validator in (
        Validator({"a": 1}),
        Validator({"a": 1}, "off", "warn"),
        Validator({"b": 1}, "moderate"),
    ):
        (result,) = [c for c in await bring(db, users(validator=validator)) if c.kind == "validator"]
        assert result.status == "applied"
        assert schema.in_sync(await planned(db, users(validator=validator), prune=True))
    assert await bring(db, users()) == []
    assert [(c.action, c.status) for c in await bring(db, users(), prune=True)] == [("drop", "applied")]
    assert schema.in_sync(await planned(db, users(), prune=True))


async def test_options_that_can_change_in_place_do(db: Database) -> None:
    before = "{{t: {{timeseries: {{timeField: a}}, expireAfterSeconds: {0}}}, w: {{changeStreamPreAndPostImages: {{enabled: {1}}}}}, v: {{viewOn: {2}, pipeline: []}}}}"
    await bring(db, read("collections: " + before.format(60, "false", "w")))
    desired = read("collections: " + before.format(90, "true", "x"))
    assert {(c.kind, c.action, c.status) for c in await bring(db, desired)} == {
        ("collection", "modify", "applied")
    }
    assert schema.in_sync(await planned(db, desired))


async def test_prune_drops_nothing_outside_the_manifests_collections(db: Database) -> None:
    await bring(
        db, [Collection("other", {}, Validator({"a": 1}), (Index({"a": 1}),)), *users(Index({"old": 1}))]
    )
    before = (await schema.fetch(db))["other"]
    assert [c.name for c in await bring(db, users(), prune=True)] == ["old_1"]
    assert (await schema.fetch(db))["other"] == before
    assert await names(db) == ["_id_"]


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(INDEX_SETS, min_size=2, max_size=3))
def test_any_schema_follows_any_other(server_uri: str, dbname: str, schemas: list[tuple[Index, ...]]) -> None:

    async def follow() -> None:
        client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(server_uri)
        db = client.get_database(dbname)
        await db.drop_collection("users")
        for indexes in schemas:
            desired = users(*indexes)
            assert {(c.status, str(c.error)) for c in await bring(db, desired)} <= {("applied", "None")}
            assert schema.in_sync(await planned(db, desired))
            await bring(db, desired, prune=True)
            dumped = manifest.dump_yaml(schema.dump(await schema.fetch(db)))
            assert schema.in_sync(await planned(db, read(dumped), prune=True))
            assert schema.in_sync(await planned(db, desired, prune=True))
        await driver.close(client)

    asyncio.run(follow())
