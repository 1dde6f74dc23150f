"""Orders on a real server: stock and order together or not at all, once per key, whoever else is at it."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import random
import signal
import subprocess
import uuid
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from bson import Decimal128, Int64, ObjectId
from conftest import command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo.errors import DuplicateKeyError

from motorctl.core import inventory, transactions
from motorctl.core.orders import Order, document, place, steps
from motorctl.core.orders.place import Wanted
from motorctl.core.orders.steps import Step, Verb
from motorctl.errors import MotorctlError, NotFoundError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Result, Runner
    from pymongo.database import Database as SyncDatabase

    from motorctl.client import Database

    Documents = SyncDatabase[dict[str, Any]]

Row = dict[str, Any]
ADA = ObjectId("64b7f0c2a1b2c3d4e5f60718")
SECONDS = 30.0


@pytest.fixture
def shop(sync_db: Documents) -> Documents:
    """A user and two products."""
    sync_db.users.insert_one({"_id": ADA, "name": "Ada"})
    sync_db.inventory.insert_many(
        [
            {"_id": "tea", "name": "Tea", "price": Decimal128("4.50"), "stock": 10},
            {"_id": "mug", "name": "Mug", "price": 9, "stock": 3.0},
        ]
    )
    return sync_db


def stocks(db: Documents) -> dict[str, Any]:
    return {str(product["_id"]): product["stock"] for product in db.inventory.find()}


def everything(db: Documents) -> dict[str, list[Row]]:
    return {name: list(db[name].find(sort=[("_id", 1)])) for name in sorted(db.list_collection_names())}


def ordered(cli: Runner, *arguments: str, **more: Any) -> Result:
    return cli("orders", "place", "--user", str(ADA), *arguments, "-o", "json", **more)


async def placed(db: Database, key: str | None, *lines: Wanted) -> place.Plan:
    return await place.place(db, place.request(key, ADA, lines), user=True, seconds=SECONDS)


async def outcomes(*tasks: Any) -> tuple[list[Any], list[MotorctlError]]:
    """Await all at once; return what came of them and the errors of ours. Others are raised."""
    done = await asyncio.gather(*tasks, return_exceptions=True)
    for one in done:
        if isinstance(one, BaseException) and not isinstance(one, MotorctlError):
            raise one
    good = [one for one in done if not isinstance(one, BaseException)]
    return good, [one for one in done if isinstance(one, MotorctlError)]


# ---- place


def test_an_order_takes_its_stock_and_is_pending(cli: Runner, shop: Documents) -> None:
    before = datetime.now(UTC) - timedelta(seconds=5)

    result = ordered(cli, "--product", "tea", "--qty", "2")

    shown = result.json()
    (stored,) = shop.orders.find()
    assert result.code == 0
    assert {**shown, "created_at": None} == {
        "id": str(stored["_id"]),
        "user_id": str(ADA),
        "product_id": "tea",
        "qty": 2,
        "price": "4.50",
        "amount": "9.00",
        "status": "pending",
        "replayed": False,
        "created_at": None,
    }
    key = stored["_id"]
    assert result.stderr == f"key {key}: should no answer come, `motorctl orders get {key}` has it\n"
    assert (stored["user_id"], stored["price"], stored["amount"]) == (
        ADA,
        Decimal128("4.50"),
        Decimal128("9.00"),
    )
    assert before < stored["created_at"] < before + timedelta(minutes=1)
    assert stocks(shop) == {"tea": 8, "mug": 3.0}


def test_several_products_are_one_order(cli: Runner, shop: Documents) -> None:
    result = ordered(cli, "--line", "tea:2", "--line", "mug:3@7.5", "--key", "basket-1")

    assert (result.code, result.stderr) == (0, "")
    shown = result.json()
    assert (shown["id"], shown["qty"], shown["amount"]) == ("basket-1", 5, "31.50")
    assert shown["lines"] == [
        {"product_id": "tea", "qty": 2, "price": "4.50", "amount": "9.00"},
        {"product_id": "mug", "qty": 3, "price": "7.50", "amount": "22.50", "price_given": True},
    ]
    assert stocks(shop) == {"tea": 8, "mug": 0.0}
    assert isinstance(stocks(shop)["mug"], float), "a stock keeps the type that another program gave it"


def test_too_little_of_one_product_orders_none(cli: Runner, shop: Documents) -> None:
    before = everything(shop)

    result = ordered(cli, "--line", "tea:2", "--line", "mug:4", "--key", "basket-1")

    assert (result.code, result.stdout) == (6, "")
    error = result.error()
    assert error["message"] == "too little stock: product mug: 3 there, 4 wanted"
    assert error["products"] == [{"product": "mug", "stock": 3, "wanted": 4}]
    assert (error["product"], error["stock"], error["wanted"]) == ("mug", 3, 4)
    assert everything(shop) == before
    assert ordered(cli, "--product", "mug", "--qty", "3", "--key", "basket-1").code == 0, (
        "the key stayed free"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--product", "nix", "--qty", "1"), 5, "no product nix"),
        (("--line", "tea:1", "--line", "nix:1"), 5, "no product nix"),
        (("--product", "tea"), 2, "--product needs --qty"),
        (("--qty", "2"), 2, "give --product"),
        ((), 2, "give --product"),
        (("--product", "tea", "--qty", "1", "--line", "mug:1"), 2, "give --product"),
        (("--line", "tea:1", "--qty", "1"), 2, "--qty goes with --product"),
        (("--line", "tea"), 2, "'tea' is not ID:N"),
        (("--line", "tea:1", "--line", "tea:2"), 2, "product tea is named twice"),
        (("--line", "tea:1", "--line", "mug:2", "--price", "3"), 2, "--price is the price of one product"),
        (("--line", "tea:1@3", "--price", "3"), 2, "--price is the price of one product"),
        (("--product", "tea", "--qty", "1", "--price", "1,50"), 2, "is not an amount"),
        (("--product", "tea", "--qty", "1", "--key", " "), 2, "is no id"),
    ],
)
def test_what_cannot_be_ordered_is_said_and_nothing_is_written(
    cli: Runner, shop: Documents, arguments: tuple[str, ...], code: int, said: str
) -> None:
    before = everything(shop)

    result = ordered(cli, *arguments)

    assert (result.code, result.stdout) == (code, "")
    assert said in result.error()["message"]
    assert everything(shop) == before


def test_a_user_who_is_not_there(cli: Runner, shop: Documents) -> None:
    unknown = str(ObjectId())
    result = cli("orders", "place", "--user", unknown, "--product", "tea", "--qty", "1", "-o", "json")
    assert (result.code, result.error()["user"]) == (5, unknown)
    assert cli("orders", "place", "--user", "ada", "--product", "tea", "--qty", "1").code == 2
    assert stocks(shop)["tea"] == 10


def test_a_dry_run_shows_the_order_and_writes_nothing(cli: Runner, shop: Documents) -> None:
    before = everything(shop)

    made = ordered(cli, "--line", "tea:2", "--price", "0", "--dry-run")
    short = ordered(cli, "--line", "tea:20", "--dry-run")

    assert made.code == 0
    assert (made.json()["amount"], made.json()["status"], "id" in made.json()) == ("0.00", "pending", False)
    assert made.stderr == "dry run: nothing was written\n"
    assert (short.code, short.error()["products"][0]["stock"]) == (6, 10)
    assert everything(shop) == before
    assert ordered(cli, "--line", "tea:2", "--key", "k").code == 0
    again = ordered(cli, "--line", "tea:2", "--key", "k", "--dry-run")
    assert (again.json()["id"], again.json()["replayed"]) == ("k", True)


def test_the_same_key_again_is_the_same_order(cli: Runner, shop: Documents) -> None:
    lines = ("--line", "tea:2", "--line", "mug:1@7.50")
    first = ordered(cli, *lines, "--key", "basket-1").json()
    shop.inventory.delete_many({})
    shop.users.delete_many({})

    again = ordered(cli, *lines[2:], *lines[:2], "--key", "basket-1")
    other = ordered(cli, "--line", "tea:2", "--key", "basket-1")

    assert (again.code, again.json()) == (0, {**first, "replayed": True})
    assert (other.code, other.error()["order"]) == (6, "basket-1")
    assert shop.orders.count_documents({}) == 1


def test_a_key_of_24_digits_is_an_object_id(cli: Runner, shop: Documents) -> None:
    key = str(ObjectId())
    assert ordered(cli, "--line", "tea:2", "--key", key).json()["id"] == key
    assert shop.orders.find_one({"_id": ObjectId(key)}) is not None
    assert cli("orders", "get", key, "-o", "json").json()["qty"] == 2


@pytest.mark.parametrize("id", [17, "64b7f0c2a1b2c3d4e5f60799"])
def test_a_key_that_another_program_s_order_has_in_another_type_is_taken(
    cli: Runner, shop: Documents, id: Any
) -> None:
    theirs = {"user_id": ADA, "product": "tea", "qty": 1, "amount": 4.5, "status": "pending"}
    shop.orders.insert_one({"_id": id, **theirs})

    for dry in ((), ("--dry-run",)):
        result = ordered(cli, "--line", "tea:2", "--key", str(id), *dry)
        assert (result.code, result.error()["order"]) == (6, str(id))
    assert cli("orders", "get", str(id)).code == 0, "there is one of this name still"
    assert stocks(shop)["tea"] == 10


def test_what_is_decided_on_is_read_from_the_primary(cli: Runner, shop: Documents, server_uri: str) -> None:
    """The URI prefers secondaries, and there is none: whatever asks one finds no server."""
    env = {"MOTORCTL_URI": f"{server_uri}&readPreference=secondary&serverSelectionTimeoutMS=300"}
    place = ("orders", "place", "--user", str(ADA), "--line", "tea:2", "--key", "k")
    for line in (
        (*place, "--dry-run"),
        place,
        ("orders", "get", "k"),
        ("orders", "cancel", "k", "--dry-run"),
        ("orders", "cancel", "k"),
        ("inventory", "get", "tea"),
        ("inventory", "set", "tea", "--add", "2"),
        ("inventory", "add", "pot", "--dry-run"),
    ):
        result = cli(*line, env=env)
        assert result.code == 0, (line, result.stderr)
    assert cli("orders", "list", env=env).code == 3, "a list is for wherever the URI says"
    assert stocks(shop)["tea"] == 12


def test_what_the_validator_refuses_takes_no_stock(cli: Runner, shop: Documents) -> None:
    shop.create_collection("orders", validator={"$jsonSchema": {"required": ["channel"]}})

    result = ordered(cli, "--line", "tea:2")

    assert (result.code, result.error()["code"]) == (6, "validation")
    assert stocks(shop)["tea"] == 10


def test_another_unique_index_is_not_taken_for_the_key(cli: Runner, shop: Documents) -> None:
    shop.orders.create_index("user_id", unique=True)
    assert ordered(cli, "--line", "tea:2").code == 0

    result = ordered(cli, "--line", "tea:2")

    assert (result.code, result.error()["field"]) == (6, "user_id")
    assert stocks(shop)["tea"] == 8


def test_the_shop_s_own_rules_take_what_is_placed(cli: Runner, shop: Documents) -> None:
    shop.users.drop()
    shop.inventory.update_one({"_id": "mug"}, {"$set": {"stock": 3}})
    assert cli("schema", "apply", "--builtin", "shop", "-q").code == 0
    person = {"_id": ADA, "name": "Ada", "email": "ada@example.com", "created_at": datetime.now(UTC)}
    shop.users.insert_one(person)

    for key, *lines in (
        ("a", "--line", "tea:1"),
        ("b", "--line", "tea:1", "--line", "mug:1@1"),
        ("c", "--line", "tea:1"),
    ):
        assert ordered(cli, *lines, "--key", key).code == 0
    for step, key in (("cancel", "a"), ("complete", "b"), ("refund", "b")):
        assert cli("orders", step, key).code == 0

    assert cli("validators", "check", "orders").code == 0
    assert cli("validators", "check", "inventory").code == 0


def test_an_export_of_orders_can_be_imported_as_orders(cli: Runner, shop: Documents, tmp_path: Path) -> None:
    for key, *lines in (
        ("a", "--line", "tea:1"),
        ("b", "--line", "tea:1", "--line", "mug:1@1"),
        ("c", "--line", "tea:1@2"),
    ):
        assert ordered(cli, *lines, "--key", key).code == 0
    for step in (("cancel", "a"), ("complete", "b"), ("refund", "b", "--restock")):
        assert cli("orders", *step).code == 0
    file = str(tmp_path / "orders.ndjson")
    assert cli("export", "orders", "--out", file).code == 0

    done = cli("import", file, "--into", "copies", "--model", "orders", "-o", "json")

    assert (done.code, done.json()["inserted"], done.json()["rejected"]) == (0, 3, 0)
    assert list(shop.copies.find(sort=[("_id", 1)])) == list(shop.orders.find(sort=[("_id", 1)]))


def test_the_model_is_where_it_was_and_names_the_line_that_does_not_fit() -> None:
    whole = {"user_id": ADA, "amount": 1, "qty": 1, "status": "pending", "created_at": datetime.now(UTC)}
    line = {"product_id": "tea", "qty": 1, "amount": 1}
    assert Order.model_validate({**whole, "lines": [line]}).lines is not None
    for bad, at in (({**line, "qty": 0}, ("lines", 0, "qty")), ({"qty": 1, "amount": 1}, ("lines", 0))):
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - pydantic's own
            Order.model_validate({**whole, "lines": [bad]})
        assert caught.value.errors()[0]["loc"] == at  # type: ignore[attr-defined]  # pydantic's, under ValueError


# ---- many at once


async def test_the_last_pieces_are_sold_once(db: Database, shop: Documents) -> None:
    good, refused = await outcomes(*(placed(db, None, Wanted("tea", 1)) for _ in range(16)))

    assert (len(good), len(refused)) == (10, 6)
    assert all(isinstance(error, RefusedError) for error in refused)
    assert stocks(shop)["tea"] == 0
    assert shop.orders.count_documents({}) == 10


async def test_one_key_at_the_same_instant_is_one_order(db: Database, shop: Documents) -> None:
    good, refused = await outcomes(*(placed(db, "k", Wanted("tea", 2), Wanted("mug", 1)) for _ in range(8)))

    assert refused == []
    assert sorted(made.replayed for made in good) == [False] + [True] * 7
    assert len({str(made.order) for made in good}) == 1
    assert stocks(shop) == {"tea": 8, "mug": 2.0}


async def test_a_key_that_a_find_did_not_see_is_looked_for_again(
    db: Database, shop: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mongod's find may see nothing yet in a collection that another transaction made as its first insert did."""
    first = await placed(db, "k", Wanted("tea", 2))
    look, looks = place.look, []

    async def blind(*given: Any, **more: Any) -> place.Found:
        found = await look(*given, **more)
        looks.append(found)
        if len(looks) > 1:
            return found
        # As it reads where the key isn't there.
        unseen = dataclasses.replace(given[1], key=ObjectId(), key_made=True)
        return await look(given[0], unseen, **more)

    monkeypatch.setattr(place, "look", blind)
    again = await placed(db, "k", Wanted("tea", 2))

    assert (again.replayed, again.order, len(looks)) == (True, first.order, 2)
    assert stocks(shop)["tea"] == 8


