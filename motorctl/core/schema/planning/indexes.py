"""What has to change for a collection to have its indexes. Pure; a part of `plan`.

Decides which index there is meant by which wish, and whether the server can change it or has to build
another one. Never drops `_id_`, which it never sees, and never what no manifest speaks of without `prune`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from motorctl.core.schema.change import Blocker, Change
from motorctl.core.schema.compare import UNCOLLATED, VERSIONS, expand_collation, identity, index_facts
from motorctl.core.schema.model import TEMPORARY
from motorctl.core.schema.planning.capabilities import INDEXES, TTL_ADDED_SINCE
from motorctl.core.schema.planning.impossible import against_index, measurements, same_to_this_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from motorctl.core.schema.model import Collection, Index
    from motorctl.core.schema.server import Server

Facts = dict[str, Any]


@dataclass(frozen=True)
class _Wish:
    """A wanted index, all that makes it what it is, and the name of the one that is there for it."""

    index: Index
    facts: Facts
    matched: str | None = None
    differing: frozenset[str] = frozenset()

    @property
    def kept(self) -> bool:
        return self.matched is not None and not self.differing


def index_changes(wanted: Collection, actual: Collection, *, prune: bool, server: Server) -> Iterator[Change]:
    """List what becomes of each wanted index, and of each other one that is there."""
    collation = actual.options.get("collation")
    there = {index.resolved_name: index for index in actual.indexes}
    facts = {name: _facts(index, collation) for name, index in there.items()}
    standing = {name: value for name, value in facts.items() if not name.startswith(TEMPORARY)}
    wishes = _paired(wanted.indexes, standing, collation, server)
    kept = {wish.matched for wish in wishes if wish.kept}
    pairs = {wish.matched for wish in wishes}
    gone: set[str] = set()
    for position, wish in enumerate(wishes):
        before = [other for other in wishes[:position] if _alike(other.facts, wish.facts, server)]
        change = _wanted(wish, wishes, wanted.name, there, facts, kept, gone, actual.options, server)
        gone |= {*change.replaces}
        if change.action == "rebuild" and wish.matched is not None:
            gone.add(wish.matched)
        if change.action != "keep":
            change = _blocked(change, wish, wanted.name, actual.options, before, server)
        yield _in_place_of_foreign(change, wish, facts, prune=prune, server=server)
    yield from _others(wanted, actual, there, pairs | gone, prune=prune)


def _wanted(
    wish: _Wish,
    wishes: Sequence[_Wish],
    collection: str,
    there: Mapping[str, Index],
    facts: Mapping[str, Facts],
    kept: set[str | None],
    gone: set[str],
    options: Mapping[str, Any],
    server: Server,
) -> Change:
    index, matched = wish.index, wish.matched
    name = index.resolved_name
    if matched is not None and _means(wish, facts[matched], server) and _accepts(index, matched, wishes):
        name = matched
    before = None if matched is None else there[matched].document()
    after = index.named(name).document()
    change = Change(collection, "index", "keep", name, before, after, "in_sync")
    if matched is not None and not wish.differing and name == matched:
        return change
    # What has its name or its identity can't stay beside it, also where that one is itself going to be
    # rebuilt (two indexes that swap their names); what an earlier rebuild replaces is gone by then.
    rivals = {
        other
        for other, present in facts.items()
        if other == name or _alike(present, wish.facts, server) or (index.is_text and _has_text(present))
    }
    involved = (rivals - kept) | ({matched} if matched else set())
    if name == matched and involved == {matched} and _in_place(wish, facts[matched], options, server):
        return replace(change, action="modify", status="planned")
    if not involved:
        return replace(change, action="create", status="planned")
    return replace(
        change,
        action="rebuild",
        status="planned",
        before=before or there[min(involved)].document(),
        replaces=tuple(sorted(involved - gone)),
    )


def _in_place(wish: _Wish, current: Facts, options: Mapping[str, Any], server: Server) -> bool:
    """Tell whether the server can change every difference without another index."""
    if "timeseries" in options and measurements(wish.index, options["timeseries"]):
        # collMod changes it, and listIndexes goes on telling how it was made (MongoDB 6.0).
        return False
    return all(
        option in INDEXES and INDEXES[option].changes(server) and _possible(option, wish, current, server)
        for option in wish.differing
    )


def _possible(option: str, wish: _Wish, current: Facts, server: Server) -> bool:
    index = wish.index
    match option:
        case "unique":
            # MongoDB 6.0 dies of a wildcard index that becomes unique, or gets a time to live.
            return (
                bool(wish.facts["unique"]) and not index.is_wildcard and "hashed" not in index.keys.values()
            )
        case "prepareUnique":
            return not index.is_wildcard and "hashed" not in index.keys.values()
        case "expireAfterSeconds" if wish.facts[option] is None:
            return False
        case "expireAfterSeconds" if current[option] is None:
            (kind, *others) = index.keys.values()
            plain = not others and not isinstance(kind, str) and not index.is_wildcard
            return plain and server.at_least(*TTL_ADDED_SINCE)
        case _:
            return True


def _blocked(
    change: Change,
    wish: _Wish,
    collection: str,
    options: Mapping[str, Any],
    before: Sequence[_Wish],
    server: Server,
) -> Change:
    found = against_index(wish.index, collection, options, server)
    if before:
        other = before[0].matched or before[0].index.resolved_name
        conflict = same_to_this_server(wish.index, other, collection, server)
        found += [conflict] if conflict else []
    after = change.after
    if after is not None and "collation" not in after and _must_be_simple(wish.index, options):
        after = {**after, "collation": {"locale": "simple"}}
    return replace(change, after=after, status="blocked" if found else "planned", blockers=tuple(found))


def _must_be_simple(index: Index, options: Mapping[str, Any]) -> bool:
    """Tell whether an index would be refused for the collation that it takes over from its collection."""
    return (
        not UNCOLLATED.isdisjoint(index.keys.values())
        and expand_collation(options.get("collation")) is not None
    )


def _in_place_of_foreign(
    change: Change, wish: _Wish, facts: Mapping[str, Facts], *, prune: bool, server: Server
) -> Change:
    """Judge a text index in the place of the wanted one, of which the manifest doesn't speak."""
    foreign = wish.matched
    if change.action != "rebuild" or foreign is None or _means(wish, facts[foreign], server):
        return change
    change = replace(change, unmanaged=(foreign,))
    if prune:
        return change
    blocker = Blocker(
        "unmanaged",
        f"a collection has one text index at most, and {foreign} of {change.collection} is not in the manifest:"
        f" name it there, or let --prune put {change.name} in its place",
    )
    return replace(change, status="blocked", blockers=(*change.blockers, blocker))


