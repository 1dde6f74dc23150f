"""What several who write and several who read saw at the same time: explained by one order, or told what isn't.

First the checker itself, on histories that are right and on ones that are broken on purpose; then real ones.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import books
import pytest
from bson import Decimal128
from history import History, Move, Read, Send, violations
from hypothesis import given
from hypothesis import strategies as st
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pymongo

    SyncDatabase = pymongo.database.Database[dict[str, Any]]

# --- the checker ------------------------------------------------------------------------------------


@dataclass
class Serial:
    """An honest bank in memory: it moves and looks, one after the other, and keeps the history."""

    balances: dict[str, Fraction]

    def __post_init__(self) -> None:
        self.openings = dict(self.balances)
        self.entries = dict.fromkeys(self.balances, 0)
        self.moves: list[Move] = []
        self.sends: list[Send] = []
        self.reads: list[Read] = []
        self.clock = 0.0

    def tick(self) -> float:
        self.clock += 1
        return self.clock

    def send(self, source: str, target: str, amount: int) -> Move:
        begun = self.tick()
        for name, sign in ((source, -1), (target, 1)):
            self.balances[name] += sign * amount
            self.entries[name] += 1
        after = self.balances[source], self.balances[target]
        numbers = self.entries[source], self.entries[target]
        move = Move(f"t{len(self.moves)}", source, target, Fraction(amount), *numbers, *after)
        self.moves.append(move)
        self.sends.append(Send(move.key, begun, self.tick(), committed=True, answer=after))
        return move

    def read(self) -> Read:
        begun = self.tick()
        now = {name: (self.balances[name], self.entries[name]) for name in self.balances}
        self.reads.append(Read(begun, self.tick(), now))
        return self.reads[-1]

    def history(self, **other: Any) -> History:
        return History(
            **{
                "openings": self.openings,
                "moves": self.moves,
                "sends": self.sends,
                "reads": self.reads,
                **other,
            }
        )


@pytest.fixture
def bank() -> Serial:
    """Four transfers around a ring of three, and a look after each."""
    bank = Serial({"a": Fraction(100), "b": Fraction(100), "c": Fraction(100)})
    for source, target in ("ab", "bc", "ca", "ab"):
        bank.send(source, target, 10)
        bank.read()
    return bank


def test_a_history_that_is_one_order_has_nothing_wrong(bank: Serial) -> None:
    assert violations(bank.history()) == []


def test_a_read_of_one_side_only_is_found(bank: Serial) -> None:
    seen = {**bank.reads[0].seen, "b": (Fraction(100), 0)}
    found = violations(bank.history(reads=[replace(bank.reads[0], seen=seen)]))
    assert found == ["read 0 does not sum to the total", "read 0 saw one side of t0 and not the other"]


def test_a_read_of_one_side_is_found_where_the_sum_happens_to_be_right(bank: Serial) -> None:
    # a: after two of its entries (-10, +10), b: after one (+10), c: after one (+10) - of other transfers.
    seen = {"a": (Fraction(90), 1), "b": (Fraction(110), 1), "c": (Fraction(100), 2)}
    found = violations(bank.history(reads=[Read(0, math.inf, seen)]))
    assert found == [
        "read 0 saw one side of t1 and not the other",
        "read 0 saw one side of t2 and not the other",
    ]


def test_a_read_that_misses_what_was_answered_before_is_found(bank: Serial) -> None:
    stale = Read(bank.clock + 1, bank.clock + 2, bank.reads[2].seen)
    (found,) = violations(bank.history(reads=[stale]))
    assert found.startswith("no order explains")
    assert {"t3", "read"} <= set(found.split())


def test_a_read_of_what_had_not_begun_is_found(bank: Serial) -> None:
    early = Read(0.1, 0.2, bank.reads[0].seen)
    (found,) = violations(bank.history(reads=[early]))
    assert {"t0", "read"} <= set(found.split())


def test_two_reads_that_saw_two_transfers_in_different_orders_are_found() -> None:
    """The long fork: each read can be explained, both together can't."""
    bank = Serial(dict.fromkeys("abcd", Fraction(10)))
    bank.send("a", "b", 1)
    bank.send("c", "d", 1)
    one, other = Fraction(9), Fraction(11)
    untouched = (Fraction(10), 0)
    first = Read(0, 9, {"a": (one, 1), "b": (other, 1), "c": untouched, "d": untouched})
    second = Read(0, 9, {"a": untouched, "b": untouched, "c": (one, 1), "d": (other, 1)})
    at_once = [replace(send, begun=0.0, ended=9.0) for send in bank.sends]
    assert violations(bank.history(sends=at_once, reads=[first])) == []
    assert violations(bank.history(sends=at_once, reads=[second])) == []
    (found,) = violations(bank.history(sends=at_once, reads=[first, second]))
    assert {"t0", "t1", "0", "1"} <= set(found.split())


