"""What a server's refusal means: which field is taken, which rule of a validator a document broke.

Pure functions over the server's error documents (codes 11000 and 121), for single writes and for
imports alike.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_DUPLICATE = re.compile(r"collection: (?P<namespace>\S+) index: (?P<index>.+?) dup key: ")


@dataclass(frozen=True)
class Duplicate:
    """A unique index refused a value: `fields` are its paths, `values` what is already there."""

    namespace: str
    index: str
    fields: tuple[str, ...]
    values: tuple[Any, ...]

    @property
    def sentence(self) -> str:
        named = ", ".join(f"{f} {_shown(v)}" for f, v in zip(self.fields, self.values, strict=True))
        collection = self.namespace.partition(".")[2] or self.namespace
        return f"{named or self.index} is already in {collection}"


@dataclass(frozen=True)
class Violation:
    """One rule of a validator that a document broke; `field` is a dotted path, empty for the document."""

    field: str
    rule: str
    reason: str


def duplicate(error: Mapping[str, Any]) -> Duplicate:
    """Read an E11000 error document (servers before 4.4 give no keyValue: only the message then)."""
    match = _DUPLICATE.search(str(error.get("errmsg", "")))
    values: Mapping[str, Any] = error.get("keyValue") or dict.fromkeys(error.get("keyPattern") or ())
    return Duplicate(
        namespace=match["namespace"] if match else "",
        index=match["index"] if match else "",
        fields=tuple(values),
        values=tuple(values.values()),
    )


def violations(error: Mapping[str, Any]) -> list[Violation]:
    """Read the errInfo of a DocumentValidationFailure (121; servers from 5.0), one entry a broken rule.

    An older server gives no errInfo: the list is empty then.
    """
    details = (error.get("errInfo") or {}).get("details") or {}
    return list(_broken(details, ""))


def _broken(node: Mapping[str, Any], path: str) -> Iterator[Violation]:
    """Walk one operator of the explanation: rules hold properties and items, these hold rules."""
    for rule in node.get("schemaRulesNotSatisfied") or ():
        yield from _broken(rule, path)
    for broken in node.get("propertiesNotSatisfied") or ():
        inner = f"{path}.{broken['propertyName']}" if path else str(broken["propertyName"])
        for detail in broken.get("details") or ():
            yield from _broken(detail, inner)
    for name in node.get("missingProperties") or ():
        yield Violation(f"{path}.{name}" if path else str(name), "required", "is missing")
    for name in node.get("additionalProperties") or ():
        yield Violation(f"{path}.{name}" if path else str(name), "additionalProperties", "is not allowed")
    nested = node.get("details")
    for detail in nested if isinstance(nested, list) else [nested] if nested else ():
        where = path
        if "itemIndex" in node:
            where = f"{path}.{node['itemIndex']}"
        yield from _broken(detail, where)
    operator = str(node.get("operatorName", ""))
    if "reason" in node:
        yield Violation(path, operator, _words(operator, node))


def _words(operator: str, node: Mapping[str, Any]) -> str:
    specified = (node.get("specifiedAs") or {}).get(operator)
    value = _shown(node.get("consideredValue"))
    match operator:
        case "bsonType" | "type":
            wanted = " or ".join(map(str, specified)) if isinstance(specified, list) else str(specified)
            return f"is {_shown(node.get('consideredType'), quote=False)}, not {wanted}"
        case "minimum":
            return f"is {value}, below {specified}"
        case "maximum":
            return f"is {value}, above {specified}"
        case "enum":
            allowed = ", ".join(map(str, specified)) if isinstance(specified, list) else str(specified)
            return f"is {value}, not one of {allowed}"
        case "pattern":
            return f"is {value}, which does not match {specified}"
        case "minLength":
            return f"is {value}, shorter than {specified}"
        case "maxLength":
            return f"is {value}, longer than {specified}"
        case _:
            return f"{node['reason']} ({operator})"


def _shown(value: Any, *, quote: bool = True) -> str:
    text = f'"{value}"' if quote and isinstance(value, str) else str(value)
    return text if len(text) <= 80 else text[:79] + "…"
