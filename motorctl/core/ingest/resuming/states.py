"""What the states of imports say, put together for people: `import status` and `import forget`.

Reads and deletes states; never touches what was imported. A finished import's state stays as the record of
what was imported until it is forgotten, or the next run of that name takes its place: there are never
more than there are names and parts.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from motorctl.core.driver import server_time
from motorctl.core.ingest.reading.split import LINES
from motorctl.core.ingest.resuming.checkpoint import imports, mark
from motorctl.core.ingest.resuming.claim import Owner, alive, running
from motorctl.core.ingest.resuming.legible import illegible, wrong_in
from motorctl.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from motorctl.client import Database
    from motorctl.core.ingest.resuming.checkpoint import Mark
    from motorctl.errors import MotorctlError

__all__ = ["COUNTS", "detailed", "fetch", "forget", "merged"]

COUNTS = ("read", "inserted", "updated", "unchanged", "rejected", "bytes")
GONE = "its process has ended"


async def fetch(
    db: Database, name: str | None = None, *, odd: Callable[[MotorctlError], None] | None = None
) -> list[list[dict[str, Any]]]:
    """Return the states of each import, or of one: one list for each, its parts in order.

    The state of one that nobody works on any more is `stopped`, whatever it was left at. Raises
    `NotFoundError` for a name that isn't there. A document that is no state is told to `odd`, or else raised.
    """
    by_name = defaultdict(list)
    now, here = await server_time(db), Owner.here()
    async for state in imports(db).find({} if name is None else {"name": name}):
        if (field := wrong_in(state)) is None:
            by_name[state["name"]].append(_as_is(state, now, here))
        elif odd is None:
            raise illegible(state, field)
        else:
            odd(illegible(state, field))
    if name is not None and not by_name:
        raise _unknown(name)
    for parts in by_name.values():
        parts.sort(key=lambda state: state["part"]["number"] if state["part"] else 0)
    return [by_name[key] for key in sorted(by_name)]


def _as_is(
    state: dict[str, Any], now: datetime, here: Owner, is_alive: Callable[..., bool] = alive
) -> dict[str, Any]:
    if state["state"] == "running" and not is_alive(state, now, here):
        return {**state, "state": "stopped", "reason": GONE}
    return state


def merged(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Sum up the parts of one import in one row: `updated_at` is a date, `percent` is of the bytes.

    It runs as long as a part does, and is done when all of them are.
    """
    of = _of(parts)
    reason = _reason(parts, of)
    states = {part["state"] for part in parts}
    if "running" in states:
        state, reason = "running", None
    elif "failed" in states:
        state = "failed"
    else:
        state = "stopped" if reason else "done"
    marks = [mark(file) for part in parts for file in part["files"]]
    return {
        "name": parts[0]["name"],
        "into": parts[0]["into"],
        "state": state,
        "reason": reason,
        "parts_done": sum(part["state"] == "done" for part in parts),
        "parts": of,
        **_sums(marks),
        "percent": round(sum(_percent(part) for part in parts) / of, 1),
        # Parts run beside each other: the longest says how long it takes.
        "seconds": max(part["seconds"] for part in parts),
        "created_at": min(part["created"] for part in parts),
        "updated_at": max(part["updated"] for part in parts),
    }


