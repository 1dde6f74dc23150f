"""Advice on a query: the index that would serve it, and why one that is there doesn't. All of it tried on servers.

The server of all tests, and those that MOTORCTL_TEST_SERVERS names: URIs of replica sets, with spaces
between them. The orders are there once for each; a test puts indexes on them, which go with it.
"""

from __future__ import annotations

import os
import shlex
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pymongo
import pytest
from bson import Decimal128, ObjectId, Regex
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.errors import OperationFailure

from motorctl.core import driver
from motorctl.core.explain import ask, read
from motorctl.core.explain.advice import Advice, Proposal, advise, missing_index
from motorctl.core.explain.query import Query

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from conftest import Runner

    from motorctl.client import Database
    from motorctl.core.explain.plan import Plan

COUNT = 1000
START = datetime(2025, 1, 1, tzinfo=UTC)


def document(number: int) -> dict[str, Any]:
    return {
        "user": ObjectId(f"{number % 40:024x}"),
        "status": "rare" if number % 20 == 0 else "usual",
        "amount": Decimal128(f"{number}.50"),
        "qty": number % 50,
        "number": number,
        "name": f"n{number % 30}",
        "at": START + timedelta(hours=number),
        "tags": [number % 23, (number + 7) % 17],
        "lines": [{"sku": number % 19, "qty": number % 7}, {"sku": (number + 3) % 19, "qty": 1}],
        "address": {"city": f"c{number % 25}"},
        "place": {"type": "Point", "coordinates": [number % 90, number % 80]},
    }


DOCUMENTS = [document(number) for number in range(COUNT)]


EMBEDDED = "embedded"
SERVERS = [EMBEDDED, *os.environ.get("MOTORCTL_TEST_SERVERS", "").split()]


def _label(uri: str) -> str:
    return urlsplit(uri).netloc.rpartition("@")[2] or uri


@pytest.fixture(scope="module", params=SERVERS, ids=_label)
def place(request: pytest.FixtureRequest, server_uri: str) -> Iterator[tuple[str, str]]:
    """Each server in turn: its URI, and a database with the orders."""
    uri = server_uri if request.param == EMBEDDED else str(request.param)
    name = f"test_{uuid.uuid4().hex[:12]}"
    with pymongo.MongoClient[dict[str, Any]](uri) as client:
        try:
            client[name]["orders"].insert_many([dict(one) for one in DOCUMENTS])
            yield uri, name
        finally:
            client.drop_database(name)


@pytest.fixture
async def orders(place: tuple[str, str]) -> AsyncIterator[Database]:
    """The orders that all tests share. What a test puts beside them is taken away."""
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(place[0], tz_aware=True)
    db = client.get_database(place[1])
    yield db
    for name in await db.list_collection_names():
        if name == "orders":
            await db.command({"dropIndexes": name, "index": "*"})
        elif not name.startswith("system."):
            await db.drop_collection(name)
    assert await db["orders"].count_documents({}) == COUNT
    await driver.close(client)


@pytest.fixture
async def own(db: Database) -> Database:
    """Orders of the test's own, on the server of all tests: to be changed, or refused."""
    await db["orders"].insert_many([dict(one) for one in DOCUMENTS])
    return db


def find(filter: dict[str, Any] | None = None, **rest: Any) -> Query:
    return Query("find", "orders", filter or {}, **rest)


def pipeline(*stages: dict[str, Any]) -> Query:
    return Query("aggregate", "orders", pipeline=list(stages))


async def planned(db: Database, query: Query) -> Plan:
    return read.read(await ask.explain(db, query))


async def advised(db: Database, query: Query) -> tuple[Plan, Advice]:
    plan = await planned(db, query)
    return plan, await advise(db, query, plan)


async def build(db: Database, *proposals: Proposal) -> None:
    for proposal in proposals:
        command = {"createIndexes": proposal.collection, "indexes": [proposal.index().specification()]}
        await db.command(command)


def kinds(advice: Advice) -> list[str]:
    return [sentence.kind for sentence in advice.sentences]


def kinds_of_stages(plan: Plan) -> set[str]:
    return {stage.kind for stage in plan.root.walk()}


def examined(plan: Plan) -> int:
    return max(plan.keys_examined or 0, plan.docs_examined or 0)


async def version(db: Database) -> tuple[int, int]:
    parts = (await db.command("buildInfo"))["versionArray"]
    return parts[0], parts[1]


# -- the index that would serve ----------------------------------------------------------------------------