def _others(
    wanted: Collection,
    actual: Collection,
    there: Mapping[str, Index],
    accounted: set[str | None],
    *,
    prune: bool,
) -> Iterator[Change]:
    old_names = {index.renamed_from for index in wanted.indexes}
    for name, index in there.items():
        if name in accounted:
            continue
        change = Change(wanted.name, "index", "keep", name, index.document(), None, "unmanaged")
        ours = name.startswith(TEMPORARY) or name in old_names or _unwanted(index, wanted.absent_indexes)
        if ours or (prune and not _of_the_server(index, actual.options)):
            change = replace(change, action="drop", status="planned")
        yield change


def _unwanted(index: Index, absent: Sequence[Index]) -> bool:
    """Tell whether a manifest says that an index must not be there: by its name, else by its keys."""
    mine = _facts(index, None)
    for other in absent:
        if other.name is not None:
            if other.name == index.name:
                return True
        elif all(_facts(other, None)[fact] == mine[fact] for fact in ("keys", "text")):
            return True
    return False


def _of_the_server(index: Index, options: Mapping[str, Any]) -> bool:
    """Tell whether it is the index that MongoDB 6.3 and later give each time series by themselves."""
    series = options.get("timeseries", {})
    own = {series.get("metaField"): 1, series.get("timeField"): 1}
    return "metaField" in series and list(index.keys.items()) == list(own.items()) and not index.options


def _facts(index: Index, collation: Mapping[str, Any] | None) -> Facts:
    return index_facts(index.keys, index.options, collation)


def _alike(one: Facts, other: Facts, server: Server) -> bool:
    return identity(one, server) == identity(other, server)


def _has_text(facts: Facts) -> bool:
    return facts["text"][0] is not None


def _means(wish: _Wish, present: Facts, server: Server) -> bool:
    """Tell whether a wanted index is about the one that it was given: by its names or its identity."""
    names = (wish.index.resolved_name, wish.index.renamed_from)
    return wish.matched in names or _alike(wish.facts, present, server)


def _paired(
    wanted: Sequence[Index], current: Mapping[str, Facts], collation: Mapping[str, Any] | None, server: Server
) -> list[_Wish]:
    """Give each wanted index the one that is there for it: equal, else of its names, else of its identity.

    A collection has one text index at most, so that any text index is there for the wanted one.
    """
    wishes = [_Wish(index, _facts(index, collation)) for index in wanted]
    taken: set[str] = set()
    rules: list[Callable[[_Wish, str], bool]] = [
        lambda wish, name: wish.index.resolved_name == name and not _differing(current[name], wish),
        lambda wish, name: _accepts(wish.index, name, wishes) and not _differing(current[name], wish),
        lambda wish, name: wish.index.resolved_name == name,
        lambda wish, name: wish.index.renamed_from == name,
        lambda wish, name: _alike(current[name], wish.facts, server),
        lambda wish, name: wish.index.is_text and _has_text(current[name]),
    ]
    for rule in rules:
        for position, wish in enumerate(wishes):
            if wish.matched is None:
                name = next((name for name in current if name not in taken and rule(wish, name)), None)
                if name is not None:
                    taken.add(name)
                    wishes[position] = replace(wish, matched=name, differing=_differing(current[name], wish))
    return wishes


def _accepts(index: Index, name: str, wishes: Sequence[_Wish]) -> bool:
    """Tell whether a name will do: an index without one is content with any that no other wants."""
    if index.name is not None:
        return index.name == name
    if name == index.renamed_from:
        return False
    return name == index.resolved_name or all(name != other.index.resolved_name for other in wishes)


def _differing(current: Facts, wish: _Wish) -> frozenset[str]:
    return frozenset(
        fact
        for fact, value in wish.facts.items()
        if current[fact] != value and not (fact in VERSIONS and fact not in wish.index.options)
    )
