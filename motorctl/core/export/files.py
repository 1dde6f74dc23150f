"""The file of an export: compressed block by block, under its name whole or not at all."""

from __future__ import annotations

import bz2
import contextlib
import os
import sys
import tempfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from motorctl.errors import MotorctlError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from motorctl.core.export.model import Compression, Format

__all__ = ["compress", "compression_of", "format_of", "open_whole"]

_ENDINGS: dict[str, Compression] = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}
_OTHERS = frozenset({".xz", ".lz4", ".zip", ".7z", ".br", ".lzma", ".z"})
_FORMATS: dict[str, Format] = {".ndjson": "ndjson", ".jsonl": "ndjson", ".json": "json", ".csv": "csv"}
# They say a format that isn't written here; what says none is NDJSON.
_OTHER_FORMATS = frozenset(
    ".arrow .avro .bson .feather .html .md .ods .orc .parquet .psv .sql .sqlite .tab .toml .tsv .xls .xlsx .xml "
    ".yaml .yml".split()
)
_GZIP_LEVEL = 6
_ZSTD_LEVEL = 3
_GZIP_WINDOW = 31


def compression_of(path: Path) -> Compression | None:
    """Tell a file's compression by its ending. Raises `UsageError` for one that isn't written here."""
    ending = path.suffix.lower()
    if ending in _OTHERS:
        raise UsageError(
            f"--out {path}: export doesn't write {ending} files", hint=f"it writes {', '.join(_ENDINGS)}"
        )
    return _ENDINGS.get(ending)


def format_of(path: Path) -> Format:
    """Tell a file's format by its ending, or the one before a compression's; by default NDJSON.

    Raises `UsageError` for an ending that says a format that isn't written here.
    """
    name = path.with_suffix("") if path.suffix.lower() in _ENDINGS else path
    ending = name.suffix.lower()
    if ending in _OTHER_FORMATS:
        raise UsageError(
            f"--out {path}: export doesn't write {ending} files",
            hint=f"it writes {', '.join(_FORMATS)}; --format chooses one of them whatever the file's name is",
        )
    return _FORMATS.get(ending, "ndjson")


def compress(data: bytes, compression: Compression | None) -> bytes:
    """Compress data on its own: a gzip member, a zstd frame, a bz2 stream.

    Such pieces one after the other are a file that every program reads as one.
    """
    match compression:
        case None:
            return data
        case "gzip":
            compressor = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
            return compressor.compress(data) + compressor.flush()
        case "bz2":
            return bz2.compress(data)
        case "zstd":
            return _zstd(data)


def _zstd(data: bytes) -> bytes:
    # Loaded where it is used: other exports needn't have it.
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd.compress(data, _ZSTD_LEVEL)


@contextlib.contextmanager
def open_whole(path: Path, *, private: bool = False) -> Iterator[BinaryIO]:
    """Open a file that appears under its name when the block ends well, and not at all otherwise.

    A new one is for whom the umask says, a `private` one, which holds documents, its owner's alone; one that was
    there keeps its mode. What isn't a regular file (a pipe, `/dev/null`) is written as it comes; behind a link, what it leads to.
    Raises `UsageError` when the place can't be written and `MotorctlError` when the disk is full.
    """
    try:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.stat()  # a name that no file can have: from 3.14 on, Python's `exists` keeps that to itself
        target = Path(os.path.realpath(path))  # of a name in a working directory that is gone there is none
        if path.is_dir():
            raise UsageError(f"{path} is a directory", hint=f"name a file in it: {path / 'export.ndjson'}")
        if path.exists() and not path.is_file():
            direct: BinaryIO | None = path.open("wb")
        else:
            direct = None
            descriptor, name = tempfile.mkstemp(prefix=".motorctl-", suffix=".part", dir=target.parent)
    except OSError as error:
        hint = f"make the directory {path.parent} first" if isinstance(error, FileNotFoundError) else None
        why = (error.strerror or str(error)).lower()
        raise UsageError(f"can't write {path}: {why}", hint=hint, file=str(path)) from error
    try:
        if direct is not None:
            with direct:
                yield direct
            return
    except OSError as error:
        raise _cannot_write(path, error) from error
    part = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            part.chmod(target.stat().st_mode & 0o777)
        elif not private:
            part.chmod(0o666 & ~_umask())
        part.replace(target)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            part.chmod(
                0o600
            )  # Windows deletes no file that is read-only, as the one to be replaced may have been
        part.unlink(missing_ok=True)


def _cannot_write(path: Path, error: OSError) -> MotorctlError:
    return MotorctlError(f"can't write {path}: {error.strerror or error}", file=str(path))


def _umask() -> int:
    mask = os.umask(0o077)  # what another thread creates meanwhile is its owner's
    os.umask(mask)
    return mask
