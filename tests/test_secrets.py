"""A password is sent along every road, and looked for wherever something could have kept or shown it.

Every command runs as a user with a password that stands out (the canary), works, fails to get in and reaches
nobody; at each verbosity, in each format. Beside it: what others on the machine can see, files, and text that
wants to be more than text.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

import pymongo
import pytest
from conftest import Server, command, until
from every_command import ALL, ELSEWHERE, Case, fill, leaves, write_files
from pretending import pretender
from secured import Certificates, User, as_user, guarded

from motorctl import redaction
from motorctl.core import extjson, mongod, private
from motorctl.core.workers import Workers
from motorctl.errors import ConfigurationError, ManifestError
from motorctl.manifest.document import Document
from motorctl.process_list import without_passwords
from motorctl.settings import load
from motorctl.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Result, Runner
    from pymongo.database import Database

    Documents = Database[dict[str, Any]]

CANARY = "c4n@ry/Vogel%\"'é:x"
"""A password of everything that has to be escaped somewhere."""

PARTS = ("c4n", "Vogel")
"""What no encoding changes: as good as the whole to whoever looks for it."""

FORMATS = ("table", "json", "ndjson", "csv", "markdown")
LOUD = ("-v", "--debug", "--slow-ms", "0")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    keeper = User("keeper", ("root",), password=CANARY)
    with guarded(tmp_path_factory.mktemp("secrets"), keeper) as running:
        yield running


@pytest.fixture
def thorough(request: pytest.FixtureRequest) -> bool:
    """Whether each command is to be tried in each form, and not in some that all of them have together."""
    return bool(request.config.getoption("--faults"))


@pytest.fixture
def uri(server: Server, dbname: str) -> str:
    return as_user(server, "keeper", CANARY, database=dbname)


@pytest.fixture
def kept(uri: str, dbname: str) -> Iterator[Documents]:
    """The database as the canary's user sees it."""
    with pymongo.MongoClient[dict[str, Any]](uri) as client:
        yield client[dbname]


@pytest.fixture
def uri_file(tmp_path: Path, uri: str) -> Path:
    return secret_file(tmp_path / "uri", uri)


