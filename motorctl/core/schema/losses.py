"""What a plan takes away for good, in words for the question before it. Only reads."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from motorctl.core.driver import once
from motorctl.core.schema.model import TEMPORARY
from motorctl.core.schema.words import drops, subject

if TYPE_CHECKING:
    from collections.abc import Iterable

    from motorctl.client import Database
    from motorctl.core.driver import Attempt
    from motorctl.core.schema.change import Change


async def losses(db: Database, changes: Iterable[Change], *, attempt: Attempt = once) -> list[str]:
    """Name what planned changes drop; a collection with how many documents it has (the server's estimate).

    What an interrupted rebuild left over is nobody's loss.
    """
    found: list[str] = []
    for change in changes:
        if change.status != "planned" or change.name.startswith(TEMPORARY):
            continue
        if change.kind == "collection" and change.action == "drop" and "viewOn" not in (change.before or {}):
            count = await attempt(partial(db[change.collection].estimated_document_count))
            found.append(f"{subject(change)} with {count:,} document{'' if count == 1 else 's'}")
        else:
            found += drops(change)
    return found
