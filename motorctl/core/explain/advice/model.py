"""The values of advice: what is known beside a plan, an index that is proposed, a sentence. Pure."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from motorctl.core.extjson import to_json_value
from motorctl.core.schema.model import Index, default_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from motorctl.core.explain.plan import Plan

TINY = 20
"""So few documents are read as a whole in no time."""

NUMBERS = frozenset({"int", "long", "double", "decimal"})


@dataclass(frozen=True)
class Types:
    """What a sample holds at one path: how many documents have each BSON type there, arrays' elements too.

    `arrays` are the paths up to this one, itself too, at which at least one document has an array.
    """

    counts: Mapping[str, int]
    arrays: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Facts:
    """What judging a plan needs beside it, of one collection.

    `kind` is collection, timeseries, view or absent; `collation` the collection's own, None for simple.
    `types` are of a sample of `sampled` documents out of about `documents`. `hinted` has the plan that the
    server makes (without running it) when it is held to an index: None where it refuses to. `foreign`
    has the indexes of other collections that the pipeline looks into.
    """

    kind: str = "collection"
    collation: Mapping[str, Any] | None = None
    version: tuple[int, int] = (8, 0)
    documents: int | None = None
    sampled: int = 0
    types: Mapping[str, Types] = field(default_factory=dict)
    hinted: Mapping[str, Plan | None] = field(default_factory=dict)
    foreign: Mapping[str, tuple[Index, ...]] = field(default_factory=dict)
    series: Mapping[str, Any] = field(default_factory=dict)

    def arrays(self, path: str) -> frozenset[str]:
        """Return the paths up to this one that hold arrays, as far as the sample tells."""
        return self.types[path].arrays if path in self.types else frozenset()


@dataclass(frozen=True)
class Proposal:
    """An index that would serve: `keys` with their directions, `options` as `createIndexes` has them."""

    collection: str
    keys: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None

    def index(self) -> Index:
        return Index(self.keys, self.name, self.options)

    @property
    def resolved_name(self) -> str:
        return self.name or default_name(self.keys)

    def command(self) -> str | None:
        """Write the line that builds it, quoted for a POSIX shell; None for a field that it can't be told."""
        if any(name.startswith("-") for name in (self.collection, *self.keys)):
            return None
        words = ["motorctl", "indexes", "create", self.collection]
        words += [_key(name, kind) for name, kind in self.keys.items()]
        if "collation" in self.options:
            words += ["--collation", _collation(self.options["collation"])]
        if self.name is not None:
            words += ["--name", self.name]
        return shlex.join(words)


def _key(field: str, kind: Any) -> str:
    """Write a key as `indexes create` reads it: `-field` only where that can be nothing else."""
    if kind == 1 and ":" not in field and not field.startswith("+"):
        return field
    # Other words after a dash may be options.
    is_word = re.fullmatch(r"[A-Za-z_][\w.]+", field, re.ASCII) and not set(field) <= set("hqvy")
    return f"-{field}" if kind == -1 and is_word else f"{field}:{kind}"


def _collation(collation: Mapping[str, Any]) -> str:
    if set(collation) == {"locale"}:
        return str(collation["locale"])
    return orjson.dumps(to_json_value(dict(collation))).decode()


@dataclass(frozen=True)
class Sentence:
    """One piece of advice. `kind` is stable, for scripts; `index` names the index that it is about.

    `command` is a line for a shell that does what the sentence says, where there is one.
    """

    kind: str
    text: str
    index: str | None = None
    command: str | None = None

    def document(self) -> dict[str, str]:
        """Write it for machines: `kind, text`, and `index` and `command` where there are some."""
        said = {"kind": self.kind, "text": self.text, "index": self.index, "command": self.command}
        return {name: value for name, value in said.items() if value is not None}


@dataclass(frozen=True)
class Advice:
    """What is to be said of a plan, the most useful first; `proposals` are the indexes to build."""

    proposals: tuple[Proposal, ...] = ()
    sentences: tuple[Sentence, ...] = ()

    @property
    def index(self) -> dict[str, Any] | None:
        """The keys of the first proposed index."""
        return dict(self.proposals[0].keys) if self.proposals else None

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.proposals[0].options) if self.proposals else {}

    def documents(self) -> list[dict[str, str]]:
        """Write all of it for machines."""
        return [sentence.document() for sentence in self.sentences]
