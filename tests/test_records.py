"""Students and users: what both have alike, as a user runs it, on a real server and on a fake where it tells the truth."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib import resources
from typing import TYPE_CHECKING, Any

import pytest
from bson import ObjectId
from hypothesis import given
from hypothesis import strategies as st
from mongomock_motor import AsyncMongoMockClient
from pymongo import AsyncMongoClient
from ruamel.yaml import YAML

from motorctl.commands.records import PAGE_SIZE, window
from motorctl.core import records
from motorctl.core.fields import EMAIL_PATTERN
from motorctl.core.nouns import STUDENTS, USERS, Noun
from motorctl.core.records import Query
from motorctl.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from conftest import Runner
    from pymongo.database import Database as SyncDatabase

    from motorctl.client import Database

    Documents = SyncDatabase[dict[str, Any]]

ADA = ("--name", "Ada Lovelace", "--email", "ada@example.com", "--course", "Mathematics", "--gpa", "3.9")
GRACE = ("--name", "Grace Hopper", "--email", "grace@example.com")
SOME_ID = "64b7f0c2a1b2c3d4e5f60718"


# ---- create


def test_create_shows_the_student_with_its_id(cli: Runner, sync_db: Documents) -> None:
    result = cli("students", "create", *ADA, "-o", "json")

    assert result.code == 0
    shown = result.json()
    stored = sync_db.students.find_one()
    assert stored is not None
    assert shown == {
        "id": str(stored["_id"]),
        "name": "Ada Lovelace",
        "email": "ada@example.com",
        "course": "Mathematics",
        "gpa": 3.9,
    }
    assert isinstance(stored["_id"], ObjectId)
    assert result.stderr == ""


def test_create_from_json_of_each_kind(cli: Runner, tmp_path: Any, sync_db: Documents) -> None:
    text = '{"name": "Alan", "email": "alan@example.com", "course": "Logic", "gpa": 3}'
    file = tmp_path / "alan.json"
    file.write_text(text.replace("alan@", "turing@"))

    assert cli("students", "create", "--json", text).code == 0
    assert cli("students", "create", "--json", f"@{file}").code == 0
    assert cli("students", "create", "--json", "-", stdin=text.replace("alan@", "stdin@")).code == 0
    assert cli("students", "create", "--json", text, "--email", "option@example.com").code == 0

    emails = {student["email"] for student in sync_db.students.find()}
    assert emails == {"alan@example.com", "turing@example.com", "stdin@example.com", "option@example.com"}
    assert all(isinstance(student["gpa"], float) for student in sync_db.students.find())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--gpa", "4.1"), "gpa: must be less than or equal to 4 (given 4.1)"),
        (("--gpa", "-0.1"), "gpa: must be greater than or equal to 0"),
        (("--gpa", "nan"), "gpa: must be a finite number"),
        (("--email", "ada"), "email:"),
        (("--email", "ada@example"), "email:"),
        (("--name", ""), "name:"),
        (("--json", '{"gpa": "3.5", "grade": 1}'), "grade: is not a field"),
        (("--json", "[]"), "--json: not a JSON object"),
        (("--json", '{"gpa": '), "--json: not JSON"),
    ],
)
def test_a_broken_rule_is_usage_on_create_update_and_upsert(
    cli: Runner, sync_db: Documents, arguments: tuple[str, ...], said: str
) -> None:
    made = cli("students", "create", *ADA, "-o", "json").json()["id"]

    for command in (
        ("create", *ADA[:6], "--gpa", "3.9"),
        ("update", made),
        ("upsert", "--email", "ada@example.com"),
    ):
        result = cli("students", *command, *arguments)
        assert (result.code, result.stdout) == (2, ""), command
        assert said in result.stderr

    assert sync_db.students.count_documents({}) == 1
    assert sync_db.students.find_one({}, {"_id": 0, "gpa": 1}) == {"gpa": 3.9}


def test_create_names_every_missing_field(cli: Runner) -> None:
    result = cli("students", "create", "--name", "Ada", "-o", "json")

    assert result.code == 2
    assert {problem["field"] for problem in result.error()["problems"]} == {"email", "course", "gpa"}


def test_a_second_user_with_the_same_e_mail_is_refused_and_the_field_named(cli: Runner) -> None:
    assert cli("schema", "apply", "--builtin", "shop", "-q").code == 0
    assert cli("users", "create", *GRACE).code == 0

    result = cli("users", "create", *GRACE, "-o", "json")

    assert (result.code, result.stdout) == (6, "")
    error = result.error()
    assert (error["code"], error["field"], error["exit"]) == ("duplicate_key", "email", 6)
    assert 'email "grace@example.com" is already in users' in error["message"]


def test_an_update_to_a_taken_e_mail_is_refused_too(cli: Runner) -> None:
    assert cli("schema", "apply", "--builtin", "college", "-q").code == 0
    cli("students", "create", *ADA)
    other = cli("students", "create", *ADA, "--email", "other@example.com", "-o", "json").json()["id"]

    assert cli("students", "update", other, "--email", "ada@example.com").code == 6


async def test_create_sent_twice_is_one_document(db: Database) -> None:
    """The answer to the first was lost; the second finds its own id."""
    await db.users.create_index("email", unique=True)
    document = records.new(USERS, {"name": "Grace", "email": "grace@example.com"})

    first = await records.create(db, USERS, document)
    second = await records.create(db, USERS, document)

    assert first == second
    assert await db.users.count_documents({}) == 1


# ---- update


def test_update_changes_only_what_is_given(cli: Runner, sync_db: Documents) -> None:
    made = cli("users", "create", *GRACE, "--bio", "Compilers", "-o", "json").json()["id"]
    before = sync_db.users.find_one()
    assert before is not None
    assert "updated_at" not in before

    shown = cli("users", "update", made, "--inactive", "-o", "json").json()

    after = sync_db.users.find_one()
    assert after is not None
    assert shown["active"] is False
    assert after == {**before, "active": False, "updated_at": after["updated_at"]}
    assert (datetime.now(UTC) - after["updated_at"]).total_seconds() < 60


def test_update_with_nothing_given_returns_the_document_as_it_is(cli: Runner, sync_db: Documents) -> None:
    created = cli("users", "create", *GRACE, "-o", "json").json()

    assert cli("users", "update", created["id"], "-o", "json").json() == created
    assert "updated_at" not in (sync_db.users.find_one() or {})


def test_a_null_removes_an_optional_field_and_no_other(cli: Runner, sync_db: Documents) -> None:
    made = cli("users", "create", *GRACE, "--bio", "Compilers", "-o", "json").json()["id"]

    assert "bio" not in cli("users", "update", made, "--json", '{"bio": null}', "-o", "json").json()
    assert "bio" not in (sync_db.users.find_one() or {})
    assert cli("users", "update", made, "--json", '{"name": null}').code == 2


@pytest.mark.parametrize("verb", ["get", "update", "delete"])
def test_an_unknown_id_is_5_and_a_malformed_one_2(cli: Runner, verb: str) -> None:
    assert cli("students", verb, SOME_ID).code == 5
    result = cli("students", verb, "1234")
    assert result.code == 2
    assert "'1234' is not an id" in result.stderr


# ---- upsert


def test_upsert_says_what_it_did(cli: Runner, sync_db: Documents) -> None:
    inserted = cli("users", "upsert", *GRACE, "-o", "json").json()
    unchanged = cli("users", "upsert", *GRACE, "-o", "json").json()
    updated = cli("users", "upsert", *GRACE, "--bio", "Rear admiral", "-o", "json").json()

    assert [r["status"] for r in (inserted, unchanged, updated)] == ["inserted", "unchanged", "updated"]
    assert inserted["active"] is True
    assert "updated_at" not in unchanged
    assert updated["updated_at"] >= updated["created_at"] == inserted["created_at"]
    assert sync_db.users.count_documents({}) == 1


def test_upsert_of_a_field_that_looks_like_an_expression_stores_the_text(
    cli: Runner, sync_db: Documents
) -> None:
    cli("users", "upsert", *GRACE, "--bio", "$name is $$NOW")

    assert (sync_db.users.find_one() or {})["bio"] == "$name is $$NOW"


def test_upsert_of_a_part_changes_but_does_not_insert(cli: Runner, sync_db: Documents) -> None:
    result = cli("users", "upsert", "--email", "grace@example.com", "--bio", "x")
    assert result.code == 2
    assert "a new one needs name" in result.stderr
    assert sync_db.users.count_documents({}) == 0

    cli("users", "create", *GRACE)
    assert (
        cli("users", "upsert", "--email", "grace@example.com", "--bio", "x", "-o", "json").json()["status"]
        == "updated"
    )


def test_upsert_needs_its_key(cli: Runner) -> None:
    assert cli("users", "upsert", "--name", "Grace").code == 2


# ---- list, count, delete


def test_users_are_listed_newest_first_in_pages(cli: Runner, sync_db: Documents) -> None:
    sync_db.users.insert_many(
        [
            {"name": f"u{n:02}", "created_at": datetime(2026, 1, 1 + n, tzinfo=UTC), "active": n % 2 == 0}
            for n in range(25)
        ]
    )

    def names(*arguments: str) -> list[str]:
        return [user["name"] for user in cli("users", "list", *arguments, "-o", "json").json()]

    newest_first = [f"u{n:02}" for n in reversed(range(25))]
    assert names() == newest_first[:PAGE_SIZE]
    assert names("--page", "2") == newest_first[PAGE_SIZE:]
    assert names("--page", "3", "--page-size", "4") == newest_first[8:12]
    assert names("--skip", "3", "--limit", "2") == newest_first[3:5]
    assert names("--all") == newest_first
    assert names("--sort", "name", "--limit", "2") == ["u00", "u01"]
    assert names("--filter", '{"active": true}', "--limit", "2") == ["u24", "u22"]
    assert names("--filter", '{"created_at": {"$lt": {"$date": "2026-01-03T00:00:00Z"}}}') == ["u01", "u00"]


def test_a_projection_shows_only_what_is_named(cli: Runner) -> None:
    made = cli("users", "create", *GRACE, "-o", "json").json()["id"]

    assert cli("users", "get", made, "--fields", "email", "-o", "json").json() == {
        "email": "grace@example.com"
    }
    assert cli("users", "list", "--fields", "id,name", "-o", "json").json() == [
        {"id": made, "name": "Grace Hopper"}
    ]
    assert cli("users", "list", "--fields", "email").stdout.split() == ["email", "grace@example.com"]


def test_an_empty_list_is_a_header_or_an_empty_array(cli: Runner) -> None:
    assert cli("students", "list", "-o", "json").stdout == "[]\n"
    assert cli("students", "list", "-o", "ndjson").stdout == ""
    assert cli("students", "list", "-o", "csv").stdout == "id,name,email,course,gpa\n"
    assert cli("students", "list").stdout.split() == ["id", "name", "email", "course", "gpa"]


def test_count_is_a_number_or_an_object(cli: Runner) -> None:
    cli("students", "create", *ADA)

    assert cli("students", "count").stdout == "1\n"
    assert cli("students", "count", "-o", "json").json() == {"count": 1}
    assert cli("students", "count", "--filter", '{"course": "Logic"}', "-o", "json").json() == {"count": 0}


def test_delete_shows_what_was_deleted(cli: Runner, sync_db: Documents) -> None:
    created = cli("students", "create", *ADA, "-o", "json").json()

    assert cli("students", "delete", created["id"], "--dry-run", "-o", "json").json() == created
    assert sync_db.students.count_documents({}) == 1
    assert cli("students", "delete", created["id"], "-o", "json").json() == created
    assert cli("students", "delete", created["id"]).code == 5


def test_delete_of_many_needs_a_filter_and_a_yes(cli: Runner, sync_db: Documents) -> None:
    sync_db.students.insert_many([{"name": n} for n in "aab"])

    assert cli("students", "delete").code == 2
    assert cli("students", "delete", SOME_ID, "--filter", "{}").code == 2
    refused = cli("students", "delete", "--filter", '{"name": "a"}')
    assert refused.code == 2
    assert "delete 2 students?" in refused.stderr
    assert "--yes" in refused.stderr
    assert (
        cli(
            "students", "delete", "--filter", '{"name": "a"}', tty=True, stdin="n\n", env={"NO_COLOR": "1"}
        ).code
        == 0
    )
    assert sync_db.students.count_documents({}) == 3
    assert cli("students", "delete", "--filter", '{"name": "a"}', "--dry-run", "-o", "json").json() == {
        "would_delete": 2
    }
    assert cli("students", "delete", "--filter", '{"name": "a"}', "--yes", "-o", "json").json() == {
        "deleted": 2
    }
    assert [student["name"] for student in sync_db.students.find()] == ["b"]


@pytest.mark.parametrize("verb", ["create", "upsert"])
def test_dry_run_checks_and_writes_nothing(cli: Runner, sync_db: Documents, verb: str) -> None:
    assert cli("students", verb, *ADA, "--dry-run", "-o", "json").json()["name"] == "Ada Lovelace"
    assert cli("students", verb, *ADA, "--gpa", "5", "--dry-run").code == 2
    assert sync_db.list_collection_names() == []


def test_update_dry_run_shows_the_document_after(cli: Runner, sync_db: Documents) -> None:
    made = cli("students", "create", *ADA, "-o", "json").json()["id"]

    assert cli("students", "update", made, "--gpa", "4", "--dry-run", "-o", "json").json()["gpa"] == 4.0
    assert (sync_db.students.find_one() or {})["gpa"] == 3.9


@given(
    page=st.none() | st.integers(1, 1000),
    size=st.none() | st.integers(1, 1000),
    limit=st.none() | st.integers(1, 1000),
    skip=st.none() | st.integers(0, 1000),
    all=st.booleans(),
)
def test_a_window_is_a_page_or_a_slice_or_everything(
    page: int | None, size: int | None, limit: int | None, skip: int | None, all: bool
) -> None:
    try:
        skipped, limited = window(limit, skip, page, size, all=all)
    except UsageError:
        assert sum((page is not None or size is not None, limit is not None or skip is not None, all)) > 1
        return
    assert (limited == 0) == all
    if page is not None:
        assert skipped == (page - 1) * limited
    else:
        assert skipped == (skip or 0)


# ---- one source for the rules


def _rules(noun: Noun) -> dict[str, Any]:
    """Return the shipped validator of a noun's collection."""
    name = {"students": "college", "users": "shop"}[noun.collection]
    text = resources.files("motorctl").joinpath(f"schemas/{name}.yaml").read_text(encoding="utf-8")
    rules: dict[str, Any] = YAML(typ="safe").load(text)["collections"][noun.collection]["validator"][
        "$jsonSchema"
    ]
    return rules


