"""Compares what the user may do with the commands of a change. The server tells both without a try.

A rebuild needs more than its commands say: its index is tried out on a collection of its own first.
Where no authorisation is in force there is nothing to compare.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from motorctl.core.privileges import ACTIONS, allows
from motorctl.core.schema.change import Blocker
from motorctl.core.schema.model import TEMPORARY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from motorctl.core.schema.blockers.asking import Asking, Step
    from motorctl.core.schema.change import Change

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
        if not any(allows(one, action, asking.db.name, name) for one in granted)
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
        return
    for action in ACTIONS.get(word, ()):
        yield action, str(name)
