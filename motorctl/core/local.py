"""The one local server of this user: its directory, its state, its lock and its life.

Owns `MOTORCTL_LOCAL_DIR` (else `local` in the platform's data directory of motorctl):

    data/         what mongod keeps, and what `reset` deletes
    mongod.log    this run's log; mongod.log.1 is the run's before
    state.json    port, process and binary; kept after `stop`, because the data remembers its port
    lock          held while a server is started, stopped or deleted; never deleted itself

Never signals a process that it can't recognise as its own, never deletes a directory that isn't a
mongod's. Importing it costs no driver: `running_uri` is asked by every command without `--uri`.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import time
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from motorctl.core.mongod import (
    HOST,
    REPLICA_SET,
    Mongod,
    PortTakenError,
    find_mongod,
    mongod_arguments,
    port_problem,
    process_identity,
    spawn,
    wait_listening,
)
from motorctl.errors import ConfigurationError, MotorctlError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterator

    from motorctl.client import Database

__all__ = ["Mongod", "find_mongod", "mongod_arguments"]

VARIABLE = "MOTORCTL_LOCAL_DIR"
FIRST_PORT = 27117
"""Not 27017: that is where a server meant for real data lives, and a toy must not be taken for it."""
PORTS = range(FIRST_PORT, FIRST_PORT + 100)
"""Below the ports that systems hand out to clients, so that a stopped server finds its own free again."""


class Home:
    """Where the local server lives."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = path / "data"
        self.log = path / "mongod.log"
        self.old_log = path / "mongod.log.1"
        self.state = path / "state.json"
        self.lock = path / "lock"


@dataclass(frozen=True)
class State:
    """What `state.json` holds. `pid` and `process` (see `process_identity`) are None when it is stopped."""

    port: int
    version: str
    binary: str
    pid: int | None = None
    process: str | None = None
    started_at: str | None = None

    @property
    def uri(self) -> str:
        return f"mongodb://{HOST}:{self.port}/?replicaSet={REPLICA_SET}"

    @property
    def direct_uri(self) -> str:
        """To this very process, whether or not it is a replica set yet."""
        return f"mongodb://{HOST}:{self.port}/?directConnection=true"


def home() -> Home:
    """Return where the local server lives; raise ConfigurationError when this user has no place for it."""
    if chosen := os.environ.get(VARIABLE):
        return Home(Path(chosen).expanduser().absolute())
    from platformdirs import user_data_dir

    try:
        path = Path(user_data_dir("motorctl", appauthor=False)) / "local"
    except RuntimeError:
        path = Path("~")
    if not path.is_absolute():  # a user without a home; some versions of platformdirs leave the "~" standing
        raise ConfigurationError(
            "this user has no home directory to keep a local server in", hint=f"set HOME or {VARIABLE}"
        )
    return Home(path)


def read_state(home: Home) -> State | None:
    """Return what is known of the server, or None: no state, or one that can't be read."""
    try:
        document = json.loads(home.state.read_bytes())
        state = State(**{field.name: document.get(field.name) for field in fields(State)})
        numbers = isinstance(state.port, int) and isinstance(state.pid, int | None)
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return state if numbers else None


def running(home: Home) -> State | None:
    """Return the state of the server if it runs.

    A state whose process is gone, or whose process id now belongs to somebody else, is not running.
    """
    state = read_state(home)
    if state is None or state.pid is None or state.process is None:
        return None
    return state if process_identity(state.pid) == state.process else None


def running_uri() -> str | None:
    """Return the running local server's connection string, or None. Never raises; well under 2 ms."""
    try:
        state = running(home())
    except (MotorctlError, OSError, RuntimeError, ValueError):
        return None
    return state.uri if state else None


def status(home: Home) -> dict[str, Any]:
    """Return what there is: `size_bytes` of the data, `port` also of a stopped server that has one."""
    known, state = read_state(home), running(home)
    return {
        "running": state is not None,
        "uri": state.uri if state else None,
        "pid": state.pid if state else None,
        "port": known.port if known else None,
        "version": known.version if known else None,
        "binary": known.binary if known else None,
        "data_dir": str(home.data),
        "log": str(home.log),
        "started_at": state.started_at if state else None,
        "size_bytes": _size(home.data),
    }