async def test_what_another_unique_index_refuses_is_refused(db: Database, shop: Documents) -> None:
    shop.orders.create_index("status", unique=True)
    await placed(db, "k", Wanted("tea", 2))
    with pytest.raises(DuplicateKeyError):
        await placed(db, "other", Wanted("tea", 2))
    assert stocks(shop)["tea"] == 8


async def test_one_key_for_two_orders_at_the_same_instant_is_one_of_them(
    db: Database, shop: Documents
) -> None:
    good, refused = await outcomes(*(placed(db, "k", Wanted("tea", 1 + n % 2)) for n in range(6)))

    (stored,) = shop.orders.find()
    assert {made.order["qty"] for made in good} == {stored["qty"]}
    assert {error.message for error in refused} == {"the key k was used for another order"}
    assert (len(good), stocks(shop)["tea"]) == (3, 10 - stored["qty"])


async def test_crossing_orders_of_the_same_products_all_get_through(db: Database, shop: Documents) -> None:
    lines = [Wanted("tea", 1), Wanted("mug", 1)]
    shop.inventory.update_many({}, {"$set": {"stock": 20}})

    good, refused = await outcomes(*(placed(db, None, *lines[:: 1 - 2 * (n % 2)]) for n in range(10)))

    assert (len(good), refused) == (10, [])
    assert stocks(shop) == {"tea": 10, "mug": 10}


