"""Fetch, apply and dump on a real server: what was planned is what is there afterwards."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from motor.motor_asyncio import AsyncIOMotorClient
from test_schema_plan import INDEX_SETS

from motorctl import manifest
from motorctl.core import driver, schema
from motorctl.core.schema import Change, Collection, Index, Validator

if TYPE_CHECKING:
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


async def planned(db: Database, desired: list[Collection], *, prune: bool = False) -> list[Change]:
    return schema.plan(await schema.fetch(db), desired, prune=prune)


async def bring(db: Database, desired: list[Collection], *, prune: bool = False) -> list[Change]:
    """Plan and apply; return what wasn't just kept."""
    results = await schema.apply(db, await planned(db, desired, prune=prune))
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
        client.close()


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
        ("index", "skipped"),
        ("validator", "skipped"),
    ]
    assert await schema.fetch(db) == {}


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
        class Noting(type(db)):  # type: ignore[misc]
            async def command(self, command: dict[str, Any]) -> Any:
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
    assert [(c.action, c.status) for c in await bring(db, users(after))] == [("rebuild", "applied")]
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
        client.close()

    asyncio.run(follow())
