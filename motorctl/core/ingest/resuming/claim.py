"""Who may work on an import, and what is to be done of it: decided from its state in the database.

Pure, but for asking the system about a process. `Checkpoint` carries out what is decided here.
"""

from __future__ import annotations

import os
import shlex
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from motorctl import __version__
from motorctl.core.mongod import process_identity
from motorctl.errors import MotorctlError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from motorctl.core.ingest.resuming.fingerprint import Wanted

__all__ = ["LEASE", "Action", "Owner", "alive", "decide", "running"]

Action = Literal["begin", "resume", "done"]

LEASE = 30.0
"""Seconds without a sign of life after which a run elsewhere counts as dead."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that runs an import. `space` is where its `pid` counts: another one's says nothing."""

    host: str
    pid: int
    process: str | None
    space: str

    @classmethod
    def here(cls) -> Owner:
        """Describe this process."""
        pid = os.getpid()
        return cls(socket.gethostname(), pid, process_identity(pid), _space())


def _space() -> str:
    # A host's name isn't enough: clones have the same one, and so have containers on a host's network.
    if sys.platform == "linux":
        with suppress(OSError):
            boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
            return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return socket.gethostname()


def alive(
    stored: Mapping[str, Any],
    now: datetime,
    here: Owner,
    identify: Callable[[int], str | None] = process_identity,
) -> bool:
    """Whether somebody works on an import: `now` and its `updated` are both the server's time.

    A process of this machine is looked up; of any other, its last sign of life must be younger than LEASE.
    """
    if stored["state"] != "running":
        return False
    owner = stored["owner"]
    if owner["space"] == here.space and owner["process"] is not None:
        return bool(identify(owner["pid"]) == owner["process"])
    return bool((now - stored["updated"]).total_seconds() < LEASE)


def decide(
    stored: Mapping[str, Any] | None,
    others: Iterable[Mapping[str, Any]],
    wanted: Wanted,
    now: datetime,
    here: Owner,
    identify: Callable[[int], str | None] = process_identity,
) -> Action:
    """Say what a run is to do, from the state of its import and those of the `others` of that name.

    A finished import of the same files by the same plan is done; of others, begun anew. Raises
    `MotorctlError` where another process works on it, and `UsageError` where an unfinished one can't be
    gone on with because its files, its plan or the number of parts are not what they were.
    """
    for other in others:
        if (other["part"] or {}).get("of") != (wanted.part[1] if wanted.part else None):
            raise UsageError(
                f"import {wanted.name} was begun {_parts(other['part'])}, and is now wanted "
                f"{_parts({'of': wanted.part[1]} if wanted.part else None)}",
                hint=f"the parts of one import are as many in each run; {_anew(wanted.name)}",
                name=wanted.name,
            )
        if other["inputs"] != wanted.inputs:
            raise UsageError(
                f"the other parts of import {wanted.name} have another input: a file has come, gone or changed",
                hint=f"all parts share one input; {_anew(wanted.name)}",
                name=wanted.name,
            )
    if stored is None:
        return "begin"
    if alive(stored, now, here, identify):
        raise running(stored, now, here)
    changed = _changed(stored, wanted)
    if stored["state"] == "done":
        return "begin" if changed else "done"
    if stored["version"] != __version__:
        changed = changed or f"it was begun by motorctl {stored['version']}, and this is {__version__}"
    if stored["rejects_file"] != wanted.rejects_file and (
        stored["rejects_bytes"] or any(file.get("rejected") for file in stored["files"])
    ):
        was, now_ = _value(stored["rejects_file"]), _value(wanted.rejects_file)
        changed = changed or f"rejects was {was}, and is {now_} now"
    if changed:
        raise UsageError(
            f"import {wanted.id} is unfinished and can't be resumed: {changed}",
            hint=f"{_anew(wanted.name)}, which begins at the first record again",
            name=wanted.name,
        )
    return "resume"


def _changed(stored: Mapping[str, Any], wanted: Wanted) -> str:
    """Say what makes an import another one than the stored, or nothing."""
    was, now = stored["plan"], wanted.plan
    for name in sorted({*was, *now}):
        if was.get(name) != now.get(name):
            return f"{name} was {_value(was.get(name))}, and is {_value(now.get(name))} now"
    if stored["into"] != wanted.into:
        return f"it went into {stored['into']}, and is to go into {wanted.into} now"
    before = stored["files"]
    if len(before) != len(wanted.files):
        return f"it had {_files(len(before))}, and has {_files(len(wanted.files))} now"
    for old, new in zip(before, wanted.files, strict=True):
        # The same file may be called by another path; what it holds says whether it is the same.
        if Path(old["file"]).name != Path(new.file).name:
            return f"{new.file} stands where {old['file']} stood"
        if old["size"] != new.size:
            return f"{new.file} had {old['size']:,} bytes, and has {new.size:,} now"
        # A finished import needs no more of it than that it is the same text.
        touched = old["mtime"] != new.mtime and stored["state"] != "done"
        if touched or old["digest"] != new.digest:
            return f"{new.file} has been written since"
    return ""


def _value(value: Any) -> str:
    return "not given" if value is None else repr(value)


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files"


def _parts(part: Mapping[str, Any] | None) -> str:
    return "whole" if part is None else f"in {part['of']} parts"


def _anew(name: str) -> str:
    return f"to import it anew: motorctl import forget {shlex.quote(name)}"


def running(stored: Mapping[str, Any], now: datetime, here: Owner) -> MotorctlError:
    """Make the error that says who runs an import."""
    owner = stored["owner"]
    since = f"{stored['since']:%Y-%m-%d %H:%M:%S} UTC"
    hint = "wait for it to end: `motorctl import status` shows how far it is"
    if owner["space"] != here.space:
        silent = max(0.0, (now - stored["updated"]).total_seconds())
        hint += f"; should it be dead, it can be resumed {LEASE - silent:.0f} s from now"
    return MotorctlError(
        f"import {stored['_id']} is being run by process {owner['pid']} on {owner['host']} since {since}",
        hint=hint,
        name=stored["name"],
        host=owner["host"],
        pid=owner["pid"],
    )
