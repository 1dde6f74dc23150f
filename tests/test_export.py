"""`motorctl export`: what it writes, and that `import` reads it back."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import math
import os
import random
import resource
import shlex
import subprocess
import sys
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Any

import bson
import pytest
from bson import Binary, Decimal128, Int64, ObjectId, Regex, Timestamp
from bson.raw_bson import DEFAULT_RAW_BSON_OPTIONS, RawBSONDocument
from conftest import Server, command
from motor.motor_asyncio import AsyncIOMotorClient

from motorctl import progress
from motorctl.core import driver
from motorctl.core import export as core
from motorctl.core.workers import Workers
from motorctl.errors import MotorctlError, UnreachableError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Runner
    from pymongo.database import Database as SyncDatabase

    from motorctl.client import Collection, Database

EVERYTHING: dict[str, Any] = {
    "_id": 1,
    "double": 1.0,
    "nan": math.nan,
    "int": 1,
    "long": Int64(1),
    "decimal": Decimal128("1.10"),
    "list": [1, {"x": Int64(2)}],
    "binary": Binary(b"\1", 5),
    "regex": Regex("a", "im"),
    "time": Timestamp(1, 2),
    "none": None,
    "text": "a\u202eb\x1b[31m",
}


@contextmanager
def failing(db: SyncDatabase[Any], command: str, **failure: Any) -> Iterator[None]:
    """Let a command fail for the client that calls itself lost-export."""
    data = {"failCommands": [command], "appName": "lost-export", **failure}
    db.client.admin.command("configureFailPoint", "failCommand", mode="alwaysOn", data=data)
    try:
        yield
    finally:
        db.client.admin.command("configureFailPoint", "failCommand", mode="off")


def raws(db: SyncDatabase[Any], name: str) -> list[bytes]:
    raw: Any = db.get_collection(name, codec_options=DEFAULT_RAW_BSON_OPTIONS)
    return [bytes(document.raw) for document in raw.find(sort=[("_id", 1)])]


@pytest.mark.parametrize("name", ["out.ndjson", "out.json"])
def test_canonical_comes_back_byte_for_byte(
    cli: Runner, sync_db: SyncDatabase[Any], tmp_path: Path, name: str
) -> None:
    sync_db.a.insert_many([EVERYTHING, *({"_id": i, "n": i} for i in range(2, 2500))])
    out = tmp_path / name
    done = cli("export", "a", "--out", str(out), "--canonical", "-o", "json")
    assert done.code == 0, done.stderr
    assert done.json()["exported"] == 2499
    assert done.json()["bytes"] == out.stat().st_size
    assert cli("import", str(out), "--into", "b").code == 0
    assert raws(sync_db, "b") == raws(sync_db, "a")
    if name.endswith(".json"):
        assert len(json.loads(out.read_text())) == 2499


def test_the_default_is_relaxed_ndjson_on_stdout(cli: Runner, sync_db: SyncDatabase[Any]) -> None:
    sync_db.a.insert_one(EVERYTHING)
    done = cli("export", "a")
    assert done.code == 0
    (line,) = done.stdout.splitlines()
    document = json.loads(line)
    assert document["double"] == 1.0
    assert document["nan"] == {"$numberDouble": "NaN"}
    assert document["long"] == 1
    assert document["decimal"] == {"$numberDecimal": "1.10"}


def test_filter_fields_sort_limit_and_skip(cli: Runner, sync_db: SyncDatabase[Any]) -> None:
    sync_db.a.insert_many([{"_id": i, "n": i % 3, "x": "y"} for i in range(9)])
    done = cli(
        "export", "a", "--filter", '{"n": {"$gt": 0}}', "--sort", "-n,_id", "--skip", "1", "--limit", "3"
    )
    assert [json.loads(line)["_id"] for line in done.stdout.splitlines()] == [5, 8, 1]
    done = cli("export", "a", "--fields", "n", "--limit", "1", "--sort", "_id")
    assert done.stdout == '{"n":0}\n'
    done = cli("export", "a", "--projection", '{"x": 0}', "--limit", "1", "--sort", "_id")
    assert done.stdout == '{"_id":0,"n":0}\n'


def test_an_empty_collection_is_an_empty_list(cli: Runner) -> None:
    assert cli("export", "none").stdout == ""
    assert json.loads(cli("export", "none", "--format", "json").stdout) == []
    assert cli("export", "none", "--format", "csv", "--fields", "a,b").stdout == "a,b\n"


def test_csv_has_dotted_columns_and_comes_back(cli: Runner, sync_db: SyncDatabase[Any]) -> None:
    documents: list[dict[str, Any]] = [
        {
            "_id": "a",
            "t": 'x,"y"\r\nz',
            "a": {"b": 1, "c": {"d": "\r"}},
            "l": [1, ObjectId("5f2b18467ba3bd2ed0e55c01")],
        },
        {"_id": "b", "t": "", "a": {"b": 2.5, "c": {"d": "e"}}, "l": []},
    ]
    sync_db.a.insert_many(documents)
    done = cli("export", "a", "--format", "csv", "--sort", "_id")
    assert next(csv.reader(io.StringIO(done.stdout))) == ["_id", "t", "a.b", "a.c.d", "l"]
    back = cli("import", "-", "--into", "b", "--types", "l:json", stdin=done.stdout)
    assert back.code == 0, back.stderr
    assert list(sync_db.b.find(sort=[("_id", 1)])) == documents


def test_csv_says_when_a_field_has_no_column(cli: Runner, sync_db: SyncDatabase[Any]) -> None:
    sync_db.a.insert_many([{"_id": i, "a": 1} for i in range(core.SAMPLE)])
    sync_db.a.insert_one({"_id": core.SAMPLE, "late": 1})
    done = cli("export", "a", "--format", "csv")
    assert done.stdout.startswith("_id,a\n")
    assert "1 documents have fields that no column shows" in done.stderr
    assert "warning" not in cli("export", "a", "--format", "csv", "--fields", "a").stderr


def test_a_file_is_whole_or_not_there(cli: Runner, sync_db: SyncDatabase[Any], tmp_path: Path) -> None:
    sync_db.a.insert_one({"_id": 1})
    out = tmp_path / "out.ndjson"
    out.write_text("old")
    failed = cli("export", "a", "--filter", '{"$nope": 1}', "--out", str(out))
    assert failed.code != 0
    assert out.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["out.ndjson"]
    assert cli("export", "a", "--out", str(out)).code == 0
    assert out.read_text() == '{"_id":1}\n'
    assert cli("export", "a", "--out", str(tmp_path)).code == 2
    assert cli("export", "a", "--out", str(tmp_path / "no" / "where")).code == 2
    assert cli("export", "a", "--out", "/dev/full").code == 1
    assert cli("export", "a", "--canonical", "--format", "csv").code == 2


def test_dates_that_no_calendar_holds_come_back(cli: Runner, sync_db: SyncDatabase[Any]) -> None:
    far = [bson.DatetimeMS(253402300800000), bson.DatetimeMS(-62135596800001), bson.DatetimeMS(2**62)]
    sync_db.a.insert_many([{"_id": i, "d": d} for i, d in enumerate(far)])
    for extra in ((), ("--canonical",), ("--format", "json")):
        done = cli("export", "a", *extra)
        assert done.code == 0, done.stderr
        assert cli("import", "-", "--into", "b", "--drop", "--yes", stdin=done.stdout).code == 0
        assert raws(sync_db, "b") == raws(sync_db, "a")
    table = cli("export", "a", "--format", "csv", "--sort", "_id")
    assert '"{""$date"":{""$numberLong"":""253402300800000""}}"' in table.stdout


@pytest.mark.parametrize(
    "failure",
    [{"closeConnection": True}, *({"errorCode": code} for code in (6, 7, 43, 89, 91, 9001, 11600))],
    ids=str,
)
def test_a_server_that_is_lost_on_the_way_leaves_no_file(
    cli: Runner, sync_db: SyncDatabase[Any], server_uri: str, tmp_path: Path, failure: dict[str, Any]
) -> None:
    sync_db.a.insert_many([{"_id": i} for i in range(core.BATCH * 2)])
    with failing(sync_db, "getMore", **failure):
        out = tmp_path / "out.ndjson"
        done = cli("export", "a", "--out", str(out), "--uri", f"{server_uri}&appName=lost-export")
    assert done.code == 3, done.stderr
    assert "the export is not whole" in done.stderr
    assert done.stdout == ""
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == []


async def test_a_server_that_is_killed_on_the_way_leaves_no_file(tmp_path: Path) -> None:
    server = Server(tmp_path / "server", replica_set=False)
    out = tmp_path / "out" / "out.ndjson"
    out.parent.mkdir()
    job = core.Export(query=core.Query(batch_size=10))

    async def export(collection: Collection) -> None:
        with core.open_whole(out) as file:
            async with aclosing(core.blocks(collection, job)) as blocks:
                async for block in blocks:
                    file.write(block)
                    server.kill()

    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(server.uri, serverSelectionTimeoutMS=2000)
    try:
        await client.db.a.insert_many([{"_id": i} for i in range(1000)])
        with pytest.raises(UnreachableError, match="lost on the way: the export is not whole"):
            await export(client.db.a)
    finally:
        await driver.close(client)
        server.kill()
    assert 0 < job.documents < 1000
    assert list(out.parent.iterdir()) == []


def test_a_closed_pipe_ends_it_quietly(server_uri: str, dbname: str, sync_db: SyncDatabase[Any]) -> None:
    sync_db.a.insert_many([{"_id": i, "text": "x" * 500} for i in range(12_000)])
    with subprocess.Popen(
        command("export", "a", "--sort", "_id"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "MOTORCTL_URI": server_uri, "MOTORCTL_DB": dbname},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["_id"] == 0
        process.stdout.close()
        assert process.stderr.read() == b""
        process.wait(30)


@pytest.mark.parametrize("name", ["out.ndjson", "out.ndjson.bz2"])
def test_a_full_disk_leaves_no_file(
    server_uri: str, dbname: str, sync_db: SyncDatabase[Any], tmp_path: Path, name: str
) -> None:
    """A limit on the size of files stands for the disk's end."""
    sync_db.a.insert_many([{"_id": ObjectId(), "x": random.randbytes(100)} for _ in range(core.BATCH * 2)])
    out = tmp_path / "full" / name
    out.parent.mkdir()
    done = subprocess.run(
        command("export", "a", "--out", str(out)),
        capture_output=True,
        env={**os.environ, "MOTORCTL_URI": server_uri, "MOTORCTL_DB": dbname},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000)),
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.decode().splitlines() == [f"error: can't write {out}: File too large"]
    assert list(out.parent.iterdir()) == []


