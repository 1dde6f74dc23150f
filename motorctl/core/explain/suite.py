"""A suite: named queries, and what is asked of the plan of each.

A `Case` is what was written, an `Outcome` what came of it. `explain_case` asks the server, `judge` is pure.
How the file is read is the edge's; how outcomes are shown, the command's and `junit`'s.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from pymongo.errors import OperationFailure

from motorctl.core.explain import baseline
from motorctl.core.explain.access import Keys, accesses, collection_of, keys_text
from motorctl.core.explain.ask import explain
from motorctl.core.explain.gates import Failure, Gate, UnjudgedError, broken, refuse_unrun
from motorctl.core.explain.read import read
from motorctl.errors import MotorctlError, UsageError
from motorctl.near import near

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from motorctl.client import Database
    from motorctl.core.driver import Attempt
    from motorctl.core.explain.plan import Plan
    from motorctl.core.explain.query import Query

RUNS = 3
"""How often a query with the gate `ms` is run at most: the fastest counts."""


_SAID_BETTER = {"collscan": "baseline.scan", "sort": "baseline.in_memory_sort"}


@dataclass(frozen=True)
class Expect:
    """What a plan must be: the index by name or keys, the verdict, how many documents, whether covered."""

    index: str | Keys | None = None
    verdict: str | None = None
    returned: int | None = None
    covered: bool | None = None

    @property
    def is_empty(self) -> bool:
        return self == Expect()


@dataclass(frozen=True)
class Case:
    """One named query. `min_documents`: fewer in its collection, and its figures mean nothing."""

    name: str
    query: Query
    gates: tuple[Gate, ...] = ()
    expect: Expect = Expect()
    min_documents: int = 1


@dataclass
class Outcome:
    """What came of a case: a plan with its failures, or an error. `seconds` is the whole time, ours too."""

    case: Case
    plan: Plan | None = None
    failures: list[Failure] = field(default_factory=list)
    better: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    error: MotorctlError | None = None
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        return self.error is None and not self.failures

    @property
    def word(self) -> str:
        """`ok`, `FAILED` or `error`."""
        if self.error is not None:
            return "error"
        return "FAILED" if self.failures else "ok"

    @property
    def text(self) -> str:
        """What is wrong, or how the query reads, in one line."""
        if self.error is not None:
            return self.error.message
        if self.failures:
            # A baseline says the same of a scan or a sort, and what was there before.
            twice = {
                said for said, by in _SAID_BETTER.items() if any(one.gate == by for one in self.failures)
            }
            return "; ".join(failure.text for failure in self.failures if failure.gate not in twice)
        return "; ".join(
            [_read_text(self.plan, self.case.query) if self.plan else "", *self.better, *self.notes]
        )

    def row(self) -> dict[str, Any]:
        """Return the outcome as JSON has it. Figures are null where the query wasn't run."""
        plan = self.plan
        return {
            "name": self.case.name,
            "ok": self.ok,
            "verdict": plan.verdict if plan else None,
            "index": ", ".join(dict.fromkeys(plan.indexes)) or None if plan else None,
            "returned": plan.returned if plan else None,
            "keys_examined": plan.keys_examined if plan else None,
            "docs_examined": plan.docs_examined if plan else None,
            "ms": plan.ms if plan else None,
            "in_memory_sort": plan.in_memory_sort if plan else None,
            "failures": [failure.document() for failure in self.failures],
            "better": self.better,
            "notes": self.notes,
            "error": {"code": self.error.code, "message": self.error.message} if self.error else None,
        }


def select(cases: Sequence[Case], patterns: Sequence[str]) -> list[Case]:
    """Return the cases whose name one of the patterns (`*`, `?`, `[ab]`) matches; none: all. UsageError when one matches none."""
    if not patterns:
        return list(cases)
    names = [case.name for case in cases]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise UsageError(
                f"--only {pattern}: no query of the suite is called so",
                hint=near(pattern, names) or f"queries: {', '.join(names)}",
            )
    return [case for case in cases if any(fnmatchcase(case.name, pattern) for pattern in patterns)]


def refuse_unjudgeable(cases: Sequence[Case], *, run: bool, has_baseline: bool) -> None:
    """Raise UsageError for a case of which nothing is asked, or what only a run can tell when there is none."""
    for case in cases:
        if not (case.gates or has_baseline or not case.expect.is_empty):
            raise UsageError(
                f"nothing is asked of {case.name!r}: it could only pass",
                hint="give it fail_on or expect, the suite defaults, or the command --fail-on or --baseline",
                key=case.name,
            )
        if not run:
            refuse_unrun(case.gates, f"{case.name!r}: ")
            if case.expect.returned is not None:
                raise UsageError(
                    f"{case.name!r}: expect.returned can't be judged without running the query",
                    hint="leave --no-run out",
                )


