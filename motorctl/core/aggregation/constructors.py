"""What mongosh's constructors stand for, as parsed Extended JSON: `ISODate("2026-01-01")` is a `$date`.

Pure, but for the clock that `new Date()` asks. Each raises ValueError for an argument that it can't take;
whether the Extended JSON is right, `extjson` says.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CONSTRUCTORS"]

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_ZONE = re.compile(r"(?:Z|[+-][0-9]{2}:?[0-9]{2})$")
_TIME = re.compile(r"[T ][0-9]{2}:[0-9]{2}$")


def _date(*moment: Any) -> dict[str, Any]:
    if not moment:
        return {"$date": {"$numberLong": str(round(time.time() * 1000))}}
    if len(moment) > 1:
        raise ValueError('year, month and day depend on a time zone: ISODate("2026-01-31") is in UTC')
    (given,) = moment
    if type(given) is int:
        return {"$date": {"$numberLong": str(given)}}
    text = _text(given).strip()
    if _DAY.fullmatch(text):
        return {"$date": f"{text}T00:00:00Z"}
    text = text.replace(" ", "T", 1)
    zone = _ZONE.search(text, 11)
    clock = text[: zone.start()] if zone else text
    seconds = ":00" if _TIME.search(clock) else ""
    # Without a zone mongosh's ISODate takes UTC, and JavaScript's Date the zone of its computer.
    return {"$date": f"{clock}{seconds}{zone[0] if zone else 'Z'}"}


def _object_id(digits: Any) -> dict[str, Any]:
    return {"$oid": _text(digits)}


def _uuid(digits: Any) -> dict[str, Any]:
    return {"$uuid": _text(digits)}


def _int(number: Any) -> dict[str, Any]:
    return {"$numberInt": _digits(number)}


def _long(number: Any) -> dict[str, Any]:
    return {"$numberLong": _digits(number)}


def _double(number: Any) -> dict[str, Any]:
    return {"$numberDouble": _digits(number)}


def _decimal(number: Any) -> dict[str, Any]:
    return {"$numberDecimal": _digits(number)}


def _timestamp(time: Any, increment: Any = 0) -> dict[str, Any]:
    return {"$timestamp": time if isinstance(time, dict) else {"t": time, "i": increment}}


def _binary(subtype: Any, text: Any) -> dict[str, Any]:
    if type(subtype) is not int or not 0 <= subtype <= 255:
        raise ValueError("the subtype is a number from 0 to 255")
    return {"$binary": {"base64": _text(text), "subType": f"{subtype:02x}"}}


def _regex(pattern: Any, options: Any = "") -> dict[str, Any]:
    return {"$regularExpression": {"pattern": _text(pattern), "options": "".join(sorted(_text(options)))}}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("it takes a text in quotes")  # noqa: TRY004 - of a user's text, not of a program's
    return value


def _digits(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("it takes a number")  # noqa: TRY004 - as above
    return str(value)


CONSTRUCTORS: dict[str, Callable[..., dict[str, Any]]] = {
    "ISODate": _date,
    "Date": _date,
    "ObjectId": _object_id,
    "ObjectID": _object_id,
    "NumberInt": _int,
    "Int32": _int,
    "NumberLong": _long,
    "Long": _long,
    "Double": _double,
    "NumberDecimal": _decimal,
    "Decimal128": _decimal,
    "UUID": _uuid,
    "BinData": _binary,
    "Timestamp": _timestamp,
    "RegExp": _regex,
}