# fmt: off
SERVED = [
    (find({"status": "rare"}), {"status": 1}),
    (find({"status": "rare", "user": DOCUMENTS[20]["user"]}), {"status": 1, "user": 1}),
    (find({"status": "rare"}, sort={"at": -1}, limit=5), {"status": 1, "at": -1}),
    (
        find({"number": {"$gt": 100}, "status": "rare"}, sort={"at": -1}, limit=5),
        {"status": 1, "at": -1, "number": 1},
    ),
    (find({"at": {"$gte": START}, "status": "rare"}, sort={"at": -1}), {"status": 1, "at": -1}),
    (find({"number": {"$gte": 10, "$lt": 20}}), {"number": 1}),
    (find(sort={"qty": 1, "number": -1}, limit=3), {"qty": 1, "number": -1}),
    (find(sort={"number": -1}, limit=3), {"number": 1}),
    (find({"qty": {"$in": [1, 2, 3]}}, sort={"number": 1}), {"qty": 1, "number": 1}),
    (find({"qty": {"$in": list(range(300))}}, sort={"number": 1}, limit=5), {"number": 1, "qty": 1}),
    (find({"qty": {"$in": [1, 2]}, "number": {"$gt": 10}}), {"qty": 1, "number": 1}),
    (find({"name": Regex("^n2")}), {"name": 1}),
    (find({"name": {"$regex": "^n2", "$options": ""}, "qty": 22}), {"qty": 1, "name": 1}),
    (find({"address.city": "c3"}), {"address.city": 1}),
    (find({"tags": 3}, sort={"number": 1}), {"tags": 1, "number": 1}),
    (find({"tags": {"$all": [3, 9]}}), {"tags": 1}),
    (find({"lines": {"$elemMatch": {"sku": 3, "qty": 1}}}), {"lines.sku": 1, "lines.qty": 1}),
    # Without $elemMatch two elements may be meant: one index can't narrow both.
    (find({"lines.sku": 3, "lines.qty": 2}), {"lines.sku": 1}),
    # No index holds two arrays side by side.
    (find({"lines.sku": 3, "tags": 4, "qty": 3}), {"lines.sku": 1, "qty": 1}),
    (find({"$and": [{"qty": 3}, {"$and": [{"number": {"$lt": 100}}]}]}), {"qty": 1, "number": 1}),
    (find({"qty": 3, "name": {"$ne": "n4"}}), {"qty": 1}),
    (find({"qty": None}), {"qty": 1}),
    (find({"nothing": {"$exists": False}, "qty": 4}), {"nothing": 1, "qty": 1}),
    (find({"status": "rare"}, sort={"at": 1}, collation={"locale": "de"}), {"status": 1, "at": 1}),
    (find({"$expr": {"$eq": ["$qty", 3]}}), {"qty": 1}),
    (Query("count", "orders", {"qty": 3, "number": {"$gt": 9}}), {"qty": 1, "number": 1}),
    (Query("distinct", "orders", {"qty": 3}, key="name"), {"qty": 1, "name": 1}),
    (pipeline({"$match": {"status": "rare"}}, {"$group": {"_id": "$user", "n": {"$sum": 1}}}), {"status": 1}),
    # A $group that gives nothing but the values is a distinct.
    (pipeline({"$group": {"_id": "$status"}}), {"status": 1}),
    (pipeline({"$match": {"qty": 3}}, {"$group": {"_id": "$name"}}), {"qty": 1, "name": 1}),
    (pipeline({"$sort": {"status": 1, "at": -1}}, {"$group": {"_id": "$status", "at": {"$first": "$at"}}}),
     {"status": 1, "at": -1}),
    (Query("distinct", "orders", key="status"), {"status": 1}),
    (Query("distinct", "orders", key="tags"), {"tags": 1}),
    # Without one value for it nothing before the range can be looked up.
    (Query("distinct", "orders", {"number": {"$gt": 900}}, key="status"), {"number": 1, "status": 1}),
    (Query("distinct", "orders", {"number": {"$gt": 900}}, key="number"), {"number": 1}),
    (find({"number": {"$type": "string"}}), {"number": 1}),
    # What leaves out nearly all is worth an index even as a negation.
    (find({"status": {"$ne": "usual"}}), {"status": 1}),
    (find({"status": {"$nin": ["usual", "other"]}}), {"status": 1}),
    (find({"number": {"$not": {"$lt": 980}}}), {"number": 1}),
    (find({"name": Regex("^n29")}, collation={"locale": "de"}), {"name": 1}),
    (find({"name": Regex("^n2"), "status": "rare"}, collation={"locale": "de"}), {"status": 1}),
    (find({"place": {"$geoWithin": {"$centerSphere": [[3, 3], 0.1]}}, "qty": 3}), {"qty": 1}),
    (pipeline({"$match": {"qty": 3}}, {"$sort": {"at": -1}}, {"$limit": 3}), {"qty": 1, "at": -1}),
    (pipeline({"$sort": {"at": -1}}, {"$match": {"qty": 3}}), {"qty": 1, "at": -1}),
    (pipeline({"$match": {"qty": 3}}, {"$match": {"number": 3}}), {"qty": 1, "number": 1}),
]
# fmt: on


@pytest.mark.parametrize(("query", "keys"), SERVED, ids=[str(n) for n in range(len(SERVED))])
async def test_the_server_takes_the_index_that_is_advised(
    orders: Database, query: Query, keys: dict[str, Any]
) -> None:
    before, advice = await advised(orders, query)
    assert advice.index == keys
    assert list(advice.index or {}) == list(keys)
    assert kinds(advice).count("create") == 1
    await build(orders, *advice.proposals)
    after, again = await advised(orders, query)
    assert after.indexes == [advice.proposals[0].resolved_name]
    assert "SORT" not in kinds_of_stages(after)
    assert examined(after) <= max(examined(before), 1)
    assert again.proposals == ()
    # What the index can't narrow is said, too.
    assert set(kinds(again)) <= {"fine", "none", "multikey"}


async def test_a_branch_of_an_or_each_has_an_index(orders: Database) -> None:
    query = find({"$or": [{"qty": 3}, {"number": {"$gt": 990}}], "status": "usual"}, sort={"at": 1})
    _, advice = await advised(orders, query)
    assert [dict(proposal.keys) for proposal in advice.proposals] == [
        {"status": 1, "qty": 1, "at": 1},
        {"status": 1, "at": 1, "number": 1},
    ]
    await build(orders, *advice.proposals)
    after = await planned(orders, query)
    assert after.verdict == "ixscan"
    assert set(after.indexes) <= {proposal.resolved_name for proposal in advice.proposals}


async def test_two_branches_alone_are_merged_in_order(orders: Database) -> None:
    query = find({"$or": [{"qty": 3}, {"name": "n4"}]}, sort={"at": 1})
    _, advice = await advised(orders, query)
    await build(orders, *advice.proposals)
    after = await planned(orders, query)
    assert "SORT_MERGE" in kinds_of_stages(after)
    assert after.in_memory_sort is False


async def test_branches_without_one_value_give_up_the_order(orders: Database) -> None:
    query = find({"$or": [{"number": {"$gt": 990}}, {"name": "n4"}]}, sort={"at": 1})
    _, advice = await advised(orders, query)
    assert [dict(proposal.keys) for proposal in advice.proposals] == [{"number": 1}, {"name": 1}]
    await build(orders, *advice.proposals)
    after = await planned(orders, query)
    assert len(after.indexes) == 2


async def test_a_rare_range_comes_before_an_order_of_all(orders: Database) -> None:
    query = find({"number": {"$gt": 990}}, sort={"at": 1})
    _, advice = await advised(orders, query)
    assert advice.index == {"number": 1, "at": 1}
    assert kinds(advice) == ["create", "range_first"]
    assert "leaves 0.9% of the documents" in advice.sentences[1].text
    await build(orders, *advice.proposals)
    after, again = await advised(orders, query)
    assert examined(after) == 9
    assert kinds(again) == ["fine"]


async def test_a_filter_that_leaves_nearly_everything_is_said(orders: Database) -> None:
    _, advice = await advised(orders, find({"status": "usual"}))
    assert kinds(advice) == ["create", "unselective"]
    assert "leaves 95% of the documents" in advice.sentences[1].text


async def test_a_query_that_returns_little_is_told_how_to_do_without_documents(orders: Database) -> None:
    query = find({"qty": 3}, projection={"_id": 0, "number": 1})
    _, advice = await advised(orders, query)
    assert kinds(advice) == ["create", "covered"]
    assert advice.sentences[1].command == "motorctl indexes create orders qty number"
    await orders["orders"].create_index([("qty", 1), ("number", 1)])
    assert (await planned(orders, query)).docs_examined == 0


