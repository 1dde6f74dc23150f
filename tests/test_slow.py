"""`motorctl slow`: which queries are slow by their shape, from each source; the profiler on, off and back."""

from __future__ import annotations

import json
import shlex
import threading
import time
import tracemalloc
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pymongo
import pytest
from bson import Decimal128, Int64
from conftest import Server, until
from hypothesis import given
from hypothesis import strategies as st

from motorctl.core.explain.query import Query
from motorctl.core.slow import groups, profiler, query_stats, shapes
from motorctl.core.slow.groups import Operation
from motorctl.core.slow.remembered import Remembered

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Runner
    from pymongo.database import Database

    SyncDatabase = Database[dict[str, Any]]

SECRET = "ada@example.com"


@pytest.fixture
def profiled(sync_db: SyncDatabase) -> Iterator[SyncDatabase]:
    """A database in which everything is recorded; the server's own setting is put back."""
    before = sync_db.command("profile", -1)
    sync_db.orders.insert_many([{"n": n, "s": str(n % 7), "email": SECRET} for n in range(2000)])
    sync_db.command("profile", 2)
    yield sync_db
    sync_db.command(
        "profile", before["was"], slowms=before["slowms"], sampleRate=before["sampleRate"], filter="unset"
    )


def busy(db: SyncDatabase) -> None:
    for n in range(5):
        list(db.orders.find({"n": {"$gt": n}, "email": SECRET}).sort("s").batch_size(700))
        list(db.orders.aggregate([{"$match": {"s": str(n)}}, {"$group": {"_id": "$s", "n": {"$sum": 1}}}]))
        list(db.orders.find({"n": {"$in": list(range(n + 1))}}))
    db.orders.find_one({"_id": 1})
    db.command("count", "orders", query={"s": "1"})
    db.orders.distinct("s", {"n": {"$lt": 5}})
    db.orders.update_many({"s": "3"}, {"$set": {"z": SECRET}})
    db.orders.delete_one({"s": "5"})
    db.orders.find_one_and_update({"n": 7}, {"$set": {"q": SECRET}}, sort=[("n", -1)])
    db.orders.insert_one({"email": SECRET})
    db.other.find_one({"a": SECRET})
    db.orders.create_index("email")


def test_queries_are_put_together_by_their_shape(cli: Runner, profiled: SyncDatabase) -> None:
    busy(profiled)

    result = cli("slow", "list", "--collection", "orders", "-o", "json")

    assert result.code == 0
    rows = {(row["operation"], row["shape"]): row for row in result.json()}
    assert {key: row["count"] for key, row in rows.items()} == {
        ("find", '{"filter": {"n": {"$gt": "?"}, "email": "?"}, "sort": {"s": 1}}'): 5,
        ("find", '{"filter": {"n": {"$in": ["?"]}}}'): 5,
        ("find", '{"filter": {"_id": "?"}, "limit": "?"}'): 1,
        ("aggregate", '{"pipeline": [{"$match": {"s": "?"}}, {"$group": {"_id": "$s", "n": {"$sum": "?"}}}]}'): 5,
        ("count", '{"filter": {"s": "?"}}'): 1,
        ("distinct", '{"key": "s", "filter": {"n": {"$lt": "?"}}}'): 1,
        ("update", '{"filter": {"s": "?"}}'): 1,
        ("delete", '{"filter": {"s": "?"}}'): 1,
        ("findAndModify", '{"filter": {"n": "?"}, "sort": {"n": -1}, "limit": "?"}'): 1,
        ("insert", "{}"): 1,
    }  # fmt: skip
    sorted_find = rows["find", '{"filter": {"n": {"$gt": "?"}, "email": "?"}, "sort": {"s": 1}}']
    assert sorted_find["docs_examined"] == 5 * 2000
    assert sorted_find["returned"] == sum(2000 - n - 1 for n in range(5)), "later batches count, too"
    assert sorted_find["plan"] == "COLLSCAN"
    assert sorted_find["source"] == "profiler"
    assert rows["find", '{"filter": {"_id": "?"}, "limit": "?"}']["plan"] == "IDHACK"
    assert all(row["p50_ms"] <= row["p95_ms"] <= row["max_ms"] <= row["total_ms"] for row in rows.values())


