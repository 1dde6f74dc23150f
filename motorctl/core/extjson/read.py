"""Parsed JSON into BSON values: what is malformed is an error that names its field."""

from __future__ import annotations

import base64
import binascii
import json
import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias
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

from motorctl.core.extjson.deprecated import DBPointer, Symbol, Undefined

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "DEPTH_LIMIT",
    "INT64_MAX",
    "INT64_MIN",
    "TYPES",
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
_HEX_BYTE = re.compile(r"[0-9a-fA-F]{1,2}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_OPTIONS = re.compile(r"[ilmsux]*")
# fromisoformat alone would take week dates, 24 o'clock, a missing zone and a missing time.
_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(Z|[+-][0-9]{2}:?[0-9]{2})"
)


# What converts the inside of {"$type": …}, by that name.
_Types: TypeAlias = "Mapping[str, Callable[[Any], Any]]"


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


def loads(text: str | bytes, *, legacy: bool = False, strict: bool = False, deprecated: bool = False) -> Any:
    """Parse one Extended JSON text into BSON values.

    `legacy` and `deprecated` as for `to_bson_values`. `strict` refuses an object that names a key twice, of
    which otherwise the last counts; it takes twice the time. Raises `ExtendedJSONError` for that, a malformed
    type or too many levels, and `orjson.JSONDecodeError` (a ValueError too) for malformed JSON.
    """
    value = to_bson_values(_parse(text), legacy=legacy, deprecated=deprecated)
    if strict:
        # orjson has found the text well formed and this function its levels few: only keys are looked at.
        json.JSONDecoder(object_pairs_hook=_refuse_repeated, parse_int=len, parse_float=len).decode(
            text if isinstance(text, str) else text.decode()
        )
    return value


