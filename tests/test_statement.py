"""`motorctl accounts statement`: an account's entries with the balance after each, and whether they make its own."""

from __future__ import annotations

import csv
import io
import random
import subprocess
import tracemalloc
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from bson import Decimal128, Int64, ObjectId
from conftest import command

from motorctl.core import statement
from motorctl.core.statement import Window
from motorctl.core.transfers import snapshot
from motorctl.errors import NotFoundError, RefusedError

if TYPE_CHECKING:
    from conftest import Runner
    from pymongo.database import Database as SyncDatabase

    from motorctl.client import Database

    Documents = SyncDatabase[dict[str, Any]]

FIRST = datetime(2026, 11, 1, tzinfo=UTC)
INDEXES = ("from", "to")


def account(
    db: Documents,
    id: Any,
    balance: str,
    *,
    opening: str | None = "0.00",
    entries: int = 0,
    currency: str | None = "EUR",
) -> None:
    document = {
        "_id": id,
        "owner": str(id).title(),
        "currency": currency,
        "balance": Decimal128(balance),
        "status": "open",
        "entries": entries,
        "opened_at": FIRST,
        **({} if opening is None else {"opening": Decimal128(opening)}),
    }
    db.accounts.insert_one({name: value for name, value in document.items() if value is not None})


def record(
    key: Any, source: Any, target: Any, amount: Any, at: Any, *numbers: int, **fields: Any
) -> dict[str, Any]:
    """A record of the ledger; with two numbers it is this program's."""
    own = dict(zip(("from_entry", "to_entry"), numbers, strict=False))
    value = Decimal128(amount) if isinstance(amount, str) else amount
    return {"_id": key, "from": source, "to": target, "amount": value, "created_at": at, **own, **fields}


def indexed(db: Documents) -> None:
    for side in INDEXES:
        db.transfers.create_index([(side, 1), ("created_at", 1)])


def day(number: float) -> datetime:
    return FIRST + timedelta(days=number)


@pytest.fixture
def alice(sync_db: Documents) -> None:
    """100.00 EUR; 10.00 to bob on the second day, 2.50 back on the third."""
    account(sync_db, "alice", "92.50", opening="100.00", entries=2)
    sync_db.transfers.insert_many(
        [
            record("rent", "alice", "bob", "10.00", day(1), 1, 1, note="November"),
            record("rent/reversal", "bob", "alice", "2.50", day(2), 2, 2, reverses="rent"),
            record("elsewhere", "bob", "carol", "1.00", day(2), 3, 1),
        ]
    )
    indexed(sync_db)


@pytest.mark.usefixtures("alice")
def test_a_statement_begins_with_the_opening_balance_and_ends_with_the_accounts(cli: Runner) -> None:
    done = cli("accounts", "statement", "alice")
    assert (done.code, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "date                  key              with  amount  balance  note",
        "2026-11-01T00:00:00Z  opening balance                 100.00",
        "2026-11-02T00:00:00Z  rent             bob   -10.00    90.00  November",
        "2026-11-03T00:00:00Z  rent/reversal    bob    +2.50    92.50",
        "                      closing balance                  92.50",
    ]


@pytest.mark.usefixtures("alice")
def test_json_is_one_document(cli: Runner) -> None:
    assert cli("accounts", "statement", "alice", "--since", "2026-11-03", "-o", "json").json() == {
        "account": "alice",
        "owner": "Alice",
        "currency": "EUR",
        "since": "2026-11-03T00:00:00Z",
        "until": None,
        "opening_balance": "90.00",
        "entries": [
            {
                "created_at": "2026-11-03T00:00:00Z",
                "entry": 2,
                "key": "rent/reversal",
                "counterparty": "bob",
                "amount": "2.50",
                "note": None,
                "reverses": "rent",
                "balance": "92.50",
            }
        ],
        "closing_balance": "92.50",
        "difference": "0.00",
    }


