"""A real replica set of three members for tests: members are killed, started again, stepped down.

Owns the processes of its members; each dies with the thread that started it (`PR_SET_PDEATHSIG`), so it is
built, and its members are started again, in the tests' main thread. Elections take about a second: the
settings are those that keep a failover short, not those of production. It judges nothing.
"""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pymongo
from conftest import TEST_PARAMETERS, _die_with_parent, _listening, free_port, until
from pymongo.errors import PyMongoError

from motorctl.core import mongod

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Member", "ReplicaSet", "replica_set"]

NAME = "rs0"
PRIMARY, SECONDARY = 1, 2
SETTINGS = {"electionTimeoutMillis": 1000, "heartbeatIntervalMillis": 200, "heartbeatTimeoutSecs": 1}
# What the questions to a single member may take: one that was just killed doesn't answer at all.
IMPATIENT: dict[str, Any] = {
    "serverSelectionTimeoutMS": 1000,
    "connectTimeoutMS": 1000,
    "socketTimeoutMS": 5000,
}

Client = pymongo.MongoClient[dict[str, Any]]


class Member:
    """One mongod: its data and its port stay the same from one start to the next."""

    def __init__(self, number: int, home: Path) -> None:
        self.number = number
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.log = home / "mongod.log"
        data = home / "data"
        data.mkdir(parents=True)
        self._arguments = mongod.mongod_arguments(mongod.find_mongod().path, data, self.port, self.log)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        assert not self.runs, f"{self.host} runs already"
        self.process = subprocess.Popen(
            [*self._arguments, *TEST_PARAMETERS],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - as conftest
        )

    def kill(self) -> None:
        """End it as a power cut would: SIGKILL, nothing is flushed or said."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    @contextmanager
    def alone(self) -> Iterator[Client]:
        """Talk to this member, whatever it is in the set."""
        with Client(f"mongodb://{self.host}/?directConnection=true", **IMPATIENT) as client:
            yield client

    def hello(self) -> dict[str, Any]:
        """What it says of itself; nothing when it doesn't answer."""
        if not self.runs:
            return {}
        try:
            with self.alone() as client:
                return dict(client.admin.command("hello"))
        except PyMongoError:
            return {}

    @property
    def serves(self) -> bool:
        """Whether it is a primary or a secondary: it counts for a majority."""
        hello = self.hello()
        return bool(hello.get("isWritablePrimary") or hello.get("secondary"))


class ReplicaSet:
    """Three members. `uri` names them all; its clients look for a new primary twice a second."""

    def __init__(self, home: Path) -> None:
        self.members = [Member(number, home / f"member{number}") for number in range(3)]
        hosts = ",".join(member.host for member in self.members)
        self.uri = f"mongodb://{hosts}/?replicaSet={NAME}&heartbeatFrequencyMS=500"

    def start(self) -> None:
        """Start the members, make them one set and wait until a majority has written."""
        for member in self.members:
            member.start()
        for member in self.members:
            until(lambda port=member.port: _listening(port), f"{member.host} listens")
        config = {
            "_id": NAME,
            "members": [{"_id": member.number, "host": member.host} for member in self.members],
            "settings": SETTINGS,
        }
        with self.members[0].alone() as client:
            client.admin.command("replSetInitiate", config)
        until(lambda: all(member.serves for member in self.members), "three members serve")
        self.wait_for_majority()

    def kill(self) -> None:
        for member in self.members:
            member.kill()

    def primary(self) -> Member | None:
        """The member that writes now; two may say so for a moment: the newer election counts."""
        said = [(member.hello(), member) for member in self.members]
        found = [(hello["electionId"], member) for hello, member in said if hello.get("isWritablePrimary")]
        return max(found, key=lambda each: each[0])[1] if found else None

    def secondaries(self) -> list[Member]:
        return [member for member in self.members if member.hello().get("secondary")]

    def step_down(self, seconds: int = 1) -> Member | None:
        """Ask the primary to become a secondary, whatever its secondaries lack; returns who was asked."""
        member = self.primary()
        if member is None:
            return None
        try:
            with member.alone() as client:
                client.admin.command(
                    {"replSetStepDown": seconds, "secondaryCatchUpPeriodSecs": 0, "force": True}
                )
        except PyMongoError:
            # It may have lost its office by itself, or closed the connection with it.
            return None
        return member

    def wait_for_majority(self, seconds: float = 30) -> float:
        """Wait until a write reaches a majority; returns the seconds that it took."""
        begun = time.monotonic()

        def written() -> bool:
            with Client(self.uri, serverSelectionTimeoutMS=500) as client:
                done = client.get_database(
                    "replica_set", write_concern=pymongo.WriteConcern("majority", wtimeout=2000)
                )
                return done["probe"].insert_one({}).acknowledged

        until(written, "a write to a majority", seconds)
        return time.monotonic() - begun


@contextmanager
def replica_set(home: Path) -> Iterator[ReplicaSet]:
    """Run a replica set; its members are killed at the end, whatever happened."""
    members = ReplicaSet(home)
    try:
        members.start()
        yield members
    finally:
        members.kill()
