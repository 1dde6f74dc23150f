"""The nouns of a schema: collections, validators, indexes and search indexes.

Values here are what somebody wrote or what a server answered, tidied; deciding whether two of them
mean the same is `compare`'s. Nothing here reads a file or a server.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from motorctl.core.schema.compare import (
    DEFAULT_INDEX_OPTIONS,
    expand_collation,
    identity,
    index_facts,
    same,
    seconds,
    shorten_collation,
    shorten_creation_options,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

INDEX_OPTIONS: dict[str, str] = {
    "unique": "boolean",
    "sparse": "boolean",
    "hidden": "boolean",
    "prepareUnique": "boolean",
    "expireAfterSeconds": "number",
    "partialFilterExpression": "document",
    "collation": "document",
    "weights": "document",
    "default_language": "string",
    "language_override": "string",
    "textIndexVersion": "number",
    "2dsphereIndexVersion": "number",
    "bits": "number",
    "min": "number",
    "max": "number",
    "wildcardProjection": "document",
}
"""Index options a manifest may hold, under the server's names, and the type of each."""

CREATION_OPTIONS: dict[str, str] = {
    "capped": "boolean",
    "size": "number",
    "max": "number",
    "timeseries": "document",
    "clusteredIndex": "document",
    "expireAfterSeconds": "number",
    "changeStreamPreAndPostImages": "document",
    "collation": "document",
    "viewOn": "string",
    "pipeline": "array",
}
"""Options of `create` a manifest may hold, and the type of each."""

Level = Literal["off", "moderate", "strict"]
ValidationAction = Literal["error", "warn"]

INDEX_KINDS: tuple[str, ...] = ("2d", "2dsphere", "hashed", "text")
"""What a key of an index is, beside 1 and -1."""

LEVELS: tuple[Level, ...] = get_args(Level)
"""The levels of a validator, the loosest first."""

VALIDATION_ACTIONS: tuple[ValidationAction, ...] = get_args(ValidationAction)


TEMPORARY = "motorctl_temporary_"
"""How the names begin of what a rebuild makes for a while: indexes that stand in for others, collections to try on."""


def default_name(keys: Mapping[str, Any]) -> str:
    """Name an index as drivers do: `status_1_created_at_-1`."""
    return "_".join(f"{name}_{whole(kind)}" for name, kind in keys.items())


@dataclass(frozen=True)
class Index:
    """One index; `name` None says that any name will do.

    `renamed_from` is the name that it had before: the one of that name is the manifest's own.
    """

    keys: Mapping[str, Any]
    name: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    renamed_from: str | None = None

    @classmethod
    def from_server(cls, document: Mapping[str, Any]) -> Index:
        """Take one document of `listIndexes`, without what the server filled in by itself."""
        keys = document["key"]
        options = {name: document[name] for name in INDEX_OPTIONS if name in document}
        if "_fts" in keys:
            # A text index keeps its fields in `weights`; `_fts` stands where they stood.
            weights = options["weights"]
            keys = _with_text_fields(keys, weights)
            if all(weight == 1 for weight in weights.values()):
                del options["weights"]
        if "collation" in options:
            options["collation"] = shorten_collation(options["collation"])
        if "expireAfterSeconds" in options:
            options["expireAfterSeconds"] = seconds(options["expireAfterSeconds"])
        # MongoDB 4.4 keeps the 1 that it was sent for true.
        options |= {name: bool(options[name]) for name in options if INDEX_OPTIONS[name] == "boolean"}
        kept = {
            name: value
            for name, value in options.items()
            if name not in DEFAULT_INDEX_OPTIONS or not same(value, DEFAULT_INDEX_OPTIONS[name])
        }
        return cls({name: whole(kind) for name, kind in keys.items()}, document["name"], kept)

    @property
    def resolved_name(self) -> str:
        return self.name or default_name(self.keys)

    @property
    def is_text(self) -> bool:
        return "text" in self.keys.values()

    @property
    def is_wildcard(self) -> bool:
        return not self.is_text and any(name.split(".")[-1] == "$**" for name in self.keys)

    def named(self, name: str) -> Index:
        return replace(self, name=name)

    def specification(self) -> dict[str, Any]:
        """Write the document that `createIndexes` takes: without a false, which old servers may not know."""
        given = {name: value for name, value in self.options.items() if value is not False}
        return {"key": dict(self.keys), "name": self.resolved_name, **given}

    def document(self) -> dict[str, Any]:
        """Write it as a manifest does, with its name."""
        return {"keys": dict(self.keys), "name": self.resolved_name, **self.options}


