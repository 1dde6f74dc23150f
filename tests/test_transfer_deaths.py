"""Where a command that moves money can die, and what its user has then: run again, it is done once.

Each case is the program as its user starts it, behind a proxy that holds one message: there the process is
killed, or told to stop. What the ledger holds is looked at before and after the same command ran again. The
server of these tests keeps open transactions for ten minutes: what a dead process leaves behind isn't
tidied up by chance.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import books
import pymongo
import pytest
from bson import Decimal128, ObjectId
from conftest import Server, command, until
from processes import cpu_of
from proxy import Place, holding

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Runner
    from proxy import Body, Holding

# Most of them wait.
AT_ONCE = 12
# More than the time in which a stop gives up waiting for an answer, on a busy machine.
ENDS_WITHIN = 20.0
# What a run may take that meets a transaction of a dead process; the server itself would keep it for ten minutes.
TIMEOUT = 10
WRITES = ("insert", "update", "findAndModify", "bulkWrite", "delete")
PLACES = ("before", "read", "between", "written", "sent", "told")
"""Before the transaction; after its reads; between its two writes; with the commit on its way, and not arrived;
with the commit carried out, and not answered; with the answer there, and not told yet."""
SIGNALS = ("KILL", "TERM", "INT")
CODES = {"KILL": -signal.SIGKILL, "TERM": 143, "INT": 130}

Client = pymongo.MongoClient[dict[str, Any]]


def begins(body: Body) -> bool:
    return "startTransaction" in body


def commits(body: Body) -> bool:
    return next(iter(body)) == "commitTransaction"


class Writes:
    """Meets the write of a transaction that has that many before it."""

    def __init__(self, before: int) -> None:
        self._left = before

    def __call__(self, body: Body) -> bool:
        if next(iter(body)) not in WRITES or "txnNumber" not in body or "autocommit" not in body:
            return False
        self._left -= 1
        return self._left < 0


@dataclass(frozen=True)
class Case:
    """A command, where it is held, and what is done to it there.

    `answered`: the held answer of the commit comes after the signal; else it stays out for ever.
    """

    what: str
    where: str
    signal: str
    answered: bool = False

    def __str__(self) -> str:
        return f"{self.what}-{self.where}-{self.signal}" + ("-answered" if self.answered else "")

    def place(self) -> Place:
        match self.where:
            case "before":
                return Place(begins)
            case "read":
                return Place(Writes(0))
            case "between":
                return Place(Writes(1))
            case "written":
                return Place(commits)
            case _:
                return Place(commits, answer=True)

    @property
    def committed(self) -> bool:
        """Whether the commit has reached the server when the signal comes."""
        return self.where in ("sent", "told")


CASES = (
    *(Case("send", where, by) for where in PLACES for by in SIGNALS),
    *(Case("send", "sent", by, answered=True) for by in ("TERM", "INT")),
    *(Case("batch", "between", by) for by in SIGNALS),
    *(Case("batch", "sent", by) for by in ("KILL", "TERM")),
    Case("batch", "sent", "TERM", answered=True),
    *(Case(what, where, "KILL") for what in ("place", "cancel") for where in ("between", "sent")),
    *(Case(what, "between", "TERM") for what in ("place", "cancel")),
)

USER, ORDER = ObjectId("64b7f0c2a1b2c3d4e5f60718"), ObjectId("64b7f0c2a1b2c3d4e5f60719")
ROWS = 6


def arguments(case: Case, home: Path) -> list[str]:
    match case.what:
        case "send":
            return ["transfer", "send", "a", "b", "10.00", "--key", "k", "-o", "json"]
        case "batch":
            file = home / f"{case}.csv"
            file.write_text("from,to,amount\n" + "a,b,1.00\nb,a,0.50\n" * (ROWS // 2))
            return ["transfer", "batch", str(file), "--rejects", f"{file}.rejects", "-o", "json"]
        case "place":
            line = ["--product", "tea", "--qty", "3"]
            return ["orders", "place", "--user", str(USER), *line, "--key", str(ORDER), "-o", "json"]
        case _:
            return ["orders", "cancel", str(ORDER), "-o", "json"]


def fill(db: pymongo.database.Database[dict[str, Any]], case: Case) -> None:
    account = {"currency": "EUR", "status": "open", "entries": 0}
    held = {name: Decimal128("100.00") for name in ("balance", "opening")}
    db["accounts"].insert_many([{"_id": name, **account, **held} for name in "ab"])
    db.create_collection("transfers")
    db["users"].insert_one({"_id": USER, "name": "Alice", "email": "alice@example.com"})
    db["inventory"].insert_one({"_id": "tea", "name": "Tea", "price": Decimal128("4.50"), "stock": 7})
    db.create_collection("orders")
    if case.what == "cancel":
        order = {"user_id": USER, "product_id": "tea", "qty": 3, "price": Decimal128("4.50")}
        db["orders"].insert_one({"_id": ORDER, **order, "amount": Decimal128("13.50"), "status": "pending"})


def done(db: pymongo.database.Database[dict[str, Any]], case: Case) -> int:
    """How many times it was done, as the documents say: money or stock, and the record of it."""
    found = books.read(db)
    assert not books.differences(found)
    records, orders = len(found.transfers), list(found.orders.values())
    moved = (Decimal(100) - found.accounts["a"]["balance"].to_decimal()) / Decimal("10.00")
    match case.what:
        case "send":
            assert moved == records
            return records
        case "batch":
            assert moved == Decimal(records) / ROWS * Decimal("0.15")
            assert records in (0, ROWS), "one chunk is one transaction"
            return records // ROWS
        case "place":
            assert found.stock("tea") == 7 - 3 * len(orders)
            return len(orders)
        case _:
            cancelled = orders[0]["status"] == "cancelled"
            assert found.stock("tea") == (10 if cancelled else 7)
            return int(cancelled)


# --- the deaths --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Died:
    """How a process ended: its code, what it said, how long it took from the signal on; what it had done."""

    code: int
    stdout: str
    stderr: str
    seconds: float
    done: int
    left_open: int
    """The transactions that were open on its database after it."""


def die(case: Case, server: Server, home: Path) -> Died:
    """Start the program, do to it what the case says, at the place that it says."""
    host, _, port = server.host.partition(":")
    with Client(server.uri) as client, holding(host, int(port), case.place()) as proxy:
        db = client[str(case)]
        fill(db, case)
        env = {**os.environ, "MOTORCTL_URI": f"{proxy.uri}&appName={case}", "MOTORCTL_DB": db.name}
        reads, writes = os.pipe()
        if case.where == "told":
            _stuff(writes)
        process = subprocess.Popen(
            command(*arguments(case, home), "--timeout", "30"),
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=writes,
            stderr=subprocess.PIPE,
        )
        os.close(writes)
        try:
            _reach(proxy, process)
            if case.where == "told":
                proxy.let_go()
                _until_it_waits(process)
            begun = time.monotonic()
            process.send_signal(getattr(signal, f"SIG{case.signal}"))
            if case.answered:
                time.sleep(0.3)
                proxy.let_go()
            if case.where == "told" and case.signal != "KILL":
                os.read(reads, 1 << 20)
            _, stderr = process.communicate(timeout=ENDS_WITHIN)
            seconds = time.monotonic() - begun
        finally:
            process.kill()
            process.wait()
        stdout = b""
        while some := os.read(reads, 1 << 20):
            stdout += some
        os.close(reads)
        left_open = len(_open_transactions(client, str(case)))
        return Died(
            process.returncode, stdout.decode().strip(), stderr.decode(), seconds, done(db, case), left_open
        )


def _reach(proxy: Holding, process: subprocess.Popen[bytes]) -> None:
    def reached() -> bool:
        assert process.poll() is None, f"it ended before: {process.communicate()[1].decode()}"
        return proxy.reached.is_set()

    until(reached, "the message comes")
    # What the process does in the same instant is done: it waits for the server, or for nothing at all.
    time.sleep(0.05)


def _stuff(pipe: int) -> None:
    """Fill a pipe, so that whoever writes to it waits."""
    flags = fcntl.fcntl(pipe, fcntl.F_GETFL)
    fcntl.fcntl(pipe, fcntl.F_SETFL, flags | os.O_NONBLOCK)
    try:
        while True:
            os.write(pipe, b" " * 4096)
    except BlockingIOError:
        fcntl.fcntl(pipe, fcntl.F_SETFL, flags)


def _until_it_waits(process: subprocess.Popen[bytes]) -> None:
    """Wait until a process has come to rest: it computes nothing any more."""
    used = [-1.0]

    def rests() -> bool:
        used.append(cpu_of(process.pid).own)
        time.sleep(0.1)
        return len(used) > 5 and used[-5] == used[-1]

    until(rests, "it waits for its reader")


def _open_transactions(client: Client, name: str) -> list[dict[str, Any]]:
    shown = client.admin.aggregate([{"$currentOp": {"idleSessions": True}}])
    return [row for row in shown if row.get("appName") == name and "transaction" in row]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    keeps = ("--setParameter", "transactionLifetimeLimitSeconds=600")
    made = Server(tmp_path_factory.mktemp("deaths") / "server", *keeps)
    try:
        made.initiate()
        yield made
    finally:
        made.kill()


@pytest.fixture(scope="module")
def died(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[Case, Died | BaseException]:
    """Let all cases die, some at a time."""
    home = tmp_path_factory.mktemp("files")

    def run(case: Case) -> Died | BaseException:
        try:
            return die(case, server, home)
        except BaseException as error:  # noqa: BLE001 - it is raised where the case is looked at
            return error

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(CASES, pool.map(run, CASES), strict=True))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_died_is_done_once_when_it_runs_again(
    died: dict[Case, Died | BaseException], server: Server, cli: Runner, tmp_path: Path, case: Case
) -> None:
    ended = died[case]
    if isinstance(ended, BaseException):
        raise ended
    assert ended.done == int(case.committed), ended
    if case.signal != "KILL":
        told(case, ended)
        assert not ended.left_open, ended
    where = {"MOTORCTL_URI": f"{server.uri}&appName={case}", "MOTORCTL_DB": str(case)}
    if ended.code == 9 and case.what == "send":
        # The hint names it; the answer is final: nothing is on its way any more.
        assert cli("transfer", "show", "k", env=where).code == (0 if case.committed else 5)
    again = cli(*arguments(case, tmp_path), "--timeout", str(TIMEOUT), env=where)
    assert again.code == 0, (ended, again)
    with Client(server.uri) as client:
        assert done(client[str(case)], case) == 1, (ended, again)
    if case.what == "send":
        row = again.json()
        assert row["replayed"] is case.committed
        assert (row["from_balance"], row["to_balance"]) == ("90.00", "110.00")


def told(case: Case, ended: Died) -> None:
    """Who is stopped says what was done: nothing, or what, or that nobody knows and how to find out."""
    assert "Traceback" not in ended.stderr, ended
    if case.where in ("written", "sent") and not case.answered:
        assert "motorctl transfer show" in ended.stderr or "motorctl orders get" in ended.stderr, ended
        if case.what == "batch":
            # It was stopped, and its books have a column for the doubt.
            assert ended.code in (9, CODES[case.signal]), ended
            assert json.loads(ended.stdout)["unknown"] == ROWS, ended
        else:
            assert ended.code == 9, ended
            assert not ended.stdout, ended
    elif case.where == "told":
        # It is done, and the server is done with: only its reader keeps it from an end of its own.
        assert ended.code in (0, CODES[case.signal], -getattr(signal, f"SIG{case.signal}")), ended
        assert "committed" in ended.stdout or ended.code < 0, ended
    else:
        assert ended.code == CODES[case.signal], ended
        if case.what == "send":
            assert "committed" in ended.stdout if case.committed else "nothing was sent" in ended.stderr, (
                ended
            )
