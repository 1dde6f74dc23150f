"""Baselines: what is worse, what is better, what is only a wobble; the file, and what it never holds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_explain_gates import collscan, fetch, ixscan, plan

from motorctl.core.explain import baseline
from motorctl.core.explain.baseline import compare, dumps, entry, loads, name_of, updated
from motorctl.core.explain.plan import Stage
from motorctl.core.explain.query import Query
from motorctl.errors import UsageError

if TYPE_CHECKING:
    from motorctl.core.explain.plan import Plan


def worse(before: Plan, now: Plan) -> list[str]:
    return [failure.text for failure in compare(entry(before), entry(now)).worse]


def better(before: Plan, now: Plan) -> list[str]:
    found = compare(entry(before), entry(now))
    assert found.worse == []
    return found.better


def bounded(status: str = "a", date: str = "[MinKey, MaxKey]", **options: Any) -> Stage:
    bounds = {"status": [f'["{status}", "{status}"]'], "created_at": [date]}
    return ixscan(index="s_1_c_1", pattern={"status": 1, "created_at": 1}, bounds=bounds, **options)


GOOD = plan(fetch(ixscan()))


def test_the_same_plan_is_no_difference() -> None:
    assert compare(entry(GOOD), entry(plan(fetch(ixscan())))).same


def test_a_dropped_index_is_worse_and_said_once() -> None:
    assert worse(GOOD, plan(collscan())) == ["reads orders as a whole, not by status_1"]
    assert better(plan(collscan()), GOOD) == [
        "doesn't read orders as a whole any more",
        "examines 1 for each document that it finds, not 161.29",
    ]


def test_a_join_that_tells_nothing_is_no_better_plan() -> None:
    """To this $lookup nothing came, or an older server answered: whether it scans is not known."""

    def joined(index: str, **told: Any) -> Plan:
        found = ixscan(index=index, pattern={index: 1})
        return plan(Stage("$lookup", [fetch(found)], details={"from": "users", **told}))

    before = joined("status_1", collectionScans=1)
    same = compare(entry(before), entry(joined("status_1")))
    assert (same.worse, same.better) == ([], [])
    assert same.notes == ["reads nothing of users any more, or doesn't tell how"]
    assert worse(before, joined("city_1")) == ["reads orders by city_1, not by status_1"]
    assert better(before, joined("status_1", indexesUsed=["_id_"])) == [
        "doesn't read users as a whole any more"
    ]


def test_a_plan_of_the_planner_alone_is_compared_too() -> None:
    before = plan(fetch(ixscan(None, None), None, None), executed=False)
    assert worse(before, plan(collscan(None, None), executed=False)) == [
        "reads orders as a whole, not by status_1"
    ]
    assert compare(entry(before), entry(GOOD)).same


def test_a_sort_in_memory_is_worse() -> None:
    sorting = plan(Stage("SORT", [fetch(ixscan())], output=31))
    assert worse(GOOD, sorting) == ["sorts in memory now"]
    assert better(sorting, GOOD) == ["doesn't sort in memory any more"]


def test_documents_that_needed_no_fetching_are_worse_to_fetch() -> None:
    covered = plan(Stage("PROJECTION_COVERED", [ixscan()], output=31))
    assert worse(covered, GOOD) == ["fetches documents of orders, where its index was enough"]
    assert better(GOOD, covered) == ["doesn't fetch documents of orders any more: its index is enough"]


def test_another_index_is_worse_unless_it_examines_less() -> None:
    other = {"index": "city_1", "pattern": {"city": 1}}
    before = plan(fetch(ixscan(62, 62), 62))
    assert worse(before, plan(fetch(ixscan(62, 62, **other), 62))) == [
        "reads orders by city_1, not by status_1"
    ]
    assert better(before, plan(fetch(ixscan(31, 31, **other), 31))) == [
        "reads orders by city_1, not by status_1"
    ]


def test_an_index_that_finds_less_is_not_better_for_examining_less() -> None:
    now = plan(fetch(ixscan(5, 5, index="city_1", pattern={"city": 1}), 5, 5))
    assert worse(GOOD, now) == ["reads orders by city_1, not by status_1"]


def test_another_order_of_the_same_fields_is_another_index() -> None:
    before = plan(fetch(ixscan(index="i", pattern={"a": 1, "b": 1})))
    assert worse(before, plan(fetch(ixscan(index="i", pattern={"b": 1, "a": 1})))) == [
        "reads orders by i, not by i"
    ]
    assert compare(entry(before), entry(plan(fetch(ixscan(index="i", pattern={"a": 1.0, "b": 1}))))).same


def test_a_renamed_index_is_said_and_passes() -> None:
    found = compare(entry(GOOD), entry(plan(fetch(ixscan(index="by_status")))))
    assert (found.worse, found.better) == ([], [])
    assert found.notes == ["status_1 of orders is now called by_status"]


def test_a_field_that_is_limited_no_more_is_worse() -> None:
    before = plan(fetch(bounded(date="[new Date(0), new Date(9)]")))
    assert worse(before, plan(fetch(bounded()))) == ["doesn't limit created_at in s_1_c_1 any more"]
    assert compare(entry(plan(fetch(bounded()))), entry(before)).worse == []


@pytest.mark.parametrize(
    ("keys", "docs", "returned", "is_worse"),
    [
        (61, 61, 31, False),  # below the factor
        (130, 31, 31, False),  # over the factor, below the floor
        (132, 31, 31, True),  # 101 keys more than the old ratio takes
        (9_000, 9_000, 9_000, False),  # more documents, found as well
        (31, 31, 0, False),  # fewer found: below the floor
    ],
)
def test_a_ratio_counts_by_factor_and_floor(keys: int, docs: int, returned: int, is_worse: bool) -> None:
    now = plan(fetch(ixscan(keys, keys), docs, returned))
    assert bool(worse(GOOD, now)) == is_worse
    assert bool(compare(entry(now), entry(GOOD)).better) == is_worse


@given(st.integers(0, 10**6), st.integers(1, 10**6), st.floats(0.51, 1.98), st.floats(0.01, 100))
def test_figures_that_wobble_are_no_difference(
    examined: int, found: int, wobble: float, growth: float
) -> None:
    """Neither data that grows evenly nor a ratio that stays within the factor is a worse plan."""
    returned = max(1, int(found * growth))
    ratio = examined / found
    now_examined = int(ratio * returned * wobble)
    before = plan(fetch(ixscan(examined, examined), examined, found))
    now = plan(fetch(ixscan(now_examined, now_examined), now_examined, returned))
    assert worse(before, now) == []


@given(st.integers(1, 10**4), st.integers(1, 10**4))
def test_worse_one_way_is_better_the_other(one: int, other: int) -> None:
    a, b = (plan(fetch(ixscan(keys, keys), keys, 10)) for keys in (one, other))
    there, back = compare(entry(a), entry(b)), compare(entry(b), entry(a))
    assert bool(there.worse) == bool(back.better)
    assert not (there.worse and back.worse)


@pytest.mark.parametrize(
    "same",
    [
        [
            Stage("IDHACK", keys=1, docs=1, output=1),
            Stage("EXPRESS_IXSCAN", keys=1, docs=1, output=1, index="_id_", pattern={"_id": 1}),
            fetch(
                Stage(
                    "IXSCAN", keys=1, output=1, index="_id_", pattern={"_id": 1}, bounds={"_id": ["[1, 1]"]}
                ),
                1,
                1,
            ),
            Stage("CLUSTERED_IXSCAN", docs=1, output=1),
            Stage("EXPRESS_CLUSTERED_IXSCAN", docs=1, output=1),
            Stage("COLLSCAN", docs=1, output=1, details={"minRecord": 1, "maxRecord": 1}),
        ],
        [
            Stage(
                "$lookup",
                [fetch(ixscan())],
                output=31,
                keys=31,
                docs=31,
                details={"from": "users", "indexesUsed": ["_id_"], "collectionScans": 0},
            ),
            Stage(
                "EQ_LOOKUP",
                [fetch(ixscan())],
                output=31,
                details={
                    "foreignCollection": "shop.users",
                    "strategy": "IndexedLoopJoin",
                    "indexKeyPattern": {"_id": 1},
                },
                index="_id_",
            ),
        ],
        [fetch(ixscan()), Stage("SINGLE_SHARD", [Stage("SHARDING_FILTER", [fetch(ixscan())], output=31)])],
        [
            Stage("PROJECTION_COVERED", [ixscan()], output=31),
            Stage(
                "EXPRESS_IXSCAN",
                index="status_1",
                pattern={"status": 1},
                keys=31,
                output=31,
                details={"projectionCovered": True},
            ),
        ],
    ],
    ids=["by _id", "$lookup", "one shard", "covered"],
)
def test_the_spelling_of_another_server_is_no_difference(same: list[Stage]) -> None:
    entries = [entry(plan(root)) for root in same]
    for before in entries:
        for now in entries:
            assert compare(before, now).same, (before, now)


def test_two_shards_are_one_way() -> None:
    one = entry(plan(Stage("SHARD_MERGE", [fetch(ixscan()), fetch(ixscan())], output=62)))
    assert len(one["access"]) == 1


def test_a_collection_that_is_gone_is_worse() -> None:
    assert worse(GOOD, plan(Stage("EOF", output=0))) == ["reads nothing of orders"]


def test_the_file_holds_no_value_of_a_query() -> None:
    secret = "ada@example.com"
    stage = bounded(secret, filter={"status": secret})
    stage.filter = {"email": {"$eq": secret}}
    kept = dumps({name_of(Query("find", "users", {"email": secret})): entry(plan(fetch(stage)))})
    assert secret not in kept
    assert "find users {email}" in kept


def test_the_file_is_sorted_and_read_back() -> None:
    entries = {"b": entry(GOOD), "a": entry(plan(collscan()))}
    text = dumps(entries)
    assert text == dumps(dict(reversed(entries.items())))
    assert list(json.loads(text)["queries"]) == ["a", "b"]
    assert loads(text, "b.json") == entries
    assert "time" not in text


def test_an_entry_stays_to_the_byte_while_its_plan_is_the_same() -> None:
    entries = {"q": entry(GOOD)}
    wobbled, updates = updated(entries, {"q": plan(fetch(ixscan(40, 40), 40, 40))})
    assert dumps(wobbled) == dumps(entries)
    assert [update.action for update in updates] == ["keep"]


def test_an_update_says_what_it_changes() -> None:
    entries = {"gone": entry(GOOD), "changed": entry(GOOD), "kept": entry(GOOD)}
    plans = {"changed": plan(collscan()), "kept": GOOD, "new": plan(Stage("SORT", [collscan()], output=31))}
    result, updates = updated(entries, plans, removed=["gone"])
    assert sorted(result) == ["changed", "kept", "new"]
    assert [(update.name, update.action, update.text) for update in updates] == [
        ("changed", "change", "reads orders as a whole, not by status_1"),
        ("gone", "remove", ""),
        ("kept", "keep", ""),
        ("new", "add", "orders as a whole, sorted in memory"),
    ]


def test_figures_are_recorded_when_there_are_some_at_last() -> None:
    planned = plan(fetch(ixscan(None, None), None, None), executed=False)
    result, updates = updated({"q": entry(planned)}, {"q": GOOD})
    assert (result["q"]["keys_examined"], updates[0].action) == (31, "change")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "b.json:1:2: this is no JSON"),
        ("<<<<<<< HEAD", "b.json:1:1: this is no JSON"),
        ("[]", "b.json is no baseline of explain"),
        ('{"version": 2, "queries": {}}', "b.json is a baseline of another version of motorctl (version 2)"),
        ('{"version": 1, "queries": {"q": {}}}', "b.json: the entry 'q' is damaged"),
        ('{"version": 1, "queries": {"q": 1}}', "b.json: the entry 'q' is damaged"),
    ],
)
def test_a_file_that_is_no_baseline(text: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        loads(text, "b.json")
    assert raised.value.message.startswith(message)


@given(st.data())
def test_a_damaged_entry_is_refused_and_never_breaks(data: st.DataObject) -> None:
    one = json.loads(json.dumps(entry(GOOD)))
    where = data.draw(st.sampled_from([one, one["access"][0]]))
    key = data.draw(st.sampled_from(sorted(where)))
    where[key] = data.draw(st.sampled_from([None, "x", 1, -1, [], {}, True, [{}]]))
    try:
        read = loads(json.dumps({"version": baseline.VERSION, "queries": {"q": one}}), "b.json")
    except UsageError:
        return
    compare(read["q"], entry(GOOD))
    compare(entry(GOOD), read["q"])


@pytest.mark.parametrize(
    ("query", "name"),
    [
        (Query("find", "orders", {"a": 1, "$or": [{"b": 2}, {"c": {"$gt": 3}}]}), "find orders {a, b, c}"),
        (Query("find", "orders", sort={"at": -1}), "find orders {} sort {at: -1}"),
        (Query("distinct", "orders", {"a": 1}, key="city"), "distinct orders city {a}"),
        (
            Query("aggregate", "orders", pipeline=[{"$match": {"a": 1}}, {"$group": {"_id": "$b"}}]),
            "aggregate orders $match $group {a}",
        ),
    ],
)
def test_a_query_is_named_by_its_shape(query: Query, name: str) -> None:
    assert name_of(query) == name
