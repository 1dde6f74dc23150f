"""What stands in a plan's way, asked of the live data: what is found, what isn't, and what it costs."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest
from bson import Binary, Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import monitoring
from pymongo.errors import AutoReconnect, ExecutionTimeout, OperationFailure

from motorctl.core import driver, schema, violations
from motorctl.core.schema import Blocker, Change, Collection, Index, Server, Validator
from motorctl.core.schema.blockers import find_blockers

if TYPE_CHECKING:
    from collections.abc import Callable

    from motorctl.client import Database

SERVER = Server((6, 0))
REASONS = """duplicates rejected values not_dates expires_at_once shrinks disk limit privilege expression
impossible""".split()


def build(keys: dict[str, Any], before: dict[str, Any] | None = None, **options: Any) -> Change:
    """Plan an index of `u`; with `before`, in that one's place."""
    index = Index(keys, "wanted", options)
    action = "create" if before is None else "rebuild"
    return Change("u", "index", action, "wanted", before, index.document())  # type: ignore[arg-type]  # the action is the test's word


async def look(db: Database, *changes: Change, **options: Any) -> list[Change]:
    return await find_blockers(
        db, changes, **{"current": await schema.fetch(db), "server": SERVER, **options}
    )


async def blocker(db: Database, change: Change) -> Blocker | None:
    """Return the one thing in the way of a change; everything was looked for."""
    (result,) = await look(db, change)
    assert result.unchecked == ()
    assert len(result.blockers) <= 1
    assert result.status == ("blocked" if result.blockers else "planned")
    return result.blockers[0] if result.blockers else None


# Unique keys


async def test_shared_values_are_named_and_counted(db: Database) -> None:
    emails = ["a@x.org"] * 4 + ["b@x.org"] * 2 + ["c@x.org", None]
    await db["u"].insert_many([{"_id": n, "email": email} for n, email in enumerate(emails)])
    await db["u"].insert_one({"_id": 8})
    found = await blocker(db, build({"email": 1}, unique=True))
    assert found is not None
    assert found.document() == {
        "reason": "duplicates",
        "message": "3 values are shared by 8 documents: {email: a@x.org} (4) and others",
        "hint": "give each document a key of its own, or leave `unique` out of wanted",
        "count": 8,
        "samples": [
            {"value": {"email": "a@x.org"}, "count": 4, "ids": found.samples[0]["ids"]},
            {"value": {"email": None}, "count": 2, "ids": found.samples[1]["ids"]},
            {"value": {"email": "b@x.org"}, "count": 2, "ids": found.samples[2]["ids"]},
        ],
        "ignorable": True,
    }
    ids = [set(sample["ids"]) for sample in found.samples]
    assert (len(ids[0]), ids[0] <= {0, 1, 2, 3}, ids[1:]) == (3, True, [{7, 8}, {4, 5}])


async def test_a_value_that_stands_in_arrays_is_counted_as_often_as_it_stands_there(db: Database) -> None:
    await db["u"].insert_many([{"_id": 1, "tags": ["a", "b"]}, {"_id": 2, "tags": ["a", "a"]}])
    found = await blocker(db, build({"tags": 1}, unique=True))
    assert found is not None
    assert found.message == "1 value is there 3 times, in arrays too: {tags: a} (3)"
    assert sorted(found.samples[0]["ids"]) == [1, 2]


async def test_a_compound_key_is_one_value(db: Database) -> None:
    await db["u"].insert_many([{"_id": n, "a": n % 2, "b": {"c": n % 3}} for n in range(6)])
    assert await blocker(db, build({"a": 1, "b.c": -1}, unique=True)) is None
    await db["u"].insert_one({"_id": 6, "a": 0, "b": {"c": 0}})
    found = await blocker(db, build({"a": 1, "b.c": -1}, unique=True))
    assert found is not None
    assert [sample["value"] for sample in found.samples] == [{"a": 0, "b.c": 0}]


async def test_nothing_is_asked_where_there_is_nothing_new_to_find(db: Database) -> None:
    await db["u"].insert_many([{"a": 1}, {"a": 1}])
    assert await blocker(db, build({"a": 1})) is None
    # It takes what is there, and refuses what comes.
    assert await blocker(db, build({"a": 1}, prepareUnique=True)) is None
    renamed = {"keys": {"a": 1}, "name": "old", "unique": True}
    assert await blocker(db, build({"a": 1}, renamed, unique=True)) is None
    was_sparse = {**renamed, "sparse": True}
    assert await blocker(db, build({"a": 1}, was_sparse, unique=True)) is not None
    # Not there yet: a collection that the plan creates first.
    create = Change("u", "collection", "create", "u", None, {})
    assert [change.status for change in await look(db, create, build({"a": 1}, unique=True))] == [
        "planned",
        "planned",
    ]


async def test_an_index_that_becomes_unique_in_place_is_asked_about(db: Database) -> None:
    await db["u"].insert_many([{"a": 1}, {"a": 1}])
    before = {"keys": {"a": 1}, "name": "a_1", "prepareUnique": True}
    change = Change("u", "index", "modify", "a_1", before, {**before, "unique": True})
    found = await blocker(db, change)
    assert found is not None
    assert found.reason == "duplicates"


async def test_a_renamed_collection_is_asked_under_its_old_name(db: Database) -> None:
    await db["old"].insert_many([{"a": 1}, {"a": 1}])
    commands = ({"renameCollection": "old", "to": "u"},)
    rename = Change("u", "collection", "modify", "u", {}, {}, commands=commands)
    (_, index) = await look(db, rename, build({"a": 1}, unique=True))
    assert [found.reason for found in index.blockers] == ["duplicates"]


@pytest.mark.parametrize("keys", [{"a": "2dsphere"}, {"a": "2d"}, {"b": 1, "a": "2dsphere"}])
async def test_places_are_unique_where_there_is_one(db: Database, keys: dict[str, Any]) -> None:
    nowhere: list[Any] = [None, None, [], [], {}, {}]
    await db["u"].insert_many([{"a": one} for one in nowhere] + [{}, {}, {"b": 1}, {"b": 1}])
    # A pair of numbers is one value.
    await db["u"].insert_many([{"a": [1, 2]}, {"a": [2, 1]}, {"a": [1, 3]}])
    assert await blocker(db, build(keys, unique=True)) is None
    await db["u"].insert_many([{"_id": n, "a": [3, 4]} for n in (1, 2)])
    found = await blocker(db, build(keys, unique=True))
    assert found is not None
    assert (found.reason, found.count) == ("duplicates", 2)
    assert [(one["value"]["a"], sorted(one["ids"])) for one in found.samples] == [([3, 4], [1, 2])]
    with pytest.raises(OperationFailure, match="E11000"):
        await db.command({"createIndexes": "u", "indexes": [{"key": keys, "name": "k", "unique": True}]})


