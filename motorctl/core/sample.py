"""Sample data for the tour: customers and orders of a small shop, the same at each run. Pure.

Lines of NDJSON in Extended JSON, as another program would deliver them to `motorctl import`.
"""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator

SEED = 20260101
CUSTOMERS = 400
FIRST_DAY = datetime(2025, 7, 1, tzinfo=UTC)
DAYS = 365

_FIRST = "Ada Alan Annie Barbara Claude Donald Edsger Edith Frances Grace Hedy Joan John Karen Katherine Leslie Mary Radia Shafi Sophie"
_LAST = "Allen Clarke Dijkstra Easley Goldwasser Hamilton Hopper Jackson Johnson Keller Knuth Lamarr Lamport Lovelace Perlman Shannon Sparck Turing Wilson Zhao"
PRODUCTS = tuple((f"p-{number:02}", 350 + number * number * 45) for number in range(1, 25))
"""Product ids and prices in cents."""
_NAMES = (
    "Pencil", "Notebook", "Mug", "Candle", "Tea towel", "Teapot", "Apron", "Bread knife", "Chopping board", "Vase",
    "Cushion", "Blanket", "Kettle", "Lamp", "Radio", "Clock", "Toaster", "Saucepan", "Rug", "Mirror", "Stool",
    "Bookcase", "Armchair", "Desk",
)  # fmt: skip
_STATUS = ("completed", "pending", "cancelled", "refunded")
_STATUS_WEIGHTS = (82, 8, 6, 4)


def customers() -> Iterator[bytes]:
    """Yield one user a line; every name is different, and so is every e-mail."""
    firsts, lasts = _FIRST.split(), _LAST.split()
    for number in range(CUSTOMERS):
        first, last = firsts[number % len(firsts)], lasts[number // len(firsts) % len(lasts)]
        joined = FIRST_DAY - timedelta(days=30 + number)
        user = {
            "_id": {"$oid": _customer_id(number)},
            "name": f"{first} {last}",
            "email": f"{first}.{last}@example.com".lower(),
            "active": number % 9 != 0,
            "created_at": {"$date": joined.isoformat().replace("+00:00", "Z")},
        }
        yield orjson.dumps(user) + b"\n"


def inventory() -> Iterator[bytes]:
    """Yield one product a line, with its price and what is in stock."""
    for number, ((product, cents), name) in enumerate(zip(PRODUCTS, _NAMES, strict=True)):
        price = {"$numberDecimal": f"{cents // 100}.{cents % 100:02}"}
        yield (
            orjson.dumps({"_id": product, "name": name, "price": price, "stock": 20 + number * 7 % 60})
            + b"\n"
        )


def orders(count: int) -> Iterator[bytes]:
    """Yield `count` orders, one a line: a busy December, regulars and one-time buyers, a little growth."""
    chance = random.Random(SEED)
    days = list(range(DAYS))
    season = [1 + 0.5 * day / DAYS + 0.9 * math.exp(-(((day - 165) / 14) ** 2)) for day in days]
    regulars = [1 / (1 + number) ** 0.7 for number in range(CUSTOMERS)]
    buyers = chance.choices(range(CUSTOMERS), regulars, k=count)
    for number, day in enumerate(sorted(chance.choices(days, season, k=count))):
        product, price = PRODUCTS[min(int(chance.expovariate(0.18)), len(PRODUCTS) - 1)]
        quantity = chance.choice((1, 1, 1, 2, 2, 3))
        at = FIRST_DAY + timedelta(days=day, milliseconds=chance.randrange(86_400_000))
        order = {
            "_id": f"order-{number:06}",
            "user_id": {"$oid": _customer_id(buyers[number])},
            "product_id": product,
            "qty": quantity,
            "amount": {"$numberDecimal": f"{price * quantity // 100}.{price * quantity % 100:02}"},
            "status": chance.choices(_STATUS, _STATUS_WEIGHTS)[0],
            "created_at": {"$date": at.isoformat(timespec="milliseconds").replace("+00:00", "Z")},
        }
        yield orjson.dumps(order) + b"\n"


def _customer_id(number: int) -> str:
    return f"{0x65000000 + number:08x}{'0' * 16}"
