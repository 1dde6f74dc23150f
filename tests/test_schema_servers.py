"""The plan's rules held against real servers: what each version has, changes in place, or can't do.

The server of all tests, and those that MOTORCTL_TEST_SERVERS names: URIs of replica sets, with spaces
between them. What counts is what the server itself says afterwards: its own documents of collections and indexes.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pymongo
import pytest
from conftest import command

from motorctl import manifest
from motorctl.core import driver, schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from conftest import Runner

    from motorctl.client import Database
    from motorctl.core.schema import Blocker, Change, Collection

    Version = tuple[int, int]

EMBEDDED = "embedded"
SERVERS = [EMBEDDED, *os.environ.get("MOTORCTL_TEST_SERVERS", "").split()]


def _label(uri: str) -> str:
    """Name a server without its password."""
    return urlsplit(uri).netloc.rpartition("@")[2] or uri


@pytest.fixture(scope="session", params=SERVERS, ids=_label)
def server_uri(request: pytest.FixtureRequest, server_uri: str) -> str:
    """The URI of each server in turn."""
    return server_uri if request.param == EMBEDDED else str(request.param)


@pytest.fixture
def dbname(server_uri: str) -> Iterator[str]:
    """A database of this test's own, and others whose names begin with its; servers of others are left clean."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    yield name
    with pymongo.MongoClient[dict[str, Any]](server_uri) as client:
        for one in client.list_database_names():
            if one.startswith(name):
                client.drop_database(one)


@pytest.fixture(autouse=True)
def stable_api(server_uri: str, monkeypatch: pytest.MonkeyPatch, clean_environment: None) -> None:  # noqa: ARG001 - fixtures that have to come first
    """Servers before 5.0 don't know the Stable API: their users turn it off."""
    with pymongo.MongoClient[dict[str, Any]](server_uri) as client:
        if version_of(client) < (5, 0):
            monkeypatch.setenv("MOTORCTL_STABLE_API", "0")


# -- one of everything ------------------------------------------------------------------------------------