@pytest.mark.parametrize(
    "query",
    [
        find({"qty": None}, projection={"_id": 0, "number": 1}),
        find({"tags": 3}, projection={"_id": 0, "number": 1}),
        find({"qty": 3}, projection={"number": 1}),
        find({"qty": 3}, projection={"_id": 0, "number": 1, "name": 1}),
        find({"qty": 3, "name": {"$ne": "n2"}}, projection={"_id": 0, "qty": 1}),
        find({"name": "n3"}, projection={"_id": 0, "name": 1}, collation={"locale": "de"}),
        find({"qty": 3}, projection={"number": 0}),
        find({"qty": 3}, projection={"_id": 0, "number": {"$add": ["$qty", 1]}}),
    ],
)
async def test_documents_that_have_to_be_fetched_get_no_such_promise(orders: Database, query: Query) -> None:
    _, advice = await advised(orders, query)
    assert kinds(advice) == ["create"]


@pytest.mark.parametrize(
    "options",
    [{"sparse": True}, {"partialFilterExpression": {"no": {"$gt": 5}}}],
    ids=lambda options: next(iter(options)),
)
async def test_a_join_is_told_of_an_index_that_it_cant_use(orders: Database, options: Any) -> None:
    await orders["users"].insert_many([{"no": number} for number in range(50)])
    await orders["users"].create_index("no", **options)
    stage = {"$lookup": {"from": "users", "localField": "number", "foreignField": "no", "as": "buyer"}}
    before = await used(orders, "users", "no_1")
    await answered(orders, "orders", [{"$limit": 50}, stage])
    # The classic engine looks each value up by itself: in a sparse index all but null are, in a partial one
    # some.
    serves = "sparse" in options and await used(orders, "users", "no_1") > before
    _, advice = await advised(orders, pipeline({"$limit": 50}, stage))
    assert bool(advice.proposals) is not serves
    await build(orders, *advice.proposals)
    name = advice.proposals[0].resolved_name if advice.proposals else "no_1"
    before = await used(orders, "users", name)
    await answered(orders, "orders", [{"$limit": 50}, stage])
    assert await used(orders, "users", name) > before


@pytest.mark.parametrize(
    ("foreign", "options"),
    [({"name.$**": 1}, {}), ({"no": 1}, {"collation": {"locale": "de"}})],
    ids=["wildcard", "collation"],
)
async def test_a_join_is_told_of_an_index_that_doesnt_have_its_field(
    orders: Database, foreign: dict[str, Any], options: dict[str, Any]
) -> None:
    if await version(orders) < (5, 0):
        pytest.skip("before 5.0 no server tells what a $lookup reads")
    await orders["users"].insert_many([{"no": f"n{number}"} for number in range(50)])
    await orders["users"].create_index(list(foreign.items()), name="there", **options)
    await orders["orders"].create_index("qty")
    stage = {"$lookup": {"from": "users", "localField": "name", "foreignField": "no", "as": "buyer"}}
    for stages in ([stage], [{"$facet": {"one": [stage]}}]):
        _, advice = await advised(orders, pipeline({"$match": {"qty": 3}}, *stages))
        assert kinds(advice) == ["lookup"]
        assert [(one.collection, dict(one.keys)) for one in advice.proposals] == [("users", {"no": 1})]
    before = await planned(orders, pipeline({"$match": {"qty": 3}}, stage))
    await build(orders, *advice.proposals)
    after = await planned(orders, pipeline({"$match": {"qty": 3}}, stage))
    assert (before.verdict, after.verdict) == ("mixed", "ixscan")


@pytest.mark.parametrize("there", ["seen", "few"])
async def test_a_join_that_reads_the_other_side_as_a_whole_isnt_called_fine(
    orders: Database, there: str
) -> None:
    if await version(orders) < (5, 0):
        pytest.skip("before 5.0 no server tells what a $lookup reads")
    await orders["few"].insert_many([{"no": number} for number in range(5)])
    await orders.command({"create": "seen", "viewOn": "orders", "pipeline": []})
    await orders["orders"].create_index("qty")
    stage = {"$lookup": {"from": there, "localField": "number", "foreignField": "no", "as": "x"}}
    _, advice = await advised(orders, pipeline({"$match": {"qty": 3}}, stage))
    assert advice.proposals == ()
    assert kinds(advice) == ["lookup"]


async def test_a_join_is_told_that_its_index_is_hidden(orders: Database) -> None:
    await orders["users"].insert_many([{"no": number} for number in range(50)])
    await orders["users"].create_index("no", hidden=True)
    stage = {"$lookup": {"from": "users", "localField": "number", "foreignField": "no", "as": "buyer"}}
    _, advice = await advised(orders, pipeline({"$match": {"_id": {"$exists": True}}}, stage))
    assert advice.proposals == ()
    assert "motorctl indexes unhide users no_1" in [one.command for one in advice.sentences]


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        (find(), "whole_collection"),
        (pipeline({"$group": {"_id": "$status", "n": {"$sum": 1}}}), "whole_collection"),
        (pipeline({"$group": {"_id": "$tags"}}), "whole_collection"),
        (find({"place": {"$geoWithin": {"$centerSphere": [[3, 3], 0.1]}}}), "geo_index"),
        (find({"flat": {"$geoWithin": {"$box": [[3, 3], [4, 4]]}}}), "geo_index"),
        (find({"_id": ObjectId()}), "fine"),
        (find({"status": {"$ne": "rare"}}), "negation"),
        (find({"tags": {"$ne": 3}}), "negation"),
        (find({"name": {"$not": Regex("^n2")}}), "negation"),
        (find({"name": Regex("2$")}), "regex"),
        (find({"name": Regex("^N2", "i")}), "case"),
        (find({"qty": {"$mod": [50, 0]}}), "operator"),
        (find({"tags": {"$size": 9}}), "operator"),
        (find({"nothing": {"$exists": True}}), "exists"),
        (find({"$where": "this.qty == 3"}), "where"),
        (find({"$expr": {"$eq": ["$qty", "$number"]}}), "expr"),
        (find({"$expr": {"$eq": ["$tags", 3]}}), "expr"),
    ],
)
async def test_no_index_is_advised_where_none_would_help(orders: Database, query: Query, reason: str) -> None:
    _, advice = await advised(orders, query)
    assert advice.proposals == ()
    assert kinds(advice) == [reason]


async def test_a_plan_without_figures_is_judged_by_its_stages(orders: Database) -> None:
    query = find({"status": "rare"}, sort={"at": 1})
    plan = read.read(await ask.explain(orders, query, verbosity="queryPlanner"))
    assert (await advise(orders, query, plan)).index == {"status": 1, "at": 1}


async def test_a_collection_that_isnt_there_is_said(db: Database) -> None:
    _, advice = await advised(db, Query("find", "nowhere", {"a": 1}))
    assert kinds(advice) == ["absent"]


async def test_who_may_not_list_indexes_is_told_so(own: Database, server_uri: str) -> None:
    query = find({"qty": 3})
    plan = await planned(own, query)
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(server_uri, appname=own.name)
    refusal = {"failCommands": ["listIndexes"], "appName": own.name, "errorCode": 13}
    admin = client.get_database("admin")
    await admin.command({"configureFailPoint": "failCommand", "mode": "alwaysOn", "data": refusal})
    try:
        advice = await advise(client.get_database(own.name), query, plan)
    finally:
        await admin.command({"configureFailPoint": "failCommand", "mode": "off"})
        await driver.close(client)
    assert kinds(advice) == ["unauthorized"]


