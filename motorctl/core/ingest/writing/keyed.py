"""The modes with a key: what is looked at, and what is sent for each record.

A batch is looked up first, with one find: that costs a twentieth of an upsert. What isn't there is
inserted (an eighth), what is there and the same is left alone, what differs is replaced by a plain
update. Where a look can't be trusted to say which record finds which document, the statements that are
right in any case are sent instead ("plainly"): updates that insert what they don't find.

Counts are those of the look, so that a batch that is sent twice counts as one that is sent once. What was
sent plainly and had its answer lost counts as unchanged if its first sending did it: nothing tells the two
apart.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

import bson
from bson.raw_bson import DEFAULT_RAW_BSON_OPTIONS, RawBSONDocument
from pymongo.errors import OperationFailure
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference

from motorctl.core.driver import RETRYABLE_CODES
from motorctl.core.ingest.model import Failure, Outcome
from motorctl.core.ingest.writing import elements
from motorctl.core.ingest.writing.send import (
    DUPLICATE_KEY,
    NO_ANSWER,
    Answer,
    about_documents,
    code_of,
    failure,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from motorctl.client import Collection
    from motorctl.core.driver import Attempt
    from motorctl.core.ingest.model import Decoded, Plan
    from motorctl.core.ingest.writing.send import Command, Sender

__all__ = ["Keyed", "State", "freshest", "is_simple", "is_unique_within", "no_counterpart"]

_UPSERT = b"\x08upsert\0\x01"
_LIMIT_ONE = b"\x10limit\0\x01\0\0\0"


class State(Enum):
    """What a look found for a record: PLAIN is what it can't tell, or may not."""

    ABSENT = "absent"
    SAME = "same"
    OTHER = "other"
    PLAIN = "plain"


