"""Requests as one transaction: read, plan, write. The only module that writes balances and ledger records.

Why no money is made or lost. Everything is computed here, in exact decimals, and nothing on the server. A
decision rests on the key and on the two accounts, and the transaction writes all three of them: of two that
have read the same account, or want the same key, the server lets one write and makes the other one begin
again with what the first has left (first writer wins). So snapshot isolation is serialisable here: the
skew that it allows is between things that a transaction reads and doesn't write. Besides, each update asks
for the balance that was read, and the count of what it found is looked at: what slips in nevertheless ends
the transaction instead of being written over.

Commands of one transfer: find, update, insert, commitTransaction. The key isn't looked up before a single
one: the insert tells the same. The accounts are written first: another transfer that has one of them is
noticed before anything else is done in vain.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pymongo import ReadPreference, UpdateOne
from pymongo.errors import OperationFailure
from pymongo.read_concern import ReadConcern

from motorctl.core import driver, money, refusals, transactions
from motorctl.core.transfers import ledger
from motorctl.core.transfers.adoption import adopted
from motorctl.core.transfers.ledger import ACCOUNTS, TRANSFERS, Account
from motorctl.core.transfers.plan import Outcome, Plan, plan
from motorctl.errors import DuplicateKeyError, MotorctlError, RefusedError, ValidationRefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from motorctl.client import Collection, Database
    from motorctl.core.transfers.request import Request

_UNSUITED = (72, 166, 263)
"""A collection of the wrong kind: InvalidOptions, CommandNotSupportedOnView, OperationNotSupportedInTransaction."""


class _TakenError(transactions.OvertakenError):
    """The key is there: the next attempt looks it up."""


class _UnwritableError(Exception):
    """The server won't take what was planned, however often it is tried: `refusal` says why, in our words."""

    def __init__(self, refusal: MotorctlError) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class _NothingError(Exception):
    """All requests are refused: it aborts the transaction, so that no commit's lost answer makes a doubt of it."""

    def __init__(self, outcomes: list[Outcome]) -> None:
        super().__init__()
        self.outcomes = outcomes


async def post(
    db: Database, requests: Sequence[Request], *, seconds: float, whole: bool = False
) -> list[Outcome]:
    """Carry out requests as one transaction and return what became of each, in their order.

    A request that is refused leaves the others alone; with `whole` nothing is written then. A key that is
    there already is answered with its record. What the collections' own rules refuse is an outcome too, of a single
    request; of several it is raised, with the key or the account, and nothing is written: the server says of the first
    one only.

    Raises what `transactions.run` does: UnreachableError (3) when the transaction wasn't through within
    `seconds`, all attempts together; OutcomeUnknownError (9) when the answer of a commit stayed out.
    """
    # Several are cheaper to look up at once than to be stopped by one after the other.
    look = len(requests) > 1 or any(len(_forms(request)) > 1 for request in requests)
    taken = False

    async def once(session: Any) -> list[Outcome]:
        nonlocal look, taken
        made = await prepare(db, requests, session=session, look=look)
        outcomes = made.outcomes
        if whole and made.refused:
            outcomes = made.kept_back()
        elif made.records:
            try:
                await _write(db, made, session, last=taken)
            except _TakenError:
                look = taken = True
                raise
        if not any(outcome.record for outcome in outcomes):
            raise _NothingError(outcomes)
        # Also where all are replayed: that a majority has what was read, only a commit says.
        return outcomes

    try:
        return await transactions.run(db, once, seconds=seconds)
    except _NothingError as nothing:
        return nothing.outcomes
    except _UnwritableError as error:
        if len(requests) == 1:
            return [Outcome(requests[0], refused=error.refusal)]
        raise error.refusal from error


async def prepare(
    db: Database, requests: Sequence[Request], *, session: Any = None, look: bool = True
) -> Plan:
    """Read what requests are about and plan them; writes nothing.

    Without a session it reads what a majority has. Without `look` the keys are looked up only where
    something is refused: a transfer that was made is answered with its record, whatever became of its
    accounts since.
    """
    accounts, moment = await accounts_of(db, requests, session)
    if not look:
        made = plan(requests, accounts, {}, moment)
        if not made.refused:
            return made
    return plan(requests, accounts, await _recorded(db, requests, session), moment)


