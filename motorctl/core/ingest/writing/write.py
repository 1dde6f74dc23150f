"""Batches of decoded records to a collection, and what became of each record.

The door of the engine to the server: it plans batches, decides how each mode is written, and inserts. It
counts nothing over batches and knows no files.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from bson.raw_bson import RawBSONDocument
from pymongo.errors import OperationFailure

from motorctl.core.driver import list_indexes, once
from motorctl.core.ingest.model import Failure, Outcome
from motorctl.core.ingest.writing import elements
from motorctl.core.ingest.writing.keyed import Keyed, freshest, is_simple
from motorctl.core.ingest.writing.rehearse import Rehearsal
from motorctl.core.ingest.writing.send import DUPLICATE_KEY, NO_ANSWER, Sender, code_of
from motorctl.core.ingest.writing.unique import Unique, UnknownValueError, known
from motorctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    from motorctl.client import Collection
    from motorctl.core.driver import Attempt
    from motorctl.core.ingest.model import Decoded, Plan
    from motorctl.core.ingest.writing.send import Answer

__all__ = ["NO_ANSWER", "Writer", "batches", "check_acknowledged", "lost", "once_only", "serves", "unique"]

# `maxWriteBatchSize`, of every server since 3.6.
MOST_DOCUMENTS = 100_000
# A server takes messages of 48 MB; the driver sends none over 16 MB and 16,382 bytes as one command.
MOST_BYTES = 16 * 1024 * 1024
# What stands in a command beside its documents, and in an update beside its key and its document.
_COMMAND_BYTES = 4096
_STATEMENT_BYTES = 192
UNAUTHORIZED = 13


def batches(decoded: Decoded, size: int) -> list[tuple[int, int]]:
    """Divide a chunk's documents into batches of nearly equal size: from, and up to, which position.

    A batch has at most `size` documents, 100,000 in any case, and as many bytes as a command holds; one
    document goes, whatever its size.
    """
    total = len(decoded.ends)
    pieces = -(-total // min(size, MOST_DOCUMENTS))
    borders = [total * number // pieces for number in range(pieces + 1)] if total else []
    waiting = list(pairwise(borders))[::-1]
    cut: list[tuple[int, int]] = []
    while waiting:
        start, stop = waiting.pop()
        if stop - start > 1 and _bytes(decoded, start, stop) > MOST_BYTES - _COMMAND_BYTES:
            middle = (start + stop) // 2
            waiting += [(middle, stop), (start, middle)]
        else:
            cut.append((start, stop))
    return cut


def _bytes(decoded: Decoded, start: int, stop: int) -> int:
    size = decoded.ends[stop - 1] - (decoded.ends[start - 1] if start else 0)
    if decoded.keys:
        size += sum(map(len, decoded.keys[start:stop])) + (stop - start) * _STATEMENT_BYTES
    return size


def lost(start: int, stop: int, reason: str, error: Exception) -> Outcome:
    """Give the outcome of a batch of which nothing is known: all of it is rejected."""
    code = code_of(error)
    failures = [Failure(position, "server", None, reason, code) for position in range(start, stop)]
    return Outcome(failures=failures, error=error)


def check_acknowledged(collection: Collection) -> None:
    """Raise `UsageError` where the server isn't asked to answer: then no record's fate could be told."""
    if not collection.write_concern.acknowledged:
        raise UsageError(
            "import needs the server's answer, and the write concern is w=0",
            hint="leave w=0 out of the connection string, or say w=1 or w=majority",
        )


def serves(indexes: Iterable[Mapping[str, Any]], key: Sequence[str]) -> bool:
    """Whether an index finds documents by the fields of a key, so that finding one doesn't read everything.

    `indexes` are index documents as the server lists them. `_id` has an index always, listed or not; one
    that is hidden, leaves documents out or compares texts in another way than the collection is no help.
    """
    wanted = set(key)
    listed = list(indexes)
    usual = next((index.get("collation") for index in listed if list(index["key"]) == ["_id"]), None)
    return "_id" in wanted or any(
        wanted == set(list(index["key"])[: len(wanted)])
        and all(index["key"][name] in (1, -1, "hashed") for name in wanted)
        and not index.get("hidden")
        and "partialFilterExpression" not in index
        and index.get("collation") == usual
        for index in listed
    )


def unique(indexes: Iterable[Mapping[str, Any]], key: Sequence[str]) -> bool:
    """Whether at most one document can have the same values in the fields of a key."""
    return "_id" in key or any(
        index.get("unique") and "partialFilterExpression" not in index and set(index["key"]) <= set(key)
        for index in indexes
    )


def once_only(into: str, kind: str | None, indexes: Iterable[Mapping[str, Any]], plan: Plan) -> str | None:
    """Say why a batch must not be sent again when no answer came; None where that does no harm.

    `kind` is the collection's type, as `listCollections` has it.
    """
    if kind == "timeseries" and plan.mode == "insert":
        return f"{into} is a time series, in which nothing keeps a record from being there twice"
    if plan.mode == "delete" and not unique(indexes, plan.key):
        key = ", ".join(plan.key)
        return f"no unique index of {into} has {key}: a second delete would take another document"
    return None


class Writer:
    """Writes slices of decoded chunks into one collection.

    `attempt` awaits an operation, and may await it again where no answer came. That does no harm: a
    document that is inserted carries its `_id`, or is inserted where a unique key keeps a second one out.
    """

    def __init__(
        self,
        collection: Collection,
        plan: Plan,
        *,
        ordered: bool = False,
        attempt: Attempt = once,
        bypass_validation: bool = False,
    ) -> None:
        self._collection = collection
        self._plan = plan
        self._ordered = ordered
        self._attempt = attempt
        self._bypass_validation = bypass_validation
        self._indexes: list[dict[str, Any]] | None = None
        self._sender = Sender(
            collection, ordered=ordered, attempt=attempt, bypass_validation=bypass_validation
        )
        self._keyed = self._by_key()
        self._rehearsal: Rehearsal | None = None

    @property
    def unasked(self) -> tuple[str, ...]:
        """What `rehearse` leaves open, in sentences for the user: all of it is known after the last batch."""
        return self._rehearsal.unasked if self._rehearsal else ()

    async def prepare(self) -> None:
        """Look at the collection's indexes, once before the first batch. Raises what the driver does."""
        try:
            indexes: list[dict[str, Any]] = await self._attempt(lambda: list_indexes(self._collection))
        except OperationFailure as error:
            if error.code != UNAUTHORIZED:
                raise
            # Who may write need not be allowed to list indexes: the slower ways need none.
            self._indexes = None
        else:
            # A collection that isn't there yet lists none, and will have this one.
            has_identity = any(list(index["key"]) == ["_id"] for index in indexes)
            self._indexes = indexes if has_identity else [{"key": {"_id": 1}, "name": "_id_"}, *indexes]
        self._keyed = self._by_key()

    async def write(self, decoded: Decoded, start: int, stop: int, *, doubtful: bool = False) -> Outcome:
        """Write documents `start` to `stop`; never raises for what the server or the network does.

        An outcome's `error` says why the import can't go on; then each document whose fate is unknown
        is a failure of it. `doubtful`: an earlier run, cut short, may have written this batch. A document
        of it that is there already counts as inserted then if it is the very one. With a key it counts as
        unchanged, since nothing tells which run wrote what is there.

        What can't be known: of a record that stands in the input twice, word for word and with its `_id`,
        both count as inserted when they are of different batches and the later one is sent again.
        """
        if self._plan.mode == "insert":
            return await self._insert(decoded, start, stop, doubtful=doubtful)
        return await self._keyed.write(decoded, start, stop)

    async def rehearse(self, decoded: Decoded, start: int, stop: int) -> Outcome:
        """Tell what `write` would do, from what is in the collection now. Writes nothing.

        Raises what the driver does when the server is lost. `unasked` says what it can't tell.
        """
        if self._rehearsal is None:
            self._rehearsal = Rehearsal(
                self._collection,
                self._plan,
                self._keyed,
                attempt=self._attempt,
                indexes=self._indexes,
                bypass_validation=self._bypass_validation,
            )
        return await self._rehearsal.batch(decoded, start, stop)

    def _by_key(self) -> Keyed:
        return Keyed(
            self._collection,
            self._plan,
            self._sender,
            ordered=self._ordered,
            attempt=self._attempt,
            indexes=self._indexes,
        )

    # -- inserting ----------------------------------------------------------------------------------------

    async def _insert(self, decoded: Decoded, start: int, stop: int, *, doubtful: bool) -> Outcome:
        positions = range(start, stop)
        answer = await self._sender.send(
            "insert",
            positions,
            lambda part: decoded.cut(part[0], part[-1] + 1),
            free=lambda: self._is_free(decoded, positions),
        )
        outcome = Outcome(error=answer.error or answer.unconfirmed)
        if answer.errors and (answer.again or doubtful):
            await self._recognise(decoded, positions, answer, outcome)
        outcome.failures += answer.fates()
        outcome.inserted += stop - start - len(outcome.failures)
        return outcome

    async def _recognise(
        self, decoded: Decoded, positions: Sequence[int], answer: Answer, outcome: Outcome
    ) -> None:
        """Take out of the errors the duplicates that are the document itself, inserted by an earlier sending."""
        asked: dict[tuple[int, bytes], list[int]] = {}
        for position in positions:
            entry = answer.errors.get(position)
            if entry is not None and entry.get("code") != DUPLICATE_KEY:
                continue
            if position in decoded.generated:
                if entry is not None and list(entry.get("keyPattern", ())) == ["_id"]:
                    del answer.errors[position]
            elif identity := elements.value_at(decoded.cut(position, position + 1), (b"_id",)):
                asked.setdefault(identity, []).append(position)
        # Of those that share an `_id`, one at most was inserted: none of these if it was another just now.
        asked = {identity: at for identity, at in asked.items() if answer.errors.keys() >= set(at)}
        if not asked:
            return
        try:
            ours = await self._attempt(lambda: self._standing(decoded, asked))
        except Exception as error:  # noqa: BLE001 - the import ends with it, and with its books in order
            outcome.error = answer.error = answer.error or error
            for position in (at for positions in asked.values() for at in positions):
                del answer.errors[position]
                answer.unknown.append(position)
        else:
            for position in ours:
                del answer.errors[position]

    async def _standing(
        self, decoded: Decoded, asked: Mapping[tuple[int, bytes], Sequence[int]]
    ) -> list[int]:
        """Find out which documents stand in the collection as they are, of those with some `_id`s."""
        values = b"".join(b"%c%d\0%b" % (kind, at, value) for at, (kind, value) in enumerate(asked))
        query = elements.document(b"\x03_id\0", elements.document(b"\x04$in\0", elements.document(values)))
        standing = []
        async for blob in freshest(self._collection).find_raw_batches(RawBSONDocument(query)):
            for stored in elements.documents(blob):
                identity = elements.value_at(stored, (b"_id",))
                for position in asked.get(identity, ()) if identity else ():
                    if elements.equal(decoded.cut(position, position + 1), stored):
                        standing.append(position)
                        break
        return standing

    def _is_free(self, decoded: Decoded, positions: Sequence[int]) -> bool:
        """Whether it is all the same in which order documents are inserted, as no two of them can conflict.

        Then a refusal of one says nothing about another, and which of them the server takes first doesn't
        matter.
        """
        if self._indexes is None or not is_simple(self._indexes):
            return False
        listed = [index for index in self._indexes if index.get("unique") or list(index["key"]) == ["_id"]]
        uniques = [unique for index in listed if (unique := Unique.of(index))]
        if len(uniques) < len(listed):
            return False
        seen: set[tuple[str, Hashable]] = set()
        for position in positions:
            document = decoded.cut(position, position + 1)
            for unique in uniques:
                try:
                    values = unique.values(document)
                except UnknownValueError:
                    return False
                if values is not None and (mark := (unique.name, known(values))) in seen:
                    return False
                if values is not None:
                    seen.add(mark)
        return True