async def test_a_plan_that_is_out_of_date_writes_nothing(db: Database, shop: Documents) -> None:
    request = place.request("k", ADA, [Wanted("mug", 1), Wanted("tea", 10)])
    made = place.plan(request, await place.look(db, request, user=True))
    shop.inventory.update_one({"_id": "tea"}, {"$inc": {"stock": -1}})

    with pytest.raises(RefusedError, match="not what it was"):
        await transactions.run(db, lambda session: place.write(db, made, session), seconds=SECONDS)

    assert (stocks(shop), shop.orders.count_documents({})) == ({"tea": 9, "mug": 3.0}, 0)


async def test_a_step_that_is_out_of_date_writes_nothing(db: Database, shop: Documents) -> None:
    await placed(db, "k", Wanted("tea", 4))
    step = Step("cancel", restock=True)
    made = steps.plan(step, await steps.look(db, "k", step))
    shop.orders.update_one({"_id": "k"}, {"$set": {"status": "completed"}})

    with pytest.raises(RefusedError, match="not what it was"):
        await transactions.run(db, lambda session: steps.write(db, made, session), seconds=SECONDS)

    assert (stocks(shop)["tea"], (shop.orders.find_one() or {})["status"]) == (6, "completed")


async def test_many_cancels_put_the_stock_back_once(db: Database, shop: Documents) -> None:
    await placed(db, "k", Wanted("tea", 4), Wanted("mug", 3))

    done, refused = await outcomes(
        *(steps.take(db, "k", Step("cancel", restock=True), seconds=SECONDS) for _ in range(10))
    )

    assert refused == []
    assert sorted(made.replayed for made in done) == [False] + [True] * 9
    assert stocks(shop) == {"tea": 10, "mug": 3.0}


