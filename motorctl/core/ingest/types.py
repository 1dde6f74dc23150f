"""What a cell of delimited text becomes: the types a user names, and the guess where none is named.

Pure functions of a text. A cell that isn't of its type raises `ValueError` with the reason.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

import orjson
from bson import DatetimeMS, Decimal128, Int64, ObjectId
from bson.binary import Binary

from motorctl.core import extjson
from motorctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["TYPE_NAMES", "converter", "infer", "parse_types"]

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_NOT_FINITE = frozenset({"NaN", "Infinity", "-Infinity"})
_TRUE = frozenset({"true", "1", "yes", "y", "t"})
_FALSE = frozenset({"false", "0", "no", "n", "f"})
_FIRST_OF_NUMBER = frozenset("-0123456789")
_MILLISECOND = timedelta(milliseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def infer(text: str) -> Any:
    """Guess a cell's value: a number if writing it back gives the same text, else the text itself.

    So `007`, `+1`, `1.50`, `1e5`, `NaN` and more digits than a double holds stay strings.
    """
    if text[:1] not in _FIRST_OF_NUMBER or not text:
        return text
    try:
        if (number := int(text)) and str(number) == text:
            return number if extjson.INT64_MIN <= number <= extjson.INT64_MAX else text
        if text == "0":
            return 0
    except ValueError:
        pass
    try:
        real = float(text)
    except ValueError:
        return text
    # repr writes very large and very small ones with an exponent: such a text is rather a code.
    return real if repr(real) == text and text[-1].isdigit() and "e" not in text else text


def parse_types(text: str) -> dict[str, str]:
    """Read `gpa:double,created_at:date(%d/%m/%Y)` into field -> type, in order.

    Commas and colons within parentheses belong to the type. Raises `UsageError` for an unknown type or
    a field named twice.
    """
    types: dict[str, str] = {}
    for part in re.split(r",(?![^(]*\))", text):
        name, colon, kind = part.strip().partition(":")
        if not colon or not name or not kind:
            raise UsageError(f"--types: {part.strip()!r} isn't FIELD:TYPE", hint="for example gpa:double")
        if name in types:
            raise UsageError(f"--types names {name!r} twice")
        converter(kind)
        types[name] = kind
    return types


def converter(kind: str) -> Callable[[str], Any]:
    """Find the function that reads a cell of a type; `date` takes a format: `date(%d/%m/%Y)`.

    `date(s)` and `date(ms)` are seconds and milliseconds since 1970. A date without a zone is UTC.
    Raises `UsageError` for an unknown type.
    """
    name, _, argument = kind.partition("(")
    if argument and (not argument.endswith(")") or name != "date"):
        raise UsageError(f"--types: {kind!r} isn't a type", hint=f"types are {', '.join(TYPE_NAMES)}")
    if argument:
        return _date_of_format(argument[:-1])
    try:
        return _CONVERTERS[name]
    except KeyError:
        raise UsageError(
            f"--types: no type {name!r}", hint=f"types are {', '.join(TYPE_NAMES)} and date(FORMAT)"
        ) from None


def _bad(text: str, what: str) -> NoReturn:
    if not text:
        raise ValueError(f"an empty cell isn't {what} (--ignore-blanks leaves it out)")
    raise ValueError(f"{text if len(text) <= 60 else text[:57] + '...'!r} isn't {what}")


def _whole(text: str, bits: int) -> int:
    what = f"an integer of {bits} bits"
    if not _INTEGER.fullmatch(text):
        _bad(text, what)
    number = int(text)
    if not -(2 ** (bits - 1)) <= number < 2 ** (bits - 1):
        _bad(text, what)
    return number


def _double(text: str) -> float:
    if not _NUMBER.fullmatch(text) and text not in _NOT_FINITE:
        _bad(text, "a number")
    return float(text)


def _decimal(text: str) -> Decimal128:
    if not _NUMBER.fullmatch(text) and text not in _NOT_FINITE:
        _bad(text, "a decimal number")
    try:
        return Decimal128(text)
    except ArithmeticError:
        _bad(text, "a decimal number of at most 34 digits")


def _boolean(text: str) -> bool:
    lower = text.lower()
    if lower not in _TRUE and lower not in _FALSE:
        _bad(text, "true or false")
    return lower in _TRUE


def _iso_date(text: str) -> datetime | DatetimeMS:
    # fromisoformat takes a week date and an ordinal too: those are ISO 8601 as well.
    try:
        return _utc(datetime.fromisoformat(text))
    except ValueError:
        _bad(text, "an ISO 8601 date")


def _date_of_format(pattern: str) -> Callable[[str], datetime | DatetimeMS]:
    if pattern in {"s", "ms"}:
        scale = 1000 if pattern == "s" else 1

        def from_epoch(text: str) -> DatetimeMS:
            number = _whole(text, 64) * scale
            if not extjson.INT64_MIN <= number <= extjson.INT64_MAX:
                _bad(text, "a date that 64 bits hold")
            return DatetimeMS(number)

        return from_epoch
    if "%" not in pattern:
        raise UsageError(
            f"--types: date({pattern}) isn't a date format", hint="for example date(%d/%m/%Y), date(ms)"
        )

    def from_format(text: str) -> datetime | DatetimeMS:
        try:
            return _utc(datetime.strptime(text, pattern))  # noqa: DTZ007  # the zone is given below
        except ValueError:
            _bad(text, f"a date like {pattern}")

    return from_format


def _utc(when: datetime) -> datetime | DatetimeMS:
    if when.tzinfo is None:
        return when.replace(tzinfo=UTC)
    # With an offset, the time in UTC may lie outside the years 1 to 9999.
    return DatetimeMS((when - _EPOCH) // _MILLISECOND)


def _object_id(text: str) -> ObjectId:
    if not re.fullmatch(r"[0-9a-fA-F]{24}", text):
        _bad(text, "24 hexadecimal digits")
    return ObjectId(text)


def _uuid(text: str) -> Binary:
    try:
        return Binary(extjson.loads(orjson.dumps({"$uuid": text})), 4)
    except extjson.ExtendedJSONError:
        _bad(text, "a UUID")


def _json(text: str) -> Any:
    try:
        return extjson.loads(text)
    except extjson.ExtendedJSONError:
        raise
    except ValueError:
        _bad(text, "JSON")


_CONVERTERS: dict[str, Callable[[str], Any]] = {
    "auto": infer,
    "string": lambda text: text,
    "int32": lambda text: _whole(text, 32),
    "int64": lambda text: Int64(_whole(text, 64)),
    "double": _double,
    "decimal": _decimal,
    "bool": _boolean,
    "boolean": _boolean,
    "date": _iso_date,
    "objectid": _object_id,
    "uuid": _uuid,
    "json": _json,
}
TYPE_NAMES = tuple(name for name in _CONVERTERS if name != "boolean")
