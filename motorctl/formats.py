"""How results look: the five formats of rows, and how a value is written in each (`pictures` has the others).

A format writes to a `Sheet` and knows nothing of where that goes. Nothing here decides about the data.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

from motorctl.text import printable, printable_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """One column of a table: the row's key, its title, and whether it is aligned right (numbers).

    With `bar_of` it shows no value of its own but a bar as long as the number under that key is great.
    Rows that differ in what is under `bar_by` (a currency) have scales of their own. A row with more than
    one under `bar_rest` stands for that many others: it doesn't set the scale, and has no bar if that would
    be longer than the longest. Bars are for the eye: `table` and `markdown` show them, csv and JSON don't.

    A terminal that is too narrow goes without columns that have a `spare`, the one with the greatest first.
    """

    key: str
    title: str | None = None
    right: bool = False
    bar_of: str | None = None
    bar_by: str | None = None
    bar_rest: str | None = None
    spare: int = 0

    @property
    def heading(self) -> str:
        return self.title or self.key


@dataclass(frozen=True)
class Sheet:
    """What a format writes on: a function that takes text, and what is behind it."""

    write: Callable[[str], None]
    terminal: bool
    color: bool


class Encode(Protocol):
    def __call__(self, document: Row, pretty: bool, /) -> str: ...


class Writer(Protocol):
    def rows(self, rows: Sequence[Row]) -> None: ...
    def end(self) -> None: ...


class Json:
    """One array, written as the rows come."""

    def __init__(self, sheet: Sheet, encode: Encode) -> None:
        self._sheet = sheet
        self._encode = encode
        self._begun = False

    def rows(self, rows: Sequence[Row]) -> None:
        parts = []
        for row in rows:
            parts.append(",\n" if self._begun else "[\n")
            parts.append("  " + self._encode(row, True).replace("\n", "\n  "))
            self._begun = True
        self._sheet.write("".join(parts))

    def end(self) -> None:
        self._sheet.write("\n]\n" if self._begun else "[]\n")


class Ndjson:
    def __init__(self, sheet: Sheet, encode: Encode) -> None:
        self._sheet = sheet
        self._encode = encode

    def rows(self, rows: Sequence[Row]) -> None:
        self._sheet.write("".join(self._encode(row, False) + "\n" for row in rows))

    def end(self) -> None:
        pass


class Csv:
    """RFC 4180, with line feeds as Unix tools expect them, and always a header."""

    def __init__(self, sheet: Sheet, columns: Sequence[Column] | None) -> None:
        self._sheet = sheet
        self._columns = columns and without_bars(columns)
        self._begun = False

    def rows(self, rows: Sequence[Row]) -> None:
        self._columns = self._columns or found_columns(rows)
        lines = _Lines()
        writer = csv.writer(lines)
        if not self._begun:
            writer.writerow([c.heading for c in self._columns])
            self._begun = True
        writer.writerows([[cell(row.get(c.key)) for c in self._columns] for row in rows])
        text = "".join(lines)
        # On a terminal nothing may be obeyed; in a pipe or a file the value arrives as it is.
        self._sheet.write(printable(text, lines=True) if self._sheet.terminal else text)

    def end(self) -> None:
        if not self._begun and self._columns:
            self.rows([])


class _Lines(list[str]):
    """Takes csv's rows, told to end with CRLF so that it quotes either character in a value, as Unix lines."""

    def write(self, line: str) -> None:
        self.append(line.removesuffix("\r\n") + "\n")