def secret_file(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def leaks(*texts: str) -> list[str]:
    """Return the parts of the canary that stand in some text."""
    return [part for part in PARTS for text in texts if part in text]


def assert_silent(done: Result, *words: str) -> None:
    assert not leaks(done.stdout, done.stderr), f"{words}\n{done.stdout}\n{done.stderr}"


# Every command, at every verbosity, in every format


@pytest.mark.parametrize("case", ALL, ids=str)
def test_no_command_shows_a_password_or_keeps_it(
    cli: Runner, kept: Documents, uri_file: Path, case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path)
    fill(kept, case.path)
    number = ALL.index(case)
    shown = (
        "json" if case.path in ("schema dump", "schema infer") else FORMATS[number % len(FORMATS)]
    )  # a manifest is no table
    log = ("--log-format", "json") if number % 2 else ()
    road: tuple[str, ...] = ("--uri-file", str(uri_file))
    done = cli(*case.words, *road, *LOUD, *log, "-o", shown, connected=False)
    assert done.code == case.ends, done.stderr
    assert "hello" in done.stderr or "took" in done.stderr, "nothing was said at all: the test sees nothing"
    assert_silent(done, *case.words)

    for collection in kept.list_collection_names():
        for document in kept[collection].find():
            assert not leaks(repr(document)), f"{case} left it in {collection}"
    uri_file.unlink()
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or not leaks(path.read_text(errors="replace")), f"{case} left it in {path}"


@pytest.mark.parametrize("case", ALL, ids=str)
def test_no_command_that_fails_shows_a_password(
    cli: Runner,
    server: Server,
    case: Case,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    thorough: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path)
    number = ALL.index(case)
    unknown = f"mongodb://nobody:{quote_plus(CANARY)}@{server.host}/shop?replicaSet=rs0&authSource=admin"
    nowhere = f"mongodb://nobody:{quote_plus(CANARY)}@127.0.0.1:1/shop"
    shown = "json" if case.path in ("schema dump", "schema infer") else FORMATS[(number + 2) % len(FORMATS)]
    failures = ((unknown, 4, "json"), (nowhere, 3, "text"))
    for address, ends, log in failures if thorough else failures[number % 2 :][:1]:
        failing = ("--uri", address, "--timeout", "0.05" if ends == 3 else "5", "--retries", "1")
        done = cli(*case.words, *failing, *LOUD, "--log-format", log, "-o", shown, connected=False)
        assert done.code == ends, done.stderr
        assert "Traceback" in done.stderr
        assert_silent(done, *case.words)


def test_no_command_is_missing() -> None:
    assert {case.path for case in ALL} | ELSEWHERE.keys() == leaves()


@pytest.mark.parametrize("verbosity", [(), ("-v",), ("-q",), ("--debug",), LOUD], ids=" ".join)
@pytest.mark.parametrize("log", ["text", "json"])
def test_what_connects_to_nothing_shows_no_password(
    cli: Runner, uri: str, verbosity: tuple[str, ...], log: str, tmp_path: Path
) -> None:
    config = secret_file(
        tmp_path / "c.toml",
        f"[profiles.p]\nuri = {json.dumps(uri)}\n[profiles.p.options]\n"
        f"tlsCertificateKeyFilePassword = {json.dumps(CANARY)}\n"
        f"authMechanismProperties = {json.dumps('SERVICE_NAME:db,AWS_SESSION_TOKEN:' + CANARY)}\n",
    )
    silent = (("config", "path"), ("local", "status"), ("schema", "init", "shop"))
    runs = [(("config", "show"), shown) for shown in FORMATS]
    for words, shown in (*runs, *zip(silent, FORMATS, strict=False)):
        for road in (("--uri", uri), ("--config", str(config), "--profile", "p")):
            done = cli(*words, *road, *verbosity, "--log-format", log, "-o", shown, connected=False)
            assert_silent(done, *words)
            assert done.code in (0, 2)


@pytest.mark.parametrize("log", ["text", "json"])
@pytest.mark.parametrize("address", ["here", "nobody", "nowhere"])
def test_a_ticket_of_doctor_holds_no_password(
    cli: Runner, server: Server, uri: str, address: str, log: str
) -> None:
    target = {
        "here": uri,
        "nobody": uri.replace("keeper", "nobody"),
        "nowhere": uri.replace(server.host, "127.0.0.1:1"),
    }[address]
    for shown in FORMATS:
        done = cli(
            "doctor",
            "--uri",
            target,
            *LOUD,
            "--timeout",
            "0.5",
            "--log-format",
            log,
            "-o",
            shown,
            connected=False,
        )
        assert done.stdout
        assert_silent(done, "doctor", address)


# Every place where a secret may stand

OTHER_PLACES = {
    "a token among the mechanism's properties": "mongodb://127.0.0.1:1/?authMechanism=MONGODB-AWS&authMechanismProperties=AWS_SESSION_TOKEN:{raw}",
    "a property that no driver knows": "mongodb://a@127.0.0.1:1/?authMechanismProperties=SOMETHING:{raw}",
    "a property with its colon encoded": "mongodb://a@127.0.0.1:1/?authMechanismProperties=SOMETHING%3A{raw}",
    "properties that are none": "mongodb://a@127.0.0.1:1/?authMechanism=GSSAPI&authMechanismProperties={raw}",
    "the password of a key": "mongodb://127.0.0.1:1/?tls=true&tlsCertificateKeyFilePassword={raw}",
    "the password of a proxy": "mongodb://127.0.0.1:1/?proxyHost=p&proxyUsername=u&proxyPassword={raw}",
    "an option that nobody knows": "mongodb://127.0.0.1:1/?username=u&password={raw}",
    "no host behind it": "mongodb://ada:{raw}",
    "a port that is none": "mongodb://ada:{raw}@127.0.0.1:port",
    "a host that does not resolve": "mongodb://ada:{raw}@no-such-host.invalid/",
    "a name for DNS that does not resolve": "mongodb+srv://ada:{raw}@no-such-host.invalid/",
    "nothing escaped": "mongodb://ada:{plain}@127.0.0.1:1/",
    "a space in it": "mongodb://ada:c4n ry{raw}@127.0.0.1:1/",
    "two connection strings": "mongodb://ada:{raw}@a mongodb://eve:{raw}@b",
    "an option's value that is wrong": "mongodb://ada:{raw}@127.0.0.1:1/?maxPoolSize=-1",
    "a mechanism that is none": "mongodb://ada:{raw}@127.0.0.1:1/?authMechanism=NONE",
}


@pytest.mark.parametrize("template", OTHER_PLACES.values(), ids=OTHER_PLACES)
def test_a_secret_in_another_place_is_not_shown(
    cli: Runner, template: str, tmp_path: Path, *, thorough: bool
) -> None:
    address = template.format(raw=quote_plus(CANARY), plain=CANARY)
    loud = (*LOUD, "--timeout", "0.05", "--retries", "1", "--log-format")
    config = secret_file(tmp_path / "c.toml", f"[profiles.p]\nuri = {json.dumps(address)}\n")
    roads: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
        "flag": (("--uri", address), {}),
        "file": (("--uri-file", str(secret_file(tmp_path / "uri", address))), {}),
        "profile": (("--config", str(config), "-p", "p"), {}),
        "variable": ((), {"MOTORCTL_URI": address}),
        "the drivers' variable": ((), {"MONGODB_URI": address}),
        "no option": ((address,), {}),
        "a wrong option": (("--urii", address), {}),
        "a database's name": (("--db", address), {}),
        "a file's name": (("--uri-file", address), {}),
    }
    # Each place by three roads, and each road to five places.
    some = slice(None) if thorough else slice(list(OTHER_PLACES.values()).index(template) % 3, None, 3)
    for number, (road, (words, env)) in list(enumerate(roads.items()))[some]:
        done = cli("ping", *words, *loud, ("text", "json")[number % 2], env=env, connected=False)
        assert done.code in (2, 3, 4), f"{road}: {done.stderr}"
        assert_silent(done, road, *words)


