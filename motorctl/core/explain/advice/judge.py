"""Puts the advice together: what is wrong, what would help, what is fine as it is. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from motorctl.core.explain.access import accesses
from motorctl.core.explain.advice import wording
from motorctl.core.explain.advice.model import TINY, Advice, Facts, Proposal, Sentence
from motorctl.core.explain.advice.need import Need, need
from motorctl.core.explain.advice.places import unserved_places
from motorctl.core.explain.advice.propose import adjusted, apart, describe, propose, with_negations
from motorctl.core.explain.advice.redundant import replaced, room
from motorctl.core.explain.advice.shape import Look, Shape, look, narrows, unindexed_branches
from motorctl.core.explain.advice.types import mismatches
from motorctl.core.explain.advice.unlooked import of_condition
from motorctl.core.explain.advice.unused import Case, array_bounds, asleep, misses, serves, why
from motorctl.core.schema.compare import expand_collation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from motorctl.core.explain.plan import Plan
    from motorctl.core.explain.query import Query
    from motorctl.core.schema.model import Index

_REASONS = 4
"""So many indexes that aren't used are spoken of, the likeliest first."""

_MOST = 0.3
"""The share of a collection from which on reading it as a whole costs no more than going through an index."""

_FEW = 0.1
"""The share up to which even a negation is looked up: what it leaves out is all the rest."""

_WIDER = 1
"""Fields more that an index may have to spare the documents themselves."""


def judge(query: Query, plan: Plan, indexes: Sequence[Index], facts: Facts) -> Advice:
    """Say what would serve a query better than its plan did, and why indexes that are there don't.

    `indexes` are those of the query's collection, without `_id_`. A query that is served well gets no advice.
    """
    one = adjusted(look(query), facts)
    told = need(plan, one)
    sentences = list(mismatches(one, facts))
    joins = _joins(one, plan, facts)
    if facts.kind == "absent":
        return Advice((), (Sentence("absent", f"there is no collection {one.collection}"),))
    if told.is_none:
        held = (misses(Case(query, one, index, facts, plan, sorts=False)) for index in indexes)
        sentences += [sentence for sentence in held if sentence is not None]
        sentences += [sentence for _, sentence in joins] or ([] if sentences else _fine(one, plan, told))
        return Advice(tuple(proposal for proposal, _ in joins if proposal), tuple(sentences))
    left = told.left(facts.documents, limited=one.limited)
    if left is not None and left <= _FEW and not narrows(one.filter):
        one = with_negations(one, facts)
    cases = [Case(query, one, index, facts, plan, told.sorts) for index in indexes]
    wanted = propose(one, indexes, facts, left=left)
    proposed = [pair for pair in wanted if not any(_takes_its_place(case, *pair) for case in cases)]
    sentences += _reasons(cases, wanted)
    sentences += _obstacles(one, plan, told)
    for proposal, shape in proposed:
        sentences.append(_create(proposal, shape, one))
        needless = list(replaced(proposal, indexes))
        # Nobody wakes an index to put it to sleep again.
        gone = {sentence.index for sentence in needless}
        sentences = [one for one in sentences if one.kind != "hidden" or one.index not in gone] + needless
        sentences += array_bounds(one, proposal.keys, facts, proposal.resolved_name)
    if proposed and query.hint and not any(sentence.kind == "hint" for sentence in sentences):
        text = "the query's hint holds it to what it uses now: with the hint no new index is considered"
        sentences.append(Sentence("hint", text))
    if not proposed and told.scans:
        sentences += unserved_places(one, indexes)
    sentences += _remarks(one, proposed, facts, left)
    sentences += [sentence for _, sentence in joins]
    proposals = tuple(proposal for proposal, _ in proposed)
    if proposals:
        sentences += room(proposals, indexes, has_id=facts.kind == "collection")
    if not sentences:
        sentences += _nothing(one, plan, told)
    first = {sentence.text: sentence for sentence in reversed(sentences)}
    return Advice(
        (*proposals, *(proposal for proposal, _ in joins if proposal)),
        tuple(sentence for sentence in dict.fromkeys(sentences) if first[sentence.text] is sentence),
    )


def _fine(one: Look, plan: Plan, told: Need) -> list[Sentence]:
    match plan.verdict:
        case "eof":
            text = "nothing was read: the collection is empty or absent, or the condition is true of nothing"
        case "idhack":
            text = "the document is found by its _id: nothing is faster"
        case "express" if one.kind == "count":
            text = "the server keeps this number: nothing is read for it"
        case "express":
            text = "the server takes its shortest way to the document: nothing is faster"
        case _ if plan.indexes:
            text = f"{wording.listed(plan.indexes)} {'serve' if len(plan.indexes) > 1 else 'serves'} it"
            if told.passed is not None:
                keys, docs = plan.keys_examined or 0, plan.docs_examined or 0
                figures = f"{wording.counted(keys, 'key')} and {wording.counted(docs, 'document')}"
                text += f": {figures} examined for {told.passed:,}"
            if whole := sorted({way.collection for way in accesses(plan) if way.scan == "collscan"}):
                # Its own is not: otherwise something would be said of that.
                text = f"{one.collection} itself is served; {wording.listed(whole)} is read as a whole: no advice for that"
                return [Sentence("lookup", text)]
        case _:
            return []
    return [Sentence("fine", text, plan.indexes[0] if plan.indexes else None)]


