"""Which part of a schema is asked for: kinds and collections, alone and together."""

from __future__ import annotations

from typing import Any

import pytest

from motorctl.core.schema import Change, Collection, Index, SearchIndex, Validator
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


@pytest.mark.parametrize(
    "command", [{"create": "users"}, {"renameCollection": "shop.people", "to": "shop.users"}]
)
def test_a_collection_that_must_be_made_first_comes_along(command: dict[str, str]) -> None:
    opening = change("collection", commands=(command,))
    only = Selection(frozenset({"indexes"}))
    assert only.changes([opening, change("index")]) == [opening, change("index")]
    # Nothing of it is asked for: nothing needs it.
    assert only.changes([opening, change("validator")]) == []
    assert only.changes([opening, change("index", "keep")]) == [change("index", "keep")]
    assert only.changes([opening, change("index", collection="other")]) == [
        change("index", collection="other")
    ]
    changed = change("collection", "modify", commands=({"collMod": "users"},))
    assert only.changes([changed, change("index")]) == [change("index")]


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