def test_a_key_of_tls_with_the_wrong_password_shows_none(cli: Runner, tmp_path: Path) -> None:
    pem = Certificates(tmp_path / "certificates").locked_client
    options = f"tls = true\ntlsCertificateKeyFile = {json.dumps(str(pem))}\ntlsCertificateKeyFilePassword = {json.dumps(CANARY)}\n"
    config = secret_file(tmp_path / "c.toml", f"[profiles.p.options]\n{options}")
    in_uri = f"mongodb://127.0.0.1:1/?tls=true&tlsCertificateKeyFile={quote(str(pem))}&tlsCertificateKeyFilePassword={quote_plus(CANARY)}"
    for road in (("--config", str(config), "-p", "p"), ("--uri", in_uri)):
        done = cli("ping", *road, *LOUD, "--timeout", "0.2", connected=False)
        assert done.code in (2, 3), done.stderr
        assert_silent(done, *road)


def test_a_setting_of_the_wrong_kind_shows_no_password(cli: Runner, tmp_path: Path) -> None:
    config = secret_file(tmp_path / "c.toml", f"[profiles.p]\nuri = {{password = {json.dumps(CANARY)}}}\n")
    done = cli("ping", "--config", str(config), "-p", "p", "--debug", connected=False)
    assert (done.code, leaks(done.stderr)) == (2, [])
    assert "this is not a text" in done.stderr


def test_a_password_of_an_errors_own_words_leaves_the_fields_alone(cli: Runner) -> None:
    done = cli(
        "ping",
        "--uri",
        "mongodb://u:unreachable@127.0.0.1:1",
        "--timeout",
        "0.05",
        "-o",
        "json",
        connected=False,
    )
    assert done.error()["code"] == "unreachable"
    done = cli(
        "ping",
        "--uri",
        "mongodb://u:error@127.0.0.1:1",
        "--timeout",
        "0.05",
        "--log-format",
        "json",
        connected=False,
    )
    assert json.loads(done.stderr)["level"] == "error"


def test_a_password_that_is_a_part_of_the_host_is_cut_out_of_it(cli: Runner) -> None:
    done = cli(
        "ping", "--uri", "mongodb://u:0.0.1@127.0.0.1:1", "--timeout", "0.05", "-o", "json", connected=False
    )
    assert done.code == 3
    assert "0.0.1" not in done.stderr
    assert done.error()["hosts"].keys() == {"127.***:1"}


def test_a_password_in_the_data_comes_back_as_data_and_is_in_no_message(
    cli: Runner, kept: Documents, uri_file: Path, tmp_path: Path
) -> None:
    source, rejects, out = tmp_path / "in.ndjson", tmp_path / "rejects.ndjson", tmp_path / "out.ndjson"
    kept.things.create_index("name", unique=True)
    source.write_text(f'{json.dumps({"name": CANARY})}\n{json.dumps({"name": CANARY})}\n{{"name": {CANARY}\n')
    done = cli("import", str(source), "--into", "things", "--rejects", str(rejects), "--uri-file", str(uri_file), *LOUD, connected=False)  # fmt: skip
    assert done.code == 7
    assert_silent(done)
    assert kept.things.find_one({}, {"_id": False}) == {"name": CANARY}

    assert cli("export", "things", "--out", str(out), "--uri-file", str(uri_file), connected=False).code == 0
    assert json.loads(out.read_text())["name"] == CANARY  # what is exported is what is there
    for path in (rejects, out):
        assert path.stat().st_mode & 0o777 == 0o600


NOISE = """
import asyncio, logging, sys, threading, warnings
from motorctl.core import ping

async def noisy(*_, **__):
    secret = sys.argv[0]
    def fail(where):
        raise RuntimeError(f"{where} {secret}")
    class Ill:
        def __del__(self):
            fail("garbage")
    async def lost():
        fail("task")
    logging.getLogger("some.library").error("log %s", secret)
    thread = threading.Thread(target=fail, args=("thread",))
    thread.start()
    thread.join()
    warnings.warn(f"warning {secret}")
    Ill()
    task = asyncio.create_task(lost())
    await asyncio.sleep(0.01)
    del task
    asyncio.get_running_loop().call_exception_handler({"message": f"loop {secret}"})
    sys.stderr.write(f"half a line {secret}")
    fail("command")

ping.look = noisy
from motorctl.__main__ import main
main()
"""


@pytest.mark.parametrize("log", ["text", "json"])
def test_what_others_write_to_stderr_shows_no_password(uri_file: Path, log: str) -> None:
    program = f"import sys; sys.argv[0] = {CANARY!r}\n{NOISE}"
    words = ("ping", "--uri-file", str(uri_file), "--log-format", log)
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, timeout=60, check=False
    )
    said = done.stderr.decode()
    assert done.returncode == 1, said
    assert not leaks(said), said
    for who in ("log", "thread", "warning", "garbage", "task", "loop", "half a line", "command"):
        assert f"{who} {redaction.REDACTED}" in said, who
    if log == "json":
        assert {json.loads(line)["level"] for line in said.splitlines()} == {"warning", "error"}


