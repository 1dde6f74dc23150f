"""What a server is able to do: its version, and whether it has search, asked once. Pure but for these questions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pymongo.errors import OperationFailure

from motorctl.core.driver import server_version

if TYPE_CHECKING:
    from motorctl.client import Database

NEWEST = (8, 0)
"""The newest version whose schema this program knows."""

NO_SEARCH = frozenset({59, 115, 31082, 40324, 6047401})
"""What a server without search answers: no such command, stage or service, or only on Atlas."""


@dataclass(frozen=True)
class Server:
    """A server as a plan sees it; `search` None: nobody has asked whether it has search indexes."""

    version: tuple[int, int] = NEWEST
    search: bool | None = None

    def at_least(self, major: int, minor: int = 0) -> bool:
        return self.version >= (major, minor)

    @property
    def name(self) -> str:
        """The version in words: `MongoDB 6.0`."""
        return f"MongoDB {self.version[0]}.{self.version[1]}"


async def fetch_server(db: Database, *, search: bool = False) -> Server:
    """Ask the server for its version, which every user may, and with `search` whether it has search indexes."""
    return Server(await server_version(db), await _searches(db) if search else None)


async def _searches(db: Database) -> bool | None:
    """Tell whether the server has search indexes; None for a user who may not ask.

    It looks at the stage before the collection, which need not be there.
    """
    try:
        await db.command({"aggregate": "motorctl", "pipeline": [{"$listSearchIndexes": {}}], "cursor": {}})
    except OperationFailure as error:
        return False if error.code in NO_SEARCH else None
    return True
