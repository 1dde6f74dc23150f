"""Gates: how they are written, what breaks them, and what can't be judged."""

from __future__ import annotations

from typing import Any

import pytest
from bson import MaxKey, MinKey
from hypothesis import given
from hypothesis import strategies as st

from motorctl.core.explain.access import accesses
from motorctl.core.explain.gates import Gate, UnjudgedError, broken, gates_of, parse, refuse_unrun
from motorctl.core.explain.plan import Plan, Stage
from motorctl.core.explain.verdict import indexes, sorts, verdict
from motorctl.errors import UsageError


def plan(root: Stage, *, executed: bool = True, **figures: Any) -> Plan:
    """Make a plan of a tree, with what is said of the whole as a reader says it."""
    stages = list(root.walk())
    totals = {
        "returned": root.output,
        "keys_examined": sum(stage.keys or 0 for stage in stages),
        "docs_examined": sum(stage.docs or 0 for stage in stages),
        "ms": 1.0,
    }
    return Plan(
        root,
        verdict(root),
        "shop.orders",
        executed,
        indexes=indexes(root),
        in_memory_sort=bool(sorts(root)),
        server_version="6.0.5",
        **{**(totals if executed else {}), **figures},
    )


def ixscan(keys: int | None = 31, output: int | None = 31, **options: Any) -> Stage:
    given: dict[str, Any] = {"index": "status_1", "pattern": {"status": 1}, **options}
    return Stage("IXSCAN", keys=keys, output=output, **given)


def fetch(below: Stage, docs: int | None = 31, output: int | None = 31) -> Stage:
    return Stage("FETCH", [below], docs=docs, output=output)


def collscan(docs: int | None = 5000, output: int | None = 31) -> Stage:
    return Stage("COLLSCAN", docs=docs, output=output)


def texts(found: Plan, gates: str) -> list[str]:
    return [failure.text for failure in broken(found, parse(gates))]


def test_gates_are_written_with_commas_and_limits() -> None:
    assert parse("collscan, sort,ratio:2.5,keys:1000,docs:0,ms:50") == [
        Gate("collscan"),
        Gate("sort"),
        Gate("ratio", 2.5),
        Gate("keys", 1000),
        Gate("docs", 0),
        Gate("ms", 50),
    ]


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "no gate", "for example collscan"),
        ("colscan", "'colscan' is no gate", "did you mean 'collscan'?"),
        ("collscan,,sort", "an empty word is no gate", "gates: collscan, sort, ratio, keys, docs, ms"),
        ("rows:5", "'rows:5' is no gate", "gates: "),
        ("collscan:1", "collscan takes no limit", "write collscan alone"),
        ("ratio", "ratio needs a number from 0 up", "write ratio:100"),
        ("ratio:ten", "ratio needs a number from 0 up, not 'ten'", "write ratio:100"),
        ("keys:1.5", "keys needs a whole number from 0 up, not '1.5'", "write keys:100"),
        ("docs:-1", "docs needs a whole number from 0 up, not '-1'", None),
        ("ms:nan", "ms needs a number from 0 up, not 'nan'", None),
        ("ms:inf", "ms needs a number from 0 up, not 'inf'", None),
        ("ms:٣", "ms needs a number from 0 up, not '٣'", None),
        ("ratio:1,ratio:2", "ratio stands twice", "each gate has one limit"),
    ],
)
def test_what_is_no_gate(text: str, message: str, hint: str | None) -> None:
    with pytest.raises(UsageError) as raised:
        parse(text)
    assert raised.value.message == f"--fail-on: {message}"
    assert hint is None or hint in str(raised.value.hint)


@given(
    st.lists(
        st.one_of(
            st.sampled_from([Gate("collscan"), Gate("sort")]),
            st.builds(Gate, st.sampled_from(["keys", "docs"]), st.integers(0, 10**5).map(float)),
            st.builds(
                Gate, st.sampled_from(["ratio", "ms"]), st.integers(0, 10**5).map(lambda tenth: tenth / 10)
            ),
        ),
        min_size=1,
        unique_by=lambda gate: gate.kind,
    )
)
def test_what_is_written_is_read_back(gates: list[Gate]) -> None:
    assert parse(",".join(map(str, gates))) == gates


