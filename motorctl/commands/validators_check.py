"""`motorctl validators check` and `try`: which documents a validator refuses, the present one or another.

Reads arguments and shows what `core.validators` found. Nothing here changes anything.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any

import typer

from motorctl.errors import ExitCode, UnreachableError, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from motorctl.app import App
    from motorctl.client import Database
    from motorctl.core.schema import Validator
    from motorctl.core.validators import Survey

SHOWN = 20
SAMPLE = 10_000

CollectionName = Annotated[str, typer.Argument(metavar="COLLECTION", help="The collection.")]
Limit = Annotated[int, typer.Option("--limit", min=0, metavar="N", help="List at most that many documents.")]
MaxTime = Annotated[
    float | None,
    typer.Option("--max-time", min=0.001, metavar="SECONDS", help="Stop looking after that, and say so."),
]


def check(
    ctx: typer.Context,
    collection: CollectionName,
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE]", help="Another validator, YAML or JSON; - is stdin.", show_default=False
        ),
    ] = None,
    limit: Limit = SHOWN,
    every: Annotated[
        bool, typer.Option("--all", help="List all violating documents, as they are found.")
    ] = False,
    max_time: MaxTime = None,
) -> ExitCode | None:
    """Count and list the documents that a validator refuses, and the rules they break.

    Only reads. The validator is the collection's own, whatever its level and action, or FILE's. All
    documents are looked at. The exit code is 8 when there is one that doesn't fit, 0 when all do, 3 when
    the time of --max-time was over before that was known; a collection without a validator needs a FILE.
    What --all lists as ndjson, `motorctl export COLLECTION --ids -` takes.

    Example:
      motorctl validators check users
      motorctl validators check users --all -o ndjson | motorctl export users --ids - > violating.ndjson
    """
    app: App = ctx.obj
    if every and limit != SHOWN:
        raise UsageError("--all and --limit: give one of them")
    return app.run(
        _check(app, collection, _wanted(app, file, collection), None if every else limit, max_time)
    )


def try_(
    ctx: typer.Context,
    collection: CollectionName,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A validator, YAML or JSON; - is stdin.")],
    sample: Annotated[
        int | None,
        typer.Option(
            "--sample",
            min=1,
            metavar="N",
            help=f"Look at so many documents, which the server picks; else {SAMPLE:,}.",
            show_default=False,
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Look at all documents.")] = False,
    limit: Limit = SHOWN,
    max_time: MaxTime = None,
) -> ExitCode | None:
    """Try a validator on the documents that are there, before it is applied.

    Only reads. Says what `validators check` does, with the same exit codes (8: one doesn't fit), of a sample;
    when all documents are looked at it says also how many of those that don't fit the present validator takes. To list
    all of them: `motorctl validators check COLLECTION FILE --all`.

    Example:
      echo '{"$jsonSchema": {"required": ["email"]}}' | motorctl validators try users -
      motorctl validators show users -o json | motorctl validators try users - --sample 1000
    """
    app: App = ctx.obj
    if every and sample is not None:
        raise UsageError("--all and --sample: give one of them")
    size = None if every else sample or SAMPLE
    return app.run(_try(app, collection, _wanted(app, file, collection), size, limit, max_time))


def _wanted(app: App, file: str | None, collection: str) -> Mapping[str, Any] | None:
    from motorctl import manifest

    if file is None:
        return None
    stdin = app.stdin if file == "-" else None
    return manifest.load_validator(file, stdin, collection=collection)[0]


async def _check(
    app: App, collection: str, wanted: Mapping[str, Any] | None, limit: int | None, seconds: float | None
) -> ExitCode | None:
    from motorctl.core.validators import Survey, fetch_one

    async with app.connect() as db:
        present = await app.attempt(fetch_one, db, collection)
        if present is None and wanted is None:
            raise UsageError(
                f"collection {collection} has no validator to check against",
                hint=f"name a FILE, or set one: motorctl validators apply {collection} FILE",
                collection=collection,
            )
        expression = wanted if wanted is not None or present is None else present.expression
        survey = Survey(collection, expression or {}, limit, seconds=seconds)
        if limit is None:
            await _stream(app, db, survey)
        else:
            _show(app, survey, await _listed(app, db, survey))
    return _end(app, survey, limit, own=wanted is None)


async def _try(
    app: App,
    collection: str,
    wanted: Mapping[str, Any] | None,
    sample: int | None,
    limit: int,
    seconds: float | None,
) -> ExitCode | None:
    from motorctl.core.validators import Survey, fetch_one, newly_refused

    async with app.connect() as db:
        present: Validator | None = await app.attempt(fetch_one, db, collection)
        survey = Survey(collection, wanted or {}, limit, sample, seconds)
        documents = await _listed(app, db, survey)
        newly = None
        if survey.complete and not survey.is_sampled:
            newly = await app.attempt(newly_refused, db, survey, present) if survey.violating else 0
        _show(app, survey, documents, newly_refused=newly)
    if newly and present is not None:
        fitting = "1 of them fits" if newly == 1 else f"{newly:,} of them fit"
        app.diagnostics.info(f"{fitting} the present validator")
    return _end(app, survey, limit, own=False)


async def _listed(app: App, db: Database, survey: Survey) -> list[dict[str, Any]]:
    with app.diagnostics.progress(f"checking {survey.collection}"):
        return [row async for row in _rows(app, db, survey)]


async def _stream(app: App, db: Database, survey: Survey) -> None:
    from motorctl.output import Column

    with ExitStack() as stack:
        if not app.output.terminal:
            # Nothing is drawn over the documents themselves.
            progress = stack.enter_context(app.diagnostics.progress(f"checking {survey.collection}"))

        async def shown() -> AsyncIterator[dict[str, Any]]:
            whole = app.output.format in ("json", "ndjson")
            async for row in _rows(app, db, survey):
                if not app.output.terminal:
                    progress.update(text=f"{survey.violating:,} violating")
                yield row if whole else _line(row)

        await app.output.stream(shown(), [Column("id"), Column("violations")], free=True)


def _rows(app: App, db: Database, survey: Survey) -> AsyncIterator[dict[str, Any]]:
    from motorctl.core import validators

    return app.rows(validators.survey, db, survey)


def _line(row: Mapping[str, Any]) -> dict[str, Any]:
    broken = (f"{one['field'] or 'the document'} {one['reason']}" for one in row["violations"])
    return {"id": row["id"], "violations": "; ".join(broken)}


def _show(app: App, survey: Survey, documents: list[dict[str, Any]], **more: Any) -> None:
    from motorctl.output import Column

    if app.output.format not in ("json", "ndjson"):
        app.output.emit([_line(row) for row in documents], [Column("id"), Column("violations")], free=True)
        return
    facts = {
        "collection": survey.collection,
        "checked": survey.checked,
        "complete": survey.complete,
        "sampled": survey.is_sampled,
        "violations": survey.violating,
        **more,
    }
    app.output.emit({**facts, "rules": survey.rows(), "documents": documents}, free=True)


def _end(app: App, survey: Survey, limit: int | None, *, own: bool) -> ExitCode | None:
    """Sum up on stderr, and choose the exit code."""
    say = app.diagnostics.info
    if app.output.format not in ("json", "ndjson") or limit is None:
        for row in survey.rows():
            name = f"{row['field'] or 'the document'}: {row['rule']}"
            say(f"{name}: {_documents(row['count'])}")
    of = f"a sample of {survey.size:,}" if survey.is_sampled else f"about {survey.size:,}"
    if not survey.complete:
        told = f"the time of {survey.seconds:g} s was over before all of the {of} documents were looked at"
        if not survey.violating:
            raise UnreachableError(
                f"{told}: none is known to violate the validator",
                hint="raise --max-time, or look at a sample: motorctl validators try COLLECTION FILE --sample N",
                collection=survey.collection,
            )
        app.diagnostics.warning(f"{told}: at least {_documents(survey.violating)} violate the validator")
        return ExitCode.DIFFERENCE
    number = f"{survey.violating:,}" if survey.violating else "none"
    verb = "violates" if survey.violating <= 1 else "violate"
    noun = "document" if survey.size == 1 else "documents"
    say(f"{number} of {of} {noun} {verb} the validator")
    if limit is not None and limit < survey.violating:
        again = survey.collection if own else f"{survey.collection} FILE"
        listed = f"listed are the first {limit:,}" if limit else "none is listed"
        say(f"{listed}: motorctl validators check {again} --all lists them all")
    return ExitCode.DIFFERENCE if survey.violating else None


def _documents(count: int) -> str:
    return "1 document" if count == 1 else f"{count:,} documents"
