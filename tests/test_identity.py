"""Who somebody is: each way to say it to a real server, each way in which that fails, and the question for it."""

from __future__ import annotations

import re
import signal
import string
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
import secured
from conftest import Result, until
from on_terminal import Asked
from secured import PASSWORD, Certificates, User, as_user

from motorctl import password
from motorctl.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from conftest import Runner, Server

READS = ({"role": "read", "db": "shop"},)
EVERY_CHARACTER = string.punctuation + " é☃ª"
NAMES = [
    User("sha1", READS, mechanisms=("SCRAM-SHA-1",)),
    User("sha256", READS, mechanisms=("SCRAM-SHA-256",)),
    User("both", READS),
    User("own", READS, database="shop"),
    User("special", READS, password=EVERY_CHARACTER),
    User(EVERY_CHARACTER, READS),
    User("ada@example.com", READS, password="colon:slash/at@"),
    # Prepared by RFC 4013: the soft hyphen is left out, on both sides.
    User("prepared", READS, password="I\u00adX", mechanisms=("SCRAM-SHA-256",)),
    User("writer", ({"role": "readWrite", "db": "shop"},)),
]
BY_NAME = {user.name: user for user in NAMES}
X509 = "authMechanism=MONGODB-X509"
SERVER_SIDE = ("--setParameter", "authenticationMechanisms=SCRAM-SHA-1,SCRAM-SHA-256,MONGODB-X509")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Server]:
    known = User(certificates.subject, READS, None, "$external")
    users = [*NAMES, known]
    home = tmp_path_factory.mktemp("auth")
    tls = secured.Tls(certificates, mode="allowTLS")
    with secured.guarded(home, *users, tls=tls, extra=SERVER_SIDE) as server:
        yield server


def who(result: Result) -> tuple[int, str | None]:
    assert result.code == 0, result.stderr
    return result.code, result.json()["user"]


# --- passwords ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("user", NAMES, ids=[f"{n}-{user.database}" for n, user in enumerate(NAMES)])
def test_every_name_and_every_password_gets_in(cli: Runner, guarded: Server, user: User) -> None:
    uri = as_user(guarded, user.name, user.password, source=user.database)
    assert who(cli("ping", "--uri", uri, "-o", "json")) == (0, f"{user.name}@{user.database}")
    counted = cli("users", "count", "--uri", uri, "--db", "shop")
    assert (counted.code, counted.stdout, counted.stderr) == (0, "0\n", "")


def test_the_database_of_the_uri_is_where_a_user_is_looked_for(cli: Runner, guarded: Server) -> None:
    uri = as_user(guarded, "own", database="shop").replace("&authSource=admin", "")
    assert who(cli("ping", "--uri", uri, "-o", "json")) == (0, "own@shop")


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-1", "SCRAM-SHA-256"])
def test_a_mechanism_that_is_asked_for_is_the_one_used(cli: Runner, guarded: Server, mechanism: str) -> None:
    other = {"SCRAM-SHA-1": "sha256", "SCRAM-SHA-256": "sha1"}[mechanism]
    asked = f"&authMechanism={mechanism}"
    assert who(cli("ping", "--uri", as_user(guarded, "both") + asked, "-o", "json")) == (0, "both@admin")
    done = cli("ping", "--until", "auth", "--uri", as_user(guarded, other) + asked)
    assert done.code == ExitCode.UNAUTHORIZED
    assert done.stderr.splitlines()[0] == f"error: authentication failed for {other}@admin by {mechanism}"


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize(
    ("name", "secret", "source"),
    [
        ("both", "wrong-" + EVERY_CHARACTER, "admin"),
        ("nobody", PASSWORD, "admin"),
        ("both", PASSWORD, "shop"),
        ("own", PASSWORD, "admin"),
    ],
)
def test_who_is_not_let_in_is_named_and_the_password_is_not(
    cli: Runner, guarded: Server, name: str, secret: str, source: str, log_format: str
) -> None:
    loud = ("--debug", "-v", "--log-format", log_format)
    done = cli("users", "list", *loud, "--uri", as_user(guarded, name, secret, source=source))
    assert done.code == ExitCode.UNAUTHORIZED
    assert f"authentication failed for {name}@{source}" in done.stderr
    assert "check user, password and authSource" in done.stderr
    assert ("authSource=admin" in done.stderr) == (source != "admin")
    for form in (secret, quote(secret, safe=""), repr(secret)[1:-1]):
        assert form not in done.stdout + done.stderr


