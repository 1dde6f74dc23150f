"""Rows -> what is drawn: charts with their bars, series and axes as numbers and words. Pure; draws nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import date
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from motorctl.formats import cell
from motorctl.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from motorctl.formats import Column
    from motorctl.pictures.picture import Picture

COLORS = 8
"""Series that colours can tell apart; what is beyond is drawn as one."""
OTHERS = "others"
_NOT_XML = re.compile("[\ufffe\uffff]")


@dataclass(frozen=True)
class Series:
    """One colour of a chart: a name for the legend, and for each label a number, or None.

    `look` is the class in the style sheet: c0, c1, ... or `before` (paler: what it is compared with).
    """

    name: str
    look: str
    values: tuple[Decimal | None, ...]


@dataclass(frozen=True)
class Panel:
    """One chart. `rest` are the places of the labels that stand for many others."""

    kind: Literal["bars", "stacked", "line", "ranking"]
    heading: str
    labels: tuple[str, ...]
    series: tuple[Series, ...]
    rest: frozenset[int] = frozenset()
    margin: int = 0
    """Characters that the marks of its axis may have."""

    @cached_property
    def marks(self) -> list[Decimal]:
        """The marks of the axis of values."""
        return ticks(*self.limits, 5)

    @property
    def limits(self) -> tuple[Decimal, Decimal]:
        """The lowest and the highest place of anything drawn, zero included."""
        lows, highs = [Decimal(0)], [Decimal(0)]
        for index in range(len(self.labels)):
            values = [v for s in self.series if (v := s.values[index]) is not None]
            if self.kind == "stacked":
                lows.append(sum((v for v in values if v < 0), Decimal(0)))
                highs.append(sum((v for v in values if v > 0), Decimal(0)))
            elif index not in self.rest:
                lows += values
                highs += values
        return min(lows), max(highs)

    @property
    def summary(self) -> str:
        """What it shows, in a sentence, for whoever can't see it."""
        first = self.series[0] if self.series else None
        found = (
            [(v, i) for i, v in enumerate(first.values) if v is not None and i not in self.rest]
            if first
            else []
        )
        if not found:
            return "Nothing is drawn."
        (low, lowest), (high, highest) = min(found), max(found, key=lambda pair: pair[0])
        what = {"bars": "Bars", "stacked": "Stacked bars", "line": "A line", "ranking": "Bars"}[self.kind]
        names = f" of {', '.join(s.name for s in self.series)}" if len(self.series) > 1 else ""
        of = f" ({first.name})" if first and len(self.series) > 1 else ""
        return (
            f"{what}{names} for {len(self.labels)} labels, {self.labels[0]} to {self.labels[-1]}. Highest{of}: "
            f"{self.labels[highest]} with {plain(high)}; lowest: {self.labels[lowest]} with {plain(low)}."
        )


def panels(
    picture: Picture, rows: Sequence[Mapping[str, Any]], columns: Sequence[Column] = ()
) -> list[Panel]:
    """Return the charts of a picture, those of one currency (`apart`) before those of the next.

    `columns` have the words for the keys. Raises nothing: what is no number isn't drawn.
    """
    titles = {column.key: shown(column.heading) for column in columns}
    found: list[Panel] = []
    groups = _apart(picture, rows)
    looks = _looks(picture.series, picture.value, groups.values()) if picture.series else {}
    for heading, group in groups.items():
        if picture.kind == "ranking":
            found.append(_ranking(picture, heading, group, titles))
        else:
            found += _over_time(picture, heading, group, titles, looks)
    # Charts below each other have their axes in one line.
    margin = max((len(short(mark)) for panel in found for mark in panel.marks), default=0)
    return [replace(panel, margin=margin) for panel in found]


def shown(value: Any) -> str:
    """Return any value as text that can stand in XML: nothing in it is obeyed, by a terminal or a reader."""
    return _NOT_XML.sub(lambda match: f"\\u{ord(match[0]):04x}", printable(cell(value)))


def number(value: Any) -> Decimal | None:
    """Return a finite number, or None of anything else."""
    if type(value).__name__ == "Decimal128":
        value = value.to_decimal()
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        return None
    found = Decimal(value) if not isinstance(value, float) else Decimal(repr(value))
    return found if found.is_finite() else None


def plain(value: Decimal | None) -> str:
    """Return a number with all its digits, as the table has them."""
    return "" if value is None else format(value, "f")


