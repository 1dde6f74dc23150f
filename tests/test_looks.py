"""What people see: each command as a terminal, in a narrow one, without colour, on a dumb one, and in a pipe.

The files `tests/golden/looks-*.txt` show the same commands at four widths and in a pipe. After a change that is
meant, write them anew with `MOTORCTL_REWRITE_GOLDEN=1 pytest tests/test_looks.py -n 0`, and look at them.
"""

from __future__ import annotations

import os
import re
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import every_command
import pymongo
import pytest
from bson import Decimal128, ObjectId
from rich.cells import cell_len

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Result, Runner
    from every_command import Case
    from pymongo.database import Database

    Documents = Database[dict[str, Any]]

GOLDEN = Path(__file__).parent / "golden"
REWRITE = bool(os.environ.get("MOTORCTL_REWRITE_GOLDEN"))

BEGIN = datetime(2026, 1, 3, 9, tzinfo=UTC)
IDS = [ObjectId(f"64b7f0c2a1b2c3d4e5f6{number:04x}") for number in range(9)]
NAMES = [
    "Ada Lovelace",
    "山田 太郎",
    "محمد بن موسى الخوارزمي",
    "Grace 👩‍🔬 Hopper",
    "שרה כהן",
    "김철수",
    "Émilie du Châtelet",
    "Bartholomew Featherstonehaugh-Cholmondeley von Wolfeschlegelsteinhausen",
    "x",
]
WIDE = '[{"$sort": {"_id": 1}}]'

SHOWN: tuple[tuple[str, ...], ...] = (
    ("students", "list"),
    ("students", "list", "--filter", '{"name": "nobody"}'),
    ("students", "get", str(IDS[1])),
    ("students", "count"),
    ("students", "delete", str(IDS[0]), "--dry-run"),
    ("users", "list", "--sort", "email"),
    ("users", "get", str(IDS[0])),
    ("accounts", "list"),
    ("accounts", "statement", "alice"),
    ("accounts", "freeze", "alice", "--dry-run"),
    ("transfer", "show", "rent-2026-11"),
    ("transfer", "list"),
    ("transfer", "verify"),
    ("orders", "list", "--limit", "4"),
    ("orders", "get", str(IDS[3])),
    ("inventory", "list"),
    ("inventory", "set", "tea", "--add", "-1", "--dry-run"),
    ("revenue", "over-time", "--chart"),
    ("revenue", "by-customer", "--chart"),
    ("revenue", "by-product"),
    ("aggregate", "wild", WIDE),
    ("aggregate", "wild", '[{"$project": {"_id": 1, "dec": 1}}, {"$sort": {"_id": 1}}]'),
    ("aggregate", "nothing", "[]"),
    ("schema", "diff", "builtin:shop", "builtin:college"),
    ("schema", "diff", "builtin:college", "builtin:shop", "--collection", "orders"),
    ("indexes", "list", "students"),
    ("indexes", "drop", "students", "email_1", "--dry-run"),
    ("validators", "check", "students"),
)
"""Commands whose output has no time and no place in it."""


@pytest.fixture(scope="module")
def stage(server_uri: str) -> Iterator[Documents]:
    """A database with names in many scripts, amounts of each size and a very long text. Only read here."""
    with pymongo.MongoClient[dict[str, Any]](server_uri, tz_aware=True) as client:
        db = client[f"looks_{uuid.uuid4().hex[:8]}"]
        _set(db)
        yield db
        client.drop_database(db.name)


