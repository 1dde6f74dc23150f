"""Each command of the program once, with arguments that do something: for tests that do something to all of them.

A command that changes data comes with a look at the database that tells whether it was done, once and whole. The
test of this table (`test_network_faults.py`) fails for a command that is not in it. It runs nothing itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bson import Decimal128, ObjectId

from motorctl import program
from motorctl.commands import ENTRIES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pymongo.database import Database

    Documents = Database[dict[str, Any]]

__all__ = ["ALL", "ELSEWHERE", "Case", "fill", "leaves", "write_files"]

ID = "64b7f0c2a1b2c3d4e5f60718"
PENDING = "64b7f0c2a1b2c3d4e5f60719"
COMPLETED = "64b7f0c2a1b2c3d4e5f6071a"
NEW = "64b7f0c2a1b2c3d4e5f6071b"
KEY = "rent-2026-11"
LINES = 3000
"""Documents of the larger files: several batches."""


@dataclass(frozen=True)
class Case:
    """A command: the words after `motorctl`, which begin with its `path`."""

    path: str
    arguments: tuple[str, ...] = ()
    ends: int = 0
    """Its exit code where nothing is wrong."""
    done: Callable[[Documents], bool] | None = None
    """Whether it was done, once; None for what only reads."""
    again: tuple[int, ...] = (0,)
    """How it may end when it is run a second time, after it was done without the user's knowing."""

    @property
    def words(self) -> list[str]:
        noun, verb = self.path.split()
        return [noun, *([verb] if verb != noun else []), *self.arguments]

    def __str__(self) -> str:
        return self.path


def _one(collection: str, **filter_: Any) -> Callable[[Documents], bool]:
    return lambda db: db[collection].count_documents(filter_) == 1


def _many(collection: str, number: int) -> Callable[[Documents], bool]:
    return lambda db: db[collection].count_documents({}) == number


def _index(collection: str, name: str, *, there: bool = True, **options: Any) -> Callable[[Documents], bool]:
    def look(db: Documents) -> bool:
        found = db[collection].index_information().get(name)
        if found is None or not there:
            return (found is not None) == there
        return all(found.get(option) == value for option, value in options.items())

    return look


def _balances(**wanted: str) -> Callable[[Documents], bool]:
    def look(db: Documents) -> bool:
        found = {one["_id"]: str(one["balance"]) for one in db.accounts.find()}
        return all(found[name] == balance for name, balance in wanted.items())

    return look


def _profiled(db: Documents) -> bool:
    return bool(db.command("profile", -1)["was"] == 1)


def _order(number: str, status: str, tea: int) -> Callable[[Documents], bool]:
    def look(db: Documents) -> bool:
        order, stock = db.orders.find_one(ObjectId(number)), db.inventory.find_one("tea")
        return bool(order and stock and (order["status"], stock["stock"]) == (status, tea))

    return look


def _validated(db: Documents) -> bool:
    return (
        "validator"
        in db.command("listCollections", filter={"name": "students"})["cursor"]["firstBatch"][0]["options"]
    )


def _shop(db: Documents) -> bool:
    return {"users", "orders", "accounts", "transfers", "inventory"} <= set(
        db.list_collection_names()
    ) and len(db.orders.index_information()) > 1


STUDENT = ("--name", "Bo", "--email", "bo@example.com", "--course", "Art", "--gpa", "3.5")
NAMES = ("--name", "Bo", "--email", "bo@example.com")
SHOP = ("--builtin", "shop")

