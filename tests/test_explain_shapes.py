"""Explain documents of every shape, read: those that no server at hand can make are in tests/plans.

Each file names the source of its document, and what is to be read from it. What the servers at hand make
is in test_explain_servers.py.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motorctl.commands import explain_tree
from motorctl.core import extjson
from motorctl.core.explain import summary as summaries
from motorctl.core.explain import verdict
from motorctl.core.explain.plan import Stage
from motorctl.core.explain.ratio import ratios, worst_ratio
from motorctl.core.explain.read import read
from motorctl.core.explain.reading.part import NotExplainError

PLANS = sorted(Path(__file__).with_name("plans").glob("*.json"))


def document(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(__file__).with_name("plans") / f"{name}.json").read_text())
    return dict(found["document"])


def classic(stage: dict[str, Any], **stats: Any) -> dict[str, Any]:
    """Return a find's document around a tree of the classic engine."""
    answer: dict[str, Any] = {
        "queryPlanner": {"namespace": "shop.orders", "winningPlan": stage, "rejectedPlans": []}
    }
    if stats:
        answer["executionStats"] = {"executionStages": stage, **stats}
    return answer


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_a_plan_is_read_as_its_file_says(path: Path) -> None:
    kept = json.loads(path.read_text())
    plan = read(kept["document"])
    found = summaries.summary(plan)
    found["stages"] = [stage["stage"] for stage in found["stages"]]
    worst = summaries.worst(plan)
    found["worst"] = worst.kind if worst else None

    assert kept["source"]
    assert {key: found[key] for key in kept["expected"]} == kept["expected"]


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_what_the_stages_examined_adds_up_to_what_the_server_says(path: Path) -> None:
    plan = read(json.loads(path.read_text())["document"])
    stages = list(plan.root.walk())

    assert sum(stage.keys or 0 for stage in stages) == (plan.keys_examined or 0)
    assert sum(stage.docs or 0 for stage in stages) == (plan.docs_examined or 0)


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_a_plan_survives_extended_json_and_back(path: Path) -> None:
    """What a shell saves canonically ({"$numberInt": "5"}) is the same plan."""
    kept = json.loads(path.read_text())["document"]
    kept.pop("$clusterTime", None)
    canonical = json.dumps(extjson.to_json_value(kept, canonical=True))

    assert summaries.summary(read(extjson.loads(canonical))) == summaries.summary(read(kept))


def test_a_single_shard_with_an_index_is_no_collection_scan() -> None:
    plan = read(document("single_shard"))

    assert (plan.verdict, verdict.scans(plan.root)) == ("ixscan", [])


def test_rejected_plans_are_counted_and_never_looked_into() -> None:
    winner = {"stage": "COLLSCAN", "docsExamined": 9, "nReturned": 1}
    answer = classic(winner, nReturned=1, totalKeysExamined=0, totalDocsExamined=9)
    answer["queryPlanner"]["rejectedPlans"] = [
        {"stage": "FETCH", "inputStage": {"stage": "IXSCAN", "indexName": "status_1"}},
        {"stage": "SORT", "inputStage": {"stage": "COLLSCAN"}},
    ]
    plan = read(answer)

    assert (plan.verdict, plan.indexes, plan.in_memory_sort, plan.rejected_plans) == (
        "collscan",
        [],
        False,
        2,
    )


def test_other_candidates_figures_are_not_the_winners() -> None:
    answer = document("cached_plan")
    answer["executionStats"]["allPlansExecution"] = [
        {"nReturned": 5, "totalKeysExamined": 99999, "executionStages": {"stage": "COLLSCAN"}}
    ]

    assert read(answer).keys_examined == 417


