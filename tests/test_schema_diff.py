"""Two schemas side by side: the pure comparison, and `motorctl schema diff` on files and servers."""

from __future__ import annotations

import subprocess
import sys
import uuid
from typing import TYPE_CHECKING, Any

import pymongo
import pytest

from motorctl import manifest, settings
from motorctl.core.schema import Change, Collection, Index, Validator
from motorctl.core.schema.diff import as_current, diff
from motorctl.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Runner
    from pymongo.database import Database

    SyncDatabase = Database[dict[str, Any]]

USERS = "collections:\n  users:\n    indexes:\n      - {keys: {email: 1}, unique: true}\n"


def differing(a: list[Collection], b: list[Collection]) -> list[Change]:
    return [change for change in diff(a, b) if change.action != "keep"]


def deeds(a: list[Collection], b: list[Collection]) -> list[tuple[str, str, str]]:
    return [(change.action, change.kind, change.name) for change in differing(a, b)]


# --- the comparison ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["college", "shop"])
def test_a_schema_is_the_same_as_itself(name: str) -> None:
    schema = manifest.load_builtin(name)
    assert diff(schema, schema)
    assert differing(schema, schema) == []


def test_two_empty_ones_are_the_same() -> None:
    assert diff([], []) == []


def test_what_the_second_lacks_is_dropped() -> None:
    a = [Collection("logs"), Collection("users", {}, Validator({"a": 1}), (Index({"x": 1}), Index({"y": 1})))]
    b = [Collection("users", indexes=(Index({"y": 1}),))]
    assert sorted(deeds(a, b)) == [
        ("drop", "collection", "logs"),
        ("drop", "index", "x_1"),
        ("drop", "validator", "users"),
    ]
    assert sorted(deeds(b, a)) == [
        ("create", "collection", "logs"),
        ("create", "index", "x_1"),
        ("create", "validator", "users"),
    ]
    (drop,) = [change for change in diff(a, b) if change.collection == "logs"]
    assert (drop.status, [dict(one) for one in drop.commands]) == ("planned", [{"drop": "logs"}])


def test_what_a_lacking_collection_held_is_lacking_too() -> None:
    a = [Collection("users", {"capped": True, "size": 4096}, Validator({"a": 1}), (Index({"x": 1}),))]
    changes = [change for change in diff(a, [], whole=False) if change.action != "keep"]
    assert sorted((change.action, change.kind) for change in changes) == [
        ("drop", "index"),
        ("drop", "validator"),
    ]


def test_a_name_that_is_left_to_the_server_is_the_default_one() -> None:
    named = [Collection("users", indexes=(Index({"x": 1}, "mine"),))]
    default = [Collection("users", indexes=(Index({"x": 1}),))]
    assert deeds(default, named) == [("rebuild", "index", "mine")]
    assert deeds(named, default) == []


@pytest.mark.parametrize(
    ("a", "b", "status"),
    [
        ({"capped": True, "size": 4096}, {}, "blocked"),
        ({"timeseries": {"timeField": "t"}}, {}, "blocked"),
        ({"clusteredIndex": {"key": {"_id": 1}, "unique": True}}, {}, "blocked"),
        ({"collation": {"locale": "de"}}, {}, "blocked"),
        ({"changeStreamPreAndPostImages": {"enabled": True}}, {}, "planned"),
        (
            {"timeseries": {"timeField": "t"}, "expireAfterSeconds": 5},
            {"timeseries": {"timeField": "t"}},
            "planned",
        ),
        ({"capped": True, "size": 4096, "max": 5}, {"capped": True, "size": 4096}, "blocked"),
    ],
)
def test_an_option_that_only_the_first_has_is_a_difference(
    a: dict[str, Any], b: dict[str, Any], status: str
) -> None:
    (change,) = differing([Collection("c", a)], [Collection("c", b)])
    assert (change.action, change.kind, change.status) == ("modify", "collection", status)
    assert bool(change.blockers) == (status == "blocked")
    assert change.commands or status == "blocked"


