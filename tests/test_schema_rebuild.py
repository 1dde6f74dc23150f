"""An index in the place of another: whatever goes wrong, and whenever, the old one is there or the new one."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.errors import AutoReconnect, DuplicateKeyError, OperationFailure

from motorctl.core import driver, schema
from motorctl.core.schema import Change, Collection, Index, Server
from motorctl.core.schema.applying.catalog import Catalog
from motorctl.core.schema.applying.rebuild import _look_for_duplicates
from motorctl.core.schema.model import TEMPORARY

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from motorctl.client import Database

PLAIN = Index({"email": 1}, "email_1")
UNIQUE = Index({"email": 1}, "email_1", {"unique": True})

WITHOUT_CONVERSION = Server((5, 0))
"""From 6.0 on an index becomes unique where it is; any server can rebuild it."""


def users(*indexes: Index) -> list[Collection]:
    return [Collection("users", {}, None, indexes)]


async def bring(db: Database, *indexes: Index, sender: Any = None, **options: Any) -> list[Change]:
    changes = schema.plan(await schema.fetch(db), users(*indexes), server=WITHOUT_CONVERSION, prune=True)
    results = await schema.apply(db if sender is None else sender, changes, **options)
    return [change for change in results if change.action != "keep"]


async def there(db: Database) -> list[dict[str, Any]]:
    return [index.document() for index in (await schema.fetch(db))["users"].indexes]


class Intercepted:
    """A database whose changes to `users` go through a function, which may send them."""

    def __new__(cls, db: Database, intercept: Callable[[str, Callable[[], Awaitable[Any]]], Any]) -> Any:
        class Intercepting(type(db)):  # type: ignore[misc]  # the database's own class, Motor's or PyMongo's
            async def command(self, command: dict[str, Any], **options: Any) -> Any:
                name, target = next(iter(command.items()))
                send = partial(db.command, command, **options)
                return await (
                    intercept(name, send) if target == "users" and name != "listIndexes" else send()
                )

        return Intercepting(db.client, db.name)


class Script:
    """Notes the commands it is shown; at the first one after a drop it does `what`."""

    def __init__(self, what: Callable[[], Awaitable[None]]) -> None:
        self.commands: list[str] = []
        self._what = what
        self._done = False

    async def __call__(self, name: str, send: Callable[[], Awaitable[Any]]) -> Any:
        after_drop = "dropIndexes" in self.commands
        self.commands.append(name)
        if after_drop and name == "createIndexes" and not self._done:
            self._done = True
            await self._what()
        return await send()


async def hang_up() -> None:
    raise AutoReconnect("connection closed (configured timeouts: connectTimeoutMS: 20000.0ms)")


async def test_a_connection_lost_between_drop_and_build_gives_the_old_index_back(db: Database) -> None:
    await bring(db, PLAIN)
    script = Script(hang_up)
    results = await bring(db, UNIQUE, Index({"b": 1}, "later"), sender=Intercepted(db, script))
    # A new index is built before others are rebuilt.
    assert [(c.name, c.status) for c in results] == [("later", "applied"), ("email_1", "failed")]
    # Drop, build, put back, and the stand-in goes.
    assert script.commands[-4:] == ["dropIndexes", "createIndexes", "createIndexes", "dropIndexes"]
    assert results[1].error == {
        "code": None,
        "code_name": "AutoReconnect",
        "message": "the connection was lost: connection closed",
    }
    assert PLAIN.document() in await there(db)


async def test_what_comes_after_a_lost_connection_is_skipped(db: Database) -> None:
    other = Index({"n": 1}, "n_1")
    await bring(db, PLAIN, other)
    sender = Intercepted(db, Script(hang_up))
    results = await bring(db, UNIQUE, Index({"n": -1}, "n_1"), sender=sender)
    assert [(c.status, [blocker.message for blocker in c.blockers]) for c in results] == [
        ("failed", []),
        ("skipped", ["the connection was lost"]),
    ]
    assert schema.describe(results[1]) == "skipped: the connection was lost"
    assert sorted(index["name"] for index in await there(db)) == ["email_1", "n_1"]
    assert PLAIN.document() in await there(db)


async def test_putting_back_is_tried_again_too(db: Database) -> None:
    await bring(db, PLAIN)
    failures = 3

    async def fail(name: str, send: Callable[[], Awaitable[Any]]) -> Any:
        nonlocal failures
        dropped = all(index["name"] != "email_1" for index in await driver.list_indexes(db["users"]))
        if name == "createIndexes" and dropped and failures:
            failures -= 1
            raise AutoReconnect("connection closed")
        return await send()

    async def twice(operation: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return await operation()
        except AutoReconnect:
            return await operation()

    (result,) = await bring(db, UNIQUE, sender=Intercepted(db, fail), attempt=twice)
    assert (result.status, failures) == ("failed", 0)
    assert await there(db) == [PLAIN.document()]


async def test_an_index_that_cannot_be_put_back_is_named(db: Database) -> None:
    await bring(db, PLAIN)
    dropped = False

    async def fail(name: str, send: Callable[[], Awaitable[Any]]) -> Any:
        nonlocal dropped
        if dropped:
            raise AutoReconnect("connection closed")
        dropped = name == "dropIndexes"
        return await send()

    (result,) = await bring(db, UNIQUE, sender=Intercepted(db, fail))
    assert result.error is not None
    assert result.error["message"] == (
        "the connection was lost: connection closed; index email_1 of users is gone and couldn't be put back"
    )


@pytest.mark.parametrize("moment", ["dropIndexes", "createIndexes"])
async def test_ctrl_c_between_drop_and_build_gives_the_old_index_back(db: Database, moment: str) -> None:
    await bring(db, PLAIN)
    under_way: list[asyncio.Future[Any]] = []
    dropped = False

    async def slow(name: str, send: Callable[[], Awaitable[Any]]) -> Any:
        nonlocal dropped
        dropped = dropped or name == "dropIndexes"
        if not dropped or name != moment or under_way:
            return await send()

        async def later() -> Any:
            await asyncio.sleep(0.2)
            return await send()

        # As with the driver's threads: who cancels the wait doesn't keep the command from the server.
        under_way.append(asyncio.ensure_future(later()))
        return await asyncio.shield(under_way[0])

    task = asyncio.ensure_future(bring(db, UNIQUE, sender=Intercepted(db, slow)))
    while not under_way:
        assert not task.done()
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # The build comes too late, and is refused: the old index is there again.
    await asyncio.gather(*under_way, return_exceptions=True)
    assert await there(db) == [PLAIN.document()]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Index({"a": 1}, "x"), Index({"a": 1}, "x", {"partialFilterExpression": {"a": {"$bitsAllSet": 1}}})),
        (Index({"a": 1}, "x"), Index({"a": 1, "b": "hashed", "c": "hashed"}, "x")),
        (Index({"a": "2d"}, "x"), Index({"a": "2d"}, "x", {"bits": 50})),
        (Index({"a": "text"}, "x"), Index({"b": "text"}, "x", {"default_language": "klingon"})),
        (Index({"a": "text"}, "x"), Index({"p": 1, "b": "text"}, "x", {"weights": {"b": 0}})),
    ],
)
async def test_nothing_is_dropped_for_what_no_server_builds(
    db: Database, before: Index, after: Index
) -> None:
    await bring(db, before)
    script = Script(hang_up)
    (result,) = await bring(db, after, sender=Intercepted(db, script))
    assert (result.action, result.status) == ("rebuild", "failed")
    assert "dropIndexes" not in script.commands
    assert await there(db) == [before.document()]
    assert not [name for name in await db.list_collection_names() if name.startswith(TEMPORARY)]


async def test_a_second_text_index_with_other_keys_takes_its_place(db: Database) -> None:
    await bring(db, Index({"a": "text"}, "x"))
    after = Index({"p": 1, "b": "text"}, "x")
    assert [c.status for c in await bring(db, after)] == ["applied"]
    assert await there(db) == [after.document()]
    assert await db.list_collection_names() == ["users"]


async def test_nothing_is_dropped_for_a_key_that_documents_share(db: Database) -> None:
    await db["users"].insert_many([{"email": "a@x.org"}, {"email": "a@x.org"}])
    await bring(db, PLAIN)

    async def look() -> None:
        assert PLAIN.document() in await there(db)

    (result,) = await bring(db, UNIQUE, sender=Watching(db, look))
    assert result.status == "failed"
    assert result.error == {
        "code": 11000,
        "code_name": "DuplicateKey",
        "message": "E11000 documents of users share a value of the unique index email_1",
        "key_value": {"email": "a@x.org"},
    }
    assert await there(db) == [PLAIN.document()]


@pytest.mark.parametrize(
    ("options", "documents", "shared"),
    [
        ({}, [{"a": 1}, {"a": 2}], False),
        ({}, [{"a": 1}, {"a": 1.0}], True),
        ({}, [{}, {"a": None}], True),
        ({"sparse": True}, [{}, {}], False),
        ({"sparse": True}, [{"a": None}, {"a": None}], True),
        ({"partialFilterExpression": {"on": True}}, [{"a": 1, "on": True}, {"a": 1}], False),
        ({"collation": {"locale": "en", "strength": 2}}, [{"a": "X"}, {"a": "x"}], True),
        ({}, [{"a": "X"}, {"a": "x"}], False),
        ({}, [{"a": [1, 1]}, {"a": [2]}], False),
        ({}, [{"a": [1, 2]}, {"a": [2, 3]}], True),
        ({}, [{"a": []}, {"a": None}], False),
    ],
)
async def test_duplicates_are_what_the_server_takes_for_them(
    db: Database, options: dict[str, Any], documents: list[dict[str, Any]], shared: bool
) -> None:
    await db["users"].insert_many(documents)
    index = Index({"a": 1}, None, {"unique": True, **options})
    assert await _found(db, index) is shared
    assert (await _refused(db, index)) is shared


async def _found(db: Database, index: Index) -> bool:
    try:
        await _look_for_duplicates(Catalog(db), "users", index)
    except DuplicateKeyError:
        return True
    return False


async def _refused(db: Database, index: Index) -> bool:
    try:
        await Catalog(db).create_index("users", index.specification())
    except OperationFailure as error:
        # Beside duplicates: parallel arrays, which the server may meet first.
        if error.code not in (11000, 171):
            raise
        return True
    return False


class Watching:
    """A database that is looked at before and after each command that changes `users`."""

    def __new__(cls, db: Database, look: Callable[[], Awaitable[None]]) -> Any:
        async def intercept(_name: str, send: Callable[[], Awaitable[Any]]) -> Any:
            await look()
            result = await send()
            await look()
            return result

        return Intercepted(db, intercept)


def stages(plan: dict[str, Any]) -> list[str]:
    plan = plan.get("queryPlan", plan)
    inner = [plan["inputStage"]] if "inputStage" in plan else plan.get("inputStages", [])
    return [plan["stage"], *(stage for one in inner for stage in stages(one))]


NEAR = {"$geoWithin": {"$centerSphere": [[1, 1], 0.001]}}
BY_MAIL = {"find": "users", "filter": {"email": "e7"}}
BY_TWO = {"find": "users", "filter": {"n": {"$gt": 3}}, "sort": {"n": 1, "email": -1}}


@pytest.mark.parametrize(
    ("before", "after", "query"),
    [
        (PLAIN, UNIQUE, BY_MAIL),
        (UNIQUE, PLAIN, BY_MAIL),
        (UNIQUE, Index({"email": 1}, "email_1", {"unique": True, "sparse": True}), BY_MAIL),
        (UNIQUE, Index({"email": -1}, "email_1", {"unique": True}), BY_MAIL),
        (UNIQUE, Index({"email": 1}, "by_mail", {"unique": True}), BY_MAIL),
        (
            Index({"email": 1}, "x", {"collation": {"locale": "en"}}),
            Index({"email": 1}, "x", {"collation": {"locale": "en"}, "sparse": True}),
            {**BY_MAIL, "collation": {"locale": "en"}},
        ),
        (
            Index({"email": 1}, "x"),
            Index({"email": 1}, "x", {"partialFilterExpression": {"n": {"$gt": 0}}}),
            {"find": "users", "filter": {"email": "e7", "n": {"$gt": 0}}},
        ),
        (Index({"n": 1, "email": -1}, "x"), Index({"n": 1, "email": -1}, "y"), BY_TWO),
        (
            Index({"at": 1}, "x"),
            Index({"at": 1}, "x", {"expireAfterSeconds": 9}),
            {"find": "users", "filter": {"at": 3}},
        ),
        (Index({"email": "hashed"}, "x"), Index({"email": "hashed"}, "y"), BY_MAIL),
        (
            Index({"place": "2d"}, "x"),
            Index({"place": "2d"}, "x", {"bits": 20}),
            {"find": "users", "filter": {"place": NEAR}},
        ),
        (
            Index({"place": "2dsphere"}, "x"),
            Index({"place": "2dsphere"}, "y"),
            {"find": "users", "filter": {"place": NEAR}},
        ),
    ],
)
async def test_at_each_moment_an_index_serves_the_query(
    db: Database, before: Index, after: Index, query: dict[str, Any]
) -> None:
    documents = [{"email": f"e{n}", "n": n, "at": n, "place": [n / 10, n / 10]} for n in range(50)]
    await db["users"].insert_many(documents)
    await bring(db, before)
    seen: list[str] = []

    async def look() -> None:
        reply = await db.command({"explain": query, "verbosity": "queryPlanner"})
        seen.extend(stages(reply["queryPlanner"]["winningPlan"]))

    (result,) = await bring(db, after, sender=Watching(db, look))
    assert (result.action, result.status, result.error) == ("rebuild", "applied", None)
    assert await there(db) == [after.document()]
    assert {"COLLSCAN", "SORT"}.isdisjoint(seen)
    assert "IXSCAN" in seen


@pytest.mark.parametrize(
    "after",
    [
        Index({"email": 1}, "email_1", {"unique": True, "sparse": True}),
        Index({"email": 1}, "by_mail", {"unique": True}),
        Index({"email": -1}, "email_1", {"unique": True}),
        Index({"email": 1}, "email_1", {"unique": True, "partialFilterExpression": {"email": {"$gt": ""}}}),
        Index({"email": 1}, "email_1", {"unique": True, "collation": {"locale": "en", "strength": 2}}),
    ],
)
async def test_at_no_moment_a_duplicate_slips_in(db: Database, after: Index) -> None:
    await db["users"].insert_one({"email": "a@x.org"})
    await bring(db, UNIQUE)
    tried = 0

    async def look() -> None:
        nonlocal tried
        tried += 1
        with pytest.raises(DuplicateKeyError):
            await db["users"].insert_one({"email": "a@x.org"})

    (result,) = await bring(db, after, sender=Watching(db, look))
    assert (result.action, result.status, result.error) == ("rebuild", "applied", None)
    assert await there(db) == [after.document()]
    assert tried >= 4


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Index({"t": "text"}, "x"), Index({"t": "text"}, "x", {"default_language": "german"})),
        (Index({"$**": 1}, "x"), Index({"$**": 1}, "y")),
        (PLAIN, Index({"email": 1}, "email_1", {"sparse": True, "hidden": True})),
    ],
)
async def test_without_a_stand_in_it_is_rebuilt_all_the_same(
    db: Database, before: Index, after: Index
) -> None:
    await bring(db, before)
    seen: list[int] = []

    async def look() -> None:
        seen.append(len(await there(db)))

    (result,) = await bring(db, after, sender=Watching(db, look))
    assert (result.action, result.status) == ("rebuild", "applied")
    assert await there(db) == [after.document()]
    assert max(seen) == 1


async def test_beside_63_others_there_is_room_for_no_stand_in(db: Database) -> None:
    others = [Index({f"f{n}": 1}) for n in range(62)]
    await bring(db, PLAIN, *others)
    (result,) = await bring(db, UNIQUE, *others)
    assert (result.action, result.status) == ("rebuild", "applied")
    assert UNIQUE.document() in await there(db)
    assert len(await there(db)) == 63


async def test_a_stand_in_left_by_another_rebuild_is_replaced(db: Database) -> None:
    await bring(db, PLAIN)
    await db["users"].create_index("something_else", name=f"{TEMPORARY}email_1")
    seen: list[list[str]] = []

    async def look() -> None:
        seen.append([str(index["keys"]) for index in await there(db)])

    await bring(db, UNIQUE, sender=Watching(db, look))
    assert ["{'email': 1, 'motorctl_temporary': 1}"] in seen
    assert await there(db) == [UNIQUE.document()]


async def test_an_index_that_another_apply_has_built_meanwhile_is_not_dropped(db: Database) -> None:
    await bring(db, PLAIN)
    drops = 0

    async def overtaken(name: str, send: Callable[[], Awaitable[Any]]) -> Any:
        nonlocal drops
        reply = await send()
        if name == "createIndexes" and any(
            index["name"].startswith(TEMPORARY) for index in await driver.list_indexes(db["users"])
        ):
            await db["users"].drop_index("email_1")
            await db["users"].create_index("email", name="email_1", unique=True)
        drops += name == "dropIndexes"
        return reply

    (result,) = await bring(db, UNIQUE, sender=Intercepted(db, overtaken))
    assert result.status == "applied"
    assert drops == 1, "the stand-in's"
    assert await there(db) == [UNIQUE.document()]


async def test_collections_of_killed_rehearsals_go_after_an_hour(db: Database) -> None:
    now = int(time.time())
    old, new, foreign = f"{TEMPORARY}{now - 3700}_0a1b", f"{TEMPORARY}{now - 60}_0a1b", f"{TEMPORARY}mine"
    for name in (old, new, foreign):
        await db.create_collection(name)
    await bring(db, PLAIN)
    assert sorted(await db.list_collection_names()) == sorted([new, foreign, "users"])


VALUES = st.recursive(
    st.sampled_from([None, 0, 1, 1.0, "x", "X"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)
DOCUMENTS = st.lists(st.dictionaries(st.sampled_from("ac"), VALUES, max_size=2), min_size=2, max_size=4)
OPTIONS = st.sampled_from([{}, {"sparse": True}, {"collation": {"locale": "en", "strength": 2}}])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(DOCUMENTS, st.sampled_from([{"a": 1}, {"a.b": 1}, {"c": 1, "a": -1}, {"a.0": 1}]), OPTIONS)
def test_never_a_duplicate_that_is_none_to_the_server(
    server_uri: str,
    dbname: str,
    documents: list[dict[str, Any]],
    keys: dict[str, Any],
    options: dict[str, Any],
) -> None:
    async def compare() -> None:
        client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(server_uri)
        db = client.get_database(dbname)
        await db.drop_collection("users")
        await db["users"].insert_many([dict(document) for document in documents])
        index = Index(keys, None, {"unique": True, **options})
        if await _found(db, index):
            assert await _refused(db, index)
        await driver.close(client)

    asyncio.run(compare())
