"""What an import is asked to do, and which files are this run's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from motorctl.core.ingest import engine
from motorctl.errors import UsageError

if TYPE_CHECKING:
    from motorctl.core.ingest.model import Plan, Reading
    from motorctl.core.ingest.reading.source import Source

__all__ = ["Inputs", "Job", "estimated_size", "share"]

# What compressed text takes of its own size, about.
COMPRESSION = 5
COMPRESSED = (".gz", ".zst", ".bz2")


@dataclass(frozen=True, slots=True)
class Job:
    """What was asked for. `part` is (number from 1, of how many)."""

    files: tuple[str, ...]
    into: str
    plan: Plan
    reading: Reading
    drop: bool = False
    dry_run: bool = False
    rejects: str | None = None
    max_errors: str | None = None
    batch_size: int = 1000
    ordered: bool = False
    write_concern: str | None = None
    bypass_validation: bool = False
    workers: int | None = None
    resume: bool = False
    part: tuple[int, int] | None = None
    name: str | None = None

    def options(self) -> engine.Options:
        how = (self.ordered, self.dry_run, self.bypass_validation)
        return engine.Options(self.plan, self.reading, self.batch_size, engine.IN_FLIGHT, *how)


@dataclass(frozen=True, slots=True)
class Inputs:
    """A part's own sources, the names of all, and whether the part is a share of each of its own."""

    sources: list[Source]
    names: list[str]
    sliced: bool


def share(sources: list[Source], job: Job) -> tuple[list[Source], bool]:
    """Give the files of a part: every n-th of many; of few, each, of which it then reads its share."""
    if job.part is None:
        return sources, False
    number, of = job.part
    if job.drop:
        raise UsageError("--part and --drop don't go together: each part would drop the others' documents")
    if any(source.stream is not None for source in sources):
        raise UsageError("--part needs files: what can be read only once can't be shared")
    return (sources[number - 1 :: of], False) if len(sources) >= of > 1 else (sources, of > 1)


def estimated_size(sources: list[Source]) -> int:
    """Estimate the bytes of text in files; a pipe's aren't known."""
    return sum(source.size * (COMPRESSION if source.name.endswith(COMPRESSED) else 1) for source in sources)
