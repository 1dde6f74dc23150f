"""Baselines: the plans that were reviewed, in a file, and whether a plan of today is worse.

Compared is how a plan comes to its documents (`access`): the same on every server that has the same
indexes. Worse is

- a collection read as a whole that wasn't, a sort in memory that wasn't, documents fetched where the
  index was enough;
- an index with other keys, or fewer of its fields limited, unless the plan examines less or got better
  otherwise;
- a ratio of examined to passed on that is twice as high or more, where that is 100 examined or more.

Figures that wobble below that are no difference, times aren't recorded, and neither is any value of a
query. The file is JSON, sorted; an entry stays to the byte while its plan is the same. Asks nothing,
writes no file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from motorctl.core.explain.access import accesses, keys_text
from motorctl.core.explain.gates import Failure
from motorctl.core.explain.ratio import worst_ratio
from motorctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from motorctl.core.explain.access import Access
    from motorctl.core.explain.plan import Plan
    from motorctl.core.explain.query import Query

VERSION = 1
FACTOR = 2.0
"""A ratio that grows by less than this is the data's, not the plan's."""
FLOOR = 100
"""And so is one that costs fewer keys or documents than this."""

Entry = dict[str, Any]
"""One plan as the file has it: `access`, `in_memory_sort`, figures or null, `server_version`."""


@dataclass
class Comparison:
    """A plan against its entry. Each list holds sentences; `worse` is what fails."""

    worse: list[Failure] = field(default_factory=list)
    better: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def same(self) -> bool:
        return not (self.worse or self.better or self.notes)


@dataclass(frozen=True)
class Update:
    """What writing a plan does to the file."""

    name: str
    action: Literal["add", "change", "keep", "remove"]
    text: str = ""


def entry(plan: Plan) -> Entry:
    """Return what of a plan is recorded. Pure shape: no value of the query, no time."""
    ways = accesses(plan)
    ratio = worst_ratio(plan)
    return {
        "access": _distinct([_recorded(way) for way in ways]),
        "in_memory_sort": plan.in_memory_sort,
        "returned": plan.returned,
        "keys_examined": plan.keys_examined,
        "docs_examined": plan.docs_examined,
        "ratio": None if ratio is None else round(ratio.value, 2),
        "server_version": plan.server_version,
    }


def _recorded(way: Access) -> dict[str, Any]:
    recorded: dict[str, Any] = {"collection": way.collection, "scan": way.scan}
    if way.scan == "ixscan":
        recorded |= {
            "index": way.index,
            "keys": None if way.keys is None else dict(way.keys),
            "bounded": None if way.bounded is None else list(way.bounded),
            "covered": way.covered,
        }
    return recorded


def _distinct(ways: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Keep one of each: how many shards or intervals there are is no matter of the plan."""
    by_text = {json.dumps(way): way for way in ways}
    return [by_text[text] for text in sorted(by_text)]


def compare(before: Mapping[str, Any], now: Mapping[str, Any]) -> Comparison:
    """Compare two entries. `worse` names each difference once, the gravest first."""
    found = Comparison()
    _compare_scans(before, now, found)
    if now["in_memory_sort"] and not before["in_memory_sort"]:
        _worse(found, "in_memory_sort", False, True, "sorts in memory now")
    elif before["in_memory_sort"] and not now["in_memory_sort"]:
        found.better.append("doesn't sort in memory any more")
    if not found.worse:
        # What a scan or a sort examines follows from it.
        _compare_ratio(before, now, found)
    _compare_indexes(before, now, found)
    return found


def _worse(found: Comparison, what: str, before: Any, now: Any, text: str) -> None:
    found.worse.append(Failure(f"baseline.{what}", now, text, before))


def _compare_scans(before: Mapping[str, Any], now: Mapping[str, Any], found: Comparison) -> None:
    for name in _collections(before, now):
        then, today = _ways(before, name), _ways(now, name)
        scanned, scans = (any(way["scan"] == "collscan" for way in ways) for ways in (then, today))
        if scans and not scanned:
            _worse(
                found,
                "scan",
                _index_names(then) or None,
                "collscan",
                f"reads {name} as a whole" + (f", not by {_index_names(then)}" if _index_names(then) else ""),
            )
        elif today and all(way["scan"] == "none" for way in today) and any(map(_reads, then)):
            _worse(found, "scan", _index_names(then) or "collscan", "none", f"reads nothing of {name}")
        elif not today:
            # A $lookup to which nothing comes doesn't tell: that is no better plan.
            found.notes.append(f"reads nothing of {name} any more, or doesn't tell how")
        elif scanned and not scans:
            found.better.append(f"doesn't read {name} as a whole any more")
        if not all(map(_reads, today)):
            continue
        covered, covers = (bool(ways) and all(way.get("covered") for way in ways) for ways in (then, today))
        if covered and today and not covers and not scans:
            _worse(found, "covered", True, False, f"fetches documents of {name}, where its index was enough")
        elif covers and then and not covered and not scanned:
            found.better.append(f"doesn't fetch documents of {name} any more: its index is enough")


