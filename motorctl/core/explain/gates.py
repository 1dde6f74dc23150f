"""Gates: limits that a plan must keep, written `collscan,sort,ratio:10,keys:1000`. Pure.

| gate | broken when |
| --- | --- |
| `collscan` | any collection is read as a whole, inside `$lookup` too, planned or executed |
| `sort` | documents are sorted in memory (a blocking sort), not by an index |
| `ratio:N` | one way into a collection examines more than N keys or documents for each one it finds (see `ratio`) |
| `keys:N`, `docs:N` | more than N keys, or documents, are examined in all |
| `ms:N` | the server took more than N milliseconds |

A limit itself is kept. What can't be judged is an error and never a pass: a figure that the server
didn't give, a collection that isn't there. What a plan is, `access` says; whether there are enough
documents for a figure to mean anything, `suite`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from motorctl.core.explain.access import accesses, untold
from motorctl.core.explain.ratio import worst_ratio
from motorctl.core.explain.verdict import sorts
from motorctl.errors import MotorctlError, UsageError
from motorctl.near import near

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from motorctl.core.explain.plan import Plan

LIMITED = ("ratio", "keys", "docs", "ms")
"""Gates with a limit. They need the query to be run."""

KINDS = ("collscan", "sort", *LIMITED)
_EXAMPLE = "for example collscan,sort,ratio:10,keys:1000,docs:1000,ms:50"


class UnjudgedError(MotorctlError):
    """A gate that can't be judged from this plan. `gate` is a detail."""

    code = "unjudged"


@dataclass(frozen=True)
class Gate:
    """One limit: `collscan` and `sort` have no number."""

    kind: str
    limit: float | None = None

    def __str__(self) -> str:
        return self.kind if self.limit is None else f"{self.kind}:{self.limit:g}"

    @property
    def needs_run(self) -> bool:
        return self.kind in LIMITED


@dataclass(frozen=True)
class Failure:
    """What was found against what was asked: `gate` as written, `measured` a JSON value, `text` a sentence."""

    gate: str
    measured: Any
    text: str
    limit: Any = None
    stage: str | None = None

    def document(self) -> dict[str, Any]:
        return {
            "gate": self.gate,
            "limit": self.limit,
            "measured": self.measured,
            "stage": self.stage,
            "message": self.text,
        }


def parse(text: str, name: str = "--fail-on") -> list[Gate]:
    """Read gates with commas between them. Raises UsageError that names the word; `name` is where they stand."""
    if not text.strip():
        raise UsageError(f"{name}: no gate", hint=_EXAMPLE)
    return gates_of(text.split(","), name)


def gates_of(words: Sequence[str], name: str = "--fail-on") -> list[Gate]:
    """Read a list of gates, each once."""
    found: list[Gate] = []
    for word in words:
        gate = _gate(word.strip(), name)
        if any(gate.kind == other.kind for other in found):
            raise UsageError(f"{name}: {gate.kind} stands twice", hint="each gate has one limit")
        found.append(gate)
    return found


def _gate(word: str, name: str) -> Gate:
    kind, colon, number = (part.strip() for part in word.partition(":"))
    if kind not in KINDS:
        shown = repr(word) if word else "an empty word"
        raise UsageError(
            f"{name}: {shown} is no gate", hint=near(kind, KINDS) or f"gates: {', '.join(KINDS)}; {_EXAMPLE}"
        )
    if kind not in LIMITED:
        if colon:
            raise UsageError(f"{name}: {kind} takes no limit", hint=f"write {kind} alone")
        return Gate(kind)
    try:
        limit = float(number) if number.isascii() else math.nan
    except ValueError:
        limit = math.nan
    whole = kind in ("keys", "docs")
    if not math.isfinite(limit) or limit < 0 or (whole and limit != int(limit)):
        wanted = "a whole number" if whole else "a number"
        got = f", not {number!r}" if number else ""
        raise UsageError(f"{name}: {kind} needs {wanted} from 0 up{got}", hint=f"write {kind}:100")
    return Gate(kind, limit)


