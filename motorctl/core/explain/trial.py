"""Tries indexes on a sample copy of a collection. The collection itself is read, and never changed.

The copy goes through this process and not by `$out` or `$merge`: a pipeline that is cancelled here goes on there
for a while, and would make the collection again after it was dropped. Its name is the one of all that
this tool makes for a while: what a killed run leaves behind, the next one removes.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import WriteConcern
from pymongo.errors import BulkWriteError, OperationFailure, PyMongoError

from motorctl.core import driver
from motorctl.core.driver import UNAUTHORIZED, once
from motorctl.core.explain import ask, read
from motorctl.core.explain.summary import summary
from motorctl.core.index_usage import sized
from motorctl.core.schema import Collection, Index, fetch
from motorctl.core.schema.applying.catalog import Catalog
from motorctl.core.schema.applying.rebuild import drop_abandoned, finish, scratch_name
from motorctl.core.schema.model import TEMPORARY
from motorctl.errors import AuthorizationError, MotorctlError, UsageError, no_collection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from motorctl.client import Database
    from motorctl.core.driver import Attempt
    from motorctl.core.explain.advice import Proposal
    from motorctl.core.explain.plan import Plan
    from motorctl.core.explain.query import Query

SAMPLE = 20_000
"""Documents of a copy, unless somebody says otherwise."""

LARGEST = 200_000
"""Documents that may be asked for: beyond that a copy is no sample any more."""

_BYTES = 64 * 2**20
"""The size at which a copy ends, however few documents it has."""

_BATCH = 1_000
_SECONDS = 120
"""How long a trial may take. Well within the time after which a copy counts as abandoned."""

_ROOM = 4
"""How many times the copy's size must be free on the server's disk: its indexes, the journal, the sort of a build."""

_RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)
_DUPLICATE = 11000

_SHAPE = ("collation", "clusteredIndex")
"""Options of a collection that have a say in how queries run."""

_TASKS = ("unique", "prepareUnique", "expireAfterSeconds")
"""Options of an index that refuse or delete documents, and have no say in that."""


@dataclass(frozen=True)
class Intention:
    """What a trial makes for a while: `copy`, with `sample` of `documents` documents and the `kept` indexes."""

    query: Query
    proposals: tuple[Proposal, ...]
    database: str
    copy: str
    sample: int
    documents: int
    kept: tuple[Index, ...] = ()
    shape: tuple[tuple[str, Any], ...] = ()

    @property
    def is_whole(self) -> bool:
        return self.sample >= self.documents

    def sentence(self) -> str:
        """Say beforehand what is made and removed."""
        if self.is_whole:
            what = f"all {self.documents:,} documents"
        else:
            what = f"{self.sample:,} of {self.documents:,} documents ({self.sample / self.documents:.1%})"
        count = len(self.kept)
        others = f" and its {count} indexes" if count > 1 else " and its index" if count else ""
        return (
            f"{what} of {self.query.collection}{others} are copied to {self.database}.{self.copy}, which is "
            f"dropped at the end; {self.query.collection} itself isn't changed"
        )


@dataclass(frozen=True)
class Trial:
    """Two plans over the same `sample` documents out of `documents`: without the proposed indexes, and with.

    `build_ms` is how long they took to build there. All figures are of the sample: the server may choose
    otherwise over the whole collection.
    """

    before: Plan
    after: Plan
    proposals: tuple[Proposal, ...]
    sample: int
    documents: int
    build_ms: float

    @property
    def share(self) -> float:
        """The part of the collection that was copied, from 0 to 1."""
        return min(1.0, self.sample / self.documents) if self.documents else 1.0

    @property
    def is_chosen(self) -> bool:
        """Tell whether the server takes one of the new indexes."""
        return any(proposal.resolved_name in self.after.indexes for proposal in self.proposals)

    def document(self) -> dict[str, Any]:
        """Write it for machines: `indexes, sample, documents, share, build_ms, chosen, before, after`."""
        return {
            "indexes": [
                {"keys": dict(one.keys), "name": one.resolved_name, **one.options} for one in self.proposals
            ],
            "sample": self.sample,
            "documents": self.documents,
            "share": round(self.share, 4),
            "build_ms": round(self.build_ms, 1),
            "chosen": self.is_chosen,
            "before": summary(self.before),
            "after": summary(self.after),
        }

    def rows(self) -> list[dict[str, Any]]:
        """Write the figures that an index changes as rows: `figure, before, after`."""
        both = self.before, self.after
        figures: dict[str, list[Any]] = {
            "verdict": [plan.verdict for plan in both],
            "index": [", ".join(plan.indexes) or None for plan in both],
            "keys_examined": [plan.keys_examined for plan in both],
            "docs_examined": [plan.docs_examined for plan in both],
            "in_memory_sort": [plan.in_memory_sort for plan in both],
            "ms": [plan.ms for plan in both],
        }
        return [{"figure": name, "before": values[0], "after": values[1]} for name, values in figures.items()]


async def intend(
    db: Database, query: Query, proposals: Sequence[Proposal], *, size: int = SAMPLE, attempt: Attempt = once
) -> Intention:
    """Look at what there is to copy; writes nothing, so it is the whole of a dry run.

    Proposals for other collections are left out: only the query's own is copied. Raises UsageError for what
    can't be copied, NotFoundError without the collection.
    """
    name = query.collection
    if not 1 <= size <= LARGEST:
        raise UsageError(f"a sample has 1 to {LARGEST:,} documents, not {size:,}", size=size)
    found: Collection | None = (await attempt(partial(fetch, db, {name}))).get(name)
    if found is None:
        raise no_collection(name, db.name)
    await _refuse_what_is_no_collection(db, found)
    own = tuple(proposal for proposal in proposals if proposal.collection == name)
    if not own:
        raise UsageError(
            f"no index of {name} is proposed for this query: there is nothing to try", collection=name
        )
    documents = int(await attempt(db[name].estimated_document_count))
    if not documents:
        raise UsageError(f"{name} has no documents to try an index on", collection=name)
    sample = min(size, documents)
    await _refuse_without_room(db, name, sample)
    return Intention(
        query,
        own,
        db.name,
        await scratch_name(db),
        sample,
        documents,
        tuple(_harmless(index) for index in found.indexes if not index.resolved_name.startswith(TEMPORARY)),
        tuple((option, found.options[option]) for option in _SHAPE if option in found.options),
    )


async def _refuse_what_is_no_collection(db: Database, found: Collection) -> None:
    if found.is_view:
        source = found.options["viewOn"]
        raise UsageError(
            f"{found.name} is a view: there are no documents of its own to copy",
            hint=f"explain the pipeline on {source} instead",
            collection=found.name,
        )
    if "timeseries" in found.options:
        raise UsageError(
            f"{found.name} is a time series: a sample would fill other buckets, and its plan say nothing",
            collection=found.name,
        )
    if (await db.command({"hello": 1})).get("msg") == "isdbgrid":
        stats = await db.command({"collStats": found.name})
        if stats.get("sharded"):
            raise UsageError(
                f"{found.name} is sharded: a copy on one shard would say nothing of its plan",
                collection=found.name,
            )


async def _refuse_without_room(db: Database, name: str, sample: int) -> None:
    """Compare the disk with what the copy may need, where the server tells."""
    try:
        stats = await db.command({"dbStats": 1})
        own = await db.command({"collStats": name})
    except OperationFailure as error:
        if error.code != UNAUTHORIZED:
            raise
        return
    if not stats.get("fsTotalSize"):
        return
    free = int(stats["fsTotalSize"] - stats["fsUsedSize"])
    need = _ROOM * min(_BYTES, int(own.get("avgObjSize", 0)) * sample)
    if need > free:
        raise MotorctlError(
            f"a copy may need {sized(need)} on disk, and the server has {sized(free)} left",
            hint="take a smaller sample",
            need=need,
            free=free,
        )


def _harmless(index: Index) -> Index:
    """Keep what of an index has a say in plans: no document is refused or deleted by it."""
    return replace(
        index, options={name: value for name, value in index.options.items() if name not in _TASKS}
    )


async def try_index(
    db: Database,
    intention: Intention,
    *,
    attempt: Attempt = once,
    progress: Callable[[int], None] = lambda _: None,
) -> Trial:
    """Carry out what `intend` found; the copy is removed whatever happens.

    `progress` is told how many documents were copied since the last time. Raises AuthorizationError without
    the right to write, MotorctlError when it takes too long; else the driver's errors.
    """
    catalog = Catalog(db, attempt)
    await drop_abandoned(catalog)
    try:
        async with asyncio.timeout(_SECONDS), _copy(catalog, intention):
            return await _tried(catalog, intention, progress)
    except TimeoutError:
        raise MotorctlError(
            f"the trial wasn't done within {_SECONDS} s; its copy is removed", hint="take a smaller sample"
        ) from None
    except OperationFailure as error:
        if error.code != UNAUTHORIZED:
            raise
        raise AuthorizationError(
            f"no right to make a sample copy in database {db.name}: {driver.refusal(error)}",
            hint=f"the role readWrite of {db.name} permits it; the collection itself is never written to",
            database=db.name,
            server_code=error.code,
        ) from error


@asynccontextmanager
async def _copy(catalog: Catalog, intention: Intention) -> AsyncIterator[None]:
    """Have the copy, empty and with the collection's indexes, while the block lasts."""
    name = intention.copy
    try:
        await finish(catalog.create_collection(name, dict(intention.shape)))
        for index in intention.kept:
            await finish(catalog.create_index(name, index.specification()))
        yield
    except BaseException as error:
        try:
            await finish(catalog.drop_collection(name))
        except PyMongoError:
            if not (isinstance(error, OperationFailure) and error.code == UNAUTHORIZED):
                error.add_note(_left(intention))
        raise
    try:
        await finish(catalog.drop_collection(name))
    except PyMongoError as error:
        raise MotorctlError(
            _left(intention), hint="the next trial removes it, a few minutes from now", collection=name
        ) from error