@pytest.mark.parametrize("failing", ["aggregate", "explain", "count"])
async def test_what_the_server_doesnt_tell_is_done_without(
    own: Database, server_uri: str, failing: str
) -> None:
    await own["orders"].create_index([("number", 1), ("qty", 1)])
    query = find({"qty": 3})
    plan = await planned(own, query)
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(server_uri, appname=own.name)
    refusal = {"failCommands": [failing], "appName": own.name, "errorCode": 50}
    admin = client.get_database("admin")
    await admin.command({"configureFailPoint": "failCommand", "mode": "alwaysOn", "data": refusal})
    try:
        advice = await advise(client.get_database(own.name), query, plan)
    finally:
        await admin.command({"configureFailPoint": "failCommand", "mode": "off"})
        await driver.close(client)
    assert advice.index == {"qty": 1}


async def test_advice_reads_and_writes_nothing(orders: Database) -> None:
    before = (await orders.command("dbHash"))["collections"]
    plan = await planned(orders, find({"qty": 3}))
    await advise(orders, find({"qty": 3}), plan)
    assert (await orders.command("dbHash"))["collections"] == before


# -- why an index that is there doesn't serve ---------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """An index, a query that it doesn't serve, and what mends that: another query, or other indexes."""

    reason: str
    keys: dict[str, Any]
    query: Query
    mended: Query | None = None
    options: dict[str, Any] = field(default_factory=dict)
    unhide: bool = False
    says: str = ""


IN_THE_QUERY = {"hidden", "hint", "regex", "case", "negation", "expr", "multikey", "or"}
"""Reasons beside which no other index is advised: none would do better."""

GERMAN = {"locale": "de"}
LOOSE = {"locale": "en", "strength": 2}

