"""PyMongo's errors in our words: what happened, why, and the next step.

Owns the translation into the tree of `errors.py`: server codes, unreachable hosts, connection strings.
Connects to nothing and raises nothing; `client.connect` is its caller.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Literal, cast

from pymongo import errors as driver

from motorctl import errors
from motorctl.core.driver import without_values
from motorctl.core.privileges import lack
from motorctl.core.refusals import duplicate, violations
from motorctl.core.transactions import REPLICA_SET_HINT, STANDALONE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pymongo.server_description import ServerDescription
    from pymongo.topology_description import TopologyDescription

    from motorctl.client import Client

    Privileges = Iterable[Mapping[str, Any]]

_UNPREPARED = "SASLprep: "
"""How PyMongo begins what it says of a password that can't be prepared (RFC 4013)."""

_CONNECT_CALL = re.compile(r"\[Errno (\d+)\] Connect call failed \([^)]*\)")

_ENDED_HANDSHAKE = re.compile(r"^(SSL handshake failed: \S+:\d+: )(?= \(|$)")

CERTIFICATE_HINT = "check tlsCAFile and tlsCertificateKeyFile: each names a PEM file"
_INTERNAL_NAMES_HINT = (
    "a host of the URI answered, but these are the names that the replica set gives its members: make them "
    "reachable from here, or talk to one host with directConnection=true"
)
UNKNOWN_HINT = "a write that was on its way may have been carried out or not: look before you repeat it"
_WRITTEN_HINT = "what was sent before may have been written: look before you repeat it"
UNWRITTEN_HINT = "nothing was written: the same command may be run again"
PRIMARY_HINT = "wait for the election (--wait 30), or look at rs.status()"


Tls = Literal["plain", "tls", "known"]
"""How a client speaks: without TLS, with it, and with a certificate of its own."""

_WANTED: dict[Tls | None, str] = {
    None: "does it want TLS, or a client certificate?",
    "plain": "does it want TLS?",
    "tls": "does it want a client certificate?",
    "known": "does it not accept the client certificate?",
}

_TLS_HINTS = (
    ("want TLS", "add tls=true to the URI, and tlsCAFile=/path/ca.pem where the authority is your own"),
    ("does not speak TLS", "leave tls=true out of the URI; of mongodb+srv:// it is the default: tls=false"),
    (
        "accept the client",
        "the one in tlsCertificateKeyFile: has it ended, did the server's authority sign it?",
    ),
    ("client certificate", "tlsCertificateKeyFile=/path/client.pem names yours, and its key"),
    ("has expired", "renew the server's certificate; if it is one of today, check this machine's clock"),
    ("not yet valid", "check this machine's clock"),
    ("not valid for", "use a name in the URI that the certificate is for, or have it made for this one"),
    ("certificate was not", "tlsCAFile=/path/ca.pem names the certificate of the authority that signed it"),
    ("TLS", "the server's log says more"),
)
"""By what is said of a host: what to do about it. The first that fits is taken."""


def translated(
    error: Exception,
    client: Client | None,
    seconds: float,
    *,
    granted: Privileges | None = None,
    wrote: bool = False,
) -> errors.MotorctlError:
    """Return the error of ours that says what a driver's error means, with the next step.

    `client` is the one that raised it, after it looked for a server for `seconds`. `granted` is what its user
    may do, where somebody has asked: what is lacking can be told exactly then. `wrote` is whether anything was
    sent that may have changed something.
    """
    match error:
        case driver.ServerSelectionTimeoutError():
            ours = _unselected(error, client, seconds)
            if wrote:
                ours.hint = f"{_WRITTEN_HINT}; {ours.hint}"
            return ours
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
        case driver.ConfigurationError() if "password is required" in str(error):
            return errors.ConfigurationError(
                "the connection string names a user without a password",
                hint="--ask-password asks for it on the terminal; else USER:PASSWORD@ stands before the host",
            )
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
            return _refusal(error.code, error.details or {}, error, granted, client)
        case driver.NotPrimaryError():
            return errors.UnreachableError(
                f"the server is not primary, or no longer: {first_sentence(error)}",
                hint=f"{_WRITTEN_HINT}; {PRIMARY_HINT}" if wrote else PRIMARY_HINT,
            )
        case driver.AutoReconnect() | driver.ConnectionFailure():
            # The question about TLS belongs to a first contact; here the server has answered before.
            return errors.UnreachableError(
                f"the connection was lost: {reason_in_words(error).partition(' (')[0]}",
                hint=UNKNOWN_HINT if wrote else UNWRITTEN_HINT,
            )
        case driver.DocumentTooLarge():
            return errors.RefusedError("a document is larger than the server takes (16 MB)")
        case driver.InvalidOperation() | driver.PyMongoError():
            return errors.MotorctlError(first_sentence(error))
        case ValueError() if str(error).startswith(_UNPREPARED):
            return errors.ConfigurationError(
                "the password holds a character that SCRAM does not take: a control character, say",
                hint="look at how it got there: a line break at the end of a file? RFC 4013 lists the characters",
            )
        case _:
            return errors.RefusedError(f"a document can't be encoded: {first_sentence(error)}")


