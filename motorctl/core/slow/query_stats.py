"""What the server itself has counted by query shape: `$queryStats`, servers from 8.0 that permit it.

The shapes are the server's own, values cut out by it; they are shown as it writes them. It counts sums
and the longest, so that there are no percentiles. Source: MongoDB manual, "$queryStats (aggregation)".
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pymongo.errors import OperationFailure

from motorctl.core import driver
from motorctl.core.slow.groups import Operation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from motorctl.client import Database

_UNKNOWN = frozenset({40324, 59, 6579000, 115, 8453800})
"""Unrecognized stage, no such command, or not enabled: this server doesn't have it."""


async def read(
    db: Database, *, slower_than: float = 0, collection: str | None = None
) -> list[Operation] | None:
    """Return what has been counted of this database, or None where the server doesn't, or not for us."""
    try:
        cursor = await driver.aggregate(db.client.get_database("admin"), [{"$queryStats": {}}])
        entries = [entry async for entry in cursor]
    except OperationFailure as error:
        if error.code in _UNKNOWN or error.code == driver.UNAUTHORIZED:
            return None
        raise
    found = (operation(db.name, entry) for entry in entries)
    return [
        one
        for one in found
        if one is not None
        and (one.longest or one.ms) >= slower_than
        and (collection is None or one.collection == collection)
    ]


def operation(database: str, entry: Mapping[str, Any]) -> Operation | None:
    """Return what one entry says, or None when it is of another database. Pure."""
    shape = entry.get("key", {}).get("queryShape", {})
    namespace = shape.get("cmdNs", {})
    if namespace.get("db") != database:
        return None
    metrics = entry.get("metrics", {})
    time = metrics.get("totalExecMicros", {})
    shown = {key: value for key, value in shape.items() if key not in ("cmdNs", "command")}
    return Operation(
        str(namespace.get("coll")),
        str(shape.get("command")),
        None,
        json.dumps(shown, ensure_ascii=False, default=str),
        ms=_number(time.get("sum")) / 1000,
        longest=_number(time.get("max")) / 1000,
        count=int(_number(metrics.get("execCount"))),
        keys=_counted(metrics, "keysExamined"),
        docs=_counted(metrics, "docsExamined"),
        returned=_counted(metrics, "docsReturned"),
        at=metrics.get("latestSeenTimestamp"),
    )


def _counted(metrics: Mapping[str, Any], name: str) -> int | None:
    figure = metrics.get(name)
    if isinstance(figure, dict):
        figure = figure.get("sum")
    return None if figure is None else int(_number(figure))


def _number(value: Any) -> float:
    """Return a figure that may be any of BSON's numbers; sums are decimals there."""
    if value is None:
        return 0.0
    return float(value.to_decimal()) if hasattr(value, "to_decimal") else float(value)
