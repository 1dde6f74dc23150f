"""The process: how quickly and with what it ends, whatever happens to its streams, and on a real terminal."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pymongo
import pytest
from conftest import command, free_port, until

from motorctl import app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Runner

    SyncDatabase = pymongo.database.Database[dict[str, Any]]

DOCUMENTS = 20_000
BLOCKED_SECONDS = 1.2


@pytest.fixture(scope="module")
def many(server_uri: str) -> Iterator[dict[str, str]]:
    """The environment of a program whose database holds many users."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with pymongo.MongoClient[dict[str, Any]](server_uri) as client:
        users = ({"name": f"Name {n}", "email": f"{n}@example.com"} for n in range(DOCUMENTS))
        client[name].users.insert_many(users)
        yield {"MOTORCTL_URI": server_uri, "MOTORCTL_DB": name}
        client.drop_database(name)


def run(
    *arguments: str,
    env: dict[str, str],
    stdout: int | IO[bytes] = subprocess.PIPE,
    stderr: int | IO[bytes] = subprocess.PIPE,
    closed: int | None = None,
) -> tuple[int, str, str]:
    """Run the program with one of its descriptors `closed`; return code, stdout and stderr."""
    done = subprocess.run(
        command(*arguments),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        env={**os.environ, **env},
        preexec_fn=(lambda: os.close(closed)) if closed is not None else None,
        timeout=60,
        check=False,
    )
    return done.returncode, (done.stdout or b"").decode(), (done.stderr or b"").decode()


# --- the end -----------------------------------------------------------------------------------------


def test_ping_does_not_wait_for_the_drivers_threads(motorctl: Runner) -> None:
    """PyMongo joins its monitors at exit, which costs half a second and more: ping must not pay that."""
    imports = "import asyncio, typer, motor.motor_asyncio, motorctl.cli, motorctl.core.ping"

    def imported() -> None:
        subprocess.run([sys.executable, "-c", imports], check=True)

    def pinged() -> None:
        assert motorctl("ping", "-o", "json").code == 0

    def quickest(action: Callable[[], None]) -> float:
        times = []
        for _ in range(4):
            begun = time.monotonic()
            action()
            times.append(time.monotonic() - begun)
        return min(times)

    assert quickest(pinged) < quickest(imported) + 0.4


def test_everything_is_written_before_the_end(many: dict[str, str]) -> None:
    code, stdout, stderr = run("users", "list", "--all", "-o", "ndjson", env=many)
    assert (code, stderr) == (0, "")
    records = [json.loads(line) for line in stdout.splitlines()]
    assert len({record["email"] for record in records}) == DOCUMENTS


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("users", "count"), 0),
        (("aggregate", "c", '[{"$bogus": 1}]'), 1),
        (("users", "get", "x"), 2),
        (("ping", "--uri", "mongodb://127.0.0.1:1", "--timeout", "0.2"), 3),
        (("users", "get", "64b7f0c2a1b2c3d4e5f60718"), 5),
    ],
)
def test_the_exit_code_is_the_process_s(motorctl: Runner, arguments: tuple[str, ...], code: int) -> None:
    done = motorctl(*arguments)
    assert done.code == code
    assert bool(done.stderr) is bool(code)
    assert "Traceback" not in done.stderr


# --- signals -----------------------------------------------------------------------------------------


@contextmanager
def blocked(uri: str, name: str, *commands: str) -> Iterator[Callable[[], bool]]:
    """Let commands of the client `name` hang on the server; yields a function that says whether one does."""
    point = {"configureFailPoint": "failCommand"}
    data = {
        "failCommands": list(commands),
        "appName": name,
        "blockConnection": True,
        "blockTimeMS": round(BLOCKED_SECONDS * 1000),
    }
    with pymongo.MongoClient[dict[str, Any]](uri) as client:
        entered = client.admin.command({**point, "mode": "alwaysOn", "data": data})["count"]

        def hangs() -> bool:
            found = client.admin.command({"getParameter": 1, "failpoint.failCommand": 1})
            return bool(found["failpoint.failCommand"]["timesEntered"] > entered)

        try:
            yield hangs
        finally:
            client.admin.command({**point, "mode": "off"})


STOPPED = {
    signal.SIGINT: (130, "error: stopped by Ctrl-C"),
    signal.SIGTERM: (143, "error: stopped by SIGTERM"),
}