@pytest.mark.usefixtures("alice")
def test_csv_and_ndjson_have_the_entries_and_stderr_the_balances(cli: Runner) -> None:
    for form in ("csv", "ndjson"):
        done = cli("accounts", "statement", "alice", "-o", form)
        assert done.stderr == "account alice: 100.00 EUR before, 92.50 EUR after 2 entries\n"
        assert len(done.stdout.splitlines()) == (3 if form == "csv" else 2)
    rows = list(csv.DictReader(io.StringIO(cli("accounts", "statement", "alice", "-o", "csv").stdout)))
    assert [(row["entry"], row["amount"], row["balance"]) for row in rows] == [
        ("1", "-10.00", "90.00"),
        ("2", "2.50", "92.50"),
    ]
    done = cli("accounts", "statement", "alice", "-o", "ndjson", "--since", "2027-01-01")
    assert (done.stdout, done.stderr) == ("", "account alice: 92.50 EUR before, 92.50 EUR after 0 entries\n")


@pytest.mark.parametrize("entries", [0, 1, 500, 501, 502, 1200])
def test_json_of_any_length_is_whole(cli: Runner, sync_db: Documents, entries: int) -> None:
    account(sync_db, "a", f"{entries}.00", entries=entries)
    if entries:
        sync_db.transfers.insert_many(
            [record(n, "b", "a", "1.00", day(n / 10), n + 1, n + 1) for n in range(entries)]
        )
    found = cli("accounts", "statement", "a", "-o", "json").json()
    assert [entry["entry"] for entry in found["entries"]] == list(range(1, entries + 1))
    assert (found["closing_balance"], found["difference"]) == (f"{entries}.00", "0.00")


@pytest.mark.parametrize("edges", [(None, None), (5, None), (None, 9), (3, 11), (30, None)])
def test_every_part_of_a_statement_is_a_part_of_the_whole(
    cli: Runner, sync_db: Documents, edges: tuple[float | None, float | None]
) -> None:
    """Against a plain model: many of one moment, other programs' records, numbers of every type."""
    chance = random.Random(7)
    model: list[tuple[datetime, bool, str, Decimal]] = []
    for number in range(80):
        at, cents = day(chance.randrange(15)), chance.randrange(1, 10_000)
        own, out = number % 3 > 0, chance.random() < 0.5
        model.append((at, own, f"k{number:02}", Decimal(-cents if out else cents).scaleb(-2)))
    model.sort(key=lambda one: one[0])
    records, numbered, opening = [], [], Decimal("1000.00")
    counter = 0
    for at, own, key, amount in model:
        counter += own
        numbered.append((at, counter if own else 0, key, amount))
        value: Any = abs(amount)
        value = Decimal128(value) if own or int(key[1:]) % 2 else float(value)
        sides = ("a", "b") if amount < 0 else ("b", "a")
        records.append(record(key, *sides, value, at, *((counter, counter) if own else ())))
    chance.shuffle(records)
    sync_db.transfers.insert_many(records)
    indexed(sync_db)
    total = opening + sum(one[3] for one in model)
    account(sync_db, "a", str(total), opening=str(opening), entries=counter)
    since, until = (None if edge is None else day(edge) for edge in edges)
    inside = [one for one in numbered if (not since or one[0] >= since) and (not until or one[0] < until)]

    options = [
        ["--since", f"{since:%Y-%m-%d}"] if since else [],
        ["--until", f"{until:%Y-%m-%d}"] if until else [],
    ]
    whole = cli("accounts", "statement", "a", *options[0], *options[1], "-o", "json").json()
    keys = [entry["key"] for entry in whole["entries"]]
    assert sorted(keys) == sorted(one[2] for one in inside)
    numbers = [entry["entry"] for entry in whole["entries"] if entry["entry"]]
    assert numbers == sorted(one[1] for one in inside if one[1])
    dates = [entry["created_at"] for entry in whole["entries"]]
    assert dates == sorted(dates)
    before = opening + sum(one[3] for one in numbered if since and one[0] < since)
    assert Decimal(whole["opening_balance"]) == before
    balance = before
    for entry in whole["entries"]:
        balance += Decimal(entry["amount"])
        assert Decimal(entry["balance"]) == balance
    assert Decimal(whole["closing_balance"]) == balance
    assert whole["difference"] == (None if until else "0.00")
    for limit in (1, 7, 40, 200):
        part = cli(
            "accounts", "statement", "a", *options[0], *options[1], "--limit", str(limit), "-o", "json"
        ).json()
        # Of foreign records with one date any may be the last ones: what is told of them has to be true.
        tail = whole["entries"][-limit:]
        assert [entry["entry"] for entry in part["entries"] if entry["entry"]] == [
            entry["entry"] for entry in tail if entry["entry"]
        ]
        assert [entry["created_at"] for entry in part["entries"]] == [entry["created_at"] for entry in tail]
        moved = sum(Decimal(entry["amount"]) for entry in part["entries"])
        assert Decimal(part["closing_balance"]) == Decimal(whole["closing_balance"])
        assert Decimal(part["opening_balance"]) + moved == Decimal(part["closing_balance"])


