"""`motorctl accounts`: open, get, list, freeze, unfreeze, close. `test_statement.py` has the statements."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from bson import Binary, Decimal128, ObjectId
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.monitoring import CommandListener

from motorctl.core import accounts, driver
from motorctl.errors import DuplicateKeyError, RefusedError

if TYPE_CHECKING:
    from conftest import Runner
    from pymongo.database import Database as SyncDatabase
    from pymongo.monitoring import CommandFailedEvent, CommandStartedEvent, CommandSucceededEvent

    from motorctl.client import Database

    Documents = SyncDatabase[dict[str, Any]]

MADE = ObjectId("64b7f0c2a1b2c3d4e5f60718")


@pytest.fixture
def alice(sync_db: Documents) -> dict[str, Any]:
    """An account with 90.00 EUR."""
    document = {
        "_id": "alice",
        "owner": "Alice",
        "currency": "EUR",
        "balance": Decimal128("90.00"),
        "status": "open",
        "entries": 1,
        "opening": Decimal128("100.00"),
        "opened_at": datetime(2026, 11, 1, tzinfo=UTC),
    }
    sync_db.accounts.insert_one(document)
    return document


def test_open_shows_the_account_and_stores_it(cli: Runner, sync_db: Documents) -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    done = cli(
        "accounts",
        "open",
        "--id",
        "carol",
        "--owner",
        "Carol",
        "--balance",
        "100",
        "--currency",
        "eur",
        "-o",
        "json",
    )
    assert (done.code, done.stderr) == (0, "")
    stored = sync_db.accounts.find_one({}) or {}
    opened = stored.pop("opened_at")
    assert before <= opened <= datetime.now(UTC)
    amount = Decimal128("100.00")
    assert stored == {
        "_id": "carol",
        "owner": "Carol",
        "currency": "EUR",
        "balance": amount,
        "status": "open",
        "entries": 0,
        "opening": amount,
    }
    shown = done.json()
    assert list(shown) == ["id", "owner", "currency", "balance", "status", "entries", "opening", "opened_at"]
    assert shown | {"opened_at": None} == {
        "id": "carol",
        "owner": "Carol",
        "currency": "EUR",
        "balance": "100.00",
        "status": "open",
        "entries": 0,
        "opening": "100.00",
        "opened_at": None,
    }


def test_open_without_options_makes_an_id_and_says_it_before_it_writes(
    cli: Runner, sync_db: Documents
) -> None:
    done = cli("accounts", "open", "-o", "json")
    stored = sync_db.accounts.find_one({}) or {}
    assert isinstance(stored["_id"], ObjectId)
    assert done.stderr == f"opening account {stored['_id']}\n"
    assert done.json()["id"] == str(stored["_id"])
    assert done.json()["balance"] == "0.00"


def test_an_account_fits_the_schema_that_ships(cli: Runner) -> None:
    assert cli("schema", "apply", "--builtin", "shop", "-q").code == 0
    assert cli("accounts", "open", "--id", "a", "--owner", "A", "--currency", "EUR").code == 0
    assert cli("accounts", "freeze", "a").code == 0
    assert cli("accounts", "close", "a").code == 0


def test_twenty_four_digits_are_an_object_id_and_one_id_with_the_same_text(
    cli: Runner, sync_db: Documents
) -> None:
    assert cli("accounts", "open", "--id", str(MADE)).code == 0
    assert sync_db.accounts.find_one({"_id": MADE})
    sync_db.accounts.delete_many({})
    sync_db.accounts.insert_one({"_id": str(MADE), "balance": 1})
    done = cli("accounts", "open", "--id", str(MADE), "-o", "json")
    assert (done.code, done.error()["code"]) == (6, "duplicate_key")
    assert sync_db.accounts.count_documents({}) == 1


def test_a_number_and_a_uuid_of_another_program_are_found_by_their_text(
    cli: Runner, sync_db: Documents
) -> None:
    uuid = UUID("2b1c7a52-6f0e-4f3c-9a57-0d9a3c1f5e11")
    sync_db.accounts.insert_many([{"_id": 1001, "balance": 1}, {"_id": Binary.from_uuid(uuid), "balance": 2}])
    for name, balance in (("1001", "1.00"), (str(uuid), "2.00")):
        shown = cli("accounts", "get", name, "-o", "json").json()
        assert (shown["id"], shown["balance"]) == (name, balance)
        taken = cli("accounts", "open", "--id", name)
        assert (taken.code, f"account {name} is there already" in taken.stderr) == (6, True)


@pytest.mark.usefixtures("alice")
@pytest.mark.parametrize("dry_run", [[], ["--dry-run"]])
def test_an_id_that_is_taken_is_exit_6(cli: Runner, sync_db: Documents, dry_run: list[str]) -> None:
    done = cli("accounts", "open", "--id", "alice", "--balance", "5.00", *dry_run, "-o", "json")
    assert done.code == 6
    error = done.error()
    assert (error["code"], error["message"]) == ("duplicate_key", "account alice is there already")
    assert error["hint"] == "`motorctl accounts get alice` shows it"
    assert (sync_db.accounts.find_one({}) or {})["balance"] == Decimal128("90.00")


async def test_a_second_attempt_finds_its_own_account_and_no_other_ones(db: Database) -> None:
    """The first attempt may have arrived, and money may have come in since."""
    document = accounts.new(id="carol", currency="EUR", balance=Decimal("5.00"))
    first = await accounts.create(db, document)
    await db.accounts.update_one({"_id": "carol"}, {"$set": {"balance": Decimal128("7.00"), "entries": 1}})
    assert await accounts.create(db, document) == first
    later = {**document, "opened_at": document["opened_at"] + timedelta(milliseconds=1)}
    with pytest.raises(DuplicateKeyError):
        await accounts.create(db, later)
    assert (await accounts.get(db, "carol"))["balance"] == Decimal("7.00")


def test_another_unique_index_is_named(cli: Runner, sync_db: Documents, alice: dict[str, Any]) -> None:
    sync_db.accounts.create_index("owner", unique=True)
    done = cli("accounts", "open", "--id", "other", "--owner", alice["owner"], "-o", "json")
    assert (done.code, done.error()["field"]) == (6, "owner")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--balance", "-5"], "'-5' is not an amount"),
        (["--balance", "1e3"], "'1e3' is not an amount"),
        (
            ["--balance", "19.999", "--currency", "EUR"],
            "19.999 has 3 digits behind the point; EUR takes 2 digits",
        ),
        (["--balance", "5.0", "--currency", "JPY"], "JPY takes no digits"),
        (["--balance", "9" * 33, "--currency", "EUR"], "more than 34 digits"),
        (["--currency", "E"], "--currency: 'E' is not a currency"),
        (["--currency", "€"], "is not a currency"),
        (["--id", ""], "--id: '' can't be an id"),
        (["--id", " a"], "can't be an id"),
        (["--id", "a\nb"], "can't be an id"),
        (["--id=-a"], "would be taken for an option"),
        (["--owner", " "], "--owner: the name is empty"),
    ],
)
def test_what_no_account_can_be_is_exit_2_and_asks_no_server(
    cli: Runner, options: list[str], message: str
) -> None:
    done = cli("accounts", "open", *options, "--uri", "mongodb://127.0.0.1:1/", connected=False)
    assert done.code == 2
    assert message in done.stderr


def test_a_currency_that_iso_4217_lacks_is_a_word_of_ones_own_or_a_slip(cli: Runner) -> None:
    own = cli("accounts", "open", "--id", "p", "--currency", "points", "--balance", "1.50", "-o", "json")
    assert (own.code, own.json()["currency"], own.json()["balance"]) == (0, "POINTS", "1.50")
    slip = cli("accounts", "open", "--id", "e", "--currency", "EURO")
    assert slip.stderr.startswith("warning: ISO 4217 has no currency EURO: amounts in it have 2 digits")
    assert "did you mean 'EUR'?" in slip.stderr


def test_a_dry_run_shows_the_account_and_opens_none(cli: Runner, sync_db: Documents) -> None:
    done = cli(
        "accounts", "open", "--id", "carol", "--balance", "5", "--currency", "KWD", "--dry-run", "-o", "json"
    )
    assert (done.code, done.json()["id"], done.json()["balance"]) == (0, "carol", "5.000")
    assert done.stderr == "dry run: nothing was written\n"
    unnamed = cli("accounts", "open", "--dry-run", "-o", "json")
    assert (unnamed.code, unnamed.json()["id"]) == (0, None)
    assert sync_db.accounts.count_documents({}) == 0


def test_get_shows_other_programs_fields_behind_its_own(cli: Runner, sync_db: Documents) -> None:
    sync_db.accounts.insert_one({"_id": MADE, "branch": {"city": "Ulm"}, "balance": 12.5, "problem_id": 7})
    done = cli("accounts", "get", str(MADE), "-o", "json")
    assert done.json() == {
        "id": str(MADE),
        "owner": None,
        "currency": None,
        "balance": "12.50",
        "status": "open",
        "entries": 0,
        "opening": None,
        "opened_at": None,
        "branch": {"city": "Ulm"},
        "problem_id": 7,
    }


def test_of_a_text_and_an_object_id_that_read_alike_the_text_is_meant(
    cli: Runner, sync_db: Documents
) -> None:
    sync_db.accounts.insert_many([{"_id": MADE, "balance": 1}, {"_id": str(MADE), "balance": 2}])
    assert cli("accounts", "get", str(MADE), "-o", "json").json()["balance"] == "2.00"


@pytest.mark.parametrize("verb", ["get", "freeze", "unfreeze", "close", "statement"])
def test_an_account_that_is_not_there_is_exit_5(cli: Runner, verb: str) -> None:
    """The collection isn't there either."""
    done = cli("accounts", verb, "nobody", "-o", "json")
    assert (done.code, done.stdout) == (5, "")
    assert (done.error()["message"], done.error()["account"]) == ("no account nobody", "nobody")


