"""What the server can do to a transfer, an order or a batch in the middle, and what is left then.

A table: fault | what the user sees | exit code | what the ledger holds. Each row is made by a fail point that
strikes this program alone, and looked at by somebody who doesn't trust it (`books`). `pytest -n 0 -s` on this file
prints the table of what was seen, in Markdown.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import books
import pymongo
import pytest
import secured
from bson import Decimal128, ObjectId
from conftest import Server, until
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import ReadPreference
from secured import User, as_user

from motorctl.core import driver
from motorctl.core.transfers.post import post
from motorctl.core.transfers.request import Request
from motorctl.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from books import Books
    from conftest import Result, Runner

    from motorctl.core.transfers.plan import Outcome

    SyncDatabase = pymongo.database.Database[dict[str, Any]]

USER = ObjectId("64b7f0c2a1b2c3d4e5f60718")
ORDER = ObjectId("64b7f0c2a1b2c3d4e5f60719")

SHORT = 0.4
"""--timeout where the fault stays: all of it is waited for. Longer where a transfer is slow (`pace`)."""
LONG = 10.0
"""--timeout where the fault goes: a busy machine is no fault."""
SLACK = 3.0
"""Seconds beyond --timeout: an abort, the way to the server and back, and a busy machine."""


# --- what is done ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Command:
    """A command that writes in a transaction: how it is begun, and how one sees in the books that it was done."""

    arguments: tuple[str, ...]
    done: Callable[[Books], bool]
    look: tuple[str, ...]
    """The command that tells what became of it: its exit code is 0 where it was done."""
    stdin: str = ""
    tries: int = 1
    """How many times it begins again with the whole of --timeout."""
    says: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    """What stands in what the user sees, by exit code."""
    before: tuple[str, ...] = ()
    """A command that is to go before it."""
    absent: int = ExitCode.NOT_FOUND
    """What `look` ends with where it was not done."""


KEY = "rent-2026-11"
ROWS = "from,to,amount,key\nalice,bob,1.00,r1\nbob,alice,2.00,r2\nalice,carol,3.00,r3\n"

COMMANDS = {
    "send": Command(
        ("transfer", "send", "alice", "bob", "10.00", "--key", KEY),
        lambda b: b.balance("alice") == 90 and b.balance("bob") == 60 and [*b.transfers] == [KEY],
        ("transfer", "show", KEY),
        says={
            1: ("nothing",),
            3: ("nothing was sent", "motorctl transfer send", "alice bob 10.00", f"--key {KEY}"),
            9: (f"(key {KEY})", f"motorctl transfer show {KEY}", "alice bob 10.00", f"--key {KEY}"),
        },
    ),
    "reverse": Command(
        ("transfer", "reverse", KEY),
        lambda b: b.balance("alice") == 100 and set(b.transfers) == {KEY, f"{KEY}/reversal"},
        ("transfer", "show", f"{KEY}/reversal"),
        says={
            3: ("nothing was sent", f"motorctl transfer reverse {KEY}"),
            9: (f"motorctl transfer show {KEY}/reversal", f"motorctl transfer reverse {KEY}"),
        },
        before=("transfer", "send", "alice", "bob", "10.00", "--key", KEY),
    ),
    "batch": Command(
        ("transfer", "batch", "-", "--batch", "november", "--format", "csv"),
        lambda b: set(b.transfers) == {"r1", "r2", "r3"} and b.balance("carol") == 3,
        ("transfer", "show", "r3"),
        stdin=ROWS,
        tries=3,
        says={3: ("the same command goes on", "nothing is done twice"), 9: ("run the same command again",)},
    ),
    "place": Command(
        ("orders", "place", "--user", str(USER), "--line", "tea:2", "--line", "mug:1", "--key", "basket"),
        lambda b: "basket" in b.orders and (b.stock("tea"), b.stock("mug")) == (98, 9),
        ("orders", "get", "basket"),
        says={
            3: ("nothing was ordered", "--key basket"),
            9: ("`motorctl orders get basket` tells", "--key basket is safe"),
        },
    ),
    "cancel": Command(
        ("orders", "cancel", str(ORDER)),
        lambda b: b.orders[ORDER]["status"] == "cancelled" and b.stock("tea") == 103,
        ("orders", "cancel", str(ORDER), "--dry-run"),
        says={
            3: (f"order {ORDER} is as it was",),
            9: (f"`motorctl orders get {ORDER}` tells", "again is safe"),
        },
        absent=0,
    ),
}


# --- what happens to it ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """A fail point: which commands it strikes, how, and how often."""

    words: str
    commands: tuple[str, ...]
    how: dict[str, Any]
    times: int | None = None
    """None: as long as it lasts."""
    collection: str | None = None

    @property
    def mode(self) -> Any:
        return "alwaysOn" if self.times is None else {"times": self.times}

    def __str__(self) -> str:
        often = {None: "always", 1: "once", 2: "twice"}.get(self.times, f"{self.times} times")
        return f"{'+'.join(self.commands)}: {self.words}, {often}"


def error(code: int, *labels: str) -> dict[str, Any]:
    return {"errorCode": code} | ({"errorLabels": list(labels)} if labels else {})


def concern(code: int) -> dict[str, Any]:
    return {"writeConcernError": {"code": code, "errmsg": "waiting for replication"}}


def block(milliseconds: int) -> dict[str, Any]:
    return {"blockConnection": True, "blockTimeMS": milliseconds}


CLOSED = {"closeConnection": True}
TOO_LONG = {"blockConnection": True}
"""No answer until the limit is over."""
COMMIT = ("commitTransaction",)
ABORT = ("abortTransaction",)

DONE, NOTHING = "it, once", "nothing of it"


@dataclass(frozen=True)
class Row:
    """One row of the table: what is expected."""

    command: str
    fault: Fault
    code: int
    holds: str

    def __str__(self) -> str:
        return f"{self.command} - {self.fault}"


def send(
    words: str, commands: tuple[str, ...], how: dict[str, Any], times: int | None, code: int, holds: str
) -> Row:
    collection = {"find": "accounts", "update": "accounts", "insert": "transfers"}.get(commands[0])
    return Row(
        "send", Fault(words, commands, how, times, collection if len(commands) == 1 else None), code, holds
    )


TABLE = [
    # The commit's answer says that the transaction is gone: all of it runs again.
    send("NoSuchTransaction 251", COMMIT, error(251), 1, 0, DONE),
    send("NoSuchTransaction 251", COMMIT, error(251), None, 3, NOTHING),
    send("WriteConflict 112", COMMIT, error(112, "TransientTransactionError"), 3, 0, DONE),
    # It isn't known whether the commit arrived: it is sent again, alone.
    send("ShutdownInProgress 91", COMMIT, error(91), 1, 0, DONE),
    send("ShutdownInProgress 91", COMMIT, error(91), 3, 0, DONE),
    send("ShutdownInProgress 91", COMMIT, error(91), None, 9, NOTHING),
    send("InterruptedDueToReplStateChange 11602", COMMIT, error(11602), 3, 0, DONE),
    send("InterruptedDueToReplStateChange 11602", COMMIT, error(11602), None, 9, NOTHING),
    send("an unknown result, labelled so", COMMIT, error(64, "UnknownTransactionCommitResult"), 2, 0, DONE),
    send("connection closed", COMMIT, CLOSED, 1, 0, DONE),
    send("connection closed", COMMIT, CLOSED, 3, 0, DONE),
    send("connection closed", COMMIT, CLOSED, None, 9, NOTHING),
    send("MaxTimeMSExpired 50", COMMIT, error(50), 1, 9, NOTHING),
    # It was carried out, and how many members have it isn't known.
    send("write concern error 64 (timeout)", COMMIT, concern(64), 1, 0, DONE),
    send("write concern error 64 (timeout)", COMMIT, concern(64), None, 9, DONE),
    send("write concern error 91", COMMIT, concern(91), 2, 0, DONE),
    send("write concern error 91", COMMIT, concern(91), None, 9, DONE),
    send("write concern error 11602", COMMIT, concern(11602), 2, 0, DONE),
    send("write concern error 11602", COMMIT, concern(11602), None, 9, DONE),
    send("write concern error 251", COMMIT, concern(251), 1, 9, DONE),
    send("write concern error 100 (can't be met)", COMMIT, concern(100), 1, 9, DONE),
    send("write concern error 50 (MaxTimeMSExpired)", COMMIT, concern(50), 1, 9, DONE),
    # It takes long.
    send("0.3 s without an answer", COMMIT, block(300), 1, 0, DONE),
    send("no answer within the limit", COMMIT, TOO_LONG, None, 9, NOTHING),
    # Before the commit: nothing is written, so all of it runs again, until the time is over.
    *(
        row
        for commands in (("find",), ("update",), ("insert",))
        for row in (
            send("WriteConflict 112", commands, error(112), 3, 0, DONE),
            send("WriteConflict 112", commands, error(112), None, 3, NOTHING),
            send("ShutdownInProgress 91", commands, error(91), 1, 0, DONE),
            send("connection closed", commands, CLOSED, 1, 0, DONE),
            send("connection closed", commands, CLOSED, None, 3, NOTHING),
        )
    ),
    *(
        row
        for commands in (("update",), ("insert",))
        for row in (
            send("InterruptedDueToReplStateChange 11602", commands, error(11602), 1, 0, DONE),
            send("NoSuchTransaction 251", commands, error(251), 1, 0, DONE),
        )
    ),
    send("MaxTimeMSExpired 50", ("find",), error(50), 1, 3, NOTHING),
    send("MaxTimeMSExpired 50", ("insert",), error(50), 1, 3, NOTHING),
    send("no answer within the limit", ("find",), TOO_LONG, None, 3, NOTHING),
    send("no answer within the limit", ("insert",), TOO_LONG, None, 3, NOTHING),
    *(
        send(f"write concern error {code}", commands, concern(code), 1, 1, NOTHING)
        for commands, code in ((("update",), 64), (("insert",), 91))
    ),
    # Something is wrong, and with the abort too: it changes nothing.
    *(
        send(words, ("update", "abortTransaction"), how, times, code, holds)
        for words, how, times, code, holds in (
            ("WriteConflict 112, of both", error(112), 2, 0, DONE),
            ("WriteConflict 112, of both", error(112), None, 3, NOTHING),
            ("connection closed, of both", CLOSED, 2, 0, DONE),
            ("no answer within the limit, of both", TOO_LONG, None, 3, NOTHING),
        )
    ),
    # The other commands that write in a transaction, by the same runner.
    *(
        row
        for command, writes in (
            ("reverse", "insert"),
            ("batch", "insert"),
            ("place", "insert"),
            ("cancel", "update"),
        )
        for row in (
            Row(command, Fault("NoSuchTransaction 251", COMMIT, error(251), 1), 0, DONE),
            Row(command, Fault("connection closed", COMMIT, CLOSED), 9, NOTHING),
            Row(command, Fault("write concern error 64 (timeout)", COMMIT, concern(64)), 9, DONE),
            Row(command, Fault("WriteConflict 112", (writes,), error(112), 2), 0, DONE),
            Row(command, Fault("connection closed", (writes,), CLOSED), 3, NOTHING),
        )
    ),
]


# --- where it happens --------------------------------------------------------------------------------


@dataclass
class Shop:
    """A database with money and stock in it, a program that can be struck, and one that can't."""

    db: SyncDatabase
    uri: str
    cli: Runner

    def run(self, *arguments: str, stdin: str = "", timeout: float = LONG) -> Result:
        return self.cli(*arguments, "-o", "json", "--timeout", str(timeout), stdin=stdin)

    def struck(self, *arguments: str, stdin: str = "", timeout: float = LONG) -> Result:
        """Run the program under the name that the fail points have."""
        return self.cli(
            *arguments,
            *("-o", "json", "--timeout", str(timeout)),
            stdin=stdin,
            # The driver hears of a lost server from the command, and looks for it again at once (`back_at_once`).
            env={"MOTORCTL_URI": f"{self.uri}&appName={self.db.name}&serverMonitoringMode=poll"},
        )

    @contextmanager
    def failing(self, fault: Fault, *, timeout: float = 0) -> Iterator[Callable[[], None]]:
        """Let a fault happen within the block; yields a function that waits until it has."""
        how = fault.how
        if how is TOO_LONG:
            # A commit that is held is ended by the program itself, long before.
            beyond = 4000 if fault.commands == COMMIT else 1100
            how = {**how, "blockTimeMS": round(1000 * timeout) + beyond}
        data = {**how, "failCommands": list(fault.commands), "appName": self.db.name}
        if fault.collection is not None:
            data["namespace"] = f"{self.db.name}.{fault.collection}"
        admin = self.db.client.admin
        before = admin.command({"configureFailPoint": "failCommand", "mode": fault.mode, "data": data})[
            "count"
        ]

        def entered() -> None:
            admin.command(
                {"waitForFailPoint": "failCommand", "timesEntered": before + 1, "maxTimeMS": 20_000}
            )

        try:
            yield entered
        finally:
            admin.command({"configureFailPoint": "failCommand", "mode": "off"})
            if sessions := self.open_transactions():
                # What the server does after a minute: transactionLifetimeLimitSeconds.
                admin.command({"killSessions": sessions})

    def open_transactions(self) -> list[dict[str, Any]]:
        """Return the sessions of what was struck that have a transaction open on the server."""
        mine = {"appName": self.db.name, "transaction": {"$exists": True}}
        open_ = self.db.client.admin.aggregate([{"$currentOp": {"idleSessions": True}}, {"$match": mine}])
        return [{"id": operation["lsid"]["id"]} for operation in open_]

    def books(self) -> Books:
        found = books.read(self.db)
        assert books.differences(found) == []
        return found