def test_text_from_the_database_does_not_drive_the_terminal(cli: Runner, sync_db: SyncDatabase[Any]) -> None:
    sync_db.a.insert_one(EVERYTHING)
    for chosen in ("ndjson", "csv"):
        shown = cli("export", "a", "--format", chosen, tty=True).stdout
        assert "\x1b[31m" not in shown
        assert "\u202e" not in shown
    assert json.loads(cli("export", "a", tty=True).stdout)["text"] == EVERYTHING["text"]


def test_out_dash_is_stdout_and_o_chooses_its_format(cli: Runner, sync_db: SyncDatabase[Any]) -> None:
    sync_db.things.insert_one({"_id": 1, "a": "x"})

    assert cli("export", "things", "--out", "-").stdout == '{"_id":1,"a":"x"}\n'
    assert cli("export", "things", "-o", "csv").stdout == "_id,a\n1,x\n"
    assert cli("export", "things", "-o", "json").json() == [{"_id": 1, "a": "x"}]


def test_a_collection_that_is_not_there_is_said(
    cli: Runner, sync_db: SyncDatabase[Any], tmp_path: Path
) -> None:
    absent = f"no collection 'nosuch' in the database '{sync_db.name}'"
    result = cli("export", "nosuch")
    assert (result.code, result.stdout, result.stderr) == (0, "", f"warning: {absent}\n")
    out = tmp_path / "out.ndjson"
    for options in (("--out", str(out)), ("--assert-exists",)):
        asserted = cli("export", "nosuch", *options)
        assert (asserted.code, asserted.stdout, asserted.stderr) == (
            5,
            "",
            f"error: {absent}\nhint: `motorctl indexes list` shows the collections\n",
        )
    assert not out.exists()
    out.write_text("a good backup")
    assert cli("export", "nosuch", "--out", str(out)).code == 5
    assert out.read_text() == "a good backup"
    sync_db.create_collection("empty")
    assert cli("export", "empty", "--assert-exists").stderr == "empty: no documents\n"


