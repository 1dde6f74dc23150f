"""What a report costs beside the same pipeline sent by hand, and how soon a streamed pipeline shows a row.

    python tests/benchmarks/reports.py [--orders 5000000] [--rounds 3] [--only reports,index,compare,row,memory]

The hand is a script of PyMongo that sends the pipeline which `--show-pipeline` prints, or the plain sum
that one would write; whole processes from start to end. Each report's total is checked against the
other's: a program that leaves out an order ends the benchmark.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import uuid
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pymongo
from bson import json_util
from measure import environment, machine, medians, motorctl, peak_memory, say, server, table, talk, timed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

COVERING = {"status": 1, "created_at": 1, "user_id": 1, "amount": 1}
SHORT = {"status": 1, "created_at": 1}
TABLES = ("reports", "index", "compare", "row", "memory")

HAND = """
import sys, pymongo
from bson import json_util
with pymongo.MongoClient(sys.argv[1]) as client:
    pipeline = json_util.loads(sys.argv[3])
    for row in client[sys.argv[2]].orders.aggregate(pipeline, allowDiskUse=True):
        print(json_util.dumps(row))
"""
"""A report by hand: the least that a script does with PyMongo."""

PLAIN: Mapping[str, list[dict[str, Any]]] = {
    "over-time": [
        {"$match": {"status": "completed"}},
        {
            "$group": {
                "_id": {"$dateToString": {"date": "$created_at", "format": "%Y-%m"}},
                "total": {"$sum": "$amount"},
                "orders": {"$sum": 1},
            }
        },
        {"$sort": {"_id": 1}},
    ],
    "by-customer": [
        {"$match": {"status": "completed"}},
        {"$group": {"_id": "$user_id", "total": {"$sum": "$amount"}, "orders": {"$sum": 1}}},
        {"$sort": {"total": -1}},
        {"$limit": 10},
        {"$lookup": {"from": "users", "localField": "_id", "foreignField": "_id", "as": "user"}},
    ],
}
"""What one would write without a thought for amounts that are none, the rest, shares and first orders."""


def fill(db: pymongo.database.Database[dict[str, Any]], count: int) -> None:
    """Have the server make the orders itself: two years, 50,000 customers, amounts of cents as decimals."""
    db.seed.insert_one({"_id": 0})
    at, cents = (
        {"$mod": [{"$multiply": ["$n", 48271]}, 63_072_000]},
        {"$mod": [{"$multiply": ["$n", 7919]}, 50_000]},
    )
    statuses = ["completed"] * 8 + ["pending", "cancelled"]
    pipeline: list[dict[str, Any]] = [
        {"$project": {"a": {"$range": [0, -(-count // 1000)]}}},
        {"$unwind": "$a"},
        {"$project": {"a": 1, "b": {"$range": [0, 1000]}}},
        {"$unwind": "$b"},
        {"$project": {"n": {"$toLong": {"$add": [{"$multiply": ["$a", 1000]}, "$b"]}}}},
        {"$limit": count},
        {
            "$project": {
                "_id": "$n",
                "user_id": {"$mod": [{"$multiply": ["$n", 31]}, 50_000]},
                "product_id": {"$concat": ["p-", {"$toString": {"$mod": ["$n", 200]}}]},
                "qty": {"$add": [1, {"$mod": ["$n", 5]}]},
                "amount": {"$divide": [{"$toDecimal": cents}, 100]},
                "status": {"$arrayElemAt": [statuses, {"$mod": ["$n", 10]}]},
                "created_at": {"$toDate": {"$add": [1_700_000_000_000, {"$multiply": [at, 1000]}]}},
                "note": "a few words that make an order as long as orders are, with an address and a remark in it",
            }
        },
        {"$out": "orders"},
    ]
    db.seed.aggregate(pipeline, allowDiskUse=True)
    db.seed.drop()
    db.users.insert_many([{"_id": number, "name": f"Customer {number}"} for number in range(50_000)])
    db.orders.create_index(list(COVERING.items()), name="revenue")


class Bench:
    """A database of orders, and the contestants over it."""

    def __init__(self, uri: str, database: str, rounds: int) -> None:
        self.uri, self.database, self.rounds = uri, database, rounds
        self.env = environment(uri, database)

    def ours(self, *arguments: str) -> list[str]:
        return motorctl("revenue", *arguments, "-o", "json", "--quiet", "--timeout", "60")

    def hand(self, pipeline: Sequence[Mapping[str, Any]]) -> list[str]:
        return [sys.executable, "-c", HAND, self.uri, self.database, json_util.dumps(pipeline)]

    def same_pipeline(self, report: str) -> list[dict[str, Any]]:
        """Return the pipeline that the program sends, seen by the server's own eyes."""
        with pymongo.MongoClient[dict[str, Any]](self.uri) as client:
            db = client[self.database]
            db.command("profile", 2)
            timed(self.ours(report), self.env)
            db.command("profile", 0)
            found = [
                one["command"]["pipeline"]
                for one in db["system.profile"]
                .find({"op": "command", "command.aggregate": "orders"})
                .sort("ts", -1)
            ]
            db.drop_collection("system.profile")
        pipeline: list[dict[str, Any]] = found[0]
        return pipeline

    def time(self, command: Sequence[str]) -> Callable[[], float]:
        return lambda: timed(command, self.env)[0]


