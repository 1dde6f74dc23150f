"""What of a pipeline the server hands to the query planner. Pure.

That is the leading `$match` and `$sort`, and a later `$match` that the server moves to the front past stages
that leave its fields alone (MongoDB's manual, "Aggregation Pipeline Optimization"). Rather too little
than too much: an index for a stage that nothing moves would help nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from motorctl.core.explain.advice.conditions import Condition, Filter, is_field, take_apart

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Order = tuple[tuple[str, int], ...]

_SWITCHES = (0, 1, True, False)


@dataclass(frozen=True)
class Foreign:
    """A collection that a `$lookup` or `$graphLookup` looks into, and the field by which it does."""

    stage: str
    collection: str
    field: str


def order_of(sort: Mapping[str, Any]) -> Order | None:
    """Return the fields of an order with their directions; None for one that no index can give."""
    pairs: list[tuple[str, int]] = []
    for name, direction in sort.items():
        if isinstance(direction, Mapping) or direction not in (1, -1) or not is_field(name):
            return None
        pairs.append((name, int(direction)))
    return tuple(pairs)


class Leading:
    """Reads a pipeline up to the first stage that nothing moves past.

    `late` names the fields of a `$sort` that an index could serve if it came before the stages ahead of it; `key`
    is the field of a `$group` that gives nothing but its values, which the server reads as a distinct;
    `firsts`: of each group only the first or the last document is wanted.
    """

    def __init__(self, pipeline: Sequence[Any]) -> None:
        self.filter = Filter()
        self.sort: Order = ()
        self.late: tuple[str, ...] = ()
        self.key: str | None = None
        self.firsts = False
        self._renamed: dict[str, str] = {}
        self._lost: set[str] = set()
        self._kept: set[str] | None = None
        self._untouched = True
        self._only_computed = True
        for stage in pipeline:
            if not isinstance(stage, Mapping) or len(stage) != 1:
                return
            ((operator, body),) = stage.items()
            if not self._pass(str(operator), body):
                return

    def _pass(self, operator: str, body: Any) -> bool:
        """Take a stage in; False when none that follows comes to the front."""
        match operator:
            case "$match":
                self._match(take_apart(body))
                return True
            case "$sort" if isinstance(body, Mapping):
                return self._sort(body)
            case "$group" if self._untouched and isinstance(body, Mapping):
                self.key = None if self.sort else _only_key(body)
                self.firsts = bool(self.sort) and _takes_firsts(body)
                return False
        self._untouched = False
        if operator in ("$project", "$addFields", "$set", "$unset"):
            return self._compute(operator, body)
        self._only_computed = False
        if operator == "$unwind":
            options = body if isinstance(body, Mapping) else {"path": body}
            self._lose(str(options.get("path")).removeprefix("$"), options.get("includeArrayIndex"))
            return True
        if operator == "$lookup" and isinstance(body, Mapping):
            self._lose(body.get("as"))
            return True
        return False

    def _match(self, found: Filter) -> None:
        if self._untouched:
            self.filter &= found
            return
        if any(one.opaque for one in found.all()) or any(one.expression for one in found.every()):
            return
        # The server splits a $match into what moves and what doesn't.
        moved = (self._moved(condition) for condition in found.conditions)
        self.filter &= Filter(tuple(one for one in moved if one is not None))
        for branches in found.choices:
            paths = {condition.path for branch in branches for condition in branch.every()}
            if all(self._source(path) == path for path in paths):
                self.filter &= Filter(choices=(branches,))

    def _moved(self, condition: Condition) -> Condition | None:
        source = self._source(condition.path)
        return None if source is None else replace(condition, path=source)

    def _source(self, path: str) -> str | None:
        """Return the field that one comes from; None when it is computed, left out or unwound."""
        if path in self._renamed:
            return self._renamed[path]
        if any(_touches(path, lost) for lost in (*self._lost, *self._renamed)):
            return None
        if self._kept is not None and not any(
            path == one or path.startswith(f"{one}.") for one in self._kept
        ):
            return None
        return path

    def _sort(self, body: Mapping[str, Any]) -> bool:
        order = order_of(body)
        if self._untouched and not self.sort:
            self.sort = order or ()
            return order is not None
        if self._only_computed and order and all(self._source(name) == name for name, _ in order):
            self.late = tuple(name for name, _ in order)
        return False

    def _compute(self, operator: str, body: Any) -> bool:
        if operator == "$unset":
            self._lose(*(body if isinstance(body, list) else [body]))
            return True
        if not isinstance(body, Mapping):
            return False
        if operator != "$project":
            self._assign(body)
            return True
        computed = {name: value for name, value in body.items() if value not in _SWITCHES}
        ones = {str(name) for name, value in body.items() if name not in computed and value in (1, True)}
        zeros = {str(name) for name in body if name not in computed and name not in ones}
        if not ones and not computed:
            self._lose(*zeros)
            return True
        ones |= set() if "_id" in zeros else {"_id"}
        before, self._renamed = self._renamed, {}
        self._assign(computed, before)
        # What had another name before, and goes on with it, is no longer followed.
        self._lost |= {name for name in ones if name in before}
        self._kept = {name for name in ones if self._source(name) == name} | set(self._renamed)
        return True

    def _assign(self, fields: Mapping[str, Any], before: Mapping[str, str] | None = None) -> None:
        """Follow a new name for a field; anything else is computed."""
        taken = set(self._renamed) | set(before or {})
        for name, value in fields.items():
            plain = isinstance(value, str) and value.startswith("$") and not value.startswith("$$")
            source = value[1:] if plain else "."
            follows = "." not in source and "." not in name and source not in taken
            if follows and self._source(source) == source and source not in fields:
                self._renamed[str(name)] = source
            else:
                self._lose(name)

    def _lose(self, *names: Any) -> None:
        """Note that these fields are no longer what they are in the collection, nor what lies below them."""
        for name in names:
            if isinstance(name, str):
                self._lost.add(name)
                self._renamed = {new: old for new, old in self._renamed.items() if not _touches(new, name)}


def _only_key(body: Mapping[str, Any]) -> str | None:
    """Return the field by which a `$group` groups, if it does nothing else."""
    key = body.get("_id") if len(body) == 1 else None
    if isinstance(key, str) and key.startswith("$") and is_field(key[1:]):
        return key[1:]
    return None


def _takes_firsts(body: Mapping[str, Any]) -> bool:
    """Tell whether a `$group` wants one document of each group alone."""
    accumulators = [one for name, one in body.items() if name != "_id"]
    return all(isinstance(one, Mapping) and set(one) <= {"$first", "$last"} for one in accumulators)


def _touches(path: str, other: str) -> bool:
    return path == other or path.startswith(f"{other}.") or other.startswith(f"{path}.")


def foreign_of(pipeline: Sequence[Any]) -> Iterator[Foreign]:
    """Yield what the stages of a pipeline look into by one field."""
    for stage in pipeline:
        if not isinstance(stage, Mapping) or len(stage) != 1:
            continue
        for inner in _inner_pipelines(stage):
            yield from foreign_of(inner)
        ((operator, body),) = stage.items()
        if not isinstance(body, Mapping) or not isinstance(source := body.get("from"), str):
            continue
        joined = body.get("connectToField") if operator == "$graphLookup" else body.get("foreignField")
        if joined is None and operator == "$lookup" and isinstance(body.get("pipeline"), list):
            # Here `let` and an `$expr` join.
            tested = Leading(body["pipeline"]).filter.conditions
            equal = (one.path for one in tested if one.expression and one.operator == "$eq")
            joined = next(equal, None)
        if operator in ("$lookup", "$graphLookup") and isinstance(joined, str) and is_field(joined):
            yield Foreign(operator, source, joined)


def _inner_pipelines(stage: Mapping[str, Any]) -> Iterator[Sequence[Any]]:
    """Yield the pipelines of `$facet`, and those inside `$lookup` and `$unionWith`."""
    for operator, body in stage.items():
        if isinstance(body, Mapping):
            inner = body.values() if operator == "$facet" else (body.get("pipeline"),)
            yield from (pipeline for pipeline in inner if isinstance(pipeline, list))
