"""`motorctl import`: arguments in; documents, summary, rejects and exit code out."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import os
import signal
import subprocess
import time
from contextlib import closing
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import bson
import pymongo
import pytest
from bson import ObjectId
from conftest import command, until
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import WriteConcern
from pymongo.errors import AutoReconnect

from motorctl import retry
from motorctl.core import driver
from motorctl.core.ingest import engine
from motorctl.core.ingest.account import Account, DefectError, ErrorLimit
from motorctl.core.ingest.decoding.decode import decode
from motorctl.core.ingest.engine import Options
from motorctl.core.ingest.model import Chunk, Outcome, Plan
from motorctl.core.ingest.reading.reader import Reader
from motorctl.core.ingest.reading.source import Source
from motorctl.core.ingest.writing.write import NO_ANSWER, Writer
from motorctl.diagnostics import Diagnostics
from motorctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from conftest import Runner
    from pymongo.database import Database as SyncDatabase

    from motorctl.client import Database

FIELDS = [
    "read",
    "inserted",
    "updated",
    "unchanged",
    "rejected",
    "bytes",
    "seconds",
    "documents_per_second",
    "rejects_file",
    "resumed_from",
    "files",
]


def counts(summary: dict[str, Any]) -> list[int]:
    """[read, inserted, updated, unchanged, rejected], after the invariant has been checked."""
    found = [summary[name] for name in FIELDS[:5]]
    assert found[0] == sum(found[1:])
    return found


def write(path: Path, *lines: Any) -> str:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return str(path)


def test_ndjson_is_inserted_and_summed_up(cli: Runner, sync_db: SyncDatabase[Any], tmp_path: Path) -> None:
    oid = "5f2b18467ba3bd2ed0e55c01"
    file = write(tmp_path / "a.ndjson", {"user_id": {"$oid": oid}, "n": 1}, {"_id": "x", "n": 2.0})
    done = cli("import", file, "--into", "orders", "-o", "json")
    assert done.code == 0, done.stderr
    summary = done.json()
    assert list(summary) == FIELDS
    assert counts(summary) == [2, 2, 0, 0, 0]
    assert summary["bytes"] == (tmp_path / "a.ndjson").stat().st_size
    assert summary["rejects_file"] is None
    assert [f["file"] for f in summary["files"]] == [file]
    first, second = sync_db.orders.find(sort=[("n", 1)])
    assert first["user_id"] == ObjectId(oid)
    assert isinstance(first["_id"], ObjectId)
    assert second == {"_id": "x", "n": 2.0}


@pytest.mark.parametrize(
    "text",
    [
        '[{"n":1},\n{"n":2}]',
        '{\n "n": 1\n}\n{\n "n": 2\n}',
        '{"n":1}\n{"n":2}',
        "n,s\n1,\n2,\n",
        "n\ts\n1\t\n2\t\n",
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_each_format_comes_from_stdin_too(
    cli: Runner, sync_db: SyncDatabase[Any], text: str, packed: bool
) -> None:
    data = gzip.compress(text.encode()) if packed else text.encode()
    done = cli("import", "-", "--into", "c", "-o", "json", stdin=data)
    assert counts(done.json()) == [2, 2, 0, 0, 0]
    assert done.json()["files"][0]["file"] == "-"
    assert [d["n"] for d in sync_db.c.find(sort=[("n", 1)])] == [1, 2]


def test_csv_with_types(cli: Runner, sync_db: SyncDatabase[Any], tmp_path: Path) -> None:
    file = write(
        tmp_path / "s.csv", "name,gpa,address.city,code,joined", "Ann,3,Bonn,007,31/01/2024", "Bob,2.5,,x,"
    )
    done = cli(
        "import", file, "--into", "s", "--types", "gpa:double,joined:date(%d/%m/%Y)", "--ignore-blanks"
    )
    assert done.code == 0, done.stderr
    ann, bob = sync_db.s.find({}, {"_id": 0}, sort=[("name", 1)])
    assert ann["joined"].isoformat() == "2024-01-31T00:00:00+00:00"
    assert isinstance(ann["gpa"], float)
    assert ann["address"] == {"city": "Bonn"}
    assert ann["code"] == "007"
    assert bob == {"name": "Bob", "gpa": 2.5, "code": "x"}


def test_every_refusal_is_mapped_back_to_its_line(
    cli: Runner, sync_db: SyncDatabase[Any], tmp_path: Path
) -> None:
    schema = {"required": ["email"], "properties": {"gpa": {"bsonType": "double", "maximum": 4.0}}}
    sync_db.create_collection("s", validator={"$jsonSchema": schema})
    sync_db.s.create_index("email", unique=True)
    # There before: of two in the file, either may come first, batch beside batch.
    sync_db.s.insert_one({"email": "there@x"})
    file = write(
        tmp_path / "s.ndjson",
        {"email": "a@x", "gpa": 1.5},
        {"email": "b@x", "gpa": 4.5},
        "{broken",
        {"gpa": 1.5},
        "",
        {"email": "there@x"},
        {"email": {"$oid": "zz"}},
        {"email": "c@x"},
    )
    rejects = tmp_path / "rejects.ndjson"
    done = cli("import", file, "--into", "s", "--rejects", str(rejects), "--batch-size", "2", "-o", "json")
    assert done.code == 7
    assert counts(done.json()) == [7, 2, 0, 0, 5]
    assert done.json()["rejects_file"] == str(rejects)
    entries = [json.loads(line) for line in rejects.read_text().splitlines()]
    told = ["file", "line", "byte_offset", "record", "stage", "field", "reason", "code"]
    assert [[name for name in entry if name != "_id"] for entry in entries] == [told] * 5
    # What was sent brings the `_id` that it was sent with.
    assert [e["line"] for e in entries if "_id" in e] == [2, 4, 6]
    by_line = {entry["line"]: entry for entry in entries}
    assert {line: (e["stage"], e["field"], e["code"]) for line, e in by_line.items()} == {
        2: ("validator", "gpa", 121),
        3: ("parse", None, None),
        4: ("validator", "email", 121),
        6: ("duplicate", "email", 11000),
        7: ("type", "email", None),
    }
    assert by_line[2]["reason"] == "gpa is 4.5, above 4.0"
    assert by_line[4]["reason"] == "email is missing"
    assert by_line[6]["reason"] == 'email "there@x" is already in s'
    lines = (tmp_path / "s.ndjson").read_text().splitlines()
    for entry in entries:
        assert entry["record"] == lines[entry["line"] - 1]
        assert (
            (tmp_path / "s.ndjson").read_bytes()[entry["byte_offset"] :].startswith(entry["record"].encode())
        )


def test_a_nested_validator_names_the_inner_field(cli: Runner, sync_db: SyncDatabase[Any]) -> None:
    inner = {"bsonType": "object", "required": ["zip"], "properties": {"zip": {"bsonType": "string"}}}
    items = {"bsonType": "array", "items": {"bsonType": "int"}}
    schema = {"properties": {"address": inner, "list": items}, "additionalProperties": False}
    schema["properties"]["_id"] = {}  # type: ignore[index]  # a document within
    sync_db.create_collection("s", validator={"$jsonSchema": schema})
    data = '{"address":{"zip":5}}\n{"address":{}}\n{"list":[1,"x"]}\n{"other":1}\n'
    done = cli("import", "-", "--into", "s", stdin=data)
    assert done.code == 7
    assert "-:1: address.zip is int, not string" in done.stderr
    assert "-:2: address.zip is missing" in done.stderr
    assert "-:3: list.1 is string, not int" in done.stderr
    assert "-:4: other is not allowed" in done.stderr


def test_without_a_rejects_file_the_first_are_shown_and_all_are_counted(cli: Runner) -> None:
    assert cli("import", "-", "--into", "c", stdin="x\n" * 12).code == 2  # nothing here looks like JSON
    done = cli(
        "import", "-", "--into", "c", "--format", "ndjson", "-o", "json", stdin="x\n" * 12 + '{"a":1}\n'
    )
    assert done.code == 7
    assert counts(done.json()) == [13, 1, 0, 0, 12]
    assert done.stderr.count("not JSON") == 5
    assert "7 more were refused: --rejects PATH keeps them all" in done.stderr


def test_no_rejects_leave_no_file_and_an_old_one_is_gone(cli: Runner, tmp_path: Path) -> None:
    rejects = tmp_path / "rejects"
    rejects.write_text("old")
    assert cli("import", "-", "--into", "c", "--rejects", str(rejects), stdin='{"a":1}').code == 0
    assert not rejects.exists()


@pytest.mark.parametrize("name", ["./a.ndjson", "link", "hard", "up/../a.ndjson"])
def test_the_rejects_never_overwrite_an_input(
    cli: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    file = tmp_path / "a.ndjson"
    text = '{"a":1}\nx\n'
    file.write_text(text)
    (tmp_path / "link").symlink_to(file)
    (tmp_path / "hard").hardlink_to(file)
    (tmp_path / "up").mkdir()
    monkeypatch.chdir(tmp_path)
    for inputs, rejects in (("a.ndjson", name), (name, "a.ndjson")):
        done = cli("import", inputs, "--into", "c", "--rejects", rejects)
        assert done.code == 2
        assert "would overwrite an input" in done.stderr
    assert "named twice" in cli("import", "a.ndjson", name, "--into", "c").stderr
    assert file.read_text() == text


def test_the_rejects_never_overwrite_a_file_that_is_stdin(
    server_uri: str, dbname: str, tmp_path: Path
) -> None:
    file = tmp_path / "a.ndjson"
    file.write_text("x\n")
    with file.open("rb") as stdin:
        done = subprocess.run(
            command("import", "-", "--into", "c", "--format", "ndjson", "--rejects", str(file)),
            stdin=stdin,
            capture_output=True,
            env={**os.environ, "MOTORCTL_URI": server_uri, "MOTORCTL_DB": dbname},
            check=False,
        )
    assert done.returncode == 2
    assert file.read_text() == "x\n"


def test_an_old_rejects_file_outlives_what_did_not_begin(cli: Runner, tmp_path: Path) -> None:
    rejects = tmp_path / "rejects"
    rejects.write_text("old")
    arguments = ("import", "-", "--into", "c", "--rejects", str(rejects))
    rehearsed = cli(*arguments, "--dry-run", "--format", "ndjson", "-o", "json", stdin='{"a":1}\nx\n')
    assert rehearsed.code == 7
    assert "-:2: not JSON" in rehearsed.stderr
    assert rehearsed.json()["rejects_file"] is None
    assert cli(*arguments, "--dry-run", stdin='{"a":1}').code == 0
    assert cli(*arguments, stdin="hello").code == 2
    assert rejects.read_text() == "old"
    assert cli(*arguments, "--format", "ndjson", stdin='{"a":1}\nx\n').code == 7
    assert "not JSON" in rejects.read_text()


def test_upsert_tells_inserted_updated_and_unchanged(
    cli: Runner, sync_db: SyncDatabase[Any], tmp_path: Path
) -> None:
    sync_db.u.create_index("email", unique=True)
    sync_db.u.insert_many([{"_id": 1, "email": "a", "n": 1}, {"_id": 2, "email": "b", "n": 1, "old": True}])
    file = write(
        tmp_path / "u.ndjson", {"email": "a", "n": 1}, {"email": "b", "n": 2}, {"email": "c"}, {"n": 5}
    )
    arguments = ("import", file, "--into", "u", "--mode", "upsert", "--key", "email", "-o", "json")
    rehearsed = cli(*arguments, "--dry-run")
    assert counts(rehearsed.json()) == [4, 1, 1, 1, 1]
    assert sync_db.u.count_documents({}) == 2
    done = cli(*arguments)
    assert done.code == 7
    assert counts(done.json()) == [4, 1, 1, 1, 1]
    assert "u.ndjson:4: lacks the key email" in done.stderr
    assert sync_db.u.find_one({"email": "b"}) == {"_id": 2, "email": "b", "n": 2}
    assert counts(cli(*arguments).json()) == [4, 0, 0, 3, 1]


def test_the_last_record_of_a_key_wins_even_without_an_index(
    cli: Runner, sync_db: SyncDatabase[Any], tmp_path: Path
) -> None:
    file = write(tmp_path / "u.ndjson", *({"k": i % 3, "n": i} for i in range(60)))
    done = cli(
        "import", file, "--into", "u", "--mode", "upsert", "--key", "k", "--batch-size", "4", "-o", "json"
    )
    assert counts(done.json()) == [60, 3, 57, 0, 0]
    assert "no index of u begins with k" in done.stderr
    assert sorted((d["k"], d["n"]) for d in sync_db.u.find()) == [(0, 57), (1, 58), (2, 59)]


def test_an_upsert_may_be_refused_too(cli: Runner, sync_db: SyncDatabase[Any], tmp_path: Path) -> None:
    sync_db.u.create_index("email", unique=True)
    sync_db.u.insert_one({"_id": 1, "email": "taken", "k": 0})
    file = write(
        tmp_path / "u.ndjson", {"k": 1, "email": "taken"}, {"k": 2, "email": "free"}, {"k": 0, "_id": 9}
    )
    for extra in ((), ("--ordered",)):
        done = cli("import", file, "--into", "u", "--mode", "upsert", "--key", "k", "-o", "json", *extra)
        assert done.code == 7
        read, inserted, updated, unchanged, rejected = counts(done.json())
        assert (read, inserted + updated + unchanged, rejected) == (3, 1, 2)
        assert 'u.ndjson:1: email "taken" is already in u' in done.stderr
        assert "u.ndjson:3: " in done.stderr


def test_ordered_goes_on_after_a_refusal(cli: Runner, sync_db: SyncDatabase[Any], tmp_path: Path) -> None:
    file = write(tmp_path / "o.ndjson", *({"_id": i // 2} for i in range(20)))
    done = cli("import", file, "--into", "o", "--ordered", "-o", "json")
    assert counts(done.json()) == [20, 10, 0, 0, 10]
    assert [d["_id"] for d in sync_db.o.find()] == list(range(10))


def test_max_errors_stops_with_what_was_done(cli: Runner, sync_db: SyncDatabase[Any], tmp_path: Path) -> None:
    file = write(tmp_path / "m.ndjson", *({"_id": i} if i % 3 else "x" for i in range(90_000)))
    done = cli("import", file, "--into", "m", "--format", "ndjson", "--max-errors", "100", "-o", "json")
    assert done.code == 7
    read, inserted, *_, rejected = counts(done.json())
    assert rejected > 100
    assert read < 90_000
    assert sync_db.m.count_documents({}) == inserted
    assert "--max-errors 100 allows" in done.stderr
    done = cli("import", file, "--into", "m2", "--format", "ndjson", "--max-errors", "50%", "-o", "json")
    assert counts(done.json())[0] == 90_000
    assert "--max-errors" not in done.stderr


def test_error_limits_are_read() -> None:
    assert ErrorLimit.parse("0").passed(1, 1, final=False)
    assert not ErrorLimit.parse("1").passed(1, 1, final=True)
    assert not ErrorLimit.parse("10%").passed(99, 100, final=False)
    assert ErrorLimit.parse("10%").passed(11, 100, final=True)
    assert not ErrorLimit.parse("10%").passed(10, 100, final=True)
    for wrong in ("", "x", "-1", "101%", "%", "1.5"):
        with pytest.raises(UsageError):
            ErrorLimit.parse(wrong)


def test_dry_run_parses_everything_and_writes_nothing(cli: Runner, sync_db: SyncDatabase[Any]) -> None:
    sync_db.c.insert_one({"_id": 0})
    done = cli("import", "-", "--into", "c", "--dry-run", "--drop", "-o", "json", stdin='{"a":1}\n{"a":}\n')
    assert done.code == 7
    assert counts(done.json()) == [2, 1, 0, 0, 1]
    assert "would drop" in done.stderr
    assert "nothing was written" in done.stderr
    assert [d["_id"] for d in sync_db.c.find()] == [0]


def test_drop_asks_or_needs_yes(cli: Runner, sync_db: SyncDatabase[Any], tmp_path: Path) -> None:
    sync_db.c.insert_many([{"old": 1}, {"old": 2}])
    file = write(tmp_path / "c.ndjson", {"new": 1})
    assert cli("import", file, "--into", "c", "--drop").code == 2
    refused = cli("import", file, "--into", "c", "--drop", stdin="n\n", tty=True)
    assert refused.code == 0
    assert "nothing was dropped" in refused.stderr
    assert sync_db.c.count_documents({"old": {"$exists": True}}) == 2
    done = cli("import", file, "--into", "c", "--drop", "--yes")
    assert done.code == 0
    assert "with 2 documents, its indexes and its validator" in done.stderr
    assert sync_db.c.count_documents({}) == 1


@pytest.mark.parametrize(
    ("code", "data", "extra"),
    [
        (2, b"hello\n", ()),
        (2, b"a,a\n1,2\n", ("--format", "csv")),
        (2, b'{"a":1}', ("--types", "a:int32")),
        (2, b'{"a":1}', ("--rejects", "/no/such/place")),
        (2, b'{"a":1}', ("--rejects", "/")),
        (1, gzip.compress(b'{"a":1}', mtime=0)[:-4] + b"1234", ()),
        (7, b"x\ny\n", ("--format", "ndjson")),
        (0, b"", ()),
    ],
)
def test_what_can_not_be_written_drops_nothing(
    cli: Runner, sync_db: SyncDatabase[Any], code: int, data: bytes, extra: tuple[str, ...]
) -> None:
    sync_db.c.insert_one({"old": 1})
    done = cli("import", "-", "--into", "c", "--drop", "--yes", *extra, stdin=data)
    assert done.code == code, done.stderr
    assert "\ndropped" not in f"\n{done.stderr}"
    assert sync_db.c.count_documents({"old": 1}) == 1


def test_an_index_that_is_dropped_is_no_help_to_upsert(cli: Runner, sync_db: SyncDatabase[Any]) -> None:
    sync_db.c.create_index("k")
    arguments = ("import", "-", "--into", "c", "--mode", "upsert", "--yes", "--key")
    assert "no index" not in cli(*arguments, "k", stdin='{"k":1}').stderr
    assert "no index of c begins with k" in cli(*arguments, "k", "--drop", stdin='{"k":1}').stderr
    assert "no index" not in cli(*arguments, "_id", "--drop", stdin='{"_id":1}').stderr
    assert list(sync_db.c.find()) == [{"_id": 1}]


def test_a_write_concern_without_an_answer_is_wrong_usage(
    cli: Runner, sync_db: SyncDatabase[Any], server_uri: str, tmp_path: Path
) -> None:
    file = write(tmp_path / "a.ndjson", {"k": 1})
    for mode in ((), ("--mode", "upsert", "--key", "k")):
        done = cli("import", file, "--into", "c", *mode, "--uri", f"{server_uri}&w=0")
        assert (done.code, done.stdout) == (2, "")
        assert "w=0" in done.stderr
    assert sync_db.list_collection_names() == []


def test_one_record_that_is_too_deep_costs_no_other(
    cli: Runner, sync_db: SyncDatabase[Any], tmp_path: Path
) -> None:
    deep = '{"n":' * 250 + "1" + "}" * 250
    file = write(tmp_path / "d.ndjson", *(deep if n == 1200 else {"n": n} for n in range(3000)))
    done = cli("import", file, "--into", "d", "-o", "json")
    assert done.code == 7
    assert counts(done.json()) == [3000, 2999, 0, 0, 1]
    assert "d.ndjson:1201: nested more than 180 deep" in done.stderr
    assert sync_db.d.count_documents({}) == 2999


def test_arrays_in_a_row_are_all_read(cli: Runner, sync_db: SyncDatabase[Any]) -> None:
    one, two = (json.dumps([{"n": n, "l": [n]} for n in range(40_000)]) for _ in range(2))
    done = cli("import", "-", "--into", "c", "-o", "json", stdin=one + two + "\nbye\n" + '{"n":1}')
    assert done.code == 7
    assert counts(done.json()) == [80_002, 80_001, 0, 0, 1]
    assert "-:2: text after the end of the array" in done.stderr
    assert sync_db.c.count_documents({}) == 80_001


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("{here}/none.json", "--into", "c"), "no such file"),
        (("{here}/empty", "--into", "c"), "without any file"),
        (("{here}/*.none", "--into", "c"), "no file"),
        (("{here}/binary", "--into", "c"), "is binary"),
        (("{here}/a.ndjson", "--into", "c", "--mode", "upsert"), "needs --key"),
        (("{here}/a.ndjson", "--into", "c", "--key", "a"), "--key is for the modes"),
        (("{here}/a.ndjson", "--into", "c", "--types", "a:int32"), "is JSON"),
        (("{here}/a.csv", "--into", "c", "--types", "gap:double"), "'gap', which no column has"),
        (("{here}/a.csv", "--into", "c", "--types", "a:dubble"), "no type 'dubble'"),
        (("{here}/a.ndjson", "{here}/a.ndjson", "--into", "c"), "named twice"),
        (("{here}/a.ndjson", "--into", "c", "--rejects", "{here}/a.ndjson"), "overwrite an input"),
        (("{here}/a.ndjson", "--into", "c", "--rejects", "{here}/no/where"), "can't write the rejects file"),
        (("{here}/a.ndjson", "--into", "c", "--max-errors", "few"), "neither a number"),
        (("{here}/a.ndjson", "--into", "c", "--format", "xml"), "xml"),
        (("{here}/a.ndjson", "{here}/twice.csv", "--into", "c"), "names 'a' twice"),
        (("{here}/a.ndjson",), "--into"),
    ],
)
def test_wrong_usage_is_2_and_writes_nothing(
    cli: Runner, sync_db: SyncDatabase[Any], tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "binary").write_bytes(b"\x7fELF\0\0")
    write(tmp_path / "a.ndjson", {"a": 1})
    write(tmp_path / "a.csv", "a,b", "1,2")
    write(tmp_path / "twice.csv", "a,a", "1,2")
    done = cli("import", *(a.format(here=tmp_path) for a in arguments))
    assert done.code == 2
    assert words in done.stderr
    assert done.stdout == ""
    assert sync_db.list_collection_names() == []


def test_an_empty_file_is_nothing_read(cli: Runner, tmp_path: Path) -> None:
    file = write(tmp_path / "empty")
    done = cli("import", file, "--into", "c", "-o", "json")
    assert done.code == 0
    assert counts(done.json()) == [0, 0, 0, 0, 0]


def test_damaged_compression_is_1_and_still_sums_up(
    cli: Runner, sync_db: SyncDatabase[Any], tmp_path: Path
) -> None:
    packed = gzip.compress(b"".join(b'{"n":%d,"x":"%x"}\n' % (i, hash((i, i))) for i in range(100_000)))
    (tmp_path / "x.gz").write_bytes(packed[:-1000])
    done = cli("import", str(tmp_path / "x.gz"), "--into", "c", "-o", "json")
    assert done.code == 1
    assert "ends in the middle" in done.stderr
    assert counts(done.json())[1] == sync_db.c.count_documents({}) > 0


def test_a_full_disk_for_the_rejects_file_is_1_and_still_sums_up(cli: Runner) -> None:
    done = cli(
        "import", "-", "--into", "c", "--rejects", "/dev/full", "--format", "ndjson", stdin='{"a":1}\nx\n'
    )
    assert done.code == 1
    assert "No space left" in done.stderr
    assert ["rejected", "1"] in [line.split() for line in done.stdout.splitlines()]


def test_several_files_are_summed_up_each(cli: Runner, tmp_path: Path) -> None:
    a = write(tmp_path / "a.ndjson", {"n": 1}, {"n": 2})
    b = write(tmp_path / "b.csv", "n", "3", "4,5")
    done = cli("import", a, b, "--into", "c", "-o", "json")
    assert counts(done.json()) == [4, 3, 0, 0, 1]
    assert [counts(f) for f in done.json()["files"]] == [[2, 2, 0, 0, 0], [2, 1, 0, 0, 1]]
    table = cli("import", a, b, "--into", "c").stdout.splitlines()
    assert table[0].split() == ["file", "read", "inserted", "updated", "unchanged", "rejected", "size"]
    assert table[3].split() == ["all", "4", "3", "0", "0", "1", "24", "bytes"]
    lines = cli("import", a, b, "--into", "c", "-o", "csv").stdout.splitlines()
    assert lines[0] == "file,read,inserted,updated,unchanged,rejected,bytes"
    assert lines[3] == "all,4,3,0,0,1,24"


def test_the_summary_is_a_table_for_people(cli: Runner) -> None:
    done = cli("import", "-", "--into", "c", stdin='{"n":1}\n' * 1234)
    assert "read       1,234" in done.stdout
    assert "size       9.9 kB" in done.stdout
    assert "documents a second" in done.stdout
    assert "size       7 bytes" in cli("import", "-", "--into", "c", stdin='{"n":1}').stdout


def test_a_batch_that_is_sent_again_says_so(cli: Runner, server_uri: str, fail_command: Any) -> None:
    fail_command({"times": 2}, failCommands=["insert"], closeConnection=True, appName="again-test")
    uri = f"{server_uri}&appName=again-test"
    done = cli("import", "-", "--into", "c", "--uri", uri, "-o", "json", stdin='{"n":1}')
    assert done.code == 0
    assert counts(done.json()) == [1, 1, 0, 0, 0]
    assert done.stderr.count("trying again") == 2


def test_no_server_is_3_and_refuses_no_record(cli: Runner, tmp_path: Path) -> None:
    file = write(tmp_path / "a.ndjson", {"n": 1})
    done = cli("import", file, "--into", "c", "--uri", "mongodb://127.0.0.1:1", "--timeout", "0.5")
    assert done.code == 3
    assert done.stdout == ""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_sums_up_first(
    server_uri: str, dbname: str, sync_db: SyncDatabase[Any], number: signal.Signals, code: int
) -> None:
    """The input is a pipe that stays open: the import waits for more when the signal comes."""
    environment = {**os.environ, "MOTORCTL_URI": server_uri, "MOTORCTL_DB": dbname}
    with subprocess.Popen(
        command("import", "-", "--into", "c", "-o", "json"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    ) as process:
        assert process.stdin is not None
        process.stdin.write(b'{"n":1,"x":"%b"}\n' % (b"x" * 1000) * 2000)
        process.stdin.flush()
        until(lambda: sync_db.c.estimated_document_count() > 0, "documents arrive")
        process.send_signal(number)
        started = time.monotonic()
        assert process.wait(10) == code
        assert time.monotonic() - started < 5
        assert process.stdout is not None
        summary = json.loads(process.stdout.read())
    _, inserted, *_ = counts(summary)
    assert sync_db.c.count_documents({}) == inserted > 0


# -- the engine, where a command line can't reach ---------------------------------------------------------


async def run(collection: Any, data: bytes, options: Options, account: Account, **hooks: Any) -> None:
    with closing(Reader(Source("-", io.BytesIO(data)))) as reader:
        await engine.run(collection, [reader], options, account, **hooks)


class Hooked:
    """A collection whose write commands go through a hook: it is given what sends one, to be awaited."""

    def __init__(
        self, collection: Any, hook: Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]
    ) -> None:
        self._collection = collection
        self._hook = hook

    def __getattr__(self, name: str) -> Any:
        return getattr(self._collection, name)

    def with_options(self, **options: Any) -> Hooked:
        return Hooked(self._collection.with_options(**options), self._hook)

    @property
    def database(self) -> Any:
        return _HookedDatabase(self._collection.database, self._hook)


class _HookedDatabase:
    def __init__(self, database: Any, hook: Any) -> None:
        self._database = database
        self._hook = hook

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    async def command(self, name: Any, *arguments: Any, **options: Any) -> Any:
        send = partial(self._database.command, name, *arguments, **options)
        return await (self._hook(send) if name in {"insert", "update", "delete"} else send())


@pytest.fixture
def fail_command(server_uri: str) -> Iterator[Any]:
    """Configure the server's failCommand fail point; off again at the end."""
    with pymongo.MongoClient[dict[str, Any]](server_uri) as client:

        def configure(mode: Any, **data: Any) -> None:
            client.admin.command("configureFailPoint", "failCommand", mode=mode, data=data)

        yield configure
        configure("off")


