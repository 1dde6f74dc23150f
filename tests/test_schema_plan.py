"""The plan: what differs, what the server filled in, in which order it is safe to change."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import Decimal128, Int64, Regex
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from motorctl.core import schema
from motorctl.core.schema import Change, Collection, Index, SearchIndex, Server, Validator, plan
from motorctl.core.schema.compare import (
    expand_collation,
    identity,
    index_facts,
    query,
    same,
    same_option,
    shorten_collation,
)
from motorctl.core.schema.planning.strictness import loosens

EMAIL = Index({"email": 1}, None, {"unique": True})


def one(changes: list[Change], kind: str = "index") -> Change:
    (change,) = [change for change in changes if change.kind == kind]
    return change


def with_indexes(*indexes: Index, **options: Any) -> dict[str, Collection]:
    return {"users": Collection("users", options, None, tuple(indexes))}


def wanted(*indexes: Index, **options: Any) -> list[Collection]:
    return [Collection("users", options, None, tuple(indexes))]


def named(index: Index) -> Index:
    return index.named(index.resolved_name)


def from_server(key: dict[str, Any], name: str = "x", /, **options: Any) -> Index:
    return Index.from_server({"v": 2, "key": key, "name": name, "ns": "db.users", **options})


# -- collections ------------------------------------------------------------------------------------------


def test_a_missing_collection_is_created_with_everything_in_it() -> None:
    desired = [Collection("users", {"capped": True, "size": 4096}, Validator({"a": 1}), (EMAIL,))]
    assert [(c.kind, c.action, c.name) for c in plan({}, desired)] == [
        ("collection", "create", "users"),
        # A document that is written meanwhile is validated.
        ("validator", "create", "users"),
        ("index", "create", "email_1"),
    ]


def test_what_no_manifest_mentions_is_never_touched() -> None:
    current = {"other": Collection("other", {}, Validator({"a": 1}), (named(EMAIL),))}
    assert plan(current, [], prune=True) == []
    assert {c.collection for c in plan(current, wanted(), prune=True)} == {"users"}


def test_an_option_that_cannot_be_changed_is_a_blocker() -> None:
    change = one(plan(with_indexes(), wanted(capped=True, size=4096)), "collection")
    assert (change.action, change.status) == ("modify", "blocked")
    assert change.blockers[0].message.startswith("capped of users can't be changed in place")


def test_a_view_under_a_collections_name_is_a_blocker() -> None:
    current = {"users": Collection("users", {"viewOn": "people", "pipeline": []})}
    change = one(plan(current, wanted()), "collection")
    assert [blocker.message for blocker in change.blockers] == [
        "users is a view, the manifest says a collection: rename or drop the view first"
    ]


@pytest.mark.parametrize("prune", [False, True])
@pytest.mark.parametrize("renamed_from", [None, "old"])
def test_nothing_is_done_to_what_is_of_another_kind(prune: bool, renamed_from: str | None) -> None:
    plain = Collection(
        renamed_from or "users",
        {},
        Validator({"a": 1}),
        (Index({"a": 1}, "a_1"), Index({"b": 1}, "motorctl_temporary_b_1")),
        (SearchIndex("s", {}),),
    )
    view = Collection(
        "users", {"viewOn": "people"}, search_indexes=(SearchIndex("t", {}),), renamed_from=renamed_from
    )
    changes = [c for c in plan({plain.name: plain}, [view], prune=prune) if c.action != "keep"]
    assert [(c.kind, c.status) for c in changes] == [("collection", "blocked")]
    there = {view.name: view}
    changes = [c for c in plan(there, [replace(plain, name="users")], prune=prune) if c.action != "keep"]
    assert {c.status for c in changes} == {"blocked"}
    assert changes[0].kind == "collection"
    assert not any(c.action == "drop" or c.commands for c in changes)


def test_a_view_without_a_pipeline_has_an_empty_one() -> None:
    there = {"v": Collection("v", {"viewOn": "users", "pipeline": [{"$match": {"a": 1}}]})}
    change = one(plan(there, [Collection("v", {"viewOn": "users"})]), "collection")
    assert (change.action, change.commands) == (
        "modify",
        ({"collMod": "v", "viewOn": "users", "pipeline": []},),
    )
    there = {"v": Collection("v", {"viewOn": "users", "pipeline": []})}
    assert schema.in_sync(plan(there, [Collection("v", {"viewOn": "users"})]))


LOOKING: list[dict[str, Any]] = [
    {"viewOn": "old", "pipeline": []},
    {"viewOn": "x", "pipeline": [{"$lookup": {"from": "old", "as": "a"}}]},
    {"viewOn": "x", "pipeline": [{"$unionWith": "old"}]},
    {"viewOn": "x", "pipeline": [{"$unionWith": {"coll": "old", "pipeline": []}}]},
    {"viewOn": "x", "pipeline": [{"$facet": {"f": [{"$graphLookup": {"from": "old"}}]}}]},
]


@pytest.mark.parametrize("options", LOOKING)
def test_a_renamed_collection_leaves_no_view_behind_unsaid(options: dict[str, Any]) -> None:
    view, new = Collection("seen", options), Collection("new", renamed_from="old")
    old = {"old": Collection("old")}
    for current, desired in (({**old, "seen": view}, [new]), (old, [new, view])):
        change = next(c for c in plan(current, desired) if c.collection == "new")
        (blocker,) = change.blockers
        assert (change.status, blocker.reason, blocker.ignorable) == ("blocked", "views", True)
        assert blocker.message == "view seen looks at old, and would find nothing there"
        assert change.commands == ({"renameCollection": "old", "to": "new"},)
    for changed in (Collection("seen", {"viewOn": "new"}), Collection("seen", absent=True)):
        change = next(c for c in plan({**old, "seen": view}, [new, changed]) if c.collection == "new")
        assert change.blockers == ()
    other = Collection("seen", {"viewOn": "x", "pipeline": [{"$match": {"from": "old", "a": ["old"]}}]})
    assert not any(change.blockers for change in plan({**old, "seen": other}, [new]))


@pytest.mark.parametrize(("search", "blocked"), [(None, False), (True, False), (False, True)])
def test_whether_the_server_has_search_is_known_before_anything_is_there(
    search: bool | None, blocked: bool
) -> None:
    desired = [Collection("users", search_indexes=(SearchIndex("s", {}),))]
    change = one(plan({}, desired, server=Server(search=search)), "search_index")
    assert [blocker.message for blocker in change.blockers] == ["this server has no search indexes"] * blocked
    change = one(plan({"users": Collection("users")}, desired, server=Server(search=search)), "search_index")
    assert bool(change.blockers) is (search is not True)


def test_an_option_that_no_manifest_names_stays() -> None:
    assert schema.in_sync(plan(with_indexes(capped=True, size=4096), wanted(), prune=True))


@pytest.mark.parametrize(
    ("name", "current", "desired", "equal"),
    [
        ("size", 1024, 1000, True),
        ("size", 1024, 2000, False),
        ("size", 4096, 1000, False),
        ("max", 2**31 - 1, 0, True),
        ("max", None, -1, True),
        ("max", 5, 0, False),
        ("expireAfterSeconds", None, "off", True),
        ("expireAfterSeconds", 60, 60.0, True),
        ("expireAfterSeconds", 60, "off", False),
        (
            "timeseries",
            {"timeField": "t", "granularity": "minutes", "bucketMaxSpanSeconds": 86400},
            {"timeField": "t", "bucketMaxSpanSeconds": 86400, "bucketRoundingSeconds": 3600},
            True,
        ),
        (
            "timeseries",
            {"timeField": "t", "bucketMaxSpanSeconds": 300, "bucketRoundingSeconds": 300},
            {"timeField": "t"},
            False,
        ),
        ("capped", None, False, True),
        (
            "timeseries",
            {"timeField": "t", "granularity": "seconds", "bucketMaxSpanSeconds": 3600},
            {"timeField": "t"},
            True,
        ),
        ("timeseries", {"timeField": "t", "granularity": "hours"}, {"timeField": "t"}, False),
        ("changeStreamPreAndPostImages", None, {"enabled": False}, True),
        ("changeStreamPreAndPostImages", None, {"enabled": True}, False),
        ("collation", {"locale": "en", "strength": 3, "version": "57.1"}, {"locale": "en"}, True),
        (
            "clusteredIndex",
            {"key": {"_id": 1}, "unique": True},
            {"key": {"_id": 1}, "unique": True, "name": "_id_"},
            True,
        ),
        (
            "clusteredIndex",
            {"v": 2, "key": {"_id": 1}, "unique": True, "name": "mine"},
            {"key": {"_id": 1}, "unique": True},
            True,
        ),
        (
            "clusteredIndex",
            {"key": {"_id": 1}, "unique": True, "name": "mine"},
            {"key": {"_id": 1}, "unique": True, "name": "_id_"},
            False,
        ),
        ("viewOn", "a", "b", False),
        ("pipeline", [], None, True),
        ("pipeline", [{"$limit": 1}], None, False),
    ],
)
def test_creation_options_are_compared_without_what_the_server_adds(
    name: str, current: Any, desired: Any, equal: bool
) -> None:
    assert same_option(name, current, desired) is equal


# -- validators -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one_way", "other_way", "equal"),
    [
        ({"minimum": 4}, {"minimum": 4.0}, True),
        ({"minimum": 4}, {"minimum": Int64(4)}, True),
        ({"minimum": 4}, {"minimum": Decimal128("4.0")}, True),
        ({"minimum": 1}, {"minimum": True}, False),
        ({"required": ["a", "b"]}, {"required": ["b", "a"]}, True),
        ({"properties": {"a": {}, "b": {}}}, {"properties": {"b": {}, "a": {}}}, True),
        (
            {"properties": {"a": {"enum": [{"x": 1, "y": 2}]}}},
            {"properties": {"a": {"enum": [{"y": 2, "x": 1}]}}},
            False,
        ),
        ({"allOf": [{"title": "a"}, {"title": "b"}]}, {"allOf": [{"title": "b"}, {"title": "a"}]}, False),
        ({"items": {"type": "string", "title": "a"}}, {"items": {"title": "a", "type": "string"}}, True),
        ({"bsonType": ["int", "long"]}, {"bsonType": ["long", "int"]}, True),
    ],
)
def test_validators_are_compared_by_meaning(one_way: Any, other_way: Any, equal: bool) -> None:
    current = {"users": Collection("users", {}, Validator({"$jsonSchema": one_way}))}
    desired = [Collection("users", {}, Validator({"$jsonSchema": other_way}))]
    assert schema.in_sync(plan(current, desired)) is equal


def test_level_and_action_are_changed_in_place() -> None:
    current = {"users": Collection("users", {}, Validator({"a": 1}))}
    change = one(
        plan(current, [Collection("users", {}, Validator({"a": 1}, "moderate", "warn"))]), "validator"
    )
    assert change.action == "modify"
    assert schema.describe(change) == "validationLevel: strict -> moderate; validationAction: error -> warn"


def test_a_validator_beyond_the_manifest_is_dropped_only_with_prune() -> None:
    current = {"users": Collection("users", {}, Validator({"a": 1}))}
    assert one(plan(current, wanted()), "validator").status == "unmanaged"
    assert one(plan(current, wanted(), prune=True), "validator").action == "drop"


def test_validators_loosen_before_indexes_change_and_tighten_after() -> None:
    strict, loose = Validator({"a": 1}), Validator({"a": 1}, "moderate")
    current = {
        "loosens": Collection("loosens", {}, strict),
        "tightens": Collection("tightens", {}, loose, (Index({"old": 1}, "old_1"),)),
    }
    desired = [Collection("tightens", {}, strict, (EMAIL,)), Collection("loosens", {}, loose, (EMAIL,))]
    order = [(c.kind, c.action, c.collection) for c in plan(current, desired, prune=True)]
    assert order == [
        ("collection", "keep", "tightens"),
        ("collection", "keep", "loosens"),
        ("validator", "modify", "loosens"),
        ("index", "create", "tightens"),
        ("index", "create", "loosens"),
        ("index", "drop", "tightens"),
        ("validator", "modify", "tightens"),
    ]


# -- indexes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("server", "manifest"),
    [
        (from_server({"a": 1.0, "b": -1}), Index({"a": 1, "b": -1})),
        (from_server({"a": 1}, unique=False, sparse=False, hidden=False, background=True), Index({"a": 1})),
        (from_server({"a": 1}, expireAfterSeconds=60.0), Index({"a": 1}, None, {"expireAfterSeconds": 60})),
        (
            from_server({"a": 1}, expireAfterSeconds=float("nan")),
            Index({"a": 1}, None, {"expireAfterSeconds": 2**31 - 1}),
        ),
        (from_server({"a": "2dsphere"}, **{"2dsphereIndexVersion": 2}), Index({"a": "2dsphere"})),
        (from_server({"a": "2d"}), Index({"a": "2d"}, None, {"bits": 26, "min": -180, "max": 180.0})),
        (
            from_server(
                {"p": 1, "_fts": "text", "_ftsx": 1, "q": -1},
                weights={"b": 1, "a": 1, "c": 3},
                default_language="english",
                language_override="language",
                textIndexVersion=3,
            ),
            Index({"p": 1, "a": "text", "b": "text", "q": -1}, None, {"weights": {"c": 3}}),
        ),
        (
            from_server(
                {"a": 1}, collation={**(expand_collation({"locale": "fr_CA"}) or {}), "version": "57.1"}
            ),
            Index({"a": 1}, None, {"collation": {"locale": "fr_CA"}}),
        ),
        (from_server({"a": 1}), Index({"a": 1}, None, {"collation": {"locale": "simple"}})),
        (
            from_server({"a": 1}, partialFilterExpression={"x": {"$gt": 5}, "y": True}),
            Index({"a": 1}, None, {"partialFilterExpression": {"y": True, "x": {"$gt": 5.0}}}),
        ),
        (
            from_server({"$**": 1}, wildcardProjection={"a": 1, "b": True}),
            Index({"$**": 1}, None, {"wildcardProjection": {"b": 1, "a": 1}}),
        ),
    ],
)
def test_what_the_server_fills_in_is_no_difference(server: Index, manifest: Index) -> None:
    changes = plan(with_indexes(server), wanted(manifest), prune=True)
    assert [(c.action, schema.describe(c)) for c in changes if c.action != "keep"] == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Index({"a": 1, "b": 1}, "x"), Index({"b": 1, "a": 1}, "x")),
        (Index({"a": 1}, "x"), Index({"a": -1}, "x")),
        (Index({"a": 1}, "x"), Index({"a": "hashed"}, "x")),
        (Index({"a": 1}, "x", {"unique": True}), Index({"a": 1}, "x")),
        (Index({"a": 1}, "x"), Index({"a": 1}, "x", {"sparse": True})),
        (Index({"a": 1, "b": 1}, "x", {"hidden": True}), Index({"a": 1}, "x", {"expireAfterSeconds": 0})),
        (Index({"a": 1}, "x", {"expireAfterSeconds": 0}), Index({"a": 1}, "x")),
        (Index({"a": 1}, "x"), Index({"a": 1}, "x", {"collation": {"locale": "en"}})),
        (Index({"a": 1}, "x"), Index({"a": 1}, "x", {"partialFilterExpression": {"a": 1}})),
        (
            Index({"a": 1}, "x", {"partialFilterExpression": {"a": {"x": 1, "y": 2}}}),
            Index({"a": 1}, "x", {"partialFilterExpression": {"a": {"y": 2, "x": 1}}}),
        ),
        (Index({"a": "text"}, "x"), Index({"a": "text"}, "x", {"weights": {"a": 2}})),
        (Index({"a": "text"}, "x"), Index({"a": "text"}, "x", {"default_language": "german"})),
        (Index({"a": "text"}, "x"), Index({"a": "text"}, "x", {"language_override": "lang"})),
        (Index({"a": "text", "b": 1}, "x"), Index({"b": 1, "a": "text"}, "x")),
        (Index({"a": "2dsphere"}, "x"), Index({"a": "2dsphere"}, "x", {"2dsphereIndexVersion": 2})),
        (Index({"a": "2d"}, "x"), Index({"a": "2d"}, "x", {"bits": 20})),
        (Index({"$**": 1}, "x"), Index({"$**": 1}, "x", {"wildcardProjection": {"a": 1}})),
        (Index({"a": 1}, "y"), Index({"a": 1}, "x")),
        (Index({"a": "text"}, "y"), Index({"b": "text"}, "x")),
    ],
)
def test_what_needs_another_index_is_a_rebuild(before: Index, after: Index) -> None:
    change = one(plan(with_indexes(before), wanted(after)))
    assert (change.action, change.name, change.replaces) == ("rebuild", "x", (before.name,))
    assert (change.before, change.after) == (before.document(), after.document())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"hidden": True}),
        ({"hidden": True}, {}),
        ({"expireAfterSeconds": 0}, {"expireAfterSeconds": 60}),
        ({"expireAfterSeconds": 0, "hidden": True}, {"expireAfterSeconds": 60}),
    ],
)
def test_hidden_and_expiry_are_changed_in_place(before: dict[str, Any], after: dict[str, Any]) -> None:
    change = one(plan(with_indexes(Index({"a": 1}, "a_1", before)), wanted(Index({"a": 1}, None, after))))
    assert (change.action, change.replaces) == ("modify", ())


def test_an_index_without_a_name_is_content_with_any() -> None:
    change = one(plan(with_indexes(EMAIL.named("by_email")), wanted(EMAIL)))
    assert (change.action, change.name) == ("keep", "by_email")


def test_a_name_that_another_index_wants_is_given_up() -> None:
    current = with_indexes(Index({"a": 1}, "one"))
    changes = [c for c in plan(current, wanted(Index({"a": 1}), Index({"b": 1}, "one"))) if c.kind == "index"]
    assert [(c.action, c.name, c.replaces) for c in changes] == [
        ("rebuild", "a_1", ("one",)),
        ("rebuild", "one", ()),
    ]


def test_an_index_inherits_its_collections_collation() -> None:
    collation = {"locale": "en", "strength": 2}
    current = Collection.from_server(
        {"name": "users", "options": {"collation": collation}},
        [
            {"key": {"_id": 1}, "name": "_id_"},
            {"key": {"a": 1}, "name": "a_1", "collation": expand_collation(collation)},
            {"key": {"b": 1}, "name": "b_1"},
        ],
    )
    assert [index.options for index in current.indexes] == [{}, {"collation": {"locale": "simple"}}]
    changes = plan({"users": current}, wanted(Index({"a": 1}), Index({"b": 1}), collation=collation))
    assert [c.action for c in changes] == ["keep", "keep", "rebuild"]


def test_an_index_beyond_the_manifest_is_dropped_only_with_prune() -> None:
    current = with_indexes(named(EMAIL), Index({"old": 1}, "old_1"))
    kept = plan(current, wanted(EMAIL))
    assert schema.in_sync(kept)
    assert [(c.name, c.status) for c in kept if c.kind == "index"] == [
        ("email_1", "in_sync"),
        ("old_1", "unmanaged"),
    ]
    dropped = plan(current, wanted(EMAIL), prune=True)
    assert [(c.name, c.after) for c in dropped if c.action == "drop"] == [("old_1", None)]


@pytest.mark.parametrize("index", [Index({"title": "text"}), Index({"title": "text"}, "search")])
def test_a_text_index_the_manifest_does_not_name_is_replaced_only_with_prune(index: Index) -> None:
    current = with_indexes(Index({"body": "text"}, "mine"))
    blocked = one(plan(current, wanted(index)))
    assert (blocked.action, blocked.status, blocked.unmanaged) == ("rebuild", "blocked", ("mine",))
    replaced = one(plan(current, wanted(index), prune=True))
    assert (replaced.status, replaced.blockers, replaced.replaces) == ("planned", (), ("mine",))
    assert replaced.name == index.resolved_name
    assert schema.drops(replaced) == ["index users.mine"]


SERVERS_NAMED = [Server((4, 4)), Server((5, 0)), Server((6, 0)), Server((8, 0))]


@pytest.mark.parametrize("server", SERVERS_NAMED, ids=lambda server: server.name)
def test_a_text_index_beside_the_one_that_is_meant_goes_only_with_prune(server: Server) -> None:
    current = with_indexes(Index({"x": 1}, "a_1"), Index({"t": "text"}, "search"))
    wish = wanted(Index({"a": 1, "t": "text"}, "a_1"))
    blocked = one(plan(current, wish, server=server))
    assert (blocked.action, blocked.status, blocked.replaces) == ("rebuild", "blocked", ("a_1", "search"))
    assert (blocked.unmanaged, blocked.commands, schema.drops(blocked)) == (
        ("search",),
        (),
        ["index users.search"],
    )
    assert [(blocker.reason, blocker.ignorable) for blocker in blocked.blockers] == [("unmanaged", False)]
    replaced = one(plan(current, wish, server=server, prune=True))
    assert (replaced.status, schema.drops(replaced)) == ("planned", ["index users.search"])


GUARD = Index({"email": 1}, "guard", {"unique": True, "partialFilterExpression": {"a": 1}})


@pytest.mark.parametrize("name", ["e", None])
def test_before_5_0_an_index_of_the_same_keys_is_replaced_only_with_prune(name: str | None) -> None:
    wish = wanted(Index({"email": 1}, name))
    blocked = one(plan(with_indexes(GUARD), wish, server=OLD))
    assert (blocked.action, blocked.status, blocked.unmanaged) == ("rebuild", "blocked", ("guard",))
    assert blocked.name == (name or "email_1")
    assert blocked.blockers[0].message.startswith("before MongoDB 5.0 a collection has one index")
    replaced = one(plan(with_indexes(GUARD), wish, server=OLD, prune=True))
    assert (replaced.status, schema.drops(replaced)) == ("planned", ["index users.guard"])
    beside = [c for c in plan(with_indexes(GUARD), wish, server=Server((5, 0))) if c.kind == "index"]
    assert [(c.action, c.name, c.status) for c in beside] == [
        ("keep", "guard", "unmanaged"),
        ("create", name or "email_1", "planned"),
    ]


@pytest.mark.parametrize(
    "wish",
    [
        Index({"email": 1}, "guard"),
        Index({"email": 1}, "e", {}, renamed_from="guard"),
        GUARD.named("e"),
        Index(GUARD.keys, None, {**GUARD.options, "hidden": True, "expireAfterSeconds": 5}),
    ],
)
@pytest.mark.parametrize("server", SERVERS_NAMED, ids=lambda server: server.name)
def test_an_index_the_manifest_speaks_of_may_be_replaced(wish: Index, server: Server) -> None:
    change = one(plan(with_indexes(GUARD), wanted(wish), server=server))
    assert (change.status, change.unmanaged) == ("planned", ())


def test_an_index_that_must_not_be_there_may_be_replaced() -> None:
    desired = [Collection("users", indexes=(Index({"email": 1}, "e"),), absent_indexes=(Index({}, "guard"),))]
    change = one(plan(with_indexes(GUARD), desired, server=OLD))
    assert (change.action, change.status, change.replaces) == ("rebuild", "planned", ("guard",))


@pytest.mark.parametrize("server", SERVERS_NAMED[2:], ids=lambda server: server.name)
@pytest.mark.parametrize("hidden", [{}, {"hidden": True}])
@pytest.mark.parametrize("turned", [1, -1])
def test_an_index_that_becomes_unique_gives_its_place_to_another(
    server: Server, hidden: dict[str, Any], turned: int
) -> None:
    current = with_indexes(Index({"d": 1}, "n3"))
    pair = (Index({"d": 1}, "b_1"), Index({"d": 1}, "n3", {"unique": True, **hidden}))
    changes = plan(current, wanted(*pair[::turned]), server=server)
    assert [(c.action, c.name, c.replaces) for c in changes if c.kind == "index"] == [
        ("modify", "n3", ()),
        ("create", "b_1", ()),
    ]


@pytest.mark.parametrize("turned", [1, -1])
def test_an_index_that_is_built_anew_gives_its_place_to_another(turned: int) -> None:
    current = with_indexes(Index({"d": 1}, "n3"))
    pair = (Index({"d": 1}, "b_1"), Index({"d": 1}, "n3", {"unique": True}))[::turned]
    changes = [c for c in plan(current, wanted(*pair), server=Server((5, 0))) if c.kind == "index"]
    assert [(c.action, c.name, c.replaces) for c in changes] == [
        ("rebuild", pair[0].name, ("n3",)),
        ("rebuild", pair[1].name, ()),
    ]


@pytest.mark.parametrize("turned", [1, -1])
@pytest.mark.parametrize("before", [{}, {"hidden": True}])
def test_before_5_0_what_stays_stands_in_the_way(turned: int, before: dict[str, Any]) -> None:
    current = with_indexes(Index({"a": 1}, "u", {"unique": True, **before}))
    pair = (Index({"a": 1}, "b"), Index({"a": 1}, "u", {"unique": True}))[::turned]
    changes = {c.name: c for c in plan(current, wanted(*pair), server=OLD) if c.kind == "index"}
    assert changes["u"].blockers == ()
    assert (changes["b"].status, changes["b"].replaces) == ("blocked", ())
    assert changes["b"].blockers[0].message.startswith("index b beside u of users, which has the same keys,")


@pytest.mark.parametrize("wish", [Index({"a": 1}), Index({"a": 1}, None, {"hidden": True})])
def test_a_name_that_must_not_be_there_will_not_do(wish: Index) -> None:
    desired = [Collection("users", indexes=(wish,), absent_indexes=(Index({}, "foo"),))]
    change = one(plan(with_indexes(Index({"a": 1}, "foo")), desired))
    assert (change.action, change.name, change.replaces, change.unmanaged) == ("rebuild", "a_1", ("foo",), ())


def test_a_text_index_the_manifest_names_is_its_own() -> None:
    change = one(
        plan(with_indexes(Index({"body": "text"}, "mine")), wanted(Index({"title": "text"}, "mine")))
    )
    assert (change.status, change.unmanaged, schema.drops(change)) == ("planned", (), [])
    assert schema.describe(change) == "keys: {body: text} -> {title: text}; in place of mine"


def test_two_indexes_that_swap_their_names_are_both_rebuilt() -> None:
    current = with_indexes(Index({"y": 1}, "one"), Index({"x": 1}, "two"))
    changes = [
        c for c in plan(current, wanted(Index({"x": 1}, "one"), Index({"y": 1}, "two"))) if c.kind == "index"
    ]
    assert [(c.action, c.name, c.replaces) for c in changes] == [
        ("rebuild", "one", ("one", "two")),
        ("rebuild", "two", ()),
    ]


def test_a_plan_leaves_its_arguments_alone() -> None:
    current, desired = with_indexes(Index({"a": 1}, "x", {"hidden": True})), wanted(EMAIL)
    before = copy.deepcopy((current, desired))
    plan(current, desired, prune=True)
    assert (current, desired) == before


# -- values -----------------------------------------------------------------------------------------------


def test_values_are_equal_as_the_server_has_it() -> None:
    assert same(1, 1.0)
    assert same(Decimal128("NaN"), Decimal128("NaN"))
    assert same(float("nan"), float("nan"))
    assert same(datetime(2024, 1, 1), datetime(2024, 1, 1, tzinfo=UTC))  # noqa: DTZ001 - the driver may give either
    assert same(Regex("a", "i"), Regex("a", "i"))
    assert not same(Regex("a", "i"), Regex("a"))
    assert not same({"a": 1, "b": 2}, {"b": 2, "a": 1})
    assert not same(1, True)
    assert not same("1", 1)
    assert not same(None, False)


def test_the_order_of_clauses_counts_where_documents_are_literal() -> None:
    assert query({"a": 1, "b": {"$gt": 1, "$lt": 5}}) == query({"b": {"$lt": 5, "$gt": 1}, "a": 1})
    assert query({"a": {"x": 1, "y": 1}}) != query({"a": {"y": 1, "x": 1}})
    assert query({"a": {"$in": [1, 2]}}) != query({"a": {"$in": [2, 1]}})
    assert query({"$or": [{"a": 1, "b": 1}]}) == query({"$or": [{"b": 1, "a": 1}]})
    assert query({"a": {"$not": {"$gt": 1, "$lt": 0}}}) == query({"a": {"$not": {"$lt": 0, "$gt": 1}}})


@given(
    st.fixed_dictionaries(
        {"locale": st.sampled_from(["en", "de", "fr_CA"])},
        optional={
            "strength": st.integers(1, 5),
            "caseLevel": st.booleans(),
            "numericOrdering": st.booleans(),
            "backwards": st.booleans(),
            "alternate": st.sampled_from(["non-ignorable", "shifted"]),
        },
    )
)
def test_a_collation_is_the_same_after_the_server_expanded_it(collation: dict[str, Any]) -> None:
    expanded = expand_collation(collation) or {}
    shortened = shorten_collation({**expanded, "version": "57.1"})
    assert expand_collation(shortened) == expanded
    assert len(shortened) <= len(collation)


# -- properties -------------------------------------------------------------------------------------------

FIELDS = st.sampled_from("abcd")
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "unique": st.booleans(),
        "sparse": st.booleans(),
        "hidden": st.booleans(),
        "expireAfterSeconds": st.sampled_from([60, 90.0]),
        "collation": st.sampled_from(
            [{"locale": "en"}, {"locale": "simple"}, {"locale": "fr_CA", "strength": 2}]
        ),
        "partialFilterExpression": st.sampled_from([{"a": 1}, {"b": {"$gt": 1, "$lt": 5}}]),
    },
).filter(lambda options: not (options.get("sparse") and "partialFilterExpression" in options))
ORDERED = st.dictionaries(FIELDS, st.sampled_from([1, -1]), min_size=1, max_size=3)
INDEXES = st.builds(Index, ORDERED, st.none() | st.sampled_from(["one", "two", "three"]), OPTIONS)
NAMES = st.sampled_from(["one", "two", "three", "a_1"])
# Only those of the same keys, or with text, stand in each other's way.
RIVALS = (
    INDEXES
    | st.builds(Index, st.just({"a": 1}), st.none() | NAMES, OPTIONS)
    | st.builds(
        Index,
        st.sampled_from([{"a": "text"}, {"a": 1, "b": "text"}]),
        st.none() | NAMES,
        st.fixed_dictionaries({}, optional={"hidden": st.booleans()}),
    )
)


def _facts(index: Index, server: Server) -> Any:
    return identity(index_facts(index.keys, index.options, None), server)


def distinct(indexes: list[Index], *, oldest: bool = True) -> tuple[Index, ...]:
    """Keep those that a server takes beside each other, as a manifest has to: the oldest one, or the newest."""
    kept: tuple[Index, ...] = ()
    for index in indexes:
        if len(index.keys) > 1 and "expireAfterSeconds" in index.options:
            continue
        refused = oldest and any(_facts(index, OLD) == _facts(other, OLD) for other in kept)
        if not refused and Collection("users", indexes=(*kept, index)).conflict() is None:
            kept = (*kept, index)
    return kept


def beside_each_other(indexes: list[Index]) -> tuple[Index, ...]:
    return distinct(indexes, oldest=False)


OLD, NEWEST = Server((4, 4)), Server()
SERVERS = st.sampled_from(SERVERS_NAMED)
INDEX_SETS: st.SearchStrategy[tuple[Index, ...]] = st.lists(INDEXES, max_size=5).map(distinct)
RIVAL_SETS: st.SearchStrategy[tuple[Index, ...]] = st.lists(RIVALS, max_size=5).map(beside_each_other)
VALIDATORS = st.none() | st.builds(
    Validator,
    st.sampled_from([{"a": 1}, {"$jsonSchema": {"required": ["a"]}}]),
    st.sampled_from(["off", "moderate", "strict"]),
    st.sampled_from(["warn", "error"]),
)
COLLECTIONS = st.builds(Collection, st.just("users"), st.just({}), VALIDATORS, RIVAL_SETS)
ABSENT = st.lists(NAMES.map(lambda name: Index({}, name)), max_size=2).map(tuple)


def without_wanted(collection: Collection, absent: tuple[Index, ...]) -> Collection:
    """Say of names that no index of them must be there, but of those that are wanted."""
    names = {index.resolved_name for index in collection.indexes}
    return replace(collection, absent_indexes=tuple(one for one in absent if one.name not in names))


WISHES = st.builds(without_wanted, COLLECTIONS, ABSENT)


def served(collection: Collection, server: Server) -> dict[str, Collection]:
    """Give each index its name, as a server does; leave out what that one doesn't take beside another."""
    indexes: list[Index] = []
    for index in collection.indexes:
        if _facts(index, server) not in [_facts(other, server) for other in indexes]:
            indexes.append(named(index))
    return {"users": Collection("users", collection.options, collection.validator, tuple(indexes))}


