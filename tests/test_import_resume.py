"""`motorctl import --resume`: killed at any moment, the same command goes on, and each record is there once.

Most runs are forked from a process that has imported everything, with small chunks and a short pause
between two checkpoints: twenty kills in one import take seconds then, and it is the same program. One
test runs it as it is.
"""

from __future__ import annotations

import bz2
import gzip
import json
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import every_command
import pytest
from conftest import command, until

from motorctl.core.ingest.resuming.fingerprint import COLLECTION

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Runner
    from pymongo.database import Database

    SyncDatabase = Database[dict[str, Any]]

RECORDS = 12_000
KILLS = 20
BAD = 97
"""Every 97th record can't be read; with `_id`s, every 101st is followed by another of the same `_id`."""
TWICE = 101

FORK = """
import json, os, sys
from motorctl.core.ingest.reading import split
split.CHUNK = 16 * 1024
from motorctl.core.ingest.resuming import checkpoint
from motorctl.core.ingest import engine
checkpoint.SAVE_SECONDS, checkpoint.SAVE_SHARE, engine.WORKERS_PAY = 0.02, 1.0, 100_000
import motor.motor_asyncio, pymongo
import motorctl.client, motorctl.commands.import_, motorctl.commands.import_run, motorctl.output
from motorctl import cli
for line in sys.stdin:
    arguments, stdout, stderr = json.loads(line)
    child = os.fork()
    if not child:
        for number, path in enumerate((os.devnull, stdout, stderr)):
            os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), number)
        code = cli.main(arguments)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@dataclass
class Forks:
    """Runs of the program, one after the other, each in a process of its own."""

    process: subprocess.Popen[str]
    path: Path

    def start(self, *arguments: str) -> int:
        """Start one; return its process id."""
        files = [str(self.path / name) for name in ("stdout", "stderr")]
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([arguments, *files]) + "\n")
        self.process.stdin.flush()
        return self._number()

    def end(self) -> int:
        """Wait for the end of the one that was started; return its exit code, negative for a signal's."""
        return self._number()

    def stdout(self) -> str:
        return (self.path / "stdout").read_text()

    def stderr(self) -> str:
        return (self.path / "stderr").read_text()

    def _number(self) -> int:
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())


@pytest.fixture(scope="module")
def forks(server_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    path = tmp_path_factory.mktemp("forks")
    ours = {"MOTORCTL_URI": server_uri, "XDG_CONFIG_HOME": str(path)}
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MOTORCTL_")}
    with subprocess.Popen(
        [sys.executable, "-c", FORK],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**clean, **ours},
        text=True,
    ) as process:
        yield Forks(process, path)
        assert process.stdin is not None
        process.stdin.close()


def records(*, ids: bool) -> Iterator[dict[str, Any]]:
    """Make the records of an input: `n` counts them."""
    chance = random.Random(4)
    n = 0
    while n < RECORDS:
        record = {"n": n, "text": "é" * chance.randrange(40), "items": [n, {"q": chance.random()}]}
        if n % BAD == 5:
            record["ref"] = {"$oid": "no id"}
        if ids:
            record = {"_id": f"id {n}", **record}
        yield record
        n += 1
        if ids and n % TWICE == 50 and n % BAD != 6:
            yield {**record, "n": n}
            n += 1


def refused(n: int, *, ids: bool) -> bool:
    """Whether record `n` is one that can't be written."""
    return n % BAD == 5 or (ids and is_second(n))


def first(n: int, *, ids: bool) -> int:
    """Of two records with one `_id`, in batches that were on their way together, either may have come first."""
    return n - 1 if ids and is_second(n) else n


def is_second(n: int) -> bool:
    """Whether record `n` has the `_id` of the one before it."""
    return str(BY_N[n]["_id"]) != f"id {n}"


BY_N = {record["n"]: record for record in records(ids=True)}


def lines(*, ids: bool) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records(ids=ids))


def array(*, ids: bool) -> bytes:
    return b"[\n" + b",\n".join(json.dumps(record).encode() for record in records(ids=ids)) + b"\n]\n"


def objects(*, ids: bool) -> bytes:
    return b"".join(json.dumps(record, indent=1).encode() + b"\n" for record in records(ids=ids))