LONGEST = 2000
"""Characters of a server's message that are shown; some quote the whole command."""


def _refusal(
    code: int | None,
    details: Any,
    error: Exception,
    granted: Privileges | None = None,
    client: Client | None = None,
) -> errors.MotorctlError:
    """Translate a server's error document by its code."""
    said = str(details.get("errmsg") or first_sentence(error))
    message = without_values(said).rstrip(".")
    if len(message) > LONGEST:
        message = f"{message[:LONGEST]}..."
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
        case 8000 if "not allowed to do action" in said:
            return _forbidden(said, granted, facts)
        case 18 | 8000:
            return _unknown_user(message, client, facts)
        case 11 if "$external" in message:
            return _unknown_user(message, client, facts)
        case 334:
            return errors.AuthenticationError(
                f"authentication failed: {_lowered(message)}",
                hint="authMechanism= names one that the server offers; without it the client finds out itself",
                **facts,
            )
        case 13 if "requires authentication" in message:
            return errors.AuthenticationError(
                "the server requires authentication",
                hint="give a user and a password: USER:PASSWORD@ stands before the host in the URI",
                **facts,
            )
        case 13:
            return _forbidden(said, granted, facts)
        case 20 | 263 if "replica set" in message:
            return errors.MotorctlError(STANDALONE, hint=REPLICA_SET_HINT)
        case 26:
            return errors.NotFoundError(labelled, **facts)
        case 50:
            return errors.UnreachableError(f"the server gave up after its time limit: {labelled}", **facts)
        case 9 | 40415 if "apiVersion" in message:
            # Servers before 5.0 quote the whole command, filter and all.
            return errors.MotorctlError(
                "the server does not know the Stable API: it is older than MongoDB 5.0",
                hint="add --no-stable-api",
                **facts,
            )
        case 323 | 322 if "apiVersion" in message or "API Version" in message:
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
                hosts[f"{host}:{port}"] = reason_in_words(inner, _tls(client))
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


def _tls(client: Client) -> Tls:
    """Tell how a client speaks: the driver keeps it in its options, without a public word."""
    options = cast("Any", client.options)
    if options.pool_options._ssl_context is None:  # noqa: SLF001 - the driver has no public word for it
        return "plain"
    named = {name.lower() for name in options._options}  # noqa: SLF001 - the driver has no public word for it
    return "known" if "tlscertificatekeyfile" in named else "tls"


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
    for sign, hint in _TLS_HINTS:
        if sign in reasons:
            return hint
    if "resolve" in reasons:
        return "check the host's name"
    return (
        "is mongod running there? `motorctl local start` runs one here; --uri names another, --wait 30 waits"
    )


def reason_in_words(error: BaseException, tls: Tls | None = None) -> str:
    """Return the innermost reason of a network error without the driver's wrapping.

    `tls` is how the client spoke, where that is known: what a closed connection means depends on it.
    """
    text = _of_the_system(str(error))
    wanted = _WANTED[tls]
    table = (
        ("Connection refused", "connection refused, nothing listens there"),
        ("Name or service not known", "the name does not resolve"),
        ("nodename nor servname", "the name does not resolve"),
        ("getaddrinfo failed", "the name does not resolve"),
        ("Temporary failure in name resolution", "the name does not resolve (DNS does not answer)"),
        ("No address associated", "the name does not resolve to an address"),
        ("CERTIFICATE_VERIFY_FAILED", "its TLS certificate was not accepted"),
        ("certificate required", "it wants a TLS client certificate"),
        ("unknown ca", "it does not accept the client certificate: it does not trust who signed it"),
        ("certificate expired", "it does not accept the client certificate: that has expired"),
        ("alert bad certificate", "it does not accept the client certificate"),
        ("certificate unknown", "it does not accept the client certificate"),
        ("PROTOCOL_VERSION", "it speaks no version of TLS that this machine does (1.2 and 1.3)"),
        ("UNSUPPORTED_PROTOCOL", "it speaks no version of TLS that this machine does (1.2 and 1.3)"),
        ("SHARED_CIPHER", "it speaks no TLS cipher that this machine does"),
        ("HANDSHAKE_FAILURE", "it speaks no TLS cipher that this machine does"),
        ("UNEXPECTED_EOF_WHILE_READING", "it does not speak TLS"),
        ("TLS/SSL connection has been closed", "it does not speak TLS"),
        ("WRONG_VERSION_NUMBER", "it does not speak TLS"),
        ("connection closed", f"it closed the connection ({wanted})"),
        ("connection is already closed", f"it closed the connection ({wanted})"),
        ("Connection is closed", f"it closed the connection ({wanted})"),
        ("Connection reset by peer", f"it reset the connection ({wanted})"),
        ("Broken pipe", f"it closed the connection ({wanted})"),
        ("Network is unreachable", "the network is unreachable"),
        ("No route to host", "no route to the host"),
        ("timed out", "no answer in time"),
        ("operation cancelled", "no answer in time"),  # `silence`, or the driver's monitor, gave it up
        ("connection pool paused", "its server does not answer"),
    )
    for sign, words in table:
        if sign in text:
            detail = re.search(r"certificate verify failed: ([^(]+)", text)
            return f"{words}: {detail[1].strip().rstrip('.')}" if detail else words
    return re.sub(r"^\S+:\d+: (?:\[Errno -?\d+\] )?", "", first_sentence(text))