def fill(db: SyncDatabase) -> None:
    for name in ("accounts", "transfers", "inventory", "orders", "users"):
        db[name].delete_many({})
    for name, amount in (("alice", "100.00"), ("bob", "50.00"), ("carol", "0.00")):
        money = Decimal128(amount)
        db.accounts.insert_one(
            {
                "_id": name,
                "currency": "EUR",
                "status": "open",
                "entries": 0,
                "balance": money,
                "opening": money,
            }
        )
    db.users.insert_one({"_id": USER, "name": "Ada", "email": "ada@example.com", "created_at": _now(db)})
    db.inventory.insert_many(
        [
            {"_id": "tea", "price": Decimal128("4.50"), "stock": 100},
            {"_id": "mug", "price": Decimal128("9.00"), "stock": 10},
        ]
    )
    pending = {"product_id": "tea", "qty": 3, "amount": Decimal128("13.50"), "status": "pending"}
    db.orders.insert_one({"_id": ORDER, "user_id": USER, **pending, "created_at": _now(db)})


def _now(db: SyncDatabase) -> Any:
    return db.client.admin.command("hello")["localTime"]


@pytest.fixture(scope="module")
def prepared(server_uri: str) -> Iterator[SyncDatabase]:
    """One database for all rows: its schema is applied once, and its documents are put back for each."""
    with pymongo.MongoClient[dict[str, Any]](server_uri, tz_aware=True) as client:
        name = f"test_faults_{ObjectId()}"
        yield client[name]
        client.drop_database(name)


