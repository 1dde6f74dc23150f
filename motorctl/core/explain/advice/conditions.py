"""A filter taken apart: what it asks of which field, and how far an index can answer that. Pure.

The rules are those of the server's planner: MongoDB's manual, "Query Optimization", "$regex: Index Use",
"$expr: Behavior" and "Indexes and collation". What isn't understood is `opaque`: nothing is claimed of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from bson.regex import Regex

if TYPE_CHECKING:
    from collections.abc import Iterator

Role = Literal["equality", "in", "range", "none"]

UNKNOWN = object()
"""The value of a variable: something constant, but nobody knows what."""

_RANGES = frozenset({"$gt", "$gte", "$lt", "$lte"})
_GEO = frozenset({"$near", "$nearSphere", "$geoWithin", "$geoIntersects", "$within", "$geoNear"})
NEAREST = frozenset({"$near", "$nearSphere", "$geoNear"})
"""Operators that the server refuses without an index for places."""

_NEGATIONS = frozenset({"$ne", "$nin", "$not"})
_EXPRESSIONS = frozenset({"$eq", *_RANGES})
_MIRRORED = {"$gt": "$lt", "$gte": "$lte", "$lt": "$gt", "$lte": "$gte", "$eq": "$eq"}
_PREFIXED = re.MULTILINE | re.DOTALL | re.VERBOSE
_ARRAY = frozenset({"array", "4"})
_INDIFFERENT = frozenset({"$comment", "$alwaysTrue"})


@dataclass(frozen=True)
class Condition:
    """One test of one field.

    `role` is what an index can make of it; `none`: no bounds that are worth an index, and `why` says what
    stands against it: negation, regex, regex_case, regex_option, exists, geo or operator. `element` is the array in
    whose `$elemMatch` it stands; `expression`: it stands in `$expr`.
    """

    path: str
    operator: str
    value: Any
    role: Role
    why: str | None = None
    element: str | None = None
    expression: bool = False

    @property
    def values(self) -> list[Any]:
        """The values that the field is compared with."""
        if self.operator in ("$in", "$nin", "$all") and isinstance(self.value, list | tuple):
            return list(self.value)
        return [self.value]

    @property
    def has_text(self) -> bool:
        """Tell whether it compares strings, to which a collation matters."""
        if self.operator == "$type":
            return False
        return any(isinstance(value, str | dict | list) or is_regex(value) for value in self.values)

    @property
    def has_pattern(self) -> bool:
        return any(map(is_regex, self.values))


@dataclass(frozen=True)
class Filter:
    """Conditions that must all hold, of each `$or` one branch, and `opaque` operators beside them."""

    conditions: tuple[Condition, ...] = ()
    choices: tuple[tuple[Filter, ...], ...] = ()
    opaque: tuple[str, ...] = ()

    def __and__(self, other: Filter) -> Filter:
        return Filter(
            self.conditions + other.conditions, self.choices + other.choices, self.opaque + other.opaque
        )

    def of(self, path: str) -> list[Condition]:
        return [condition for condition in self.conditions if condition.path == path]

    def every(self) -> Iterator[Condition]:
        """Yield the conditions of the branches too."""
        for one in self.all():
            yield from one.conditions

    def all(self) -> Iterator[Filter]:
        """Yield the filter itself and those of its branches."""
        yield self
        for branches in self.choices:
            for branch in branches:
                yield from branch.all()

    @property
    def is_empty(self) -> bool:
        return not (self.conditions or self.choices or self.opaque)


def take_apart(query: Any, prefix: str = "", element: str | None = None) -> Filter:
    """Read a filter; `prefix` and `element` are those of an `$elemMatch` around it."""
    found = Filter()
    if not isinstance(query, Mapping):
        return Filter(opaque=("?",))
    for name, value in query.items():
        found &= _clause(str(name), value, prefix, element)
    return found


def _clause(name: str, value: Any, prefix: str, element: str | None) -> Filter:
    if not name.startswith("$"):
        return Filter(tuple(_of_field(f"{prefix}{name}", value, element)))
    if name in _INDIFFERENT:
        return Filter()
    if name == "$and" and isinstance(value, list):
        found = Filter()
        for one in value:
            found &= take_apart(one, prefix, element)
        return found
    if name == "$or" and isinstance(value, list) and value:
        branches = tuple(take_apart(one, prefix, element) for one in value)
        return branches[0] if len(branches) == 1 else Filter(choices=(branches,))
    if name == "$expr":
        return _expression(value)
    return Filter(opaque=(name,))


def _of_field(path: str, value: Any, element: str | None) -> Iterator[Condition]:
    if not is_field(path):
        yield Condition(path, "?", value, "none", "operator", element)
    elif not (isinstance(value, Mapping) and value and str(next(iter(value))).startswith("$")):
        yield _compared(path, "$eq", value, element)
    elif "$ref" in value:
        yield Condition(path, "$eq", value, "equality", None, element)
    else:
        for operator, operand in value.items():
            if operator == "$elemMatch":
                yield from _element(path, operand)
            elif operator == "$all" and isinstance(operand, list):
                yield from _all(path, operand, element)
            elif operator == "$regex":
                yield _regex(path, _pattern(operand, value.get("$options")), element)
            elif operator != "$options":
                yield _compared(path, str(operator), operand, element)


def is_field(path: str) -> bool:
    """Tell a path that an index's key can have: numbers in it are positions of arrays."""
    return all(part and not part.startswith("$") and not part.isdigit() for part in path.split("."))