def test_an_error_in_what_tells_of_errors_is_told_without_its_text() -> None:
    # Its text isn't in the program: from 3.13 on Python shows the lines of `-c`.
    program = (
        "import os, motorctl.cli\n"
        "def main(begin): raise RuntimeError(os.environ['TEXT'])\n"
        "motorctl.cli.main = main\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"{program}from motorctl.__main__ import main; main()", "ping"],
        env={**os.environ, "TEXT": CANARY},
        capture_output=True, timeout=60, check=False, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("error: unexpected RuntimeError\n")
    assert not leaks(done.stderr)


# Other processes


def look_at(pid: int) -> dict[int, str]:
    """Return what others may read of the processes below one: their words and their variables."""
    seen = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == pid:
                    seen[int(entry.name)] = "".join(
                        (entry / name).read_bytes().decode(errors="replace")
                        for name in ("cmdline", "environ")
                    )
                    seen |= look_at(int(entry.name))
            except OSError:
                continue
    return seen


linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


@linux
def test_ps_shows_no_password_that_was_typed(uri: str) -> None:
    with started("import", "-", "--into", "things", "--uri", uri, "--format", "ndjson") as process:
        words = Path(f"/proc/{process.pid}/cmdline")
        until(lambda: b"***" in words.read_bytes(), "the password is hidden")
        shown = words.read_bytes().decode()
        assert f"mongodb://keeper:{redaction.REDACTED}@" in shown
        assert not leaks(shown)
        assert shown.rstrip("\0").endswith("--format\0ndjson")
        _, told = process.communicate(b'{"a": 1}\n', timeout=60)
        assert process.returncode == 0, told


@linux
def test_workers_are_given_no_password(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTORCTL_URI", uri)
    monkeypatch.setenv("MONGODB_URI", uri)
    with Workers(2) as workers:
        workers.start()
        running = [text for text in look_at(os.getpid()).values() if "motorctl.core.workers" in text]
        assert len(running) == 2
        assert not leaks(*running)


@contextmanager
def started(*words: str, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the program beside the test, and end it with it."""
    process = subprocess.Popen(
        command(*words),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **variables},
    )  # fmt: skip
    with process:
        try:
            yield process
        finally:
            process.kill()


def test_a_child_is_given_no_variable_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MOTORCTL_URI", "MONGODB_URL", "MONGODB_URI", "MOTORCTL_ANYTHING"):
        monkeypatch.setenv(name, CANARY)
    monkeypatch.setenv("LANG", "C")
    given = private.environment()
    assert given["LANG"] == "C"
    assert not leaks(*given.values())


def test_every_process_that_is_started_is_given_its_variables() -> None:
    """Who starts one says which; and no shell is ever given a word of a user's."""
    root = Path(redaction.__file__).parent
    starts = re.compile(r"Popen|run|call|check_call|check_output|create_subprocess_exec")
    found = 0
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, (ast.Attribute, ast.Name)):
                continue
            name = _name(node.func)
            assert name not in ("os.system", "os.popen", "eval", "exec", "__import__"), (
                f"{path}:{node.lineno}"
            )
            assert not name.startswith(("os.exec", "os.spawn", "pty.")), f"{path}:{node.lineno}"
            assert not name.endswith(("create_subprocess_shell", "getoutput")), f"{path}:{node.lineno}"
            options = {option.arg: option.value for option in node.keywords}
            assert "shell" not in options, f"{path}:{node.lineno}"
            module, _, function = name.rpartition(".")
            if module in ("subprocess", "asyncio") and starts.fullmatch(function) and name != "asyncio.run":
                found += 1
                assert "env" in options, f"{path}:{node.lineno}: {name} hands on the whole environment"
    assert found >= 5


def _name(function: ast.Attribute | ast.Name) -> str:
    """Return `module.function` of what is called; of what is called on anything else, the last name."""
    if isinstance(function, ast.Name):
        return function.id
    owner = function.value.id if isinstance(function.value, ast.Name) else ""
    return f"{owner}.{function.attr}"


def test_a_command_line_without_passwords() -> None:
    words = [
        "motorctl",
        "schema",
        "diff",
        "mongodb://a:b c@h",
        "--uri=mongodb://u:p4ss@h/?x=1",
        "plain:text@x",
    ]
    assert without_passwords(words) == [
        "motorctl",
        "schema",
        "diff",
        "mongodb://a:***@h",
        "--uri=mongodb://u:***@h/?x=1",
        "plain:text@x",
    ]


@pytest.mark.parametrize("password", ["", "a", "ab", "é", "a b", "abc", CANARY])
def test_a_command_line_without_passwords_is_no_longer_than_before(password: str) -> None:
    word = f"--uri=MongoDB://user:{quote(password, safe=' ')}@host/"
    (shown,) = without_passwords([word])
    assert len(os.fsencode(shown)) <= len(os.fsencode(word))
    assert not password or shown.startswith("--uri=MongoDB://user:*")
    assert (
        quote(password, safe=" ") not in shown.removeprefix("--uri=MongoDB://user:").rpartition("@")[0]
        or not password
    )


# Files


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True), (0o644, True)])  # fmt: skip
def test_a_file_with_a_password_that_others_can_read_is_warned_of(
    cli: Runner, uri: str, tmp_path: Path, mode: int, warned: bool
) -> None:
    file = secret_file(tmp_path / "uri", uri, mode)
    config = secret_file(tmp_path / "c.toml", f"[profiles.p]\nuri = {json.dumps(uri)}\n", mode)
    for path, road in ((file, ("--uri-file", str(file))), (config, ("--config", str(config), "-p", "p"))):
        done = cli("ping", *road, connected=False)
        assert done.code == 0
        said = f"warning: {path} holds a password and others can read it: chmod 600 makes it yours alone\n"
        assert (done.stderr == said) is warned, done.stderr