def _left(intention: Intention) -> str:
    return f"the sample copy {intention.database}.{intention.copy} is left: drop it"


async def _tried(catalog: Catalog, intention: Intention, progress: Callable[[int], None]) -> Trial:
    db, name = catalog.db, intention.copy
    copied = await _fill(db, intention, progress)
    query = replace(intention.query, collection=name)
    before = await _plan(catalog, query, intention)
    started = time.monotonic()
    for proposal in intention.proposals:
        await finish(catalog.create_index(name, proposal.index().specification()))
    build_ms = (time.monotonic() - started) * 1000
    # A hint would hold it to what was there before.
    after = await _plan(catalog, replace(query, hint=None), intention)
    return Trial(before, after, intention.proposals, copied, max(intention.documents, copied), build_ms)


async def _plan(catalog: Catalog, query: Query, intention: Intention) -> Plan:
    limit = _SECONDS * 1000
    document = await catalog.attempt(partial(ask.explain, catalog.db, query, max_time_ms=limit))
    plan = read.read(document)
    # The plan speaks of the collection that it stands for.
    return replace(plan, namespace=f"{catalog.db.name}.{intention.query.collection}")


async def _fill(db: Database, intention: Intention, progress: Callable[[int], None]) -> int:
    """Copy the sample, byte for byte; return how many documents it has."""
    source = db.get_collection(intention.query.collection, codec_options=_RAW)
    target = db.get_collection(intention.copy, codec_options=_RAW, write_concern=WriteConcern(w=1))
    wanted: dict[str, Any] = {"$match": {}} if intention.is_whole else {"$sample": {"size": intention.sample}}
    options = {"allowDiskUse": True, "maxTimeMS": _SECONDS * 1000, "batchSize": _BATCH}
    rows = await driver.aggregate(source, [wanted, {"$limit": intention.sample}], **options)
    copied = size = 0
    batch: list[Any] = []
    async for row in rows:
        document: Any = row
        batch.append(document)
        size += len(document.raw)
        if len(batch) == _BATCH or size > _BYTES:
            # Cancelled on its way it would be carried out all the same, perhaps after the drop.
            copied += await finish(_inserted(target, batch))
            progress(len(batch))
            batch = []
        if size > _BYTES:
            break
    if batch:
        copied += await finish(_inserted(target, batch))
        progress(len(batch))
    return copied


async def _inserted(target: Any, batch: list[Any]) -> int:
    """Insert documents; one that the server has sampled twice counts once."""
    try:
        await target.insert_many(batch, ordered=False)
    except BulkWriteError as error:
        details = error.details or {}
        if any(one["code"] != _DUPLICATE for one in details["writeErrors"]):
            raise
        return int(details["nInserted"])
    return len(batch)
