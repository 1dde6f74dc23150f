"""TLS to real servers: each way to get it wrong, and what the user is told of it."""

from __future__ import annotations

import errno
import os
import ssl
import warnings
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
import secured
from on_terminal import Asked
from secured import PASSPHRASE, Certificates, Tls, tls_front, tls_options

from motorctl import certificate_files, driver_errors
from motorctl.errors import ConfigurationError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Result, Runner, Server

ROUND = ("--timeout", "0.5")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Server]:
    """A server that talks TLS only, and wants no certificate of its clients."""
    with secured.encrypted(tmp_path_factory.mktemp("tls"), Tls(certificates)) as server:
        yield server


@pytest.fixture(scope="module")
def mutual(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Server]:
    """A server that wants a certificate of each client."""
    with secured.encrypted(tmp_path_factory.mktemp("mutual"), Tls(certificates, mutual=True)) as server:
        yield server


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Server]:
    """A server whose certificate is for another host, and that knows no TLS 1.3."""
    tls = Tls(certificates, pem=certificates.wrong_host, extra=("--tlsDisabledProtocols", "TLS1_3"))
    with secured.encrypted(tmp_path_factory.mktemp("elsewhere"), tls) as server:
        yield server


def unreachable(done: Result) -> tuple[str, str]:
    """Return the reason, and the hint, of a run that reached no server."""
    assert done.code == ExitCode.UNREACHABLE, done.stderr
    error, hint = done.stderr.splitlines()
    head, _, reason = error.partition(" s: ")
    assert head.startswith("error: no server reached within ")
    host, _, words = reason.partition(": ")
    assert host.startswith("127.0.0.1:")
    return words, hint


# --- the server's certificate ------------------------------------------------------------------------


def test_with_its_own_authority_everything_works(
    cli: Runner, encrypted: Server, certificates: Certificates
) -> None:
    done = cli(
        "ping", "--uri", encrypted.uri + tls_options(certificates), "--until", "transactions", "-o", "json"
    )
    assert (done.code, done.stderr) == (0, "")
    assert done.json()["tls"] is True


def test_the_options_of_a_profile_do_too(
    cli: Runner, encrypted: Server, certificates: Certificates, tmp_path: Path
) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        f'[profiles.x]\nuri = "{encrypted.uri}"\n[profiles.x.options]\ntls = true\ntlsCAFile = "{certificates.ca}"\n'
    )
    done = cli("ping", "--config", str(config), "-p", "x", "-o", "json", connected=False)
    assert (done.code, done.json()["tls"]) == (0, True)


@pytest.mark.parametrize("named", [False, True], ids=["the machine's authorities", "another authority"])
def test_an_authority_that_did_not_sign_it(
    cli: Runner, encrypted: Server, certificates: Certificates, named: bool
) -> None:
    own = f"&tlsCAFile={quote(str(certificates.other_ca), safe='')}" if named else ""
    reason, hint = unreachable(cli("ping", "--uri", f"{encrypted.uri}&tls=true{own}", *ROUND))
    assert reason.startswith("its TLS certificate was not accepted: ")
    assert "in certificate chain" in reason or "unable to get local issuer certificate" in reason
    assert hint == "hint: tlsCAFile=/path/ca.pem names the certificate of the authority that signed it"


def test_a_certificate_for_another_host(cli: Runner, elsewhere: Server, certificates: Certificates) -> None:
    uri = elsewhere.uri + tls_options(certificates)
    reason, hint = unreachable(cli("ping", "--uri", uri, *ROUND))
    assert reason.startswith("its TLS certificate was not accepted: IP address mismatch")
    assert reason.endswith("is not valid for '127.0.0.1'")
    assert "use a name in the URI that the certificate is for" in hint
    for trusting in ("tlsAllowInvalidHostnames=true", "tlsAllowInvalidCertificates=true"):
        assert cli("ping", "--uri", f"{uri}&{trusting}", "-q").code == 0