def table(*, ids: bool) -> bytes:
    rows = [b"n,_id,text,x\n" if ids else b"n,text,x\n"]
    for record in records(ids=ids):
        n = str(record["n"]) if "ref" not in record else f"bad{record['n']}"
        cells = [n, *([record["_id"]] if ids else []), f'"{record["text"]}\n, ""quoted"""', "y" * 99]
        rows.append(",".join(cells).encode() + b"\n")
    return b"".join(rows)


def same(data: bytes) -> bytes:
    return data


@pytest.mark.parametrize(
    ("make", "pack", "name", "ids", "workers"),
    [
        (lines, same, "a.ndjson", False, 2),
        (lines, same, "a.ndjson", True, 0),
        (lines, gzip.compress, "a.ndjson.gz", False, 0),
        (lines, zstd.compress, "a.ndjson.zst", False, 0),
        (table, bz2.compress, "a.csv.bz2", False, 0),
        (array, same, "a.json", False, 0),
        (array, gzip.compress, "a.json.gz", True, 0),
        (objects, same, "a.json", False, 0),
        (table, same, "a.csv", True, 1),
    ],
)
def test_killed_twenty_times(
    forks: Forks,
    cli: Runner,
    sync_db: SyncDatabase,
    tmp_path: Path,
    make: Callable[..., bytes],
    pack: Callable[[bytes], bytes],
    name: str,
    ids: bool,
    workers: int,
) -> None:
    file = tmp_path / name
    file.write_bytes(pack(make(ids=ids)))
    rejects = tmp_path / "rejects.ndjson"
    arguments = ["import", str(file), "--into", "c", "--resume", "--rejects", str(rejects), "-o", "json"]
    arguments += ["--workers", str(workers), "--batch-size", "40", "--name", "x", "--db", sync_db.name]
    if make is table:
        arguments += ["--types", "n:int32"]
    chance = random.Random(name)
    kills = 0
    while True:
        pid = forks.start(*arguments)
        if kills < KILLS:
            kill_at_random(pid, sync_db, chance, kills)
            kills += 1
        code = forks.end()
        if code != -signal.SIGKILL:
            break
    assert code == 7, forks.stderr()
    assert kills == KILLS, "the import was over too soon"
    summary = json.loads(forks.stdout())
    bad = [n for n in range(RECORDS) if refused(n, ids=ids)]
    good = sorted(set(range(RECORDS)) - set(bad))
    assert sorted(first(document["n"], ids=ids) for document in sync_db.c.find({}, {"n": 1})) == good
    assert [summary[key] for key in ("read", "inserted", "updated", "unchanged", "rejected")] == [
        RECORDS, len(good), 0, 0, len(bad),
    ]  # fmt: skip
    told = [json.loads(line) for line in rejects.read_bytes().splitlines()]
    numbers = [number_of(reject["record"]) for reject in told]
    assert numbers == sorted(numbers)
    assert [first(n, ids=ids) for n in numbers] == [first(n, ids=ids) for n in bad]
    text = make(ids=ids)
    assert all(text[r["byte_offset"] :].startswith(r["record"].encode()) for r in told)
    assert all(text.count(b"\n", 0, r["byte_offset"]) == r["line"] - 1 for r in told)
    shown = cli("import", "status", "x", "-o", "json").json()
    assert (shown["state"], shown["totals"]["read"], shown["totals"]["percent"]) == ("done", RECORDS, 100.0)
    assert shown["parts"][0]["runs"] > KILLS / 2


def kill_at_random(pid: int, db: SyncDatabase, chance: random.Random, kills: int) -> None:
    """Kill a run: some as they begin, others when they have written a part of what is left."""
    goal = RECORDS * (kills + chance.random()) / (KILLS + 2)
    pause = chance.random() * 0.1
    if kills % 4 == 0:
        time.sleep(pause)
    else:
        while db.c.estimated_document_count() < goal and not ended(pid):
            time.sleep(0.001)
        time.sleep(pause / 20)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def number_of(record: str) -> int:
    """Find `n` in the text of a record."""
    found = re.search(r'"n":\s*(\d+)', record) or re.match(r"(?:bad)?(\d+)", record)
    assert found is not None
    return int(found[1])