def test_entries_of_one_moment_are_in_the_order_of_their_numbers(cli: Runner, sync_db: Documents) -> None:
    """A batch has one date; its keys and the order of their writing say nothing."""
    account(sync_db, "a", "300.00", entries=300)
    numbers = list(range(1, 301))
    random.Random(1).shuffle(numbers)
    sync_db.transfers.insert_many([record(f"k{n % 7}/{n}", "b", "a", "1.00", day(1), n, n) for n in numbers])
    indexed(sync_db)
    found = cli("accounts", "statement", "a", "-o", "json").json()
    assert [entry["balance"] for entry in found["entries"]] == [f"{n}.00" for n in range(1, 301)]
    last = cli("accounts", "statement", "a", "--limit", "3", "-o", "json").json()
    assert [entry["entry"] for entry in last["entries"]] == [298, 299, 300]
    assert last["opening_balance"] == "297.00"


def test_an_account_from_before_the_ledger_is_shown_as_one(cli: Runner, sync_db: Documents) -> None:
    sync_db.accounts.insert_one({"_id": "old", "balance": 12.5})
    sync_db.transfers.insert_many([record(1, "old", "b", 2.25, day(1)), record(2, "b", "old", 1, day(2))])
    indexed(sync_db)
    done = cli("accounts", "statement", "old", "-o", "json")
    found = done.json()
    assert (found["opening_balance"], found["closing_balance"]) == ("13.75", "12.50")
    assert [(entry["amount"], entry["balance"]) for entry in found["entries"]] == [
        ("-2.25", "11.50"),
        ("1.00", "12.50"),
    ]
    assert done.stderr.splitlines() == [
        "account old was there before the ledger: its opening balance is its balance less what the ledger has moved",
        "2 of 2 entries are other programs' records",
    ]


@pytest.mark.parametrize("window", [[], ["--since", "2026-11-05"], ["--limit", "1"]])
def test_entries_that_do_not_make_the_balance_are_exit_8(
    cli: Runner, sync_db: Documents, window: list[str]
) -> None:
    account(sync_db, "a", "99.00", opening="100.00", entries=2)
    sync_db.transfers.insert_many(
        [record("1", "a", "b", "10.00", day(1), 1, 1), record("2", "b", "a", "2.50", day(5), 2, 2)]
    )
    done = cli("accounts", "statement", "a", *window, "-o", "json")
    assert (done.code, done.json()["closing_balance"], done.json()["difference"]) == (8, "92.50", "6.50")
    error = done.error()
    assert error["message"] == "account a has 99.00 EUR, but its opening balance and its entries make 92.50"
    assert (error["balance"], error["entries"], error["difference"]) == ("99.00", "92.50", "6.50")
    assert cli("accounts", "statement", "a", *window).code == 8


