"""Which orders the options of `motorctl revenue` mean, and which of them can't be given together. Sends nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from motorctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from motorctl.core.revenue.selection import Orders


@dataclass(frozen=True)
class Choice:
    """What the options that all reports have say of the orders, before it is checked."""

    collection: str
    since: str | None
    until: str | None
    tz: str
    status: Sequence[str] | None
    any_status: bool
    amount_field: str | None
    amount_expr: str | None
    date_field: str
    currency_field: str | None
    by_status: bool = False

    def orders(self, **fields: Any) -> Orders:
        """Return the orders that are meant; `fields` are those that one report has. Raises UsageError (2)."""
        from datetime import UTC, datetime

        from motorctl.core.revenue import expression
        from motorctl.core.revenue.selection import Orders

        if self.status and self.any_status:
            raise UsageError("--status and --any-status exclude each other", hint="leave one of them out")
        if self.amount_field is not None and self.amount_expr is not None:
            raise UsageError(
                "--amount-field and --amount-expr exclude each other",
                hint="a formula names its fields itself: --amount-expr 'qty * price'",
            )
        zone = zone_of(self.tz)
        since, until = self._range(zone, datetime.now(UTC))
        return _checked(
            Orders(
                collection=self.collection,
                amount="amount" if self.amount_field is None else self.amount_field,
                amount_expression=None if self.amount_expr is None else expression.parse(self.amount_expr),
                date=self.date_field,
                currency=self.currency_field,
                status=self._statuses(),
                since=since,
                until=until,
                **fields,
            )
        )

    def _statuses(self) -> tuple[str, ...]:
        if self.any_status or (self.by_status and not self.status):
            return ()
        return tuple(dict.fromkeys(self.status or ("completed",)))

    def _range(self, zone: ZoneInfo, now: datetime) -> tuple[datetime | None, datetime | None]:
        from motorctl.core import periods

        return periods.span(self.since, self.until, zone, now)


def zone_of(name: str) -> ZoneInfo:
    """Return the time zone that --tz names. Raises UsageError (2) with the name that was probably meant."""
    from motorctl.core import periods

    try:
        return periods.zone(name)
    except UsageError as error:
        from zoneinfo import available_timezones

        from motorctl.near import near

        zones = sorted(available_timezones())
        # People say the city alone, and write it as they like.
        cities = {zone.rpartition("/")[2].lower().replace("_", " "): zone for zone in zones if "/" in zone}
        city = cities.get(name.lower().replace("_", " "))
        meant = f"did you mean {city!r}?" if city else near(name, zones) if name else None
        raise UsageError(f"--tz: {error.message}", hint=meant or error.hint) from error


def one_of(word: str | None, words: Sequence[str], option: str) -> None:
    """Refuse a word that an option doesn't know, naming the one that was probably meant."""
    if word is not None and word not in words:
        from motorctl.near import near

        raise UsageError(f"{option}: {word!r} is not one of {', '.join(words)}", hint=near(word, words))


def _checked(orders: Orders) -> Orders:
    """Refuse what can't be the name of a field or a collection before anything is sent."""
    from motorctl.core import field_paths

    fields = {
        "--amount-field": orders.amount,
        "--date-field": orders.date,
        "--customer-field": orders.customer,
        "--product-field": orders.product,
        "--quantity-field": orders.quantity,
        "--currency-field": orders.currency,
    }
    for option, field in fields.items():
        if field is not None:
            try:
                field_paths.path(field)
            except UsageError as error:
                raise UsageError(f"{option}: {error.message}", hint=error.hint) from error
    names = {
        "--collection": orders.collection,
        "--customers": orders.customers,
        "--products": orders.products,
    }
    for option, name in names.items():
        if not name or name.startswith(("$", ".")) or name.endswith(".") or "\0" in name:
            raise UsageError(f"{option}: {name!r} is no name of a collection")
    return orders