@pytest.fixture
def shop(prepared: SyncDatabase, server_uri: str, cli: Runner) -> Shop:
    def run(*arguments: str, env: dict[str, str] | None = None, **options: Any) -> Result:
        return cli(*arguments, env={"MOTORCTL_DB": prepared.name, **(env or {})}, **options)

    if "transfers" not in prepared.list_collection_names():
        assert run("schema", "apply", "--builtin", "shop", "-q").code == 0
    fill(prepared)
    return Shop(prepared, server_uri, run)


@pytest.fixture(scope="module")
def pace() -> dict[str, float]:
    """How long a transfer takes on this machine now; one for the module."""
    return {}


@pytest.fixture
def short(shop: Shop, pace: dict[str, float]) -> float:
    """A --timeout that a transfer without a fault doesn't need."""
    if not pace:
        begun = time.monotonic()
        assert shop.run(*COMMANDS["send"].arguments).code == 0
        pace["seconds"] = time.monotonic() - begun
        fill(shop.db)
    return max(SHORT, 4 * pace["seconds"])


@pytest.fixture(autouse=True)
def back_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the driver look for a lost server at once: its half of a second is nothing that these tests are about."""
    monkeypatch.setattr("pymongo.common.MIN_HEARTBEAT_INTERVAL", 0.05)


@pytest.fixture(scope="module")
def seen() -> Iterator[list[tuple[str, ...]]]:
    """What was seen, row by row; printed at the end."""
    rows: list[tuple[str, ...]] = []
    yield rows
    head = ("command", "fault", "what the user sees", "exit code", "what the database holds")
    for row in (head, ("---",) * len(head), *rows):
        sys.stdout.write(f"| {' | '.join(row)} |\n")


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_the_table(shop: Shop, row: Row, short: float, seen: list[tuple[str, ...]]) -> None:
    command = COMMANDS[row.command]
    if command.before:
        assert shop.run(*command.before).code == 0
    before = shop.books()
    timeout = short if row.fault.times is None else LONG

    with shop.failing(row.fault, timeout=timeout):
        begun = time.monotonic()
        said = shop.struck(*command.arguments, stdin=command.stdin, timeout=timeout)
        seconds = time.monotonic() - begun
        # A command that the server holds back goes on there when nobody waits for it any more.
        held = "blockConnection" in row.fault.how or "abortTransaction" in row.fault.commands
        assert held or not shop.open_transactions()

    after = shop.books()
    done = command.done(after)
    seen.append((row.command, str(row.fault), _words(said), str(said.code), DONE if done else NOTHING))
    assert (said.code, DONE if done else NOTHING) == (row.code, row.holds), said.stderr
    assert done or after == before, "neither all of it nor nothing"
    assert seconds < command.tries * (timeout + 1) + SLACK
    for words in command.says.get(row.code, ()):
        assert words in said.stderr

    if said.code:
        told = shop.run(*command.look)
        assert told.code == (0 if done else command.absent), told.stderr

    again = shop.run(*command.arguments, stdin=command.stdin)
    assert again.code == 0, again.stderr
    assert command.done(shop.books())


def _words(said: Result) -> str:
    """Return what a user sees of it, in one line."""
    if said.code == 0:
        return "the result"
    error = said.error()
    hint = f"<br>hint: {error['hint']}" if error.get("hint") else ""
    return f"{error['message']}{hint}".replace("|", "\\|")


def test_a_key_is_shown_before_anything_can_be_lost(shop: Shop, short: float) -> None:
    with shop.failing(Fault("connection closed", COMMIT, CLOSED)):
        said = shop.struck("transfer", "send", "alice", "bob", "10.00", timeout=short)
    assert said.code == ExitCode.OUTCOME_UNKNOWN
    first, last = said.stderr.splitlines()[0], said.error()
    assert f"motorctl transfer show {last['key']}" in first
    assert f"--key {last['key']}" in last["hint"]
    assert shop.run("transfer", "show", last["key"]).code == ExitCode.NOT_FOUND
    assert shop.run("transfer", "send", "alice", "bob", "10.00", "--key", last["key"]).code == 0
    assert list(shop.books().transfers) == [last["key"]]


REFUSED = [
    (("alice", "bob", "1000.00"), ExitCode.REFUSED, CLOSED),
    (("alice", "bob", "1000.00"), ExitCode.REFUSED, concern(64)),
    (("alice", "bob", "1000.00"), ExitCode.REFUSED, error(251)),
    (("alice", "nobody", "1.00"), ExitCode.NOT_FOUND, error(91)),
    (("alice", "bob", "1.001"), ExitCode.USAGE, CLOSED),
]


@pytest.mark.parametrize(("arguments", "code", "how"), REFUSED, ids=str)
def test_what_is_refused_is_refused_whatever_becomes_of_the_transaction_that_only_read(
    shop: Shop, short: float, arguments: tuple[str, ...], code: int, how: dict[str, Any]
) -> None:
    before = shop.books()
    with shop.failing(Fault("", ("commitTransaction", "abortTransaction"), how)):
        said = shop.struck("transfer", "send", *arguments, timeout=short)
    assert said.code == code, said.stderr
    assert shop.books() == before


def test_what_was_made_before_is_in_doubt_until_a_majority_has_it(shop: Shop, short: float) -> None:
    """The record that a replay finds may be one that a failover takes back: only the commit's answer tells."""
    arguments = COMMANDS["send"].arguments
    assert shop.run(*arguments).code == 0
    with shop.failing(Fault("", COMMIT, concern(64))):
        said = shop.struck(*arguments, timeout=short)
    assert said.code == ExitCode.OUTCOME_UNKNOWN
    assert shop.run("transfer", "show", KEY).json()["status"] == "committed"
    assert shop.run(*arguments).json()["replayed"] is True