def test_a_certificate_that_has_expired(cli: Runner, server_uri: str, certificates: Certificates) -> None:
    with tls_front(server_uri.split("/")[2], certificates.expired) as host:
        uri = f"mongodb://{host}/?directConnection=true{tls_options(certificates)}"
        reason, hint = unreachable(cli("ping", "--uri", uri, *ROUND))
        assert reason == "its TLS certificate was not accepted: certificate has expired"
        assert "renew the server's certificate" in hint
        assert cli("ping", "--uri", f"{uri}&tlsAllowInvalidCertificates=true", "-q").code == 0


def test_only_a_version_of_tls_that_nobody_should_speak(
    cli: Runner, server_uri: str, certificates: Certificates
) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with tls_front(server_uri.split("/")[2], certificates.server, old) as host:
        uri = f"mongodb://{host}/?directConnection=true{tls_options(certificates)}"
        reason, hint = unreachable(cli("ping", "--uri", uri, *ROUND))
    assert reason == "it speaks no version of TLS that this machine does (1.2 and 1.3)"
    assert "log" in hint


# --- with and without --------------------------------------------------------------------------------


def test_tls_that_was_not_asked_for(cli: Runner, encrypted: Server) -> None:
    reason, hint = unreachable(cli("ping", "--uri", encrypted.uri, *ROUND))
    assert reason == "it closed the connection (does it want TLS?)"
    assert "add tls=true" in hint


def test_tls_to_a_server_without_it(cli: Runner, server_uri: str, certificates: Certificates) -> None:
    reason, hint = unreachable(cli("ping", "--uri", server_uri + tls_options(certificates), *ROUND))
    assert reason == "it does not speak TLS"
    assert "leave tls=true out" in hint


# --- the client's certificate ------------------------------------------------------------------------


def test_a_certificate_of_ones_own(cli: Runner, mutual: Server, certificates: Certificates) -> None:
    shown = mutual.uri + tls_options(certificates, certificates.client)
    assert cli("ping", "--uri", shown, "-q").code == 0
    locked = mutual.uri + tls_options(certificates, certificates.locked_client)
    assert cli("ping", "--uri", f"{locked}&tlsCertificateKeyFilePassword={PASSPHRASE}", "-q").code == 0


def test_a_client_certificate_that_is_missing(
    cli: Runner, mutual: Server, certificates: Certificates
) -> None:
    reason, hint = unreachable(cli("ping", "--uri", mutual.uri + tls_options(certificates), *ROUND))
    # In TLS 1.3 the client is done before the server has looked; OpenSSL sees its alert, or the end alone.
    assert reason in (
        "it wants a TLS client certificate",
        "it closed the connection (does it want a client certificate?)",
        "it reset the connection (does it want a client certificate?)",
    )
    assert "tlsCertificateKeyFile=" in hint


@pytest.mark.parametrize("name", ["foreign_client", "expired_client"])
def test_a_client_certificate_that_the_server_does_not_accept(
    cli: Runner, mutual: Server, certificates: Certificates, name: str
) -> None:
    options = tls_options(certificates, getattr(certificates, name))
    reason, hint = unreachable(cli("ping", "--uri", mutual.uri + options, *ROUND))
    assert "accept the client certificate" in reason
    assert "has it ended, did the server's authority sign it?" in hint


# --- files -------------------------------------------------------------------------------------------


def refused(done: Result) -> tuple[str, str]:
    assert done.code == ExitCode.USAGE, done.stderr
    error, hint = done.stderr.splitlines()
    return error, hint


def test_a_locked_key_is_never_asked_for_on_the_terminal(mutual: Server, certificates: Certificates) -> None:
    uri = mutual.uri + tls_options(certificates, certificates.locked_client)
    run = Asked("ping", "--uri", uri)
    done = run.end()
    assert done.code == ExitCode.USAGE
    error, hint = done.stderr.replace("\r", "").splitlines()
    assert error == f"error: TLS: the key in {certificates.locked_client} is locked with a passphrase"
    assert "tlsCertificateKeyFilePassword" in hint


