"""The plan's rules, held against real servers: what it says of each option is what the server does.

The server of all tests, and those that MOTORCTL_TEST_SERVERS names: URIs of replica sets, with spaces between
them. What can be done on one of them depends on its version.
"""

from __future__ import annotations

import os
import uuid
from datetime import UTC, datetime
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pymongo
import pytest
from pymongo.errors import OperationFailure

from motorctl.core.schema import (
    Change,
    Collection,
    Index,
    SearchIndex,
    Server,
    Validator,
    fetch,
    fetch_server,
    plan,
)
from motorctl.core.schema.compare import identity, index_facts
from motorctl.core.schema.planning.capabilities import COLLECTIONS, INDEXES, VALIDATORS
from motorctl.core.schema.planning.collections import differences
from motorctl.core.schema.planning.commands import commands
from motorctl.core.schema.planning.impossible import against_collection, against_index

if TYPE_CHECKING:
    from collections.abc import Iterator

    from motorctl.client import Database

EMBEDDED = "embedded"
SERVERS = [EMBEDDED, *os.environ.get("MOTORCTL_TEST_SERVERS", "").split()]


@pytest.fixture(
    scope="session", params=SERVERS, ids=lambda uri: urlsplit(uri).netloc.rpartition("@")[2] or uri
)
def server_uri(request: pytest.FixtureRequest, server_uri: str) -> str:
    """The URI of each server in turn."""
    return server_uri if request.param == EMBEDDED else str(request.param)


@pytest.fixture
def dbname(server_uri: str) -> Iterator[str]:
    """A database of this test's own; servers of others are left clean."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    yield name
    with pymongo.MongoClient[dict[str, Any]](server_uri) as client:
        client.drop_database(name)


async def create(db: Database, collection: Collection) -> None:
    """Create a collection with its indexes and validator, by the commands of a plan."""
    for change in plan({}, [collection], server=await fetch_server(db)):
        assert not change.blockers, change.blockers
        await send(db, change)


async def send(db: Database, change: Change) -> None:
    """Send a change's commands; of a rebuild in the order that a server takes."""
    sent = commands(change)
    if change.action == "rebuild":
        sent = (*({"dropIndexes": change.collection, "index": name} for name in change.replaces), sent[0])
    for command in sent:
        if "renameCollection" in command:
            await db.client.admin.command(
                {
                    "renameCollection": f"{db.name}.{command['renameCollection']}",
                    "to": f"{db.name}.{command['to']}",
                }
            )
        else:
            await db.command(dict(command))


async def carried_out(db: Database, wanted: Collection, *, prune: bool = False) -> list[Change]:
    """Plan, carry out, and plan again: which must find nothing left. Returns what there was to do."""
    server = await fetch_server(db)
    changes = plan(await fetch(db), [wanted], server=server, prune=prune)
    for change in changes:
        assert not change.blockers, change.blockers
        await send(db, change)
    again = plan(await fetch(db), [wanted], server=server, prune=prune)
    assert [change for change in again if change.action != "keep"] == []
    return [change for change in changes if change.action != "keep"]


async def test_whether_a_server_has_search_is_asked_before_anything_is_there(db: Database) -> None:
    server = await fetch_server(db, search=True)
    assert (await fetch_server(db)).search is None
    desired = [Collection("users", search_indexes=(SearchIndex("s", {"mappings": {"dynamic": True}}),))]
    (create, index) = plan(await fetch(db, search=True), desired, server=server)
    await send(db, create)
    if server.search:
        assert index.blockers == ()
        return
    assert [blocker.message for blocker in index.blockers] == ["this server has no search indexes"]
    with pytest.raises(OperationFailure):
        await send(db, index)


async def test_two_indexes_that_part_over_uniqueness(db: Database) -> None:
    await create(db, Collection("c", indexes=(Index({"d": 1}, "n3"),)))
    pair = (Index({"d": 1}, "b_1"), Index({"d": 1}, "n3", {"unique": True}))
    server = await fetch_server(db)
    if not server.at_least(5):
        changes = plan(await fetch(db), [Collection("c", indexes=pair)], server=server)
        assert [one.status for one in changes if one.kind == "index"] == ["planned", "blocked"]
        return
    await carried_out(db, Collection("c", indexes=pair))
    assert {one.resolved_name for one in (await fetch(db))["c"].indexes} == {"b_1", "n3"}


