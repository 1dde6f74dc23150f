"""How large the indexes are, how often queries used them, and which of them another one makes needless.

Only reads; drops nothing and recommends nothing: what is counted is what one server has seen since it
started.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from pymongo.errors import InvalidName, OperationFailure

from motorctl.core import driver
from motorctl.core.driver import once
from motorctl.core.indexes import list_indexes
from motorctl.core.schema.compare import expand_collation, literal
from motorctl.errors import AuthorizationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from motorctl.client import Database
    from motorctl.core.driver import Attempt

_AT_ONCE = 16
"""Collections looked at at a time: enough to hide the network, too few to crowd out others."""

_UNAUTHORIZED = 13
_GONE = frozenset({26, 40280})
"""What `$collStats` answers when the collection was dropped meanwhile; the second is 4.4's."""

_HAS_A_TASK = ("unique", "prepareUnique", "expireAfterSeconds", "sparse", "partialFilterExpression")
"""Options of an index that does more, or other, than find documents: no other one takes its place."""

_PARTIAL = ("sparse", "partialFilterExpression", "hidden")
"""Options of an index that queries can't use for every document."""


@dataclass(frozen=True)
class Usage:
    """One index, and what the server that was asked has counted of it.

    `operations` counts the queries and writes that used it `since` that moment: the server's start, or
    the index's making, hiding or unhiding. None: the server doesn't count it (the key of a clustered
    collection is no index). `redundant_with` names an index that begins with all its keys.
    """

    collection: str
    name: str
    keys: Mapping[str, Any]
    options: Mapping[str, Any]
    size_bytes: int | None = None
    operations: int | None = None
    since: datetime | None = None
    redundant_with: str | None = None

    @property
    def never_used(self) -> bool:
        """Tell whether it could be used and never was; nobody asks that of `_id_`."""
        return self.operations == 0 and self.name != "_id_"

    def document(self) -> dict[str, Any]:
        """Write it for machines; `since` in ISO 8601, UTC."""
        since = None if self.since is None else self.since.astimezone(UTC).isoformat(timespec="seconds")
        return {
            "collection": self.collection,
            "name": self.name,
            "keys": dict(self.keys),
            "options": dict(self.options),
            "size_bytes": self.size_bytes,
            "operations": self.operations,
            "since": None if since is None else since.replace("+00:00", "Z"),
            "redundant_with": self.redundant_with,
        }


def sized(size: int) -> str:
    """Write a number of bytes for people: `20.5 kB`."""
    if size < 1000:
        return f"{size} bytes"
    for unit in ("kB", "MB"):
        size_in_unit = size / {"kB": 1e3, "MB": 1e6}[unit]
        if size_in_unit < 1000:
            return f"{size_in_unit:.1f} {unit}"
    return f"{size / 1e9:,.1f} GB"


async def usage(db: Database, collection: str | None = None, *, attempt: Attempt = once) -> list[Usage]:
    """List indexes with their size and use, in the order of `list_indexes`.

    In a sharded cluster what the shards say is added up, `since` the moment from which all have
    counted. Raises NotFoundError for an unknown collection, AuthorizationError without the right to
    `$indexStats`.
    """
    rows = await attempt(partial(list_indexes, db, collection))
    found = [Usage(row["collection"], row["name"], row["keys"], row["options"]) for row in rows]
    names = list(dict.fromkeys(one.collection for one in found))
    gate = asyncio.Semaphore(_AT_ONCE)

    async def look(name: str) -> list[Usage]:
        async with gate:
            try:
                sizes = await attempt(partial(_sizes, db, name))
                counted = await attempt(partial(_counted, db, name))
            except InvalidName:
                # A server takes names that the driver has no word for: `a..b`.
                sizes, counted = {}, {}
        own = (one for one in found if one.collection == name)
        return redundancy([_with_facts(one, sizes, counted.get(one.name, ())) for one in own])

    return [one for part in await asyncio.gather(*map(look, names)) for one in part]


async def _sizes(db: Database, name: str) -> dict[str, int]:
    sizes: dict[str, int] = {}
    try:
        rows = await driver.aggregate(db[name], [{"$collStats": {"storageStats": {}}}])
        async for row in rows:
            for index, size in row["storageStats"].get("indexSizes", {}).items():
                sizes[index] = sizes.get(index, 0) + int(size)
    except OperationFailure as error:
        if error.code not in _GONE:
            raise _refused(error, name) from error
    return sizes


async def _counted(db: Database, name: str) -> dict[str, list[dict[str, Any]]]:
    """Read the documents of `$indexStats` by index: one from each shard."""
    counted: dict[str, list[dict[str, Any]]] = {}
    try:
        async for row in await driver.aggregate(db[name], [{"$indexStats": {}}]):
            counted.setdefault(row["name"], []).append(row)
    except OperationFailure as error:
        raise _refused(error, name) from error
    return counted


def _refused(error: OperationFailure, name: str) -> Exception:
    if error.code != _UNAUTHORIZED:
        return error
    return AuthorizationError(
        f"no right to see how the indexes of {name} are used: {driver.refusal(error)}",
        hint="the role clusterMonitor on admin has it; `motorctl ping` tells who you are",
        collection=name,
        server_code=error.code,
    )


def _with_facts(one: Usage, sizes: Mapping[str, int], counted: Sequence[Mapping[str, Any]]) -> Usage:
    return replace(
        one,
        size_bytes=sizes.get(one.name),
        operations=sum(int(row["accesses"]["ops"]) for row in counted) if counted else None,
        since=max((row["accesses"]["since"] for row in counted), default=None),
    )


def redundancy(usages: Sequence[Usage]) -> list[Usage]:
    """Fill in `redundant_with` for the indexes of one collection: where another can do all that one does.

    Its keys stand at the beginning of the other's, in the same directions or each reversed, under the
    same collation; it is neither unique nor sparse, partial or expiring, and the other has every
    document and isn't hidden. Named is one that isn't redundant itself; of two that could
    stand in for each other, the earlier stays. Pure.
    """
    covers = {
        one.name: [other.name for other in usages if other is not one and _covers(other, one)]
        for one in usages
    }
    order = [one.name for one in usages]

    def needless(name: str) -> bool:
        return any(
            name not in covers[other] or order.index(other) < order.index(name) for other in covers[name]
        )

    return [
        replace(one, redundant_with=next((name for name in covers[one.name] if not needless(name)), None))
        if needless(one.name)
        else one
        for one in usages
    ]


def _covers(other: Usage, one: Usage) -> bool:
    if one.name == "_id_" or any(option in one.options for option in _HAS_A_TASK):
        return False
    if any(option in other.options for option in _PARTIAL):
        return False
    keys, longer = list(one.keys.items()), list(other.keys.items())
    if not all(_is_plain(name, kind) for name, kind in [*keys, *longer]):
        return False
    beginning = longer[: len(keys)]
    reverse = [(name, -kind) for name, kind in keys]
    return beginning in (keys, reverse) and _collation(one) == _collation(other)


def _is_plain(name: str, kind: Any) -> bool:
    """Tell a key that orders values from one that hashes them, or has its own kind of query."""
    return kind in (1, -1) and not isinstance(kind, bool) and "$**" not in name.split(".")


def _collation(one: Usage) -> Any:
    """Make collations comparable; an index that names none has its collection's."""
    own = one.options.get("collation")
    return "the collection's" if own is None else literal(expand_collation(own))