EVERYTHING: dict[str, tuple[Version, str]] = {
    "indexed": (
        (4, 4),
        """
    indexes:
      - keys: {a: 1, b: -1}
      - keys: {email: 1}
        unique: true
      - keys: {n: 1}
        name: by_number
        sparse: true
      - keys: {p: 1, title: text, body: text}
        weights: {title: 5}
        default_language: german
        language_override: language_of_it
      - keys: {expires_at: 1}
        expireAfterSeconds: 3600
        hidden: true
      - keys: {active: 1}
        partialFilterExpression: {active: true, n: {$gt: {$numberDecimal: "1.5"}}}
      - keys: {name: 1}
        collation: {locale: fr_CA, strength: 2}
      - keys: {name: 1}
        name: name_in_english
        collation: {locale: en, numericOrdering: true}
      - keys: {place: 2dsphere, a: 1}
      - keys: {flat: 2d}
        bits: 20
        min: -10
        max: 10.5
      - keys: {h: hashed}
      - keys: {a: 1, h: hashed}
      - keys: {$**: 1}
        wildcardProjection: {a: 1, b.c: 1}
      - keys: {attributes.$**: 1}""",
    ),
    "collated": (
        (4, 4),
        """
    collation: {locale: en, strength: 2}
    indexes:
      - keys: {a: 1}
      - keys: {b: 1}
        collation: {locale: simple}
      - keys: {c: 1}
        collation: {locale: de}""",
    ),
    "validated": (
        (4, 4),
        """
    validator:
      $jsonSchema: {required: [a], properties: {a: {bsonType: [int, double], minimum: 0.0}}}
      $or: [{b: 1}, {c: {$regex: '^x', $options: i}}]
    validationLevel: moderate
    validationAction: warn""",
    ),
    "plain": ((4, 4), " {}"),
    "log": ((4, 4), " {capped: true, size: 8192, max: 10}"),
    "seen": ((4, 4), " {viewOn: indexed, pipeline: [{$match: {active: true}}], collation: {locale: de}}"),
    "twins": (
        (5, 0),
        """
    indexes:
      - keys: {a: 1}
      - keys: {a: 1}
        name: a_unique
        unique: true
      - keys: {a: 1}
        name: a_sparse
        sparse: true
      - keys: {a: 1}
        name: a_active
        partialFilterExpression: {active: true}
      - keys: {a: 1}
        name: a_inactive
        partialFilterExpression: {active: false}""",
    ),
    "weather": (
        (5, 0),
        """
    timeseries: {timeField: at, metaField: place, granularity: minutes}
    expireAfterSeconds: 86400
    indexes:
      - keys: {place.town: 1, at: -1}
      - keys: {at: 1}
        hidden: true""",
    ),
    "clustered": (
        (5, 3),
        """
    clusteredIndex: {key: {_id: 1}, unique: true, name: by_id}
    expireAfterSeconds: 3600
    indexes:
      - keys: {a: 1}""",
    ),
    "watched": ((6, 0), " {changeStreamPreAndPostImages: {enabled: true}}"),
    "prepared": (
        (6, 0),
        """
    indexes:
      - keys: {a: 1}
        prepareUnique: true""",
    ),
    "filtered": (
        (6, 0),
        """
    indexes:
      - keys: {b: 1}
        partialFilterExpression: {$or: [{b: {$gt: 5}}, {c: {$in: [1, 2]}}]}""",
    ),
    "measured": (
        (6, 0),
        """
    timeseries: {timeField: at, metaField: place}
    indexes:
      - keys: {degrees: 1}
      - keys: {spot: 2dsphere}""",
    ),
    "spans": (
        (6, 3),
        " {timeseries: {timeField: at, bucketMaxSpanSeconds: 300, bucketRoundingSeconds: 300}}",
    ),
    "wild": (
        (7, 0),
        """
    indexes:
      - keys: {a: 1, $**: 1}
        wildcardProjection: {a: 0}""",
    ),
}
"""One of everything: since which version a server has it, and how a manifest writes it."""


def text_of(collections: Mapping[str, str]) -> str:
    """Write the manifest of these collections."""
    return "\n".join(["collections:", *(f"  {name}:{body}" for name, body in collections.items())])


def read(collections: Mapping[str, str]) -> list[Collection]:
    return manifest.load(["-"], io.BytesIO(text_of(collections).encode()))


def had_by(version: Version) -> dict[str, str]:
    """Take of everything what a server of this version has."""
    return {name: body for name, (since, body) in EVERYTHING.items() if version >= since}


def version_of(client: pymongo.MongoClient[dict[str, Any]]) -> Version:
    major, minor, *_ = client.server_info()["versionArray"]
    return major, minor


async def planned(db: Database, desired: list[Collection], *, prune: bool = False) -> list[Change]:
    server = await schema.fetch_server(db)
    return schema.plan(await schema.fetch(db), desired, server=server, prune=prune)


async def bring(db: Database, desired: list[Collection]) -> list[Change]:
    """Plan and apply, which has to succeed; return what wasn't just kept."""
    results = [one for one in await schema.apply(db, await planned(db, desired)) if one.action != "keep"]
    assert [(one.kind, one.name, one.error, one.blockers) for one in results if one.status != "applied"] == []
    return results


async def documents(db: Database) -> dict[str, Any]:
    """Read a database's collections and indexes as the server writes them, without what names this one."""
    found = {}
    for one in await driver.list_collections(db):
        if one["name"].startswith("system."):
            continue
        indexes = [] if one["type"] == "view" else await driver.list_indexes(db[one["name"]])
        for index in indexes:
            index.pop("ns", None)
        options = one["options"]
        if "validator" not in options:
            # What is left of one that was dropped, and means nothing.
            options = {key: value for key, value in options.items() if not key.startswith("validation")}
        found[one["name"]] = (one["type"], options, sorted(indexes, key=lambda index: index["name"]))
    return found


