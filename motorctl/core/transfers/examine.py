"""One account held against its records, entry by entry: what is wrong with it, and where. Pure.

The judge of `verify`: every number is read exactly here, in Python's decimals. It is told the records in the
order of their entries and remembers none of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any

from motorctl.core import money
from motorctl.core.transfers.ledger import text
from motorctl.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

# A Decimal128 goes from 10^-6176 to 10^6145: no sum of them is rounded.
WIDE = Context(prec=12_400)


@dataclass(frozen=True)
class Difference:
    """One thing that isn't as it should be. `expected` and `found` are texts; `message` is a sentence."""

    kind: str
    message: str
    account: str | None = None
    key: str | None = None
    entry: int | None = None
    currency: str | None = None
    expected: str | None = None
    found: str | None = None

    def row(self) -> dict[str, Any]:
        """Return it as users see it: what doesn't apply is None."""
        names = ("kind", "account", "key", "entry", "currency", "expected", "found", "message")
        return {name: getattr(self, name) for name in names}


def number(stored: Any) -> Decimal | None:
    """Return the decimal that a stored number is, exactly; None for what is no exact number."""
    try:
        return money.exact(stored)
    except RefusedError:
        return None


def shown(value: Any) -> str:
    """Return a stored value as a difference shows it."""
    if isinstance(value, Decimal):
        return money.shown(value)
    return "nothing" if value is None else text(value)


@dataclass
class Examination:
    """An account, `None` where there is none, while its records are being told by `take`, and after `end`."""

    id: Any
    account: Mapping[str, Any] | None
    room: int
    """How many differences are kept; `count` goes on."""
    found: list[Difference] = field(default_factory=list)
    count: int = 0
    moved: Decimal | None = Decimal(0)
    """What the records have moved in all; None where one of them has no exact amount."""
    own: int = 0
    """Records that have a number on this account."""
    foreign: int = 0
    orphans: int = 0
    _last: int = 0
    _running: tuple[Decimal, ...] = ()
    """What it may have after the last entry: what the record says and, if that was wrong, what it should say."""

    def __post_init__(self) -> None:
        stored = self.account or {}
        self._name = text(self.id)
        self.balance = number(stored.get("balance"))
        self.opening = number(stored.get("opening"))
        self._running = () if self.opening is None else (self.opening,)

    def take(self, record: Mapping[str, Any]) -> None:
        """Look at one side of a record, as `books.entries` has it: those without a number first, then in order."""
        side, key = record["side"], text(record["_id"])
        if self.account is None:
            self.orphans += 1
            direction = "from" if side["paid"] else "to"
            self._add("orphan", f"{key} goes {direction} {self._name}, which is no account", key=key)
            return
        amount = number(record.get("amount"))
        if amount is None or amount <= 0:
            stored = shown(record.get("amount"))
            self._add("amount", f"{key} moves {stored}, which is no exact amount", key=key, found=stored)
            amount = None
        if side.get("other") == self.id and side["paid"]:
            self._add("self", f"{key} goes from {self._name} to itself", key=key)
        change = None if amount is None else (WIDE.minus(amount) if side["paid"] else amount)
        self.moved = None if change is None or self.moved is None else WIDE.add(self.moved, change)
        entry = side.get("entry")
        if _numbers(entry):
            self._entry(int(entry), key, change, side)
            return
        self.foreign += 1
        if entry is not None or _numbers(side.get("other_entry")):
            other = shown(entry)
            self._add("entry", f"{key} has {other} as its entry on {self._name}", key=key, found=other)

    def end(self) -> list[Difference]:
        """Look at the account as a whole, after its last record; return what was found."""
        if self.account is None:
            return self.found
        said = self.account.get("entries") or 0
        if self.own and self.account.get("opening") is None:
            self._add("opening", f"{self._name} has {_entries(self.own)} in the ledger and no opening")
        if not isinstance(said, int) or isinstance(said, bool) or said < 0:
            self._add("entries", f"{self._name} says that it has {shown(said)} entries", found=shown(said))
        elif said > self._last:
            self._gap(self._last + 1, int(said))
        elif said < self._last:
            message = (
                f"{self._name} says that it has {_entries(said)}; the last one in the ledger is {self._last}"
            )
            self._add("entries", message, expected=str(self._last), found=str(said))
        currency = self.account.get("currency")
        if currency is not None and not isinstance(currency, str):
            self._add("currency", f"the currency of {self._name} is {shown(currency)}", found=shown(currency))
        self._balance()
        return self.found

    @property
    def before(self) -> bool:
        """Whether the ledger knows nothing of it: it was there before, and no transfer of ours has touched it."""
        return self.account is not None and self.account.get("opening") is None and not self.own

    def _entry(self, entry: int, key: str, change: Decimal | None, side: Mapping[str, Any]) -> None:
        self.own += 1
        after = number(side.get("after"))
        if after is not None and after < 0:
            message = f"after entry {entry}, {key}, {self._name} has {shown(after)}"
            self._add("negative", message, key, entry, found=shown(after))
        if entry == self._last:
            self._add("twice", f"entry {entry} of {self._name} is there twice: {key} has it too", key, entry)
            return
        if entry > self._last + 1:
            self._gap(self._last + 1, entry - 1)
            self._running = ()
        # What other programs move stands nowhere in the order of entries.
        possible = () if change is None or self.foreign else [WIDE.add(one, change) for one in self._running]
        says = () if after is None else (after,)
        if possible and after not in possible:
            stored = shown(side.get("after"))
            message = (
                f"after entry {entry}, {key}, {self._name} has to have {shown(possible[0])}: "
                f"the record says {stored}"
            )
            self._add("running", message, key, entry, expected=shown(possible[0]), found=stored)
            says = (*says, possible[0])
        self._last, self._running = entry, says

    def _gap(self, first: int, last: int) -> None:
        missing = f"entry {first} is" if first == last else f"entries {first} to {last} are"
        message = f"{missing} missing of {self._name}"
        wanted = str(first) if first == last else f"{first}..{last}"
        self._add("gap", message, entry=first, expected=wanted)

    def _balance(self) -> None:
        assert self.account is not None
        for name, value in (("balance", self.balance), ("opening", self.opening)):
            if value is None and (name == "balance" or self.account.get(name) is not None):
                stored = shown(self.account.get(name))
                self._add("number", f"the {name} of {self._name} is {stored}, no exact number", found=stored)
        if self.balance is None:
            return
        if self.opening is not None and self.moved is not None:
            expected = WIDE.add(self.opening, self.moved)
            if expected != self.balance:
                message = (
                    f"{self._name} has {shown(self.balance)}; its opening of {shown(self.opening)} "
                    f"and its records make {shown(expected)}"
                )
                self._add("balance", message, expected=shown(expected), found=shown(self.balance))
        if self.balance < 0:
            self._add("negative", f"{self._name} has {shown(self.balance)}", found=shown(self.balance))
        if self.account.get("status") == "closed" and self.balance:
            message = f"{self._name} is closed and has {shown(self.balance)}"
            self._add("closed", message, expected="0", found=shown(self.balance))

    def _add(
        self, kind: str, message: str, key: str | None = None, entry: int | None = None, **more: Any
    ) -> None:
        self.count += 1
        if len(self.found) < self.room:
            self.found.append(Difference(kind, message, self._name, key, entry, **more))


def _numbers(entry: Any) -> bool:
    return isinstance(entry, int) and not isinstance(entry, bool) and entry > 0


def _entries(count: int) -> str:
    return "1 entry" if count == 1 else f"{count:,} entries"
