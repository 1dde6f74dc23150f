"""The ONLY module that imports motor: one client a process.

Owns how a connection is made, waited for and closed, and command monitoring; what a driver's error
means, `driver_errors` says. When Motor goes (critical fixes end in May 2027), PyMongo's
`AsyncMongoClient` takes its place here, and nowhere else.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
import warnings
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import pymongo
from bson.errors import BSONError

# Motor sends each command from a thread, and has five for each core: too few to hide a slow network.
os.environ.setdefault("MOTOR_MAX_WORKERS", "32")

from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection, AsyncIOMotorDatabase
from pymongo import errors as driver
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent
from pymongo.server_api import ServerApi

from motorctl import certificate_files, errors
from motorctl.core import privileges
from motorctl.core.driver import UNAUTHORIZED, close
from motorctl.driver_errors import CERTIFICATE_HINT, credentials, first_sentence, is_drivers, translated
from motorctl.silence import Watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from motorctl.diagnostics import Diagnostics
    from motorctl.settings import Settings

Client: TypeAlias = AsyncIOMotorClient[dict[str, Any]]
Database: TypeAlias = AsyncIOMotorDatabase[dict[str, Any]]
Collection: TypeAlias = AsyncIOMotorCollection[dict[str, Any]]

# Dates are aware; one beyond Python's years comes as milliseconds instead of ending the command.
_VALUES: dict[str, Any] = {"tz_aware": True, "datetime_conversion": "DATETIME_AUTO"}

WAIT_INTERVAL = 0.5
"""Seconds between two looks at a server that `--wait` waits for."""

LOOK_SECONDS = 5.0
"""How long such a look may take, from connecting to its answer."""

ASK_SECONDS = 1.0
"""How long an error waits for what the user's privileges are: they make it more exact."""

CLOSE_SECONDS = 0.5
"""How long the end may take to say good-bye; sessions that nobody ends are forgotten by the server."""


@asynccontextmanager
async def connect(
    settings: Settings,
    diagnostics: Diagnostics,
    *,
    uri: str | None = None,
    direct: bool = False,
    ready: Callable[[Database], Awaitable[None]] | None = None,
) -> AsyncIterator[Database]:
    """Open the client of this process and yield its database; close it at the end.

    `uri` replaces the one in the settings; `direct` talks to that one host whatever replica set it
    is in. `ready` looks at the server before the block begins and raises UnreachableError while it
    is not as it should be; `--wait` repeats that look (without one: that a primary answers). Driver
    errors inside the block leave it as errors of ours.
    """
    found = settings.address()
    address = uri or str(found.value)
    # A profile's options are for the profile's server, not for the one on this machine.
    profile = {} if uri or found.source == "local server" else settings.driver_options
    name = settings.database().value
    options = _options(address, settings, diagnostics, profile=profile, direct=direct)
    watch = Watch(settings.timeout, diagnostics)
    client: Client | None = None
    try:
        if settings.wait:
            address = await _wait(
                lambda: uri or str(settings.address(again=True).value),
                name,
                options,
                settings.wait,
                diagnostics,
                ready or _answers,
            )
        listeners = [*options.get("event_listeners", []), watch]
        client = await _open(address, {**options, "event_listeners": listeners}, diagnostics)
        watch.start(client, _asking(address, options))
        db = client.get_database(name)
        if ready is not None and not settings.wait:
            await ready(db)
        yield db
    except (driver.PyMongoError, BSONError, OverflowError, ValueError) as error:
        # The last two are the encoder's: a number over 8 bytes, half of a surrogate pair (a UnicodeEncodeError).
        if isinstance(error, ValueError) and not is_drivers(error):
            raise
        forbidden = client is not None and getattr(error, "code", None) == UNAUTHORIZED
        granted = await _granted(client) if forbidden else None
        raise translated(error, client, settings.timeout, granted=granted, wrote=watch.wrote) from error
    except asyncio.CancelledError:
        for change in watch.unanswered():
            # It is on its way, and the server carries it out, whoever waits for the answer.
            diagnostics.warning(f"stopped before the answer to {change}: whether it was done is not known")
        raise
    finally:
        watch.stop()
        if client is not None:
            await _close(client)


def _asking(address: str, options: Mapping[str, Any]) -> Callable[..., pymongo.MongoClient[dict[str, Any]]]:
    """Return what opens a plain client to the same place: for `Watch`, which asks from a thread of its own."""
    given = {name: value for name, value in options.items() if name != "event_listeners"}

    def opened(**more: Any) -> pymongo.MongoClient[dict[str, Any]]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is to be said of the options has been said
            return pymongo.MongoClient(address, **{**given, **more})

    return opened


