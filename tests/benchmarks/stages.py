"""What each stage of an import costs: its functions called one after the other, in one process, and timed.

The sum is what one processor would have to do for a document; the program does it on several at a time.
Reaches into the engine, which the other benchmarks don't: what is called here goes by the same names there.
"""

from __future__ import annotations

import asyncio
import gc
import pickle
import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import bson
import orjson
from motor.motor_asyncio import AsyncIOMotorClient

from motorctl.core import extjson
from motorctl.core.ingest.decoding import table
from motorctl.core.ingest.decoding.decode import decode
from motorctl.core.ingest.model import Plan, Reading
from motorctl.core.ingest.reading.source import Source
from motorctl.core.ingest.reading.split import split
from motorctl.core.ingest.writing.write import Writer, batches

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from motorctl.core.ingest.model import Chunk, Decoded

READ, SPLIT, PARSE, CONVERT, ENCODE = "read", "split", "parse", "convert", "encode"
REST, HAND, SEND, WAIT = "rest of decode", "to a worker and back", "send", "send, until it is answered"
STAGES = (READ, SPLIT, PARSE, CONVERT, ENCODE, REST, HAND, SEND, WAIT)
BATCH = 1000
AT_A_TIME = 100


class Clock:
    """Seconds by stage: of this process's processor, but for WAIT, which is of the clock on the wall."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        begun = time.process_time()
        yield
        self.seconds[name] += time.process_time() - begun


def costs(path: Path, documents: int, uri: str, database: str) -> dict[str, float]:
    """Import a file stage by stage; return microseconds a document. A stage that it hasn't is left out."""
    clock = Clock()
    plan = Plan()
    # Workers hardly ever look for cycles either.
    gc.disable()
    try:
        with clock.stage(READ):
            for _ in Source(str(path)).blocks():
                pass
        with clock.stage(SPLIT):
            chunks = list(split(Source(str(path)), Reading()))
        clock.seconds[SPLIT] -= clock.seconds[READ]
        # Here a file is imported once into a collection: its ids need no beginning of their own.
        decoded = [_decoded(replace(chunk, identity=bytes(7)), plan, clock) for chunk in chunks]
        asyncio.run(_send(uri, database, plan, decoded, clock))
    finally:
        gc.enable()
    return {name: spent / documents * 1e6 for name, spent in clock.seconds.items()}


def _decoded(chunk: Chunk, plan: Plan, clock: Clock) -> Decoded:
    before = _parts(clock)
    if chunk.layout == "delimited":
        with clock.stage(PARSE):
            documents, _ = table.documents(chunk, plan)
        with clock.stage(ENCODE):
            list(map(bson.encode, documents))
    else:
        _some_by_some(chunk, clock)
    parts = _parts(clock) - before
    with clock.stage(REST):
        decoded = decode(chunk, plan)
    clock.seconds[REST] -= parts
    with clock.stage(HAND):
        for value in ((chunk, plan), decoded):
            pickle.loads(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))
    return decoded


def _some_by_some(chunk: Chunk, clock: Clock) -> None:
    """Parse, convert and encode as many documents at a time as the engine does."""
    lines = [line for line in chunk.data.split(b"\n") if line.strip(b"[], \r")]
    layout: extjson.Layout = {}
    for start in range(0, len(lines), AT_A_TIME):
        some = lines[start : start + AT_A_TIME]
        with clock.stage(PARSE):
            documents = [orjson.loads(line.rstrip(b",")) for line in some]
        with clock.stage(CONVERT):
            extjson.convert_many(documents, b"\n".join(some).count(b'"$'), layout)
        with clock.stage(ENCODE):
            list(map(bson.encode, documents))


def _parts(clock: Clock) -> float:
    return sum(clock.seconds.get(name, 0.0) for name in (PARSE, CONVERT, ENCODE))


async def _send(uri: str, database: str, plan: Plan, decoded: Sequence[Decoded], clock: Clock) -> None:
    """Send all documents, a batch after the other."""
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(uri)
    writer = Writer(client[database].stages, plan)
    await writer.prepare()
    for part in decoded:
        for start, stop in batches(part, BATCH):
            begun = time.perf_counter()
            with clock.stage(SEND):
                outcome = await writer.write(part, start, stop)
            clock.seconds[WAIT] += time.perf_counter() - begun
            if outcome.inserted != stop - start:
                raise SystemExit(f"the server took {outcome.inserted} of {stop - start} documents")
    client.close()
