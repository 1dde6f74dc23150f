"""A bank and a shop in plain Python: what every command should do, written from its help and not from its code.

No server, no MongoDB, no `decimal`: amounts are texts that become fractions, and every rule is a sentence about
them. `tests/test_money_model.py` does the same things here and there, and compares. Where several rules refuse
something it doesn't say which of them speaks first: what it answers is the set of exit codes that are right.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from fractions import Fraction

__all__ = ["Account", "Bank", "Order", "Record", "RefusedError", "Sent"]

USAGE, NOT_FOUND, REFUSED = 2, 5, 6

PLACES = {"JPY": 0, "EUR": 2, "BHD": 3, "": 2}
"""Digits behind the point of the currencies that tests use; without a currency it is 2."""


class RefusedError(Exception):
    """It is not done, and any of these exit codes says so."""

    def __init__(self, *codes: int) -> None:
        super().__init__(codes)
        self.codes = set(codes)


@dataclass
class Account:
    """An account. `opening` is None before the ledger knows it; `foreign` is what others' records have moved."""

    balance: Fraction
    currency: str = "EUR"
    status: str = "open"
    double: bool = False
    """Whether the balance is a double: good for an amount only if 15 digits are sure to give it back."""
    opening: Fraction | None = None
    entries: int = 0
    foreign: Fraction = Fraction()
    ours: bool = False
    """Whether this program has written the balance last."""

    @property
    def readable(self) -> bool:
        places = PLACES[self.currency]
        if not self.double:
            return written(self.balance) <= 34
        return behind(self.balance) <= places and before(self.balance) + places <= 15


@dataclass(frozen=True)
class Sent:
    """A request to move money, as it was typed."""

    key: str
    source: str
    target: str
    amount: str
    note: str | None = None
    reverses: str | None = None


@dataclass(frozen=True)
class Record:
    """A record of the ledger. Without entries it is another program's."""

    source: str
    target: str
    amount: Fraction
    note: str | None = None
    reverses: str | None = None
    entries: tuple[int, int] | None = None
    balances: tuple[Fraction, Fraction] | None = None


@dataclass
class Order:
    """An order as it was asked for, and what became of it."""

    asked: dict[str, tuple[int, str | None]]
    """By product: how many, and the price that was given."""
    amount: Fraction
    status: str = "pending"
    restocked: bool | None = None


@dataclass
class Product:
    price: Fraction | None
    stock: int