def test_a_group_of_many_documents_has_no_bad_ratio() -> None:
    scan = {"stage": "IXSCAN", "indexName": "s_1", "nReturned": 100_000, "keysExamined": 100_000}
    fetch = {"stage": "FETCH", "nReturned": 100_000, "docsExamined": 100_000, "inputStage": scan}
    cursor = classic(fetch, nReturned=100_000, totalKeysExamined=100_000, totalDocsExamined=100_000)
    plan = read({"stages": [{"$cursor": cursor}, {"$group": {"_id": "$user_id"}, "nReturned": 7}]})
    ratio = worst_ratio(plan)

    assert plan.returned == 7
    assert ratio is not None
    assert ratio.value == 1


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ({"stage": "COLLSCAN", "docsExamined": 500, "nReturned": 5}, 100),
        ({"stage": "COLLSCAN", "docsExamined": 500, "nReturned": 0}, 500),
        ({"stage": "COLLSCAN", "docsExamined": 0, "nReturned": 0}, 0),
        (
            {
                "stage": "LIMIT",
                "limitAmount": 1,
                "nReturned": 1,
                "inputStage": {
                    "stage": "SORT",
                    "limitAmount": 1,
                    "nReturned": 1,
                    "inputStage": {"stage": "COLLSCAN", "docsExamined": 90, "nReturned": 30},
                },
            },
            3,
        ),
        (
            {
                "stage": "FETCH",
                "docsExamined": 40,
                "nReturned": 4,
                "inputStage": {
                    "stage": "OR",
                    "nReturned": 40,
                    "inputStages": [
                        {"stage": "IXSCAN", "indexName": "a_1", "keysExamined": 30, "nReturned": 30},
                        {"stage": "IXSCAN", "indexName": "b_1", "keysExamined": 20, "nReturned": 20},
                    ],
                },
            },
            12.5,
        ),
        (
            {
                "stage": "COUNT",
                "nReturned": 0,
                "nCounted": 100,
                "inputStage": {
                    "stage": "COUNT_SCAN",
                    "indexName": "a_1",
                    "keysExamined": 101,
                    "nReturned": 100,
                },
            },
            1.01,
        ),
    ],
    ids=["scan", "nothing found", "empty", "top-n sort", "or with a filter", "count"],
)
def test_the_ratio_is_taken_where_documents_are_found(stage: dict[str, Any], expected: float) -> None:
    (ratio,) = ratios(read(classic(stage, nReturned=0)))

    assert round(ratio.value, 2) == expected


def test_a_plan_that_was_not_run_has_no_ratio_and_no_figures() -> None:
    found = summaries.summary(read(classic({"stage": "COLLSCAN"})))

    assert not found["executed"]
    assert [found[name] for name in ("returned", "keys_examined", "docs_examined", "ms", "ratio")] == [
        None
    ] * 5


