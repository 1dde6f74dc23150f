"""Index builds shown while a command waits for them, and told of when it is stopped before they end.

What is under way on the server is `core.schema.builds`'s; this starts and stops nothing.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from motorctl.app import App
    from motorctl.client import Database
    from motorctl.core.schema.builds import Build
    from motorctl.progress import Progress

INTERVAL = 1.0
"""Seconds between two looks at the server."""

_LAST_LOOK = 2.0


@asynccontextmanager
async def shown(
    app: App, db: Database, progress: Progress, *, next_step: str | None = None
) -> AsyncIterator[None]:
    """Feed `progress.part` with the builds of the database, each second, while the block runs.

    `async with building.shown(app, db, progress): results = await schema.apply(...)`. The looks never
    fail the block: a user who may not look sees no progress. When the block is cancelled (Ctrl-C,
    SIGTERM), the server is asked once more, for two seconds at most, and a warning says what is still
    being built there, how to see it and how to stop it; the cancellation goes on.
    """
    watcher = asyncio.create_task(_watch(db, progress))
    try:
        yield
    except asyncio.CancelledError:
        with suppress(Exception):
            tell(app, await asyncio.wait_for(_look(db), _LAST_LOOK), next_step)
        raise
    finally:
        watcher.cancel()


def tell(app: App, builds: Sequence[Build], next_step: str | None = None) -> None:
    """Warn of builds that go on without this command; `next_step` is what to do, else how to stop one."""
    for build in builds:
        way = "" if build.share is None else f", {int(build.share * 100)}%"
        app.diagnostics.warning(
            f"{build.title} is still being built on the server ({build.phase}{way}), and that goes on: "
            "`motorctl indexes build --watch` shows it, "
            + (next_step or f"`motorctl indexes drop {build.collection} {build.names[0]}` stops it"),
            **build.document(),
        )


def show(progress: Progress, builds: Sequence[Build]) -> None:
    """Show the first of the builds as the part that is under way, and how many others there are."""
    for build in builds[:1]:
        others = f", and {len(builds) - 1} more" if len(builds) > 1 else ""
        if build.done is None:
            progress.part(build.title, 0, None, f"{build.phase}{others}")
        else:
            # Each phase counts something else, and a part keeps its total.
            progress.part(f"{build.title}: {build.phase}", build.done, build.total, others.lstrip(", "))


async def _watch(db: Database, progress: Progress) -> None:
    with suppress(Exception):
        while True:
            await asyncio.sleep(INTERVAL)
            show(progress, await _look(db))


async def _look(db: Database) -> list[Build]:
    from motorctl.core.schema import builds

    return await builds.running(db)
