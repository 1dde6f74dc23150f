"""How fast money moves: one transfer after the other, many at once on two accounts, and a file of them.

Every run starts from fresh accounts and is checked afterwards: a cent that came or went, or a transfer that is
not in the ledger once, ends the benchmark. Each table can be had by itself:

    serial      one transfer after the other over 20 accounts, beside the drivers' own with_transaction doing
                the same three writes (two balances, one record)
    contention  coroutines, and processes, that all send between the same two accounts, against one sender
    batch       `motorctl transfer batch` over 1,000 accounts, the whole process, against one sender
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import statistics
import tempfile
import time
import uuid
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pymongo
from bson import Decimal128, ObjectId
from measure import environment, machine, motorctl, say, seconds, server, table, talk
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import WriteConcern
from pymongo.read_concern import ReadConcern

from motorctl.core import transactions
from motorctl.core.transfers.post import post
from motorctl.core.transfers.request import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from motorctl.client import Database

OPENING = Decimal("1000000.00")
AMOUNT = Decimal("1.00")
ACCOUNTS = 20
BATCH_ACCOUNTS = 1000
WARM_UP = 10
"""Transfers of each sender that aren't timed: connections are opened with them."""
LIMIT = 60.0
OURS = "core.transfers.post"
PEER = "PyMongo with_transaction"
PEER_ASYNC = "PyMongo async with_transaction"
PEER_MOTOR = "Motor with_transaction"
OPTIONS: dict[str, Any] = {"read_concern": ReadConcern("snapshot"), "write_concern": WriteConcern("majority")}

SyncDatabase = pymongo.database.Database[dict[str, Any]]
Pair = tuple[str, str]


@dataclass
class Run:
    """What one run took: seconds of each transfer, of all of them, and how often a callback ran again."""

    each: list[float]
    whole: float
    reruns: int = 0

    @property
    def rate(self) -> float:
        return len(self.each) / self.whole


def fresh(db: SyncDatabase, accounts: int) -> None:
    """Leave the database with accounts that have the same balance, and an empty ledger."""
    for name in ("accounts", "transfers"):
        db.drop_collection(name)
    shared = {"owner": "Somebody", "currency": "EUR", "status": "open", "entries": 0}
    money = {"balance": Decimal128(OPENING), "opening": Decimal128(OPENING)}
    db.accounts.insert_many({"_id": f"a{number}", **shared, **money} for number in range(accounts))
    db.create_collection("transfers")
    for side in ("from", "to"):
        db.transfers.create_index([(side, 1), ("created_at", -1)])


def check(db: SyncDatabase, accounts: int, transfers: int) -> None:
    """End the benchmark if money came or went, or the ledger doesn't hold each transfer."""
    [sums] = db.accounts.aggregate([{"$group": {"_id": None, "sum": {"$sum": "$balance"}}}])
    if (had := sums["sum"].to_decimal()) != OPENING * accounts:
        raise SystemExit(f"the accounts hold {had}, not {OPENING * accounts}")
    if (recorded := db.transfers.count_documents({})) != transfers:
        raise SystemExit(f"the ledger holds {recorded} transfers, not {transfers}")


def pairs(accounts: int) -> Iterator[Pair]:
    """Yield who pays whom: round and round."""
    number = 0
    while True:
        yield f"a{number % accounts}", f"a{(number + 1) % accounts}"
        number += 1


# ---- contestants: each sends `count` transfers, one after the other ----


async def ours(db: Database, count: int, between: Iterator[Pair]) -> Run:
    tally = transactions.Tally()
    each = []
    with patch.object(transactions, "run", partial(transactions.run, tally=tally)):
        for _ in range(count):
            source, target = next(between)
            begun = time.perf_counter()
            request = Request(f"payment-{ObjectId()}", source, target, AMOUNT)
            (outcome,) = await post(db, [request], seconds=LIMIT)
            if outcome.record is None or outcome.replayed:
                raise SystemExit(f"not carried out: {outcome}")
            each.append(time.perf_counter() - begun)
    return Run(each, sum(each), tally.reruns)


def writes(db: Any, source: str, target: str, session: Any) -> list[Any]:
    """Return the three writes of a transfer, as calls: the balance that is asked for keeps it above zero."""
    amount, taken = Decimal128(AMOUNT), Decimal128(-AMOUNT)
    record = {"_id": str(ObjectId()), "from": source, "to": target, "amount": amount}
    enough = {"_id": source, "balance": {"$gte": amount}}
    return [
        partial(db.accounts.update_one, enough, {"$inc": {"balance": taken}}, session=session),
        partial(db.accounts.update_one, {"_id": target}, {"$inc": {"balance": amount}}, session=session),
        partial(db.transfers.insert_one, record, session=session),
    ]


