"""Where the bytes of an import come from: files and stdin, compressed or not.

Yields blocks of bytes and tells a file's layout from its first ones. Never parses a record and never
reads more than it hands on.
"""

from __future__ import annotations

import bz2
import codecs
import os
import re
import stat
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import orjson

from motorctl.errors import MotorctlError, UsageError

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator, Sequence

    from motorctl.core.ingest.model import Layout

__all__ = ["FORMATS", "Source", "check_names", "open_source", "tell_layout"]

BLOCK = 256 * 1024
FORMATS = ("auto", "json", "ndjson", "csv", "tsv")

_FOREIGN = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
    b"\xfd7zXZ\x00": "xz",
}
_SPACE = b" \t\r\n"


@dataclass(slots=True)
class Source:
    """One input: a path, or stdin under the name `-`.

    `size` is the file's length in bytes (0 when it has none, as a pipe), `consumed` how much of it was
    read: the two that a progress bar needs, both before decompression. `stream` stands for
    what can be read once only: stdin, a named pipe. `read` counts the bytes after decompression.
    """

    name: str
    stream: BinaryIO | io.RawIOBase | None = None
    size: int = 0
    consumed: int = field(default=0, init=False)
    read: int = field(default=0, init=False)
    skipped: int = field(default=0, init=False)

    def blocks(self) -> Iterator[bytes]:
        """Yield the input's bytes, without compression and without a byte order mark.

        Raises `MotorctlError` when the compressed data is damaged or the file can't be read.
        """
        first = True
        for block in _decompressed(self._raw(), self.name):
            self.read += len(block)
            if first:
                first = False
                if block.startswith(codecs.BOM_UTF8):
                    self.skipped = len(codecs.BOM_UTF8)
                    block = block[self.skipped :]  # noqa: PLW2901
            if block:
                yield block

    def _raw(self) -> Iterator[bytes]:
        try:
            if self.stream is None:
                with Path(self.name).open("rb", buffering=0) as file:
                    yield from self._counted(file.fileno(), None)
            else:
                try:
                    yield from self._counted(_descriptor(self.stream), self.stream)
                finally:
                    if self.name != "-":
                        self.stream.close()
        except OSError as error:
            raise MotorctlError(
                f"can't read {self.name}: {error.strerror or error}", file=self.name
            ) from error

    def _counted(self, descriptor: int | None, stream: BinaryIO | io.RawIOBase | None) -> Iterator[bytes]:
        # Below the stream object: a thread that waits for stdin in here holds no lock of the stream,
        # which the interpreter would want at its end.
        while True:
            if descriptor is not None:
                block = os.read(descriptor, BLOCK)
            else:
                assert stream is not None
                block = stream.read(BLOCK) or b""
            if not block:
                return
            self.consumed += len(block)
            yield block


def open_source(name: str, stdin: BinaryIO) -> Source:
    """Make the source of a FILE argument; `-` is stdin.

    Raises `UsageError` for what isn't there, is a directory or can't be read.
    """
    if name == "-":
        return Source("-", stdin)
    path = Path(name)
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise UsageError(
                f"{name} is a directory", hint=f"name its files: {name.rstrip('/')}/*", file=name
            )
        file = path.open("rb", buffering=0)
        if not stat.S_ISREG(status.st_mode):
            # A named pipe, `<(command)`: what is read of it is gone, so it is opened once and never probed.
            return Source(name, file)
        file.close()
    except FileNotFoundError as error:
        raise UsageError(f"no such file: {name}", file=name) from error
    except OSError as error:
        raise UsageError(f"can't read {name}: {error.strerror or error}", file=name) from error
    return Source(name, None, status.st_size)


def check_names(names: Sequence[str], rejects: str | None, stdin: BinaryIO) -> None:
    """Raise `UsageError` for a file that is named twice, or that the rejects would overwrite.

    One file may have many names: `./a`, a link, stdin.
    """
    known = {name: _status(name, stdin) for name in names}
    for index, name in enumerate(names):
        for other in names[:index]:
            if name == other or _same_file(known[name], known[other]):
                raise UsageError(f"{name} is named twice" + (f", as {other}" if other != name else ""))
        if rejects is not None and (name == rejects or _same_file(known[name], _status(rejects, None))):
            raise UsageError(f"--rejects {rejects} would overwrite an input", hint="name another file")


def _status(name: str, stdin: BinaryIO | None) -> os.stat_result | None:
    try:
        if name == "-" and stdin is not None:
            return os.fstat(stdin.fileno())
        return Path(name).stat()
    except (OSError, ValueError):
        return None


