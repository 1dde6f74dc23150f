"""Any schema follows any other on a real server, whatever the data: applied, dumped, in sync, and nothing lost."""

from __future__ import annotations

import asyncio
import io
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.errors import OperationFailure

from motorctl import manifest
from motorctl.core import driver, schema
from motorctl.core.schema import Collection, Index, Validator
from motorctl.core.schema.blockers import find_blockers
from motorctl.core.schema.compare import identity, index_facts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from motorctl.client import Database
    from motorctl.core.schema import Change

    Documents = list[dict[str, Any]]

# -- indexes ----------------------------------------------------------------------------------------------

NAMES = st.none() | st.sampled_from(["one", "two", "three"])
COLLATIONS = st.sampled_from([{"locale": "en"}, {"locale": "simple"}, {"locale": "fr_CA", "strength": 2}])
FILTERS = st.sampled_from([{"a": 1}, {"b": {"$gt": 1, "$lt": 5}}, {"a": {"$exists": True}}])
PLAIN = st.fixed_dictionaries(
    {},
    optional={
        "unique": st.booleans(),
        "sparse": st.booleans(),
        "hidden": st.booleans(),
        "collation": COLLATIONS,
        "partialFilterExpression": FILTERS,
    },
).filter(lambda options: not (options.get("sparse") and "partialFilterExpression" in options))
HIDDEN = st.fixed_dictionaries({}, optional={"hidden": st.booleans()})


def keys(*kinds: Any) -> st.SearchStrategy[dict[str, Any]]:
    """One to three fields, each of one of these kinds."""
    return st.dictionaries(st.sampled_from("abcd"), st.sampled_from(kinds), min_size=1, max_size=3)


ORDERED = st.builds(Index, keys(1, -1), NAMES, PLAIN)
PREPARED = st.builds(
    Index, keys(1, -1), NAMES, st.fixed_dictionaries({}, optional={"prepareUnique": st.booleans()})
)
# MongoDB 4.4 and 5.0 build none that would expire what is older than 1970.
EXPIRING = st.builds(
    Index,
    st.sampled_from("abcd").map(lambda name: {name: 1}),
    NAMES,
    st.fixed_dictionaries(
        {"expireAfterSeconds": st.sampled_from([0, 60, 2**30])}, optional={"hidden": st.booleans()}
    ),
)
TEXT = st.builds(
    Index,
    keys("text"),
    NAMES,
    st.fixed_dictionaries({}, optional={"default_language": st.sampled_from(["english", "german", "none"])}),
)
WEIGHTED = st.builds(
    lambda index, weight: replace(
        index, options={**index.options, "weights": {next(iter(index.keys)): weight}}
    ),
    TEXT,
    st.integers(2, 4),
)
SPHERE = st.builds(
    Index, st.sampled_from([{"place": "2dsphere"}, {"place": "2dsphere", "a": 1}]), NAMES, HIDDEN
)
FLAT = st.builds(
    Index,
    st.just({"flat": "2d"}),
    NAMES,
    st.fixed_dictionaries({}, optional={"bits": st.integers(20, 30), "max": st.just(200)}),
)
HASHED = st.builds(
    Index, st.sampled_from([{"a": "hashed"}, {"a": 1, "b": "hashed"}, {"c": "hashed"}]), NAMES, HIDDEN
)
WILD = st.builds(
    Index,
    st.just({"$**": 1}),
    NAMES,
    st.fixed_dictionaries(
        {}, optional={"wildcardProjection": st.sampled_from([{"a": 1}, {"b": 0, "c": 0}, {"a": 1, "d.x": 1}])}
    ),
) | st.builds(Index, st.just({"d.$**": 1}), NAMES, HIDDEN)
OF_SERIES = st.builds(
    Index, st.sampled_from([{"m": 1}, {"m.x": 1, "at": -1}, {"at": 1}, {"a": 1}]), NAMES, HIDDEN
)


