"""BSON values into JSON text: relaxed Extended JSON, or canonical."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
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

__all__ = ["BSON_OPTIONS", "bson_to_json", "dumps", "to_json_value"]

# A date that Python's calendar can't hold comes as DatetimeMS; everything else as itself.
BSON_OPTIONS: CodecOptions[dict[str, Any]] = CodecOptions(
    document_class=dict, tz_aware=True, tzinfo=UTC, datetime_conversion=DatetimeConversion.DATETIME_AUTO
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FAST = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS
# A double element whose exponent is all ones: an infinity or a NaN. orjson writes these as null and asks
# nobody; a document that may hold one goes the slow way.
_MAYBE_NOT_FINITE = re.compile(rb"\x01[^\x00]*\x00.{6}[\xf0-\xff][\x7f\xff]", re.DOTALL)


def dumps(document: Mapping[str, Any], *, canonical: bool = False) -> bytes:
    """Write a document as one line of Extended JSON, without a line end."""
    return orjson.dumps(to_json_value(document, canonical=canonical))


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