def test_accounts_that_took_two_transfers_in_different_orders_are_found() -> None:
    first = Move("t0", "a", "b", Fraction(1), 1, 2, Fraction(9), Fraction(12))
    second = Move("t1", "a", "b", Fraction(1), 2, 1, Fraction(8), Fraction(11))
    found = violations(History({"a": Fraction(10), "b": Fraction(10)}, [first, second]))
    assert found == ["no order explains: t0 before t1 before t0"]


def test_one_sent_after_the_others_answer_and_carried_out_before_it_is_found(bank: Serial) -> None:
    late = [replace(send, begun=100, ended=101) if send.key == "t0" else send for send in bank.sends]
    (found,) = violations(bank.history(sends=late, reads=[]))
    assert "t0" in found


def test_a_lost_update_is_found(bank: Serial) -> None:
    lost = replace(bank.moves[3], from_entry=2, from_balance=Fraction(90))
    found = violations(bank.history(moves=[*bank.moves[:3], lost], sends=[], reads=[]))
    assert (
        found
        == [
            "t3 and t2 are both entry 2 of an account",
            "a does not have after entry 2 what entry 1 and its amount make",
        ]
        or found[0] == "t3 and t2 are both entry 2 of an account"
    )


def test_an_entry_that_is_missing_is_found(bank: Serial) -> None:
    found = violations(bank.history(moves=bank.moves[1:], sends=[], reads=[]))
    assert found[:2] == ["a has the entries [2, 3]", "b has the entries [2, 3]"]


def test_a_balance_below_zero_is_found() -> None:
    bank = Serial({"a": Fraction(1), "b": Fraction(1)})
    bank.send("a", "b", 2)
    bank.read()
    assert violations(bank.history()) == ["a is below zero after entry 1", "read 0 saw a below zero"]


