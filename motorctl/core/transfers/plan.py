"""Pure: requests, the accounts they name and the records that are there -> what to write, and what to answer.

The one place that decides whether money may move; `send`, `reverse`, `batch` and `--dry-run` all ask it.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from bson import Binary, ObjectId

from motorctl.core import money
from motorctl.core.transfers.ledger import Account, candidates, text
from motorctl.errors import MotorctlError, NotFoundError, RefusedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal

    from motorctl.core.transfers.request import Request


@dataclass(frozen=True)
class Outcome:
    """What became of one request: a record, new or found, or the error that refuses it.

    Neither where another one's refusal has kept it from being carried out.
    """

    request: Request
    record: Mapping[str, Any] | None = None
    replayed: bool = False
    refused: MotorctlError | None = None


@dataclass
class Plan:
    """What one transaction writes, and the answer to each request, in their order."""

    outcomes: list[Outcome] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    before: dict[Any, Account] = field(default_factory=dict)
    after: dict[Any, Account] = field(default_factory=dict)

    @property
    def refused(self) -> bool:
        return any(outcome.refused for outcome in self.outcomes)

    def kept_back(self) -> list[Outcome]:
        """Return the answers when nothing of it is written: only what was there before has a record."""
        planned = {record["_id"] for record in self.records}
        return [
            Outcome(outcome.request) if outcome.record and outcome.record["_id"] in planned else outcome
            for outcome in self.outcomes
        ]

    @property
    def moved(self) -> list[tuple[Account, Account]]:
        """Each account that the records change, before and after."""
        pairs = ((before, self.after[key]) for key, before in self.before.items())
        return [(before, after) for before, after in pairs if after is not before]


def plan(
    requests: Sequence[Request],
    accounts: Mapping[Any, Account | RefusedError],
    recorded: Mapping[str, Mapping[str, Any]],
    moment: datetime,
) -> Plan:
    """Decide on requests one after the other, each on what the ones before it leave.

    `accounts` by id, with `opening` set, or the error that keeps one from being used; `recorded` are the
    records that the requests' keys have, by the text of their key.
    """
    made = Plan()
    unfit: dict[Any, RefusedError] = {}
    for key, found in accounts.items():
        if isinstance(found, Account):
            made.before[key] = made.after[key] = found
        else:
            unfit[key] = found
    known = dict(recorded)
    for request in requests:
        try:
            if (there := known.get(request.key)) is not None:
                made.outcomes.append(_again(request, there))
                continue
            record = _moved(request, made.after, unfit, moment)
        except MotorctlError as error:
            made.outcomes.append(Outcome(request, refused=error))
            continue
        made.records.append(record)
        known[request.key] = record
        made.outcomes.append(Outcome(request, record))
    return made


def _again(request: Request, found: Mapping[str, Any]) -> Outcome:
    """Answer a key that is there with its record, if it asks for the same. Raises RefusedError (6)."""
    try:
        stored: Decimal | None = money.exact(found.get("amount"))
    except RefusedError:
        stored = None
    pairs = {
        "from": (found.get("from"), request.source, found.get("from") in candidates(request.source)),
        "to": (found.get("to"), request.target, found.get("to") in candidates(request.target)),
        "amount": (found.get("amount"), money.shown(request.amount), stored == request.amount),
        "note": (found.get("note"), request.note, found.get("note") == request.note),
        "reverses": (found.get("reverses"), request.reverses, found.get("reverses") == request.reverses),
    }
    differs = {name: (was, asked) for name, (was, asked, same) in pairs.items() if not same}
    if not differs:
        return Outcome(request, found, replayed=True)
    said = "; ".join(f"{name} {_said(was)}, not {_said(asked)}" for name, (was, asked) in differs.items())
    raise RefusedError(
        f"the key {request.key} was used for another transfer: {said}",
        hint=f"`motorctl transfer show {shlex.quote(request.key)}` shows it; another transfer needs another key",
        key=request.key,
        differs=list(differs),
    )


def _said(value: Any) -> str:
    if value is None:
        return "none"
    return repr(value) if isinstance(value, str) and " " in value else text(value)


def _moved(
    request: Request, accounts: dict[Any, Account], unfit: Mapping[Any, RefusedError], moment: datetime
) -> dict[str, Any]:
    """Move the amount between the accounts as they are now and return the ledger's record."""
    source, target = (_account(side, accounts, unfit) for side in (request.source, request.target))
    if source.id == target.id:
        raise UsageError(f"a transfer needs two accounts, and both are {text(source.id)}")
    for side in (source, target):
        _check_status(side)
    if (source.currency or "").upper() != (target.currency or "").upper():
        raise RefusedError(
            f"account {text(source.id)} {_in(source.currency)}, {text(target.id)} {_in(target.currency)}: "
            "a transfer stays in one currency",
            hint=f"`motorctl accounts list --currency {source.currency}` shows those it can go to"
            if source.currency
            else "`motorctl accounts list` shows the currency of each",
            from_currency=source.currency,
            to_currency=target.currency,
        )
    amount = _fitting(request, source.currency)
    if source.balance < amount:
        currency = f" {source.currency}" if source.currency else ""
        raise RefusedError(
            f"insufficient funds: account {text(source.id)} has {money.shown(source.balance)}{currency}, "
            f"not {money.shown(amount)}",
            hint=f"send {money.shown(source.balance)} at most, or put money there first",
            account=text(source.id),
            balance=money.shown(source.balance),
            amount=money.shown(amount),
        )
    taken = _after(source, money.subtracted, amount)
    given = _after(target, money.added, amount)
    accounts[source.id], accounts[target.id] = taken, given
    record = {
        "_id": request.key,
        "from": source.id,
        "to": target.id,
        "amount": money.stored(amount),
        "currency": source.currency,
        "note": request.note,
        "reverses": request.reverses,
        "created_at": moment,
        "from_balance": money.stored(taken.balance),
        "to_balance": money.stored(given.balance),
        "from_entry": taken.entries,
        "to_entry": given.entries,
    }
    return {name: value for name, value in record.items() if value is not None}