async def test_an_old_format_of_places_is_not_sparse(db: Database) -> None:
    await db["u"].insert_many([{}, {}])
    options: dict[str, Any] = {"unique": True, "2dsphereIndexVersion": 1}
    change = build({"a": "2dsphere"}, **options)
    found = await blocker(db, change)
    assert found is not None
    assert found.reason == "duplicates"


async def test_words_that_are_shared_are_left_unchecked(db: Database) -> None:
    await db["u"].insert_many([{"t": "x y"}, {"t": "x z"}])
    (change,) = await look(db, build({"t": "text"}, unique=True))
    (sentence,) = change.unchecked
    assert sentence.startswith("index u.wanted: duplicates couldn't be looked for: its keys are words, ")


async def test_keys_that_may_be_positions_are_left_unchecked(db: Database) -> None:
    await db["u"].insert_many([{"a": [1]}, {"a": [1]}])
    (change,) = await look(db, build({"a.0": 1}, unique=True))
    assert (change.status, change.blockers) == ("planned", ())
    assert change.unchecked == (
        "index u.wanted: duplicates couldn't be looked for: a number in a key may be a field or a position",
    )


class Sent(monitoring.CommandListener):
    """Notes the pipelines that are sent, and the names of all commands."""

    def __init__(self) -> None:
        self.pipelines: list[dict[str, Any]] = []
        self.names: list[str] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.names.append(event.command_name)
        if event.command_name == "aggregate":
            self.pipelines.append(dict(event.command))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Nothing is to be noted."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Nothing is to be noted."""


@pytest.mark.parametrize(
    ("there", "options", "used"),
    [
        ({"n": 1}, {}, "n_1"),
        # The shortest that has the field, wherever it stands; a longer one holds others too.
        ({"m": 1, "n": -1}, {}, "m_1_n_-1"),
        ({"n": "hashed"}, {}, None),
        ({"n": 1}, {"sparse": True}, None),
        ({"n": 1}, {"partialFilterExpression": {"n": {"$gt": 0}}}, None),
        ({"n": 1}, {"collation": {"locale": "en"}}, None),
        ({"tags": 1, "n": 1}, {}, "tags_1_n_1"),
    ],
)
async def test_an_index_answers_alone_where_it_can(
    db: Database, server_uri: str, there: dict[str, Any], options: dict[str, Any], used: str | None
) -> None:
    count = 50_000 if used == "n_1" else 2_000
    numbers = [*range(count), 7]
    await db["u"].insert_many(
        [{"_id": at, "n": n, "m": 0, "tags": ["x", "y"]} for at, n in enumerate(numbers)]
    )
    await db["u"].create_index(list(there.items()), **options)
    sent = Sent()
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(server_uri, event_listeners=[sent])
    found = await blocker(client[db.name], build({"n": 1}, unique=True))
    assert found is not None
    assert (found.count, found.samples[0]["value"]) == (2, {"n": 7})
    assert sorted(found.samples[0]["ids"]) == [7, count]
    search = next(one for one in sent.pipelines if any("$group" in stage for stage in one["pipeline"]))
    assert search.get("hint") == used
    assert search["allowDiskUse"] is True
    plan = await db.command({"explain": {name: search[name] for name in search if name in _ASKED}})
    assert ("COLLSCAN" in str(plan)) is (used is None)
    assert "'FETCH'" not in str(plan)
    await driver.close(client)


async def test_an_index_with_arrays_does_not_answer_for_the_documents(db: Database) -> None:
    await db["u"].create_index("n")
    await db["u"].insert_many([{"_id": 1, "n": [1, 2]}, {"_id": 2, "n": [2, 2]}, {"_id": 3, "n": []}])
    found = await blocker(db, build({"n": 1}, unique=True))
    assert found is not None
    assert [(sample["value"], sorted(sample["ids"])) for sample in found.samples] == [({"n": 2}, [1, 2])]


_ASKED = ("aggregate", "pipeline", "cursor", "hint", "collation")

LEAVES = st.sampled_from([None, 0, 1, 1.0, float("nan"), True, "x", "X"])
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)
DOCUMENTS = st.lists(st.dictionaries(st.sampled_from("ac"), VALUES, max_size=2), min_size=2, max_size=3)
UNIQUE_KEYS = st.sampled_from(
    [{"a": 1}, {"a.b": 1}, {"c": 1, "a": -1}, {"a": 1, "a.b": 1}, {"a.a": 1, "a.b": 1}, {"a.b.a": 1}]
)
UNIQUE_OPTIONS: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {},
        {"sparse": True},
        {"collation": {"locale": "en", "strength": 2}},
        {"partialFilterExpression": {"c": {"$exists": True}}},
    ]
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(DOCUMENTS, UNIQUE_KEYS, UNIQUE_OPTIONS, st.booleans())
def test_no_duplicate_is_named_that_the_build_takes(
    server_uri: str,
    dbname: str,
    documents: list[dict[str, Any]],
    keys: dict[str, Any],
    options: dict[str, Any],
    has_plain: bool,
) -> None:
    change = build(keys, unique=True, **options)

    async def prepare(db: Database) -> None:
        if has_plain:
            await db.command({"createIndexes": "u", "indexes": [{"key": keys, "name": "plain"}]})

    found, code = asyncio.run(_looked_and_built(server_uri, dbname, documents, change, prepare))
    # Arrays in two of the fields: the server may meet them first.
    assert not found or code in (11000, 171)
    if code == 11000 and not _is_deep(documents):
        assert found
    assert all(len(sample["ids"]) > 1 for one in found if code == 11000 for sample in one.samples)


