"""`motorctl schema` as a user runs it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import secured
from conftest import Server, command, until
from secured import User, as_user

from motorctl import manifest
from motorctl.commands import schema_options

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Result, Runner
    from pymongo.database import Database

    SyncDatabase = Database[dict[str, Any]]


def summary(result: Result) -> str:
    """Return what the last line on stderr says of the database that it names."""
    return result.stderr.splitlines()[-1].partition(": ")[2]


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
    assert summary(again) == "in sync, 21 as they should be"


def test_the_summary_names_the_database_and_its_server(
    cli: Runner, server_uri: str, dbname: str, tmp_path: Path
) -> None:
    shown = cli("schema", "plan", "-", stdin=USERS)
    host = server_uri.removeprefix("mongodb://").partition("/")[0]
    assert shown.stderr == f"{dbname} at {host}: 2 to change\n"
    config = tmp_path / "config.toml"
    config.write_text('[profiles.other]\nuri = "mongodb://nowhere.invalid"\n')
    other = cli("-p", "other", "schema", "plan", "-", stdin=USERS, env={"MOTORCTL_CONFIG": str(config)})
    assert other.stderr.splitlines() == [
        "warning: the server is the one of the environment MOTORCTL_URI, not of the profile other",
        f"{dbname} at {host}: 2 to change",
    ]


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
      - {keys: {email: 1}, sparse: true}
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
! rebuild  index users.email_1  sparse: false -> true; in place of email_1
- drop     index users.old_1    keys {old: 1}
"""
    )
    assert summary(planned) == "5 to change, 1 as they should be"
    unpruned = cli("schema", "plan", "-", stdin=text)
    assert unpruned.stderr.endswith("1 not in the manifest (--prune drops them)\n")
    assert "= keep" in cli("schema", "plan", "-", "-v", stdin=text).stdout
    assert "= keep" not in unpruned.stdout


def test_a_terminal_of_80_columns_is_not_overrun(cli: Runner) -> None:
    shown = cli("schema", "plan", "--builtin", "shop", "--no-color", tty=True, columns=80)
    assert max(len(line) for line in shown.stdout.splitlines()) <= 80
    assert "(21 rows)" in shown.stdout


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


def test_duplicates_are_found_before_anything_is_touched(cli: Runner, sync_db: SyncDatabase) -> None:
    sync_db["users"].insert_many([{"_id": n, "email": "a"} for n in range(3)])
    text = USERS + "  orders: {}\n"
    planned = cli("schema", "plan", "-", stdin=text)
    assert planned.code == 0
    table, _, below = planned.stdout.partition("\n\n")
    assert "+ create  index users.email_1  blocked; keys {email: 1}, unique" in table.splitlines()
    assert below.startswith("blocked: index users.email_1: ")
    assert "3 documents" in below
    assert summary(planned) == "1 to change, 1 blocked, 1 as they should be"
    on_a_terminal = cli("schema", "plan", "-", "--no-color", stdin=text, tty=True, columns=40).stdout
    lines = on_a_terminal.partition("\n\n")[2].splitlines()
    assert max(map(len, lines)) <= 40
    # Which of the equal documents comes first is the server's choice.
    assert sorted(re.findall(r"\w+", " ".join(lines))) == sorted(re.findall(r"\w+", below))

    refused = cli("schema", "apply", "-", "-o", "json", stdin=text)
    assert refused.code == 8
    assert "something stands in the way: nothing was changed" in refused.stderr
    (change,) = [one for one in refused.json()["changes"] if one["blockers"]]
    assert (change["name"], change["status"]) == ("email_1", "blocked")
    assert change["blockers"][0]["ignorable"] is True
    assert sync_db.list_collection_names() == ["users"]
    assert cli("schema", "apply", "-", "--dry-run", stdin=text).code == 8


