"""Where the bytes of an import come from: files, directories and stdin, compressed or not.

Yields blocks of UTF-8 text, from any offset on. Knows nothing of records and never reads more than it
hands on.
"""

from __future__ import annotations

import glob
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from motorctl.core.ingest.reading.compressed import (
    BLOCK,
    MARK_LENGTH,
    check_encoding,
    decoded,
    decompressed,
    is_plain,
)
from motorctl.errors import MotorctlError, UsageError

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator, Sequence

__all__ = ["FORMATS", "Source", "check_names", "open_source", "open_sources"]

FORMATS = ("auto", "json", "ndjson", "csv", "tsv")

_READ = re.compile(r"\.(?:json|ndjson|jsonl|csv|tsv)(?:\.(?:gz|zst|bz2))?\Z", re.IGNORECASE)


@dataclass(slots=True)
class Source:
    """One input: a path, or stdin under the name `-`.

    `size` is the file's length in bytes (0 when it has none, as a pipe), `consumed` how far in it reading
    has come: the two that a progress bar needs, both before decompression. `stream` stands for what can be
    read once only: stdin, a named pipe. `read` counts the bytes of text handed on.
    """

    name: str
    stream: BinaryIO | io.RawIOBase | None = None
    size: int = 0
    consumed: int = field(default=0, init=False)
    read: int = field(default=0, init=False)
    _lines: tuple[int, int] = field(default=(0, 0), init=False, repr=False)

    def blocks(self, start: int = 0, stop: int | None = None, encoding: str | None = None) -> Iterator[bytes]:
        """Yield the input's text as UTF-8, from `start` to `stop`, both in bytes of it.

        Goes to `start` at once where `is_seekable`, and else by decompressing and passing over what is before
        it. Only a byte order mark of UTF-8 is left in. `encoding` is a Python codec's name; None is UTF-8, or
        what a byte order mark says. Raises `MotorctlError` when the compressed data is damaged, the file
        can't be read or ends before `start`, `UsageError` for an encoding that isn't one.
        """
        position = start if start and self.is_seekable(encoding) else 0
        raw = self._counted(position)
        for block in raw if position else decoded(decompressed(raw, self.name), encoding):
            begin = position
            position += len(block)
            first, last = max(0, start - begin), None if stop is None else max(0, stop - begin)
            handed = block[first:last]
            if handed:
                self.read += len(handed)
                yield handed
            if stop is not None and position >= stop:
                return
        if position < start:
            raise self._shorter(start)

    def is_seekable(self, encoding: str | None = None) -> bool:
        """Whether offsets in the text are those in the file: a regular one, uncompressed, in UTF-8.

        Raises as `blocks` does.
        """
        if self.stream is not None or (encoding is not None and check_encoding(encoding) is not None):
            return False
        return is_plain(next(self._file_blocks(0), b"")[:MARK_LENGTH])

    def check_length(self) -> None:
        """Raise `MotorctlError` for a file that has become shorter since it was opened: what was cut off is lost."""
        if self.stream is None and self.size:
            try:
                size = Path(self.name).stat().st_size
            except OSError as error:
                raise self._unreadable(error) from error
            if size < self.size:
                raise MotorctlError(
                    f"{self.name} became shorter while it was read: {size:,} of {self.size:,} bytes are left",
                    hint="what was read of it is imported; import it again when it is whole",
                    file=self.name,
                )

    def line_end(self, offset: int) -> int:
        """Find the first place after a line end that is past `offset`, or the end of the file.

        For a source that `is_seekable`.
        """
        for block in self._file_blocks(offset):
            if found := block.find(b"\n") + 1:
                return offset + found
            offset += len(block)
        return offset

    def lines_before(self, offset: int) -> int:
        """Count the line ends before `offset`, reading what lies before it, or since the last such offset.

        For a source that `is_seekable`. It waits for the disk: nothing for an event loop's thread.
        """
        begin, lines = self._lines if self._lines[0] <= offset else (0, 0)
        position = begin
        for block in self._file_blocks(begin):
            lines += block.count(b"\n", 0, offset - position)
            position += len(block)
            if position >= offset:
                break
        self._lines = offset, lines
        return lines

    def _counted(self, start: int) -> Iterator[bytes]:
        self.consumed = start
        for block in self._file_blocks(start) if self.stream is None else self._stream_blocks(self.stream):
            self.consumed += len(block)
            yield block

    def _file_blocks(self, start: int) -> Iterator[bytes]:
        try:
            with Path(self.name).open("rb", buffering=0) as file:
                if start > os.fstat(file.fileno()).st_size:
                    raise self._shorter(start)
                file.seek(start)
                while block := file.read(BLOCK):
                    yield block
        except OSError as error:
            raise self._unreadable(error) from error

    def _stream_blocks(self, stream: BinaryIO | io.RawIOBase) -> Iterator[bytes]:
        # Below the stream object: a thread that waits for stdin in here holds no lock of the stream,
        # which the interpreter would want at its end.
        descriptor = _descriptor(stream)
        try:
            while block := stream.read(BLOCK) if descriptor is None else os.read(descriptor, BLOCK):
                yield block
        except OSError as error:
            raise self._unreadable(error) from error
        finally:
            if self.name != "-":
                stream.close()

    def _unreadable(self, error: OSError) -> MotorctlError:
        return MotorctlError(f"can't read {self.name}: {error.strerror or error}", file=self.name)

    def _shorter(self, start: int) -> MotorctlError:
        return MotorctlError(
            f"{self.name} ends before byte {start}, up to which it was read before",
            hint="it isn't the file that it was: import it from its beginning",
            file=self.name,
        )


