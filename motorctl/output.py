"""Everything on stdout: results, and nothing else, in the format that was asked for.

Rows are dicts; JSON shows them whole, the other formats show columns. Decides nothing about the data,
asks nothing, never writes to stderr.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from motorctl.diagnostics import is_terminal
from motorctl.errors import MotorctlError, UsageError
from motorctl.formats import (
    Bars,
    Column,
    Csv,
    Encode,
    Json,
    Markdown,
    Ndjson,
    Row,
    Sheet,
    Writer,
    encoder,
    found_columns,
    without_bars,
)
from motorctl.global_options import FORMATS, PICTURES
from motorctl.tables import Table
from motorctl.text import printable, printable_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

    from motorctl.pictures.picture import Picture

CHUNK = 500
"""Rows drawn at once: a longer table is drawn in pieces of that many, so that memory stays flat."""
GROUP = 64 * 1024
"""As many bytes of BSON as, decoded, are held at a time; at least one document."""
LATE = 1000
"""Names of late fields that are kept at most: a field's name may be a value, of which there is no end."""


_STYLES = {"": "", "bold": "\x1b[1m", "dim": "\x1b[2m", "bad": "\x1b[33m"}
_PLAIN = "\x1b[0m"


class OutputError(MotorctlError):
    """The results could not be written: a full disk, a closed stream."""

    code = "output"


@dataclass(frozen=True)
class Written:
    """What was made of batches: how many documents, and the fields that came too late to have a column."""

    count: int
    late: Sequence[str] = ()


