"""Delimited text to documents, by column: cells, types, null and blanks, nested fields.

A chunk is cut into cells in a few passes over its bytes, and a column is converted in a few steps for all
of its cells; none of them looks at one cell in Python. Where a quote or a byte stands that none of this
expects, the records are cut one by one, and where a cell isn't of its type, its column is read cell by
cell: the documents and the reasons are the same. A pure function of a chunk and a plan.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import compress, repeat
from typing import TYPE_CHECKING, Any, NamedTuple

from motorctl.core import extjson
from motorctl.core.ingest.decoding import types
from motorctl.core.ingest.model import RecordError
from motorctl.core.ingest.reading import delimited
from motorctl.core.ingest.reading.split import records
from motorctl.errors import UsageError
from motorctl.near import near

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from motorctl.core.ingest.model import Chunk, Plan

__all__ = ["check", "documents", "in_groups"]

# They stand for a doubled quote, a delimiter and a line end within quotes, and the end of a cell; data that
# has them of its own is cut record by record.
_MARKS = _QUOTE, _DELIMITER, _NEWLINE, _CELL = b"\1", b"\2", b"\3", b"\4"
_SHOWN_COLUMNS = 20

# What a cell becomes that is left out.
_ABSENT: Any = object()


class _Column(NamedTuple):
    name: str
    converter: types.Converter


class _Layout(NamedTuple):
    """The columns, and the document that they make: a field's column, or the fields of an inner document."""

    columns: tuple[_Column, ...]
    fields: dict[str, Any]


class _Cells(NamedTuple):
    """The cells of the rows that are whole, by column; the rows' numbers; why other rows aren't."""

    columns: Sequence[Sequence[str]]
    numbers: Sequence[int]
    errors: dict[int, RecordError]


def check(chunk: Chunk, plan: Plan) -> None:
    """Raise `UsageError` when no record of the chunk's file can be read.

    That is a name of a column that is empty, or there twice; a field that would be a value and a
    document (`a` and `a.b`); a type that doesn't exist, or is given to a column that doesn't.
    """
    _layout(chunk.header, chunk.types, plan)


def documents(chunk: Chunk, plan: Plan) -> tuple[list[dict[str, Any]], dict[int, RecordError]]:
    """Turn a chunk's rows into documents: those of the good ones in order, and the others' errors by number.

    A row with more or fewer cells than the header has is an error. The cell that is `plan.null` is null,
    whatever its column's type; with `plan.ignore_blanks` an empty one is left out. A dotted column is a
    field of an inner document, which stands where the first of its columns does, and is left out when all of
    them are. Raises `UsageError` as `check` does.
    """
    groups, errors = in_groups(chunk, plan, len(chunk.data))
    return [document for group in groups for document in group], errors


def in_groups(
    chunk: Chunk, plan: Plan, size: int
) -> tuple[Iterator[list[dict[str, Any]]], dict[int, RecordError]]:
    """Do as `documents` does, and make the documents only as they are taken, so many at a time."""
    layout = _layout(chunk.header, chunk.types, plan)
    found = _cells(chunk)
    if not found.numbers:
        return iter(()), found.errors
    faults: dict[int, RecordError] = {}
    values = [
        _values(column, cells, plan, faults)
        for column, cells in zip(layout.columns, found.columns, strict=True)
    ]
    if faults:
        found.errors.update((found.numbers[row], error) for row, error in faults.items())
        good = [row not in faults for row in range(len(found.numbers))]
        values = [list(compress(column, good)) for column in values]
    sparse = plan.ignore_blanks or any(column.converter.grace == "skip-field" for column in layout.columns)
    groups = (
        _documents(layout.fields, [column[start : start + size] for column in values], sparse=sparse)
        for start in range(0, len(found.numbers) - len(faults), size)
    )
    return groups, found.errors


# -- the header -------------------------------------------------------------------------------------------


@lru_cache(maxsize=8)
def _layout(header: tuple[str, ...], typed: tuple[tuple[str, str], ...], plan: Plan) -> _Layout:
    kinds = dict(types.from_typed_header(typed)) | dict(plan.types)
    known = set(header)
    for name, _ in plan.types:
        if name not in known:
            first = ", ".join(header[:_SHOWN_COLUMNS]) + (", ..." if len(header) > _SHOWN_COLUMNS else "")
            raise UsageError(
                f"--types names {name!r}, which no column has",
                hint=near(name, header[:1000]) or f"columns are {first}",
            )
    fields: dict[str, Any] = {}
    for number, name in enumerate(header):
        _place(fields, name, number)
    converters = (
        types.converter(kinds.get(name, "auto"), legacy=plan.legacy, strict=plan.strict) for name in header
    )
    return _Layout(tuple(map(_Column, header, converters)), fields)