async def test_one_of_everything_that_the_version_has(db: Database) -> None:
    desired = read(had_by((await schema.fetch_server(db)).version))
    await bring(db, desired)
    assert await schema.apply(db, await planned(db, desired, prune=True)) == [
        one for one in await planned(db, desired, prune=True) if one.action == "keep"
    ]

    dumped = manifest.dump_yaml(schema.dump(await schema.fetch(db)))
    again = manifest.load(["-"], io.BytesIO(dumped.encode()))
    assert schema.in_sync(await planned(db, again, prune=True))
    other = db.client.get_database(f"{db.name}_copy")
    await bring(other, again)
    assert await documents(other) == await documents(db)
    assert schema.in_sync(await planned(other, desired, prune=True))


def test_dump_check_apply_as_a_user_does(cli: Runner, dbname: str, server_uri: str) -> None:
    with pymongo.MongoClient[dict[str, Any]](server_uri) as client:
        text = text_of(had_by(version_of(client)))
    assert cli("schema", "apply", "-", stdin=text).code == 0
    dumped = cli("schema", "dump")
    assert dumped.code == 0
    elsewhere = {"MOTORCTL_DB": f"{dbname}_copy"}
    assert cli("schema", "apply", "-", stdin=dumped.stdout, env=elsewhere).code == 0
    for place in ({}, elsewhere):
        assert cli("schema", "check", "-", "--prune", stdin=dumped.stdout, env=place).code == 0
    assert cli("schema", "dump", env=elsewhere).stdout == dumped.stdout


def needed(blocker: Blocker) -> Version:
    """Read which version a blocker says that it takes."""
    found = re.search(r"needs MongoDB (\d+)\.(\d+) or later", blocker.message)
    assert found, blocker.message
    return int(found[1]), int(found[2])


@pytest.mark.parametrize("name", [name for name, (since, _) in EVERYTHING.items() if since > (4, 4)])
async def test_what_a_newer_version_has_is_applied_or_blocked_with_a_word(db: Database, name: str) -> None:
    since, body = EVERYTHING[name]
    server = await schema.fetch_server(db)
    changes = await planned(db, read({name: body}))
    blocked = [change for change in changes if change.blockers]
    if server.at_least(*since):
        assert blocked == []
        await bring(db, read({name: body}))
        return
    assert {change.status for change in blocked} == {"blocked"}
    assert not any(blocker.ignorable for change in blocked for blocker in change.blockers)
    named = [needed(blocker) for change in blocked for blocker in change.blockers]
    assert max(named) == since
    assert not any(server.at_least(*version) for version in named)


@pytest.mark.parametrize("name", [name for name, (since, _) in EVERYTHING.items() if since > (4, 4)])
def test_nothing_is_touched_where_something_is_beyond_the_server(
    cli: Runner, server_uri: str, dbname: str, name: str
) -> None:
    since, body = EVERYTHING[name]
    text = text_of({"plain": " {indexes: [{keys: {a: 1}}]}", name: body})
    with pymongo.MongoClient[dict[str, Any]](server_uri) as client:
        beyond = version_of(client) < since
        result = cli("schema", "apply", "-", stdin=text)
        assert result.code == (8 if beyond else 0), result.stdout + result.stderr
        there = client[dbname].list_collection_names()
        assert (there == []) is beyond
        # What the server can't do is left out then, and still no success.
        result = cli("schema", "apply", "-", "--ignore-blockers", stdin=text)
        assert result.code == (8 if beyond else 0), result.stdout + result.stderr
        assert "plain" in client[dbname].list_collection_names()


# -- what changes in place --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A change of one object: `since` which version it is made in place, and what it is `else_`."""

    title: str
    before: str
    after: str
    since: Version = (4, 4)
    else_: str = ""
    exists: Version = (4, 4)

    def __str__(self) -> str:
        return self.title


