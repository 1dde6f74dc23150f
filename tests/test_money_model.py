"""Accounts, transfers, reversals, orders and stock against a bank in plain Python, step by step, in any order.

`tests/bank.py` says what is right, and knows nothing of how it is done. After each step all that the database
holds is what the bank holds. `--thorough N` makes it N times the few examples that the suite has time for.
"""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeVar

import bank
import books
import pytest
from bank import Bank, Record, RefusedError, Sent
from bson import Decimal128, Int64, ObjectId
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from motor.motor_asyncio import AsyncIOMotorClient

from motorctl.core import accounts, driver, inventory, money
from motorctl.core.orders import place as placing
from motorctl.core.orders import steps
from motorctl.core.transfers import reverse
from motorctl.core.transfers.post import post
from motorctl.core.transfers.request import Request, checked_accounts
from motorctl.errors import MotorctlError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence

    import pymongo
    from conftest import Runner

    from motorctl.client import Database
    from motorctl.core.transfers.plan import Outcome

    SyncDatabase = pymongo.database.Database[dict[str, Any]]

T = TypeVar("T")

EXAMPLES, STEPS = 25, 30
SECONDS = 10.0
USER = ObjectId("64b7f0c2a1b2c3d4e5f60718")

OBJECT_ID = "64b7f0c2a1b2c3d4e5f60720"
STORED: dict[str, Any] = {OBJECT_ID: ObjectId(OBJECT_ID), "42": 42}
"""Ids that aren't stored as the texts that they are typed as."""

OURS = {"ann": "EUR", "ben": "EUR", OBJECT_ID: "EUR", "yoko": "JPY", "hamad": "BHD"}
"""Accounts that `accounts open` makes, and their currencies."""
THEIRS = {"cat": "EUR", "42": "EUR", "kenji": "JPY", "dan": ""}
"""Accounts that were there before: of another program, with balances of any type."""


def mostly(common: st.SearchStrategy[T], rare: st.SearchStrategy[T], *, of: int = 8) -> st.SearchStrategy[T]:
    """Draw the one, and the other once in so many times: most of what is done should be possible."""
    return st.integers(1, of).flatmap(lambda n: rare if n == of else common)


LARGE = ["9" * 32 + ".99", "9" * 34, "1" + "0" * 33, "999999999999.99"]
CENTS = st.integers(1, 4000).map(lambda cents: f"{cents // 100}.{cents % 100:02}")
UNUSUAL = st.sampled_from(["7", "0.01", "10.0", "400", "0.001", "0.125", "12.3456", *LARGE])
AMOUNTS = mostly(CENTS, UNUSUAL, of=4)
NO_AMOUNTS = st.sampled_from(
    ["0", "0.00", "-1", "+1", "1e3", "NaN", "Infinity", "1,00", ".5", "5.", "", "٣", "9" * 35]
)
BALANCES = mostly(
    st.integers(10_000, 90_000).map(lambda n: f"{n // 100}.{n % 100:02}"),
    st.sampled_from(["0", "0.00", "50", *LARGE]),
    of=4,
)
FOREIGN = mostly(
    st.sampled_from([100, 12_345, Int64(2**40), 100.5, 250.0, Decimal128("100"), Decimal128("10.125")]),
    st.sampled_from(
        [0, 0.0, 1e22, 0.1 + 0.2, 123_456_789_012.34, 1e15]
        + [Decimal128(text) for text in ("0.00", "1E+3", "5E-3", *LARGE)]
    ),
    of=3,
)
FOREIGN_AMOUNTS = st.sampled_from(
    [1, Int64(3), 2.5, 0.1, Decimal128("4.00"), Decimal128("0.125"), Decimal128("1E+1")]
)
NOTES = st.sampled_from([None, None, "rent"])
PAYERS = mostly(st.sampled_from(["ann", "cat"]), st.sampled_from([*OURS, *THEIRS, "nobody"]), of=3)
PAYEES = mostly(st.sampled_from(["ben", "42", OBJECT_ID]), st.sampled_from([*OURS, *THEIRS, "nobody"]), of=3)
IN_BATCH = st.tuples(
    PAYERS,
    PAYEES,
    AMOUNTS,
    st.sampled_from(["fresh", "fresh", "of the batch", "of before"]),
    st.integers(0, 9),
)
PRICES = mostly(st.sampled_from([None, "4.50", "12"]), st.sampled_from(["0.005", "0", "1" + "0" * 20]), of=4)
PRODUCTS = ["tea", "mug", "pen"]
ORDERED = st.dictionaries(
    mostly(st.sampled_from(PRODUCTS), st.just("unicorn"), of=9),
    st.tuples(st.integers(1, 4), PRICES),
    min_size=1,
    max_size=3,
)
THROUGH = st.sampled_from(["core"] * 5 + ["command"])
"""Which way in: the functions of core, or the whole program."""


