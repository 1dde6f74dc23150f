"""What a server never takes, or not in its version: found before anything is touched. Pure.

Reads what is wished and the server's version, never the data. Impossible words inside a validator are
`json_schema`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from motorctl.core.schema.change import Blocker
from motorctl.core.schema.compare import BUCKETING, OFF, UNCOLLATED, bucketing, expand_collation, same_option
from motorctl.core.schema.planning.capabilities import (
    COLLECTIONS,
    COMPOUND_WILDCARD_SINCE,
    INDEXES,
    SPANS_SINCE,
    words,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from motorctl.core.schema.model import Index
    from motorctl.core.schema.planning.capabilities import Version
    from motorctl.core.schema.server import Server

_UPGRADE = "leave it out for this server, or upgrade the server"

_APART: tuple[tuple[str, str], ...] = (
    ("timeseries", "capped"),
    ("timeseries", "clusteredIndex"),
    ("timeseries", "changeStreamPreAndPostImages"),
    ("timeseries", "viewOn"),
    ("clusteredIndex", "capped"),
    ("clusteredIndex", "viewOn"),
    ("capped", "viewOn"),
    ("changeStreamPreAndPostImages", "viewOn"),
)
"""Options of a collection that no server takes together."""


def too_old(subject: str, since: Version, server: Server) -> Blocker | None:
    """Say that a server is too old for something, or nothing."""
    if server.at_least(*since):
        return None
    return Blocker("version", f"{subject} needs {words(since)} or later, this is {server.name}", _UPGRADE)


def creation(options: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the options that a collection has anyway: old servers may not know them."""
    return {
        name: value
        for name, value in options.items()
        if not (name == "expireAfterSeconds" and value == OFF)
        and not (name in ("capped", "changeStreamPreAndPostImages") and same_option(name, None, value))
    }


def against_collection(name: str, options: Mapping[str, Any], server: Server) -> list[Blocker]:
    """List why a collection can't be created so."""
    given = creation(options)
    found = [too_old(f"{option} of {name}", COLLECTIONS[option].since, server) for option in given]
    if "timeseries" in given:
        found.append(against_buckets(name, given["timeseries"], server))
    found += [
        Blocker("impossible", f"{name} can't have both {one} and {other}", "leave one of them out")
        for one, other in _APART
        if one in given and other in given
    ]
    if "expireAfterSeconds" in given and not given.keys() & {"timeseries", "clusteredIndex"}:
        found.append(plain_expiry(name))
    if given.keys() & {"size", "max"} and "capped" not in given:
        found.append(uncapped(name))
    return [blocker for blocker in found if blocker is not None]


def uncapped(name: str) -> Blocker:
    """Say that only a capped collection has a size."""
    return Blocker(
        "impossible",
        f"size and max of {name} are for a capped collection",
        "add capped: true, or leave them out",
    )


def plain_expiry(name: str) -> Blocker:
    """Say that a plain collection doesn't expire by itself."""
    return Blocker(
        "impossible",
        f"expireAfterSeconds of {name} is for time series and clustered collections",
        COLLECTIONS["expireAfterSeconds"].way_out,
    )


def against_buckets(name: str, series: Mapping[str, Any], server: Server) -> Blocker | None:
    """Say why a time series can't have its bucket options, or nothing."""
    if bucketing(series) in BUCKETING.values():
        return None
    return too_old(f"bucketMaxSpanSeconds of {name}", SPANS_SINCE, server)


def against_validator(name: str, options: Mapping[str, Any]) -> list[Blocker]:
    """List why a collection with these options can't have a validator."""
    kind = next(
        (word for key, word in (("viewOn", "a view"), ("timeseries", "a time series")) if key in options),
        None,
    )
    if kind is None:
        return []
    return [Blocker("impossible", f"{name} is {kind}: it takes no validator", "leave the validator out")]


def against_index(index: Index, collection: str, options: Mapping[str, Any], server: Server) -> list[Blocker]:
    """List why an index can't be built on a collection with these options."""
    name = f"{index.resolved_name} of {collection}"
    given = {option for option, value in index.options.items() if value is not False}
    found = [
        too_old(f"{option} of index {name}", INDEXES[option].since, server)
        for option in index.options
        if option in given
    ]
    if index.is_wildcard and len(index.keys) > 1:
        found.append(too_old(f"a wildcard beside other keys (index {name})", COMPOUND_WILDCARD_SINCE, server))
    found += [
        Blocker("impossible", f"index {name}: {message}", hint)
        for message, hint in _contradictions(index, given)
    ]
    found += _in_filter(index.options.get("partialFilterExpression") or {}, name, server)
    if "timeseries" in options:
        found += _on_series(index, name, given, options["timeseries"], server)
    if "viewOn" in options:
        hint = f"index {options['viewOn']}, on which the view looks"
        found.append(Blocker("impossible", f"{collection} is a view: it takes no index", hint))
    if options.get("capped") and "expireAfterSeconds" in given and server.at_least(6):
        hint = "leave expireAfterSeconds out: a capped collection drops its oldest documents by itself"
        found.append(Blocker("impossible", f"index {name}: a capped collection takes no TTL index", hint))
    return [blocker for blocker in found if blocker is not None]


