"""The local server as a user has it: a real mongod, started, stopped, killed and moved for real."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pymongo import MongoClient, WriteConcern

from motorctl.core import local, mongod
from motorctl.errors import ConfigurationError, MotorctlError, NotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[local.Home]:
    """A place of its own for the local server; whatever mongod works there is ended in the end."""
    monkeypatch.setenv(local.VARIABLE, str(tmp_path / "local"))
    place = local.home()
    yield place
    for pid in processes_in(tmp_path):
        os.kill(pid, signal.SIGKILL)


def processes_in(path: Path) -> list[int]:
    """The processes other than this one that have a path in their command line."""
    if not Path("/proc/self").exists():
        return _listed(path)
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(path) in line and int(process.name) != os.getpid():
                found.append(int(process.name))
    return found  # a zombie has no command line


def _listed(path: Path) -> list[int]:
    listing = subprocess.run(
        ["ps", "-ww", "-eo", "pid=,stat=,args="], capture_output=True, text=True, check=True
    )
    found = (line.split(None, 2) for line in listing.stdout.splitlines() if str(path) in line)
    return [int(pid) for pid, state, _ in found if int(pid) != os.getpid() and not state.startswith("Z")]


class Result:
    def __init__(self, process: subprocess.CompletedProcess[str]) -> None:
        self.code, self.stdout, self.stderr = process.returncode, process.stdout, process.stderr

    def json(self) -> Any:
        return json.loads(self.stdout)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "motorctl", "local", *arguments]


def run(*arguments: str) -> Result:
    """`motorctl local ...` as a process of its own, which the server has to outlive."""
    return Result(
        subprocess.run(command(*arguments), capture_output=True, text=True, check=False, timeout=60)
    )


def started(*arguments: str) -> dict[str, Any]:
    result = run("start", "-o", "json", *arguments)
    assert result.code == 0, result.stderr
    status: dict[str, Any] = result.json()
    assert status["running"] is True
    return status


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def stranger(port: int) -> Iterator[None]:
    """Somebody else's server on a port: it hangs up on whoever comes."""
    hang_up = "import socket\nwith socket.create_server(('127.0.0.1', {})) as s:\n print(flush=True)\n while True: s.accept()[0].close()"
    with subprocess.Popen([sys.executable, "-c", hang_up.format(port)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"\n"
            yield
        finally:
            process.kill()


def write(uri: str) -> None:
    with MongoClient[dict[str, Any]](uri, serverSelectionTimeoutMS=5000) as client:
        notes = client["lab"].get_collection("notes", write_concern=WriteConcern("majority", j=True))
        notes.insert_one({"text": "kept"})


def count(uri: str) -> int:
    with MongoClient[dict[str, Any]](uri, serverSelectionTimeoutMS=5000) as client:
        return client["lab"]["notes"].count_documents({"text": "kept"})


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., str]:
    """Make an executable that stands in the place of a mongod: a line of shell."""

    def make(line: str, name: str = "mongod") -> str:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)
        return str(path)

    return make


def version(number: str) -> str:
    return f"echo 'db version v{number}'"


# Finding a mongod