def test_a_file_without_a_password_may_be_read_by_all(cli: Runner, server_uri: str, tmp_path: Path) -> None:
    file = secret_file(tmp_path / "uri", server_uri, 0o644)
    assert cli("ping", "--uri-file", str(file), connected=False).stderr == ""
    lines = f"[profiles.p]\nuri = {json.dumps(server_uri)}\n[profiles.p.options]\nappName = 'a'\n"
    config = secret_file(tmp_path / "c.toml", lines, 0o644)
    assert cli("ping", "--config", str(config), "-p", "p", connected=False).stderr == ""


def test_a_file_is_warned_of_once_though_it_is_connected_to_twice(
    cli: Runner, uri: str, tmp_path: Path
) -> None:
    config = secret_file(tmp_path / "c.toml", f"[profiles.p]\nuri = {json.dumps(uri)}\n", 0o644)
    done = cli("schema", "diff", "profile:p", "db", "--config", str(config), "-p", "p", connected=False)
    assert done.code == 0
    assert done.stderr.count("others can read it") == 1


def test_a_secret_of_a_group_is_no_one_elses(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = secret_file(tmp_path / "uri", uri, 0o440)
    monkeypatch.setattr(os, "geteuid", lambda: file.stat().st_uid + 1)
    settings = load({"uri_file": str(file)}, {})
    settings.address()
    assert settings.exposed() == []  # how Kubernetes mounts one for a user that is not root


def test_files_with_values_of_users_are_their_owners(
    cli: Runner, sync_db: Documents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fill(sync_db, "transfer batch")
    write_files(tmp_path)
    (tmp_path / "bad.ndjson").write_text("{\n")
    umask = os.umask(0)
    try:
        assert cli("import", "bad.ndjson", "--into", "a", "--rejects", "rejects").code == 7
        assert cli("export", "users", "--out", "exported").code == 0
        assert cli("transfer", "batch", "payments.csv", "--results", "results").code == 0
        assert cli("slow", "profile", "on", "--slower-than", "100", "--yes").code == 0
    finally:
        os.umask(umask)
    remembered = [path for path in (tmp_path / "xdg-state").rglob("*") if path.is_file()]
    assert remembered
    for path in (tmp_path / "rejects", tmp_path / "exported", tmp_path / "results", *remembered):
        assert path.stat().st_mode & 0o777 == 0o600, path
    (tmp_path / "exported").chmod(0o644)
    assert cli("export", "users", "--out", "exported").code == 0
    assert (tmp_path / "exported").stat().st_mode & 0o777 == 0o644  # whoever opened it to others meant it


def test_the_log_of_a_local_server_is_its_owner_s(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        mongod.spawn([sys.executable, "-c", ""], tmp_path / "log").wait()
    finally:
        os.umask(umask)
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


# Files that are too large, too deep, or stand for more than they are

BOMBS = {
    "aliases of aliases": "a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 20)),
    "merges of merges": "a0: &a0 {x: 1}\n"
    + "".join(f"a{n}: &a{n} {{<<: [{','.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 20)),
    "lists in lists": "[" * 500_000,
    "documents in documents": "{a: " * 400_000,
    "blocks in blocks": "- " * 500_000,
    "a tag without an end": "!" * 1_000_000,
    "a tag of escapes": f"!<{'%41' * 300_000}> a",
    "an alias without an anchor": f"a: *{'b' * 1_000_000}",
    "an alias that holds itself": "a: &a [*a]",
    "a number of many digits": f"a: {'1' * 500_000}",
    "an object of Python": "a: !!python/object/apply:os.system [echo]",
    "the same in short": '!!python/name:os.system ""',
}


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS)
def test_a_manifest_that_is_a_bomb_is_an_error_soon_and_short(text: str) -> None:
    began = time.process_time()
    with pytest.raises(ManifestError) as caught:
        Document("f.yaml", text)
    assert time.process_time() - began < 10  # it takes one; what it must not take is minutes
    assert len(caught.value.message) < 600


def test_one_long_text_is_read_in_a_time_that_grows_with_its_length() -> None:
    def seconds(length: int) -> float:
        began = time.process_time()
        Document("f.yaml", f"a: {'x' * length}")
        return time.process_time() - began

    seconds(1000)
    assert seconds(1_600_000) < 8 * max(seconds(400_000), 0.05)  # its square would be 16


SOURCES = {
    "schema plan": ("schema", "plan", "{file}"),
    "validators try": ("validators", "try", "users", "{file}"),
    "explain suite": ("explain", "suite", "{file}"),
    "a document": ("students", "create", "--json", "@{file}"),
    "a filter": ("export", "users", "--filter", "@{file}"),
    "a pipeline": ("aggregate", "users", "@{file}"),
    "a configuration": ("config", "show", "--config", "{file}"),
    "a connection string": ("ping", "--uri-file", "{file}"),
}


@pytest.mark.parametrize("words", SOURCES.values(), ids=SOURCES)
def test_a_file_of_a_gigabyte_is_refused_in_little_memory(words: tuple[str, ...], tmp_path: Path) -> None:
    huge = tmp_path / "huge.yaml"
    with huge.open("wb") as file:
        file.truncate(1 << 30)
    program = [word.format(file=huge) for word in words]
    limited = "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)); "
    limited += "from motorctl.__main__ import main; main()"
    road = () if "--uri-file" in words else ("--uri", "mongodb://127.0.0.1:1")
    done = subprocess.run(
        [sys.executable, "-c", limited, *program, *road],
        capture_output=True, timeout=60, check=False, text=True,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert re.search(r"is larger than \d+ [KM]iB", done.stderr), done.stderr


@pytest.mark.parametrize("depth", [179, 500, 100_000])
def test_deep_json_is_an_error_of_ours(cli: Runner, depth: int) -> None:
    for text in ("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth):
        with pytest.raises(ValueError, match=r"deep|depth|recursion|JSON") if depth > 180 else _nothing():
            extjson.loads(text)
        done = cli("students", "create", "--json", "-", stdin=text, connected=False)
        assert done.code == 2
        assert "unexpected" not in done.stderr


def _nothing() -> Any:
    from contextlib import nullcontext

    return nullcontext()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("profiles=" + "[" * 50_000, "nested too deep"),
        ("a" + ".a" * 60_000 + "=1", "a key of more than 100 parts"),
        ("a=" + "{" + "b" + ".b" * 60_000 + "=1}", "a key of more than 100 parts"),
        ("#" * (256 * 1024 + 1), "larger than 256 KiB"),
    ],
    ids=["lists", "a dotted key", "one in a table", "large"],
)
def test_a_configuration_that_is_a_bomb_is_refused(tmp_path: Path, text: str, said: str) -> None:
    began = time.process_time()
    with pytest.raises(ConfigurationError, match=said):
        load({"config": str(secret_file(tmp_path / "c.toml", text))}, {})
    assert time.process_time() - began < 5


def test_a_line_of_dots_is_no_key_of_many_parts(tmp_path: Path) -> None:
    text = f"# {'.' * 200}\n# and so on {'. . .' * 60}\ndefault_profile = 'p'\n[profiles.p]\ndb = 'shop'\n"
    assert load({"config": str(secret_file(tmp_path / "c.toml", text))}, {})["db"] == "shop"


# Names and values that want to be operators


@pytest.mark.parametrize("mode", ["upsert", "merge", "replace", "skip", "delete"])
def test_a_value_of_the_data_is_never_an_operator(cli: Runner, sync_db: Documents, mode: str) -> None:
    sync_db.people.insert_many([{"_id": n, "email": f"{n}@example.com"} for n in range(3)])
    before = list(sync_db.people.find())
    records = "".join(
        f"{json.dumps({'email': value, 'owned': True})}\n"
        for value in (
            {"$gt": ""},
            {"$ne": None},
            {"$regex": ".*"},
            {"$in": ["0@example.com"]},
            {"$where": "true"},
        )
    )
    done = cli(
        "import",
        "-",
        "--into",
        "people",
        "--mode",
        mode,
        "--key",
        "email",
        "--format",
        "ndjson",
        stdin=records,
    )
    assert done.code in (0, 7), done.stderr
    assert list(sync_db.people.find({"_id": {"$lt": 3}})) == before


@pytest.mark.parametrize("key", ["$where", "$expr", "$comment", "$or", "$jsonSchema", "a.$gt", "_id,$expr"])
@pytest.mark.parametrize("mode", ["upsert", "delete"])
def test_a_field_that_is_looked_for_is_never_an_operator(
    cli: Runner, sync_db: Documents, key: str, mode: str
) -> None:
    sync_db.people.insert_one({"_id": 1})
    record = json.dumps({key.rpartition(",")[2]: [1, 1], "_id": 1})
    done = cli(
        "import", "-", "--into", "people", "--mode", mode, "--key", key, "--format", "ndjson", stdin=record
    )
    assert (done.code, "would be an operator" in done.stderr) == (2, True)
    assert sync_db.people.count_documents({}) == 1


def test_a_reference_can_be_a_key(cli: Runner, sync_db: Documents) -> None:
    record = '{"ref": {"$ref": "users", "$id": 7}, "n": 1}\n'
    for inserted in (1, 0):
        done = cli("import", "-", "--into", "refs", "--mode", "upsert", "--key", "ref.$id", "-o", "json", "--format", "ndjson", stdin=record)  # fmt: skip
        assert (done.code, done.json()["inserted"]) == (0, inserted), done.stderr
    assert sync_db.refs.count_documents({}) == 1


def test_an_operator_of_an_update_in_the_data_changes_nothing_else(cli: Runner, sync_db: Documents) -> None:
    sync_db.people.insert_one({"_id": 1, "role": "user"})
    record = '{"_id": 1, "$set": {"role": "admin"}}\n'
    for mode in ("upsert", "merge", "replace"):
        cli(
            "import",
            "-",
            "--into",
            "people",
            "--mode",
            mode,
            "--key",
            "_id",
            "--format",
            "ndjson",
            stdin=record,
        )
        found = sync_db.people.find_one({"_id": 1}) or {}
        assert found.get("role") != "admin"


@pytest.mark.parametrize(
    "words",
    [
        ("students", "get", '{"$ne": null}'),
        ("students", "delete", '{"$gt": ""}', "--yes"),
        ("students", "upsert", "--json", '{"email": {"$gt": ""}, "name": "x", "course": "c", "gpa": 1}'),
        ("students", "update", "64b7f0c2a1b2c3d4e5f60718", "--json", '{"$set": {"gpa": 0}}'),
        ("students", "list", "--sort", "$where"),
        ("accounts", "get", '{"$ne": 1}'),
        ("accounts", "freeze", '{"$ne": 1}'),
        ("transfer", "show", '{"$ne": 1}'),
        ("transfer", "reverse", '{"$ne": 1}'),
        ("orders", "get", '{"$ne": 1}'),
        ("inventory", "set", '{"$ne": 1}', "--price", "0.01"),
        ("import", "forget", '{"$ne": 1}', "--yes"),
        ("indexes", "drop", "users", "*", "--yes"),
        ("indexes", "create", "users", "$where"),
        ("export", "$where"),
        ("import", "things.ndjson", "--into", "a$b"),
        ("aggregate", "users", '[{"$facet": {"a": [{"$merge": "users"}]}}]'),
    ],
    ids=" ".join,
)
def test_a_name_is_never_an_operator(
    cli: Runner, sync_db: Documents, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path)
    fill(sync_db, "users list")
    before = {name: list(sync_db[name].find()) for name in sync_db.list_collection_names()}
    done = cli(*words)
    assert done.code in (1, 2, 5), done.stdout
    assert "unexpected" not in done.stderr
    assert {name: list(sync_db[name].find()) for name in sync_db.list_collection_names()} == before


def test_a_text_that_is_an_expression_elsewhere_is_a_text(cli: Runner, sync_db: Documents) -> None:
    assert cli("accounts", "open", "--id", "$balance", "--balance", "5.00").code == 0
    assert cli("accounts", "open", "--id", "$$ROOT").code == 0
    assert cli("transfer", "send", "$balance", "$$ROOT", "1.00", "--key", "$_id", "--note", "$from").code == 0
    found = sync_db.transfers.find_one({}) or {}
    assert (found["_id"], found["from"], found["to"], found["note"]) == (
        "$_id",
        "$balance",
        "$$ROOT",
        "$from",
    )
    shown = cli(
        "aggregate", "accounts", '[{"$project": {"v": "$$who"}}]', "--var", "who=$balance", "-o", "json"
    )
    assert {one["v"] for one in shown.json()} == {"$balance"}


# Text that drives a terminal

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\x08\r\u202egnp.exe\u2066\u200b\u180e\u206a\ufeff\x7f"
OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]"
)


def undrawn(text: str) -> str:
    """Take out what the program itself draws with: colours, and the line of its progress."""
    return re.sub(r"\r?\x1b\[(?:\?25[hl]|2K|1A|[0-9;]*m)|\r(?=\x1b\[2K)", "", text)


@pytest.mark.parametrize(
    "words",
    [
        ("students", "list"),
        ("users", "list"),
        ("export", "users"),
        ("aggregate", "hostile", "[]"),
        ("accounts", "list"),
        ("transfer", "list"),
        ("orders", "list"),
        ("inventory", "list"),
        ("indexes", "list"),
        ("schema", "dump"),
        ("schema", "infer", "hostile"),
        ("schema", "history"),
        ("import", "status"),
        ("revenue", "by-product"),
        ("explain", "find", "hostile"),
        ("validators", "check", "hostile"),
        ("accounts", "get", HOSTILE),
        ("export", HOSTILE.replace("\x00", "")),
    ],
    ids=lambda words: " ".join(words[:2]).encode("ascii", "replace").decode()[:16],
)
def test_text_from_the_database_is_shown_and_not_obeyed(
    cli: Runner, hostile: Documents, words: tuple[str, ...], *, thorough: bool
) -> None:
    others = FORMATS if thorough else ("table", FORMATS[1 + len(words[0]) % 4])
    for shown in others:
        done = cli(*words, "-o", shown, "-v", tty=True, columns=120, env={"MOTORCTL_DB": hostile.name})
        for stream in (done.stdout, done.stderr):
            assert not OBEYED.search(undrawn(stream).replace("\r\n", "\n")), repr(stream)
        assert "unexpected" not in done.stderr


@pytest.fixture(scope="module")
def hostile(server_uri: str) -> Iterator[Documents]:
    """A database of names and texts that want to drive a terminal. Only read here."""
    with pymongo.MongoClient[dict[str, Any]](server_uri) as client:
        _make_hostile(client["hostile_texts"])
        yield client["hostile_texts"]
        client.drop_database("hostile_texts")


def _make_hostile(sync_db: Documents) -> None:
    fill(sync_db, "users list")
    sync_db.hostile.insert_one({HOSTILE: HOSTILE, "nested": {HOSTILE: [HOSTILE]}})
    sync_db.hostile.create_index([(HOSTILE, 1)], name=HOSTILE)
    sync_db[HOSTILE].insert_one({"a": 1})
    sync_db.command("collMod", "hostile", validator={HOSTILE: {"$ne": HOSTILE}}, validationAction="warn")
    sync_db.users.update_one({}, {"$set": {"name": HOSTILE, "bio": HOSTILE}})
    sync_db.students.update_one({}, {"$set": {"name": HOSTILE}})
    sync_db.accounts.update_one({}, {"$set": {"owner": HOSTILE}})
    sync_db.transfers.update_one({}, {"$set": {"note": HOSTILE}})
    sync_db.orders.update_many({}, {"$set": {"product_id": HOSTILE}})
    sync_db.inventory.update_one({}, {"$set": {"name": HOSTILE}})
    sync_db.motorctl_imports.update_one({}, {"$set": {"name": HOSTILE}})


def test_all_that_unicode_calls_a_control_or_a_direction_is_escaped() -> None:
    import unicodedata

    joiners = {"\u200c", "\u200d"}
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        bidirectional = unicodedata.bidirectional(character)
        if character not in joiners and (
            unicodedata.category(character) in ("Cc", "Zl", "Zp")
            or bidirectional in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
        ):
            assert printable(character) != character, hex(code)


# Servers that say anything

HELLO = {
    "helloOk": True, "isWritablePrimary": True, "ismaster": True, "minWireVersion": 0, "maxWireVersion": 17,
    "maxBsonObjectSize": 1 << 24, "maxMessageSizeBytes": 48_000_000, "maxWriteBatchSize": 100_000,
}  # fmt: skip
ANSWERS: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "the driver can't read what the server answers: KeyError: 'cursor'"),
    "a cursor that is none": ({"cursor": None}, "the driver can't read what the server answers: TypeError"),
    "no reason": ({"ok": 0}, "the driver can't read what the server answers: KeyError: 'errmsg'"),
    "a long reason": ({"ok": 0, "errmsg": HOSTILE * 10_000, "code": 99_999}, r"\x1b]0;owned"),
}