BSON_TYPES = {"string": "string", "number": "number", "boolean": "bool"}
SHARED_WORDS = ("minimum", "maximum", "minLength", "pattern")
"""Keywords that JSON Schema and $jsonSchema both have, with one meaning."""


@pytest.mark.parametrize("noun", [STUDENTS, USERS], ids=lambda noun: noun.name)
def test_the_model_and_the_shipped_validator_have_the_same_rules(noun: Noun) -> None:
    rules, schema = _rules(noun), noun.model.model_json_schema()

    assert set(rules["required"]) == {*schema["required"], *([noun.created] if noun.created else [])}
    assert rules["properties"] == {
        name: _in_bson_words(field) for name, field in schema["properties"].items()
    }


def _in_bson_words(field: dict[str, Any]) -> dict[str, Any]:
    """Return a field of a model's JSON Schema as $jsonSchema says it; a null leaves a field out."""
    (found,) = [variant for variant in field.get("anyOf", [field]) if variant["type"] != "null"]
    bson_type = "date" if found.get("format") == "date-time" else BSON_TYPES[found["type"]]
    return {"bsonType": bson_type, **{word: found[word] for word in SHARED_WORDS if word in found}}


def test_the_e_mail_rule_is_the_one_in_the_model() -> None:
    assert _rules(STUDENTS)["properties"]["email"]["pattern"] == EMAIL_PATTERN


