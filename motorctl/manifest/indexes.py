"""One index of a manifest: what its keys and options mean together, and what every server refuses of it.

Each rule was tried on servers of 4.4, 5.0 and 6.0. What one of them, or a newer one, takes is left to the server.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from motorctl.core.schema import Index
from motorctl.core.schema.blockers.values import LANGUAGES
from motorctl.core.schema.model import INDEX_OPTIONS, TEMPORARY
from motorctl.core.schema.planning.impossible import NEVER_IN_FILTERS
from motorctl.manifest.shapes import shown
from motorctl.near import near

if TYPE_CHECKING:
    from motorctl.manifest.document import Document, Path_

_MOST_KEYS = 32
_WILDCARD = "$**"


def index(document: Document, body: Mapping[str, Any], path: Path_, collation: Any) -> Index:
    """Make an index of a body that has its shape. `collation` is its collection's. Raises ManifestError."""
    name = body.get("name")
    if name is not None:
        _check_name(document, (*path, "name"), name)
    if body.get("state") == "absent":
        return _absent(document, body, path)
    if "keys" not in body:
        document.fail(path, "an index needs keys", hint="for example keys: {email: 1}")
    keys = body["keys"]
    _check_keys(document, keys, (*path, "keys"))
    options = {key: value for key, value in body.items() if key in INDEX_OPTIONS}
    _check_kinds(document, keys, (*path, "keys"))
    _check_wildcard(document, keys, options, path)
    _check_text(document, keys, options, path)
    _check_options(document, keys, options, path)
    if "collation" in options:
        check_collation(document, options["collation"], (*path, "collation"))
    _check_collation_of_kind(document, keys, options, path, collation)
    result = Index(keys, name, options, body.get("renamed_from"))
    if result.renamed_from is not None:
        _check_name(document, (*path, "renamed_from"), result.renamed_from)
        if result.renamed_from == result.resolved_name:
            document.fail((*path, "renamed_from"), f"{result.renamed_from} is renamed from its own name")
    return result


def check_collation(document: Document, collation: Mapping[str, Any], path: Path_) -> None:
    """Raise ManifestError for a collation that no server takes."""
    strength = collation.get("strength", 3)
    if not collation["locale"]:
        document.fail((*path, "locale"), "a collation needs a locale", hint="for example en")
    if strength == 1 and collation.get("backwards"):
        document.fail((*path, "backwards"), "backwards needs a strength of 2 or more", at_key=True)
    if strength <= 2 and collation.get("caseFirst", "off") != "off" and not collation.get("caseLevel"):
        document.fail(
            (*path, "caseFirst"), "caseFirst needs caseLevel, or a strength of 3 or more", at_key=True
        )


def _absent(document: Document, body: Mapping[str, Any], path: Path_) -> Index:
    for key in body:
        if key not in ("state", "name", "keys"):
            document.fail(
                (*path, key),
                f"an absent index has a name or keys, and no {key}",
                hint="leave it out",
                at_key=True,
            )
    if "name" not in body and "keys" not in body:
        document.fail((*path, "state"), "an absent index needs its name or its keys", at_key=True)
    if "keys" in body:
        _check_keys(document, body["keys"], (*path, "keys"))
    return Index(body.get("keys", {}), body.get("name"))


def _check_name(document: Document, path: Path_, name: str) -> None:
    if not name or name in ("_id_", "*") or "\0" in name or name.startswith(TEMPORARY):
        document.fail(path, f"{name!r} can't be the name of an index of yours")


def _check_keys(document: Document, keys: Mapping[str, Any], path: Path_) -> None:
    if not keys:
        document.fail(path, "an index needs at least one key")
    for field, kind in keys.items():
        _check_field(document, field, kind, (*path, field))
        if not isinstance(kind, str) and kind == 0:
            document.fail((*path, field), "a key of an index is 1, -1 or a word, not 0")
    if [*keys] == ["_id"] and keys["_id"] in (1, -1):
        document.fail(path, "every collection has the index on _id", hint="leave it out")
    texts = [field for field, kind in keys.items() if kind == "text"]
    # The server keeps all text fields in two keys of its own.
    if len(keys) - len(texts) + (2 if texts else 0) > _MOST_KEYS:
        document.fail(path, f"an index has {_MOST_KEYS} keys at most, its text fields counted as two")