@dataclass
class Bank:
    accounts: dict[str, Account] = field(default_factory=dict)
    ledger: dict[str, Record] = field(default_factory=dict)
    products: dict[str, Product] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)

    # ---- accounts

    def open(self, id: str, balance: str, currency: str) -> None:
        opening = amount(balance, zero=True)
        check_digits(balance, opening, currency)
        if id in self.accounts:
            raise RefusedError(REFUSED)
        self.accounts[id] = Account(opening, currency, opening=opening)

    def step(self, id: str, to: str) -> None:
        account = self.accounts.get(id)
        if account is None:
            raise RefusedError(NOT_FOUND)
        if account.status == to:
            return
        if account.status == "closed":
            raise RefusedError(REFUSED)
        if to == "closed" and (account.balance or not account.readable):
            raise RefusedError(REFUSED)
        account.status = to

    # ---- transfers

    def send(self, sent: Sent) -> tuple[Record, bool]:
        """Move money; return the record and whether it was there before."""
        value = amount(sent.amount)
        if (found := self.ledger.get(sent.key)) is not None:
            same = (found.source, found.target, found.amount, found.note, found.reverses)
            if same == (sent.source, sent.target, value, sent.note, sent.reverses):
                return found, True
            raise RefusedError(REFUSED, *([USAGE] if sent.source == sent.target else []))
        codes = set(self._against(sent, value))
        if codes:
            raise RefusedError(*codes)
        sides = self.accounts[sent.source], self.accounts[sent.target]
        for account, sign in zip(sides, (-1, 1), strict=True):
            if account.opening is None:
                account.opening = account.balance - account.foreign
            account.balance += sign * value
            account.entries += 1
            account.double, account.ours = False, True
        record = Record(
            sent.source,
            sent.target,
            value,
            sent.note,
            sent.reverses,
            (sides[0].entries, sides[1].entries),
            (sides[0].balance, sides[1].balance),
        )
        self.ledger[sent.key] = record
        return record, False

    def _against(self, sent: Sent, value: Fraction) -> list[int]:
        """Return what speaks against a transfer, all of it."""
        codes: list[int] = [USAGE] if sent.source == sent.target else []
        source, target = self.accounts.get(sent.source), self.accounts.get(sent.target)
        for account in (source, target):
            if account is None:
                codes.append(NOT_FOUND)
                continue
            # One that was there before gets its opening now: what others' records have moved is known.
            opening = account.balance - account.foreign if account.opening is None else account.opening
            if account.status != "open" or not account.readable or written(opening) > 34:
                codes.append(REFUSED)
        if source is None or target is None:
            return codes
        if source.currency != target.currency:
            codes.append(REFUSED)
        if sent.reverses is None:
            try:
                check_digits(sent.amount, value, source.currency)
            except RefusedError as refused:
                codes += refused.codes
        if source.balance < value:
            codes.append(REFUSED)
        if max(written(source.balance - value), written(target.balance + value)) > 34:
            codes.append(REFUSED)
        return codes

    def batch(self, requests: list[Sent], *, whole: bool) -> list[tuple[Record, bool] | set[int] | None]:
        """Send several, one after the other; `whole`: all of them or none (None: kept back by another one)."""
        trial = self.copy()
        answers: list[tuple[Record, bool] | set[int] | None] = []
        for sent in requests:
            try:
                answers.append(trial.send(sent))
            except RefusedError as refused:
                answers.append(refused.codes)
        if whole and any(isinstance(answer, set) for answer in answers):
            # One that was there before is answered with its record all the same.
            return [
                answer
                if isinstance(answer, set) or (answer and answer[1] and sent.key in self.ledger)
                else None
                for sent, answer in zip(requests, answers, strict=True)
            ]
        self.accounts, self.ledger = trial.accounts, trial.ledger
        return answers

    def reversal(self, key: str) -> Sent:
        """Return the request that takes a transfer back."""
        found = self.ledger.get(key)
        if found is None:
            raise RefusedError(NOT_FOUND)
        if found.reverses is not None:
            raise RefusedError(REFUSED)
        back = f"{key}/reversal"
        note = self.ledger[back].note if back in self.ledger else None
        return Sent(back, found.target, found.source, text(found.amount), note, key)

    def move_by_others(self, key: str, source: str, target: str, value: Fraction) -> None:
        """What another program does to the same collections: it knows neither entries nor openings."""
        self.ledger[key] = Record(source, target, value)
        for account, sign in ((self.accounts[source], -1), (self.accounts[target], 1)):
            account.balance += sign * value
            account.foreign += sign * value
            account.double = account.ours = False

    # ---- products and orders

    def add(self, product: str, price: str | None, stock: int) -> None:
        if product in self.products:
            raise RefusedError(REFUSED)
        self.products[product] = Product(None if price is None else Fraction(price), stock)

    def stock_up(self, product: str, by: int) -> None:
        if product not in self.products:
            raise RefusedError(NOT_FOUND)
        if self.products[product].stock + by < 0:
            raise RefusedError(REFUSED)
        self.products[product].stock += by

    def count(self, product: str, stock: int) -> None:
        if product not in self.products:
            raise RefusedError(NOT_FOUND)
        self.products[product].stock = stock

    def place(self, key: str, asked: dict[str, tuple[int, str | None]], *, user_known: bool) -> bool:
        """Place an order; return whether it was there before."""
        if (found := self.orders.get(key)) is not None:
            if _prices(found.asked) == _prices(asked) and user_known:
                return True
            raise RefusedError(REFUSED)
        codes: set[int] = set() if user_known else {NOT_FOUND}
        total = Fraction()
        for product, (qty, price) in asked.items():
            found_product = self.products.get(product)
            if found_product is None:
                codes.add(NOT_FOUND)
                continue
            each = found_product.price if price is None else Fraction(price)
            if each is None or found_product.stock < qty:
                codes.add(REFUSED)
            total += qty * (each or 0)
        if codes:
            raise RefusedError(*codes)
        for product, (qty, _) in asked.items():
            self.products[product].stock -= qty
        self.orders[key] = Order(asked, total)
        return False

    def order_step(self, key: str, verb: str, *, restock: bool) -> bool:
        """Take a step of an order; return whether it was taken before."""
        order = self.orders.get(key)
        if order is None:
            raise RefusedError(NOT_FOUND)
        before, after = {
            "complete": ("pending", "completed"),
            "cancel": ("pending", "cancelled"),
            "refund": ("completed", "refunded"),
        }[verb]
        if order.status == after:
            if verb != "complete" and order.restocked is not restock:
                raise RefusedError(REFUSED)
            return True
        if order.status != before:
            raise RefusedError(REFUSED)
        order.status = after
        if verb != "complete":
            order.restocked = restock
        if restock:
            for product, (qty, _) in order.asked.items():
                self.products[product].stock += qty
        return False

    # ---- all of it

    def copy(self) -> Bank:
        return replace(
            self,
            accounts={name: replace(account) for name, account in self.accounts.items()},
            ledger=dict(self.ledger),
        )


def amount(typed: str, *, zero: bool = False) -> Fraction:
    """Return what a typed amount is: digits, and a point with digits behind it."""
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", typed) or len(re.sub(r"^0+|\.", "", typed)) > 34:
        raise RefusedError(USAGE)
    value = Fraction(typed)
    if not value and not zero:
        raise RefusedError(USAGE)
    return value


def check_digits(typed: str, value: Fraction, currency: str) -> None:
    """An amount has no more digits behind the point than its currency, and with all of them 34 at most."""
    places = PLACES[currency]
    if len(typed.partition(".")[2]) > places or before(value) + places > 34:
        raise RefusedError(USAGE)


def before(value: Fraction) -> int:
    """Return how many digits a number has before the point."""
    whole = abs(value.numerator) // value.denominator
    return len(str(whole)) if whole else 0


def behind(value: Fraction) -> int:
    """Return how many digits a number has behind the point: as many tens as make it whole."""
    places = 0
    while (value * 10**places).denominator != 1:
        places += 1
    return places


def written(value: Fraction) -> int:
    """Return how many digits a number takes when it is written out."""
    return before(value) + behind(value)


def text(value: Fraction) -> str:
    """Return a number as it is typed."""
    places = behind(value)
    digits = str(abs(value * 10**places).numerator).rjust(places + 1, "0")
    return digits if not places else f"{digits[:-places]}.{digits[-places:]}"


def _prices(asked: dict[str, tuple[int, str | None]]) -> dict[str, tuple[int, Fraction | None]]:
    return {p: (qty, None if price is None else Fraction(price)) for p, (qty, price) in asked.items()}