def _after(account: Account, count: Callable[[Decimal, Decimal], Decimal], amount: Decimal) -> Account:
    """Return an account with its next entry. Raises RefusedError (6) for a balance that can't be kept exactly."""
    try:
        balance = count(account.balance, amount)
    except RefusedError as error:
        raise RefusedError(
            f"the balance of account {text(account.id)} can't be kept exactly then: {error.message}",
            account=text(account.id),
        ) from error
    return replace(account, balance=balance, entries=account.entries + 1)


_KINDS = {str: "text", ObjectId: "ObjectId", Binary: "UUID"}


def _account(typed: Any, accounts: Mapping[Any, Account], unfit: Mapping[Any, RefusedError]) -> Account:
    found = [one for one in candidates(typed) if one in accounts or one in unfit]
    name = text(typed)
    if not found:
        raise NotFoundError(
            f"no account {name}", hint="`motorctl accounts list` shows the ones that are there", account=name
        )
    if len(found) > 1:
        kinds = " and ".join(_KINDS.get(type(one), "number") for one in found)
        raise RefusedError(
            f"there are {len(found)} accounts {name}: their ids are of different types, {kinds}",
            hint="which one is meant can't be said here: no money moves on either",
            account=name,
        )
    if found[0] in unfit:
        error = unfit[found[0]]
        raise type(error)(error.message, hint=error.hint, **error.details)
    return accounts[found[0]]


def _check_status(account: Account) -> None:
    if account.status == "open":
        return
    name = text(account.id)
    message, hint = f"account {name} is {account.status}", None
    if account.status == "frozen":
        hint = f"`motorctl accounts unfreeze {shlex.quote(name)}` lets money move again"
    elif account.status != "closed":
        message = f"account {name} has the status {account.status!r}, which is not open, frozen or closed"
    raise RefusedError(message, hint=hint, account=name, status=account.status)


def _fitting(request: Request, currency: str | None) -> Decimal:
    """Return the amount with its currency's digits. A reversal takes back what was moved, with all its digits."""
    try:
        return money.fitting(request.amount, currency)
    except UsageError:
        if request.reverses is None:
            raise
        return request.amount


def _in(currency: str | None) -> str:
    return f"is in {currency}" if currency else "has no currency"
