"""An answer that stays out: who waits for one doesn't wait for ever, and no work of the server's is cut short.

Owns when a command that waits is given up, and by which question that is found out. A report, an index build or a
wait for a write concern may take hours, so no time-out of the socket tells the living from the dead: it would end
the long work, and have the driver ask for it once more. Instead the server is asked, on a connection of its own,
whether it is at work for our session yet (`$currentOp`; every user sees their own operations).

- Asked after a quarter of `--timeout`, and no answer to that question in the rest of it: the server, or the way to
  it, is gone.
- It is not at work for us, `ANSWER_SECONDS` long: the request or its answer was lost on the way.

Then the connection is cut, and all else is the driver's: the error of a lost connection, one repetition of what it
may repeat, for which it looks for a server again. So a command ends within two times `--timeout` and one second after
a server fell silent; should one answer then, and fall silent again, likewise from there on. It knows, too, whether
anything was sent that changes data. Translates no error, and never says what became of a write.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import pymongo
from pymongo.errors import OperationFailure, PyMongoError
from pymongo.monitoring import CommandListener
from pymongo.read_preferences import Nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pymongo.monitoring import CommandFailedEvent, CommandStartedEvent, CommandSucceededEvent

    from motorctl.diagnostics import Diagnostics

Address: TypeAlias = "tuple[str, int | None]"
Opener: TypeAlias = "Callable[..., pymongo.MongoClient[dict[str, Any]]]"
"""Opens a client to the same servers, with some options more."""

ANSWER_SECONDS = 60.0
"""How long an answer may be on its way when the server has finished: 48 MB, the largest message, at 6.4 Mbit/s.
A client's `socketTimeoutMS` is a harder limit, and the user's own."""

CHANGES_NOTHING = frozenset(
    """abortTransaction aggregate buildInfo collStats connectionStatus count currentOp dbStats distinct endSessions
    explain find getCmdLineOpts getLog getMore getParameter hello hostInfo killCursors killSessions listCollections
    listDatabases listIndexes ping planCacheStats replSetGetStatus rolesInfo serverStatus top usersInfo""".split()
)
"""Commands that change no data and no setting, but for a pipeline's last stage. What isn't here may."""


@dataclass
class _Waiting:
    """A command that was sent, and not answered yet."""

    name: str
    address: Address
    session: bytes | None
    """The id of its session: what the server knows it by."""
    changes: str | None
    """Of a command that may change something, and that nobody else accounts for: where."""
    since: float = field(default_factory=time.monotonic)
    finished_since: float | None = None
    """When it was first seen that the server is not, or no longer, at work at it."""
    given_up: bool = False
    """Its connection was cut: the driver notices that within half a second."""


class Watch(CommandListener):
    """Watches the commands of one client, from `start` to `stop`, in a thread that nobody waits for.

    `seconds` is how long it may give no sign of life: a quarter of that it may take for a command, and is asked then.
    """

    def __init__(self, seconds: float, diagnostics: Diagnostics) -> None:
        self._seconds = seconds
        self._diagnostics = diagnostics
        self._waiting: dict[int, _Waiting] = {}
        self._over = threading.Event()
        self.wrote = False
        """Whether a command was sent that may have changed something."""

    def started(self, event: CommandStartedEvent) -> None:
        writes = _may_write(event.command_name, event.command)
        self.wrote = self.wrote or writes
        # The driver empties the body of an authentication command; such a command has no session.
        session = event.command.get("lsid", {}).get("id")
        self._waiting[event.request_id] = _Waiting(
            event.command_name,
            event.connection_id,
            None if session is None else bytes(session),
            _namespace(event) if writes and not _accounted_for(event) else None,
        )

    def succeeded(self, event: CommandSucceededEvent) -> None:
        self._waiting.pop(event.request_id, None)

    def failed(self, event: CommandFailedEvent) -> None:
        self._waiting.pop(event.request_id, None)

    def unanswered(self) -> list[str]:
        """Return the commands on their way that may change something, and where: `insert in shop.users`."""
        return [f"{one.name} in {one.changes}" for one in tuple(self._waiting.values()) if one.changes]

    def start(self, client: Any, opener: Opener) -> None:
        """Begin to watch a client, Motor's or PyMongo's own; `opener` makes the clients that ask."""
        # A thread, not a task: a blocked event loop is no silence of the server, nor is a busy pool of threads.
        threading.Thread(
            target=self._run, args=(client, opener), name="motorctl-silence", daemon=True
        ).start()

    def stop(self) -> None:
        """End the watch; nobody waits for a question that is under way."""
        self._over.set()

    def _run(self, client: Any, opener: Opener) -> None:
        patience = self._seconds / 4
        pause = look = min(0.4, self._seconds / 8)
        while not self._over.wait(pause):
            begun = time.monotonic()
            overdue = [
                one
                for one in tuple(self._waiting.values())
                if begun - one.since >= patience and not one.given_up
            ]
            # Each question is a connection of its own: of work that takes long not many a second.
            pause = min(1.0, patience) if overdue else look
            for address in {one.address for one in overdue}:
                some = [one for one in overdue if one.address == address]
                lost = self._lost(some, address, opener)
                if lost is not None and not self._over.is_set():
                    for one in some:
                        one.given_up = True
                    self._diagnostics.warning(f"{lost}: the connection is given up")
                    _interrupt(client, address)

    def _lost(self, overdue: list[_Waiting], address: Address, opener: Opener) -> str | None:
        """Ask the server; return why its connections are to be given up, or None while there is hope."""
        oldest = min(overdue, key=lambda one: one.since)
        try:
            busy = self._sessions_at_work(address, opener)
        except OperationFailure as error:
            if not error.timeout:
                return None  # it answers, and doesn't tell: shared clusters have no $currentOp
            busy = None
        except PyMongoError:
            busy = None
        now = time.monotonic()
        if busy is None:
            if not self._still(overdue):
                return None
            return f"no answer to {oldest.name} for {now - oldest.since:.1f} s, nor to a question on another connection"
        for one in overdue:
            if one.session is None or one.session in busy:
                one.finished_since = None
            elif one.finished_since is None:
                one.finished_since = now
            elif now - one.finished_since >= ANSWER_SECONDS and self._still([one]):
                return f"no answer to {one.name} for {now - one.since:.1f} s, and the server is not at work at it"
        return None

    def _still(self, some: list[_Waiting]) -> bool:
        """Tell whether one of them waits yet: answers come while the server is asked."""
        waiting = set(map(id, tuple(self._waiting.values())))
        return any(id(one) in waiting for one in some)

    def _sessions_at_work(self, address: Address, opener: Opener) -> set[bytes]:
        """Ask one server for the sessions of this user's that it works for. Raises the driver's errors."""
        seconds = self._seconds * 3 / 4
        limit = max(1, round(seconds * 1000))
        with (
            # Around the client: its good-bye may meet the same silence.
            pymongo.timeout(seconds),
            opener(
                server_selector=lambda servers: [one for one in servers if one.address == address],
                serverSelectionTimeoutMS=limit,
                connectTimeoutMS=limit,
                socketTimeoutMS=limit,
                minPoolSize=0,
            ) as client,
        ):
            running = client.get_database("admin", read_preference=Nearest()).aggregate(
                [
                    {"$currentOp": {"allUsers": False, "idleSessions": False, "idleConnections": False}},
                    {"$match": {"active": True, "lsid.id": {"$exists": True}}},
                    {"$project": {"_id": 0, "session": "$lsid.id"}},
                ]
            )
            return {bytes(one["session"]) for one in running}


def _may_write(name: str, command: Mapping[str, Any]) -> bool:
    """Tell whether a command may change something, by its name, and by a pipeline's last stage."""
    if name == "profile":
        return command.get(name) != -1
    stages = command.get("pipeline") or [{}]
    return name not in CHANGES_NOTHING or not {"$out", "$merge"}.isdisjoint(stages[-1])


def _namespace(event: CommandStartedEvent) -> str:
    target = event.command.get(event.command_name)
    return f"{event.database_name}.{target}" if isinstance(target, str) else event.database_name


def _accounted_for(event: CommandStartedEvent) -> bool:
    """Tell whether somebody else says what became of it: a transaction, or a run that keeps books of its own."""
    notes = str(event.command.get(event.command_name)).startswith("motorctl_")
    return "autocommit" in event.command or (notes and event.command_name != "delete")


def _interrupt(client: Any, address: Address) -> None:
    """Let each command that waits for this server fail, as if its connection had been closed.

    It is what the driver's own monitor does when its time is over (mongodb/specifications,
    connection-monitoring-and-pooling.md, "Clearing a non-load balanced pool", `interruptInUseConnections`), without
    a word of it in the public API.
    """
    plain = client.delegate if "delegate" in vars(client) else client
    server = plain._topology.get_server_by_address(address)  # noqa: SLF001 - the driver has no public way to one server's pool
    if server is not None:
        for context in tuple(server.pool.active_contexts):
            context.cancel()