def _place(fields: dict[str, Any], name: str, number: int) -> None:
    """Give a column its place among the fields."""
    if not name or "\0" in name or name[0] == "." or name[-1] == "." or ".." in name:
        raise UsageError(f"the name of column {number + 1} is empty or holds an empty part: {name!r}")
    if name.count(".") >= extjson.DEPTH_LIMIT:
        raise UsageError(f"the name of column {number + 1} is {extjson.NestingError().reason}")
    *path, last = name.split(".")
    inner = fields
    for depth, part in enumerate(path, 1):
        inner = inner.setdefault(part, {})
        if type(inner) is not dict:
            raise _conflict(".".join(path[:depth]), name)
    if last in inner:
        if type(inner[last]) is int:
            raise UsageError(f"the header names {name!r} twice")
        raise _conflict(name, f"{name}.{next(iter(inner[last]))}")
    inner[last] = number


def _conflict(outer: str, name: str) -> UsageError:
    return UsageError(
        f"the header has both {outer!r} and {name!r}: a field can't be a value and a document",
        hint="--fields gives the columns other names",
    )


# -- cells ------------------------------------------------------------------------------------------------


def _cells(chunk: Chunk) -> _Cells:
    masked = _masked(chunk)
    if masked is None:
        return _one_by_one(chunk)
    columns, numbers, errors = _cut(masked, chunk)
    if chunk.quote and chunk.quote.encode() in chunk.data:
        return _Cells([_unmasked(cells, chunk) for cells in columns], numbers, errors)
    return _Cells(columns, numbers, errors)


def _masked(chunk: Chunk) -> str | None:
    """Take the quotes away, so that each delimiter and line end that is left is one.

    None when there is anything that the rules of `delimited` don't take as it stands, or that only a
    look at each record can tell.
    """
    data = chunk.data
    returns = data.count(b"\r")
    if returns and returns != data.count(b"\r\n"):
        return None
    if chunk.quote and chunk.quote.encode() in data:
        unquoted = _without_quotes(data, chunk.delimiter.encode(), chunk.quote.encode())
        if unquoted is None:
            return None
        data = unquoted
    try:
        return (data.replace(b"\r\n", b"\n") if returns else data).decode()
    except UnicodeDecodeError:
        return None


def _without_quotes(data: bytes, delimiter: bytes, quote: bytes) -> bytes | None:
    if len(delimiter) > 1 or len(quote) > 1 or any(mark in data or mark == delimiter for mark in _MARKS):
        return None
    # Paired from left to right, as the rules do: each quote that is left opens a cell or closes one.
    parts = data.replace(quote * 2, _QUOTE).split(quote)
    if len(parts) % 2 == 0:
        return None
    borders, within = _tables(delimiter, quote)
    outside = quote.join(parts[::2])
    around = outside.translate(borders)
    if b'x"' in around or b'"x' in around:
        return None
    if b"q" in around:
        # Doubled quotes begin a quoted cell, or are all of one: then the last pair opens and closes it.
        if b"xq" in around or b"qx" in around or b'"q' in around or b"\nq\n" in b"\n%b\n" % around:
            return None
        outside += b"\n"
        for end in (delimiter, b"\n", b"\r\n"):
            outside = outside.replace(_QUOTE + end, end)
        parts[::2] = outside[:-1].split(quote)
    if len(parts) > 1:
        parts[1::2] = quote.join(parts[1::2]).translate(within).split(quote)
    return b"".join(parts)


@lru_cache(maxsize=8)
def _tables(delimiter: bytes, quote: bytes) -> tuple[bytes, bytes]:
    """Two tables of bytes: what each one is that stands outside of quotes; the marks for those within."""
    kinds = bytearray(b"x" * 256)
    for byte, kind in ((delimiter, b","), (b"\n", b"\n"), (b"\r", b"\n"), (quote, b'"'), (_QUOTE, b"q")):
        kinds[byte[0]] = kind[0]
    return bytes(kinds), bytes.maketrans(delimiter + b"\n", _DELIMITER + _NEWLINE)


