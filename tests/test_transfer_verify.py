"""`transfer verify`: books in order are called so, and whatever is changed behind the program's back is named."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import uuid
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import books as auditor
import pymongo
import pytest
from bson import Decimal128, Int64, ObjectId
from conftest import Server, until
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import monitoring

from motorctl.core import driver
from motorctl.core.transfers import books, ready
from motorctl.core.transfers.post import post
from motorctl.core.transfers.request import Request
from motorctl.core.transfers.verify import verify
from motorctl.errors import ExitCode, MotorctlError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Runner

    from motorctl.client import Database
    from motorctl.core.transfers.verify import Report

    Documents = pymongo.database.Database[dict[str, Any]]

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def money(value: str | int | Decimal) -> Decimal128:
    return Decimal128(Decimal(value))


class Ledger:
    """Accounts and records as this program writes them, made without it."""

    def __init__(self, **opened: str) -> None:
        self.accounts: dict[Any, dict[str, Any]] = {}
        self.records: list[dict[str, Any]] = []
        for name, opening in opened.items():
            self.open(name, opening)

    def open(self, name: Any, opening: str, currency: str = "EUR") -> None:
        both = {"opening": money(opening), "balance": money(opening)}
        self.accounts[name] = {"_id": name, "currency": currency, "status": "open", "entries": 0, **both}

    def send(self, source: Any, target: Any, amount: str, key: Any = None, **more: Any) -> None:
        record = {
            "_id": key or f"t{len(self.records)}",
            "from": source,
            "to": target,
            "amount": money(amount),
        }
        for side, name, sign in (("from", source, -1), ("to", target, 1)):
            account = self.accounts[name]
            account["balance"] = money(account["balance"].to_decimal() + sign * Decimal(amount))
            account["entries"] += 1
            record |= {f"{side}_balance": account["balance"], f"{side}_entry": account["entries"]}
        self.records.append({**record, "created_at": NOW, **more})

    def into(self, db: Documents) -> None:
        for name, documents in (("accounts", list(self.accounts.values())), ("transfers", self.records)):
            db[name].delete_many({})
            if documents:
                db[name].insert_many(documents)


@pytest.fixture
def ledger(sync_db: Documents) -> Ledger:
    """Three accounts and nine transfers of this program between them, one of them taken back."""
    made = Ledger(alice="100.00", bob="50.00", carol="20.00")
    for number in range(7):
        source, target = [("alice", "bob"), ("bob", "carol"), ("carol", "alice")][number % 3]
        made.send(source, target, f"{number + 1}.50")
    made.send("alice", "carol", "10.00", "rent")
    made.send("carol", "alice", "10.00", "rent/reversal", reverses="rent")
    made.into(sync_db)
    return made


def kinds(report: Report) -> set[str]:
    return {one.kind for one in report.found}


def named(report: Report, kind: str) -> list[tuple[str | None, str | None]]:
    """Return account and key of the differences of a kind."""
    return sorted((one.account or "", one.key or "") for one in report.found if one.kind == kind)


# what a user sees


@pytest.mark.usefixtures("ledger")
@pytest.mark.parametrize("form", ["table", "markdown"])
def test_books_in_order_are_shown_by_currency(cli: Runner, form: str) -> None:
    done = cli("transfer", "verify", "-o", form)
    assert done.code == ExitCode.OK
    assert "opened" in done.stdout
    assert "170.00" in done.stdout
    assert "message" not in done.stdout


@pytest.mark.usefixtures("ledger")
def test_books_in_order(cli: Runner) -> None:
    done = cli("transfer", "verify", "-o", "json")
    assert (done.code, done.stderr) == (ExitCode.OK, "the books balance: 3 accounts, 9 records\n")
    assert done.json() == {
        "ok": True,
        "accounts": 3,
        "before_the_ledger": 0,
        "records": 9,
        "foreign_records": 0,
        "currencies": [{"currency": "EUR", "opened": "170.00", "balance": "170.00", "difference": "0.00"}],
        "differences": [],
        "more": 0,
        "unread_accounts": 0,
    }
    assert cli("transfer", "verify", "-q").stdout.split() == [
        *("currency", "opened", "balance", "difference"),
        *("EUR", "170.00", "170.00", "0.00"),
    ]


@pytest.mark.usefixtures("ledger")
def test_a_difference_ends_with_8_and_is_named(cli: Runner, sync_db: Documents) -> None:
    sync_db.accounts.update_one({"_id": "bob"}, {"$set": {"balance": money("1000.00")}})
    done = cli("transfer", "verify", "-o", "json")
    assert done.code == ExitCode.DIFFERENCE
    assert done.stderr == "warning: 2 differences: 3 accounts, 9 records\n"
    report = done.json()
    assert not report["ok"]
    assert report["currencies"][0]["difference"] == "944.50"
    assert report["differences"][0] == {
        "kind": "balance",
        "account": "bob",
        "key": None,
        "entry": None,
        "currency": None,
        "expected": "55.50",
        "found": "1000.00",
        "message": "bob has 1000.00; its opening of 50.00 and its records make 55.50",
    }
    table = cli("transfer", "verify", tty=True)
    assert table.code == ExitCode.DIFFERENCE
    assert "1000.00" in table.stdout
    lines = cli("transfer", "verify", "-o", "csv").stdout.splitlines()
    assert lines[0] == "kind,account,key,entry,currency,expected,found,message"
    assert [line.split(",")[0] for line in lines[1:]] == ["balance", "currency"]
    assert json.loads(cli("transfer", "verify", "-o", "ndjson").stdout)["ok"] is False


def test_an_empty_database_is_said_to_be_empty(cli: Runner, dbname: str) -> None:
    done = cli("transfer", "verify", "-o", "json")
    assert (done.code, done.json()["accounts"]) == (ExitCode.OK, 0)
    assert done.stderr == f"warning: the database {dbname} has no accounts and no transfers\n"


@pytest.mark.usefixtures("ledger")
def test_one_account(cli: Runner, sync_db: Documents) -> None:
    sync_db.accounts.update_one({"_id": "bob"}, {"$set": {"balance": money("1000.00")}})
    done = cli("transfer", "verify", "--account", "alice")
    assert (done.code, done.stderr) == (ExitCode.OK, "account alice balances: 1 account, 7 records\n")
    assert cli("transfer", "verify", "--account", "bob").code == ExitCode.DIFFERENCE
    missing = cli("transfer", "verify", "--account", "nobody", "-o", "json")
    assert (missing.code, missing.error()["message"]) == (ExitCode.NOT_FOUND, "no account nobody")


def test_an_account_by_its_object_id(cli: Runner, sync_db: Documents) -> None:
    made, till = Ledger(bank="10.00"), ObjectId()
    made.open(till, "0.00")
    made.send("bank", till, "4.00")
    made.into(sync_db)
    assert cli("transfer", "verify", "--account", str(till), "-o", "json").json()["records"] == 1
    sync_db.transfers.delete_many({})
    report = cli("transfer", "verify", "-o", "json").json()
    assert {one["account"] for one in report["differences"] if one["kind"] == "gap"} == {"bank", str(till)}


def test_no_more_differences_are_listed_than_asked_for(cli: Runner, sync_db: Documents) -> None:
    made = Ledger(**{f"a{number:02}": "1.00" for number in range(30)})
    made.into(sync_db)
    sync_db.accounts.update_many({}, {"$set": {"balance": money("2.00")}})
    done = cli("transfer", "verify", "--limit", "7", "-o", "json")
    report = done.json()
    assert (len(report["differences"]), report["more"], report["unread_accounts"]) == (7, 24, 23)
    assert report["currencies"][0]["difference"] == "30.00"
    assert "24 more differences in 23 accounts not looked into: --limit 31 lists them" in done.stderr
    assert len(cli("transfer", "verify", "--limit", "31", "-o", "json").json()["differences"]) == 31


# accounts and records of others


async def test_accounts_before_the_ledger_are_told_apart(
    db: Database, sync_db: Documents, ledger: Ledger
) -> None:
    old = [{"_id": "till", "balance": 12.5}, {"_id": "safe", "balance": 700, "currency": "EUR"}]
    sync_db.accounts.insert_many(old)
    report = await verify(db)
    assert (report.ok, report.accounts, report.before, report.records) == (True, 5, 2, len(ledger.records))
    rows = {row["currency"]: str(row["opened"]) for row in report.row()["currencies"]}
    assert rows == {None: "12.50", "EUR": "870.00"}


async def test_records_of_others_count(db: Database, sync_db: Documents, ledger: Ledger) -> None:
    sync_db.accounts.insert_one({"_id": "till", "balance": 95, "currency": "EUR"})
    foreign = {"_id": "f1", "from": "till", "to": "bob", "amount": 5, "created_at": NOW}
    sync_db.transfers.insert_one(foreign)
    report = await verify(db)
    # the till never had an opening: what it has is taken for right; bob's balance doesn't have the 5
    assert (kinds(report), named(report, "balance")) == ({"balance", "currency"}, [("bob", "")])
    assert (report.before, report.foreign_records) == (1, 1)
    bob = ledger.accounts["bob"]["balance"].to_decimal()
    sync_db.accounts.update_one({"_id": "bob"}, {"$set": {"balance": money(bob + 5)}})
    report = await verify(db)
    assert (report.ok, report.before, report.foreign_records, report.records) == (True, 1, 1, 10)
    (total,) = report.row()["currencies"]
    assert (str(total["opened"]), str(total["balance"])) == ("270.00", "270.00")


async def test_an_account_that_was_adopted_counts_what_was_before(db: Database, sync_db: Documents) -> None:
    sync_db.accounts.insert_many([{"_id": "a", "balance": 90.25}, {"_id": "b", "balance": 10}])
    old = {"_id": "old", "from": "a", "to": "b", "amount": 9.75, "created_at": NOW}
    sync_db.transfers.insert_one(old)
    (outcome,) = await post(db, [Request("k", "a", "b", Decimal("0.25"))], seconds=10)
    assert outcome.refused is None
    report = await verify(db)
    assert (report.ok, report.before, report.foreign_records, report.records) == (True, 0, 1, 2)
    assert sync_db.accounts.find_one({"_id": "a"}, {"_id": 0, "opening": 1}) == {"opening": money("100.00")}


@pytest.mark.parametrize("amount", [0.1, 19.99, 5, Int64(7), 123456.78, money("0.1"), money("1E+2")])
async def test_amounts_of_others_are_exact_in_any_type(db: Database, sync_db: Documents, amount: Any) -> None:
    made = Ledger(a="0", b="0")
    value = auditor.number(amount) * 10
    exact = Decimal(value.numerator) / Decimal(value.denominator)
    made.accounts["a"]["balance"], made.accounts["b"]["balance"] = money(1_000_000_000 - exact), money(exact)
    made.accounts["a"]["opening"] = money(1_000_000_000)
    made.records = [
        {"_id": n, "from": "a", "to": "b", "amount": amount, "created_at": NOW} for n in range(10)
    ]
    made.into(sync_db)
    assert (await verify(db)).row()["differences"] == []


# what is changed behind the program's back


def field(where: str, id: str, name: str, value: Any) -> Callable[[Documents], object]:
    return lambda db: db[where].update_one({"_id": id}, {"$set": {name: value}})


def gone(where: str, id: str) -> Callable[[Documents], object]:
    return lambda db: db[where].delete_one({"_id": id})


def more(**values: Any) -> Callable[[Documents], object]:
    record = {"_id": "new", "from": "alice", "to": "bob", "amount": money("1.00"), "created_at": NOW}
    return lambda db: db.transfers.insert_one({**record, **values})


TAMPERED: dict[str, tuple[Callable[[Documents], object], dict[str, tuple[str, str]]]] = {
    # t0 alice-bob 1.50, t1 bob-carol 2.50, t2 carol-alice 3.50, t3 alice-bob 4.50, ...: entry 2 and 3 of alice, ...
    "an amount": (
        field("transfers", "t1", "amount", money("2.51")),
        {"balance": ("bob", ""), "running": ("bob", "t1")},
    ),
    "a payer": (field("transfers", "t1", "from", "alice"), {"gap": ("bob", ""), "twice": ("alice", "t2")}),
    "a payee": (field("transfers", "t1", "to", "alice"), {"gap": ("carol", ""), "balance": ("alice", "")}),
    "an entry": (field("transfers", "t1", "from_entry", 9), {"gap": ("bob", ""), "entries": ("bob", "")}),
    "an entry that is there": (
        field("transfers", "t3", "from_entry", 1),
        {"gap": ("alice", ""), "twice": ("alice", "t3")},
    ),
    "an entry below 1": (field("transfers", "t1", "from_entry", -47), {"entry": ("bob", "t1")}),
    "an entry that is a double": (field("transfers", "t3", "to_entry", 3.2), {"entry": ("bob", "t3")}),
    "an entry of one side": (
        lambda db: db.transfers.update_one({"_id": "t6"}, {"$unset": {"from_entry": 1}}),
        {"entry": ("alice", "t6")},
    ),
    "a balance in a record": (
        field("transfers", "t4", "to_balance", money("77.00")),
        {"running": ("carol", "t4")},
    ),
    "a balance in a record that is none": (
        field("transfers", "t4", "to_balance", "x"),
        {"running": ("carol", "t4")},
    ),
    "the balance": (field("accounts", "bob", "balance", money("55.51")), {"balance": ("bob", "")}),
    "the opening": (field("accounts", "bob", "opening", money("50.01")), {"balance": ("bob", "")}),
    "the opening taken away": (
        lambda db: db.accounts.update_one({"_id": "bob"}, {"$unset": {"opening": 1}}),
        {"opening": ("bob", "")},
    ),
    "the count of entries": (field("accounts", "bob", "entries", 4), {"entries": ("bob", "")}),
    "the count of entries raised": (field("accounts", "bob", "entries", 6), {"gap": ("bob", "")}),
    "the count of entries as text": (field("accounts", "bob", "entries", "5"), {"entries": ("bob", "")}),
    "the currency": (field("accounts", "bob", "currency", "USD"), {"currency": ("alice", "t0")}),
    "the currency as number": (field("accounts", "bob", "currency", 978), {"currency": ("bob", "")}),
    "the status": (field("accounts", "bob", "status", "closed"), {"closed": ("bob", "")}),
    "a record gone": (gone("transfers", "t1"), {"gap": ("bob", ""), "balance": ("carol", "")}),
    "the last record gone": (
        gone("transfers", "rent/reversal"),
        {"gap": ("alice", ""), "balance": ("carol", "")},
    ),
    "the first record gone": (gone("transfers", "t0"), {"gap": ("bob", ""), "balance": ("alice", "")}),
    "an account gone": (gone("accounts", "carol"), {"orphan": ("carol", "t1")}),
    "a copy of a record": (
        lambda db: db.transfers.insert_one(
            {**(db.transfers.find_one({"_id": "t1"}) or {}), "_id": "t1 again"}
        ),
        {"twice": ("bob", "t1 again"), "balance": ("carol", "")},
    ),
    "another program's record without its money": (more(), {"balance": ("alice", "")}),
    "an amount of zero": (more(amount=0), {"amount": ("alice", "new")}),
    "an amount below zero": (more(amount=money("-1")), {"amount": ("bob", "new")}),
    "NaN": (more(amount=Decimal128("NaN")), {"amount": ("alice", "new")}),
    "infinity": (more(amount=float("inf")), {"amount": ("alice", "new")}),
    "no amount": (more(amount=None), {"amount": ("alice", "new")}),
    "an amount as text": (more(amount="1.00"), {"amount": ("alice", "new")}),
    "an amount that is true": (more(amount=True), {"amount": ("alice", "new")}),
    "a double of no exact amount": (more(amount=0.1 + 0.2), {"amount": ("alice", "new")}),
    "a record to itself": (more(to="alice"), {"self": ("alice", "new")}),
    "a record to nowhere": (more(to="nobody"), {"orphan": ("nobody", "new")}),
    "a record from nothing": (more(**{"from": None}), {"orphan": ("None", "new")}),
    "a record from a document": (
        more(**{"from": {"account": "alice"}}),
        {"orphan": ("{'account': 'alice'}", "new")},
    ),
    "a record to a list": (more(to=["bob", {"account": "bob"}]), {"balance": ("alice", "")}),
    "a huge entry": (
        more(from_entry=2**62, to_entry=Int64(2**63 - 1)),
        {"entries": ("alice", ""), "gap": ("bob", "")},
    ),
    "an infinite entry": (more(from_entry=float("inf"), to_entry="1"), {"entry": ("alice", "new")}),
    "a balance below zero": (
        lambda db: db.accounts.insert_one({"_id": "d", "balance": -1, "opening": -1}),
        {"negative": ("d", "")},
    ),
    "a balance that is NaN": (field("accounts", "bob", "balance", float("nan")), {"number": ("bob", "")}),
    "a balance as text": (field("accounts", "bob", "balance", "55.50"), {"number": ("bob", "")}),
    "an opening that is a double of no amount": (
        field("accounts", "bob", "opening", 50 / 3),
        {"number": ("bob", "")},
    ),
    "a reversal of nothing": (more(reverses="t99"), {"reversal": ("", "new")}),
    "a second reversal": (
        more(**{"from": "carol", "to": "alice"}, amount=money("10.00"), reverses="rent"),
        {"reversal": ("", "new")},
    ),
    "a reversal of another amount": (
        field("transfers", "rent/reversal", "amount", money("9.99")),
        {"reversal": ("", "rent/reversal")},
    ),
    "a reversal that goes the same way": (more(reverses="t0"), {"reversal": ("", "new")}),
    "a reversal of a reversal": (
        more(**{"from": "alice", "to": "carol"}, amount=money("10.00"), reverses="rent/reversal"),
        {"reversal": ("", "new")},
    ),
}


@pytest.mark.parametrize("what", TAMPERED)
@pytest.mark.usefixtures("ledger")
async def test_a_change_is_named(db: Database, sync_db: Documents, what: str) -> None:
    assert (await verify(db)).ok
    change, expected = TAMPERED[what]
    change(sync_db)
    report = await verify(db, limit=100)
    assert not report.ok
    for kind, place in expected.items():
        assert place in named(report, kind), [(one.kind, one.message) for one in report.found]
    # one account at a time, by the indexes, the same is found
    for account in {one.account for one in report.found if one.account in ("alice", "bob", "carol")}:
        alone = await verify(db, account, limit=100)
        assert {one for one in report.found if one.account == account and one.kind != "currency"} <= {
            *alone.found
        }


async def test_an_amount_that_was_changed_is_found_in_both_accounts_and_nowhere_else(
    db: Database, sync_db: Documents, ledger: Ledger
) -> None:
    sync_db.transfers.update_one({"_id": "t4"}, {"$set": {"amount": money("999.00")}})
    report = await verify(db)
    assert named(report, "running") == [("bob", "t4"), ("carol", "t4")]
    assert named(report, "balance") == [("bob", ""), ("carol", "")]
    assert kinds(report) == {"running", "balance"}
    assert {one.account for one in report.found} < {*ledger.accounts}


@pytest.mark.usefixtures("ledger")
async def test_a_balance_that_was_changed_in_one_record_is_found_once(
    db: Database, sync_db: Documents
) -> None:
    sync_db.transfers.update_one({"_id": "t3"}, {"$set": {"to_balance": money("1.00")}})
    report = await verify(db)
    assert [(one.kind, one.account, one.key, one.expected, one.found) for one in report.found] == [
        ("running", "bob", "t3", "53.50", "1.00")
    ]


async def test_entries_with_the_same_sums_are_told_apart(db: Database, sync_db: Documents) -> None:
    """1, 1, 4, 5, 5, 6, 6 is as many numbers as 1 to 7, with the same sum, and the same sum of squares."""
    made = Ledger(a="100.00", b="0.00")
    for _ in range(7):
        made.send("a", "b", "1.00")
    for record, entry in zip(made.records, (1, 1, 4, 5, 5, 6, 6), strict=True):
        record["from_entry"] = entry
    made.into(sync_db)
    report = await verify(db)
    assert named(report, "twice") == [("a", "t1"), ("a", "t4"), ("a", "t6")]
    assert [one.expected for one in report.found if one.kind == "gap"] == ["2..3", "7"]


@pytest.mark.parametrize("count", [47, 48, 49, 96, 97, 150])
async def test_long_accounts_are_counted_to_their_last_entry(
    db: Database, sync_db: Documents, count: int
) -> None:
    made = Ledger(a="100.00", b="0.00")
    for _ in range(count):
        made.send("a", "b", "0.01")
    made.into(sync_db)
    assert (await verify(db)).ok
    for entry in {1, 47, 48, 49, count - 1, count} & {*range(1, count + 1)}:
        # the record of an entry takes another one's number: count and accounts stay as they are
        other = entry % count + 1
        sync_db.transfers.update_one({"to_entry": entry}, {"$set": {"to_entry": other}})
        assert {"gap", "twice"} <= kinds(await verify(db)), entry
        sync_db.transfers.update_one({"from_entry": entry}, {"$set": {"to_entry": entry}})
    assert (await verify(db)).ok


async def test_sums_are_exact_beyond_what_a_decimal_adds(db: Database, sync_db: Documents) -> None:
    """The server's own sum of these drops the cents: 10^33 and 0.01 have 36 digits."""
    big = "1" + "0" * 33
    made = Ledger(a=big, b="0.10", c="0.00")
    # a pays all it has and gets it back; one cent goes on between
    made.accounts["b"]["balance"] = made.accounts["c"]["opening"] = money("0.10")
    made.records = [
        {"_id": 1, "from": "a", "to": "b", "amount": money(big), "created_at": NOW},
        {"_id": 2, "from": "c", "to": "b", "amount": money("0.01"), "created_at": NOW},
        {"_id": 3, "from": "b", "to": "a", "amount": money(big), "created_at": NOW},
    ]
    made.accounts["c"]["balance"] = money("0.09")
    made.into(sync_db)
    found = {
        one.account: (one.expected, one.found) for one in (await verify(db)).found if one.kind == "balance"
    }
    assert found == {"b": ("0.11", "0.10")}
    sync_db.accounts.update_one({"_id": "b"}, {"$set": {"balance": money("0.11")}})
    report = await verify(db)
    assert (report.ok, report.row()["currencies"][0]["difference"]) == (True, 0)