def test_a_list_is_aligned_by_the_point_and_flags_what_it_cannot_read(
    cli: Runner, sync_db: Documents
) -> None:
    balances: list[Any] = [Decimal128("1E+3"), 5, 0.1 + 0.2, "much", None]
    for number, balance in enumerate(balances):
        sync_db.accounts.insert_one({"_id": f"a{number}", "currency": "EUR", "balance": balance})
    done = cli("accounts", "list")
    assert done.code == 0
    assert done.stdout.splitlines() == [
        "id  owner  currency                 balance  status  entries",
        "a0         EUR       1000.00                 open          0",
        "a1         EUR          5.00                 open          0",
        "a2         EUR          0.30000000000000004  open          0",
        "a3         EUR                         much  open          0",
        "a4         EUR                               open          0",
    ]
    assert done.stderr.splitlines() == [
        "warning: the balance of account a2: 0.30000000000000004 is a double, and as such no exact amount",
        "warning: the balance of account a3: 'much' is no number",
        "warning: the balance of account a4: there is none",
    ]
    assert cli("accounts", "list", "-o", "csv").stdout.startswith(
        "id,owner,currency,balance,status,entries,opening,opened_at\na0,,EUR,1000.00,open,0,,\n"
    )
    rows = cli("accounts", "list", "-o", "json").json()
    assert [row.get("problem", "").rpartition(": ")[2] for row in rows] == [
        "",
        "",
        "0.30000000000000004 is a double, and as such no exact amount",
        "'much' is no number",
        "there is none",
    ]


