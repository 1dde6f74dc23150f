"""MongoDB Extended JSON v2: parsed JSON into BSON values, and BSON into JSON text.

Follows https://www.mongodb.com/docs/manual/reference/mongodb-extended-json/ (the drivers'
specification "extended-json"), strictly: a malformed `$oid` is an error and never a document that
looks like one. Canonical, relaxed and mixed forms are read alike. Three types that BSON has given up
and the driver can't write become their heirs: a symbol a string, undefined null, a DBPointer a DBRef.
Knows nothing of files, records or collections.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn
from uuid import UUID

import bson
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
from bson.codec_options import CodecOptions, DatetimeConversion

__all__ = [
    "BSON_OPTIONS",
    "ExtendedJSONError",
    "bson_to_json",
    "dumps",
    "loads",
    "to_bson_values",
    "to_json_value",
]

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
UINT32_MAX = 2**32 - 1

# A date that Python's calendar can't hold comes as DatetimeMS; everything else as itself.
BSON_OPTIONS: CodecOptions[dict[str, Any]] = CodecOptions(
    document_class=dict, tz_aware=True, tzinfo=UTC, datetime_conversion=DatetimeConversion.DATETIME_AUTO
)

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
        return f"{self.field}: {self.reason}" if self.path else self.reason


def loads(text: str | bytes) -> Any:
    """Parse one Extended JSON text into BSON values.

    Raises `ExtendedJSONError` for a malformed type and `orjson.JSONDecodeError` (a ValueError too) for
    malformed JSON.
    """
    return to_bson_values(orjson.loads(text))


def dumps(document: Mapping[str, Any], *, canonical: bool = False) -> bytes:
    """Write a document as one line of Extended JSON, without a line end."""
    return orjson.dumps(to_json_value(document, canonical=canonical))


# -- reading ----------------------------------------------------------------------------------------------


def to_bson_values(value: Any) -> Any:
    """Turn parsed JSON into BSON values, in place where it is an object or an array.

    An integer beyond 64 bits becomes a double, as the specification says.
    """
    kind = type(value)
    if kind is dict:
        return _object(value)
    if kind is list:
        return _array(value)
    if kind is int and not INT64_MIN <= value <= INT64_MAX:
        return float(value)
    return value


def _object(value: dict[str, Any]) -> Any:
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
                converted = _object(item)
                if converted is not item:
                    value[key] = converted
            elif kind is list:
                _array(item)
            elif kind is int and not INT64_MIN <= item <= INT64_MAX:
                value[key] = float(item)
        else:
            return value
    except ExtendedJSONError as error:
        error.path.insert(0, key)
        raise
    return _typed(key, value)


def _array(value: list[Any]) -> list[Any]:
    index = 0
    try:
        for index, item in enumerate(value):
            kind = type(item)
            if kind is dict or kind is list or kind is int:
                value[index] = to_bson_values(item)
    except ExtendedJSONError as error:
        error.path.insert(0, str(index))
        raise
    return value


def _typed(key: str, value: dict[str, Any]) -> Any:
    if len(value) != 1 and not (key == "$code" and set(value) == {"$code", "$scope"}):
        others = ", ".join(repr(name) for name in value if name != key)
        raise ExtendedJSONError(f"{key} stands beside {others}")
    if key == "$code":
        return _code(value)
    return _TYPES[key](value[key])


def _bad(expected: str, value: Any) -> NoReturn:
    shown = repr(value)
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


def _code(value: dict[str, Any]) -> Code:
    source, scope = value["$code"], value.get("$scope")
    if type(source) is not str:
        _bad("$code needs a string", source)
    if "$scope" not in value:
        return Code(source)
    if type(scope) is not dict or type(inner := to_bson_values(scope)) is not dict:
        _bad("$scope needs a document", scope)
    return Code(source, inner)


def _db_pointer(value: Any) -> DBRef:
    name, identity = _members(value, "$dbPointer", "$ref", "$id")
    if type(name) is not str or not isinstance(to_bson_values(identity), ObjectId):
        _bad("$dbPointer needs a $ref and an $oid", value)
    return DBRef(name, to_bson_values(identity))


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


# -- writing ----------------------------------------------------------------------------------------------

_FAST = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS
# A double element whose exponent is all ones: an infinity or a NaN. orjson writes these as null and asks
# nobody; a document that may hold one goes the slow way.
_MAYBE_NOT_FINITE = re.compile(rb"\x01[^\x00]*\x00.{6}[\xf0-\xff][\x7f\xff]", re.DOTALL)


def bson_to_json(raw: bytes, *, canonical: bool = False) -> bytes:
    """Write a BSON document as one line of Extended JSON, without a line end."""
    document = bson.decode(raw, BSON_OPTIONS)
    if canonical or _MAYBE_NOT_FINITE.search(raw):
        return orjson.dumps(to_json_value(document, canonical=canonical))
    return orjson.dumps(document, default=_relaxed, option=_FAST)


def to_json_value(value: Any, *, canonical: bool = False) -> Any:
    """Turn a BSON value into what `json` can write: relaxed Extended JSON, or canonical."""
    if isinstance(value, Mapping):
        return {key: to_json_value(item, canonical=canonical) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json_value(item, canonical=canonical) for item in value]
    if value is None or isinstance(value, bool) or type(value) is str:
        return value
    if isinstance(value, float):
        finite = value - value == 0.0
        if not finite:
            return {"$numberDouble": "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"}  # noqa: PLR0124
        return {"$numberDouble": repr(value)} if canonical else value
    if isinstance(value, int):
        if not canonical:
            return int(value)
        small = not isinstance(value, Int64) and -(2**31) <= value < 2**31
        return {"$numberInt" if small else "$numberLong": str(int(value))}
    if canonical and isinstance(value, datetime):
        return {"$date": {"$numberLong": str(int(DatetimeMS(value)))}}
    if isinstance(value, DBRef):
        return to_json_value(value.as_doc(), canonical=canonical)
    if isinstance(value, Code) and value.scope is not None:
        return {"$code": str(value), "$scope": to_json_value(value.scope, canonical=canonical)}
    return _relaxed(value)


def _relaxed(value: Any) -> Any:
    """Write one value that JSON has no form for; inner values are left to the caller."""
    for kind, write in _WRITERS:
        if isinstance(value, kind):
            return write(value)
    raise TypeError(f"no Extended JSON for {type(value).__name__}")


def _write_date(value: datetime) -> dict[str, Any]:
    if value.tzinfo is None:
        value = value.replace(tzinfo=UTC)
    if value < _EPOCH:
        return {"$date": {"$numberLong": str(int(DatetimeMS(value)))}}
    utc = value.astimezone(UTC)
    millis = utc.microsecond // 1000
    fraction = f".{millis:03d}" if millis else ""
    return {"$date": f"{utc:%Y-%m-%dT%H:%M:%S}{fraction}Z"}


def _write_binary(value: bytes) -> dict[str, Any]:
    subtype = value.subtype if isinstance(value, Binary) else 0
    return {"$binary": {"base64": base64.b64encode(value).decode(), "subType": f"{subtype:02x}"}}


def _write_code(value: Code) -> dict[str, Any]:
    return {"$code": str(value)} if value.scope is None else {"$code": str(value), "$scope": value.scope}


def _write_regex(value: Regex[Any]) -> dict[str, Any]:
    # Alphabetical, as BSON orders them.
    flags = (
        (re.IGNORECASE, "i"),
        (re.LOCALE, "l"),
        (re.MULTILINE, "m"),
        (re.DOTALL, "s"),
        (re.UNICODE, "u"),
        (re.VERBOSE, "x"),
    )
    options = "".join(letter for flag, letter in flags if value.flags & flag)
    pattern = value.pattern.decode() if isinstance(value.pattern, bytes) else value.pattern
    return {"$regularExpression": {"pattern": pattern, "options": options}}


# In the order of how often they are met.
_WRITERS: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (ObjectId, lambda value: {"$oid": str(value)}),
    (datetime, _write_date),
    (Decimal128, lambda value: {"$numberDecimal": str(value)}),
    (int, int),
    (DatetimeMS, lambda value: {"$date": {"$numberLong": str(int(value))}}),
    (bytes, _write_binary),
    (UUID, lambda value: _write_binary(Binary.from_uuid(value))),
    (Timestamp, lambda value: {"$timestamp": {"t": value.time, "i": value.inc}}),
    (Code, _write_code),
    (Regex, _write_regex),
    (re.Pattern, lambda value: _write_regex(Regex.from_native(value))),
    (DBRef, DBRef.as_doc),
    (MinKey, lambda _: {"$minKey": 1}),
    (MaxKey, lambda _: {"$maxKey": 1}),
    (Mapping, dict),
)