async def test_records_between_currencies_are_named(db: Database, sync_db: Documents) -> None:
    made = Ledger(eur="10.00", other="10.00")
    made.open("usd", "10.00", "USD")
    made.send("eur", "other", "1.00", "fine")
    made.send("eur", "usd", "2.00", "mixed")
    made.into(sync_db)
    report = await verify(db)
    assert kinds(report) == {"currency"}
    assert [one.key for one in report.found] == [None, None, "mixed"]
    assert [(one.expected, one.found) for one in report.found[:2]] == [("20.00", "18.00"), ("10.00", "12.00")]


# against an auditor who adds up in Python

NAMES = ("a", "b", "c")
TRANSFERS = st.lists(
    st.tuples(st.permutations(NAMES), st.integers(1, 500), st.booleans()), min_size=1, max_size=12
)
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(
            ["amount", "from_balance", "to_balance", "from_entry", "to_entry", "balance", "opening"]
        )
        | st.sampled_from(["entries", "delete", "copy"]),
        st.integers(0, 100),
        st.integers(-3, 5),
    ),
    max_size=2,
)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(transfers=TRANSFERS, changes=CHANGES)
def test_it_says_what_an_auditor_says(
    sync_db: Documents, verified: Callable[[], Report], transfers: list[Any], changes: list[Any]
) -> None:
    made = Ledger(a="10.00", b="10.00", c="10.00")
    for (source, target, _), cents, foreign in transfers:
        made.send(source, target, str(Decimal(cents).scaleb(-2)))
        if foreign:
            record = made.records[-1]
            for side, name in (("from", source), ("to", target)):
                made.accounts[name]["entries"] -= 1
                del record[f"{side}_entry"], record[f"{side}_balance"]
    for what, which, by in changes:
        _change(made, what, which, by)
    made.into(sync_db)
    expected = auditor.differences(auditor.read(sync_db))
    report = verified()
    assert report.ok == (not expected), (expected, [one.message for one in report.found])
    accounts = {one.account for one in report.found if one.account}
    keys = {one.key for one in report.found if one.key}
    for said in expected:
        assert said.split()[0] in accounts | keys, said