def _parse(text: str | bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        if isinstance(text, bytes):
            try:
                text.decode()
            except UnicodeDecodeError as error:
                # orjson doesn't say where.
                shown, place = text.decode(errors="backslashreplace"), len(text[: error.start].decode())
                raise orjson.JSONDecodeError("not UTF-8", shown, place) from None
        raise


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> None:
    seen = set()
    for key, _ in pairs:
        if key in seen:
            raise ExtendedJSONError(f"the key {key!r} stands twice in an object")
        seen.add(key)


def to_bson_values(
    value: Any, levels: int = DEPTH_LIMIT, *, legacy: bool = False, deprecated: bool = False
) -> Any:
    """Turn parsed JSON into BSON values, in place where it is an object or an array.

    `levels` is how many documents and arrays may stand within each other. An integer beyond 64 bits
    becomes a double, as the specification says. `legacy` reads the forms that mongoexport wrote before 4.2
    too. `deprecated` keeps a symbol, undefined and a DBPointer as `Symbol`, `Undefined` and `DBPointer`,
    which only `extjson.encode` can write; else they become a string, null and a DBRef.
    """
    return _value(value, levels, _TABLES[legacy, deprecated])


def _value(value: Any, levels: int, types: _Types) -> Any:
    kind = type(value)
    if kind is dict:
        return _object(value, levels, types)
    if kind is list:
        return _array(value, levels, types)
    if kind is int and not INT64_MIN <= value <= INT64_MAX:
        return float(value)
    return value


def _object(value: dict[str, Any], levels: int, types: _Types) -> Any:
    # What stands for a value is no level: {"$oid": …}.
    if levels <= 0 and (levels < 0 or types.keys().isdisjoint(value)):
        raise NestingError
    # The hot loop of an import: an object that holds nothing special is walked once and copied never.
    key = ""
    try:
        for key, item in value.items():
            if key in types:
                break
            kind = type(item)
            if kind is str:
                continue
            if kind is dict:
                converted = _object(item, levels - 1, types)
                if converted is not item:
                    value[key] = converted
            elif kind is list:
                _array(item, levels - 1, types)
            elif kind is int and not INT64_MIN <= item <= INT64_MAX:
                value[key] = float(item)
        else:
            return value
    except ExtendedJSONError as error:
        error.path.insert(0, key)
        raise
    return _typed(key, value, levels, types)


def _array(value: list[Any], levels: int, types: _Types) -> list[Any]:
    if levels <= 0:
        raise NestingError
    index = 0
    try:
        for index, item in enumerate(value):
            kind = type(item)
            if kind is dict or kind is list or kind is int:
                value[index] = _value(item, levels - 1, types)
    except ExtendedJSONError as error:
        error.path.insert(0, str(index))
        raise
    return value


def _typed(key: str, value: dict[str, Any], levels: int, types: _Types) -> Any:
    if len(value) == 1:
        return types[key](value[key])
    names = set(value)
    if names == {"$code", "$scope"}:
        return _code(value, levels, types)
    if "$regex" in types and key in _PAIRS:
        other, convert = _PAIRS[key]
        if names == {key, other}:
            return convert(value[key], value[other])
    others = ", ".join(repr(name) for name in value if name != key)
    raise ExtendedJSONError(f"{key} stands beside {others}")


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
    if type(value) is str:
        # unhexlify takes hexadecimal digits and nothing else, and ObjectId 12 bytes.
        with suppress(TypeError, ValueError):
            return ObjectId(binascii.unhexlify(value))
    _bad("$oid needs 24 hexadecimal digits", value)


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


def _code(value: dict[str, Any], levels: int, types: _Types) -> Code:
    source, scope = _text(value["$code"], "$code"), value["$scope"]
    if type(scope) is not dict or type(inner := _object(scope, levels, types)) is not dict:
        _bad("$scope needs a document", scope)
    return Code(source, inner)


def _db_pointer(value: Any) -> DBPointer:
    name, identity = _members(value, "$dbPointer", "$ref", "$id")
    if type(name) is not str or type(identity) is not dict or set(identity) != {"$oid"}:
        _bad("$dbPointer needs a $ref and an $oid", value)
    return DBPointer(name, _oid(identity["$oid"]))


def _heir(value: Any) -> DBRef:
    pointer = _db_pointer(value)
    return DBRef(pointer.name, pointer.id)


def _text(value: Any, type_name: str) -> str:
    if type(value) is not str:
        _bad(f"{type_name} needs a string", value)
    return value


def _exactly(type_name: str, expected: Any, result: Any) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        if type(value) is not type(expected) or value != expected:
            _bad(f"{type_name} needs {orjson.dumps(expected).decode()}", value)
        return result

    return convert


def _legacy_binary(text: Any, subtype: Any) -> bytes | Binary:
    return _binary({"base64": text, "subType": subtype})


def _legacy_date(value: Any) -> datetime | DatetimeMS:
    return DatetimeMS(_legacy_long(value)) if type(value) is int else _date(value)


def _legacy_long(value: Any) -> Int64:
    return _long(str(value) if type(value) is int else value)


def _legacy_regex(pattern: Any, options: Any) -> Regex[str]:
    return _regex({"pattern": pattern, "options": options})


def _lone_regex(_: Any) -> NoReturn:
    raise ExtendedJSONError("$regex needs $options beside it")


def _long(value: Any) -> Int64:
    return Int64(_integer(value, "$numberLong", 64))


TYPES: _Types = {
    "$oid": _oid,
    "$date": _date,
    "$numberInt": lambda value: _integer(value, "$numberInt", 32),
    "$numberLong": _long,
    "$numberDouble": _double,
    "$numberDecimal": _decimal,
    "$binary": _binary,
    "$uuid": _uuid,
    "$timestamp": _timestamp,
    "$regularExpression": _regex,
    "$code": lambda value: Code(_text(value, "$code")),
    "$dbPointer": _heir,
    "$symbol": lambda value: _text(value, "$symbol"),
    "$minKey": _exactly("$minKey", 1, MinKey()),
    "$maxKey": _exactly("$maxKey", 1, MaxKey()),
    "$undefined": _exactly("$undefined", True, None),
}
_DEPRECATED: _Types = {
    "$dbPointer": _db_pointer,
    "$symbol": lambda value: Symbol(_text(value, "$symbol")),
    "$undefined": _exactly("$undefined", True, Undefined()),
}
_LEGACY: _Types = {"$date": _legacy_date, "$numberLong": _legacy_long, "$regex": _lone_regex}
# By whether legacy forms are read, and deprecated types kept.
_TABLES: dict[tuple[bool, bool], _Types] = {
    (False, False): TYPES,
    (False, True): {**TYPES, **_DEPRECATED},
    (True, False): {**TYPES, **_LEGACY},
    (True, True): {**TYPES, **_LEGACY, **_DEPRECATED},
}
# The legacy forms of two fields: the other's name, and what converts both values.
_PAIRS: dict[str, tuple[str, Callable[[Any, Any], Any]]] = {
    "$binary": ("$type", _legacy_binary),
    "$regex": ("$options", _legacy_regex),
}
