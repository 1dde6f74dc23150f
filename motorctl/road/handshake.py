"""The handshake with a server: its hello, which versions it speaks, its time.

No password is sent. Lets through what a broken connection raises; `end` says what that means.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from datetime import UTC
from typing import TYPE_CHECKING, Any

from motorctl.errors import ConfigurationError, MotorctlError, UnreachableError
from motorctl.road import wire
from motorctl.road.step import Status, Step, Taking

if TYPE_CHECKING:
    from motorctl.road.model import Lane, Way
    from motorctl.road.sockets import Streams

NOT_FOUND = 59
"""The server's code of an unknown command: hello, before 4.4.2."""
STABLE_API = 13
"""The wire version from which servers know it: MongoDB 5.0."""
CLOCK_SAMPLES = 3
CLOCK_OFF = 1.0
"""Seconds from which two clocks are said to differ."""


async def shake(lane: Lane, streams: Streams, way: Way) -> None:
    """Say hello, ask for the version and the time. Lets through what a broken connection raises."""
    host = str(lane.host)
    with Taking(lane.steps, "handshake", host) as step:
        async with asyncio.timeout(way.seconds):
            hello = await wire.ask(*streams, way.hello())
            if hello.get("code") == NOT_FOUND:
                hello = await wire.ask(*streams, {"isMaster": 1}, legacy=True)
            built = await wire.ask(*streams, {"buildInfo": 1} | way.api())
        if not hello.get("ok"):
            raise MotorctlError(
                f"the server refused the handshake: {hello.get('errmsg') or hello}",
                hint="add --no-stable-api" if "api" in str(hello.get("errmsg")).lower() else None,
                server_code=hello.get("code"),
            )
        lane.version = str(built["version"]) if built.get("ok") and "version" in built else None
        _judge(step, hello, lane, way)
    lane.hello = hello if step.status is not Status.FAILED else {}
    if lane.hello:
        with Taking(lane.steps, "clock", host) as step:
            await _clock(step, lane, streams, way)


def _judge(step: Step, hello: dict[str, Any], lane: Lane, way: Way) -> None:
    """Compare what the server speaks with what the driver speaks. Raises errors of ours."""
    oldest, newest = (int(hello.get(f"{end}WireVersion", 0)) for end in ("min", "max"))
    low, high = way.wire_versions
    name = f"MongoDB {lane.version}" if lane.version else "MongoDB"
    step.facts |= {
        "server_version": lane.version,
        "wire_versions": [oldest, newest],
        "driver_wire_versions": [low, high],
    }
    if newest < low or oldest > high:
        older = newest < low
        raise ConfigurationError(
            f"{name} speaks wire versions {oldest} to {newest}, the driver {low} to {high}",
            hint="the server is too old for this driver: upgrade it"
            if older
            else "the server is newer than this driver knows: upgrade motorctl and pymongo",
        )
    if way.stable_api and newest < STABLE_API:
        raise MotorctlError(
            f"{name} knows no Stable API, which each command declares",
            hint="add --no-stable-api, or set MOTORCTL_STABLE_API=0",
        )
    if way.load_balanced and not hello.get("serviceId"):
        raise ConfigurationError(
            "loadBalanced=true, and no load balancer for MongoDB answers",
            hint="leave loadBalanced=true out: it is for a mongos that is configured for one",
        )
    step.message = f"{name}, wire versions {oldest} to {newest} (driver: {low} to {high})"


async def _clock(step: Step, lane: Lane, streams: Streams, way: Way) -> None:
    """Compare the server's clock with ours, by the round trip that took least: half of it is the error."""
    best: tuple[float, float] | None = None
    with suppress(OSError, EOFError, wire.NotMongoError):
        for _ in range(CLOCK_SAMPLES):
            ours, begun = time.time(), time.perf_counter()
            async with asyncio.timeout(way.seconds):
                answer = await wire.ask(*streams, {"hello": 1} | way.api())
            trip = time.perf_counter() - begun
            if "localTime" not in answer:
                break
            theirs = answer["localTime"].replace(tzinfo=UTC).timestamp()
            if best is None or trip < best[0]:
                best = trip, theirs - (ours + trip / 2)
    if best is None:
        step.status, step.message = Status.SKIPPED, "the server doesn't tell its time"
        return
    trip, skew = best
    lane.skew = skew
    # A millisecond more: localTime has no smaller unit.
    error = trip / 2 + 0.001
    step.facts |= {
        "skew_seconds": round(skew, 3),
        "error_seconds": round(error, 4),
        "round_trip_ms": round(trip * 1000, 2),
    }
    known = f"to within {error * 1000:.1f} ms"
    step.message = f"the same as this machine's, {known}"
    if abs(skew) > error:
        step.message = f"{skew:+.3f} s from this machine's, {known}"
    if abs(skew) - error > CLOCK_OFF:
        which = "ahead of" if skew > 0 else "behind"
        step.message = ""
        step.warn(
            f"{abs(skew):.1f} s {which} this machine's",
            "set both by NTP: expiry times, TTL indexes and certificates depend on it",
        )


def lost(error: BaseException, way: Way) -> UnreachableError:
    """Say what a broken handshake means."""
    if isinstance(error, wire.NotMongoError):
        said = bytes(error.args[0]).split(b"\r")[0].decode("ascii", errors="replace").strip()
        return UnreachableError(
            f"what answers there is no MongoDB server: it said {said!r}",
            hint="check host and port: 27017 is MongoDB's usual one",
        )
    if isinstance(error, TimeoutError):
        return UnreachableError(
            f"it takes connections and does not answer within {way.seconds:g} s",
            hint="the server hangs, is not MongoDB, or a proxy in between has nobody behind it",
        )
    return UnreachableError(
        "it closed the connection without an answer",
        hint="is it MongoDB? Its log says why: too many connections, an address that isn't allowed, TLS",
    )


def end(lane: Lane, error: BaseException, way: Way) -> None:
    """Make a broken handshake the failure of the handshake."""
    step = lane.steps[-1]
    if step.name != "handshake":
        step = Step("handshake", str(lane.host))
        lane.steps.append(step)
    step.fail(lost(error, way))
