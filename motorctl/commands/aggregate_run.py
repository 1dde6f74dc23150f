"""How `motorctl aggregate` runs a pipeline: the question before a write, the rows, and the stage of an error."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

from motorctl.errors import UsageError, no_collection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymongo.errors import OperationFailure

    from motorctl.app import App
    from motorctl.arguments import Pipeline as Typed
    from motorctl.client import Database
    from motorctl.core.aggregation import Filled, Options, Pipeline, Write

SHOWN = 8
"""Names of late fields that a warning has at most."""


@dataclass(frozen=True)
class Job:
    """What was asked for; `values` are the variables'."""

    collection: str
    typed: Typed
    found: Filled
    values: dict[str, Any]
    writes: list[Write]
    options: Options
    limit: int | None
    canonical: bool
    dry_run: bool


async def run(app: App, job: Job) -> None:
    """Run a pipeline, or with `dry_run` have the server check it."""
    from pymongo.errors import AutoReconnect, NetworkTimeout, OperationFailure

    from motorctl.core import aggregation
    from motorctl.driver_errors import translated

    async with app.connect() as db:
        pipeline, options = await _variables(db, job)
        pipeline = aggregation.limited(pipeline, job.limit)
        try:
            if job.dry_run:
                await _rehearse(app, db, job, pipeline, options)
            elif await _permitted(app, db, job):
                await _show(app, db, job, pipeline, options)
        except OperationFailure as error:
            await _explain(app, db, job, pipeline, options, error)
        except (AutoReconnect, NetworkTimeout) as error:
            # Its children, no server found and no primary, have hints of their own.
            if job.writes or type(error) not in (AutoReconnect, NetworkTimeout):
                raise
            ours = translated(error, None, app.settings.timeout)
            ours.hint = (
                "nothing was to be written: run it again. A server that hangs up each time may have made a "
                "document over 16 MB (MongoDB 6.0.5 does)"
            )
            raise ours from error


async def _variables(db: Database, job: Job) -> tuple[Pipeline, Options]:
    """Hand `$$name` to the server as it takes it: in `let`, from MongoDB 5.0 on."""
    from motorctl.core import aggregation, driver

    if not job.found.let:
        return job.found.pipeline, job.options
    if await driver.server_version(db) < (5, 0):
        return aggregation.inlined(job.found.pipeline, job.values), job.options
    return job.found.pipeline, replace(job.options, let=job.found.let)


async def _permitted(app: App, db: Database, job: Job) -> bool:
    """Ask for each stage that writes, with the number of documents that it may replace or change."""
    for write in job.writes:
        count = await _standing(db, write)
        there = "" if count is None else f", which has {count:,} {'document' if count == 1 else 'documents'}"
        database = f" in database {db.name}" if write.database is None and write.collection else ""
        verb = "replace collection" if write.stage == "$out" else "write into collection"
        if not app.diagnostics.confirm(f"{verb} {write.target}{database}{there}"):
            app.diagnostics.info("nothing was written")
            return False
    return True


async def _standing(db: Database, write: Write) -> int | None:
    """Return how many documents a write's target has, None where it isn't there or nobody may ask."""
    from motorctl.core import export

    if write.collection is None:
        return None
    target = db if write.database is None else db.client[write.database]
    collection = target[write.collection]
    if await export.look_up(collection) != "collection":
        return None
    return await export.count(collection)


async def _rehearse(app: App, db: Database, job: Job, pipeline: Pipeline, options: Options) -> None:
    from motorctl.core import aggregation

    await aggregation.check(db, job.collection, pipeline, options)
    rows = []
    for write in job.writes:
        line, column = job.typed.place(write.path)
        rows.append(
            {
                "stage": write.stage,
                "place": write.place,
                "target": write.target,
                "documents": await _standing(db, write),
                "line": line,
                "column": column,
            }
        )
    if not rows:
        app.diagnostics.info("the server takes the pipeline; it writes nothing")
    app.output.emit(rows)
    app.diagnostics.dry_run()


async def _show(app: App, db: Database, job: Job, pipeline: Pipeline, options: Options) -> None:
    from bson.errors import InvalidBSON

    from motorctl.core import aggregation, driver
    from motorctl.errors import RefusedError

    # A pipeline that writes may not run twice; one that reads may begin again.
    attempt = driver.once if job.writes else app.attempt
    async with aclosing(
        aggregation.batches(db, job.collection, pipeline, options, attempt=attempt)
    ) as batches:
        try:
            written = await app.output.batches(batches, canonical=job.canonical)
        except InvalidBSON as error:
            raise RefusedError(f"a document can't be read: {str(error).partition(':')[0]}") from error
    _say_what_is_late(app, written.late)
    for write in job.writes:
        left = await _standing(db, write)
        if left is not None:
            app.diagnostics.info(
                f"{write.target} has {left:,} {'document' if left == 1 else 'documents'} now"
            )
    if not written.count and not job.writes and job.collection != aggregation.DATABASE:
        await _say_if_absent(app, db, job.collection)


def _say_what_is_late(app: App, names: Sequence[str]) -> None:
    if not names:
        return
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    one = len(names) == 1
    app.diagnostics.warning(
        f"{'a field has' if one else f'{len(names)} fields have'} no column, not being in the first reply: "
        f"{', '.join(names[:SHOWN])}{more}",
        fields=list(names),
    )
    app.diagnostics.info("a last stage $project names the columns; -o ndjson shows every field")


async def _say_if_absent(app: App, db: Database, collection: str) -> None:
    """Nothing comes of a collection that isn't there, and no error either: a slip of the finger looks like it."""
    from pymongo.errors import PyMongoError

    from motorctl.core import export

    try:
        kind = await export.look_up(db[collection])
    except PyMongoError:
        return
    if kind is None:
        app.diagnostics.warning(no_collection(collection, db.name).message)


async def _explain(
    app: App, db: Database, job: Job, pipeline: Pipeline, options: Options, error: OperationFailure
) -> NoReturn:
    """Raise the server's error with the stage that it means, and its place in the text."""
    from motorctl.core import aggregation
    from motorctl.driver_errors import translated

    ours = translated(error, None, app.settings.timeout)
    if options.hint is not None and "hint provided does not correspond" in str(error):
        raise UsageError(
            f"--hint: no such index of {job.collection}",
            hint=f"`motorctl indexes list {job.collection}` shows those that there are",
        ) from error
    sentence = (error.details or {}).get("errmsg")
    if isinstance(sentence, str):
        ours.message = ours.message.replace(sentence.rstrip("."), aggregation.said(error))
    ours.hint = ours.hint or aggregation.advice(error, job.collection)
    found = await aggregation.failure(db, job.collection, pipeline, options, error)
    alone = isinstance(job.typed.value, dict)
    typed = len(job.found.pipeline)
    if found is None or (found.position is not None and found.position >= typed):
        raise ours from error
    if found.position is None:
        numbers = [number + 1 for number in found.others if number < typed]
        ours.message = f"one of the stages {', '.join(map(str, numbers))}: {ours.message}"
        ours.details |= {"stages": numbers}
        raise ours from error
    stage = () if alone else (found.position,)
    line, column = job.typed.place((*stage, *found.path))
    ours.message = (
        f"{job.typed.name}:{line}:{column}: stage {found.position + 1} ({found.operator}): {ours.message}"
    )
    ours.details |= {"stage": found.position + 1, "operator": found.operator, "line": line, "column": column}
    raise ours from error