async def test_of_cancel_and_complete_at_once_one_wins_and_the_other_is_told(
    db: Database, shop: Documents
) -> None:
    won = set()
    for number in range(6):
        await placed(db, f"k{number}", Wanted("tea", 1))
        both = [Step("cancel", restock=True), Step("complete")]
        random.Random(number).shuffle(both)
        good, refused = await outcomes(
            *(steps.take(db, f"k{number}", step, seconds=SECONDS) for step in both)
        )
        (made,), (error,) = good, refused
        won.add(made.order["status"])
        assert isinstance(error, RefusedError)
        assert error.details["status"] == made.order["status"]
        assert shop.orders.find_one({"_id": f"k{number}"}) == made.order
    sold = shop.orders.count_documents({"status": "completed"})
    assert stocks(shop)["tea"] == 10 - sold
    assert won <= {"completed", "cancelled"}


# ---- steps


def test_the_life_of_an_order(cli: Runner, shop: Documents) -> None:
    ordered(cli, "--line", "tea:2", "--line", "mug:1", "--key", "k")

    completed = cli("orders", "complete", "k", "-o", "json")
    too_late = cli("orders", "cancel", "k", "-o", "json")
    again = cli("orders", "complete", "k", "-o", "json")
    refunded = cli("orders", "refund", "k", "--restock", "-o", "json")

    assert (completed.code, completed.json()["status"], completed.json()["replayed"]) == (
        0,
        "completed",
        False,
    )
    assert (too_late.code, too_late.error()["legal"]) == (6, ["refunded"])
    assert (again.code, again.json()) == (0, {**completed.json(), "replayed": True})
    assert (refunded.code, refunded.json()["restocked"]) == (0, True)
    assert stocks(shop) == {"tea": 10, "mug": 3.0}
    order = shop.orders.find_one() or {}
    assert order["created_at"] <= order["completed_at"] <= order["refunded_at"]
    assert cli("orders", "get", "k", "-o", "json").json()["status"] == "refunded"