async def again(operation: Callable[[], Awaitable[Any]]) -> Any:
    """Try as `App.attempt` does, up to six times and without its pauses."""

    async def at_once(_seconds: float) -> None: ...

    diagnostics = Diagnostics(io.StringIO())
    return await retry.attempt(operation, attempts=6, diagnostics=diagnostics, sleep=at_once)


async def test_a_lost_connection_inserts_nothing_twice(
    db: Database, server_uri: str, fail_command: Any
) -> None:
    """The server writes and then closes the connection, more often than the driver itself tries again."""
    data = b"".join(b'{"n":%d}\n{"_id":%d}\n' % (i, i) for i in range(2000))
    await db.create_collection("c")
    fail_command({"times": 5}, failCommands=["insert"], closeConnection=True, appName="ingest-test")
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(server_uri, appname="ingest-test")
    account = Account()
    await run(client[db.name]["c"], data, Options(), account, attempt=again)
    await driver.close(client)
    assert counts(account.summary()) == [4000, 4000, 0, 0, 0]
    assert await db.c.count_documents({}) == 4000


async def test_an_answer_that_was_lost_is_no_duplicate(db: Database) -> None:
    """The first attempt is written and its answer lost: the second finds its own documents there."""
    await db.c.insert_one({"_id": 5, "x": "foreign"})

    lost: list[bool] = []

    async def lose_the_first(send: Callable[[], Awaitable[Any]]) -> Any:
        reply = await send()
        if not lost:
            lost.append(True)
            raise AutoReconnect("lost")
        return reply

    data = b"".join(b'{"n":%d}\n{"_id":%d}\n' % (i, i) for i in range(10))
    account = Account()
    await run(Hooked(db.c, lose_the_first), data, Options(), account, attempt=again)
    assert counts(account.summary()) == [20, 19, 0, 0, 1]
    assert account.first[0].record == '{"_id":5}'
    assert await db.c.count_documents({}) == 20


