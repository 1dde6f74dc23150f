"""Certificates: what a server shows, and why it isn't accepted, in words.

`ssl` tells a certificate's contents only where it was verified. One that wasn't is read by a handshake that
trusts exactly it, at any time: so no parser of our own or of a library is needed. Nothing is sent over such
a connection.
"""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from motorctl.errors import MotorctlError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

SOON = 30
"""Days before the end of a certificate from which somebody should renew it."""
_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL, to which `ssl` gives no name."""
EXPIRED, NOT_YET, SELF_SIGNED, SELF_SIGNED_CHAIN, NO_ISSUER, NO_LEAF_ISSUER = 10, 9, 18, 19, 20, 21
"""X509_V_ERR_... of OpenSSL."""
WRONG_HOST, WRONG_ADDRESS = 62, 64
_UNTRUSTED = (SELF_SIGNED, SELF_SIGNED_CHAIN, NO_ISSUER, NO_LEAF_ISSUER)


@dataclass(frozen=True)
class Certificate:
    """What a server's certificate says."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    """The hosts and addresses that it is for."""
    begins: datetime
    ends: datetime

    @property
    def days(self) -> int:
        """Whole days until it ends; negative once it has."""
        return int((self.ends.timestamp() - time.time()) // 86_400)

    def facts(self) -> dict[str, Any]:
        return {
            "subject": self.subject,
            "issuer": self.issuer,
            "names": list(self.names),
            "expires": self.ends.isoformat().replace("+00:00", "Z"),
            "expires_days": self.days,
        }


def read(shown: Mapping[str, Any]) -> Certificate:
    """Read what `getpeercert` returns."""

    def one_line(name: Any) -> str:
        # The common name says it, where there is one.
        pairs = {key: value for part in name or () for key, value in part}
        first = (
            pairs.get("commonName") or pairs.get("organizationalUnitName") or pairs.get("organizationName")
        )
        return str(first or "nobody")

    def moment(text: str) -> datetime:
        return datetime.fromtimestamp(ssl.cert_time_to_seconds(text), UTC)

    names = tuple(
        str(value) for kind, value in shown.get("subjectAltName", ()) if kind in ("DNS", "IP Address")
    )
    return Certificate(
        subject=one_line(shown.get("subject")),
        issuer=one_line(shown.get("issuer")),
        names=names,
        begins=moment(str(shown["notBefore"])),
        ends=moment(str(shown["notAfter"])),
    )


def unverifying() -> ssl.SSLContext:
    """Return a context that accepts any certificate: to see what is there, and to send nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _trusting(der: bytes) -> ssl.SSLContext:
    """Return a context that accepts exactly this certificate, expired or not, for any host."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags = ssl.VerifyFlags(ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME)
    context.load_verify_locations(cadata=der)
    return context


async def look(shake: Callable[[ssl.SSLContext], Awaitable[ssl.SSLObject]]) -> Certificate | None:
    """Read a server's certificate without trusting it; None where it can't be had.

    `shake` makes one TLS connection with a context, and hangs up. It is called twice: for the bytes of
    the certificate, and with these bytes as the authority.
    """
    try:
        der = (await shake(unverifying())).getpeercert(binary_form=True)
        shown = (await shake(_trusting(der))).getpeercert() if der else None
    except (OSError, ValueError, EOFError):
        # ssl.SSLError and TimeoutError are OSErrors: it is only for a better sentence.
        return None
    return read(shown) if shown else None


def refused(error: ssl.SSLCertVerificationError, seen: Certificate | None, host: str) -> UnreachableError:
    """Say why a server's certificate is not accepted, and what to do; `seen` is that certificate, if it was had."""
    reason = error.verify_message.rstrip(".")
    hint = "check tlsCAFile and the server's certificate"
    code = error.verify_code
    if code in (WRONG_HOST, WRONG_ADDRESS):
        names = ", ".join(seen.names) if seen and seen.names else "no host by name"
        reason = f"it is for {names}, not for {host}"
        hint = f"use one of its names in the URI, or have the certificate made for {host}"
    elif code == EXPIRED:
        ended = f" on {seen.ends:%Y-%m-%d} ({-seen.days} days ago)" if seen else ""
        reason = f"it expired{ended}"
        hint = "renew it on the server; if it should be valid, check this machine's clock"
        if seen and seen.days >= 0:
            reason = "a certificate above it (its authority's) has expired"
            hint = "renew the authority's certificate, in tlsCAFile too"
    elif code == NOT_YET:
        begins = f" before {seen.begins:%Y-%m-%d %H:%M} UTC" if seen else " yet"
        reason, hint = f"it is not valid{begins}", "check this machine's clock"
    elif code in _UNTRUSTED:
        issuer = f" ({seen.issuer})" if seen else ""
        reason = f"its issuer{issuer} is not trusted here"
        hint = "name the file with the authority's certificate: tlsCAFile=/path/ca.pem"
        if seen and seen.subject == seen.issuer:
            reason = "it is signed by itself"
    facts = seen.facts() if seen else {}
    return UnreachableError(
        f"its TLS certificate was not accepted: {reason}", hint=hint, verify_code=code, **facts
    )


def broken(error: BaseException, *, client_certificate: bool, after: bool) -> MotorctlError:
    """Say what a TLS handshake failed of that isn't the server's certificate.

    `client_certificate` says whether we showed one, `after` whether the server hung up only when the handshake
    was done: that is how mongod refuses a client's certificate, or the want of it.
    """
    text = str(error)
    table: tuple[tuple[tuple[str, ...], str, str], ...] = (
        (
            ("CERTIFICATE_REQUIRED", "certificate required", "HANDSHAKE_FAILURE"),
            "it wants a TLS client certificate",
            "name yours: tlsCertificateKeyFile=/path/client.pem",
        ),
        (
            ("UNKNOWN_CA", "BAD_CERTIFICATE", "CERTIFICATE_UNKNOWN", "UNSUPPORTED_CERTIFICATE"),
            "it does not accept our client certificate",
            "the server's CA must have signed the certificate in tlsCertificateKeyFile",
        ),
        (
            ("CERTIFICATE_EXPIRED",),
            "it says that our client certificate has expired",
            "renew the certificate in tlsCertificateKeyFile",
        ),
        (
            ("PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL", "NO_PROTOCOLS"),
            "it and this machine have no TLS version in common",
            "this machine speaks TLS 1.2 and 1.3: switch them on at the server",
        ),
        (
            ("NO_SHARED_CIPHER", "NO_CIPHERS"),
            "it and this machine have no cipher in common",
            "check both sides",
        ),
    )
    for signs, words, hint in table:
        if any(sign in text for sign in signs):
            return UnreachableError(words, hint=hint)
    if after and client_certificate:
        return UnreachableError(*table[1][1:2], hint=table[1][2] + "; its log says why it doesn't")
    if after or not client_certificate:
        certain = "it closed the connection: it wants a TLS client certificate" if after else None
        return UnreachableError(
            certain or "it ended the TLS handshake",
            hint="name yours: tlsCertificateKeyFile=/path/client.pem; the server's log says why",
        )
    return UnreachableError("it ended the TLS handshake", hint="the server's log says why")