def _compared(path: str, operator: str, value: Any, element: str | None) -> Condition:
    role: Role = "none"
    why: str | None = "operator"
    if operator == "$eq" and is_regex(value):
        return _regex(path, value, element)
    if operator == "$eq":
        role, why = "equality", None
    elif operator == "$in" and isinstance(value, list | tuple):
        role, why = ("equality" if len(value) == 1 and not is_regex(value[0]) else "in"), None
        loose = [_regex(path, one, element) for one in value if is_regex(one)]
        if loose:
            worst = next((one for one in loose if one.role == "none"), loose[0])
            role, why = worst.role, worst.why
    elif operator in _RANGES or (operator == "$type" and not _ARRAY & set(map(str, _several(value)))):
        role, why = "range", None
    elif operator == "$exists":
        # To an index a missing field is null; that it is there is true of nearly every key.
        role, why = ("none", "exists") if value else ("equality", None)
    elif operator in _NEGATIONS:
        why = "negation"
    elif operator in _GEO:
        why = "geo"
    return Condition(path, operator, value, role, why, element)


def _several(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _element(path: str, operand: Any) -> Iterator[Condition]:
    if isinstance(operand, Mapping) and operand and str(next(iter(operand))).startswith("$"):
        logical = {"$and", "$or", "$nor", "$expr"} & set(operand)
        if not logical:
            yield from _of_field(path, operand, path)
            return
    inner = take_apart(operand, f"{path}.", path)
    if inner.choices or inner.opaque:
        yield Condition(path, "$elemMatch", operand, "none", "operator", path)
    yield from inner.conditions


def _all(path: str, operand: list[Any], element: str | None) -> Iterator[Condition]:
    for one in operand[:1]:
        # The server takes one of them for the bounds.
        if isinstance(one, Mapping) and "$elemMatch" in one:
            yield from _element(path, one["$elemMatch"])
        else:
            yield replace(_compared(path, "$eq", one, element), operator="$all", value=operand)


def is_regex(value: Any) -> bool:
    """Whether a value of a filter is a regular expression: BSON's or Python's own."""
    return hasattr(value, "pattern") and hasattr(value, "flags")


def _pattern(operand: Any, options: Any) -> Any:
    if is_regex(operand):
        return operand if options is None else Regex(operand.pattern, str(options))
    return Regex(str(operand), str(options or ""))


def _regex(path: str, pattern: Any, element: str | None) -> Condition:
    flags = pattern.flags
    text = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode(errors="replace")
    if literal_prefix(text, flags):
        return Condition(path, "$regex", pattern, "range", None, element)
    why = "regex"
    if flags & re.IGNORECASE:
        why = "regex_case"
    elif literal_prefix(text, flags & _PREFIXED):
        why = "regex_option"
    return Condition(path, "$regex", pattern, "none", why, element)


def literal_prefix(pattern: str, flags: int | re.RegexFlag = 0) -> str:
    r"""Return the text with which all matches begin, as far as the server sees it; empty: it scans.

    It needs `^` or `\A` (the latter alone with the option m), no `|` and no option but m, s and x:
    `IndexBoundsBuilder` in the server's source is the rule. A driver for Python sends `u` with a pattern that
    `re.compile` made.
    """
    if flags & ~_PREFIXED or "|" in pattern:
        return ""
    verbose = bool(flags & re.VERBOSE)
    if pattern.startswith("\\A"):
        rest = pattern[2:]
    elif pattern.startswith("^") and not flags & re.MULTILINE:
        rest = pattern[1:]
    else:
        return ""
    found = ""
    position = 0
    while position < len(rest):
        letter = rest[position]
        if letter in "*?":
            return found[:-1]
        if letter in "^$.[()+{":
            break
        if rest.startswith("\\Q", position):
            return found + rest[position + 2 :].partition("\\E")[0]
        if letter == "\\":
            position += 1
            escaped = rest[position : position + 1]
            if not escaped or escaped.isalnum():
                break
            letter = escaped
        elif verbose and (letter.isspace() or letter == "#"):
            if letter == "#":
                break
            position += 1
            continue
        found += letter
        position += 1
    return found


def _expression(value: Any) -> Filter:
    """Read the comparisons of an `$expr` with a constant; the rest of it is opaque."""
    if isinstance(value, Mapping) and len(value) == 1:
        ((operator, operands),) = value.items()
        if operator == "$and" and isinstance(operands, list):
            found = Filter()
            for one in operands:
                found &= _expression(one)
            return found
        if operator in _EXPRESSIONS and isinstance(operands, list) and len(operands) == 2:
            left, right = operands
            path, constant = _field_of(left), _constant(right)
            if path is None:
                operator, path, constant = _MIRRORED[operator], _field_of(right), _constant(left)
            # Null is no missing field there, and the server's bounds for it are no use.
            if path is not None and constant is not None and is_field(path):
                role: Role = "equality" if operator == "$eq" else "range"
                return Filter((Condition(path, operator, constant[0], role, expression=True),))
    return Filter(opaque=("$expr",))


def _field_of(operand: Any) -> str | None:
    if isinstance(operand, str) and operand.startswith("$") and not operand.startswith("$$"):
        return operand[1:]
    return None


def _constant(operand: Any) -> tuple[Any] | None:
    """Return the value of a constant, in a tuple since it may be anything; None for what isn't constant."""
    if isinstance(operand, str):
        if operand.startswith("$$"):
            name = operand[2:]
            return (UNKNOWN,) if "." not in name and name[:1].islower() else None
        return None if operand.startswith("$") else (operand,)
    if isinstance(operand, Mapping):
        return (operand["$literal"],) if set(operand) == {"$literal"} else None
    if isinstance(operand, list) or operand is None:
        return None
    return (operand,)
