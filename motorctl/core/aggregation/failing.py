"""Which stage a server's error means, and the next step.

What the server refuses before it runs, it refuses in an explain too, which runs nothing: the shortest part of
the pipeline that is refused so ends with the stage that is meant. An error of the way is the stage's whose
operator its sentence names, if only one has it. Sends no stage that writes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pymongo.errors import OperationFailure, PyMongoError

from motorctl.core.aggregation.running import DATABASE, command
from motorctl.core.aggregation.stages import WRITERS, Path, Pipeline
from motorctl.core.aggregation.words import ALIASES, OPERATORS, QUERY, STAGES
from motorctl.core.driver import RETRYABLE_CODES, UNAUTHORIZED, refusal
from motorctl.near import near

if TYPE_CHECKING:
    from collections.abc import Iterator

    from motorctl.client import Database
    from motorctl.core.aggregation.running import Options

__all__ = ["Failure", "advice", "check", "failure", "said"]

# Of these no stage is to blame: no right, no time, killed, no such cursor, namespace or version of the API.
_NO_STAGE = RETRYABLE_CODES | {UNAUTHORIZED, 18, 26, 43, 50, 136, 175, 237, 322, 323, 8000, 11601}
_RUNNING = "PlanExecutor error during aggregation :: caused by :: "
_OPERATOR = re.compile(r"(?<![\w.$])\$[a-zA-Z][a-zA-Z0-9]*")
# Values of documents are quoted like this; an operator's name may be, too.
_QUOTED = re.compile(r"'(?!\$[a-zA-Z][a-zA-Z0-9]*')[^']*'|\"[^\"]*\"")
_DATA = re.compile(r"\.? (?:Input document|Type of resulting value): .*", re.DOTALL)
_UNKNOWN = re.compile(
    r"(?:Unrecognized pipeline stage name|Unknown expression|Unrecognized expression|unknown group operator"
    r"|unknown operator|unknown top level operator|Unrecognized window function)[: ,]+'?(\$\w+)'?"
)
_MEMORY = frozenset({146, 292, 16819, 16820, 16945, 40099})
_LARGE = frozenset({10334, 13548, 17419, 17420, 4031700, 31108})


@dataclass(frozen=True)
class Failure:
    """Where a pipeline failed: the stage's position from 0, its operator, and a path to what the error names.

    `others` are positions that it may be as well; `position` is None then.
    """

    position: int | None
    operator: str | None
    path: Path = ()
    others: tuple[int, ...] = ()


def said(error: OperationFailure) -> str:
    """Return the server's sentence without what frames it, and without the document or command that it quotes."""
    sentence = refusal(error).removeprefix(_RUNNING)
    return " ".join(_DATA.sub("", sentence).split()).rstrip(".")


def advice(error: OperationFailure, collection: str) -> str | None:
    """Return the next step after a server's error, where there is one to name."""
    sentence = said(error)
    if unknown := _UNKNOWN.search(sentence):
        if "stage" in unknown[0]:
            return near(unknown[1], STAGES) or "the server may be older than this stage"
        words = QUERY if unknown[0].startswith("unknown") and "group" not in unknown[0] else OPERATORS
        return near(unknown[1], words)
    if error.code == 73 and "aggregate: 1" in sentence and collection != DATABASE:
        where = " --db admin" if "admin" in sentence else ""
        return f"`motorctl aggregate .{where} PIPELINE` asks the database itself"
    if error.code == 73 and "admin" in sentence:
        return "--db admin"
    if error.code in _MEMORY:
        return "this stage can't use the disk: let fewer documents or fields come to it ($match, $project before)"
    if error.code in _LARGE:
        return (
            "a document of a result has 16 MB at most: $project what is needed, or $unwind what is collected"
        )
    if error.code == 241 or "$convert" in sentence:
        return "$convert with onError and onNull says what becomes of such a value"
    if "$divide by zero" in sentence or "$mod by zero" in sentence:
        return '$cond takes another way where the divisor is 0: {"$cond": [{"$eq": ["$n", 0]}, null, {"$divide": ...}]}'
    if error.code in (9, 40415) and re.search(r"\blet\b", sentence):
        return '{"$var": "name"} works on servers before 5.0 too'
    return None


