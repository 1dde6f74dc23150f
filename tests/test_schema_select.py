"""Which part of a schema is asked for: kinds and collections, alone and together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from motorctl.core.schema import Blocker, Change, Collection, Index, SearchIndex, Server, Validator, plan
from motorctl.core.schema.select import PARTS, Selection
from motorctl.errors import UsageError


def change(kind: Any, action: Any = "create", collection: str = "users", **fields: Any) -> Change:
    return Change(collection, kind, action, "x", **fields)


def test_nothing_asked_is_everything() -> None:
    plan = [change("collection"), change("validator"), change("index"), change("search_index")]
    assert Selection().changes(plan) == plan
    assert Selection().takes("any")
    assert Selection().unmatched([]) == []


@pytest.mark.parametrize(
    ("part", "kinds"),
    [("collections", ["collection"]), ("validators", ["validator"]), ("indexes", ["index", "search_index"])],
)
def test_a_part_is_its_kinds(part: str, kinds: list[str]) -> None:
    plan = [change(kind, "modify") for kind in ("collection", "validator", "index", "search_index")]
    assert [one.kind for one in Selection(frozenset({part})).changes(plan)] == kinds
    assert {kind for kinds in PARTS.values() for kind in kinds} == {one.kind for one in plan}


def test_two_parts_are_both() -> None:
    plan = [change("collection", "modify"), change("validator"), change("index")]
    assert [one.kind for one in Selection(frozenset({"validators", "indexes"})).changes(plan)] == [
        "validator",
        "index",
    ]


ONLY_INDEXES = Selection(frozenset({"indexes"}))
IMPOSSIBLE = Blocker("version", "too old")


@pytest.mark.parametrize("blockers", [(), (IMPOSSIBLE,)])
@pytest.mark.parametrize(
    "opening",
    [
        change("collection"),
        change("collection", "modify", before={"name": "people"}, after={"name": "users"}),
    ],
)
def test_a_collection_that_must_be_made_first_comes_along(
    opening: Change, blockers: tuple[Blocker, ...]
) -> None:
    opening = replace(opening, blockers=blockers, status="blocked" if blockers else "planned")
    for needs in (change("index"), change("index", "drop"), change("search_index", "modify")):
        assert ONLY_INDEXES.changes([opening, needs]) == [opening, needs]
    # Nothing of it is asked for: nothing needs it.
    for other in (change("validator"), change("validator", "drop")):
        assert ONLY_INDEXES.changes([opening, other]) == []
    assert ONLY_INDEXES.changes([opening, change("index", "keep")]) == [change("index", "keep")]
    elsewhere = change("index", collection="other")
    assert ONLY_INDEXES.changes([opening, elsewhere]) == [elsewhere]


@pytest.mark.parametrize("reason", ["kind", "name"])
def test_a_collection_that_is_not_the_one_meant_comes_along(reason: str) -> None:
    other = change("collection", "modify", blockers=(Blocker(reason, "another"),), status="blocked")
    assert ONLY_INDEXES.changes([other, change("index")]) == [other, change("index")]


def test_a_collection_that_only_differs_stays_behind() -> None:
    for blockers in ((), (Blocker("fixed", "can't be changed"),)):
        changed = change("collection", "modify", before={"max": 5}, after={"max": 6}, blockers=blockers)
        assert ONLY_INDEXES.changes([changed, change("index")]) == [change("index")]


def test_a_collection_that_is_dropped_needs_nothing() -> None:
    plan = [change("validator"), change("collection", "drop")]
    assert Selection(frozenset({"collections"})).changes(plan) == [plan[1]]


SERIES = {"timeseries": {"timeField": "t"}}


def test_what_this_server_cannot_have_is_not_made_as_something_else() -> None:
    desired = [Collection("ts", SERIES, indexes=(Index({"t": 1}),))]
    for parts in (frozenset({"indexes"}), frozenset[str]()):
        changes = Selection(parts).changes(plan({}, desired, server=Server((4, 4))))
        assert [(one.kind, one.status) for one in changes] == [
            ("collection", "blocked"),
            ("index", "planned"),
        ]


def test_what_is_dropped_under_a_new_name_needs_the_name() -> None:
    old = Collection("old", {}, Validator({"a": 1}), (Index({"x": 1}, "x_1"),))
    new = Collection("new", {}, Validator({}), absent_indexes=(Index({}, "x_1"),), renamed_from="old")
    for part, kind in (("indexes", "index"), ("validators", "validator")):
        changes = Selection(frozenset({part})).changes(plan({"old": old}, [new]))
        assert [(one.kind, one.action) for one in changes] == [("collection", "modify"), (kind, "drop")]


def test_globs_choose_collections() -> None:
    selection = Selection(globs=("order*", "user?"))
    collections = [Collection(name) for name in ("orders", "order_lines", "users", "logs", "Orders")]
    assert [one.name for one in selection.collections(collections)] == ["orders", "order_lines", "users"]
    renamed = Collection("people", renamed_from="users")
    assert selection.collections([renamed]) == [renamed]


def test_a_glob_that_matches_nothing_is_an_error_with_the_near_name() -> None:
    selection = Selection(globs=("user*", "ordrs"))
    assert selection.unmatched(["users", "orders"]) == ["ordrs"]
    with pytest.raises(UsageError, match="--collection ordrs matches no collection") as caught:
        selection.refuse_unmatched(["users", "orders"])
    assert caught.value.hint == "did you mean 'orders'?"
    with pytest.raises(UsageError) as caught:
        Selection(globs=("zzz*",)).refuse_unmatched(["users", "orders"])
    assert caught.value.hint == "there are: orders, users"
    with pytest.raises(UsageError) as caught:
        Selection(globs=("zzz*",)).refuse_unmatched([])
    assert caught.value.hint == "there are: none"
    selection.refuse_unmatched(["users", "ordrs"])


USERS = Collection(
    "users",
    {"capped": True, "size": 4096},
    Validator({"a": 1}),
    (Index({"a": 1}, "a_1"),),
    search_indexes=(SearchIndex("s", {}),),
)
LOGS = Collection("logs", {}, None, ())
CURRENT = {"logs": LOGS, "users": USERS}


@pytest.mark.parametrize(
    ("parts", "globs", "kept"),
    [
        ((), (), CURRENT),
        ((), ("l*",), {"logs": LOGS}),
        (("collections",), (), {"logs": LOGS, "users": Collection("users", USERS.options)}),
        (("validators",), (), {"users": Collection("users", validator=USERS.validator)}),
        (
            ("indexes",),
            (),
            {"users": Collection("users", indexes=USERS.indexes, search_indexes=USERS.search_indexes)},
        ),
        (("collections", "validators", "indexes"), (), CURRENT),
    ],
)
def test_a_part_of_a_dump(
    parts: tuple[str, ...], globs: tuple[str, ...], kept: dict[str, Collection]
) -> None:
    assert Selection(frozenset(parts), globs).dumped(CURRENT) == kept