def test_an_entry_dated_before_an_earlier_one_is_told(cli: Runner, sync_db: Documents) -> None:
    """After a failover to a server whose clock is behind."""
    account(sync_db, "a", "2.00", entries=2)
    sync_db.transfers.insert_many(
        [record("1", "b", "a", "1.00", day(2), 1, 1), record("2", "b", "a", "1.00", day(1), 2, 2)]
    )
    indexed(sync_db)
    done = cli("accounts", "statement", "a")
    assert (done.code, done.stderr) == (
        0,
        "warning: 1 of 2 entries are dated before an earlier one: the servers' clocks differ\n",
    )


def test_records_without_a_date_are_before_all_others(cli: Runner, sync_db: Documents) -> None:
    account(sync_db, "a", "7.00")
    sync_db.transfers.insert_many(
        [
            record("late", "b", "a", "1.00", day(3)),
            record("none", "b", "a", "2.00", None),
            record("text", "b", "a", "4.00", "yesterday"),
        ]
    )
    indexed(sync_db)
    found = cli("accounts", "statement", "a", "-o", "json").json()
    assert [entry["key"] for entry in found["entries"]] == ["none", "text", "late"]
    found = cli("accounts", "statement", "a", "--since", "2026-11-02", "-o", "json").json()
    assert (found["opening_balance"], found["difference"]) == ("6.00", "0.00")
    found = cli("accounts", "statement", "a", "--until", "2026-11-02", "-o", "json").json()
    assert (len(found["entries"]), found["closing_balance"]) == (2, "6.00")


def test_a_record_from_an_account_to_itself_moves_nothing(cli: Runner, sync_db: Documents) -> None:
    account(sync_db, "a", "5.00", opening="5.00")
    sync_db.transfers.insert_one(record("self", "a", "a", 3, day(1)))
    for window in ([], ["--limit", "1"], ["--since", "2027-01-01"]):
        done = cli("accounts", "statement", "a", *window, "-o", "json")
        assert (done.code, done.json()["closing_balance"]) == (0, "5.00")


def test_an_object_id_and_a_currency_of_three_digits(cli: Runner, sync_db: Documents) -> None:
    own = ObjectId("64b7f0c2a1b2c3d4e5f60718")
    account(sync_db, own, "1.500", opening="2.000", entries=1, currency="KWD")
    sync_db.transfers.insert_one(record("k", own, ObjectId(), "0.500", day(1), 1, 1))
    found = cli("accounts", "statement", str(own), "-o", "json").json()
    assert (found["account"], found["entries"][0]["amount"]) == (str(own), "-0.500")


def test_an_id_that_looks_like_a_field_is_an_id(cli: Runner, sync_db: Documents) -> None:
    account(sync_db, "$amount", "1.00", entries=1)
    sync_db.transfers.insert_one(record("k", "b", "$amount", "1.00", day(1), 1, 1))
    found = cli("accounts", "statement", "$amount", "--limit", "5", "-o", "json").json()
    assert (found["opening_balance"], found["difference"]) == ("0.00", "0.00")


@pytest.mark.parametrize("amount", [0.1 + 0.2, "NaN", True, None, float("inf"), 1e22])
@pytest.mark.parametrize("window", [[], ["--since", "2026-12-01"], ["--limit", "1"]])
def test_an_amount_that_cannot_be_read_is_exit_6_with_its_key(
    cli: Runner, sync_db: Documents, amount: Any, window: list[str]
) -> None:
    account(sync_db, "a", "1.00", opening="0.70")
    sync_db.transfers.insert_one(record("odd", "b", "a", amount, day(1)))
    done = cli("accounts", "statement", "a", *window)
    assert done.code == 6
    assert "transfer odd" in done.stderr


