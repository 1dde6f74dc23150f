"""`motorctl export`: what it writes, and that `import` reads it back."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import resource
import subprocess
from typing import TYPE_CHECKING, Any

import bson
import pytest
from bson import Binary, Decimal128, Int64, ObjectId, Regex, Timestamp
from bson.raw_bson import DEFAULT_RAW_BSON_OPTIONS
from conftest import command
from test_ingest_extjson import DOCUMENTS

from motorctl.core import export as core
from motorctl.core.export import cell

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Runner
    from pymongo.database import Database as SyncDatabase

from hypothesis import given, settings
from hypothesis import strategies as st

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


@settings(max_examples=25, deadline=None)
@given(st.lists(DOCUMENTS, max_size=6))
def test_any_documents_come_back_byte_for_byte(documents: list[dict[str, Any]]) -> None:
    """The text alone, without a server: what export writes is what import's decoder reads."""
    from motorctl.core.extjson import bson_to_json
    from motorctl.core.ingest.decode import decode
    from motorctl.core.ingest.model import Chunk, Plan

    before = [bson.encode({"_id": i, **d} if "_id" not in d else d) for i, d in enumerate(documents)]
    text = b"".join(bson_to_json(raw, canonical=True) + b"\n" for raw in before)
    decoded = decode(Chunk("f", "lines", text, 1, 0), Plan())
    assert decoded.rejects == []
    assert decoded.documents == before


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


TABLE = st.lists(
    st.fixed_dictionaries(
        {"a": st.text(st.characters(codec="utf-8")), "b": st.text(st.characters(codec="utf-8"))}
    ),
    min_size=1,
    max_size=5,
)


@given(TABLE, st.booleans())
def test_any_text_survives_csv(rows: list[dict[str, str]], single: bool) -> None:
    from motorctl.core.ingest.decode import decode
    from motorctl.core.ingest.model import Plan
    from motorctl.core.ingest.source import Source
    from motorctl.core.ingest.split import split

    names = ["a"] if single else ["a", "b"]
    text = "".join(core.row(line) for line in [names, *([row[name] for name in names] for row in rows)])
    plan = Plan(types=tuple((name, "string") for name in names))
    found = [
        {name: document[name] for name in names}
        for chunk in split(Source("f", io.BytesIO(text.encode())), "csv")
        for raw in decode(chunk, plan).documents
        for document in [bson.decode(raw)]
    ]
    assert found == [{name: row[name] for name in names} for row in rows]


def test_csv_says_when_a_field_has_no_column(cli: Runner, sync_db: SyncDatabase[Any]) -> None:
    sync_db.a.insert_many([{"_id": i, "a": 1} for i in range(core.BATCH)])
    sync_db.a.insert_one({"_id": core.BATCH, "late": 1})
    done = cli("export", "a", "--format", "csv")
    assert done.stdout.startswith("_id,a\n")
    assert "1 documents have fields that no column shows" in done.stderr
    assert cli("export", "a", "--format", "csv", "--fields", "a").stderr == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "true"),
        (1.5, "1.5"),
        (Int64(5), "5"),
        (Decimal128("1.10"), "1.10"),
        (ObjectId("5f2b18467ba3bd2ed0e55c01"), "5f2b18467ba3bd2ed0e55c01"),
        (math.inf, "Infinity"),
        ({"a": 1}, '{"a":1}'),
        ({}, "{}"),
        (Timestamp(1, 2), '{"$timestamp":{"t":1,"i":2}}'),
    ],
)
def test_cells(value: Any, text: str) -> None:
    assert cell(value) == text


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
    "failure", [{"closeConnection": True}, {"errorCode": 43}, {"errorCode": 91, "closeConnection": False}]
)
def test_a_server_that_is_lost_on_the_way_leaves_no_file(
    cli: Runner, sync_db: SyncDatabase[Any], server_uri: str, tmp_path: Path, failure: dict[str, Any]
) -> None:
    sync_db.a.insert_many([{"_id": i} for i in range(core.BATCH * 3)])
    data = {"failCommands": ["getMore"], "appName": "lost-export", **failure}
    sync_db.client.admin.command("configureFailPoint", "failCommand", mode="alwaysOn", data=data)
    try:
        out = tmp_path / "out.ndjson"
        done = cli("export", "a", "--out", str(out), "--uri", f"{server_uri}&appName=lost-export")
    finally:
        sync_db.client.admin.command("configureFailPoint", "failCommand", mode="off")
    assert done.code == 3, done.stderr
    assert done.stdout == ""
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == []


def test_a_full_disk_leaves_no_file(
    server_uri: str, dbname: str, sync_db: SyncDatabase[Any], tmp_path: Path
) -> None:
    """A limit on the size of files stands for the disk's end."""
    sync_db.a.insert_many([{"_id": i, "x": "x" * 100} for i in range(core.BATCH * 3)])
    out = tmp_path / "full" / "out.ndjson"
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


def test_out_dash_is_stdout_and_o_chooses_its_format(
    cli: Runner, sync_db: SyncDatabase[Any], tmp_path: Path
) -> None:
    sync_db.things.insert_one({"_id": 1, "a": "x"})

    assert cli("export", "things", "--out", "-").stdout == '{"_id":1,"a":"x"}\n'
    assert cli("export", "things", "-o", "csv").stdout == "_id,a\n1,x\n"
    assert cli("export", "things", "-o", "json").json() == [{"_id": 1, "a": "x"}]
    refused = cli("export", "things", "--out", str(tmp_path / "x.csv.gz"))
    assert refused.code == 2
    assert list(tmp_path.glob("*.gz")) == []


def test_a_collection_without_documents_is_said(cli: Runner) -> None:
    result = cli("export", "nosuch")
    assert (result.code, result.stdout) == (0, "")
    assert "no such collection" in result.stderr
