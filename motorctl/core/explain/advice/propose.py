"""The index that would serve a shape: equality, then sort, then range. Pure.

MongoDB's manual calls it "The ESR (Equality, Sort, Range) Guideline"; its other page, "Multikey Index
Bounds", says which fields of an array one index can't answer together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from motorctl.core.explain.advice.conditions import NEAREST, is_regex
from motorctl.core.explain.advice.model import Facts, Proposal
from motorctl.core.explain.advice.shape import Look, Shape, shapes
from motorctl.core.explain.advice.wording import listed
from motorctl.core.schema.compare import expand_collation
from motorctl.core.schema.model import default_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from motorctl.core.explain.advice.conditions import Condition, Filter
    from motorctl.core.schema.model import Index

_RANGES = 2
"""Ranges that come into an index: the first has bounds, the next is tested on the keys. More cost more than they save."""

_KEYS = 6

_LIMITED = frozenset({"sparse", "partialFilterExpression"})
"""Options of an index that doesn't hold all documents."""

_SELECTIVE = 20
"""A range that leaves one document in so many comes before the order that would have all keys read."""


def adjusted(one: Look, facts: Facts) -> Look:
    """Take from conditions what the server at hand, or arrays in the data, take from an index.

    Before 5.0 `$expr` has bounds for equality alone, and never for a field with arrays.
    """
    if one.key is not None and one.kind == "aggregate" and facts.arrays(one.key):
        # A $group takes an array as one value, an index its elements.
        one = replace(one, key=None)
    one = replace(one, filter=_adjusted(one.filter, facts))
    if expand_collation(one.collation or facts.collation) is None:
        return one
    texts = [condition for condition in one.filter.every() if condition.role != "none" and condition.has_text]
    if one.sort or any(not all(map(is_regex, condition.values)) for condition in texts):
        return replace(one, filter=_without_patterns(one.filter))
    return one


def wanted_collation(one: Look, facts: Facts) -> dict[str, Any] | None:
    """Return the collation of the index that serves an adjusted query; None for the simple one.

    Patterns are matched by bytes whatever is asked for, and looked up in an index without a collation alone.
    """
    if any(condition.has_pattern and condition.role != "none" for condition in one.filter.every()):
        return None
    return expand_collation(one.collation or facts.collation)


def _without_patterns(one: Filter) -> Filter:
    """Take the bounds from regular expressions: an index with a collation has none for them."""
    return replace(
        one,
        conditions=tuple(
            replace(condition, role="none", why="regex_collation")
            if condition.has_pattern and condition.role != "none"
            else condition
            for condition in one.conditions
        ),
        choices=tuple(tuple(map(_without_patterns, branches)) for branches in one.choices),
    )


def with_negations(one: Look, facts: Facts) -> Look:
    """Give bounds to negations: the two sides of what is left out. For a query of which few documents are left.

    What arrays hold beside the value has none.
    """
    return replace(
        one,
        filter=replace(
            one.filter,
            conditions=tuple(
                replace(condition, role="range", why=None)
                if _is_invertible(condition) and not facts.arrays(condition.path)
                else condition
                for condition in one.filter.conditions
            ),
        ),
    )


def _is_invertible(condition: Condition) -> bool:
    if condition.why != "negation" or condition.element is not None:
        return False
    value = condition.value
    if condition.operator == "$not":
        if not isinstance(value, Mapping) or not set(value) <= {"$eq", "$gt", "$gte", "$lt", "$lte"}:
            return False
        values = list(value.values())
    else:
        values = condition.values
    return not any(isinstance(one, list | dict) or is_regex(one) for one in values)


def _adjusted(one: Filter, facts: Facts) -> Filter:
    return replace(
        one,
        conditions=tuple(_without_bounds(condition, facts) for condition in one.conditions),
        choices=tuple(tuple(_adjusted(branch, facts) for branch in branches) for branches in one.choices),
    )


def _without_bounds(condition: Condition, facts: Facts) -> Condition:
    if condition.expression and facts.version < (5, 0) and condition.operator != "$eq":
        return replace(condition, role="none", why="expr_version")
    if condition.expression and facts.arrays(condition.path):
        return replace(condition, role="none", why="expr_array")
    return condition


def propose(
    one: Look, indexes: Sequence[Index], facts: Facts, *, left: float | None = None
) -> list[tuple[Proposal, Shape]]:
    """Return the indexes that would serve a query, each with the shape that it serves.

    `left` is the share of the documents that the filter leaves, where that is known. A query by `_id`
    needs none.
    """
    if any(condition.operator in NEAREST for condition in one.filter.every()) or "$text" in one.filter.opaque:
        return []
    found: dict[tuple[Any, ...], tuple[Proposal, Shape]] = {}
    for shape in shapes(one, facts.version):
        if "_id" in shape.equality:
            continue
        reachable = _reachable(shape, one, facts)
        if facts.kind == "timeseries":
            reachable = _of_series(reachable, facts)
        keys = _keys(reachable, indexes, left=0.0 if one.key else left)
        if not keys or list(keys) == ["_id"]:
            continue
        proposal = apart(Proposal(one.collection, keys, _options(one, facts)), indexes, facts)
        found.setdefault(tuple(keys.items()), (proposal, reachable))
    return list(found.values())


