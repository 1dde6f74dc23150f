"""How one schema would have to change to be another, whichever side is a file or a server. Pure.

A plan speaks of what a manifest names. A comparison speaks of everything: what the second side lacks is
a difference too, a whole collection as well as one option.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from motorctl.core.schema.change import Blocker, Change
from motorctl.core.schema.compare import same_option, shorten_creation_options
from motorctl.core.schema.model import Collection, Validator
from motorctl.core.schema.planning.plan import plan
from motorctl.core.schema.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ABSENT: dict[str, Any] = {
    "capped": False,
    "changeStreamPreAndPostImages": {"enabled": False},
    "collation": {"locale": "simple"},
    "pipeline": [],
}
"""What a collection, or a view, is without an option, written as one."""


def diff(
    a: Iterable[Collection], b: Iterable[Collection], *, server: Server | None = None, whole: bool = True
) -> list[Change]:
    """List how `a` has to change to be `b`, and what is the same, as `plan` lists it.

    Either side is what a manifest wishes or what `fetch` found. `server` is the one that would have to
    make the changes, the newest when there is none. Unless `whole`, a collection that `b` lacks is taken as
    one without a validator and indexes: for those who compare only these.
    """
    there = as_current(a)
    wanted = {one.name: one for one in b}
    sources = {one.renamed_from for one in wanted.values() if one.name not in there}
    gone = [
        Collection(name, absent=True) if whole else Collection(name, one.options)
        for name, one in there.items()
        if name not in wanted and name not in sources
    ]
    full = [_written_out(there.get(one.name), one) for one in wanted.values()]
    changes = plan(there, [*full, *gone], server=server or Server(), prune=True)
    return [_with_the_rest(change, there, wanted) for change in changes]


def as_current(collections: Iterable[Collection]) -> dict[str, Collection]:
    """Take wishes as what would be there if they were fulfilled; what was fetched stays as it is."""
    return {
        one.name: replace(
            one,
            options=shorten_creation_options(one.options),
            validator=one.validator if one.validator and one.validator.expression else None,
            indexes=tuple(
                replace(index.named(index.resolved_name), renamed_from=None) for index in one.indexes
            ),
            absent_indexes=(),
            renamed_from=None,
        )
        for one in collections
        if not one.absent
    }


def _written_out(current: Collection | None, wanted: Collection) -> Collection:
    """Say of what `wanted` lacks that it must not be there: where there is a word for it."""
    if current is None or wanted.absent or current.is_view != wanted.is_view:
        return wanted
    lacking = {name: ABSENT[name] for name in _beyond(current, wanted) if name in ABSENT}
    validator = wanted.validator or (Validator({}) if current.validator else None)
    return replace(wanted, options={**wanted.options, **lacking}, validator=validator)


def _beyond(current: Collection, wanted: Collection) -> list[str]:
    return [
        name
        for name, value in current.options.items()
        if name not in wanted.options and not (name in ABSENT and same_option(name, value, ABSENT[name]))
    ]


def _with_the_rest(
    change: Change, there: Mapping[str, Collection], wanted: Mapping[str, Collection]
) -> Change:
    """Add the options that only the first side has."""
    name = change.collection
    if change.kind != "collection" or name not in there or name not in wanted or wanted[name].absent:
        return change
    if there[name].is_view != wanted[name].is_view:
        return change
    rest = [option for option in _beyond(there[name], wanted[name]) if option not in ABSENT]
    # A capped collection's size goes with it.
    rest = [option for option in rest if option not in ("size", "max") or "capped" in wanted[name].options]
    if not rest:
        return change
    change = change if change.action != "keep" else replace(change, action="modify", status="planned")
    blockers = tuple(
        Blocker(
            "fixed",
            f"{option} of {name} can't be taken away",
            hint="copy the documents into a new collection without it",
        )
        for option in rest
        if option != "expireAfterSeconds"
    )
    if blockers:
        return replace(change, status="blocked", blockers=(*change.blockers, *blockers))
    return replace(change, commands=(*change.commands, {"collMod": name, "expireAfterSeconds": "off"}))
