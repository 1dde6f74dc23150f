"""PyMongo's errors in our words: what happened, why, and the next step.

Owns the translation into the tree of `errors.py`: server codes, unreachable hosts, connection strings.
Connects to nothing and raises nothing; `client.connect` is its caller.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

from pymongo import errors as driver

from motorctl import errors
from motorctl.core.driver import without_values
from motorctl.core.refusals import duplicate, violations
from motorctl.core.transactions import REPLICA_SET_HINT, STANDALONE

if TYPE_CHECKING:
    from pymongo.server_description import ServerDescription
    from pymongo.topology_description import TopologyDescription

    from motorctl.client import Client

CERTIFICATE_HINT = "check tlsCAFile and tlsCertificateKeyFile: each names a PEM file"
_INTERNAL_NAMES_HINT = (
    "a host of the URI answered, but these are the names that the replica set gives its members: make them "
    "reachable from here, or talk to one host with directConnection=true"
)
PRIMARY_HINT = "wait for the election (--wait 30), or look at rs.status()"


def translated(error: Exception, client: Client | None, seconds: float) -> errors.MotorctlError:
    """Return the error of ours that says what a driver's error means, with the next step."""
    match error:
        case driver.ServerSelectionTimeoutError():
            return _unselected(error, client, seconds)
        case driver.InvalidName():
            return errors.UsageError(first_sentence(error))
        case driver.InvalidURI():
            return errors.ConfigurationError(
                f"the connection string is not valid: {first_sentence(error)}", hint=_uri_hint(str(error))
            )
        case driver.ConfigurationError() if _is_dns(error.__cause__):
            return errors.UnreachableError(
                f"the SRV record was not found: {first_sentence(error)}",
                hint="check the host's name; mongodb+srv:// needs DNS, mongodb:// takes HOST:PORT",
            )
        case driver.ConfigurationError() if "essions are not supported" in str(error) and _is_set(client):
            # The driver says so of a member whose first answer came before it had its set again.
            return errors.UnreachableError("a member of the replica set is starting yet", hint=PRIMARY_HINT)
        case driver.ConfigurationError():
            hint = REPLICA_SET_HINT if "essions are not supported" in str(error) else None
            if "certificate" in str(error):
                hint = CERTIFICATE_HINT
            return errors.ConfigurationError(first_sentence(error), hint=hint)
        case driver.BulkWriteError():
            first = (error.details.get("writeErrors") or error.details.get("writeConcernErrors") or [{}])[0]
            return _refusal(first.get("code"), first, error)
        case driver.WriteConcernError():
            return errors.MotorctlError(
                f"the write concern was not met: {first_sentence(error)}",
                hint="the write was made, but not confirmed by as many members as asked: it may be lost yet",
                server_code=error.code,
            )
        case driver.OperationFailure():
            return _refusal(error.code, error.details or {}, error)
        case driver.NotPrimaryError():
            return errors.UnreachableError(
                f"the server is not primary, or no longer: {first_sentence(error)}", hint=PRIMARY_HINT
            )
        case driver.AutoReconnect() | driver.ConnectionFailure():
            # The question about TLS belongs to a first contact; here the server has answered before.
            return errors.UnreachableError(
                f"the connection was lost: {reason_in_words(error).partition(' (')[0]}",
                hint="a write that was on its way may have been carried out or not: look before you repeat it",
            )
        case driver.DocumentTooLarge():
            return errors.RefusedError("a document is larger than the server takes (16 MB)")
        case driver.InvalidOperation() | driver.PyMongoError():
            return errors.MotorctlError(first_sentence(error))
        case _:
            return errors.RefusedError(f"a document can't be encoded: {first_sentence(error)}")


def _refusal(code: int | None, details: Any, error: Exception) -> errors.MotorctlError:
    """Translate a server's error document by its code."""
    said = str(details.get("errmsg") or first_sentence(error))
    message = without_values(said).rstrip(".")
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
                f"not authorised: {_command_named(said).rstrip('.')}",
                hint="the user needs a role that permits this",
                **facts,
            )
        case 20 | 263 if "replica set" in message:
            return errors.MotorctlError(STANDALONE, hint=REPLICA_SET_HINT)
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
    reasons = "; ".join(f"{host}: {reason}" for host, reason in hosts.items()) or first_sentence(error)
    facts = {"hosts": hosts, "timeout_seconds": seconds}
    if kinds & {"RSSecondary", "RSArbiter", "RSOther", "RSGhost"}:
        return errors.UnreachableError(
            f"no primary found within {seconds:g} s: {reasons}", hint=PRIMARY_HINT, **facts
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


def _is_set(client: Client | None) -> bool:
    """Tell whether the driver knows a replica set."""
    if client is None:
        return False
    topology = cast("TopologyDescription", client.topology_description)
    return topology.topology_type_name.startswith("ReplicaSet")


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
        ("TLS/SSL connection has been closed", "it does not speak TLS"),
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
    return re.sub(r"^\S+:\d+: (?:\[Errno -?\d+\] )?", "", first_sentence(text))


def _uri_hint(message: str) -> str:
    if "escaped" in message or "quote" in message:
        return "percent-encode @ : / ? # % in the user's name and password: an @ is %40"
    return "it looks like mongodb://HOST:PORT/DATABASE?option=value, with USER:PASSWORD@ before the host"


def _command_named(message: str) -> str:
    """Cut the command's body off: the server repeats it whole, with the values of filters and documents."""
    command = re.search(r'(not authorized on \S+ to execute command) \{ (\w+): (?:"([^"]*)")?', message)
    return f"{command[1]} {command[2]} {command[3] or ''}".rstrip() if command else message


def _is_dns(error: BaseException | None) -> bool:
    return error is not None and type(error).__module__.startswith("dns.")


def first_sentence(error: BaseException | str) -> str:
    """Cut the driver's explanations off: its full error document, time-outs and advice on Python calls."""
    text = re.split(r", full error: |, Timeout: | \(configured timeouts|\. Hint: |, use urllib", str(error))[
        0
    ]
    return text.split("\n")[0].strip().rstrip(".,")