# -- indexes ----------------------------------------------------------------------------------------------

A = {"a": 1}
EQUAL: dict[str, list[Index]] = {
    "keys": [
        Index({"a": 1.0, "b": -1}),
        Index({"a": 1}),
        Index({"a": "hashed", "b": 1}),
        Index({"a": "2dsphere", "b": 1}),
    ],
    "name": [Index(A, "other")],
    "unique": [Index(A, None, {"unique": True}), Index(A, None, {"unique": False})],
    "prepareUnique": [Index(A, None, {"prepareUnique": True}), Index(A, None, {"prepareUnique": False})],
    "sparse": [Index(A, None, {"sparse": True}), Index(A, None, {"sparse": False})],
    "hidden": [Index(A, None, {"hidden": True}), Index(A, None, {"hidden": False})],
    "expireAfterSeconds": [Index(A, None, {"expireAfterSeconds": n}) for n in (0, 3600.0, 7.9)],
    "partialFilterExpression": [
        Index(A, None, {"partialFilterExpression": {"b": {"$gt": 5.0, "$lt": 9}, "c": {"x": 1, "y": 2}}})
    ],
    "collation": [
        Index(A, None, {"collation": {"locale": "fr_CA", "strength": 2}}),
        Index(A, None, {"collation": {"locale": "simple"}}),
    ],
    "weights": [Index({"p": 1, "b": "text", "a": "text", "q": -1}, None, {"weights": {"b": 3}})],
    "default_language": [Index({"a": "text"}, None, {"default_language": "german"})],
    "language_override": [Index({"a": "text"}, None, {"language_override": "lang"})],
    "textIndexVersion": [Index({"a": "text"}, None, {"textIndexVersion": v}) for v in (2, 3)],
    "2dsphereIndexVersion": [Index({"a": "2dsphere"}, None, {"2dsphereIndexVersion": v}) for v in (2, 3)],
    "bits": [Index({"a": "2d"}, None, {"bits": b}) for b in (26, 20)],
    "min": [Index({"a": "2d"}, None, {"min": m}) for m in (-180, -90.0)],
    "max": [Index({"a": "2d", "b": 1}, None, {"max": m}) for m in (180, 90)],
    "wildcardProjection": [Index({"$**": 1}, None, {"wildcardProjection": {"a": 1, "b.c": True}})],
}


def test_each_option_of_each_kind_is_here() -> None:
    assert EQUAL.keys() == INDEXES.keys() == CHANGED.keys()
    assert EQUAL_OPTIONS.keys() == COLLECTIONS.keys() == CHANGED_OPTIONS.keys()
    assert VALIDATORS.keys() == Validator({}).document().keys()


@pytest.mark.parametrize(
    ("option", "index"), [(option, index) for option, indexes in EQUAL.items() for index in indexes]
)
@pytest.mark.parametrize("collation", [None, {"locale": "en", "strength": 2}])
async def test_an_index_that_was_built_is_in_sync(
    db: Database, option: str, index: Index, collation: dict[str, Any] | None
) -> None:
    server = await fetch_server(db)
    collection = Collection("c", {"collation": collation} if collation else {}, None, (index,))
    if index.options.get(option) and not server.at_least(*INDEXES[option].since):
        (change,) = [one for one in plan({}, [collection], server=server) if one.kind == "index"]
        assert [blocker.reason for blocker in change.blockers] == ["version"]
        with pytest.raises(OperationFailure):
            await send(db, change)
        return
    await create(db, collection)
    assert await carried_out(db, collection, prune=True) == []


