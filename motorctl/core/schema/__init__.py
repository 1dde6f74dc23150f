"""Schema as code: what a database's collections are, what they should be, and the way from one to the other.

`fetch` reads, `plan` compares (pure), `apply` changes; `dump` writes what is there as a manifest's
document. Files are `motorctl.manifest`'s business, never this package's.
"""

from __future__ import annotations

from motorctl.core.schema.applying.apply import apply, carry_out
from motorctl.core.schema.change import Blocker, Change
from motorctl.core.schema.fetch import dump, fetch
from motorctl.core.schema.model import Collection, Index, SearchIndex, Validator
from motorctl.core.schema.planning.plan import in_sync, plan
from motorctl.core.schema.server import Server, fetch_server
from motorctl.core.schema.words import describe, drops, options, row, shown, subject

__all__ = [
    "Blocker",
    "Change",
    "Collection",
    "Index",
    "SearchIndex",
    "Server",
    "Validator",
    "apply",
    "carry_out",
    "describe",
    "drops",
    "dump",
    "fetch",
    "fetch_server",
    "in_sync",
    "options",
    "plan",
    "row",
    "shown",
    "subject",
]