@pytest.mark.parametrize("name", ["find", "update", "insert", "commitTransaction"])
def test_of_two_with_one_key_one_makes_it_and_both_are_told(shop: Shop, name: str) -> None:
    """The first one is held at a command; the second comes, with the same key."""

    async def both() -> list[Outcome]:
        request = Request(KEY, "alice", "bob", Decimal("10.00"))
        clients: list[AsyncIOMotorClient[dict[str, Any]]] = [
            AsyncIOMotorClient(f"{shop.uri}&appName={app}", tz_aware=True) for app in (shop.db.name, "other")
        ]
        held, free = (client.get_database(shop.db.name) for client in clients)
        with shop.failing(Fault("", (name,), block(300), 1)) as entered:
            first = asyncio.create_task(post(held, [request], seconds=LONG))
            await asyncio.to_thread(entered)
            second = await post(free, [request], seconds=LONG)
            outcomes = [*await first, *second]
        for client in clients:
            await driver.close(client)
        return outcomes

    outcomes = asyncio.run(both())
    assert [outcome.refused for outcome in outcomes] == [None, None]
    # Before it has written anything the first one loses; afterwards the second one waits for it.
    assert [outcome.replayed for outcome in outcomes] == [
        name in ("find", "update"),
        name in ("insert", "commitTransaction"),
    ]
    assert COMMANDS["send"].done(shop.books())


