"""How fast `motorctl import` is beside mongoimport and the wire itself, and how much memory it takes.

    MONGOIMPORT=/path/to/mongoimport python tests/benchmarks/ingest.py [--documents 300000] [--rounds 3]

Every run writes into a fresh collection and is checked afterwards: a program that loses a document ends
the benchmark.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import shutil
import tempfile
import time
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bson
import orjson
import pymongo
from bson.raw_bson import RawBSONDocument
from measure import environment, machine, medians, motorctl, peak_memory, say, seconds, server, table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pymongo.collection import Collection

SEED = 20260101
FIRST_DAY = datetime(2025, 7, 1, tzinfo=UTC)
CITIES = ("Berlin", "Lisbon", "Lyon", "Porto", "Utrecht", "Vienna")
CHANNELS = ("app", "gift", "phone", "shop", "web")
STATUS = ("cancelled", "completed", "pending", "refunded")
KEY = "order_no"

UPSERTS = 50_000
BATCH = 1000
WORKERS = (1, 2, 4)

CEILING = "raw wire ceiling"
OURS = "motorctl"


@dataclass(frozen=True)
class Work:
    """One thing to import.

    `as_wire`: its documents are the ones that the ceiling is measured with. `known`: so many of the keys
    are in the collection before, with documents that differ.
    """

    name: str
    file: Path
    documents: int
    peer_format: tuple[str, ...]
    as_wire: bool = False
    upsert: bool = False
    known: int = 0

    def ours(self) -> list[str]:
        mode = ("--mode", "upsert", "--key", KEY) if self.upsert else ()
        return motorctl("import", str(self.file), "--into", "orders", *mode)

    def peer(self, program: str, uri: str, database: str, workers: int) -> list[str]:
        mode = ("--mode", "upsert", "--upsertFields", KEY) if self.upsert else ()
        target = ("--uri", uri, "--db", database, "--collection", "orders", "--quiet")
        return [program, *target, "-j", str(workers), *self.peer_format, *mode, "--file", str(self.file)]


@dataclass(frozen=True)
class Bench:
    """The server's side of a run: where it writes, and whether everything arrived."""

    uri: str
    database: str
    collection: Collection[Any]

    @property
    def env(self) -> dict[str, str]:
        return environment(self.uri, self.database)

    def prepare(self, work: Work) -> None:
        self.collection.drop()
        if work.upsert:
            self.collection.create_index(KEY, unique=True)
        if work.known:
            old = ({**order, "status": "old"} for order in orders(work.known))
            self.collection.insert_many(old)

    def check(self, work: Work) -> None:
        count = self.collection.count_documents({})
        untouched = self.collection.count_documents({"status": "old"})
        if count != work.documents or untouched:
            raise SystemExit(f"{work.name}: {count} of {work.documents} documents, {untouched} not updated")

    def run(self, work: Work, command: Sequence[str]) -> float:
        """Return the seconds of a whole process that does the work."""
        self.prepare(work)
        took = seconds(command, self.env)
        self.check(work)
        return took

    def memory(self, work: Work, command: Sequence[str]) -> int:
        """Return the peak bytes of a process tree that does the work."""
        self.prepare(work)
        peak = peak_memory(command, self.env)
        self.check(work)
        return peak

    def wire(self, batches: Sequence[Sequence[RawBSONDocument]]) -> float:
        """Return the seconds that the server needs for ready-made BSON, a batch after the other."""
        self.collection.drop()
        begun = time.perf_counter()
        for batch in batches:
            self.collection.insert_many(batch, ordered=False)
        return time.perf_counter() - begun


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--documents", type=int, default=300_000, help="documents a file (300000)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each program and file (3)")
    arguments = parser.parse_args()
    documents: int = arguments.documents
    peer = os.environ.get("MONGOIMPORT") or shutil.which("mongoimport")
    database = f"benchmark_{uuid.uuid4().hex[:12]}"
    with (
        tempfile.TemporaryDirectory(prefix="motorctl-benchmark-") as home,
        server() as uri,
        pymongo.MongoClient[Any](uri) as client,
    ):
        bench = Bench(uri, database, client[database].orders)
        try:
            whole = files(Path(home), documents)
            upserts = files(Path(home), min(UPSERTS, documents))[0]
            say(f"{machine()}; {sizes(whole, documents)}")
            say(speed(bench, [*whole, *upsert_works(upserts)], peer, arguments.rounds))
            say(machine())
            if Path("/proc/self/smaps_rollup").exists():
                say(memory(bench, files(Path(home), documents // 3), whole, peer))
        finally:
            client.drop_database(database)


def speed(bench: Bench, works: Sequence[Work], peer: str | None, rounds: int) -> str:
    """Return the table of documents a second."""
    batches = ready_made(works[0].documents)
    runs: dict[tuple[str, str], Callable[[], float]] = {(CEILING, ""): partial(bench.wire, batches)}
    for work in works:
        runs[work.name, OURS] = partial(bench.run, work, work.ours())
        for workers in WORKERS if peer else ():
            command = work.peer(str(peer), bench.uri, bench.database, workers)
            runs[work.name, f"-j {workers}"] = partial(bench.run, work, command)
    took = medians(runs, rounds)

    ceiling = works[0].documents / took[CEILING, ""]
    rows = []
    for work in works:
        ours = work.documents / took[work.name, OURS]
        row = [work.name, f"{ours:,.0f}", "-", "-", "-"]
        if peer:
            best = min(WORKERS, key=lambda workers: took[work.name, f"-j {workers}"])
            theirs = work.documents / took[work.name, f"-j {best}"]
            row[2:4] = [f"{theirs:,.0f} (-j {best})", f"{ours / theirs:.2f}"]
        if work.as_wire:
            row[4] = f"{ours / ceiling:.2f}"
        rows.append(row)
    rows.append([CEILING, f"{ceiling:,.0f}", "-", "-", "1.00"])
    titles = [f"documents a second, median of {rounds}", OURS, "mongoimport, best", "ratio", "of the ceiling"]
    return table(titles, rows)


def memory(bench: Bench, third: Sequence[Work], whole: Sequence[Work], peer: str | None) -> str:
    """Return the table of peak memory at a third of the documents and at all of them."""
    rows = []
    for small, large in zip(third, whole, strict=True):
        peaks = [bench.memory(work, work.ours()) for work in (small, large)]
        row = [large.name, *(megabytes(peak) for peak in peaks), f"{peaks[1] / peaks[0]:.2f}", "-"]
        if peer:
            command = large.peer(peer, bench.uri, bench.database, WORKERS[-1])
            row[-1] = megabytes(bench.memory(large, command))
        rows.append(row)
    counts = [f"{work.documents:,}" for work in (third[0], whole[0])]
    return table(["peak memory", *counts, "growth", f"mongoimport -j {WORKERS[-1]}, {counts[1]}"], rows)


def megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB"


def sizes(works: Sequence[Work], documents: int) -> str:
    """Say how large a document is in each of its forms."""
    forms = [f"{work.file.stat().st_size / documents:.0f} bytes {work.name}" for work in works]
    encoded = sum(len(document.raw) for document in ready(orders(BATCH))) / BATCH
    return f"an order has {', '.join(forms)}, {encoded:.0f} bytes BSON"


def orders(count: int) -> Iterator[dict[str, Any]]:
    """Yield `count` orders, the same ones at each run; fewer of them are the first ones of more."""
    chance = random.Random(SEED)
    for number in range(count):
        lines: list[dict[str, Any]] = [
            {
                "sku": f"p-{chance.randrange(1000):04}",
                "qty": chance.randrange(1, 4),
                "price": chance.randrange(100, 9000) / 100,
            }
            for _ in range(2)
        ]
        yield {
            KEY: f"order-{number:08}",
            "user_id": bson.ObjectId(f"{0x65000000 + chance.randrange(5000):08x}{'0' * 16}"),
            "created_at": FIRST_DAY + timedelta(milliseconds=chance.randrange(365 * 86_400_000)),
            "status": chance.choice(STATUS),
            "amount": round(sum(line["qty"] * line["price"] for line in lines), 2),
            "ship_to": {
                "city": chance.choice(CITIES),
                "postcode": f"{chance.randrange(100_000):05}",
                "gift": chance.random() < 0.1,
            },
            "lines": lines,
            "tags": chance.sample(CHANNELS, 2),
        }


def files(home: Path, documents: int) -> list[Work]:
    """Write the first `documents` orders as NDJSON, JSON array and CSV; return the three as work to do."""
    ndjson, array, table_ = (home / f"orders-{documents}{ending}" for ending in (".ndjson", ".json", ".csv"))
    with ndjson.open("wb") as lines, array.open("wb") as elements, table_.open("w", newline="") as rows:
        writer = csv.writer(rows, lineterminator="\n")
        for number, order in enumerate(orders(documents)):
            text = orjson.dumps(order, default=extended, option=orjson.OPT_PASSTHROUGH_DATETIME)
            lines.write(text + b"\n")
            elements.write((b",\n" if number else b"[\n") + text)
            flat = flattened(order)
            if not number:
                writer.writerow(flat)
            writer.writerow(flat.values())
        elements.write(b"\n]\n")
    return [
        Work("NDJSON", ndjson, documents, ("--type", "json"), as_wire=True),
        Work("JSON array", array, documents, ("--type", "json", "--jsonArray"), as_wire=True),
        Work("CSV", table_, documents, ("--type", "csv", "--headerline")),
    ]


def upsert_works(inserts: Work) -> list[Work]:
    """Make of an NDJSON file two upserts: one that finds nothing, one that changes every document."""
    new = replace(inserts, name=f"upsert {inserts.documents:,}, all new", as_wire=False, upsert=True)
    known = replace(new, name=f"upsert {new.documents:,}, all known", known=new.documents)
    return [new, known]


def extended(value: Any) -> dict[str, str]:
    """Give the relaxed Extended JSON of an id or a date."""
    if isinstance(value, bson.ObjectId):
        return {"$oid": str(value)}
    if isinstance(value, datetime):
        return {"$date": iso(value)}
    raise TypeError(type(value))


def flattened(order: dict[str, Any]) -> dict[str, Any]:
    """Give the columns of an order: dotted names for what is nested, JSON for arrays."""
    flat: dict[str, Any] = {}
    for name, value in order.items():
        match value:
            case dict():
                flat |= {f"{name}.{inner}": cell for inner, cell in value.items()}
            case list():
                flat[name] = orjson.dumps(value).decode()
            case datetime():
                flat[name] = iso(value)
            case _:
                flat[name] = value
    return flat


def iso(date: datetime) -> str:
    return date.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def ready(found: Iterator[dict[str, Any]]) -> Iterator[RawBSONDocument]:
    """Encode orders with ids of their own, so that the driver has nothing left to do."""
    for order in found:
        yield RawBSONDocument(bson.encode({"_id": bson.ObjectId(), **order}))


def ready_made(count: int) -> list[list[RawBSONDocument]]:
    documents = list(ready(orders(count)))
    return [documents[start : start + BATCH] for start in range(0, count, BATCH)]


if __name__ == "__main__":
    main()
