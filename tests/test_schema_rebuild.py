"""An index in the place of another: whatever goes wrong, and whenever, the old one is there or the new one."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.errors import AutoReconnect, DuplicateKeyError, OperationFailure

from motorctl.core import driver, schema
from motorctl.core.schema import Change, Collection, Index
from motorctl.core.schema.catalog import Catalog
from motorctl.core.schema.rebuild import SCRATCH, _look_for_duplicates

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from motorctl.client import Database

PLAIN = Index({"email": 1}, "email_1")
UNIQUE = Index({"email": 1}, "email_1", {"unique": True})


def users(*indexes: Index) -> list[Collection]:
    return [Collection("users", {}, None, indexes)]


async def bring(db: Database, *indexes: Index, sender: Any = None, **options: Any) -> list[Change]:
    changes = schema.plan(await schema.fetch(db), users(*indexes), prune=True)
    results = await schema.apply(db if sender is None else sender, changes, **options)
    return [change for change in results if change.action != "keep"]


async def there(db: Database) -> list[dict[str, Any]]:
    return [index.document() for index in (await schema.fetch(db))["users"].indexes]


class Intercepted:
    """A database whose commands on `users` go through a function, which may send them."""

    def __new__(cls, db: Database, intercept: Callable[[str, Callable[[], Awaitable[Any]]], Any]) -> Any:
        class Intercepting(type(db)):  # type: ignore[misc]
            async def command(self, command: dict[str, Any]) -> Any:
                name, target = next(iter(command.items()))
                send = partial(db.command, command)
                return await (intercept(name, send) if target == "users" else send())

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
    assert script.commands[-3:] == ["dropIndexes", "createIndexes", "createIndexes"]
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
        (Index({"a": 1}, "x"), Index({"a": 1}, "x", {"partialFilterExpression": {"a": {"$ne": 3}}})),
        (Index({"a": 1}, "x"), Index({"a": 1, "b": "hashed", "c": "hashed"}, "x")),
        (Index({"a": 1}, "x"), Index({"$**": 1}, "x", {"unique": True})),
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
    assert not [name for name in await db.list_collection_names() if name.startswith(SCRATCH)]


async def test_a_second_text_index_with_other_keys_takes_its_place(db: Database) -> None:
    await bring(db, Index({"a": "text"}, "x"))
    after = Index({"p": 1, "b": "text"}, "x")
    assert [c.status for c in await bring(db, after)] == ["applied"]
    assert await there(db) == [after.document()]
    assert await db.list_collection_names() == ["users"]


async def test_nothing_is_dropped_for_a_key_that_documents_share(db: Database) -> None:
    await db["users"].insert_many([{"email": "a@x.org"}, {"email": "a@x.org"}])
    await bring(db, PLAIN)
    script = Script(hang_up)
    (result,) = await bring(db, UNIQUE, sender=Intercepted(db, script))
    assert result.status == "failed"
    assert result.error == {
        "code": 11000,
        "code_name": "DuplicateKey",
        "message": "E11000 documents of users share a value of the unique index email_1",
        "key_value": {"email": "a@x.org"},
    }
    assert "dropIndexes" not in script.commands
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
        client.close()

    asyncio.run(compare())