def test_a_wrong_passphrase(cli: Runner, mutual: Server, certificates: Certificates) -> None:
    uri = mutual.uri + tls_options(certificates, certificates.locked_client)
    done = cli("ping", "--uri", f"{uri}&tlsCertificateKeyFilePassword=not-it-at-all", "--debug", "-v")
    assert done.code == ExitCode.USAGE
    assert (
        f"error: TLS: the passphrase does not open the key in {certificates.locked_client}\n" in done.stderr
    )
    assert "not-it-at-all" not in done.stderr


def test_a_key_of_another_certificate(
    cli: Runner, mutual: Server, certificates: Certificates, tmp_path: Path
) -> None:
    key, certificate = certificates.server.read_bytes(), certificates.client.read_bytes()
    mixed = tmp_path / "mixed.pem"
    begin = b"-----BEGIN CERTIFICATE-----"
    mixed.write_bytes(key[: key.index(begin)] + certificate[certificate.index(begin) :])
    error, _ = refused(cli("ping", "--uri", mutual.uri + tls_options(certificates, mixed)))
    assert error == f"error: TLS: the key in {mixed} is not the one of its certificate"


@pytest.mark.parametrize(
    ("option", "content", "said"),
    [
        ("tlsCAFile", None, "No such file"),
        ("tlsCertificateKeyFile", None, "No such file"),
        ("tlsCAFile", "", "holds no certificate"),
        ("tlsCAFile", "key", "holds no certificate"),
        ("tlsCertificateKeyFile", "", "holds no private key and no certificate"),
        ("tlsCertificateKeyFile", "certificate", "holds no private key"),
        ("tlsCertificateKeyFile", "key", "holds no certificate"),
        ("tlsCAFile", "broken", "TLS: "),
        ("tlsCertificateKeyFile", "broken", "TLS: "),
    ],
)
def test_a_file_that_is_not_what_its_option_says(
    cli: Runner, certificates: Certificates, tmp_path: Path, option: str, content: str | None, said: str
) -> None:
    file = tmp_path / "file &+%.pem"
    text = certificates.client.read_text()
    at = text.index("-----BEGIN CERTIFICATE-----")
    parts = {"key": text[:at], "certificate": text[at:], "broken": text.replace("M", "~"), "": ""}
    if content is not None:
        file.write_text(parts[content])
    uri = f"mongodb://127.0.0.1:1/?tls=true&{option}={quote(str(file), safe='')}"
    error, hint = refused(cli("ping", "--uri", uri))
    assert said in error
    assert option in hint
    # And by a profile, which holds the path as it is.
    config = tmp_path / "config.toml"
    config.write_text(
        f'[profiles.x]\nuri = "mongodb://127.0.0.1:1"\n[profiles.x.options]\ntls = true\n{option} = "{file}"\n'
    )
    assert refused(cli("ping", "--config", str(config), "-p", "x", connected=False)) == (error, hint)


def test_options_that_exclude_each_other(cli: Runner) -> None:
    done = cli(
        "ping", "--uri", "mongodb://127.0.0.1:1/?tls=true&tlsInsecure=true&tlsAllowInvalidHostnames=true"
    )
    assert done.code == ExitCode.USAGE
    assert "tlsInsecure and tlsAllowInvalidHostnames" in done.stderr


def test_a_pipe_is_left_for_the_driver_to_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    # It would wait for a writer for ever.
    certificate_files.check("mongodb://h/", {"tlsCAFile": str(pipe), "tlsCertificateKeyFile": str(pipe)})