CHANGED: dict[str, list[tuple[Index, Index, str]]] = {
    "keys": [
        (Index(A, "x"), Index({"b": 1}, "x"), "rebuild"),
        (Index(A, "x"), Index({"a": "hashed"}, "x"), "rebuild"),
    ],
    "name": [(Index(A, "y"), Index(A, "x"), "rebuild"), (Index(A, "y"), Index(A), "keep")],
    "unique": [
        (Index(A), Index(A, None, {"unique": True}), "modify from 6.0"),
        (Index(A, None, {"prepareUnique": True}), Index(A, None, {"unique": True}), "modify from 6.0"),
        (Index(A), Index(A, None, {"unique": True, "hidden": True}), "modify from 6.0"),
        (Index({"a": "2dsphere"}), Index({"a": "2dsphere"}, None, {"unique": True}), "modify from 6.0"),
        (Index(A, None, {"unique": True}), Index(A), "rebuild"),
    ],
    "prepareUnique": [
        (Index(A), Index(A, None, {"prepareUnique": True}), "modify from 6.0"),
        (Index(A, None, {"prepareUnique": True}), Index(A), "modify from 6.0"),
    ],
    "sparse": [
        (Index(A), Index(A, None, {"sparse": True}), "rebuild"),
        (Index(A, None, {"sparse": True}), Index(A), "rebuild"),
    ],
    "hidden": [
        (Index(A), Index(A, None, {"hidden": True}), "modify"),
        (Index(A, None, {"hidden": True}), Index(A), "modify"),
    ],
    "expireAfterSeconds": [
        (Index(A, None, {"expireAfterSeconds": 5}), Index(A, None, {"expireAfterSeconds": 9}), "modify"),
        (
            Index(A, None, {"expireAfterSeconds": 5}),
            Index(A, None, {"expireAfterSeconds": 9, "hidden": True}),
            "modify",
        ),
        (Index(A), Index(A, None, {"expireAfterSeconds": 9}), "modify from 5.1"),
        (Index({"a": "hashed"}), Index({"a": "hashed"}, None, {"expireAfterSeconds": 9}), "rebuild"),
        (Index(A, None, {"expireAfterSeconds": 5}), Index(A), "rebuild"),
    ],
    "partialFilterExpression": [
        (Index(A), Index(A, None, {"partialFilterExpression": {"b": 1}}), "rebuild on 4.4 or by name")
    ],
    "collation": [(Index(A, "x"), Index(A, "x", {"collation": {"locale": "en"}}), "rebuild")],
    "weights": [(Index({"a": "text"}), Index({"a": "text"}, None, {"weights": {"a": 2}}), "rebuild")],
    "default_language": [
        (Index({"a": "text"}), Index({"a": "text"}, None, {"default_language": "german"}), "rebuild")
    ],
    "language_override": [
        (Index({"a": "text"}), Index({"a": "text"}, None, {"language_override": "l"}), "rebuild")
    ],
    "textIndexVersion": [
        (Index({"a": "text"}), Index({"a": "text"}, None, {"textIndexVersion": 2}), "rebuild"),
        (Index({"a": "text"}, None, {"textIndexVersion": 2}), Index({"a": "text"}), "keep"),
    ],
    "2dsphereIndexVersion": [
        (Index({"a": "2dsphere"}), Index({"a": "2dsphere"}, None, {"2dsphereIndexVersion": 2}), "rebuild"),
        (Index({"a": "2dsphere"}, None, {"2dsphereIndexVersion": 2}), Index({"a": "2dsphere"}), "keep"),
    ],
    "bits": [(Index({"a": "2d"}), Index({"a": "2d"}, None, {"bits": 20}), "rebuild")],
    "min": [(Index({"a": "2d"}), Index({"a": "2d"}, None, {"min": -90}), "rebuild")],
    "max": [(Index({"a": "2d"}), Index({"a": "2d"}, None, {"max": 90}), "rebuild")],
    "wildcardProjection": [
        (Index({"$**": 1}), Index({"$**": 1}, None, {"wildcardProjection": {"a": 1}}), "rebuild")
    ],
}


@pytest.mark.parametrize(
    ("before", "after", "action"), [case for cases in CHANGED.values() for case in cases]
)
async def test_a_changed_index_is_what_the_plan_says(
    db: Database, before: Index, after: Index, action: str
) -> None:
    server = await fetch_server(db)
    if any(not server.at_least(*INDEXES[name].since) for one in (before, after) for name in one.options):
        assert against_index(after, "c", {}, server) or against_index(before, "c", {}, server)
        return
    await create(db, Collection("c", {}, None, (before,)))
    await db["c"].insert_one({"a": [1, 2] if "2d" in str(before.keys) else 1, "b": 1})
    if " from " in action:
        major, minor = action.rpartition(" ")[2].split(".")
        action = "modify" if server.at_least(int(major), int(minor)) else "rebuild"
    changes = await carried_out(db, Collection("c", {}, None, (after,)))
    assert [change.action for change in changes] == (
        [] if action == "keep" else [action.split(maxsplit=1)[0]]
    )