@pytest.mark.parametrize("mode", ["insert", "upsert"])
async def test_a_lost_server_books_what_is_unknown(db: Database, mode: Any) -> None:
    calls = 0

    async def die(send: Callable[[], Awaitable[Any]]) -> Any:
        nonlocal calls
        calls += 1
        if calls > 3:
            raise AutoReconnect("gone")
        return await send()

    data = b"".join(b'{"k":%d}\n' % i for i in range(1000))
    account = Account()
    collection = Hooked(db.c, die)
    plan = Plan(mode, ("k",) if mode == "upsert" else ())
    with pytest.raises(AutoReconnect):
        await run(collection, data, Options(plan, batch_size=100), account)
    read, inserted, _, _, rejected = counts(account.summary())
    assert inserted == await db.c.count_documents({}) == 300
    assert rejected in {100, 200}
    assert "may be written or not" in account.first[0].reason
    assert read == inserted + rejected


async def test_a_cancelled_import_books_the_batches_on_their_way(db: Database) -> None:
    data = b"".join(b'{"n":%d,"x":"%b"}\n' % (i, b"x" * 300) for i in range(50_000))
    account = Account()
    under_way = asyncio.Event()

    def progress(_: Source) -> None:
        if account.total.inserted:
            under_way.set()

    task = asyncio.create_task(run(db.c, data, Options(), account, progress=progress))
    await under_way.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert 0 < counts(account.summary())[1] < 50_000
    assert await db.c.count_documents({}) == account.total.inserted