class Machine(RuleBasedStateMachine):
    """Does the same in the bank and in the database; each step compares the answers, then all there is."""

    def __init__(self, runner: asyncio.Runner, db: Database, there: SyncDatabase, cli: Runner) -> None:
        super().__init__()
        self.bank = Bank()
        self.runner, self.db, self.there, self.cli = runner, db, there, cli
        self.sent: list[Sent] = []
        self.numbers = itertools.count()
        for name in ("accounts", "transfers", "inventory", "orders", "users"):
            there[name].delete_many({})
        there.users.insert_one(
            {"_id": USER, "name": "Ada", "email": "a@example.com", "created_at": datetime.now(UTC)}
        )

    # ---- accounts

    @initialize(balances=st.tuples(BALANCES, BALANCES, BALANCES), foreign=st.tuples(FOREIGN, FOREIGN))
    def begin(self, balances: tuple[str, str, str], foreign: tuple[Any, Any]) -> None:
        for name, balance in zip(("ann", "ben", OBJECT_ID), balances, strict=True):
            self.open(name, balance, "core")
        self.open("yoko", "5000", "core")
        for name, stored in zip(("cat", "42"), foreign, strict=True):
            self.already_there(name, stored)
        for name, price, stock in (("tea", "4.50", 9), ("mug", "0.005", 5), ("pen", None, 5)):
            self.add_product(name, price, stock, "core")

    @rule(id=st.sampled_from([*OURS]), balance=BALANCES, through=THROUGH)
    def open(self, id: str, balance: str, through: str) -> None:
        currency = OURS[id]

        async def opened() -> Any:
            document = accounts.new(
                id=id, balance=money.amount(balance, zero=True), currency=currency, owner=None
            )
            return await accounts.create(self.db, document)

        command = ("accounts", "open", "--id", id, "--balance", balance, "--currency", currency)
        self.compare(lambda: self.bank.open(id, balance, currency), opened, command, through)

    @rule(id=st.sampled_from([*THEIRS]), stored=FOREIGN)
    def already_there(self, id: str, stored: Any) -> None:
        """Another program has made an account, with a balance of any type."""
        if id in self.bank.accounts:
            return
        account = bank.Account(books.number(stored), THEIRS[id], double=isinstance(stored, float))
        self.bank.accounts[id] = account
        self.there.accounts.insert_one(
            {"_id": STORED.get(id, id), "balance": stored} | ({"currency": THEIRS[id]} if THEIRS[id] else {})
        )

    @rule(
        id=PAYERS | PAYEES,
        step=st.sampled_from([("freeze", "frozen"), *[("unfreeze", "open")] * 3, ("close", "closed")]),
        through=THROUGH,
    )
    def change_status(self, id: str, step: tuple[str, str], through: str) -> None:
        verb, to = step
        self.compare(
            lambda: self.bank.step(id, to),
            lambda: accounts.set_status(self.db, id, to),
            ("accounts", verb, id),
            through,
        )

    # ---- transfers

    @rule(payer=PAYERS, payee=PAYEES, amount=mostly(AMOUNTS, NO_AMOUNTS), note=NOTES, through=THROUGH)
    def send(self, payer: str, payee: str, amount: str, note: str | None, through: str) -> None:
        self._send(Sent(self.fresh(), payer, payee, amount, note), through)

    @rule(
        which=st.integers(0, 99),
        change=st.sampled_from(["", "0", "source", "target", "amount", "note"]),
        through=THROUGH,
    )
    def send_again(self, which: int, change: str, through: str) -> None:
        """The same key: with the same arguments (written otherwise), or with one that differs."""
        if not self.sent:
            return
        first = self.sent[which % len(self.sent)]
        other = {
            "": {},
            "0": {"amount": f"{first.amount}0" if "." in first.amount else first.amount},
            "source": {"source": "ben" if first.source == "ann" else "ann"},
            "target": {"target": "cat" if first.target == "ben" else "ben"},
            "amount": {"amount": "3.21"},
            "note": {"note": "another"},
        }[change]
        self._send(Sent(**{**vars(first), **other}), through)

    def _send(self, sent: Sent, through: str) -> None:
        async def posted() -> Outcome:
            checked_accounts(sent.source, sent.target)
            (outcome,) = await post(self.db, [_request(sent)], seconds=SECONDS)
            return _carried_out(outcome)

        command = ["transfer", "send", sent.source, sent.target, "--key", sent.key]
        command += [] if sent.note is None else ["--note", sent.note]
        answer = self.compare(lambda: self.bank.send(sent), posted, (*command, "--", sent.amount), through)
        self.same_answer(sent.key, answer)
        self.sent.append(sent)

    @rule(requests=st.lists(IN_BATCH, min_size=1, max_size=6), whole=st.booleans())
    def batch(self, requests: list[tuple[str, str, str, str, int]], whole: bool) -> None:
        """Several in one transaction; a key may be one of before, or stand in it twice."""
        sent: list[Sent] = []
        for payer, payee, amount, key, which in requests:
            known = sent if key == "of the batch" else self.sent
            if key == "fresh" or not known:
                sent.append(Sent(self.fresh(), payer, payee, amount))
            elif which % 2:
                sent.append(known[which % len(known)])
            else:
                sent.append(Sent(known[which % len(known)].key, payer, payee, amount))
        sent = [one for one in sent if _valid(one.amount)]
        if not sent:
            return
        expected = self.bank.batch(sent, whole=whole)
        outcomes = self.runner.run(
            post(self.db, [_request(one) for one in sent], seconds=SECONDS, whole=whole)
        )
        assert len(outcomes) == len(sent)
        for one, right, outcome in zip(sent, expected, outcomes, strict=True):
            if isinstance(right, set):
                assert outcome.refused is not None, one
                assert outcome.refused.exit_code in right, (one, outcome.refused)
                assert outcome.record is None
            elif right is None:
                assert (outcome.refused, outcome.record) == (None, None), one
            else:
                assert outcome.refused is None, (one, outcome.refused)
                self.same_answer(one.key, (right, outcome))
        self.sent += sent

    @rule(which=st.integers(-1, 99), through=THROUGH)
    def take_back(self, which: int, through: str) -> None:
        keys = [*self.bank.ledger]
        key = keys[which % len(keys)] if which >= 0 and keys else "never"

        async def reversed_() -> Outcome:
            request = await reverse.request(self.db, key)
            (outcome,) = await post(self.db, [request], seconds=SECONDS)
            return _carried_out(outcome)

        def right() -> tuple[Record, bool]:
            return self.bank.send(self.bank.reversal(key))

        answer = self.compare(right, reversed_, ("transfer", "reverse", key), through)
        self.same_answer(f"{key}/reversal", answer)

    @rule(payer=PAYERS, payee=PAYEES, amount=FOREIGN_AMOUNTS, object_id=st.booleans())
    def others_move(self, payer: str, payee: str, amount: Any, object_id: bool) -> None:
        """Another program writes the ledger and the balances, in a transaction, in its own way."""
        sides = [self.bank.accounts.get(name) for name in (payer, payee)]
        value = books.number(amount)
        if payer == payee or None in sides or not all(side and side.readable for side in sides):
            return
        one, other = self.bank.accounts[payer], self.bank.accounts[payee]
        after = {payer: one.balance - value, payee: other.balance + value}
        if (
            one.currency != other.currency
            or min(after.values()) < 0
            or max(map(bank.written, after.values())) > 34
        ):
            return
        key: Any = ObjectId() if object_id else f"theirs {next(self.numbers)}"
        self.bank.move_by_others(str(key), payer, payee, value)
        with self.there.client.start_session() as session, session.start_transaction():
            record = {"_id": key, "from": STORED.get(payer, payer), "to": STORED.get(payee, payee)}
            self.there.transfers.insert_one(
                {**record, "amount": amount, "created_at": datetime.now(UTC)}, session=session
            )
            for name, balance in after.items():
                self.there.accounts.update_one(
                    {"_id": STORED.get(name, name)},
                    {"$set": {"balance": Decimal128(bank.text(balance))}},
                    session=session,
                )

    # ---- products and orders

    @rule(product=st.sampled_from(PRODUCTS), price=PRICES, stock=st.integers(0, 9), through=THROUGH)
    def add_product(self, product: str, price: str | None, stock: int, through: str) -> None:
        async def added() -> Any:
            each = None if price is None else inventory.price_of(price)
            return await inventory.add(self.db, product, inventory.new(product, None, each, stock))

        command = ["inventory", "add", product, "--stock", str(stock)]
        command += [] if price is None else ["--price", price]
        self.compare(lambda: self.bank.add(product, price, stock), added, command, through)

    @rule(
        product=st.sampled_from([*PRODUCTS, "unicorn"]), by=st.integers(-2, 9).filter(bool), through=THROUGH
    )
    def stock_up(self, product: str, by: int, through: str) -> None:
        self.compare(
            lambda: self.bank.stock_up(product, by),
            lambda: inventory.move(self.db, product, by),
            ("inventory", "set", product, f"--add={by}"),
            through,
        )

    @rule(product=st.sampled_from(PRODUCTS), stock=st.integers(0, 9), through=THROUGH)
    def count_stock(self, product: str, stock: int, through: str) -> None:
        self.compare(
            lambda: self.bank.count(product, stock),
            lambda: inventory.set_(self.db, product, inventory.changes(None, None, stock)),
            ("inventory", "set", product, "--stock", str(stock)),
            through,
        )

    @rule(asked=ORDERED, again=st.integers(-9, 5), user_known=st.integers(0, 9).map(bool), through=THROUGH)
    def place(
        self, asked: dict[str, tuple[int, str | None]], again: int, user_known: bool, through: str
    ) -> None:
        """Place an order; now and then with a key of before, and the same or other lines."""
        keys = [*self.bank.orders]
        key = keys[again % len(keys)] if again >= 0 and keys else self.fresh()
        if again >= 3 and key in self.bank.orders:
            asked = self.bank.orders[key].asked
        user = USER if user_known else ObjectId()

        async def placed() -> bool:
            lines = [
                placing.Wanted(product, qty, None if price is None else inventory.price_of(price))
                for product, (qty, price) in asked.items()
            ]
            request = placing.request(key, user, lines)
            known = await placing.ready(self.db, user)
            return (await placing.place(self.db, request, user=known, seconds=SECONDS)).replayed

        command = ["orders", "place", "--user", str(user), "--key", key]
        for product, (qty, price) in asked.items():
            command += ["--line", f"{product}:{qty}" + ("" if price is None else f"@{price}")]
        answer = self.compare(
            lambda: self.bank.place(key, asked, user_known=user_known), placed, command, through
        )
        self.same_replay(answer)

    @rule(
        which=st.integers(-1, 99),
        verb=st.sampled_from(["complete", "cancel", "refund"]),
        restock=st.booleans(),
        through=THROUGH,
    )
    def order_step(self, which: int, verb: Any, restock: bool, through: str) -> None:
        keys = [*self.bank.orders]
        key = keys[which % len(keys)] if which >= 0 and keys else "never"
        restock = restock and verb != "complete"
        options = {"cancel": [] if restock else ["--no-restock"], "refund": ["--restock"] if restock else []}

        async def taken() -> bool:
            return (await steps.take(self.db, key, steps.Step(verb, restock), seconds=SECONDS)).replayed

        command = ("orders", verb, key, *options.get(verb, []))
        answer = self.compare(
            lambda: self.bank.order_step(key, verb, restock=restock), taken, command, through
        )
        self.same_replay(answer)

    # ---- the same answers

    def fresh(self) -> str:
        return f"key {next(self.numbers)}"

    def compare(
        self,
        right: Callable[[], Any],
        core: Callable[[], Coroutine[Any, Any, Any]],
        command: Sequence[str],
        through: str,
    ) -> tuple[Any, Any] | None:
        """Do it here and there; return both answers where both have one, None where both refuse."""
        try:
            expected, codes = right(), {0}
        except RefusedError as refused:
            expected, codes = None, refused.codes
        if through == "command":
            # What stands behind a -- has no options behind it.
            done = self.cli(command[0], command[1], "-o", "json", *command[2:])
            assert done.code in codes, (command, done.code, codes, done.stderr)
            answer = done.json() if done.code == 0 else done.error()
        else:
            try:
                answer, code = self.runner.run(core()), 0
            except MotorctlError as error:
                answer, code = error, int(error.exit_code)
            assert code in codes, (command, code, codes, answer)
        return (expected, answer) if codes == {0} else None

    def same_answer(self, key: str, answers: tuple[Any, Any] | None) -> None:
        """The answer to a transfer is its record, of now or of then."""
        if answers is None:
            return
        (record, replayed), answer = answers
        if isinstance(answer, dict):
            assert (answer["key"], answer["status"], answer["replayed"]) == (key, "committed", replayed)
            balances = answer["from_balance"], answer["to_balance"]
            assert Fraction(answer["amount"]) == record.amount
        else:
            assert answer.replayed is replayed
            balances = answer.record.get("from_balance"), answer.record.get("to_balance")
            assert books.number(answer.record["amount"]) == record.amount
        numbers = tuple(None if one is None else Fraction(str(one)) for one in balances)
        assert numbers == (record.balances or (None, None)), key

    def same_replay(self, answers: tuple[Any, Any] | None) -> None:
        if answers is not None:
            right, answer = answers
            assert (answer["replayed"] if isinstance(answer, dict) else answer) is right

    # ---- the same database

    @invariant()
    def the_database_holds_what_the_bank_holds(self) -> None:
        found = books.read(self.there)
        by_text = {str(key): document for key, document in found.accounts.items()}
        assert set(by_text) == set(self.bank.accounts)
        for name, account in self.bank.accounts.items():
            _same_account(by_text[name], account)
        records = {str(key): record for key, record in found.transfers.items()}
        assert set(records) == set(self.bank.ledger)
        for key, record in self.bank.ledger.items():
            _same_record(records[key], record)
        assert set(found.inventory) == set(self.bank.products)
        for product, there in self.bank.products.items():
            assert found.stock(product) == there.stock
        assert set(found.orders) == set(self.bank.orders)
        for order_key, order in self.bank.orders.items():
            _same_order(found.orders[order_key], order)
        assert books.differences(found) == []

    def teardown(self) -> None:
        """The program's own auditor finds nothing wrong but doubles of others that say no amount exactly."""
        done = self.cli("transfer", "verify", "-o", "json")
        found = [(one["kind"], one["account"]) for one in done.json()["differences"]]
        inexact = [
            name
            for name, account in self.bank.accounts.items()
            if account.double and bank.written(account.balance) > 15
        ]
        assert sorted(found) == sorted(("number", name) for name in inexact), done.stdout
        assert done.code == (8 if inexact else 0), done.stderr