def _options(one: Look, facts: Facts) -> dict[str, Any]:
    """Return the collation that the index must have: the collection's it takes by itself."""
    wanted, own = wanted_collation(one, facts), expand_collation(facts.collation)
    if wanted == own:
        return {}
    return {"collation": dict(one.collation) if wanted and one.collation else {"locale": "simple"}}


def apart(proposal: Proposal, indexes: Sequence[Index], facts: Facts) -> Proposal:
    """Tell it apart from an index with its keys that holds less: by a name, and for MongoDB 4.4 by a key more."""
    same = [index for index in indexes if list(index.keys.items()) == list(proposal.keys.items())]
    if any(_LIMITED & set(index.options) for index in same) and facts.version < (5, 0):
        # There keys and collation are all that tells two indexes apart.
        proposal = replace(proposal, keys={**proposal.keys, "_id": 1})
    taken = {index.resolved_name for index in indexes}
    usual = default_name(proposal.keys)
    if usual not in taken:
        return proposal
    locale = proposal.options.get("collation", {}).get("locale", "all")
    candidates = (f"{usual}_{locale}{number}" for number in ("", *range(2, 66)))
    return replace(proposal, name=next(name for name in candidates if name not in taken))


def _keys(shape: Shape, indexes: Sequence[Index], *, left: float | None) -> dict[str, Any]:
    ranges = shape.ranges[:_RANGES]
    sort = shape.sort
    if sort and ranges and not shape.equality and left is not None and left * _SELECTIVE <= 1:
        names, sort = (*ranges, *(name for name, _ in sort)), ()
        return dict.fromkeys(names[:_KEYS], 1)
    keys: dict[str, Any] = dict.fromkeys(_like_another(shape.equality, indexes), 1)
    keys |= dict(sort)
    keys |= {name: 1 for name in ranges if name not in keys}
    keys = dict(list(keys.items())[: max(_KEYS, len(shape.equality) + len(sort))])
    # The server reads one key either way.
    return dict.fromkeys(keys, 1) if len(keys) == 1 else keys


def _like_another(equality: tuple[str, ...], indexes: Sequence[Index]) -> list[str]:
    """Order fields so that the new index begins as an existing one that it can then replace."""
    best: list[str] = []
    for index in indexes:
        names = list(index.keys)
        # The order among them is free, and another one's is as good as any.
        if set(names) <= set(equality) and len(names) > len(best) and set(index.keys.values()) <= {1}:
            best = names
    return [*best, *(name for name in equality if name not in best)]


def _reachable(shape: Shape, one: Look, facts: Facts) -> Shape:
    """Leave out what one index can't hold or narrow together, as far as arrays are known.

    No index has two arrays side by side; of the fields of one array only those in the same `$elemMatch`
    narrow together; an order by an array's field is given only where nothing of that array is narrowed.
    """
    kept: list[str] = []
    tested = set(shape.equality) | set(shape.ranges)
    sort = [pair for pair in shape.sort if not _spoilt(pair[0], one, facts)]
    if len(sort) < len(shape.sort):
        sort = []
    arrays: set[str] = set()
    order = dict(sort)
    for name in (*shape.equality, *order, *shape.ranges):
        own = facts.arrays(name)
        if own and arrays and not _together(name, own, kept, one, facts, sorting=name not in tested):
            continue
        arrays |= own
        kept.append(name)
    if any(name not in kept for name in order):
        order = {}
    return Shape(
        tuple(name for name in shape.equality if name in kept),
        tuple(order.items()),
        tuple(name for name in shape.ranges if name in kept and name not in order),
    )


def _spoilt(name: str, one: Look, facts: Facts) -> bool:
    """Tell whether an order by a field is lost because something of the same array is narrowed."""
    own = facts.arrays(name)
    return bool(own) and any(
        own & facts.arrays(condition.path) for condition in one.filter.every() if condition.role != "none"
    )


def _together(
    name: str, own: frozenset[str], kept: Sequence[str], one: Look, facts: Facts, *, sorting: bool
) -> bool:
    for other in kept:
        theirs = facts.arrays(other)
        if not theirs:
            continue
        if not own & theirs or sorting:
            return False
        elements = _elements(name, one) & _elements(other, one)
        if not elements & own:
            return False
    return True


def _elements(name: str, one: Look) -> set[str]:
    return {condition.element for condition in one.filter.of(name) if condition.element is not None}


def _of_series(shape: Shape, facts: Facts) -> Shape:
    """Keep the fields by which a time series finds its buckets. Its order is another matter."""
    names = [facts.series.get("metaField"), facts.series.get("timeField")]

    def is_kept(name: str) -> bool:
        return any(one and (name == one or name.startswith(f"{one}.")) for one in names)

    return Shape(tuple(filter(is_kept, shape.equality)), (), tuple(filter(is_kept, shape.ranges)))


def describe(keys: Mapping[str, Any], shape: Shape, distinct: str | None = None) -> str:
    """Say what each part of an index is for: `equality on status, then the order of created_at`."""
    roles = {
        "equality on": [name for name in keys if name in shape.equality],
        "the values of" if distinct else "the order of": [name for name in keys if name in dict(shape.sort)],
        "the range of": [name for name in keys if name in shape.ranges],
    }
    parts = [f"{word} {listed(names)}" for word, names in roles.items() if names]
    if shape.sort and next(iter(keys)) in shape.ranges:
        parts.reverse()
    return ", then ".join(parts)