def carried_out(current: Collection, changes: list[Change], server: Server) -> Collection:
    """Do what a server would do, refusing what it would refuse."""
    indexes = {index.resolved_name: index for index in current.indexes}
    validator = current.validator
    for change in changes:
        if change.action == "keep" or change.blockers:
            continue
        after = dict(change.after or {})
        if change.kind == "validator":
            validator = (
                Validator(after["validator"], after["validationLevel"], after["validationAction"])
                if after
                else None
            )
        if change.kind == "index":
            if change.action in ("drop", "modify"):
                del indexes[change.name]
            for name in change.replaces:
                del indexes[name]
            if change.action != "drop":
                new = Index(after.pop("keys"), after.pop("name"), after)
                assert new.resolved_name not in indexes
                assert _facts(new, server) not in [_facts(index, server) for index in indexes.values()]
                assert not (new.is_text and any(index.is_text for index in indexes.values()))
                indexes[new.resolved_name] = new
    return Collection(current.name, current.options, validator, tuple(indexes.values()))


@given(COLLECTIONS, SERVERS)
def test_a_schema_is_in_sync_with_itself(collection: Collection, server: Server) -> None:
    (there,) = served(collection, server).values()
    assert schema.in_sync(plan({"users": there}, [there], server=server, prune=True))