@pytest.mark.parametrize(
    ("address", "options", "expected"),
    [
        ("mongodb://h/?tlsCAFile=%2Fa%20b", {}, "/a b"),
        ("mongodb://h/?TLSCAFILE=a+b&x=1", {"tlsCAFile": "c"}, "a b"),
        ("mongodb://h/?tlscafile=1&tlsCAFile=2", {}, "2"),
        ("mongodb://h/?x=tlsCAFile", {"tlsCAFile": "c"}, "c"),
        ("mongodb://h/", {}, None),
    ],
)
def test_where_an_option_is_found(address: str, options: dict[str, str], expected: str | None) -> None:
    assert certificate_files.given(address, options, "tlsCAFile") == expected


@pytest.mark.parametrize(
    "head",
    [
        "-----BEGIN ENCRYPTED PRIVATE KEY-----",
        "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED",
    ],
)
def test_both_forms_of_a_locked_key(tmp_path: Path, head: str) -> None:
    file = tmp_path / "locked.pem"
    file.write_text(f"{head}\nAAAA\n-----BEGIN CERTIFICATE-----\n")
    with pytest.raises(ConfigurationError, match="is locked with a passphrase"):
        certificate_files.check("mongodb://h/", {"tlsCertificateKeyFile": str(file)})
    certificate_files.check(
        "mongodb://h/?tlsCertificateKeyFilePassword=x", {"tlsCertificateKeyFile": str(file)}
    )


@pytest.mark.parametrize(
    ("sign", "tls", "words"),
    [
        (
            "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required",
            "tls",
            "wants a TLS client",
        ),
        ("[SSL: TLSV1_ALERT_UNKNOWN_CA] tlsv1 alert unknown ca", "known", "does not trust who signed it"),
        (
            "[SSL: SSLV3_ALERT_CERTIFICATE_EXPIRED] sslv3 alert certificate expired",
            "known",
            "that has expired",
        ),
        (
            "[SSL: SSLV3_ALERT_BAD_CERTIFICATE] sslv3 alert bad certificate",
            "known",
            "does not accept the client",
        ),
        ("[SSL: NO_SHARED_CIPHER] no shared cipher", "tls", "no TLS cipher"),
        ("[SSL: SSLV3_ALERT_HANDSHAKE_FAILURE] sslv3 alert handshake failure", "tls", "no TLS cipher"),
        ("connection closed", None, "does it want TLS, or a client certificate?"),
        ("[Errno 32] Broken pipe", "plain", "does it want TLS?"),
    ],
)
def test_what_other_servers_say_of_a_handshake(sign: str, tls: driver_errors.Tls | None, words: str) -> None:
    assert words in driver_errors.reason_in_words(OSError(f"db:27017: {sign} (_ssl.c:1006)"), tls)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            f"h:27017: [Errno {errno.ECONNREFUSED}] Connect call failed ('127.0.0.1', 27017)",
            "connection refused, nothing listens there",
        ),
        (
            f"h:27017: [Errno {errno.ENETUNREACH}] Connect call failed ('2001:db8::1', 27017, 0, 0)",
            "the network is unreachable",
        ),
        (
            f"h:27017: [Errno {errno.EHOSTUNREACH}] Connect call failed ('192.0.2.1', 27017)",
            "no route to the host",
        ),
        ("SSL handshake failed: h:27017: ", "it does not speak TLS"),
        (
            "SSL handshake failed: h:27017: [SSL: UNSUPPORTED_PROTOCOL] unsupported protocol (_ssl.c:1006)",
            "it speaks no version of TLS that this machine does (1.2 and 1.3)",
        ),
        (
            "h:27017: connection is already closed",
            "it closed the connection (does it want a client certificate?)",
        ),
        ("h:27017: Connection is closed", "it closed the connection (does it want a client certificate?)"),
    ],
)
def test_what_asyncio_says_where_threads_say_the_system_s_words(said: str, words: str) -> None:
    """PyMongo's own async client hands these on, with its time-outs behind them."""
    for text in (said, f"{said} (configured timeouts: connectTimeoutMS: 500.0ms)"):
        assert driver_errors.reason_in_words(OSError(text), "tls") == words
