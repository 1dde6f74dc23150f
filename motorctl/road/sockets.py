"""Connections to a host's addresses, with TLS or without, bounded in time by whoever asks for them."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Sequence

Place = tuple[socket.AddressFamily, Any]
"""A family and what `connect` takes: an address and its port, or the path of a Unix socket."""
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

MOST_ADDRESSES = 8
"""Addresses of one host that are tried."""
GOOD_BYE = 0.2
"""Seconds that the end of a connection may take."""


class Try(NamedTuple):
    """How connecting to one address went."""

    place: Place
    ms: float
    error: OSError | None

    @property
    def address(self) -> str:
        where = self.place[1]
        return str(where if isinstance(where, str) else where[0])


@asynccontextmanager
async def opened(
    place: Place, seconds: float, tls: ssl.SSLContext | None = None, name: str = ""
) -> AsyncIterator[Streams]:
    """Yield a connection to one address, with TLS if there is a context; close it whatever happens.

    `name` is the host that the certificate must be for; `seconds` is what TCP and TLS may take together.
    Raises OSError (TimeoutError and ssl.SSLError are some), EOFError.
    """
    family, address = place
    link = socket.socket(family, socket.SOCK_STREAM)
    try:
        link.setblocking(False)
        async with asyncio.timeout(seconds):
            await asyncio.get_running_loop().sock_connect(link, address)
            reader, writer = await asyncio.open_connection(
                sock=link, ssl=tls, server_hostname=(name or "localhost") if tls else None
            )
    except BaseException:
        link.close()
        raise
    try:
        yield reader, writer
    finally:
        # Not close(): a peer that is silent would be waited for, by TLS's own good-bye.
        writer.transport.abort()
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(GOOD_BYE):
                await writer.wait_closed()


async def tried(places: Sequence[Place], seconds: float) -> list[Try]:
    """Connect to each address and hang up, all at once: each has the whole time, and a result of its own."""

    async def one(place: Place) -> Try:
        begun = time.perf_counter()
        failure: OSError | None = None
        try:
            async with opened(place, seconds):
                pass
        except OSError as error:  # a TimeoutError is one
            failure = error
        return Try(place, round((time.perf_counter() - begun) * 1000, 1), failure)

    return list(await asyncio.gather(*map(one, places[:MOST_ADDRESSES])))