def test_what_a_blocked_change_leaves_there_is_in_the_way_of_the_next() -> None:
    """Before MongoDB 5.0 there is one index with the same keys: a_1 can't come, and the text index stays."""
    there = [Index({"a": 1}, "one", {"partialFilterExpression": {"a": 1}}), Index({"a": "text"}, "a_1", {})]
    wanted = [Index({"a": 1}, None, {}), Index({"a": 1, "b": "text"}, None, {})]
    current, wish = (Collection("users", {}, None, tuple(indexes)) for indexes in (there, wanted))
    changes = plan({"users": current}, [wish], server=Server((4, 4)))
    assert [(c.name, c.status, c.replaces) for c in changes if c.kind == "index"] == [
        ("a_1", "blocked", ("a_1", "one")),
        ("a_1_b_text", "planned", ("a_1",)),
    ]


@settings(max_examples=300)
@given(COLLECTIONS, WISHES, SERVERS, st.booleans())
def test_a_plan_that_is_carried_out_leaves_nothing_to_do(
    before: Collection, after: Collection, server: Server, prune: bool
) -> None:
    current = served(before, server)
    arguments = copy.deepcopy((current, after))
    changes = plan(current, [after], server=server, prune=prune)
    assert (current, after) == arguments
    result = carried_out(current["users"], changes, server)
    again = plan({"users": result}, [after], server=server, prune=prune)
    assert [change for change in again if change.action != "keep" and not change.blockers] == []
    if not any(change.blockers for change in changes):
        assert schema.in_sync(again)
        names = {index.name for index in result.indexes}
        assert names.isdisjoint(index.name for index in after.absent_indexes)
        wished = [_facts(index, NEWEST) for index in after.indexes]
        assert all(_facts(index, NEWEST) in wished or not prune for index in result.indexes)