def test_a_balance_that_cannot_be_read_is_exit_6(cli: Runner, sync_db: Documents) -> None:
    sync_db.accounts.insert_one({"_id": "a", "balance": 0.1 + 0.2})
    done = cli("accounts", "statement", "a")
    assert (done.code, done.stdout) == (6, "")
    assert "the balance of account a: 0.30000000000000004 is a double" in done.stderr
    assert "NumberDecimal" in done.stderr


async def test_the_sum_on_the_server_is_exact_or_refused(db: Database, sync_db: Documents) -> None:
    """Doubles that add up to 0.9999999999999999, integers beyond a double, digits at the limit."""
    exact: dict[str, tuple[list[Any], str]] = {
        "doubles": ([0.1] * 10, "1.00"),
        "integers": ([Int64(2**62), Int64(2**62), 1], str(2**63 + 1) + ".00"),
        "mixed": ([0.1, Decimal128("0.20"), 3], "3.30"),
        "digits": ([Decimal128("9" * 30 + ".99"), Decimal128("0.01")], "1" + "0" * 30 + ".00"),
        "nothing": ([], "0"),
    }
    for name, (amounts, expected) in exact.items():
        if amounts:
            sync_db.transfers.insert_many(
                [record(f"{name}{n}", "b", name, amount, day(n)) for n, amount in enumerate(amounts)]
            )
        found = await statement.total(db, name, 2)
        assert (str(found.moved), found.count) == (expected, len(amounts)), name
    many = [record(f"m{n}", "b", "many", "9" * 32 + ".99", day(n)) for n in range(2)]
    sync_db.transfers.insert_many(many)
    with pytest.raises(RefusedError, match="more than 34 digits"):
        await statement.total(db, "many", 2)


async def test_a_statement_is_of_one_moment_while_transfers_go_on(db: Database, sync_db: Documents) -> None:
    count = 3000  # more than the server sends at once
    account(sync_db, "a", f"{count}.00", entries=count)
    sync_db.transfers.insert_many(
        [record(n, "b", "a", "1.00", day(n / 100), n, n) for n in range(1, count + 1)]
    )
    indexed(sync_db)
    seen: list[dict[str, Any]] = []
    async for line in statement.lines(db, "a", Window()):
        if len(seen) == 10:
            sync_db.transfers.insert_one(record("new", "a", "b", "3000.00", day(20), count + 1, count + 1))
            sync_db.accounts.update_one({"_id": "a"}, {"$set": {"balance": Decimal128("0.00")}})
        seen.append(line)
    assert len(seen) == count + 2
    assert (seen[-1]["balance"], seen[-1]["difference"]) == (Decimal("3000.00"), 0)


