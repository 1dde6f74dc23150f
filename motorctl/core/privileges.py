"""Which privilege a server command takes, and which built-in role has it.

Reads the sentence in which a server refuses a command: that names the command, never the privilege. Pure,
but for `granted`, which asks who somebody is. Of the command it takes names of stages and collections, never values.

Sources: MongoDB manual, "Privilege Actions" and "Built-In Roles", and for each command the section "Required
Access" of its page. What the roles hold, the tests compare with the server.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from motorctl.client import Database

ACTIONS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("aggregate", "count", "distinct", "find", "getMore"), ("find",)),
    "bulkWrite": ("insert", "update", "remove"),
    "collMod": ("collMod",),
    "collStats": ("collStats",),
    "create": ("createCollection",),
    "createIndexes": ("createIndex",),
    "createSearchIndexes": ("createSearchIndexes",),
    "dbStats": ("dbStats",),
    "delete": ("remove",),
    "drop": ("dropCollection",),
    "dropDatabase": ("dropDatabase",),
    "dropIndexes": ("dropIndex",),
    "dropSearchIndex": ("dropSearchIndex",),
    "findAndModify": ("find", "update"),
    "insert": ("insert",),
    "listCollections": ("listCollections",),
    "listIndexes": ("listIndexes",),
    "planCacheClear": ("planCacheWrite",),
    "profile": ("enableProfiler",),
    "renameCollection": ("renameCollectionSameDB",),
    "update": ("update",),
    "updateSearchIndex": ("updateSearchIndex",),
    "validate": ("validate",),
}
"""What each command needs on its collection, or where it names none, on its database."""

_OF_CLUSTER = {
    "currentOp": "inprog",
    "getCmdLineOpts": "getCmdLineOpts",
    "getParameter": "getParameter",
    "hostInfo": "hostInfo",
    "killAllSessions": "killAnySession",
    "killOp": "killop",
    "listDatabases": "listDatabases",
    "listShards": "listShards",
    "replSetGetConfig": "replSetGetConfig",
    "replSetGetStatus": "replSetGetStatus",
    "serverStatus": "serverStatus",
    "top": "top",
    "$currentOp": "inprog",
    "$listSessions": "listSessions",
    "$queryStats": "queryStatsRead",
}
"""Commands and stages that need something of the whole server."""

_OF_STAGE = {
    "$changeStream": "changeStream",
    "$collStats": "collStats",
    "$indexStats": "indexStats",
    "$listSearchIndexes": "listSearchIndexes",
    "$planCacheStats": "planCacheRead",
}
"""Stages that don't read documents of the collection, and what they need instead of `find`."""

_MAY_ADD = {"findAndModify": ("insert", "remove"), "update": ("insert",)}
"""What a command needs in one of its forms: to insert what it did not find, say. The refusal doesn't tell."""

_READ = frozenset(
    "changeStream collStats dbHash dbStats find killCursors listCollections listIndexes listSearchIndexes"
    " planCacheRead".split()
)
_WRITE = frozenset(
    "convertToCapped createCollection createIndex createSearchIndexes dropCollection dropIndex dropSearchIndex"
    " insert remove renameCollectionSameDB update updateSearchIndex".split()
)
ROLES: Mapping[str, frozenset[str]] = {
    "read": _READ,
    "readWrite": _READ | _WRITE,
    "dbAdmin": frozenset(
        "bypassDocumentValidation collMod collStats compact convertToCapped createCollection createIndex dbStats"
        " dropCollection dropDatabase dropIndex enableProfiler listCollections listIndexes planCacheRead"
        " planCacheWrite renameCollectionSameDB validate".split()
    ),
}
"""Built-in roles of one database, the smallest first, and what they permit of what is asked here."""

