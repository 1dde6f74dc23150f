"""Whether a validator takes everything that another one takes. Pure, and careful: False when it can't tell.

Compares what is written; no document is read. A plan uses it for its order: what loosens goes before
indexes are built, so that nobody waits for them, and what tightens goes after.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from bson.decimal128 import Decimal128

from motorctl.core.schema.compare import json_schema as reduced
from motorctl.core.schema.compare import literal, query, same_query

if TYPE_CHECKING:
    from motorctl.core.schema.model import Validator

_NUMBERS = frozenset({"double", "int", "long", "decimal"})
_JSON_TYPES = {"boolean": frozenset({"bool"}), "number": _NUMBERS}
_ABOUT: dict[str, frozenset[str]] = {
    **dict.fromkeys(("minimum", "maximum", "multipleOf"), _NUMBERS),
    **dict.fromkeys(("minLength", "maxLength", "pattern"), frozenset({"string"})),
    **dict.fromkeys(
        ("items", "additionalItems", "minItems", "maxItems", "uniqueItems"), frozenset({"array"})
    ),
    **dict.fromkeys(
        (
            "properties",
            "patternProperties",
            "additionalProperties",
            "required",
            "minProperties",
            "maxProperties",
            "dependencies",
        ),
        frozenset({"object"}),
    ),
}
"""The types of values that a keyword speaks of: it takes every other value."""

_OBJECT: dict[str, Any] = {"bsonType": "object"}
"""What is known of every document."""

_WORDLESS = frozenset({"title", "description", "exclusiveMinimum", "exclusiveMaximum"})
"""Keywords that refuse nothing by themselves."""


def loosens(before: Validator | None, after: Validator | None) -> bool:
    """Tell whether each insert that one validator takes, the next one takes too. None takes everything."""
    if after is None or _takes_all(after):
        return True
    if before is None or _takes_all(before):
        return False
    if (before.level, after.level) == ("moderate", "strict"):
        return False
    return query_loosens(before.expression, after.expression)


def _takes_all(validator: Validator) -> bool:
    return not validator.expression or validator.level == "off" or validator.action == "warn"


# -- queries ----------------------------------------------------------------------------------------------


def query_loosens(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Tell whether each document that one query finds, the other finds too."""
    if same_query(before, after):
        return True
    known = list(_clauses(before))
    return all(any(_implies(one, key, value) for one in known) for key, value in _clauses(after)) or any(
        key == "$or" and all(query_loosens(branch, after) for branch in value) for key, value in known
    )


