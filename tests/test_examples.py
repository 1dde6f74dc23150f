"""Every example of every `--help`, run by a shell as it is written, in a database with a few documents."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from bson import Decimal128, ObjectId

from motorctl import program
from motorctl.commands import ENTRIES

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Runner
    from pymongo.database import Database as SyncDatabase

    Documents = SyncDatabase[dict[str, Any]]

ID = ObjectId("64b7f0c2a1b2c3d4e5f60718")
PENDING = ObjectId("64b7f0c2a1b2c3d4e5f60719")
ORDER = '{"user_id": {"$oid": "64b7f0c2a1b2c3d4e5f60718"}, "amount": 1, "status": "pending", "created_at": {"$date": "2026-03-01T00:00:00Z"}}\n'

ELSEWHERE = {
    "demo": "test_demo.py runs the tour",
    "local": "test_local.py runs it: an example would start a server on this machine",
}
"""Groups whose examples another module runs."""

NOT_BASH = {
    'motorctl completion zsh > "${fpath[1]}/_motorctl"': "motorctl completion zsh",
    "motorctl completion powershell >> $PROFILE": "motorctl completion powershell",
}
"""Examples in another shell's words, and what is left of them for bash."""


def examples() -> list[tuple[str, str]]:
    """Return (command path, example line) of each example in the program."""
    found = []
    for entry in ENTRIES.values():
        loaded = program.load(entry)
        for name, command in (getattr(loaded, "commands", None) or {"": loaded}).items():
            text = command.help or ""
            assert "Example:" in text, f"{entry.name} {name} has no example"
            lines = text.partition("Example:")[2].strip("\n").splitlines()
            found += [(f"{entry.name} {name}".strip(), line.strip()) for line in lines if line.strip()]
    return found


@pytest.fixture
def workplace(tmp_path: Path, cli: Runner) -> Path:
    """A folder with the files that examples name; the database has both schemas."""
    for manifest in ("shop", "college"):
        assert cli("schema", "apply", "--builtin", manifest, "-q").code == 0
    (tmp_path / "orders.ndjson").write_text(ORDER)
    (tmp_path / "dumps").mkdir()
    (tmp_path / "dumps" / "orders.ndjson").write_text(ORDER)
    (tmp_path / "dump.gz").write_bytes(gzip.compress(ORDER.encode()))
    user = '{"name": "Alan", "email": "alan@example.com", "created_at": {"$date": "2026-03-01T00:00:00Z"}}'
    (tmp_path / "users.json.gz").write_bytes(gzip.compress(user.encode()))
    (tmp_path / "students.csv").write_text(
        "name,email,course,gpa,joined\nBo,bo@example.com,Art,3.5,24/12/2025\n"
    )
    (tmp_path / "queries.yaml").write_text(
        "defaults: {fail_on: [collscan, sort]}\nqueries:\n  - name: completed orders, newest first\n"
        "    find: orders\n    filter: {status: completed}\n    sort: {created_at: -1}\n"
    )
    (tmp_path / "payments.csv").write_text("from,to,amount,note\nalice,bob,12.50,lunch\nbob,alice,3.00,bus\n")
    (tmp_path / ".config/fish/completions").mkdir(parents=True)
    shim = tmp_path / "bin" / "motorctl"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m motorctl "$@"\n')
    shim.chmod(0o755)
    return tmp_path


def test_every_example_runs_as_written(
    workplace: Path, sync_db: Documents, server_uri: str, dbname: str
) -> None:
    environment = {
        **os.environ,
        "HOME": str(workplace),
        "PATH": f"{workplace / 'bin'}:{os.environ['PATH']}",
        "MOTORCTL_URI": server_uri,
        "MOTORCTL_DB": dbname,
    }
    environment.pop("XDG_CONFIG_HOME")
    ran, broken = 0, []
    for path, line in examples():
        if path.split()[0] in ELSEWHERE:
            continue
        fill(sync_db)
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", NOT_BASH.get(line, line)],
            cwd=workplace,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )
        ran += 1
        if done.returncode or b"Traceback" in done.stderr:
            broken.append(f"{line}\n    exit {done.returncode}: {done.stderr.decode().strip()}")

    assert not broken, "\n".join(broken)
    assert ran > 50


def fill(db: Documents) -> None:
    """Put the same few documents into the database: an example may have changed or deleted one."""
    now = datetime.now(UTC)
    money(db, now)
    documents: dict[str, dict[str, Any]] = {
        "users": {"name": "Ada", "email": "ada.l@example.com", "created_at": now},
        "students": {"name": "Ada", "email": "a@example.com", "course": "M", "gpa": 3.0},
        "orders": {"user_id": ID, "amount": Decimal128("9.99"), "status": "completed", "created_at": now},
    }
    for collection, document in documents.items():
        db[collection].delete_many({})
        db[collection].insert_one({"_id": ID, **document})
    pending = {
        "user_id": ID,
        "product_id": "tea",
        "qty": 2,
        "amount": Decimal128("9.00"),
        "status": "pending",
    }
    db.orders.insert_one({"_id": PENDING, **pending, "created_at": now})


def money(db: Documents, now: datetime) -> None:
    """Put two accounts with one transfer between them, two products and a pending order there."""
    books: dict[str, list[dict[str, Any]]] = {
        "accounts": [
            {"_id": name, "owner": name.title(), "currency": "EUR", "entries": 1, "opened_at": now}
            | {"opening": Decimal128(opening), "balance": Decimal128(balance), "status": "open"}
            for name, opening, balance in (("alice", "100.00", "90.00"), ("bob", "50.00", "60.00"))
        ],
        "transfers": [
            {
                "_id": "rent-2026-11",
                "from": "alice",
                "to": "bob",
                "amount": Decimal128("10.00"),
                "created_at": now,
            }
            | {"from_balance": Decimal128("90.00"), "to_balance": Decimal128("60.00")}
            | {"from_entry": 1, "to_entry": 1}
        ],
        "inventory": [
            {"_id": "tea", "name": "Tea", "price": Decimal128("4.50"), "stock": 100},
            {"_id": "mug", "name": "Mug", "price": Decimal128("9.00"), "stock": 10},
        ],
    }
    for collection, documents in books.items():
        db[collection].delete_many({})
        db[collection].insert_many(documents)