def test_a_plan_by_an_index_keeps_every_gate() -> None:
    assert texts(plan(fetch(ixscan())), "collscan,sort,ratio:1,keys:31,docs:31,ms:1") == []


@pytest.mark.parametrize(
    ("gates", "measured", "text"),
    [
        ("keys:30", 31, "31 keys examined (limit 30)"),
        ("docs:30", 31, "31 documents examined (limit 30)"),
        ("ms:0.5", 1.0, "1 ms on the server (limit 0.5)"),
        ("ratio:0.9", 1.0, "31 examined to find 31 in orders by status_1: a ratio of 1 (limit 0.9)"),
    ],
)
def test_a_limit_is_kept_and_one_more_breaks_it(gates: str, measured: float, text: str) -> None:
    (failure,) = broken(plan(fetch(ixscan())), parse(gates))
    assert (failure.gate, failure.measured, failure.text) == (gates, measured, text)


def test_a_scan_is_named_with_its_collection() -> None:
    (failure,) = broken(plan(Stage("LIMIT", [collscan()], output=31)), parse("collscan"))
    assert failure.document() == {
        "gate": "collscan",
        "limit": None,
        "measured": 1,
        "stage": "COLLSCAN",
        "message": "orders is read as a whole",
    }


def test_a_scan_that_is_only_planned_breaks_the_gate_too() -> None:
    assert texts(plan(collscan(None, None), executed=False), "collscan") == ["orders is read as a whole"]


def test_a_range_of_a_clustered_collection_is_no_scan() -> None:
    ranged = collscan(31)
    ranged.details["minRecord"] = 5
    assert texts(plan(ranged), "collscan,ratio:1") == []
    assert texts(plan(Stage("CLUSTERED_IXSCAN", docs=31, output=31)), "collscan") == []


@pytest.mark.parametrize(
    "details",
    [
        {"from": "users", "collectionScans": 31, "indexesUsed": []},
        {"foreignCollection": "shop.users", "strategy": "HashJoin"},
        {"foreignCollection": "shop.users", "strategy": "NestedLoopJoin"},
    ],
)
def test_a_scan_inside_lookup_breaks_the_gate(details: dict[str, Any]) -> None:
    kind = "$lookup" if "from" in details else "EQ_LOOKUP"
    joined = Stage(kind, [fetch(ixscan())], output=31, details=details)
    assert texts(plan(joined), "collscan") == ["users is read as a whole"]


@pytest.mark.parametrize(
    "details",
    [
        {"from": "users", "collectionScans": 0, "indexesUsed": ["_id_"]},
        {"foreignCollection": "shop.users", "strategy": "IndexedLoopJoin"},
    ],
)
def test_a_lookup_by_an_index_keeps_the_gate(details: dict[str, Any]) -> None:
    joined = Stage("$lookup", [fetch(ixscan())], output=31, details=details)
    assert texts(plan(joined), "collscan") == []


@pytest.mark.parametrize(
    "stage",
    [
        Stage("$lookup", [fetch(ixscan())], details={"from": "users"}),
        Stage(
            "$lookup", [fetch(ixscan())], details={"from": "users", "collectionScans": 0, "indexesUsed": []}
        ),
        Stage("$graphLookup", [fetch(ixscan())], details={"from": "users"}),
        Stage("$unionWith", [fetch(ixscan())], details={"coll": "users"}),
    ],
)
def test_a_stage_that_does_not_tell_is_no_pass(stage: Stage) -> None:
    with pytest.raises(UnjudgedError, match=f"doesn't tell how \\{stage.kind} read its collection"):
        broken(plan(stage), parse("collscan"))


def test_a_scan_in_a_branch_breaks_the_gate() -> None:
    branch = collscan()
    branch.branch, branch.details = "users", {"namespace": "shop.users"}
    union = Stage("$unionWith", [fetch(ixscan()), branch], details={"coll": "users"})
    assert texts(plan(union), "collscan") == ["users is read as a whole"]


