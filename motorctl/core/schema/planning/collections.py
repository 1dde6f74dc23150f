"""What has to change for a collection to have its name, kind and options. Pure; a part of `plan`.

Never looks at its validator or its indexes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from motorctl.core.schema.change import Blocker, Change
from motorctl.core.schema.compare import bucketing, same_option
from motorctl.core.schema.planning.capabilities import COLLECTIONS, words
from motorctl.core.schema.planning.impossible import (
    against_buckets,
    against_collection,
    plain_expiry,
    too_old,
    uncapped,
)

if TYPE_CHECKING:
    from collections.abc import Collection as Names
    from collections.abc import Iterable, Iterator, Sequence

    from motorctl.core.schema.model import Collection
    from motorctl.core.schema.server import Server

ANOTHER_KIND = "kind"
"""The reason of a blocker: what is there is a view, and no collection, or the other way round."""

_NOT_MEANT = frozenset({ANOTHER_KIND, "name"})
"""Reasons for which what has a collection's name isn't the one of which the manifest speaks."""


def opens(change: Change) -> bool:
    """Tell whether a collection's change makes it the one of which the manifest speaks, or would have to."""
    return (
        change.action == "create"
        or "name" in (change.before or {})
        or any(blocker.reason in _NOT_MEANT for blocker in change.blockers)
    )


def renames(current: Mapping[str, Collection], desired: Sequence[Collection]) -> dict[str, str]:
    """Map the new names of collections that are there under their old ones to those."""
    found: dict[str, str] = {}
    for wanted in desired:
        old = wanted.renamed_from
        if old is None or wanted.absent or old in found.values():
            continue
        if old in current and wanted.name not in current:
            found[wanted.name] = old
    return found


def views_of(name: str, current: Mapping[str, Collection], desired: Sequence[Collection]) -> list[str]:
    """Name the views that look at a collection, there or wished: as they are wished, where they are."""
    views = {**current, **{one.name: one for one in desired}}
    return sorted(
        view.name
        for view in views.values()
        if view.is_view and not view.absent and name in _seen(view.options)
    )


def _seen(value: Any) -> Iterator[Any]:
    """Name the collections that a view's options, or a stage inside its pipeline, look at."""
    if isinstance(value, list):
        for one in value:
            yield from _seen(one)
    elif isinstance(value, Mapping):
        for key, one in value.items():
            if key == "viewOn" or (key == "$unionWith" and isinstance(one, str)):
                yield one
            elif key in ("$lookup", "$graphLookup", "$unionWith") and isinstance(one, Mapping):
                yield one.get("coll" if key == "$unionWith" else "from")
            yield from _seen(one)


def collection_change(
    wanted: Collection,
    there: Collection | None,
    *,
    old_name: str | None,
    views: Sequence[str],
    rivals: Names[str],
    server: Server,
) -> Change:
    """Compare a collection with what is there for it, under `old_name` where it is to be renamed.

    `views` are those that look at the old name. `rivals` are the collections there that no other wish is
    about: one that still has the old name beside the new one is in the way.
    """
    name = wanted.name
    if wanted.is_view:
        wanted = replace(wanted, options={"pipeline": [], **wanted.options})
    change = Change(name, "collection", "keep", name, None, wanted.options, "in_sync")
    if wanted.absent:
        return _dropped(change, there)
    if there is None:
        return _judged(replace(change, action="create"), against_collection(name, wanted.options, server))
    change = replace(change, before=there.options)
    if old_name is not None:
        change = replace(
            change,
            action="modify",
            status="planned",
            before={"name": old_name, **there.options},
            after={"name": name, **wanted.options},
        )
    blockers = list(_against_name(wanted, there, old_name, views, rivals))
    if there.is_view != wanted.is_view:
        return _judged(replace(change, action="modify"), [*blockers, _another_kind(name, there)])
    differing = differences(there.options, wanted.options)
    blockers += _against_options(name, there.options, wanted.options, differing, server)
    if differing or blockers or old_name is not None:
        return _judged(replace(change, action="modify"), blockers)
    return change


