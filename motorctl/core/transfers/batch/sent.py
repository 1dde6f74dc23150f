"""What the ledger holds of rows already, asked before they are sent. Writes nothing.

A batch that is sent again, because it was stopped or by mistake, is answered from here: one query for
hundreds of rows, instead of a transaction that finds the same. It also finds rows that were changed since:
under the name of a batch, at most one row is ever sent of each place in its file. A file into which somebody
has put a row since it was sent would otherwise be paid again from there on; and so would a row that was mended
both in the file and in its rejects.

It is a shortcut, and a guard against a file that has changed; what keeps two runs at the same time from
sending a row twice is the key, in the transaction.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bson.regex import Regex
from pymongo import ReadPreference
from pymongo.read_concern import ReadConcern

from motorctl.core.transfers import ledger
from motorctl.core.transfers.batch import keys
from motorctl.core.transfers.plan import Outcome, plan
from motorctl.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from motorctl.client import Collection, Database
    from motorctl.core.driver import Attempt
    from motorctl.core.transfers.batch.model import Row

FRUITLESS = 4
"""Looks in a row that find nothing, after which a batch that is new to the ledger isn't looked for any more."""


class Sent:
    """Looks for the rows of one batch. `always`: for each of them, however little is found."""

    def __init__(self, db: Database, batch: str | None, attempt: Attempt, *, always: bool = False) -> None:
        # Majority: what is answered as done must be a record that no election takes back.
        self._ledger: Collection = db.get_collection(
            ledger.TRANSFERS, read_concern=ReadConcern("majority"), read_preference=ReadPreference.PRIMARY
        )
        self._batch = batch
        self._attempt = attempt
        self._always = always
        self._begun: bool | None = None
        self._fruitless = 0

    async def look(self, rows: Sequence[Row]) -> dict[int, Outcome]:
        """Return the outcome of each row that the ledger decides, by its number: a replay, or a refusal."""
        if self._begun is None:
            self._begun = self._batch is not None and await self._was_begun(self._batch)
        worthwhile = self._begun or self._always or self._fruitless < FRUITLESS
        if not rows or not (worthwhile or any(row.refused_before for row in rows)):
            return {}
        forms = {form: None for row in rows for form in ledger.candidates(row.key)}
        found_records = await self._records({"_id": {"$in": list(forms)}})
        recorded = {ledger.text(key): found for key, found in found_records.items()}
        known = [row for row in rows if row.key in recorded]
        found = plan(
            [row.request for row in known if row.request is not None], {}, recorded, datetime.now(UTC)
        )
        outcomes = {row.number: outcome for row, outcome in zip(known, found.outcomes, strict=True)}
        outcomes |= await self._changed([row for row in rows if row.key not in recorded])
        self._fruitless = 0 if outcomes else self._fruitless + 1
        return outcomes

    async def _was_begun(self, batch: str) -> bool:
        # "0" comes right after "/".
        within = {"_id": {"$gte": f"{batch}/", "$lt": f"{batch}0"}}
        return await self._attempt(lambda: self._ledger.find_one(within, {"_id": 1})) is not None

    async def _changed(self, rows: Sequence[Row]) -> dict[int, Outcome]:
        """Refuse the rows at whose place another row was sent."""
        places: dict[str, list[Row]] = {}
        for row in rows:
            # A line of a rejects file stands for the row of another batch.
            if (row.refused_before or (self._begun and not row.own)) and (place := keys.place(row.key)):
                places.setdefault(place, []).append(row)
        if not places:
            return {}
        # Not Python's: the flag that those bring along keeps the server from using the index.
        starts = [Regex(f"^{re.escape(place)}") for place in places]
        outcomes = {}
        found = await self._records({"_id": {"$in": starts}}, {"_id": 1})
        at_places = [(key, row) for key in found for row in places.get(keys.place(key) or "", ())]
        for key, row in at_places:
            assert row.request is not None
            if key == row.key or key.startswith(f"{row.key}/"):
                continue  # sent just now, by another run of the same batch: its transaction will find it
            batch, number, _ = row.key.split("/", 2)
            error = RefusedError(
                f"row {number} of {batch} was sent before with other content, as {key}: the file has changed",
                hint="send what is new under another --batch name",
                key=row.key,
                sent=key,
            )
            outcomes[row.number] = Outcome(row.request, refused=error)
        return outcomes

    async def _records(self, query: dict[str, Any], fields: dict[str, int] | None = None) -> dict[str, Any]:
        async def read() -> dict[str, Any]:
            return {one["_id"]: one async for one in self._ledger.find(query, fields)}

        found: dict[str, Any] = await self._attempt(read)
        return found