SPOTS: st.SearchStrategy[Any] = st.sampled_from([None, [], {}, 1, "x", {"x": 1, "y": 2}, {"x": 1}]) | (
    st.sampled_from([[1, 2], [2, 1], [1, 1], [[1, 2], [2, 1]], {"type": "Point", "coordinates": [1, 2]}])
)
PLACE_KEYS: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [{"a": kind} for kind in ("2d", "2dsphere")]
    + [{"a": kind, "b": 1} for kind in ("2d", "2dsphere")]
    + [{"b": -1, "a": "2dsphere"}, {"a": "2dsphere", "b": "2dsphere"}, {"b.a": "2d"}, {"b.a": "2dsphere"}]
    + [{"b.a": "2d", "b.c": 1}, {"b.a": "2dsphere", "b.c": 1}]
)
SPOTTED = st.fixed_dictionaries(
    {},
    optional={
        "a": SPOTS,
        "b": LEAVES
        | SPOTS
        | st.lists(st.fixed_dictionaries({}, optional={"a": SPOTS, "c": LEAVES | SPOTS}), max_size=2),
    },
)
PLACE_OPTIONS: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [{}, {"sparse": True}, {"2dsphereIndexVersion": 1}, {"partialFilterExpression": {"b": {"$exists": True}}}]
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(SPOTTED, min_size=2, max_size=3), PLACE_KEYS, PLACE_OPTIONS)
def test_no_duplicate_place_is_named_that_the_build_takes(
    server_uri: str,
    dbname: str,
    documents: list[dict[str, Any]],
    keys: dict[str, Any],
    options: dict[str, Any],
) -> None:
    found, code = asyncio.run(
        _looked_and_built(server_uri, dbname, documents, build(keys, unique=True, **options))
    )
    # Values that are no place: the server may meet them first.
    assert code or not [one for one in found if one.reason == "duplicates"]


def _is_deep(value: Any, inside: bool = False) -> bool:
    """Tell whether an array is in an array."""
    if isinstance(value, dict):
        return any(_is_deep(one) for one in value.values())
    return isinstance(value, list) and (
        inside or any(_is_deep(one, not isinstance(one, dict)) for one in value)
    )


async def _looked_and_built(
    server_uri: str, dbname: str, documents: list[dict[str, Any]], change: Change, prepare: Any = None
) -> tuple[tuple[Blocker, ...], int]:
    """Return what was found, and the code that the build ended with (0: it was built)."""
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(server_uri)
    db = client.get_database(dbname)
    try:
        await db.drop_collection("u")
        await db["u"].insert_many([dict(document) for document in documents])
        if prepare is not None:
            try:
                await prepare(db)
            except OperationFailure as error:
                assert error.code == 171  # noqa: PT017 - parallel arrays
        (result,) = await look(db, change)
        assert result.unchecked == ()
        await db["u"].drop_indexes()
        specification = schema.Index(
            change.after["keys"],  # type: ignore[index]  # an index is wanted: there is one
            "wanted",
            {k: v for k, v in change.after.items() if k not in ("keys", "name")},  # type: ignore[union-attr]  # an index is wanted: there is one
        ).specification()
        try:
            await db.command({"createIndexes": "u", "indexes": [specification]})
        except OperationFailure as error:
            return result.blockers, error.code or -1
        return result.blockers, 0
    finally:
        await driver.close(client)


# Values that an index can't take

POINT = {"type": "Point", "coordinates": [1, 2]}
RING = [[0, 0], [1, 0], [1, 1], [0, 0]]

REFUSED: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any], str]] = [
    ({"a": "hashed"}, {}, {"a": [1]}, "an array in a, which a hashed index can't take"),
    ({"a": "hashed", "b": 1}, {}, {"b": []}, "an array in a, b, which a hashed index can't take"),
    ({"a.b": "hashed"}, {}, {"a": [{"b": 1}]}, "an array in a.b, which a hashed index can't take"),
    ({"a": 1, "b": 1}, {}, {"a": [1], "b": []}, "arrays in two of the fields a, b"),
    ({"a.x": 1, "a.y": 1}, {}, {"a": [{"x": [1], "y": [1]}]}, "arrays in two of the fields a.x, a.y"),
    ({"a.x": 1, "a.y": 1}, {}, {"a": {"x": [1], "y": [1]}}, "arrays in two of the fields a.x, a.y"),
    ({"p": 1, "t": "text"}, {}, {"p": ["x"]}, "an array in p, beside which there can't be a text index"),
    ({"t": "text"}, {}, {"language": "klingon"}, "a language in language that a text index doesn't know"),
    ({"t": "text"}, {}, {"language": 1}, "a language in language that a text index doesn't know"),
    ({"t": "text"}, {}, {"language": None}, "a language in language that a text index doesn't know"),
    (
        {"t": "text"},
        {"language_override": "lang"},
        {"lang": ["english"]},
        "a language in lang that a text index doesn't know",
    ),
    (
        {"a.t": "text"},
        {},
        {"a": [{"language": "none"}, {"language": "tlh"}]},
        "a language in language, a.language that a text index doesn't know",
    ),
    ({"a": "2dsphere"}, {}, {"a": "Paris"}, "no place on earth in a"),
    ({"a": "2dsphere"}, {}, {"a": [200, 2]}, "no place on earth in a"),
    ({"a": "2dsphere"}, {}, {"a": [2, 91]}, "no place on earth in a"),
    ({"a": "2dsphere"}, {}, {"a": [1]}, "no place on earth in a"),
    ({"a": "2dsphere"}, {}, {"a": {"type": "Point", "coordinates": [2, 91]}}, "no place on earth in a"),
    ({"a": "2dsphere"}, {}, {"a": [POINT]}, "no place on earth in a"),
    ({"a": "2dsphere"}, {}, {"a": {"type": "Polygon", "coordinates": [RING[:3]]}}, "no place on earth in a"),
    ({"a": "2d"}, {}, {"a": POINT}, "no pair of numbers from -180 to 180 in a"),
    ({"a": "2d"}, {}, {"a": [1]}, "no pair of numbers from -180 to 180 in a"),
    ({"a": "2d"}, {"min": 0, "max": 10}, {"a": [1, 10.5]}, "no pair of numbers from 0 to 10 in a"),
]

TAKEN: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({"a": "hashed"}, {}, {"a": {"b": [1]}}),
    ({"a": 1, "b": 1}, {}, {"a": [1], "b": 1}),
    ({"a.x": 1, "a.y": 1}, {}, {"a": [{"x": [1], "y": 1}, {"x": 1, "y": [1]}]}),
    ({"a": 1, "a.x": 1}, {}, {"a": [{"x": 1}]}),
    ({"a": 1, "b": 1}, {"partialFilterExpression": {"c": 1}}, {"a": [1], "b": [1], "c": 2}),
    ({"t": "text"}, {}, {"language": "EN", "t": 1}),
    ({"t": "text"}, {}, {"other": {"language": "klingon"}}),
    ({"t": "text"}, {"language_override": "lang"}, {"language": 1}),
    ({"t": "text"}, {"textIndexVersion": 1}, {"language": "klingon", "t": "x"}),
    ({"a": "2dsphere"}, {}, {"a": None}),
    ({"a": "2dsphere"}, {}, {"a": []}),
    ({"a": "2dsphere"}, {}, {"a": [180, -90]}),
    ({"a": "2dsphere"}, {}, {"a": {"lon": 1, "lat": 2}}),
    ({"a": "2dsphere"}, {}, {"a": {"type": "Polygon", "coordinates": [RING]}}),
    ({"a": "2dsphere", "b": 1, "c": 1}, {}, {"a": POINT, "b": [1], "c": [1]}),
    ({"a": "2d"}, {}, {"a": "Paris"}),
    ({"a": "2d"}, {}, {"a": [180, -180]}),
    ({"a": "2d"}, {}, {"a": [[1, 2], [3, 4]]}),
    ({"a.b": "2d"}, {}, {"a": [{"b": 1}]}),
]


