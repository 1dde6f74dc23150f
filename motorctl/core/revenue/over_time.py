"""Revenue over time: sums of money by period of the calendar, in one pass over the orders.

The server puts each order into its period, adds up, and sends one group for each period; what is left to
do here is arithmetic between periods. What an earlier period had is read in the same pass: the range is
longer by it at the front, and its rows are dropped.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

from motorctl.core import field_paths, periods
from motorctl.core.revenue import amounts, selection
from motorctl.core.revenue.amounts import Sum
from motorctl.core.revenue.report import Question, Report, ask, zone_known
from motorctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from zoneinfo import ZoneInfo

    from motorctl.client import Database
    from motorctl.core.revenue.selection import Orders

_TICK = timedelta(milliseconds=1)
_YEAR_AND_MORE = timedelta(days=366 + 7)
"""The same period a year before begins within it: a leap year, and what weeks are off."""

Apart = tuple[str | None, str | None]
"""What rows are told apart by besides their period: currency and status, None where that isn't asked for."""


@dataclass(frozen=True)
class Series:
    """How revenue is shown over time: `by` which periods, in the zone `tz`.

    `fill`: periods without an order, too. `compare` with the `previous` period, or the same one a `year`
    before. `cumulative`: the running total, too. `by_status`: a row for each status.
    """

    by: str = "month"
    tz: str = "UTC"
    fill: bool = False
    compare: Literal["previous", "year"] | None = None
    cumulative: bool = False
    by_status: bool = False


def question(orders: Orders, series: Series, version: tuple[int, int]) -> Question:
    """Return the aggregation of the report: one group for each period, status, currency and kind of no amount.

    It is the same on every server from 4.4; `version` decides whether it can be asked at all. Raises
    UsageError (2) for an unknown period, and for names of fields that need `$getField` on an older server.
    """
    _check(orders, series, version)
    key: dict[str, Any] = {"period": periods.label_expression(orders.date, series.by, series.tz)}
    if series.by_status:
        key["status"] = {"$ifNull": ["$status", None]}
    if orders.currency:
        key["currency"] = {"$ifNull": [field_paths.path(orders.currency), None]}
    read_from = _read_from(orders, series)
    if read_from != orders.since and orders.since is not None and not _begins(orders.since, series):
        # the first period is cut by `since`: what it had before is in no row
        key["early"] = {"$lt": [field_paths.path(orders.date), orders.since]}
    return Question(
        orders.collection,
        [
            *selection.matching(replace(orders, since=read_from)),
            *amounts.prepare(orders),
            {"$group": {"_id": {**key, "skipped": amounts.skipped(orders)}, **amounts.sums(orders)}},
            {"$sort": {"_id": 1}},
        ],
    )


async def over_time(db: Database, orders: Orders, series: Series, version: tuple[int, int]) -> Report:
    """Sum revenue by period: rows {period, revenue, orders, average} in time order, and what `series` asks for.

    That is {status}, {currency}, {cumulative}, and {compared_to, compared_revenue, change_percent}.
    Money is a Decimal. May run twice. Raises UsageError (2).
    """
    with zone_known(series.tz):
        groups = await ask(db, question(orders, series, version))
    return read(groups, orders, series, datetime.now(UTC))


def read(
    groups: Iterable[Mapping[str, Any]], orders: Orders, series: Series, now: datetime | None = None
) -> Report:
    """Return the report that the groups of an answer make; without `now`, no period is known to be unfinished.

    With `fill`, periods without an order are there with zero, from the first that has one (or `since`) to
    the last (or `until`). A period is compared as it stands, whole or not (`Report.partial`), with the whole
    of an earlier one, also where `since` cuts that in its own row. The earlier revenue is null where the
    calendar has no such period, or the data begins later; the change is null then, and where the earlier
    revenue is zero. It is in per cent, with one digit, half-even.
    """
    zone = periods.zone(series.tz)
    report = Report()
    start = _place(_label(orders.since, series, zone), series) if orders.since and series.compare else None
    answer = _Answer(series, zone, start)
    for group in groups:
        answer.take(group)
    report.undated, report.skipped = answer.undated, amounts.reasons(answer.skipped)
    report.other_clocks = answer.other_clocks
    if series.fill and not answer.found and not (series.by_status or orders.currency):
        answer.found[None, None] = {}
    labels = _labels(answer.found, orders, series, zone)
    bases = _bases(labels, series, zone) if series.compare else {}
    there = {label for sums in (*answer.found.values(), *answer.earlier.values()) for label in sums}
    there.update(labels[:1])
    oldest = min((_place(label, series) for label in there), default=None)
    rows: list[tuple[Any, ...]] = []
    for apart, sums in answer.found.items():
        before = answer.earlier.get(apart, {})
        running = Sum()
        for number, label in enumerate(labels):
            here = sums.get(label, Sum())
            running += here
            if label not in sums and not series.fill:
                continue
            row = _row(label, apart, here, orders, series, zone)
            if series.cumulative:
                row["cumulative"] = amounts.shown(running)
            if series.compare:
                base = bases[label]
                known = base is not None and oldest is not None and _place(base, series) >= oldest
                whole = before.get(base or "", Sum()) + sums.get(base or "", Sum())
                earlier = amounts.shown(whole) if known else None
                row["compared_to"] = base and periods.shown(base, zone)
                row["compared_revenue"] = earlier
                row["change_percent"] = _change(row["revenue"], earlier) if earlier else None
            rows.append((number, *(_last_if_none(one) for one in apart), row))
            report.rounded |= here.rounded
            report.cut |= here.cut
            report.without_currency += here.orders if orders.currency and apart[0] is None else 0
    report.rows = [row for *_, row in sorted(rows, key=lambda item: item[:-1])]
    shown = {number for number, *_ in rows}
    report.partial = [
        periods.shown(label, zone)
        for number, label in enumerate(labels)
        if number in shown and _partial(label, orders, series, zone, now)
    ]
    return report