async def accounts_of(
    db: Database, requests: Sequence[Request], session: Any = None
) -> tuple[dict[Any, Account | RefusedError], datetime]:
    """Read the accounts that requests name, and the server's clock.

    By id, each as it is, or the error that keeps money from moving on it.
    """
    ids = {one: None for r in requests for typed in (r.source, r.target) for one in ledger.candidates(typed)}
    found: dict[Any, Account | RefusedError] = {}
    new: dict[Any, Account] = {}
    moment = datetime.now(UTC)
    fields = {**ledger.ACCOUNT_FIELDS, "now": "$$NOW"}
    cursor = _collection(db, ACCOUNTS, session).find({"_id": {"$in": list(ids)}}, fields, session=session)
    async for document in cursor:
        moment, key = document["now"], document["_id"]
        try:
            found[key] = account = ledger.account(document)
        except RefusedError as error:
            found[key] = error
        else:
            if account.opening is None:
                new[key] = account
    if new:
        found |= await adopted(_collection(db, TRANSFERS, session), new, session)
    return found, moment


async def _recorded(db: Database, requests: Sequence[Request], session: Any) -> dict[str, Mapping[str, Any]]:
    """Read the records that the requests' keys have; one with the text itself goes before another form of it."""
    keys = [form for request in requests for form in _forms(request)]
    cursor = _collection(db, TRANSFERS, session).find({"_id": {"$in": keys}}, session=session)
    recorded: dict[str, Mapping[str, Any]] = {}
    async for record in cursor:
        key = record["_id"]
        if isinstance(key, str) or ledger.text(key) not in recorded:
            recorded[ledger.text(key)] = record
    return recorded


def _forms(request: Request) -> list[Any]:
    """Return the `_id`s that a record with the request's key may have: of another program also an ObjectId."""
    return [request.key] if request.fresh else ledger.candidates(request.key)


def _collection(db: Database, name: str, session: Any) -> Collection:
    if session is not None:
        return db[name]  # a transaction has a read concern of its own
    return db.get_collection(
        name, read_concern=ReadConcern("majority"), read_preference=ReadPreference.PRIMARY
    )


async def _write(db: Database, made: Plan, session: Any, *, last: bool) -> None:
    """Write the plan: the accounts, then the records. Raises OvertakenError, and what can't be written as it is.

    The first duplicate is a key that wasn't looked for, or one that a find in this transaction didn't see (the
    collection had just been made by another). `last`: it isn't the first, and the keys were looked for; then it is
    another unique index, or a collation to which two keys are the same.
    """
    updates = [_update(before, after) for before, after in made.moved]
    name = ACCOUNTS
    try:
        changed = await db[ACCOUNTS].bulk_write(updates, session=session)
        if changed.matched_count != len(updates):
            raise transactions.OvertakenError("an account isn't as it was read")
        name = TRANSFERS
        await db[TRANSFERS].insert_many(made.records, session=session)
    except OperationFailure as error:
        if name == TRANSFERS and not last and _first(error).get("code") == 11000:
            raise _TakenError("the key is there already") from error
        if refusal := _refusal(error, name, made):
            raise _UnwritableError(refusal) from error
        raise


def _update(before: Account, after: Account) -> UpdateOne:
    changes: dict[str, Any] = {"balance": money.stored(after.balance), "entries": after.entries}
    if after.adopted and after.opening is not None:
        changes["opening"] = money.stored(after.opening)
    return UpdateOne({"_id": before.id, "balance": before.stored}, {"$set": changes})


def _refusal(error: OperationFailure, collection: str, made: Plan) -> MotorctlError | None:
    """Say what a write is refused for, if trying it again can't help; None for everything else."""
    first = _first(error)
    code = first.get("code")
    facts: dict[str, Any] = {"collection": collection}
    at = first.get("index")
    if isinstance(at, int):
        if collection == TRANSFERS:
            facts["key"] = made.records[at]["_id"]
        else:
            facts["account"] = ledger.text(made.moved[at][0].id)
    if code == 121:
        broken = refusals.violations(first)
        rules = "; ".join(violation.sentence for violation in broken) or "a rule isn't kept"
        return ValidationRefusedError(
            f"the validator of {collection} refuses what the transfer would write: {rules}",
            hint=f"`motorctl validators show {collection}` prints the rules; nothing was written",
            **facts,
        )
    if code == 11000:
        taken = refusals.duplicate(first)
        return DuplicateKeyError(
            f"a unique index of {collection} refuses what the transfer would write: {taken.sentence}",
            hint=f"`motorctl indexes list {collection}` shows it; nothing was written",
            index=taken.index,
            **facts,
        )
    if code in _UNSUITED:
        words = str(first.get("errmsg") or driver.refusal(error)).rstrip(".")
        return RefusedError(
            f"the collection {collection} takes no transactions: {words}",
            hint="accounts and transfers have to be plain collections: no view, not capped, no time series",
            **facts,
        )
    return None


def _first(error: OperationFailure) -> Mapping[str, Any]:
    """Return the server's document of what went wrong first."""
    details = error.details or {}
    return next(iter(details.get("writeErrors") or ()), details)
