"""When two pieces of schema mean the same to the server, though they are written differently.

The server fills in defaults, expands collations, turns text keys inside out and keeps the number type
it was sent. Pure functions on plain values; nothing here decides what to do about a difference.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.regex import Regex

from motorctl.core.schema.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_NEWEST = Server()
_MAX_SECONDS = 2**31 - 1
_UNLIMITED = 2**31 - 1

OFF = "off"
"""What `expireAfterSeconds` of a collection is when nothing expires."""

BUCKETING: dict[str, tuple[int, int]] = {
    "seconds": (3600, 60),
    "minutes": (86_400, 3600),
    "hours": (2_592_000, 86_400),
}
"""The granularities of a time series: the seconds that a bucket spans, and to how many it begins."""

DEFAULT_INDEX_OPTIONS: dict[str, Any] = {
    "unique": False,
    "sparse": False,
    "hidden": False,
    "prepareUnique": False,
    "default_language": "english",
    "language_override": "language",
    "textIndexVersion": 3,
    "2dsphereIndexVersion": 3,
    "bits": 26,
    "min": -180,
    "max": 180,
}
"""What an index is when nobody says; the server adds some of these to what it was sent."""

UNCOLLATED = frozenset({"text", "2d"})
"""Kinds of keys that know no collation but the simple one, and don't take over their collection's."""

VERSIONS = frozenset({"textIndexVersion", "2dsphereIndexVersion"})
"""Formats that older servers chose by themselves: compared only where a manifest names them."""

_DEFAULT_COLLATION: dict[str, Any] = {
    "caseLevel": False,
    "caseFirst": "off",
    "strength": 3,
    "numericOrdering": False,
    "alternate": "non-ignorable",
    "maxVariable": "punct",
    "normalization": False,
    "backwards": False,
}
# The one locale of the server's list whose expansion differs (each was tried).
_COLLATION_BY_LOCALE: dict[str, dict[str, Any]] = {"fr_CA": {"backwards": True}}

_SUBSCHEMAS_BY_NAME = frozenset({"properties", "patternProperties", "dependencies"})
_SUBSCHEMAS = frozenset(
    {"allOf", "anyOf", "oneOf", "items", "not", "additionalProperties", "additionalItems"}
)
_WORDS = frozenset({"required", "bsonType", "type"})


def whole(value: Any) -> Any:
    """Write 1.0 as 1; other values, also 0.5 and True, as they are. NaN seconds are the longest time."""
    if isinstance(value, float):
        if math.isnan(value):
            return _MAX_SECONDS
        if value.is_integer():
            return int(value)
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value


def seconds(value: Any) -> int | None:
    """Write a time to live as servers keep it: a whole number, cut; the longest for NaN. None is none."""
    number = whole(value)
    return None if number is None else min(int(number), _MAX_SECONDS)


def literal(value: Any) -> Any:
    """Reduce a value to one that is equal exactly when the server takes both for equal.

    Numbers are equal across types, a boolean is no number, key order counts.
    """
    match value:
        case bool():
            return ("bool", value)
        case float() if math.isnan(value):
            return ("number", "NaN")
        case int() | float():
            return ("number", value)
        case Decimal128():
            number = value.to_decimal()
            return ("number", number if number.is_finite() else str(number))
        case datetime() | DatetimeMS():
            return ("date", int(DatetimeMS(value) if isinstance(value, datetime) else value))
        case re.Pattern() | Regex():
            pattern = value if isinstance(value, Regex) else Regex.from_native(value)
            return ("regex", pattern.pattern, pattern.flags & ~re.UNICODE)
        case Mapping():
            return ("document", tuple((key, literal(item)) for key, item in value.items()))
        case str() | bytes():
            return value
        case Sequence():
            return ("array", tuple(literal(item) for item in value))
        case _:
            return value


def query(value: Any) -> Any:
    """Reduce a query: as `literal`, but the order of its fields and operators doesn't count.

    In `{field: {a: 1, b: 2}}`, equality with that very document, it does.
    """
    if not isinstance(value, Mapping):
        return literal(value)
    return ("query", {key: _condition(key, item) for key, item in value.items()})


def _condition(key: str, value: Any) -> Any:
    if key == "$jsonSchema":
        return json_schema(value)
    if key in ("$and", "$or", "$nor") and isinstance(value, list):
        return [query(item) for item in value]
    has_operators = isinstance(value, Mapping) and next(iter(value), "").startswith("$")
    if key in ("$not", "$elemMatch") or (not key.startswith("$") and has_operators):
        return query(value)
    return literal(value)


def json_schema(value: Any) -> Any:
    """Reduce a `$jsonSchema`: the order of keywords, properties and required names doesn't count."""
    if not isinstance(value, Mapping):
        return literal(value)
    return ("schema", {key: _keyword(key, item) for key, item in value.items()})


