"""What motorctl is asked: one module a noun. Reads the arguments, awaits core, hands rows to output.

Here is the table of them all, for whoever has to know the commands without importing one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Entry(NamedTuple):
    """A command group by name: its module in `commands`, its line in `--help`, its verbs that draw pictures."""

    name: str
    help: str
    module: str
    draws: tuple[str, ...] = ()


SECTIONS: Mapping[str, tuple[Entry, ...]] = {
    "Server": (
        Entry("ping", "Is the server there, and what is it?", "ping"),
        Entry("doctor", "The road to the server step by step: where it ends, why, what to do.", "doctor"),
        Entry("local", "Run a real mongod on this machine, for trying and testing.", "local"),
    ),
    "Schema": (
        Entry("schema", "Collections, validators and indexes as code: plan, check, apply.", "schema"),
        Entry("indexes", "List, create, hide and drop indexes; watch them being built.", "indexes"),
        Entry(
            "validators", "Show, set and try validators; find the documents that violate one.", "validators"
        ),
    ),
    "Data": (
        Entry("students", "Create, look at and change students.", "students"),
        Entry("users", "Create, look at and change users.", "users"),
        Entry("import", "Import NDJSON, JSON or CSV; every record is accounted for.", "import_"),
        Entry("export", "Export a collection as NDJSON, JSON or CSV.", "export"),
    ),
    "Transactions": (
        Entry("accounts", "Open, look at, freeze and close accounts; their statements.", "accounts"),
        Entry("transfer", "Move money once, or not at all: send, batch, reverse, verify.", "transfer"),
        Entry("orders", "Place orders against the stock; complete, cancel, refund them.", "orders"),
        Entry("inventory", "What is sold, at which price, and how many are there.", "inventory"),
    ),
    "Reports": (
        Entry(
            "revenue",
            "Revenue by period, by customer and by product.",
            "revenue",
            ("over-time", "by-customer", "by-product"),
        ),
        Entry("aggregate", "Run any aggregation pipeline.", "aggregate"),
    ),
    "Queries": (
        Entry("explain", "How the server runs a query, what would help it, and gates for CI.", "explain"),
        Entry("slow", "Which queries are slow, by their shape.", "slow"),
    ),
    "This program": (
        Entry("demo", "A tour on real commands, in under a minute.", "demo"),
        Entry("config", "Where each setting comes from.", "config"),
        Entry("completion", "Print a shell's completion script.", "completion"),
        Entry("help", "Topics: exit codes, output, connection, formats.", "help_"),
    ),
}
ENTRIES = {entry.name: entry for entries in SECTIONS.values() for entry in entries}