@pytest.mark.parametrize(("keys", "options", "document", "what"), REFUSED)
async def test_values_that_stop_a_build_are_found(
    db: Database,
    server_uri: str,
    dbname: str,
    keys: dict[str, Any],
    options: dict[str, Any],
    document: dict[str, Any],
    what: str,
) -> None:
    change = build(keys, **options)
    documents = [{"_id": 1, **document}, {"_id": 2}]
    found, code = await _looked_and_built(server_uri, dbname, documents, change)
    assert code
    assert [(one.reason, one.count, one.samples, one.ignorable) for one in found] == [
        ("values", 1, ({"id": 1},), True)
    ]
    assert found[0].message.startswith(f"1 document has {what}")
    assert found[0].hint
    # What the filter leaves out doesn't count.
    partial = build(keys, **{**options, "partialFilterExpression": {"_id": 2}})
    if not options.get("partialFilterExpression"):
        assert await blocker(db, partial) is None


@pytest.mark.parametrize(("keys", "options", "document"), TAKEN)
async def test_values_that_a_build_takes_are_none_of_them(
    server_uri: str, dbname: str, keys: dict[str, Any], options: dict[str, Any], document: dict[str, Any]
) -> None:
    found, code = await _looked_and_built(server_uri, dbname, [document], build(keys, **options))
    assert (found, code) == ((), 0)