CASES = [
    Case("partial", {"qty": 1}, find({"qty": 3}), find({"qty": 3, "status": "rare"}),
         {"partialFilterExpression": {"status": "rare"}}, says='{"status":"rare"}'),
    Case("partial", {"qty": 1}, find({"qty": 3, "number": {"$gt": 5}}), find({"qty": 3, "number": {"$gt": 20}}),
         {"partialFilterExpression": {"number": {"$gt": 10}}}),
    Case("partial", {"qty": 1}, find({"qty": 3}), find({"qty": 3, "name": {"$gt": ""}}),
         {"partialFilterExpression": {"name": {"$exists": True}}}),
    Case("sparse", {"qty": 1}, find({"qty": None}), find({"qty": 3}), {"sparse": True}, says="without qty"),
    Case("sparse", {"qty": 1}, find({"qty": {"$exists": False}}), find({"qty": {"$in": [3]}}), {"sparse": True}),
    Case("sparse", {"qty": 1}, find(sort={"qty": 1}, limit=3), find({"qty": {"$gt": 0}}, sort={"qty": 1}, limit=3),
         {"sparse": True}, says="leave documents out"),
    Case("collation", {"name": 1}, find({"name": "n3"}), find({"name": "n3"}, collation=GERMAN),
         {"collation": GERMAN}, says="the collation de"),
    Case("collation", {"name": 1}, find({"name": "N3"}, collation=LOOSE), find({"name": "n3"}), says="strength 2"),
    Case("collation", {"name": 1}, find(sort={"name": 1}, limit=3), find(sort={"name": 1}, limit=3, collation=GERMAN),
         {"collation": GERMAN}, says="the order of name"),
    Case("collation", {"qty": 1, "name": 1}, find({"qty": 3}, sort={"name": 1}, collation=GERMAN),
         find({"qty": 3}, sort={"name": 1}), says="give the order of name"),
    Case("collation", {"qty": 1, "name": 1}, find({"qty": {"$lt": 9}, "name": "n3"}, collation=GERMAN),
         find({"qty": 3, "name": "n3"}), says="strings of name"),
    Case("collation", {"name": 1}, find({"name": Regex("^n29")}), find({"name": "n29"}, collation=GERMAN),
         {"collation": GERMAN}, says="without one alone"),
    Case("hidden", {"qty": 1}, find({"qty": 3}), options={"hidden": True}, unhide=True),
    Case("hidden", {"status": 1}, Query("distinct", "orders", key="status"), options={"hidden": True}, unhide=True),
    Case("hint", {"qty": 1}, find({"qty": 3}, hint={"$natural": 1}), find({"qty": 3}), says="$natural"),
    Case("prefix", {"qty": 1, "number": 1}, find({"number": 3}), find({"qty": 3, "number": 3}), says="begins with qty"),
    Case("regex", {"name": 1}, find({"name": Regex("9")}), find({"name": Regex("^n9")}), says="^"),
    Case("regex", {"name": 1}, find({"name": {"$in": ["n1", Regex("9")]}}), find({"name": {"$in": ["n1", Regex("^n9")]}})),
    Case("regex", {"name": 1}, find({"name": Regex("^n9", "u")}), find({"name": Regex("^n9")}), says="an option"),
    Case("case", {"name": 1}, find({"name": Regex("^N9$", "i")}), find({"name": "n9"}), says="ignores case"),
    Case("negation", {"name": 1}, find({"name": {"$not": Regex("^n[0-8]")}}), find({"name": {"$in": ["n9"]}})),
    Case("expr", {"tags": 1}, find({"$expr": {"$eq": ["$tags", 3]}}), find({"tags": 3}), says="arrays"),
    Case("sort_direction", {"qty": 1, "number": 1}, find(sort={"qty": 1, "number": -1}, limit=3),
         find(sort={"qty": -1, "number": -1}, limit=3), says="{qty: 1, number: 1} and its reverse"),
    Case("sort_direction", {"status": 1, "qty": 1, "number": -1},
         find({"status": "rare"}, sort={"qty": 1, "number": 1}),
         find({"status": "rare"}, sort={"qty": -1, "number": 1})),
    Case("sort_order", {"qty": 1, "number": 1}, find({"qty": {"$gt": 10}}, sort={"number": 1}, limit=3),
         find({"qty": 11}, sort={"number": 1}, limit=3), says="has qty before number"),
    Case("sort_order", {"qty": 1, "number": 1}, find(sort={"number": 1, "qty": 1}, limit=3),
         find(sort={"qty": 1, "number": 1}, limit=3)),
    Case("multikey", {"tags": 1}, find({"tags": {"$gt": 20}}, sort={"tags": 1}), find({"tags": {"$gt": 20}}),
         says="once for each element"),
    Case("multikey", {"tags": 1}, find({"tags": {"$gt": 21, "$lt": 1}}),
         find({"tags": {"$elemMatch": {"$gt": 21, "$lt": 1}}}), says="$elemMatch"),
    Case("hashed", {"qty": "hashed"}, find({"qty": {"$gt": 48}}), find({"qty": 48})),
    Case("text_only", {"name": "text"}, find({"name": "n3"}), find({"$text": {"$search": "n3"}})),
    Case("geo_only", {"place": "2dsphere"}, find({"place.type": "Point", "place": {"$exists": True}, "qty": -1}),
         find({"place": {"$geoWithin": {"$centerSphere": [[3, 3], 0.001]}}})),
    Case("wildcard", {"$**": 1}, find({"qty": None}), find({"qty": 3}), says="can't find qty as null"),
    Case("wildcard", {"$**": 1}, find(sort={"qty": 1}, limit=3), find({"qty": {"$gt": 1}}, sort={"qty": 1}, limit=3)),
    Case("or", {"qty": 1}, find({"$or": [{"qty": 3}, {"name": Regex("9$")}]}), find({"$or": [{"qty": 3}, {"qty": 4}]}),
         says="(name)"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[f"{n}-{case.reason}" for n, case in enumerate(CASES)])
async def test_why_an_index_doesnt_serve_and_what_mends_it(orders: Database, case: Case) -> None:
    specification = {"key": case.keys, "name": "there", **case.options}
    await orders.command({"createIndexes": "orders", "indexes": [specification]})
    before, advice = await advised(orders, case.query)
    assert is_served_badly(before, case.query)
    reasons = [sentence for sentence in advice.sentences if sentence.kind == case.reason]
    assert reasons, kinds(advice)
    assert case.says in reasons[0].text
    assert reasons[0].index in ("there", None)
    if case.unhide:
        assert reasons[0].command == "motorctl indexes unhide orders there"
        await orders.command({"collMod": "orders", "index": {"name": "there", "hidden": False}})
    after = await planned(orders, case.mended or case.query)
    assert after.indexes == ["there"]
    assert not is_served_badly(after, case.mended or case.query)


def is_served_badly(plan: Plan, query: Query) -> bool:
    """Tell whether a plan reads all documents or keys, sorts in memory, or examines far too much."""
    whole = plan.verdict == "collscan" or examined(plan) >= COUNT
    sorts = bool(query.sort) and "SORT" in kinds_of_stages(plan)
    return whole or sorts or examined(plan) > 2 * max(plan.returned or 0, 1) + 20


@pytest.mark.parametrize("case", CASES, ids=[f"{n}-{case.reason}" for n, case in enumerate(CASES)])
async def test_beside_an_index_that_cant_serve_the_advised_one_can(orders: Database, case: Case) -> None:
    specification = {"key": case.keys, "name": "there", **case.options}
    await orders.command({"createIndexes": "orders", "indexes": [specification]})
    _, advice = await advised(orders, case.query)
    assert bool(advice.proposals) is (case.reason not in IN_THE_QUERY)
    await build(orders, *advice.proposals)
    after = await planned(orders, case.query)
    if advice.proposals:
        assert set(after.indexes) & {proposal.resolved_name for proposal in advice.proposals}
    assert is_served_badly(after, case.query) is not bool(advice.proposals)


async def test_a_hint_for_a_sparse_index_is_told_what_it_misses(orders: Database) -> None:
    await orders.command(
        {"createIndexes": "orders", "indexes": [{"key": {"rare": 1}, "name": "there", "sparse": True}]}
    )
    await orders["orders"].create_index("qty", name="other")
    # An index in which the documents aren't, forced: the answer itself is wrong.
    query = find({"rare": None, "qty": 3}, hint="there")
    plan, advice = await advised(orders, query)
    assert plan.returned == 0
    assert await orders["orders"].count_documents({"rare": None, "qty": 3}) == 20
    assert kinds(advice) == ["sparse"]
    assert advice.sentences[0].text.startswith("index there is sparse: documents without rare")


async def test_a_hint_is_said_to_keep_a_new_index_from_being_used(orders: Database) -> None:
    await orders["orders"].create_index("status", name="there")
    query = find({"qty": 3}, hint="there")
    _, advice = await advised(orders, query)
    assert kinds(advice) == ["create", "hint"]
    await build(orders, *advice.proposals)
    assert (await planned(orders, query)).indexes == ["there"]
    assert (await planned(orders, find({"qty": 3}))).indexes == ["qty_1"]


async def test_a_collection_of_a_handful_is_said_to_be_small(db: Database) -> None:
    await db["orders"].insert_many([{"qty": n} for n in range(5)])
    _, advice = await advised(db, find({"qty": 3}))
    assert kinds(advice) == ["create", "tiny"]
    assert advice.sentences[1].text == "orders has 5 documents now: an index pays when there are more"


async def test_a_few_documents_to_be_sorted_are_no_reason(orders: Database) -> None:
    await orders["orders"].create_index("number", unique=True)
    plan, advice = await advised(orders, find({"number": 3, "qty": 3}, sort={"at": 1}))
    assert plan.in_memory_sort
    assert kinds(advice) == ["fine"]


async def test_a_count_of_all_reads_nothing(orders: Database) -> None:
    _, advice = await advised(orders, Query("count", "orders"))
    assert [one.text for one in advice.sentences] == ["the server keeps this number: nothing is read for it"]


async def test_a_hidden_index_that_a_new_one_replaces_stays_asleep(orders: Database) -> None:
    await orders["orders"].create_index("qty", hidden=True)
    _, advice = await advised(orders, find({"qty": 3}, sort={"at": 1}))
    assert kinds(advice) == ["create", "redundant"]
    assert advice.sentences[1].command is None
    assert "hidden already" in advice.sentences[1].text


async def test_an_order_that_is_given_up_leaves_its_ranges(orders: Database) -> None:
    query = find({"tags": {"$gt": 21}, "number": {"$gt": 900}}, sort={"tags": 1, "number": 1})
    before, advice = await advised(orders, query)
    await build(orders, *advice.proposals)
    assert examined(await planned(orders, query)) < examined(before) / 5


async def test_an_index_that_serves_is_called_fine_and_nothing_else_is_said(orders: Database) -> None:
    await orders["orders"].create_index([("status", 1), ("at", 1)], name="good")
    await orders["orders"].create_index("name", name="other", sparse=True)
    _, advice = await advised(orders, find({"status": "rare", "name": "n0"}, sort={"at": -1}, limit=5))
    assert advice.proposals == ()
    assert [(one.kind, one.index) for one in advice.sentences] == [("fine", "good")]
    assert advice.sentences[0].text == "good serves it: 14 keys and 14 documents examined for 5"


async def test_an_index_that_would_serve_and_isnt_chosen_is_named(orders: Database) -> None:
    await orders["orders"].create_index([("qty", 1), ("number", 1)], name="better")
    await orders["orders"].create_index("status", name="worse")
    query = find({"status": "usual", "qty": 3, "number": {"$lt": 600}}, hint="worse")
    _, advice = await advised(orders, query)
    assert [(one.kind, one.index) for one in advice.sentences if one.kind == "hint"] == [("hint", "better")]


async def test_no_reason_is_given_for_an_index_that_the_server_could_use(orders: Database) -> None:
    await orders["orders"].create_index("qty", name="narrow")
    await orders["orders"].create_index("status", name="wide")
    query = find({"status": "usual", "qty": 3}, hint="wide")
    _, advice = await advised(orders, query)
    assert {one.kind for one in advice.sentences if one.index == "narrow"} == {"hint", "redundant"}


# -- values of another type ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "mended", "says"),
    [
        (find({"user": "000000000000000000000003"}), find({"user": DOCUMENTS[3]["user"]}), "an ObjectId"),
        (find({"_id": "0123456789abcdef01234567"}), None, "compares it with a string"),
        (find({"at": {"$gte": "2025-01-02"}}), find({"at": {"$gte": START}}), '{"$date": "..."}'),
        (find({"qty": "3"}), find({"qty": 3}), "without quotes"),
        (find({"name": 3}), find({"name": "n3"}), "a number"),
        (find({"tags": "3"}), find({"tags": 3}), "tags is a number"),
        (find({"lines.sku": "3"}), find({"lines.sku": 3}), "lines.sku is a number"),
        (find({"amount": {"$in": ["1.50", "2.50"]}}), find({"amount": {"$in": [1.5, 2.5]}}), "a number"),
        (find({"user": Regex("^0000")}), find({"user": {"$gt": ObjectId("0" * 24)}}), "compares it with a string"),
        (find({"$or": [{"qty": "3"}, {"qty": "4"}]}), find({"$or": [{"qty": 3}, {"qty": 4}]}), "qty is a number"),
    ],
)  # fmt: skip
async def test_a_value_of_a_type_that_the_field_never_has_is_said(
    orders: Database, query: Query, mended: Query | None, says: str
) -> None:
    plan, advice = await advised(orders, query)
    assert plan.returned == 0
    told = [sentence.text for sentence in advice.sentences if sentence.kind == "type_mismatch"]
    assert len(told) == 1
    assert says in told[0]
    if mended is not None:
        after, advice = await advised(orders, mended)
        assert after.returned
        assert "type_mismatch" not in kinds(advice)


