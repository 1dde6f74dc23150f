"""What a user may not do is found out without trying: on a server that asks who somebody is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import secured
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.errors import OperationFailure
from secured import PASSWORD, User

from motorctl.core import driver, schema
from motorctl.core.schema import Change, Collection, Index, Server, Validator
from motorctl.core.schema.blockers import find_blockers
from motorctl.core.schema.planning.commands import commands

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from conftest import Server as Mongod

    from motorctl.client import Database

USERS: dict[str, list[Any]] = {
    "root": ["root"],
    "read": [{"role": "read", "db": "shop"}],
    "readWrite": [{"role": "readWrite", "db": "shop"}],
    "dbAdmin": [{"role": "dbAdmin", "db": "shop"}],
    "both": [{"role": "dbAdmin", "db": "shop"}, {"role": "readWrite", "db": "shop"}],
    "anyDbAdmin": ["dbAdminAnyDatabase"],
    "elsewhere": [{"role": "dbAdmin", "db": "other"}],
    "finder": [{"role": "finder", "db": "shop"}],
    "builder": [{"role": "builder", "db": "shop"}],
    "adder": [{"role": "adder", "db": "shop"}],
    "keeper": [{"role": "keeper", "db": "shop"}],
}

ROLES: dict[str, list[dict[str, Any]]] = {
    "finder": [{"resource": {"db": "shop", "collection": "u"}, "actions": ["find"]}],
    "builder": [
        {"resource": {"db": "shop", "collection": "u"}, "actions": ["createIndex", "dropIndex"]},
        {"resource": {"db": "shop", "collection": ""}, "actions": ["collMod"]},
    ],
    "adder": [
        {
            "resource": {"db": "shop", "collection": ""},
            "actions": [
                *("createCollection", "createIndex", "dropCollection"),
                *("find", "listCollections", "listIndexes"),
            ],
        }
    ],
    "keeper": [
        {
            "resource": {"db": "shop", "collection": ""},
            "actions": ["createCollection", "createIndex", "find", "listCollections", "listIndexes"],
        }
    ],
}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mongod]:
    """A server with users of many rights, and a few documents."""
    users = [User(name, roles) for name, roles in USERS.items() if name != "root"]
    with secured.guarded(tmp_path_factory.mktemp("rights"), *users, roles=ROLES) as server:
        yield server


@pytest.fixture
async def opened(guarded: Mongod) -> AsyncIterator[Callable[[str], Database]]:
    clients: list[AsyncIOMotorClient[dict[str, Any]]] = []

    def shop(user: str) -> Database:
        clients.append(AsyncIOMotorClient(guarded.uri, username=user, password=PASSWORD))
        return clients[-1].get_database("shop")

    yield shop
    for client in clients:
        await driver.close(client)


VALIDATOR = Validator({"a": {"$exists": True}})
INDEX = Index({"b": 1}, "b_1")


def steps() -> list[Change]:
    """Plan one step of each kind that needs a right of its own."""
    current = {"u": Collection("u", {}, None, (Index({"c": 1}, "c_1"),)), "gone": Collection("gone")}
    wanted = [Collection("new"), Collection("u", {}, VALIDATOR, (INDEX,))]
    planned = [c for c in schema.plan(current, wanted, prune=True) if c.status == "planned"]
    drop = {"drop": "gone"}
    rename = {"renameCollection": "u", "to": "v"}
    return [
        *planned,
        Change("gone", "collection", "drop", "gone", {}, commands=(drop,)),
        Change("v", "collection", "modify", "v", {}, {}, commands=(rename,)),
    ]


LACKING = {
    "create": "createCollection on shop.new",
    "createIndexes": "createIndex on shop.u",
    "dropIndexes": "dropIndex on shop.u",
    "collMod": "collMod on shop.u",
    "drop": "dropCollection on shop.gone",
    "renameCollection": "renameCollectionSameDB on shop.u and renameCollectionSameDB on shop.v",
}


async def lacking(db: Database) -> set[str]:
    """Return the commands that a user is told to have no privilege for."""
    found = set()
    for change in await find_blockers(db, steps(), current={}, server=Server((6, 0))):
        for blocker in change.blockers:
            command = next(iter(change.commands[0]))
            assert blocker.document() == {
                "reason": "privilege",
                "message": f"the user has no privilege for {LACKING[command]}",
                "hint": "the role dbAdmin of shop has it; with readWrite beside it, every step",
                "ignorable": False,
            }
            found.add(command)
    return found


@pytest.mark.parametrize(
    ("user", "missing"),
    [
        ("root", set()),
        ("both", set()),
        ("dbAdmin", set()),
        ("anyDbAdmin", set()),
        ("read", set(LACKING)),
        ("finder", set(LACKING)),
        ("elsewhere", set(LACKING)),
        ("readWrite", {"collMod"}),
        ("builder", {"create", "drop", "renameCollection"}),
    ],
)
async def test_what_a_user_may_not_do_is_named(
    opened: Callable[[str], Database], user: str, missing: set[str]
) -> None:
    db = opened(user)
    assert await lacking(db) == missing
    # The server is of the same opinion.
    refused = set()
    for change in steps():
        await _reset(opened("root"))
        for command in change.commands:
            try:
                if "renameCollection" in command:
                    await db["u"].rename("v")
                else:
                    await db.command(dict(command))
            except OperationFailure as error:
                assert error.code == 13  # noqa: PT017 - some succeed
                refused.add(next(iter(command)))
    assert refused == missing


async def _reset(db: Database) -> None:
    for name in await db.list_collection_names():
        await db.drop_collection(name)
    await db["u"].insert_many([{"a": 1}, {"a": 1}])
    await db["u"].create_index("c")
    await db.create_collection("gone")


async def test_what_a_user_may_not_read_is_unchecked(opened: Callable[[str], Database]) -> None:
    unique = Change("u", "index", "create", "x", None, {"keys": {"a": 1}, "name": "x", "unique": True})
    unique = replace(unique, commands=commands(unique))
    await _reset(opened("root"))
    server = Server((6, 0))
    (change,) = await find_blockers(opened("builder"), [unique], current={}, server=server)
    assert (change.status, change.blockers) == ("planned", ())
    assert change.unchecked == (
        "index u.x: sizes on disk couldn't be looked for: the user may not read them",
        "index u.x: duplicates couldn't be looked for: the user may not read them",
    )
    # Who may find, finds.
    (change,) = await find_blockers(opened("finder"), [unique], current={}, server=server)
    assert [blocker.reason for blocker in change.blockers] == ["privilege", "duplicates"]
    assert [sentence.split(":")[1].strip() for sentence in change.unchecked] == [
        "sizes on disk couldn't be looked for"
    ]
    # The role read is enough for all of it.
    (change,) = await find_blockers(opened("read"), [unique], current={}, server=server)
    assert (change.unchecked, [blocker.reason for blocker in change.blockers]) == (
        (),
        ["privilege", "duplicates"],
    )


REBUILT = Index({"c": -1}, "c_1")
TRIED = "shop.motorctl_temporary_*"


@pytest.mark.parametrize(
    ("user", "missing"),
    [
        ("both", None),
        ("anyDbAdmin", None),
        ("adder", "dropIndex on shop.u"),
        ("builder", f"createCollection on {TRIED} and createIndex on {TRIED} and dropCollection on {TRIED}"),
        ("keeper", f"dropIndex on shop.u and dropCollection on {TRIED}"),
    ],
)
async def test_a_rebuild_needs_more_than_its_commands(
    opened: Callable[[str], Database], user: str, missing: str | None
) -> None:
    db = opened(user)
    await _reset(opened("root"))
    (step,) = await _rebuild_of(opened("root"))
    (change,) = await find_blockers(db, [step], current={}, server=Server((6, 0)))
    found = [blocker.message for blocker in change.blockers]
    assert found == ([] if missing is None else [f"the user has no privilege for {missing}"])
    # The server is of the same opinion.
    if user != "builder":
        (result,) = await schema.apply(db, [step])
        assert result.status == ("applied" if missing is None else "failed")


async def _rebuild_of(db: Database) -> list[Change]:
    planned = schema.plan(await schema.fetch(db), [Collection("u", {}, None, (REBUILT,))])
    return [change for change in planned if change.action != "keep"]


async def test_what_a_rebuild_leaves_is_named(opened: Callable[[str], Database]) -> None:
    root = opened("root")
    await _reset(root)
    (result,) = await schema.apply(opened("adder"), await _rebuild_of(root))
    assert result.error == {
        "code": 13,
        "code_name": "Unauthorized",
        "message": "needs `dropIndex` on shop.u; stand-in motorctl_temporary_c_1 of u is left: drop it",
    }
    assert sorted(await root["u"].index_information()) == ["_id_", "c_1", "motorctl_temporary_c_1"]


async def test_tidying_up_does_not_hide_what_went_wrong(opened: Callable[[str], Database]) -> None:
    root = opened("root")
    await _reset(root)
    (step,) = await _rebuild_of(root)
    refused = replace(step, after={"keys": {"c": "2d"}, "name": "c_1", "bits": 50})
    (result,) = await schema.apply(opened("keeper"), [refused])
    assert result.error is not None
    said, _, left = result.error["message"].partition("; ")
    assert (result.error["code_name"], "bits" in said) == ("InvalidOptions", True)
    (scratch,) = {*await root.list_collection_names()} - {"u", "gone"}
    assert left == f"collection {scratch} is left: drop it"


async def test_without_authorisation_there_is_nothing_to_lack(db: Database) -> None:
    assert [
        change.blockers for change in await find_blockers(db, steps(), current={}, server=Server((6, 0)))
    ] == [()] * 6
