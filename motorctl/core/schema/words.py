"""A change in words, for people: what it is about and what differs. Pure; machines read the documents."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from motorctl.core.extjson import to_json_value
from motorctl.core.schema.compare import same

if TYPE_CHECKING:
    from motorctl.core.schema.change import Change

SIGNS = {"create": "+", "modify": "~", "drop": "-", "rebuild": "!", "keep": "="}

_MISSING = object()
_LONGEST = 60


def row(change: Change) -> dict[str, str]:
    """Write a change as a line of a table: what happens, to what, and what differs."""
    return {
        "change": f"{SIGNS[change.action]} {change.action}",
        "object": subject(change),
        "detail": describe(change),
    }


def subject(change: Change) -> str:
    """Name what a change is about: `index users.email_1`, `validator of users`, `collection users`."""
    match change.kind:
        case "index":
            return f"index {change.collection}.{change.name}"
        case "validator":
            return f"validator of {change.collection}"
        case _:
            return f"collection {change.collection}"


def describe(change: Change) -> str:
    """Say what a change does: the new object, or each value that differs."""
    if change.error is not None:
        return f"failed: {change.error['message']}"
    if change.blockers:
        return ("skipped: " if change.status == "skipped" else "") + "; ".join(
            blocker.message for blocker in change.blockers
        )
    before, after = change.before or {}, change.after or {}
    match change.action:
        case "create":
            return _object(change.kind, after)
        case "drop" | "keep":
            return _object(change.kind, before)
        case _:
            first = [f"drops {_listed(change)} before it is built"] if change.replaces else []
            return "; ".join([*_differences(before, after), *first])


def drops(change: Change) -> list[str]:
    """Name what a change takes away that no manifest speaks of, as `subject` does."""
    if change.action == "drop":
        return [subject(change)]
    return [subject(replace(change, name=name)) for name in change.unmanaged]


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
    for path, old, new in _leaves(before, after, ""):
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
        text = json.dumps(to_json_value(value), ensure_ascii=False)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