def _clauses(expression: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Take a query apart into what must all hold."""
    for key, value in expression.items():
        if key == "$and":
            for one in value:
                yield from _clauses(one)
        elif not key.startswith("$") and _has_operators(value) and "$options" not in value:
            for operator, operand in value.items():
                yield key, {operator: operand}
        else:
            yield key, value


def _has_operators(value: Any) -> bool:
    return isinstance(value, Mapping) and next(iter(value), "").startswith("$")


def _implies(known: tuple[str, Any], key: str, value: Any) -> bool:
    known_key, known_value = known
    if key == "$or":
        return any(query_loosens({known_key: known_value}, branch) for branch in value)
    if key != known_key:
        return False
    if key == "$jsonSchema":
        # The only value of a document at its top is an object.
        return schema_loosens({"allOf": [known_value, _OBJECT]}, value)
    return query({key: value}) == query({key: known_value}) or _wider(known_value, value)


def _wider(before: Any, after: Any) -> bool:
    """Tell whether a condition on one field follows from another: of limits and lists."""
    if not (_has_operators(before) and _has_operators(after) and len(before) == len(after) == 1):
        return False
    ((known, old),) = before.items()
    ((word, new),) = after.items()
    if known == word == "$in":
        return {repr(literal(one)) for one in old} <= {repr(literal(one)) for one in new}
    sides = {"$gt": 1, "$gte": 1, "$lt": -1, "$lte": -1}
    if known in sides and sides.get(word) == sides[known]:
        start, end = _number(old), _number(new)
        if start is None or end is None:
            return False
        inside = (start - end) * sides[known]
        return bool(inside > 0 or (inside == 0 and not (len(word) < len(known))))
    return False


# -- $jsonSchema ------------------------------------------------------------------------------------------


def schema_loosens(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Tell whether each value that one `$jsonSchema` takes, the other takes too."""
    if reduced(before) == reduced(after):
        return True
    sources = list(_sources(before))
    if any("not" in source and _nothing_left(source["not"]) for source in sources):
        # It takes nothing.
        return True
    types = frozenset.intersection(*(_types(source) for source in sources))
    follows = all(
        keyword in _WORDLESS
        or (keyword in _ABOUT and types.isdisjoint(_ABOUT[keyword]))
        or (keyword in ("bsonType", "type") and types <= _types(after))
        or any(_keyword_follows(keyword, source, after) for source in sources)
        for keyword in after
    )
    return follows or any(
        all(schema_loosens(branch, after) for branch in source[word])
        for source in sources
        for word in ("anyOf", "oneOf")
        if word in source
    )


def _sources(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """List the schemas that must all hold: itself, and those under allOf."""
    yield schema
    for one in schema.get("allOf", ()):
        yield from _sources(one)


_ALL_TYPES = frozenset(
    "double string object array binData undefined objectId bool date null regex dbPointer javascript symbol"
    " javascriptWithScope int timestamp long decimal minKey maxKey".split()
)


def _types(schema: Mapping[str, Any]) -> frozenset[str]:
    named = schema.get("bsonType", schema.get("type"))
    if named is None:
        return _ALL_TYPES
    names = [named] if isinstance(named, str) else named
    return frozenset().union(*(_JSON_TYPES.get(name, frozenset({name})) for name in names))


def _keyword_follows(keyword: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    value = after[keyword]
    rule = _RULES.get(keyword)
    if rule is not None:
        return rule(before, after)
    # What nobody has looked into (oneOf, encrypt ...) follows from itself alone.
    return keyword in before and reduced({keyword: before[keyword]}) == reduced({keyword: value})


def _enum(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    return "enum" in before and all(
        any(literal(one) == literal(other) for other in after["enum"]) for one in before["enum"]
    )


def _required(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    return set(after["required"]) <= set(before.get("required", ()))


def _properties(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    return all(
        _nothing_left(schema) or any(schema_loosens(known, schema) for known in _known_of(before, name))
        for name, schema in after["properties"].items()
    )


def _known_of(before: Mapping[str, Any], name: str) -> Iterator[Mapping[str, Any]]:
    """List what is known of the value of a field, if it is there."""
    if name in before.get("properties", {}):
        yield before["properties"][name]
    elif not before.get("patternProperties"):
        rest = before.get("additionalProperties", True)
        if rest is False:
            # It can't be there at all.
            yield _NEVER
        elif isinstance(rest, Mapping):
            yield rest


_NEVER: dict[str, Any] = {"not": {}}


def _nothing_left(schema: Any) -> bool:
    """Tell whether a schema refuses nothing."""
    return schema is True or (isinstance(schema, Mapping) and schema_loosens({}, schema))


def _pattern_properties(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    known = before.get("patternProperties", {})
    return all(
        _nothing_left(schema) or (pattern in known and schema_loosens(known[pattern], schema))
        for pattern, schema in after["patternProperties"].items()
    )


def _additional_properties(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    wished = after["additionalProperties"]
    if wished is True or (wished is not False and _nothing_left(wished)):
        return True
    target = _NEVER if wished is False else wished
    rest = before.get("additionalProperties", True)
    known = {True: {}, False: _NEVER}[rest] if isinstance(rest, bool) else rest
    # Every field that the second schema doesn't name: those that the first one names, and the others.
    named = [
        *(
            schema
            for name, schema in before.get("properties", {}).items()
            if name not in after.get("properties", {})
        ),
        *(
            schema
            for pattern, schema in before.get("patternProperties", {}).items()
            if pattern not in after.get("patternProperties", {})
        ),
    ]
    return schema_loosens(known, target) and all(schema_loosens(schema, target) for schema in named)


def _limit(side: int, exclusive: str) -> Callable[[Mapping[str, Any], Mapping[str, Any]], bool]:
    keyword = "minimum" if side > 0 else "maximum"

    def follows(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
        start, end = _number(before.get(keyword)), _number(after[keyword])
        if start is None or end is None:
            return False
        inside = (start - end) * side
        return bool(inside > 0 or (inside == 0 and (not after.get(exclusive) or before.get(exclusive))))

    return follows


def _number(value: Any) -> Any:
    """Take a number that can be reckoned with exactly, else None."""
    from decimal import Decimal

    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return Decimal(int(value))
    if isinstance(value, float):
        value = Decimal(value)
    elif isinstance(value, Decimal128):
        value = value.to_decimal()
    return value if isinstance(value, Decimal) and value.is_finite() else None


def _least(keyword: str) -> Callable[[Mapping[str, Any], Mapping[str, Any]], bool]:
    return lambda before, after: bool(_number(after[keyword]) <= (_number(before.get(keyword)) or 0))


def _most(keyword: str) -> Callable[[Mapping[str, Any], Mapping[str, Any]], bool]:
    return lambda before, after: (
        keyword in before and bool(_number(before[keyword]) <= _number(after[keyword]))
    )


def _multiple(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    old, new = before.get("multipleOf"), after["multipleOf"]
    whole = all(isinstance(one, int) and not isinstance(one, bool) and one > 0 for one in (old, new))
    return old == new or bool(whole and old % new == 0)


def _items(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    wished = after["items"]
    if isinstance(wished, Mapping):
        known = before.get("items", {})
        return _nothing_left(wished) or (isinstance(known, Mapping) and schema_loosens(known, wished))
    return all(
        _nothing_left(schema) or schema_loosens(_item(before, position), schema)
        for position, schema in enumerate(wished)
    )


def _item(schema: Mapping[str, Any], position: int) -> Mapping[str, Any]:
    """Say what is known of one element of an array, if it is there."""
    items = schema.get("items", {})
    if isinstance(items, Mapping):
        return items
    if position < len(items):
        one: Mapping[str, Any] = items[position]
        return one
    rest = schema.get("additionalItems", True)
    return _NEVER if rest is False else rest if isinstance(rest, Mapping) else {}


def _additional_items(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    wished, items = after["additionalItems"], after.get("items")
    if not isinstance(items, list) or wished is True:
        return True
    target = _NEVER if wished is False else wished
    known = before.get("items")
    last = len(known) if isinstance(known, list) else 0
    # Each element from the first that the second schema doesn't name.
    return all(
        schema_loosens(_item(before, position), target)
        for position in range(len(items), max(last, len(items)) + 1)
    )


def _not(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    return "not" in before and schema_loosens(after["not"], before["not"])


def _any_of(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    branches = after["anyOf"]

    def fits(known: Mapping[str, Any]) -> bool:
        return any(schema_loosens(known, branch) for branch in branches)

    rest = {key: value for key, value in before.items() if key not in ("anyOf", "oneOf")}
    return fits(rest) or any(
        all(fits(branch) for branch in before[word]) for word in ("anyOf", "oneOf") if word in before
    )


def _dependencies(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    known = before.get("dependencies", {})

    def follows(name: str, wished: Any) -> bool:
        if name not in known or isinstance(wished, list) != isinstance(known[name], list):
            return False
        if isinstance(wished, list):
            return set(wished) <= set(known[name])
        return schema_loosens(known[name], wished)

    return all(follows(name, wished) for name, wished in after["dependencies"].items())


_RULES: dict[str, Callable[[Mapping[str, Any], Mapping[str, Any]], bool]] = {
    "enum": _enum,
    "required": _required,
    "properties": _properties,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "minimum": _limit(1, "exclusiveMinimum"),
    "maximum": _limit(-1, "exclusiveMaximum"),
    **{word: _least(word) for word in ("minLength", "minItems", "minProperties")},
    **{word: _most(word) for word in ("maxLength", "maxItems", "maxProperties")},
    "multipleOf": _multiple,
    "uniqueItems": lambda before, after: not after["uniqueItems"] or bool(before.get("uniqueItems")),
    "items": _items,
    "additionalItems": _additional_items,
    "allOf": lambda before, after: all(schema_loosens(before, one) for one in after["allOf"]),
    "anyOf": _any_of,
    "not": _not,
    "dependencies": _dependencies,
}
"""For each keyword, whether what the second schema asks for follows from the first one."""
