"""Documents as CSV: which columns there are, their cells, and the types that read the cells back.

Works on whole columns: values of one type are written in one go. Pure; knows no cursor and no file.
"""

from __future__ import annotations

import math
import re
import shlex
from datetime import UTC, datetime
from types import NoneType
from typing import TYPE_CHECKING, Any
from uuid import UUID

import orjson
from bson import Binary, Decimal128, Int64, ObjectId

from motorctl.core import extjson
from motorctl.core.export.model import Column
from motorctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

__all__ = ["cell", "check_columns", "find_columns", "import_options", "merged", "row", "rows"]

_SPECIAL = re.compile(r'[",\r\n]')
# A text that import could take for a number; each text of a column begins behind a NUL.
_LIKE_A_NUMBER = re.compile(r"\x00[-0-9]")
_FAST = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS
_INT32 = range(-(2**31), 2**31)

# The types of import's --types, as bits.
_AUTO, _STRING, _INT32_TYPE, _INT64_TYPE, _DOUBLE, _DECIMAL, _BOOL, _DATE, _OBJECTID, _UUID, _JSON = (
    1 << bit for bit in range(11)
)
_ANY = (1 << 11) - 1
# What stands behind an empty cell.
_NULL, _ABSENT, _EMPTY = 1, 2, 4
_NAMES = {
    _STRING: "string",
    _INT32_TYPE: "int32",
    _INT64_TYPE: "int64",
    _DOUBLE: "double",
    _DECIMAL: "decimal",
    _BOOL: "bool",
    _DATE: "date",
    _OBJECTID: "objectid",
    _UUID: "uuid",
    _JSON: "json",
}


class _Absent:
    """The type of a field that isn't there."""


ABSENT = _Absent()


# -- columns ----------------------------------------------------------------------------------------------


def check_columns(names: Sequence[str]) -> None:
    """Raise `UsageError` where two names ask for the same value, as a whole and as a part of it."""
    for number, name in enumerate(names):
        if name in names[:number]:
            raise UsageError(f"--fields: {name!r} is there twice")
        if outer := next((other for other in names if name.startswith(f"{other}.")), None):
            raise UsageError(f"--fields: {outer!r} holds {name!r} already: give one of them")


