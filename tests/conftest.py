"""A real mongod for the whole session, a database for each test, and two ways to run the program.

The server is the one at MOTORCTL_TEST_URI, else one started here from the binary that `motorctl local`
would find. Without either the tests fail with a sentence: they are never skipped.
"""

from __future__ import annotations

import ctypes
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
import warnings
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import hypothesis
import old_servers
import pymongo
import pytest
from pymongo.errors import PyMongoError

from motorctl import cli as program
from motorctl.core import driver, mongod
from motorctl.errors import MotorctlError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from motorctl.client import Database

# Whoever starts the tests in the background (a shell, nohup) has them ignore Ctrl-C or a hang-up, and every
# process that they start with them.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# The driver's move, tried beforehand: PyMongo's own async client under Motor's name, here and in each process of the
# program. So nothing in this module may import Motor before this.
PYMONGO = os.environ.get("MOTORCTL_TEST_DRIVER") == "pymongo"
if PYMONGO:
    _stand_in = str(Path(__file__).parent / "pymongo_async")
    sys.path.insert(0, _stand_in)
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [_stand_in, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    ).strip(os.pathsep)

# A property holds or it doesn't; how long an example takes on a busy machine is not a property.
hypothesis.settings.register_profile("motorctl", deadline=None)
hypothesis.settings.load_profile("motorctl")

TEST_PARAMETERS = (
    "--journalCommitInterval",
    "5",
    "--setParameter",
    "enableTestCommands=1",
    "--setParameter",
    "ttlMonitorSleepSecs=1",
)


def pytest_configure(config: pytest.Config) -> None:
    if PYMONGO:
        # PyMongo leaves the socket of a connection that is given up while it is being opened (a monitor, at the end
        # of its client) to the garbage collector. What the program itself leaves open, a run with Motor says.
        config.addinivalue_line("filterwarnings", "ignore:unclosed <socket:ResourceWarning")
        warnings.filterwarnings("ignore", "unclosed <socket", ResourceWarning)  # for after the last test
    if config.option.server and not hasattr(config, "workerinput"):
        _start_servers(config)


def _start_servers(config: pytest.Config) -> None:
    """Start the servers that `--server` asks for: the test modules find them where somebody's own would be named."""
    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args[:] = [str(config.rootpath / name) for name in old_servers.EVERYWHERE]
    servers = ExitStack()
    config.add_cleanup(servers.close)
    uris = servers.enter_context(old_servers.started(config.option.server))
    named = os.environ.get("MOTORCTL_TEST_SERVERS", "").split()
    os.environ["MOTORCTL_TEST_SERVERS"] = " ".join([*named, *uris])


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--failover",
        type=int,
        metavar="TRANSFERS",
        help="how many transfers tests/test_transfer_failover.py makes while members are killed (5000, say)",
    )
    parser.addoption(
        "--start-order",
        type=float,
        metavar="SECONDS",
        help="how late the server comes up in tests/test_start_order.py (20, say)",
    )
    parser.addoption(
        "--faults",
        action="store_true",
        help="each command by each fault: at each message in tests/test_network_faults.py (half an hour), in each "
        "form in tests/test_process_faults.py and tests/test_secrets.py",
    )
    parser.addoption(
        "--server",
        action="append",
        choices=old_servers.WHEELS,
        metavar="VERSION",
        help="run the tests that hold on every server against this one, too: 4.4, 5.0 or 6.0; may be given again",
    )
    parser.addoption(
        "--thorough",
        type=int,
        metavar="N",
        help="N times the examples of tests/test_money_model.py and the rounds of tests/test_transfer_history.py, "
        "and every road of a password in tests/test_secrets.py",
    )


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Run as many tests at once as there are cores, each process on a server of its own; a named server is one."""
    named = {"MOTORCTL_TEST_URI", "MOTORCTL_TEST_SERVERS"} & os.environ.keys()
    return 0 if named or config.option.server else min(os.cpu_count() or 1, 4)


class Server:
    """A mongod that dies with the tests, whatever happens to them."""

    def __init__(self, home: Path, *extra: str, replica_set: bool = True) -> None:
        self.port = free_port()
        home.mkdir(parents=True, exist_ok=True)
        data = home / "data"
        data.mkdir()
        binary = mongod.find_mongod()
        arguments = mongod.mongod_arguments(binary.path, data, self.port, home / "mongod.log")
        if not replica_set:
            at = arguments.index("--replSet")
            del arguments[at : at + 2]
        self.process = subprocess.Popen(
            [*arguments, *TEST_PARAMETERS, *extra],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - before any thread
        )
        suffix = "?replicaSet=rs0" if replica_set else "?directConnection=true"
        self.host = f"127.0.0.1:{self.port}"
        self.uri = f"mongodb://{self.host}/{suffix}"

    def initiate(self, **options: Any) -> None:
        """Make it a one-member replica set with a primary."""
        until(lambda: _listening(self.port), "mongod listens")
        with pymongo.MongoClient[dict[str, Any]](
            f"mongodb://{self.host}/?directConnection=true", **options
        ) as client:
            client.admin.command(
                "replSetInitiate", {"_id": "rs0", "members": [{"_id": 0, "host": self.host}]}
            )
            until(lambda: client.admin.command("hello")["isWritablePrimary"], "a primary")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@dataclass(frozen=True)
class Result:
    """What a user sees of one run."""

    code: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        return json.loads(self.stdout)

    def error(self) -> dict[str, Any]:
        """Return the error of a run with `-o json`."""
        found: dict[str, Any] = json.loads(self.stderr.splitlines()[-1])["error"]
        return found


class Runner(Protocol):
    def __call__(
        self,
        *arguments: str,
        stdin: bytes | str = b"",
        tty: bool = False,
        columns: int = 80,
        env: dict[str, str] | None = None,
        connected: bool = True,
    ) -> Result: ...


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the developer's own settings, servers and terminal out of every test."""
    for name in list(os.environ):
        if name.startswith(("MOTORCTL_", "MONGODB_")) and name != "MOTORCTL_TEST_URI":
            monkeypatch.delenv(name)
    for name in ("NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg-config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg-state"))
    monkeypatch.setenv("MOTORCTL_LOCAL_DIR", str(tmp_path / "local"))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")