def _request(sent: Sent) -> Request:
    return Request(sent.key, sent.source, sent.target, money.amount(sent.amount), sent.note)


def _carried_out(outcome: Outcome) -> Outcome:
    if outcome.refused is not None:
        raise outcome.refused
    assert outcome.record is not None
    return outcome


def _valid(amount: str) -> bool:
    try:
        bank.amount(amount)
    except RefusedError:
        return False
    return True


def _same_account(document: Mapping[str, Any], account: bank.Account) -> None:
    assert books.number(document["balance"]) == account.balance, document
    assert isinstance(document["balance"], float) is account.double, document
    opening = document.get("opening")
    assert (None if opening is None else books.number(opening)) == account.opening, document
    assert document.get("entries", 0) == account.entries, document
    assert document.get("status", "open") == account.status, document
    assert document.get("currency", "") == account.currency, document
    if account.ours:
        # 90.00 and not 90: with its currency's digits, wherever 34 digits have room for them.
        places = bank.PLACES[account.currency]
        shown = -int(document["balance"].to_decimal().as_tuple().exponent)
        assert shown >= places or bank.before(account.balance) + places > 34, document


def _same_record(document: Mapping[str, Any], record: Record) -> None:
    assert (str(document["from"]), str(document["to"])) == (record.source, record.target)
    assert document["from"] == STORED.get(record.source, record.source)
    assert document["to"] == STORED.get(record.target, record.target)
    assert books.number(document["amount"]) == record.amount
    assert (document.get("note"), document.get("reverses")) == (record.note, record.reverses)
    assert isinstance(document["created_at"], datetime)
    if record.entries is None or record.balances is None:
        assert "from_entry" not in document
        return
    assert isinstance(document["amount"], Decimal128)
    assert (document["from_entry"], document["to_entry"]) == record.entries
    assert tuple(books.number(document[name]) for name in ("from_balance", "to_balance")) == record.balances