@pytest.mark.parametrize("gates", ["collscan", "sort", "ratio:10", "keys:10", "docs:10", "ms:5"])
def test_a_plan_that_reads_nothing_is_no_pass(gates: str) -> None:
    with pytest.raises(UnjudgedError, match="orders wasn't read at all") as raised:
        broken(plan(Stage("EOF", output=0)), parse(gates))
    assert (raised.value.exit_code, raised.value.details) == (1, {"gate": gates})


def test_a_join_with_a_collection_that_is_not_there_is_no_pass() -> None:
    details = {"foreignCollection": "shop.users", "strategy": "NonExistentForeignCollection"}
    with pytest.raises(UnjudgedError, match="users wasn't read at all"):
        broken(plan(Stage("EQ_LOOKUP", [fetch(ixscan())], details=details)), parse("collscan"))


@pytest.mark.parametrize("gates", ["ratio:10", "keys:10", "docs:10", "ms:5"])
def test_a_figure_that_is_not_there_is_no_pass(gates: str) -> None:
    planned = plan(fetch(ixscan(None, None), None, None), executed=False)
    with pytest.raises(UnjudgedError, match=f"{gates}: the server gave no such figure"):
        broken(planned, parse(gates))
    with pytest.raises(UsageError, match=f"{gates} can't be judged without running the query"):
        refuse_unrun(parse(f"collscan,{gates}"))
    refuse_unrun(parse("collscan,sort"))


@pytest.mark.parametrize("kind", ["SORT", "$sort"])
def test_a_sort_in_memory_breaks_the_gate_and_a_merge_does_not(kind: str) -> None:
    (failure,) = broken(plan(Stage(kind, [fetch(ixscan())], output=31)), parse("sort"))
    assert (failure.stage, failure.text) == (kind, "sorted in memory, not by an index")
    assert texts(plan(fetch(Stage("SORT_MERGE", [ixscan(), ixscan()], output=31))), "sort") == []


def test_a_group_does_not_make_a_ratio() -> None:
    # 31 documents examined for one that is returned: all of them were needed.
    assert texts(plan(Stage("$group", [fetch(ixscan())], output=1)), "ratio:1") == []


def test_the_ratio_is_that_of_the_worst_way() -> None:
    poor = fetch(ixscan(900, 900, index="city_1", pattern={"city": 1}), 900, 3)
    (failure,) = broken(plan(Stage("SHARD_MERGE", [fetch(ixscan()), poor], output=34)), parse("ratio:10"))
    assert failure.measured == 300
    assert "900 examined to find 3 in orders by city_1: a ratio of 300 (limit 10)" in failure.text


def test_a_way_that_found_nothing_counts_as_one_that_found_one() -> None:
    assert texts(plan(collscan(9, 0)), "ratio:9") == []
    assert len(texts(plan(collscan(10, 0)), "ratio:9")) == 1


def test_a_time_series_goes_by_its_own_name() -> None:
    found = plan(collscan())
    found.namespace = "shop.system.buckets.weather"
    assert texts(found, "collscan") == ["weather is read as a whole"]


def test_every_broken_gate_is_told_in_its_order() -> None:
    found = broken(plan(Stage("SORT", [collscan()], output=31)), parse("docs:10,sort,ratio:5,collscan"))
    assert [failure.gate for failure in found] == ["docs:10", "sort", "ratio:5", "collscan"]


def test_a_count_scan_is_limited_where_its_keys_are() -> None:
    bounds = {
        "startKey": {"status": "pending", "created_at": MinKey()},
        "startKeyInclusive": True,
        "endKey": {"status": "pending", "created_at": MaxKey()},
        "endKeyInclusive": True,
    }
    scan = Stage("COUNT_SCAN", index="s", pattern={"status": 1, "created_at": 1}, bounds=bounds)
    (way,) = accesses(plan(Stage("COUNT", [scan])))
    assert (way.bounded, way.covered) == (("status",), True)


def test_gates_come_as_a_list_too() -> None:
    assert gates_of(["collscan", "keys:5"], "fail_on") == [Gate("collscan"), Gate("keys", 5)]
    with pytest.raises(UsageError, match=r"^fail_on: 'sorts' is no gate"):
        gates_of(["sorts"], "fail_on")
