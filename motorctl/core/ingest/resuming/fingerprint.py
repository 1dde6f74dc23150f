"""What an import is, so that a later run can tell whether it is the same one: its name, its files, its plan.

A file is known by its size, its time of change and a digest of its first and last bytes; a plan by what is
not as by default. Reads a few bytes of each file, and knows no database.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import asdict, dataclass, fields
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motorctl.core.ingest.reading.split import CHUNK
from motorctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from motorctl.core.ingest.model import Plan, Reading

__all__ = ["COLLECTION", "Fingerprint", "Wanted", "default_name", "described", "fingerprint", "wanted"]

COLLECTION = "motorctl_imports"
"""Where the state of imports is kept, in the database that they import into."""
END = 64 * 1024
"""How many bytes of each end of a file its digest covers."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A file as it was when it was looked at: `size` in bytes, `mtime` in nanoseconds, before decompression."""

    file: str
    size: int
    mtime: int
    digest: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """An import that is to be begun or gone on with.

    `plan` is what `described` returns. `part` is (number from 1, of how many). `files` are the part's own;
    `sliced` says that the part is a range of bytes of each of them. `inputs` is a digest of the files of all
    parts: they share one input.
    """

    name: str
    into: str
    files: tuple[Fingerprint, ...]
    plan: dict[str, Any]
    part: tuple[int, int] | None = None
    sliced: bool = False
    rejects_file: str | None = None
    inputs: str = ""

    @property
    def id(self) -> str:
        """The `_id` of its document."""
        return f"{self.name} {self.part[0]}/{self.part[1]}" if self.part else self.name


def default_name(into: str, files: Sequence[str]) -> str:
    """Name an import after its collection and its first file, as it is given on the command line.

    How many there are isn't part of it: with one more file in a directory an unfinished import would
    go by another name, and its records be imported twice.
    """
    return f"{into}/{Path(files[0]).as_posix().lstrip('/')}"


def wanted(
    name: str | None,
    into: str,
    files: Sequence[str],
    plan: dict[str, Any],
    *,
    part: tuple[int, int] | None = None,
    sliced: bool = False,
    rejects_file: str | None = None,
    all_files: Sequence[str] = (),
    typed: str | None = None,
) -> Wanted:
    """Look at the files of an import, or of a part of it if `all_files` names those of the other parts too.

    `typed` is the first FILE as it was typed, a directory or a pattern maybe: the import is named after it.

    Raises `UsageError` for a name that can't be told from a part's, and for an input that can't be read
    twice.
    """
    if into == COLLECTION:
        raise UsageError(
            f"{COLLECTION} is where the state of imports is kept: nothing can be imported into it"
        )
    name = default_name(into, [typed] if typed else all_files or files) if name is None else name
    if not name.strip() or re.search(r" \d+/\d+$", name):
        raise UsageError(
            f"an import can't have the name {name!r}",
            hint="any other text that doesn't end as a part's: x 1/8",
        )
    own = tuple(map(fingerprint, files))
    of_all = own if part is None else tuple(map(fingerprint, all_files or files))
    inputs = blake2b(digest_size=16)
    for one in of_all:
        inputs.update(f"{Path(one.file).name}\0{one.size}\0{one.digest}\0".encode())
    return Wanted(name, into, own, plan, part, sliced, rejects_file, inputs.hexdigest())


def fingerprint(name: str) -> Fingerprint:
    """Look at a file. Raises `UsageError` for stdin, for a pipe, and for what can't be read."""
    if name == "-":
        raise _only_once("stdin")
    try:
        if not stat.S_ISREG(Path(name).stat().st_mode):
            # Before it is opened: to open a pipe that nobody writes to takes for ever.
            raise _only_once(name)
        with Path(name).open("rb") as file:
            status = os.fstat(file.fileno())
            digest = blake2b(file.read(END), digest_size=16)
            # The middle of a small file belongs to both ends.
            file.seek(max(0, status.st_size - END))
            digest.update(file.read(END))
    except OSError as error:
        raise UsageError(f"can't read {name}: {error.strerror or error}", file=name) from error
    return Fingerprint(name, status.st_size, status.st_mtime_ns, digest.hexdigest())


def _only_once(name: str) -> UsageError:
    return UsageError(
        f"--resume needs files, and {name} can be read only once", hint="write it to a file first", file=name
    )


def described(plan: Plan, reading: Reading, *, drop: bool = False) -> dict[str, Any]:
    """Give what decides over the documents and where they are cut, as far as it isn't the default.

    The defaults are left out, so that an option that a later version adds changes no plan.
    """
    told: dict[str, Any] = {"chunk": CHUNK}
    for options in (plan, reading):
        values = asdict(options)
        for field in fields(options):
            if (value := values[field.name]) != field.default:
                told[field.name] = _listed(value)
    if drop:
        told["drop"] = True
    return told


def _listed(value: Any) -> Any:
    """Turn tuples into lists, as they come back from the database."""
    return [_listed(item) for item in value] if isinstance(value, (tuple, list)) else value
