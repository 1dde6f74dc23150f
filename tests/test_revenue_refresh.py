"""A report that is kept in a collection: only what has changed is computed again, and no figure is ever wrong."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pymongo
import pytest
from bson import Decimal128, Int64, Timestamp
from conftest import Server
from pymongo.errors import OperationFailure

from motorctl.core import periods
from motorctl.core.driver import server_version
from motorctl.core.revenue import changes, expression, merging, refresh
from motorctl.core.revenue.over_time import Series, over_time
from motorctl.core.revenue.selection import Orders
from motorctl.errors import RefusedError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Runner

    from motorctl.client import Database
    from motorctl.core.revenue.refresh import Refreshed

INTO = "revenue_by_month"
MONTHLY = Series("month")
BY = ("hour", "day", "week", "month")
ORDERS = Orders()


AMOUNT = Decimal128("9.99")


def order(amount: Any = AMOUNT, at: datetime | None = None, **more: Any) -> dict[str, Any]:
    moment = at or datetime(2026, 3, 10, tzinfo=UTC)
    return {"amount": amount, "status": "completed", "created_at": moment, **more}


def month(number: int) -> datetime:
    return datetime(2026, number, 10, tzinfo=UTC)


async def run(db: Database, orders: Orders = ORDERS, series: Series = MONTHLY, **more: Any) -> Refreshed:
    return await refresh.refresh(db, orders, series, INTO, version=await server_version(db), **more)


async def kept(db: Database) -> dict[str, tuple[Decimal, int, Decimal]]:
    """Return the kept figures of each period that has orders."""
    return {
        one["_id"]: (one["revenue"].to_decimal(), one["orders"], one["average"].to_decimal())
        async for one in db[INTO].find({"orders": {"$gt": 0}}).sort("_id", 1)
    }


async def asked(db: Database, series: Series = MONTHLY) -> dict[str, tuple[Decimal, int, Decimal]]:
    """Return the same figures of a report that is computed as a whole."""
    report = await over_time(db, ORDERS, series, await server_version(db))
    return {row["period"]: (row["revenue"], row["orders"], row["average"]) for row in report.rows}


async def test_the_first_run_computes_all_and_the_next_nothing(db: Database) -> None:
    await db.orders.insert_many([order(at=month(number)) for number in range(1, 6) for _ in range(number)])
    await db.orders.insert_many([order(0.1, month(6)) for _ in range(10)])
    await db.orders.insert_one(order("a string", month(7)))

    first = await run(db)

    assert (first.full, first.reason) == (True, "it is the first run")
    assert first.periods == [f"2026-0{number}" for number in range(1, 8)]
    assert await kept(db) == await asked(db)
    june, july = await db[INTO].find_one({"_id": "2026-06"}), await db[INTO].find_one({"_id": "2026-07"})
    assert june is not None
    assert july is not None
    assert (june["revenue"], june["average"]) == (Decimal128("1.00"), Decimal128("0.10"))
    assert (july["orders"], july["skipped"], july["revenue"]) == (0, 1, Decimal128("0.00"))

    again = await run(db)
    assert (again.full, again.periods) == (False, [])
    assert june == await db[INTO].find_one({"_id": "2026-06"}), "nothing was written again"


async def test_a_late_order_is_found_and_only_its_period_computed(db: Database) -> None:
    await db.orders.insert_many([order(at=month(number)) for number in range(1, 6)])
    await run(db)
    before = await db[INTO].find_one({"_id": "2026-04"})

    await db.orders.insert_one(order(Decimal128("100.01"), month(2)))
    found = await run(db)

    assert (found.full, found.periods) == (False, ["2026-02"])
    assert (await kept(db))["2026-02"] == (Decimal("110.00"), 2, Decimal("55.00"))
    assert before == await db[INTO].find_one({"_id": "2026-04"})


async def test_a_changed_status_or_amount_changes_its_period(db: Database) -> None:
    await db.orders.insert_many([order(at=month(number), _id=number) for number in range(1, 6)])
    await run(db)

    await db.orders.update_one({"_id": 2}, {"$set": {"status": "refunded"}})
    await db.orders.update_one({"_id": 4}, {"$set": {"amount": 5}})
    found = await run(db)

    assert (found.full, found.periods) == (False, ["2026-02", "2026-04"])
    assert await kept(db) == await asked(db)
    emptied = await db[INTO].find_one({"_id": "2026-02"})
    assert emptied is not None
    assert (emptied["orders"], emptied["revenue"]) == (0, Decimal128("0.00")), "zero, and still there"


@pytest.mark.parametrize("images", [True, False])
async def test_what_an_order_was_is_known_with_pre_images_and_else_all_is_computed(
    db: Database, images: bool
) -> None:
    if images:
        await db.create_collection("orders", changeStreamPreAndPostImages={"enabled": True})
    await db.orders.insert_many([order(at=month(number), _id=number) for number in range(1, 8)])
    await run(db)

    async def after(reason: str, *periods: str) -> None:
        found = await run(db)
        assert found.full is not images
        if images:
            assert found.periods == list(periods)
        else:
            assert reason in str(found.reason)
        assert await kept(db) == await asked(db)

    await db.orders.delete_one({"_id": 3})
    await after("deleted", "2026-03")
    await db.orders.update_one({"_id": 4}, {"$set": {"created_at": month(9)}})
    await after("created_at of an order was changed", "2026-04", "2026-09")
    await db.orders.replace_one({"_id": 5}, order(at=month(6)))
    await after("replaced", "2026-05", "2026-06")


async def test_a_collection_that_was_dropped_and_made_again(db: Database) -> None:
    await db.orders.insert_many([order(at=month(number)) for number in range(1, 4)])
    await run(db)
    await db.orders.drop()
    await db.orders.insert_one(order(at=month(8)))

    found = await run(db)

    assert found.full
    assert await kept(db) == await asked(db) == {"2026-08": (Decimal("9.99"), 1, Decimal("9.99"))}
    # The record goes on behind the drop: what came after it is looked at once more.
    assert (await run(db)).periods == ["2026-08"]
    assert (await run(db)).periods == []
    await db.orders.insert_one(order(at=month(9)))
    assert (await run(db)).periods == ["2026-09"]


async def test_a_record_that_no_longer_goes_back_is_said(db: Database) -> None:
    await db.orders.insert_one(order())
    await run(db)
    await db.orders.insert_one(order(at=month(4)))
    lost = {"failCommands": ["aggregate"], "errorCode": 286, "namespace": f"{db.name}.orders"}
    point = {"configureFailPoint": "failCommand", "mode": {"times": 1}, "data": lost}
    await db.client.admin.command(point)

    found = await run(db)

    assert (found.full, found.reason) == (
        True,
        "the server's record of changes no longer goes back to the last run",
    )
    assert await kept(db) == await asked(db)
    assert (await run(db)).full is False


async def test_a_dry_run_says_what_would_be_computed_and_writes_nothing(db: Database) -> None:
    await db.orders.insert_one(order())
    assert (await run(db, dry_run=True)).full
    assert await db.list_collection_names() == ["orders"]
    await run(db)
    await db.orders.insert_one(order(at=month(1)))

    assert (await run(db, dry_run=True)).periods == ["2026-01"]
    assert "2026-01" not in await kept(db)
    assert (await run(db)).periods == ["2026-01"]


async def test_another_report_and_foreign_documents_are_refused(db: Database) -> None:
    await db.orders.insert_one(order())
    await run(db)
    with pytest.raises(RefusedError, match="kept with another by"):
        await run(db, series=Series("day"))
    with pytest.raises(RefusedError, match="status"):
        await run(db, orders=Orders(status=()))
    await db.notes.insert_one({})
    with pytest.raises(RefusedError, match="no kept report"):
        await refresh.refresh(db, ORDERS, MONTHLY, "notes", version=(6, 0))
    for wrong in (Orders(collection=INTO), Orders(since=month(1)), Orders(date="a\\.b")):
        with pytest.raises(UsageError):
            await run(db, orders=wrong)
    with pytest.raises(UsageError, match="compare"):
        await run(db, series=Series("month", compare="year"))


async def test_statuses_and_currencies_are_told_apart(db: Database) -> None:
    orders = Orders(status=(), currency="currency")
    series = Series("month", by_status=True)
    await db.orders.insert_many(
        [
            order(1, currency="EUR"),
            order(2, currency="USD"),
            order(4, currency="EUR", status="pending"),
            order(None),
        ]
    )

    await run(db, orders, series)

    (document,) = [one async for one in db[INTO].find()]
    figures = [
        (g["status"], g["currency"], g["revenue"].to_decimal(), g["orders"]) for g in document["groups"]
    ]
    assert sorted(figures) == [
        ("completed", "EUR", 1, 1), ("completed", "USD", 2, 1), ("pending", "EUR", 4, 1),
    ]  # fmt: skip
    assert document["skipped"] == 1
    await db.orders.update_many({}, {"$set": {"status": "refunded", "currency": "EUR"}})
    assert (await run(db, orders, series)).periods == ["2026-03"]
    (document,) = [one async for one in db[INTO].find()]
    assert [(g["status"], g["revenue"].to_decimal()) for g in document["groups"]] == [("refunded", 7)]


async def test_a_slower_run_never_undoes_a_later_one(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run is held up between reading the changes and writing; meanwhile orders change and another one runs."""
    await db.orders.insert_many([order(at=month(1), _id=1), order(at=month(2), _id=2)])
    await run(db)
    await db.orders.insert_many([order(at=month(1), _id=3), order(at=month(3), _id=4)])
    original = refresh._compute
    held: list[bool] = []

    async def slow(*arguments: Any) -> None:
        if not held:
            held.append(True)
            # What the slow run will write was computed before these, as far as its time goes.
            await db.orders.update_many({"_id": {"$in": [3, 4]}}, {"$set": {"status": "cancelled"}})
            await run(db)
            stale = arguments[-1]
            await db[INTO].update_one({"_id": "2026-03"}, {"$set": {"revenue": Decimal128("0.00")}})
            assert (await db[INTO].find_one({"_id": "2026-01"}))["as_of"] > stale  # type: ignore[index]  # it is there, or the test fails here
        await original(*arguments)

    monkeypatch.setattr(refresh, "_compute", slow)
    await run(db)

    assert held
    assert await kept(db) == await asked(db)
    assert (await run(db)).periods == []


