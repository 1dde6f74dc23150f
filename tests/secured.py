"""Servers that ask who somebody is, and servers that talk TLS; the certificates of both, good and bad.

Plain functions: a module that needs such a server makes one fixture of its own from them, with the users
that it speaks of. Certificates are made anew for each run, by trustme; nothing here outlives the tests.
"""

from __future__ import annotations

import base64
import os
import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pymongo
import trustme
from conftest import Server
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import load_pem_x509_certificate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

__all__ = [
    "PASSPHRASE",
    "PASSWORD",
    "Certificates",
    "Tls",
    "User",
    "as_user",
    "encrypted",
    "guarded",
    "tls_front",
    "tls_options",
]

PASSWORD = "secret-of-tests"
"""The password of `root`, and of each user who has none of his own."""

PASSPHRASE = "passphrase-of-tests"
"""What the key in `Certificates.locked_client` is locked with."""


@dataclass(frozen=True)
class User:
    """A user of a guarded server; `database` is where he is kept, his authSource."""

    name: str
    roles: Iterable[str | Mapping[str, str]] = ()
    """A name alone is a role of `database`: one of `$external` names its database."""
    password: str | None = PASSWORD
    """None for a user who is known by a certificate (of the database `$external`)."""
    database: str = "admin"
    mechanisms: tuple[str, ...] = ("SCRAM-SHA-1", "SCRAM-SHA-256")


class Certificates:
    """PEM files in a directory: an authority that is trusted, another that isn't, and what they signed.

    A file of a server or a client holds its key and its certificate, as `tlsCertificateKeyFile` wants them.
    """

    def __init__(self, home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self._home = home
        self._authority = trustme.CA(organization_name="motorctl tests", organization_unit_name="authority")
        self._other = trustme.CA(organization_name="motorctl tests", organization_unit_name="other authority")
        self.ca = home / "ca.pem"
        self.other_ca = home / "other-ca.pem"
        self._authority.cert_pem.write_to_path(str(self.ca))
        self._other.cert_pem.write_to_path(str(self.other_ca))
        here = ("localhost", "127.0.0.1", "::1")
        self.server = self.issue("server", *here)
        self.wrong_host = self.issue("wrong-host", "db.example.com")
        self.expired = self.issue("expired", *here, days=-1)
        self.expiring = self.issue("expiring", *here, days=10)
        self.client = self.issue("client", common_name="ada", unit="clients")
        self.expired_client = self.issue("expired-client", common_name="ada", unit="clients", days=-1)
        self.foreign_client = self.issue("foreign-client", common_name="ada", unit="clients", trusted=False)
        self.locked_client = self._locked("locked-client")

    def issue(
        self,
        name: str,
        *hosts: str,
        common_name: str | None = None,
        unit: str = "servers",
        days: float = 30 * 12,
        trusted: bool = True,
    ) -> Path:
        """Sign a certificate for these hosts or this person, which ends in `days` from now; return its file."""
        now = datetime.now(UTC)
        signed = (self._authority if trusted else self._other).issue_cert(
            *hosts,
            common_name=common_name,
            organization_name="motorctl tests",
            # mongod takes a client with the server's own O and OU for a member of its cluster.
            organization_unit_name=unit,
            not_before=now - timedelta(days=60),
            not_after=now + timedelta(days=days),
        )
        path = self._home / f"{name}.pem"
        signed.private_key_and_cert_chain_pem.write_to_path(str(path))
        return path

    @property
    def subject(self) -> str:
        """The user's name by which a server knows the certificate `client`: its subject, as RFC 2253 writes it."""
        return load_pem_x509_certificate(self.client.read_bytes()).subject.rfc4514_string()

    def _locked(self, name: str) -> Path:
        """Write `client` once more, its key encrypted with PASSPHRASE."""
        text = self.client.read_bytes()
        key = serialization.load_pem_private_key(text, password=None)
        locked = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(PASSPHRASE.encode()),
        )
        path = self._home / f"{name}.pem"
        path.write_bytes(locked + text[text.index(b"-----BEGIN CERTIFICATE-----") :])
        return path


