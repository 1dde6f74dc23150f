"""What is drawn of a report: data alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence


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
