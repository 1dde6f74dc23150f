"""A pipeline as text for mongosh: what is pasted there sends the same BSON that the driver would have sent.

Owns how a BSON value is written in mongosh's JavaScript, and how its lines are broken. What JavaScript would
change is written so that it stays: a whole double is `Double(5)`, a 64-bit integer `NumberLong("5")`, a key
`__proto__` is computed, and keys that look like array indexes, which objects of JavaScript put first, stand
in a `Map`. Pure; knows nothing of what a pipeline means.
"""

from __future__ import annotations

import base64
import json
import math
import re
import textwrap
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from bson import (
    Binary,
    Code,
    DatetimeMS,
    DBRef,
    Decimal128,
    Int64,
    MaxKey,
    MinKey,
    ObjectId,
    Regex,
    Timestamp,
)

from motorctl.core.extjson import DBPointer, Symbol, Undefined
from motorctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WIDTH = 100

_INDENT = "  "
_IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*\Z")
_ARRAY_INDEX = re.compile(r"(?:0|[1-9][0-9]{0,9})\Z")
_PLAIN_PATTERN = re.compile(r"[\w .,:;@=!<>&%'\"^$|-]+\Z", re.ASCII)
"""Regular expressions that mean the same in JavaScript and in PCRE, and stand in a literal as they are."""

_INT32 = range(-(2**31), 2**31)
_JAVASCRIPT_DATES = 8_640_000_000_000_000
"""How many milliseconds around 1970 a date of JavaScript holds: ECMAScript, "Time Values and Time Range"."""

_REGEX_FLAGS = {
    "i": re.IGNORECASE,
    "l": re.LOCALE,
    "m": re.MULTILINE,
    "s": re.DOTALL,
    "u": re.UNICODE,
    "x": re.VERBOSE,
}


def aggregate_text(
    collection: str | None,
    pipeline: Sequence[Mapping[str, Any]],
    options: Mapping[str, Any] | None = None,
    comments: Sequence[str | None] | None = None,
) -> str:
    """Return `db.getCollection("…").aggregate([…], {…})`, a stage a line where it fits, in lines of at most 100.

    Only a text, a name or a number that is longer itself makes a line longer. No collection: the
    database's own aggregation. `comments` has a text or None for each stage, shown above it. Raises UsageError (2)
    for the few values that mongosh can't hold: undefined, a DBPointer, dates beyond JavaScript's.
    """
    target = "db" if collection is None else f"db.getCollection({_string(collection)})"
    lines = []
    for number, stage in enumerate(pipeline):
        comment = comments[number] if comments else None
        lines += [f"{_INDENT}// {line}" for line in _wrapped(comment or "")]
        end = "," if number < len(pipeline) - 1 else ""
        lines.append(_fitted(_INDENT, stage, 1, len(end)) + end)
    closing = _fitted("], ", options, 0, 1) + ")" if options else "])"
    opening = f"{target}.aggregate(["
    return "\n".join([opening, *lines, closing]) if lines else opening + closing


def value_text(value: Any) -> str:
    """Return one BSON value as mongosh's JavaScript, on one line."""
    members = _members(value)
    if members is None:
        return _scalar(value)
    opening, closing = _brackets(value)
    return opening + ", ".join(before + value_text(inner) for before, inner in members) + closing


def _fitted(before: str, value: Any, level: int, after: int) -> str:
    """Return `before` and a value: on one line if that fits, else its members on lines of their own.

    `before` is the whole beginning of the line; `after` is how many characters will follow.
    """
    flat = before + value_text(value)
    members = _members(value)
    if not members or len(flat) + after <= WIDTH:
        return flat
    opening, closing = _brackets(value)
    if len(members) == 1 and _members(members[0][1]):
        # {$group: {…}} opens and closes on the lines of what it holds.
        ((key, inner),) = members
        return _fitted(before + opening + key, inner, level, after + len(closing)) + closing
    indent = _INDENT * (level + 1)
    last = len(members) - 1
    inside = [
        _fitted(indent + key, inner, level + 1, number < last) + ("," if number < last else "")
        for number, (key, inner) in enumerate(members)
    ]
    return "\n".join([before + opening, *inside, _INDENT * level + closing])


def _members(value: Any) -> list[tuple[str, Any]] | None:
    """Return what stands before each member of an object or array, and the member; None for other values."""
    if isinstance(value, Mapping):
        if _reordered(value):
            return [("", _Entry(key, inner)) for key, inner in value.items()]
        return [(_key(key), inner) for key, inner in value.items()]
    if isinstance(value, DBRef):
        # As a document: the shell's own DBRef takes "a.b" for a collection in a database.
        return _members(value.as_doc())
    if isinstance(value, _Entry):
        return [("", value.key), ("", value.value)]
    return [("", inner) for inner in value] if isinstance(value, (list, tuple)) else None


