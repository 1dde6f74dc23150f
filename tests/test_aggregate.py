"""Any pipeline, as a user types it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from bson import Decimal128
from bson.datetime_ms import DatetimeMS

from motorctl.core.aggregation import writes

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
def test_documents_are_extended_json_relaxed_or_canonical(cli: Runner) -> None:
    one = '[{"$match": {"_id": {"$numberInt": "0"}}}]'

    assert cli("aggregate", "things", one, "-o", "json").json() == [
        {"_id": 0, "kind": "a", "price": {"$numberDecimal": "1.50"}}
    ]
    assert cli("aggregate", "things", one, "--canonical", "-o", "json").json()[0]["_id"] == {
        "$numberInt": "0"
    }


@pytest.mark.parametrize(
    ("pipeline", "said"),
    [
        ("[", "not JSON"),
        ("3", "a pipeline is an array of stages"),
        ("[3]", "stage 0 is not an object"),
        ('[{"$match": {}}, {"$limit": 1, "$skip": 1}]', "stage 1 is not an object with one operator"),
        ('[{"match": {}}]', "did you mean '$match'?"),
        ("@/no/such/file", "cannot read /no/such/file"),
    ],
)
def test_what_is_no_pipeline_is_usage(cli: Runner, pipeline: str, said: str) -> None:
    result = cli("aggregate", "things", pipeline)

    assert (result.code, result.stdout) == (2, "")
    assert said in result.stderr


def test_the_servers_own_refusal_is_told_with_its_code(cli: Runner) -> None:
    result = cli("aggregate", "things", '[{"$mach": {}}]', "-o", "json")

    assert result.code == 1
    assert "$mach" in result.error()["message"]
    assert result.error()["server_code"] == 40324


@pytest.mark.parametrize("stage", [{"$out": "copy"}, {"$merge": {"into": "copy"}}])
def test_writing_needs_permission_and_a_yes(cli: Runner, things: Documents, stage: dict[str, Any]) -> None:
    pipeline = json.dumps([stage])

    refused = cli("aggregate", "things", pipeline)
    assert refused.code == 2
    assert "writes to copy" in refused.stderr
    assert cli("aggregate", "things", pipeline, "--allow-write").code == 2, "nobody to ask"
    assert cli("aggregate", "things", pipeline, "--allow-write", tty=True, stdin="no\n").code == 0
    dry = cli("aggregate", "things", pipeline, "--dry-run", "-o", "json").json()
    assert [(write["stage"], write["target"]) for write in dry] == [(next(iter(stage)), "copy")]
    assert "copy" not in things.list_collection_names()

    assert cli("aggregate", "things", pipeline, "--allow-write", "--yes").code == 0
    assert things.copy.count_documents({}) == 5


@pytest.mark.parametrize(
    ("pipeline", "places"),
    [
        ([{"$facet": {"a": [{"$out": "x"}]}}], ["stage 0 $facet.a 0"]),
        ([{"$limit": 1}, {"$lookup": {"pipeline": [{"$merge": "x"}]}}], ["stage 1 $lookup.pipeline 0"]),
        ([{"$unionWith": {"coll": "y", "pipeline": [{"$out": {"db": "d", "coll": "x"}}]}}], ["stage 0 $unionWith.pipeline 0"]),
        ([{"$match": {"$out": 1}}, {"$unionWith": "y"}, {"$lookup": {"from": "z"}}], []),
        ([{"$set": {"x": {"$literal": {"$merge": 1}}}}], []),
    ],
)  # fmt: skip
def test_stages_that_write_are_found_wherever_they_hide(pipeline: list[Any], places: list[str]) -> None:
    assert [write.place for write in writes(pipeline)] == places


@pytest.mark.usefixtures("things")
def test_a_time_limit_is_the_servers(cli: Runner) -> None:
    slow = '[{"$match": {"$expr": {"$function": {"body": "function() { sleep(300); return true }", "args": [], "lang": "js"}}}}]'

    result = cli("aggregate", "things", slow, "--max-time", "0.1", "--no-stable-api")

    assert result.code == 3
    assert "time limit" in result.stderr


def test_a_date_beyond_pythons_years_is_shown_not_refused(cli: Runner, sync_db: Documents) -> None:
    sync_db.far.insert_one({"_id": 1, "at": DatetimeMS(253402300800000)})

    assert cli("aggregate", "far", "[]", "-o", "json").json()[0]["at"] == {
        "$date": {"$numberLong": "253402300800000"}
    }
    assert "253402300800000 ms since 1970" in cli("aggregate", "far", "[]").stdout
