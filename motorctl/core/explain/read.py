"""Reading a server's explain document: `read(document) -> Plan`. Pure.

Owns which of the document's forms it is and what is said of the whole; the forms are in `reading`.
Sources: the manual's "Explain Results" (4.4 to 8.0), and answers of servers, kept in tests/plans.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from motorctl.core.explain import verdict
from motorctl.core.explain.plan import Plan
from motorctl.core.explain.reading import pipeline, planner, sharded
from motorctl.core.explain.reading.part import NotExplainError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from motorctl.core.explain.reading.part import Part

DEPTH = 200
"""How deep a document may be: servers nest no further than 200 levels of BSON."""


def read(document: Mapping[str, Any]) -> Plan:
    """Return the winning plan of an explain document, of any server from 4.4 on.

    Raises NotExplainError (a UsageError) for a document that is none.
    """
    try:
        part = _part(document)
    except RecursionError:
        raise NotExplainError("it is nested too deeply") from None
    root = part.root
    return Plan(
        root,
        verdict.verdict(root),
        part.namespace,
        part.executed,
        indexes=verdict.indexes(root),
        returned=part.returned,
        keys_examined=part.keys,
        docs_examined=part.docs,
        ms=part.ms,
        in_memory_sort=bool(verdict.sorts(root)),
        rejected_plans=part.rejected,
        engine=part.engine,
        server_version=_version(document),
        failure=part.failure,
        failure_code=part.failure_code,
        shards=part.shards,
        merged_on=part.merged_on,
    )


def _part(document: Mapping[str, Any]) -> Part:
    if "queryPlanner" in document:
        return planner.read(document)
    if "stages" in document:
        return pipeline.read(document["stages"], _part)
    if "shards" in document:
        return sharded.read(document, _part)
    raise NotExplainError("it has neither queryPlanner nor stages nor shards")


def _version(node: Any, depth: int = 0) -> str | None:
    """Return the version of the server that answered, or of the first shard that says it."""
    if depth > DEPTH or not isinstance(node, dict | list):
        return None
    if isinstance(node, dict):
        info = node.get("serverInfo")
        if isinstance(info, dict) and isinstance(info.get("version"), str):
            return str(info["version"])
    values = node.values() if isinstance(node, dict) else node
    return next((found for value in values if (found := _version(value, depth + 1))), None)
