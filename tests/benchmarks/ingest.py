"""How fast `motorctl import` is beside mongoimport and the wire itself, what memory it takes, where time goes.

Every run writes into a fresh database and is checked afterwards: a program that loses a document, or books
it as what it isn't, ends the benchmark. Each table can be had by itself:

    speed       documents a second beside mongoimport -j 1, 2, 4 and the raw wire
    small       a file of 100 records: the whole process, by default and without workers
    compressed  .gz, .zst and .bz2 beside the plain file
    memory      the peak of all processes together, at a third of the documents and at all
    growth      seconds and memory of larger and larger files (--sizes)
    resume      what checkpoints cost
    workers     from none to four
    breakdown   processor time of each process, and of each stage
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
import uuid
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orders as data
import pymongo
from measure import (
    cpu_seconds,
    environment,
    machine,
    medians,
    motorctl,
    peak_memory,
    say,
    seconds,
    server,
    table,
    talk,
    timed,
    watched,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bson.raw_bson import RawBSONDocument

UPSERTS = 50_000
SMALL = 100
SMALL_ROUNDS = 15
PEER_WORKERS = (1, 2, 4)
OUR_WORKERS = (0, 1, 2, 3, 4)
SIZES = (10, 100, 1000, 2000)

CEILING = "raw wire ceiling"
OURS = "motorctl"

Client = pymongo.MongoClient[dict[str, Any]]


@dataclass(frozen=True)
class Work:
    """One thing to import.

    `as_wire`: its documents are the ones that the ceiling is measured with. `known`: so many of its keys
    are in the collection before, with documents that differ, or with the `same` ones. `options` are
    motorctl's.
    """

    name: str
    file: data.File
    as_wire: bool = False
    upsert: bool = False
    known: int = 0
    same: bool = False
    options: tuple[str, ...] = ()

    @property
    def documents(self) -> int:
        return self.file.documents

    @property
    def books(self) -> dict[str, int]:
        """What motorctl has to say of it."""
        updated = 0 if self.same else self.known
        return {
            "read": self.documents,
            "inserted": self.documents - self.known,
            "updated": updated,
            "unchanged": self.known - updated,
            "rejected": 0,
        }

    def ours(self, *options: str) -> list[str]:
        mode = ("--mode", "upsert", "--key", data.KEY) if self.upsert else ()
        asked = (*mode, *self.options, *options, "-o", "json")
        return motorctl("import", str(self.file.path), "--into", "orders", *asked)

    def peer(self, program: str, uri: str, database: str, workers: int) -> list[str]:
        mode = ("--mode", "upsert", "--upsertFields", data.KEY) if self.upsert else ()
        target = ("--uri", uri, "--db", database, "--collection", "orders", "--quiet")
        how = ("-j", str(workers), *self.file.peer_format, *mode)
        return [program, *target, *how, "--file", str(self.file.path)]


@dataclass(frozen=True)
class Bench:
    """What a table needs: the server and a database there, files, contestants, how often each has its turn."""

    uri: str
    client: Client
    database: str
    home: Path
    peer: str | None
    documents: int
    rounds: int
    sizes: Sequence[int]

    @property
    def env(self) -> dict[str, str]:
        return environment(self.uri, self.database)

    def peer_command(self, work: Work, workers: int) -> list[str]:
        return work.peer(str(self.peer), self.uri, self.database, workers)

    def prepare(self, work: Work) -> None:
        self.client.drop_database(self.database)
        collection = self.client[self.database].orders
        if work.upsert:
            collection.create_index(data.KEY, unique=True)
        if work.known:
            before = data.orders(work.known)
            collection.insert_many(before if work.same else ({**order, "status": "old"} for order in before))

    def check(self, work: Work, stdout: str = "") -> None:
        """End the benchmark unless each document is there, and booked right where `stdout` is our books."""
        collection = self.client[self.database].orders
        count = collection.count_documents({})
        untouched = collection.count_documents({"status": "old"}) if work.known else 0
        if count != work.documents or untouched:
            raise SystemExit(f"{work.name}: {count} of {work.documents} documents, {untouched} not updated")
        if stdout:
            summary = json.loads(stdout)
            books = {name: summary[name] for name in work.books}
            if books != work.books:
                raise SystemExit(f"{work.name}: booked {books}, and it should be {work.books}")

    def run(self, work: Work, command: Sequence[str]) -> float:
        """Return the seconds of a whole process that does the work."""
        self.prepare(work)
        took, stdout = timed(command, self.env)
        self.check(work, stdout)
        return took

    def memory(self, work: Work, command: Sequence[str]) -> int:
        """Return the peak bytes of a process tree that does the work."""
        self.prepare(work)
        peak = peak_memory(command, self.env)
        self.check(work)
        return peak

    def wire(self, batches: Sequence[Sequence[RawBSONDocument]]) -> float:
        """Return the seconds that the server needs for ready-made BSON, a batch after the other."""
        self.client.drop_database(self.database)
        collection: Any = self.client[self.database].orders
        begun = time.perf_counter()
        for batch in batches:
            collection.insert_many(batch, ordered=False)
        return time.perf_counter() - begun

    def inserts(self, documents: int) -> list[Work]:
        """Give the same documents in the three formats."""
        return [
            Work("NDJSON", data.ndjson(self.home, documents), as_wire=True),
            Work("JSON array", data.array(self.home, documents), as_wire=True),
            Work("CSV", data.table(self.home, documents)),
        ]

    def upserts(self) -> list[Work]:
        """Give upserts that find nothing, that change every document, and that change none."""
        file = data.ndjson(self.home, min(UPSERTS, self.documents))
        new = Work(f"upsert {file.documents:,}, all new", file, upsert=True)
        known = replace(new, name=f"upsert {file.documents:,}, all known", known=file.documents)
        same = replace(known, name=f"upsert {file.documents:,}, all unchanged", same=True)
        return [new, known, same]


def main() -> None:
    """Measure and print."""
    doc, tables = __doc__ or "", ",".join(TABLES)
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--only", metavar="TABLE,...", default=tables, help=f"which tables ({tables})")
    add("--documents", type=int, default=300_000, help="documents a file (300000)")
    add("--rounds", type=int, default=3, help="runs of each contestant (3); more where differences are small")
    add("--sizes", metavar="MB,...", default=",".join(map(str, SIZES)), help="of growth (10,100,1000,2000)")
    arguments = parser.parse_args()
    wanted = arguments.only.split(",")
    if unknown := set(wanted) - set(TABLES):
        parser.error(f"--only: there is no table {', '.join(sorted(unknown))}; there are {tables}")
    database = f"benchmark_{uuid.uuid4().hex[:12]}"
    with (
        tempfile.TemporaryDirectory(prefix="motorctl-benchmark-") as home,
        server() as uri,
        Client(uri, tz_aware=True) as client,
    ):
        bench = Bench(
            uri,
            client,
            database,
            Path(home),
            os.environ.get("MONGOIMPORT") or shutil.which("mongoimport"),
            arguments.documents,
            arguments.rounds,
            tuple(map(int, arguments.sizes.split(","))),
        )
        try:
            for name in wanted:
                say(f"{name}: {machine()}\n")
                say(f"{TABLES[name](bench)}\n")
        finally:
            client.drop_database(database)


def speed(bench: Bench) -> str:
    """Return the table of documents a second."""
    works = [*bench.inserts(bench.documents), *bench.upserts()]
    say(sizes(works, bench.documents))
    runs: dict[tuple[str, str], Callable[[], float]] = {
        (CEILING, ""): partial(bench.wire, data.ready_made(bench.documents))
    }
    for work in works:
        runs[work.name, OURS] = partial(bench.run, work, work.ours())
        for workers in PEER_WORKERS if bench.peer else ():
            runs[work.name, f"-j {workers}"] = partial(peer_run, bench, work, workers)
    took = medians(runs, bench.rounds)

    ceiling = bench.documents / took[CEILING, ""]
    rows = []
    for work in works:
        ours = work.documents / took[work.name, OURS]
        row = [work.name, f"{ours:,.0f}", "-", "-", "-"]
        if bench.peer:
            best = min(PEER_WORKERS, key=lambda workers: took[work.name, f"-j {workers}"])
            theirs = work.documents / took[work.name, f"-j {best}"]
            row[2:4] = [f"{theirs:,.0f} (-j {best})", f"{ours / theirs:.2f}"]
        if work.as_wire:
            row[4] = f"{ours / ceiling:.2f}"
        rows.append(row)
    rows.append([CEILING, f"{ceiling:,.0f}", "-", "-", "1.00"])
    what = f"documents a second, median of {bench.rounds}"
    return table([what, OURS, "mongoimport, best", "ratio", "of the ceiling"], rows)


def peer_run(bench: Bench, work: Work, workers: int) -> float:
    """Return the seconds of mongoimport; its books are not looked at: it says nothing of what is unchanged."""
    bench.prepare(work)
    took = seconds(bench.peer_command(work, workers), bench.env)
    bench.check(work)
    return took


def small(bench: Bench) -> str:
    """Return the table of whole processes that import next to nothing."""
    work = Work("small", data.ndjson(bench.home, SMALL))
    runs: dict[str, Callable[[], float]] = {
        f"{OURS}": partial(bench.run, work, work.ours()),
        f"{OURS} --workers 0": partial(bench.run, work, work.ours("--workers", "0")),
        f"{OURS} --version": partial(seconds, motorctl("--version"), bench.env),
    }
    if bench.peer:
        runs["mongoimport"] = partial(peer_run, bench, work, 1)
    rounds = max(SMALL_ROUNDS, bench.rounds)
    took = medians(runs, rounds)
    alone = took[f"{OURS} --workers 0"]
    rows = [[name, f"{spent * 1000:.0f} ms", f"{spent / alone:.2f}"] for name, spent in took.items()]
    return table([f"{SMALL} records, median of {rounds}", "whole process", "times --workers 0"], rows)


def compressed(bench: Bench) -> str:
    """Return the table of compressed inputs."""
    plain = data.ndjson(bench.home, bench.documents)
    files = {"plain": plain} | {ending: data.compressed(plain, ending) for ending in data.LEVELS}
    works = {name: Work(name, file) for name, file in files.items()}
    runs = {name: partial(bench.run, work, work.ours()) for name, work in works.items()}
    took = medians(runs, bench.rounds)
    rows = [
        [
            name,
            megabytes(files[name].path.stat().st_size),
            f"{bench.documents / spent:,.0f}",
            f"{took['plain'] / spent:.2f}",
        ]
        for name, spent in took.items()
    ]
    what = f"NDJSON, median of {bench.rounds}"
    return table([what, "file", "documents a second", "of plain"], rows)


def memory(bench: Bench) -> str:
    """Return the table of peak memory at a third of the documents and at all of them."""
    rows = []
    third, whole = bench.inserts(bench.documents // 3), bench.inserts(bench.documents)
    for small_, large in zip(third, whole, strict=True):
        talk(f"memory: {large.name}")
        peaks = [bench.memory(work, work.ours()) for work in (small_, large)]
        row = [large.name, *(megabytes(peak) for peak in peaks), f"{peaks[1] / peaks[0]:.2f}", "-"]
        if bench.peer:
            row[-1] = megabytes(bench.memory(large, bench.peer_command(large, PEER_WORKERS[-1])))
        rows.append(row)
    talk("")
    counts = [f"{work.documents:,}" for work in (third[0], whole[0])]
    return table(["peak memory", *counts, "growth", f"mongoimport -j {PEER_WORKERS[-1]}, {counts[1]}"], rows)


def growth(bench: Bench) -> str:
    """Return the table of larger and larger files: a timed run each, and one for the memory."""
    rows = []
    for size in bench.sizes:
        talk(f"growth: {size} MB")
        work = Work(f"{size:,} MB", data.grown(bench.home, size * 1_000_000))
        took = statistics.median(bench.run(work, work.ours()) for _ in range(bench.rounds))
        peak = bench.memory(work, work.ours())
        per_megabyte = took / (work.file.path.stat().st_size / 1e6)
        rate = work.documents / took
        counted = [f"{work.documents:,}", f"{took:.2f} s", f"{per_megabyte * 1000:.1f} ms", f"{rate:,.0f}"]
        rows.append([work.name, *counted, megabytes(peak)])
        work.file.path.unlink()
    talk("")
    what = f"NDJSON, median of {bench.rounds}"
    return table([what, "documents", "time", "time a MB", "documents a second", "peak memory"], rows)


def resume(bench: Bench) -> str:
    """Return the table of what checkpoints cost."""
    upsert = bench.upserts()[0]
    works = [*bench.inserts(bench.documents), upsert]
    runs = {}
    for work in works:
        runs[work.name, "without"] = partial(bench.run, work, work.ours())
        runs[work.name, "with"] = partial(bench.run, work, work.ours("--resume"))
    took = medians(runs, bench.rounds)
    rows = []
    for work in works:
        without, kept = took[work.name, "without"], took[work.name, "with"]
        cost = (kept / without - 1) * 100
        rows.append([work.name, f"{without:.3f} s", f"{kept:.3f} s", f"{cost:+.1f} %"])
    return table([f"whole process, median of {bench.rounds}", "without", "--resume", "cost"], rows)


def workers(bench: Bench) -> str:
    """Return the table of how much each worker process brings, and takes."""
    works = {work.name: work for work in bench.inserts(bench.documents)}
    commands = {
        (name, count): work.ours("--workers", str(count))
        for name, work in works.items()
        for count in OUR_WORKERS
    }
    runs = {key: partial(bench.run, works[key[0]], command) for key, command in commands.items()}
    took = medians(runs, bench.rounds)
    rows = []
    for count in OUR_WORKERS:
        rates = [f"{work.documents / took[name, count]:,.0f}" for name, work in works.items()]
        first = next(iter(works.values()))
        rows.append([str(count), *rates, megabytes(bench.memory(first, commands[first.name, count]))])
    titles = [f"--workers, median of {bench.rounds}", *(f"{name}, documents a second" for name in works)]
    return table([*titles, f"peak memory, {next(iter(works))}"], rows)


def breakdown(bench: Bench) -> str:
    """Return two tables: the processor time of each process, and of each stage."""
    works = [*bench.inserts(bench.documents), *bench.upserts()]
    rows = []
    for work in works:
        talk(f"breakdown: {work.name}")
        rows.append([f"{OURS}, {work.name}", *spent(bench, work, work.ours())])
        if bench.peer:
            rows.append([f"mongoimport -j 4, {work.name}", *spent(bench, work, bench.peer_command(work, 4))])
    talk("")
    what = f"µs a document, median of {bench.rounds}"
    processes = table([what, "the program", "its workers", "mongod", "whole time"], rows)
    return f"{processes}\n\n{by_stage(bench)}"


def spent(bench: Bench, work: Work, command: Sequence[str]) -> list[str]:
    """Return the processor time of the program, its workers and the server, and the whole time."""
    found = []
    for _ in range(bench.rounds):
        bench.prepare(work)
        before = server_cpu(bench.client)
        ended = watched(command, bench.env, memory=False)
        after = server_cpu(bench.client)
        bench.check(work)
        there = None if before is None or after is None else after - before
        found.append((ended.cpu.own, ended.cpu.children, there, ended.seconds))
    return [
        "-"
        if None in column or not any(column)
        else f"{statistics.median(column) / work.documents * 1e6:.1f}"
        for column in zip(*found, strict=True)
    ]


def server_cpu(client: Client) -> float | None:
    """Return the seconds of processor time of the server up to now, where it runs on this machine."""
    pid = int(client.admin.command("serverStatus")["pid"])
    try:
        here = Path(f"/proc/{pid}/comm").read_text(encoding="ascii").strip() == "mongod"
    except OSError:
        return None
    return cpu_seconds(pid) if here else None


def by_stage(bench: Bench) -> str:
    """Return the table of what each stage costs, one after the other in one process."""
    import stages  # the engine itself: for this table alone

    works = bench.inserts(bench.documents // 3)
    columns: list[dict[str, float]] = []
    for work in works:
        found = []
        for _ in range(bench.rounds):
            talk(f"stages: {work.name}")
            bench.client.drop_database(bench.database)
            found.append(stages.costs(work.file.path, work.documents, bench.uri, bench.database))
        columns.append({name: statistics.median(costs[name] for costs in found) for name in found[0]})
    talk("")
    rows = [
        [name, *(f"{column[name]:.2f}" if name in column else "-" for column in columns)]
        for name in stages.STAGES
    ]
    return table([f"µs a document, median of {bench.rounds}", *(work.name for work in works)], rows)


def megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB"


def sizes(works: Sequence[Work], documents: int) -> str:
    """Say how large a document is in each of its forms."""
    whole = [work for work in works if not work.upsert]
    forms = [f"{work.file.path.stat().st_size / documents:.0f} bytes {work.name}" for work in whole]
    encoded = sum(len(document.raw) for document in data.ready(data.orders(data.BATCH))) / data.BATCH
    return f"an order has {', '.join(forms)}, {encoded:.0f} bytes BSON\n"


TABLES: dict[str, Callable[[Bench], str]] = {
    "speed": speed,
    "small": small,
    "compressed": compressed,
    "memory": memory,
    "growth": growth,
    "resume": resume,
    "workers": workers,
    "breakdown": breakdown,
}


if __name__ == "__main__":
    main()
