"""`motorctl transfer send|show|list|reverse` as a user runs them, on a real server."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
import subprocess
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from bson import Binary, Decimal128, Int64, ObjectId
from conftest import Server, until
from conftest import command as program
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import MongoClient
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from motorctl.commands import transfer_send
from motorctl.core import driver
from motorctl.core.transfers import ledger, listing, reverse
from motorctl.core.transfers import post as posting
from motorctl.core.transfers.post import post
from motorctl.core.transfers.request import Request
from motorctl.core.transfers.show import show
from motorctl.errors import RefusedError, UnreachableError, ValidationRefusedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from conftest import Runner
    from pymongo.database import Database as SyncDatabase

    from motorctl.client import Database

    Documents = SyncDatabase[dict[str, Any]]

OID = ObjectId("64b7f0c2a1b2c3d4e5f60718")
NOW = datetime(2026, 11, 21, 10, 30, tzinfo=UTC)


def opened(id: Any, balance: str, **facts: Any) -> dict[str, Any]:
    """Return an account as `accounts open` makes it."""
    money = {"balance": Decimal128(balance), "opening": Decimal128(balance)}
    return {"_id": id, "currency": "EUR", **money, "entries": 0, "status": "open", "opened_at": NOW, **facts}


@pytest.fixture
def books(sync_db: Documents) -> Documents:
    """Alice has 100.00 and Bob 50.00 EUR; the ledger is empty, and has its indexes."""
    sync_db.accounts.insert_many([opened("alice", "100.00"), opened("bob", "50.00")])
    sync_db.transfers.create_index([("from", 1), ("created_at", 1)])
    sync_db.transfers.create_index([("to", 1), ("created_at", 1)])
    return sync_db


def balances(db: Documents) -> dict[str, str]:
    return {str(one["_id"]): str(one["balance"]) for one in db.accounts.find().sort("_id", 1)}


def ask(key: str, source: Any, target: Any, amount: str, **facts: Any) -> Request:
    return Request(key, source, target, Decimal(amount), **facts)


def balanced(db: Documents) -> bool:
    """Whether each account that has an opening has it plus its records, and entries without a gap."""
    for one in db.accounts.find({"opening": {"$exists": True}}):
        mine = list(db.transfers.find({"$or": [{"from": one["_id"]}, {"to": one["_id"]}]}))
        given = [Decimal(str(r["amount"])) * (1 if r["to"] == one["_id"] else -1) for r in mine]
        sides = [f"{side}_entry" for side in ("from", "to")]
        entries = sorted(r[s] for r in mine for s in sides if s in r and r[s[:-6]] == one["_id"])
        if one["balance"].to_decimal() != one["opening"].to_decimal() + sum(given):
            return False
        if entries != list(range(1, one["entries"] + 1)):
            return False
    return True


def test_send_moves_money_and_records_it(cli: Runner, books: Documents) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    sent = cli("transfer", "send", "alice", "bob", "12.5", "--key", "k", "--note", "rent", "-o", "json")
    assert sent.code == 0
    row = sent.json()
    assert list(row) == [
        *("key", "from", "to", "amount", "status", "replayed", "from_balance", "to_balance"),
        *("currency", "note", "created_at"),
    ]
    del row["created_at"]
    assert row == {
        "key": "k",
        "from": "alice",
        "to": "bob",
        "amount": "12.50",
        "status": "committed",
        "replayed": False,
        "from_balance": "87.50",
        "to_balance": "62.50",
        "currency": "EUR",
        "note": "rent",
    }
    (record,) = books.transfers.find()
    assert before < record.pop("created_at") < datetime.now(UTC) + timedelta(seconds=1)
    assert record == {
        "_id": "k",
        "from": "alice",
        "to": "bob",
        "amount": Decimal128("12.50"),
        "currency": "EUR",
        "note": "rent",
        "from_balance": Decimal128("87.50"),
        "to_balance": Decimal128("62.50"),
        "from_entry": 1,
        "to_entry": 1,
    }
    assert books.accounts.find_one("alice") == opened("alice", "100.00") | {
        "balance": Decimal128("87.50"),
        "entries": 1,
    }
    assert balanced(books)


def test_the_same_again_is_answered_with_the_first_result(cli: Runner, books: Documents) -> None:
    first = cli("transfer", "send", "alice", "bob", "12.50", "--key", "k", "-o", "json").json()
    # whatever became of the accounts since
    books.accounts.update_one({"_id": "alice"}, {"$set": {"status": "frozen", "balance": Decimal128("1.00")}})
    for amount in ("12.50", "12.5"):
        again = cli("transfer", "send", "alice", "bob", amount, "--key", "k", "-o", "json")
        assert again.code == 0
        assert again.json() == {**first, "replayed": True}
        assert "nothing was done now" in again.stderr
    table = cli("transfer", "send", "alice", "bob", "12.50", "--key", "k")
    assert "replayed      true\n" in table.stdout
    assert books.transfers.count_documents({}) == 1
    assert balances(books) == {"alice": "1.00", "bob": "62.50"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bob", "alice", "12.50"], "from alice, not bob; to bob, not alice"),
        (["alice", "bob", "12.51"], "amount 12.50, not 12.51"),
        (["alice", "bob", "12.50", "--note", "for two"], "note none, not 'for two'"),
        (["alice", "nobody", "12.50"], "to bob, not nobody"),
    ],
)
def test_the_same_key_with_other_arguments_is_refused(
    cli: Runner, books: Documents, arguments: list[str], said: str
) -> None:
    assert cli("transfer", "send", "alice", "bob", "12.50", "--key", "k").code == 0
    other = cli("transfer", "send", *arguments, "--key", "k", "-o", "json")
    assert other.code == 6
    error = other.error()
    assert error["message"] == f"the key k was used for another transfer: {said}"
    assert error["key"] == "k"
    assert books.transfers.count_documents({}) == 1
    assert balances(books) == {"alice": "87.50", "bob": "62.50"}


def test_a_key_is_made_and_shown_before_anything_is_written(
    cli: Runner, books: Documents, server_uri: str
) -> None:
    with refusing(books, server_uri, "update", errorCode=1, errorLabels=[]) as uri:
        failed = cli("transfer", "send", "alice", "bob", "1", "-o", "json", "--uri", uri)
    assert failed.code == 1
    shown, error = failed.stderr.splitlines()[-2], failed.error()
    assert shown.startswith(
        f"key {error['key']}: should no answer come, `motorctl transfer show {error['key']} --uri "
    )
    assert cli("transfer", "show", error["key"]).code == 5

    sent = cli("transfer", "send", "alice", "bob", "1", "-o", "json", "--log-format", "json")
    assert f'"key": "{sent.json()["key"]}"' in sent.stderr.splitlines()[0]
    assert books.transfers.find_one(sent.json()["key"])


@pytest.mark.parametrize(
    ("arguments", "code", "message", "facts"),
    [
        (
            ["alice", "bob", "100.01"],
            6,
            "insufficient funds: account alice has 100.00 EUR, not 100.01",
            {"account": "alice", "balance": "100.00", "amount": "100.01"},
        ),
        (["alice", "carol", "1"], 5, "no account carol", {"account": "carol"}),
        (["carol", "bob", "1"], 5, "no account carol", {"account": "carol"}),
        (["ice", "bob", "1"], 6, "account ice is frozen", {"account": "ice", "status": "frozen"}),
        (["bob", "gone", "1"], 6, "account gone is closed", {"account": "gone", "status": "closed"}),
        (
            ["bob", "dollars", "1"],
            6,
            "account bob is in EUR, dollars is in USD: a transfer stays in one currency",
            {"from_currency": "EUR", "to_currency": "USD"},
        ),
        (["alice", "bob", "1.005"], 2, "1.005 has 3 digits behind the point; EUR takes 2 digits", {}),
    ],
)
def test_what_is_refused_and_what_is_said_then(
    cli: Runner, books: Documents, arguments: list[str], code: int, message: str, facts: dict[str, str]
) -> None:
    books.accounts.insert_many(
        [
            opened("ice", "9", status="frozen"),
            opened("gone", "0", status="closed"),
            opened("dollars", "9", currency="USD"),
        ]
    )
    before = balances(books)
    sent = cli("transfer", "send", *arguments, "--key", "k", "-o", "json")
    assert sent.code == code
    error = sent.error()
    assert (error["message"], error["exit"], error["key"]) == (message, code, "k")
    assert {name: error[name] for name in facts} == facts
    assert sent.stdout == ""
    assert balances(books) == before
    assert books.transfers.count_documents({}) == 0
    # Nothing is kept of it: the key stays free.
    assert cli("transfer", "send", "alice", "bob", "1", "--key", "k").code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["alice", "alice", "1"],
        [str(OID), str(OID).upper(), "1"],
        ["alice", "", "1"],
        ["alice", "\udcff", "1"],
        ["alice", "bob", "0"],
        ["alice", "bob", "1e3"],
        ["alice", "bob", "NaN"],
        ["alice", "bob", "1", "--key", ""],
        ["alice", "bob", "1", "--key", "a\nb"],
        ["alice", "bob", "1", "--key", "k/reversal"],
        ["alice", "bob", "1", "--note", "x" * 1001],
    ],
)
def test_wrong_usage_is_told_before_a_server_is_asked(cli: Runner, arguments: list[str]) -> None:
    assert cli("transfer", "send", *arguments, "--uri", "mongodb://127.0.0.1:1", connected=False).code == 2


@pytest.mark.parametrize("verb", ["show", "reverse"])
@pytest.mark.parametrize("key", ["", "\udcff"])
def test_a_key_that_nothing_can_have(cli: Runner, verb: str, key: str) -> None:
    assert cli("transfer", verb, key, "--uri", "mongodb://127.0.0.1:1", connected=False).code == 2


def test_dry_run_decides_alike_and_writes_nothing(cli: Runner, books: Documents) -> None:
    planned = cli("transfer", "send", "alice", "bob", "12.50", "--dry-run", "-o", "json")
    assert planned.code == 0
    row = planned.json()
    assert (row["status"], row["key"], row["from_balance"], row["replayed"]) == (
        "planned",
        None,
        "87.50",
        False,
    )
    refused = cli("transfer", "send", "alice", "bob", "100.01", "--dry-run")
    assert refused.code == 6
    assert books.transfers.count_documents({}) == 0
    assert balances(books) == {"alice": "100.00", "bob": "50.00"}

    assert cli("transfer", "send", "alice", "bob", "1", "--key", "k").code == 0
    again = cli("transfer", "send", "alice", "bob", "1", "--key", "k", "--dry-run", "-o", "json").json()
    assert (again["status"], again["replayed"], again["key"]) == ("committed", True, "k")
    assert cli("transfer", "send", "alice", "bob", "2", "--key", "k", "--dry-run").code == 6


def test_ids_of_other_types_are_typed_as_text(cli: Runner, books: Documents) -> None:
    uuid = "0d1b9c4e-6f3a-4b52-9d57-2a1f5e8c7b60"
    ids = [OID, 1017, Binary(bytes.fromhex(uuid.replace("-", "")), 4)]
    books.accounts.insert_many([opened(one, "10.00") for one in ids])
    for typed, stored in zip((str(OID), "1017", uuid), ids, strict=True):
        sent = cli("transfer", "send", typed, "alice", "1", "-o", "json")
        assert sent.json()["from"] == typed
        assert books.transfers.find_one(sent.json()["key"])["from"] == stored  # type: ignore[index]  # it is there, or the test fails here
    assert balances(books)["alice"] == "103.00"


def test_an_id_that_two_accounts_have_is_refused(cli: Runner, books: Documents) -> None:
    books.accounts.insert_many([opened(OID, "10.00"), opened(str(OID), "10.00")])
    for arguments in ([str(OID), "alice"], ["alice", str(OID)]):
        sent = cli("transfer", "send", *arguments, "1")
        assert sent.code == 6
        assert (
            f"there are 2 accounts {OID}: their ids are of different types, text and ObjectId" in sent.stderr
        )
    assert books.transfers.count_documents({}) == 0


@pytest.mark.parametrize(
    ("stored", "after"),
    [(33.3, "33.00"), (33, "32.70"), (Int64(33), "32.70"), (Decimal128("33"), "32.70"), (1e3, "999.70")],
)
def test_balances_of_any_number_become_exact_decimals(
    cli: Runner, books: Documents, stored: Any, after: str
) -> None:
    books.accounts.insert_one({"_id": "old", "currency": "EUR", "balance": stored})
    sent = cli("transfer", "send", "old", "bob", "0.3", "-o", "json")
    assert sent.json()["from_balance"] == after
    found = books.accounts.find_one("old")
    assert found is not None
    assert found["balance"] == Decimal128(after)
    # No status and no date of opening are made up: it was there before.
    assert set(found) == {"_id", "currency", "balance", "entries", "opening"}
    assert balanced(books)


@pytest.mark.parametrize("stored", [0.1 + 0.2, 10.005, "10", None, True, float("inf"), Decimal128("NaN")])
def test_a_balance_that_is_no_exact_amount_is_refused(cli: Runner, books: Documents, stored: Any) -> None:
    books.accounts.insert_one({"_id": "old", "currency": "EUR", "balance": stored})
    for arguments in (["old", "bob"], ["bob", "old"]):
        sent = cli("transfer", "send", *arguments, "1", "-o", "json")
        assert sent.code == 6
        assert "the balance of account old" in sent.error()["message"]
        assert sent.error()["account"] == "old"
    assert books.transfers.count_documents({}) == 0


def test_an_account_that_was_there_before_is_adopted_with_its_first_transfer(
    cli: Runner, books: Documents
) -> None:
    books.accounts.insert_one({"_id": "old", "currency": "EUR", "balance": 33.3})
    older: list[dict[str, Any]] = [
        {"_id": ObjectId(), "from": "old", "to": "alice", "amount": 0.1},
        {"_id": 2, "from": "bob", "to": "old", "amount": 3},
        {"_id": 3, "from": "bob", "to": "old", "amount": Decimal128("1.005")},
        {"_id": 4, "from": "old", "to": "old", "amount": 7},
        {"_id": 5, "from": "bob", "to": "alice", "amount": 9},
    ]
    books.transfers.insert_many([{**one, "created_at": NOW} for one in older])
    assert cli("transfer", "send", "old", "bob", "0.30").code == 0
    found = books.accounts.find_one("old")
    assert found is not None
    assert str(found["opening"]) == "29.395"  # 33.3 + 0.1 - 3 - 1.005
    assert found["entries"] == 1

    # It is adopted once: a record of another program after that counts as one after the opening.
    books.transfers.insert_one({"_id": 6, "from": "old", "to": "x", "amount": 1, "created_at": NOW})
    books.accounts.update_one({"_id": "old"}, {"$inc": {"balance": Decimal128("-1")}})
    assert cli("transfer", "send", "bob", "old", "1.00").code == 0
    again = books.accounts.find_one("old")
    assert again is not None
    assert again["opening"] == found["opening"]
    assert (str(again["balance"]), again["entries"]) == ("33.00", 2)


@pytest.mark.parametrize("amount", ["ten", None, 0.1 + 0.2, float("nan"), Decimal128("9" * 34)])
def test_older_records_that_have_no_exact_sum_keep_an_account_out(
    cli: Runner, books: Documents, amount: Any
) -> None:
    books.accounts.insert_one({"_id": "old", "currency": "EUR", "balance": 33.3})
    books.transfers.insert_one({"_id": "broken", "from": "old", "to": "x", "amount": amount})
    sent = cli("transfer", "send", "bob", "old", "1", "-o", "json")
    assert sent.code == 6
    assert sent.error()["message"].startswith("account old can't be taken into the ledger: ")
    assert balances(books)["old"] == "33.3"
    assert cli("transfer", "send", "bob", "alice", "1").code == 0


def test_an_account_made_anew_goes_on_with_the_numbers_of_its_entries(cli: Runner, books: Documents) -> None:
    for _ in range(2):
        assert cli("transfer", "send", "alice", "bob", "1").code == 0
    books.accounts.delete_one({"_id": "alice"})
    books.accounts.insert_one({"_id": "alice", "currency": "EUR", "balance": Decimal128("98.00")})
    assert cli("transfer", "send", "alice", "bob", "1").code == 0
    found = books.accounts.find_one("alice")
    assert found is not None
    assert (str(found["opening"]), found["entries"]) == ("100.00", 3)
    assert balanced(books)


def test_a_ledger_that_is_not_there_yet_is_made(cli: Runner, sync_db: Documents) -> None:
    sync_db.accounts.insert_many([opened("alice", "100.00"), opened("bob", "50.00")])
    assert cli("transfer", "send", "alice", "bob", "1").code == 0
    assert sync_db.transfers.count_documents({}) == 1


@pytest.mark.parametrize(
    ("collection", "rule", "said"),
    [
        ("transfers", {"required": ["approved_by"]}, "approved_by is missing"),
        ("accounts", {"properties": {"balance": {"maximum": 100}}}, "balance is 112.50, above 100"),
    ],
)
def test_a_collections_own_validator_may_refuse(
    cli: Runner, books: Documents, collection: str, rule: dict[str, Any], said: str
) -> None:
    books.command({"collMod": collection, "validator": {"$jsonSchema": rule}})
    sent = cli("transfer", "send", "bob", "alice", "12.50", "--key", "k", "-o", "json")
    assert sent.code == 6
    error = sent.error()
    assert error["message"] == f"the validator of {collection} refuses what the transfer would write: {said}"
    assert (error["key"], error["collection"], error["code"]) == ("k", collection, "validation")
    assert balances(books) == {"alice": "100.00", "bob": "50.00"}
    assert books.transfers.count_documents({}) == 0


async def test_of_many_the_one_that_a_validator_refuses_is_named_and_nothing_is_written(
    books: Documents, db: Database
) -> None:
    rule = {"properties": {"amount": {"maximum": 10}}}
    books.command({"collMod": "transfers", "validator": {"$jsonSchema": rule}})
    wanted = [ask(str(n), "alice", "bob", amount) for n, amount in enumerate(["1", "11", "999"])]
    with pytest.raises(ValidationRefusedError) as raised:
        await post(db, wanted, seconds=5)
    assert raised.value.details["key"] == "1"
    assert balances(books) == {"alice": "100.00", "bob": "50.00"}
    outcomes = await post(db, [wanted[0], wanted[2]], seconds=5)
    assert [type(o.refused) for o in outcomes] == [type(None), RefusedError]
    assert balances(books) == {"alice": "99.00", "bob": "51.00"}
    assert balanced(books)


async def test_whole_writes_all_or_nothing(books: Documents, db: Database) -> None:
    await post(db, [ask("0", "alice", "bob", "1")], seconds=5)
    wanted = [ask("0", "alice", "bob", "1"), ask("1", "alice", "bob", "2"), ask("2", "alice", "bob", "999")]
    outcomes = await post(db, wanted, seconds=5, whole=True)
    assert [(o.record is not None, o.replayed, bool(o.refused)) for o in outcomes] == [
        (True, True, False),
        (False, False, False),
        (False, False, True),
    ]
    assert balances(books) == {"alice": "99.00", "bob": "51.00"}
    books.command(
        {"collMod": "transfers", "validator": {"$jsonSchema": {"properties": {"amount": {"maximum": 10}}}}}
    )
    with pytest.raises(ValidationRefusedError) as raised:
        await post(db, [ask("3", "alice", "bob", "2"), ask("4", "alice", "bob", "11")], seconds=5, whole=True)
    assert raised.value.details["key"] == "4"
    assert balances(books) == {"alice": "99.00", "bob": "51.00"}

    done = await post(db, wanted[:2], seconds=5, whole=True)
    assert [o.replayed for o in done] == [True, False]
    assert balances(books) == {"alice": "97.00", "bob": "53.00"}
    assert balanced(books)


def test_a_unique_index_besides_the_key_is_named(cli: Runner, books: Documents) -> None:
    books.transfers.create_index("note", unique=True, name="one_note")
    assert cli("transfer", "send", "alice", "bob", "1", "--note", "rent").code == 0
    sent = cli("transfer", "send", "alice", "bob", "1", "--key", "k", "--note", "rent", "-o", "json")
    assert sent.code == 6
    assert sent.error()["index"] == "one_note"
    assert 'note "rent" is already in transfers' in sent.error()["message"]
    assert balances(books) == {"alice": "99.00", "bob": "51.00"}


def test_keys_that_a_collation_takes_for_the_same_are_refused(cli: Runner, books: Documents) -> None:
    books.drop_collection("transfers")
    books.create_collection("transfers", collation={"locale": "en", "strength": 2})
    assert cli("transfer", "send", "alice", "bob", "1", "--key", "Rent").code == 0
    started = time.monotonic()
    sent = cli("transfer", "send", "alice", "bob", "1", "--key", "rent")
    assert sent.code == 6
    assert time.monotonic() - started < 4, "it was tried again and again"
    assert balances(books) == {"alice": "99.00", "bob": "51.00"}


@pytest.mark.parametrize("collection", ["accounts", "transfers"])
def test_a_view_in_the_place_of_a_collection_is_named(cli: Runner, books: Documents, collection: str) -> None:
    books[collection].rename("real")
    books.create_collection(collection, viewOn="real", pipeline=[])
    sent = cli("transfer", "send", "alice", "bob", "1", "-o", "json")
    assert sent.code == 6
    assert f"the collection {collection} takes no transactions" in sent.error()["message"]
    assert "is a view" in sent.error()["message"]


class Commands(CommandListener):
    """The names of the commands that a client sent."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name != "endSessions":
            self.names.append(event.command_name)

    def succeeded(self, event: CommandSucceededEvent) -> None: ...

    def failed(self, event: CommandFailedEvent) -> None: ...


