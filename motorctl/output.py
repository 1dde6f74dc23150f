"""Everything on stdout: results, and nothing else, in the format that was asked for.

Rows are dicts; JSON shows them whole, the other formats show columns. Decides nothing about the data,
asks nothing, never writes to stderr.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TextIO

from motorctl.diagnostics import is_terminal
from motorctl.errors import MotorctlError
from motorctl.formats import Column, Csv, Encode, Json, Markdown, Ndjson, Row, Sheet, Table, Writer, encoder
from motorctl.text import printable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

CHUNK = 500
"""Rows drawn at once: a longer table is drawn in pieces of that many, so that memory stays flat."""


class OutputError(MotorctlError):
    """The results could not be written: a full disk, a closed stream."""

    code = "output"


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
    ) -> None:
        """Write one document or a list of rows.

        `free` marks documents of the user's own shape: their JSON is Extended JSON (relaxed, or
        `canonical`), so that no type is lost. Others show dates in ISO 8601, ids and money as strings.
        """
        encode = encoder(free=free, canonical=canonical)
        if isinstance(data, Mapping):
            self._document(data, columns, encode)
            return
        writer = self._writer(columns, encode)
        rows = list(data)
        for start in range(0, len(rows), CHUNK):
            writer.rows(rows[start : start + CHUNK])
        writer.end()

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
        lets a table find its columns and widths.
        """
        writer = self._writer(columns, encoder(free=free, canonical=canonical))
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

    def text(self, text: str) -> None:
        """Write a text that is itself the result: a manifest, a script, a URI."""
        text = text if text.endswith("\n") else text + "\n"
        self._write(printable(text, lines=True) if self.terminal else text)

    def _document(self, document: Row, columns: Sequence[Column] | None, encode: Encode) -> None:
        if self.format == "json":
            self._write(encode(document, True) + "\n")
        elif self.format == "table":
            keys = [c.key for c in columns] if columns else list(document)
            titles = {c.key: c.heading for c in columns or ()}
            pairs = [{"field": titles.get(k, k), "value": document[k]} for k in keys if k in document]
            Table(self._sheet, (Column("field"), Column("value")), heading=False).rows(pairs)
        else:
            writer = self._writer(columns, encode)
            writer.rows([document])
            writer.end()

    def _writer(self, columns: Sequence[Column] | None, encode: Encode) -> Writer:
        match self.format:
            case "json":
                return Json(self._sheet, encode)
            case "ndjson":
                return Ndjson(self._sheet, encode)
            case "csv":
                return Csv(self._sheet, columns)
            case "markdown":
                return Markdown(self._sheet, columns)
            case _:
                return Table(self._sheet, columns)

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            if self.terminal:
                self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise cannot_write(error) from error


def cannot_write(error: OSError) -> OutputError:
    return OutputError(f"cannot write the results: {error.strerror or error}")


__all__ = ["Column", "Output", "OutputError", "cannot_write"]