async def _granted(client: Client | None) -> list[Mapping[str, Any]] | None:
    """Ask what the user may do, of whom something was refused; None where that isn't told in good time."""
    if client is None:
        return None
    try:
        with pymongo.timeout(ASK_SECONDS):
            return await privileges.granted(client.get_database("admin"))
    except driver.PyMongoError:
        # It is the refusal that is to be told: less exactly then.
        return None


async def _answers(db: Database) -> None:
    """Ask the primary for a sign of life."""
    await db.client.admin.command("ping")


async def _wait(
    look_up: Callable[[], str],
    name: str,
    options: Mapping[str, Any],
    seconds: float,
    diagnostics: Diagnostics,
    ready: Callable[[Database], Awaitable[None]],
) -> str:
    """Look at the server again and again, until it is ready or `--wait` is over; return where it is.

    Each look is a client of its own, closed before the next: a client that was opened before
    replSetInitiate never learns that it may use sessions. What is not worth retrying ends it at once. So does a wrong
    password, but not a user whom the server doesn't have yet: where things start together, users are made last.
    """
    deadline = time.monotonic() + seconds
    known = told = False
    while True:
        left = max(0.1, deadline - time.monotonic())
        client: Client | None = None
        try:
            look = {
                **options,
                "serverSelectionTimeoutMS": round(min(left, 1.0) * 1000),
                # A server that has just come up may take a question and never answer it.
                "socketTimeoutMS": round(min(left, LOOK_SECONDS) * 1000),
            }
            address = look_up()
            client = await _open(address, look, diagnostics)
            await ready(client.get_database(name))
        except (driver.PyMongoError, errors.UnreachableError) as error:
            ours = error if isinstance(error, errors.MotorctlError) else translated(error, client, seconds)
            left = deadline - time.monotonic()
            if left > 0 and ours.exit_code is errors.ExitCode.UNAUTHORIZED and not known:
                known = client is None or await _is_known(client, address, look)
                if known:
                    continue  # the user may have been made between the two questions
                if not told:
                    diagnostics.warning(f"{ours.message}: there is no such user yet, who is waited for")
                    told = True
            elif left <= 0 or ours.exit_code is not errors.ExitCode.UNREACHABLE:
                raise ours from error
            else:
                diagnostics.note(f"waiting for the server: {ours.message}")
            await asyncio.sleep(min(WAIT_INTERVAL, left))
        else:
            return address
        finally:
            if client is not None:
                await _close(client)


async def _is_known(client: Client, address: str, options: Mapping[str, Any]) -> bool:
    """Tell whether the server has the user of a client that it didn't let in; also true for who has no password.

    It says so to anybody, beside the mechanisms that a client may choose from (mongodb/specifications, auth.md,
    "Mechanism negotiation").
    """
    who = credentials(client)
    if who is None or not (who.mechanism == "DEFAULT" or who.mechanism.startswith("SCRAM-")):
        return True
    place, _, query = re.sub("//[^/?]*@", "//", address, count=1).partition("?")
    others = "&".join(one for one in query.split("&") if not one.lower().startswith("auth"))
    mine = {name: value for name, value in options.items() if not name.lower().startswith("auth")}
    nobody: Client = AsyncIOMotorClient(f"{place}?{others}" if others else place, **_VALUES, **mine)
    try:
        with pymongo.timeout(LOOK_SECONDS):
            hello = await nobody.admin.command("hello", saslSupportedMechs=f"{who.source}.{who.username}")
    except driver.PyMongoError:
        return False  # the next look tells
    finally:
        await _close(nobody)
    return "saslSupportedMechs" in hello


async def _close(client: Client) -> None:
    """Close a client. It tells the server of its sessions, and would wait long for one that answers no more."""
    with pymongo.timeout(CLOSE_SECONDS):
        await close(client)


