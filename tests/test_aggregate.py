"""Any pipeline, as a user types it: what is sent, what is shown, and where an error is."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING, Any

import pymongo
import pytest
from bson import Decimal128
from bson.datetime_ms import DatetimeMS
from conftest import command, until
from processes import watched

from motorctl.core.aggregation import checked, filled, inlined, stage_name, writes
from motorctl.core.aggregation.stages import PipelineError
from motorctl.core.aggregation.variables import value_of
from motorctl.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Runner
    from pymongo.database import Database as SyncDatabase

    Documents = SyncDatabase[dict[str, Any]]

COUNT = '[{"$group": {"_id": "$kind", "n": {"$sum": 1}}}, {"$sort": {"_id": 1}}]'


@pytest.fixture
def things(sync_db: Documents) -> Documents:
    sync_db.things.insert_many(
        [{"_id": n, "kind": "ab"[n % 2], "price": Decimal128("1.50")} for n in range(5)]
    )
    return sync_db


# --- what is typed -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("things")
def test_a_pipeline_from_argument_file_and_stdin(cli: Runner, tmp_path: Path) -> None:
    file = tmp_path / "count.json"
    file.write_text(COUNT)
    expected = [{"_id": "a", "n": 3}, {"_id": "b", "n": 2}]

    assert cli("aggregate", "things", COUNT, "-o", "json").json() == expected
    assert cli("aggregate", "things", f"@{file}", "-o", "json").json() == expected
    assert cli("aggregate", "things", "-", "-o", "json", stdin=COUNT).json() == expected
    assert cli("aggregate", "things", COUNT).stdout == "_id  n\na    3\nb    2\n"
    assert cli("aggregate", "things", '{"$count": "n"}', "-o", "ndjson").stdout == '{"n":5}\n'


@pytest.mark.usefixtures("things")
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.yaml", "# how many\n- $match:\n    _id: {$gte: 3}\n- $count: n\n"),
        ("p.yml", '[{"$match": {"_id": {"$gte": 3}}}, {"$count": "n"}]'),
        ("p.txt", "---\n- $match: {_id: {$gte: 3}}\n- $count: n\n"),
        ("p.js", "// how many\n[{$match: {_id: {$gte: NumberInt(3)}}}, {$count: 'n'},];\n"),
        ("p.json", '\ufeff[{"$match": {"_id": {"$gte": {"$numberLong": "3"}}}}, {"$count": "n"}]'),
    ],
)
def test_a_file_is_json_yaml_or_copied_from_mongosh(
    cli: Runner, tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)
    assert cli("aggregate", "things", f"@{tmp_path / name}", "-o", "ndjson").stdout == '{"n":2}\n'
    assert cli("aggregate", "things", "-", "-o", "ndjson", stdin=text).stdout == '{"n":2}\n'


@pytest.mark.usefixtures("things")
def test_documents_are_extended_json_relaxed_or_canonical(cli: Runner) -> None:
    one = '[{"$match": {"_id": {"$numberInt": "0"}}}]'

    for form in ("json", "ndjson"):
        shown = json.loads(cli("aggregate", "things", one, "-o", form).stdout)
        relaxed = {"_id": 0, "kind": "a", "price": {"$numberDecimal": "1.50"}}
        assert (shown[0] if form == "json" else shown) == relaxed
        shown = json.loads(cli("aggregate", "things", one, "--canonical", "-o", form).stdout)
        assert (shown[0] if form == "json" else shown)["_id"] == {"$numberInt": "0"}


PIPELINES = [
    ("[", ":1:1: this [ is not closed"),
    ("3", ":1:1: a pipeline is an array of stages"),
    ("[3]", ":1:2: stage 1 is not an object with one operator"),
    (
        '[{"$match": {}},\n {"$limit": 1, "$skip": 1}]',
        ":2:2: stage 2 is not an object with one operator: it has $limit and $skip",
    ),
    ('[{"match": {}}]', "did you mean '$match'?"),
    ('[{"$match": {}},\n{"mtch": 1}]', "did you mean '$match'?"),
    ('[{"$facet": {"a": [{"$limit": 1}, 3]}}]', ":1:35: stage 1, $facet.a, stage 2 is not an object"),
    ('[{"$out": "x"}, {"$limit": 1}]', ":1:2: stage 1 of 2: $out stands last in a pipeline"),
    ('[{"$limit": 1, "$limit": 2}]', ":1:16: the key '$limit' stands twice"),
    ('[{"$match": {"a": {"$oid": "x"}}}]', ":1:19: $oid needs 24 hexadecimal digits"),
    ('[{"$match": {"a": 1}}, {"$limit": 5]', ":1:36: a comma or } is missing before ']'"),
    ("[{$match: {status: done}}]", ":1:20: done is no value"),
    ("[{: {}}]", "has the shell taken a $name out?"),
    ("db.things.aggregate([])", "in the parentheses of aggregate(...)"),
    ("[{$match: {at: {$gt: new Date(2026, 0, 1)}}}]", ":1:22: Date: year, month and day depend on a time"),
    ("@/no/such/file", "cannot read /no/such/file"),
]


@pytest.mark.parametrize(("pipeline", "said"), PIPELINES)
def test_what_is_no_pipeline_is_usage_with_its_place(cli: Runner, pipeline: str, said: str) -> None:
    result = cli("aggregate", "things", pipeline, connected=False)

    assert (result.code, result.stdout) == (2, "")
    assert said in result.stderr


@pytest.mark.parametrize(
    ("text", "line", "column", "said"),
    [
        ("- $match: {a: 1}\n- $limit: [\n", 3, 1, "expected"),
        ("- $match: {a: 1}\n- limit: 5\n", 2, 3, "'limit' is not an operator"),
        ("- $match:\n    a: {$date: yesterday}\n", 2, 5, "$date needs"),
        ("- $match:\n    a: 1\n    a: 2\n", 3, 5, "stands twice"),
        ("- $match: {a: !!binary aGk=}\n", 1, 15, "has no meaning in a pipeline"),
    ],
)
def test_an_error_in_yaml_has_its_place(
    cli: Runner, tmp_path: Path, text: str, line: int, column: int, said: str
) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(text)
    error = cli("aggregate", "things", f"@{file}", "-o", "json", connected=False).error()

    assert (error["exit"], error["code"]) == (2, "usage")
    assert error["message"].startswith(f"{file}:{error['line']}:{error['column']}: ")
    assert said in error["message"]
    assert error["line"] == line
    assert abs(error["column"] - column) <= 2


# --- the server's errors -----------------------------------------------------------------------------


def test_the_servers_own_refusal_names_the_stage_and_its_place(cli: Runner) -> None:
    pipeline = '[{"$limit": 5},\n {"$match": {}},\n {"$mtch": {}}, {"$limit": 3}]'
    result = cli("aggregate", "things", pipeline, "-o", "json")

    error = result.error()
    assert result.code == 1
    assert error["message"].startswith("pipeline:3:3: stage 3 ($mtch): Unrecognized pipeline stage name")
    assert error["hint"] == "did you mean '$match'?"
    assert (error["stage"], error["operator"], error["line"], error["column"]) == (3, "$mtch", 3, 3)
    assert error["server_code"] == 40324


@pytest.mark.parametrize(
    ("stage", "column"),
    [
        ('{"$project": {"a": {"$dividee": ["$n", 2]}}}', 21),
        ('{"$set": {"a": {"$substr": ["$n"]}}}', 17),
        ('{"$project": {"_id": 0, "a": 0, "b": 1}}', 2),
    ],
)
def test_a_refusal_points_into_the_stage_where_it_names_what_is_wrong(
    cli: Runner, stage: str, column: int
) -> None:
    assert cli("aggregate", "things", stage, "-o", "json").error()["column"] == column


REFUSED: list[tuple[list[dict[str, Any]], int, str | None]] = [
    ([{"$limit": 1}, {"$group": {"_id": 1, "x": {"$summ": 1}}}], 2, "did you mean '$sum'?"),
    ([{"$limit": 1}, {"$match": {"a": {"$gtt": 1}}}], 2, "did you mean '$gt'?"),
    ([{"$match": {"$andd": []}}, {"$limit": 1}], 1, "did you mean '$and'?"),
    ([{"$set": {"x": {"$concatt": []}}}], 1, "did you mean '$concat'?"),
    ([{"$limit": 1}, {"$project": {"a": 1, "b": 0}}, {"$limit": 1}], 2, None),
    ([{"$limit": 1}] * 7 + [{"$unset": 3}] + [{"$limit": 1}] * 5, 8, None),
    ([{"$limit": 1}, {"$geoNear": {"near": [0, 0], "distanceField": "d"}}], 2, None),
    ([{"$limit": 1}, {"$lookup": {"from": "y", "pipeline": [{"$mtch": {}}], "as": "z"}}], 2, "$match"),
    # Of the way: one stage has the operator that the sentence names.
    ([{"$match": {}}, {"$set": {"x": {"$divide": ["$_id", 0]}}}], 2, "$cond"),
    ([{"$match": {}}, {"$set": {"x": {"$toDecimal": "$kind"}}}, {"$limit": 9}], 2, "onError"),
    ([{"$sort": {"_id": 1}}, {"$bucket": {"groupBy": "$_id", "boundaries": [90, 99]}}], 2, None),
]


@pytest.mark.usefixtures("things")
@pytest.mark.parametrize(("pipeline", "stage", "hint"), REFUSED)
def test_an_error_of_the_server_is_its_stage_s(
    cli: Runner, pipeline: list[dict[str, Any]], stage: int, hint: str | None
) -> None:
    result = cli("aggregate", "things", json.dumps(pipeline, indent=1), "-o", "json")

    error = result.error()
    assert (result.code, error.get("stage")) == (1, stage), error
    assert error["operator"] == next(iter(pipeline[stage - 1]))
    assert (hint or "") in error.get("hint", "")
    assert "PlanExecutor" not in error["message"]


@pytest.mark.usefixtures("things")
def test_where_two_stages_may_be_meant_both_are_named(cli: Runner) -> None:
    pipeline = '[{"$set": {"x": {"$toInt": "$_id"}}}, {"$limit": 1}, {"$set": {"y": {"$toInt": "$kind"}}}]'
    error = cli("aggregate", "things", pipeline, "-o", "json").error()
    assert error["message"].startswith("one of the stages 1, 3: ")
    assert error["stages"] == [1, 3]


@pytest.mark.usefixtures("things")
def test_a_word_in_the_data_is_no_stage(cli: Runner, sync_db: Documents) -> None:
    sync_db.words.insert_one({"a": "$limit it"})
    pipeline = '[{"$limit": 1}, {"$set": {"x": {"$toInt": "$a"}}}]'
    assert cli("aggregate", "words", pipeline, "-o", "json").error()["stage"] == 2


@pytest.mark.usefixtures("things")
def test_a_document_that_grows_too_large_has_a_next_step(cli: Runner) -> None:
    pipeline = '[{"$limit": 1}, {"$set": {"x": {"$range": [0, 1500000]}}}, {"$set": {"y": {"$size": "$x"}}}, {"$sort": {"y": 1}}]'
    result = cli("aggregate", "things", pipeline)
    assert result.code == 1, result.stderr
    assert "a document of a result has 16 MB at most" in result.stderr


def test_a_stage_of_the_database_says_where_it_is_asked(cli: Runner) -> None:
    result = cli("aggregate", "things", '[{"$currentOp": {}}]')
    assert (result.code, "aggregate . --db admin" in result.stderr) == (1, True)
    shown = cli(
        "aggregate", ".", '[{"$currentOp": {}}, {"$project": {"op": 1}}]', "--db", "admin", "-o", "ndjson"
    )
    assert shown.code == 0
    assert {"op": "command"} in [json.loads(line) for line in shown.stdout.splitlines()]


def test_looking_for_the_stage_writes_nothing(cli: Runner, things: Documents) -> None:
    pipeline = '[{"$limit": 1}, {"$merge": {"into": "copy", "whenMatched": "boo"}}]'
    error = cli("aggregate", "things", pipeline, "--allow-write", "-y", "-o", "json").error()
    assert (error["stage"], error["operator"]) == (2, "$merge")
    assert things.list_collection_names() == ["things"]


@pytest.mark.usefixtures("things")
def test_a_time_limit_is_the_servers(cli: Runner) -> None:
    slow = '[{"$match": {"$expr": {"$function": {"body": "function() { sleep(300); return true }", "args": [], "lang": "js"}}}}]'

    result = cli("aggregate", "things", slow, "--max-time", "0.1", "--no-stable-api")

    assert result.code == 3
    assert "time limit" in result.stderr


# --- stages that write -------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", [{"$out": "copy"}, {"$merge": {"into": "copy"}}])
def test_writing_needs_permission_and_a_yes(cli: Runner, things: Documents, stage: dict[str, Any]) -> None:
    pipeline = json.dumps([stage])

    refused = cli("aggregate", "things", pipeline)
    assert refused.code == 2
    assert "writes to copy" in refused.stderr
    assert cli("aggregate", "things", pipeline, "--allow-write").code == 2, "nobody to ask"
    assert cli("aggregate", "things", pipeline, "--allow-write", tty=True, stdin="no\n").code == 0
    dry = cli("aggregate", "things", pipeline, "--dry-run", "-o", "json").json()
    assert [(write["stage"], write["target"], write["documents"]) for write in dry] == [
        (next(iter(stage)), "copy", None)
    ]
    assert "copy" not in things.list_collection_names()

    done = cli("aggregate", "things", pipeline, "--allow-write", "--yes")
    assert (done.code, done.stdout, done.stderr) == (0, "", "copy has 5 documents now\n")
    assert things.copy.count_documents({}) == 5


def test_the_question_names_the_target_and_what_it_has(cli: Runner, things: Documents, dbname: str) -> None:
    things.copy.insert_many([{} for _ in range(1234)])
    pipeline = '[{"$limit": 1}, {"$out": "copy"}]'

    asked = cli("aggregate", "things", pipeline, "--allow-write", tty=True, stdin="n\n", columns=200)
    assert f"replace collection copy in database {dbname}, which has 1,234 documents? [y/N]" in asked.stderr
    assert "nothing was written" in asked.stderr
    (dry,) = cli("aggregate", "things", pipeline, "--dry-run", "-o", "json").json()
    assert dry == {
        "stage": "$out", "place": "stage 2", "target": "copy", "documents": 1234, "line": 1, "column": 17
    }  # fmt: skip
    elsewhere = f'[{{"$merge": {{"into": {{"db": "{dbname}", "coll": "copy"}}}}}}]'
    asked = cli("aggregate", "things", elsewhere, "--allow-write", tty=True, stdin="n\n", columns=200)
    assert f"write into collection {dbname}.copy, which has 1,234 documents?" in asked.stderr
    assert things.copy.count_documents({}) == 1234


def test_a_dry_run_has_the_server_check_the_pipeline(cli: Runner, things: Documents) -> None:
    wrong = cli("aggregate", "things", '[{"$limit": 0}, {"$out": "copy"}]', "--dry-run", "-o", "json")
    assert (wrong.code, wrong.error()["stage"]) == (1, 1)
    reads = cli("aggregate", "things", '[{"$limit": 1}]', "--dry-run")
    assert (reads.code, reads.stdout) == (0, "")
    assert "writes nothing" in reads.stderr
    assert things.list_collection_names() == ["things"]


@pytest.mark.parametrize(
    ("pipeline", "places"),
    [
        ([{"$facet": {"a": [{"$out": "x"}]}}], ["stage 1, $facet.a, stage 1"]),
        ([{"$limit": 1}, {"$lookup": {"pipeline": [{"$merge": "x"}]}}], ["stage 2, $lookup.pipeline, stage 1"]),
        ([{"$unionWith": {"coll": "y", "pipeline": [{"$out": {"db": "d", "coll": "x"}}]}}], ["stage 1, $unionWith.pipeline, stage 1"]),
        # A stage that is newer than this program.
        ([{"$rankFusion": {"input": {"pipelines": {"a": [{"$limit": 1}, {"$out": "x"}]}}}}], ["stage 1, $rankFusion.input.pipelines.a, stage 2"]),
        ([{"$lookup": {"pipeline": [{"$facet": {"b": [{"$merge": {"into": "x"}}]}}]}}], ["stage 1, $lookup.pipeline, stage 1, $facet.b, stage 1"]),
        ([{"$match": {"$out": 1}}, {"$unionWith": "y"}, {"$lookup": {"from": "z"}}], []),
        ([{"$set": {"x": {"$literal": {"$merge": 1}}}}], []),
        ([{"$set": {"x": {"$literal": [{"$merge": 1}]}}}], []),
    ],
)  # fmt: skip
def test_stages_that_write_are_found_wherever_they_hide(pipeline: list[Any], places: list[str]) -> None:
    found = list(writes(pipeline))
    assert [write.place for write in found] == places
    assert [stage_name(write.path) for write in found] == places


@pytest.mark.parametrize(
    ("body", "target"),
    [
        ("x", (None, "x")),
        ({"db": "d", "coll": "x"}, ("d", "x")),
        ({"into": {"db": "d", "coll": "x"}, "on": "a"}, ("d", "x")),
        ({"s3": {"bucket": "b"}}, (None, None)),
        (5, (None, None)),
    ],
)
def test_the_target_of_a_write(body: Any, target: tuple[str | None, str | None]) -> None:
    (write,) = writes([{"$merge": body}])
    assert (write.database, write.collection) == target


# --- variables ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("things")
def test_variables_in_a_query_and_in_an_expression(cli: Runner) -> None:
    query = '[{"$match": {"kind": {"$var": "kind"}, "_id": {"$gte": {"$var": "from"}}}}, {"$count": "n"}]'
    given = ("--var", "kind=a", "--var", "from=1", "-o", "ndjson")
    assert cli("aggregate", "things", query, *given).stdout == '{"n":2}\n'
    expression = '[{"$match": {"$expr": {"$and": [{"$eq": ["$kind", "$$kind"]}, {"$gte": ["$_id", "$$from"]}]}}}, {"$count": "n"}]'
    assert cli("aggregate", "things", expression, *given).stdout == '{"n":2}\n'


def test_a_value_is_never_more_than_a_value(cli: Runner, sync_db: Documents) -> None:
    values = ["$secret", "$$ROOT", "x", 1]
    sync_db.c.insert_many([{"_id": n, "v": value, "secret": "s"} for n, value in enumerate(values)])
    for n, value in enumerate(values):
        given = ("--var", f"v={json.dumps(value)}", "-o", "ndjson")
        for stages in (
            [{"$match": {"v": {"$var": "v"}}}],
            [{"$match": {"$expr": {"$eq": ["$v", {"$var": "v"}]}}}],
            [{"$match": {"$expr": {"$eq": ["$v", "$$v"]}}}],
            [{"$project": {"out": {"$var": "v"}}}, {"$match": {"_id": n}}],
            [{"$set": {"out": {"a": [{"$var": "v"}]}}}, {"$match": {"_id": n}}],
        ):
            (line,) = cli("aggregate", "c", json.dumps(stages), *given).stdout.splitlines()
            shown = json.loads(line)
            assert shown["_id"] == n, stages
            assert shown.get("out", value) in (value, {"a": [value]}), stages


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ('v={"$gt": ""}', "$gt is an operator"),
        ('v:json=[{"a": {"$where": "1"}}]', "$where is an operator"),
        ('v={"$regularExpression": {"pattern": ".*", "options": ""}}', "matches more than itself"),
        ("v:date=tomorrow", "isn't an ISO 8601 date"),
        ("v:dat=2026-01-01", "did you mean 'date'?"),
        ("V=1", "a name begins with a small letter"),
        ("v", "is not NAME=VALUE"),
        ("w=1", "$$v has no value"),
        ("v@/no/such/file", "cannot read /no/such/file"),
    ],
)
def test_a_wrong_variable_is_usage(cli: Runner, given: str, said: str) -> None:
    result = cli("aggregate", "c", '[{"$set": {"x": "$$v"}}]', "--var", given, connected=False)
    assert (result.code, said in result.stderr) == (2, True), result.stderr


def test_a_variable_without_value_has_its_place_and_one_without_use_is_refused(cli: Runner) -> None:
    pipeline = '[{"$match": {}},\n {"$match": {"a": {"$var": "sinse"}}}]'
    error = cli("aggregate", "c", pipeline, "--var", "since=1", "-o", "json", connected=False).error()
    assert (error["line"], error["column"], error["variable"]) == (2, 19, "sinse")
    assert error["hint"] == "did you mean 'since'?"
    result = cli("aggregate", "c", "[]", "--var", "since=1", connected=False)
    assert (result.code, "--var since: the pipeline does not use it" in result.stderr) == (2, True)
    twice = cli("aggregate", "c", "[]", "--var", "a=1", "--var", "a=2", connected=False)
    assert "given twice" in twice.stderr


@pytest.mark.usefixtures("things")
def test_values_from_files_and_stdin(cli: Runner, tmp_path: Path) -> None:
    (tmp_path / "ids.json").write_text("[1, 2, 77]\n")
    pipeline = '[{"$match": {"_id": {"$in": {"$var": "ids"}}}}, {"$count": "n"}]'
    for name, content in (("ids@" + str(tmp_path / "ids.json"), ""), ("ids:json@-", "[3, 4, 5]")):
        shown = cli("aggregate", "things", pipeline, "--var", name, "-o", "ndjson", stdin=content)
        assert shown.stdout == '{"n":2}\n'
    assert cli("aggregate", "things", "-", "--var", "ids@-", connected=False).code == 2
    mail = '[{"$match": {"mail": {"$var": "mail"}}}, {"$count": "n"}]'
    shown = cli("aggregate", "things", "-", "--var", "mail=ada@-", "-o", "json", stdin=mail)
    assert (shown.code, shown.json()) == (0, [])


def test_types_of_values() -> None:
    assert value_of("v", None, "12") == 12
    assert value_of("v", None, "007") == "007"
    assert value_of("v", None, "@ada") == "@ada"
    assert value_of("v", "string", "12") == "12"
    assert value_of("v", "decimal", "9.90") == Decimal128("9.90")
    assert value_of("v", "date", "2026-01-31").isoformat() == "2026-01-31T00:00:00+00:00"
    with pytest.raises(UsageError):
        value_of("v", None, '{"a": 1, "a": 2}')


def test_names_that_the_pipeline_gives_itself_are_no_variables() -> None:
    pipeline = [
        {"$set": {"x": {"$map": {"input": "$a", "as": "one", "in": {"$add": ["$$one", "$$k"]}}}}},
        {"$set": {"y": {"$let": {"vars": {"k": 1}, "in": "$$k"}}}},
        {"$set": {"z": {"$reduce": {"input": "$a", "initialValue": 0, "in": {"$add": ["$$value", "$$this"]}}}}},
        {"$lookup": {"from": "t", "let": {"id": "$_id"}, "as": "t", "pipeline": [
            {"$match": {"name": "$$nothing", "$expr": {"$eq": ["$_id", "$$id"]}}}]}},
        {"$set": {"w": {"$literal": "$$nothing"}, "now": "$$NOW"}},
    ]  # fmt: skip
    found = filled(checked(pipeline), {"k": 5})
    assert found.pipeline == pipeline
    assert found.let == {"k": {"$literal": 5}}
    (first, second, *_) = inlined(pipeline, {"k": "$a"})
    assert first["$set"]["x"]["$map"]["in"] == {"$add": ["$$one", {"$literal": "$a"}]}
    assert second == pipeline[1]
    (dotted,) = inlined([{"$set": {"x": "$$k.b"}}], {"k": {"b": 1}})
    assert dotted == {"$set": {"x": {"$let": {"vars": {"k": {"$literal": {"b": 1}}}, "in": "$$k.b"}}}}
    with pytest.raises(PipelineError) as caught:
        filled([{"$set": {"y": {"$let": {"vars": {"k": "$$k"}, "in": "$$k"}}}}], {})
    assert caught.value.path == (0, "$set", "y", "$let", "vars", "k")


# --- how the server is asked -------------------------------------------------------------------------


def test_the_options_reach_the_server(cli: Runner, things: Documents) -> None:
    things.things.create_index("kind", name="by_kind")
    things.command("profile", 2)
    options = """--max-time 7 --hint by_kind --collation de --read-preference secondaryPreferred
        --read-concern majority --comment nightly --batch-size 2 --limit 4""".split()
    done = cli("aggregate", "things", '[{"$match": {}}]', *options, "-o", "ndjson")
    things.command("profile", 0)

    assert (done.code, len(done.stdout.splitlines())) == (0, 4)
    seen = things["system.profile"].find_one({"command.aggregate": "things"})
    assert seen is not None
    sent = seen["command"]
    assert sent["pipeline"] == [{"$match": {}}, {"$limit": 4}]
    assert (sent["maxTimeMS"], sent["hint"], sent["comment"]) == (7000, "by_kind", "nightly")
    assert sent["cursor"] == {"batchSize": 2}
    assert (sent["collation"], sent["allowDiskUse"]) == ({"locale": "de"}, True)
    assert sent["readConcern"]["level"] == "majority"
    assert sent["$readPreference"]["mode"] == "secondaryPreferred"


@pytest.mark.usefixtures("things")
def test_an_index_that_is_not_there(cli: Runner) -> None:
    for hint in ("nope", '{"nope": 1}'):
        result = cli("aggregate", "things", "[]", "--hint", hint)
        assert (result.code, "--hint: no such index of things" in result.stderr) == (2, True)
    assert cli("aggregate", "things", "[]", "--hint", '{"_id": 1}').code == 0


def test_a_limit_goes_with_no_write(cli: Runner) -> None:
    result = cli("aggregate", "c", '[{"$out": "x"}]', "--limit", "5", "--allow-write", "-y", connected=False)
    assert (result.code, "nothing may follow $out" in result.stderr) == (2, True)


def test_a_collection_that_is_not_there_is_said(cli: Runner) -> None:
    result = cli("aggregate", "nope", "[]", "-o", "json")
    assert (result.code, result.stdout) == (0, "[]\n")
    assert "no collection 'nope'" in result.stderr


# --- the rows ----------------------------------------------------------------------------------------


def test_fields_after_the_first_reply_are_named_once(cli: Runner, sync_db: Documents) -> None:
    sync_db.c.insert_many([{"_id": n, "a": n} for n in range(300)])
    sync_db.c.insert_many([{"_id": 300 + n, "a": n, "late": 1, "later": 2} for n in range(300)])

    for form in ("csv", "table", "markdown"):
        shown = cli("aggregate", "c", '[{"$sort": {"_id": 1}}]', "-o", form)
        warnings = [line for line in shown.stderr.splitlines() if line.startswith("warning")]
        assert warnings == ["warning: 2 fields have no column, not being in the first reply: late, later"]
        assert len(shown.stdout.splitlines()) == 600 + (2 if form == "markdown" else 1)
    wide = cli("aggregate", "c", '[{"$sort": {"_id": 1}}]', "-o", "csv", "--batch-size", "400")
    assert next(csv.reader(io.StringIO(wide.stdout))) == ["_id", "a", "late", "later"]
    assert wide.stderr == ""
    for form in ("ndjson", "json"):
        shown = cli("aggregate", "c", "[]", "-o", form)
        assert (shown.stderr, shown.stdout.count('"late"')) == ("", 300)


@pytest.mark.parametrize("count", [0, 1, 101, 102, 4101, 4102, 9000])
def test_every_document_comes_once_and_in_order(cli: Runner, sync_db: Documents, count: int) -> None:
    if count:
        sync_db.c.insert_many([{"_id": n} for n in range(count)])
    for options in ((), ("--batch-size", "1000"), ("--batch-size", "100000")):
        shown = cli("aggregate", "c", '[{"$sort": {"_id": 1}}]', "-o", "ndjson", *options)
        assert [json.loads(line)["_id"] for line in shown.stdout.splitlines()] == list(range(count))
    rows = cli("aggregate", "c", '[{"$sort": {"_id": 1}}]', "-o", "json").json()
    assert [row["_id"] for row in rows] == list(range(count))


def test_the_first_rows_do_not_wait_for_the_second_reply(
    server_uri: str, dbname: str, sync_db: Documents
) -> None:
    """The first reply has 101 documents; the next lets one wait."""
    sync_db.c.insert_many([{"_id": n} for n in range(200)])
    name = f"t{uuid.uuid4().hex[:10]}"
    data = {"failCommands": ["getMore"], "appName": name, "blockConnection": True, "blockTimeMS": 2500}
    admin = sync_db.client.admin
    admin.command({"configureFailPoint": "failCommand", "mode": "alwaysOn", "data": data})
    try:
        for form, lines in (("ndjson", 101), ("csv", 102)):
            process = started("c", "[]", "-o", form, uri=f"{server_uri}&appName={name}", db=dbname)
            assert process.stdout is not None
            assert process.stderr is not None
            with process.stdout, process.stderr:
                shown = process.stdout.readline()
                process.send_signal(signal.SIGINT)
                shown += process.stdout.read()
                assert (process.wait(20), shown.count(b"\n")) == (ExitCode.INTERRUPTED, lines)
    finally:
        admin.command({"configureFailPoint": "failCommand", "mode": "off"})


def test_memory_does_not_grow_with_the_result(server_uri: str, dbname: str, sync_db: Documents) -> None:
    """300,000 documents, 40 MB, take no more than ten thousand do."""
    sync_db.c.insert_one({"_id": 0})
    peaks = []
    for count in (10_000, 300_000):
        pipeline = [
            {"$set": {"n": {"$range": [0, 1000]}}}, {"$unwind": "$n"},
            {"$set": {"m": {"$range": [0, count // 1000]}}}, {"$unwind": "$m"},
            {"$set": {"text": "x" * 80}},
        ]  # fmt: skip
        env = {**os.environ, "MOTORCTL_URI": server_uri, "MOTORCTL_DB": dbname}
        done = watched(command("aggregate", "c", json.dumps(pipeline), "-o", "ndjson"), env)
        assert (done.code, done.stdout.count("\n")) == (0, count)
        peaks.append(done.peak)
    assert peaks[1] < peaks[0] + 16_000_000, peaks


def test_a_date_beyond_pythons_years_is_shown_not_refused(cli: Runner, sync_db: Documents) -> None:
    sync_db.far.insert_one({"_id": 1, "at": DatetimeMS(253402300800000)})

    assert cli("aggregate", "far", "[]", "-o", "json").json()[0]["at"] == {
        "$date": {"$numberLong": "253402300800000"}
    }
    assert "253402300800000 ms since 1970" in cli("aggregate", "far", "[]").stdout


# --- bad days ----------------------------------------------------------------------------------------


def started(*arguments: str, uri: str, db: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "motorctl", "aggregate", *arguments],
        env={**os.environ, "MOTORCTL_URI": uri, "MOTORCTL_DB": db},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def operations(db: Documents) -> list[dict[str, Any]]:
    """Return what the server does or keeps for the collection: commands under way, and idle cursors."""
    stages: list[dict[str, Any]] = [{"$currentOp": {"idleCursors": True}}, {"$match": {"ns": f"{db.name}.c"}}]
    return list(db.client.admin.aggregate(stages))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_what_the_server_does(
    server_uri: str, dbname: str, sync_db: Documents, number: signal.Signals
) -> None:
    sync_db.c.insert_many([{"_id": n} for n in range(3000)])
    join = {"from": "c", "pipeline": [{"$match": {"$expr": {"$ne": ["$_id", "$$i"]}}}], "let": {"i": "$_id"}}
    endless = [{"$lookup": {**join, "as": "x"}}, {"$group": {"_id": None, "n": {"$sum": {"$size": "$x"}}}}]
    process = started("c", json.dumps(endless), uri=server_uri, db=dbname)
    until(lambda: operations(sync_db), "the server is at it")
    process.send_signal(number)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 128 + number, stderr
    until(lambda: not operations(sync_db), "the server has stopped")


@pytest.mark.parametrize("form", ["ndjson", "json", "csv", "table"])
def test_a_closed_pipe_ends_it_quietly_and_closes_the_cursor(
    server_uri: str, dbname: str, sync_db: Documents, form: str
) -> None:
    sync_db.c.insert_many([{"_id": n, "text": "x" * 1000} for n in range(9000)])
    process = started("c", "[]", "-o", form, uri=server_uri, db=dbname)
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout, process.stderr:
        process.stdout.readline()
        until(lambda: operations(sync_db), "the cursor is open: there is more than a pipe takes")
        process.stdout.close()
        assert (process.wait(20), process.stderr.read()) == (0, b"")
    assert not operations(sync_db)


def test_a_server_that_goes_on_the_way_is_exit_3_and_no_whole_json(
    server_uri: str, dbname: str, sync_db: Documents
) -> None:
    sync_db.c.insert_many([{"_id": n} for n in range(6000)])
    name = f"t{uuid.uuid4().hex[:10]}"
    data = {"failCommands": ["getMore"], "appName": name, "closeConnection": True}
    admin = sync_db.client.admin
    admin.command({"configureFailPoint": "failCommand", "mode": "alwaysOn", "data": data})
    try:
        process = started("c", "[]", "-o", "json", uri=f"{server_uri}&appName={name}", db=dbname)
        stdout, stderr = process.communicate(timeout=60)
    finally:
        admin.command({"configureFailPoint": "failCommand", "mode": "off"})
    assert process.returncode == ExitCode.UNREACHABLE
    assert b"the result is not whole" in stderr
    assert b"a write" not in stderr
    assert stdout.startswith(b"[\n")
    with pytest.raises(json.JSONDecodeError):
        json.loads(stdout)


@pytest.mark.usefixtures("things")
def test_a_connection_lost_at_once_speaks_of_no_write(
    cli: Runner, sync_db: Documents, server_uri: str
) -> None:
    name = f"t{uuid.uuid4().hex[:10]}"
    data = {"failCommands": ["aggregate"], "appName": name, "closeConnection": True}
    admin = sync_db.client.admin
    admin.command({"configureFailPoint": "failCommand", "mode": "alwaysOn", "data": data})
    try:
        where = ("--uri", f"{server_uri}&appName={name}", "--retries", "1")
        read = cli("aggregate", "things", "[]", *where)
        write = cli("aggregate", "things", '[{"$out": "copy"}]', "--allow-write", "-y", *where)
    finally:
        admin.command({"configureFailPoint": "failCommand", "mode": "off"})
    assert (read.code, write.code) == (ExitCode.UNREACHABLE, ExitCode.UNREACHABLE)
    assert "nothing was to be written" in read.stderr
    assert "look before you repeat it" in write.stderr


def other_servers() -> list[str]:
    return os.environ.get("MOTORCTL_TEST_SERVERS", "").split()


def test_servers_of_every_age_name_the_stage_and_take_variables(
    cli: Runner, server_uri: str, dbname: str
) -> None:
    for uri in [server_uri, *other_servers()]:
        with pymongo.MongoClient[dict[str, Any]](uri) as client:
            client[dbname].things.insert_many([{"_id": n, "kind": "ab"[n % 2]} for n in range(5)])
            try:
                where = ("--uri", uri, "--no-stable-api", "-o", "json")
                for pipeline, stage, _ in REFUSED:
                    error = cli("aggregate", "things", json.dumps(pipeline), *where).error()
                    assert error.get("stage") == stage, (uri, error)
                query = '[{"$match": {"$expr": {"$eq": ["$kind", "$$kind"]}}}, {"$lookup": {"from": "things", "as": "x", "pipeline": [{"$match": {"$expr": {"$eq": ["$kind", "$$kind"]}}}]}}, {"$set": {"n": {"$size": "$x"}}}, {"$project": {"n": 1}}]'
                shown = cli("aggregate", "things", query, "--var", "kind=b", *where).json()
                assert shown == [{"_id": 1, "n": 2}, {"_id": 3, "n": 2}], uri
                dry = cli("aggregate", "things", '[{"$out": "copy"}]', "--dry-run", *where)
                assert (dry.code, client[dbname].list_collection_names()) == (0, ["things"])
            finally:
                client.drop_database(dbname)