def _with_text_fields(keys: Mapping[str, Any], weights: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, kind in keys.items():
        if name == "_fts":
            result |= dict.fromkeys(weights, "text")
        elif name != "_ftsx":
            result[name] = kind
    return result


@dataclass(frozen=True)
class Validator:
    """What documents must be, for which writes, and what happens to others."""

    expression: Mapping[str, Any]
    level: Level = "strict"
    action: ValidationAction = "error"

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Validator:
        """Take what `document` writes."""
        return cls(document["validator"], document["validationLevel"], document["validationAction"])

    def document(self) -> dict[str, Any]:
        """Write the three options of `create` and `collMod`."""
        return {
            "validator": dict(self.expression),
            "validationLevel": self.level,
            "validationAction": self.action,
        }


@dataclass(frozen=True)
class SearchIndex:
    """One index of the server's search, which is another program beside it: Atlas has it, few others do."""

    name: str
    definition: Mapping[str, Any]
    type: str = "search"

    def document(self) -> dict[str, Any]:
        """Write it as a manifest does."""
        return {"name": self.name, "type": self.type, "definition": dict(self.definition)}


@dataclass(frozen=True)
class Collection:
    """A collection (or time series, or view) with its options, validator and indexes (never `_id_`).

    What is wished: a `validator` with an empty expression must not be there, None is no wish;
    `absent_indexes` must not be there (by their name, or their keys), nor an `absent` collection itself.
    `renamed_from` is the name that it had before. `search_indexes` None: nobody has asked.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    validator: Validator | None = None
    indexes: tuple[Index, ...] = ()
    search_indexes: tuple[SearchIndex, ...] | None = None
    absent_indexes: tuple[Index, ...] = ()
    absent: bool = False
    renamed_from: str | None = None

    @classmethod
    def from_server(cls, document: Mapping[str, Any], indexes: list[dict[str, Any]]) -> Collection:
        """Take one document of `listCollections` and those of `listIndexes`."""
        options = document.get("options", {})
        expression = options.get("validator")
        collation = options.get("collation")
        return cls(
            document["name"],
            shorten_creation_options({name: options[name] for name in CREATION_OPTIONS if name in options}),
            Validator(
                expression, options.get("validationLevel", "strict"), options.get("validationAction", "error")
            )
            if expression
            else None,
            tuple(
                _relative_to(collation, Index.from_server(index))
                for index in indexes
                if index["name"] != "_id_" and not index.get("clustered")
            ),
        )

    @property
    def is_view(self) -> bool:
        return "viewOn" in self.options

    def conflict(self) -> tuple[int, str, str] | None:
        """Find an index that a server wouldn't take beside an earlier one: its position, why, and a hint."""
        names: set[str] = set()
        identities: list[tuple[Any, ...]] = []
        for position, index in enumerate(self.indexes):
            name = index.resolved_name
            if name in names:
                return (
                    position,
                    f"two indexes of {self.name} have the name {name}",
                    "give one of them another name",
                )
            own = identity(index_facts(index.keys, index.options, self.options.get("collation")))
            if own in identities:
                other = self.indexes[identities.index(own)].resolved_name
                return position, f"{name} is the same index as {other}", "leave one of them out"
            if index.is_text and any(earlier.is_text for earlier in self.indexes[:position]):
                return position, "a collection has one text index at most", "join their keys"
            names.add(name)
            identities.append(own)
        return None

    def document(self) -> dict[str, Any]:
        """Write it as a manifest does: names of indexes only where they aren't the default ones."""
        result: dict[str, Any] = dict(self.options)
        if self.validator:
            result |= self.validator.document()
        if self.indexes:
            result["indexes"] = [
                {
                    key: value
                    for key, value in index.document().items()
                    if key != "name" or value != default_name(index.keys)
                }
                for index in self.indexes
            ]
        return result


def _relative_to(collation: Mapping[str, Any] | None, index: Index) -> Index:
    """Say an index's collation as a manifest would: only where it isn't its collection's."""
    if collation is None:
        return index
    own = index.options.get("collation")
    if own is None:
        return replace(index, options={**index.options, "collation": {"locale": "simple"}})
    if same(expand_collation(own), expand_collation(collation)):
        return replace(
            index, options={name: value for name, value in index.options.items() if name != "collation"}
        )
    return index