def test_a_look_at_the_data_can_be_left_out_or_cut_short(cli: Runner, sync_db: SyncDatabase) -> None:
    sync_db["users"].insert_many([{"email": "a"}, {"email": "a"}])
    planned = cli("schema", "plan", "-", "--no-data-checks", stdin=USERS)
    assert summary(planned) == "1 to change, 1 as they should be"
    assert "blocked" not in planned.stdout
    looked = cli("schema", "plan", "-", "--data-checks-seconds", "60", stdin=USERS)
    assert summary(looked).startswith("1 blocked")
    both = cli("schema", "plan", "-", "--no-data-checks", "--data-checks-seconds", "5", stdin=USERS)
    assert (both.code, "exclude each other" in both.stderr) == (2, True)
    assert cli("schema", "plan", "-", "--data-checks-seconds", "0", stdin=USERS).code == 2


@pytest.mark.parametrize("way", ["--no-data-checks", "--ignore-blockers"])
def test_a_failed_change_is_exit_1_and_tells_why(cli: Runner, sync_db: SyncDatabase, way: str) -> None:
    sync_db["users"].insert_many([{"email": "a"}, {"email": "a"}])
    failed = cli("schema", "apply", "-", way, stdin=USERS)
    assert failed.code == 1
    (row,) = failed.stdout.splitlines()[1:]
    assert row.startswith("+ create  index users.email_1  failed: ")
    assert 'duplicate key: email "a" is already in users' in row
    assert failed.stderr == (
        "warning: 1 of 1 changes failed; when that is mended, `motorctl schema apply` does the rest\n"
    )
    (change,) = [
        c
        for c in cli("schema", "apply", "-", way, "-o", "json", stdin=USERS).json()["changes"]
        if c["kind"] == "index"
    ]
    assert (change["status"], change["error"]["code"]) == ("failed", 11000)


def test_what_the_server_cannot_do_is_left_out_with_ignore_blockers(
    cli: Runner, sync_db: SyncDatabase
) -> None:
    sync_db.create_collection("log")
    text = USERS + "  log: {clusteredIndex: {key: {_id: 1}, unique: true}}\n"
    done = cli("schema", "apply", "-", "--ignore-blockers", stdin=text)
    assert done.code == 8
    assert "email_1" in sync_db["users"].index_information()
    assert "blocked: collection log: " in done.stdout
    assert summary(done) == "1 blocked, 2 applied"


def test_a_text_index_of_somebody_else_is_not_replaced_unasked(cli: Runner, sync_db: SyncDatabase) -> None:
    sync_db["docs"].create_index([("body", "text")], name="mine")
    text = "collections: {docs: {indexes: [{keys: {title: text}}]}}"
    planned = cli("schema", "plan", "-", stdin=text)
    assert summary(planned) == "1 blocked, 1 as they should be"
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
    assert "in place of mine (not in the manifest)" in replaced.stdout
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
    text = USERS.replace("unique", "sparse") + "      - {keys: {n: 1}, name: email_2}\n"
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
    (blocker,) = change["blockers"]
    assert (blocker["message"], blocker["ignorable"]) == ("capped of log can't be changed in place", False)
    assert "copy the documents into a new collection" in blocker["hint"]
    assert sync_db.list_collection_names() == ["log"]


def test_absent_collections_are_asked_for_with_their_documents(cli: Runner, sync_db: SyncDatabase) -> None:
    sync_db["logs"].insert_many([{} for _ in range(1234)])
    sync_db["users"].create_index("old")
    text = """
collections:
  logs: {state: absent}
  users: {indexes: [{keys: {old: 1}, state: absent}]}
"""
    alone = cli("schema", "apply", "-", stdin=text)
    assert alone.code == 2
    assert "collection logs with 1,234 documents" in alone.stderr
    assert "index users.old_1" in alone.stderr
    assert alone.stderr.count("?") == 1
    assert sync_db["logs"].count_documents({}) == 1234
    assert cli("schema", "apply", "-", "--yes", stdin=text).code == 0
    assert sorted(sync_db.list_collection_names()) == ["motorctl_schema_history", "users"]
    assert list(sync_db["users"].index_information()) == ["_id_"]
    assert cli("schema", "check", "-", stdin=text).code == 0


