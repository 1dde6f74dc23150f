"""What an import would do, found out without a write.

The collection's own validator is asked on the server, in an aggregation that reads no document; unique
indexes are looked up; what the input repeats is remembered, up to a bound. It writes nothing, and what it
can't tell it says.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from bson.objectid import ObjectId
from bson.raw_bson import RawBSONDocument

from motorctl.core.driver import aggregate
from motorctl.core.ingest.model import Failure, Outcome
from motorctl.core.ingest.writing import elements
from motorctl.core.ingest.writing.keyed import State, freshest, no_counterpart
from motorctl.core.ingest.writing.send import VALIDATION, failure
from motorctl.core.ingest.writing.unique import Unique, UnknownValueError, known
from motorctl.core.rules import rules
from motorctl.core.schema import fetch

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping, Sequence

    from motorctl.client import Collection
    from motorctl.core.driver import Attempt
    from motorctl.core.ingest.model import Decoded, Plan
    from motorctl.core.ingest.writing.keyed import Keyed
    from motorctl.core.ingest.writing.unique import Values

__all__ = ["REMEMBERED", "Rehearsal"]

REMEMBERED = 500_000
"""How many keys of the input are kept, to find those that it repeats: about 60 MB."""
IMMUTABLE_FIELD = 66
_OBJECT_ID = 7
_MOST_BYTES = 8 * 1024 * 1024
_MOST_DOCUMENTS = 1000


class Rehearsal:
    """Goes through an import batch by batch, and remembers what it has seen."""

    def __init__(
        self,
        collection: Collection,
        plan: Plan,
        keyed: Keyed,
        *,
        attempt: Attempt,
        indexes: Sequence[Mapping[str, Any]] | None,
        bypass_validation: bool,
    ) -> None:
        self._collection = collection
        self._fresh = freshest(collection)
        self._namespace = f"{collection.database.name}.{collection.name}"
        self._plan = plan
        self._keyed = keyed
        self._attempt = attempt
        self._bypass = bypass_validation
        self._validator: Mapping[str, Any] | None = None
        self._updates_too = True
        self._uniques: list[Unique] = []
        self._seen: dict[bytes, bytes] = {}
        self._unasked: dict[str, None] = {}
        self._begun = False
        if indexes is None:
            self._leave_open("unique indexes: they may not be listed")
        for index in indexes or ():
            self._add(index)

    @property
    def unasked(self) -> tuple[str, ...]:
        return tuple(self._unasked)

    async def batch(self, decoded: Decoded, start: int, stop: int) -> Outcome:
        """Tell what would become of documents `start` to `stop`, after those before them."""
        if not self._begun:
            await self._ask_validator()
            self._begun = True
        outcome = Outcome()
        work = _Batch(decoded, self._plan.mode)
        states = await self._states(work, range(start, stop))
        to_write: dict[int, bytes] = {}
        for position, state in states.items():
            if self._plan.mode == "replace" and state is State.ABSENT:
                outcome.failures.append(no_counterpart(position, self._plan.key))
            elif self._is_written(state):
                to_write[position] = work.candidate(position)
            else:
                outcome.updated += self._plan.mode == "delete" and state is not State.ABSENT
                outcome.unchanged += self._plan.mode != "delete" or state is State.ABSENT
        refused = await self._refused(to_write, states)
        taken = await self._taken(work, [at for at in to_write if at not in refused])
        for position, document in to_write.items():
            found = refused.get(position) or work.altered(position) or taken.get(position)
            found = found or self._repeats(work, position, document)
            if found is not None:
                outcome.failures.append(found)
            else:
                outcome.inserted += states[position] is State.ABSENT
                outcome.updated += states[position] is not State.ABSENT
        return outcome

    def _is_written(self, state: State) -> bool:
        match self._plan.mode:
            case "delete":
                return False
            case "skip":
                return state is State.ABSENT
            case _:
                return state is not State.SAME

    def _leave_open(self, what: str) -> None:
        self._unasked[what] = None

    # -- what is there ------------------------------------------------------------------------------------

    async def _states(self, work: _Batch, positions: Sequence[int]) -> dict[int, State]:
        """Tell for each record what it would find: in the collection, or from the records before it."""
        if self._plan.mode == "insert":
            return dict.fromkeys(positions, State.ABSENT)
        decoded = work.decoded
        states = await self._keyed.look(decoded, positions, note=work.note)
        result: dict[int, State] = {}
        firsts: dict[bytes, int] = {}
        for position in positions:
            record = decoded.cut(position, position + 1)
            key = self._digest("", work.key(self._keyed, position))
            mark = blake2b(record, digest_size=16).digest()
            work.share(firsts.setdefault(key, position), position)
            if (before := self._seen.get(key)) is not None:
                state = State.SAME if before == mark else State.OTHER
                state = State.ABSENT if self._plan.mode == "delete" else state
            elif (state := states[position]) is State.PLAIN:
                state = await self._found(work, position)
            if self._plan.mode != "replace" or state is not State.ABSENT:
                self._remember(key, mark)
            result[position] = state
        return result

    async def _found(self, work: _Batch, position: int) -> State:
        """Look for one record's document, by the server's own idea of what is equal."""
        query = RawBSONDocument(work.decoded.keys[position])
        stored = await self._attempt(lambda: self._fresh.find_one(query))
        if stored is None:
            return State.ABSENT
        work.note(position, stored.raw)
        same = self._keyed.is_same(work.decoded.cut(position, position + 1), stored.raw)
        return State.SAME if same else State.OTHER

    # -- the validator ------------------------------------------------------------------------------------

    async def _ask_validator(self) -> None:
        name = self._collection.name
        db: Any = self._collection.database
        there = (await self._attempt(lambda: fetch(db, {name}))).get(name)
        validator = there.validator if there else None
        if validator is None or self._bypass or validator.level == "off" or validator.action == "warn":
            return
        self._validator = validator.expression
        self._updates_too = validator.level != "moderate"

    async def _refused(
        self, documents: Mapping[int, bytes], states: Mapping[int, State]
    ) -> dict[int, Failure]:
        """Find those that the validator refuses."""
        asked = documents
        if self._validator is None:
            return {}
        if not self._updates_too:
            asked = {at: raw for at, raw in documents.items() if states[at] is State.ABSENT}
            if len(asked) < len(documents):
                self._leave_open("the validator, for documents that are there: its level is moderate")
        failures: dict[int, Failure] = {}
        for part in _parts(asked):
            breaking = await self._breaking(part, self._validator)
            details: dict[int, list[Mapping[str, Any]]] = {position: [] for position in breaking}
            if breaking:
                for rule in rules(self._validator):
                    for position in await self._breaking(breaking, rule.expression):
                        details[position].append(rule.broken_by(part[position]))
            for position, broken in details.items():
                entry = {
                    "code": VALIDATION,
                    "errmsg": "Document failed validation",
                    "errInfo": {"details": {"operatorName": "$and", "clausesNotSatisfied": broken}},
                }
                failures[position] = failure(entry, position)
        return failures

    async def _breaking(
        self, documents: Mapping[int, bytes], expression: Mapping[str, Any]
    ) -> dict[int, bytes]:
        """Ask the server which documents don't match an expression.

        They are literals of the command: `$collStats` is there for the one document that it gives, which
        makes room for them on every server since 3.6 (`$documents` is of 5.1).
        """
        literals = [RawBSONDocument(raw) for raw in documents.values()]
        pipeline: list[dict[str, Any]] = [
            {"$collStats": {}},
            {"$limit": 1},
            {"$project": {"_id": 0, "document": {"$literal": literals}}},
            {"$unwind": "$document"},
            {"$replaceRoot": {"newRoot": "$document"}},
            {"$match": {"$nor": [expression]}},
        ]

        async def ask() -> set[bytes]:
            cursor: Any = await aggregate(self._fresh, pipeline)
            return {found.raw async for found in cursor}

        found = await self._attempt(ask)
        if len(documents) == 1:
            return dict(documents) if found else {}
        breaking = {position: raw for position, raw in documents.items() if raw in found}
        if len(set(breaking.values())) == len(found):
            return breaking
        # One came back in other bytes than it went: each is asked on its own.
        each = [await self._breaking({position: raw}, expression) for position, raw in documents.items()]
        return {position: raw for one in each for position, raw in one.items()}

    # -- unique indexes -----------------------------------------------------------------------------------

    def _add(self, index: Mapping[str, Any]) -> None:
        """Take an index into account, if it is unique and not the key's own."""
        fields = set(index["key"])
        if fields == set(self._plan.key) or not (index.get("unique") or fields == {"_id"}):
            return
        if unique := Unique.of(index):
            self._uniques.append(unique)
        else:
            self._leave_open(
                f"the unique index {index['name']}: it is partial, or compares in a way of its own"
            )

    def _values(self, index: Unique, document: bytes) -> Values | None:
        try:
            return index.values(document)
        except UnknownValueError:
            self._leave_open(
                f"the unique index {index.name}, for values that are arrays, documents, decimals or the like"
            )
            return None

    async def _taken(self, work: _Batch, positions: Sequence[int]) -> dict[int, Failure]:
        """Find those whose unique values another document of the collection has."""
        failures: dict[int, Failure] = {}
        for index in self._uniques:
            asked: dict[Hashable, list[int]] = {}
            clauses = []
            for position in positions:
                if position in failures or work.has_new_identity(position, index):
                    continue
                if (values := self._values(index, work.candidate(position))) is not None:
                    if (same := known(values)) not in asked:
                        clauses.append(index.clause(values))
                    asked.setdefault(same, []).append(position)
            if not asked:
                continue
            for stored in await self._any(clauses):
                if (values := self._values(index, stored)) is None:
                    continue
                for position in asked.get(known(values), ()):
                    if not work.is_own(self._keyed, position, stored):
                        failures[position] = index.refusal(self._namespace, position, values)
        return failures

    async def _any(self, clauses: Sequence[bytes]) -> list[bytes]:
        either = b"".join(b"\x03%d\0%b" % (at, clause) for at, clause in enumerate(clauses))
        query = RawBSONDocument(elements.document(b"\x04$or\0" + elements.document(either)))

        async def find() -> list[bytes]:
            return [
                stored
                async for blob in self._fresh.find_raw_batches(query)
                for stored in elements.documents(blob)
            ]

        found: list[bytes] = await self._attempt(find)
        return found

    def _repeats(self, work: _Batch, position: int, document: bytes) -> Failure | None:
        """Find what has the same unique values as a record before it; else remember this one's."""
        owner = work.owner(self._keyed, position)
        marks: dict[bytes, bytes] = {}
        for index in self._uniques:
            if work.has_new_identity(position, index):
                continue
            if (values := self._values(index, document)) is None:
                continue
            mark = self._digest(index.name, known(values))
            if self._seen.get(mark, owner) != owner or (mark in self._seen and not owner):
                return index.refusal(self._namespace, position, values)
            marks[mark] = owner
        for mark in marks:
            self._remember(mark, owner)
        return None

    def _digest(self, name: str, key: Hashable) -> bytes:
        return blake2b(f"{name} {key!r}".encode(), digest_size=16).digest()

    def _remember(self, key: bytes, value: bytes) -> None:
        if len(self._seen) < REMEMBERED or key in self._seen:
            self._seen[key] = value
        else:
            self._leave_open(f"what the input repeats, beyond its first {REMEMBERED:,} keys")


