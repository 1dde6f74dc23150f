"""How long `motorctl schema plan` takes for many collections, near a server and far from it.

    python tests/benchmarks/schema.py [--collections 500] [--latency 50] [--rounds 5]

Whole processes, beside a bare PyMongo script that sends the same commands and compares nothing. The
distance is a proxy's; it counts the commands, too, in runs that aren't timed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pymongo
from measure import environment, machine, medians, motorctl, say, seconds, server, table, timed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy import Delaying

INDEXES: list[dict[str, Any]] = [
    {"keys": {"email": 1}, "unique": True},
    {"keys": {"status": 1, "created_at": -1}},
    {"keys": {"expires_at": 1}, "expireAfterSeconds": 0},
]
MISSING = {"keys": {"number": 1}, "unique": True}
DOCUMENTS = 10

# As few round trips as the server allows: all at once, on connections of its own.
BARE = """
import os, sys, pymongo
from concurrent.futures import ThreadPoolExecutor
at_once = int(sys.argv[1])
client = pymongo.MongoClient(os.environ["MOTORCTL_URI"], maxPoolSize=at_once, maxConnecting=at_once)
db = client[os.environ["MOTORCTL_DB"]]
names = [one["name"] for one in db.list_collections()]
def read(name):
    return db.command({"listIndexes": name})["cursor"]["firstBatch"]
with ThreadPoolExecutor(at_once) as pool:
    assert all(len(indexes) == 4 for indexes in pool.map(read, names))
sys.stdout.flush()
os._exit(0)
"""


@dataclass(frozen=True)
class Bench:
    """A database that is as the manifest `same` says; `more` wants one unique index more in each collection."""

    database: str
    collections: int
    same: Path
    more: Path

    def plan(self, manifest: Path) -> list[str]:
        return motorctl("schema", "plan", str(manifest), "-o", "json")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--collections", type=int, default=500, help="collections (500)")
    parser.add_argument("--latency", type=float, default=50, help="milliseconds of a round trip (50)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each contestant (5)")
    given = parser.parse_args()
    with server() as uri, tempfile.TemporaryDirectory(prefix="motorctl-benchmark-") as home:
        bench = Bench(
            f"benchmark_{uuid.uuid4().hex[:8]}",
            given.collections,
            written(Path(home) / "same.json", given.collections, INDEXES),
            written(Path(home) / "more.json", given.collections, [*INDEXES, MISSING]),
        )
        with pymongo.MongoClient[dict[str, Any]](uri) as client:
            try:
                fill(client[bench.database], bench.collections)
                measure(
                    bench, uri, client.primary or ("127.0.0.1", 27017), given.latency / 1000, given.rounds
                )
            finally:
                client.drop_database(bench.database)


def written(path: Path, collections: int, indexes: list[dict[str, Any]]) -> Path:
    path.write_text(json.dumps({"collections": {name: {"indexes": indexes} for name in names(collections)}}))
    return path


def names(collections: int) -> Iterator[str]:
    return (f"collection_{number:04}" for number in range(collections))


def fill(db: pymongo.database.Database[dict[str, Any]], collections: int) -> None:
    """Create the collections, each with its indexes and a few documents."""
    specifications = [
        {"key": index["keys"], "name": f"index_{n}", **{k: v for k, v in index.items() if k != "keys"}}
        for n, index in enumerate(INDEXES)
    ]

    def create(name: str) -> None:
        db.command({"createIndexes": name, "indexes": specifications})
        db[name].insert_many({"email": f"{n}@example.com", "number": n} for n in range(DOCUMENTS))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(create, names(collections)))


def measure(bench: Bench, uri: str, address: tuple[str, int], latency: float, rounds: int) -> None:
    from proxy import delaying

    far = f"{latency * 1000:g} ms away"
    say(machine())
    with delaying(*address, round_trip=latency) as proxy:
        near_env, far_env = environment(uri, bench.database), environment(proxy.uri, bench.database)
        places = {"near": near_env, far: far_env}
        contestants = {}
        for place, env in places.items():
            contestants["start-up alone", place] = partial(seconds, motorctl("--version"), env)
            for at_once in (16, 100):
                command = [sys.executable, "-c", BARE, str(at_once)]
                contestants[f"bare PyMongo, {at_once} at once", place] = partial(seconds, command, env)
            contestants["schema plan, in sync", place] = partial(seconds, bench.plan(bench.same), env)
            contestants["schema plan, an index missing", place] = partial(
                seconds, bench.plan(bench.more), env
            )
        medians(contestants, 1)  # caches are warm, bytecode is written
        found = medians(contestants, rounds)
    titles = [f"{bench.collections} collections, median of {rounds}"]
    for place in places:
        titles += [place, "times bare"]
    rows = []
    for what in dict.fromkeys(what for what, _ in contestants):
        cells = [what]
        for place in places:
            took = found[what, place]
            cells += [f"{took:.2f} s", f"{took / found['bare PyMongo, 16 at once', place]:.2f}"]
        rows.append(cells)
    say(table(titles, rows))
    for what, manifest in (("in sync", bench.same), ("an index missing", bench.more)):
        with delaying(*address, round_trip=latency) as proxy:
            timed(bench.plan(manifest), environment(proxy.uri, bench.database))
        say(f"{what}: {counted(proxy, latency)}")


def counted(proxy: Delaying, latency: float) -> str:
    """Say which commands were sent, how many of them at once, and how long the way alone takes at that."""
    parts = [
        f"{number} {name}" + (f" ({proxy.most_at_once[name]} at once)" if number > 1 else "")
        for name, number in sorted(proxy.commands.items())
    ]
    trips = sum(-(-number // proxy.most_at_once[name]) for name, number in proxy.commands.items())
    return f"{', '.join(parts)}: at least {trips} round trips one after the other, {trips * latency:.2f} s"


if __name__ == "__main__":
    main()
