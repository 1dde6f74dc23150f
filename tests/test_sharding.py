"""What runs on the shards and what on the merger.

The rules are the MongoDB Manual's; the explain documents have the stages of those that the server's own tests expect
of a cluster, each with the name of its source.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from motorctl.core.revenue.ranking import Ranking, question
from motorctl.core.revenue.selection import Orders
from motorctl.core.sharding import from_explain, merges_on, where

Pipeline = list[dict[str, Any]]

MATCH = {"$match": {"status": "completed"}}
GROUP = {"$group": {"_id": "$user_id", "total": {"$sum": "$amount"}}}
SORT = {"$sort": {"total": -1}}
LOOKUP = {"$lookup": {"from": "users", "localField": "_id", "foreignField": "_id", "as": "user"}}


def places(pipeline: Pipeline) -> list[str]:
    return [one.place for one in where(pipeline)]


@pytest.mark.parametrize(
    ("pipeline", "expected"),
    [
        ([], []),
        ([MATCH, {"$set": {"a": 1}}, {"$unwind": "$lines"}], ["shards", "shards", "shards"]),
        ([MATCH, GROUP, SORT, {"$limit": 5}, LOOKUP], ["shards", "both", "merger", "merger", "merger"]),
        ([GROUP, GROUP], ["both", "merger"]),
        ([MATCH, SORT, {"$project": {"a": 1}}, GROUP], ["shards", "both", "merger", "merger"]),
        # The Manual, "$sort + $limit Coalescence": nothing between them may change the number of documents.
        ([SORT, {"$limit": 5}], ["both", "both"]),
        ([SORT, {"$skip": 5}, {"$limit": 5}], ["both", "merger", "both"]),
        ([SORT, {"$set": {"a": 1}}, LOOKUP, {"$limit": 5}], ["both", "merger", "merger", "both"]),
        ([SORT, {"$unwind": "$a"}, {"$limit": 5}], ["both", "merger", "merger"]),
        ([SORT, GROUP, {"$limit": 5}], ["both", "merger", "merger"]),
        ([{"$skip": 5}, {"$limit": 5}], ["merger", "both"]),
        ([{"$limit": 5}, {"$match": {}}], ["both", "merger"]),
        # The Manual, "$sort + $match Sequence Optimization"
        ([SORT, MATCH, {"$set": {"a": 1}}], ["both", "shards", "merger"]),
        ([SORT, {"$set": {"a": 1}}, MATCH], ["both", "merger", "merger"]),
        ([{"$count": "n"}], ["both"]),
        ([{"$sortByCount": "$status"}, MATCH], ["both", "merger"]),
        ([{"$bucket": {"groupBy": "$a", "boundaries": [0, 1]}}], ["both"]),
        ([{"$bucketAuto": {"groupBy": "$a", "buckets": 3}}], ["merger"]),
        ([{"$sample": {"size": 3}}], ["both"]),
        ([{"$geoNear": {"near": [0, 0], "distanceField": "d"}}], ["both"]),
        ([MATCH, {"$facet": {"a": [MATCH]}}, MATCH], ["shards", "merger", "merger"]),
        ([{"$setWindowFields": {"output": {}}}], ["both"]),
        ([{"$densify": {}}], ["merger"]),
        ([{"$unionWith": "archive"}, MATCH], ["merger", "merger"]),
        ([MATCH, {"$out": "copy"}], ["shards", "merger"]),
        ([MATCH, {"$merge": "totals"}], ["shards", "merger"]),
        ([GROUP, {"$merge": {"into": {"db": "reports", "coll": "totals"}}}], ["both", "merger"]),
        ([LOOKUP, MATCH], ["merger", "merger"]),
        ([{"$graphLookup": {"from": "parts"}}], ["merger"]),
    ],
)
def test_a_pipeline_is_cut_at_the_first_stage_that_needs_all_documents(
    pipeline: Pipeline, expected: list[str]
) -> None:
    assert places(pipeline) == expected


def test_every_stage_has_its_name_and_a_reason() -> None:
    for orders in (Orders(), Orders(currency="currency")):
        pipeline = question(orders, Ranking("product", 3), (6, 0)).pipeline
        placed = where(pipeline)

        assert [one.stage for one in placed] == [next(iter(stage)) for stage in pipeline]
        assert all(re.fullmatch(r"[^\n.]{20,}", one.why) for one in placed)
        # The orders are read and grouped where they are; what is joined is so few that the merger does it.
        assert [one.place for one in placed][:3] == ["shards", "both", "merger"]
        assert {one.place for one in placed[2:]} == {"merger"}


def test_the_reason_names_the_collection_that_is_used() -> None:
    assert "users" in where([LOOKUP])[0].why


@pytest.mark.parametrize(
    ("pipeline", "said"),
    [
        ([MATCH], None),
        ([MATCH, SORT], "mongos"),
        ([MATCH, GROUP], "a shard that is chosen at random"),
        ([SORT, SORT], "a shard that is chosen at random"),
        ([GROUP, LOOKUP], "the shard that holds the collection that is joined"),
        ([GROUP, {"$facet": {"a": [LOOKUP]}}], "the shard that holds the collection that is joined"),
        ([GROUP, LOOKUP, {"$out": "copy"}], "the shard that holds the collection that is written"),
    ],
)
def test_where_the_merger_is(pipeline: Pipeline, said: str | None) -> None:
    found = merges_on(pipeline)

    assert found is None if said is None else (found or "").startswith(said)


# ---- from an explain document

SORT_THEN_GROUP = {
    # mongodb/mongo, jstests/query_golden_sharding/expected_output/sort_group_targeting.md, 3:
    # "Don't push down $group preceded by $sort if $group is not on shard key"
    "mergeType": "router",
    "splitPipeline": {
        "shardsPart": [
            {"$sort": {"sortKey": {"shardKey": 1}}},
            {"$project": {"_id": False, "otherField": True}},
        ],
        "mergerPart": [
            {
                "$mergeCursors": {
                    "allowPartialResults": False,
                    "compareWholeSortKey": False,
                    "nss": "test.sort_group_targeting",
                    "recordRemoteOpWaitTime": False,
                    "requestQueryStatsFromRemotes": False,
                    "sort": {"shardKey": 1},
                    "tailableMode": "normal",
                }
            },
            {"$group": {"$willBeMerged": False, "_id": "$otherField"}},
        ],
    },
    "shards": {"sort_group_targeting-rs0": {}, "sort_group_targeting-rs1": {}},
}

GROUP_IN_TWO = {
    # mongodb/mongo, jstests/query_golden_sharding/expected_output/distinct_scan_multi_chunk.md,
    # "$group on a non-shard key field"
    "mergeType": "router",
    "splitPipeline": {
        "shardsPart": [{"$group": {"_id": "$notShardKey"}}],
        "mergerPart": [
            {"$mergeCursors": {"nss": "test.distinct_scan_multi_chunk", "tailableMode": "normal"}},
            {"$group": {"$doingMerge": True, "_id": "$$ROOT._id"}},
        ],
    },
    "shards": {"distinct_scan_multi_chunk-rs0": {}, "distinct_scan_multi_chunk-rs1": {}},
}


def test_an_explain_names_the_parts_and_who_merges() -> None:
    found = [(one.stage, one.place, one.why) for one in from_explain(SORT_THEN_GROUP)]

    assert found == [
        ("$sort", "shards", "each shard does it for its own documents"),
        ("$project", "shards", "each shard does it for its own documents"),
        ("$mergeCursors", "merger", "mongos takes the shards' answers in the order of shardKey ascending"),
        ("$group", "merger", "mongos does it for all documents"),
    ]


def test_an_explain_shows_both_halves_of_a_group() -> None:
    found = [(one.stage, one.place, one.why) for one in from_explain(GROUP_IN_TWO)]

    assert found == [
        ("$group", "shards", "each shard does it for its own documents"),
        ("$mergeCursors", "merger", "mongos collects the shards' answers"),
        ("$group", "merger", "mongos adds the shards' groups up"),
    ]


@pytest.mark.parametrize(
    ("explain", "pipeline"),
    [
        (SORT_THEN_GROUP, [{"$sort": {"shardKey": 1}}, {"$group": {"_id": "$otherField"}}]),
        (GROUP_IN_TWO, [{"$group": {"_id": "$notShardKey"}}]),
    ],
)
def test_the_rules_and_the_cluster_agree(explain: dict[str, Any], pipeline: Pipeline) -> None:
    decided = from_explain(explain)

    for one in where(pipeline):
        sides = {other.place for other in decided if other.stage == one.stage}
        if one.stage == "$sort":
            # the shards' order is merged while the answers are collected
            sides |= {other.place for other in decided if "in the order of" in other.why}
        assert sides == ({"shards", "merger"} if one.place == "both" else {one.place})


@pytest.mark.parametrize(
    ("document", "merger"),
    [
        # The fields as the server writes them: mongodb/mongo, src/mongo/db/pipeline/sharded_agg_helpers.cpp,
        # `appendExplainResults`; in old versions src/mongo/s/commands/cluster_aggregate.cpp.
        ({"mergeType": "mongos"}, "mongos"),
        ({"mergeType": "anyShard"}, "a shard chosen at random"),
        ({"mergeType": "primaryShard"}, "the database's primary shard"),
        # The server's tests of $lookup, `assertExplainLookupTargeting`: the shard that has what is joined.
        ({"mergeType": "specificShard", "mergeShardId": "shard01"}, "the shard shard01"),
        ({"mergeType": "specificShard", "mergeShard": "shard01"}, "the shard shard01"),
        ({"mergeType": "specificShard"}, "one shard"),
        ({"needsPrimaryShardMerger": True}, "the database's primary shard"),
        ({"needsPrimaryShardMerger": False}, "a shard"),
        ({"mergeType": "somethingNew"}, "somethingNew"),
    ],
)
def test_each_version_says_who_merges(document: dict[str, Any], merger: str) -> None:
    """Servers before 5.3 show no $mergeCursors."""
    split = {"shardsPart": [{"$match": {}}], "mergerPart": [{"$limit": 5}]}

    found = from_explain({**document, "splitPipeline": split, "shards": {"a": {}, "b": {}}})

    assert [(one.stage, one.place) for one in found] == [("$match", "shards"), ("$limit", "merger")]
    assert found[1].why == f"{merger} does it for all documents"


def test_a_pipeline_that_is_not_split_runs_on_the_shards() -> None:
    """`splitPipeline: null`, as the server writes it (`appendExplainResults`)."""
    stages = [{"$cursor": {"queryPlanner": {}}}, {"$group": {"_id": "$a"}}]
    one = {"splitPipeline": None, "shards": {"shard01": {"host": "a:1", "stages": stages}}}
    two = {"splitPipeline": None, "shards": {**one["shards"], "shard02": {"host": "b:1", "stages": stages}}}  # type: ignore[dict-item]  # a plan is a tree of anything
    classic = {"splitPipeline": None, "shards": {"shard01": {"host": "a:1", "queryPlanner": {}}}}

    assert [(p.stage, p.place) for p in from_explain(one)] == [("$cursor", "shards"), ("$group", "shards")]
    assert from_explain(one)[0].why == "it is not split: all runs on the shard shard01"
    assert from_explain(two)[0].why == "it is not split: all runs on each of 2 shards"
    assert [p.stage for p in from_explain(classic)] == ["$cursor"]


@pytest.mark.parametrize(
    "document", [{}, {"stages": []}, {"queryPlanner": {}}, {"ok": 1, "splitPipeline": None}]
)
def test_what_is_no_sharded_explain_has_no_places(document: dict[str, Any]) -> None:
    assert from_explain(document) == []