# -- compressed files -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["out.ndjson.gz", "out.json.bz2", "out.csv.zst"])
@pytest.mark.parametrize("documents", [0, 3, 5000])
def test_a_file_is_compressed_by_its_ending(
    cli: Runner, sync_db: SyncDatabase[Any], tmp_path: Path, name: str, documents: int
) -> None:
    sync_db.create_collection("a")
    if documents:
        sync_db.a.insert_many([{"_id": i, "text": "x" * 500} for i in range(documents)])
    out = tmp_path / name
    done = cli("export", "a", "--out", str(out), "-o", "json", "--fields", "_id,text", "--workers", "2")
    assert done.code == 0, done.stderr
    assert done.json()["bytes"] == out.stat().st_size
    kind = name.split(".")[1]
    plain = cli("export", "a", "--format", kind, "--fields", "_id,text").stdout
    assert decompressed(out).decode() == plain
    if documents > 3:
        assert len(plain) > core.START_BYTES
        assert out.stat().st_size < len(plain) / 20


def decompressed(path: Path) -> bytes:
    match path.suffix:
        case ".gz":
            return gzip.decompress(path.read_bytes())
        case ".bz2":
            return bz2.decompress(path.read_bytes())
        case _:
            with zstd.open(path) as file:
                return bytes(file.read())


