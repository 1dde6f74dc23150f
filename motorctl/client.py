"""The ONLY module that imports motor: one client a process, and the driver's errors in our words.

Owns how a connection is made and closed, command monitoring, and the translation of PyMongo's errors
into the tree of `errors.py`. When Motor goes (critical fixes end in May 2027), PyMongo's
`AsyncMongoClient` takes its place here, and nowhere else.
"""

from __future__ import annotations

import asyncio
import re
import time
import warnings
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from bson.errors import BSONError
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection, AsyncIOMotorDatabase
from pymongo import errors as driver
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent
from pymongo.server_api import ServerApi

from motorctl import errors
from motorctl.core.refusals import duplicate, violations

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from pymongo.server_description import ServerDescription
    from pymongo.topology_description import TopologyDescription

    from motorctl.diagnostics import Diagnostics
    from motorctl.settings import Settings

Client: TypeAlias = AsyncIOMotorClient[dict[str, Any]]
Database: TypeAlias = AsyncIOMotorDatabase[dict[str, Any]]
Collection: TypeAlias = AsyncIOMotorCollection[dict[str, Any]]

WAIT_INTERVAL = 0.5
"""Seconds between two looks at a server that `--wait` waits for."""

_CERTIFICATE_HINT = "check tlsCAFile and tlsCertificateKeyFile: each names a PEM file"
_INTERNAL_NAMES_HINT = (
    "a host of the URI answered, but these are the names that the replica set gives its members: make them "
    "reachable from here, or talk to one host with directConnection=true"
)
_PRIMARY_HINT = "wait for the election (--wait 30), or look at rs.status()"
_REPLICA_SET_HINT = (
    "transactions need a replica set: start mongod with --replSet rs0 and run rs.initiate() once, "
    "or try with `motorctl local start`"
)


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
    address = uri or str(settings.address().value)
    name = settings.database().value
    client: Client | None = None
    try:
        if settings.wait:
            await _wait(address, name, settings, diagnostics, direct=direct, ready=ready or _answers)
        client = _open(address, settings, diagnostics, direct=direct)
        db = client.get_database(name)
        if ready is not None and not settings.wait:
            await ready(db)
        yield db
    except (driver.PyMongoError, BSONError, OverflowError, UnicodeEncodeError) as error:
        # The last two are the encoder's: a number over 8 bytes, half of a surrogate pair.
        raise translated(error, client, settings.timeout) from error
    finally:
        if client is not None:
            client.close()


async def _answers(db: Database) -> None:
    """Ask the primary for a sign of life."""
    await db.client.admin.command("ping")


async def _wait(
    address: str,
    name: str,
    settings: Settings,
    diagnostics: Diagnostics,
    *,
    direct: bool,
    ready: Callable[[Database], Awaitable[None]],
) -> None:
    """Look at the server again and again, until it is ready or `--wait` is over.

    Each look is a client of its own, closed before the next: a client that was opened before
    replSetInitiate never learns that it may use sessions. What is not worth retrying ends it at once.
    """
    deadline = time.monotonic() + settings.wait
    while True:
        left = max(0.1, deadline - time.monotonic())
        client: Client | None = None
        try:
            client = _open(address, settings, diagnostics, direct=direct, selection_seconds=min(left, 1.0))
            await ready(client.get_database(name))
        except (driver.PyMongoError, errors.UnreachableError) as error:
            ours = (
                error if isinstance(error, errors.MotorctlError) else translated(error, client, settings.wait)
            )
            left = deadline - time.monotonic()
            if left <= 0 or ours.exit_code is not errors.ExitCode.UNREACHABLE:
                raise ours from error
            diagnostics.note(f"waiting for the server: {ours.message}")
            await asyncio.sleep(min(WAIT_INTERVAL, left))
        else:
            return
        finally:
            if client is not None:
                client.close()