def test_a_pipeline_that_writes_is_an_aggregate(cli: Runner, profiled: SyncDatabase) -> None:
    """The profiler records it as an insert or an update: that is what it did last."""
    list(profiled.orders.aggregate([{"$match": {"s": "3"}}, {"$out": "copy"}]))
    merge = {"into": "more", "whenMatched": [{"$set": {"x": SECRET}}], "whenNotMatched": "insert"}
    list(profiled.orders.aggregate([{"$match": {"s": "3"}}, {"$merge": merge}]))

    result = cli("slow", "--collection", "orders", "-o", "json")

    assert SECRET not in result.stdout
    assert sorted((row["operation"], row["shape"]) for row in result.json()) == [
        ("aggregate", '{"pipeline": [{"$match": {"s": "?"}}, {"$merge": {"into": "more", "whenMatched": [{"$set": {"x": "?"}}], "whenNotMatched": "insert"}}]}'),
        ("aggregate", '{"pipeline": [{"$match": {"s": "?"}}, {"$out": "copy"}]}'),
    ]  # fmt: skip


def test_a_command_that_the_profiler_has_cut_is_known_by_its_hash(
    cli: Runner, profiled: SyncDatabase
) -> None:
    long = ["x" * 100] * 2000
    list(profiled.orders.find({"s": {"$in": long}}))
    list(profiled.orders.aggregate([{"$match": {"s": {"$in": long}}}]))
    list(profiled.orders.find({"email": {"$in": long}}))
    profiled.orders.update_many({"s": {"$in": long}}, {"$set": {"a": 1}})

    rows = cli("slow", "--explain", "-c", "orders", "-o", "json").json()

    assert sorted(row["operation"] for row in rows) == ["aggregate", "find", "find", "update"]
    assert len({(row["operation"], row["shape"]) for row in rows}) == 4
    assert all(list(json.loads(row["shape"])) == ["queryHash"] for row in rows)
    assert {row["verdict"] for row in rows} == {None}
    assert "find queryHash" in cli("slow", "-c", "orders").stdout


def test_a_views_query_is_one_with_its_later_batches(cli: Runner, profiled: SyncDatabase) -> None:
    profiled.command("create", "sevens", viewOn="orders", pipeline=[{"$match": {"s": "0"}}])
    for _ in range(2):
        list(profiled.sevens.find({"n": {"$gte": 0}}).batch_size(100))

    rows = cli("slow", "--explain", "--examples", "-o", "json").json()

    (row,) = [row for row in rows if "n" in row["shape"] and row["operation"] in ("find", "aggregate")]
    assert (row["collection"], row["operation"], row["count"]) == ("sevens", "find", 2)
    assert (row["returned"], row["verdict"]) == (2 * 286, "collscan")
    assert row["explain"] == """motorctl explain find sevens --filter '{"n":{"$gte":0}}'"""


def test_an_example_says_all_that_the_query_said(cli: Runner, profiled: SyncDatabase) -> None:
    profiled.orders.create_index([("n", 1)], name="by n")
    list(profiled.orders.find({"n": 3}, hint="by n", sort=[("id", 1)], collation={"locale": "simple"}))
    list(profiled.orders.find({"s": "3"}, sort=[("a,b", -1), ("c", 1)], limit=3, skip=2, projection={"n": 1}))
    list(profiled.orders.find({"$expr": {"$eq": ["$n", "$$x"]}}, let={"x": 3}))
    list(profiled.orders.aggregate([{"$match": {"$expr": {"$eq": ["$n", "$$x"]}}}], let={"x": 3}))
    list(profiled.orders.aggregate([{"$match": {"n": 4}}], hint={"n": 1}))
    profiled.command("count", "orders", query={"n": 5}, limit=4)

    rows = cli("slow", "--explain", "--examples", "-c", "orders", "-o", "json").json()

    commands = {row["explain"]: row["verdict"] for row in rows if row["explain"]}
    assert len(commands) == 5, commands
    assert len(rows) == 6, "a find with a variable can't be typed"
    for typed, verdict in commands.items():
        again = cli(*shlex.split(typed)[1:], "--no-run", "-o", "json")
        assert (again.code, again.json()["verdict"]) == (0, verdict), (typed, again.stderr)
    assert any("--hint 'by n'" in typed and """'--sort={"id":1}'""" in typed for typed in commands)
    assert any("--var x=3" in typed for typed in commands)


