"""Batches to the server, and the server's answer for each document.

The only part of the engine that holds a collection. It sends ready-made BSON, so the driver encodes
nothing; it counts nothing and knows no files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from bson.raw_bson import DEFAULT_RAW_BSON_OPTIONS, RawBSONDocument
from pymongo import UpdateOne
from pymongo.errors import AutoReconnect, BulkWriteError

from motorctl.core import refusals
from motorctl.core.ingest.model import Failure, Outcome
from motorctl.errors import MotorctlError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from motorctl.client import Collection
    from motorctl.core.ingest.model import Decoded, Plan

__all__ = ["NO_ANSWER", "Attempt", "Writer", "lost", "once"]

DUPLICATE_KEY = 11000
VALIDATION = 121
NO_ANSWER = "no answer from the server: it may be written or not"


Attempt: TypeAlias = "Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]"


async def once(operation: Callable[[], Awaitable[Any]]) -> Any:
    return await operation()


def lost(start: int, stop: int, reason: str, error: Exception) -> Outcome:
    """Give the outcome of a batch of which nothing is known: all of it is rejected."""
    code = getattr(error, "code", None)
    return Outcome(
        failures=[Failure(at, "server", None, reason, code) for at in range(start, stop)], error=error
    )


class Writer:
    """Writes slices of decoded chunks into one collection.

    `attempt` awaits an operation, and may await it again where no answer came. That does no harm: an
    insert carries its `_id`, and an upsert finds its own document.
    """

    def __init__(
        self, collection: Collection, plan: Plan, *, ordered: bool = False, attempt: Attempt = once
    ) -> None:
        self._collection = collection
        self._plan = plan
        self._ordered = ordered
        self._attempt = attempt

    async def write(self, decoded: Decoded, start: int, stop: int) -> Outcome:
        """Write documents `start` to `stop`; never raises for what the server or the network does.

        An outcome's `error` says why the import can't go on; then each document whose fate is unknown
        is a failure of it.
        """
        outcome = Outcome()
        try:
            if self._plan.mode == "insert":
                await self._insert(decoded, start, stop, outcome)
            else:
                await self._upsert(decoded, start, stop, outcome)
        except Exception as error:  # noqa: BLE001  # the import ends with it, and with its books in order
            reason = NO_ANSWER if isinstance(error, AutoReconnect) else f"not written: {error}"
            outcome = lost(start, stop, reason, error)
        return outcome

    async def rehearse(self, decoded: Decoded, start: int, stop: int) -> Outcome:
        """Tell what `write` would do, from what is in the collection now. Writes nothing."""
        outcome = Outcome()
        if self._plan.mode == "insert":
            outcome.inserted = stop - start
            return outcome
        raw: Any = self._collection.with_options(codec_options=DEFAULT_RAW_BSON_OPTIONS)
        for query, document in zip(decoded.filters[start:stop], decoded.documents[start:stop], strict=True):
            stored = await raw.find_one(RawBSONDocument(query))
            if stored is None:
                outcome.inserted += 1
                continue
            wanted = dict(RawBSONDocument(document))
            same = list({"_id": stored["_id"], **wanted}.items()) == list(stored.items())
            outcome.unchanged += same
            outcome.updated += not same
        return outcome

    async def _insert(self, decoded: Decoded, start: int, stop: int, outcome: Outcome) -> None:
        position = start
        while position < stop:
            documents = [RawBSONDocument(raw) for raw in decoded.documents[position:stop]]
            sent = 0

            async def send(documents: list[RawBSONDocument] = documents) -> None:
                nonlocal sent
                sent += 1
                await self._collection.insert_many(documents, ordered=self._ordered)

            try:
                await self._attempt(send)
            except BulkWriteError as error:
                errors = error.details["writeErrors"]
                failures = [_failure(entry, position + entry["index"]) for entry in errors]
                if sent > 1:
                    failures = await self._not_ours(decoded, failures)
                outcome.failures += failures
                _unconfirmed(error.details, outcome)
                if self._ordered and errors:
                    # An ordered batch ends at its first error: what comes after it is still to be sent.
                    position += errors[-1]["index"] + 1
                    continue
            break
        outcome.inserted = stop - start - len(outcome.failures)

    async def _not_ours(self, decoded: Decoded, failures: list[Failure]) -> list[Failure]:
        """Leave out the duplicates that the lost attempt itself had inserted."""
        kept = []
        for failure in failures:
            if failure.stage == "duplicate" and failure.field == "_id":
                if failure.position in decoded.generated:
                    continue
                document = RawBSONDocument(decoded.documents[failure.position])
                raw: Any = self._collection.with_options(codec_options=DEFAULT_RAW_BSON_OPTIONS)
                stored = await raw.find_one({"_id": document["_id"]})
                if stored is not None and dict(stored) == dict(document):
                    continue
            kept.append(failure)
        return kept

    async def _upsert(self, decoded: Decoded, start: int, stop: int, outcome: Outcome) -> None:
        position = start
        while position < stop:
            operations: Sequence[Any] = [
                UpdateOne(RawBSONDocument(query), _replacement(document), upsert=True)
                for query, document in zip(
                    decoded.filters[position:stop], decoded.documents[position:stop], strict=True
                )
            ]
            errors: list[dict[str, Any]] = []
            details: Mapping[str, Any]

            async def send(operations: Sequence[Any] = operations) -> Mapping[str, Any]:
                return (await self._collection.bulk_write(operations, ordered=self._ordered)).bulk_api_result

            try:
                details = await self._attempt(send)
            except BulkWriteError as error:
                details = error.details
                errors = details["writeErrors"]
                outcome.failures += [_failure(entry, position + entry["index"]) for entry in errors]
                _unconfirmed(details, outcome)
            outcome.inserted += details["nUpserted"]
            outcome.updated += details["nModified"]
            if not (self._ordered and errors):
                break
            position += errors[-1]["index"] + 1
        outcome.unchanged = stop - start - len(outcome.failures) - outcome.inserted - outcome.updated


def _failure(error: Mapping[str, Any], position: int) -> Failure:
    """Turn an entry of a reply's `writeErrors` into the failure of the document at `position`."""
    code = error.get("code")
    message = str(error.get("errmsg", "refused"))
    if code == DUPLICATE_KEY:
        duplicate = refusals.duplicate(error)
        return Failure(position, "duplicate", ",".join(duplicate.fields) or None, duplicate.sentence, code)
    if code == VALIDATION:
        broken = refusals.violations(error)
        field = (broken[0].field if broken else "") or None
        return Failure(position, "validator", field, "; ".join(v.sentence for v in broken) or message, code)
    return Failure(position, "server", None, message, code)


def _replacement(document: bytes) -> list[dict[str, Any]]:
    """Give the update that makes a found document this one, and keeps its `_id` where this one has none.

    A pipeline, because the server notices that a pipeline changes nothing. A plain replacement without
    `_id` counts as modified always, and is written again.
    """
    return [{"$replaceWith": {"$mergeObjects": [{"_id": "$_id"}, {"$literal": RawBSONDocument(document)}]}}]


def _unconfirmed(details: Mapping[str, Any], outcome: Outcome) -> None:
    if problems := details.get("writeConcernErrors"):
        outcome.error = MotorctlError(
            f"written, but the write concern was not met: {problems[0].get('errmsg', problems[0])}",
            hint="the documents are on the primary and may be lost if it fails now",
            code=problems[0].get("code"),
        )
