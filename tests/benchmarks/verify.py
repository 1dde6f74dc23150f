"""What `transfer verify` costs over a long ledger: seconds, the client's memory, the server's peak.

    python tests/benchmarks/verify.py [--records 10000000] [--accounts 100000] [--rounds 1] [--wide]

Every account has as many entries as every other one, and they come one after the other through all the accounts:
the worst order for a `$group`. `--wide` has 8 entries an account, so that there are a quarter as many accounts as
records. One account is then changed, and has to be named: a verify that says 0 to everything ends the benchmark.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pymongo
from bson import Decimal128
from measure import environment, machine, motorctl, peak_memory, say, server, table, talk, timed

if TYPE_CHECKING:
    from collections.abc import Mapping

    Documents = pymongo.database.Database[dict[str, Any]]


def fill(db: Documents, records: int, accounts: int) -> None:
    """Have the server make the ledger: in each round every account pays once and is paid once."""
    db.seed.insert_one({"_id": 0})
    turn = {"$toInt": {"$floor": {"$divide": ["$n", accounts]}}}
    paying = {"$mod": ["$n", accounts]}
    paid = {"$mod": [{"$add": [paying, 1, {"$mod": ["$turn", accounts - 1]}]}, accounts]}
    cents = {"$add": [1, {"$mod": [{"$multiply": ["$turn", 7919]}, 50_000]}]}
    pipeline: list[dict[str, Any]] = [
        {"$project": {"a": {"$range": [0, -(-records // 1000)]}}},
        {"$unwind": "$a"},
        {"$project": {"a": 1, "b": {"$range": [0, 1000]}}},
        {"$unwind": "$b"},
        {"$project": {"n": {"$add": [{"$multiply": [{"$toLong": "$a"}, 1000]}, "$b"]}}},
        {"$limit": records},
        {"$set": {"turn": turn}},
        {"$set": {"amount": {"$divide": [{"$toDecimal": cents}, 100]}}},
        {
            "$project": {
                "_id": {"$concat": ["payroll/", {"$toString": "$n"}, "/9f86d081884c"]},
                "from": {"$concat": ["account-", {"$toString": paying}]},
                "to": {"$concat": ["account-", {"$toString": paid}]},
                "amount": 1,
                "note": "salary of the month",
                "created_at": {"$toDate": {"$add": [1_700_000_000_000, {"$multiply": ["$n", 10]}]}},
                "from_balance": {"$subtract": [Decimal128("1000.00"), "$amount"]},
                "to_balance": {"$literal": Decimal128("1000.00")},
                "from_entry": {"$add": [1, {"$multiply": [2, "$turn"]}]},
                "to_entry": {"$add": [2, {"$multiply": [2, "$turn"]}]},
            }
        },
        {"$out": "transfers"},
    ]
    db.seed.aggregate(pipeline, allowDiskUse=True)
    db.seed.drop()
    opened = {"opening": Decimal128("1000.00"), "balance": Decimal128("1000.00")}
    same = {"currency": "EUR", "status": "open", "entries": 2 * (records // accounts), **opened}
    for start in range(0, accounts, 10_000):
        names = range(start, min(start + 10_000, accounts))
        db.accounts.insert_many([{"_id": f"account-{name}", **same} for name in names])
    for side in ("from", "to"):
        talk(f"indexing {side}")
        db.transfers.create_index({side: 1, "created_at": 1})


class ServerMemory:
    """What the server has in memory, where it runs on this machine and is ours to look at."""

    def __init__(self, db: Documents) -> None:
        self._of = Path(f"/proc/{int(db.client.admin.command('serverStatus')['pid'])}")
        self.before: float | None = None
        try:
            if "mongod" in (self._of / "status").read_text():
                (self._of / "clear_refs").write_text("5")  # the peak begins again
                self.before = self._read("VmRSS")
        except OSError:
            pass

    def said(self) -> str:
        if self.before is None:
            return "the server: not on this machine"
        return f"the server: {self.before:.0f} MB before, {self._read('VmHWM'):.0f} MB at its peak"

    def _read(self, name: str) -> float:
        found = re.search(rf"{name}:\s+(\d+) kB", (self._of / "status").read_text())
        return int(found[1]) / 1000 if found else 0.0


def verify(env: Mapping[str, str], *arguments: str) -> tuple[float, dict[str, Any]]:
    """Return how long it takes, and what it says; a difference is no failure here."""
    begun = time.perf_counter()
    command = motorctl("transfer", "verify", "-o", "json", "-q", *arguments)
    done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    took = time.perf_counter() - begun
    if done.returncode not in (0, 8):
        raise SystemExit(f"verify exited with {done.returncode}:\n{done.stderr.decode()}")
    report: dict[str, Any] = json.loads(done.stdout)
    if report["ok"] is not (done.returncode == 0):
        raise SystemExit(f"verify exited with {done.returncode} and said {report}")
    return took, report


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--records", type=int, default=10_000_000)
    parser.add_argument("--accounts", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--wide", action="store_true")
    chosen = parser.parse_args()
    accounts = chosen.records // 4 if chosen.wide else min(chosen.accounts, chosen.records // 2)
    records = chosen.records // accounts * accounts
    say(machine())
    with server() as uri, pymongo.MongoClient[dict[str, Any]](uri) as client:
        db = client[f"benchmark_{uuid.uuid4().hex[:8]}"]
        try:
            measure(db, uri, records, accounts, chosen.rounds)
        finally:
            client.drop_database(db.name)


def measure(db: Documents, uri: str, records: int, accounts: int, rounds: int) -> None:
    talk(f"making {records:,} records of {accounts:,} accounts")
    fill(db, records, accounts)
    talk("")
    env = environment(uri, db.name)
    memory = ServerMemory(db)
    rows = []
    for _ in range(rounds):
        took, report = verify(env)
        if (report["ok"], report["records"], report["accounts"]) != (True, records, accounts):
            raise SystemExit(f"not what was made: {report}")
        rows.append(["transfer verify", f"{took:.1f} s", f"{records / took:,.0f}"])
    server_said = memory.said()
    took, _ = verify(env, "--account", "account-1")
    rows.append(["transfer verify --account", f"{took:.2f} s", ""])
    db.accounts.update_one({"_id": "account-1"}, {"$set": {"balance": Decimal128("1000.01")}})
    took, report = verify(env)
    if {one["kind"] for one in report["differences"]} != {"balance", "currency"}:
        raise SystemExit(f"one balance was changed, and it said {report}")
    rows.append(["transfer verify, one balance changed", f"{took:.1f} s", f"{records / took:,.0f}"])
    db.accounts.update_one({"_id": "account-1"}, {"$set": {"balance": Decimal128("1000.00")}})
    say(table([f"{records:,} records, {accounts:,} accounts", "time", "records a second"], rows))
    plain, _ = timed(motorctl("--version"), env)
    peak = peak_memory(motorctl("transfer", "verify", "-q"), env)
    say(f"\nthe process: {peak / 1e6:.0f} MB at its peak; one that does nothing takes {plain:.2f} s")
    say(server_said)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    main()