def _open(
    address: str,
    settings: Settings,
    diagnostics: Diagnostics,
    *,
    direct: bool,
    selection_seconds: float | None = None,
) -> Client:
    """Make the client. Precedence of the driver's options: URI, then profile, then what we set here."""
    _check_escapes(address)
    in_uri = {key.lower() for key in re.findall(r"[?&]([^=&]+)=", address)}
    options: dict[str, Any] = {
        "appname": "motorctl",
        "connectTimeoutMS": max(1, min(20_000, round(settings.timeout * 1000))),
        "serverSelectionTimeoutMS": max(1, round(settings.timeout * 1000)),
    }
    lowered = {key.lower(): key for key in options}
    for key, value in settings.driver_options.items():
        options[lowered.get(key.lower(), key)] = value
    options = {key: value for key, value in options.items() if key.lower() not in in_uri}
    if settings.values["timeout"].source != "default":
        options["serverSelectionTimeoutMS"] = max(1, round(settings.timeout * 1000))
    if selection_seconds is not None:
        options["serverSelectionTimeoutMS"] = max(1, round(selection_seconds * 1000))
    if direct:
        options["directConnection"] = True
    if settings["stable_api"]:
        options["server_api"] = ServerApi("1", strict=False, deprecation_errors=False)
    if settings.slow_ms is not None:
        options["event_listeners"] = [SlowCommands(settings.slow_ms, diagnostics)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            client: Client = AsyncIOMotorClient(address, tz_aware=True, **options)
        except driver.PyMongoError:
            raise
        except (ValueError, TypeError) as error:
            raise errors.ConfigurationError(
                f"the connection does not fit: {_first_sentence(error)}"
            ) from error
        except OSError as error:
            # A certificate's file; ssl.SSLError, for one that is no certificate, is an OSError too.
            place = f"{error.filename}: " if error.filename else ""
            raise errors.ConfigurationError(
                f"TLS: {place}{error.strerror or error}", hint=_CERTIFICATE_HINT
            ) from error
    try:
        for warning in caught:
            _report_option(warning.category, str(warning.message), diagnostics)
    except errors.ConfigurationError:
        client.close()
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
        raise errors.ConfigurationError(f"connection string: {message}")
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


def translated(error: Exception, client: Client | None, seconds: float) -> errors.MotorctlError:
    """Return the error of ours that says what a driver's error means, with the next step."""
    match error:
        case driver.ServerSelectionTimeoutError():
            return _unselected(error, client, seconds)
        case driver.InvalidName():
            return errors.UsageError(_first_sentence(error))
        case driver.InvalidURI():
            return errors.ConfigurationError(
                f"the connection string is not valid: {_first_sentence(error)}", hint=_uri_hint(str(error))
            )
        case driver.ConfigurationError() if _is_dns(error.__cause__):
            return errors.UnreachableError(
                f"the SRV record was not found: {_first_sentence(error)}",
                hint="check the host's name; mongodb+srv:// needs DNS, mongodb:// takes HOST:PORT",
            )
        case driver.ConfigurationError():
            hint = _REPLICA_SET_HINT if "essions are not supported" in str(error) else None
            if "certificate" in str(error):
                hint = _CERTIFICATE_HINT
            return errors.ConfigurationError(_first_sentence(error), hint=hint)
        case driver.BulkWriteError():
            first = (error.details.get("writeErrors") or error.details.get("writeConcernErrors") or [{}])[0]
            return _refusal(first.get("code"), first, error)
        case driver.WriteConcernError():
            return errors.MotorctlError(
                f"the write concern was not met: {_first_sentence(error)}",
                hint="the write was made, but not confirmed by as many members as asked: it may be lost yet",
                server_code=error.code,
            )
        case driver.OperationFailure():
            return _refusal(error.code, error.details or {}, error)
        case driver.NotPrimaryError():
            return errors.UnreachableError(
                f"the server is not primary, or no longer: {_first_sentence(error)}", hint=_PRIMARY_HINT
            )
        case driver.AutoReconnect() | driver.ConnectionFailure():
            # The question about TLS belongs to a first contact; here the server has answered before.
            return errors.UnreachableError(
                f"the connection was lost: {reason_in_words(error).partition(' (')[0]}",
                hint="whether the last command was carried out is not known: look before you repeat it",
            )
        case driver.DocumentTooLarge():
            return errors.RefusedError("a document is larger than the server takes (16 MB)")
        case driver.InvalidOperation() | driver.PyMongoError():
            return errors.MotorctlError(_first_sentence(error))
        case _:
            return errors.RefusedError(f"a document can't be encoded: {_first_sentence(error)}")


def _refusal(code: int | None, details: Any, error: Exception) -> errors.MotorctlError:
    """Translate a server's error document by its code."""
    message = str(details.get("errmsg") or _first_sentence(error)).rstrip(".")
    name = str(details.get("codeName") or "")
    facts: dict[str, Any] = {"server_code": code, "server_code_name": name or None}
    label = "code" if not name or name.startswith("Location") else name
    labelled = f"{message} ({label} {code})" if code is not None else message
    match code:
        case 11000 | 11001 | 12582:
            taken = duplicate(details)
            return errors.DuplicateKeyError(
                f"duplicate key: {taken.sentence}",
                hint="change the value, or update the document that holds it",
                namespace=taken.namespace,
                index=taken.index,
                field=", ".join(taken.fields) or None,
                **facts,
            )
        case 121:
            broken = violations(details)
            rules = "; ".join(violation.sentence for violation in broken) or message
            return errors.ValidationRefusedError(
                f"refused by the collection's validator: {rules}",
                hint="`motorctl validators show COLLECTION` prints the rules",
                violations=[{"field": v.field, "rule": v.rule, "reason": v.reason} for v in broken],
                **facts,
            )
        case 18 | 8000:
            return errors.AuthenticationError(
                f"authentication failed: {message}",
                hint="check user, password and authSource; a password in a URI is percent-encoded",
                **facts,
            )
        case 13 if "requires authentication" in message:
            return errors.AuthenticationError(
                "the server requires authentication",
                hint="give a user and a password: USER:PASSWORD@ stands before the host in the URI",
                **facts,
            )
        case 13:
            return errors.AuthorizationError(
                f"not authorised: {_without_values(message)}",
                hint="the user needs a role that permits this",
                **facts,
            )
        case 20 | 263 if "replica set" in message:
            return errors.MotorctlError(
                "this server has no transactions: it is a standalone", hint=_REPLICA_SET_HINT
            )
        case 26:
            return errors.NotFoundError(labelled, **facts)
        case 50:
            return errors.UnreachableError(f"the server gave up after its time limit: {labelled}", **facts)
        case 323 | 322 | 9 | 40415 if "apiVersion" in message or "API Version" in message:
            return errors.MotorctlError(labelled, hint="add --no-stable-api", **facts)
        case _:
            return errors.MotorctlError(labelled, **facts)


def _unselected(error: Exception, client: Client | None, seconds: float) -> errors.MotorctlError:
    """Say for each host why it was not reached: the innermost reason, in words."""
    hosts: dict[str, str] = {}
    kinds: set[str] = set()
    if client is not None:
        for (host, port), server in _servers(client):
            kinds.add(server.server_type_name)
            if server.error is not None:
                inner = server.error
                if isinstance(inner, driver.OperationFailure):
                    return translated(inner, client, seconds)
                hosts[f"{host}:{port}"] = reason_in_words(inner)
            elif server.server_type_name != "Unknown":
                hosts[f"{host}:{port}"] = f"is a {_state(server.server_type_name)}"
            else:
                # Its first connection is still being made: no answer, no error.
                hosts[f"{host}:{port}"] = "no answer in time"
    reasons = "; ".join(f"{host}: {reason}" for host, reason in hosts.items()) or _first_sentence(error)
    facts = {"hosts": hosts, "timeout_seconds": seconds}
    if kinds & {"RSSecondary", "RSArbiter", "RSOther", "RSGhost"}:
        return errors.UnreachableError(
            f"no primary found within {seconds:g} s: {reasons}", hint=_PRIMARY_HINT, **facts
        )
    if name := re.search(r'for replica set name ("[^"]*")', reasons):
        return errors.UnreachableError(
            f"no server reached within {seconds:g} s: none is a member of the replica set {name[1]}",
            hint="check replicaSet= in the URI: the server is a standalone, or its set has another name",
            **facts,
        )
    hint = _INTERNAL_NAMES_HINT if "internal hostnames" in str(error) else _reach_hint(reasons)
    return errors.UnreachableError(f"no server reached within {seconds:g} s: {reasons}", hint=hint, **facts)


def _servers(client: Client) -> list[tuple[tuple[str, int | None], ServerDescription]]:
    """Return what the driver knows of each host: a property, which Motor's stubs take for a method."""
    topology = cast("TopologyDescription", client.topology_description)
    return list(topology.server_descriptions().items())


def _state(kind: str) -> str:
    return {"RSSecondary": "secondary", "RSArbiter": "arbiter", "RSGhost": "member not yet initiated"}.get(
        kind, kind
    )


def _reach_hint(reasons: str) -> str:
    if "TLS" in reasons or "certificate" in reasons:
        return "check tls=true, tlsCAFile and the certificate's host names"
    if "resolve" in reasons:
        return "check the host's name"
    return (
        "is mongod running there? `motorctl local start` runs one here; --uri names another, --wait 30 waits"
    )


def reason_in_words(error: BaseException) -> str:
    """Return the innermost reason of a network error without the driver's wrapping."""
    text = str(error)
    table = (
        ("Connection refused", "connection refused, nothing listens there"),
        ("Name or service not known", "the name does not resolve"),
        ("nodename nor servname", "the name does not resolve"),
        ("getaddrinfo failed", "the name does not resolve"),
        ("Temporary failure in name resolution", "the name does not resolve (DNS does not answer)"),
        ("No address associated", "the name does not resolve to an address"),
        ("CERTIFICATE_VERIFY_FAILED", "its TLS certificate was not accepted"),
        ("certificate required", "it wants a TLS client certificate"),
        ("UNEXPECTED_EOF_WHILE_READING", "it does not speak TLS"),
        ("WRONG_VERSION_NUMBER", "it does not speak TLS"),
        ("connection closed", "it closed the connection (does it want TLS, or a client certificate?)"),
        ("Connection reset by peer", "it reset the connection (does it want TLS, or a client certificate?)"),
        ("Network is unreachable", "the network is unreachable"),
        ("No route to host", "no route to the host"),
        ("timed out", "no answer in time"),
    )
    for sign, words in table:
        if sign in text:
            detail = re.search(r"certificate verify failed: ([^(]+)", text)
            return f"{words}: {detail[1].strip()}" if detail else words
    return re.sub(r"^\S+:\d+: (?:\[Errno -?\d+\] )?", "", _first_sentence(text))


def _uri_hint(message: str) -> str:
    if "escaped" in message or "quote" in message:
        return "percent-encode @ : / ? # % in the user's name and password: p@ss is p%40ss"
    return "it looks like mongodb://HOST:PORT/DATABASE?option=value, with USER:PASSWORD@ before the host"


def _without_values(message: str) -> str:
    """Cut the command's body off: the server repeats it whole, with the values of filters and documents."""
    command = re.search(r'(not authorized on \S+ to execute command) \{ (\w+): (?:"([^"]*)")?', message)
    return f"{command[1]} {command[2]} {command[3] or ''}".rstrip() if command else message


def _is_dns(error: BaseException | None) -> bool:
    return error is not None and type(error).__module__.startswith("dns.")


def _first_sentence(error: BaseException | str) -> str:
    """Cut the driver's explanations off: its full error document, time-outs and advice on Python calls."""
    text = re.split(r", full error: |, Timeout: | \(configured timeouts|\. Hint: |, use urllib", str(error))[
        0
    ]
    return text.split("\n")[0].strip().rstrip(".,")
