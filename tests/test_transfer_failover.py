"""Transfers while members of the replica set are killed and stepped down: whatever happens, the books balance.

Several processes send them: some through `post` with one client each, some as `motorctl transfer send` and
`motorctl transfer batch`, as their users start them. Some keys are sent by two processes. Meanwhile a member
is killed with SIGKILL every two seconds, mostly the primary, and started again; in between the primary is stepped
down. Afterwards everything that anybody was told is held against the ledger.

`--failover 5000` makes it 5,000 transfers, and as many kills as they take (a few minutes); the figures are shown.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import books
import pymongo
import pytest
from answers import Asked, Attempt, differences
from bson import Decimal128
from conftest import command
from pymongo.errors import DuplicateKeyError
from replica_set import replica_set

from motorctl.core.transfers import ledger
from motorctl.core.transfers.post import prepare
from motorctl.core.transfers.request import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from replica_set import Member, ReplicaSet

    from motorctl.client import Database

SEED = 20260101
ACCOUNTS = [f"account-{number:02}" for number in range(20)]
OPENED_WITH = Decimal("100.00")
DATABASE = "bank"
SENDERS = 3
AT_ONCE = 4
SHORT, SHORT_SECONDS = 240, 5.0
KILL_EVERY = 2.0
# Of the kills three of four are the primary's.
VICTIMS = ("primary", "primary", "secondary", "primary")
# After a kill: started again, then the primary is stepped down, every other time.
STARTED_AFTER, STEPPED_DOWN_AFTER = 0.6, 1.4
LIMIT = 8.0
# One process has less patience than an election takes: it is told more often that nothing was done, or nobody knows.
IMPATIENT = 0.7
# Beyond the limit: a server looked for as long at most, and two busy processors.
SLACK = 8.0
AGAIN = (3, 9)
MOST_ATTEMPTS = 20


@dataclass
class Figures:
    """What a run was."""

    transfers: int = 0
    kills: int = 0
    step_downs: int = 0
    again: int = 0
    unknown: int = 0
    refused: int = 0
    replayed: int = 0
    records: int = 0
    seconds: float = 0.0
    longest: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.transfers} transfers in {self.seconds:.0f} s, {self.kills} kills, {self.step_downs}"
            f" step-downs; {self.records} in the ledger, {self.refused} refused, {self.again} sent again,"
            f" {self.unknown} times unknown (9), {self.replayed} replayed; the longest answer took"
            f" {self.longest:.1f} s"
        )


@dataclass
class Run:
    """The transfers of one run: who sends which."""

    asked: list[list[Asked]] = field(default_factory=list)
    """For each process that sends many."""
    sends: list[Asked] = field(default_factory=list)
    """Each by a process of its own."""
    batches: list[list[Asked]] = field(default_factory=list)

    def all(self) -> list[Asked]:
        return [one for some in (*self.asked, self.sends, *self.batches) for one in some]


def planned(transfers: int) -> Run:
    """Draw the transfers: most by processes that send many, some a `send` each, a fifth in batches."""
    chance = random.Random(SEED)

    def one(number: int) -> Asked:
        source, target = chance.sample(ACCOUNTS, 2)
        # Some amounts are more than an account has: that is an answer, too.
        amount = Decimal(chance.randint(1, 4000 if chance.random() < 0.9 else 20000)) / 100
        note = f"number {number}" if number % 3 == 0 else None
        return Asked(f"key-{number:05}", source, target, amount, note)

    drawn = [one(number) for number in range(transfers)]
    sends, batched = min(transfers // 30, 100), transfers // 5
    run = Run(sends=drawn[:sends])
    size = max(25, batched // 10)
    for at in range(sends, sends + batched, size):
        run.batches.append(drawn[at : min(at + size, sends + batched)])
    rest = drawn[sends + batched :]
    parts = [rest[number::SENDERS] for number in range(SENDERS)]
    for at, part in enumerate(parts):
        # One of twenty is sent by two processes at about the same time.
        of_another = {place: parts[at - 1][place] for place in range(0, len(part), 20)}
        both = [
            [one, replace(of_another[n], attempts=[])] if n in of_another else [one]
            for n, one in enumerate(part)
        ]
        run.asked.append([one for some in both for one in some])
    return run


def open_accounts(client: pymongo.MongoClient[dict[str, Any]]) -> None:
    """Most as `accounts open` makes them; some were there before the ledger, with an int or a double."""
    older: dict[int, Any] = {0: Decimal128("100.00"), 1: 100, 2: 100.0}
    client[DATABASE]["accounts"].insert_many(
        {"_id": name, "currency": "EUR", "balance": older[number]}
        if number in older
        else {
            "_id": name,
            "currency": "EUR",
            "status": "open",
            "balance": Decimal128(OPENED_WITH),
            "opening": Decimal128(OPENED_WITH),
            "entries": 0,
        }
        for number, name in enumerate(ACCOUNTS)
    )


# --- who sends ---------------------------------------------------------------------------------------


def sending(asked: list[Asked], home: Path, number: int, env: dict[str, str], pause: float) -> None:
    """Run a process that sends many, to its end, and note what it was answered."""
    file = home / f"sender{number}.ndjson"
    file.write_text("".join(_line(one) for one in asked))
    done = subprocess.run(
        [
            *(sys.executable, Path(__file__).with_name("transferring.py"), file),
            *("--seed", str(number), "--limit", str(IMPATIENT if number == 0 else LIMIT)),
            *("--pause", str(pause), "--at-once", str(AT_ONCE)),
        ],
        env=env,
        capture_output=True,
        text=True,
        timeout=120 + len(asked),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    by_key = {one.key: one for one in asked}
    for line in done.stdout.splitlines():
        answer = json.loads(line)
        by_key[answer.pop("key")].attempts.append(Attempt(**answer))


def sending_each(asked: list[Asked], env: dict[str, str]) -> None:
    for one in asked:
        send(one, env)


def sending_batches(batches: list[list[Asked]], home: Path, env: dict[str, str]) -> None:
    for some in batches:
        send_batch(some, home, env)


def send(one: Asked, env: dict[str, str]) -> None:
    """Run `motorctl transfer send` until it is made, refused, or has been tried often."""
    arguments = ["transfer", "send", one.source, one.target, str(one.amount), "--key", one.key, "-o", "json"]
    arguments += ["--note", one.note] if one.note else []
    while len(one.attempts) < MOST_ATTEMPTS:
        code, stdout, stderr, seconds = program(arguments, env)
        one.attempts.append(Attempt(code, seconds, json.loads(stdout) if code == 0 else None, stderr))
        if code not in AGAIN:
            return


def send_batch(some: list[Asked], home: Path, env: dict[str, str]) -> None:
    """Run `motorctl transfer batch`, again until its file is through; what it rejects was refused."""
    file, rejects = home / f"{some[0].key}.ndjson", home / f"{some[0].key}.rejects"
    file.write_text("".join(_line(one) for one in some))
    arguments = ["transfer", "batch", str(file), "--rejects", str(rejects), "-o", "json"]
    for _ in range(MOST_ATTEMPTS):
        code, stdout, stderr, _ = program(arguments, env)
        if code in (0, 7):
            lines = rejects.read_text().splitlines() if code == 7 else []
            refused = {json.loads(line)["line"]: line for line in lines}
            for line, one in enumerate(some, 1):
                one.attempts.append(Attempt(6 if line in refused else 0, 0.0, None, refused.get(line, "")))
            return
        for one in some:
            one.attempts.append(Attempt(9 if code in AGAIN else code, 0.0, None, stdout + stderr))


def program(arguments: list[str], env: dict[str, str]) -> tuple[int, str, str, float]:
    """Run the program and return its code, its two streams and the seconds that it took."""
    begun = time.monotonic()
    done = subprocess.run(
        command(*arguments, "--timeout", f"{LIMIT:g}"),
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr, time.monotonic() - begun


def _line(one: Asked) -> str:
    wanted = {"key": one.key, "from": one.source, "to": one.target, "amount": str(one.amount)}
    return json.dumps(wanted | ({"note": one.note} if one.note else {})) + "\n"


# --- the trouble -------------------------------------------------------------------------------------


def trouble(members: ReplicaSet, over: threading.Event, figures: Figures) -> None:
    """Kill, start again and step down until it is over; in the thread that the members live by."""
    chance = random.Random(SEED)
    begun = time.monotonic()
    for number, kind in enumerate(VICTIMS * 10_000):
        if over.wait(max(0.0, begun + number * KILL_EVERY - time.monotonic())):
            return
        victim = _victim(members, kind, chance)
        victim.kill()
        killed = time.monotonic()
        figures.kills += 1
        over.wait(STARTED_AFTER)
        victim.start()
        if number % 2 == 0 and not over.wait(max(0.0, killed + STEPPED_DOWN_AFTER - time.monotonic())):
            figures.step_downs += members.step_down() is not None


def _victim(members: ReplicaSet, kind: str, chance: random.Random) -> Member:
    found = members.primary()
    if kind == "secondary":
        found = chance.choice([member for member in members.members if member is not found])
    return found or chance.choice(members.members)


# --- a run -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Finished:
    """What is left when it is over."""

    run: Run
    books: books.Books
    figures: Figures
    shown: dict[str, tuple[int, str]]
    """For keys that somebody was told is in doubt: the exit code of `transfer show`, and what it said."""
    verified: tuple[int, str, str]


@pytest.fixture(scope="module")
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    """Let all of them send while the members are killed."""
    transfers = request.config.getoption("--failover") or SHORT
    home = tmp_path_factory.mktemp("failover")
    run, figures = planned(transfers), Figures(transfers=transfers)
    with replica_set(home / "members") as members, pymongo.MongoClient[dict[str, Any]](members.uri) as client:
        env = {**os.environ, "MOTORCTL_URI": members.uri, "MOTORCTL_DB": DATABASE}
        open_accounts(client)
        # A short run is slowed down, so that there is something under way at each kill.
        pause = 0.0 if transfers > SHORT else SHORT_SECONDS * SENDERS * AT_ONCE / transfers
        over = threading.Event()
        begun = time.monotonic()
        with ThreadPoolExecutor(SENDERS + 2) as pool:
            jobs = [
                *(
                    pool.submit(sending, some, home, number, env, pause)
                    for number, some in enumerate(run.asked)
                ),
                pool.submit(sending_each, run.sends, env),
                pool.submit(sending_batches, run.batches, home, env),
            ]

            def wait() -> None:
                for job in jobs:
                    job.exception()
                over.set()

            threading.Thread(target=wait).start()
            try:
                trouble(members, over, figures)
            finally:
                over.set()
        for job in jobs:
            job.result()
        figures.seconds = time.monotonic() - begun
        for member in members.members:
            if not member.runs:
                member.start()
        members.wait_for_majority()
        attempts = [attempt for one in run.all() for attempt in one.attempts]
        doubted = {one.key for one in run.all() if any(attempt.exit == 9 for attempt in one.attempts)}
        with ThreadPoolExecutor(2) as pool:
            keys = sorted(doubted)[: 5 if transfers <= SHORT else 20]
            shown = dict(
                zip(keys, pool.map(lambda key: program(["transfer", "show", key], env), keys), strict=True)
            )
        code, stdout, stderr, _ = program(["transfer", "verify"], env)
        found = books.read(client[DATABASE])
        figures.records = len(found.transfers)
        figures.longest = max(attempt.seconds for attempt in attempts)
        figures.again = sum(len(one.attempts) - 1 for one in run.all())
        figures.unknown = sum(attempt.exit == 9 for attempt in attempts)
        figures.refused = sum(attempt.exit == 6 for attempt in attempts)
        figures.replayed = sum(attempt.replayed for attempt in attempts)
        yield Finished(
            run,
            found,
            figures,
            {key: (done[0], done[1] + done[2]) for key, done in shown.items()},
            (code, stdout, stderr),
        )


def test_there_was_trouble(finished: Finished) -> None:
    figures = finished.figures
    assert figures.kills >= 3
    assert figures.step_downs >= 1
    # Kills came all the time, and neither killed everything nor nothing.
    assert figures.records > figures.transfers / 2
    assert figures.refused


def test_the_books_are_what_everybody_was_told(
    finished: Finished, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    if request.config.getoption("--failover"):
        with capsys.disabled():
            print(f"\n{finished.figures}")  # noqa: T201 - it was asked for
    wrong = differences(finished.books, dict.fromkeys(ACCOUNTS, OPENED_WITH), finished.run.all())
    assert not wrong, "\n".join([str(finished.figures), *(sentence[:400] for sentence in wrong[:20])])


def test_no_transfer_hangs(finished: Finished) -> None:
    """Each ends by its limit, whatever the members did meanwhile."""
    single = [one for some in (*finished.run.asked, finished.run.sends) for one in some]
    longest = max((attempt.seconds, one.key) for one in single for attempt in one.attempts)
    assert longest[0] < LIMIT + SLACK, longest


def test_show_tells_what_became_of_a_doubt(finished: Finished) -> None:
    there = finished.books.transfers
    told = {key: code for key, (code, _) in finished.shown.items()}
    assert told == {key: 0 if key in there else 5 for key in told}, finished.shown


def test_verify_finds_nothing(finished: Finished) -> None:
    code, stdout, stderr = finished.verified
    assert code == 0, stdout + stderr


# --- the checker itself: what it has to see ----------------------------------------------------------


@dataclass
class Said:
    """Books and answers that a fault is put into."""

    accounts: dict[str, Any]
    records: dict[str, Any]
    asked: list[Asked]

    def wrong(self) -> list[str]:
        opened = dict.fromkeys(self.accounts, Decimal("50.00"))
        return differences(books.Books(self.accounts, self.records), opened, self.asked)


def good() -> Said:
    """Two accounts, two transfers of 10.00 and 5.00 to and fro, a third that was refused."""

    def record(key: str, source: str, target: str, amount: str, after: tuple[str, str], entry: int) -> Any:
        return {
            "_id": key,
            "from": source,
            "to": target,
            "amount": Decimal128(amount),
            "from_balance": Decimal128(after[0]),
            "to_balance": Decimal128(after[1]),
            "from_entry": entry,
            "to_entry": entry,
        }

    def account(name: str, balance: str) -> Any:
        there = {"balance": Decimal128(balance), "opening": Decimal128("50.00")}
        return {"_id": name, "currency": "EUR", **there, "entries": 2}

    records = {
        "k1": record("k1", "a", "b", "10.00", ("40.00", "60.00"), 1),
        "k2": record("k2", "b", "a", "5.00", ("55.00", "45.00"), 2),
    }
    asked = [
        Asked("k1", "a", "b", Decimal("10.00"), attempts=[Attempt(3), Attempt(0, row=_row(records["k1"]))]),
        Asked(
            "k2",
            "b",
            "a",
            Decimal(5),
            attempts=[Attempt(9), Attempt(0, row=_row(records["k2"], replayed=True))],
        ),
        Asked("k3", "a", "b", Decimal(1000), attempts=[Attempt(6)]),
    ]
    return Said({"a": account("a", "45.00"), "b": account("b", "55.00")}, records, asked)


def _row(record: dict[str, Any], *, replayed: bool = False) -> dict[str, Any]:
    row = ledger.shown(record, replayed=replayed)
    return {name: str(value) if isinstance(value, Decimal) else value for name, value in row.items()}


def test_the_checker_finds_nothing_where_nothing_is_wrong() -> None:
    assert good().wrong() == []


def _doubled(said: Said) -> None:
    said.accounts["b"]["balance"] = Decimal128("65.00")


def _moved_without_a_record(said: Said) -> None:
    said.accounts["a"]["balance"], said.accounts["b"]["balance"] = Decimal128("44.00"), Decimal128("56.00")


def _negative(said: Said) -> None:
    said.accounts["a"]["balance"], said.accounts["b"]["balance"] = Decimal128("-1.00"), Decimal128("101.00")


def _lost(said: Said) -> None:
    del said.records["k1"]


def _gap(said: Said) -> None:
    said.records["k2"]["from_entry"] = said.accounts["b"]["entries"] = 3


def _never_asked_for(said: Said) -> None:
    said.asked.pop(0)


def _another_amount(said: Said) -> None:
    said.asked[0].amount = Decimal("10.01")


def _said_and_not_done(said: Said) -> None:
    said.asked[2].attempts = [Attempt(0, row=_row({**said.records["k1"], "_id": "k3"}))]


def _done_and_denied(said: Said) -> None:
    said.asked[0].attempts = [Attempt(3)]


def _done_and_refused(said: Said) -> None:
    said.asked[0].attempts = [Attempt(9), Attempt(6)]


def _denied_and_replayed(said: Said) -> None:
    said.asked[0].attempts = [Attempt(3), Attempt(0, row=_row(said.records["k1"], replayed=True))]


def _made_twice(said: Said) -> None:
    said.asked.append(replace(said.asked[0]))


def _another_balance(said: Said) -> None:
    said.asked[0].attempts = [Attempt(0, row={**_row(said.records["k1"]), "from_balance": "41.00"})]


def _broken(said: Said) -> None:
    said.asked[2].attempts = [Attempt(1, said="unexpected KeyError")]


def _never_tried(said: Said) -> None:
    said.asked[2].attempts = []


@pytest.mark.parametrize(
    "fault",
    [
        *(_doubled, _moved_without_a_record, _negative, _lost, _gap, _never_asked_for, _another_amount),
        *(_said_and_not_done, _done_and_denied, _done_and_refused, _denied_and_replayed, _made_twice),
        *(_another_balance, _broken, _never_tried),
    ],
)
def test_the_checker_sees(fault: Callable[[Said], None]) -> None:
    said = good()
    fault(said)
    assert said.wrong()


async def test_the_checker_sees_transfers_without_a_transaction(
    db: Database, sync_db: pymongo.database.Database[dict[str, Any]]
) -> None:
    """The same writes as `post` makes, one after the other: what a transaction is for."""
    opened = dict.fromkeys(ACCOUNTS[:4], Decimal("1000.00"))
    await db["accounts"].insert_many(
        [
            {"_id": name, "balance": Decimal128(held), "opening": Decimal128(held)}
            for name, held in opened.items()
        ]
    )
    chance = random.Random(SEED)
    pairs = [chance.sample(sorted(opened), 2) for _ in range(60)]
    asked = [Asked(f"k{n}", source, target, Decimal(n + 1)) for n, (source, target) in enumerate(pairs)]

    async def send_without(one: Asked) -> None:
        try:
            made = await prepare(db, [Request(one.key, one.source, one.target, one.amount)])
            await db["transfers"].insert_many(made.records)
            for name, after in made.after.items():
                if after is not made.before[name]:
                    await db["accounts"].update_one(
                        {"_id": name, "balance": made.before[name].stored},
                        {"$set": {"balance": Decimal128(after.balance), "entries": after.entries}},
                    )
        except DuplicateKeyError:
            one.attempts.append(Attempt(3))
        else:
            one.attempts.append(Attempt(0, row=_row(made.records[0])))

    await asyncio.gather(*(send_without(one) for one in asked))
    wrong = differences(books.read(sync_db), opened, asked)
    assert any("all accounts hold" in sentence for sentence in wrong), wrong
    assert any("is entry" in sentence for sentence in wrong), wrong
