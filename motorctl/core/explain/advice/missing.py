"""Queries that the server refuses for the lack of an index: `$text`, `$near`, `$geoNear`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from motorctl.core.explain.advice.model import Proposal, Sentence

if TYPE_CHECKING:
    from collections.abc import Iterator

    from motorctl.core.explain.query import Query

_INDEX_NOT_FOUND = 27
_NO_QUERY_PLAN = 291
_FIELD = "FIELD"
"""What stands in a command where the user has to name a field."""


def missing_index(error: Exception, query: Query) -> Sentence | None:
    """Say which index a query can't do without, when the server refused it for the lack of one.

    `error` is the driver's, with the server's code (`OperationFailure`); others give None.
    """
    code, said = getattr(error, "code", None), str(error)
    filters = [query.filter, *(stage.get("$match") for stage in query.pipeline if isinstance(stage, Mapping))]
    # A server says "text index" of one that is missing, and TEXT of one that can't be used.
    if code == _INDEX_NOT_FOUND and "$text" in said:
        text = f"$text searches a text index, and {query.collection} has none: name the fields that it is to search"
        return Sentence("text_index", text, None, Proposal(query.collection, {_FIELD: "text"}).command())
    if code == _NO_QUERY_PLAN and "prefix fields" in said:
        text = f"the text index of {query.collection} begins with other fields: the query has to give one value for each of them"
        return Sentence("text_index", text)
    if code == _NO_QUERY_PLAN and "TEXT under OR" in said:
        text = "beside $text in an $or, every other branch needs an index of its own"
        return Sentence("or", text)
    if code in (_INDEX_NOT_FOUND, _NO_QUERY_PLAN) and "$geoNear" in said:
        near = [place for one in filters for place in _near(one)] + list(_geo_near(query.pipeline))
        field, kind = near[0] if near else (_FIELD, "2dsphere")
        where = "" if field == _FIELD else f" on {field}"
        text = f"places by distance are looked up in a {kind} index, and {query.collection} has none{where}"
        return Sentence("geo_index", text, None, Proposal(query.collection, {field: kind}).command())
    return None


def _near(condition: Any) -> Iterator[tuple[str, str]]:
    """Yield the fields of `$near` and `$nearSphere` in a filter, each with the kind of index that serves it."""
    if isinstance(condition, list):
        for one in condition:
            yield from _near(one)
    if not isinstance(condition, Mapping):
        return
    for name, value in condition.items():
        if name.startswith("$"):
            yield from _near(value)
        elif isinstance(value, Mapping):
            place = value.get("$near", value.get("$nearSphere"))
            if place is not None:
                # Plain coordinates on a plane have an index of their own; on a sphere both kinds serve.
                plane = "$near" in value and not _is_geometry(place)
                yield name, "2d" if plane else "2dsphere"


def _geo_near(pipeline: list[Any]) -> Iterator[tuple[str, str]]:
    stage = pipeline[0] if pipeline else None
    body = stage.get("$geoNear") if isinstance(stage, Mapping) else None
    if isinstance(body, Mapping):
        sphere = body.get("spherical") or isinstance(body.get("near"), Mapping)
        yield str(body.get("key") or _FIELD), "2dsphere" if sphere else "2d"


def _is_geometry(place: Any) -> bool:
    return isinstance(place, Mapping) and ("$geometry" in place or "type" in place)
