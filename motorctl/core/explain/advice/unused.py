"""Why an index that is there doesn't serve a query. Pure.

What the server itself shows when it is held to an index goes first: where that has bounds, none of
these reasons is given. A reason names what would have to be otherwise.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from motorctl.core.explain.advice import wording
from motorctl.core.explain.advice.implication import implies
from motorctl.core.explain.advice.model import Facts, Sentence
from motorctl.core.explain.advice.propose import wanted_collation
from motorctl.core.explain.advice.unlooked import of_condition
from motorctl.core.schema.compare import expand_collation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from motorctl.core.explain.advice.conditions import Condition
    from motorctl.core.explain.advice.shape import Look
    from motorctl.core.explain.plan import Plan
    from motorctl.core.explain.query import Query
    from motorctl.core.schema.model import Index

_FULL = (["[MinKey, MaxKey]"], ["[MaxKey, MinKey]"])


@dataclass(frozen=True)
class Case:
    """One index beside one query."""

    query: Query
    look: Look
    index: Index
    facts: Facts
    plan: Plan
    sorts: bool

    @property
    def name(self) -> str:
        return self.index.resolved_name

    @property
    def keys(self) -> list[str]:
        return list(self.index.keys)

    @property
    def is_used(self) -> bool:
        return self.name in self.plan.indexes

    @property
    def about_first(self) -> list[Condition]:
        """The conditions on the first key, in the branches of an `$or` too."""
        return [condition for condition in self.look.filter.every() if condition.path == self.keys[0]]

    @property
    def order(self) -> tuple[tuple[str, int], ...]:
        return self.look.sort

    def collation(self) -> dict[str, Any] | None:
        return expand_collation(self.index.options.get("collation", self.facts.collation))

    def asked_collation(self) -> dict[str, Any] | None:
        return wanted_collation(self.look, self.facts)

    @property
    def compares_otherwise(self) -> bool:
        """Tell whether its collation keeps it from what its keys are for."""
        if self.collation() == self.asked_collation():
            return False
        about = (one for one in self.look.filter.every() if one.path in self.index.keys)
        return (self.sorts and bool(self.order)) or any(one.has_text and one.role != "none" for one in about)


def why(case: Case, *, best: bool = False) -> Sentence | None:
    """Return the reason why an index isn't used, or isn't used well; None when none is known for sure.

    `best`: its keys are the ones that the query wants.
    """
    if not _concerns(case):
        return None
    if case.is_used:
        reasons = (
            (_array_bounds, _array_order)
            if best and not (case.compares_otherwise or misses(case))
            else _OF_A_USED_ONE
        )
    elif serves(case.facts.hinted.get(case.name), case):
        reasons = (_hinted, _not_chosen) if best else (_hinted,)
    else:
        reasons = _OF_AN_UNUSED_ONE
    return next((sentence for reason in reasons if (sentence := reason(case)) is not None), None)


def serves(held: Plan | None, case: Case) -> bool:
    """Tell whether the plan in which the server is held to an index has bounds, or the wanted order."""
    if held is None or _hides(case):
        return False
    scans = [stage for stage in held.root.walk() if stage.bounds]
    firsts = [next(iter(stage.bounds.values())) for stage in scans if stage.bounds]
    bounded = any(list(first) not in _FULL for first in firsts)
    ordered = bool(case.order) and not any(stage.kind in ("SORT", "sort") for stage in held.root.walk())
    complete = not {"sparse", "partialFilterExpression"} & set(case.index.options)
    return bounded or (ordered and complete)


def _concerns(case: Case) -> bool:
    """Tell whether an index looks as if it were for this query."""
    if case.index.is_wildcard or case.index.is_text:
        return any(_within(path, case) for path in case.look.paths)
    return any(path in case.index.keys for path in case.look.paths)


def _within(path: str, case: Case) -> bool:
    if case.index.is_text:
        return case.index.keys.get(path) == "text"
    roots = [name.removesuffix("$**").rstrip(".") for name in case.keys if name.endswith("$**")]
    return any(not root or path == root or path.startswith(f"{root}.") for root in roots)


def _hides(case: Case) -> bool:
    return bool(case.index.options.get("hidden"))


def _hidden(case: Case) -> Sentence | None:
    if not _hides(case) or not _would_begin(case):
        return None
    return asleep(case.look.collection, case.name)


def _hinted(case: Case) -> Sentence | None:
    hint = case.query.hint
    held = hint in (case.name, case.index.keys)
    if not hint or held or not _would_begin(case):
        return None
    if isinstance(hint, dict) and "$natural" in hint:
        text = f"the hint $natural has the whole collection read: {case.name} isn't considered"
    else:
        text = f"the hint holds the query to another index: {case.name} isn't considered"
    return Sentence("hint", text, case.name)


def _not_chosen(case: Case) -> Sentence | None:
    other = wording.listed(case.plan.indexes) if case.plan.indexes else "reading the whole collection"
    text = (
        f"index {case.name} could serve it, and the server chose {other}: by trial, or by a plan that it "
        "remembers; --hint has it take this one"
    )
    return Sentence("not_chosen", text, case.name)


def _other_kind(case: Case) -> Sentence | None:
    kind = case.index.keys[case.keys[0]]
    first = case.keys[0]
    if case.index.is_text:
        field = next(path for path in case.look.paths if _within(path, case))
        text = f"index {case.name} is a text index: only $text uses it, and the query tests {field} itself"
        return Sentence("text_only", text, case.name)
    if kind in ("2dsphere", "2d"):
        text = f"index {case.name} begins with {first} as {kind}: only queries for places use it"
        return Sentence("geo_only", text, case.name)
    if kind == "hashed" and not any(condition.role in ("equality", "in") for condition in case.about_first):
        text = f"index {case.name} holds hashes of {first}: it serves equality, no range and no order"
        return Sentence("hashed", text, case.name)
    return None


def _wildcard(case: Case) -> Sentence | None:
    if not case.index.is_wildcard:
        return None
    nulls = [one for one in case.look.filter.every() if _within(one.path, case) and _is_null(one)]
    if nulls:
        text = f"a wildcard index has no entry for a field that is missing: it can't find {nulls[0].path} as null"
    elif not case.look.filter.conditions and case.order:
        text = "a wildcard index gives an order only by a field that the query narrows, too"
    elif len(case.order) > 1:
        text = "a wildcard index gives no order of several fields"
    else:
        return None
    return Sentence("wildcard", f"{case.name}: {text}", case.name)


def _beginning(case: Case) -> Sentence | None:
    first = case.keys[0]
    if case.index.is_wildcard or first in case.look.paths:
        return None
    later = next((name for name in case.keys[1:] if name in case.look.paths), None)
    if later is None:
        return None
    text = f"index {case.name} begins with {first}, of which the query asks nothing: {later} behind it can't be looked up"
    return Sentence("prefix", text, case.name)


def _partial(case: Case) -> Sentence | None:
    expression = case.index.options.get("partialFilterExpression")
    if expression is None:
        return None
    collated = case.collation() is not None or case.asked_collation() is not None
    if implies(case.look.filter, expression, collated=collated) is not False:
        return None
    text = (
        f"index {case.name} holds only documents with {wording.shown(expression)}, and the query doesn't ask "
        "for that: it would miss the others"
    )
    return Sentence("partial", text, case.name)


def _is_null(condition: Condition) -> bool:
    if condition.operator == "$exists":
        return not condition.value
    return condition.operator in ("$eq", "$in") and None in condition.values


def misses(case: Case) -> Sentence | None:
    """Say that a query which is held to a sparse index gets too little, if it does."""
    return _sparse(case) if case.is_used and case.query.hint else None


def _sparse(case: Case) -> Sentence | None:
    if not case.index.options.get("sparse"):
        return None
    null = next(
        (one.path for one in case.look.filter.every() if one.path in case.index.keys and _is_null(one)), None
    )
    if null is not None:
        text = (
            f"index {case.name} is sparse: documents without {null}, for which the query asks, aren't in it"
        )
    elif not case.look.filter.conditions and not case.look.filter.choices and case.order:
        text = f"index {case.name} is sparse: an order by it would leave documents out"
    else:
        return None
    return Sentence("sparse", text, case.name)


def _collation(case: Case) -> Sentence | None:
    own, asked = case.collation(), case.asked_collation()
    if own == asked:
        return None
    about = case.about_first
    if case.is_used:
        about = [one for one in case.look.filter.every() if one.path in case.index.keys]
    compared = [one for one in about if one.role != "none" and one.has_text]
    sorts_by_it = case.sorts and case.order and case.order[0][0] in case.index.keys
    if not compared and not sorts_by_it:
        return None
    what = f"look up strings of {compared[0].path}" if compared else f"give the order of {case.order[0][0]}"
    if compared and compared[0].has_pattern:
        text = (
            f"index {case.name} has the collation {(own or {}).get('locale')}: a regular expression is looked up in an "
            "index without one alone"
        )
        return Sentence("collation", text, case.name)
    text = (
        f"index {case.name} compares strings by {wording.collation(own)}, the query by {wording.collation(asked)}: "
        f"the one can't {what} for the other; ask with the index's collation, or build one with the query's"
    )
    return Sentence("collation", text, case.name)


def _no_bounds(case: Case) -> Sentence | None:
    """Say why none of the conditions on the first key can be looked up."""
    about = case.about_first
    if not about or any(condition.role != "none" for condition in about):
        return None
    if case.order and case.order[0][0] == case.keys[0] and not case.sorts:
        return None
    return of_condition(about[0], case.name)


def _order_to_give(case: Case) -> tuple[list[tuple[str, int]], set[str]]:
    """Return the order that an index with its fields could give, and the fields of one value; no order: nothing to give."""
    constant = {one.path for one in case.look.filter.conditions if one.role == "equality"}
    order = [pair for pair in case.order if pair[0] not in constant]
    if not case.sorts or case.index.is_wildcard or case.index.is_text:
        return [], constant
    return (order if {name for name, _ in order} <= set(case.keys) else []), constant


def _array_order(case: Case) -> Sentence | None:
    """Say that an index is narrowed by the array of which it should give the order."""
    names = [name for name, _ in _order_to_give(case)[0]]
    arrays = [name for name in names if case.facts.arrays(name)]
    if arrays and any(one.path in arrays and one.role != "none" for one in case.look.filter.every()):
        text = (
            f"{arrays[0]} holds arrays: an index that narrows it can't give its order, since a document is in "
            "it once for each element"
        )
        return Sentence("multikey", f"{case.name}: {text}", case.name)
    return None


def _order_lost(case: Case) -> Sentence | None:
    """Say why the order isn't taken from an index that has its fields."""
    order, constant = _order_to_give(case)
    names = [name for name, _ in order]
    if not names:
        return None
    if (lost := _array_order(case)) is not None:
        return lost
    start = 0
    while start < len(case.keys) and case.keys[start] in constant:
        start += 1
    run = case.keys[start : start + len(names)]
    if run == names:
        return _direction_lost(case, order)
    between = [name for name in case.keys[start : case.keys.index(names[0])] if name not in names]
    if between:
        text = (
            f"index {case.name} has {wording.listed(between)} before {names[0]}, without one value for it in the "
            f"query: it can't give the order of {wording.listed(names)}"
        )
    else:
        text = f"index {case.name} has the fields of the order in another sequence than the query: {wording.listed(names)}"
    return Sentence("sort_order", text, case.name)


