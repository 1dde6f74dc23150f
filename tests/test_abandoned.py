"""What a dead process leaves open is ended, and nothing else."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.errors import OperationFailure

from motorctl.core import abandoned, driver
from motorctl.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pymongo
    from conftest import Runner

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
def opened(uri: str, name: str, app: str, what: str = OPENS) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process with a transaction that holds account `a`, or what `what` holds."""
    process = subprocess.Popen(
        [sys.executable, "-c", what, uri, name, app], stdin=subprocess.PIPE, stdout=subprocess.PIPE
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
    await driver.close(client)


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


def test_freeze_does_not_wait_for_a_dead_process(
    cli: Runner, server_uri: str, dbname: str, sync_db: pymongo.database.Database[dict[str, Any]]
) -> None:
    sync_db["accounts"].insert_one({"_id": "a", "balance": 5})
    with opened(server_uri, dbname, "motorctl") as process:
        process.kill()
        process.wait()
        begun = time.monotonic()
        frozen = cli("accounts", "freeze", "a", "--timeout", "10", "-o", "json")
    assert frozen.code == ExitCode.OK, frozen.stderr
    assert frozen.json()["status"] == "frozen"
    assert time.monotonic() - begun < 8


def test_freeze_waits_no_longer_than_it_may_for_a_living_one(
    cli: Runner, server_uri: str, dbname: str, sync_db: pymongo.database.Database[dict[str, Any]]
) -> None:
    sync_db["accounts"].insert_one({"_id": "a", "balance": 5})
    with opened(server_uri, dbname, "motorctl") as process:
        begun = time.monotonic()
        refused = cli("accounts", "freeze", "a", "--timeout", "1", "-o", "json")
        assert time.monotonic() - begun < 8
        assert process.poll() is None
    assert refused.code == ExitCode.UNREACHABLE
    assert "account a was not to be had within 1 s" in refused.error()["message"]
    assert "status" not in (sync_db["accounts"].find_one({"_id": "a"}) or {})


def test_show_lets_go_of_a_key_that_a_dead_process_holds(
    cli: Runner, server_uri: str, dbname: str, sync_db: pymongo.database.Database[dict[str, Any]]
) -> None:
    sync_db["accounts"].insert_one({"_id": "a"})
    sync_db["transfers"].insert_one({"_id": "other"})
    holds = OPENS.replace("accounts.update_one", "transfers.insert_one").replace(
        '{"_id": "a"}, {"$set": {"held": True}}', '{"_id": "rent"}'
    )
    with opened(server_uri, dbname, "motorctl", holds) as process:
        assert cli("transfer", "show", "rent", "--timeout", "0.5").code == ExitCode.OUTCOME_UNKNOWN
        process.kill()
        process.wait()
        shown = cli("transfer", "show", "rent", "--timeout", "10")
    assert (shown.code, "safe to send it again" in shown.stderr) == (ExitCode.NOT_FOUND, True)