class Output:
    """Writes results to one stream in one format."""

    def __init__(self, stream: TextIO, format: str, *, color: bool | None = None) -> None:
        self._stream = stream
        self.format = format
        self.terminal = is_terminal(stream)
        self._sheet = Sheet(self._write, self.terminal, self.terminal if color is None else color)

    def emit(
        self,
        data: Row | Iterable[Row],
        columns: Sequence[Column] | None = None,
        *,
        free: bool = False,
        canonical: bool = False,
        picture: Picture | None = None,
    ) -> None:
        """Write one document or a list of rows; `picture` says how html and svg draw them.

        `free` marks documents of the user's own shape: their JSON is Extended JSON (relaxed, or
        `canonical`), so that no type is lost. Others show dates in ISO 8601, ids and money as strings.
        """
        encode = encoder(free=free, canonical=canonical)
        if isinstance(data, Mapping):
            self._document(data, columns, encode)
            return
        rows = list(data)
        if self.format in PICTURES:
            self._picture(rows, columns, picture)
            return
        writer = self._writer(columns, encode, rows)
        for start in range(0, len(rows), CHUNK):
            writer.rows(rows[start : start + CHUNK])
        writer.end()

    @contextmanager
    def after(self, done: str | None, look: str | None) -> Iterator[None]:
        """Emit what a command has changed: where that can't be written, the error says what was `done`.

        Else it reads as if nothing was, and invites to do it again. `look` is the command that shows it, if one
        does. What is done is None where nothing was.
        """
        try:
            yield
            self.flush()
        except OutputError as error:
            if done is not None:
                error.message = f"{done}, but {error.message}"
                error.hint = f"`{look}` shows it" if look else None
            raise

    async def stream(
        self,
        rows: AsyncIterator[Row],
        columns: Sequence[Column] | None = None,
        *,
        free: bool = False,
        canonical: bool = False,
    ) -> int:
        """Write rows as they come, holding at most a screenful; return how many there were.

        On a terminal ndjson goes out row by row; else `CHUNK` rows go out together, which is faster and
        lets a table find its columns and widths. Bars need the longest of them: rows with bars go to `emit`.
        """
        writer = self._writer(columns and without_bars(columns), encoder(free=free, canonical=canonical))
        size = 1 if self.format == "ndjson" and self.terminal else CHUNK
        chunk: list[Row] = []
        count = 0
        async for row in rows:
            chunk.append(row)
            count += 1
            if len(chunk) >= size:
                writer.rows(chunk)
                chunk = []
        if chunk:
            writer.rows(chunk)
        writer.end()
        return count

    async def batches(self, batches: AsyncIterator[bytes], *, canonical: bool = False) -> Written:
        """Write free documents as a server sends them: each batch, BSON one after the other, at once and together.

        The fields of the first batch are the columns, where the format has some. Raises bson's InvalidBSON
        for a document that can't be read.
        """
        if self.format == "ndjson":
            return await self._lines(batches, canonical)
        from bson import decode_all

        from motorctl.core.export.text import pieces
        from motorctl.core.extjson import BSON_OPTIONS

        encode = encoder(free=True, canonical=canonical)
        writer = self._writer(None, encode)
        has_columns = self.format != "json"
        # A table is aligned, or drawn, in pieces: the fewer the better.
        size = sys.maxsize if self.format == "table" else GROUP
        known: set[str] | None = None
        late: dict[str, None] = {}
        count = 0
        async for batch in batches if has_columns else first_alone(batches):
            if known is None and has_columns:
                first: list[dict[str, Any]] = decode_all(batch, BSON_OPTIONS)
                columns = found_columns(first)
                known = {column.key for column in columns}
                writer = self._writer(columns, encode, found=True)
            for piece in pieces(batch, size):
                documents: list[dict[str, Any]] = decode_all(piece, BSON_OPTIONS)
                count += len(documents)
                if known is not None and len(late) < LATE:
                    for document in documents:
                        if not known.issuperset(document):
                            late |= dict.fromkeys(key for key in document if key not in known)
                writer.rows(documents)
            self.flush()
        writer.end()
        return Written(count, list(late))

    async def _lines(self, batches: AsyncIterator[bytes], canonical: bool) -> Written:
        """Write NDJSON, straight from the bytes as an export does."""
        from motorctl.core.export.text import pieces
        from motorctl.core.extjson import text_of

        count = 0
        async for batch in first_alone(batches):
            for piece in pieces(batch, GROUP):
                text, documents = text_of(piece, canonical=canonical)
                count += documents
                self._write(printable_json(text.decode()) + "\n")
            self.flush()
        return Written(count)

    def flush(self) -> None:
        """Push out what the stream holds: a reader sees the rows when they are there."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise cannot_write(error) from error

    def text(self, text: str) -> None:
        """Write a text that is itself the result: a manifest, a script, a URI."""
        text = text if text.endswith("\n") else text + "\n"
        self._write(printable(text, lines=True) if self.terminal else text)

    def styled(self, lines: Iterable[tuple[str, str]]) -> None:
        """Write lines of text, each with its style: "", bold, dim or bad. Without colour they are the text alone."""
        styles = _STYLES if self._sheet.color else {}
        for text, style in lines:
            shown = printable(text) if self.terminal else text
            self._write(f"{styles[style]}{shown}{_PLAIN}\n" if styles.get(style) else f"{shown}\n")

    def _document(self, document: Row, columns: Sequence[Column] | None, encode: Encode) -> None:
        if self.format == "json":
            self._write(encode(document, True) + "\n")
        elif self.format == "table":
            columns = columns and without_bars(columns)
            keys = [c.key for c in columns] if columns else list(document)
            titles = {c.key: c.heading for c in columns or ()}
            pairs = [{"field": titles.get(k, k), "value": document[k]} for k in keys if k in document]
            Table(self._sheet, (Column("field"), Column("value")), heading=False).rows(pairs)
        else:
            writer = self._writer(columns and without_bars(columns), encode)
            writer.rows([document])
            writer.end()

    def _picture(
        self, rows: Sequence[Row], columns: Sequence[Column] | None, picture: Picture | None
    ) -> None:
        if picture is None:
            raise no_picture(self.format)
        from motorctl import pictures

        if self.format == "svg":
            self._write(pictures.svg(picture, rows, columns or ()))
        else:
            self._write(pictures.html(picture, rows, without_bars(columns or found_columns(rows))))

    def _writer(
        self,
        columns: Sequence[Column] | None,
        encode: Encode,
        rows: Sequence[Row] = (),
        *,
        found: bool = False,
    ) -> Writer:
        bars = {column.key: Bars(column, rows) for column in columns or () if column.bar_of is not None}
        match self.format:
            case "json":
                return Json(self._sheet, encode)
            case "ndjson":
                return Ndjson(self._sheet, encode)
            case "csv":
                return Csv(self._sheet, columns)
            case "markdown":
                return Markdown(self._sheet, columns, bars)
            case "table":
                return Table(self._sheet, columns, bars, found=found)
            case _:
                raise no_picture(self.format)

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            if self.terminal:
                self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise cannot_write(error) from error


def no_picture(format: str, source: str = "--output") -> UsageError:
    """Return the error of a command whose results can't be drawn; `source` is where the format stood."""
    return UsageError(
        f"{source}: {format} is for reports, and this is none",
        hint=f"one of {', '.join(FORMATS)}; `motorctl revenue over-time -o {format}` draws a chart",
    )


async def first_alone(batches: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the first document before the others that came with it: it is out while they are being written."""
    begun = False
    async for batch in batches:
        stop = 0 if begun else int.from_bytes(batch[:4], "little")
        begun = True
        for part in (batch[:stop], batch[stop:]):
            if part:
                yield part


def cannot_write(error: OSError) -> OutputError:
    """Make the error of a stdout that takes no more, with the system's reason."""
    return OutputError(f"cannot write the results: {error.strerror or error}")


__all__ = ["Column", "Output", "OutputError", "Written", "cannot_write", "no_picture"]
