"""Asks for documents whose values an index can't take: the build would stop at the first of them.

What is asked is what servers were seen to refuse. It may miss some, deep in arrays for example; it
never names one that the build takes.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

from motorctl.core.schema.blockers.asking import documents, identified
from motorctl.core.schema.change import Blocker
from motorctl.core.schema.compare import same
from motorctl.core.schema.planning.commands import index_of
from motorctl.core.schema.planning.impossible import measurements

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from motorctl.core.schema.blockers.asking import Asking, Step
    from motorctl.core.schema.change import Change
    from motorctl.core.schema.model import Index

LANGUAGES = frozenset(
    {
        *"danish dutch english finnish french german hungarian italian norwegian portuguese".split(),
        *"romanian russian spanish swedish turkish da nl en fi fr de hu it nb pt ro ru es sv tr none".split(),
        # Enterprise servers with the linguistics of Rosette.
        *("arabic", "dari", "iranian persian", "urdu", "simplified chinese", "traditional chinese"),
        *"ara prs pes urd zhs hans zht hant".split(),
    }
)
"""Languages of text indexes, in lower case: those that some server knows."""

_NO_STRING = """double object array binData undefined objectId bool date null regex dbPointer javascript symbol
javascriptWithScope int timestamp long decimal minKey maxKey""".split()
_NO_NUMBER = [name for name in ("string", *_NO_STRING) if name not in ("double", "int", "long", "decimal")]
_WINDING = {"type": "name", "properties": {"name": "urn:x-mongodb:crs:strictwinding:EPSG:4326"}}


def may_refuse(change: Change, series: Mapping[str, Any]) -> bool:
    """Tell whether a change builds an index that can't take every value, and isn't there already.

    `series` is what makes the collection a time series, nothing for another.
    """
    before, after = change.before or {}, change.after or {}
    if change.action not in ("create", "rebuild") or not after:
        return False
    names = ("keys", "partialFilterExpression", "min", "max", "language_override", "2dsphereIndexVersion")
    if all(same(before.get(name), after.get(name)) for name in names):
        return False
    return any(_queries(index_of(after), series))


async def refused(asking: Asking, step: Step) -> Blocker | None:
    """Look for documents that would stop the build."""
    index = index_of(step.change.after or {})
    options = {"collation": index.options["collation"]} if "collation" in index.options else {}
    for query, what, hint in _queries(index, asking.series(step.collection)):
        match = {"$and": [index.options.get("partialFilterExpression", {}), query]}
        count, ids = await asking.matching(step.collection or "", match, **options)
        if count:
            has = "has" if count == 1 else "have"
            message = f"{documents(count)} {has} {what}"
            return Blocker("values", message, hint, count, identified(ids), ignorable=True)
    return None


def _queries(index: Index, series: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], str, str]]:
    """Yield queries whose documents stop a build, with what these have, and what to do."""
    fields = [field for field in index.keys if not any(step.isdigit() for step in field.split("."))]
    kinds = {field: index.keys[field] for field in fields if "$**" not in field}
    measured = [field for field in measurements(index, series) if field in kinds] if series else []
    if measured:
        yield (
            _any(_array(path) for field in measured for path in _prefixes(field)),
            f"an array in {_listed(measured)}, which an index on a measured field can't take",
            "the metaField may hold arrays",
        )
    if any(kind == "hashed" for kind in kinds.values()):
        # Also in its fields that aren't hashed.
        yield (
            _any(_array(path) for field in kinds for path in _prefixes(field)),
            f"an array in {_listed(kinds)}, which a hashed index can't take",
            "a hashed index needs one value in each field",
        )
        return
    if index.is_text:
        yield from _text(index, kinds)
        return
    for field, kind in kinds.items():
        if kind == "2dsphere":
            what = f"no place on earth in {field}: no valid GeoJSON, nor longitude and latitude"
            hint = (
                "longitude comes first; rings of polygons are closed and don't cross;"
                " null or no field at all is fine"
            )
            yield _no_place(field), what, hint
        elif kind == "2d":
            low, high = index.options.get("min", -180), index.options.get("max", 180)
            what = f"no pair of numbers from {low:g} to {high:g} in {field}"
            yield _no_pair(field, low, high), what, "GeoJSON needs a 2dsphere index"
    plain = [field for field, kind in kinds.items() if isinstance(kind, (int, float))]
    if len(plain) == len(index.keys) and (parallel := list(_parallel(plain))):
        yield (
            {"$or": parallel},
            f"arrays in two of the fields {_listed(plain)}",
            "an index takes one array of a document",
        )


def _text(index: Index, kinds: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], str, str]]:
    beside = [field for field, kind in kinds.items() if kind != "text"]
    if beside:
        yield (
            _any(_array(path) for field in beside for path in _prefixes(field)),
            f"an array in {_listed(beside)}, beside which there can't be a text index",
            f"leave {_listed(beside)} out of the keys",
        )
    if index.options.get("textIndexVersion", 3) == 1:
        return
    override = index.options.get("language_override", "language")
    weighted = [
        *(field for field, kind in kinds.items() if kind == "text"),
        *index.options.get("weights", ()),
    ]
    # Each document within has a language of its own.
    parents = {"", *(path for field in weighted for path in list(_prefixes(field))[:-1])}
    languages = [f"{parent}.{override}" if parent else override for parent in sorted(parents)]
    known = f"^(?!(?:{'|'.join(sorted(LANGUAGES))})\\z)"
    yield (
        _any(
            one
            for name in languages
            for one in ({name: {"$type": _NO_STRING}}, {name: {"$regex": known, "$options": "i"}})
        ),
        f"a language in {_listed(languages)} that a text index doesn't know",
        "`language_override` of the index names another field",
    )


def _no_place(field: str) -> dict[str, Any]:
    """Ask for values in which the server finds no place on either half of the earth (they overlap)."""
    # An empty array or document is none to such an index, as null.
    there = {field: {"$exists": True, "$nin": [None, [], {}]}}
    nowhere = {"$nor": [{field: {"$geoIntersects": {"$geometry": half}}} for half in _halves()]}
    # A query looks at each element of an array; to the index it is one pair of numbers.
    list_of = {"$and": [_array(field), {f"{field}.0": {"$type": _NO_NUMBER}}]}
    return {"$or": [{"$and": [there, nowhere]}, list_of]}


def _halves() -> Iterator[dict[str, Any]]:
    for latitude, longitudes in ((-20, [-180, -90, 0, 90, -180]), (20, [-180, 90, 0, -90, -180])):
        ring = [[longitude, latitude] for longitude in longitudes]
        yield {"type": "Polygon", "coordinates": [ring], "crs": _WINDING}


def _no_pair(field: str, low: float, high: float) -> dict[str, Any]:
    """Ask for arrays and documents whose first two values aren't two numbers within the bounds.

    What is neither is left alone by a 2d index; a list of pairs isn't looked into.
    """
    value = f"${field}"
    pair = {
        "$cond": [
            {"$isArray": value},
            value,
            {"$map": {"input": {"$objectToArray": value}, "in": "$$this.v"}},
        ]
    }
    fits = {
        "$and": [
            {"$and": [{"$isNumber": f"$${one}"}, {"$gte": [f"$${one}", low]}, {"$lte": [f"$${one}", high]}]}
            for one in ("x", "y")
        ]
    }
    judged = {
        "$let": {
            "vars": {"x": {"$arrayElemAt": ["$$pair", 0]}, "y": {"$arrayElemAt": ["$$pair", 1]}},
            "in": {"$not": [{"$or": [{"$in": [{"$type": "$$x"}, ["array", "object"]]}, fits]}]},
        }
    }
    filled = {"$let": {"vars": {"pair": pair}, "in": {"$and": [{"$gt": [{"$size": "$$pair"}, 0]}, judged]}}}
    wrong = {"$cond": [{"$in": [{"$type": value}, ["array", "object"]]}, filled, False]}
    above = list(_prefixes(field))[:-1]
    return {"$and": [*({path: {"$not": {"$type": "array"}}} for path in above), {"$expr": wrong}]}


def _parallel(fields: list[str]) -> Iterator[dict[str, Any]]:
    """Ask for documents with arrays in two fields; below an array that both share, in one of its elements."""
    for one, other in combinations(fields, 2):
        mine, its = one.split("."), other.split(".")
        common = next((n for n, (a, b) in enumerate(zip(mine, its, strict=False)) if a != b), -1)
        if common < 0:
            continue
        parent = ".".join(mine[:common])
        arrays = [_any(_array(path) for path in _prefixes(".".join(steps[common:]))) for steps in (mine, its)]
        if not parent:
            yield {"$and": arrays}
            continue
        yield {parent: {"$elemMatch": {"$and": arrays}}}
        outside = [{path: {"$not": {"$type": "array"}}} for path in _prefixes(parent)]
        below = [
            _any(_array(f"{parent}.{path}") for path in _prefixes(".".join(steps[common:])))
            for steps in (mine, its)
        ]
        yield {"$and": [*outside, *below]}


def _array(path: str) -> dict[str, Any]:
    return {path: {"$type": "array"}}


def _any(queries: Iterator[dict[str, Any]]) -> dict[str, Any]:
    return {"$or": list(queries)}


def _prefixes(field: str) -> Iterator[str]:
    steps = field.split(".")
    return (".".join(steps[: n + 1]) for n in range(len(steps)))


def _listed(names: Mapping[str, Any] | list[str]) -> str:
    return ", ".join(names)