@settings(max_examples=300)
@given(COLLECTIONS, WISHES, SERVERS)
def test_without_prune_what_the_manifest_does_not_speak_of_stays(
    before: Collection, after: Collection, server: Server
) -> None:
    current = served(before, server)
    changes = plan(current, [after], server=server)
    # An apply does nothing where something is blocked.
    assume(not any(change.blockers for change in changes))
    result = carried_out(current["users"], changes, server)
    spoken_of = {index.resolved_name for index in (*after.indexes, *after.absent_indexes)}
    wished = [_facts(index, NEWEST) for index in after.indexes]
    others = [
        index
        for index in current["users"].indexes
        if index.name not in spoken_of and _facts(index, NEWEST) not in wished
    ]
    assert [index for index in others if index not in result.indexes] == []


@given(COLLECTIONS, COLLECTIONS, SERVERS)
def test_without_prune_nothing_is_only_dropped(before: Collection, after: Collection, server: Server) -> None:
    assert all(change.action != "drop" for change in plan(served(before, server), [after], server=server))


@given(COLLECTIONS, COLLECTIONS, SERVERS)
def test_what_goes_goes_after_what_comes(before: Collection, after: Collection, server: Server) -> None:
    planned = plan(served(before, server), [after], server=server, prune=True)
    changes = [c for c in planned if c.action != "keep"]
    indexes = [c.action for c in changes if c.kind == "index" and not (c.after or {}).get("hidden")]
    rank = {"modify": 0, "create": 1, "rebuild": 2, "drop": 3}
    assert indexes == sorted(indexes, key=lambda action: rank[action])
    places = [n for n, change in enumerate(changes) if change.kind == "validator"]
    for place in places:
        asked = changes[place].after
        looser = asked is None or loosens(before.validator, Validator.from_document(asked))
        others = [n for n, change in enumerate(changes) if change.kind == "index"]
        assert all(place < n if looser else place > n for n in others)


@given(COLLECTIONS, COLLECTIONS, SERVERS)
def test_each_change_has_its_commands_and_only_a_change_has(
    before: Collection, after: Collection, server: Server
) -> None:
    for change in plan(served(before, server), [after], server=server, prune=True):
        assert bool(change.commands) == (change.action != "keep" and not change.blockers)


@given(COLLECTIONS, COLLECTIONS, SERVERS)
def test_a_plan_accounts_for_every_wanted_index_once(
    before: Collection, after: Collection, server: Server
) -> None:
    planned = plan(served(before, server), [after], server=server, prune=True)
    changes = [c for c in planned if c.kind == "index" and c.action != "drop"]
    assert len(changes) == len(after.indexes)
    assert len({change.name for change in changes}) == len(changes)
