"""What has to change for a collection to have its search indexes. Pure; a part of `plan`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from motorctl.core.schema.change import Blocker, Change
from motorctl.core.schema.compare import same
from motorctl.core.schema.planning.capabilities import SEARCH_INDEXES

if TYPE_CHECKING:
    from motorctl.core.schema.model import Collection, SearchIndex

_NONE_HERE = Blocker(
    "version",
    "this server has no search indexes",
    "Atlas has them, and a server beside which MongoDB's search runs: leave them out for this one",
)


def search_changes(
    wanted: Collection, actual: Collection, *, searches: bool, prune: bool
) -> Iterator[Change]:
    """List what becomes of each search index; none where the manifest doesn't speak of them.

    `searches` says whether the server has any.
    """
    if wanted.search_indexes is None:
        return
    there = {index.name: index for index in actual.search_indexes or ()}
    for index in wanted.search_indexes:
        yield _change(wanted.name, index, there.get(index.name), searches=searches)
    named = {index.name for index in wanted.search_indexes}
    for name, index in there.items():
        if name not in named:
            surplus = Change(wanted.name, "search_index", "keep", name, index.document(), None, "unmanaged")
            yield replace(surplus, action="drop", status="planned") if prune else surplus


def _change(collection: str, wanted: SearchIndex, there: SearchIndex | None, *, searches: bool) -> Change:
    after = wanted.document()
    change = Change(collection, "search_index", "create", wanted.name, None, after)
    if not searches:
        return replace(change, status="blocked", blockers=(_NONE_HERE,))
    if there is None:
        return change
    change = replace(change, action="modify", before=there.document())
    if there.type != wanted.type:
        message = f"search index {wanted.name} of {collection} is of type {there.type}, the manifest says {wanted.type}"
        blocker = Blocker("fixed", message, SEARCH_INDEXES["type"].way_out)
        return replace(change, status="blocked", blockers=(blocker,))
    if holds(there.definition, wanted.definition):
        return replace(change, action="keep", status="in_sync")
    return change


def holds(actual: Any, written: Any) -> bool:
    """Tell whether a definition has everything that somebody wrote; what the server adds is no difference."""
    if isinstance(written, Mapping):
        return isinstance(actual, Mapping) and all(
            key in actual and holds(actual[key], value) for key, value in written.items()
        )
    if isinstance(written, Sequence) and not isinstance(written, str | bytes):
        return (
            isinstance(actual, Sequence)
            and not isinstance(actual, str | bytes)
            and len(actual) == len(written)
            and all(holds(*pair) for pair in zip(actual, written, strict=True))
        )
    return same(actual, written)