async def check(db: Database, collection: str, pipeline: Pipeline, options: Options) -> None:
    """Have the server read a pipeline, its stages that write too, and run nothing. Raises what it refuses."""
    await db.command({"explain": command(collection, pipeline, options), "verbosity": "queryPlanner"})


async def failure(
    db: Database, collection: str, pipeline: Pipeline, options: Options, error: OperationFailure
) -> Failure | None:
    """Find the stage that an error means, None where that can't be told.

    Asks at most one explain more than the logarithm of the stages' number, without a stage that writes.
    """
    if error.code in _NO_STAGE or not pipeline:
        return None
    readable = [stage for stage in pipeline if next(iter(stage), "") not in WRITERS]
    position: int | None = None
    if not _is_of_the_way(error):
        try:
            position = await _refused(db, collection, readable, options, error)
        except PyMongoError:
            return None
        if position is None and len(readable) < len(pipeline) and not _names(error, readable):
            # What is left is the stage that writes: the others alone are fine.
            position = len(pipeline) - 1
    if position is not None:
        return _at(pipeline, position, error)
    named = _names(error, pipeline)
    if len(named) == 1:
        return _at(pipeline, named[0], error)
    return Failure(None, None, others=tuple(named)) if named else None


def _is_of_the_way(error: OperationFailure) -> bool:
    return str((error.details or {}).get("errmsg", "")).startswith(_RUNNING)


async def _refused(
    db: Database, collection: str, stages: Pipeline, options: Options, error: OperationFailure
) -> int | None:
    """Return the position of the first stage up to which an explain is refused as the run was."""

    async def refused(length: int) -> bool:
        asked = command(collection, stages[:length], options)
        try:
            await db.command({"explain": asked, "verbosity": "queryPlanner"})
        except OperationFailure as again:
            return again.code == error.code
        return False

    if not stages or not await refused(len(stages)) or await refused(0):
        return None
    fine, bad = 0, len(stages)
    while bad - fine > 1:
        middle = (fine + bad) // 2
        if await refused(middle):
            bad = middle
        else:
            fine = middle
    return bad - 1


def _at(pipeline: Pipeline, position: int, error: OperationFailure) -> Failure:
    """Describe a stage, with the path of the one key in it that the sentence names."""
    stage = pipeline[position]
    operator = next(iter(stage))
    # What it says of the stage ("Invalid $project :: ...") comes before what is wrong in it.
    for named in sorted(_operators(error), key=lambda named: named == operator):
        paths = [path for path in _keys(stage, ()) if path[-1] in _typed_as(named)]
        if len(paths) == 1:
            return Failure(position, operator, paths[0])
    return Failure(position, operator)


def _names(error: OperationFailure, pipeline: Pipeline) -> list[int]:
    """Return the positions of the stages that have an operator of the sentence, the first that some have."""
    for named in _operators(error):
        words = _typed_as(named)
        found = [n for n, stage in enumerate(pipeline) if any(path[-1] in words for path in _keys(stage, ()))]
        if found:
            return found
    return []


def _operators(error: OperationFailure) -> list[str]:
    return _OPERATOR.findall(_QUOTED.sub("", said(error)))


def _typed_as(named: str) -> frozenset[str]:
    return ALIASES.get(named, frozenset()) | {named}


def _keys(value: Any, path: Path) -> Iterator[Path]:
    """Yield the path of each key that is an operator's, and of each text that is one: of $meta, say."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key.startswith("$"):
                yield (*path, key)
            if key != "$literal":
                yield from _keys(inner, (*path, key))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from _keys(item, (*path, position))
