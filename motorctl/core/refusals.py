"""What a server's refusal means: which field is taken, which rule of a validator a document broke.

Pure functions over the server's error documents (codes 11000 and 121), for single writes and for
imports alike. Whatever shape a server sends, they return what they understand of it and never raise.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_DUPLICATE = re.compile(
    r"collection: (?P<namespace>.+?) index: (?P<index>.+?)(?: collation: \{.*?\})? dup key: \{", re.DOTALL
)
_CHILDREN = (
    "schemaRulesNotSatisfied",  # $jsonSchema: its keywords
    "propertiesNotSatisfied",  # properties: one entry a field
    "schemasNotSatisfied",  # allOf, anyOf, oneOf: one entry a schema
    "clausesNotSatisfied",  # $and, $or: one entry a clause
    "failingDependencies",
    "details",  # what stands below any of these
)
_STEPS = ("propertyName", "failingProperty", "itemIndex")
"""Where an entry names the field or the array's position that its details are about."""
LONGEST = 80


@dataclass(frozen=True)
class Duplicate:
    """A unique index refused a value: `fields` are its paths, `values` what is already there, as text.

    A value that was compared by a collation is an empty text: the server only tells its sort key.
    """

    namespace: str
    index: str
    fields: tuple[str, ...]
    values: tuple[str, ...]

    @property
    def sentence(self) -> str:
        named = ", ".join(f"{f} {v}".rstrip() for f, v in zip(self.fields, self.values, strict=True))
        collection = self.namespace.partition(".")[2] or "the collection"
        return f"{named or self.index or 'a key'} is already in {collection}"


@dataclass(frozen=True)
class Violation:
    """One rule of a validator that a document broke; `field` is a dotted path, empty for the document."""

    field: str
    rule: str
    reason: str

    @property
    def sentence(self) -> str:
        return f"{self.field or 'the document'} {self.reason}"


def duplicate(error: Mapping[str, Any]) -> Duplicate:
    """Read an E11000 error document (servers before 4.4 give no keyValue: only the message then)."""
    match = _DUPLICATE.search(str(error.get("errmsg", "")))
    values, pattern, hidden = (error.get(key) for key in ("keyValue", "keyPattern", "hexEncoded"))
    shown: dict[str, str] = {}
    if isinstance(values, Mapping):
        shown = {str(key): _shown(value) for key, value in values.items()}
    elif isinstance(pattern, Mapping):
        shown = dict.fromkeys(map(str, pattern), "")
    if isinstance(hidden, list):
        shown |= {key: "" for key, is_hidden in zip(shown, hidden, strict=False) if is_hidden}
    return Duplicate(
        namespace=match["namespace"] if match else "",
        index=match["index"] if match else "",
        fields=tuple(shown),
        values=tuple(shown.values()),
    )


def violations(error: Mapping[str, Any]) -> list[Violation]:
    """Read the errInfo of a DocumentValidationFailure (121; servers from 5.0), one entry a broken rule.

    An older server gives no errInfo: the list is empty then.
    """
    info = error.get("errInfo")
    details = info.get("details") if isinstance(info, Mapping) else None
    return list(_broken(details, "")) if isinstance(details, Mapping) else []


def _broken(node: Mapping[str, Any], path: str) -> Iterator[Violation]:
    """Walk one operator of the explanation: rules hold properties and items, these hold rules."""
    operator = str(node.get("operatorName") or "")
    for step in _STEPS:
        if step in node:
            path = _below(path, node[step])
    for name in _names(node, "missingProperties"):
        needed = f", and {node['conditionalProperty']} needs it" if "conditionalProperty" in node else ""
        yield Violation(_below(path, name), operator or "dependencies", f"is missing{needed}")
    for name in _names(node, "additionalProperties"):
        yield Violation(_below(path, name), operator, "is not allowed")
    match operator:
        case "anyOf" | "oneOf" | "$or":
            alternatives = [
                " and ".join(v.sentence for v in _broken(child, path)) for child in _children(node)
            ]
            if any(alternatives):
                yield Violation(
                    path, operator, f"fits no alternative: {'; or '.join(filter(None, alternatives))}"
                )
                return
        case "not" | "$not" | "$nor":
            yield Violation(_queried(node, path), operator, "fits what the rule forbids")
            return
    inner = [violation for child in _children(node) for violation in _broken(child, path)]
    yield from inner
    if "reason" in node and not inner:
        yield Violation(_queried(node, path), operator, _words(operator, node))


def _children(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for key in _CHILDREN:
        below = node.get(key)
        for child in below if isinstance(below, list) else (below,):
            if isinstance(child, Mapping):
                yield child


def _names(node: Mapping[str, Any], key: str) -> list[Any]:
    names = node.get(key)
    return names if isinstance(names, list) else []


def _below(path: str, name: Any) -> str:
    return f"{path}.{name}" if path else str(name)


def _queried(node: Mapping[str, Any], path: str) -> str:
    """Return the field of a query operator ({"a": {"$gt": 5}}); those of $jsonSchema have it in their path."""
    specified = node.get("specifiedAs")
    if not path and isinstance(specified, Mapping) and str(node.get("operatorName", "")).startswith("$"):
        return next((str(key) for key in specified if not str(key).startswith("$")), path)
    if not path and node.get("operatorName") == "$not":
        return next((_queried(child, path) for child in _children(node)), path)
    return path


def _words(operator: str, node: Mapping[str, Any]) -> str:
    rules = node.get("specifiedAs")
    rules = rules if isinstance(rules, Mapping) else {}
    rule = rules.get(operator)
    value = _shown(node.get("consideredValue"))
    match operator:
        case "bsonType" | "type":
            return f"is {node.get('consideredType')}, not {_listed(rule, ' or ')}"
        case "minimum":
            return f"is {value}, {'not above' if rules.get('exclusiveMinimum') else 'below'} {_shown(rule)}"
        case "maximum":
            return f"is {value}, {'not below' if rules.get('exclusiveMaximum') else 'above'} {_shown(rule)}"
        case "multipleOf":
            return f"is {value}, not a multiple of {_shown(rule)}"
        case "enum":
            return f"is {value}, not one of {_listed(rule, ', ')}"
        case "pattern":
            return f"is {value}, which does not match {rule}"
        case "minLength":
            return f"is {value}, shorter than {rule}"
        case "maxLength":
            return f"is {value}, longer than {rule}"
        case "minItems":
            return f"has {node.get('numberOfItems')} items, fewer than {rule}"
        case "maxItems":
            return f"has {node.get('numberOfItems')} items, more than {rule}"
        case "uniqueItems":
            return f"holds {_shown(node.get('duplicatedValue'))} twice"
        case _:
            asked = _shown(rules) if rules else operator
            considered = f"is {value}: " if "consideredValue" in node else ""
            return f"{considered}{node['reason']} ({asked})"


def _listed(rule: Any, separator: str) -> str:
    return separator.join(map(str, rule)) if isinstance(rule, list) else str(rule)


def _shown(value: Any) -> str:
    """Show a value in a line: texts in quotes, null, true and false as in JSON, other types by their text."""
    plain = value is None or isinstance(value, (str, bool, int, float, list, Mapping))
    text = json.dumps(value, default=str, ensure_ascii=False, skipkeys=True) if plain else str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
