"""The rules behind advice, held against servers on random data: what an index serves, and what a partial one holds.

The server of all tests, and those that MOTORCTL_TEST_SERVERS names: URIs of replica sets, with spaces
between them.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pymongo
import pytest
from bson import Regex
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st
from motor.motor_asyncio import AsyncIOMotorClient

from motorctl.core import driver
from motorctl.core.explain import ask, read
from motorctl.core.explain.advice import Facts, advise, judge
from motorctl.core.explain.advice.conditions import literal_prefix, take_apart
from motorctl.core.explain.advice.implication import implies
from motorctl.core.explain.advice.shape import look
from motorctl.core.explain.query import Query
from motorctl.core.schema import Index

if TYPE_CHECKING:
    from collections.abc import Iterator

    from motorctl.core.explain.plan import Plan

    SyncDatabase = pymongo.database.Database[dict[str, Any]]

on_a_server = settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

EMBEDDED = "embedded"
SERVERS = [EMBEDDED, *os.environ.get("MOTORCTL_TEST_SERVERS", "").split()]


def _label(uri: str) -> str:
    return urlsplit(uri).netloc.rpartition("@")[2] or uri


@pytest.fixture(scope="module", params=SERVERS, ids=_label)
def place(request: pytest.FixtureRequest, server_uri: str) -> Iterator[tuple[str, str]]:
    """Each server in turn: its URI, and a database of these tests."""
    uri = server_uri if request.param == EMBEDDED else str(request.param)
    name = f"test_{uuid.uuid4().hex[:12]}"
    yield uri, name
    with pymongo.MongoClient[dict[str, Any]](uri) as client:
        client.drop_database(name)


@pytest.fixture(scope="module")
def server(place: tuple[str, str]) -> Iterator[SyncDatabase]:
    with pymongo.MongoClient[dict[str, Any]](place[0]) as client:
        yield client[place[1]]


# -- regular expressions --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "options"),
    [
        *((pattern, "") for pattern in ["^ab", "ab", ".*ab", "^.*ab", "^", "^ab?", "^a?", "^a*", "^ab+", "^a{0,2}"]),
        *((pattern, "") for pattern in ["^a|b", "^ab(c|d)", "^(ab)", "^ab[c]", "^[ab]", "^ab$", "^a\\.b", "^\\d"]),
        *((pattern, "") for pattern in ["\\Aab", "^\\Qa.b\\E", "^\\Qab\\Ec*", "^a\\db", "^ä", "^a b", "ab^"]),
        *(("^ab", options) for options in ["i", "m", "s", "x", "im", "su"]),
        *(("\\Aab", options) for options in ["i", "m"]),
        ("^a b", "x"),
    ],
)  # fmt: skip
def test_a_prefix_is_seen_where_the_server_sees_one(server: SyncDatabase, pattern: str, options: str) -> None:
    server["texts"].create_index("a")
    found = Regex(pattern, options)
    plan = server.command("explain", {"find": "texts", "filter": {"a": found}}, verbosity="queryPlanner")
    bounds = str(plan["queryPlanner"]["winningPlan"])
    prefix = literal_prefix(pattern, found.flags)
    assert ('["", {})' not in bounds) is bool(prefix)
    if prefix:
        assert f'["{prefix}", ' in bounds


# -- what follows from a filter -------------------------------------------------------------------------------

VALUES = st.sampled_from([0, 1, 2, 3, 2.5, -1, "", "a", "b", None, True])
COMPARISONS = st.sampled_from(["$eq", "$gt", "$gte", "$lt", "$lte"])


def conditions(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """One or two tests of one field."""
    one = st.one_of(
        st.builds(lambda operator, value: {operator: value}, COMPARISONS, values),
        st.lists(values, min_size=1, max_size=3).map(lambda items: {"$in": items}),
        st.booleans().map(lambda there: {"$exists": there}),
        values.map(lambda value: {"$ne": value}),
        st.sampled_from(["string", "number", "null"]).map(lambda name: {"$type": name}),
        st.sampled_from(["a", "^a"]).map(lambda text: {"$regex": text}),
    )
    return one | st.builds(lambda first, second: {**first, **second}, one, one)


FILTERS = st.dictionaries(st.sampled_from("ab"), conditions(VALUES), max_size=2)
ORS = st.builds(
    lambda outer, branches: {**outer, "$or": branches}, FILTERS, st.lists(FILTERS, min_size=1, max_size=2)
)
DEMANDS = st.dictionaries(
    st.sampled_from("ab"),
    st.one_of(
        st.builds(lambda operator, value: {operator: value}, COMPARISONS, VALUES.filter(lambda v: v is not None)),
        st.just({"$exists": True}),
        st.sampled_from(["string", "number"]).map(lambda name: {"$type": name}),
    ),
    min_size=1,
    max_size=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def corpus(server: SyncDatabase) -> SyncDatabase:
    """A collection with every pair of values, arrays and missing fields among them."""
    values: list[Any] = [
        0,
        1,
        2,
        3,
        2.5,
        -1,
        "",
        "a",
        "b",
        "ab",
        None,
        True,
        [1, "a"],
        [],
        [0, 3],
        [None, 2],
        ...,
    ]
    documents = [
        {name: value for name, value in (("a", one), ("b", other)) if value is not ...}
        for one in values
        for other in values
    ]
    server["values"].insert_many(documents)
    return server


@on_a_server
@given(query=FILTERS | ORS, partial=DEMANDS)
@example(query={"a": 2}, partial={"a": {"$gt": 1}})
@example(query={"a": {"$gte": 1}}, partial={"a": {"$gt": 1}})
@example(query={"a": {"$gte": 1, "$lte": 1}}, partial={"a": 1})
@example(query={"a": {"$in": [2, 3]}}, partial={"a": {"$gt": 1}})
@example(query={"a": {"$in": [1, 3]}}, partial={"a": {"$gt": 1}})
@example(query={"$or": [{"a": 2}, {"a": 3, "b": 1}]}, partial={"a": {"$gt": 1}})
@example(query={"$or": [{"a": 2}, {"b": 1}]}, partial={"a": {"$gt": 1}})
@example(query={"a": None}, partial={"a": {"$exists": True}})
@example(query={"a": {"$ne": None}}, partial={"a": {"$exists": True}})
def test_what_is_said_to_follow_does_and_what_is_said_not_to_the_server_doesnt_see(
    corpus: SyncDatabase, query: dict[str, Any], partial: dict[str, Any]
) -> None:
    answer = implies(take_apart(query), partial)
    event(f"follows: {answer}")
    if answer is True:
        assert corpus["values"].count_documents({"$and": [query, {"$nor": [partial]}]}) == 0
    elif answer is False:
        corpus["values"].create_index("z", name="partial", partialFilterExpression=partial)
        asked = {"$and": [{"z": 1}, query]}
        plan = corpus.command("explain", {"find": "values", "filter": asked}, verbosity="queryPlanner")
        corpus["values"].drop_index("partial")
        assert "'partial'" not in str(plan["queryPlanner"]["winningPlan"])


@pytest.mark.parametrize(
    ("query", "partial", "answer"),
    [
        ({"a": 1}, {"a": 1}, True),
        ({"a": 1.0}, {"a": 1}, True),
        ({"a": 2}, {"a": 1}, False),
        ({"b": 1}, {"a": 1}, False),
        ({"a": "x"}, {"a": {"$gt": 1}}, False),
        ({"a": 5, "b": 2}, {"a": {"$gt": 1}, "b": {"$lte": 2}}, True),
        ({"a": 5, "b": 3}, {"a": {"$gt": 1}, "b": {"$lte": 2}}, False),
        ({"a": {"$gt": 1, "$lt": 9}}, {"a": 5}, None),
        ({"$expr": {"$eq": ["$a", 1]}}, {"a": 1}, None),
        ({"$nor": [{"a": {"$ne": 1}}]}, {"a": 1}, None),
        ({"a": 1}, {"$or": [{"a": 1}, {"b": 1}]}, None),
    ],
)
def test_three_answers(query: dict[str, Any], partial: dict[str, Any], answer: bool | None) -> None:
    assert implies(take_apart(query), partial) is answer


def test_strings_of_another_collation_prove_nothing() -> None:
    assert implies(take_apart({"a": "b"}), {"a": {"$gt": "a"}}) is True
    assert implies(take_apart({"a": "b"}), {"a": {"$gt": "a"}}, collated=True) is None


# -- the index that is advised ----------------------------------------------------------------------------------

FIELDS = st.sampled_from(["a", "b", "c", "d.e"])
NUMBERS = st.integers(0, 9)
TESTS = st.one_of(
    NUMBERS,
    NUMBERS.map(lambda n: {"$gt": n}),
    NUMBERS.map(lambda n: {"$gte": n, "$lt": n + 3}),
    st.lists(NUMBERS, min_size=1, max_size=4, unique=True).map(lambda items: {"$in": items}),
    NUMBERS.map(lambda n: {"$ne": n}),
    st.just({"$exists": True}),
    st.none(),
)
ASKED = st.dictionaries(FIELDS, TESTS, max_size=3)
ALTERNATIVES = st.builds(
    lambda outer, branches: {**outer, "$or": branches},
    ASKED,
    st.lists(st.dictionaries(FIELDS, TESTS, min_size=1, max_size=2), min_size=2, max_size=3),
)
SORTS = st.dictionaries(FIELDS, st.sampled_from([1, -1]), max_size=2)


@pytest.fixture(scope="module")
def numbers(place: tuple[str, str], server: SyncDatabase) -> tuple[str, str]:
    """The URI and the name of a database with 600 documents; `a` is an array in some."""
    documents = [
        {
            "a": [n % 10, (n * 7) % 10] if n % 4 == 0 else n % 10,
            "b": (n // 10) % 10,
            "c": (n * 13) % 29 % 10,
            "d": {"e": (n * 3) % 17 % 10},
        }
        for n in range(600)
    ]
    server["c"].insert_many(documents)
    return place


@on_a_server
@given(filter=ASKED | ALTERNATIVES, sort=SORTS, limit=st.none() | st.just(5))
@example(filter={"b": {"$gt": 0}, "a": {"$gte": 7, "$lt": 10}}, sort={}, limit=5)
@example(filter={"b": {"$gt": 0}, "a": {"$gte": 7, "$lt": 10}}, sort={"a": 1, "b": 1}, limit=5)
def test_with_the_advised_index_no_query_examines_more(
    numbers: tuple[str, str], filter: dict[str, Any], sort: dict[str, int], limit: int | None
) -> None:
    asyncio.run(_tried(*numbers, Query("find", "c", filter, sort, limit=limit)))


async def _tried(uri: str, name: str, query: Query) -> None:
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(uri)
    db = client.get_database(name)
    try:
        before = read.read(await ask.explain(db, query))
        advice = await advise(db, query, before)
        # Without an order, reading ends where enough is found, which is luck: then all that is found counts.
        counted = query if query.sort else replace(query, limit=None)
        whole = before if counted == query else read.read(await ask.explain(db, counted))
        event(f"{len(advice.proposals)} indexes")
        assert advice.sentences or before.verdict == "eof"
        specifications = [proposal.index().specification() for proposal in advice.proposals]
        if not specifications:
            return
        await db.command({"createIndexes": "c", "indexes": specifications})
        after = read.read(await ask.explain(db, query))
        again = await advise(db, query, after)
        names = {proposal.resolved_name for proposal in advice.proposals}
        assert set(after.indexes) <= names
        assert after.indexes
        # Where the filter leaves much of the collection, that is said: an index may well cost more then.
        unselective = {"unselective", "multikey"} & {sentence.kind for sentence in advice.sentences}
        now = after if counted == query else read.read(await ask.explain(db, counted))
        assert unselective or _cost(now) <= _cost(whole)
        # Advice that was followed is no longer given.
        assert not {tuple(one.keys.items()) for one in again.proposals} & {
            tuple(one.keys.items()) for one in advice.proposals
        }
    finally:
        await db.command({"dropIndexes": "c", "index": "*"})
        await driver.close(client)


def _cost(plan: Plan) -> int:
    """Documents that were fetched, and those that were sorted in memory."""
    sorted_ones = [stage.input or 0 for stage in plan.root.walk() if stage.kind == "SORT"]
    return (plan.docs_examined or 0) + sum(sorted_ones)


# -- pure judgement ----------------------------------------------------------------------------------------------


def test_a_judgement_needs_no_server() -> None:
    document = {
        "queryPlanner": {
            "namespace": "shop.orders",
            "winningPlan": {"stage": "COLLSCAN", "direction": "forward"},
            "rejectedPlans": [],
        }
    }
    query = Query("find", "orders", {"status": "completed"}, sort={"created_at": -1})
    indexes = [Index({"status": 1}, "status_1", {"hidden": True})]
    advice = judge(query, read.read(document), indexes, Facts())
    assert [sentence.kind for sentence in advice.sentences] == ["create", "redundant"]
    assert advice.index == {"status": 1, "created_at": -1}


@pytest.mark.parametrize(
    "filter",
    [
        {"a": {"$near": [1, 2]}},
        {"$text": {"$search": "x"}, "a": 1},
        {"a.0": 5},
        {"a": {"$elemMatch": {"$or": [{"b": 1}, {"c": 1}]}}},
        {"$jsonSchema": {"required": ["a"]}},
        {"$nor": [{"a": 1}]},
        {"": 1},
    ],
)
def test_what_isnt_understood_gets_no_index(filter: dict[str, Any]) -> None:
    plan = read.read(
        {"queryPlanner": {"namespace": "shop.c", "winningPlan": {"stage": "COLLSCAN"}, "rejectedPlans": []}}
    )
    assert judge(Query("find", "c", filter), plan, [], Facts()).proposals == ()


def test_a_pipeline_is_read_as_the_find_that_it_begins_with() -> None:
    one = look(Query("find", "c", {"a": 1}, sort={"b": -1}))
    other = look(Query("aggregate", "c", pipeline=[{"$match": {"a": 1}}, {"$sort": {"b": -1}}]))
    assert replace(other, kind="find") == one
