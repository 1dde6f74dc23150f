"""How long the program takes to start, as multiples of a bare interpreter, and where a ping's time goes.

python tests/benchmarks/startup.py [--runs 15] [--mongosh PATH] [--imports]

A record is read beside a script of ten lines that does the same with Motor, `ping` beside mongosh where its PATH is
given. `--imports` prints what each package costs instead, and why it is there.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from functools import partial

from measure import environment, machine, medians, motorctl, peak_memory, say, seconds, server, table
from pymongo import MongoClient

BARE = "python -c pass"
COMMANDS = {
    "motorctl --version": ("--version",),
    "motorctl --help": ("--help",),
    "motorctl students --help": ("students", "--help"),
    "motorctl ping": ("ping",),
}
COMPLETION = ("__complete", "bash", " \t\n")
SCRIPT = "ten lines of Motor"
# What a user would write instead of `students get ID -o json`.
TEN_LINES = """
import asyncio, json, os, sys
from bson import ObjectId
from motor.motor_asyncio import AsyncIOMotorClient
async def main():
    client = AsyncIOMotorClient(os.environ["MOTORCTL_URI"])
    student = await client[os.environ["MOTORCTL_DB"]].students.find_one({"_id": ObjectId(sys.argv[1])})
    print(json.dumps({"id": str(student.pop("_id")), **student}, indent=2))
    client.close()
asyncio.run(main())
"""

# Runs the program's own main() with the time written down as it passes three places: the interpreter is
# up, the modules are loaded, main() is about to leave. The modules come from an earlier run of the same,
# so that those which a command loads late, between two steps of its work, count as imports too.
STAMPED = """
import time
up = time.monotonic()
import contextlib, importlib, json, os, sys
for name in json.loads(sys.argv.pop(1)):
    with contextlib.suppress(ImportError):
        importlib.import_module(name)
loaded = time.monotonic()
leave = os._exit
def stamped(code):
    report = [up, loaded, time.monotonic(), [name for name in sys.modules if name != "__main__"]]
    os.write(2, json.dumps(report).encode())
    leave(code)
os._exit = stamped
from motorctl.__main__ import main
main()
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=15, help="runs of each command (15)")
    parser.add_argument("--mongosh", metavar="PATH", help="the mongosh that ping is measured beside")
    parser.add_argument("--imports", action="store_true", help="what each package costs, from -X importtime")
    asked = parser.parse_args()
    runs: int = asked.runs
    # Where bytecode isn't kept, each run would compile the program anew: no user's does.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with server() as uri:
        env = environment(uri, "benchmark")
        say(machine())
        if asked.imports:
            say(imports(env, runs))
            return
        contestants = {BARE: partial(seconds, [sys.executable, "-c", "pass"], env)}
        for title, arguments in COMMANDS.items():
            contestants[title] = partial(seconds, motorctl(*arguments), env)
        completing = {**env, "_MOTORCTL_LINE": "motorctl students list --"}
        contestants["completion of a line"] = partial(seconds, motorctl(*COMPLETION), completing)
        with MongoClient[dict[str, object]](uri) as client:
            made = client["benchmark"].students.insert_one({"name": "Ada", "email": "ada@example.com"})
            one = str(made.inserted_id)
            get = motorctl("students", "get", one, "-o", "json")
            contestants[SCRIPT] = partial(seconds, [sys.executable, "-c", TEN_LINES, one], env)
            contestants["motorctl students get"] = partial(seconds, get, env)
            if asked.mongosh:
                shell = [asked.mongosh, "--quiet", "--eval", "db.runCommand({ping: 1})", uri]
                contestants["mongosh"] = partial(seconds, shell, env)
            medians(contestants, 1)  # caches are warm, bytecode is written
            found = medians(contestants, runs)
            memory = peak_memory(motorctl("ping"), env)
            parts = ping_parts(env, runs)
            client.drop_database("benchmark")
    rows = [[title, f"{took * 1000:.1f} ms", f"{took / found[BARE]:.1f}"] for title, took in found.items()]
    say(table([f"median of {runs}", "whole process", "times bare Python"], rows))
    say("ping: " + ", ".join(f"{part} {took * 1000:.1f} ms" for part, took in parts.items()))
    say(f"ping: {memory / 2**20:.0f} MiB at most")
    say(f"students get / {SCRIPT}: {found['motorctl students get'] / found[SCRIPT]:.2f}")
    if asked.mongosh:
        say(f"ping / mongosh: {found['motorctl ping'] / found['mongosh']:.2f}")


def imports(env: dict[str, str], runs: int) -> str:
    """Return the table of what `--help` and `ping` import: modules, least milliseconds of `runs`, the reason."""
    import loading

    groups = [loading.grouped(loading.times(words, env, runs)) for words in (("--help",), ("ping",))]
    own = {
        "motorctl": "the program",
        "asyncio": "the event loop",
        "Python's own": "typing, inspect, re, ssl, ...",
    }
    rows = []
    for name in groups[1]:
        cells = [f"{group[name][0]}, {group[name][1]:.1f} ms" if name in group else "" for group in groups]
        rows.append([name, *cells, own.get(name) or loading.WHY[name]])
    totals = [f"{sum(took for _, took in group.values()):.1f} ms" for group in groups]
    return table(["package", "--help", "ping", "why"], [*rows, ["all", *totals, ""]])


def ping_parts(env: dict[str, str], runs: int) -> dict[str, float]:
    """Return the median seconds of a ping's four parts, in the order in which they pass."""
    _, modules = stamped_ping(env, [])
    times = [stamped_ping(env, modules)[0] for _ in range(runs)]
    names = ("interpreter", "imports", "connection and answers", "exit")
    return {name: statistics.median(part) for name, part in zip(names, zip(*times, strict=True), strict=True)}


def stamped_ping(env: dict[str, str], modules: list[str]) -> tuple[list[float], list[str]]:
    """Ping once with `modules` loaded first; return the seconds of each part and the modules at its end."""
    command = [sys.executable, "-c", STAMPED, json.dumps(modules), "ping"]
    begun = time.monotonic()
    done = subprocess.run(command, env=env, capture_output=True, check=False)
    ended = time.monotonic()
    try:
        up, loaded, left, seen = json.loads(done.stderr)
    except ValueError:
        raise SystemExit(f"ping did not end as it should:\n{done.stderr.decode()}") from None
    return [up - begun, loaded - up, left - loaded, ended - left], seen


if __name__ == "__main__":
    main()
