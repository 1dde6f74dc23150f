"""`motorctl indexes` as a user runs it, and how keys are read."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from motorctl.core.indexes import parse_keys
from motorctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Runner
    from pymongo.database import Database

    SyncDatabase = Database[dict[str, Any]]


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        (["email"], {"email": 1}),
        (["+email"], {"email": 1}),
        (["status", "-created_at"], {"status": 1, "created_at": -1}),
        (["created_at:-1"], {"created_at": -1}),
        (["address.city:1"], {"address.city": 1}),
        (["name:text", "bio:text"], {"name": "text", "bio": "text"}),
        (["loc:2dsphere"], {"loc": "2dsphere"}),
        (["loc:2d"], {"loc": "2d"}),
        (["id:hashed"], {"id": "hashed"}),
        (["$**"], {"$**": 1}),
        (["a:b:1"], {"a:b": 1}),
    ],
)
def test_keys_are_read_in_order(words: list[str], keys: dict[str, Any]) -> None:
    assert list(parse_keys(words).items()) == list(keys.items())


@pytest.mark.parametrize("words", [[], [""], ["-"], [":1"], ["a:2"], ["a:txt"], ["a:"], ["a", "-a"]])
def test_keys_that_cannot_be_read(words: list[str]) -> None:
    with pytest.raises(UsageError):
        parse_keys(words)


def test_a_kind_with_a_typo_has_a_near_one() -> None:
    with pytest.raises(UsageError) as raised:
        parse_keys(["a:txt"])
    assert raised.value.hint == "did you mean 'text'?"


def test_create_list_and_drop(cli: Runner, sync_db: SyncDatabase) -> None:
    created = cli("indexes", "create", "users", "email", "--unique", "-o", "json")
    assert (created.code, created.json()["action"], created.json()["status"]) == (0, "create", "applied")
    again = cli("indexes", "create", "users", "email", "--unique", "-o", "json")
    assert (again.code, again.json()["action"], again.json()["status"]) == (0, "keep", "in_sync")
    assert "email_1 of users is there already" in again.stderr
    listed = cli("indexes", "list", "users")
    assert (
        listed.stdout
        == """\