def test_a_refund_leaves_the_stock_and_a_cancel_without_restock_too(cli: Runner, shop: Documents) -> None:
    for key in ("a", "b"):
        ordered(cli, "--line", "tea:2", "--key", key)
    cli("orders", "complete", "a")

    assert cli("orders", "refund", "a").code == 0
    assert cli("orders", "cancel", "b", "--no-restock").code == 0

    assert stocks(shop)["tea"] == 6
    assert [order["restocked"] for order in shop.orders.find()] == [False, False]


def test_dry_runs_of_steps_write_nothing(cli: Runner, shop: Documents) -> None:
    ordered(cli, "--line", "tea:2", "--key", "k")
    before = everything(shop)

    cancelled = cli("orders", "cancel", "k", "--dry-run", "-o", "json")
    refused = cli("orders", "refund", "k", "--dry-run", "-o", "json")

    assert (cancelled.code, cancelled.json()["status"], cancelled.json()["restocked"]) == (
        0,
        "cancelled",
        True,
    )
    assert cancelled.stderr == "dry run: nothing was written\n"
    assert refused.code == 6
    assert everything(shop) == before


@pytest.mark.parametrize("verb", ["get", "complete", "cancel", "refund"])
def test_an_order_that_is_not_there_is_5(cli: Runner, shop: Documents, verb: str) -> None:
    result = cli("orders", verb, "basket-9", "-o", "json")
    assert (result.code, result.error()["order"]) == (5, "basket-9")
    assert shop.list_collection_names(filter={"name": "orders"}) == []


def test_a_product_that_is_gone_is_named_with_the_way_out(cli: Runner, shop: Documents) -> None:
    ordered(cli, "--line", "tea:2", "--line", "mug:1", "--key", "k")
    shop.inventory.delete_one({"_id": "mug"})

    refused = cli("orders", "cancel", "k", "-o", "json")
    assert (refused.code, refused.error()["product"]) == (6, "mug")
    assert "--no-restock" in refused.error()["hint"]
    assert stocks(shop) == {"tea": 8}, "both or neither"

    assert cli("orders", "cancel", "k", "--no-restock").code == 0
    assert stocks(shop) == {"tea": 8}


def test_orders_of_other_programs(cli: Runner, shop: Documents) -> None:
    shop.orders.insert_many(
        [
            {
                "_id": 7, "id": 99, "user_id": ADA, "product": "tea", "qty": 2.0, "amount": 19.99, "status": "pending",
            },
            {"_id": "x", "product": "Green tea", "amount": "?", "status": "pending", "note": {"a": [1]}},
            {"_id": "y", "status": "paid"},
        ]
    )  # fmt: skip

    shown = cli("orders", "get", "7", "-o", "json").json()
    assert shown == {
        "id": "7",
        "user_id": str(ADA),
        "product": "tea",
        "qty": 2.0,
        "amount": "19.99",
        "status": "pending",
    }
    assert cli("orders", "cancel", "7").code == 0
    assert stocks(shop)["tea"] == 12
    assert cli("orders", "cancel", "x", "-o", "json").error()["exit"] == 6
    assert cli("orders", "complete", "x", "-o", "json").json()["note"] == {"a": [1]}
    paid = cli("orders", "complete", "y", "-o", "json").error()
    assert (paid["exit"], paid["status"]) == (6, "paid")
    listed = cli("orders", "list")
    assert listed.code == 0
    assert "Green tea" in listed.stdout


# ---- what the network does


@contextmanager
def failing(db: Documents, **data: Any) -> Iterator[dict[str, str]]:
    """A fail point for one client alone; yields its environment, and how often the point was entered before."""
    name = f"t{uuid.uuid4().hex[:10]}"
    host, port = db.client.primary or ("", 0)
    point, mode = {"configureFailPoint": "failCommand"}, data.pop("mode", "alwaysOn")
    set_to = db.client.admin.command({**point, "mode": mode, "data": {**data, "appName": name}})
    uri = f"mongodb://{host}:{port}/?directConnection=true&appName={name}"
    try:
        yield {"MOTORCTL_URI": uri, "ENTERED": str(set_to["count"])}
    finally:
        db.client.admin.command({**point, "mode": "off"})