# --- what isn't as it should be before it begins ------------------------------------------------------


def test_a_refusing_validator_is_told_and_nothing_is_written(shop: Shop) -> None:
    rules = {"amount": {"$lte": Decimal128("5")}}
    shop.db.command("collMod", "transfers", validator=rules)
    try:
        before = shop.books()
        said = shop.run(*COMMANDS["send"].arguments)
        assert (said.code, said.error()["code"]) == (ExitCode.REFUSED, "validation")
        assert "validator of transfers refuses" in said.error()["message"]
        assert "nothing was written" in said.error()["hint"]
        assert shop.books() == before
        assert shop.run("transfer", "show", KEY).code == ExitCode.NOT_FOUND
    finally:
        shop.db.command("collMod", "transfers", validator={})


def test_a_missing_index_is_warned_of_and_the_transfer_is_made(shop: Shop) -> None:
    shop.db.transfers.drop_index("to_1_created_at_1")
    try:
        said = shop.run(*COMMANDS["send"].arguments)
        assert said.code == 0
        assert COMMANDS["send"].done(shop.books())
        (warning,) = [line for line in said.stderr.splitlines() if "index" in line]
        assert "motorctl indexes create transfers to created_at" in warning
    finally:
        shop.db.transfers.create_index([("to", 1), ("created_at", 1)])