def short(value: Decimal) -> str:
    """Return a number as an axis has it: 950, 1.2k, 12M; what is beyond a thousand billions as a power."""
    size = abs(value)
    for unit, name in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k"), (1, "")):
        if size >= unit * 1000 and unit == 10**12:
            break
        if size >= unit or unit == 1:
            if 0 < size < Decimal("0.0001"):
                break
            text = format((value / unit).normalize(), "f")
            return text.replace("-", "−") + name
    digits, _, power = f"{value:.2e}".partition("e")
    return f"{Decimal(digits).normalize():f}e{int(power)}".replace("-", "−")


def ticks(low: Decimal, high: Decimal, most: int) -> list[Decimal]:
    """Return the marks of an axis from `low` to `high`: steps of 1, 2 or 5 times a power of ten, both ends in."""
    if low == high:
        high = low + 1
    span = high - low
    power = Decimal(10) ** (span / most).adjusted()
    step = next(s for factor in (1, 2, 5, 10) if span / (s := power * factor) <= most)
    first = (low / step).to_integral_value(ROUND_FLOOR)
    last = (high / step).to_integral_value(ROUND_CEILING)
    return [step * (first + i) for i in range(int(last - first) + 1)]


_MONTH, _QUARTER = re.compile(r"(\d{4})-(\d\d)"), re.compile(r"(\d{4})-Q(\d)")
_DAY, _HOUR = re.compile(r"(\d{4})-(\d\d)-(\d\d)"), re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d).*")


