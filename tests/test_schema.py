"""`motorctl schema` as a user runs it."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from motorctl import manifest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Runner
    from pymongo.database import Database

    SyncDatabase = Database[dict[str, Any]]

USERS = "collections:\n  users:\n    indexes:\n      - {keys: {email: 1}, unique: true}\n"


def test_check_apply_check(cli: Runner) -> None:
    before = cli("schema", "check", "--builtin", "shop", "-o", "json")
    assert before.code == 8
    assert before.json()["in_sync"] is False
    applied = cli("schema", "apply", "--builtin", "shop", "-o", "json")
    assert applied.code == 0
    assert applied.json()["in_sync"] is True
    assert {change["status"] for change in applied.json()["changes"]} == {"applied"}
    after = cli("schema", "check", "--builtin", "shop", "-o", "json")
    assert (after.code, after.json()) == (0, {"in_sync": True, "changes": []})
    again = cli("schema", "apply", "--builtin", "shop")
    assert (again.code, again.stdout) == (0, "")
    assert again.stderr == "in sync, 18 as they should be\n"


def test_the_fields_of_a_change(cli: Runner) -> None:
    changes = cli("schema", "plan", "-", "-o", "json", stdin=USERS).json()["changes"]
    assert changes == [
        {
            "collection": "users",
            "kind": "collection",
            "action": "create",
            "name": "users",
            "before": None,
            "after": {},
            "status": "planned",
            "blockers": [],
            "unchecked": [],
            "commands": [{"create": "users"}],
        },
        {
            "collection": "users",
            "kind": "index",
            "action": "create",
            "name": "email_1",
            "before": None,
            "after": {"keys": {"email": 1}, "name": "email_1", "unique": True},
            "status": "planned",
            "blockers": [],
            "unchecked": [],
            "commands": [
                {
                    "createIndexes": "users",
                    "indexes": [{"key": {"email": 1}, "name": "email_1", "unique": True}],
                }
            ],
        },
    ]


def test_a_plan_in_words(cli: Runner, sync_db: SyncDatabase) -> None:
    sync_db.create_collection("users", validator={"$jsonSchema": {"properties": {"gpa": {"maximum": 4}}}})
    sync_db["users"].create_index("email")
    sync_db["users"].create_index("seen", expireAfterSeconds=60)
    sync_db["users"].create_index("old")
    text = """
collections:
  users:
    validator: {$jsonSchema: {properties: {gpa: {maximum: 5}}}}
    validationAction: warn
    indexes:
      - {keys: {email: 1}, unique: true}
      - {keys: {seen: 1}, expireAfterSeconds: 90}
      - {keys: {n: -1}}
"""
    planned = cli("schema", "plan", "-", "--prune", stdin=text)
    assert planned.code == 0
    assert (
        planned.stdout
        == """\