@pytest.mark.parametrize(
    ("index", "options"),
    [
        (Index({"$**": 1}, None, {"unique": True}), {}),
        (Index({"$**": 1}, None, {"sparse": True}), {}),
        (Index({"$**": 1}, None, {"expireAfterSeconds": 1}), {}),
        (Index({"a": "hashed"}, None, {"unique": True}), {}),
        (Index({"a": "text"}, None, {"collation": {"locale": "en"}}), {}),
        (Index({"a": "2d"}, None, {"collation": {"locale": "en"}}), {}),
        (Index(A, None, {"sparse": True, "partialFilterExpression": {"b": 1}}), {}),
        (Index(A, None, {"wildcardProjection": {"b": 1}}), {}),
        (Index(A, None, {"unique": True, "prepareUnique": True}), {}),
        (Index({"a": 1, "b": 1}, None, {"expireAfterSeconds": 1}), {}),
        (Index({"_id": 1}, "x", {"expireAfterSeconds": 1}), {}),
        (Index({"a": 1, "$**": 1}, None, {"wildcardProjection": {"a": 0}}), {}),
        (Index(A), {"viewOn": "d", "pipeline": []}),
        (Index({"m.a": 1}, None, {"unique": True}), {"timeseries": {"timeField": "t", "metaField": "m"}}),
        (Index({"m.a": "text"}), {"timeseries": {"timeField": "t", "metaField": "m"}}),
        (
            Index({"t": 1}, None, {"expireAfterSeconds": 1}),
            {"timeseries": {"timeField": "t", "metaField": "m"}},
        ),
    ],
)
async def test_what_the_plan_refuses_the_server_refuses(
    db: Database, index: Index, options: dict[str, Any]
) -> None:
    server = await fetch_server(db)
    collection = Collection("c", options, None, (index,))
    changes = plan({}, [collection], server=server)
    (change,) = [one for one in changes if one.kind == "index"]
    if index.is_wildcard and len(index.keys) > 1 and server.at_least(7):
        assert change.blockers == ()
        return
    assert change.status == "blocked"
    assert all(blocker.hint and not blocker.ignorable for blocker in change.blockers)
    if changes[0].blockers:
        return
    await send(db, changes[0])
    with pytest.raises(OperationFailure):
        await send(db, change)


SERIES = {"timeseries": {"timeField": "t", "metaField": "m"}}
DEPENDING: list[tuple[Index, dict[str, Any]]] = [
    (Index({"m.a": 1}, None, {"partialFilterExpression": {"m.b": 1}}), SERIES),
    (Index({"t": 1}, None, {"expireAfterSeconds": 1, "partialFilterExpression": {"m.b": 1}}), SERIES),
    (Index({"v": 1}), SERIES),
    (Index({"m.a": 1, "t": -1}), SERIES),
    (Index({"m.a": "hashed"}), SERIES),
    (Index(A, None, {"expireAfterSeconds": 1}), {"capped": True, "size": 4096}),
    (Index({"a": "2dsphere"}, None, {"unique": True}), {}),
    (Index({"$**": "text"}), {}),
]


@pytest.mark.parametrize(("index", "options"), DEPENDING)
async def test_what_depends_on_the_version_is_refused_where_the_server_does(
    db: Database, index: Index, options: dict[str, Any]
) -> None:
    server = await fetch_server(db)
    changes = plan({}, [Collection("c", options, None, (index,))], server=server)
    (change,) = [one for one in changes if one.kind == "index"]
    if changes[0].blockers:
        with pytest.raises(OperationFailure):
            await send(db, changes[0])
        return
    await send(db, changes[0])
    if change.blockers:
        with pytest.raises(OperationFailure):
            await send(db, change)
    else:
        await send(db, change)


VARIANTS: list[dict[str, Any]] = [
    {},
    {"unique": True},
    {"sparse": True},
    {"partialFilterExpression": {"b": 1}},
    {"partialFilterExpression": {"b": 2}},
    {"collation": {"locale": "en"}},
    {"collation": {"locale": "en", "strength": 2}},
    {"hidden": True},
    {"expireAfterSeconds": 3},
]


