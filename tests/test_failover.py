"""The primary is killed while a long command waits for it: what the user sees, and what the same command does again.

Three members; a fail point holds one command inside the primary, which gets a SIGKILL then. Transfers have a test of
their own, with many kills (`test_transfer_failover.py`).
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import every_command
import pymongo
import pytest
from conftest import until
from forked import Forks
from replica_set import replica_set

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from forked import Ended, Running
    from replica_set import Member, ReplicaSet


@dataclass(frozen=True)
class Held:
    """A command of the program, the server's command in whose middle the primary dies, and how it ends."""

    path: str
    inside: str
    arguments: tuple[str, ...]
    ends: int
    says: str = ""

    def __str__(self) -> str:
        return f"{self.path} in {self.inside}"


COUNT = every_command.LINES
TABLE = (
    Held("import", "insert", ("import", "things.ndjson", "--into", "things", "--resume", "--batch-size", "500"), 0),
    # A cursor dies with its server, and what is out can't be taken back.
    Held("export", "getMore", ("export", "many", "--batch-size", "500", "--out", "many.ndjson"), 3, "the export is not whole"),
    Held("schema apply", "createIndexes", ("schema", "apply", "--builtin", "shop"), 0),
    Held("transfer verify", "aggregate", ("transfer", "verify"), 0),
    Held("transfer batch", "commitTransaction", ("transfer", "batch", "payments.csv"), 0),
)  # fmt: skip


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplicaSet]:
    with replica_set(tmp_path_factory.mktemp("failover")) as found:
        yield found


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    with Forks(tmp_path_factory.mktemp("runs")) as found:
        yield found


def begin(forks: Forks, held: Held, uri: str, db: str, folder: Path) -> Running:
    environ = {**os.environ, "MOTORCTL_URI": f"{uri}&appName={db}", "MOTORCTL_DB": db}
    return forks.start(*held.arguments, "--timeout", "20", cwd=folder, environ=environ)


def kill_inside(forks: Forks, primary: Member, held: Held, uri: str, db: str, folder: Path) -> Ended:
    """Run the command; kill the primary when it is in the middle of what is held."""
    with pymongo.MongoClient[dict[str, Any]](f"mongodb://{primary.host}/?directConnection=true") as client:
        point: dict[str, Any] = {"configureFailPoint": "failCommand", "mode": {"times": 1}}
        data = {"failCommands": [held.inside], "appName": db, "blockConnection": True, "blockTimeMS": 60_000}
        before = client.admin.command({**point, "data": data})["count"]
        running = begin(forks, held, uri, db, folder)
        client.admin.command(
            {"waitForFailPoint": "failCommand", "timesEntered": before + 1, "maxTimeMS": 30_000}
        )
    primary.kill()
    # An index build waits for all members that vote, so it must come back.
    time.sleep(1)
    primary.start()
    return running.wait()


@pytest.mark.parametrize("held", TABLE, ids=str)
def test_the_primary_dies_in_the_middle(
    held: Held, members: ReplicaSet, forks: Forks, tmp_path: Path
) -> None:
    db = f"failover_{held.path.replace(' ', '_')}"
    every_command.write_files(tmp_path)
    with pymongo.MongoClient[dict[str, Any]](members.uri, w="majority") as client:
        every_command.fill(client[db], held.path)
        until(members.primary, "a primary")
        primary = members.primary()
        assert primary is not None

        first = kill_inside(forks, primary, held, members.uri, db, tmp_path)
        until(lambda: primary.serves, "the member that was killed serves again")

        assert first.code == held.ends, first
        assert held.says in first.stderr
        if held.ends:
            assert "\nhint: " in first.stderr
            assert not list(tmp_path.glob("many.ndjson*")), "a half of a file looks like a whole one"
        second = begin(forks, held, members.uri, db, tmp_path).wait()
        assert second.code == 0, second
        if held.path == "export":
            assert (tmp_path / "many.ndjson").read_text().count("\n") == COUNT
        case = next(case for case in every_command.ALL if case.path.startswith(held.path))
        assert case.done is None or case.done(client[db])
