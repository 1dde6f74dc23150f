"""Options of what is there that a manifest has no word for: so that a dump leaves nothing out in silence. Only reads."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from motorctl.core import driver
from motorctl.core.driver import once
from motorctl.core.schema.fetch import fetch_indexes
from motorctl.core.schema.model import CREATION_OPTIONS, INDEX_OPTIONS

if TYPE_CHECKING:
    from collections.abc import Collection as Names
    from collections.abc import Mapping

    from motorctl.client import Database
    from motorctl.core.driver import Attempt

_AT_ONCE = 16

_VALIDATION = frozenset({"validator", "validationLevel", "validationAction"})
_OF_THE_SERVER = frozenset({"key", "name", "v", "ns", "background", "clustered"})
"""Options of an index that say nothing about what it is."""


async def untold(db: Database, names: Names[str], *, attempt: Attempt = once) -> list[str]:
    """Name each option of these collections and their indexes that no manifest holds: `storageEngine of orders`."""
    documents = [one for one in await attempt(partial(driver.list_collections, db)) if one["name"] in names]
    gate = asyncio.Semaphore(_AT_ONCE)

    async def of(document: Mapping[str, Any]) -> list[str]:
        name = document["name"]
        known = CREATION_OPTIONS.keys() | _VALIDATION
        found = [f"{option} of {name}" for option in document.get("options", {}) if option not in known]
        if document.get("type") != "view":
            async with gate:
                indexes = await attempt(partial(fetch_indexes, db, name)) or []
            known = INDEX_OPTIONS.keys() | _OF_THE_SERVER
            found += [
                f"{option} of index {name}.{index['name']}"
                for index in indexes
                if index["name"] != "_id_" and not index.get("clustered")
                for option in index
                if option not in known
            ]
        return found

    lists = await asyncio.gather(*(of(one) for one in sorted(documents, key=lambda one: str(one["name"]))))
    return [found for each in lists for found in each]
