"""What a server says of a connection that stands: who we are, its members, a transaction, room for more.

Each function takes a database, asks one thing and lets the driver's errors through; what a user may not ask
is None. It writes no document (a commit of nothing is a commit all the same) and judges nothing.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from pymongo.errors import NotPrimaryError, OperationFailure
from pymongo.read_preferences import Nearest

from motorctl.core import transactions
from motorctl.core.driver import UNAUTHORIZED

if TYPE_CHECKING:
    from motorctl.client import Database

NO_REPLICATION = 76
"""The server's code of a command for replica sets on a server that is in none."""


class Identity(BaseModel):
    """Who the server takes us for."""

    user: str | None
    """NAME@DATABASE; None is nobody."""
    roles: list[str]
    """NAME@DATABASE, with those that are inherited left out."""


class Member(BaseModel):
    """A member of a replica set, as the member that was asked sees it."""

    host: str
    state: str
    """PRIMARY, SECONDARY, ARBITER, RECOVERING, STARTUP2, (not reachable/healthy), ..."""
    healthy: bool
    behind_seconds: float | None
    """How far its last operation is behind the newest one of the set; None where it holds no data."""


class Room(BaseModel):
    """How many connections a server has, and how many more it takes."""

    current: int
    available: int


async def identity(db: Database) -> Identity:
    """Ask the server who we are."""
    info = (await _admin(db).command("connectionStatus")).get("authInfo", {})
    users = info.get("authenticatedUsers") or []
    return Identity(
        user=f"{users[0]['user']}@{users[0]['db']}" if users else None,
        roles=sorted(f"{role['role']}@{role['db']}" for role in info.get("authenticatedUserRoles") or ()),
    )


async def wants_user(db: Database) -> None:
    """Ask what every user may and nobody else: raises OperationFailure (13) where a user is wanted."""
    # A member that is not ready says so only to those who may ask.
    with suppress(NotPrimaryError):
        await _admin(db).command("listDatabases", nameOnly=True, authorizedDatabases=True)


async def members(db: Database) -> list[Member] | None:
    """List a replica set's members. None: not our business, or there is no set."""
    try:
        status = await _admin(db).command("replSetGetStatus")
    except OperationFailure as error:
        if error.code in (UNAUTHORIZED, NO_REPLICATION) or "not running with --replSet" in str(error):
            return None
        raise
    moments = [m["optimeDate"] for m in status["members"] if m.get("health") and "optimeDate" in m]
    newest = max(moments, default=None)
    return [
        Member(
            host=str(member["name"]),
            state=str(member["stateStr"]),
            healthy=bool(member.get("health")),
            behind_seconds=(newest - member["optimeDate"]).total_seconds()
            if newest is not None and member.get("health") and "optimeDate" in member
            else None,
        )
        for member in status["members"]
    ]


async def transaction(db: Database, seconds: float) -> None:
    """Read nothing in a transaction and commit it with a majority: what each transfer needs of the server.

    Raises what `transactions.run` raises: OutcomeUnknownError where no majority confirms it in `seconds`.
    """
    await transactions.require(db)
    collection = db.get_collection("motorctl.doctor")  # it need not exist

    async def look(session: Any) -> None:
        await collection.find_one({"_id": None}, session=session)

    await transactions.run(db, look, seconds=seconds)


async def room(db: Database) -> Room | None:
    """Count a server's connections; None where the user may not know."""
    rest = dict.fromkeys(("metrics", "repl", "locks", "wiredTiger", "sharding", "tcmalloc", "opcounters"), 0)
    try:
        found = (await _admin(db).command({"serverStatus": 1, **rest}))["connections"]
    except OperationFailure as error:
        if error.code == UNAUTHORIZED:
            return None
        raise
    return Room(current=int(found["current"]), available=int(found["available"]))


def _admin(db: Database) -> Database:
    return db.client.get_database("admin", read_preference=Nearest())
