"""Parsed JSON into BSON values: what is malformed is an error that names its field."""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn
from uuid import UUID

import orjson
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

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "DEPTH_LIMIT",
    "INT64_MAX",
    "INT64_MIN",
    "ExtendedJSONError",
    "NestingError",
    "loads",
    "to_bson_values",
]

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
UINT32_MAX = 2**32 - 1
# How many documents and arrays a server stores within each other, the outermost counted.
DEPTH_LIMIT = 180

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_INTEGER = re.compile(r"-?[0-9]+")
_FLOAT = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_DECIMAL = re.compile(rf"{_FLOAT.pattern}|[+-]?(?:inf|infinity|nan)", re.IGNORECASE)
_HEX24 = re.compile(r"[0-9a-fA-F]{24}")
_HEX_BYTE = re.compile(r"[0-9a-fA-F]{1,2}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_OPTIONS = re.compile(r"[ilmsux]*")
# fromisoformat alone would take week dates, a missing zone and a missing time.
_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(Z|[+-][0-9]{2}:?[0-9]{2})"
)


class ExtendedJSONError(ValueError):
    """A value that claims to be a BSON type and isn't one: `reason`, and `path` to the field."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path: list[str] = []

    @property
    def field(self) -> str | None:
        """The dotted path of the field, None at the top."""
        return ".".join(self.path) or None

    def __str__(self) -> str:
        return f"{self.field}: {self.reason}" if self.field else self.reason


class NestingError(ExtendedJSONError):
    """Deeper than a server takes. A path of that length tells nobody anything: `field` is None."""

    def __init__(self) -> None:
        super().__init__(f"nested more than {DEPTH_LIMIT} deep, which the server doesn't take")

    @property
    def field(self) -> str | None:
        return None


def loads(text: str | bytes) -> Any:
    """Parse one Extended JSON text into BSON values.

    Raises `ExtendedJSONError` for a malformed type or too many levels, and `orjson.JSONDecodeError` (a
    ValueError too) for malformed JSON.
    """
    return to_bson_values(orjson.loads(text))


def to_bson_values(value: Any, levels: int = DEPTH_LIMIT) -> Any:
    """Turn parsed JSON into BSON values, in place where it is an object or an array.

    `levels` is how many documents and arrays may stand within each other. An integer beyond 64 bits
    becomes a double, as the specification says.
    """
    kind = type(value)
    if kind is dict:
        return _object(value, levels)
    if kind is list:
        return _array(value, levels)
    if kind is int and not INT64_MIN <= value <= INT64_MAX:
        return float(value)
    return value


def _object(value: dict[str, Any], levels: int) -> Any:
    # What stands for a value is no level: {"$oid": …}.
    if levels <= 0 and (levels < 0 or _TYPES.keys().isdisjoint(value)):
        raise NestingError
    # The hot loop of an import: an object that holds nothing special is walked once and copied never.
    key = ""
    try:
        for key, item in value.items():
            if key in _TYPES:
                break
            kind = type(item)
            if kind is str:
                continue
            if kind is dict:
                converted = _object(item, levels - 1)
                if converted is not item:
                    value[key] = converted
            elif kind is list:
                _array(item, levels - 1)
            elif kind is int and not INT64_MIN <= item <= INT64_MAX:
                value[key] = float(item)
        else:
            return value
    except ExtendedJSONError as error:
        error.path.insert(0, key)
        raise
    return _typed(key, value, levels)


def _array(value: list[Any], levels: int) -> list[Any]:
    if levels <= 0:
        raise NestingError
    index = 0
    try:
        for index, item in enumerate(value):
            kind = type(item)
            if kind is dict or kind is list or kind is int:
                value[index] = to_bson_values(item, levels - 1)
    except ExtendedJSONError as error:
        error.path.insert(0, str(index))
        raise
    return value


def _typed(key: str, value: dict[str, Any], levels: int) -> Any:
    if len(value) != 1 and not (key == "$code" and set(value) == {"$code", "$scope"}):
        others = ", ".join(repr(name) for name in value if name != key)
        raise ExtendedJSONError(f"{key} stands beside {others}")
    if key == "$code":
        return _code(value, levels)
    return _TYPES[key](value[key])


def _bad(expected: str, value: Any) -> NoReturn:
    try:
        shown = repr(value)
    except RecursionError:
        shown = "something nested very deeply"
    raise ExtendedJSONError(f"{expected}, not {shown if len(shown) <= 60 else shown[:57] + '...'}")


def _members(value: Any, type_name: str, *names: str) -> list[Any]:
    if type(value) is not dict or set(value) != set(names):
        _bad(f"{type_name} needs an object of {' and '.join(names)}", value)
    return [value[name] for name in names]


def _oid(value: Any) -> ObjectId:
    if type(value) is not str or not _HEX24.fullmatch(value):
        _bad("$oid needs 24 hexadecimal digits", value)
    return ObjectId(value)


def _integer(value: Any, type_name: str, bits: int) -> int:
    if type(value) is not str or not _INTEGER.fullmatch(value):
        _bad(f"{type_name} needs an integer in a string", value)
    # 19 digits and a sign are all that 64 bits hold: int() of a million digits would take minutes.
    number = int(value) if len(value) <= 20 else 2**64
    if not -(2 ** (bits - 1)) <= number < 2 ** (bits - 1):
        _bad(f"{type_name} needs {bits} bits", value)
    return number


def _double(value: Any) -> float:
    if type(value) is not str or not (value in {"NaN", "Infinity", "-Infinity"} or _FLOAT.fullmatch(value)):
        _bad("$numberDouble needs a number in a string", value)
    return float(value)


def _decimal(value: Any) -> Decimal128:
    if type(value) is not str or not _DECIMAL.fullmatch(value):
        _bad("$numberDecimal needs a number in a string", value)
    try:
        return Decimal128(value)
    except ArithmeticError:
        _bad("$numberDecimal needs a number of at most 34 digits", value)


def _date(value: Any) -> datetime | DatetimeMS:
    if type(value) is dict:
        (milliseconds,) = _members(value, "$date", "$numberLong")
        return DatetimeMS(_integer(milliseconds, "$numberLong", 64))
    match = _RFC3339.fullmatch(value) if type(value) is str else None
    if match is None:
        _bad("$date needs an ISO 8601 time with its zone, or $numberLong", value)
    try:
        when = datetime.fromisoformat(value)
    except ValueError:
        _bad("$date needs a day and time that exist", value)
    # With an offset, the time in UTC may lie outside the years 1 to 9999.
    return when if match[1] == "Z" else DatetimeMS((when - _EPOCH) // _MILLISECOND)


def _binary(value: Any) -> bytes | Binary:
    text, subtype = _members(value, "$binary", "base64", "subType")
    if type(subtype) is not str or not _HEX_BYTE.fullmatch(subtype):
        _bad("$binary needs a subType of one or two hexadecimal digits", subtype)
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError):
        _bad("$binary needs base64", text)
    number = int(subtype, 16)
    return Binary(data, number) if number else data


def _uuid(value: Any) -> Binary:
    if type(value) is not str or not _UUID.fullmatch(value):
        _bad("$uuid needs 8-4-4-4-12 hexadecimal digits", value)
    return Binary.from_uuid(UUID(value))


def _timestamp(value: Any) -> Timestamp:
    time, increment = _members(value, "$timestamp", "t", "i")
    for part in (time, increment):
        if type(part) is not int or not 0 <= part <= UINT32_MAX:
            _bad("$timestamp needs t and i of 32 bits without a sign", value)
    return Timestamp(time, increment)


def _regex(value: Any) -> Regex[str]:
    pattern, options = _members(value, "$regularExpression", "pattern", "options")
    if type(pattern) is not str or "\0" in pattern:
        _bad("$regularExpression needs a pattern", pattern)
    if type(options) is not str or not _OPTIONS.fullmatch(options):
        _bad("$regularExpression knows the options i, l, m, s, u, x", options)
    return Regex(pattern, options)


def _code(value: dict[str, Any], levels: int = DEPTH_LIMIT) -> Code:
    source, scope = value["$code"], value.get("$scope")
    if type(source) is not str:
        _bad("$code needs a string", source)
    if "$scope" not in value:
        return Code(source)
    if type(scope) is not dict or type(inner := to_bson_values(scope, levels)) is not dict:
        _bad("$scope needs a document", scope)
    return Code(source, inner)


def _db_pointer(value: Any) -> DBRef:
    name, identity = _members(value, "$dbPointer", "$ref", "$id")
    if type(name) is not str or type(identity) is not dict or set(identity) != {"$oid"}:
        _bad("$dbPointer needs a $ref and an $oid", value)
    return DBRef(name, _oid(identity["$oid"]))


def _symbol(value: Any) -> str:
    if type(value) is not str:
        _bad("$symbol needs a string", value)
    return value


def _exactly(type_name: str, expected: Any, result: Any) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        if type(value) is not type(expected) or value != expected:
            _bad(f"{type_name} needs {orjson.dumps(expected).decode()}", value)
        return result

    return convert


_TYPES: dict[str, Callable[[Any], Any]] = {
    "$oid": _oid,
    "$date": _date,
    "$numberInt": lambda value: _integer(value, "$numberInt", 32),
    "$numberLong": lambda value: Int64(_integer(value, "$numberLong", 64)),
    "$numberDouble": _double,
    "$numberDecimal": _decimal,
    "$binary": _binary,
    "$uuid": _uuid,
    "$timestamp": _timestamp,
    "$regularExpression": _regex,
    "$code": _code,
    "$dbPointer": _db_pointer,
    "$symbol": _symbol,
    "$minKey": _exactly("$minKey", 1, MinKey()),
    "$maxKey": _exactly("$maxKey", 1, MaxKey()),
    "$undefined": _exactly("$undefined", True, None),
}
