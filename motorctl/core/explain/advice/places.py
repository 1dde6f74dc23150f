"""Places that are looked for in an area, and the index that they lack. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from motorctl.core.explain.advice.model import Proposal, Sentence

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from motorctl.core.explain.advice.shape import Look
    from motorctl.core.schema.model import Index

_AREAS = frozenset({"$geoWithin", "$geoIntersects"})
_ON_A_SPHERE = frozenset({"$geometry", "$centerSphere"})


def unserved_places(one: Look, indexes: Sequence[Index]) -> Iterator[Sentence]:
    """Yield a sentence for each field that is tested to lie in an area, and has no index for places.

    What the server refuses without one (`$near`) is in `missing`.
    """
    indexed = {name for index in indexes for name, kind in index.keys.items() if kind in ("2d", "2dsphere")}
    for condition in one.filter.conditions:
        if condition.operator in _AREAS and condition.path not in indexed:
            kind = _kind(condition.value)
            text = f"{condition.operator} on {condition.path} is looked up in a {kind} index, and {one.collection} has none on it"
            yield Sentence(
                "geo_index", text, None, Proposal(one.collection, {condition.path: kind}).command()
            )


def _kind(area: Any) -> str:
    """Plain shapes are of a plane, whose index is another one."""
    return "2dsphere" if isinstance(area, Mapping) and _ON_A_SPHERE & set(area) else "2d"
