"""Whether what concurrent writers and readers saw can be explained by one transfer after the other.

A checker of strict serializability for accounts and transfers. Each account's transfers are numbered in the
ledger (`from_entry`, `to_entry`), so the order of versions is known and needs no search: what came before
what is a graph, and a history is right if and only if that graph has no cycle. The edges are, on each account,
from one entry to the next; from the last entry that a read has seen to the read, and from the read to the next
entry; and from what was answered to what began after that. Source: K. Kingsbury and P. Alvaro, "Elle: Inferring
Isolation Anomalies from Experimental Observations", VLDB 2020; A. Adya, "Weak Consistency", MIT 1999.

Pure: it is given what was seen and says what is wrong with it.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from fractions import Fraction

__all__ = ["History", "Move", "Read", "Send", "violations"]


@dataclass(frozen=True)
class Move:
    """A transfer as the ledger has it."""

    key: str
    source: str
    target: str
    amount: Fraction
    from_entry: int
    to_entry: int
    from_balance: Fraction
    to_balance: Fraction
    transaction: str = ""
    """What it was committed with: several of one name are one transaction. Without a name it is alone."""


@dataclass(frozen=True)
class Send:
    """One request to move money: when it was sent, when answered (never: infinity), and what the answer was."""

    key: str
    begun: float
    ended: float = math.inf
    committed: bool | None = None
    """None: the answer stayed out, or said that nobody knows."""
    answer: tuple[Fraction, Fraction] | None = None
    """Both balances after it, as the answer had them."""


@dataclass(frozen=True)
class Read:
    """All accounts in one snapshot: balance and number of entries of each; when it began and was there."""

    begun: float
    ended: float
    seen: Mapping[str, tuple[Fraction, int]]


@dataclass(frozen=True)
class History:
    """What was there to begin with, what was seen, and the ledger at the end."""

    openings: Mapping[str, Fraction]
    moves: Sequence[Move]
    sends: Sequence[Send] = ()
    reads: Sequence[Read] = ()


def violations(history: History) -> list[str]:
    """Return what can't be explained, one sentence each; nothing where all of it can."""
    accounts = {name: _Account(opening) for name, opening in history.openings.items()}
    found: list[str] = []
    for move in history.moves:
        found += accounts[move.source].add(move.from_entry, move, move.from_balance, -move.amount)
        found += accounts[move.target].add(move.to_entry, move, move.to_balance, move.amount)
    for name, account in accounts.items():
        found += account.gaps(name)
    found += _answers(history)
    for at, read in enumerate(history.reads):
        found += _read(f"read {at}", read, accounts, sum(history.openings.values()), history.moves)
    # The graph's edges are made of entries: where those are wrong, a cycle would only say so again.
    return found or list(_cycle(history, accounts))


class _Account:
    """What the ledger has of one account: its entries by number."""

    def __init__(self, opening: Fraction) -> None:
        self.balances = {0: opening}
        self.moves: dict[int, Move] = {}
        self.amounts: dict[int, Fraction] = {}

    def add(self, entry: int, move: Move, after: Fraction, amount: Fraction) -> Iterator[str]:
        if entry in self.moves:
            yield f"{move.key} and {self.moves[entry].key} are both entry {entry} of an account"
        self.moves[entry], self.balances[entry], self.amounts[entry] = move, after, amount

    def gaps(self, name: str) -> Iterator[str]:
        if sorted(self.moves) != list(range(1, len(self.moves) + 1)):
            yield f"{name} has the entries {sorted(self.moves)}"
            return
        for entry, amount in self.amounts.items():
            if self.balances[entry] != self.balances[entry - 1] + amount:
                yield f"{name} does not have after entry {entry} what entry {entry - 1} and its amount make"
            if self.balances[entry] < 0:
                yield f"{name} is below zero after entry {entry}"