class Markdown:
    def __init__(
        self, sheet: Sheet, columns: Sequence[Column] | None, bars: Mapping[str, Bars] | None = None
    ) -> None:
        self._sheet = sheet
        self._columns = columns
        self._bars = bars or {}
        self._begun = False

    def rows(self, rows: Sequence[Row]) -> None:
        self._columns = columns = self._columns or found_columns(rows)
        lines = []
        if not self._begun:
            lines.append(self._line([c.heading for c in columns]))
            lines.append("|" + "|".join("---:" if c.right else "---" for c in columns) + "|")
            self._begun = True
        drawn = [
            {**row, **{key: bar.signed(row, PIPED_BAR) for key, bar in self._bars.items()}} for row in rows
        ]
        lines += [self._line([cell(row.get(c.key)) for c in columns]) for row in drawn]
        self._sheet.write("".join(line + "\n" for line in lines))

    def end(self) -> None:
        if not self._begun and self._columns:
            self.rows([])

    @staticmethod
    def _line(cells: list[str]) -> str:
        # `<` too: a cell of HTML must not become markup where the report is shown.
        shown = (printable(c).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;") for c in cells)
        return "| " + " | ".join(shown) + " |"


NARROWEST_BAR, PIPED_BAR, WIDEST_BAR = 8, 24, 40
"""Cells of the longest bar: where a terminal has little room, where nobody knows how much, where it has a lot."""


class Bars:
    """The bars of one column: block characters, to an eighth of a cell where a number is above zero.

    Made from all rows, so that they have one scale however many pieces a table is drawn in. Where a number
    is below zero there is an axis, and such a bar grows from it to the left, to half a cell; in Markdown,
    whose readers see no blanks, it has a minus sign instead.
    """

    def __init__(self, column: Column, rows: Sequence[Row]) -> None:
        self._column = column
        self._longest: dict[Any, Decimal] = {}
        for row in rows:
            if (number := self._number(row)) is not None and not self._is_rest(row):
                scale = self._scale(row)
                self._longest[scale] = max(self._longest.get(scale, Decimal(0)), abs(number))
        parts = [part for row in rows if (part := self._part(row)) is not None]
        self._below = -min(0.0, *parts) if parts else 0.0
        self._above = max(0.0, *parts) if parts else 0.0

    def draw(self, row: Row, width: int) -> str:
        """Return the bar of a row where the longest may have `width` cells; nothing where there is no number."""
        part = self._part(row)
        if not self._below:
            return self._right(part or 0, width)
        # Of the cells beside the axis each side has one at least, if it has a bar.
        room = width - 1
        left = round(room * self._below / (self._below + self._above))
        left = min(max(left, 1), room - 1 if self._above else room)
        right = room - left
        unit = min(left / self._below, right / self._above) if self._above else left / self._below
        if part is None or part >= 0:
            return " " * left + "│" + self._right(part or 0, unit)
        halves = min(max(1, round(-part * unit * 2)), left * 2)
        return ("▐" * (halves % 2) + "█" * (halves // 2)).rjust(left) + "│"

    def signed(self, row: Row, width: int) -> str:
        """Return the bar of a row without an axis: all begin at the left, those below zero with their sign."""
        part = self._part(row) or 0
        unit = width - 1 if self._below else width
        return "−" * (part < 0) + self._right(abs(part), unit)

    @staticmethod
    def _right(part: float, unit: float) -> str:
        if part <= 0:
            return ""
        eighths = max(1, round(part * unit * 8))
        return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()

    def _part(self, row: Row) -> float | None:
        """Return a row's number as a part of the longest of its scale: -1 to 1."""
        number = self._number(row)
        longest = self._longest.get(self._scale(row))
        if number is None or not longest:
            return None
        return float(number / longest) if abs(number) <= longest else None

    def _number(self, row: Row) -> Decimal | None:
        value = row.get(self._column.bar_of or "")
        if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
            return None
        number = Decimal(value)
        return number if number.is_finite() else None

    def _scale(self, row: Row) -> Any:
        return cell(row.get(self._column.bar_by)) if self._column.bar_by else None

    def _is_rest(self, row: Row) -> bool:
        count = row.get(self._column.bar_rest) if self._column.bar_rest else None
        return isinstance(count, int) and count > 1


def without_bars(columns: Sequence[Column]) -> list[Column]:
    """Leave out the columns that only draw another's value."""
    return [column for column in columns if column.bar_of is None]


def found_columns(rows: Sequence[Row]) -> list[Column]:
    """Return a column for each key of the rows, in the order of their first appearance."""
    numbers: dict[str, bool] = {}
    for row in rows:
        for key, value in row.items():
            right = _is_number(value)
            numbers[key] = right and numbers.get(key, True) if value is not None else numbers.get(key, True)
    return [Column(key, right=right) for key, right in numbers.items()]


def cell(value: Any) -> str:
    """Return a value as one text: what a table's or a CSV file's cell shows."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, (Mapping, list, tuple)):
        return json.dumps(value, default=plain, ensure_ascii=False, separators=(", ", ": "))
    return str(plain(value))


def brief(value: Any) -> str:
    """Return a value as a list on a terminal shows it: as `cell`, and dates to the minute."""
    if isinstance(value, datetime):
        return utc(value).isoformat(timespec="minutes").replace("+00:00", "Z")
    return cell(value)


def rated(seconds: float, rate: int | None) -> str:
    """Write how long a number of documents took, for people: `63 ms (3,816 documents a second)`."""
    taken = f"{seconds * 1000:.0f} ms" if seconds < 0.1 else f"{seconds:.1f} s"
    return f"{taken} ({rate:,} documents a second)" if rate else taken


def plain(value: Any) -> Any:
    """Return a BSON or Python value as what JSON has: ids, decimals and dates as strings."""
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    if type(value).__name__ == "Decimal128":
        decimal = value.to_decimal()
        return format(decimal, "f") if decimal.is_finite() else str(decimal)
    if isinstance(value, bytes):
        return value.hex()
    if type(value).__name__ == "DatetimeMS":
        # A date that Python has no word for: beyond the years 1 to 9999.
        return f"{int(value)} ms since 1970"
    return str(value)


def iso(moment: datetime) -> str:
    """Return a date in ISO 8601, UTC with a `Z`, milliseconds only where there are some."""
    spec = "milliseconds" if moment.microsecond else "seconds"
    return utc(moment).isoformat(timespec=spec).replace("+00:00", "Z")


def utc(moment: datetime) -> datetime:
    """Return a moment in UTC; one without a zone is in UTC already."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _is_number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, (int, float, Decimal)) or type(value).__name__ in ("Decimal128", "Int64")


def encoder(*, free: bool, canonical: bool) -> Encode:
    """Choose how a value becomes JSON: as in commands' fields, or (`free`) a user's documents, in Extended JSON."""
    return _extended(canonical=canonical) if free else _own


def _own(document: Row, pretty: bool, /) -> str:
    import orjson

    options = orjson.OPT_PASSTHROUGH_DATETIME | (orjson.OPT_INDENT_2 if pretty else 0)
    return printable_json(orjson.dumps(document, default=_default, option=options).decode())


def _default(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else plain(value)


def _extended(*, canonical: bool) -> Encode:
    import orjson

    from motorctl.core import extjson

    def encode(document: Row, pretty: bool, /) -> str:
        shown = extjson.to_json_value(document, canonical=canonical)
        return printable_json(orjson.dumps(shown, option=orjson.OPT_INDENT_2 if pretty else 0).decode())

    return encode
