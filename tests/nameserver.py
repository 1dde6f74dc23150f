"""A DNS server for tests: it answers what it was given, on this machine, to whoever is pointed at it.

SRV and TXT are asked for by dnspython, which is pointed at it; hosts through the system, whose look-up is
replaced for the names that it knows. It can be silent, too.
"""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dns.asyncresolver
import dns.flags
import dns.message
import dns.rcode
import dns.resolver
import dns.rrset

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pytest

Records = "Mapping[tuple[str, str], Sequence[str]]"
"""(name, type) to the texts of its records: ("_mongodb._tcp.shop.example.com", "SRV") to ["0 0 27017 a.shop.example.com."]."""


@contextmanager
def nameserver(
    monkeypatch: pytest.MonkeyPatch,
    records: Mapping[tuple[str, str], Sequence[str]],
    hosts: Mapping[str, Sequence[str]] | None = None,
    *,
    silent: bool = False,
) -> Iterator[None]:
    """Answer for `records` by DNS and for `hosts` (name to addresses) as the system, while the block runs."""
    system = socket.getaddrinfo

    def look_up(host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> Any:
        addresses = (hosts or {}).get(host)
        if addresses is None:
            return system(host, port, family, type, proto, flags)
        found = [row for a in addresses for row in system(a, port, 0, type, proto, flags)]
        wanted = [row for row in found if family in (0, row[0])]
        if not wanted:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return wanted

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        door.bind(("127.0.0.1", 0))
        resolvers = dns.resolver.Resolver(configure=False), dns.asyncresolver.Resolver(configure=False)
        for resolver in resolvers:
            resolver.nameservers = ["127.0.0.1"]
            resolver.port = door.getsockname()[1]
        with monkeypatch.context() as patch:
            patch.setattr(dns.resolver, "default_resolver", resolvers[0])
            patch.setattr(dns.asyncresolver, "default_resolver", resolvers[1])
            patch.setattr(socket, "getaddrinfo", look_up)
            threading.Thread(target=_serve, args=(door, records, silent), daemon=True).start()
            try:
                yield
            finally:
                # Closing alone doesn't wake who waits for a question.
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                    last.sendto(b"", door.getsockname())


def _serve(door: socket.socket, records: Mapping[tuple[str, str], Sequence[str]], silent: bool) -> None:
    while True:
        try:
            packet, sender = door.recvfrom(4096)
        except OSError:
            return
        if not packet:
            return
        if silent:
            continue
        question = dns.message.from_wire(packet)
        answer = dns.message.make_response(question)
        asked = question.question[0]
        name, kind = asked.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(asked.rdtype)
        texts = records.get((name, kind))
        if texts:
            answer.answer.append(dns.rrset.from_text_list(asked.name, 5, "IN", kind, list(texts)))
        elif not any(known == name for known, _ in records):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        door.sendto(answer.to_wire(), sender)
