"""Every plan that the servers at hand can make, asked for and read: verdict, index, stages, figures.

The server of all tests, and those that MOTORCTL_TEST_SERVERS names: URIs of replica sets, with spaces
between them. Held against what the server itself counts, and against the documents that the query returns.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pymongo
import pytest
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.errors import OperationFailure

from motorctl.core import driver
from motorctl.core.explain import ask, verdict
from motorctl.core.explain.query import Query
from motorctl.core.explain.ratio import worst_ratio
from motorctl.core.explain.read import read

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from pymongo.database import Database as SyncDatabase

    from motorctl.client import Database
    from motorctl.core.explain.plan import Plan

    Documents = SyncDatabase[dict[str, Any]]
    Version = tuple[int, int]

EMBEDDED = "embedded"
SERVERS = [EMBEDDED, *os.environ.get("MOTORCTL_TEST_SERVERS", "").split()]
DAY = datetime(2026, 3, 1, tzinfo=UTC)
ORDERS = 600


def _label(uri: str) -> str:
    return urlsplit(uri).netloc.rpartition("@")[2] or uri


@pytest.fixture(scope="module", params=SERVERS, ids=_label)
def place(request: pytest.FixtureRequest, server_uri: str) -> Iterator[tuple[str, str, Version]]:
    """Each server in turn: its URI, a database that is filled and dropped again, its version."""
    uri = server_uri if request.param == EMBEDDED else str(request.param)
    name = f"test_{uuid.uuid4().hex[:12]}"
    with pymongo.MongoClient[dict[str, Any]](uri, tz_aware=True) as client:
        major, minor, *_ = client.server_info()["versionArray"]
        version = (int(major), int(minor))
        try:
            fill(client[name], version)
            yield uri, name, version
        finally:
            client.drop_database(name)


@pytest.fixture
def version(place: tuple[str, str, Version]) -> Version:
    return place[2]


@pytest.fixture
async def db(place: tuple[str, str, Version]) -> AsyncIterator[Database]:
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(place[0], tz_aware=True)
    yield client.get_database(place[1])
    await driver.close(client)


def fill(db: Documents, version: Version) -> None:
    db["users"].insert_many([{"_id": n, "number": n, "name": f"user {n}"} for n in range(10)])
    db["orders"].insert_many(
        [
            {
                "_id": n,
                "status": ("completed", "pending", "cancelled")[n % 3],
                "user_id": n % 10,
                "amount": n,
                "day": n % 7,
                "note": f"order {n} of word{n % 20}",
                "place": [n % 90, n % 45],
                "flat": [n % 90, n % 45],
            }
            for n in range(ORDERS)
        ]
    )
    for keys in (
        [("status", 1), ("amount", 1)],
        [("user_id", 1)],
        [("day", 1)],
        [("note", "text")],
        [("place", "2dsphere")],
        [("flat", "2d")],
    ):
        db["orders"].create_index(keys)
    db.command({"create": "completed", "viewOn": "orders", "pipeline": [{"$match": {"status": "completed"}}]})
    if version >= (5, 0):
        db.command({"create": "measures", "timeseries": {"timeField": "at", "metaField": "sensor"}})
        db["measures"].insert_many(
            [{"at": DAY + timedelta(seconds=n), "sensor": n % 3, "value": n} for n in range(300)]
        )
    if version >= (5, 3):
        db.command({"create": "clustered", "clusteredIndex": {"key": {"_id": 1}, "unique": True}})
        db["clustered"].insert_many([{"_id": n} for n in range(100)])


@dataclass(frozen=True)
class Case:
    """A query and what its plan is. `stages` must be in it, whatever else is; `since` a server has it."""

    name: str
    query: Query
    verdict: str
    index: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    sort: bool = False
    ratio: float | None = None
    since: Version = (4, 4)
    below: Version = (99, 0)
    returned: int | None = field(default=None)

    def __str__(self) -> str:
        return self.name


def find(filter: dict[str, Any], **options: Any) -> Query:
    return Query("find", "orders", filter=filter, **options)


def pipeline(*stages: dict[str, Any], on: str = "orders") -> Query:
    return Query("aggregate", on, pipeline=list(stages))


MATCH = {"$match": {"user_id": 3}}
JOIN = {"from": "users", "localField": "user_id", "as": "user"}
STATUS = "status_1_amount_1"

CASES = [
    Case("scan", find({"name": 1}), "collscan", stages=("COLLSCAN",), ratio=600, returned=0),
    Case(
        "index", find({"status": "pending"}), "ixscan", (STATUS,), ("FETCH", "IXSCAN"), ratio=1, returned=200
    ),
    Case(
        "index and filter",
        find({"user_id": 3, "note": "x"}),
        "ixscan",
        ("user_id_1",),
        ("FETCH", "IXSCAN"),
        ratio=60,
        returned=0,
    ),
    Case("range of ids", find({"_id": {"$lt": 9}}), "ixscan", ("_id_",), ("IXSCAN",), returned=9),
    Case(
        "covered",
        find({"day": 3}, projection={"_id": 0, "day": 1}),
        "ixscan",
        ("day_1",),
        ("PROJECTION_COVERED", "IXSCAN"),
    ),
    Case(
        "sort, skip and limit",
        find({"user_id": 3}, sort={"note": 1}, skip=2, limit=5),
        "ixscan",
        ("user_id_1",),
        ("SKIP", "SORT", "IXSCAN"),
        sort=True,
        ratio=1,
        returned=5,
    ),
    Case(
        "sort by an index",
        find({"status": "pending"}, sort={"amount": -1}),
        "ixscan",
        (STATUS,),
        ("FETCH", "IXSCAN"),
        ratio=1,
    ),
    Case(
        "or", find({"$or": [{"day": 3}, {"user_id": 4}]}), "ixscan", ("day_1", "user_id_1"), ("OR", "IXSCAN")
    ),
    Case(
        "or over a planned part",
        find({"$or": [{"day": 3, "status": "pending"}, {"user_id": 4}]}),
        "ixscan",
        stages=("SUBPLAN", "OR"),
    ),
    Case(
        "merge of sorted parts",
        find({"$or": [{"status": "pending"}, {"status": "cancelled"}]}, sort={"amount": 1}),
        "ixscan",
        (STATUS,),
        ("SORT_MERGE",),
        returned=400,
    ),
    Case(
        "or with a part without index",
        find({"$or": [{"day": 3}, {"name": "x"}]}),
        "collscan",
        stages=("COLLSCAN",),
    ),
    Case(
        "text",
        find({"$text": {"$search": "word7"}}),
        "ixscan",
        ("note_text",),
        ("TEXT_MATCH", "IXSCAN"),
        returned=30,
    ),
    Case(
        "text by score",
        find({"$text": {"$search": "word7 word8"}}, sort={"score": {"$meta": "textScore"}}),
        "ixscan",
        ("note_text",),
        ("SORT", "TEXT_OR"),
        sort=True,
        since=(5, 0),
    ),
    Case(
        "near on a sphere",
        find({"place": {"$nearSphere": [10, 10]}}, limit=3),
        "ixscan",
        ("place_2dsphere",),
        ("LIMIT", "GEO_NEAR_2DSPHERE", "FETCH"),
        returned=3,
    ),
    Case(
        "near on a plane",
        find({"flat": {"$near": [10, 10]}}, limit=3),
        "ixscan",
        ("flat_2d",),
        ("GEO_NEAR_2D",),
        returned=3,
    ),
    Case(
        "within a circle",
        find({"place": {"$geoWithin": {"$centerSphere": [[10, 10], 0.1]}}}),
        "ixscan",
        ("place_2dsphere",),
        ("FETCH", "IXSCAN"),
    ),
    Case("no collection", Query("find", "absent", filter={"a": 1}), "eof", stages=("EOF",), returned=0),
    Case("count", Query("count", "orders", filter={"day": 3}), "ixscan", ("day_1",), ("COUNT", "COUNT_SCAN")),
    Case(
        "count with a filter",
        Query("count", "orders", filter={"day": 3, "note": "x"}),
        "ixscan",
        ("day_1",),
        ("COUNT", "FETCH"),
        ratio=86,
    ),
    Case(
        "count of everything",
        Query("count", "orders"),
        "express",
        stages=("RECORD_STORE_FAST_COUNT",),
        ratio=None,
    ),
    Case("count of nothing", Query("count", "absent"), "eof", stages=("COUNT", "EOF")),
    Case(
        "distinct",
        Query("distinct", "orders", key="day"),
        "ixscan",
        ("day_1",),
        ("DISTINCT_SCAN",),
        ratio=1,
        returned=7,
    ),
    Case(
        "distinct with a filter",
        Query("distinct", "orders", key="note", filter={"day": 3}),
        "ixscan",
        ("day_1",),
        ("FETCH", "IXSCAN"),
    ),
    Case("an empty pipeline", pipeline(), "collscan", stages=("COLLSCAN",), ratio=1, returned=ORDERS),
    Case(
        "a pipeline that the engine runs",
        pipeline(MATCH, {"$sort": {"note": 1}}, {"$limit": 3}),
        "ixscan",
        ("user_id_1",),
        ("SORT", "IXSCAN"),
        sort=True,
        returned=3,
    ),
    Case(
        "group and sort",
        pipeline(
            {"$match": {"status": "pending"}},
            {"$group": {"_id": "$day", "sum": {"$sum": "$amount"}}},
            {"$sort": {"sum": -1}},
        ),
        "ixscan",
        (STATUS,),
        ("$sort", "IXSCAN"),
        sort=True,
        ratio=1,
        returned=7,
    ),
    Case(
        "group of everything",
        pipeline({"$group": {"_id": "$note"}}),
        "collscan",
        stages=("COLLSCAN",),
        ratio=1,
        returned=ORDERS,
    ),
    Case(
        "group by the first of each",
        pipeline({"$sort": {"day": 1}}, {"$group": {"_id": "$day"}}),
        "ixscan",
        ("day_1",),
        ("DISTINCT_SCAN",),
        returned=7,
    ),
    Case("count in a pipeline", pipeline(MATCH, {"$count": "n"}), "ixscan", ("user_id_1",), ("COUNT_SCAN",)),
    Case(
        "lookup by an index",
        pipeline(MATCH, {"$lookup": {**JOIN, "foreignField": "_id"}}),
        "ixscan",
        ("user_id_1", "_id_"),
        since=(5, 0),
        ratio=1,
        returned=60,
    ),
    Case(
        "lookup that scans",
        pipeline(MATCH, {"$lookup": {**JOIN, "foreignField": "number"}}),
        "mixed",
        ("user_id_1",),
        since=(5, 0),
        returned=60,
    ),
    Case(
        "lookup by a pipeline",
        pipeline(
            MATCH,
            {
                "$lookup": {
                    "from": "users",
                    "let": {"id": "$user_id"},
                    "pipeline": [{"$match": {"$expr": {"$eq": ["$_id", "$$id"]}}}],
                    "as": "user",
                }
            },
        ),
        "ixscan",
        ("user_id_1", "_id_"),
        ("$lookup",),
        since=(5, 0),
    ),
    Case(
        "lookup unwound",
        pipeline(MATCH, {"$lookup": {**JOIN, "foreignField": "number"}}, {"$unwind": "$user"}),
        "mixed",
        ("user_id_1",),
        since=(5, 0),
        returned=60,
    ),
    Case(
        "graph lookup",
        pipeline(
            {
                "$graphLookup": {
                    "from": "orders",
                    "startWith": "$number",
                    "connectFromField": "_id",
                    "connectToField": "user_id",
                    "as": "orders",
                    "maxDepth": 0,
                }
            },
            on="users",
        ),
        "collscan",
        stages=("$graphLookup", "COLLSCAN"),
        returned=10,
    ),
    Case(
        "facet",
        pipeline(
            MATCH,
            {
                "$facet": {
                    "days": [{"$group": {"_id": "$day"}}],
                    "first": [{"$sort": {"note": 1}}, {"$limit": 2}],
                }
            },
        ),
        "ixscan",
        ("user_id_1",),
        ("$facet", "$group", "$sort"),
        sort=True,
        returned=1,
    ),
    Case(
        "union",
        pipeline(MATCH, {"$unionWith": {"coll": "users", "pipeline": [{"$match": {"number": 3}}]}}),
        "mixed",
        ("user_id_1",),
        ("$unionWith", "COLLSCAN", "IXSCAN"),
        returned=61,
    ),
    Case(
        "geo near",
        pipeline({"$geoNear": {"near": [10, 10], "distanceField": "d", "spherical": True, "key": "place"}}),
        "ixscan",
        ("place_2dsphere",),
        ("GEO_NEAR_2DSPHERE",),
        returned=ORDERS,
    ),
    Case(
        "view",
        Query("find", "completed", filter={"amount": {"$gt": 300}}),
        "ixscan",
        (STATUS,),
        ("IXSCAN",),
        ratio=1,
    ),
    Case("count of a view", Query("count", "completed"), "ixscan", (STATUS,)),
    Case("distinct of a view", Query("distinct", "completed", key="amount"), "ixscan", (STATUS,)),
    Case(
        "sample by a random cursor",
        pipeline({"$sample": {"size": 5}}),
        "express",
        stages=("$sampleFromRandomCursor", "MULTI_ITERATOR"),
        returned=5,
    ),
    Case("indexes' statistics", pipeline({"$indexStats": {}}), "eof", stages=("$indexStats",)),
    Case(
        "window",
        pipeline(
            {
                "$setWindowFields": {
                    "partitionBy": "$status",
                    "sortBy": {"amount": 1},
                    "output": {"sum": {"$sum": "$amount"}},
                }
            }
        ),
        "ixscan",
        (STATUS,),
        ("$_internalSetWindowFields",),
        since=(5, 0),
        returned=ORDERS,
    ),
    Case(
        "buckets",
        pipeline({"$match": {"sensor": 1}}, {"$group": {"_id": None, "n": {"$sum": 1}}}, on="measures"),
        "collscan",
        stages=("COLLSCAN",),
        since=(5, 0),
        below=(6, 3),
        returned=1,
    ),
    Case(
        "buckets by time",
        Query("find", "measures", filter={"at": {"$gt": DAY + timedelta(minutes=2)}}),
        "ixscan",
        since=(5, 0),
        below=(7, 0),
        returned=179,
    ),
    Case(
        "clustered",
        Query("find", "clustered", filter={"_id": {"$gt": 50}}),
        "ixscan",
        stages=("CLUSTERED_IXSCAN",),
        since=(5, 3),
        returned=49,
    ),
]


async def explained(db: Database, query: Query, verbosity: ask.Verbosity = "executionStats") -> Plan:
    return read(await ask.explain(db, query, verbosity=verbosity))


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_a_plan_is_read(db: Database, version: Version, case: Case) -> None:
    if not case.since <= version < case.below:
        pytest.skip(f"MongoDB {version[0]}.{version[1]} has no such plan")
    plan = await explained(db, case.query)
    kinds = {stage.kind for stage in plan.root.walk()}

    assert plan.verdict == case.verdict
    assert set(plan.indexes) >= set(case.index)
    assert kinds >= set(case.stages)
    assert plan.in_memory_sort is case.sort
    assert plan.executed
    assert plan.failure is None
    assert plan.server_version is not None
    assert plan.server_version.startswith(f"{version[0]}.{version[1]}.")
    if case.returned is not None:
        assert plan.returned == case.returned
    if case.ratio is not None:
        ratio = worst_ratio(plan)
        assert ratio is not None
        assert round(ratio.value) == case.ratio
    _adds_up(plan)
    planned = await explained(db, case.query, "queryPlanner")
    assert (planned.executed, planned.returned, planned.keys_examined) == (False, None, None)
    # What the classic engine's $lookup does inside is known only when it was run.
    if not any(stage.kind == "$lookup" for stage in plan.root.walk()):
        assert planned.verdict == plan.verdict


def _adds_up(plan: Plan) -> None:
    """What the stages examined, added up, is what the server counted for the whole."""
    stages = list(plan.root.walk())
    assert sum(stage.keys or 0 for stage in stages) == (plan.keys_examined or 0)
    assert sum(stage.docs or 0 for stage in stages) == (plan.docs_examined or 0)


async def test_one_document_by_its_id(db: Database, version: Version) -> None:
    plan = await explained(db, find({"_id": 5}))

    assert plan.verdict == ("idhack" if version < (8, 0) else "express")
    assert (plan.indexes, plan.returned, plan.docs_examined) == (["_id_"], 1, 1)


async def test_a_lookup_says_what_it_examined_from_5_0_on(db: Database, version: Version) -> None:
    plan = await explained(db, pipeline(MATCH, {"$lookup": {**JOIN, "foreignField": "number"}}))
    tells = version >= (5, 0)

    assert plan.verdict == ("mixed" if tells else "ixscan")
    assert (plan.docs_examined or 0) > 60 if tells else plan.docs_examined == 60


@pytest.mark.parametrize("verbosity", ["executionStats", "allPlansExecution"])
async def test_rejected_plans_are_counted(db: Database, verbosity: ask.Verbosity) -> None:
    plan = await explained(db, find({"user_id": 3, "day": 3}), verbosity)

    assert plan.rejected_plans >= 1
    assert plan.verdict == "ixscan"
    assert len(plan.indexes) == 1


async def test_a_query_that_breaks_is_a_failure_or_the_servers_error(db: Database, version: Version) -> None:
    query = find({"$expr": {"$eq": [1, {"$divide": ["$amount", 0]}]}})
    if version < (5, 0):
        with pytest.raises(OperationFailure, match=r"\$divide by zero"):
            await explained(db, query)
        return
    plan = await explained(db, query)

    assert plan.failure == "can't $divide by zero"
    assert plan.docs_examined == 1


@pytest.mark.parametrize(
    "stage", [{"$out": "written"}, {"$merge": "written"}, {"$merge": {"into": "written"}}], ids=str
)
async def test_a_pipeline_that_writes_is_planned_and_never_run(db: Database, stage: dict[str, Any]) -> None:
    plan = await explained(db, pipeline(MATCH, stage))

    assert not plan.executed
    assert plan.root.kind == next(iter(stage))
    assert plan.verdict == "ixscan"
    assert "written" not in await db.list_collection_names()


async def test_a_hint_is_kept_to(db: Database) -> None:
    by_name = await explained(db, find({"status": "pending"}, hint="day_1"))
    by_keys = await explained(db, find({"status": "pending"}, hint={"user_id": 1}))
    natural = await explained(db, find({"status": "pending"}, hint={"$natural": 1}))

    assert (by_name.indexes, by_keys.indexes) == (["day_1"], ["user_id_1"])
    assert (natural.verdict, [stage.kind for stage in verdict.scans(natural.root)]) == (
        "collscan",
        ["COLLSCAN"],
    )


async def test_a_time_limit_reaches_the_query(db: Database) -> None:
    slow = find({"$where": "sleep(20) || true"})
    code, sentence = None, ""
    try:
        plan = read(await ask.explain(db, slow, max_time_ms=100))
        code, sentence = plan.failure_code, plan.failure or ""
    except OperationFailure as error:
        # Before 6.0 the whole explain fails.
        code, sentence = error.code, str(error)

    assert code == 50
    assert sentence.startswith("operation exceeded time limit")


async def test_who_stops_waiting_stops_the_query_on_the_server(
    db: Database, place: tuple[str, str, Version]
) -> None:
    """Of an explain a server doesn't let go by itself when its client is gone."""

    def running() -> int:
        operations = client["admin"].aggregate([{"$currentOp": {}}, {"$match": {"ns": f"{place[1]}.orders"}}])
        return sum(1 for one in operations if "explain" in one.get("command", {}))

    async def until(wanted: int) -> bool:
        for _ in range(100):
            if running() == wanted:
                return True
            await asyncio.sleep(0.05)
        return False

    with pymongo.MongoClient[dict[str, Any]](place[0]) as client:
        waiting = asyncio.ensure_future(
            ask.explain(db, find({"$where": "sleep(50) || true"}), max_time_ms=20_000)
        )
        assert await until(1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

        assert await until(0)


async def test_a_writes_plan_is_read_too(db: Database) -> None:
    """`explain read` gets what Compass and shells save, updates and deletes among them."""
    for command in (
        {"update": "orders", "updates": [{"q": {"day": 3}, "u": {"$set": {"x": 1}}, "multi": True}]},
        {"delete": "orders", "deletes": [{"q": {"day": 3}, "limit": 0}]},
        {"findAndModify": "orders", "query": {"day": 3}, "update": {"$set": {"x": 1}}},
    ):
        plan = read(await db.command({"explain": command, "verbosity": "executionStats"}))

        assert (plan.verdict, plan.indexes) == ("ixscan", ["day_1"])
