"""Asks the server for what a judgement needs beside the plan. Reads only; nothing of the query is run.

A sample tells of types and arrays, a plan for each index in question what the server would make of it. What it
refuses to tell, or doesn't tell in time, is left out.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pymongo.errors import OperationFailure

from motorctl.core import driver
from motorctl.core.explain import ask, read
from motorctl.core.explain.advice.conditions import is_field
from motorctl.core.explain.advice.model import TINY, Facts, Types
from motorctl.core.explain.advice.need import need
from motorctl.core.explain.advice.propose import adjusted
from motorctl.core.explain.advice.shape import Look, look
from motorctl.core.explain.query import Query
from motorctl.core.schema import fetch, fetch_server

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from motorctl.client import Database
    from motorctl.core.explain.plan import Plan
    from motorctl.core.schema import Collection, Index

_SAMPLE = 500
_ELEMENTS = 50
_MILLISECONDS = 2_000
_HELD = 8
"""Indexes at most for which the server is asked what it would make of them."""

_VIEWS = 20
"""Views upon views that a server takes."""


@dataclass(frozen=True)
class Asked:
    """The query as it is of a collection (not a view), that collection's indexes, and facts."""

    query: Query
    indexes: tuple[Index, ...]
    facts: Facts


async def facts_of(db: Database, query: Query, plan: Plan) -> Asked:
    """Ask for all that `judge` needs. Raises the driver's error when the indexes can't be listed."""
    query, found = await _below_views(db, query)
    if found is None:
        return Asked(query, (), Facts(kind="absent"))
    one = look(query)
    server = await fetch_server(db)
    series = found.options.get("timeseries") or {}
    known = Facts(
        kind="timeseries" if series else "collection",
        collation=found.options.get("collation"),
        version=server.version,
        series=series,
    )
    sampled, types = await _types(db, one)
    known = replace(known, sampled=sampled, types=types, documents=await _documents(db, query.collection))
    if not need(plan, adjusted(one, known)).is_none:
        known = replace(known, hinted=await _held(db, query, one, plan, found.indexes))
    return Asked(query, found.indexes, replace(known, foreign=await _foreign(db, one)))


async def _below_views(db: Database, query: Query) -> tuple[Query, Collection | None]:
    """Return the query as the server has it below views: of their collection, with their pipelines ahead."""
    for _ in range(_VIEWS):
        found = (await fetch(db, {query.collection})).get(query.collection)
        if found is None or not found.is_view:
            return query, found
        collation = found.options.get("collation")
        query = replace(
            as_pipeline(query),
            collection=found.options["viewOn"],
            pipeline=[*found.options.get("pipeline", ()), *as_pipeline(query).pipeline],
            collation=query.collation or collation,
        )
    return query, None


def as_pipeline(query: Query) -> Query:
    """Write a query as the aggregation that does the same."""
    if query.kind == "aggregate":
        return query
    stages: list[tuple[str, Any]] = [
        ("$match", query.filter),
        ("$sort", query.sort),
        ("$skip", query.skip),
        ("$limit", query.limit),
        ("$project", query.projection),
    ]
    pipeline: list[dict[str, Any]] = [{name: value} for name, value in stages if value]
    if query.kind == "count":
        pipeline.append({"$count": "n"})
    elif query.kind == "distinct":
        pipeline.append({"$group": {"_id": f"${query.key}"}})
    return Query("aggregate", query.collection, pipeline=pipeline, collation=query.collation, let=query.let)


async def _types(db: Database, one: Look) -> tuple[int, dict[str, Types]]:
    """Look which types, and which arrays, a sample has at the fields that the query speaks of."""
    named = (*one.paths, *((one.key,) if one.key else ()), *sorted(one.output or ()))
    paths = [path for path in dict.fromkeys(named) if is_field(path)]
    if not paths:
        return 0, {}
    stages: list[dict[str, Any]] = [
        {"$sample": {"size": _SAMPLE}},
        {"$project": {"_id": 0, **{f"f{n}": _asked_of(path) for n, path in enumerate(paths)}}},
    ]
    rows: list[dict[str, Any]] = []
    try:
        cursor = await driver.aggregate(
            db[one.collection], stages, maxTimeMS=_MILLISECONDS, allowDiskUse=True
        )
        rows = [row async for row in cursor]
    except OperationFailure:
        # Too slow, too large to sort, or not permitted: then nothing is known.
        return 0, {}
    return len(rows), {path: _counted(path, [row[f"f{n}"] for row in rows]) for n, path in enumerate(paths)}


def _asked_of(path: str) -> dict[str, Any]:
    value = f"${path}"
    elements = {"$map": {"input": {"$slice": [value, _ELEMENTS]}, "in": {"$type": "$$this"}}}
    return {
        "type": {"$type": value},
        "elements": {"$cond": [{"$isArray": value}, {"$setUnion": [elements, []]}, []]},
        "arrays": [{"$isArray": f"${prefix}"} for prefix in _prefixes(path)],
    }


def _prefixes(path: str) -> list[str]:
    parts = path.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _counted(path: str, rows: Iterable[Mapping[str, Any]]) -> Types:
    counts: dict[str, int] = {}
    arrays: set[str] = set()
    prefixes = _prefixes(path)
    for row in rows:
        held = {row["type"], *row["elements"]} - {"missing"}
        first = next(
            (prefix for prefix, is_array in zip(prefixes, row["arrays"], strict=True) if is_array), None
        )
        if first is not None:
            # Below an array the expression gives an array of what the elements have.
            arrays.add(first)
            if first != path:
                held.discard("array")
            if "array" in row["elements"]:
                arrays.add(path)
                held.add("array")
        for name in held:
            counts[name] = counts.get(name, 0) + 1
    return Types(counts, frozenset(arrays))


async def _documents(db: Database, name: str) -> int | None:
    try:
        return int(await db[name].estimated_document_count(maxTimeMS=_MILLISECONDS))
    except OperationFailure:
        return None


async def _held(
    db: Database, query: Query, one: Look, plan: Plan, indexes: Iterable[Index]
) -> dict[str, Plan | None]:
    """Ask what the server makes of the query when it is held to an index, for those that look as if they were for it."""
    wanted = [
        index.resolved_name
        for index in indexes
        if index.resolved_name not in plan.indexes
        and not index.options.get("hidden")
        and (index.is_wildcard or any(path in index.keys for path in one.paths))
    ][:_HELD]
    plans = await asyncio.gather(*(_plan_by(db, query, name) for name in wanted))
    return dict(zip(wanted, plans, strict=True))


async def _plan_by(db: Database, query: Query, name: str) -> Plan | None:
    held = replace(query, hint=name)
    if query.kind == "distinct":
        # Before 7.1 it takes no hint.
        held = Query("find", query.collection, query.filter, hint=name, collation=query.collation)
    try:
        return read.read(await ask.explain(db, held, verbosity="queryPlanner"))
    except OperationFailure:
        return None


async def _foreign(db: Database, one: Look) -> dict[str, tuple[Index, ...]]:
    """List the indexes of the collections that a pipeline looks into; a view, or one with next to nothing in it, has no say."""
    names = {join.collection for join in one.foreign}
    if not names:
        return {}
    try:
        there = await fetch(db, names)
    except OperationFailure:
        return {}
    own = [found for found in there.values() if not found.is_view and "timeseries" not in found.options]
    counts = await asyncio.gather(*(_documents(db, found.name) for found in own))
    return {
        found.name: found.indexes
        for found, count in zip(own, counts, strict=True)
        if count is None or count >= TINY
    }
