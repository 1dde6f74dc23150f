"""What has to change for a database to be as its manifest says. Pure: two values in, changes out.

`check` and `apply` both use it, so they can't disagree. It never reads a server and never drops what
no manifest speaks of.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from motorctl.core.schema.change import Blocker, Change
from motorctl.core.schema.commands import IN_PLACE, commands
from motorctl.core.schema.compare import VERSIONS, identity, index_facts, same_option, same_query
from motorctl.core.schema.model import LEVELS, Collection, Index, Validator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

_ALWAYS_IN_PLACE = frozenset({"changeStreamPreAndPostImages", "viewOn", "pipeline"})


def plan(
    current: Mapping[str, Collection], desired: Sequence[Collection], *, prune: bool = False
) -> list[Change]:
    """List what to change, in an order that is safe to follow, and what to keep.

    Collections come first, then validators as they loosen, new indexes, changed ones, drops, and
    validators as they tighten. What a collection of the manifest has beyond it is dropped with `prune`,
    else kept as `unmanaged`, or a blocker where a wanted index can't be beside it; other collections, `_id_` and the system's are never touched.
    """
    changes = [
        change
        for wanted in desired
        for change in _collection_changes(current.get(wanted.name), wanted, prune=prune)
    ]
    return [replace(change, commands=commands(change)) for change in sorted(changes, key=_rank)]


def in_sync(changes: Iterable[Change]) -> bool:
    """Tell whether nothing has to change, or nothing is left to."""
    return all(change.action == "keep" or change.status == "applied" for change in changes)


def _rank(change: Change) -> int:
    if change.kind == "collection":
        return 0
    if change.kind == "validator":
        return 1 if _loosens(change) else 5
    return {"create": 2, "modify": 2, "rebuild": 3, "drop": 4, "keep": 2}[change.action]


def _loosens(change: Change) -> bool:
    if change.action == "drop":
        return True
    if change.before is None or change.after is None:
        return False
    before, after = change.before, change.after
    return (before["validationAction"], after["validationAction"]) == ("error", "warn") or LEVELS.index(
        after["validationLevel"]
    ) < LEVELS.index(before["validationLevel"])


def _collection_changes(current: Collection | None, wanted: Collection, *, prune: bool) -> Iterator[Change]:
    yield _options_change(current, wanted)
    actual = current or Collection(wanted.name, wanted.options)
    if (
        validator := _validator_change(wanted.name, actual.validator, wanted.validator, prune=prune)
    ) is not None:
        yield validator
    yield from _index_changes(wanted.name, actual, wanted.indexes, prune=prune)


def _options_change(current: Collection | None, wanted: Collection) -> Change:
    name = wanted.name
    if current is None:
        return Change(name, "collection", "create", name, None, wanted.options)
    kept = Change(name, "collection", "keep", name, current.options, wanted.options, "in_sync")
    if current.is_view != wanted.is_view:
        there, asked = ("view", "collection") if current.is_view else ("collection", "view")
        return replace(
            kept,
            action="modify",
            status="blocked",
            blockers=(
                Blocker(
                    "kind",
                    f"{name} is a {there}, the manifest says a {asked}: rename or drop the {there} first",
                ),
            ),
        )
    # An option that no manifest names is left alone: storage and history of a collection are its own.
    differing = [
        option
        for option, value in wanted.options.items()
        if not same_option(option, current.options.get(option), value)
    ]
    if not differing:
        return kept
    blockers = tuple(
        Blocker(
            "fixed", f"{option} of {name} can't be changed in place: copy the documents into a new collection"
        )
        for option in differing
        if option not in _ALWAYS_IN_PLACE and not _is_expiry(option, current, wanted)
    )
    return replace(kept, action="modify", status="blocked" if blockers else "planned", blockers=blockers)


def _is_expiry(option: str, current: Collection, wanted: Collection) -> bool:
    return option == "expireAfterSeconds" and any(
        kind in current.options and kind in wanted.options for kind in ("timeseries", "clusteredIndex")
    )


def _validator_change(
    collection: str, current: Validator | None, wanted: Validator | None, *, prune: bool
) -> Change | None:
    before = current.document() if current else None
    after = wanted.document() if wanted else None
    change = Change(collection, "validator", "keep", collection, before, after, "in_sync")
    match current, wanted:
        case None, None:
            return None
        case None, _:
            return replace(change, action="create", status="planned")
        case _, None:
            return replace(change, **_surplus(prune=prune))
        case Validator(), Validator():
            agree = (current.level, current.action) == (wanted.level, wanted.action) and same_query(
                current.expression, wanted.expression
            )
            return change if agree else replace(change, action="modify", status="planned")
    raise AssertionError


def _surplus(*, prune: bool) -> dict[str, Any]:
    return {"action": "drop", "status": "planned"} if prune else {"action": "keep", "status": "unmanaged"}


def _index_changes(
    collection: str, current: Collection, wanted: Sequence[Index], *, prune: bool
) -> Iterator[Change]:
    collation = current.options.get("collation")
    there = {index.resolved_name: index for index in current.indexes}
    facts = {name: _facts(index, collation) for name, index in there.items()}
    own = [_facts(index, collation) for index in wanted]
    pairs = _pairs(facts, wanted, own)
    differences = [
        None if name is None else _differing(facts[name], own[position], wanted[position])
        for position, name in enumerate(pairs)
    ]
    kept = {name for name, differing in zip(pairs, differences, strict=True) if differing == frozenset()}

    gone: set[str] = set()
    for index, wishes, matched, differing in zip(wanted, own, pairs, differences, strict=True):
        before = None if matched is None else there[matched].document()
        # A text index in the place of the wanted one, of which the manifest doesn't speak.
        foreign = None if matched is None or _means(index, wishes, matched, facts[matched]) else matched
        name = index.resolved_name
        if matched is not None and foreign is None and _accepts(index, matched, wanted):
            name = matched
        after = index.named(name).document()
        change = Change(collection, "index", "keep", name, before, after, "in_sync")
        if before is not None and differing is not None and name == matched:
            if not differing:
                yield change
                continue
            if differing <= IN_PLACE and (
                "expireAfterSeconds" not in differing or _both_expire(before, after)
            ):
                yield replace(change, action="modify", status="planned")
                continue
        # What has its name or its identity can't stay beside it, also where that one is itself going to be
        # rebuilt (two indexes that swap their names); what an earlier rebuild replaces is gone by then.
        rivals = {other for other in facts if other == name or identity(facts[other]) == identity(wishes)}
        involved = (rivals - kept) | ({matched} if matched else set())
        if involved:
            before = before or there[min(involved)].document()
            replaces = tuple(sorted(involved - gone))
            rebuild = replace(change, action="rebuild", status="planned", before=before, replaces=replaces)
            yield rebuild if foreign is None else _in_place_of(foreign, rebuild, prune=prune)
        else:
            yield replace(change, action="create", status="planned")
        gone |= involved

    for name, index in there.items():
        if name not in pairs and name not in gone:
            surplus = Change(collection, "index", "keep", name, index.document())
            yield replace(surplus, **_surplus(prune=prune))


def _in_place_of(foreign: str, change: Change, *, prune: bool) -> Change:
    change = replace(change, unmanaged=(foreign,))
    if prune:
        return change
    message = (
        f"a collection has one text index at most, and {foreign} of {change.collection} is not in the manifest:"
        f" name it there, or let --prune put {change.name} in its place"
    )
    return replace(change, status="blocked", blockers=(Blocker("unmanaged", message),))


def _facts(index: Index, collation: Mapping[str, Any] | None) -> dict[str, Any]:
    return index_facts(index.keys, index.options, collation)


def _means(index: Index, wishes: Mapping[str, Any], name: str, present: Mapping[str, Any]) -> bool:
    """Tell whether a wanted index is about one that is there: by its name or its identity."""
    return index.resolved_name == name or identity(wishes) == identity(present)


def _pairs(
    current: Mapping[str, Mapping[str, Any]], wanted: Sequence[Index], own: Sequence[Mapping[str, Any]]
) -> list[str | None]:
    """Give each wanted index the one that is there for it: equal, else of its name, else of its identity.

    A collection has one text index at most,
    so that any text index is there for the wanted one.
    """
    pairs: list[str | None] = [None] * len(wanted)
    rules: list[Callable[[int, str], bool]] = [
        lambda n, name: wanted[n].resolved_name == name and not _differing(current[name], own[n], wanted[n]),
        lambda n, name: (
            _accepts(wanted[n], name, wanted) and not _differing(current[name], own[n], wanted[n])
        ),
        lambda n, name: wanted[n].resolved_name == name,
        lambda n, name: identity(current[name]) == identity(own[n]),
        lambda n, name: wanted[n].is_text and current[name]["text"][0] is not None,
    ]
    for rule in rules:
        for position in range(len(wanted)):
            if pairs[position] is None:
                free = (name for name in current if name not in pairs and rule(position, name))
                pairs[position] = next(free, None)
    return pairs


def _accepts(index: Index, name: str, wanted: Sequence[Index]) -> bool:
    """Tell whether a name will do: an index without one is content with any that no other wants."""
    if index.name is not None:
        return index.name == name
    return name == index.resolved_name or all(name != other.resolved_name for other in wanted)


def _differing(current: Mapping[str, Any], wanted: Mapping[str, Any], index: Index) -> frozenset[str]:
    return frozenset(
        fact
        for fact, value in wanted.items()
        if current[fact] != value and not (fact in VERSIONS and fact not in index.options)
    )


def _both_expire(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    return "expireAfterSeconds" in before and "expireAfterSeconds" in after