@pytest.fixture(scope="module")
def standalone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("standalone") / "home", replica_set=False)
    try:
        until(lambda: _pings(server.uri), "mongod answers")
        yield server
    finally:
        server.kill()


@pytest.mark.parametrize("name", [*COMMANDS])
def test_a_standalone_is_told_apart_before_anything_is_tried(
    standalone: Server, cli: Runner, name: str
) -> None:
    command = COMMANDS[name]
    with pymongo.MongoClient[dict[str, Any]](standalone.uri, tz_aware=True) as client:
        fill(client.shop)
        before = _everything(client.shop)
        said = cli(
            *command.arguments, "-o", "json", "--uri", standalone.uri, "--db", "shop", stdin=command.stdin
        )
        assert said.code == ExitCode.FAILED
        assert "standalone" in said.error()["message"]
        assert {"--replSet", "rs.initiate()"} <= set(said.error()["hint"].split())
        assert len(said.stderr.splitlines()) == 1, "nothing is said of a key that was never used"
        assert _everything(client.shop) == before


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with two users: `root`, and `reader`, who may read `shop`."""
    reader = User("reader", [{"role": "read", "db": "shop"}])
    with secured.guarded(tmp_path_factory.mktemp("auth"), reader) as server:
        with pymongo.MongoClient[dict[str, Any]](as_user(server, "root"), tz_aware=True) as root:
            fill(root.shop)
        yield server


@pytest.mark.parametrize("name", [*COMMANDS])
def test_a_user_who_may_only_read_is_refused_and_nothing_is_written(
    guarded: Server, cli: Runner, name: str
) -> None:
    command = COMMANDS[name]
    with pymongo.MongoClient[dict[str, Any]](as_user(guarded, "root"), tz_aware=True) as root:
        if command.before:
            assert cli(*command.before, "--uri", as_user(guarded, "root"), "--db", "shop").code == 0
        before = _everything(root.shop)
        uri = as_user(guarded, "reader")
        said = cli(*command.arguments, "-o", "json", "--uri", uri, "--db", "shop", stdin=command.stdin)
        assert said.code == ExitCode.UNAUTHORIZED, said.stderr
        assert said.error()["code"] == "not_authorized"
        assert _everything(root.shop) == before
        fill(root.shop)


def test_a_user_who_may_only_read_is_told_what_a_read_can_tell(guarded: Server, cli: Runner) -> None:
    where = ("-o", "json", "--uri", as_user(guarded, "reader"), "--db", "shop")
    absent = cli("transfer", "show", KEY, *where)
    assert absent.code == ExitCode.NOT_FOUND
    assert "without the right to insert" in absent.error()["hint"]
    assert cli(*COMMANDS["send"].arguments, "--uri", as_user(guarded, "root"), "--db", "shop").code == 0
    assert cli("transfer", "show", KEY, *where).json()["status"] == "committed"
    with pymongo.MongoClient[dict[str, Any]](as_user(guarded, "root"), tz_aware=True) as root:
        fill(root.shop)


@pytest.fixture(scope="module")
def abandoned(guarded: Server) -> Server:
    """A replica set whose only member has stepped down, for longer than these tests take."""
    with pymongo.MongoClient[dict[str, Any]](as_user(guarded, "root", direct=True)) as root:
        root.admin.command({"replSetStepDown": 600, "force": True})
    return guarded


@pytest.mark.parametrize("name", [*COMMANDS])
def test_without_a_primary_nothing_is_sent(abandoned: Server, cli: Runner, name: str) -> None:
    command = COMMANDS[name]
    with pymongo.MongoClient[dict[str, Any]](
        as_user(abandoned, "root", direct=True), tz_aware=True
    ) as member:
        before = _everything(member.shop)
        begun = time.monotonic()
        said = cli(
            *command.arguments,
            *("-o", "json", "--timeout", "0.3", "--retries", "1", "--db", "shop"),
            *("--uri", as_user(abandoned, "root")),
            stdin=command.stdin,
        )
        assert time.monotonic() - begun < SLACK
        assert said.code == ExitCode.UNREACHABLE, said.stderr
        assert "no primary" in said.stderr
        assert _everything(member.shop) == before


def _pings(uri: str) -> bool:
    with pymongo.MongoClient[dict[str, Any]](uri, serverSelectionTimeoutMS=500) as client:
        return bool(client.admin.command("ping")["ok"])


def _everything(db: SyncDatabase) -> dict[str, list[dict[str, Any]]]:
    names = ("accounts", "transfers", "inventory", "orders", "users")
    anyone = ReadPreference.PRIMARY_PREFERRED
    return {name: list(db.get_collection(name, read_preference=anyone).find().sort("_id")) for name in names}