def _set(db: Documents) -> None:
    rule = {"bsonType": "object", "required": ["name", "gpa"]}
    db.create_collection("students", validator={"$jsonSchema": rule})
    db.students.create_index("email", unique=True)
    for number, (key, name) in enumerate(zip(IDS, NAMES, strict=True)):
        day = BEGIN + timedelta(days=number)
        person = {"_id": key, "name": name, "email": f"user{number}@example.com"}
        db.users.insert_one({**person, "active": number % 3 != 0, "created_at": day})
        db.students.insert_one(
            {**person, "course": ("Mathematics", "物理")[number % 2], "gpa": (3.9, 4.0, 2.75)[number % 3]}
        )
    db.users.update_one({"_id": IDS[0]}, {"$set": {"bio": "Wrote the first program. " * 12}})
    amounts = ("9.99", "1234567.80", "0.01", "42")
    products = ("tea", "mug", "お茶 (煎茶)", "شاي")
    db.orders.insert_many(
        {"_id": key, "user_id": IDS[number % 3], "product_id": products[number % 4], "qty": number + 1}
        | {"amount": Decimal128(amounts[number % 4]), "status": ("completed", "pending")[number % 5 == 4]}
        | {"created_at": BEGIN + timedelta(days=20 * number)}
        for number, key in enumerate(IDS)
    )
    db.inventory.insert_many(
        {"_id": key, "name": name, "price": Decimal128(price), "stock": stock}
        for key, name, price, stock in (
            ("tea", "Tea", "4.50", 100),
            ("mug", "Mug, a very large one with a handle", "1200.00", 5),
            ("お茶", "煎茶 🍵", "12.25", 12000),
        )
    )
    moved = datetime(2026, 11, 20, 10, tzinfo=UTC)
    db.accounts.insert_many(
        {"_id": key, "owner": owner, "currency": currency, "entries": entries, "opened_at": moved}
        | {"opening": Decimal128(opening), "balance": Decimal128(balance), "status": "open"}
        for key, owner, currency, opening, balance, entries in (
            ("alice", "Alice", "EUR", "100.00", "90.00", 1),
            ("bob", "Bob", "EUR", "50.00", "60.00", 1),
            ("山田", "山田 太郎", "JPY", "1000000", "1000000", 0),
            ("big", "Big Bank", "EUR", "999999999999.99", "999999999999.99", 0),
            ("مخزن", "محمد", "USD", "0.00", "0.00", 0),
        )
    )
    balances = {"from_balance": Decimal128("90.00"), "to_balance": Decimal128("60.00")}
    db.transfers.insert_one(
        {
            "_id": "rent-2026-11",
            "from": "alice",
            "to": "bob",
            "amount": Decimal128("10.00"),
            "created_at": moved,
        }
        | {**balances, "from_entry": 1, "to_entry": 1, "note": "rent, November", "currency": "EUR"}
    )
    db.wild.insert_many(
        [
            {"_id": 1, "big": 2**60, "x": 1e300, "dec": Decimal128("1E+20"), "text": "x" * 300},
            {"_id": 2, "big": -1, "x": -0.5, "dec": Decimal128("1.5"), "text": "two\nlines\x1b[31m"},
            {"_id": 3, "dec": Decimal128("-0.125"), "nested": {"a": [1, 2, {"b": None}]}, "text": None},
        ]
    )


def test_each_width_looks_as_it_did(cli: Runner, stage: Documents) -> None:
    different = []
    for width in (60, 80, 120, 200, None):
        pages = []
        for words in SHOWN:
            done = cli(
                *words,
                tty=width is not None,
                columns=width or 80,
                env={"NO_COLOR": "1", "MOTORCTL_DB": stage.name},
            )
            # A message on stderr is the terminal's to wrap.
            assert width is None or max(map(cell_len, done.stdout.splitlines())) <= width
            pages.append(
                f"$ motorctl {' '.join(words)}\n{done.stdout}{said(done)}".replace(stage.name, "shop")
            )
        path = GOLDEN / f"looks-{width or 'pipe'}.txt"
        text = "\n".join(pages)
        if REWRITE:
            path.write_text(text, encoding="utf-8", newline="\n")
        if text != path.read_text(encoding="utf-8"):
            different.append(path.name)
    assert not different