@pytest.fixture
async def counted(server_uri: str, dbname: str) -> AsyncIterator[tuple[Database, Commands]]:
    """A database whose commands are counted."""
    commands = Commands()
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(
        server_uri, tz_aware=True, event_listeners=[commands]
    )
    yield client.get_database(dbname), commands
    await driver.close(client)


async def test_how_many_commands_a_transfer_takes(
    books: Documents, counted: tuple[Database, Commands]
) -> None:
    db, commands = counted
    books.accounts.insert_many([{"_id": f"old{n}", "currency": "EUR", "balance": n} for n in range(40)])

    async def sent(*requests: Request) -> list[str]:
        commands.names.clear()
        outcomes = await post(db, requests, seconds=5)
        assert not any(outcome.refused for outcome in outcomes)
        return commands.names.copy()

    plain = ["find", "update", "insert", "commitTransaction"]
    assert await sent(ask("a", "alice", "bob", "1")) == plain
    # A key is looked up once it is known to be there, or where it may be another program's of another type.
    again = [*plain[:3], "abortTransaction", "find", "find", "commitTransaction"]
    assert await sent(ask("a", "alice", "bob", "1")) == again
    assert await sent(ask(str(OID), "alice", "bob", "1")) == ["find", *plain]
    assert await sent(ask(str(ObjectId()), "alice", "bob", "1", fresh=True)) == plain
    many = [ask(f"m{n}", "alice", "bob", "0.01") for n in range(100)]
    assert await sent(*many) == ["find", *plain]
    assert await sent(*many) == ["find", "find", "commitTransaction"]
    # What is refused needs no commit, whose answer could be lost.
    commands.names.clear()
    (refused,) = await post(db, [ask("r", "alice", "bob", "1000")], seconds=5)
    assert refused.refused
    assert commands.names == ["find", "find", "abortTransaction"]
    # Accounts that were there before: one more, however many they are.
    adopted = [ask(f"o{n}", "alice", f"old{n}", "0.01") for n in range(40)]
    assert await sent(*adopted) == ["find", "aggregate", *plain]
    assert await sent(*[ask(f"p{n}", "alice", f"old{n}", "0.01") for n in range(40)]) == ["find", *plain]
    assert balanced(books)