def test_a_compression_that_is_not_written_is_refused(cli: Runner, tmp_path: Path) -> None:
    refused = cli("export", "things", "--out", str(tmp_path / "x.csv.xz"))
    assert refused.code == 2
    assert "it writes .gz, .zst, .bz2" in refused.stderr
    assert list(tmp_path.glob("*.xz")) == []


# -- worker processes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ndjson", "json", "csv"])
def test_workers_change_nothing_but_the_time(cli: Runner, sync_db: SyncDatabase[Any], kind: str) -> None:
    documents = [{"_id": i, "n": {"m": i % 7}, "text": "\u00e9" * (i % 300)} for i in range(12_000)]
    sync_db.a.insert_many([*documents, {"_id": len(documents), "late": True}])
    options = ("--format", kind, "--sort", "_id", "--batch-size", "700")
    alone = cli("export", "a", *options, "--workers", "0")
    helped = cli("export", "a", *options, "--workers", "3")
    assert len(alone.stdout.encode()) > 2 * core.START_BYTES / 1.5
    assert helped == alone
    assert ("1 documents have fields that no column shows" in helped.stderr) is (kind == "csv")
    match kind:
        case "csv":
            numbers = [int(row["_id"]) for row in csv.DictReader(io.StringIO(alone.stdout))]
        case "json":
            numbers = [document["_id"] for document in json.loads(alone.stdout)]
        case _:
            numbers = [json.loads(line)["_id"] for line in alone.stdout.splitlines()]
    assert numbers == list(range(12_001))


