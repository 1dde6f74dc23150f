"""What a new index means for those that are there: which of them it makes needless, and whether there is room. Pure."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from motorctl.core.explain.advice.model import Sentence
from motorctl.core.index_usage import Usage, redundancy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from motorctl.core.explain.advice.model import Proposal
    from motorctl.core.schema.model import Index

LIMIT = 64
"""Indexes that a collection has at most, `_id_` among them: MongoDB's manual, "MongoDB Limits and Thresholds"."""

_NEAR = 60


def replaced(proposal: Proposal, indexes: Sequence[Index]) -> Iterator[Sentence]:
    """Yield a sentence for each index that the proposed one would make needless."""
    own = proposal.resolved_name
    usages = [
        Usage(proposal.collection, one.resolved_name, one.keys, one.options)
        for one in (proposal.index(), *indexes)
    ]
    for usage in redundancy(usages):
        if usage.name != own and usage.redundant_with == own:
            is_hidden = bool(usage.options.get("hidden"))
            way = (
                "it is hidden already"
                if is_hidden
                else "hide it, watch your queries for a while, then drop it"
            )
            yield Sentence(
                "redundant",
                f"then {usage.name} would be redundant: {own} begins with its keys; {way}",
                usage.name,
                None if is_hidden else _hide(proposal.collection, usage.name),
            )


def room(proposals: Sequence[Proposal], indexes: Sequence[Index], *, has_id: bool) -> Iterator[Sentence]:
    """Yield a sentence when a collection has nearly as many indexes as it may."""
    count = len(indexes) + has_id
    if count + len(proposals) > LIMIT:
        text = f"it has {count} indexes, and {LIMIT} are the most: drop one first (motorctl indexes list --usage)"
        yield Sentence("limit", text)
    elif count >= _NEAR:
        yield Sentence("limit", f"it has {count} indexes already, and {LIMIT} are the most")


def _hide(collection: str, name: str) -> str | None:
    if collection.startswith("-") or name.startswith("-"):
        return None
    return shlex.join(["motorctl", "indexes", "hide", collection, name])
