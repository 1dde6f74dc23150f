"""Servers that only pretend: they answer commands from a table, or say things that are no MongoDB at all.

For what can't be had here: a load balancer, a server of another age. One thread a connection; each ends with
the block.
"""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import bson

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Answer = "Callable[[str, dict[str, Any]], Mapping[str, Any]]"


@contextmanager
def pretender(answer: Callable[[str, dict[str, Any]], Mapping[str, Any]]) -> Iterator[str]:
    """Speak the wire protocol; `answer(name, command)` is each command's answer. Yields HOST:PORT."""

    def serve(link: socket.socket) -> None:
        while head := link.recv(16, socket.MSG_WAITALL):
            length, request, _, opcode = struct.unpack("<iiii", head)
            body = link.recv(length - 16, socket.MSG_WAITALL)
            # OP_QUERY: flags, "admin.$cmd", skip, limit. OP_MSG: flags, the kind of its section.
            command = bson.decode(body[4 + len(b"admin.$cmd\0") + 8 :] if opcode == 2004 else body[5:])
            said = bson.encode({"ok": 1, **answer(next(iter(command)), command)})
            if opcode == 2004:
                reply, code = struct.pack("<iqii", 8, 0, 0, 1) + said, 1
            else:
                reply, code = struct.pack("<iB", 0, 0) + said, 2013
            link.sendall(struct.pack("<iiii", 16 + len(reply), 1, request, code) + reply)

    with listening(serve) as host:
        yield host


@contextmanager
def listening(serve: Callable[[socket.socket], None], address: str = "127.0.0.1") -> Iterator[str]:
    """Take connections and `serve` each in a thread. Yields HOST:PORT, of a path (a Unix socket) the path."""
    family = socket.AF_UNIX if "/" in address else socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as door:
        door.bind(address if "/" in address else (address, 0))
        door.listen()

        def one(link: socket.socket) -> None:
            with suppress(OSError, struct.error), link:
                serve(link)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    link, _ = door.accept()
                    threading.Thread(target=one, args=(link,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        shown = f"[{address}]" if ":" in address else address
        yield address if "/" in address else f"{shown}:{door.getsockname()[1]}"
        # Closing alone doesn't wake who waits in accept().
        with suppress(OSError):
            door.shutdown(socket.SHUT_RDWR)


def passing(host: str) -> Callable[[socket.socket], None]:
    """Return what passes a connection on to a server, both ways."""
    name, _, port = host.partition(":")

    def serve(link: socket.socket) -> None:
        with socket.create_connection((name, int(port))) as far:
            threading.Thread(target=_copy, args=(far, link), daemon=True).start()
            _copy(link, far)

    return serve


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