async def test_a_write_concern_that_is_not_met_ends_in_an_error(db: Database) -> None:
    account = Account()
    collection = db.c.with_options(write_concern=WriteConcern(w=5, wtimeout=100))
    with pytest.raises(Exception, match=r"write concern|replica set member"):
        await run(collection, b'{"n":1}', Options(), account)
    counts(account.summary())


# -- slow, cut short, spoilt ------------------------------------------------------------------------------


async def test_a_slow_last_batch_is_waited_for(db: Database, server_uri: str, fail_command: Any) -> None:
    fail_command(
        "alwaysOn", failCommands=["insert"], blockConnection=True, blockTimeMS=1000, appName="slow-test"
    )
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(server_uri, appname="slow-test")
    account = Account()
    await run(client[db.name]["c"], b'{"n":1}\n' * 10, Options(), account, last_reply_seconds=0.1)
    await driver.close(client)
    assert counts(account.summary()) == [10, 10, 0, 0, 0]


async def test_a_cancelled_import_does_not_wait_for_ever(
    db: Database, server_uri: str, fail_command: Any
) -> None:
    fail_command(
        "alwaysOn", failCommands=["insert"], blockConnection=True, blockTimeMS=2000, appName="stuck-test"
    )
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(server_uri, appname="stuck-test")
    account = Account()
    under_way = asyncio.Event()

    async def before() -> None:
        under_way.set()

    hooks: dict[str, Any] = {"before": before, "last_reply_seconds": 0.1}
    task = asyncio.create_task(run(client[db.name]["c"], b'{"n":1}\n' * 10, Options(), account, **hooks))
    await under_way.wait()
    await asyncio.sleep(0.1)
    started = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - started < 1.5
    await driver.close(client)
    assert counts(account.summary()) == [10, 0, 0, 0, 10]
    assert account.first[0].reason == NO_ANSWER