def test_part_of_a_transaction_in_a_read_is_found(bank: Serial) -> None:
    together = [replace(move, transaction="batch") for move in bank.moves[:2]]
    (found,) = violations(bank.history(moves=[*together, *bank.moves[2:]]))
    assert found == "no order explains: batch before read 0 before batch"


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        ({"moves": []}, "t0 was answered as committed and is not in the ledger"),
        ({"sends": [Send("t1", 1, 2, committed=True)]}, "t0 is in the ledger and nobody sent it"),
        ({"sends": [Send("t0", 1, 2, committed=False)]}, "t0 is in the ledger and was answered as refused"),
        (
            {"sends": [Send("t0", 1, 2, committed=True, answer=(Fraction(1), Fraction(2)))]},
            "t0 was answered with other balances than the ledger has",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_answer_that_the_ledger_belies_is_found(
    bank: Serial, other: dict[str, Any], sentence: str
) -> None:
    assert sentence in violations(bank.history(reads=[], **other))


def test_an_answer_that_stayed_out_may_be_either(bank: Serial) -> None:
    unknown = [replace(send, committed=None, ended=math.inf) for send in bank.sends]
    never = Send("lost", 0.5)
    assert violations(bank.history(sends=[*unknown, never])) == []


STEPS = st.lists(
    st.tuples(st.permutations("abc").map(lambda order: order[:2]), st.integers(1, 5)) | st.just("read"),
    min_size=2,
    max_size=30,
)


@given(STEPS, st.data())
def test_any_serial_history_is_right_and_a_changed_read_of_it_is_not(
    steps: list[Any], data: st.DataObject
) -> None:
    bank = Serial(dict.fromkeys("abc", Fraction(1000)))
    for step in steps:
        if step == "read":
            bank.read()
        else:
            (source, target), amount = step
            bank.send(source, target, amount)
    bank.read()
    assert violations(bank.history()) == []

    at = data.draw(st.integers(0, len(bank.reads) - 1))
    name = data.draw(st.sampled_from("abc"))
    balance, entries = bank.reads[at].seen[name]
    changed = data.draw(
        st.one_of(
            st.just((balance + 1, entries)),
            st.integers(0, bank.entries[name] + 1).filter(lambda n: n != entries).map(lambda n: (balance, n)),
        )
    )
    reads = list(bank.reads)
    reads[at] = replace(reads[at], seen={**reads[at].seen, name: changed})
    assert violations(bank.history(reads=reads)) != []


# --- the real thing ---------------------------------------------------------------------------------

ACCOUNTS = [f"acc{n}" for n in range(6)]
OPENING = 100

WRITER = """
import asyncio, json, random, sys, time
from decimal import Decimal
from motor.motor_asyncio import AsyncIOMotorClient
from motorctl.core.transfers.post import post
from motorctl.core.transfers.request import Request
from motorctl.errors import OutcomeUnknownError, UnreachableError

uri, name, number, tasks, rounds, accounts = *sys.argv[1:3], *map(int, sys.argv[3:6]), sys.argv[6].split(",")

def request(key, chance):
    source, target = chance.sample(accounts, 2)
    return Request(key, source, target, Decimal(chance.choice(["0.01", "1.00", "19.99", "60.00"])))

async def write(db, task):
    chance = random.Random(f"{number} {task}")
    for n in range(rounds):
        batch = f"w{number}.{task}.{n}"
        many = chance.choice([1, 1, 1, 3])
        # Every third is a key that the other writers send too, with the same arguments, at about the same time.
        if n % 3 == 2:
            key = f"shared.{task}.{n}"
            requests = [request(key, random.Random(key))]
        else:
            requests = [request(f"{batch}.{at}", chance) for at in range(many)]
        begun, outcomes = time.monotonic(), None
        try:
            outcomes = await post(db, requests, seconds=30)
        except OutcomeUnknownError:
            pass
        ended = time.monotonic()
        for at, one in enumerate(requests):
            said = {"key": one.key, "begun": begun, "transaction": batch}
            if outcomes is not None:
                record = outcomes[at].record
                said |= {"ended": ended, "committed": record is not None, "replayed": outcomes[at].replayed}
                if record is not None:
                    said["answer"] = [str(record["from_balance"]), str(record["to_balance"])]
            print(json.dumps(said))

async def main():
    clients = [AsyncIOMotorClient(uri, tz_aware=True) for _ in range(tasks)]
    await asyncio.gather(*(client.admin.command("ping") for client in clients))
    print("ready", flush=True)
    sys.stdin.readline()
    await asyncio.gather(*(write(client[name], task) for task, client in enumerate(clients)))

asyncio.run(main())
"""


class Reader(threading.Thread):
    """Looks at all accounts in one snapshot, again and again, until it is told to stop."""

    def __init__(self, look: Callable[[], list[dict[str, Any]]]) -> None:
        super().__init__(daemon=True)
        self.look, self.reads, self.over = look, list[Read](), threading.Event()

    def run(self) -> None:
        while not self.over.is_set():
            begun = time.monotonic()
            documents = self.look()
            ended = time.monotonic()
            self.reads.append(Read(begun, ended, seen(documents)))
            time.sleep(0.005)

    def stop(self) -> list[Read]:
        self.over.set()
        self.join(30)
        assert not self.is_alive(), "a reader hangs"
        return self.reads


def seen(documents: list[dict[str, Any]]) -> dict[str, tuple[Fraction, int]]:
    return {d["_id"]: (books.number(d["balance"]), int(d.get("entries") or 0)) for d in documents}


def in_a_transaction(db: SyncDatabase) -> list[dict[str, Any]]:
    with db.client.start_session() as session:
        return session.with_transaction(
            lambda session: list(db.accounts.find(session=session)),
            read_concern=ReadConcern("snapshot"),
            write_concern=WriteConcern("majority"),
        )


def in_a_snapshot_session(db: SyncDatabase) -> list[dict[str, Any]]:
    with db.client.start_session(snapshot=True) as session:
        return list(db.accounts.find(session=session))


def one_by_one(db: SyncDatabase) -> list[dict[str, Any]]:
    """What nobody should do: each account at a time of its own."""
    found: list[dict[str, Any]] = []
    for name in ACCOUNTS:
        found += db.accounts.find({"_id": name})
        time.sleep(0.002)
    return found


def opened(db: SyncDatabase) -> dict[str, Fraction]:
    amount = Decimal128(f"{OPENING}.00")
    db.accounts.insert_many(
        {"_id": name, "currency": "EUR", "status": "open", "balance": amount, "opening": amount, "entries": 0}
        for name in ACCOUNTS
    )
    db.create_collection("transfers")
    return dict.fromkeys(ACCOUNTS, Fraction(OPENING))


def moves(db: SyncDatabase, transactions: dict[str, str]) -> list[Move]:
    return [
        Move(
            record["_id"],
            record["from"],
            record["to"],
            books.number(record["amount"]),
            record["from_entry"],
            record["to_entry"],
            books.number(record["from_balance"]),
            books.number(record["to_balance"]),
            transactions.get(record["_id"], ""),
        )
        for record in db.transfers.find()
    ]


def observed(
    db: SyncDatabase,
    uri: str,
    *,
    processes: int,
    tasks: int,
    rounds: int,
    looks: Sequence[Callable[[SyncDatabase], list[dict[str, Any]]]],
) -> tuple[History, list[dict[str, Any]]]:
    """Let processes of several tasks each write while others read, and return what all of them saw."""
    openings = opened(db)
    arguments = [*map(str, (tasks, rounds)), ",".join(ACCOUNTS)]
    with ExitStack() as stack:
        writers = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", WRITER, uri, db.name, str(number), *arguments],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for number in range(processes)
        ]
        for writer in writers:
            stack.callback(writer.kill)
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
        readers = [Reader(lambda look=look: look(db)) for look in looks]  # type: ignore[misc]  # a lambda's default has no type
        for reader in readers:
            reader.start()
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write("go\n")
            writer.stdin.flush()
        said = [
            json.loads(line) for writer in writers for line in writer.communicate(timeout=120)[0].splitlines()
        ]
        assert [writer.returncode for writer in writers] == [0] * processes
        reads = [read for reader in readers for read in reader.stop()]
    sends = [
        Send(
            one["key"],
            one["begun"],
            one.get("ended", math.inf),
            one.get("committed"),
            None if one.get("answer") is None else (Fraction(one["answer"][0]), Fraction(one["answer"][1])),
        )
        for one in said
    ]
    # Who replayed a key committed something else with it, or nothing.
    transactions = {
        one["key"]: one["transaction"] for one in said if one.get("committed") and not one["replayed"]
    }
    return History(openings, moves(db, transactions), sends, reads), said