def peer(db: SyncDatabase, count: int, between: Iterator[Pair]) -> Run:
    each, runs = [], 0
    for _ in range(count):
        source, target = next(between)

        def callback(session: Any, source: str = source, target: str = target) -> None:
            nonlocal runs
            runs += 1
            for write in writes(db, source, target, session):
                write()

        begun = time.perf_counter()
        with db.client.start_session() as session:
            session.with_transaction(callback, **OPTIONS)
        each.append(time.perf_counter() - begun)
    return Run(each, sum(each), runs - count)


async def peer_async(db: Any, count: int, between: Iterator[Pair]) -> Run:
    """The same for PyMongo's asynchronous client, and for Motor, whose sessions are awaited."""
    each, runs = [], 0
    for _ in range(count):
        source, target = next(between)

        async def callback(session: Any, source: str = source, target: str = target) -> None:
            nonlocal runs
            runs += 1
            for write in writes(db, source, target, session):
                await write()

        begun = time.perf_counter()
        opened = db.client.start_session()
        async with await opened if hasattr(opened, "__await__") else opened as session:
            await session.with_transaction(callback, **OPTIONS)
        each.append(time.perf_counter() - begun)
    return Run(each, sum(each), runs - count)


def motor(
    uri: str, database: str, sender: Callable[..., Any], senders: int, count: int, accounts: int
) -> Run:
    """Run coroutines that send through one Motor client."""

    async def main() -> Run:
        client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(uri, tz_aware=True)
        db = client.get_database(database)
        try:
            return await together(db, sender, senders, count, accounts)
        finally:
            client.close()

    return asyncio.run(main())


def pymongo_async(uri: str, database: str, count: int, accounts: int) -> Run:
    async def main() -> Run:
        async with pymongo.AsyncMongoClient[dict[str, Any]](uri) as client:
            return await together(client[database], peer_async, 1, count, accounts)

    return asyncio.run(main())


def pymongo_sync(uri: str, database: str, count: int, accounts: int) -> Run:
    with pymongo.MongoClient[dict[str, Any]](uri) as client:
        between = pairs(accounts)
        peer(client[database], WARM_UP, between)
        return peer(client[database], count, between)


async def together(db: Any, sender: Callable[..., Any], senders: int, count: int, accounts: int) -> Run:
    """Let senders begin at once, after each has its connection; `count` is what one of them sends."""
    ways = [pairs(accounts) for _ in range(senders)]
    for way in ways[::2]:
        next(way)  # every other sender pays the other way
    await asyncio.gather(*(sender(db, WARM_UP, way) for way in ways))
    begun = time.perf_counter()
    runs = await asyncio.gather(*(sender(db, count, way) for way in ways))
    whole = time.perf_counter() - begun
    return Run([one for run in runs for one in run.each], whole, sum(run.reruns for run in runs))


# ---- processes that send at once ----


def process(uri: str, database: str, count: int, at: float) -> tuple[Run, float]:
    """Send from a process of its own, beginning at a time that all agree on; return when it ended, too."""

    async def main() -> Run:
        client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(uri, tz_aware=True)
        db = client.get_database(database)
        await ours(db, WARM_UP, pairs(2))
        await asyncio.sleep(max(0.0, at - time.time()))
        return await ours(db, count, pairs(2))

    return asyncio.run(main()), time.time()


def processes(uri: str, database: str, senders: int, count: int) -> Run:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(senders, mp_context=spawn) as pool:
        at = time.time() + 3.0 + senders * 0.5
        done = [pool.submit(process, uri, database, count, at) for _ in range(senders)]
        runs = [one.result() for one in done]
    whole = max(end for _, end in runs) - at
    return Run([one for run, _ in runs for one in run.each], whole, sum(run.reruns for run, _ in runs))


# ---- tables ----


def serial(uri: str, db: SyncDatabase, args: argparse.Namespace) -> None:
    count = args.transfers
    contestants: dict[str, Callable[[], Run]] = {
        OURS: partial(motor, uri, db.name, ours, 1, count, ACCOUNTS),
        PEER: partial(pymongo_sync, uri, db.name, count, ACCOUNTS),
        PEER_ASYNC: partial(pymongo_async, uri, db.name, count, ACCOUNTS),
        PEER_MOTOR: partial(motor, uri, db.name, peer_async, 1, count, ACCOUNTS),
    }
    runs = turns(db, contestants, args.rounds, ACCOUNTS, count + WARM_UP)
    rates = {name: statistics.median(run.rate for run in of) for name, of in runs.items()}
    rows = [
        [
            name,
            f"{rates[name]:.0f}",
            *percentiles([one for run in of for one in run.each]),
            *(f"{rates[name] / rates[other]:.2f}" for other in (PEER, PEER_ASYNC, PEER_MOTOR)),
        ]
        for name, of in runs.items()
    ]
    titles = ["serial", "a second", "p50 ms", "p95 ms", "p99 ms"]
    say(table([*titles, "times PyMongo", "times its async", "times Motor's"], rows) + "\n")