async def explain_case(
    db: Database,
    case: Case,
    *,
    run: bool = True,
    runs: int = RUNS,
    max_time_ms: int | None = None,
    attempt: Attempt,
) -> Plan:
    """Ask for a case's plan. With the gate `ms` it is run until it is fast enough, `runs` times at most.

    Raises UnjudgedError when the collection holds fewer documents than the case needs, and the
    driver's errors.
    """
    limit = next((gate.limit for gate in case.gates if gate.kind == "ms"), None)
    best: Plan | None = None
    for _ in range(runs if run and limit is not None else 1):
        document = await attempt(
            lambda: explain(
                db, case.query, verbosity="executionStats" if run else "queryPlanner", max_time_ms=max_time_ms
            )
        )
        plan = read(document)
        if plan.failure is not None:
            # Other servers answer with this error in place of a plan.
            details = {"errmsg": plan.failure, "code": plan.failure_code}
            raise OperationFailure(plan.failure, plan.failure_code, details)
        if best is None or (plan.ms is not None and best.ms is not None and plan.ms < best.ms):
            best = plan
        if limit is None or (plan.ms is not None and plan.ms <= limit):
            break
    assert best is not None, "a case is explained once at least"
    await refuse_unseeded(db, best, case.min_documents, attempt=attempt)
    return best


async def refuse_unseeded(db: Database, plan: Plan, least: int, *, attempt: Attempt) -> None:
    """Raise UnjudgedError when a plan's collection holds fewer documents than its figures need to mean something.

    The count is the collection's own record (`count` without a query), not a scan; of a time series, whose
    record is that of its buckets, as many of its documents are counted as are needed. A pipeline that reads
    no collection (`$documents`, `$currentOp`) needs none.
    """
    home = collection_of(plan.namespace)
    if least <= 0 or not home or home.startswith("$cmd"):
        return
    answer = await attempt(lambda: db.command({"count": home, "limit": least}))
    found = int(answer["n"])
    if found < least:
        # Below the limit the count is whole.
        has = "is empty, or isn't there" if not found else f"holds {_documents(found)}"
        needs = "" if least == 1 else f", and {_documents(least)} are needed"
        raise UnjudgedError(
            f"{home} {has}{needs}: its plan shows nothing",
            hint="seed the database first; min_documents says how many documents a query needs, 0 for none",
            collection=home,
        )


def judge(case: Case, plan: Plan, recorded: Mapping[str, Any] | None = None) -> Outcome:
    """Hold a plan against a case's gates, what it expects, and its entry in a baseline. Pure."""
    outcome = Outcome(case, plan)
    try:
        outcome.failures += broken(plan, case.gates)
    except UnjudgedError as error:
        outcome.error = error
    outcome.failures += _unexpected(plan, case.expect)
    figures = any(gate.needs_run for gate in case.gates) and case.query.kind != "count"
    if figures and plan.returned == 0 and case.expect.returned is None:
        outcome.notes.append("it found nothing: its figures show little")
    if recorded is not None:
        compared = baseline.compare(recorded, baseline.entry(plan))
        outcome.failures += compared.worse
        outcome.better += compared.better
        outcome.notes += compared.notes
    return outcome


def missing_entry(outcome: Outcome) -> None:
    """Fail an outcome that a baseline doesn't know: what nobody has reviewed doesn't pass."""
    outcome.failures.append(
        Failure("baseline.missing", None, "isn't in the baseline: --update-baseline records it")
    )


def _unexpected(plan: Plan, expect: Expect) -> list[Failure]:
    found = []
    if expect.index is not None:
        found += _unexpected_index(plan, expect.index)
    if expect.verdict is not None and plan.verdict != expect.verdict:
        found.append(_expected("verdict", expect.verdict, plan.verdict))
    if expect.returned is not None and plan.returned != expect.returned:
        found.append(_expected("returned", expect.returned, plan.returned))
    if expect.covered is not None:
        ways = accesses(plan)
        covered = bool(ways) and all(way.covered for way in ways)
        if covered != expect.covered:
            found.append(_expected("covered", expect.covered, covered))
    return found


def _unexpected_index(plan: Plan, wanted: str | Keys) -> list[Failure]:
    ways = [way for way in accesses(plan) if way.scan == "ixscan"]
    if isinstance(wanted, str):
        names = list(dict.fromkeys([*plan.indexes, *(way.index or "" for way in ways)]))
        return [] if wanted in names else [_expected("index", wanted, ", ".join(filter(None, names)) or None)]
    if any(way.keys == wanted for way in ways):
        return []
    used = ", ".join(keys_text(way.keys) for way in ways if way.keys is not None) or None
    return [_expected("index", keys_text(wanted), used)]


def _expected(what: str, wanted: Any, found: Any) -> Failure:
    shown = {None: "none", True: "yes", False: "no"}
    got, want = (shown.get(one, one) if isinstance(one, bool | None) else one for one in (found, wanted))
    return Failure(f"expect.{what}", found, f"{what} is {got}, not {want}", wanted)


def _read_text(plan: Plan, query: Query) -> str:
    """Say how a query reads and what that took: `orders by status_1 (31 keys, 31 documents, 31 returned)`."""
    read_by = baseline.plan_text(baseline.entry(plan)) or "nothing is read"
    if plan.keys_examined is None or plan.docs_examined is None:
        return read_by
    keys = "1 key" if plan.keys_examined == 1 else f"{plan.keys_examined:,} keys"
    # Of a count, the classic engine returns nothing but the number.
    told = plan.returned is not None and query.kind != "count"
    returned = f", {plan.returned:,} returned" if told else ""
    return f"{read_by} ({keys}, {_documents(plan.docs_examined)}{returned})"


def _documents(count: int) -> str:
    return "1 document" if count == 1 else f"{count:,} documents"