@dataclass(frozen=True)
class Tls:
    """How a server talks TLS: its own certificate, and whether it wants one of each client."""

    certificates: Certificates
    pem: Path | None = None
    """The server's certificate; None is `certificates.server`."""
    mutual: bool = False
    mode: str = "requireTLS"
    extra: tuple[str, ...] = field(default=())

    @property
    def arguments(self) -> tuple[str, ...]:
        """The options of mongod."""
        optional = () if self.mutual else ("--tlsAllowConnectionsWithoutCertificates",)
        return (
            *("--tlsMode", self.mode),
            *("--tlsCertificateKeyFile", str(self.pem or self.certificates.server)),
            *("--tlsCAFile", str(self.certificates.ca)),
            *optional,
            *self.extra,
        )

    @property
    def client(self) -> dict[str, Any]:
        """The options of a client that gets in whatever the server's certificate says of its host."""
        return {
            "tls": True,
            "tlsCAFile": str(self.certificates.ca),
            "tlsCertificateKeyFile": str(self.certificates.client),
            "tlsAllowInvalidHostnames": True,
        }


def tls_options(certificates: Certificates, client: Path | None = None) -> str:
    """Return what a URI of a good client ends with: `&tls=true&tlsCAFile=...`."""
    own = f"&tlsCertificateKeyFile={quote(str(client), safe='')}" if client else ""
    return f"&tls=true&tlsCAFile={quote(str(certificates.ca), safe='')}{own}"


@contextmanager
def encrypted(home: Path, tls: Tls, *extra: str) -> Iterator[Server]:
    """Run a replica set of one member that talks TLS and asks nobody's name."""
    server = Server(home, *tls.arguments, *extra)
    try:
        server.initiate(**tls.client)
        yield server
    finally:
        server.kill()


@contextmanager
def guarded(
    home: Path,
    *users: User,
    roles: Mapping[str, Iterable[Mapping[str, Any]]] | None = None,
    tls: Tls | None = None,
    extra: tuple[str, ...] = (),
) -> Iterator[Server]:
    """Run a replica set of one member with users: `root`, and those given.

    `roles` are roles of the database `shop`, with their privileges. `as_user` is somebody's URI.
    """
    home.mkdir(parents=True, exist_ok=True)
    key = home / "key"
    key.write_text(base64.b64encode(os.urandom(72)).decode())
    key.chmod(0o600)
    options = tls.client if tls else {}
    server = Server(home / "home", "--keyFile", str(key), *(tls.arguments if tls else ()), *extra)
    try:
        # The exception for a first user on this machine holds until there is one.
        server.initiate(**options)
        with pymongo.MongoClient[dict[str, Any]](server.uri, **options) as first:
            first.admin.command("createUser", "root", pwd=PASSWORD, roles=["root"])
        with pymongo.MongoClient[dict[str, Any]](as_user(server, "root"), **options) as root:
            for name, privileges in (roles or {}).items():
                root["shop"].command("createRole", name, privileges=list(privileges), roles=[])
            for user in users:
                secret: dict[str, Any] = {}
                if user.password is not None:
                    secret = {"pwd": user.password, "mechanisms": user.mechanisms}
                root[user.database].command("createUser", user.name, roles=list(user.roles), **secret)
        yield server
    finally:
        server.kill()


def as_user(
    server: Server,
    user: str,
    password: str | None = PASSWORD,
    *,
    source: str = "admin",
    database: str = "shop",
    direct: bool = False,
) -> str:
    """Return somebody's URI; a password of None leaves it out, and `direct` the replica set."""
    how = "directConnection=true" if direct else "replicaSet=rs0"
    secret = "" if password is None else f":{quote(password, safe='')}"
    name = quote(user, safe="")
    return f"mongodb://{name}{secret}@{server.host}/{database}?{how}&authSource={quote(source, safe='')}"


@contextmanager
def tls_front(backend: str, pem: Path, context: ssl.SSLContext | None = None) -> Iterator[str]:
    """Talk TLS in front of a server that doesn't, as a load balancer does; yields its `127.0.0.1:PORT`.

    With a certificate that mongod itself would refuse to start with: one that has expired. `context` is
    for other ways to be wrong (old versions of TLS); the certificate is loaded into it.
    """
    context = context or ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    target, _, port = backend.partition(":")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve(plain: socket.socket) -> None:
            with (
                suppress(OSError),
                plain,
                context.wrap_socket(plain, server_side=True) as inside,
                socket.create_connection((target, int(port))) as outside,
            ):
                back = threading.Thread(target=_copy, args=(outside, inside), daemon=True)
                back.start()
                _copy(inside, outside)
                back.join(5)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    plain, _ = listener.accept()
                    threading.Thread(target=serve, args=(plain,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        # Closing alone doesn't wake who waits in accept().
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Pass on what comes until one side is closed."""
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
