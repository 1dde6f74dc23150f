"""What the answer of `hello` says of a server: its topology, its primary, its members. Asks nothing itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

    from motorctl.client import Database


def topology(hello: Mapping[str, Any]) -> str:
    """Return `standalone`, `replica_set`, `sharded` or `load_balanced`."""
    if hello.get("serviceId"):
        return "load_balanced"
    if hello.get("msg") == "isdbgrid":
        return "sharded"
    return "replica_set" if hello.get("setName") or hello.get("isreplicaset") else "standalone"


def primary(hello: Mapping[str, Any]) -> str | None:
    """Return the host that takes writes, or None while there is none; a standalone or a router is "itself"."""
    if hello.get("primary"):
        return str(hello["primary"])
    return "itself" if hello.get("isWritablePrimary") else None


def hosts(hello: Mapping[str, Any]) -> list[str]:
    """Return the members that hold data, arbiters left out."""
    return [str(host) for host in (*hello.get("hosts", ()), *hello.get("passives", ()))]


def transactions(hello: Mapping[str, Any]) -> bool:
    """Tell whether the server has transactions: sessions, and an oplog or a router to keep them in."""
    return (
        hello.get("logicalSessionTimeoutMinutes") is not None
        and topology(hello) != "standalone"
        and primary(hello) is not None
    )


def only_host(db: Database) -> str | None:
    """Return the host of a client that has just one: a standalone does not know its own name."""
    nodes = cast("frozenset[tuple[str, int]]", db.client.nodes)
    return ":".join(map(str, *nodes)) if len(nodes) == 1 else None