async def test_a_long_statement_takes_no_more_memory_than_a_short_one(
    db: Database, sync_db: Documents
) -> None:
    account(sync_db, "a", "0.00", opening="0.00", entries=4_000)
    sync_db.transfers.insert_many(
        [
            record(
                n, *(("b", "a") if n % 2 else ("a", "b")), "1.00", FIRST + timedelta(seconds=n // 50), n, n
            )
            for n in range(1, 4_001)
        ]
    )
    indexed(sync_db)

    async def peak(until: datetime) -> tuple[int, int]:
        tracemalloc.start()
        try:
            lines = 0
            async for _ in statement.lines(db, "a", Window(until=until)):
                lines += 1
            return lines, tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    short, long = await peak(FIRST + timedelta(seconds=30)), await peak(day(1))
    assert (short[0], long[0]) == (1501, 4_002)
    assert long[1] < short[1] * 1.5


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize(("since", "until"), [(None, None), (5, None), (None, 9), (3, 9)])
def test_the_indexes_serve_a_statement_in_order(
    sync_db: Documents, since: int | None, until: int | None, direction: int
) -> None:
    sync_db.transfers.insert_many(
        [record(n, "ab"[n % 2], "ba"[n % 2], "1.00", day(n % 15)) for n in range(200)]
    )
    indexed(sync_db)
    chosen = statement.selection("a", since=since and day(since), until=until and day(until))  # type: ignore[arg-type]  # None or a date
    plan = sync_db.transfers.find(chosen).sort([("created_at", direction)]).explain()
    stages = text_of_stages(plan["queryPlanner"]["winningPlan"])
    assert stages.count("IXSCAN") == 2
    assert "SORT_MERGE" in stages
    assert not {"SORT", "COLLSCAN"} & set(stages)


def text_of_stages(plan: Any) -> list[str]:
    if isinstance(plan, dict):
        found = [plan["stage"]] if "stage" in plan else []
        return found + [stage for value in plan.values() for stage in text_of_stages(value)]
    return [stage for one in plan for stage in text_of_stages(one)] if isinstance(plan, list) else []


@pytest.mark.usefixtures("alice")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--since", "soon"], "'soon' is not a date"),
        (["--since", "2026-11-03", "--until", "2026-11-03"], "nothing lies between"),
        (["--tz", "Berlin"], "no such time zone"),
        (["--limit", "0"], "0 is not in the range"),
        (["--limit", "10001"], "10001 is not in the range"),
    ],
)
def test_a_window_that_is_none_is_exit_2(cli: Runner, options: list[str], message: str) -> None:
    done = cli("accounts", "statement", "alice", *options)
    assert (done.code, done.stdout) == (2, "")
    assert message in done.stderr


@pytest.mark.usefixtures("alice")
def test_midnights_are_those_of_the_zone(cli: Runner) -> None:
    # The third day begins in Berlin at 23:00 UTC of the second.
    for zone, expected in (("UTC", 1), ("Europe/Berlin", 1), ("America/New_York", 0)):
        options = ["--since", "2026-11-03", "--tz", zone]
        found = cli("accounts", "statement", "alice", *options, "-o", "json").json()
        assert len(found["entries"]) == expected, zone


@pytest.mark.usefixtures("alice")
@pytest.mark.parametrize(
    ("code", "exit_code", "said"),
    [
        (239, 1, "hint: ask for less at a time, --since 30d"),
        (251, 1, "hint: ask for less at a time, --since 30d"),
        (13, 4, "not authorised"),
    ],
)
def test_what_a_server_refuses_is_told(
    cli: Runner, sync_db: Documents, server_uri: str, code: int, exit_code: int, said: str
) -> None:
    name = f"statement-{sync_db.name}"
    point: dict[str, Any] = {"configureFailPoint": "failCommand"}
    data = {"failCommands": ["find"], "errorCode": code, "appName": name}
    sync_db.client.admin.command({**point, "mode": "alwaysOn", "data": data})
    try:
        done = cli(
            "accounts", "statement", "alice", "--uri", f"{server_uri}&appName={name}", "--retries", "1"
        )
    finally:
        sync_db.client.admin.command({**point, "mode": "off"})
    assert (done.code, done.stdout) == (exit_code, "")
    assert said in done.stderr


def test_a_reader_who_has_seen_enough_hears_nothing(sync_db: Documents, server_uri: str) -> None:
    account(sync_db, "a", "3000.00", entries=3000)
    sync_db.transfers.insert_many(
        [record(n, "b", "a", "1.00", day(n / 100), n, n) for n in range(1, 3001)]  # more than a pipe holds
    )
    indexed(sync_db)
    arguments = ["accounts", "statement", "a", "-o", "csv", "--uri", server_uri, "--db", sync_db.name]
    process = subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout
    assert process.stderr
    with process.stdout as read:
        assert read.readline().startswith(b"created_at,")
    with process.stderr as said:
        assert said.read() == b""
    assert process.wait(timeout=30) == 0


