"""Index builds under way: as a server tells of them, as a user sees them, and what a Ctrl-C leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pymongo
import pytest
from conftest import Server, command, until

from motorctl.core.schema.builds import Build, builds, look, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from conftest import Runner
    from pymongo.database import Database

    from motorctl.client import Database as AsyncDatabase

    SyncDatabase = Database[dict[str, Any]]

BUILDER = "IndexBuildsCoordinatorMongod-0"


def operation(**facts: Any) -> dict[str, Any]:
    """Return what a server says of a build's own thread."""
    given = facts.pop("names", ("a_1",))
    return {
        "desc": BUILDER,
        "opid": 7,
        "ns": "shop.users",
        "microsecs_running": 1_500_000,
        "command": {"createIndexes": "users", "indexes": [{"key": {"a": 1}, "name": name} for name in given]},
        **facts,
    }


SCANNING = {
    "msg": "Index Build: scanning collection Index Build: scanning collection: 20000/40001 49%",
    "progress": {"done": 20000, "total": 40001},
}


def test_a_build_and_the_command_that_waits_for_it_are_one() -> None:
    waiting = operation(opid=6, connectionId=12, desc="conn12")
    for told in ([waiting, operation(**SCANNING)], [operation(**SCANNING), waiting, waiting]):
        assert builds(told, "shop") == [
            Build("users", ("a_1",), "scanning the collection", 20000, 40001, 1.5, 7)
        ]
    # Before its first message a thread of its own still stands for the build.
    assert [build.opid for build in builds([waiting, operation()], "shop")] == [7]
    assert [build.opid for build in builds([waiting], "shop")] == [6]


@pytest.mark.parametrize(
    ("message", "phase"),
    [
        ("Index Build: scanning collection", "scanning the collection"),
        ("Index Build: inserting keys from external sorter into index", "inserting keys"),
        ("Index Build: draining writes received during build", "catching up with writes"),
        ("", "waiting"),
    ],
)
def test_phases_in_words(message: str, phase: str) -> None:
    (build,) = builds([operation(msg=message)], "shop")
    assert (build.phase, build.done, build.total, build.share) == (phase, None, None, None)


def test_builds_are_of_one_database_in_a_stable_order_and_of_each_shard() -> None:
    told = [
        operation(ns="shop2.users"),
        operation(ns="sho.p.users"),
        operation(ns="shop.users", names=("b_1", "a_1"), shard="s2", opid="s2:4", **SCANNING),
        operation(ns="shop.users", names=("a_1", "b_1"), shard="s1", opid="s1:9", **SCANNING),
        operation(ns="shop.events.2026", opid=2),
    ]
    assert [(build.collection, build.names, build.opid) for build in builds(told, "shop")] == [
        ("events.2026", ("a_1",), 2),
        ("users", ("a_1", "b_1"), "s1:9"),
        ("users", ("a_1", "b_1"), "s2:4"),
    ]


@pytest.mark.parametrize(
    ("done", "total", "share"),
    [(1, 4, 0.25), (0, 4, 0.0), (5, 4, 1.0), (0, 0, None), (3, None, None), (None, 4, None)],
)
def test_a_share_is_never_more_than_all(done: int | None, total: int | None, share: float | None) -> None:
    build = Build("c", ("a_1",), "inserting keys", done, total, 61.26, 1)
    assert build.share == share
    assert build.document() == {
        "collection": "c",
        "names": ["a_1"],
        "phase": "inserting keys",
        "done": done,
        "total": total,
        "share": share,
        "seconds": 61.3,
        "opid": 1,
    }


async def test_a_real_build_is_seen_until_it_ends(db: AsyncDatabase, sync_db: SyncDatabase) -> None:
    assert await running(db) == []
    with held(sync_db) as release, building(sync_db, "a_1", "b_1") as asked:
        (build,) = await running(db)
        assert (build.collection, build.names) == ("things", ("a_1", "b_1"))
        assert (build.phase, build.done, build.total) == ("scanning the collection", 300, 301)
        assert build.seconds > 0
        (again,), everybodys = await look(db)
        assert (again.opid, everybodys) == (build.opid, True)
        release()
        asked.result(20)
    assert await running(db) == []


def test_builds_are_listed(cli: Runner, sync_db: SyncDatabase) -> None:
    with held(sync_db), building(sync_db, "a_1", "b_1"):
        listed = cli("indexes", "build")
        assert listed.code == 0
        heading, row = listed.stdout.splitlines()
        assert heading.split() == "collection indexes phase share done running for operation".split()
        assert row.startswith("things      a_1, b_1  scanning the collection    99%  300 of 301  ")
        (document,) = cli("indexes", "build", "things", "-o", "json").json()
        assert {**document, "seconds": 0, "opid": 0} == {
            "collection": "things",
            "names": ["a_1", "b_1"],
            "phase": "scanning the collection",
            "done": 300,
            "total": 301,
            "share": 0.9967,
            "seconds": 0,
            "opid": 0,
        }
        assert cli("indexes", "build", "others", "-o", "json").json() == []
        as_csv = cli("indexes", "build", "-o", "csv").stdout.splitlines()
        assert as_csv[0] == "collection,names,phase,done,total,share,seconds,opid"
        assert as_csv[1].startswith("things,a_1 b_1,scanning the collection,300,301,0.9967,")