def sets(*indexes: st.SearchStrategy[Index]) -> st.SearchStrategy[tuple[Index, ...]]:
    return st.lists(st.one_of(*indexes), min_size=1, max_size=5).map(tuple)


NOT_EXPIRING = (ORDERED, PREPARED, TEXT | WEIGHTED, SPHERE, FLAT, HASHED, WILD)
# Of the same keys, or with text: these stand in each other's way.
RIVALS = st.builds(
    Index, st.just({"a": 1}), st.sampled_from([None, "one", "two"]), st.sampled_from([{}, {"unique": True}])
) | st.builds(
    Index, st.sampled_from([{"b": "text"}, {"a": 1, "b": "text"}]), st.sampled_from([None, "one", "two"])
)
ANY = sets(*NOT_EXPIRING, EXPIRING)
ABSENT = st.lists(st.sampled_from(["one", "two", "three", "a_1"]), max_size=1)

# -- collections ------------------------------------------------------------------------------------------

EXPRESSIONS = st.sampled_from(
    [
        {},
        {"a": {"$gte": 0}},
        {"$jsonSchema": {"required": ["a"]}},
        {"$jsonSchema": {"properties": {"b": {"bsonType": ["int", "string"]}}}},
        {"$or": [{"a": 1}, {"c": {"$exists": True}}]},
    ]
)
VALIDATORS = st.none() | st.builds(
    lambda expression, level, action: (
        Validator(expression, level, action) if expression else Validator(expression)
    ),
    EXPRESSIONS,
    st.sampled_from(["off", "moderate", "strict"]),
    st.sampled_from(["warn", "error"]),
)
NO_INDEXES: st.SearchStrategy[tuple[Index, ...]] = st.just(())
NO_VALIDATOR: st.SearchStrategy[Validator | None] = st.none()
SECONDS = st.sampled_from([100_000, 200_000])


def compatible(collection: Collection) -> Collection:
    """Leave out the indexes that a manifest may not have beside an earlier one."""
    while (conflict := collection.conflict()) is not None:
        position = conflict[0]
        collection = replace(
            collection, indexes=collection.indexes[:position] + collection.indexes[position + 1 :]
        )
    return collection


def without_wanted(collection: Collection, absent: list[str]) -> Collection:
    """Say of names that no index of them must be there, but of those that are wanted."""
    names = {index.resolved_name for index in collection.indexes}
    return replace(collection, absent_indexes=tuple(Index({}, name) for name in absent if name not in names))


def collection(
    options: st.SearchStrategy[dict[str, Any]],
    indexes: st.SearchStrategy[tuple[Index, ...]] = NO_INDEXES,
    validators: st.SearchStrategy[Validator | None] = NO_VALIDATOR,
) -> st.SearchStrategy[Collection]:
    alone = st.builds(Collection, st.just("?"), options, validators, indexes).map(compatible)
    return alone if indexes is NO_INDEXES else st.builds(without_wanted, alone, ABSENT)


