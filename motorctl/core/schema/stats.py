"""What is known of the use of indexes, as comments for a manifest. Pure; asking the server is `core.index_usage`'s."""

from __future__ import annotations

from typing import TYPE_CHECKING

from motorctl.core.index_usage import sized

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from motorctl.core.index_usage import Usage
    from motorctl.core.schema.model import Collection


def comments(
    collections: Mapping[str, Collection], usages: Iterable[Usage]
) -> dict[tuple[str | int, ...], str]:
    """Write a comment for each index of a dump, by its path: `("collections", "users", "indexes", 0)`.

    `usages` are those of `index_usage.usage`; an index that isn't among them has no comment.
    """
    known = {(usage.collection, usage.name): usage for usage in usages}
    return {
        ("collections", name, "indexes", position): _comment(known[name, index.resolved_name])
        for name, collection in collections.items()
        for position, index in enumerate(collection.indexes)
        if (name, index.resolved_name) in known
    }


def _comment(usage: Usage) -> str:
    parts = [] if usage.size_bytes is None else [sized(usage.size_bytes)]
    if usage.operations is not None and usage.since is not None:
        operations = "1 operation" if usage.operations == 1 else f"{usage.operations:,} operations"
        parts.append(f"{'never used' if usage.never_used else operations} since {usage.since:%Y-%m-%d}")
    if usage.redundant_with is not None:
        parts.append(f"redundant with {usage.redundant_with}")
    return ", ".join(parts)
