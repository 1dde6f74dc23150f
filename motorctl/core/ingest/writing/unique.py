"""Unique indexes as the documents see them: which values keep which documents from being there together.

Pure functions over BSON. Only what is known for sure is told: a value of which the server alone knows what
it equals is said to be unknown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import bson
from bson.codec_options import CodecOptions, DatetimeConversion

from motorctl.core.ingest.writing import elements
from motorctl.core.ingest.writing.send import DUPLICATE_KEY, failure

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from motorctl.core.ingest.model import Failure

__all__ = ["Unique", "UnknownValueError", "known"]

_DOCUMENT, _ARRAY, _NULL = 3, 4, 10
_MISSING = (_NULL, b"")
_SHOWN: CodecOptions[dict[str, Any]] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO)

Values = tuple[tuple[int, bytes], ...]


class UnknownValueError(Exception):
    """What a value equals is only known to the server."""


class Unique(NamedTuple):
    """A unique index: documents with the same values at its paths keep each other out."""

    name: str
    pattern: Mapping[str, Any]
    paths: tuple[tuple[bytes, ...], ...]
    sparse: bool

    @classmethod
    def of(cls, index: Mapping[str, Any]) -> Unique | None:
        """Read an index document; None for one that is partial, or compares in a way of its own."""
        pattern = dict(index["key"])
        if {"partialFilterExpression", "collation"} & index.keys():
            return None
        if any(kind not in (1, -1) for kind in pattern.values()):
            return None
        paths = tuple(tuple(name.encode().split(b".")) for name in pattern)
        return cls(str(index["name"]), pattern, paths, bool(index.get("sparse")))

    @property
    def is_identity(self) -> bool:
        return self.paths == ((b"_id",),)

    def values(self, document: bytes) -> Values | None:
        """Give what a document has at the paths, null where it has nothing; None if it isn't in the index.

        Raises UnknownValueError for an array, a document, a decimal and the like.
        """
        values = []
        for path in self.paths:
            value = elements.value_at(document, path)
            if value is None and _leads_into_array(document, path):
                raise UnknownValueError
            values.append(value or _MISSING)
        if self.sparse and all(value is _MISSING for value in values):
            return None
        if any(kind != _NULL and elements.canonical(kind, value) is None for kind, value in values):
            raise UnknownValueError
        return tuple(values)

    def clause(self, values: Values) -> bytes:
        """Make the filter that finds the documents with some values."""
        return elements.document(
            *(
                elements.element(
                    _DOCUMENT, name.encode(), elements.document(elements.element(kind, b"$eq", value))
                )
                for name, (kind, value) in zip(self.pattern, values, strict=True)
            )
        )

    def refusal(self, namespace: str, position: int, values: Values) -> Failure:
        """Give the failure of a document whose values another one has, as the server's E11000 would."""
        raw = elements.document(
            *(
                elements.element(kind, name.encode(), value)
                for name, (kind, value) in zip(self.pattern, values, strict=True)
            )
        )
        message = f"E11000 duplicate key error collection: {namespace} index: {self.name} dup key: {{ }}"
        values_by_name = bson.decode(raw, _SHOWN)
        entry = {
            "code": DUPLICATE_KEY,
            "errmsg": message,
            "keyPattern": self.pattern,
            "keyValue": values_by_name,
        }
        return failure(entry, position)


def known(values: Values) -> Hashable:
    """Give what is equal for values that are."""
    return tuple(_NULL if kind == _NULL else (elements.canonical(kind, value),) for kind, value in values)


def _leads_into_array(document: bytes, path: Sequence[bytes]) -> bool:
    return any(
        (found := elements.value_at(document, path[:depth])) is not None and found[0] == _ARRAY
        for depth in range(1, len(path))
    )