CLUSTER_ROLES: Mapping[str, frozenset[str]] = {
    "clusterMonitor": frozenset(
        "getCmdLineOpts getParameter hostInfo indexStats inprog listDatabases listSessions listShards"
        " queryStatsRead replSetGetConfig replSetGetStatus serverStatus top".split()
    ),
    "hostManager": frozenset({"killop", "killAnySession"}),
}
"""Built-in roles of the database `admin`."""

_PROFILE = "system.profile"
_REFUSED = re.compile(r"not authorized on (?P<db>\S+) to execute command \{ (?P<body>.*)", re.DOTALL)
_ATLAS = re.compile(r"not allowed to do action \[(?P<action>\w+)\] on \[(?P<db>[^\].]*)\.?(?P<name>[^\]]*)\]")
"""How MongoDB Atlas says it on its shared clusters, with a code of its own (8000)."""
_COMMAND = re.compile(r'(?:explain: \{ )?(?P<word>\w+): (?:"(?P<name>[^"]*)")?')
_STAGE = re.compile(r"[{\[] (\$\w+): ")
_OTHER = re.compile(r'\$(?:lookup|graphLookup): \{ from: "([^"]+)"|\$unionWith: (?:\{ coll: )?"([^"]+)"')
_OUT = re.compile(
    r'\$(?P<stage>out|merge): (?:\{ (?:into: )?(?:\{ db: "(?P<db>[^"]+)", coll: )?)?"(?P<name>[^"$ ]+)"'
)


@dataclass(frozen=True)
class Privilege:
    """An action on a collection; on a database where `collection` is empty; on the server where both are."""

    action: str
    db: str = ""
    collection: str = ""

    @property
    def place(self) -> str:
        return ".".join(part for part in (self.db, self.collection) if part) or "the cluster"

    @property
    def facts(self) -> dict[str, Any]:
        """The privilege as the server writes one down."""
        resource = {"db": self.db, "collection": self.collection} if self.db else {"cluster": True}
        return {"resource": resource, "actions": [self.action]}


@dataclass(frozen=True)
class Lack:
    """What a refused command needs: all of `needed`, and in some of its forms what is `possible`."""

    command: str
    needed: tuple[Privilege, ...]
    possible: tuple[Privilege, ...] = ()

    def without(self, granted: Iterable[Mapping[str, Any]]) -> Lack:
        """Leave out what the user has; as it is if nothing were left: the server knows better then."""
        granted = list(granted)
        lacking = tuple(
            one
            for one in (*self.needed, *self.possible)
            if not any(allows(has, one.action, one.db, one.collection) for has in granted)
        )
        needed = tuple(one for one in lacking if one in self.needed) or lacking
        return Lack(self.command, needed or self.needed)

    @property
    def sentence(self) -> str:
        """What is needed, in words: ``needs `find` on shop.orders``."""
        places: dict[str, list[str]] = {}
        for one in self.needed:
            places.setdefault(one.place, []).append(f"`{one.action}`")
        return "needs " + ", ".join(f"{' and '.join(what)} on {place}" for place, what in places.items())

    @property
    def roles(self) -> tuple[str, ...]:
        """The built-in roles that together have it, each as `role on database`; () where none is known."""
        found: dict[str, None] = {}
        for db in dict.fromkeys(one.db for one in self.needed):
            found |= dict.fromkeys(_roles(db, [one for one in self.needed if one.db == db]))
        return tuple(found)

    @property
    def hint(self) -> str:
        if not self.roles:
            return "the user needs a role that permits this"
        if len(self.roles) == 1:
            return f"the role {self.roles[0]} has it; `motorctl ping` tells who you are"
        return f"the roles {' and '.join(self.roles)} have it; `motorctl ping` tells who you are"