@pytest.mark.parametrize("mode", ["insert", "upsert"])
@pytest.mark.parametrize("ordered", [False, True])
async def test_a_document_that_spoils_its_command_is_found(db: Database, mode: Any, ordered: bool) -> None:
    """As decoding would let it through, were the server to take less than it does."""
    plan = Plan(mode, ("k",) if mode == "upsert" else ())
    text = b"".join(b'{"k":%d}\n' % n for n in range(100))
    decoded = decode(Chunk("f", "lines", text, 1, 0, identity=b"1234567"), plan)
    deep: dict[str, Any] = {"k": 1}
    for _ in range(250):
        deep = {"a": deep}
    documents = [decoded.cut(at, at + 1) for at in range(100)]
    documents[17], documents[60] = bson.encode(deep), bson.encode({"x": "x" * 17_000_000})
    decoded.data, decoded.ends = b"".join(documents), list(accumulate(map(len, documents)))
    writer = Writer(db.c, plan, ordered=ordered)
    await writer.prepare()
    outcome = await writer.write(decoded, 0, 100)
    assert outcome.error is None
    assert outcome.inserted == await db.c.count_documents({}) == 98
    assert [(f.position, f.stage) for f in outcome.failures] == [(17, "server"), (60, "server")]
    assert "nested object depth" in outcome.failures[0].reason
    assert max(len(f.reason) for f in outcome.failures) < 250


