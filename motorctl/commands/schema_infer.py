"""`motorctl schema infer`: a manifest proposed from the documents of a collection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from motorctl.errors import MotorctlError, UsageError, no_collection

if TYPE_CHECKING:
    from motorctl.app import App
    from motorctl.core.infer import Path, Seen
    from motorctl.core.schema import Collection


def infer(
    ctx: typer.Context,
    collection: Annotated[str, typer.Argument(metavar="COLLECTION", help="The collection.")],
    sample: Annotated[
        int, typer.Option("--sample", min=1, metavar="N", help="Look at so many documents.")
    ] = 1000,
    enums: Annotated[
        bool, typer.Option("--enums", help="Propose the values of fields that have few different ones.")
    ] = False,
    ranges: Annotated[
        bool, typer.Option("--ranges", help="Propose the least and the greatest number of each field.")
    ] = False,
) -> None:
    """Propose a validator for a collection, from a sample of its documents.

    Only reads. Prints a manifest of the collection as it is, with a validator that each document of the
    sample fits: the types that were seen, in nested documents and arrays too, and as required what all of
    them have. Comments say how often. A proposal is to be read and changed: other documents may differ.
    Its level is moderate and its action warn, so that nothing is refused when it is applied as it is;
    `motorctl validators try` tells what it would refuse. An empty collection is an error.

    Example:
      motorctl schema infer users > users.yaml
      motorctl schema infer orders --sample 5000 --enums --ranges
      motorctl schema infer users | motorctl schema plan -
    """
    from motorctl.commands.schema_dump import as_text

    app: App = ctx.obj
    as_text(app)
    app.run(_infer(app, collection, sample, enums=enums, ranges=ranges))


async def _infer(app: App, name: str, size: int, *, enums: bool, ranges: bool) -> None:
    from motorctl.core import infer as core
    from motorctl.core import schema

    async with app.connect() as db:
        there = (await app.attempt(schema.fetch, db, {name})).get(name)
        _refuse(db.name, name, there)
        with app.diagnostics.progress(f"looking at {name}"):
            seen = await app.attempt(core.sample, db, name, size)
    if there is None or not seen.count:
        raise MotorctlError(
            f"collection {name} is empty: there is nothing to propose a validator from", collection=name
        )
    proposal = core.propose(seen, enums=enums, ranges=ranges)
    _print(app, core.manifest_of(there, proposal), _comments(name, seen, proposal.comments))
    if there.validator:
        app.diagnostics.info(f"{name} has a validator: this is another one in its place")


def _refuse(database: str, name: str, there: Collection | None) -> None:
    if there is None:
        raise no_collection(name, database)
    for option, kind in {"viewOn": "view", "timeseries": "time series"}.items():
        if option in there.options:
            raise UsageError(f"{name} is a {kind}, which takes no validator", collection=name)


def _comments(name: str, seen: Seen, found: dict[Path, str]) -> dict[Path, str]:
    documents = "1 document" if seen.count == 1 else f"{seen.count:,} documents"
    above: Path = ("collections", name, "validator", "$jsonSchema")
    top = (
        f"A proposal, from {documents} of {name}: read it and change it before it is applied.\n"
        "What the others hold is not known; validationAction: error refuses what doesn't fit."
    )
    return {(): top, **{(*above, *path): text for path, text in found.items()}}


def _print(app: App, document: dict[str, Any], comments: dict[Path, str]) -> None:
    from motorctl import manifest

    if app.output.format == "table":
        app.output.text(manifest.dump_yaml(document, comments))
    else:
        app.output.emit(document)