def contention(uri: str, db: SyncDatabase, args: argparse.Namespace) -> None:
    total = args.transfers
    one = "1 sender"
    contestants: dict[str, Callable[[], Run]] = {one: partial(motor, uri, db.name, ours, 1, total, 2)}
    sent = {one: total + WARM_UP}
    for senders in args.senders:
        count = max(1, total // senders)
        for name, run in {
            f"{senders} coroutines": partial(motor, uri, db.name, ours, senders, count, 2),
            f"{senders} coroutines, {PEER_MOTOR}": partial(
                motor, uri, db.name, peer_async, senders, count, 2
            ),
        }.items():
            contestants[name], sent[name] = run, senders * (count + WARM_UP)
    for senders in args.processes:
        name, count = f"{senders} processes", max(1, total // senders)
        contestants[name] = partial(processes, uri, db.name, senders, count)
        sent[name] = senders * (count + WARM_UP)
    runs = turns(db, contestants, args.rounds, 2, sent)
    alone = statistics.median(run.rate for run in runs[one])
    rows = [
        [
            name,
            f"{(rate := statistics.median(run.rate for run in of)):.0f}",
            f"{rate / alone:.2f}",
            *percentiles([each for run in of for each in run.each]),
            f"{statistics.median(run.reruns / len(run.each) for run in of):.2f}",
        ]
        for name, of in runs.items()
    ]
    titles = ["between two accounts", "a second", "times 1 sender", "p50 ms", "p95 ms", "p99 ms"]
    say(table([*titles, "reruns a transfer"], rows) + "\n")


def batch(uri: str, db: SyncDatabase, args: argparse.Namespace) -> None:
    rows = args.rows
    with tempfile.TemporaryDirectory() as home:
        path = Path(home) / "payments.csv"
        between = pairs(BATCH_ACCOUNTS)
        lines = (f"{source},{target},{AMOUNT}\n" for source, target in (next(between) for _ in range(rows)))
        path.write_text("from,to,amount\n" + "".join(lines))
        command = motorctl("transfer", "batch", str(path), "--output", "json", "--yes")
        env = environment(uri, db.name)

        def whole() -> Run:
            took = seconds(command, env)
            return Run([took / rows] * rows, took)

        contestants: dict[str, Callable[[], Run]] = {
            OURS: partial(motor, uri, db.name, ours, 1, args.transfers, BATCH_ACCOUNTS),
            "motorctl transfer batch": whole,
        }
        sent = {OURS: args.transfers + WARM_UP, "motorctl transfer batch": rows}
        runs = turns(db, contestants, args.rounds, BATCH_ACCOUNTS, sent)
    rates = {name: statistics.median(run.rate for run in of) for name, of in runs.items()}
    shown = [[name, f"{rate:.0f}", f"{rate / rates[OURS]:.2f}"] for name, rate in rates.items()]
    say(table([f"{BATCH_ACCOUNTS} accounts", "a second", "times serial"], shown) + "\n")


def turns(
    db: SyncDatabase,
    contestants: dict[str, Callable[[], Run]],
    rounds: int,
    accounts: int,
    sent: int | dict[str, int],
) -> dict[str, list[Run]]:
    """Run all contestants once a round, every other round backwards, each on fresh accounts, checked."""
    runs: dict[str, list[Run]] = {name: [] for name in contestants}
    for number in range(rounds):
        names = list(contestants)
        for name in names[::-1] if number % 2 else names:
            talk(f"round {number + 1} of {rounds}: {name}")
            fresh(db, accounts)
            runs[name].append(contestants[name]())
            check(db, accounts, sent if isinstance(sent, int) else sent[name])
    talk("")
    return runs


def percentiles(each: Sequence[float]) -> list[str]:
    cuts = statistics.quantiles(each, n=100, method="inclusive")
    return [f"{cuts[at - 1] * 1000:.1f}" for at in (50, 95, 99)]


TABLES = {"serial": serial, "contention": contention, "batch": batch}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", default=",".join(TABLES), help="tables, with commas between them")
    parser.add_argument("--transfers", type=int, default=1000, help="of one contestant in one round")
    parser.add_argument("--rows", type=int, default=10_000, help="of the batch's file")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--senders", type=int, nargs="*", default=[2, 4, 16])
    parser.add_argument("--processes", type=int, nargs="*", default=[2, 4])
    args = parser.parse_args()
    say(f"{args.transfers} transfers a run, median of {args.rounds} on {machine()}\n")
    with server() as uri, pymongo.MongoClient[dict[str, Any]](uri) as client:
        db = client[f"benchmark_{uuid.uuid4().hex[:8]}"]
        try:
            for name in args.only.split(","):
                TABLES[name](uri, db, args)
        finally:
            client.drop_database(db.name)


if __name__ == "__main__":
    main()