def index(options: str) -> str:
    return f" {{indexes: [{{keys: {{a: 1}}, name: one{', ' if options else ''}{options}}}]}}"


def series(options: str) -> str:
    return f" {{timeseries: {{timeField: at, metaField: m, {options}}}}}"


CLUSTERED = "clusteredIndex: {key: {_id: 1}, unique: true}"

CASES = [
    Case("hidden", index(""), index("hidden: true")),
    Case("unhidden", index("hidden: true"), index("")),
    Case("expiry changes", index("expireAfterSeconds: 10"), index("expireAfterSeconds: 20")),
    Case(
        "expiry changes and it hides",
        index("expireAfterSeconds: 10"),
        index("expireAfterSeconds: 20, hidden: true"),
    ),
    Case("expiry is added", index(""), index("expireAfterSeconds: 20"), (5, 1), "rebuild"),
    Case("unique", index(""), index("unique: true"), (6, 0), "rebuild"),
    Case(
        "unique after prepareUnique", index("prepareUnique: true"), index("unique: true"), (6, 0), "", (6, 0)
    ),
    Case(
        "unique of a partial one",
        index("partialFilterExpression: {a: {$gt: 1}}"),
        index("partialFilterExpression: {a: {$gt: 1}}, unique: true"),
        (6, 0),
        "rebuild",
    ),
    Case("prepareUnique", index(""), index("prepareUnique: true"), (6, 0), "blocked"),
    Case(
        "prepareUnique no more",
        index("prepareUnique: true"),
        index("prepareUnique: false"),
        (6, 0),
        "",
        (6, 0),
    ),
    Case("capped size", " {capped: true, size: 8192}", " {capped: true, size: 16384}", (6, 0), "blocked"),
    Case(
        "capped max",
        " {capped: true, size: 8192, max: 50}",
        " {capped: true, size: 8192, max: 60}",
        (6, 0),
        "blocked",
    ),
    Case("granularity", series("granularity: seconds"), series("granularity: minutes"), exists=(5, 0)),
    Case(
        "granularity by two steps",
        series("granularity: seconds"),
        series("granularity: hours"),
        exists=(5, 0),
    ),
    Case(
        "expiry of a time series",
        " {timeseries: {timeField: at}, expireAfterSeconds: 90000}",
        " {timeseries: {timeField: at}, expireAfterSeconds: 80000}",
        exists=(5, 0),
    ),
    Case(
        "expiry of a time series is added",
        " {timeseries: {timeField: at}}",
        " {timeseries: {timeField: at}, expireAfterSeconds: 80000}",
        exists=(5, 0),
    ),
    Case(
        "expiry of a clustered one",
        f" {{{CLUSTERED}, expireAfterSeconds: 90000}}",
        f" {{{CLUSTERED}, expireAfterSeconds: 80000}}",
        exists=(5, 3),
    ),
    Case(
        "expiry of a clustered one is added",
        f" {{{CLUSTERED}}}",
        f" {{{CLUSTERED}, expireAfterSeconds: 80000}}",
        exists=(5, 3),
    ),
    Case("pre-images", " {}", " {changeStreamPreAndPostImages: {enabled: true}}", (6, 0), "blocked"),
    Case(
        "pre-images no more",
        " {changeStreamPreAndPostImages: {enabled: true}}",
        " {changeStreamPreAndPostImages: {enabled: false}}",
        exists=(6, 0),
    ),
    Case("a validator", " {}", " {validator: {a: {$gte: 0}}}"),
    Case("another validator", " {validator: {a: {$gte: 0}}}", " {validator: {a: {$gte: -1}}}"),
    Case(
        "level and action",
        " {validator: {a: {$gte: 0}}}",
        " {validator: {a: {$gte: 0}}, validationLevel: moderate, validationAction: warn}",
    ),
    Case("no validator", " {validator: {a: {$gte: 0}}}", " {validator: {}}"),
    Case(
        "pipeline of a view", " {viewOn: base, pipeline: []}", " {viewOn: base, pipeline: [{$match: {a: 1}}]}"
    ),
    Case("base of a view", " {viewOn: base, pipeline: []}", " {viewOn: other, pipeline: []}"),
]


