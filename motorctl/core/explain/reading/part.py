"""What reading hands on: a tree and the figures of the whole of it. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from motorctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from motorctl.core.explain.plan import Stage


class NotExplainError(UsageError):
    """A document isn't what a server answers to `explain`."""

    code = "not_explain"

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"not an explain document: {reason}",
            hint="save the whole answer of explain as JSON: EJSON.stringify(db.orders.find().explain('executionStats'))",
        )


@dataclass
class Part:
    """A tree with the totals that the server gave for it, or that its stages add up to."""

    root: Stage
    namespace: str = ""
    executed: bool = False
    returned: int | None = None
    keys: int | None = None
    docs: int | None = None
    ms: float | None = None
    rejected: int = 0
    engine: Literal["classic", "sbe"] | None = None
    failure: str | None = None
    failure_code: int | None = None
    shards: list[str] = field(default_factory=list)
    merged_on: str | None = None


def number(value: Any) -> int | None:
    """Return a figure as an int: the types of Extended JSON, and a Long as JavaScript's JSON writes it."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return int(value) if math.isfinite(value) else None
    if isinstance(value, dict):
        low, high = value.get("low"), value.get("high")
        if isinstance(low, int) and isinstance(high, int):
            return (high << 32) + (low & 0xFFFFFFFF)
    return None


def added(figures: Iterable[int | None]) -> int | None:
    """Add up the figures that are known; None when none is."""
    known = [figure for figure in figures if figure is not None]
    return sum(known) if known else None


def listed(value: Any) -> list[Any]:
    """Return a value that should be a list; none where it is something else."""
    return value if isinstance(value, list) else []


def document(value: Any, name: str) -> dict[str, Any]:
    """Return a value that has to be a document. Raises NotExplainError, naming it."""
    if not isinstance(value, dict):
        raise NotExplainError(f"{name} is not an object")
    return value


def milliseconds(node: Mapping[str, Any]) -> float | None:
    """Return a stage's time, of it and of what is below it, by the finest clock that the server shows."""
    for name, unit in (("executionTimeNanos", 1e6), ("executionTimeMicros", 1e3)):
        if (fine := number(node.get(name))) is not None:
            return fine / unit
    coarse = number(node.get("executionTimeMillisEstimate", node.get("executionTimeMillis")))
    return None if coarse is None else float(coarse)