def _keyword(key: str, value: Any) -> Any:
    if key in _SUBSCHEMAS_BY_NAME and isinstance(value, Mapping):
        return {name: json_schema(item) for name, item in value.items()}
    if key in _SUBSCHEMAS:
        return [json_schema(item) for item in value] if isinstance(value, list) else json_schema(value)
    if key in _WORDS and isinstance(value, list) and all(isinstance(item, str) for item in value):
        return sorted(value)
    return literal(value)


def same(one: Any, other: Any) -> bool:
    """Tell whether two values are equal to the server, order included."""
    return bool(literal(one) == literal(other))


def same_query(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:
    """Tell whether two queries or validators ask the same; None is none."""
    return bool(query(one) == query(other))


def expand_collation(collation: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Fill a collation in as the server does; `simple` is none. The ICU version is left out."""
    if collation is None or collation.get("locale") == "simple":
        return None
    locale = _COLLATION_BY_LOCALE.get(str(collation.get("locale")), {})
    given = {key: whole(value) for key, value in collation.items() if key != "version"}
    return dict(sorted({**_DEFAULT_COLLATION, **locale, **given}.items()))


def shorten_collation(collation: Mapping[str, Any]) -> dict[str, Any]:
    """Write a collation of the server as a person would: the locale, and what isn't its default."""
    defaults = expand_collation({"locale": collation["locale"]}) or {}
    return {
        key: value
        for key, value in collation.items()
        if key != "version" and (key == "locale" or not same(value, defaults.get(key)))
    }


def shorten_creation_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Write the server's creation options as a person would, without what it filled in."""
    result = dict(options)
    if "collation" in result:
        result["collation"] = shorten_collation(result["collation"])
    if "clusteredIndex" in result and isinstance(result["clusteredIndex"], Mapping):
        result["clusteredIndex"] = {
            key: value
            for key, value in result["clusteredIndex"].items()
            if key != "v" and not (key == "name" and value == "_id_")
        }
    if "timeseries" in result:
        result["timeseries"] = _shorten_series(result["timeseries"])
    if result.get("max") == _UNLIMITED:
        del result["max"]
    return {name: value for name, value in result.items() if value is not False}


def _shorten_series(series: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(series)
    if bucketing(result) in BUCKETING.values():
        name = next(name for name, spans in BUCKETING.items() if spans == bucketing(result))
        for key in ("granularity", "bucketMaxSpanSeconds", "bucketRoundingSeconds"):
            result.pop(key, None)
        return result if name == "seconds" else {**result, "granularity": name}
    result.pop("granularity", None)
    return result


def bucketing(series: Mapping[str, Any]) -> tuple[int, int]:
    """Say how a time series fills its buckets: the seconds that one spans, and to how many it begins."""
    default = BUCKETING.get(series.get("granularity") or "seconds", BUCKETING["seconds"])
    # Servers before 6.3 add the span to the granularity that it follows from.
    span = int(series.get("bucketMaxSpanSeconds") or default[0])
    return span, int(series.get("bucketRoundingSeconds") or (default[1] if span == default[0] else span))


def same_option(name: str, current: Any, desired: Any) -> bool:
    """Tell whether a collection has a creation option as wished; None is none."""
    match name:
        case "collation":
            return expand_collation(current) == expand_collation(desired)
        case "capped":
            return bool(current) == bool(desired)
        case "size" if current is not None and desired is not None:
            # Servers before 6.2 round the size of a capped collection up to a multiple of 256.
            return bool(0 <= current - desired < 256)
        case "max":
            return _limit(current) == _limit(desired)
        case "expireAfterSeconds":
            return bool(_expiry(current) == _expiry(desired))
        case "clusteredIndex" if isinstance(current, Mapping) and isinstance(desired, Mapping):
            # The server names one that nobody names; a wish without a name is content with any.
            ignored = ("v", "name") if "name" not in desired else ("v",)
            one, other = (
                {"name": "_id_", **{key: item for key, item in value.items() if key not in ignored}}
                for value in (current, desired)
            )
            return same_query(one, other)
        case "timeseries" if isinstance(current, Mapping) and isinstance(desired, Mapping):
            return same_query(_shorten_series(current), _shorten_series(desired))
        case "pipeline":
            return same(current or [], desired or [])
        case "changeStreamPreAndPostImages":
            return bool((current or {}).get("enabled")) == bool((desired or {}).get("enabled"))
        case _:
            return same(current, desired)


def _limit(value: Any) -> int:
    number = int(value or 0)
    return number if 0 < number < _UNLIMITED else _UNLIMITED


def _expiry(value: Any) -> Any:
    return None if value in (None, OFF) else whole(value)


def index_facts(
    keys: Mapping[str, Any], options: Mapping[str, Any], collation: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Fill in everything that makes an index what it is, each as a comparable value.

    `collation` is the collection's own, which an index takes over unless it names one.
    """
    text = {name for name, kind in keys.items() if kind == "text"}
    binary = not UNCOLLATED.isdisjoint(kind for kind in keys.values() if isinstance(kind, str))
    weights = dict.fromkeys(text, 1) | dict(options.get("weights", {}))
    facts = {
        # The order of text fields among themselves is lost in the server, and means nothing.
        "keys": literal([[name, kind] for name, kind in keys.items() if name not in text]),
        "text": (next((n for n, name in enumerate(keys) if name in text), None), sorted(weights.items())),
        "collation": literal(expand_collation(options.get("collation", None if binary else collation))),
        "partialFilterExpression": query(options.get("partialFilterExpression")),
        "wildcardProjection": _projection(options.get("wildcardProjection")),
        "expireAfterSeconds": seconds(options.get("expireAfterSeconds")),
    }
    defaults = DEFAULT_INDEX_OPTIONS.items()
    return facts | {
        name: bool(options.get(name)) if default is False else literal(options.get(name, default))
        for name, default in defaults
    }


def _projection(value: Any) -> Any:
    """Reduce a wildcard's projection: MongoDB 5.0 keeps it in documents within documents, and with `_id`."""
    return None if value is None else {"_id": False, **dict(_paths(value, ""))}


def _paths(value: Any, path: str) -> Iterator[tuple[str, bool]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _paths(item, f"{path}.{key}" if path else key)
    else:
        yield path, bool(value)


def identity(facts: Mapping[str, Any], server: Server = _NEWEST) -> tuple[Any, ...]:
    """Take what a server tells indexes apart by: two with the same can't be in one collection."""
    # Before 5.0 keys and collation are all.
    options: Iterable[str] = ("partialFilterExpression", "wildcardProjection", "unique", "sparse")
    return tuple(
        facts[name] for name in ("keys", "text", "collation", *(options if server.at_least(5) else ()))
    )