def interrupted(db: Documents, line: list[str], env: dict[str, str]) -> tuple[int, str, str]:
    """Run a command line and press Ctrl-C when it has come to the fail point; return (code, stdout, stderr)."""
    process = subprocess.Popen(
        line,
        env={**os.environ, "MOTORCTL_DB": db.name, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    db.client.admin.command(
        {"waitForFailPoint": "failCommand", "timesEntered": int(env["ENTERED"]) + 1, "maxTimeMS": 20_000}
    )
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


@pytest.mark.parametrize("command", ["update", "insert", "commitTransaction"])
def test_an_error_on_the_way_is_tried_again_and_done_once(cli: Runner, shop: Documents, command: str) -> None:
    transient = {"errorCode": 251, "errorLabels": ["TransientTransactionError"], "mode": {"times": 1}}
    with failing(shop, failCommands=[command], **transient) as env:
        result = ordered(cli, "--line", "tea:2", "--key", "k", env=env)

    assert (result.code, result.json()["replayed"]) == (0, False)
    assert (stocks(shop)["tea"], shop.orders.count_documents({})) == (8, 1)


def test_a_commit_whose_answer_is_lost_is_9_with_the_key(cli: Runner, shop: Documents) -> None:
    lost = {"failCommands": ["commitTransaction"], "closeConnection": True}
    with failing(shop, **lost) as env:
        result = ordered(cli, "--line", "tea:2", "--timeout", "0.5", env=env)
    key = result.error()["order"]
    assert (result.code, result.stdout) == (9, "")
    assert result.stderr.startswith(f"key {key}: "), "it is told before anything is written"
    assert f"motorctl orders get {key}" in result.error()["hint"]

    # The same command with this key: whatever became of the first, there is one order.
    again = ordered(cli, "--line", "tea:2", "--key", key)
    assert again.code == 0
    assert (stocks(shop)["tea"], shop.orders.count_documents({})) == (8, 1)

    with failing(shop, **lost) as env:
        cancelled = cli("orders", "cancel", key, "--timeout", "0.5", "-o", "json", env=env)
    assert (cancelled.code, cancelled.error()["order"]) == (9, key)
    assert cli("orders", "cancel", key).code == 0
    assert stocks(shop)["tea"] == 10


def test_no_answer_before_the_commit_is_3_and_nothing_is_written(cli: Runner, shop: Documents) -> None:
    before = everything(shop)
    transient = {"errorCode": 251, "errorLabels": ["TransientTransactionError"]}
    with failing(shop, failCommands=["update"], **transient) as env:
        result = ordered(cli, "--line", "tea:2", "--key", "k", "--timeout", "0.5", env=env)

    assert (result.code, result.error()["order"]) == (3, "k")
    assert "--key k may be used again" in result.error()["hint"]
    assert {**everything(shop), "orders": []} == {**before, "orders": []}


async def test_a_key_that_is_used_after_the_look_is_found_by_the_next_one(
    db: Database, shop: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No duplicate key: the snapshot can't see the other order, so that the server calls it a conflict."""
    look, looks = place.look, []

    async def late(*arguments: Any, **options: Any) -> place.Found:
        found = await look(*arguments, **options)
        looks.append(found.order)
        if len(looks) == 1:
            made = place.plan(place.request("k", ADA, [Wanted("mug", 1)]), found)
            shop.orders.insert_one(dict(made.order))
        return found

    monkeypatch.setattr(place, "look", late)

    assert (await placed(db, "k", Wanted("mug", 1))).replayed
    assert [order is None for order in looks] == [True, False]
    assert stocks(shop) == {"tea": 10, "mug": 3.0}


async def test_a_duplicate_takes_no_stock(
    db: Database, shop: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    await placed(db, "k", Wanted("tea", 2))
    products = list(shop.inventory.find())

    async def blind(*_arguments: Any, **_options: Any) -> place.Found:
        return place.Found(None, True, products, datetime.now(UTC))

    monkeypatch.setattr(place, "look", blind)

    with pytest.raises(DuplicateKeyError):
        await place.place(db, place.request("k", ADA, [Wanted("tea", 2)]), user=True, seconds=SECONDS)
    assert stocks(shop)["tea"] == 8


def test_how_many_round_trips_it_takes(cli: Runner, shop: Documents) -> None:
    def commands(*arguments: str) -> list[str]:
        result = cli("orders", *arguments, "--slow-ms", "0")
        assert result.code == 0, result.stderr
        sent = [line.split()[1] for line in result.stderr.splitlines() if line.startswith("slow: ")]
        assert sent.pop() == "endSessions"
        return sent

    user = ("--user", str(ADA))
    made = commands("place", *user, "--line", "tea:1", "--line", "mug:1")
    keyed = commands("place", *user, "--line", "tea:1", "--line", "mug:1", "--key", "k")
    replayed = commands("place", *user, "--line", "tea:1", "--line", "mug:1", "--key", "k")

    # hello and the user are asked for at the same time
    assert sorted(made[:2]) == ["find", "hello"]
    assert made[2:] == ["find", "update", "insert", "commitTransaction"]
    assert keyed[2:] == ["find", "find", "update", "insert", "commitTransaction"]
    assert replayed[2:] == ["find", "commitTransaction"]
    assert commands("complete", "k") == ["hello", "aggregate", "update", "commitTransaction"]
    shop.orders.update_one({"_id": "k"}, {"$set": {"status": "pending"}})
    assert commands("cancel", "k") == ["hello", "aggregate", "find", "update", "update", "commitTransaction"]


# ---- list


@pytest.fixture
def orders(shop: Documents) -> list[str]:
    """Five orders, one a day; returns their ids, the newest first."""
    day = datetime(2026, 3, 1, tzinfo=UTC)
    status = ["completed", "pending", "pending", "cancelled", "refunded"]
    shop.orders.insert_many(
        {
            "_id": f"o{number}",
            "user_id": ADA if number % 2 else ObjectId(),
            "product_id": "tea",
            "qty": number + 1,
            "amount": Decimal128(f"{number}.50"),
            "status": status[number],
            "created_at": day + timedelta(days=number),
        }
        for number in (3, 0, 4, 1, 2)
    )
    return [f"o{number}" for number in range(4, -1, -1)]


def test_orders_are_listed_newest_first(cli: Runner, orders: list[str]) -> None:
    def ids(*arguments: str) -> list[str]:
        result = cli("orders", "list", *arguments, "-o", "json")
        assert result.code == 0, result.stderr
        return [row["id"] for row in result.json()]

    assert ids() == ids("--all") == orders
    assert ids("--status", "pending") == ["o2", "o1"]
    assert ids("--status", "pending", "--status", "completed", "--limit", "2") == ["o2", "o1"]
    assert ids("--user", str(ADA)) == ["o3", "o1"]
    assert ids("--user", str(ADA), "--status", "pending", "--filter", '{"qty": {"$gt": 1}}') == ["o1"]
    assert ids("--sort", "qty", "--skip", "1", "--limit", "2") == ["o1", "o2"]
    assert ids("--page", "2", "--page-size", "2") == ["o2", "o1"]


def test_a_list_says_what_it_is_of(cli: Runner, shop: Documents) -> None:
    ordered(cli, "--line", "tea:2", "--line", "mug:1", "--key", "k")

    table, csv = cli("orders", "list"), cli("orders", "list", "-o", "csv")
    row = cli("orders", "list", "-o", "json").json()[0]

    assert table.stdout.splitlines()[0].split() == [
        "id", "user_id", "products", "qty", "amount", "status", "created_at",
    ]  # fmt: skip
    assert "tea:2, mug:1" in table.stdout
    assert csv.stdout.splitlines()[1].startswith(f'k,{ADA},"tea:2, mug:1",3,18.00,pending,')
    assert ("products" in row, row["lines"][1]["price"]) == (False, "9.00")
    assert "tea:2@4.50 = 9.00, mug:1@9.00 = 9.00" in cli("orders", "get", "k").stdout
    assert shop.orders.count_documents({}) == 1


def test_a_narrow_terminal_goes_without_the_user(cli: Runner, orders: list[str]) -> None:
    narrow, wide = (cli("orders", "list", tty=True, columns=n, env={"NO_COLOR": "1"}) for n in (80, 120))
    assert (str(ADA) in narrow.stdout, str(ADA) in wide.stdout) == (False, True)
    assert ("without user_id" in narrow.stdout, "without" in wide.stdout) == (True, False)
    assert all(one in narrow.stdout for one in orders)
    assert max(map(len, narrow.stdout.splitlines())) <= 80


def test_ctrl_c_before_the_commit_orders_nothing(shop: Documents) -> None:
    blocking = {"failCommands": ["update"], "blockConnection": True, "blockTimeMS": 1000}
    line = command("orders", "place", "--user", str(ADA), "--line", "tea:2", "--key", "k")
    with failing(shop, **blocking) as env:
        code, out, err = interrupted(shop, line, env)

    assert (code, out) == (130, "")
    assert "stopped before the commit: nothing was written (order k)" in err
    assert (stocks(shop)["tea"], shop.orders.count_documents({})) == (10, 0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--status", "complete"), "did you mean 'completed'?"),
        (("--user", "ada"), "24 hexadecimal digits"),
        (("--all", "--page", "2"), ""),
    ],
)
def test_what_cannot_be_listed_is_wrong_usage(cli: Runner, arguments: tuple[str, ...], said: str) -> None:
    result = cli("orders", "list", *arguments)
    assert (result.code, result.stdout) == (2, "")
    assert said in result.stderr


def test_the_shipped_indexes_serve_the_list(cli: Runner, shop: Documents) -> None:
    shop.users.drop()
    assert cli("schema", "apply", "--builtin", "shop", "-q").code == 0

    for condition in ({}, {"status": "pending"}):
        asked = {"find": "orders", "filter": condition, "sort": dict(document.NEWEST), "limit": 20}
        plan = str(shop.command("explain", asked, verbosity="queryPlanner")["queryPlanner"]["winningPlan"])
        assert ("IXSCAN" in plan, "'SORT'" in plan, "COLLSCAN" in plan) == (True, False, False), plan


# ---- against a plain model

_LINES = st.dictionaries(st.sampled_from(["tea", "mug"]), st.integers(1, 4), min_size=1)
_ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("place"), st.sampled_from("abcde"), _LINES),
        st.tuples(st.sampled_from(["complete", "cancel", "refund"]), st.sampled_from("abcde"), st.booleans()),
    ),
    max_size=14,
)
_LEADS: dict[tuple[str, str], str] = {
    ("pending", "complete"): "completed",
    ("pending", "cancel"): "cancelled",
    ("completed", "refund"): "refunded",
}