def test_an_option_that_says_the_default_is_none() -> None:
    for options in (
        {"changeStreamPreAndPostImages": {"enabled": False}},
        {"capped": False},
        {"collation": {"locale": "simple"}},
    ):
        assert differing([Collection("c", options)], [Collection("c")]) == []
        assert differing([Collection("c")], [Collection("c", options)]) == []


def test_an_expiry_that_is_taken_away_has_its_command() -> None:
    a = {"timeseries": {"timeField": "t"}, "expireAfterSeconds": 5}
    (change,) = differing([Collection("c", a)], [Collection("c", {"timeseries": {"timeField": "t"}})])
    assert [dict(one) for one in change.commands] == [{"collMod": "c", "expireAfterSeconds": "off"}]


def test_a_view_against_a_collection_is_one_difference() -> None:
    view, plain = (
        Collection("v", {"viewOn": "c", "pipeline": []}),
        Collection("v", {"capped": True, "size": 1}),
    )
    for a, b in ((view, plain), (plain, view)):
        (change,) = [one for one in differing([a], [b]) if one.kind == "collection"]
        assert change.status == "blocked"


def test_a_view_without_a_pipeline_has_an_empty_one() -> None:
    short, there = Collection("v", {"viewOn": "c"}), Collection("v", {"viewOn": "c", "pipeline": []})
    for a, b in ((short, there), (there, short), (short, short)):
        assert differing([a], [b]) == []
    other = Collection("v", {"viewOn": "c", "pipeline": [{"$limit": 1}]})
    for a, b in ((short, other), (other, short)):
        (change,) = differing([a], [b])
        assert (change.action, change.status) == ("modify", "planned")


def test_a_clustered_index_without_a_name_is_content_with_any() -> None:
    clustered = {"key": {"_id": 1}, "unique": True}
    named = Collection("c", {"clusteredIndex": {**clustered, "name": "mine"}})
    assert differing([named], [Collection("c", {"clusteredIndex": clustered})]) == []
    (change,) = differing([named], [Collection("c", {"clusteredIndex": {**clustered, "name": "_id_"}})])
    assert change.status == "blocked"


def test_wishes_are_taken_as_fulfilled() -> None:
    wishes = [
        Collection("gone", absent=True),
        Collection(
            "new", {}, Validator({}), (Index({"x": 1}, renamed_from="old"),), None, (Index({"y": 1}),)
        ),
        Collection("moved", renamed_from="before"),
    ]
    assert as_current(wishes) == {
        "new": Collection("new", indexes=(Index({"x": 1}, "x_1"),)),
        "moved": Collection("moved"),
    }
    assert differing(wishes, wishes) == []


def test_a_renamed_collection_is_no_drop() -> None:
    changes = differing([Collection("people")], [Collection("users", renamed_from="people")])
    assert [(change.action, change.collection) for change in changes] == [("modify", "users")]


# --- the command -------------------------------------------------------------------------------------


@pytest.fixture
def other(server_uri: str, dbname: str) -> Iterator[SyncDatabase]:
    """A second database on the same server."""
    with pymongo.MongoClient[dict[str, Any]](server_uri) as client:
        name = f"{dbname}_{uuid.uuid4().hex[:6]}"
        yield client[name]
        client.drop_database(name)