BOUNDS = st.sampled_from([0, 10, -10, 90, -90, 180, -180, 180.5, -90.5, 1e-9, 180.0000001, float("inf")])
PAIRS = st.lists(BOUNDS | LEAVES, max_size=3)
PLACES = (
    PAIRS
    | PAIRS.map(lambda pair: {"type": "Point", "coordinates": pair})
    | st.lists(st.tuples(BOUNDS, BOUNDS).map(list), max_size=4).map(
        lambda line: {"type": "LineString", "coordinates": line}
    )
    | st.lists(st.tuples(BOUNDS, BOUNDS).map(list), max_size=5).map(
        lambda ring: {"type": "Polygon", "coordinates": [ring]}
    )
    | st.sampled_from(["english", "EN", "klingon", "", "none", "de", "german\n"])
)
ODD = st.recursive(
    PLACES | LEAVES,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["x", "y", "language"]), inner, max_size=3)
    ),
    max_leaves=4,
)
SHAPES: st.SearchStrategy[tuple[dict[str, Any], dict[str, Any]]] = st.sampled_from(
    [(keys, options) for keys, options, *_ in [*REFUSED, *[(*one, "") for one in TAKEN]]]
    + [({"a.x": kind}, {}) for kind in ("2d", "2dsphere", "text", "hashed")]
    + [({"$**": "text"}, {}), ({"b": 1, "a.x": "text"}, {}), ({"a": "2dsphere"}, {"2dsphereIndexVersion": 1})]
)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(["a", "b", "language", "t"]), ODD, min_size=1, max_size=3), SHAPES)
def test_no_value_is_named_that_the_build_takes(
    server_uri: str, dbname: str, document: dict[str, Any], shape: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    found, code = asyncio.run(_looked_and_built(server_uri, dbname, [document], build(shape[0], **shape[1])))
    assert not found or code


async def test_an_index_that_is_there_already_is_not_asked_about_again(db: Database) -> None:
    await db["u"].insert_one({"a": "Paris"})
    before = {"keys": {"a": "2dsphere"}, "name": "old"}
    assert await blocker(db, build({"a": "2dsphere"}, before, sparse=True)) is None


# Expiry

NOW = datetime.now(UTC)


def changed(before: dict[str, Any], after: dict[str, Any]) -> Change:
    keys = {"keys": {"at": 1}, "name": "at_1"}
    return Change("u", "index", "modify", "at_1", {**keys, **before}, {**keys, **after})


async def test_documents_that_would_never_expire_are_counted(db: Database) -> None:
    never = ["2026-01-31", 1, Timestamp(1, 1), [], ["x"], {}]
    fine = [NOW, [NOW], [1, NOW], None]
    await db["u"].insert_many(
        [{"_id": n, "at": at} for n, at in enumerate([*never, *fine])] + [{"_id": "no"}]
    )
    found = await blocker(db, build({"at": 1}, expireAfterSeconds=3600))
    assert found is not None
    assert found.document() == {
        "reason": "not_dates",
        "message": "6 documents have no date in at, and so never expire",
        "hint": "make at a date; null or no field at all says that a document stays",
        "count": 6,
        "samples": [{"id": 0}, {"id": 1}, {"id": 2}],
        "ignorable": True,
    }
    # In force already: nothing becomes worse.
    assert await blocker(db, changed({"expireAfterSeconds": 60}, {"expireAfterSeconds": 3600})) is None


async def test_documents_that_expire_at_once_are_counted(db: Database) -> None:
    ages = [timedelta(hours=hours) for hours in (0, 2, 50)]
    await db["u"].insert_many([{"_id": n, "at": NOW - age} for n, age in enumerate(ages)])
    found = await blocker(db, build({"at": 1}, expireAfterSeconds=3600))
    assert found is not None
    assert (found.reason, found.count, found.samples, found.ignorable) == (
        "expires_at_once",
        2,
        ({"id": 1}, {"id": 2}),
        True,
    )
    assert found.message == "2 documents are older than 3600 seconds by at, and will be deleted at once"
    assert await blocker(db, build({"at": 1}, expireAfterSeconds=300_000)) is None
    assert await blocker(db, build({"at": 1}, expireAfterSeconds=2**31 - 1)) is None
    only = {"partialFilterExpression": {"_id": 1}}
    partial = await blocker(db, build({"at": 1}, expireAfterSeconds=0, **only))
    assert partial is not None
    assert partial.count == 1


@pytest.mark.parametrize(
    ("before", "after", "count"),
    [
        ({"expireAfterSeconds": 10**6}, {"expireAfterSeconds": 60}, 1),
        ({"expireAfterSeconds": 60}, {"expireAfterSeconds": 10**6}, None),
        ({}, {"expireAfterSeconds": 60}, 1),
        ({"expireAfterSeconds": 60}, {"expireAfterSeconds": 60, "hidden": True}, None),
        ({"expireAfterSeconds": 60}, {}, None),
    ],
)
async def test_a_shorter_or_new_expiry_is_the_surprise(
    db: Database, before: dict[str, Any], after: dict[str, Any], count: int | None
) -> None:
    await db["u"].insert_one({"at": NOW - timedelta(days=1)})
    found = await blocker(db, changed(before, after))
    assert (found.count if found else None) == count


async def test_a_time_series_that_expires_sooner_is_asked_about(db: Database) -> None:
    options = {"timeseries": {"timeField": "at"}}
    if (await schema.fetch_server(db)).at_least(5):
        await db.command({"create": "u", **options})
    await db["u"].insert_many([{"at": NOW}, {"at": NOW - timedelta(days=2)}])
    change = Change("u", "collection", "modify", "u", options, {**options, "expireAfterSeconds": 86_400})
    found = await blocker(db, change)
    assert found is not None
    assert (found.reason, found.count) == ("expires_at_once", 1)
    unnamed = Change("u", "collection", "modify", "u", options, {"expireAfterSeconds": 86_400})
    assert await blocker(db, unnamed) == found
    later = Change("u", "collection", "modify", "u", {**options, "expireAfterSeconds": 60}, change.after)
    assert await blocker(db, later) is None


# Validators

STRICT = Validator({"$jsonSchema": {"required": ["name"], "properties": {"age": {"minimum": 0}}}})


def validator(before: Validator | None, after: Validator) -> Change:
    return Change(
        "u",
        "validator",
        "modify" if before else "create",
        "u",
        before.document() if before else None,
        after.document(),
    )


async def test_documents_that_a_validator_rejects_are_counted_with_the_rule(db: Database) -> None:
    await db["u"].insert_many(
        [{"_id": 1, "name": "Ada"}, {"_id": 2}, {"_id": {"k": 3}, "name": "A", "age": -1}]
    )
    found = await blocker(db, validator(None, STRICT))
    assert found is not None
    assert (found.reason, found.count, found.ignorable) == ("rejected", 2, True)
    assert found.message == "2 documents do not fit the validator: name is missing"
    assert found.hint is not None
    assert "`motorctl validators check u FILE`, with the validator in FILE" in found.hint
    assert found.samples == (
        {"id": 2, "rules": ["name is missing"]},
        {"id": {"k": 3}, "rules": ["age is -1, below 0"]},
    )


@pytest.mark.parametrize(
    ("before", "after", "count"),
    [
        (None, Validator(STRICT.expression, "moderate"), None),
        (None, Validator(STRICT.expression, "off"), None),
        (None, Validator(STRICT.expression, "strict", "warn"), None),
        (STRICT, STRICT, None),
        (Validator(STRICT.expression, "moderate"), STRICT, 1),
        (Validator(STRICT.expression, "strict", "warn"), STRICT, 1),
        (Validator({"age": 1}, "off"), STRICT, 1),
        # It was refused before: a validator that loosens isn't to blame.
        (STRICT, Validator({"name": {"$exists": True}}), None),
        (STRICT, Validator({"age": {"$exists": True}, "name": {"$exists": True}}), 1),
        (STRICT, Validator({}), None),
    ],
)
async def test_only_what_writes_would_newly_fail_on_blocks_a_validator(
    db: Database, before: Validator | None, after: Validator, count: int | None
) -> None:
    await db["u"].insert_many([{"_id": 1, "name": "Ada"}, {"_id": 2, "age": 1}])
    found = await blocker(db, validator(before, after))
    assert (found.count if found else None) == count
    assert found is None or found.samples[0]["rules"]


# How many indexes


async def test_more_indexes_than_a_server_takes(db: Database) -> None:
    await db["u"].create_indexes([_model(f"f{n}") for n in range(62)])
    new = [
        Change("u", "index", "create", f"g{n}", None, {"keys": {f"g{n}": 1}, "name": f"g{n}"}) for n in (1, 2)
    ]
    results = await look(db, *new)
    assert [change.status for change in results] == ["planned", "blocked"]
    (found,) = results[1].blockers
    assert (found.reason, found.count, found.ignorable) == ("limit", 65, False)
    assert found.message == "u would have 65 indexes with this one, and a server takes 64 of a collection"
    assert [c.status for c in await schema.apply(db, [new[0]])] == ["applied"]
    (failed,) = await schema.apply(db, [new[1]])
    assert failed.status == "failed"
    # An index in another's place is beside it for a while; one that goes first makes room.
    old = {"keys": {"f1": 1}, "name": "f1_1"}
    rebuild = Change("u", "index", "rebuild", "h", old, {"keys": {"h": 1}, "name": "h"}, replaces=("f1_1",))
    (one,) = await look(db, rebuild)
    assert [(found.reason, found.ignorable) for found in one.blockers] == [("limit", True)]
    drop = Change("u", "index", "drop", "f2_1", {"keys": {"f2": 1}, "name": "f2_1"})
    assert [change.status for change in await look(db, drop, rebuild, new[1], new[1])] == [
        "planned",
        "planned",
        "planned",
        "blocked",
    ]


@pytest.mark.parametrize(
    "options",
    [{"clusteredIndex": {"key": {"_id": 1}, "unique": True}}, {"timeseries": {"timeField": "t", "metaField": "m"}}],
)  # fmt: skip
async def test_a_collection_without_an_index_on_id_takes_one_more(
    db: Database, options: dict[str, Any]
) -> None:
    server = await schema.fetch_server(db)
    if not server.at_least(5, 3 if "clusteredIndex" in options else 0):
        with pytest.raises(OperationFailure):
            await db.command({"create": "u", **options})
        return
    indexes = tuple(Index({f"m.f{n}": 1}) for n in range(65))
    # New, with as many as it takes; then one more than there can be.
    full = await look(db, *schema.plan({}, [Collection("u", options, indexes=indexes[:64])], server=server))
    assert {change.status for change in full} == {"planned"}
    over = await look(db, *schema.plan({}, [Collection("u", options, indexes=indexes)], server=server))
    assert [[found.reason for found in change.blockers] for change in over if change.blockers] == [["limit"]]
    assert {change.status for change in await schema.apply(db, full)} == {"applied"}
    more = schema.plan(await schema.fetch(db), [Collection("u", options, indexes=indexes)], server=server)
    (one,) = [change for change in await look(db, *more) if change.status == "blocked"]
    assert (one.blockers[0].reason, one.blockers[0].count) == ("limit", 65)
    with pytest.raises(OperationFailure, match="too many indexes"):
        await db.command(dict(one.commands[0]))


async def _status_and_outcome(db: Database, wanted: Collection) -> tuple[str, bool, tuple[Blocker, ...]]:
    """Plan and look; return what is said of the one change, and whether the server takes it."""
    server = await schema.fetch_server(db)
    changes = schema.plan(await schema.fetch(db), [wanted], server=server)
    (looked,) = await look(db, *[change for change in changes if change.status != "in_sync"], server=server)
    try:
        for command in looked.commands or ({"create": wanted.name, **wanted.options},):
            await db.command(dict(command))
    except OperationFailure:
        return looked.status, False, looked.blockers
    return looked.status, True, looked.blockers


@pytest.mark.parametrize("kind", ["clusteredIndex", "timeseries"])
@pytest.mark.parametrize("seconds", [-1000, 1000, "off"])
@pytest.mark.parametrize("is_new", [True, False])
async def test_more_seconds_than_have_passed(
    db: Database, kind: str, seconds: int | str, is_new: bool
) -> None:
    options: dict[str, Any] = {
        "clusteredIndex": {"key": {"_id": 1}, "unique": True},
        "timeseries": {"timeField": "t"},
    }
    options = {kind: options[kind], "expireAfterSeconds": 60}
    if not is_new and (await schema.fetch_server(db)).at_least(5, 3 if kind == "clusteredIndex" else 0):
        await db.command({"create": "u", **options})
    limit = int(datetime.now(UTC).timestamp())
    options["expireAfterSeconds"] = seconds if isinstance(seconds, str) else limit + seconds
    status, is_taken, blockers = await _status_and_outcome(db, Collection("u", options))
    assert (status == "planned") is is_taken
    assert all(one.reason in ("impossible", "version") and not one.ignorable for one in blockers)


@pytest.mark.parametrize("size", [0, 0.5, 1, 4096])
async def test_a_capped_collection_of_no_size(db: Database, size: float) -> None:
    status, is_taken, _ = await _status_and_outcome(db, Collection("u", {"capped": True, "size": size}))
    assert (status == "planned") is is_taken


# What the server can't parse

JAVASCRIPT = {"$function": {"body": "function() { return true }", "args": [], "lang": "js"}}
CONSTANTS: list[dict[str, Any]] = [
    {"$expr": {"$divide": [1, 0]}},
    {"$expr": {"$toInt": "abc"}},
    {"$expr": {"$regexMatch": {"input": "$a", "regex": "("}}},
    {"$expr": {"$meta": "textScore"}},
]
"""What a query can't hold and a validator can."""
EXPRESSIONS: list[dict[str, Any]] = [
    {"a": {"$foo": 1}},
    {"$foo": 1},
    {"$where": "true"},
    {"$and": [{"$where": "true"}]},
    {"a": {"$near": [1, 2]}},
    {"a": {"$not": {"$nearSphere": [1, 2]}}},
    {"$text": {"$search": "x"}},
    {"$or": [{"a": 1}, {"$text": {"$search": "x"}}]},
    {"$sampleRate": 0.5},
    {"$expr": JAVASCRIPT},
    {"$expr": {"$or": [{"$not": JAVASCRIPT}]}},
    {"$expr": {"$lt": [{"$rand": {}}, 0.5]}},
    {"$expr": {"$accumulator": {}}},
    {"$expr": {"$nope": 1}},
    {"$expr": {"$eq": ["$a", "$$NOBODYS"]}},
    {"$expr": "$a."},
    {"$jsonSchema": {"properties": {"a": {"pattern": "(?<n"}}}},
    {"a": {"$regex": "("}},
    {"a": {"$type": "nope"}},
    {"a": {"$in": 1}},
    {"a": {"$mod": [0, 1]}},
    {"a": {"$bitsAllSet": "x"}},
    {"a": {"$geoWithin": {"$foo": 1}}},
    {"a": {"$geoIntersects": {"$geometry": {"type": "Foo"}}}},
    {"a": {"$all": [{"$elemMatch": {"$foo": 1}}]}},
    {"$nor": []},
    {"a": {"$eq": {"$text": 1}}},
    {"a": {"$gt": {"$foo": 1}}},
    {"$expr": {"$eq": ["$a", {"$literal": JAVASCRIPT}]}},
    {"$expr": {"$gt": ["$a", "$$NOW"]}},
    {"$expr": {"$eq": ["$a", "$$ROOT"]}},
    {"$jsonSchema": {"properties": {"a": {"encrypt": {}}}}},
    {"a": {"$ref": "x", "$id": 1}},
    {"$comment": "x"},
    {"$alwaysTrue": 1},
    {"a": {"$geoWithin": {"$center": [[1, 2], 3]}}},
]


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=str)
@pytest.mark.parametrize("is_new", [True, False])
async def test_a_validator_that_the_server_cannot_read_is_blocked(
    db: Database, expression: dict[str, Any], is_new: bool
) -> None:
    if not is_new:
        await db["u"].insert_one({"a": 1})
    wanted = [Collection("u", validator=Validator(expression, "moderate"))]
    current = await schema.fetch(db)
    results = await look(db, *schema.plan(current, wanted), current=current)
    (looked,) = [change for change in results if change.kind == "validator"]
    try:
        await db.command({"create": "tried", "validator": expression})
    except OperationFailure:
        assert [(one.reason, one.ignorable) for one in looked.blockers] == [("expression", False)]
        assert looked.unchecked == ()
    else:
        assert (looked.status, looked.blockers, looked.unchecked) == ("planned", (), ())


