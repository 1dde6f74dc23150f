"""What senders of transfers were told, held against the books: committed is committed, refused is not there.

Pure: answers and books in, sentences about what doesn't fit out. That the books fit in themselves, `books` says;
here stands what an outsider knows beside them: with how much each account was opened, what was asked for, and
what was answered.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import books
from books import Books, number

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from decimal import Decimal

__all__ = ["Asked", "Attempt", "differences"]

COMMITTED, ABSENT, REFUSED, UNKNOWN = 0, 3, 6, 9


@dataclass(frozen=True)
class Attempt:
    """One run with a key and what it said: `exit` is the program's code; `row` its answer, if it showed one."""

    exit: int
    seconds: float = 0.0
    row: Mapping[str, Any] | None = None
    said: str = ""

    @property
    def replayed(self) -> bool:
        return bool(self.row and self.row["replayed"])


@dataclass
class Asked:
    """A transfer that a process was to make, and its attempts in their order."""

    key: str
    source: str
    target: str
    amount: Decimal
    note: str | None = None
    attempts: list[Attempt] = field(default_factory=list)


def differences(found: Books, opened: Mapping[str, Decimal], asked: Sequence[Asked]) -> list[str]:
    """Return what doesn't fit, one sentence each. `opened`: what each account held before the first transfer."""
    return [
        *books.differences(found),
        *_balances(found, opened),
        *_records(found, asked),
        *(sentence for senders in _by_key(asked) for sentence in _told(found, senders)),
    ]


def _balances(found: Books, opened: Mapping[str, Decimal]) -> Iterator[str]:
    """No money is made or lost: also on accounts that were there before the ledger."""
    if found.total() != (total := sum(map(Fraction, opened.values()), Fraction())):
        yield f"all accounts hold {float(found.total())}, they were opened with {float(total)}"
    if found.accounts.keys() != opened.keys():
        yield f"not the accounts that were opened: {sorted(found.accounts.keys() ^ opened.keys())}"
    held = {name: Fraction(amount) for name, amount in opened.items()}
    for record in found.transfers.values():
        for side, sign in (("from", -1), ("to", 1)):
            held[record[side]] = held.get(record[side], Fraction()) + sign * number(record["amount"])
    for name in found.accounts:
        if (balance := found.balance(name)) != (right := held.get(name, Fraction())):
            yield f"{name} holds {float(balance)}; what it was opened with and the ledger make {float(right)}"


def _records(found: Books, asked: Sequence[Asked]) -> Iterator[str]:
    """Each record was asked for, as it stands there."""
    wanted = {one.key: one for one in asked}
    for key, record in found.transfers.items():
        if (one := wanted.get(key)) is None:
            yield f"{key} was never asked for"
        elif (one.source, one.target, Fraction(one.amount), one.note) != (
            *(record["from"], record["to"], number(record["amount"]), record.get("note")),
        ):
            yield f"{key} is not what was asked for: {record}, not {one}"


def _by_key(asked: Sequence[Asked]) -> Iterator[list[Asked]]:
    """Put together those who sent the same key."""
    told: defaultdict[str, list[Asked]] = defaultdict(list)
    for one in asked:
        told[one.key].append(one)
    yield from told.values()


def _told(found: Books, senders: list[Asked]) -> Iterator[str]:
    """What those who sent one key were told is so."""
    key, alone = senders[0].key, len(senders) == 1
    record = found.transfers.get(key)
    attempts = [attempt for one in senders for attempt in one.attempts]
    codes = Counter(attempt.exit for attempt in attempts)
    for one in senders:
        if not one.attempts:
            yield f"{key} was never tried"
        for attempt in one.attempts:
            if attempt.exit not in (COMMITTED, ABSENT, REFUSED, UNKNOWN):
                yield f"{key} ended with {attempt.exit}: {attempt.said}"
            elif attempt.exit == COMMITTED:
                yield from _committed(key, record, attempt)
        for number_, attempt in enumerate(one.attempts):
            before = {earlier.exit for earlier in one.attempts[:number_]}
            if attempt.replayed and alone and not before & {COMMITTED, UNKNOWN}:
                yield f"{key} was there already, and had been said not to be: {sorted(before)}"
    if (made := codes[COMMITTED] - sum(attempt.replayed for attempt in attempts)) > 1:
        yield f"{key} was said to be made {made} times"
    if record is not None and alone and codes[REFUSED]:
        yield f"{key} is there, and was refused"
    if record is not None and not codes[COMMITTED] and not codes[UNKNOWN]:
        yield f"{key} is there, and everybody was told that it isn't: {dict(codes)}"


def _committed(key: str, record: Mapping[str, Any] | None, attempt: Attempt) -> Iterator[str]:
    if record is None:
        yield f"{key} was said to be committed, and isn't there"
        return
    if attempt.row is None:
        return  # one of a batch: it was counted, not shown
    for name in ("amount", "from_balance", "to_balance"):
        if Fraction(str(attempt.row[name])) != number(record[name]):
            yield f"{key}: {name} was said to be {attempt.row[name]}, and is {record[name]}"
    for name in ("from", "to"):
        if attempt.row[name] != str(record[name]):
            yield f"{key}: {name} was said to be {attempt.row[name]}, and is {record[name]}"