def _compare_ratio(before: Mapping[str, Any], now: Mapping[str, Any], found: Comparison) -> None:
    then, today = before["ratio"], now["ratio"]
    if then is None or today is None:
        return
    text = f"examines {today:g} for each document that it finds, not {then:g}"
    if _is_higher(now, then):
        _worse(found, "ratio", then, today, text)
    elif _is_higher(before, today):
        found.better.append(text)


def _is_higher(entry: Mapping[str, Any], other: float) -> bool:
    """Tell whether an entry's ratio is far above another one. One that is below 1 is as good as 1."""
    ratio, other = entry["ratio"], max(other, 1.0)
    if ratio < FACTOR * other:
        return False
    examined = max(entry["keys_examined"] or 0, entry["docs_examined"] or 0)
    # So many would the documents that it found have taken at the other ratio.
    return bool(examined - examined / ratio * other >= FLOOR)


def _compare_indexes(before: Mapping[str, Any], now: Mapping[str, Any], found: Comparison) -> None:
    improved = bool(found.better) or _examines_less(before, now)
    for name in _collections(before, now):
        then, today = _scans(before, name), _scans(now, name)
        if not then or not today:
            continue
        if not _same_indexes(then, today):
            text = f"reads {name} by {_index_names(today)}, not by {_index_names(then)}"
            if improved and not found.worse:
                found.better.append(text)
            else:
                _worse(found, "index", _index_names(then), _index_names(today), text)
            continue
        if _names(then) != _names(today):
            found.notes.append(f"{_index_names(then)} of {name} is now called {_index_names(today)}")
        lost = [field for field in _bounded(then) or () if field not in (_bounded(today) or [field])]
        if lost and not _examines_less(before, now):
            text = f"doesn't limit {', '.join(lost)} in {_index_names(today)} any more"
            _worse(found, "bounded", _bounded(then), _bounded(today), text)


