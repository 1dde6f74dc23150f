"""Each exit code, provoked for real by a process as a script would start it.

9, a commit whose outcome is unknown, is provoked in test_transfer_faults.py and test_orders.py.
"""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from conftest import Server, command, until

from motorctl.errors import ExitCode

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Runner

GRACE = ("users", "create", "--name", "Grace", "--email", "grace@example.com")
NOBODY = "64b7f0c2a1b2c3d4e5f60718"


def test_0_done_and_nothing_to_change(motorctl: Runner) -> None:
    assert motorctl("schema", "apply", "--builtin", "shop").code == ExitCode.OK
    assert motorctl("schema", "apply", "--builtin", "shop").code == ExitCode.OK
    assert motorctl("schema", "check", "--builtin", "shop").code == ExitCode.OK


def test_1_the_operation_failed(motorctl: Runner) -> None:
    assert motorctl("aggregate", "users", '[{"$noSuchStage": 1}]').code == ExitCode.FAILED


@pytest.mark.parametrize(
    "arguments",
    [("nonsense",), ("ping", "-o", "xml"), ("students", "create", "--gpa", "4.1"), ("schema", "check")],
)
def test_2_usage(motorctl: Runner, arguments: tuple[str, ...]) -> None:
    assert motorctl(*arguments).code == ExitCode.USAGE


def test_3_no_server(motorctl: Runner) -> None:
    assert motorctl("ping", "--uri", "mongodb://127.0.0.1:1", "--timeout", "0.3").code == ExitCode.UNREACHABLE


def test_4_not_authorised(motorctl: Runner, tmp_path: Path) -> None:
    server = Server(tmp_path / "auth", "--auth", replica_set=False)
    try:
        result = motorctl("users", "list", "--uri", server.uri, "--wait", "20")
    finally:
        server.kill()
    assert result.code == ExitCode.UNAUTHORIZED
    assert "not authorised: needs `find` on" in result.stderr


def test_5_not_found(motorctl: Runner) -> None:
    assert motorctl("users", "get", NOBODY).code == ExitCode.NOT_FOUND


def test_6_refused_by_the_data(motorctl: Runner) -> None:
    motorctl("schema", "apply", "--builtin", "shop")
    assert motorctl(*GRACE).code == ExitCode.OK
    assert motorctl(*GRACE).code == ExitCode.REFUSED


def test_7_records_rejected(motorctl: Runner) -> None:
    result = motorctl("import", "-", "--into", "things", "-o", "json", stdin='{"a": 1}\n{"a": \n')
    assert result.code == ExitCode.REJECTS
    assert (result.json()["inserted"], result.json()["rejected"]) == (1, 1)


def test_8_a_difference(motorctl: Runner) -> None:
    assert motorctl("schema", "check", "--builtin", "shop").code == ExitCode.DIFFERENCE


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, ExitCode.INTERRUPTED), (signal.SIGTERM, ExitCode.TERMINATED)]
)
def test_130_and_143_stopped(number: int, code: int, server_uri: str, dbname: str, sync_db: Any) -> None:
    """In the middle of an import from a pipe that stays open: what was read is there, and summed up."""
    process = subprocess.Popen(
        command("import", "-", "--into", "things", "--format", "ndjson", "--batch-size", "1", "-o", "json"),
        env={**os.environ, "MOTORCTL_URI": server_uri, "MOTORCTL_DB": dbname},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write('{"a": 1}\n' * 100_000)
    process.stdin.flush()
    until(sync_db.things.estimated_document_count, "the first documents are there")

    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=30)

    assert process.returncode == code, stderr
    assert '"inserted"' in stdout
    assert "Traceback" not in stderr