async def test_a_small_export_starts_no_workers(
    db: Database, sync_db: SyncDatabase[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []
    monkeypatch.setattr("motorctl.core.workers.Workers.start", lambda workers: started.append(workers.count))
    sync_db.a.insert_many([{"_id": i, "text": "x" * 100} for i in range(10_000)])
    job = core.Export(workers=2)
    texts = [block async for block in core.blocks(db.a, job)]
    assert started == []
    assert (job.documents, job.bytes) == (10_000, sum(map(len, texts)))


async def test_a_worker_that_dies_ends_the_export(
    db: Database, sync_db: SyncDatabase[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    start = Workers.start

    def start_and_kill(workers: Workers) -> None:
        start(workers)
        for process in workers._processes:
            process.kill()

    monkeypatch.setattr(Workers, "start", start_and_kill)
    sync_db.a.insert_many([{"_id": i, "text": "x" * 500} for i in range(9000)])
    job = core.Export(query=core.Query(batch_size=1000), workers=2)
    async with aclosing(core.blocks(db.a, job)) as blocks:
        with pytest.raises(MotorctlError, match="worker process"):
            async for _ in blocks:
                pass
    assert 0 < job.documents < 9000


# -- what the server is asked -----------------------------------------------------------------------------


def test_the_server_is_asked_as_one_says(cli: Runner, sync_db: SyncDatabase[Any], dbname: str) -> None:
    sync_db.a.insert_many([{"_id": i, "n": -i} for i in range(9)])
    sync_db.a.create_index([("n", 1)])
    sync_db.command("profile", 2)
    try:
        for hint in ("n_1", '{"n": 1}'):
            done = cli(
                "export", "a", "--hint", hint, "--batch-size", "4", "--read-preference", "secondaryPreferred"
            )
            assert [json.loads(line)["n"] for line in done.stdout.splitlines()] == list(range(-8, 1))
    finally:
        sync_db.command("profile", 0)
    asked = [
        entry["command"] for entry in sync_db["system.profile"].find({"op": "query", "ns": f"{dbname}.a"})
    ]
    assert [command["hint"] for command in asked] == ["n_1", {"n": 1}]
    assert {command["batchSize"] for command in asked} == {4}
    assert {command["$readPreference"]["mode"] for command in asked} == {"secondaryPreferred"}
    assert sync_db["system.profile"].count_documents({"op": "getmore", "ns": f"{dbname}.a"}) == 4
    for hint, spelled in (("nosuch_1", "nosuch_1"), ('{"q": 1}', '{"q": 1}')):
        done = cli("export", "a", "--hint", hint)
        assert done.code == 2
        assert done.stderr.splitlines() == [
            f"error: --hint: no index of a is {spelled}",
            "hint: `motorctl indexes list a` shows those that there are",
        ]
    assert cli("export", "a", "--hint", "{").code == 2
    assert "--hint: not a JSON object" in cli("export", "a", "--hint", "[1]").stderr


async def test_a_snapshot_shows_one_point_in_time(db: Database, sync_db: SyncDatabase[Any]) -> None:
    sync_db.a.insert_many([{"_id": i} for i in range(100)])
    for snapshot, late in ((True, 1000), (False, 2000)):
        job = core.Export(query=core.Query(batch_size=10, snapshot=snapshot))
        async with aclosing(core.blocks(db.a, job)) as blocks:
            text = await anext(blocks)
            sync_db.a.insert_many([{"_id": late + i} for i in range(100)])
            text += b"".join([block async for block in blocks])
        assert len(text.splitlines()) == job.documents == (100 if snapshot else 300)


def test_a_snapshot_where_there_is_none_is_said(
    cli: Runner, sync_db: SyncDatabase[Any], server_uri: str
) -> None:
    sync_db.a.insert_one({"_id": 1})
    for code, said in ((123, "needs MongoDB 5.0 and a replica set"), (239, "minSnapshotHistoryWindow")):
        with failing(sync_db, "find", errorCode=code):
            done = cli("export", "a", "--snapshot", "--uri", f"{server_uri}&appName=lost-export")
        assert done.code == 1
        assert said in done.stderr


def test_a_collection_that_changes_meanwhile_is_said(
    cli: Runner, sync_db: SyncDatabase[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sync_db.a.insert_many([{"_id": i} for i in range(10)])
    assert cli("export", "a").stderr == ""
    counts = iter([10, 12, 11, 11])

    async def count(_: object) -> int:
        return next(counts)

    monkeypatch.setattr(core, "count", count)
    changed = "10 documents before, 12 after, 10 exported"
    assert changed in cli("export", "a").stderr
    assert "10 documents were exported, and the server counts 11 in a" in cli("export", "a").stderr
    assert cli("export", "a", "--limit", "2").stderr == ""


# -- progress ---------------------------------------------------------------------------------------------


def test_progress_is_drawn_beside_a_file_and_never_over_documents(
    cli: Runner, sync_db: SyncDatabase[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync_db.a.insert_many([{"_id": i} for i in range(10)])
    monkeypatch.setattr(progress, "DRAWN_AFTER", 0)
    drawn = cli("export", "a", "--out", str(tmp_path / "x.ndjson"), tty=True)
    assert "exporting a" in drawn.stderr
    assert cli("export", "a", tty=True).stderr == ""


def test_no_header(cli: Runner, sync_db: SyncDatabase[Any]) -> None:
    sync_db.a.insert_one({"_id": 1, "a": "x"})
    sync_db.a.update_one({}, {"$set": {"zip": "01936"}})
    done = cli("export", "a", "--format", "csv", "--no-header")
    assert (done.stdout, done.stderr) == (
        "1,x,01936\n",
        "import it with --fields _id,a,zip --types zip:string\n",
    )
    words = done.stderr.split()[3:]
    back = cli("import", "-", "--into", "b", "--format", "csv", "--no-header", *words, stdin=done.stdout)
    assert back.code == 0, back.stderr
    assert raws(sync_db, "b") == raws(sync_db, "a")
    assert cli("export", "a", "--no-header").code == 2


def test_csv_says_which_types_import_needs(cli: Runner, sync_db: SyncDatabase[Any]) -> None:
    sync_db.a.insert_one({"_id": ObjectId(), "n": 5, "zip": "01936", "l": [1], "at": Decimal128("1.10")})
    said = cli("export", "a", "--format", "csv").stderr
    assert said == "import it with --types _id:objectid,zip:string,l:json,at:decimal\n"


def test_a_field_whose_own_name_holds_a_dot_is_said(cli: Runner, sync_db: SyncDatabase[Any]) -> None:
    sync_db.a.insert_one({"_id": 0, "a.b": 5})
    alone = cli("export", "a", "--format", "csv")
    assert alone.stdout == "_id,a.b\n0,5\n"
    assert "a path and a name that holds a dot, in a.b\n" in alone.stderr
    assert "warning" not in alone.stderr
    sync_db.a.insert_one({"_id": 1, "a.b": 5, "a": {"b": 4}})
    both = cli("export", "a", "--format", "csv", "--sort", "_id")
    assert both.stdout == "_id,a.b\n0,5\n1,4\n"
    assert "1 documents have fields that no column shows" in both.stderr


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ("a,a", "'a' is there twice"),
        ("b,b.c", "'b' holds 'b.c' already"),
        ("b.c.d,a,b", "'b' holds 'b.c.d' already"),
    ],
)
def test_fields_that_ask_for_a_value_twice_are_refused(cli: Runner, fields: str, said: str) -> None:
    refused = cli("export", "a", "--fields", fields, "--uri", "mongodb://127.0.0.1:1")
    assert refused.code == 2
    assert said in refused.stderr


@pytest.mark.parametrize("name", ["a.tsv", "a.xlsx", "a.bson", "a.parquet", "a.TSV.gz"])
def test_an_ending_of_another_format_is_refused(
    cli: Runner, sync_db: SyncDatabase[Any], tmp_path: Path, name: str
) -> None:
    sync_db.a.insert_one({"_id": 1})
    out = tmp_path / name
    refused = cli("export", "a", "--out", str(out))
    assert refused.code == 2
    assert "export doesn't write" in refused.stderr
    assert not out.exists()
    assert cli("export", "a", "--out", str(out), "--format", "ndjson").code == 0
    assert out.exists()


@pytest.mark.parametrize("name", ["a", "a.txt", "a.dump", "a.2026", "a.jsonl", "n" * 247])
def test_any_other_name_is_a_file_of_ndjson(
    cli: Runner, sync_db: SyncDatabase[Any], tmp_path: Path, name: str
) -> None:
    sync_db.a.insert_one({"_id": 1})
    out = tmp_path / "out" / name
    out.parent.mkdir()
    assert cli("export", "a", "--out", str(out)).code == 0
    assert out.read_text() == '{"_id":1}\n'
    assert list(out.parent.iterdir()) == [out]


def test_names_that_no_file_can_have_are_refused(cli: Runner, tmp_path: Path) -> None:
    empty = cli("export", "a", "--out", "")
    assert (empty.code, empty.stderr.splitlines()[0]) == (2, "error: --out: the name of the file is empty")
    long = tmp_path / ("n" * 300)
    assert cli("export", "a", "--out", str(long)).code == 2
    refused = cli("import", "-", "--into", "a", "--rejects", str(long), stdin=b"{}")
    assert (refused.code, refused.stderr) == (
        2,
        f"error: can't write the rejects file {long}: File name too long\n",
    )


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_what_it_leads_to_is_written(
    cli: Runner, sync_db: SyncDatabase[Any], tmp_path: Path, there: bool
) -> None:
    sync_db.a.insert_one({"_id": 1})
    (tmp_path / "far").mkdir()
    target, link = tmp_path / "far" / "target.ndjson", tmp_path / "link.ndjson"
    link.symlink_to(target)
    if there:
        target.write_text("old")
        target.chmod(0o600)
    assert cli("export", "a", "--out", str(link)).code == 0
    assert link.is_symlink()
    assert target.read_text() == '{"_id":1}\n'
    if there:
        assert target.stat().st_mode & 0o777 == 0o600


def test_a_first_batch_that_fails_once_is_asked_for_again(
    cli: Runner, sync_db: SyncDatabase[Any], server_uri: str
) -> None:
    sync_db.a.insert_one({"_id": 1})
    data = {"failCommands": ["find"], "appName": "lost-export", "errorCode": 6}
    # The driver itself asks twice.
    sync_db.client.admin.command("configureFailPoint", "failCommand", mode={"times": 2}, data=data)
    try:
        done = cli("export", "a", "--uri", f"{server_uri}&appName=lost-export")
    finally:
        sync_db.client.admin.command("configureFailPoint", "failCommand", mode="off")
    assert done.code == 0, done.stderr
    assert done.stdout == '{"_id":1}\n'
    assert "trying again" in done.stderr


@pytest.mark.parametrize("kind", ["ndjson", "csv"])
@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_document_that_cannot_be_read_is_named(
    cli: Runner, sync_db: SyncDatabase[Any], kind: str, workers: str
) -> None:
    sync_db.a.insert_many([{"_id": i, "t": "x" * 1000} for i in range(6000)])
    broken = bson.encode({"_id": "it's", "t": "PLACE"}).replace(b"PLACE", b"\xff\xfe\xff\xfe\xff")
    raw: Any = sync_db.get_collection("a", codec_options=DEFAULT_RAW_BSON_OPTIONS)
    raw.insert_one(RawBSONDocument(broken))
    options = ("--format", kind, "--sort", "t", "--workers", workers)
    done = cli("export", "a", *options)
    assert done.code == 6
    error, hint = done.stderr.splitlines()[-2:]
    assert error.startswith("error: the document with the _id \"it's\" can't be read: ")
    words = shlex.split(hint.removeprefix("hint: ").removesuffix(" leaves it out"))
    assert json.loads(words[1]) == {"_id": {"$ne": "it's"}}
    assert cli("export", "a", *options, *words).code == 0


async def test_large_documents_go_to_the_workers_one_at_a_time(
    db: Database, sync_db: SyncDatabase[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    under_way: list[int] = []
    most: list[int] = []
    call = Workers.call

    async def counted(workers: Workers, function: str, *arguments: Any) -> Any:
        under_way.append(len(arguments[0]))
        most.append(sum(under_way))
        try:
            return await call(workers, function, *arguments)
        finally:
            under_way.remove(len(arguments[0]))

    monkeypatch.setattr(Workers, "call", counted)
    for key in range(5):
        sync_db.a.insert_one({"_id": key, "text": "x" * 10_000_000})
    job = core.Export(workers=2)
    async for _ in core.blocks(db.a, job):
        pass
    assert job.documents == 5
    assert len(most) == 4
    assert max(most) < 11_000_000


# ---- the documents of a list


def test_a_list_of_ids_of_each_type(cli: Runner, sync_db: SyncDatabase[dict[str, Any]]) -> None:
    ids: list[Any] = [
        *(
            5,
            Int64(2**40),
            1.5,
            "x",
            ObjectId(),
            bson.DatetimeMS(10**15),
            Decimal128("2.50"),
            None,
            True,
            b"\0",
        ),
        *({"b": 1, "a": Int64(2)}, {"_id": 7, "id": 8}, Binary(b"\1" * 16, 4), Timestamp(1, 2)),
        *(math.nan, bson.MinKey(), "é\u2028", bson.DBRef("c", 1)),
    ]
    sync_db["c"].insert_many([{"_id": one, "n": n} for n, one in enumerate(ids)])
    sync_db["c"].insert_one({"_id": "not asked for"})
    whole = cli("export", "c", "--filter", '{"n": {"$exists": true}}', "--canonical").stdout
    for key in ("_id", "id"):
        for canonical in (False, True):
            lines = [core_json({key: one}, canonical) for one in ids]
            done = cli("export", "c", "--ids", "-", "--canonical", stdin="".join(lines))
            assert (done.code, done.stderr) == (0, "")
            assert sorted(done.stdout.splitlines()) == sorted(whole.splitlines())
    # What an export wrote is a list too; a value alone is an _id.
    assert cli("export", "c", "--ids", "-", "--canonical", stdin=whole).stdout.count("\n") == len(ids)
    alone = cli(
        "export", "c", "--ids", "-", "--fields", "n", "--format", "csv", stdin='5\n\n"x"\n{"$date": 1e15}\n'
    )
    assert alone.code == 2
    alone = cli("export", "c", "--ids", "-", "--fields", "n", "--format", "csv", stdin='5\n\n"x"\n1.5\n5\n')
    assert sorted(alone.stdout.split()) == ["0", "2", "3", "n"]


def core_json(document: dict[str, Any], canonical: bool) -> str:
    from motorctl.core import extjson

    return extjson.dumps(document, canonical=canonical).decode() + "\n"


def test_ids_that_are_missing_are_counted(
    cli: Runner, sync_db: SyncDatabase[dict[str, Any]], tmp_path: Path
) -> None:
    sync_db["c"].insert_many([{"_id": n, "even": n % 2 == 0} for n in range(2500)])
    file, out = tmp_path / "ids.ndjson", tmp_path / "out.ndjson"
    file.write_text("".join(f"{n}\n" for n in range(2400, 5000)) + "2400\n")
    done = cli("export", "c", "--ids", str(file), "--out", str(out), "-o", "json")
    assert (done.code, done.json()["exported"], done.json()["missing"]) == (0, 101, 2500)
    assert "for 2,500 of the 2,601 ids there is no document" in done.stderr
    some = cli("export", "c", "--ids", str(file), "--filter", '{"even": true}')
    assert some.stdout.count("\n") == 51
    assert "no document that fits the filter" in some.stderr
    file.write_text("")
    assert (cli("export", "c", "--ids", str(file)).stdout, cli("export", "c", "--ids", str(file)).code) == (
        "",
        0,
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{x", "line 2 holds no _id"),
        ('{"a": 1}', "neither _id nor id"),
        ('{"_id": {"$oid": "5"}}', "line 2 holds no _id"),
        ('{"_id": {"$gt": 0}}', "line 2 holds no _id: $gt is an operator, no value"),
        ("64b1f0c2a1", "line 2 holds no _id"),
    ],
)
def test_a_line_that_is_no_id_is_named(
    cli: Runner, sync_db: SyncDatabase[dict[str, Any]], tmp_path: Path, line: str, said: str
) -> None:
    sync_db["c"].insert_one({"_id": 1})
    out = tmp_path / "out.ndjson"
    done = cli("export", "c", "--ids", "-", "--out", str(out), "-o", "json", stdin=f"1\n{line}\n")
    assert (done.code, done.error()["line"], out.exists()) == (2, 2, False)
    assert said in done.error()["message"]


@pytest.mark.parametrize(
    "others",
    [
        ["--sort", "a"],
        ["--limit", "1"],
        ["--skip", "1"],
        ["--hint", "_id_"],
        ["--snapshot"],
        ["--filter", "-"],
    ],
)
def test_a_list_has_its_own_order(cli: Runner, others: list[str]) -> None:
    assert cli("export", "c", "--ids", "-", *others, stdin="{}").code == 2
    assert cli("export", "c", "--ids", "nofile").code == 2
