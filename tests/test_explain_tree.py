"""How a plan looks to people: the head, the tree and its columns, at a terminal's width and in a pipe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from motorctl.commands import explain_tree, explain_words
from motorctl.core.explain.advice import Sentence
from motorctl.core.explain.read import read

PLANS = sorted(Path(__file__).with_name("plans").glob("*.json"))


def kept(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(__file__).with_name("plans") / f"{name}.json").read_text())
    return dict(found["document"])


def classic(stage: dict[str, Any], **stats: Any) -> dict[str, Any]:
    planner = {"namespace": "shop.orders", "winningPlan": stage, "rejectedPlans": []}
    return {"queryPlanner": planner, "executionStats": {"executionStages": stage, **stats}}


def drawn(document: dict[str, Any], *, width: int | None = None) -> str:
    return "\n".join(line.text for line in explain_tree.lines(read(document), width=width))


def test_a_tree_has_figures_of_each_stage_in_columns() -> None:
    assert drawn(kept("slot_based_or")).splitlines()[4:] == [
        "stage                    in  out  keys  docs  own ms",
        "FETCH                    34   34          34       0",
        "OR                       34   34                   0",
        "|- IXSCAN status_1_n_1         1     1             0",
        '|     status = "x"',
        "|     n = 5",
        "`- FETCH                100   33         100       0 <- worst",
        '      filter {"status":{"$eq":"x"}}',
        "   IXSCAN m_1                100   100             0",
        "      m = 3",
    ]


def test_a_tree_on_a_terminal_names_shards_and_marks_the_worst() -> None:
    assert drawn(kept("shard_merge_mixed"), width=80).splitlines() == [
        "mixed: mongodb.fanclub by the index age_1, and a collection as a whole",
        "22,528 returned, 15,485 keys and 330,552 documents examined, 44.7 for each one",
        "found, 260 ms",
        "no sort in memory, no rejected plans, 3 shards, classic engine, MongoDB 3.2.6",
        "",
        "stage                            in     out   keys     docs  own ms",
        "SHARD_MERGE                  22,528  22,528                      70",
        "├─ shard01: SHARDING_FILTER   7,043   7,043                      30",
        "│  COLLSCAN                           7,043         315,067     160 ◀ worst",
        '│     filter {"age":{"$eq":40}}',
        "├─ shard02: SHARDING_FILTER   8,254   8,254                       0",
        "│  FETCH                      8,254   8,254           8,254      20",
        "│  IXSCAN age_1                       8,254  8,254               10",
        "│     age = 40.0",
        "└─ shard03: SHARDING_FILTER   7,231   7,231                      20",
        "   FETCH                      7,231   7,231           7,231       0",
        "   IXSCAN age_1                       7,231  7,231               20",
        "      age = 40.0",
    ]


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
@pytest.mark.parametrize("width", [80, 120])
def test_every_plan_fits_the_terminal(path: Path, width: int) -> None:
    text = drawn(json.loads(path.read_text())["document"], width=width)

    assert max(cell_len(line) for line in text.splitlines()) <= width


def test_a_long_pipeline_with_long_names_fits_80_columns() -> None:
    name = "status_1_created_at_-1_customer.address.country_1_customer.segment_1"
    scan = {"stage": "IXSCAN", "indexName": name, "keysExamined": 5_000_000, "nReturned": 5_000_000}
    stats = {"executionStages": scan, "nReturned": 5_000_000, "totalKeysExamined": 5_000_000}
    cursor = {"queryPlanner": {"namespace": "shop.orders", "winningPlan": scan}, "executionStats": stats}
    group = {"$group": {"_id": "$a"}, "nReturned": 4_000_000, "executionTimeMillisEstimate": 12_345}
    text = drawn({"stages": [{"$cursor": cursor}, *[group] * 15]}, width=80)

    assert max(cell_len(line) for line in text.splitlines()) <= 80
    assert f"   {name}" in text


def test_wide_characters_take_two_cells() -> None:
    name = "注文状態_1_顧客住所国_-1_担当者名前_1"
    scan = {
        "stage": "IXSCAN",
        "indexName": name,
        "indexBounds": {"国": ['["日本", "日本"]'], "状態": ['["' + "支払済み" * 20 + '", {})']},
        "filter": {"備考": "配達🚚" * 20},
        "keysExamined": 50_000_000,
        "nReturned": 50_000_000,
        "executionTimeMillisEstimate": 123_456,
    }
    cursor = classic(scan, nReturned=50_000_000, totalKeysExamined=50_000_000)
    join = {"from": "顧客" * 25, "localField": "客", "foreignField": "_id"}
    lookup = {"$lookup": join, "nReturned": 40_000_000, "totalDocsExamined": 10_000_000, "collectionScans": 2}
    plan = read({"stages": [{"$cursor": cursor}, {**lookup, "executionTimeMillisEstimate": 999_999}]})
    advice = [Sentence("create", "注文 の索引 " * 20)]
    found = [line.text for line in explain_tree.lines(plan, advice, width=80)]

    assert max(cell_len(line) for line in found) <= 80
    (marked,) = (line for line in found if "◀" in line)
    assert marked.startswith("$lookup")


def test_what_handing_documents_over_took_is_told() -> None:
    scan = {"stage": "COLLSCAN", "docsExamined": 9, "nReturned": 9, "executionTimeMillisEstimate": 2}
    step = {"$cursor": classic(scan, nReturned=9), "executionTimeMillisEstimate": 40}
    text = drawn(
        {"stages": [step, {"$group": {"_id": 1}, "nReturned": 1, "executionTimeMillisEstimate": 44}]}
    )

    assert "38 ms more to hand them to the pipeline" in text


def test_a_join_that_does_not_tell_how_it_reads_is_named() -> None:
    scan = {"stage": "IXSCAN", "indexName": "a_1", "keysExamined": 1, "nReturned": 1}
    lookup = {"$lookup": {"from": "users"}, "nReturned": 1}
    stages = [{"$cursor": classic(scan, nReturned=1)}, lookup]

    assert "how $lookup users reads isn't told" in drawn({"stages": stages})
    lookup |= {"collectionScans": 0, "indexesUsed": ["_id_"]}
    assert "isn't told" not in drawn({"stages": stages})


def test_a_join_reads_no_oftener_than_documents_come_in() -> None:
    """6.0.5 counts each scan twice."""
    scan = {"stage": "IXSCAN", "indexName": "a_1", "keysExamined": 2, "nReturned": 2}
    lookup = {"$lookup": {"from": "users"}, "nReturned": 2, "totalDocsExamined": 20, "collectionScans": 4}
    text = drawn({"stages": [{"$cursor": classic(scan, nReturned=2)}, lookup]})

    assert "read it as a whole 2 times" in text


def test_in_a_pipe_nothing_is_cut() -> None:
    long = {"$in": [f"value number {n}" for n in range(50)]}
    document = {
        "queryPlanner": {"namespace": "a.b", "winningPlan": {"stage": "COLLSCAN", "filter": {"x": long}}}
    }

    assert '"value number 49"]}}' in drawn(document)
    assert "..." not in drawn(document)
    assert "…" in drawn(document, width=80)


def test_dozens_of_stages_that_look_alike_are_one_line() -> None:
    text = drawn(kept("sharded_geo_split"))

    assert "6 x FETCH" in text
    assert text.count("IXSCAN address_location") == 2


def test_names_from_the_database_cannot_drive_the_terminal() -> None:
    scan = {"stage": "IXSCAN", "indexName": "\x1b[2Jred\n_1", "indexBounds": {"\x07bell": ["[1, 1]"]}}
    text = drawn({"queryPlanner": {"namespace": "a.b", "winningPlan": scan}}, width=80)

    assert "\x1b" not in text
    assert "\x07" not in text
    assert r"\x1b[2Jred\n_1" in text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('["paid", "paid"]', '= "paid"'),
        ("[3, 3]", "= 3"),
        ('["a, a", "a, a"]', '= "a, a"'),
        ("[MinKey, MaxKey]", "[MinKey, MaxKey]"),
        ("(3, 3]", "(3, 3]"),
        ("[3, 33]", "[3, 33]"),
        ("[]", "[]"),
    ],
)
def test_an_interval_of_one_value_is_shown_as_that(text: str, shown: str) -> None:
    assert explain_words.interval(text) == shown


def test_a_stage_that_is_not_known_is_shown_with_its_name() -> None:
    text = drawn({"queryPlanner": {"namespace": "a.b", "winningPlan": {"stage": "QUANTUM_SCAN"}}})

    assert text.splitlines()[0] == "mixed: a.b in a way that isn't known here"
    assert text.splitlines()[-1] == "QUANTUM_SCAN"


def test_many_intervals_are_counted() -> None:
    scan = {"stage": "IXSCAN", "indexName": "a_1", "indexBounds": {"a": [f"[{n}, {n}]" for n in range(9)]}}

    assert "a = 0, = 1, = 2 and 6 more" in drawn({"queryPlanner": {"namespace": "a.b", "winningPlan": scan}})


def test_advice_stands_below_the_tree_with_its_command() -> None:
    advice = [Sentence("create", "an index {a: 1} would serve it", command="motorctl indexes create b a")]
    plan = read({"queryPlanner": {"namespace": "a.b", "winningPlan": {"stage": "COLLSCAN"}}})
    text = [line.text for line in explain_tree.lines(plan, advice, width=80)]

    assert text[-3:] == ["", "- an index {a: 1} would serve it", "  motorctl indexes create b a"]
