"""Documents -> desired collections: what the keys of a collection mean together, and collections among themselves.

What every server refuses is found here; what one of them, or a newer one, takes is left to the server.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from motorctl.core.json_schema import problems
from motorctl.core.schema import Collection, Index, Validator
from motorctl.core.schema.blockers.limits import MOST_INDEXES, WITHOUT_ID_INDEX
from motorctl.core.schema.compare import BUCKETING
from motorctl.core.schema.model import CREATION_OPTIONS, TEMPORARY, SearchIndex
from motorctl.manifest.grammar import MANIFEST
from motorctl.manifest.indexes import check_collation, index
from motorctl.manifest.shapes import read

if TYPE_CHECKING:
    from motorctl.manifest.document import Document, Path_

_VALIDATION = ("validator", "validationLevel", "validationAction")
_OF_A_VIEW = {"viewOn", "pipeline", "collation", "searchIndexes", "state"}
_NOT_OF_TIME_SERIES = (
    *_VALIDATION, "clusteredIndex", "changeStreamPreAndPostImages", "viewOn", "pipeline", "size", "max", "renamed_from",
)  # fmt: skip
# Database, dot and collection are 255 bytes at most.
_LONGEST_NAME = 253


def collections(documents: Iterable[Document]) -> list[Collection]:
    """Read the collections of all documents. Raises ManifestError with the place of what is wrong."""
    found: dict[str, tuple[Document, Collection]] = {}
    for document in documents:
        top = read(document, document.value, MANIFEST, ())
        if "collections" not in top:
            document.fail((), "a manifest has the key collections")
        for name, body in top["collections"].items():
            path = ("collections", name)
            if name in found:
                other = found[name][0]
                line, column = other.place(path)
                document.fail(
                    path,
                    f"{name} stands in two files: the other is {other.name}:{line}:{column}",
                    at_key=True,
                )
            found[name] = document, _collection(document, name, body)
    _check_renames(found)
    _check_views(found)
    return [collection for _, collection in found.values()]


def validator(document: Document, expression: Mapping[str, Any], path: Path_) -> dict[str, Any]:
    """Check a validator's expression. Raises ManifestError with the place of what is wrong."""
    for problem in problems(expression):
        document.fail((*path, *problem.path), problem.message, hint=problem.hint, at_key=problem.at_key)
    return dict(expression)


def _collection(document: Document, name: str, body: Mapping[str, Any]) -> Collection:
    path: Path_ = ("collections", name)
    _check_name(document, path, name, at_key=True)
    if "renamed_from" in body:
        place = (*path, "renamed_from")
        _check_name(document, place, body["renamed_from"])
        if body["renamed_from"] == name:
            document.fail(place, f"{name} is renamed from its own name")
    if body.get("state") == "absent":
        for key in body:
            if key != "state":
                document.fail(
                    (*path, key), f"an absent collection has no {key}", hint="leave it out", at_key=True
                )
        return Collection(name, absent=True)
    _check_validation(document, body, path)
    _check_capped(document, body, path)
    _check_time_series(document, body, path)
    _check_clustered(document, body, path)
    _check_view(document, body, path, name)
    if "collation" in body:
        check_collation(document, body["collation"], (*path, "collation"))
    return _with_indexes(
        document,
        body,
        Collection(
            name,
            {key: value for key, value in body.items() if key in CREATION_OPTIONS},
            _validator(document, body, path),
            search_indexes=_search_indexes(document, body, path),
            renamed_from=body.get("renamed_from"),
        ),
    )


def _validator(document: Document, body: Mapping[str, Any], path: Path_) -> Validator | None:
    if "validator" not in body:
        return None
    expression = validator(document, body["validator"], (*path, "validator"))
    return Validator(expression, body.get("validationLevel", "strict"), body.get("validationAction", "error"))


def _search_indexes(
    document: Document, body: Mapping[str, Any], path: Path_
) -> tuple[SearchIndex, ...] | None:
    if "searchIndexes" not in body:
        return None
    found: dict[str, SearchIndex] = {}
    for n, one in enumerate(body["searchIndexes"]):
        name = one.get("name", "default")
        place = (*path, "searchIndexes", n)
        if not name:
            document.fail((*place, "name"), "a search index has a name", hint="leave it out for default")
        if name in found:
            document.fail(
                place, f"two search indexes have the name {name}", hint="give one of them another name"
            )
        found[name] = SearchIndex(name, one["definition"], one.get("type", "search"))
    return tuple(found.values())