def _check_field(document: Document, field: str, kind: Any, path: Path_) -> None:
    if not field:
        document.fail(path, "a key without a name", at_key=True)
    if field in ("_fts", "_ftsx"):
        document.fail(
            path, f"{field} is the server's own", hint="name the text fields: {title: text}", at_key=True
        )
    parts = field.split(".")
    if "" in parts:
        document.fail(path, f"{field!r} has an empty part", at_key=True)
    if "\0" in field:
        document.fail(path, "a field's name has no NUL", at_key=True)
    if _is_wildcard(field):
        if isinstance(kind, str) and (kind, field) != ("text", _WILDCARD):
            document.fail(path, f"{field} can't be {kind}", hint=f"{field}: 1 is a wildcard index")
        parts.pop()
    references = ("$id", "$ref", "$db")
    for n, part in enumerate(parts):
        if part.startswith("$") and (n == 0 or part not in references):
            document.fail(
                path, f"{part} can't be in the key of an index", hint=near(part, [_WILDCARD]), at_key=True
            )


def _is_wildcard(field: str) -> bool:
    return field == _WILDCARD or field.endswith("." + _WILDCARD)


def _check_kinds(document: Document, keys: Mapping[str, Any], path: Path_) -> None:
    fields = {
        kind: [field for field in keys if keys[field] == kind]
        for kind in keys.values()
        if isinstance(kind, str)
    }
    kinds = list(fields)
    if len(kinds) > 1:
        document.fail(
            (*path, fields[kinds[1]][0]), f"{kinds[0]} and {kinds[1]} can't be in one index", at_key=True
        )
    for kind in ("hashed", "2d"):
        if len(fields.get(kind, ())) > 1:
            document.fail((*path, fields[kind][1]), f"an index has one {kind} field at most", at_key=True)
    if "2d" in fields and next(iter(keys)) != fields["2d"][0]:
        document.fail((*path, fields["2d"][0]), "the 2d field of an index is its first", at_key=True)
    if "text" in fields:
        order = list(keys)
        first, last = order.index(fields["text"][0]), order.index(fields["text"][-1])
        if last - first + 1 != len(fields["text"]):
            document.fail((*path, order[last]), "the text fields of an index stand side by side", at_key=True)


def _check_wildcard(
    document: Document, keys: Mapping[str, Any], options: Mapping[str, Any], path: Path_
) -> None:
    wild = [field for field, kind in keys.items() if _is_wildcard(field) and not isinstance(kind, str)]
    if len(wild) > 1:
        document.fail((*path, "keys", wild[1]), "an index has one wildcard at most", at_key=True)
    for option in ("unique", "sparse", "expireAfterSeconds") if wild else ():
        if options.get(option, False) is not False:
            document.fail((*path, option), f"a wildcard index can't have {option}", at_key=True)
    if "wildcardProjection" not in options:
        return
    place = (*path, "wildcardProjection")
    if _WILDCARD not in wild:
        document.fail(place, f"wildcardProjection is for an index on {_WILDCARD}", at_key=True)
    if not options["wildcardProjection"]:
        document.fail(place, "wildcardProjection needs at least one field", hint="leave it out")
    _check_projection(document, options["wildcardProjection"], place, None)


def _check_projection(
    document: Document, projection: Mapping[str, Any], path: Path_, taken: bool | None
) -> bool | None:
    """Raise for values that project nothing, and for fields taken in beside fields left out."""
    for field, value in projection.items():
        place = (*path, field)
        if isinstance(value, Mapping):
            taken = _check_projection(document, value, place, taken)
            continue
        if not isinstance(value, bool | int | float):
            document.fail(
                place, f"{field} is 1 to take it in or 0 to leave it out, not {shown(document, value, place)}"
            )
        if field == "_id" and len(path) == len(place) - 1 and path[-1] == "wildcardProjection":
            continue
        if taken is not None and taken is not bool(value):
            document.fail(place, "wildcardProjection takes fields in or leaves fields out, not both")
        taken = bool(value)
    return taken