change     object               detail
~ modify   validator of users   validator.$jsonSchema.properties.gpa.maximum: 4 -> 5; validationAction: error -> warn
~ modify   index users.seen_1   expireAfterSeconds: 60 -> 90
+ create   index users.n_-1     keys {n: -1}
! rebuild  index users.email_1  unique: + true; drops email_1 before it is built
- drop     index users.old_1    keys {old: 1}
"""
    )
    assert planned.stderr == "5 to change, 1 as they should be\n"
    unpruned = cli("schema", "plan", "-", stdin=text)
    assert unpruned.stderr.endswith("1 not in the manifest (--prune drops them)\n")
    assert "= keep" in cli("schema", "plan", "-", "-v", stdin=text).stdout
    assert "= keep" not in unpruned.stdout


def test_a_terminal_of_80_columns_is_not_overrun(cli: Runner) -> None:
    shown = cli("schema", "plan", "--builtin", "shop", "--no-color", tty=True, columns=80)
    assert max(len(line) for line in shown.stdout.splitlines()) <= 80
    assert "(18 rows)" in shown.stdout


def test_a_dry_run_changes_nothing(cli: Runner, sync_db: SyncDatabase) -> None:
    dry = cli("schema", "apply", "--builtin", "shop", "--dry-run", "-o", "json")
    assert (dry.code, dry.json()["in_sync"]) == (0, False)
    assert sync_db.list_collection_names() == []


def test_drops_are_asked_for(cli: Runner, sync_db: SyncDatabase) -> None:
    sync_db["users"].create_index("old")
    alone = cli("schema", "apply", "-", "--prune", stdin=USERS)
    assert alone.code == 2
    assert "index users.old_1" in alone.stderr
    assert "email_1" not in sync_db["users"].index_information()
    done = cli("schema", "apply", "-", "--prune", "--yes", stdin=USERS)
    assert done.code == 0
    assert sorted(sync_db["users"].index_information()) == ["_id_", "email_1"]


def test_no_is_an_answer(cli: Runner, sync_db: SyncDatabase, tmp_path: Path) -> None:
    sync_db["users"].create_index("old")
    file = tmp_path / "schema.yaml"
    file.write_text(USERS)
    said = cli("schema", "apply", str(file), "--prune", stdin="n\n", tty=True)
    assert "nothing was changed" in said.stderr
    assert sorted(sync_db["users"].index_information()) == ["_id_", "old_1"]
    cli("schema", "apply", str(file), "--prune", stdin="y\n", tty=True)
    assert sorted(sync_db["users"].index_information()) == ["_id_", "email_1"]


def test_a_failed_change_is_exit_1_and_tells_why(cli: Runner, sync_db: SyncDatabase) -> None:
    sync_db["users"].insert_many([{"email": "a"}, {"email": "a"}])
    failed = cli("schema", "apply", "-", stdin=USERS)
    assert failed.code == 1
    (row,) = failed.stdout.splitlines()[1:]
    assert row.startswith("+ create  index users.email_1  failed: ")
    assert row.endswith('failed: duplicate key: email "a" is already in users')
    assert failed.stderr == (
        "warning: 1 of 1 changes failed; when that is mended, `motorctl schema apply` does the rest\n"
    )
    (change,) = [
        c
        for c in cli("schema", "apply", "-", "-o", "json", stdin=USERS).json()["changes"]
        if c["kind"] == "index"
    ]
    assert (change["status"], change["error"]["code"]) == ("failed", 11000)


def test_a_text_index_of_somebody_else_is_not_replaced_unasked(cli: Runner, sync_db: SyncDatabase) -> None:
    sync_db["docs"].create_index([("body", "text")], name="mine")
    text = "collections: {docs: {indexes: [{keys: {title: text}}]}}"
    planned = cli("schema", "plan", "-", stdin=text)
    assert planned.stderr == "1 blocked, 1 as they should be\n"
    assert cli("schema", "check", "-", stdin=text).code == 8
    blocked = cli("schema", "apply", "-", "-o", "json", stdin=text)
    assert blocked.code == 8
    (change,) = [c for c in blocked.json()["changes"] if c["blockers"]]
    assert (change["name"], change["status"], change["before"]["name"]) == ("title_text", "blocked", "mine")
    assert "mine of docs is not in the manifest" in change["blockers"][0]["message"]
    unasked = cli("schema", "apply", "-", "--prune", stdin=text)
    assert unasked.code == 2
    assert "drop index docs.mine in database" in unasked.stderr
    assert sorted(sync_db["docs"].index_information()) == ["_id_", "mine"]

    replaced = cli("schema", "apply", "-", "--prune", "--yes", stdin=text)
    assert replaced.code == 0
    assert "drops mine (not in the manifest) before it is built" in replaced.stdout
    assert sorted(sync_db["docs"].index_information()) == ["_id_", "title_text"]


def test_a_lost_connection_is_tried_again_and_told(cli: Runner, sync_db: SyncDatabase) -> None:
    with closing_connections(sync_db, {"times": 1}):
        done = cli("schema", "apply", "-", stdin=USERS)
    assert done.code == 0
    assert "the connection was lost: trying again in" in done.stderr
    assert "email_1" in sync_db["users"].index_information()


def test_a_connection_that_stays_lost_is_exit_3_with_a_row_for_each_change(
    cli: Runner, sync_db: SyncDatabase
) -> None:
    sync_db["users"].create_index("email")
    text = USERS + "      - {keys: {n: 1}, name: email_2}\n"
    with closing_connections(sync_db, "alwaysOn"):
        lost = cli("schema", "apply", "-", "--retries", "1", stdin=text)
        in_json = cli("schema", "apply", "-", "--retries", "1", "-o", "json", stdin=text)
    assert (lost.code, in_json.code) == (3, 3)
    assert [line.split("  ")[0] for line in lost.stdout.splitlines()] == ["change", "+ create", "! rebuild"]
    failed, skipped = in_json.json()["changes"][1:]
    assert (failed["status"], failed["error"]["code"]) == ("failed", None)
    assert failed["error"]["message"].startswith("the connection was lost: ")
    assert (skipped["status"], skipped["blockers"][0]["message"]) == ("skipped", "the connection was lost")
    assert list(sync_db["users"].index_information()) == ["_id_", "email_1"]


@contextmanager
def closing_connections(db: SyncDatabase, mode: Any) -> Iterator[None]:
    """Make the server hang up instead of building an index of this database's users."""
    data = {"failCommands": ["createIndexes"], "closeConnection": True, "namespace": f"{db.name}.users"}
    admin = db.client.admin
    admin.command({"configureFailPoint": "failCommand", "mode": mode, "data": data})
    try:
        yield
    finally:
        admin.command({"configureFailPoint": "failCommand", "mode": "off"})