@pytest.fixture(scope="session")
def server_uri() -> Iterator[str]:
    """The URI of a real replica set with test commands."""
    if given := os.environ.get("MOTORCTL_TEST_URI"):
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="motorctl-tests-") as home:
        try:
            server = Server(Path(home))
        except MotorctlError as error:
            pytest.exit(
                f"the tests need a real mongod: {error}. {error.hint or ''} Or name a server: MOTORCTL_TEST_URI=...",
                returncode=1,
            )
        try:
            server.initiate()
            yield server.uri
        finally:
            server.kill()


@pytest.fixture
def dbname(server_uri: str) -> Iterator[str]:
    """A database of this test's own. It stays until the server goes: dropping costs more than room."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    yield name
    if "MOTORCTL_TEST_URI" in os.environ:
        with pymongo.MongoClient[dict[str, Any]](server_uri) as client:
            client.drop_database(name)


@pytest.fixture
async def db(server_uri: str, dbname: str) -> AsyncIterator[Database]:
    """The test's database as core gets it: through Motor."""
    from motor.motor_asyncio import AsyncIOMotorClient

    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(server_uri, tz_aware=True)
    yield client.get_database(dbname)
    await driver.close(client)


@pytest.fixture
def sync_db(server_uri: str, dbname: str) -> Iterator[pymongo.database.Database[dict[str, Any]]]:
    """The same database for synchronous tests, to set up and to look at what a command did."""
    with pymongo.MongoClient[dict[str, Any]](server_uri, tz_aware=True) as client:
        yield client[dbname]


@pytest.fixture
def cli(server_uri: str, dbname: str, monkeypatch: pytest.MonkeyPatch) -> Runner:
    """Run the program in this process: arguments in; stdout, stderr and exit code out.

    It finds the test's server and database in its environment, unless `connected` is false. `tty`
    makes all three streams terminals of `columns` width.
    """

    def run(
        *arguments: str,
        stdin: bytes | str = b"",
        tty: bool = False,
        columns: int = 80,
        env: dict[str, str] | None = None,
        connected: bool = True,
    ) -> Result:
        streams = _Stream(_bytes(stdin), tty=tty), _Stream(tty=tty), _Stream(tty=tty)
        target = {"MOTORCTL_URI": server_uri, "MOTORCTL_DB": dbname} if connected else {}
        with monkeypatch.context() as patch:
            for name, stream in zip(("stdin", "stdout", "stderr"), streams, strict=True):
                patch.setattr(sys, name, stream)
            for name, value in {**target, "COLUMNS": str(columns), **(env or {})}.items():
                patch.setenv(name, value)
            code = program.main(list(arguments))
        return Result(code, streams[1].text(), streams[2].text())

    return run


@pytest.fixture
def motorctl(server_uri: str, dbname: str) -> Runner:
    """Run the program as a process of its own, on pipes."""

    def run(
        *arguments: str,
        stdin: bytes | str = b"",
        tty: bool = False,
        columns: int = 80,
        env: dict[str, str] | None = None,
        connected: bool = True,
    ) -> Result:
        assert not tty, "a process on a terminal needs a pseudo-terminal of its own"
        target = {"MOTORCTL_URI": server_uri, "MOTORCTL_DB": dbname} if connected else {}
        done = subprocess.run(
            command(*arguments),
            input=_bytes(stdin),
            capture_output=True,
            env={**os.environ, **target, "COLUMNS": str(columns), **(env or {})},
            timeout=60,
            check=False,
        )
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


def command(*arguments: str) -> list[str]:
    """Return the program's command line for a process of its own."""
    return [sys.executable, "-m", "motorctl", *arguments]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def until(condition: Any, what: str, seconds: float = 30) -> None:
    """Wait for a condition; a test fails with its name, not with a hang."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except (OSError, PyMongoError):
            pass
        time.sleep(0.02)
    pytest.fail(f"not within {seconds:g} s: {what}")


class _Stream(io.TextIOWrapper):
    """A standard stream that may claim to be a terminal."""

    def __init__(self, content: bytes = b"", *, tty: bool) -> None:
        super().__init__(io.BytesIO(content), encoding="utf-8", errors="backslashreplace", newline="\n")
        self._tty = tty

    def isatty(self) -> bool:
        return self._tty

    def text(self) -> str:
        self.flush()
        buffer = self.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue().decode()


def _bytes(text: bytes | str) -> bytes:
    return text.encode() if isinstance(text, str) else text


def _listening(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=0.2):
        return True


def _die_with_parent() -> None:
    """PR_SET_PDEATHSIG: the kernel ends the server when the tests end, even by SIGKILL."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