def test_many_that_cannot_be_read_are_counted(cli: Runner, sync_db: Documents) -> None:
    sync_db.accounts.insert_many([{"_id": f"a{number}", "balance": float("nan")} for number in range(10)])
    lines = cli("accounts", "list").stderr.splitlines()
    assert (len(lines), lines[-1]) == (4, "warning: and 7 more accounts with such amounts")


@pytest.fixture
def many(sync_db: Documents) -> None:
    sync_db.accounts.insert_many(
        [
            {
                "_id": f"a{number:02}",
                "owner": "Ada" if number % 2 else "Bo",
                "currency": "EUR" if number % 3 else "JPY",
                "balance": Decimal128(str(number)),
                # other programs' accounts have none
                **(
                    {"status": "frozen"} if number % 5 == 0 else {"status": "open"} if number % 5 == 1 else {}
                ),
            }
            for number in range(30)
        ]
    )


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], list(range(20))),
        (["--page", "2"], list(range(20, 30))),
        (["--all"], list(range(30))),
        (["--limit", "3", "--sort", "-balance"], [29, 28, 27]),
        (["--limit", "2", "--skip", "5"], [5, 6]),
        (["--status", "frozen"], [0, 5, 10, 15, 20, 25]),
        (["--status", "open", "--limit", "4"], [1, 2, 3, 4]),
        (["--status", "closed"], []),
        (["--currency", "jpy", "--all"], list(range(0, 30, 3))),
        (["--owner", "Ada", "--currency", "JPY"], [3, 9, 15, 21, 27]),
        (["--filter", '{"balance": {"$gt": 20}}', "--status", "frozen"], [25]),
    ],
)
def test_a_list_has_the_accounts_that_were_asked_for(
    cli: Runner, options: list[str], expected: list[int]
) -> None:
    done = cli("accounts", "list", *options, "-o", "json")
    assert (done.code, [row["id"] for row in done.json()]) == (0, [f"a{number:02}" for number in expected])


async def test_a_list_of_all_holds_a_thousand_at_a_time(server_uri: str, sync_db: Documents) -> None:
    """The server's own batches are of 16 MB, some 90,000 accounts."""
    sync_db.accounts.insert_many([{"_id": number, "balance": 1} for number in range(2500)])
    asked = Batches()
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(server_uri, event_listeners=[asked])
    found = [row["id"] async for row in accounts.find(client[sync_db.name], {})]
    await driver.close(client)
    assert len(found) == 2500
    assert asked.sizes == [1000, 1000, 500]