def check(bench: Bench) -> None:
    """Compare the totals of both: the benchmark ends where they differ."""
    _, ours = timed(bench.ours("over-time"), bench.env)
    _, hand = timed(bench.hand(PLAIN["over-time"]), bench.env)
    mine = [(row["period"], Decimal(row["revenue"]), row["orders"]) for row in json.loads(ours)]
    plain = [json_util.loads(line) for line in hand.splitlines()]
    if mine != [(row["_id"], row["total"].to_decimal(), row["orders"]) for row in plain]:
        raise SystemExit("the report and the plain sum differ")


def reports(bench: Bench) -> None:
    for report in PLAIN:
        same = bench.same_pipeline(report)
        found = medians(
            {
                "motorctl": bench.time(bench.ours(report)),
                "its pipeline by hand": bench.time(bench.hand(same)),
                "a plain sum by hand": bench.time(bench.hand(PLAIN[report])),
            },
            bench.rounds,
        )
        ours = found["motorctl"]
        rows = [[name, f"{took:.2f} s", f"{ours / took:.2f}"] for name, took in found.items()]
        show([f"revenue {report}", "median", "motorctl is times"], rows)


def index(bench: Bench) -> None:
    """Show what the index of the shipped manifest gains, against the shorter one and none."""
    rows = []
    with pymongo.MongoClient[dict[str, Any]](bench.uri) as client:
        orders = client[bench.database].orders
        for name, keys in (("covering", COVERING), ("status, created_at", SHORT), ("none", None)):
            orders.drop_indexes()
            if keys:
                orders.create_index(list(keys.items()), name="revenue")
            for report, since in (
                ("over-time", ()),
                ("over-time", ("--since", "2025-10-01")),
                ("by-customer", ()),
            ):
                command = bench.ours(report, *since)
                found = medians({report: bench.time(command)}, bench.rounds)
                rows.append([name, " ".join((report, *since)), f"{found[report]:.2f} s"])
        orders.drop_indexes()
        orders.create_index(list(COVERING.items()), name="revenue")
    show(["index", "report", "median"], rows)


def compare(bench: Bench) -> None:
    """Show that a comparison takes no second pass over the data."""
    plain, against = bench.ours("over-time"), bench.ours("over-time", "--compare", "year", "--cumulative")
    found = medians({"plain": bench.time(plain), "compared": bench.time(against)}, bench.rounds)
    ratio = found["compared"] / found["plain"]
    show(["over-time", "median", "ratio"], [["plain", f"{found['plain']:.2f} s", ""],
                                             ["--compare year --cumulative", f"{found['compared']:.2f} s", f"{ratio:.2f}"]])  # fmt: skip


FIRST = [
    {"$match": {"status": "completed", "amount": {"$gt": 100}}},
    {"$project": {"amount": 1, "user_id": 1}},
]
LATE = [
    {"$match": {"status": "pending"}},
    {"$sort": {"amount": -1}},
    {"$project": {"amount": 1, "user_id": 1}},
]


def row(bench: Bench) -> None:
    """Show how soon the first row of a streamed pipeline is there; the process is ended then."""
    for name, pipeline in (("at once", FIRST), ("after a sort of a tenth of all", LATE)):
        text = json_util.dumps(pipeline)
        ours = motorctl("aggregate", "orders", text, "-o", "ndjson", "--quiet", "--timeout", "60")
        found = medians(
            {
                "motorctl": lambda ours=ours: until_row(ours, bench.env),  # type: ignore[misc]  # a lambda's default has no type
                "by hand": lambda pipeline=pipeline: until_row(bench.hand(pipeline), bench.env),  # type: ignore[misc]  # a lambda's default has no type
            },
            max(bench.rounds, 5),
        )
        ratio = found["motorctl"] / found["by hand"]
        show([f"first row, {name}", "median", "ratio"],
              [["motorctl", f"{found['motorctl']:.3f} s", f"{ratio:.2f}"], ["by hand", f"{found['by hand']:.3f} s", ""]])  # fmt: skip


def until_row(command: Sequence[str], env: Mapping[str, str]) -> float:
    """Return the seconds until a process has written a line."""
    begun = time.perf_counter()
    # A driver's script holds its lines back in a pipe until it has a few thousand bytes, as ours does.
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        took = time.perf_counter() - begun
        process.kill()
    if not line:
        raise SystemExit(f"no row: {' '.join(command)}")
    return took


def memory(bench: Bench) -> None:
    rows = []
    for count in (10_000, 100_000, 1_000_000):
        command = motorctl("aggregate", "orders", json.dumps([{"$limit": count}]), "-o", "ndjson", "--quiet")
        rows.append([f"{count:,} rows as ndjson", f"{peak_memory(command, bench.env) / 1e6:.0f} MB"])
    rows += [
        [f"revenue {report}", f"{peak_memory(bench.ours(report), bench.env) / 1e6:.0f} MB"]
        for report in PLAIN
    ]
    show(["peak of the process", "PSS"], rows)


def show(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    say(table(titles, rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--orders", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default=",".join(TABLES))
    chosen = parser.parse_args()
    say(machine())
    with server() as uri:
        database = f"benchmark_{uuid.uuid4().hex[:8]}"
        with pymongo.MongoClient[dict[str, Any]](uri) as client:
            try:
                talk(f"making {chosen.orders:,} orders")
                fill(client[database], chosen.orders)
                bench = Bench(uri, database, chosen.rounds)
                check(bench)
                for name in chosen.only.split(","):
                    globals()[name](bench)
            finally:
                client.drop_database(database)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    main()