@pytest.mark.parametrize(
    "query",
    [
        find({"qty": 3.0}),
        find({"qty": Decimal128("3")}),
        find({"tags": [3, 9]}),
        find({"nothing": "x"}),
        find({"qty": None}),
        find({"qty": {"$ne": "3"}}),
        find({"qty": {"$in": []}}),
        find({"qty": {"$in": ["3", 3]}}),
        find({"qty": {"$type": "string"}}),
        find({"lines": {"$elemMatch": {"sku": 3}}}),
    ],
)
async def test_nothing_is_said_of_types_where_something_could_match(orders: Database, query: Query) -> None:
    _, advice = await advised(orders, query)
    assert "type_mismatch" not in kinds(advice)


async def test_a_field_with_one_value_of_that_type_is_no_mismatch(own: Database) -> None:
    await own["orders"].update_many({"qty": 3}, {"$set": {"name": 3}})
    _, advice = await advised(own, find({"name": 3}))
    assert kinds(advice) == ["create"]


# -- pipelines -------------------------------------------------------------------------------------------------

JOIN = {"$lookup": {"from": "users", "localField": "user", "foreignField": "_id", "as": "buyer"}}
MOVED = [
    [{"$project": {"qty": 1}}, {"$match": {"qty": 3}}],
    [{"$project": {"x": "$qty"}}, {"$match": {"x": 3}}],
    [{"$addFields": {"x": "$qty"}}, {"$match": {"x": 3}}],
    [{"$addFields": {"x": {"$add": ["$qty", 1]}}}, {"$match": {"qty": 3}}],
    [{"$project": {"name": 0}}, {"$match": {"qty": 3}}],
    [{"$unset": "name"}, {"$match": {"qty": 3}}],
    [{"$unwind": "$lines"}, {"$match": {"qty": 3, "lines.sku": 3}}],
    [JOIN, {"$match": {"qty": 3, "buyer.name": "x"}}],
    [{"$sort": {"number": 1}}, {"$match": {"qty": 3}}],
    [{"$addFields": {"x": 1}}, {"$match": {"$or": [{"qty": 3}, {"qty": 4}]}}],
]
NOT_MOVED = [
    [{"$project": {"name": 1}}, {"$match": {"qty": 3}}],
    [{"$addFields": {"qty": {"$add": ["$qty", 1]}}}, {"$match": {"qty": 3}}],
    [{"$set": {"qty": "$number"}}, {"$addFields": {"qty": 1}}, {"$match": {"qty": 3}}],
    [{"$unset": "qty"}, {"$match": {"qty": 3}}],
    [{"$project": {"qty": 0}}, {"$match": {"qty": 3}}],
    [{"$limit": 900}, {"$match": {"qty": 3}}],
    [{"$skip": 10}, {"$match": {"qty": 3}}],
    [{"$group": {"_id": "$name", "qty": {"$sum": "$qty"}}}, {"$match": {"qty": 3}}],
    [{"$addFields": {"x": "$qty"}}, {"$unset": "x"}, {"$match": {"x": 3}}],
    [{"$project": {"x": "$qty"}}, {"$unwind": "$x"}, {"$match": {"x": 3}}],
    [{"$replaceRoot": {"newRoot": {"qty": "$qty"}}}, {"$match": {"qty": 3}}],
    [{"$facet": {"x": [{"$match": {"qty": 3}}]}}],
]


@pytest.mark.parametrize("stages", MOVED)
async def test_a_match_that_the_server_moves_to_the_front_is_advised(
    orders: Database, stages: list[dict[str, Any]]
) -> None:
    query = pipeline(*stages)
    _, advice = await advised(orders, query)
    assert next(iter(advice.index or {})) == "qty"
    await build(orders, *advice.proposals)
    after = await planned(orders, query)
    assert advice.proposals[0].resolved_name in after.indexes


@pytest.mark.parametrize("stages", NOT_MOVED)
async def test_a_match_that_stays_behind_gets_no_index(
    orders: Database, stages: list[dict[str, Any]]
) -> None:
    query = pipeline(*stages)
    _, advice = await advised(orders, query)
    assert advice.proposals == ()
    # And rightly so: with one it isn't used either.
    await orders["orders"].create_index("qty", name="useless")
    assert "useless" not in (await planned(orders, query)).indexes


