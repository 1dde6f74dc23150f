"""What is said of a plan and of each of its stages, in short words. Pure; knows no layout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from motorctl.core.explain.plan import Plan, Stage

TIMES = "times"
"""Under this name a stage's details have how many stages it stands for."""

INTERVALS = 3
"""So many intervals of an index's bounds are shown; JSON has them all."""

WHOLE = (["[MinKey, MaxKey]"], ["[MaxKey, MinKey]"])


def head(plan: Plan) -> list[str]:
    """Return the lines above the tree: what it is, what it cost, what else is to be known."""
    found = [f"{plan.verdict}: {_way(plan)}"]
    if plan.executed:
        found.append(", ".join(_cost(plan)))
    found.append(", ".join(_facts(plan)))
    if plan.failure is not None:
        found.append(f"failed: {plan.failure}")
    return found


def _way(plan: Plan) -> str:
    """Say in a few words how the documents are found."""
    name = plan.namespace or "no collection"
    named = f"the index{'es' if len(plan.indexes) > 1 else ''} {', '.join(plan.indexes)}"
    match plan.verdict:
        case "ixscan":
            return f"{name} by {named}" if plan.indexes else f"{name} by its clustered index"
        case "collscan":
            return f"{name} as a whole"
        case "idhack":
            return f"{name}, one document by its _id"
        case "express":
            return f"{name} by a short way past the planner"
        case "eof":
            return f"nothing of {name} is read" if plan.namespace else "no collection is read"
        case _:
            from motorctl.core.explain.verdict import scans

            if not scans(plan.root):
                return f"{name} in a way that isn't known here"
            by = f" by {named}, and" if plan.indexes else ":"
            return f"{name}{by} a collection as a whole"


def _cost(plan: Plan) -> Iterator[str]:
    from motorctl.core.explain.ratio import worst_ratio

    counted = next((one.details["nCounted"] for one in plan.root.walk() if "nCounted" in one.details), None)
    if counted is not None:
        yield f"{_count(counted)} counted"
    elif plan.returned is not None:
        # A mongos doesn't tell what left the merger.
        yield f"{plan.returned:,} returned"
    if plan.keys_examined is not None or plan.docs_examined is not None:
        yield f"{_number(plan.keys_examined)} keys and {_number(plan.docs_examined)} documents examined"
    ratio = worst_ratio(plan)
    if ratio is not None and round(ratio.value, 1) > 1:
        yield f"{_decimal(ratio.value)} for each one found"
    if plan.ms is not None:
        yield f"{_decimal(plan.ms)} ms"


def _facts(plan: Plan) -> Iterator[str]:
    from motorctl.core.explain.access import untold

    if not plan.executed:
        yield "planned, not run"
    yield "sorted in memory" if plan.in_memory_sort else "no sort in memory"
    if plan.rejected_plans:
        yield f"{plan.rejected_plans} rejected plan{'s' if plan.rejected_plans > 1 else ''}"
    else:
        yield "no rejected plans"
    if (stage := untold(plan)) is not None:
        yield f"how {label(stage, None)} reads isn't told"
    if plan.shards:
        yield f"{len(plan.shards)} shard{'s' if len(plan.shards) > 1 else ''}"
    if plan.merged_on:
        yield f"merged on {plan.merged_on}"
    if plan.engine:
        yield "slot-based engine" if plan.engine == "sbe" else "classic engine"
    if plan.server_version:
        yield f"MongoDB {plan.server_version}"


def figures(stage: Stage) -> tuple[str, ...]:
    """Return the cells of a stage: in, out, keys, docs, its own time."""
    own = stage.own_ms
    return (
        *("" if value is None else f"{value:,}" for value in (stage.input, stage.output)),
        *(f"{value:,}" if value else "" for value in (stage.keys, stage.docs)),
        "" if own is None else _decimal(own),
    )


def label(stage: Stage, parent: Stage | None) -> str:
    """Return a stage's name, with the one thing that it is about."""
    about = _about(stage)
    name = f"{stage.kind} {about}" if about else stage.kind
    if TIMES in stage.details:
        name = f"{stage.details[TIMES]} x {name}"
    if stage.branch is not None:
        name = f"{stage.branch}: {name}"
    if stage.shard is not None and (parent is None or parent.shard != stage.shard):
        name = f"{stage.shard}: {name}"
    return name


