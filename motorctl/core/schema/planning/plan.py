"""What has to change for a database to be as its manifest says. Pure: two values in, changes out.

`check` and `apply` both use it, so they can't disagree. It never reads a server and never drops what
no manifest speaks of. What becomes of options and indexes is said in `collections`, `indexes` and
`search`; here are validators, and the order.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from motorctl.core.schema.change import Change
from motorctl.core.schema.compare import same_query
from motorctl.core.schema.model import TEMPORARY, Collection, Validator
from motorctl.core.schema.planning.collections import ANOTHER_KIND, collection_change, renames, views_of
from motorctl.core.schema.planning.commands import commands
from motorctl.core.schema.planning.impossible import against_validator
from motorctl.core.schema.planning.indexes import index_changes
from motorctl.core.schema.planning.search import search_changes
from motorctl.core.schema.planning.strictness import loosens
from motorctl.core.schema.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

_NEWEST = Server()

ORDER = (
    "collections renamed",
    "collections created and changed",
    "validators as they loosen, and those of new collections",
    "indexes changed and kept",
    "indexes created",
    "indexes rebuilt",
    "indexes hidden and dropped",
    "validators as they tighten",
    "collections dropped",
    "what an interrupted rebuild has left over",
)
"""The order of changes that is safe to follow: what is taken away goes after what replaces it."""


def plan(
    current: Mapping[str, Collection],
    desired: Sequence[Collection],
    *,
    server: Server = _NEWEST,
    prune: bool = False,
) -> list[Change]:
    """List what to change, in `ORDER`, and what to keep; each change with the commands for it.

    What the server can't do is `blocked`. What a collection of the manifest has beyond it is dropped with
    `prune`, else kept as `unmanaged`, or a blocker where a wanted index can't be beside it; other
    collections, `_id_` and the system's are never touched: of `current` their views are looked at, that
    a renamed collection may leave behind.
    """
    sources = renames(current, desired)
    left = {name: one for name, one in current.items() if name not in sources.values()}
    rivals = left.keys() - {wanted.name for wanted in desired}
    searches = server.search
    if searches is None:
        searches = not current or any(one.search_indexes is not None for one in current.values())
    changes: list[Change] = []
    for wanted in desired:
        old_name = sources.get(wanted.name)
        there = left.get(wanted.name) if old_name is None else current[old_name]
        views = () if old_name is None else views_of(old_name, current, desired)
        change = collection_change(
            wanted, there, old_name=old_name, views=views, rivals=rivals, server=server
        )
        changes.append(change)
        if not wanted.absent:
            actual = there or Collection(wanted.name, wanted.options)
            contents = _contents(wanted, actual, searches=searches, prune=prune, server=server)
            another = any(blocker.reason == ANOTHER_KIND for blocker in change.blockers)
            # Nothing is done to what isn't the one that the manifest speaks of.
            changes += [one for one in contents if one.blockers or not another]
    created = {one.collection for one in changes if one.kind == "collection" and one.action == "create"}
    return [
        # What can't be done has none.
        replace(change, commands=commands(change))
        if all(blocker.ignorable for blocker in change.blockers)
        else change
        for change in sorted(changes, key=lambda one: _rank(one, created))
    ]


def in_sync(changes: Iterable[Change]) -> bool:
    """Tell whether nothing has to change, or nothing is left to."""
    return all(change.action == "keep" or change.status == "applied" for change in changes)


def _contents(
    wanted: Collection, actual: Collection, *, searches: bool, prune: bool, server: Server
) -> Iterator[Change]:
    validator = _validator_change(wanted, actual, prune=prune)
    if validator is not None:
        yield validator
    yield from index_changes(wanted, actual, prune=prune, server=server)
    yield from search_changes(wanted, actual, searches=searches, prune=prune)


def _rank(change: Change, created: AbstractSet[str]) -> int:
    """Say where in `ORDER` a change belongs; a collection that is `created` is validated from the first write on."""
    match change.kind, change.action:
        case "collection", "drop":
            return 8
        case "collection", _:
            return 0 if "name" in (change.before or {}) else 1
        case "validator", "keep":
            return 2
        case "validator", _ if change.collection in created:
            return 2
        case "validator", _:
            return 2 if loosens(_validator(change.before), _validator(change.after)) else 7
        case _, "drop":
            return 9 if change.name.startswith(TEMPORARY) else 6
        case _, "rebuild":
            return 5
        case _, "create":
            return 4
    return 6 if change.action == "modify" and _only_hides(change.before or {}, change.after or {}) else 3


def _only_hides(before: Mapping[str, object], after: Mapping[str, object]) -> bool:
    """Tell whether an index goes for queries, and no created one needs that it has become unique."""
    hides = bool(after.get("hidden")) and not before.get("hidden")
    return hides and bool(after.get("unique")) == bool(before.get("unique"))


def _validator(document: Mapping[str, object] | None) -> Validator | None:
    return None if document is None else Validator.from_document(document)


def _validator_change(wanted: Collection, actual: Collection, *, prune: bool) -> Change | None:
    current, asked = actual.validator, wanted.validator
    name = wanted.name
    if asked is not None and not asked.expression:
        prune, asked = True, None
    before = current.document() if current else None
    after = asked.document() if asked else None
    change = Change(name, "validator", "keep", name, before, after, "in_sync")
    if asked is None:
        if current is None:
            return None
        if prune:
            return replace(change, action="drop", status="planned")
        return replace(change, status="unmanaged")
    if current is not None and _same_validator(current, asked):
        return change
    blockers = tuple(against_validator(name, actual.options))
    return replace(
        change,
        action="create" if current is None else "modify",
        status="blocked" if blockers else "planned",
        blockers=blockers,
    )


def _same_validator(one: Validator, other: Validator) -> bool:
    return (one.level, one.action) == (other.level, other.action) and same_query(
        one.expression, other.expression
    )