async def test_a_sort_behind_a_projection_is_told_to_come_first(orders: Database) -> None:
    await orders["orders"].create_index("number", name="there")
    late = pipeline({"$project": {"number": 1}}, {"$sort": {"number": 1}}, {"$limit": 3})
    _, advice = await advised(orders, late)
    assert kinds(advice) == ["late_sort"]
    early = pipeline({"$sort": {"number": 1}}, {"$limit": 3}, {"$project": {"number": 1}})
    assert (await planned(orders, early)).indexes == ["there"]


@pytest.mark.parametrize(
    "stage",
    [
        {"$lookup": {"from": "users", "localField": "number", "foreignField": "no", "as": "buyer"}},
        {
            "$lookup": {
                "from": "users",
                "let": {"n": "$number"},
                "pipeline": [{"$match": {"$expr": {"$eq": ["$no", "$$n"]}}}],
                "as": "buyer",
            }
        },
        {
            "$graphLookup": {
                "from": "users",
                "startWith": "$number",
                "connectFromField": "parent",
                "connectToField": "no",
                "as": "buyer",
            }
        },
    ],
    ids=["fields", "pipeline", "graph"],
)
async def test_the_other_side_of_a_join_is_advised_an_index(orders: Database, stage: dict[str, Any]) -> None:
    await orders["users"].insert_many([{"no": number, "parent": number - 1} for number in range(200)])
    await orders["orders"].create_index("qty", name="own")
    query = pipeline({"$match": {"qty": 3}}, stage)
    _, advice = await advised(orders, query)
    assert [(one.kind, one.command) for one in advice.sentences] == [
        ("lookup", "motorctl indexes create users no")
    ]
    before = await used(orders, "users", "no_1")
    await build(orders, *advice.proposals)
    await answered(orders, "orders", query.pipeline)
    assert await used(orders, "users", "no_1") > before
    assert kinds((await advised(orders, query))[1]) == ["fine"]


async def answered(db: Database, collection: str, stages: Any) -> list[dict[str, Any]]:
    """Run a pipeline to its end."""
    return [row async for row in await driver.aggregate(db[collection], stages)]


async def used(db: Database, collection: str, name: str) -> int:
    """Count how often the server used an index."""
    rows = await answered(db, collection, [{"$indexStats": {}}])
    return sum(int(row["accesses"]["ops"]) for row in rows if row["name"] == name)


async def test_a_query_of_a_view_is_advised_for_its_collection(orders: Database) -> None:
    await orders.command({"create": "rare", "viewOn": "orders", "pipeline": [{"$match": {"status": "rare"}}]})
    await orders.command({"create": "rarer", "viewOn": "rare", "pipeline": [{"$unset": "place"}]})
    query = Query("find", "rarer", {"qty": 40}, sort={"at": -1})
    _, advice = await advised(orders, query)
    assert advice.proposals[0].collection == "orders"
    assert advice.index in ({"status": 1, "qty": 1, "at": -1}, {"status": 1, "qty": 1})
    await build(orders, *advice.proposals)
    assert (await planned(orders, query)).indexes == [advice.proposals[0].resolved_name]


async def test_of_a_time_series_only_what_finds_buckets_is_advised(db: Database) -> None:
    if await version(db) < (5, 0):
        pytest.skip("time series came with MongoDB 5.0")
    series = {"timeField": "at", "metaField": "sensor"}
    await db.command({"create": "orders", "timeseries": series})
    rows = [{"at": START + timedelta(hours=n), "sensor": {"no": n % 40}, "value": n} for n in range(400)]
    await db["orders"].insert_many(rows)
    query = find({"sensor.no": 3, "value": {"$gt": 5}})
    _, advice = await advised(db, query)
    assert advice.index == {"sensor.no": 1}
    await build(db, *advice.proposals)
    assert (await planned(db, query)).indexes == ["sensor.no_1"]
    _, advice = await advised(db, find({"value": 3}))
    assert advice.proposals == ()


# -- beside other indexes -------------------------------------------------------------------------------------------


def test_every_line_of_advice_can_be_run(cli: Runner, sync_db: Any) -> None:
    sync_db["orders"].insert_many([dict(one) for one in DOCUMENTS])
    sync_db["orders"].create_index("qty")
    sync_db["orders"].create_index("status", name="asleep", hidden=True)
    asked = ("explain", "find", "orders", "--filter", '{"qty": 3, "status": "usual"}', "--sort", "-at")
    advice = cli(*asked, "-o", "json").json()["advice"]
    lines = {one["kind"]: one["command"] for one in advice if "command" in one}
    assert lines == {
        "hidden": "motorctl indexes unhide orders asleep",
        "create": "motorctl indexes create orders qty status -at",
        "redundant": "motorctl indexes hide orders qty_1",
    }
    for line in lines.values():
        result = cli(*shlex.split(line)[1:])
        assert result.code == 0, result.stderr
    answer = cli(*asked, "-o", "json").json()
    assert (answer["index"], [one["kind"] for one in answer["advice"]]) == ("qty_1_status_1_at_-1", ["fine"])


@pytest.mark.parametrize("keys", [{"qty": 1}, {"qty": -1}], ids=["same", "reversed"])
async def test_hiding_what_is_redundant_costs_its_queries_nothing(
    orders: Database, keys: dict[str, int]
) -> None:
    await orders["orders"].create_index(list(keys.items()), name="short")
    query = find({"qty": 3}, sort={"at": -1})
    _, advice = await advised(orders, query)
    assert [one.index for one in advice.sentences if one.kind == "redundant"] == ["short"]
    await build(orders, *advice.proposals)
    await orders.command({"collMod": "orders", "index": {"name": "short", "hidden": True}})
    assert examined(await planned(orders, find({"qty": 3}))) == 20
    assert examined(await planned(orders, query)) == 20


@pytest.mark.parametrize("options", [{"unique": True}, {"expireAfterSeconds": 10**6}, {"sparse": True}])
async def test_an_index_with_another_task_isnt_called_redundant(orders: Database, options: Any) -> None:
    await orders["orders"].create_index("number", **options)
    _, advice = await advised(orders, find({"number": 3}, sort={"at": -1}))
    assert "redundant" not in kinds(advice)


async def test_a_taken_name_gives_way(orders: Database) -> None:
    await orders["orders"].create_index("qty", partialFilterExpression={"status": "rare"})
    _, advice = await advised(orders, find({"qty": 3}))
    (proposal,) = advice.proposals
    # Before 5.0 two indexes of one collection can't have the same keys.
    old = await version(orders) < (5, 0)
    assert proposal.command() == f"motorctl indexes create orders qty {'_id' if old else '--name qty_1_all'}"
    await build(orders, proposal)
    assert (await planned(orders, find({"qty": 3}))).indexes == [proposal.resolved_name]