def _check_text(document: Document, keys: Mapping[str, Any], options: Mapping[str, Any], path: Path_) -> None:
    if "weights" in options:
        if "text" not in keys.values():
            document.fail((*path, "weights"), "weights is for text indexes", at_key=True)
        for field in options["weights"]:
            wrong = not field or any(part.startswith("$") for part in field.split("."))
            if wrong and field != _WILDCARD:
                document.fail((*path, "weights", field), f"{field!r} can't have a weight", at_key=True)
    if "text" not in keys.values():
        return
    language = options.get("default_language")
    if language is not None and options.get("textIndexVersion") != 1 and language.lower() not in LANGUAGES:
        place = (*path, "default_language")
        variable = document.variable(place)
        known = sorted(word for word in LANGUAGES if len(word) > 3)
        hint = (None if variable else near(language.lower(), known)) or "none is for text of any language"
        document.fail(place, f"{variable or language} is no language that text indexes know", hint=hint)
    override = options.get("language_override")
    if override is not None and (not override or "." in override or override.startswith("$")):
        document.fail(
            (*path, "language_override"), "language_override is the name of one field, without a dot"
        )


def _check_options(
    document: Document, keys: Mapping[str, Any], options: Mapping[str, Any], path: Path_
) -> None:
    if options.get("unique") and "hashed" in keys.values():
        document.fail((*path, "unique"), "a hashed index can't be unique", at_key=True)
    if options.get("unique") and options.get("prepareUnique"):
        document.fail((*path, "prepareUnique"), "unique and prepareUnique exclude each other", at_key=True)
    if "expireAfterSeconds" in options and len(keys) > 1:
        document.fail(
            (*path, "expireAfterSeconds"), "an index that expires documents has one key", at_key=True
        )
    if options.get("sparse") and "partialFilterExpression" in options:
        document.fail((*path, "sparse"), "sparse and partialFilterExpression exclude each other", at_key=True)
    if "partialFilterExpression" in options:
        _check_partial(document, options["partialFilterExpression"], (*path, "partialFilterExpression"))
    if "2d" in keys.values() and options.get("min", -180) >= options.get("max", 180):
        wrong = "min" if "min" in options else "max"
        document.fail((*path, wrong), "min of a 2d index is less than its max (-180 and 180 if not given)")


def _check_partial(document: Document, query: Mapping[str, Any], path: Path_) -> None:
    hint = "comparisons, $exists: true, $type, $and, $or and $in can be"
    for key, value in query.items():
        place = (*path, key)
        if key in NEVER_IN_FILTERS:
            document.fail(place, f"{key} can't be in a partialFilterExpression", hint=hint, at_key=True)
        if key in ("$and", "$or") and isinstance(value, list):
            for n, part in enumerate(value):
                if isinstance(part, Mapping):
                    _check_partial(document, part, (*place, n))
        elif not key.startswith("$") and isinstance(value, Mapping):
            for operator, operand in value.items():
                if operator in NEVER_IN_FILTERS:
                    document.fail(
                        (*place, operator),
                        f"{operator} can't be in a partialFilterExpression",
                        hint=hint,
                        at_key=True,
                    )
                if operator == "$exists" and operand is False:
                    document.fail(
                        (*place, operator), "$exists: false can't be in a partialFilterExpression", hint=hint
                    )


def _check_collation_of_kind(
    document: Document, keys: Mapping[str, Any], options: Mapping[str, Any], path: Path_, inherited: Any
) -> None:
    kind = next((kind for kind in keys.values() if kind in ("text", "2d")), None)
    own = options.get("collation", inherited)
    if kind is None or own is None or own["locale"] == "simple":
        return
    whose = "a collation" if "collation" in options else "its collection's collation"
    document.fail(
        (*path, "collation") if "collation" in options else path,
        f"a {kind} index can't have {whose}",
        hint="give it collation: {locale: simple}",
        at_key="collation" in options,
    )