@pytest.mark.parametrize(("answer", "said"), ANSWERS.values(), ids=ANSWERS)
def test_an_answer_that_is_none_of_mongodb_s_is_said_in_short(
    cli: Runner, answer: dict[str, Any], said: str
) -> None:
    with pretender(lambda name, _: HELLO if name.lower() in ("hello", "ismaster") else answer) as host:
        road = ("--uri", f"mongodb://{host}/?directConnection=true", "--timeout", "1", "--retries", "1")
        listed = cli("users", "list", *road, connected=False)
        walked = cli("doctor", *road, connected=False, tty=True, columns=120)
    assert (listed.code, listed.stdout) == (1, "")
    assert said in listed.stderr
    assert "transactions" in walked.stdout, "doctor fell"
    for text in (listed.stderr, undrawn(walked.stdout), undrawn(walked.stderr)):
        assert not OBEYED.search(text.replace("\r\n", "\n"))
        assert len(text) < 60_000
        assert "unexpected" not in text


def test_a_server_that_does_not_tell_its_version_is_none_of_mongodb_s(cli: Runner) -> None:
    with pretender(lambda name, _: HELLO if name.lower() in ("hello", "ismaster") else {"ok": 1}) as host:
        road = ("--uri", f"mongodb://{host}/?directConnection=true", "--timeout", "1", "--retries", "1")
        for words in (("schema", "check", "--builtin", "shop"), ("revenue", "by-product")):
            done = cli(*words, *road, connected=False)
            assert (done.code, done.stdout) == (1, "")
            assert done.stderr.startswith("error: the server doesn't tell its version\nhint: is it MongoDB?")