async def test_what_adoption_reads_of_the_ledger_is_found_by_indexes(books: Documents) -> None:
    from motorctl.core.transfers import adoption

    books.transfers.insert_many(
        [{"from": "alice", "to": "bob", "amount": 1, "created_at": NOW} for _ in range(50)]
        + [{"from": "old", "to": "bob", "amount": 1, "created_at": NOW} for _ in range(3)]
    )
    command = {"aggregate": "transfers", "pipeline": adoption.pipeline(["old", "new"]), "cursor": {}}
    plan = books.command({"explain": command, "verbosity": "executionStats"})
    assert "COLLSCAN" not in str(plan)
    assert examined(plan) == {3}


def examined(node: Any) -> set[int]:
    """Return how many documents the whole plan looked at, wherever the server says so."""
    if isinstance(node, list):
        return set().union(*(examined(one) for one in node))
    if not isinstance(node, dict):
        return set()
    own = {int(node["totalDocsExamined"])} if "totalDocsExamined" in node else set()
    return own.union(*(examined(one) for one in node.values()))


async def test_a_key_that_a_find_did_not_see_is_looked_for_again(
    books: Documents, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mongod's find may see nothing yet in a collection that another transaction made as its first insert did."""
    await post(db, [ask("k", "alice", "bob", "1")], seconds=30)
    recorded, looks = posting._recorded, 0

    async def blind(*given: Any) -> Any:
        nonlocal looks
        looks += 1
        return {} if looks == 1 else await recorded(*given)

    monkeypatch.setattr(posting, "_recorded", blind)
    wanted = [ask("k", "alice", "bob", "1"), ask("l", "alice", "bob", "2")]
    outcomes = await post(db, wanted, seconds=30)
    assert [outcome.replayed for outcome in outcomes] == [True, False]
    assert balances(books) == {"alice": "97.00", "bob": "53.00"}


async def test_an_account_that_is_never_as_it_was_read_ends_by_the_limit(
    books: Documents, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ledger.account

    def stale(document: Mapping[str, Any]) -> ledger.Account:
        return real({**document, "balance": Decimal128("1000.00")})

    monkeypatch.setattr(ledger, "account", stale)
    with pytest.raises(UnreachableError, match="an account isn't as it was read"):
        await post(db, [ask("k", "alice", "bob", "500")], seconds=1)
    assert balances(books) == {"alice": "100.00", "bob": "50.00"}
    assert books.transfers.count_documents({}) == 0


async def test_of_senders_with_one_key_at_one_instant_one_commits_and_the_others_replay(
    books: Documents, server_uri: str, dbname: str
) -> None:
    clients = [AsyncIOMotorClient[dict[str, Any]](server_uri, tz_aware=True) for _ in range(6)]
    try:
        for turn in range(5):
            sent = (
                post(client[dbname], [ask(f"k{turn}", "alice", "bob", "1" if n else "2")], seconds=30)
                for n, client in enumerate(clients)
            )
            outcomes = [outcome for (outcome,) in await asyncio.gather(*sent)]
            first = [o for o in outcomes if o.record and not o.replayed]
            assert len(first) == 1
            same = [o for o in outcomes if o.request.amount == first[0].request.amount]
            assert all(o.record == first[0].record for o in same)
            others = [o for o in outcomes if o not in same]
            assert all(isinstance(o.refused, RefusedError) and not o.record for o in others)
    finally:
        for client in clients:
            await driver.close(client)
    assert books.transfers.count_documents({}) == 5
    assert balanced(books)


async def test_transfers_at_the_same_time_lose_nothing(
    books: Documents, server_uri: str, dbname: str
) -> None:
    books.accounts.insert_one(opened("carol", "0.00"))
    clients = [AsyncIOMotorClient[dict[str, Any]](server_uri, tz_aware=True) for _ in range(4)]
    names = ["alice", "bob", "carol"]

    async def send(n: int, client: Any) -> int:
        made = 0
        for m in range(8):
            source, target = names[(n + m) % 3], names[(n + m + 1) % 3]
            (outcome,) = await post(client[dbname], [ask(f"{n}.{m}", source, target, "30")], seconds=60)
            made += outcome.record is not None
        return made

    try:
        made = sum(await asyncio.gather(*(send(n, client) for n, client in enumerate(clients))))
    finally:
        for client in clients:
            await driver.close(client)
    assert books.transfers.count_documents({}) == made
    assert balanced(books)
    found = [Decimal(balance) for balance in balances(books).values()]
    assert (sum(found), min(found) >= 0) == (150, True)


@contextmanager
def refusing(db: Documents, uri: str, *commands: str, times: int | None = None, **how: Any) -> Iterator[str]:
    """Let the server fail commands of one client alone, and yield the URI that makes it this client."""
    name = f"transfers-{db.name}"
    data = {"failCommands": list(commands), "appName": name, **how}
    db.client.admin.command(
        {"configureFailPoint": "failCommand", "mode": {"times": times} if times else "alwaysOn", "data": data}
    )
    try:
        yield f"{uri}{'&' if '?' in uri else '/?'}appName={name}"
    finally:
        db.client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})