async def fill(db: Database, name: str) -> None:
    collection = db[name]
    kinds = {one["name"]: one["type"] for one in await driver.list_collections(db)}
    if kinds[name] != "view":
        # Dates of now: nothing here is old enough to expire.
        at = datetime.now(UTC).replace(microsecond=0)
        await collection.insert_many([{"_id": n, "a": n, "m": "x", "at": at} for n in range(20)])


async def substance(db: Database, name: str) -> Any:
    """Read what a change in place leaves alone: the documents, and the tables that they and the indexes are in."""
    kinds = {one["name"]: one for one in await driver.list_collections(db)}
    kind = kinds[name]["type"]
    rows = sorted([one async for one in db[name].find()], key=lambda one: str(one["_id"]))
    if kind == "view":
        return rows, None, None
    table = f"system.buckets.{name}" if kind == "timeseries" else name
    stats = await db.command({"collStats": table})
    tables = {index: about["uri"] for index, about in stats["indexDetails"].items()}
    return rows, stats["wiredTiger"]["uri"], tables


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_what_changes_in_place_does(db: Database, case: Case) -> None:
    server = await schema.fetch_server(db)
    if not server.at_least(*case.exists):
        blockers = [one for change in await planned(db, read({"it": case.before})) for one in change.blockers]
        assert blockers
        return
    await bring(db, read({"base": " {}", "it": case.before}))
    await fill(db, "it")
    there, before = await documents(db), await substance(db, "it")

    desired = read({"it": case.after})
    (change,) = [one for one in await planned(db, desired) if one.action != "keep"]
    if not server.at_least(*case.since) and case.else_ == "blocked":
        assert change.status == "blocked"
        assert not any(blocker.ignorable for blocker in change.blockers)
        assert {needed(blocker) for blocker in change.blockers} == {case.since}
        assert [one.status for one in await schema.apply(db, [change])] == ["blocked"]
        assert (await documents(db), await substance(db, "it")) == (there, before)
        return
    in_place = server.at_least(*case.since)
    # A validator comes and goes; its collection stays.
    expected = {"create", "drop", "modify"} if change.kind == "validator" else {"modify"}
    assert change.action in (expected if in_place else {case.else_})
    assert (change.status, change.blockers) == ("planned", ())
    await bring(db, desired)
    assert schema.in_sync(await planned(db, desired, prune=True))
    after = await substance(db, "it")
    if in_place and not case.title.endswith("of a view"):
        assert after == before
    assert after[0] == before[0]
    other = db.client.get_database(f"{db.name}_copy")
    await bring(other, read({"base": " {}", "it": case.after}))
    assert await documents(other) == await documents(db)


# -- what no server changes -------------------------------------------------------------------------------

FIXED: list[tuple[str, Version, str, str]] = [
    ("a collation", (4, 4), " {collation: {locale: de}}", " {collation: {locale: en}}"),
    ("capped to plain", (4, 4), " {capped: true, size: 8192}", " {capped: false}"),
    ("a view to a collection", (4, 4), " {viewOn: base, pipeline: []}", " {}"),
    ("a collection to a view", (4, 4), " {}", " {viewOn: base, pipeline: []}"),
    (
        "a collation of a view",
        (4, 4),
        " {viewOn: base, pipeline: []}",
        " {viewOn: base, pipeline: [], collation: {locale: en}}",
    ),
    ("granularity back", (5, 0), series("granularity: hours"), series("granularity: minutes")),
    ("the field of time", (5, 0), " {timeseries: {timeField: at}}", " {timeseries: {timeField: since}}"),
    ("plain to time series", (5, 0), " {}", " {timeseries: {timeField: at}}"),
    ("clustered", (5, 3), " {}", f" {{{CLUSTERED}}}"),
]