@pytest.mark.parametrize(
    ("ways", "word"),
    [
        (["COLLSCAN"], "collscan"),
        (["COLLSCAN", "EOF"], "collscan"),
        (["IXSCAN", "IXSCAN"], "ixscan"),
        (["IXSCAN", "EOF"], "ixscan"),
        (["IDHACK"], "idhack"),
        (["IDHACK", "IXSCAN"], "ixscan"),
        (["IDHACK", "EXPRESS_IXSCAN"], "ixscan"),
        (["EXPRESS_CLUSTERED_IXSCAN"], "express"),
        (["RECORD_STORE_FAST_COUNT"], "express"),
        (["EOF"], "eof"),
        (["COLLSCAN", "IXSCAN"], "mixed"),
        (["COLLSCAN", "IDHACK"], "mixed"),
        (["QUANTUM_SCAN"], "mixed"),
        (["QUANTUM_SCAN", "IXSCAN"], "mixed"),
        (["$documents"], "eof"),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else "",
)
def test_the_verdict_is_about_all_ways_to_documents(ways: list[str], word: str) -> None:
    assert verdict.verdict(Stage("SHARD_MERGE", [Stage(kind) for kind in ways])) == word


def test_an_unknown_stage_with_an_index_or_keys_uses_an_index() -> None:
    assert verdict.verdict(Stage("WARP_SCAN", index="a_1")) == "ixscan"
    assert verdict.verdict(Stage("WARP_SCAN", keys=5)) == "ixscan"


@pytest.mark.parametrize(
    ("lookup", "word"),
    [
        ({"totalDocsExamined": 9, "collectionScans": 3, "indexesUsed": []}, "mixed"),
        ({"totalDocsExamined": 9, "collectionScans": 0, "indexesUsed": ["k_1"]}, "ixscan"),
        ({}, "ixscan"),
    ],
    ids=["scans", "uses an index", "an older server, which doesn't say"],
)
def test_what_a_lookup_does_inside_is_part_of_the_verdict(lookup: dict[str, Any], word: str) -> None:
    scan = {"stage": "IXSCAN", "indexName": "status_1", "keysExamined": 3, "nReturned": 3}
    cursor = classic(scan, nReturned=3, totalKeysExamined=3, totalDocsExamined=0)
    stage = {"$lookup": {"from": "users", "as": "u"}, "nReturned": 3, **lookup}
    plan = read({"stages": [{"$cursor": cursor, "nReturned": 3}, stage]})

    assert plan.verdict == word
    assert plan.docs_examined == lookup.get("totalDocsExamined", 0)


def test_the_indexes_of_the_collection_come_before_those_of_a_join() -> None:
    scan = {"stage": "IXSCAN", "indexName": "status_1", "keysExamined": 3, "nReturned": 3}
    stage = {"$lookup": {"from": "users"}, "indexesUsed": ["_id_"], "collectionScans": 0, "nReturned": 3}
    plan = read({"stages": [{"$cursor": classic(scan, nReturned=3)}, stage]})

    assert summaries.summary(plan)["index"] == "status_1, _id_"


def test_a_facet_takes_in_its_source_once_and_its_branches_have_names() -> None:
    plan = read(document("slot_based_facet"))

    assert plan.root.input == 100
    assert [(stage.branch, stage.kind) for stage in plan.root.inputs] == [
        (None, "FETCH"),
        ("a", "$group"),
        ("b", "$sort"),
    ]


def test_the_time_of_a_facets_source_is_not_its_branchs() -> None:
    answer = document("slot_based_facet")
    answer["stages"][0]["executionTimeMillisEstimate"] = 18
    facet = answer["stages"][1]
    facet["executionTimeMillisEstimate"] = 25
    for stage, milliseconds in zip(facet["$facet"]["a"], (18, 23), strict=True):
        stage["executionTimeMillisEstimate"] = milliseconds
    plan = read(answer)
    group, tee = plan.root.inputs[1].walk()

    assert (group.own_ms, tee.own_ms) == (5, 0)


def test_the_stages_of_a_shard_carry_its_name_and_those_of_the_merger_none() -> None:
    plan = read(document("sharded_group_split"))

    assert [stage.shard for stage in plan.root.walk()] == [None] * 3 + ["shard2"] * 3 + ["shard1"] * 3


def test_a_slot_based_stage_has_its_own_figures_and_not_those_below_it() -> None:
    plan = read(document("slot_based_or"))
    figures = [(stage.kind, stage.output, stage.keys, stage.docs) for stage in plan.root.walk()]

    assert figures == [
        ("FETCH", 34, None, 34),
        ("OR", 34, None, None),
        ("IXSCAN", 1, 1, None),
        ("FETCH", 33, None, 100),
        ("IXSCAN", 100, 100, None),
    ]


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("{ a: 1, b: -1 }", {"a": 1, "b": -1}),
        ('{"a": 1.0, "b.c": -1}', {"a": 1, "b.c": -1}),
        ('{ place: "2dsphere" }', {"place": "2dsphere"}),
        ("{}", None),
        ("as the server likes", None),
    ],
)
def test_an_express_stage_writes_its_index_as_a_text(text: str, keys: dict[str, Any] | None) -> None:
    plan = read(classic({"stage": "EXPRESS_IXSCAN", "keyPattern": text, "indexName": "i"}))

    assert plan.root.pattern == keys


@pytest.mark.parametrize(
    "five", [5, 5.0, {"low": 5, "high": 0, "unsigned": False}, extjson.loads('{"$numberLong": "5"}')]
)
def test_figures_are_read_in_every_form_that_drivers_write(five: Any) -> None:
    assert read(classic({"stage": "COLLSCAN", "docsExamined": five}, nReturned=five)).returned == 5