# Words of a secret


@pytest.mark.parametrize("secret", [CANARY, "pa/ss", "ü bcd", "a%2fb", "tab\there", "100%"])
def test_each_way_to_write_a_secret_is_known(secret: str) -> None:
    known = redaction.secrets_in(f"mongodb://u:{quote(secret, safe='')}@h")
    for written in (
        secret, repr(secret)[1:-1], ascii(secret)[1:-1], json.dumps(secret)[1:-1], quote(secret, safe=""),
        quote_plus(secret), re.sub("%..", lambda found: found[0].lower(), quote(secret, safe="")),
    ):  # fmt: skip
        assert secret not in redaction.redact(f"<{written}>", known)
        assert written not in redaction.redact(f"<{written}>", known)


@pytest.mark.parametrize(
    ("properties", "secrets"),
    [
        ("SERVICE_NAME:mongodb,AWS_SESSION_TOKEN:tok", ["tok"]),
        ("ENVIRONMENT:test,TOKEN_RESOURCE:mongodb", []),
        ({"SERVICE_NAME": "mongodb", "other": "tok"}, ["tok"]),
        ("AWS_SESSION_TOKEN:a,b", ["a", "b"]),
        ("AWS_SESSION_TOKEN%3Atok", ["tok"]),
    ],
)
def test_which_properties_of_a_mechanism_are_secret(properties: Any, secrets: list[str]) -> None:
    assert redaction.secrets_of_properties(properties) == secrets


def test_what_is_public_of_a_mechanism_stays_readable() -> None:
    uri = "mongodb://h/?authMechanismProperties=SERVICE_NAME:mongodb,CANONICALIZE_HOST_NAME:true&authSource=x"
    assert redaction.redact(uri) == uri
    assert redaction.secrets_in(uri) == ()


def test_stdin_that_never_ends_is_no_document() -> None:
    with Path("/dev/zero").open("rb") as endless:
        done = subprocess.run(
            command("students", "create", "--json", "-", "--uri", "mongodb://127.0.0.1:1"),
            stdin=endless, capture_output=True, timeout=60, check=False, text=True,
        )  # fmt: skip
    assert done.returncode == 2
    assert "is larger than 64 MiB" in done.stderr