class Model:
    """What a shop with a tea and a mug should do, on dictionaries."""

    def __init__(self) -> None:
        self.stock = {"tea": 10, "mug": 6}
        self.orders: dict[str, Row] = {}

    def place(self, key: str, lines: dict[str, int]) -> str:
        if key in self.orders:
            return "replayed" if self.orders[key]["lines"] == lines else "refused"
        if any(self.stock[product] < qty for product, qty in lines.items()):
            return "refused"
        for product, qty in lines.items():
            self.stock[product] -= qty
        self.orders[key] = {"lines": dict(lines), "status": "pending", "back": None}
        return "done"

    def step(self, verb: str, key: str, *, restock: bool) -> str:
        order = self.orders.get(key)
        if order is None:
            return "absent"
        after = {"complete": "completed", "cancel": "cancelled", "refund": "refunded"}[verb]
        if order["status"] == after:
            return "replayed" if verb == "complete" or order["back"] == restock else "refused"
        if (order["status"], verb) not in _LEADS:
            return "refused"
        order["status"] = after
        if verb != "complete":
            order["back"] = restock
            for product, qty in order["lines"].items() if restock else ():
                self.stock[product] += qty
        return "done"


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=_ACTIONS)
async def test_a_shop_does_what_a_plain_model_of_it_does(
    db: Database, sync_db: Documents, actions: list[tuple[str, str, Any]]
) -> None:
    model = Model()
    sync_db.orders.delete_many({})
    sync_db.inventory.delete_many({})
    sync_db.inventory.insert_many(
        [
            {"_id": "tea", "price": 1.25, "stock": Int64(10)},
            {"_id": "mug", "price": 3, "stock": Decimal128("6")},
        ]
    )
    prices = {"tea": Decimal("1.25"), "mug": Decimal(3)}

    for action, key, what in actions:
        if action == "place":
            expected = model.place(key, what)
            got = await _said(placed(db, key, *(Wanted(product, qty) for product, qty in what.items())))
        else:
            verb: Verb = action  # type: ignore[assignment]  # one of the table's words
            restock = what and verb != "complete"
            expected = model.step(verb, key, restock=restock)
            got = await _said(steps.take(db, key, Step(verb, restock), seconds=SECONDS))
        assert got == expected, (action, key, what)

    found = {product["_id"]: inventory.whole(product["stock"]) for product in sync_db.inventory.find()}
    assert found == model.stock
    stored = {order["_id"]: order for order in sync_db.orders.find()}
    assert {key: order["status"] for key, order in stored.items()} == {
        key: order["status"] for key, order in model.orders.items()
    }
    for key, order in model.orders.items():
        amount = sum((prices[product] * qty for product, qty in order["lines"].items()), Decimal(0))
        assert stored[key]["amount"].to_decimal() == amount
    # what is there and what is sold is what there was
    for product, there in (("tea", 10), ("mug", 6)):
        sold = sum(
            order["lines"].get(product, 0) for order in model.orders.values() if order["back"] is not True
        )
        assert found[product] == there - sold


async def _said(work: Any) -> str:
    try:
        return "replayed" if (await work).replayed else "done"
    except NotFoundError:
        return "absent"
    except RefusedError:
        return "refused"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("place", "--user", str(ADA), "--line", "tea:2", "--key", "k"), "order k is placed, but"),
        (("cancel", "there"), "order there is cancelled, but"),
    ],
)
def test_a_change_that_can_not_be_shown_is_said_to_be_made(
    shop: Documents, server_uri: str, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    """Else it reads as if nothing had been done, and is done again."""
    order = {"_id": "there", "user_id": ADA, "product_id": "tea", "qty": 1, "amount": 5, "status": "pending"}
    shop.orders.insert_one({**order, "created_at": datetime.now(UTC)})
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command("orders", *arguments),
            cwd=tmp_path,
            env={**os.environ, "MOTORCTL_URI": server_uri, "MOTORCTL_DB": shop.name},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, said in done.stderr) == (1, True), done.stderr
    assert stocks(shop)["tea"] == {"place": 8, "cancel": 11}[arguments[0]]