# ---- Motor, PyMongo's own async API and the fake do the same


async def _flow(db: Any) -> list[Any]:
    """Create, get, list, update, count, delete: plain CRUD, with ids and dates cut out."""
    told: list[Any] = []

    def keep(document: dict[str, Any]) -> None:
        told.append({k: v for k, v in document.items() if k not in ("id", "created_at", "updated_at")})

    made = []
    for name in ("Ada", "Alan", "Grace"):
        document = records.new(USERS, {"name": name, "email": f"{name}@example.com".lower()})
        shown = await records.create(db, USERS, document)
        made.append(shown["id"])
        keep(shown)
    keep(await records.get(db, USERS, made[0]))
    keep(await records.get(db, USERS, made[0], ["email"]))
    keep(await records.update(db, USERS, made[1], {"bio": "Logic", "active": False}))
    keep(await records.update(db, USERS, made[1], {"bio": None}))
    keep(await records.update(db, USERS, made[2], {}))
    query = Query(filter={"active": True}, sort=[("name", -1)], fields=["name"], limit=5)
    told.append([user async for user in records.find(db, USERS, query)])
    told.append(
        [user["name"] async for user in records.find(db, USERS, Query(filter={}, skip=1, sort=[("name", 1)]))]
    )
    told.append(await records.count(db, USERS, {"active": False}))
    keep(await records.delete(db, USERS, made[0]))
    with pytest.raises(NotFoundError):
        await records.get(db, USERS, made[0])
    told.append(await records.delete_many(db, USERS, {"active": True}))
    told.append(await records.count(db, USERS, {}))
    return told