def test_a_view_has_no_documents_to_lose(cli: Runner, sync_db: SyncDatabase) -> None:
    sync_db["users"].insert_one({})
    sync_db.create_collection("active", viewOn="users", pipeline=[])
    asked = cli("schema", "apply", "-", stdin="collections: {active: {state: absent}}")
    assert asked.stderr.startswith(f"error: drop collection active in database {sync_db.name}? ")


def test_what_a_killed_rebuild_left_is_cleaned_up_unasked(cli: Runner, sync_db: SyncDatabase) -> None:
    sync_db["users"].create_index("email", unique=True)
    sync_db["users"].create_index("n", name="motorctl_temporary_index")
    done = cli("schema", "apply", "-", stdin=USERS)
    assert (done.code, "- drop  index users.motorctl_temporary_index" in done.stdout) == (0, True)
    assert sorted(sync_db["users"].index_information()) == ["_id_", "email_1"]


def test_what_imports_and_reports_keep_is_no_drift(cli: Runner, sync_db: SyncDatabase) -> None:
    assert cli("schema", "apply", "--builtin", "shop", "-q").code == 0
    sync_db.motorctl_imports.insert_one({"_id": "orders/orders.ndjson"})
    sync_db.motorctl_reports.insert_one({"_id": "revenue_by_month"})
    assert cli("schema", "apply", "--builtin", "shop", "--prune", "--yes", "-q").code == 0
    assert "motorctl_" not in cli("schema", "dump").stdout
    assert sync_db.motorctl_imports.count_documents({}) == 1
    assert sync_db.motorctl_reports.count_documents({}) == 1


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
    assert cli("schema", verb, "--builtin", "shop", "--env").code == 2


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


def test_commands_are_shown_when_asked(cli: Runner) -> None:
    shown = cli("schema", "plan", "-", "-v", stdin=USERS).stdout
    assert shown.endswith("""

collection users:
  {"create": "users"}
index users.email_1:
  {"createIndexes": "users", "indexes": [{"key": {"email": 1}, "name": "email_1", "unique": true}]}
""")
    assert "createIndexes" not in cli("schema", "plan", "-", stdin=USERS).stdout


PARTS = """
collections:
  users:
    validator: {name: {$type: string}}
    indexes: [{keys: {email: 1}}]
  orders: {capped: true, size: 4096, indexes: [{keys: {n: 1}}]}
"""


def planned(cli: Runner, *arguments: str) -> list[str]:
    changes = cli("schema", "plan", "-", "-o", "json", *arguments, stdin=PARTS).json()["changes"]
    return sorted(f"{one['kind']} {one['collection']}" for one in changes)


def test_a_part_is_planned_checked_applied_and_dumped(cli: Runner, sync_db: SyncDatabase) -> None:
    assert planned(cli, "--collection", "ord*") == ["collection orders", "index orders"]
    # A collection that isn't there comes along with what it is made for.
    assert planned(cli, "--only", "validators") == ["collection users", "validator users"]
    assert cli("schema", "apply", "-", "--collection", "users", "-q", stdin=PARTS).code == 0
    assert "orders" not in sync_db.list_collection_names()
    assert cli("schema", "check", "-", stdin=PARTS).code == 8
    assert cli("schema", "check", "-", "--collection", "u*", stdin=PARTS).code == 0
    sync_db.command({"collMod": "users", "validator": {}})
    assert cli("schema", "check", "-", "--collection", "u*", stdin=PARTS).code == 8
    assert cli("schema", "check", "-", "--collection", "u*", "--only", "indexes", stdin=PARTS).code == 0
    assert planned(cli, "--collection", "users", "--only", "validators") == ["validator users"]
    sync_db.create_collection("other")
    dumped = cli("schema", "dump", "--only", "indexes", "-o", "json").json()
    assert dumped == {"collections": {"users": {"indexes": [{"keys": {"email": 1}}]}}}
    assert list(cli("schema", "dump", "--collection", "o*", "-o", "json").json()["collections"]) == ["other"]
    assert cli("schema", "check", "-", "--collection", "oth*", stdin=PARTS).code == 0


