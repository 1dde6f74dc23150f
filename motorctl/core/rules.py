"""The single rules of a validator, each as an expression of its own that a server can be asked about.

A write that is refused says why; a question whether a document matches says only yes or no. Asking for
each rule tells which ones a document breaks, in the server's own shape of saying so. Asks nobody itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import bson
from bson.codec_options import CodecOptions, DatetimeConversion

from motorctl.core.ingest.writing import elements

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["EACH", "TYPE_NAMES", "Rule", "rules"]

EACH = ""
"""In a rule's path: each item of the array that stands there. No property of a rule has this name."""
_OPTIONS: CodecOptions[dict[str, Any]] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO)
_NO_RULES = frozenset(
    {"title", "description", "exclusiveMinimum", "exclusiveMaximum", "properties", "required", "allOf"}
)
_ARRAY = 4
TYPE_NAMES = {
    1: "double", 2: "string", 3: "object", 4: "array", 5: "binData", 6: "undefined", 7: "objectId", 8: "bool",
    9: "date", 10: "null", 11: "regex", 12: "dbPointer", 13: "javascript", 14: "symbol",
    15: "javascriptWithScope", 16: "int", 17: "timestamp", 18: "long", 19: "decimal", 127: "maxKey", 255: "minKey",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: the expression that asks for it alone, and where it stands in the validator.

    `path` leads to the value that it is about, by properties and items (`EACH`); `keyword` and `specified`
    are the rule's own words (of `$jsonSchema`, or an operator of another expression).
    """

    expression: Mapping[str, Any]
    path: tuple[str, ...]
    keyword: str
    specified: Mapping[str, Any]

    @property
    def field(self) -> str:
        """The dotted path of what it is about: `address.city`, `tags[]`; empty for the document."""
        names = (*self.path, *(self.specified["required"] if self.keyword == "required" else ()))
        return ".".join(name or "[]" for name in names).replace(".[]", "[]")

    def places(self, document: bytes) -> Iterator[tuple[tuple[str, ...], int, bytes]]:
        """Yield each value that the rule is about: the path to it, positions for `EACH`, its type and bytes."""
        return _places(document, self.path, ())

    def broken_by(self, document: bytes, place: tuple[str, ...] | None = None) -> Mapping[str, Any]:
        """Say that a document breaks it, as the `details` of a refused write do.

        `place` is one of `places`; a rule without `EACH` has but one.
        """
        path = self.path if place is None else place
        found = next(
            ((kind, value) for at, kind, value in self.places(document) if at == path), (3, document)
        )
        known = bool(self.path) and found[1] is not document
        node: dict[str, Any] = {"operatorName": self.keyword, "specifiedAs": self.specified}
        if self.keyword == "required":
            node["missingProperties"] = self.specified["required"]
        elif self.keyword == "additionalProperties" and "patternProperties" not in self.specified:
            inner = found[1] if known or not self.path else elements.document()
            names = [name.decode(errors="replace") for _, name, _ in elements.elements(inner)]
            node["additionalProperties"] = [
                name for name in names if name not in self.specified["properties"]
            ]
        else:
            node["reason"] = "does not match"
            if known:
                value = bson.decode(elements.document(b"%cv\0%b" % found), _OPTIONS)["v"]
                node |= {"consideredValue": value, "consideredType": TYPE_NAMES.get(found[0], "")}
                if isinstance(value, list):
                    node["numberOfItems"] = len(value)
        if path:
            # One step with a dotted name says what a step for each name would, in a fraction of the time.
            step = {"propertyName": ".".join(path), "details": [node]}
            node = {"operatorName": "properties", "propertiesNotSatisfied": [step]}
        return node


def _places(
    inner: bytes, path: tuple[str, ...], above: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], int, bytes]]:
    step, rest = (path[0].encode(), path[1:]) if path else (b"", ())
    if not path:
        return
    for kind, name, value in elements.elements(inner):
        if step not in (name, EACH.encode()):
            continue
        here = (*above, name.decode(errors="replace"))
        if not rest:
            yield here, kind, value
        elif kind == (_ARRAY if rest[0] == EACH else 3):
            yield from _places(value, rest, here)


def rules(validator: Mapping[str, Any], *, of_items: bool = False) -> Iterator[Rule]:
    """Take a validator apart: `$jsonSchema` by its properties and keywords, the rest by its fields.

    With `of_items` the rules that all items of an array obey stand alone too, their path holding `EACH`.
    """
    for name, rule in validator.items():
        if name == "$jsonSchema":
            yield from _of_schema(rule, (), of_items)
        elif name == "$and":
            for clause in rule:
                yield from rules(clause, of_items=of_items)
        else:
            operator = next(iter(rule), "$eq") if isinstance(rule, dict) else "$eq"
            path = () if name.startswith("$") else tuple(name.split("."))
            yield Rule({name: rule}, path, name if not path else operator, {name: rule})


def _of_schema(schema: Mapping[str, Any], path: tuple[str, ...], of_items: bool) -> Iterator[Rule]:
    for name, inner in schema.get("properties", {}).items():
        if name:
            yield from _of_schema(inner, (*path, name), of_items)
        else:
            yield _rule(path, "properties", {"properties": {name: inner}})
    for one in schema.get("allOf", ()):
        yield from _of_schema(one, path, of_items)
    for name in schema.get("required", ()):
        yield _rule(path, "required", {"required": [name]})
    for keyword, rule in schema.items():
        if keyword in _NO_RULES:
            continue
        specified = {keyword: rule}
        if keyword == "items" and of_items and not isinstance(rule, list) and path:
            yield from _of_schema(rule, (*path, EACH), of_items)
            continue
        if keyword in ("minimum", "maximum"):
            exclusive = f"exclusive{keyword.capitalize()}"
            specified |= {exclusive: schema[exclusive]} if exclusive in schema else {}
        elif keyword == "additionalItems":
            # What stands before them, another rule says.
            specified |= {"items": [{} for _ in schema["items"]]} if "items" in schema else {}
        elif keyword == "additionalProperties":
            beside = ("properties", "patternProperties")
            specified |= {"properties": {}} | {name: schema[name] for name in beside if name in schema}
        yield _rule(path, keyword, specified)


def _rule(path: tuple[str, ...], keyword: str, specified: Mapping[str, Any]) -> Rule:
    schema = specified
    if keyword == "additionalProperties":
        # What the properties themselves are, other rules say.
        schema = {**specified, "properties": {name: {} for name in specified["properties"]}}
    for name in reversed(path):
        schema = {"items": schema} if name == EACH else {"properties": {name: schema}}
    return Rule({"$jsonSchema": schema}, path, keyword, specified)