def test_no_value_is_shown_unasked(cli: Runner, profiled: SyncDatabase) -> None:
    busy(profiled)

    for form in ("json", "table", "csv"):
        assert SECRET not in cli("slow", "-o", form).stdout
    shown = cli("slow", "--examples", "-o", "json").json()
    commands = [row["explain"] for row in shown if row["explain"]]
    assert any(command.startswith('motorctl explain find orders --filter \'{"n"') for command in commands)
    assert any(SECRET in command for command in commands)


def test_order_limit_and_collection(cli: Runner, profiled: SyncDatabase) -> None:
    busy(profiled)

    by_count = cli("slow", "--sort", "count", "--top", "3", "-o", "json").json()
    assert [row["count"] for row in by_count] == [5, 5, 5]
    assert [row["collection"] for row in cli("slow", "--collection", "other", "-o", "json").json()] == [
        "other"
    ]
    total = [row["total_ms"] for row in cli("slow", "-o", "json").json()]
    assert total == sorted(total, reverse=True)
    assert cli("slow", "--slower-than", "100000", "--source", "profiler", "-o", "json").json() == []
    assert cli("slow", "--since", "2999-01-01", "-o", "json").json() == []


def test_each_is_handed_to_explain(cli: Runner, profiled: SyncDatabase) -> None:
    busy(profiled)
    # An index takes part in what is said: the planner is asked now, whatever it did when it was recorded.
    profiled.orders.create_index("s")

    result = cli("slow", "--explain", "--collection", "orders", "-o", "json")

    assert result.code == 0
    verdicts = {(row["operation"], row["shape"]): row["verdict"] for row in result.json()}
    assert verdicts["update", '{"filter": {"s": "?"}}'] == "ixscan"
    assert verdicts["find", '{"filter": {"n": {"$in": ["?"]}}}'] == "collscan"
    assert verdicts["insert", "{}"] is None
    lacking = next(row for row in result.json() if row["shape"] == '{"filter": {"n": {"$in": ["?"]}}}')
    assert any(
        "motorctl indexes create orders n" in (said.get("command") or "") for said in lacking["advice"]
    )


def test_a_command_can_be_copied_from_a_narrow_terminal(cli: Runner, profiled: SyncDatabase) -> None:
    list(profiled.orders.find({"email": SECRET, "s": "3"}).sort("n"))

    shown = cli("slow", "--explain", "--examples", tty=True, columns=60).stdout

    lines = shown.replace("\r", "").splitlines()
    assert max(len(line) for line in lines if "orders " in line and "motorctl" not in line) <= 60
    assert "  motorctl indexes create orders email s n" in lines
    assert f"""  motorctl explain find orders --filter '{{"email":"{SECRET}","s":"3"}}' --sort=n""" in lines
    markdown = cli("slow", "--explain", "-o", "markdown").stdout
    assert "| collscan | motorctl indexes create orders email s n |\n" in markdown


def test_what_runs_now_is_a_source(cli: Runner, sync_db: SyncDatabase) -> None:
    sync_db.orders.insert_many([{"n": n} for n in range(40)])

    def long() -> None:
        list(sync_db.orders.find({"$where": "sleep(100) || true", "n": {"$gte": 0}}))

    query = threading.Thread(target=long)
    query.start()
    try:
        found: list[dict[str, Any]] = []

        def seen() -> bool:
            found[:] = cli("slow", "--source", "current", "--slower-than", "300", "-o", "json").json()
            return bool(found)

        until(seen, "the query is seen running")
    finally:
        query.join()
    (row,) = found
    assert (row["operation"], row["shape"]) == ("find", '{"filter": {"$where": "?", "n": {"$gte": "?"}}}')
    assert row["source"] == "current"
    assert row["p50_ms"] >= 300