@pytest.mark.parametrize("number", STOPPED)
@pytest.mark.parametrize(
    ("blocks", "arguments"),
    [
        ("find", ("users", "list", "--all")),
        ("getMore", ("users", "list", "--all", "-o", "csv")),
        ("aggregate", ("aggregate", "users", '[{"$count": "n"}]')),
    ],
)
def test_a_signal_in_the_middle_of_a_command(
    many: dict[str, str], number: signal.Signals, blocks: str, arguments: tuple[str, ...]
) -> None:
    name = f"t{uuid.uuid4().hex[:10]}"
    uri = many["MOTORCTL_URI"]
    with blocked(uri, name, blocks) as hangs:
        process = start(*arguments, env={**many, "MOTORCTL_URI": f"{uri}&appName={name}"})
        until(hangs, "the command hangs")
        begun = time.monotonic()
        process.send_signal(number)
        _, stderr = process.communicate(timeout=30)
        took = time.monotonic() - begun
    assert took < BLOCKED_SECONDS - 0.3
    assert (process.returncode, stderr.splitlines()) == (STOPPED[number][0], [STOPPED[number][1]])


@pytest.mark.parametrize("number", STOPPED)
def test_a_signal_while_it_waits_for_a_server(number: signal.Signals) -> None:
    process = start("ping", "--uri", f"mongodb://127.0.0.1:{free_port()}", "--wait", "30", "-v", env={})
    assert process.stderr is not None
    assert process.stderr.readline().startswith("note: waiting for the server")
    begun = time.monotonic()
    process.send_signal(number)
    _, stderr = process.communicate(timeout=30)
    assert time.monotonic() - begun < 2
    assert process.returncode == STOPPED[number][0]
    assert stderr.splitlines()[-1] == STOPPED[number][1]
    assert "Traceback" not in stderr


def test_a_signal_is_a_json_error_where_json_was_asked_for() -> None:
    uri = f"mongodb://127.0.0.1:{free_port()}"
    process = start("ping", "--uri", uri, "--wait", "30", "-v", "-o", "json", env={})
    assert process.stderr is not None
    process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 143
    error = json.loads(stderr.splitlines()[-1])["error"]
    assert (error["code"], error["exit"]) == ("terminated", 143)


# --- streams -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["ndjson", "json", "csv", "table", "markdown"])
def test_a_reader_that_leaves_ends_it_quietly(many: dict[str, str], form: str) -> None:
    process = start("users", "list", "--all", "-o", form, env=many)
    assert process.stdout is not None
    assert process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait(timeout=30) == 0
    process.stderr.close()


def test_head_in_a_shell(many: dict[str, str]) -> None:
    program = f"{sys.executable} -m motorctl"
    script = f"{program} users list --all -o ndjson | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", script], env={**os.environ, **many}, capture_output=True, text=True, check=True
    )
    record, code = done.stdout.splitlines()
    assert json.loads(record)["email"] == f"{DOCUMENTS - 1}@example.com"
    assert (code, done.stderr) == ("0", "")


@pytest.mark.parametrize("disposition", [signal.SIG_IGN, signal.SIG_DFL])
def test_a_gone_reader_whatever_the_parent_did_with_sigpipe(
    many: dict[str, str], disposition: signal.Handlers
) -> None:
    process = subprocess.Popen(
        command("users", "list", "--all", "-o", "ndjson"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **many},
        restore_signals=False,
        preexec_fn=lambda: signal.signal(signal.SIGPIPE, disposition),  # noqa: PLW1509 - no thread is running
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=30) == 0


@pytest.mark.parametrize("arguments", [("ping",), ("users", "list"), ("--version",), ("config", "show")])
def test_a_closed_stdout_is_one_line_and_exit_1(many: dict[str, str], arguments: tuple[str, ...]) -> None:
    code, _, stderr = run(*arguments, env=many, stdout=subprocess.DEVNULL, closed=1)
    assert code == 1
    (line,) = stderr.splitlines()
    assert line.startswith("error: ")
    assert "standard output is closed" in line


