"""What students and users share: documents of a known model in a collection of their own.

Owns create, get, find, update, upsert, delete and count for any such noun, and how a document is shown
(`_id` as `id`, a string). What a student or a user is, its own module says; only what writes loads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bson import ObjectId
from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from motorctl.core import driver
from motorctl.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from motorctl.client import Database
    from motorctl.core.fields import Model
    from motorctl.core.nouns import Noun


@dataclass(frozen=True)
class Query:
    """What to list: filter, projected fields (all if empty), order, how many to skip, at most how many (0: all)."""

    filter: Mapping[str, Any]
    fields: Sequence[str] = ()
    sort: Sequence[tuple[str, int]] = ()
    skip: int = 0
    limit: int = 0


def new(noun: Noun, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document that `create` would insert, with its id. Raises UsageError (2) for a bad field."""
    document = _checked(noun, noun.model, fields).model_dump(exclude_none=True)
    if noun.created:
        document.setdefault(noun.created, now())
    return {"_id": ObjectId(), **document}


async def create(db: Database, noun: Noun, document: Mapping[str, Any]) -> dict[str, Any]:
    """Insert a document made by `new` and return it as shown.

    Its id was made beforehand: when a first attempt did arrive and only its answer was lost, the
    second finds its own id taken, and that is no error. Another document's e-mail is.
    """
    collection = db[noun.collection]
    try:
        await collection.insert_one(dict(document))
    except DuplicateKeyError as error:
        if "_id" not in (error.details or {}).get("keyPattern", {}):
            raise
        if await collection.find_one({"_id": document["_id"]}) != document:
            raise
    return shown(document)


async def get(db: Database, noun: Noun, id: str, fields: Sequence[str] = ()) -> dict[str, Any]:
    """Return one document. Raises NotFoundError (5), and UsageError (2) for a malformed id."""
    found = await db[noun.collection].find_one({"_id": object_id(id)}, projection(fields))
    if found is None:
        raise _absent(noun, id)
    return shown(found)


async def find(db: Database, noun: Noun, query: Query) -> AsyncIterator[dict[str, Any]]:
    """Yield the documents of a query as they come from the server."""
    cursor = db[noun.collection].find(query.filter, projection(query.fields), batch_size=driver.LIST_BATCH)
    cursor = cursor.sort(list(query.sort or noun.sort)).skip(query.skip).limit(query.limit)
    async for document in cursor:
        yield shown(document)


async def count(db: Database, noun: Noun, filter: Mapping[str, Any]) -> int:
    """Count the records that match a filter; the filter is checked by who gives it."""
    return int(await db[noun.collection].count_documents(filter))