@pytest.mark.parametrize(("one", "other"), list(combinations_with_replacement(VARIANTS, 2)))
async def test_identity_is_what_this_server_tells_indexes_apart_by(
    db: Database, one: dict[str, Any], other: dict[str, Any]
) -> None:
    server = await fetch_server(db)
    facts = [identity(index_facts(A, options, None), server) for options in (one, other)]
    await db["c"].create_index("a", name="x", **one)
    if facts[0] != facts[1]:
        await db["c"].create_index("a", name="y", **other)
    else:
        with pytest.raises(OperationFailure, match="exists"):
            await db["c"].create_index("a", name="y", **other)


async def test_a_renamed_index_is_built_under_its_new_name(db: Database) -> None:
    await create(db, Collection("c", {}, None, (Index(A, "old", {"unique": True}),)))
    renamed = Collection("c", {}, None, (Index(A, None, {"unique": True}, "old"),))
    (change,) = await carried_out(db, renamed)
    assert (change.action, change.name, change.replaces) == ("rebuild", "a_1", ("old",))
    assert set(await db["c"].index_information()) == {"_id_", "a_1"}


async def test_unwanted_indexes_are_dropped_without_prune(db: Database) -> None:
    indexes = (
        Index(A, "one"),
        Index({"b": 1, "c": -1}, "two"),
        Index({"d": "text", "e": "text"}, "three"),
        Index({"f": 1}, "four"),
    )
    await create(db, Collection("c", {}, None, indexes))
    absent = (
        Index({}, "one"),
        Index({"b": 1, "c": -1}),
        Index({"e": "text", "d": "text"}),
        Index({"c": -1, "b": 1}),
        Index({}, "_id_"),
    )
    changes = await carried_out(db, Collection("c", absent_indexes=absent))
    assert {change.name for change in changes} == {"one", "two", "three"}
    assert set(await db["c"].index_information()) == {"_id_", "four"}


# -- collections ------------------------------------------------------------------------------------------

TS = {"timeField": "t", "metaField": "m"}
CLUSTERED = {"key": {"_id": 1}, "unique": True}
EQUAL_OPTIONS: dict[str, list[dict[str, Any]]] = {
    "capped": [{"capped": False}, {"capped": True, "size": 4096}],
    "size": [{"capped": True, "size": 1000}, {"capped": True, "size": 5000.0}, {"capped": True, "size": 1}],
    "max": [{"capped": True, "size": 4096, "max": n} for n in (0, 5, 2**31 - 1)],
    "timeseries": [
        {"timeseries": TS},
        {"timeseries": {**TS, "granularity": "seconds"}},
        {"timeseries": {**TS, "granularity": "hours"}},
        {"timeseries": {**TS, "bucketMaxSpanSeconds": 3600}},
        {"timeseries": {"timeField": "t", "granularity": "minutes", "bucketMaxSpanSeconds": 86400}},
        {"timeseries": {**TS, "bucketMaxSpanSeconds": 300, "bucketRoundingSeconds": 300}},
    ],
    "clusteredIndex": [{"clusteredIndex": CLUSTERED}, {"clusteredIndex": {**CLUSTERED, "name": "mine"}}],
    "expireAfterSeconds": [
        {"timeseries": TS, "expireAfterSeconds": 90.0},
        {"timeseries": TS, "expireAfterSeconds": "off"},
        {"clusteredIndex": CLUSTERED, "expireAfterSeconds": 5},
    ],
    "changeStreamPreAndPostImages": [
        {"changeStreamPreAndPostImages": {"enabled": on}} for on in (True, False)
    ],
    "collation": [{"collation": {"locale": "en"}}, {"collation": {"locale": "simple"}}],
    "viewOn": [{"viewOn": "d"}, {"viewOn": "d", "pipeline": [], "collation": {"locale": "en"}}],
    "pipeline": [{"viewOn": "d", "pipeline": [{"$match": {"b": 1, "a": datetime(2024, 1, 1, tzinfo=UTC)}}]}],
}


@pytest.mark.parametrize("options", [options for cases in EQUAL_OPTIONS.values() for options in cases])
async def test_a_collection_that_was_created_is_in_sync(db: Database, options: dict[str, Any]) -> None:
    server = await fetch_server(db)
    collection = Collection("c", options)
    blockers = against_collection("c", options, server)
    (change,) = plan({}, [collection], server=server)
    assert list(change.blockers) == blockers
    if blockers:
        assert {blocker.reason for blocker in blockers} == {"version"}
        with pytest.raises(OperationFailure):
            await send(db, change)
        return
    await create(db, collection)
    assert await carried_out(db, collection, prune=True) == []
    there = await fetch(db)
    dumped = Collection("c", there["c"].document())
    assert differences(there["c"].options, dumped.options) == []