def either(fixed: dict[str, Any], **optional: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({name: st.just(value) for name, value in fixed.items()}, optional=optional)


KINDS = {
    "plain": collection(
        either({}, changeStreamPreAndPostImages=st.booleans().map(lambda on: {"enabled": on})),
        ANY,
        VALIDATORS,
    ),
    "collated": collection(either({"collation": {"locale": "en", "strength": 2}}), ANY, VALIDATORS),
    "capped": collection(
        st.builds(
            lambda size, options: {"capped": True, "size": size, **options},
            st.sampled_from([1 << 16, 1 << 17]),
            either({}, max=st.sampled_from([100, 200])),
        ),
        sets(*NOT_EXPIRING),
        VALIDATORS,
    ),
    "series": collection(
        st.builds(
            lambda granularity, options: {
                "timeseries": {"timeField": "at", "metaField": "m", "granularity": granularity},
                **options,
            },
            st.sampled_from(["seconds", "minutes", "hours"]),
            either({}, expireAfterSeconds=SECONDS),
        ),
        sets(OF_SERIES),
    ),
    "clustered": collection(
        either({"clusteredIndex": {"key": {"_id": 1}, "unique": True}}, expireAfterSeconds=SECONDS),
        ANY,
        VALIDATORS,
    ),
    "view": collection(
        st.builds(
            lambda on, pipeline: {"viewOn": on, "pipeline": pipeline},
            st.sampled_from(["plain", "capped"]),
            st.sampled_from([[], [{"$match": {"a": 1}}], [{"$project": {"a": 1}}, {"$limit": 3}]]),
        )
    ),
}
KINDS["rivals"] = collection(either({}), st.lists(RIVALS, min_size=1, max_size=2).map(tuple))
KINDS["changing"] = st.one_of(*KINDS.values())
"""One name for each kind, and one whose kind changes."""


def manifests(names: list[str]) -> st.SearchStrategy[list[Collection]]:
    """One collection of each name, of that name's kind."""

    def named(collections: tuple[Collection, ...]) -> list[Collection]:
        return [replace(one, name=name) for name, one in zip(names, collections, strict=True)]

    return st.tuples(*(KINDS[name] for name in names)).map(named)


# -- data -------------------------------------------------------------------------------------------------

# Few values, so that some are shared; no dates but of now, so that nothing expires.
VALUES = st.sampled_from([None, 0, 1, 1.0, -1, 7, "x", "X", [1, 2], [], {"x": 1}, [{"x": 1}]])
PLACES = st.sampled_from(
    [{"type": "Point", "coordinates": [1, 2]}, [3, 4], "nowhere", {"type": "Point"}, None]
)
DOCUMENTS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys("abcd", VALUES),
            "place": PLACES,
            "flat": st.sampled_from([[1, 2], [1], "x", None]),
            "language": st.sampled_from(["german", 5]),
        },
    ),
    min_size=2,
    max_size=5,
)


async def insert(db: Database, documents: Documents) -> None:
    """Put the documents wherever they are taken."""
    for one in await driver.list_collections(db):
        if one["type"] == "view" or one["name"].startswith("system."):
            continue
        at = datetime.now(UTC).replace(microsecond=0)
        for document in documents:
            try:
                await db[one["name"]].insert_one({**document, "at": at, "m": {"x": 1}})
            except OperationFailure as error:
                event(f"a document is refused: {error.code}")


async def contents(db: Database) -> dict[str, Documents]:
    """Read all documents of all collections; views are none of their own."""
    return {
        one["name"]: sorted([row async for row in db[one["name"]].find()], key=lambda row: str(row["_id"]))
        for one in await driver.list_collections(db)
        if one["type"] != "view" and not one["name"].startswith("system.")
    }


# -- the property -----------------------------------------------------------------------------------------


def read(text: str) -> list[Collection]:
    return manifest.load(["-"], io.BytesIO(text.encode()))


async def planned(db: Database, desired: Sequence[Collection], *, prune: bool = True) -> list[Change]:
    server = await schema.fetch_server(db)
    return schema.plan(await schema.fetch(db), desired, server=server, prune=prune)


def unspoken_of(there: Mapping[str, Collection], desired: Sequence[Collection]) -> set[tuple[str, str]]:
    """Name the indexes that no manifest speaks of: neither by their names nor by what they are."""
    found: set[tuple[str, str]] = set()
    for wished in desired:
        names = {index.resolved_name for index in (*wished.indexes, *wished.absent_indexes)}
        actual = there.get(wished.name, Collection(wished.name))
        collation = actual.options.get("collation")
        known = [identity(index_facts(one.keys, one.options, collation)) for one in wished.indexes]
        found |= {
            (wished.name, one.resolved_name)
            for one in actual.indexes
            if one.resolved_name not in names
            and identity(index_facts(one.keys, one.options, collation)) not in known
        }
    return found


