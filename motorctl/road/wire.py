"""The first words of the MongoDB wire protocol: a command sent, its answer read.

OP_MSG (2013), and OP_QUERY (2004) with OP_REPLY (1) for the hello of servers before 4.4.2; section "MongoDB
Wire Protocol" of the manual. For `hello` and `buildInfo` alone: no checksums, no compression, no exhaust.
"""

from __future__ import annotations

import asyncio
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import bson
from bson.errors import BSONError

if TYPE_CHECKING:
    from collections.abc import Mapping

_HEADER = struct.Struct("<iiii")
_OP_REPLY, _OP_QUERY, _OP_MSG = 1, 2004, 2013
_LONGEST = 4 * 1024 * 1024
"""Bytes: no answer to a hello comes near it; what claims more is another protocol."""


_MOMENT = 0.05
"""Seconds."""


class NotMongoError(Exception):
    """What answers speaks another protocol; `args[0]` are its first bytes."""


async def ask(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    command: Mapping[str, Any],
    *,
    legacy: bool = False,
) -> dict[str, Any]:
    """Send a command to `admin` and return the server's answer, an error document too.

    Raises NotMongoError, asyncio.IncompleteReadError where the connection ends instead, OSError.
    """
    if legacy:
        body = struct.pack("<i", 0) + b"admin.$cmd\x00" + struct.pack("<ii", 0, -1) + bson.encode(command)
        opcode = _OP_QUERY
    else:
        body = struct.pack("<iB", 0, 0) + bson.encode({**command, "$db": "admin"})
        opcode = _OP_MSG
    writer.write(_HEADER.pack(_HEADER.size + len(body), 1, 0, opcode) + body)
    await writer.drain()
    head = await reader.readexactly(_HEADER.size)
    length, _, _, opcode = _HEADER.unpack(head)
    skip = {_OP_REPLY: 20, _OP_MSG: 5}.get(opcode)
    if skip is None or not _HEADER.size < length <= _LONGEST:
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(_MOMENT):  # what is there already: the rest of its first line
                head += await reader.read(48)
        raise NotMongoError(head)
    answer = await reader.readexactly(length - _HEADER.size)
    try:
        found: dict[str, Any] = bson.decode(answer[skip:])
    except BSONError:
        raise NotMongoError(head) from None
    return found