def test_the_search_order(
    script: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, variable = script(version("9.0.1"), "named"), script(version("9.0.2"), "variable")
    script(version("9.0.3"), "bin/mongod")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv(mongod.VARIABLE, variable)
    order = [mongod.find_mongod(named), mongod.find_mongod()]
    monkeypatch.delenv(mongod.VARIABLE)
    order.append(mongod.find_mongod())
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    order.append(mongod.find_mongod())
    assert [m.source for m in order[:3]] == ["--mongod", mongod.VARIABLE, "PATH"]
    assert [m.version for m in order[:3]] == ["9.0.1", "9.0.2", "9.0.3"]
    assert order[3].source in mongod.WHEELS


def test_a_program_name_is_looked_up_as_a_shell_does(
    script: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(version("9.0.4"), "bin/mongod-9")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    assert mongod.find_mongod("mongod-9").version == "9.0.4"


@pytest.mark.parametrize("source", ["--mongod", mongod.VARIABLE])
def test_a_named_path_that_fails_is_an_error(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if source == mongod.VARIABLE:
        monkeypatch.setenv(source, "/nowhere/mongod")
    with pytest.raises(UsageError, match="no mongod at /nowhere/mongod") as caught:
        mongod.find_mongod("/nowhere/mongod" if source == "--mongod" else None)
    assert caught.value.hint == f"the path comes from {source}"


def test_a_broken_one_on_path_gives_way_to_the_wheel(
    script: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script("exit 1", "bin/mongod")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    assert mongod.find_mongod().source in mongod.WHEELS
    monkeypatch.setattr(mongod, "WHEELS", ())
    with pytest.raises(MotorctlError, match="exit code 1"):
        mongod.find_mongod()


def test_none_at_all_lists_the_ways_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(mongod, "WHEELS", ())
    with pytest.raises(NotFoundError) as caught:
        mongod.find_mongod()
    assert caught.value.hint is not None
    for way in ("motorctl[embedded]", "--mongod", mongod.VARIABLE, "--uri"):
        assert way in caught.value.hint


LOADER = (
    "echo 'mongod: error while loading shared libraries: {}: cannot open shared object file' >&2; exit 127"
)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (LOADER.format("libcurl.so.4"), ["libcurl.so.4", "package libcurl4 on Debian", "libcurl on Fedora"]),
        (LOADER.format("libssl.so.3"), ["libssl3 on Debian", "openssl-libs on Fedora"]),
        (LOADER.format("libcrypto.so.1.1"), ["libcrypto.so.1.1 is missing", "older system"]),
        ("echo \"mongod: version 'GLIBC_2.34' not found\" >&2; exit 1", ["GLIBC 2.34"]),
        ("exit 127", ["a system library is missing"]),
        ("kill -ILL $$", ["lacks AVX"]),
        (version("3.6.8"), ["3.6.8", "4.2 or newer"]),
        ("echo hello", ["is not a mongod"]),
        ("echo 'no such option' >&2; exit 2", ["an option was not understood", "no such option"]),
    ],
)
def test_a_mongod_that_cannot_run_says_why(script: Callable[..., str], line: str, words: list[str]) -> None:
    with pytest.raises(MotorctlError) as caught:
        mongod.find_mongod(script(line))
    for word in words:
        assert word in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_files_that_are_no_programs(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a directory"):
        mongod.find_mongod(str(tmp_path))
    plain = tmp_path / "mongod"
    plain.write_text("not a program")
    with pytest.raises(MotorctlError, match=r"cannot run .*: Permission denied"):
        mongod.find_mongod(str(plain))
    plain.chmod(0o755)
    with pytest.raises(MotorctlError, match=r"cannot run .*: Exec format error"):
        mongod.find_mongod(str(plain))


def test_the_command_line(tmp_path: Path) -> None:
    arguments = mongod.mongod_arguments(tmp_path / "mongod", tmp_path / "data", 27200, tmp_path / "log")
    pairs = dict(pairwise(arguments))
    assert pairs["--bind_ip"] == "127.0.0.1"
    assert pairs["--replSet"] == "rs0"
    assert pairs["--port"] == "27200"
    assert "--nounixsocket" in arguments


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["--port", "{taken}"], ["the port is taken", "Address already in use"]),
        (["--dbpath", "/nowhere"], ["the data directory is missing", "/nowhere not found"]),
        (["--unheard-of"], ["an option was not understood", "unheard-of"]),
    ],
)
async def test_a_real_mongod_that_ends_says_why(tmp_path: Path, wrong: list[str], words: list[str]) -> None:
    (tmp_path / "data").mkdir()
    log = tmp_path / "mongod.log"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        binary = mongod.find_mongod().path
        arguments = mongod.mongod_arguments(binary, tmp_path / "data", free_port(), log)
        for option in ("--port", "--dbpath"):
            if option in wrong:
                at = arguments.index(option)
                del arguments[at : at + 2]
        arguments += [argument.format(taken=taken.getsockname()[1]) for argument in wrong]
        process = mongod.spawn(arguments, log)
        with pytest.raises(MotorctlError) as caught:
            await mongod.wait_listening(process, log)
    for word in words:
        assert word in caught.value.message
    assert isinstance(caught.value, mongod.PortTakenError) == ("{taken}" in wrong)


# State