ALL: tuple[Case, ...] = (
    Case("ping ping", ("--count", "3")),
    Case("schema dump"),
    Case("schema plan", SHOP),
    Case("schema check", SHOP, ends=8),
    Case("schema apply", SHOP, done=_shop),
    Case("schema diff", ("builtin:shop", "db"), ends=8),
    Case("schema history"),
    Case("schema infer", ("orders",)),
    Case("indexes list"),
    Case("indexes build"),
    Case("indexes create", ("orders", "status", "-created_at"), done=_index("orders", "status_1_created_at_-1")),
    Case("indexes drop", ("users", "name_1", "--yes"), done=_index("users", "name_1", there=False), again=(0, 5)),
    Case("indexes hide", ("users", "name_1"), done=_index("users", "name_1", hidden=True)),
    Case("indexes unhide", ("users", "name_1"), done=_index("users", "name_1", hidden=None)),
    Case("validators show", ("users",)),
    Case("validators apply", ("students", "validator.json"), done=_validated),
    Case("validators check", ("orders", "validator.json"), ends=8),
    Case("validators try", ("orders", "validator.json"), ends=8),
    Case("students create", STUDENT, done=_one("students", email="bo@example.com"), again=(0, 6)),
    Case("students update", (ID, "--gpa", "3.9"), done=_one("students", gpa=3.9)),
    Case("students upsert", STUDENT, done=_one("students", email="bo@example.com")),
    Case("students get", (ID,)),
    Case("students list"),
    Case("students count"),
    Case("students delete", (ID,), done=_many("students", 0), again=(0, 5)),
    Case("users create", NAMES, done=_one("users", email="bo@example.com"), again=(0, 6)),
    Case("users update", (ID, "--name", "Augusta"), done=_one("users", name="Augusta")),
    Case("users upsert", NAMES, done=_one("users", email="bo@example.com")),
    Case("users get", (ID,)),
    Case("users list"),
    Case("users count"),
    Case("users delete", (ID,), done=_many("users", 0), again=(0, 5)),
    Case("import import", ("things.ndjson", "--into", "things", *("--mode", "upsert", "--key", "n", "--batch-size", "500")), done=_many("things", LINES)),
    Case("import status"),
    Case("import forget", ("old/file", "--yes"), done=_many("motorctl_imports", 0), again=(0, 5)),
    Case("export export", ("many", "--batch-size", "1000")),
    Case("accounts open", ("--id", "dora", "--balance", "5.00", "--currency", "EUR"), done=_one("accounts", _id="dora"), again=(0, 6)),
    Case("accounts get", ("alice",)),
    Case("accounts list"),
    Case("accounts statement", ("alice",)),
    Case("accounts freeze", ("alice",), done=_one("accounts", _id="alice", status="frozen")),
    Case("accounts unfreeze", ("carol",), done=_one("accounts", _id="carol", status="open")),
    Case("accounts close", ("erik", "--yes"), done=_one("accounts", _id="erik", status="closed")),
    Case("transfer send", ("alice", "bob", "1.00", "--key", "k1"), done=_balances(alice="89.00", bob="61.00")),
    Case("transfer show", (KEY,)),
    Case("transfer list"),
    Case("transfer reverse", (KEY,), done=_balances(alice="100.00", bob="50.00")),
    Case("transfer batch", ("payments.csv",), done=_balances(alice="80.50", bob="69.50")),
    Case("transfer verify"),
    Case("orders place", ("--user", ID, "--line", "tea:2", "--key", "basket"), done=_one("inventory", _id="tea", stock=98)),
    Case("orders get", (ID,)),
    Case("orders list"),
    Case("orders complete", (PENDING,), done=_order(PENDING, "completed", 100)),
    Case("orders cancel", (PENDING,), done=_order(PENDING, "cancelled", 102)),
    Case("orders refund", (COMPLETED,), done=_order(COMPLETED, "refunded", 100)),
    Case("inventory add", ("cup", "--price", "3.00", "--stock", "7"), done=_one("inventory", _id="cup", stock=7), again=(0, 6)),
    Case("inventory set", ("tea", "--price", "5.00"), done=_one("inventory", _id="tea", price=Decimal128("5.00"))),
    Case("inventory get", ("tea",)),
    Case("inventory list"),
    Case("revenue over-time"),
    Case("revenue by-customer"),
    Case("revenue by-product"),
    Case("aggregate aggregate", ("orders", '[{"$group": {"_id": "$status", "n": {"$sum": 1}}}]')),
    Case("explain find", ("orders", "--filter", '{"status": "completed"}')),
    Case("explain aggregate", ("orders", '[{"$match": {"status": "completed"}}]')),
    Case("explain count", ("orders",)),
    Case("explain distinct", ("orders", "status")),
    Case("explain suite", ("queries.yaml",)),
    Case("slow profile", ("on", "--slower-than", "100", "--yes"), done=_profiled),
    Case("slow list"),
    Case("slow slow"),
)  # fmt: skip

ELSEWHERE = {
    "local start": "a server on this machine: test_local.py",
    "local stop": "a server on this machine: test_local.py",
    "local status": "a server on this machine: test_local.py",
    "local reset": "a server on this machine: test_local.py",
    "local uri": "connects to nothing",
    "doctor doctor": "its steps are faults: test_doctor.py",
    "demo demo": "runs the other commands",
    "schema init": "connects to nothing",
    "schema json-schema": "connects to nothing",
    "explain read": "connects to nothing",
    "config show": "connects to nothing",
    "config path": "connects to nothing",
    "completion completion": "connects to nothing",
    "help help": "connects to nothing",
}


