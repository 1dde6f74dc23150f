"""Which fields a query narrows by equality, which by a range, and in which order it wants them. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod
from typing import TYPE_CHECKING, Any

from motorctl.core.explain.advice.conditions import Condition, Filter, take_apart
from motorctl.core.explain.advice.leading import Foreign, Leading, foreign_of, order_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from motorctl.core.explain.query import Query

_BRANCHES = 8
"""More alternatives than these are not answered by an index each."""

_EXPLODED = 200
"""Values of `$in` up to which the server reads an index once for each: internalQueryMaxScansToExplode."""


@dataclass(frozen=True)
class Look:
    """What of a query an index can serve.

    `sort` is empty where no index can give the order; `late_sort` names the fields of a `$sort` that comes
    after a stage past which the server doesn't move it. `key` is the field of a distinct, or of a
    `$group` that gives nothing but its values; `output` the
    fields that a find returns, None for whole documents; `limited`: not all that is found is wanted.
    """

    collection: str
    filter: Filter = field(default_factory=Filter)
    sort: tuple[tuple[str, int], ...] = ()
    key: str | None = None
    output: frozenset[str] | None = None
    late_sort: tuple[str, ...] = ()
    foreign: tuple[Foreign, ...] = ()
    limited: bool = False
    collation: Mapping[str, Any] | None = None
    kind: str = "find"

    @property
    def paths(self) -> tuple[str, ...]:
        """The fields that the query tests, sorts by, or wants the values of."""
        tested = (condition.path for condition in self.filter.every())
        wanted = () if self.key is None else (self.key,)
        return tuple(dict.fromkeys((*tested, *(name for name, _ in self.sort), *wanted)))


@dataclass(frozen=True)
class Shape:
    """What one index is to serve: `equality`, then `sort`, then `ranges`, each in the query's order."""

    equality: tuple[str, ...]
    sort: tuple[tuple[str, int], ...]
    ranges: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        return not (self.equality or self.sort or self.ranges)


def look(query: Query) -> Look:
    """Read what of a query the planner sees."""
    if query.kind == "aggregate":
        front = Leading(query.pipeline)
        return Look(
            query.collection,
            front.filter,
            front.sort,
            late_sort=front.late,
            foreign=tuple(foreign_of(query.pipeline)),
            key=front.key,
            collation=query.collation,
            kind=query.kind,
            limited=front.firsts
            or any("$limit" in stage for stage in query.pipeline if isinstance(stage, dict)),
        )
    return Look(
        query.collection,
        take_apart(query.filter),
        order_of(query.sort) or (),
        query.key if query.kind == "distinct" else None,
        _output(query.projection),
        limited=bool(query.limit),
        collation=query.collation,
        kind=query.kind,
    )


def shapes(one: Look, version: tuple[int, int]) -> list[Shape]:
    """Return what indexes are to serve: one, or one for each branch of an `$or`.

    Conditions beside an `$or` join each branch: the server moves them into it.
    """
    outer = replace(one.filter, choices=())
    for branches in one.filter.choices:
        if len(branches) <= _BRANCHES and all(_has_bounds(branch) for branch in branches):
            merged = [replace(one, filter=outer & replace(branch, choices=())) for branch in branches]
            found = [_shape(single, version) for single in merged]
            if one.sort and not all(shape.equality for shape in found):
                # Branches are merged in order only when each comes in order: not all of them from end to end.
                found = [_shape(replace(single, sort=()), version) for single in merged]
            return [shape for shape in dict.fromkeys(found) if not shape.is_empty]
    return [_shape(replace(one, filter=outer), version)]


def unindexed_branches(one: Look) -> Iterator[Filter]:
    """Yield the branches of an `$or` that no index can narrow, where nothing beside the `$or` is narrowed."""
    if not narrows(replace(one.filter, choices=())):
        for branches in one.filter.choices:
            yield from (branch for branch in branches if not narrows(branch))


def narrows(one: Filter) -> bool:
    """Tell whether some index has bounds for a filter."""
    if _has_bounds(one):
        return True
    return any(all(narrows(branch) for branch in branches) for branches in one.choices)


def _has_bounds(one: Filter) -> bool:
    return any(condition.role != "none" for condition in one.conditions)


def _shape(one: Look, version: tuple[int, int]) -> Shape:
    conditions = [condition for condition in one.filter.conditions if condition.role != "none"]
    by_role: dict[str, list[str]] = {"equality": [], "in": [], "range": []}
    for condition in conditions:
        by_role[condition.role].append(condition.path)
    equality = list(dict.fromkeys(by_role["equality"]))
    # What has one value needs no range any more.
    several = [path for path in dict.fromkeys(by_role["in"]) if path not in equality]
    ranges = [path for path in dict.fromkeys(by_role["range"]) if path not in (*equality, *several)]
    # What has a limit on both sides probably leaves less.
    ranges.sort(key=lambda path: -by_role["range"].count(path))
    sort = one.sort
    if one.key is not None and one.key not in equality:
        sort = ((one.key, 1),)
    if version >= (5, 0) or all(name in equality for name, _ in sort):
        sort = tuple(pair for pair in sort if pair[0] not in equality)
    else:
        # MongoDB 4.4 wants an order as it stands, also where a field of it has one value.
        equality = [path for path in equality if path not in dict(sort)]
    if sort and not _explodes(conditions, several):
        ranges = [*several, *ranges]
    else:
        equality += [path for path in several if path not in dict(sort)]
    # A range of the order's own field counts when the order is given up.
    return Shape(tuple(equality), sort, tuple(ranges))


def _explodes(conditions: Sequence[Condition], several: Sequence[str]) -> bool:
    counts = [
        min(len(one.values) for one in conditions if one.path == path and one.role == "in")
        for path in several
    ]
    return prod(counts) <= _EXPLODED


def _output(projection: Mapping[str, Any]) -> frozenset[str] | None:
    """Return the fields that a projection keeps; None where whole documents or computed fields come out."""
    named = {name: value for name, value in projection.items() if name != "_id"}
    if not named or any(isinstance(value, str | dict | list) or value != 1 for value in named.values()):
        return None
    return frozenset(named) | (frozenset() if projection.get("_id", 1) == 0 else {"_id"})
