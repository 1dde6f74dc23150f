"""How long the program takes to start, as multiples of a bare interpreter, and where a ping's time goes.

python tests/benchmarks/startup.py [--runs 15]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from functools import partial

from measure import environment, machine, medians, motorctl, say, seconds, server, table

BARE = "python -c pass"
COMMANDS = {
    "motorctl --version": ("--version",),
    "motorctl --help": ("--help",),
    "motorctl students --help": ("students", "--help"),
    "motorctl ping": ("ping",),
}

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
    runs: int = parser.parse_args().runs
    with server() as uri:
        env = environment(uri, "benchmark")
        contestants = {BARE: partial(seconds, [sys.executable, "-c", "pass"], env)}
        for title, arguments in COMMANDS.items():
            contestants[title] = partial(seconds, motorctl(*arguments), env)
        say(machine())
        medians(contestants, 1)  # caches are warm, bytecode is written
        found = medians(contestants, runs)
        parts = ping_parts(env, runs)
    rows = [[title, f"{took * 1000:.1f} ms", f"{took / found[BARE]:.1f}"] for title, took in found.items()]
    say(table([f"median of {runs}", "whole process", "times bare Python"], rows))
    say("ping: " + ", ".join(f"{part} {took * 1000:.1f} ms" for part, took in parts.items()))


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
