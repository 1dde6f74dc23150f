"""Poor surroundings: no home, an empty environment, other locales, files that are not what they should be."""

from __future__ import annotations

import ctypes
import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from conftest import command

from motorctl.errors import ExitCode

if TYPE_CHECKING:
    from pathlib import Path

    import pymongo
    from conftest import Runner

    SyncDatabase = pymongo.database.Database[dict[str, Any]]

BIO = "Zoë ☃ 数据 🙂"


def bare(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run the program with these environment variables and no others."""
    return subprocess.run(
        command(*arguments),
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )


# --- surroundings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"PATH": "/usr/bin:/bin", "SHELL": "/bin/sh", "LOGNAME": "nobody"},
        {"HOME": "/nonexistent"},
        {"HOME": ""},
        {"TERM": "dumb", "LANG": "xx_YY.nothing"},
    ],
    ids=["empty", "cron", "no such home", "empty home", "unknown locale"],
)
def test_an_empty_environment(server_uri: str, environment: dict[str, str]) -> None:
    done = bare("ping", "--uri", server_uri, "-o", "json", **environment)
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["ok"] is True
    for arguments in (("config", "show"), ("config", "path"), ("--help",), ("--version",)):
        done = bare(*arguments, **environment)
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout


def test_a_user_without_a_home(cli: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's user id that stands in no passwd file, with no HOME either."""

    def unknown(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr("pwd.getpwuid", unknown)
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "MOTORCTL_LOCAL_DIR"):
        monkeypatch.delenv(name, raising=False)
    done = cli("ping", "-o", "json")
    assert (done.code, done.stderr) == (0, "")
    assert cli("config", "show").code == 0
    without = cli("ping", "--timeout", "0.2", connected=False)
    assert "unexpected" not in without.stderr


LOCALES: list[dict[str, str]] = [
    {"LC_ALL": "C"},
    {"LANG": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    {"PYTHONIOENCODING": "latin-1"},
    {"PYTHONIOENCODING": "ascii:strict"},
    {"LC_ALL": "de_DE.ISO-8859-1"},
]


@pytest.mark.parametrize("locale", LOCALES, ids=str)
@pytest.mark.parametrize("form", ["table", "json"])
def test_data_comes_out_as_utf8_in_any_locale(
    sync_db: SyncDatabase, server_uri: str, locale: dict[str, str], form: str
) -> None:
    sync_db.users.insert_one({"bio": BIO})
    where = {"MOTORCTL_URI": server_uri, "MOTORCTL_DB": sync_db.name}
    done = bare("users", "list", "--fields", "bio", "-o", form, **where, **locale)
    assert (done.returncode, done.stderr) == (0, b"")
    assert BIO in done.stdout.decode()


@pytest.mark.parametrize("locale", LOCALES, ids=str)
def test_a_message_with_foreign_letters_in_any_locale(
    sync_db: SyncDatabase, server_uri: str, locale: dict[str, str]
) -> None:
    sync_db.users.insert_one({"_id": 1, "email": f"{BIO}@example.com"})
    sync_db.users.create_index("email", unique=True)
    where = {"MOTORCTL_URI": server_uri, "MOTORCTL_DB": sync_db.name}
    merge = [
        {"$match": {"_id": 1}},
        {"$set": {"_id": 2}},
        {"$merge": {"into": "users", "whenNotMatched": "insert"}},
    ]
    done = bare("aggregate", "users", json.dumps(merge), "--allow-write", "-y", **where, **locale)
    assert done.returncode == ExitCode.REFUSED
    assert BIO in done.stderr.decode()


# --- the configuration file --------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Where the configuration file belongs; only its directory's parent exists."""
    return tmp_path / "config" / "motorctl" / "config.toml"


def ping_with(config: Path, server_uri: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    home = str(config.parent.parent)
    return bare("ping", "--uri", server_uri, *arguments, "-o", "json", XDG_CONFIG_HOME=home)


def test_a_directory_in_the_files_place(config: Path, server_uri: str) -> None:
    config.mkdir(parents=True)
    assert ping_with(config, server_uri).returncode == 0
    asked = ping_with(config, server_uri, "--profile", "p")
    assert asked.returncode == ExitCode.USAGE
    assert json.loads(asked.stderr)["error"]["message"] == f"cannot read {config}: Is a directory"


def test_a_file_in_the_directorys_place(config: Path, server_uri: str) -> None:
    config.parent.parent.mkdir()
    config.parent.write_text("")
    assert ping_with(config, server_uri).returncode == 0
    asked = ping_with(config, server_uri, "--config", str(config))
    assert asked.returncode == ExitCode.USAGE
    assert "Not a directory" in asked.stderr.decode()


def obey_file_modes() -> None:
    """Make root obey them like anybody else: PR_CAPBSET_DROP of CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH."""
    for capability in (1, 2):
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)


def test_a_directory_without_permission(config: Path, server_uri: str) -> None:
    config.parent.mkdir(parents=True)
    config.write_text("default_profile = 'p'\n")
    config.parent.chmod(0)
    environment = {"XDG_CONFIG_HOME": str(config.parent.parent)}
    try:
        unasked, asked = (
            subprocess.run(
                command("ping", "--uri", server_uri, *extra, "-o", "json"),
                env=environment,
                capture_output=True,
                timeout=60,
                check=False,
                preexec_fn=obey_file_modes,
            )
            for extra in ((), ("--config", str(config)))
        )
    finally:
        config.parent.chmod(0o700)
    assert (unasked.returncode, unasked.stderr) == (0, b"")
    assert asked.returncode == ExitCode.USAGE
    assert json.loads(asked.stderr)["error"]["message"] == f"cannot read {config}: Permission denied"


@pytest.mark.parametrize(
    "content", [b"[profiles.p\n", b"\xff\xfe\x00binary", b"profiles = 1\ndefault_profile = 'p'"]
)
def test_a_file_that_is_no_configuration(config: Path, server_uri: str, content: bytes) -> None:
    config.parent.mkdir(parents=True)
    config.write_bytes(content)
    done = ping_with(config, server_uri)
    assert done.returncode == ExitCode.USAGE
    assert str(config) in json.loads(done.stderr)["error"]["message"]


# --- the URI's file ----------------------------------------------------------------------------------


def test_a_uri_from_a_file(cli: Runner, tmp_path: Path, server_uri: str) -> None:
    path = tmp_path / "uri"
    for content in (server_uri, f"{server_uri}\n", f"\n  {server_uri}\r\n\n"):
        path.write_text(content)
        done = cli("ping", "--uri-file", str(path), "-o", "json", connected=False)
        assert (done.code, done.stderr) == (0, "")
    assert cli("ping", connected=False, env={"MOTORCTL_URI_FILE": str(path)}).code == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "does not hold one connection string"),
        (b"\n\n", "does not hold one connection string"),
        (
            b"mongodb://ada:first-secret@a\nmongodb://ada:other-secret@b\n",
            "does not hold one connection string",
        ),
        (b"localhost:27017", "does not hold one connection string"),
        (b"\xff\xfe\x00\x01", "it is not text"),
        (b"mongodb://ada:first-secret@a:port/", "the connection"),
    ],
    ids=["empty", "blank", "two lines", "no scheme", "binary", "wrong port"],
)
def test_a_file_that_holds_no_uri(cli: Runner, tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "uri"
    path.write_bytes(content)
    done = cli("ping", "--uri-file", str(path), "--debug", connected=False)
    assert (done.code, done.stdout) == (ExitCode.USAGE, "")
    assert any(line.startswith("error: ") and said in line for line in done.stderr.splitlines())
    assert "secret" not in done.stderr


def test_a_file_that_cannot_be_read(cli: Runner, tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "absent", "no such file or directory"), (tmp_path, "is a directory")):
        done = cli("ping", "--uri-file", str(path), connected=False)
        assert done.code == ExitCode.USAGE
        error = f"error: cannot read the connection string from {path}: {reason}"
        assert done.stderr.splitlines()[0] == error


def test_a_password_in_a_file_is_in_no_output(cli: Runner, tmp_path: Path) -> None:
    path = tmp_path / "uri"
    path.write_text("mongodb://ada:file-secret@127.0.0.1:1/shop\n")
    for command_ in (("ping", "--timeout", "0.2"), ("config", "show"), ("users", "list", "--timeout", "0.2")):
        for form in ("table", "json"):
            done = cli(*command_, "--uri-file", str(path), "--debug", "-v", "-o", form, connected=False)
            assert "file-secret" not in done.stdout + done.stderr