@pytest.fixture
def verified(server_uri: str, dbname: str) -> Iterator[Callable[[], Report]]:
    """What core says, to a test that isn't a coroutine."""
    with asyncio.Runner() as runner:

        async def connect() -> Database:
            client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(server_uri)
            return client.get_database(dbname)

        db = runner.run(connect())
        yield lambda: runner.run(verify(db, limit=1000))
        runner.run(driver.close(db.client))


def _change(made: Ledger, what: str, which: int, by: int) -> None:
    record = made.records[which % len(made.records)] if made.records else {}
    account = made.accounts[NAMES[which % len(NAMES)]]
    if what == "delete" and made.records:
        made.records.remove(record)
    elif what == "copy" and made.records:
        made.records.append({**record, "_id": f"copy{len(made.records)}"})
    elif what == "entries":
        account["entries"] = max(0, account["entries"] + by)
    elif what in ("balance", "opening"):
        account[what] = money(account[what].to_decimal() + by)
    elif isinstance(record.get(what), int):
        record[what] = max(1, record[what] + by)
    elif what in record:
        record[what] = money(max(Decimal("0.01"), record[what].to_decimal() + by))


# while transfers go on


async def test_it_sees_one_instant_while_transfers_go_on(db: Database, sync_db: Documents) -> None:
    names = [f"a{number}" for number in range(6)]
    Ledger(**dict.fromkeys(names, "100.00")).into(sync_db)
    done = asyncio.Event()
    seen: list[int] = []

    async def send(number: int) -> int:
        sent = 0
        while not done.is_set():
            request = Request(
                f"{number}/{sent}", names[(number + sent) % 6], names[(number + sent + 1) % 6], Decimal(1)
            )
            await post(db, [request], seconds=20)
            sent += 1
        return sent

    async def look() -> None:
        try:
            for _ in range(25):
                report = await verify(db)
                assert report.row()["differences"] == []
                assert report.row()["currencies"][0]["balance"] == Decimal("600.00")
                seen.append(report.records)
        finally:
            done.set()

    *sent, _ = await asyncio.gather(send(0), send(2), send(4), look())
    assert seen == sorted(seen)
    assert seen[-1] > seen[0]
    assert (await verify(db)).records == sum(number for number in sent if number)