def _with_indexes(document: Document, body: Mapping[str, Any], collection: Collection) -> Collection:
    path: Path_ = ("collections", collection.name, "indexes")
    wanted: list[tuple[int, Index]] = []
    absent: list[tuple[int, Index]] = []
    for n, one in enumerate(body.get("indexes", ())):
        made = index(document, one, (*path, n), body.get("collation"))
        (absent if one.get("state") == "absent" else wanted).append((n, made))
        if "timeseries" in body:
            _check_index_of_time_series(document, made, (*path, n))
    result = Collection(
        collection.name,
        collection.options,
        collection.validator,
        tuple(one for _, one in wanted),
        collection.search_indexes,
        tuple(one for _, one in absent),
        renamed_from=collection.renamed_from,
    )
    without_own = any(option in body for option in WITHOUT_ID_INDEX)
    most = MOST_INDEXES if without_own else MOST_INDEXES - 1
    if len(wanted) > most:
        counted = "" if without_own else ", the one on _id counted"
        document.fail((*path, wanted[most][0]), f"a collection has {MOST_INDEXES} indexes at most{counted}")
    if (conflict := result.conflict()) is not None:
        position, message, hint = conflict
        document.fail((*path, wanted[position][0]), message, hint=hint)
    for n, gone in absent:
        for _, kept in wanted:
            if _is_meant(gone, kept.resolved_name, kept.keys):
                document.fail(
                    (*path, n), f"{kept.resolved_name} is wanted and absent", hint="leave one of them out"
                )
    _check_renamed_indexes(document, path, wanted, [one for _, one in absent])
    clustered = body.get("clusteredIndex", {}).get("name")
    for n, kept in wanted:
        if kept.resolved_name == clustered:
            document.fail((*path, n), f"{clustered} is the name of the clustered index")
    return result


def _is_meant(absent: Index, name: str, keys: Mapping[str, Any] | None) -> bool:
    if absent.name is not None:
        return absent.name == name
    return keys is not None and list(absent.keys.items()) == list(keys.items())


def _check_renamed_indexes(
    document: Document, path: Path_, wanted: list[tuple[int, Index]], absent: list[Index]
) -> None:
    names = {one.resolved_name for _, one in wanted}
    before: set[str] = set()
    for n, one in wanted:
        old = one.renamed_from
        if old is None:
            continue
        place = (*path, n, "renamed_from")
        if old in names:
            document.fail(place, f"{old} is the name of an index that is wanted")
        if old in before:
            document.fail(place, f"two indexes are renamed from {old}")
        if any(_is_meant(gone, old, None) for gone in absent):
            document.fail(place, f"{old} is absent, so nothing can be renamed from it")
        before.add(old)


def _check_name(document: Document, path: Path_, name: str, *, at_key: bool = False) -> None:
    wrong = not name or name.startswith((".", "system.", TEMPORARY)) or ".system." in name
    if wrong or "$" in name or "\0" in name:
        document.fail(path, f"{name!r} can't be the name of a collection of yours", at_key=at_key)
    if len(name.encode()) > _LONGEST_NAME:
        document.fail(path, f"a collection's name has {_LONGEST_NAME} bytes at most", at_key=at_key)


def _check_validation(document: Document, body: Mapping[str, Any], path: Path_) -> None:
    for key in _VALIDATION[1:]:
        if key in body and "validator" not in body:
            document.fail((*path, key), f"{key} without a validator", at_key=True)


def _check_capped(document: Document, body: Mapping[str, Any], path: Path_) -> None:
    if body.get("capped"):
        if "size" not in body:
            document.fail((*path, "capped"), "a capped collection needs a size in bytes", at_key=True)
        for other in ("timeseries", "clusteredIndex"):
            if other in body:
                document.fail((*path, "capped"), f"{other} and capped exclude each other", at_key=True)
    elif not {"timeseries", "viewOn"} & body.keys():
        for key in ("size", "max"):
            if key in body:
                document.fail(
                    (*path, key), f"{key} is for a capped collection", hint="add capped: true", at_key=True
                )
    if "expireAfterSeconds" in body and not {"timeseries", "clusteredIndex", "viewOn"} & body.keys():
        document.fail(
            (*path, "expireAfterSeconds"),
            "expireAfterSeconds of a collection is for time series and clustered ones",
            hint="others expire by an index that has expireAfterSeconds",
            at_key=True,
        )


