"""The classic engine's trees: `stage` with `inputStage` or `inputStages`, with or without figures. Pure.

Both trees look alike: `winningPlan` has what was planned, `executionStages` the same with figures. The
`queryPlan` of the slot-based engine is written in the same words.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from motorctl.core.explain.plan import Stage
from motorctl.core.explain.reading.part import NotExplainError, document, milliseconds, number

if TYPE_CHECKING:
    from collections.abc import Mapping

SHOWN = (
    "direction",
    "isMultiKey",
    "multiKeyPaths",
    "isPartial",
    "isSparse",
    "collation",
    "sortPattern",
    "limitAmount",
    "skipAmount",
    "usedDisk",
    "spills",
    "memLimit",
    "totalDataSizeSorted",
    "totalDataSizeSortedBytesEstimate",
    "nCounted",
    "nSkipped",
    "dupsDropped",
    "docsRejected",
    "chunkSkips",
    "failed",
    "minRecord",
    "maxRecord",
    "clusteredIndex",
    "isFetching",
    "isShardFiltering",
    "projectionCovered",
    "indexPrefix",
    "parsedTextQuery",
    "foreignCollection",
    "localField",
    "foreignField",
    "asField",
    "strategy",
    "scanDirection",
    "indexKeyPattern",
    "nMatched",
    "nWouldModify",
    "nWouldUpsert",
    "nWouldDelete",
)
"""Fields of a stage that say something to a reader, and to advice; the others are the executor's own."""

_CHILDREN = ("inputStage", "inputStages", "outerStage", "innerStage", "thenStage", "elseStage")
_PAIR = re.compile(r"\s*(?P<name>.+?)\s*:\s*(?P<direction>-?\d+(?:\.\d+)?|\"[^\"]*\"|'[^']*')\s*(?:,|$)")


def tree(node: Any) -> Stage:
    """Return the tree of a `winningPlan`, a `queryPlan` or of `executionStages`."""
    node = document(node, "a stage")
    if not isinstance(node.get("stage"), str):
        raise NotExplainError("a stage has no name")
    return Stage(
        node["stage"],
        [tree(child) for child in children(node)],
        output=number(node.get("nReturned")),
        keys=number(node.get("keysExamined")),
        docs=number(node.get("docsExamined")),
        ms=milliseconds(node),
        index=_text(node.get("indexName")),
        pattern=pattern(node.get("keyPattern", node.get("indexKeyPattern"))),
        bounds=node["indexBounds"] if isinstance(node.get("indexBounds"), dict) else None,
        # An empty filter is the planner's way to say that there is none.
        filter=node.get("filter") or None,
        details=details(node),
    )


def children(node: Mapping[str, Any]) -> list[Any]:
    """Return the stages right below a stage, in the server's order."""
    found: list[Any] = []
    for name in _CHILDREN:
        below = node.get(name)
        if isinstance(below, list):
            found += below
        elif below is not None:
            found.append(below)
    return found


def details(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return what else of a stage is worth keeping, under the server's names."""
    return {name: node[name] for name in SHOWN if node.get(name) is not None}


def pattern(value: Any) -> dict[str, Any] | None:
    """Return an index's keys. EXPRESS_IXSCAN of 8.0 writes them as a text: `{ a: 1, b: -1 }`."""
    if isinstance(value, dict):
        return value
    if not isinstance(value, str):
        return None
    keys: dict[str, Any] = {}
    inside = value.strip().removeprefix("{").removesuffix("}").strip()
    for pair in _PAIR.finditer(inside):
        text = pair["direction"].strip("'\"")
        name = pair["name"].strip("'\"")
        keys[name] = int(float(text)) if re.fullmatch(r"-?\d+(\.\d+)?", text) else text
    return keys or None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
