"""The comment of a pull request: what it says, and that nothing in it is taken for markup."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from motorctl.core.schema import Blocker, Change
from motorctl.core.schema.markdown import LONGEST, code, comment, fenced

if TYPE_CHECKING:
    from markdown_it.token import Token

GOLDEN = Path(__file__).parent / "golden" / "schema-plan.md"

PLAN = [
    Change("logs", "collection", "create", "logs", None, {"capped": True, "size": 4096}),
    Change(
        "users",
        "validator",
        "modify",
        "users",
        {"validator": {"a": {"$gt": 1}}, "validationLevel": "strict", "validationAction": "error"},
        {"validator": {"a": {"$gt": 2}}, "validationLevel": "strict", "validationAction": "warn"},
        blockers=(
            Blocker(
                "violations",
                "2 documents don't fit the validator",
                hint="motorctl validators check users shows them",
                count=2,
                samples=({"id": 1, "rules": ["a is 1, less than 2"]}, {"id": 7, "rules": []}),
                ignorable=True,
            ),
        ),
        status="blocked",
    ),
    Change(
        "users",
        "index",
        "create",
        "email_1",
        None,
        {"keys": {"email": 1}, "name": "email_1", "unique": True},
        unchecked=("index users.email_1: duplicates weren't looked for to the end (30 s)",),
    ),
    Change("users", "index", "drop", "old|pipe`tick", {"keys": {"old": 1}, "name": "old|pipe`tick"}),
    Change("users", "collection", "keep", "users", {}, {}, "in_sync"),
]


def test_the_comment_as_it_is_posted() -> None:
    assert comment(PLAN, "Schema plan for database", "shop") == GOLDEN.read_text(encoding="utf-8")


def test_in_sync_is_a_sentence() -> None:
    kept = [Change("users", "collection", "keep", "users", {}, {}, "in_sync")]
    assert comment(kept, "Schema plan for database", "shop") == (
        "### Schema plan for database `shop`\n\n**In sync**: 1 as they should be.\n"
    )
    assert comment([], "Schema plan for database", "shop").endswith(
        "**In sync**: there is nothing to compare.\n"
    )


def parsed(text: str) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(text)


def cells(tokens: list[Token]) -> list[list[str]]:
    """Return the text of each row of the table as a reader sees it."""
    rows: list[list[str]] = []
    for before, token in pairwise(tokens):
        if before.type == "tr_open":
            rows.append([])
        if before.type in ("td_open", "th_open"):
            assert token.type == "inline"
            parts = token.children or []
            assert {part.type for part in parts} <= {"code_inline", "text", "html_inline", "text_special"}, (
                parts
            )
            assert all(
                part.content in ("<code>", "</code>") for part in parts if part.type == "html_inline"
            ), parts
            rows[-1].append("".join(part.content for part in parts if part.type != "html_inline"))
    return rows


def visible(text: str) -> str:
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


NASTY = [
    "a|b",
    "a`b",
    "``",
    "`",
    "a\\|b",
    "a\\",
    "<script>alert(1)</script>",
    "</details>",
    "&amp;",
    "&#124;",
    "@team",
    "#1",
    "line\nbreak",
    "\x1b[31mred",
    "\u202eevil",
    " edge ",
    "*bold* _it_ ~~x~~",
    "[x](http://y)",
    "![x](y)",
    ":tada:",
    "$a$",
    "---",
    "ä😀",
    "\ud800",
]


@pytest.mark.parametrize("name", NASTY)
def test_no_name_is_markup(name: str) -> None:
    check(name)


@given(st.text(alphabet=st.sampled_from("ab|`\\<>&#@*_[]()!~ \n\t\"'{}$;:-+") | st.characters(), min_size=1))
def test_no_text_is_markup(name: str) -> None:
    check(name)


def check(name: str) -> None:
    index = {"keys": {name: 1}, "name": name}
    blocker = Blocker(
        "x",
        name,
        hint=name,
        count=1,
        samples=({"id": name}, {"value": {name: name}, "count": 2, "ids": [name]}),
    )
    plan = [
        Change(name, "index", "create", name, None, index, status="blocked", blockers=(blocker,)),
        Change("users", "index", "drop", "old", {"keys": {"old": 1}, "name": "old"}),
    ]
    text = comment(plan, "Schema plan for database", name)
    tokens = parsed(text)
    rows = cells(tokens)
    assert rows[0] == ["change", "object", "detail"]
    assert [len(row) for row in rows] == [3, 3, 3]
    assert spaced(rows[1][1]) == spaced(visible(f"index {name}.{name}"))
    assert rows[2] == ["- drop", "index users.old", "keys {old: 1}"]
    blocks = [token.content for token in tokens if token.type == "html_block"]
    assert [block.strip() for block in blocks] == [
        "<details>\n<summary>Each change in full</summary>",
        "</details>",
    ]
    fences = [token.info for token in tokens if token.type == "fence"]
    assert fences == ["text", "diff", "diff"]
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", text)


def spaced(text: str) -> str:
    """A renderer runs blanks together."""
    return " ".join(text.split())


@pytest.mark.parametrize("text", ["`", "``` js", "a\n`````\nb", "", "~~~"])
def test_a_fence_is_longer_than_what_it_holds(text: str) -> None:
    (fence,) = [token for token in parsed(fenced(text, "text")) if token.type == "fence"]
    assert fence.content == f"{text}\n"


def test_people_in_values_are_not_called() -> None:
    assert code("@team") == "`@team`"
    assert code("`@team`") == "<code>&#96;&#64;team&#96;</code>"


def test_a_comment_is_never_longer_than_a_server_takes() -> None:
    def change(n: int, size: int) -> Change:
        after: dict[str, Any] = {"keys": {"x" * size: 1}, "name": f"i{n}"}
        blocker = Blocker("x", "y" * size)
        return Change("users", "index", "create", f"i{n}", None, after, status="blocked", blockers=(blocker,))

    for count, size in ((3000, 10), (10, 20_000), (300, 300), (1, 200_000)):
        text = comment([change(n, size) for n in range(count)], "Schema plan for database", "shop")
        assert len(text) <= LONGEST
        assert text.endswith("</details>\n")
        assert "more" in text
        tokens = parsed(text)
        assert next(token.info for token in tokens if token.type == "fence") == "text"
        assert len(tokens) > 10