@pytest.mark.parametrize("arguments", [("ping",), ("users", "list", "--all"), ("--help",)])
def test_a_full_disk_is_one_line_and_exit_1(many: dict[str, str], arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full:
        code, _, stderr = run(*arguments, env=many, stdout=full)
    assert code == 1
    (line,) = stderr.splitlines()
    assert line.startswith("error: ")
    assert "no space left" in line.lower()


def test_a_closed_stderr_leaves_result_and_exit_code(many: dict[str, str]) -> None:
    closed = run("users", "count", "-v", "--slow-ms", "0", env=many, stderr=subprocess.DEVNULL, closed=2)
    assert closed == (0, f"{DOCUMENTS}\n", "")
    assert run("users", "get", "x", env=many, stderr=subprocess.DEVNULL, closed=2) == (2, "", "")
    with Path("/dev/full").open("wb") as full:
        assert run("users", "get", "x", env=many, stderr=full) == (2, "", "")
        assert run("users", "count", "--slow-ms", "0", env=many, stderr=full) == (0, f"{DOCUMENTS}\n", "")


def test_a_closed_stdin_is_an_empty_one(many: dict[str, str]) -> None:
    assert run("users", "count", env=many, closed=0) == (0, f"{DOCUMENTS}\n", "")
    code, _, stderr = run("users", "create", "--json", "-", env=many, closed=0)
    assert code == 2
    assert "--json: stdin is empty" in stderr


# --- a real terminal ---------------------------------------------------------------------------------


class Terminal:
    """The program as the foreground process of a pseudo-terminal."""

    def __init__(self, *arguments: str, env: dict[str, str]) -> None:
        self.screen = ""
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            try:
                os.execve(sys.executable, command(*arguments), {**os.environ, **env})
            finally:
                os._exit(127)

    def read(self, wanted: str | None = None, seconds: float = 30) -> str:
        """Read until `wanted` is on the screen, or else to the end."""
        deadline = time.monotonic() + seconds
        while wanted is None or wanted not in self.screen:
            ready, _, _ = select.select([self.descriptor], [], [], deadline - time.monotonic())
            assert ready, f"not on the screen within {seconds:g} s: {wanted}\n{self.screen}"
            try:
                chunk = os.read(self.descriptor, 65536)
            except OSError:  # Linux says so when the other side is closed
                chunk = b""
            if not chunk:
                break
            self.screen += chunk.decode(errors="replace")
        return self.screen

    def type(self, keys: str) -> None:
        os.write(self.descriptor, keys.encode())

    def end(self) -> int:
        self.read()
        _, status = os.waitpid(self.pid, 0)
        os.close(self.descriptor)
        return os.waitstatus_to_exitcode(status)


def test_colours_on_a_terminal_only_where_they_are_wanted(many: dict[str, str]) -> None:
    wrong = ("users", "get", "x")
    for env, options, coloured in (
        ({"TERM": "xterm-256color"}, (), True),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, (), False),
        ({"TERM": "xterm-256color"}, ("--no-color",), False),
        ({"TERM": "dumb"}, (), False),
    ):
        terminal = Terminal(*wrong, *options, env={**many, **env})
        assert terminal.end() == 2
        assert "error:" in terminal.screen
        assert ("\x1b[" in terminal.screen) is coloured, (env, options)


@pytest.mark.parametrize("term", ["xterm-256color", "dumb"])
def test_a_list_on_a_terminal(many: dict[str, str], term: str) -> None:
    terminal = Terminal(
        "users", "list", "--limit", "2", "--no-color", env={**many, "TERM": term, "COLUMNS": "150"}
    )
    assert terminal.end() == 0
    assert f"{DOCUMENTS - 1}@example.com" in terminal.screen
    assert "\x1b[3" not in terminal.screen
    if term == "dumb":
        assert "\x1b" not in terminal.screen


@pytest.fixture
def few(sync_db: SyncDatabase, server_uri: str) -> dict[str, str]:
    sync_db.users.insert_many({"name": f"Name {n}"} for n in range(3))
    return {"MOTORCTL_URI": server_uri, "MOTORCTL_DB": sync_db.name, "TERM": "xterm"}


@pytest.mark.parametrize(
    ("keys", "code", "left"), [("y\n", 0, 0), ("n\n", 0, 3), ("\n", 0, 3), ("\x04", 0, 3), ("\x03", 130, 3)]
)
def test_a_question_before_something_is_destroyed(
    few: dict[str, str], sync_db: SyncDatabase, keys: str, code: int, left: int
) -> None:
    terminal = Terminal("users", "delete", "--filter", "{}", env=few)
    terminal.read("[y/N]")
    terminal.type(keys)
    assert terminal.end() == code
    assert sync_db.users.count_documents({}) == left
    assert "Traceback" not in terminal.screen
    assert ("stopped by Ctrl-C" in terminal.screen) is (code == 130)


def test_ctrl_c_on_a_terminal_while_it_waits() -> None:
    uri = f"mongodb://127.0.0.1:{free_port()}"
    terminal = Terminal("ping", "--uri", uri, "--wait", "30", "-v", env={})
    terminal.read("waiting for the server")
    terminal.type("\x03")
    assert terminal.end() == 130
    assert "stopped by Ctrl-C" in terminal.screen
    assert "Traceback" not in terminal.screen


def start(*arguments: str, env: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **env},
        text=True,
    )


async def test_a_stop_that_a_library_keeps_to_itself_still_ends_the_command() -> None:
    async def swallows() -> str:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().call_soon(task.cancel)
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        return "done"

    with pytest.raises(asyncio.CancelledError):
        await app._terminable(swallows())


async def test_a_signal_wakes_the_loop_whenever_it_comes() -> None:
    """Without this descriptor, one that comes just before the loop begins to wait is seen when the wait ends."""

    async def looks() -> int:
        descriptor = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(descriptor)
        return descriptor

    assert await app._terminable(looks()) != -1
