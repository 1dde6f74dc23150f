"""Changes in words: what people read of a plan."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from bson import ObjectId

from motorctl.core.schema import Blocker, Change, words

ID = ObjectId("64b7f0c2a1b2c3d4e5f60718")


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("index", "index users.x"),
        ("search_index", "search index users.x"),
        ("validator", "validator of users"),
        ("collection", "collection users"),
    ],
)
def test_what_a_change_is_about(kind: Any, text: str) -> None:
    assert words.subject(Change("users", kind, "create", "x")) == text


def test_a_renamed_collection_tells_its_old_name() -> None:
    command = {"renameCollection": "old.people", "to": "users"}
    change = Change("users", "collection", "modify", "users", {}, {"capped": True}, commands=(command,))
    assert words.row(change) == {
        "change": "~ modify",
        "object": "collection users",
        "detail": "renamed from old.people; capped: + true",
    }


def test_a_blocked_row_says_what_it_would_do() -> None:
    why = Blocker("x", "because")
    change = Change("c", "index", "create", "i", None, {"keys": {"a": 1}, "name": "i"}, "blocked", (why,))
    assert words.row(change)["detail"] == "blocked; keys {a: 1}"
    assert words.describe(change) == "because"
    bare = Change("c", "collection", "create", "c", None, {}, "blocked", (why,))
    assert words.row(bare)["detail"] == "blocked"


def test_a_skipped_or_failed_row_says_why() -> None:
    skipped = Change("c", "index", "create", "i", status="skipped", blockers=(Blocker("lost", "gone"),))
    assert words.row(skipped)["detail"] == "skipped: gone"
    failed = Change("c", "index", "create", "i", status="failed", error={"message": "no"})
    assert words.row(failed)["detail"] == "failed: no"
    assert words.obstacles([skipped, failed]) == []


def test_obstacles_name_documents_and_say_what_to_do_once() -> None:
    duplicates = Blocker(
        "duplicates",
        "1 value is shared by 2 documents",
        "mend them",
        2,
        ({"value": {"a": "x"}, "count": 2, "ids": [ID, "b"]},),
    )
    dates = Blocker("not_dates", "2 values are no dates", "mend them", 2, ({"id": ID}, {"id": 7}))
    rejected = Blocker("rejected", "1 document doesn't fit", None, 1, ({"id": 1, "rules": ["a", "b"]},))
    blocked = Change("c", "index", "create", "i", status="blocked", blockers=(duplicates, dates, rejected))
    unsure = Change("c", "index", "create", "j", unchecked=("index c.j: duplicates weren't looked for",))
    assert words.obstacles([blocked, unsure]) == [
        "blocked: index c.i: 1 value is shared by 2 documents",
        "  {a: x} (2): _id 64b7f0c2a1b2c3d4e5f60718, b",
        "blocked: index c.i: 2 values are no dates",
        "  _id 64b7f0c2a1b2c3d4e5f60718, 7",
        "  hint: mend them",
        "blocked: index c.i: 1 document doesn't fit",
        "  _id 1: a; b",
        "not checked: index c.j: duplicates weren't looked for",
    ]


def test_commands_stand_below_what_they_are_for() -> None:
    kept = Change("c", "collection", "keep", "c")
    change = Change("c", "index", "drop", "i", commands=({"dropIndexes": "c", "index": "i"}, {"n": ID}))
    impossible = replace(change, status="blocked", blockers=(Blocker("fixed", "no"),))
    assert words.as_sent([kept, impossible, change]) == [
        "index c.i:",
        '  {"dropIndexes": "c", "index": "i"}',
        '  {"n": {"$oid": "64b7f0c2a1b2c3d4e5f60718"}}',
    ]