async def test_a_run_that_dies_before_it_has_stored_its_place_is_repeated(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await db.orders.insert_one(order(at=month(1)))
    await run(db)
    await db.orders.insert_one(order(at=month(2)))

    async def dies(*_arguments: Any, **_options: Any) -> Timestamp:
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(refresh, "_store", dies)
        with pytest.raises(ConnectionError):
            await run(db)

    assert (await run(db)).periods == ["2026-02"]
    assert await kept(db) == await asked(db)


async def test_a_first_run_that_dies_in_the_middle_is_gone_on_with(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await db.orders.insert_one(order())

    async def dies(*_arguments: Any, **_options: Any) -> Timestamp:
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(refresh, "_store", dies)
        with pytest.raises(ConnectionError):
            await run(db)

    assert await kept(db), "it has written, and not said how far it is"
    with pytest.raises(RefusedError, match="another by"):
        await run(db, series=Series("day"))
    found = await run(db)
    assert (found.full, found.reason) == (True, "it is the first run")
    assert (await run(db)).full is False


async def test_a_first_run_that_wrote_nothing_leaves_nothing(db: Database) -> None:
    await db.orders.insert_one(order())

    with pytest.raises(UsageError, match="time zone"):
        await run(db, series=Series("month", "Mars/Olympus"))
    refused = {"failCommands": ["aggregate"], "errorCode": 20, "namespace": f"{db.name}.orders"}
    point = {"configureFailPoint": "failCommand", "mode": {"skip": 1}, "data": refused}
    await db.client.admin.command(point)
    try:
        with pytest.raises(OperationFailure):
            await run(db, series=Series("day"))
    finally:
        await db.client.admin.command({**point, "mode": "off"})

    assert await db[refresh.STATE].count_documents({}) == 0
    assert (await run(db)).periods == ["2026-03"]


async def test_two_first_runs_that_ask_for_different_reports_do_not_mix(db: Database) -> None:
    await db.orders.insert_many([order(at=month(number)) for number in range(1, 6)])
    days = Series("day")

    found = await asyncio.gather(run(db), run(db, series=days), return_exceptions=True)

    refused = [one for one in found if isinstance(one, RefusedError)]
    assert len(refused) == 1
    assert await kept(db) == await asked(db, days if isinstance(found[0], RefusedError) else MONTHLY)


async def test_changes_that_a_run_could_not_see_are_not_passed_over(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first run has no right to the record of changes; a later one has."""
    await db.orders.insert_one(order())

    async def blind(*_arguments: Any, **_options: Any) -> changes.Changes:
        return changes.Changes(unknown="no right")

    with monkeypatch.context() as patch:
        patch.setattr(changes, "since", blind)
        await run(db)
    await db.orders.insert_one(order(at=month(5)))

    found = await run(db)

    assert (found.full, found.reason) == (True, "the last run couldn't see the record of changes")
    assert await kept(db) == await asked(db)
    assert (await run(db)).full is False


async def test_more_changes_than_can_be_read_have_all_computed(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await db.orders.insert_one(order())
    await run(db)
    await db.orders.insert_many([order(at=month(number)) for number in range(1, 6)])
    monkeypatch.setattr(changes, "LONGEST_READ", -1.0)

    found = await run(db)

    assert found.full
    assert "more changes than can be read" in str(found.reason)
    assert await kept(db) == await asked(db)
    monkeypatch.undo()
    assert (await run(db)).periods == []


async def test_what_an_overtaken_run_left_behind_is_computed_again(db: Database) -> None:
    """A run over all periods knows none that a slower one writes after it, and that one was killed then."""
    await db.orders.insert_one(order())
    await run(db)
    state = await db[refresh.STATE].find_one({"_id": INTO})
    assert state is not None
    stale = {"_id": "2026-05", "revenue": Decimal128("7"), "orders": 1, "average": Decimal128("7")}
    await db[INTO].insert_one({**stale, "as_of": Timestamp(state["whole_as_of"].time - 1, 1)})

    assert (await run(db)).periods == ["2026-05"]
    assert await kept(db) == await asked(db)
    assert (await run(db)).periods == []


async def test_a_date_at_the_end_of_the_calendar_stops_no_run(db: Database) -> None:
    await db.orders.insert_one(order())
    series = Series("day", "Asia/Tokyo")
    await run(db, series=series)
    ends = [datetime(9999, 12, 31, 23, 30, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC)]
    await db.orders.insert_many([order(at=at) for at in (*ends, datetime(9999, 12, 30, tzinfo=UTC))])

    assert (await run(db, series=series)).periods == ["9999-12-30"]
    assert await kept(db) == await asked(db, series)


async def test_a_period_is_the_one_that_the_server_says(db: Database) -> None:
    """Mexico has had no summer time since 2022, which a server that was built before doesn't know."""
    series = Series("day", "America/Mexico_City")
    midnight = datetime(2026, 7, 2, 6, tzinfo=UTC)
    await db.orders.insert_many([order(at=midnight + timedelta(minutes=number)) for number in (-30, 30)])
    await run(db, series=series)

    for number in (-40, 40):
        await db.orders.insert_one(order(at=midnight + timedelta(minutes=number)))
        assert len((await run(db, series=series)).periods) == 1
        assert await kept(db) == await asked(db, series)


async def test_figures_are_rounded_as_those_of_a_whole_report(db: Database) -> None:
    """Doubles by 15 digits first, integers beyond 2^63, quotients, and a status that is null or missing."""
    amounts: dict[int, list[Any]] = {
        1: [0.1] * 10,
        2: [Decimal128("0.005"), 0.01],
        3: [Int64(2**63 - 1), Int64(2**63 - 1)],
        4: [12345678901234.56, 0.01],
        5: [Decimal128("0.0149999999999999999"), 0.0],
        6: [1e-200],
        7: [-5, 2.5, 2.5],
    }
    await db.orders.insert_many(
        [order(one, month(number)) for number, all_ in amounts.items() for one in all_]
    )
    await run(db)
    assert await kept(db) == await asked(db)

    thirds = Orders(amount_expression=expression.parse("amount / 3"))
    await refresh.refresh(db, thirds, MONTHLY, "thirds", version=(6, 0))
    report = await over_time(db, thirds, MONTHLY, (6, 0))
    found = {one["_id"]: one["revenue"].to_decimal() async for one in db.thirds.find()}
    assert found == {row["period"]: row["revenue"] for row in report.rows}
    assert report.rounded

    await db.orders.insert_many([order(1, month(8), status=None), {"amount": 2, "created_at": month(8)}])
    by_status = Series("month", by_status=True)
    await refresh.refresh(db, Orders(status=()), by_status, "by_status", version=(6, 0))
    august = await db.by_status.find_one({"_id": "2026-08"})
    assert august is not None
    assert [(one["status"], one["orders"]) for one in august["groups"]] == [(None, 2)]


@pytest.mark.parametrize("seed", range(4))
async def test_any_changes_and_any_number_of_runs_at_once_end_right(db: Database, seed: int) -> None:
    chance = random.Random(seed)
    zone = chance.choice(["UTC", "America/New_York", "Australia/Lord_Howe"])
    series = Series(BY[seed], zone)

    async def change() -> None:
        for _ in range(60):
            number = chance.randrange(40)
            at = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(hours=chance.randrange(60 * 24))
            match chance.randrange(5):
                case 0 | 1:
                    await db.orders.insert_one(order(chance.choice([1, 0.25, Decimal128("0.07"), "x"]), at))
                case 2:
                    status = chance.choice(["completed", "cancelled"])
                    await db.orders.update_one({"_id": number}, {"$set": {"status": status}})
                case 3:
                    await db.orders.update_one({"_id": number}, {"$set": {"created_at": at}}, upsert=True)
                case 4:
                    await db.orders.delete_one({"_id": number})

    async def runs() -> None:
        for _ in range(4):
            await run(db, series=series)

    await db.orders.insert_many([order(_id=number) for number in range(40)])
    await asyncio.gather(change(), runs(), runs(), change())
    await run(db, series=series)

    found = {periods.shown(label, periods.zone(zone)): figures for label, figures in (await kept(db)).items()}
    assert found == await asked(db, series)


def test_a_standalone_server_computes_all_each_time(tmp_path: Path, cli: Runner) -> None:
    server = Server(tmp_path / "server", replica_set=False)
    try:
        with pymongo.MongoClient[dict[str, Any]](server.uri) as client:
            client["shop"]["orders"].insert_one(order())
            words = (
                "revenue",
                "over-time",
                "--refresh-into",
                INTO,
                "--uri",
                server.uri,
                "--db",
                "shop",
                "-o",
                "json",
            )
            first = cli(*words)
            assert first.code == 0
            client["shop"]["orders"].insert_one(order(at=month(5)))
            second = cli(*words).json()
            assert second["full"]
            assert "standalone" in second["reason"]
            assert client["shop"][INTO].count_documents({"orders": 1}) == 2
    finally:
        server.kill()


def test_the_command_keeps_a_report_and_says_what_it_did(cli: Runner, sync_db: Any) -> None:
    sync_db.orders.insert_many([order(at=month(1)), order(at=month(2))])

    tried = cli("revenue", "over-time", "--refresh-into", INTO, "--dry-run", "-o", "json")
    assert (tried.code, tried.json()["full"]) == (0, True)
    assert INTO not in sync_db.list_collection_names()
    assert cli("revenue", "over-time", "--refresh-into", INTO).code == 0
    sync_db.orders.insert_one(order(at=month(2)))

    found = cli("revenue", "over-time", "--refresh-into", INTO, "-o", "json").json()

    assert found == {"into": INTO, "full": False, "reason": None, "periods": ["2026-02"]}
    assert cli("revenue", "over-time", "--refresh-into", INTO, "--by", "day").code == 6
    assert cli("revenue", "over-time", "--refresh-into", "orders").code == 2
    assert cli("revenue", "over-time", "--refresh-into", INTO, "--since", "30d").code == 2


def test_places_in_the_record_are_compared_by_their_time() -> None:
    token = {"_data": "8266E0C1A3000000042B022C0100296E5A1004"}
    at = Timestamp(0x66E0C1A3, 4)
    assert changes.reached(token, at)
    assert changes.reached(token, Timestamp(at.time, 3))
    assert not changes.reached(token, Timestamp(at.time, 5))
    assert not changes.reached(token, Timestamp(at.time + 1, 1))
    assert changes.reached(None, at)


def test_neighbouring_periods_are_one_range() -> None:
    one, two, three, four = (month(number) for number in range(1, 5))
    assert merging.joined([(two, three), (one, two), (four, four)]) == [(one, three), (four, four)]