def _same_file(one: os.stat_result | None, other: os.stat_result | None) -> bool:
    # Regular files alone: /dev/null is a fine input and a fine place for rejects.
    return (
        one is not None and other is not None and stat.S_ISREG(one.st_mode) and os.path.samestat(one, other)
    )


def _descriptor(stream: BinaryIO | io.RawIOBase) -> int | None:
    try:
        return stream.fileno()
    except OSError:
        return None


def _decompressed(blocks: Iterator[bytes], name: str) -> Iterator[bytes]:
    first = next(blocks, b"")
    # A pipe may hand over a single byte; six are enough for every mark.
    while first and len(first) < 6 and (more := next(blocks, b"")):
        first += more
    for mark, what in _FOREIGN.items():
        if first.startswith(mark):
            hint = "decompress it and pipe it in: … | motorctl import -"
            if what.startswith("UTF"):
                hint = f"iconv -f {what.lower()} -t utf-8 {name} | motorctl import -"
            raise UsageError(f"{name} is {what}, which import doesn't read", hint=hint, file=name)
    if first.startswith(b"\x1f\x8b"):
        yield from _inflate(first, blocks, name)
    elif first.startswith(b"BZh"):
        yield from _unbzip(first, blocks, name)
    else:
        yield first
        yield from blocks


def _inflate(first: bytes, blocks: Iterator[bytes], name: str) -> Iterator[bytes]:
    machine = zlib.decompressobj(wbits=31)
    pending = first
    try:
        while True:
            # Bounded, so that a small file that expands without end keeps its memory small.
            data = machine.decompress(pending, BLOCK)
            yield data
            pending = machine.unconsumed_tail
            if machine.eof:
                pending = machine.unused_data.lstrip(b"\0") or next(blocks, b"")
                if not pending:
                    return
                machine = zlib.decompressobj(wbits=31)
            elif not pending and not (pending := next(blocks, b"")) and not data:
                raise MotorctlError(f"{name} ends in the middle of its compressed data", file=name)
    except zlib.error as error:
        raise MotorctlError(f"{name} is damaged: {error}", file=name) from error


def _unbzip(first: bytes, blocks: Iterator[bytes], name: str) -> Iterator[bytes]:
    machine = bz2.BZ2Decompressor()
    pending = first
    try:
        while True:
            yield machine.decompress(pending, BLOCK)
            pending = b""
            if machine.eof:
                pending = machine.unused_data or next(blocks, b"")
                if not pending:
                    return
                machine = bz2.BZ2Decompressor()
            elif machine.needs_input and not (pending := next(blocks, b"")):
                raise MotorctlError(f"{name} ends in the middle of its compressed data", file=name)
    except OSError as error:
        raise MotorctlError(f"{name} is damaged: {error}", file=name) from error


def tell_layout(head: bytes, name: str, wanted: str) -> tuple[Layout, str]:
    """Tell how records lie in a file from its first bytes, which aren't blank: (layout, delimiter).

    `wanted` is one of FORMATS. The bytes decide before the name does: a pretty-printed `.json` isn't
    one object a line. Raises `UsageError` when they can't.
    """
    text = head.lstrip(_SPACE)
    if wanted == "ndjson":
        return "lines", ""
    if wanted in {"csv", "tsv"}:
        return "delimited", "," if wanted == "csv" else "\t"
    if wanted == "json" or text[:1] in {b"{", b"["}:
        if text[:1] == b"[":
            return "array", ""
        # Asked for by name, objects may be laid out in any way: that is slower than lines, and never wrong.
        return ("lines" if wanted == "auto" and _object_a_line(text) else "objects"), ""
    if b"\0" in head:
        raise UsageError(f"{name} is binary: neither JSON nor delimited text", file=name)
    bare = re.sub(r"\.(?:gz|bz2)$", "", name.lower())
    first = text.partition(b"\n")[0]
    if bare.endswith((".json", ".ndjson", ".jsonl")):
        return "lines", ""
    if bare.endswith(".tsv") or (b"\t" in first and b"," not in first):
        return "delimited", "\t"
    if bare.endswith(".csv") or b"," in first:
        return "delimited", ","
    raise UsageError(
        f"can't tell the format of {name}", hint=f"name it: --format {'|'.join(FORMATS[1:])}", file=name
    )


def _object_a_line(text: bytes) -> bool:
    """Whether the first lines are a record each; a broken one among them may be so too."""
    lines = [line for line in text.split(b"\n", 3)[:2] if line.strip()]
    return any(map(_is_json, lines)) and all(
        line.strip()[:1] == b"{" and (line.rstrip().endswith(b"}") or len(line) == len(text))
        for line in lines
    )


def _is_json(text: bytes) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True
