"""Imports while the server misbehaves: whatever happens, the books say what is in the collection.

Each case is the program as its user starts it. They all run beside each other, while the server fails their
commands at random (fail points, aimed at their appName) and a proxy loses its answers: the server has
written by then, and nobody is told. Afterwards each case is held against a model of what its records do.

A record that is rejected because no answer came may be written or not. No other doubt is allowed, and with
--resume, once it has come to its end, not even that.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import threading
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import orjson
import pymongo
import pytest
from conftest import command

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

SEED = 20260101
AT_ONCE = 8
MOST_RUNS = 100
BATCH = 30
# About 2 MB: four chunks, and forty batches.
RECORDS = 1000
# Above 4 MB worker processes are started.
ENOUGH_FOR_WORKERS = 2400
PAD = "x" * 2000
UNKNOWN = "it may be written or not"

WRITES = ["insert", "update", "delete"]
# What fails, and of how many commands.
FAULTS: tuple[tuple[float, dict[str, Any]], ...] = (
    (0.04, {"closeConnection": True, "failCommands": [*WRITES, "find"]}),
    (0.04, {"errorCode": 91, "failCommands": [*WRITES, "find"]}),
    (0.04, {"errorCode": 11600, "failCommands": [*WRITES, "find"]}),
    # Done, and then said to be in doubt.
    (0.04, {"writeConcernError": {"code": 91, "errmsg": "shutting down"}, "failCommands": WRITES}),
    (0.04, {"writeConcernError": {"code": 11600, "errmsg": "interrupted"}, "failCommands": WRITES}),
    (0.02, {"writeConcernError": {"code": 64, "errmsg": "timed out"}, "failCommands": WRITES}),
    (0.4, {"blockConnection": True, "blockTimeMS": 50, "failCommands": [*WRITES, "find"]}),
)
LOST_ANSWERS = 0.05
# OP_MSG: a header of 16 bytes, 4 of flags, a kind, the length of a document, its first element's type.
LOSSY = tuple(b"\x02%b\x00" % name for name in (b"insert", b"update", b"delete"))
BODY = 25

Document = dict[str, Any]
Client = pymongo.MongoClient[Document]


@dataclass(frozen=True)
class Case:
    """One way to import. `lossy`: through the proxy, which loses answers; `fails`: the server fails, too."""

    mode: str
    ids: bool = False
    ordered: bool = False
    resume: bool = False
    lossy: bool = False
    fails: bool = True
    retries: int = 3
    records: int = RECORDS

    def __str__(self) -> str:
        flags = [name for name in ("ids", "ordered", "resume", "lossy") if getattr(self, name)]
        more = (
            ["workers"] * (self.records > RECORDS)
            + ["once"] * (self.retries == 1)
            + ["alone"] * (not self.fails)
        )
        return "-".join([self.mode, *flags, *more])

    @property
    def keyed(self) -> bool:
        return self.mode != "insert"

    @property
    def repeats(self) -> bool:
        """Whether some records say again what another has said: the same `_id`, or the same key."""
        return self.ids or self.keyed

    def options(self) -> list[str]:
        chosen = ["--mode", self.mode, "--batch-size", str(BATCH), "--retries", str(self.retries)]
        chosen += ["--key", "n"] if self.keyed else []
        chosen += ["--ordered"] if self.ordered else []
        return chosen + (["--resume"] if self.resume else [])


CASES = (
    Case("insert", lossy=True),
    Case("insert", ids=True, lossy=True),
    Case("insert", ordered=True),
    Case("insert", ids=True, ordered=True, lossy=True),
    Case("insert", retries=1),
    Case("insert", lossy=True, fails=False, retries=1),
    Case("insert", ids=True, lossy=True, fails=False, retries=1),
    Case("insert", ordered=True, lossy=True, fails=False, retries=1),
    Case("insert", resume=True, lossy=True, retries=2),
    Case("insert", resume=True, retries=1),
    Case("insert", ids=True, resume=True, lossy=True, retries=1),
    Case("insert", ordered=True, resume=True, lossy=True, retries=1),
    Case("insert", resume=True, lossy=True, retries=2, records=ENOUGH_FOR_WORKERS),
    Case("upsert", lossy=True),
    Case("upsert", ordered=True),
    Case("upsert", lossy=True, fails=False, retries=1),
    Case("merge", lossy=True, fails=False, retries=1),
    Case("delete", lossy=True, fails=False, retries=1),
    Case("upsert", resume=True, lossy=True, retries=1),
    Case("merge", lossy=True),
    Case("merge", resume=True, retries=1),
    Case("replace", lossy=True),
    Case("replace", resume=True, lossy=True, retries=1),
    Case("skip", lossy=True),
    Case("skip", resume=True, lossy=True, retries=1),
    Case("delete", lossy=True),
    Case("delete", resume=True, lossy=True, retries=1),
)


# --- the records, and what they do -------------------------------------------------------------------


@dataclass(frozen=True)
class Record:
    """A line: the document that it holds, or None where it is no JSON; `n` is its key."""

    n: int
    document: Document | None

    @property
    def text(self) -> bytes:
        return b'{"n":%d,' % self.n if self.document is None else orjson.dumps(self.document)


def records(case: Case) -> list[Record]:
    """Make the file of a case: most lines are good, some are refused by the parser, the validator, an index."""
    made = []
    for number in range(case.records):
        again = case.repeats and number % 89 == 7
        n = number - 3 if again else number
        document: Document = {"n": n, "v": "again" if again else "new", "pad": PAD}
        if number % 83 == 11:
            document["v"] = "bad"
        if case.ids:
            document["_id"] = n
        made.append(Record(n, None if number % 97 == 5 else document))
    return made


def before(case: Case) -> dict[int, Document]:
    """Give what is in the collection before: of three keys one is new, one differs, one stands as it is."""
    there: dict[int, Document] = {}
    for n in range(case.records) if case.keyed else ():
        if n % 3 == 1 or (n % 3 and n % 83 == 11):
            there[n] = {"n": n, "v": "old", "kept": 1}
        elif n % 3:
            there[n] = {"n": n, "v": "new", "pad": PAD}
    return there


def refused(mode: str, record: Record, there: Document | None) -> bool:
    """Say whether a record has to be a reject."""
    if record.document is None:
        return True
    if mode == "delete" or (mode == "skip" and there is not None):
        return False
    if mode == "insert" and "_id" in record.document and there is not None:
        return True
    return record.document["v"] == "bad" or (mode == "replace" and there is None)


def applied(mode: str, record: Record, there: Document | None) -> Document | None:
    """Give what is there after a record that was not refused."""
    assert record.document is not None
    if mode == "delete":
        return None
    if mode == "skip" and there is not None:
        return there
    return {**(there or {}), **record.document} if mode == "merge" else record.document


# --- the trouble -------------------------------------------------------------------------------------


@dataclass
class Trouble:
    """How often the server was made to fail, and how many answers were lost."""

    failed: int = 0
    lost: int = 0


@contextmanager
def failing(uri: str, name: str, trouble: Trouble) -> Iterator[None]:
    """Let the server fail the commands of the clients called `name`: now one way, now another."""
    over = threading.Event()
    chance = random.Random(SEED)

    def change(client: Client, mode: Any, data: Document | None = None) -> int:
        point = {"configureFailPoint": "failCommand", "mode": mode}
        if data is not None:
            point["data"] = {**data, "appName": name}
        return int(client.admin.command(point)["count"])

    def fail() -> None:
        with Client(uri) as client:
            entered = change(client, "off")
            try:
                while not over.is_set():
                    probability, data = chance.choice(FAULTS)
                    change(client, {"activationProbability": probability}, data)
                    over.wait(chance.uniform(0.1, 0.4))
            finally:
                trouble.failed = change(client, "off") - entered

    thread = threading.Thread(target=fail)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def losing(host: str, port: int, trouble: Trouble) -> Iterator[int]:
    """Run a proxy that loses answers to writes together with the connection; yields its port."""
    chance = random.Random(SEED)
    loop = asyncio.new_event_loop()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection(host, port)
        writing = False

        async def ask() -> None:
            nonlocal writing
            while data := await reader.read(1 << 20):
                writing = data.startswith(LOSSY, BODY)
                to_server.write(data)
                await to_server.drain()

        async def answer() -> None:
            while data := await from_server.read(1 << 20):
                if writing and chance.random() < LOST_ANSWERS:
                    trouble.lost += 1
                    return
                writer.write(data)
                await writer.drain()

        both = [asyncio.create_task(half()) for half in (ask, answer)]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for half in both:
                half.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            for end in (writer, to_server):
                end.transport.abort()

    started: asyncio.Server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def close() -> None:
        started.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    try:
        yield int(started.sockets[0].getsockname()[1])
    finally:
        asyncio.run_coroutine_threadsafe(close(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


# --- the runs ----------------------------------------------------------------------------------------


@dataclass
class Finished:
    """What is left when a case is over: its last books, the rejects by line, the collection."""

    codes: list[int]
    stderr: str
    books: dict[str, int]
    rejects: list[Document]
    documents: list[Document]


# Failed, or no server: the same command again is what an operator would do.
GOES_ON = (1, 3)
COUNTS = ("read", "inserted", "updated", "unchanged", "rejected")


def import_(case: Case, home: Path, client: Client, uri: str, database: str) -> Finished:
    """Run a case to its end: once, or with --resume until the import is done."""
    file, rejects = home / f"{case}.ndjson", home / f"{case}.rejects"
    file.write_bytes(b"".join(record.text + b"\n" for record in records(case)))
    collection = client[database][str(case)]
    if case.mode != "delete":
        client[database].create_collection(collection.name, validator={"v": {"$ne": "bad"}})
    if case.keyed:
        collection.create_index("n", unique=True)
        collection.insert_many([dict(document) for document in before(case).values()])
    asked = ["import", str(file), "--into", collection.name, "--rejects", str(rejects), "-o", "json"]
    env = {**os.environ, "MOTORCTL_URI": uri, "MOTORCTL_DB": database}
    codes: list[int] = []
    stderr = ""
    done = None
    while done is None or (case.resume and done.returncode in GOES_ON and len(codes) < MOST_RUNS):
        done = subprocess.run(
            command(*asked, *case.options()), env=env, capture_output=True, timeout=60, check=False, text=True
        )
        codes.append(done.returncode)
        stderr += f"--- {done.returncode}\n{done.stderr}"
    # Without a server that can be asked nothing was begun, and there are no books.
    summary = json.loads(done.stdout) if done.stdout else dict.fromkeys(COUNTS, 0)
    lines = rejects.read_text().splitlines() if rejects.exists() and summary["rejected"] else []
    return Finished(
        codes,
        stderr,
        {name: summary[name] for name in COUNTS},
        [json.loads(line) for line in lines],
        list(collection.find()),
    )


@pytest.fixture(scope="module")
def finished(
    server_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Trouble, dict[Case, Finished]]]:
    """Run all cases, some at a time, while the server fails them."""
    home = tmp_path_factory.mktemp("chaos")
    name = f"chaos-{uuid.uuid4().hex[:8]}"
    database = f"test_{uuid.uuid4().hex[:12]}"
    trouble = Trouble()
    with Client(server_uri) as client:
        client.admin.command("ping")
        assert client.address is not None
        with losing(*client.address, trouble) as proxy, failing(server_uri, name, trouble):

            def run(case: Case) -> Finished:
                lossy = f"mongodb://127.0.0.1:{proxy}/?directConnection=true"
                # A primary that is none only says so by chance here: without this the driver's monitor, which
                # waits for a real change, keeps it from being asked again for ten seconds.
                who = f"&appName={name if case.fails else 'spared'}&heartbeatFrequencyMS=500"
                uri = (lossy if case.lossy else server_uri) + who
                return import_(case, home, client, uri, database)

            with ThreadPoolExecutor(AT_ONCE) as pool:
                ended = dict(zip(CASES, pool.map(run, CASES), strict=True))
        yield trouble, ended
        client.drop_database(database)


def test_there_was_trouble(finished: tuple[Trouble, dict[Case, Finished]]) -> None:
    trouble, ended = finished
    assert trouble.failed > 30
    assert trouble.lost > 10
    assert any("trying again" in case.stderr for case in ended.values())
    assert any(len(case.codes) > 2 for case in ended.values())
    assert any(UNKNOWN in reject["reason"] for case in ended.values() for reject in case.rejects)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_books_are_the_collection(finished: tuple[Trouble, dict[Case, Finished]], case: Case) -> None:
    ended = finished[1][case]
    books, file = ended.books, records(case)
    said = f"{ended.codes} {books}\n{ended.stderr}"
    assert "Traceback" not in ended.stderr, said
    assert "defect" not in ended.stderr, said
    assert books["read"] == books["inserted"] + books["updated"] + books["unchanged"] + books["rejected"], (
        said
    )
    rejected = {reject["line"] - 1: reject for reject in ended.rejects}
    assert len(rejected) == len(ended.rejects) == books["rejected"], said
    if ended.codes[-1] == 7:
        assert books["read"] == case.records, said
        complete(case, file, ended, said)
    else:
        assert not case.resume, said
        assert ended.codes[-1] in (1, 3), said
    hold_against(case, sent(file, books, rejected), rejected, ended, said)


def complete(case: Case, file: Sequence[Record], ended: Finished, said: str) -> None:
    """An import that came to its end has refused what had to be refused, and nothing else."""
    there = dict(before(case))
    expected: Counter[int] = Counter()
    new = 0
    for record in file:
        found = there.get(record.n)
        if refused(case.mode, record, found):
            # Of two records with one `_id` in different batches either may be the first.
            expected[record.n] += 1
        elif (after := applied(case.mode, record, found)) is not None:
            new += found is None
            there[record.n] = after
        else:
            there.pop(record.n, None)
    refusals = Counter(file[reject["line"] - 1].n for reject in ended.rejects)
    assert refusals == expected, said
    assert not [reject for reject in ended.rejects if UNKNOWN in reject["reason"]], said
    assert len(ended.documents) == len(there), said
    # An answer that was lost may have spoken of an insert: what is found then is unchanged.
    assert ended.books["inserted"] <= new, said
    if not case.keyed:
        assert ended.books["inserted"] == new, said


def sent(file: Sequence[Record], books: dict[str, int], rejected: dict[int, Any]) -> dict[int, Record]:
    """Give the records that were handed to the server: the first good ones, in the order of the file."""
    parsed = books["read"] - sum(reject["stage"] == "parse" for reject in rejected.values())
    good = ((line, record) for line, record in enumerate(file) if record.document is not None)
    return dict(islice(good, parsed))


def hold_against(
    case: Case, handed: dict[int, Record], rejected: dict[int, Any], ended: Finished, said: str
) -> None:
    """Each document is what the records that speak of it have made of it; none is there twice."""
    start = before(case)
    possible: dict[int, list[Document | None]] = {n: [document] for n, document in start.items()}
    for line, record in handed.items():
        states = possible.get(record.n, [None])
        after = [applied(case.mode, record, there) for there in states]
        if line not in rejected:
            possible[record.n] = after
        elif UNKNOWN in rejected[line]["reason"]:
            possible[record.n] = states + after
        else:
            possible[record.n] = states
    found: dict[int, Document] = {}
    for document in ended.documents:
        n = document["n"]
        assert n not in found, f"{n} is there twice\n{said}"
        found[n] = {name: value for name, value in document.items() if name != "_id" or case.ids}
    wrong = [n for n in possible.keys() | found.keys() if found.get(n) not in possible.get(n, [None])]
    shown = [(n, shortened(found.get(n)), list(map(shortened, possible.get(n, [None])))) for n in wrong[:5]]
    assert not wrong, f"{len(wrong)} keys, for example (key, found, possible): {shown}\n{said}"


def shortened(document: Document | None) -> Document | None:
    return document and {name: value for name, value in document.items() if name != "pad"}