def test_a_password_that_cannot_be_prepared_is_no_defect_of_the_program(cli: Runner, guarded: Server) -> None:
    done = cli("users", "list", "-d", "shop", "--uri", as_user(guarded, "sha256", "bell\x07bell"))
    assert done.code == ExitCode.USAGE
    assert done.stderr.startswith("error: the password holds a character that SCRAM does not take")
    assert "bell" not in done.stderr


def test_no_password_and_no_user_say_what_to_do(cli: Runner, guarded: Server) -> None:
    for secret in (None, ""):
        done = cli("users", "list", "--uri", as_user(guarded, "both", secret))
        assert done.code == ExitCode.USAGE
        error, hint = done.stderr.splitlines()
        assert error == "error: the connection string names a user without a password"
        assert "--ask-password" in hint
    done = cli("users", "list", "--uri", guarded.uri)
    assert done.code == ExitCode.UNAUTHORIZED
    assert done.stderr.startswith("error: the server requires authentication\n")


# --- certificates ------------------------------------------------------------------------------------


def test_a_certificate_gets_in_by_its_subject(
    cli: Runner, guarded: Server, certificates: Certificates, tmp_path: Path
) -> None:
    subject = f"{certificates.subject}@$external"
    shown = f"{guarded.uri}{secured.tls_options(certificates, certificates.client)}&{X509}"
    assert who(cli("ping", "--uri", shown, "-o", "json")) == (0, subject)
    named = as_user(guarded, certificates.subject, None, source="$external")
    named += f"{secured.tls_options(certificates, certificates.client)}&{X509}"
    assert who(cli("ping", "--uri", named, "-o", "json")) == (0, subject)
    # The same from a profile, with a locked key.
    config = tmp_path / "config.toml"
    config.write_text(
        f'[profiles.x]\nuri = "{guarded.uri}"\n[profiles.x.options]\ntls = true\n'
        f'tlsCAFile = "{certificates.ca}"\ntlsCertificateKeyFile = "{certificates.locked_client}"\n'
        f'tlsCertificateKeyFilePassword = "{secured.PASSPHRASE}"\nauthMechanism = "MONGODB-X509"\n'
    )
    done = cli("ping", "--config", str(config), "-p", "x", "-o", "json", connected=False)
    assert who(done) == (0, subject)


