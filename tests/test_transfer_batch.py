"""`motorctl transfer batch`: a file of transfers, each row once, whatever happens on the way."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import random
import re
import resource
import signal
import subprocess
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from books import differences, read
from bson import Decimal128
from conftest import command, until
from hypothesis import given
from hypothesis import strategies as st
from pymongo.errors import ConnectionFailure, OperationFailure

from motorctl.core import transactions
from motorctl.core.ingest.model import RecordError
from motorctl.core.transfers import post
from motorctl.core.transfers.batch import keys, record, whole
from motorctl.core.transfers.batch.record import Naming
from motorctl.core.transfers.batch.schedule import Chunk, Schedule
from motorctl.errors import OutcomeUnknownError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from conftest import Runner
    from pymongo.database import Database as SyncDatabase

    Documents = SyncDatabase[dict[str, Any]]

FILE = "from,to,amount,note\nalice,bob,12.50,lunch\nbob,alice,3.00,\ncarol,alice,0.05,tip\n"


@pytest.fixture
def accounts(sync_db: Documents) -> Documents:
    """Three open accounts with 100.00 EUR each."""
    opened(sync_db, "alice", "bob", "carol")
    return sync_db


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def opened(db: Documents, *names: str, balance: str = "100.00", **fields: Any) -> None:
    money = {"currency": "EUR", "balance": Decimal128(balance), "opening": Decimal128(balance)}
    db.accounts.insert_many(
        [{"_id": name, **money, "entries": 0, "status": "open", **fields} for name in names]
    )


def balances(db: Documents) -> dict[str, str]:
    return {one["_id"]: str(one["balance"]) for one in db.accounts.find()}


def in_order(db: Documents) -> None:
    assert differences(read(db)) == []


# -- keys: an interface ---------------------------------------------------------------------------------------


def test_a_rows_key_is_its_batch_its_number_and_what_it_says() -> None:
    content = keys.content("alice", "bob", Decimal("12.50"), "lunch")

    assert keys.made("payroll", 17, content) == "payroll/17/5f65e5ffc490"
    assert keys.content("alice", "bob", Decimal("12.5"), "lunch") == content
    assert keys.content("alice", "bob", Decimal("12.5"), None) != keys.content(
        "alice", "bob", Decimal("12.5"), "None"
    )
    assert keys.content("a", "b", Decimal("1" * 34), None) != keys.content(
        "a", "b", Decimal("1" * 33 + "2"), None
    )


def test_the_same_row_has_the_same_key_in_every_format(cli: Runner, accounts: Documents, place: Path) -> None:
    lines = [
        {"note": "lunch", "amount": 12.5, "to": "bob", "from": "alice"},
        {"from": "bob", "to": "alice", "amount": "3", "note": None},
        {"from": "carol", "to": "alice", "amount": {"$numberDecimal": "0.050"}, "note": "tip"},
    ]
    (place / "a.csv").write_text(FILE)
    (place / "a.csv.gz").write_bytes(gzip.compress(FILE.encode()))
    (place / "b.ndjson").write_text("".join(json.dumps(line) + "\n\n" for line in lines))
    (place / "c.json").write_text(json.dumps(lines))
    (place / "d.tsv").write_text(
        'to\tfrom\tnote\tamount\nbob\talice\t"lunch"\t12.50\nalice\tbob\t\t3\nalice\tcarol\ttip\t0.05\n'
    )

    assert cli("transfer", "batch", "a.csv").code == 0
    for name in ("a.csv.gz", "b.ndjson", "c.json", "d.tsv"):
        found = cli("transfer", "batch", name, "--batch", "a.csv", "-o", "json").json()
        assert (found["committed"], found["replayed"]) == (0, 3), name

    assert balances(accounts) == {"alice": "90.55", "bob": "109.50", "carol": "99.95"}
    in_order(accounts)


@pytest.mark.parametrize("name", ["a/b", "a|b", "", "-x", " x", "x" * 201, "a\nb"])
def test_a_name_that_cannot_begin_a_key_is_refused(cli: Runner, place: Path, name: str) -> None:
    (place / "a.csv").write_text(FILE)

    assert cli("transfer", "batch", "a.csv", "--batch", name, connected=False).code == 2


# -- what a record says ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["12.50", "0.1", "9" * 34, "100000000000000000.01", "007.10"])
def test_digits_of_a_json_number_arrive_as_they_are_written(text: str) -> None:
    number = text.lstrip("0") if text.startswith("00") else text

    for written in (number, f'"{text}"', f'{{"$numberDecimal": "{text}"}}'):
        found = record.from_json(b'{"from": "a", "to": 7, "amount": %b}' % written.encode(), Naming())
        assert found == {
            "from": "a",
            "to": "7",
            "amount": json.loads(f'"{number if written == number else text}"'),
        }


@pytest.mark.parametrize(
    ("text", "field", "reason"),
    [
        ('{"from": "a", "to": "b", "amount": 1, "amount": 2}', "amount", "amount is there twice"),
        ('{"from": "a", "to": "b", "amount": NaN}', None, "not JSON: NaN"),
        ('{"from": ["a"], "to": "b", "amount": 1}', "from", "from is an array"),
        ('{"from": "a", "to": true, "amount": 1}', "to", "to is a boolean"),
        ('{"from": "a", "to": "b", "amuont": 1}', "amuont", "did you mean 'amount'?"),
        ('{"from": "a", "to": "b"', None, "not JSON"),
        ('["a"]', None, "not an object"),
        ("[" * 100_000, None, "too many levels"),
    ],
)
def test_a_json_record_that_is_no_transfer_says_why(text: str, field: str | None, reason: str) -> None:
    with pytest.raises(RecordError, match=re.escape(reason)) as caught:
        record.from_json(text.encode(), Naming())

    assert caught.value.field == field


def test_columns_are_told_by_their_names() -> None:
    naming = Naming((("payer", "from"), ("payee", "to")), ("iban",))

    assert record.columns(("payer", "payee", "iban", "amount"), naming) == ("from", "to", None, "amount")
    with pytest.raises(UsageError, match="'amout' is none of a transfer's") as caught:
        record.columns(("from", "to", "amout"), Naming())
    assert caught.value.hint is not None
    assert "did you mean 'amount'?" in caught.value.hint
    with pytest.raises(UsageError, match="no column is 'to' or 'amount'"):
        record.columns(("from", "note"), Naming())
    with pytest.raises(UsageError, match="two columns stand for 'from'") as caught:
        record.columns(("payer", "from", "to", "amount"), naming)
    assert caught.value.hint == "leave one out: --omit from"
    of_two = Naming((("payer", "from"),), ("from",))
    assert record.columns(("payer", "from", "to", "amount"), of_two) == ("from", None, "to", "amount")


# -- the schedule ---------------------------------------------------------------------------------------------


def test_a_chunk_takes_all_it_may_and_a_row_that_waits_holds_back_those_behind_it() -> None:
    schedule: Schedule[int] = Schedule(size=3, window=5, weight=4)
    assert (schedule.room, schedule.next()) == (5, None)
    for number, touches, weight in ((1, "ab", 1), (2, "a", 3), (3, "c", 1)):
        schedule.add(number, touches, weight)

    first = schedule.next()
    assert first is not None
    assert (first.rows, first.touched) == ((1, 2), frozenset("ab")), "as heavy as it may be; 3 was too much"
    assert (schedule.waiting, schedule.room) == ([3], 4)

    for number, touches in ((4, "ad"), (5, "d"), (6, "e")):
        schedule.add(number, touches)
    second = schedule.next()
    assert second is not None
    assert second.rows == (3, 6), "4 waits for the first chunk, and 5 for 4"
    assert (schedule.waiting, schedule.next(), schedule.next()) == ([4, 5], None, None)

    schedule.add(7, "z", 9)
    third = schedule.next()
    assert third is not None
    assert third.rows == (7,), "the first row of a chunk may be heavier"
    schedule.done(first)
    fourth = schedule.next()
    assert fourth is not None
    assert (fourth.rows, schedule.waiting) == ((4, 5), [])

    for number, touches in enumerate("klmno", start=8):
        schedule.add(number, touches, 0)
    assert schedule.room == 0
    with pytest.raises(AssertionError, match="the window is full"):
        schedule.add(13, "p")
    fifth, sixth = schedule.next(), schedule.next()
    assert fifth is not None
    assert sixth is not None
    assert (fifth.rows, sixth.rows) == ((8, 9, 10), (11, 12))


@given(
    rows=st.lists(st.frozensets(st.sampled_from("abcdefgh"), min_size=1, max_size=3), max_size=60),
    size=st.integers(1, 7),
    window=st.integers(1, 20),
    weight=st.integers(0, 9),
    choices=st.randoms(use_true_random=False),
)
def test_rows_are_sent_once_in_the_order_of_their_accounts_and_never_beside_each_other(
    rows: list[frozenset[str]], size: int, window: int, weight: int, choices: random.Random
) -> None:
    schedule: Schedule[int] = Schedule(size=size, window=window, weight=weight)
    flying: list[Chunk[int]] = []
    order: list[int] = []
    coming = list(enumerate(rows))
    while coming or schedule.waiting or flying:
        assert len(schedule.waiting) <= window
        step = choices.choice(["add", "send", "land"])
        if step == "add" and coming and schedule.room:
            number, touches = coming.pop(0)
            schedule.add(number, touches, weight=number % 4)
        elif step == "send" and (chunk := schedule.next()) is not None:
            touched = frozenset[str]().union(*(rows[number] for number in chunk.rows))
            assert touched == chunk.touched
            assert all(touched.isdisjoint(other.touched) for other in flying)
            assert 1 <= len(chunk.rows) <= size
            assert len(chunk.rows) == 1 or sum(number % 4 for number in chunk.rows) <= max(
                weight, chunk.rows[0] % 4
            )
            flying.append(chunk)
            order += chunk.rows
        elif step == "land" and flying:
            schedule.done(flying.pop(choices.randrange(len(flying))))
        elif not flying and schedule.waiting and not (coming and schedule.room):
            # Nothing is under way: the oldest can't be kept waiting.
            oldest = schedule.waiting[0]
            chunk = schedule.next()
            assert chunk is not None
            assert chunk.rows[0] == oldest
            flying.append(chunk)
            order += chunk.rows

    assert sorted(order) == list(range(len(rows)))
    for name in "abcdefgh":
        own = [number for number in order if name in rows[number]]
        assert own == sorted(own), name


def test_the_oldest_row_waits_for_no_row_that_is_sent_after_it_came_first() -> None:
    schedule: Schedule[str] = Schedule(size=1, window=10, weight=1000)
    for row, touches in (("a1", "a"), ("ab", "ab"), ("b1", "b"), ("c1", "c")):
        schedule.add(row, touches)

    first, second, third = schedule.next(), schedule.next(), schedule.next()

    assert first is not None
    assert first.rows == ("a1",)
    assert second is not None
    assert second.rows == ("c1",), "b1 came after ab, which waits for a"
    assert third is None
    schedule.done(first)
    fourth = schedule.next()
    assert fourth is not None
    assert fourth.rows == ("ab",)


# -- a run ----------------------------------------------------------------------------------------------------


def test_each_row_is_committed_and_told(cli: Runner, accounts: Documents, place: Path) -> None:
    (place / "payments.csv").write_text(FILE)

    done = cli("transfer", "batch", "payments.csv", "--results", "done.ndjson", "-o", "json")

    assert done.code == 0, done.stderr
    found = done.json()
    assert found.pop("seconds") > 0
    assert found.pop("transfers_per_second") > 0
    assert found == {
        "batch": "payments.csv", "read": 3, "committed": 3, "replayed": 0, "rejected": 0, "unknown": 0, "left": 0,
        "amount": "15.55", "rejects_file": None,
    }  # fmt: skip
    results = [json.loads(line) for line in (place / "done.ndjson").read_text().splitlines()]
    assert [(r["row"], r["line"], r["status"], r["amount"], r["from_balance"]) for r in results] == [
        (1, 2, "committed", "12.50", "87.50"), (2, 3, "committed", "3.00", "109.50"), (3, 4, "committed", "0.05", "99.95"),
    ]  # fmt: skip
    assert {r["key"] for r in results} == {r["_id"] for r in accounts.transfers.find()}
    in_order(accounts)


def test_a_batch_that_was_sent_before_does_nothing_and_says_so(
    cli: Runner, accounts: Documents, place: Path
) -> None:
    (place / "payments.csv").write_text(FILE)
    cli("transfer", "batch", "payments.csv")

    again = cli("--slow-ms", "0", "transfer", "batch", "payments.csv", "-o", "json")

    assert again.code == 0
    assert (again.json()["committed"], again.json()["replayed"], again.json()["amount"]) == (0, 3, "0")
    assert "this batch was sent before" in again.stderr
    assert "--batch" in again.stderr
    # What makes it fast: not a transaction, but one question for all of its rows.
    assert "commitTransaction" not in again.stderr
    assert len(re.findall(r"find \S+\.transfers", again.stderr)) == 2
    assert cli("transfer", "batch", "payments.csv", "--batch", "december").code == 0
    assert accounts.transfers.count_documents({}) == 6


def test_refused_rows_keep_no_other_back_and_can_be_sent_again(
    cli: Runner, accounts: Documents, place: Path
) -> None:
    opened(accounts, "dora", status="frozen")
    opened(accounts, "yen", currency="JPY")
    (place / "p.csv").write_text(
        "from,to,amount,note\n"
        "alice,bob,100.01,too much\n"
        "alice,nobody,1.00,\n"
        "alice,dora,1.00,\n"
        "alice,yen,1,\n"
        "alice,bob,1.005,\n"
        "alice,bob,1e2,\n"
        "alice,alice,1.00,\n"
        "alice,bob\n"
        '"a"x,bob,1.00,\n'
        "alice,bob,99.00,all the same\n"
    )

    done = cli("transfer", "batch", "p.csv", "--rejects", "bad.ndjson", "-o", "json")

    assert done.code == 7
    assert (done.json()["read"], done.json()["committed"], done.json()["rejected"]) == (10, 1, 9)
    assert done.json()["rejects_file"] == "bad.ndjson"
    rejects = [json.loads(line) for line in (place / "bad.ndjson").read_text().splitlines()]
    assert [(r["line"], r["field"]) for r in rejects] == [
        (2, "from"), (3, "to"), (4, "to"), (5, None), (6, "amount"), (7, "amount"), (8, "to"), (9, None), (10, None),
    ]  # fmt: skip
    assert "insufficient funds: account alice has 100.00" in rejects[0]["reason"]
    assert "no account nobody" in rejects[1]["reason"]
    assert rejects[0]["record"] == "alice,bob,100.01,too much"

    # One is mended, another becomes possible, and the rest stays what it is.
    opened(accounts, "nobody")
    mended = (place / "bad.ndjson").read_text().replace("alice,bob,100.01,", "alice,bob,0.01,")
    (place / "bad.ndjson").write_text(mended)
    again = cli("transfer", "batch", "bad.ndjson", "--rejects", "worse.ndjson", "-o", "json")
    assert (again.code, again.json()["committed"], again.json()["rejected"]) == (7, 1, 8), again.stderr
    assert accounts.transfers.count_documents({"note": "too much"}) == 1

    # The whole file again: what was sent from the rejects is known by its key, and not paid twice.
    last = cli("transfer", "batch", "p.csv", "-o", "json")
    assert (last.json()["committed"], last.json()["replayed"], last.json()["rejected"]) == (0, 1, 9), (
        last.stderr
    )
    assert "sent before with other content" in last.stderr or "used for another transfer" in last.stderr
    in_order(accounts)


def test_a_file_into_which_a_row_was_put_pays_nobody_twice(
    cli: Runner, accounts: Documents, place: Path
) -> None:
    (place / "p.csv").write_text(FILE)
    cli("transfer", "batch", "p.csv")
    head, *lines = FILE.splitlines(keepends=True)
    (place / "p.csv").write_text("".join([head, "carol,bob,7.00,new\n", *lines]))

    done = cli("transfer", "batch", "p.csv", "-o", "json")

    assert done.code == 7
    assert (done.json()["committed"], done.json()["rejected"]) == (1, 3)
    assert re.search(
        r"row 1 of p\.csv was sent before with other content, as p\.csv/1/\w{12}: the file has changed",
        done.stderr,
    )
    assert accounts.transfers.count_documents({}) == 4, "only the place that no row had before"
    assert accounts.transfers.count_documents({"note": "lunch"}) == 1
    # Nor does sending what was refused there.
    cli("transfer", "batch", "p.csv", "--rejects", "bad.ndjson")
    for name in ((), ("--batch", "another")):
        refused = cli("transfer", "batch", "bad.ndjson", *name, "-o", "json")
        assert (refused.json()["committed"], refused.json()["rejected"]) == (0, 3)
    assert accounts.transfers.count_documents({}) == 4


def test_a_row_mended_in_the_file_and_in_its_rejects_is_paid_once(
    cli: Runner, accounts: Documents, place: Path
) -> None:
    (place / "p.csv").write_text(FILE + "alice,nobody,4.00,mended twice\n")
    cli("transfer", "batch", "p.csv", "--rejects", "bad.ndjson")
    for name in ("p.csv", "bad.ndjson"):
        (place / name).write_text((place / name).read_text().replace("nobody", "bob"))

    assert cli("transfer", "batch", "p.csv", "-o", "json").json()["committed"] == 1
    refused = cli("transfer", "batch", "bad.ndjson", "-o", "json")

    assert (refused.code, refused.json()["rejected"]) == (7, 1)
    assert "row 4 of p.csv was sent before" in refused.stderr
    assert accounts.transfers.count_documents({"note": "mended twice"}) == 1


def test_rows_sent_before_are_found_by_the_index_in_a_ledger_of_any_size(
    cli: Runner, accounts: Documents, place: Path
) -> None:
    (place / "p+1 (a).csv").write_text(FILE)
    cli("transfer", "batch", "p+1 (a).csv")
    accounts.transfers.insert_many(
        {"_id": f"other/{number}", "from": "x", "to": "y"} for number in range(2000)
    )
    (place / "p+1 (a).csv").write_text(FILE.replace("lunch", "dinner"))
    accounts.command("profile", 2)

    done = cli("transfer", "batch", "p+1 (a).csv", "-o", "json")

    accounts.command("profile", 0)
    assert (done.json()["replayed"], done.json()["rejected"]) == (2, 1)
    looks = list(accounts.system.profile.find({"op": "query", "ns": f"{accounts.name}.transfers"}))
    assert len(looks) == 3
    assert all(one["keysExamined"] < 20 for one in looks)


def test_a_rows_own_key_is_used_once(cli: Runner, accounts: Documents, place: Path) -> None:
    (place / "p.csv").write_text(
        "key,from,to,amount\ninv/1,alice,bob,1.00\ninv/2,alice,bob,2.00\ninv/1,alice,bob,1.0\ninv/1,alice,bob,3.00\n"
        "inv/3/reversal,alice,bob,1\n,alice,bob,4.00\n"
    )

    done = cli("transfer", "batch", "p.csv", "--rejects", "bad.ndjson", "-o", "json")

    found = done.json()
    assert (done.code, found["committed"], found["replayed"], found["rejected"]) == (7, 3, 1, 2)
    rejects = [json.loads(line) for line in (place / "bad.ndjson").read_text().splitlines()]
    assert [(r["line"], r["field"], r["key"]) for r in rejects] == [
        (5, "key", "inv/1"),
        (6, "key", "inv/3/reversal"),
    ]
    assert {r["_id"] for r in accounts.transfers.find()} >= {"inv/1", "inv/2"}
    assert (
        cli("transfer", "send", "alice", "bob", "1", "--key", "inv/1", "-o", "json").json()["replayed"]
        is True
    )


@pytest.mark.usefixtures("accounts")
def test_stdin_needs_a_name_where_its_rows_have_no_key(cli: Runner) -> None:
    for text in (FILE, '{"from": "alice", "to": "bob", "amount": "1"}'):
        nameless = cli("transfer", "batch", "-", stdin=text)
        assert nameless.code == 2
        assert "--batch" in nameless.stderr
    assert cli("transfer", "batch", "-", "--batch", "x", stdin=FILE).code == 0
    keyed = cli(
        "transfer", "batch", "-", "-o", "json", stdin="key,from,to,amount\nk1,alice,bob,1\n,alice,bob,2\n"
    )

    assert (keyed.code, keyed.json()["committed"], keyed.json()["rejected"]) == (7, 1, 1)
    assert keyed.json()["batch"] is None


def test_what_no_row_can_be_read_from_is_refused_before_a_server_is_asked(cli: Runner, place: Path) -> None:
    (place / "p.csv").write_text("from,to,amout\na,b,1\n")
    wrong = cli("transfer", "batch", "p.csv", connected=False, env={"MOTORCTL_URI": "mongodb://127.0.0.1:1"})
    missing = cli("transfer", "batch", "q.csv", connected=False)
    same = cli("transfer", "batch", "p.csv", "--rejects", "p.csv", connected=False)

    assert (wrong.code, missing.code, same.code) == (2, 2, 2)
    assert "did you mean 'amount'?" in wrong.stderr
    assert cli("transfer", "batch", "p.csv", "--results", "p.csv", connected=False).code == 2
    for name in ("x", "./x", str(place / "x")):
        both = cli("transfer", "batch", "p.csv", "--results", name, "--rejects", "x", connected=False)
        assert both.code == 2
        assert "--results and --rejects name the same file" in both.stderr


@pytest.mark.usefixtures("accounts")
def test_too_many_refused_rows_stop_it_and_the_rest_is_counted(cli: Runner, place: Path) -> None:
    (place / "p.csv").write_text("from,to,amount\n" + "nobody,bob,1\n" * 30_000)

    done = cli("transfer", "batch", "p.csv", "--max-errors", "10", "-o", "json")

    found = done.json()
    assert done.code == 7
    assert found["rejected"] >= 11
    assert found["left"] == 30_000 - found["read"] > 20_000
    assert "--max-errors 10" in done.stderr
    assert "goes on where this one stopped" in done.stderr


# -- dry run, all or nothing ----------------------------------------------------------------------------------


def test_a_dry_run_says_what_the_run_then_does(cli: Runner, sync_db: Documents, place: Path) -> None:
    opened(sync_db, *"abcdef", balance="20.00")
    opened(sync_db, "frozen", status="frozen")
    sync_db.accounts.insert_many(
        [{"_id": "odd", "balance": 0.1 + 0.2}, {"_id": "old", "currency": "EUR", "balance": 50}]
    )
    chance = random.Random(3)
    lines = ["key,from,to,amount"]
    for number in range(1200):
        one, other = chance.sample(["a", "b", "c", "d", "e", "f", "old", "frozen", "odd", "none"], 2)
        lines.append(
            f"{f'k{chance.randrange(900)}' if number % 3 else ''},{one},{other},{chance.randrange(1, 900) / 100:.2f}"
        )
        if number % 20 == 0:
            lines.append(chance.choice([line for line in lines if not line.startswith(",")][1:] or lines[1:]))
    (place / "p.csv").write_text("\n".join(lines))
    before = balances(sync_db)

    rehearsed = cli("transfer", "batch", "p.csv", "--dry-run", "-o", "json")
    assert balances(sync_db) == before
    assert sync_db.transfers.count_documents({}) == 0
    done = cli("transfer", "batch", "p.csv", "--workers", "4", "-o", "json")

    assert rehearsed.code == done.code == 7
    said, did = rehearsed.json(), done.json()
    for name in ("read", "committed", "replayed", "rejected", "amount"):
        assert said[name] == did[name], name
    assert did["committed"] > 200
    assert did["replayed"] > 0
    assert [line for line in rehearsed.stderr.splitlines() if "p.csv:" in line] == [
        line for line in done.stderr.splitlines() if "p.csv:" in line
    ]
    in_order(sync_db)


def test_a_dry_run_reads_an_account_once(cli: Runner, accounts: Documents, place: Path) -> None:
    (place / "p.csv").write_text("from,to,amount\n" + "alice,bob,0.01\nbob,alice,0.01\nbob,nobody,1\n" * 500)

    done = cli("--slow-ms", "0", "transfer", "batch", "p.csv", "--dry-run", "-o", "json")

    assert (done.json()["committed"], done.json()["rejected"]) == (1000, 500)
    assert len(re.findall(r"find \S+\.accounts", done.stderr)) == 1
    assert accounts.transfers.count_documents({}) == 0


def test_all_or_nothing_writes_all_rows_or_none(cli: Runner, accounts: Documents, place: Path) -> None:
    (place / "p.csv").write_text(FILE + "bob,carol,1000.00,\nalice,nobody,1.00,\n")
    before = balances(accounts)

    refused = cli("transfer", "batch", "p.csv", "--all-or-nothing", "--rejects", "bad", "-o", "json")

    assert refused.code == 6
    assert refused.error()["message"] == "nothing was written: 2 of 5 rows were refused"
    found = refused.json()
    assert (found["read"], found["committed"], found["rejected"], found["left"]) == (2, 0, 2, 3)
    assert [json.loads(line)["line"] for line in (place / "bad").read_text().splitlines()] == [5, 6]
    assert balances(accounts) == before
    assert accounts.transfers.count_documents({}) == 0
    assert cli("transfer", "batch", "p.csv", "--all-or-nothing", "--dry-run").code == 6

    (place / "p.csv").write_text(FILE)
    done = cli("transfer", "batch", "p.csv", "--all-or-nothing", "-o", "json")
    assert (done.code, done.json()["committed"]) == (0, 3)
    assert len({one["created_at"] for one in accounts.transfers.find()}) == 1
    assert cli("transfer", "batch", "p.csv", "--all-or-nothing", "-o", "json").json()["replayed"] == 3
    in_order(accounts)


def test_a_row_that_cannot_be_read_keeps_all_of_them_back(
    cli: Runner, accounts: Documents, place: Path
) -> None:
    (place / "p.csv").write_text(FILE + "alice,bob\nalice,nobody,1.00,\n")

    refused = cli("transfer", "batch", "p.csv", "--all-or-nothing", "-o", "json")

    assert refused.code == 6
    assert refused.json()["rejected"] == 2, "what else would be refused is told too"
    assert accounts.transfers.count_documents({}) == 0


def test_all_or_nothing_says_before_anything_is_sent_that_there_is_too_much(
    cli: Runner, accounts: Documents, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "p.csv").write_text(FILE)
    monkeypatch.setattr(whole, "MOST", 2)

    done = cli("transfer", "batch", "p.csv", "--all-or-nothing", "-o", "json")

    assert done.code == 2
    assert "--all-or-nothing takes at most 2 rows" in done.stderr
    assert done.json()["left"] == 3
    assert accounts.transfers.count_documents({}) == 0


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (257, "too large for this server's oplog"),
        (290, "longer than this server lets"),
        (388, "this server's cache"),
    ],
)
def test_a_transaction_that_the_server_will_not_take_is_said_in_words(
    cli: Runner, accounts: Documents, place: Path, code: int, words: str
) -> None:
    (place / "p.csv").write_text(FILE)

    with failing(accounts, ["insert"], errorCode=code) as uri:
        done = cli("transfer", "batch", "p.csv", "--all-or-nothing", "-o", "json", env={"MOTORCTL_URI": uri})

    assert done.code == 6
    assert words in done.error()["message"]
    assert "without --all-or-nothing" in done.error()["hint"]
    assert accounts.transfers.count_documents({}) == 0


# -- what goes wrong ------------------------------------------------------------------------------------------


def test_a_row_that_the_validator_refuses_spoils_no_other(
    cli: Runner, accounts: Documents, place: Path
) -> None:
    accounts.create_collection("transfers", validator={"note": {"$ne": "never"}})
    (place / "p.csv").write_text(FILE + "alice,bob,1.00,never\nbob,alice,2.00,\n")

    done = cli("transfer", "batch", "p.csv", "--rejects", "bad", "-o", "json")

    assert (done.code, done.json()["committed"], done.json()["rejected"]) == (7, 4, 1), done.stderr
    refused = json.loads((place / "bad").read_text())
    assert refused["line"] == 5
    assert "validator" in refused["reason"]
    in_order(accounts)


def test_a_commit_whose_answer_stays_out_is_asked_for_until_it_is_known(
    cli: Runner, accounts: Documents, place: Path
) -> None:
    (place / "p.csv").write_text(FILE)

    with failing(accounts, ["commitTransaction"], times=2, closeConnection=True) as uri:
        done = cli("transfer", "batch", "p.csv", "-o", "json", env={"MOTORCTL_URI": uri})

    assert done.code == 0, done.stderr
    assert done.json()["committed"] + done.json()["replayed"] == 3
    in_order(accounts)


def test_a_commit_that_is_never_answered_is_9_and_run_again_it_is_known(
    cli: Runner, accounts: Documents, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "COMMIT_SECONDS", 0.3)
    (place / "p.csv").write_text(FILE)

    with failing(accounts, ["commitTransaction"], closeConnection=True) as uri:
        lost = cli(
            "--timeout", "0.3", "--retries", "2", "transfer", "batch", "p.csv", "--results", "r", "-o", "json",
            env={"MOTORCTL_URI": uri},
        )  # fmt: skip

    assert lost.code == 9, lost.stderr
    found = lost.json()
    assert (found["read"], found["committed"], found["unknown"], found["left"]) == (0, 0, 3, 0)
    assert "`motorctl transfer show p.csv/1/" in lost.stderr
    assert lost.error()["message"].startswith("of 3 rows it is not known whether they are committed")
    assert "run the same command again" in lost.error()["hint"]
    assert [json.loads(line)["status"] for line in (place / "r").read_text().splitlines()] == ["unknown"] * 3
    again = cli("transfer", "batch", "p.csv", "-o", "json")
    assert again.code == 0
    assert again.json()["committed"] + again.json()["replayed"] == 3
    assert accounts.transfers.count_documents({}) == 3
    in_order(accounts)


@pytest.mark.parametrize("how", [(), ("--all-or-nothing",)])
def test_rows_whose_first_answer_stayed_out_were_not_sent_before(
    cli: Runner, accounts: Documents, place: Path, monkeypatch: pytest.MonkeyPatch, how: tuple[str, ...]
) -> None:
    (place / "p.csv").write_text(FILE)
    losing_the_first_answer(monkeypatch, None)

    done = cli("transfer", "batch", "p.csv", *how, "-o", "json")

    assert (done.code, done.json()["replayed"]) == (0, 3), done.stderr
    # Whoever is told to send it under another name pays twice.
    assert "sent before" not in done.stderr
    assert accounts.transfers.count_documents({}) == 3


@pytest.mark.parametrize("how", [(), ("--all-or-nothing",)])
@pytest.mark.parametrize(
    "then",
    [ConnectionFailure("lost"), OperationFailure("not authorized", 13), asyncio.CancelledError()],
    ids=lambda error: type(error).__name__,
)
def test_an_unknown_commit_stays_unknown_whatever_comes_after_it(
    cli: Runner,
    accounts: Documents,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: tuple[str, ...],
    then: BaseException,
) -> None:
    (place / "p.csv").write_text(FILE)
    losing_the_first_answer(monkeypatch, then)

    lost = cli("--retries", "2", "transfer", "batch", "p.csv", *how, "-o", "json")

    assert (lost.code, lost.json()["unknown"], lost.json()["left"]) == (9, 3, 0), lost.stderr
    assert accounts.transfers.count_documents({}) == 3


def losing_the_first_answer(monkeypatch: pytest.MonkeyPatch, then: BaseException | None) -> None:
    """Let the first transaction be committed and its answer be lost; what comes after it fails with `then`."""
    real, calls = post.post, 0

    async def lossy(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 1 and then is not None:
            raise then
        outcomes = await real(*arguments, **options)
        if calls == 1:
            raise OutcomeUnknownError("the answer stayed out", reason="lost")
        return outcomes

    monkeypatch.setattr(post, "post", lossy)


def test_all_or_nothing_that_does_not_come_through_is_3_and_left_alone(
    cli: Runner, accounts: Documents, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole, "SECONDS", 0.3)
    (place / "p.csv").write_text(FILE)

    with failing(accounts, ["update"], closeConnection=True) as uri:
        lost = cli(
            "--timeout", "0.3", "transfer", "batch", "p.csv", "--all-or-nothing", "-o", "json",
            env={"MOTORCTL_URI": uri},
        )  # fmt: skip

    assert (lost.code, lost.json()["left"]) == (3, 3), lost.stderr
    assert "in parts" in lost.error()["hint"]
    assert accounts.transfers.count_documents({}) == 0


@pytest.mark.parametrize(("kept", "what"), [("--results", "results"), ("--rejects", "rejects file")])
def test_a_full_disk_ends_it_with_whole_lines_and_true_counts(
    cli: Runner, accounts: Documents, place: Path, kept: str, what: str
) -> None:
    rows = "alice,bob,0.01\nbob,nobody,0.01\n" * 400
    (place / "p.csv").write_text(f"from,to,amount\n{rows}")

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (32_768, limits[1]))
    try:
        ended = cli("transfer", "batch", "p.csv", kept, "kept", "-o", "json")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert ended.code == 1, ended.stderr
    assert ended.error()["message"] == f"can't write the {what} kept: File too large"
    assert "the same command goes on" in ended.error()["hint"]
    found = ended.json()
    assert found["committed"] == accounts.transfers.count_documents({}) > 0
    assert found["read"] == found["committed"] + found["rejected"] == 800 - found["left"]
    assert all(json.loads(line) for line in (place / "kept").read_text().splitlines())
    in_order(accounts)


def test_all_or_nothing_without_an_answer_is_9_for_all_of_its_rows(
    cli: Runner, accounts: Documents, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole, "SECONDS", 0.3)
    monkeypatch.setattr(transactions, "COMMIT_SECONDS", 0.3)
    (place / "p.csv").write_text(FILE)

    with failing(accounts, ["commitTransaction"], closeConnection=True) as uri:
        lost = cli(
            "--timeout", "0.3", "--retries", "1", "transfer", "batch", "p.csv", "--all-or-nothing", "-o", "json",
            env={"MOTORCTL_URI": uri},
        )  # fmt: skip

    assert (lost.code, lost.json()["unknown"]) == (9, 3), lost.stderr
    assert cli("transfer", "batch", "p.csv", "--all-or-nothing").code == 0
    assert accounts.transfers.count_documents({}) == 3
    in_order(accounts)


def test_a_server_that_is_lost_is_3_and_the_same_command_goes_on(
    cli: Runner, accounts: Documents, place: Path
) -> None:
    (place / "p.csv").write_text("from,to,amount\n" + "alice,bob,0.01\nbob,alice,0.01\n" * 600)

    with failing(accounts, ["update"], skip=2, closeConnection=True) as uri:
        lost = cli(
            "--timeout",
            "0.3",
            "--retries",
            "1",
            "transfer",
            "batch",
            "p.csv",
            "-o",
            "json",
            env={"MOTORCTL_URI": uri},
        )

    assert lost.code == 3, lost.stderr
    found = lost.json()
    assert found["committed"] == accounts.transfers.count_documents({}) > 0
    assert found["left"] == 1200 - found["read"] > 0
    assert "goes on where this one stopped" in lost.stderr
    again = cli("transfer", "batch", "p.csv", "-o", "json")
    assert (again.code, again.json()["replayed"]) == (0, found["committed"])
    assert accounts.transfers.count_documents({}) == 1200
    in_order(accounts)


# -- many rows, many processes, and the end of them -----------------------------------------------------------


@pytest.fixture
def many(sync_db: Documents, place: Path) -> None:
    """A file of 3,000 rows between 12 accounts, some of which run dry."""
    names = [f"a{number}" for number in range(12)]
    opened(sync_db, *names, balance="30.00")
    chance = random.Random(7)
    rows = [tuple(chance.sample(names, 2)) for _ in range(3000)]
    text = "".join(f"{one},{other},{chance.randrange(1, 1500) / 100:.2f}\n" for one, other in rows)
    (place / "many.csv").write_text("from,to,amount\n" + text)


def one_after_the_other(place: Path, balance: str) -> tuple[dict[str, Decimal], list[int]]:
    """What the rows of the file do when they are carried out in order, in plain Python."""
    money: dict[str, Decimal] = {}
    done = []
    for number, line in enumerate((place / "many.csv").read_text().splitlines()[1:], 1):
        one, other, amount = line.split(",")
        if money.setdefault(one, Decimal(balance)) >= Decimal(amount):
            money[one] -= Decimal(amount)
            money[other] = money.setdefault(other, Decimal(balance)) + Decimal(amount)
            done.append(number)
    return money, done


@pytest.mark.usefixtures("many")
def test_rows_in_parallel_do_what_rows_in_order_do(cli: Runner, sync_db: Documents, place: Path) -> None:
    done = cli("transfer", "batch", "many.csv", "--workers", "4", "-o", "json")

    money, numbers = one_after_the_other(place, "30.00")
    assert (done.code, done.json()["committed"]) == (7, len(numbers))
    assert 500 < len(numbers) < 2900, "the file has rows of both kinds"
    assert {name: Decimal(text) for name, text in balances(sync_db).items()} == money
    assert sorted(int(r["_id"].split("/")[1]) for r in sync_db.transfers.find()) == numbers
    in_the_order_of_the_file(sync_db)
    in_order(sync_db)


def in_the_order_of_the_file(db: Documents) -> None:
    entries: dict[str, dict[int, int]] = {}
    for one in db.transfers.find():
        number = int(one["_id"].split("/")[1])
        entries.setdefault(one["from"], {})[one["from_entry"]] = number
        entries.setdefault(one["to"], {})[one["to_entry"]] = number
    for name, rows in entries.items():
        ordered = [rows[entry] for entry in sorted(rows)]
        assert ordered == sorted(ordered), name


@pytest.mark.usefixtures("many")
def test_killed_again_and_again_it_is_finished_with_each_row_once(
    cli: Runner, sync_db: Documents, server_uri: str, dbname: str, place: Path
) -> None:
    # With enough money: a row that is refused is tried again, and may be carried out by a later run.
    plenty = Decimal128("100000.00")
    sync_db.accounts.update_many({}, {"$set": {"balance": plenty, "opening": plenty}})
    name = f"batch-{dbname}"
    environment = {**os.environ, "MOTORCTL_URI": f"{server_uri}&appName={name}", "MOTORCTL_DB": dbname}
    seen = []
    for _ in range(3):
        process = subprocess.Popen(
            command("transfer", "batch", "many.csv"),
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        before = sync_db.transfers.estimated_document_count()
        until(
            lambda: sync_db.transfers.estimated_document_count() > before or process.poll() is not None,  # noqa: B023 - used up within the turn
            "a chunk is committed",
        )
        process.send_signal(signal.SIGKILL)
        process.wait()
        end_transactions(sync_db, name)
        seen.append(sync_db.transfers.count_documents({}))
    assert seen == sorted(seen)
    assert 0 < seen[0] < 3000, "the first was killed in the middle"

    done = cli("transfer", "batch", "many.csv", "-o", "json")

    money, numbers = one_after_the_other(place, "100000.00")
    found = done.json()
    assert done.code == 0, done.stderr
    assert found["committed"] + found["replayed"] == len(numbers) == 3000
    assert found["replayed"] == seen[-1]
    assert {name: Decimal(text) for name, text in balances(sync_db).items()} == money
    assert sorted(int(r["_id"].split("/")[1]) for r in sync_db.transfers.find()) == numbers
    in_the_order_of_the_file(sync_db)
    in_order(sync_db)


def end_transactions(db: Documents, name: str) -> None:
    """End what a killed program has left open, as the server does after transactionLifetimeLimitSeconds.

    Until none of its connections is left: what it sent last may be carried out after it is gone.
    """
    everything = {"idleConnections": True, "idleSessions": True}
    pipeline: list[dict[str, Any]] = [{"$currentOp": everything}, {"$match": {"appName": name}}]

    def gone() -> bool:
        there = list(db.client.admin.aggregate(pipeline))
        sessions = [{"id": one["lsid"]["id"]} for one in there if "transaction" in one]
        if sessions:
            db.client.admin.command({"killSessions": sessions})
        return not there

    until(gone, "the killed program is gone")


def test_accounts_that_another_process_holds_are_waited_for(
    accounts: Documents, server_uri: str, dbname: str, place: Path
) -> None:
    (place / "p.csv").write_text(FILE)
    environment = {**os.environ, "MOTORCTL_URI": server_uri, "MOTORCTL_DB": dbname}
    with accounts.client.start_session() as session:
        session.start_transaction()
        accounts.accounts.update_one({"_id": "alice"}, {"$set": {"owner": "Alice"}}, session=session)
        process = subprocess.Popen(
            command("--timeout", "0.5", "--retries", "9", "transfer", "batch", "p.csv", "-o", "json"),
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stderr is not None
            said = next((line for line in process.stderr if line.startswith("waiting")), "")
            session.commit_transaction()
        finally:
            stdout, stderr = process.communicate(timeout=30)
    assert "waiting for another process" in said

    assert (process.returncode, json.loads(stdout)["committed"]) == (0, 3), stderr
    in_order(accounts)


def test_the_same_batch_by_two_processes_at_once_is_done_once(
    sync_db: Documents, server_uri: str, dbname: str, place: Path
) -> None:
    opened(sync_db, "a", "b", "c", "d")
    (place / "p.csv").write_text("from,to,amount\n" + "a,b,0.01\nc,d,0.01\nb,c,0.01\n" * 300)
    environment = {**os.environ, "MOTORCTL_URI": server_uri, "MOTORCTL_DB": dbname}
    running = [
        subprocess.Popen(
            command("--timeout", "30", "transfer", "batch", "p.csv", "-o", "json"),
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    ended = [process.communicate(timeout=60) for process in running]

    assert [process.returncode for process in running] == [0, 0], ended
    found = [json.loads(stdout) for stdout, _ in ended]
    assert [one["read"] for one in found] == [900, 900]
    assert sum(one["committed"] for one in found) == 900
    assert sync_db.transfers.count_documents({}) == 900
    in_order(sync_db)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_it_sums_up_what_is_done(
    sync_db: Documents, server_uri: str, dbname: str, place: Path, number: int, code: int
) -> None:
    opened(sync_db, "a", "b", balance="100000")
    (place / "p.csv").write_text("from,to,amount\n" + "a,b,0.01\n" * 40_000)
    environment = {**os.environ, "MOTORCTL_URI": server_uri, "MOTORCTL_DB": dbname}
    process = subprocess.Popen(
        command("transfer", "batch", "p.csv", "-o", "json"),
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until(
        lambda: sync_db.transfers.estimated_document_count() or process.poll() is not None,
        "a chunk is committed",
    )
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=30)

    assert process.returncode == code, stderr
    found = json.loads(stdout)
    assert found["read"] == found["committed"] == sync_db.transfers.count_documents({}) > 0
    assert (found["rejected"], found["unknown"]) == (0, 0)
    assert found["left"] == 40_000 - found["read"] > 0
    assert "goes on where this one stopped" in stderr
    in_order(sync_db)


@contextmanager
def failing(
    db: Documents, commands: Sequence[str], *, times: int | None = None, skip: int = 0, **how: Any
) -> Iterator[str]:
    """Let commands of one program fail, that which connects with the URI that is yielded; never those of others."""
    host, port = db.client.address or ("", 0)
    name = f"batch-{db.name}"
    mode: Any = {"times": times} if times else {"skip": skip} if skip else "alwaysOn"
    data = {"failCommands": list(commands), "appName": name, **how}
    db.client.admin.command({"configureFailPoint": "failCommand", "mode": mode, "data": data})
    try:
        yield f"mongodb://{host}:{port}/?replicaSet=rs0&appName={name}"
    finally:
        db.client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})
