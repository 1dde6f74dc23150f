"""A validator proposed from documents that are there: which types each field has, which fields all have.

What a sample shows is counted over the BSON as it is, no value changed; what is proposed fits each document
of the sample. It is a proposal: whether it is meant so, only its reader knows. It only reads.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import bson
from bson.decimal128 import Decimal128
from bson.raw_bson import DEFAULT_RAW_BSON_OPTIONS

from motorctl.core import driver
from motorctl.core.extjson import BSON_OPTIONS
from motorctl.core.ingest.writing import elements
from motorctl.core.rules import TYPE_NAMES
from motorctl.core.schema import Validator, dump

if TYPE_CHECKING:
    from motorctl.client import Database
    from motorctl.core.schema import Collection

__all__ = ["Path", "Proposal", "Seen", "manifest_of", "propose", "sample"]

_OBJECT, _ARRAY = 3, 4
_NUMBERS = frozenset({1, 16, 18, 19})
_INTEGERS = frozenset({16, 18})
# What an enumeration may hold: string, bool, null, int, long; and what makes it one.
_LISTED = frozenset({2, 8, 10, 16, 18})
_MOST_VALUES = 20
_LONGEST_VALUE = 100
_TIMES = 5
# Deeper than that only types are told; more keys than that are data, and not names of fields.
_DEEPEST = 12
_MOST_FIELDS = 1000
_MANY_FIELDS = 50
_SELDOM = 0.2

Path = tuple[str | int, ...]


@dataclass(slots=True)
class Seen:
    """What was seen of one field (or of the documents themselves, or of an array's items).

    `types` are counted by their number in BSON. `values` are those of an enumeration, None when there are
    too many or others; `low` and `high` the numbers, `bounded` whether all of them have a place between.
    `unnamed`: fields were left out, as no rule can name them.
    """

    count: int = 0
    types: Counter[int] = field(default_factory=Counter)
    fields: dict[str, Seen] = field(default_factory=dict)
    items: Seen | None = None
    values: Counter[tuple[int, bytes]] | None = field(default_factory=Counter)
    low: tuple[Decimal, Any] | None = None
    high: tuple[Decimal, Any] | None = None
    bounded: bool = True
    unnamed: bool = False

    def add(self, kind: int, value: bytes, depth: int = 0) -> None:
        """Count one value, by the number of its type and its bytes."""
        self.count += 1
        self.types[kind] += 1
        if self.values is not None:
            if kind in _LISTED and len(value) <= _LONGEST_VALUE:
                self.values[kind, value] += 1
            if kind not in _LISTED or len(value) > _LONGEST_VALUE or len(self.values) > _MOST_VALUES:
                self.values = None
        if kind in _NUMBERS and self.bounded:
            self._bound(
                bson.decode(elements.document(elements.element(kind, b"v", value)), BSON_OPTIONS)["v"]
            )
        elif kind == _OBJECT:
            self._document(value, depth)
        elif kind == _ARRAY and depth < _DEEPEST:
            self.items = self.items or Seen()
            for inner, _, item in elements.elements(value):
                self.items.add(inner, item, depth + 1)

    def _bound(self, number: Any) -> None:
        size = number.to_decimal() if isinstance(number, Decimal128) else Decimal(number)
        if not size.is_finite():
            self.bounded = False
        else:
            self.low = min(self.low or (size, number), (size, number), key=_size)
            self.high = max(self.high or (size, number), (size, number), key=_size)

    def _document(self, value: bytes, depth: int) -> None:
        twice = set()
        for kind, name, inner in elements.elements(value):
            text = _named(name)
            known = self.fields.get(text) if text else None
            if text is None or text in twice or depth >= _DEEPEST:
                self.unnamed = True
                continue
            twice.add(text)
            if known is None:
                if len(self.fields) >= _MOST_FIELDS:
                    self.unnamed = True
                    continue
                known = self.fields[text] = Seen()
            known.add(kind, inner, depth + 1)

    def merge(self, other: Seen) -> None:
        """Take what was seen of another field as if it were this one's."""
        self.count += other.count
        self.types += other.types
        self.values = None
        for name, seen in other.fields.items():
            self.fields.setdefault(name, Seen()).merge(seen)
        if other.items:
            self.items = self.items or Seen()
            self.items.merge(other.items)
        self.low = min((one for one in (self.low, other.low) if one), key=_size, default=None)
        self.high = max((one for one in (self.high, other.high) if one), key=_size, default=None)
        self.bounded = self.bounded and other.bounded
        self.unnamed = self.unnamed or other.unnamed

    @property
    def is_map(self) -> bool:
        """Whether the keys of these documents are data, so that each stands in few of them."""
        documents = self.types[_OBJECT]
        share = sum(seen.count for seen in self.fields.values()) / max(1, len(self.fields) * documents)
        return len(self.fields) > _MANY_FIELDS and share < _SELDOM and not self.unnamed

    def told(self) -> str:
        """Say its types and how often each was seen: `string 97, null 3`."""
        return ", ".join(f"{TYPE_NAMES[kind]} {count:,}" for kind, count in self.types.most_common())


def _size(bound: tuple[Decimal, Any]) -> Decimal:
    return bound[0]


def _named(name: bytes) -> str | None:
    """Return a field's name; None where `$jsonSchema` takes it for something else: a path, or no name."""
    try:
        text = name.decode()
    except UnicodeDecodeError:
        return None
    return None if not text or "." in text or text.startswith("$") else text


@dataclass(slots=True)
class Proposal:
    """A `$jsonSchema`, and for the path of each of its parts what was seen of it."""

    schema: dict[str, Any]
    comments: dict[Path, str]


async def sample(db: Database, collection: str, size: int) -> Seen:
    """Look at so many documents, which the server picks at random; at all of them if there are no more."""
    options: Any = {"codec_options": DEFAULT_RAW_BSON_OPTIONS}
    raw = db[collection].with_options(**options)
    are_few = await raw.estimated_document_count() <= size
    stage = {"$limit": size} if are_few else {"$sample": {"size": size}}
    cursor: Any = await driver.aggregate(raw, [stage], allowDiskUse=True)
    seen = Seen()
    async for document in cursor:
        seen.add(_OBJECT, bytes(document.raw))
    return seen


def propose(seen: Seen, *, enums: bool = False, ranges: bool = False) -> Proposal:
    """Propose the schema that each of the documents fits. Pure.

    `enums`: the values of fields that have few; `ranges`: the least and the greatest number.
    """
    comments: dict[Path, str] = {}
    schema = _schema(seen, (), comments, _Wish(enums, ranges), is_top=True)
    return Proposal(schema, comments)


@dataclass(frozen=True, slots=True)
class _Wish:
    enums: bool
    ranges: bool


def _schema(
    seen: Seen, path: Path, comments: dict[Path, str], wish: _Wish, *, is_top: bool = False
) -> dict[str, Any]:
    names = [TYPE_NAMES[kind] for kind, _ in seen.types.most_common()]
    schema: dict[str, Any] = {"bsonType": names[0] if len(names) == 1 else names} if names else {}
    if wish.enums and (values := _values(seen)):
        schema["enum"] = values
    if wish.ranges and seen.bounded and seen.low and seen.high:
        schema |= {"minimum": seen.low[1], "maximum": seen.high[1]}
    if seen.items and seen.items.count:
        schema["items"] = _schema(seen.items, (*path, "items"), comments, wish)
        comments[*path, "items"] = _items(seen.items)
    if seen.is_map and not is_top:
        merged = Seen()
        for one in seen.fields.values():
            merged.merge(one)
        schema["additionalProperties"] = _schema(merged, (*path, "additionalProperties"), comments, wish)
        comments[*path, "additionalProperties"] = (
            f"{len(seen.fields):,} keys, each in few of {seen.types[_OBJECT]:,} documents: {merged.told()}"
        )
    elif seen.fields:
        schema |= _properties(seen, path, comments, wish, is_top=is_top)
    return schema


def _properties(
    seen: Seen, path: Path, comments: dict[Path, str], wish: _Wish, *, is_top: bool
) -> dict[str, Any]:
    documents = seen.types[_OBJECT]
    # Each document has an _id: to say so would only be noise.
    required = [
        name for name, one in seen.fields.items() if one.count == documents and not (is_top and name == "_id")
    ]
    properties: dict[str, Any] = {}
    for name, one in seen.fields.items():
        place = (*path, "properties", name)
        properties[name] = _schema(one, place, comments, wish)
        where = f"in all {documents:,}" if one.count == documents else f"in {one.count:,} of {documents:,}"
        comments[place] = f"{where}: {one.told()}"
    if seen.unnamed:
        comments[*path, "properties"] = (
            "not all fields: some have names that no rule can say, or are too many"
        )
    return {"required": required, "properties": properties} if required else {"properties": properties}


def _items(items: Seen) -> str:
    return f"{items.count:,} {'item' if items.count == 1 else 'items'}: {items.told()}"


def _values(seen: Seen) -> list[Any] | None:
    """Return the values of an enumeration, if it looks like one: few of them, each seen often."""
    if not seen.values or not set(seen.types) & ({2} | _INTEGERS):
        return None
    if seen.count < _TIMES * len(seen.values):
        return None
    found: dict[Any, Any] = {}
    for (kind, value), _ in seen.values.most_common():
        one = bson.decode(elements.document(elements.element(kind, b"v", value)), BSON_OPTIONS)["v"]
        # The server takes 1 and a long 1 for the same value, and no value twice.
        found.setdefault((kind in _INTEGERS, isinstance(one, bool), one), one)
    return list(found.values())


def manifest_of(collection: Collection, proposal: Proposal) -> dict[str, Any]:
    """Write a collection as a manifest does, as it is but for the proposed validator.

    It warns and leaves alone what is there: applied as it is, it refuses nothing.
    """
    validator = Validator({"$jsonSchema": proposal.schema}, "moderate", "warn")
    return dump({collection.name: replace(collection, validator=validator)})