def differences(current: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Name the options that aren't as wished; one that isn't named is as it may be."""
    return [option for option, value in wanted.items() if not same_option(option, current.get(option), value)]


def _judged(change: Change, blockers: Iterable[Blocker]) -> Change:
    found = tuple(blockers)
    return replace(change, status="blocked" if found else "planned", blockers=found)


def _dropped(change: Change, there: Collection | None) -> Change:
    if there is None:
        return replace(change, after=None)
    gone = replace(change, action="drop", status="planned", before=there.options, after=None)
    if not change.collection.startswith("system."):
        return gone
    return _judged(gone, [Blocker("system", f"{change.collection} is the server's own", "leave it out")])


def _against_name(
    wanted: Collection, there: Collection, old_name: str | None, views: Sequence[str], rivals: Names[str]
) -> Iterator[Blocker]:
    old = wanted.renamed_from
    if old_name is not None and (there.is_view or "timeseries" in there.options):
        kind, hint = (
            ("view", f"leave renamed_from out, and say that {old} is state: absent")
            if there.is_view
            else ("time series", "leave renamed_from out, and copy the documents with $out")
        )
        yield Blocker("fixed", f"{old_name} is a {kind}, which can't be renamed", hint)
    elif views:
        look = "view {} looks" if len(views) == 1 else "views {} look"
        yield Blocker(
            "views",
            f"{look.format(', '.join(views))} at {old_name}, and would find nothing there",
            f"let the manifest say that they look at {wanted.name}, or are state: absent",
            ignorable=True,
        )
    elif old_name is None and old in rivals:
        yield Blocker(
            "name",
            f"{old} can't become {wanted.name}: both are there",
            f"see which one is right: drop the other, or take renamed_from out of {wanted.name}",
        )


def _another_kind(name: str, there: Collection) -> Blocker:
    kind, asked = ("view", "collection") if there.is_view else ("collection", "view")
    return Blocker(
        ANOTHER_KIND, f"{name} is a {kind}, the manifest says a {asked}: rename or drop the {kind} first"
    )


def _against_options(
    name: str, current: Mapping[str, Any], wanted: Mapping[str, Any], differing: Sequence[str], server: Server
) -> Iterator[Blocker]:
    for option in differing:
        rule = COLLECTIONS[option]
        old = too_old(f"{option} of {name}", rule.since, server)
        if old is not None:
            yield old
        elif rule.in_place is None:
            yield _fixed(name, option)
        elif option in ("size", "max"):
            # Of a collection that isn't capped, `capped` says it.
            if current.get("capped") and not rule.changes(server):
                yield _needs(name, option, server)
        elif option == "timeseries":
            yield from _against_series(name, current.get(option), wanted[option], server)
        elif option == "expireAfterSeconds" and not current.keys() & {"timeseries", "clusteredIndex"}:
            yield plain_expiry(name)
        elif option == "changeStreamPreAndPostImages" and current.keys() & {"timeseries", "viewOn"}:
            kind = "view" if "viewOn" in current else "time series"
            yield Blocker("impossible", f"a {kind} has no {option} (of {name})", "leave it out")
    if not current.get("capped") and not wanted.get("capped") and {"size", "max"} & {*differing}:
        yield uncapped(name)


def _fixed(name: str, option: str) -> Blocker:
    return Blocker("fixed", f"{option} of {name} can't be changed in place", COLLECTIONS[option].way_out)


def _needs(name: str, option: str, server: Server) -> Blocker:
    since = COLLECTIONS[option].in_place
    assert since is not None
    return Blocker(
        "version",
        f"changing {option} of {name} in place needs {words(since)} or later, this is {server.name}",
        COLLECTIONS[option].way_out,
    )


def _against_series(
    name: str, current: Mapping[str, Any] | None, wanted: Mapping[str, Any], server: Server
) -> Iterator[Blocker]:
    fields = ("timeField", "metaField")
    if current is None or any(current.get(field) != wanted.get(field) for field in fields):
        yield _fixed(name, "timeseries")
        return
    buckets = against_buckets(name, wanted, server)
    if buckets is not None:
        yield buckets
    elif any(new < old for old, new in zip(bucketing(current), bucketing(wanted), strict=True)):
        yield Blocker(
            "fixed",
            f"the buckets of time series {name} can only become longer, from seconds to minutes to hours",
            COLLECTIONS["timeseries"].way_out,
        )
