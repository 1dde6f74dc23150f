"""Is the server there, and what is it: topology, primary, transactions, user, round-trip times.

Reads only, and nothing but `hello`, `buildInfo`, `connectionStatus` and `ping`.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, cast

from pymongo.errors import OperationFailure
from pymongo.read_preferences import Nearest

from motorctl.core.hello import hosts, only_host, primary, topology, transactions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from motorctl.client import Database


class Level(IntEnum):
    """How ready a server is; each level holds those below it."""

    reachable = 1
    """It answers."""
    auth = 2
    """It takes our credentials."""
    primary = 3
    """It, or the member it leads to, takes writes."""
    transactions = 4
    """It has transactions: a replica set or a sharded cluster with a primary."""


@dataclass(frozen=True)
class Latency:
    """Round-trip times of `ping` in milliseconds."""

    min: float
    median: float
    max: float
    samples: int


@dataclass(frozen=True)
class Report:
    """What `ping` says of a server."""

    ok: bool
    server_version: str | None
    topology: str
    set_name: str | None
    primary: str | None
    hosts: list[str]
    transactions: bool
    tls: bool
    user: str | None
    latency_ms: Latency


async def look(db: Database, count: int) -> Report:
    """Ask the server what it is, and time `count` pings, one after the other."""
    admin = db.client.get_database("admin", read_preference=Nearest())
    samples = []
    for _ in range(count):
        begun = time.perf_counter()
        await admin.command("ping")
        samples.append((time.perf_counter() - begun) * 1000)
    hello = await admin.command("hello")
    status = await admin.command("connectionStatus")
    return Report(
        ok=True,
        server_version=await _version(admin),
        topology=topology(hello),
        set_name=hello.get("setName"),
        primary=hello.get("primary") or (only_host(db) if primary(hello) else None),
        hosts=hosts(hello),
        transactions=transactions(hello),
        tls=_tls(db),
        user=_user(status),
        latency_ms=Latency(
            min=round(min(samples), 3),
            median=round(statistics.median(samples), 3),
            max=round(max(samples), 3),
            samples=count,
        ),
    )


async def level(db: Database, wanted: Level) -> Level:
    """Return how ready the server is, looking no further than `wanted`.

    Lets the driver's errors through: not reachable, not authenticated.
    """
    admin = db.client.get_database("admin", read_preference=Nearest())
    hello = await admin.command("hello")
    if wanted < Level.auth:
        return Level.reachable
    # Of the commands that need a user, the one that every user may call.
    await admin.command("listDatabases", nameOnly=True, authorizedDatabases=True)
    if primary(hello) is None:
        return Level.auth
    return Level.transactions if transactions(hello) else Level.primary


def _tls(db: Database) -> bool:
    """Tell whether the client speaks TLS: the driver keeps it in its pool's options, without a public word."""
    options = cast("Any", db.client.options)
    return options.pool_options._ssl_context is not None  # noqa: SLF001 - the driver has no public word for it


async def _version(admin: Database) -> str | None:
    """Ask for the server's version; some servers tell it to their users only."""
    try:
        return str((await admin.command("buildInfo"))["version"])
    except (OperationFailure, KeyError):
        return None


def _user(status: Mapping[str, Any]) -> str | None:
    users = status.get("authInfo", {}).get("authenticatedUsers") or []
    return f"{users[0]['user']}@{users[0]['db']}" if users else None