def leaves() -> set[str]:
    """Return each command of the program, `noun verb`; a noun that is a command itself has its name as its verb."""
    found = set()
    for entry in ENTRIES.values():
        loaded = program.load(entry)
        found |= {f"{entry.name} {verb}" for verb in getattr(loaded, "commands", None) or {entry.name: None}}
    return found


def write_files(folder: Path) -> None:
    """Write the files that the commands name."""
    (folder / "things.ndjson").write_text("".join(f'{{"n": {n}}}\n' for n in range(LINES)))
    (folder / "validator.json").write_text('{"$jsonSchema": {"required": ["email"]}}')
    (folder / "payments.csv").write_text("from,to,amount,note\nalice,bob,12.50,lunch\nbob,alice,3.00,bus\n")
    (folder / "queries.yaml").write_text(
        "defaults: {fail_on: [ratio:1000]}\nqueries:\n  - name: completed\n    find: orders\n    filter: {status: completed}\n"
    )


def _checkpoint(name: str, when: datetime) -> dict[str, Any]:
    """What an import with --resume leaves when it is through."""
    mark = {"consumed": 10, "bytes": 10, "done": True, "inserted": 1, "read": 1, "place": None}
    return {
        "_id": name,
        "name": name,
        "into": "old",
        "part": None,
        "plan": {"chunk": 524288},
        "runs": 1,
        "files": [{"file": "file", "size": 10, "mtime": 0, "digest": "0", **mark}],
        "begun": True,
        "rejects_file": None,
        "rejects_bytes": 0,
        "seconds": 0.1,
        "version": "0.1.0",
        "state": "done",
        "reason": None,
        "owner": {"host": "h", "pid": 1, "process": "p", "space": "s"},
        "inputs": "0",
        "identity": {"started": 1, "random": b"abc"},
        "claim": ObjectId(ID),
        "since": when,
        "updated": when,
        "created": when,
    }


def fill(db: Documents, command: str) -> None:
    """Put a few documents of each kind into an empty database, as this command needs them."""
    now = datetime(2026, 11, 20, 12, tzinfo=UTC)
    person, user = ObjectId(ID), {"user_id": ObjectId(ID), "product_id": "tea", "qty": 2, "created_at": now}
    accounts = [("alice", "100.00", "90.00", "open"), ("bob", "50.00", "60.00", "open")]
    accounts += [("carol", "0.00", "0.00", "frozen"), ("erik", "0.00", "0.00", "open")]
    moved = {"from_balance": "90.00", "to_balance": "60.00", "amount": "10.00"}
    documents: dict[str, list[dict[str, Any]]] = {
        "users": [{"_id": person, "name": "Ada", "email": "ada@example.com", "created_at": now}],
        "students": [{"_id": person, "name": "Ada", "email": "ada@example.com", "course": "M", "gpa": 3.0}],
        "orders": [
            {"_id": ObjectId(number), **user, "amount": Decimal128("9.00"), "status": status}
            for number, status in ((ID, "completed"), (PENDING, "pending"), (COMPLETED, "completed"))
        ],
        "inventory": [{"_id": "tea", "name": "Tea", "price": Decimal128("4.50"), "stock": 100}],
        "accounts": [
            {"_id": name, "owner": name, "currency": "EUR", "entries": int(opening != balance), "opened_at": now}
            | {"opening": Decimal128(opening), "balance": Decimal128(balance), "status": status}
            for name, opening, balance, status in accounts
        ],
        "transfers": [
            {"_id": KEY, "from": "alice", "to": "bob", "created_at": now, "from_entry": 1, "to_entry": 1}
            | {name: Decimal128(amount) for name, amount in moved.items()}
        ],
        "motorctl_imports": [_checkpoint("old/file", now)],
    }  # fmt: skip
    if any("many" in one.arguments for one in ALL if one.path.startswith(command)):
        documents["many"] = [{"_id": number, "text": "x" * 200} for number in range(LINES)]
    db.users.create_index("email", unique=True)
    db.students.create_index("email", unique=True)
    db.users.create_index("name")
    db.things.create_index("n", unique=True)
    for collection, some in documents.items():
        db[collection].insert_many(some)
    if command == "indexes unhide":
        db.command("collMod", db.users.name, index={"name": "name_1", "hidden": True})
