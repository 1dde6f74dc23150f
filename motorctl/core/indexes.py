"""Indexes: how keys are written on a command line, which ones there are, one more or one fewer.

Comparing and building are `schema`'s, so that `indexes create` and `schema apply` agree.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from motorctl.core.driver import once
from motorctl.core.schema import Change, Collection, Index, carry_out, describe, fetch, plan, shown
from motorctl.core.schema.model import INDEX_KINDS
from motorctl.errors import AuthorizationError, DuplicateKeyError, MotorctlError, NotFoundError, UsageError
from motorctl.near import near

if TYPE_CHECKING:
    from collections.abc import Sequence

    from motorctl.client import Database
    from motorctl.core.driver import Attempt


def parse_keys(words: Sequence[str]) -> dict[str, Any]:
    """Read `email`, `-created_at`, `name:text`, `loc:2dsphere`, `email:-1` as an index's keys, in order.

    Raises UsageError for an empty field, an unknown kind or a field named twice.
    """
    keys: dict[str, Any] = {}
    for word in words:
        field, kind = _parse_key(word)
        if field in keys:
            raise UsageError(f"the index key {field} is given twice", field=field)
        keys[field] = kind
    if not keys:
        raise UsageError("an index needs at least one key", hint="for example: email, -created_at, name:text")
    return keys


def _parse_key(word: str) -> tuple[str, Any]:
    field, colon, kind = word.rpartition(":") if ":" in word else (word, "", "")
    hint = f"field, -field, or field:kind with one of 1, -1, {', '.join(INDEX_KINDS)}"
    if colon:
        direction: Any = {"1": 1, "-1": -1}.get(kind, kind if kind in INDEX_KINDS else None)
        if direction is None:
            raise UsageError(
                f"{kind!r} is no kind of index key, in {word!r}", hint=near(kind, INDEX_KINDS) or hint
            )
    else:
        direction = -1 if field.startswith("-") else 1
        field = field.removeprefix("-").removeprefix("+") if field[:1] in "+-" else field
    if not field:
        raise UsageError(f"an index key without a field: {word!r}", hint=hint)
    return field, direction


async def list_indexes(db: Database, collection: str | None = None) -> list[dict[str, Any]]:
    """List indexes, `_id_` too: `collection, name, keys, options`. Raises NotFoundError for an unknown collection."""
    there = await fetch(db, None if collection is None else {collection})
    if collection is not None and collection not in there:
        raise _no_collection(collection)
    rows: list[dict[str, Any]] = []
    for one in there.values():
        if one.is_view:
            continue
        if "timeseries" not in one.options:
            rows.append({"collection": one.name, "name": "_id_", "keys": {"_id": 1}, "options": {}})
        rows += [
            {
                "collection": one.name,
                "name": index.resolved_name,
                "keys": dict(index.keys),
                "options": dict(index.options),
            }
            for index in one.indexes
        ]
    return rows


async def plan_one(db: Database, collection: str, wanted: Index) -> Change:
    """Compare one wanted index with what is there: `create`, or `keep` when it is there already.

    Raises a plain error when another index has its name or its keys: that one isn't replaced.
    """
    there = (await fetch(db, {collection})).get(collection) or Collection(collection)
    changes = plan({collection: there}, [Collection(collection, {}, None, (wanted,))])
    change = next(one for one in changes if one.kind == "index" and one.after is not None)
    if change.action in ("rebuild", "modify"):
        existing = change.before or {}
        raise MotorctlError(
            f"index {existing.get('name')} of {collection} stands in the way: {describe(replace(change, action='drop', blockers=()))}",
            hint=f"motorctl indexes drop {collection} {existing.get('name')}, then create again"
            + ("" if change.blockers else "; or put it in a manifest: schema apply rebuilds it"),
            collection=collection,
            existing=existing,
            wanted=change.after,
        )
    return change


async def create_one(db: Database, change: Change, *, attempt: Attempt = once) -> Change:
    """Build what `plan_one` found missing. Raises DuplicateKeyError when documents share a unique key's value."""
    result = await carry_out(db, change, attempt=attempt)
    if result.error is not None:
        raise _error(result)
    return result


def _error(change: Change) -> MotorctlError:
    facts = change.error or {}
    name, collection, message = change.name, change.collection, facts["message"]
    details = {"collection": collection, "index": name, "server_code": facts["code"]}
    if facts["code"] == 11000:
        fields = list((change.after or {})["keys"])
        values = facts.get("key_value", {})
        among = f", one of them {shown(values)}" if values else ""
        return DuplicateKeyError(
            f"documents of {collection} share a value of {', '.join(fields)}{among}: {name} can't be unique",
            hint="change or delete all but one of the documents that share it, then create the index again",
            field=fields[0] if len(fields) == 1 else fields,
            value=values,
            **details,
        )
    if facts["code"] == 13:
        return AuthorizationError(f"no right to change the indexes of {collection}: {message}", **details)
    if facts["code"] in (85, 86):
        return MotorctlError(
            f"index {name} of {collection} conflicts with one that is there: {message}",
            hint=f"motorctl indexes list {collection}; drop the one that is in the way first",
            **details,
        )
    return MotorctlError(
        f"index {name} of {collection} can't be {'dropped' if change.action == 'drop' else 'built'}: {message}",
        **details,
    )


async def plan_drop(db: Database, collection: str, name: str) -> Change:
    """Find the index to drop. Raises UsageError for `_id_`, NotFoundError when it isn't there."""
    if name == "_id_":
        raise UsageError(f"the index _id_ of {collection} can't be dropped", hint="every collection has it")
    there = (await fetch(db, {collection})).get(collection)
    if there is None:
        raise _no_collection(collection)
    for index in there.indexes:
        if index.name == name:
            return Change(collection, "index", "drop", name, index.document())
    raise NotFoundError(
        f"collection {collection} has no index {name}",
        hint=f"motorctl indexes list {collection}",
        collection=collection,
        index=name,
    )


async def drop_one(db: Database, change: Change, *, attempt: Attempt = once) -> Change:
    """Drop what `plan_drop` found; it may be gone already."""
    result = await carry_out(db, change, attempt=attempt)
    if result.error is not None:
        raise _error(result)
    return result


def _no_collection(name: str) -> NotFoundError:
    return NotFoundError(
        f"collection {name} doesn't exist",
        hint="motorctl indexes list shows the collections",
        collection=name,
    )