def thinned(labels: Sequence[str], room: int) -> list[int]:
    """Return the places of the labels that are written where there is room for that many.

    As people count: months from January, days from the first of a month, hours from midnight. Where periods
    without a row are left out, such labels may stand side by side, or be few: then it is every so many of all.
    """
    room = max(1, room)
    for chosen in _countings(labels):
        apart = min((after - before for before, after in pairwise(chosen)), default=len(labels))
        if len(chosen) * 2 >= min(room, len(labels)) and apart * room >= len(labels):
            return chosen
    step = -(-len(labels) // room)
    return list(range(0, len(labels), next((s for s in (1, 2, 5, 10, 20, 50, 100) if s >= step), step)))


def _countings(labels: Sequence[str]) -> Iterator[list[int]]:
    """Yield choices of labels, ever fewer."""

    def every(
        pattern: re.Pattern[str], steps: Iterable[int], place: Callable[[list[int]], int | None]
    ) -> Iterator[list[int]]:
        found = [pattern.fullmatch(label) for label in labels]
        places = [place([int(part) for part in match.groups()]) if match else None for match in found]
        for step in steps if all(found) else ():
            yield [i for i, at in enumerate(places) if at is not None and at % step == 0]

    years = (12, 24, 60, 120)
    yield from every(_MONTH, (1, 2, 3, 6, *years), lambda p: p[0] * 12 + p[1] - 1)
    yield from every(_QUARTER, (1, 2, 4, 8, 20, 40), lambda p: p[0] * 4 + p[1] - 1)
    yield from every(_DAY, (1, 2, 7, 14), lambda p: date(p[0], p[1], p[2]).toordinal() - 1)
    yield from every(_DAY, (1, 2, 3, 6, *years), lambda p: p[0] * 12 + p[1] - 1 if p[2] == 1 else None)
    yield from every(_HOUR, (1, 2, 3, 6, 12), lambda p: p[3])
    yield from every(
        _HOUR, (1, 2, 7, 14), lambda p: date(p[0], p[1], p[2]).toordinal() - 1 if p[3] == 0 else None
    )


def _apart(picture: Picture, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        heading = _word(row.get(picture.apart)) if picture.apart else ""
        groups.setdefault(heading, []).append(row)
    return groups


def _word(value: Any) -> str:
    return shown(value) or "—"


def _ranking(
    picture: Picture, heading: str, rows: list[Mapping[str, Any]], titles: Mapping[str, str]
) -> Panel:
    def is_rest(row: Mapping[str, Any]) -> bool:
        count = row.get(picture.rest) if picture.rest else None
        return isinstance(count, int) and count > 1

    rows = sorted(rows, key=is_rest)
    return Panel(
        "ranking",
        heading,
        tuple(_word(row.get(picture.label)) for row in rows),
        (Series(_title(picture.value, titles), "c0", tuple(number(row.get(picture.value)) for row in rows)),),
        rest=frozenset(i for i, row in enumerate(rows) if is_rest(row)),
    )


def _over_time(
    picture: Picture,
    heading: str,
    rows: list[Mapping[str, Any]],
    titles: Mapping[str, str],
    looks: Mapping[str, str],
) -> Iterator[Panel]:
    labels, places, names = _columns(picture, rows)

    def series(key: str, *, running: bool = False) -> tuple[Series, ...]:
        found = []
        for index, name in enumerate(names):
            values: list[Decimal | None] = [None] * len(labels)
            for row, (column, at) in zip(rows, places, strict=True):
                if at == index:
                    values[column] = number(row.get(key))
            look = looks.get(name, "c0")
            found.append(
                Series(name or _title(key, titles), look, tuple(_carried(values) if running else values))
            )
        return _merged(sorted(found, key=lambda s: s.look), looks)

    now = series(picture.value)
    bars = Panel("stacked" if len(now) > 1 else "bars", heading, tuple(labels), now)
    if picture.compared:
        before = series(picture.compared)
        if len(now) > 1:
            # Stacks side by side can't be read: the other period has a chart of its own.
            yield bars
            yield replace(bars, heading=_joined(heading, _title(picture.compared, titles)), series=before)
        else:
            pale = replace(before[0], name=_title(picture.compared, titles), look="before")
            yield replace(bars, series=(pale, *now))
    else:
        yield bars
    if picture.line:
        below = _joined(heading, _title(picture.line, titles))
        yield Panel("line", below, tuple(labels), series(picture.line, running=True))


def _columns(
    picture: Picture, rows: list[Mapping[str, Any]]
) -> tuple[list[str], list[tuple[int, int]], list[str]]:
    """Return the labels, for each row its place (label, series), and the names of the series.

    A label that comes a second time in the same series (an hour that the clock had twice) is another bar.
    """
    names = list(dict.fromkeys(_word(row.get(picture.series)) for row in rows)) if picture.series else [""]
    labels: list[str] = []
    latest: dict[str, int] = {}
    taken: set[tuple[int, int]] = set()
    places = []
    for row in rows:
        label = _word(row.get(picture.label))
        at = names.index(_word(row.get(picture.series))) if picture.series else 0
        if label not in latest or (latest[label], at) in taken:
            latest[label] = len(labels)
            labels.append(label)
        place = (latest[label], at)
        taken.add(place)
        places.append(place)
    return labels, places, names


def _looks(series: str, value: str, groups: Iterable[list[Mapping[str, Any]]]) -> dict[str, str]:
    """Return the colour of each series, the same in all charts.

    Of more series than colours those that are the greatest part of any chart have one each, the others share
    the last.
    """
    parts: dict[str, Decimal] = {}
    for rows in groups:
        sizes: dict[str, Decimal] = {}
        for row in rows:
            name = _word(row.get(series))
            sizes[name] = sizes.get(name, Decimal(0)) + abs(number(row.get(value)) or Decimal(0))
        whole = sum(sizes.values(), Decimal(0)) or Decimal(1)
        for name, size in sizes.items():
            parts[name] = max(parts.get(name, Decimal(0)), size / whole)
    kept = list(parts)
    if len(kept) > COLORS:
        greatest = sorted(parts, key=lambda name: -parts[name])[: COLORS - 1]
        kept = [name for name in parts if name in greatest]
    return {name: f"c{kept.index(name) if name in kept else COLORS - 1}" for name in parts}


def _merged(found: list[Series], looks: Mapping[str, str]) -> tuple[Series, ...]:
    """Give the series their colours; those that share one are added up."""
    shared = [look for look in looks.values() if look == f"c{COLORS - 1}"]
    alone = [s for s in found if len(shared) < 2 or s.look not in shared]
    left = [s for s in found if s not in alone]
    if not left:
        return tuple(alone)
    sums = tuple(
        sum(there, Decimal(0)) if (there := [v for v in column if v is not None]) else None
        for column in zip(*(s.values for s in left), strict=True)
    )
    return (*alone, Series(OTHERS, left[0].look, sums))


def _carried(values: Iterable[Decimal | None]) -> Iterator[Decimal | None]:
    """Yield a running total; where it has no row it is what it was before."""
    latest = None
    for value in values:
        latest = latest if value is None else value
        yield latest


def _title(key: str, titles: Mapping[str, str]) -> str:
    return titles.get(key) or shown(key).replace("_", " ")


def _joined(*words: str) -> str:
    return " · ".join(word for word in words if word)