def test_a_missing_index_is_named(cli: Runner, sync_db: Documents) -> None:
    account(sync_db, "a", "1.00", entries=1)
    sync_db.transfers.insert_one(record("k", "b", "a", "1.00", day(1), 1, 1))
    sync_db.transfers.create_index([("to", 1), ("created_at", 1)])
    done = cli("accounts", "statement", "a")
    assert done.code == 0
    [warning] = done.stderr.splitlines()
    assert "motorctl indexes create transfers from created_at" in warning


@pytest.mark.usefixtures("alice")
def test_an_index_that_is_being_made_is_waited_for(cli: Runner, sync_db: Documents, server_uri: str) -> None:
    """Up to MongoDB 6.0 a collection can't be read at a point in time before its last index."""
    name = f"statement-{sync_db.name}"
    point: dict[str, Any] = {"configureFailPoint": "failCommand"}
    data = {"failCommands": ["find"], "errorCode": 246, "appName": name}
    sync_db.client.admin.command({**point, "mode": {"times": 3}, "data": data})
    try:
        done = cli("accounts", "statement", "alice", "--uri", f"{server_uri}&appName={name}")
    finally:
        sync_db.client.admin.command({**point, "mode": "off"})
    assert (done.code, len(done.stdout.splitlines())) == (0, 5)


def test_a_double_with_more_digits_than_its_currency_is_shown_as_it_is(
    cli: Runner, sync_db: Documents
) -> None:
    """It counts in the sums, of `transfer verify` too: a statement that refused it would show nothing."""
    account(sync_db, "a", "80.001", opening="100.00")
    sync_db.transfers.insert_one(record("k", "a", "b", 19.999, day(1)))
    for window in ([], ["--since", "2026-11-05"]):
        found = cli("accounts", "statement", "a", *window, "-o", "json").json()
        assert (found["closing_balance"], found["difference"]) == ("80.001", "0.000")


def test_an_entry_number_that_is_none_is_another_programs(cli: Runner, sync_db: Documents) -> None:
    account(sync_db, "a", "1.00")
    sync_db.transfers.insert_one(record("k", "b", "a", "1.00", day(1), to_entry="first"))
    found = cli("accounts", "statement", "a", "-o", "json")
    assert (found.code, found.json()["entries"][0]["entry"]) == (0, None)


def test_a_record_that_names_the_account_in_an_array_is_refused(cli: Runner, sync_db: Documents) -> None:
    account(sync_db, "a", "0.00")
    sync_db.transfers.insert_one(record("k", ["a", "c"], "b", "1.00", day(1)))
    done = cli("accounts", "statement", "a", "-o", "json")
    assert (done.code, done.error()["key"]) == (6, "k")


async def test_a_sum_that_was_cut_on_its_way_is_refused(db: Database, sync_db: Documents) -> None:
    """What is lost beside 1E33 doesn't come back when that is taken away again."""
    sync_db.transfers.insert_many(
        [record(n, "b", "a", amount, day(n)) for n, amount in enumerate(("1E+33", "0.01", "0.01", "-1E+33"))]
    )
    with pytest.raises(RefusedError, match="more than 34 digits"):
        await statement.total(db, "a", 2)


async def test_before_mongodb_5_a_transaction_is_the_one_moment(
    db: Database, sync_db: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "SESSIONS", (99, 0))
    count = 1500
    account(sync_db, "a", f"{count}.00", entries=count)
    sync_db.transfers.insert_many([record(n, "b", "a", "1.00", day(n), n, n) for n in range(1, count + 1)])
    seen: list[dict[str, Any]] = []
    async for line in statement.lines(db, "a", Window()):
        if not seen:
            sync_db.transfers.delete_many({"_id": {"$gt": 1000}})
        seen.append(line)
    assert (len(seen), seen[-1]["difference"]) == (count + 2, 0)
    with pytest.raises(NotFoundError, match="no account"):
        await anext(statement.lines(db, "nobody", Window()))