async def test_the_limit_of_indexes_is_said_before_it_is_met(orders: Database) -> None:
    for count, fields in ((59, range(59)), (63, range(59, 63))):
        specifications = [{"key": {f"f{n}": 1}, "name": f"f{n}"} for n in fields]
        await orders.command({"createIndexes": "orders", "indexes": specifications})
        _, advice = await advised(orders, find({"qty": 3}))
        (told,) = [one.text for one in advice.sentences if one.kind == "limit"]
        assert told.startswith(f"it has {count + 1} indexes")
    assert "drop one first" in told
    with pytest.raises(OperationFailure, match="too many indexes"):
        await build(orders, *advice.proposals)


async def test_a_collections_own_collation_is_not_asked_for_again(db: Database) -> None:
    await db.command({"create": "orders", "collation": GERMAN})
    await db["orders"].insert_many([{"name": f"n{n}"} for n in range(100)])
    _, advice = await advised(db, find({"name": "n3"}))
    assert advice.options == {}
    _, advice = await advised(db, find({"name": "n3"}, collation=LOOSE))
    assert advice.options == {"collation": LOOSE}
    await build(db, *advice.proposals)
    assert (await planned(db, find({"name": "n3"}, collation=LOOSE))).verdict == "ixscan"
    # A pattern is looked up by bytes: in an index that doesn't take over the collection's collation.
    pattern = find({"name": Regex("^n9")})
    _, advice = await advised(db, pattern)
    assert advice.options == {"collation": {"locale": "simple"}}
    assert "without a collation" in next(one.text for one in advice.sentences if one.kind == "create")
    await build(db, *advice.proposals)
    after = await planned(db, pattern)
    assert (after.indexes, examined(after)) == ([advice.proposals[0].resolved_name], 11)


# -- commands, and what machines read --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "options"),
    [
        ({"status": 1, "created_at": -1}, {}),
        ({"q": -1, "hq": -1, "ab": -1}, {}),
        ({"a b": 1, "it's": -1, "é": -1, "_id": -1}, {}),
        ({"a:b": 1, "+x": 1, "x:1": -1}, {}),
        ({"name": 1}, {"collation": {"locale": "de"}}),
        ({"name": 1}, {"collation": {"locale": "en", "strength": 2}}),
    ],
)
def test_the_line_that_is_shown_builds_the_very_index(
    cli: Runner, sync_db: Any, keys: dict[str, Any], options: dict[str, Any]
) -> None:
    proposal = Proposal("my orders", keys, options, "x")
    line = proposal.command()
    assert line is not None
    result = cli(*shlex.split(line)[1:])
    assert result.code == 0, result.stderr
    built = sync_db["my orders"].index_information()["x"]
    assert built["key"] == list(keys.items())
    for name, value in options.get("collation", {}).items():
        assert built["collation"][name] == value


def test_a_field_that_looks_like_an_option_has_no_line() -> None:
    assert Proposal("orders", {"-x": 1}).command() is None


def test_the_command_line_shows_advice(cli: Runner, sync_db: Any) -> None:
    sync_db["orders"].insert_many([dict(one) for one in DOCUMENTS])
    asked = ("explain", "find", "orders", "--filter", '{"status": "rare"}', "--sort", "-at")
    assert cli(*asked, "-o", "json").json()["advice"] == [
        {
            "kind": "create",
            "text": "an index {status: 1, at: -1} of orders would serve it: equality on status, then the order of at",
            "index": "status_1_at_-1",
            "command": "motorctl indexes create orders status -at",
        }
    ]
    assert "motorctl indexes create orders status -at" in cli(*asked).stdout


# -- what the server refuses for the lack of an index ----------------------------------------------------------------

POINT = {"type": "Point", "coordinates": [1, 2]}


@pytest.mark.parametrize(
    ("query", "kind", "command"),
    [
        (find({"$text": {"$search": "x"}}), "text_index", "motorctl indexes create orders FIELD:text"),
        (pipeline({"$match": {"$text": {"$search": "x"}}}), "text_index", "motorctl indexes create orders FIELD:text"),
        (find({"place": {"$near": {"$geometry": POINT}}}), "geo_index", "motorctl indexes create orders place:2dsphere"),
        (find({"$and": [{"place": {"$nearSphere": [1, 2]}}]}), "geo_index", "motorctl indexes create orders place:2dsphere"),
        (find({"flat": {"$near": [1, 2]}}), "geo_index", "motorctl indexes create orders flat:2d"),
        (pipeline({"$geoNear": {"near": POINT, "distanceField": "d", "key": "place"}}), "geo_index",
         "motorctl indexes create orders place:2dsphere"),
        (pipeline({"$geoNear": {"near": POINT, "distanceField": "d"}}), "geo_index",
         "motorctl indexes create orders FIELD:2dsphere"),
    ],
)  # fmt: skip
async def test_a_query_that_is_refused_without_an_index_is_told_which(
    orders: Database, query: Query, kind: str, command: str
) -> None:
    with pytest.raises(OperationFailure) as refused:
        await ask.explain(orders, query)
    sentence = missing_index(refused.value, query)
    assert sentence is not None
    assert (sentence.kind, sentence.command) == (kind, command)
    name, _, index_kind = command.rpartition(" ")[2].partition(":")
    field_name = {"FIELD": "name" if index_kind == "text" else "place"}.get(name, name)
    await orders["orders"].create_index([(field_name, index_kind)])
    assert (await planned(orders, query)).verdict == "ixscan"


async def test_text_beside_other_branches_is_told_what_they_lack(orders: Database) -> None:
    await orders["orders"].create_index([("name", "text")])
    query = find({"$or": [{"$text": {"$search": "n3"}}, {"qty": 3}]})
    with pytest.raises(OperationFailure) as refused:
        await ask.explain(orders, query)
    sentence = missing_index(refused.value, query)
    assert sentence is not None
    assert sentence.kind == "or"
    await orders["orders"].create_index("qty")
    assert (await planned(orders, query)).verdict == "ixscan"


async def test_a_text_index_behind_other_fields_is_told_to_need_their_values(orders: Database) -> None:
    await orders["orders"].create_index([("qty", 1), ("name", "text")])
    query = find({"$text": {"$search": "n3"}})
    with pytest.raises(OperationFailure) as refused:
        await ask.explain(orders, query)
    sentence = missing_index(refused.value, query)
    assert sentence is not None
    assert "begins with other fields" in sentence.text
    assert (await planned(orders, find({"$text": {"$search": "n3"}, "qty": 3}))).verdict == "ixscan"


async def test_another_refusal_isnt_taken_for_a_missing_index(orders: Database) -> None:
    query = find({"qty": 3}, hint="nowhere")
    with pytest.raises(OperationFailure) as refused:
        await ask.explain(orders, query)
    assert missing_index(refused.value, query) is None
    assert missing_index(ValueError("$text"), query) is None