def test_killed_as_users_run_it(server_uri: str, dbname: str, sync_db: SyncDatabase, tmp_path: Path) -> None:
    file = tmp_path / "a.ndjson"
    count = 20_000
    file.write_text("".join(f'{{"n": {n}, "text": "{"x" * 200}"}}\n' for n in range(count)))
    arguments = command("import", str(file), "--into", "c", "--resume", "--ordered", "--batch-size", "40")
    target = {**os.environ, "MOTORCTL_URI": server_uri, "MOTORCTL_DB": dbname}
    chance = random.Random(4)
    for kills in range(2):
        with subprocess.Popen(
            arguments, env=target, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            goal = count * (kills + chance.random()) / 3
            until(lambda goal=goal: sync_db.c.estimated_document_count() > goal, "progress")
            process.kill()
        assert process.returncode == -signal.SIGKILL
    done = subprocess.run(
        [*arguments, "-o", "json"], env=target, capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["read"], summary["inserted"], summary["rejected"]) == (count, count, 0)
    assert len(sync_db.c.distinct("n")) == sync_db.c.count_documents({}) == count


def write(path: Path, count: int, first: int = 0) -> str:
    path.write_text("".join(f'{{"n": {n}}}\n' for n in range(first, first + count)))
    return str(path)


def test_a_finished_import_has_nothing_to_do(cli: Runner, sync_db: SyncDatabase, tmp_path: Path) -> None:
    file = write(tmp_path / "a.ndjson", 10)
    for _ in range(2):
        done = cli("import", file, "--into", "c", "--resume", "-o", "json")
        assert (done.code, done.json()["read"], done.json()["inserted"]) == (0, 10, 10)
    assert "nothing to do" in done.stderr
    assert sync_db.c.count_documents({}) == 10
    write(tmp_path / "a.ndjson", 5, first=10)
    anew = cli("import", file, "--into", "c", "--resume", "-o", "json")
    assert (anew.code, anew.json()["read"], anew.json()["resumed_from"]) == (0, 5, None)
    assert sync_db.c.count_documents({}) == 15


def stop(db: SyncDatabase) -> None:
    """Make the states look as if their runs had been killed."""
    db[COLLECTION].update_many({}, {"$set": {"state": "running", "owner.process": "boot/0"}})


def test_an_unfinished_import_of_a_changed_file_is_refused(
    cli: Runner, sync_db: SyncDatabase, tmp_path: Path
) -> None:
    file = write(tmp_path / "a.ndjson", 10)
    arguments = ("import", file, "--into", "c", "--resume", "-o", "json")
    cli(*arguments)
    stop(sync_db)
    write(tmp_path / "a.ndjson", 11)
    refused = cli(*arguments)
    assert refused.code == 2
    assert "is unfinished and can't be resumed" in refused.error()["message"]
    name = f"c/{file.lstrip('/')}"
    assert f"motorctl import forget {name}" in refused.error()["hint"]
    assert sync_db.c.count_documents({}) == 10
    asked = cli("import", "forget", name)
    assert asked.code == 2
    told = cli("import", "forget", name, "--dry-run", "-o", "json").json()
    assert (told["action"], told["status"], told["read"]) == ("forget", "planned", 10)
    assert cli("import", "forget", name, "--yes").code == 0
    assert cli(*arguments).code == 0
    assert sync_db.c.count_documents({}) == 21


def test_of_two_at_once_one_is_refused(
    server_uri: str, dbname: str, cli: Runner, sync_db: SyncDatabase, tmp_path: Path
) -> None:
    file = write(tmp_path / "a.ndjson", 300_000)
    arguments = ("import", file, "--into", "c", "--resume", "--name", "x", "--ordered", "--batch-size", "20")
    target = {**os.environ, "MOTORCTL_URI": server_uri, "MOTORCTL_DB": dbname}
    with subprocess.Popen(
        command(*arguments), env=target, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        until(sync_db.c.estimated_document_count, "progress")
        refused = cli(*arguments, "-o", "json")
        assert refused.code == 1
        assert f"import x is being run by process {process.pid} on" in refused.error()["message"]
        assert cli("import", "forget", "x", "--yes").code == 1
        (row,) = cli("import", "status", "-o", "json").json()
        assert (row["name"], row["state"], row["parts"]) == ("x", "running", 1)
        process.kill()
        process.wait()
        (row,) = cli("import", "status", "-o", "json").json()
        assert (row["state"], row["reason"]) == ("stopped", "its process has ended")


def test_parts_are_shown_together(cli: Runner, sync_db: SyncDatabase, tmp_path: Path) -> None:
    file = write(tmp_path / "a.ndjson", 1000)
    for part in (1, 3):
        done = cli("import", file, "--into", "c", "--part", f"{part}/3", "--name", "x", "-o", "json")
        assert done.code == 0, done.stderr
    found = cli("import", "status", "x", "-o", "json").json()
    assert (found["state"], found["reason"]) == ("stopped", "part 2 of 3 has not begun")
    assert [part["state"] for part in found["parts"]] == ["done", "not begun", "done"]
    other = cli("import", file, "--into", "c", "--part", "1/2", "--name", "x", "-o", "json")
    assert (other.code, other.error()["message"]) == (
        2,
        "import x was begun in 3 parts, and is now wanted in 2 parts",
    )
    cli("import", file, "--into", "c", "--part", "2/3", "--name", "x")
    (row,) = cli("import", "status", "-o", "json").json()
    assert (row["state"], row["parts_done"], row["read"], row["percent"]) == ("done", 3, 1000, 100.0)
    assert sorted(document["n"] for document in sync_db.c.find()) == list(range(1000))


def test_what_status_shows_to_a_person(cli: Runner, sync_db: SyncDatabase, tmp_path: Path) -> None:
    file = write(tmp_path / "a.ndjson", 10)
    assert cli("import", "status").code == 0
    cli("import", file, "--into", "c", "--resume", "--name", "x")
    sync_db[COLLECTION].update_many({}, {"$set": {"seconds": 0.5}})
    listed = cli("import", "status", "--output", "markdown").stdout.splitlines()
    assert listed[0] == "| name | state | parts | percent | read | rejected |"
    assert listed[2] == "| x | done | 1/1 | 100 % | 10 | 0 |"
    table = cli("import", "status", "--output", "csv").stdout.splitlines()
    assert table[0] == (
        "name,into,state,parts,percent,read,rejected,inserted,updated,unchanged,seconds,updated_at,reason"
    )
    assert table[1].startswith("x,c,done,1/1,100.0,10,0,10,0,0,0.5,")
    shown = cli("import", "status", "x").stdout.splitlines()
    assert shown[0].split() == "what state read inserted updated unchanged rejected percent".split()
    assert shown[1].split()[:3] == ["a.ndjson", "done", "10"]
    assert shown[2].split()[:3] == ["all", "done", "10"]
    unknown = cli("import", "status", "y", "-o", "json")
    assert (unknown.code, unknown.error()["message"]) == (5, "no import 'y' is known")


def test_stdin_cannot_be_resumed(cli: Runner) -> None:
    refused = cli("import", "-", "--into", "c", "--resume", "-o", "json", stdin='{"n": 1}\n')
    assert refused.code == 2
    assert refused.error()["message"] == "--resume needs files, and stdin can be read only once"


def test_one_more_file_is_all_that_is_imported(cli: Runner, sync_db: SyncDatabase, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    write(folder / "b.ndjson", 10)
    again = ("import", str(folder), "--into", "c", "--resume", "-o", "json")
    assert cli(*again).json()["inserted"] == 10
    write(folder / "a.ndjson", 5)
    (folder / "b.ndjson").touch()
    done = cli(*again)
    assert "1 of 2 files are new or have changed" in done.stderr
    assert done.json()["read"] == 15
    assert sync_db.c.count_documents({}) == 15
    assert "nothing to do" in cli(*again).stderr


def test_a_finished_import_touches_no_file(cli: Runner, tmp_path: Path) -> None:
    file = tmp_path / "a.ndjson"
    file.write_text('{"n":1}\n{"n":2,}\n')
    rejects = tmp_path / "bad.ndjson"
    again = ("import", str(file), "--into", "c", "--resume", "--rejects", str(rejects))
    assert cli(*again).code == 7
    rejects.write_text("something else, and longer than what was there before" * 20)
    done = cli(*again)
    assert "nothing to do" in done.stderr
    assert rejects.read_text().startswith("something else")
    assert rejects.stat().st_size == 53 * 20


def test_parts_share_one_input(cli: Runner, sync_db: SyncDatabase, tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d"):
        write(tmp_path / f"{name}.ndjson", 3)
    arguments = ("import", f"{tmp_path}/*.ndjson", "--into", "c", "--name", "x", "--part")
    assert cli(*arguments, "1/2").code == 0
    write(tmp_path / "0.ndjson", 3)
    refused = cli(*arguments, "2/2")
    assert refused.code == 2
    assert "another input" in refused.stderr
    (tmp_path / "0.ndjson").unlink()
    assert cli(*arguments, "2/2").code == 0
    assert sync_db.c.count_documents({}) == 12


def test_rejects_that_a_full_disk_refused_are_met_again(
    cli: Runner, server_uri: str, dbname: str, tmp_path: Path
) -> None:
    file = tmp_path / "a.ndjson"
    file.write_text("".join(f'{{"n":{n}}}\n' if n % 50 else f'{{"n":{n},}}\n' for n in range(30_000)))
    rejects = tmp_path / "bad.ndjson"
    arguments = ("import", str(file), "--into", "c", "--resume", "--rejects", str(rejects))
    environment = {**os.environ, "MOTORCTL_URI": server_uri, "MOTORCTL_DB": dbname}
    limited = f"ulimit -f 20; exec {shlex.join(command(*arguments))}"
    first = subprocess.run(["bash", "-c", limited], env=environment, capture_output=True, check=False)
    assert first.returncode == 1, first.stderr
    left = rejects.read_bytes()
    assert left == b"" or left.endswith(b"\n")
    done = cli(*arguments, "-o", "json")
    assert done.json()["rejected"] == 600
    lines = [json.loads(line)["line"] for line in rejects.read_text().splitlines()]
    assert lines == [n + 1 for n in range(0, 30_000, 50)]


def test_a_time_series_cannot_be_resumed(cli: Runner, sync_db: SyncDatabase, tmp_path: Path) -> None:
    sync_db.create_collection("t", timeseries={"timeField": "at"})
    file = tmp_path / "t.ndjson"
    file.write_text('{"at":{"$date":"2024-01-01T00:00:00Z"}}\n' * 3)
    refused = cli("import", str(file), "--into", "t", "--resume")
    assert refused.code == 2
    assert "a time series, in which nothing keeps a record from being there twice" in refused.stderr
    assert cli("import", str(file), "--into", "t").code == 0
    assert sync_db.t.count_documents({}) == 3


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"_id": "x"}, "name"),
        ({"_id": "x", "name": "x"}, "into"),
        ({"_id": "x", "name": "x", "files": 5}, "files"),
        ({"_id": "x", "name": "x", "files": [{"file": "a"}]}, "files.0.size"),
        ({"_id": "x", "name": "x", "owner": {"host": "h"}}, "owner.pid"),
        ({"_id": "x", "name": "x", "part": 3}, "part"),
        ({"_id": "x", "name": "x", "claim": None}, "claim"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_document_that_is_no_state_is_named_and_left(
    cli: Runner, sync_db: SyncDatabase, tmp_path: Path, document: dict[str, Any], field: str
) -> None:
    """Somebody else has put it there, or another version: it hides nothing, and is not taken for an import."""
    every_command.fill(sync_db, "import status")
    there = sync_db.motorctl_imports.find_one({}) or {}
    foreign = document if len(document) < 3 else {**there, **document}
    sync_db.motorctl_imports.insert_one(foreign)
    (tmp_path / "in.ndjson").write_text('{"a": 1}\n')

    said = "has a document that is no state of an import: _id 'x', its field "
    listed = cli("import", "status", "-o", "json")
    assert ([row["name"] for row in listed.json()], listed.code) == (["old/file"], 0)
    assert said in listed.stderr
    for words in (
        ("import", "status", "x"),
        ("import", "forget", "x", "--yes"),
        ("import", str(tmp_path / "in.ndjson"), "--into", "t", "--name", "x", "--resume"),
    ):
        done = cli(*words)
        if "name" in foreign or words[1] not in ("status", "forget"):
            assert (done.code, said in done.stderr, "hint: " in done.stderr) == (1, True, True), done
            assert f"its field {field}" in done.stderr or len(document) < 3
        else:
            assert done.code == 5
    assert sync_db.motorctl_imports.find_one({"_id": "x"}) == foreign
    assert sync_db.t.count_documents({}) == 0