Case = tuple[dict[str, Any], dict[str, Any], str]

CHANGED_OPTIONS: dict[str, list[Case]] = {
    "capped": [
        ({}, {"capped": True, "size": 4096}, "fixed"),
        ({"capped": True, "size": 4096}, {"capped": False}, "fixed"),
    ],
    "size": [
        ({"capped": True, "size": 4096}, {"capped": True, "size": n}, "modify from 6.0") for n in (9000, 512)
    ],
    "max": [
        ({"capped": True, "size": 4096, "max": 5}, {"max": 50, "size": 8192}, "modify from 6.0"),
        ({"capped": True, "size": 4096, "max": 5}, {"max": 0}, "modify from 6.0"),
        ({"capped": True, "size": 4096}, {"max": 5}, "modify from 6.0"),
        ({}, {"max": 5}, "impossible"),
    ],
    "timeseries": [
        ({"timeseries": TS}, {"timeseries": {**TS, "granularity": "minutes"}}, "modify"),
        ({"timeseries": TS}, {"timeseries": {**TS, "granularity": "hours"}}, "modify"),
        ({"timeseries": {**TS, "granularity": "hours"}}, {"timeseries": TS}, "fixed"),
        ({"timeseries": TS}, {"timeseries": {"timeField": "t", "metaField": "n"}}, "fixed"),
        ({}, {"timeseries": TS}, "fixed"),
    ],
    "clusteredIndex": [({}, {"clusteredIndex": CLUSTERED}, "fixed")],
    "expireAfterSeconds": [
        ({"timeseries": TS}, {"expireAfterSeconds": 60}, "modify"),
        ({"timeseries": TS, "expireAfterSeconds": 60}, {"expireAfterSeconds": "off"}, "modify"),
        ({"clusteredIndex": CLUSTERED, "expireAfterSeconds": 60}, {"expireAfterSeconds": 90}, "modify"),
        (
            {"timeseries": TS, "expireAfterSeconds": 60},
            {"timeseries": {**TS, "granularity": "minutes"}, "expireAfterSeconds": 90},
            "modify",
        ),
        ({}, {"expireAfterSeconds": 60}, "impossible"),
    ],
    "changeStreamPreAndPostImages": [
        ({}, {"changeStreamPreAndPostImages": {"enabled": True}}, "modify"),
        (
            {"changeStreamPreAndPostImages": {"enabled": True}},
            {"changeStreamPreAndPostImages": {"enabled": False}},
            "modify",
        ),
        ({"timeseries": TS}, {"changeStreamPreAndPostImages": {"enabled": True}}, "impossible"),
    ],
    "collation": [
        ({}, {"collation": {"locale": "en"}}, "fixed"),
        (
            {"viewOn": "d", "collation": {"locale": "en"}},
            {"viewOn": "d", "collation": {"locale": "de"}},
            "fixed",
        ),
    ],
    "viewOn": [
        ({"viewOn": "d", "pipeline": [{"$match": {"a": 1}}]}, {"viewOn": "e"}, "modify"),
        ({"viewOn": "d", "collation": {"locale": "en"}}, {"viewOn": "e"}, "modify"),
    ],
    "pipeline": [
        (
            {"viewOn": "d", "pipeline": [{"$match": {"a": 1}}]},
            {"viewOn": "d", "pipeline": [{"$match": {"a": 2}}]},
            "modify",
        )
    ],
}


@pytest.mark.parametrize(
    ("before", "after", "outcome"), [case for cases in CHANGED_OPTIONS.values() for case in cases]
)
async def test_a_changed_option_is_what_the_plan_says(
    db: Database, before: dict[str, Any], after: dict[str, Any], outcome: str
) -> None:
    server = await fetch_server(db)
    if against_collection("c", before, server):
        return
    await create(db, Collection("c", before))
    too_old = any(not server.at_least(*COLLECTIONS[name].since) for name in after) or (
        " from " in outcome and not server.at_least(6)
    )
    if outcome.startswith("modify") and not too_old:
        changes = await carried_out(db, Collection("c", after))
        assert [change.action for change in changes] == ["modify"]
        return
    (change,) = plan(await fetch(db), [Collection("c", after)], server=server)
    assert change.status == "blocked"
    assert {blocker.reason for blocker in change.blockers} == ({"version"} if too_old else {outcome})
    assert all(blocker.hint and not blocker.ignorable for blocker in change.blockers)
    assert change.commands == ()
    if outcome != "fixed":
        with pytest.raises(OperationFailure):
            await send(db, change)


