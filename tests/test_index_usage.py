"""How much indexes are used, which are redundant, and how `indexes list --usage` and a dump tell of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pymongo
import pytest
import secured
from bson import Int64
from secured import User, as_user

from motorctl.core import driver
from motorctl.core.index_usage import Usage, redundancy, sized, usage
from motorctl.core.schema import Collection, Index
from motorctl.core.schema.stats import comments
from motorctl.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from conftest import Runner
    from pymongo.database import Database

    from motorctl.client import Database as AsyncDatabase

    SyncDatabase = Database[dict[str, Any]]

NOON = datetime(2026, 3, 1, 12, 0, 0, 400, tzinfo=UTC)
ID = Usage("c", "_id_", {"_id": 1}, {})


def index(name: str, keys: dict[str, Any], **options: Any) -> Usage:
    return Usage("c", name, keys, options)


def redundant(*usages: Usage) -> dict[str, str]:
    """Return each redundant index with the one that makes it so."""
    return {one.name: one.redundant_with for one in redundancy([ID, *usages]) if one.redundant_with}


LONG = index("long", {"a": 1, "b": -1})


@pytest.mark.parametrize(
    "short",
    [
        index("short", {"a": 1}),
        index("short", {"a": -1}),
        index("short", {"a": 1}, hidden=True),
        index("short", {"a": -1, "b": 1}),
    ],
)
def test_an_index_at_the_beginning_of_another_is_redundant(short: Usage) -> None:
    assert redundant(LONG, short) == {"short": "long"}
    if len(short.keys) == 1:
        assert redundant(short, LONG) == {"short": "long"}


@pytest.mark.parametrize(
    "short",
    [
        index("short", {"b": -1}),
        index("short", {"a": -1, "b": -1}),
        index("short", {"b": -1, "a": 1}),
        index("short", {"a.b": 1}),
        index("short", {"a": "hashed"}),
        index("short", {"a": "text"}),
        index("short", {"a": "2dsphere"}),
        index("short", {"a": "2d"}),
        index("short", {"$**": 1}),
        index("short", {"a.$**": 1}),
        index("short", {"a": 1}, unique=True),
        index("short", {"a": 1}, prepareUnique=True),
        index("short", {"a": 1}, sparse=True),
        index("short", {"a": 1}, expireAfterSeconds=0),
        index("short", {"a": 1}, partialFilterExpression={"a": 5}),
        index("short", {"a": 1}, collation={"locale": "de"}),
        index("short", {"a": 1}, collation={"locale": "simple"}),
    ],
)
def test_an_index_that_does_something_of_its_own_is_not(short: Usage) -> None:
    assert redundant(LONG, short) == {}


@pytest.mark.parametrize(
    "other",
    [
        index("other", {"a": 1, "b": 1}, hidden=True),
        index("other", {"a": 1, "b": 1}, sparse=True),
        index("other", {"a": 1, "b": 1}, partialFilterExpression={"b": 5}),
        index("other", {"a": 1, "b": "2dsphere"}),
        index("other", {"a": 1, "b": "text"}),
        index("other", {"a": 1, "b": "hashed"}),
        index("other", {"a": 1, "b.$**": 1}),
        index("other", {"a": 1, "b": 1}, collation={"locale": "de"}),
    ],
)
def test_an_index_without_every_document_replaces_none(other: Usage) -> None:
    assert redundant(index("short", {"a": 1}), other) == {}


def test_a_unique_one_replaces_a_plain_one_and_never_the_other_way_round() -> None:
    plain, unique = index("plain", {"a": 1}), index("unique", {"a": 1}, unique=True)
    assert redundant(plain, unique) == redundant(unique, plain) == {"plain": "unique"}


def test_collations_are_compared_as_the_server_fills_them_in() -> None:
    short = index("short", {"a": 1}, collation={"locale": "de"})
    assert redundant(short, index("long", {"a": 1, "b": 1}, collation={"locale": "de", "strength": 3})) == {
        "short": "long"
    }


def test_of_two_that_could_stand_in_for_each_other_the_earlier_stays() -> None:
    up, down = index("up", {"a": 1}), index("down", {"a": -1})
    assert redundant(up, down) == {"down": "up"}
    assert redundant(down, up) == {"up": "down"}


def test_named_is_one_that_is_not_redundant_itself() -> None:
    chain = [index(name, dict.fromkeys(name, 1)) for name in ("ab", "a", "abc", "abd")]
    assert redundant(*chain) == {"ab": "abc", "a": "abc"}


def test_the_key_of_documents_serves_like_any_other() -> None:
    assert redundant(index("back", {"_id": -1}), index("more", {"_id": 1, "a": 1})) == {"back": "_id_"}


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (20480, "20.5 kB"),
        (1_500_000, "1.5 MB"),
        (2_500_000_000_000, "2,500.0 GB"),
    ],
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert sized(size) == text


def test_never_used_is_no_word_for_the_key_of_documents() -> None:
    assert index("a_1", {"a": 1}).never_used is False
    assert Usage("c", "a_1", {"a": 1}, {}, operations=0).never_used is True
    assert Usage("c", "a_1", {"a": 1}, {}, operations=1).never_used is False
    assert Usage("c", "_id_", {"_id": 1}, {}, operations=0).never_used is False


def test_a_usage_for_machines() -> None:
    eastern = NOON.astimezone(timezone(timedelta(hours=5)))
    assert Usage("c", "a_1", {"a": 1}, {"unique": True}, 4096, 7, eastern, "a_1_b_1").document() == {
        "collection": "c",
        "name": "a_1",
        "keys": {"a": 1},
        "options": {"unique": True},
        "size_bytes": 4096,
        "operations": 7,
        "since": "2026-03-01T12:00:00Z",
        "redundant_with": "a_1_b_1",
    }
    assert ID.document()["since"] is None


async def test_what_a_server_counts(db: AsyncDatabase, sync_db: SyncDatabase) -> None:
    sync_db["things"].create_index("a")
    sync_db["things"].create_index([("a", 1), ("b", 1)])
    sync_db["things"].insert_many([{"a": n, "b": n} for n in range(100)])
    sync_db.create_collection("seen", viewOn="things", pipeline=[])
    for n in range(3):
        sync_db["things"].find_one({"a": n}, hint="a_1")
    identity, used, unused = await usage(db)
    assert [one.name for one in (identity, used, unused)] == ["_id_", "a_1", "a_1_b_1"]
    assert (used.operations, used.never_used, used.redundant_with) == (3, False, "a_1_b_1")
    assert (unused.operations, unused.never_used, unused.redundant_with) == (0, True, None)
    assert all(one.size_bytes for one in (identity, used, unused))
    assert used.since is not None
    assert abs(datetime.now(UTC) - used.since) < timedelta(minutes=10)
    assert await usage(db, "seen") == []
    with pytest.raises(NotFoundError):
        await usage(db, "nope")


async def test_what_shards_say_is_added_up(
    db: AsyncDatabase, sync_db: SyncDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync_db["things"].create_index("a")
    told = {
        "$indexStats": [
            {"name": "a_1", "shard": "s1", "accesses": {"ops": Int64(3), "since": NOON}},
            {"name": "a_1", "shard": "s2", "accesses": {"ops": Int64(4), "since": NOON + timedelta(days=1)}},
        ],
        "$collStats": [
            {"shard": "s1", "storageStats": {"indexSizes": {"_id_": 10, "a_1": 100}}},
            {"shard": "s2", "storageStats": {"indexSizes": {"_id_": 20, "a_1": 200}}},
            {"shard": "s3", "storageStats": {}},
        ],
    }

    async def aggregate(_: Any, pipeline: Sequence[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
        async def rows() -> AsyncIterator[dict[str, Any]]:
            for row in told[next(iter(pipeline[0]))]:
                yield row

        return rows()

    monkeypatch.setattr(driver, "aggregate", aggregate)
    identity, one = await usage(db)
    assert (identity.size_bytes, identity.operations, identity.since) == (30, None, None)
    assert (one.size_bytes, one.operations, one.since) == (300, 7, NOON + timedelta(days=1))


def test_a_list_with_its_usage(cli: Runner, sync_db: SyncDatabase) -> None:
    sync_db["a"].create_index("x", expireAfterSeconds=5)
    sync_db["b"].create_index([("x", 1)])
    sync_db["b"].create_index([("x", 1), ("y", 1)], unique=True)
    for _ in range(2):
        sync_db["b"].find_one({"x": 1}, hint="x_1_y_1")
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    listed = cli("indexes", "list", "--usage")
    assert (listed.code, listed.stderr) == (0, "")
    assert (
        listed.stdout.replace(today, "2026-03-01")
        == """\
