"""The tour, run for real."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pymongo
import pytest
from conftest import command, until

from motorctl.commands.demo import DATABASE, ORDERS, steps
from motorctl.core import local, sample

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Runner


def test_the_tour_on_a_server_of_its_own_leaves_nothing_behind(motorctl: Runner, tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()

    result = motorctl("demo", connected=False, env={"TMPDIR": str(temporary)})

    assert result.code == 0, result.stderr
    for step in steps("")[:1]:
        assert step.why in result.stderr
    typed = re.findall(r"^\$ (.*)", result.stderr, re.MULTILINE)
    assert typed[0] == "motorctl local start"
    assert len(typed) == len(steps("")) + 2
    assert f"inserted   {ORDERS:,}" in result.stdout
    assert "slow: aggregate motorctl_demo.orders took" in result.stderr
    assert result.stderr.count("slow: ") == 1, "the index cures it"
    assert list(temporary.iterdir()) == []
    assert local.running_uri() is None


def test_the_tour_on_a_named_server_drops_its_database(motorctl: Runner, server_uri: str) -> None:
    assert motorctl("demo").code == 0

    with pymongo.MongoClient[dict[str, Any]](server_uri) as client:
        assert DATABASE not in client.list_database_names()


def test_kept_data_is_what_the_reader_goes_on_with(motorctl: Runner, server_uri: str) -> None:
    with pymongo.MongoClient[dict[str, Any]](server_uri) as client:
        try:
            assert motorctl("demo", "--keep").code == 0
            assert client[DATABASE].orders.count_documents({}) == ORDERS
            again = motorctl("demo", "--keep")
            assert again.code == 2, "dropping what is there needs a yes"
            assert motorctl("students", "count", "-d", DATABASE).stdout == "1\n"
        finally:
            client.drop_database(DATABASE)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_tour_that_is_stopped_stops_its_server(tmp_path: Path, number: int, code: int) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    process = subprocess.Popen(
        command("demo"),
        env={**os.environ, "TMPDIR": str(temporary)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    until(lambda: list(temporary.glob("*/orders.ndjson")), "the tour is on its way")
    (state,) = temporary.glob("*/server/state.json")
    pid = int(json.loads(state.read_bytes())["pid"])

    os.killpg(process.pid, number)
    said = process.communicate(timeout=30)[0].decode()

    assert process.returncode == code, said
    assert "Traceback" not in said
    until(lambda: not os.path.exists(f"/proc/{pid}"), "the server is gone")  # noqa: PTH110 - no path of the test's own


def test_sample_data_is_the_same_each_time() -> None:
    first, second = list(sample.orders(500)), list(sample.orders(500))

    assert first == second
    assert len({json.loads(line)["_id"] for line in first}) == 500
    emails = [json.loads(line)["email"] for line in sample.customers()]
    assert len(set(emails)) == len(emails) == sample.CUSTOMERS