def _examines_less(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Tell whether a plan examines less in all, for as many documents or more."""
    if any(one[name] is None for one in (before, now) for name in ("keys_examined", "docs_examined")):
        return False
    then, today = (one["keys_examined"] + one["docs_examined"] for one in (before, now))
    return bool(today < then and (now["returned"] or 0) >= (before["returned"] or 0))


def _collections(*entries: Mapping[str, Any]) -> list[str]:
    return sorted({way["collection"] for one in entries for way in one["access"]})


def _ways(entry: Mapping[str, Any], collection: str) -> list[dict[str, Any]]:
    return [way for way in entry["access"] if way["collection"] == collection]


def _scans(entry: Mapping[str, Any], collection: str) -> list[dict[str, Any]]:
    return [way for way in _ways(entry, collection) if way["scan"] == "ixscan"]


def _reads(way: Mapping[str, Any]) -> bool:
    return bool(way["scan"] != "none")


def _same_indexes(then: Sequence[Mapping[str, Any]], today: Sequence[Mapping[str, Any]]) -> bool:
    """Compare by keys; by names where a server didn't tell the keys, as of a `$lookup`."""
    told = all(way["keys"] is not None for way in (*then, *today))
    if told:
        return {json.dumps(way["keys"]) for way in then} == {json.dumps(way["keys"]) for way in today}
    return _names(then) == _names(today)


def _names(ways: Sequence[Mapping[str, Any]]) -> set[str | None]:
    return {way["index"] for way in ways}


def _index_names(ways: Sequence[Mapping[str, Any]]) -> str:
    shown = [
        way["index"] or keys_text(tuple((way["keys"] or {}).items()))
        for way in ways
        if way["scan"] == "ixscan"
    ]
    return " and ".join(sorted(set(shown)))


def _bounded(ways: Sequence[Mapping[str, Any]]) -> list[str] | None:
    """Return the fields that are limited in every way; None where one doesn't tell."""
    if any(way["bounded"] is None for way in ways):
        return None
    first, *others = (way["bounded"] for way in ways)
    return [name for name in first if all(name in other for other in others)]


def updated(
    entries: Mapping[str, Entry], plans: Mapping[str, Plan], *, removed: Sequence[str] = ()
) -> tuple[dict[str, Entry], list[Update]]:
    """Return the entries with plans recorded, and what that changes. An entry whose plan is the same is kept."""
    result = {name: one for name, one in entries.items() if name not in removed}
    updates = [Update(name, "remove") for name in removed if name in entries]
    for name, plan in plans.items():
        recorded = entry(plan)
        before = entries.get(name)
        if before is None:
            result[name] = recorded
            updates.append(Update(name, "add", plan_text(recorded)))
            continue
        found = compare(before, recorded)
        if found.same and (before["returned"] is None) == (recorded["returned"] is None):
            updates.append(Update(name, "keep"))
            continue
        result[name] = recorded
        sentences = [*(failure.text for failure in found.worse), *found.better, *found.notes]
        updates.append(Update(name, "change", "; ".join(sentences) or "has figures, or has none any more"))
    return result, sorted(updates, key=lambda update: update.name)


def plan_text(recorded: Mapping[str, Any]) -> str:
    """Say an entry in one line: `orders by status_1_created_at_1`."""
    ways = [
        f"{way['collection']} "
        + {"collscan": "as a whole", "none": "not at all"}.get(way["scan"], f"by {_index_names([way])}")
        for way in recorded["access"]
    ]
    return ", ".join(ways) + (", sorted in memory" if recorded["in_memory_sort"] else "")


def name_of(query: Query) -> str:
    """Name a query by its shape, values cut out: `find orders {status, created_at} sort {created_at: -1}`."""
    fields = sorted(set(_fields(query.filter)))
    words = [query.kind, query.collection]
    if query.key:
        words.append(query.key)
    if query.kind == "aggregate":
        words += [next(iter(stage), "") for stage in query.pipeline if isinstance(stage, dict)]
        fields = sorted({name for stage in query.pipeline for name in _matched(stage)})
    words.append("{" + ", ".join(fields) + "}")
    if query.sort:
        words.append(f"sort {keys_text(tuple(query.sort.items()))}")
    return " ".join(words)


def _matched(stage: Any) -> list[str]:
    return (
        _fields(stage["$match"]) if isinstance(stage, dict) and isinstance(stage.get("$match"), dict) else []
    )


def _fields(condition: Mapping[str, Any]) -> list[str]:
    found = []
    for name, value in condition.items():
        if not name.startswith("$"):
            found.append(name)
        elif isinstance(value, list):
            found += [field for one in value if isinstance(one, dict) for field in _fields(one)]
    return found


def dumps(entries: Mapping[str, Entry]) -> str:
    """Write the file: JSON, one entry a query in the order of their names, the same text for the same plans."""
    ordered = {name: entries[name] for name in sorted(entries)}
    return json.dumps({"version": VERSION, "queries": ordered}, indent=2, ensure_ascii=False) + "\n"


def loads(text: str, file: str) -> dict[str, Entry]:
    """Read the file's entries. Raises UsageError with its place."""
    again = "--update-baseline writes it anew, once it is out of the way"
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(
            f"{file}:{error.lineno}:{error.colno}: this is no JSON: {error.msg.lower()}",
            hint=f"take it from version control; {again}",
            file=file,
            line=error.lineno,
            column=error.colno,
        ) from None
    if not isinstance(document, dict) or not isinstance(document.get("queries"), dict):
        raise UsageError(f"{file} is no baseline of explain", hint=again, file=file)
    if document.get("version") != VERSION:
        raise UsageError(
            f"{file} is a baseline of another version of motorctl (version {document.get('version')})",
            hint=again,
            file=file,
        )
    for name, one in document["queries"].items():
        if not _is_entry(one):
            raise UsageError(f"{file}: the entry {name!r} is damaged", hint=again, file=file, key=name)
    queries: dict[str, Entry] = document["queries"]
    return queries


_FIGURES = ("returned", "keys_examined", "docs_examined", "ratio")


def _is_entry(one: Any) -> bool:
    if not isinstance(one, dict) or not isinstance(one.get("in_memory_sort"), bool):
        return False
    if not all(
        name in one and (one[name] is None or (isinstance(one[name], int | float) and one[name] >= 0))
        for name in _FIGURES
    ):
        return False
    ways = one.get("access")
    return isinstance(ways, list) and all(_is_way(way) for way in ways)


def _is_way(way: Any) -> bool:
    if not isinstance(way, dict) or not isinstance(way.get("collection"), str):
        return False
    if way.get("scan") != "ixscan":
        return way.get("scan") in ("collscan", "none")
    return (
        (way.get("index") is None or isinstance(way["index"], str))
        and (way.get("keys") is None or isinstance(way["keys"], dict))
        and (way.get("bounded") is None or isinstance(way["bounded"], list))
        and {"index", "keys", "bounded"} <= set(way)
        and isinstance(way.get("covered"), bool)
    )