@pytest.mark.parametrize(
    ("how", "said", "hinted"),
    [
        ("none", "no verified subject name available from client", "tlsCertificateKeyFile"),
        ("other name", "there is no x.509 client certificate matching the user", "subject"),
        ("unknown", 'could not find user "CN=bob,OU=clients,O=motorctl tests"', "subject"),
        ("of a server", "can only be used for cluster authentication", "subject"),
    ],
)
def test_a_certificate_that_is_nobodys_is_exit_4_and_says_why(
    cli: Runner, guarded: Server, certificates: Certificates, how: str, said: str, hinted: str
) -> None:
    uri, shown = guarded.uri, certificates.client
    if how == "other name":
        uri = as_user(guarded, "CN=somebody else", None, source="$external")
    elif how == "unknown":
        shown = certificates.issue("bob", common_name="bob", unit="clients")
    elif how == "of a server":
        shown = certificates.issue("member", common_name="bob", unit="servers")
    options = secured.tls_options(certificates, None if how == "none" else shown)
    done = cli("users", "count", "-d", "shop", "--uri", f"{uri}{options}&{X509}")
    assert done.code == ExitCode.UNAUTHORIZED
    error, hint = done.stderr.splitlines()
    assert error.startswith("error: authentication failed")
    assert "by MONGODB-X509: " in error
    assert said in error
    assert hinted in hint


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (
            "authMechanism=PLAIN",
            4,
            "authentication failed: received authentication for mechanism PLAIN which",
        ),
        ("authMechanism=SCRAM-SHA-512", 2, "connection string: authmechanism must be in"),
        ("authMechanism=MONGODB-X509", 2, "Passwords are not supported by MONGODB-X509"),
    ],
)
def test_a_mechanism_that_cannot_be(cli: Runner, guarded: Server, options: str, code: int, said: str) -> None:
    source = "$external" if "X509" in options else "admin"
    done = cli("users", "count", "--uri", f"{as_user(guarded, 'both', source=source)}&{options}")
    assert (done.code, said in done.stderr) == (code, True), done.stderr


# --- the question for the password -------------------------------------------------------------------


def asked(*arguments: str, answers: Sequence[str] = (f"{PASSWORD}\n",), stdin: bytes = b"") -> Result:
    """Run the program on a terminal and answer its questions; what was typed never stands on the screen."""
    run = Asked(*arguments, stdin=stdin)
    for number, answer in enumerate(answers, 1):
        until_asked(run, number)
        run.type(answer)
    done = run.end()
    for answer in answers:
        if typed := answer.strip():
            assert typed not in done.stdout + done.stderr
    return done


def until_asked(run: Asked, times: int) -> None:
    deadline = time.monotonic() + 30
    while run.screen.count("Password of ") < times:
        assert time.monotonic() < deadline, run.screen
        assert run.process.poll() is None, run.screen
        run._read(0.05)


def without_password(server: Server, name: str = "both") -> str:
    return as_user(server, name, None)


def test_the_password_is_asked_for_on_the_terminal(guarded: Server) -> None:
    done = asked("ping", "--ask-password", "--uri", without_password(guarded), "-o", "json")
    assert who(done) == (0, "both@admin")
    assert done.stderr.replace("\r", "") == f"Password of both at {guarded.host}: \n"


def test_stdin_stays_for_data(guarded: Server) -> None:
    done = asked(
        *("import", "-", "--into", "typed", "--format", "ndjson", "-o", "json", "--ask-password"),
        *("--uri", without_password(guarded, "writer")),
        stdin=b'{"_id": 1}\n{"_id": 2}\n',
    )
    assert (done.code, done.json()["inserted"]) == (0, 2)