@asynccontextmanager
async def lock(home: Home, seconds: float = 90) -> AsyncIterator[None]:
    """Hold the local server for oneself: one start, stop or reset at a time, of all processes.

    Waits up to `seconds` for another one to end, without blocking the event loop (Ctrl-C works).
    """
    from filelock import FileLock, Timeout

    deadline = time.monotonic() + seconds
    held = FileLock(home.lock)
    with _writing(home):
        home.path.mkdir(parents=True, exist_ok=True, mode=0o700)
    while True:
        with _writing(home), suppress(Timeout):
            held.acquire(blocking=False)
        if held.is_locked:
            break
        if time.monotonic() > deadline:
            raise MotorctlError(
                "another motorctl is still starting or stopping the local server",
                hint="try again when it is done",
            )
        await asyncio.sleep(0.02)
    try:
        yield
    finally:
        held.release()


def choose_port(known: State | None, requested: int | None = None, refused: Collection[int] = ()) -> int:
    """Return a port that is free now: the one requested, else the one the data remembers, else another.

    PortTakenError when the requested one is not free; `refused` are ports not to try again.
    """
    if requested is not None:
        if reason := port_problem(requested):
            raise PortTakenError(
                f"port {requested} cannot be used: {reason}",
                hint="choose another one, or leave --port out",
                port=requested,
            )
        return requested
    remembered = (known.port,) if known else ()
    for port in chain(remembered, PORTS):
        if port not in refused and port_problem(port) is None:
            return port
    raise PortTakenError(
        f"ports {PORTS[0]} to {PORTS[-1]} are all taken", hint="choose another one with --port"
    )


async def launch(home: Home, mongod: Mongod, requested: int | None = None) -> State:
    """Start mongod and wait until it listens (0.2 s); it outlives this process. Call it under `lock`.

    The replica set is not looked after: `initiate` follows. When this is cancelled or fails, no process
    stays behind.
    """
    _check_ours(home.data)
    with _writing(home):
        home.data.mkdir(exist_ok=True, mode=0o700)
        if home.log.exists():
            home.log.replace(home.old_log)
        refused: set[int] = set()
        while True:
            port = choose_port(read_state(home), requested, refused)
            try:
                return await _launch(home, mongod, port)
            except PortTakenError:  # by somebody who was quicker
                if requested is not None or len(refused) > 5:
                    raise
                refused.add(port)


async def initiate(db: Database, port: int) -> Literal["initiated", "reconfigured", "unchanged"]:
    """Make the server behind a direct connection the one member of `rs0`, reached at `port`.

    The data remembers under which port it was a member; with another one it would wait for ever for a
    majority of itself, so the configuration is forced to the new port (1 s, nothing is lost). A client
    opened before `initiated` believes that there are no sessions: don't work with it afterwards.
    """
    host = f"{HOST}:{port}"
    config = await db.client["local"]["system.replset"].find_one()
    if config is None:
        members = [{"_id": 0, "host": host}]
        await db.client["admin"].command("replSetInitiate", {"_id": REPLICA_SET, "members": members})
        return "initiated"
    if [member["host"] for member in config["members"]] == [host]:
        return "unchanged"
    config |= {"version": config["version"] + 1, "members": [{**config["members"][0], "host": host}]}
    await _reconfigure(db, config)
    return "reconfigured"


