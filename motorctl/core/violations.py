"""Documents of a collection that a validator wouldn't take: how many, which ones, which rules they break.

The server is asked, with the validator's own words in a query; nothing here knows what a rule means.
It only reads. A validator that is asked about need not be the collection's own.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import bson
from bson.raw_bson import DEFAULT_RAW_BSON_OPTIONS, RawBSONDocument
from pymongo.errors import ExecutionTimeout

from motorctl.core import driver
from motorctl.core.extjson import BSON_OPTIONS
from motorctl.core.ingest.writing import elements
from motorctl.core.refusals import Violation, violations
from motorctl.core.rules import EACH, Rule, rules

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence

    from motorctl.client import Database

__all__ = ["Found", "Tally", "count", "find", "tally"]

_TIME_LIMIT = 50
# What is explained together: so many documents at most, so many bytes of them and of what is answered.
_MOST_DOCUMENTS = 500
_MOST_BYTES = 4 * 1024 * 1024
# A pipeline for each rule: a command holds so many.
_MOST_RULES = 100
_UNNAMED = "is not what the validator asks for"


@dataclass(frozen=True, slots=True)
class Found:
    """A violating document: its `_id`, and the rules that it breaks, in the validator's order.

    `broken` are the same rules as the validator has them. No rule is named in `broken` when only the
    whole of them tells, or when the document was changed meanwhile; `rules` is never empty.
    """

    id: Any
    rules: tuple[Violation, ...]
    broken: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True)
class Tally:
    """How many documents break one rule; `field` is its dotted path, empty for the document."""

    field: str
    rule: str
    count: int


async def count(
    db: Database,
    collection: str,
    expression: Mapping[str, Any],
    *,
    sample: int | None = None,
    seconds: float | None = None,
) -> int:
    """Count the documents that a validator of this expression wouldn't take.

    `sample`: among so many that the server picks at random. Raises the driver's ExecutionTimeout when
    `seconds` are over, OperationFailure when the server doesn't take the expression.
    """
    pipeline = [*_picked(expression, sample), {"$count": "count"}]
    cursor = await driver.aggregate(db[collection], pipeline, **_options(seconds))
    return sum([int(found["count"]) async for found in cursor])


async def tally(
    db: Database, collection: str, expression: Mapping[str, Any], *, seconds: float | None = None
) -> tuple[int, list[Tally]]:
    """Count the violating documents, and those that break each rule: the most frequent rule first.

    One pass over the collection for each hundred rules. Raises what `count` raises.
    """
    deadline = _Deadline(seconds)
    every = list(rules(expression, of_items=True))
    total = 0
    tallies = []
    for start in range(0, max(len(every), 1), _MOST_RULES):
        part = every[start : start + _MOST_RULES]
        branches = {
            f"r{n}": [*_breaking(rule.expression), {"$count": "count"}] for n, rule in enumerate(part)
        }
        pipeline = [*_breaking(expression), {"$facet": {"all": [{"$count": "count"}], **branches}}]
        cursor = await driver.aggregate(db[collection], pipeline, **_options(deadline.left()))
        async for found in cursor:
            total = _number(found["all"])
            tallies += [
                Tally(rule.field, rule.keyword, _number(found[f"r{n}"])) for n, rule in enumerate(part)
            ]
    return total, sorted((one for one in tallies if one.count), key=lambda one: -one.count)


async def find(
    db: Database,
    collection: str,
    expression: Mapping[str, Any],
    *,
    sample: int | None = None,
    limit: int | None = None,
    seconds: float | None = None,
) -> AsyncGenerator[Found]:
    """Yield the documents that a validator of this expression wouldn't take, some hundreds at a time.

    `sample`: among so many that the server picks at random (it may pick one twice); `limit`: at most so
    many. Memory stays flat. Raises what `count` raises; what was yielded before stands.
    """
    deadline = _Deadline(seconds)
    options: Any = {"codec_options": DEFAULT_RAW_BSON_OPTIONS}
    raw = db[collection].with_options(**options)
    every = list(rules(expression, of_items=True))
    pipeline = [*_picked(expression, sample), *([{"$limit": limit}] if limit else [])]
    cursor: Any = await driver.aggregate(raw, pipeline, **_options(seconds))
    part: list[bytes] = []
    weight = 0
    async for document in cursor:
        # The driver gives a view of what it has received where there is much.
        part.append(whole := bytes(document.raw))
        weight += len(whole) + len(every) * len(_id_of(whole)[1])
        if len(part) == _MOST_DOCUMENTS or weight > _MOST_BYTES:
            for found in await _explained(raw, part, every, deadline):
                yield found
            part, weight = [], 0
    for found in await _explained(raw, part, every, deadline):
        yield found


class _Deadline:
    """When the time is over that several commands share."""

    def __init__(self, seconds: float | None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds

    def left(self) -> float | None:
        """Return the seconds that are left; raises ExecutionTimeout, as the server would, without any."""
        if self._end is None:
            return None
        if (seconds := self._end - time.monotonic()) <= 0:
            raise ExecutionTimeout("operation exceeded time limit", _TIME_LIMIT)
        return seconds


async def _explained(
    raw: Any, documents: Sequence[bytes], every: Sequence[Rule], deadline: _Deadline
) -> list[Found]:
    """Tell for each document which rules it breaks."""
    broken: dict[bytes, list[tuple[Rule, tuple[str, ...] | None]]] = {document: [] for document in documents}
    if documents:
        by_id = {_id_of(document): document for document in documents}
        for start in range(0, len(every), _MOST_RULES):
            part = every[start : start + _MOST_RULES]
            for rule, ids in await _broken(raw, list(by_id), part, deadline):
                them = [by_id[one] for one in ids if one in by_id]
                places = await _at_fault(raw, rule, them, deadline) if EACH in rule.path else {}
                for document in them:
                    broken[document].append((rule, places.get(document)))
    return [_found(document, broken[document]) for document in documents]


async def _broken(
    raw: Any, ids: Sequence[tuple[int, bytes]], part: Sequence[Rule], deadline: _Deadline
) -> Iterator[tuple[Rule, list[tuple[int, bytes]]]]:
    """Ask which of the documents with these `_id`s break which rule."""
    listed = elements.document(
        *(elements.element(kind, b"%d" % n, value) for n, (kind, value) in enumerate(ids))
    )
    chosen = RawBSONDocument(elements.document(elements.element(4, b"$in", listed)))
    branches = {
        f"r{n}": [*_breaking(rule.expression), {"$group": {"_id": None, "ids": {"$push": "$_id"}}}]
        for n, rule in enumerate(part)
    }
    pipeline: list[dict[str, Any]] = [{"$match": {"_id": chosen}}, {"$facet": branches}]
    cursor: Any = await driver.aggregate(raw, pipeline, **_options(deadline.left()))
    answers = {name: value async for one in cursor for _, name, value in elements.elements(bytes(one.raw))}
    return (
        (
            rule,
            [
                (kind, value)
                for _, _, group in elements.elements(answers[b"r%d" % n])
                for kind, _, value in _ids(group)
            ],
        )
        for n, rule in enumerate(part)
    )


def _ids(group: bytes) -> Iterator[elements.Element]:
    found = elements.value_at(group, (b"ids",))
    return elements.elements(found[1]) if found else iter(())


async def _at_fault(
    raw: Any, rule: Rule, documents: Sequence[bytes], deadline: _Deadline
) -> dict[bytes, tuple[str, ...]]:
    """Find in each document the first item that breaks a rule of items.

    The items are literals of the command: `$collStats` gives the one document that makes room for them.
    """
    schema: Any = rule.expression["$jsonSchema"]
    for name in rule.path:
        schema = schema["items"] if name == EACH else schema["properties"][name]
    found: dict[bytes, tuple[str, ...]] = {}
    waiting = [(document, *place) for document in documents for place in rule.places(document)]
    while waiting:
        size = taken = 0
        while taken < len(waiting) and size <= _MOST_BYTES:
            size += len(waiting[taken][3]) + 50
            taken += 1
        now, waiting = waiting[:taken], waiting[taken:]
        literals = [
            RawBSONDocument(
                elements.document(
                    elements.element(16, b"n", n.to_bytes(4, "little")), elements.element(kind, b"v", value)
                )
            )
            for n, (_, _, kind, value) in enumerate(now)
        ]
        pipeline: list[dict[str, Any]] = [
            {"$collStats": {}},
            {"$limit": 1},
            {"$project": {"_id": 0, "document": {"$literal": literals}}},
            {"$unwind": "$document"},
            {"$replaceRoot": {"newRoot": "$document"}},
            *_breaking({"$jsonSchema": {"properties": {"v": schema}}}),
            {"$project": {"n": 1}},
        ]
        cursor: Any = await driver.aggregate(raw, pipeline, **_options(deadline.left()))
        for n in sorted([int(one["n"]) async for one in cursor]):
            found.setdefault(now[n][0], now[n][1])
    return found


def _found(document: bytes, broken: Sequence[tuple[Rule, tuple[str, ...] | None]]) -> Found:
    details = [rule.broken_by(document, place) for rule, place in broken]
    told = violations({"errInfo": {"details": {"operatorName": "$and", "clausesNotSatisfied": details}}})
    kind, value = _id_of(document)
    identity = bson.decode(elements.document(elements.element(kind, b"_id", value)), BSON_OPTIONS)["_id"]
    return Found(
        identity, tuple(told) or (Violation("", "validator", _UNNAMED),), tuple(rule for rule, _ in broken)
    )


def _id_of(document: bytes) -> tuple[int, bytes]:
    return elements.value_at(document, (b"_id",)) or (10, b"")


def _picked(expression: Mapping[str, Any], sample: int | None) -> list[dict[str, Any]]:
    return [*([{"$sample": {"size": sample}}] if sample else []), *_breaking(expression)]


def _breaking(expression: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"$match": {"$nor": [expression]}}]


def _options(seconds: float | None) -> dict[str, Any]:
    limit = {} if seconds is None else {"maxTimeMS": max(1, round(seconds * 1000))}
    return {"allowDiskUse": True, **limit}


def _number(counted: Sequence[Mapping[str, Any]]) -> int:
    return sum(int(one["count"]) for one in counted)