collection  name     keys        options
users       _id_     {_id: 1}
users       email_1  {email: 1}  unique
"""
    )
    dropped = cli("indexes", "drop", "users", "email_1", "--yes", "-o", "json")
    assert (dropped.code, dropped.json()["action"], dropped.json()["status"]) == (0, "drop", "applied")
    assert list(sync_db["users"].index_information()) == ["_id_"]


def test_every_option_reaches_the_server(cli: Runner, sync_db: SyncDatabase) -> None:
    done = cli(
        *("indexes", "create", "users", "seen", "--unique", "--hidden", "--expire-after-seconds", "60"),
        *("--partial", '{"n": {"$gt": {"$numberLong": "5"}}}', "--collation", "de", "--name", "mine"),
    )
    assert done.code == 0
    (index,) = [i for i in sync_db["users"].list_indexes() if i["name"] == "mine"]
    assert (index["unique"], index["hidden"], index["expireAfterSeconds"]) == (True, True, 60)
    assert index["partialFilterExpression"] == {"n": {"$gt": 5}}
    assert index["collation"]["locale"] == "de"
    cli("indexes", "create", "users", "a", "--sparse", "--collation", '{"locale": "en", "strength": 1}')
    (other,) = [i for i in sync_db["users"].list_indexes() if i["name"] == "a_1"]
    assert (other["sparse"], other["collation"]["strength"]) == (True, 1)


def test_a_filter_may_come_from_a_file_or_stdin(cli: Runner, sync_db: SyncDatabase, tmp_path: Path) -> None:
    file = tmp_path / "filter.json"
    file.write_text('{"n": {"$gt": {"$numberLong": "5"}}}')
    assert cli("indexes", "create", "users", "a", "--partial", f"@{file}").code == 0
    assert cli("indexes", "create", "users", "b", "--partial", "-", stdin=file.read_text()).code == 0
    assert cli("indexes", "create", "users", "c", "--collation", "-", stdin='{"locale": "de"}').code == 0
    indexes = {index["name"]: index for index in sync_db["users"].list_indexes()}
    assert indexes["a_1"]["partialFilterExpression"] == {"n": {"$gt": 5}}
    assert indexes["b_1"]["partialFilterExpression"] == {"n": {"$gt": 5}}
    assert indexes["c_1"]["collation"]["locale"] == "de"


def test_list_shows_every_collection_and_its_own_json(cli: Runner, sync_db: SyncDatabase) -> None:
    sync_db["b"].create_index([("x", -1)], expireAfterSeconds=5)
    sync_db["a"].create_index([("t", "text")])
    sync_db.create_collection("seen", viewOn="a", pipeline=[])
    rows = cli("indexes", "list", "-o", "json").json()
    assert [(row["collection"], row["name"]) for row in rows] == [
        ("a", "_id_"),
        ("a", "t_text"),
        ("b", "_id_"),
        ("b", "x_-1"),
    ]
    assert rows[1] == {"collection": "a", "name": "t_text", "keys": {"t": "text"}, "options": {}}
    assert rows[3]["options"] == {"expireAfterSeconds": 5}
    assert cli("indexes", "list", "nope").code == 5


@pytest.mark.parametrize(
    "arguments",
    [
        ("email", "--unique"),
        ("email", "--name", "other"),
        ("email", "--hidden"),
        ("name", "--name", "email_1"),
    ],
)
def test_an_index_in_the_way_is_named_and_not_replaced(
    cli: Runner, sync_db: SyncDatabase, arguments: tuple[str, ...]
) -> None:
    sync_db["users"].create_index("email")
    before = sync_db["users"].index_information()
    refused = cli("indexes", "create", "users", *arguments)
    assert refused.code == 1
    assert "index email_1 of users stands in the way: keys {email: 1}" in refused.stderr
    assert "motorctl indexes drop users email_1" in refused.stderr
    assert sync_db["users"].index_information() == before


def test_duplicates_refuse_a_unique_index_and_name_the_field(cli: Runner, sync_db: SyncDatabase) -> None:
    sync_db["users"].insert_many([{"email": "a@x.org"}, {"email": "a@x.org"}])
    refused = cli("indexes", "create", "users", "email", "--unique", "-o", "json")
    assert refused.code == 6
    error = refused.error()
    assert (error["code"], error["field"], error["index"]) == ("duplicate_key", "email", "email_1")
    assert "one of them {email: a@x.org}" in error["message"]


def test_what_no_server_takes_is_exit_1(cli: Runner, sync_db: SyncDatabase) -> None:
    refused = cli("indexes", "create", "users", "a", "b", "--expire-after-seconds", "5", "-o", "json")
    assert refused.code == 1
    assert "expireAfterSeconds is for one key" in refused.error()["message"]
    assert refused.error()["wanted"]["keys"] == {"a": 1, "b": 1}
    assert sync_db.list_collection_names() == []


def test_a_commit_quorum_reaches_the_server(cli: Runner, sync_db: SyncDatabase) -> None:
    for quorum in ("1", "majority", "votingMembers"):
        assert cli("indexes", "create", "users", quorum, "--commit-quorum", quorum).code == 0
    assert len(sync_db["users"].index_information()) == 4
    for quorum in ("9", "nonsense"):
        refused = cli("indexes", "create", "users", "a", "--commit-quorum", quorum)
        assert refused.code == 1
        assert "index a_1 of users can't be built" in refused.stderr


def test_a_connection_that_is_lost_while_it_builds(cli: Runner, sync_db: SyncDatabase) -> None:
    data = {"failCommands": ["createIndexes"], "closeConnection": True, "namespace": f"{sync_db.name}.users"}
    with failing(sync_db, data):
        lost = cli("indexes", "create", "users", "a", "--retries", "1", "-o", "json")
    error = lost.error()
    assert (lost.code, error["code"], error["index"]) == (3, "unreachable", "a_1")
    assert "the connection was lost" in error["message"]
    assert "motorctl indexes build" in error["hint"]


def test_hide_and_unhide(cli: Runner, sync_db: SyncDatabase) -> None:
    sync_db["users"].create_index("a", unique=True)
    planned = cli("indexes", "hide", "users", "a_1", "--dry-run", "-o", "json").json()
    assert (planned["action"], planned["status"]) == ("modify", "planned")
    assert planned["commands"] == [{"collMod": "users", "index": {"name": "a_1", "hidden": True}}]
    assert "hidden" not in sync_db["users"].index_information()["a_1"]
    hidden = cli("indexes", "hide", "users", "a_1", "-o", "json").json()
    assert (hidden["status"], hidden["before"].get("hidden"), hidden["after"]["hidden"]) == (
        "applied",
        None,
        True,
    )
    assert sync_db["users"].index_information()["a_1"]["hidden"] is True
    again = cli("indexes", "hide", "users", "a_1", "-o", "json")
    assert (again.code, again.json()["action"], again.json()["status"]) == (0, "keep", "in_sync")
    assert "a_1 of users is hidden already" in again.stderr
    shown = cli("indexes", "unhide", "users", "a_1")
    assert (shown.code, shown.stderr) == (0, "")
    assert shown.stdout.splitlines()[1].startswith("modify  applied  users       a_1   hidden: ")
    assert sync_db["users"].index_information()["a_1"].get("hidden", False) is False
    again = cli("indexes", "unhide", "users", "a_1")
    assert (again.code, again.stderr) == (0, "index a_1 of users is seen by queries already\n")


@pytest.mark.parametrize("verb", ["hide", "unhide"])
def test_what_cannot_be_hidden(cli: Runner, sync_db: SyncDatabase, verb: str) -> None:
    sync_db["users"].create_index("a")
    assert cli("indexes", verb, "users", "_id_").code == 2
    assert cli("indexes", verb, "users", "nope").code == 5
    assert cli("indexes", verb, "nobody", "a_1").code == 5
    with refusing(sync_db, "collMod", 13):
        refused = cli("indexes", "hide", "users", "a_1")
    assert (refused.code, "no right to change the indexes of users" in refused.stderr) == (4, True)
    with refusing(sync_db, "collMod", 72):
        assert "index a_1 of users can't be changed" in cli("indexes", "hide", "users", "a_1").stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("a", "--partial", "nonsense"),
        ("a", "--partial", "[]"),
        ("a", "--collation", "{"),
        ("a", "--expire-after-seconds", "-1"),
        ("a:what",),
    ],
)
def test_wrong_arguments_are_exit_2(cli: Runner, arguments: tuple[str, ...]) -> None:
    assert cli("indexes", "create", "users", *arguments).code == 2


def test_dry_runs_change_nothing(cli: Runner, sync_db: SyncDatabase) -> None:
    planned = cli("indexes", "create", "users", "email", "--dry-run", "-o", "json")
    assert (planned.code, planned.json()["status"]) == (0, "planned")
    assert sync_db.list_collection_names() == []
    sync_db["users"].create_index("email")
    planned = cli("indexes", "drop", "users", "email_1", "--dry-run", "-o", "json")
    assert (planned.code, planned.json()["action"], planned.json()["status"]) == (0, "drop", "planned")
    assert planned.json()["commands"] == [{"dropIndexes": "users", "index": "email_1"}]
    assert "email_1" in sync_db["users"].index_information()


def test_drop_asks_and_names_what_is_not_there(cli: Runner, sync_db: SyncDatabase) -> None:
    sync_db["users"].create_index("email")
    assert cli("indexes", "drop", "users", "email_1").code == 2
    assert cli("indexes", "drop", "users", "_id_", "--yes").code == 2
    assert cli("indexes", "drop", "users", "nope", "--yes").code == 5
    # To a server this name means all of them.
    assert cli("indexes", "drop", "users", "*", "--yes").code == 5
    assert cli("indexes", "drop", "nobody", "email_1", "--yes").code == 5
    said = cli("indexes", "drop", "users", "email_1", stdin="n\n", tty=True)
    assert "nothing was dropped" in said.stderr
    assert sorted(sync_db["users"].index_information()) == ["_id_", "email_1"]


@pytest.mark.parametrize(("code", "exit_code"), [(13, 4), (85, 1), (67, 1)])
def test_the_servers_refusal_while_it_builds(
    cli: Runner, sync_db: SyncDatabase, code: int, exit_code: int
) -> None:
    with refusing(sync_db, "createIndexes", code):
        assert cli("indexes", "create", "users", "email").code == exit_code
        applied = cli("schema", "apply", "-", stdin="collections: {users: {indexes: [{keys: {email: 1}}]}}")
        assert applied.code == exit_code
    assert "email_1" not in sync_db["users"].index_information()


@pytest.mark.parametrize(("code", "exit_code"), [(13, 4), (27, 0), (8000, 1)])
def test_the_servers_refusal_to_drop(cli: Runner, sync_db: SyncDatabase, code: int, exit_code: int) -> None:
    sync_db["users"].create_index("email")
    with refusing(sync_db, "dropIndexes", code):
        assert cli("indexes", "drop", "users", "email_1", "--yes").code == exit_code


@contextmanager
def refusing(db: SyncDatabase, command: str, code: int) -> Iterator[None]:
    """Make the server answer a command on this database's users with an error."""
    with failing(db, {"failCommands": [command], "errorCode": code, "namespace": f"{db.name}.users"}):
        yield


@contextmanager
def failing(db: SyncDatabase, data: dict[str, Any]) -> Iterator[None]:
    admin = db.client.admin
    admin.command({"configureFailPoint": "failCommand", "mode": "alwaysOn", "data": data})
    try:
        yield
    finally:
        admin.command({"configureFailPoint": "failCommand", "mode": "off"})
