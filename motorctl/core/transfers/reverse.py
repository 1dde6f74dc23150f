"""Taking a transfer back: a new transfer the other way, under a key that follows from the first one's.

So it happens once at most, whoever asks and how often: the second time it is the same key with the same
arguments. Records are never changed; that one was taken back, its reversal's `reverses` says.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from pymongo import ReadPreference
from pymongo.read_concern import ReadConcern

from motorctl.core import money
from motorctl.core.transfers import ledger
from motorctl.core.transfers.ledger import REVERSAL, TRANSFERS
from motorctl.core.transfers.request import Request
from motorctl.errors import NotFoundError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from motorctl.client import Database


async def request(db: Database, key: str, note: str | None = None) -> Request:
    """Return the request that takes back the transfer with this key; `post` carries it out.

    Without a note it is the one of a reversal that is there already. Raises NotFoundError (5), and RefusedError (6)
    for what can't be taken back: a reversal, a record without an exact amount.
    """
    collection = db.get_collection(
        TRANSFERS, read_concern=ReadConcern("majority"), read_preference=ReadPreference.PRIMARY
    )
    back = f"{key}{REVERSAL}"
    found: list[Mapping[str, Any]] = []
    async for record in collection.find({"_id": {"$in": [*ledger.candidates(key), back]}}):
        if record["_id"] == back:
            note = record.get("note") if note is None else note
        else:
            found.append(record)
    if not found:
        raise NotFoundError(
            f"no transfer {key} in the ledger",
            hint=f"`motorctl transfer show {shlex.quote(key)}` tells whether one is on its way",
            key=key,
        )
    if len(found) > 1:
        raise RefusedError(
            f"there are {len(found)} transfers {key}, whose keys are of different types",
            hint="which one is meant can't be said here",
            key=key,
        )
    original = found[0]
    source, target = original.get("to"), original.get("from")
    if source is None or target is None:
        raise RefusedError(f"the transfer {key} doesn't say from whom to whom: nothing to take back", key=key)
    amount = money.exact(original.get("amount"), of=f"the amount of the transfer {key}")
    if (first := original.get("reverses")) is not None:
        anew = shlex.join([ledger.text(source), ledger.text(target), money.shown(amount)])
        raise RefusedError(
            f"{key} is itself a reversal, of {first}: it can't be taken back",
            hint=f"a new transfer moves the money again: `motorctl transfer send {anew}`",
            key=key,
        )
    if amount <= 0:
        raise RefusedError(f"the transfer {key} moved {money.shown(amount)}: nothing to take back", key=key)
    return Request(
        key=back,
        source=source,
        target=target,
        amount=amount,
        note=note,
        reverses=ledger.text(original["_id"]),
    )