def _direction_lost(case: Case, order: Sequence[tuple[str, int]]) -> Sentence | None:
    own = [(name, case.index.keys[name]) for name, _ in order]
    if own in (list(order), [(name, -direction) for name, direction in order]):
        return None
    text = (
        f"index {case.name} gives the order {wording.order(own)} and its reverse, and the query wants "
        f"{wording.order(order)}: the directions have to match, or all to be reversed"
    )
    return Sentence("sort_direction", text, case.name)


def _array_bounds(case: Case) -> Sentence | None:
    return next(array_bounds(case.look, case.keys, case.facts, case.name), None)


def array_bounds(one: Look, fields: Iterable[str], facts: Facts, index: str) -> Iterator[Sentence]:
    """Yield a sentence for each key of an index that is read for one limit where the query has two."""
    for name in fields:
        ranges = {
            condition.operator
            for condition in one.filter.every()
            if condition.path == name and condition.role == "range" and condition.element is None
        }
        if ranges & {"$gt", "$gte"} and ranges & {"$lt", "$lte"} and facts.arrays(name):
            text = (
                f"{name} holds arrays, of which one element may be above and another below: index {index} is read "
                "for one limit alone; if one element is to be within both, say so with $elemMatch"
            )
            yield Sentence("multikey", text, index)


_OF_A_USED_ONE: tuple[Callable[[Case], Sentence | None], ...] = (
    _array_bounds,
    _sparse,
    _no_bounds,
    _collation,
    _order_lost,
)
_OF_AN_UNUSED_ONE: tuple[Callable[[Case], Sentence | None], ...] = (
    _hinted,
    _hidden,
    _other_kind,
    _wildcard,
    _beginning,
    _partial,
    _sparse,
    _collation,
    _no_bounds,
    _order_lost,
)


def _would_begin(case: Case) -> bool:
    """Tell whether the query narrows, is ordered by, or wants the values of, the first key of an index."""
    usable = any(condition.role != "none" for condition in case.about_first)
    return usable or case.keys[0] in (case.look.key, *(name for name, _ in case.order[:1]))


def asleep(collection: str, name: str) -> Sentence:
    """Say that an index is hidden, and how queries come to see it."""
    command = shlex.join(["motorctl", "indexes", "unhide", collection, name])
    is_sayable = not collection.startswith("-") and not name.startswith("-")
    text = f"index {name} of {collection} is hidden: queries don't see it"
    return Sentence("hidden", text, name, command if is_sayable else None)