async def test_what_cannot_be_read_is_said_in_the_servers_words(db: Database) -> None:
    await db["u"].insert_one({"a": 1})
    found = await blocker(db, validator(None, Validator({"a": {"$foo": 1}})))
    assert found == Blocker(
        "expression",
        "the server can't read the validator: unknown operator: $foo",
        "correct it in the manifest",
    )
    listed = await blocker(db, validator(None, Validator({"$expr": JAVASCRIPT})))
    assert listed is not None
    assert listed.message == "$function can't be in a validator"
    # An empty one takes a validator away.
    assert await blocker(db, validator(STRICT, Validator({}))) is None


@pytest.mark.parametrize(
    "query", [{"a": {"$foo": 1}}, {"$sampleRate": 0.5}, {"a": {"$near": [1, 2]}}, {"a": {"$type": "x"}}]
)
async def test_a_partial_filter_that_the_server_cannot_read_is_blocked(
    db: Database, query: dict[str, Any]
) -> None:
    change = build({"a": 1}, unique=True, partialFilterExpression=query)
    for _ in ("new", "with data"):
        found = await blocker(db, change)
        assert found is not None
        assert (found.reason, found.ignorable) == ("expression", False)
        await db["u"].insert_many([{"a": 1}, {"a": 1}])
    specification = {"key": {"a": 1}, "name": "a_1", "partialFilterExpression": query}
    with pytest.raises(OperationFailure):
        await db.command({"createIndexes": "u", "indexes": [specification]})