class Batches(CommandListener):
    """How many documents each answer of a cursor has."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def started(self, event: CommandStartedEvent) -> None:
        pass

    def succeeded(self, event: CommandSucceededEvent) -> None:
        cursor = event.reply.get("cursor", {})
        if event.command_name in ("find", "getMore"):
            self.sizes.append(len(cursor.get("firstBatch", cursor.get("nextBatch"))))

    def failed(self, event: CommandFailedEvent) -> None:
        pass


def test_a_status_that_there_is_not_is_exit_2(cli: Runner) -> None:
    done = cli("accounts", "list", "--status", "shut")
    assert (done.code, "'shut' is not one of open, frozen, closed" in done.stderr) == (2, True)


@pytest.mark.usefixtures("alice")
def test_freeze_and_unfreeze_may_be_repeated(cli: Runner, sync_db: Documents) -> None:
    for verb, status, said in [
        ("freeze", "frozen", ""),
        ("freeze", "frozen", "account alice is frozen already\n"),
        ("unfreeze", "open", ""),
        ("unfreeze", "open", "account alice is open already\n"),
    ]:
        done = cli("accounts", verb, "alice", "-o", "json")
        assert (done.code, done.json()["status"], done.stderr) == (0, status, said)
        assert (sync_db.accounts.find_one({}) or {})["status"] == status


def test_a_change_of_status_leaves_all_other_fields_alone(cli: Runner, sync_db: Documents) -> None:
    before = {"_id": "old", "balance": 0.1 + 0.2, "extra": [1]}
    sync_db.accounts.insert_one(before)
    assert cli("accounts", "freeze", "old").code == 0
    assert sync_db.accounts.find_one({}) == {**before, "status": "frozen"}


@pytest.mark.usefixtures("alice")
@pytest.mark.parametrize(("verb", "status"), [("freeze", "frozen"), ("unfreeze", "open")])
def test_a_dry_run_of_a_step_writes_nothing(cli: Runner, sync_db: Documents, verb: str, status: str) -> None:
    before = sync_db.accounts.find_one({})
    done = cli("accounts", verb, "alice", "--dry-run", "-o", "json")
    assert (done.code, done.json()["status"]) == (0, status)
    assert done.stderr == {
        "freeze": "dry run: nothing was written\n",
        "unfreeze": "account alice is open already\n",
    }.get(verb)
    assert sync_db.accounts.find_one({}) == before


def test_only_an_empty_account_can_be_closed(cli: Runner, sync_db: Documents, alice: dict[str, Any]) -> None:
    done = cli("accounts", "close", "alice", "-o", "json")
    error = done.error()
    assert (done.code, error["balance"], error["account"]) == (6, "90.00", "alice")
    assert error["message"] == "account alice has 90.00 EUR: only an empty one can be closed"
    assert sync_db.accounts.find_one({}) == alice


@pytest.mark.parametrize(
    ("balance", "status"),
    [
        (Decimal128("0.00"), "open"),
        (Decimal128("-0"), "frozen"),
        (Decimal128("0E-6000"), None),
        (0, "frozen"),
        (0.0, None),
    ],
)
def test_a_closed_account_stays_closed(
    cli: Runner, sync_db: Documents, balance: Any, status: str | None
) -> None:
    sync_db.accounts.insert_one({"_id": "till", "balance": balance, **({"status": status} if status else {})})
    assert cli("accounts", "close", "till", "--dry-run").code == 0
    assert (sync_db.accounts.find_one({}) or {}).get("status") == status
    assert cli("accounts", "close", "till").code == 0
    again = cli("accounts", "close", "till")
    assert (again.code, again.stderr) == (0, "account till is closed already\n")
    for verb in ("freeze", "unfreeze"):
        done = cli("accounts", verb, "till")
        assert (done.code, done.stderr) == (6, "error: account till is closed, and that is final\n")
    assert (sync_db.accounts.find_one({}) or {})["status"] == "closed"


@pytest.mark.parametrize(
    ("balance", "said"), [(0.1 + 0.2, "no exact amount"), (None, "there is none"), (-5, "has -5.00")]
)
def test_what_is_in_an_account_has_to_be_known_to_close_it(
    cli: Runner, sync_db: Documents, balance: Any, said: str
) -> None:
    sync_db.accounts.insert_one({"_id": "till", "balance": balance})
    done = cli("accounts", "close", "till")
    assert (done.code, said in done.stderr) == (6, True)


def test_a_status_of_another_program_is_left_to_it(cli: Runner, sync_db: Documents) -> None:
    sync_db.accounts.insert_one({"_id": "a", "balance": 0, "status": "suspended"})
    for verb in ("freeze", "unfreeze", "close"):
        done = cli("accounts", verb, "a")
        assert (done.code, "a status of somebody else's: suspended" in done.stderr) == (6, True)


@pytest.mark.usefixtures("alice")
async def test_a_freeze_waits_for_the_transfer_that_has_the_account(db: Database) -> None:
    async with await driver.start_session(db.client) as session:
        await driver.start_transaction(session)
        await db.accounts.update_one(
            {"_id": "alice"}, {"$set": {"balance": Decimal128("80.00")}}, session=session
        )
        freeze = asyncio.create_task(accounts.set_status(db, "alice", "frozen"))
        await asyncio.sleep(0.1)
        assert not freeze.done()
        await session.commit_transaction()
        row, changed = await freeze
    assert (row["status"], row["balance"], changed) == ("frozen", Decimal("80.00"), True)


@pytest.mark.usefixtures("alice")
async def test_a_transfer_that_read_the_account_before_the_freeze_is_refused(db: Database) -> None:
    from pymongo.errors import OperationFailure

    async with await driver.start_session(db.client) as session:
        await driver.start_transaction(session)
        assert await db.accounts.find_one({"_id": "alice"}, session=session)
        await accounts.set_status(db, "alice", "frozen")
        with pytest.raises(OperationFailure) as conflict:
            await db.accounts.update_one(
                {"_id": "alice"}, {"$set": {"balance": Decimal128("80.00")}}, session=session
            )
        assert conflict.value.has_error_label("TransientTransactionError")
        await session.abort_transaction()


async def test_money_that_comes_in_while_an_account_is_being_closed_keeps_it_open(db: Database) -> None:
    await db.accounts.insert_one({"_id": "till", "balance": Decimal128("0.00"), "status": "open"})
    async with await driver.start_session(db.client) as session:
        await driver.start_transaction(session)
        await db.accounts.update_one(
            {"_id": "till"}, {"$set": {"balance": Decimal128("5.00")}}, session=session
        )
        close = asyncio.create_task(accounts.set_status(db, "till", "closed"))
        await asyncio.sleep(0.1)
        assert not close.done()
        await session.commit_transaction()
        with pytest.raises(RefusedError, match=r"has 5\.00"):
            await close
    assert (await db.accounts.find_one({}) or {})["status"] == "open"


@pytest.mark.parametrize(
    ("command", "arguments"),
    [("insert", ["open", "--id", "x"]), ("findAndModify", ["freeze", "alice"]), ("find", ["list"])],
)
def test_without_the_right_it_is_exit_4_and_nothing_is_written(
    cli: Runner,
    sync_db: Documents,
    alice: dict[str, Any],
    server_uri: str,
    command: str,
    arguments: list[str],
) -> None:
    name = f"accounts-{sync_db.name}"
    point: dict[str, Any] = {"configureFailPoint": "failCommand"}
    data = {"failCommands": [command], "errorCode": 13, "appName": name}
    sync_db.client.admin.command({**point, "mode": "alwaysOn", "data": data})
    try:
        done = cli("accounts", *arguments, "--uri", f"{server_uri}&appName={name}")
    finally:
        sync_db.client.admin.command({**point, "mode": "off"})
    assert (done.code, done.stdout) == (4, "")
    assert done.stderr.startswith("error: not authorised")
    assert list(sync_db.accounts.find()) == [alice]


@pytest.mark.parametrize(
    "verb", [["open"], ["get", "a"], ["list"], ["freeze", "a"], ["close", "a"], ["statement", "a"]]
)
def test_without_a_server_it_is_exit_3(cli: Runner, verb: list[str]) -> None:
    done = cli("accounts", *verb, "--uri", "mongodb://127.0.0.1:1/", "--timeout", "0.1", connected=False)
    assert (done.code, done.stdout) == (3, "")


def test_a_narrow_terminal_keeps_ids_and_balances_whole(cli: Runner, sync_db: Documents) -> None:
    sync_db.accounts.insert_one(
        {"_id": MADE, "owner": "Ada Lovelace, Countess of Lovelace", "currency": "EUR", "entries": 12345}
        | {"balance": Decimal128("12345678901234.56"), "opened_at": datetime(2026, 11, 1, tzinfo=UTC)}
    )
    done = cli("accounts", "list", tty=True, env={"NO_COLOR": "1"})
    assert str(MADE) in done.stdout
    assert "12345678901234.56" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
