"""The errors that users meet most, provoked for real: `tests/golden/errors.txt` is to be read from top to bottom.

Each says what happened, and to what; its hint says what to do next. After a change that is meant, write the file anew
with `MOTORCTL_REWRITE_GOLDEN=1 pytest tests/test_error_texts.py -n 0`, and read it.
"""

from __future__ import annotations

import os
import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pymongo
import pytest
from bson import Decimal128, ObjectId
from conftest import free_port
from secured import User, as_user, guarded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Result, Runner, Server
    from pymongo.database import Database

    Documents = Database[dict[str, Any]]

GOLDEN = Path(__file__).parent / "golden" / "errors.txt"
REWRITE = bool(os.environ.get("MOTORCTL_REWRITE_GOLDEN"))
ADA, NOBODY = "64b7f0c2a1b2c3d4e5f60718", "64b7f0c2a1b2c3d4e5f6dead"


@dataclass(frozen=True)
class Wrong:
    """A command that fails, its exit code, and what it reads."""

    command: tuple[str, ...]
    code: int
    stdin: str = ""
    where: str = "shop"
    """The database: `shop` has the schema of that name and a few documents, `bare` nothing."""
    uri: str | None = None
    """Who connects, and where: a name of `addresses`; None is the server of the database."""


def wrong(line: str, code: int, **more: Any) -> Wrong:
    """Read a command; the words of what has blanks in it are joined by `~`."""
    return Wrong(tuple(word.replace("~", " ") for word in line.split()), code, **more)


CHAPTERS: dict[str, tuple[Wrong, ...]] = {
    "Typed wrong": (
        wrong("studnets list", 2),
        wrong("students lst", 2),
        wrong("students list --limt 3", 2),
        wrong("students list --limit many", 2),
        wrong("students get", 2),
        wrong("students get 42", 2),
        wrong("students list -o yaml", 2),
        wrong("students list --limit 3 --page 2", 2),
        wrong('students list --filter {"name":~"Ada"', 2),
        wrong("students list --filter @nowhere.json", 2),
        wrong("revenue over-time --since yesterweek", 2),
        wrong("transfer send alice bob 12,50", 2),
        wrong("indexes create users email:up", 2),
    ),
    "Configured wrong": (
        wrong("ping --profile prod", 2),
        wrong("ping --config nowhere.toml", 2),
        wrong("ping --config broken.toml", 2),
        wrong("ping --timeout soon", 2),
        wrong("ping --uri-file nowhere.uri", 2),
        wrong("ping", 2, uri="no-uri"),
        wrong("ping", 2, uri="port"),
        wrong("ping", 2, uri="escape"),
        wrong("ping", 2, uri="option"),
    ),
    "The server": (
        wrong("ping --timeout 0.3", 3, uri="nobody"),
        wrong("ping --timeout 1", 3, uri="unknown-host"),
        wrong("ping --timeout 1", 3, uri="other-set"),
        wrong("students list", 4, uri="wrong-password"),
        wrong("students list", 4, uri="no-user"),
        wrong("students create --name A --email a@example.com --course M --gpa 3", 4, uri="reader"),
        wrong("indexes create users email", 4, uri="reader"),
    ),
    "Not there": (
        wrong(f"students get {NOBODY}", 5),
        wrong("accounts get zoe", 5),
        wrong("transfer show no-key", 5),
        wrong(f"orders get {NOBODY}", 5),
        wrong("inventory get unicorn", 5),
        wrong("indexes drop users nope --yes", 5),
        wrong("indexes list nowhere", 5),
        wrong("validators show nowhere", 5),
        wrong("export nowhere --out nowhere.ndjson", 5),
    ),
    "Refused by the data": (
        wrong("users create --name Ada --email ada@example.com", 6),
        wrong("transfer send alice bob 1000", 6),
        wrong("transfer send alice bob 5 --key rent", 6),
        wrong("transfer send alice yuki 5", 6),
        wrong("transfer send alice frozen 5", 6),
        wrong(f"orders place --user {ADA} --product tea --qty 7", 6),
        wrong("accounts open --id alice --currency EUR", 6),
        wrong("indexes create orders user_id --unique", 6, where="doubles"),
    ),
    "Files": (
        wrong("import nowhere.csv --into users", 2),
        wrong("import students.csv --into students --types gpa:float32", 2),
        wrong("import students.csv --into students --mode upsert", 2),
        wrong("export orders --out nowhere/orders.ndjson", 2),
        wrong("schema plan nowhere.yaml", 2),
        wrong("schema plan broken.yaml", 2),
        wrong("schema plan typo.yaml", 2),
        wrong("validators apply users broken.yaml", 2),
        wrong("aggregate orders [{$matsch:{}}]", 1),
        wrong("aggregate orders [{$out:'done'}]", 2),
    ),
    "Not without being asked": (
        wrong("users delete --filter {}", 2),
        wrong("indexes drop users email_1", 2),
        wrong("aggregate orders [{$out:'done'}] --allow-write", 2),
    ),
}