async def possible(
    db: Database, desired: list[Collection], *, prune: bool
) -> tuple[list[Collection], list[Change]]:
    """Leave out the collections in whose way something stands; return the others and their plan."""
    server = await schema.fetch_server(db)
    changes = await find_blockers(
        db, await planned(db, desired, prune=prune), current=await schema.fetch(db), server=server
    )
    blocked = {change.collection: change for change in changes if change.blockers}
    for change in blocked.values():
        event(f"blocked: {change.kind}, {change.blockers[0].reason}")
    rest = [one for one in desired if one.name not in blocked]
    return rest, [change for change in changes if change.collection not in blocked]


async def follow(db: Database, steps: Sequence[tuple[list[Collection], Documents, bool]]) -> None:
    for wished, documents, prune in steps:
        desired, changes = await possible(db, wished, prune=prune)
        others = set[tuple[str, str]]() if prune else unspoken_of(await schema.fetch(db), desired)
        before = await contents(db)
        results = await schema.apply(db, changes)
        wrong = [
            (change.collection, change.name, change.action, change.before, change.after, change.error)
            for change in results
            if change.status not in ("applied", "in_sync", "unmanaged")
        ]
        assert wrong == []
        assert [c for c in await planned(db, desired, prune=prune) if c.action != "keep"] == []
        after = await contents(db)
        assert {name: after[name] for name in before} == before
        assert not [name for name in await db.list_collection_names() if name.startswith("motorctl_")]

        there = await schema.fetch(db)
        standing = {(name, one.resolved_name) for name, each in there.items() for one in each.indexes}
        assert others <= standing
        assert standing.isdisjoint((one.name, gone.name) for one in desired for gone in one.absent_indexes)
        dumped = read(manifest.dump_yaml(schema.dump(there)))
        assert [change for change in await planned(db, dumped) if change.action != "keep"] == []
        await insert(db, documents)


STEPS = st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=2, unique=True).flatmap(
    lambda names: st.lists(
        st.tuples(manifests(names), st.just([]) | DOCUMENTS, st.booleans()), min_size=2, max_size=3
    )
)


RIVAL_STEPS: st.SearchStrategy[list[tuple[list[Collection], Documents, bool]]] = st.lists(
    st.tuples(manifests(["rivals"]), st.just([]), st.booleans()), min_size=2, max_size=2
)
HEALTHY = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


def walk(uri: str, dbname: str, steps: Sequence[tuple[list[Collection], Documents, bool]]) -> None:
    async def run() -> None:
        client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(uri, tz_aware=True)
        try:
            await client.drop_database(dbname)
            await follow(client.get_database(dbname), steps)
        finally:
            await driver.close(client)

    asyncio.run(run())


@settings(max_examples=60, suppress_health_check=HEALTHY)
@given(STEPS)
def test_any_schema_follows_any_other_whatever_the_data(
    server_uri: str, dbname: str, steps: list[tuple[list[Collection], Documents, bool]]
) -> None:
    walk(server_uri, dbname, steps)


def rivals(*indexes: Index, absent: str | None = None) -> list[Collection]:
    gone = () if absent is None else (Index({}, absent),)
    return [Collection("rivals", indexes=indexes, absent_indexes=gone)]


A, TEXT_TOO = {"a": 1}, {"a": 1, "b": "text"}
UNIQUE = {"unique": True}


@example([(rivals(Index(A, "two")), [], True), (rivals(Index(A, "one"), Index(A, "two", UNIQUE)), [], True)])
@example([(rivals(Index(A, "one")), [], True), (rivals(Index(A), absent="one"), [], True)])
@example([(rivals(Index(A, "two", UNIQUE)), [], True), (rivals(Index(A, "one")), [], False)])
@example(
    [
        (rivals(Index(A, "one"), Index({"b": "text"}, "two")), [], True),
        (rivals(Index(TEXT_TOO, "one")), [], False),
    ]
)
@settings(max_examples=100, suppress_health_check=HEALTHY)
@given(RIVAL_STEPS)
def test_indexes_follow_others_in_their_way(
    server_uri: str, dbname: str, steps: list[tuple[list[Collection], Documents, bool]]
) -> None:
    walk(server_uri, dbname, steps)
