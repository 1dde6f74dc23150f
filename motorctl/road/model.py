"""What the road is made of: the way that is asked for, and what is known of each host. Data alone."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from motorctl import __version__

if TYPE_CHECKING:
    import ssl

    from motorctl.road.address import Host
    from motorctl.road.step import Step


@dataclass(frozen=True)
class Way:
    """How a lane is walked: what the connection string asks for. `seconds` bounds each step."""

    seconds: float
    wire_versions: tuple[int, int]
    """The oldest and the newest that the driver speaks."""
    tls: ssl.SSLContext | None = None
    client_certificate: bool = False
    stable_api: bool = True
    load_balanced: bool = False
    compressors: tuple[str, ...] = ()
    user: str | None = None
    """DATABASE.USER whose mechanisms are asked for; None asks nothing."""

    def hello(self) -> dict[str, Any]:
        """Return the hello that opens a connection: MongoDB Handshake, of the drivers' specifications."""
        command: dict[str, Any] = {
            "hello": 1,
            "helloOk": True,
            "client": {
                "application": {"name": "motorctl"},
                "driver": {"name": "motorctl doctor", "version": __version__},
                "os": {"type": "unknown"},
            },
            "compression": list(self.compressors),
        }
        if self.user:
            command["saslSupportedMechs"] = self.user
        if self.load_balanced:
            command["loadBalanced"] = True
        return command | self.api()

    def api(self) -> dict[str, Any]:
        return {"apiVersion": "1"} if self.stable_api else {}


@dataclass
class Lane:
    """What is known of one host once its lane has been walked."""

    host: Host
    listed: bool
    """Whether the connection string names it; else a member of the set did."""
    steps: list[Step] = field(default_factory=list)
    hello: dict[str, Any] = field(default_factory=dict)
    """The server's answer; empty where the lane ended before."""
    version: str | None = None
    skew: float | None = None
    """Seconds by which the server's clock is ahead of ours."""

    @property
    def through(self) -> bool:
        """Whether the server was spoken to, and speaks what the driver speaks."""
        return bool(self.hello) and not self.failures

    @property
    def here(self) -> bool:
        """Whether the host is this machine, by all its addresses."""
        if self.host.socket_path:
            return True
        found = [a for step in self.steps for a in step.facts.get("addresses", ())]
        return bool(found) and all(ipaddress.ip_address(a.partition("%")[0]).is_loopback for a in found)

    @property
    def failures(self) -> list[Step]:
        """The steps at which it ended; they are warnings by now where the road goes on at another host."""
        return [step for step in self.steps if step.error is not None]