def test_an_unknown_outcome_is_code_9_with_the_key_and_the_command_that_tells(
    cli: Runner, books: Documents, server_uri: str
) -> None:
    with refusing(books, server_uri, "commitTransaction", closeConnection=True) as uri:
        sent = cli(
            *("transfer", "send", "alice", "bob", "1", "--key", "it's k", "-o", "json"),
            *("--timeout", "0.5", "--uri", uri),
        )
    assert sent.code == 9
    error = sent.error()
    assert error["key"] == "it's k"
    assert """`motorctl transfer show 'it'"'"'s k' --uri""" in error["hint"]
    assert """`motorctl transfer send alice bob 1 --key 'it'"'"'s k' --uri""" in error["hint"]
    assert error["message"].endswith("(key it's k)")
    again = cli("transfer", "send", "alice", "bob", "1", "--key", "it's k", "-o", "json")
    assert again.code == 0
    assert balances(books) == {"alice": "99.00", "bob": "51.00"}


def hinted(said: str) -> list[list[str]]:
    """Return the arguments of the commands that a hint names, as a shell takes them."""
    return [shlex.split(one)[1:] for one in re.findall(r"`(motorctl [^`]*)`", said)]


def test_the_commands_of_a_hint_run_as_they_are_where_the_first_one_did(
    cli: Runner, books: Documents, server_uri: str, tmp_path: Path
) -> None:
    books.accounts.insert_one(opened("-a", "10.00"))
    address = tmp_path / "address"
    with refusing(books, server_uri, "commitTransaction", closeConnection=True) as uri:
        address.write_text(uri)
        where = ("--uri-file", str(address), "--db", books.name)
        words = ("--key", "k", "--note", "for 'him'", "--timeout", "0.5", *where, "--", "-a", "bob", "1")
        sent = cli("transfer", "send", *words, connected=False)
    assert sent.code == 9
    show, send = hinted(sent.stderr)
    assert cli(*show, connected=False).code in (0, 5)
    assert cli(*send, connected=False).code == 0
    assert balances(books) == {"-a": "9.00", "alice": "100.00", "bob": "51.00"}
    with refusing(books, server_uri, "insert", closeConnection=True) as uri:
        back = cli("transfer", "reverse", "k", "--timeout", "0.5", "--uri", uri, "--db", books.name)
    assert back.code == 3
    assert cli(*hinted(back.stderr)[0], connected=False).code == 0
    assert balances(books) == {"-a": "10.00", "alice": "100.00", "bob": "50.00"}


