"""A query as a value: what is explained, typed at a prompt, written in a suite or seen by a profiler. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["find", "count", "distinct", "aggregate"]


@dataclass(frozen=True)
class Query:
    """One read. `pipeline` is of an aggregate, `key` of a distinct; sort and hint as the server has them."""

    kind: Kind
    collection: str
    filter: dict[str, Any] = field(default_factory=dict)
    sort: dict[str, Any] = field(default_factory=dict)
    projection: dict[str, Any] = field(default_factory=dict)
    skip: int | None = None
    limit: int | None = None
    hint: str | dict[str, Any] | None = None
    collation: dict[str, Any] | None = None
    pipeline: list[Any] = field(default_factory=list)
    let: dict[str, Any] | None = None
    key: str | None = None

    def command(self) -> dict[str, Any]:
        """Return the server's command, without `explain`."""
        # A pipeline that begins with $documents or $currentOp is the database's.
        command: dict[str, Any] = {self.kind: 1 if self.collection == "." else self.collection}
        match self.kind:
            case "aggregate":
                command |= {"pipeline": list(self.pipeline), "cursor": {}, "allowDiskUse": True}
            case "distinct":
                command |= {"key": self.key, "query": self.filter}
            case "count":
                command["query"] = self.filter
            case "find":
                command["filter"] = self.filter
        optional = {
            "sort": self.sort,
            "projection": self.projection,
            "skip": self.skip,
            "limit": self.limit,
            "hint": self.hint,
            "collation": self.collation,
            "let": self.let,
        }
        return command | {name: value for name, value in optional.items() if value}
