"""The state of an import in the database, beside the data it speaks of: what `--resume` goes on from.

One document in `motorctl_imports` for each import, or for each of its parts. It says how far each file is
booked, who works on it and when he last gave a sign of life. Whether a run may go on from it is decided in
`claim`. Never touches the data, a file of the import's, or the rejects file.

How an engine uses it:

    checkpoint = await Checkpoint.claim(db, wanted(name, into, files, described(plan, reading)), attempt=…)
    checkpoint.done          all of it was imported before: nothing to do, `marks` hold the counts
    checkpoint.resumed       an earlier run began it; rejects_bytes is the length to cut the rejects file to
    checkpoint.replaced      another import, finished, had the name: its state is gone, but for
    checkpoint.carried       so many files, which it had imported and which are the same as they were
    checkpoint.marks[i]      Mark of file i: place, done, and the counts up to that place
    checkpoint.place(i)      where to go on in file i; None is its beginning
    checkpoint.identity(i)   7 bytes: `Chunk.identity` of file i, the same in each run
    checkpoint.doubtful      so many of this run's first chunks may have been written by an earlier one
    checkpoint.begun         the first batch may have been sent (--drop has dropped): don't drop again
    await checkpoint.begin() right before the first batch is sent, after --drop
    checkpoint.due           time for the next `save`
    await checkpoint.save({i: Mark(…)}, rejects_bytes)
    await checkpoint.finish("done" | "stopped" | "failed", reason)    always; it ends the heartbeat

What an engine promises: the records of a file before a saved `place` are booked and in `Mark`'s counts;
nothing is sent before `begin`; no chunk is sent that is `WINDOW` or more chunks past the places last
saved (in the order of the files) before it has saved again. That bounds what a later run has to doubt.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import bson
from bson import ObjectId
from pymongo import ReadPreference, WriteConcern
from pymongo.errors import DuplicateKeyError

from motorctl import __version__
from motorctl.core.driver import once, server_time
from motorctl.core.ingest.model import Place
from motorctl.core.ingest.resuming.claim import LEASE, Owner, decide
from motorctl.core.ingest.resuming.fingerprint import COLLECTION
from motorctl.core.ingest.resuming.legible import illegible, wrong_in
from motorctl.errors import MotorctlError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from motorctl.client import Collection, Database
    from motorctl.core.driver import Attempt
    from motorctl.core.ingest.resuming.claim import Action
    from motorctl.core.ingest.resuming.fingerprint import Wanted

__all__ = ["WINDOW", "Checkpoint", "Mark", "changes", "imports", "mark"]

How = Literal["done", "stopped", "failed"]

HEARTBEAT = 5.0
WINDOW = 512
SAVE_SECONDS = 1.0
SAVE_SHARE = 0.03
"""A save waits until those before it have taken less than this share of the time."""
LARGEST = 12 * 1024 * 1024
"""Bytes of a state; the server takes 16 MB, and places with their headers are still to come."""


_OF_OTHERS = ("part", "inputs")
"""What is read of the states of an import's other parts."""


class Mark(NamedTuple):
    """How far a file is booked: up to `place`, or all of it if `done`; the counts are of what is before.

    `bytes` are counted after decompression, `consumed` before it.
    """

    place: Place | None = None
    done: bool = False
    read: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0
    bytes: int = 0
    consumed: int = 0


def imports(db: Database) -> Collection:
    """The collection of the states: read from the primary, written to a majority."""
    return db.get_collection(
        COLLECTION,
        read_preference=ReadPreference.PRIMARY,
        write_concern=WriteConcern(w="majority", wtimeout=int(LEASE * 1000)),
    )


def mark(file: Mapping[str, Any]) -> Mark:
    """Read the mark of a file of a stored state."""
    counts = {name: file.get(name, 0) for name in Mark._fields[2:]}
    return Mark(_place(file.get("place"), file), bool(file.get("done")), **counts)


def _place(stored: Mapping[str, Any] | None, file: Mapping[str, Any]) -> Place | None:
    if stored is None:
        return None
    types = tuple((name, kind) for name, kind in file.get("types", ()))
    return Place(**stored, header=tuple(file.get("header", ())), types=types)


def changes(before: Sequence[Mark], after: Mapping[int, Mark]) -> dict[str, Any]:
    """Give what `$set` needs to turn the stored marks into others, by the numbers of their files."""
    fields: dict[str, Any] = {}
    for number, new in after.items():
        old = before[number]
        if new == old:
            continue
        at = f"files.{number}"
        for name in Mark._fields[1:]:
            if getattr(old, name) != getattr(new, name):
                fields[f"{at}.{name}"] = getattr(new, name)
        if new.place is not None and new.place != old.place:
            # A header can be long, and is the same at each place of a file: it is sent once.
            place = new.place._asdict()
            header, types = list(place.pop("header")), [list(pair) for pair in place.pop("types")]
            fields[f"{at}.place"] = place
            was = (old.place.header, old.place.types) if old.place else ((), ())
            if new.place.header != was[0]:
                fields[f"{at}.header"] = header
            if new.place.types != was[1]:
                fields[f"{at}.types"] = types
    return fields