def test_the_finest_clock_counts() -> None:
    stage = {"stage": "COLLSCAN", "executionTimeMillisEstimate": 1, "executionTimeNanos": 1_234_567}
    (row,) = summaries.stages(read(classic(stage, nReturned=1)))

    assert row["ms"] == 1.235


def test_a_stages_own_time_leaves_out_what_is_below() -> None:
    plan = read(document("shard_merge_mixed"))
    own = {(stage.kind, stage.shard): stage.own_ms for stage in plan.root.walk()}

    # The shards ran beside one another: the merge waited for the slowest of them.
    assert own["SHARD_MERGE", None] == 260 - 190
    assert own["SHARDING_FILTER", "shard01"] == 190 - 160
    assert own["COLLSCAN", "shard01"] == 160


def grouped(*, scan_ms: int, cursor_ms: int, group_ms: int) -> dict[str, Any]:
    """Return what the classic engine says of a $group over a whole collection."""
    scan = {
        "stage": "PROJECTION_SIMPLE",
        "nReturned": 50_000,
        "executionTimeMillisEstimate": scan_ms,
        "inputStage": {
            "stage": "COLLSCAN",
            "nReturned": 50_000,
            "docsExamined": 50_000,
            "executionTimeMillisEstimate": scan_ms,
        },
    }
    cursor = classic(scan, nReturned=50_000, totalKeysExamined=0, totalDocsExamined=50_000)
    return {
        "stages": [
            {"$cursor": cursor, "nReturned": 50_000, "executionTimeMillisEstimate": cursor_ms},
            {"$group": {"_id": "$a"}, "nReturned": 73, "executionTimeMillisEstimate": group_ms},
        ]
    }


def test_what_handing_documents_to_a_pipeline_takes_is_not_its_first_stages_time() -> None:
    plan = read(grouped(scan_ms=2, cursor_ms=29, group_ms=37))
    group, projection, scan = plan.root.walk()

    assert [stage.own_ms for stage in (group, projection, scan)] == [8, 0, 2]
    assert projection.handing_ms == 27
    assert summaries.worst(plan) is scan


def test_a_group_that_takes_long_itself_is_the_worst_stage() -> None:
    plan = read(grouped(scan_ms=2, cursor_ms=29, group_ms=370))

    assert summaries.worst(plan) is plan.root


def test_a_time_below_the_servers_clock_marks_no_stage() -> None:
    assert summaries.worst(read(grouped(scan_ms=0, cursor_ms=0, group_ms=9))) is None


@pytest.mark.parametrize(("keys", "marked"), [(3_000, True), (1_100, False), (1_003, False)])
def test_some_keys_too_many_mark_no_stage(keys: int, marked: bool) -> None:
    """A $in over four values looks at a key past each of them."""
    scan = {"stage": "IXSCAN", "indexName": "a_1", "nReturned": 1_000, "keysExamined": keys}
    fetch = {"stage": "FETCH", "nReturned": 1_000, "docsExamined": 1_000, "inputStage": scan}
    worst = summaries.worst(read(classic(fetch, nReturned=1_000)))

    assert (worst.kind if worst else None) == ("IXSCAN" if marked else None)


def test_what_a_join_finds_by_an_index_is_not_read_for_nothing() -> None:
    scan = {"stage": "IXSCAN", "indexName": "a_1", "nReturned": 3, "keysExamined": 3}
    stage = {"$lookup": {"from": "users"}, "nReturned": 3, "totalKeysExamined": 900, "totalDocsExamined": 900}
    cursor = {"$cursor": classic(scan, nReturned=3), "nReturned": 3}
    by_index = read({"stages": [cursor, {**stage, "collectionScans": 0, "indexesUsed": ["b_1"]}]})
    as_a_whole = read({"stages": [cursor, {**stage, "collectionScans": 3, "indexesUsed": []}]})

    assert summaries.worst(by_index) is None
    assert summaries.worst(as_a_whole) is as_a_whole.root