def find_columns(documents: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Find the columns of some documents: dotted paths to their values, in order of appearance.

    Where a field is a value in one document and a document in another, it is one column.
    """
    names: dict[str, None] = {}
    for document in documents:
        names.update(dict.fromkeys(_paths(document, "")))
    return tuple(
        name
        for name in names
        if not any(name[:at] in names for at, letter in enumerate(name) if letter == ".")
    )


def _paths(document: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for key, value in document.items():
        # A name that holds a dot can't be told from a path: such a document is one cell of JSON.
        if isinstance(value, dict) and value and not any("." in name or not name for name in value):
            yield from _paths(value, f"{prefix}{key}.")
        else:
            yield prefix + key


class _Values:
    """The values of some documents by their paths; a document within them is looked up once."""

    def __init__(self, documents: Sequence[Any]) -> None:
        self._found: dict[str, Sequence[Any]] = {"": documents}
        self._dotted = {name for name in set().union(*documents) if "." in name}
        self._literal: set[str] = set()
        self.hidden: set[int] = set()
        """The documents that have both a path and a field of that name: only the path's value is shown."""

    def at(self, name: str) -> list[Any]:
        """Return the value at a dotted path in each document, `ABSENT` where there is none."""
        inside, _, last = name.rpartition(".")
        if not inside:
            return [document.get(name, ABSENT) for document in self._found[""]]
        values = [
            value.get(last, ABSENT) if type(value) is dict else ABSENT for value in self.documents(inside)
        ]
        if name in self._dotted:
            for number, document in enumerate(self._found[""]):
                if name in document and values[number] is ABSENT:
                    values[number] = document[name]
                    self._literal.add(name)
                elif name in document:
                    self.hidden.add(number)
        return values

    def literal(self, name: str) -> bool:
        """Tell whether a column that was looked up has values of a field whose own name holds a dot."""
        return any(name == whole or name.startswith(f"{whole}.") for whole in self._literal)

    def documents(self, path: str) -> Sequence[Any]:
        if path not in self._found:
            self._found[path] = self.at(path)
        return self._found[path]


def _uncovered(values: _Values, columns: Sequence[str], documents: Sequence[Any]) -> int:
    """Count the documents with a field that no column shows."""
    children: dict[str, set[str]] = {"": set()}
    for name in columns:
        parts = name.split(".")
        for at in range(len(parts)):
            children.setdefault(".".join(parts[:at]), set()).add(parts[at])
    children[""].update(columns)
    missed = set(values.hidden)
    for path, known in children.items():
        for number, value in enumerate(values.documents(path) if path else documents):
            if value is ABSENT:
                continue
            # An empty document, or a value where others have a document, has no column.
            if type(value) is not dict or (path and not value) or not value.keys() <= known:
                missed.add(number)
    return len(missed)


# -- rows -------------------------------------------------------------------------------------------------


def rows(
    documents: Sequence[Mapping[str, Any]], columns: Sequence[str], *, count_partial: bool
) -> tuple[str, int, tuple[Column, ...]]:
    """Write documents as lines of CSV.

    Returns the text, how many documents have a field that no column shows (where that is asked), and what
    each column held.
    """
    values = _Values(documents)
    texts: list[list[str]] = []
    held: list[Column] = []
    for name in columns:
        cells, column = _cells(values.at(name))
        texts.append(cells)
        held.append(column._replace(literal=True) if values.literal(name) else column)
    if len(columns) == 1:
        # An empty line would be no record.
        lines = [text or '""' for text in texts[0]]
    else:
        lines = list(map(",".join, zip(*texts, strict=True)))
    lines.append("")
    partial = _uncovered(values, columns, documents) if count_partial else 0
    return "\n".join(lines), partial, tuple(held)


def row(cells: Iterable[str]) -> str:
    """Write cells as a line of CSV by RFC 4180, with a line feed at its end."""
    # The csv module leaves a lone carriage return bare where lines end with \n.
    text = ",".join([_quoted(value) if _SPECIAL.search(value) else value for value in cells])
    return (text or '""') + "\n"


def cell(value: Any) -> str:
    """Write a value as a CSV cell: text that `--types` reads back; arrays and documents as JSON."""
    write = _WRITERS.get(type(value), _json)
    return write([value])[0][0]


def _cells(values: list[Any]) -> tuple[list[str], Column]:
    kinds = set(map(type, values))
    if len(kinds) == 1:
        (kind,) = kinds
        return _of_one_type(kind, values)
    cells = [""] * len(values)
    types, blanks = _ANY, 0
    for kind in kinds:
        at = [number for number, value in enumerate(values) if type(value) is kind]
        written, column = _of_one_type(kind, [values[number] for number in at])
        for number, text in zip(at, written, strict=True):
            cells[number] = text
        types &= column.types
        blanks |= column.blanks
    return cells, Column(types, blanks)


def _of_one_type(kind: type, values: list[Any]) -> tuple[list[str], Column]:
    if kind is _Absent or kind is NoneType:
        return [""] * len(values), Column(_ANY, _ABSENT if kind is _Absent else _NULL)
    texts, types = _WRITERS.get(kind, _json)(values)
    if kind is str:
        joined = "\0".join(["", *texts])
        if _LIKE_A_NUMBER.search(joined):
            types = _STRING
        if _SPECIAL.search(joined):
            texts = [_quoted(text) if _SPECIAL.search(text) else text for text in texts]
        return texts, Column(types, _EMPTY if "" in texts else 0)
    if kind in _PLAIN:
        return texts, Column(types, 0)
    return [_quoted(text) if _SPECIAL.search(text) else text for text in texts], Column(types, 0)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


# Each writes values of one type: their texts, and the bits of the types that read all of them back.


def _strings(values: list[str]) -> tuple[list[str], int]:
    return values, _AUTO | _STRING


def _booleans(values: list[bool]) -> tuple[list[str], int]:
    return ["true" if value else "false" for value in values], _BOOL | _JSON


def _integers(values: list[int]) -> tuple[list[str], int]:
    return list(map(str, values)), _AUTO | _INT32_TYPE | _JSON


def _longs(values: list[Int64]) -> tuple[list[str], int]:
    # Without a type, a number that fits into 32 bits comes back as one of 32 bits.
    small = any(value in _INT32 for value in map(int, values))
    return list(map(int.__repr__, values)), _INT64_TYPE if small else _AUTO | _INT64_TYPE | _JSON


def _doubles(values: list[float]) -> tuple[list[str], int]:
    if not all(map(math.isfinite, values)):
        return list(map(_double, values)), _DOUBLE
    texts = list(map(float.__repr__, values))
    return texts, _DOUBLE | _JSON | (0 if "e" in "".join(texts) else _AUTO)


def _double(value: float) -> str:
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _decimals(values: list[Decimal128]) -> tuple[list[str], int]:
    texts = list(map(str, values))
    # A NaN that signals or has a sign is one that only JSON can tell.
    return texts, _DECIMAL if all(text == "NaN" or text[-1] != "N" for text in texts) else 0


def _dates(values: list[datetime]) -> tuple[list[str], int]:
    return [_date(value) for value in values], _DATE


def _date(value: datetime) -> str:
    if value.tzinfo is not None:
        value = value.astimezone(UTC).replace(tzinfo=None)
    return value.isoformat("T", "milliseconds") + "Z"


def _object_ids(values: list[ObjectId]) -> tuple[list[str], int]:
    return [value.binary.hex() for value in values], _OBJECTID


def _binaries(values: list[Binary]) -> tuple[list[str], int]:
    if all(value.subtype == 4 and len(value) == 16 for value in values):
        return [str(UUID(bytes=bytes(value))) for value in values], _UUID
    return _json(values)


def _json(values: list[Any]) -> tuple[list[str], int]:
    return list(map(_json_text, values)), _JSON


def _json_text(value: Any) -> str:
    text = orjson.dumps(value, default=extjson.to_json_value, option=_FAST)
    # orjson writes NaN and the infinities as null, and asks nobody.
    return (orjson.dumps(extjson.to_json_value(value)) if b"null" in text else text).decode()


_WRITERS: dict[type, Callable[[list[Any]], tuple[list[str], int]]] = {
    str: _strings,
    NoneType: lambda values: ([""] * len(values), _ANY),
    bool: _booleans,
    int: _integers,
    Int64: _longs,
    float: _doubles,
    ObjectId: _object_ids,
    Decimal128: _decimals,
    datetime: _dates,
    Binary: _binaries,
}
# Their texts never need quotes.
_PLAIN = frozenset({bool, int, Int64, float, ObjectId, Decimal128, datetime})


# -- the way back -----------------------------------------------------------------------------------------


def merged(first: tuple[Column, ...], second: tuple[Column, ...]) -> tuple[Column, ...]:
    """Return what columns held in two parts of an export."""
    if not first or not second:
        return first or second
    return tuple(
        Column(a.types & b.types, a.blanks | b.blanks, a.literal or b.literal)
        for a, b in zip(first, second, strict=True)
    )


def import_options(columns: Mapping[str, Column]) -> tuple[str, tuple[str, ...]]:
    """Say how `import` reads a table back to the same BSON, as far as a table can tell.

    Returns the options as they are typed in a shell (empty: none are needed), and the names of the columns
    that hold values of several types, empty cells that stand for several things, or values of a field whose
    own name holds a dot, which is read back as a path.
    """
    types: list[str] = []
    unclear: list[str] = []
    blanks = 0
    for column in columns.values():
        blanks |= column.blanks
    # An option for all blank cells, where they all stand for one thing.
    option = {_ABSENT: "--ignore-blanks", _NULL: "--null ''"}.get(blanks, "")
    for name, column in columns.items():
        if column.literal:
            unclear.append(name)
        grace = ""
        if column.blanks and not option:
            if column.types & _STRING:
                if column.blanks != _EMPTY:
                    unclear.append(name)
                    continue
            elif not (grace := {_ABSENT: "?skip-field", _NULL: "?null"}.get(column.blanks, "")):
                unclear.append(name)
                continue
        if column.types & _AUTO and not grace:
            continue
        bits = column.types & ~_AUTO
        if not bits or name != name.strip() or any(letter in name for letter in ",()"):
            unclear.append(name)
        else:
            types.append(f"{name}:{_NAMES[bits & -bits]}{grace}")
    spelled = f"--types {shlex.quote(','.join(types))}" if types else ""
    return " ".join(filter(None, (spelled, option))), tuple(dict.fromkeys(unclear))