def _contradictions(index: Index, given: set[str]) -> Iterator[tuple[str, str]]:
    """Write what no server takes in one index, and the way out."""
    kinds = set(index.keys.values())
    if index.is_wildcard:
        for option in ("unique", "prepareUnique", "sparse", "expireAfterSeconds"):
            if option in given:
                yield f"one with a wildcard can't have {option}", f"leave {option} out, or name the field"
    elif "wildcardProjection" in given:
        yield "wildcardProjection is for the key $**", "leave it out"
    if "hashed" in kinds:
        for option in ("unique", "prepareUnique"):
            if option in given:
                yield f"a hashed one can't have {option}", f"leave {option} out, or use the key 1"
    if kinds & UNCOLLATED and expand_collation(index.options.get("collation")) is not None:
        kind = "text" if "text" in kinds else "2d"
        yield f"a {kind} one can't have a collation", "leave it out"
    if {"sparse", "partialFilterExpression"} <= given:
        yield (
            "sparse and partialFilterExpression can't stand together",
            "say it in the filter: {field: {$exists: true}}",
        )
    if {"unique", "prepareUnique"} <= given:
        yield (
            "unique and prepareUnique can't stand together",
            "leave prepareUnique out: it is the step before",
        )
    if "expireAfterSeconds" in given and (len(index.keys) > 1 or "_id" in index.keys):
        yield "expireAfterSeconds is for one key, not _id", "give the date an index of its own"


NEVER_IN_FILTERS = frozenset(
    "$ne $nin $not $nor $regex $elemMatch $size $expr $mod $text $where $jsonSchema".split()
)
"""What no server takes in a partial filter, as a clause or as a condition on a field."""

_IN_FILTERS_SINCE_6 = frozenset({"$or", "$in", "$geoWithin", "$geoIntersects"})


def _in_filter(
    query: Mapping[str, Any], name: str, server: Server, *, inside: bool = False
) -> Iterator[Blocker | None]:
    """Find what a partial filter can't hold (each was tried on MongoDB 4.4, 5.0 and 6.0)."""
    for word, value in query.items():
        if word in NEVER_IN_FILTERS or (word == "$exists" and not value):
            shown = "$exists: false" if word == "$exists" else word
            hint = "it takes $eq, $gt, $gte, $lt, $lte, $type, $exists: true and $and, from MongoDB 6.0 also $or and $in"
            yield Blocker("impossible", f"index {name}: its partial filter can't hold {shown}", hint)
        elif word in _IN_FILTERS_SINCE_6 or (word == "$and" and inside):
            shown = "$and inside another" if word == "$and" else word
            yield too_old(f"{shown} in the partial filter of index {name}", (6, 0), server)
        if word in ("$and", "$or") and isinstance(value, list):
            for clause in value:
                if isinstance(clause, Mapping):
                    yield from _in_filter(clause, name, server, inside=True)
        elif (
            not word.startswith("$") and isinstance(value, Mapping) and next(iter(value), "").startswith("$")
        ):
            yield from _in_filter(value, name, server, inside=inside)


def _on_series(
    index: Index, name: str, given: set[str], series: Mapping[str, Any], server: Server
) -> Iterator[Blocker | None]:
    filtered = "partialFilterExpression" in given
    for option in ("unique", "prepareUnique"):
        if option in given:
            yield Blocker(
                "impossible", f"index {name}: a time series can't have {option}", f"leave {option} out"
            )
    if index.is_text:
        yield Blocker("impossible", f"index {name}: a time series can't have text", "leave the index out")
    if "expireAfterSeconds" in given:
        if filtered:
            yield too_old(f"a TTL index with a filter on a time series ({name})", (7, 0), server)
        else:
            hint = "use expireAfterSeconds of the collection itself"
            yield Blocker(
                "impossible", f"index {name}: a time series takes no TTL index without a filter", hint
            )
    if filtered:
        yield too_old(f"a partial index on a time series ({name})", (6, 0), server)
    measured = measurements(index, series)
    if measured:
        yield too_old(f"an index of a time series on a measured field ({name})", (6, 0), server)
    for field in measured:
        if index.keys[field] in ("2d", "hashed") or field.endswith("$**"):
            yield Blocker(
                "impossible",
                f"index {name}: a measured field of a time series can't be {_kind(index, field)}",
                "it takes 1, -1 and 2dsphere there; on the metaField also others",
            )
    if measured and "sparse" in given:
        yield Blocker(
            "impossible", f"index {name}: one on a measured field can't be sparse", "leave sparse out"
        )


def measurements(index: Index, series: Mapping[str, Any]) -> list[str]:
    """Return the keys that are neither a time series' time nor of its metaField."""
    roots = {series.get("timeField"), series.get("metaField")}
    return [field for field in index.keys if field.split(".")[0] not in roots]


def _kind(index: Index, field: str) -> str:
    return "a wildcard" if field.endswith("$**") else str(index.keys[field])


def same_to_this_server(index: Index, other: str, collection: str, server: Server) -> Blocker | None:
    """Say that a server tells two indexes apart by their keys and collation alone, or nothing."""
    return too_old(
        f"index {index.resolved_name} beside {other} of {collection}, which has the same keys,",
        (5, 0),
        server,
    )