def detailed(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Tell of one import all that is known: its parts, those that have not begun too, and its files."""
    total = merged(parts)
    of = _of(parts)
    known = {part["part"]["number"] if part["part"] else 1: part for part in parts}
    rows = [_part(number, known.get(number)) for number in range(1, of + 1)]
    files = [
        {
            "file": file["file"],
            "part": part["part"]["number"] if part["part"] else None,
            "state": _file_state(part, mark(file)),
            **_sums([mark(file)]),
            "size": file["size"],
            "line": file["place"]["line"] if file.get("place") else 1,
            "offset": file["place"]["offset"] if file.get("place") else 0,
        }
        for part in parts
        for file in part["files"]
    ]
    first = parts[0]
    head = {name: total[name] for name in ("name", "into", "state", "reason")}
    totals = {name: total[name] for name in (*COUNTS, "percent", "seconds", "created_at", "updated_at")}
    return {**head, "plan": first["plan"], "parts": rows, "files": files, "totals": totals}


async def forget(db: Database, name: str) -> dict[str, Any]:
    """Delete the state of an import, all its parts; what it imported stays. Return what `merged` says of it.

    Raises `NotFoundError` for a name that isn't there, `MotorctlError` while somebody works on it.
    """
    (parts,) = await fetch(db, name)
    for part in parts:
        if part["state"] == "running":
            raise running(part, await server_time(db), Owner.here())
    for part in parts:
        # Unless it was begun again meanwhile.
        await imports(db).delete_one({"_id": part["_id"], "claim": part["claim"]})
    return merged(parts)


def _unknown(name: str) -> NotFoundError:
    return NotFoundError(
        f"no import {name!r} is known", hint="`motorctl import status` lists those that are", name=name
    )


def _of(parts: Sequence[Mapping[str, Any]]) -> int:
    return int(parts[0]["part"]["of"]) if parts[0]["part"] else 1


def _reason(parts: Sequence[Mapping[str, Any]], of: int) -> str | None:
    """Say why an import isn't done: the first part that isn't, and those that have not begun."""
    reasons = []
    for part in parts:
        if part["state"] in {"stopped", "failed"}:
            which = f"part {part['part']['number']} of {of}: " if part["part"] else ""
            reasons.append(f"{which}{part['reason'] or part['state']}")
    begun = {part["part"]["number"] for part in parts if part["part"]}
    reasons += [
        f"part {number} of {of} has not begun" for number in range(1, of + 1) if begun and number not in begun
    ]
    more = f", and {len(reasons) - 3} more" if len(reasons) > 3 else ""
    return "; ".join(reasons[:3]) + more if reasons else None


def _part(number: int, part: Mapping[str, Any] | None) -> dict[str, Any]:
    if part is None:
        nothing = dict.fromkeys(COUNTS, 0)
        return {
            "part": number,
            "state": "not begun",
            "reason": None,
            **nothing,
            "percent": 0.0,
        } | dict.fromkeys(("seconds", "updated_at", "host", "pid", "runs", "rejects_file"))
    return {
        "part": number,
        "state": part["state"],
        "reason": part["reason"],
        **_sums([mark(file) for file in part["files"]]),
        "percent": round(_percent(part), 1),
        "seconds": part["seconds"],
        "updated_at": part["updated"],
        "host": part["owner"]["host"],
        "pid": part["owner"]["pid"],
        "runs": part["runs"],
        "rejects_file": part["rejects_file"] if part["rejects_bytes"] else None,
    }


def _file_state(part: Mapping[str, Any], mark: Mark) -> str:
    if mark.done:
        return "done"
    return str(part["state"]) if mark.consumed or mark.read else "not begun"


def _sums(marks: Sequence[Mark]) -> dict[str, int]:
    return {name: sum(getattr(mark, name) for mark in marks) for name in COUNTS}


def _percent(part: Mapping[str, Any]) -> float:
    """How much of a part is done, by the bytes as they lie in its files."""
    if part["state"] == "done":
        return 100.0
    size = sum(file["size"] for file in part["files"])
    done = sum(file["size"] * _fraction(part["part"], file["size"], mark(file)) for file in part["files"])
    return min(99.9, 100 * done / size) if size else 0.0


def _fraction(part: Mapping[str, Any] | None, size: int, found: Mark) -> float:
    if found.done or not size:
        return 1.0
    begin, end, place = 0.0, float(size), found.place
    # A range of the file's bytes, where offsets in the text are those in the file; of others, compressed
    # ones say, each part reads all.
    if part and part["sliced"] and place and place.layout in LINES and place.offset <= found.consumed:
        begin, end = (size * number / part["of"] for number in (part["number"] - 1, part["number"]))
    return min(1.0, max(0.0, (found.consumed - begin) / (end - begin)))