def test_nothing_recorded_is_said(cli: Runner, sync_db: SyncDatabase) -> None:
    sync_db.orders.insert_one({})

    result = cli("slow", "-o", "json")

    assert (result.code, result.json()) == (0, [])
    assert "slow profile on" in result.stderr
    refused = cli("slow", "--source", "query-stats", "-o", "json")
    assert refused.code == 5


def test_the_profiler_is_put_back_to_what_it_was(cli: Runner, sync_db: SyncDatabase, tmp_path: Path) -> None:
    before = sync_db.command("profile", 0, slowms=321, sampleRate=0.5)
    try:
        on = cli("slow", "profile", "on", "--slower-than", "7", "--yes", "-o", "json")
        assert on.code == 0
        again = cli("slow", "profile", "on", "--slower-than", "9", "--yes", "-o", "json").json()
        assert again["before"] == {"level": 0, "slow_ms": 321, "sample_rate": 0.5, "filter": None}
        set_to = sync_db.command("profile", -1)
        assert (set_to["was"], set_to["slowms"], set_to["sampleRate"]) == (1, 9, 1.0)

        off = cli("slow", "profile", "off", "--yes", "-o", "json")

        assert (off.code, off.json()["level"]) == (0, 0)
        back = sync_db.command("profile", -1)
        assert (back["was"], back["slowms"], back["sampleRate"]) == (0, 321, 0.5)
        assert not [path for path in (tmp_path / "xdg-state").rglob("*") if path.is_file()]
    finally:
        sync_db.command("profile", 0, slowms=before["slowms"], sampleRate=before["sampleRate"])


def test_a_filter_is_put_back_too(cli: Runner, sync_db: SyncDatabase) -> None:
    before = sync_db.command("profile", 1, filter={"millis": {"$gt": 50}})
    try:
        on = cli("slow", "profile", "on", "--yes", "-o", "json").json()
        assert on["before"]["filter"] == {"millis": {"$gt": 50}}
        assert "filter" not in sync_db.command("profile", -1)

        assert cli("slow", "profile", "off", "--yes", "-o", "json").json()["level"] == 1

        back = sync_db.command("profile", -1)
        assert (back["was"], back["filter"]) == (1, {"millis": {"$gt": 50}})
    finally:
        sync_db.command("profile", 0, filter="unset", slowms=before["slowms"])


def test_a_filters_types_are_put_back(cli: Runner, sync_db: SyncDatabase) -> None:
    chosen = {"$and": [{"millis": {"$gt": Int64(5)}}, {"ts": {"$gt": datetime(2026, 1, 1, tzinfo=UTC)}}]}
    before = sync_db.command("profile", 1, filter=chosen)
    was = sync_db.command("profile", -1)["filter"]
    try:
        assert cli("slow", "profile", "on", "--yes").code == 0
        assert cli("slow", "profile", "off", "--yes").code == 0
        back = sync_db.command("profile", -1)["filter"]
        assert back == was
        (date,) = [one["ts"]["$gt"] for one in back["$and"] if "ts" in one]
        assert isinstance(date, datetime)
    finally:
        sync_db.command("profile", 0, filter="unset", slowms=before["slowms"])


def test_the_servers_limit_is_put_back_with_its_last_database(
    cli: Runner, sync_db: SyncDatabase, dbname: str
) -> None:
    other = sync_db.client[f"{dbname}_b"]
    before = sync_db.command("profile", 0, slowms=321, sampleRate=0.5)
    at_other = ("--db", other.name, "--yes", "-o", "json")
    try:
        cli("slow", "profile", "on", "--slower-than", "50", "--yes")
        cli("slow", "profile", "on", "--slower-than", "20", *at_other)
        first = cli("slow", "profile", "off", "--yes", "-o", "json")
        assert (first.json()["level"], first.json()["slow_ms"]) == (0, 20)
        assert f"the limit stays at 20 ms: {other.name} of this server is recorded, too" in first.stderr
        assert other.command("profile", -1)["was"] == 1

        last = cli("slow", "profile", "off", *at_other).json()

        assert (last["level"], last["slow_ms"], last["sample_rate"]) == (0, 321, 0.5)
        back = sync_db.command("profile", -1)
        assert (back["was"], back["slowms"], back["sampleRate"]) == (0, 321, 0.5)
    finally:
        other.command("profile", 0)
        sync_db.command("profile", 0, slowms=before["slowms"], sampleRate=before["sampleRate"])
        sync_db.client.drop_database(other)


