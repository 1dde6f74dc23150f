"""The data of the benchmarks: orders, the same ones at each run, as files of every kind and as BSON.

Measures nothing. A file that is there already is taken as it is: all of it follows from its name.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import random
import shutil
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import bson
import orjson
from bson.raw_bson import RawBSONDocument

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SEED = 20260101
FIRST_DAY = datetime(2025, 7, 1, tzinfo=UTC)
CITIES = ("Berlin", "Lisbon", "Lyon", "Porto", "Utrecht", "Vienna")
CHANNELS = ("app", "gift", "phone", "shop", "web")
STATUS = ("cancelled", "completed", "pending", "refunded")
KEY = "order_no"
BATCH = 1000
# How hard the command-line programs try by default.
LEVELS = {".gz": 6, ".zst": 3, ".bz2": 9}
# So many different orders a large file is made of; their numbers run on.
REPEATED = 20_000
_NUMBERED = b'{"%s":"order-' % KEY.encode()


@dataclass(frozen=True)
class File:
    """A file of orders. `peer_format` is how mongoimport is told what it holds."""

    path: Path
    documents: int
    peer_format: tuple[str, ...]


def orders(count: int) -> Iterator[dict[str, Any]]:
    """Yield `count` orders, the same ones at each run; fewer of them are the first ones of more."""
    chance = random.Random(SEED)
    for number in range(count):
        lines: list[dict[str, Any]] = [
            {
                "sku": f"p-{chance.randrange(1000):04}",
                "qty": chance.randrange(1, 4),
                "price": chance.randrange(100, 9000) / 100,
            }
            for _ in range(2)
        ]
        yield {
            KEY: f"order-{number:08}",
            "user_id": bson.ObjectId(f"{0x65000000 + chance.randrange(5000):08x}{'0' * 16}"),
            "created_at": FIRST_DAY + timedelta(milliseconds=chance.randrange(365 * 86_400_000)),
            "status": chance.choice(STATUS),
            "amount": round(sum(line["qty"] * line["price"] for line in lines), 2),
            "ship_to": {
                "city": chance.choice(CITIES),
                "postcode": f"{chance.randrange(100_000):05}",
                "gift": chance.random() < 0.1,
            },
            "lines": lines,
            "tags": chance.sample(CHANNELS, 2),
        }


def ndjson(home: Path, documents: int) -> File:
    """Write the first `documents` orders one a line."""
    path = home / f"orders-{documents}.ndjson"
    if not path.exists():
        with path.open("wb") as lines:
            lines.writelines(_text(order) + b"\n" for order in orders(documents))
    return File(path, documents, ("--type", "json"))


def array(home: Path, documents: int) -> File:
    """Write them as one JSON array, an order a line."""
    path = home / f"orders-{documents}.json"
    if not path.exists():
        with path.open("wb") as elements:
            for number, order in enumerate(orders(documents)):
                elements.write((b",\n" if number else b"[\n") + _text(order))
            elements.write(b"\n]\n")
    return File(path, documents, ("--type", "json", "--jsonArray"))


def table(home: Path, documents: int) -> File:
    """Write them as CSV: dotted names for what is nested, JSON for arrays."""
    path = home / f"orders-{documents}.csv"
    if not path.exists():
        with path.open("w", newline="") as rows:
            writer = csv.writer(rows, lineterminator="\n")
            for number, order in enumerate(orders(documents)):
                flat = flattened(order)
                if not number:
                    writer.writerow(flat)
                writer.writerow(flat.values())
    return File(path, documents, ("--type", "csv", "--headerline"))


def compressed(file: File, ending: str) -> File:
    """Compress a file; `ending` is one of LEVELS."""
    path = file.path.with_name(file.path.name + ending)
    if not path.exists():
        with file.path.open("rb") as plain, _opened(path) as packed:
            shutil.copyfileobj(plain, packed, 1024 * 1024)
    return File(path, file.documents, file.peer_format)


def _opened(path: Path) -> Any:
    level = LEVELS[path.suffix]
    if path.suffix == ".gz":
        return gzip.open(path, "wb", compresslevel=level)
    return zstd.open(path, "wb", level=level) if path.suffix == ".zst" else bz2.open(path, "wb", level)


def grown(home: Path, size: int) -> File:
    """Write `size` bytes of NDJSON or a line more: the same orders again and again, with numbers that run on."""
    rests = [_text(order).removeprefix(_NUMBERED)[8:] + b"\n" for order in orders(REPEATED)]
    path = home / f"orders-of-{size}-bytes.ndjson"
    number = written = 0
    with path.open("wb") as lines:
        while written < size:
            for rest in rests:
                written += lines.write(b"%b%08d%b" % (_NUMBERED, number, rest))
                number += 1
                if written >= size:
                    break
    return File(path, number, ("--type", "json"))


def ready(found: Iterator[dict[str, Any]]) -> Iterator[RawBSONDocument]:
    """Encode orders with ids of their own, so that the driver has nothing left to do."""
    for order in found:
        yield RawBSONDocument(bson.encode({"_id": bson.ObjectId(), **order}))


def ready_made(count: int) -> list[list[RawBSONDocument]]:
    """Encode orders in batches."""
    documents = list(ready(orders(count)))
    return [documents[start : start + BATCH] for start in range(0, count, BATCH)]


def flattened(order: dict[str, Any]) -> dict[str, Any]:
    """Give the columns of an order: dotted names for what is nested, JSON for arrays."""
    flat: dict[str, Any] = {}
    for name, value in order.items():
        match value:
            case dict():
                flat |= {f"{name}.{inner}": cell for inner, cell in value.items()}
            case list():
                flat[name] = orjson.dumps(value).decode()
            case datetime():
                flat[name] = _iso(value)
            case _:
                flat[name] = value
    return flat


def _text(order: dict[str, Any]) -> bytes:
    return orjson.dumps(order, default=_extended, option=orjson.OPT_PASSTHROUGH_DATETIME)


def _extended(value: Any) -> dict[str, str]:
    """Give the relaxed Extended JSON of an id or a date."""
    if isinstance(value, bson.ObjectId):
        return {"$oid": str(value)}
    if isinstance(value, datetime):
        return {"$date": _iso(value)}
    raise TypeError(type(value))


def _iso(date: datetime) -> str:
    return date.isoformat(timespec="milliseconds").replace("+00:00", "Z")