async def wait_primary(db: Database, seconds: float = 60) -> None:
    """Wait until the server behind a direct connection takes writes; MotorctlError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (await db.client["admin"].command("hello")).get("isWritablePrimary"):
        if time.monotonic() > deadline:
            raise MotorctlError(f"the local server takes no writes after {seconds:.0f} s")
        await asyncio.sleep(0.01)


async def shutdown(db: Database) -> None:
    """Ask the server itself to end cleanly: the only clean way on Windows, where no SIGTERM is."""
    from pymongo.errors import ConnectionFailure

    # The answer is a closed connection.
    with suppress(ConnectionFailure):
        await db.client["admin"].command("shutdown", force=True)


async def terminate(home: Home, state: State, seconds: float = 60) -> None:
    """End the server cleanly and wait until it is gone (1 s). Call it under `lock`.

    On Windows the caller has sent `shutdown` before; this then only waits. MotorctlError when the
    process isn't gone after `seconds` or belongs to another user.
    """
    if state.pid is None:
        return
    if sys.platform != "win32":
        try:
            os.kill(state.pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
        except PermissionError as error:
            raise MotorctlError(f"process {state.pid} belongs to another user") from error
    if not await _gone(state, seconds):
        raise MotorctlError(
            f"mongod (process {state.pid}) has not ended after {seconds:.0f} s", hint=f"its log is {home.log}"
        )
    with _writing(home):
        _write_state(home, replace(state, pid=None, process=None, started_at=None))


async def kill(state: State) -> None:
    """End the server at once, as a power cut would: what was acknowledged with a majority is kept."""
    if state.pid is None or process_identity(state.pid) != state.process:
        return
    with suppress(ProcessLookupError):
        # Windows has no SIGKILL: os.kill calls TerminateProcess for a SIGTERM.
        os.kill(state.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    await _gone(state, 10)


def reset(home: Home) -> None:
    """Delete the data, logs and state of a stopped server. Call it under `lock`.

    ConfigurationError when the data directory holds something else than a mongod's data.
    """
    _check_ours(home.data)
    with _writing(home):
        if home.data.exists():
            shutil.rmtree(home.data)
        for path in (home.log, home.old_log, home.state):
            path.unlink(missing_ok=True)


async def _reconfigure(db: Database, config: dict[str, Any], seconds: float = 60) -> None:
    """Force a configuration on a server that may still be looking at its old one.

    It listens before it knows its configuration, and asks at the old address whether that is itself: a
    stranger there who accepts and says nothing keeps it waiting for 30 s.
    """
    from pymongo.errors import OperationFailure

    not_yet_initialized, in_progress = 94, 109
    deadline = time.monotonic() + seconds
    while True:
        try:
            await db.client["admin"].command("replSetReconfig", config, force=True)
        except OperationFailure as error:
            if error.code not in (not_yet_initialized, in_progress) or time.monotonic() > deadline:
                raise
        else:
            return
        await asyncio.sleep(0.02)


async def _launch(home: Home, mongod: Mongod, port: int) -> State:
    offset = home.log.stat().st_size if home.log.exists() else 0
    process = spawn(mongod_arguments(mongod.path, home.data, port, home.log), home.log)
    try:
        # Before it listens, so that a server whose motorctl was killed meanwhile is found again.
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        identity = process_identity(process.pid)
        state = State(port, mongod.version, str(mongod.path), process.pid, identity, now)
        _write_state(home, state)
        await wait_listening(process, home.log, offset=offset)
    except BaseException as error:
        if process.poll() is None:
            process.kill()
            process.wait()
        if isinstance(error, MotorctlError) and "DBPathInUse" in error.message:
            raise _in_use(home) from error
        raise
    # It outlives this process on purpose; Popen's finaliser would warn that it still runs.
    process.returncode = 0
    return state


def _in_use(home: Home) -> MotorctlError:
    """Say who holds the data: a mongod that no state tells of writes its process id into its lock file."""
    with suppress(OSError, ValueError):
        pid = int((home.data / "mongod.lock").read_text(encoding="ascii"))
        return MotorctlError(
            f"a mongod that is not in {home.state.name} (process {pid}) runs on {home.data}",
            hint=f"end it with `{'taskkill /F /PID' if sys.platform == 'win32' else 'kill'} {pid}`, then start again",
            pid=pid,
        )
    return MotorctlError(f"another mongod runs on {home.data}", hint="end it, then start again")


async def _gone(state: State, seconds: float) -> bool:
    assert state.pid is not None
    deadline = time.monotonic() + seconds
    while process_identity(state.pid) == state.process:
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.01)
    if sys.platform != "win32":
        # If this process started it (the tour does), it is the one to bury it.
        with suppress(ChildProcessError):
            os.waitpid(state.pid, os.WNOHANG)  # noqa: ASYNC222 - it does not wait
    return True


def _write_state(home: Home, state: State) -> None:
    draft = home.state.with_suffix(".new")
    draft.write_text(json.dumps(asdict(state), indent=2) + "\n", encoding="utf-8")
    draft.replace(home.state)  # whole or not at all: readers take no lock


def _check_ours(data: Path) -> None:
    """Raise ConfigurationError unless a directory is a mongod's, empty or absent."""
    try:
        names = {path.name for path in data.iterdir()}
    except (FileNotFoundError, PermissionError):  # the latter is for `_writing` to say
        return
    except NotADirectoryError:
        names = {data.name}
    if names and not names & {"WiredTiger", "mongod.lock", "storage.bson"}:
        raise ConfigurationError(
            f"{data} holds something else than a mongod's data",
            hint=f"nothing was changed; choose another place with {VARIABLE}",
        )


def _size(data: Path) -> int:
    total = 0
    for folder, _, names in os.walk(data):
        for name in names:
            with suppress(OSError):  # files come and go under a running server
                total += (Path(folder) / name).stat().st_size
    return total


@contextmanager
def _writing(home: Home) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise MotorctlError(
            f"cannot keep a local server in {home.path}: {(error.strerror or str(error)).lower()}",
            hint=f"choose a directory of yours with {VARIABLE}",
        ) from error
