"""Each command over a line that is slow, cut, loses answers or falls silent: it ends, says what it knows, and again works.

A command runs through a proxy (`faulty`) with one fault, and a second time straight to the server. After the first
the database is held against what the user was told: who is told "done" finds it done, who is told "nothing was
written" finds nothing. `--faults` strikes each of the commands that a run sends, one after the other, by each fault;
without it each command meets a few, chosen so that all of them are met by many.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import every_command
import forked
import pymongo
import pytest
from every_command import Case
from proxy import Fault, How, faulty

from motorctl import silence

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

TIMEOUT = 1.0
"""--timeout of the runs that are struck: three quarters of it must do for a question on a busy machine."""
LIMIT = 2 * TIMEOUT + 1
"""What the program promises from the fault on; see `motorctl.silence`."""
SLACK = 6.0
"""Two busy processors, the pauses between our own attempts (1 to 2 s for a line that was cut at once), and the last
note of what keeps a record of itself (3 s)."""
AT_ONCE = 8

NOTHING = (
    "nothing was written",
    "nothing is written",
    "nothing was sent",
    "nothing was ordered",
    "is as it was",
)
DOUBT = (
    *("may have been", "look before", "not known", "in doubt", "tells", "goes on", "no confirmation"),
    *("ask again", "may be run again", "The same again is safe", "does the rest"),
)  # fmt: skip

FAULTS = {
    How.drop: Fault(How.drop),
    How.silent: Fault(How.silent, part=0.6),
    How.silent_request: Fault(How.silent_request),
    How.cut_request: Fault(How.cut_request),
    How.cut_answer: Fault(How.cut_answer),
    How.cut_inside: Fault(How.cut_inside),
    How.gone: Fault(How.gone),
    How.delay: Fault(How.delay, seconds=0.2),
}
READS = (
    (How.silent,),
    (How.drop,),
    (How.silent_request,),
    (How.gone,),
    (How.cut_inside,),
    (How.cut_request,),
)
WRITES = ((How.drop, How.gone), (How.silent, How.cut_answer), (How.cut_inside, How.silent_request))
"""What a command meets without --faults, by its place in the table: a reading one in its middle, one that writes at
its last command, which is the write or the commit of most."""


@dataclass(frozen=True)
class Seen:
    """One run over a bad line, and one over a good one after it."""

    fault: Fault
    struck: list[str]
    first: forked.Run
    seconds: float
    """From the fault to the end of the first run."""
    done_before: bool
    done_between: bool
    second: forked.Run | None
    """None after a slow line, which is nothing to mend."""
    done_after: bool

    def __str__(self) -> str:
        return f"{self.fault} ({', '.join(self.struck)}): {self.first.result}, then {self.second and self.second.result}"


@dataclass
class Account:
    """All that was seen of one command."""

    slow: Seen
    seen: dict[str, Seen] = field(default_factory=dict)


@pytest.fixture(scope="module")
def accounts(
    request: pytest.FixtureRequest, server_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Account]]]:
    """Begin all runs, several at once: most of their time is waiting."""
    folder = tmp_path_factory.mktemp("faults")
    every_command.write_files(folder)
    every = bool(request.config.getoption("--faults"))
    with pymongo.MongoClient[dict[str, Any]](server_uri) as client, forked.pool(AT_ONCE, folder) as workers:
        host = client.admin.command("hello")["primary"]
        yield {
            case.path: workers.submit(observed, number, host, str(folder), every=every)
            for number, case in enumerate(every_command.ALL)
        }
        workers.shutdown(cancel_futures=True)


def observed(number: int, host: str, folder: str, *, every: bool) -> Account:
    """Strike one command in each way that it is to meet. Runs in a process of its own."""
    case = every_command.ALL[number]
    bench = Bench(case, host, folder)
    # Patient enough to ask for no sign of life: that would be a command more.
    crumbs = Fault(How.trickle, seconds=0.001)
    silence.ANSWER_SECONDS = 60
    slow, sent = bench.struck(crumbs, timeout=80, twice=False)
    silence.ANSWER_SECONDS = TIMEOUT
    account = Account(slow)
    if every:
        faults = [_at(fault, at) for fault in FAULTS.values() for at in range(len(sent))]
    else:
        chosen = READS if case.done is None else WRITES
        at = len(sent) // 2 if case.done is None else len(sent) - 1
        faults = [_at(FAULTS[how], at) for how in chosen[number % len(chosen)]]
    for fault in faults:
        account.seen[f"{fault.how.name} at {fault.at}"] = bench.struck(fault)[0]
    return account


def _at(fault: Fault, at: int) -> Fault:
    return Fault(fault.how, at=at, seconds=fault.seconds, part=fault.part)


class Bench:
    """One command, and a database that is as new for each run of it."""

    def __init__(self, case: Case, host: str, folder: str) -> None:
        self._case = case
        self._host, _, port = host.partition(":")
        self._port = int(port)
        self._straight = f"mongodb://{host}/?directConnection=true"
        self._runs = 0
        self._environment = {"MOTORCTL_LOCAL_DIR": folder}

    def struck(self, fault: Fault, timeout: float = TIMEOUT, *, twice: bool = True) -> tuple[Seen, list[str]]:
        """Run the command over a line with a fault, and again without; return the commands that were sent, too."""
        self._runs += 1
        name = f"faults_{self._case.path.replace(' ', '_')}_{self._runs}"
        environment = {**self._environment, "MOTORCTL_DB": name}
        with pymongo.MongoClient[dict[str, Any]](self._straight, tz_aware=True) as client:
            db = client[name]
            every_command.fill(db, self._case.path)
            look = self._case.done or (lambda _: True)
            before = look(db)
            with faulty(self._host, self._port, fault) as line:
                first = forked.run(
                    self._case.words,
                    {**environment, "MOTORCTL_URI": line.uri, "MOTORCTL_TIMEOUT": str(timeout)},
                )
            between = look(db)
            patient = {"MOTORCTL_URI": self._straight, "MOTORCTL_TIMEOUT": "20"}
            second = forked.run(self._case.words, {**environment, **patient}) if twice else None
            since = first.begun + first.seconds - line.struck_at
            seen = Seen(fault, line.struck, first, since, before, between, second, look(db))
            client.drop_database(name)
        return seen, line.commands


@pytest.fixture(params=every_command.ALL, ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


def test_no_command_is_missing() -> None:
    there = [case.path for case in every_command.ALL]
    assert len(there) == len(set(there))
    assert not set(there) & set(every_command.ELSEWHERE)
    assert every_command.leaves() == {*there, *every_command.ELSEWHERE}


def test_over_a_slow_line_it_does_what_it_always_does(
    case: Case, accounts: dict[str, Future[Account]]
) -> None:
    seen = accounts[case.path].result().slow
    assert seen.struck, "the line struck nothing"
    assert case.done is None or not seen.done_before, "the test can't tell before from after"
    assert seen.first.code == case.ends, seen
    assert seen.done_between, seen


def test_over_a_bad_line_it_ends_and_says_what_it_knows(
    case: Case, accounts: dict[str, Future[Account]]
) -> None:
    for seen in accounts[case.path].result().seen.values():
        assert seen.struck, f"the fault met nothing: {seen}"
        assert seen.seconds < LIMIT + SLACK, seen
        assert seen.first.code in {case.ends, 3, 9}, seen
        said = seen.first.result.stderr
        if seen.first.code == case.ends:
            assert seen.done_between, seen
        else:
            # Of many changes it says what became of each, and how the rest is done.
            listed = case.path == "schema apply" and "`motorctl schema apply` does the rest" in said
            assert listed or said.count("error: ") == 1, seen
            assert listed or "hint: " in said, seen
        if case.done is not None and seen.first.code != case.ends:
            nothing = any(words in said for words in NOTHING)
            assert nothing or any(words in said for words in DOUBT), seen
            assert not (nothing and seen.done_between), seen


def test_a_second_run_finishes_the_work(case: Case, accounts: dict[str, Future[Account]]) -> None:
    for seen in accounts[case.path].result().seen.values():
        assert seen.done_after, seen
        # What was done by the first run, or was on its way when it gave up, may be said to be there already.
        said = seen.first.result.stdout + seen.first.result.stderr
        perhaps = seen.done_between or any(words in said for words in DOUBT)
        allowed = {case.ends, *case.again} if perhaps and case.done else {case.ends}
        assert seen.second is not None
        assert seen.second.code in allowed, seen
