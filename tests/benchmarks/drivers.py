"""Both drivers under the same program, in one run: Motor, and PyMongo's own async client under Motor's name.

python tests/benchmarks/drivers.py [--rounds 9] [--documents 100000] [--transfers 1000] [--senders 1 16]

ping and import are whole processes, and what such a process has in memory is looked at in a run that isn't timed.
Transfers go through one client in one process: each sender has two accounts of its own, so that nobody waits for
somebody else. Each run is checked: a lost document, or a cent that came or went, ends the benchmark.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orders as data
import pymongo
from measure import environment, machine, medians, motorctl, peak_memory, say, seconds, server, table

if TYPE_CHECKING:
    from collections.abc import Callable

    from transfers import SyncDatabase

MOTOR, PYMONGO = "Motor", "PyMongo's own"
STAND_IN = Path(__file__).resolve().parent.parent / "pymongo_async"


def environments(uri: str, database: str) -> dict[str, dict[str, str]]:
    """Return the environment in which the program runs on each of the drivers."""
    env = environment(uri, database)
    before = env.get("PYTHONPATH", "").split(os.pathsep)
    theirs = os.pathsep.join(part for part in (str(STAND_IN), *before) if part)
    return {MOTOR: env, PYMONGO: {**env, "PYTHONPATH": theirs}}


def main() -> None:
    """Measure and print; or, as a process that is measured, send transfers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--rounds", type=int, default=9, help="runs of each contestant (9)")
    add("--documents", type=int, default=100_000, help="of the file that is imported (100000)")
    add("--transfers", type=int, default=1000, help="of a run, by all senders together (1000)")
    add("--senders", type=int, nargs="+", default=[1, 16], help="how many send at once (1 and 16)")
    add("--send", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.send:
        say(json.dumps(asyncio.run(sent(asked.send, asked.transfers))))
        return
    # Where bytecode isn't kept, each run would compile the program anew: no user's does.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with (
        tempfile.TemporaryDirectory(prefix="motorctl-benchmark-") as home,
        server() as uri,
        pymongo.MongoClient[dict[str, Any]](uri) as client,
    ):
        db = client[f"benchmark_{uuid.uuid4().hex[:12]}"]
        envs = environments(uri, db.name)
        say(f"{machine()}, PyMongo {pymongo.version}, median of {asked.rounds}")
        try:
            file = data.ndjson(Path(home), asked.documents)
            ping = motorctl("ping")
            load = motorctl("import", str(file.path), "--into", "orders")
            one = str(db.students.insert_one({"name": "Ada", "email": "ada@example.com"}).inserted_id)
            whole: dict[tuple[str, str], Callable[[], float]] = {}
            for name, env in envs.items():
                whole["ping", name] = partial(seconds, ping, env)
                whole["students get", name] = partial(seconds, motorctl("students", "get", one), env)
                whole[f"import of {asked.documents:,}", name] = partial(
                    imported, db, asked.documents, load, env
                )
                for senders in asked.senders:
                    title = f"a transfer, {senders} at once"
                    whole[title, name] = partial(transferred, db, senders, asked.transfers, env)
            medians(whole, 1)  # caches are warm, bytecode is written
            found = medians(whole, asked.rounds)
            megabytes = {
                (title, name): peak_memory(command, env) / 2**20
                for name, env in envs.items()
                for title, command in (("ping", ping), ("import", load))
            }
        finally:
            client.drop_database(db.name)
    titles = list(dict.fromkeys(title for title, _ in found))
    rows = [
        [
            title,
            *(f"{found[title, name] * 1000:,.{0 if found[title, name] > 1 else 1}f} ms" for name in envs),
            f"{found[title, PYMONGO] / found[title, MOTOR]:.2f}",
        ]
        for title in titles
    ]
    rows += [
        [
            f"memory of {title}",
            *(f"{megabytes[title, name]:.0f} MiB" for name in envs),
            f"{megabytes[title, PYMONGO] / megabytes[title, MOTOR]:.2f}",
        ]
        for title in ("ping", "import")
    ]
    say(table(["", MOTOR, PYMONGO, "PyMongo's / Motor's"], rows))


def imported(db: SyncDatabase, documents: int, command: list[str], env: dict[str, str]) -> float:
    """Return the seconds of an import into a collection that isn't there."""
    db.drop_collection("orders")
    took = seconds(command, env)
    if (count := db.orders.count_documents({})) != documents:
        raise SystemExit(f"{count} of {documents} documents were imported")
    return took


def transferred(db: SyncDatabase, senders: int, transfers: int, env: dict[str, str]) -> float:
    """Return the seconds that one of many transfers takes in a process of its own."""
    from transfers import WARM_UP, check, fresh

    fresh(db, 2 * senders)
    command = [sys.executable, __file__, "--send", str(senders), "--transfers", str(transfers)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the transfers failed:\n{done.stderr}")
    each = transfers // senders
    check(db, 2 * senders, (WARM_UP + each) * senders)
    return float(json.loads(done.stdout)) / (each * senders)


async def sent(senders: int, transfers: int) -> float:
    """Send transfers on whichever driver this process has for Motor; return the seconds that all of them took."""
    from motor.motor_asyncio import AsyncIOMotorClient
    from transfers import WARM_UP, ours

    from motorctl.core import driver

    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(os.environ["MOTORCTL_URI"], tz_aware=True)
    db = client.get_database(os.environ["MOTORCTL_DB"])
    accounts = [(f"a{2 * number}", f"a{2 * number + 1}") for number in range(senders)]
    ways = [cycle([pair, pair[::-1]]) for pair in accounts]
    await asyncio.gather(*(ours(db, WARM_UP, way) for way in ways))
    begun = time.perf_counter()
    await asyncio.gather(*(ours(db, transfers // senders, way) for way in ways))
    took = time.perf_counter() - begun
    await driver.close(client)
    return took


if __name__ == "__main__":
    main()
