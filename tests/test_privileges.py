"""What each command may lack: its error names the privilege, and whoever is given it gets on.

Each command is run by a user who may do nothing. What its error says is lacking he is given, and no more, until the
command does its work: so the sentences are exact, and together they are what the command needs.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import every_command
import pymongo
import pytest
import secured
from every_command import ALL, ID, Case
from secured import User, as_user

from motorctl.core import privileges
from motorctl.core.privileges import Privilege, lack
from motorctl.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from conftest import Runner, Server

    SyncDatabase = pymongo.database.Database[dict[str, Any]]

READ = ("read",)
WRITE = ("readWrite",)
ADMIN = ("dbAdmin",)

NEEDS: dict[str, tuple[str, ...]] = {
    "ping": (),
    "schema dump": READ,
    "schema plan": READ,
    "schema check": READ,
    "schema apply": WRITE,
    "schema diff": READ,
    "schema history": READ,
    "schema infer": READ,
    "indexes list": READ,
    "indexes build": (),
    "indexes create": WRITE,
    "indexes drop": WRITE,
    "indexes hide": ADMIN,
    "indexes unhide": ADMIN,
    "validators show": READ,
    "validators apply": ADMIN,
    "validators check": READ,
    "validators try": READ,
    **{
        f"{noun} {verb}": roles
        for noun in ("students", "users")
        for verb, roles in {
            "create": WRITE,
            "get": READ,
            "list": READ,
            "count": READ,
            "update": WRITE,
            "upsert": WRITE,
            "delete": WRITE,
        }.items()
    },
    "import": WRITE,
    "import status": READ,
    "import forget": WRITE,
    "export": READ,
    "accounts open": WRITE,
    "accounts get": READ,
    "accounts list": READ,
    "accounts statement": READ,
    "accounts freeze": WRITE,
    "accounts unfreeze": WRITE,
    "accounts close": WRITE,
    "transfer send": WRITE,
    "transfer show": READ,
    "transfer list": READ,
    "transfer reverse": WRITE,
    "transfer batch": WRITE,
    "transfer verify": READ,
    "orders place": WRITE,
    "orders get": READ,
    "orders list": READ,
    "orders cancel": WRITE,
    "orders complete": WRITE,
    "orders refund": WRITE,
    "inventory add": WRITE,
    "inventory get": READ,
    "inventory list": READ,
    "inventory set": WRITE,
    "revenue over-time": READ,
    "revenue by-customer": READ,
    "revenue by-product": READ,
    "aggregate": READ,
    "explain find": READ,
    "explain aggregate": READ,
    "explain count": READ,
    "explain distinct": READ,
    "explain suite": READ,
    "slow": (),
    "slow list": (),
    "slow profile": ADMIN,
}
"""The smallest built-in roles on the database with which each command does its work."""

CASES = {str(case).removesuffix(f" {str(case).split()[0]}"): case for case in ALL}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a user who has but the role `exact`, and one for each built-in role."""
    exact = User("exact", [{"role": "exact", "db": "shop"}], mechanisms=("SCRAM-SHA-1",))
    reader = User("reader", [{"role": "read", "db": "shop"}], mechanisms=("SCRAM-SHA-1",))
    with secured.guarded(tmp_path_factory.mktemp("auth"), exact, reader, roles={"exact": []}) as server:
        yield server


