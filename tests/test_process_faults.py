"""A bad day for the process itself: every command without its streams, room, files, time or rest.

Whatever is taken away: no traceback, no hang, an exit code of the table, and of a command that changes data the
truth about what was done. What the network does is test_network_faults.py's.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
import uuid
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import every_command
import pymongo
import pytest
from conftest import command, until
from every_command import ALL, Case
from forked import Forks

from motorctl.core import mongod
from motorctl.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Runner
    from forked import Ended, Running
    from pymongo.database import Database

    Documents = Database[dict[str, Any]]
    Client = pymongo.MongoClient[dict[str, Any]]

ALONE = (
    Case("local start", ("--dry-run",)),
    Case("local stop"),
    Case("local status"),
    Case("local reset", ("--yes",)),
    Case("local uri", ends=5),
    Case("schema init", ("shop",)),
    Case("schema json-schema"),
    Case("explain read", ("plan.json",)),
    Case("config show"),
    Case("config path"),
    Case("completion completion", ("bash",)),
    Case("help help", ("exit-codes",)),
)
"""Commands that ask no server."""
STREAMED = ("demo demo", "doctor doctor")
"""Commands with tests of their own for this: the one runs others, the other is about what is broken."""
CODES = {int(code) for code in ExitCode}
SILENT = ("indexes build",)
"""It has nothing to write on stdout here."""
AT_ONCE = 4
HELD_AT_ONCE = 8
"""How many wait for a server that holds them: they take no processor."""
HELD_MS = 6000
READS = "find aggregate listCollections listIndexes ping count distinct explain profile getMore".split()
WRITES = "insert update delete createIndexes dropIndexes collMod create drop findAndModify commitTransaction".split()


class Place:
    """Where commands are run: a folder with their files, an empty database with their documents for each run."""

    def __init__(self, client: Client, uri: str, forks: Forks, scratch: Path) -> None:
        self.client, self.uri = client, uri
        self.forks, self._scratch = forks, scratch

    def start(
        self,
        case: Case,
        *more: str,
        uri: str | None = None,
        here: tuple[Documents, Path] | None = None,
        **around: Any,
    ) -> tuple[Running, Documents, Path]:
        db, folder = here or self._fresh(case.path)
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "TERM": "dumb",
            "MOTORCTL_URI": uri or self.uri,
            "MOTORCTL_DB": db.name,
            "MOTORCTL_LOCAL_DIR": str(folder / "local"),
            **around.pop("environ", {}),
        }
        running = self.forks.start(*case.words, *more, cwd=folder, environ=environ, **around)
        return running, db, folder

    def _fresh(self, path: str) -> tuple[Documents, Path]:
        name = f"test_{uuid.uuid4().hex[:12]}"
        folder = self._scratch / name
        folder.mkdir()
        every_command.write_files(folder)
        (folder / "plan.json").write_text(PLAN)
        every_command.fill(self.client[name], path)
        return self.client[name], folder

    def run(self, case: Case, *more: str, **around: Any) -> tuple[Ended, Documents, Path]:
        running, db, folder = self.start(case, *more, **around)
        return running.wait(), db, folder

    def each(self, every: slice, **around: Any) -> Iterator[tuple[Case, Ended, Documents]]:
        """Run every command of a part of the table, some at once: those that only read, in one database."""
        waiting: list[tuple[Case, Running, Documents]] = []
        shared: tuple[Documents, Path] | None = None
        for case in (*ALL, *ALONE)[every]:
            if case.done is None:
                shared = shared or self._fresh("")
            here = shared if case.done is None else None
            running, db, _ = self.start(case, here=here, **around)
            waiting.append((case, running, db))
            if len(waiting) > AT_ONCE:
                first, its, place = waiting.pop(0)
                yield first, its.wait(), place
        for case, running, db in waiting:
            yield case, running.wait(), db

    def again(self, case: Case, db: Documents, folder: Path) -> Ended:
        environ = {"PATH": os.environ["PATH"], "MOTORCTL_URI": self.uri, "MOTORCTL_DB": db.name}
        return self.forks.run(*case.words, cwd=folder, environ=environ)


PLAN = json.dumps(
    {
        "queryPlanner": {"namespace": "a.b", "winningPlan": {"stage": "COLLSCAN", "direction": "forward"}},
        "ok": 1,
    }
)


@pytest.fixture(scope="module")
def place(server_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    scratch = tmp_path_factory.mktemp("faults")
    with pymongo.MongoClient[dict[str, Any]](server_uri, tz_aware=True) as client, Forks(scratch) as forks:
        yield Place(client, server_uri, forks, scratch)


@pytest.fixture
def thorough(request: pytest.FixtureRequest) -> bool:
    """Whether each command is to meet each fault of this module, and not some of them."""
    return bool(request.config.getoption("--faults"))


def said_well(done: Ended, what: str) -> None:
    """Check what holds of every end: an exit code of the table, and no word of a program that fell."""
    assert done.code in CODES, (what, done)
    for word in ("Traceback", "unexpected", "Warning:", "Exception ignored", "never awaited"):
        assert word not in done.stderr, (what, done.stderr)


def test_every_command_is_here() -> None:
    assert every_command.leaves() == {case.path for case in (*ALL, *ALONE)} | set(STREAMED)


# --- what is around it -------------------------------------------------------------------------------

NOWHERE = {
    "HOME": "/nonexistent",
    "TMPDIR": "/nonexistent",
    "TERM": "",
    "XDG_CONFIG_HOME": "/proc/nowhere",
    "XDG_STATE_HOME": "/proc/nowhere",
    "MOTORCTL_LOCAL_DIR": "/proc/nowhere",
}


def test_every_command_does_its_work_in_poor_surroundings(place: Place, *, thorough: bool) -> None:
    """No stdin, 64 descriptors; no home, no configuration, no temporary files, no type of terminal."""
    limits = {resource.RLIMIT_NOFILE: 64}
    part = slice(None, None, 1 if thorough else 2)
    for case, done, db in place.each(part, descriptors={0: None}, limits=limits, environ=NOWHERE):
        said_well(done, str(case))
        if case.path == "slow profile":
            # It has no place to remember what it was set to.
            assert (done.code, db.command("profile", -1)["was"]) == (1, 0)
            assert "nothing was changed" in done.stderr
            continue
        assert done.code == case.ends, (case, done)
        assert case.done is None or case.done(db), case


def test_no_command_loses_its_results_in_silence(place: Place, *, thorough: bool) -> None:
    """The disk under stdout is full. None that has changed something reads as if nothing was."""
    part = slice(None) if thorough else slice(1, None, 2)
    for case, done, db in place.each(part, descriptors={1: "/dev/full"}):
        said_well(done, str(case))
        if case.path in SILENT or case.ends == ExitCode.NOT_FOUND:
            assert done.code == case.ends, (case, done)
            continue
        assert done.code == 1, (case, done)
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert line.endswith("cannot write the results: No space left on device")
        assert (", but cannot" in line) is (case.done is not None), (case, line)
        assert case.done is None or case.done(db), case


def test_whoever_reads_no_further_stops_nothing_and_is_told_nothing(place: Place, *, thorough: bool) -> None:
    """`| head`: the reader is gone before the first line."""
    reads = [case for case in (*ALL, *ALONE) if case.done is None]
    here = place._fresh("")
    pipe = here[1] / "pipe"
    os.mkfifo(pipe)
    for case in reads if thorough else reads[::3]:
        running, _, _ = place.start(case, here=here, descriptors={1: str(pipe)})
        # The program's side of it is opened before the program begins, and waits for this one.
        pipe.open("rb").close()
        done = running.wait()
        assert done.code in (0, case.ends), (case, done)
        said_well(done, str(case))
        assert "error: " not in done.stderr or case.ends == ExitCode.NOT_FOUND, (case, done)


def test_all_three_streams_closed(place: Place) -> None:
    for case in ALL:
        if case.path in ("ping ping", "export export", "transfer send", *SOME[::2]):
            done, db, _ = place.run(case, descriptors={0: None, 1: None, 2: None})
            assert done.code == 1, (case, done)
            assert case.done is None or case.done(db), case


def test_a_working_directory_that_is_gone(place: Place, tmp_path: Path) -> None:
    """The shell of somebody else's clean-up: relative files can't be found, everything else works."""
    for number, (words, code) in enumerate(
        (
            (("ping",), 0),
            (("users", "list"), 0),
            (("schema", "plan", "--builtin", "shop"), 0),
            (("config", "show"), 0),
            (("--help",), 0),
            (("import", "a.ndjson", "--into", "a"), 2),
            (("import", "*.ndjson", "--into", "a"), 2),
            (("export", "users", "--out", "a.ndjson"), 2),
            (("export", "users"), 0),
            (("schema", "plan", "a.yaml"), 2),
            (("transfer", "batch", "a.csv"), 2),
            (("explain", "suite", "a.yaml"), 2),
            (("local", "status"), 0),
            (("users", "list", "--config", "a.toml"), 2),
            (("users", "list", "--uri-file", "a"), 2),
        )
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        environ = {
            "MOTORCTL_DB": f"test_{uuid.uuid4().hex[:12]}",
            "HOME": str(tmp_path),
            "PATH": os.environ["PATH"],
        }
        if "--uri-file" not in words:
            environ["MOTORCTL_URI"] = place.uri
        done = place.forks.run(*words, cwd=folder, environ=environ, gone=True)
        said_well(done, str(words))
        assert done.code == code, (words, done)


# --- signals -----------------------------------------------------------------------------------------


@contextmanager
def held(place: Place, commands: list[str]) -> Iterator[tuple[str, Callable[[Documents], bool]]]:
    """Hold server commands of one client; yields its URI, and what tells whether one is held in a database."""
    name = f"held{uuid.uuid4().hex[:10]}"
    point = {"configureFailPoint": "failCommand"}
    data = {"failCommands": commands, "appName": name, "blockConnection": True, "blockTimeMS": HELD_MS}
    admin = place.client.admin
    admin.command({**point, "mode": "alwaysOn", "data": data})

    def holds(db: Documents) -> bool:
        of_it = {"$match": {"appName": name, "$or": [{"command.$db": db.name}, {"command.$db": "admin"}]}}
        at_work = admin.aggregate([{"$currentOp": {}}, of_it])
        return any(next(iter(one["command"]), "") in commands for one in at_work)

    try:
        yield f"{place.uri}&appName={name}", holds
    finally:
        if commands is READS:
            # Nobody waits for them. What writes goes on: that it is done all the same is what is asked.
            for one in admin.aggregate([{"$currentOp": {}}, {"$match": {"appName": name, "active": True}}]):
                admin.command({"killOp": 1, "op": one["opid"]})
        admin.command({**point, "mode": "off"})


def stopped(
    place: Place, cases: list[Case], commands: list[str], *signals: str
) -> Iterator[tuple[Case, Ended, float, Documents, Path]]:
    """Stop commands while the server is at work for them; yields each, and how many seconds its end took."""
    for first in range(0, len(cases), HELD_AT_ONCE):
        ended = []
        with held(place, commands) as (uri, holds):
            begun = [(case, *place.start(case, uri=uri)) for case in cases[first : first + HELD_AT_ONCE]]
            sent: dict[str, float] = {}

            until(partial(_stop_those, begun, sent, holds, signals), f"the server is at work for {begun}")
            for case, running, db, folder in begun:
                done = running.wait()
                ended.append((case, done, time.monotonic() - sent[case.path], db, folder))
        yield from ended


def _stop_those(
    begun: list[tuple[Case, Running, Documents, Path]],
    sent: dict[str, float],
    holds: Callable[[Documents], bool],
    signals: tuple[str, ...],
) -> bool:
    """Send the signals to each command that the server is at work for; tell whether all have them."""
    for case, running, db, _ in begun:
        if case.path not in sent and holds(db):
            sent[case.path] = time.monotonic()
            for name in signals:
                running.send(signal.Signals[f"SIG{name}"])
                time.sleep(0.05)
    return len(sent) == len(begun)


STOPS = {
    "INT": (130, "error: stopped by Ctrl-C"),
    "TERM": (143, "error: stopped by SIGTERM"),
    "HUP": (143, "error: stopped by SIGHUP"),
}


def test_ctrl_c_ends_a_command_that_reads(place: Place) -> None:
    cases = [case for case in ALL if case.path in READERS]
    for case, done, seconds, _, _ in stopped(place, cases, READS, "INT"):
        said_well(done, str(case))
        assert (done.code, done.stderr.splitlines()[-1]) == STOPS["INT"], (case, done)
        assert seconds < HELD_MS / 1000, case


READERS = (
    "ping ping",
    "schema plan",
    "users list",
    "export export",
    "transfer verify",
    "revenue by-product",
    "explain suite",
    "slow list",
)
"""One of each kind of work."""
TOLD = ("is not known", "nothing was", "nothing is done twice", "still being built")
"""What a command says that was stopped while its change was on its way."""


@pytest.mark.parametrize("name", [*STOPS, "INT INT", "KILL"])
def test_a_change_that_was_stopped_is_not_hidden_and_can_be_done_again(
    place: Place, name: str, *, thorough: bool
) -> None:
    """It was sent, and its answer was not there: the server may well have carried it out."""
    cases = [case for case in ALL if case.done is not None and not case.path.startswith(APART)]
    if not thorough:
        some = SOME if name == "KILL" else SOME[:4]
        cases = cases[::2] if name == "INT" else [case for case in cases if case.path in some]
    for case, done, _, db, folder in stopped(place, cases, WRITES, *name.split()):
        if name == "KILL":
            assert done.code == -signal.SIGKILL
        else:
            said_well(done, str(case))
            assert (done.code, done.stderr.splitlines()[-1]) == STOPS[name.partition(" ")[0]], (case, done)
            assert case.path in SUMMED_UP or any(word in done.stderr for word in TOLD), (case, done)
        again = place.again(case, db, folder)
        said_well(again, str(case))
        assert again.code in (case.ends, *case.again), (case, again)
        assert case.done is not None
        assert case.done(db), (case, again)


APART = ("transfer", "orders", "slow profile")
"""What is a transaction: test_transfer_deaths.py stops it at each of its messages. A profiler is asked before it is set."""
SUMMED_UP = ("schema apply", "import import")
"""They show how far they came."""
SOME = ("schema apply", "indexes create", "users create", "import import", "users delete", "inventory set")


def start(*arguments: str, env: dict[str, str] | None = None, **options: Any) -> subprocess.Popen[bytes]:
    """Start the program itself, with all that its start is made of."""
    return subprocess.Popen(
        command(*arguments),
        env={**os.environ, **(env or {})},
        stdin=options.pop("stdin", subprocess.DEVNULL),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


def test_ctrl_c_while_it_starts_is_one_line(server_uri: str, *, thorough: bool) -> None:
    """From the first line of ours on: what Python itself says while it starts is Python's."""
    spy = (
        "import os, runpy, sys\n"
        "module, number, sys.argv = sys.argv[1], int(sys.argv[2]), ['motorctl', *sys.argv[3:]]\n"
        "class Spy:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == module and sys.meta_path[0] is self:\n"
        "            del sys.meta_path[0]\n"
        "            os.kill(os.getpid(), number)\n"
        "sys.meta_path.insert(0, Spy())\n"
        "runpy.run_module('motorctl', run_name='__main__')\n"
    )
    modules = ("motorctl.cli", "typer.main", "motorctl.app", "motorctl.commands.ping", "asyncio", "pymongo")
    for place, module in enumerate(modules):
        for name in STOPS if thorough else [list(STOPS)[place % 3]]:
            code, said = STOPS[name]
            number = str(int(signal.Signals[f"SIG{name}"]))
            done = subprocess.run(
                [sys.executable, "-c", spy, module, number, "ping", "--uri", server_uri],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert (done.returncode, done.stderr.splitlines()) == (code, [said]), (module, name, done)


def test_a_signal_while_it_waits_for_stdin_is_one_line(server_uri: str, *, thorough: bool) -> None:
    """Input that never comes is waited for; nothing has been sent to a server by then."""
    waiting = (
        ("users", "create", "--json", "-"),
        ("schema", "plan", "-"),
        ("import", "-", "--into", "people", "--format", "ndjson"),
        ("transfer", "batch", "-", "--batch", "b"),
        ("explain", "read", "-"),
    )
    environ = {"MOTORCTL_URI": server_uri, "MOTORCTL_DB": f"test_{uuid.uuid4().hex[:12]}"}
    for place, (name, (code, said)) in enumerate(STOPS.items()):
        some = waiting if thorough else waiting[place::3]
        begun = [start(*words, env=environ, stdin=subprocess.PIPE) for words in some]
        time.sleep(0.2)
        for process in begun:
            until(partial(sleeping, process.pid), "it waits")
            process.send_signal(signal.Signals[f"SIG{name}"])
        for words, process in zip(some, begun, strict=True):
            try:
                process.wait(20)
            finally:
                process.kill()
            _, stderr = process.communicate()
            lines = stderr.decode().splitlines()
            assert (process.returncode, lines[-1]) == (code, said), (words, name, lines)
            assert "Traceback" not in stderr.decode()


def sleeping(pid: int) -> bool:
    """Tell whether a process waits in a read of its stdin: 0 is the first argument of the system call `read`, 0."""
    call = Path(f"/proc/{pid}/syscall").read_text(encoding="ascii").split()
    return call[:2] == ["0", "0x0"] or any(
        task.joinpath("syscall").read_text(encoding="ascii").split()[:2] == ["0", "0x0"]
        for task in Path(f"/proc/{pid}/task").iterdir()
    )


# --- files -------------------------------------------------------------------------------------------

ROOM = 64 * 1024


def on_a_small_disk(folder: Path, *arguments: str, env: dict[str, str]) -> tuple[int, str, dict[str, int]]:
    """Run the program in a folder of 64 kB; return code, stderr, and the files that are left, with their sizes.

    A file system of its own, in a mount namespace, where the kernel lets this user have one; else the largest
    size of a file: what a full disk is in a quota's words.
    """
    disk = folder / "disk"
    disk.mkdir()
    listed = folder / "left"
    script = (
        'mount -t tmpfs -o size=64k tmpfs "$0" && cd "$0" && cp -r "$1"/. . && shift && left=$1 && shift && "$@"; '
        'code=$?; find . -type f -printf "%P %s\\n" > "$left"; exit $code'
    )
    inputs = folder / "inputs"
    inputs.mkdir()
    for path in folder.glob("*.*"):
        path.rename(inputs / path.name)
    words = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script]
    line = [*words, str(disk), str(inputs), str(listed), *command(*arguments)]
    may = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "tmpfs", str(disk)],
        capture_output=True,
        check=False,
    )
    if may.returncode:
        for path in inputs.iterdir():
            (disk / path.name).write_bytes(path.read_bytes())
        line = command(*arguments)
    taken = sum(-(-path.stat().st_size // 4096) * 4096 for path in inputs.iterdir())
    done = subprocess.run(
        line,
        cwd=disk,
        env={**os.environ, **env},
        capture_output=True,
        timeout=60,
        check=False,
        preexec_fn=partial(small_files, ROOM - taken) if may.returncode else None,
    )
    if may.returncode:
        return done.returncode, done.stderr.decode(), {p.name: p.stat().st_size for p in disk.iterdir()}
    left = (line.rsplit(" ", 1) for line in listed.read_text().splitlines())
    return done.returncode, done.stderr.decode(), {name: int(size) for name, size in left}


def small_files(most: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


NO_ROOM = ("No space left on device", "File too large", "no space left on device", "file too large")


@pytest.fixture
def people(sync_db: Documents, server_uri: str) -> dict[str, str]:
    """The environment of a program whose database holds more than a small disk does."""
    sync_db.people.insert_many({"_id": number, "text": f"{number:04} " * 60} for number in range(600))
    return {"MOTORCTL_URI": server_uri, "MOTORCTL_DB": sync_db.name}


@pytest.mark.parametrize("name", ["people.ndjson", "people.csv", "people.json"])
def test_an_export_to_a_full_disk_leaves_no_half_file(
    people: dict[str, str], tmp_path: Path, name: str
) -> None:
    code, stderr, left = on_a_small_disk(tmp_path, "export", "people", "--out", name, env=people)
    assert code == 1
    assert left == {}, "nothing under its name, no part of it beside"
    assert any(f"error: can't write {name}: {reason}" in stderr for reason in NO_ROOM), stderr


def test_an_old_file_survives_an_export_to_a_full_disk(people: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "people.ndjson").write_text("the old one\n")
    code, _, left = on_a_small_disk(tmp_path, "export", "people", "--out", "people.ndjson", env=people)
    assert (code, left) == (1, {"people.ndjson": 12})


def test_an_import_whose_rejects_find_no_room(people: dict[str, str], tmp_path: Path) -> None:
    """It stops: a record that is neither written nor kept would be lost."""
    (tmp_path / "in.ndjson").write_text("".join(f'{{"n": {n}}}\n{{broken {n}\n' for n in range(900)))
    words = ("import", "in.ndjson", "--into", "things", "--rejects", "bad.ndjson", "-o", "json")
    code, stderr, left = on_a_small_disk(tmp_path, *words, env=people)
    assert code == 1
    assert any(f"can't write the rejects file bad.ndjson: {reason}" in stderr for reason in NO_ROOM), stderr
    assert "what it had written stays written" in stderr
    assert left["bad.ndjson"] <= ROOM


def test_a_batch_whose_results_find_no_room(
    cli: Runner, people: dict[str, str], tmp_path: Path, sync_db: Documents
) -> None:
    """Its rows are booked, and the same command goes on: nothing is done twice."""
    for name, balance in (("alice", "900.00"), ("bob", "0.00")):
        assert cli("accounts", "open", "--id", name, "--balance", balance, "--currency", "EUR").code == 0
    (tmp_path / "pay.csv").write_text("from,to,amount\n" + "alice,bob,1.00\n" * 400)
    words = ("transfer", "batch", "pay.csv", "--results", "done.ndjson", "--batch", "b")
    code, stderr, left = on_a_small_disk(tmp_path, *words, env=people)
    assert code == 1
    assert any(f"can't write the results done.ndjson: {reason}" in stderr for reason in NO_ROOM), stderr
    assert left["done.ndjson"] <= ROOM
    again = cli("transfer", "batch", str(tmp_path / "inputs" / "pay.csv"), "--batch", "b", "-o", "json")
    assert (again.code, again.json()["committed"] + again.json()["replayed"]) == (0, 400)
    assert str(sync_db.accounts.find_one("bob")["balance"]) == "400.00"  # type: ignore[index]  # it is there, or the test fails here


@pytest.mark.parametrize(
    "words", [("--junit", "made"), ("--update-baseline", "--baseline", "made")], ids=lambda words: words[0]
)
def test_a_suite_whose_file_finds_no_room(
    people: dict[str, str], tmp_path: Path, words: tuple[str, ...]
) -> None:
    (tmp_path / "suite.yaml").write_text("queries: [{name: all, find: people, expect: {returned: 600}}]\n")
    (tmp_path / "full.bin").write_bytes(bytes(ROOM - 4096))
    code, stderr, left = on_a_small_disk(tmp_path, "explain", "suite", "suite.yaml", *words, env=people)
    assert code == 1, stderr
    assert any(f"made: {reason}" in stderr for reason in NO_ROOM), stderr
    assert left.keys() == {"suite.yaml", "full.bin"}


PLACES = {"directory": ExitCode.USAGE, "nowhere": ExitCode.USAGE}


@pytest.mark.parametrize("what", PLACES)
@pytest.mark.parametrize(
    "words",
    [
        ("export", "people", "--out"),
        ("import", "in.ndjson", "--into", "things", "--rejects"),
        ("transfer", "batch", "pay.csv", "--results"),
        ("transfer", "batch", "pay.csv", "--rejects"),
        ("explain", "suite", "queries.yaml", "--junit"),
        ("explain", "suite", "queries.yaml", "--update-baseline", "--baseline"),
    ],
    ids=lambda words: f"{words[0]} {words[-1]}",
)
def test_a_place_that_cannot_be_written_is_told_before_anything_is_done(
    cli: Runner,
    sync_db: Documents,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    what: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    sync_db.people.insert_one({"_id": 1})
    every_command.write_files(tmp_path)
    (tmp_path / "in.ndjson").write_text('{"n": 1}\n')
    (tmp_path / "pay.csv").write_text("from,to,amount\nalice,bob,1.00\n")
    (tmp_path / "queries.yaml").write_text("queries: [{name: all, find: people}]\n")
    (tmp_path / "folder").mkdir()
    target = {"directory": "folder", "nowhere": "nowhere/file"}[what]
    done = cli(*words, target)
    assert done.code == PLACES[what], done
    assert target.partition("/")[0] in done.stderr
    assert "unexpected" not in done.stderr
    assert sync_db.things.count_documents({}) == 0


# --- many at once, and little memory -----------------------------------------------------------------


def test_twenty_at_once_on_one_home(place: Place, tmp_path: Path) -> None:
    """One configuration, one place of the local server: none reads what another has half written."""
    config = tmp_path / "motorctl" / "config.toml"
    config.parent.mkdir()
    config.write_text(f'default_profile = "here"\n[profiles.here]\nuri = "{place.uri}"\n')
    environ = {"XDG_CONFIG_HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    environ["MOTORCTL_LOCAL_DIR"] = str(tmp_path / "local")
    kinds = (("ping",), ("local", "reset", "--yes"), ("local", "stop"), ("config", "show"))
    begun = [
        (kind, place.forks.start(*kind, cwd=tmp_path, environ=environ)) for kind in kinds for _ in range(5)
    ]
    for kind, running in begun:
        done = running.wait()
        assert (done.code, "Traceback" in done.stderr) == (0, False), (kind, done)


def test_twenty_that_start_the_local_server_at_once_start_one(place: Place, tmp_path: Path) -> None:
    """One of them starts it; for the others it runs, and all tell the same address."""
    environ = {
        "HOME": str(tmp_path),
        "PATH": os.environ["PATH"],
        "MOTORCTL_LOCAL_DIR": str(tmp_path / "local"),
    }
    environ["MOTORCTL_MONGOD"] = str(mongod.find_mongod().path)
    words = ("local", "start", "-o", "json")
    begun = [place.forks.start(*words, cwd=tmp_path, environ=environ) for _ in range(20)]
    try:
        done = [running.wait() for running in begun]
        assert {one.code for one in done} == {0}, done
        told = [one.json() for one in done]
        assert len({(one["uri"], one["pid"]) for one in told}) == 1, told
    finally:
        stopped = place.forks.run("local", "stop", cwd=tmp_path, environ=environ)
    assert stopped.code == 0, stopped


def test_a_gigabyte_of_memory_is_enough(tmp_path: Path, sync_db: Documents, server_uri: str) -> None:
    """Of addresses, which is more than of memory: an import with its worker processes, and the export of it."""
    (tmp_path / "in.ndjson").write_text(
        "".join(f'{{"n": {n}, "text": "{"x" * 400}"}}\n' for n in range(20_000))
    )
    environ = {"MOTORCTL_URI": server_uri, "MOTORCTL_DB": sync_db.name}
    for words in (
        ("import", "in.ndjson", "--into", "big", "--workers", "2"),
        ("export", "big", "--out", "out.ndjson"),
    ):
        process = start(*words, env=environ, cwd=tmp_path, preexec_fn=a_gigabyte)
        _, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, (words, stderr)
    assert sync_db.big.estimated_document_count() == 20_000


def a_gigabyte() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))


# --- a clock that jumps ------------------------------------------------------------------------------


def test_a_clock_that_jumps_by_a_day_changes_nothing(
    cli: Runner, sync_db: Documents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forth at one look at it, back at the next: no duration is measured by it, and no age."""
    true, looks = time.time, itertools.count()

    def jumping() -> float:
        return true() + (86_400 if next(looks) % 2 else -86_400)

    every_command.write_files(tmp_path)
    every_command.fill(sync_db, "transfer batch")
    in_use, abandoned = (f"motorctl_temporary_{int(true()) - ago}_ab" for ago in (0, 900))
    for name in (in_use, abandoned):
        sync_db.create_collection(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(time, "time", jumping)
    begun = time.monotonic()
    for words, code in (
        (("import", "things.ndjson", "--into", "things", "--resume", "--batch-size", "500"), 0),
        (("import", "status"), 0),
        (("transfer", "batch", "payments.csv", "--batch", "b"), 0),
        (("transfer", "verify"), 0),
        (("schema", "apply", "--builtin", "shop"), 0),
        (("ping", "--wait", "20"), 0),
        (("ping", "--uri", "mongodb://127.0.0.1:1", "--wait", "0.6", "--timeout", "0.3"), 3),
    ):
        done = cli(*words)
        assert done.code == code, (words, done)
        assert not re.search(
            r"-\d+(\.\d+)? (s|ms|min|h)\b|86[ ,]?[34]\d\d|24 ?h", done.stdout + done.stderr
        ), done
    assert next(looks) > 0, "nobody looked"
    assert time.monotonic() - begun < 60
    # Another machine's, which is at work: the server's clock tells its age.
    there = sync_db.list_collection_names()
    assert (in_use in there, abandoned in there) == (True, False)