def test_two_files_need_no_server_and_no_driver(tmp_path: Path, cli: Runner) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text(USERS)
    two.write_text(USERS.replace("unique: true", "sparse: true"))
    same = cli("schema", "diff", str(one), str(one), connected=False)
    assert (same.code, same.stdout, same.stderr) == (0, "", "the same, 2 alike\n")
    differs = cli("schema", "diff", str(one), str(two), connected=False)
    assert differs.code == 8
    assert differs.stdout.splitlines()[1].startswith("! rebuild  index users.email_1  ")
    script = (
        "import sys\nfrom motorctl.cli import main\n"
        f"main(['schema', 'diff', {str(one)!r}, {str(two)!r}, '--uri', 'mongodb://nowhere.invalid'])\n"
        "print([name for name in ('motor', 'pymongo.mongo_client', 'motorctl.client') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


@pytest.mark.parametrize("glob", ["new", "old", "n*"])
def test_a_collection_that_is_renamed_is_chosen_by_either_name(
    tmp_path: Path, cli: Runner, glob: str
) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text("collections: {old: {}, other: {}}\n")
    two.write_text("collections: {new: {renamed_from: old}, other: {capped: true, size: 4096}}\n")
    result = cli("schema", "diff", str(one), str(two), "--collection", glob, "-o", "json", connected=False)
    (change,) = result.json()["changes"]
    assert change["commands"] == [{"renameCollection": "old", "to": "new"}]


def test_a_manifest_against_the_server_and_back(cli: Runner, sync_db: SyncDatabase) -> None:
    assert cli("schema", "apply", "--builtin", "shop", "-q").code == 0
    assert cli("schema", "diff", "builtin:shop", "db").code == 0
    assert cli("schema", "diff", "db", "builtin:shop").code == 0
    sync_db.create_collection("extra")
    there = cli("schema", "diff", "db", "builtin:shop", "-o", "json")
    assert there.code == 8
    (drop,) = [one for one in there.json()["changes"] if one["action"] != "keep"]
    assert (drop["collection"], drop["action"], drop["kind"]) == ("extra", "drop", "collection")
    back = cli("schema", "diff", "builtin:shop", "db", "-o", "json").json()
    assert [one["action"] for one in back["changes"] if one["action"] != "keep"] == ["create"]
    assert cli("schema", "diff", "db", "builtin:shop", "--collection", "o*").code == 0
    assert cli("schema", "diff", "db", "builtin:shop", "--only", "indexes").code == 0
    sync_db["extra"].create_index("x")
    assert cli("schema", "diff", "db", "builtin:shop", "--only", "indexes").code == 8
    assert cli("schema", "diff", "db", "builtin:shop", "--only", "validators").code == 0
    assert "extra" in sync_db.list_collection_names()


def test_a_dump_on_stdin(cli: Runner, sync_db: SyncDatabase) -> None:
    sync_db["users"].create_index("email", collation={"locale": "de"})
    sync_db.create_collection("logs", capped=True, size=4096)
    sync_db.create_collection("seen", timeseries={"timeField": "t"}, expireAfterSeconds=60)
    sync_db.create_collection("names", collation={"locale": "fr", "strength": 1}, validator={"a": 1})
    sync_db["names"].create_index("a", collation={"locale": "simple"})
    sync_db["texts"].create_index([("b", "text"), ("c", "text")], weights={"b": 2})
    sync_db["users"].create_index([("$**", 1)], wildcardProjection={"x": 0})
    sync_db["users"].create_index("n", partialFilterExpression={"n": {"$gt": 1}}, unique=True)
    sync_db.create_collection("some", viewOn="users", pipeline=[{"$match": {"n": 1}}])
    dumped = cli("schema", "dump").stdout
    assert cli("schema", "diff", "-", "db", stdin=dumped).code == 0
    assert cli("schema", "diff", "db", "-", stdin=dumped).code == 0
    twice = cli("schema", "diff", "-", "-", stdin=dumped)
    assert (twice.code, "only one of the two" in twice.stderr) == (2, True)


def test_another_database_a_uri_and_a_profile(
    cli: Runner, sync_db: SyncDatabase, other: SyncDatabase, server_uri: str, tmp_path: Path
) -> None:
    sync_db["users"].create_index("email")
    other["users"].create_index("email", unique=True)
    base, _, query = server_uri.partition("/?")
    uri = f"{base}/{other.name}?{query}"
    config = tmp_path / "config.toml"
    config.write_text(f'[profiles.production]\nuri = "{server_uri}"\ndb = "{other.name}"\n')
    results = [
        cli("schema", "diff", "db", operand, "-o", "json", env={"MOTORCTL_CONFIG": str(config)})
        for operand in (f"db:{other.name}", uri, "profile:production")
    ]
    assert [result.code for result in results] == [8, 8, 8], results
    assert results[0].json() == results[1].json() == results[2].json()
    (change,) = [one for one in results[0].json()["changes"] if one["action"] != "keep"]
    assert (change["action"], change["name"]) == ("rebuild", "email_1") or change["action"] == "modify"
    other["users"].drop_indexes()
    other["users"].create_index("email")
    assert cli("schema", "diff", uri, "db").code == 0


def test_a_profile_that_isnt_there_and_a_server_that_isnt(cli: Runner, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[profiles.staging]\nuri = "mongodb://127.0.0.1:1"\n')
    unknown = cli("schema", "diff", "db", "profile:stagin", env={"MOTORCTL_CONFIG": str(config)})
    assert (unknown.code, "has no profile 'stagin'" in unknown.stderr) == (2, True)
    gone = cli(
        "schema", "diff", "db", "profile:staging", "--timeout", "0.3", env={"MOTORCTL_CONFIG": str(config)}
    )
    assert (gone.code, "127.0.0.1:1" in gone.stderr) == (3, True)
    assert cli("schema", "diff", "db", "db:").code == 2
    assert cli("schema", "diff", "db", "builtin:nope").code == 2
    assert cli("schema", "diff", "db", "nofile.yaml").code == 2


def test_no_password_of_a_uri_is_shown(cli: Runner) -> None:
    uri = "mongodb://ada:s3cr3t-word@127.0.0.1:1/shop"
    failed = cli("schema", "diff", "builtin:shop", uri, "--timeout", "0.3", "--debug")
    assert failed.code == 3
    assert "s3cr3t-word" not in failed.stdout + failed.stderr


# --- settings of another server ----------------------------------------------------------------------


@pytest.fixture
def here(tmp_path: Path) -> settings.Settings:
    config = tmp_path / "config.toml"
    config.write_text(
        '[profiles.here]\nuri = "mongodb://h:pass-here@here/one"\ntimeout = 2\n[profiles.here.options]\ntls = true\n'
        '[profiles.there]\nuri = "mongodb://t:pass-there@there/two"\nretries = 7\n'
        f'[profiles.file]\nuri_file = "{tmp_path}/uri"\n[profiles.both]\nuri = "mongodb://a"\nuri_file = "b"\n'
    )
    (tmp_path / "uri").write_text("mongodb://filed/three")
    return settings.load(
        {"config": str(config), "profile": "here", "db": "typed", "slow_ms": "5"}, {"MOTORCTL_URI": ""}
    )


def test_another_database_is_on_the_same_server(here: settings.Settings) -> None:
    found = here.of_database("x", "db:x")
    assert (found.address().value, found.database().value) == (here.address().value, "x")
    assert (found.driver_options, found.timeout) == ({"tls": True}, 2)


def test_another_profile_is_taken_whole_but_for_what_was_typed(here: settings.Settings) -> None:
    found = here.of_profile("there")
    assert found.address().value == "mongodb://t:pass-there@there/two"
    assert (found.database().value, found.retries, found.slow_ms) == ("two", 7, 5)
    assert (found.driver_options, found.timeout) == ({}, 5.0)
    assert here.of_profile("file").database().value == "three"
    with pytest.raises(ConfigurationError, match="both given in the profile"):
        here.of_profile("both")


def test_a_uri_brings_its_database_else_ours(here: settings.Settings) -> None:
    found = here.of_uri("mongodb://other/five", "argument")
    assert (found.address().value, found.database().value) == ("mongodb://other/five", "five")
    assert found.driver_options == {}
    assert here.of_uri("mongodb://other", "argument").database().value == "typed"


def test_the_secrets_of_all_servers_are_secrets(here: settings.Settings) -> None:
    here.of_profile("there").address()
    here.of_uri("mongodb://u:pass-third@x", "argument").of_database("y", "db:y").address()
    assert {"pass-here", "pass-there", "pass-third"} <= set(here.secrets())


def test_the_help_names_each_way(motorctl: Runner) -> None:
    shown = motorctl("schema", "diff", "--help", connected=False).stdout
    assert all(
        way in shown for way in ("builtin:NAME", "db:NAME", "profile:NAME", "mongodb://", "db is the one")
    )