def test_who_waits_for_a_killed_process_is_told_so(
    cli: Runner, books: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its transaction is open yet, and has the account until the server ends it."""
    monkeypatch.setattr(transfer_send, "LIFE_SIGN", 0.1)
    with books.client.start_session() as session:
        session.start_transaction()
        books.accounts.update_one({"_id": "alice"}, {"$inc": {"entries": 1}}, session=session)
        sent = cli("transfer", "send", "alice", "bob", "1", "--key", "k", "--timeout", "0.6", tty=True)
        quiet = cli("transfer", "send", "alice", "bob", "1", "--key", "k", "--timeout", "0.3", "-o", "json")
        session.abort_transaction()
    assert (sent.code, quiet.code) == (3, 3)
    assert "not through yet, trying for 0.6 s" in sent.stderr
    assert len(quiet.stderr.splitlines()) == 1, "in a pipe nobody waits and looks"
    error = quiet.error()
    assert "others changed the same documents" in error["message"]
    assert "nothing was sent" in error["hint"]
    assert "a process held that was killed is free after 90 s" in error["hint"]
    assert cli("transfer", "send", "alice", "bob", "1", "--key", "k").code == 0


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("update", 130, "stopped before the commit: nothing was sent (key k)"),
        ("commitTransaction", 9, "it is not known whether it was carried out"),
    ],
)
def test_ctrl_c_twice_says_what_is_known(
    books: Documents, server_uri: str, command: str, code: int, said: str
) -> None:
    blocks = {"blockConnection": True, "blockTimeMS": 1500}
    with refusing(books, server_uri, command, **blocks) as uri:
        words = ("transfer", "send", "alice", "bob", "1", "--key", "k", "-q")
        process = subprocess.Popen(
            program(*words),
            env={**os.environ, "MOTORCTL_URI": uri, "MOTORCTL_DB": books.name},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        pipeline: list[dict[str, Any]] = [
            {"$currentOp": {}},
            {"$match": {f"command.{command}": {"$exists": True}}},
        ]
        until(lambda: list(books.client.admin.aggregate(pipeline)), f"{command} is on its way", seconds=20)
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            time.sleep(0.2)
        stdout, stderr = process.communicate(timeout=20)
    assert (process.returncode, stdout) == (code, "")
    assert said in stderr
    assert "Traceback" not in stderr
    assert ("nothing was sent" in stderr) is (code == 130)


def test_a_transfer_that_cannot_be_shown_is_said_to_be_committed(books: Documents, server_uri: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            program("transfer", "send", "alice", "bob", "1", "--key", "k"),
            env={**os.environ, "MOTORCTL_URI": server_uri, "MOTORCTL_DB": books.name},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "the transfer is committed (key k), but cannot write the results" in done.stderr
    assert "hint: `motorctl transfer show k` shows it" in done.stderr
    assert balances(books) == {"alice": "99.00", "bob": "51.00"}


def test_what_is_lost_before_the_commit_was_not_sent(cli: Runner, books: Documents, server_uri: str) -> None:
    with refusing(books, server_uri, "insert", closeConnection=True) as uri:
        sent = cli(
            *("transfer", "send", "alice", "bob", "1", "--key", "k", "--note", "for him", "-o", "json"),
            *("--timeout", "0.3", "--uri", uri),
        )
    assert sent.code == 3
    assert sent.error()["key"] == "k"
    assert sent.error()["hint"].startswith("nothing was sent. The same again is safe")
    assert "`motorctl transfer send alice bob 1 --key k --note 'for him' --uri" in sent.error()["hint"]
    assert balances(books) == {"alice": "100.00", "bob": "50.00"}


def test_show_tells_committed_and_absent(cli: Runner, books: Documents) -> None:
    sent = cli("transfer", "send", "alice", "bob", "1", "--key", "k", "--note", "rent", "-o", "json")
    shown = cli("transfer", "show", "k", "-o", "json")
    assert (shown.code, shown.json()) == (0, sent.json())
    absent = cli("transfer", "show", "other", "-o", "json")
    assert absent.code == 5
    error = absent.error()
    assert (error["key"], error["status"]) == ("other", "absent")
    assert "safe to send it again" in error["hint"]
    assert books.transfers.count_documents({}) == 1


@pytest.mark.parametrize("validator", [{}, {"$jsonSchema": {"required": ["approved_by"]}}])
def test_show_says_in_doubt_while_an_open_transaction_has_the_key(
    cli: Runner, books: Documents, validator: dict[str, Any]
) -> None:
    books.command({"collMod": "transfers", "validator": validator})
    record = {"_id": "k", "from": "alice", "to": "bob", "amount": Decimal128("1"), "approved_by": "eve"}
    with books.client.start_session() as session:
        session.start_transaction()
        books.transfers.insert_one(record, session=session)
        shown = cli("transfer", "show", "k", "--timeout", "0.7", "-o", "json")
        session.abort_transaction()
    assert shown.code == 9
    error = shown.error()
    assert (error["key"], error["status"]) == ("k", "in_doubt")
    assert "is still open" in error["message"]
    assert cli("transfer", "show", "k").code == 5
    assert books.transfers.count_documents({}) == 0


def test_show_waits_for_an_open_transaction_to_end(cli: Runner, books: Documents) -> None:
    with books.client.start_session() as session:
        session.start_transaction()
        books.transfers.insert_one({"_id": "k", "from": "a", "to": "b", "amount": 1}, session=session)
        timer = threading.Timer(0.4, session.commit_transaction)
        timer.start()
        shown = cli("transfer", "show", "k", "-o", "json")
        timer.join()
    assert (shown.code, shown.json()["key"]) == (0, "k")


def test_show_is_in_doubt_when_no_majority_confirms(cli: Runner, books: Documents, server_uri: str) -> None:
    assert cli("transfer", "send", "alice", "bob", "1", "--key", "k").code == 0
    for key in ("k", "absent"):
        with refusing(books, server_uri, "find", times=1, errorCode=148) as uri:
            shown = cli("transfer", "show", key, "-o", "json", "--uri", uri)
        assert shown.code == 9
        assert ("written on the primary" in shown.error()["message"]) == (key == "k")


def test_a_standalone_is_told_in_words_and_its_ledger_can_be_looked_at(cli: Runner, tmp_path: Path) -> None:
    server = Server(tmp_path / "server", replica_set=False)
    try:
        with MongoClient[dict[str, Any]](server.uri) as client:
            until(lambda: client.admin.command("ping"), "mongod answers")
            client.bank.accounts.insert_many([opened("alice", "100.00"), opened("bob", "50.00")])
            client.bank.transfers.insert_one({"_id": "k", "from": "alice", "to": "bob", "amount": 1})
            target = ("--uri", server.uri, "--db", "bank")
            sent = cli("transfer", "send", "alice", "bob", "1", *target)
            assert sent.code == 1
            first = sent.stderr.splitlines()[0]
            assert first.startswith("error: "), "no key is made before"
            assert "standalone" in first
            assert cli("transfer", "send", "alice", "bob", "1", "--dry-run", *target).code == 1
            assert cli("transfer", "show", "k", *target).code == 0
            assert cli("transfer", "show", "other", *target).code == 5
            assert balances(client.bank) == {"alice": "100.00", "bob": "50.00"}
    finally:
        server.kill()


@pytest.mark.usefixtures("books")
def test_show_says_so_when_nobody_answers(cli: Runner, sync_db: Documents, server_uri: str) -> None:
    with refusing(sync_db, server_uri, "find", closeConnection=True) as uri:
        shown = cli("transfer", "show", "k", "-o", "json", "--timeout", "0.3", "--uri", uri)
    assert shown.code == 3
    assert shown.error()["message"] == "the server gave no answer about the transfer k"
    assert "the same key is safe" in shown.error()["hint"]


def test_show_for_a_user_who_may_not_insert(cli: Runner, books: Documents, server_uri: str) -> None:
    with refusing(books, server_uri, "insert", errorCode=13) as uri:
        shown = cli("transfer", "show", "k", "-o", "json", "--uri", uri)
    assert shown.code == 5
    assert "without the right to insert" in shown.error()["hint"]


def test_records_of_other_programs_are_found_by_the_text_of_their_key(cli: Runner, books: Documents) -> None:
    uuid = "0d1b9c4e-6f3a-4b52-9d57-2a1f5e8c7b60"
    keys = {str(OID): OID, "42": 42, uuid: Binary(bytes.fromhex(uuid.replace("-", "")), 4)}
    for text, key in keys.items():
        books.transfers.insert_one({"_id": key, "from": "alice", "to": OID, "amount": "ten"})
        row = cli("transfer", "show", text, "-o", "json").json()
        assert (row["key"], row["to"], row["amount"], row["from_balance"]) == (text, str(OID), "ten", None)
        # and their keys are not free
        assert cli("transfer", "send", "alice", "bob", "1", "--key", text).code == 6
    assert books.transfers.count_documents({}) == 3


def filled(books: Documents, count: int = 60) -> None:
    pairs = [("alice", "bob"), ("bob", "carol"), ("carol", "alice")]
    books.transfers.insert_many(
        [
            {
                "_id": f"k{n}",
                "from": pairs[n % 3][0],
                "to": pairs[n % 3][1],
                "amount": Decimal128("1.00"),
                "created_at": NOW + timedelta(hours=n),
            }
            for n in range(count)
        ]
    )


def keys(cli: Runner, *arguments: str) -> list[str]:
    listed = cli("transfer", "list", *arguments, "-o", "json")
    assert listed.code == 0
    return [row["key"] for row in listed.json()]


def test_list_shows_the_newest_first(cli: Runner, books: Documents) -> None:
    filled(books)
    newest = [f"k{n}" for n in range(59, -1, -1)]
    assert keys(cli) == newest[:20]
    assert keys(cli, "--limit", "3") == newest[:3]
    assert keys(cli, "--all") == newest
    assert keys(cli, "--account", "carol", "--all") == [k for k in newest if int(k[1:]) % 3]
    assert keys(cli, "--since", "2026-11-23", "--all") == [k for k in newest if int(k[1:]) >= 38]
    assert keys(cli, "--account", "bob", "--since", "2026-11-22T10:30", "--until", "2026-11-22T13:30") == [
        "k25",
        "k24",
    ]
    assert keys(cli, "--since", "2026-11-23", "--tz", "Europe/Berlin", "--all")[-1] == "k37"
    assert keys(cli, "--account", "bob", "--since", "2030") == []
    assert cli("transfer", "list", "--since", "2026-11-23", "--until", "2026-11-22").code == 2
    assert cli("transfer", "list", "--all", "--limit", "3").code == 2


@pytest.mark.usefixtures("books")
def test_list_as_a_table(cli: Runner) -> None:
    assert cli("transfer", "send", "alice", "bob", "12.50", "--key", "k", "--note", "rent").code == 0
    lines = cli("transfer", "list").stdout.splitlines()
    assert lines[0].split() == ["created_at", "key", "from", "to", "amount", "currency", "note"]
    assert lines[1].split()[1:] == ["k", "alice", "bob", "12.50", "EUR", "rent"]


def test_list_of_an_account_that_nobody_knows(cli: Runner, books: Documents) -> None:
    assert keys(cli, "--account", "bob") == []
    unknown = cli("transfer", "list", "--account", "bbo", "-o", "json")
    assert (unknown.code, unknown.error()["account"]) == (5, "bbo")
    books.transfers.insert_one({"_id": "k", "from": "bbo", "to": "x", "amount": 1, "created_at": NOW})
    assert keys(cli, "--account", "bbo") == ["k"]
    assert keys(cli, "--account", "bbo", "--since", "2030") == []


@pytest.mark.parametrize("account", [None, "alice", str(OID)])
async def test_list_reads_no_more_than_it_shows(books: Documents, db: Database, account: str | None) -> None:
    filled(books, 300)
    for n in range(30):
        books.transfers.insert_one(
            {"from": OID, "to": "x", "amount": 1, "created_at": NOW - timedelta(hours=n)}
        )
    query = listing.Query(account=account, limit=5)
    cursor = db.transfers.find(listing.wanted(query)).sort(listing.order(query)).limit(5)
    plan = await cursor.explain()
    assert '"SORT"' not in str(plan).replace("'", '"')
    assert examined(plan) == {5}
    assert len([row async for row in listing.find(db, query)]) == 5


def test_reverse_takes_a_transfer_back_once(cli: Runner, books: Documents) -> None:
    assert cli("transfer", "send", "alice", "bob", "12.50", "--key", "k", "--note", "rent").code == 0
    planned = cli("transfer", "reverse", "k", "--dry-run", "-o", "json").json()
    assert (planned["status"], planned["key"], planned["reverses"]) == ("planned", "k/reversal", "k")
    assert books.transfers.count_documents({}) == 1

    back = cli("transfer", "reverse", "k", "--note", "paid twice", "-o", "json")
    assert back.code == 0
    row = back.json()
    assert {name: row[name] for name in ("key", "from", "to", "amount", "reverses", "note", "replayed")} == {
        "key": "k/reversal",
        "from": "bob",
        "to": "alice",
        "amount": "12.50",
        "reverses": "k",
        "note": "paid twice",
        "replayed": False,
    }
    for arguments in ([], ["--note", "paid twice"]):
        again = cli("transfer", "reverse", "k", *arguments, "-o", "json")
        assert (again.code, again.json()) == (0, {**row, "replayed": True})
    other = cli("transfer", "reverse", "k", "--note", "another reason")
    assert other.code == 6
    assert balances(books) == {"alice": "100.00", "bob": "50.00"}
    assert cli("transfer", "show", "k", "-o", "json").json()["reversed_by"] == "k/reversal"
    assert cli("transfer", "show", "k/reversal", "-o", "json").json()["reverses"] == "k"
    assert balanced(books)


def test_what_cannot_be_reversed(cli: Runner, books: Documents) -> None:
    assert cli("transfer", "send", "alice", "bob", "12.50", "--key", "k").code == 0
    absent = cli("transfer", "reverse", "other", "-o", "json")
    assert (absent.code, absent.error()["message"]) == (5, "no transfer other in the ledger")

    assert cli("transfer", "send", "bob", "alice", "60", "--key", "spent").code == 0
    short = cli("transfer", "reverse", "k", "-o", "json")
    assert (short.code, short.error()["key"]) == (6, "k/reversal")
    assert "account bob has 2.50 EUR, not 12.50" in short.error()["message"]

    books.accounts.update_one({"_id": "alice"}, {"$set": {"status": "frozen"}})
    assert "alice is frozen" in cli("transfer", "reverse", "spent").stderr
    books.accounts.update_one({"_id": "alice"}, {"$set": {"status": "open"}})
    assert cli("transfer", "reverse", "spent").code == 0
    twice = cli("transfer", "reverse", "spent/reversal", "-o", "json")
    assert twice.code == 6
    assert "is itself a reversal, of spent" in twice.error()["message"]
    assert "`motorctl transfer send bob alice 60.00`" in twice.error()["hint"]

    for number, amount in enumerate(["ten", Decimal128("-5"), 0]):
        books.transfers.insert_one({"_id": f"odd{number}", "from": "alice", "to": "bob", "amount": amount})
        assert cli("transfer", "reverse", f"odd{number}").code == 6
    books.transfers.insert_one({"_id": "nobody's", "to": "bob", "amount": 1})
    assert "doesn't say from whom" in cli("transfer", "reverse", "nobody's").stderr
    assert balances(books) == {"alice": "87.50", "bob": "62.50"}


def test_records_of_other_programs_can_be_reversed(cli: Runner, books: Documents) -> None:
    books.accounts.insert_one({"_id": OID, "currency": "EUR", "balance": 10})
    books.accounts.replace_one({"_id": "bob"}, {"currency": "EUR", "balance": 50})
    books.transfers.insert_one({"_id": OID, "from": "bob", "to": OID, "amount": 1.005, "created_at": NOW})
    back = cli("transfer", "reverse", str(OID), "-o", "json")
    assert back.code == 0
    row = back.json()
    assert (row["key"], row["from"], row["amount"]) == (f"{OID}/reversal", str(OID), "1.005")
    (record,) = books.transfers.find({"reverses": str(OID)})
    assert record["from"] == OID
    assert balanced(books)

    books.transfers.insert_one({"_id": str(OID), "from": "bob", "to": "alice", "amount": 1})
    both = cli("transfer", "reverse", str(OID))
    assert both.code == 6
    assert "of different types" in both.stderr


async def test_two_who_reverse_at_one_instant_reverse_once(
    books: Documents, server_uri: str, dbname: str
) -> None:
    clients = [AsyncIOMotorClient[dict[str, Any]](server_uri, tz_aware=True) for _ in range(4)]
    try:
        await post(clients[0][dbname], [ask("k", "alice", "bob", "12.50")], seconds=5)
        wanted = [await reverse.request(client[dbname], "k") for client in clients]
        sent = (post(client[dbname], [one], seconds=30) for client, one in zip(clients, wanted, strict=True))
        outcomes = [outcome for (outcome,) in await asyncio.gather(*sent)]
        assert sorted(outcome.replayed for outcome in outcomes) == [False, True, True, True]
        assert (await show(clients[1][dbname], "k", seconds=5))["reversed_by"] == "k/reversal"
    finally:
        for client in clients:
            await driver.close(client)
    assert balances(books) == {"alice": "100.00", "bob": "50.00"}
