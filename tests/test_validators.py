"""`motorctl validators` as a user runs it, and the words a server refuses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from pymongo.errors import OperationFailure

from motorctl.commands.validators import Action, Level
from motorctl.core.json_schema import problems
from motorctl.core.schema.model import LEVELS, VALIDATION_ACTIONS

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Runner
    from pymongo.database import Database

    SyncDatabase = Database[dict[str, Any]]

WRONG: list[tuple[dict[str, Any], tuple[str | int, ...], str, str | None]] = [
    ({"bsonType": "integer"}, ("bsonType",), "integer is no bsonType", "did you mean 'int'?"),
    ({"bsonType": "boolean"}, ("bsonType",), "boolean is no bsonType", "did you mean 'bool'?"),
    ({"bsonType": ["int", "flot"]}, ("bsonType", 1), "flot is no bsonType", None),
    ({"type": "integer"}, ("type",), "integer is no type", "write bsonType: int (or long), or type: number"),
    ({"type": "objectId"}, ("type",), "objectId is no type", None),
    ({"bsonType": []}, ("bsonType",), "bsonType takes a type or a list of types", None),
    ({"bsonType": 5}, ("bsonType",), "bsonType takes a type or a list of types", None),
    ({"type": "string", "bsonType": "string"}, ("type",), "type and bsonType can't stand in one schema", "keep bsonType"),
    ({"format": "email"}, ("format",), "format is not supported in $jsonSchema", "write a pattern instead"),
    ({"$ref": "#/a"}, ("$ref",), "$ref is not supported in $jsonSchema", None),
    ({"default": 1}, ("default",), "default is not supported in $jsonSchema", None),
    ({"requird": ["a"]}, ("requird",), "unknown keyword requird in $jsonSchema", "did you mean 'required'?"),
    ({"$comment": "x"}, ("$comment",), "unknown keyword $comment in $jsonSchema", None),
    ({"required": []}, ("required",), "required takes a list of names, at least one", None),
    ({"required": "a"}, ("required",), "required takes a list of names, at least one", None),
    ({"required": ["a", 1]}, ("required",), "required takes a list of names, at least one", None),
    ({"required": ["a", "a"]}, ("required", 1), "a stands twice in required", None),
    ({"enum": []}, ("enum",), "enum takes a list of values, at least one", None),
    ({"minimum": "1"}, ("minimum",), "minimum takes a number", None),
    ({"minimum": True}, ("minimum",), "minimum takes a number", None),
    ({"minLength": -1}, ("minLength",), "minLength takes a whole number, 0 or more", None),
    ({"minLength": 1.5}, ("minLength",), "minLength takes a whole number, 0 or more", None),
    ({"pattern": 1}, ("pattern",), "pattern takes a string", None),
    ({"uniqueItems": 1}, ("uniqueItems",), "uniqueItems takes true or false", None),
    ({"properties": []}, ("properties",), "properties takes a document of schemas", None),
    ({"properties": {"a": 1}}, ("properties", "a"), "a schema is a document of keywords", None),
    ({"properties": {"a": {"type": "int"}}}, ("properties", "a", "type"), "int is no type", None),
    ({"patternProperties": {"a": {"formt": 1}}}, ("patternProperties", "a", "formt"), "unknown keyword formt in $jsonSchema", None),
    ({"dependencies": {"a": []}}, ("dependencies", "a"), "dependencies takes a list of names, at least one", None),
    ({"allOf": []}, ("allOf",), "allOf takes a list of schemas, at least one", None),
    ({"anyOf": [{}, {"x": 1}]}, ("anyOf", 1, "x"), "unknown keyword x in $jsonSchema", None),
    ({"not": 1}, ("not",), "not takes a schema", None),
    ({"items": 1}, ("items",), "items takes a schema or a list of schemas", None),
    ({"items": [{"bsonType": "x"}]}, ("items", 0, "bsonType"), "x is no bsonType", None),
    ({"additionalProperties": 1}, ("additionalProperties",), "additionalProperties takes true, false or a schema", None),
]  # fmt: skip

RIGHT: list[dict[str, Any]] = [
    {},
    {"bsonType": ["int", "number", "objectId"], "title": "t", "description": "d"},
    {"type": ["string", "null"], "enum": [None, 1, {"a": 1}]},
    {"required": ["a"], "properties": {"a": {}, "required": {"bsonType": "int"}, "bsonType": {"minimum": 1}}},
    {"minimum": 1, "exclusiveMinimum": True, "maximum": 2.5, "multipleOf": 0.5},
    {"minLength": 0, "maxLength": 5.0, "pattern": "^a"},
    {
        "items": [{"type": "string"}],
        "additionalItems": False,
        "uniqueItems": True,
        "minItems": 1,
        "maxItems": 2,
    },
    {"dependencies": {"a": ["b"], "c": {"required": ["d"]}}, "minProperties": 1, "maxProperties": 9},
    {
        "allOf": [{}],
        "anyOf": [{}],
        "oneOf": [{}],
        "not": {"required": ["x"]},
        "additionalProperties": {"type": "null"},
    },
]


@pytest.mark.parametrize(("schema", "path", "message", "hint"), WRONG)
def test_what_a_server_refuses_is_found_before(
    sync_db: SyncDatabase, schema: dict[str, Any], path: tuple[str | int, ...], message: str, hint: str | None
) -> None:
    found = problems({"$jsonSchema": schema})
    assert [(p.path, p.message) for p in found] == [(("$jsonSchema", *path), message)]
    if hint is not None:
        assert found[0].hint == hint
    with pytest.raises(OperationFailure):
        sync_db.create_collection("c", validator={"$jsonSchema": schema})


@pytest.mark.parametrize("schema", RIGHT)
def test_what_a_server_takes_is_no_problem(sync_db: SyncDatabase, schema: dict[str, Any]) -> None:
    assert problems({"$jsonSchema": schema}) == []
    sync_db.create_collection("c", validator={"$jsonSchema": schema})


def test_schemas_inside_a_query_are_found_too() -> None:
    (problem,) = problems({"$and": [{"a": 1}, {"$or": [{"$jsonSchema": {"x": 1}}]}]})
    assert problem.path == ("$and", 1, "$or", 0, "$jsonSchema", "x")
    assert problems({"a": {"$gt": 5}}) == []
    (bare,) = problems({"bsonType": "object", "properties": {}})
    assert "under $jsonSchema" in bare.message


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