PIPELINES: list[list[dict[str, Any]]] = [
    [],
    [{"$match": {"a": 1}}, {"$project": {"b": 1}}],
    [{"$matc": {}}],
    [{"$match": {"a": {"$foo": 1}}}],
    [{"$match": {"$where": "true"}}],
    [{"$limit": 0}],
    [{"$project": {}}],
    [{"$group": {"a": 1}}],
    [{"$currentOp": {}}],
    [{"$facet": {"a": [{"$out": "x"}]}}],
    [{"$unionWith": {"coll": "base", "pipeline": [{"$merge": "x"}]}}],
    [{"$lookup": {"from": "french", "localField": "a", "foreignField": "a", "as": "b"}}],
    [{"$lookup": {"from": "nobodys", "localField": "a", "foreignField": "a", "as": "b"}}],
    [{"$unionWith": "french"}],
    [{"$sample": {"size": 1}}, {"$addFields": {"b": JAVASCRIPT}}],
]


@pytest.mark.parametrize("pipeline", PIPELINES, ids=str)
@pytest.mark.parametrize("on", ["base", "nobodys"])
async def test_a_view_that_the_server_cannot_read_is_blocked(
    db: Database, pipeline: list[dict[str, Any]], on: str
) -> None:
    await db["base"].insert_one({"a": 1})
    await db.command({"create": "french", "viewOn": "base", "pipeline": [], "collation": {"locale": "fr"}})
    status, is_taken, blockers = await _status_and_outcome(
        db, Collection("v", {"viewOn": on, "pipeline": pipeline})
    )
    assert (status == "planned") is is_taken
    assert all(one.reason == "expression" and not one.ignorable for one in blockers)
    if is_taken:
        changed = {"viewOn": on, "pipeline": [{"$matc": {}}]}
        status, is_taken, _ = await _status_and_outcome(db, Collection("v", changed))
        assert (status, is_taken) == ("blocked", False)


@pytest.mark.parametrize("on", ["base", "collated", "plain", "french", "series"])
@pytest.mark.parametrize("locale", [None, "fr", "en"])
@pytest.mark.parametrize("is_new", [True, False])
async def test_a_view_on_a_view_has_its_collation(
    db: Database, on: str, locale: str | None, is_new: bool
) -> None:
    server = await schema.fetch_server(db)
    sources = {
        "base": Collection("base"),
        "collated": Collection("collated", {"collation": {"locale": "fr"}}),
        "plain": Collection("plain", {"viewOn": "base", "pipeline": []}),
        "french": Collection(
            "french", {"viewOn": "base", "pipeline": [], "collation": {"locale": "fr", "strength": 3}}
        ),
        "series": Collection("series", {"timeseries": {"timeField": "t"}} if server.at_least(5) else {}),
    }
    collation = {"collation": {"locale": locale}} if locale else {}
    view = Collection("v", {"viewOn": on, "pipeline": [], **collation})
    made = schema.plan({}, [sources["base"], sources[on]] if on != "base" else [sources[on]], server=server)
    if not is_new:
        await schema.apply(db, made)
        made = []
    current = await schema.fetch(db)
    (change,) = schema.plan(current, [view], server=server)
    *_, looked = await look(db, *made, change, current=current, server=server)
    await schema.apply(db, made)
    try:
        await db.command(dict(change.commands[0]))
    except OperationFailure:
        assert [(one.reason, one.ignorable) for one in looked.blockers] == [("impossible", False)]
    else:
        assert looked.status == "planned"


def _model(field: str) -> Any:
    from pymongo import IndexModel

    return IndexModel([(field, 1)])


# Room on disk


class Small:
    """A database on a server that has little room left."""

    def __new__(cls, db: Database, left: int) -> Any:
        class OnSmallDisk(type(db)):  # type: ignore[misc]  # the database's own class, Motor's or PyMongo's
            async def command(self, command: dict[str, Any], **options: Any) -> Any:
                reply = await db.command(command, **options)
                return (
                    {**reply, "fsTotalSize": 10**9, "fsUsedSize": 10**9 - left}
                    if "dbStats" in command
                    else reply
                )

        return OnSmallDisk(db.client, db.name)


async def test_builds_that_do_not_fit_on_the_disk(db: Database) -> None:
    await db["u"].insert_many([{"n": n, "text": "x" * 1000} for n in range(2000)])
    wide, narrow = build({"text": 1}), build({"n": 1})
    assert [c.status for c in await look(Small(db, 10_000_000), wide, narrow)] == ["planned", "planned"]
    results = await look(Small(db, 3_000_000), narrow, wide)
    assert [change.status for change in results] == ["planned", "blocked"]
    (found,) = results[1].blockers
    assert (found.reason, found.ignorable) == ("disk", True)
    assert re.fullmatch(
        r"the builds up to this one may need [34]\.\d MiB on disk, and the server has 2\.9 MiB left",
        found.message,
    )
    # Few documents are in a partial one.
    assert await blocker(Small(db, 3_000_000), build({"text": 1}, partialFilterExpression={"n": -1})) is None
    # Words can't be told from a sample: the most that they may be counts.
    assert (await look(Small(db, 3_000_000), build({"text": "text"})))[0].status == "blocked"


async def test_an_estimate_is_near_the_real_size(db: Database) -> None:
    from motorctl.core.driver import once
    from motorctl.core.schema.blockers import room
    from motorctl.core.schema.blockers.asking import Asking, Step

    await db["u"].insert_many(
        [
            {"n": n, "key": Binary(hashlib.sha256(str(n).encode()).digest()), "tags": [n, -n]}
            for n in range(20_000)
        ]
    )
    for keys in ({"n": 1}, {"key": 1}, {"tags": 1}):
        step = Step(0, build(dict(keys)), "u")
        asking = Asking(db, SERVER, once, 30, [step], {})
        most = await room._at_most(asking, step)
        estimated = await room._estimated(asking, step, most)
        await db["u"].create_index(list(keys.items()))
        await db.client.admin.command({"fsync": 1})
        stats = await db.command({"collStats": "u"})
        size = stats["indexSizes"]["_".join(f"{name}_{kind}" for name, kind in keys.items())]
        assert size / 4 < estimated <= most, keys
        assert estimated < size * 8, keys


# Time, rights and trouble