def test_what_cannot_be_done_stops_everything_before_it_begins(cli: Runner, sync_db: SyncDatabase) -> None:
    sync_db.create_collection("log")
    text = USERS + "  log: {capped: true, size: 4096}\n"
    blocked = cli("schema", "apply", "-", "-o", "json", stdin=text)
    assert blocked.code == 8
    (change,) = [c for c in blocked.json()["changes"] if c["blockers"]]
    remedy = "can't be changed in place: copy the documents into a new collection"
    assert [blocker["message"] for blocker in change["blockers"]] == [
        f"capped of log {remedy}",
        f"size of log {remedy}",
    ]
    assert sync_db.list_collection_names() == ["log"]


def test_what_imports_keep_is_no_drift(cli: Runner, sync_db: SyncDatabase) -> None:
    assert cli("schema", "apply", "--builtin", "shop", "-q").code == 0
    sync_db.motorctl_imports.insert_one({"_id": "orders/orders.ndjson"})
    assert cli("schema", "apply", "--builtin", "shop", "--prune", "--yes", "-q").code == 0
    assert "motorctl_imports" not in cli("schema", "dump").stdout
    assert sync_db.motorctl_imports.count_documents({}) == 1


def test_dump_is_in_sync_with_itself(cli: Runner) -> None:
    assert cli("schema", "dump").stdout == "collections: {}\n"
    cli("schema", "apply", "--builtin", "shop")
    dumped = cli("schema", "dump")
    assert cli("schema", "check", "-", "--prune", stdin=dumped.stdout).code == 0
    as_json = cli("schema", "dump", "-o", "json")
    assert list(as_json.json()["collections"]) == [
        "accounts",
        "inventory",
        "orders",
        "sessions",
        "transfers",
        "users",
    ]
    assert cli("schema", "check", "-", "--prune", stdin=as_json.stdout).code == 0
    assert cli("schema", "dump", "-o", "csv").code == 2


def test_init_prints_a_manifest_and_needs_no_server(cli: Runner) -> None:
    for arguments, name in (((), "college"), (("shop",), "shop")):
        shown = cli("schema", "init", *arguments, connected=False)
        assert (shown.code, shown.stdout) == (0, manifest.builtin_text(name))
    document = cli("schema", "init", "college", "-o", "json", connected=False).json()
    assert document["collections"]["students"]["validationAction"] == "error"
    unknown = cli("schema", "init", "colege", connected=False)
    assert (unknown.code, "did you mean 'college'?" in unknown.stderr) == (2, True)


@pytest.mark.parametrize("verb", ["plan", "check", "apply"])
def test_one_manifest_is_needed_and_only_one(cli: Runner, verb: str) -> None:
    assert cli("schema", verb).code == 2
    assert cli("schema", verb, "-", "--builtin", "shop").code == 2
    assert cli("schema", verb, "--builtin", "nope").code == 2