def _about(stage: Stage) -> str:
    details = stage.details
    if stage.index is not None and "strategy" not in details:
        return stage.index
    for name in ("limitAmount", "skipAmount", "from", "coll", "size"):
        if isinstance(value := details.get(name), str | int):
            return str(value) if not isinstance(value, int) else f"{value:,}"
    if isinstance(foreign := details.get("foreignCollection"), str):
        return foreign.partition(".")[2] or foreign
    return ""


def notes(stage: Stage) -> list[str]:
    """Return what else is shown below a stage, a line each."""
    from motorctl.core.explain.summary import NOTABLE_MS
    from motorctl.core.extjson import to_json_value

    found = [*_bounds(stage.bounds or {}), *_joins(stage), *_sorts(stage), *_others(stage.details)]
    if (handing := stage.handing_ms) and handing >= NOTABLE_MS:
        found.append(f"{_decimal(handing)} ms more to hand them to the pipeline")
    if stage.filter is not None:
        found.append(f"filter {_json(to_json_value(stage.filter))}")
    return found


def _bounds(bounds: Mapping[str, Any]) -> Iterator[str]:
    if "startKey" in bounds:
        start, end = _keys(bounds.get("startKey")), _keys(bounds.get("endKey"))
        yield f"at {start}" if start == end else f"from {start} to {end}"
        return
    limited = {name: intervals for name, intervals in bounds.items() if intervals not in WHOLE}
    if bounds and not limited:
        yield "all of it"
    for name, intervals in limited.items():
        listed = intervals if isinstance(intervals, list) else [intervals]
        more = len(listed) - INTERVALS
        rest = f" and {more:,} more" if more > 0 else ""
        yield f"{name} {', '.join(map(interval, listed[:INTERVALS]))}{rest}"


def interval(text: Any) -> str:
    """Write one interval of a bound: `["paid", "paid"]` is one value, `= "paid"`."""
    text = str(text)
    inside = text[1:-1]
    half = (len(inside) - 2) // 2
    alike = text.startswith("[") and text.endswith("]") and inside[:half] == inside[half + 2 :]
    return f"= {inside[:half]}" if alike and half and inside[half : half + 2] == ", " else text


def _keys(key: Any) -> str:
    from motorctl.core.extjson import to_json_value

    return _json(to_json_value(key))


def _joins(stage: Stage) -> Iterator[str]:
    details = stage.details
    if "foreignField" in details and "localField" in details:
        yield f"{details['foreignField']} = {details['localField']}"
    if "strategy" in details:
        yield f"strategy {details['strategy']}"
    if scanned := details.get("collectionScans"):
        # 6.0 counts some scans twice: there are no more than documents that came in.
        times = min(scanned, stage.input or scanned) if isinstance(scanned, int) else scanned
        yield f"read it as a whole {_count(times)} time{'s' if times != 1 else ''}"
    if isinstance(used := details.get("indexesUsed"), list) and used:
        yield f"by {', '.join(map(str, used))}"


def _sorts(stage: Stage) -> Iterator[str]:
    details = stage.details
    if isinstance(keys := details.get("sortPattern"), dict):
        yield "by " + ", ".join(f"{name}: {_json(way)}" for name, way in keys.items())
    memory = details.get("totalDataSizeSorted", details.get("totalDataSizeSortedBytesEstimate"))
    if isinstance(memory, int):
        yield f"{_bytes(memory)} sorted" + (", on disk" if details.get("usedDisk") else " in memory")
    elif details.get("usedDisk"):
        yield "on disk: more than fits into memory"


def _others(details: Mapping[str, Any]) -> Iterator[str]:
    if "nCounted" in details:
        yield f"{_count(details['nCounted'])} counted"
    if details.get("direction") == "backward":
        yield "backwards"
    if details.get("isMultiKey"):
        yield "multikey"
    if "minRecord" in details or "maxRecord" in details:
        yield f"records {_keys(details.get('minRecord'))} to {_keys(details.get('maxRecord'))}"
    if skipped := details.get("chunkSkips"):
        yield f"{_count(skipped)} orphaned"
    if details.get("indexFilterSet"):
        yield "an index filter is set"
    if details.get("failed"):
        yield "failed here"


def _json(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _count(value: Any) -> str:
    """Write a number of the server's; what isn't one, as it is."""
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else _json(value)


def _number(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _decimal(value: float) -> str:
    rounded = round(value, 1)
    return f"{int(rounded):,}" if rounded == int(rounded) else f"{rounded:,.1f}"


def _bytes(size: int) -> str:
    amount = float(size)
    for unit in ("bytes", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"
