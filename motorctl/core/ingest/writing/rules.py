"""The single rules of a validator, each as an expression of its own that a server can be asked about.

A write that is refused says why; a question whether a document matches says only yes or no. Asking for
each rule tells which ones a document breaks, in the server's own shape of saying so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import bson
from bson.codec_options import CodecOptions, DatetimeConversion

from motorctl.core.ingest.writing import elements

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Rule", "rules"]

_OPTIONS: CodecOptions[dict[str, Any]] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO)
_NO_RULES = frozenset(
    {"title", "description", "exclusiveMinimum", "exclusiveMaximum", "properties", "required"}
)
_TYPES = {
    1: "double", 2: "string", 3: "object", 4: "array", 5: "binData", 6: "undefined", 7: "objectId", 8: "bool",
    9: "date", 10: "null", 11: "regex", 12: "dbPointer", 13: "javascript", 14: "symbol",
    15: "javascriptWithScope", 16: "int", 17: "timestamp", 18: "long", 19: "decimal", 127: "maxKey", 255: "minKey",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: the expression that asks for it alone, and where it stands in the validator.

    `path` leads to the value that it is about, by properties; `keyword` and `specified` are the rule's own
    words (of `$jsonSchema`, or an operator of another expression).
    """

    expression: Mapping[str, Any]
    path: tuple[str, ...]
    keyword: str
    specified: Mapping[str, Any]

    def broken_by(self, document: bytes) -> Mapping[str, Any]:
        """Say that a document breaks it, as the `details` of a refused write do."""
        found = elements.value_at(document, [name.encode() for name in self.path]) if self.path else None
        node: dict[str, Any] = {"operatorName": self.keyword, "specifiedAs": self.specified}
        if self.keyword == "required":
            node["missingProperties"] = self.specified["required"]
        elif self.keyword == "additionalProperties" and "patternProperties" not in self.specified:
            known = self.specified["properties"]
            inner = document if not self.path else found[1] if found else b""
            names = [name.decode(errors="replace") for _, name, _ in elements.elements(inner)]
            node["additionalProperties"] = [name for name in names if name not in known]
        else:
            node["reason"] = "the rule is not met"
            if found is not None:
                value = bson.decode(elements.document(b"%cv\0%b" % found), _OPTIONS)["v"]
                node |= {"consideredValue": value, "consideredType": _TYPES.get(found[0], "")}
                if isinstance(value, list):
                    node["numberOfItems"] = len(value)
        for name in reversed(self.path):
            node = {
                "operatorName": "properties",
                "propertiesNotSatisfied": [{"propertyName": name, "details": [node]}],
            }
        return node


def rules(validator: Mapping[str, Any]) -> Iterator[Rule]:
    """Take a validator apart: `$jsonSchema` by its properties and keywords, the rest by its fields."""
    for name, rule in validator.items():
        if name == "$jsonSchema":
            yield from _of_schema(rule, ())
        else:
            operator = next(iter(rule), "$eq") if isinstance(rule, dict) else "$eq"
            path = () if name.startswith("$") else tuple(name.split("."))
            yield Rule({name: rule}, path or (), name if not path else operator, {name: rule})


def _of_schema(schema: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[Rule]:
    for name, inner in schema.get("properties", {}).items():
        yield from _of_schema(inner, (*path, name))
    for name in schema.get("required", ()):
        yield _rule(path, "required", {"required": [name]})
    for keyword, rule in schema.items():
        if keyword in _NO_RULES:
            continue
        specified = {keyword: rule}
        if keyword in ("minimum", "maximum"):
            exclusive = f"exclusive{keyword.capitalize()}"
            specified |= {exclusive: schema[exclusive]} if exclusive in schema else {}
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
        schema = {"properties": {name: schema}}
    return Rule({"$jsonSchema": schema}, path, keyword, specified)