def test_a_server_is_the_same_by_all_its_names(cli: Runner, tmp_path: Path) -> None:
    """A standalone doesn't say what it is called: on by one name, off by another."""
    server = Server(tmp_path / "server", replica_set=False)
    try:
        with pymongo.MongoClient[dict[str, Any]](server.uri) as client:
            client.shop.command("profile", 0, slowms=321)
            names = [f"mongodb://{host}:{server.port}/shop" for host in ("127.0.0.1", "localhost")]
            asked = ("--db", "shop", "--yes", "-o", "json")
            assert cli("slow", "profile", "on", "--uri", names[0], *asked).code == 0
            off = cli("slow", "profile", "off", "--uri", names[1], *asked).json()
            assert (off["slow_ms"], client.shop.command("profile", -1)["slowms"]) == (321, 321)
    finally:
        server.kill()


def test_a_server_that_was_started_anew_has_nothing_to_put_back() -> None:
    before, anew = profiler.Server("db:27017", "first start"), profiler.Server("db:27017", "second")
    now = profiler.State(0, 100, 1.0)
    Remembered(before, "shop").keep(profiler.State(2, 7, 0.5))

    assert Remembered(anew, "shop").get(now) is None
    assert Remembered(before, "other").get(now) is None
    assert Remembered(before, "shop").get(now) == profiler.State(2, 7, 0.5)
    Remembered(before, "shop").path.write_text('{"databases": {"shop": 1}}')
    assert Remembered(before, "shop").get(now) is None, "what can't be read is not put back"


def test_what_was_turned_on_elsewhere_is_only_turned_off(cli: Runner, sync_db: SyncDatabase) -> None:
    before = sync_db.command("profile", 2, slowms=55)
    try:
        off = cli("slow", "profile", "off", "--yes", "-o", "json")
        assert off.json()["level"] == 0
        assert "the limit stays at 55 ms" in off.stderr
        assert sync_db.command("profile", -1)["slowms"] == 55
    finally:
        sync_db.command("profile", 0, slowms=before["slowms"])


def test_the_profiler_is_asked_about_and_a_dry_run_sets_nothing(cli: Runner, sync_db: SyncDatabase) -> None:
    refused = cli("slow", "profile", "on")
    assert refused.code == 2
    assert "Nobody can be asked here" in refused.stderr
    no = cli("slow", "profile", "on", tty=True, stdin="n\n")
    assert no.code == 0
    tried = cli("slow", "profile", "on", "--slower-than", "1", "--dry-run", "-o", "json")
    assert tried.json()["slow_ms"] == 1
    assert sync_db.command("profile", -1)["was"] == 0
    assert cli("slow", "profile", "status", "-o", "json").json()["level"] == 0
    # Nothing is remembered of what was not done: off has nothing to put back, and asks nothing.
    assert cli("slow", "profile", "off", "-o", "json").code == 0


def test_words_that_are_none_are_refused(cli: Runner) -> None:
    assert cli("slow", "profile", "of").code == 2
    assert "did you mean" in cli("slow", "--source", "profilr").stderr
    assert cli("slow", "--sort", "p50").code == 2
    assert cli("slow", "profile", "off", "--slower-than", "5").code == 2
    assert cli("slow", "--source", "current", "--since", "1h").code == 2


