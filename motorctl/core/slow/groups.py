"""Operations that a server has seen, put together by what they ask. Pure."""

from __future__ import annotations

import json
import math
from array import array
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from motorctl.core.slow import shapes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from motorctl.core.explain.query import Query

Order = Literal["total", "p95", "max", "count"]


@dataclass(frozen=True)
class Operation:
    """One operation, or several that the server has counted together (`count`, then `ms` is of all).

    `continues`: a later batch of a `cursor`, whose time belongs to the query that opened it; `ends`: its last.
    Figures are None where the source has none. `plan` is the server's summary: `IXSCAN { status: 1 }`.
    """

    collection: str
    name: str
    query: Query | None
    shape: str
    ms: float
    count: int = 1
    longest: float | None = None
    keys: int | None = None
    docs: int | None = None
    returned: int | None = None
    plan: str | None = None
    at: datetime | None = None
    continues: bool = False
    cursor: int | None = None
    ends: bool = False


@dataclass
class Slow:
    """All operations of one shape on one collection. Times in milliseconds.

    `p50_ms` and `p95_ms` are nearest-rank percentiles of single operations (of a cursor, of its first
    batch); None where the source has only sums. `total_ms` counts a cursor's later batches too; of a cursor
    whose first batch isn't known they count as one operation.
    `example` is the longest of them, with its values: it is for `explain`, not to be shown unasked.
    """

    collection: str
    operation: str
    shape: str
    count: int = 0
    total_ms: float = 0
    max_ms: float = 0
    p50_ms: float | None = None
    p95_ms: float | None = None
    keys_examined: int | None = None
    docs_examined: int | None = None
    returned: int | None = None
    plan: str | None = None
    last_seen: datetime | None = None
    example: Query | None = field(default=None, repr=False)


class Groups:
    """Operations put together one by one: of each shape its sums, and a number for each operation's time."""

    def __init__(self, operations: Iterable[Operation] = ()) -> None:
        self._groups: dict[tuple[str, str, str], _Group] = {}
        self._cursors: dict[int, _Group] = {}
        for operation in operations:
            self.add(operation)

    def __len__(self) -> int:
        return len(self._groups)

    def add(self, operation: Operation) -> None:
        """Count an operation; a later batch with its query, which has the same cursor."""
        key = (operation.collection, operation.name, operation.shape)
        begun = self._cursors.get(operation.cursor) if operation.continues and operation.cursor else None
        group = begun or self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group(Slow(*key))
        if begun is not None and (begun.sums.collection, begun.sums.operation, begun.sums.shape) != key:
            # Of a view's cursor the later batches name what the view was made to: its query is the first's.
            operation = replace(operation, query=None)
        group.add(operation, is_known=begun is not None)
        if operation.cursor:
            if operation.ends:
                self._cursors.pop(operation.cursor, None)
            else:
                self._cursors[operation.cursor] = group

    def rows(self, order: Order = "total") -> list[Slow]:
        """Return the shapes, the worst by `order` first."""
        rows = [group.slow() for group in self._groups.values()]
        return sorted(rows, key=lambda row: (-_worth(row, order), row.collection, row.operation, row.shape))


class _Group:
    def __init__(self, sums: Slow) -> None:
        self.sums = sums
        self._times = array("d")
        self._has_sums = False
        self._longest_example = -1.0
        self._worst: tuple[bool, int, int, str] | None = None

    def add(self, operation: Operation, *, is_known: bool) -> None:
        sums, longest = self.sums, _longest(operation)
        sums.count += 0 if is_known else operation.count
        sums.total_ms += operation.ms
        sums.max_ms = max(sums.max_ms, longest)
        sums.keys_examined = _added(sums.keys_examined, operation.keys)
        sums.docs_examined = _added(sums.docs_examined, operation.docs)
        sums.returned = _added(sums.returned, operation.returned)
        if operation.at is not None:
            sums.last_seen = operation.at if sums.last_seen is None else max(sums.last_seen, operation.at)
        if operation.longest is not None or operation.count != 1:
            self._has_sums = True
        elif not operation.continues:
            self._times.append(operation.ms)
        if operation.query is not None and longest > self._longest_example:
            self._longest_example = longest
            sums.example = operation.query
        if operation.plan:
            # The plan that read most: one that scans the collection before any other.
            worth = ("COLLSCAN" in operation.plan, operation.docs or 0, operation.keys or 0, operation.plan)
            self._worst = worth if self._worst is None else max(self._worst, worth)

    def slow(self) -> Slow:
        single = sorted(self._times) if not self._has_sums else []
        return replace(
            self.sums,
            p50_ms=percentile(single, 50) if single else None,
            p95_ms=percentile(single, 95) if single else None,
            plan=self._worst[-1] if self._worst else None,
        )


def grouped(operations: Iterable[Operation], order: Order = "total") -> list[Slow]:
    """Put operations of one shape together, the worst by `order` first."""
    return Groups(operations).rows(order)


def _worth(row: Slow, order: Order) -> float:
    match order:
        case "total":
            return row.total_ms
        case "p95":
            return row.max_ms if row.p95_ms is None else row.p95_ms
        case "max":
            return row.max_ms
        case "count":
            return row.count


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the nearest-rank percentile of sorted values: the smallest that `percent` don't exceed."""
    return values[max(0, math.ceil(len(values) * percent / 100) - 1)]


def _longest(member: Operation) -> float:
    return member.ms if member.longest is None else member.longest


def _added(sum_: int | None, figure: int | None) -> int | None:
    return sum_ if figure is None else (sum_ or 0) + figure


def seen(
    collection: str, command: Mapping[str, Any], *, query_hash: str | None = None, **facts: Any
) -> Operation:
    """Return the operation that a server's record of a command is; `facts` are its figures.

    `query_hash`, the server's own mark of a shape, stands for the shape of a command that it has cut.
    """
    name, query = shapes.of_command(command, collection)
    shape = shapes.text(query) if query else "{}"
    if shapes.is_cut(command):
        shape = json.dumps({"queryHash": query_hash or shapes.CUT})
    return Operation(collection, name, query, shape, **facts)