@pytest.fixture(scope="module")
def shop(server_uri: str) -> Iterator[Documents]:
    with pymongo.MongoClient[dict[str, Any]](server_uri, tz_aware=True) as client:
        db = client[f"errors_{uuid.uuid4().hex[:8]}"]
        yield db
        for name in (db.name, f"{db.name}_doubles"):
            client.drop_database(name)


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a user who may read the database shop."""
    with guarded(
        tmp_path_factory.mktemp("guard"), User("reader", [{"role": "read", "db": "shop"}])
    ) as server:
        yield server


def test_the_errors_read_well(
    cli: Runner,
    shop: Documents,
    server_uri: str,
    guard: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path)
    fill(cli, shop)
    closed = f"127.0.0.1:{free_port()}"
    host = re.search(r"//(?:[^@/]*@)?([^/?]+)", server_uri)
    assert host is not None
    addresses = {
        "no-uri": "localhost:27017",
        "port": "mongodb://localhost:70000",
        "escape": "mongodb://ada:p@ss/word@localhost",
        "option": f"mongodb://{host[1]}/?maxPoolSize=many",
        "nobody": f"mongodb://{closed}",
        "unknown-host": "mongodb://db.invalid",
        "other-set": f"mongodb://{host[1]}/?replicaSet=prod",
        "wrong-password": as_user(guard, "reader", "wrong"),
        "no-user": f"mongodb://{guard.host}/shop?replicaSet=rs0",
        "reader": as_user(guard, "reader"),
    }
    masks = [
        (closed, "localhost:27018"),
        (host[1], "localhost:27017"),
        (guard.host, "db.example.com:27017"),
        (f"{shop.name}_doubles", "doubles"),
        (shop.name, "shop"),
        (f"{tmp_path}/", ""),
        (str(tmp_path), "."),
    ]

    read = []
    for chapter, cases in CHAPTERS.items():
        read.append(f"# {chapter}\n")
        for case in cases:
            env = {"MOTORCTL_DB": shop.name if case.where == "shop" else f"{shop.name}_{case.where}"}
            if case.uri:
                env = {"MOTORCTL_URI": addresses[case.uri], "MOTORCTL_DB": "shop"}
            done = cli(*case.command, stdin=case.stdin, env=env)
            # A key that was made up for a transfer is another one each time.
            said = re.sub(r"\b6[0-9a-f]{23}\b", _number, masked(done.stderr, masks))
            typed = " ".join(f"'{word}'" if re.search(r"[ {}$*]", word) else word for word in case.command)
            at = (
                f" --uri {masked(addresses[case.uri].replace('wrong', '***').replace('secret-of-tests', '***'), masks)}"
                if case.uri
                else ""
            )
            read.append(f"$ motorctl {typed}{at}\n{said}")
            judge(case, done, said)
    text = "\n".join(read)

    if REWRITE:
        GOLDEN.write_text(text, encoding="utf-8", newline="\n")
    assert text == GOLDEN.read_text(encoding="utf-8")


def _number(found: re.Match[str]) -> str:
    return found[0] if found[0] in (ADA, NOBODY) else "KEY"


def judge(case: Wrong, done: Result, said: str) -> None:
    """Hold an error against the pattern: one line that says what, one that says what next."""
    lines = said.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    hints = [line for line in lines if line.startswith("hint: ")]
    assert done.code == case.code, (case.command, done)
    assert len(errors) == len(hints) == 1, (case.command, said)
    for line in (*errors, *hints):
        assert not line.endswith((".", "!")), line
        assert len(line) <= 240, line
    # The driver's and the server's own names tell nothing to who didn't write them.
    assert not re.search(r"Traceback|Exception|[a-z]Error\b|OperationFailure|errmsg|0x[0-9a-f]{6}", said), (
        said
    )
    assert not done.stdout, case.command


def masked(text: str, masks: list[tuple[str, str]]) -> str:
    for real, shown in masks:
        text = text.replace(real, shown)
    return text


def write_files(folder: Path) -> None:
    (folder / "broken.toml").write_text("[profiles.prod\nuri = 1\n")
    (folder / "broken.yaml").write_text("collections:\n  users: {validator: [}\n")
    (folder / "typo.yaml").write_text("collections:\n  users:\n    indexs: []\n")
    (folder / "students.csv").write_text("name,email,gpa\nBo,bo@example.com,3.5\n")


def fill(cli: Runner, db: Documents) -> None:
    assert cli("schema", "apply", "--builtin", "shop", "-q", env={"MOTORCTL_DB": db.name}).code == 0
    now = datetime(2026, 11, 20, tzinfo=UTC)
    db.users.insert_one({"_id": ObjectId(ADA), "name": "Ada", "email": "ada@example.com", "created_at": now})
    db.accounts.insert_many(
        {"_id": key, "owner": key, "currency": currency, "entries": 0, "opened_at": now, "status": status}
        | {"opening": Decimal128("100.00"), "balance": Decimal128("100.00")}
        for key, currency, status in (
            ("alice", "EUR", "open"),
            ("bob", "EUR", "open"),
            ("yuki", "JPY", "open"),
            ("frozen", "EUR", "frozen"),
        )
    )
    db.inventory.insert_one({"_id": "tea", "name": "Tea", "price": Decimal128("4.50"), "stock": 3})
    assert (
        cli("transfer", "send", "bob", "alice", "1", "--key", "rent", "-q", env={"MOTORCTL_DB": db.name}).code
        == 0
    )
    db.client[f"{db.name}_doubles"].orders.insert_many([{"user_id": 1}, {"user_id": 1}])
