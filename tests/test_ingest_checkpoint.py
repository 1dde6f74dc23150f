"""The state of an import: who may go on from it, what is saved, and what `import status` makes of it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from bson import ObjectId

from motorctl import __version__
from motorctl.core.ingest.model import Place, Plan, Reading
from motorctl.core.ingest.resuming import checkpoint as module
from motorctl.core.ingest.resuming import states as status
from motorctl.core.ingest.resuming.checkpoint import Checkpoint, Mark, changes, imports, mark
from motorctl.core.ingest.resuming.claim import LEASE, Owner, alive, decide
from motorctl.core.ingest.resuming.fingerprint import (
    COLLECTION,
    END,
    Fingerprint,
    Wanted,
    default_name,
    described,
    fingerprint,
    wanted,
)
from motorctl.core.mongod import process_identity
from motorctl.errors import MotorctlError, NotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from motorctl.client import Database

NOW = datetime(2024, 5, 1, 12, 0, 0, tzinfo=UTC)
HERE = Owner("here", 100, "boot/1", "space")
THERE = Owner("there", 7, "other/1", "elsewhere")
FILE = Fingerprint("data/a.ndjson", 1000, 5, "abc")
OTHER = Fingerprint("data/b.ndjson", 2000, 6, "def")
WANTED = Wanted("c/a.ndjson", "c", (FILE, OTHER), {"chunk": 1, "mode": "upsert"})


def stored(
    wanted: Wanted = WANTED, *, state: str = "stopped", owner: Owner = HERE, **more: Any
) -> dict[str, Any]:
    begun = module._begun(wanted, NOW)
    run = {"state": state, "reason": None, "owner": asdict(owner), "claim": ObjectId(), "since": NOW}
    return {**begun, **run, "updated": NOW, "runs": 1, **more}


def choose(
    state: Mapping[str, Any] | None,
    wanted: Wanted = WANTED,
    others: tuple[Mapping[str, Any], ...] = (),
    *,
    seconds: float = 1,
    identity: str | None = None,
) -> str:
    return decide(state, others, wanted, NOW + timedelta(seconds=seconds), HERE, lambda _: identity)


# --- who may go on ---


def test_an_unknown_import_begins() -> None:
    assert choose(None) == "begin"


@pytest.mark.parametrize("state", ["running", "stopped", "failed"])
def test_an_unfinished_one_of_a_dead_owner_goes_on(state: str) -> None:
    assert choose(stored(state=state)) == "resume"


def test_a_finished_one_has_nothing_to_do() -> None:
    assert choose(stored(state="done")) == "done"


@pytest.mark.parametrize("seconds", [0, 1, 100_000])
def test_a_living_owner_of_this_machine_is_refused_however_silent(seconds: float) -> None:
    with pytest.raises(MotorctlError) as raised:
        choose(stored(state="running"), seconds=seconds, identity="boot/1")
    assert raised.value.exit_code == 1
    assert raised.value.message == (
        "import c/a.ndjson is being run by process 100 on here since 2024-05-01 12:00:00 UTC"
    )
    assert "can be resumed" not in str(raised.value.hint)


def test_a_process_id_that_came_round_again_is_another_process() -> None:
    assert choose(stored(state="running"), seconds=0, identity="boot/2") == "resume"


@pytest.mark.parametrize(
    ("seconds", "living"), [(0, True), (LEASE - 0.1, True), (LEASE, False), (LEASE + 1, False)]
)
def test_an_owner_elsewhere_lives_as_long_as_its_lease(seconds: float, living: bool) -> None:
    # That nobody here has its process id says nothing of it.
    state = stored(state="running", owner=THERE)
    if living:
        with pytest.raises(MotorctlError, match="process 7 on there") as raised:
            choose(state, seconds=seconds)
        assert f"it can be resumed {LEASE - seconds:.0f} s from now" in str(raised.value.hint)
    else:
        assert choose(state, seconds=seconds) == "resume"


def test_an_owner_that_no_system_could_tell_from_others_lives_by_its_lease() -> None:
    state = stored(state="running", owner=replace(HERE, process=None))
    assert alive(state, NOW + timedelta(seconds=1), HERE, lambda _: None)
    assert not alive(state, NOW + timedelta(seconds=LEASE), HERE, lambda _: None)


def test_a_container_of_the_same_host_name_is_elsewhere() -> None:
    state = stored(state="running", owner=replace(HERE, space="another container"))
    with pytest.raises(MotorctlError, match="is being run"):
        choose(state)


CHANGED: list[tuple[Wanted, str]] = [
    (
        replace(WANTED, files=(replace(FILE, size=1234), OTHER)),
        "data/a.ndjson had 1,000 bytes, and has 1,234 now",
    ),
    (replace(WANTED, files=(replace(FILE, mtime=9), OTHER)), "data/a.ndjson has been written since"),
    (replace(WANTED, files=(FILE, replace(OTHER, digest="x"))), "data/b.ndjson has been written since"),
    (replace(WANTED, files=(FILE,)), "it had 2 files, and has 1 file now"),
    (replace(WANTED, files=(OTHER, FILE)), "data/b.ndjson stands where data/a.ndjson stood"),
    (replace(WANTED, into="d"), "it went into c, and is to go into d now"),
    (replace(WANTED, plan={"chunk": 1}), "mode was 'upsert', and is not given now"),
    (replace(WANTED, plan={**WANTED.plan, "null": ""}), "null was not given, and is '' now"),
    (replace(WANTED, plan={**WANTED.plan, "chunk": 2}), "chunk was 1, and is 2 now"),
]


@pytest.mark.parametrize(("changed", "reason"), CHANGED)
def test_an_unfinished_one_of_something_else_is_refused(changed: Wanted, reason: str) -> None:
    with pytest.raises(UsageError) as raised:
        choose(stored(), changed)
    assert raised.value.message == f"import c/a.ndjson is unfinished and can't be resumed: {reason}"
    assert "motorctl import forget c/a.ndjson" in str(raised.value.hint)


@pytest.mark.parametrize(("changed", "_reason"), CHANGED)
def test_a_finished_one_of_something_else_begins_anew(changed: Wanted, _reason: str) -> None:
    touched = [file.digest for file in changed.files] == [
        file.digest for file in WANTED.files
    ] and changed == (replace(WANTED, files=changed.files))
    # A file that was only touched is the same text.
    same = touched and [file.size for file in changed.files] == [file.size for file in WANTED.files]
    assert choose(stored(state="done"), changed) == ("done" if same else "begin")


def test_a_file_may_be_called_by_another_path() -> None:
    elsewhere = replace(WANTED, files=(replace(FILE, file="/mnt/a.ndjson"), OTHER))
    assert choose(stored(), elsewhere) == "resume"


def test_another_version_may_cut_elsewhere() -> None:
    with pytest.raises(UsageError, match=f"begun by motorctl 0.0.1, and this is {__version__}"):
        choose(stored(version="0.0.1"))
    assert choose(stored(state="done", version="0.0.1")) == "done"


def test_rejects_go_on_in_the_file_that_they_are_in() -> None:
    one, two = replace(WANTED, rejects_file="one"), replace(WANTED, rejects_file="two")
    with pytest.raises(UsageError, match="rejects was 'one', and is 'two' now"):
        choose(stored(one, rejects_bytes=10), two)
    with pytest.raises(UsageError, match="rejects was 'one', and is not given now"):
        choose(stored(one, rejects_bytes=10))
    assert choose(stored(one, rejects_bytes=10), one) == "resume"
    assert choose(stored(one), two) == "resume"
    assert choose(stored(one, state="done", rejects_bytes=10), two) == "done"


def test_the_number_of_parts_stays() -> None:
    part = replace(WANTED, part=(1, 8))
    other = {"_id": "c/a.ndjson 2/8", "part": {"number": 2, "of": 8}, "inputs": ""}
    assert choose(None, part, (other,)) == "begin"
    with pytest.raises(UsageError, match="have another input: a file has come, gone or changed"):
        choose(None, replace(part, inputs="other"), (other,))
    with pytest.raises(UsageError) as raised:
        choose(None, replace(WANTED, part=(1, 4)), (other,))
    assert raised.value.message == "import c/a.ndjson was begun in 8 parts, and is now wanted in 4 parts"
    with pytest.raises(UsageError, match="was begun in 8 parts, and is now wanted whole"):
        choose(None, WANTED, (other,))
    with pytest.raises(UsageError, match="was begun whole, and is now wanted in 8 parts"):
        choose(None, part, ({"_id": "c/a.ndjson", "part": None},))


# --- what an import is ---


def test_a_file_is_known_by_its_ends_its_size_and_its_time(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(3 * END))
    first = fingerprint(str(path))
    assert (first.size, first.mtime) == (3 * END, path.stat().st_mtime_ns)
    found = {first.digest}
    for at in (0, END - 1, 2 * END, 3 * END - 1):
        data = bytearray(3 * END)
        data[at] = 1
        path.write_bytes(data)
        found.add(fingerprint(str(path)).digest)
    assert len(found) == 5
    os.utime(path, ns=(0, 1_714_564_800_000_000_123))
    assert fingerprint(str(path)).mtime == 1_714_564_800_000_000_123


@pytest.mark.parametrize("size", [0, 1, END, END + 1])
def test_a_small_file_has_a_fingerprint_too(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * size)
    assert fingerprint(str(path)).size == size


def test_what_can_be_read_once_only_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("-", str(tmp_path / "pipe")):
        with pytest.raises(UsageError, match="can be read only once"):
            fingerprint(name)
    with pytest.raises(UsageError, match="No such file"):
        fingerprint(str(tmp_path / "absent"))


@pytest.mark.parametrize(
    ("files", "name"),
    [
        (["orders.ndjson"], "orders/orders.ndjson"),
        (["./a/orders.ndjson"], "orders/a/orders.ndjson"),
        (["/data/o.csv.gz", "/data/p.csv.gz"], "orders/data/o.csv.gz"),
    ],
)
def test_the_name_an_import_has_by_itself(files: list[str], name: str) -> None:
    assert default_name("orders", files) == name


@pytest.mark.parametrize("name", ["", " ", "a 1/8"])
def test_names_that_no_import_can_have(name: str) -> None:
    with pytest.raises(UsageError, match="can't have the name"):
        wanted(name, "c", [], {})
    with pytest.raises(UsageError, match="nothing can be imported into it"):
        wanted("a", COLLECTION, [], {})


def test_all_parts_have_one_name(tmp_path: Path) -> None:
    files = [str(tmp_path / name) for name in "ab"]
    for file in files:
        (tmp_path / file).touch()
    second = wanted(None, "c", files[1:], {}, part=(2, 2), all_files=files)
    assert (second.name, [file.file for file in second.files]) == (default_name("c", files), files[1:])
    assert wanted("mine", "c", files, {}).name == "mine"


def test_a_part_has_a_document_of_its_own() -> None:
    assert (WANTED.id, replace(WANTED, part=(2, 8)).id) == ("c/a.ndjson", "c/a.ndjson 2/8")


def test_a_plan_is_described_by_what_is_not_as_always() -> None:
    assert list(described(Plan(), Reading())) == ["chunk"]
    plan = Plan("upsert", ("a", "b"), types=(("n", "int32"),), null="")
    told = described(plan, Reading("csv", delimiter=";"), drop=True)
    del told["chunk"]
    assert told == {
        "mode": "upsert",
        "key": ["a", "b"],
        "types": [["n", "int32"]],
        "null": "",
        "format": "csv",
        "delimiter": ";",
        "drop": True,
    }


# --- what is saved ---

CSV = Place(10, 2, "delimited", ";", ("a", "b"), (("a", "int32"),), after=False)


def test_only_what_changed_is_written() -> None:
    before = [Mark(), Mark(CSV, read=5, inserted=5)]
    assert changes(before, {}) == {}
    assert changes(before, {0: before[0], 1: before[1]}) == {}
    later = CSV._replace(offset=99, line=9)
    assert changes(before, {1: Mark(later, read=9, inserted=8, rejected=1)}) == {
        "files.1.place": {"offset": 99, "line": 9, "layout": "delimited", "delimiter": ";", "after": False},
        "files.1.read": 9,
        "files.1.inserted": 8,
        "files.1.rejected": 1,
    }
    first = changes(before, {0: Mark(CSV, done=True)})
    assert (first["files.0.header"], first["files.0.types"]) == (["a", "b"], [["a", "int32"]])
    assert first["files.0.done"] is True


async def test_claim_save_and_go_on(db: Database) -> None:
    one = await Checkpoint.claim(db, WANTED)
    assert (one.resumed, one.done, one.begun, one.doubtful, one.rejects_bytes) == (False, False, False, 0, 0)
    assert one.place(0) is None
    await one.begin()
    marks = {
        0: Mark(Place(1000, 11, "lines"), True, 10, 9, rejected=1, bytes=1000, consumed=1000),
        1: Mark(CSV, read=3, inserted=3, bytes=10, consumed=10),
    }
    await one.save(marks, 77)
    await one.finish("stopped", "by hand")
    two = await Checkpoint.claim(db, WANTED)
    assert (two.resumed, two.done, two.begun, two.rejects_bytes) == (True, False, True, 77)
    assert two.doubtful == module.WINDOW
    assert two.marks == [marks[0], marks[1]]
    assert two.place(1) == CSV
    assert [two.identity(n) for n in (0, 1)] == [one.identity(n) for n in (0, 1)]
    await two.save({1: Mark(CSV._replace(offset=2000), True, 4, 4)}, 80)
    await two.finish("done")
    three = await Checkpoint.claim(db, WANTED)
    assert (three.resumed, three.done, three.rejects_bytes) == (False, True, 80)
    assert sum(mark.read for mark in three.marks) == 14
    await three.finish("done")


async def test_the_begun_flag_alone_makes_doubts(db: Database) -> None:
    one = await Checkpoint.claim(db, WANTED)
    await one.finish("stopped")
    two = await Checkpoint.claim(db, WANTED)
    assert (two.resumed, two.begun, two.doubtful) == (True, False, 0)
    await two.finish("stopped")


async def test_each_file_has_identities_of_its_own(db: Database) -> None:
    one = await Checkpoint.claim(db, WANTED)
    first, second = one.identity(0), one.identity(1)
    assert (len(first), first[4:]) == (7, second[4:])
    seconds = [int.from_bytes(identity[:4], "big") for identity in (first, second)]
    assert seconds[1] == seconds[0] + 1
    assert abs(seconds[0] - time.time()) < 60
    await one.finish("stopped")


async def test_a_finished_one_of_other_files_imports_only_those(db: Database) -> None:
    one = await Checkpoint.claim(db, WANTED)
    await one.save({n: Mark(Place(1, 1, "lines"), True, 1, 1) for n in (0, 1)}, 5)
    await one.finish("done")
    new = replace(FILE, file="data/0.ndjson", digest="new")
    changed = replace(OTHER, digest="changed")
    two = await Checkpoint.claim(db, replace(WANTED, files=(new, replace(FILE, mtime=9), changed)))
    assert (two.resumed, two.done, two.replaced, two.carried, two.rejects_bytes) == (False, False, True, 1, 0)
    assert two.marks == [Mark(), Mark(Place(1, 1, "lines"), True, 1, 1), Mark()]
    await two.finish("stopped")
    assert await imports(db).count_documents({}) == 1


async def test_a_finished_one_of_another_plan_begins_with_nothing(db: Database) -> None:
    one = await Checkpoint.claim(db, WANTED)
    await one.save({n: Mark(Place(1, 1, "lines"), True, 1, 1) for n in (0, 1)})
    await one.finish("done")
    two = await Checkpoint.claim(db, replace(WANTED, plan={"chunk": 1, "mode": "merge"}))
    assert (two.replaced, two.carried, two.marks) == (True, 0, [Mark(), Mark()])
    await two.finish("stopped")


async def test_of_many_at_once_one_wins(db: Database) -> None:
    for _ in range(2):  # first where nothing is, then where there is one to be gone on with
        found = await asyncio.gather(
            *(Checkpoint.claim(db, WANTED) for _ in range(12)), return_exceptions=True
        )
        won = [one for one in found if isinstance(one, Checkpoint)]
        refused = [str(one) for one in found if isinstance(one, MotorctlError)]
        assert (len(won), len(refused)) == (1, 11)
        assert all(f"is being run by process {os.getpid()} on" in text for text in refused)
        await won[0].finish("stopped")


def _another_process() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])


async def test_an_owner_that_was_killed_is_followed_at_once(db: Database) -> None:
    with _another_process() as process:
        one = await Checkpoint.claim(db, WANTED)
        await one.finish("stopped")
        owner = replace(Owner.here(), pid=process.pid, process=process_identity(process.pid))
        change = {"$set": {"state": "running", "owner": asdict(owner)}, "$currentDate": {"updated": True}}
        await imports(db).update_one({}, change)
        with pytest.raises(MotorctlError, match=f"process {process.pid} "):
            await Checkpoint.claim(db, WANTED)
        process.kill()
        process.wait()
        two = await Checkpoint.claim(db, WANTED)
        assert two.resumed
        await two.finish("stopped")


async def test_one_that_was_taken_over_saves_nothing_more(db: Database) -> None:
    one = await Checkpoint.claim(db, WANTED)
    long_ago = NOW - timedelta(days=1)
    silent = {"owner": asdict(THERE), "updated": long_ago}
    await imports(db).update_one({}, {"$set": silent})
    two = await Checkpoint.claim(db, WANTED)
    with pytest.raises(MotorctlError, match="no longer this process's"):
        await one.save({0: Mark(Place(1, 1, "lines"), True, 1, 1)})
    await one.finish("failed", "it was taken over")
    state = await imports(db).find_one({})
    assert state is not None
    assert (state["state"], mark(state["files"][0])) == ("running", Mark())
    await two.finish("stopped")


async def test_an_answer_that_was_lost_is_no_refusal(db: Database) -> None:
    async def twice(operation: Callable[[], Awaitable[Any]]) -> Any:
        await operation()
        return await operation()

    for resumed in (False, True):
        one = await Checkpoint.claim(db, WANTED, attempt=twice)
        assert one.resumed is resumed
        await one.begin()
        await one.save({0: Mark(Place(1, 1, "lines"), read=1, inserted=1)}, 3)
        await one.finish("stopped")


async def test_a_silent_import_gives_signs_of_life(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEARTBEAT", 0.05)
    one = await Checkpoint.claim(db, WANTED)
    before = await imports(db).find_one({})
    await asyncio.sleep(0.4)
    after = await imports(db).find_one({})
    assert before is not None
    assert after is not None
    assert after["updated"] > before["updated"]
    # Whoever finds out by it that the import isn't his any more stops at the next save.
    await imports(db).delete_one({})
    await asyncio.sleep(0.4)
    with pytest.raises(MotorctlError, match="no longer this process's"):
        await one.save({})
    await one.finish("failed")


async def test_saving_takes_little_of_the_time(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    taken = [0.0]

    async def slow(operation: Callable[[], Awaitable[Any]]) -> Any:
        clock[0] += taken[0]
        return await operation()

    one = await Checkpoint.claim(db, WANTED, attempt=slow)
    for taken[0], pause in ((0.001, 1.0), (0.06, 2.0), (60.0, module.HEARTBEAT)):
        await one.save({})
        clock[0] += pause - 0.01
        early = one.due
        clock[0] += 0.02
        assert (early, one.due) == (False, True)
    await one.finish("stopped")


async def test_an_end_before_the_end_is_a_defect(db: Database) -> None:
    one = await Checkpoint.claim(db, WANTED)
    await one.save({0: Mark(Place(1, 1, "lines"), True, 1, 1)})
    with pytest.raises(MotorctlError, match="1 of its files are not read to their end"):
        await one.finish("done")
    two = await imports(db).find_one({})
    assert two is not None
    assert two["state"] == "running"


class Lost:
    """A collection of a server that is gone."""

    def __init__(self) -> None:
        self.asked = 0

    async def update_one(self, *_: Any) -> Any:
        self.asked += 1
        raise ConnectionError


async def test_what_stopped_an_import_is_not_hidden_by_a_lost_server(db: Database) -> None:
    one = await Checkpoint.claim(db, WANTED)
    lost: Any = Lost()
    one._collection = lost
    await one.finish("failed", "the server was lost")
    assert lost.asked == 1


async def test_more_files_than_a_state_holds(db: Database) -> None:
    many = replace(WANTED, files=tuple(replace(FILE, file=f"{n:0200}") for n in range(60_000)))
    with pytest.raises(UsageError, match="60,000 files are too many"):
        await Checkpoint.claim(db, many)
    assert await imports(db).count_documents({}) == 0


# --- what is shown ---


def part(number: int, of: int = 3, **more: Any) -> dict[str, Any]:
    state = stored(replace(WANTED, part=(number, of), files=(FILE,)), **more)
    state["files"][0] |= {"read": 10 * number, "inserted": 10 * number, "consumed": 500}
    return state


def test_parts_are_summed_up() -> None:
    parts = [part(1, state="done", seconds=4.0), part(3, state="running", seconds=9.5)]
    row = status.merged(parts)
    assert (row["name"], row["into"], row["state"], row["parts_done"], row["parts"]) == (
        "c/a.ndjson", "c", "running", 1, 3,
    )  # fmt: skip
    assert (row["read"], row["inserted"], row["updated"], row["percent"]) == (40, 40, 0, 50.0)
    assert (row["seconds"], row["updated_at"]) == (9.5, NOW)


@pytest.mark.parametrize(
    ("states", "state", "reason"),
    [
        (["done", "done", "done"], "done", None),
        (["done", "done", None], "stopped", "part 3 of 3 has not begun"),
        (["done", "stopped", "done"], "stopped", "part 2 of 3: stopped"),
        (["failed", "done", None], "failed", "part 1 of 3: failed; part 3 of 3 has not begun"),
        (["failed", "running", None], "running", None),
    ],
)
def test_the_state_of_all_parts(states: list[str | None], state: str, reason: str | None) -> None:
    parts = [part(number, state=each) for number, each in enumerate(states, 1) if each]
    row = status.merged(parts)
    assert (row["state"], row["reason"]) == (state, reason)


def test_many_missing_parts_are_counted() -> None:
    row = status.merged([part(1, 8, state="done")])
    assert row["reason"] == (
        "part 2 of 8 has not begun; part 3 of 8 has not begun; part 4 of 8 has not begun, and 4 more"
    )


@pytest.mark.parametrize(
    ("number", "consumed", "offset", "percent"),
    [
        (1, 125, 120, 50.0),
        (3, 500, 500, 0.0),
        (3, 625, 600, 50.0),
        (3, 900, 760, 99.9),
        # A compressed file has more text than bytes, and each part reads all of it.
        (3, 500, 4000, 50.0),
    ],
)
def test_a_part_of_a_file_is_measured_by_its_range(
    number: int, consumed: int, offset: int, percent: float
) -> None:
    sliced = stored(replace(WANTED, part=(number, 4), files=(FILE,), sliced=True))
    place = {"offset": offset, "line": 1, "layout": "lines", "delimiter": ",", "after": False}
    sliced["files"][0] |= {"consumed": consumed, "place": place}
    assert status._percent(sliced) == percent
    assert status._percent({**sliced, "state": "done"}) == 100.0


def test_a_whole_import_is_measured_by_all_its_bytes() -> None:
    state = stored()
    assert status._percent(state) == 0.0
    state["files"][0] |= {"done": True}
    state["files"][1] |= {"consumed": 500}
    assert status._percent(state) == 50.0
    assert status._percent(stored(replace(WANTED, files=()))) == 0.0


def test_all_that_is_known_of_one() -> None:
    found = status.detailed([part(1, 2, state="stopped", reason="by hand")])
    assert list(found) == ["name", "into", "state", "reason", "plan", "parts", "files", "totals"]
    assert [(row["part"], row["state"], row["read"]) for row in found["parts"]] == [
        (1, "stopped", 10),
        (2, "not begun", 0),
    ]
    assert list(found["parts"][0]) == list(found["parts"][1])
    assert [(row["file"], row["part"], row["state"], row["line"]) for row in found["files"]] == [
        ("data/a.ndjson", 1, "stopped", 1)
    ]
    assert (found["totals"]["read"], found["totals"]["updated"]) == (10, 0)
    assert found["totals"]["updated_at"] == found["parts"][0]["updated_at"] == NOW


async def test_a_dead_run_is_shown_as_stopped(db: Database) -> None:
    one = await Checkpoint.claim(db, WANTED)
    ((state,),) = await status.fetch(db)
    assert state["state"] == "running"
    await imports(db).update_one({}, {"$set": {"owner.process": "boot/0"}})
    ((state,),) = await status.fetch(db)
    assert (state["state"], state["reason"]) == ("stopped", "its process has ended")
    assert status.merged([state])["reason"] == "its process has ended"
    await one.finish("stopped")


async def test_forgetting(db: Database) -> None:
    with pytest.raises(NotFoundError):
        await status.fetch(db, "c/a.ndjson")
    parts = [await Checkpoint.claim(db, replace(WANTED, part=(n, 2))) for n in (1, 2)]
    other = await Checkpoint.claim(db, replace(WANTED, name="other"))
    await parts[0].finish("stopped")
    with pytest.raises(MotorctlError, match=r"c/a\.ndjson 2/2 is being run"):
        await status.forget(db, "c/a.ndjson")
    assert await imports(db).count_documents({}) == 3
    await parts[1].finish("stopped")
    assert (await status.forget(db, "c/a.ndjson"))["parts"] == 2
    assert [group[0]["name"] for group in await status.fetch(db)] == ["other"]
    await other.finish("stopped")