def _check_time_series(document: Document, body: Mapping[str, Any], path: Path_) -> None:
    if "timeseries" not in body:
        return
    for key in _NOT_OF_TIME_SERIES:
        if key in body:
            document.fail((*path, key), f"a time series has no {key}", at_key=True)
    series, place = body["timeseries"], (*path, "timeseries")
    for key in ("timeField", "metaField"):
        if "." in series.get(key, ""):
            document.fail((*place, key), f"{key} is a field at the top, without a dot")
    if series.get("metaField") in ("_id", series["timeField"]):
        document.fail((*place, "metaField"), "metaField is another field than _id and the timeField")
    span, rounding = series.get("bucketMaxSpanSeconds"), series.get("bucketRoundingSeconds")
    granularity = series.get("granularity")
    if rounding is not None and granularity is not None:
        document.fail(
            (*place, "bucketRoundingSeconds"),
            "granularity and bucketRoundingSeconds exclude each other",
            at_key=True,
        )
    if rounding is not None and rounding != span:
        document.fail(
            (*place, "bucketRoundingSeconds"),
            "bucketRoundingSeconds and bucketMaxSpanSeconds are equal",
            at_key=True,
        )
    if rounding is None and span not in (None, BUCKETING[granularity or "seconds"][0]):
        document.fail(
            (*place, "bucketMaxSpanSeconds"),
            f"bucketMaxSpanSeconds of granularity {granularity} is {BUCKETING[granularity][0]}"
            if granularity
            else "bucketMaxSpanSeconds stands beside a bucketRoundingSeconds of the same value",
            at_key=True,
        )


def _check_index_of_time_series(document: Document, one: Index, path: Path_) -> None:
    if one.is_text:
        document.fail((*path, "keys"), "a time series can't have a text index")
    if one.options.get("unique"):
        document.fail((*path, "unique"), "an index of a time series can't be unique", at_key=True)
    if "expireAfterSeconds" in one.options and "partialFilterExpression" not in one.options:
        document.fail(
            (*path, "expireAfterSeconds"),
            "a time series expires by its own expireAfterSeconds, not by an index",
            at_key=True,
        )


def _check_clustered(document: Document, body: Mapping[str, Any], path: Path_) -> None:
    if "clusteredIndex" in body and not body["clusteredIndex"]["unique"]:
        document.fail((*path, "clusteredIndex", "unique"), "a clustered index is unique: true")


def _check_view(document: Document, body: Mapping[str, Any], path: Path_, name: str) -> None:
    if "viewOn" not in body:
        if "pipeline" in body:
            document.fail((*path, "pipeline"), "pipeline without viewOn", at_key=True)
        return
    for key in body:
        if key not in _OF_A_VIEW:
            document.fail((*path, key), f"a view has no {key}", at_key=True)
    if not body["viewOn"] or "$" in body["viewOn"]:
        document.fail((*path, "viewOn"), f"{body['viewOn']!r} can't be the name of a collection")
    if body["viewOn"] == name:
        document.fail((*path, "viewOn"), f"the view {name} shows itself")
    for n, stage in enumerate(body.get("pipeline", ())):
        place = (*path, "pipeline", n)
        if not isinstance(stage, Mapping) or len(stage) != 1 or not next(iter(stage)).startswith("$"):
            document.fail(
                place, "a stage of a pipeline is a document with one $ key, for example {$match: {...}}"
            )
        word = next(iter(stage))
        if word in ("$out", "$merge", "$changeStream"):
            document.fail((*place, word), f"{word} can't be in a view", at_key=True)


def _check_renames(found: Mapping[str, tuple[Document, Collection]]) -> None:
    before: set[str] = set()
    for name, (document, collection) in found.items():
        old = collection.renamed_from
        if old is None:
            continue
        place: Path_ = ("collections", name, "renamed_from")
        if old in found:
            document.fail(place, f"{old} is in the manifest too, so {name} can't be renamed from it")
        if old in before:
            document.fail(place, f"two collections are renamed from {old}")
        before.add(old)


def _check_views(found: Mapping[str, tuple[Document, Collection]]) -> None:
    for name, (document, collection) in found.items():
        place: Path_ = ("collections", name, "viewOn")
        seen = [name]
        source: str = collection.options.get("viewOn", "")
        while source in found:
            if source in seen:
                document.fail(place, f"views show each other in a circle: {' on '.join([*seen, source])}")
            if found[source][1].absent:
                document.fail(place, f"{source} is wanted by the view {seen[-1]} and absent")
            seen.append(source)
            source = found[source][1].options.get("viewOn", "")