@pytest.mark.parametrize(
    "options",
    [
        {"timeseries": TS, "capped": True, "size": 4096},
        {"timeseries": TS, "clusteredIndex": CLUSTERED},
        {"timeseries": TS, "changeStreamPreAndPostImages": {"enabled": True}},
        {"timeseries": TS, "viewOn": "d"},
        {"clusteredIndex": CLUSTERED, "capped": True, "size": 4096},
        {"clusteredIndex": CLUSTERED, "viewOn": "d"},
        {"changeStreamPreAndPostImages": {"enabled": True}, "viewOn": "d"},
        {"expireAfterSeconds": 60},
        {"size": 4096},
    ],
)
async def test_options_that_no_server_takes_together(db: Database, options: dict[str, Any]) -> None:
    (change,) = plan({}, [Collection("c", options)], server=await fetch_server(db))
    assert change.status == "blocked"
    with pytest.raises(OperationFailure):
        await send(db, change)


async def test_a_collection_is_renamed_and_changed_at_once(db: Database) -> None:
    await create(db, Collection("old", {}, Validator({"a": 1}), (Index(A),)))
    wanted = Collection("new", {}, Validator({}), (Index(A, "mine"),), renamed_from="old")
    changes = await carried_out(db, wanted)
    assert [(change.kind, change.action) for change in changes] == [
        ("collection", "modify"),
        ("validator", "drop"),
        ("index", "rebuild"),
    ]
    assert changes[0].commands == ({"renameCollection": "old", "to": "new"},)
    assert await db.list_collection_names() == ["new"]


@pytest.mark.parametrize("options", [{"viewOn": "d", "pipeline": []}, {"timeseries": TS}])
async def test_what_cannot_be_renamed(db: Database, options: dict[str, Any]) -> None:
    server = await fetch_server(db)
    if against_collection("old", options, server):
        return
    await create(db, Collection("old", options))
    there = {"old": (await fetch(db))["old"]}
    (change,) = plan(there, [Collection("new", options, renamed_from="old")], server=server)
    assert [blocker.reason for blocker in change.blockers] == ["fixed"]
    with pytest.raises(OperationFailure):
        await send(db, change)


async def test_absent_collections_are_dropped(db: Database) -> None:
    await create(db, Collection("c"))
    await create(db, Collection("v", {"viewOn": "c"}))
    for name in ("v", "c"):
        (change,) = await carried_out(db, Collection(name, absent=True))
        assert change.commands == ({"drop": name},)
    assert "c" not in await db.list_collection_names()


# -- validators -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "action"),
    [
        (None, Validator({"a": 1}), "create"),
        (Validator({"a": 1}), Validator({"a": 2}), "modify"),
        (Validator({"a": 1}), Validator({"a": 1}, "moderate"), "modify"),
        (Validator({"a": 1}), Validator({"a": 1}, "strict", "warn"), "modify"),
        (Validator({"a": 1}, "moderate", "warn"), Validator({}), "drop"),
        (None, Validator({}), None),
        (Validator({"a": 1}), None, None),
    ],
)
async def test_validators(
    db: Database, before: Validator | None, after: Validator | None, action: str | None
) -> None:
    await create(db, Collection("c", {}, before))
    changes = await carried_out(db, Collection("c", {}, after))
    assert [change.action for change in changes] == ([action] if action else [])


@pytest.mark.parametrize("options", [{"viewOn": "d"}, {"timeseries": TS}])
async def test_what_has_no_validator(db: Database, options: dict[str, Any]) -> None:
    server = await fetch_server(db)
    changes = plan({}, [Collection("c", options, Validator({"a": 1}))], server=server)
    (change,) = [one for one in changes if one.kind == "validator"]
    assert [blocker.reason for blocker in change.blockers] == ["impossible"]
    if not changes[0].blockers:
        await send(db, changes[0])
        with pytest.raises(OperationFailure):
            await send(db, change)


def test_the_default_server_is_the_newest() -> None:
    assert Server().at_least(8)
