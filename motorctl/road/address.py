"""A connection string taken apart, and put together again for one host or without `+srv`.

Pure. It checks nothing: that a string is well-formed, and its options understood, the driver says when
it is given to it. What it can't take apart it leaves to the driver's error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT_PORT = 27017


@dataclass(frozen=True)
class Host:
    """A host and its port, or the path of a Unix socket."""

    name: str
    port: int = DEFAULT_PORT

    @property
    def socket_path(self) -> str | None:
        """The path of a Unix socket, which a URI writes as %2Ftmp%2Fmongodb-27017.sock."""
        return self.name if self.name.endswith(".sock") else None

    def __str__(self) -> str:
        if self.socket_path:
            return self.name
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"

    @classmethod
    def read(cls, text: str) -> Host:
        """Read HOST, HOST:PORT, [::1] or [::1]:PORT; a port that is none stays part of the name."""
        if text.endswith(".sock"):
            return cls(unquote(text))
        found = re.fullmatch(r"(?:\[([^\]]*)\]|([^:]*))(?::(\d{1,5}))?", text)
        if not found:
            return cls(text.lower())
        return cls((found[1] or found[2] or "").lower(), int(found[3] or DEFAULT_PORT))


@dataclass(frozen=True)
class Address:
    """The parts of a connection string, as they are written: nothing is decoded but the hosts."""

    srv: bool
    userinfo: str
    """USER:PASSWORD, percent-encoded: never to be shown."""
    hosts: tuple[Host, ...]
    database: str
    options: tuple[tuple[str, str], ...]

    @property
    def user(self) -> str | None:
        return unquote(self.userinfo.partition(":")[0]) or None

    @property
    def has_password(self) -> bool:
        return bool(self.userinfo.partition(":")[2])

    def option(self, name: str) -> str | None:
        """Return an option's value, decoded; the last one counts, as in the driver."""
        found = [unquote(value) for key, value in self.options if key.lower() == name.lower()]
        return found[-1] if found else None

    def without(self, *names: str) -> Address:
        """Return it without these options."""
        left_out = {name.lower() for name in names}
        return replace(self, options=tuple(pair for pair in self.options if pair[0].lower() not in left_out))

    def having(self, name: str, value: str) -> Address:
        """Return it with this option instead of what it has of that name."""
        changed = self.without(name)
        return replace(changed, options=(*changed.options, (name, value)))

    def to(self, hosts: Iterable[Host]) -> Address:
        """Return the mongodb:// address of these hosts: options that only mongodb+srv:// has are left out."""
        changed = self.without("srvServiceName", "srvMaxHosts", "srvAllowedHostsSuffix")
        if self.srv and changed.option("tls") is None and changed.option("ssl") is None:
            # Initial DNS Seedlist Discovery: mongodb+srv:// implies TLS.
            changed = changed.having("tls", "true")
        return replace(changed, srv=False, hosts=tuple(hosts))

    def __str__(self) -> str:
        at = f"{self.userinfo}@" if self.userinfo else ""
        hosts = ",".join(_written(host) for host in self.hosts)
        options = "&".join(f"{key}={value}" for key, value in self.options)
        scheme = "mongodb+srv" if self.srv else "mongodb"
        return f"{scheme}://{at}{hosts}/{self.database}" + (f"?{options}" if options else "")


def read(uri: str) -> Address:
    """Take a connection string apart, as the drivers' specification of connection strings does."""
    scheme, _, rest = uri.partition("://")
    head, _, query = rest.partition("?")
    userinfo, _, place = head.rpartition("@")
    hosts, _, database = place.partition("/")
    pairs = [pair.partition("=") for pair in re.split("[&;]", query) if pair]
    return Address(
        srv=scheme.lower() == "mongodb+srv",
        userinfo=userinfo,
        hosts=tuple(Host.read(host) for host in hosts.split(",") if host),
        database=database,
        options=tuple((key, value) for key, _, value in pairs),
    )


def _written(host: Host) -> str:
    from urllib.parse import quote

    return quote(host.name, safe="") if host.socket_path else str(host)