@pytest.mark.parametrize("verb", ["plan", "check", "apply", "dump"])
def test_a_glob_without_a_match_is_a_mistake(cli: Runner, sync_db: SyncDatabase, verb: str) -> None:
    sync_db.create_collection("customers")
    sync_db.create_collection("users")
    manifest = () if verb == "dump" else ("-",)
    wrong = cli("schema", verb, *manifest, "--collection", "custmers", stdin=PARTS)
    assert wrong.code == 2
    assert wrong.stderr == (
        "error: --collection custmers matches no collection\nhint: did you mean 'customers'?\n"
    )
    assert cli("schema", verb, *manifest, "--only", "idnexes", stdin=PARTS).code == 2


def test_several_files_and_a_directory(cli: Runner, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(USERS)
    (tmp_path / "b.json").write_text('{"collections": {"orders": {}}}')
    files = [str(tmp_path / name) for name in ("a.yaml", "b.json")]
    together = cli("schema", "plan", *files, "-o", "json").json()
    assert {one["collection"] for one in together["changes"]} == {"users", "orders"}
    assert cli("schema", "plan", str(tmp_path), "-o", "json").json() == together
    one = cli("schema", "plan", files[0], "-", "-o", "json", stdin='{"collections": {"orders": {}}}')
    assert one.json() == together


def test_variables_are_replaced_only_when_asked(cli: Runner) -> None:
    text = USERS.replace(", unique: true}", "}") + "        expireAfterSeconds: ${TTL}\n"
    text = text.replace("{keys: {email: 1}}", "keys: {email: 1}")
    assert cli("schema", "plan", "-", stdin=text, env={"TTL": "60"}).code == 2
    done = cli("schema", "plan", "-", "--env", "-o", "json", stdin=text, env={"TTL": "60"})
    assert done.json()["changes"][1]["after"]["expireAfterSeconds"] == 60
    assert cli("schema", "plan", "-", "--env", stdin=text).code == 2


def test_a_quorum_is_sent_along(cli: Runner, sync_db: SyncDatabase) -> None:
    done = cli("schema", "apply", "-", "--commit-quorum", "majority", stdin=USERS)
    assert done.code == 0
    text = USERS + "      - {keys: {n: 1}}\n"
    too_many = cli("schema", "apply", "-", "--commit-quorum", "49", stdin=text)
    assert too_many.code == 1
    assert "n_1" not in sync_db["users"].index_information()


def test_a_plan_has_the_digest_by_which_the_history_knows_its_manifest(cli: Runner) -> None:
    planned = cli("schema", "plan", "-", "-o", "json", stdin=USERS).json()
    assert cli("schema", "apply", "-", "-q", stdin=USERS).code == 0
    (record,) = cli("schema", "history", "-o", "json").json()
    assert planned["digest"] == record["digest"]
    assert planned["digest"] in cli("schema", "plan", "-", "-v", stdin=USERS).stderr


def test_each_apply_is_on_record(cli: Runner, sync_db: SyncDatabase, tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text(USERS)
    empty = cli("schema", "history")
    assert (empty.code, len(empty.stdout.splitlines())) == (0, 1)
    assert cli("schema", "apply", str(file), "-q").code == 0
    assert cli("schema", "apply", str(file), "-q").code == 0
    assert cli("schema", "apply", str(file), "--dry-run", "-q").code == 0
    again, record = cli("schema", "history", "-o", "json").json()
    assert (again["result"], again["changes"], again["digest"]) == ("applied", [], record["digest"])
    assert record["result"] == "applied"
    assert [one["status"] for one in record["changes"]] == ["applied", "applied"]
    assert (record["manifest"], len(record["digest"])) == ([str(file)], 64)
    assert record["options"]["prune"] is False
    sync_db["users"].drop_indexes()
    sync_db["users"].insert_many([{"email": "a"}, {"email": "a"}])
    assert cli("schema", "apply", str(file), "--no-data-checks", "-q").code == 1
    assert cli("schema", "apply", "--builtin", "shop", "--no-data-checks", "--no-history", "-q").code == 1
    rows = cli("schema", "history").stdout.splitlines()
    assert [line.split()[0] for line in rows] == ["when", *(row.split()[0] for row in rows[1:])]
    assert rows[1].endswith("1 failed   failed")
    assert rows[3].endswith("2 applied  applied")
    assert record["digest"][:12] in rows[3]
    assert len(cli("schema", "history", "--limit", "1", "-o", "ndjson").stdout.splitlines()) == 1
    assert "motorctl_schema_history" not in cli("schema", "dump").stdout


def test_a_dump_says_what_it_leaves_out_and_how_indexes_are_used(cli: Runner, sync_db: SyncDatabase) -> None:
    sync_db.create_collection("odd", storageEngine={"wiredTiger": {"configString": "block_compressor=zlib"}})
    sync_db["odd"].create_index(
        "n", storageEngine={"wiredTiger": {"configString": "prefix_compression=false"}}
    )
    list(sync_db["odd"].find({"n": 1}))
    dumped = cli("schema", "dump", "--stats")
    assert dumped.stderr.splitlines() == [
        "warning: not in the manifest, which has no word for it: storageEngine of odd",
        "warning: not in the manifest, which has no word for it: storageEngine of index odd.n_1",
    ]
    (comment,) = [line for line in dumped.stdout.splitlines() if "#" in line]
    assert " since " in comment
    assert cli("schema", "check", "-", "--prune", stdin=dumped.stdout).code == 0
    assert "#" not in cli("schema", "dump").stdout
    assert cli("schema", "dump", "--stats", "-o", "json").code == 2


def test_the_json_schema_of_a_manifest(cli: Runner) -> None:
    shown = cli("schema", "json-schema", connected=False)
    assert shown.code == 0
    assert json.loads(shown.stdout) == manifest.json_schema()
    assert cli("schema", "json-schema", "-o", "json", connected=False).json() == manifest.json_schema()
    assert len(shown.stdout.splitlines()) > 10
    assert cli("schema", "json-schema", "-o", "csv", connected=False).code == 2


def test_shipped_names_are_completed_as_they_are() -> None:
    assert schema_options.shipped() == sorted(manifest.builtins())


def test_each_format_shows_the_changes(cli: Runner) -> None:
    as_csv = cli("schema", "plan", "-", "-o", "csv", stdin=USERS).stdout.splitlines()
    assert as_csv == [
        "collection,kind,action,name,status,detail",
        "users,collection,create,users,planned,",
        'users,index,create,email_1,planned,"keys {email: 1}, unique"',
    ]
    rows = cli("schema", "plan", "-", "-o", "ndjson", stdin=USERS).stdout.splitlines()
    assert [json.loads(row)["kind"] for row in rows] == ["collection", "index"]
    as_markdown = cli("schema", "plan", "-", "-o", "markdown", stdin=USERS).stdout
    assert as_markdown == cli("schema", "plan", "-", "--format", "markdown", stdin=USERS).stdout
    assert as_markdown.splitlines()[4] == "| change | object | detail |"
    assert cli("schema", "plan", "-", "--format", "markdown", "-o", "json", stdin=USERS).code == 2
    assert cli("schema", "check", "-", "-o", "markdown", stdin=USERS).stdout.startswith("### Schema check of")


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


def test_a_user_who_may_only_read_can_check_and_plan(cli: Runner, guarded: Server) -> None:
    root, reader = as_user(guarded, "root"), as_user(guarded, "reader")
    assert cli("schema", "apply", "--builtin", "shop", "-q", "--uri", root, connected=False).code == 0
    for verb in ("check", "plan"):
        done = cli("schema", verb, "--builtin", "shop", "--uri", reader, connected=False)
        assert (done.code, done.stdout) == (0, ""), done.stderr
        assert summary(done).startswith("in sync")
    for prune in ((), ("--prune",)):
        drift = cli("schema", "check", "--builtin", "college", *prune, "--uri", reader, connected=False)
        assert drift.code == 8, drift.stderr
    assert cli("schema", "diff", "builtin:shop", "db", "--uri", reader, connected=False).code == 0
    assert cli("schema", "history", "--uri", reader, connected=False).code == 0
    dumped = cli("schema", "dump", "--uri", reader, connected=False)
    assert (dumped.code, "users" in dumped.stdout) == (0, True)
    refused = cli("schema", "apply", "--builtin", "college", "--uri", reader, connected=False)
    assert refused.code == 8
    assert "privilege" in refused.stdout
    at_once = cli(
        "schema", "apply", "--builtin", "college", "--no-data-checks", "--uri", reader, connected=False
    )
    assert at_once.code == 4
    assert "this is not in the history: needs `update` on shop.motorctl_schema_history" in at_once.stderr


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with users: `root`, and `reader`, who may read `shop`."""
    reader = User("reader", [{"role": "read", "db": "shop"}])
    with secured.guarded(tmp_path_factory.mktemp("auth"), reader) as server:
        yield server


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_apply_has_a_row_for_each_change(
    server_uri: str, sync_db: SyncDatabase, number: signal.Signals, code: int, tmp_path: Path
) -> None:
    sync_db["users"].insert_many([{"email": n, "marked": sync_db.name} for n in range(10)])
    file = tmp_path / "schema.yaml"
    file.write_text("collections:\n  orders: {}\n" + USERS.removeprefix("collections:\n"))
    environment = {**os.environ, "MOTORCTL_URI": server_uri, "MOTORCTL_DB": sync_db.name}
    with hanging_builds(sync_db):
        process = subprocess.Popen(
            command("schema", "apply", str(file), "-o", "json"),
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        until(lambda: building(sync_db), "a build")
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == code, stderr
    changes = {(one["kind"], one["collection"]): one for one in json.loads(stdout)["changes"]}
    assert changes["collection", "orders"]["status"] == "applied"
    stopped = changes["index", "users"]
    assert (stopped["status"], stopped["blockers"][0]["reason"]) == ("skipped", "stopped")
    assert "is still being built on the server" in stderr
    until(lambda: not building(sync_db), "no build")
    (record,) = sync_db.motorctl_schema_history.find()
    assert record["result"] == "interrupted"


def building(db: SyncDatabase) -> bool:
    pipeline: list[dict[str, Any]] = [
        {"$currentOp": {"allUsers": True, "idleConnections": True}},
        {"$match": {"ns": f"{db.name}.users", "command.createIndexes": "users"}},
    ]
    return bool(list(db.client.admin.aggregate(pipeline)))


@contextmanager
def hanging_builds(db: SyncDatabase) -> Iterator[None]:
    """Stop index builds at a document of this database, until the block is left."""
    name = "hangIndexBuildDuringCollectionScanPhaseBeforeInsertion"
    data = {"fieldsToMatch": {"marked": db.name}}
    admin = db.client.admin
    admin.command({"configureFailPoint": name, "mode": "alwaysOn", "data": data})
    try:
        yield
    finally:
        admin.command({"configureFailPoint": name, "mode": "off"})


def test_a_stop_while_the_record_is_begun_is_on_record_too(
    cli: Runner, server_uri: str, dbname: str, sync_db: SyncDatabase
) -> None:
    """Stopped while the server is slow to write how it began: the end is written after that."""
    name = f"slow_{dbname}"
    data = {"failCommands": ["update"], "blockConnection": True, "blockTimeMS": 1500, "appName": name}
    admin = sync_db.client.admin
    admin.command({"configureFailPoint": "failCommand", "mode": {"times": 1}, "data": data})
    uri = server_uri.replace("?", f"{dbname}?") + f"&appName={name}"
    try:
        process = subprocess.Popen(
            command("--uri", uri, "schema", "apply", "--builtin", "college"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "COLUMNS": "80"},
            text=True,
        )
        until(
            lambda: any(
                one.get("appName") == name and one.get("op") in ("update", "command") and one.get("active")
                for one in admin.aggregate([{"$currentOp": {"allUsers": True}}])
                if "update" in one.get("command", {})
            ),
            "the record is being written",
        )
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=30)
    finally:
        admin.command({"configureFailPoint": "failCommand", "mode": "off"})
    assert process.returncode == 130, stderr
    assert "stopped" in stdout
    (record,) = cli("schema", "history", "-o", "json").json()
    assert record["result"] == "interrupted"
