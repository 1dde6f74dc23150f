"""What a server is able to do: its version, asked once. Pure but for the one question."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from motorctl.client import Database

NEWEST = (8, 0)
"""The newest version whose schema this program knows."""


@dataclass(frozen=True)
class Server:
    """A server as a plan sees it."""

    version: tuple[int, int] = NEWEST

    def at_least(self, major: int, minor: int = 0) -> bool:
        return self.version >= (major, minor)

    @property
    def name(self) -> str:
        """The version in words: `MongoDB 6.0`."""
        return f"MongoDB {self.version[0]}.{self.version[1]}"


async def fetch_server(db: Database) -> Server:
    """Ask the server for its version; every user may."""
    reply = await db.command({"buildInfo": 1})
    major, minor, *_ = reply["versionArray"]
    return Server((int(major), int(minor)))
