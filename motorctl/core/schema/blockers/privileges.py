"""Compares what the user may do with the commands of a change. The server tells both without a try.

A rebuild needs more than its commands say: its index is tried out on a collection of its own first.
Where no authorisation is in force there is nothing to compare.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from motorctl.core.schema.change import Blocker
from motorctl.core.schema.model import TEMPORARY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from motorctl.core.schema.blockers.asking import Asking, Step
    from motorctl.core.schema.change import Change

_ACTIONS = {
    "create": "createCollection",
    "createIndexes": "createIndex",
    "dropIndexes": "dropIndex",
    "collMod": "collMod",
    "drop": "dropCollection",
    "createSearchIndexes": "createSearchIndexes",
    "updateSearchIndex": "updateSearchIndex",
    "dropSearchIndex": "dropSearchIndex",
}
"""The action that each command needs on its collection."""

_RENAME = "renameCollectionSameDB"

_SCRATCH = f"{TEMPORARY}*"
"""Any collection for trying out: nobody has a right to this very name, but to all of a database."""


async def missing(asking: Asking, step: Step) -> Blocker | None:
    """Look for actions that the user lacks for the commands of a step."""
    granted = await asking.fact(("privileges", ""), lambda: _granted(asking))
    if granted is None:
        return None
    lacking = [
        f"{action} on {asking.db.name}.{name}"
        for action, name in _needed(step.change)
        if not any(_allows(one, action, asking.db.name, name) for one in granted)
    ]
    if not lacking:
        return None
    named = " and ".join(dict.fromkeys(lacking))
    return Blocker(
        "privilege",
        f"the user has no privilege for {named}",
        f"the role dbAdmin of {asking.db.name} has it; with readWrite beside it, every step",
    )


async def _granted(asking: Asking) -> list[Mapping[str, Any]] | None:
    reply = await asking.command({"connectionStatus": 1, "showPrivileges": True})
    status = reply["authInfo"]
    if not status["authenticatedUsers"]:
        return None
    return list(status["authenticatedUserPrivileges"])


def _needed(change: Change) -> Iterator[tuple[str, str]]:
    for command in change.commands:
        yield from _needed_for(command)
    if change.action == "rebuild" and change.replaces:
        yield "dropIndex", change.collection
        for action in ("createCollection", "createIndex", "dropCollection"):
            yield action, _SCRATCH


def _needed_for(command: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    word, name = next(iter(command.items()))
    if word == "renameCollection":
        yield _RENAME, str(name)
        yield _RENAME, str(command["to"])
    elif word in _ACTIONS:
        yield _ACTIONS[word], str(name)


def _allows(privilege: Mapping[str, Any], action: str, db: str, collection: str) -> bool:
    resource: Mapping[str, Any] = privilege["resource"]
    actions: Sequence[str] = privilege["actions"]
    if action not in actions and "anyAction" not in actions:
        return False
    if resource.get("anyResource"):
        return True
    if "collection" not in resource:
        return False
    in_db = resource.get("db") in ("", db)
    return in_db and resource["collection"] in ("", collection)