def _takes_its_place(case: Case, proposal: Proposal, shape: Shape) -> bool:
    """Tell whether an index does what a proposed one would do: then the question is why it isn't used.

    One that can't be used for this query doesn't, where the server takes another one with its keys.
    """
    if not _is_as_good(case, proposal, shape) or case.compares_otherwise or misses(case) is not None:
        return False
    limited = {"sparse", "partialFilterExpression"} & set(case.index.options)
    if case.is_used or case.index.options.get("hidden") or serves(case.facts.hinted.get(case.name), case):
        return True
    return not limited and case.collation() == case.asked_collation()


def _is_as_good(case: Case, proposal: Proposal, shape: Shape) -> bool:
    """Tell whether the keys of an index serve a shape as those of a proposal do."""
    keys = list(case.index.keys.items())
    if any(kind not in (1, -1) for _, kind in keys) or case.index.is_wildcard:
        return False
    if next(iter(proposal.keys)) in shape.ranges and shape.sort:
        return list(case.index.keys)[: len(proposal.keys)] == list(proposal.keys)
    count = len(shape.equality)
    if {name for name, _ in keys[:count]} != set(shape.equality):
        return False
    rest = keys[count:]
    order = [pair for pair in shape.sort if pair[0] in proposal.keys]
    if rest[: len(order)] not in (order, [(name, -direction) for name, direction in order]):
        return False
    wanted = [name for name in shape.ranges if name in proposal.keys]
    following = [name for name, _ in rest[len(order) :]]
    first = wanted[0] if wanted else None
    return set(wanted) <= set(following) and (first is None or bool(order) or following[0] in wanted)


def _reasons(cases: Sequence[Case], wanted: Sequence[tuple[Proposal, Shape]]) -> list[Sentence]:
    fields = {name for proposal, _ in wanted for name in proposal.keys}
    ranked = sorted(cases, key=lambda case: (not case.is_used, -len(fields & set(case.keys))))
    found: list[Sentence] = []
    for case in ranked:
        best = any(_is_as_good(case, *pair) for pair in wanted)
        if (sentence := why(case, best=best)) is not None:
            found.append(sentence)
    return found[:_REASONS]


def _obstacles(one: Look, plan: Plan, told: Need) -> Iterator[Sentence]:
    """Say what in the query itself no index can serve."""
    for branch in unindexed_branches(one):
        if told.scans:
            tested = [condition.path for condition in branch.conditions] or list(branch.opaque) or ["nothing"]
            text = (
                f"one branch of the $or ({wording.listed(list(dict.fromkeys(tested)))}) can't be looked up: all of "
                "them have to be, or the whole collection is read"
            )
            yield Sentence("or", text)
            yield from (found for condition in branch.conditions if (found := of_condition(condition)))
    narrowing = [condition for condition in one.filter.every() if condition.role != "none"]
    if told.scans and not narrowing:
        yield from (found for condition in one.filter.conditions if (found := of_condition(condition)))
        if "$expr" in one.filter.opaque:
            yield Sentence(
                "expr",
                "an $expr is looked up where it compares a field with a constant, not here: write it without $expr where you can",
            )
        if "$where" in one.filter.opaque:
            yield Sentence("where", "$where runs JavaScript on each document: no index serves that")
    if one.late_sort and any(stage.kind == "$sort" for stage in plan.root.walk()):
        text = (
            f"the $sort by {wording.listed(one.late_sort)} comes after a stage past which it isn't moved: put it "
            "first, right after $match, and an index can give the order"
        )
        yield Sentence("late_sort", text)


def _create(proposal: Proposal, shape: Shape, one: Look) -> Sentence:
    parts = describe(proposal.keys, shape, one.key)
    text = f"an index {wording.keys(proposal.keys)} of {proposal.collection} would serve it: {parts}"
    if "collation" in proposal.options:
        is_simple = proposal.options["collation"].get("locale") == "simple"
        text += ", without a collation" if is_simple else ", with the query's collation"
    return Sentence("create", text, proposal.resolved_name, proposal.command())