class _Batch:
    """A batch that is rehearsed: its records, and the documents that they would replace."""

    def __init__(self, decoded: Decoded, mode: str) -> None:
        self.decoded = decoded
        self._mode = mode
        self._stored: dict[int, bytes] = {}
        self._made: dict[int, bytes] = {}

    def note(self, position: int, stored: bytes) -> None:
        """Keep what is needed of a document that was found: the `_id`, or all of it for a merge."""
        if self._mode == "merge":
            self._stored[position] = stored
        elif identity := elements.value_at(stored, (b"_id",)):
            self._stored[position] = elements.document(elements.element(identity[0], b"_id", identity[1]))

    def share(self, first: int, position: int) -> None:
        """Let a record find what the first one with its key has found."""
        if first in self._stored:
            self._stored[position] = self._stored[first]

    def candidate(self, position: int) -> bytes:
        """Give the document that would stand in the collection."""
        if position not in self._made:
            record = self.decoded.cut(position, position + 1)
            found = {
                name: (kind, value)
                for kind, name, value in elements.elements(self._stored.get(position, b""))
            }
            found = found or {b"_id": (_OBJECT_ID, ObjectId().binary)}
            found.update({name: (kind, value) for kind, name, value in elements.elements(record)})
            self._made[position] = elements.document(
                *(elements.element(kind, name, value) for name, (kind, value) in found.items())
            )
        return self._made[position]

    def altered(self, position: int) -> Failure | None:
        """Refuse a record whose `_id` isn't that of the document it found."""
        ours = elements.value_at(self.decoded.cut(position, position + 1), (b"_id",))
        theirs = elements.value_at(self._stored.get(position, b""), (b"_id",))
        if ours is None or theirs is None or ours == theirs:
            return None
        reason = "After applying the update, the (immutable) field '_id' was found to have been altered"
        return Failure(position, "server", None, reason, IMMUTABLE_FIELD)

    def has_new_identity(self, position: int, index: Unique) -> bool:
        """Whether an index is that of `_id`, and the record has none of its own: nobody has it then."""
        if not index.is_identity:
            return False
        record = self.decoded.cut(position, position + 1)
        return position in self.decoded.generated or elements.value_at(record, (b"_id",)) is None

    def key(self, keyed: Keyed, position: int) -> Hashable:
        query = self.decoded.keys[position]
        known = keyed.key_of(query)
        return query if known is None else known

    def owner(self, keyed: Keyed, position: int) -> bytes:
        """Say who has a unique value: a record's key, so that the same key may have it again."""
        return repr(self.key(keyed, position)).encode() if self.decoded.keys else b""

    def is_own(self, keyed: Keyed, position: int, stored: bytes) -> bool:
        """Whether a stored document is the one that the record would replace."""
        return bool(self.decoded.keys) and keyed.stored_key(stored) == self.key(keyed, position)


def _parts(documents: Mapping[int, bytes]) -> Iterator[dict[int, bytes]]:
    """Divide documents into what one command holds."""
    part: dict[int, bytes] = {}
    size = 0
    for position, raw in documents.items():
        if part and (size + len(raw) > _MOST_BYTES or len(part) == _MOST_DOCUMENTS):
            yield part
            part, size = {}, 0
        part[position] = raw
        size += len(raw)
    if part:
        yield part