async def test_what_an_ordered_batch_had_confirmed_stays_booked(db: Database) -> None:
    """It ends at a duplicate and is sent again from there: then the server is gone."""

    calls = 0

    async def die(send: Callable[[], Awaitable[Any]]) -> Any:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise AutoReconnect("gone")
        return await send()

    collection = Hooked(db.c, die)
    account = Account()
    data = b"".join(b'{"_id":%d}\n' % n for n in (0, 1, 2, 2, 3, 4))
    with pytest.raises(AutoReconnect):
        await run(collection, data, Options(ordered=True), account)
    assert counts(account.summary()) == [6, 3, 0, 0, 3]
    assert [r.stage for r in account.first] == ["duplicate", "server", "server"]
    assert await db.c.count_documents({}) == 3


async def test_books_that_do_not_balance_are_a_defect(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Writer.write

    async def careless(self: Writer, *arguments: Any, **options: Any) -> Outcome:
        outcome = await honest(self, *arguments, **options)
        outcome.inserted -= 1
        return outcome

    monkeypatch.setattr(Writer, "write", careless)
    account = Account()
    with pytest.raises(DefectError, match=r"of 10 records read of - 9 are accounted for"):
        await run(db.c, b'{"n":1}\n' * 10, Options(), account)
    assert (account.summary()["read"], account.summary()["inserted"]) == (10, 9)


async def test_a_second_ctrl_c_leaves_the_books_in_order(db: Database) -> None:
    """The first one waits for the batches on their way; the second doesn't, and they are booked as lost."""

    stuck = asyncio.Event()

    async def hang(send: Callable[[], Awaitable[Any]]) -> Any:
        if account.total.inserted:
            stuck.set()
            await asyncio.sleep(60)
        return await send()

    data = b"".join(b'{"k":%d}\n' % i for i in range(1000))
    account = Account()
    collection = Hooked(db.c, hang)
    importing = asyncio.create_task(run(collection, data, Options(batch_size=100, in_flight=2), account))
    await stuck.wait()
    importing.cancel()
    await asyncio.sleep(0.1)
    importing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await importing
    read, inserted, updated, unchanged, rejected = counts(account.summary())
    assert inserted == await db.c.count_documents({})
    assert (updated, unchanged) == (0, 0)
    assert rejected in {100, 200}
    assert read == inserted + rejected


# -- mended and imported again ----------------------------------------------------------------------------


def mend(path: Path, change: Callable[[str], str]) -> None:
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps({**e, "record": change(e["record"])}) + "\n" for e in entries))