def test_a_typo_names_its_line(cli: Runner, tmp_path: Path) -> None:
    file = tmp_path / "schema.yaml"
    file.write_text(USERS.replace("unique", "uniqe"))
    wrong = cli("schema", "apply", str(file))
    assert wrong.code == 2
    assert (
        wrong.stderr == f"error: {file}:4:28: unknown key uniqe in an index\nhint: did you mean 'unique'?\n"
    )
    error = cli("schema", "apply", str(file), "-o", "json").error()
    assert (error["line"], error["column"], error["key"], error["exit"]) == (4, 28, "uniqe", 2)


def test_each_format_shows_the_changes(cli: Runner) -> None:
    as_csv = cli("schema", "plan", "-", "-o", "csv", stdin=USERS).stdout.splitlines()
    assert as_csv == [
        "collection,kind,action,name,status",
        "users,collection,create,users,planned",
        "users,index,create,email_1,planned",
    ]
    rows = cli("schema", "plan", "-", "-o", "ndjson", stdin=USERS).stdout.splitlines()
    assert [json.loads(row)["kind"] for row in rows] == ["collection", "index"]
    as_markdown = cli("schema", "plan", "-", "-o", "markdown", stdin=USERS).stdout.splitlines()
    assert as_markdown[0] == "| change | object | detail |"


def test_text_of_the_database_cannot_drive_the_terminal(cli: Runner, sync_db: SyncDatabase) -> None:
    sync_db["users"].create_index("a", name="\x1b[31mred")
    shown = cli("schema", "plan", "-", "--prune", "--no-color", tty=True, stdin="collections: {users: {}}")
    assert "\x1b" not in shown.stdout
    assert "\\x1b[31mred" in shown.stdout
    assert cli("schema", "check", "-", "--prune", stdin=cli("schema", "dump").stdout).code == 0


@pytest.mark.parametrize(
    ("name", "collection", "document", "fits"),
    [
        ("college", "students", {"name": "A", "email": "a@x.org", "course": "c", "gpa": 4.0}, True),
        ("college", "students", {"name": "A", "email": "a@x.org", "course": "c", "gpa": 3}, True),
        ("college", "students", {"name": "A", "email": "a@x.org", "course": "c", "gpa": 4.1}, False),
        ("college", "students", {"name": "A", "email": "a@x", "course": "c", "gpa": 4}, False),
        ("college", "students", {"name": "A", "email": "a@x.org", "course": "c"}, False),
        ("shop", "accounts", {"_id": "a", "owner": "x", "currency": "EUR", "balance": 5}, True),
        ("shop", "accounts", {"_id": "a", "balance": 5.5}, True),
        ("shop", "accounts", {"_id": "a", "balance": -1}, False),
        ("shop", "inventory", {"_id": "p", "name": "P", "price": 1.5, "stock": 0}, True),
        ("shop", "inventory", {"_id": "p", "stock": -1}, False),
        ("shop", "transfers", {"_id": "k", "from": "a", "to": "b", "amount": "5"}, False),
        ("shop", "sessions", {"anything": 1}, True),
    ],
)
def test_the_shipped_validators_take_what_they_should(
    cli: Runner, sync_db: SyncDatabase, name: str, collection: str, document: dict[str, Any], fits: bool
) -> None:
    from pymongo.errors import WriteError

    cli("schema", "apply", "--builtin", name)
    if fits:
        sync_db[collection].insert_one(document)
    else:
        with pytest.raises(WriteError):
            sync_db[collection].insert_one(document)


def test_orders_and_users_take_every_type_of_money_and_status(cli: Runner, sync_db: SyncDatabase) -> None:
    from datetime import UTC, datetime

    from bson import Decimal128, ObjectId
    from pymongo.errors import WriteError

    cli("schema", "apply", "--builtin", "shop")
    now = datetime.now(UTC)
    for amount in (Decimal128("9.99"), 9.99, 10):
        for status in ("pending", "completed", "cancelled", "refunded"):
            order = {"user_id": ObjectId(), "product": "p", "qty": 1, "amount": amount, "status": status}
            sync_db["orders"].insert_one({**order, "created_at": now})
    with pytest.raises(WriteError):
        sync_db["orders"].insert_one(
            {"user_id": ObjectId(), "amount": 1, "status": "lost", "created_at": now}
        )
    sync_db["users"].insert_one({"name": "A", "email": "a@x.org", "active": True, "created_at": now})
    with pytest.raises(WriteError):
        sync_db["users"].insert_one({"name": "", "email": "b@x.org", "created_at": now})