def is_simple(indexes: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a collection compares texts by their bytes: its `_id` index tells its collation."""
    return not any("collation" in index for index in indexes if list(index["key"]) == ["_id"])


def is_unique_within(index: Mapping[str, Any], key: Sequence[str]) -> bool:
    """Whether an index keeps two documents with the same values in the fields of a key from being there."""
    fields = index["key"]
    return (
        (bool(index.get("unique")) or list(fields) == ["_id"])
        and set(fields) <= set(key)
        and all(kind in (1, -1) for kind in fields.values())
        and not index.get("sparse")
        and not ({"partialFilterExpression", "collation"} & index.keys())
    )


def freshest(collection: Collection) -> Any:
    """Give the collection such that it is read as it is now, and in raw BSON.

    The connection string may say otherwise; what a secondary doesn't have yet would be written twice.
    """
    options: dict[str, Any] = {
        "codec_options": DEFAULT_RAW_BSON_OPTIONS,
        "read_preference": ReadPreference.PRIMARY,
        "read_concern": ReadConcern("local"),
    }
    return collection.with_options(**options)


def no_counterpart(position: int, key: Sequence[str]) -> Failure:
    """Tell of a document that `replace` has nothing to replace for; `position` is its place in the input."""
    return Failure(position, "server", ",".join(key), "no document has this key, and replace adds none", None)


class Keyed:
    """Writes batches by their key. `indexes` are the collection's; None: nobody may say."""

    def __init__(
        self,
        collection: Collection,
        plan: Plan,
        sender: Sender,
        *,
        ordered: bool,
        attempt: Attempt,
        indexes: Sequence[Mapping[str, Any]] | None,
    ) -> None:
        self._fresh = freshest(collection)
        self._mode = plan.mode
        self._key = plan.key
        self._paths = [tuple(name.encode().split(b".")) for name in plan.key]
        self._sender = sender
        self._attempt = attempt
        # Two texts that differ may be one key under a collation.
        self._trusted = not ordered and indexes is not None and is_simple(indexes)
        self._unique = "_id" in plan.key or (
            indexes is not None
            and is_simple(indexes)
            and any(is_unique_within(index, plan.key) for index in indexes)
        )

    async def write(self, decoded: Decoded, start: int, stop: int) -> Outcome:
        """Write documents `start` to `stop`; never raises for what the server or the network does."""
        work = _Work(decoded, self._sender)
        positions = range(start, stop)
        states = await self._looked(work, positions)
        by_state: dict[State, list[int]] = {state: [] for state in State}
        for position in positions:
            by_state[states[position]].append(position)
        absent, same, other = by_state[State.ABSENT], by_state[State.SAME], by_state[State.OTHER]
        work.outcome.unchanged += len(same)
        match self._mode:
            case "replace":
                work.outcome.failures += [no_counterpart(position, self._key) for position in absent]
                await self._change(work, other)
            case "delete":
                work.outcome.unchanged += len(absent)
                await self._plainly(work, other, State.OTHER)
            case _:
                if self._unique:
                    await self._insert(work, absent, State.ABSENT)
                else:
                    await self._plainly(work, absent, State.ABSENT)
                if self._mode == "skip":
                    work.outcome.unchanged += len(other)
                elif self._mode == "merge":
                    await self._plainly(work, other, State.OTHER)
                else:
                    await self._change(work, other)
        # At the end, in the order of the file: what repeats a key comes after the one that had it first.
        await self._plainly(work, by_state[State.PLAIN], None)
        return work.outcome

    # -- looking ------------------------------------------------------------------------------------------

    async def look(
        self, decoded: Decoded, positions: Sequence[int], *, note: Callable[[int, bytes], None] | None = None
    ) -> dict[int, State]:
        """Tell what is there for each record, at one read of the collection.

        `note` is shown each document that is found, and the position of its record.

        The first record of a key has its state, and those that repeat it are PLAIN. All are PLAIN when a
        key is of a type whose equality only the server knows, or a document turns up that isn't found by
        exactly one key: one with an array, say.
        """
        everything_plain = dict.fromkeys(positions, State.PLAIN)
        asked: dict[Hashable, int] = {}
        states: dict[int, State] = {}
        for position in positions:
            key = self.key_of(decoded.keys[position])
            if key is None:
                return everything_plain
            if key in asked:
                states[position] = State.PLAIN
            else:
                asked[key] = position
                states[position] = State.ABSENT
        try:
            compared = await self._attempt(lambda: self._compared(decoded, asked, note))
        except Exception as error:
            # Where a find isn't allowed or too long, a write may be all right.
            if about_documents(error) or (
                isinstance(error, OperationFailure) and error.code not in RETRYABLE_CODES
            ):
                return everything_plain
            raise
        return everything_plain if compared is None else {**states, **compared}

    def key_of(self, query: bytes) -> Hashable:
        """Give what is equal for records whose key is; None if only the server can tell."""
        if len(self._key) == 1:
            at = 4 + 1 + len(self._key[0].encode()) + 1  # where {"$eq": value} begins
            return elements.canonical(query[at + 4], query[at + 9 : -2])
        values = []
        for _, _, comparison in elements.elements(query):
            kind, _, value = next(elements.elements(comparison))
            if (known := elements.canonical(kind, value)) is None:
                return None
            values.append(known)
        return tuple(values)

    def stored_key(self, stored: bytes) -> Hashable:
        """Give the key of a stored document as `key_of` does that of a record."""
        values = []
        for path in self._paths:
            found = elements.value_at(stored, path)
            known = None if found is None else elements.canonical(*found)
            if known is None:
                return None
            values.append(known)
        return values[0] if len(values) == 1 else tuple(values)

    def is_same(self, record: bytes, stored: bytes) -> bool:
        """Whether a record would leave a document as it is."""
        return (elements.holds if self._mode == "merge" else elements.equal)(record, stored)

    async def _compared(
        self, decoded: Decoded, asked: Mapping[Hashable, int], note: Callable[[int, bytes], None] | None
    ) -> dict[int, State] | None:
        """Find the documents of some keys, and compare each with its record; None for a stray one."""
        states: dict[int, State] = {}
        keys_only = self._mode in ("skip", "delete")
        projection = {"_id": 0, **dict.fromkeys(self._key, 1)} if keys_only else None
        query = RawBSONDocument(self._any_of([decoded.keys[position] for position in asked.values()]))
        async for blob in self._fresh.find_raw_batches(query, projection, batch_size=len(asked) + 1):
            for stored in elements.documents(blob):
                position = asked.get(self.stored_key(stored))
                if position is None:
                    return None
                if note is not None:
                    note(position, stored)
                if position in states:
                    # Two documents have this key: which of them an update takes is the server's choice.
                    states[position] = State.PLAIN
                elif not keys_only and self.is_same(decoded.cut(position, position + 1), stored):
                    states[position] = State.SAME
                else:
                    states[position] = State.OTHER
        return states

    def _any_of(self, queries: Sequence[bytes]) -> bytes:
        """Make the filter that finds what any of some filters does."""
        if len(self._key) > 1:
            clauses = b"".join(b"\x03%d\0%b" % (at, query) for at, query in enumerate(queries))
            return elements.document(b"\x04$or\0" + elements.document(clauses))
        name = self._key[0].encode()
        at = 4 + 1 + len(name) + 1
        values = b"".join(
            b"%c%d\0%b" % (query[at + 4], number, query[at + 9 : -2]) for number, query in enumerate(queries)
        )
        return elements.document(
            b"\x03%b\0%b" % (name, elements.document(b"\x04$in\0" + elements.document(values)))
        )

    async def _looked(self, work: _Work, positions: Sequence[int]) -> dict[int, State]:
        """Look; when the server is lost meanwhile, nothing more is sent."""
        if self._trusted and work.lost is None:
            try:
                return await self.look(work.decoded, positions)
            except Exception as error:  # noqa: BLE001 - the import ends with it, and with its books in order
                work.end(error)
        return dict.fromkeys(positions, State.PLAIN)

    async def _refuse_missing(
        self, work: _Work, positions: Sequence[int], refusal: Callable[[int], Failure]
    ) -> int:
        """Ask one by one which records find no document: they are refused. Return how many failed."""
        failures = []
        for position in positions:
            try:
                found = work.lost is None and await self._finds(work.decoded.keys[position])
            except Exception as error:  # noqa: BLE001 - the import ends with it, and with its books in order
                work.end(error)
            if work.lost is not None:
                failures.append(Failure(position, "server", None, NO_ANSWER, code_of(work.lost)))
            elif not found:
                failures.append(refusal(position))
        work.outcome.failures += failures
        return len(failures)

    async def _finds(self, query: bytes) -> bool:
        async def find() -> Any:
            return await self._fresh.find_one(RawBSONDocument(query), {"_id": 1})

        return await self._attempt(find) is not None

    # -- sending ------------------------------------------------------------------------------------------

    async def _insert(self, work: _Work, positions: Sequence[int], known: State | None) -> None:
        """Insert what isn't there, where a unique index makes that safe.

        What another writer inserts in between is refused as a duplicate then, and updated instead.
        """
        answer = await work.send("insert", positions, work.documents)
        duplicates = {
            position: answer.errors.pop(position)
            for position, entry in list(answer.errors.items())
            if entry.get("code") == DUPLICATE_KEY
        }
        if duplicates and answer.again and known is State.ABSENT:
            # A sending whose answer was lost had inserted them, or another writer the very same.
            states = await self._looked(work, list(duplicates))
            ours = (State.SAME, State.OTHER) if self._mode == "skip" else (State.SAME,)
            duplicates = {at: entry for at, entry in duplicates.items() if states[at] not in ours}
            if work.lost is not None:
                answer.unknown += duplicates
                answer.error, duplicates = work.lost, {}
        work.outcome.inserted += len(positions) - answer.failed - len(duplicates)
        work.outcome.failures += answer.fates()
        if self._mode == "skip":
            refused = await self._refuse_missing(
                work, list(duplicates), lambda at: failure(duplicates[at], at)
            )
            work.outcome.unchanged += len(duplicates) - refused
        else:
            await self._plainly(work, sorted(duplicates), State.OTHER)

    async def _change(self, work: _Work, positions: Sequence[int]) -> None:
        """Replace what is there and differs. The filter is the key alone: the last writer wins."""
        upsert = _UPSERT if self._mode == "upsert" else b""
        keys = work.decoded.keys

        def statement(at: int) -> bytes:
            record = work.decoded.cut(at, at + 1)
            if record[5:6] == b"$":
                # The server would take such a replacement for update operators.
                return self._statement(keys[at], record)
            return elements.document(b"\x03q\0", keys[at], b"\x03u\0", record, upsert)

        def build(part: Sequence[int]) -> bytes:
            return b"".join(map(statement, part))

        await self._book(work, positions, await work.send("update", positions, build), State.OTHER)

    async def _plainly(self, work: _Work, positions: Sequence[int], known: State | None) -> None:
        """Send the statements that are right whatever is there, in order."""
        keys, mode = work.decoded.keys, self._mode
        if mode == "skip" and self._unique:
            await self._insert(work, positions, known)
            return

        def deletes(part: Sequence[int]) -> bytes:
            return b"".join(elements.document(b"\x03q\0", keys[at], _LIMIT_ONE) for at in part)

        def updates(part: Sequence[int]) -> bytes:
            cut = work.decoded.cut
            return b"".join(self._statement(keys[at], cut(at, at + 1)) for at in part)

        command: Command = "delete" if mode == "delete" else "update"
        build = deletes if mode == "delete" else updates
        await self._book(work, positions, await work.send(command, positions, build), known)

    def _statement(self, query: bytes, record: bytes) -> bytes:
        update = _pipeline(self._mode, RawBSONDocument(record))
        return bson.encode({"q": RawBSONDocument(query), "u": update, "upsert": self._mode != "replace"})

    async def _book(self, work: _Work, positions: Sequence[int], answer: Answer, known: State | None) -> None:
        """Count what an update or a delete did: by the replies, or after a lost one by what was known before."""
        outcome = work.outcome
        done = len(positions) - answer.failed
        if self._mode == "replace" and answer.found < done:
            failed = {*answer.errors, *answer.unknown, *answer.unsent}
            rest = [at for at in positions if at not in failed]
            done -= await self._refuse_missing(work, rest, lambda at: no_counterpart(at, self._key))
        inserted = len(answer.upserted)
        updated = answer.found if self._mode == "delete" else answer.modified
        if answer.again and known is State.ABSENT:
            inserted, updated = done, 0
        elif answer.again and known is State.OTHER:
            updated = done - inserted
        updated = min(updated, done - inserted)
        outcome.inserted += inserted
        outcome.updated += updated
        outcome.unchanged += done - inserted - updated
        outcome.failures += answer.fates()


class _Work:
    """One batch on its way: what has become of its records, and whether the server is lost."""

    def __init__(self, decoded: Decoded, sender: Sender) -> None:
        self.decoded = decoded
        self.outcome = Outcome()
        self.lost: Exception | None = None
        self._sender = sender

    async def send(
        self, command: Command, positions: Sequence[int], build: Callable[[Sequence[int]], bytes]
    ) -> Answer:
        if self.lost is not None:
            return Answer(unsent=list(positions), error=self.lost)
        answer = await self._sender.send(command, positions, build)
        if answer.error is not None:
            self.end(answer.error)
        self.outcome.error = self.outcome.error or answer.unconfirmed
        return answer

    def end(self, error: Exception) -> None:
        """Send nothing more."""
        self.lost = self.outcome.error = error

    def documents(self, part: Sequence[int]) -> bytes:
        return b"".join(self.decoded.cut(at, at + 1) for at in part)


def _pipeline(mode: str, document: RawBSONDocument) -> list[dict[str, Any]]:
    """Give the update of a found document, or of one that holds the key alone and is about to be inserted.

    A pipeline, because the server notices that a pipeline changes nothing, and because it keeps the order
    of the fields and takes names with dots and dollars as they are.
    """
    record = {"$literal": document}
    is_new = {"$eq": [{"$type": "$_id"}, "missing"]}
    if mode == "merge":
        return [{"$replaceWith": {"$mergeObjects": [{"$cond": [is_new, {}, "$$ROOT"]}, record]}}]
    if mode == "skip":
        return [{"$replaceWith": {"$cond": [is_new, record, "$$ROOT"]}}]
    return [{"$replaceWith": {"$mergeObjects": [{"_id": "$_id"}, record]}}]