def _remarks(
    one: Look, proposed: Sequence[tuple[Proposal, Shape]], facts: Facts, left: float | None
) -> Iterator[Sentence]:
    """Say what is to be expected of the proposed indexes."""
    ordered = any(shape.sort for _, shape in proposed)
    if proposed and facts.documents is not None and facts.documents < TINY:
        text = (
            f"{one.collection} has {wording.counted(facts.documents, 'document')} now: an index pays when there are "
            "more"
        )
        yield Sentence("tiny", text)
    elif left is not None and left >= _MOST and proposed and not one.key and not (ordered and one.limited):
        spared = (
            "the index spares the sort in memory, and hardly any reading"
            if ordered
            else "an index is hardly faster there than reading all of them, and may be slower"
        )
        all_of_them = one.filter.is_empty
        what = (
            "all documents are asked for" if all_of_them else f"the filter leaves {left:.0%} of the documents"
        )
        text = f"but {what}: {spared}"
        yield Sentence("unselective", text)
    for proposal, shape in proposed[:1]:
        if shape.sort and not one.key and next(iter(proposal.keys)) in shape.ranges:
            text = (
                f"the range comes first, since it leaves {left or 0:.1%} of the documents; those few are "
                f"sorted in memory. To have the order from an index, begin it with {shape.sort[0][0]}"
            )
            yield Sentence("range_first", text)
        if len(proposed) == 1 and (keys := _covering(one, proposal, facts)):
            text = f"with {wording.keys(keys)} not even documents are fetched: all that is returned is in its keys"
            wide = Proposal(proposal.collection, keys)
            yield Sentence("covered", text, None, wide.command() if keys != proposal.keys else None)


def _covering(one: Look, proposal: Proposal, facts: Facts) -> dict[str, int]:
    """Return the keys with which an index has all that a find returns; none where that takes too many.

    An index can't tell null from missing, has no array whole, and no string as it was under a collation.
    """
    tests = list(one.filter.every())
    fields = dict.fromkeys((*(one.output or ()), *(condition.path for condition in tests), *proposal.keys))
    lacking = [name for name in fields if name not in proposal.keys]
    if not one.output or len(lacking) > _WIDER or one.filter.opaque or not facts.sampled:
        return {}
    if any("." in name or facts.arrays(name) for name in fields) or proposal.options or facts.collation:
        return {}
    if any(condition.role == "none" or None in condition.values for condition in tests):
        return {}
    return {**proposal.keys, **dict.fromkeys(lacking, 1)}


def _joins(one: Look, plan: Plan, facts: Facts) -> list[tuple[Proposal | None, Sentence]]:
    """Say what the other sides of `$lookup` and `$graphLookup` lack: an index, or that one is hidden."""
    found: dict[tuple[str, str], tuple[Proposal | None, Sentence]] = {}
    asked = expand_collation(one.collation or facts.collation)
    scanned = {way.collection for way in accesses(plan) if way.scan == "collscan"}
    pushed_down = any(stage.kind.startswith("EQ_LOOKUP") for stage in plan.root.walk())
    for join in one.foreign:
        there = facts.foreign.get(join.collection)
        if join.field == "_id" or there is None:
            continue
        if join.collection in scanned:
            # Strings aren't found in an index that compares them otherwise; numbers are.
            there = tuple(one for one in there if expand_collation(one.options.get("collation")) == asked)
        # The classic engine looks each value up by itself, and all but null are in a sparse index; a join of the
        # slot-based one (6.0 on, not by each 6.0) takes no such index.
        sparse_too = not pushed_down and join.collection not in scanned
        if any(_finds(index, join.field, sparse_too=sparse_too) for index in there):
            continue
        awake = (_awake(index) for index in there if index.options.get("hidden"))
        hidden = next((index.resolved_name for index in awake if _finds(index, join.field)), None)
        if hidden is not None:
            found[join.collection, join.field] = None, asleep(join.collection, hidden)
            continue
        options = {"collation": dict(one.collation or facts.collation or {})} if asked else {}
        proposal = apart(
            Proposal(join.collection, {join.field: 1}, options), facts.foreign[join.collection], facts
        )
        text = (
            f"{join.stage} looks into {join.collection} by {join.field}, for which it has no index that serves: all "
            "is read, for each document or at once"
        )
        said = Sentence("lookup", text, proposal.resolved_name, proposal.command())
        found[join.collection, join.field] = proposal, said
    return list(found.values())


def _awake(index: Index) -> Index:
    return replace(index, options={name: value for name, value in index.options.items() if name != "hidden"})


def _finds(index: Index, field: str, *, sparse_too: bool = False) -> bool:
    """Tell whether a join finds documents by an index."""
    barred = {"hidden", "partialFilterExpression"} | (set() if sparse_too else {"sparse"})
    if barred & set(index.options):
        return False
    first, kind = next(iter(index.keys.items()))
    if index.is_wildcard:
        root = first.removesuffix("$**").rstrip(".")
        return not root or field == root or field.startswith(f"{root}.")
    return first == field and kind in (1, -1, "hashed")


def _nothing(one: Look, plan: Plan, told: Need) -> Iterator[Sentence]:
    if told.scans and one.filter.is_empty and not one.sort:
        yield Sentence("whole_collection", "it asks for all documents: reading the whole collection is right")
    elif told.scans:
        yield Sentence("none", "no index is known that would narrow this filter")
    elif plan.indexes:
        rest = (
            "the few that are left are sorted in memory"
            if told.sorts and not told.wastes
            else "the rest is tested on documents"
        )
        text = f"no index is known that would do better than {wording.listed(plan.indexes)}: {rest}"
        yield Sentence("none", text, plan.indexes[0])