def changes(noun: Noun, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the checked fields of an update: only those given; None asks for a field's removal.

    Raises UsageError (2) that names each bad field.
    """
    from motorctl.core.fields import partial

    return _checked(noun, partial(noun.model), fields).model_dump(exclude_unset=True)


async def update(db: Database, noun: Noun, id: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Set the fields (as `changes` returned them) and return the document after.

    No field given returns it as it is. Doing it twice does no harm: the values are given, not computed.
    """
    if not fields:
        return await get(db, noun, id)
    given = {key: value for key, value in fields.items() if value is not None}
    gone = {key: "" for key, value in fields.items() if value is None}
    if noun.updated:
        given[noun.updated] = now()
    operations = {"$set": given} | ({"$unset": gone} if gone else {})
    found = await db[noun.collection].find_one_and_update(
        {"_id": object_id(id)}, operations, return_document=ReturnDocument.AFTER
    )
    if found is None:
        raise _absent(noun, id)
    return shown(found)


async def upsert(db: Database, noun: Noun, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Insert or change the document with this key; return it with `status` inserted, updated or unchanged.

    One command: a pipeline update compares the fields on the server, so that two at once can't both
    insert where the key has a unique index, and `updated_at` moves only when something did.
    """
    for last in (False, True):
        try:
            return await _upsert(db, noun, fields)
        except DuplicateKeyError:
            # Two inserted at once and the other was first: now there is one to change.
            if last:
                raise
    raise AssertionError


async def preview(db: Database, noun: Noun, id: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `update` would show, and write nothing."""
    before = await get(db, noun, id)
    after = {**before, **fields, **({noun.updated: now()} if noun.updated and fields else {})}
    return {key: value for key, value in after.items() if value is not None}


async def preview_upsert(db: Database, noun: Noun, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `upsert` would show, and write nothing."""
    before = await db[noun.collection].find_one({noun.key: fields[noun.key]})
    if before is None:
        return {"status": "inserted", **{k: v for k, v in new(noun, fields).items() if k != "_id"}}
    differs = any(before.get(name) != value for name, value in fields.items())
    after = {key: value for key, value in {**before, **fields}.items() if value is not None}
    if differs and noun.updated:
        after[noun.updated] = now()
    return {"status": "updated" if differs else "unchanged", **shown(after)}


async def delete(db: Database, noun: Noun, id: str) -> dict[str, Any]:
    """Delete one document and return it as it was. Raises NotFoundError (5)."""
    found = await db[noun.collection].find_one_and_delete({"_id": object_id(id)})
    if found is None:
        raise _absent(noun, id)
    return shown(found)


async def delete_many(db: Database, noun: Noun, filter: Mapping[str, Any]) -> int:
    """Delete what the filter finds and return how many."""
    return int((await db[noun.collection].delete_many(filter)).deleted_count)


async def _upsert(db: Database, noun: Noun, fields: Mapping[str, Any]) -> dict[str, Any]:
    key = {noun.key: fields[noun.key]}
    missing = [
        name for name, field in noun.model.model_fields.items() if field.is_required() and name not in fields
    ]
    operations = _upsert_pipeline(noun, fields)
    before: dict[str, Any] | None = await db[noun.collection].find_one_and_update(
        key, operations, upsert=not missing, return_document=ReturnDocument.BEFORE
    )
    if before is None and missing:
        raise UsageError(
            f"no {noun.name} has {noun.key} {key[noun.key]}, and a new one needs {', '.join(missing)}",
            missing=missing,
        )
    after = await db[noun.collection].find_one(key)
    if before is None:
        status = "inserted"
    else:
        status = (
            "updated" if any(before.get(name) != value for name, value in fields.items()) else "unchanged"
        )
    return {"status": status, **shown(after or {})}


def _upsert_pipeline(noun: Noun, fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the pipeline that sets fields, and each stamp and default only when it is due."""
    moment = now()
    # On an insert the pipeline starts from the filter's fields, without an _id.
    is_new: dict[str, Any] = {"$eq": [{"$type": "$_id"}, "missing"]}
    values: dict[str, Any] = {
        name: "$$REMOVE" if value is None else {"$literal": value} for name, value in fields.items()
    }
    differs = [
        {"$ne": [{"$type": f"${name}"}, "missing"]} if fields[name] is None else {"$ne": [f"${name}", value]}
        for name, value in values.items()
    ]
    due: dict[str, Any] = {
        name: {"$cond": [is_new, {"$literal": field.default}, f"${name}"]}
        for name, field in noun.model.model_fields.items()
        if name not in fields and not field.is_required() and field.default is not None
    }
    if noun.created and noun.created not in fields:
        due[noun.created] = {"$cond": [is_new, moment, f"${noun.created}"]}
    if noun.updated and noun.updated not in fields:
        due[noun.updated] = {
            "$cond": [{"$and": [{"$not": [is_new]}, {"$or": differs}]}, moment, f"${noun.updated}"]
        }
    return [{"$set": due}, {"$set": values}] if due else [{"$set": values}]


def shown(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document as users see it: `id`, a string, in the place of `_id`."""
    rest = {key: value for key, value in document.items() if key != "_id"}
    return {"id": str(document["_id"]), **rest} if "_id" in document else rest


def object_id(text: str) -> ObjectId:
    """Return the id that a text holds. Raises UsageError (2)."""
    if not ObjectId.is_valid(text):
        raise UsageError(
            f"{text!r} is not an id",
            hint="an id has 24 hexadecimal digits: `list` shows them, `list --filter` finds one by its other fields",
        )
    return ObjectId(text)


def projection(fields: Sequence[str]) -> dict[str, int] | None:
    """Return the projection to these fields; `id` is among them only if it is named."""
    if not fields:
        return None
    named = {"_id" if field == "id" else field: 1 for field in fields}
    return {"_id": 0, **named} if "_id" not in named else named


def now() -> datetime:
    """Return this moment as the server keeps it: UTC, whole milliseconds."""
    from motorctl.core.fields import stored_date

    return stored_date(datetime.now(UTC))


def _checked(noun: Noun, model: type[Model], fields: Mapping[str, Any]) -> Model:
    """Check fields against a noun's model, or the model of its changes. Raises UsageError (2) that names each bad field."""
    from pydantic import ValidationError

    from motorctl.core.fields import problem

    try:
        return model.model_validate(dict(fields))
    except ValidationError as error:
        found = error.errors(include_url=False)
        problems = [problem(e) for e in found]
        misnamed = any(e["type"] in ("missing", "extra_forbidden") for e in found)
        raise UsageError(
            f"not a {noun.name}: " + "; ".join(f"{p['field']}: {p['reason']}" for p in problems),
            hint=f"fields: {', '.join(noun.model.model_fields)}"
            if misnamed
            else f"`motorctl {noun.collection} create --help` shows what each field takes",
            problems=problems,
        ) from error


def _absent(noun: Noun, id: str) -> NotFoundError:
    return NotFoundError(
        f"no {noun.name} with id {id}", hint=f"`motorctl {noun.collection} list` shows what is there"
    )