@dataclass
class _Answer:
    """The groups of an answer, told apart by what they are.

    `earlier` are those before `since`, in `start` or an earlier period: none is in a row, all are compared with.
    """

    series: Series
    zone: ZoneInfo
    start: Any
    found: dict[Apart, dict[str, Sum]] = field(default_factory=lambda: defaultdict(dict))
    earlier: dict[Apart, dict[str, Sum]] = field(default_factory=lambda: defaultdict(dict))
    skipped: list[tuple[str, int]] = field(default_factory=list)
    undated: int = 0
    other_clocks: bool = False

    def take(self, group: Mapping[str, Any]) -> None:
        key, count = group["_id"], int(group["orders"])
        period = key.get("period")
        if period is None:
            self.undated += count
            return
        if self.series.by == "hour" and (own := periods.own_hour(period, self.zone)) != period:
            period, self.other_clocks = own, True
        surplus = key.get("early", False) or (
            self.start is not None and _place(period, self.series) < self.start
        )
        if "skipped" in key:
            if not surplus:
                self.skipped.append((key["skipped"], count))
            return
        sums = self.earlier if surplus else self.found
        apart = _text(key.get("currency")), _text(key.get("status"))
        sums[apart][period] = sums[apart].get(period, Sum()) + amounts.read(group)


def _check(orders: Orders, series: Series, version: tuple[int, int]) -> None:
    if series.by not in periods.PERIODS:
        raise UsageError(f"{series.by!r} is no period", hint=", ".join(periods.PERIODS))
    periods.zone(series.tz)
    fields = [orders.date, *([orders.currency] if orders.currency else [])]
    fields += [] if orders.amount_expression is not None else [orders.amount]
    field_paths.check(fields, version)


def _read_from(orders: Orders, series: Series) -> datetime | None:
    """Return when the range begins that is read: earlier than `since` by what it is compared with."""
    if orders.since is None or series.compare is None:
        return orders.since
    zone = periods.zone(series.tz)
    try:
        first = _label(orders.since, series, zone)
        earlier = periods.before if series.compare == "previous" else periods.year_before
        base = earlier(first, series.by, zone)
        if base is None and series.compare == "year" and orders.since.year > 1:
            # the year before has no such period, and one for the period that follows
            base = _label(orders.since - _YEAR_AND_MORE, series, zone)
        return periods.bounds(base, series.by, zone)[0] if base else None
    except OverflowError:
        return None


def _begins(moment: datetime, series: Series) -> bool:
    """Tell whether a moment is the beginning of a period."""
    zone = periods.zone(series.tz)
    return periods.bounds(_label(moment, series, zone), series.by, zone)[0] == moment


def _label(moment: datetime, series: Series, zone: ZoneInfo) -> str:
    return periods.label(moment.astimezone(zone), series.by)


def _place(label: str, series: Series) -> Any:
    """Return what labels sort by: hours by the time that they name, since an offset doesn't sort."""
    return datetime.fromisoformat(label) if series.by == "hour" else label


def _labels(
    found: Mapping[Apart, Mapping[str, Sum]], orders: Orders, series: Series, zone: ZoneInfo
) -> Sequence[str]:
    """Return the labels of a report's rows in time order: those that have an order, or with `fill` all."""
    labels = {label for sums in found.values() for label in sums}
    there = sorted(labels, key=lambda label: _place(label, series))
    if not series.fill:
        return there
    first = _label(orders.since, series, zone) if orders.since else there[0] if there else None
    last = there[-1] if there else None
    if orders.until:
        # half-open: the last period is the one that the moment before `until` lies in
        last = _label(orders.until - _TICK, series, zone)
    if first is None or last is None:
        return there
    filled = list(periods.labels(first, last, series.by, zone))
    # The server's clocks may be others at the edge: no order is lost for it.
    beyond = labels.difference(filled)
    return sorted([*filled, *beyond], key=lambda label: _place(label, series)) if beyond else filled


def _bases(labels: Iterable[str], series: Series, zone: ZoneInfo) -> dict[str, str | None]:
    earlier = periods.before if series.compare == "previous" else periods.year_before
    return {label: earlier(label, series.by, zone) for label in labels}


def _row(
    label: str, apart: Apart, found: Sum, orders: Orders, series: Series, zone: ZoneInfo
) -> dict[str, Any]:
    currency, status = apart
    return {
        "period": periods.shown(label, zone),
        **({"status": status} if series.by_status else {}),
        **({"currency": currency} if orders.currency else {}),
        "revenue": amounts.shown(found),
        "orders": found.orders,
        "average": amounts.average(found),
    }


def _change(revenue: Decimal, earlier: Decimal) -> Decimal:
    """Return by how many per cent revenue differs from an earlier one that isn't zero, half-even to a digit."""
    tenths = round((Fraction(revenue) - Fraction(earlier)) / abs(Fraction(earlier)) * 1000)
    return Decimal(f"{tenths}E-1")


def _partial(label: str, orders: Orders, series: Series, zone: ZoneInfo, now: datetime | None) -> bool:
    begin, end = periods.bounds(label, series.by, zone)
    return bool(
        (orders.since and begin < orders.since)
        or (orders.until and orders.until < end)
        or (now and begin <= now < end)
    )


def _text(value: Any) -> str | None:
    """Return a status or a currency as text, whatever it is; null and the empty text are two things."""
    return None if value is None else str(value)


def _last_if_none(value: Any) -> tuple[bool, str]:
    return value is None, str(value)
