"""How fast `motorctl export` is beside mongoexport, and how much memory it takes.

    MONGOEXPORT=/path/to/mongoexport python tests/benchmarks/export.py [--documents 300000] [--rounds 3]

Both write the same collection to a file, whole processes from start to end. Every file is checked
afterwards: a program that leaves out a document ends the benchmark.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import uuid
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pymongo
from measure import environment, machine, medians, motorctl, peak_memory, say, seconds, server, table
from orders import BATCH, flattened, orders, ready

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

OURS = "motorctl"
PEER = "mongoexport"
SOME_COLUMNS = "_id,order_no,status,amount"


@dataclass(frozen=True)
class Work:
    """One way to write a collection: `ours` and `peers` are options; `peers` is None where it has no like."""

    name: str
    ending: str
    ours: tuple[str, ...] = ()
    peers: tuple[str, ...] | None = ()
    header: int = 0


@dataclass(frozen=True)
class Bench:
    """A collection, and where its exports go."""

    uri: str
    database: str
    documents: int
    home: Path

    @property
    def env(self) -> dict[str, str]:
        return environment(self.uri, self.database)

    def ours(self, work: Work) -> list[str]:
        return motorctl("export", "orders", "--out", str(self.file(work)), *work.ours, "--quiet")

    def peers(self, work: Work, program: str) -> list[str]:
        source = ("--uri", self.uri, "--db", self.database, "--collection", "orders", "--quiet")
        return [program, *source, *(work.peers or ()), "--out", str(self.file(work))]

    def file(self, work: Work) -> Path:
        return self.home / f"orders.{work.ending}"

    def run(self, work: Work, command: Sequence[str]) -> float:
        """Return the seconds of a whole process that writes everything."""
        self.file(work).unlink(missing_ok=True)
        took = seconds(command, self.env)
        self.check(work)
        return took

    def check(self, work: Work) -> None:
        """Count the lines: no order has a line end in it."""
        if work.ending in {"ndjson", "csv"}:
            with self.file(work).open("rb") as file:
                lines = sum(block.count(b"\n") for block in iter(partial(file.read, 1 << 20), b""))
            if lines != self.documents + work.header:
                raise SystemExit(f"{work.name}: {lines - work.header} of {self.documents} documents")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--documents", type=int, default=300_000, help="documents to export (300000)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each program and format (3)")
    arguments = parser.parse_args()
    documents: int = arguments.documents
    peer = os.environ.get("MONGOEXPORT") or shutil.which("mongoexport")
    database = f"benchmark_{uuid.uuid4().hex[:12]}"
    with (
        tempfile.TemporaryDirectory(prefix="motorctl-benchmark-") as home,
        server() as uri,
        pymongo.MongoClient[Any](uri) as client,
    ):
        whole = Bench(uri, database, documents, Path(home))
        try:
            fill(client[database].orders, documents)
            say(machine())
            say(speed(whole, works(), peer, arguments.rounds))
            say(machine())
            if Path("/proc/self/smaps_rollup").exists():
                third = Bench(uri, f"{database}_third", documents // 3, Path(home))
                fill(client[third.database].orders, third.documents)
                say(memory(third, whole, works()[0], peer))
        finally:
            client.drop_database(database)
            client.drop_database(f"{database}_third")


def fill(collection: pymongo.collection.Collection[Any], documents: int) -> None:
    found = ready(orders(documents))
    while batch := list(islice(found, BATCH)):
        collection.insert_many(batch)


def works() -> list[Work]:
    columns = ",".join(["_id", *flattened(next(orders(1)))])
    return [
        Work("NDJSON", "ndjson"),
        Work("NDJSON, canonical", "ndjson", ("--canonical",), ("--jsonFormat", "canonical")),
        Work("JSON array", "json", (), ("--jsonArray",)),
        Work(
            "CSV, all columns", "csv", ("--fields", columns), ("--type", "csv", "--fields", columns), header=1
        ),
        Work(
            "CSV, four columns",
            "csv",
            ("--fields", SOME_COLUMNS),
            ("--type", "csv", "--fields", SOME_COLUMNS),
            header=1,
        ),
        Work("NDJSON, gzip", "ndjson.gz", peers=None),
        Work("NDJSON, zstd", "ndjson.zst", peers=None),
    ]


def speed(bench: Bench, found: Sequence[Work], peer: str | None, rounds: int) -> str:
    """Return the table of documents a second."""
    runs: dict[tuple[str, str], Callable[[], float]] = {}
    for work in found:
        runs[work.name, OURS] = partial(bench.run, work, bench.ours(work))
        if peer and work.peers is not None:
            runs[work.name, PEER] = partial(bench.run, work, bench.peers(work, peer))
    took = medians(runs, rounds)
    rows = []
    for work in found:
        ours = bench.documents / took[work.name, OURS]
        row = [work.name, f"{ours:,.0f}", "-", "-"]
        if (work.name, PEER) in took:
            theirs = bench.documents / took[work.name, PEER]
            row[2:] = [f"{theirs:,.0f}", f"{ours / theirs:.2f}"]
        rows.append(row)
    return table([f"documents a second, median of {rounds}", OURS, PEER, "ratio"], rows)


def memory(third: Bench, whole: Bench, work: Work, peer: str | None) -> str:
    """Return the table of the most bytes that all processes together had in memory at one time."""
    peaks = [peak_memory(bench.ours(work), bench.env) for bench in (third, whole)]
    row = [work.name, *map(megabytes, peaks), f"{peaks[1] / peaks[0]:.2f}", "-"]
    if peer:
        row[-1] = megabytes(peak_memory(whole.peers(work, peer), whole.env))
    counts = [f"{bench.documents:,}" for bench in (third, whole)]
    return table(["peak memory", *counts, "growth", f"{PEER}, {counts[1]}"], [row])


def megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB"


if __name__ == "__main__":
    main()
