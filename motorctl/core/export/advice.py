"""What a person should know who relies on an export: sentences for stderr. Pure; says nothing itself."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from motorctl.core.export.table import import_options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from motorctl.core.export.model import Export

__all__ = ["notes", "warnings"]


def warnings(name: str, job: Export) -> Iterator[str]:
    """Yield what may be missing from the finished export of a collection."""
    if job.partial:
        yield f"{job.partial:,} documents have fields that no column shows: name the columns with --fields"
    if job.missing:
        fitting = " that fits the filter" if job.query.filter else ""
        yield f"for {job.missing:,} of the {job.asked:,} ids there is no document{fitting}"
    if job.before is None or job.after is None or job.query.snapshot:
        return
    if job.before != job.after:
        yield (
            f"{name} changed while it was read: {job.before:,} documents before, {job.after:,} after, "
            f"{job.documents:,} exported (--snapshot reads one point in time)"
        )
    elif job.documents != job.before:
        yield (
            f"{job.documents:,} documents were exported, and the server counts {job.before:,} in {name}: "
            "documents came and went meanwhile, or its count is off since a crash"
        )


def notes(job: Export) -> Iterator[str]:
    """Yield how `import` reads a table back, and what no option of it can."""
    if job.format != "csv":
        return
    options, unclear = import_options(job.columns)
    if not job.header and job.columns:
        options = f"--fields {shlex.quote(','.join(job.columns))} {options}".rstrip()
    if options:
        yield f"import it with {options}"
    if unclear:
        yield (
            "what a table can't tell apart: several types, null and no field, or a path and a name that holds "
            f"a dot, in {', '.join(unclear)}"
        )