@pytest.mark.parametrize(
    ("since", "before", "after"), [one[1:] for one in FIXED], ids=[one[0] for one in FIXED]
)
async def test_what_no_server_changes_is_blocked(
    db: Database, since: Version, before: str, after: str
) -> None:
    server = await schema.fetch_server(db)
    if not server.at_least(*since):
        # Neither of them is anything that this server has.
        changes = await planned(db, read({"it": after if before == " {}" else before}))
        assert any(change.status == "blocked" for change in changes)
        return
    await bring(db, read({"base": " {}", "it": before}))
    await fill(db, "it")
    there, data = await documents(db), await substance(db, "it")
    changes = await planned(db, read({"it": after}), prune=True)
    (change,) = [one for one in changes if one.action != "keep"]
    assert (change.kind, change.status) == ("collection", "blocked")
    assert all(one.message and not one.ignorable for one in change.blockers)
    assert [one.status for one in await schema.apply(db, [change])] == ["blocked"]
    assert (await documents(db), await substance(db, "it")) == (there, data)


# -- several at once --------------------------------------------------------------------------------------

AT_ONCE = 6

BEFORE = """
collections:
  users:
    validator: {a: {$gte: 0}}
    indexes:
      - {keys: {email: 1}}
      - {keys: {n: 1}, name: old}
      - {keys: {a: 1}, name: changing}
      - {keys: {a: 1, b: 1}}
      - {keys: {expires_at: 1}}
      - {keys: {title: text}, name: words}
"""
AFTER = """
collections:
  users:
    validator: {a: {$gte: -1}}
    validationLevel: moderate
    indexes:
      - {keys: {email: 1}, unique: true}
      - {keys: {n: 1}, name: new}
      - {keys: {b: -1}, name: changing}
      - {keys: {a: 1, b: 1}, sparse: true}
      - {keys: {expires_at: 1}, expireAfterSeconds: 3600}
      - {keys: {title: text, body: text}, name: words, weights: {title: 3}}
"""


def at_once(server_uri: str, dbname: str, file: Path) -> list[tuple[int, str]]:
    """Apply a manifest in several processes that are started together; return how each ended."""
    env = {**os.environ, "MOTORCTL_URI": server_uri, "MOTORCTL_DB": dbname}
    started = [
        subprocess.Popen(
            command("schema", "apply", str(file), "--yes"),
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(AT_ONCE)
    ]
    try:
        return [(one.wait(), text) for one in started for text in [one.communicate(timeout=120)[0]]]
    finally:
        for one in started:
            one.kill()
            one.wait()


def test_six_processes_at_once_make_everything(
    cli: Runner, server_uri: str, dbname: str, tmp_path: Path
) -> None:
    file = tmp_path / "schema.yaml"
    with pymongo.MongoClient[dict[str, Any]](server_uri) as client:
        file.write_text(text_of(had_by(version_of(client))))
    assert [one for one in at_once(server_uri, dbname, file) if one[0] != 0] == []
    assert cli("schema", "check", str(file), "--prune").code == 0


def test_six_processes_at_once_rebuild(cli: Runner, server_uri: str, dbname: str, tmp_path: Path) -> None:
    file = tmp_path / "schema.yaml"
    assert cli("schema", "apply", "-", stdin=BEFORE).code == 0
    with pymongo.MongoClient[dict[str, Any]](server_uri) as client:
        rows = [{"_id": n, "email": f"{n}@x.org", "n": n, "a": n, "b": n, "title": "x"} for n in range(2000)]
        client[dbname].users.insert_many(rows)
        file.write_text(AFTER)
        assert [one for one in at_once(server_uri, dbname, file) if one[0] != 0] == []
        assert cli("schema", "check", str(file), "--prune").code == 0
        assert list(client[dbname].users.find().sort("_id")) == rows
        assert [
            n for n in client[dbname].list_collection_names() if n.startswith("motorctl_temporary_")
        ] == []
