"""Pure functions in other processes: their results, their errors, their end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from motorctl.core.workers import Workers
from motorctl.errors import MotorctlError, UsageError


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def process_file(pid: int, name: str) -> bytes:
    return Path(f"/proc/{pid}/{name}").read_bytes()


async def test_results_come_back_from_other_processes() -> None:
    with Workers(2) as workers:
        before = workers.running
        workers.start()
        assert (before, workers.running) == (False, True)
        texts = await asyncio.gather(*(workers.call("base64:b64encode", b"%d" % n) for n in range(50)))
        pids = set(await asyncio.gather(*(workers.call("os:getpid") for _ in range(20))))
    assert texts[:2] == [b"MA==", b"MQ=="]
    assert len(texts) == 50
    assert pids
    assert os.getpid() not in pids
    assert not any(map(exists, pids))


async def test_megabytes_go_there_and_back() -> None:
    data = os.urandom(3_000_000)
    with Workers(1) as workers:
        workers.start()
        assert await workers.call("operator:concat", data, data) == data + data


async def test_an_error_of_the_function_is_raised_here() -> None:
    with Workers(1) as workers:
        workers.start()
        with pytest.raises(ValueError, match="invalid literal"):
            await workers.call("builtins:int", "x")
        with pytest.raises(UsageError, match="--types") as caught:
            await workers.call("motorctl.core.ingest.decoding.types:parse_types", "gpa")
        assert caught.value.hint
        assert await workers.call("builtins:int", "7") == 7


async def test_a_process_that_is_killed_is_an_error_and_not_a_wait() -> None:
    with Workers(1) as workers:
        workers.start()
        pid = await workers.call("os:getpid")
        sleeping = asyncio.create_task(workers.call("time:sleep", 60))
        await asyncio.sleep(0.1)
        os.kill(pid, signal.SIGKILL)
        begun = time.monotonic()
        with pytest.raises(MotorctlError, match="killed by signal 9"):
            await sleeping
        assert time.monotonic() - begun < 5


async def test_the_end_does_not_wait_for_a_call() -> None:
    begun = time.monotonic()
    with Workers(2) as workers:
        workers.start()
        await workers.call("os:getpid")
        calls = [asyncio.create_task(workers.call("time:sleep", 60)) for _ in range(3)]
        await asyncio.sleep(0.1)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert time.monotonic() - begun < 5


async def test_a_worker_has_no_connection_string_and_ignores_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTORCTL_URI", "mongodb://canary:canary@host")
    monkeypatch.setenv("MONGODB_URI", "mongodb://canary:canary@host")
    with Workers(1) as workers:
        workers.start()
        pid = await workers.call("os:getpid")
        os.kill(pid, signal.SIGINT)
        assert await workers.call("os:getenv", "MOTORCTL_URI") is None
        assert b"canary" not in process_file(pid, "environ")
        assert b"canary" not in process_file(pid, "cmdline")
        assert await workers.call("os:getpgrp") == pid


def test_a_parent_that_is_killed_leaves_no_worker() -> None:
    program = (
        "import asyncio, sys\n"
        "from motorctl.core.workers import Workers\n"
        "async def main():\n"
        "    workers = Workers(1); workers.start()\n"
        "    print(await workers.call('os:getpid'), flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    for _ in range(100):
        if not exists(pid):
            break
        time.sleep(0.05)
    assert not exists(pid)