@pytest.fixture(scope="module")
def shop(guarded: Server) -> Iterator[SyncDatabase]:
    with pymongo.MongoClient[dict[str, Any]](as_user(guarded, "root"), tz_aware=True) as root:
        yield root["shop"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    every_command.write_files(tmp_path)
    monkeypatch.chdir(tmp_path)


class Filled:
    """The database, with the documents of `every_command`: put there anew after a command that changed them."""

    def __init__(self, db: SyncDatabase) -> None:
        self._db = db
        self._clean = False

    def prepare(self, case: Case) -> None:
        if not self._clean or case.done is not None:
            self._db.client.drop_database(self._db)
            every_command.fill(self._db, str(case))
        self._clean = case.done is None


@pytest.fixture(scope="module")
def filled(shop: SyncDatabase) -> Iterator[Filled]:
    yield Filled(shop)
    shop.command("profile", 0)


def privileges_in(message: str) -> list[dict[str, Any]]:
    """Read what a person reads: ``needs `find` and `update` on shop.users, `find` on shop.orders``."""
    found = []
    for actions, db, collection in re.findall(
        r"(`\w+`(?: and `\w+`)*) on (\w+)\.?(\w*)", message.partition("needs ")[2]
    ):
        resource = {"db": db, "collection": collection}
        found += [
            {"resource": resource, "actions": [action]}
            for action in re.findall(r"\w+", actions)
            if action != "and"
        ]
    return found


def give(db: SyncDatabase, granted: Sequence[dict[str, Any]]) -> None:
    db.command("updateRole", "exact", privileges=list(granted))


def test_the_table_has_every_command_that_talks_to_a_server() -> None:
    assert sorted(NEEDS) == sorted(CASES)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("name", [name for name in NEEDS if name != "schema apply"])
def test_whoever_is_given_what_the_errors_name_gets_on(
    cli: Runner, motorctl: Runner, guarded: Server, shop: SyncDatabase, filled: Filled, name: str
) -> None:
    case = CASES[name]
    # A run that may not note its end is taken for one that goes on as long as its process is there.
    run = motorctl if name == "import" else cli
    filled.prepare(case)
    granted: list[dict[str, Any]] = []
    give(shop, granted)
    where = ("-o", "json", "--uri", as_user(guarded, "exact"), "--db", "shop")
    said: list[str] = []
    while (done := run(*case.words, *where)).code == ExitCode.UNAUTHORIZED:
        error = done.error()
        assert error["code"] == "not_authorized"
        named = privileges_in(error["message"])
        assert named, f"no privilege is named: {error['message']}"
        assert error.get("privileges", named) == named
        assert re.search(r"the roles? \w+ on shop", error["hint"]) or "the role dbAdmin" in error["hint"]
        assert not {"$db", "lsid", "$clusterTime"} & set(done.stderr.split())
        assert error["message"] not in said, f"it was given, and is lacking still: {error['message']}"
        said.append(error["message"])
        granted += named
        give(shop, granted)
    assert done.code == case.ends, done.stderr
    actions = {action for one in granted for action in one["actions"]}
    assert all(one["resource"]["db"] == "shop" for one in granted)
    roles = privileges.Lack("", tuple(Privilege(action, "shop") for action in sorted(actions))).roles
    assert tuple(role.removesuffix(" on shop") for role in roles) == NEEDS[name], said


def test_a_plan_says_all_that_is_lacking_at_once(
    cli: Runner, guarded: Server, shop: SyncDatabase, filled: Filled
) -> None:
    """What the errors name suffices to read the schema; the steps then say each what stands in its way."""
    filled.prepare(CASES["schema apply"])
    reads = {"resource": {"db": "shop", "collection": ""}, "actions": ["listCollections", "listIndexes"]}
    apply = (
        "schema",
        "apply",
        "--builtin",
        "shop",
        "-o",
        "json",
        "--uri",
        as_user(guarded, "exact"),
        "--db",
        "shop",
    )
    give(shop, [reads])
    blocked = cli(*apply)
    assert blocked.code == ExitCode.DIFFERENCE, blocked.stderr
    blockers = [blocker for change in blocked.json()["changes"] for blocker in change["blockers"]]
    assert {blocker["reason"] for blocker in blockers} == {"privilege"}
    lacking = {found for one in blockers for found in re.findall(r"(\w+) on shop\.(\w+)", one["message"])}
    give(shop, [reads, *({"resource": {"db": "shop", "collection": n}, "actions": [a]} for a, n in lacking)])
    applied = cli(*apply, "--no-data-checks")
    assert applied.code == 0, applied.stderr
    assert "this is not in the history: needs `update` on shop.motorctl_schema_history" in applied.stderr


def test_a_refusal_says_only_what_the_user_lacks(cli: Runner, guarded: Server) -> None:
    update = ("users", "update", ID, "--inactive")
    done = cli(*update, "--uri", as_user(guarded, "reader"), "--db", "shop")
    assert done.code == ExitCode.UNAUTHORIZED
    error, hint = done.stderr.splitlines()
    # findAndModify takes `find`, too: that the reader has.
    assert error == "error: not authorised: needs `update` on shop.users"
    assert hint == "hint: the role readWrite on shop has it; `motorctl ping` tells who you are"


def test_the_form_for_machines_has_the_privilege_as_the_server_writes_it(
    cli: Runner, guarded: Server
) -> None:
    done = cli("users", "list", "-o", "json", "--uri", as_user(guarded, "reader"), "--db", "other")
    error = done.error()
    assert (error["exit"], error["command"], error["roles"]) == (4, "find", ["read on other"])
    assert error["privileges"] == [{"resource": {"db": "other", "collection": "users"}, "actions": ["find"]}]


@pytest.mark.parametrize("role", [*privileges.ROLES, *privileges.CLUSTER_ROLES])
def test_a_role_has_what_is_said_of_it(shop: SyncDatabase, role: str) -> None:
    db = shop if role in privileges.ROLES else shop.client["admin"]
    (found,) = db.command(
        {"rolesInfo": {"role": role, "db": db.name}, "showPrivileges": True, "showBuiltinRoles": True}
    )["roles"]
    whole = [one for one in found["inheritedPrivileges"] if one["resource"].get("collection", "") == ""]
    has = {action for one in whole for action in one["actions"]}
    newer = {
        "createSearchIndexes",
        "dropSearchIndex",
        "listSearchIndexes",
        "updateSearchIndex",
        "queryStatsRead",
    }
    said = {**privileges.ROLES, **privileges.CLUSTER_ROLES}[role]
    assert said - newer <= has


QUOTED = 'not authorized on shop to execute command {{ {}, lsid: {{ id: UUID("0") }}, $db: "shop" }}'


@pytest.mark.parametrize(
    ("body", "sentence", "roles"),
    [
        ('find: "o", filter: { a: "secret" }', "needs `find` on shop.o", ["read on shop"]),
        ('find: "system.profile"', "needs `find` on shop.system.profile", ["dbAdmin on shop"]),
        ('explain: { count: "o" }', "needs `find` on shop.o", ["read on shop"]),
        ('getMore: 17, collection: "o"', "needs `find` on shop.o", ["read on shop"]),
        ("listCollections: 1", "needs `listCollections` on shop", ["read on shop"]),
        (
            'aggregate: "o", pipeline: [ { $indexStats: {} } ]',
            "needs `indexStats` on shop.o",
            ["clusterMonitor on admin"],
        ),
        (
            "aggregate: 1, pipeline: [ { $currentOp: {} } ]",
            "needs `inprog` on the cluster",
            ["clusterMonitor on admin"],
        ),
        (
            'aggregate: "o", pipeline: [ { $lookup: { from: "u", as: "x" } }, { $unionWith: "v" } ]',
            "needs `find` on shop.o, `find` on shop.u, `find` on shop.v",
            ["read on shop"],
        ),
        (
            'aggregate: "o", pipeline: [ { $match: {} }, { $out: "p" } ]',
            "needs `find` on shop.o, `insert` and `remove` on shop.p",
            ["readWrite on shop"],
        ),
        (
            'aggregate: "o", pipeline: [ { $merge: { into: { db: "b", coll: "c" } } } ]',
            "needs `find` on shop.o, `insert` and `update` on b.c",
            ["read on shop", "readWrite on b"],
        ),
        (
            'aggregate: "o", pipeline: [ { $changeStream: {} } ]',
            "needs `changeStream` and `find` on shop.o",
            ["read on shop"],
        ),
        (
            'insert: "o", bypassDocumentValidation: true',
            "needs `insert` and `bypassDocumentValidation` on shop.o",
            ["readWrite on shop", "dbAdmin on shop"],
        ),
        (
            'renameCollection: "shop.o", to: "shop.p"',
            "needs `renameCollectionSameDB` on shop.o, `renameCollectionSameDB` on shop.p",
            ["readWrite on shop"],
        ),
        ("killOp: 1, op: 3", "needs `killop` on the cluster", ["hostManager on admin"]),
    ],
)
def test_what_a_refused_command_needs(body: str, sentence: str, roles: list[str]) -> None:
    found = lack(QUOTED.format(body))
    assert found is not None
    assert (found.sentence, list(found.roles)) == (sentence, roles)
    assert "secret" not in found.sentence + found.hint


def test_atlas_names_the_action_itself() -> None:
    found = lack("user is not allowed to do action [find] on [shop.orders]")
    assert found is not None
    assert (found.sentence, found.roles) == ("needs `find` on shop.orders", ("read on shop",))


@pytest.mark.parametrize(
    "sentence",
    ["not authorized", QUOTED.format("refineCollectionShardKey: 1"), "command find requires authentication"],
)
def test_what_cannot_be_told_is_not_guessed(sentence: str) -> None:
    assert lack(sentence) is None


@pytest.mark.parametrize(
    ("resource", "db", "collection", "allowed"),
    [
        ({"db": "shop", "collection": ""}, "shop", "o", True),
        ({"db": "shop", "collection": ""}, "shop", "", True),
        ({"db": "shop", "collection": ""}, "shop", "system.profile", False),
        ({"db": "shop", "collection": "system.profile"}, "shop", "system.profile", True),
        ({"db": "shop", "collection": "o"}, "shop", "p", False),
        ({"db": "shop", "collection": "o"}, "shop", "", False),
        ({"db": "", "collection": ""}, "shop", "o", True),
        ({"db": "", "collection": "o"}, "shop", "o", True),
        ({"db": "other", "collection": ""}, "shop", "o", False),
        ({"cluster": True}, "shop", "o", False),
        ({"cluster": True}, "", "", True),
        ({"db": "", "collection": ""}, "", "", False),
        ({"anyResource": True}, "shop", "system.users", True),
    ],
)
def test_what_a_privilege_reaches(resource: dict[str, Any], db: str, collection: str, allowed: bool) -> None:
    assert privileges.allows({"resource": resource, "actions": ["find"]}, "find", db, collection) is allowed
    assert privileges.allows({"resource": resource, "actions": ["insert"]}, "find", db, collection) is False
    assert (
        privileges.allows({"resource": resource, "actions": ["anyAction"]}, "find", db, collection) is allowed
    )
