"""A pipeline's stages: what is none, where pipelines stand inside others, and which stages write. Pure.

A place is a path into the value that was typed: positions and keys, from the top. Changes no stage that it
was given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from motorctl.core.aggregation.words import STAGES
from motorctl.errors import UsageError
from motorctl.near import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "WRITERS",
    "Path",
    "Pipeline",
    "PipelineError",
    "Write",
    "checked",
    "limited",
    "stage_name",
    "writes",
]

Pipeline = list[Any]
"""Stages as they were typed, each an object with one operator once `checked` has seen them."""

Path = tuple[str | int, ...]
"""Keys and positions from the top of a value."""

WRITERS = ("$out", "$merge")
_INSIDE = {"$lookup": "pipeline", "$unionWith": "pipeline"}


class PipelineError(UsageError):
    """A pipeline is wrong at a `path`: whoever knows its text can tell line and column."""

    code = "pipeline"

    def __init__(
        self, message: str, path: Path = (), *, hint: str | None = None, at_key: bool = False, **details: Any
    ) -> None:
        super().__init__(message, hint=hint, **details)
        self.path = path
        self.at_key = at_key


class Write(NamedTuple):
    """A stage that writes: $out replaces a collection, $merge changes documents of one.

    `place` is in words, `path` leads to the stage; `target` is COLLECTION or DATABASE.COLLECTION.
    """

    stage: str
    place: str
    target: str
    path: Path
    database: str | None
    collection: str | None


def checked(value: Any) -> Pipeline:
    """Return the pipeline that a value is; one stage alone is a pipeline of one. It is not copied.

    Looks at the shape of the stages, in $lookup, $facet and $unionWith too, and not at their names: a newer
    server has more. Raises PipelineError (2) with the path of what is no stage.
    """
    alone = isinstance(value, dict)
    stages = [value] if alone else value
    if not isinstance(stages, list):
        raise PipelineError(
            "a pipeline is an array of stages", (), hint='[{"$match": {"status": "completed"}}]'
        )
    for position, stage in enumerate(stages):
        path: Path = () if alone else (position,)
        _check(stage, path, f"stage {position + 1}")
        operator = next(iter(stage))
        if operator in WRITERS and position < len(stages) - 1:
            raise PipelineError(
                f"stage {position + 1} of {len(stages)}: {operator} stands last in a pipeline",
                path,
                hint="documents that are written go nowhere else: run a second pipeline for the rest",
                stage=position + 1,
                operator=operator,
            )
    return stages


def stage_name(path: Path) -> str:
    """Return the words for a path to a stage: `stage 2`, or `stage 2, $lookup.pipeline, stage 1`."""
    if not path:
        return "stage 1"
    parts: list[str] = []
    keys: list[str] = []
    for step in path:
        if isinstance(step, str):
            keys.append(step)
            continue
        if keys:
            parts.append(".".join(keys))
            keys = []
        parts.append(f"stage {step + 1}")
    return ", ".join(parts)


def writes(pipeline: Pipeline, *, alone: bool = False) -> Iterator[Write]:
    """Yield each stage that writes, in every pipeline inside another too, whatever the stage around it.

    `alone`: the pipeline was typed as one stage without an array, which is what the paths lead through.
    """
    for position, stage in enumerate(pipeline):
        if isinstance(stage, dict):
            yield from _writes_of(stage, () if alone else (position,))


def limited(pipeline: Pipeline, limit: int | None) -> Pipeline:
    """Return the pipeline with a $limit behind it."""
    return pipeline if limit is None else [*pipeline, {"$limit": limit}]


def _check(stage: Any, path: Path, name: str) -> None:
    first: dict[str, Any] = {} if len(path) > 1 else {"stage": int(path[0]) + 1 if path else 1}
    if not isinstance(stage, dict) or len(stage) != 1:
        hint = 'a stage: {"$limit": 5}'
        several = ""
        if isinstance(stage, dict) and stage:
            keys = list(stage)
            several = f": it has {', '.join(keys[:-1])} and {keys[-1]}"
            hint = f"each stage is an object of its own: {', '.join(f'{{{key}: ...}}' for key in keys)}"
        raise PipelineError(f"{name} is not an object with one operator{several}", path, hint=hint, **first)
    (operator,) = stage
    if operator == "$var":
        raise PipelineError(
            f"{name}: a variable stands for a value, not for a stage", path, hint=_var_hint(), **first
        )
    if not operator.startswith("$"):
        meant = nearest(f"${operator}", STAGES) or f"${operator}"
        raise PipelineError(
            f"{name}: {operator!r} is not an operator", path, hint=f"did you mean {meant!r}?", **first
        )
    for inner_path, inner in _pipelines_in(operator, stage[operator]):
        for position, one in enumerate(inner):
            whole = (*path, operator, *inner_path, position)
            _check(one, whole, stage_name(whole) if path else f"{name}, {stage_name(whole)}")


def _var_hint() -> str:
    return '{"$match": {"status": {"$var": "status"}}}'


def _pipelines_in(operator: str, body: Any) -> Iterator[tuple[Path, list[Any]]]:
    """Yield the pipelines that a stage is known to hold, with their paths in it."""
    if not isinstance(body, dict):
        return
    if operator == "$facet":
        for name, inner in body.items():
            if isinstance(inner, list):
                yield (name,), inner
    elif operator in _INSIDE and isinstance(inner := body.get(_INSIDE[operator]), list):
        yield (_INSIDE[operator],), inner


def _writes_of(stage: dict[str, Any], path: Path) -> Iterator[Write]:
    for operator, body in stage.items():
        if operator in WRITERS:
            database, collection, target = _target(body)
            yield Write(operator, stage_name(path), target, path, database, collection)
        elif operator not in ("$match", "$literal"):
            yield from _hidden(body, (*path, operator))


def _hidden(value: Any, path: Path) -> Iterator[Write]:
    """Look for pipelines in whatever stage: an array of objects with one operator each may be one."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key != "$literal":
                yield from _hidden(inner, (*path, key))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            if isinstance(item, dict) and len(item) == 1 and next(iter(item)).startswith("$"):
                yield from _writes_of(item, (*path, position))
            else:
                yield from _hidden(item, (*path, position))


def _target(body: Any) -> tuple[str | None, str | None, str]:
    """Return database and collection where the body names them, and both as they are shown."""
    into = body.get("into", body) if isinstance(body, dict) else body
    if isinstance(into, dict):
        database, collection = (into.get(key) for key in ("db", "coll"))
        named = [str(part) for part in (database, collection) if part is not None]
        known = collection is not None and len(into) <= 3
        shown = ".".join(named) if named else f"what {' and '.join(into) or 'nothing'} names"
        return (database, collection, shown) if known else (None, None, shown)
    return None, str(into) if isinstance(into, str) else None, str(into)