class Checkpoint:
    """The state of one import, or part, that this process works on. See the module for its use."""

    def __init__(
        self, collection: Collection, state: Mapping[str, Any], action: Action, attempt: Attempt
    ) -> None:
        self._collection = collection
        self._attempt = attempt
        self._id: str = state["_id"]
        self._claim = state["claim"]
        self._started: int = state["identity"]["started"]
        self._random: bytes = state["identity"]["random"]
        self._seconds: float = state["seconds"]
        self._opened = time.monotonic()
        self._due_at = 0.0
        self._written_at = self._opened
        self._lock = asyncio.Lock()
        self._heart: asyncio.Task[None] | None = None
        self._error: Exception | None = None
        self.done = action == "done"
        self.resumed = action == "resume"
        self.replaced = False
        self.carried = 0
        self.begun: bool = state["begun"]
        self.doubtful = WINDOW if self.resumed and self.begun else 0
        self.marks = [mark(file) for file in state["files"]]
        self.rejects_bytes: int = state["rejects_bytes"]

    @classmethod
    async def claim(cls, db: Database, wanted: Wanted, *, attempt: Attempt = once) -> Checkpoint:
        """Make an import this process's own, so that no other one works on it.

        Raises what `decide` raises; `UsageError` too for more files than a state has room for. `attempt`
        awaits each write of the state: all of them may run twice.
        """
        collection, here, token = imports(db), Owner.here(), ObjectId()
        while True:
            now = await server_time(db)
            stored = await attempt(lambda: collection.find_one({"_id": wanted.id}))
            others = await attempt(lambda: _others(collection, wanted))
            _refuse_what_is_no_state(stored, others)
            if stored is not None and stored["claim"] == token:
                # The answer to this very claim was lost.
                return cls._claimed(collection, stored, "resume" if stored["runs"] > 1 else "begin", attempt)
            action = decide(stored, others, wanted, now, here)
            if action == "done":
                assert stored is not None
                return cls(collection, stored, action, attempt)
            state = _begun(wanted, now) if action == "begin" else dict(stored or {})
            carried = _carry(stored, state) if action == "begin" and stored else 0
            state["rejects_file"] = wanted.rejects_file
            run = {"state": "running", "reason": None, "owner": asdict(here), "claim": token, "since": now}
            state |= {**run, "updated": now, "runs": state["runs"] + 1}
            if await attempt(lambda: _put(collection, stored, state)):  # noqa: B023 - awaited in here
                claimed = cls._claimed(collection, state, action, attempt)
                claimed.replaced = action == "begin" and stored is not None
                claimed.carried = carried
                return claimed

    @classmethod
    def _claimed(
        cls, collection: Collection, state: Mapping[str, Any], action: Action, attempt: Attempt
    ) -> Checkpoint:
        checkpoint = cls(collection, state, action, attempt)
        checkpoint._heart = asyncio.create_task(checkpoint._beat())
        return checkpoint

    def place(self, number: int) -> Place | None:
        """Where to go on in a file; None is its beginning."""
        return self.marks[number].place

    def identity(self, number: int) -> bytes:
        """Give the 7 bytes that the `_id`s of a file's records begin with, the same in each run.

        The first four are seconds, as in any ObjectId, and differ from file to file.
        """
        return ((self._started + number) & 0xFFFFFFFF).to_bytes(4, "big") + self._random

    @property
    def due(self) -> bool:
        """Whether it is time to save: about once a second, and rarer where that takes too long."""
        return time.monotonic() >= self._due_at

    async def begin(self) -> None:
        """Note that data is sent from now on. Raises as `save` does."""
        if not self.begun:
            await self._write({"begun": True})
            self.begun = True

    async def save(self, marks: Mapping[int, Mark], rejects_bytes: int = 0) -> None:
        """Write how far the files named by their numbers are booked, and how long the rejects file is then.

        Raises `MotorctlError` where the import isn't this process's any more, and the driver's error
        where it can't be written; the import must stop then.
        """
        if self._error is not None:
            raise self._error
        fields = changes(self.marks, marks)
        if rejects_bytes != self.rejects_bytes:
            fields["rejects_bytes"] = rejects_bytes
        await self._write(fields)
        for number, new in marks.items():
            # A place that was stored stays: there is none before it.
            self.marks[number] = (
                new if new.place is not None else new._replace(place=self.marks[number].place)
            )
        self.rejects_bytes = rejects_bytes

    async def finish(self, how: How, reason: str | None = None) -> None:
        """End this process's work on the import, whatever became of it. A second call does nothing.

        Raises as `save` does where `how` is done; else not: what stopped the import is to be told, and a
        state without a living owner says by itself that it was stopped.
        """
        heart, self._heart = self._heart, None
        if heart is None:
            return
        heart.cancel()
        await asyncio.gather(heart, return_exceptions=True)
        if how == "done":
            if open_ := sum(not mark.done for mark in self.marks):
                raise MotorctlError(
                    f"defect: import {self._id} ends, and {open_:,} of its files are not read to their end",
                    hint="this is a mistake in motorctl: import it again with --resume",
                )
            await self._write({"state": how, "reason": None})
            self.done = True
            return
        with suppress(Exception):
            async with asyncio.timeout(HEARTBEAT):
                await self._write({"state": how, "reason": reason}, attempt=once)

    async def _write(self, fields: dict[str, Any], attempt: Attempt | None = None) -> None:
        async with self._lock:
            begun = time.monotonic()
            update = {
                "$set": {**fields, "seconds": round(self._seconds + begun - self._opened, 3)},
                "$currentDate": {"updated": True},
            }
            one = {"_id": self._id, "claim": self._claim}
            result = await (attempt or self._attempt)(lambda: self._collection.update_one(one, update))
            self._written_at = time.monotonic()
            # Rarer than the heartbeat it isn't: what is saved late has to be read again.
            pause = min((self._written_at - begun) / SAVE_SHARE, HEARTBEAT)
            self._due_at = self._written_at + max(SAVE_SECONDS, pause)
        if not result.matched_count:
            raise MotorctlError(
                f"import {self._id} is no longer this process's: it was forgotten, or taken over after "
                f"{LEASE:.0f} s without a sign of life",
                hint="`motorctl import status` shows who runs it",
            )

    async def _beat(self) -> None:
        """Give a sign of life while nothing is saved: a pipe may be silent for hours."""
        while self._error is None:
            await asyncio.sleep(HEARTBEAT)
            if time.monotonic() - self._written_at >= HEARTBEAT - 1:
                try:
                    await self._write({})
                except Exception as error:  # noqa: BLE001 - raised by the next save
                    self._error = error