def open_sources(names: Sequence[str], stdin: BinaryIO) -> list[Source]:
    """Make the sources of the FILE arguments, in order; `-` is stdin.

    A directory stands for the files directly in it whose names end as JSON or delimited text does, `*`,
    `?`, `[…]` and `**` for the files they match, both sorted by name; a file of that very name goes first.
    Raises `UsageError` for what isn't there, can't be read or stands for no file at all.
    """
    return [open_source(name, stdin) for given in names for name in _expanded(given)]


def _expanded(name: str) -> list[str]:
    path = Path(name)
    if name != "-" and path.is_dir():
        try:
            # A named pipe in a directory is nobody's data set, and waiting for its writer nobody's wish.
            found = sorted(str(file) for file in path.iterdir() if _READ.search(file.name) and file.is_file())
        except OSError as error:
            raise UsageError(f"can't read {name}: {error.strerror or error}", file=name) from error
        if not found:
            raise UsageError(
                f"{name} is a directory without any file to import",
                hint="it would read *.json, *.ndjson, *.jsonl, *.csv and *.tsv, also with .gz, .zst or .bz2",
                file=name,
            )
        return found
    if name == "-" or not glob.has_magic(name) or os.path.lexists(name):
        return [name]
    # Path.glob takes no absolute pattern.
    matches = glob.glob(name, recursive=True)  # noqa: PTH207 - a pattern may be absolute, which Path.glob refuses
    found = sorted(match for match in matches if not Path(match).is_dir())
    if not found:
        raise UsageError(f"no file matches {name}", file=name)
    return found


def open_source(name: str, stdin: BinaryIO) -> Source:
    """Make the source of one file; `-` is stdin.

    Raises `UsageError` for what isn't there, is a directory or can't be read.
    """
    if name == "-":
        return Source("-", stdin)
    path = Path(name)
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise UsageError(f"{name} is a directory", file=name)
        file = path.open("rb", buffering=0)
        if not stat.S_ISREG(status.st_mode):
            # A named pipe, `<(command)`: what is read of it is gone, so it is opened once and never probed.
            return Source(name, file)
        file.close()
    except FileNotFoundError as error:
        raise UsageError(
            f"no such file: {name}",
            hint="a path begins in the directory that you are in; - is stdin",
            file=name,
        ) from error
    except (OSError, ValueError) as error:
        raise UsageError(
            f"can't read {name}: {getattr(error, 'strerror', None) or error}", file=name
        ) from error
    return Source(name, None, status.st_size)


def check_names(names: Sequence[str], rejects: str | None, stdin: BinaryIO) -> None:
    """Raise `UsageError` for a file that is named twice, or that the rejects would overwrite.

    One file may have many names: `./a`, a link, stdin. For the names of sources, one a file.
    """
    seen: dict[tuple[int, int] | str, str] = {}
    for name in names:
        identity = _identity(name, stdin)
        if identity in seen:
            other = seen[identity]
            raise UsageError(f"{name} is named twice" + (f", as {other}" if other != name else ""))
        seen[identity] = name
    if rejects is not None and _identity(rejects, None) in seen:
        raise UsageError(f"--rejects {rejects} would overwrite an input", hint="name another file")


def _identity(name: str, stdin: BinaryIO | None) -> tuple[int, int] | str:
    """What two names of one file have in common."""
    try:
        status = os.fstat(stdin.fileno()) if name == "-" and stdin is not None else Path(name).stat()
    except (OSError, ValueError):
        return name
    # Regular files alone: /dev/null is a fine input and a fine place for rejects.
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else name


def _descriptor(stream: BinaryIO | io.RawIOBase) -> int | None:
    try:
        return stream.fileno()
    except OSError:
        return None
