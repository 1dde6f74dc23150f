"""A batch as it would go: the same decisions on the balances that are there, and nothing written.

Each account is read when its first row comes, and its balance carried on from row to row. So memory grows with
the accounts that are named, and with the keys that rows bring along; not with the rows.
"""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from motorctl.core.driver import once
from motorctl.core.transfers.batch import keys
from motorctl.core.transfers.batch.sent import Sent
from motorctl.core.transfers.ledger import candidates
from motorctl.core.transfers.plan import Outcome, plan
from motorctl.core.transfers.post import accounts_of
from motorctl.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from motorctl.client import Database
    from motorctl.core.driver import Attempt
    from motorctl.core.transfers.batch.books import Books
    from motorctl.core.transfers.batch.model import Row
    from motorctl.core.transfers.batch.rows import Rows
    from motorctl.core.transfers.ledger import Account


async def run(
    db: Database,
    rows: Rows,
    batch: str | None,
    books: Books,
    *,
    attempt: Attempt = once,
    progress: Callable[[], None] = lambda: None,
) -> None:
    """Decide on the rows in their order and book what would become of each."""
    rehearsal = _Rehearsal(db, Sent(db, batch, attempt, always=True), books, attempt)
    try:
        while (block := await rows.next()) and not books.too_many:
            await rehearsal.decide(block)
            progress()
    finally:
        books.close()


class _Rehearsal:
    def __init__(self, db: Database, sent: Sent, books: Books, attempt: Attempt) -> None:
        self._db = db
        self._sent = sent
        self._books = books
        self._attempt = attempt
        self._accounts: dict[Any, Account | RefusedError] = {}
        self._asked: set[str] = set()
        self._used: dict[bytes, bytes] = {}

    async def decide(self, rows: list[Row]) -> None:
        asking = [row for row in rows if row.fault is None]
        found = await self._sent.look(asking)
        await self._look_up([row for row in asking if row.number not in found])
        for row in rows:
            if row.fault is not None:
                self._books.refuse(row, *row.fault.why)
            else:
                self._books.settle([row], [found.get(row.number) or self._decided(row)])

    async def _look_up(self, rows: list[Row]) -> None:
        """Read the accounts that the rows name and no row before them has named."""
        requests = [row.request for row in rows if row.request is not None]
        new = [one for one in requests if not self._asked.issuperset((one.source, one.target))]
        if new:
            read, _ = await self._attempt(lambda: accounts_of(self._db, new))
            for key, account in read.items():
                self._accounts.setdefault(key, account)
            self._asked.update(side for one in new for side in (one.source, one.target))

    def _decided(self, row: Row) -> Outcome:
        request = row.request
        assert request is not None
        said = keys.content(request.source, request.target, request.amount, request.note).encode()
        key = blake2b(row.key.encode(errors="surrogatepass"), digest_size=12).digest()
        if key in self._used:
            if self._used[key] == said:
                return Outcome(request, {}, replayed=True)
            error = RefusedError(f"the key {row.key} was used for another transfer", key=row.key)
            return Outcome(request, refused=error)
        ids = [one for typed in (request.source, request.target) for one in candidates(typed)]
        known = {one: self._accounts[one] for one in ids if one in self._accounts}
        made = plan([request], known, {}, datetime.now(UTC))
        (outcome,) = made.outcomes
        if outcome.refused is None:
            for _, after in made.moved:
                self._accounts[after.id] = after
            if row.own:
                self._used[key] = said
        return outcome