def test_rejects_of_json_are_mended_and_imported_again(
    cli: Runner, sync_db: SyncDatabase[Any], tmp_path: Path
) -> None:
    file = write(tmp_path / "a.ndjson", {"n": 1}, '{"n":2,}', {"n": {"$oid": "x"}}, {"n": 4})
    rejects, again = tmp_path / "rejects.ndjson", tmp_path / "again.ndjson"
    assert cli("import", file, "--into", "c", "--rejects", str(rejects)).code == 7
    mend(rejects, lambda record: record.replace(",}", "}"))
    done = cli("import", str(rejects), "--into", "c", "--rejects", str(again), "-o", "json")
    assert counts(done.json()) == [2, 1, 0, 0, 1]
    (left,) = map(json.loads, again.read_text().splitlines())
    assert (left["file"], left["line"], left["record"]) == (str(rejects), 2, '{"n": {"$oid": "x"}}')
    mend(again, lambda _: '{"n":3}')
    assert cli("import", str(again), "--into", "c").code == 0
    assert sorted(d["n"] for d in sync_db.c.find()) == [1, 2, 3, 4]


def test_rejects_of_a_table_are_mended_and_imported_again(
    cli: Runner, sync_db: SyncDatabase[Any], tmp_path: Path
) -> None:
    file = write(tmp_path / "s.csv", "name;gpa;address.city", "Ann;x;Bonn", "Bob;1;Köln;?", "Cy;2;Ulm")
    rejects = tmp_path / "rejects.ndjson"
    types = ("--types", "gpa:double")
    assert cli("import", file, "--into", "s", *types, "--rejects", str(rejects)).code == 7
    entry = json.loads(rejects.read_text().splitlines()[0])
    assert (entry["columns"], entry["delimiter"]) == (["name", "gpa", "address.city"], ";")
    mend(rejects, lambda record: record.replace("x", "3.5").replace(";?", ""))
    done = cli("import", str(rejects), "--into", "s", *types, "-o", "json")
    assert counts(done.json()) == [2, 2, 0, 0, 0], done.stderr
    assert sync_db.s.find_one({"name": "Ann"}, {"_id": 0}) == {
        "name": "Ann",
        "gpa": 3.5,
        "address": {"city": "Bonn"},
    }
    assert sync_db.s.count_documents({}) == 3