async def test_what_the_time_limit_left_open_is_said_by_name(db: Database) -> None:
    await db["u"].insert_many([{"n": n, "at": NOW} for n in range(50_000)])
    change = build({"n": 1}, unique=True, expireAfterSeconds=60)
    tightened = validator(None, STRICT)
    late, rejected = await look(db, change, tightened, seconds=0.005)
    assert "index u.wanted: duplicates weren't looked for to the end (0.005 s)" in late.unchecked
    assert (
        "validator of u: documents that it rejects weren't looked for to the end (0.005 s)"
        in rejected.unchecked
    )
    assert late.blockers == ()
    # No time at all: each question is named, and none is sent.
    (nothing,) = await look(db, change, seconds=0)
    assert [sentence.split(": ", 1)[1] for sentence in nothing.unchecked] == [
        f"{what} weren't looked for to the end (0 s)"
        for what in (
            "missing privileges",
            "sizes on disk",
            "duplicates",
            "values that are no dates",
            "documents that expire at once",
        )
    ]


async def _too_late() -> violations.Found:
    raise ExecutionTimeout("operation exceeded time limit", 50)


async def test_a_count_without_its_samples_when_the_time_is_over_in_between(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await db["u"].insert_one({"_id": 1})

    async def late(*_: Any, **__: Any) -> Any:
        yield await _too_late()

    monkeypatch.setattr(violations, "find", late)
    found = await blocker(db, validator(None, STRICT))
    assert found is not None
    assert (found.message, found.samples) == (
        "1 document does not fit the validator",
        ({"id": 1, "rules": []},),
    )


@pytest.mark.parametrize("expression", CONSTANTS)
async def test_a_question_that_the_server_refuses_is_unchecked(
    db: Database, expression: dict[str, Any]
) -> None:
    await db["u"].insert_one({"a": 1})
    (change,) = await look(db, validator(None, Validator(expression)))
    assert change.status == "planned"
    assert [sentence.split(" couldn't be looked for: ")[0] for sentence in change.unchecked] == [
        "validator of u: operators that the server doesn't know",
        "validator of u: documents that it rejects",
    ]
    # It is taken: only what is written meets the error.
    await db.command({"collMod": "u", "validator": expression})


async def test_each_planned_change_is_reported_and_others_are_left_alone(db: Database) -> None:
    await db["u"].insert_many([{"a": 1}, {"a": 1}])
    kept = Change("u", "index", "keep", "k", {"keys": {"a": 1}, "name": "k"}, status="in_sync")
    stopped = Change("u", "collection", "modify", "u", status="blocked", blockers=(Blocker("kind", "x"),))
    unique, drop = build({"a": 1}, unique=True), Change("u", "index", "drop", "k", kept.before)
    seen: list[Change] = []
    results = await look(db, kept, stopped, unique, drop, report=seen.append)
    assert results[0] is kept
    assert results[1] is stopped
    assert [change.status for change in results[2:]] == ["blocked", "planned"]
    assert sorted(seen, key=lambda one: one.action) == [results[2], results[3]]


async def test_questions_go_through_the_callers_policy(db: Database) -> None:
    await db["u"].insert_many([{"a": 1}, {"a": 1}])
    calls = 0

    async def twice(operation: Callable[[], Any]) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            with pytest.raises(AutoReconnect):
                raise AutoReconnect("gone")
        return await operation()

    (change,) = await look(db, build({"a": 1}, unique=True), attempt=twice)
    assert change.status == "blocked"
    assert calls > 3


@pytest.mark.parametrize(
    ("limits", "found"),
    [
        ({"size": 4096}, True),
        ({"max": 99}, True),
        ({"size": 512 * 1024}, False),
        ({"max": 100}, False),
        ({"size": 1 << 21}, False),
        ({"max": 0}, False),
    ],
    ids=str,
)
async def test_a_capped_collection_that_would_lose_documents_is_asked_about(
    db: Database, limits: dict[str, int], found: bool
) -> None:
    before: dict[str, Any] = {"capped": True, "size": 1 << 20, "max": 5000}
    await db.create_collection("u", **before)
    await db["u"].insert_many([{"p": "x" * 1000} for _ in range(100)])
    change = Change("u", "collection", "modify", "u", before, {**before, **limits})
    seen = await blocker(db, change)
    assert (seen is not None) is found
    if seen is not None:
        assert (seen.reason, seen.count, seen.ignorable) == ("shrinks", 100, True)
        assert seen.message.startswith("it holds 100 documents of 10")


async def test_a_lost_connection_ends_the_search(db: Database) -> None:
    async def gone(_: Callable[[], Any]) -> Any:
        raise AutoReconnect("gone")

    with pytest.raises(AutoReconnect):
        await look(db, build({"a": 1}, unique=True), build({"b": 1}, expireAfterSeconds=1), attempt=gone)
    running = [task for task in asyncio.all_tasks() - {asyncio.current_task()} if not task.done()]
    # PyMongo's own client has tasks that live as long as it does.
    places = [cast("Any", task.get_coro()).cr_code.co_filename for task in running]
    assert not [place for place in places if f"{os.sep}pymongo{os.sep}" not in place]


async def test_only_reading_commands_are_sent(db: Database, server_uri: str) -> None:
    await db["u"].insert_many([{"a": "x", "at": NOW - timedelta(days=3)}, {"a": "x"}])
    sent = Sent()
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(server_uri, event_listeners=[sent])
    options: dict[str, Any] = {"unique": True, "expireAfterSeconds": 1}
    changes = [build({"a": 1}, **options), build({"a": "2dsphere"}), validator(None, STRICT)]
    assert [c.status for c in await look(client[db.name], *changes)] == ["blocked"] * 3
    assert set(sent.names) <= {
        "aggregate",
        "connectionStatus",
        "dbStats",
        "explain",
        "listCollections",
        "listIndexes",
        "getMore",
    }
    # What the plan asks once is asked once.
    assert (sent.names.count("connectionStatus"), sent.names.count("dbStats")) == (1, 1)
    await driver.close(client)


def test_each_reason_is_documented() -> None:
    assert find_blockers.__doc__
    assert all(reason in find_blockers.__doc__ for reason in REASONS)


async def test_a_whole_plan_of_a_real_database(db: Database) -> None:
    await db["u"].insert_many([{"email": "a"}, {"email": "a"}])
    wanted = [Collection("u", {}, STRICT, (Index({"email": 1}, None, {"unique": True}),)), Collection("new")]
    changes = schema.plan(await schema.fetch(db), wanted)
    results = await look(db, *changes)
    assert [(c.kind, c.status, [b.reason for b in c.blockers]) for c in results if c.action != "keep"] == [
        ("collection", "planned", []),
        ("index", "blocked", ["duplicates"]),
        ("validator", "blocked", ["rejected"]),
    ]
