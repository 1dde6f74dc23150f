"""One host's lane: its addresses, TCP, TLS, the handshake, its clock. Each goes on where the one before ended well.

A lane looks at what the driver doesn't tell: whether a server that hangs up speaks TLS, what the refused
certificate says, which of two addresses is dead. No password is sent on it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import sys
import time
from typing import TYPE_CHECKING

from motorctl.errors import UnreachableError
from motorctl.road import certificates, handshake, resolver, wire
from motorctl.road.model import Lane, Way
from motorctl.road.sockets import MOST_ADDRESSES, Place, Try, opened, tried
from motorctl.road.step import Taking

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from motorctl.road.address import Host
    from motorctl.road.sockets import Streams
    from motorctl.road.step import Step


async def walk(host: Host, way: Way, *, listed: bool = True) -> Lane:
    """Walk one lane as far as it goes."""
    lane = Lane(host, listed)
    places = await _places(lane, way)
    place = await _tcp(lane, places, way) if places else None
    if place is None:
        return lane
    if way.tls is None:
        await _in_the_clear(lane, place, way)
    else:
        await _with_tls(lane, place, way, way.tls)
    return lane


async def _places(lane: Lane, way: Way) -> list[Place]:
    host = lane.host
    if host.socket_path:
        if sys.platform == "win32":
            with Taking(lane.steps, "tcp", str(host)):
                raise UnreachableError(
                    "Python has no Unix sockets on Windows", hint="name a host and its port"
                )
            return []
        return [(socket.AF_UNIX, host.socket_path)]
    with Taking(lane.steps, "dns", str(host)) as step:
        places = await resolver.addresses(host, way.seconds)
        shown = [str(address[0]) for _, address in places]
        more = f" and {len(shown) - 4} more" if len(shown) > 4 else ""
        step.message = ", ".join(shown[:4]) + more
        step.facts["addresses"] = shown
        if resolver.is_address(host.name):
            step.message = "an address, nothing to look up"
        return places
    return []


async def _tcp(lane: Lane, places: list[Place], way: Way) -> Place | None:
    """Connect to each address; return the first that answers."""
    with Taking(lane.steps, "tcp", str(lane.host)) as step:
        tries = await tried(places, way.seconds)
        step.facts["tries"] = [
            {"address": t.address, "ms": t.ms, "error": _reason(t, way) if t.error else None} for t in tries
        ]
        good = [t for t in tries if t.error is None]
        if not good:
            reasons = dict.fromkeys(_reason(t, way) for t in tries)
            raise UnreachableError("; ".join(reasons), hint=_tcp_hint(tries[0].error, here=lane.here))
        step.message = f"{good[0].address} answers"
        step.ms = good[0].ms
        if dead := [t for t in tries if t.error is not None]:
            step.warn(
                "; ".join(f"{t.address}: {_reason(t, way)}" for t in dead),
                "each new connection may try the dead address first: take it out of DNS, or use the other",
            )
        elif len(places) > MOST_ADDRESSES:
            step.message += f", as do {len(good) - 1} others of {len(places)}"
        return good[0].place
    return None


def _reason(found: Try, way: Way) -> str:
    from motorctl.driver_errors import reason_in_words

    if isinstance(found.error, TimeoutError) and found.error.errno is None:
        return f"no answer within {way.seconds:g} s"
    # The loop's own sentence instead of the system's: "Connect call failed".
    code = found.error.errno if found.error else None
    return reason_in_words(OSError(code, os.strerror(code)) if code else found.error or OSError())


def _tcp_hint(error: OSError | None, *, here: bool) -> str:
    if isinstance(error, ConnectionRefusedError):
        start = " `motorctl local start` runs one here" if here else ""
        return f"is mongod running there, on that port, and bound to that address (net.bindIp)?{start}"
    if isinstance(error, FileNotFoundError):
        return "is mongod running on this machine, with a socket in that directory?"
    return "a firewall, a security group or an access list in between? Try the same from the server's own network"


async def _in_the_clear(lane: Lane, place: Place, way: Way) -> None:
    """Speak without TLS; where the server hangs up, find out whether it wanted TLS."""
    try:
        async with opened(place, way.seconds) as streams:
            await handshake.shake(lane, streams, way)
    except (OSError, EOFError, wire.NotMongoError) as error:
        # One that wants TLS hangs up on what isn't; from a silent one nothing more is to be learned.
        if isinstance(error, TimeoutError) or not await _speaks_tls(place, lane.host, way):
            handshake.end(lane, error, way)
            return
        lane.steps = [step for step in lane.steps if step.name != "handshake"]
        seen = await certificates.look(_shaker(place, lane.host, way))
        with Taking(lane.steps, "tls", str(lane.host)):
            issuer = f" (its certificate is by {seen.issuer})" if seen else ""
            raise UnreachableError(
                f"it speaks TLS, and the connection string doesn't ask for it{issuer}",
                hint="add tls=true to it, and tlsCAFile=/path/ca.pem where the authority is your own",
            ) from None


async def _speaks_tls(place: Place, host: Host, way: Way) -> bool:
    """Tell whether a server answers a TLS handshake."""
    try:
        await _shaker(place, host, way)(certificates.unverifying())
    except ssl.SSLError as error:
        # An alert is an answer in TLS, too; another protocol is a wrong version number.
        return "ALERT" in str(error).upper()
    except (OSError, EOFError):
        return False
    return True


def _shaker(place: Place, host: Host, way: Way) -> Callable[[ssl.SSLContext], Awaitable[ssl.SSLObject]]:
    """Return what makes one TLS connection with a context, and hangs up."""

    async def shake(context: ssl.SSLContext) -> ssl.SSLObject:
        async with opened(place, way.seconds, context, host.name) as (_, writer):
            found: ssl.SSLObject = writer.get_extra_info("ssl_object")
            return found

    return shake


async def _with_tls(lane: Lane, place: Place, way: Way, context: ssl.SSLContext) -> None:
    spoken: list[Step] = []
    with Taking(lane.steps, "tls", str(lane.host)) as step:
        try:
            spoken = await _secured(lane, place, way, context, step)
        except ssl.SSLCertVerificationError as error:
            seen = await certificates.look(_shaker(place, lane.host, way))
            step.facts |= seen.facts() if seen else {}
            raise certificates.refused(error, seen, lane.host.name) from None
        except TimeoutError:
            raise UnreachableError(
                f"no answer to the TLS handshake within {way.seconds:g} s",
                hint="something in between swallows it, or it isn't a TLS server",
            ) from None
        except (OSError, EOFError) as error:
            if await _speaks_plainly(place, way):
                raise _plain() from None
            raise certificates.broken(
                error, client_certificate=way.client_certificate, after="version" in step.facts
            ) from None
    lane.steps += spoken


def _plain() -> UnreachableError:
    return UnreachableError(
        "it speaks no TLS, and the connection string asks for it",
        hint="take tls=true out of it (mongodb+srv:// implies it: tls=false), or switch TLS on at the server",
    )


async def _secured(lane: Lane, place: Place, way: Way, context: ssl.SSLContext, step: Step) -> list[Step]:
    """Make the TLS connection, say what it is, and speak over it; return the steps after it.

    With TLS 1.3 a server refuses a client's certificate, or the want of it, only after the handshake: the
    first answer belongs to this step.
    """
    after = Lane(lane.host, lane.listed)
    begun = time.perf_counter()
    async with opened(place, way.seconds, context, lane.host.name) as streams:
        step.ms = round((time.perf_counter() - begun) * 1000, 1)
        await _describe(step, streams, place, lane.host, way)
        try:
            await handshake.shake(after, streams, way)
        except (TimeoutError, wire.NotMongoError) as error:
            handshake.end(after, error, way)
    lane.hello, lane.version, lane.skew = after.hello, after.version, after.skew
    return after.steps


async def _describe(step: Step, streams: Streams, place: Place, host: Host, way: Way) -> None:
    """Put what the TLS connection is into its step: version, cipher, the certificate and its end."""
    link: ssl.SSLObject = streams[1].get_extra_info("ssl_object")
    version, cipher = link.version() or "TLS", (link.cipher() or ("an unknown cipher",))[0]
    step.facts |= {"version": version, "cipher": cipher, "verified": True}
    step.message = f"{version}, {cipher}"
    shown = link.getpeercert()
    certificate = certificates.read(shown) if shown else await certificates.look(_shaker(place, host, way))
    if not shown:
        step.facts["verified"] = False
        step.warn(
            "its certificate is not checked",
            "anybody can stand in between: take tlsInsecure and tlsAllowInvalidCertificates out of the URI",
        )
    if certificate is None:
        return
    step.facts |= certificate.facts()
    days = certificate.days
    step.message += f"; certificate by {certificate.issuer}"
    if days < 0:
        step.warn(f"expired {-days} days ago", "renew the certificate on the server")
    elif days < certificates.SOON:
        step.warn(f"expires in {days} days, on {certificate.ends:%Y-%m-%d}", "renew it on the server in time")
    else:
        step.message += f", expires in {days} days"


async def _speaks_plainly(place: Place, way: Way) -> bool:
    """Tell whether a server answers a hello without TLS."""
    try:
        async with asyncio.timeout(way.seconds), opened(place, way.seconds) as streams:
            return bool(await wire.ask(*streams, {"isMaster": 1}, legacy=True))
    except (OSError, EOFError, wire.NotMongoError):
        return False
