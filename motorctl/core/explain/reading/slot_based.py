"""The slot-based engine's plans (SBE, from 5.0 on): figures of one tree put into another. Pure.

`winningPlan.queryPlan` is the plan that people know, its stages numbered by `planNodeId`;
`executionStages` is the far larger tree of the engine's own small stages (nlj, project, ixseek, ...),
each with the number of the stage that it works for. A stage gave out what the topmost of its small
stages gave out, and examined what all of them read: keys by ixseek and ixscan, documents by scan, seek
and fetch. A small stage's `totalKeysExamined` and `totalDocsExamined` have those below it in them, and
aren't used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from motorctl.core.explain.reading import classic
from motorctl.core.explain.reading.part import milliseconds, number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from motorctl.core.explain.plan import Stage

READS_KEYS = frozenset({"ixseek", "ixscan", "ixscan_generic"})
FIGURES = ("usedDisk", "spills", "numSpills", "dupsDropped", "totalDataSizeSorted", "memLimit")


@dataclass
class _Figures:
    output: int | None
    ms: float | None
    keys: int | None
    docs: int | None
    details: dict[str, Any]


def tree(plan: Any, execution: Any = None) -> Stage:
    """Return the tree of a `queryPlan`, with the figures of `executionStages` where it was run."""
    root = classic.tree(plan)
    if isinstance(execution, dict):
        _fill(root, plan, _gathered(execution))
    return root


def _fill(stage: Stage, node: dict[str, Any], figures: dict[int, _Figures]) -> None:
    found = figures.get(number(node.get("planNodeId")) or 0)
    if found is not None:
        stage.output, stage.ms = found.output, found.ms
        stage.keys, stage.docs = found.keys, found.docs
        stage.details |= found.details
    for below, child in zip(stage.inputs, classic.children(node), strict=True):
        _fill(below, child, figures)


def _gathered(execution: dict[str, Any]) -> dict[int, _Figures]:
    """Return the figures by the number of the stage that they belong to."""
    gathered: dict[int, _Figures] = {}
    for node in _walk(execution):
        identity = number(node.get("planNodeId"))
        if identity is None:
            continue
        if identity not in gathered:
            # The first on the way down is the topmost: what it gave out, its stage gave out.
            gathered[identity] = _Figures(number(node.get("nReturned")), milliseconds(node), None, None, {})
        figures = gathered[identity]
        keys, docs = _read(node)
        figures.keys = _plus(figures.keys, keys)
        figures.docs = _plus(figures.docs, docs)
        for name in FIGURES:
            if node.get(name) is not None:
                figures.details[name] = _more(figures.details.get(name), node[name])
    return gathered


def _read(node: dict[str, Any]) -> tuple[int | None, int | None]:
    """Return how many keys and documents a small stage itself has read."""
    keys = number(node.get("keysExamined"))
    reads = number(node.get("numReads"))
    if str(node.get("stage")) in READS_KEYS:
        return (reads if keys is None else keys), None
    return keys, number(node.get("docsExamined")) if reads is None else reads


def _walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for value in node.values():
        for below in value if isinstance(value, list) else [value]:
            if isinstance(below, dict) and isinstance(below.get("stage"), str):
                yield from _walk(below)


def _plus(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else one + other


def _more(one: Any, other: Any) -> Any:
    """Add two figures of one stage up; of two flags, either."""
    if one is None:
        return other
    return bool(one or other) if isinstance(other, bool) else one + other
