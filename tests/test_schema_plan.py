"""The plan: what differs, what the server filled in, in which order it is safe to change."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import Decimal128, Int64, Regex
from hypothesis import given, settings
from hypothesis import strategies as st

from motorctl.core import schema
from motorctl.core.schema import Change, Collection, Index, Server, Validator, plan
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
        ("index", "create", "email_1"),
        ("validator", "create", "users"),
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
        ("viewOn", "a", "b", False),
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


def test_a_text_index_the_manifest_names_is_its_own() -> None:
    change = one(
        plan(with_indexes(Index({"body": "text"}, "mine")), wanted(Index({"title": "text"}, "mine")))
    )
    assert (change.status, change.unmanaged, schema.drops(change)) == ("planned", (), [])
    assert schema.describe(change) == "keys: {body: text} -> {title: text}; drops mine before it is built"


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
INDEXES = st.builds(
    Index,
    st.dictionaries(FIELDS, st.sampled_from([1, -1]), min_size=1, max_size=3),
    st.none() | st.sampled_from(["one", "two", "three"]),
    OPTIONS,
)


def _facts(index: Index, server: Server) -> Any:
    return identity(index_facts(index.keys, index.options, None), server)


def distinct(indexes: list[Index]) -> tuple[Index, ...]:
    """Keep those that a server takes beside each other, as a manifest has to."""
    kept: list[Index] = []
    for index in indexes:
        if len(index.keys) > 1 and "expireAfterSeconds" in index.options:
            continue
        # What the oldest server takes, each server takes.
        mine = _facts(index, OLD)
        if all(index.resolved_name != k.resolved_name and mine != _facts(k, OLD) for k in kept):
            kept.append(index)
    return tuple(kept)


OLD = Server((4, 4))
SERVERS = st.sampled_from([OLD, Server((5, 0)), Server((6, 0)), Server((8, 0))])
INDEX_SETS: st.SearchStrategy[tuple[Index, ...]] = st.lists(INDEXES, max_size=5).map(distinct)
VALIDATORS = st.none() | st.builds(
    Validator,
    st.sampled_from([{"a": 1}, {"$jsonSchema": {"required": ["a"]}}]),
    st.sampled_from(["off", "moderate", "strict"]),
    st.sampled_from(["warn", "error"]),
)
COLLECTIONS = st.builds(Collection, st.just("users"), st.just({}), VALIDATORS, INDEX_SETS)


def served(collection: Collection) -> dict[str, Collection]:
    """Give each index its name, as a server does."""
    indexes = tuple(named(index) for index in collection.indexes)
    return {collection.name: Collection(collection.name, collection.options, collection.validator, indexes)}


def carried_out(current: Collection, changes: list[Change], server: Server) -> Collection:
    """Do what a server would do, refusing what it would refuse."""
    indexes = {index.resolved_name: index for index in current.indexes}
    validator = current.validator
    for change in changes:
        if change.action == "keep":
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
                indexes[new.resolved_name] = new
    return Collection(current.name, current.options, validator, tuple(indexes.values()))


@given(COLLECTIONS, SERVERS)
def test_a_schema_is_in_sync_with_itself(collection: Collection, server: Server) -> None:
    assert schema.in_sync(plan(served(collection), [collection], server=server, prune=True))


@settings(max_examples=300)
@given(COLLECTIONS, COLLECTIONS, SERVERS, st.booleans())
def test_a_plan_that_is_carried_out_leaves_nothing_to_do(
    before: Collection, after: Collection, server: Server, prune: bool
) -> None:
    current = served(before)
    planned = copy.deepcopy((current, after))
    # Without prune an index that stays can stand in the way of none: the wanted ones win.
    result = carried_out(current["users"], plan(current, [after], server=server, prune=prune), server)
    assert (current, after) == planned
    again = plan({"users": result}, [after], server=server, prune=prune)
    assert [change for change in again if change.action != "keep"] == []


@given(COLLECTIONS, COLLECTIONS, SERVERS)
def test_without_prune_nothing_is_only_dropped(before: Collection, after: Collection, server: Server) -> None:
    assert all(change.action != "drop" for change in plan(served(before), [after], server=server))


@given(COLLECTIONS, COLLECTIONS, SERVERS)
def test_what_goes_goes_after_what_comes(before: Collection, after: Collection, server: Server) -> None:
    changes = [c for c in plan(served(before), [after], server=server, prune=True) if c.action != "keep"]
    indexes = [c.action for c in changes if c.kind == "index" and not (c.after or {}).get("hidden")]
    rank = {"create": 0, "modify": 0, "rebuild": 1, "drop": 2}
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
    for change in plan(served(before), [after], server=server, prune=True):
        assert bool(change.commands) == (change.action != "keep" and not change.blockers)


@given(COLLECTIONS, COLLECTIONS, SERVERS)
def test_a_plan_accounts_for_every_wanted_index_once(
    before: Collection, after: Collection, server: Server
) -> None:
    planned = plan(served(before), [after], server=server, prune=True)
    changes = [c for c in planned if c.kind == "index" and c.action != "drop"]
    assert len(changes) == len(after.indexes)
    assert len({change.name for change in changes}) == len(changes)
