"""The PEM files that a connection names, looked at before the driver hands them to OpenSSL.

OpenSSL asks for the passphrase of a locked key on the terminal, wherever it finds one, and says of a file that
is none of what it should be that "PEM lib" failed. Reads those files only to tell what they are: nothing of
them is kept or shown but their names. No cryptography here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from motorctl.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

AUTHORITY, CLIENT, PASSPHRASE = "tlsCAFile", "tlsCertificateKeyFile", "tlsCertificateKeyFilePassword"

_CERTIFICATE = re.compile(rb"-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----")
_KEY = re.compile(rb"-----BEGIN (?:\w+ )?(?:ENCRYPTED )?PRIVATE KEY-----")
_LOCKED = re.compile(rb"-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED", re.MULTILINE)
"""A locked key in PKCS #8 (RFC 7468, 11), and in the older form of OpenSSL (RFC 1421, 4.6.1.1)."""

_LARGEST = 4 << 20
"""Bytes of a file that are looked at: all authorities of a system are a fifth of it."""


def given(address: str, options: Mapping[str, object], name: str) -> str | None:
    """Return an option of the connection: from the connection string, else from the client's options."""
    # Names of URI options know no case, and an option that stands there twice counts as it stands last.
    found = re.findall(rf"[?&]{name}=([^&]*)", address, re.IGNORECASE)
    value = unquote_plus(found[-1]) if found else options.get(name)
    return None if value is None else str(value)


def check(address: str, options: Mapping[str, object]) -> None:
    """Raise ConfigurationError for a file that can't be what its option says it is.

    A file that isn't there or can't be read is left to the driver, which says so.
    """
    authority, client = (given(address, options, name) for name in (AUTHORITY, CLIENT))
    if authority and (text := _read(authority)) is not None and not _CERTIFICATE.search(text):
        raise ConfigurationError(
            f"TLS: {authority} holds no certificate",
            hint=f"{AUTHORITY} names a PEM file with the certificate of the authority that signed the server's",
        )
    if not client or (text := _read(client)) is None:
        return
    lacking = [
        what for what, sign in (("private key", _KEY), ("certificate", _CERTIFICATE)) if not sign.search(text)
    ]
    if lacking:
        raise ConfigurationError(
            f"TLS: {client} holds no {' and no '.join(lacking)}",
            hint=f"{CLIENT} names one PEM file with both: `cat client.key client.crt > client.pem`",
        )
    if _LOCKED.search(text) and not given(address, options, PASSPHRASE):
        raise ConfigurationError(
            f"TLS: the key in {client} is locked with a passphrase",
            hint=f"{PASSPHRASE} holds it, among the options of a profile, or percent-encoded in the URI",
        )


def mismatch(address: str, options: Mapping[str, object], said: str) -> ConfigurationError:
    """Say why OpenSSL doesn't take the client's file: the driver speaks of a mismatch, whatever was `said`."""
    client = given(address, options, CLIENT) or CLIENT
    if _LOCKED.search(_read(client) or b""):
        return ConfigurationError(
            f"TLS: the passphrase does not open the key in {client}",
            hint=f"check {PASSPHRASE}; in a URI it is percent-encoded",
        )
    if "MISMATCH" not in said.upper():
        return ConfigurationError(
            f"TLS: the private key or the certificate in {client} is damaged",
            hint=f"{CLIENT} names a PEM file: `openssl pkey -in FILE` and `openssl x509 -in FILE` should read it",
        )
    return ConfigurationError(
        f"TLS: the key in {client} is not the one of its certificate",
        hint="the first certificate in the file is to be the key's own, those of its authorities come after it",
    )


def _read(path: str) -> bytes | None:
    try:
        file = Path(path)
        if not file.is_file():
            # What a pipe has is there once: for OpenSSL.
            return None
        with file.open("rb") as opened:
            return opened.read(_LARGEST)
    except (OSError, ValueError):
        return None