def near(found: int, *, limit: int | None = None) -> dict[str, Any]:
    """Return a search near a point that read 40 keys for 30 documents, and a FETCH above it that tests each."""
    scan = {"stage": "IXSCAN", "indexName": "at_2dsphere", "keysExamined": 40, "nReturned": 30}
    inner = {"stage": "FETCH", "docsExamined": 30, "nReturned": 30, "inputStage": scan}
    place = {
        "stage": "GEO_NEAR_2DSPHERE",
        "indexName": "at_2dsphere",
        "nReturned": 20,
        "inputStages": [inner],
    }
    top = {"stage": "FETCH", "filter": {"a": 1}, "docsExamined": 20, "nReturned": found, "inputStage": place}
    return (
        top
        if limit is None
        else {"stage": "LIMIT", "limitAmount": limit, "nReturned": limit, "inputStage": top}
    )


@pytest.mark.parametrize(
    ("stage", "expected"),
    [(near(1), [20, 1.33]), (near(20), [1, 1.33]), (near(4, limit=4), [5, 1.33])],
    ids=["nearly all dropped", "none dropped", "limited"],
)
def test_what_is_dropped_above_a_search_near_a_point_counts(
    stage: dict[str, Any], expected: list[float]
) -> None:
    found = ratios(read(classic(stage, nReturned=1)))

    assert [round(ratio.value, 2) for ratio in found] == expected


def test_a_limit_above_a_text_search_is_no_bad_ratio() -> None:
    """TEXT_OR gathers all that match before it gives the first."""
    scan = {"stage": "IXSCAN", "indexName": "t_text", "keysExamined": 250, "nReturned": 250}
    words = {"stage": "TEXT_OR", "docsExamined": 250, "nReturned": 3, "inputStage": scan}
    match = {"stage": "TEXT_MATCH", "indexName": "t_text", "nReturned": 3, "inputStage": words}
    plan = read(
        classic({"stage": "LIMIT", "limitAmount": 3, "nReturned": 3, "inputStage": match}, nReturned=3)
    )
    ratio = worst_ratio(plan)

    assert ratio is not None
    assert ratio.value == 1


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"ok": 1},
        {"queryPlanner": {}},
        {"queryPlanner": {"winningPlan": {}}},
        {"queryPlanner": {"winningPlan": {"nodeType": "Root"}}},
        {"queryPlanner": {"winningPlan": {"stage": "FETCH", "inputStage": "IXSCAN"}}},
        {"stages": []},
        {"stages": [{"nReturned": 1}]},
        {"stages": "$cursor"},
        {"shards": {}},
        {"shards": {"a": 5}},
    ],
    ids=json.dumps,
)
def test_a_document_that_is_no_plan_is_an_error_with_a_hint(answer: dict[str, Any]) -> None:
    with pytest.raises(NotExplainError) as raised:
        read(answer)

    assert raised.value.exit_code == 2
    assert raised.value.message.startswith("not an explain document: ")
    assert raised.value.hint


def test_a_document_without_end_is_an_error() -> None:
    stage: dict[str, Any] = {"stage": "COLLSCAN"}
    for _ in range(5000):
        stage = {"stage": "FETCH", "inputStage": stage}

    with pytest.raises(NotExplainError, match="nested too deeply"):
        read(classic(stage))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300)
@given(data=st.data(), path=st.sampled_from(PLANS))
def test_whatever_a_server_puts_into_a_field_a_plan_or_an_error_comes_out(
    data: st.DataObject, path: Path
) -> None:
    """Any one value of a document replaced by any JSON: servers to come will do worse."""
    answer = copy.deepcopy(json.loads(path.read_text())["document"])
    at: Any = answer
    while True:
        key = data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
        if not isinstance(at[key], dict | list) or not at[key] or data.draw(st.integers(0, 3)) == 0:
            break
        at = at[key]
    at[key] = data.draw(JSON)
    try:
        plan = read(answer)
    except NotExplainError:
        return
    found = summaries.summary(plan)

    assert found["verdict"] in ("ixscan", "collscan", "idhack", "express", "eof", "mixed")
    json.dumps(found)
    for width in (None, 80):
        assert explain_tree.lines(plan, width=width)
