"""Any aggregation pipeline: checking what it would write, and running it.

Owns the knowledge of which stages write and where a pipeline can hide inside another. Changes no
stage that it was given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from motorctl.core import driver
from motorctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from motorctl.client import Database

Pipeline = list[Any]
"""Stages as they were typed: `checked` has looked at the outer ones only."""


class Write(NamedTuple):
    """A stage that writes: $out replaces a collection, $merge changes documents of one."""

    stage: str
    place: str
    target: str


def checked(value: Any) -> Pipeline:
    """Return the pipeline that a JSON value is; one stage alone is a pipeline of one.

    Raises UsageError (2) naming the stage that is none.
    """
    stages = [value] if isinstance(value, dict) else value
    if not isinstance(stages, list):
        raise UsageError("a pipeline is an array of stages", hint='[{"$match": {"status": "completed"}}]')
    for number, stage in enumerate(stages):
        if not isinstance(stage, dict) or len(stage) != 1:
            raise UsageError(
                f"stage {number} is not an object with one operator", hint='a stage: {"$limit": 5}'
            )
        (operator,) = stage
        if not operator.startswith("$"):
            raise UsageError(
                f"stage {number}: {operator!r} is not an operator", hint=f"did you mean '${operator}'?"
            )
    return stages


def writes(pipeline: Pipeline, place: str = "stage") -> Iterator[Write]:
    """Yield each stage that writes, in the pipelines inside $lookup, $facet and $unionWith too."""
    for number, stage in enumerate(pipeline):
        if not isinstance(stage, dict):
            continue
        for operator, body in stage.items():
            here = f"{place} {number}"
            if operator in ("$out", "$merge"):
                yield Write(operator, here, _target(body))
            elif operator == "$facet" and isinstance(body, dict):
                for name, inner in body.items():
                    yield from writes(inner if isinstance(inner, list) else [], f"{here} $facet.{name}")
            elif operator in ("$lookup", "$unionWith") and isinstance(body, dict):
                yield from writes(body.get("pipeline") or [], f"{here} {operator}.pipeline")


async def run(
    db: Database, collection: str, pipeline: Pipeline, *, max_time_ms: int | None = None
) -> AsyncIterator[dict[str, Any]]:
    """Yield the documents of a pipeline as they come; sorts and groups may use the server's disk."""
    options: dict[str, Any] = {"allowDiskUse": True}
    if max_time_ms is not None:
        options["maxTimeMS"] = max_time_ms
    cursor = await driver.aggregate(db[collection], pipeline, **options)
    async for document in cursor:
        yield document


def _target(body: Any) -> str:
    into = body.get("into", body) if isinstance(body, dict) else body
    if isinstance(into, dict):
        return ".".join(str(into[key]) for key in ("db", "coll") if key in into)
    return str(into)