def _options(
    address: str, settings: Settings, diagnostics: Diagnostics, *, profile: Mapping[str, Any], direct: bool
) -> dict[str, Any]:
    """Collect the client's options. Precedence: URI, then profile, then what we set; a typed --timeout first."""
    timeout = max(1, round(settings.timeout * 1000))
    ours = {
        "appname": "motorctl",
        "connectTimeoutMS": min(20_000, timeout),
        "serverSelectionTimeoutMS": timeout,
    }
    ours = {
        key: value for key, value in ours.items() if key.lower() not in {name.lower() for name in profile}
    }
    in_uri = {key.lower() for key in re.findall(r"[?&]([^=&]+)=", address)}
    options = {key: value for key, value in {**ours, **profile}.items() if key.lower() not in in_uri}
    if settings.values["timeout"].source != "default":
        options = {key: value for key, value in options.items() if key.lower() != "serverselectiontimeoutms"}
        options["serverSelectionTimeoutMS"] = timeout
    if direct:
        options["directConnection"] = True
    if settings["stable_api"]:
        options["server_api"] = ServerApi("1", strict=False, deprecation_errors=False)
    if settings.slow_ms is not None:
        options["event_listeners"] = [SlowCommands(settings.slow_ms, diagnostics)]
    return options


async def _open(address: str, options: Mapping[str, Any], diagnostics: Diagnostics) -> Client:
    """Make the client, or raise ConfigurationError for what is wrong with its options."""
    _check_escapes(address)
    certificate_files.check(address, options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            client: Client = AsyncIOMotorClient(address, **_VALUES, **options)
        except driver.ConfigurationError as error:
            if "Private key doesn't match" not in str(error):
                raise
            raise certificate_files.mismatch(address, options, str(error)) from error
        except driver.PyMongoError:
            raise
        except (ValueError, TypeError) as error:
            raise errors.ConfigurationError(
                f"the connection string is not valid: {first_sentence(error)}",
                hint="write it like mongodb://db.example.com:27017/shop?replicaSet=rs0",
            ) from error
        except OSError as error:
            # A certificate's file; ssl.SSLError, for one that is no certificate, is an OSError too.
            place = f"{error.filename}: " if error.filename else ""
            raise errors.ConfigurationError(
                f"TLS: {place}{error.strerror or error}", hint=CERTIFICATE_HINT
            ) from error
    try:
        for warning in caught:
            _report_option(warning.category, str(warning.message), diagnostics)
    except errors.ConfigurationError:
        await _close(client)
        raise
    return client


def _check_escapes(address: str) -> None:
    """Refuse a password with a bare / ? or # before the driver takes what follows for a host's name.

    The driver would look for that host, and parts of the password would stand in its messages. An @
    among the options is fine.
    """
    before_options = re.split(r"[?&]\w+=", address.partition("://")[2])[0]
    userinfo, at, _host = before_options.rpartition("@")
    if at and re.search(r"[/?#@]", userinfo):
        raise driver.InvalidURI("user and password must be escaped")


def _report_option(category: type[Warning], message: str, diagnostics: Diagnostics) -> None:
    """PyMongo warns of URI options that it then ignores. A wrong value is an error to us, a name is not."""
    if unknown := re.match(r"Unknown option: (\w*)\.?(?: Did you mean one of \(([^)]*)\))?", message):
        near = f"; did you mean {unknown[2].replace(', ', ' or ')}?" if unknown[2] else ""
        diagnostics.warning(f"connection string: the unknown option {unknown[1]} is ignored{near}")
    elif issubclass(category, DeprecationWarning) or message.startswith("Duplicate URI option"):
        diagnostics.warning(f"connection string: {message.rstrip('.')}")
    elif issubclass(category, UserWarning):
        raise errors.ConfigurationError(
            f"connection string: {message[:1].lower()}{message[1:]}",
            hint="mend it, or leave it out: each option has a default",
        )
    else:
        diagnostics.note(f"driver: {message}")


class SlowCommands(CommandListener):
    """Reports server commands slower than a threshold: name, namespace and time, never the values."""

    def __init__(self, milliseconds: int, diagnostics: Diagnostics) -> None:
        self._threshold = milliseconds
        self._diagnostics = diagnostics
        self._namespaces: dict[int, str] = {}

    def started(self, event: CommandStartedEvent) -> None:
        # The driver empties the body of an authentication command: next() gets the default then.
        target = event.command.get("collection") or next(iter(event.command.values()), None)
        collection = f".{target}" if isinstance(target, str) else ""
        self._namespaces[event.request_id] = f"{event.database_name}{collection}"

    def succeeded(self, event: CommandSucceededEvent) -> None:
        self._finished(event)

    def failed(self, event: CommandFailedEvent) -> None:
        self._finished(event)

    def _finished(self, event: CommandSucceededEvent | CommandFailedEvent) -> None:
        namespace = self._namespaces.pop(event.request_id, event.database_name)
        milliseconds = event.duration_micros / 1000
        if milliseconds >= self._threshold:
            self._diagnostics.slow(event.command_name, namespace, milliseconds)