def test_nothing_under_way(cli: Runner) -> None:
    said = cli("indexes", "build")
    assert (said.code, said.stdout, said.stderr) == (0, "", "no index is being built\n")
    assert cli("indexes", "build", "-o", "json").json() == []
    watched = cli("indexes", "build", "--watch")
    assert (watched.code, watched.stderr) == (0, "no index is being built\n")
    (looked,) = cli("indexes", "build", "--watch", "-o", "ndjson").stdout.splitlines()
    assert json.loads(looked)["builds"] == []
    refused = cli("indexes", "build", "--watch", "-o", "json")
    assert (refused.code, "ndjson" in refused.error()["hint"]) == (2, True)
    assert cli("indexes", "build", "--watch", "--interval", "0").code == 2


def test_watching_ends_with_the_last_build(cli: Runner, sync_db: SyncDatabase) -> None:
    with held(sync_db) as release, building(sync_db, "a_1"):
        threading.Timer(1.0, release).start()
        watched = cli("indexes", "build", "--watch", "--interval", "0.2", "-o", "ndjson")
    assert (watched.code, watched.stderr) == (0, "all index builds have ended\n")
    looks = [json.loads(line) for line in watched.stdout.splitlines()]
    assert len(looks) > 2
    assert looks[0]["time"].endswith("Z")
    assert looks[0]["builds"][0]["names"] == ["a_1"]
    assert looks[-1]["builds"] == []


def test_watching_at_a_terminal_shows_a_bar(cli: Runner, sync_db: SyncDatabase) -> None:
    with held(sync_db) as release, building(sync_db, "a_1"):
        threading.Timer(0.7, release).start()
        watched = cli("indexes", "build", "--watch", "--interval", "0.2", tty=True, columns=120)
    assert (watched.code, watched.stdout) == (0, "")
    assert "a_1 of things: scanning the collection" in watched.stderr
    assert "300/301" in watched.stderr
    assert watched.stderr.endswith("all index builds have ended\n")


def test_watching_in_a_pipe_is_silent_but_for_v(cli: Runner, sync_db: SyncDatabase) -> None:
    with held(sync_db) as release, building(sync_db, "a_1"):
        threading.Timer(0.5, release).start()
        watched = cli("indexes", "build", "--watch", "--interval", "0.2")
    assert (watched.code, watched.stdout, watched.stderr) == (0, "", "all index builds have ended\n")


def test_ctrl_c_ends_watching_and_not_the_build(sync_db: SyncDatabase, environment: dict[str, str]) -> None:
    with held(sync_db) as release, building(sync_db, "a_1") as asked:
        watcher = start("indexes", "build", "--watch", "--interval", "0.1", "-o", "ndjson", env=environment)
        assert watcher.stdout is not None
        assert b'"a_1"' in watcher.stdout.readline()
        watcher.send_signal(signal.SIGINT)
        watcher.communicate(timeout=20)
        assert watcher.returncode == 130
        assert not asked.done()
        release()
        asked.result(20)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_create_tells_what_is_still_being_built(
    sync_db: SyncDatabase, environment: dict[str, str], number: signal.Signals, code: int
) -> None:
    with held(sync_db) as release:
        fill(sync_db)
        creating = start("indexes", "create", "things", "a", env=environment)
        until(lambda: scanned(sync_db), "the build waits")
        begun = time.monotonic()
        creating.send_signal(number)
        _, stderr = creating.communicate(timeout=20)
        assert creating.returncode == code
        assert time.monotonic() - begun < 5
        assert stderr.decode().splitlines()[0] == (
            "warning: a_1 of things is still being built on the server (scanning the collection, 99%), and "
            "that goes on: `motorctl indexes build --watch` shows it, `motorctl indexes drop things a_1` "
            "stops it"
        )
        assert scanned(sync_db)
        release()
        until(lambda: "a_1" in finished(sync_db), "the server ends what it began")


def test_what_the_hint_says_stops_the_build(
    cli: Runner, sync_db: SyncDatabase, environment: dict[str, str]
) -> None:
    with held(sync_db) as release:
        fill(sync_db)
        creating = start("indexes", "create", "things", "a", env=environment)
        until(lambda: scanned(sync_db), "the build waits")
        creating.kill()
        creating.communicate()
        planned = cli("indexes", "drop", "things", "a_1", "--dry-run", "-o", "json").json()
        assert (planned["action"], planned["before"]["keys"]) == ("drop", {"a": 1})
        assert cli("indexes", "hide", "things", "a_1").code == 5
        # A held build looks up only when it goes on.
        threading.Timer(1.0, release).start()
        assert cli("indexes", "drop", "things", "a_1", "--yes").code == 0
    assert sorted(sync_db["things"].index_information()) == ["_id_"]
    assert not scanned(sync_db)