def broken(plan: Plan, gates: Sequence[Gate]) -> list[Failure]:
    """Return the gates that a plan breaks, in their order.

    Raises UnjudgedError where one can't be judged; a plan that reads nothing breaks none and keeps none.
    """
    failures = [failure for gate in gates if (failure := _JUDGES[gate.kind](plan, gate)) is not None]
    absent = next((way for way in accesses(plan) if way.scan == "none"), None)
    if gates and not failures and absent is not None:
        raise UnjudgedError(
            f"{absent.collection} wasn't read at all: it isn't there, or the filter finds nothing whatever it holds",
            hint="seed the database first: a gate that passes without data shows nothing",
            gate=",".join(map(str, gates)),
        )
    return failures


def refuse_unrun(gates: Sequence[Gate], where: str = "") -> None:
    """Raise UsageError for gates that only a run can judge: the plan alone has no figures."""
    if needing := [str(gate) for gate in gates if gate.needs_run]:
        raise UsageError(
            f"{where}{', '.join(needing)} can't be judged without running the query",
            hint="leave --no-run out, or gate on collscan and sort only: --fail-on collscan,sort",
        )


def _collscan(plan: Plan, gate: Gate) -> Failure | None:
    whole = [way for way in accesses(plan) if way.scan == "collscan"]
    if whole:
        names = list(dict.fromkeys(way.collection for way in whole))
        return Failure(
            str(gate),
            len(names),
            " and ".join(names) + (" is" if len(names) == 1 else " are") + " read as a whole",
            stage=whole[0].stage,
        )
    if (stage := untold(plan)) is not None:
        raise UnjudgedError(
            f"{gate}: the server doesn't tell how {stage.kind} read its collection",
            hint=_untold_hint(plan),
            gate=str(gate),
        )
    return None


def _untold_hint(plan: Plan) -> str:
    if not plan.executed:
        return "run the query: without --no-run"
    return (
        "nothing came to it, its collection isn't there, or the server is older than 5.0: gate its own "
        "query as one more, and this one by docs and ratio"
    )


def _sort(plan: Plan, gate: Gate) -> Failure | None:
    found = sorts(plan.root)
    return (
        Failure(str(gate), True, "sorted in memory, not by an index", stage=found[0].kind) if found else None
    )


def _ratio(plan: Plan, gate: Gate) -> Failure | None:
    worst = worst_ratio(plan)
    if worst is None:
        # A pipeline that reads no collection has none; every other plan that was run has one.
        if not plan.executed or any(way.scan != "none" for way in accesses(plan)):
            _known(None, gate)
        return None
    if worst.value <= (gate.limit or 0):
        return None
    ways = [way.text for way in accesses(replace(plan, root=worst.top))]
    return Failure(
        str(gate),
        round(worst.value, 2),
        f"{worst.examined:,} examined to find {worst.found:,} in {' and '.join(dict.fromkeys(ways))}: "
        f"a ratio of {_number(worst.value)} (limit {_number(gate.limit)})",
        gate.limit,
        worst.top.kind,
    )


def _figure(read: Callable[[Plan], float | None], what: str) -> Callable[[Plan, Gate], Failure | None]:
    def judge(plan: Plan, gate: Gate) -> Failure | None:
        measured = _known(read(plan), gate)
        if measured <= (gate.limit or 0):
            return None
        text = f"{_number(measured)} {what} (limit {_number(gate.limit)})"
        return Failure(str(gate), measured, text, gate.limit)

    return judge


def _known(figure: float | None, gate: Gate) -> float:
    if figure is None:
        raise UnjudgedError(
            f"{gate}: the server gave no such figure",
            hint="run the query: without --no-run; a pipeline that writes is never run",
            gate=str(gate),
        )
    return figure


def _number(value: float | None) -> str:
    number = round(value or 0, 1)
    return f"{int(number):,}" if number == int(number) else f"{number:,.1f}"


_JUDGES: dict[str, Callable[[Plan, Gate], Failure | None]] = {
    "collscan": _collscan,
    "sort": _sort,
    "ratio": _ratio,
    "keys": _figure(lambda plan: plan.keys_examined, "keys examined"),
    "docs": _figure(lambda plan: plan.docs_examined, "documents examined"),
    "ms": _figure(lambda plan: plan.ms, "ms on the server"),
}