ROUNDS = 12
"""How many times each of eight writers sends; with `--thorough N`, N times as often."""


def test_what_writers_and_readers_saw_is_explained_by_one_order(
    request: pytest.FixtureRequest, sync_db: SyncDatabase, server_uri: str
) -> None:
    rounds = ROUNDS * (request.config.getoption("--thorough", None) or 1)
    looks = [in_a_transaction, in_a_snapshot_session]
    history, said = observed(sync_db, server_uri, processes=2, tasks=4, rounds=rounds, looks=looks)
    assert violations(history) == []
    assert books.differences(books.read(sync_db)) == []
    # It was worth looking: there were answers of each kind, and reads in the middle.
    assert {(one["committed"], one["replayed"]) for one in said} == {
        (True, False),
        (True, True),
        (False, False),
    }
    cuts = {tuple(sorted(read.seen.items())) for read in history.reads}
    assert len(cuts) > 10
    assert len(history.moves) > rounds * 4


def test_reads_outside_of_a_snapshot_are_found_out(sync_db: SyncDatabase, server_uri: str) -> None:
    """The same run looked at as one should not: the checker is not one that is always content."""
    history, _ = observed(sync_db, server_uri, processes=1, tasks=4, rounds=6, looks=[one_by_one])
    assert violations(history) != []
    assert violations(replace(history, reads=[])) == []
