"""`motorctl validators` as a user runs it: one collection's validator, and the documents that break it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from motorctl.commands.validators import Action, Level
from motorctl.core.schema.model import LEVELS, VALIDATION_ACTIONS

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Runner
    from pymongo.collection import Collection
    from pymongo.database import Database

    SyncDatabase = Database[dict[str, Any]]


def test_apply_and_show(cli: Runner, sync_db: SyncDatabase) -> None:
    sync_db.create_collection("users")
    none = cli("validators", "show", "users", "-o", "json")
    assert none.json() == {
        "collection": "users",
        "validator": None,
        "validationLevel": None,
        "validationAction": None,
    }
    text = json.dumps({"$jsonSchema": {"required": ["email"]}})
    dry = cli("validators", "apply", "users", "-", "--dry-run", "-o", "json", stdin=text)
    assert (dry.code, dry.json()["action"], dry.json()["status"]) == (0, "create", "planned")
    assert cli("validators", "show", "users", "-o", "json").json()["validator"] is None
    done = cli("validators", "apply", "users", "-", "--level", "moderate", "-o", "json", stdin=text)
    assert (done.code, done.json()["status"]) == (0, "applied")
    assert (
        cli("validators", "show", "users").stdout
        == """\
collection: users
validator:
  $jsonSchema:
    required:
      - email