# what the server can't do, or doesn't let


class Failing:
    """A URI of the test's server whose commands can be made to fail, and those of nobody else."""

    def __init__(self, uri: str) -> None:
        self._server, self._name = uri, f"verify-{uuid.uuid4().hex[:10]}"
        self.uri = f"{uri}&appName={self._name}"

    @contextmanager
    def of(self, *commands: str, code: int, times: int | None = None) -> Iterator[None]:
        mode = "alwaysOn" if times is None else {"times": times}
        data = {"failCommands": list(commands), "errorCode": code, "appName": self._name}
        with pymongo.MongoClient[dict[str, Any]](self._server) as client:
            client.admin.command("configureFailPoint", "failCommand", mode=mode, data=data)
            try:
                yield
            finally:
                client.admin.command("configureFailPoint", "failCommand", mode="off")


def test_the_right_to_read_is_enough(cli: Runner, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(base64.b64encode(os.urandom(72)).decode())
    key.chmod(0o600)
    server = Server(tmp_path / "home", "--keyFile", str(key))
    try:
        with pymongo.MongoClient[dict[str, Any]](f"mongodb://{server.host}/?directConnection=true") as first:
            first.admin.command(
                "replSetInitiate", {"_id": "rs0", "members": [{"_id": 0, "host": server.host}]}
            )
            until(lambda: first.admin.command("hello")["isWritablePrimary"], "a primary")
        with pymongo.MongoClient[dict[str, Any]](server.uri) as second:
            second.admin.command("createUser", "root", pwd="secret", roles=["root"])
        with pymongo.MongoClient[dict[str, Any]](server.uri, username="root", password="secret") as root:
            root.shop.command("createUser", "reader", pwd="secret", roles=["read"])
            made = Ledger(a="1.00", b="0.00")
            made.send("a", "b", "0.25")
            made.into(root.shop)
        uri = server.uri.replace("//", "//reader:secret@").replace("/?", "/shop?")
        done = cli("--uri", uri, "--db", "shop", "transfer", "verify", "-o", "json")
        assert (done.code, done.json()["records"]) == (ExitCode.OK, 1), done.stderr
        assert cli("--uri", uri, "--db", "shop", "transfer", "verify", "--account", "a").code == ExitCode.OK
    finally:
        server.kill()


@pytest.mark.usefixtures("ledger")
def test_an_instant_that_is_gone_is_said_in_words(cli: Runner, server_uri: str) -> None:
    failing = Failing(server_uri)
    with failing.of("aggregate", code=239):
        done = cli("--uri", failing.uri, "transfer", "verify")
    assert done.code == ExitCode.FAILED
    assert "doesn't keep the instant that is looked at for as long as this takes" in done.stderr
    assert "minSnapshotHistoryWindowInSeconds" in done.stderr


@pytest.mark.usefixtures("ledger")
def test_a_collection_that_was_made_just_now_is_waited_for(cli: Runner, server_uri: str) -> None:
    failing = Failing(server_uri)
    with failing.of("aggregate", code=246, times=2):
        assert cli("--uri", failing.uri, "transfer", "verify").code == ExitCode.OK


@pytest.mark.usefixtures("ledger")
async def test_before_mongodb_5_one_account_is_seen_in_a_transaction(
    db: Database, server_uri: str, dbname: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def old(_db: Database) -> tuple[int, int]:
        return 4, 4

    monkeypatch.setattr(driver, "server_version", old)
    with pytest.raises(MotorctlError, match=r"before MongoDB 5\.0") as refused:
        await verify(db)
    assert "--account" in (refused.value.hint or "")
    assert (await verify(db, "alice")).ok
    failing = Failing(server_uri)
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(failing.uri)
    with (
        failing.of("aggregate", code=290),
        pytest.raises(MotorctlError, match="longer than the server permits"),
    ):
        await verify(client[dbname], "alice")
    await driver.close(client)


@pytest.mark.usefixtures("ledger")
def test_an_account_is_read_by_the_indexes_of_the_manifest(cli: Runner, sync_db: Documents) -> None:
    assert cli("schema", "apply", "--builtin", "shop").code == ExitCode.OK
    command = {"aggregate": "transfers", "pipeline": books.entries("alice"), "cursor": {}}
    plan = str(sync_db.command("explain", command, verbosity="queryPlanner"))
    assert "from_1_created_at_1" in plan
    assert "to_1_created_at_1" in plan
    assert "COLLSCAN" not in plan
    assert cli("transfer", "verify").code == ExitCode.OK
    assert cli("schema", "check", "--builtin", "shop").code == ExitCode.OK


# what the ledger stands on


def test_missing_indexes_are_named_with_the_command_that_makes_them(
    cli: Runner, sync_db: Documents, server_uri: str
) -> None:
    (sentence,) = checked(server_uri, sync_db.name)
    assert sentence == (
        "transfers has no index on from and created_at, and none on to and created_at: "
        "`motorctl schema apply --builtin shop` makes them"
    )
    sync_db.transfers.create_index({"from": 1, "created_at": 1, "amount": 1})
    (sentence,) = checked(server_uri, sync_db.name)
    command = sentence.split("`")[1].split()
    assert command == ["motorctl", "indexes", "create", "transfers", "to", "created_at"]
    assert cli(*command[1:]).code == ExitCode.OK
    assert checked(server_uri, sync_db.name) == []


@pytest.mark.parametrize(
    "options",
    [
        {"hidden": True},
        {"sparse": True},
        {"partialFilterExpression": {"note": "x"}},
        {"collation": {"locale": "de"}},
    ],
    ids=str,
)
def test_an_index_of_some_records_is_no_index_of_the_ledger(
    sync_db: Documents, server_uri: str, options: dict[str, Any]
) -> None:
    sync_db.transfers.create_index({"to": 1, "created_at": 1})
    sync_db.transfers.create_index({"from": 1, "created_at": 1}, name="some", **options)
    (sentence,) = checked(server_uri, sync_db.name)
    assert "on from and created_at" in sentence


def test_the_shipped_manifest_has_what_the_ledger_needs(cli: Runner, server_uri: str, dbname: str) -> None:
    assert cli("schema", "apply", "--builtin", "shop").code == ExitCode.OK
    assert checked(server_uri, dbname) == []


def test_who_may_not_list_indexes_is_not_stopped(server_uri: str, dbname: str) -> None:
    failing = Failing(server_uri)
    with failing.of("listIndexes", code=13):
        assert checked(failing.uri, dbname) == []


def checked(uri: str, dbname: str) -> list[str]:
    async def check() -> list[str]:
        client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(uri)
        try:
            return await ready.check(client[dbname])
        finally:
            await driver.close(client)

    return asyncio.run(check())


async def test_it_is_checked_in_one_round_trip(server_uri: str, dbname: str) -> None:
    told: list[tuple[str, str]] = []

    class Listener(monitoring.CommandListener):
        def started(self, event: monitoring.CommandStartedEvent) -> None:
            told.append(("started", event.command_name))

        def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
            told.append(("ended", event.command_name))

        def failed(self, event: monitoring.CommandFailedEvent) -> None:
            told.append(("ended", event.command_name))

    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(server_uri, event_listeners=[Listener()])
    db = client[dbname]
    try:
        # both connections are there: how long a first one takes doesn't matter here
        await asyncio.gather(*(db.command({"ping": 1}) for _ in range(4)))
        told.clear()
        assert len(await ready.check(db)) == 1
        assert sorted(told[:2]) == [("started", "hello"), ("started", "listIndexes")]
        assert sorted(told[2:]) == [("ended", "hello"), ("ended", "listIndexes")]
    finally:
        await driver.close(client)