def _same_order(document: Mapping[str, Any], order: bank.Order) -> None:
    assert document["status"] == order.status
    assert document["user_id"] == USER
    assert books.number(document["amount"]) == order.amount
    lines = document.get("lines", [document])
    assert {line["product_id"]: line["qty"] for line in lines} == {
        p: qty for p, (qty, _) in order.asked.items()
    }
    assert document["qty"] == sum(qty for qty, _ in order.asked.values())
    assert sum(books.number(line["amount"]) for line in lines) == order.amount


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def there(sync_db: SyncDatabase, cli: Runner) -> SyncDatabase:
    assert cli("schema", "apply", "--builtin", "shop", "-q").code == 0
    return sync_db


def test_whatever_is_done_in_whatever_order_the_database_holds_what_a_plain_bank_holds(
    request: pytest.FixtureRequest, runner: asyncio.Runner, there: SyncDatabase, cli: Runner, server_uri: str
) -> None:
    examples = EXAMPLES * (request.config.getoption("--thorough", None) or 1)

    async def connect() -> AsyncIOMotorClient[dict[str, Any]]:
        return AsyncIOMotorClient(server_uri, tz_aware=True)

    client = runner.run(connect())

    class Here(Machine):
        def __init__(self) -> None:
            super().__init__(runner, client.get_database(there.name), there, cli)

    try:
        run_state_machine_as_test(
            Here,
            settings=settings(
                max_examples=examples,
                stateful_step_count=STEPS,
                suppress_health_check=[
                    HealthCheck.too_slow,
                    HealthCheck.data_too_large,
                    HealthCheck.filter_too_much,
                ],
            ),
        )
    finally:
        runner.run(driver.close(client))