async def _others(collection: Collection, wanted: Wanted) -> list[dict[str, Any]]:
    of_the_name = {"name": wanted.name, "_id": {"$ne": wanted.id}}
    return [state async for state in collection.find(of_the_name, list(_OF_OTHERS))]


def _refuse_what_is_no_state(stored: Mapping[str, Any] | None, others: Sequence[Mapping[str, Any]]) -> None:
    if stored is not None and (field := wrong_in(stored)) is not None:
        raise illegible(stored, field)
    for other in others:
        if (field := wrong_in(other, fields=_OF_OTHERS)) is not None:
            raise illegible(other, field)


def _begun(wanted: Wanted, now: datetime) -> dict[str, Any]:
    """Give the state of an import of which nothing is done."""
    part = wanted.part
    state: dict[str, Any] = {
        "_id": wanted.id,
        "name": wanted.name,
        "into": wanted.into,
        "part": {"number": part[0], "of": part[1], "sliced": wanted.sliced} if part else None,
        "plan": wanted.plan,
        "files": [asdict(file) for file in wanted.files],
        "identity": {"started": int(now.timestamp()), "random": secrets.token_bytes(3)},
        "inputs": wanted.inputs,
        "rejects_file": wanted.rejects_file,
        "rejects_bytes": 0,
        "begun": False,
        "runs": 0,
        "seconds": 0.0,
        "created": now,
        "version": __version__,
    }
    if (size := len(bson.encode(state))) > LARGEST:
        raise UsageError(
            f"{len(wanted.files):,} files are too many for one import with --resume: its state would take "
            f"{size:,} bytes, and a document has room for {LARGEST:,}",
            hint="import them in several runs, or in parts (--part 1/8)",
        )
    return state


def _carry(stored: Mapping[str, Any], state: dict[str, Any]) -> int:
    """Take over what a finished import of the same plan has done: the files that are the same. Count them."""
    if any(stored[name] != state[name] for name in ("plan", "into", "part")):
        return 0
    known = {(Path(file["file"]).name, file["size"], file["digest"]): file for file in stored["files"]}
    carried = 0
    for file in state["files"]:
        old = known.get((Path(file["file"]).name, file["size"], file["digest"]))
        if old is not None and old.get("done"):
            file |= {**old, "file": file["file"], "mtime": file["mtime"]}
            carried += 1
    return carried


async def _put(collection: Collection, stored: Mapping[str, Any] | None, state: Mapping[str, Any]) -> bool:
    """Write a state in the place of the stored one (or of none); False where that isn't there any more."""
    if stored is None:
        try:
            await collection.insert_one(dict(state))
        except DuplicateKeyError:
            return False
        return True
    one = {name: stored[name] for name in ("_id", "claim", "updated")}
    return bool((await collection.replace_one(one, state)).matched_count)