def _brackets(value: Any) -> tuple[str, str]:
    if isinstance(value, DBRef):
        return _brackets(value.as_doc())
    if isinstance(value, Mapping):
        return ("new Map([", "])") if _reordered(value) else ("{", "}")
    return "[", "]"


class _Entry:
    """An entry of a `Map`: an array of a key and its value."""

    def __init__(self, key: str, value: Any) -> None:
        self.key, self.value = key, value


def _reordered(value: Mapping[str, Any]) -> bool:
    """Tell whether JavaScript would bring the keys of an object into another order: ECMAScript, "OrdinaryOwnPropertyKeys"."""
    indexes = [int(key) for key in value if _ARRAY_INDEX.match(key)]
    return bool(indexes) and list(value)[: len(indexes)] != [str(index) for index in sorted(indexes)]


def _key(name: str) -> str:
    if name == "__proto__":
        return '["__proto__"]: '
    return f"{name}: " if _IDENTIFIER.match(name) else f"{_string(name)}: "


def _string(text: str) -> str:
    """Return a text as JSON, with everything escaped that isn't seen: U+2028 would end the line."""
    return "".join(
        letter if letter.isprintable() else _escape(letter) for letter in json.dumps(text, ensure_ascii=False)
    )


def _escape(letter: str) -> str:
    return f"\\u{ord(letter):04x}" if ord(letter) < 0x10000 else f"\\u{{{ord(letter):x}}}"


def _integer(value: int) -> str:
    return str(value) if value in _INT32 else f'NumberLong("{value}")'


def _double(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    # The shell sends a whole number as an integer.
    return f"Double({value!r})" if value.is_integer() else repr(value)


def _date(value: datetime) -> str:
    moment = value.astimezone(UTC) if value.tzinfo else value
    fraction = f".{moment.microsecond // 1000:03}" if moment.microsecond >= 1000 else ""
    return f'ISODate("{moment.year:04}-{moment:%m-%dT%H:%M:%S}{fraction}Z")'


def _milliseconds(value: DatetimeMS) -> str:
    if abs(int(value)) > _JAVASCRIPT_DATES:
        raise UsageError(f"mongosh can't hold a date of {int(value)} milliseconds since 1970")
    return f"new Date({int(value)})"


def _binary(value: bytes) -> str:
    subtype = value.subtype if isinstance(value, Binary) else 0
    if subtype == 4 and len(value) == 16:
        return f'UUID("{UUID(bytes=bytes(value))}")'
    return f'BinData({subtype}, "{base64.b64encode(value).decode()}")'


def _regex(value: Regex[Any] | re.Pattern[Any]) -> str:
    pattern = value.pattern.decode() if isinstance(value.pattern, bytes) else value.pattern
    flags = "".join(letter for letter, flag in _REGEX_FLAGS.items() if value.flags & flag)
    # The shell drops the flags that JavaScript doesn't have, and its `s` too.
    if _PLAIN_PATTERN.match(pattern) and set(flags) <= {"i", "m"}:
        return f"/{pattern}/{flags}"
    return f"BSONRegExp({_string(pattern)}, {_string(flags)})"


def _code(value: Code) -> str:
    return (
        f"Code({_string(value)})"
        if value.scope is None
        else f"Code({_string(value)}, {value_text(value.scope)})"
    )


def _scalar(value: Any) -> str:
    for kind, write in _WRITERS:
        if isinstance(value, kind):
            return write(value)
    raise UsageError(f"mongosh has no value for {type(value).__name__}")


def _refused(value: Any) -> str:
    raise UsageError(f"mongosh has no value for {type(value).__name__}, a type that BSON has given up")


# In this order: True is an int, an Int64 too, Code is a str and Binary bytes.
_WRITERS: tuple[tuple[Any, Callable[[Any], str]], ...] = (
    (type(None), lambda _: "null"),
    (bool, lambda value: "true" if value else "false"),
    (Int64, lambda value: f'NumberLong("{int(value)}")'),
    (int, _integer),
    (float, _double),
    (Code, _code),
    (str, _string),
    (Decimal128, lambda value: f'NumberDecimal("{value}")'),
    (ObjectId, lambda value: f'ObjectId("{value}")'),
    (datetime, _date),
    (DatetimeMS, _milliseconds),
    (bytes, _binary),
    (UUID, lambda value: f'UUID("{value}")'),
    ((Regex, re.Pattern), _regex),
    (Timestamp, lambda value: f"Timestamp({{t: {value.time}, i: {value.inc}}})"),
    (MinKey, lambda _: "MinKey()"),
    (MaxKey, lambda _: "MaxKey()"),
    (Symbol, lambda value: f"BSONSymbol({_string(value.text)})"),
    ((Undefined, DBPointer), _refused),
)


def _wrapped(comment: str) -> list[str]:
    visible = "".join(letter if letter.isprintable() else " " for letter in comment)
    width = WIDTH - len(_INDENT) - len("// ")
    return textwrap.wrap(" ".join(visible.split()), width, break_long_words=False, break_on_hyphens=False)