validationLevel: moderate
validationAction: error
"""
    )
    again = cli("validators", "apply", "users", "-", stdin=text)
    assert again.code == 0
    assert "as it should be" in again.stderr


def test_level_and_action_stay_unless_they_are_given(cli: Runner, sync_db: SyncDatabase) -> None:
    sync_db.create_collection("users", validator={"a": 1}, validationLevel="moderate")
    cli("validators", "apply", "users", "-", "--action", "warn", stdin='{"a": 2}')
    shown = cli("validators", "show", "users", "-o", "json").json()
    assert (shown["validator"], shown["validationLevel"], shown["validationAction"]) == (
        {"a": 2},
        "moderate",
        "warn",
    )


def test_an_empty_validator_takes_it_away(cli: Runner, sync_db: SyncDatabase) -> None:
    sync_db.create_collection("users", validator={"a": 1})
    dry = cli("validators", "apply", "users", "-", "--dry-run", "-o", "json", stdin="{}")
    assert (dry.code, dry.json()["action"], dry.json()["status"]) == (0, "drop", "planned")
    unasked = cli("validators", "apply", "users", "-", stdin="{}")
    assert unasked.code == 2
    assert "drop the validator of users in database" in unasked.stderr
    assert cli("validators", "show", "users", "-o", "json").json()["validator"] == {"a": 1}
    gone = cli("validators", "apply", "users", "-", "--yes", "-o", "json", stdin="{}")
    assert (gone.code, gone.json()["action"], gone.json()["status"]) == (0, "drop", "applied")
    assert cli("validators", "apply", "users", "-", "-o", "json", stdin="{}").json()["action"] == "keep"
    assert cli("validators", "show", "users", "-o", "json").json()["validator"] is None


def test_no_keeps_the_validator(cli: Runner, sync_db: SyncDatabase, tmp_path: Path) -> None:
    sync_db.create_collection("users", validator={"a": 1})
    file = tmp_path / "none.json"
    file.write_text("{}")
    said = cli("validators", "apply", "users", str(file), stdin="n\n", tty=True)
    assert (said.code, "nothing was changed" in said.stderr) == (0, True)
    assert cli("validators", "show", "users", "-o", "json").json()["validator"] == {"a": 1}


def test_the_options_are_the_words_of_a_manifest() -> None:
    assert tuple(Level) == LEVELS
    assert tuple(Action) == VALIDATION_ACTIONS


def test_a_refused_word_names_its_place(cli: Runner, sync_db: SyncDatabase) -> None:
    sync_db.create_collection("users")
    wrong = cli("validators", "apply", "users", "-", stdin='{"$jsonSchema":\n  {"bsonType": "integer"}}')
    assert wrong.code == 2
    assert wrong.stderr == "error: standard input:2:16: integer is no bsonType\nhint: did you mean 'int'?\n"


def test_what_only_the_server_knows_is_its_own_error(cli: Runner, sync_db: SyncDatabase) -> None:
    sync_db.create_collection("users")
    refused = cli("validators", "apply", "users", "-", stdin='{"$where": "1"}')
    assert refused.code == 1
    assert "$where is not allowed" in refused.stderr


def test_a_time_series_takes_none(cli: Runner, sync_db: SyncDatabase) -> None:
    sync_db.create_collection("t", timeseries={"timeField": "at"})
    for options in ([], ["--dry-run"]):
        done = cli("validators", "apply", "t", "-", *options, stdin='{"a": 1}')
        assert done.code == 1
        assert (
            done.stderr == "error: t is a time series: it takes no validator\nhint: leave the validator out\n"
        )


def test_no_collection_no_validator(cli: Runner, sync_db: SyncDatabase) -> None:
    sync_db.create_collection("users")
    sync_db.create_collection("seen", viewOn="users", pipeline=[])
    for name in ("nope", "seen"):
        assert cli("validators", "show", name).code == 5
        assert cli("validators", "apply", name, "-", stdin="{}").code == 5
    assert cli("validators", "apply", "users", "nofile.json").code == 2
    assert cli("validators", "apply", "users", "-", "--level", "hard", stdin="{}").code == 2


@pytest.mark.parametrize("form", ["table", "json"])
def test_what_show_prints_apply_takes(cli: Runner, tmp_path: Path, form: str) -> None:
    cli("schema", "apply", "--builtin", "shop", "-q")
    file = tmp_path / "users.yaml"
    file.write_text(cli("validators", "show", "users", "-o", form).stdout)

    assert cli("validators", "apply", "users", str(file)).code == 0
    assert cli("schema", "check", "--builtin", "shop").code == 0
    file.write_text(file.read_text().replace("moderate", "strict"))
    assert cli("validators", "apply", "users", str(file)).code == 0
    assert cli("validators", "show", "users", "-o", "json").json()["validationLevel"] == "strict"


# ---- the documents that are there

GPA = {
    "$jsonSchema": {
        "required": ["email"],
        "properties": {"gpa": {"bsonType": ["int", "double"], "maximum": 4}},
    }
}


@pytest.fixture
def students(sync_db: SyncDatabase) -> Collection[dict[str, Any]]:
    """Thirty documents: every third is too good, the last one has no e-mail."""
    some = [{"_id": n, "email": f"{n}@x", "gpa": 5 if n % 3 == 0 else 3} for n in range(29)]
    sync_db["students"].insert_many([*some, {"_id": 29, "gpa": 4}])
    sync_db.command("collMod", "students", validator=GPA)
    return sync_db["students"]


@pytest.mark.usefixtures("students")
def test_check_counts_and_lists(cli: Runner) -> None:
    done = cli("validators", "check", "students", "--limit", "2", "-o", "json")
    assert done.code == 8
    assert done.json() == {
        "collection": "students",
        "checked": 30,
        "complete": True,
        "sampled": False,
        "violations": 11,
        "rules": [
            {"field": "gpa", "rule": "maximum", "count": 10},
            {"field": "email", "rule": "required", "count": 1},
        ],
        "documents": [
            {"id": n, "violations": [{"field": "gpa", "rule": "maximum", "reason": "is 5, above 4"}]}
            for n in (0, 3)
        ],
    }
    assert "listed are the first 2" in done.stderr
    table = cli("validators", "check", "students")
    assert table.code == 8
    assert table.stdout.splitlines()[:2] == ["id  violations", "0   gpa is 5, above 4"]
    assert table.stdout.splitlines()[-1] == "29  email is missing"
    assert table.stderr.splitlines() == [
        "gpa: maximum: 10 documents",
        "email: required: 1 document",
        "11 of about 30 documents violate the validator",
    ]
    none = cli("validators", "check", "students", "--limit", "0", "-o", "json").json()
    assert (none["violations"], none["documents"]) == (11, [])


def test_check_of_what_fits_is_0(cli: Runner, students: Collection[dict[str, Any]]) -> None:
    students.delete_many({"$or": [{"gpa": 5}, {"email": None}]})
    done = cli("validators", "check", "students", "-o", "json")
    assert (done.code, done.json()["violations"], done.json()["documents"]) == (0, 0, [])
    assert cli("validators", "check", "students", "--all", "-o", "json").json() == []


def test_check_with_another_validator(cli: Runner, students: Collection[dict[str, Any]]) -> None:
    assert cli("validators", "check", "students", "-", stdin='{"gpa": {"$gte": 3}}').code == 0
    found = cli(
        "validators", "check", "students", "-", "-o", "json", stdin='{"gpa": {"$lt": 4}, "x": 1}'
    ).json()
    assert found["violations"] == 30
    assert found["documents"][0]["violations"][0]["reason"].startswith("is 5: does not match")
    wrong = cli("validators", "check", "students", "-", stdin='{"$jsonSchema": {"format": 1}}')
    assert (wrong.code, "write a pattern" in wrong.stderr) == (2, True)
    students.database.command("collMod", "students", validator={})
    without = cli("validators", "check", "students")
    assert (without.code, "has no validator to check against" in without.stderr) == (2, True)
    assert cli("validators", "check", "students", "-", stdin="{}").code == 0
    assert cli("validators", "check", "nope").code == 5
    assert cli("validators", "try", "nope", "-", stdin="{}").code == 5
    assert cli("validators", "check", "students", "--all", "--limit", "3").code == 2
    assert cli("validators", "try", "students", "-", "--all", "--sample", "3", stdin="{}").code == 2


@pytest.mark.usefixtures("students")
@pytest.mark.parametrize("form", ["table", "csv", "markdown", "ndjson", "json"])
def test_all_lists_each_of_them(cli: Runner, form: str) -> None:
    done = cli("validators", "check", "students", "--all", "-o", form)
    assert done.code == 8
    assert "11 of about 30 documents violate the validator" in done.stderr
    if form == "json":
        ids = [row["id"] for row in done.json()]
    elif form == "ndjson":
        ids = [json.loads(line)["id"] for line in done.stdout.splitlines()]
    else:
        ids = [int(found) for found in re.findall(r"^\W*(\d+)\b", done.stdout, re.MULTILINE)]
    assert ids == [*range(0, 29, 3), 29]


def test_what_is_found_is_exported_mended_and_imported(
    cli: Runner, students: Collection[dict[str, Any]], tmp_path: Path
) -> None:
    listed = cli("validators", "check", "students", "--all", "-o", "ndjson")
    exported = cli("export", "students", "--ids", "-", stdin=listed.stdout)
    assert exported.code == 0
    broken = [json.loads(line) for line in exported.stdout.splitlines()]
    assert len(broken) == 11
    file = tmp_path / "mended.ndjson"
    file.write_text("".join(json.dumps(one | {"gpa": 4, "email": "mended"}) + "\n" for one in broken))
    done = cli("import", str(file), "--into", "students", "--mode", "merge", "--key", "_id")
    assert done.code == 0
    assert cli("validators", "check", "students").code == 0
    assert students.count_documents({}) == 30


@pytest.mark.usefixtures("students")
def test_try_says_what_is_new(cli: Runner) -> None:
    text = json.dumps({"$jsonSchema": {"properties": {"gpa": {"maximum": 3}}}})
    done = cli("validators", "try", "students", "-", "--all", "-o", "json", stdin=text)
    assert (done.code, done.json()["violations"], done.json()["newly_refused"]) == (8, 11, 0)
    text = json.dumps({"$jsonSchema": {"required": ["name"]}})
    done = cli("validators", "try", "students", "-", "--limit", "1", "-o", "json", stdin=text)
    assert (done.json()["violations"], done.json()["newly_refused"], len(done.json()["documents"])) == (
        30,
        19,
        1,
    )
    assert "19 of them fit the present validator" in done.stderr
    assert "validators check students FILE --all" in done.stderr
    few = cli("validators", "try", "students", "-", "--sample", "7", "-o", "json", stdin=text)
    assert few.code == 8
    facts = few.json()
    assert (facts["checked"], facts["sampled"], facts["violations"], facts["newly_refused"]) == (
        7,
        True,
        7,
        None,
    )
    assert "7 of a sample of 7 documents" in few.stderr
    # Nothing was set.
    assert cli("validators", "show", "students", "-o", "json").json()["validator"] == GPA
    assert cli("validators", "try", "students", "-", "--all", stdin="{}").code == 0


@pytest.mark.usefixtures("students")
def test_a_time_limit_says_that_not_all_was_looked_at(cli: Runner, sync_db: SyncDatabase) -> None:
    sync_db.client.admin.command(
        {"configureFailPoint": "failCommand", "mode": {"times": 1}}
        | {"data": {"failCommands": ["aggregate"], "errorCode": 50, "namespace": f"{sync_db.name}.students"}}
    )
    none = cli("validators", "check", "students", "--max-time", "5", "-o", "json")
    assert none.code == 3
    assert (none.json()["complete"], none.json()["checked"]) == (False, None)
    assert "was over before all of the about 30 documents were looked at" in none.error()["message"]
    # The documents are found, and the time is over while they are counted.
    sync_db.client.admin.command(
        {"configureFailPoint": "failCommand", "mode": {"skip": 2}}
        | {"data": {"failCommands": ["aggregate"], "errorCode": 50, "namespace": f"{sync_db.name}.students"}}
    )
    try:
        some = cli("validators", "check", "students", "--max-time", "5", "--limit", "3", "-o", "json")
    finally:
        sync_db.client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})
    assert some.code == 8
    assert (some.json()["complete"], some.json()["violations"], len(some.json()["documents"])) == (
        False,
        4,
        3,
    )
    assert "at least 4 documents violate the validator" in some.stderr


def test_check_only_reads(cli: Runner, students: Collection[dict[str, Any]]) -> None:
    before = (list(students.find()), students.options())
    cli("validators", "check", "students")
    cli("validators", "try", "students", "-", "--all", stdin='{"x": 1}')
    assert (list(students.find()), students.options()) == before


MANIFEST = """
collections:
  users: {validator: {name: {$type: string}}, validationLevel: moderate}
  others: {indexes: [{keys: {a: 1}}]}
"""


def test_a_manifest_stands_for_the_validator_that_it_has(
    cli: Runner, sync_db: SyncDatabase, tmp_path: Path
) -> None:
    """Taken as a query, `collections` would be a field that no document has, and every write refused."""
    sync_db["users"].insert_many([{"name": "Ada"}, {"name": 5}])
    file = tmp_path / "schema.yaml"
    file.write_text(MANIFEST)
    for verb in ("check", "try"):
        looked = cli("validators", verb, "users", str(file), "-o", "json")
        assert (looked.code, looked.json()["violations"]) == (8, 1)
    applied = cli("validators", "apply", "users", str(file), "-o", "json")
    assert applied.json()["after"] == {
        "validator": {"name": {"$type": "string"}},
        "validationLevel": "moderate",
        "validationAction": "error",
    }
    for collection in ("others", "nobody"):
        none = cli("validators", "apply", collection, str(file))
        assert (none.code, f"this manifest has no validator of {collection}" in none.stderr) == (2, True)