def test_a_place_that_cannot_be_written_changes_nothing(
    cli: Runner, sync_db: SyncDatabase, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")

    result = cli("slow", "profile", "on", "--yes", env={"XDG_STATE_HOME": str(blocked)})

    assert result.code == 1
    assert "nothing was changed" in result.stderr
    assert sync_db.command("profile", -1)["was"] == 0


def test_who_may_not_is_told_which_role_may(cli: Runner, tmp_path: Path) -> None:
    server = Server(tmp_path / "server", "--auth", replica_set=False)
    try:
        with pymongo.MongoClient[dict[str, Any]](server.uri) as first:
            first.admin.command("createUser", "root", pwd="secret", roles=["root"])
        with pymongo.MongoClient[dict[str, Any]](server.uri, username="root", password="secret") as root:
            root["shop"]["users"].insert_one({})
            root["shop"].command("createUser", "writer", pwd="secret", roles=["readWrite"])
        uri = f"mongodb://writer:secret@{server.host}/shop?directConnection=true"
        asked = ("--uri", uri, "--db", "shop", "-o", "json")

        read = cli("slow", "--source", "profiler", *asked)
        assert (read.code, "dbAdmin" in read.error()["hint"]) == (4, True)
        assert cli("slow", "profile", "on", "--yes", *asked).code == 4
        for source in ("current", "auto"):
            own = cli("slow", "--source", source, *asked)
            assert (own.code, own.json()) == (0, [])
            assert "only your own operations" in own.stderr
        assert "no right to read shop.system.profile" in own.stderr
    finally:
        server.kill()


def test_query_statistics_of_a_newer_server_are_read() -> None:
    """The form of the manual's example for `$queryStats`; servers that have it are newer than those of the tests."""
    entry = {
        "key": {
            "queryShape": {
                "cmdNs": {"db": "shop", "coll": "orders"},
                "command": "find",
                "filter": {"$and": [{"item": {"$eq": "?string"}}]},
            },
            "client": {"application": {"name": "shop"}},
            "collectionType": "collection",
        },
        "metrics": {
            "lastExecutionMicros": 4254,
            "execCount": 3,
            "totalExecMicros": {
                "sum": 9000, "max": 4254, "min": 100, "sumOfSquares": Decimal128("18096516"),
            },
            "docsReturned": {"sum": 7, "max": 4, "min": 1, "sumOfSquares": Decimal128("1")},
            "latestSeenTimestamp": datetime(2026, 3, 1, tzinfo=UTC),
        },
        "asOf": 1,
    }  # fmt: skip

    found = query_stats.operation("shop", entry)

    assert found is not None
    assert query_stats.operation("other", entry) is None
    (row,) = groups.grouped([found])
    assert row.shape == '{"filter": {"$and": [{"item": {"$eq": "?string"}}]}}'
    assert (row.count, row.total_ms, row.max_ms, row.p50_ms, row.returned) == (3, 9.0, 4.254, None, 7)


@pytest.mark.parametrize(
    ("values", "p50", "p95"),
    [
        ([1.0], 1, 1),
        ([1.0, 2.0], 1, 2),
        ([float(n) for n in range(1, 101)], 50, 95),
        ([1.0] * 19 + [9.0], 1, 1),
    ],
)
def test_percentiles_are_nearest_rank(values: list[float], p50: float, p95: float) -> None:
    assert groups.percentile(values, 50) == p50
    assert groups.percentile(values, 95) == p95


def test_the_worst_plan_is_the_one_that_scanned() -> None:
    (row,) = groups.grouped(
        [
            Operation("c", "find", None, "{}", 1, docs=10, plan="IXSCAN { a: 1 }"),
            Operation("c", "find", None, "{}", 1, docs=5, plan="COLLSCAN"),
        ]
    )
    assert row.plan == "COLLSCAN"


PIPELINE: list[Any] = [
    {"$match": {"a": SECRET, "$expr": {"$eq": ["$b", SECRET]}}},
    {"$lookup": {"from": "users", "localField": "u", "foreignField": "_id", "as": "user",
                 "let": {"x": "$a"}, "pipeline": [{"$match": {"e": SECRET}}]}},
    {"$set": {"c": {"$concat": ["$a", SECRET]}, "d": {"$literal": SECRET}}},
    {"$facet": {"one": [{"$match": {"z": SECRET}}], "two": [{"$limit": 5}]}},
    {"$project": {"_id": 0, "a": 1, "x": {"y": 1}, "s": {"$cond": [True, SECRET, "$q"]}}},
    {"$sort": {"a": -1}},
    {"$unionWith": {"coll": "more", "pipeline": [{"$match": {"q": {"$in": [SECRET, "b"]}}}]}},
    {"$unwind": "$a"},
    {"$geoNear": {"near": [1, 2], "distanceField": "far", "query": {"n": SECRET}}},
]  # fmt: skip


def test_the_shape_of_a_pipeline_keeps_names_and_cuts_values() -> None:
    shape = shapes.shape(Query("aggregate", "orders", pipeline=PIPELINE))

    assert shape["pipeline"] == [
        {"$match": {"a": "?", "$expr": {"$eq": ["$b", "?"]}}},
        {"$lookup": {"from": "users", "localField": "u", "foreignField": "_id", "as": "user",
                     "let": {"x": "$a"}, "pipeline": [{"$match": {"e": "?"}}]}},
        {"$set": {"c": {"$concat": ["$a", "?"]}, "d": {"$literal": "?"}}},
        {"$facet": {"one": [{"$match": {"z": "?"}}], "two": [{"$limit": "?"}]}},
        {"$project": {"_id": 0, "a": 1, "x": {"y": 1}, "s": {"$cond": ["?", "$q"]}}},
        {"$sort": {"a": -1}},
        {"$unionWith": {"coll": "more", "pipeline": [{"$match": {"q": {"$in": ["?"]}}}]}},
        {"$unwind": "$a"},
        {"$geoNear": {"near": ["?"], "distanceField": "far", "query": {"n": "?"}}},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": {"$elemMatch": {"b": 1}}}, {"a": {"$elemMatch": {"c": 1}}}),
        ({"a": {"$all": [{"$elemMatch": {"b": 1}}]}}, {"a": {"$all": [{"$elemMatch": {"c": 1}}]}}),
        ({"$expr": {"$eq": ["$a", "$a"]}}, {"$expr": {"$eq": ["$a"]}}),
        ({"$or": [{"a": 1}, {"b": 1}]}, {"$or": [{"a": 1}]}),
        ({"a": {"$not": {"$gt": 1}}}, {"a": {"$not": {"$lt": 1}}}),
    ],
)
def test_queries_that_look_for_other_things_have_other_shapes(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert shapes.text(Query("find", "c", filter=one)) != shapes.text(Query("find", "c", filter=other))


def test_a_document_in_a_list_of_values_is_a_value() -> None:
    (text,) = {
        shapes.text(Query("find", "c", filter={"a": {"$in": values}}))
        for values in ([{"ada": 1}], [{"bob": 1}, {"eve": 2}], ["x", {"y": 1}])
    }
    assert text == '{"filter": {"a": {"$in": ["?"]}}}'


def test_memory_is_of_the_shapes_not_of_the_operations() -> None:
    def many() -> Iterator[Operation]:
        for n in range(50_000):
            yield Operation(
                "c", "find", Query("find", "c", filter={"n": "x" * 50 + str(n)}), "{}", float(n % 1000)
            )

    tracemalloc.start()
    try:
        (row,) = groups.grouped(many())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (row.count, row.p50_ms, row.p95_ms, row.max_ms) == (50_000, 499, 949, 999)
    # Eight bytes a time, and the sorted copy of them.
    assert peak < 5_000_000


VALUES = st.recursive(
    st.just(SECRET) | st.integers() | st.datetimes() | st.just("$" + SECRET),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(["a", "b", "c.d"]),
        VALUES
        | st.dictionaries(st.sampled_from(["$eq", "$gt", "$in", "$elemMatch", "$not"]), VALUES, max_size=2),
    ),
    st.integers(),
)
def test_no_filter_leaves_a_value_in_its_shape(sought: dict[str, Any], other: int) -> None:
    """Whatever is looked for, the shape is the same as with other values, and holds none of them."""
    text = shapes.text(Query("find", "c", filter=sought))

    assert SECRET not in text
    assert json.loads(text) == shapes.shape(Query("find", "c", filter=sought))
    changed = json.loads(json.dumps(sought, default=str).replace(SECRET, str(other)))
    assert shapes.text(Query("find", "c", filter=changed)) == text


@pytest.mark.usefixtures("profiled")
def test_reading_does_not_find_itself(cli: Runner) -> None:
    cli("slow", "-o", "json")
    time.sleep(0.01)
    assert cli("slow", "--source", "profiler", "-o", "json").json() == []
