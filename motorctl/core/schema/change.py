"""A change to one object of a schema, and what stands in its way.

What is planned, what became of it and what was found on the way travel together, so that a plan and its
results have one shape. Decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal["collection", "validator", "index", "search_index"]
Action = Literal["create", "drop", "modify", "rebuild", "keep"]
Status = Literal["planned", "in_sync", "unmanaged", "blocked", "applied", "failed", "skipped"]


@dataclass(frozen=True)
class Blocker:
    """Why a change can't be made, or should not be before somebody has looked.

    `reason` is a word for programs; `count` and `samples` (documents of plain values, at most a few) say
    how much of the data is concerned. A blocker that isn't `ignorable` is impossible for the server: no
    option goes over it.
    """

    reason: str
    message: str
    hint: str | None = None
    count: int | None = None
    samples: tuple[Mapping[str, Any], ...] = ()
    ignorable: bool = False

    def document(self) -> dict[str, Any]:
        """Write it for machines: `reason, message`, and the others where there is something to say."""
        result: dict[str, Any] = {"reason": self.reason, "message": self.message}
        if self.hint is not None:
            result["hint"] = self.hint
        if self.count is not None:
            result["count"] = self.count
        if self.samples:
            result["samples"] = [dict(sample) for sample in self.samples]
        return result | {"ignorable": self.ignorable}


@dataclass(frozen=True)
class Change:
    """One step from what is there to what should be, or (`keep`) the lack of one.

    `before` and `after` are the object as a manifest writes it. `commands` are those that the server is
    sent, in their order. `replaces` names the indexes that can't stay beside a rebuilt one, `unmanaged`
    those of them that no manifest speaks of. `blockers` says what stands in its way, or why it was
    skipped; `unchecked`, what nobody has looked for.
    """

    collection: str
    kind: Kind
    action: Action
    name: str
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    status: Status = "planned"
    blockers: tuple[Blocker, ...] = ()
    unchecked: tuple[str, ...] = ()
    commands: tuple[Mapping[str, Any], ...] = ()
    replaces: tuple[str, ...] = ()
    unmanaged: tuple[str, ...] = ()
    error: Mapping[str, Any] | None = field(default=None)

    def document(self) -> dict[str, Any]:
        """Write it for machines; `error` only where it failed."""
        result: dict[str, Any] = {
            "collection": self.collection,
            "kind": self.kind,
            "action": self.action,
            "name": self.name,
            "before": None if self.before is None else dict(self.before),
            "after": None if self.after is None else dict(self.after),
            "status": self.status,
            "blockers": [blocker.document() for blocker in self.blockers],
            "unchecked": list(self.unchecked),
            "commands": [dict(command) for command in self.commands],
        }
        if self.error is not None:
            result["error"] = dict(self.error)
        return result