def _cut(text: str, chunk: Chunk) -> tuple[list[list[str]], Sequence[int], dict[int, RecordError]]:
    """Cut text without quotes into columns."""
    delimiter, width = chunk.delimiter, len(chunk.header)
    if not text.endswith("\n"):
        text += "\n"
    # A line end becomes a cell of its own: rows are as long as they should be if each is at its place.
    cells = text.replace("\n", f"{delimiter}\n{delimiter}").split(delimiter)
    rows = text.count("\n")
    # A blank line is no record, though it looks like one of a single column.
    blank = width == 1 and "\n\n" in f"\n{text}"
    if not blank and len(cells) == rows * (width + 1) + 1 and cells[width :: width + 1] == ["\n"] * rows:
        del cells[-1]
        return [cells[column :: width + 1] for column in range(width)], range(rows), {}
    lines = list(filter(None, text.split("\n")))
    widths = [count + 1 for count in map(str.count, lines, repeat(delimiter))]
    numbers = [number for number, found in enumerate(widths) if found == width]
    errors = {number: _ragged(found, width) for number, found in enumerate(widths) if found != width}
    whole = "".join(f"{lines[number]}\n" for number in numbers)
    return _cut(whole, chunk)[0] if whole else [], numbers, errors


def _unmasked(cells: list[str], chunk: Chunk) -> list[str]:
    joined = "\4".join(cells)
    if "\1" not in joined and "\2" not in joined and "\3" not in joined:
        return cells
    joined = joined.replace("\1", chunk.quote).replace("\2", chunk.delimiter).replace("\3", "\n")
    return joined.split("\4")


def _one_by_one(chunk: Chunk) -> _Cells:
    width = len(chunk.header)
    rows: list[list[str]] = []
    numbers: list[int] = []
    errors: dict[int, RecordError] = {}
    for number, record in enumerate(records(chunk)):
        if record.broken:
            errors[number] = RecordError("parse", None, record.broken)
            continue
        try:
            text = record.text.decode()
        except UnicodeDecodeError as error:
            errors[number] = RecordError("parse", None, f"not UTF-8 at byte {error.start + 1} of the record")
            continue
        row = delimited.cells(text, chunk.delimiter, chunk.quote)
        if len(row) == width:
            rows.append(row)
            numbers.append(number)
        else:
            errors[number] = _ragged(len(row), width)
    return _Cells(list(zip(*rows, strict=True)), numbers, errors)


def _ragged(found: int, width: int) -> RecordError:
    return RecordError("parse", None, f"{found} cells where the header has {width}")


# -- values -----------------------------------------------------------------------------------------------


def _values(
    column: _Column, cells: Sequence[str], plan: Plan, faults: dict[int, RecordError]
) -> Sequence[Any]:
    """Convert a column. A row's first fault is kept; what stands in the value's place means nothing."""
    null, blanks = plan.null, plan.ignore_blanks
    if (null is None or null not in cells) and not (blanks and "" in cells):
        return _converted(column, list(cells), range(len(cells)), faults)
    rows = [row for row, text in enumerate(cells) if text != null and (text or not blanks)]
    values: list[Any] = [None if text == null else _ABSENT for text in cells]
    for row, value in zip(rows, _converted(column, [cells[row] for row in rows], rows, faults), strict=True):
        values[row] = value
    return values


def _converted(
    column: _Column, cells: list[str], rows: Sequence[int], faults: dict[int, RecordError]
) -> list[Any]:
    converter = column.converter
    try:
        return converter.column(cells)
    except ValueError:
        values: list[Any] = []
    for row, text in zip(rows, cells, strict=True):
        try:
            values.append(converter.cell(text))
        except ValueError as error:
            if converter.grace == "reject":
                faults.setdefault(row, RecordError("type", column.name, str(error)))
            values.append(_graced(converter.grace, text))
    return values


def _graced(grace: types.Grace, text: str) -> Any:
    if grace == "skip-field":
        return _ABSENT
    return text if grace == "string" else None


def _documents(
    fields: dict[str, Any], columns: Sequence[Sequence[Any]], *, sparse: bool, inner: bool = False
) -> list[Any]:
    """Make the documents of all rows, the inner ones first."""
    values = [
        columns[place] if type(place) is int else _documents(place, columns, sparse=sparse, inner=True)
        for place in fields.values()
    ]
    if not sparse:
        return list(map(dict, map(zip, repeat(tuple(fields)), zip(*values, strict=True))))
    made = [
        {name: value for name, value in zip(fields, row, strict=True) if value is not _ABSENT}
        for row in zip(*values, strict=True)
    ]
    return [document or _ABSENT for document in made] if inner else made