async def test_the_same_flow_on_motor_on_pymongo_and_on_the_fake(
    db: Database, server_uri: str, dbname: str
) -> None:
    on_motor = await _flow(db)
    async with AsyncMongoClient[dict[str, Any]](server_uri, tz_aware=True) as client:
        on_pymongo = await _flow(client[f"{dbname}_2"])
    on_fake = await _flow(AsyncMongoMockClient(tz_aware=True)["fake"])

    assert len(on_motor) == 14
    assert on_motor == on_pymongo == on_fake


@pytest.mark.parametrize("email", ["dev@shop.local", "a@b.test", "Ada@EXAMPLE.com", "ada+lists@example.com"])
def test_an_e_mail_is_stored_as_it_was_typed(cli: Runner, sync_db: Documents, email: str) -> None:
    assert cli("users", "create", "--name", "A", "--email", email).code == 0
    assert (
        cli("users", "upsert", "--name", "A", "--email", email, "-o", "json").json()["status"] == "unchanged"
    )
    assert (sync_db.users.find_one() or {})["email"] == email


def test_a_full_page_on_a_terminal_names_the_next_one(cli: Runner, sync_db: Documents) -> None:
    sync_db.students.insert_many([{"name": str(n)} for n in range(10)])

    assert (
        "--page 4 shows the next"
        in cli("students", "list", "--page", "3", "--page-size", "2", tty=True).stderr
    )
    assert cli("students", "list", "--limit", "2", tty=True).stderr == ""
    assert cli("students", "list", "--page-size", "2").stderr == ""
