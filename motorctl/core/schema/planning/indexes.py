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
from motorctl.core.schema.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from motorctl.core.schema.model import Collection, Index

Facts = dict[str, Any]

_NEWEST = Server()


@dataclass(frozen=True)
class _Wish:
    """A wanted index, all that makes it what it is, and the name of the one that is there for it.

    `name` is the one that it gets. Where it `stays`, the one that is there is right, or changed in place.
    """

    index: Index
    facts: Facts
    name: str
    matched: str | None = None
    differing: frozenset[str] = frozenset()
    stays: bool = False


def index_changes(wanted: Collection, actual: Collection, *, prune: bool, server: Server) -> Iterator[Change]:
    """List what becomes of each wanted index, and of each other one that is there."""
    collation = actual.options.get("collation")
    there = {index.resolved_name: index for index in actual.indexes}
    facts = {name: _facts(index, collation) for name, index in there.items()}
    standing = {name: value for name, value in facts.items() if not name.startswith(TEMPORARY)}
    wishes = [_settled(wish, facts, actual.options, server) for wish in _paired(wanted, standing, collation)]
    staying = {wish.matched for wish in wishes if wish.stays}
    pairs = {wish.matched for wish in wishes}
    gone: set[str] = set()
    replaced: set[str | None] = set()
    for position, wish in enumerate(wishes):
        change = _wanted(wish, wanted.name, there, _rivals(wish, facts, server) - staying, gone)
        if change.action != "keep":
            before = _before(position, wishes, server)
            change = _blocked(change, wish, wanted.name, actual.options, before, server)
        foreign = [name for name in change.replaces if _foreign(name, wanted, there, facts, wishes)]
        change = _in_place_of(foreign, change, wish, prune=prune)
        places = {*change.replaces} | (
            {wish.matched} if change.action == "rebuild" and wish.matched else set()
        )
        replaced |= places
        if not change.blockers:
            gone |= places
        yield change
    yield from _others(wanted, actual, there, pairs | replaced, prune=prune)


def _settled(wish: _Wish, facts: Mapping[str, Facts], options: Mapping[str, Any], server: Server) -> _Wish:
    """Tell whether the one that is there for a wish stays."""
    if wish.matched is None or wish.name != wish.matched:
        return wish
    changeable = _in_place(wish, facts[wish.matched], options, server) and _rivals(wish, facts, server) == {
        wish.matched
    }
    return replace(wish, stays=not wish.differing or changeable)


def _rivals(wish: _Wish, facts: Mapping[str, Facts], server: Server) -> set[str]:
    """Name what can't stay beside a wanted index: what has its name or its identity, or its one place for text.

    Also where that one is itself going to be rebuilt: two indexes that swap their names.
    """
    return {
        other
        for other, present in facts.items()
        if other == wish.name
        or _alike(present, wish.facts, server)
        or (wish.index.is_text and _has_text(present))
    }


def _before(position: int, wishes: Sequence[_Wish], server: Server) -> list[_Wish]:
    """List the wishes with the identity of this one that have it before: those that stay, and earlier ones."""
    wish = wishes[position]
    return [
        other
        for place, other in enumerate(wishes)
        if (not other.stays, place) < (not wish.stays, position) and _alike(other.facts, wish.facts, server)
    ]


def _wanted(
    wish: _Wish, collection: str, there: Mapping[str, Index], rivals: set[str], gone: set[str]
) -> Change:
    matched = wish.matched
    before = None if matched is None else there[matched].document()
    after = wish.index.named(wish.name).document()
    change = Change(collection, "index", "keep", wish.name, before, after, "in_sync")
    if wish.stays:
        return replace(change, action="modify", status="planned") if wish.differing else change
    involved = rivals | ({matched} if matched else set())
    if not involved:
        return replace(change, action="create", status="planned")
    return replace(
        change,
        action="rebuild",
        status="planned",
        before=before or there[min(involved)].document(),
        # What an earlier rebuild replaces is gone by then, unless it is blocked.
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
        conflict = same_to_this_server(wish.index, before[0].name, collection, server)
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


def _foreign(
    name: str,
    wanted: Collection,
    there: Mapping[str, Index],
    facts: Mapping[str, Facts],
    wishes: Sequence[_Wish],
) -> bool:
    """Tell whether a manifest doesn't speak of an index: neither by a name nor by all that newer servers tell apart."""
    return not (
        name.startswith(TEMPORARY)
        or any(name in (wish.index.resolved_name, wish.index.renamed_from) for wish in wishes)
        or any(_alike(facts[name], wish.facts) for wish in wishes)
        or _unwanted(there[name], wanted.absent_indexes)
    )


def _in_place_of(foreign: Sequence[str], change: Change, wish: _Wish, *, prune: bool) -> Change:
    """Judge a wanted index that takes the place of others, of which the manifest doesn't speak."""
    if not foreign:
        return change
    change = replace(change, unmanaged=tuple(foreign))
    if prune:
        return change
    only = (
        "a collection has one text index at most"
        if wish.index.is_text
        else "before MongoDB 5.0 a collection has one index with the same keys"
    )
    one, them, its = ("is", "it", "its") if len(foreign) == 1 else ("are", "them", "their")
    blocker = Blocker(
        "unmanaged",
        f"{only}, and {', '.join(foreign)} of {change.collection} {one} not in the manifest:"
        f" name {them} there, or let --prune put {change.name} in {its} place",
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


def _alike(one: Facts, other: Facts, server: Server = _NEWEST) -> bool:
    return identity(one, server) == identity(other, server)


def _has_text(facts: Facts) -> bool:
    return facts["text"][0] is not None


def _paired(
    wanted: Collection, current: Mapping[str, Facts], collation: Mapping[str, Any] | None
) -> list[_Wish]:
    """Give each wanted index the one that is there for it: equal, else of its names, else of its identity.

    A collection has one text index at most, so that any text index is there for the wanted one.
    """
    wishes = [_Wish(index, _facts(index, collation), index.resolved_name) for index in wanted.indexes]
    taken: set[str] = set()
    rules: list[Callable[[_Wish, str], bool]] = [
        lambda wish, name: wish.name == name and not _differing(current[name], wish),
        lambda wish, name: _accepts(wish.index, name, wanted) and not _differing(current[name], wish),
        lambda wish, name: wish.name == name,
        lambda wish, name: wish.index.renamed_from == name,
        lambda wish, name: _alike(current[name], wish.facts),
        lambda wish, name: wish.index.is_text and _has_text(current[name]),
    ]
    for rule in rules:
        for position, wish in enumerate(wishes):
            if wish.matched is None:
                name = next((name for name in current if name not in taken and rule(wish, name)), None)
                if name is not None:
                    taken.add(name)
                    content = _alike(current[name], wish.facts) and _accepts(wish.index, name, wanted)
                    wishes[position] = replace(
                        wish,
                        name=name if content else wish.name,
                        matched=name,
                        differing=_differing(current[name], wish),
                    )
    return wishes


def _accepts(index: Index, name: str, wanted: Collection) -> bool:
    """Tell whether a name will do: an index without one is content with any of which nobody says otherwise."""
    if index.name is not None:
        return index.name == name
    if name == index.renamed_from:
        return False
    spoken_of = {
        *(other.resolved_name for other in wanted.indexes),
        *(one.name for one in wanted.absent_indexes),
    }
    return name == index.resolved_name or name not in spoken_of


def _differing(current: Facts, wish: _Wish) -> frozenset[str]:
    return frozenset(
        fact
        for fact, value in wish.facts.items()
        if current[fact] != value and not (fact in VERSIONS and fact not in wish.index.options)
    )
