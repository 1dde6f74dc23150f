"""Batches to the server, and the server's answer for each document.

The only part of the engine that holds a collection. It sends ready-made BSON, so the driver encodes
nothing; it counts nothing and knows no files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bson.errors import BSONError
from bson.raw_bson import DEFAULT_RAW_BSON_OPTIONS, RawBSONDocument
from pymongo import UpdateOne
from pymongo.errors import AutoReconnect, BulkWriteError, OperationFailure

from motorctl.core import refusals
from motorctl.core.driver import once
from motorctl.core.ingest.model import Failure, Outcome
from motorctl.errors import MotorctlError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from motorctl.client import Collection
    from motorctl.core.driver import Attempt
    from motorctl.core.ingest.model import Decoded, Plan

__all__ = ["NO_ANSWER", "Writer", "check_acknowledged", "lost"]

DUPLICATE_KEY = 11000
VALIDATION = 121
# Overflow, InvalidBSON, BSONObjectTooLarge: one document that the server can't take apart costs the whole
# command.
SPOILS_A_COMMAND = frozenset({15, 22, 10334})
SHOWN = 200
NO_ANSWER = "no answer from the server: it may be written or not"


def lost(start: int, stop: int, reason: str, error: Exception) -> Outcome:
    """Give the outcome of a batch of which nothing is known: all of it is rejected."""
    return Outcome(failures=_all_failed(start, stop, reason, error), error=error)


def check_acknowledged(collection: Collection) -> None:
    """Raise `UsageError` where the server isn't asked to answer: then no record's fate could be told."""
    if not collection.write_concern.acknowledged:
        raise UsageError(
            "import needs the server's answer, and the write concern is w=0",
            hint="leave w=0 out of the connection string, or say w=1 or w=majority",
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
        ranges = [(start, stop)]
        again = False
        while ranges:
            begin, end = ranges.pop()
            try:
                reached = await self._send(decoded, begin, end, outcome, again=again)
            except Exception as error:  # noqa: BLE001  # the import ends with it, and with its books in order
                if _about_documents(error):
                    if end - begin == 1:
                        outcome.failures.append(
                            Failure(begin, "server", None, _sentence(error), _code(error))
                        )
                    else:
                        # The guilty one is found by halves. What the driver had sent in more than one
                        # message may be there in part.
                        middle, again = (begin + end) // 2, True
                        ranges += [(middle, end), (begin, middle)]
                    continue
                reason = f"not written: {_sentence(error)}"
                unknown = NO_ANSWER if isinstance(error, AutoReconnect) else reason
                outcome.failures += _all_failed(begin, end, unknown, error)
                for unsent in ranges:
                    outcome.failures += _all_failed(*unsent, reason, error)
                outcome.error = error
                break
            if reached < end:
                # An ordered batch ends at its first error: what comes after it is still to be sent.
                ranges.append((reached, end))
        return outcome

    async def _send(self, decoded: Decoded, start: int, stop: int, outcome: Outcome, *, again: bool) -> int:
        """Send a range once and book the answer in `outcome`: return where it is to go on."""
        if self._plan.mode == "insert":
            return await self._insert(decoded, start, stop, outcome, again=again)
        return await self._upsert(decoded, start, stop, outcome)

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

    async def _insert(self, decoded: Decoded, start: int, stop: int, outcome: Outcome, *, again: bool) -> int:
        documents = [RawBSONDocument(raw) for raw in decoded.documents[start:stop]]
        sent = int(again)
        failures: list[Failure] = []
        reached = stop

        async def send() -> None:
            nonlocal sent
            sent += 1
            await self._collection.insert_many(documents, ordered=self._ordered)

        try:
            await self._attempt(send)
        except BulkWriteError as error:
            reached = self._reached(error.details, start, stop)
            failures = [_failure(entry, start + entry["index"]) for entry in error.details["writeErrors"]]
            if sent > 1:
                failures = await self._not_ours(decoded, failures)
            _unconfirmed(error.details, outcome)
        outcome.failures += failures
        outcome.inserted += reached - start - len(failures)
        return reached

    def _reached(self, details: Mapping[str, Any], start: int, stop: int) -> int:
        """How far the server went: an ordered batch ends at its first error."""
        errors = details["writeErrors"]
        return start + errors[-1]["index"] + 1 if self._ordered and errors else stop

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

    async def _upsert(self, decoded: Decoded, start: int, stop: int, outcome: Outcome) -> int:
        operations: Sequence[Any] = [
            UpdateOne(RawBSONDocument(query), _replacement(document), upsert=True)
            for query, document in zip(
                decoded.filters[start:stop], decoded.documents[start:stop], strict=True
            )
        ]
        failures: list[Failure] = []
        details: Mapping[str, Any]
        reached = stop

        async def send() -> Mapping[str, Any]:
            return (await self._collection.bulk_write(operations, ordered=self._ordered)).bulk_api_result

        try:
            details = await self._attempt(send)
        except BulkWriteError as error:
            details = error.details
            reached = self._reached(details, start, stop)
            failures = [_failure(entry, start + entry["index"]) for entry in details["writeErrors"]]
            _unconfirmed(details, outcome)
        inserted, updated = details["nUpserted"], details["nModified"]
        outcome.failures += failures
        outcome.inserted += inserted
        outcome.updated += updated
        outcome.unchanged += reached - start - len(failures) - inserted - updated
        return reached


def _all_failed(start: int, stop: int, reason: str, error: Exception) -> list[Failure]:
    return [Failure(at, "server", None, reason, _code(error)) for at in range(start, stop)]


def _about_documents(error: Exception) -> bool:
    """Whether it is a document that made the whole command fail, and not the connection or a right."""
    if isinstance(error, OperationFailure):
        return error.code in SPOILS_A_COMMAND
    return isinstance(error, BSONError | OverflowError)


def _code(error: Exception) -> int | None:
    return getattr(error, "code", None)


def _sentence(error: Exception) -> str:
    """Give an error without the reply that the driver adds, and what repeats the document."""
    sentence = str(error).partition(", full error:")[0]
    return sentence if len(sentence) <= SHOWN else sentence[:SHOWN] + "..."


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