def test_a_user_of_a_file_a_profile_or_the_environment_is_asked_too_and_once_for_all_connections(
    guarded: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "uri"
    file.write_text(without_password(guarded, "special"))
    done = asked(
        *("ping", "--uri-file", str(file), "--ask-password", "-o", "json", "--wait", "9"),
        answers=[f"{EVERY_CHARACTER}\n"],
    )
    assert who(done) == (0, "special@admin")
    config = tmp_path / "config.toml"
    config.write_text(f'[profiles.x]\nuri = "{without_password(guarded)}"\n')
    assert who(asked("ping", "--config", str(config), "-p", "x", "--ask-password", "-o", "json"))[0] == 0
    monkeypatch.setenv("MOTORCTL_URI", without_password(guarded))
    # Two connections, of one user to one server.
    differing = asked("schema", "diff", "db", "db:shop", "--ask-password")
    assert (differing.code, differing.stderr.count("Password of")) == (0, 1), differing.stderr


def test_a_wrong_answer_is_exit_4_and_stays_unseen(guarded: Server) -> None:
    done = asked(
        *("users", "list", "--debug", "-v", "--ask-password", "--uri", without_password(guarded)),
        answers=["not-the-password-&-%40\n"],
    )
    assert done.code == ExitCode.UNAUTHORIZED
    assert "authentication failed for both@admin" in done.stderr


@pytest.mark.parametrize("answer", ["\n", "\x04"])
def test_no_answer_is_exit_2(guarded: Server, answer: str) -> None:
    done = asked("users", "list", "--ask-password", "--uri", without_password(guarded), answers=[answer])
    assert (done.code, "error: --ask-password: no password was typed" in done.stderr) == (2, True)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_whoever_stops_at_the_question_has_an_echo_again(
    guarded: Server, number: signal.Signals, code: int
) -> None:
    run = Asked("users", "list", "--ask-password", "--uri", without_password(guarded))
    run.read_until("Password of both")
    until(lambda: not run.echoes, "the terminal does not echo")
    run.process.send_signal(number)
    done = run.end()
    assert done.code == code
    assert "Traceback" not in done.stderr


def test_ctrl_c_typed_at_the_question_is_exit_130(guarded: Server) -> None:
    done = asked("users", "list", "--ask-password", "--uri", without_password(guarded), answers=["\x03"])
    assert done.code == ExitCode.INTERRUPTED


def test_without_a_terminal_it_is_exit_2_and_stdin_is_not_taken_for_the_answer(guarded: Server) -> None:
    run = Asked(
        *("users", "list", "--ask-password", "--uri", without_password(guarded)),
        stdin=f"{PASSWORD}\n".encode(),
        terminal=False,
    )
    done = run.end()
    assert done.code == ExitCode.USAGE
    assert "error: --ask-password: there is no terminal to ask on" in done.stderr
    assert "--uri-file" in done.stderr


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("mongodb://127.0.0.1:1/shop", "names no user"),
        ("mongodb://ada:secret-word@127.0.0.1:1/shop", "has a password already"),
    ],
)
def test_where_there_is_nothing_to_ask_nobody_is_asked(cli: Runner, uri: str, said: str) -> None:
    done = cli("users", "list", "--ask-password", "--uri", uri)
    assert done.code == ExitCode.USAGE
    assert done.stderr.startswith(f"error: --ask-password: the connection string {said}\nhint: ")
    assert "secret-word" not in done.stderr


@pytest.mark.parametrize(
    "arguments", [("config", "show"), ("completion", "bash"), ("schema", "init", "shop")]
)
def test_what_talks_to_no_server_does_not_ask(arguments: tuple[str, ...]) -> None:
    run = Asked(*arguments, "--ask-password", "--uri", "mongodb://ada@127.0.0.1:1/", terminal=False)
    done = run.end()
    assert (done.code, "Password" in done.stderr) == (0, False)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("mongodb://ada@h/db", "mongodb://ada:p%40%2F%25@h/db"),
        ("mongodb://ada:@h:1,i:2/?a=b", "mongodb://ada:p%40%2F%25@h:1,i:2/?a=b"),
        ("mongodb+srv://a%40b@h?x=ada@h", "mongodb+srv://a%40b:p%40%2F%25@h?x=ada@h"),
        ("mongodb://ada@[::1]:27017", "mongodb://ada:p%40%2F%25@[::1]:27017"),
    ],
)
def test_where_a_password_stands_in_a_connection_string(uri: str, expected: str) -> None:
    assert password.with_password(uri, "p@/%") == expected
    assert password.account(uri).has_password is False
    assert password.account(expected) == (*password.account(uri)[:2], True)


def test_the_question_cannot_drive_the_terminal() -> None:
    question = password.account("mongodb://ada%1b%5b2J%0a@h/").question
    assert re.fullmatch(r"[ -~]+", question), question


def test_a_question_says_whose_password_it_is() -> None:
    shown: Any = password.account("mongodb+srv://ada%40x@db.example.com/shop?w=1").question
    assert shown == "Password of ada@x at db.example.com: "
