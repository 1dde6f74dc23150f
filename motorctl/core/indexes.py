"""Indexes: how keys are written on a command line, which ones there are, one more, one fewer, one hidden.

Comparing and building are `schema`'s, so that `indexes create` and `schema apply` agree. How much an
index is used is `index_usage`'s.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from motorctl.core import driver
from motorctl.core.driver import once
from motorctl.core.schema import (
    Change,
    Collection,
    Index,
    apply,
    carry_out,
    describe,
    fetch,
    fetch_server,
    plan,
    shown,
)
from motorctl.core.schema.model import INDEX_KINDS
from motorctl.core.schema.planning.commands import commands
from motorctl.errors import (
    AuthorizationError,
    DuplicateKeyError,
    MotorctlError,
    NotFoundError,
    UnreachableError,
    UsageError,
    no_collection,
)
from motorctl.near import near

if TYPE_CHECKING:
    from collections.abc import Sequence

    from motorctl.client import Database
    from motorctl.core.driver import Attempt


def parse_keys(words: Sequence[str]) -> dict[str, Any]:
    """Read `email`, `-created_at`, `name:text`, `loc:2dsphere`, `email:-1` as an index's keys, in order.

    `status,-created_at` is two. Raises UsageError for an empty field, an unknown kind or a field named twice.
    """
    keys: dict[str, Any] = {}
    for word in ",".join(words).split(",") if words else ():
        field, kind = _parse_key(word)
        if field in keys:
            raise UsageError(f"the index key {field} is given twice", field=field)
        keys[field] = kind
    if not keys:
        raise UsageError("an index needs at least one key", hint="for example: email, -created_at, name:text")
    return keys


def _parse_key(word: str) -> tuple[str, Any]:
    if word.startswith("--"):
        raise UsageError(f"{word} is no index key", hint="options go before a bare --, keys after it")
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
        raise no_collection(collection, db.name)
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

    For one that is still being built it is `create`: the server then waits for that build. Raises a plain
    error when another index has its name or its keys (that one isn't replaced), or the server can't
    have such an index.
    """
    there = (await fetch(db, {collection})).get(collection) or Collection(collection)
    desired = Collection(collection, {}, None, (wanted,))
    changes = plan({collection: there}, [desired], server=await fetch_server(db))
    change = next(one for one in changes if one.kind == "index" and one.after is not None)
    if change.action in ("rebuild", "modify"):
        existing = change.before or {}
        raise MotorctlError(
            f"index {existing.get('name')} of {collection} stands in the way: {describe(replace(change, action='drop', blockers=()))}",
            hint=f"`motorctl indexes drop {collection} {existing.get('name')}`, then create again"
            + ("" if change.blockers else "; or put it in a manifest: schema apply rebuilds it"),
            collection=collection,
            existing=existing,
            wanted=change.after,
        )
    if change.blockers:
        raise MotorctlError(
            describe(change), hint=change.blockers[0].hint, collection=collection, wanted=change.after
        )
    return change


async def create_one(
    db: Database, change: Change, *, attempt: Attempt = once, commit_quorum: int | str | None = None
) -> Change:
    """Build what `plan_one` found missing; `commit_quorum` is the server's option of that name.

    Raises DuplicateKeyError when documents share a unique key's value.
    """
    (result,) = await apply(db, [change], attempt=attempt, commit_quorum=commit_quorum)
    return _done(result)


def _done(result: Change) -> Change:
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
    if facts["code"] is None:
        return UnreachableError(
            message, hint="`motorctl indexes build` shows whether the server goes on building", **details
        )
    if facts["code"] == 13:
        return AuthorizationError(
            f"no right to change the indexes of {collection}: {message}",
            hint="the role dbAdmin on the database has it; `motorctl ping` tells who you are",
            **details,
        )
    if facts["code"] in (85, 86):
        return MotorctlError(
            f"index {name} of {collection} conflicts with one that is there: {message}",
            hint=f"`motorctl indexes list {collection}`; drop the one that is in the way first",
            **details,
        )
    deed = {"drop": "dropped", "modify": "changed"}.get(change.action, "built")
    return MotorctlError(f"index {name} of {collection} can't be {deed}: {message}", **details)


async def plan_drop(db: Database, collection: str, name: str) -> Change:
    """Find the index to drop: also one that is still being built, whose build ends then.

    Raises UsageError for `_id_`, NotFoundError when it isn't there.
    """
    if name == "_id_":
        raise UsageError(f"the index _id_ of {collection} can't be dropped", hint="every collection has it")
    try:
        index = await _find(db, collection, name)
    except NotFoundError:
        being_built = await _find_unfinished(db, collection, name)
        if being_built is None:
            raise
        index = being_built
    change = Change(collection, "index", "drop", name, index.document())
    return replace(change, commands=commands(change))


async def plan_hidden(db: Database, collection: str, name: str, *, hidden: bool) -> Change:
    """Compare whether queries see an index with whether they should: `modify`, or `keep` when it is so.

    Raises UsageError for `_id_`, NotFoundError when it isn't there, or not yet.
    """
    if name == "_id_":
        raise UsageError(
            f"the index _id_ of {collection} can't be hidden", hint="queries always see it, as do updates"
        )
    index = await _find(db, collection, name)
    others = {key: value for key, value in index.options.items() if key != "hidden"}
    wanted = replace(index, options={**others, "hidden": True} if hidden else others)
    change = Change(collection, "index", "keep", name, index.document(), wanted.document(), "in_sync")
    if index.options.get("hidden", False) == hidden:
        return change
    change = replace(change, action="modify", status="planned")
    return replace(change, commands=commands(change))


async def _find(db: Database, collection: str, name: str) -> Index:
    there = (await fetch(db, {collection})).get(collection)
    if there is None:
        raise no_collection(collection, db.name)
    for index in there.indexes:
        if index.name == name:
            return index
    raise NotFoundError(
        f"collection {collection} has no index {name}",
        hint=f"`motorctl indexes list {collection}` shows its indexes, `motorctl indexes build` those being built",
        collection=collection,
        index=name,
    )


async def _find_unfinished(db: Database, collection: str, name: str) -> Index | None:
    """Find an index that is still being built: the server lists it as if it were there."""
    listed = (Index.from_server(one) for one in await driver.list_indexes(db[collection]))
    return next((index for index in listed if index.name == name), None)


async def change_one(db: Database, change: Change, *, attempt: Attempt = once) -> Change:
    """Do what `plan_drop` or `plan_hidden` found; an index to drop may be gone already."""
    return _done(await carry_out(db, change, attempt=attempt))