def _answers(history: History) -> Iterator[str]:
    ledger = {move.key: move for move in history.moves}
    keys = {send.key for send in history.sends}
    committed = {send.key for send in history.sends if send.committed}
    open_ended = {send.key for send in history.sends if send.committed is None}
    for key in ledger:
        if keys and key not in keys:
            yield f"{key} is in the ledger and nobody sent it"
        elif keys and key not in committed | open_ended:
            yield f"{key} is in the ledger and was answered as refused"
    for send in history.sends:
        if send.committed and send.key not in ledger:
            yield f"{send.key} was answered as committed and is not in the ledger"
        elif send.committed and send.answer is not None:
            move = ledger[send.key]
            if send.answer != (move.from_balance, move.to_balance):
                yield f"{send.key} was answered with other balances than the ledger has"


def _read(
    name: str, read: Read, accounts: Mapping[str, _Account], total: Fraction | int, moves: Sequence[Move]
) -> Iterator[str]:
    if set(read.seen) != set(accounts):
        yield f"{name} saw the accounts {sorted(read.seen)}"
        return
    if sum(balance for balance, _ in read.seen.values()) != total:
        yield f"{name} does not sum to the total"
    for account, (balance, entries) in read.seen.items():
        if balance < 0:
            yield f"{name} saw {account} below zero"
        if accounts[account].balances.get(entries) != balance:
            yield f"{name} saw {account} with {entries} entries and another balance than the ledger has after them"
    for move in moves:
        took = move.from_entry <= read.seen[move.source][1]
        gave = move.to_entry <= read.seen[move.target][1]
        if took != gave:
            yield f"{name} saw one side of {move.key} and not the other"


def _cycle(history: History, accounts: Mapping[str, _Account]) -> Iterator[str]:
    """Lay out what came before what; where that goes round, say what goes round.

    Real time is a chain of instants: a transaction stands after the instant at which it began and before the one
    at which it was answered. Of several who sent one key the earliest beginning and the earliest answer count.
    """
    transaction = {move.key: move.transaction or move.key for move in history.moves}
    before: dict[str, dict[str, None]] = defaultdict(dict)
    for account in accounts.values():
        for entry, move in account.moves.items():
            if entry > 1:
                _add(before, transaction[account.moves[entry - 1].key], transaction[move.key])
    begun: dict[str, float] = {}
    ended: dict[str, float] = defaultdict(lambda: math.inf)
    for send in history.sends:
        if (name := transaction.get(send.key)) is not None:
            begun[name] = min(begun.get(name, math.inf), send.begun)
            if send.committed:
                ended[name] = min(ended[name], send.ended)
    for at, read in enumerate(history.reads):
        name = f"read {at}"
        begun[name], ended[name] = read.begun, read.ended
        for account_id, (_, entries) in read.seen.items():
            moves = accounts[account_id].moves
            if entries > 0:
                _add(before, transaction[moves[entries].key], name)
            if (following := moves.get(entries + 1)) is not None:
                _add(before, name, transaction[following.key])
    instants = sorted({*begun.values(), *(moment for moment in ended.values() if moment < math.inf)})
    for one, other in itertools.pairwise(instants):
        _add(before, _instant(one), _instant(other))
    for name, moment in begun.items():
        _add(before, _instant(moment), name)
    for name, moment in ended.items():
        if moment < math.inf:
            _add(before, name, _instant(moment))
    try:
        TopologicalSorter(before).prepare()
    except CycleError as error:
        around = [name for name in error.args[1][:-1] if not name.startswith(_INSTANT)]
        first = around.index(min(around))
        yield f"no order explains: {' before '.join([*around[first:], *around[:first], around[first]])}"


def _add(before: dict[str, dict[str, None]], earlier: str, later: str) -> None:
    if earlier != later:
        before[later][earlier] = None


_INSTANT = "instant "


def _instant(moment: float) -> str:
    return f"{_INSTANT}{moment!r}"