def lack(sentence: str) -> Lack | None:
    """Return what a command needs that the server refused with this sentence; None if it can't be told."""
    if atlas := _ATLAS.search(sentence):
        return Lack(atlas["action"], (Privilege(atlas["action"], atlas["db"], atlas["name"]),))
    refused = _REFUSED.search(sentence)
    if refused is None:
        return None
    db, body = refused["db"], refused["body"]
    command = _COMMAND.match(body)
    if command is None:
        return None
    word, name = command["word"], command["name"] or ""
    if word == "renameCollection":
        target = re.search(r'\bto: "([^"]*)"', body)
        pairs = [full.partition(".") for full in (name, target[1] if target else "") if full]
        return Lack(word, tuple(Privilege("renameCollectionSameDB", of, rest) for of, _, rest in pairs))
    if word == "aggregate":
        needed = tuple(dict.fromkeys(_of_pipeline(db, name, body)))
        return Lack(word, needed)
    if word in _OF_CLUSTER:
        return Lack(word, (Privilege(_OF_CLUSTER[word]),))
    if word == "getMore":
        cursor = re.search(r'\bcollection: "([^"]*)"', body)
        name = cursor[1] if cursor else ""
    if word not in ACTIONS:
        return None
    actions = ACTIONS[word]
    if word in ("insert", "update", "findAndModify") and "bypassDocumentValidation: true" in body:
        actions = (*actions, "bypassDocumentValidation")
    return Lack(
        word,
        tuple(Privilege(action, db, name) for action in actions),
        tuple(Privilege(action, db, name) for action in _MAY_ADD.get(word, ())),
    )


async def granted(db: Database) -> list[Mapping[str, Any]] | None:
    """Ask what this client's users may do, as the server writes it; None where nobody has to say who he is."""
    reply = await db.command({"connectionStatus": 1, "showPrivileges": True})
    status = reply["authInfo"]
    if not status["authenticatedUsers"]:
        return None
    return list(status["authenticatedUserPrivileges"])


def allows(privilege: Mapping[str, Any], action: str, db: str, collection: str) -> bool:
    """Tell whether a privilege, as the server writes it, permits an action; on the server where `db` is empty."""
    resource: Mapping[str, Any] = privilege["resource"]
    actions: Sequence[str] = privilege["actions"]
    if action not in actions and "anyAction" not in actions:
        return False
    if resource.get("anyResource"):
        return True
    if not db:
        return bool(resource.get("cluster"))
    if "collection" not in resource:
        return False
    if resource.get("db") not in ("", db):
        return False
    if resource["collection"] == collection:
        return True
    # A privilege on a whole database is none on the system's collections in it.
    return resource["collection"] == "" and not collection.startswith("system.")


def _of_pipeline(db: str, name: str, body: str) -> Iterator[Privilege]:
    """Yield what a pipeline needs, by the names of its stages: those of filters and values look different."""
    stages = _STAGE.findall(body)
    own = [Privilege(_OF_CLUSTER[stage]) for stage in stages if stage in _OF_CLUSTER]
    own += [Privilege(_OF_STAGE[stage], db, name) for stage in stages if stage in _OF_STAGE]
    if "$changeStream" in stages:
        own.append(Privilege("find", db, name))
    yield from own or [Privilege("find", db, name)]
    for match in _OTHER.finditer(body):
        yield Privilege("find", db, match[1] or match[2])
    for match in _OUT.finditer(body):
        actions = ("insert", "remove") if match["stage"] == "out" else ("insert", "update")
        for action in actions:
            yield Privilege(action, match["db"] or db, match["name"])


def _roles(db: str, needed: Sequence[Privilege]) -> list[str]:
    """Return the fewest roles that have all of it, each with its database."""
    actions = {one.action for one in needed}
    if db and all(one.collection == _PROFILE and one.action in _READ for one in needed):
        return [f"dbAdmin on {db}"]
    own = ROLES if db else {}
    known = {**own, **CLUSTER_ROLES}
    found = []
    while actions:
        # Of those that have the most of it, the smallest: the first.
        role = max(known, key=lambda name: len(actions & known[name]))
        if not actions & known[role]:
            return []
        found.append(f"{role} on {db if role in own else 'admin'}")
        actions -= known[role]
    return found
