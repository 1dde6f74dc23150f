"""A change in words, for people: what it is about, what differs, what stands in its way. Pure; machines read the documents."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bson import ObjectId

from motorctl.core.extjson import to_json_value
from motorctl.core.schema.compare import DEFAULT_INDEX_OPTIONS, same

if TYPE_CHECKING:
    from collections.abc import Iterable

    from motorctl.core.schema.change import Blocker, Change

SIGNS = {"create": "+", "modify": "~", "drop": "-", "rebuild": "!", "keep": "="}

_MISSING = object()
_LONGEST = 60


def row(change: Change) -> dict[str, str]:
    """Write a change as a line of a table: what happens, to what, and what differs.

    What blocks it has room below the table: see `obstacles`.
    """
    blocked = change.status == "blocked"
    return {
        "change": f"{SIGNS[change.action]} {change.action}",
        "object": subject(change),
        "detail": "; ".join(filter(None, ("blocked", _deed(change)))) if blocked else describe(change),
    }


def subject(change: Change) -> str:
    """Name what a change is about: `index users.email_1`, `validator of users`, `collection users`."""
    match change.kind:
        case "index":
            return f"index {change.collection}.{change.name}"
        case "search_index":
            return f"search index {change.collection}.{change.name}"
        case "validator":
            return f"validator of {change.collection}"
        case _:
            return f"collection {change.collection}"


def describe(change: Change) -> str:
    """Say what became of a change or what is in its way, else what it does."""
    if change.error is not None:
        return f"failed: {change.error['message']}"
    if change.blockers:
        return ("skipped: " if change.status == "skipped" else "") + "; ".join(
            blocker.message for blocker in change.blockers
        )
    return _deed(change)


def obstacles(changes: Iterable[Change]) -> list[str]:
    """Write what blocks each change, and what nobody has looked for, as lines; none where nothing does."""
    plan = list(changes)
    found = [(one, blocker) for one in plan if one.status == "blocked" for blocker in one.blockers]
    blocked = [(one, blocker) for one, blocker in found if blocker.reason != "privilege"]
    lines = list(_privileges(found))
    for position, (change, blocker) in enumerate(blocked):
        lines.append(f"blocked: {subject(change)}: {blocker.message}")
        lines += [f"  {sample}" for sample in _samples(blocker)]
        following = blocked[position + 1][1].hint if position + 1 < len(blocked) else None
        if blocker.hint and blocker.hint != following:
            lines.append(f"  hint: {blocker.hint}")
    return lines + [f"not checked: {sentence}" for change in plan for sentence in change.unchecked]


def _privileges(blocked: Iterable[tuple[Change, Blocker]]) -> Iterator[str]:
    """Write what a user may not do in a line for each privilege, whatever number of changes asks for it."""
    lacking: dict[tuple[str, str | None], list[str]] = {}
    for change, blocker in blocked:
        if blocker.reason == "privilege":
            lacking.setdefault((blocker.message, blocker.hint), []).append(subject(change))
    hints: dict[str | None, None] = {}
    for (message, hint), subjects in lacking.items():
        others = f" and {len(subjects) - 1} more" if len(subjects) > 1 else ""
        yield f"blocked: {subjects[0]}{others}: {message}"
        hints[hint] = None
    yield from (f"  hint: {hint}" for hint in hints if hint)


def as_sent(changes: Iterable[Change]) -> list[str]:
    """Write the commands of changes as lines, each of one command in Extended JSON below what it is for.

    What the server can't do has none that could be sent.
    """
    lines: list[str] = []
    for change in changes:
        if change.commands and all(blocker.ignorable for blocker in change.blockers):
            lines.append(f"{subject(change)}:")
            lines += [f"  {_json(command)}" for command in change.commands]
    return lines


def drops(change: Change) -> list[str]:
    """Name what a change takes away, as `subject` does."""
    if change.action == "drop":
        return [subject(change)]
    return [subject(replace(change, name=name)) for name in change.unmanaged]


def _deed(change: Change) -> str:
    """Say what a change does: the new object, or each value that differs."""
    before, after = change.before or {}, change.after or {}
    match change.action:
        case "create":
            return _object(change.kind, after)
        case "drop" | "keep":
            return _object(change.kind, before)
        case _:
            renamed = [f"renamed from {name}" for name in _old_names(change)]
            place = [f"in place of {_listed(change)}"] if change.replaces else []
            return "; ".join([*renamed, *_differences(before, after), *place])


def _old_names(change: Change) -> Iterator[str]:
    for command in change.commands:
        if "renameCollection" in command:
            yield str(command["renameCollection"])


def _samples(blocker: Blocker) -> Iterator[str]:
    """Name documents: in one line by their ids alone, else each with its rules, or a value with those that share it."""
    alone = [sample["id"] for sample in blocker.samples if sample.keys() == {"id"}]
    if alone:
        yield _ids(alone)
    for sample in blocker.samples:
        if sample.get("rules"):
            yield f"{_ids([sample['id']])}: {'; '.join(map(str, sample['rules']))}"
        elif "rules" in sample:
            yield _ids([sample["id"]])
        elif "value" in sample:
            yield f"{shown(sample['value'])} ({sample['count']}): {_ids(sample['ids'])}"


def _ids(ids: Iterable[Any]) -> str:
    return "_id " + ", ".join(str(one) if isinstance(one, ObjectId) else shown(one) for one in ids)


def _listed(change: Change) -> str:
    return ", ".join(
        f"{name} (not in the manifest)" if name in change.unmanaged else name for name in change.replaces
    )


def _object(kind: str, document: Mapping[str, Any]) -> str:
    if kind == "validator":
        return f"level {document['validationLevel']}, action {document['validationAction']}"
    return options({name: value for name, value in document.items() if name != "name"})


def options(document: Mapping[str, Any]) -> str:
    """Write options in a row: `unique, expireAfterSeconds 0`."""
    return ", ".join(name if value is True else f"{name} {shown(value)}" for name, value in document.items())


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for path, *values in _leaves(before, after, ""):
        # An index's options are what they are by themselves where nobody says.
        old, new = (
            DEFAULT_INDEX_OPTIONS.get(path, _MISSING) if value is _MISSING else value for value in values
        )
        if old is _MISSING:
            yield f"{path}: + {shown(new)}"
        elif new is _MISSING:
            yield f"{path}: - {shown(old)}"
        else:
            yield f"{path}: {shown(old)} -> {shown(new)}"


def _leaves(before: Mapping[str, Any], after: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any, Any]]:
    for key in [*before, *(key for key in after if key not in before)]:
        old, new = before.get(key, _MISSING), after.get(key, _MISSING)
        inner = f"{path}.{key}" if path else key
        # The keys of an index are one thing: their order is half of it.
        if isinstance(old, Mapping) and isinstance(new, Mapping) and inner != "keys":
            yield from _leaves(old, new, inner)
        elif old is _MISSING or new is _MISSING or not same(old, new):
            yield inner, old, new


def shown(value: Any) -> str:
    """Write a value shortly: `{email: 1}`, `en`, a long one cut."""
    if isinstance(value, Mapping):
        text = "{" + ", ".join(f"{name}: {shown(item)}" for name, item in value.items()) + "}"
    elif isinstance(value, str):
        text = value
    else:
        text = _json(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _json(value: Any) -> str:
    return json.dumps(to_json_value(value), ensure_ascii=False)