def test_a_rejects_file_that_was_mended_wrongly_is_told_so(cli: Runner, tmp_path: Path) -> None:
    file = write(tmp_path / "a.ndjson", {"n": 1}, '{"n":2,}', '{"n":3,}')
    rejects = tmp_path / "rejects.ndjson"
    assert cli("import", file, "--into", "c", "--rejects", str(rejects)).code == 7
    first, second = rejects.read_text().splitlines()
    rejects.write_text(f"{first}\n{second[:-5]}\n")
    done = cli("import", str(rejects), "--into", "c")
    assert done.code == 7
    assert f"{rejects}:2: not an entry of a rejects file" in done.stderr


def test_a_record_without_an_answer_is_not_there_twice(
    cli: Runner, sync_db: SyncDatabase[Any], tmp_path: Path
) -> None:
    """As its reject says: it may be written or not. Here one was, and one wasn't."""
    file = write(tmp_path / "a.ndjson", {"n": 1}, {"n": 2})
    rejects = tmp_path / "rejects.ndjson"
    sync_db.create_collection("c", validator={"n": {"$gt": 5}})
    assert cli("import", file, "--into", "c", "--rejects", str(rejects)).code == 7
    sync_db.command("collMod", "c", validator={})
    first = json.loads(rejects.read_text().splitlines()[0])
    sync_db.c.insert_one({"_id": ObjectId(first["_id"]["$oid"]), "n": 1})
    done = cli("import", str(rejects), "--into", "c", "-o", "json")
    assert counts(done.json()) == [2, 2, 0, 0, 0]
    assert sorted(d["n"] for d in sync_db.c.find()) == [1, 2]


def test_an_empty_cell_is_no_key(cli: Runner, sync_db: SyncDatabase[Any], tmp_path: Path) -> None:
    file = write(tmp_path / "u.csv", "email,v", ",1", ",2", "x,3")
    done = cli("import", file, "--into", "u", "--mode", "upsert", "--key", "email", "-o", "json")
    assert counts(done.json()) == [3, 1, 0, 0, 2]
    assert "u.csv:2: lacks the key email" in done.stderr
    assert sync_db.u.count_documents({}) == 1


@pytest.mark.parametrize("option", ["--only", "--omit", "--rename", "--key"])
def test_a_field_that_no_column_makes_is_wrong_usage(cli: Runner, tmp_path: Path, option: str) -> None:
    file = write(tmp_path / "u.csv", "email,address.city", "a,b")
    value = "emial=mail" if option == "--rename" else "emial"
    mode = ("--mode", "upsert") if option == "--key" else ()
    done = cli("import", file, "--into", "u", option, value, *mode)
    assert done.code == 2
    assert f"u.csv: {option} names 'emial', which no column has" in done.stderr
    assert "did you mean 'email'?" in done.stderr
    if option != "--rename":
        assert cli("import", file, "--into", "u", option, "address.city", *mode).code == 0


def test_a_file_that_becomes_shorter_meanwhile_is_an_error(
    cli: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "a.ndjson"
    file.write_text('{"n":1}\n' * 1000)
    honest = engine.run

    async def cut(*arguments: Any, **options: Any) -> None:
        os.truncate(file, 80)
        await honest(*arguments, **options)

    monkeypatch.setattr(engine, "run", cut)
    done = cli("import", str(file), "--into", "c", "-o", "json")
    assert done.code == 1
    assert "became shorter while it was read: 80 of 8,000 bytes are left" in done.stderr
    assert counts(done.json())[0] == 10


def test_a_dry_run_that_is_stopped_has_its_books_in_order(
    server_uri: str, dbname: str, sync_db: SyncDatabase[Any]
) -> None:
    environment = {**os.environ, "MOTORCTL_URI": server_uri, "MOTORCTL_DB": dbname}
    with subprocess.Popen(
        command("import", "-", "--into", "c", "--dry-run", "-o", "json"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    ) as process:
        assert process.stdin is not None
        process.stdin.write(b'{"n":1}\n' * 100_000)
        process.stdin.flush()
        time.sleep(1.5)
        process.send_signal(signal.SIGHUP)
        assert process.wait(10) == 143
        assert process.stdout is not None
        counts(json.loads(process.stdout.read()))
    assert sync_db.c.count_documents({}) == 0