def _of_the_system(text: str) -> str:
    """Say what asyncio says with a number only, `[Errno 111] Connect call failed (...)`, or with nothing at all."""
    text = _CONNECT_CALL.sub(lambda failed: os.strerror(int(failed[1])), text)
    return _ENDED_HANDSHAKE.sub(r"\1UNEXPECTED_EOF_WHILE_READING", text)


def _uri_hint(message: str) -> str | None:
    if "escaped" in message or "quote" in message:
        return "percent-encode @ : / ? # % in the user's name and password: an @ is %40"
    if "cannot be specified" in message or "conflict" in message or "must be" in message:
        return None
    return "it looks like mongodb://HOST:27017/DATABASE?option=value, with USER:PASSWORD@ before the host"


def _unknown_user(message: str, client: Client | None, facts: dict[str, Any]) -> errors.AuthenticationError:
    """Say who was not let in, and what the server says beyond that: of a wrong password it says no more."""
    who = credentials(client)
    name = ""
    if who is not None:
        name = f" for {who.username}@{who.source}" if who.username else ""
        name += f" by {who.mechanism}" if who.mechanism != "DEFAULT" else ""
    hint = "check user, password and authSource; a password in a URI is percent-encoded"
    if who is not None and who.source not in ("admin", "$external"):
        hint = f"check user, password and authSource: it is {who.source}; most users are of authSource=admin"
    if who is not None and who.mechanism == "MONGODB-X509":
        hint = "the user's name is the subject of the certificate in tlsCertificateKeyFile, kept in $external"
        if "subject name" in message:
            hint = "the certificate is yours to show: tls=true, and tlsCertificateKeyFile=/path/client.pem"
    more = "" if message.startswith("Authentication failed") else f": {_lowered(message)}"
    return errors.AuthenticationError(f"authentication failed{name}{more}", hint=hint, **facts)


def credentials(client: Client | None) -> Any:
    """Return the driver's credentials of a client, which it keeps without a public word; None for nobody's."""
    return None if client is None else cast("Any", client.options).pool_options._credentials  # noqa: SLF001 - the driver has no public word for it


def _lowered(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def is_drivers(error: ValueError) -> bool:
    """Tell whether a ValueError is what the driver says of a text or a password that it can't send."""
    return isinstance(error, UnicodeEncodeError) or str(error).startswith(_UNPREPARED)


def _forbidden(said: str, granted: Privileges | None, facts: dict[str, Any]) -> errors.AuthorizationError:
    """Say which privilege a command lacks, and which role has it; the server only names the command."""
    lacking = lack(said)
    if lacking is None:
        return errors.AuthorizationError(
            f"not authorised: {without_values(said).rstrip('.')}",
            hint="the user needs a role that permits this",
            **facts,
        )
    if granted is not None:
        lacking = lacking.without(granted)
    return errors.AuthorizationError(
        f"not authorised: {lacking.sentence}",
        hint=lacking.hint,
        command=lacking.command,
        privileges=[one.facts for one in lacking.needed],
        roles=list(lacking.roles),
        **facts,
    )


def _is_dns(error: BaseException | None) -> bool:
    return error is not None and type(error).__module__.startswith("dns.")


def first_sentence(error: BaseException | str) -> str:
    """Cut the driver's explanations off: its full error document, time-outs and advice on Python calls."""
    text = re.split(r", full error: |, Timeout: | \(configured timeouts|\. Hint: |, use urllib", str(error))[
        0
    ]
    return text.split("\n")[0].strip().rstrip(".,")
