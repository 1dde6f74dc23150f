"""A plan as a value: a tree of stages, and what is said of the whole. Pure; knows no server's spelling."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

Verdict = Literal["ixscan", "collscan", "idhack", "express", "eof", "mixed"]


@dataclass
class Stage:
    """One stage of a plan, its inputs below it. A figure is None where the server gave none.

    `kind` is the server's own name (IXSCAN, SHARD_MERGE, $group). `output` is how many documents left
    it, `keys` and `docs` what it alone examined, `ms` the time of it and of what is below it. A pipeline that
    reads a tree through a `$cursor` waited `cursor_ms` for it: `ms` of the topmost stage, and what handing
    the documents over took, which no stage accounts for.
    `pattern` is the index's keys, `bounds` by field, `filter` what it tested on each document.
    `shard` names the shard that a tree ran on; `details` holds what else is worth showing, under the
    server's own names. `branch` is what a tree beside the main one is called (a `$facet`'s field, the
    collection of a `$unionWith`); one that `flows` hands its documents to the stage above.
    """

    kind: str
    inputs: list[Stage] = field(default_factory=list)
    output: int | None = None
    keys: int | None = None
    docs: int | None = None
    ms: float | None = None
    cursor_ms: float | None = None
    index: str | None = None
    pattern: dict[str, Any] | None = None
    bounds: dict[str, Any] | None = None
    filter: Any = None
    shard: str | None = None
    details: dict[str, Any] = field(default_factory=dict)
    branch: str | None = None
    flows: bool = True

    def walk(self) -> Iterator[Stage]:
        """Yield this stage and all below it, from the top."""
        yield self
        for stage in self.inputs:
            yield from stage.walk()

    @property
    def input(self) -> int | None:
        """How many documents came in from the stages below; None where that isn't known."""
        outputs = [stage.output for stage in self.inputs if stage.flows]
        known = [output for output in outputs if output is not None]
        return sum(known) if known and len(known) == len(outputs) else None

    @property
    def own_ms(self) -> float | None:
        """The time of this stage alone; never below zero, as the server's clocks are coarse."""
        if self.ms is None:
            return None
        below = [max(stage.ms or 0.0, stage.cursor_ms or 0.0) for stage in self.inputs]
        # Shards run beside one another: what the stage above waited for is the slowest of them.
        waited = max(below, default=0.0) if any(stage.shard for stage in self.inputs) else sum(below)
        return max(0.0, self.ms - waited)

    @property
    def handing_ms(self) -> float | None:
        """The time that handing this tree's documents to a pipeline took; None where there is no such step."""
        return None if self.cursor_ms is None else max(0.0, self.cursor_ms - (self.ms or 0.0))


@dataclass
class Plan:
    """The winning plan of one query. `executed`: it was run, so that there are figures.

    `indexes` are named from the bottom of the tree: the collection's own first, then those of joins. `ms` is the server's whole time.
    `failure` is the server's sentence, `failure_code` its code, when the query was begun and broke: the figures are of what had
    been done. `merged_on` says where the parts of a sharded pipeline came together (`mongos`,
    `anyShard`, ...), None where nothing was split.
    """

    root: Stage
    verdict: Verdict
    namespace: str
    executed: bool
    indexes: list[str] = field(default_factory=list)
    returned: int | None = None
    keys_examined: int | None = None
    docs_examined: int | None = None
    ms: float | None = None
    in_memory_sort: bool = False
    rejected_plans: int = 0
    engine: Literal["classic", "sbe"] | None = None
    server_version: str | None = None
    failure: str | None = None
    failure_code: int | None = None
    shards: list[str] = field(default_factory=list)
    merged_on: str | None = None
