"""`motorctl explain find|aggregate|count|distinct|read`: what a user sees of a plan, and what scripts get."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Runner
    from pymongo.database import Database as SyncDatabase

    Documents = SyncDatabase[dict[str, Any]]

FIXED = {
    "verdict",
    "index",
    "stages",
    "returned",
    "keys_examined",
    "docs_examined",
    "ms",
    "in_memory_sort",
    "rejected_plans",
    "advice",
}
PAID = '{"status": "paid"}'


@pytest.fixture(autouse=True)
def orders(sync_db: Documents) -> None:
    sync_db["orders"].insert_many(
        [{"_id": n, "status": ("paid", "open")[n % 2], "day": n % 7, "amount": n} for n in range(100)]
    )
    sync_db["orders"].create_index([("status", 1), ("amount", 1)])
    sync_db["users"].insert_many([{"_id": n, "number": n} for n in range(7)])


def kept(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(__file__).with_name("plans") / f"{name}.json").read_text())
    return dict(found["document"])


# -- what scripts get -------------------------------------------------------------------------------------


def test_json_has_the_fields_of_the_contract(cli: Runner, dbname: str) -> None:
    found = cli("explain", "find", "orders", "--filter", PAID, "-o", "json").json()

    assert set(found) >= FIXED
    assert {key: found[key] for key in FIXED - {"stages", "ms", "advice"}} == {
        "verdict": "ixscan",
        "index": "status_1_amount_1",
        "returned": 50,
        "keys_examined": 50,
        "docs_examined": 50,
        "in_memory_sort": False,
        "rejected_plans": 0,
    }
    assert isinstance(found["ms"], int)
    assert (found["namespace"], found["ratio"], found["executed"]) == (f"{dbname}.orders", 1.0, True)


def test_json_has_the_stages_as_a_flat_list_from_the_top(cli: Runner) -> None:
    found = cli("explain", "find", "orders", "--filter", PAID, "-o", "json").json()
    shown = [
        {key: stage[key] for key in ("stage", "depth", "in", "out", "keys_examined", "docs_examined")}
        for stage in found["stages"]
    ]

    assert shown == [
        {"stage": "FETCH", "depth": 0, "in": 50, "out": 50, "keys_examined": None, "docs_examined": 50},
        {"stage": "IXSCAN", "depth": 1, "in": None, "out": 50, "keys_examined": 50, "docs_examined": None},
    ]
    assert found["stages"][1]["bounds"]["status"] == ['["paid", "paid"]']


def test_a_filter_keeps_its_types_in_json(cli: Runner) -> None:
    wanted = '{"at": {"$gt": {"$date": "2026-03-01T00:00:00Z"}}, "by": {"$oid": "64b7f0c2a1b2c3d4e5f60718"}}'
    found = cli("explain", "find", "orders", "--filter", wanted, "-o", "json").json()

    assert found["stages"][0]["filter"] == {
        "$and": [
            {"by": {"$eq": {"$oid": "64b7f0c2a1b2c3d4e5f60718"}}},
            {"at": {"$gt": {"$date": "2026-03-01T00:00:00Z"}}},
        ]
    }


def test_csv_and_markdown_have_a_row_a_stage(cli: Runner) -> None:
    arguments = ("explain", "find", "orders", "--filter", PAID)
    csv = cli(*arguments, "-o", "csv").stdout.splitlines()
    markdown = cli(*arguments, "-o", "markdown").stdout.splitlines()

    assert csv[0] == "stage,depth,shard,branch,index,in,out,keys_examined,docs_examined,ms"
    assert csv[2].startswith("IXSCAN,1,,,status_1_amount_1,,50,50,,")
    assert markdown[3].startswith("| IXSCAN | 1 |  |  | status_1_amount_1 |")


@pytest.mark.parametrize("format", ["table", "json"])
def test_raw_is_the_servers_document_and_read_shows_the_same_plan(cli: Runner, format: str) -> None:
    raw = cli("explain", "find", "orders", "--filter", PAID, "--raw", "-o", format)
    direct = cli("explain", "find", "orders", "--filter", PAID, "--no-advice", "-o", "json").json()
    found = cli("explain", "read", "-", "-o", "json", stdin=raw.stdout, connected=False).json()

    assert raw.json()["executionStats"]["nReturned"] == 50
    assert {key: found[key] for key in FIXED - {"ms", "stages"}} == {
        key: direct[key] for key in FIXED - {"ms", "stages"}
    }


def test_no_run_has_a_plan_and_no_figures(cli: Runner) -> None:
    found = cli("explain", "find", "orders", "--filter", PAID, "--no-run", "-o", "json").json()

    assert (found["verdict"], found["executed"]) == ("ixscan", False)
    assert [found[name] for name in ("returned", "keys_examined", "docs_examined", "ms")] == [None] * 4


# -- the verbs and what they take -------------------------------------------------------------------------


def test_find_takes_what_a_find_has(cli: Runner, sync_db: Documents) -> None:
    sync_db["orders"].create_index([("day", 1)])
    found = cli(
        "explain",
        "find",
        "orders",
        *("--filter", PAID, "--sort", "-day,amount", "--projection", '{"day": 1}'),
        *("--skip", "2", "--limit", "3", "--hint", '{"day": 1}', "--collation", "simple"),
        *("--no-advice", "-o", "json"),
    ).json()

    assert (found["index"], found["returned"], found["in_memory_sort"]) == ("day_1", 3, True)
    assert {stage["stage"] for stage in found["stages"]} >= {"PROJECTION_SIMPLE", "SORT", "SKIP", "IXSCAN"}
    (sort,) = (stage for stage in found["stages"] if stage["stage"] == "SORT")
    assert sort["details"]["sortPattern"] == {"day": -1, "amount": 1}


def test_a_sort_can_be_a_document(cli: Runner, sync_db: Documents) -> None:
    sync_db["orders"].create_index([("status", "text")])
    result = cli(
        "explain",
        "find",
        "orders",
        *("--filter", '{"$text": {"$search": "paid"}}', "--sort", '{"s": {"$meta": "textScore"}}'),
    )

    assert result.code == 0
    assert "TEXT_OR" in result.stdout


def test_count_says_how_many_were_counted(cli: Runner) -> None:
    result = cli("explain", "count", "orders", "--filter", PAID)

    assert result.stdout.splitlines()[1].startswith("50 counted, 51 keys and 0 documents examined")
    assert "COUNT_SCAN status_1_amount_1" in result.stdout


def test_distinct_reads_one_key_a_value(cli: Runner) -> None:
    found = cli("explain", "distinct", "orders", "status", "-o", "json").json()

    assert (found["verdict"], found["returned"], found["keys_examined"]) == ("ixscan", 2, 2)


@pytest.mark.parametrize("given", ["argument", "file", "stdin"])
def test_a_pipeline_comes_from_the_argument_a_file_or_stdin(cli: Runner, tmp_path: Path, given: str) -> None:
    text = '[{"$match": {"status": "paid"}}, {"$group": {"_id": "$day"}}]'
    (tmp_path / "pipeline.json").write_text(text)
    argument = {"argument": text, "file": f"@{tmp_path / 'pipeline.json'}", "stdin": "-"}[given]
    found = cli("explain", "aggregate", "orders", argument, "-o", "json", stdin=text).json()

    assert (found["verdict"], found["returned"], found["docs_examined"], found["ratio"]) == (
        "ixscan",
        7,
        50,
        1,
    )


def test_a_pipelines_variables_are_filled_in(cli: Runner) -> None:
    pipeline = (
        '[{"$match": {"status": {"$var": "wanted"}}}, {"$match": {"$expr": {"$gt": ["$amount", "$$least"]}}}]'
    )
    found = cli(
        "explain", "aggregate", "orders", pipeline, "--var", "wanted=paid", "--var", "least=50", "-o", "json"
    ).json()

    assert (found["index"], found["returned"]) == ("status_1_amount_1", 24)


@pytest.mark.parametrize("stage", ['{"$out": "written"}', '{"$merge": "written"}'])
def test_a_pipeline_that_writes_is_planned_and_never_run(cli: Runner, sync_db: Documents, stage: str) -> None:
    result = cli("explain", "aggregate", "orders", f"[{stage}]")

    assert result.code == 0
    assert "planned, not run" in result.stdout
    assert "the pipeline writes: it is planned, and not run" in result.stderr
    assert "written" not in sync_db.list_collection_names()


def test_a_pipeline_of_the_database_itself(cli: Runner) -> None:
    found = cli("explain", "aggregate", ".", "[{$documents: [{a: 1}, {a: 2}]}]", "-o", "json").json()

    assert (found["verdict"], found["returned"], found["advice"]) == ("eof", 2, [])


def test_what_a_lookup_reads_is_shown_with_it(cli: Runner) -> None:
    join = {"from": "users", "localField": "day", "foreignField": "number", "as": "user"}
    pipeline = json.dumps([{"$match": {"status": "paid"}}, {"$lookup": join}, {"$unwind": "$user"}])
    result = cli("explain", "aggregate", "orders", pipeline)

    assert result.stdout.startswith("mixed: ")
    assert "$lookup users" in result.stdout
    assert "number = day" in result.stdout
    assert "read it as a whole" in result.stdout


# -- gates ------------------------------------------------------------------------------------------------


def test_a_broken_gate_is_8_and_the_plan_is_shown_all_the_same(cli: Runner) -> None:
    result = cli("explain", "find", "orders", "--filter", '{"day": 3}', "--fail-on", "collscan,ratio:2")

    assert result.code == 8
    assert result.stdout.startswith("collscan: ")
    assert "collscan: orders is read as a whole" in result.stderr
    assert "ratio:2: " in result.stderr


def test_broken_gates_are_in_json_and_kept_ones_an_empty_list(cli: Runner) -> None:
    broken = cli(
        "explain", "find", "orders", "--filter", '{"day": 3}', "--fail-on", "collscan,sort", "-o", "json"
    )
    fine = cli("explain", "find", "orders", "--filter", PAID, "--fail-on", "collscan", "-o", "json")

    assert (broken.code, [one["gate"] for one in broken.json()["failures"]]) == (8, ["collscan"])
    assert (fine.code, fine.json()["failures"]) == (0, [])
    assert "failures" not in cli("explain", "find", "orders", "-o", "json").json()


def test_a_baseline_is_kept_and_held(cli: Runner, sync_db: Documents, tmp_path: Path) -> None:
    """A dropped index turns the gate red."""
    arguments = ("explain", "find", "orders", "--filter", PAID, "--baseline", str(tmp_path / "plans.json"))
    assert cli(*arguments, "--update-baseline").code == 0
    assert cli(*arguments).code == 0

    sync_db["orders"].drop_index("status_1_amount_1")

    assert cli(*arguments).code == 8


def test_a_baselines_entry_is_called_by_its_name(cli: Runner, tmp_path: Path) -> None:
    """One name, whatever the query becomes: else a changed filter would be another entry."""
    book = tmp_path / "plans.json"
    arguments = ("explain", "find", "orders", "--baseline", str(book), "--name", "paid ones", "--no-advice")
    assert cli(*arguments, "--filter", PAID, "--update-baseline").code == 0
    assert list(json.loads(book.read_text())["queries"]) == ["paid ones"]

    result = cli(*arguments, "--filter", '{"day": 3}')

    assert result.code == 8
    assert "reads orders as a whole, not by status_1_amount_1" in result.stderr


@pytest.mark.parametrize(
    "verb", [("count", "orders"), ("distinct", "orders", "day"), ("aggregate", "orders", "[]")]
)
def test_each_verb_takes_a_name(cli: Runner, tmp_path: Path, verb: tuple[str, ...]) -> None:
    book = tmp_path / "plans.json"
    options = ("--baseline", str(book), "--update-baseline", "--name", "mine", "--no-advice")

    assert cli("explain", *verb, *options).code == 0
    assert list(json.loads(book.read_text())["queries"]) == ["mine"]


def test_a_gate_that_cannot_be_judged_shows_the_plan_and_is_no_pass(cli: Runner) -> None:
    result = cli("explain", "find", "absent", "--fail-on", "collscan")

    assert result.code == 1
    assert result.stdout.startswith("eof: ")


# -- errors -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--raw", "--fail-on", "sort"), "--raw shows what the server says"),
        (("--raw", "--try-index"), "--raw shows what the server says"),
        (("--no-run", "--fail-on", "ms:5"), "ms:5 can't be judged without running the query"),
        (("--no-run", "--try-index"), "not with --no-run"),
        (("--no-advice", "--try-index"), "not with --no-advice"),
        (("--sample", "5"), "--sample goes with --try-index"),
        (("--dry-run",), "--dry-run goes with --try-index"),
        (("--name", "mine"), "--name is the query's in --baseline's file"),
        (("--name", " ", "--baseline", "plans.json"), "--name is empty"),
        (("--filter", "{status"), "--filter: not JSON"),
        (("--filter", "[]"), "--filter: not a JSON object"),
        (("--sort", "$x"), "--sort: '$x' is not a field"),
        (("--fail-on", "fast"), "'fast' is no gate"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_usage_is_2_and_asks_no_server(cli: Runner, arguments: tuple[str, ...], sentence: str) -> None:
    result = cli("explain", "find", "orders", *arguments, connected=False)

    assert result.code == 2
    assert sentence in result.stderr
    assert result.stdout == ""


def test_a_query_that_fails_is_1_and_its_plan_is_shown(cli: Runner) -> None:
    result = cli("explain", "find", "orders", "--filter", '{"$expr": {"$divide": [1, "$amount"]}}')

    assert result.code == 1
    assert "failed: can't $divide by zero" in result.stdout
    assert "error: can't $divide by zero" in result.stderr


def test_a_query_that_takes_too_long_is_3(cli: Runner) -> None:
    result = cli(
        "explain", "find", "orders", "--filter", '{"$where": "sleep(20) || true"}', "--max-time", "0.1"
    )

    assert result.code == 3
    assert "the server gave up after its time limit" in result.stderr


def test_a_query_that_needs_an_index_says_which(cli: Runner) -> None:
    result = cli("explain", "find", "orders", "--filter", '{"$text": {"$search": "x"}}')

    assert result.code == 1
    assert "text index required" in result.stderr
    assert "motorctl indexes create orders" in result.stderr


def test_a_hint_of_a_hidden_index_is_2_and_repeats_no_value(cli: Runner, sync_db: Documents) -> None:
    sync_db["orders"].create_index([("day", 1)], hidden=True)
    result = cli("explain", "find", "orders", "--filter", '{"day": 123456}', "--hint", "day_1")

    assert result.code == 2
    assert "--hint: no such index of orders, or a hidden one" in result.stderr
    assert "123456" not in result.stderr


def test_a_query_that_is_refused_is_not_repeated(cli: Runner) -> None:
    """The server puts the whole query before its reason, values and all."""
    given = '{"status": "secret", "place": {"$near": [1, 2]}}'
    result = cli("explain", "find", "orders", "--filter", given)

    assert result.code == 1
    assert result.stderr.splitlines()[0].startswith("error: unable to find index for $geoNear query")
    assert "secret" not in result.stderr


def test_the_stage_that_the_server_refuses_is_named(cli: Runner) -> None:
    pipeline = '[{"$match": {"day": 1}}, {"$project": {"x": {"$bar": 1}}}, {"$limit": 1}]'
    result = cli("explain", "aggregate", "orders", pipeline, "-o", "json")

    assert result.code == 1
    error = json.loads(result.stderr)["error"]
    assert (error["stage"], error["operator"]) == (2, "$project")
    assert error["message"].startswith("stage 2 ($project): ")


# -- advice, and a trial of it ----------------------------------------------------------------------------


def test_the_missing_index_is_advised_with_its_command(cli: Runner) -> None:
    arguments = ("explain", "find", "orders", "--filter", '{"day": 3}')
    found = cli(*arguments, "-o", "json").json()
    text = cli(*arguments)

    (create,) = (one for one in found["advice"] if one["kind"] == "create")
    assert create["command"] == "motorctl indexes create orders day"
    assert "\n  motorctl indexes create orders day\n" in text.stdout
    assert cli(*arguments, "--no-advice", "-o", "json").json()["advice"] == []


def test_an_index_is_tried_on_a_copy_and_nothing_stays(cli: Runner, sync_db: Documents) -> None:
    before = sorted(sync_db.list_collection_names()), sync_db["orders"].index_information()
    arguments = ("explain", "find", "orders", "--filter", '{"day": 3}', "--try-index")
    result = cli(*arguments, "-o", "json")
    text = cli(*arguments)

    trial = result.json()["trial"]
    assert (trial["before"]["verdict"], trial["after"]["verdict"], trial["chosen"]) == (
        "collscan",
        "ixscan",
        True,
    )
    assert "with day_1, on 100 of 100 documents:" in text.stdout
    assert (sorted(sync_db.list_collection_names()), sync_db["orders"].index_information()) == before


def test_a_dry_run_of_a_trial_copies_nothing(cli: Runner) -> None:
    result = cli(
        "explain", "find", "orders", "--filter", '{"day": 3}', "--try-index", "--dry-run", "-o", "json"
    )

    assert result.code == 0
    assert "trial" not in result.json()
    assert "are copied to" in result.stderr


# -- a saved document -------------------------------------------------------------------------------------

MONGOSH = """{
  explainVersion: '1',
  queryPlanner: {
    namespace: 'shop.orders',
    parsedQuery: { at: { '$gt': ISODate('2026-01-01T00:00:00.000Z') } },
    winningPlan: { stage: 'COLLSCAN', filter: { at: { '$gt': ISODate('2026-01-01T00:00:00.000Z') } } },
    rejectedPlans: []
  },
  executionStats: {
    executionSuccess: true, nReturned: 1, executionTimeMillis: 3, totalKeysExamined: 0, totalDocsExamined: 5,
    executionStages: { stage: 'COLLSCAN', nReturned: 1, executionTimeMillisEstimate: 0, docsExamined: 5 }
  },
  serverInfo: { host: 'a', port: 27017, version: '7.0.2' },
  ok: 1,
  '$clusterTime': {
    clusterTime: Timestamp({ t: 1700000000, i: 1 }),
    signature: { hash: Binary.createFromBase64('AAAAAAAAAAAAAAAAAAAAAAAAAAA=', 0), keyId: Long('0') }
  },
  operationTime: Timestamp({ t: 1700000000, i: 1 })
}
"""


def test_what_mongosh_prints_can_be_read(cli: Runner, tmp_path: Path) -> None:
    (tmp_path / "plan.txt").write_text(MONGOSH)
    found = cli("explain", "read", str(tmp_path / "plan.txt"), "-o", "json", connected=False).json()

    assert (found["verdict"], found["docs_examined"], found["ratio"], found["server_version"]) == (
        "collscan",
        5,
        5.0,
        "7.0.2",
    )


@pytest.mark.parametrize(
    "signature",
    ['Binary(Buffer.from("0000", "hex"), 0)', 'Binary.createFromBase64("AAAA", 0)', "BinData(0, 'AAAA')"],
    ids=["mongosh 1", "mongosh 2", "the mongo shell"],
)
def test_what_each_shell_prints_beside_a_plan_is_no_hindrance(cli: Runner, signature: str) -> None:
    saved = MONGOSH.replace("Binary.createFromBase64('AAAAAAAAAAAAAAAAAAAAAAAAAAA=', 0)", signature)
    assert signature in saved
    result = cli("explain", "read", "-", stdin=saved, connected=False)

    assert (result.code, result.stdout.startswith("collscan: shop.orders")) == (0, True)


def test_what_a_shell_has_cut_off_is_2_and_the_hint_says_how_to_save_it(cli: Runner) -> None:
    saved = MONGOSH.replace("{ '$gt': ISODate('2026-01-01T00:00:00.000Z') }", "[Object]")
    result = cli("explain", "read", "-", stdin=saved, connected=False)

    assert result.code == 2
    assert "stdin: the shell has left out a part of it, [Object]" in result.stderr
    assert "EJSON.stringify" in result.stderr


def test_a_saved_list_is_read_by_its_first_document(cli: Runner) -> None:
    saved = json.dumps([kept("express_ixscan")])
    result = cli("explain", "read", "-", stdin=saved, connected=False)

    assert result.stdout.startswith("express: airbnb.t by a short way past the planner")


def test_a_saved_plan_is_held_against_gates(cli: Runner) -> None:
    saved = json.dumps(kept("shard_merge_mixed"))

    assert cli("explain", "read", "-", "--fail-on", "sort", stdin=saved, connected=False).code == 0
    assert cli("explain", "read", "-", "--fail-on", "collscan", stdin=saved, connected=False).code == 8


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "stdin:1:"),
        ("[]", "stdin: not an explain document"),
        ("5", "stdin: not an explain document"),
        ('{"ok": 1}', "not an explain document: it has neither queryPlanner nor stages nor shards"),
    ],
)
def test_what_is_no_plan_is_2_with_a_hint(cli: Runner, content: str, sentence: str) -> None:
    result = cli("explain", "read", "-", stdin=content, connected=False)

    assert result.code == 2
    assert sentence in result.stderr


def test_a_file_that_is_not_there_is_2(cli: Runner) -> None:
    result = cli("explain", "read", "absent.json", connected=False)

    assert result.code == 2
    assert "absent.json" in result.stderr


# -- to look at -------------------------------------------------------------------------------------------


def test_a_tree_in_a_pipe_is_plain_ascii(cli: Runner) -> None:
    result = cli("explain", "find", "orders", "--filter", PAID)

    assert result.stdout.isascii()
    assert "\x1b" not in result.stdout
    assert "FETCH" in result.stdout