def said(done: Result) -> str:
    """Return what stays of stderr: a bar wipes itself away."""
    return re.sub(
        r"\x1b\[\?25l.*?\x1b\[\?25h(?:\r?\x1b\[1A\x1b\[2K|\r\x1b\[2K|\n)*", "", done.stderr, flags=re.DOTALL
    )


# Each command of the program


@pytest.fixture(scope="module")
def filled(server_uri: str) -> Iterator[Documents]:
    with pymongo.MongoClient[dict[str, Any]](server_uri, tz_aware=True) as client:
        db = client[f"looks_{uuid.uuid4().hex[:8]}"]
        every_command.fill(db, "")
        yield db
        client.drop_database(db.name)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    every_command.write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


PALETTE = {"", "0", "1", "2", "31", "33", "36"}
"""Plain, bold, dim; red for an error, yellow for what needs a look, cyan for names."""

UNFOLDED = {"export export", "schema dump", "schema infer", "validators show"}
"""What they print is a file: its lines stay as long as they are."""

WORDS = re.compile(r"[^\W\d_]{2,}")


@pytest.mark.parametrize("case", every_command.ALL, ids=str)
def test_a_command_looks_the_same_whatever_it_is_shown_on(
    cli: Runner, filled: Documents, folder: Path, case: Case
) -> None:
    """It fits, in the few colours there are, and NO_COLOR, a dumb terminal and a pipe have the same words."""
    words = [*case.words, *(["--dry-run"] if case.done else [])]
    env = {"MOTORCTL_DB": filled.name}

    colored = cli(*words, tty=True, columns=60, env=env)
    plain = cli(*words, tty=True, columns=60, env={**env, "NO_COLOR": "1"})
    dumb = cli(*words, tty=True, columns=60, env={**env, "TERM": "dumb"})
    piped = cli(*words, columns=60, env=env)

    assert folder == Path.cwd()
    shown = [colored, plain, dumb, piped]
    assert [one.code for one in shown] == [case.ends] * 4
    assert set(re.findall(r"\x1b\[([\d;]*)m", colored.stdout + colored.stderr)) <= PALETTE
    # Bold and dim are colour too for who asked for none.
    assert "\x1b[" not in plain.stdout + said(plain) + dumb.stdout + dumb.stderr + piped.stdout + piped.stderr
    assert _words(re.sub(r"\x1b\[[\d;]*m", "", colored.stdout)) == _words(plain.stdout)
    assert _words(dumb.stdout) == _words(piped.stdout)
    assert _words(piped.stdout) or not piped.stdout or case.path.endswith("count")
    if case.path not in UNFOLDED:
        assert max((cell_len(line) for line in plain.stdout.splitlines()), default=0) <= 60
    assert not [line for line in plain.stdout.splitlines() if line != line.rstrip()]
    if case.done:
        assert re.search("dry run: nothing was written|already$", said(plain), re.MULTILINE)


def _words(text: str) -> list[str]:
    """Return the words of a text, sorted: figures, units of time and orders that nobody asked for differ."""
    return sorted(set(WORDS.findall(text.replace("\n", " "))) - {"ms", "second", "documents", "transfers"})


def test_ten_thousand_rows_are_one_table(cli: Runner, filled: Documents) -> None:
    """Its heading comes again only where the numbers have outgrown their column."""
    rows = '[{"$project": {"_id": 1}}, {"$set": {"n": {"$multiply": ["$_id", "$_id"]}, "k": {"$range": [0, 4]}}}, {"$unwind": "$k"}, {"$limit": 10000}]'
    done = cli("aggregate", "many", rows, tty=True, env={"NO_COLOR": "1", "MOTORCTL_DB": filled.name})
    lines = done.stdout.splitlines()
    assert lines[-1] == "(10,000 rows)"
    assert lines[0].split() == ["_id", "n", "k"]
    headings = [number for number, line in enumerate(lines) if line.startswith("─")]
    assert len(headings) == 2
    assert {len(line) for line in lines[headings[1] : -1]} == {len(lines[headings[1]])}
    assert len(lines) == 10_000 + 2 * 2 + 1
