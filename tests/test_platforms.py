"""Windows and macOS, pretended by tests/elsewhere.py: what only POSIX or Linux has is never needed.

Whole runs of the program in processes of their own. What can't be pretended is not tested here: how files are locked
and renamed there, consoles, and the servers of those systems.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import until

from motorctl import __main__ as first
from motorctl.core import mongod
from motorctl.core.export import files
from motorctl.errors import MotorctlError

if TYPE_CHECKING:
    from collections.abc import Callable

    import pymongo

    SyncDatabase = pymongo.database.Database[dict[str, Any]]

TESTS = Path(__file__).parent
PLATFORMS = ("win32", "darwin")
RECORDS = 20_000


class Elsewhere:
    """Runs the program on another system."""

    def __init__(self, platform: str, env: dict[str, str]) -> None:
        self._command = [sys.executable, "-c", f"import elsewhere; elsewhere.run({platform!r})"]
        self._env = {**os.environ, **env, "PYTHONPATH": str(TESTS)}

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self._command, *words],
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *words: str, code: int = 0) -> str:
        """Run it to its end; return its stdout, of a failure its stderr."""
        with self.start(*words) as process:
            out, err = process.communicate(timeout=60)
        assert process.returncode == code, err
        return err if code else out


@pytest.fixture(params=PLATFORMS)
def elsewhere(request: pytest.FixtureRequest, server_uri: str, dbname: str, tmp_path: Path) -> Elsewhere:
    env = {"MOTORCTL_URI": server_uri, "MOTORCTL_DB": dbname, "MOTORCTL_LOCAL_DIR": str(tmp_path / "local")}
    return Elsewhere(str(request.param), env)


def test_help_and_completion(elsewhere: Elsewhere) -> None:
    assert "motorctl [OPTIONS] COMMAND" in elsewhere("--help")
    assert "students" in elsewhere("__complete", "powershell", "motorctl stu").split()


def test_a_file_is_imported_by_workers_and_exported(
    elsewhere: Elsewhere, sync_db: SyncDatabase, tmp_path: Path
) -> None:
    source, out = tmp_path / "many.ndjson", tmp_path / "out.csv"
    lines = "".join(f'{{"n": {n}, "text": "{"x" * 100}"}}\n' for n in range(RECORDS))
    source.write_text(f"{lines}no record\n", encoding="utf-8")
    words = ("import", str(source), "--into", "many", "--workers", "2", "--rejects", os.devnull, "-o", "json")
    with elsewhere.start(*words) as process:
        summary = json.loads(process.communicate(timeout=60)[0])
    assert (process.returncode, summary["inserted"], summary["rejected"]) == (7, RECORDS, 1)
    assert sync_db.many.count_documents({}) == RECORDS
    elsewhere("export", "many", "--filter", '{"n": {"$lt": 2}}', "--fields", "n,text", "--out", str(out))
    assert out.read_bytes() == b"n,text\n" + b"".join(b"%d,%s\n" % (n, b"x" * 100) for n in range(2))


def test_a_server_of_its_own(elsewhere: Elsewhere) -> None:
    elsewhere("local", "start", "--mongod", str(mongod.find_mongod().path))
    try:
        assert json.loads(elsewhere("local", "status", "-o", "json"))["running"]
    finally:
        elsewhere("local", "stop")
    assert not json.loads(elsewhere("local", "status", "-o", "json"))["running"]


@pytest.mark.parametrize(
    ("platform", "number", "ends"),
    [
        ("win32", signal.SIGINT, (130, "stopped by Ctrl-C")),
        # What elsewhere.py has for Ctrl-Break, which is how one program asks another to end.
        ("win32", signal.SIGQUIT, (143, "stopped by SIGBREAK")),
        ("darwin", signal.SIGTERM, (143, "stopped by SIGTERM")),
    ],
)
def test_a_command_that_is_stopped_ends_in_order(
    platform: str, number: signal.Signals, ends: tuple[int, str], server_uri: str, sync_db: SyncDatabase
) -> None:
    name = f"t{uuid.uuid4().hex[:10]}"
    run = Elsewhere(platform, {"MOTORCTL_URI": f"{server_uri}&appName={name}", "MOTORCTL_DB": sync_db.name})
    admin = sync_db.client.admin
    data = {
        "failCommands": ["count", "aggregate"],
        "appName": name,
        "blockConnection": True,
        "blockTimeMS": 4000,  # and as long does the server take to end this
    }
    entered = admin.command({"configureFailPoint": "failCommand", "mode": "alwaysOn", "data": data})["count"]

    def waits() -> bool:
        found = admin.command({"getParameter": 1, "failpoint.failCommand": 1})["failpoint.failCommand"]
        return bool(found["timesEntered"] > entered)

    try:
        process = run.start("students", "count")
        with process:
            until(waits, "the command waits for the server", 60)
            process.send_signal(number)
            _, err = process.communicate(timeout=30)
    finally:
        admin.command({"configureFailPoint": "failCommand", "mode": "off"})
    assert (process.returncode, err.strip()) == (ends[0], f"error: {ends[1]}")


def test_a_terminal_is_not_waited_for_where_there_is_none(server_uri: str) -> None:
    run = Elsewhere("win32", {"MOTORCTL_URI": server_uri.replace("://", "://ada@")})
    assert "there is no terminal to ask on" in run("ping", "--ask-password", code=2)


def test_the_road_says_what_cannot_be_walked_on_windows() -> None:
    said = Elsewhere("win32", {})(
        "doctor", "--uri", "mongodb://%2Ftmp%2Fm.sock/?directConnection=true", code=3
    )
    assert "no Unix sockets on Windows" in said


# --- single places -----------------------------------------------------------------------------------


def test_ps_is_asked_in_words_that_every_ps_understands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """POSIX: behind `name=` the rest of the word is the column's title. Debian's ps reads `a=,b=` as two columns."""
    ps = tmp_path / "ps"
    ps.write_text(
        "#!/bin/sh\n"
        "stat=; lstart=; title=\n"
        'while [ "$1" ]; do case $1 in -o) case $2 in *=?*) title=${2#*=};; stat=) stat=Ss;;'
        ' lstart=) lstart="Mon Jan  1 00:00:00 2024";; esac;; esac; shift; done\n'
        '[ "$title" ] && echo "$title"\necho "$stat $lstart"\n',
        encoding="utf-8",
    )
    ps.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert mongod._ps_identity(os.getpid()) == "Mon Jan  1 00:00:00 2024"


def test_the_ps_of_this_machine_tells_processes_apart() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        here = mongod._ps_identity(process.pid)
        assert here == mongod._ps_identity(process.pid) != "running"
        process.communicate(b"\n")
    assert mongod._ps_identity(process.pid) is None


def test_lines_end_alike_on_every_system(monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.BytesIO()
    stream = io.TextIOWrapper(content, encoding="cp1252", newline="\r\n")
    monkeypatch.setattr(sys, "stdout", stream)
    first._standard_streams()
    stream.write("a,ä\n")
    stream.flush()
    assert content.getvalue() == "a,ä\n".encode()


def test_a_file_that_cannot_be_replaced_leaves_no_part_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows: neither a file that is open elsewhere nor one that is read-only can be replaced, the latter not deleted."""
    delete: Callable[..., None] = Path.unlink

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if path.exists() and not path.stat().st_mode & 0o200:
            raise PermissionError(13, "Access is denied", str(path))
        delete(path, missing_ok)

    def replace(path: Path, target: Path) -> Path:
        raise PermissionError(13, "Access is denied", str(path), None, str(target))

    monkeypatch.setattr(Path, "unlink", unlink)
    monkeypatch.setattr(Path, "replace", replace)
    out = tmp_path / "out.json"
    out.write_bytes(b"before")
    out.chmod(0o444)
    with pytest.raises(MotorctlError, match="Access is denied"), files.open_whole(out) as file:
        file.write(b"after")
    assert (out.read_bytes(), list(tmp_path.iterdir())) == (b"before", [out])