collection  name       size  operations  since       remarks
a           _id_     4.1 kB           0  2026-03-01
a           x_1      4.1 kB  never used  2026-03-01  expireAfterSeconds 5
b           _id_     4.1 kB           0  2026-03-01
b           x_1      4.1 kB  never used  2026-03-01  redundant with x_1_y_1
b           x_1_y_1  4.1 kB           2  2026-03-01  unique
"""
    )
    rows = cli("indexes", "list", "b", "--usage", "-o", "json").json()
    assert [(row["name"], row["operations"], row["redundant_with"]) for row in rows] == [
        ("_id_", 0, None),
        ("x_1", 0, "x_1_y_1"),
        ("x_1_y_1", 2, None),
    ]
    assert rows[2]["keys"] == {"x": 1, "y": 1}
    assert rows[2]["options"] == {"unique": True}
    assert rows[2]["since"].startswith(today)
    assert [
        json.loads(line)
        for line in cli("indexes", "list", "b", "--usage", "-o", "ndjson").stdout.splitlines()
    ] == rows
    heading, *_, last = cli("indexes", "list", "b", "--usage", "-o", "csv").stdout.splitlines()
    assert heading == "collection,name,keys,options,size_bytes,operations,since,redundant_with"
    assert last == f'b,x_1_y_1,"{{x: 1, y: 1}}",unique,4096,2,{rows[2]["since"]},'
    assert cli("indexes", "list", "nope", "--usage").code == 5


def test_a_list_with_its_usage_fits_a_terminal(cli: Runner, sync_db: SyncDatabase) -> None:
    sync_db["orders"].create_index([("user_id", 1)])
    sync_db["orders"].create_index([("user_id", 1), ("created_at", -1)])
    for columns in (80, 200):
        shown = cli("indexes", "list", "--usage", "--no-color", tty=True, columns=columns).stdout
        assert max(map(len, shown.splitlines())) <= columns
        assert "user_id_1_created_at_-1" in shown
        assert "\x1b" not in shown


def test_a_series_a_clustered_collection_and_a_view(cli: Runner, sync_db: SyncDatabase) -> None:
    version = sync_db.client.server_info()["versionArray"]
    sync_db["plain"].create_index("a")
    sync_db.create_collection("seen", viewOn="plain", pipeline=[])
    expected = [("plain", "_id_", True), ("plain", "a_1", True)]
    if version >= [5, 0]:
        sync_db.create_collection("series", timeseries={"timeField": "t", "metaField": "m"})
        sync_db["series"].create_index("m.a")
        expected.append(("series", "m.a_1", True))
    if version >= [5, 3]:
        sync_db.create_collection("clustered", clusteredIndex={"key": {"_id": 1}, "unique": True})
        expected.insert(0, ("clustered", "_id_", False))
    rows = cli("indexes", "list", "--usage", "-o", "json").json()
    named = [row for row in rows if (row["collection"], row["name"]) != ("series", "m_1_t_1")]
    assert [(row["collection"], row["name"], row["operations"] is not None) for row in named] == expected
    assert all((row["size_bytes"] is None) == (row["collection"] == "clustered") for row in named)


def test_who_may_not_see_it_is_told_which_role_may(cli: Runner, tmp_path: Path) -> None:
    reads = {"role": "read", "db": "shop"}
    reader, monitor = User("reader", [reads]), User("monitor", [reads, "clusterMonitor"])
    with secured.guarded(tmp_path, reader, monitor) as server:
        with pymongo.MongoClient[dict[str, Any]](as_user(server, "root")) as root:
            root["shop"]["users"].create_index("email")
        for user, code in (("reader", 4), ("monitor", 0)):
            listed = cli(
                *("indexes", "list", "--usage", "--uri", as_user(server, user), "--db", "shop", "-o", "json")
            )
            assert listed.code == code
            if code:
                error = listed.error()
                needs = "needs `indexStats` on shop.users"
                assert error["message"] == f"no right to see how the indexes of users are used: {needs}"
                assert "clusterMonitor" in error["hint"]


def test_comments_for_a_dump() -> None:
    users = Collection(
        "users",
        indexes=(
            Index({"a": 1}, "a_1"),
            Index({"b": 1}, "b_1"),
            Index({"c": 1}, "c_1"),
            Index({"d": 1}, "d_1"),
        ),
    )
    usages = [
        Usage("users", "_id_", {"_id": 1}, {}, 4096, 0, NOON),
        Usage("users", "a_1", {"a": 1}, {}, 20480, 1234, NOON),
        Usage("users", "b_1", {"b": 1}, {}, 20480, 0, NOON, "b_1_c_1"),
        Usage("users", "c_1", {"c": 1}, {}, 999, 1, NOON),
        Usage("other", "d_1", {"d": 1}, {}, 999, 1, NOON),
    ]
    assert comments({"users": users}, usages) == {
        ("collections", "users", "indexes", 0): "20.5 kB, 1,234 operations since 2026-03-01",
        (
            "collections",
            "users",
            "indexes",
            1,
        ): "20.5 kB, never used since 2026-03-01, redundant with b_1_c_1",
        ("collections", "users", "indexes", 2): "999 bytes, 1 operation since 2026-03-01",
    }
