"""A batch of BSON documents into the text of an export. Pure: it runs in worker processes too."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import bson
import orjson
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import InvalidBSON

from motorctl.core import extjson
from motorctl.core.export.files import compress
from motorctl.core.export.model import Block, Column, Style
from motorctl.core.export.table import find_columns, merged, row, rows
from motorctl.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["block", "heading", "pieces", "sampled"]

# As many bytes of BSON as, decoded, stay in a processor's cache until they are written.
_GROUP = 32 * 1024
# Without a time zone, which every date of BSON is without: half the time of an aware one.
_PLAIN_DATES: CodecOptions[dict[str, Any]] = CodecOptions(
    document_class=dict, datetime_conversion=DatetimeConversion.DATETIME_AUTO
)
# To name a document with text that isn't UTF-8.
_LENIENT: CodecOptions[dict[str, Any]] = CodecOptions(
    document_class=dict,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
    unicode_decode_error_handler="replace",
)


def block(batch: bytes, style: Style, before: bytes = b"", after: bytes = b"") -> Block:
    """Write a batch, BSON documents one after the other, as text between `before` and `after`.

    NDJSON and CSV end with a line end; the elements of a JSON array are separated, and no more. Raises
    `RefusedError` for a document that can't be read: of text that isn't UTF-8, say.
    """
    try:
        return _written(batch, style, before, after)
    except InvalidBSON as error:
        raise _unreadable([batch], error) from error


def _written(batch: bytes, style: Style, before: bytes, after: bytes) -> Block:
    held: tuple[Column, ...] = ()
    partial = 0
    if style.format == "csv":
        parts: list[str] = []
        count = 0
        for piece in pieces(batch, _GROUP):
            documents = bson.decode_all(piece, _PLAIN_DATES)
            text, missed, columns = rows(documents, style.columns, count_partial=style.found)
            parts.append(text)
            count += len(documents)
            partial += missed
            held = merged(held, columns)
        data = "".join(parts).encode()
    else:
        separator = b",\n" if style.format == "json" else b"\n"
        data, count = extjson.text_of(batch, separator, canonical=style.canonical)
        if count and style.format == "ndjson":
            data += b"\n"
    return Block(compress(before + data + after, style.compression), count, partial, held)


def pieces(batch: bytes, size: int) -> Iterator[bytes]:
    """Cut a batch between its documents into pieces of at least `size` bytes, the last one excepted."""
    start = stop = 0
    while stop < len(batch):
        stop += int.from_bytes(batch[stop : stop + 4], "little")
        if stop - start >= size or stop >= len(batch):
            yield batch[start:stop]
            start = stop


def heading(columns: tuple[str, ...]) -> bytes:
    """Return the header line of a table."""
    return row(columns).encode()


def sampled(sample: list[bytes], limit: int) -> tuple[str, ...]:
    """Find the columns of the first `limit` documents in some batches. Raises as `block` does."""
    documents: list[dict[str, Any]] = []
    try:
        for batch in sample:
            if len(documents) < limit:
                documents += bson.decode_all(batch, _PLAIN_DATES)
    except InvalidBSON as error:
        raise _unreadable(sample, error) from error
    return find_columns(documents[:limit])


def _unreadable(batches: list[bytes], error: InvalidBSON) -> RefusedError:
    """Name the first document that can't be read, by its `_id` where that can be."""
    reason = str(error).partition(":")[0]
    for raw in (raw for batch in batches for raw in pieces(batch, 1)):
        try:
            bson.decode(raw, _PLAIN_DATES)
        except InvalidBSON:
            break
    else:
        return RefusedError(f"a document can't be read: {reason}")
    try:
        found = extjson.to_json_value(bson.decode(raw, _LENIENT).get("_id"))
    except InvalidBSON:
        return RefusedError(f"a document can't be read: {reason}")
    key = orjson.dumps(found).decode()
    if "\ufffd" in key:
        return RefusedError(f"a document can't be read: {reason}, its _id is like {key}")
    leave_out = shlex.quote(f'{{"_id": {{"$ne": {key}}}}}')
    return RefusedError(
        f"the document with the _id {key} can't be read: {reason}", hint=f"--filter {leave_out} leaves it out"
    )