def test_importing_it_costs_no_driver() -> None:
    code = "import sys, motorctl.core.local; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"motor", "pymongo", "bson", "pydantic", "rich", "filelock"} & set(done.stdout.split())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"port": "x"}',
        '{"port": 1, "pid": "2"}',
        '{"port": 1, "pid": 1}',
        "\x00\xff",
    ],
)
def test_a_state_that_makes_no_sense_is_no_server(home: local.Home, text: str) -> None:
    home.path.mkdir()
    home.state.write_text(text, encoding="latin-1")
    assert local.running_uri() is None
    assert local.status(home)["running"] is False


def test_no_state_is_no_server(home: local.Home, monkeypatch: pytest.MonkeyPatch) -> None:
    assert local.running_uri() is None
    home.path.mkdir()
    home.state.mkdir()
    assert local.running_uri() is None
    home_without(monkeypatch)
    assert local.running_uri() is None


def home_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user whose home directory is no place: what a container without a passwd entry has."""
    for name in (local.VARIABLE, "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", dict[int, str]().__getitem__)


def test_no_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    home_without(monkeypatch)
    with pytest.raises(ConfigurationError, match="no home directory") as caught:
        local.home()
    assert caught.value.hint == f"set HOME or {local.VARIABLE}"


def put_state(home: local.Home, pid: int, process: str | None) -> local.State:
    home.path.mkdir(exist_ok=True)
    state = local.State(27199, "6.0.5", "/bin/mongod", pid, process, "2026-01-01T00:00:00Z")
    local._write_state(home, state)
    return state


def test_asking_for_the_uri_is_cheap(home: local.Home) -> None:
    put_state(home, os.getpid(), mongod.process_identity(os.getpid()))
    times = []
    for _ in range(50):
        begun = time.perf_counter()
        assert local.running_uri() == "mongodb://127.0.0.1:27199/?replicaSet=rs0"
        times.append(time.perf_counter() - begun)
    assert min(times) < 0.002


def test_a_process_is_known_by_more_than_its_number(home: local.Home) -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        identity = mongod.process_identity(process.pid)
        assert identity is not None
        assert identity == mongod.process_identity(process.pid)
        assert identity != mongod.process_identity(os.getpid())
        put_state(home, process.pid, identity)
        assert local.running(home) is not None
        process.kill()
        while local.running(home):  # dead, and not yet waited for by its parent
            time.sleep(0.01)
    assert mongod.process_identity(process.pid) is None
    assert mongod.process_identity(-1) is None


def test_ports() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(mongod.PortTakenError, match=f"port {port} cannot be used: it is taken"):
            local.choose_port(None, port)
        remembered = local.State(port, "6.0.5", "/bin/mongod")
        assert local.choose_port(remembered) in local.PORTS
    assert local.choose_port(remembered) == port
    assert local.choose_port(remembered, refused={port}) in local.PORTS


# The life of a server


def test_start_stop_and_start_again_without_loss(home: local.Home) -> None:
    begun = time.perf_counter()
    first = run("start", "-o", "json")
    seconds = time.perf_counter() - begun
    assert first.code == 0, first.stderr
    assert "for trying and testing" in first.stderr
    status = first.json()
    assert list(status) == [
        "running", "uri", "pid", "port", "version", "binary", "data_dir", "log", "started_at", "size_bytes",
    ]  # fmt: skip
    assert status["uri"] == f"mongodb://127.0.0.1:{status['port']}/?replicaSet=rs0"
    assert status["data_dir"] == str(home.data)
    assert 0 < status["size_bytes"] < 30e6
    write(status["uri"])
    assert run("status", "-o", "json").json()["pid"] == status["pid"]
    assert run("uri").stdout == status["uri"] + "\n"

    again = run("start", "-o", "json")
    assert (again.code, again.json()["pid"]) == (0, status["pid"])
    assert "already running" in again.stderr
    assert "trying" not in again.stderr

    stopped = run("stop", "-o", "json")
    assert (stopped.code, stopped.json()["running"], stopped.json()["uri"]) == (0, False, None)
    assert processes_in(home.path) == []
    assert '"exitCode":0' in home.log.read_text()  # a clean end

    begun = time.perf_counter()
    after = started()
    # The quicker of two: whatever else this machine does, once is enough to show that it can.
    assert min(seconds, time.perf_counter() - begun) < 2
    assert after["port"] == status["port"]
    assert count(after["uri"]) == 1
    assert home.old_log.exists()


def test_the_server_is_nobodys_child_and_listens_at_home_only(home: local.Home) -> None:
    status = started()
    pid = status["pid"]
    assert os.getsid(pid) == pid
    assert processes_in(home.path) == [pid]
    with MongoClient[dict[str, Any]](status["uri"]) as client:
        options = client.admin.command("getCmdLineOpts")["parsed"]
    assert options["net"]["bindIp"] == "127.0.0.1"
    assert options["net"]["unixDomainSocket"] == {"enabled": False}


def test_a_command_without_uri_finds_it(home: local.Home, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MOTORCTL_URI", "MONGODB_URL", "MONGODB_URI"):
        monkeypatch.delenv(name, raising=False)
    status = started()
    ping = [sys.executable, "-m", "motorctl", "ping", "-o", "json"]
    answer = json.loads(subprocess.run(ping, capture_output=True, text=True, check=True).stdout)
    assert answer["hosts"] == [f"127.0.0.1:{status['port']}"]
    assert home.state.exists()


def test_two_starts_at_once_give_one_server(home: local.Home) -> None:
    starts = [
        subprocess.Popen(
            command("start", "-o", "json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    answers = [start.communicate(timeout=60) for start in starts]
    assert [start.returncode for start in starts] == [0, 0, 0], answers
    pids = {json.loads(stdout)["pid"] for stdout, _ in answers}
    assert processes_in(home.path) == list(pids)
    assert sum("already running" in stderr for _, stderr in answers) == 2


def test_stop_and_uri_without_a_server(home: local.Home) -> None:
    stop = run("stop")
    assert (stop.code, "not running" in stop.stderr) == (0, True)
    status = run("status", "-o", "json")
    assert (status.code, status.json()["running"], status.json()["size_bytes"]) == (0, False, 0)
    uri = run("uri")
    assert (uri.code, uri.stdout) == (5, "")
    assert "hint: `motorctl local start`" in uri.stderr
    assert not home.path.exists()


def test_killed_and_started_again(home: local.Home) -> None:
    status = started()
    write(status["uri"])
    os.kill(status["pid"], signal.SIGKILL)
    while processes_in(home.path):
        time.sleep(0.01)
    assert run("status", "-o", "json").json()["running"] is False
    assert run("uri").code == 5
    after = started()
    assert after["port"] == status["port"]
    assert count(after["uri"]) == 1


def test_a_process_id_that_came_round_is_left_alone(home: local.Home) -> None:
    status = started()
    run("stop")
    with subprocess.Popen(["sleep", "60"]) as other:
        state = json.loads(home.state.read_text())
        home.state.write_text(json.dumps({**state, "pid": other.pid, "process": "another-boot/1"}))
        assert "not running" in run("stop").stderr
        assert run("uri").code == 5
        after = started()
        assert after["pid"] != other.pid
        assert after["port"] == status["port"]
        assert run("reset", "--yes").code == 0
        assert other.poll() is None
        other.kill()


def test_the_port_changes_and_the_data_stays(home: local.Home) -> None:
    status = started("--port", str(free_port()))
    write(status["uri"])
    run("stop")
    with stranger(status["port"]):
        asked = run("start", "--port", str(status["port"]))
        assert asked.code == 1
        assert "for trying" not in asked.stderr
        assert f"port {status['port']} cannot be used: it is taken" in asked.stderr
        assert "hint: choose another one" in asked.stderr
        moved = started()
    assert moved["port"] != status["port"]
    assert count(moved["uri"]) == 1
    other = run("start", "--port", str(status["port"]))
    assert other.code == 1
    assert f"already runs on port {moved['port']}" in other.stderr
    run("stop")
    home.state.write_text("{")
    back = started("--port", str(status["port"]))
    assert (back["port"], count(back["uri"])) == (status["port"], 1)


def test_a_server_without_a_state_is_named(home: local.Home) -> None:
    pid = started()["pid"]
    home.state.unlink()
    result = run("start")
    assert result.code == 1
    assert f"(process {pid}) runs on {home.data}" in result.stderr
    assert f"kill {pid}" in result.stderr
    assert processes_in(home.path) == [pid]


def test_reset(home: local.Home) -> None:
    status = started()
    write(status["uri"])
    refused = run("reset")
    assert (refused.code, "--yes" in refused.stderr) == (2, True)
    plan = run("reset", "--dry-run", "-o", "json").json()
    assert (plan["action"], plan["data_dir"]) == ("delete", str(home.data))
    assert count(status["uri"]) == 1
    done = run("reset", "--yes", "-o", "json")
    assert (done.code, done.json()["deleted"]) == (0, True)
    assert processes_in(home.path) == []
    assert [path.name for path in home.path.iterdir()] == ["lock"]
    assert run("reset", "--yes", "-o", "json").json()["deleted"] is False
    assert count(started()["uri"]) == 0


def test_dry_runs_do_nothing(home: local.Home) -> None:
    plan = run("start", "--dry-run", "-o", "json").json()
    assert (plan["action"], plan["data_dir"]) == ("start", str(home.data))
    assert not home.path.exists()
    pid = started()["pid"]
    assert run("start", "--dry-run", "-o", "json").json()["action"] == "keep"
    assert run("stop", "--dry-run", "-o", "json").json() == {"action": "stop", "pid": pid}
    assert processes_in(home.path) == [pid]


def test_another_binary_than_the_running_one_is_refused(home: local.Home, script: Callable[..., str]) -> None:
    status = started()
    other = run("start", "--mongod", script(version("9.0.0"), "mongod-9"))
    assert other.code == 1
    assert f"already runs with {status['binary']}" in other.stderr
    assert run("start", "--mongod", status["binary"]).code == 0
    assert processes_in(home.path) == [status["pid"]]


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_start_that_is_interrupted_leaves_nothing(
    home: local.Home, script: Callable[..., str], sent: signal.Signals, code: int
) -> None:
    slow = script(f'[ "$1" = --version ] && {{ {version("9.0.0")}; exit; }}; exec sleep 20')
    start = subprocess.Popen(
        command("start", "--mongod", slow), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with start:
        while start.poll() is None and not local.running(home):
            time.sleep(0.01)
        start.send_signal(sent)
        _, stderr = start.communicate(timeout=20)
    assert start.returncode == code
    assert b"Traceback" not in stderr
    assert local.running(home) is None


def test_a_missing_library_is_one_sentence(home: local.Home, script: Callable[..., str]) -> None:
    result = run("start", "--mongod", script(LOADER.format("libcurl.so.4")))
    assert result.code == 1
    assert result.stderr.count("\n") == 2
    assert "package libcurl4 on Debian and Ubuntu, libcurl on Fedora" in result.stderr
    assert not home.data.exists()


def test_no_place_for_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Root may write everywhere, so a file stands where the directory should be.
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        monkeypatch.setenv(local.VARIABLE, str(place))
        result = run("start")
        assert result.code == 1
        assert f"error: cannot keep a local server in {place}:" in result.stderr
        assert f"hint: choose a directory of yours with {local.VARIABLE}" in result.stderr
        assert "Traceback" not in result.stderr


def test_a_directory_of_somebody_else_is_not_touched(home: local.Home) -> None:
    home.data.mkdir(parents=True)
    precious = home.data / "thesis.txt"
    precious.write_text("years of work")
    for arguments in (("start",), ("reset", "--yes")):
        result = run(*arguments)
        assert result.code == 2
        assert "holds something else than a mongod's data" in result.stderr
    assert list(home.data.iterdir()) == [precious]


async def test_the_clean_end_by_command(home: local.Home) -> None:
    """How it ends on Windows, where there is no SIGTERM."""
    from pymongo import AsyncMongoClient

    status = started()
    write(status["uri"])
    state = local.running(home)
    assert state is not None
    async with AsyncMongoClient[dict[str, Any]](state.direct_uri) as client:
        await local.shutdown(client["admin"])  # type: ignore[arg-type]  # any database of the server
    assert await local._gone(state, 10)
    assert '"exitCode":0' in home.log.read_text()  # a clean end
    assert count(started()["uri"]) == 1
