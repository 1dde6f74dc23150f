"""A report as a picture: one self-contained HTML page, or one SVG file. Strings only; writes nowhere.

`panels` decides what is drawn (pure), `drawing` has pygal lay it out, `page` writes the page around it. Both
are trees until the last step: text is never pasted into markup, so no escape can be forgotten. Neither
has a script, and neither loads anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from motorctl.formats import Column


@dataclass(frozen=True)
class Picture:
    """What is drawn of a report's rows.

    `label` and `value` are keys of a row: what stands at a bar, and its length. `kind`: `time` has bars in
    time order, `ranking` has them beside their labels, in the order of the rows.

    `series` is the key by which parts of a bar are told apart (a status): they are stacked. `apart` is the
    key whose values have a chart each: amounts in different currencies have no axis in common. `compared` is
    the key of a second value, drawn paler beside the first (the year before); `line` of one that has a
    chart of its own below, a line (the running total: on the axis of the bars it would flatten them).
    `rest` is the key of how many a row stands for: one with more than one is the row of all others. It
    comes last and paler, and has a bar only if that isn't longer than the longest of the others.
    """

    title: str
    kind: Literal["time", "ranking"]
    label: str
    value: str
    subtitle: str = ""
    series: str | None = None
    compared: str | None = None
    line: str | None = None
    notes: Sequence[str] = field(default_factory=tuple)
    apart: str | None = None
    rest: str | None = None
    nothing: str = "no orders"
    """What the picture of no rows says."""


def html(
    picture: Picture,
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[Column],
    *,
    now: datetime | None = None,
) -> str:
    """Return a page: title, charts, the table of the rows, the notes, and when it was made (`now`, else now)."""
    from motorctl.pictures import page

    return page.page(picture, rows, columns, now)


def svg(picture: Picture, rows: Sequence[Mapping[str, Any]], columns: Sequence[Column] = ()) -> str:
    """Return the charts alone, as a well-formed file of their own; `columns` have the words for legends."""
    from motorctl.pictures import drawing, panels

    return drawing.file(picture, panels.panels(picture, rows, columns))
