"""How a table looks: columns that fit a terminal, or records below each other; aligned text in a pipe.

Owns the layout: which columns are shown, how wide each is, where a value goes on in the next line. A
format of rows like those in `formats`, apart for its size. Decides nothing about the data, and writes to
a `Sheet` only. Rich measures; it doesn't draw, which took 15 times as long for what is laid out already.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from motorctl.formats import NARROWEST_BAR, PIPED_BAR, WIDEST_BAR, brief, cell, found_columns
from motorctl.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from motorctl.formats import Bars, Column, Row, Sheet

GAP = 2
"""Blanks between two columns."""
TALLEST = 8
"""Lines that one value may have in a list: what is longer ends in an ellipsis there, and nowhere else."""
WHOLE = 40
"""Cells up to which a value without blanks (an id, an e-mail) counts as one that should stand on one line."""
WORD = 12
"""Cells that a folded column gets for its longest word, if that has as many; and `SHORT`, with its blanks."""
SHORT = 10

# After punctuation (not between a minus and its number), and where camelCase has its humps.
_PARTS = re.compile(r"(?<=[_./@:,;=])(?![\s_./@:,;=])|(?<=-)(?![\s\d-])|(?<=[a-z])(?=[A-Z])")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
# Hebrew, Arabic and its neighbours up to Arabic Extended-A, and their presentation forms (Unicode TR 9, types R and AL).
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_GAP = re.compile(" {2,}(?=[^ ])")
_MARK = "\u200e"


@dataclass(frozen=True)
class Layout:
    """The columns that are shown, by their place, how wide each is, and the headings of those left out."""

    shown: tuple[int, ...]
    widths: tuple[int, ...]
    without: tuple[str, ...] = ()


class Table:
    """A table fitted to the terminal, in the look of Rich's `SIMPLE_HEAD`; in a pipe plain aligned text with nothing cut.

    Where a terminal is too narrow even for folded columns each row is a record, a field a line. Widths are
    those of the first piece: a long table is one table, however many pieces it comes in.
    """

    def __init__(
        self,
        sheet: Sheet,
        columns: Sequence[Column] | None,
        bars: Mapping[str, Bars] | None = None,
        *,
        heading: bool = True,
        found: bool = False,
    ) -> None:
        """`columns` are None, or `found`, where the documents are of the user's own shape.

        Without `heading` the rows are the fields of one record: a name and a value.
        """
        self._sheet = sheet
        self._columns = columns
        self._found = found or columns is None
        self._bars = bars or {}
        self._heading = heading
        self._widths: list[int] = []
        self._fractions: list[int] = []
        self._layout: Layout | None = None
        self._records = False
        self._count = 0
        self._cut = False

    def rows(self, rows: Sequence[Row]) -> None:
        self._columns = columns = self._columns or found_columns(rows)
        if not self._sheet.terminal:
            self._align(columns, self._cells(columns, rows, PIPED_BAR))
        elif not self._heading:
            self._draw_records([[(cell(row[columns[0].key]), row[columns[1].key]) for row in rows]])
        elif rows:
            self._draw(columns, rows)
        self._count += len(rows)

    def end(self) -> None:
        if not self._count and self._columns and not self._sheet.terminal:
            self._align(self._columns, [])
        if self._sheet.terminal:
            room = _room()
            lines = [part for line in self._footer() for part in folded(line, room)]
            self._sheet.write("".join(self._styled(line, "2") + "\n" for line in lines))

    def _footer(self) -> list[str]:
        """Return what stands below a table: how many rows it has, and what it doesn't show."""
        lines = ["(1 row)" if self._count == 1 else f"({self._count:,} rows)"]
        if self._layout and self._layout.without:
            lines.append(
                f"without {', '.join(self._layout.without)}, for want of room: -o csv has every column"
            )
        if self._cut:
            lines.append("values that end in … are longer: -o json has them whole")
        return lines

    # In a pipe

    def _cells(self, columns: Sequence[Column], rows: Sequence[Row], bar: int) -> list[list[str]]:
        """Return the text of each cell: bars drawn, the points of decimals below each other."""
        shown = brief if self._sheet.terminal else cell
        texts = []
        for row in rows:
            drawn = {key: one.draw(row, bar) for key, one in self._bars.items()} if bar else {}
            texts.append([printable(drawn.get(c.key) or shown(row.get(c.key))) for c in columns])
        if not self._fractions:
            self._fractions = [
                max((_fraction(row[i]) for row in texts), default=0) if column.right else 0
                for i, column in enumerate(columns)
            ]
        for i, longest in enumerate(self._fractions):
            if longest:
                for line in texts:
                    if _NUMBER.fullmatch(line[i]):
                        line[i] += " " * (longest - _fraction(line[i]))
        return texts

    def _align(self, columns: Sequence[Column], cells: list[list[str]]) -> None:
        from rich.cells import cell_len

        first = not self._widths
        if first and self._heading:
            cells = [[printable(c.heading) for c in columns], *cells]
        if first:
            self._widths = [max((cell_len(row[i]) for row in cells), default=0) for i in range(len(columns))]
        lines = []
        for row in cells:
            padded = [
                _padded(value, width, right=column.right)
                for column, width, value in zip(columns, self._widths, row, strict=True)
            ]
            lines.append("  ".join(padded).rstrip() + "\n")
        self._sheet.write("".join(lines))

    # On a terminal

    def _draw(self, columns: Sequence[Column], rows: Sequence[Row]) -> None:
        begun = self._layout is not None
        if not self._records:
            cells = self._cells(columns, rows, 0)
            if self._layout is None or not _fits(self._layout, columns, cells):
                # Numbers of a later piece may be longer: the table goes on below a heading of its own.
                begun = False
                self._fractions = []
                cells = self._cells(columns, rows, 0)
                self._layout = fitted(columns, cells, _dated(columns, rows), _room(), found=self._found)
                self._records = self._layout is None
        if self._layout is None:
            if self._count:
                self._sheet.write("\n")
            self._draw_records(
                [
                    [
                        (column.heading, row.get(column.key))
                        for column in columns
                        if column.bar_of is None and (column.key in row or not self._found)
                    ]
                    for row in rows
                ]
            )
            return
        self._draw_columns(columns, rows, self._layout, heading=not begun)

    def _draw_columns(
        self, columns: Sequence[Column], rows: Sequence[Row], layout: Layout, *, heading: bool
    ) -> None:
        places = list(zip(layout.shown, layout.widths, strict=True))
        rights = [columns[i].right for i in layout.shown]
        bar = next((width for i, width in places if columns[i].bar_of), 0)
        lines = []
        if heading:
            titles = [folded(_title(columns[i]), width) for i, width in places]
            height = max(map(len, titles))
            # What stands in one line stands on the rule.
            titles = [[""] * (height - len(title)) + title for title in titles]
            lines += [self._styled(line, "1") for line in _beside(titles, layout.widths, rights)]
            lines.append(self._styled("─" * (sum(layout.widths) + GAP * (len(places) - 1)), "2"))
        for row in self._cells(columns, rows, bar):
            shown = []
            for i, width in places:
                value = [row[i]] if columns[i].bar_of else folded(row[i], width)
                if len(value) > TALLEST and not columns[i].right:
                    value = [*value[: TALLEST - 1], _ellipsis(value[TALLEST - 1], width)]
                    self._cut = True
                shown.append(value)
            lines += _beside(shown, layout.widths, rights)
        self._sheet.write("".join(line + "\n" for line in lines))

    def _draw_records(self, records: Sequence[Sequence[tuple[str, object]]]) -> None:
        """Draw each record as a field a line, its name and its value: whole, however long."""
        from rich.cells import cell_len

        pairs = [[(printable(name), printable(cell(value))) for name, value in record] for record in records]
        longest = max((cell_len(name) for record in pairs for name, _ in record), default=0)
        room = _room()
        left = max(min(longest, room // 2 - GAP), 1)
        right = max(room - left - GAP, 1)
        lines: list[str] = []
        for number, record in enumerate(pairs):
            if number:
                lines.append("")
            for name, value in record:
                names, values = folded(name, left), folded(value, right)
                for place in range(max(len(names), len(values))):
                    label = names[place] if place < len(names) else ""
                    text = values[place] if place < len(values) else ""
                    space = " " * (left - cell_len(label) + GAP) if text else ""
                    lines.append(self._styled(label, "36") + space + text)
        self._sheet.write("".join(line + "\n" for line in lines))

    def _styled(self, text: str, style: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if self._sheet.color and text else text


def _beside(cells: Sequence[Sequence[str]], widths: Sequence[int], rights: Sequence[bool]) -> list[str]:
    """Put the lines of a row's cells beside each other."""
    lines = []
    for place in range(max(map(len, cells))):
        parts = [
            _padded(cell[place] if place < len(cell) else "", width, right=right)
            for cell, width, right in zip(cells, widths, rights, strict=True)
        ]
        lines.append(_in_order((" " * GAP).join(parts).rstrip()))
    return lines


def fitted(
    columns: Sequence[Column],
    cells: Sequence[Sequence[str]],
    dated: Sequence[bool],
    room: int,
    *,
    found: bool = False,
) -> Layout | None:
    """Lay columns out in `room` cells; None where records below each other are better. Pure.

    `dated` are the columns of dates. What is copied or compared stands on one line: the first column,
    numbers, dates, then what has no blanks. For that, columns that can be spared go. If it still doesn't do,
    what has no blanks is folded, at its punctuation first; columns that were `found` in documents become
    records instead.
    """
    every = range(len(columns))
    measures = [_measured(column, [row[i] for row in cells], dated[i]) for i, column in enumerate(columns)]
    spared = sorted((i for i in every if columns[i].spare), key=lambda i: -columns[i].spare)
    strict = [[measure.whole for measure in measures]]
    loose = [[measure.least if i else measure.whole for i, measure in enumerate(measures)]]
    loose += [[measure.least for measure in measures]]
    for floors in strict if found and len(columns) > 1 else strict + loose:
        for count in range(len(spared) + 1):
            out = set(spared[:count])
            shown = [i for i in every if i not in out]
            space = room - GAP * (len(shown) - 1)
            if sum(floors[i] for i in shown) <= space or len(columns) == 1:
                widths = _grown([measures[i] for i in shown], [floors[i] for i in shown], space)
                without = tuple(columns[i].heading for i in every if i in out)
                return Layout(tuple(shown), tuple(widths), without)
    return None


@dataclass(frozen=True)
class _Measure:
    """How wide a column is: at least, with ids in one piece, with words, with all on one line, as wide as it may be."""

    least: int
    whole: int
    words: int
    natural: int
    most: int = 0


def _measured(column: Column, texts: Sequence[str], dated: bool) -> _Measure:
    from rich.cells import cell_len

    title = _title(column)
    if column.bar_of is not None:
        longest = max(NARROWEST_BAR, cell_len(title))
        return _Measure(longest, longest, longest, longest, max(WIDEST_BAR, longest))
    natural = max(cell_len(text) for text in (title, *texts))
    if column.right or dated:
        return _Measure(natural, natural, natural, natural)
    words = max((cell_len(word) for text in (title, *texts) for word in text.split()), default=0)
    least = min(natural, max(min(words, WORD), SHORT))
    return _Measure(least, natural if words == natural <= WHOLE else least, min(words, WHOLE), natural)


def _grown(measures: Sequence[_Measure], floors: Sequence[int], space: int) -> list[int]:
    """Give what room is left to columns: to what has no blanks, to words, then to all, the least need first, then to bars."""
    widths = list(floors)
    left = max(space - sum(widths), 0)
    if len(measures) == 1:
        return [min(measures[0].natural, max(space, 1))]
    for step in ("whole", "words", "natural", "most"):
        aim: list[int] = [getattr(measure, step) for measure in measures]
        needy = sorted((i for i in range(len(aim)) if aim[i] > widths[i]), key=lambda i: aim[i] - widths[i])
        for rank, i in enumerate(needy):
            more = min(aim[i] - widths[i], left // (len(needy) - rank))
            widths[i] += more
            left -= more
    return widths


def folded(text: str, width: int) -> list[str]:
    """Break a text into lines of at most `width` cells: between words, else after punctuation, else anywhere."""
    from rich.cells import cell_len, chop_cells

    if (len(text) if text.isascii() else cell_len(text)) <= width:
        return [text]
    lines: list[str] = []
    line, used = "", 0
    for word in re.findall(r"\s*\S+\s*?(?=\s|$)", text):
        whole = cell_len(word)
        if used + whole <= width:
            line, used = line + word, used + whole
            continue
        if line:
            lines.append(line)
        line, used = "", 0
        for part in _PARTS.split(word.lstrip()):
            size = cell_len(part)
            if used + size > width and line:
                lines.append(line)
                line, used = "", 0
            pieces = [part] if size <= width else chop_cells(part, width)
            lines += pieces[:-1]
            line += pieces[-1] if pieces else ""
            used += cell_len(pieces[-1]) if pieces else 0
    return [*lines, line] if line or not lines else lines


def _fits(layout: Layout, columns: Sequence[Column], cells: Sequence[Sequence[str]]) -> bool:
    from rich.cells import cell_len

    numbers = [(i, width) for i, width in zip(layout.shown, layout.widths, strict=True) if columns[i].right]
    return all(cell_len(row[i]) <= width for row in cells for i, width in numbers)


def _dated(columns: Sequence[Column], rows: Sequence[Row]) -> list[bool]:
    return [any(isinstance(row.get(column.key), datetime) for row in rows) for column in columns]


def _title(column: Column) -> str:
    return printable(column.heading)


def _padded(text: str, width: int, *, right: bool) -> str:
    from rich.cells import cell_len

    space = " " * (width - (len(text) if text.isascii() else cell_len(text)))
    return space + text if right else text + space


def _ellipsis(line: str, width: int) -> str:
    from rich.cells import chop_cells

    kept = chop_cells(line.rstrip(), width - 1)[0] if width > 1 else ""
    return f"{kept}…"


def _fraction(text: str) -> int:
    """Return how many characters of a number are its point and what follows; 0 for what is no such number."""
    match = _NUMBER.fullmatch(text)
    return len(match[1] or "") if match else 0


def _in_order(line: str) -> str:
    """Keep columns in their places where a terminal writes from right to left.

    The blanks and digits behind an Arabic word would be drawn to its left (Unicode TR 9, rules W2 and N1): a
    left-to-right mark between two columns ends its run. It stands in the gap, so that no copied value has it.
    """
    if not _RIGHT_TO_LEFT.search(line):
        return line
    kept, begin = [], 0
    for gap in _GAP.finditer(line):
        kept.append(line[begin : gap.start()])
        kept.append(f" {_MARK}{gap[0][1:]}" if _RIGHT_TO_LEFT.search(kept[-1]) else gap[0])
        begin = gap.end()
    return "".join([*kept, line[begin:]])


def _room() -> int:
    return shutil.get_terminal_size().columns