def test_creating_shows_how_far_the_build_is(cli: Runner, sync_db: SyncDatabase) -> None:
    with held(sync_db) as release:
        fill(sync_db)
        threading.Timer(2.5, release).start()
        created = cli("indexes", "create", "things", "a", tty=True, columns=120)
    assert created.code == 0
    assert "building a_1" in created.stderr
    assert "a_1 of things: scanning the collection" in created.stderr


def test_creating_what_is_being_built_waits_for_it(cli: Runner, sync_db: SyncDatabase) -> None:
    with held(sync_db) as release, building(sync_db, "a_1") as asked:
        assert cli("indexes", "create", "things", "a", "--dry-run", "-o", "json").json()["action"] == "create"
        threading.Timer(1.0, release).start()
        begun = time.monotonic()
        created = cli("indexes", "create", "things", "a", "-o", "json")
        assert time.monotonic() - begun > 0.9
        assert (created.code, created.json()["status"]) == (0, "applied")
        asked.result(20)


def test_a_user_without_the_right_sees_his_own(cli: Runner, tmp_path: Path) -> None:
    server = Server(tmp_path / "server", "--auth", replica_set=False)
    try:
        with pymongo.MongoClient[dict[str, Any]](server.uri) as first:
            first.admin.command("createUser", "root", pwd="secret", roles=["root"])
        with pymongo.MongoClient[dict[str, Any]](server.uri, username="root", password="secret") as root:
            root["shop"].command("createUser", "ada", pwd="secret", roles=["readWrite"])
            db = root["shop"]
            with held(db), building(db, "a_1"):
                uri = f"mongodb://ada:secret@{server.host}/shop?directConnection=true"
                arguments = ("--uri", uri, "--db", "shop", "-o", "json")
                hers = cli("indexes", "build", *arguments)
                assert (hers.code, hers.json()) == (0, [])
                assert "may not see what others run" in hers.stderr
                with (
                    pymongo.MongoClient[dict[str, Any]](uri) as own,
                    building(own["shop"], "b_1", wait=False),
                ):
                    until(lambda: cli("indexes", "build", *arguments).json(), "her own command is seen")
                    (build,) = cli("indexes", "build", *arguments).json()
                    assert (build["names"], build["done"]) == (["b_1"], None)
                    db.client.admin.command({"configureFailPoint": point(db)[0], "mode": "off"})
    finally:
        server.kill()


@pytest.fixture
def environment(server_uri: str, dbname: str) -> dict[str, str]:
    """The environment of a process of its own on the test's database."""
    return {**os.environ, "MOTORCTL_URI": server_uri, "MOTORCTL_DB": dbname}


def start(*arguments: str, env: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)


def fill(db: SyncDatabase) -> None:
    """Put 300 documents before the one at which a held build stops."""
    if not db["things"].count_documents({}):
        db["things"].insert_many([{"_id": n, "a": n, "b": -n} for n in range(300)])
        db["things"].insert_one({"_id": db.name, "i": HELD})


HELD = 987_654_321
"""The value of a document's field by which MongoDB 4.4 knows where to stop."""


def point(db: SyncDatabase) -> tuple[str, dict[str, Any]]:
    """Return the fail point that holds a build before the last document of this database's `things`."""
    if db.client.server_info()["versionArray"][0] < 5:
        return "hangBeforeIndexBuildOf", {"i": HELD}
    name = "hangIndexBuildDuringCollectionScanPhaseBeforeInsertion"
    return name, {"fieldsToMatch": {"_id": db.name}}


@contextmanager
def held(db: SyncDatabase) -> Iterator[Any]:
    """Let builds stop before the last document; yields a function that lets them go on."""
    name, data = point(db)

    def release() -> None:
        db.client.admin.command({"configureFailPoint": name, "mode": "off"})

    db.client.admin.command({"configureFailPoint": name, "mode": "alwaysOn", "data": data})
    try:
        yield release
    finally:
        release()


@contextmanager
def building(db: SyncDatabase, *names: str, wait: bool = True) -> Iterator[Future[Any]]:
    """Build indexes in a thread, and wait until the build is held."""
    if wait:
        fill(db)
    indexes = [{"key": {name.partition("_")[0]: 1}, "name": name} for name in names]
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(db.command, {"createIndexes": "things", "indexes": indexes})
        try:
            if wait:
                until(lambda: scanned(db), "the build waits")
            yield asked
        finally:
            db.client.admin.command({"configureFailPoint": point(db)[0], "mode": "off"})


def scanned(db: SyncDatabase) -> bool:
    """Tell whether a build stands at its last document."""
    stages: list[dict[str, Any]] = [
        {"$currentOp": {"allUsers": True, "idleConnections": True}},
        {"$match": {"progress.done": 300}},
    ]
    return any(one["ns"] == f"{db.name}.things" for one in db.client.admin.aggregate(stages))


def finished(db: SyncDatabase) -> list[str]:
    reply = db.command({"listIndexes": "things", "includeBuildUUIDs": True})
    return [one["name"] for one in reply["cursor"]["firstBatch"] if "buildUUID" not in one]
