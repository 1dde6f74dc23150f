"""What a dead process leaves open is ended, and nothing else."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.errors import OperationFailure

from motorctl.core import abandoned

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pymongo

OPENS = """
import sys, pymongo
client = pymongo.MongoClient(sys.argv[1], appname=sys.argv[3])
with client.start_session() as session:
    session.start_transaction()
    client[sys.argv[2]].accounts.update_one({"_id": "a"}, {"$set": {"held": True}}, session=session)
    print("open", flush=True)
    sys.stdin.read()
"""


@contextmanager
def opened(uri: str, name: str, app: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process with a transaction that holds account `a`."""
    process = subprocess.Popen(
        [sys.executable, "-c", OPENS, uri, name, app], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def held(db: pymongo.database.Database[dict[str, Any]]) -> bool:
    with db.client.start_session() as session:
        session.start_transaction()
        try:
            db["accounts"].update_one({"_id": "a"}, {"$set": {"held": False}}, session=session)
        except OperationFailure as error:
            return error.code == 112
        session.abort_transaction()
        return False


@pytest.mark.parametrize("what", ["dead", "alive", "dead, of another program"])
async def test_a_transaction_is_ended_only_if_its_process_is_gone_and_was_ours(
    server_uri: str, dbname: str, sync_db: pymongo.database.Database[dict[str, Any]], what: str
) -> None:
    app = f"motorctl-{uuid.uuid4().hex[:8]}"
    sync_db["accounts"].insert_one({"_id": "a"})
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(server_uri, appname=app)
    with opened(server_uri, dbname, "another" if "another" in what else app) as process:
        assert held(sync_db)
        if "dead" in what:
            process.kill()
            process.wait()
        found = 0
        for _ in range(5):
            # The server may notice a moment later that the connection is gone, and what is young is left alone.
            await asyncio.sleep(0.1)
            found += await abandoned.end(client.get_database(dbname))
        assert found == (what == "dead")
        assert held(sync_db) is (what != "dead")
        for row in sync_db.client.admin.aggregate(
            [
                {"$currentOp": {"idleSessions": True}},
                {"$match": {"transaction.parameters": {"$exists": True}}},
            ]
        ):
            if row.get("appName") == "another":
                sync_db.client.admin.command({"killSessions": [{"id": row["lsid"]["id"]}]})
    client.close()


def test_nothing_is_ended_behind_a_router_or_too_young() -> None:
    """There the connections are the router's; and what is younger than the list may have a connection by now."""
    me = {"type": "op", "connectionId": 1, "appName": "motorctl", "mark": "m"}
    left: dict[str, Any] = {
        "type": "idleSession",
        "connectionId": 2,
        "appName": "motorctl",
        "lsid": {"id": "s"},
        "transaction": {"timeInactiveMicros": 1_000_000},
    }
    young = {**left, "transaction": {"timeInactiveMicros": 10}}
    assert abandoned.abandoned([me, left], "m") == [{"id": "s"}]
    assert abandoned.abandoned([me, {**left, "shard": "s0"}], "m") == []
    assert abandoned.abandoned([me, young], "m") == []
    assert abandoned.abandoned([{**me, "mark": None}, left], "m") == []
    assert abandoned.abandoned([me, {**me, "connectionId": 2, "mark": None}, left], "m") == []
