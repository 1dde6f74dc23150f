"""The inventory: products added, changed and listed, whatever types other programs gave them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from bson import Decimal128, Int64, ObjectId
from conftest import command, free_port
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.errors import ServerSelectionTimeoutError
from test_orders import everything, failing, interrupted

from motorctl.core import driver, inventory
from motorctl.errors import MotorctlError, RefusedError

if TYPE_CHECKING:
    from conftest import Runner
    from pymongo.database import Database as SyncDatabase

    from motorctl.client import Database

    Documents = SyncDatabase[dict[str, Any]]

KETTLE = {"id": "kettle", "name": "Kettle, 1.7 l", "price": "24.90", "stock": 12}
TEA = {"_id": "tea", "name": "Tea", "price": Decimal128("4.50"), "stock": 10}


# ---- add


def test_a_product_is_added_once(cli: Runner, sync_db: Documents) -> None:
    line = (
        "inventory",
        "add",
        "kettle",
        "--name",
        "Kettle, 1.7 l",
        "--price",
        "24.9",
        "--stock",
        "12",
        "-o",
        "json",
    )

    added, again = cli(*line), cli(*line)

    assert (added.code, added.json()) == (0, KETTLE)
    assert sync_db.inventory.find_one() == {
        "_id": "kettle", "name": "Kettle, 1.7 l", "price": Decimal128("24.90"), "stock": 12,
    }  # fmt: skip
    assert (again.code, again.error()["code"], again.error()["product"]) == (6, "duplicate_key", "kettle")


def test_the_id_of_another_type_is_taken_too(cli: Runner, sync_db: Documents) -> None:
    some = ObjectId()
    sync_db.inventory.insert_many([{"_id": 17, "stock": 1}, {"_id": some, "stock": 1}])

    assert cli("inventory", "add", "17").code == 6
    assert cli("inventory", "add", str(some)).code == 6
    assert cli("inventory", "add", "017", "-o", "json").json() == {
        "id": "017", "name": None, "price": None, "stock": 0,
    }  # fmt: skip


async def test_of_many_who_add_a_product_one_does(db: Database, sync_db: Documents) -> None:
    async def add(number: int) -> Any:
        return await inventory.add(db, "pot", inventory.new("pot", str(number), None, number))

    done = await asyncio.gather(*(add(number) for number in range(6)), return_exceptions=True)

    made = [one for one in done if isinstance(one, dict)]
    assert made == list(sync_db.inventory.find())
    assert sum(isinstance(one, MotorctlError) and one.exit_code == 6 for one in done) == 5


def test_what_the_validator_refuses_is_6(cli: Runner, sync_db: Documents) -> None:
    sync_db.create_collection("inventory", validator={"$jsonSchema": {"required": ["price"]}})
    assert cli("inventory", "add", "pot", "-o", "json").error()["code"] == "validation"


# ---- set


def test_only_what_is_given_is_changed(cli: Runner, sync_db: Documents) -> None:
    sync_db.inventory.insert_one({**TEA, "shelf": "A3"})

    changed = cli("inventory", "set", "tea", "--price", "4.80", "-o", "json")
    counted = cli("inventory", "set", "tea", "--stock", "0", "--name", "Green tea", "-o", "json")

    assert (changed.code, changed.json()["price"], changed.json()["stock"]) == (0, "4.80", 10)
    assert counted.json() == {"id": "tea", "name": "Green tea", "price": "4.80", "stock": 0, "shelf": "A3"}
    assert sync_db.inventory.find_one() == {
        "_id": "tea", "name": "Green tea", "price": Decimal128("4.80"), "stock": 0, "shelf": "A3",
    }  # fmt: skip


def test_a_delivery_and_a_loss(cli: Runner, sync_db: Documents) -> None:
    sync_db.inventory.insert_one(dict(TEA))

    more = cli("inventory", "set", "tea", "--add", "24", "--price", "5", "-o", "json")
    less = cli("inventory", "set", "tea", "--add", "-34", "-o", "json")
    none = cli("inventory", "set", "tea", "--add", "-1", "-o", "json")

    assert (more.json()["stock"], more.json()["price"]) == (34, "5.00")
    assert less.json()["stock"] == 0
    assert (none.code, none.error()["stock"]) == (6, 0)
    assert none.error()["message"] == "product tea has 0 in stock: with -1 that is fewer than none"
    assert (sync_db.inventory.find_one() or {})["stock"] == 0


@pytest.mark.parametrize("stock", [5, Int64(5), 5.0, Decimal128("5")])
def test_a_stock_keeps_its_type(cli: Runner, sync_db: Documents, stock: Any) -> None:
    sync_db.inventory.insert_one({"_id": "tea", "stock": stock})
    assert cli("inventory", "set", "tea", "--add", "2", "-o", "json").json()["stock"] == 7
    stored = sync_db.inventory.find_one({}, {"type": {"$type": "$stock"}}) or {}
    kinds = {int: "int", Int64: "long", float: "double", Decimal128: "decimal"}
    assert stored["type"] == kinds[type(stock)]


@pytest.mark.parametrize("stock", [3.5, "5", None, float("nan")])
def test_what_is_no_stock_can_be_set_but_not_added_to(cli: Runner, sync_db: Documents, stock: Any) -> None:
    sync_db.inventory.insert_one({"_id": "tea", "stock": stock})
    refused = cli("inventory", "set", "tea", "--add", "2", "-o", "json")
    assert (refused.code, refused.error()["product"]) == (6, "tea")
    assert "inventory set tea --stock" in refused.error()["hint"]
    assert cli("inventory", "set", "tea", "--stock", "2", "-o", "json").json()["stock"] == 2


async def test_of_many_who_take_the_last_none_goes_below_zero(db: Database, sync_db: Documents) -> None:
    sync_db.inventory.insert_one(dict(TEA))

    done = await asyncio.gather(*(inventory.move(db, "tea", -3) for _ in range(8)), return_exceptions=True)

    refused = [one for one in done if isinstance(one, RefusedError)]
    assert (len(refused), len(done) - len(refused)) == (5, 3)
    assert (sync_db.inventory.find_one() or {})["stock"] == 1


UNCONFIRMED: dict[str, dict[str, Any]] = {
    "lost": {"closeConnection": True},
    "late": {"blockConnection": True, "blockTimeMS": 1000},
    # made, and not on enough members: a failover may take it back
    "alone": {"writeConcernError": {"code": 100, "errmsg": "Not enough data-bearing nodes"}},
}


@pytest.mark.parametrize("how", UNCONFIRMED)
def test_a_change_of_a_stock_that_nobody_confirms_is_9(cli: Runner, sync_db: Documents, how: str) -> None:
    sync_db.inventory.insert_one(dict(TEA))
    quick = ("--timeout", "0.5", "-o", "json")

    with failing(sync_db, failCommands=["findAndModify"], **UNCONFIRMED[how]) as env:
        added = cli("inventory", "set", "tea", "--add", "5", *quick, env=env)
        counted = cli("inventory", "set", "tea", "--stock", "15", *quick, env=env)
    with failing(sync_db, failCommands=["insert"], **UNCONFIRMED[how]) as env:
        new = cli("inventory", "add", "pot", *quick, env=env)

    there = 15 if how == "alone" else 10
    assert (added.code, added.error()["stock_before"]) == (9, 10)
    assert "whether +5 was added to the stock is not known: it was 10 before" in added.error()["message"]
    assert "motorctl inventory get tea" in added.error()["hint"]
    assert (counted.code, counted.error()["stock_before"]) == (9, there)
    assert "whether the stock was set to 15 is not known" in counted.error()["message"]
    assert "trying again" not in counted.stderr, "what was sold since would be there again"
    assert (new.code, new.error()["product"]) == (9, "pot")
    assert (sync_db.inventory.find_one({"_id": "tea"}) or {})["stock"] == there


async def test_what_was_never_sent_is_not_in_doubt(
    sync_db: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def known(*_arguments: Any) -> dict[str, Any]:
        return dict(TEA)

    monkeypatch.setattr(inventory, "get", known)
    nowhere = AsyncIOMotorClient[dict[str, Any]](f"mongodb://127.0.0.1:{free_port()}")
    try:
        with pytest.raises(ServerSelectionTimeoutError):
            await inventory.move(nowhere.get_database(sync_db.name), "tea", 5, seconds=0.1)
    finally:
        await driver.close(nowhere)


def test_ctrl_c_in_the_middle_of_a_change_says_that_nobody_knows(sync_db: Documents) -> None:
    sync_db.inventory.insert_one(dict(TEA))
    line = command("inventory", "set", "tea", "--add", "5")
    with failing(sync_db, failCommands=["findAndModify"], blockConnection=True, blockTimeMS=500) as env:
        code, out, err = interrupted(sync_db, line, env)
    assert (code, out) == (130, "")
    answer = f"stopped before the answer to findAndModify in {sync_db.name}.inventory"
    assert f"warning: {answer}: whether it was done is not known" in err


def test_what_may_run_twice_is_tried_again(cli: Runner, sync_db: Documents) -> None:
    sync_db.inventory.insert_one(dict(TEA))
    # the driver tries a lost write once more by itself: this is one more than that
    lost = {"failCommands": ["findAndModify"], "closeConnection": True, "mode": {"times": 2}}
    with failing(sync_db, **lost) as env:
        result = cli("inventory", "set", "tea", "--price", "5", "-o", "json", env=env)
    assert (result.code, result.json()["price"]) == (0, "5.00")


async def test_a_stock_that_is_taken_meanwhile_is_looked_at_again(
    db: Database, sync_db: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync_db.inventory.insert_one(dict(TEA))
    get = inventory.get

    async def stale(*arguments: Any) -> dict[str, Any]:
        found = await get(*arguments)
        sync_db.inventory.update_one({}, {"$set": {"stock": 1}})
        return found

    monkeypatch.setattr(inventory, "get", stale)

    with pytest.raises(RefusedError, match="has 1 in stock: with -5 that is fewer than none"):
        await inventory.move(db, "tea", -5)
    assert (sync_db.inventory.find_one() or {})["stock"] == 1


# ---- both, and looking


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("set", "nix", "--stock", "1"), 5, "no product nix"),
        (("set", "nix", "--add", "1"), 5, "no product nix"),
        (("get", "nix"), 5, "no product nix"),
        (("set", "tea"), 2, "nothing to set"),
        (("set", "tea", "--stock", "1", "--add", "1"), 2, "exclude each other"),
        (("set", "tea", "--price", "1,50"), 2, "is not an amount"),
        (("set", "tea", "--name", " "), 2, "at least one character"),
        (("add", "tea", "--price", "-1"), 2, "is not an amount"),
        (("add", ""), 2, "is no id"),
        (("add", "pot", "--stock", str(2**53)), 2, "a stock is from 0"),
        (("set", "tea", "--add", str(2**53)), 6, "more than"),
    ],
)
def test_what_cannot_be_done_is_said(
    cli: Runner, sync_db: Documents, arguments: tuple[str, ...], code: int, said: str
) -> None:
    sync_db.inventory.insert_one(dict(TEA))
    before = everything(sync_db)

    result = cli("inventory", *arguments, "-o", "json")

    assert (result.code, result.stdout) == (code, "")
    assert said in result.error()["message"]
    assert everything(sync_db) == before


def test_dry_runs_write_nothing(cli: Runner, sync_db: Documents) -> None:
    sync_db.inventory.insert_one(dict(TEA))
    before = everything(sync_db)

    def dry(*arguments: str) -> Any:
        result = cli("inventory", *arguments, "--dry-run", "-o", "json")
        assert (result.code, result.stderr) == (0, "dry run: nothing was written\n")
        return result.json()

    assert dry("add", "kettle", "--name", "Kettle, 1.7 l", "--price", "24.90", "--stock", "12") == KETTLE
    assert dry("set", "tea", "--add", "5", "--price", "5")["stock"] == 15
    assert dry("set", "tea", "--stock", "5")["stock"] == 5
    assert cli("inventory", "add", "tea", "--dry-run").code == 6
    assert cli("inventory", "set", "tea", "--add", "-11", "--dry-run").code == 6
    assert cli("inventory", "set", "nix", "--stock", "1", "--dry-run").code == 5
    assert everything(sync_db) == before


def test_products_are_shown_as_they_are_in_any_collection(cli: Runner, sync_db: Documents) -> None:
    some = ObjectId("64b7f0c2a1b2c3d4e5f60718")
    sync_db.inventory.insert_many(
        [
            {"_id": 7, "name": "Seven", "price": 0.1, "stock": 3.0},
            {"_id": "b", "price": 12, "stock": 3.5, "tags": ["x"]},
            {"_id": some, "price": "a lot", "stock": Int64(2)},
        ]
    )

    rows = cli("inventory", "list", "-o", "json").json()

    assert rows == [
        {"id": "7", "name": "Seven", "price": "0.10", "stock": 3},
        {"id": "b", "name": None, "price": "12.00", "stock": 3.5, "tags": ["x"]},
        {"id": str(some), "name": None, "price": "a lot", "stock": 2},
    ]
    assert [cli("inventory", "get", row["id"], "-o", "json").json() for row in rows] == rows
    assert cli("inventory", "list", "-o", "csv").stdout.splitlines() == [
        "id,name,price,stock", "7,Seven,0.10,3", "b,,12.00,3.5", f"{some},,a lot,2",
    ]  # fmt: skip


def test_pages_filters_and_orders_of_a_list(cli: Runner, sync_db: Documents) -> None:
    sync_db.inventory.insert_many({"_id": f"p{n:02}", "stock": 50 - n} for n in range(25))

    def ids(*arguments: str) -> list[str]:
        return [row["id"] for row in cli("inventory", "list", *arguments, "-o", "json").json()]

    assert ids() == [f"p{n:02}" for n in range(20)]
    assert ids("--page", "2") == ids("--skip", "20") == [f"p{n:02}" for n in range(20, 25)]
    assert len(ids("--all")) == 25
    assert ids("--filter", '{"stock": {"$lt": 28}}', "--sort", "stock") == ["p24", "p23"]
    assert ids("--sort", "-id", "--limit", "1") == ["p24"]
