"""Which part of a schema somebody asked for: some kinds of objects, some collections. Pure.

A plan is made of everything that belongs to a collection and thinned out afterwards, so that a part of
it is never another plan.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from motorctl.core.schema.planning.collections import opens
from motorctl.errors import UsageError
from motorctl.near import near

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from motorctl.core.schema.change import Change
    from motorctl.core.schema.model import Collection

PARTS: dict[str, frozenset[str]] = {
    "collections": frozenset({"collection"}),
    "validators": frozenset({"validator"}),
    "indexes": frozenset({"index", "search_index"}),
}
"""What can be asked for alone, and the kinds of changes that it is."""


@dataclass(frozen=True)
class Selection:
    """Some parts (by the names of `PARTS`) of the collections that match a glob; empty is all."""

    parts: frozenset[str] = frozenset()
    globs: tuple[str, ...] = ()

    def takes(self, name: str) -> bool:
        """Tell whether a collection is meant."""
        return not self.globs or any(fnmatchcase(name, glob) for glob in self.globs)

    def unmatched(self, names: Iterable[str]) -> list[str]:
        """Return the globs that none of these collections matches."""
        known = list(names)
        return [glob for glob in self.globs if not any(fnmatchcase(name, glob) for name in known)]

    def refuse_unmatched(self, names: Iterable[str]) -> None:
        """Raise UsageError for a glob that matches none of these: it was probably mistyped."""
        known = sorted(set(names))
        for glob in self.unmatched(known):
            raise UsageError(
                f"--collection {glob} matches no collection",
                hint=near(glob.strip("*?"), known) or f"there are: {', '.join(known) or 'none'}",
            )

    def collections(self, collections: Iterable[Collection]) -> list[Collection]:
        """Keep the collections that are meant; one that is renamed also by its old name."""
        return [
            one
            for one in collections
            if self.takes(one.name) or (one.renamed_from is not None and self.takes(one.renamed_from))
        ]

    def changes(self, changes: Iterable[Change]) -> list[Change]:
        """Keep the changes that are meant, and those of collections without which they can't be made.

        Such as one that has to be created or renamed before, also where that can't be done.
        """
        kinds = frozenset().union(*(PARTS[part] for part in self.parts or PARTS))
        plan = list(changes)
        needed = {
            change.collection
            for change in plan
            if change.kind in kinds
            and change.action != "keep"
            and (change.kind, change.action) != ("collection", "drop")
        }
        return [
            change
            for change in plan
            if change.kind in kinds
            or (change.collection in needed and change.kind == "collection" and opens(change))
        ]

    def dumped(self, current: Mapping[str, Collection]) -> dict[str, Collection]:
        """Keep of live collections what is meant: of those without any of it, nothing."""
        parts = self.parts or PARTS.keys()
        kept: dict[str, Collection] = {}
        for name, one in current.items():
            if not self.takes(name):
                continue
            part = replace(
                one,
                options=one.options if "collections" in parts else {},
                validator=one.validator if "validators" in parts else None,
                indexes=one.indexes if "indexes" in parts else (),
                search_indexes=one.search_indexes if "indexes" in parts else None,
            )
            if "collections" in parts or part.validator or part.indexes or part.search_indexes:
                kept[name] = part
        return kept
