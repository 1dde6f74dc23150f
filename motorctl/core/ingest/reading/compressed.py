"""Blocks of bytes on their way to UTF-8 text: decompressed by their first bytes, decoded where need be.

Works block by block, each of bounded size, in the thread that takes the blocks. Never opens a file.
"""

from __future__ import annotations

import bz2
import codecs
import sys
import zlib
from itertools import chain
from typing import TYPE_CHECKING, Protocol

from motorctl.errors import MotorctlError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["BLOCK", "MARK_LENGTH", "check_encoding", "decoded", "decompressed", "is_plain"]

BLOCK = 256 * 1024
# The longest mark below.
MARK_LENGTH = 6

_GZIP = b"\x1f\x8b"
_BZIP2 = b"BZh"
# A frame, or one of sixteen kinds that a decompressor passes over: `pzstd` begins its files with these.
_ZSTD = (b"\x28\xb5\x2f\xfd", *(bytes([kind]) + b"\x2a\x4d\x18" for kind in range(0x50, 0x60)))
_FOREIGN = {b"PK\x03\x04": "zip", b"\xfd7zXZ\x00": "xz"}
# UTF-32 first: the mark of its little-endian form begins with the one of UTF-16.
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_BROKEN = "motorctl.broken"


class _Machine(Protocol):
    def decompress(self, data: bytes, max_length: int) -> bytes: ...
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...


def is_plain(first: bytes) -> bool:
    """Whether a file that begins with these MARK_LENGTH bytes is UTF-8 text as it stands."""
    return not first.startswith((_GZIP, _BZIP2, *_ZSTD, *_FOREIGN, *_BYTE_ORDER_MARKS))


def decompressed(blocks: Iterator[bytes], name: str) -> Iterator[bytes]:
    """Yield what gzip, bzip2 or zstd data holds, also several of one kind in a row; else the blocks.

    Raises `MotorctlError` for data that is damaged or ends early, `UsageError` for an archive of another
    kind. A frame of zstd that wants more than 128 MB of memory counts as damaged.
    """
    blocks = _marked(blocks)
    first = next(blocks, b"")
    for mark, what in _FOREIGN.items():
        if first.startswith(mark):
            hint = f"{'unzip -p' if what == 'zip' else 'xz -dc'} {name} | motorctl import -"
            raise UsageError(f"{name} is {what}, which import doesn't read", hint=hint, file=name)
    if first.startswith(_GZIP):
        yield from _inflate(first, blocks, name)
    elif first.startswith(_BZIP2):
        yield from _expand(bz2.BZ2Decompressor, first, blocks, name)
    elif first.startswith(_ZSTD):
        yield from _expand(zstd.ZstdDecompressor, first, blocks, name)
    elif first:
        yield first
        yield from blocks


def _marked(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the blocks, the first of them long enough for every mark: a pipe may hand over single bytes."""
    first = next(blocks, b"")
    while first and len(first) < MARK_LENGTH and (more := next(blocks, b"")):
        first += more
    if first:
        yield first
        yield from blocks


def _inflate(first: bytes, blocks: Iterator[bytes], name: str) -> Iterator[bytes]:
    machine = zlib.decompressobj(wbits=31)
    pending = first
    try:
        while True:
            # Bounded, so that a small file that expands without end keeps its memory small.
            data = machine.decompress(pending, BLOCK)
            if data:
                yield data
            pending = machine.unconsumed_tail
            if machine.eof:
                # Tapes pad with zeros.
                pending = machine.unused_data.lstrip(b"\0")
                while not pending:
                    if not (more := next(blocks, b"")):
                        return
                    pending = more.lstrip(b"\0")
                machine = zlib.decompressobj(wbits=31)
            elif not pending and not (pending := next(blocks, b"")) and not data:
                raise _cut_off(name)
    except zlib.error as error:
        raise MotorctlError(f"{name} is damaged: {error}", file=name) from error


def _expand(
    make: Callable[[], _Machine], first: bytes, blocks: Iterator[bytes], name: str
) -> Iterator[bytes]:
    machine = make()
    pending = first
    while True:
        try:
            data = machine.decompress(pending, BLOCK)
        except (OSError, EOFError, zstd.ZstdError) as error:
            raise MotorctlError(f"{name} is damaged: {error}", file=name) from error
        if data:
            yield data
        pending = b""
        if machine.eof:
            pending = machine.unused_data or next(blocks, b"")
            if not pending:
                return
            machine = make()
        elif machine.needs_input and not (pending := next(blocks, b"")):
            raise _cut_off(name)


def _cut_off(name: str) -> MotorctlError:
    return MotorctlError(f"{name} ends in the middle of its compressed data", file=name)


def check_encoding(encoding: str) -> str | None:
    """Give the codec that text in `encoding` needs: None for UTF-8, which needs none.

    Raises `UsageError` for what Python knows no codec of, or none of text.
    """
    try:
        # Unlike a look-up, this refuses codecs of something else than text.
        " ".encode(encoding)
        known = codecs.lookup(encoding).name
        codecs.getincrementaldecoder(known)
    except (LookupError, ValueError) as error:
        raise UsageError(
            f"no such encoding: {encoding}", hint="for example utf-8, utf-16, latin-1, cp1252, shift_jis"
        ) from error
    return None if known in {"utf-8", "utf-8-sig"} else known


def decoded(blocks: Iterator[bytes], encoding: str | None) -> Iterator[bytes]:
    """Yield text as UTF-8. Without an `encoding` a byte order mark of UTF-16 or 32 says it, else it is UTF-8.

    A sequence that the encoding doesn't know becomes the byte FF, which no UTF-8 holds: its record is a
    reject, and the ones beside it are read.
    """
    if encoding is not None:
        codec = check_encoding(encoding)
    else:
        first = next(blocks := _marked(blocks), b"")
        codec = next((codec for mark, codec in _BYTE_ORDER_MARKS.items() if first.startswith(mark)), None)
        blocks = chain((first,), blocks)
    if codec is None:
        yield from blocks
        return
    decoder = codecs.getincrementaldecoder(codec)(_BROKEN)
    for block in blocks:
        yield decoder.decode(block).encode(errors=_BROKEN)
    yield decoder.decode(b"", final=True).encode(errors=_BROKEN)


def _mark_broken(error: UnicodeError) -> tuple[str | bytes, int]:
    if isinstance(error, UnicodeDecodeError):
        return "\udcff", error.end
    if isinstance(error, UnicodeEncodeError):
        return b"\xff" * (error.end - error.start), error.end
    raise error


codecs.register_error(_BROKEN, _mark_broken)
